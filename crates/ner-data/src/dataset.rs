//! Descriptions of the corpora that are known by name, and loaders for their files.
//!
//! The keys of a description are explained in `datasets/README.md`. Nothing here opens a connection or reads the
//! environment: whoever calls says in which folder a corpus lies.

use crate::{Diagnostics, Document, Format, FormatOptions};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a corpus cannot be described or found.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// No description has this name.
    #[error(
        "no dataset is called `{name}`{}; the names are {}",
        suggestion.map(|s| format!(", did you mean `{s}`?")).unwrap_or_default(),
        names.join(", ")
    )]
    Unknown {
        /// As given.
        name: String,
        /// The nearest name, where one is near.
        suggestion: Option<&'static str>,
        /// All names.
        names: Vec<&'static str>,
    },
    /// A description cannot be read.
    #[error("the description of the dataset {name} cannot be read")]
    Description {
        /// Name of the dataset.
        name: String,
        /// What is wrong.
        source: Box<toml::de::Error>,
    },
    /// Files of a corpus are not where they should be.
    #[error("{} holds no {}", folder.display(), missing.join(", no "))]
    MissingFiles {
        /// The folder.
        folder: PathBuf,
        /// Names of the files that are missing.
        missing: Vec<String>,
    },
    /// The corpus has no sample that comes with the program.
    #[error("the dataset {name} has no sample")]
    NoSample {
        /// Name of the dataset.
        name: String,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The three parts of a corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// To train on.
    Train,
    /// To choose a model by.
    Dev,
    /// To measure on.
    Test,
}

impl Split {
    /// All of them, in their usual order.
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

/// One thing for each split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Splits<T> {
    /// That of the training split.
    pub train: T,
    /// That of the development split.
    pub dev: T,
    /// That of the test split.
    pub test: T,
}

impl<T> Splits<T> {
    /// That of `split`.
    pub const fn get(&self, split: Split) -> &T {
        match split {
            Split::Train => &self.train,
            Split::Dev => &self.dev,
            Split::Test => &self.test,
        }
    }

    /// All three with their splits, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Split, &T)> {
        Split::ALL.into_iter().map(|split| (split, self.get(split)))
    }

    /// Makes one of each, in order, until one cannot be made.
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

    /// Makes one of each, in order.
    pub fn map<'s, U>(&'s self, mut make: impl FnMut(Split, &'s T) -> U) -> Splits<U> {
        Splits {
            train: make(Split::Train, &self.train),
            dev: make(Split::Dev, &self.dev),
            test: make(Split::Test, &self.test),
        }
    }
}

/// What is known of a corpus without having it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetDescription {
    /// Short name, as on the command line.
    pub name: String,
    /// Full name and release.
    pub title: String,
    /// What was annotated.
    pub description: String,
    /// Language of the text (ISO 639-1).
    pub language: String,
    /// Kind of text.
    pub domain: String,
    /// Types of the mentions, in the corpus's own words.
    pub entity_types: Vec<String>,
    /// Format of the files of the splits.
    pub format: Format,
    /// Name of the corpus's folder inside a folder of corpora.
    pub folder: String,
    /// Page of those who made it.
    pub homepage: String,
    /// Terms, and where they are stated.
    pub licence: String,
    /// What to cite.
    pub citation: Vec<String>,
    /// Where it can be fetched; none for a corpus that has to be asked for.
    pub download: Option<Download>,
    /// Files of the splits.
    pub splits: Splits<SplitFile>,
    /// Synthetic sample that comes with the program.
    pub sample: Option<Sample>,
}

/// Where a corpus can be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// The archive, from its publisher.
    pub url: String,
    /// Folder inside the archive that holds the files.
    pub folder: String,
}

/// File of one split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitFile {
    /// Its name, inside the corpus's folder.
    pub file: String,
    /// SHA-256 of its bytes, in lower-case hexadecimal.
    pub sha256: Option<String>,
    /// Number of documents in it.
    pub documents: Option<usize>,
}

