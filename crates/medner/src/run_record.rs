//! What a run says of itself in `run.json`.

use crate::corpus::{self, Place};
use anyhow::{Context, Result};
use ner_data::dataset::Dropped;
use ner_data::{LabelSet, Splits};
use ner_hub::EncoderFiles;
use ner_train::Recipe;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What was asked for, resolved: all that it takes to do the same again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The corpus as the command line named it: a name, or the path of a description.
    pub dataset: String,
    /// Label map, where one was named.
    #[serde(default)]
    pub labels: Option<String>,
    /// Folder of the corpus, where one was named.
    pub data_dir: Option<PathBuf>,
    /// Whether it trains on the synthetic sample.
    pub sample: bool,
    /// Whether faulty parts of the corpus are left out.
    pub lenient: bool,
    /// Encoder: a name, a hub id or a folder.
    pub encoder: String,
    /// Device as asked for.
    pub device: String,
    /// The hyperparameters.
    pub recipe: Recipe,
}

impl Plan {
    /// Where to take the corpus from.
    pub fn place(&self) -> Place {
        Place { data_dir: self.data_dir.clone(), sample: self.sample, labels: self.labels.clone() }
    }
}

/// `run.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRecord {
    /// Id of the run: the name of its folder.
    pub run: String,
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
    /// When it began, UTC.
    pub started_at: String,
    /// When it was resumed, UTC.
    #[serde(default)]
    pub resumed_at: Vec<String>,
    /// When it ended, UTC; none while it runs, and for ever where it was killed.
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
    /// Releases of the libraries that the numbers depend on.
    pub libtorch: String,
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
            machine: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            command: std::env::args().collect(),
        }
    }
}

/// The time, UTC, to the second.
pub fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
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
