use fs_err as fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file that appears under its name only when complete: it is written beside its target and renamed at the end.
pub struct NewFile {
    file: BufWriter<NamedTempFile>,
    path: PathBuf,
}

impl NewFile {
    /// Creates a temporary file for `path`, and the folders on the way to it.
    ///
    /// # Errors
    /// If the folder or the file cannot be created.
    pub fn create(path: &Path) -> io::Result<Self> {
        let folder = folder_of(path);
        fs::create_dir_all(folder)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".medner-");
        // Temporary files are readable by their owner alone by default. The process's umask still applies.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let file = builder.tempfile_in(folder).map_err(|error| named(path, error))?;
        Ok(Self { file: BufWriter::new(file), path: path.into() })
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

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Forces the names of new files to disk. Windows cannot open a folder.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { fs::File::open(folder)?.sync_all() } else { Ok(()) }
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
fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{} cannot be written: {error}", path.display()))
}