/// A sample that comes with the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// That the sample is synthetic, in words fit to print.
    pub note: String,
    /// Training file, relative to the description.
    pub train: String,
    /// Development file, relative to the description.
    pub dev: String,
    /// Test file, relative to the description.
    pub test: String,
}

/// A dataset that is compiled in.
struct Builtin {
    name: &'static str,
    description: &'static str,
    sample: Option<Splits<&'static str>>,
}

/// To add a corpus, add its folder to `datasets/` and its row here.
static BUILTIN: &[Builtin] = &[Builtin {
    name: "bc5cdr",
    description: include_str!("../../../datasets/bc5cdr/dataset.toml"),
    sample: Some(Splits {
        train: include_str!("../../../datasets/bc5cdr/sample/train.PubTator.txt"),
        dev: include_str!("../../../datasets/bc5cdr/sample/dev.PubTator.txt"),
        test: include_str!("../../../datasets/bc5cdr/sample/test.PubTator.txt"),
    }),
}];

impl DatasetDescription {
    /// Names of the descriptions that are compiled in.
    pub fn builtin_names() -> Vec<&'static str> {
        BUILTIN.iter().map(|builtin| builtin.name).collect()
    }

    /// The description with this name.
    ///
    /// # Errors
    /// Where there is none; the error suggests a name that is near and lists them all.
    pub fn builtin(name: &str) -> Result<Self, DatasetError> {
        let Some(builtin) = BUILTIN.iter().find(|builtin| builtin.name == name) else {
            let typed = name.to_lowercase();
            let suggestion = BUILTIN
                .iter()
                .map(|builtin| (strsim::damerau_levenshtein(&typed, builtin.name), builtin.name))
                .min()
                .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(2))
                .map(|(_, candidate)| candidate);
            return Err(DatasetError::Unknown { name: name.to_owned(), suggestion, names: Self::builtin_names() });
        };
        let fault = |source| DatasetError::Description { name: name.to_owned(), source: Box::new(source) };
        toml::from_str(builtin.description).map_err(fault)
    }

    /// Finds the files of a corpus in `folder`.
    ///
    /// They are those of the description, or else, where none of these is there, `train.tsv`, `devel.tsv` and
    /// `test.tsv` in CoNLL format, as collections of tagged corpora name them.
    ///
    /// # Errors
    /// Where a file is missing in both layouts; names those of the layout that is there in part, else those of the
    /// description.
    pub fn locate(&self, folder: &Path) -> Result<CorpusFiles, DatasetError> {
        let described = (self.format, self.splits.map(|_, split| split.file.as_str()));
        let mut lacking: Option<Vec<String>> = None;
        for (format, names) in [described, CONLL_LAYOUT] {
            let missing: Vec<String> = names
                .iter()
                .filter(|(_, name)| !folder.join(name).is_file())
                .map(|(_, name)| (*name).to_owned())
                .collect();
            if missing.is_empty() {
                return Ok(CorpusFiles { format, paths: names.map(|_, name| folder.join(name)) });
            }
            let in_part = missing.len() < Split::ALL.len();
            if lacking.is_none() || in_part && lacking.as_ref().is_some_and(|all| all.len() == Split::ALL.len()) {
                lacking = Some(missing);
            }
        }
        Err(DatasetError::MissingFiles { folder: folder.into(), missing: lacking.unwrap_or_default() })
    }

    /// The synthetic sample that is compiled in, read by the same parser as files are.
    ///
    /// # Errors
    /// Where the corpus has none.
    pub fn load_sample(&self) -> Result<Splits<LoadedSplit>, DatasetError> {
        let sample = BUILTIN.iter().find(|builtin| builtin.name == self.name).and_then(|builtin| builtin.sample);
        let sample = sample.ok_or_else(|| DatasetError::NoSample { name: self.name.clone() })?;
        sample.try_map(|split, text| {
            let file = format!("{} sample, {split}", self.name);
            let input = Box::new(text.as_bytes());
            let documents = self.format.open_input(input, Path::new(&file), &FormatOptions::default())?;
            let (documents, diagnostics) = documents.read_all()?;
            Ok(LoadedSplit { documents, diagnostics })
        })
    }
}

