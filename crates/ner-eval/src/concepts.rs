use crate::attribute::ValueScores;
use crate::counts::{Counts, DocumentCounts, Score, tally};
use crate::error::ScoreError;
use crate::resampling::{Interval, Resampling, ScoreIntervals};
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
    /// Of the mentions that both sides have, with equal position and type, and that have an id in gold: the share whose
    /// ids are equal on both sides.
    #[serde(flatten)]
    pub mentions: ConceptAccuracies,
    /// The same with several candidates; `None` if no prediction has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_k: Option<AccuraciesAtK>,
}

/// Shares of mentions whose ids are right.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConceptAccuracies {
    /// All mentions.
    #[serde(flatten)]
    pub overall: ConceptAccuracy,
    /// By type of the mention.
    pub accuracy_per_type: BTreeMap<String, ConceptAccuracy>,
}

/// A share of mentions whose ids are right.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ConceptAccuracy {
    /// Number of mentions.
    pub matched: u64,
    /// The share; `None` without mentions.
    pub accuracy: Option<f64>,
    /// Its bootstrap interval.
    pub accuracy_interval: Option<Interval>,
}

/// Shares of mentions whose ids are all among the candidates.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccuraciesAtK {
    /// The largest number of candidates of a mention, or of a part of a composite one.
    pub k: usize,
    /// The shares.
    #[serde(flatten)]
    pub mentions: ConceptAccuracies,
}

impl ConceptAccuracies {
    /// From the numbers of right (`tp`) and wrong (`fn_`) mentions of each document: the recall is the accuracy.
    fn new(documents: &[DocumentCounts], resampling: &Resampling) -> Self {
        let ValueScores { scores, intervals } = ValueScores::new(documents, resampling);
        let accuracy = |score: &Score, interval: Option<ScoreIntervals>| ConceptAccuracy {
            matched: score.support,
            accuracy: score.recall,
            accuracy_interval: interval.and_then(|interval| interval.recall),
        };
        let of_type =
            |(name, score): (&String, &Score)| (name.clone(), accuracy(score, intervals.per_type.get(name).copied()));
        Self {
            overall: accuracy(&scores.overall, Some(intervals.overall)),
            accuracy_per_type: scores.per_type.iter().map(of_type).collect(),
        }
    }
}

/// What corpora write for a mention without a concept.
pub const NO_CONCEPT: [&str; 3] = ["-1", "-", ""];

/// The attribute with the candidates of a mention: JSON, a list for each part of the mention, of pairs of id and score, the
/// best first.
const CANDIDATES: &str = "link_candidates";

/// Scores concept ids, as they are written: `MESH:D003643` and `D003643` differ. `-1`, `-` and the empty id are none.
///
/// # Errors
/// If the attribute `link_candidates` of a mention is in no form that medner writes.
pub fn score_concepts(documents: &[PairedDocument<'_>], resampling: &Resampling) -> Result<ConceptScores, ScoreError> {
    let (mut by_document, mut equal, mut among, mut k) = (Vec::new(), Vec::new(), Vec::new(), 1);
    for document in documents {
        let counts = |by_type| DocumentCounts { id: document.id.to_owned(), by_type };
        by_document.push(counts(tally(typed(document.gold), typed(document.predicted))));
        let predicted: HashMap<_, _> =
            document.predicted.iter().map(|mention| (place_and_type(mention), mention)).collect();
        let (mut equal_here, mut among_here) = (BTreeMap::new(), BTreeMap::new());
        for gold in document.gold.iter().filter(|gold| !ids(gold).is_empty()) {
            let Some(predicted) = predicted.get(&place_and_type(gold)) else { continue };
            let candidates =
                candidates(predicted).ok_or_else(|| ScoreError::Candidates { id: document.id.to_owned() })?;
            k = candidates.iter().map(Vec::len).max().unwrap_or(0).max(k);
            let is_among = ids(gold).into_iter().all(|id| candidates.iter().flatten().any(|other| other == id));
            count(&mut equal_here, gold, ids(gold) == ids(predicted));
            count(&mut among_here, gold, is_among);
        }
        equal.push(counts(equal_here));
        among.push(counts(among_here));
    }
    let at_k = (k > 1).then(|| AccuraciesAtK { k, mentions: ConceptAccuracies::new(&among, resampling) });
    Ok(ConceptScores {
        documents: ValueScores::new(&by_document, resampling),
        mentions: ConceptAccuracies::new(&equal, resampling),
        at_k,
    })
}

fn count(by_type: &mut BTreeMap<String, Counts>, mention: &Mention, is_right: bool) {
    let counts = by_type.entry(mention.entity_type.clone()).or_default();
    *if is_right { &mut counts.tp } else { &mut counts.fn_ } += 1;
}

/// The ids that a mention may have, by part; `None` if they cannot be read.
fn candidates(mention: &Mention) -> Option<Vec<Vec<String>>> {
    let Some(text) = mention.attributes.get(CANDIDATES) else {
        return Some(mention.concept_ids.iter().map(|id| vec![id.clone()]).collect());
    };
    let parts: Vec<Vec<(String, f64)>> = serde_json::from_str(text).ok()?;
    Some(parts.into_iter().map(|part| part.into_iter().map(|(id, _)| id).collect()).collect())
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
        let scores = score_concepts(&paired.documents, &Resampling::default()).expect("no candidates");
        let overall = &scores.documents.scores.overall;
        // Gold: D1, D2, C3. Predicted: D1, D9, C3, wherever it stands.
        assert_eq!((overall.precision, overall.recall), (Some(2.0 / 3.0), Some(2.0 / 3.0)));
        assert_eq!((scores.mentions.overall.matched, scores.mentions.overall.accuracy), (2, Some(0.5)));
        assert_eq!(scores.at_k, None);

        // With candidates: both ids of the first mention are among them.
        let mut predicted = predicted;
        let candidates = r#"[[["1",0.9],["3",0.8]],[["5",0.9],["2",0.8],["4",0.7]]]"#;
        predicted[0].mentions[0].attributes.insert(CANDIDATES.into(), candidates.into());
        let paired = PairedDocuments::new(&gold, &predicted).expect("documents");
        let scores = score_concepts(&paired.documents, &Resampling::default()).expect("candidates");
        let at_k = scores.at_k.expect("several candidates");
        assert_eq!((at_k.k, at_k.mentions.overall.accuracy), (3, Some(1.0)));
        assert_eq!(at_k.mentions.accuracy_per_type.keys().collect::<Vec<_>>(), ["D"]);
        assert_eq!(scores.mentions.overall.accuracy, Some(0.5));

        predicted[0].mentions[0].attributes.insert(CANDIDATES.into(), "1 0.9".into());
        let paired = PairedDocuments::new(&gold, &predicted).expect("documents");
        assert!(score_concepts(&paired.documents, &Resampling::default()).is_err());
    }
}
