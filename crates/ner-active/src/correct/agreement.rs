//! Agreement of annotators on the items that both of a pair have finished.

use super::{ADJUDICATED, ItemWork, LabelledSpan, Work};
use ner_document::Document;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use unicode_segmentation::UnicodeSegmentation;

/// Agreement of two annotators.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// One annotator.
    pub first: String,
    /// The other annotator.
    pub second: String,
    /// Items that both have finished; all other numbers count only these.
    pub items: usize,
    /// Mentions that both have, with the same place and type.
    pub both: usize,
    /// Mentions that only the first has.
    pub only_first: usize,
    /// Mentions that only the second has.
    pub only_second: usize,
    /// Strict F1 of either against the other; `None` if neither has a mention. For spans, which have no true negatives,
    /// kappa tends to it (Hripcsak & Rothschild 2005).
    pub f1: Option<f64>,
    /// Number of [`words`].
    pub words: usize,
    /// Share of words with the same category; `None` without words.
    pub observed: Option<f64>,
    /// Cohen's kappa on words (Cohen 1960). `None` without words, or if both give all words the same single category,
    /// since chance alone would agree. The category of a word is the set of types of all mentions that cover any part
    /// of it: nested or overlapping mentions make a category of their own, and boundaries between adjacent mentions of
    /// one type are ignored.
    pub kappa: Option<f64>,
}

/// A mention that only some annotators have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its place and type.
    #[serde(flatten)]
    pub place: LabelledSpan,
    /// The annotators who have it.
    pub by: Vec<String>,
}

/// Differences between annotators in one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ItemDifferences {
    /// Its id.
    pub item: String,
    /// The annotators who have finished it, at least two.
    pub finished: Vec<String>,
    /// Mentions that only some of them have.
    pub differences: Vec<Difference>,
}

/// Words of a text (Unicode Standard Annex 29: segments with a letter or a digit), as character ranges.
pub fn words(text: &str) -> Vec<(usize, usize)> {
    let (mut words, mut at, mut byte) = (Vec::new(), 0, 0);
    for (start, word) in text.unicode_word_indices() {
        at += text[byte..start].chars().count();
        let end = at + word.chars().count();
        words.push((at, end));
        (at, byte) = (end, start + word.len());
    }
    words
}

fn annotators(works: &BTreeMap<String, Work>) -> Vec<(&str, &Work)> {
    works.iter().filter(|(name, _)| *name != ADJUDICATED).map(|(name, work)| (name.as_str(), work)).collect()
}

/// All pairs of annotators, in the order of their names, without adjudication.
pub fn pairs(documents: &[Document], works: &BTreeMap<String, Work>) -> Vec<Pair> {
    let annotators = annotators(works);
    let words: Vec<_> = documents.iter().map(|document| words(&document.text)).collect();
    let mut pairs = Vec::new();
    for (at, &first) in annotators.iter().enumerate() {
        pairs.extend(annotators[at + 1..].iter().map(|&second| pair(&words, first, second)));
    }
    pairs
}

fn pair(words: &[Vec<(usize, usize)>], first: (&str, &Work), second: (&str, &Work)) -> Pair {
    let (mut items, mut counts) = (0, [0; 3]);
    let mut cells: BTreeMap<[BTreeSet<&str>; 2], usize> = BTreeMap::new();
    for ((words, one), other) in words.iter().zip(first.1.items()).zip(second.1.items()) {
        if !(one.done && other.done) {
            continue;
        }
        items += 1;
        let sides = [one, other].map(|item| item.places().collect::<BTreeSet<&LabelledSpan>>());
        counts[0] += sides[0].intersection(&sides[1]).count();
        counts[1] += sides[0].difference(&sides[1]).count();
        counts[2] += sides[1].difference(&sides[0]).count();
        for &(start, end) in words {
            let labels = |item| labels_over(item, start, end);
            *cells.entry([labels(one), labels(other)]).or_default() += 1;
        }
    }
    let [both, only_first, only_second] = counts;
    let (observed, kappa) = kappa(&cells);
    let all = 2 * both + only_first + only_second;
    Pair {
        first: first.0.into(),
        second: second.0.into(),
        items,
        both,
        only_first,
        only_second,
        f1: (all > 0).then(|| 2.0 * both as f64 / all as f64),
        words: cells.values().sum(),
        observed,
        kappa,
    }
}

/// Types of the mentions that cover part of a word.
fn labels_over(item: &ItemWork, start: usize, end: usize) -> BTreeSet<&str> {
    let over = item.places().filter(|place| place.start < end && start < place.end);
    over.map(|place| place.label.as_str()).collect()
}

/// Observed agreement and kappa. `cells` counts the words by the category of each annotator.
fn kappa<Category: Ord>(cells: &BTreeMap<[Category; 2], usize>) -> (Option<f64>, Option<f64>) {
    let total: usize = cells.values().sum();
    if total == 0 {
        return (None, None);
    }
    let (mut agreed, mut sides) = (0, [BTreeMap::new(), BTreeMap::new()]);
    for ([first, second], count) in cells {
        agreed += if first == second { *count } else { 0 };
        *sides[0].entry(first).or_insert(0) += count;
        *sides[1].entry(second).or_insert(0) += count;
    }
    // In whole numbers, so that a chance agreement of 1 is recognised exactly.
    let by_chance: usize = sides[0].iter().map(|(category, count)| count * sides[1].get(category).unwrap_or(&0)).sum();
    let observed = agreed as f64 / total as f64;
    let expected = by_chance as f64 / (total * total) as f64;
    (Some(observed), (by_chance < total * total).then(|| (observed - expected) / (1.0 - expected)))
}

