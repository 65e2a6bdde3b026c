use super::split::LoadedSplit;
use super::{DatasetDescription, DatasetError, RandomSplit, Release, Split, Splits, i2b2_release};
use crate::{Diagnostics, Format, FormatOptions};
use std::path::{Path, PathBuf};

/// The files of a corpus, all of which exist.
#[derive(Clone, Debug, PartialEq)]
pub struct CorpusFiles {
    /// Their format.
    pub format: Format,
    /// Options of the format.
    pub options: FormatOptions,
    /// Their locations.
    pub layout: Layout,
}

/// How the documents of a corpus are stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Layout {
    /// A file or folder per split.
    Splits(Splits<PathBuf>),
    /// One or several files or folders, to be split at random.
    Whole(Vec<PathBuf>, RandomSplit),
    /// A release in this folder.
    Release(PathBuf, Release),
}

/// File names of the MTL-Bioinformatics-2016 collection and of many later ones.
const CONLL_LAYOUT: Splits<&str> = Splits { train: "train.tsv", dev: "devel.tsv", test: "test.tsv" };

impl DatasetDescription {
    /// Finds the files of a corpus in `folder`.
    ///
    /// Looks for the files of the description, or else for `train.tsv`, `devel.tsv` and `test.tsv` in CoNLL format, the
    /// usual names in collections of tagged corpora.
    ///
    /// # Errors
    /// If a file is missing in both layouts. The error names the missing files of the layout that is partly there, or
    /// else of the description.
    pub fn locate(&self, folder: &Path) -> Result<CorpusFiles, DatasetError> {
        let files = |format, layout| CorpusFiles { format, options: self.format_options.clone(), layout };
        let missing_of = |names: &[&str]| -> Vec<String> {
            names.iter().filter(|name| !folder.join(name).exists()).map(|name| (*name).to_owned()).collect()
        };
        if let Some(release) = self.release {
            if folder.is_dir() {
                return Ok(files(self.format, Layout::Release(folder.into(), release)));
            }
            let missing = vec!["folder of the release".to_owned()];
            return Err(DatasetError::MissingFiles { folder: folder.into(), missing, in_part: false });
        }
        let names = self.file_names();
        let missing = missing_of(&names);
        if missing.is_empty() {
            let layout = match (&self.splits, &self.split) {
                (Some(splits), _) => Layout::Splits(splits.map(|_, split| folder.join(&split.file))),
                (None, Some(split)) => {
                    let files = names.iter().map(|name| folder.join(name)).collect();
                    Layout::Whole(files, split.clone())
                }
                (None, None) => unreachable!("a description without a release has splits or a split"),
            };
            return Ok(files(self.format, layout));
        }
        let tagged = CONLL_LAYOUT.map(|_, name| *name);
        let missing_tagged = missing_of(&[tagged.train, tagged.dev, tagged.test]);
        if missing_tagged.is_empty() {
            return Ok(files(Format::Conll, Layout::Splits(tagged.map(|_, name| folder.join(name)))));
        }
        let described_in_part = missing.len() < names.len();
        let tagged_in_part = missing_tagged.len() < Split::ALL.len();
        let missing = if !described_in_part && tagged_in_part { missing_tagged } else { missing };
        Err(DatasetError::MissingFiles { folder: folder.into(), missing, in_part: described_in_part || tagged_in_part })
    }
}

impl CorpusFiles {
    /// The files and folders, in the order of the splits.
    pub fn paths(&self) -> Vec<&Path> {
        match &self.layout {
            Layout::Splits(paths) => paths.iter().map(|(_, path)| path.as_path()).collect(),
            Layout::Whole(paths, _) => paths.iter().map(PathBuf::as_path).collect(),
            Layout::Release(path, _) => vec![path],
        }
    }

    /// Loads all three splits.
    ///
    /// # Errors
    /// If a file cannot be read, or a folder does not contain a release.
    pub fn load(&self) -> Result<Splits<LoadedSplit>, DatasetError> {
        match &self.layout {
            Layout::Release(path, Release::I2b2) => Ok(i2b2_release::import(std::slice::from_ref(path))?),
            Layout::Splits(paths) => paths.try_map(|_, path| {
                let (documents, diagnostics) = self.format.read(path, &self.options)?;
                Ok(LoadedSplit { documents, diagnostics })
            }),
            Layout::Whole(paths, split) => {
                let (mut documents, mut diagnostics) = (Vec::new(), Diagnostics::default());
                for path in paths {
                    let (more, mut faults) = self.format.read(path, &self.options)?;
                    documents.extend(more);
                    diagnostics.0.append(&mut faults.0);
                }
                let places = split.assign(documents.iter().map(|document| document.id.as_str()));
                let mut splits = Splits::<LoadedSplit>::default();
                // Report the faults of the files once.
                splits.train.diagnostics = diagnostics;
                for (document, place) in documents.into_iter().zip(places) {
                    splits.get_mut(place).documents.push(document);
                }
                Ok(splits)
            }
        }
    }
}
