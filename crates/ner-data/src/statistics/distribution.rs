use super::{count_words, share};
use crate::{CharIndex, Document, EncodedDocument, Splits};
use serde::Serialize;
use std::collections::BTreeMap;

/// Size distributions of documents and mentions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distributions {
    /// Unicode characters per document.
    pub document_characters: Distribution,
    /// Words per document.
    pub document_words: Distribution,
    /// Word pieces per document, without special tokens; `None` without an encoder.
    pub document_tokens: Option<Distribution>,
    /// Mentions per document.
    pub document_mentions: Distribution,
    /// Unicode characters per mention, over its fragments and excluding the gaps.
    pub mention_characters: Distribution,
    /// Words per mention over its fragments, whole or partial.
    pub mention_words: Distribution,
}

impl Distributions {
    /// Measures documents and mentions, and word pieces if the encoded documents are given.
    pub fn of(splits: &Splits<&[Document]>, encoded: Option<&Splits<Vec<EncodedDocument>>>) -> Self {
        let sizes = splits.map(|_, documents| Sizes::of(documents));
        let spread = |part: fn(&Sizes) -> &Frequencies| Distribution::of(&sizes.map(|_, sizes| part(sizes).clone()));
        let tokens = |split: &Vec<EncodedDocument>| split.iter().map(|document| document.tokens.len()).collect();
        Self {
            document_characters: spread(|sizes| &sizes.document_characters),
            document_words: spread(|sizes| &sizes.document_words),
            document_tokens: encoded.map(|encoded| Distribution::of(&encoded.map(|_, split| tokens(split)))),
            document_mentions: spread(|sizes| &sizes.document_mentions),
            mention_characters: spread(|sizes| &sizes.mention_characters),
            mention_words: spread(|sizes| &sizes.mention_words),
        }
    }
}

#[derive(Default)]
struct Sizes {
    document_characters: Frequencies,
    document_words: Frequencies,
    document_mentions: Frequencies,
    mention_characters: Frequencies,
    mention_words: Frequencies,
}

impl Sizes {
    fn of(documents: &[Document]) -> Self {
        let mut sizes = Self::default();
        for document in documents {
            let index = document.char_index();
            sizes.document_characters.add(index.len());
            sizes.document_words.add(count_words(&document.text));
            sizes.document_mentions.add(document.mentions.len());
            for mention in &document.mentions {
                sizes.mention_characters.add(mention.fragments.iter().map(|fragment| fragment.len()).sum());
                sizes.mention_words.add(words_of(mention, document, &index));
            }
        }
        sizes
    }
}

/// Number of words that a mention covers, whole or in part.
pub fn words_of(mention: &crate::Mention, document: &Document, index: &CharIndex) -> usize {
    let texts = mention.fragments.iter().filter_map(|&fragment| index.slice(&document.text, fragment));
    texts.map(count_words).sum()
}

/// Frequencies of whole numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Frequencies(BTreeMap<usize, usize>);

impl Frequencies {
    fn add(&mut self, value: usize) {
        *self.0.entry(value).or_default() += 1;
    }

    fn count(&self) -> usize {
        self.0.values().sum()
    }

    /// The smallest value that at least `percent` % of the values do not exceed.
    fn quantile(&self, percent: usize) -> Option<usize> {
        let rank = (self.count() * percent).div_ceil(100).max(1);
        let mut up_to = 0;
        self.0.iter().find_map(|(&value, &count)| {
            up_to += count;
            (up_to >= rank).then_some(value)
        })
    }
}

impl FromIterator<usize> for Frequencies {
    fn from_iter<I: IntoIterator<Item = usize>>(values: I) -> Self {
        let mut frequencies = Self::default();
        values.into_iter().for_each(|value| frequencies.add(value));
        frequencies
    }
}

/// Distribution of a quantity in each split, over bins shared by the splits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distribution {
    /// Edges of the bins, ascending: bin `i` holds the values from `edges[i]` to below `edges[i + 1]`. All bins have
    /// the same width, except the last, which reaches to the largest value if that is far away. Empty if there are no
    /// values.
    pub edges: Vec<usize>,
    /// Distribution in each split.
    pub splits: Splits<Spread>,
}

/// Distribution of a quantity in one split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Number of values.
    pub count: usize,
    /// Their mean; `None` if there are no values.
    pub mean: Option<f64>,
    /// Their quantiles; `None` if there are no values.
    pub quantiles: Option<Quantiles>,
    /// Number of values in each bin.
    pub histogram: Vec<usize>,
}

/// Quantiles are values that occur: `p25` is the smallest that at least 25 % of the values do not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct Quantiles {
    pub min: usize,
    pub p5: usize,
    pub p25: usize,
    pub median: usize,
    pub p75: usize,
    pub p95: usize,
    pub max: usize,
}

/// Maximum number of bins of equal width; one more bin reaches to the largest value.
const BINS: usize = 20;

impl Distribution {
    fn of(splits: &Splits<Frequencies>) -> Self {
        let mut all = Frequencies::default();
        for (&value, &count) in splits.iter().flat_map(|(_, split)| &split.0) {
            *all.0.entry(value).or_default() += count;
        }
        let edges = edges(&all);
        let splits = splits.map(|_, frequencies| Spread::of(frequencies, &edges));
        Self { edges, splits }
    }
}

