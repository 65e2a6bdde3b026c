//! A batch: what was chosen to be annotated, as a folder.
//!
//! ```text
//! batch.json       strategy, budget and models; for each item its id, where it comes from, and why it was chosen
//! exported.jsonl   the items as they were handed out, with the model's suggestions; nobody changes it
//! brat/            or batch.jsonl, batch.doccano.jsonl, batch.conll: what people or tools correct
//! corrections/     what people corrected on the page of `active annotate`, where they did
//! ```

use super::{corrections, write_whole};
use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use ner_active::{Budget, Strategy};
use ner_data::{Document, Format, FormatOptions, Mention, Span};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// What a batch is handed out as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum To {
    /// A folder of texts with .ann files
    Brat,
    /// JSON lines with `spans`, as Prodigy reads them
    #[default]
    Jsonl,
    /// JSON lines with `label`, as doccano reads them
    Doccano,
    /// Words with tags
    Conll,
}

impl To {
    /// The name of what is corrected, inside the batch's folder.
    const fn name(self) -> &'static str {
        match self {
            Self::Brat => "brat",
            Self::Jsonl => "batch.jsonl",
            Self::Doccano => "batch.doccano.jsonl",
            Self::Conll => "batch.conll",
        }
    }
}

const MANIFEST: &str = "batch.json";
const EXPORTED: &str = "exported.jsonl";

/// `batch.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub strategy: Strategy,
    /// Where the strategy comes from.
    pub source: String,
    pub budget: Budget,
    pub seed: u64,
    /// Types that the first model knows.
    #[serde(default)]
    pub types: Vec<String>,
    /// The models that were asked, and whose first made the suggestions.
    pub models: Vec<String>,
    pub to: To,
    /// Items that the pool had.
    pub offered: usize,
    pub items: Vec<Item>,
}

/// Why an item was chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Its id; a sentence's is that of its document with the sentence's number.
    pub id: String,
    /// Id of its document.
    pub document: String,
    /// Where it begins in the document, in characters.
    pub start: usize,
    pub words: usize,
    /// From 1, the most wanted.
    pub rank: usize,
    /// What the strategy says of it; `ner-active` says what that is.
    pub score: f64,
}

/// Writes a batch to a new folder, which appears by one rename. `documents` are the items with the suggestions.
///
/// # Errors
/// Where something is there already, or it cannot be written.
pub fn write(folder: &Path, manifest: &Manifest, documents: &[Document]) -> Result<()> {
    let is_free = !folder.exists() || fs_err::read_dir(folder)?.next().is_none();
    ensure!(is_free, "{} holds something already", folder.display());
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs_err::create_dir_all(parent)?;
    let staging = tempfile::Builder::new().prefix(".medner-batch-").tempdir_in(parent)?;
    let options = FormatOptions::default();
    let place = staging.path().join(manifest.to.name());
    match manifest.to {
        To::Brat => report(&Format::Brat.write(&place, documents, &options)?),
        To::Conll => report(&Format::Conll.write(&place, documents, &options)?),
        To::Jsonl | To::Doccano => {
            let mut lines = Vec::new();
            for (document, item) in documents.iter().zip(&manifest.items) {
                serde_json::to_writer(&mut lines, &line(manifest, document, item))?;
                lines.push(b'\n');
            }
            write_whole(&place, &lines)?;
        }
    }
    Format::Jsonl.write(&staging.path().join(EXPORTED), documents, &options)?;
    write_whole(&staging.path().join(MANIFEST), &serde_json::to_vec_pretty(manifest)?)?;
    if folder.exists() {
        fs_err::remove_dir(folder)?;
    }
    let staged = staging.keep();
    // Temporary folders as such are for the owner's eyes alone.
    #[cfg(unix)]
    fs_err::set_permissions(&staged, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(fs_err::rename(staged, folder)?)
}

fn report(losses: &ner_data::LossReport) {
    for (item, tally) in losses.items.iter().filter(|(_, tally)| tally.moved + tally.lost > 0) {
        info!("the format cannot say all suggestions: {item}: {} moved, {} lost", tally.moved, tally.lost);
    }
}

fn line(manifest: &Manifest, document: &Document, item: &Item) -> Value {
    let reason = json!({
        "strategy": manifest.strategy, "rank": item.rank, "score": item.score, "document": item.document, "start": item.start,
    });
    let place = |mention: &Mention| (mention.span().start, mention.span().end, mention.entity_type.clone());
    if manifest.to == To::Doccano {
        let labels: Vec<_> = document.mentions.iter().map(place).collect();
        return json!({ "id": document.id, "text": document.text, "label": labels, "meta": reason });
    }
    let span = |mention: &Mention| {
        let (start, end, label) = place(mention);
        json!({ "start": start, "end": end, "label": label })
    };
    let spans: Vec<_> = document.mentions.iter().map(span).collect();
    json!({ "id": document.id, "text": document.text, "spans": spans, "meta": reason })
}

/// A batch as it was handed out.
pub struct Batch {
    pub folder: PathBuf,
    pub manifest: Manifest,
    /// Checksum of what was handed out: the batch's name among others.
    pub id: String,
    /// The items with the suggestions, in the manifest's order.
    pub documents: Vec<Document>,
}

impl Batch {
    /// Reads it.
    ///
    /// # Errors
    /// Where it is none, or is damaged.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let bytes = fs_err::read(&path)
            .with_context(|| format!("{} is no batch that `active select` made", folder.display()))?;
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is no description of a batch", path.display()))?;
        let exported_path = folder.join(EXPORTED);
        let id =
            Sha256::digest(fs_err::read(&exported_path)?).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let documents = read_documents(&exported_path, Format::Jsonl)?;
        let ids = |(document, item): (&Document, &Item)| document.id == item.id;
        ensure!(
            documents.len() == manifest.items.len() && documents.iter().zip(&manifest.items).all(ids),
            "{} does not hold the items that {} names",
            exported_path.display(),
            path.display()
        );
        Ok(Self { folder: folder.to_owned(), manifest, id, documents })
    }

    /// Types that the model knows or suggested.
    pub fn types(&self) -> Vec<String> {
        let mut types = self.manifest.types.clone();
        for mention in self.documents.iter().flat_map(|document| &document.mentions) {
            if !types.contains(&mention.entity_type) {
                types.push(mention.entity_type.clone());
            }
        }
        types
    }

    /// Counts what was done to the suggestions of the items that came back.
    fn tally(self, found: impl IntoIterator<Item = (usize, Document)>) -> Corrected {
        let mut tally = Corrected { id: self.id, missing: 0, documents: Vec::new(), kept: 0, added: 0, removed: 0 };
        for (at, document) in found {
            let (suggested, there) = (places_of(&self.documents[at]), places_of(&document));
            tally.kept += there.intersection(&suggested).count();
            tally.added += there.difference(&suggested).count();
            tally.removed += suggested.difference(&there).count();
            tally.documents.push(document);
        }
        tally.missing = self.documents.len() - tally.documents.len();
        tally
    }
}

