use crate::counts::{DocumentCounts, Scores, sum_by_type, tally};
use crate::error::{ScoreError, Side};
use ner_document::{Document, Mention, Span};
use serde::Serialize;
use std::collections::BTreeMap;
use std::hash::Hash;

/// Scores mentions document by document. Each item is one document's gold and predicted mentions.
///
/// A mention is correct if all its fragments and its entity type equal those of a gold mention; concepts and attributes
/// are ignored. Duplicates in a document count once, on each side. The order of documents and mentions does not matter.
/// and of their mentions does not matter.
pub fn score_mentions<'m>(documents: impl IntoIterator<Item = (&'m [Mention], &'m [Mention])>) -> Scores {
    score_spans(documents.into_iter().map(|(gold, predicted)| (places(gold), places(predicted))))
}

/// Like [`score_mentions`], for positions and types without text. Positions are compared for equality only, so any unit
/// will do (`(start, end)` in tokens of lines, say).
pub fn score_spans<'t, Place: Hash + Eq, Mentions: IntoIterator<Item = (Place, &'t str)>>(
    documents: impl IntoIterator<Item = (Mentions, Mentions)>,
) -> Scores {
    let by_document: Vec<DocumentCounts> = documents
        .into_iter()
        .map(|(gold, predicted)| DocumentCounts { id: String::new(), by_type: tally(gold, predicted) })
        .collect();
    sum_by_type(&by_document).into()
}

fn places(mentions: &[Mention]) -> impl Iterator<Item = (&[Span], &str)> {
    mentions.iter().map(place_and_type)
}

/// The key by which mentions are compared.
pub(crate) fn place_and_type(mention: &Mention) -> (&[Span], &str) {
    (&mention.fragments, &mention.entity_type)
}

/// The mentions without duplicates, ordered by position and type.
pub(crate) fn distinct(mentions: &[Mention]) -> Vec<&Mention> {
    let mut distinct: Vec<&Mention> = mentions.iter().collect();
    distinct.sort_by_key(|&mention| place_and_type(mention));
    distinct.dedup_by_key(|&mut mention| place_and_type(mention));
    distinct
}

/// The gold and predicted mentions of one document.
#[derive(Clone, Copy, Debug)]
pub struct PairedDocument<'m> {
    /// Its id.
    pub id: &'m str,
    /// Gold mentions.
    pub gold: &'m [Mention],
    /// Predicted mentions; empty if the document was not predicted.
    pub predicted: &'m [Mention],
}

/// The documents of two annotations, paired by id.
#[derive(Clone, Debug)]
pub struct PairedDocuments<'m> {
    /// The gold documents, in order.
    pub documents: Vec<PairedDocument<'m>>,
    /// Number of gold documents without a prediction.
    pub missing: usize,
}

impl<'m> PairedDocuments<'m> {
    /// Pairs mentions by the ids of their documents.
    ///
    /// A gold document without a prediction is paired with no mentions and counted: leaving it out would raise the
    /// recall of a system that fails on hard documents.
    ///
    /// # Errors
    /// If an id occurs twice on one side, or a predicted document is not in gold.
    pub fn by_id(
        gold: impl IntoIterator<Item = (&'m str, &'m [Mention])>,
        predicted: impl IntoIterator<Item = (&'m str, &'m [Mention])>,
    ) -> Result<Self, ScoreError> {
        let gold: Vec<_> = gold.into_iter().collect();
        by_id(gold.iter().copied(), Side::Gold)?;
        let mut predicted = by_id(predicted, Side::Predicted)?;
        let mut missing = 0;
        let mut pair = |(id, gold): (&'m str, &'m [Mention])| {
            let predicted = predicted.remove(id);
            missing += usize::from(predicted.is_none());
            PairedDocument { id, gold, predicted: predicted.unwrap_or(&[]) }
        };
        let documents = gold.into_iter().map(&mut pair).collect();
        match predicted.into_keys().next() {
            Some(id) => Err(ScoreError::UnknownDocument { id: id.to_owned() }),
            None => Ok(Self { documents, missing }),
        }
    }

