//! Texts that resemble a text: the cosine of IDF vectors of their character 3-grams.
//!
//! The method of scispaCy's candidate generator (Neumann et al. 2019), except that a gram counts once in a text. Grams stay
//! within words, and a vocabulary has far fewer words than texts. So the search goes from grams to words and from words to
//! texts:
//!
//! - Every word that shares a gram with the query is compared with it. The similar ones lead to their texts, the most
//!   similar first. A word whose cosine is less than [`WORD_SHARE`] of what a text needs is passed over: only several such
//!   words together could make up for it.
//! - Texts are numbered by the length of their vectors. A list of texts is read where lengths allow the cosine that is
//!   needed, which rises as texts are found.
//! - Words of very many texts come last. Texts that have another similar word are known by then, and of the others only
//!   short ones can be similar enough.
//! - A search compares [`MOST`] texts of rare words, and as many of common ones. Small vocabularies do not reach this.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use rayon::prelude::*;

use crate::layout::{u32_at, u64_at};
use crate::normalise::meanings_of;

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

/// The index as it is built; its parts are those of the file. Grams are numbered by the number of their texts, the most
/// common first, words in their order, texts by their length.
pub struct GramIndex<'t> {
    pub grams: Vec<u64>,
    /// Number of texts of each gram.
    pub counts: Vec<u32>,
    pub gram_words: Lists,
    /// Words of the texts, and those that stand for their meanings.
    pub words: Vec<&'t str>,
    pub word_grams: Lists,
    pub word_norms: Vec<f32>,
    pub word_texts: Lists,
    /// The words of each text, in its order.
    pub text_words: Lists,
    pub norms: Vec<f32>,
    /// The place among the given texts of each text of the index.
    pub order: Vec<u32>,
}

/// Lists of numbers, one after the other.
pub struct Lists {
    /// Where each list begins, and where the last one ends.
    pub places: Vec<u64>,
    pub numbers: Vec<u32>,
}

impl Lists {
    fn of<L: IntoIterator<Item = u32>>(lists: impl IntoIterator<Item = L>) -> Self {
        let mut all = Self { places: vec![0], numbers: Vec::new() };
        for list in lists {
            all.numbers.extend(list);
            all.places.push(all.numbers.len() as u64);
        }
        all
    }

    fn len(&self) -> usize {
        self.places.len() - 1
    }

    fn get(&self, at: usize) -> &[u32] {
        &self.numbers[self.places[at] as usize..self.places[at + 1] as usize]
    }

    /// For each of `count` numbers the lists that have it, ascending.
    fn inverse(&self, count: usize) -> Self {
        let mut pairs: Vec<(u32, u32)> =
            (0..self.len()).flat_map(|at| self.get(at).iter().map(move |number| (*number, at as u32))).collect();
        pairs.par_sort_unstable();
        pairs.dedup();
        let mut places = vec![0; count + 1];
        pairs.iter().for_each(|(number, _)| places[*number as usize + 1] += 1);
        for at in 1..=count {
            places[at] += places[at - 1];
        }
        Self { places, numbers: pairs.into_iter().map(|(_, list)| list).collect() }
    }
}

