use super::{TextPlace, count_words, share};
use crate::fold::fold;
use crate::{Document, Span, Split, Splits, sentences};
use serde::Serialize;
use std::collections::HashMap;

/// Texts that occur in two splits, or twice in one. Texts are compared folded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SharedTexts {
    /// Number of texts compared.
    pub compared: Splits<usize>,
    /// Number of texts that occurred earlier in the same split.
    pub repeated: Splits<usize>,
    /// The shared texts of each pair of splits.
    pub pairs: Vec<SharedTextsPair>,
}

/// Texts that occur in two splits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SharedTextsPair {
    /// The first split.
    pub first: Split,
    /// The second split: the one for evaluation, if `first` is the training split.
    pub second: Split,
    /// Number of distinct texts that occur in both.
    pub texts: usize,
    /// Occurrences of these texts in `first`.
    pub in_first: usize,
    /// Occurrences of these texts in `second`.
    pub in_second: usize,
    /// `in_second` as a share of the compared texts of `second`; `None` if there are none.
    pub share_of_second: Option<f64>,
    /// The first occurrence of each of these texts in either split.
    #[serde(skip)]
    pub places: Vec<[TextPlace; 2]>,
}

/// Identifiers shared by documents of two splits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SharedIds {
    /// The first split.
    pub first: Split,
    /// The second split.
    pub second: Split,
    /// Number of shared identifiers.
    pub ids: usize,
    /// Number of them whose two documents have the same text, folded. The others may be running numbers, which mean
    /// nothing.
    pub same_text: usize,
}

const PAIRS: [(Split, Split); 3] = [(Split::Train, Split::Dev), (Split::Train, Split::Test), (Split::Dev, Split::Test)];

/// Minimum words of a compared sentence. Shorter ones are headings and phrases that any two documents may share.
pub(super) const LEAST_WORDS: usize = 5;

/// Compares whole documents, except those without a visible character.
pub fn shared_documents(splits: &Splits<&[Document]>) -> SharedTexts {
    shared(splits, |document, add| {
        let text = fold(&document.text);
        if !text.is_empty() {
            add(Span::new(0, document.text.chars().count()), text);
        }
    })
}

/// Compares [`sentences`] of five words or more: those that the corpus marks, or else those found in the text. Wrong
/// boundaries are the same in every copy.
pub fn shared_sentences(splits: &Splits<&[Document]>) -> SharedTexts {
    shared(splits, |document, add| {
        let index = document.char_index();
        for span in sentences(document) {
            let text = index.slice(&document.text, span).unwrap_or_default();
            if count_words(text) >= LEAST_WORDS {
                let start = span.start + text.chars().take_while(|char| char.is_whitespace()).count();
                add(Span::new(start, start + text.trim().chars().count()), fold(text));
            }
        }
    })
}

/// Compares identifiers.
pub fn shared_ids(splits: &Splits<&[Document]>) -> Vec<SharedIds> {
    let by_id = splits.map(|_, documents| -> HashMap<&str, &Document> {
        documents.iter().map(|document| (document.id.as_str(), document)).collect()
    });
    let compare = |(first, second)| {
        let common = splits.get(second).iter().filter_map(|document| {
            let other = by_id.get(first).get(document.id.as_str())?;
            Some(fold(&other.text) == fold(&document.text))
        });
        let same: Vec<bool> = common.collect();
        SharedIds { first, second, ids: same.len(), same_text: same.iter().filter(|&&same| same).count() }
    };
    PAIRS.into_iter().map(compare).collect()
}

/// One text: for each split its number of occurrences, and the first of them.
#[derive(Clone, Copy, Default)]
struct Text([(usize, Option<TextPlace>); 3]);

