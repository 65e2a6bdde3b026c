//! Disagreement of several models, or of several passes of one model under dropout. Larger means more disagreement.

use crate::Posterior;
use crate::posterior::likeliest;
use crate::uncertainty::entropy_of;
use std::collections::BTreeMap;

/// Mean entropy of the votes per word, in nats: each member votes for its most probable answer (Dagan and Engelson
/// 1995, "Committee-based sampling for training probabilistic classifiers"). For a head that scores spans
/// (transferred), members vote on every span that at least one of them considers possible.
pub fn vote_entropy(members: &[Posterior]) -> f64 {
    over_decisions(members, |decision| {
        let mut votes = vec![0.0; decision[0].len()];
        for member in decision {
            votes[likeliest(member)] += 1.0 / decision.len() as f64;
        }
        entropy_of(&votes)
    })
}

/// Mean divergence of the members from their consensus per word, in nats: the entropy of the mean minus the mean of the
/// entropies.
///
/// With several models this is the mean Kullback-Leibler divergence to the consensus (McCallum and Nigam 1998,
/// "Employing EM and pool-based active learning for text classification"). With passes of one model under dropout it is
/// BALD (Houlsby et al. 2011, equation 2; Gal et al. 2017, equation 4). Both are the same formula.
pub fn divergence(members: &[Posterior]) -> f64 {
    over_decisions(members, |decision| {
        let count = decision.len() as f64;
        let mut mean = vec![0.0; decision[0].len()];
        for member in decision {
            mean.iter_mut().zip(member).for_each(|(sum, probability)| *sum += probability / count);
        }
        // Rounding must not make a divergence negative.
        (entropy_of(&mean) - decision.iter().map(|member| entropy_of(member)).sum::<f64>() / count).max(0.0)
    })
}

/// Sums `of` over the decisions and divides by the number of words. `of` gets each member's distribution for one
/// decision. Panics if the members have different heads or words: they must describe one part of one document.
fn over_decisions(members: &[Posterior], mut of: impl FnMut(&[Vec<f64>]) -> f64) -> f64 {
    let Some(first) = members.first() else { return 0.0 };
    let mut sum = 0.0;
    match first {
        Posterior::Words { .. } => {
            let mut decisions: Vec<Vec<Vec<f64>>> = Vec::new();
            for member in members {
                let mut at = 0;
                member.each(|decision| {
                    if decisions.len() == at {
                        decisions.push(Vec::with_capacity(members.len()));
                    }
                    decisions[at].push(decision.to_vec());
                    at += 1;
                });
            }
            for decision in decisions {
                assert_eq!(decision.len(), members.len(), "members have the same words");
                sum += of(&decision);
            }
        }
        Posterior::Spans { .. } => {
            let mut decisions: BTreeMap<(usize, usize, usize), Vec<f64>> = BTreeMap::new();
            for (at, member) in members.iter().enumerate() {
                let Posterior::Spans { spans, .. } = member else { panic!("members have the same head") };
                for span in spans {
                    let key = (span.words.start, span.words.end, span.entity_type);
                    decisions.entry(key).or_insert_with(|| vec![0.0; members.len()])[at] = f64::from(span.probability);
                }
            }
            for probabilities in decisions.values() {
                let decision: Vec<Vec<f64>> = probabilities.iter().map(|&p| vec![1.0 - p, p]).collect();
                sum += of(&decision);
            }
        }
    }
    sum / first.words()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ner_text::ScoredEntity;

    fn words(rows: &[[f32; 2]]) -> Posterior {
        Posterior::Words { classes: 2, rows: rows.concat() }
    }

    fn spans(found: &[(usize, f32)]) -> Posterior {
        let span = |&(at, probability): &(usize, f32)| ScoredEntity { words: at..at + 1, entity_type: 0, probability };
        Posterior::Spans { words: 2, types: 1, spans: found.iter().map(span).collect() }
    }

    fn check(members: &[Posterior], expected: [f64; 2]) {
        for (found, expected) in [vote_entropy(members), divergence(members)].into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}, of {members:?}");
        }
    }

    #[test]
    fn scores_are_those_computed_by_hand() {
        let coin = |p: f64| -p * p.ln() - (1.0 - p) * (1.0 - p).ln();
        // Two members that agree, then two that are each sure of something else; two words each.
        check(&[words(&[[0.75, 0.25], [0.0, 1.0]]), words(&[[0.75, 0.25], [0.0, 1.0]])], [0.0, 0.0]);
        check(&[words(&[[1.0, 0.0], [0.0, 1.0]]), words(&[[0.0, 1.0], [0.0, 1.0]])], [2f64.ln() / 2.0; 2]);
        // Equal votes, different probabilities: 0.75 is the mean of 0.5 and 1.
        check(&[words(&[[1.0, 0.0]]), words(&[[0.5, 0.5]])], [0.0, coin(0.75) - 2f64.ln() / 2.0]);
        // A span has probability 0 for a member that does not find it: 0.25 is the mean of 0.5 and 0.
        check(&[spans(&[(0, 0.5)]), spans(&[])], [0.0, (coin(0.25) - 2f64.ln() / 2.0) / 2.0]);
        check(&[spans(&[(0, 1.0)]), spans(&[(1, 1.0)])], [2f64.ln(), 2f64.ln()]);
        check(&[], [0.0, 0.0]);
    }
}
