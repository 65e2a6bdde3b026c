use fs_err as fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file that is written whole or not at all: it appears under its name, by a rename, when it is finished.
pub struct NewFile {
    file: BufWriter<NamedTempFile>,
    path: PathBuf,
}

impl NewFile {
    /// A file that is to become `path`; folders on the way to it are made.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        let folder = folder_of(path);
        fs::create_dir_all(folder)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".medner-");
        // Temporary files as such are for the owner's eyes alone. The process's umask still applies.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let file = builder.tempfile_in(folder).map_err(|error| named(path, error))?;
        Ok(Self { file: BufWriter::new(file), path: path.into() })
    }

    /// The same file, opened once more: for a writer that keeps what it writes to.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn reopen(&self) -> io::Result<std::fs::File> {
        self.file.get_ref().reopen().map_err(|error| named(&self.path, error))
    }

    /// Writes everything and gives the file its name.
    ///
    /// The bytes are not forced to the disk: use this for what can be made again. That takes less time for a folder of
    /// small files.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(self) -> io::Result<()> {
        self.persist(false)
    }

    /// As [`finish`](Self::finish), with the bytes and the name on the disk: the file survives a crash of the machine.
    ///
    /// # Errors
    /// If it cannot be written.
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

/// Writes `bytes` to `path`, whole or not at all, also after a crash of the machine.
///
/// # Errors
/// If it cannot be written.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = NewFile::create(path)?;
    file.write_all(bytes)?;
    file.finish_on_disk()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The names of new files belong to their folder. Windows cannot open one.
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

/// The error with the name of the file that was to be written: that of the temporary file helps nobody.
fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{} cannot be written: {error}", path.display()))
}
