//! `tracking.json`: which trackers a run is sent to, under which names they know it, and what has gone there for good.
//!
//! Which metrics a tracker has does not stand here: the tracker is asked.

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

/// Files beyond the record, the metrics and the scores, that go to a tracker when asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Extra {
    /// The best model.
    Model,
    /// Predictions, which hold the text of documents.
    Predictions,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is trained.
    Running,
    /// It ended.
    Finished,
    /// An error ended it.
    Failed,
    /// A person or the system ended it.
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

/// The trackers that are asked for, and what they get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Trackers.
    pub trackers: BTreeSet<TrackerKind>,
    /// Files beyond the usual ones.
    pub extras: BTreeSet<Extra>,
}

impl Wanted {
    /// Adds what was asked for when the run was trained or synchronised before.
    ///
    /// # Errors
    /// Where `tracking.json` is there and cannot be read.
    pub fn and_as_before(mut self, run: &Path) -> io::Result<Self> {
        let record = Record::read(run)?;
        self.trackers.extend(record.trackers);
        self.extras.extend(record.extras);
        Ok(self)
    }

    /// Says whether the environment has what these trackers need.
    ///
    /// # Errors
    /// Where it has not.
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
    /// The run at each MLflow server, by the server's address.
    #[serde(default)]
    pub mlflow: BTreeMap<String, MlflowRun>,
}

/// A run as an MLflow server knows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct MlflowRun {
    /// Tag of the run, drawn before it is made: a run whose making was not answered is found by it.
    pub key: String,
    /// Name of the experiment.
    pub experiment: String,
    /// The server's name of the run; none before the server gave one.
    pub run_id: Option<String>,
    /// The state that the server was told at last.
    pub state: Option<State>,
    /// Files as they were when they were sent, by their path in the run folder.
    pub files: BTreeMap<String, Stamp>,
    /// Where the server keeps files, where that cannot be reached through it.
    pub closed_store: Option<String>,
}

/// What tells that a file was changed.
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
    /// Reads the record of a run; an empty one where there is none.
    pub(crate) fn read(run: &Path) -> io::Result<Self> {
        let path = run.join(NAME);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            text => serde_json::from_str(&text?)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))),
        }
    }

    /// The environment, with the server that the run was sent to before where it names none; without credentials then.
    pub(crate) fn env_or_as_before(&self, env: &Env) -> Result<Env, TrackError> {
        let mut env = env.clone();
        if let (None, Some(uri)) = (&env.mlflow, self.mlflow.keys().next()) {
            env.mlflow = Some(MlflowServer::new(uri)?);
        }
        Ok(env)
    }

    /// A key that no other run has.
    pub(crate) fn new_key() -> String {
        let random = || RandomState::new().build_hasher().finish();
        format!("{:016x}{:016x}", random(), random())
    }
}

/// The record of a run that this process, and no other, may send. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    run: RunFolder,
    record: Arc<Mutex<Record>>,
    _lock: Arc<Lock>,
}

impl Claim {
    /// Claims a run; `None` where another process has it.
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

    /// Changes the record and writes it, whole or not at all.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Record)) -> io::Result<()> {
        let mut record = self.guard();
        change(&mut record);
        self.run.write_json(NAME, &*record)
    }

    /// A change is a few assignments, so that the record is whole even where one panicked.
    fn guard(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