/// Compares the texts that `texts_of` returns for each document.
fn shared(splits: &Splits<&[Document]>, texts_of: impl Fn(&Document, &mut dyn FnMut(Span, String))) -> SharedTexts {
    let mut numbers: HashMap<String, usize> = HashMap::new();
    // In the order of their first occurrences, which a map would not preserve.
    let mut texts: Vec<Text> = Vec::new();
    for (split, documents) in splits.iter() {
        for (document, at) in documents.iter().zip(0..) {
            texts_of(document, &mut |span, text| {
                let number = *numbers.entry(text).or_insert(texts.len());
                if number == texts.len() {
                    texts.push(Text::default());
                }
                let (count, first) = &mut texts[number].0[split as usize];
                *count += 1;
                first.get_or_insert(TextPlace { document: at, span });
            });
        }
    }
    let compared = splits.map(|split, _| texts.iter().map(|text| text.0[split as usize].0).sum::<usize>());
    let repeated = splits.map(|split, _| texts.iter().map(|text| text.0[split as usize].0.saturating_sub(1)).sum());
    let compare = |(first, second): (Split, Split)| {
        let mut pair = SharedTextsPair {
            first,
            second,
            texts: 0,
            in_first: 0,
            in_second: 0,
            share_of_second: None,
            places: Vec::new(),
        };
        for text in &texts {
            let [(here, here_first), (there, there_first)] = [text.0[first as usize], text.0[second as usize]];
            if let (Some(here_first), Some(there_first)) = (here_first, there_first) {
                pair.texts += 1;
                pair.in_first += here;
                pair.in_second += there;
                pair.places.push([here_first, there_first]);
            }
        }
        pair.share_of_second = share(pair.in_second, *compared.get(second));
        pair
    };
    SharedTexts { pairs: PAIRS.into_iter().map(compare).collect(), compared, repeated }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(texts: &[(&str, &str)]) -> Vec<Document> {
        texts.iter().map(|(id, text)| Document::new(*id, *text)).collect()
    }

    /// Two locations, each a document of a split.
    type Pair = [(usize, usize); 2];

    /// `expected`: repeated in train, and (texts, in train, in test, places) of train and test.
    fn check(
        count: fn(&Splits<&[Document]>) -> SharedTexts,
        train: &[(&str, &str)],
        test: &[(&str, &str)],
        expected: (usize, [usize; 3], &[Pair]),
    ) {
        let (train, test) = (documents(train), documents(test));
        let found = count(&Splits { train: &train, dev: &[], test: &test });
        let pair = &found.pairs[1];
        assert_eq!((pair.first, pair.second), (Split::Train, Split::Test));
        let places: Vec<[(usize, usize); 2]> =
            pair.places.iter().map(|places| places.map(|place| (place.document, place.span.start))).collect();
        let counts = [pair.texts, pair.in_first, pair.in_second];
        assert_eq!((found.repeated.train, counts, places.as_slice()), expected);
        assert_eq!(pair.share_of_second, share(pair.in_second, found.compared.test));
        assert_eq!((found.compared.dev, found.pairs[0].share_of_second), (0, None));
    }

    #[test]
    fn documents_are_compared_without_case_and_whitespace() {
        let check = |train, test, expected| check(shared_documents, train, test, expected);
        check(&[], &[], (0, [0; 3], &[]));
        check(&[("1", "a b"), ("2", " A\nB ")], &[("3", "a c"), ("4", "a  b")], (1, [1, 2, 1], &[[(0, 0), (1, 0)]]));
        check(&[("1", ""), ("2", "x")], &[("3", "\n"), ("4", "y")], (0, [0; 3], &[]));
    }

    #[test]
    fn sentences_are_compared_from_five_words_on() {
        let check = |train, test, expected| check(shared_sentences, train, test, expected);
        check(&[("1", "No known drug allergies.")], &[("2", "No known drug allergies.")], (0, [0; 3], &[]));
        check(
            &[("1", "First. He was sent home today. He WAS sent  home today."), ("2", "He was sent home today.")],
            &[("3", "other"), ("4", "He was sent home today.")],
            (2, [1, 3, 1], &[[(0, 7), (1, 0)]]),
        );
    }

    #[test]
    fn the_same_id_says_more_where_the_text_is_the_same() {
        let (train, test) = (documents(&[("1", "a"), ("2", "b"), ("3", "c")]), documents(&[("2", "B"), ("1", "x")]));
        let found = shared_ids(&Splits { train: &train, dev: &[], test: &test });
        let counts: Vec<(usize, usize)> = found.iter().map(|pair| (pair.ids, pair.same_text)).collect();
        assert_eq!(counts, [(0, 0), (2, 1), (0, 0)]);
    }
}
