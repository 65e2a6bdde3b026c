//! Texts that resemble a text: the cosine of TF-IDF vectors of their character 3-grams.
//!
//! The method of scispaCy's candidate generator (Neumann et al. 2019), over an inverted index. The rare grams of the query come first. A text that has none of them yet cannot exceed the length of
//! what is left of the query's vector (Cauchy-Schwarz), so the long lists of common grams are seldom read. Only texts
//! whose bound reaches the best ones are compared in full, by the list of grams that the file has of each text.
//!
//! The answer is exact as long as this takes no more than [`BUDGET`] postings. With millions of texts, common grams do not
//! bring new ones any more: then the texts that share most with the rare grams are compared in full.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use rayon::prelude::*;

use crate::layout::{put_varint, take_varint, u32_at, u64_at};

/// The different grams of a text in their order, with their counts. Every word has a blank on both sides, and a gram
/// stays within a word.
pub fn grams_of(text: &str) -> Vec<(u64, u32)> {
    const BITS: u32 = 21;
    const BLANK: u64 = ' ' as u64;
    let mut grams = Vec::with_capacity(text.len() + 2);
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let mut gram = BLANK;
        let mut length = 1;
        for char in word.chars().map(u64::from).chain([BLANK]) {
            gram = (gram << BITS | char) & ((1 << (3 * BITS)) - 1);
            length += 1;
            if length >= 3 {
                grams.push(gram);
            }
        }
    }
    grams.sort_unstable();
    let counted = grams.chunk_by(|one, other| one == other);
    counted.map(|run| (run[0], run.len() as u32)).collect()
}

/// Weight of a gram that `count` of `texts` texts have.
fn weight(texts: usize, count: u32) -> f64 {
    ((1.0 + texts as f64) / (1.0 + f64::from(count))).ln() + 1.0
}

/// The index as it is built. The layout of the parts is that of the file. Grams are numbered by the number of their
/// texts, the most common first.
#[derive(Default)]
pub struct GramIndex {
    pub grams: Vec<u64>,
    pub counts: Vec<u32>,
    pub places: Vec<u64>,
    pub postings: Vec<u8>,
    pub text_places: Vec<u64>,
    pub text_grams: Vec<u8>,
    pub norms: Vec<f32>,
}

/// Texts that are taken apart at the same time.
const BATCH: usize = 1 << 16;

impl GramIndex {
    pub fn of(texts: &[String]) -> Self {
        #[derive(Default)]
        struct List {
            bytes: Vec<u8>,
            last: u64,
            count: u32,
        }
        let mut lists: Vec<(u64, List)> = Vec::new();
        let mut numbers: GramMap<usize> = GramMap::default();
        for (batch, some) in texts.chunks(BATCH).enumerate() {
            let all: Vec<Vec<(u64, u32)>> = some.par_iter().map(|text| grams_of(text)).collect();
            for (at, grams) in all.into_iter().enumerate() {
                let text = (batch * BATCH + at) as u64;
                for (gram, count) in grams {
                    let list = *numbers.entry(gram).or_insert_with(|| {
                        lists.push((gram, List::default()));
                        lists.len() - 1
                    });
                    let list = &mut lists[list].1;
                    put_counted(&mut list.bytes, text - list.last, count);
                    list.last = text;
                    list.count += 1;
                }
            }
        }
        lists.sort_unstable_by_key(|(gram, list)| (std::cmp::Reverse(list.count), *gram));
        let mut index = Self { places: vec![0], text_places: vec![0], ..Default::default() };
        for (number, (gram, list)) in lists.into_iter().enumerate() {
            numbers.insert(gram, number);
            index.grams.push(gram);
            index.counts.push(list.count);
            index.postings.extend_from_slice(&list.bytes);
            index.places.push(index.postings.len() as u64);
        }
        let weights: Vec<f64> = index.counts.iter().map(|count| weight(texts.len(), *count)).collect();
        for some in texts.chunks(BATCH) {
            let all: Vec<(Vec<u8>, f32)> = some
                .par_iter()
                .map(|text| {
                    let mut grams: Vec<(usize, u32)> =
                        grams_of(text).into_iter().map(|(gram, count)| (numbers[&gram], count)).collect();
                    grams.sort_unstable();
                    let mut bytes = Vec::with_capacity(2 * grams.len());
                    let mut square = 0.0;
                    for (gram, count) in grams {
                        put_counted(&mut bytes, gram as u64, count);
                        square += (f64::from(count) * weights[gram]).powi(2);
                    }
                    (bytes, square.sqrt() as f32)
                })
                .collect();
            for (bytes, norm) in all {
                index.text_grams.extend_from_slice(&bytes);
                index.text_places.push(index.text_grams.len() as u64);
                index.norms.push(norm);
            }
        }
        index
    }
}

