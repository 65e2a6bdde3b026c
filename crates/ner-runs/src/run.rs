//! Reads runs of any kind and status.

use crate::RunFolder;
use crate::earlier::modernised;
use crate::prune;
use crate::run_folder::{RUN, SCORES, TAGS};
use serde::Serialize;
use serde_json::Value;
use std::fmt;
use std::path::Path;

/// Status of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Its process is alive.
    Running,
    /// It finished, and its results are complete.
    Finished,
    /// It failed; its record has the error.
    Failed,
    /// It was stopped or killed: its files are intact, but incomplete.
    Stopped,
    /// Its record is missing or invalid: it was killed at the start, or is not a run.
    Unreadable,
}

impl Status {
    /// Name of the status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A run in the store.
///
/// Record and scores are plain JSON rather than types, because earlier versions or commands unknown to this crate may
/// have written them.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its folder.
    pub folder: RunFolder,
    /// Its corpus: the name of the parent folder.
    pub dataset: String,
    /// Its status.
    pub status: Status,
    /// What is unreadable about it, as a message.
    pub fault: Option<String>,
    /// `run.json`; null if unreadable.
    pub record: Value,
    /// `scores.json`; null if missing.
    pub scores: Value,
    /// Its tags.
    pub tags: Vec<String>,
}

/// Short column names for keys of the record or the scores.
const SHORT: [(&str, &str); 10] = [
    ("group", "group.id"),
    ("seed", "plan.recipe.seed"),
    ("encoder", "plan.encoder"),
    ("epochs", "plan.recipe.epochs"),
    ("dev", "scores.dev.overall.f1"),
    ("test", "scores.test.overall.f1"),
    ("train_on", "plan.train_on"),
    ("started", "started_at"),
    ("finished", "finished_at"),
    ("revision", "code.git_revision"),
];

/// Prefix of score keys.
const IN_SCORES: &str = "scores.";

/// The full key for a short name, or the name itself.
fn long(key: &str) -> &str {
    SHORT.iter().find(|(short, _)| *short == key).map_or(key, |(_, long)| long)
}

/// Places in the record to look up a partial key.
const PREFIXES: [&str; 3] = ["", "plan.recipe.", "plan."];

/// Keys outside the record and the scores.
pub(crate) const OWN: [&str; 6] = ["run", "dataset", "kind", "status", "tags", "fault"];

/// The short names.
pub(crate) fn short_names() -> impl Iterator<Item = &'static str> {
    OWN.into_iter().chain(SHORT.iter().map(|(short, _)| *short))
}

impl Run {
    /// Reads a run. Problems are in [`fault`](Self::fault), so that lists can show them.
    pub fn read(folder: RunFolder) -> Self {
        Self::read_with(folder, |name, json| {
            let value = serde_json::from_slice(json)?;
            Ok(if name == RUN { modernised(value) } else { value })
        })
    }

    /// Reads only the status and what [`value`](Self::value) needs for `keys`; record and scores contain nothing else.
    pub fn read_only(folder: RunFolder, keys: &[&str]) -> Self {
        const ALWAYS: [&str; 4] = ["kind", "finished_at", "error", "group.id"];
        let (scores, record): (Vec<&str>, Vec<&str>) =
            keys.iter().map(|key| long(key)).partition(|key| key.starts_with(IN_SCORES));
        let scores: Vec<&str> = scores.iter().map(|key| &key[IN_SCORES.len()..]).collect();
        let record: Vec<String> = PREFIXES
            .iter()
            .flat_map(|prefix| record.iter().map(move |key| format!("{prefix}{key}")))
            .chain(ALWAYS.map(str::to_owned))
            .collect();
        let record: Vec<&str> = record.iter().map(String::as_str).collect();
        Self::read_with(folder, |name, json| match name {
            RUN => prune::parse(json, &record).map(modernised),
            SCORES => prune::parse(json, &scores),
            _ => serde_json::from_slice(json),
        })
    }

    fn read_with(folder: RunFolder, parse: impl Fn(&str, &[u8]) -> serde_json::Result<Value>) -> Self {
        let mut fault = None;
        let mut read = |name: &str, optional: bool| match read_json(&folder.path().join(name), |json| parse(name, json))
        {
            Ok(Some(value)) => value,
            Ok(None) if optional => Value::Null,
            Ok(None) => {
                fault.get_or_insert(format!("{name} is missing"));
                Value::Null
            }
            Err(message) => {
                fault.get_or_insert(message);
                Value::Null
            }
        };
        let record = read(RUN, false);
        let scores = read(SCORES, true);
        let tags = serde_json::from_value(read(TAGS, true)).unwrap_or_default();
        let is_text = |key: &str| record.get(key).is_some_and(Value::is_string);
        // Only an unfinished run can be alive, so the lock of a finished one is not checked.
        let status = match record.is_object() {
            true if is_text("finished_at") => Status::Finished,
            _ if folder.holder().is_some() => Status::Running,
            true if is_text("error") => Status::Failed,
            true => Status::Stopped,
            false => Status::Unreadable,
        };
        let dataset = folder.path().parent().and_then(Path::file_name).unwrap_or_default();
        let dataset = dataset.to_string_lossy().into_owned();
        Self { folder, dataset, status, fault, record, scores, tags }
    }

    /// Its id.
    pub fn id(&self) -> String {
        self.folder.id()
    }

    /// `train`, `eval`, `annotate`, or another kind in its record. Records of earlier versions without a kind are
    /// trainings.
    pub fn kind(&self) -> &str {
        match &self.record {
            Value::Object(record) => record.get("kind").and_then(Value::as_str).unwrap_or("train"),
            _ => "",
        }
    }

