//! Re-ranking of candidates by an encoder, as SapBERT does (Liu et al. 2021).
//!
//! What an encoder says of two names is the cosine of their vectors. It is one more feature beside those of `rank.rs`. The
//! vectors of all names of a vocabulary are stored in a file, so that a search computes only that of the mention. Those of
//! many mentions are computed together, which takes a fraction of the time.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use memmap2::Mmap;
use ner_files::NewFile;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::layout::hexadecimal;
use crate::lock::locked;
use crate::vocabulary::{CHECKED, Vocabulary};

/// Turns names into vectors.
pub trait NameVectors: Send + Sync {
    /// The vector of each name, of length one. It depends on the name alone.
    fn vectors(&self, names: &[&str]) -> Vec<Vec<f32>>;
}

/// The file of a reranker's folder that says what it is.
pub const SETTINGS_FILE: &str = "reranker.json";

/// Version of [`SETTINGS_FILE`] and of the stored vectors.
pub const RERANKER_VERSION: u32 = 1;

/// How the cosine counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RerankWeights {
    /// Weight of the cosine of a name's vector with that of the mention, beside the logit of the other features.
    pub cosine: f32,
    /// Slope and offset that turn the best sum into the logit of the probability that it is right.
    pub calibration: [f64; 2],
}

impl RerankWeights {
    /// The sum by which candidates are ranked.
    pub fn score(&self, logit: f32, cosine: f32) -> f32 {
        self.cosine.mul_add(cosine, logit)
    }

    /// The probability that the best candidate is right, from its sum.
    pub fn probability(&self, score: f32) -> f64 {
        let [slope, offset] = self.calibration;
        1.0 / (1.0 + (-(slope * f64::from(score) + offset)).exp())
    }
}

/// A vocabulary that a reranker was trained for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainedFor {
    /// Its checksum.
    pub sha256: String,
    /// Its release, for people.
    pub release: String,
    /// Name of the file of its vectors, in the reranker's folder.
    pub vectors: String,
    /// SHA-256 of that file; empty in rerankers of earlier versions.
    #[serde(default)]
    pub vectors_sha256: String,
}

/// What [`SETTINGS_FILE`] holds, but for how the reranker was trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RerankerSettings {
    /// [`RERANKER_VERSION`].
    pub version: u32,
    /// The weights.
    pub weights: RerankWeights,
    /// Smallest score of a link, if one was chosen.
    pub threshold: Option<f64>,
    /// SHA-256 of the encoder's weights.
    pub encoder_sha256: String,
    /// The vocabularies.
    pub vocabularies: Vec<TrainedFor>,
}

/// Why a reranker cannot be used.
#[derive(Debug, Error)]
pub enum RerankError {
    /// A file cannot be read.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The folder lacks [`SETTINGS_FILE`].
    #[error("{} is no reranker: it has no {SETTINGS_FILE}; make one with `medner vocabulary train`", .0.display())]
    None(PathBuf),
    /// The file is no description of a reranker.
    #[error("{path}: {message}; train it again with `medner vocabulary train`")]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// It does not know the vocabulary.
    #[error(
        "the reranker {reranker} was not trained for {vocabulary} (SHA-256 {sha256}), but for {known}; train one with \
         `medner vocabulary train {vocabulary}`"
    )]
    OtherVocabulary {
        /// Folder of the reranker.
        reranker: PathBuf,
        /// File of the vocabulary.
        vocabulary: PathBuf,
        /// Checksum of the vocabulary.
        sha256: String,
        /// The vocabularies that it knows.
        known: String,
    },
}

/// An encoder with weights for its cosines. Threads may share it.
pub struct Reranker {
    folder: PathBuf,
    settings: RerankerSettings,
    encoder: Arc<RememberingEncoder>,
}

impl RerankerSettings {
    /// Those of the folder that `medner vocabulary train` wrote.
    ///
    /// # Errors
    /// If they cannot be read or are of another version.
    pub fn read(folder: &Path) -> Result<Self, RerankError> {
        let path = folder.join(SETTINGS_FILE);
        let text = ner_files::read_text(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => RerankError::None(folder.to_owned()),
            _ => RerankError::Io { path: path.clone(), error },
        })?;
        let settings: Self = serde_json::from_str(&text)
            .map_err(|error| RerankError::Settings { path: path.clone(), message: error.to_string() })?;
        if settings.version != RERANKER_VERSION {
            let message = format!("version {}, but this program reads {RERANKER_VERSION}", settings.version);
            return Err(RerankError::Settings { path, message });
        }
        Ok(settings)
    }
}

impl Reranker {
    /// A reranker with these settings and encoder, whose vectors are in `folder`.
    pub fn new(folder: &Path, settings: RerankerSettings, encoder: Arc<dyn NameVectors>) -> Self {
        Self { folder: folder.to_owned(), settings, encoder: Arc::new(RememberingEncoder::new(encoder)) }
    }

    /// Its settings.
    pub const fn settings(&self) -> &RerankerSettings {
        &self.settings
    }

    /// What re-ranks the candidates of a vocabulary.
    pub(crate) fn of(&self, vocabulary: &Vocabulary) -> Result<Reranking, RerankError> {
        let known = self.settings.vocabularies.iter().find(|known| known.sha256 == vocabulary.sha256());
        let Some(known) = known else {
            let known = self.settings.vocabularies.iter();
            let known = known.map(|known| format!("{} ({})", known.release, known.sha256)).collect::<Vec<_>>();
            return Err(RerankError::OtherVocabulary {
                reranker: self.folder.clone(),
                vocabulary: vocabulary.path().to_owned(),
                sha256: vocabulary.sha256().to_owned(),
                known: known.join(", "),
            });
        };
        let path = self.folder.join(&known.vectors);
        let vectors = StoredVectors::open(&path, vocabulary.names())?;
        if !known.vectors_sha256.is_empty() && vectors.map.len() as u64 <= CHECKED {
            let sha256 = hexadecimal(&Sha256::digest(&vectors.map));
            if sha256 != known.vectors_sha256 {
                return Err(RerankError::Settings { path, message: format!("damaged: its SHA-256 is {sha256}") });
            }
        }
        Ok(Reranking { weights: self.settings.weights, vectors, encoder: Arc::clone(&self.encoder) })
    }
}

