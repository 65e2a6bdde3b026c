//! Reads corrected batches: from the page, or from a tool's file.

use super::batch::{Batch, To, read_documents};
use super::corrections;
use anyhow::{Context, Result, bail, ensure};
use ner_data::{Document, Format, Mention, Span};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A corrected batch.
pub struct Corrected {
    /// Checksum of the exported items, which identifies the batch.
    pub id: String,
    /// The returned items, in the batch's order: corrected mentions, and everything else as exported.
    pub documents: Vec<Document>,
    /// Number of items that were not returned.
    pub missing: usize,
    /// Number of suggested mentions returned unchanged.
    pub kept: usize,
    /// Number of returned mentions that were not suggested.
    pub added: usize,
    /// Number of suggested mentions that were not returned.
    pub removed: usize,
}

/// Reads the corrections: those of `annotator` (or the only annotator) on the page, or the file or folder in the batch,
/// or `corrected`, another tool's export.
///
/// # Errors
/// If the folder is not a batch; if the corrections are damaged, have another text than exported, or contain an item
/// twice; if several annotators, or the page and another tool, made corrections and the arguments choose none. The
/// message names file, line and item, and quotes no text.
pub fn read(folder: &Path, corrected: Option<&Path>, annotator: Option<&str>) -> Result<Corrected> {
    let batch = Batch::open(folder)?;
    let exported = &batch.documents;
    let on_page = if corrected.is_none() { corrections::corrected(&batch, annotator)? } else { None };
    let (place, format) = match corrected {
        Some(place) => {
            let format = Format::detect(place)?;
            (place.to_owned(), format.with_context(|| format!("cannot detect the format of {}", place.display()))?)
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
        // Naming an annotator settles the choice.
        let is_changed = annotator.is_none()
            && place.exists()
            && from_file(exported, &place, format)?
                .iter()
                .any(|(&at, document)| places_of(document) != places_of(&exported[at]));
        ensure!(
            !is_changed,
            "{} was corrected on the page, and {} was edited too; choose with --annotator NAME or with \
             --corrected {}",
            folder.display(),
            place.display(),
            place.display()
        );
        return Ok(tally(batch, found));
    }
    let found = from_file(exported, &place, format)?;
    Ok(tally(batch, found))
}

/// Fragments and type of each mention.
fn places_of(document: &Document) -> BTreeSet<(&[Span], &str)> {
    document.mentions.iter().map(|mention| (mention.fragments.as_slice(), mention.entity_type.as_str())).collect()
}

/// The items of a tool's file or folder, by their index in the batch.
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
            // A tool that renumbers items may reuse an id; the text decides.
            Some(&at) if without_spaces(&exported[at].text) == text => at,
            by_id => match by_text.get(&text).map(Vec::as_slice) {
                Some(&[at]) => at,
                Some(_) => bail!("{}: its text matches several items, and its id matches none", at_item()),
                None if by_id.is_some() => bail!("{}: its text differs from the exported one", at_item()),
                None => bail!("{}: neither its id nor its text matches an item of the batch", at_item()),
            },
        };
        let mentions = on_text(&document, &exported[at]).with_context(at_item)?;
        let is_new = found.insert(at, Document { mentions, ..exported[at].clone() }).is_none();
        ensure!(is_new, "{}: the item appears twice", at_item());
    }
    Ok(found)
}

fn without_spaces(text: &str) -> String {
    text.chars().filter(|char| !char.is_whitespace()).collect()
}

/// Transfers the mentions of `document` to the exported text, which has the same characters except for spaces (CoNLL
/// keeps none). Only span and type come from the tool.
fn on_text(document: &Document, exported: &Document) -> Result<Vec<Mention>> {
    // Position of each non-space character in the exported text.
    let places: Vec<usize> =
        exported.text.chars().enumerate().filter(|(_, char)| !char.is_whitespace()).map(|(at, _)| at).collect();
    // Number of non-space characters before each character of the document.
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
        ensure!(first < last, "a mention has only spaces");
        Ok(Span::new(places[first], places[last - 1] + 1))
    };
    let length = document.text.chars().count();
    let mut mentions = Vec::new();
    for mention in &document.mentions {
        ensure!(mention.span().end <= length && !mention.fragments.is_empty(), "a mention lies outside its text");
        let fragments: Result<Vec<Span>> = mention.fragments.iter().map(on).collect();
        let moved = Mention { fragments: fragments?, ..Mention::new(mention.span(), mention.entity_type.clone()) };
        if !mentions.contains(&moved) {
            mentions.push(moved);
        }
    }
    mentions.sort();
    Ok(mentions)
}

/// Counts kept, added and removed suggestions of the returned items.
fn tally(batch: Batch, found: impl IntoIterator<Item = (usize, Document)>) -> Corrected {
    let mut tally = Corrected { id: batch.id, missing: 0, documents: Vec::new(), kept: 0, added: 0, removed: 0 };
    for (at, document) in found {
        let (suggested, there) = (places_of(&batch.documents[at]), places_of(&document));
        tally.kept += there.intersection(&suggested).count();
        tally.added += there.difference(&suggested).count();
        tally.removed += suggested.difference(&there).count();
        tally.documents.push(document);
    }
    tally.missing = batch.documents.len() - tally.documents.len();
    tally
}
