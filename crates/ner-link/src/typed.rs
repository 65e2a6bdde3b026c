//! A vocabulary for each entity type, and what it says of mentions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ner_document::{CharIndex, Confidence, Mention, Span};
use serde::Serialize;
use thiserror::Error;

use crate::abbreviations::long_forms;
use crate::apposition::pairs;
use crate::linker::{Answer, Candidate, Linker, Query};
use crate::normalise::key_of;
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
    /// The name of the vocabulary's file without its ending, and its release if that is known.
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

impl From<&Candidate> for Other {
    fn from(Candidate { id, name, score, .. }: &Candidate) -> Self {
        let score = (1e3 * score).round() / 1e3;
        Self { id: id.clone(), name: name.clone(), score: Confidence::new(score as f32).unwrap_or(Confidence::MIN) }
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
    #[error("{path}: no concept has the type {filter}; {types}")]
    Filter {
        /// The vocabulary's file.
        path: String,
        /// The filter.
        filter: String,
        /// What types there are.
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

/// A mention to link in its document.
#[derive(Clone, Copy, Debug)]
pub struct Linkable<'d> {
    /// Its type.
    pub entity_type: &'d str,
    /// Its place.
    pub span: Span,
    /// Its text.
    pub text: &'d str,
    /// What the text stands for, if the document defines it as an abbreviation.
    pub long_form: Option<&'d str>,
}

/// The least score of a mention whose concept the one in brackets behind it gets, the score below which that one gets it, and
/// the score that it has then: the share of such links that is right in BC5CDR.
const SURE: f32 = 0.95;
const UNSURE: f32 = 0.5;
const APPOSED: f32 = 0.8;

/// What became of the mentions of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Linked {
    /// Mentions with a concept.
    pub linked: usize,
    /// Mentions without one.
    pub unlinked: usize,
    /// Mentions that kept the ids that they had, because they have no concept.
    pub unreplaced: usize,
    /// Mentions that had ids before and were not looked up.
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
                let types = match some.as_slice() {
                    [] => "the vocabulary has no types".to_owned(),
                    some => format!("some types are {}", some.join(", ")),
                };
                let path = vocabulary.path().display().to_string();
                return Err(LinkersError::Filter { path, filter: filter.clone(), types });
            }
        }
        let stem = vocabulary.path().file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{stem} {}", vocabulary.release()).trim_end().to_owned();
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
        let concept = |Answer { text, candidates }: &Answer| {
            let mut candidates = candidates.iter().map(Other::from);
            let Other { id, name: preferred, score } = candidates.next()?;
            Some(LinkedConcept {
                id,
                name: preferred,
                score,
                system: linker.vocabulary().system().map(str::to_owned),
                vocabulary: name.clone(),
                text: text.clone(),
                others: candidates.collect(),
            })
        };
        linker.link(&Query { text, long_form, types }).iter().filter_map(concept).collect()
    }

    /// The concepts of the mentions of a document, as of [`link`](Self::link). A mention that no name tells, and that stands
    /// in brackets behind one that equals a name ("cisplatin (CDDP)"), has its concept, everywhere in the document.
    pub fn link_all(&self, text: &str, index: &CharIndex, mentions: &[Linkable]) -> Vec<Vec<LinkedConcept>> {
        let mut linked: Vec<Vec<LinkedConcept>> =
            mentions.iter().map(|mention| self.link(mention.entity_type, mention.text, mention.long_form)).collect();
        let is_unsure = |concepts: &[LinkedConcept]| concepts.iter().all(|concept| concept.score.value() < UNSURE);
        let types: BTreeSet<&str> = mentions.iter().map(|mention| mention.entity_type).collect();
        for entity_type in types {
            let Some(TypeLinker { linker, .. }) = self.of(entity_type) else { continue };
            if linker.options().threshold > f64::from(APPOSED) {
                continue;
            }
            let mut own: Vec<usize> =
                (0..mentions.len()).filter(|at| mentions[*at].entity_type == entity_type).collect();
            own.sort_by_key(|at| mentions[*at].span);
            let spans: Vec<Span> = own.iter().map(|at| mentions[*at].span).collect();
            let mut known: HashMap<String, LinkedConcept> = HashMap::new();
            for (first, second) in pairs(text, index, &spans) {
                let (first, second) = (own[first], own[second]);
                // Abbreviations are linked by their long forms.
                if mentions[second].long_form == Some(mentions[first].text) {
                    continue;
                }
                // Not the other way: "steroids (deflazacort)" names a kind and one of it.
                if let [concept] = linked[first].as_slice()
                    && concept.score.value() >= SURE
                    && is_unsure(&linked[second])
                {
                    let (score, others) = (Confidence::new(APPOSED).unwrap_or(Confidence::MIN), Vec::new());
                    let concept = LinkedConcept { score, others, ..concept.clone() };
                    known.entry(key_of(mentions[second].text)).or_insert(concept);
                }
            }
            if known.is_empty() {
                continue;
            }
            for at in own {
                if is_unsure(&linked[at])
                    && let Some(concept) = known.get(&key_of(mentions[at].text))
                {
                    linked[at] = vec![concept.clone()];
                }
            }
        }
        linked
    }

    /// As [`Linker::prepare`], for mentions of one or several documents.
    pub fn prepare<'m>(&self, mentions: impl Iterator<Item = Linkable<'m>> + Clone) {
        for own in self.by_type.values() {
            let TypeLinker { linker, types, .. } = own;
            let is_its = |mention: &Linkable| self.of(mention.entity_type).is_some_and(|of| std::ptr::eq(of, own));
            let its = mentions.clone().filter(is_its);
            linker.prepare(its.map(|Linkable { text, long_form, .. }| Query { text, long_form, types }));
        }
    }

    /// Links the mentions of a document with this text and sets their ids. Those that have ids keep them, unless
    /// `replaces` and they have a concept.
    pub fn link_mentions(&self, text: &str, mentions: &mut [Mention], replaces: bool) -> Linked {
        let index = CharIndex::new(text);
        let long_forms = long_forms(text);
        let mut done = Linked::default();
        let mut looked_up: Vec<(&mut Mention, String, Option<&str>)> = Vec::new();
        for mention in mentions.iter_mut().filter(|mention| self.is_for(&mention.entity_type)) {
            if !mention.concept_ids.is_empty() && !replaces {
                done.kept += 1;
                continue;
            }
            let parts: Vec<&str> = mention.fragments.iter().filter_map(|&part| index.slice(text, part)).collect();
            let long_form = long_forms.get(&mention.span()).and_then(|&span| index.slice(text, span));
            looked_up.push((mention, parts.join(" "), long_form));
        }
        let linkables: Vec<Linkable> = looked_up
            .iter()
            .map(|(mention, text, long_form)| Linkable {
                entity_type: &mention.entity_type,
                span: mention.span(),
                text,
                long_form: *long_form,
            })
            .collect();
        self.prepare(linkables.iter().copied());
        let linked = self.link_all(text, &index, &linkables);
        for ((mention, ..), concepts) in looked_up.into_iter().zip(linked) {
            let ids = std::mem::take(&mut mention.concept_ids);
            LinkedConcept::set(&concepts, mention);
            if !concepts.is_empty() {
                done.linked += 1;
            } else if ids.is_empty() {
                done.unlinked += 1;
            } else {
                mention.concept_ids = ids;
                done.unreplaced += 1;
            }
        }
        done
    }
}

impl std::fmt::Debug for Linkers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.by_type.iter().map(|(of, linker)| (of, &linker.name))).finish()
    }
}
