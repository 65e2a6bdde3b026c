//! Sends what a training could not send.

use crate::env::{Env, TrackerKind};
use crate::error::TrackError;
use crate::follow::trackers;
use crate::mlflow::Mlflow;
use crate::record::{Claim, Record, State, Wanted};
use ner_runs::{Run, RunFolder, Status};
use serde::Serialize;
use std::path::Path;

/// Result of a synchronisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Synced {
    /// The run has no tracker.
    Untracked,
    /// Everything was already sent; no connection was opened.
    Complete,
    /// The rest was sent.
    Sent,
    /// The run is still training, or another process is sending it.
    Busy,
    /// The record is unreadable, so there is nothing to send.
    Unreadable,
}

/// Updates a run's trackers to the state of its folder: those in `wanted`, and earlier ones.
///
/// If the environment names no MLflow server, the run goes to its earlier one, without credentials. It goes to a
/// different server only if `wanted` includes MLflow.
///
/// # Errors
/// If a tracker is unreachable or refuses, or the folder cannot be read or written.
pub fn sync(run: &Path, wanted: &Wanted, env: &Env) -> Result<Synced, TrackError> {
    let record = Record::read(run)?;
    let asked = wanted.trackers.contains(&TrackerKind::Mlflow);
    let mut wanted = wanted.clone().and_as_before(run)?;
    let env = record.env_or_as_before(env)?;
    if !asked
        && let (Some(server), Some(known)) = (&env.mlflow, record.mlflow.keys().next())
        && !record.mlflow.contains_key(&server.uri)
    {
        return Err(TrackError::OtherServer { known: known.clone(), named: server.uri.clone() });
    }
    if wanted.trackers.is_empty() {
        return Ok(Synced::Untracked);
    }
    wanted.check(&env)?;
    let status = Run::read(RunFolder::at(run)).status;
    if status == Status::Unreadable {
        return Ok(Synced::Unreadable);
    }
    let state = State::from(status);
    if let Some(server) = &env.mlflow
        && wanted.trackers.contains(&TrackerKind::Mlflow)
        && let Some(known) = record.mlflow.get(&server.uri)
        && Mlflow::is_complete(run, known, &wanted.extras, state)?
    {
        wanted.trackers.remove(&TrackerKind::Mlflow);
        if wanted.trackers.is_empty() {
            return Ok(Synced::Complete);
        }
    }
    let Some(claim) = Claim::take(run)? else { return Ok(Synced::Busy) };
    let mut changed = false;
    for mut tracker in trackers(&claim, &wanted, &env)? {
        changed |= tracker.update(state).map_err(|failure| TrackError::Unsent {
            tracker: tracker.name(),
            message: failure.message,
            passing: failure.passing,
        })?;
    }
    Ok(if changed { Synced::Sent } else { Synced::Complete })
}
