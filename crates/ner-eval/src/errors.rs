use crate::pairing::{Agreement, Pairing, pair_mentions};
use ner_document::{Document, Mention};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Error classes of mentions. Each mention is in one class, so that the classes add up to the mentions of each side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ErrorCounts {
    /// Pairs with the same position and type.
    pub right: u64,
    /// Pairs of the same type with overlapping but different positions.
    pub boundary: u64,
    /// Pairs with the same position and different types.
    #[serde(rename = "type")]
    pub type_: u64,
    /// Pairs with different types and overlapping but different positions.
    pub boundary_and_type: u64,
    /// Gold mentions without a paired prediction.
    pub missed: u64,
    /// Predicted mentions without a paired gold mention.
    pub invented: u64,
}

impl ErrorCounts {
    /// Pairs of all classes.
    fn pairs(self) -> u64 {
        self.right + self.boundary + self.type_ + self.boundary_and_type
    }

    /// Number of gold mentions.
    pub fn gold(self) -> u64 {
        self.pairs() + self.missed
    }

    /// Number of predicted mentions.
    pub fn predicted(self) -> u64 {
        self.pairs() + self.invented
    }
}

/// How often predicted mentions of one type were paired with gold mentions of another, or the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfusionCell {
    /// Type of the gold mentions; `None` for spurious predictions.
    pub gold: Option<String>,
    /// Type of the predicted mentions; `None` for missed mentions.
    pub predicted: Option<String>,
    /// Number of pairs, at the same position or not.
    pub count: u64,
}

/// The error classes and confusions of types.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Errors {
    /// Over all types.
    pub overall: ErrorCounts,
    /// By type: pairs and missed mentions under the type of the gold mention, spurious ones under their own.
    pub per_type: BTreeMap<String, ErrorCounts>,
    /// The non-zero cells of the confusion matrix, ordered by type.
    pub confusion: Vec<ConfusionCell>,
}

/// Counts error classes. Each item is one document's gold and predicted mentions.
///
/// Mentions are paired by [`pair_mentions`]; the order of documents and mentions does not matter.
pub fn count_errors<'m>(documents: impl IntoIterator<Item = (&'m [Mention], &'m [Mention])>) -> Errors {
    let mut errors = Errors::default();
    let mut confusion: BTreeMap<(Option<&str>, Option<&str>), u64> = BTreeMap::new();
    for (gold, predicted) in documents {
        let Pairing { pairs, missed, invented } = pair_mentions(gold, predicted);
        let mut add = |entity_type: &str, class: fn(&mut ErrorCounts) -> &mut u64| {
            *class(&mut errors.overall) += 1;
            *class(errors.per_type.entry(entity_type.to_owned()).or_default()) += 1;
        };
        let mut cell = |gold: Option<&'m Mention>, predicted: Option<&'m Mention>| {
            let type_of = |mention: Option<&'m Mention>| mention.map(|mention| mention.entity_type.as_str());
            *confusion.entry((type_of(gold), type_of(predicted))).or_default() += 1;
        };
        for pair in pairs {
            cell(Some(pair.gold), Some(pair.predicted));
            add(
                &pair.gold.entity_type,
                match pair.agreement {
                    Agreement::Right => |counts| &mut counts.right,
                    Agreement::OtherBoundary => |counts| &mut counts.boundary,
                    Agreement::OtherType => |counts| &mut counts.type_,
                    Agreement::OtherBoundaryAndType => |counts| &mut counts.boundary_and_type,
                },
            );
        }
        for mention in missed {
            cell(Some(mention), None);
            add(&mention.entity_type, |counts| &mut counts.missed);
        }
        for mention in invented {
            cell(None, Some(mention));
            add(&mention.entity_type, |counts| &mut counts.invented);
        }
    }
    let owned = |entity_type: Option<&str>| entity_type.map(str::to_owned);
    errors.confusion = confusion
        .into_iter()
        .map(|((gold, predicted), count)| ConfusionCell { gold: owned(gold), predicted: owned(predicted), count })
        .collect();
    errors
}

/// The text of mentions, with its frequency. **This is text of the corpus.**
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FrequentString {
    /// The text, in lower case, each run of white space as one space.
    pub text: String,
    /// Type of the mentions.
    pub entity_type: String,
    /// Number of mentions.
    pub count: u64,
}

/// The most frequent errors by text. **This is text of the corpus:** show it only if a flag asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FrequentErrors {
    /// Texts of gold mentions without a paired prediction, the most frequent first.
    pub missed: Vec<FrequentString>,
    /// Texts of predicted mentions without a paired gold mention, the most frequent first.
    pub invented: Vec<FrequentString>,
}

