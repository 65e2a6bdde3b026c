//! A run at an MLflow server, through REST API 2.0 (<https://mlflow.org/docs/latest/api_reference/rest-api.html>).
//!
//! Nothing is lost and nothing is sent twice, even after interruptions: - A random tag is stored before the run is
//! created with it. After an unanswered request, the run is found by this tag
//!   instead of being created again.
//! - On first contact and after each failed request, the values at the server are read, and missing ones are sent. A
//!   value always has the same time, so a request that the server executes late adds nothing: its databases keep one row
//!   per key, time, step and value.
//! - Files replace earlier versions.

use crate::Tracker;
use crate::env::MlflowServer;
use crate::error::Failure;
use crate::http::Client;
use crate::points::{Known, MetricsReader, Point, encoded};
use crate::record::{Claim, Extra, MlflowRun, Record, Stamp, State};
use chrono::DateTime;
use fs_err as fs;
use ner_runs::flatten;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use tracing::warn;
use walkdir::WalkDir;

// Limits of MLflow's API. `log-batch` also takes at most a megabyte. Batches stay far below it, except for parameter
// values, which therefore go in smaller batches.
const MOST_METRICS: usize = 1000;
const MOST_PARAMETERS: usize = 100;
const LONGEST_PARAMETER: usize = 6000;
const LONGEST_TAG: usize = 5000;
const LONGEST_KEY: usize = 250;
const HISTORY_PAGE: &str = "10000";

/// The tag that identifies a run.
const KEY_TAG: &str = "medner.key";

/// Parts of `run.json` sent as parameters. Parameters never change at MLflow, so values that change on `--resume` are
/// excluded.
const PARAMETERS: [&str; 7] = ["plan", "labels", "device", "compute", "threads", "encoder", "corpus"];

/// Parts of `run.json` sent as tags.
const TAGS: [&str; 4] = ["group", "code", "hardware", "resumed_at"];

/// A run at an MLflow server.
pub(crate) struct Mlflow {
    claim: Claim,
    server: MlflowServer,
    client: Client,
    experiment: String,
    extras: BTreeSet<Extra>,
    /// `run.json` and a metrics reader; `None` before the first update.
    source: Option<(Value, MetricsReader)>,
    /// Points not sent yet.
    pending: Vec<Point>,
    /// The run at the server and its values; `None` before first contact and after a failed request.
    contact: Option<Contact>,
}

struct Contact {
    run_id: String,
    artifact_uri: String,
    known: Known,
}

impl Mlflow {
    /// Sends nothing before the first update.
    ///
    /// # Errors
    /// If `tracking.json` cannot be written.
    pub(crate) fn new(
        claim: Claim,
        server: &MlflowServer,
        experiment: &str,
        extras: &BTreeSet<Extra>,
    ) -> io::Result<Self> {
        let record = claim.get();
        if !record.mlflow.contains_key(&server.uri) {
            let run = MlflowRun { key: Record::new_key(), experiment: experiment.to_owned(), ..MlflowRun::default() };
            claim.change(|record| drop(record.mlflow.insert(server.uri.clone(), run)))?;
        }
        let experiment = claim.get().mlflow[&server.uri].experiment.clone();
        let client = Client::new(server);
        let (server, extras) = (server.clone(), extras.clone());
        Ok(Self { claim, server, client, experiment, extras, source: None, pending: Vec::new(), contact: None })
    }

    fn recorded(&self) -> MlflowRun {
        self.claim.get().mlflow.remove(&self.server.uri).unwrap_or_default()
    }

    fn record(&self, change: impl FnOnce(&mut MlflowRun)) -> io::Result<()> {
        self.claim.change(|record| change(record.mlflow.entry(self.server.uri.clone()).or_default()))
    }

