//! Finds a corpus, fetches it where it is nowhere, loads it, and decides what its faults mean.

use anyhow::{Context, Result, bail};
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

/// Names a folder of corpora; each lies in the folder that its description names.
pub const CORPORA_VARIABLE: &str = "MEDNER_CORPORA";

/// Faults that an error lists; `medner data` lists more.
const FAULTS_LISTED: usize = 20;

/// Where to take a corpus from.
#[derive(Clone, Debug, Default)]
pub struct CorpusSource {
    /// The folder that holds its files; else `MEDNER_CORPORA`, the checkout, the cache, a download.
    pub data_dir: Option<PathBuf>,
    /// Whether to take the synthetic sample.
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
    /// The folder of corpora that the environment names.
    #[serde(rename = "MEDNER_CORPORA")]
    Environment,
    /// `datasets/NAME/data` of the checkout that the current folder lies in.
    #[serde(rename = "checkout")]
    Checkout,
    /// medner's cache.
    #[serde(rename = "cache")]
    Cache,
    /// The network, just now.
    #[serde(rename = "download")]
    Download,
    /// Nowhere: it is compiled in.
    #[serde(rename = "embedded synthetic sample")]
    Sample,
}

/// Where a corpus came from, for the record of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// How it was found.
    pub source: Source,
    /// Its folder; none for the sample.
    pub folder: Option<PathBuf>,
    /// Format of its files.
    pub format: Format,
    /// The files and folders in the order of the splits; none for the sample.
    pub files: Vec<OriginFile>,
}

/// One file or folder of a corpus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginFile {
    /// Where it is.
    pub path: PathBuf,
    /// SHA-256 of its bytes; of a folder, of the names and checksums of all files in it.
    pub sha256: String,
    /// Whether that is what the description says; none where it says nothing.
    pub as_described: Option<bool>,
}

/// A corpus in memory.
#[derive(Debug)]
pub struct Corpus {
    /// What is known of it.
    pub description: DatasetDescription,
    /// Its documents and their faults, with labels as the label map says.
    pub splits: Splits<LoadedSplit>,
    /// What a model of it tells apart.
    pub labels: Vec<String>,
    /// Mentions that the label map left out, by type.
    pub dropped: Dropped,
    /// Where it came from.
    pub origin: Origin,
    /// The corpora that it is made of, in the order of its documents; none where it is one.
    pub parts: Vec<CorpusPart>,
}

/// One of several corpora that are trained on together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorpusPart {
    /// Its name.
    pub name: String,
    /// The types that it annotates. Of others it says nothing: neither is a model trained that its text holds none, nor
    /// is what it finds of them there scored.
    pub types: Vec<String>,
    /// Documents of each split.
    pub documents: Splits<usize>,
}

impl Corpus {
    /// The types that are annotated in each document of a split; empty where it is one corpus.
    pub fn types_of(&self, split: Split) -> Vec<&[String]> {
        self.parts
            .iter()
            .flat_map(|part| std::iter::repeat_n(part.types.as_slice(), *part.documents.get(split)))
            .collect()
    }

    /// Strict scores of each of several corpora on the types that it annotates; empty where it is one corpus.
    /// `predicted` are the documents of the split.
    ///
    /// # Errors
    /// Where the documents are not those of the split.
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

    /// Whether it is the synthetic sample.
    pub fn is_sample(&self) -> bool {
        self.origin.source == Source::Sample
    }

    /// Stops at faults that lost something, unless `lenient` goes on without it.
    ///
    /// # Errors
    /// Where something was lost; names the first faults.
    pub fn check_faults(&self, lenient: bool) -> Result<()> {
        check_faults(self.splits.iter().map(|(_, split)| &split.diagnostics), lenient)
    }
}

/// A dataset as the command line names it: a name, or the path of a `dataset.toml` or of its folder.
#[derive(Debug)]
pub struct Named {
    /// Its description.
    pub description: DatasetDescription,
    /// Folder of its description, which is where its files lie; none for one that is compiled in.
    pub own_folder: Option<PathBuf>,
}

/// Finds the description of a dataset.
///
/// # Errors
/// Where there is none.
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