    /// Pairs documents by id, like [`PairedDocuments::by_id`].
    ///
    /// # Errors
    /// Also if the two texts of a document differ in their number of characters.
    pub fn new(gold: &'m [Document], predicted: &'m [Document]) -> Result<Self, ScoreError> {
        let mentions = |document: &'m Document| (document.id.as_str(), document.mentions.as_slice());
        let paired = Self::by_id(gold.iter().map(mentions), predicted.iter().map(mentions))?;
        let length = |document: &'m Document| (document.id.as_str(), document.text.chars().count());
        let lengths: BTreeMap<&str, usize> = gold.iter().map(length).collect();
        for (id, predicted) in predicted.iter().map(length) {
            match lengths.get(id) {
                Some(&gold) if gold != predicted => {
                    return Err(ScoreError::TextLength { id: id.to_owned(), gold, predicted });
                }
                _ => {}
            }
        }
        Ok(paired)
    }

    /// Strict scores, like [`score_mentions`].
    pub fn score(&self) -> DocumentScores {
        let count = |document: &PairedDocument<'_>| DocumentCounts {
            id: document.id.to_owned(),
            by_type: tally(places(document.gold), places(document.predicted)),
        };
        let mut by_document: Vec<DocumentCounts> = self.documents.iter().map(count).collect();
        by_document.sort_by(|a, b| a.id.cmp(&b.id));
        DocumentScores { scores: sum_by_type(&by_document).into(), missing_documents: self.missing, by_document }
    }

    /// The gold and predicted mentions of each document.
    pub fn mentions(&self) -> impl Iterator<Item = (&'m [Mention], &'m [Mention])> {
        self.documents.iter().map(|document| (document.gold, document.predicted))
    }
}

/// The result of [`score_documents`]. Serialises to the fields of [`Scores`] and `missing_documents`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DocumentScores {
    /// The scores.
    #[serde(flatten)]
    pub scores: Scores,
    /// Number of gold documents without a prediction; all their mentions count as missed.
    pub missing_documents: usize,
    /// The counts of each document, ordered by id.
    #[serde(skip)]
    pub by_document: Vec<DocumentCounts>,
}

/// Pairs documents by id, then scores their mentions like [`score_mentions`].
///
/// The order of the documents does not matter. A gold document without a prediction is counted, and scored as a
/// document without predicted mentions.
///
/// # Errors
/// If an id occurs twice on one side, a predicted document is not in gold, or the two texts of a document differ in
/// their number of characters.
pub fn score_documents(gold: &[Document], predicted: &[Document]) -> Result<DocumentScores, ScoreError> {
    Ok(PairedDocuments::new(gold, predicted)?.score())
}

