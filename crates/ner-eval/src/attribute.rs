use crate::counts::{Counts, DocumentCounts, Scores, sum_by_type, tally};
use crate::errors::ConfusionCell;
use crate::resampling::{Interval, Intervals, Resampling, bootstrap_intervals};
use crate::spans::{PairedDocument, place_and_type};
use ner_document::{Mention, Span};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Scores of an attribute of mentions, such as the assertion.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttributeScores {
    /// Its name.
    pub name: String,
    /// Of the mentions that both sides have, with equal position and type.
    pub matched: MatchedScores,
    /// Of all mentions with the attribute: one is correct if its position, type and value are.
    pub end_to_end: ValueScores,
    /// Gold mentions with the attribute that were not found.
    pub missed: u64,
    /// Predicted mentions with the attribute that are not in gold.
    pub invented: u64,
}

/// Scores of an attribute, given the mentions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MatchedScores {
    /// Number of matched mentions with the attribute on at least one side: those that are scored.
    pub mentions: u64,
    /// Those of them without it in gold. They are spurious for the predicted value.
    pub without_in_gold: u64,
    /// Those of them without it in the predictions. They are missed for the gold value.
    pub without_in_predicted: u64,
    /// Matched mentions without it on either side. They are not scored.
    pub without_in_both: u64,
    /// Share of the scored mentions whose value is equal on both sides.
    pub accuracy: Option<f64>,
    /// Bootstrap interval of the accuracy.
    pub accuracy_interval: Option<Interval>,
    /// Scores by value.
    #[serde(flatten)]
    pub values: ValueScores,
    /// How often each gold value was predicted as each value; `None` is no value.
    pub confusion: Vec<ConfusionCell>,
}

/// Scores by value of an attribute.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValueScores {
    /// The scores, with values for types.
    #[serde(flatten)]
    pub scores: Scores,
    /// Their bootstrap intervals.
    pub intervals: Intervals,
}

impl ValueScores {
    pub(crate) fn new(documents: &[DocumentCounts], resampling: &Resampling) -> Self {
        let intervals = bootstrap_intervals(documents, resampling);
        Self { scores: sum_by_type(documents).into(), intervals }
    }
}

/// Scores the attribute `name` of mentions, on matched mentions and end to end.
///
/// Of several mentions with equal position and type on one side, one counts: that with the first value in the order of
/// the alphabet. A mention without the attribute has no value; that is not a value of its own.
pub fn score_attribute(documents: &[PairedDocument<'_>], name: &str, resampling: &Resampling) -> AttributeScores {
    let (mut matched, mut equal, mut end_to_end) = (Vec::new(), Vec::new(), Vec::new());
    let mut confusion: BTreeMap<Pair<'_>, u64> = BTreeMap::new();
    let (mut missed, mut invented) = (0, 0);
    for document in documents {
        let (gold, predicted) = (values(document.gold, name), values(document.predicted, name));
        let pairs: Vec<Pair<'_>> =
            gold.iter().filter_map(|(place, &value)| Some((value, *predicted.get(place)?))).collect();
        for &pair in &pairs {
            *confusion.entry(pair).or_default() += 1;
        }
        let counts = |by_type| DocumentCounts { id: document.id.to_owned(), by_type };
        end_to_end.push(counts(tally(with_value(&gold), with_value(&predicted))));
        matched.push(counts(tally(
            pairs.iter().enumerate().filter_map(|(at, pair)| Some((at, pair.0?))),
            pairs.iter().enumerate().filter_map(|(at, pair)| Some((at, pair.1?))),
        )));
        let (right, wrong): (Vec<Pair<'_>>, Vec<Pair<'_>>) =
            pairs.into_iter().filter(|&pair| pair != NEITHER).partition(|pair| pair.0 == pair.1);
        // The recall of these counts is the accuracy.
        let share = Counts { tp: right.len() as u64, fp: 0, fn_: wrong.len() as u64 };
        equal.push(counts(BTreeMap::from([(String::new(), share)])));
        missed += with_value(&gold).filter(|(place, _)| !predicted.contains_key(place)).count() as u64;
        invented += with_value(&predicted).filter(|(place, _)| !gold.contains_key(place)).count() as u64;
    }
    let sum = |is_counted: fn(Pair<'_>) -> bool| -> u64 {
        confusion.iter().filter(|(pair, _)| is_counted(**pair)).map(|(_, count)| count).sum()
    };
    let cell = |(&(gold, predicted), &count): (&Pair<'_>, &u64)| ConfusionCell {
        gold: gold.map(str::to_owned),
        predicted: predicted.map(str::to_owned),
        count,
    };
    let accuracy = ValueScores::new(&equal, resampling);
    AttributeScores {
        name: name.to_owned(),
        matched: MatchedScores {
            mentions: sum(|pair| pair != NEITHER),
            without_in_gold: sum(|pair| pair != NEITHER && pair.0.is_none()),
            without_in_predicted: sum(|pair| pair != NEITHER && pair.1.is_none()),
            without_in_both: sum(|pair| pair == NEITHER),
            accuracy: accuracy.scores.overall.recall,
            accuracy_interval: accuracy.intervals.overall.recall,
            values: ValueScores::new(&matched, resampling),
            confusion: confusion.iter().filter(|(pair, _)| **pair != NEITHER).map(cell).collect(),
        },
        end_to_end: ValueScores::new(&end_to_end, resampling),
        missed,
        invented,
    }
}

/// Gold and predicted value of a mention; `None` without the attribute.
type Pair<'m> = (Option<&'m str>, Option<&'m str>);

const NEITHER: Pair<'static> = (None, None);

/// Position and type.
type Place<'m> = (&'m [Span], &'m str);

/// The value of each mention.
fn values<'m>(mentions: &'m [Mention], name: &str) -> HashMap<Place<'m>, Option<&'m str>> {
    let mut values = HashMap::new();
    for mention in mentions {
        let value = mention.attributes.get(name).map(String::as_str);
        let known: &mut Option<&str> = values.entry(place_and_type(mention)).or_insert(value);
        *known = match (*known, value) {
            (Some(known), Some(value)) => Some(known.min(value)),
            (known, value) => known.or(value),
        };
    }
    values
}

/// The mentions that have a value.
fn with_value<'v, 'm>(
    values: &'v HashMap<Place<'m>, Option<&'m str>>,
) -> impl Iterator<Item = (Place<'m>, &'m str)> + use<'v, 'm> {
    values.iter().filter_map(|(&place, &value)| Some((place, value?)))
}
