use super::{merge, share};
use crate::fold::{Folded, fold};
use crate::{Document, Span};
use aho_corasick::{AhoCorasick, AhoCorasickKind};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Whether a string that is a mention in a document is one wherever it stands there, and of the same type.
///
/// Strings are those of mentions of one fragment, folded; they are looked for where no letter or digit goes on at either
/// end. An author who names a thing twice means the same more often than not, so these are places to look at; they are
/// no proof of a fault.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Consistency {
    /// Strings of mentions, each counted once for each document.
    pub strings: usize,
    /// Strings that have a type at one place, and at another place, where they are a mention, too, have it not.
    pub differently_typed: usize,
    /// Strings at odds about two types, for each two, the most frequent first.
    pub type_pairs: Vec<TypePair>,
    /// Strings with at least one place that carries no mention.
    pub partly_unlabelled: usize,
    /// Places of all strings.
    #[serde(flatten)]
    pub places: ConsistencyCounts,
    /// Places of the strings that somewhere in the document have this type; a string of two types counts for both.
    pub by_type: BTreeMap<String, ConsistencyCounts>,
    /// The strings that are differently typed or partly unlabelled, in the order of the documents.
    #[serde(skip)]
    pub cases: Vec<Inconsistency>,
}

/// Places of strings.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ConsistencyCounts {
    /// Places where the string is a mention.
    pub labelled: usize,
    /// Places where the string stands and no character of it is in a mention.
    pub unlabelled: usize,
    /// Places where the string stands and is a part of another mention, or shares a part with one.
    pub inside_another: usize,
    /// `unlabelled / (labelled + unlabelled)`; none where there is neither.
    pub unlabelled_share: Option<f64>,
}

/// Two types that strings have at different places of one document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TypePair {
    /// The types, in alphabetical order.
    pub types: [String; 2],
    /// Strings that have one of the types at a place where they have not the other.
    pub strings: usize,
}

/// A string that is not labelled alike wherever it stands in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inconsistency {
    /// Place of the document in its split.
    pub document: usize,
    /// Places with each type.
    pub labelled: BTreeMap<String, Vec<Span>>,
    /// Whether the types differ between places.
    pub differently_typed: bool,
    /// Places without a mention.
    pub unlabelled: Vec<Span>,
}

impl Consistency {
    /// Looks through documents, each for itself.
    pub fn of(documents: &[Document]) -> Self {
        let mut counted = Self::default();
        let mut pairs: BTreeMap<[String; 2], usize> = BTreeMap::new();
        for (at, document) in documents.iter().enumerate() {
            for found in strings_of(document) {
                counted.add(at, found, &mut pairs);
            }
        }
        counted.type_pairs = pairs.into_iter().map(|(types, strings)| TypePair { types, strings }).collect();
        counted.type_pairs.sort_by_key(|pair| std::cmp::Reverse(pair.strings));
        for counts in counted.by_type.values_mut().chain([&mut counted.places]) {
            counts.unlabelled_share = share(counts.unlabelled, counts.labelled + counts.unlabelled);
        }
        counted
    }

    fn add(&mut self, document: usize, found: Found, pairs: &mut BTreeMap<[String; 2], usize>) {
        self.strings += 1;
        self.partly_unlabelled += usize::from(!found.unlabelled.is_empty());
        let labelled: BTreeSet<Span> = found.labelled.values().flatten().copied().collect();
        self.places.add(labelled.len(), &found);
        let mut differently_typed = false;
        let types: Vec<(&str, &BTreeSet<Span>)> = found.labelled.iter().map(|(name, places)| (*name, places)).collect();
        for (i, &(name, places)) in types.iter().enumerate() {
            self.by_type.entry(name.to_owned()).or_default().add(places.len(), &found);
            for (other, _) in types[i + 1..].iter().filter(|(_, other)| *other != places) {
                differently_typed = true;
                *pairs.entry([name.to_owned(), (*other).to_owned()]).or_default() += 1;
            }
        }
        self.differently_typed += usize::from(differently_typed);
        if differently_typed || !found.unlabelled.is_empty() {
            let list = |(name, places): (&str, BTreeSet<Span>)| (name.to_owned(), places.into_iter().collect());
            self.cases.push(Inconsistency {
                document,
                labelled: found.labelled.into_iter().map(list).collect(),
                differently_typed,
                unlabelled: found.unlabelled,
            });
        }
    }
}

impl ConsistencyCounts {
    fn add(&mut self, labelled: usize, found: &Found) {
        self.labelled += labelled;
        self.unlabelled += found.unlabelled.len();
        self.inside_another += found.inside_another;
    }
}

/// Where one string stands in one document.
#[derive(Default)]
struct Found<'d> {
    labelled: BTreeMap<&'d str, BTreeSet<Span>>,
    unlabelled: Vec<Span>,
    inside_another: usize,
}

