//! A vocabulary for each entity type, and what it says of mentions.

use std::collections::BTreeMap;

use ner_document::{CharIndex, Confidence, Mention};
use serde::Serialize;
use thiserror::Error;

use crate::abbreviations::long_forms;
use crate::linker::{Answer, Candidate, Linker, Query};
use crate::vocabulary::admits;

/// Attributes of a linked mention, beside its ids: the score of its worst link, the preferred names (joined by `|`), and all
/// candidates if there were several: JSON, a list for each part of the mention, of pairs of id and score, the best first.
const SCORE: &str = "link_score";
const NAME: &str = "concept_name";
const CANDIDATES: &str = "link_candidates";

/// A concept that a mention, or a part of a composite one, is linked to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LinkedConcept {
    /// Its id.
    pub id: String,
    /// Its preferred name.
    pub name: String,
    /// From 0 to 1, in thousandths.
    pub score: Confidence,
    /// URI of the code system that the id belongs to, if the vocabulary says it.
    pub system: Option<String>,
    /// The release of the vocabulary, or else the name of its file.
    pub vocabulary: String,
    /// The text that was looked up: the mention, its long form, or a part of either.
    pub text: String,
    /// Further candidates, the best first.
    pub others: Vec<Other>,
}

/// A further candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Other {
    /// Its id.
    pub id: String,
    /// Its preferred name.
    pub name: String,
    /// From 0 to 1, in thousandths.
    pub score: Confidence,
}

impl From<Candidate> for Other {
    fn from(Candidate { id, name, score, .. }: Candidate) -> Self {
        let score = (1e3 * score).round() / 1e3;
        Self { id, name, score: Confidence::new(score as f32).unwrap_or(Confidence::MIN) }
    }
}

impl LinkedConcept {
    /// Sets the ids of a mention and the attributes that go with them. Without concepts, it has none of these.
    pub fn set(concepts: &[Self], mention: &mut Mention) {
        mention.concept_ids = concepts.iter().map(|concept| concept.id.clone()).collect();
        for attribute in [SCORE, NAME, CANDIDATES] {
            mention.attributes.remove(attribute);
        }
        let mut set = |name: &str, value: String| drop(mention.attributes.insert(name.to_owned(), value));
        if let Some(score) = concepts.iter().map(|concept| concept.score).min() {
            set(SCORE, score.to_string());
            set(NAME, concepts.iter().map(|concept| concept.name.as_str()).collect::<Vec<_>>().join("|"));
        }
        if concepts.iter().any(|concept| !concept.others.is_empty()) {
            let candidates: Vec<Vec<(&str, Confidence)>> = concepts.iter().map(Self::candidates).collect();
            set(CANDIDATES, serde_json::to_string(&candidates).expect("strings and numbers"));
        }
    }

    fn candidates(&self) -> Vec<(&str, Confidence)> {
        let others = self.others.iter().map(|other| (other.id.as_str(), other.score));
        std::iter::once((self.id.as_str(), self.score)).chain(others).collect()
    }
}

/// Why vocabularies do not go together.
#[derive(Debug, Error)]
pub enum LinkersError {
    /// A type, or all types, have two vocabularies.
    #[error("two vocabularies for {0}; build one from the files of both")]
    Twice(String),
    /// A filter admits no concept.
    #[error("{path}: no concept has the type {filter}; some types are {types}")]
    Filter {
        /// The vocabulary's file.
        path: String,
        /// The filter.
        filter: String,
        /// Some of the types that there are.
        types: String,
    },
}

/// Linkers of entity types. Threads may share them.
#[derive(Default)]
pub struct Linkers {
    /// By type; `None` for all types without their own.
    by_type: BTreeMap<Option<String>, TypeLinker>,
}

struct TypeLinker {
    linker: Linker,
    /// Types that concepts may have; empty: any.
    types: Vec<String>,
    name: String,
}

/// What became of the mentions of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Linked {
    /// Mentions with a concept.
    pub linked: usize,
    /// Mentions without one.
    pub unlinked: usize,
    /// Mentions that had ids before and kept them.
    pub kept: usize,
}

