use crate::counts::{Counts, DocumentCounts, Score};
use crate::spans::{PairedDocument, distinct, place_and_type};
use ner_document::{Document, Mention};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Strict counts of the mentions of each group.
///
/// `key` returns the group of a gold or predicted mention, given the index of its document in `documents`. A correct
/// mention counts in the group of its gold mention; missed and spurious mentions count in their own. The recall of a
/// group is thus that of its gold mentions, and its precision that of the predictions with its key.
pub fn scores_by_key<K: Ord>(
    documents: &[PairedDocument<'_>],
    key: impl Fn(usize, &Mention) -> K,
) -> BTreeMap<K, Counts> {
    let mut groups: BTreeMap<K, Counts> = BTreeMap::new();
    for (at, document) in documents.iter().enumerate() {
        let mut add = |mention: &Mention, part: Counts| *groups.entry(key(at, mention)).or_default() += part;
        let (gold, predicted) = (distinct(document.gold), distinct(document.predicted));
        let in_gold: HashSet<_> = gold.iter().map(|&mention| place_and_type(mention)).collect();
        let in_predicted: HashSet<_> = predicted.iter().map(|&mention| place_and_type(mention)).collect();
        for &mention in &gold {
            let found = in_predicted.contains(&place_and_type(mention));
            add(mention, Counts { tp: u64::from(found), fp: 0, fn_: u64::from(!found) });
        }
        for &mention in predicted.iter().filter(|&&mention| !in_gold.contains(&place_and_type(mention))) {
            add(mention, Counts { tp: 0, fp: 1, fn_: 0 });
        }
    }
    groups
}

/// The score of a group of mentions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupScore {
    /// Its name: `seen`, `2-4`.
    pub group: String,
    /// The counts.
    #[serde(flatten)]
    pub counts: Counts,
    /// The score of the counts.
    #[serde(flatten)]
    pub score: Score,
}

impl GroupScore {
    fn new(group: impl Into<String>, counts: Counts) -> Self {
        Self { group: group.into(), counts, score: counts.into() }
    }
}

