//! The resolved plan of a training.

use crate::corpus::CorpusSource;
use anyhow::{Context, Result};
use ner_train::Recipe;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A resolved training: everything needed to repeat it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The corpus as named on the command line: a name, or the path of a description.
    pub dataset: String,
    /// Label map, if any.
    #[serde(default)]
    pub labels: Option<String>,
    /// Folder of the corpus, if given.
    pub data_dir: Option<PathBuf>,
    /// Whether it trains on the synthetic sample.
    pub sample: bool,
    /// Whether to skip faulty parts of the corpus.
    pub lenient: bool,
    /// Encoder: a name, a hub id or a folder.
    pub encoder: String,
    /// Whether `encoder` is the folder of a trained model whose head is kept, too (`--init-from`).
    #[serde(default)]
    pub keep_head: bool,
    /// Requested device.
    pub device: String,
    /// Whether to keep predictions with their text, too, in the corpus's format.
    #[serde(default)]
    pub keep_text: bool,
    /// Whether to skip the test split, as in every trial of a sweep.
    #[serde(default)]
    pub dev_only: bool,
    /// The splits to train on.
    #[serde(default, skip_serializing_if = "TrainOn::is_train")]
    pub train_on: TrainOn,
    /// Thresholds from another run, for trainings without a dev split of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds_from: Option<ThresholdsFrom>,
    /// Auxiliary corpora.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub auxiliary: Vec<AuxiliaryPlan>,
    /// Model folders of the teachers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teachers: Vec<String>,
    /// Files and folders of unlabelled text, which the teachers label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unlabelled: Vec<PathBuf>,
    /// Number of the encoder's layers to keep; `None` keeps all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub student_layers: Option<usize>,
    /// The hyperparameters.
    pub recipe: Recipe,
}

/// An auxiliary corpus: its labels train the encoder through a head of its own, and it is not scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuxiliaryPlan {
    /// The corpus: a name, or the path of a description.
    pub dataset: String,
    /// Factor on its loss.
    pub weight: f64,
}

impl std::str::FromStr for AuxiliaryPlan {
    type Err = String;

    /// Parses `CORPUS` (weight 1) or `CORPUS=WEIGHT`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (dataset, weight) = match text.rsplit_once('=') {
            None => (text, 1.0),
            Some((dataset, weight)) => (dataset, weight.parse().unwrap_or(f64::NAN)),
        };
        if !(weight > 0.0 && weight.is_finite()) {
            return Err("the weight must be a number above 0, as in drugprot=0.5".into());
        }
        Ok(Self { dataset: dataset.to_owned(), weight })
    }
}

/// The splits to train on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrainOn {
    /// The train split; dev chooses the epoch and the thresholds.
    #[default]
    #[serde(rename = "train")]
    Train,
    /// Both; without a dev split, the last epoch is kept.
    #[serde(rename = "train+dev")]
    TrainAndDev,
}

impl TrainOn {
    /// Whether this is the train split alone.
    pub fn is_train(&self) -> bool {
        *self == Self::Train
    }
}

/// Thresholds of another run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThresholdsFrom {
    /// The run.
    pub run: String,
    /// Offsets that dev chose for the log-odds of each type.
    pub offsets: BTreeMap<String, f32>,
}

impl ThresholdsFrom {
    /// The offsets in the order of `types`.
    ///
    /// # Errors
    /// If the types differ.
    pub fn for_types(&self, types: &[String]) -> Result<Vec<f32>> {
        let found: Option<Vec<f32>> = types.iter().map(|name| self.offsets.get(name).copied()).collect();
        found.filter(|found| found.len() == self.offsets.len()).with_context(|| {
            let types_there: Vec<&str> = self.offsets.keys().map(String::as_str).collect();
            format!("run {} has thresholds for {}, not for {}", self.run, types_there.join(", "), types.join(", "))
        })
    }
}

impl Plan {
    /// A training on the train split of `dataset`, on the best device, with dev to choose and the test split scored.
    pub fn new(dataset: &str, encoder: &str, recipe: Recipe) -> Self {
        Self {
            dataset: dataset.to_owned(),
            labels: None,
            data_dir: None,
            sample: false,
            lenient: false,
            encoder: encoder.to_owned(),
            keep_head: false,
            device: "auto".to_owned(),
            keep_text: false,
            dev_only: false,
            train_on: TrainOn::Train,
            thresholds_from: None,
            auxiliary: Vec::new(),
            teachers: Vec::new(),
            unlabelled: Vec::new(),
            student_layers: None,
            recipe,
        }
    }

    /// Where to take the corpus from.
    pub fn source(&self) -> CorpusSource {
        CorpusSource { data_dir: self.data_dir.clone(), sample: self.sample, labels: self.labels.clone() }
    }
}
