//! Texts that resemble a text: the cosine of TF-IDF vectors of their character 3-grams.
//!
//! The method of scispaCy's candidate generator (Neumann et al. 2019, after Soldaini & Goharian 2016), exact and over an
//! inverted index. The rare grams of the query come first. A text that has none of them yet cannot exceed the length of
//! what is left of the query's vector (Cauchy-Schwarz), so the long lists of common grams are seldom read. Only texts
//! whose bound reaches the best ones are compared in full.

use std::collections::HashMap;

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

/// The index as it is built. The layout of the parts is that of the file.
pub struct GramIndex {
    pub grams: Vec<u64>,
    pub counts: Vec<u32>,
    pub places: Vec<u64>,
    pub postings: Vec<u8>,
    pub norms: Vec<f32>,
}

impl GramIndex {
    pub fn of(texts: &[String]) -> Self {
        #[derive(Default)]
        struct List {
            bytes: Vec<u8>,
            last: u64,
            count: u32,
        }
        let mut lists: Vec<(u64, List)> = Vec::new();
        let mut numbers: HashMap<u64, usize> = HashMap::new();
        // Grams of many texts at once, lists one after the other.
        for (batch, some) in texts.chunks(1 << 16).enumerate() {
            let all: Vec<Vec<(u64, u32)>> = some.par_iter().map(|text| grams_of(text)).collect();
            for (at, grams) in all.into_iter().enumerate() {
                let text = (batch << 16 | at) as u64;
                for (gram, count) in grams {
                    let list = *numbers.entry(gram).or_insert_with(|| {
                        lists.push((gram, List::default()));
                        lists.len() - 1
                    });
                    let list = &mut lists[list].1;
                    put_varint(&mut list.bytes, (text - list.last) << 1 | u64::from(count > 1));
                    if count > 1 {
                        put_varint(&mut list.bytes, u64::from(count));
                    }
                    list.last = text;
                    list.count += 1;
                }
            }
        }
        lists.sort_unstable_by_key(|(gram, _)| *gram);
        let mut squares = vec![0.0; texts.len()];
        let mut index = Self { grams: Vec::new(), counts: Vec::new(), places: vec![0], postings: Vec::new(), norms: Vec::new() };
        for (gram, list) in lists {
            let weight = weight(texts.len(), list.count);
            each_posting(&list.bytes, |text, count| squares[text as usize] += (f64::from(count) * weight).powi(2));
            index.grams.push(gram);
            index.counts.push(list.count);
            index.postings.extend_from_slice(&list.bytes);
            index.places.push(index.postings.len() as u64);
        }
        index.norms = squares.iter().map(|square: &f64| square.sqrt() as f32).collect();
        index
    }
}

fn each_posting(mut bytes: &[u8], mut each: impl FnMut(u32, u32)) {
    let mut text = 0;
    while let Some(number) = take_varint(&mut bytes) {
        text += number >> 1;
        let count = if number & 1 == 0 { 1 } else { take_varint(&mut bytes).unwrap_or(1) };
        each(text as u32, count as u32);
    }
}

/// The index as it is read.
pub struct Grams<'v> {
    pub grams: &'v [u8],
    pub counts: &'v [u8],
    pub places: &'v [u8],
    pub postings: &'v [u8],
    pub norms: &'v [u8],
}

/// Memory of a search, to be used again.
#[derive(Default)]
pub struct Scratch {
    /// Of each text: its place among the candidates.
    slots: Vec<u32>,
    candidates: Vec<Partial>,
    lower: Vec<f32>,
}

/// What is known of a text: its product with the grams so far, and the square of the length of its vector in them.
struct Partial {
    text: u32,
    product: f32,
    square: f32,
}

struct QueryGram {
    list: Option<(usize, u32)>,
    /// Weight of the gram alone.
    weight: f64,
    /// Its share in the query's vector of length one.
    share: f64,
}

const NONE: u32 = u32::MAX;
/// Partial sums are of single precision.
const SLACK: f32 = 1e-4;
/// Lists from this length are worth a look at whether they can still change anything.
const LONG: u32 = 1 << 11;

