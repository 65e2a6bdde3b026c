use crate::bucket::{Client, client, wait};
use crate::url::Location;
use crate::{Error, Result};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path as Key;
use object_store::{GetOptions, ObjectMeta};
use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An object, as it was when it was found.
#[derive(Clone)]
pub struct Object {
    client: Client,
    key: Key,
    url: PathBuf,
    size: u64,
    /// Changes with the contents.
    e_tag: Option<String>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("url", &self.url).field("size", &self.size).finish_non_exhaustive()
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        (&self.url, self.size, &self.e_tag) == (&other.url, other.size, &other.e_tag)
    }
}

impl Eq for Object {}

/// What a URL names.
#[derive(Debug)]
pub enum Found {
    /// An object.
    Object(Object),
    /// The objects below a prefix, in the order in which a folder with the same names is read: by name, folder by
    /// folder.
    Prefix(Vec<Object>),
}

/// Finds what a URL names: an object, or all objects below a prefix. A URL that ends in a slash names a prefix.
///
/// # Errors
/// If there is neither, or the store does not answer.
pub fn find(url: &Path) -> Result<Found> {
    let location = Location::of(url)?;
    let client = client(&location)?;
    if !location.is_prefix {
        match wait(client.head(&location.key))? {
            Ok(facts) => return Ok(Found::Object(Object::new(&client, &location, facts))),
            // What is no object may be a prefix. Of a missing bucket the listing says so: a HEAD has no body.
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(Error::of(&location.to_string(), &error)),
        }
    }
    let objects = list(&client, &location)?;
    if objects.is_empty() {
        return Err(Error::not_found(&url.to_string_lossy(), "there is no such object, and no object below it"));
    }
    Ok(Found::Prefix(objects))
}

/// The URLs of all objects below a prefix; none, if there is no such prefix.
///
/// # Errors
/// If the store does not answer, or has no such bucket.
pub fn below(prefix: &Path) -> Result<BTreeSet<PathBuf>> {
    let location = Location::of(prefix)?;
    Ok(list(&client(&location)?, &location)?.into_iter().map(|object| object.url).collect())
}

fn list(client: &Client, location: &Location) -> Result<Vec<Object>> {
    let found = wait(client.list(Some(&location.key)).try_collect::<Vec<ObjectMeta>>())?;
    let mut found = found.map_err(|error| Error::of(&location.to_string(), &error))?;
    // Part by part, as folders are read: a slash is no character of a name.
    found.sort_by(|one, other| one.location.parts().cmp(other.location.parts()));
    let mut objects = Vec::with_capacity(found.len());
    let mut left = found.into_iter().peekable();
    while let Some(facts) = left.next() {
        // Consoles of stores make folders as empty objects. Their keys end in a slash, which the crate removes.
        let is_folder = facts.location == location.key
            || left.peek().is_some_and(|next| next.location.prefix_matches(&facts.location));
        if facts.size > 0 || !is_folder {
            objects.push(Object::new(client, location, facts));
        }
    }
    Ok(objects)
}

impl Object {
    fn new(client: &Client, location: &Location, facts: ObjectMeta) -> Self {
        let url = location.url_of(&facts.location).into();
        Self { client: Arc::clone(client), key: facts.location, url, size: facts.size, e_tag: facts.e_tag }
    }

    /// Its URL.
    pub fn url(&self) -> &Path {
        &self.url
    }

    /// Size in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Its version, which changes with the contents; empty if the store names none.
    pub fn version(&self) -> &str {
        self.e_tag.as_deref().unwrap_or_default()
    }

    /// Reads it from its beginning.
    pub fn reader(&self) -> Reader {
        Reader { object: self.clone(), at: 0, block: Bytes::new(), start: 0, next: FIRST }
    }

    /// These bytes of it.
    fn range(&self, range: Range<u64>) -> Result<Bytes> {
        let length = range.end - range.start;
        let options = GetOptions { if_match: self.e_tag.clone(), range: Some(range.into()), ..GetOptions::default() };
        let url = self.url.to_string_lossy();
        let bytes = wait(async { self.client.get_opts(&self.key, options).await?.bytes().await })?;
        let bytes = bytes.map_err(|error| Error::of(&url, &error))?;
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(Error::changed(&url)) }
    }
}

/// Bytes of the first request: what decides the format of a file, and some more for readers that read ahead.
const FIRST: u64 = 128 << 10;

