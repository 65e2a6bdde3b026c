//! Descriptions of corpora, and loaders for their files.
//!
//! `datasets/README.md` explains the keys of a description. Nothing here opens a connection or reads the environment:
//! the caller passes the folder of a corpus.

mod files;
pub mod i2b2_release;
mod relabel;
mod split;

pub use files::{CorpusFiles, Layout};
pub use relabel::{Dropped, apply_label_map};
pub use split::{LoadedSplit, RandomSplit, Split, Splits};

use self::i2b2_release::ReleaseError;
use crate::synthetic::clinical;
use crate::{Format, FormatOptions, LabelMap};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// Why a corpus cannot be described or found.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// No description has this name.
    #[error(
        "unknown dataset `{name}`{}; known datasets: {}; for a corpus of your own, give the path of its \
         dataset.toml",
        suggestion.map(|s| format!("; did you mean `{s}`?")).unwrap_or_default(),
        names.join(", ")
    )]
    Unknown {
        /// The name as given.
        name: String,
        /// The nearest name, if one is near.
        suggestion: Option<&'static str>,
        /// All known names.
        names: Vec<&'static str>,
    },
    /// A description cannot be read.
    #[error(
        "the description of the dataset {name} cannot be read{}",
        crate::nearest_key(&source.to_string()).map(|key| format!("; did you mean `{key}`?")).unwrap_or_default()
    )]
    Description {
        /// Name of the dataset, or path of the file.
        name: String,
        /// The parser's error.
        source: Box<toml::de::Error>,
    },
    /// A description contradicts itself.
    #[error("invalid description of the dataset {name}: {message}")]
    Contradiction {
        /// Name of the dataset.
        name: String,
        /// What is invalid.
        message: String,
    },
    /// Files of a corpus are missing.
    #[error("missing in {}: {}", folder.display(), missing.join(", "))]
    MissingFiles {
        /// The folder.
        folder: PathBuf,
        /// Names of the missing files.
        missing: Vec<String>,
        /// Whether other files of the corpus are there.
        in_part: bool,
    },
    /// The corpus has no embedded sample.
    #[error("the dataset {name} has no sample")]
    NoSample {
        /// Name of the dataset.
        name: String,
    },
    /// The description has no label map with this name.
    #[error("the dataset {dataset} has no label map `{name}`; known label maps: {}", if names.is_empty() { "none".into() } else { names.join(", ") })]
    NoLabelMap {
        /// Name of the dataset.
        dataset: String,
        /// The name as given.
        name: String,
        /// The known names.
        names: Vec<String>,
    },
    /// A release of a corpus is incomplete or invalid.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// A file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The description of a corpus, available without its files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetDescription {
    /// Short name, as on the command line and in run folders.
    pub name: String,
    /// Full name and release.
    #[serde(default)]
    pub title: String,
    /// What is annotated.
    #[serde(default)]
    pub description: String,
    /// Language of the text (ISO 639-1).
    #[serde(default)]
    pub language: String,
    /// Kind of text.
    #[serde(default)]
    pub domain: String,
    /// Entity types, as the corpus names them; those of the training split if empty.
    #[serde(default)]
    pub entity_types: Vec<String>,
    /// Format of the files.
    pub format: Format,
    /// Options of the format.
    #[serde(default)]
    pub format_options: FormatOptions,
    /// Name of the corpus's folder inside a folder of corpora; by default the corpus's name.
    #[serde(default)]
    pub folder: Option<String>,
    /// Home page of the corpus.
    #[serde(default)]
    pub homepage: String,
    /// Licence terms, and where they are stated.
    #[serde(default)]
    pub licence: String,
    /// Whether the text may be redistributed. If so, predictions of a run include it by default.
    #[serde(default)]
    pub public: bool,
    /// What to cite.
    #[serde(default)]
    pub citation: Vec<String>,
    /// Where to download it; `None` for a corpus that must be requested.
    pub download: Option<Download>,
    /// Files or folders of the splits.
    pub splits: Option<Splits<SplitFile>>,
    /// Instead of `splits`: one file or folder with all documents, and how to split it.
    pub split: Option<RandomSplit>,
    /// Instead of both: a release with its own importer.
    pub release: Option<Release>,
    /// Whether mentions do not cross line ends unless the corpus says so. A model trained on it then predicts none that
    /// do.
    #[serde(default)]
    pub line_boundaries: bool,
    /// Maps of the corpus's types to other labels, by name. The map `default` is always applied.
    #[serde(default)]
    pub label_maps: BTreeMap<String, LabelMap>,
    /// Display names of the model's types (`problem`, `medication`), by type.
    #[serde(default)]
    pub categories: LabelMap,
    /// Types whose mentions are assertable: a text may say that they are absent, possible, somebody else's.
    #[serde(default)]
    pub assertable: BTreeSet<String>,
    /// Hyperparameters that suit this corpus better than the defaults, by the keys of a recipe.
    #[serde(default)]
    pub recipe: toml::Table,
    /// Embedded synthetic sample.
    pub sample: Option<Sample>,
}

