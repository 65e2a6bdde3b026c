//! Sends what a training could not.

use crate::env::{Env, TrackerKind};
use crate::error::TrackError;
use crate::follow::trackers;
use crate::mlflow::Mlflow;
use crate::record::{Claim, Record, State, Wanted};
use ner_runs::{Run, RunFolder, Status};
use serde::Serialize;
use std::path::Path;

/// What became of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Synced {
    /// No tracker was asked for, now or before.
    Untracked,
    /// All of it had been sent; no connection was opened.
    Complete,
    /// It is at its trackers now.
    Sent,
    /// A process is training it and sends it, or another is sending it.
    Busy,
    /// Its record cannot be read, so that there is nothing to send.
    Unreadable,
}

/// Brings the trackers of a run to what its folder says: those that are wanted, and those that it was sent to before.
///
/// Where the environment names no MLflow server, a run goes to the one that it was sent to before, without credentials.
/// To another one than that it goes only where `wanted` says MLflow.
///
/// # Errors
/// Where a tracker cannot be reached or refuses, or the folder cannot be read or written.
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
