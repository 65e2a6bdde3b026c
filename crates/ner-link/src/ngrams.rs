//! Texts that resemble a text: the cosine of IDF vectors of their character 3-grams.
//!
//! The method of scispaCy's candidate generator (Neumann et al. 2019), except that a gram counts once in a text. Then the
//! product of two vectors is the weight of what the texts share, which is at most the weight of either, and the search
//! can pass over most texts and stays exact:
//!
//! - Texts are numbered by the length of their vectors, in blocks. A text that is much longer or shorter than the query
//!   cannot resemble it, so that whole blocks are left out. The blocks nearest in length come first.
//! - A block has its own short lists of texts by gram, and its sums stay in the processor's cache. The rare grams come
//!   first; as soon as the common ones cannot bring new texts any more and few texts are left, those are compared in full,
//!   by the list of grams that the file has of each text.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use rayon::prelude::*;

use crate::layout::{put_varint, take_varint, u32_at, u64_at};

/// The different grams of a text in their order. Every word has a blank on both sides, and a gram stays within a word.
pub fn grams_of(text: &str) -> Vec<u64> {
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
    grams.dedup();
    grams
}

/// The square of the weight of a gram that `count` of `texts` texts have.
fn weight(texts: usize, count: u32) -> f64 {
    (((1.0 + texts as f64) / (1.0 + f64::from(count))).ln() + 1.0).powi(2)
}

/// Texts of a block. Tests have several blocks of few texts.
pub const BLOCK: usize = if cfg!(test) { 1 << 3 } else { 1 << 13 };

/// The index as it is built. The layout of the parts is that of the file. Grams are numbered by the number of their
/// texts, the most common first.
#[derive(Default)]
pub struct GramIndex {
    pub grams: Vec<u64>,
    pub counts: Vec<u32>,
    pub block_places: Vec<u64>,
    pub blocks: Vec<u8>,
    pub text_places: Vec<u64>,
    pub text_grams: Vec<u8>,
    pub norms: Vec<f32>,
    /// The place among the given texts of each text of the index.
    pub order: Vec<u32>,
}

/// Texts that are taken apart at the same time.
const BATCH: usize = 1 << 16;

impl GramIndex {
    pub fn of(texts: &[String]) -> Self {
        let mut counts: GramMap<u32> = GramMap::default();
        for some in texts.chunks(BATCH) {
            let all: Vec<Vec<u64>> = some.par_iter().map(|text| grams_of(text)).collect();
            all.into_iter().flatten().for_each(|gram| *counts.entry(gram).or_default() += 1);
        }
        let mut counts: Vec<(u64, u32)> = counts.into_iter().collect();
        counts.sort_unstable_by_key(|(gram, count)| (std::cmp::Reverse(*count), *gram));
        let numbers: GramMap<u32> = counts.iter().zip(0..).map(|((gram, _), number)| (*gram, number)).collect();
        let weights: Vec<f64> = counts.iter().map(|(_, count)| weight(texts.len(), *count)).collect();
        let numbers_of = |text: &String| {
            let mut grams: Vec<u32> = grams_of(text).iter().map(|gram| numbers[gram]).collect();
            grams.sort_unstable();
            grams
        };
        let norm = |grams: Vec<u32>| grams.into_iter().map(|gram| weights[gram as usize]).sum::<f64>().sqrt() as f32;
        let norms: Vec<f32> = texts.par_iter().map(|text| norm(numbers_of(text))).collect();
        let mut order: Vec<u32> = (0..texts.len() as u32).collect();
        order.par_sort_unstable_by(|one, other| {
            norms[*one as usize].total_cmp(&norms[*other as usize]).then(one.cmp(other))
        });

        let mut index = Self {
            block_places: vec![0],
            text_places: vec![0],
            norms: order.iter().map(|text| norms[*text as usize]).collect(),
            ..Default::default()
        };
        (index.grams, index.counts) = counts.into_iter().unzip();
        for some in order.chunks(BATCH) {
            let all: Vec<Vec<u32>> = some.par_iter().map(|text| numbers_of(&texts[*text as usize])).collect();
            for grams in &all {
                let mut last = 0;
                for gram in grams {
                    put_varint(&mut index.text_grams, u64::from(gram - last));
                    last = *gram;
                }
                index.text_places.push(index.text_grams.len() as u64);
            }
            let blocks: Vec<Vec<u8>> = all.par_chunks(BLOCK).map(block_of).collect();
            for block in blocks {
                index.blocks.extend_from_slice(&block);
                index.block_places.push(index.blocks.len() as u64);
            }
        }
        index.order = order;
        index
    }
}

