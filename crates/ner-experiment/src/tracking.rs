//! The trackers that a training is reported to.

use anyhow::Result;
use ner_track::{Env, Follower, Pace, Wanted, follow};
use std::path::Path;

/// Trackers, and how to reach them.
#[derive(Clone, Debug, Default)]
pub struct Tracking {
    /// What is asked for.
    pub wanted: Wanted,
    /// What the environment says.
    pub env: Env,
}

impl Tracking {
    /// What `wanted` and the environment say together: without a tracker in `wanted`, those of `MEDNER_TRACK`.
    ///
    /// # Errors
    /// If a variable cannot be read, or one that a tracker needs is not set.
    pub fn for_training(wanted: Wanted) -> Result<Self> {
        let mut tracking = Self { wanted, env: Env::from_process()? };
        if tracking.wanted.trackers.is_empty() {
            tracking.wanted.trackers.extend(&tracking.env.trackers);
        }
        tracking.wanted.check(&tracking.env)?;
        Ok(tracking)
    }

    /// Follows a training from now on. Its `metrics.jsonl` must have been cut back where it is resumed.
    ///
    /// # Errors
    /// Where what the run was sent to before cannot be read, or is no longer said by the environment.
    pub fn follow(&self, run: &Path) -> Result<Follower> {
        let wanted = self.wanted.clone().and_as_before(run)?;
        Ok(follow(run, &wanted, &self.env, Pace::default())?)
    }
}
