use crate::budget::{Best, Budget, Cost, Purse};
use crate::diversity::{k_center, k_means_plus_plus};
use crate::{Rows, Strategy, chance};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A hybrid looks at so many times its budget of the least sure items (Zhdanov 2019, "Diverse mini-batch active
/// learning", section 4: a prefactor of 10).
const PREFACTOR: usize = 10;

/// Chooses items of a stream.
///
/// Memory: scores and chance hold what a budget buys, whatever the stream's length; a hybrid ten times that, with an
/// embedding each; core-set and BADGE hold a row of every item, 4 bytes a number ([`held_bytes`](Self::held_bytes)).
#[derive(Debug)]
pub struct Selector<T> {
    strategy: Strategy,
    budget: Budget,
    seed: u64,
    offered: usize,
    held: Store<T>,
}

#[derive(Debug)]
enum Store<T> {
    Best(Best<(Vec<f32>, T)>),
    All { rows: Rows, items: Vec<(Cost, T)> },
}

/// An item of the stream.
#[derive(Debug)]
pub struct Offer<'r, T> {
    /// What it costs.
    pub cost: Cost,
    /// The strategy's score of it; of chance and of diversity alone there is none.
    pub score: Option<f64>,
    /// Embedding (of its sentence, of its gradient), where the strategy looks at one.
    pub row: &'r [f32],
    /// What the caller wants back.
    pub item: T,
}

/// An item that was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen<T> {
    /// Place in the stream.
    pub place: usize,
    /// The score that it was chosen for: of chance the number drawn, of core-set the distance from what was known or
    /// chosen before, of a hybrid that distance times the uncertainty, of BADGE the length of the gradient.
    pub score: f64,
    /// Its cost.
    pub cost: Cost,
    /// What the caller gave.
    pub item: T,
}

impl<T> Selector<T> {
    /// A selector; the same seed and stream give the same choice.
    pub const fn new(strategy: Strategy, budget: Budget, seed: u64) -> Self {
        let held = match strategy {
            Strategy::CoreSet | Strategy::Badge => Store::All { rows: Rows::new(), items: Vec::new() },
            Strategy::Hybrid => {
                let wide = Budget { amount: budget.amount.saturating_mul(PREFACTOR), ..budget };
                Store::Best(Best::new(wide))
            }
            _ => Store::Best(Best::new(budget)),
        };
        Self { strategy, budget, seed, offered: 0, held }
    }

    /// Offers the next item. Panics where the strategy asks for a score or a row and there is none.
    pub fn offer(&mut self, Offer { cost, score, row, item }: Offer<'_, T>) {
        let place = self.offered;
        self.offered += 1;
        let drawn = chance(self.seed, place as u64);
        match &mut self.held {
            Store::Best(best) => {
                let score = match self.strategy {
                    Strategy::Random => drawn,
                    Strategy::Longest => cost.words as f64,
                    _ => score.expect("a strategy of scores is given scores"),
                };
                let row = if self.strategy == Strategy::Hybrid { row.to_vec() } else { Vec::new() };
                best.offer(place, score, drawn, cost, (row, item));
            }
            Store::All { rows, items } => {
                rows.push(row);
                items.push((cost, item));
            }
        }
    }

    /// Number of items that were offered.
    pub const fn offered(&self) -> usize {
        self.offered
    }

    /// Memory of the rows that it holds.
    pub fn held_bytes(&self) -> usize {
        match &self.held {
            Store::Best(_) => 0,
            Store::All { rows, .. } => rows.bytes(),
        }
    }

    /// What is chosen, the most wanted first. `known` are the embeddings of what is annotated already; only core-set and
    /// hybrid look at them.
    pub fn finish(self, known: &Rows) -> Vec<Chosen<T>> {
        let mut purse = Purse::new(self.budget);
        let (rows, scores, mut items) = match self.held {
            Store::Best(best) if self.strategy != Strategy::Hybrid => {
                let sorted = best.into_sorted().into_iter();
                return sorted.map(|(place, score, cost, (_, item))| Chosen { place, score, cost, item }).collect();
            }
            Store::Best(best) => {
                let mut all = best.into_sorted();
                // In the order of the stream, so that ties do not depend on scores.
                all.sort_by_key(|(place, ..)| *place);
                let (mut rows, mut scores, mut items) = (Rows::new(), Vec::new(), Vec::new());
                for (place, score, cost, (row, item)) in all {
                    rows.push(&row);
                    scores.push(score);
                    items.push(Some((place, cost, item)));
                }
                (rows, Some(scores), items)
            }
            Store::All { rows, items } => {
                let numbered = items.into_iter().enumerate();
                (rows, None, numbered.map(|(place, (cost, item))| Some((place, cost, item))).collect::<Vec<_>>())
            }
        };
        let mut order: Vec<usize> = Vec::new();
        let take = |at: usize| {
            let is_had = items[at].as_ref().is_some_and(|(_, cost, _)| purse.pay(*cost));
            if is_had {
                order.push(at);
            }
            is_had
        };
        if self.strategy == Strategy::Badge {
            let mut random = ChaCha8Rng::seed_from_u64(self.seed);
            k_means_plus_plus(&rows, || random.random(), take);
        } else {
            k_center(&rows, scores.as_deref(), known, take);
        }
        let reasons = reasons(self.strategy, &rows, scores.as_deref(), known, &order);
        let chosen = order.into_iter().zip(reasons).filter_map(|(at, score)| {
            let (place, cost, item) = items[at].take()?;
            Some(Chosen { place, score, cost, item })
        });
        chosen.collect()
    }
}

/// What each of the chosen was chosen for.
fn reasons(strategy: Strategy, rows: &Rows, scores: Option<&[f64]>, known: &Rows, order: &[usize]) -> Vec<f64> {
    let distance = |a: &[f32], b: &[f32]| f64::from(crate::rows::squared_distance(a, b)).sqrt();
    let reason = |(before, &at): (usize, &usize)| {
        let row = rows.row(at);
        if strategy == Strategy::Badge {
            return row.iter().map(|value| f64::from(value * value)).sum::<f64>().sqrt();
        }
        let taken = order[..before].iter().map(|&other| distance(row, rows.row(other)));
        let nearest = known.iter().map(|other| distance(row, other)).chain(taken).reduce(f64::min);
        // Of the first where nothing is known there is no distance; its uncertainty is what can be said.
        nearest.unwrap_or(1.0) * scores.map_or(1.0, |scores| scores[at])
    };
    order.iter().enumerate().map(reason).collect()
}