/// u32 number of grams, u32 each gram in their order, u32 the end of each one's list, and the lists: u16 numbers of texts
/// in the block.
fn block_of(texts: &[Vec<u32>]) -> Vec<u8> {
    let mut pairs: Vec<(u32, u16)> =
        texts.iter().zip(0..).flat_map(|(grams, text)| grams.iter().map(move |gram| (*gram, text))).collect();
    pairs.sort_unstable();
    let runs: Vec<&[(u32, u16)]> = pairs.chunk_by(|one, other| one.0 == other.0).collect();
    let mut bytes = (runs.len() as u32).to_le_bytes().to_vec();
    runs.iter().for_each(|run| bytes.extend(run[0].0.to_le_bytes()));
    let mut end = 0;
    for run in &runs {
        end += run.len() as u32;
        bytes.extend(end.to_le_bytes());
    }
    pairs.iter().for_each(|(_, text)| bytes.extend(text.to_le_bytes()));
    bytes
}

/// A block as it is read.
struct Block<'v> {
    grams: &'v [[u8; 4]],
    ends: &'v [[u8; 4]],
    lists: &'v [[u8; 2]],
}

impl<'v> Block<'v> {
    /// `None` if the bytes contradict each other.
    fn of(bytes: &'v [u8]) -> Option<Self> {
        let (count, rest) = bytes.split_at_checked(4)?;
        let count = u32_at(count, 0)? as usize;
        let (grams, rest) = rest.split_at_checked(count.checked_mul(4)?)?;
        let (ends, lists) = rest.split_at_checked(count * 4)?;
        Some(Self { grams: grams.as_chunks().0, ends: ends.as_chunks().0, lists: lists.as_chunks().0 })
    }

    /// The texts of the block that have gram number `gram`.
    fn list(&self, gram: u32) -> &'v [[u8; 2]] {
        let Ok(at) = self.grams.binary_search_by_key(&gram, |number| u32::from_le_bytes(*number)) else {
            return &[];
        };
        let end = |at: usize| self.ends.get(at).map_or(0, |end| u32::from_le_bytes(*end) as usize);
        let start = if at == 0 { 0 } else { end(at - 1) };
        self.lists.get(start..end(at)).unwrap_or_default()
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

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

type GramMap<V> = HashMap<u64, V, BuildHasherDefault<GramHasher>>;
pub type NumberMap<V> = HashMap<u32, V, BuildHasherDefault<GramHasher>>;

/// The grams of an index. There are only thousands, so that they are in memory.
pub struct Dictionary {
    numbers: GramMap<u32>,
    /// Squares of the weights.
    weights: Vec<f64>,
    texts: usize,
}

impl Dictionary {
    /// From the parts of a [`GramIndex`] of `texts` texts.
    pub fn of(grams: &[u8], counts: &[u8], texts: usize) -> Self {
        let grams = grams.as_chunks().0.iter().map(|gram| u64::from_le_bytes(*gram));
        let counts = counts.as_chunks().0.iter().map(|count| u32::from_le_bytes(*count));
        Self { numbers: grams.zip(0..).collect(), weights: counts.map(|count| weight(texts, count)).collect(), texts }
    }
}

/// The index as it is read.
pub struct Grams<'v> {
    pub dictionary: &'v Dictionary,
    pub block_places: &'v [u8],
    pub blocks: &'v [u8],
    pub text_places: &'v [u8],
    pub text_grams: &'v [u8],
    pub norms: &'v [u8],
}

/// Memory of a search, to be used again.
#[derive(Default)]
pub struct Scratch {
    /// What each text of a block shares with the query. All zero between blocks.
    shared: Vec<f32>,
    /// The grams of the query. All false between searches.
    is_asked: Vec<bool>,
    candidates: Vec<(f32, u32)>,
}

/// Sums are of single precision.
const SLACK: f32 = 1e-4;
/// Comparing one text in full takes the time of so many entries of lists.
const COMPARISON: usize = if cfg!(test) { 1 } else { 100 };
/// Looking through the sums of a block takes the time of so many entries of lists.
const LOOK: usize = BLOCK / 4;

