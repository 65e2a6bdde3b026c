use super::{merge, share};
use crate::fold::{Folded, fold};
use crate::{Document, Span};
use aho_corasick::{AhoCorasick, AhoCorasickKind};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Whether a string that is a mention in a document is a mention wherever it occurs there, and of the same type.
///
/// Considers the folded strings of mentions with one fragment, where they are not part of a longer word. An author who
/// repeats a name usually means the same thing, so the cases are worth checking; they do not prove an error.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Consistency {
    /// Strings of mentions, counted once per document.
    pub strings: usize,
    /// Strings that have a type in one place but lack it in another place where they are also a mention.
    pub differently_typed: usize,
    /// Pairs of types that strings disagree about, the most frequent first.
    pub type_pairs: Vec<TypePair>,
    /// Strings with at least one occurrence that is not a mention.
    pub partly_unlabelled: usize,
    /// Occurrences of all strings.
    #[serde(flatten)]
    pub places: ConsistencyCounts,
    /// Occurrences of the strings that have this type somewhere in the document; a string of two types counts for both.
    pub by_type: BTreeMap<String, ConsistencyCounts>,
    /// The differently typed or partly unlabelled strings, in the order of the documents.
    #[serde(skip)]
    pub cases: Vec<Inconsistency>,
}

/// Occurrences of strings.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ConsistencyCounts {
    /// Occurrences that are a mention.
    pub labelled: usize,
    /// Occurrences that share no character with a mention.
    pub unlabelled: usize,
    /// Occurrences that are part of another mention, or overlap one.
    pub inside_another: usize,
    /// `unlabelled / (labelled + unlabelled)`; `None` if both are 0.
    pub unlabelled_share: Option<f64>,
}

/// Two types that a string has in different places of one document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TypePair {
    /// The types, in alphabetical order.
    pub types: [String; 2],
    /// Strings that have one of the types in a place where they lack the other.
    pub strings: usize,
}

/// A string that is labelled inconsistently in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inconsistency {
    /// Index of the document in its split.
    pub document: usize,
    /// Occurrences with each type.
    pub labelled: BTreeMap<String, Vec<Span>>,
    /// Whether the types differ between occurrences.
    pub differently_typed: bool,
    /// Occurrences without a mention.
    pub unlabelled: Vec<Span>,
}

impl Consistency {
    /// Checks each document separately.
    pub fn of(documents: &[Document]) -> Self {
        let mut counted = Self::default();
        let mut pairs: BTreeMap<[String; 2], usize> = BTreeMap::new();
        for (at, document) in documents.iter().enumerate() {
            for occurrences in strings_of(document) {
                counted.add(at, occurrences, &mut pairs);
            }
        }
        counted.type_pairs = pairs.into_iter().map(|(types, strings)| TypePair { types, strings }).collect();
        counted.type_pairs.sort_by_key(|pair| std::cmp::Reverse(pair.strings));
        for counts in counted.by_type.values_mut().chain([&mut counted.places]) {
            counts.unlabelled_share = share(counts.unlabelled, counts.labelled + counts.unlabelled);
        }
        counted
    }

    fn add(&mut self, document: usize, occurrences: Occurrences, pairs: &mut BTreeMap<[String; 2], usize>) {
        self.strings += 1;
        self.partly_unlabelled += usize::from(!occurrences.unlabelled.is_empty());
        let labelled: BTreeSet<Span> = occurrences.labelled.values().flatten().copied().collect();
        self.places.add(labelled.len(), &occurrences);
        let mut differently_typed = false;
        let types: Vec<(&str, &BTreeSet<Span>)> =
            occurrences.labelled.iter().map(|(name, places)| (*name, places)).collect();
        for (i, &(name, places)) in types.iter().enumerate() {
            self.by_type.entry(name.to_owned()).or_default().add(places.len(), &occurrences);
            for (other, _) in types[i + 1..].iter().filter(|(_, other)| *other != places) {
                differently_typed = true;
                *pairs.entry([name.to_owned(), (*other).to_owned()]).or_default() += 1;
            }
        }
        self.differently_typed += usize::from(differently_typed);
        if differently_typed || !occurrences.unlabelled.is_empty() {
            let list = |(name, places): (&str, BTreeSet<Span>)| (name.to_owned(), places.into_iter().collect());
            self.cases.push(Inconsistency {
                document,
                labelled: occurrences.labelled.into_iter().map(list).collect(),
                differently_typed,
                unlabelled: occurrences.unlabelled,
            });
        }
    }
}

impl ConsistencyCounts {
    fn add(&mut self, labelled: usize, occurrences: &Occurrences) {
        self.labelled += labelled;
        self.unlabelled += occurrences.unlabelled.len();
        self.inside_another += occurrences.inside_another;
    }
}

/// Occurrences of one string in one document.
#[derive(Default)]
struct Occurrences<'d> {
    labelled: BTreeMap<&'d str, BTreeSet<Span>>,
    unlabelled: Vec<Span>,
    inside_another: usize,
}

/// The strings of a document's mentions, in the order of their first mentions.
fn strings_of(document: &Document) -> Vec<Occurrences<'_>> {
    let index = document.char_index();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut strings: Vec<Occurrences> = Vec::new();
    for mention in &document.mentions {
        let &[span] = mention.fragments.as_slice() else { continue };
        let string = fold(index.slice(&document.text, span).unwrap_or_default());
        if string.is_empty() {
            continue;
        }
        let number = *numbers.entry(string).or_insert(strings.len());
        if number == strings.len() {
            strings.push(Occurrences::default());
        }
        strings[number].labelled.entry(&mention.entity_type).or_default().insert(span);
    }
    let mut patterns: Vec<(String, usize)> = numbers.into_iter().collect();
    patterns.sort_unstable_by_key(|&(_, number)| number);
    // The kind of automaton that is built fastest, since each one reads only one document. Building fails only for
    // patterns of gigabytes.
    let automaton = AhoCorasick::builder()
        .kind(Some(AhoCorasickKind::NoncontiguousNFA))
        .build(patterns.iter().map(|(string, _)| string));
    let Ok(automaton) = automaton else { return strings };
    let folded = Folded::new(&document.text);
    let mut covered: Vec<Span> = document.mentions.iter().flat_map(|mention| &mention.fragments).copied().collect();
    merge(&mut covered);
    for hit in automaton.find_overlapping_iter(&folded.text) {
        if !folded.is_word_bounded(&hit.range()) {
            continue;
        }
        let span = folded.span(hit.range());
        let string = &mut strings[hit.pattern().as_usize()];
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

    /// `expected`: labelled, unlabelled, inside another; differently typed strings; unlabelled occurrences of the
    /// cases.
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
