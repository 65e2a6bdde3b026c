//! Uncertainty of a model about a part of a document. Larger means less certain. Sums are divided by the number of
//! words.

use crate::Posterior;

/// Negative log-probability of the most probable answer per word, in nats: MNLP with its sign changed (Shen et al.
/// 2018, "Deep active learning for named entity recognition", section 4).
///
/// For a head that scores spans (transferred), the most probable answer holds every span with a probability above one
/// half, and its probability is the product over all decisions. The rule that mentions may not overlap is ignored.
pub fn least_confidence(posterior: &Posterior) -> f64 {
    let mut sum = 0.0;
    posterior.each(|decision| sum -= decision.iter().copied().fold(f64::MIN_POSITIVE, f64::max).ln());
    sum / posterior.words()
}

/// Mean entropy per word, in nats: token entropy (Settles and Craven 2008, "An analysis of active learning strategies
/// for sequence labeling tasks", equation 3). For a head that scores spans (transferred): the sum of the spans' binary
/// entropies, divided by the words.
pub fn entropy(posterior: &Posterior) -> f64 {
    let mut sum = 0.0;
    posterior.each(|decision| sum += entropy_of(decision));
    sum / posterior.words()
}

/// Probability of the second-best answer divided by that of the best, from 0 to 1: the margin (Scheffer et al. 2001;
/// Settles and Craven 2008) as a ratio. Decisions are independent, so the second-best answer differs in one decision
/// only, and the ratio is the largest ratio of second to first over all decisions. It is 0 without decisions.
pub fn margin(posterior: &Posterior) -> f64 {
    let mut nearest: f64 = 0.0;
    posterior.each(|decision| {
        let (mut first, mut second) = (0.0, 0.0);
        for &probability in decision {
            if probability > first {
                (first, second) = (probability, first);
            } else if probability > second {
                second = probability;
            }
        }
        if first > 0.0 {
            nearest = nearest.max(second / first);
        }
    });
    nearest
}

/// Entropy of a distribution in nats.
pub(crate) fn entropy_of(distribution: &[f64]) -> f64 {
    let terms = distribution.iter().filter(|probability| **probability > 0.0);
    // An empty sum is -0.0, which would be printed with its sign.
    0.0 - terms.map(|probability| probability * probability.ln()).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ner_text::ScoredEntity;

    fn words(rows: &[[f32; 2]]) -> Posterior {
        Posterior::Words { classes: 2, rows: rows.concat() }
    }

    fn spans(words: usize, probabilities: &[f32]) -> Posterior {
        let span = |(at, &probability): (usize, &f32)| ScoredEntity { words: at..at + 1, entity_type: 0, probability };
        Posterior::Spans { words, types: 1, spans: probabilities.iter().enumerate().map(span).collect() }
    }

    fn check(posterior: &Posterior, expected: [f64; 3]) {
        let found = [least_confidence(posterior), entropy(posterior), margin(posterior)];
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}, of {posterior:?}");
        }
    }

    #[test]
    fn scores_are_those_computed_by_hand() {
        let ln = f64::ln;
        // Halves: all answers are equally good; the entropy of a coin is ln 2.
        check(&words(&[[0.5, 0.5]]), [ln(2.0), ln(2.0), 1.0]);
        // A quarter and three quarters, and a certain word: sums are divided by two words; the margin is that of the
        // first.
        let coin = 0.25 * ln(4.0) + 0.75 * ln(4.0 / 3.0);
        check(&words(&[[0.75, 0.25], [1.0, 0.0]]), [ln(4.0 / 3.0) / 2.0, coin / 2.0, 1.0 / 3.0]);
        // The same with spans: a sentence of four words with two possible spans.
        check(&spans(4, &[0.25, 0.75]), [ln(4.0 / 3.0) / 2.0, coin / 2.0, 1.0 / 3.0]);
        check(&spans(4, &[]), [0.0, 0.0, 0.0]);
        check(&spans(0, &[]), [0.0, 0.0, 0.0]);
    }
}
