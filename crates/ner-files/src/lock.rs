use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// A file lock held by a living process.
///
/// A process id in a file would outlive its process, and could then belong to another one, on this machine or on one
/// that shares the folder. The operating system releases a file lock whenever its process ends.
#[derive(Debug)]
pub struct Lock(File);

/// Retries: a process that only checks the lock holds it for an instant.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(25);

impl Lock {
    /// Takes the lock of a file that exists only for this, and writes the process id into it; `None` if another process
    /// holds it.
    ///
    /// # Errors
    /// If the file cannot be written, or its file system has no locks.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        let Some(mut lock) = Self::on(path)? else { return Ok(None) };
        lock.0.set_len(0).map_err(|error| named(path, error))?;
        write!(lock.0, "process {}", std::process::id()).map_err(|error| named(path, error))?;
        Ok(Some(lock))
    }

    /// Locks a file without changing its contents, and creates it if it does not exist; `None` if another process holds
    /// it. The locked file is the one with this name, even if the previous holder has renamed or removed its file.
    ///
    /// # Errors
    /// If the file cannot be opened, or ([`io::ErrorKind::Unsupported`]) its file system has no locks.
    pub fn on(path: &Path) -> io::Result<Option<Self>> {
        for _ in 0..ATTEMPTS {
            let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
            let file = file.map_err(|error| named(path, error))?;
            match file.try_lock() {
                Ok(()) if names(path, &file) => return Ok(Some(Self(file))),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
                Err(TryLockError::Error(error)) => return Err(named(path, error)),
            }
        }
        Ok(None)
    }

    /// The locked file.
    pub(crate) fn into_file(self) -> File {
        self.0
    }

    /// The description that the holding process wrote; `None` if the lock is free.
    pub fn holder(path: &Path) -> Option<String> {
        let mut file = File::open(path).ok()?;
        if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
            return None;
        }
        let mut text = String::new();
        let _ = file.read_to_string(&mut text);
        Some(if text.is_empty() { "a process".into() } else { text })
    }
}

/// The error for an output that another process holds.
pub fn in_use(path: &Path) -> io::Error {
    let path = path.display();
    let message =
        format!("{path} is being written by another process; wait until it has ended, or write to another place");
    io::Error::new(io::ErrorKind::ResourceBusy, message)
}

/// Whether `path` still is the name of an open file.
fn names(path: &Path, file: &File) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let (Ok(there), Ok(here)) = (std::fs::metadata(path), file.metadata()) else { return false };
        (there.dev(), there.ino()) == (here.dev(), here.ino())
    }
    // An open file cannot be renamed or removed on Windows.
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_until_he_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert_eq!(Lock::holder(&path), None);
        let lock = Lock::take(&path).unwrap();
        assert!(lock.is_some());
        assert!(Lock::holder(&path).is_some_and(|holder| holder.starts_with("process ")));
        assert!(Lock::take(&path).unwrap().is_none());
        drop(lock);
        assert_eq!(Lock::holder(&path), None);
        assert!(Lock::take(&path).unwrap().is_some());
    }

    #[test]
    fn the_lock_of_a_renamed_file_does_not_count_for_its_old_name() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("a"), folder.path().join("b"));
        let first = Lock::on(&path).unwrap();
        std::fs::rename(&path, &moved).unwrap();
        assert!(Lock::on(&path).unwrap().is_some());
        assert!(Lock::on(&moved).unwrap().is_none());
        drop(first);
    }
}
