//! Finds encoders and corpus files on disk, in caches and on the network.
//!
//! This is the only crate of the workspace that opens a connection or starts `pip`. It knows nothing of libtorch, of
//! tensors or of corpus formats: it hands back paths, and says where each one came from.
//!
//! | question | function |
//! |---|---|
//! | Where are the files of this encoder? | [`resolve_encoder`] |
//! | Which encoders are known, and which are here already? | [`registry`], [`list_encoders`] |
//! | Bring one file of the network here | [`fetch`] |
//! | Bring some members of a zip of the network here | [`fetch_zip_members`] |
//!
//! Nothing reads the process's environment behind the caller's back: [`Env::from_process`] does it once, and a test
//! passes an [`Env`] of its own.
//!
//! The `hf-hub` crate was weighed and left. Release 0.5 ignores `HF_HUB_CACHE`, `HF_TOKEN` and `HF_HUB_OFFLINE` and
//! compares no checksum; release 1.0 brings an async runtime and a C cryptography library. Both would leave a second
//! downloader to write for corpora.

#![forbid(unsafe_code)]

mod archive;
mod download;
mod encoder;
mod env;
mod error;
mod hash;
mod hub;
mod package;
mod progress;
mod registry;
mod temporary;

pub use archive::{ZipMember, fetch_zip_members};
pub use download::{Fetched, How, fetch};
pub use encoder::{EncoderFiles, Origin, WeightsFormat, resolve_encoder};
pub use env::{Env, FetchOptions, Token};
pub use error::Error;
pub use hash::{sha256_file, sha256_path};
pub use progress::Progress;
pub use registry::{EncoderEntry, EncoderStatus, LocalCopy, Package, list_encoders, registry};
