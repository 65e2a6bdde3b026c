use crate::drafts::{Own, draft_of, folder_of, sync_folder};
use crate::new_file::named;
use crate::{Lock, in_use};
use fs_err as fs;
use std::io;
use std::path::{Path, PathBuf};

/// A folder that appears under its name only when complete: its files are written into a folder beside its target, which
/// is renamed at the end.
#[derive(Debug)]
pub struct NewFolder {
    target: PathBuf,
    draft: PathBuf,
    lock_file: PathBuf,
    // Dropped after the draft is removed. `None` on a file system without locks.
    _lock: Option<Lock>,
    _own: [Own; 2],
    is_done: bool,
}

impl NewFolder {
    /// Creates a draft for `target`, which must be absent or empty, and the folders on the way to it. Removes the draft
    /// that a killed process left behind.
    ///
    /// # Errors
    /// If `target` has contents, another process writes it ([`io::ErrorKind::ResourceBusy`]), or the draft cannot be
    /// created.
    pub fn create(target: &Path) -> io::Result<Self> {
        if target.exists() && fs::read_dir(target)?.next().is_some() {
            let message = format!("{} already exists and is not empty; name another folder", target.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        fs::create_dir_all(folder_of(target))?;
        let draft = draft_of(target);
        let mut lock_file = draft.clone().into_os_string();
        lock_file.push(".lock");
        let lock_file = PathBuf::from(lock_file);
        let lock = match Lock::on(&lock_file) {
            Ok(lock) => Some(lock.ok_or_else(|| in_use(target))?),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => None,
            Err(error) => return Err(named(target, error)),
        };
        if draft.exists() {
            fs::remove_dir_all(&draft)?;
        }
        let new = Self {
            target: target.into(),
            _lock: lock,
            _own: [Own::new(&draft), Own::new(&lock_file)],
            lock_file,
            draft,
            is_done: false,
        };
        fs::create_dir(&new.draft).map_err(|error| named(target, error))?;
        Ok(new)
    }

    /// Where to write the files.
    pub fn draft(&self) -> &Path {
        &self.draft
    }

    /// Renames the folder to its target.
    ///
    /// # Errors
    /// If it cannot be renamed, for example because the target has contents now.
    pub fn finish(mut self) -> io::Result<()> {
        if self.target.exists() {
            fs::remove_dir(&self.target)?;
        }
        fs::rename(&self.draft, &self.target)?;
        self.is_done = true;
        sync_folder(folder_of(&self.target))
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if !self.is_done {
            let _ = fs::remove_dir_all(&self.draft);
        }
        let _ = fs::remove_file(&self.lock_file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_writes_a_folder_and_nothing_is_left_behind() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("new");
        std::fs::create_dir(draft_of(&target)).unwrap();
        std::fs::write(draft_of(&target).join("left"), "by a killed process").unwrap();
        let first = NewFolder::create(&target).unwrap();
        assert_eq!(NewFolder::create(&target).map_err(|error| error.kind()).err(), Some(io::ErrorKind::ResourceBusy));
        std::fs::write(first.draft().join("a"), "").unwrap();
        first.finish().unwrap();
        assert_eq!(NewFolder::create(&target).map_err(|error| error.kind()).err(), Some(io::ErrorKind::AlreadyExists));
        drop(NewFolder::create(&place.path().join("other")).unwrap());
        let left: Vec<_> = std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["new"]);
        assert_eq!(std::fs::read_dir(target).unwrap().count(), 1);
    }
}
