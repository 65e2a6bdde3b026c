//! Finds encoders and corpus files on disk, in caches and on the network.
//!
//! Only this crate starts `pip`; only it and the trackers open connections. It does not depend on libtorch, tensors or
//! corpus formats: it returns paths and where each one came from.
//!
//! | task | function |
//! |---|---|
//! | Find the files of an encoder | [`resolve_encoder`] |
//! | List known encoders and those on this machine | [`registry`], [`list_encoders`] |
//! | Download one file | [`fetch`] |
//! | Download some members of a zip file | [`fetch_zip_members`] |
//! | Upload a folder as a model repository | [`upload_folder`] |
//!
//! Only [`Env::from_process`] reads the process's environment. Tests pass their own [`Env`].
//!
//! The `hf-hub` crate does not fit. Release 0.5 ignores `HF_HUB_CACHE`, `HF_TOKEN` and `HF_HUB_OFFLINE` and verifies no
//! checksum; release 1.0 brings an async runtime and a C cryptography library. With either, corpora would still need a
//! second downloader.
//!
//! # Where things are
//! - `encoder.rs`: from the user's specification to files; `encoder_files.rs`: what a folder holds; `registry.rs`: encoders
//!   known by name; `list.rs`: which of them are on this machine.
//! - `hub.rs`: the hub and its cache; `package.rs`: encoders inside Python packages.
//! - `upload.rs`: a folder as a commit on the hub.
//! - `download.rs`: redirects, resumption and checksums of one file; `archive.rs`: members of zip files; `hash.rs`:
//!   SHA-256.
//! - `env.rs`: environment variables and options; `progress.rs`: progress bars; `error.rs`: every error message.

#![forbid(unsafe_code)]

mod archive;
mod download;
mod encoder;
mod encoder_files;
mod env;
mod error;
mod hash;
mod hub;
mod list;
mod package;
mod progress;
mod registry;
mod tokenizer_names;
mod upload;

pub use archive::{ZipMember, fetch_zip_members};
pub use download::{Fetched, How, fetch};
pub use encoder::resolve_encoder;
pub use encoder_files::{EncoderFiles, Origin, WeightsFormat, weights_sha256};
pub use env::{Env, FetchOptions, Token};
pub use error::Error;
pub use hash::{sha256_file, sha256_path};
pub use list::{EncoderStatus, LocalCopy, list_encoders};
pub use progress::Progress;
pub use registry::{EncoderEntry, Package, registry};
pub use upload::{Uploaded, upload_folder};
