use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Rows of like length differ by up to this many tokens, so that batches are not the same in every epoch.
const LENGTH_JITTER: usize = 16;

/// Groups rows of the given lengths into batches of at most `budget` tokens, padding included; a longer row is a batch
/// of its own. Rows of like length come together, the batches in random order.
pub fn shuffled_batches(lengths: &[usize], budget: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut rows: Vec<(usize, usize)> =
        lengths.iter().enumerate().map(|(row, len)| (len + random.random_range(0..LENGTH_JITTER), row)).collect();
    rows.shuffle(&mut random);
    rows.sort_by_key(|&(len, _)| len);
    let mut batches = group(rows.into_iter().map(|(_, row)| row), lengths, budget, usize::MAX);
    batches.shuffle(&mut random);
    batches
}

/// The same in order of length, for prediction. `cost` is what a batch of its own costs, in tokens: no batch is padded by
/// more than that.
pub fn batches_by_length(lengths: &[usize], budget: usize, cost: usize) -> Vec<Vec<usize>> {
    let mut rows: Vec<usize> = (0..lengths.len()).collect();
    rows.sort_by_key(|&row| std::cmp::Reverse(lengths[row]));
    group(rows.into_iter(), lengths, budget, cost)
}

fn group(rows: impl Iterator<Item = usize>, lengths: &[usize], budget: usize, padding: usize) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let (mut width, mut tokens) = (0, 0);
    for row in rows {
        let wider = width.max(lengths[row]);
        let fits = |size: usize| size <= budget && size - tokens - lengths[row] <= padding;
        match batches.last_mut() {
            Some(batch) if fits(wider * (batch.len() + 1)) => {
                batch.push(row);
                (width, tokens) = (wider, tokens + lengths[row]);
            }
            _ => {
                batches.push(vec![row]);
                (width, tokens) = (lengths[row], lengths[row]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_row_once_and_no_batch_over_the_budget(
            lengths in prop::collection::vec(1usize..600, 0..60), budget in 1usize..2000, cost in 0usize..400, seed: u64,
        ) {
            let by_length = batches_by_length(&lengths, budget, cost);
            for batch in &by_length {
                let sum: usize = batch.iter().map(|&row| lengths[row]).sum();
                prop_assert!(lengths[batch[0]] * batch.len() - sum <= cost);
            }
            for batches in [shuffled_batches(&lengths, budget, seed), by_length] {
                let mut rows: Vec<usize> = batches.iter().flatten().copied().collect();
                rows.sort_unstable();
                prop_assert_eq!(rows, (0..lengths.len()).collect::<Vec<_>>());
                for batch in &batches {
                    let width = batch.iter().map(|&row| lengths[row]).max().unwrap_or(0);
                    prop_assert!(batch.len() == 1 || width * batch.len() <= budget);
                }
            }
            prop_assert_eq!(shuffled_batches(&lengths, budget, seed), shuffled_batches(&lengths, budget, seed));
        }
    }
}
