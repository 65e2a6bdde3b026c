//! Scores of links to vocabularies, on the mentions of a corpus and on predicted ones.

use anyhow::{Result, ensure};
use ner_data::{Document, Mention};
use ner_eval::{ConceptScores, NO_CONCEPT, PairedDocuments, Resampling, score_concepts};
use ner_link::{Linker, Linkers};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How well mentions are linked.
#[derive(Clone, Debug, Serialize)]
pub struct LinkScores {
    /// Of gold mentions that have an id and whose type has a vocabulary.
    pub gold_mentions: ConceptScores,
    /// Mentions of these whose ids the vocabulary holds, all of them: no linker can be better.
    pub ceiling: Ceiling,
    /// Of predicted mentions. `documents` holds what BioCreative V measures.
    pub predicted_mentions: ConceptScores,
    /// The least score of a link.
    pub threshold: f64,
}

/// How many mentions could be linked at best.
#[derive(Clone, Debug, Serialize)]
pub struct Ceiling {
    /// All mentions.
    #[serde(flatten)]
    pub overall: Held,
    /// By type.
    pub per_type: BTreeMap<String, Held>,
}

/// Mentions whose ids a vocabulary holds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Held {
    /// Their number.
    pub held: u64,
    /// All mentions.
    pub mentions: u64,
}

impl Held {
    /// Their share; `None` without mentions.
    pub fn share(self) -> Option<f64> {
        (self.mentions > 0).then(|| self.held as f64 / self.mentions as f64)
    }
}

/// Documents whose links can be scored.
pub struct GoldLinks<'l> {
    linkers: &'l Linkers,
    documents: Vec<Document>,
    ceiling: Ceiling,
}

impl<'l> GoldLinks<'l> {
    /// Those of a corpus. A gold id that is another id of a concept (MEDIC's alternatives) counts as the id of that concept.
    ///
    /// # Errors
    /// If a type with a vocabulary has no gold mention, or none of the gold ids is in the vocabularies.
    pub fn new(linkers: &'l Linkers, gold: &[Document]) -> Result<Self> {
        let types: BTreeSet<&str> = mentions(gold).map(|mention| mention.entity_type.as_str()).collect();
        for entity_type in linkers.entity_types() {
            let known = || types.iter().copied().collect::<Vec<_>>().join(", ");
            ensure!(
                types.contains(entity_type),
                "no gold mention has the type {entity_type}; the types are {}",
                known()
            );
        }
        let usual = usual_ids(linkers, gold);
        let mut ceiling = Ceiling { overall: Held::default(), per_type: BTreeMap::new() };
        let mut expected = gold.to_vec();
        for document in &mut expected {
            document.mentions.retain(|mention| linkers.is_for(&mention.entity_type));
            for mention in &mut document.mentions {
                mention.concept_ids.retain(|id| !NO_CONCEPT.contains(&id.as_str()));
                if mention.concept_ids.is_empty() {
                    continue;
                }
                let mut is_held = true;
                for id in &mut mention.concept_ids {
                    match usual.get(&(mention.entity_type.clone(), id.clone())) {
                        Some(usual) => id.clone_from(usual),
                        None => is_held = false,
                    }
                }
                let of_type = ceiling.per_type.entry(mention.entity_type.clone()).or_default();
                for counts in [&mut ceiling.overall, of_type] {
                    counts.mentions += 1;
                    counts.held += u64::from(is_held);
                }
            }
        }
        ensure!(ceiling.overall.mentions > 0, "no gold mention of a type with a vocabulary has a concept id");
        ensure!(
            ceiling.overall.held > 0,
            "the vocabularies hold none of the gold ids, which are compared as they are written; do both sides write them in \
         the same way (D003643, MESH:D003643)?"
        );
        Ok(Self { linkers, documents: expected, ceiling })
    }

    /// Links the predicted mentions, and scores the links of gold and predicted ones.
    ///
    /// # Errors
    /// If the documents are not the same.
    pub fn score(self, predicted: &mut [Document]) -> Result<LinkScores> {
        let Self { linkers, documents: expected, ceiling } = self;
        let mut linked = expected.clone();
        for document in linked.iter_mut().chain(predicted.iter_mut()) {
            // A mention without a link would keep the ids that it has.
            document.mentions.iter_mut().for_each(|mention| mention.concept_ids.clear());
            linkers.link_mentions(&document.text, &mut document.mentions, true);
        }
        let score = |documents: &[Document]| -> Result<ConceptScores> {
            let paired = PairedDocuments::new(&expected, documents)?;
            Ok(score_concepts(&paired.documents, &Resampling::default())?)
        };
        let threshold = linkers.iter().map(|(_, linker, _)| linker.options().threshold).fold(0.0, f64::max);
        Ok(LinkScores { gold_mentions: score(&linked)?, predicted_mentions: score(predicted)?, ceiling, threshold })
    }
}

fn mentions(documents: &[Document]) -> impl Iterator<Item = &Mention> {
    documents.iter().flat_map(|document| &document.mentions)
}

/// The first ids of the concepts that gold names, by type and any of their ids.
pub(crate) fn usual_ids(linkers: &Linkers, gold: &[Document]) -> HashMap<(String, String), String> {
    let mut usual = HashMap::new();
    let own: BTreeSet<&str> = linkers.entity_types().collect();
    for (of, linker, _) in linkers.iter() {
        let is_its = |mention: &&Mention| match of {
            Some(of) => mention.entity_type == of,
            None => !own.contains(mention.entity_type.as_str()),
        };
        let mut missing: HashMap<&str, BTreeSet<&str>> = HashMap::new();
        for mention in mentions(gold).filter(is_its) {
            for id in &mention.concept_ids {
                if linker.vocabulary().find(id).is_some() {
                    usual.insert((mention.entity_type.clone(), id.clone()), id.clone());
                } else {
                    missing.entry(id).or_default().insert(&mention.entity_type);
                }
            }
        }
        for (other, first) in other_ids(linker, |id| missing.contains_key(id)) {
            for entity_type in missing.get(other.as_str()).into_iter().flatten() {
                usual.entry(((*entity_type).to_owned(), other.clone())).or_insert_with(|| first.clone());
            }
        }
    }
    usual
}

/// The other ids that are wanted, with the first id of their concept.
fn other_ids(linker: &Linker, is_wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let vocabulary = linker.vocabulary();
    let concepts = (0..vocabulary.concepts()).filter_map(|number| vocabulary.concept(number));
    let pairs =
        concepts.flat_map(|concept| concept.other_ids.into_iter().map(move |other| (other, concept.id.clone())));
    pairs.filter(|(other, _)| is_wanted(other)).collect()
}
