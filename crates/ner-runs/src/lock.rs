use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// A file that a living process holds.
///
/// A process id in a file would outlive its process and might be another's by then, on this machine or on another one
/// that shares the folder. A lock belongs to the open file: the system takes it back when the process ends, however it
/// ends.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "holds the lock until it is dropped")] File);

/// Who only looks whether a lock is held holds it for an instant; that is no reason to refuse.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(25);

impl Lock {
    /// Takes the lock; `None` where another process has it.
    ///
    /// # Errors
    /// Where the file cannot be written, or its file system has no locks.
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

    /// Whether a process has it; what it wrote about itself.
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