/// A release whose layout needs its own importer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Release {
    /// The 2010 i2b2/VA challenge ([`crate::i2b2_release`]).
    #[serde(rename = "i2b2-2010")]
    I2b2,
}

/// Where to download a corpus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// The archive, from its publisher.
    pub url: String,
    /// Folder with the files inside the archive.
    pub folder: String,
}

/// File or folder of one split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitFile {
    /// Its name inside the corpus's folder.
    pub file: String,
    /// SHA-256 of its bytes, in lower-case hexadecimal; `None` for a folder.
    pub sha256: Option<String>,
    /// Number of documents in it.
    pub documents: Option<usize>,
}

/// An embedded sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// A notice that the sample is synthetic, fit to print.
    pub note: String,
    /// Hyperparameters that suit the sample, over those of the corpus.
    #[serde(default)]
    pub recipe: toml::Table,
}

/// An embedded dataset.
struct Builtin {
    name: &'static str,
    description: &'static str,
    sample: EmbeddedSample,
}

/// How a sample is embedded.
enum EmbeddedSample {
    None,
    /// The text of its files.
    Texts(Splits<&'static str>),
    /// A generator, in the layout of the i2b2 2010 release.
    Clinical,
}

/// To add a corpus, add its folder to `datasets/` and its row here.
static BUILTIN: &[Builtin] = &[
    Builtin {
        name: "bc5cdr",
        description: include_str!("../../../../datasets/bc5cdr/dataset.toml"),
        sample: EmbeddedSample::Texts(Splits {
            train: include_str!("../../../../datasets/bc5cdr/sample/train.PubTator.txt"),
            dev: include_str!("../../../../datasets/bc5cdr/sample/dev.PubTator.txt"),
            test: include_str!("../../../../datasets/bc5cdr/sample/test.PubTator.txt"),
        }),
    },
    Builtin {
        name: "i2b2",
        description: include_str!("../../../../datasets/i2b2/dataset.toml"),
        sample: EmbeddedSample::Clinical,
    },
    Builtin {
        name: "anatem",
        description: include_str!("../../../../datasets/anatem/dataset.toml"),
        sample: EmbeddedSample::None,
    },
    Builtin {
        name: "ncbi-disease",
        description: include_str!("../../../../datasets/ncbi-disease/dataset.toml"),
        sample: EmbeddedSample::None,
    },
    Builtin {
        name: "genia",
        description: include_str!("../../../../datasets/genia/dataset.toml"),
        sample: EmbeddedSample::None,
    },
    Builtin {
        name: "drugprot",
        description: include_str!("../../../../datasets/drugprot/dataset.toml"),
        sample: EmbeddedSample::None,
    },
    Builtin {
        name: "biored",
        description: include_str!("../../../../datasets/biored/dataset.toml"),
        sample: EmbeddedSample::None,
    },
    Builtin {
        name: "nlm-chem",
        description: include_str!("../../../../datasets/nlm-chem/dataset.toml"),
        sample: EmbeddedSample::None,
    },
];

impl DatasetDescription {
    /// Names of the embedded descriptions.
    pub fn builtin_names() -> Vec<&'static str> {
        BUILTIN.iter().map(|builtin| builtin.name).collect()
    }

    /// The embedded description with this name.
    ///
    /// # Errors
    /// If there is none. The error suggests the nearest name and lists all.
    pub fn builtin(name: &str) -> Result<Self, DatasetError> {
        let Some(builtin) = BUILTIN.iter().find(|builtin| builtin.name == name) else {
            let suggestion = crate::nearest(name, BUILTIN.iter().map(|builtin| builtin.name));
            return Err(DatasetError::Unknown { name: name.to_owned(), suggestion, names: Self::builtin_names() });
        };
        Self::parse(builtin.description, name)
    }

    /// Reads a description from a file.
    ///
    /// # Errors
    /// If the file cannot be read, has an unknown key, or contradicts itself.
    pub fn from_file(path: &Path) -> Result<Self, DatasetError> {
        Self::parse(&fs::read_to_string(path)?, &path.display().to_string())
    }

    fn parse(text: &str, name: &str) -> Result<Self, DatasetError> {
        let fault = |source| DatasetError::Description { name: name.to_owned(), source: Box::new(source) };
        let description: Self = toml::from_str(text).map_err(fault)?;
        description.check().map_err(|message| DatasetError::Contradiction { name: name.to_owned(), message })?;
        Ok(description)
    }