/// Twice the number, plus one if a count other than 1 follows.
fn put_counted(bytes: &mut Vec<u8>, number: u64, count: u32) {
    put_varint(bytes, number << 1 | u64::from(count > 1));
    if count > 1 {
        put_varint(bytes, u64::from(count));
    }
}

#[inline]
fn take_counted(bytes: &mut &[u8]) -> Option<(u64, u32)> {
    let number = take_varint(bytes)?;
    let count = if number & 1 == 0 { 1 } else { take_varint(bytes)? as u32 };
    Some((number >> 1, count))
}

#[inline]
fn each_posting(mut bytes: &[u8], mut each: impl FnMut(u32, u32)) {
    let mut text = 0;
    while let Some((distance, count)) = take_counted(&mut bytes) {
        text += distance;
        each(text as u32, count);
    }
}

/// Hashes grams, which are spread well by one multiplication.
#[derive(Default)]
pub struct GramHasher(u64);

impl Hasher for GramHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

type GramMap<V> = HashMap<u64, V, BuildHasherDefault<GramHasher>>;

/// Where the list of a gram is, and what the gram weighs.
#[derive(Clone, Copy)]
struct Gram {
    start: usize,
    end: usize,
    count: u32,
    weight: f64,
}

/// The grams of an index. There are only thousands, so that they are in memory.
pub struct Dictionary {
    numbers: GramMap<u32>,
    grams: Vec<Gram>,
    texts: usize,
}

impl Dictionary {
    /// From the parts of a [`GramIndex`] of `texts` texts. `None` if they contradict each other.
    pub fn of(grams: &[u8], counts: &[u8], places: &[u8], postings: usize, texts: usize) -> Option<Self> {
        let mut dictionary = Self { numbers: GramMap::default(), grams: Vec::new(), texts };
        for at in 0..grams.len() / 8 {
            let (start, end) = (u64_at(places, at)? as usize, u64_at(places, at + 1)? as usize);
            let count = u32_at(counts, at)?;
            if start > end || end > postings {
                return None;
            }
            dictionary.numbers.insert(u64_at(grams, at)?, at as u32);
            dictionary.grams.push(Gram { start, end, count, weight: weight(texts, count) });
        }
        Some(dictionary)
    }
}

/// The index as it is read.
pub struct Grams<'v> {
    pub dictionary: &'v Dictionary,
    pub postings: &'v [u8],
    pub text_places: &'v [u8],
    pub text_grams: &'v [u8],
    pub norms: &'v [u8],
}

/// Memory of a search, to be used again.
#[derive(Default)]
pub struct Scratch {
    sums: Vec<Sums>,
    touched: Vec<u32>,
    /// The query's vector, of length one. All zero between searches.
    shares: Vec<f64>,
}

/// What is known of a text: its product with the query in the grams so far, and the square of the length of its vector
/// in them.
#[derive(Clone, Copy, Default, PartialEq)]
struct Sums {
    product: f32,
    square: f32,
}

/// Partial sums are of single precision.
const SLACK: f32 = 1e-4;
/// How many postings bring candidates.
pub const BUDGET: u64 = 1 << 16;
/// How many candidates are compared in full if there are more postings.
const COMPARED: usize = 1 << 10;
/// Texts that are looked at take the time of so many postings each.
const LOOK: u64 = 1;
/// Comparing one text in full takes the time of so many postings.
const COMPARISON: u64 = 24;

