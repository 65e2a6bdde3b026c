//! Records of runs in `run.json`.

use crate::auxiliary::AuxiliaryRecord;
use crate::corpus;
use crate::plan::{Plan, ThresholdsFrom};
use crate::teacher::TeacherRecord;
use anyhow::{Context, Result, ensure};
use ner_data::dataset::Dropped;
use ner_data::{LabelSet, Split, Splits, WindowSize};
use ner_hub::EncoderFiles;
use ner_runs::RunFolder;
use ner_train::{Recipe, TrainError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `run.json` of a training.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRecord {
    /// Id of the run: the name of its folder.
    pub run: String,
    /// [`TRAINING`]; other kinds of runs have their own record types.
    #[serde(default = "training")]
    pub kind: String,
    /// Its group: the seeds of one command, or a sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupRecord>,
    /// The resolved training.
    pub plan: Plan,
    /// Labels of the model.
    pub labels: LabelSet,
    /// Device name.
    pub device: String,
    /// Compute precision: `fp32`, `bf16` or `fp16`.
    pub compute: String,
    /// Threads of libtorch. On the CPU a run repeats bit for bit with the same number.
    pub threads: i32,
    /// The initial encoder.
    pub encoder: EncoderRecord,
    /// The corpus.
    pub corpus: CorpusRecord,
    /// Auxiliary corpora.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub auxiliary: Vec<AuxiliaryRecord>,
    /// Its teachers and the text that they labelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<TeacherRecord>,
    /// The code.
    pub code: CodeRecord,
    /// The machine; `None` in records of earlier versions.
    #[serde(default)]
    pub hardware: Option<HardwareRecord>,
    /// Milliseconds to read, encode and align all splits; `None` in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare_ms: Option<f64>,
    /// When it began, went on and ended.
    #[serde(flatten)]
    pub life: RunLife,
}

/// When a run began, went on and ended; part of its `run.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunLife {
    /// Start time, UTC.
    pub started_at: String,
    /// Times of resumption, UTC.
    #[serde(default)]
    pub resumed_at: Vec<String>,
    /// End time, UTC; `None` while running, or if killed.
    pub finished_at: Option<String>,
    /// The error, if it failed; `None` if it was stopped or killed, or is running.
    #[serde(default)]
    pub error: Option<String>,
}

impl RunLife {
    /// A run that starts now.
    pub fn begin() -> Self {
        Self { started_at: now(), resumed_at: Vec::new(), finished_at: None, error: None }
    }
}

/// The kind of a run that trains.
pub const TRAINING: &str = "train";

fn training() -> String {
    TRAINING.into()
}

/// The group of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Its name, shared by all of its runs.
    pub id: String,
    /// The seeds of all of its runs, in order; empty for a sweep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<u64>,
    /// Checksum that identifies the trial of a sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<String>,
}

/// The machine of a run. Its name is not recorded: it may be its owner's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardwareRecord {
    /// Processor model, if the system provides it.
    pub processor: Option<String>,
    /// Cores available to the process.
    pub cores: Option<usize>,
    /// Memory in bytes, if the system provides it.
    pub memory_bytes: Option<u64>,
}