/// A batch that came back.
pub struct Corrected {
    /// Checksum of what was handed out: the batch's name among others.
    pub id: String,
    /// The items that came back, with the corrected mentions, as they were handed out else; in the batch's order.
    pub documents: Vec<Document>,
    /// Items that did not come back.
    pub missing: usize,
    /// Mentions that were suggested and are there as they were, that are there and were not suggested, and that were
    /// suggested and are gone.
    pub kept: usize,
    pub added: usize,
    pub removed: usize,
}

/// Reads what was corrected: on the page, by the one `annotator` or the only one; or the file or folder in the batch; or
/// another that a tool exported.
///
/// # Errors
/// Where the batch is none, what came back is damaged, holds another text than was handed out, or says an item twice; where
/// several annotators, or the page and another tool, say something, and none is named. The message names file, line and
/// item, and quotes nothing.
pub fn read(folder: &Path, corrected: Option<&Path>, annotator: Option<&str>) -> Result<Corrected> {
    let batch = Batch::open(folder)?;
    let exported = &batch.documents;
    let on_page = if corrected.is_none() { corrections::corrected(&batch, annotator)? } else { None };
    let (place, format) = match corrected {
        Some(place) => {
            let format = Format::detect(place)?;
            (place.to_owned(), format.with_context(|| format!("{} has no format that is known", place.display()))?)
        }
        None => {
            let format = match batch.manifest.to {
                To::Brat => Format::Brat,
                To::Jsonl | To::Doccano => Format::Jsonl,
                To::Conll => Format::Conll,
            };
            (folder.join(batch.manifest.to.name()), format)
        }
    };
    if let Some(found) = on_page {
        // Whoever names an annotator has decided.
        let is_changed = annotator.is_none()
            && place.exists()
            && from_file(exported, &place, format)?
                .iter()
                .any(|(&at, document)| places_of(document) != places_of(&exported[at]));
        ensure!(
            !is_changed,
            "{} was corrected on the page, and {} is not as it was handed out; say --annotator NAME for the one, or \
             --corrected {} for the other",
            folder.display(),
            place.display(),
            place.display()
        );
        return Ok(batch.tally(found));
    }
    let found = from_file(exported, &place, format)?;
    Ok(batch.tally(found))
}

/// Where mentions are, and of what type.
fn places_of(document: &Document) -> BTreeSet<(&[Span], &str)> {
    document.mentions.iter().map(|mention| (mention.fragments.as_slice(), mention.entity_type.as_str())).collect()
}

