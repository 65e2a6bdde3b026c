//! Logs runs to trackers: an MLflow server through its REST API, and TensorBoard through event files.
//!
//! The run folder is the only source: `run.json`, `metrics.jsonl`, `scores.json`, `model/`, `predictions/`. Trackers
//! read it during the training ([`follow`]) or afterwards ([`sync`]); both update the tracker to the state of the
//! folder. What a tracker already has is read from the tracker and not stored here, so a crash between sending and
//! storing cannot lose a value or send it twice.
//!
//! Where things are:
//! - `follow.rs`: a thread per tracker during a training. `sync.rs`: one update afterwards.
//! - `points.rs`: reads the metrics. `record.rs`: `tracking.json`. `env.rs`: environment variables.
//! - `mlflow.rs`: the REST API, over `http.rs`. `tensorboard.rs`: event files. Both implement `Tracker::update`.
//!
//! This crate does not use libtorch, corpora or the command line.

#![forbid(unsafe_code)]

mod env;
mod error;
mod follow;
mod http;
mod mlflow;
mod points;
mod record;
mod sync;
mod tensorboard;

pub use env::{Credentials, Env, MlflowServer, TrackerKind};
pub use error::TrackError;
pub use follow::{Follower, Pace, follow};
pub use points::{MetricsReader, Point};
pub use record::{Extra, State, Wanted};
pub use sync::{Synced, sync};

/// A tracker of one run.
trait Tracker: Send {
    /// Display name, with its location.
    fn name(&self) -> String;

    /// Updates the tracker to the current run folder. Any state other than [`State::Running`] means that the run has
    /// ended; then scores, files and the state are sent, too. Returns whether anything was sent.
    fn update(&mut self, state: State) -> Result<bool, error::Failure>;
}
