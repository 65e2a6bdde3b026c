//! The store of runs: a folder for each, which says everything about itself and survives a crash at any moment.
//!
//! [`RunFolder`] is what a run writes to; [`Run`] is what anybody reads of it: `run.json` and `scores.json` as plain
//! JSON, so that runs of every kind and of every earlier version can be listed. [`Store`] finds and removes runs,
//! [`Query`] makes tables of them.
//!
//! This crate knows nothing of libtorch, of corpora or of the network. What it keeps of predictions are places and
//! types, never text.

#![forbid(unsafe_code)]

mod compare;
mod earlier;
mod error;
mod lock;
mod predictions;
mod prune;
mod query;
mod run;
mod run_folder;
mod store;

pub use compare::{Difference, differences};
pub use earlier::modern_name;
pub use error::RunsError;
pub use lock::Lock;
pub use predictions::{PredictedDocument, SpanRecord, read_predictions, write_predictions};
pub use query::{Condition, Query, Sort, export_parquet, frame_of_all, rows, write_csv};
pub use run::{Run, Status, flatten};
pub use run_folder::{MetricsLog, RunFolder};
pub use store::Store;
