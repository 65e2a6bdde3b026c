use crate::error::Names;
use crate::{Error, Result};
use object_store::path::Path as Key;
use std::fmt;
use std::path::Path;

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    S3,
    Google,
    Azure,
}

const SCHEMES: [(&str, Scheme); 3] = [("s3://", Scheme::S3), ("gs://", Scheme::Google), ("az://", Scheme::Azure)];

/// Whether a path is the URL of an object or a prefix.
pub fn is_url(path: &Path) -> bool {
    path.to_str().is_some_and(|text| SCHEMES.iter().any(|(scheme, _)| text.starts_with(scheme)))
}

/// Where an object or a prefix is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub scheme: Scheme,
    /// The bucket, or the container.
    pub bucket: String,
    /// As it is written, without percent-encoding: a key, or a prefix of keys without the slash at its end.
    pub key: Key,
    /// Whether it can only be a prefix: it ends in a slash, or has no key.
    pub is_prefix: bool,
}

impl Location {
    pub fn of(path: &Path) -> Result<Self> {
        let url = path.to_string_lossy();
        let invalid = |what: String| Error::invalid(&url, what);
        let split = SCHEMES.iter().find_map(|(prefix, scheme)| Some((*scheme, path.to_str()?.strip_prefix(prefix)?)));
        let (scheme, rest) = split.ok_or_else(|| invalid("no URL of an object store".into()))?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            let (prefix, bucket) = (url.strip_suffix(rest).unwrap_or_default(), Names::of(&url).bucket);
            return Err(invalid(format!("the URL names no {bucket}: write {prefix}{}/KEY", bucket.to_uppercase())));
        }
        let is_prefix = key.is_empty() || key.ends_with('/');
        let key = Key::parse(key).map_err(|_| {
            invalid("a key has no empty parts, no `.` and `..` between slashes, and no control characters".into())
        })?;
        Ok(Self { scheme, bucket: bucket.to_owned(), key, is_prefix })
    }

    /// The URL of a key in the same bucket.
    pub fn url_of(&self, key: &Key) -> String {
        Self { key: key.clone(), is_prefix: false, ..self.clone() }.to_string()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = SCHEMES.iter().find(|(_, scheme)| *scheme == self.scheme).map_or("", |(prefix, _)| prefix);
        write!(f, "{prefix}{}/{}", self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_bucket_and_a_key() {
        let of = |url: &str| Location::of(Path::new(url));
        let location = of("s3://bucket/notes/a b%20c#?.txt").unwrap();
        assert_eq!((location.bucket.as_str(), location.key.as_ref()), ("bucket", "notes/a b%20c#?.txt"));
        assert_eq!((location.to_string().as_str(), location.is_prefix), ("s3://bucket/notes/a b%20c#?.txt", false));
        for prefix in ["gs://bucket", "gs://bucket/", "az://bucket/notes/"] {
            assert!(of(prefix).unwrap().is_prefix, "{prefix}");
        }
        for bad in
            ["s3://", "s3:///notes", "s3://bucket/a//b", "s3://bucket/../b", "notes/s3://bucket", "http://bucket"]
        {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert!(is_url(Path::new("az://container")) && !is_url(Path::new("./s3://bucket")));
    }
}