impl<'t> GramIndex<'t> {
    pub fn of(texts: &'t [String]) -> Self {
        let words_of = |text: &'t String| text.split(' ').filter(|word| !word.is_empty());
        let mut words: HashSet<&str> = texts.iter().flat_map(words_of).collect();
        words.extend(texts.iter().flat_map(|text| meanings_of(text)));
        let mut words: Vec<&str> = words.into_iter().collect();
        words.par_sort_unstable();
        let numbers: HashMap<&str, u32> = words.iter().copied().zip(0..).collect();
        let given = Lists::of(texts.iter().map(|text| words_of(text).map(|word| numbers[word])));

        let grams_of_words: Vec<Vec<u64>> = words.par_iter().map(|word| grams_of(word)).collect();
        let mut grams: Vec<u64> = grams_of_words.iter().flatten().copied().collect();
        grams.par_sort_unstable();
        grams.dedup();
        let number_of = |gram: &u64| grams.binary_search(gram).unwrap_or_default() as u32;
        let mut word_grams = Lists::of(grams_of_words.iter().map(|grams| grams.iter().map(number_of)));
        let grams_of_text = |word_grams: &Lists, text: usize| -> Vec<u32> {
            let mut grams: Vec<u32> =
                given.get(text).iter().flat_map(|word| word_grams.get(*word as usize)).copied().collect();
            grams.sort_unstable();
            grams.dedup();
            grams
        };
        let none = || vec![0u32; grams.len()];
        let count = |mut counts: Vec<u32>, text| {
            grams_of_text(&word_grams, text).iter().for_each(|gram| counts[*gram as usize] += 1);
            counts
        };
        let sum = |mut one: Vec<u32>, other: Vec<u32>| {
            one.iter_mut().zip(other).for_each(|(one, other)| *one += other);
            one
        };
        let counts = (0..texts.len()).into_par_iter().fold(none, count).reduce(none, sum);
        let mut usual: Vec<u32> = (0..grams.len() as u32).collect();
        usual.sort_unstable_by_key(|gram| (std::cmp::Reverse(counts[*gram as usize]), *gram));
        let mut new_number = none();
        usual.iter().zip(0..).for_each(|(old, new)| new_number[*old as usize] = new);
        word_grams.numbers.iter_mut().for_each(|gram| *gram = new_number[*gram as usize]);
        let grams: Vec<u64> = usual.iter().map(|gram| grams[*gram as usize]).collect();
        let counts: Vec<u32> = usual.iter().map(|gram| counts[*gram as usize]).collect();

        let weights: Vec<f64> = counts.iter().map(|count| weight(texts.len(), *count)).collect();
        let norm = |grams: &[u32]| grams.iter().map(|gram| weights[*gram as usize]).sum::<f64>().sqrt() as f32;
        let word_norms = (0..words.len()).map(|word| norm(word_grams.get(word))).collect();
        let norms: Vec<f32> =
            (0..texts.len()).into_par_iter().map(|text| norm(&grams_of_text(&word_grams, text))).collect();
        let mut order: Vec<u32> = (0..texts.len() as u32).collect();
        order.par_sort_unstable_by(|one, other| {
            norms[*one as usize].total_cmp(&norms[*other as usize]).then(one.cmp(other))
        });
        let text_words = Lists::of(order.iter().map(|text| given.get(*text as usize).iter().copied()));
        Self {
            gram_words: word_grams.inverse(grams.len()),
            word_texts: text_words.inverse(words.len()),
            norms: order.iter().map(|text| norms[*text as usize]).collect(),
            grams,
            counts,
            words,
            word_grams,
            word_norms,
            text_words,
            order,
        }
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

/// Lists of the file.
#[derive(Clone, Copy)]
pub struct Part<'v> {
    pub places: &'v [u8],
    pub numbers: &'v [u8],
}

impl<'v> Part<'v> {
    /// List number `at`; empty if the bytes contradict each other.
    #[inline]
    fn get(self, at: u32) -> &'v [[u8; 4]] {
        let place = |at: usize| u64_at(self.places, at).map_or(0, |place| place as usize);
        let (numbers, _) = self.numbers.as_chunks();
        numbers.get(place(at as usize)..place(at as usize + 1)).unwrap_or_default()
    }

    /// The numbers of list `at`.
    #[inline]
    pub fn numbers(self, at: u32) -> impl Iterator<Item = u32> + 'v {
        self.get(at).iter().map(|number| u32::from_le_bytes(*number))
    }
}

/// The index as it is read.
pub struct Grams<'v> {
    pub dictionary: &'v Dictionary,
    pub gram_words: Part<'v>,
    pub word_grams: Part<'v>,
    pub word_norms: &'v [u8],
    pub word_texts: Part<'v>,
    pub text_words: Part<'v>,
    pub norms: &'v [u8],
}

/// Memory of a search, to be used again.
#[derive(Default)]
pub struct Scratch {
    /// The weight of what each word shares with the query; negative if its texts are compared already. All zero between
    /// searches.
    shared: Vec<f32>,
    /// Which runs of so many words share something. All false between searches.
    is_shared: Vec<bool>,
    /// The place of each gram in the query, from 1 on; 0 for others. All zero between searches.
    asked: Vec<u32>,
}

