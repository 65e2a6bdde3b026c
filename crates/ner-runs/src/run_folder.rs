use crate::earlier::modernised;
use crate::{Lock, RunsError};
use fs_err as fs;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The folder of a run, with all its data.
///
/// | file | what |
/// |---|---|
/// | `run.json` | resolved configuration, origins and checksums, versions, times |
/// | `metrics.jsonl` | one line per step and per epoch |
/// | `model/` | the best model so far, in Hugging Face layout |
/// | `state/` | state for `--resume` |
/// | `scores.json` | dev and test scores, once the run has ended |
/// | `predictions/` | gold and predicted mentions of dev and test, as offsets; with text only on request |
/// | `tags.json` | the user's tags |
/// | `lock` | held while the run's process lives |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

pub(crate) const RUN: &str = "run.json";
pub(crate) const SCORES: &str = "scores.json";
/// A file beside `run.json`, because the run's own process rewrites that.
pub(crate) const TAGS: &str = "tags.json";
const METRICS: &str = "metrics.jsonl";
const LOCK: &str = "lock";

impl RunFolder {
    /// Creates a new folder `runs/dataset/ID`. The id is the UTC time and the seed, plus a number if two runs start in
    /// the same second.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn create(runs: &Path, dataset: &str, seed: u64) -> io::Result<Self> {
        Self::create_named(runs, dataset, &format!("seed{seed}"))
    }

    /// Like [`create`](Self::create), with a word in place of the seed.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn create_named(runs: &Path, dataset: &str, word: &str) -> io::Result<Self> {
        let parent = runs.join(dataset);
        fs::create_dir_all(&parent)?;
        let stem = format!("{}-{word}", chrono::Utc::now().format("%Y%m%dT%H%M%SZ"));
        for number in 1.. {
            let id = if number == 1 { stem.clone() } else { format!("{stem}-{number}") };
            let path = parent.join(id);
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made?,
            }
            return Ok(Self { path });
        }
        unreachable!("there is always a next number")
    }

    /// Finds a run of `dataset`: `latest` (the newest with a model), an id, or a folder.
    ///
    /// # Errors
    /// If there is no such run; the message lists the existing ones.
    pub fn find(runs: &Path, dataset: &str, wanted: &str) -> io::Result<Self> {
        let place = PathBuf::from(wanted);
        if place.join(RUN).exists() {
            return Ok(Self { path: place });
        }
        let all = Self::list(&runs.join(dataset))?;
        let found = match wanted {
            "latest" => all.iter().rev().find(|run| run.model().join("model.safetensors").exists()),
            _ => all.iter().find(|run| run.id() == wanted),
        };
        found.cloned().ok_or_else(|| {
            let known = match all.as_slice() {
                [] => format!("there are none yet; create one with `train {dataset}`"),
                all => format!("there are {}", all.iter().map(Self::id).collect::<Vec<_>>().join(", ")),
            };
            let message = format!("no run {wanted} of {dataset} in {}: {known}", runs.display());
            io::Error::new(io::ErrorKind::NotFound, message)
        })
    }

    /// The runs in a folder, oldest first.
    fn list(folder: &Path) -> io::Result<Vec<Self>> {
        if !folder.exists() {
            return Ok(Vec::new());
        }
        let mut runs = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.join(RUN).exists() {
                runs.push(Self { path });
            }
        }
        runs.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(runs)
    }

    /// An existing folder.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Marks the run as running while the lock lives.
    ///
    /// # Errors
    /// If another process holds the run, or the lock cannot be written.
    pub fn lock(&self) -> Result<Lock, RunsError> {
        let path = self.path.join(LOCK);
        Lock::take(&path)?.ok_or_else(|| RunsError::Running {
            run: self.id(),
            process: Lock::holder(&path).unwrap_or_else(|| "a process".into()),
        })
    }

    /// The process that runs it, as it identified itself; `None` if none does.
    pub fn holder(&self) -> Option<String> {
        Lock::holder(&self.path.join(LOCK))
    }

    /// Path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name of the folder.
    pub fn id(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Folder of the model.
    pub fn model(&self) -> PathBuf {
        self.path.join("model")
    }

    /// Folder of the state to resume from.
    pub fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    /// Reads `run.json`.
    ///
    /// # Errors
    /// If it cannot be read, or has another structure.
    pub fn read_run<T: DeserializeOwned>(&self) -> io::Result<T> {
        let path = self.path.join(RUN);
        serde_json::from_str(&fs::read_to_string(&path)?)
            .and_then(|record| serde_json::from_value(modernised(record)))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display())))
    }

    /// Writes `run.json`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_run(&self, run: &impl Serialize) -> io::Result<()> {
        self.write_json(RUN, run)
    }

    /// Writes a file of the run, atomically.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        ner_files::write_bytes(&self.path.join(name), contents)
    }

    /// Writes a JSON file of the run, atomically.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(value)?;
        text.push(b'\n');
        self.write(name, &text)
    }

    /// The line in `metrics.jsonl` of the epoch whose model was kept; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn best_epoch(&self) -> Result<Option<serde_json::Value>, RunsError> {
        let text = fs::read_to_string(self.path().join(METRICS))?;
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        Ok(lines.rfind(|line| line["kind"] == "epoch" && line["best"] == true))
    }

    /// Opens `metrics.jsonl` for appending. First removes the lines of epochs after `epoch`, which a resumed run writes
    /// again.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn metrics_after(&self, epoch: usize) -> io::Result<MetricsLog> {
        self.metrics_until("epoch", epoch)
    }

    /// The same for a run whose state is saved within epochs: removes the lines of steps after `step`.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn metrics_until_step(&self, step: usize) -> io::Result<MetricsLog> {
        self.metrics_until("step", step)
    }

    fn metrics_until(&self, key: &str, last: usize) -> io::Result<MetricsLog> {
        let path = self.path.join(METRICS);
        if path.exists() {
            let kept = |line: &&str| {
                let line: Result<serde_json::Value, _> = serde_json::from_str(line);
                line.is_ok_and(|line| line[key].as_u64().is_some_and(|of| of <= last as u64))
            };
            let text = fs::read_to_string(&path)?;
            let lines: String = text.lines().filter(kept).flat_map(|line| [line, "\n"]).collect();
            self.write(METRICS, lines.as_bytes())?;
        }
        Ok(MetricsLog(fs::OpenOptions::new().create(true).append(true).open(path)?))
    }
}

