//! Atomic writes: a file appears under its name complete, or not at all. And safe reads of foreign folders.

#![forbid(unsafe_code)]

mod new_file;
mod regular;

pub use new_file::{NewFile, write_bytes};
pub use regular::{open_regular, read_text};