/// The name under which runs of a dataset are kept. A dataset of one's own may be called by its name alone.
///
/// # Errors
/// Where a `dataset.toml` that is named cannot be read.
pub fn name_of(dataset: &str) -> Result<String> {
    if let Some(names) = joined(dataset) {
        return Ok(names.into_iter().map(name_of).collect::<Result<Vec<_>>>()?.join(JOINT));
    }
    let is_path = dataset.ends_with(".toml") || Path::new(dataset).is_dir();
    if is_path { Ok(describe(dataset)?.description.name) } else { Ok(dataset.to_owned()) }
}

const DESCRIPTION: &str = "dataset.toml";

/// Stands between the names of corpora that are trained on together.
const JOINT: &str = "+";

/// The names of several corpora; none where it is one.
fn joined(dataset: &str) -> Option<Vec<&str>> {
    (dataset.contains(JOINT) && !Path::new(dataset).exists()).then(|| dataset.split(JOINT).collect())
}

/// What is known of several corpora together. Hyperparameters are those of the first; a mention goes on behind a line
/// break where it may in one of them.
fn joint_description(parts: &[DatasetDescription]) -> DatasetDescription {
    let join =
        |of: fn(&DatasetDescription) -> &str, between: &str| parts.iter().map(of).collect::<Vec<_>>().join(between);
    DatasetDescription {
        name: join(|part| &part.name, JOINT),
        title: join(|part| &part.title, " + "),
        licence: join(|part| &part.licence, "; "),
        entity_types: parts.iter().flat_map(|part| part.entity_types.clone()).collect(),
        // How predictions are written; each part is read in its own format.
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
        sample: parts.iter().all(|part| part.sample.is_some()).then(|| parts[0].sample.clone()).flatten(),
        ..parts[0].clone()
    }
}

/// Loads several corpora as one, whose documents are called `NAME/ID`.
fn load_joint(names: &[&str], place: &CorpusSource) -> Result<Corpus> {
    if place.data_dir.is_some() || place.labels.is_some() {
        bail!("--data-dir and --labels are for one corpus; {CORPORA_VARIABLE} names a folder of several");
    }
    let mut loaded = names.iter().map(|name| load(name, place)).collect::<Result<Vec<_>>>()?;
    let descriptions: Vec<DatasetDescription> = loaded.iter().map(|corpus| corpus.description.clone()).collect();
    if let Some(twice) = (1..names.len()).find(|&at| descriptions[..at].iter().any(|d| d.name == descriptions[at].name))
    {
        bail!("the corpus {} is named twice", descriptions[twice].name);
    }
    let mut joint = Corpus {
        description: joint_description(&descriptions),
        splits: loaded[0].splits.map(|_, _| LoadedSplit::default()),
        labels: Vec::new(),
        dropped: Dropped::new(),
        origin: Origin { folder: None, format: Format::Jsonl, files: Vec::new(), ..loaded[0].origin.clone() },
        parts: Vec::new(),
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
        // One by one: a wildcard would reach the types of the others.
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

/// Loads the corpus that the command line names.
///
/// # Errors
/// Where there is no such corpus, or it can be neither found nor fetched; the error says every way to get on.
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
                let files = description.locate(&folder).context("its dataset.toml says where its files are")?;
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
        info!("{count} mentions of type {entity_type} are left out, as the label map says");
    }
    let labels = description.labels(map, &splits.train);
    Ok(Corpus { labels, dropped, splits, origin, description, parts: Vec::new() })
}

const fn source_phrase(source: Source) -> &'static str {
    match source {
        Source::DataDir => "as --data-dir says",
        Source::Description => "beside its dataset.toml",
        Source::Environment => "as MEDNER_CORPORA says",
        Source::Checkout => "in this checkout",
        Source::Cache => "in medner's cache",
        Source::Download => "fetched just now",
        Source::Sample => "compiled in",
    }
}

/// The files of a corpus, and how they were found.
pub struct Found {
    /// How.
    pub source: Source,
    /// Where.
    pub folder: PathBuf,
    /// The files.
    pub files: CorpusFiles,
}