fn by_id<'m>(
    documents: impl IntoIterator<Item = (&'m str, &'m [Mention])>,
    side: Side,
) -> Result<BTreeMap<&'m str, &'m [Mention]>, ScoreError> {
    let mut by_id = BTreeMap::new();
    for (id, mentions) in documents {
        if by_id.insert(id, mentions).is_some() {
            return Err(ScoreError::DuplicateDocument { id: id.to_owned(), side });
        }
    }
    Ok(by_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Counts;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn document(id: &str, text: &str, mentions: &[Mention]) -> Document {
        Document { mentions: mentions.to_vec(), ..Document::new(id, text) }
    }

    #[test]
    fn documents_pair_by_id() {
        let drug = Mention::new(Span::new(0, 1), "Chemical");
        let gold = [document("1", "ä", std::slice::from_ref(&drug)), document("2", "b", std::slice::from_ref(&drug))];
        let scored = score_documents(&gold, &[document("2", "ö", std::slice::from_ref(&drug))]).expect("paired");
        assert_eq!(scored.scores.counts, BTreeMap::from([("Chemical".to_owned(), Counts { tp: 1, fp: 0, fn_: 1 })]));
        assert_eq!(scored.missing_documents, 1);
        let json = serde_json::to_value(&scored).expect("scores serialise");
        assert_eq!((&json["missing_documents"], &json["overall"]["recall"]), (&1.into(), &0.5.into()));

        let check = |gold: &[Document], predicted: &[Document], expected: &str| {
            let error = score_documents(gold, predicted).expect_err("not comparable");
            assert_eq!(error.to_string(), expected);
        };
        let twice = [gold[0].clone(), gold[0].clone()];
        check(&gold, &[document("3", "a", &[])], "document 3 is predicted but not in gold");
        check(&twice, &[], "document 1 occurs twice in gold");
        check(&gold, &twice, "document 1 occurs twice in predicted");
        check(&gold, &[document("1", "ab", &[])], "document 1 has 1 characters in gold and 2 in predicted");
    }

    /// Few positions and types, so that matches, duplicates and types of one side only are all common.
    fn mention() -> impl Strategy<Value = Mention> {
        (0usize..3, 1usize..3, any::<bool>(), 0usize..3).prop_map(|(start, len, is_discontinuous, entity_type)| {
            let mut mention = Mention::new(Span::new(start, start + len), ["A", "B", "C"][entity_type]);
            if is_discontinuous {
                mention.fragments.push(Span::new(7, 8));
            }
            mention
        })
    }

    type Pair = (Vec<Mention>, Vec<Mention>);

    fn pairs() -> impl Strategy<Value = Vec<Pair>> {
        vec((vec(mention(), 0..6), vec(mention(), 0..6)), 0..4)
    }

    fn score(pairs: &[Pair]) -> Scores {
        score_mentions(pairs.iter().map(|(gold, predicted)| (gold.as_slice(), predicted.as_slice())))
    }

    proptest! {
        #[test]
        fn counts_are_those_of_sets(pairs in pairs()) {
            let scores = score(&pairs);
            // Plain sets of owned values over all documents, computed differently from `tally`.
            let all = |side: fn(&Pair) -> &Vec<Mention>| -> BTreeSet<(usize, Mention)> {
                pairs.iter().enumerate().flat_map(|(at, pair)| side(pair).iter().map(move |m| (at, m.clone()))).collect()
            };
            let (gold, predicted) = (all(|pair| &pair.0), all(|pair| &pair.1));
            for (entity_type, counts) in &scores.counts {
                let of_type = |set: &BTreeSet<(usize, Mention)>| {
                    set.iter().filter(|(_, mention)| mention.entity_type == *entity_type).count() as u64
                };
                let both: BTreeSet<_> = gold.intersection(&predicted).cloned().collect();
                prop_assert_eq!(counts.tp, of_type(&both));
                prop_assert_eq!(counts.tp + counts.fp, of_type(&predicted));
                prop_assert_eq!(counts.tp + counts.fn_, of_type(&gold));
                prop_assert_eq!(scores.per_type[entity_type].support, of_type(&gold));
            }
            prop_assert_eq!(scores.overall.support, gold.len() as u64);
            prop_assert_eq!(scores.overall, scores.counts.values().copied().sum::<Counts>().into());
        }

        #[test]
        fn order_and_repetition_do_not_matter(pairs in pairs(), by in 0usize..6) {
            let mut other = pairs.clone();
            other.reverse();
            for (gold, predicted) in &mut other {
                gold.reverse();
                let middle = by.min(predicted.len());
                predicted.rotate_left(middle);
                predicted.extend_from_within(..);
            }
            prop_assert_eq!(score(&pairs), score(&other));
        }

        #[test]
        fn gold_and_predicted_swap_precision_and_recall(pairs in pairs()) {
            let swapped: Vec<Pair> = pairs.iter().cloned().map(|(gold, predicted)| (predicted, gold)).collect();
            let (scores, swapped) = (score(&pairs), score(&swapped));
            prop_assert_eq!(scores.overall.precision, swapped.overall.recall);
            prop_assert_eq!(scores.overall.recall, swapped.overall.precision);
            prop_assert_eq!(scores.overall.f1, swapped.overall.f1);
            prop_assert_eq!(scores.macro_.f1, swapped.macro_.f1);
        }

        #[test]
        fn a_perfect_prediction_scores_one(pairs in pairs()) {
            let perfect: Vec<Pair> = pairs.into_iter().map(|(gold, _)| (gold.clone(), gold)).collect();
            let scores = score(&perfect);
            let one = (scores.overall.support > 0).then_some(1.0);
            for score in scores.per_type.values().chain([&scores.overall, &scores.macro_, &scores.weighted]) {
                prop_assert_eq!((score.precision, score.recall, score.f1), (one, one, one));
            }
        }
    }
}
