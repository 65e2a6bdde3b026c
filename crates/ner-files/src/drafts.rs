use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Beginning of the names of drafts: files and folders that are not complete.
pub(crate) const PREFIX: &str = ".medner-draft-";

/// The drafts of this process.
static OWN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn own() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Registers a draft until it is dropped.
#[derive(Debug)]
pub(crate) struct Own(PathBuf);

impl Own {
    pub(crate) fn new(path: &Path) -> Self {
        own().insert(path.into());
        Self(path.into())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        own().remove(&self.0);
    }
}

/// Removes the drafts of this process, which must end at once afterwards: `exit` runs no destructors.
pub fn remove_own_drafts() {
    // Holding the lock keeps other threads from new drafts until the process is gone.
    let own = own();
    for path in own.iter() {
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
    std::mem::forget(own);
}

/// Whether a file or folder is a draft.
pub fn is_draft(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX))
}

/// Removes the drafts in a folder and in the folders below it that killed processes left behind. The caller must hold
/// the lock under which the folder is written.
///
/// # Errors
/// If the folder cannot be read, or a draft cannot be removed.
pub fn remove_left_drafts(folder: &Path) -> io::Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let (path, is_folder) = (entry.path(), entry.file_type()?.is_dir());
        match (is_draft(&path), is_folder) {
            (true, true) => fs_err::remove_dir_all(path)?,
            (true, false) => fs_err::remove_file(path)?,
            (false, true) => remove_left_drafts(&path)?,
            (false, false) => {}
        }
    }
    Ok(())
}

/// The folder of a target.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The one draft that all processes use for a target, so that its lock is the lock of the target. A long name is
/// shortened: it would be too long with the prefix. Two targets with the same draft merely wait for each other.
pub(crate) fn draft_of(path: &Path) -> PathBuf {
    const LONGEST: usize = 100;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let end = (0..=LONGEST.min(name.len())).rev().find(|&end| name.is_char_boundary(end)).unwrap_or(0);
    let mut draft = OsString::from(PREFIX);
    draft.push(&name[..end]);
    folder_of(path).join(draft)
}

/// Forces the names of new files to disk. Windows cannot open a folder.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
