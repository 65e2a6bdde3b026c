//! Finds a corpus, downloads it if missing, loads it, and decides how to treat its faults.

use anyhow::{Context, Result, bail};
use ner_context::AssertionValue;
use ner_data::dataset::{CorpusFiles, DatasetError, Dropped, LoadedSplit, apply_label_map, i2b2_release};
use ner_data::{
    DatasetDescription, Diagnostic, DiagnosticKind, Diagnostics, Document, Format, FormatOptions, LabelMap, Split,
    Splits,
};
use ner_eval::{Scores, score_documents};
use ner_hub::{FetchOptions, Progress, ZipMember};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use tracing::{Level, info, warn};

/// Environment variable for a folder of corpora. Each corpus lies in the subfolder that its description names.
pub const CORPORA_VARIABLE: &str = "MEDNER_CORPORA";

/// Number of faults listed in an error; `medner data` can list more.
const FAULTS_LISTED: usize = 20;

/// Where to take a corpus from.
#[derive(Clone, Debug, Default)]
pub struct CorpusSource {
    /// Folder of its files; otherwise `MEDNER_CORPORA`, the checkout, the cache, or a download.
    pub data_dir: Option<PathBuf>,
    /// Whether to use the synthetic sample.
    pub sample: bool,
    /// Label map of the corpus's description.
    pub labels: Option<String>,
}

/// Where a corpus was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// The folder of `--data-dir`.
    #[serde(rename = "--data-dir")]
    DataDir,
    /// The folder of its `dataset.toml`.
    #[serde(rename = "dataset.toml")]
    Description,
    /// The folder of corpora in the environment.
    #[serde(rename = "MEDNER_CORPORA")]
    Environment,
    /// `datasets/NAME/data` of the checkout that contains the current folder.
    #[serde(rename = "checkout")]
    Checkout,
    /// medner's cache.
    #[serde(rename = "cache")]
    Cache,
    /// Just downloaded.
    #[serde(rename = "download")]
    Download,
    /// Embedded in the program.
    #[serde(rename = "embedded synthetic sample")]
    Sample,
}

/// Origin of a corpus, for the record of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// How it was found.
    pub source: Source,
    /// Its folder; `None` for the sample.
    pub folder: Option<PathBuf>,
    /// Format of its files.
    pub format: Format,
    /// Files and folders in the order of the splits; empty for the sample.
    pub files: Vec<OriginFile>,
}

/// One file or folder of a corpus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginFile {
    /// Where it is.
    pub path: PathBuf,
    /// SHA-256 of the bytes; for a folder, of the names and checksums of all files in it.
    pub sha256: String,
    /// Whether the checksum matches the description; `None` if that has no checksum.
    pub as_described: Option<bool>,
}

/// A corpus in memory.
#[derive(Debug)]
pub struct Corpus {
    /// Its description.
    pub description: DatasetDescription,
    /// Documents and faults of each split, with labels mapped.
    pub splits: Splits<LoadedSplit>,
    /// Entity types of its models.
    pub labels: Vec<String>,
    /// Mentions dropped by the label map, by type.
    pub dropped: Dropped,
    /// Its origin.
    pub origin: Origin,
    /// The corpora it joins, in the order of its documents; empty for a single corpus.
    pub parts: Vec<CorpusPart>,
    /// What the rules say of each mention of each document, if its types are assertions
    /// ([`assertions_as_types`](crate::assertion::assertions_as_types)).
    pub rule_values: Option<Splits<Vec<Vec<AssertionValue>>>>,
}

/// One of several jointly trained corpora.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorpusPart {
    /// Its name.
    pub name: String,
    /// The types it annotates. Other types add no loss on its documents, and predictions of them are not scored there.
    pub types: Vec<String>,
    /// Number of documents in each split.
    pub documents: Splits<usize>,
}

impl Corpus {
    /// The annotated types for each document of a split; empty for a single corpus.
    pub fn types_of(&self, split: Split) -> Vec<&[String]> {
        self.parts
            .iter()
            .flat_map(|part| std::iter::repeat_n(part.types.as_slice(), *part.documents.get(split)))
            .collect()
    }

