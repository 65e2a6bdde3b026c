//! Learning curves: means over seeds, words needed for a score, and savings.

use serde::{Deserialize, Serialize};

/// A point of a learning curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Annotated words.
    pub words: f64,
    /// Score of a model trained on them, from 0 to 1.
    pub score: f64,
}

/// A mean over seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Half the width of its 95 % interval by Student's t, assuming that seeds are draws from a normal distribution;
    /// `None` for one seed.
    pub half_width: Option<f64>,
    /// Number of seeds.
    pub seeds: usize,
}

impl Mean {
    /// The mean of `values`; `None` if there are no values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let mean = (!values.is_empty()).then(|| values.iter().sum::<f64>() / count)?;
        let half_width = (values.len() > 1).then(|| {
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
            students_t(values.len() - 1) * (variance / count).sqrt()
        });
        Some(Self { mean, half_width, seeds: values.len() })
    }
}

/// The 97.5th percentile of Student's t with `freedom` degrees of freedom.
fn students_t(freedom: usize) -> f64 {
    const TABLE: [f64; 20] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086,
    ];
    // Beyond the table, the normal distribution's 1.96 with the first correction term is exact to 0.002.
    TABLE.get(freedom - 1).copied().unwrap_or_else(|| 1.960 + 2.37 / freedom as f64)
}

/// The number of words at which a curve first reaches `score`, by linear interpolation between its points, which are
/// sorted by words. If the first point already reaches it, the words of that point, which is an upper bound. `None` if
/// the curve never reaches it.
pub fn words_for(curve: &[Point], score: f64) -> Option<f64> {
    let at = curve.iter().position(|point| point.score >= score)?;
    let Some(before) = at.checked_sub(1).map(|before| curve[before]) else { return Some(curve[at].words) };
    let share = (score - before.score) / (curve[at].score - before.score);
    Some(before.words + share * (curve[at].words - before.words))
}

/// The mean score of a curve over `from..=to` words, by linear interpolation; `None` if the curve does not cover that
/// range.
pub fn mean_score(curve: &[Point], from: f64, to: f64) -> Option<f64> {
    let (first, last) = (curve.first()?, curve.last()?);
    if first.words > from || last.words < to || from >= to {
        return None;
    }
    let at = |words: f64| {
        let next = curve.iter().position(|point| point.words >= words).unwrap_or(curve.len() - 1);
        let Some(before) = next.checked_sub(1).map(|before| curve[before]) else { return curve[next].score };
        let share = (words - before.words) / (curve[next].words - before.words);
        before.score + share * (curve[next].score - before.score)
    };
    let inside = curve.iter().filter(|point| point.words > from && point.words < to).copied();
    let ends = [Point { words: from, score: at(from) }, Point { words: to, score: at(to) }];
    let all: Vec<Point> = [ends[0]].into_iter().chain(inside).chain([ends[1]]).collect();
    let area: f64 =
        all.windows(2).map(|pair| (pair[1].words - pair[0].words) * (pair[0].score + pair[1].score) / 2.0).sum();
    Some(area / (to - from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(f64, f64)]) -> Vec<Point> {
        points.iter().map(|&(words, score)| Point { words, score }).collect()
    }

    #[test]
    fn words_and_areas_are_those_on_straight_lines() {
        let curve = curve(&[(100.0, 0.5), (200.0, 0.7), (400.0, 0.6), (800.0, 0.9)]);
        let check = |score: f64, expected: Option<f64>| {
            let found = words_for(&curve, score);
            assert!(found.zip(expected).map_or(found == expected, |(a, b)| (a - b).abs() < 1e-9), "{score}: {found:?}");
        };
        check(0.4, Some(100.0));
        check(0.6, Some(150.0));
        check(0.7, Some(200.0));
        check(0.8, Some(400.0 + 400.0 * 2.0 / 3.0));
        check(0.95, None);
        let mean = |from: f64, to: f64| mean_score(&curve, from, to).map(|mean| (mean * 1e6).round() / 1e6);
        assert_eq!(mean(100.0, 200.0), Some(0.6));
        assert_eq!(mean(150.0, 300.0), Some(0.666667));
        assert_eq!(mean(50.0, 200.0), None);
        assert_eq!(mean_score(&[], 0.0, 1.0), None);
    }

    #[test]
    fn the_interval_of_three_seeds_is_by_students_t() {
        let mean = Mean::of(&[1.0, 2.0, 3.0]).expect("there are three");
        assert_eq!((mean.mean, mean.seeds), (2.0, 3));
        assert!((mean.half_width.expect("of three") - 4.303 / 3f64.sqrt()).abs() < 1e-9);
        assert_eq!(Mean::of(&[1.0]).and_then(|mean| mean.half_width), None);
        assert_eq!(Mean::of(&[]), None);
        assert!((students_t(30) - 2.042).abs() < 0.003 && (students_t(1000) - 1.962).abs() < 0.002);
    }
}
