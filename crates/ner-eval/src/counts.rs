use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::iter::Sum;
use std::ops::AddAssign;

/// Numbers of correct, spurious and missed mentions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Counts {
    /// True positives: predicted and in gold.
    pub tp: u64,
    /// False positives: predicted but not in gold.
    pub fp: u64,
    /// False negatives: in gold but not predicted.
    #[serde(rename = "fn")]
    pub fn_: u64,
}

impl Counts {
    /// `tp / (tp + fp)`, or `None` if nothing was predicted.
    pub fn precision(self) -> Option<f64> {
        ratio(self.tp, self.tp + self.fp)
    }

    /// `tp / (tp + fn)`, or `None` if gold is empty.
    pub fn recall(self) -> Option<f64> {
        ratio(self.tp, self.support())
    }

    /// `2 tp / (2 tp + fp + fn)`, or `None` if both sides are empty.
    ///
    /// This is the harmonic mean of precision and recall if both are defined, and 0 if only one is, as in seqeval.
    pub fn f1(self) -> Option<f64> {
        ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn_)
    }

    /// Number of gold mentions.
    pub fn support(self) -> u64 {
        self.tp + self.fn_
    }

    /// Whether both sides are empty.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.tp += other.tp;
        self.fp += other.fp;
        self.fn_ += other.fn_;
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        let mut sum = Self::default();
        for each in counts {
            sum += each;
        }
        sum
    }
}

/// The counts of one document or tag sequence: the unit of resampling.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentCounts {
    /// The document's id; for a tag sequence its number, from 0.
    pub id: String,
    /// Counts of the types that occur in it, on either side.
    pub by_type: BTreeMap<String, Counts>,
}

impl DocumentCounts {
    /// The counts of all types together.
    pub fn total(&self) -> Counts {
        self.by_type.values().copied().sum()
    }
}

/// The counts of all documents, by type.
pub(crate) fn sum_by_type(documents: &[DocumentCounts]) -> BTreeMap<String, Counts> {
    let mut sum: BTreeMap<String, Counts> = BTreeMap::new();
    for (entity_type, &counts) in documents.iter().flat_map(|document| &document.by_type) {
        match sum.get_mut(entity_type) {
            Some(known) => *known += counts,
            None => drop(sum.insert(entity_type.clone(), counts)),
        }
    }
    sum
}

/// Precision, recall and F1 from 0 to 1; each is `None` if its denominator is 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Share of the predicted mentions that are correct.
    pub precision: Option<f64>,
    /// Share of the gold mentions that were found.
    pub recall: Option<f64>,
    /// Harmonic mean of precision and recall ([`Counts::f1`]).
    pub f1: Option<f64>,
    /// Number of gold mentions.
    pub support: u64,
}

impl From<Counts> for Score {
    fn from(counts: Counts) -> Self {
        Self { precision: counts.precision(), recall: counts.recall(), f1: counts.f1(), support: counts.support() }
    }
}

/// Scores over all mentions and by entity type.
///
/// Serialises to `{"overall": {"precision", "recall", "f1", "support"}, "macro": {…}, "weighted": {…},
/// "per_type": {TYPE: {…}}}`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// Micro average: the score of the counts of all types together.
    pub overall: Score,
    /// Macro average: the unweighted mean over the types, with the total support.
    ///
    /// A precision or recall that is undefined for a type counts as 0 in the mean, as in seqeval. All three are `None`
    /// only if there are no types. Leaving undefined values out would reward a system for never predicting a type.
    #[serde(rename = "macro")]
    pub macro_: Score,
    /// Weighted average: the mean over the types, weighted by their support; values that are undefined for a type count
    /// as 0. All three are `None` if gold is empty.
    pub weighted: Score,
    /// Score of every type that occurs in gold or in the predictions; support is 0 for types not in gold.
    pub per_type: BTreeMap<String, Score>,
    /// The counts behind the scores, by the same types.
    #[serde(skip)]
    pub counts: BTreeMap<String, Counts>,
}

impl From<BTreeMap<String, Counts>> for Scores {
    fn from(counts: BTreeMap<String, Counts>) -> Self {
        let rows: Vec<Counts> = counts.values().copied().collect();
        let [overall, macro_, weighted] = averages(&rows);
        let per_type = counts.iter().map(|(entity_type, &counts)| (entity_type.clone(), counts.into())).collect();
        Self { overall, macro_, weighted, per_type, counts }
    }
}

/// The micro, macro and weighted averages of the counts of each type.
pub(crate) fn averages(types: &[Counts]) -> [Score; 3] {
    let total: Counts = types.iter().copied().sum();
    let mean = |weight: &dyn Fn(Counts) -> u64| -> Score {
        let whole: u64 = types.iter().map(|&counts| weight(counts)).sum();
        let part = |part: fn(Counts) -> Option<f64>| {
            let sum: f64 = types.iter().map(|&counts| weight(counts) as f64 * part(counts).unwrap_or(0.0)).sum();
            (whole > 0).then(|| sum / whole as f64)
        };
        let [precision, recall, f1] = [Counts::precision, Counts::recall, Counts::f1].map(part);
        Score { precision, recall, f1, support: total.support() }
    };
    [total.into(), mean(&|_| 1), mean(&Counts::support)]
}

/// Counts the agreement of one document's mentions (position and entity type), by type.
///
/// Both sides are sets, as in seqeval: duplicates count once.
pub(crate) fn tally<'t, Place: Hash + Eq>(
    gold: impl IntoIterator<Item = (Place, &'t str)>,
    predicted: impl IntoIterator<Item = (Place, &'t str)>,
) -> BTreeMap<String, Counts> {
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    let mut add = |entity_type: &str, part: Counts| *counts.entry(entity_type.to_owned()).or_default() += part;
    let gold: HashSet<(Place, &str)> = gold.into_iter().collect();
    let predicted: HashSet<(Place, &str)> = predicted.into_iter().collect();
    for mention in &predicted {
        let found = gold.contains(mention);
        add(mention.1, Counts { tp: u64::from(found), fp: u64::from(!found), fn_: 0 });
    }
    for mention in gold.difference(&predicted) {
        add(mention.1, Counts { fn_: 1, ..Counts::default() });
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undefined_is_none_in_a_score_and_zero_in_the_macro_mean() {
        let right = Counts { tp: 1, fp: 0, fn_: 0 };
        let only_predicted = Counts { tp: 0, fp: 2, fn_: 0 };
        let scores = Scores::from(BTreeMap::from([("A".to_owned(), right), ("B".to_owned(), only_predicted)]));
        let third = 1.0 / 3.0;
        let expected = serde_json::json!({
            "overall": {"precision": third, "recall": 1.0, "f1": 0.5, "support": 1},
            "macro": {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 1},
            "weighted": {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1},
            "per_type": {
                "A": {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1},
                "B": {"precision": 0.0, "recall": null, "f1": 0.0, "support": 0},
            },
        });
        let json = serde_json::to_string(&scores).expect("scores serialise");
        assert_eq!(json, expected.to_string(), "the order of the fields is part of the output");

        let nothing = Scores::from(BTreeMap::new());
        let undefined = Score { precision: None, recall: None, f1: None, support: 0 };
        assert_eq!([nothing.overall, nothing.macro_, nothing.weighted], [undefined; 3]);
        let unfound = Scores::from(BTreeMap::from([("B".to_owned(), only_predicted)]));
        assert_eq!((unfound.macro_.f1, unfound.weighted.f1), (Some(0.0), None));
    }
}