    /// Strict scores of each joined corpus on the types it annotates; empty for a single corpus. `predicted` are the
    /// documents of the split.
    ///
    /// # Errors
    /// If the documents are not those of the split.
    pub fn scores_by_part(&self, split: Split, predicted: &[Document]) -> Result<BTreeMap<String, Scores>> {
        let (mut scores, mut at) = (BTreeMap::new(), 0);
        for part in &self.parts {
            let range = at..at + part.documents.get(split);
            at = range.end;
            let gold = &self.splits.get(split).documents[range.clone()];
            scores.insert(part.name.clone(), score_documents(gold, &predicted[range])?.scores);
        }
        Ok(scores)
    }

    /// Whether this is the synthetic sample.
    pub fn is_sample(&self) -> bool {
        self.origin.source == Source::Sample
    }

    /// Fails on faults that lost something, unless `lenient`.
    ///
    /// # Errors
    /// If something was lost; the message lists the first faults.
    pub fn check_faults(&self, lenient: bool) -> Result<()> {
        check_faults(self.splits.iter().map(|(_, split)| &split.diagnostics), lenient)
    }

    /// Fails if one of these splits has no gold mention: nothing could be learnt from it or scored on it.
    ///
    /// # Errors
    /// If there is such a split; the message names its files.
    pub fn check_gold(&self, splits: &[Split]) -> Result<()> {
        for split in splits {
            let documents = &self.splits.get(*split).documents;
            if documents.iter().any(|document| !document.mentions.is_empty()) {
                continue;
            }
            let files =
                self.origin.files.iter().map(|file| file.path.display().to_string()).collect::<Vec<_>>().join(", ");
            bail!(
                "the {split} split of {} has {} documents and no mention of the types {}: look at it with `data {}` \
                 (files: {files})",
                self.description.name,
                documents.len(),
                self.labels.join(", "),
                self.description.name
            );
        }
        Ok(())
    }
}

/// A dataset named on the command line: by name, or by the path of a `dataset.toml` or of its folder.
#[derive(Debug)]
pub struct Named {
    /// Its description.
    pub description: DatasetDescription,
    /// Folder of its `dataset.toml`, which also has its files; `None` for an embedded description.
    pub own_folder: Option<PathBuf>,
}

/// Finds a dataset's description.
///
/// # Errors
/// If there is no such dataset.
pub fn describe(dataset: &str) -> Result<Named> {
    let path = Path::new(dataset);
    if let Some(names) = joined(dataset) {
        let parts = names.iter().map(|name| Ok(describe(name)?.description)).collect::<Result<Vec<_>>>()?;
        return Ok(Named { description: joint_description(&parts), own_folder: None });
    }
    let file = if path.is_dir() { path.join(DESCRIPTION) } else { path.to_owned() };
    if dataset.ends_with(".toml") || path.is_dir() {
        let description = DatasetDescription::from_file(&file)?;
        let own_folder = file.parent().map(Path::to_owned);
        return Ok(Named { description, own_folder });
    }
    Ok(Named { description: DatasetDescription::builtin(dataset)?, own_folder: None })
}

/// The dataset name for the store of runs. A user's own dataset can be called by this name.
///
/// # Errors
/// If the named `dataset.toml` cannot be read.
pub fn name_of(dataset: &str) -> Result<String> {
    if let Some(names) = joined(dataset) {
        return Ok(names.into_iter().map(name_of).collect::<Result<Vec<_>>>()?.join(JOINT));
    }
    let is_path = dataset.ends_with(".toml") || Path::new(dataset).is_dir();
    if is_path { Ok(describe(dataset)?.description.name) } else { Ok(dataset.to_owned()) }
}

const DESCRIPTION: &str = "dataset.toml";

/// Separates the names of jointly trained corpora.
const JOINT: &str = "+";

/// The names of joined corpora; `None` for a single one.
fn joined(dataset: &str) -> Option<Vec<&str>> {
    (dataset.contains(JOINT) && !Path::new(dataset).exists()).then(|| dataset.split(JOINT).collect())
}