/// Bytes of the largest request, which are held in memory.
const LARGEST: u64 = 8 << 20;

/// Reads an object in ranges, each a request of its own, which the crate repeats when it fails. A connection for the
/// whole object would stay open for hours, because models are slower than networks. Fails if the object was replaced
/// meanwhile.
pub struct Reader {
    object: Object,
    at: u64,
    block: Bytes,
    /// Where the block begins.
    start: u64,
    /// Bytes of the next request.
    next: u64,
}

impl Reader {
    /// Fetches the block that holds the current position.
    fn fetch(&mut self) -> Result<()> {
        let size = self.object.size;
        let is_next = self.at == self.start + self.block.len() as u64;
        if !is_next {
            self.next = FIRST;
        }
        let end = size.min(self.at + self.next);
        // Who jumps to the end, to a footer, reads more before it.
        let start = if is_next { self.at } else { self.at.min(end.saturating_sub(self.next)) };
        self.block = self.object.range(start..end)?;
        self.start = start;
        self.next = LARGEST.min(self.next * 4);
        Ok(())
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.object.size || buffer.is_empty() {
            return Ok(0);
        }
        if !(self.start..self.start + self.block.len() as u64).contains(&self.at) {
            self.fetch()?;
        }
        let rest = &self.block[(self.at - self.start) as usize..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.object.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a seek before the beginning"))?;
        Ok(self.at)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use object_store::ObjectStore;
    use object_store::memory::InMemory;

    /// A store with these objects.
    pub(crate) fn store(objects: &[(&str, &[u8])]) -> (Client, Location) {
        let client: Client = Arc::new(InMemory::new());
        for (key, bytes) in objects {
            wait(client.put(&Key::parse(key).unwrap(), bytes.to_vec().into())).unwrap().unwrap();
        }
        (client, Location::of(Path::new("s3://bucket/notes/")).unwrap())
    }

    #[test]
    fn a_prefix_is_listed_like_a_folder() {
        let names = ["b.txt", "a-b.txt", "a/x.txt", "a/b/y.txt", "a.txt", "ward", "ward/1.txt", "empty.txt"];
        let folder = tempfile::tempdir().unwrap();
        let keys: Vec<String> =
            names.iter().map(|name| format!("notes/{name}")).chain(["notes-2/z.txt".into()]).collect();
        let objects: Vec<(&str, &[u8])> = keys
            .iter()
            .map(|key| {
                (key.as_str(), if key.ends_with("ward") || key.ends_with("empty.txt") { &b""[..] } else { b"x" })
            })
            .collect();
        for key in keys.iter().filter(|key| !key.ends_with("ward")) {
            let path = folder.path().join(key);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "").unwrap();
        }
        let (client, location) = store(&objects);
        let listed: Vec<PathBuf> = list(&client, &location)
            .unwrap()
            .iter()
            .map(|object| object.url().strip_prefix("s3://bucket").unwrap().into())
            .collect();
        let walked = walkdir::WalkDir::new(folder.path().join("notes")).sort_by_file_name().into_iter().flatten();
        let walked = walked.filter(|entry| entry.file_type().is_file());
        let walked: Vec<PathBuf> =
            walked.map(|entry| entry.path().strip_prefix(folder.path()).unwrap().into()).collect();
        assert_eq!(listed, walked);
    }

    #[test]
    fn ranges_make_up_the_object() {
        let bytes: Vec<u8> = (0..3 * FIRST as usize + 7).map(|at| (at % 251) as u8).collect();
        let (client, location) = store(&[("notes/a", &bytes)]);
        let object = list(&client, &location).unwrap().remove(0);
        let mut whole = Vec::new();
        object.reader().read_to_end(&mut whole).unwrap();
        assert!(whole == bytes);
        let mut reader = object.reader();
        let mut four = [0; 4];
        for at in [bytes.len() - 4, 5, FIRST as usize - 2, 2 * FIRST as usize, 0] {
            reader.seek(SeekFrom::Start(at as u64)).unwrap();
            reader.read_exact(&mut four).unwrap();
            assert_eq!(four, bytes[at..at + 4], "at {at}");
        }
        // One that was replaced is not read on.
        let mut reader = object.reader();
        reader.read_exact(&mut four).unwrap();
        wait(client.put(&object.key, bytes.clone().into())).unwrap().unwrap();
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err().to_string();
        assert!(error.starts_with("s3://bucket/notes/a: it was replaced"), "{error}");
    }
}