/// The strings of a document's mentions, in the order of their first mentions.
fn strings_of(document: &Document) -> Vec<Found<'_>> {
    let index = document.char_index();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut strings: Vec<Found> = Vec::new();
    for mention in &document.mentions {
        let &[span] = mention.fragments.as_slice() else { continue };
        let string = fold(index.slice(&document.text, span).unwrap_or_default());
        if string.is_empty() {
            continue;
        }
        let number = *numbers.entry(string).or_insert(strings.len());
        if number == strings.len() {
            strings.push(Found::default());
        }
        strings[number].labelled.entry(&mention.entity_type).or_default().insert(span);
    }
    let mut patterns: Vec<(String, usize)> = numbers.into_iter().collect();
    patterns.sort_unstable_by_key(|&(_, number)| number);
    // The kind that is built fastest: each automaton reads one document. It fails on patterns of gigabytes only.
    let automaton = AhoCorasick::builder()
        .kind(Some(AhoCorasickKind::NoncontiguousNFA))
        .build(patterns.iter().map(|(string, _)| string));
    let Ok(automaton) = automaton else { return strings };
    let folded = Folded::new(&document.text);
    let mut covered: Vec<Span> = document.mentions.iter().flat_map(|mention| &mention.fragments).copied().collect();
    merge(&mut covered);
    for found in automaton.find_overlapping_iter(&folded.text) {
        if !folded.is_word_bounded(&found.range()) {
            continue;
        }
        let span = folded.span(found.range());
        let string = &mut strings[found.pattern().as_usize()];
        if string.labelled.values().any(|places| places.contains(&span)) {
            continue;
        }
        let next = covered.partition_point(|covered| covered.end <= span.start);
        if covered.get(next).is_some_and(|covered| covered.overlaps(span)) {
            string.inside_another += 1;
        } else {
            string.unlabelled.push(span);
        }
    }
    strings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mention;

    /// `expected`: labelled, unlabelled, inside another; differently typed strings; places of the cases' unlabelled.
    fn check(text: &str, mentions: &[(usize, usize, &str)], expected: ([usize; 3], usize, &[(usize, usize)])) {
        let mentions = mentions.iter().map(|&(start, end, kind)| Mention::new(Span::new(start, end), kind)).collect();
        let found = Consistency::of(&[Document { mentions, ..Document::new("1", text) }]);
        let ConsistencyCounts { labelled, unlabelled, inside_another, unlabelled_share } = found.places;
        let places: Vec<(usize, usize)> =
            found.cases.iter().flat_map(|case| &case.unlabelled).map(|span| (span.start, span.end)).collect();
        assert_eq!(([labelled, unlabelled, inside_another], found.differently_typed, places.as_slice()), expected);
        assert_eq!(unlabelled_share, share(unlabelled, labelled + unlabelled));
        assert_eq!(found.cases.iter().filter(|case| case.differently_typed).count(), found.differently_typed);
        assert_eq!(found.cases.iter().filter(|case| !case.unlabelled.is_empty()).count(), found.partly_unlabelled);
        assert!(found.type_pairs.iter().map(|pair| pair.strings).sum::<usize>() >= found.differently_typed);
    }

    #[test]
    fn strings_are_found_as_words_in_any_case() {
        check("", &[], ([0, 0, 0], 0, &[]));
        check("pain", &[(0, 4, "P")], ([1, 0, 0], 0, &[]));
        check("pain PAIN painful, (Pain)", &[(0, 4, "P")], ([1, 2, 0], 0, &[(5, 9), (20, 24)]));
        check("chest pain. Chest\n\n pain", &[(0, 10, "P")], ([1, 1, 0], 0, &[(12, 24)]));
        check("İ.K. i\u{307}", &[(0, 1, "P")], ([1, 1, 0], 0, &[(5, 7)]));
        check("5-HT 5-HT3 [5-HT]6", &[(0, 4, "C")], ([1, 1, 0], 0, &[(12, 16)]));
    }

    #[test]
    fn a_part_of_another_mention_is_not_unlabelled() {
        check("pain, chest pain, pain", &[(0, 4, "P"), (6, 16, "P")], ([2, 1, 1], 0, &[(18, 22)]));
        check("a b, a b c", &[(0, 3, "X"), (7, 10, "X")], ([2, 0, 1], 0, &[]));
    }

    #[test]
    fn types_are_at_odds_where_one_place_has_one_of_them_alone() {
        check("x, x", &[(0, 1, "A"), (3, 4, "B")], ([2, 0, 0], 1, &[]));
        check("x, x", &[(0, 1, "A"), (3, 4, "A"), (0, 1, "B")], ([2, 0, 0], 1, &[]));
        check("x, x", &[(0, 1, "A"), (3, 4, "A"), (0, 1, "B"), (3, 4, "B")], ([2, 0, 0], 0, &[]));
    }

    #[test]
    fn counts_of_types_and_pairs() {
        let mention = |start, kind: &str| Mention::new(Span::new(start, start + 1), kind);
        let document = |id: &str| Document {
            mentions: vec![mention(0, "B"), mention(2, "A"), mention(6, "B")],
            ..Document::new(id, "x x x y")
        };
        let found = Consistency::of(&[document("1"), document("2")]);
        assert_eq!((found.strings, found.differently_typed, found.partly_unlabelled), (4, 2, 2));
        assert_eq!(found.type_pairs, [TypePair { types: ["A".to_owned(), "B".to_owned()], strings: 2 }]);
        let counts = |labelled, unlabelled| ConsistencyCounts {
            labelled,
            unlabelled,
            inside_another: 0,
            unlabelled_share: share(unlabelled, labelled + unlabelled),
        };
        assert_eq!(found.places, counts(6, 2));
        assert_eq!(found.by_type["A"], counts(2, 2));
        assert_eq!(found.by_type["B"], counts(4, 2));
        assert_eq!(Consistency::of(&[]).places.unlabelled_share, None);
    }
}