/// Description of several corpora joined. Hyperparameters are those of the first; mentions may cross a line break if
/// they may in one of the corpora.
fn joint_description(parts: &[DatasetDescription]) -> DatasetDescription {
    let join =
        |of: fn(&DatasetDescription) -> &str, between: &str| parts.iter().map(of).collect::<Vec<_>>().join(between);
    DatasetDescription {
        name: join(|part| &part.name, JOINT),
        title: join(|part| &part.title, " + "),
        licence: join(|part| &part.licence, "; "),
        entity_types: parts.iter().flat_map(|part| part.entity_types.clone()).collect(),
        // Format of saved predictions; each corpus is read in its own format.
        format: Format::Jsonl,
        format_options: FormatOptions::default(),
        folder: None,
        public: parts.iter().all(|part| part.public),
        download: None,
        splits: None,
        split: None,
        release: None,
        line_boundaries: parts.iter().all(|part| part.line_boundaries),
        label_maps: BTreeMap::new(),
        categories: LabelMap::default(),
        assertable: parts.iter().flat_map(|part| part.assertable.clone()).collect(),
        sample: parts.iter().all(|part| part.sample.is_some()).then(|| parts[0].sample.clone()).flatten(),
        ..parts[0].clone()
    }
}

/// Loads several corpora as one, with document ids `NAME/ID`.
fn load_joint(names: &[&str], place: &CorpusSource) -> Result<Corpus> {
    if place.data_dir.is_some() || place.labels.is_some() {
        bail!(
            "--data-dir and --labels work only with one corpus; for several, set {CORPORA_VARIABLE} to a folder of corpora"
        );
    }
    let mut loaded = names.iter().map(|name| load(name, place)).collect::<Result<Vec<_>>>()?;
    let descriptions: Vec<DatasetDescription> = loaded.iter().map(|corpus| corpus.description.clone()).collect();
    if let Some(twice) = (1..names.len()).find(|&at| descriptions[..at].iter().any(|d| d.name == descriptions[at].name))
    {
        bail!("corpus {} is named twice", descriptions[twice].name);
    }
    let mut joint = Corpus {
        description: joint_description(&descriptions),
        splits: loaded[0].splits.map(|_, _| LoadedSplit::default()),
        labels: Vec::new(),
        dropped: Dropped::new(),
        origin: Origin { folder: None, format: Format::Jsonl, files: Vec::new(), ..loaded[0].origin.clone() },
        parts: Vec::new(),
        rule_values: None,
    };
    for corpus in &mut loaded {
        let name = corpus.description.name.clone();
        let documents = corpus.splits.map(|_, split| split.documents.len());
        joint.parts.push(CorpusPart { name: name.clone(), types: corpus.labels.clone(), documents });
        for split in Split::ALL {
            let (to, from) = (joint.splits.get_mut(split), corpus.splits.get_mut(split));
            from.documents.iter_mut().for_each(|document| document.id = format!("{name}/{}", document.id));
            to.documents.append(&mut from.documents);
            to.diagnostics.0.append(&mut from.diagnostics.0);
        }
        let new = corpus.labels.iter().filter(|label| !joint.labels.contains(label)).cloned().collect::<Vec<_>>();
        joint.labels.extend(new);
        // Listed one by one: a wildcard would include the other corpora's types.
        for label in &corpus.labels {
            if let Some(category) = corpus.description.categories.label(label) {
                joint.description.categories.0.entry(label.clone()).or_insert(category.to_owned());
            }
        }
        for (entity_type, count) in &corpus.dropped {
            *joint.dropped.entry(entity_type.clone()).or_default() += count;
        }
        joint.origin.files.append(&mut corpus.origin.files);
    }
    Ok(joint)
}

/// Loads a corpus named on the command line.
///
/// # Errors
/// If there is no such corpus, or it is neither found nor downloadable; the message lists all ways to get it.
pub fn load(dataset: &str, place: &CorpusSource) -> Result<Corpus> {
    if let Some(names) = joined(dataset) {
        return load_joint(&names, place);
    }
    let Named { description, own_folder } = describe(dataset)?;
    let (mut splits, origin) = if place.sample {
        let splits = description.load_sample()?;
        let note = description.sample.as_ref().map_or("Synthetic.", |sample| sample.note.as_str());
        warn!("{note}");
        let origin = Origin { source: Source::Sample, folder: None, format: description.format, files: Vec::new() };
        (splits, origin)
    } else {
        let found = match (&place.data_dir, own_folder) {
            (Some(folder), _) => {
                Found { source: Source::DataDir, folder: folder.clone(), files: in_data_dir(&description, folder)? }
            }
            (None, Some(folder)) => {
                let files = description.locate(&folder).context("its dataset.toml names its files")?;
                Found { source: Source::Description, folder, files }
            }
            (None, None) => match look(&description)? {
                Some(found) => found,
                None => fetch(&description)?,
            },
        };
        let (folder, format) = (found.folder.display(), found.files.format);
        info!("{}: {format} files in {folder} ({})", description.name, source_phrase(found.source));
        let files = checksums(&description, &found)?;
        let splits = found.files.load()?;
        (splits, Origin { source: found.source, folder: Some(found.folder), format, files })
    };
    let map = description.label_map(place.labels.as_deref())?;
    let dropped = map.map_or_else(Dropped::new, |map| apply_label_map(map, &mut splits));
    for (entity_type, count) in &dropped {
        info!("the label map drops {count} mentions of type {entity_type}");
    }
    let labels = description.labels(map, &splits.train);
    Ok(Corpus { labels, dropped, splits, origin, description, parts: Vec::new(), rule_values: None })
}