/// Words that are looked at together.
const RUN: usize = 64;
/// The least cosine of a word whose texts are compared, as a share of the cosine that a text needs. Of two words that
/// contribute equally to the text's cosine, each has this share.
const WORD_SHARE: f64 = 0.7;
/// Of so few texts each is compared, whatever its length.
const FEW: usize = if cfg!(test) { 2 } else { 8 };
/// Words of more texts are common.
const COMMON: usize = if cfg!(test) { 8 } else { 1 << 11 };
/// Texts of rare words that a search compares, and of common ones.
const MOST: usize = 1 << 14;
/// Sums are of single precision.
const SLACK: f64 = 1e-4;

impl Grams<'_> {
    /// The `k` texts that resemble `text` the most, with their cosines of at least `floor`: the best first, and of
    /// equals the one with the smaller number. Only texts that `is_wanted`. What the search may miss says the module.
    pub fn nearest(
        &self,
        text: &str,
        k: usize,
        floor: f64,
        scratch: &mut Scratch,
        is_wanted: impl FnMut(u32) -> bool,
    ) -> Vec<(u32, f64)> {
        let mut square = 0.0;
        let mut query: Vec<(u32, f64)> = Vec::new();
        for gram in grams_of(text) {
            let number = self.dictionary.numbers.get(&gram).copied();
            let known = number.map(|number| self.dictionary.weights[number as usize]);
            square += known.unwrap_or_else(|| weight(self.dictionary.texts, 0));
            query.extend(number.zip(known));
        }
        if query.is_empty() || k == 0 {
            return Vec::new();
        }
        // Whole runs.
        scratch.is_shared.resize((self.word_norms.len() / 4).div_ceil(RUN), false);
        scratch.shared.resize(scratch.is_shared.len() * RUN, 0.0);
        scratch.asked.resize(self.dictionary.weights.len(), 0);
        query.iter().zip(1..).for_each(|((gram, _), place)| scratch.asked[*gram as usize] = place);
        for (gram, weight) in &query {
            for word in self.gram_words.numbers(*gram) {
                scratch.shared[word as usize] += *weight as f32;
                scratch.is_shared[word as usize / RUN] = true;
            }
        }
        let known = query.iter().map(|(_, weight)| weight).sum();
        let mut search = Search {
            grams: self,
            compared: vec![0; query.len()],
            query: &query,
            length: square.sqrt(),
            known,
            k,
            floor,
            is_wanted,
            scratch,
            best: Vec::with_capacity(k + 1),
        };
        search.run();
        let best = search.best;
        for (is_shared, shared) in scratch.is_shared.iter_mut().zip(scratch.shared.chunks_exact_mut(RUN)) {
            if std::mem::take(is_shared) {
                shared.fill(0.0);
            }
        }
        query.iter().for_each(|(gram, _)| scratch.asked[*gram as usize] = 0);
        best
    }

    fn norm(&self, text: u32) -> f64 {
        f32_at(self.norms, text)
    }
}

fn f32_at(section: &[u8], at: u32) -> f64 {
    f64::from(u32_at(section, at as usize).map_or(f32::MAX, f32::from_bits))
}

struct Search<'s, 'v, W> {
    grams: &'s Grams<'v>,
    /// The grams of the query that the index has, with their weights.
    query: &'s [(u32, f64)],
    /// Of the query's vector.
    length: f64,
    /// The weight of all grams of `query`.
    known: f64,
    k: usize,
    floor: f64,
    is_wanted: W,
    scratch: &'s mut Scratch,
    /// For each gram of the query the last text that has it, from 1 on.
    compared: Vec<u32>,
    best: Vec<(u32, f64)>,
}

