use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Rows are sorted by length within pools of about this many batches, so that there is little padding and the batches
/// differ between epochs. On the sentences of BC5CDR 2.3 % of the tokens are padding; sorting by length with 16 tokens
/// of jitter left 17 %.
const POOL: usize = 64;

/// Groups rows of the given lengths into batches of at most `budget` tokens, padding included; a longer row gets a
/// batch of its own. Rows of similar length share a batch. The order of the batches is random.
pub fn shuffled_batches(lengths: &[usize], budget: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut rows: Vec<usize> = (0..lengths.len()).collect();
    rows.shuffle(&mut random);
    let (mut batches, mut pool, mut tokens) = (Vec::new(), Vec::new(), 0);
    for row in rows {
        pool.push(row);
        tokens += lengths[row];
        if tokens >= POOL * budget {
            batches.extend(batches_of(std::mem::take(&mut pool), lengths, budget, usize::MAX));
            tokens = 0;
        }
    }
    batches.extend(batches_of(pool, lengths, budget, usize::MAX));
    batches.shuffle(&mut random);
    batches
}

/// Groups rows in order of length, longest first, for prediction. `cost` is the cost of an additional batch in tokens:
/// no batch contains more padding than that.
pub fn batches_by_length(lengths: &[usize], budget: usize, cost: usize) -> Vec<Vec<usize>> {
    batches_of((0..lengths.len()).collect(), lengths, budget, cost)
}

fn batches_of(mut rows: Vec<usize>, lengths: &[usize], budget: usize, padding: usize) -> Vec<Vec<usize>> {
    rows.sort_by_key(|&row| std::cmp::Reverse(lengths[row]));
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
