//! What a run says of itself in `run.json`.

use crate::corpus;
use crate::plan::{Plan, ThresholdsFrom};
use anyhow::{Context, Result, ensure};
use ner_data::dataset::Dropped;
use ner_data::{LabelSet, Split, Splits, WindowSize};
use ner_hub::EncoderFiles;
use ner_runs::RunFolder;
use ner_train::Recipe;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `run.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRecord {
    /// Id of the run: the name of its folder.
    pub run: String,
    /// [`TRAINING`]; what else leaves a folder has a record of its own.
    #[serde(default = "training")]
    pub kind: String,
    /// The group that it belongs to: the seeds of one command, or a sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupRecord>,
    /// What was asked for.
    pub plan: Plan,
    /// Labels of the model.
    pub labels: LabelSet,
    /// Device and numbers that it computes in.
    pub device: String,
    /// Kind of the products: `Float`, `BFloat16` or `Half`.
    pub compute: String,
    /// Threads of libtorch. On the CPU a run repeats bit for bit with the same number.
    pub threads: i32,
    /// The encoder that it began from.
    pub encoder: EncoderRecord,
    /// The corpus.
    pub corpus: CorpusRecord,
    /// The code.
    pub code: CodeRecord,
    /// The machine; none in records of earlier versions.
    #[serde(default)]
    pub hardware: Option<HardwareRecord>,
    /// Milliseconds that reading, encoding and aligning all splits took; none in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare_ms: Option<f64>,
    /// When it began, UTC.
    pub started_at: String,
    /// When it was resumed, UTC.
    #[serde(default)]
    pub resumed_at: Vec<String>,
    /// When it ended, UTC; none while it runs, and for ever where it was killed.
    pub finished_at: Option<String>,
    /// The error that it ended with; none where it was stopped or killed, or goes on.
    #[serde(default)]
    pub error: Option<String>,
}

/// The kind of a run that trains.
pub const TRAINING: &str = "train";

fn training() -> String {
    TRAINING.into()
}

/// The group of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Its name, the same for all of its runs.
    pub id: String,
    /// The seeds of all of its runs, in order; none for a sweep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<u64>,
    /// Checksum of what the trial of a sweep is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<String>,
}

/// The machine that a run ran on. It has no name here: that of a machine may be that of its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardwareRecord {
    /// Model of the processor, where the system says it.
    pub processor: Option<String>,
    /// Cores that the process may use.
    pub cores: Option<usize>,
    /// Memory in bytes, where the system says it.
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

/// What an evaluation is of.
#[derive(Clone, Debug, Serialize)]
pub struct EvalPlan {
    /// The training whose model it scores; of an ensemble its trainings, joined by `+`.
    pub run: String,
    /// How the models of an ensemble are brought together: `mean` or `vote`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ensemble: Option<&'static str>,
    /// The split.
    pub split: Split,
    /// Windows at prediction.
    pub window: WindowSize,
    /// Whether predictions are kept with their text, too.
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
    /// What it is of.
    pub plan: EvalPlan,
    /// SHA-256 of the weights of the model; of an ensemble those of its models, joined by `+`.
    pub model_sha256: String,
    /// Where the corpus came from, with checksums.
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
    /// When it began, UTC.
    pub started_at: String,
    /// When it ended, UTC; none where it was killed.
    pub finished_at: Option<String>,
}

/// The encoder that a run began from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncoderRecord {
    /// Name, hub id or folder.
    pub name: String,
    /// Where the files came from.
    pub origin: serde_json::Value,
    /// SHA-256 of the weights.
    pub sha256: String,
    /// Licence, where the registry knows it.
    pub licence: Option<String>,
    /// Tensors of the file that the model has no use for.
    pub unused_tensors: Vec<String>,
}

impl EncoderRecord {
    /// Describes an encoder.
    ///
    /// # Errors
    /// Where its weights cannot be read.
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
    /// Where it came from, with checksums.
    pub origin: corpus::Origin,
    /// The corpora that it is made of, where it is several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<corpus::CorpusPart>,
    /// Documents of each split.
    pub documents: Splits<usize>,
    /// Mentions of each split.
    pub mentions: Splits<usize>,
    /// Mentions that the label map left out, by type.
    #[serde(default)]
    pub dropped: Dropped,
    /// Mentions of each split that the tags cannot say exactly.
    pub misfits: Splits<usize>,
}

/// The code that ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeRecord {
    /// Version of medner.
    pub medner: String,
    /// Commit of the checkout that it ran in; none outside one.
    pub git_revision: Option<String>,
    /// Whether that checkout had changes.
    pub git_dirty: Option<bool>,
    /// Release of libtorch.
    pub libtorch: String,
    /// Releases of the other libraries that the numbers depend on.
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

/// Libraries that decide about tokens, words and sentences, and that draw random numbers.
const LIBRARIES: [&str; 4] = ["rand_chacha", "tch", "tokenizers", "unicode-segmentation"];

/// Their releases as locked when this program was built. Where two releases of one are locked, the newer is ours.
fn libraries() -> BTreeMap<String, String> {
    const LOCK: &str = include_str!("../../../Cargo.lock");
    let packages = LOCK.split("[[package]]").filter_map(|package| {
        let value = |key: &str| package.lines().find_map(|line| line.strip_prefix(key)?.strip_suffix('"'));
        Some((value("name = \"")?, value("version = \"")?))
    });
    let ours = packages.filter(|(name, _)| LIBRARIES.contains(name));
    ours.map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
}

/// The time, UTC, to the second.
pub fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

impl ThresholdsFrom {
    /// Those of the epoch that a run kept, for a training with the same head.
    ///
    /// # Errors
    /// Where it is no training that kept one, or its head is another.
    pub fn of(folder: &RunFolder, recipe: &Recipe) -> Result<Self> {
        let record: RunRecord = folder.read_run()?;
        let same_head = record.plan.recipe.head == recipe.head;
        ensure!(same_head, "run {} has another head, and its thresholds are of that", record.run);
        let chosen = folder.best_epoch()?.and_then(|line| Some(line.get("offsets")?.clone()));
        let chosen = chosen.with_context(|| format!("run {} has chosen no thresholds", record.run))?;
        let offsets: Vec<f32> = serde_json::from_value(chosen)?;
        Ok(Self { offsets: record.labels.types.into_iter().zip(offsets).collect(), run: record.run })
    }
}

/// Where runs are kept: `--runs`, or `experiments/runs` of the checkout that the current folder lies in, or of the
/// current folder.
///
/// # Errors
/// Where there is no current folder.
pub fn runs_folder(wanted: Option<&Path>) -> Result<PathBuf> {
    if let Some(folder) = wanted {
        return Ok(folder.to_owned());
    }
    let here = std::env::current_dir().context("the current folder is gone")?;
    let root =
        here.ancestors().find(|folder| folder.join("experiments").is_dir() && folder.join("Cargo.toml").is_file());
    Ok(root.unwrap_or(&here).join("experiments").join("runs"))
}
