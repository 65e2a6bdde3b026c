//! What a training is to do, resolved.

use crate::corpus::CorpusSource;
use anyhow::{Context, Result};
use ner_train::Recipe;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

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
    /// Whether `encoder` is the folder of a trained model whose head goes on, too (`--init-from`).
    #[serde(default)]
    pub keep_head: bool,
    /// Device as asked for.
    pub device: String,
    /// Whether predictions are kept with their text, too, in the format of the corpus.
    #[serde(default)]
    pub keep_text: bool,
    /// Whether the test split is left alone: so it is in every trial of a sweep.
    #[serde(default)]
    pub dev_only: bool,
    /// The splits that it learns from.
    #[serde(default, skip_serializing_if = "TrainOn::is_train")]
    pub train_on: TrainOn,
    /// Thresholds that were chosen elsewhere, where its own dev split cannot choose them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds_from: Option<ThresholdsFrom>,
    /// The hyperparameters.
    pub recipe: Recipe,
}

/// The splits that a training learns from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrainOn {
    /// The train split; dev chooses the epoch and the thresholds.
    #[default]
    #[serde(rename = "train")]
    Train,
    /// Both. Nothing is left to choose by: the last epoch is kept.
    #[serde(rename = "train+dev")]
    TrainAndDev,
}

impl TrainOn {
    /// Whether it is the train split alone.
    pub fn is_train(&self) -> bool {
        *self == Self::Train
    }
}

/// Thresholds of another run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThresholdsFrom {
    /// The run.
    pub run: String,
    /// What its dev split chose to add to the log-odds of each type.
    pub offsets: BTreeMap<String, f32>,
}

impl ThresholdsFrom {
    /// In the order of `types`.
    ///
    /// # Errors
    /// Where the types are not the same.
    pub fn for_types(&self, types: &[String]) -> Result<Vec<f32>> {
        let found: Option<Vec<f32>> = types.iter().map(|name| self.offsets.get(name).copied()).collect();
        found.filter(|found| found.len() == self.offsets.len()).with_context(|| {
            let theirs: Vec<&str> = self.offsets.keys().map(String::as_str).collect();
            format!("run {} has thresholds for {}, not for {}", self.run, theirs.join(", "), types.join(", "))
        })
    }
}

impl Plan {
    /// A training on the train split of `dataset`, on the best device there is; dev chooses, the test split is scored.
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
            recipe,
        }
    }

    /// Where to take the corpus from.
    pub fn source(&self) -> CorpusSource {
        CorpusSource { data_dir: self.data_dir.clone(), sample: self.sample, labels: self.labels.clone() }
    }
}