/// Groups of whole numbers. Each reaches from one bound up to the next; the last is unbounded. Ascending, starting at
/// 0.
#[derive(Clone, Copy, Debug)]
pub struct Ranges(pub &'static [usize]);

impl Ranges {
    /// Number of words of a mention.
    pub const WORDS: Self = Self(&[0, 1, 2, 3, 4, 5]);
    /// Number of word pieces of a mention.
    pub const PIECES: Self = Self(&[0, 1, 2, 3, 4, 6, 9]);
    /// How often the mention's text is a mention of its type in training.
    pub const FREQUENCY: Self = Self(&[0, 1, 2, 5, 20]);

    /// Index of the range that contains `value`.
    fn place(self, value: usize) -> usize {
        self.0.partition_point(|&bound| bound <= value).saturating_sub(1)
    }

    fn name(self, place: usize) -> String {
        match (self.0[place], self.0.get(place + 1)) {
            (bound, Some(&next)) if bound + 1 == next => bound.to_string(),
            (bound, Some(next)) => format!("{bound}-{}", next - 1),
            (bound, None) => format!("{bound}+"),
        }
    }
}

/// Scores by a number per mention, grouped in `ranges`; empty groups are left out.
pub fn scores_by_number(
    documents: &[PairedDocument<'_>],
    ranges: Ranges,
    number: impl Fn(usize, &Mention) -> usize,
) -> Vec<GroupScore> {
    let groups = scores_by_key(documents, |at, mention| ranges.place(number(at, mention)));
    groups.into_iter().map(|(place, counts)| GroupScore::new(ranges.name(place), counts)).collect()
}

/// Texts of the training mentions, folded (lower case, each run of white space as one space), with their types.
#[derive(Clone, Debug, Default)]
pub struct TrainingMentions(HashMap<String, BTreeMap<String, usize>>);

impl TrainingMentions {
    /// Gathers the mentions of `documents`.
    pub fn of(documents: &[Document]) -> Self {
        let mut strings: HashMap<String, BTreeMap<String, usize>> = HashMap::new();
        for document in documents {
            let index = document.char_index();
            for mention in &document.mentions {
                let types = strings.entry(mention.folded_text(&document.text, &index)).or_default();
                *types.entry(mention.entity_type.clone()).or_default() += 1;
            }
        }
        Self(strings)
    }

    /// Whether a folded text is a mention of any type.
    pub fn has(&self, string: &str) -> bool {
        self.0.contains_key(string)
    }

    /// How often a folded text is a mention of a type.
    pub fn frequency(&self, string: &str, entity_type: &str) -> usize {
        self.0.get(string).and_then(|types| types.get(entity_type)).copied().unwrap_or(0)
    }
}

/// Scores of mentions that occur in training and of those that do not: memorised or generalised.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeenScores {
    /// By whether the text is a training mention of any type.
    pub by_string: Vec<GroupScore>,
    /// By whether the text is a training mention of the same type.
    pub by_string_and_type: Vec<GroupScore>,
    /// By how often it is a training mention of the same type.
    pub by_frequency: Vec<GroupScore>,
}

impl SeenScores {
    /// Compares with the mentions of a training split. `string` returns the folded text of a mention
    /// ([`Mention::folded_text`](ner_document::Mention::folded_text)), given the index of its document in `documents`.
    pub fn new(
        documents: &[PairedDocument<'_>],
        training: &TrainingMentions,
        string: impl Fn(usize, &Mention) -> String,
    ) -> Self {
        let frequency = |at: usize, mention: &Mention| training.frequency(&string(at, mention), &mention.entity_type);
        let named = |groups: BTreeMap<bool, Counts>| -> Vec<GroupScore> {
            let name = |unseen: bool| if unseen { "unseen" } else { "seen" };
            groups.into_iter().map(|(unseen, counts)| GroupScore::new(name(unseen), counts)).collect()
        };
        Self {
            by_string: named(scores_by_key(documents, |at, mention| !training.has(&string(at, mention)))),
            by_string_and_type: named(scores_by_key(documents, |at, mention| frequency(at, mention) == 0)),
            by_frequency: scores_by_number(documents, Ranges::FREQUENCY, frequency),
        }
    }
}

/// Scores of nested mentions, and the best possible score of one label per word.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NestedScores {
    /// `outer`, and `inner`: mentions inside a gold mention of a different extent.
    pub groups: Vec<GroupScore>,
    /// The score of finding only gold mentions that do not overlap, the longest first: the upper bound of a head that
    /// gives each word one label and learns the longest mention.
    pub flat_ceiling: Score,
}

impl NestedScores {
    /// `None` if no gold mention is nested.
    pub fn new(documents: &[PairedDocument<'_>]) -> Option<Self> {
        let is_inner = |at: usize, mention: &Mention| {
            let span = mention.span();
            let holds = |outer: &Mention| outer.span() != span && outer.span().covers(span);
            documents[at].gold.iter().any(holds)
        };
        let groups = scores_by_key(documents, is_inner);
        groups.get(&true).filter(|inner| inner.support() > 0)?;
        let name = |is_inner: bool| if is_inner { "inner" } else { "outer" };
        Some(Self {
            groups: groups.into_iter().map(|(is_inner, counts)| GroupScore::new(name(is_inner), counts)).collect(),
            flat_ceiling: documents.iter().map(flat_ceiling).sum::<Counts>().into(),
        })
    }
}

/// Counts as if the longest gold mentions that do not overlap were found, and nothing else.
fn flat_ceiling(document: &PairedDocument<'_>) -> Counts {
    let mut mentions = distinct(document.gold);
    let all = mentions.len() as u64;
    mentions.sort_by_key(|mention| (std::cmp::Reverse(mention.span().len()), mention.span().start));
    let mut kept: Vec<&Mention> = Vec::new();
    for mention in mentions {
        if !mention.is_discontinuous() && kept.iter().all(|other| !other.span().overlaps(mention.span())) {
            kept.push(mention);
        }
    }
    let tp = kept.len() as u64;
    Counts { tp, fp: 0, fn_: all - tp }
}

/// The score of one document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DocumentScore {
    /// Its id.
    pub id: String,
    /// The counts, over all types.
    #[serde(flatten)]
    pub counts: Counts,
    /// The score of the counts.
    #[serde(flatten)]
    pub score: Score,
}

/// The score of each document, in order.
pub fn scores_by_document(documents: &[DocumentCounts]) -> Vec<DocumentScore> {
    let score = |document: &DocumentCounts| {
        let counts = document.total();
        DocumentScore { id: document.id.clone(), counts, score: counts.into() }
    };
    documents.iter().map(score).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairing::tests::any_mentions;
    use crate::score_mentions;
    use ner_document::Span;
    use proptest::prelude::*;

    #[test]
    fn ranges_have_names() {
        let name = |value| Ranges::FREQUENCY.name(Ranges::FREQUENCY.place(value));
        let names: Vec<String> = [0, 1, 2, 4, 5, 19, 20, 999].map(name).into();
        assert_eq!(names, ["0", "1", "2-4", "2-4", "5-19", "5-19", "20+", "20+"]);
    }

    #[test]
    fn seen_and_unseen_mentions() {
        let of = |text: &str, mentions: &[(usize, usize, &str)]| Document {
            mentions: mentions.iter().map(|&(start, end, kind)| Mention::new(Span::new(start, end), kind)).collect(),
            ..Document::new("1", text)
        };
        let training = TrainingMentions::of(&[of("Fever fever cough", &[(0, 5, "D"), (6, 11, "D"), (12, 17, "C")])]);
        // Seen and found; seen as another type and missed; unseen and missed; unseen and spurious.
        let gold = of("FEVER cough rash pain", &[(0, 5, "D"), (6, 11, "D"), (12, 16, "D")]);
        let predicted = of("FEVER cough rash pain", &[(0, 5, "D"), (17, 21, "D")]);
        let pair = PairedDocument { id: "1", gold: &gold.mentions, predicted: &predicted.mentions };
        let index = gold.char_index();
        let seen = SeenScores::new(&[pair], &training, |_, mention| mention.folded_text(&gold.text, &index));
        let show = |groups: &[GroupScore]| -> Vec<String> {
            groups.iter().map(|g| format!("{} {} {} {}", g.group, g.counts.tp, g.counts.fp, g.counts.fn_)).collect()
        };
        assert_eq!(show(&seen.by_string), ["seen 1 0 1", "unseen 0 1 1"]);
        assert_eq!(show(&seen.by_string_and_type), ["seen 1 0 0", "unseen 0 1 2"]);
        assert_eq!(show(&seen.by_frequency), ["0 0 1 2", "2-4 1 0 0"]);
        let json = serde_json::to_value(&seen).expect("scores serialise");
        assert_eq!((&json["by_string"][0]["recall"], &json["by_string"][0]["fn"]), (&0.5.into(), &1.into()));
    }

    #[test]
    fn nested_mentions() {
        let of = |mentions: &[(usize, usize, &str)]| -> Vec<Mention> {
            mentions.iter().map(|&(start, end, kind)| Mention::new(Span::new(start, end), kind)).collect()
        };
        // One nested, one that crosses it, one apart; the first two have the same extent.
        let gold = of(&[(0, 20, "A"), (0, 20, "B"), (5, 10, "A"), (15, 25, "A"), (30, 35, "A")]);
        let predicted = of(&[(0, 20, "A"), (5, 10, "A"), (6, 8, "B"), (40, 45, "A")]);
        let pair = PairedDocument { id: "1", gold: &gold, predicted: &predicted };
        let nested = NestedScores::new(&[pair]).expect("nested gold");
        let counts: Vec<_> = nested.groups.iter().map(|group| (group.group.as_str(), group.counts)).collect();
        let of = |tp, fp, fn_| Counts { tp, fp, fn_ };
        assert_eq!(counts, [("outer", of(1, 1, 3)), ("inner", of(1, 1, 0))]);
        // 0-20 and 30-35 of five.
        assert_eq!((nested.flat_ceiling.precision, nested.flat_ceiling.recall), (Some(1.0), Some(0.4)));
        assert_eq!(NestedScores::new(&[PairedDocument { gold: &gold[3..], ..pair }]), None);
    }

    proptest! {
        #[test]
        fn groups_add_up(pairs in proptest::collection::vec((any_mentions(), any_mentions()), 0..4)) {
            let documents: Vec<PairedDocument<'_>> =
                pairs.iter().map(|(gold, predicted)| PairedDocument { id: "", gold, predicted }).collect();
            let all = score_mentions(documents.iter().map(|document| (document.gold, document.predicted)));
            let by_type = scores_by_key(&documents, |_, mention| mention.entity_type.clone());
            prop_assert_eq!(&by_type, &all.counts);
            let by_words = scores_by_number(&documents, Ranges::WORDS, |_, mention| mention.span().len());
            let sum: Counts = by_words.iter().map(|group| group.counts).sum();
            prop_assert_eq!(sum, all.counts.values().copied().sum());
        }
    }
}