impl Grams<'_> {
    fn find(&self, gram: u64) -> Option<(usize, u32)> {
        let (mut low, mut high) = (0, self.grams.len() / 8);
        while low < high {
            let middle = low.midpoint(high);
            if u64_at(self.grams, middle)? < gram {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (u64_at(self.grams, low) == Some(gram)).then(|| u32_at(self.counts, low).map(|count| (low, count)))?
    }

    fn weighted(&self, text: &str) -> Vec<(u64, f64, Option<(usize, u32)>, f64)> {
        let texts = self.norms.len() / 4;
        let grams = grams_of(text).into_iter().map(|(gram, count)| {
            let list = self.find(gram);
            let weight = weight(texts, list.map_or(0, |(_, count)| count));
            (gram, f64::from(count) * weight, list, weight)
        });
        grams.collect()
    }

    /// The `k` texts that resemble `query` the most, with their cosines of at least `floor`: the best first, and of
    /// equals the one with the smaller number. `text_of` gives a text of the index, or `None` if it is not wanted.
    pub fn nearest(
        &self,
        query: &str,
        k: usize,
        floor: f64,
        scratch: &mut Scratch,
        mut text_of: impl FnMut(u32) -> Option<String>,
    ) -> Vec<(u32, f64)> {
        let query = self.weighted(query);
        let norm = query.iter().map(|(_, value, ..)| value * value).sum::<f64>().sqrt();
        if norm == 0.0 || k == 0 {
            return Vec::new();
        }
        let shares: HashMap<u64, f64> = query.iter().map(|(gram, value, ..)| (*gram, value / norm)).collect();
        let mut order: Vec<QueryGram> = query
            .into_iter()
            .map(|(_, value, list, weight)| QueryGram { list, weight, share: value / norm })
            .collect();
        order.sort_by_key(|gram| gram.list.map_or(0, |(_, count)| count));

        let Scratch { slots, candidates, lower } = scratch;
        slots.resize(self.norms.len() / 4, NONE);
        let mut left: f64 = order.iter().map(|gram| gram.share * gram.share).sum();
        let mut bar = floor as f32;
        for gram in &order {
            if let Some((list, count)) = gram.list {
                if count >= LONG && candidates.len() >= k {
                    lower.clear();
                    lower.extend(candidates.iter().map(|partial| partial.product / self.norm(partial.text)));
                    let (_, kth, _) = lower.select_nth_unstable_by(k - 1, |one, other| other.total_cmp(one));
                    bar = bar.max(*kth);
                }
                if left.max(0.0).sqrt() as f32 + SLACK < bar {
                    break;
                }
                let (weight, share) = (gram.weight as f32, gram.share as f32);
                each_posting(self.list(list), |text, count| {
                    let Some(slot) = slots.get_mut(text as usize) else { return };
                    if *slot == NONE {
                        *slot = candidates.len() as u32;
                        candidates.push(Partial { text, product: 0.0, square: 0.0 });
                    }
                    let partial = &mut candidates[*slot as usize];
                    let value = count as f32 * weight;
                    partial.product += value * share;
                    partial.square += value * value;
                });
            }
            left -= gram.share * gram.share;
        }

        let left = left.max(0.0).sqrt() as f32;
        let mut bounds: Vec<(f32, u32)> = Vec::with_capacity(candidates.len());
        for partial in candidates.drain(..) {
            slots[partial.text as usize] = NONE;
            let norm = self.norm(partial.text);
            let rest = (1.0 - partial.square / (norm * norm)).max(0.0).sqrt();
            let bound = partial.product / norm + left * rest + SLACK;
            if bound >= bar {
                bounds.push((bound, partial.text));
            }
        }
        bounds.sort_unstable_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
        let mut best: Vec<(u32, f64)> = Vec::new();
        for (bound, text) in bounds {
            if best.len() >= k && f64::from(bound) < best[k - 1].1 {
                break;
            }
            let Some(words) = text_of(text) else { continue };
            let cosine = self.cosine(&shares, &words);
            if cosine >= floor {
                let at = best.partition_point(|(other, score)| *score > cosine || *score == cosine && *other < text);
                best.insert(at, (text, cosine));
                best.truncate(k);
            }
        }
        best
    }

    fn cosine(&self, shares: &HashMap<u64, f64>, text: &str) -> f64 {
        let (mut product, mut square) = (0.0, 0.0);
        for (gram, value, ..) in self.weighted(text) {
            product += shares.get(&gram).map_or(0.0, |share| share * value);
            square += value * value;
        }
        product / square.sqrt()
    }

    fn list(&self, at: usize) -> &[u8] {
        let place = |at| u64_at(self.places, at).map(|place| place as usize);
        match (place(at), place(at + 1)) {
            (Some(start), Some(end)) => self.postings.get(start..end).unwrap_or_default(),
            _ => &[],
        }
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
            let grams = Grams {
                grams: &bytes(&index.grams, u64::to_le_bytes),
                counts: &bytes(&index.counts, u32::to_le_bytes),
                places: &bytes(&index.places, u64::to_le_bytes),
                postings: &index.postings,
                norms: &bytes(&index.norms, f32::to_le_bytes),
            };
            let mut scratch = Scratch::default();
            let found = grams.nearest(&query, k, floor, &mut scratch, |text| Some(texts[text as usize].clone()));
            let again = grams.nearest(&query, k, floor, &mut scratch, |text| Some(texts[text as usize].clone()));
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
