//! The life of a run that trains: it begins in a new folder or goes on in its own, under a lock, and ends with a result,
//! with an error, or because the user stopped it.

use crate::record::{RunLife, now, without_names};
use crate::tracking::Tracking;
use anyhow::{Context, Result, bail};
use ner_runs::{Lock, RunFolder, Store};
use ner_track::{Follower, State};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

/// `run.json` of a run that trains.
pub trait TrainingRecord: Serialize + DeserializeOwned {
    /// Its life.
    fn life(&mut self) -> &mut RunLife;
}

/// A resumed run, locked by this process.
pub struct Resumed<R> {
    /// Its folder.
    pub folder: RunFolder,
    /// Held as long as this process trains it.
    pub lock: Lock,
    /// Its record.
    pub record: R,
}

impl<R: TrainingRecord> Resumed<R> {
    /// Locks a run to go on with it.
    ///
    /// # Errors
    /// If another process trains it, it has ended, or its record cannot be read.
    pub fn open(folder: RunFolder) -> Result<Self> {
        let lock = folder.lock()?;
        // Read under the lock: the previous holder may have just finished the run.
        let mut record: R = folder.read_run()?;
        let life = record.life();
        if let Some(finished) = &life.finished_at {
            bail!("run {} ended at {finished}; there is nothing to resume", folder.id());
        }
        life.resumed_at.push(now());
        life.error = None;
        Ok(Self { folder, lock, record })
    }
}

/// Creates the folder of a new run, locked.
///
/// # Errors
/// If it cannot be created.
pub fn new_folder(store: &Store, name: &str, seed: u64) -> Result<(RunFolder, Lock)> {
    let folder = RunFolder::create(store.path(), name, seed).with_context(|| {
        format!("cannot create a run folder in {}; name another place with --runs", store.path().display())
    })?;
    let lock = folder.lock()?;
    Ok((folder, lock))
}

/// Does the work of a run, which gets a function that lets the trackers follow it, and records how it ended: in its record
/// and for the trackers. A finished run loses its state.
///
/// # Errors
/// Those of the work, or if the record cannot be written.
pub fn live<R: TrainingRecord, T>(
    folder: &RunFolder,
    record: &mut R,
    tracking: &Tracking,
    work: impl FnOnce(&R, &mut dyn FnMut() -> Result<()>) -> Result<T>,
) -> Result<T> {
    let mut follower: Option<Follower> = None;
    let outcome = work(record, &mut || {
        follower = Some(tracking.follow(folder.path())?);
        Ok(())
    });
    let end = |follower: Option<Follower>, state: State| {
        if let Some(follower) = follower {
            follower.finish(state);
        }
    };
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            let is_stopped = error.is::<Stopped>();
            if !is_stopped {
                record.life().error = Some(without_names(&error));
                if let Err(second) = folder.write_run(record) {
                    warn!("cannot record the failure of the run: {second}");
                }
            }
            end(follower, if is_stopped { State::Killed } else { State::Failed });
            return Err(error);
        }
    };
    record.life().finished_at = Some(now());
    folder.write_run(record)?;
    end(follower, State::Finished);
    // Four times the size of the weights, and no longer needed.
    fs_err::remove_dir_all(folder.state())?;
    Ok(outcome)
}

/// The user stopped a training.
#[derive(Debug)]
pub struct Stopped {
    /// Where: `in epoch 3`.
    place: String,
    /// The command that continues it.
    resume: String,
}

impl Stopped {
    /// Stopped at `place`; the command `resume` continues it.
    pub const fn at(place: String, resume: String) -> Self {
        Self { place, resume }
    }
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stopped {}; continue with: {}", self.place, self.resume)
    }
}

impl std::error::Error for Stopped {}