impl Grams<'_> {
    /// The `k` texts that resemble `text` the most, with their cosines of at least `floor`: the best first, and of
    /// equals the one with the smaller number. Only texts that `is_wanted`.
    pub fn nearest(
        &self,
        text: &str,
        k: usize,
        floor: f64,
        scratch: &mut Scratch,
        mut is_wanted: impl FnMut(u32) -> bool,
    ) -> Vec<(u32, f64)> {
        let Scratch { shared, is_asked, candidates } = scratch;
        shared.resize(BLOCK, 0.0);
        is_asked.resize(self.dictionary.weights.len(), false);
        let norms: &[[u8; 4]] = self.norms.as_chunks().0;
        let mut square = 0.0;
        let mut query: Vec<(u32, f32)> = Vec::new();
        for gram in grams_of(text) {
            let number = self.dictionary.numbers.get(&gram).copied();
            let weight = number.map(|number| self.dictionary.weights[number as usize]);
            square += weight.unwrap_or_else(|| weight_of_unknown(self.dictionary));
            query.extend(number.zip(weight.map(|weight| weight as f32)));
        }
        if query.is_empty() || k == 0 {
            return Vec::new();
        }
        query.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        query.iter().for_each(|(number, _)| is_asked[*number as usize] = true);
        let length = square.sqrt() as f32;
        let known: f32 = query.iter().map(|(_, weight)| weight).sum();

        // The best a text of a block can reach: it shares no more than all it has, nor than all that is asked.
        let limit = |block: usize| {
            let texts = &norms[block * BLOCK..norms.len().min((block + 1) * BLOCK)];
            let (shortest, longest) = (norm_of(texts[0]), norm_of(texts[texts.len() - 1]));
            if known.sqrt() < shortest { known / (length * shortest) } else { longest.min(known.sqrt()) / length }
        };
        let count = norms.len().div_ceil(BLOCK);
        // Blocks from the one with texts as long as the query, to both sides.
        let middle = norms.partition_point(|norm| norm_of(*norm) < known.sqrt()) / BLOCK;
        let (mut below, mut above) = (middle.min(count), middle.min(count));
        let mut best: Vec<(u32, f64)> = Vec::new();
        let bar_of = |best: &[(u32, f64)]| if best.len() < k { floor } else { best[k - 1].1 };
        loop {
            let (low, high) = (below.checked_sub(1).map(limit), (above < count).then(|| limit(above)));
            let (block, reached) = match (low, high) {
                (None, None) => break,
                (Some(low), high) if high.is_none_or(|high| low > high) => {
                    below -= 1;
                    (below, low)
                }
                (_, high) => {
                    above += 1;
                    (above - 1, high.unwrap_or_default())
                }
            };
            let bar = bar_of(&best) as f32 - SLACK;
            if reached < bar {
                break;
            }
            self.candidates_of(block, &query, bar * length, shared, candidates);
            candidates.sort_unstable_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
            for (bound, text) in candidates.drain(..) {
                if bound / length < bar_of(&best) as f32 - SLACK {
                    break;
                }
                let cosine = self.cosine(is_asked, square, text);
                if cosine < floor || best.len() >= k && (cosine, best[k - 1].0) < (best[k - 1].1, text) {
                    continue;
                }
                if is_wanted(text) {
                    let at =
                        best.partition_point(|(other, score)| *score > cosine || *score == cosine && *other < text);
                    best.insert(at, (text, cosine));
                    best.truncate(k);
                }
            }
        }
        query.iter().for_each(|(number, _)| is_asked[*number as usize] = false);
        best
    }

    /// Adds the texts of a block that may share at least `bar` times their length with the query, whose grams are the rare
    /// ones first, with what they share at most by their length.
    fn candidates_of(
        &self,
        block: usize,
        query: &[(u32, f32)],
        bar: f32,
        shared: &mut [f32],
        candidates: &mut Vec<(f32, u32)>,
    ) {
        let place = |at| u64_at(self.block_places, at).unwrap_or_default() as usize;
        let bytes = self.blocks.get(place(block)..place(block + 1)).unwrap_or_default();
        let Some(read) = Block::of(bytes) else { return };
        let norms: &[[u8; 4]] = self.norms.as_chunks().0;
        let norms = &norms[block * BLOCK..norms.len().min((block + 1) * BLOCK)];
        let lists: Vec<(&[[u8; 2]], f32)> = query
            .iter()
            .map(|(gram, weight)| (read.list(*gram), *weight))
            .filter(|(list, _)| !list.is_empty())
            .collect();
        let mut left: f32 = lists.iter().map(|(_, weight)| weight).sum();
        // What a text must share that has none of the grams so far.
        let all = bar * norm_of(norms[0]);
        if left < all {
            return;
        }
        let mut entries: usize = lists.iter().map(|(list, _)| list.len()).sum();
        let mut since_look = LOOK;
        for (list, weight) in lists {
            if left < all && entries > LOOK && since_look >= LOOK {
                since_look = 0;
                let near = reaching(shared, norms, bar, left).count();
                if near * COMPARISON < entries {
                    break;
                }
            }
            for text in list {
                if let Some(sum) = shared.get_mut(usize::from(u16::from_le_bytes(*text))) {
                    *sum += weight;
                }
            }
            left -= weight;
            entries -= list.len();
            since_look += list.len();
        }
        let first = (block * BLOCK) as u32;
        let left = left.max(0.0);
        candidates.extend(reaching(shared, norms, bar, left).map(|at| {
            let bound = (shared[at] + left) / norm_of(norms[at]);
            (bound, first + at as u32)
        }));
        shared.fill(0.0);
    }

    fn cosine(&self, is_asked: &[bool], square: f64, text: u32) -> f64 {
        let place = |at| u64_at(self.text_places, at).unwrap_or_default() as usize;
        let mut bytes = self.text_grams.get(place(text as usize)..place(text as usize + 1)).unwrap_or_default();
        let (mut shared, mut own, mut gram) = (0.0, 0.0, 0);
        while let Some(distance) = take_varint(&mut bytes) {
            gram += distance as usize;
            let Some(weight) = self.dictionary.weights.get(gram) else { break };
            own += weight;
            if is_asked[gram] {
                shared += weight;
            }
        }
        if own > 0.0 { shared / (own * square).sqrt() } else { 0.0 }
    }
}

