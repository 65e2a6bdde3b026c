//! Chooses what a cosine counts, how probable the best candidate is, and the least score of a link.

use ner_link::RerankWeights;

/// A candidate of a text.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    pub is_right: bool,
    pub logit: f32,
    pub cosine: f32,
}

/// The candidates of a text.
pub type Example = Vec<Candidate>;

/// Weights that are tried: up to this, in steps.
const MOST: u8 = 80;
const STEP: f32 = 0.5;
/// How far the logits are trusted, which were fitted elsewhere.
const TRUST: [f32; 5] = [0.2, 0.35, 0.5, 0.75, 1.0];

/// The weights under which the right candidates are likeliest; `None` if no example has a right and a wrong candidate.
pub fn weights(examples: &[Example]) -> Option<RerankWeights> {
    let telling: Vec<&Example> = examples
        .iter()
        .filter(|example| example.iter().any(|one| one.is_right) && example.iter().any(|one| !one.is_right))
        .collect();
    if telling.is_empty() {
        return None;
    }
    let mut best = (f64::NEG_INFINITY, 0.0);
    for trust in TRUST {
        for number in 0..=MOST {
            let cosine = f32::from(number) * STEP;
            let sum: f64 = telling.iter().map(|example| likelihood(example, trust, cosine)).sum();
            if sum > best.0 {
                best = (sum, cosine);
            }
        }
    }
    let mut weights = RerankWeights { cosine: best.1, calibration: [1.0, 0.0] };
    let found: Vec<(f64, bool)> = examples
        .iter()
        .filter_map(|example| first(example, best.1))
        .map(|(score, right)| (f64::from(score), right))
        .collect();
    weights.calibration = calibration(&found);
    Some(weights)
}

/// Logarithm of the probability of the right candidates, if their sums, times `trust`, are logits.
fn likelihood(example: &[Candidate], trust: f32, cosine: f32) -> f64 {
    let score = |one: &Candidate| trust * cosine.mul_add(one.cosine, one.logit);
    let most = example.iter().map(score).fold(f32::NEG_INFINITY, f32::max);
    let (mut all, mut right) = (0.0, 0.0);
    for one in example {
        let share = f64::from(score(one) - most).exp();
        all += share;
        right += if one.is_right { share } else { 0.0 };
    }
    (right.max(1e-30) / all).ln()
}

/// The best sum, and whether its candidate is right.
fn first(example: &[Candidate], cosine: f32) -> Option<(f32, bool)> {
    let scored = example.iter().map(|one| (cosine.mul_add(one.cosine, one.logit), one.is_right));
    scored.reduce(|best, one| if one.0 > best.0 { one } else { best })
}

/// Examples whose best candidate is right.
pub fn right(examples: &[Example], cosine: f32) -> usize {
    examples.iter().filter_map(|example| first(example, cosine)).filter(|(_, is_right)| *is_right).count()
}

/// Slope and offset of the logit of the probability of being right, by logistic regression (Newton's method). A little ridge
/// keeps them finite if the scores tell everything.
fn calibration(found: &[(f64, bool)]) -> [f64; 2] {
    const RIDGE: f64 = 1e-2;
    let (mut slope, mut offset) = (0.0, 0.0);
    let count = found.len().max(1) as f64;
    let mean = found.iter().map(|(score, _)| score).sum::<f64>() / count;
    let spread = (found.iter().map(|(score, _)| (score - mean).powi(2)).sum::<f64>() / count).sqrt().max(1e-6);
    for _ in 0..50 {
        let (mut gradient, mut hessian) = ([-RIDGE * slope, -RIDGE * offset], [RIDGE, 0.0, RIDGE]);
        for (score, is_right) in found {
            let score = (score - mean) / spread;
            let probability = 1.0 / (1.0 + (-(slope * score + offset)).exp());
            let error = f64::from(u8::from(*is_right)) - probability;
            let weight = probability * (1.0 - probability);
            gradient = [error.mul_add(score, gradient[0]), gradient[1] + error];
            hessian =
                [weight.mul_add(score * score, hessian[0]), weight.mul_add(score, hessian[1]), hessian[2] + weight];
        }
        let determinant = hessian[0].mul_add(hessian[2], -hessian[1] * hessian[1]);
        slope += hessian[2].mul_add(gradient[0], -hessian[1] * gradient[1]) / determinant;
        offset += hessian[0].mul_add(gradient[1], -hessian[1] * gradient[0]) / determinant;
    }
    [slope / spread, offset - slope * mean / spread]
}

/// The threshold with the best F1, in steps of 0.05, and that F1; of equals the one nearest to 0.5. `gold` are the mentions
/// that have an id.
pub fn threshold(links: &[(f64, bool)], gold: usize) -> (f64, f64) {
    let f1 = |threshold: f64| {
        let kept: Vec<bool> = links.iter().filter(|(score, _)| *score >= threshold).map(|(_, right)| *right).collect();
        let right = kept.iter().filter(|right| **right).count();
        2.0 * right as f64 / (kept.len() + gold).max(1) as f64
    };
    let mut steps: Vec<f64> = (0..=17).map(|step| f64::from(step) / 20.0).collect();
    steps.sort_by(|one, other| (one - 0.5).abs().total_cmp(&(other - 0.5).abs()));
    steps
        .into_iter()
        .map(|step| (step, f1(step)))
        .reduce(|best, one| if one.1 > best.1 { one } else { best })
        .expect("steps")
}
