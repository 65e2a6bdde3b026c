//! What comes back of a batch: from the page, or as a tool's file.

use super::batch::{Batch, To, read_documents};
use super::corrections;
use anyhow::{Context, Result, bail, ensure};
use ner_data::{Document, Format, Mention, Span};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A batch that came back.
pub struct Corrected {
    /// Checksum of what was handed out: the batch's name among others.
    pub id: String,
    /// The items that came back, with the corrected mentions, as they were handed out else; in the batch's order.
    pub documents: Vec<Document>,
    /// Items that did not come back.
    pub missing: usize,
    /// Suggested mentions that came back as they were.
    pub kept: usize,
    /// Mentions that came back and were not suggested.
    pub added: usize,
    /// Suggested mentions that did not come back.
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
        return Ok(tally(batch, found));
    }
    let found = from_file(exported, &place, format)?;
    Ok(tally(batch, found))
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

/// Counts what was done to the suggestions of the items that came back.
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