fn in_data_dir(description: &DatasetDescription, folder: &Path) -> Result<CorpusFiles> {
    description.locate(folder).with_context(|| {
        let wanted = match description.release {
            Some(_) => "the release".to_owned(),
            None => format!("{}, or train.tsv, devel.tsv and test.tsv", description.file_names().join(", ")),
        };
        format!("--data-dir is no folder of {}: wanted is {wanted}", description.name)
    })
}

/// Looks for a corpus on this machine; opens no connection. A folder that holds some of the files only is named in a
/// warning and passed over.
///
/// # Errors
/// Where a folder cannot be read.
pub fn look(description: &DatasetDescription) -> Result<Option<Found>> {
    for (source, folder) in places(description) {
        let imported = folder.join(RELEASE);
        let folder = if description.release.is_some() && source != Source::Environment { imported } else { folder };
        match description.locate(&folder) {
            Ok(files) => return Ok(Some(Found { source, folder, files })),
            Err(DatasetError::MissingFiles { missing, in_part: true, .. }) => {
                warn!("{} holds only a part of {}: {} missing", folder.display(), description.name, missing.join(", "));
            }
            Err(DatasetError::MissingFiles { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Where to look, in order.
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

/// `datasets/NAME` of the checkout that the current folder lies in.
pub fn checkout_folder(name: &str) -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let folders = here.ancestors().map(|folder| folder.join("datasets").join(name));
    folders.into_iter().find(|folder| folder.join("dataset.toml").is_file())
}

/// How to look and fetch, with progress bars unless the user wants quiet.
pub fn hub_options() -> FetchOptions {
    let mut options = FetchOptions::from_process();
    if !tracing::enabled!(Level::INFO) {
        options.progress = Progress::Hidden;
    }
    options
}

/// Takes a release over as it was handed out, so that every command finds it: its files are put into the checkout, or
/// into medner's cache where there is none. Returns where.
///
/// # Errors
/// Where it is no release, cannot be read, or is there already.
pub fn import(dataset: &str, from: &[PathBuf]) -> Result<PathBuf> {
    let description = describe(dataset)?.description;
    if description.release.is_none() {
        bail!("{} is not imported from a release; --data-dir names the folder of its files", description.name);
    }
    let target = places(&description).into_iter().find(|(source, _)| *source != Source::Environment);
    let (_, target) = target.context("no home folder is known, so there is no place to put it")?;
    if target.join(RELEASE).exists() {
        bail!("{} is there already; remove it to import anew", target.join(RELEASE).display());
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

/// Brings the files that are missing into the checkout, or into medner's cache where there is none.
fn fetch(description: &DatasetDescription) -> Result<Found> {
    let target = places(description).into_iter().find(|(source, _)| *source != Source::Environment);
    let folder = target.map(|(_, folder)| folder);
    fetch_into(description, folder.as_deref()).with_context(|| ways_to_get(description, folder.as_deref()))
}

fn fetch_into(description: &DatasetDescription, folder: Option<&Path>) -> Result<Found> {
    let Some(download) = &description.download else { bail!("{} cannot be fetched by a program", description.title) };
    let Some(folder) = folder else { bail!("no home folder is known, so there is no place for a download") };
    info!("{} is not on this machine; fetching {}", description.name, download.url);
    let mut members = Vec::new();
    for (_, split) in description.splits.iter().flat_map(Splits::iter) {
        let dest = folder.join(&split.file);
        // A file that is there stays, even where its checksum is another: the user may have mended it.
        if !dest.is_file() {
            let suffix = format!("{}/{}", download.folder, split.file);
            members.push(ZipMember { suffix, dest, sha256: split.sha256.clone() });
        }
    }
    // Whoever has no connection should not wait for it for half a minute.
    let options = FetchOptions { retries: 2, ..hub_options() };
    ner_hub::fetch_zip_members(&download.url, None, &members, &options)?;
    let files = description.locate(folder)?;
    Ok(Found { source: Source::Download, folder: folder.into(), files })
}

/// Every way to get on without the corpus.
pub fn ways_to_get(description: &DatasetDescription, folder: Option<&Path>) -> String {
    let DatasetDescription { name, homepage, .. } = description;
    let (own, names) = (description.folder(), description.file_names());
    let mut text = format!("the corpus {name} is not on this machine and could not be fetched. One of these helps:\n");
    let mut way = |what: &str, how: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "    {what:<20} {how}");
    };
    if description.release.is_some() {
        way("--data-dir DIR", "DIR holds the release, as folders or archives");
        way(&format!("{CORPORA_VARIABLE}=DIR"), &format!("DIR/{own} holds it"));
        way("import it", &format!("data {name} --from DIR-or-archive …"));
    } else {
        way("--data-dir DIR", &format!("DIR holds {}", names.join(", ")));
        way(&format!("{CORPORA_VARIABLE}=DIR"), &format!("DIR/{own} holds them"));
    }
    if let Some(folder) = folder.filter(|_| description.release.is_none()) {
        way("a copy", &format!("put them into {}", folder.display()));
    }
    match &description.download {
        Some(download) => way("the official address", &format!("{} ({homepage})", download.url)),
        None => way("the official address", homepage),
    }
    if description.sample.is_some() {
        way("--sample", "the synthetic sample that comes with medner");
    }
    text.trim_end().to_owned()
}

/// The checksums of the files; a file that is not the one described is warned of, and taken: the user may have mended
/// it.
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

/// Stops at faults that lost something, unless `lenient` goes on without it.
///
/// # Errors
/// Where something was lost; names the first faults with file, line and document.
pub fn check_faults<'d>(diagnostics: impl IntoIterator<Item = &'d Diagnostics>, lenient: bool) -> Result<()> {
    let mut count = FaultCount::default();
    for diagnostics in diagnostics {
        count.add(diagnostics);
    }
    count.check(lenient)
}

/// Faults of an input, counted as they come.
#[derive(Debug, Default)]
pub struct FaultCount {
    /// Those that left out or changed something.
    losses: BTreeMap<DiagnosticKind, usize>,
    /// Those that were mended or do no harm.
    harmless: BTreeMap<DiagnosticKind, usize>,
    /// The first of the losses.
    first: Vec<Diagnostic>,
}

impl FaultCount {
    /// Counts faults.
    pub fn add(&mut self, diagnostics: &Diagnostics) {
        for diagnostic in &diagnostics.0 {
            let counts = if diagnostic.kind.is_loss() { &mut self.losses } else { &mut self.harmless };
            *counts.entry(diagnostic.kind).or_default() += 1;
        }
        self.first.extend(diagnostics.losses().take(FAULTS_LISTED - self.first.len()).cloned());
    }

    /// Number of faults of each kind.
    pub fn counts(&self) -> BTreeMap<DiagnosticKind, usize> {
        self.losses.iter().chain(&self.harmless).map(|(kind, count)| (*kind, *count)).collect()
    }

    /// Number of things that the input holds and its documents do not, or not as they were.
    pub fn left_out(&self) -> usize {
        let not_read = self.harmless.get(&DiagnosticKind::NotRead).copied().unwrap_or(0);
        self.losses.values().sum::<usize>() + not_read
    }

    /// Stops where something was lost, unless `lenient` goes on without it.
    ///
    /// # Errors
    /// Where something was lost; names the first faults with file, line and document.
    pub fn check(&self, lenient: bool) -> Result<()> {
        if let Some((count, kinds)) = summary(&self.harmless) {
            warn!("{count} faults of the input were mended or do no harm ({kinds})");
        }
        let Some((count, kinds)) = summary(&self.losses) else { return Ok(()) };
        let summary = format!("{count} parts of the input are faulty ({kinds})");
        if lenient {
            warn!("{summary}; going on without them");
            return Ok(());
        }
        let mut text = summary;
        for loss in &self.first {
            // Writing to a string does not fail.
            let _ = write!(text, "\n  {loss}");
        }
        if let Some(more @ 1..) = count.checked_sub(self.first.len()) {
            let _ = write!(text, "\n  and {more} more");
        }
        bail!("{text}\nMend the input, or go on without the faulty parts: --lenient")
    }
}

/// How many faults there are, and how many of each kind; nothing where there is none.
fn summary(counts: &BTreeMap<DiagnosticKind, usize>) -> Option<(usize, String)> {
    let kinds: Vec<String> = counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    (!counts.is_empty()).then(|| (counts.values().sum(), kinds.join(", ")))
}
