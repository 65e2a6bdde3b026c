//! Trackers of a training.

use anyhow::Result;
use ner_track::{Env, Follower, Pace, Wanted, follow};
use std::path::Path;

/// Trackers, and how to reach them.
#[derive(Clone, Debug, Default)]
pub struct Tracking {
    /// Requested trackers.
    pub wanted: Wanted,
    /// Settings from the environment.
    pub env: Env,
}

impl Tracking {
    /// Combines `wanted` with the environment: if `wanted` names no tracker, `MEDNER_TRACK` does.
    ///
    /// # Errors
    /// If a variable cannot be read, or a tracker's variable is not set.
    pub fn for_training(wanted: Wanted) -> Result<Self> {
        let mut tracking = Self { wanted, env: Env::from_process()? };
        if tracking.wanted.trackers.is_empty() {
            tracking.wanted.trackers.extend(&tracking.env.trackers);
        }
        tracking.wanted.check(&tracking.env)?;
        Ok(tracking)
    }

    /// Follows a training from now on. If it is resumed, first cut back its `metrics.jsonl`.
    ///
    /// # Errors
    /// If the record of earlier trackers cannot be read, or the environment no longer names their server.
    pub fn follow(&self, run: &Path) -> Result<Follower> {
        let wanted = self.wanted.clone().and_as_before(run)?;
        Ok(follow(run, &wanted, &self.env, Pace::default())?)
    }
}