impl<W: FnMut(u32) -> bool> Search<'_, '_, W> {
    fn run(&mut self) {
        let grams = self.grams;
        let (mut rare, mut common) = (Vec::new(), Vec::new());
        let norms: &[[u8; 4]] = grams.word_norms.as_chunks().0;
        let least = (WORD_SHARE * self.floor * self.length) as f32;
        let runs =
            self.scratch.shared.chunks_exact(RUN).zip(norms.chunks(RUN)).zip(&self.scratch.is_shared).zip(0u32..);
        for (((shared, norms), _), run) in runs.filter(|((_, is_shared), _)| **is_shared) {
            let is_similar = |shared: f32, norm: [u8; 4]| shared >= least * f32::from_le_bytes(norm);
            // Most runs have none, which all at once are seen to lack.
            if !shared.iter().zip(norms).fold(false, |any, (shared, norm)| any | is_similar(*shared, *norm)) {
                continue;
            }
            for ((shared, norm), at) in shared.iter().zip(norms).zip(0..) {
                if is_similar(*shared, *norm) {
                    let word = run * RUN as u32 + at;
                    let cosine = f64::from(*shared) / (self.length * f64::from(f32::from_le_bytes(*norm)));
                    let count = grams.word_texts.get(word).len();
                    if count > COMMON { common.push((count, word)) } else { rare.push((cosine, word)) }
                }
            }
        }
        rare.sort_unstable_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
        let mut left = MOST;
        for (cosine, word) in rare {
            if cosine < WORD_SHARE * self.bar() || left == 0 {
                break;
            }
            self.compare_texts(word, self.known, &mut left);
        }
        common.sort_unstable();
        // What a text can share that has this word, but none before it.
        let mut is_covered = vec![false; self.query.len()];
        let mut reach = 0.0;
        let mut reaches = Vec::with_capacity(common.len());
        for (_, word) in common.iter().rev() {
            for gram in grams.word_grams.numbers(*word) {
                let place = self.scratch.asked[gram as usize];
                if place > 0 && !std::mem::replace(&mut is_covered[place as usize - 1], true) {
                    reach += self.query[place as usize - 1].1;
                }
            }
            reaches.push((*word, reach));
        }
        let mut left = MOST;
        for (word, reach) in reaches.into_iter().rev() {
            self.compare_texts(word, reach, &mut left);
        }
    }

    /// The cosine that a text needs.
    fn bar(&self) -> f64 {
        if self.best.len() < self.k { self.floor } else { self.best[self.k - 1].1 }
    }

    /// Compares the texts of a word that share at most `reach` with the query. Of too many those are taken whose length is
    /// the nearest to what they could share.
    fn compare_texts(&mut self, word: u32, reach: f64, left: &mut usize) {
        let grams = self.grams;
        let mut texts = grams.word_texts.get(word);
        let norm = |text: &[u8; 4]| grams.norm(u32::from_le_bytes(*text));
        if texts.len() > FEW {
            let least = (self.bar() - SLACK) * self.length;
            // A text shares no more than all it has.
            let start = texts.partition_point(|text| norm(text) < least);
            let end = start + texts[start..].partition_point(|text| norm(text) * least <= reach);
            texts = &texts[start..end];
        }
        if texts.len() > *left {
            let middle = texts.partition_point(|text| norm(text) < reach.sqrt());
            let first = middle.saturating_sub(*left / 2).min(texts.len() - *left);
            texts = &texts[first..first + *left];
        }
        *left -= texts.len();
        for text in texts {
            self.compare(u32::from_le_bytes(*text));
        }
        let shared = &mut self.scratch.shared[word as usize];
        *shared = -*shared;
    }

