//! Tells a tracker what happened in a run: a real MLflow server by its REST API, and TensorBoard by event files.
//!
//! The run folder is the only source: `run.json`, `metrics.jsonl`, `scores.json`, `model/`, `predictions/`. A tracker
//! reads it, while the training goes on ([`follow`]) or later ([`sync`]), and both do the same: bring the tracker to
//! what the folder says. What a tracker has already is asked of the tracker, and not remembered here, so that no crash
//! between sending and remembering can lose a value or send it twice.
//!
//! This crate knows nothing of libtorch, of corpora or of the command line.

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

/// What a tracker does with a run.
trait Tracker: Send {
    /// What people call it, and where it is.
    fn name(&self) -> String;

    /// Brings the tracker to what the run folder says now. With a state other than [`State::Running`] the run has
    /// ended: its scores, its files and the state go too. Returns whether anything was sent.
    fn update(&mut self, state: State) -> Result<bool, error::Failure>;
}
