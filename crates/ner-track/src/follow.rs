//! Follows a training with one thread per tracker. The threads read the run folder; the training never waits for them.

use crate::Tracker;
use crate::env::{Env, TrackerKind};
use crate::error::{Failure, TrackError};
use crate::mlflow::Mlflow;
use crate::record::{Claim, Record, State, Wanted};
use crate::tensorboard::Tensorboard;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use tracing::{debug, info, warn};

/// Timing of the threads.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Interval between reads of the run folder.
    pub poll: Duration,
    /// Wait after a failure; doubles with each further failure.
    pub backoff: Duration,
    /// Maximum wait after a failure.
    pub longest_backoff: Duration,
    /// How long the end of a training waits for its trackers.
    pub grace: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(2),
            backoff: Duration::from_secs(1),
            longest_backoff: Duration::from_secs(60),
            grace: Duration::from_secs(10),
        }
    }
}

/// The threads that follow a run. If dropped before [`finish`](Self::finish), they report the run as failed.
#[derive(Debug)]
pub struct Follower {
    run: String,
    grace: Duration,
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    tracker: String,
    end: Sender<State>,
    /// Receives one message, when everything is sent or sending has failed.
    result: Receiver<Result<(), Failure>>,
}

/// Follows the run in a folder from now on. The folder must contain `run.json` and, for a resumed run, a
/// `metrics.jsonl` that is already cut back. Unreachable trackers cause a warning and retries. If the environment names
/// no MLflow server, the run goes to its earlier one, without credentials.
///
/// # Errors
/// If the environment lacks a tracker's settings, or `tracking.json` cannot be written.
pub fn follow(run: &Path, wanted: &Wanted, env: &Env, pace: Pace) -> Result<Follower, TrackError> {
    let id = run.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut follower = Follower { run: id, grace: pace.grace, workers: Vec::new() };
    if wanted.trackers.is_empty() {
        return Ok(follower);
    }
    let env = &Record::read(run)?.env_or_as_before(env)?;
    wanted.check(env)?;
    let Some(claim) = Claim::take(run)? else {
        warn!(
            "another process is sending this run; when it has ended, send the rest with `medner runs sync {}`",
            follower.run
        );
        return Ok(follower);
    };
    for tracker in trackers(&claim, wanted, env)? {
        let name = tracker.name();
        let (end, ended) = channel();
        let (send_result, result) = channel();
        thread::Builder::new().name("tracker".into()).spawn(move || {
            let _ = send_result.send(work(tracker, &ended, pace));
        })?;
        follower.workers.push(Worker { tracker: name, end, result });
    }
    Ok(follower)
}

/// The requested trackers. Records the request.
pub(crate) fn trackers(claim: &Claim, wanted: &Wanted, env: &Env) -> Result<Vec<Box<dyn Tracker>>, TrackError> {
    claim.change(|record| {
        record.trackers.extend(&wanted.trackers);
        record.extras.extend(&wanted.extras);
    })?;
    let mut trackers: Vec<Box<dyn Tracker>> = Vec::new();
    for kind in &wanted.trackers {
        trackers.push(match kind {
            TrackerKind::Tensorboard => Box::new(Tensorboard::new(claim.clone())),
            TrackerKind::Mlflow => {
                let server = env.mlflow.as_ref().ok_or(TrackError::NoServer)?;
                let corpus = claim.run().path().parent().and_then(Path::file_name).unwrap_or_default();
                let experiment = env.experiment.clone().unwrap_or_else(|| corpus.to_string_lossy().into_owned());
                Box::new(Mlflow::new(claim.clone(), server, &experiment, &wanted.extras)?)
            }
        });
    }
    Ok(trackers)
}

impl Follower {
    /// Reports how the run ended, and waits for the trackers at most [`Pace::grace`]. Logs a warning for a tracker that
    /// is not finished by then; the data stays in the folder.
    pub fn finish(mut self, state: State) {
        self.end(state);
    }

    fn end(&mut self, state: State) {
        let deadline = Instant::now() + self.grace;
        for worker in &self.workers {
            // A worker that has given up no longer listens; its result has the reason.
            let _ = worker.end.send(state);
        }
        for worker in self.workers.drain(..) {
            let left = deadline.saturating_duration_since(Instant::now());
            let problem = match worker.result.recv_timeout(left) {
                Ok(Ok(())) => continue,
                Ok(Err(failure)) => failure.message,
                Err(_) => format!("not finished after {} s", self.grace.as_secs()),
            };
            let (tracker, run) = (&worker.tracker, &self.run);
            warn!("{tracker} is incomplete ({problem}); send the rest with `medner runs sync {run}`");
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.end(State::Failed);
    }
}

/// Keeps a tracker up to date until the run ends.
fn work(mut tracker: Box<dyn Tracker>, ended: &Receiver<State>, pace: Pace) -> Result<(), Failure> {
    let mut failures = 0;
    let mut wait = Duration::ZERO;
    loop {
        let state = match ended.recv_timeout(wait) {
            Ok(state) => return finish(tracker.as_mut(), state, pace),
            Err(RecvTimeoutError::Timeout) => State::Running,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        match tracker.update(state) {
            Ok(_) => {
                if failures > 0 {
                    info!("{} is reachable again", tracker.name());
                }
                failures = 0;
                wait = pace.poll;
            }
            Err(failure) if failure.passing => {
                if failures == 0 {
                    warn!("{}: {}; will retry while the training continues", tracker.name(), failure.message);
                } else {
                    debug!("{}: {}", tracker.name(), failure.message);
                }
                wait = pace.backoff.saturating_mul(1 << failures.min(16)).min(pace.longest_backoff);
                failures += 1;
            }
            Err(failure) => {
                warn!("{}: {}; the training continues without this tracker", tracker.name(), failure.message);
                return Err(failure);
            }
        }
    }
}

/// The last update, with retries: only use reveals that a server has closed the connection.
fn finish(tracker: &mut dyn Tracker, state: State, pace: Pace) -> Result<(), Failure> {
    const ATTEMPTS: u32 = 3;
    let mut attempt = 1;
    loop {
        match tracker.update(state) {
            Err(failure) if failure.passing && attempt < ATTEMPTS => {
                debug!("{}: {}", tracker.name(), failure.message);
                attempt += 1;
                thread::sleep(pace.backoff);
            }
            result => return result.map(|_| ()),
        }
    }
}
