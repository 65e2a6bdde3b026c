//! `tracking.json`: the trackers of a run, its names there, and the files sent.
//!
//! It does not store which metrics were sent: the tracker itself is asked.

use crate::env::{Env, MlflowServer, TrackerKind};
use crate::error::TrackError;
use fs_err as fs;
use ner_runs::{Lock, RunFolder, Status};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

/// Files sent on request, beyond record, metrics and scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Extra {
    /// The best model.
    Model,
    /// Predictions, which contain text of documents.
    Predictions,
}

/// State of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// In training.
    Running,
    /// Finished.
    Finished,
    /// Failed with an error.
    Failed,
    /// Stopped by the user or the system.
    Killed,
}

impl From<Status> for State {
    fn from(status: Status) -> Self {
        match status {
            Status::Running => Self::Running,
            Status::Finished => Self::Finished,
            Status::Failed => Self::Failed,
            Status::Stopped | Status::Unreadable => Self::Killed,
        }
    }
}

/// The requested trackers and files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Trackers.
    pub trackers: BTreeSet<TrackerKind>,
    /// Additional files.
    pub extras: BTreeSet<Extra>,
}

impl Wanted {
    /// Adds earlier requests for this run.
    ///
    /// # Errors
    /// If `tracking.json` exists but cannot be read.
    pub fn and_as_before(mut self, run: &Path) -> io::Result<Self> {
        let record = Record::read(run)?;
        self.trackers.extend(record.trackers);
        self.extras.extend(record.extras);
        Ok(self)
    }

    /// Checks that the environment has the settings of these trackers.
    ///
    /// # Errors
    /// If a setting is missing.
    pub fn check(&self, env: &Env) -> Result<(), TrackError> {
        match self.trackers.contains(&TrackerKind::Mlflow) && env.mlflow.is_none() {
            true => Err(TrackError::NoServer),
            false => Ok(()),
        }
    }
}

/// `tracking.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    pub trackers: BTreeSet<TrackerKind>,
    pub extras: BTreeSet<Extra>,
    /// The run at each MLflow server, by server address.
    #[serde(default)]
    pub mlflow: BTreeMap<String, MlflowRun>,
}

/// A run at an MLflow server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct MlflowRun {
    /// Tag of the run, chosen before it is created, so that a run with a lost response can be found.
    pub key: String,
    /// Name of the experiment.
    pub experiment: String,
    /// Id of the run at the server; `None` before it is known.
    pub run_id: Option<String>,
    /// The last state sent.
    pub state: Option<State>,
    /// Files as sent, by path in the run folder.
    pub files: BTreeMap<String, Stamp>,
    /// The server's file store, if it is not accessible through the server.
    pub closed_store: Option<String>,
}

/// Detects changes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    pub bytes: u64,
    /// Unix time in milliseconds.
    pub modified_ms: u64,
}

impl Stamp {
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self { bytes: metadata.len(), modified_ms: modified.as_millis() as u64 })
    }
}

const NAME: &str = "tracking.json";

impl Record {
    /// Reads the record of a run; empty if there is none.
    pub(crate) fn read(run: &Path) -> io::Result<Self> {
        let path = run.join(NAME);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            text => serde_json::from_str(&text?)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))),
        }
    }

    /// The environment; if it names no server, the run's earlier server without credentials.
    pub(crate) fn env_or_as_before(&self, env: &Env) -> Result<Env, TrackError> {
        let mut env = env.clone();
        if let (None, Some(uri)) = (&env.mlflow, self.mlflow.keys().next()) {
            env.mlflow = Some(MlflowServer::new(uri)?);
        }
        Ok(env)
    }

    /// A unique key.
    pub(crate) fn new_key() -> String {
        let random = || RandomState::new().build_hasher().finish();
        format!("{:016x}{:016x}", random(), random())
    }
}

/// The record of a run, claimed by this process for sending. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    run: RunFolder,
    record: Arc<Mutex<Record>>,
    _lock: Arc<Lock>,
}

impl Claim {
    /// Claims a run; `None` if another process has it.
    pub(crate) fn take(run: &Path) -> io::Result<Option<Self>> {
        let Some(lock) = Lock::take(&run.join("tracking.lock"))? else { return Ok(None) };
        let record = Arc::new(Mutex::new(Record::read(run)?));
        Ok(Some(Self { run: RunFolder::at(run), record, _lock: Arc::new(lock) }))
    }

    pub(crate) fn run(&self) -> &RunFolder {
        &self.run
    }

    pub(crate) fn get(&self) -> Record {
        self.guard().clone()
    }

    /// Changes the record and writes it, atomically.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Record)) -> io::Result<()> {
        let mut record = self.guard();
        change(&mut record);
        self.run.write_json(NAME, &*record)
    }

    /// A change is a few assignments, so the record is consistent even after a panic.
    fn guard(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