/// The `most` most frequent texts of missed and of spurious mentions. Each item is a gold document and the mentions
/// predicted for it. Equally frequent texts are ordered alphabetically.
pub fn frequent_errors<'d>(
    documents: impl IntoIterator<Item = (&'d Document, &'d [Mention])>,
    most: usize,
) -> FrequentErrors {
    let mut missed: HashMap<(String, &str), u64> = HashMap::new();
    let mut invented: HashMap<(String, &str), u64> = HashMap::new();
    for (document, predicted) in documents {
        let pairing = pair_mentions(&document.mentions, predicted);
        let index = document.char_index();
        for (found, counts) in [(pairing.missed, &mut missed), (pairing.invented, &mut invented)] {
            for mention in found {
                *counts.entry((mention.folded_text(&document.text, &index), &mention.entity_type)).or_default() += 1;
            }
        }
    }
    let sorted = |counts: HashMap<(String, &str), u64>| {
        let mut strings: Vec<FrequentString> = counts
            .into_iter()
            .map(|((text, entity_type), count)| FrequentString { text, entity_type: entity_type.to_owned(), count })
            .collect();
        strings.sort_by(|a, b| (b.count, &a.text, &a.entity_type).cmp(&(a.count, &b.text, &b.entity_type)));
        strings.truncate(most);
        strings
    };
    FrequentErrors { missed: sorted(missed), invented: sorted(invented) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairing::tests::{any_mentions, mentions};
    use crate::score_mentions;
    use ner_document::Span;
    use proptest::prelude::*;

    #[test]
    fn each_class_once() {
        let gold = mentions(&["0-4 A", "10-14 A", "20-24 A", "30-34 A", "40-44 B"]);
        let predicted = mentions(&["0-4 A", "10-15 A", "20-24 B", "30-35 B", "50-54 B"]);
        let errors = count_errors([(gold.as_slice(), predicted.as_slice())]);
        let all = ErrorCounts { right: 1, boundary: 1, type_: 1, boundary_and_type: 1, missed: 1, invented: 1 };
        assert_eq!(errors.overall, all);
        assert_eq!(errors.per_type["A"], ErrorCounts { missed: 0, invented: 0, ..all });
        assert_eq!(errors.per_type["B"], ErrorCounts { missed: 1, invented: 1, ..ErrorCounts::default() });
        let cells: Vec<String> = errors
            .confusion
            .iter()
            .map(|cell| {
                let name = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".to_owned());
                format!("{}{}{}", name(&cell.gold), name(&cell.predicted), cell.count)
            })
            .collect();
        assert_eq!(cells, ["-B1", "AA2", "AB2", "B-1"]);
    }

    #[test]
    fn frequent_strings_are_folded() {
        let document = Document {
            mentions: vec![Mention::new(Span::new(0, 5), "D"), Mention::new(Span::new(6, 11), "D")],
            ..Document::new("1", "Fever fever cough rash")
        };
        let predicted = [Mention::new(Span::new(12, 17), "D"), Mention::new(Span::new(18, 22), "D")];
        let found = frequent_errors([(&document, predicted.as_slice())], 1);
        let string =
            |text: &str, count| vec![FrequentString { text: text.to_owned(), entity_type: "D".to_owned(), count }];
        assert_eq!(found, FrequentErrors { missed: string("fever", 2), invented: string("cough", 1) });
    }

    proptest! {
        #[test]
        fn classes_add_up(documents in proptest::collection::vec((any_mentions(), any_mentions()), 0..4)) {
            let pairs = || documents.iter().map(|(gold, predicted)| (gold.as_slice(), predicted.as_slice()));
            let errors = count_errors(pairs());
            let strict = score_mentions(pairs());
            let counts: crate::Counts = strict.counts.values().copied().sum();
            prop_assert_eq!(errors.overall.right, counts.tp);
            prop_assert_eq!(errors.overall.gold(), counts.support());
            prop_assert_eq!(errors.overall.predicted(), counts.tp + counts.fp);
            for (entity_type, of_type) in &errors.per_type {
                prop_assert_eq!(of_type.gold(), strict.per_type[entity_type].support);
            }
            let in_column = |entity_type: &str| -> u64 {
                let is_in = |cell: &&ConfusionCell| cell.predicted.as_deref() == Some(entity_type);
                errors.confusion.iter().filter(is_in).map(|cell| cell.count).sum()
            };
            for (entity_type, counts) in &strict.counts {
                prop_assert_eq!(in_column(entity_type), counts.tp + counts.fp);
            }
        }
    }
}