impl HardwareRecord {
    /// Describes this machine.
    pub fn of_this_machine() -> Self {
        let value = |file: &str, key: &str| {
            let text = fs_err::read_to_string(file).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
        };
        let kibibytes = value("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        Self {
            processor: value("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().ok().map(usize::from),
            memory_bytes: kibibytes.map(|kibibytes| kibibytes * 1024),
        }
    }
}

/// Settings of an evaluation.
#[derive(Clone, Debug, Serialize)]
pub struct EvalPlan {
    /// The evaluated training; for an ensemble its trainings, joined by `+`.
    pub run: String,
    /// Combination rule of an ensemble: `mean` or `vote`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ensemble: Option<&'static str>,
    /// The split.
    pub split: Split,
    /// Windows for prediction.
    pub window: WindowSize,
    /// Whether to keep predictions with their text, too.
    pub keep_text: bool,
    /// As in the [`Plan`] of the training.
    pub dataset: String,
    /// Likewise.
    pub labels: Option<String>,
    /// Likewise.
    pub sample: bool,
    /// Likewise.
    pub lenient: bool,
    /// Likewise.
    pub encoder: String,
    /// Likewise: how the model was trained.
    pub recipe: Recipe,
}

/// `run.json` of an evaluation.
#[derive(Clone, Debug, Serialize)]
pub struct EvalRecord {
    /// Its id.
    pub run: String,
    /// `eval`.
    pub kind: String,
    /// Its settings.
    pub plan: EvalPlan,
    /// SHA-256 of the model's weights; for an ensemble, those of all models, joined by `+`.
    pub model_sha256: String,
    /// Origin of the corpus, with checksums.
    pub corpus: corpus::Origin,
    /// As in [`RunRecord`].
    pub device: String,
    /// Likewise.
    pub compute: String,
    /// Likewise.
    pub threads: i32,
    /// The code.
    pub code: CodeRecord,
    /// The machine.
    pub hardware: HardwareRecord,
    /// Start time, UTC.
    pub started_at: String,
    /// End time, UTC; `None` if killed.
    pub finished_at: Option<String>,
}

/// The initial encoder of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncoderRecord {
    /// Name, hub id or folder.
    pub name: String,
    /// Origin of the files.
    pub origin: serde_json::Value,
    /// SHA-256 of the weights.
    pub sha256: String,
    /// Licence, if the registry has it.
    pub licence: Option<String>,
    /// Tensors in the file that the model does not use.
    pub unused_tensors: Vec<String>,
}

impl EncoderRecord {
    /// Describes an encoder.
    ///
    /// # Errors
    /// If the weights cannot be read.
    pub fn of(files: &EncoderFiles, unused_tensors: Vec<String>) -> Result<Self> {
        Ok(Self {
            name: files.name.clone(),
            origin: serde_json::to_value(&files.origin)?,
            sha256: files.weights_sha256()?,
            licence: files.licence.clone(),
            unused_tensors,
        })
    }
}

/// The corpus of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorpusRecord {
    /// Origin, with checksums.
    pub origin: corpus::Origin,
    /// The joined corpora; empty for a single one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<corpus::CorpusPart>,
    /// Number of documents in each split.
    pub documents: Splits<usize>,
    /// Number of mentions in each split.
    pub mentions: Splits<usize>,
    /// Mentions dropped by the label map, by type.
    #[serde(default)]
    pub dropped: Dropped,
    /// Number of mentions in each split that the tags cannot represent exactly.
    pub misfits: Splits<usize>,
}

/// The code of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeRecord {
    /// Version of medner.
    pub medner: String,
    /// Git commit of the checkout; `None` outside one.
    pub git_revision: Option<String>,
    /// Whether the checkout had uncommitted changes.
    pub git_dirty: Option<bool>,
    /// Release of libtorch.
    pub libtorch: String,
    /// Releases of other libraries that affect the numbers.
    #[serde(default)]
    pub libraries: BTreeMap<String, String>,
    /// Operating system and processor family.
    pub machine: String,
    /// The command line.
    pub command: Vec<String>,
}

