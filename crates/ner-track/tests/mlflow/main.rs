//! Sends runs to a server that is available, down, broken or slow: in the end it always has everything exactly once.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

mod fake;

use fake::{Fake, Fault};
use ner_runs::{MetricsLog, RunFolder};
use ner_track::{
    Credentials, Env, Extra, MetricsReader, MlflowServer, Pace, State, Synced, TrackerKind, Wanted, follow, sync,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

const QUICK: Pace = Pace {
    poll: Duration::from_millis(5),
    backoff: Duration::from_millis(5),
    longest_backoff: Duration::from_millis(20),
    grace: Duration::from_secs(20),
};

/// A run of a training that only writes files.
struct Training {
    runs: tempfile::TempDir,
    folder: RunFolder,
    log: MetricsLog,
    record: Value,
}

impl Training {
    fn start() -> Self {
        let runs = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(runs.path(), "corpus", 1).unwrap();
        let many: Vec<String> = (0..250).map(|n| format!("type {n}")).collect();
        let record = json!({
            "run": folder.id(),
            "plan": {"dataset": "corpus", "recipe": {"seed": 1}, "labels": null},
            "corpus": many.iter().map(|name| (name.clone(), json!(1))).collect::<serde_json::Map<_, _>>(),
            "labels": "x".repeat(7000),
            "code": {"git_revision": "abc"},
            "started_at": "2026-01-02T03:04:05Z",
            "finished_at": null,
        });
        folder.write_run(&record).unwrap();
        folder.write("model/model.safetensors", b"weights").unwrap();
        folder.write("predictions/dev ä.txt", b"clinical text").unwrap();
        let log = folder.metrics_after(0).unwrap();
        Self { runs, folder, log, record }
    }

    /// Writes steps from `first` to before `end`, each with duration `elapsed_ms`.
    fn steps(&mut self, epoch: u32, first: u32, end: u32, elapsed_ms: f64) {
        for step in first..end {
            let line = json!({
                "epoch": epoch, "step": step, "loss": f64::from(step) / 1024.0, "learning_rate": 0.1, "elapsed_ms": elapsed_ms,
            });
            self.log.append("step", &line).unwrap();
        }
    }

    fn epoch(&mut self, epoch: u32, train_ms: f64) {
        let dev = json!({"overall": {"precision": null, "recall": 0.5, "f1": 0.25 * f64::from(epoch)}});
        let line = json!({"epoch": epoch, "loss": 0.5, "tokens": 100, "train_ms": train_ms, "dev_ms": 1.0, "dev": dev});
        self.log.append("epoch", &line).unwrap();
    }

    fn end(&mut self) {
        self.folder.write_json("scores.json", &json!({"test": {"overall": {"f1": 0.25}}})).unwrap();
        self.record["finished_at"] = "2026-01-02T04:04:05Z".into();
        self.folder.write_run(&self.record).unwrap();
    }

    /// The expected data at the server: key, step and value of each point, sorted.
    fn points(&self) -> Vec<(String, i64, u64)> {
        let mut reader = MetricsReader::new(self.folder.path(), "2026-01-02T03:04:05Z");
        let mut points = reader.read().unwrap();
        points.extend(reader.read_scores().unwrap());
        let mut points: Vec<_> =
            points.into_iter().map(|point| (point.key, point.step, point.value.to_bits())).collect();
        points.sort();
        points
    }

    /// Checks that the server has this run and each of its values exactly once.
    fn check(&self, fake: &Fake, status: &str) {
        fake.with(|store| {
            assert_eq!(store.runs.len(), 1, "one run");
            let run = &store.runs[0];
            assert_eq!((run.name.as_str(), run.status.as_str()), (self.folder.id().as_str(), status));
            let mut metrics: Vec<_> = run.metrics.iter().map(|m| (m.0.clone(), m.1, m.2.to_bits())).collect();
            metrics.sort();
            assert_eq!(metrics, self.points());
            assert_eq!(run.params.len(), 253);
            assert_eq!((run.params["recipe.seed"].as_str(), run.params["labels"].len()), ("1", 6000));
            assert_eq!(run.tags["mlflow.source.git.commit"], "abc");
            for name in ["run.json", "metrics.jsonl"] {
                assert_eq!(run.files[name], fs::read(self.folder.path().join(name)).unwrap(), "{name}");
            }
        });
    }

    fn sync(&self, fake: &Fake) -> Synced {
        loop {
            // A follower's thread may still be running after its grace period.
            match sync(self.folder.path(), &Wanted::default(), &env(fake)).unwrap() {
                Synced::Busy => std::thread::sleep(Duration::from_millis(10)),
                synced => return synced,
            }
        }
    }
}

fn env(fake: &Fake) -> Env {
    Env { mlflow: Some(MlflowServer::new(&fake.uri).unwrap()), ..Env::default() }
}

fn mlflow(extras: &[Extra]) -> Wanted {
    Wanted { trackers: BTreeSet::from([TrackerKind::Mlflow]), extras: extras.iter().copied().collect() }
}

fn wait_for(what: impl Fn() -> bool) {
    while !what() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_training_is_followed_to_its_end() {
    let (fake, mut training) = (Fake::start(), Training::start());
    let follower = follow(training.folder.path(), &mlflow(&[Extra::Model]), &env(&fake), QUICK).unwrap();
    training.steps(1, 1, 2500, 1.0);
    wait_for(|| fake.with(|store| store.runs.first().is_some_and(|run| run.metrics.len() > 10)));
    assert_eq!(training.sync_once(&fake), Synced::Busy);
    training.epoch(1, 10.0);
    training.end();
    follower.finish(State::Finished);
    training.check(&fake, "FINISHED");
    fake.with(|store| {
        assert_eq!(store.experiments, ["corpus"]);
        let files: Vec<&str> = store.runs[0].files.keys().map(String::as_str).collect();
        assert_eq!(files, ["metrics.jsonl", "model/model.safetensors", "run.json", "scores.json"]);
        store.requests.clear();
    });
    // Nothing is left to send, so no request is made.
    assert_eq!(training.sync(&fake), Synced::Complete);
    assert_eq!(fake.with(|store| store.requests.len()), 0);
    // Files with text are sent only on request.
    let all = mlflow(&[Extra::Predictions]);
    assert_eq!(sync(training.folder.path(), &all, &env(&fake)).unwrap(), Synced::Sent);
    fake.with(|store| assert_eq!(store.runs[0].files["predictions/dev%20%C3%A4.txt"], b"clinical text"));
    training.check(&fake, "FINISHED");
}

impl Training {
    fn sync_once(&self, fake: &Fake) -> Synced {
        sync(self.folder.path(), &Wanted::default(), &env(fake)).unwrap()
    }
}

#[test]
fn a_server_that_is_away_gets_everything_later() {
    let (mut fake, mut training) = (Fake::start(), Training::start());
    fake.stop();
    let follower = follow(training.folder.path(), &mlflow(&[]), &env(&fake), QUICK).unwrap();
    training.steps(1, 1, 20, 1.0);
    training.epoch(1, 10.0);
    training.end();
    follower.finish(State::Finished);
    assert!(sync(training.folder.path(), &Wanted::default(), &env(&fake)).is_err());
    fake.start_again();
    assert_eq!(training.sync(&fake), Synced::Sent);
    training.check(&fake, "FINISHED");
    assert_eq!(training.sync(&fake), Synced::Complete);
}

#[test]
fn a_server_that_dies_in_the_middle_has_everything_once() {
    let (mut fake, mut training) = (Fake::start(), Training::start());
    let follower = follow(training.folder.path(), &mlflow(&[]), &env(&fake), QUICK).unwrap();
    training.steps(1, 1, 10, 1.0);
    wait_for(|| fake.with(|store| store.runs.first().is_some_and(|run| run.metrics.len() == 18)));
    fake.stop();
    training.steps(1, 10, 20, 1.0);
    training.epoch(1, 10.0);
    // Neither its first nor its last request gets a response.
    fake.with(|store| store.faults.push(("log-batch", Fault::DoesAndHangsUp)));
    fake.start_again();
    wait_for(|| fake.with(|store| store.faults.is_empty()));
    training.steps(2, 20, 30, 1.0);
    fake.stop();
    training.end();
    follower.finish(State::Finished);
    fake.start_again();
    assert_eq!(training.sync(&fake), Synced::Sent);
    training.check(&fake, "FINISHED");
}

#[test]
fn what_was_done_and_not_answered_is_not_done_again() {
    for fault in [Fault::Refuses, Fault::DoesAndFails, Fault::DoesAndHangsUp] {
        let (fake, mut training) = (Fake::start(), Training::start());
        let calls =
            ["experiments/create", "runs/create", "log-batch", "log-batch", "log-batch", "run.json", "runs/update"];
        fake.with(|store| store.faults = calls.iter().map(|call| (*call, fault)).collect());
        let follower = follow(training.folder.path(), &mlflow(&[]), &env(&fake), QUICK).unwrap();
        training.steps(1, 1, 20, 1.0);
        wait_for(|| fake.with(|store| store.runs.first().is_some_and(|run| !run.metrics.is_empty())));
        fake.with(|store| store.faults.push(("log-batch", fault)));
        training.epoch(1, 10.0);
        training.end();
        follower.finish(State::Finished);
        training.sync(&fake);
        training.check(&fake, "FINISHED");
        assert_eq!(fake.with(|store| store.experiments.clone()), ["corpus"], "{fault:?}");
    }
}

#[test]
fn a_slow_server_is_not_waited_for() {
    let (fake, mut training) = (Fake::start(), Training::start());
    fake.with(|store| store.faults = vec![("", Fault::IsSlow); 4]);
    let impatient = Pace { grace: Duration::ZERO, ..QUICK };
    let follower = follow(training.folder.path(), &mlflow(&[]), &env(&fake), impatient).unwrap();
    training.steps(1, 1, 20, 1.0);
    training.end();
    follower.finish(State::Finished);
    training.sync(&fake);
    training.check(&fake, "FINISHED");
}

#[test]
fn an_interrupted_epoch_that_is_repeated_is_not_sent_again() {
    let (fake, mut training) = (Fake::start(), Training::start());
    let follower = follow(training.folder.path(), &mlflow(&[]), &env(&fake), QUICK).unwrap();
    training.steps(1, 1, 10, 1.0);
    training.epoch(1, 10.0);
    training.steps(2, 10, 16, 1.0);
    follower.finish(State::Killed);
    training.check(&fake, "KILLED");
    training.log = training.folder.metrics_after(1).unwrap();
    let wanted = Wanted::default().and_as_before(training.folder.path()).unwrap();
    assert_eq!(wanted, mlflow(&[]));
    let follower = follow(training.folder.path(), &wanted, &env(&fake), QUICK).unwrap();
    wait_for(|| fake.with(|store| store.runs[0].status == "RUNNING"));
    training.steps(2, 10, 20, 3.0);
    training.epoch(2, 10.0);
    training.end();
    follower.finish(State::Finished);
    training.check(&fake, "FINISHED");
}

#[test]
fn a_run_is_found_again_or_made_anew() {
    let (fake, mut training) = (Fake::start(), Training::start());
    training.steps(1, 1, 5, 1.0);
    // A run that was never followed, whose process has ended.
    assert_eq!(training.sync(&fake), Synced::Untracked);
    assert_eq!(sync(training.folder.path(), &mlflow(&[]), &env(&fake)).unwrap(), Synced::Sent);
    training.check(&fake, "KILLED");
    // Killed after creating the run and before storing its id.
    let path = training.folder.path().join("tracking.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    record["mlflow"][&fake.uri]["run_id"] = Value::Null;
    fs::write(&path, record.to_string()).unwrap();
    training.end();
    assert_eq!(training.sync(&fake), Synced::Sent);
    training.check(&fake, "FINISHED");
    // A server with a new database.
    fake.with(|store| *store = fake::Store::default());
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("finished", "running")).unwrap();
    assert_eq!(training.sync(&fake), Synced::Sent);
    training.check(&fake, "FINISHED");
}

#[test]
fn credentials_go_to_the_server_that_is_named() {
    let (fake, other, training) = (Fake::start(), Fake::start(), Training::start());
    let mut named = env(&fake);
    named.mlflow.as_mut().unwrap().credentials = Some(Credentials::Basic("me".into(), "secret".into()));
    sync(training.folder.path(), &mlflow(&[]), &named).unwrap();
    let seen = |fake: &Fake| fake.with(|store| std::mem::take(&mut store.requests));
    assert!(seen(&fake).iter().all(|(_, sent)| sent.as_deref() == Some("Basic bWU6c2VjcmV0")));
    training.folder.write_json("scores.json", &json!({})).unwrap();
    assert_eq!(sync(training.folder.path(), &Wanted::default(), &Env::default()).unwrap(), Synced::Sent);
    assert!(seen(&fake).iter().all(|(_, sent)| sent.is_none()));
    // Sent to a second server only on request.
    let message = sync(training.folder.path(), &Wanted::default(), &env(&other)).unwrap_err().to_string();
    assert!(message.contains(&fake.uri) && seen(&other).is_empty(), "{message}");
    assert_eq!(sync(training.folder.path(), &mlflow(&[]), &env(&other)).unwrap(), Synced::Sent);
}

#[test]
fn a_store_that_cannot_be_reached_costs_only_the_files() {
    let (fake, mut training) = (Fake::start(), Training::start());
    fake.with(|store| store.artifact_root = "s3://bucket".into());
    training.steps(1, 1, 5, 1.0);
    training.end();
    assert_eq!(sync(training.folder.path(), &mlflow(&[]), &env(&fake)).unwrap(), Synced::Sent);
    fake.with(|store| {
        assert_eq!((store.runs[0].status.as_str(), store.runs[0].files.len()), ("FINISHED", 0));
        assert_eq!(store.runs[0].metrics.len(), training.points().len());
    });
    assert_eq!(training.sync(&fake), Synced::Complete);
}

#[test]
fn what_is_missing_is_said_before_anything_begins() {
    let training = Training::start();
    let message = follow(training.folder.path(), &mlflow(&[]), &Env::default(), QUICK).unwrap_err().to_string();
    assert!(message.contains("MLFLOW_TRACKING_URI"), "{message}");
    assert!(!training.folder.path().join("tracking.json").exists() && training.runs.path().exists());
}