    fn send(&mut self, state: State) -> Result<(), Failure> {
        let (run, mut reader) = match self.source.take() {
            Some(source) => source,
            None => {
                let run: Value = self.claim.run().read_run()?;
                let reader = MetricsReader::new(self.claim.run().path(), run["started_at"].as_str().unwrap_or(""));
                (run, reader)
            }
        };
        let read = reader.read();
        let scores = if state == State::Running { Ok(Vec::new()) } else { reader.read_scores() };
        let time_ms = reader.time_ms();
        self.source = Some((run.clone(), reader));
        self.pending.extend(read?);
        // An earlier attempt may have left some.
        let mut scores = scores?;
        scores.retain(|point| !self.pending.contains(point));

        let mut contact = match self.contact.take() {
            Some(contact) => contact,
            None => self.make_contact(&run, state)?,
        };
        self.send_points(&mut contact)?;
        self.pending.extend(scores);
        self.send_points(&mut contact)?;
        if state != State::Running {
            self.close(&contact, &run, state, time_ms)?;
        }
        self.contact = Some(contact);
        Ok(())
    }

    /// Finds or creates the run at the server, and reads its values.
    fn make_contact(&self, run: &Value, state: State) -> Result<Contact, Failure> {
        let recorded = self.recorded();
        let found = match &recorded.run_id {
            Some(run_id) => self.get_run(run_id)?,
            None => None,
        };
        let is_another = found.is_none();
        let at_server = match found {
            Some(found) => found,
            None => self.find_or_make(run, &recorded)?,
        };
        let (info, data) = (&at_server["info"], &at_server["data"]);
        let text = |name: &str| info[name].as_str().unwrap_or_default().to_owned();
        let run_id = text("run_id");
        if run_id.is_empty() {
            return Err(Failure::lasting("the server's response contains no run; is it an MLflow server?"));
        }
        if text("lifecycle_stage") == "deleted" {
            let message =
                format!("run {run_id} was deleted there; restore it, or remove {} from tracking.json", self.server.uri);
            return Err(Failure::lasting(message));
        }
        if is_another {
            // Notes about a run that the server no longer has do not apply to the new one.
            self.record(|record| {
                *record = MlflowRun {
                    run_id: Some(run_id.clone()),
                    key: record.key.clone(),
                    experiment: record.experiment.clone(),
                    ..MlflowRun::default()
                }
            })?;
        }
        self.send_texts(&run_id, run, data)?;
        if state == State::Running && info["status"] != "RUNNING" {
            self.client.post("runs/update", &json!({"run_id": run_id, "status": "RUNNING"}))?;
            self.record(|record| record.state = Some(State::Running))?;
        }
        let mut known = Known::default();
        for metric in data["metrics"].as_array().into_iter().flatten() {
            if let Some(key) = metric["key"].as_str() {
                self.read_history(&run_id, key, &mut known)?;
            }
        }
        Ok(Contact { run_id, artifact_uri: text("artifact_uri"), known })
    }

