use crate::budget::{Best, Budget, Cost, Purse};
use crate::diversity::{k_center, k_means_plus_plus};
use crate::{Rows, Strategy, chance};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A hybrid considers this many times its budget of the least certain items (Zhdanov 2019, "Diverse mini-batch active
/// learning", section 4: a prefactor of 10).
const PREFACTOR: usize = 10;

/// Chooses items from a stream.
///
/// Memory: strategies by score or chance hold only the items that the budget buys, however long the stream is. A hybrid
/// holds ten times as many, each with an embedding. Core-set and BADGE hold a row of every item, 4 bytes a number
/// ([`held_bytes`](Self::held_bytes)).
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
    /// Its cost.
    pub cost: Cost,
    /// Its score by the strategy; `None` for chance and pure diversity.
    pub score: Option<f64>,
    /// Embedding of its sentence or gradient, if the strategy needs one.
    pub row: &'r [f32],
    /// The caller's value.
    pub item: T,
}

/// A chosen item.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen<T> {
    /// Place in the stream.
    pub place: usize,
    /// Why it was chosen. Chance: the number drawn; core-set: the distance from the known and earlier chosen items;
    /// hybrid: that distance times the uncertainty; BADGE: the length of the gradient; else the strategy's score.
    pub score: f64,
    /// Its cost.
    pub cost: Cost,
    /// The caller's value.
    pub item: T,
}

impl<T> Selector<T> {
    /// A selector. The same seed and stream give the same choice.
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

    /// Offers the next item. Panics if the strategy needs a score or a row and it is missing.
    pub fn offer(&mut self, Offer { cost, score, row, item }: Offer<'_, T>) {
        let place = self.offered;
        self.offered += 1;
        let drawn = chance(self.seed, place as u64);
        match &mut self.held {
            Store::Best(best) => {
                let score = match self.strategy {
                    Strategy::Random => drawn,
                    Strategy::Longest => cost.words as f64,
                    _ => score.expect("a strategy by score gets scores"),
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

    /// Number of items offered.
    pub const fn offered(&self) -> usize {
        self.offered
    }

    /// Memory of the rows held, in bytes.
    pub fn held_bytes(&self) -> usize {
        match &self.held {
            Store::Best(_) => 0,
            Store::All { rows, .. } => rows.bytes(),
        }
    }

    /// The chosen items, best first. `known` are the embeddings of items that are annotated already; only core-set and
    /// hybrid use them.
    pub fn finish(self, known: &Rows) -> Vec<Chosen<T>> {
        let mut purse = Purse::new(self.budget);
        let (rows, scores, mut items) = match self.held {
            Store::Best(best) if self.strategy != Strategy::Hybrid => {
                let sorted = best.into_sorted().into_iter();
                return sorted.map(|(place, score, cost, (_, item))| Chosen { place, score, cost, item }).collect();
            }
            Store::Best(best) => {
                let mut all = best.into_sorted();
                // In stream order, so that ties do not depend on scores.
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

/// The value by which each chosen item was chosen.
fn reasons(strategy: Strategy, rows: &Rows, scores: Option<&[f64]>, known: &Rows, order: &[usize]) -> Vec<f64> {
    let distance = |a: &[f32], b: &[f32]| f64::from(crate::rows::squared_distance(a, b)).sqrt();
    let reason = |(before, &at): (usize, &usize)| {
        let row = rows.row(at);
        if strategy == Strategy::Badge {
            return row.iter().map(|value| f64::from(value * value)).sum::<f64>().sqrt();
        }
        let taken = order[..before].iter().map(|&other| distance(row, rows.row(other)));
        let nearest = known.iter().map(|other| distance(row, other)).chain(taken).reduce(f64::min);
        // Without known items the first one has no distance; its uncertainty alone counts.
        nearest.unwrap_or(1.0) * scores.map_or(1.0, |scores| scores[at])
    };
    order.iter().enumerate().map(reason).collect()
}
