//! Objects of S3, Google Cloud Storage and Azure by their URL, read and written like files.
//!
//! A path that begins with `s3://`, `gs://` or `az://` is a URL; [`is_url`] tells. Credentials and endpoints are those
//! of the environment, under the names that the crate `object_store` reads. That crate also signs, pages through
//! listings and tries again. Its futures run on a runtime of this crate, so that callers wait as they wait for a file.
//!
//! - `url.rs`: from a URL to a bucket and a key. `bucket.rs`: one client for each bucket, and the runtime.
//! - `object.rs`: [`find`] lists, and [`Reader`] reads in ranges.
//! - `upload.rs`: [`put`] and [`abort_uploads`].
//! - `files.rs`: what a folder and a prefix have in common.
//! - `error.rs`: every message, without secrets.

#![forbid(unsafe_code)]

mod bucket;
mod error;
mod files;
mod object;
mod upload;
mod url;

pub use error::Error;
pub use files::{LocalFile, contains, local_copy, names, read, write};
pub use object::{Found, Object, Reader, below, find};
pub use upload::{abort_uploads, put};
pub use url::is_url;

type Result<T, E = Error> = std::result::Result<T, E>;
