//! SHA-256 of files.

use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::Error;

/// Computes the SHA-256 of a file, reading it in pieces. Lower-case hexadecimal.
pub fn sha256_file(path: &Path) -> Result<String, Error> {
    sha256_reader(&mut fs_err::File::open(path)?)
}

/// The SHA-256 of a text.
pub(crate) fn sha256_text(text: &str) -> String {
    hex(&Sha256::digest(text))
}

/// Same as [`sha256_file`] for a file. For a folder: the SHA-256 of the relative names and checksums of all its files,
/// in the order of their names.
pub fn sha256_path(path: &Path) -> Result<String, Error> {
    if !path.is_dir() {
        return sha256_file(path);
    }
    let mut hasher = Sha256::new();
    for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
        let entry = entry.map_err(std::io::Error::from)?;
        if entry.file_type().is_file() {
            let name = entry.path().strip_prefix(path).unwrap_or(entry.path());
            hasher.update(format!("{} {}\n", sha256_file(entry.path())?, name.display()));
        }
    }
    Ok(hex(&hasher.finalize()))
}

fn sha256_reader(reader: &mut impl Read) -> Result<String, Error> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    Ok(hex(&hasher.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether `text` is exactly `digits` hexadecimal digits.
pub(crate) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Compares a file with its expected checksum and returns the actual one.
pub(crate) fn verify(path: &Path, what: &str, expected: Option<&str>) -> Result<String, Error> {
    verify_reader(&mut fs_err::File::open(path)?, what, expected)
}

/// Same as [`verify`], from the reader's position to its end.
pub(crate) fn verify_reader(reader: &mut impl Read, what: &str, expected: Option<&str>) -> Result<String, Error> {
    let actual = sha256_reader(reader)?;
    match expected {
        Some(expected) if !expected.eq_ignore_ascii_case(&actual) => {
            Err(Error::Checksum { what: what.to_owned(), expected: expected.to_owned(), actual })
        }
        _ => Ok(actual),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_fips_180() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "abc").expect("written");
        let digest = sha256_file(file.path()).expect("read");
        assert_eq!(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
