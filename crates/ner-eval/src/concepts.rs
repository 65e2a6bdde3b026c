use crate::attribute::ValueScores;
use crate::counts::{Counts, DocumentCounts, tally};
use crate::resampling::{Interval, Resampling};
use crate::spans::{PairedDocument, place_and_type};
use ner_document::Mention;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Scores of the concept ids of mentions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConceptScores {
    /// Of the distinct ids of each document, by type of their mentions, wherever they are mentioned: the normalisation
    /// task of BioCreative V (Wei et al. 2016).
    pub documents: ValueScores,
    /// Number of mentions that both sides have, with equal position and type, and that have an id in gold.
    pub matched: u64,
    /// Share of these whose ids are equal on both sides.
    pub accuracy: Option<f64>,
    /// Bootstrap interval of the accuracy.
    pub accuracy_interval: Option<Interval>,
}

/// What corpora write for a mention without a concept.
const NO_CONCEPT: [&str; 3] = ["-1", "-", ""];

/// Scores concept ids, as they are written: `MESH:D003643` and `D003643` differ. `-1`, `-` and the empty id are none.
pub fn score_concepts(documents: &[PairedDocument<'_>], resampling: &Resampling) -> ConceptScores {
    let (mut by_document, mut equal, mut matched) = (Vec::new(), Vec::new(), 0);
    for document in documents {
        let counts = |by_type| DocumentCounts { id: document.id.to_owned(), by_type };
        by_document.push(counts(tally(typed(document.gold), typed(document.predicted))));
        let predicted: HashMap<_, _> =
            document.predicted.iter().map(|mention| (place_and_type(mention), ids(mention))).collect();
        let gold = document.gold.iter().map(|mention| (place_and_type(mention), ids(mention)));
        let pairs =
            gold.filter(|(_, ids)| !ids.is_empty()).filter_map(|(place, ids)| Some((ids, predicted.get(&place)?)));
        let (right, wrong): (Vec<_>, Vec<_>) = pairs.partition(|(gold, predicted)| gold == *predicted);
        matched += (right.len() + wrong.len()) as u64;
        // The recall of these counts is the accuracy.
        let share = Counts { tp: right.len() as u64, fp: 0, fn_: wrong.len() as u64 };
        equal.push(counts(BTreeMap::from([(String::new(), share)])));
    }
    let accuracy = ValueScores::new(&equal, resampling);
    ConceptScores {
        documents: ValueScores::new(&by_document, resampling),
        matched,
        accuracy: accuracy.scores.overall.recall,
        accuracy_interval: accuracy.intervals.overall.recall,
    }
}

/// The ids of a mention.
fn ids(mention: &Mention) -> BTreeSet<&str> {
    mention.concept_ids.iter().map(String::as_str).filter(|id| !NO_CONCEPT.contains(id)).collect()
}

/// The ids of mentions, each with the type of its mention.
fn typed(mentions: &[Mention]) -> impl Iterator<Item = (&str, &str)> {
    mentions.iter().flat_map(|mention| ids(mention).into_iter().map(|id| (id, mention.entity_type.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PairedDocuments;
    use ner_document::{Document, Span};

    #[test]
    fn ids_count_once_a_document_and_all_of_a_mention_must_be_right() {
        let document = |mentions: &[(usize, &str, &[&str])]| {
            let mention = |&(start, entity_type, ids): &(usize, &str, &[&str])| Mention {
                concept_ids: ids.iter().map(|&id| id.to_owned()).collect(),
                ..Mention::new(Span::new(start, start + 1), entity_type)
            };
            Document { mentions: mentions.iter().map(mention).collect(), ..Document::new("1", "abcdefgh") }
        };
        let gold = [document(&[(0, "D", &["1", "2"]), (1, "D", &["1"]), (2, "C", &["3"]), (3, "D", &["-1"])])];
        let predicted = [document(&[(0, "D", &["1"]), (1, "D", &["1"]), (4, "C", &["3"]), (3, "D", &["9"])])];
        let paired = PairedDocuments::new(&gold, &predicted).expect("documents");
        let scores = score_concepts(&paired.documents, &Resampling::default());
        let overall = &scores.documents.scores.overall;
        // Gold: D1, D2, C3. Predicted: D1, D9, C3, wherever it stands.
        assert_eq!((overall.precision, overall.recall), (Some(2.0 / 3.0), Some(2.0 / 3.0)));
        assert_eq!((scores.matched, scores.accuracy), (2, Some(0.5)));
    }
}