    fn check(&self) -> Result<(), String> {
        let sources = [self.splits.is_some(), self.split.is_some(), self.release.is_some()];
        if sources.into_iter().filter(|&is_said| is_said).count() != 1 {
            return Err("set exactly one of `splits`, `split` and `release`".into());
        }
        if let Some(split) = self.split.as_ref().filter(|split| !split.is_sound()) {
            return Err(format!(
                "a `dev` share of {} and a `test` share of {} leave no training data",
                split.dev, split.test
            ));
        }
        let labels = || self.label_maps.values().flat_map(|map| map.0.values()).chain(&self.entity_types);
        if let Some(unknown) = self.assertable.iter().find(|name| !labels().any(|label| label == *name))
            && !self.entity_types.is_empty()
        {
            return Err(format!("`assertable` names {unknown}, which is neither a type nor a label"));
        }
        let safe = |char: char| char.is_alphanumeric() || "-_.".contains(char);
        if self.name.is_empty() || self.name.starts_with('.') || !self.name.chars().all(safe) {
            return Err("`name` may only contain letters, digits, `-`, `_` and `.`, and must not begin with `.`".into());
        }
        Ok(())
    }

    /// Name of the corpus's folder inside a folder of corpora.
    pub fn folder(&self) -> &str {
        self.folder.as_deref().unwrap_or(&self.name)
    }

    /// Names of the files and folders of the corpus, inside its folder.
    pub fn file_names(&self) -> Vec<&str> {
        match (&self.splits, &self.split) {
            (Some(splits), _) => splits.iter().map(|(_, split)| split.file.as_str()).collect(),
            (None, Some(split)) => [&split.file].into_iter().chain(&split.more).map(String::as_str).collect(),
            (None, None) => Vec::new(),
        }
    }

    /// The label map with this name; without a name, the map `default` if there is one.
    ///
    /// # Errors
    /// If there is no map with this name.
    pub fn label_map(&self, name: Option<&str>) -> Result<Option<&LabelMap>, DatasetError> {
        let Some(name) = name else { return Ok(self.label_maps.get("default")) };
        self.label_maps.get(name).map(Some).ok_or_else(|| DatasetError::NoLabelMap {
            dataset: self.name.clone(),
            name: name.into(),
            names: self.label_maps.keys().cloned().collect(),
        })
    }

    /// The labels of a model for this corpus: the types of the description, in its order, or else those of the training
    /// split, sorted; renamed by `map`.
    pub fn labels(&self, map: Option<&LabelMap>, train: &LoadedSplit) -> Vec<String> {
        let mut found: Vec<String> = if self.entity_types.is_empty() {
            // Already mapped.
            let types: std::collections::BTreeSet<&String> =
                train.documents.iter().flat_map(|document| &document.mentions).map(|m| &m.entity_type).collect();
            types.into_iter().cloned().collect()
        } else {
            let mapped =
                |kind: &String| map.map_or_else(|| Some(kind.clone()), |map| map.label(kind).map(str::to_owned));
            self.entity_types.iter().filter_map(mapped).collect()
        };
        let mut seen = std::collections::BTreeSet::new();
        found.retain(|label| seen.insert(label.clone()));
        found
    }

