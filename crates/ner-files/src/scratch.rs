use crate::drafts::Own;
use std::io;
use std::path::Path;
use tempfile::TempDir;

/// A folder in the temporary folder for files of this process alone. It goes when it is dropped, and with
/// [`remove_own_drafts`](crate::remove_own_drafts).
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    _own: Own,
}

impl Scratch {
    /// Creates an empty one.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn new() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("medner-").tempdir()?;
        let own = Own::new(folder.path());
        Ok(Self { folder, _own: own })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}