    fn compare(&mut self, text: u32) {
        let grams = self.grams;
        let words = || grams.text_words.numbers(text);
        let mut most = 0.0;
        for word in words() {
            let shared = self.scratch.shared.get(word as usize).copied().unwrap_or_default();
            if shared < 0.0 {
                return;
            }
            most += shared;
        }
        let product = self.length * grams.norm(text);
        if f64::from(most) < (self.bar() - SLACK) * product {
            return;
        }
        // Words may have grams in common.
        let mut shared = 0.0;
        for word in words().filter(|word| self.scratch.shared[*word as usize] > 0.0) {
            for gram in grams.word_grams.numbers(word) {
                let place = self.scratch.asked[gram as usize] as usize;
                if place > 0 && std::mem::replace(&mut self.compared[place - 1], text + 1) != text + 1 {
                    shared += self.query[place - 1].1;
                }
            }
        }
        let cosine = shared / product;
        let is_better = |other: &(u32, f64)| (cosine, other.0) >= (other.1, text);
        if cosine < self.floor || self.best.get(self.k - 1).is_some_and(|last| !is_better(last)) {
            return;
        }
        if (self.is_wanted)(text) {
            let at = self.best.partition_point(|other| !is_better(other));
            self.best.insert(at, (text, cosine));
            self.best.truncate(self.k);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes<T: Copy, const N: usize>(numbers: &[T], le: fn(T) -> [u8; N]) -> Vec<u8> {
        numbers.iter().flat_map(|number| le(*number)).collect()
    }

    type Vector = HashMap<String, f64>;

    /// By the definition, without an index.
    fn vector(texts: &[String], text: &str) -> Vector {
        let has = |text: &str, gram: &str| text.split_whitespace().any(|word| format!(" {word} ").contains(gram));
        let weight = |gram: &str| {
            let count = texts.iter().filter(|text| has(text, gram)).count() as f64;
            ((1.0 + texts.len() as f64) / (1.0 + count)).ln() + 1.0
        };
        let words = text.split_whitespace().map(|word| format!(" {word} ").chars().collect::<Vec<_>>());
        let grams = words.flat_map(|word| word.windows(3).map(|gram| gram.iter().collect()).collect::<Vec<String>>());
        grams.map(|gram| (gram.clone(), weight(&gram))).collect()
    }

    fn cosine(one: &Vector, other: &Vector, length: f64) -> f64 {
        let product: f64 = one.iter().map(|(gram, value)| value * other.get(gram).unwrap_or(&0.0)).sum();
        product / length_of(one) / length
    }

    fn length_of(vector: &Vector) -> f64 {
        vector.values().map(|value| value * value).sum::<f64>().sqrt()
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
        fn what_resembles_by_similar_words_is_found(
            texts in proptest::collection::btree_set("[abé]{1,4}( [abc]{1,5}){0,2}", 1..80),
            query in "[abé]{1,4}( [abcd]{1,5}){0,2}",
            k in 1usize..8,
            floor in 0.01f64..0.8,
        ) {
            let texts: Vec<String> = texts.into_iter().collect();
            let index = GramIndex::of(&texts);
            let dictionary = Dictionary::of(
                &bytes(&index.grams, u64::to_le_bytes), &bytes(&index.counts, u32::to_le_bytes), texts.len(),
            );
            let all = [&index.gram_words, &index.word_grams, &index.word_texts, &index.text_words];
            let lists = all.map(|lists| (bytes(&lists.places, u64::to_le_bytes), bytes(&lists.numbers, u32::to_le_bytes)));
            let [gram_words, word_grams, word_texts, text_words] =
                lists.each_ref().map(|(places, numbers)| Part { places, numbers });
            let word_norms = &bytes(&index.word_norms, f32::to_le_bytes);
            let norms = &bytes(&index.norms, f32::to_le_bytes);
            let dictionary = &dictionary;
            let grams = Grams { dictionary, gram_words, word_grams, word_norms, word_texts, text_words, norms };
            let mut scratch = Scratch::default();
            let found = grams.nearest(&query, k, floor, &mut scratch, |_| true);
            prop_assert_eq!(&found, &grams.nearest(&query, k, floor, &mut scratch, |_| true));
            prop_assert!(found.is_sorted_by(|one, other| (one.1, other.0) > (other.1, one.0)));

            let asked = vector(&texts, &query);
            let bar = if found.len() < k { floor } else { found[k - 1].1 };
            let found: HashMap<u32, f64> = found.into_iter().map(|(text, cosine)| (index.order[text as usize], cosine)).collect();
            for (text, number) in texts.iter().zip(0..) {
                let length = length_of(&vector(&texts, text));
                if let Some(found) = found.get(&number) {
                    prop_assert!((cosine(&asked, &vector(&texts, text), length) - found).abs() < 1e-6);
                    continue;
                }
                let is_similar = |word: &&str| {
                    let word = vector(&texts, word);
                    cosine(&asked, &word, length_of(&word)) > WORD_SHARE * bar
                };
                let similar: Vec<&str> = text.split(' ').filter(is_similar).collect();
                let reached = cosine(&asked, &vector(&texts, &similar.join(" ")), length);
                // Of the similar words alone: those have no grams that the text lacks.
                prop_assert!(reached <= bar + 1e-6, "{} has {}", text, reached);
            }
        }
    }
}