/// The items that a tool's file or folder holds, by their places in the batch.
fn from_file(exported: &[Document], place: &Path, format: Format) -> Result<BTreeMap<usize, Document>> {
    let by_id: BTreeMap<&str, usize> =
        exported.iter().enumerate().map(|(at, document)| (document.id.as_str(), at)).collect();
    let mut by_text: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, document) in exported.iter().enumerate() {
        by_text.entry(without_spaces(&document.text)).or_default().push(at);
    }
    let mut found: BTreeMap<usize, Document> = BTreeMap::new();
    for document in read_documents(place, format)? {
        let at_item = || format!("{}: item {}", place.display(), document.id);
        let text = without_spaces(&document.text);
        let at = match by_id.get(document.id.as_str()) {
            // A tool that numbers anew may use the id of another item; the text tells.
            Some(&at) if without_spaces(&exported[at].text) == text => at,
            by_id => match by_text.get(&text).map(Vec::as_slice) {
                Some(&[at]) => at,
                Some(_) => bail!("{}: several items have its text, and its id is that of none of them", at_item()),
                None if by_id.is_some() => bail!("{}: its text is not the one that was handed out", at_item()),
                None => bail!("{}: neither its id nor its text is that of an item of the batch", at_item()),
            },
        };
        let mentions = on_text(&document, &exported[at]).with_context(at_item)?;
        let is_new = found.insert(at, Document { mentions, ..exported[at].clone() }).is_none();
        ensure!(is_new, "{}: the item came back twice", at_item());
    }
    Ok(found)
}

/// All documents of a file or folder, which must be whole.
fn read_documents(path: &Path, format: Format) -> Result<Vec<Document>> {
    ensure!(path.exists(), "{} is not there", path.display());
    let (documents, diagnostics) = format.open(path, &FormatOptions::default())?.read_all()?;
    let losses: Vec<String> =
        diagnostics.0.iter().filter(|fault| fault.kind.is_loss()).map(ToString::to_string).collect();
    ensure!(losses.is_empty(), "{} is damaged; nothing of it was taken:\n  {}", path.display(), losses.join("\n  "));
    for fault in &diagnostics.0 {
        warn!("{fault}");
    }
    Ok(documents)
}

fn without_spaces(text: &str) -> String {
    text.chars().filter(|char| !char.is_whitespace()).collect()
}

/// The mentions of `document` on the text that was handed out, which has the same characters but for spaces: CoNLL keeps
/// none. Nothing else than place and type comes from a tool.
fn on_text(document: &Document, exported: &Document) -> Result<Vec<Mention>> {
    // The place of each character that is no space, in the text that was handed out.
    let places: Vec<usize> =
        exported.text.chars().enumerate().filter(|(_, char)| !char.is_whitespace()).map(|(at, _)| at).collect();
    // For each character of the document, how many that are no spaces stand before it.
    let mut before = vec![0];
    for char in document.text.chars() {
        let last = before[before.len() - 1];
        before.push(last + usize::from(!char.is_whitespace()));
    }
    let same_text = document.text == exported.text;
    let on = |span: &Span| -> Result<Span> {
        if same_text {
            return Ok(*span);
        }
        let (first, last) = (before[span.start], before[span.end]);
        ensure!(first < last, "a mention holds nothing but spaces");
        Ok(Span::new(places[first], places[last - 1] + 1))
    };
    let length = document.text.chars().count();
    let mut mentions = Vec::new();
    for mention in &document.mentions {
        ensure!(mention.span().end <= length && !mention.fragments.is_empty(), "a mention reaches outside its text");
        let fragments: Result<Vec<Span>> = mention.fragments.iter().map(on).collect();
        let moved = Mention { fragments: fragments?, ..Mention::new(mention.span(), mention.entity_type.clone()) };
        if !mentions.contains(&moved) {
            mentions.push(moved);
        }
    }
    mentions.sort();
    Ok(mentions)
}

/// Writes documents as JSON lines to a file that is whole or not there.
///
/// # Errors
/// Where it cannot be written.
pub fn write_documents(path: &Path, documents: &[Document]) -> Result<()> {
    let mut bytes = Vec::new();
    {
        let out = ner_data::format::Output::Open(Box::new(&mut bytes as &mut dyn Write));
        let mut writer = Format::Jsonl.create_output(out, &FormatOptions::default())?;
        for document in documents {
            writer.write(document)?;
        }
        writer.finish()?;
    }
    write_whole(path, &bytes)
}

/// The documents of a file that this program wrote, or of a corpus that must be whole.
///
/// # Errors
/// Where it cannot be read, is damaged, or its format is not known.
pub fn documents_of(path: &Path) -> Result<Vec<Document>> {
    let format = Format::detect(path)?.with_context(|| format!("{} has no format that is known", path.display()))?;
    read_documents(path, format)
}
