//! Finds documents that are also in an evaluation split, by id and by text.

use crate::corpus::{self, CorpusSource};
use anyhow::{Context, Result, bail};
use ner_data::{Document, Split};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// Number of consecutive words that count as the same text. Phrases that unrelated articles share are shorter
/// ("the aim of this study was to evaluate the efficacy and safety of").
const SHINGLE: usize = 20;

/// How a document is in an evaluation split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// A document there has its id.
    Id,
    /// A document there has the same words, or 20 consecutive words of it.
    Text,
}

/// The documents of evaluation splits, as hashes.
#[derive(Clone, Debug, Default)]
pub struct EvaluationTexts {
    ids: HashSet<String>,
    shingles: HashSet<u64>,
}

impl EvaluationTexts {
    /// Those of documents.
    pub fn of<'d>(documents: impl IntoIterator<Item = &'d Document>) -> Self {
        let mut all = Self::default();
        for document in documents {
            all.ids.insert(own_id(&document.id).to_owned());
            all.shingles.extend(shingles(&document.text));
        }
        all
    }

    /// How a document is among them.
    pub fn overlap(&self, document: &Document) -> Option<Overlap> {
        if self.ids.contains(own_id(&document.id)) {
            return Some(Overlap::Id);
        }
        shingles(&document.text).into_iter().any(|hash| self.shingles.contains(&hash)).then_some(Overlap::Text)
    }
}

/// An id without the name of a collection before it: `bc5cdr/227508`, `PMID:227508`.
fn own_id(id: &str) -> &str {
    id.rsplit(['/', ':']).next().filter(|own| !own.is_empty()).unwrap_or(id)
}

/// Hashes of all runs of [`SHINGLE`] words; of a shorter text, one hash of all its words; none of a text without words.
/// Case, white space and punctuation do not count.
fn shingles(text: &str) -> Vec<u64> {
    const BASE: u64 = 0x9E37_79B9_7F4A_7C15;
    let words: Vec<u64> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| {
            // Its keys are fixed, so equal words have equal hashes.
            let mut hasher = DefaultHasher::new();
            word.to_lowercase().hash(&mut hasher);
            hasher.finish()
        })
        .collect();
    let width = SHINGLE.min(words.len());
    let oldest = (1..width).fold(1, |power: u64, _| power.wrapping_mul(BASE));
    let mut hash = 0u64;
    let mut all = Vec::with_capacity(words.len());
    for (at, word) in words.iter().enumerate() {
        if at >= width {
            hash = hash.wrapping_sub(words[at - width].wrapping_mul(oldest));
        }
        hash = hash.wrapping_mul(BASE).wrapping_add(*word);
        if at + 1 >= width {
            // A short text equals only a text of the same length.
            all.push(hash ^ width as u64);
        }
    }
    all
}

/// A corpus whose documents are kept out of a training, and how many were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    /// The corpus and its splits, as in `bc5cdr:dev,test`.
    pub from: String,
    /// Documents left out because they have the id of a document there.
    pub by_id: usize,
    /// Further documents left out because they share text with one there.
    pub by_text: usize,
}

impl Excluded {
    /// Counts a document.
    pub const fn count(&mut self, overlap: Overlap) {
        match overlap {
            Overlap::Id => self.by_id += 1,
            Overlap::Text => self.by_text += 1,
        }
    }
}

/// Loads the evaluation splits that `wanted` names: `CORPUS` (its dev and test splits) or `CORPUS:SPLIT[,SPLIT]`.
///
/// # Errors
/// If there is no such corpus or split.
pub fn evaluation_texts(wanted: &str) -> Result<(Excluded, EvaluationTexts)> {
    let (corpus, splits) = match wanted.rsplit_once(':') {
        None => (wanted, vec![Split::Dev, Split::Test]),
        Some((corpus, names)) => {
            let split = |name: &str| Split::ALL.into_iter().find(|split| split.name() == name);
            let splits = names.split(',').map(|name| split(name).with_context(|| format!("{wanted}: no split {name}")));
            (corpus, splits.collect::<Result<Vec<_>>>()?)
        }
    };
    let loaded = corpus::load(corpus, &CorpusSource::default()).with_context(|| format!("--exclude {wanted}"))?;
    let documents = splits.iter().flat_map(|split| &loaded.splits.get(*split).documents);
    let texts = EvaluationTexts::of(documents);
    if texts.ids.is_empty() {
        bail!("--exclude {wanted}: there are no documents");
    }
    let names: Vec<&str> = splits.iter().map(|split| split.name()).collect();
    Ok((Excluded { from: format!("{corpus}:{}", names.join(",")), ..Excluded::default() }, texts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_found_by_id_and_by_text() {
        let words = |from: usize, to: usize| (from..to).map(|at| format!("word{at}")).collect::<Vec<_>>().join(" ");
        let gold = [Document::new("bc5cdr/7", words(0, 60)), Document::new("8", "Short, but there.")];
        let texts = EvaluationTexts::of(&gold);
        let check = |id: &str, text: &str, expected: Option<Overlap>| {
            assert_eq!(texts.overlap(&Document::new(id, text)), expected, "{id} {text}");
        };
        check("7", "other", Some(Overlap::Id));
        check("PMID:8", "other", Some(Overlap::Id));
        check("17", "other", None);
        check("x", &format!("Before. {} after", words(30, 50).to_uppercase().replace(' ', ",\n")), Some(Overlap::Text));
        check("x", &format!("before {} after", words(30, 49)), None);
        check("x", "short but   there", Some(Overlap::Text));
        check("x", "short but there, too", None);
        check("x", "", None);
    }
}
