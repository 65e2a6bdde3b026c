use crate::error::ScoreError;
use serde::Serialize;

/// How far a system's confidences can be trusted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// Expected calibration error, from 0 to 1: the mean distance between confidence and share of correct predictions
    /// over the bins, weighted by their number of predictions.
    pub expected_calibration_error: f64,
    /// Number of predictions.
    pub predictions: usize,
    /// Mean confidence of all predictions.
    pub mean_confidence: f64,
    /// Share of the predictions that are correct.
    pub accuracy: f64,
    /// The reliability curve: bins of equal width from 0 to 1.
    pub bins: Vec<CalibrationBin>,
}

/// The predictions with a confidence above `low` and up to `high`; 0 is in the first bin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CalibrationBin {
    /// Lower bound of the bin.
    pub low: f64,
    /// Upper bound of the bin.
    pub high: f64,
    /// Number of its predictions.
    pub predictions: usize,
    /// Their mean confidence; `None` for an empty bin.
    pub mean_confidence: Option<f64>,
    /// Share that is correct; `None` for an empty bin.
    pub accuracy: Option<f64>,
}

/// Compares confidences, each from 0 to 1, with the correctness of the predictions, in `bins` bins of equal width (Guo
/// et al. take 15). `None` if there are no predictions or no bins.
///
/// Sources: Naeini, Cooper, Hauskrecht 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning"; Guo,
/// Pleiss, Sun, Weinberger 2017, "On Calibration of Modern Neural Networks", section 2 and equation 3.
///
/// # Errors
/// If a confidence is not a number from 0 to 1.
pub fn calibration(predictions: &[(f64, bool)], bins: usize) -> Result<Option<Calibration>, ScoreError> {
    if let Some(index) = predictions.iter().position(|(confidence, _)| !(0.0..=1.0).contains(confidence)) {
        return Err(ScoreError::Confidence { index });
    }
    if predictions.is_empty() || bins == 0 {
        return Ok(None);
    }
    // Sorted per bin, so that no sum depends on the order of the predictions.
    let mut sorted = predictions.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let edge = |at: usize| at as f64 / bins as f64;
    let mut rest = sorted.as_slice();
    let mut curve = Vec::with_capacity(bins);
    let mut error = 0.0;
    for at in 0..bins {
        let (low, high) = (edge(at), edge(at + 1));
        let (inside, after) = rest.split_at(rest.partition_point(|&(confidence, _)| confidence <= high));
        rest = after;
        let (mean_confidence, accuracy) = means(inside).unzip();
        if let (Some(confidence), Some(accuracy)) = (mean_confidence, accuracy) {
            error += inside.len() as f64 * f64::abs(confidence - accuracy);
        }
        curve.push(CalibrationBin { low, high, predictions: inside.len(), mean_confidence, accuracy });
    }
    Ok(means(&sorted).map(|(mean_confidence, accuracy)| Calibration {
        expected_calibration_error: error / sorted.len() as f64,
        predictions: sorted.len(),
        mean_confidence,
        accuracy,
        bins: curve,
    }))
}

/// Mean confidence, and share of correct predictions.
fn means(predictions: &[(f64, bool)]) -> Option<(f64, f64)> {
    let confidence: f64 = predictions.iter().map(|(confidence, _)| confidence).sum();
    let right = predictions.iter().filter(|(_, right)| *right).count();
    let count = predictions.len() as f64;
    (!predictions.is_empty()).then(|| (confidence / count, right as f64 / count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_curve_by_hand() {
        // Bins of a half: (0.2 + 0.5) / 2 = 0.35 with 1 of 2 right; (0.75 + 0.75 + 1.0 + 0.9) / 4 = 0.85 with 3 of 4.
        let predictions = [(0.75, true), (0.2, false), (0.5, true), (0.75, false), (1.0, true), (0.9, true)];
        let found = calibration(&predictions, 2).expect("confidences").expect("predictions");
        let expected = (2.0 * 0.15 + 4.0 * 0.1) / 6.0;
        assert!((found.expected_calibration_error - expected).abs() < 1e-12, "{found:?}");
        assert_eq!(found.bins.iter().map(|bin| bin.predictions).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(found.bins[1].accuracy, Some(0.75));

        // An edge belongs to the bin below it, and 0 to the first bin.
        let found =
            calibration(&[(0.0, false), (0.1, true), (0.2, true)], 10).expect("confidences").expect("predictions");
        assert_eq!(found.bins[..3].iter().map(|bin| bin.predictions).collect::<Vec<_>>(), [2, 1, 0]);
        assert_eq!((found.bins[2].mean_confidence, found.bins[2].accuracy), (None, None));
    }

    #[test]
    fn invalid_confidences_are_errors() {
        assert_eq!(calibration(&[], 10), Ok(None));
        for bad in [f64::NAN, -0.1, 1.1] {
            assert_eq!(calibration(&[(0.5, true), (bad, true)], 10), Err(ScoreError::Confidence { index: 1 }));
        }
    }

    proptest! {
        #[test]
        fn bins_add_up(predictions in proptest::collection::vec((0.0..=1.0, any::<bool>()), 1..40), bins in 1usize..20) {
            let found = calibration(&predictions, bins).expect("confidences").expect("predictions");
            prop_assert_eq!(found.bins.iter().map(|bin| bin.predictions).sum::<usize>(), predictions.len());
            prop_assert!((0.0..=1.0).contains(&found.expected_calibration_error));
            let reversed: Vec<_> = predictions.into_iter().rev().collect();
            prop_assert_eq!(calibration(&reversed, bins).expect("confidences"), Some(found));
        }
    }
}