/// Bins with the smallest width (1, 2 or 5 times a power of ten) for which [`BINS`] bins reach from the smallest value
/// to the 95th percentile. If they reached to the largest, a few long documents would squeeze all others into one bin.
fn edges(values: &Frequencies) -> Vec<usize> {
    let ends = values.0.keys().next().zip(values.quantile(95)).zip(values.0.keys().next_back());
    let Some(((&min, most), &max)) = ends else { return Vec::new() };
    let widths = (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_usize.saturating_pow(power)));
    let first = |width: usize| min / width * width;
    let width = widths.into_iter().find(|&width| (most - first(width)) / width < BINS).unwrap_or(usize::MAX);
    let mut edges: Vec<usize> = (first(width)..=most).step_by(width).collect();
    // The bin after the last edge contains the 95th percentile.
    let end = edges.last().map_or(0, |last| last + width);
    edges.push(end);
    if max >= end {
        edges.push((max + 1).max(end + width));
    }
    edges
}

impl Spread {
    fn of(frequencies: &Frequencies, edges: &[usize]) -> Self {
        let mut histogram = vec![0; edges.len().saturating_sub(1)];
        for (&value, count) in &frequencies.0 {
            histogram[edges.partition_point(|&edge| edge <= value) - 1] += count;
        }
        let sum: usize = frequencies.0.iter().map(|(value, count)| value * count).sum();
        let count = frequencies.count();
        Self { count, mean: share(sum, count), quantiles: Quantiles::of(frequencies), histogram }
    }
}

impl Quantiles {
    fn of(values: &Frequencies) -> Option<Self> {
        Some(Self {
            min: values.quantile(0)?,
            p5: values.quantile(5)?,
            p25: values.quantile(25)?,
            median: values.quantile(50)?,
            p75: values.quantile(75)?,
            p95: values.quantile(95)?,
            max: values.quantile(100)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mention, Span};
    use proptest::prelude::*;

    fn distribution(train: &[usize], test: &[usize]) -> Distribution {
        let collect = |values: &[usize]| values.iter().copied().collect();
        Distribution::of(&Splits { train: collect(train), dev: collect(&[]), test: collect(test) })
    }

    #[test]
    fn bins_are_shared_and_the_last_reaches_to_the_largest_value() {
        let check = |train: &[usize], test: &[usize], edges: &[usize], train_bins: &[usize]| {
            let found = distribution(train, test);
            assert_eq!((found.edges.as_slice(), found.splits.train.histogram.as_slice()), (edges, train_bins));
        };
        check(&[], &[], &[], &[]);
        check(&[3], &[], &[3, 4], &[1]);
        check(&[1, 2, 2, 5], &[3], &[1, 2, 3, 4, 5, 6], &[1, 2, 0, 0, 1]);
        check(&[7, 38], &[9], &[6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40], &{
            let mut bins = [0; 17];
            (bins[0], bins[16]) = (1, 1);
            bins
        });
        let tail: Vec<usize> = [1; 100].into_iter().chain([2; 98]).chain([500]).collect();
        check(&tail, &[], &[1, 2, 3, 501], &[100, 98, 1]);
    }

    #[test]
    fn quantiles_are_values_that_came() {
        let check = |values: &[usize], mean: Option<f64>, expected: Option<[usize; 7]>| {
            let spread = distribution(values, &[]).splits.train;
            let quantiles = spread.quantiles.map(|q| [q.min, q.p5, q.p25, q.median, q.p75, q.p95, q.max]);
            assert_eq!((spread.mean, quantiles), (mean, expected));
        };
        check(&[], None, None);
        check(&[4], Some(4.0), Some([4; 7]));
        check(&[1, 2, 3, 10], Some(4.0), Some([1, 1, 1, 2, 3, 10, 10]));
    }

    #[test]
    fn sizes_count_fragments_and_nothing_between() {
        let apart =
            Mention { fragments: vec![Span::new(0, 4), Span::new(9, 15)], ..Mention::new(Span::new(0, 4), "X") };
        let document = Document { mentions: vec![apart], ..Document::new("1", "left and  häm\nor") };
        let splits = Splits { train: &[document][..], dev: &[], test: &[] };
        let found = Distributions::of(&splits, None);
        let mean = |distribution: &Distribution| distribution.splits.train.mean;
        assert_eq!(mean(&found.document_characters), Some(16.0));
        assert_eq!(mean(&found.document_words), Some(4.0));
        assert_eq!((mean(&found.mention_characters), mean(&found.mention_words)), (Some(10.0), Some(3.0)));
        assert_eq!(found.document_mentions.splits.dev.mean, None);
    }

    proptest! {
        #[test]
        fn every_value_is_in_one_bin(
            train in prop::collection::vec(0usize..5000, 0..40), test in prop::collection::vec(0usize..80, 0..400),
        ) {
            let found = distribution(&train, &test);
            prop_assert!(found.edges.len() <= BINS + 2);
            prop_assert!(found.edges.is_sorted());
            for (values, spread) in [(&train, &found.splits.train), (&test, &found.splits.test)] {
                prop_assert_eq!(spread.count, values.len());
                prop_assert_eq!(spread.histogram.iter().sum::<usize>(), values.len());
                for (bin, &count) in found.edges.windows(2).zip(&spread.histogram) {
                    prop_assert_eq!(values.iter().filter(|&&v| bin[0] <= v && v < bin[1]).count(), count);
                }
            }
        }
    }
}