    /// Finds a run by id; `None` if the server has none.
    fn get_run(&self, run_id: &str) -> Result<Option<Value>, Failure> {
        match self.client.get("runs/get", &[("run_id", run_id)]) {
            Ok(mut found) => Ok(Some(found["run"].take())),
            Err(failure) if failure.is("RESOURCE_DOES_NOT_EXIST") => {
                warn!("MLflow at {} no longer has run {run_id}; creating it again", self.server.uri);
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    fn find_or_make(&self, run: &Value, recorded: &MlflowRun) -> Result<Value, Failure> {
        let experiment = self.experiment_id()?;
        let query = json!({
            "experiment_ids": [experiment],
            "filter": format!("tags.`{KEY_TAG}` = '{}'", recorded.key),
            "run_view_type": "ALL",
            "max_results": 1,
        });
        let mut found = self.client.post("runs/search", &query)?;
        if found["runs"][0].is_object() {
            return Ok(found["runs"][0].take());
        }
        let mut made = self.client.post(
            "runs/create",
            &json!({
                "experiment_id": experiment,
                "run_name": self.claim.run().id(),
                "start_time": time_ms(run["started_at"].as_str()),
                "tags": [{"key": KEY_TAG, "value": recorded.key}],
            }),
        )?;
        Ok(made["run"].take())
    }

    fn experiment_id(&self) -> Result<String, Failure> {
        let name = &self.experiment;
        for _ in 0..2 {
            match self.client.get("experiments/get-by-name", &[("experiment_name", name)]) {
                Ok(found) => return Ok(found["experiment"]["experiment_id"].as_str().unwrap_or_default().to_owned()),
                Err(failure) if failure.is("RESOURCE_DOES_NOT_EXIST") => {}
                Err(failure) => return Err(failure),
            }
            match self.client.post("experiments/create", &json!({ "name": name })) {
                Ok(made) => return Ok(made["experiment_id"].as_str().unwrap_or_default().to_owned()),
                // Another run created it in the meantime.
                Err(failure) if failure.is("RESOURCE_ALREADY_EXISTS") => {}
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::passing(format!("cannot find or create experiment {name}")))
    }

    /// Sends missing parameters and tags.
    fn send_texts(&self, run_id: &str, run: &Value, data: &Value) -> Result<(), Failure> {
        let there = |kind: &str, key: &str| {
            let all = data[kind].as_array().into_iter().flatten();
            all.into_iter().find(|item| item["key"] == key).and_then(|item| item["value"].as_str()).map(str::to_owned)
        };
        let mut parameters = Vec::new();
        for (key, value) in parameters_of(run) {
            match there("params", &key) {
                None => parameters.push(json!({"key": key, "value": value})),
                Some(other) if other != value => {
                    warn!(
                        "MLflow keeps its own value of {key}, which differs from run.json: parameters never change there"
                    );
                }
                Some(_) => {}
            }
        }
        let tags = tags_of(run).into_iter().filter(|(key, value)| there("tags", key).as_ref() != Some(value));
        let tags: Vec<Value> = tags.map(|(key, value)| json!({"key": key, "value": value})).collect();
        for tags in tags.chunks(MOST_PARAMETERS) {
            self.client.post("runs/log-batch", &json!({"run_id": run_id, "tags": tags}))?;
        }
        for parameters in parameters.chunks(MOST_PARAMETERS) {
            self.client.post("runs/log-batch", &json!({"run_id": run_id, "params": parameters}))?;
        }
        Ok(())
    }

    /// Adds all values of a metric at the server to `known`.
    fn read_history(&self, run_id: &str, key: &str, known: &mut Known) -> Result<(), Failure> {
        let mut token = String::new();
        loop {
            let mut query = vec![("run_id", run_id), ("metric_key", key), ("max_results", HISTORY_PAGE)];
            if !token.is_empty() {
                query.push(("page_token", &token));
            }
            let page = self.client.get("metrics/get-history", &query)?;
            for metric in page["metrics"].as_array().into_iter().flatten() {
                if let (Some(step), Some(value)) = (integer(&metric["step"]), metric["value"].as_f64()) {
                    known.add_value(key, step, value);
                }
            }
            match page["next_page_token"].as_str() {
                Some(next) if !next.is_empty() && next != token => token = next.to_owned(),
                _ => return Ok(()),
            }
        }
    }

    /// Sends pending points that the server lacks. Sent points leave the queue, even if a later request fails.
    fn send_points(&mut self, contact: &mut Contact) -> Result<(), Failure> {
        self.pending.retain(|point| !contact.known.has(point));
        while !self.pending.is_empty() {
            let count = self.pending.len().min(MOST_METRICS);
            let metric = |point: &Point| json!({"key": point.key, "value": point.value, "timestamp": point.time_ms, "step": point.step});
            let metrics: Vec<Value> = self.pending[..count].iter().map(metric).collect();
            self.client.post("runs/log-batch", &json!({"run_id": contact.run_id, "metrics": metrics}))?;
            for point in self.pending.drain(..count) {
                contact.known.add(&point);
            }
        }
        Ok(())
    }

    /// Sends the files and the final state. The model goes last, because it may take long.
    fn close(&self, contact: &Contact, run: &Value, state: State, time_ms: i64) -> Result<(), Failure> {
        let files = files(self.claim.run().path(), &self.extras)?;
        let (small, large): (Vec<_>, Vec<_>) = files.into_iter().partition(|name| !name.contains('/'));
        self.send_files(contact, &small)?;
        if self.recorded().state != Some(state) {
            // `run.json` was read at the start of the training.
            let record: Value = self.claim.run().read_run()?;
            let finished = record["finished_at"].as_str().or(run["finished_at"].as_str());
            let end = if finished.is_some() { self::time_ms(finished) } else { time_ms };
            let status = match state {
                State::Running => "RUNNING",
                State::Finished => "FINISHED",
                State::Failed => "FAILED",
                State::Killed => "KILLED",
            };
            self.client.post("runs/update", &json!({"run_id": contact.run_id, "status": status, "end_time": end}))?;
            self.record(|record| record.state = Some(state))?;
        }
        self.send_files(contact, &large)
    }

    fn send_files(&self, contact: &Contact, names: &[String]) -> Result<(), Failure> {
        let recorded = self.recorded();
        for name in names {
            let path = self.claim.run().path().join(name);
            let stamp = Stamp::of(&path)?;
            if recorded.files.get(name) == Some(&stamp) {
                continue;
            }
            let Some(root) = proxied(&contact.artifact_uri) else {
                if recorded.closed_store.is_none() {
                    warn!(
                        "MLflow at {} keeps files at {}, which is not reachable through it: parameters and metrics are \
                         sent, files are not. To receive files of new experiments, start the server with \
                         --serve-artifacts (its default) and an --artifacts-destination",
                        self.server.uri, contact.artifact_uri
                    );
                    self.record(|record| record.closed_store = Some(contact.artifact_uri.clone()))?;
                }
                return Ok(());
            };
            self.client.put(&format!("{root}/{name}"), &fs::File::open(&path)?)?;
            self.record(|record| {
                record.files.insert(name.clone(), stamp);
            })?;
        }
        Ok(())
    }

    /// Whether a finished run is completely sent; opens no connection.
    pub(crate) fn is_complete(
        run: &Path,
        record: &MlflowRun,
        extras: &BTreeSet<Extra>,
        state: State,
    ) -> io::Result<bool> {
        if record.state != Some(state) {
            return Ok(false);
        }
        for name in files(run, extras)? {
            // Metrics and scores are sent before files.
            let sent = record.files.get(&name) == Some(&Stamp::of(&run.join(&name))?);
            if !sent && record.closed_store.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Tracker for Mlflow {
    fn name(&self) -> String {
        format!("MLflow at {}", self.server.uri)
    }

    /// Completely sent runs are not updated: [`Mlflow::is_complete`].
    fn update(&mut self, state: State) -> Result<bool, Failure> {
        self.send(state).map(|()| true)
    }
}

/// An integer in a response, which may be a string.
fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// The files of a run to send, as paths in its folder, with slashes.
fn files(run: &Path, extras: &BTreeSet<Extra>) -> io::Result<Vec<String>> {
    let mut names: Vec<String> = ["run.json", "metrics.jsonl", "scores.json"].map(str::to_owned).into();
    names.retain(|name| run.join(name).is_file());
    for extra in extras {
        let folder = match extra {
            Extra::Model => "model",
            Extra::Predictions => "predictions",
        };
        if !run.join(folder).is_dir() {
            continue;
        }
        for entry in WalkDir::new(run.join(folder)).sort_by_file_name() {
            let entry = entry?;
            // Files with a leading dot are being written.
            let is_draft = entry.file_name().to_string_lossy().starts_with('.');
            if let Ok(path) = entry.path().strip_prefix(run)
                && entry.file_type().is_file()
                && !is_draft
            {
                let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
                names.push(parts.join("/"));
            }
        }
    }
    Ok(names)
}

/// The path in the server's own artifact store for an address like `mlflow-artifacts:/1/abc/artifacts`, with or without
/// host. `None` for a store that is not accessible through the server.
fn proxied(artifact_uri: &str) -> Option<String> {
    let rest = artifact_uri.strip_prefix("mlflow-artifacts:")?;
    let path = match rest.strip_prefix("//") {
        Some(rest) => rest.split_once('/')?.1,
        None => rest,
    };
    Some(path.trim_matches('/').to_owned())
}

/// Configuration as parameters, with hyperparameters as `recipe.NAME`; null values are omitted.
fn parameters_of(run: &Value) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    for part in PARAMETERS {
        for (key, value) in flatten(&json!({ part: run[part] })) {
            let key = key.strip_prefix("plan.recipe.").map_or(key.clone(), |name| format!("recipe.{name}"));
            parameters.push((shortened(&encoded(&key), LONGEST_KEY), text(&value, LONGEST_PARAMETER)));
        }
    }
    parameters
}

/// Values that may change on `--resume`, and values with a place of their own in MLflow.
fn tags_of(run: &Value) -> Vec<(String, String)> {
    let mut tags = vec![
        ("mlflow.source.name".to_owned(), "medner".to_owned()),
        ("mlflow.source.type".to_owned(), "LOCAL".to_owned()),
    ];
    if let Some(revision) = run["code"]["git_revision"].as_str() {
        tags.push(("mlflow.source.git.commit".to_owned(), revision.to_owned()));
    }
    let parts = TAGS.map(|part| (part.to_owned(), run[part].clone()));
    for (key, value) in flatten(&Value::Object(parts.into_iter().collect())) {
        tags.push((shortened(&encoded(&key), LONGEST_KEY), text(&value, LONGEST_TAG)));
    }
    tags
}

/// A value as text of at most `most` bytes.
fn text(value: &Value, most: usize) -> String {
    shortened(&value.as_str().map_or_else(|| value.to_string(), str::to_owned), most)
}

/// Shortens a text to at most `most` bytes, and marks the cut. The full text is in `run.json`, which is sent, too.
fn shortened(text: &str, most: usize) -> String {
    const MARK: &str = "...(cut)";
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most - MARK.len()).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    format!("{}{MARK}", &text[..end])
}

fn time_ms(time: Option<&str>) -> i64 {
    time.and_then(|time| DateTime::parse_from_rfc3339(time).ok()).map_or(0, |time| time.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_becomes_parameters() {
        let run = json!({
            "run": "r",
            "plan": {"dataset": "d", "labels": null, "recipe": {"seed": 1, "learning_rate": 3e-4}},
            "labels": {"types": ["A", "B"]},
            "device": "Cpu",
            "corpus": {"origin": {"a b:c": "ä".repeat(4000)}},
            "finished_at": "2026-01-02T03:04:05Z",
        });
        let parameters = parameters_of(&run);
        let keys: Vec<&str> = parameters.iter().map(|(key, _)| key.as_str()).collect();
        let expected =
            ["plan.dataset", "recipe.seed", "recipe.learning_rate", "labels.types", "device", "corpus.origin.a b_3A_c"];
        assert_eq!(keys, expected);
        let values: Vec<&str> = parameters.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values[..5], ["d", "1", "0.0003", "[\"A\",\"B\"]", "Cpu"]);
        assert!(values[5].len() <= LONGEST_PARAMETER && values[5].ends_with("ä...(cut)"));
    }

    #[test]
    fn stores_behind_the_server_are_known() {
        let check = |uri: &str, expected: Option<&str>| assert_eq!(proxied(uri).as_deref(), expected, "{uri}");
        check("mlflow-artifacts:/1/abc/artifacts", Some("1/abc/artifacts"));
        check("mlflow-artifacts://host:80/1/abc/artifacts", Some("1/abc/artifacts"));
        check("s3://bucket/1/abc/artifacts", None);
        check("/srv/mlruns/1/abc/artifacts", None);
    }
}