    /// The embedded synthetic sample, read by the same parser as files.
    ///
    /// # Errors
    /// If the corpus has no sample.
    pub fn load_sample(&self) -> Result<Splits<LoadedSplit>, DatasetError> {
        let sample = BUILTIN.iter().find(|builtin| builtin.name == self.name).map(|builtin| &builtin.sample);
        match sample {
            Some(EmbeddedSample::Texts(texts)) => texts.try_map(|split, text| {
                let file = format!("{} sample, {split}", self.name);
                let documents =
                    self.format.open_input(Box::new(text.as_bytes()), Path::new(&file), &self.format_options)?;
                let (documents, diagnostics) = documents.read_all()?;
                Ok(LoadedSplit { documents, diagnostics })
            }),
            Some(EmbeddedSample::Clinical) => {
                let tree = clinical::i2b2(clinical::SAMPLE_SEED, clinical::SAMPLE_SIZES);
                Ok(i2b2_release::load_tree(&tree)?)
            }
            _ => Err(DatasetError::NoSample { name: self.name.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_description_is_well_formed_and_its_sample_reads_without_a_fault() {
        for name in DatasetDescription::builtin_names() {
            let description = DatasetDescription::builtin(name).expect("well-formed");
            assert_eq!(description.name, name);
            for (split, file) in description.splits.iter().flat_map(Splits::iter) {
                if let Some(sha256) = &file.sha256 {
                    assert!(sha256.len() == 64 && sha256.chars().all(|c| "0123456789abcdef".contains(c)), "{split}");
                }
            }
            if description.sample.is_some() {
                let loaded = description.load_sample().expect("embedded");
                for (split, loaded) in loaded.iter() {
                    assert!(
                        loaded.diagnostics.losses().next().is_none() && !loaded.documents.is_empty(),
                        "{name} {split}"
                    );
                    let types = loaded.documents.iter().flat_map(|d| &d.mentions).map(|mention| &mention.entity_type);
                    assert!(types.into_iter().all(|kind| description.entity_types.contains(kind)), "{name} {split}");
                }
                assert_eq!(description.labels(None, &loaded.train), description.entity_types);
            }
        }
    }

    #[test]
    fn an_unknown_name_gets_a_suggestion_and_the_list() {
        let check = |typed: &str, expected: &str| {
            let error = DatasetDescription::builtin(typed).expect_err("unknown");
            assert_eq!(error.to_string(), expected);
        };
        let rest = format!(
            "known datasets: {}; for a corpus of your own, give the path of its dataset.toml",
            DatasetDescription::builtin_names().join(", ")
        );
        check("bc5crd", &format!("unknown dataset `bc5crd`; did you mean `bc5cdr`?; {rest}"));
        check("conll2003", &format!("unknown dataset `conll2003`; {rest}"));
    }

    const OWN: &str = "name = \"own\"\nformat = \"pubtator\"\nsplit = { file = \"all.txt\" }\n";

    #[test]
    fn a_description_of_ones_own_is_short_and_its_faults_are_named() {
        let parse = |text: &str| DatasetDescription::parse(text, "own");
        assert_eq!(parse(OWN).expect("well-formed").folder(), "own");
        let check = |text: &str, expected: &str| {
            let error = with_causes(&parse(text).expect_err("faulty"));
            assert!(error.contains(expected), "{error}");
        };
        check(&OWN.replace("format", "fromat"), "unknown field `fromat`");
        check(&OWN.replace("format", "fromat"), "did you mean `format`?");
        check(&OWN.replace("split =", "sample = { note = \"\", seed = 1 }\nsplit ="), "unknown field `seed`");
        check(&OWN.replace("pubtator", "word"), "unknown variant `word`");
        check(&OWN.replace("own", "../own"), "`name` may only contain letters");
        check("name = \"own\"\nformat = \"conll\"\n", "set exactly one of `splits`, `split` and `release`");
        check(&OWN.replace("all.txt\"", "all.txt\", dev = 0.6, test = 0.4"), "leave no training data");
    }

    /// An error with its causes.
    fn with_causes(error: &dyn std::error::Error) -> String {
        let causes = std::iter::successors(Some(error), |error| error.source());
        causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }

    #[test]
    fn documents_of_one_file_are_split_and_none_is_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let text: String = (0..20).map(|id| format!("{id}|t|ab\n{id}\t0\t1\ta\tX\n\n")).collect();
        std::fs::write(folder.path().join("all.txt"), text).expect("written");
        let description = DatasetDescription::parse(OWN, "own").expect("well-formed");
        let loaded = description.locate(folder.path()).expect("there").load().expect("readable");
        let sizes = loaded.iter().map(|(_, split)| split.documents.len()).collect::<Vec<_>>();
        assert_eq!(sizes, [16, 2, 2]);
        assert_eq!(description.labels(None, &loaded.train), ["X"]);
    }

    #[test]
    fn files_are_found_in_either_layout_and_missing_ones_are_named() {
        let description = DatasetDescription::builtin("bc5cdr").expect("built in");
        let check = |names: &[&str], expected: Result<Format, &[&str]>| {
            let folder = tempfile::tempdir().expect("a folder");
            for name in names {
                std::fs::write(folder.path().join(name), "").expect("written");
            }
            match (description.locate(folder.path()), expected) {
                (Ok(files), Ok(format)) => assert_eq!(files.format, format),
                (Err(DatasetError::MissingFiles { missing, .. }), Err(expected)) => assert_eq!(missing, expected),
                (found, expected) => panic!("{found:?} and not {expected:?}"),
            }
        };
        let all = description.file_names();
        check(&all, Ok(Format::Pubtator));
        check(&["train.tsv", "devel.tsv", "test.tsv"], Ok(Format::Conll));
        check(&[all[0], all[1], all[2], "train.tsv", "devel.tsv", "test.tsv"], Ok(Format::Pubtator));
        check(&[], Err(&all));
        check(&all[..2], Err(&all[2..]));
        check(&["train.tsv", "test.tsv"], Err(&["devel.tsv"]));
    }
}