const fn source_phrase(source: Source) -> &'static str {
    match source {
        Source::DataDir => "from --data-dir",
        Source::Description => "beside its dataset.toml",
        Source::Environment => "from MEDNER_CORPORA",
        Source::Checkout => "in this checkout",
        Source::Cache => "in medner's cache",
        Source::Download => "just downloaded",
        Source::Sample => "embedded",
    }
}

/// The files of a corpus, and where they were found.
pub struct Found {
    /// Kind of place.
    pub source: Source,
    /// Folder.
    pub folder: PathBuf,
    /// The files.
    pub files: CorpusFiles,
}

fn in_data_dir(description: &DatasetDescription, folder: &Path) -> Result<CorpusFiles> {
    description.locate(folder).with_context(|| {
        let wanted = match description.release {
            Some(_) => "its release".to_owned(),
            None => format!("{}, or train.tsv, devel.tsv and test.tsv", description.file_names().join(", ")),
        };
        format!("--data-dir has no {}: it must contain {wanted}", description.name)
    })
}

/// Looks for a corpus on this machine, without connecting. Skips folders with only some of its files, with a warning.
///
/// # Errors
/// If a folder cannot be read.
pub fn look(description: &DatasetDescription) -> Result<Option<Found>> {
    for (source, folder) in places(description) {
        let imported = folder.join(RELEASE);
        let folder = if description.release.is_some() && source != Source::Environment { imported } else { folder };
        match description.locate(&folder) {
            Ok(files) => return Ok(Some(Found { source, folder, files })),
            Err(DatasetError::MissingFiles { missing, in_part: true, .. }) => {
                warn!("{} has only a part of {}: {} missing", folder.display(), description.name, missing.join(", "));
            }
            Err(DatasetError::MissingFiles { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Places to search, in order.
fn places(description: &DatasetDescription) -> Vec<(Source, PathBuf)> {
    let mut places = Vec::new();
    if let Some(corpora) = std::env::var_os(CORPORA_VARIABLE).filter(|value| !value.is_empty()) {
        places.push((Source::Environment, Path::new(&corpora).join(description.folder())));
    }
    if let Some(dataset) = checkout_folder(&description.name) {
        places.push((Source::Checkout, dataset.join("data")));
    }
    if let Some(cache) = hub_options().env.medner_cache {
        places.push((Source::Cache, cache.join("corpora").join(description.folder())));
    }
    places
}

/// `datasets/NAME` of the checkout that contains the current folder.
pub fn checkout_folder(name: &str) -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let folders = here.ancestors().map(|folder| folder.join("datasets").join(name));
    folders.into_iter().find(|folder| folder.join("dataset.toml").is_file())
}

/// Options for searching and downloading, with progress bars unless logging is quiet.
pub fn hub_options() -> FetchOptions {
    let mut options = FetchOptions::from_process();
    if !tracing::enabled!(Level::INFO) {
        options.progress = Progress::Hidden;
    }
    options
}

/// Imports a release as distributed, so that every command finds it: into the checkout, or into medner's cache outside
/// one. Returns the folder.
///
/// # Errors
/// If it is not a release, cannot be read, or is already imported.
pub fn import(dataset: &str, from: &[PathBuf]) -> Result<PathBuf> {
    let description = describe(dataset)?.description;
    if description.release.is_none() {
        bail!("{} has no release to import; pass the folder of its files with --data-dir", description.name);
    }
    let target = places(&description).into_iter().find(|(source, _)| *source != Source::Environment);
    let (_, target) = target.context("no place to import to: there is no checkout and no home folder")?;
    if target.join(RELEASE).exists() {
        bail!("{} already exists; remove it to import again", target.join(RELEASE).display());
    }
    let (tree, diagnostics) = i2b2_release::read_tree(from)?;
    for diagnostic in &diagnostics.0 {
        warn!("{diagnostic}");
    }
    i2b2_release::load_tree(&tree)?;
    fs_err::create_dir_all(&target)?;
    let staging = tempfile::tempdir_in(&target)?;
    for (path, bytes) in &tree {
        let path = staging.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap_or(staging.path()))?;
        fs_err::write(path, bytes)?;
    }
    fs_err::rename(staging.keep(), target.join(RELEASE))?;
    Ok(target.join(RELEASE))
}

/// Folder of an imported release.
const RELEASE: &str = "release";

/// Downloads missing files into the checkout, or into medner's cache outside one.
fn fetch(description: &DatasetDescription) -> Result<Found> {
    let target = places(description).into_iter().find(|(source, _)| *source != Source::Environment);
    let folder = target.map(|(_, folder)| folder);
    fetch_into(description, folder.as_deref()).with_context(|| ways_to_get(description, folder.as_deref()))
}

fn fetch_into(description: &DatasetDescription, folder: Option<&Path>) -> Result<Found> {
    let Some(download) = &description.download else {
        bail!("{} cannot be downloaded automatically", description.title)
    };
    let Some(folder) = folder else { bail!("no place to download to: there is no checkout and no home folder") };
    info!("{} is not on this machine; downloading {}", description.name, download.url);
    let mut members = Vec::new();
    for (_, split) in description.splits.iter().flat_map(Splits::iter) {
        let dest = folder.join(&split.file);
        // Existing files stay, even with another checksum: the user may have corrected them.
        if !dest.is_file() {
            let suffix = format!("{}/{}", download.folder, split.file);
            members.push(ZipMember { suffix, dest, sha256: split.sha256.clone() });
        }
    }
    // Few retries: without a connection, nobody should wait half a minute.
    let options = FetchOptions { retries: 2, ..hub_options() };
    ner_hub::fetch_zip_members(&download.url, None, &members, &options)?;
    let files = description.locate(folder)?;
    Ok(Found { source: Source::Download, folder: folder.into(), files })
}

/// All ways to get the corpus, as a message.
pub fn ways_to_get(description: &DatasetDescription, folder: Option<&Path>) -> String {
    let DatasetDescription { name, homepage, .. } = description;
    let (own, names) = (description.folder(), description.file_names());
    let mut text = format!("the corpus {name} is not on this machine and could not be downloaded. Use one of these:\n");
    let mut way = |what: &str, how: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    {what:<20} {how}");
    };
    if description.release.is_some() {
        way("--data-dir DIR", "DIR contains the release, as folders or archives");
        way(&format!("{CORPORA_VARIABLE}=DIR"), &format!("DIR/{own} contains it"));
        way("import it", &format!("data {name} --from DIR-or-archive …"));
    } else {
        way("--data-dir DIR", &format!("DIR contains {}", names.join(", ")));
        way(&format!("{CORPORA_VARIABLE}=DIR"), &format!("DIR/{own} contains them"));
    }
    if let Some(folder) = folder.filter(|_| description.release.is_none()) {
        way("copy files", &format!("put them into {}", folder.display()));
    }
    match &description.download {
        Some(download) => way("official address", &format!("{} ({homepage})", download.url)),
        None => way("official address", homepage),
    }
    if description.sample.is_some() {
        way("--sample", "use the embedded synthetic sample");
    }
    text.trim_end().to_owned()
}

/// Checksums of the files. Warns about a file that differs from the description, but accepts it: the user may have
/// corrected it.
fn checksums(description: &DatasetDescription, found: &Found) -> Result<Vec<OriginFile>> {
    let described = |name: &Path| -> Option<&str> {
        let splits = description.splits.as_ref()?;
        let split = splits.iter().find(|(_, split)| name.ends_with(&split.file))?.1;
        split.sha256.as_deref()
    };
    let checked = |path: &Path| -> Result<OriginFile> {
        let sha256 = ner_hub::sha256_path(path)?;
        let as_described = described(path).map(|expected| expected == sha256);
        if as_described == Some(false) {
            let name = &description.title;
            warn!(
                "{} is NOT the published file of {name}: its SHA-256 is {sha256}; results are not comparable",
                path.display()
            );
        }
        Ok(OriginFile { path: path.to_owned(), sha256, as_described })
    };
    found.files.paths().into_iter().map(checked).collect()
}

/// Fails on faults that lost something, unless `lenient`.
///
/// # Errors
/// If something was lost; the message lists the first faults with file, line and document.
pub fn check_faults<'d>(diagnostics: impl IntoIterator<Item = &'d Diagnostics>, lenient: bool) -> Result<()> {
    let mut count = FaultCount::default();
    for diagnostics in diagnostics {
        count.add(diagnostics);
    }
    count.check(lenient)
}

/// Running counts of input faults.
#[derive(Debug, Default)]
pub struct FaultCount {
    /// Faults that dropped or changed something.
    losses: BTreeMap<DiagnosticKind, usize>,
    /// Repaired faults, and parts that medner has no place for.
    others: BTreeMap<DiagnosticKind, usize>,
    /// The first losses.
    first: Vec<Diagnostic>,
    /// The first part that medner has no place for.
    not_read: Option<Diagnostic>,
    /// The number of mentions with an odd beginning or end, and the first.
    odd: Option<(usize, Diagnostic)>,
}

impl FaultCount {
    /// Adds faults.
    pub fn add(&mut self, diagnostics: &Diagnostics) {
        for diagnostic in &diagnostics.0 {
            if diagnostic.kind == DiagnosticKind::OddBoundary {
                self.odd.get_or_insert_with(|| (0, diagnostic.clone())).0 += 1;
                continue;
            }
            let counts = if diagnostic.kind.is_loss() { &mut self.losses } else { &mut self.others };
            *counts.entry(diagnostic.kind).or_default() += 1;
        }
        let mut not_read = diagnostics.0.iter().filter(|diagnostic| diagnostic.kind == DiagnosticKind::NotRead);
        self.not_read = self.not_read.take().or_else(|| not_read.next().cloned());
        self.first.extend(diagnostics.losses().take(FAULTS_LISTED - self.first.len()).cloned());
    }

    /// Number of faults of each kind.
    pub fn counts(&self) -> BTreeMap<DiagnosticKind, usize> {
        let odd = self.odd.iter().map(|(count, _)| (DiagnosticKind::OddBoundary, *count));
        self.losses.iter().chain(&self.others).map(|(kind, count)| (*kind, *count)).chain(odd).collect()
    }

    /// Number of input items that the documents lack or have in changed form.
    pub fn left_out(&self) -> usize {
        self.losses.values().sum::<usize>() + self.count_not_read()
    }

    fn count_not_read(&self) -> usize {
        self.others.get(&DiagnosticKind::NotRead).copied().unwrap_or(0)
    }

    /// Fails if something was lost, unless `lenient`.
    ///
    /// # Errors
    /// If something was lost; the message lists the first faults with file, line and document.
    pub fn check(&self, lenient: bool) -> Result<()> {
        let repaired: BTreeMap<_, _> =
            self.others.iter().filter(|(kind, _)| **kind != DiagnosticKind::NotRead).map(|(&k, &n)| (k, n)).collect();
        if let Some((count, kinds)) = summary(&repaired) {
            warn!("{count} input faults were repaired ({kinds})");
        }
        if let Some(first) = &self.not_read {
            warn!("{} parts of the input were not read, for example {first}", self.count_not_read());
        }
        if let Some((count, first)) = &self.odd {
            warn!("{count} mentions begin or end in white space or inside a word; check their offsets, first {first}");
        }
        let Some((count, kinds)) = summary(&self.losses) else { return Ok(()) };
        let summary = format!("{count} parts of the input are faulty ({kinds})");
        if lenient {
            warn!("{summary}; skipping them");
            return Ok(());
        }
        let mut text = summary;
        for loss in &self.first {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n  {loss}");
        }
        if let Some(more @ 1..) = count.checked_sub(self.first.len()) {
            let _ = write!(text, "\n  and {more} more");
        }
        bail!("{text}\nCorrect the input, or skip the faulty parts with --lenient")
    }
}

/// Total number of faults, and a text with the number of each kind; `None` without faults.
fn summary(counts: &BTreeMap<DiagnosticKind, usize>) -> Option<(usize, String)> {
    let kinds: Vec<String> = counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    (!counts.is_empty()).then(|| (counts.values().sum(), kinds.join(", ")))
}