    /// Its group, if any.
    pub fn group(&self) -> Option<&str> {
        self.record.get("group")?.get("id")?.as_str()
    }

    /// The value of a key: one of the run itself (`run`, `dataset`, `kind`, `status`, `tags`, `fault`), a short name
    /// (`dev`, `seed`, …), a key of the record (`plan.recipe.dropout`, or `dropout`), or one of the scores
    /// (`scores.test.overall.precision`). `None` if it has no value.
    pub fn value(&self, key: &str) -> Option<Value> {
        let text = |text: &str| Some(Value::from(text)).filter(|_| !text.is_empty());
        match key {
            "run" => return text(&self.id()),
            "dataset" => return text(&self.dataset),
            "kind" => return text(self.kind()),
            "status" => return text(self.status.name()),
            "tags" => return text(&self.tags.join(",")),
            "fault" => return text(self.fault.as_deref().unwrap_or_default()),
            _ => {}
        }
        let long = long(key);
        let found = match long.strip_prefix(IN_SCORES) {
            Some(rest) => lookup(&self.scores, rest),
            None => PREFIXES.iter().find_map(|prefix| lookup(&self.record, &format!("{prefix}{long}"))),
        };
        found.filter(|value| !value.is_null()).cloned()
    }
}

/// Looks up a dotted key in nested objects. Keys may contain dots themselves (types of a corpus).
fn lookup<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    let object = value.as_object()?;
    if let Some(found) = object.get(key) {
        return Some(found);
    }
    key.match_indices('.').find_map(|(at, _)| lookup(object.get(&key[..at])?, &key[at + 1..]))
}

/// All values with dotted keys; a list counts as one value.
pub fn flatten(value: &Value) -> Vec<(String, Value)> {
    fn walk(prefix: &str, value: &Value, flat: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                    walk(&key, value, flat);
                }
            }
            Value::Null => {}
            value => flat.push((prefix.to_owned(), value.clone())),
        }
    }
    let mut flat = Vec::new();
    walk("", value, &mut flat);
    flat
}

/// Reads a JSON file; `None` if it is missing, an error message if it is invalid.
fn read_json(path: &Path, parse: impl Fn(&[u8]) -> serde_json::Result<Value>) -> Result<Option<Value>, String> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    parse(&bytes).map(Some).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_half_written_folder_is_shown_as_what_it_is() {
        let runs = tempfile::tempdir().unwrap();
        let check = |files: &[(&str, &str)], status: Status, fault: Option<&str>| {
            let folder = RunFolder::create(runs.path(), "d", 1).unwrap();
            for (name, text) in files {
                folder.write(name, text.as_bytes()).unwrap();
            }
            let run = Run::read(folder);
            assert_eq!(run.status, status, "{files:?}");
            assert!(run.fault.as_deref().unwrap_or_default().contains(fault.unwrap_or_default()), "{:?}", run.fault);
            assert_eq!(run.fault.is_some(), fault.is_some(), "{:?}", run.fault);
        };
        check(&[], Status::Unreadable, Some("run.json is missing"));
        check(&[("run.json", "")], Status::Unreadable, Some("run.json: EOF"));
        check(&[("run.json", "{\"finished_at\": nul")], Status::Unreadable, Some("run.json: "));
        check(&[("run.json", "[1, 2]")], Status::Unreadable, None);
        check(&[("run.json", "{}")], Status::Stopped, None);
        check(&[("run.json", "{\"finished_at\": null, \"error\": null}")], Status::Stopped, None);
        check(&[("run.json", "{\"finished_at\": null, \"error\": \"no\"}")], Status::Failed, None);
        check(&[("run.json", "{\"finished_at\": \"2026\"}")], Status::Finished, None);
        check(
            &[("run.json", "{\"finished_at\": \"2026\"}"), ("scores.json", "{")],
            Status::Finished,
            Some("scores.json"),
        );
        let folder = RunFolder::create(runs.path(), "d", 1).unwrap();
        let lock = folder.lock().unwrap();
        assert_eq!(Run::read(folder.clone()).status, Status::Running);
        assert!(folder.lock().is_err());
        drop(lock);
        assert_eq!(Run::read(folder).status, Status::Unreadable);
    }

    #[test]
    fn values_are_found_by_short_and_by_long_names() {
        let runs = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(runs.path(), "d", 1).unwrap();
        folder
            .write_run(
                &json!({"plan": {"encoder": "e", "recipe": {"seed": 3, "dropout": 0.5}}, "a": {"b.c": {"d": 1}}}),
            )
            .unwrap();
        folder
            .write_json(SCORES, &json!({"dev": {"overall": {"f1": 0.5}, "per_type": {"X.Y": {"f1": null}}}}))
            .unwrap();
        let run = Run::read(folder);
        let check = |key: &str, expected: Value| assert_eq!(run.value(key).unwrap_or_default(), expected, "{key}");
        check("dataset", json!("d"));
        check("kind", json!("train"));
        check("seed", json!(3));
        check("dropout", json!(0.5));
        check("plan.recipe.dropout", json!(0.5));
        check("dev", json!(0.5));
        check("scores.dev.overall.f1", json!(0.5));
        check("scores.dev.per_type.X.Y.f1", Value::Null);
        check("a.b.c.d", json!(1));
        check("tags", Value::Null);
        check("nothing.of.it", Value::Null);
        assert_eq!(
            flatten(&json!({"a": {"b": 1, "c": [2]}, "d": null, "e": "x"})),
            [("a.b".into(), json!(1)), ("a.c".into(), json!([2])), ("e".into(), json!("x"))]
        );
    }
}