impl Linkers {
    /// Adds a vocabulary for the mentions of a type, or of all types without their own. `types` are those that its concepts
    /// may have, as in [`Query::types`].
    ///
    /// # Errors
    /// If there is one already, or a filter admits no concept.
    pub fn add(&mut self, entity_type: Option<&str>, linker: Linker, types: Vec<String>) -> Result<(), LinkersError> {
        let vocabulary = linker.vocabulary();
        for filter in &types {
            if !vocabulary.types().any(|name| admits(std::slice::from_ref(filter), name)) {
                let some: Vec<&str> = vocabulary.types().take(10).collect();
                let types = if some.is_empty() { "none".to_owned() } else { some.join(", ") };
                let path = vocabulary.path().display().to_string();
                return Err(LinkersError::Filter { path, filter: filter.clone(), types });
            }
        }
        let stem = || vocabulary.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = Some(vocabulary.release().to_owned()).filter(|release| !release.is_empty()).unwrap_or_else(stem);
        let added = TypeLinker { linker, types, name };
        match self.by_type.insert(entity_type.map(str::to_owned), added) {
            None => Ok(()),
            Some(_) => Err(LinkersError::Twice(entity_type.unwrap_or("all types").to_owned())),
        }
    }

    /// The linkers, each with its type; `None` for all types without their own. Then the types of its concepts.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&str>, &Linker, &[String])> {
        self.by_type.iter().map(|(of, TypeLinker { linker, types, .. })| (of.as_deref(), linker, types.as_slice()))
    }

    /// The types with a linker of their own.
    pub fn entity_types(&self) -> impl Iterator<Item = &str> {
        self.by_type.keys().filter_map(Option::as_deref)
    }

    /// The linker of a type.
    pub fn linker(&self, entity_type: &str) -> Option<&Linker> {
        self.of(entity_type).map(|TypeLinker { linker, .. }| linker)
    }

    /// Whether mentions of this type are linked.
    pub fn is_for(&self, entity_type: &str) -> bool {
        self.of(entity_type).is_some()
    }

    fn of(&self, entity_type: &str) -> Option<&TypeLinker> {
        // Compared without making a key for each mention.
        let own = self.by_type.iter().find(|(of, _)| of.as_deref() == Some(entity_type));
        own.map(|(_, linker)| linker).or_else(|| self.by_type.get(&None))
    }

    /// The concepts of a mention: one, several of a composite mention, or none. None, too, for a type without vocabulary.
    pub fn link(&self, entity_type: &str, text: &str, long_form: Option<&str>) -> Vec<LinkedConcept> {
        let Some(TypeLinker { linker, types, name }) = self.of(entity_type) else { return Vec::new() };
        let concept = |Answer { text, candidates }: Answer| {
            let mut candidates = candidates.into_iter().map(Other::from);
            let Other { id, name: preferred, score } = candidates.next()?;
            Some(LinkedConcept {
                id,
                name: preferred,
                score,
                system: linker.vocabulary().system().map(str::to_owned),
                vocabulary: name.clone(),
                text,
                others: candidates.collect(),
            })
        };
        linker.link(&Query { text, long_form, types }).into_iter().filter_map(concept).collect()
    }

    /// Links the mentions of a document with this text and sets their ids. Those that have ids keep them, unless
    /// `replaces`.
    pub fn link_mentions(&self, text: &str, mentions: &mut [Mention], replaces: bool) -> Linked {
        let index = CharIndex::new(text);
        let long_forms = long_forms(text);
        let mut done = Linked::default();
        for mention in mentions.iter_mut().filter(|mention| self.is_for(&mention.entity_type)) {
            if !mention.concept_ids.is_empty() && !replaces {
                done.kept += 1;
                continue;
            }
            let parts: Vec<&str> = mention.fragments.iter().filter_map(|&part| index.slice(text, part)).collect();
            let long_form = long_forms.get(&mention.span()).and_then(|&span| index.slice(text, span));
            let concepts = self.link(&mention.entity_type, &parts.join(" "), long_form);
            LinkedConcept::set(&concepts, mention);
            *if concepts.is_empty() { &mut done.unlinked } else { &mut done.linked } += 1;
        }
        done
    }
}

impl std::fmt::Debug for Linkers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.by_type.iter().map(|(of, linker)| (of, &linker.name))).finish()
    }
}
