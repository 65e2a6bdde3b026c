//! Reads files of foreign folders.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Opens a regular file. A named pipe or a device would block or never end.
///
/// # Errors
/// If it cannot be opened or is something else. Says so without the path.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // Asked by path, because opening a pipe blocks until something writes to it.
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "a folder, not a file"));
    }
    if !kind.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file, but a pipe, socket or device"));
    }
    File::open(path)
}

/// The text of a regular file, without a byte order mark.
///
/// # Errors
/// As [`open_regular`], or if it is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open_regular(path)?.read_to_string(&mut text)?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}
