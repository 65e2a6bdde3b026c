use crate::bucket::{client, wait};
use crate::url::{Location, is_url};
use crate::{Error, Result};
use ner_files::Scratch;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// The bytes of a file or an object.
///
/// # Errors
/// If it cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    if !is_url(path) {
        return Ok(fs_err::read(path)?);
    }
    let location = Location::of(path)?;
    let client = client(&location)?;
    let bytes = wait(async { client.get(&location.key).await?.bytes().await })?;
    Ok(bytes.map_err(|error| Error::of(&location.to_string(), &error))?.into())
}

/// Writes a file or an object, whole or not at all.
///
/// # Errors
/// If it cannot be written.
pub fn write(path: &Path, bytes: Vec<u8>) -> Result<()> {
    if !is_url(path) {
        return Ok(ner_files::write_bytes(path, &bytes)?);
    }
    let location = Location::of(path)?;
    wait(client(&location)?.put(&location.key, bytes.into()))?
        .map_err(|error| Error::of(&location.to_string(), &error))?;
    Ok(())
}

/// Whether there is a file or an object of this name.
///
/// # Errors
/// If the store does not answer.
pub fn contains(path: &Path) -> Result<bool> {
    if !is_url(path) {
        return Ok(path.is_file());
    }
    let location = Location::of(path)?;
    match wait(client(&location)?.head(&location.key))? {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(Error::of(&location.to_string(), &error)),
    }
}

/// The paths of what lies in a folder, or of the objects right below a prefix, by name.
///
/// # Errors
/// If the folder, or the bucket, cannot be read.
pub fn names(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = if is_url(folder) {
        let location = Location::of(folder)?;
        let listed = wait(client(&location)?.list_with_delimiter(Some(&location.key)))?;
        let listed = listed.map_err(|error| Error::of(&location.to_string(), &error))?;
        let own = listed.objects.iter().filter(|facts| facts.location != location.key);
        let names = own.filter_map(|facts| facts.location.filename());
        names.map(|name| folder.join(name)).collect()
    } else {
        fs_err::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?
    };
    paths.sort();
    Ok(paths)
}

/// A file on this machine.
pub enum LocalFile {
    /// It lies here.
    Here(PathBuf),
    /// A copy of an object, which goes with this value.
    Copy(Scratch, PathBuf),
}

impl Deref for LocalFile {
    type Target = Path;

    fn deref(&self) -> &Path {
        match self {
            Self::Here(path) | Self::Copy(_, path) => path,
        }
    }
}

/// The file, or a copy of the object in the temporary folder.
///
/// # Errors
/// If the object cannot be read, or the copy cannot be written.
pub fn local_copy(path: &Path) -> Result<LocalFile> {
    if !is_url(path) {
        return Ok(LocalFile::Here(path.into()));
    }
    let crate::Found::Object(object) = crate::find(path)? else {
        return Err(Error::not_found(&path.to_string_lossy(), "there is no such object"));
    };
    let scratch = Scratch::new()?;
    let copy = scratch.path().join(path.file_name().unwrap_or_default());
    io::copy(&mut object.reader(), &mut fs_err::File::create(&copy)?)?;
    Ok(LocalFile::Copy(scratch, copy))
}
