//! Atomic writes and locks: a file or folder appears under its name complete, or not at all, and one process writes it.
//! Also safe reads of foreign folders.
//!
//! - `lock.rs`: [`Lock`], which ends with its process.
//! - `new_file.rs`: [`NewFile`] and [`write_bytes`]. `new_folder.rs`: [`NewFolder`].
//! - `scratch.rs`: [`Scratch`], for files that nobody else sees.
//! - `drafts.rs`: what a killed process left behind, and what a stopped one must not leave behind.

#![forbid(unsafe_code)]

mod drafts;
mod lock;
mod new_file;
mod new_folder;
mod regular;
mod scratch;

pub use drafts::{is_draft, remove_left_drafts, remove_own_drafts};
pub use lock::{Lock, in_use};
pub use new_file::{NewFile, write_bytes};
pub use new_folder::NewFolder;
pub use regular::{open_regular, read_text};
pub use scratch::Scratch;
