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
pub struct Lock(#[allow(dead_code, reason = "holds the lock until dropped")] File);

/// Retries: a process that only checks the lock holds it for an instant.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(25);

impl Lock {
    /// Takes the lock; `None` if another process holds it.
    ///
    /// # Errors
    /// If the file cannot be written, or its file system has no locks.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let mut file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path).map_err(named)?;
        for _ in 0..ATTEMPTS {
            match file.try_lock() {
                Ok(()) => {
                    file.set_len(0).map_err(named)?;
                    write!(file, "process {}", std::process::id()).map_err(named)?;
                    return Ok(Some(Self(file)));
                }
                Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
                Err(TryLockError::Error(error)) => return Err(named(error)),
            }
        }
        Ok(None)
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
}