impl CodeRecord {
    /// Describes this process.
    pub fn of_this_process() -> Self {
        let git = |arguments: &[&str]| {
            let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
            Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        Self {
            medner: env!("CARGO_PKG_VERSION").into(),
            git_revision: git(&["rev-parse", "HEAD"]),
            git_dirty: git(&["status", "--porcelain"]).map(|changes| !changes.is_empty()),
            libtorch: ner_model::LIBTORCH_VERSION.into(),
            libraries: libraries(),
            machine: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            command: std::env::args().collect(),
        }
    }
}

/// Libraries that tokenize, split words and sentences, or draw random numbers.
const LIBRARIES: [&str; 4] = ["rand_chacha", "tch", "tokenizers", "unicode-segmentation"];

/// Their releases in the lock file at build time. If two releases are locked, ours is the newer one.
fn libraries() -> BTreeMap<String, String> {
    const LOCK: &str = include_str!("../../../Cargo.lock");
    let packages = LOCK.split("[[package]]").filter_map(|package| {
        let value = |key: &str| package.lines().find_map(|line| line.strip_prefix(key)?.strip_suffix('"'));
        Some((value("name = \"")?, value("version = \"")?))
    });
    let ours = packages.filter(|(name, _)| LIBRARIES.contains(name));
    ours.map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
}

/// The current time, UTC, to the second.
pub fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

impl ThresholdsFrom {
    /// The thresholds of a run's best epoch, for a training with the same head.
    ///
    /// # Errors
    /// If the run is not a training with a chosen epoch, or has another head.
    pub fn of(folder: &RunFolder, recipe: &Recipe) -> Result<Self> {
        let record: RunRecord = folder.read_run()?;
        let same_head = record.plan.recipe.head == recipe.head;
        ensure!(same_head, "run {} has another head, so its thresholds do not apply", record.run);
        let chosen = folder.best_epoch()?.and_then(|line| Some(line.get("offsets")?.clone()));
        let chosen = chosen.with_context(|| format!("run {} has no chosen thresholds", record.run))?;
        let offsets: Vec<f32> = serde_json::from_value(chosen)?;
        Ok(Self { offsets: record.labels.types.into_iter().zip(offsets).collect(), run: record.run })
    }
}

/// The error for a record, without names: a message on stderr may name files and documents, and a file's name can be a
/// patient's name.
pub fn without_names(error: &anyhow::Error) -> String {
    for cause in error.chain() {
        if let Some(TrainError::NotFinite { what, value, step, .. }) = cause.downcast_ref::<TrainError>() {
            return format!("the {what} is {value} at step {step}");
        }
        if let Some(error) = cause.downcast_ref::<tch::TchError>() {
            // The further lines are a trace of libtorch's own code.
            return format!("libtorch: {}", error.to_string().lines().next().unwrap_or_default());
        }
    }
    // Errors of libraries contain the system's error as text only.
    let message = format!("{error:#}");
    let code = message.rsplit_once("(os error ").and_then(|(_, rest)| rest.split(')').next()?.parse().ok());
    match code.map(io::Error::from_raw_os_error) {
        Some(error) => format!("a file cannot be read or written: {error}"),
        None => "an error whose message is not recorded, because it may name files or documents".into(),
    }
}

/// Folder of runs: `--runs`, or `experiments/runs` of the checkout that contains the current folder, or of the current
/// folder.
///
/// # Errors
/// If the current folder does not exist.
pub fn runs_folder(wanted: Option<&Path>) -> Result<PathBuf> {
    if let Some(folder) = wanted {
        return Ok(folder.to_owned());
    }
    let here = std::env::current_dir().context("the current folder does not exist")?;
    let root =
        here.ancestors().find(|folder| folder.join("experiments").is_dir() && folder.join("Cargo.toml").is_file());
    Ok(root.unwrap_or(&here).join("experiments").join("runs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_in_a_record_names_no_file_and_no_document() {
        let full = || io::Error::from_raw_os_error(28);
        let named = io::Error::new(full().kind(), format!("JohnDoe.jsonl cannot be written: {}", full()));
        let documents = vec!["JohnDoe".to_owned()];
        let table = [
            (anyhow::Error::from(named), "a file cannot be read or written: No space left on device (os error 28)"),
            (
                TrainError::from(full()).into(),
                "a file cannot be read or written: No space left on device (os error 28)",
            ),
            (
                TrainError::NotFinite { what: "loss", value: f64::NAN, step: 7, documents }.into(),
                "the loss is NaN at step 7",
            ),
            (anyhow::anyhow!("JohnDoe.txt is odd"), "an error whose message is not recorded"),
        ];
        for (error, expected) in table {
            let error = error.context("document JohnDoe");
            assert!(without_names(&error).starts_with(expected), "{}", without_names(&error));
        }
    }
}