/// A reranker with the vectors of a vocabulary.
pub(crate) struct Reranking {
    pub weights: RerankWeights,
    vectors: StoredVectors,
    encoder: Arc<RememberingEncoder>,
}

impl Reranking {
    /// The vectors of a vocabulary with equal weights: what a reranker is fitted to.
    pub fn unfitted(vectors: StoredVectors, encoder: Arc<dyn NameVectors>) -> Self {
        let encoder = Arc::new(RememberingEncoder::new(encoder));
        Self { weights: RerankWeights { cosine: 0.0, calibration: [1.0, 0.0] }, vectors, encoder }
    }

    /// The cosines of a text with names, by their numbers.
    pub fn cosines(&self, text: &str, names: impl Iterator<Item = u32>) -> Vec<f32> {
        let vector = self.encoder.vector(text);
        names.map(|name| self.vectors.cosine(name, &vector)).collect()
    }

    /// Computes the vectors of texts together, for [`cosines`](Self::cosines) of each.
    pub fn prepare(&self, texts: &HashSet<String>) {
        self.encoder.remember(texts);
    }
}

/// An encoder and the vectors that it computed last.
struct RememberingEncoder {
    encoder: Arc<dyn NameVectors>,
    known: Mutex<HashMap<String, Arc<[f32]>>>,
}

/// From so many vectors on, the earlier ones are forgotten: 12 MiB of MiniLM's.
const REMEMBERED: usize = 1 << 13;

impl RememberingEncoder {
    fn new(encoder: Arc<dyn NameVectors>) -> Self {
        Self { encoder, known: Mutex::default() }
    }

    fn vector(&self, text: &str) -> Arc<[f32]> {
        let known = locked(&self.known).get(text).map(Arc::clone);
        known.unwrap_or_else(|| self.compute(&[text]).remove(0))
    }

    fn remember(&self, texts: &HashSet<String>) {
        let mut missing: Vec<&str> = {
            let known = locked(&self.known);
            texts.iter().map(String::as_str).filter(|text| !known.contains_key(*text)).collect()
        };
        if !missing.is_empty() {
            missing.sort_unstable();
            self.compute(&missing);
        }
    }

    fn compute(&self, texts: &[&str]) -> Vec<Arc<[f32]>> {
        let vectors: Vec<Arc<[f32]>> = self.encoder.vectors(texts).into_iter().map(Arc::from).collect();
        let mut known = locked(&self.known);
        if known.len() + texts.len() > REMEMBERED {
            known.clear();
        }
        known.extend(texts.iter().map(|text| (*text).to_owned()).zip(vectors.iter().cloned()));
        vectors
    }
}

/// The vectors of all names of a vocabulary, mapped into memory: for each a factor, f32, and its numbers divided by it, i8.
pub struct StoredVectors {
    map: Mmap,
    row: usize,
}

impl StoredVectors {
    /// Opens a file of [`VectorWriter`] with as many vectors as names.
    ///
    /// # Errors
    /// If it cannot be read or has another size.
    pub fn open(path: &Path, names: u64) -> Result<Self, RerankError> {
        let failed = |error| RerankError::Io { path: path.to_owned(), error };
        let file: File = ner_files::open_regular(path).map_err(failed)?;
        // SAFETY: as for vocabularies: the file is never changed, but replaced by a rename.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        let row = map.len() / usize::try_from(names.max(1)).unwrap_or(usize::MAX);
        if row <= FACTOR || map.len() as u64 != row as u64 * names {
            let message = format!("{} bytes are no vectors of {names} names", map.len());
            return Err(RerankError::Settings { path: path.to_owned(), message });
        }
        Ok(Self { map, row })
    }

    fn cosine(&self, name: u32, vector: &[f32]) -> f32 {
        let start = name as usize * self.row;
        let Some((factor, numbers)) = self.map.get(start..start + self.row).and_then(|row| row.split_first_chunk())
        else {
            return 0.0;
        };
        let sum: f32 = numbers.iter().zip(vector).map(|(number, other)| f32::from(number.cast_signed()) * other).sum();
        sum * f32::from_le_bytes(*factor)
    }
}

/// Bytes of a factor.
const FACTOR: usize = 4;

/// Writes the vectors of names, in the order of their numbers.
pub struct VectorWriter {
    file: NewFile,
    hash: Sha256,
}

impl VectorWriter {
    /// A new file; it appears when it is finished.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: NewFile::create(path)?, hash: Sha256::new() })
    }

    /// Adds a vector.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn push(&mut self, vector: &[f32]) -> io::Result<()> {
        let largest = vector.iter().fold(f32::MIN_POSITIVE, |most, number| most.max(number.abs()));
        let factor = largest / 127.0;
        let numbers = vector.iter().map(|number| (number / factor).round() as i8 as u8);
        let row: Vec<u8> = factor.to_le_bytes().into_iter().chain(numbers).collect();
        self.hash.update(&row);
        self.file.write_all(&row)
    }

    /// Closes the file and returns its SHA-256, in hexadecimal.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(self) -> io::Result<String> {
        self.file.finish()?;
        Ok(hexadecimal(&self.hash.finalize()))
    }
}
