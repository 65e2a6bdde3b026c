//! How unsure a model is of a part of a document. Larger is less sure; all are divided by its words, where they are sums.

use crate::Posterior;

/// Minus the log-probability of the likeliest answer by word, in nats: MNLP with its sign changed (Shen et al. 2018,
/// "Deep active learning for named entity recognition", section 4).
///
/// Of a head that scores spans (transferred): the likeliest answer is every span that is more probable than not, its
/// probability the product over the decisions; that mentions may not overlap is not looked at.
pub fn least_confidence(posterior: &Posterior) -> f64 {
    let mut sum = 0.0;
    posterior.each(|decision| sum -= decision.iter().copied().fold(f64::MIN_POSITIVE, f64::max).ln());
    sum / posterior.words()
}

/// Mean entropy by word, in nats: token entropy (Settles and Craven 2008, "An analysis of active learning strategies for
/// sequence labeling tasks", equation 3). Of a head that scores spans (transferred): the binary entropies of all spans,
/// summed and divided by the words.
pub fn entropy(posterior: &Posterior) -> f64 {
    let mut sum = 0.0;
    posterior.each(|decision| sum += entropy_of(decision));
    sum / posterior.words()
}

/// How probable the second-best answer is beside the best, from 0 to 1: margin (Scheffer et al. 2001; Settles and Craven
/// 2008) as a ratio. Where decisions are independent the second-best answer differs in the one decision that is nearest,
/// so that the ratio is the largest of second to first over the decisions; of a part without a decision it is 0.
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
    // A sum over nothing is -0.0, which would be written so.
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
        // Halves: every answer is as good; the entropy of a coin is ln 2.
        check(&words(&[[0.5, 0.5]]), [ln(2.0), ln(2.0), 1.0]);
        // A quarter and three, and a sure word: sums are divided by two words; the margin is that of the first.
        let coin = 0.25 * ln(4.0) + 0.75 * ln(4.0 / 3.0);
        check(&words(&[[0.75, 0.25], [1.0, 0.0]]), [ln(4.0 / 3.0) / 2.0, coin / 2.0, 1.0 / 3.0]);
        // The same of spans: a sentence of four words with two spans in question.
        check(&spans(4, &[0.25, 0.75]), [ln(4.0 / 3.0) / 2.0, coin / 2.0, 1.0 / 3.0]);
        check(&spans(4, &[]), [0.0, 0.0, 0.0]);
        check(&spans(0, &[]), [0.0, 0.0, 0.0]);
    }
}