/// The metrics of a run: one JSON object per line, each written at once.
#[derive(Debug)]
pub struct MetricsLog(fs::File);

impl MetricsLog {
    /// Appends a line with `kind` and the fields of `value`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn append(&mut self, kind: &str, value: &impl Serialize) -> io::Result<()> {
        #[derive(Serialize)]
        struct Line<'v, T> {
            kind: &'v str,
            #[serde(flatten)]
            value: &'v T,
        }
        let mut line = serde_json::to_vec(&Line { kind, value })?;
        line.push(b'\n');
        self.0.write_all(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn runs_do_not_collide_and_the_latest_with_a_model_is_found() {
        let runs = tempfile::tempdir().unwrap();
        let first = RunFolder::create(runs.path(), "d", 1).unwrap();
        let second = RunFolder::create(runs.path(), "d", 1).unwrap();
        assert_ne!(first, second);
        for run in [&first, &second] {
            run.write_run(&json!({})).unwrap();
        }
        let message = RunFolder::find(runs.path(), "d", "latest").unwrap_err().to_string();
        assert!(message.contains(&first.id()) && message.contains(&second.id()), "{message}");
        first.write("model/model.safetensors", b"x").unwrap();
        assert_eq!(RunFolder::find(runs.path(), "d", "latest").unwrap(), first);
        assert_eq!(RunFolder::find(runs.path(), "d", &second.id()).unwrap(), second);
    }

    #[test]
    fn metrics_of_epochs_that_are_repeated_are_written_once() {
        let runs = tempfile::tempdir().unwrap();
        let run = RunFolder::create(runs.path(), "d", 1).unwrap();
        let mut log = run.metrics_after(0).unwrap();
        for epoch in 1..=3 {
            log.append("step", &json!({ "epoch": epoch })).unwrap();
        }
        drop(log);
        run.metrics_after(1).unwrap().append("step", &json!({ "epoch": 2 })).unwrap();
        let text = fs::read_to_string(run.path().join(METRICS)).unwrap();
        assert_eq!(text, "{\"kind\":\"step\",\"epoch\":1}\n{\"kind\":\"step\",\"epoch\":2}\n");
    }
}
