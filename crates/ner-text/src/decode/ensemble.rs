//! Combines the outputs of several models for one document.
//!
//! Averages probabilities if the models score the same units, and otherwise votes on mentions (Dietterich 2000,
//! "Ensemble methods in machine learning").

use super::{ModelOutput, ScoredEntity};
use ner_document::{Confidence, Mention, Span};
use std::collections::BTreeMap;

/// The mean output of models with the same words, labels and head for one document; `None` if their outputs are of
/// different kinds.
///
/// A span that a model leaves out counts 0: the model found it less probable than any threshold accepts.
pub fn mean_output(members: &[&ModelOutput]) -> Option<ModelOutput> {
    let count = members.len() as f64;
    match members.first()? {
        ModelOutput::Labels(first) => {
            let mut sums = vec![0f64; first.len()];
            for member in members {
                let ModelOutput::Labels(rows) = member else { return None };
                if rows.len() != sums.len() {
                    return None;
                }
                sums.iter_mut().zip(rows).for_each(|(sum, &row)| *sum += f64::from(row));
            }
            Some(ModelOutput::Labels(sums.into_iter().map(|sum| (sum / count) as f32).collect()))
        }
        ModelOutput::Spans(_) => {
            let mut sums: BTreeMap<(usize, usize, usize), f64> = BTreeMap::new();
            for member in members {
                let ModelOutput::Spans(spans) = member else { return None };
                for ScoredEntity { words, entity_type, probability } in spans {
                    *sums.entry((words.start, words.end, *entity_type)).or_default() += f64::from(*probability);
                }
            }
            let mean = |((start, end, entity_type), sum): ((usize, usize, usize), f64)| ScoredEntity {
                words: start..end,
                entity_type,
                probability: (sum / count) as f32,
            };
            Some(ModelOutput::Spans(sums.into_iter().map(mean).collect()))
        }
        // Each chain has its own transitions, and log-odds are not probabilities: these models vote.
        ModelOutput::Chains(_) | ModelOutput::Types(_) => None,
    }
}

/// A mention found by a majority of models.
#[derive(Clone, Debug, PartialEq)]
pub struct ElectedMention {
    /// The mention. Its confidence is the mean over all models; a model that did not find it counts 0.
    pub mention: Mention,
    /// Indices of the models that found it, ascending.
    pub voters: Vec<usize>,
}

/// The mentions of one document that more than half of the models found with the same span and type, ordered by start,
/// end and type. `members` holds the mentions of each model.
///
/// Two of them overlap only if one model found both, since any two majorities share a model.
pub fn vote(members: &[Vec<Mention>]) -> Vec<ElectedMention> {
    let mut found: BTreeMap<(Span, &str), BTreeMap<usize, f64>> = BTreeMap::new();
    for (at, mentions) in members.iter().enumerate() {
        for mention in mentions {
            let confidence = mention.confidence.map_or(0.0, |confidence| f64::from(confidence.value()));
            found.entry((mention.span(), mention.entity_type.as_str())).or_default().insert(at, confidence);
        }
    }
    let elected = found.into_iter().filter(|(_, votes)| 2 * votes.len() > members.len());
    let to_mention = |((span, entity_type), votes): ((Span, &str), BTreeMap<usize, f64>)| {
        let mean = votes.values().sum::<f64>() / members.len() as f64;
        let mention = Mention { confidence: Confidence::new(mean as f32), ..Mention::new(span, entity_type) };
        ElectedMention { mention, voters: votes.into_keys().collect() }
    };
    elected.map(to_mention).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans(found: &[(usize, usize, f32)]) -> ModelOutput {
        let span = |&(start, end, probability): &(usize, usize, f32)| ScoredEntity {
            words: start..end,
            entity_type: 0,
            probability,
        };
        ModelOutput::Spans(found.iter().map(span).collect())
    }

    #[test]
    fn a_span_that_a_model_leaves_out_counts_nothing_there() {
        let (first, second) = (spans(&[(0, 2, 0.75), (3, 4, 0.5)]), spans(&[(0, 2, 0.25)]));
        assert_eq!(mean_output(&[&first, &second]), Some(spans(&[(0, 2, 0.5), (3, 4, 0.25)])));
        let labels = |row: &[f32]| ModelOutput::Labels(row.to_vec());
        assert_eq!(mean_output(&[&labels(&[1.0, 0.0]), &labels(&[0.5, 0.5])]), Some(labels(&[0.75, 0.25])));
        assert_eq!(mean_output(&[&first, &labels(&[1.0])]), None);
        assert_eq!(mean_output(&[&labels(&[1.0, 0.0]), &labels(&[1.0])]), None);
    }

    fn mention(start: usize, end: usize, entity_type: &str, confidence: f32) -> Mention {
        Mention { confidence: Confidence::new(confidence), ..Mention::new(Span::new(start, end), entity_type) }
    }

    #[test]
    fn more_than_half_must_find_a_mention() {
        let members = [
            vec![mention(0, 3, "X", 0.5), mention(5, 6, "X", 1.0)],
            vec![mention(0, 3, "X", 1.0), mention(5, 6, "Y", 1.0)],
            vec![mention(0, 2, "X", 1.0), mention(5, 6, "Y", 0.5)],
        ];
        let shown: Vec<_> = vote(&members).iter().map(|e| (e.mention.clone(), e.voters.clone())).collect();
        assert_eq!(shown, [(mention(0, 3, "X", 0.5), vec![0, 1]), (mention(5, 6, "Y", 0.5), vec![1, 2])]);
        // Of two, both.
        assert_eq!(vote(&members[..2]).len(), 1);
    }

    proptest! {
        #[test]
        fn the_order_of_the_models_does_not_matter_and_a_model_agrees_with_itself(
            found in prop::collection::vec(prop::collection::btree_map(
                (0usize..6, 1usize..4), 0.01f32..1.0, 0..5,
            ), 1..5),
        ) {
            let outputs: Vec<ModelOutput> = found.iter().map(|spans_of| {
                spans(&spans_of.iter().map(|(&(start, len), &p)| (start, start + len, p)).collect::<Vec<_>>())
            }).collect();
            let mentions: Vec<Vec<Mention>> = found.iter().map(|spans_of| {
                spans_of.iter().map(|(&(start, len), &p)| mention(start, start + len, "X", p)).collect()
            }).collect();
            let backwards: Vec<&ModelOutput> = outputs.iter().rev().collect();
            prop_assert_eq!(mean_output(&outputs.iter().collect::<Vec<_>>()), mean_output(&backwards));
            let elected = |members: &[Vec<Mention>]| vote(members).into_iter().map(|e| e.mention).collect::<Vec<_>>();
            let backwards: Vec<Vec<Mention>> = mentions.iter().rev().cloned().collect();
            prop_assert_eq!(elected(&mentions), elected(&backwards));
            for count in 1..4 {
                let mean = mean_output(&vec![&outputs[0]; count]);
                prop_assert_eq!(mean.as_ref(), Some(&outputs[0]));
                prop_assert_eq!(elected(&vec![mentions[0].clone(); count]), mentions[0].clone());
            }
        }
    }
}
