//! The store of runs: one folder per run, which is complete in itself and survives a crash at any moment.
//!
//! Where things are:
//! - `run_folder.rs`: [`RunFolder`], which a run writes to. [`Lock`] is held while the run's process lives.
//! - `run.rs`: [`Run`], which everyone reads: `run.json` and `scores.json` as plain JSON with a status, so that runs of
//!   every kind and version can be listed. `earlier.rs` converts records of earlier versions.
//! - `store.rs`: [`Store`] finds, tags and removes runs.
//! - `query.rs`: [`Query`] makes tables (polars). `prune.rs` parses only the JSON keys that a query uses.
//! - `compare.rs`: differences between runs. `predictions.rs`: mentions of a split, without text.
//!
//! This crate does not use libtorch, corpora or the network. It stores predictions as offsets and types, never as text.

#![forbid(unsafe_code)]

mod compare;
mod earlier;
mod error;
mod predictions;
mod prune;
mod query;
mod run;
mod run_folder;
mod store;

pub use compare::{Difference, differences};
pub use earlier::modern_name;
pub use error::RunsError;
pub use ner_files::Lock;
pub use predictions::{PredictedDocument, SpanRecord, read_predictions, write_predictions};
pub use query::{Condition, Query, Sort, export_parquet, frame_of_all, rows, write_csv};
pub use run::{Run, Status, flatten};
pub use run_folder::{MetricsLog, RunFolder};
pub use store::Store;