impl Grams<'_> {
    /// The `k` texts that resemble `text` the most, with their cosines of at least `floor`: the best first, and of
    /// equals the one with the smaller number. Only texts that `is_wanted`.
    pub fn nearest(
        &self,
        text: &str,
        k: usize,
        floor: f64,
        budget: u64,
        scratch: &mut Scratch,
        mut is_wanted: impl FnMut(u32) -> bool,
    ) -> Vec<(u32, f64)> {
        let Scratch { sums, touched, shares } = scratch;
        sums.resize(self.norms.len() / 4, Sums::default());
        shares.resize(self.dictionary.grams.len(), 0.0);
        let unknown = weight(self.dictionary.texts, 0);
        let mut square = 0.0;
        let mut query: Vec<(u32, Gram, f64)> = Vec::new();
        for (gram, count) in grams_of(text) {
            let number = self.dictionary.numbers.get(&gram).copied();
            let value =
                f64::from(count) * number.map_or(unknown, |number| self.dictionary.grams[number as usize].weight);
            square += value * value;
            query.extend(number.map(|number| (number, self.dictionary.grams[number as usize], value)));
        }
        if square == 0.0 || k == 0 {
            return Vec::new();
        }
        for (number, _, value) in &mut query {
            *value /= square.sqrt();
            shares[*number as usize] = *value;
        }
        // The rare ones first.
        query.sort_unstable_by_key(|(number, ..)| std::cmp::Reverse(*number));

        let mut left: f64 = query.iter().map(|(.., share)| share * share).sum();
        let mut postings: u64 = query.iter().map(|(_, gram, _)| u64::from(gram.count)).sum();
        let mut since_look = 0;
        let mut read = 0;
        let mut is_over = false;
        for (_, gram, share) in &query {
            read += u64::from(gram.count);
            is_over = read > budget && !touched.is_empty();
            if is_over {
                break;
            }
            let rest = left.max(0.0).sqrt() as f32;
            // New texts cannot reach the floor. The look at all candidates must be worth its time.
            if rest + SLACK < 1.0 && postings > 1024 && since_look + u64::from(gram.count) > LOOK * touched.len() as u64
            {
                since_look = 0;
                let bar = self.bar(sums, touched, k, floor);
                if rest + SLACK < bar {
                    let near = touched.iter().filter(|text| self.bound(sums, **text, rest) >= bar).count();
                    if near as u64 * COMPARISON < postings {
                        break;
                    }
                }
            }
            let (weight, share32) = (gram.weight as f32, *share as f32);
            each_posting(self.postings.get(gram.start..gram.end).unwrap_or_default(), |text, count| {
                let Some(sum) = sums.get_mut(text as usize) else { return };
                if sum.square == 0.0 {
                    touched.push(text);
                }
                let value = count as f32 * weight;
                sum.product += value * share32;
                sum.square += value * value;
            });
            left -= share * share;
            postings -= u64::from(gram.count);
            since_look += u64::from(gram.count);
        }

        let rest = left.max(0.0).sqrt() as f32;
        let bar = self.bar(sums, touched, k, floor) - SLACK;
        let mut bounds: Vec<(f32, u32)> = Vec::new();
        if is_over && touched.len() > COMPARED {
            let score = |text: &u32| sums[*text as usize].product / self.norm(*text);
            let mut scores: Vec<(f32, u32)> = touched.iter().map(|text| (score(text), *text)).collect();
            scores.select_nth_unstable_by(COMPARED, |one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
            scores.truncate(COMPARED);
            bounds.extend(scores.iter().map(|(_, text)| (self.bound(sums, *text, rest), *text)));
        } else {
            bounds.extend(touched.iter().map(|text| (self.bound(sums, *text, rest), *text)));
        }
        bounds.retain(|(bound, _)| *bound >= bar);
        touched.drain(..).for_each(|text| sums[text as usize] = Sums::default());
        bounds.sort_unstable_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
        let mut best: Vec<(u32, f64)> = Vec::new();
        for (bound, text) in bounds {
            if best.len() >= k && f64::from(bound) < best[k - 1].1 {
                break;
            }
            let cosine = self.cosine(shares, text);
            if cosine >= floor && (best.len() < k || cosine >= best[k - 1].1) && is_wanted(text) {
                let at = best.partition_point(|(other, score)| *score > cosine || *score == cosine && *other < text);
                best.insert(at, (text, cosine));
                best.truncate(k);
            }
        }
        query.iter().for_each(|(number, ..)| shares[*number as usize] = 0.0);
        best
    }

    /// What the `k`-th best text reaches at least.
    fn bar(&self, sums: &[Sums], touched: &[u32], k: usize, floor: f64) -> f32 {
        // Descending.
        let mut best: Vec<f32> = Vec::with_capacity(k + 1);
        let mut bar = floor as f32;
        for text in touched {
            let score = sums[*text as usize].product / self.norm(*text);
            if score > bar {
                best.insert(best.partition_point(|other| *other > score), score);
                best.truncate(k);
                if best.len() == k {
                    bar = bar.max(best[k - 1]);
                }
            }
        }
        bar
    }

    /// What a text reaches at most, if `rest` is the length of what is left of the query.
    fn bound(&self, sums: &[Sums], text: u32, rest: f32) -> f32 {
        let Sums { product, square } = sums[text as usize];
        let norm = self.norm(text);
        product / norm + rest * (1.0 - square / (norm * norm)).max(0.0).sqrt() + SLACK
    }

    fn cosine(&self, shares: &[f64], text: u32) -> f64 {
        let place = |at| u64_at(self.text_places, at).unwrap_or_default() as usize;
        let mut bytes = self.text_grams.get(place(text as usize)..place(text as usize + 1)).unwrap_or_default();
        let (mut product, mut square) = (0.0, 0.0);
        while let Some((number, count)) = take_counted(&mut bytes) {
            let Some(gram) = self.dictionary.grams.get(number as usize) else { break };
            let value = f64::from(count) * gram.weight;
            product += shares[number as usize] * value;
            square += value * value;
        }
        if square > 0.0 { product / square.sqrt() } else { 0.0 }
    }

    fn norm(&self, text: u32) -> f32 {
        let at = text as usize * 4;
        self.norms.get(at..at + 4).and_then(|bytes| Some(f32::from_le_bytes(bytes.try_into().ok()?))).unwrap_or(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes<T: Copy, const N: usize>(numbers: &[T], le: fn(T) -> [u8; N]) -> Vec<u8> {
        numbers.iter().flat_map(|number| le(*number)).collect()
    }

    /// The cosine by the definition, without an index.
    fn plain(texts: &[String], query: &str, text: &str) -> f64 {
        let vector = |text: &str| -> HashMap<String, f64> {
            let mut vector: HashMap<String, f64> = HashMap::new();
            for word in text.split_whitespace() {
                let chars: Vec<char> = format!(" {word} ").chars().collect();
                for gram in chars.windows(3) {
                    *vector.entry(gram.iter().collect()).or_default() += 1.0;
                }
            }
            let has = |text: &str, gram: &str| text.split_whitespace().any(|word| format!(" {word} ").contains(gram));
            for (gram, value) in &mut vector {
                let count = texts.iter().filter(|text| has(text, gram)).count() as f64;
                *value *= ((1.0 + texts.len() as f64) / (1.0 + count)).ln() + 1.0;
            }
            vector
        };
        let (one, other) = (vector(query), vector(text));
        let length = |vector: &HashMap<String, f64>| vector.values().map(|value| value * value).sum::<f64>().sqrt();
        let product: f64 = one.iter().map(|(gram, value)| value * other.get(gram).unwrap_or(&0.0)).sum();
        product / length(&one) / length(&other)
    }

    #[test]
    fn grams_stay_within_words() {
        let letters = |gram: u64| [gram >> 42, gram >> 21 & 0x1f_ffff, gram & 0x1f_ffff].map(|c| c as u8 as char);
        let grams: Vec<String> = grams_of("a aab").iter().map(|(gram, _)| letters(*gram).iter().collect()).collect();
        assert_eq!(grams, [" a ", " aa", "aab", "ab "]);
        assert_eq!(grams_of("aaaaa").iter().map(|(_, count)| *count).max(), Some(3));
    }

    proptest! {
        #[test]
        fn the_nearest_are_those_of_a_plain_computation(
            texts in proptest::collection::btree_set("[abé]{1,4}( [abc]{1,5}){0,2}", 1..40),
            query in "[abé]{1,4}( [abcd]{1,5}){0,2}",
            k in 1usize..8,
            floor in 0.01f64..0.8,
        ) {
            let texts: Vec<String> = texts.into_iter().collect();
            let index = GramIndex::of(&texts);
            let dictionary = Dictionary::of(
                &bytes(&index.grams, u64::to_le_bytes),
                &bytes(&index.counts, u32::to_le_bytes),
                &bytes(&index.places, u64::to_le_bytes),
                index.postings.len(),
                texts.len(),
            );
            let grams = Grams {
                dictionary: &dictionary.unwrap(),
                postings: &index.postings,
                text_places: &bytes(&index.text_places, u64::to_le_bytes),
                text_grams: &index.text_grams,
                norms: &bytes(&index.norms, f32::to_le_bytes),
            };
            let mut scratch = Scratch::default();
            let found = grams.nearest(&query, k, floor, BUDGET, &mut scratch, |_| true);
            let again = grams.nearest(&query, k, floor, BUDGET, &mut scratch, |_| true);
            prop_assert_eq!(&found, &again);
            let mut all: Vec<f64> = texts.iter().map(|text| plain(&texts, &query, text)).collect();
            for (text, cosine) in &found {
                prop_assert!((all[*text as usize] - cosine).abs() < 1e-9);
            }
            all.retain(|cosine| *cosine >= floor);
            all.sort_by(|one, other| other.total_cmp(one));
            all.truncate(k);
            prop_assert_eq!(all.len(), found.len());
            for (plain, (_, cosine)) in all.iter().zip(&found) {
                prop_assert!((plain - cosine).abs() < 1e-9);
            }
        }
    }
}