/// The items that two or more annotators have finished with differences.
pub fn differences(documents: &[Document], works: &BTreeMap<String, Work>) -> Vec<ItemDifferences> {
    let annotators = annotators(works);
    let item = |(at, document): (usize, &Document)| {
        let finished: Vec<_> = annotators.iter().filter(|(_, work)| work.items()[at].done).collect();
        let mut by_place: BTreeMap<&LabelledSpan, Vec<String>> = BTreeMap::new();
        for (name, work) in &finished {
            work.items()[at].places().for_each(|place| by_place.entry(place).or_default().push((*name).into()));
        }
        by_place.retain(|_, by| by.len() < finished.len());
        let difference = |(place, by): (&LabelledSpan, Vec<String>)| Difference { place: place.clone(), by };
        let differences: Vec<Difference> = by_place.into_iter().map(difference).collect();
        let finished = finished.iter().map(|(name, _)| (*name).to_owned()).collect();
        (!differences.is_empty()).then(|| ItemDifferences { item: document.id.clone(), finished, differences })
    };
    documents.iter().enumerate().filter_map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Record};
    use super::*;

    /// Start, end and type of each mention.
    type Places<'a> = &'a [(usize, usize, &'a str)];

    /// An annotator with these mentions in the items, each finished; `None` leaves an item unfinished.
    fn work(documents: &[Document], name: &str, items: &[Option<Places<'_>>]) -> (String, Work) {
        let mut work = Work::new(documents, name);
        let mut act = |at: usize, action| {
            let record = Record { n: work.last() + 1, at: String::new(), item: documents[at].id.clone(), action };
            work.apply(&record).unwrap();
        };
        for (at, places) in items.iter().enumerate() {
            let Some(places) = places else { continue };
            for &(start, end, label) in *places {
                act(at, Action::Add { mention: LabelledSpan { start, end, label: label.into() } });
            }
            act(at, Action::Done);
        }
        (name.to_owned(), work)
    }

    fn all(documents: &[Document], sides: [&[Option<Places<'_>>]; 2]) -> Pair {
        let works = ["anna", "bert"].into_iter().zip(sides).map(|(name, items)| work(documents, name, items));
        let [pair] = pairs(documents, &works.collect()).try_into().unwrap();
        pair
    }

    #[test]
    fn words_are_counted_in_characters() {
        assert_eq!(words("👩🏽‍🔬 cafe\u{301}, 2.5 mg"), [(5, 10), (12, 15), (16, 18)]);
        assert_eq!(words(" – "), []);
    }

    /// By hand. Words: a b c d e f g h i j. Anna says D of a and b (one mention) and C of d; Bert D of a, of b (two mentions),
    /// C of d and of e, and D over d and e, which nests.
    /// F1: both have C of d alone, of 2 and 5: 2 * 1 / (2 + 5).
    /// Words: a, b: D = D; c: none = none; d: {C} and {C, D}; e: none and {C, D}; f to j: none = none. Observed 8/10.
    /// Anna: D 2, C 1, none 7. Bert: D 2, CD 2, none 6. By chance: (2 * 2 + 7 * 6) / 100 = 0.46.
    /// Kappa: (0.8 - 0.46) / (1 - 0.46) = 0.34 / 0.54.
    #[test]
    fn agreement_is_what_was_computed_by_hand() {
        let documents = [Document::new("1", "a b c d e f g h i j"), Document::new("2", "k"), Document::new("3", "l")];
        let anna: &[_] = &[(0, 3, "D"), (6, 7, "C")];
        let bert: &[_] = &[(0, 1, "D"), (2, 3, "D"), (6, 7, "C"), (8, 9, "C"), (6, 9, "D")];
        let pair = all(&documents, [&[Some(anna), Some(&[]), None], &[Some(bert), None, Some(&[])]]);
        assert_eq!((pair.items, pair.both, pair.only_first, pair.only_second, pair.words), (1, 1, 1, 4, 10));
        assert!((pair.f1.unwrap() - 2.0 / 7.0).abs() < 1e-12 && (pair.observed.unwrap() - 0.8).abs() < 1e-12);
        assert!((pair.kappa.unwrap() - 0.34 / 0.54).abs() < 1e-12);

        let works = [work(&documents, "anna", &[Some(anna)]), work(&documents, "bert", &[Some(bert)])].into();
        let [item] = differences(&documents, &works).try_into().unwrap();
        assert_eq!((item.item.as_str(), item.differences.len()), ("1", 5));
        assert_eq!(
            item.differences[1],
            Difference { place: LabelledSpan { start: 0, end: 3, label: "D".into() }, by: vec!["anna".into()] }
        );
    }

    #[test]
    fn what_is_undefined_is_none() {
        let documents = [Document::new("1", "a b")];
        let nothing = all(&documents, [&[Some(&[])], &[Some(&[])]]);
        assert_eq!((nothing.f1, nothing.kappa, nothing.observed), (None, None, Some(1.0)));
        let unfinished = all(&documents, [&[Some(&[])], &[None]]);
        assert_eq!((unfinished.items, unfinished.f1, unfinished.kappa, unfinished.observed), (0, None, None, None));
        let equal = all(&documents, [&[Some(&[(0, 1, "D")])], &[Some(&[(0, 1, "D")])]]);
        assert_eq!((equal.f1, equal.kappa), (Some(1.0), Some(1.0)));
        // The lowest kappa: the annotators never agree.
        let opposite = all(&documents, [&[Some(&[(0, 1, "D")])], &[Some(&[(2, 3, "D")])]]);
        assert_eq!((opposite.f1, opposite.kappa), (Some(0.0), Some(-1.0)));
    }
}
