//! Picks rows that are far apart. Each function calls `take` for one row after another and ends when it returns false
//! because the budget is spent. Time grows with rows times rows taken. Memory beyond the rows is 4 bytes per row.

use crate::Rows;
use crate::rows::squared_distance;

/// Greedy k-center: repeatedly takes the row that is farthest from all known and taken rows (Sener and Savarese 2018,
/// "Active learning for convolutional neural networks: a core-set approach", algorithm 1). Euclidean distances are
/// multiplied by `weights`, which are 1 in the paper; with uncertainties as weights this is the hybrid. The first of
/// equally far rows is taken. Without known rows, distances start from the mean of the rows.
pub fn k_center(rows: &Rows, weights: Option<&[f64]>, known: &Rows, mut take: impl FnMut(usize) -> bool) {
    if rows.is_empty() {
        return;
    }
    let mut nearest = vec![f32::INFINITY; rows.len()];
    if known.is_empty() {
        shorten(&mut nearest, rows, &mean(rows));
    }
    for row in known.iter() {
        shorten(&mut nearest, rows, row);
    }
    let weight = |at: usize| weights.map_or(1.0, |weights| weights[at]);
    let mut is_free = vec![true; rows.len()];
    loop {
        let far = |at: usize| f64::from(nearest[at]).sqrt() * weight(at);
        let free = (0..rows.len()).filter(|&at| is_free[at]);
        let Some(farthest) = free.reduce(|best, at| if far(at) > far(best) { at } else { best }) else { return };
        if !take(farthest) {
            return;
        }
        is_free[farthest] = false;
        if known.is_empty() && is_free.iter().filter(|free| !**free).count() == 1 {
            // The mean is not a row.
            nearest.fill(f32::INFINITY);
        }
        shorten(&mut nearest, rows, rows.row(farthest));
    }
}

/// The initialisation of k-means++ (Arthur and Vassilvitskii 2007), by which BADGE chooses gradient embeddings (Ash et
/// al. 2020, algorithm 1): first the longest row, then each row with a probability proportional to its squared distance
/// from the nearest taken row. `draw` returns numbers in [0, 1), one for each row drawn. If all remaining rows coincide
/// with taken ones, takes the first of them.
pub fn k_means_plus_plus(rows: &Rows, mut draw: impl FnMut() -> f64, mut take: impl FnMut(usize) -> bool) {
    let mut nearest: Vec<f32> = Vec::new();
    let mut is_free = vec![true; rows.len()];
    for _ in 0..rows.len() {
        let chosen = if nearest.is_empty() {
            let length = |at: usize| rows.row(at).iter().map(|value| f64::from(value * value)).sum::<f64>();
            (0..rows.len()).map(|at| (at, length(at))).reduce(|best, next| if next.1 > best.1 { next } else { best })
        } else {
            let total: f64 = nearest.iter().map(|&distance| f64::from(distance)).sum();
            let wanted = draw() * total;
            let mut sum = 0.0;
            // A taken row has distance 0 and is skipped.
            let passed = nearest.iter().enumerate().filter(|(_, distance)| **distance > 0.0).find(|(_, distance)| {
                sum += f64::from(**distance);
                sum > wanted
            });
            // Rounding may leave the sum below the drawn number.
            let last = || nearest.iter().rposition(|&distance| distance > 0.0);
            let first_free = || is_free.iter().position(|&free| free);
            passed.map(|(at, _)| at).or_else(last).or_else(first_free).map(|at| (at, 0.0))
        };
        let Some((chosen, _)) = chosen else { return };
        if !take(chosen) {
            return;
        }
        is_free[chosen] = false;
        if nearest.is_empty() {
            nearest = vec![f32::INFINITY; rows.len()];
        }
        shorten(&mut nearest, rows, rows.row(chosen));
        nearest[chosen] = 0.0;
    }
}

/// Lowers the squared distances of rows that are nearer to `to`.
fn shorten(nearest: &mut [f32], rows: &Rows, to: &[f32]) {
    for (distance, row) in nearest.iter_mut().zip(rows.iter()) {
        *distance = distance.min(squared_distance(row, to));
    }
}

fn mean(rows: &Rows) -> Vec<f32> {
    let mut mean = vec![0f64; rows.row(0).len()];
    for row in rows.iter() {
        mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value) / rows.len() as f64);
    }
    mean.into_iter().map(|value| value as f32).collect()
}
