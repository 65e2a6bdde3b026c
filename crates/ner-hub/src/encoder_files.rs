//! The files of an encoder in a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::hash;
use crate::registry::EncoderEntry;
use crate::tokenizer_names::{TOKENIZER, TOKENIZERS};

/// File format of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightsFormat {
    /// `model.safetensors`.
    Safetensors,
    /// `pytorch_model.bin`: a pickle in a zip file, or a bare pickle if it is old.
    PytorchBin,
}

/// Where an encoder's files came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Origin {
    /// The user's folder.
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// The hub cache; nothing was downloaded.
    Cache {
        /// The repository.
        id: String,
        /// As requested: a branch, a tag or a commit.
        revision: String,
        /// The commit.
        commit: String,
    },
    /// The hub; the files are in the hub cache now.
    Hub {
        /// The repository.
        id: String,
        /// As requested: a branch, a tag or a commit.
        revision: String,
        /// The commit.
        commit: String,
    },
    /// A Python package; the files are in medner's own cache.
    Package {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
}

/// The files of an encoder. All of them exist.
#[derive(Clone, Debug, Serialize)]
pub struct EncoderFiles {
    /// The name in the registry, else the user's specification.
    pub name: String,
    /// The folder that holds the files.
    pub dir: PathBuf,
    /// `config.json`.
    pub config: PathBuf,
    /// `model.safetensors` or `pytorch_model.bin`, or the index of their shards; the former if both exist.
    pub weights: PathBuf,
    /// Which of the two.
    pub weights_format: WeightsFormat,
    /// `tokenizer.json`, which may configure truncation and padding. At least one of it, `vocab`, and the pair
    /// `vocab.json` and `merges.txt` exists.
    pub tokenizer: Option<PathBuf>,
    /// `vocab.txt`.
    pub vocab: Option<PathBuf>,
    /// `tokenizer_config.json`. For a `vocab.txt` it says whether to lower-case.
    pub tokenizer_config: Option<PathBuf>,
    /// Where the files came from.
    pub origin: Origin,
    /// SPDX identifier, for encoders of the registry.
    pub licence: Option<String>,
    /// Whether case matters, for encoders of the registry.
    pub cased: Option<bool>,
}

impl EncoderFiles {
    /// Computes the SHA-256 of the weights ([`weights_sha256`]).
    pub fn weights_sha256(&self) -> Result<String, Error> {
        weights_sha256(&self.weights)
    }

    /// Finds the files in a folder. `place` names it in errors.
    pub(crate) fn in_folder(dir: &Path, name: &str, place: &str, origin: Origin) -> Result<EncoderFiles, Error> {
        // A cache's link to a removed target counts as missing.
        let file = |name: &str| Some(dir.join(name)).filter(|path| path.is_file());
        let config = file("config.json");
        let weights = WEIGHTS.iter().find_map(|(name, format)| Some((file(name)?, *format)));
        let (tokenizer, vocab) = (file("tokenizer.json"), file("vocab.txt"));
        let has_tokenizer = TOKENIZERS.iter().any(|names| names.iter().all(|name| file(name).is_some()));
        let (Some(config), Some((weights, weights_format)), true) = (config.clone(), weights.clone(), has_tokenizer)
        else {
            let needs = [
                ("config.json", config.is_none()),
                ("model.safetensors or pytorch_model.bin", weights.is_none()),
                (TOKENIZER, !has_tokenizer),
            ];
            let missing = needs.into_iter().filter_map(|(what, is_missing)| is_missing.then_some(what)).collect();
            return Err(Error::Incomplete { place: place.to_owned(), missing, found: listing(dir)? });
        };
        if let Some(shard) = shards_of(&weights)?.into_iter().find(|shard| file(shard).is_none()) {
            return Err(Error::Index { path: weights, message: format!("the shard {shard} is missing beside it") });
        }
        Ok(EncoderFiles {
            name: name.to_owned(),
            dir: dir.to_owned(),
            config,
            weights,
            weights_format,
            tokenizer,
            vocab,
            tokenizer_config: file("tokenizer_config.json"),
            origin,
            licence: None,
            cased: None,
        })
    }

    /// Adds name, licence and case from the registry.
    pub(crate) fn described_by(mut self, entry: Option<&EncoderEntry>) -> EncoderFiles {
        if let Some(entry) = entry {
            self.name = entry.name.to_owned();
            self.licence = Some(entry.licence.to_owned());
            self.cased = Some(entry.cased);
        }
        self
    }
}

/// Names of the weights and of indexes of shards, in order of preference: safetensors loads without a copy and runs no
/// code.
pub(crate) const WEIGHTS: [(&str, WeightsFormat); 4] = [
    ("model.safetensors", WeightsFormat::Safetensors),
    ("model.safetensors.index.json", WeightsFormat::Safetensors),
    ("pytorch_model.bin", WeightsFormat::PytorchBin),
    ("pytorch_model.bin.index.json", WeightsFormat::PytorchBin),
];

/// The shards of an index, in a list of what is missing.
pub(crate) const SHARDS: &str = "file for one of the shards of its weights";

/// How the name of an index of shards ends.
const INDEX: &str = ".index.json";

/// The names of the shards of weights, sorted; none unless the weights are an index.
///
/// # Errors
/// If the index cannot be read, or names a file outside of its folder.
pub(crate) fn shards_of(weights: &Path) -> Result<Vec<String>, Error> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    if !weights.to_string_lossy().ends_with(INDEX) {
        return Ok(Vec::new());
    }
    let fault = |message: String| Error::Index { path: weights.to_owned(), message };
    let text = ner_files::read_text(weights).map_err(|error| fault(error.to_string()))?;
    let index: Index = serde_json::from_str(&text).map_err(|error| fault(format!("not an index: {error}")))?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    let is_beside = |shard: &String| Path::new(shard).file_name() == Some(OsStr::new(shard)) && !shard.ends_with(INDEX);
    match shards.iter().find(|shard| !is_beside(shard)) {
        Some(shard) => Err(fault(format!("refused: the shard {shard} is not a weights file beside it"))),
        None => Ok(shards.into_iter().collect()),
    }
}

/// Computes the SHA-256 of a weights file, reading it in pieces; about a second for a base model. For an index, it is
/// that of the list of its shards, a line `SHA256  NAME` each, as `sha256sum` prints it.
///
/// # Errors
/// If a file cannot be read.
pub fn weights_sha256(weights: &Path) -> Result<String, Error> {
    let shards = shards_of(weights)?;
    if shards.is_empty() {
        return hash::sha256_file(weights);
    }
    let mut list = String::new();
    for shard in shards {
        let sum = hash::sha256_file(&weights.with_file_name(&shard))?;
        list += &format!("{sum}  {shard}\n");
    }
    Ok(hash::sha256_text(&list))
}

/// File names for an error message, sorted and limited in number.
fn listing(dir: &Path) -> Result<Vec<String>, Error> {
    const LIMIT: usize = 20;
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    if names.len() > LIMIT {
        let more = names.len() - LIMIT;
        names.truncate(LIMIT);
        names.push(format!("{more} more"));
    }
    Ok(names)
}