fn weight_of_unknown(dictionary: &Dictionary) -> f64 {
    weight(dictionary.texts, 0)
}

fn norm_of(bytes: [u8; 4]) -> f32 {
    f32::from_le_bytes(bytes)
}

/// The texts of a block that share at least `bar` times their length with the query, if `left` is what is not read yet.
fn reaching<'s>(shared: &'s [f32], norms: &'s [[u8; 4]], bar: f32, left: f32) -> impl Iterator<Item = usize> + 's {
    const STEP: usize = 32;
    let reaches = move |sum: &f32, norm: &[u8; 4]| *sum + left >= bar * norm_of(*norm);
    let runs = shared.chunks(STEP).zip(norms.chunks(STEP)).enumerate();
    // Most runs have none, which many at once are seen to lack.
    runs.filter(move |(_, (sums, norms))| {
        sums.iter().zip(*norms).fold(false, |any, (sum, norm)| any | reaches(sum, norm))
    })
    .flat_map(move |(run, (sums, norms))| {
        let texts = sums.iter().zip(norms).enumerate();
        texts.filter(move |(_, (sum, norm))| reaches(sum, norm)).map(move |(at, _)| run * STEP + at)
    })
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
                    vector.insert(gram.iter().collect(), 1.0);
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
        let grams: Vec<String> = grams_of("a aab").iter().map(|gram| letters(*gram).iter().collect()).collect();
        assert_eq!(grams, [" a ", " aa", "aab", "ab "]);
        assert_eq!(grams_of("aaaaa").len(), 3);
    }

    proptest! {
        #[test]
        fn the_nearest_are_those_of_a_plain_computation(
            texts in proptest::collection::btree_set("[abé]{1,4}( [abc]{1,5}){0,2}", 1..80),
            query in "[abé]{1,4}( [abcd]{1,5}){0,2}",
            k in 1usize..8,
            floor in 0.01f64..0.8,
        ) {
            let texts: Vec<String> = texts.into_iter().collect();
            let index = GramIndex::of(&texts);
            let grams = bytes(&index.grams, u64::to_le_bytes);
            let dictionary = Dictionary::of(&grams, &bytes(&index.counts, u32::to_le_bytes), texts.len());
            let grams = Grams {
                dictionary: &dictionary,
                block_places: &bytes(&index.block_places, u64::to_le_bytes),
                blocks: &index.blocks,
                text_places: &bytes(&index.text_places, u64::to_le_bytes),
                text_grams: &index.text_grams,
                norms: &bytes(&index.norms, f32::to_le_bytes),
            };
            let mut scratch = Scratch::default();
            let found = grams.nearest(&query, k, floor, &mut scratch, |_| true);
            let again = grams.nearest(&query, k, floor, &mut scratch, |_| true);
            prop_assert_eq!(&found, &again);
            let mut all: Vec<f64> = texts.iter().map(|text| plain(&texts, &query, text)).collect();
            for (text, cosine) in &found {
                prop_assert!((all[index.order[*text as usize] as usize] - cosine).abs() < 1e-9);
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
