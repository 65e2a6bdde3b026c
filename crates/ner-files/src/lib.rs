//! Atomic writes: a file appears under its name complete, or not at all.

#![forbid(unsafe_code)]

mod new_file;

pub use new_file::{NewFile, write_bytes};
