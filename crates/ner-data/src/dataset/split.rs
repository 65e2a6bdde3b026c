use crate::{Diagnostics, Document};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// The documents of a split, and the faults of its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadedSplit {
    /// The documents, in the order of the file.
    pub documents: Vec<Document>,
    /// The faults.
    pub diagnostics: Diagnostics,
}

/// The three parts of a corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// For training.
    Train,
    /// For model selection.
    Dev,
    /// For the final measurement.
    Test,
}

impl Split {
    /// All splits, in their usual order.
    pub const ALL: [Self; 3] = [Self::Train, Self::Dev, Self::Test];

    /// `train`, `dev` or `test`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Dev => "dev",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One value per split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Splits<T> {
    /// The value of the training split.
    pub train: T,
    /// The value of the development split.
    pub dev: T,
    /// The value of the test split.
    pub test: T,
}

impl<T> Splits<T> {
    /// The value of `split`.
    pub const fn get(&self, split: Split) -> &T {
        match split {
            Split::Train => &self.train,
            Split::Dev => &self.dev,
            Split::Test => &self.test,
        }
    }

    /// The value of `split`, mutably.
    pub const fn get_mut(&mut self, split: Split) -> &mut T {
        match split {
            Split::Train => &mut self.train,
            Split::Dev => &mut self.dev,
            Split::Test => &mut self.test,
        }
    }

    /// All three values with their splits, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Split, &T)> {
        Split::ALL.into_iter().map(|split| (split, self.get(split)))
    }

    /// Maps each value, in order, up to the first error.
    ///
    /// # Errors
    /// The first error of `make`.
    pub fn try_map<'s, U, E>(&'s self, mut make: impl FnMut(Split, &'s T) -> Result<U, E>) -> Result<Splits<U>, E> {
        Ok(Splits {
            train: make(Split::Train, &self.train)?,
            dev: make(Split::Dev, &self.dev)?,
            test: make(Split::Test, &self.test)?,
        })
    }

    /// Maps each value, in order.
    pub fn map<'s, U>(&'s self, mut make: impl FnMut(Split, &'s T) -> U) -> Splits<U> {
        Splits {
            train: make(Split::Train, &self.train),
            dev: make(Split::Dev, &self.dev),
            test: make(Split::Test, &self.test),
        }
    }
}

/// A random split for a corpus without splits. The same ids and seed always give the same split, in any order of the
/// documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomSplit {
    /// The file or folder with all documents, inside the corpus's folder.
    pub file: String,
    /// Further files or folders with documents.
    #[serde(default)]
    pub more: Vec<String>,
    /// Share of the documents in the development split.
    #[serde(default = "tenth")]
    pub dev: f64,
    /// Share of the documents in the test split.
    #[serde(default = "tenth")]
    pub test: f64,
    /// Seed of the split.
    #[serde(default)]
    pub seed: u64,
}

const fn tenth() -> f64 {
    0.1
}

impl RandomSplit {
    /// Assigns each document to a split by its id: documents are ordered by the SHA-256 of `seed:id`; the first share
    /// is dev, the next is test.
    pub fn assign<'i>(&self, ids: impl IntoIterator<Item = &'i str>) -> Vec<Split> {
        let key = |id: &str| Sha256::digest(format!("{}:{id}", self.seed));
        let keys: Vec<_> = ids.into_iter().map(key).collect();
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_by_key(|&at| keys[at]);
        let count = |share: f64| (share * keys.len() as f64).round() as usize;
        let (dev, test) = (count(self.dev), count(self.test));
        let mut splits = vec![Split::Train; keys.len()];
        for (rank, at) in order.into_iter().enumerate().take(dev + test) {
            splits[at] = if rank < dev { Split::Dev } else { Split::Test };
        }
        splits
    }

    /// Whether the shares leave training data.
    pub fn is_sound(&self) -> bool {
        self.dev >= 0.0 && self.test >= 0.0 && self.dev + self.test < 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_split_depends_on_ids_and_seed_alone() {
        let ids: Vec<String> = (0..50).map(|at| format!("d{at}")).collect();
        let split = RandomSplit { file: String::new(), more: Vec::new(), dev: 0.1, test: 0.2, seed: 7 };
        let forwards = split.assign(ids.iter().map(String::as_str));
        let mut backwards = split.assign(ids.iter().rev().map(String::as_str));
        backwards.reverse();
        assert_eq!(forwards, backwards);
        let count = |wanted| forwards.iter().filter(|&&split| split == wanted).count();
        assert_eq!(Split::ALL.map(count), [35, 5, 10]);
        assert_ne!(forwards, RandomSplit { seed: 8, ..split }.assign(ids.iter().map(String::as_str)));
    }
}
