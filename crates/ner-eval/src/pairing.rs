use crate::spans::distinct;
use ner_document::{Mention, Span};
use serde::{Deserialize, Serialize};

/// How a gold and a predicted mention of a pair agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// Same position and type.
    Right,
    /// Same position, different type.
    OtherType,
    /// Same type, different position with a shared character.
    OtherBoundary,
    /// Different type, different position with a shared character.
    OtherBoundaryAndType,
}

impl Agreement {
    /// How the two agree; `None` if they share no character and their positions differ.
    pub fn of(gold: &Mention, predicted: &Mention) -> Option<Self> {
        let same_place = gold.fragments == predicted.fragments;
        if !same_place && shared(gold, predicted) == 0 {
            return None;
        }
        Some(match (same_place, gold.entity_type == predicted.entity_type) {
            (true, true) => Self::Right,
            (true, false) => Self::OtherType,
            (false, true) => Self::OtherBoundary,
            (false, false) => Self::OtherBoundaryAndType,
        })
    }

    /// Whether both have the same position.
    pub const fn same_place(self) -> bool {
        matches!(self, Self::Right | Self::OtherType)
    }
}

/// A gold mention and the predicted mention matched to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MentionPair<'m> {
    /// The gold mention.
    pub gold: &'m Mention,
    /// The predicted mention.
    pub predicted: &'m Mention,
    /// How they agree.
    pub agreement: Agreement,
}

/// The mentions of a document, each paired with at most one of the other side.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairing<'m> {
    /// The pairs, best agreement first.
    pub pairs: Vec<MentionPair<'m>>,
    /// Gold mentions without a pair.
    pub missed: Vec<&'m Mention>,
    /// Predicted mentions without a pair.
    pub invented: Vec<&'m Mention>,
}

/// Pairs the gold mentions of a document with the predicted ones, one to one.
///
/// Takes the best of all pairs that share a character, then the best of those whose mentions are both still free, and
/// so on. Pairs are ranked by [`Agreement`] (same position and type, same position, same type, neither); then by the
/// number of characters in which their positions differ, fewest first; then by the fragments and type of the gold
/// mention, and last by those of the predicted one. No two pairs are equal in all of these, so the order of the mentions
/// does not matter. Duplicates count once, as everywhere here.
///
/// Every strictly correct prediction is thus paired with its gold mention, and as many mentions as possible with one at
/// the same position. Among mentions that only overlap, the number of pairs is not always maximal: maximising it would
/// pair mentions that no reader would match.
pub fn pair_mentions<'m>(gold: &'m [Mention], predicted: &'m [Mention]) -> Pairing<'m> {
    let (gold, predicted) = (distinct(gold), distinct(predicted));
    let mut candidates = Vec::new();
    for (g, gold) in gold.iter().enumerate() {
        for (p, predicted) in predicted.iter().enumerate() {
            if let Some(agreement) = Agreement::of(gold, predicted) {
                let differing = (length(gold) + length(predicted)).saturating_sub(2 * shared(gold, predicted));
                candidates.push((agreement, differing, g, p));
            }
        }
    }
    candidates.sort_unstable();
    let mut pairs = Vec::new();
    let (mut gold_free, mut predicted_free) = (vec![true; gold.len()], vec![true; predicted.len()]);
    for (agreement, _, g, p) in candidates {
        if gold_free[g] && predicted_free[p] {
            (gold_free[g], predicted_free[p]) = (false, false);
            pairs.push(MentionPair { gold: gold[g], predicted: predicted[p], agreement });
        }
    }
    let rest = |mentions: Vec<&'m Mention>, free: Vec<bool>| -> Vec<&'m Mention> {
        mentions.into_iter().zip(free).filter_map(|(mention, free)| free.then_some(mention)).collect()
    };
    Pairing { pairs, missed: rest(gold, gold_free), invented: rest(predicted, predicted_free) }
}

/// Number of characters that both mentions cover.
fn shared(a: &Mention, b: &Mention) -> usize {
    let both = |a: Span, b: Span| Span::new(a.start.max(b.start), a.end.min(b.end)).len();
    a.fragments.iter().map(|&a| b.fragments.iter().map(|&b| both(a, b)).sum::<usize>()).sum()
}