/// Files of the MTL-Bioinformatics-2016 collection and of many that follow it.
const CONLL_LAYOUT: (Format, Splits<&str>) =
    (Format::Conll, Splits { train: "train.tsv", dev: "devel.tsv", test: "test.tsv" });

/// The files of a corpus, all of which exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorpusFiles {
    /// Their format.
    pub format: Format,
    /// Where they are.
    pub paths: Splits<PathBuf>,
}

impl CorpusFiles {
    /// Loads all three.
    ///
    /// # Errors
    /// Only where a file cannot be read.
    pub fn load(&self) -> io::Result<Splits<LoadedSplit>> {
        self.paths.try_map(|_, path| {
            let (documents, diagnostics) = self.format.read(path, &FormatOptions::default())?;
            Ok(LoadedSplit { documents, diagnostics })
        })
    }
}

/// The documents of a split, and what was wrong with its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadedSplit {
    /// The documents, in the order of the file.
    pub documents: Vec<Document>,
    /// What was wrong.
    pub diagnostics: Diagnostics,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn every_builtin_description_is_well_formed_and_its_sample_reads_without_a_fault() {
        for name in DatasetDescription::builtin_names() {
            let description = DatasetDescription::builtin(name).expect("well-formed");
            assert_eq!(description.name, name);
            for (split, file) in description.splits.iter() {
                if let Some(sha256) = &file.sha256 {
                    assert!(sha256.len() == 64 && sha256.chars().all(|c| "0123456789abcdef".contains(c)), "{split}");
                }
            }
            if description.sample.is_some() {
                for (split, loaded) in description.load_sample().expect("embedded").iter() {
                    assert!(loaded.diagnostics.0.is_empty() && !loaded.documents.is_empty(), "{name} {split}");
                    let types = loaded.documents.iter().flat_map(|d| &d.mentions).map(|mention| &mention.entity_type);
                    assert!(types.into_iter().all(|kind| description.entity_types.contains(kind)), "{name} {split}");
                }
            }
        }
    }

    #[test]
    fn an_unknown_name_gets_a_suggestion_and_the_list() {
        let check = |typed: &str, expected: &str| {
            let error = DatasetDescription::builtin(typed).expect_err("unknown");
            assert_eq!(error.to_string(), expected);
        };
        let names = DatasetDescription::builtin_names().join(", ");
        check("bc5crd", &format!("no dataset is called `bc5crd`, did you mean `bc5cdr`?; the names are {names}"));
        check("conll2003", &format!("no dataset is called `conll2003`; the names are {names}"));
    }

    #[test]
    fn a_key_that_nobody_knows_is_an_error() {
        let text = BUILTIN[0].description.replace("language =", "langauge =");
        assert!(toml::from_str::<DatasetDescription>(&text).is_err());
    }

    #[test]
    fn files_are_found_in_either_layout_and_missing_ones_are_named() {
        let description = DatasetDescription::builtin("bc5cdr").expect("built in");
        let described = description.splits.map(|_, split| split.file.clone());
        let check = |names: &[&str], expected: Result<Format, &[&str]>| {
            let folder = tempfile::tempdir().expect("a folder");
            for name in names {
                fs::write(folder.path().join(name), "").expect("written");
            }
            match (description.locate(folder.path()), expected) {
                (Ok(files), Ok(format)) => assert_eq!(files.format, format),
                (Err(DatasetError::MissingFiles { missing, .. }), Err(expected)) => assert_eq!(missing, expected),
                (found, expected) => panic!("{found:?} and not {expected:?}"),
            }
        };
        let all = [described.train.as_str(), described.dev.as_str(), described.test.as_str()];
        check(&all, Ok(Format::Pubtator));
        check(&["train.tsv", "devel.tsv", "test.tsv"], Ok(Format::Conll));
        check(&[all[0], all[1], all[2], "train.tsv", "devel.tsv", "test.tsv"], Ok(Format::Pubtator));
        check(&[], Err(&all));
        check(&all[..2], Err(&all[2..]));
        check(&["train.tsv", "test.tsv"], Err(&["devel.tsv"]));
    }
}
