use crate::drafts::{Own, PREFIX, draft_of, folder_of, sync_folder};
use crate::{Lock, in_use};
use fs_err as fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::{NamedTempFile, TempPath};

/// A file that appears under its name only when complete: it is written beside its target and renamed at the end.
pub struct NewFile {
    file: BufWriter<NamedTempFile>,
    path: PathBuf,
    _own: Own,
}

impl NewFile {
    /// Creates a temporary file for `path`, and the folders on the way to it. If several processes write `path`, each
    /// replaces the whole file.
    ///
    /// # Errors
    /// If the folder or the file cannot be created.
    pub fn create(path: &Path) -> io::Result<Self> {
        let folder = folder_of(path);
        fs::create_dir_all(folder)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX);
        // Temporary files are readable by their owner alone by default. The process's umask still applies.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let file = builder.tempfile_in(folder).map_err(|error| named(path, error))?;
        Ok(Self::of(file, path))
    }

    /// Like [`create`](Self::create), for a file that only one process may write at a time. On a file system without
    /// locks, each process replaces the whole file.
    ///
    /// # Errors
    /// If the folder or the file cannot be created, or ([`io::ErrorKind::ResourceBusy`]) another process writes it.
    pub fn create_alone(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder_of(path))?;
        let draft = draft_of(path);
        let lock = match Lock::on(&draft) {
            Ok(lock) => lock.ok_or_else(|| in_use(path))?,
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                let _ = fs::remove_file(draft);
                return Self::create(path);
            }
            Err(error) => return Err(named(path, error)),
        };
        // The draft of a killed process may be there.
        let file = lock.into_file();
        file.set_len(0).map_err(|error| named(path, error))?;
        let draft = TempPath::try_from_path(draft).map_err(|error| named(path, error))?;
        Ok(Self::of(NamedTempFile::from_parts(file, draft), path))
    }

    fn of(file: NamedTempFile, path: &Path) -> Self {
        let own = Own::new(file.path());
        Self { file: BufWriter::new(file), path: path.into(), _own: own }
    }

    /// Opens the file a second time, for writers that must own their file handle.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn reopen(&self) -> io::Result<std::fs::File> {
        self.file.get_ref().reopen().map_err(|error| named(&self.path, error))
    }

    /// Where the bytes are until the file gets its name. Flush before you read them.
    pub fn draft(&self) -> &Path {
        self.file.get_ref().path()
    }

    /// Writes everything and renames the file to its target.
    ///
    /// Does not force the bytes to disk, which saves time for folders of small files: use it for files that can be made
    /// again.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(self) -> io::Result<()> {
        self.persist(false)
    }

    /// Like [`finish`](Self::finish), with the bytes and the name on disk: the file survives a crash of the machine.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish_on_disk(self) -> io::Result<()> {
        self.persist(true)
    }

    fn persist(self, on_disk: bool) -> io::Result<()> {
        let file = self.file.into_inner().map_err(|error| named(&self.path, error.into_error()))?;
        if on_disk {
            file.as_file().sync_all().map_err(|error| named(&self.path, error))?;
        }
        file.persist(&self.path).map_err(|error| named(&self.path, error.error))?;
        if on_disk {
            sync_folder(folder_of(&self.path))?;
        }
        Ok(())
    }
}

/// Writes `bytes` to `path` atomically; the file also survives a crash of the machine.
///
/// # Errors
/// If the file cannot be written.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = NewFile::create(path)?;
    file.write_all(bytes)?;
    file.finish_on_disk()
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|error| named(&self.path, error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(|error| named(&self.path, error))
    }
}

/// Names the target in the error: the name of the temporary file helps nobody.
pub(crate) fn named(path: &Path, error: io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space and try again",
        _ => "",
    };
    io::Error::new(error.kind(), format!("{} cannot be written: {error}{advice}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn one_process_writes_a_file_and_a_left_draft_is_used_again() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.txt".to_owned(), "ä".repeat(127)] {
            let path = folder.path().join(&name);
            std::fs::write(draft_of(&path), "left by a killed process").unwrap();
            let mut first = NewFile::create_alone(&path).unwrap();
            assert_eq!(NewFile::create_alone(&path).err().map(|error| error.kind()), Some(io::ErrorKind::ResourceBusy));
            first.write_all(b"whole").unwrap();
            first.finish_on_disk().unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole");
            drop(NewFile::create_alone(&path).unwrap());
            assert_eq!(names(folder.path()), [name]);
            std::fs::remove_file(path).unwrap();
        }
    }
}
