//! The store of runs: a folder for each, which says everything about itself and survives a crash at any moment.
//!
//! This crate knows nothing of libtorch, of corpora or of the network.
#![warn(missing_docs)]

mod run_folder;

pub use run_folder::{MetricsLog, RunFolder};
