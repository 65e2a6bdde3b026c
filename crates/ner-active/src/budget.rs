use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::str::FromStr;

/// Unit of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Words separated by white space.
    Words,
    /// Sentences.
    Sentences,
    /// Documents.
    Documents,
}

/// How much to annotate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Number of units.
    pub amount: usize,
    /// The unit.
    pub unit: Unit,
}

/// Cost of annotating an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Words separated by white space.
    pub words: usize,
    /// Sentences.
    pub sentences: usize,
}

impl Cost {
    /// The cost in a budget's unit. In documents, every item costs one.
    pub const fn of(self, unit: Unit) -> usize {
        match unit {
            Unit::Words => self.words,
            Unit::Sentences => self.sentences,
            Unit::Documents => 1,
        }
    }
}

/// `2000 words`, `50 sentences`, `10 documents`; a bare number counts words.
impl FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = || format!("`{text}` is not a budget; write `2000 words`, `50 sentences` or `10 documents`");
        let text = text.trim();
        let (number, unit) = text.split_at(text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len()));
        let unit = match unit.trim() {
            "" | "word" | "words" => Unit::Words,
            "sentence" | "sentences" => Unit::Sentences,
            "document" | "documents" => Unit::Documents,
            _ => return Err(wanted()),
        };
        let amount = number.parse().ok().filter(|&amount| amount > 0).ok_or_else(wanted)?;
        Ok(Self { amount, unit })
    }
}

impl std::fmt::Display for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = match self.unit {
            Unit::Words => "words",
            Unit::Sentences => "sentences",
            Unit::Documents => "documents",
        };
        write!(f, "{} {unit}", self.amount)
    }
}

/// Spends a budget on items in order: accepts each item that fits and refuses all from the first that does not. Always
/// accepts the first item, even if it exceeds the budget.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purse {
    budget: Budget,
    spent: usize,
}

impl Purse {
    pub(crate) const fn new(budget: Budget) -> Self {
        Self { budget, spent: 0 }
    }

    pub(crate) const fn pay(&mut self, cost: Cost) -> bool {
        let after = self.spent + cost.of(self.budget.unit);
        if self.spent > 0 && after > self.budget.amount {
            return false;
        }
        self.spent = after;
        true
    }
}

/// The best items of a stream for a budget: those that fit if all were sorted by score, best first. It holds these
/// items and the first that does not fit, however long the stream is.
#[derive(Debug)]
pub struct Best<T> {
    budget: Budget,
    /// The worst first.
    held: BTreeSet<Held<T>>,
    total: usize,
}

#[derive(Debug)]
struct Held<T> {
    score: f64,
    tie: f64,
    place: usize,
    cost: Cost,
    item: T,
}

impl<T> Best<T> {
    /// Starts without items.
    pub const fn new(budget: Budget) -> Self {
        Self { budget, held: BTreeSet::new(), total: 0 }
    }

    /// Offers the item at `place` of the stream. `tie` orders items of equal score: a random number, so that earlier
    /// items have no advantage.
    pub fn offer(&mut self, place: usize, score: f64, tie: f64, cost: Cost, item: T) {
        self.total += cost.of(self.budget.unit);
        self.held.insert(Held { score, tie, place, cost, item });
        // Keep the fewest items that use up the budget: the last one is still needed to compare later items with.
        while let Some(worst) = self.held.first() {
            let without = self.total - worst.cost.of(self.budget.unit);
            if without < self.budget.amount || self.held.len() == 1 {
                break;
            }
            self.total = without;
            self.held.pop_first();
        }
    }

    /// Number of items held.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether no item is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Places, scores, costs and items, best first.
    pub fn into_sorted(self) -> Vec<(usize, f64, Cost, T)> {
        let mut purse = Purse::new(self.budget);
        let best_first = self.held.into_iter().rev();
        let had = best_first.take_while(|held| purse.pay(held.cost));
        had.map(|held| (held.place, held.score, held.cost, held.item)).collect()
    }
}

impl<T> Ord for Held<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let by_score = self.score.total_cmp(&other.score).then(self.tie.total_cmp(&other.tie));
        by_score.then(other.place.cmp(&self.place))
    }
}

impl<T> PartialOrd for Held<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Held<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Held<T> {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn budgets_are_read_as_they_are_written() {
        let check = |text: &str, expected: Option<(usize, Unit)>| {
            assert_eq!(text.parse().ok(), expected.map(|(amount, unit)| Budget { amount, unit }), "{text}");
        };
        check("2000 words", Some((2000, Unit::Words)));
        check("7", Some((7, Unit::Words)));
        check("50sentences", Some((50, Unit::Sentences)));
        check(" 1 document ", Some((1, Unit::Documents)));
        for bad in ["", "words", "0 words", "-3", "5 pages", "1.5 words", "99999999999999999999"] {
            check(bad, None);
        }
    }

    proptest! {
        #[test]
        fn a_stream_gives_what_sorting_all_would_give(
            items in prop::collection::vec((0u8..9, 0usize..12), 0..60), amount in 1usize..80,
        ) {
            let budget = Budget { amount, unit: Unit::Words };
            let mut best = Best::new(budget);
            for (place, &(score, words)) in items.iter().enumerate() {
                best.offer(place, f64::from(score), 0.0, Cost { words, sentences: 1 }, ());
            }
            let found: Vec<usize> = best.into_sorted().into_iter().map(|(place, ..)| place).collect();
            let mut sorted: Vec<usize> = (0..items.len()).collect();
            sorted.sort_by_key(|&place| (std::cmp::Reverse(items[place].0), place));
            let mut spent = 0;
            let mut expected = Vec::new();
            for place in sorted {
                if spent > 0 && spent + items[place].1 > amount {
                    break;
                }
                spent += items[place].1;
                expected.push(place);
            }
            // Only items that cost nothing and follow a full budget can be lost in a stream.
            let costly = |places: Vec<usize>| places.into_iter().filter(|&at| items[at].1 > 0).collect::<Vec<_>>();
            prop_assert_eq!(costly(found), costly(expected));
        }
    }
}
