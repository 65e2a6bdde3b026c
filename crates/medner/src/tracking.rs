//! Options about trackers.

use anyhow::Result;
use clap::ValueEnum;
use ner_track::{Env, Extra, Follower, Pace, TrackerKind, Wanted, follow};
use std::path::Path;

/// Whom to tell of a run.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Options {
    /// Tell a tracker of the run; may be repeated (default: what it was sent to before; for a new training MEDNER_TRACK)
    #[arg(long, value_name = "TRACKER", value_delimiter = ',')]
    track: Vec<Tracker>,
    /// Send the model to MLflow, too
    #[arg(long)]
    track_model: bool,
    /// Send the predictions to MLflow, too; they may hold the text of documents
    #[arg(long)]
    track_predictions: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Tracker {
    /// The server at MLFLOW_TRACKING_URI
    Mlflow,
    /// Event files in the run folder
    Tensorboard,
}

/// Trackers, and how to reach them.
#[derive(Clone, Debug, Default)]
pub struct Tracking {
    /// What is asked for.
    pub wanted: Wanted,
    /// What the environment says.
    pub env: Env,
}

impl Options {
    /// What the command line says.
    ///
    /// # Errors
    /// Where a variable makes no sense.
    pub fn tracking(&self) -> Result<Tracking> {
        let kind = |tracker: &Tracker| match tracker {
            Tracker::Mlflow => TrackerKind::Mlflow,
            Tracker::Tensorboard => TrackerKind::Tensorboard,
        };
        let extras = [(self.track_model, Extra::Model), (self.track_predictions, Extra::Predictions)];
        let wanted = Wanted {
            trackers: self.track.iter().map(kind).collect(),
            extras: extras.into_iter().filter(|(wanted, _)| *wanted).map(|(_, extra)| extra).collect(),
        };
        Ok(Tracking { wanted, env: Env::from_process()? })
    }

    /// What a training is told: what the command line says, and else `MEDNER_TRACK`.
    ///
    /// # Errors
    /// Where a variable makes no sense, or one that a tracker needs is not set.
    pub fn for_training(&self) -> Result<Tracking> {
        let mut tracking = self.tracking()?;
        if tracking.wanted.trackers.is_empty() {
            tracking.wanted.trackers.extend(&tracking.env.trackers);
        }
        tracking.wanted.check(&tracking.env)?;
        Ok(tracking)
    }
}

impl Tracking {
    /// Follows a training from now on. Its `metrics.jsonl` must have been cut back where it is resumed.
    ///
    /// # Errors
    /// Where what the run was sent to before cannot be read, or is no longer said by the environment.
    pub fn follow(&self, run: &Path) -> Result<Follower> {
        let wanted = self.wanted.clone().and_as_before(run)?;
        Ok(follow(run, &wanted, &self.env, Pace::default())?)
    }
}