/// Number of characters that a mention covers.
fn length(mention: &Mention) -> usize {
    mention.fragments.iter().map(|fragment| fragment.len()).sum()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::spans::place_and_type;
    use proptest::prelude::*;

    /// Parses a mention as tests write it: `0-4 6-8 X`.
    pub(crate) fn mention(text: &str) -> Mention {
        let mut parts: Vec<&str> = text.split(' ').collect();
        let mut mention = Mention::new(Span::new(0, 0), parts.pop().expect("a type"));
        let span = |part: &str| {
            let (start, end) = part.split_once('-').expect("a span");
            Span::new(start.parse().expect("a number"), end.parse().expect("a number"))
        };
        mention.fragments = parts.into_iter().map(span).collect();
        mention
    }

    pub(crate) fn mentions(texts: &[&str]) -> Vec<Mention> {
        texts.iter().map(|text| mention(text)).collect()
    }

    /// Mentions that often overlap, nest, are discontinuous or repeated.
    pub(crate) fn any_mentions() -> impl Strategy<Value = Vec<Mention>> {
        let mention = (0usize..8, 1usize..5, 0usize..4, 0usize..3).prop_map(|(start, len, gap, entity_type)| {
            let mut mention = Mention::new(Span::new(start, start + len), ["A", "B", "C"][entity_type]);
            if gap == 1 {
                mention.fragments.push(Span::new(start + len + 1, start + len + 3));
            }
            mention
        });
        proptest::collection::vec(mention, 0..7)
    }

    #[test]
    fn the_best_pairs_are_taken_first() {
        let check = |gold: &[&str], predicted: &[&str], expected: &[(usize, usize, Agreement)]| {
            let (gold, predicted) = (mentions(gold), mentions(predicted));
            let found = pair_mentions(&gold, &predicted);
            let expected: Vec<MentionPair<'_>> = expected
                .iter()
                .map(|&(g, p, agreement)| MentionPair { gold: &gold[g], predicted: &predicted[p], agreement })
                .collect();
            assert_eq!(found.pairs, expected);
            assert_eq!(found.missed.len(), gold.len() - expected.len());
            assert_eq!(found.invented.len(), predicted.len() - expected.len());
        };
        use Agreement::{OtherBoundary, OtherBoundaryAndType, OtherType, Right};
        check(&["0-4 A"], &["4-8 A"], &[]);
        check(&["0-4 A"], &["0-4 A"], &[(0, 0, Right)]);
        // Nested: the inner one gets its match, although the outer one comes first.
        check(&["0-9 A", "2-4 B"], &["2-4 B"], &[(1, 0, Right)]);
        check(&["0-9 A", "2-4 B"], &["2-4 A", "0-8 B"], &[(1, 0, OtherType), (0, 1, OtherBoundaryAndType)]);
        // The same type ranks before the larger overlap, and so do nearer boundaries.
        check(&["0-5 A"], &["0-6 B", "4-9 A"], &[(0, 1, OtherBoundary)]);
        check(&["0-5 A"], &["0-50 A", "0-4 A"], &[(0, 1, OtherBoundary)]);
        // Discontinuous: characters in the gap are not shared.
        check(&["0-2 6-8 A"], &["3-5 A"], &[]);
        check(&["0-2 6-8 A"], &["0-8 A", "0-2 6-8 B"], &[(0, 1, OtherType)]);
        // Two at the same position with other types: the first by type.
        check(&["0-2 B", "0-2 A"], &["0-2 C"], &[(1, 0, OtherType)]);
    }

    proptest! {
        #[test]
        fn every_mention_is_in_one_place_and_order_does_not_matter(gold in any_mentions(), predicted in any_mentions()) {
            let found = pair_mentions(&gold, &predicted);
            let mut of_gold: Vec<&Mention> = found.pairs.iter().map(|pair| pair.gold).chain(found.missed.clone()).collect();
            let mut of_predicted: Vec<&Mention> =
                found.pairs.iter().map(|pair| pair.predicted).chain(found.invented.clone()).collect();
            of_gold.sort_by_key(|&mention| place_and_type(mention));
            of_predicted.sort_by_key(|&mention| place_and_type(mention));
            prop_assert_eq!(of_gold, distinct(&gold));
            prop_assert_eq!(of_predicted, distinct(&predicted));
            for pair in &found.pairs {
                prop_assert_eq!(Agreement::of(pair.gold, pair.predicted), Some(pair.agreement));
            }
            for (missed, invented) in found.missed.iter().flat_map(|m| found.invented.iter().map(move |i| (m, i))) {
                prop_assert_eq!(Agreement::of(missed, invented), None);
            }
            let reversed = |mentions: &[Mention]| -> Vec<Mention> { mentions.iter().rev().cloned().collect() };
            let (gold, predicted) = (reversed(&gold), reversed(&predicted));
            prop_assert_eq!(pair_mentions(&gold, &predicted), found);
        }
    }
}
