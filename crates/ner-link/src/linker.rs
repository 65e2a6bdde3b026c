//! From a mention to its concepts.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};

use crate::composite::readings;
use crate::lock::locked;
use crate::ngrams::{Scratch, grams_of};
use crate::normalise::{key_of, stem_of, variant_of};
use crate::rank::{Features, Question, SUPPORT, logit, probability};
use crate::rerank::{NameVectors, RerankError, Reranker, Reranking, StoredVectors};
use crate::vocabulary::Vocabulary;

/// A mention to link.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query<'q> {
    /// Its text.
    pub text: &'q str,
    /// What the text stands for, if the document defines it as an abbreviation. The search begins with it.
    pub long_form: Option<&'q str>,
    /// Types that the concept may have: a type, or the start of one followed by `*` ("C04*"). Empty: any.
    pub types: &'q [String],
}

/// How to link.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinkOptions {
    /// Number of candidates of a mention.
    pub k: usize,
    /// Smallest score of the best candidate. A mention without one is NIL.
    pub threshold: f64,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self { k: 1, threshold: 0.5 }
    }
}

/// What a candidate has in common with the mention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The same name but for case, punctuation, accents and spelling.
    Exact,
    /// The same words but for plural, order, small words and synonyms of organs.
    Variant,
    /// Many of the same character 3-grams.
    Ngrams,
}

/// Scores of the first two stages. A search by grams stays below them.
const EXACT: f64 = 1.0;
const VARIANT: f64 = 0.95;
const NGRAMS: f64 = 0.9;

/// From this probability on, what resembles a long form is preferred to another meaning of the abbreviation.
const SURE: f64 = 0.5;

/// Names that a search by grams brings, and further ones for each candidate that is asked for.
const NEAR: usize = 12;
const NEAR_EACH: usize = 4;
/// Further names that a reranker compares: it finds the right one farther down.
const NEAR_RERANKED: usize = 8;
/// Smallest cosine of a name that can be meant. The ranker chooses hardly any of less than 0.4.
const FLOOR: f64 = 0.35;

/// A concept that a mention may mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Number of the concept in the vocabulary.
    pub concept: u32,
    /// Its id.
    pub id: String,
    /// Its preferred name.
    pub name: String,
    /// The name that matched.
    pub matched: String,
    /// From 0 to 1: 1 for an exact name, 0.95 for a variant, otherwise 0.9 times the probability that it is right.
    pub score: f64,
    /// How it was found.
    pub stage: Stage,
}

/// What a mention, or a part of a composite one, may mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The text that was looked up.
    pub text: String,
    /// The best first. Empty: NIL.
    pub candidates: Vec<Candidate>,
}

/// Links mentions to a vocabulary. Threads may share it.
pub struct Linker {
    vocabulary: Arc<Vocabulary>,
    options: LinkOptions,
    reranking: Option<Reranking>,
    /// One for each search that runs at the same time: four bytes a word.
    scratch: Mutex<Vec<Scratch>>,
    hasher: RandomState,
    /// Earlier queries and their answers, by the hash of the query: documents name the same things again and again.
    earlier: Mutex<Earlier>,
}

/// A query that owns its texts.
type Remembered = (String, Option<String>, Vec<String>);

/// Answers by the hash of their question, with the question itself.
type Earlier = HashMap<u64, (Remembered, Arc<[Answer]>)>;

/// From so many answers on, the earlier ones are forgotten.
const REMEMBERED: usize = 1 << 14;

impl Linker {
    /// A linker with these options.
    pub fn new(vocabulary: Arc<Vocabulary>, options: LinkOptions) -> Self {
        Self {
            vocabulary,
            options,
            reranking: None,
            scratch: Mutex::default(),
            hasher: RandomState::new(),
            earlier: Mutex::default(),
        }
    }

    /// Lets a reranker decide between names that share grams with a mention.
    ///
    /// # Errors
    /// If it was trained for other vocabularies, or the vectors of this one cannot be read.
    pub fn reranked_by(mut self, reranker: &Reranker) -> Result<Self, RerankError> {
        self.reranking = Some(reranker.of(&self.vocabulary)?);
        Ok(self)
    }

    /// Likewise with vectors and an encoder whose weight is not known yet: [`compare`](Self::compare) tells the cosines.
    pub fn with_vectors(mut self, vectors: StoredVectors, encoder: Arc<dyn NameVectors>) -> Self {
        self.reranking = Some(Reranking::unfitted(vectors, encoder));
        self
    }

    /// The vocabulary.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// How it links.
    pub const fn options(&self) -> LinkOptions {
        self.options
    }

    /// The concepts of a mention: one answer, or one for each part of a composite mention, if all parts are names in the
    /// vocabulary and the whole is none. The same query always has the same answer.
    pub fn link(&self, query: &Query) -> Arc<[Answer]> {
        let Query { text, long_form, types } = *query;
        let hash = self.hash(query);
        if let Some(answers) = self.remembered(hash, query) {
            return answers;
        }
        let answers: Arc<[Answer]> = self.answers(query).into();
        let mut earlier = locked(&self.earlier);
        if earlier.len() >= REMEMBERED {
            earlier.clear();
        }
        let asked = (text.to_owned(), long_form.map(str::to_owned), types.to_vec());
        earlier.insert(hash, (asked, Arc::clone(&answers)));
        answers
    }

    fn hash(&self, Query { text, long_form, types }: &Query) -> u64 {
        self.hasher.hash_one((text, long_form, types))
    }

    fn remembered(&self, hash: u64, query: &Query) -> Option<Arc<[Answer]>> {
        let earlier = locked(&self.earlier);
        let ((text, long_form, types), answers) = earlier.get(&hash)?;
        let is_asked = text == query.text && long_form.as_deref() == query.long_form && types == query.types;
        is_asked.then(|| Arc::clone(answers))
    }

    /// Lets the reranker, if there is one, encode the texts of these queries together. Then [`link`](Self::link) of each
    /// takes less time; its answer is the same.
    pub fn prepare<'q>(&self, queries: impl IntoIterator<Item = Query<'q>>) {
        let Some(reranking) = &self.reranking else { return };
        let mut texts: HashSet<String> = HashSet::new();
        for query in queries {
            if self.remembered(self.hash(&query), &query).is_some() {
                continue;
            }
            let is_undecided = |text: &str| {
                let key = key_of(text);
                let mut found = Found::new(self, query.types);
                found.by_name(text, &key);
                !key.is_empty() && !found.is_full()
            };
            let text = query.long_form.filter(|text| !key_of(text).is_empty()).unwrap_or(query.text);
            if !texts.contains(text) && is_undecided(text) {
                texts.insert(text.to_owned());
                texts.extend(readings(text).into_iter().flatten().filter(|part| is_undecided(part)));
            }
        }
        reranking.prepare(&texts);
    }

    fn answers(&self, query: &Query) -> Vec<Answer> {
        let Query { text, long_form, types } = *query;
        let mut found = Found::new(self, types);
        let texts: Vec<&str> = long_form.into_iter().chain([text]).collect();
        let keys: Vec<(&str, String)> =
            texts.iter().map(|text| (*text, key_of(text))).filter(|(_, key)| !key.is_empty()).collect();
        let Some((text, key)) = keys.first() else {
            return vec![Answer { text: texts[0].to_owned(), candidates: Vec::new() }];
        };
        found.by_name(text, key);
        // An abbreviation resembles many names, its long form those that it means.
        let mut near = None;
        for (abbreviation, short) in &keys[1..] {
            if !found.candidates.is_empty() {
                found.by_name(abbreviation, short);
                continue;
            }
            found.by_name(abbreviation, short);
            // The same letters may abbreviate something else.
            if let Some(first) = found.candidates.first() {
                let names = near.insert(self.resembling(text, key, types, 1));
                let is_other = names.iter().all(|named| named.concept != first.concept);
                if is_other && names.first().is_some_and(|best| best.probability >= SURE) {
                    found = Found::new(self, types);
                }
            }
        }
        if found.candidates.is_empty()
            && let Some(parts) = texts.iter().find_map(|text| self.parts(text, types, VARIANT))
        {
            return parts;
        }
        found.by_grams(text, key, near);
        // Parts that are more probable than the whole.
        let least = match found.candidates.first() {
            None => Some(self.options.threshold),
            Some(best) => (best.stage == Stage::Ngrams).then_some(best.score),
        };
        if let Some(parts) = least.and_then(|least| self.parts(texts[0], types, least)) {
            return parts;
        }
        vec![Answer { text: texts[0].to_owned(), candidates: found.candidates }]
    }

    /// Answers for the parts of a composite mention, if each has a score of at least `least`.
    fn parts(&self, text: &str, types: &[String], least: f64) -> Option<Vec<Answer>> {
        // The readings share their parts.
        let mut known: HashMap<String, Vec<Candidate>> = HashMap::new();
        readings(text).into_iter().find_map(|parts| {
            let mut answers = Vec::with_capacity(parts.len());
            for text in parts {
                let candidates = known.entry(text.clone()).or_insert_with(|| {
                    let mut found = Found::new(self, types);
                    let key = key_of(&text);
                    if !key.is_empty() {
                        found.by_name(&text, &key);
                    }
                    if found.candidates.is_empty() && least < VARIANT {
                        found.by_grams(&text, &key, None);
                    }
                    found.candidates
                });
                if candidates.first().is_none_or(|best| best.score < least) {
                    return None;
                }
                answers.push(Answer { text, candidates: candidates.clone() });
            }
            // Two names of one concept are no list of concepts.
            let first = answers[0].candidates[0].concept;
            answers.iter().any(|answer| answer.candidates[0].concept != first).then_some(answers)
        })
    }
}

/// Whether only the case differs, but for that of the first letters of words, which headings have large.
fn is_other_case(name: &str, text: &str) -> bool {
    let without_capitals = |text: &str| -> String {
        let mut before = ' ';
        let char = |char: char| match std::mem::replace(&mut before, char).is_alphanumeric() {
            true => char,
            false => char.to_lowercase().next().unwrap_or(char),
        };
        text.chars().map(char).collect()
    };
    name.to_lowercase() == text.to_lowercase() && without_capitals(name) != without_capitals(text)
}

/// The candidates so far.
struct Found<'l> {
    linker: &'l Linker,
    types: &'l [String],
    seen: HashSet<u32>,
    candidates: Vec<Candidate>,
}

impl<'l> Found<'l> {
    fn new(linker: &'l Linker, types: &'l [String]) -> Self {
        Self { linker, types, seen: HashSet::new(), candidates: Vec::new() }
    }

    fn is_full(&self) -> bool {
        self.candidates.len() >= self.linker.options.k
    }

    fn admits(&self, concept: u32) -> bool {
        self.types.is_empty() || self.linker.vocabulary.has_type(concept, self.types)
    }

    fn push(&mut self, name: u32, score: f64, stage: Stage) {
        let vocabulary = &self.linker.vocabulary;
        let concept = vocabulary.concept_of(name);
        // The threshold is that of the link; further candidates may be below it.
        let is_below = self.candidates.is_empty() && score < self.linker.options.threshold;
        if self.is_full() || is_below || self.seen.contains(&concept) || !self.admits(concept) {
            return;
        }
        // Among more names than those that the best was chosen from, another one may seem likelier.
        let score = self.candidates.last().map_or(score, |last| score.min(last.score));
        self.seen.insert(concept);
        self.candidates.push(Candidate {
            concept,
            id: vocabulary.id(concept).unwrap_or_default(),
            name: vocabulary.preferred(concept).to_owned(),
            matched: vocabulary.name(name).to_owned(),
            score,
            stage,
        });
    }

    fn by_name(&mut self, text: &str, key: &str) {
        let vocabulary = Arc::clone(&self.linker.vocabulary);
        let mut names: Vec<u32> = vocabulary.by_key(key).collect();
        // "aids" is not "AIDS". Stable: of others the most usual comes first.
        names.sort_by_key(|name| is_other_case(vocabulary.name(*name), text));
        for name in names {
            self.push(name, EXACT, Stage::Exact);
        }
        if !self.is_full() {
            let names = vocabulary.by_variant(&variant_of(key)).collect();
            for name in self.by_likeness(key, names) {
                self.push(name, VARIANT, Stage::Variant);
            }
        }
    }

    /// Names in the order of what they share with `key` before it was made a variant; of equals the most usual first.
    fn by_likeness(&self, key: &str, mut names: Vec<u32>) -> Vec<u32> {
        if names.len() > 1 {
            let grams = grams_of(key);
            names.sort_by_cached_key(|name| {
                let other = grams_of(&key_of(self.linker.vocabulary.name(*name)));
                let common = grams.iter().filter(|gram| other.binary_search(*gram).is_ok()).count();
                std::cmp::Reverse(2_000_000 * common / (grams.len() + other.len()).max(1))
            });
        }
        names
    }

    /// The names that resemble a text; `near` are those of one candidate, if they are known. The best is chosen from these,
    /// so that it does not depend on the number of candidates.
    fn by_grams(&mut self, text: &str, key: &str, near: Option<Vec<Named>>) {
        let (linker, types, k) = (self.linker, self.types, self.linker.options.k);
        if self.candidates.is_empty() {
            let near = near.unwrap_or_else(|| linker.resembling(text, key, types, 1));
            self.take(key, &near, 1);
        }
        if !self.candidates.is_empty() && !self.is_full() {
            self.take(key, &linker.resembling(text, key, types, k), k);
        }
    }

    /// Takes names until there are `most` candidates.
    fn take(&mut self, key: &str, named: &[Named], most: usize) {
        for equals in named.chunk_by(|one, other| one.score.total_cmp(&other.score) == Ordering::Equal) {
            if self.candidates.len() >= most {
                break;
            }
            let names = equals.iter().map(|named| named.name).collect();
            for name in self.by_likeness(key, names) {
                self.push(name, NGRAMS * equals[0].probability, Stage::Ngrams);
            }
        }
    }
}

/// A name that resembles a mention.
struct Named {
    name: u32,
    concept: u32,
    features: Features,
    logit: f32,
    /// Of the encoder; zero without one.
    cosine: f32,
    /// What decides.
    score: f32,
    probability: f64,
}

/// A name that shares grams with a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Number of its concept.
    pub concept: u32,
    /// The name.
    pub name: String,
    /// The logit of the probability that it is meant, from all but the encoder.
    pub logit: f32,
    /// The cosine of the encoder's vectors; zero without an encoder.
    pub cosine: f32,
}

impl Linker {
    /// Names that share grams with the mention, as many as `k` candidates need, the likeliest first.
    fn resembling(&self, text: &str, key: &str, types: &[String], k: usize) -> Vec<Named> {
        let Self { vocabulary, reranking, .. } = self;
        let mut scratch = locked(&self.scratch).pop().unwrap_or_default();
        let stem = stem_of(key);
        let is_admitted = |name: u32| types.is_empty() || vocabulary.has_type(vocabulary.concept_of(name), types);
        let count = NEAR + NEAR_EACH * k + if reranking.is_some() { NEAR_RERANKED } else { 0 };
        let near = vocabulary
            .grams()
            .nearest(&stem, count, FLOOR, &mut scratch, |near| vocabulary.of_stem(near).any(is_admitted));
        locked(&self.scratch).push(scratch);
        let mut question = Question::of(&stem, vocabulary);
        let mut named = Vec::with_capacity(2 * near.len());
        for (stem, cosine) in near {
            let features = question.features(stem, cosine);
            for name in vocabulary.of_stem(stem).filter(|name| is_admitted(*name)) {
                let concept = vocabulary.concept_of(name);
                let mut features = features;
                question.add_name(&mut features, name, concept);
                named.push(Named { name, concept, features, logit: 0.0, cosine: 0.0, score: 0.0, probability: 0.0 });
            }
        }
        let concepts: Vec<u32> = named.iter().map(|named| named.concept).collect();
        for named in &mut named {
            let support = concepts.iter().filter(|concept| **concept == named.concept).count();
            named.features[SUPPORT] = (support as f32).ln();
            named.logit = logit(&named.features);
        }
        if let Some(reranking) = reranking.as_ref().filter(|_| !named.is_empty()) {
            let cosines = reranking.cosines(text, named.iter().map(|named| named.name));
            for (named, cosine) in named.iter_mut().zip(cosines) {
                named.cosine = cosine;
                named.score = reranking.weights.score(named.logit, cosine);
                named.probability = reranking.weights.probability(named.score);
            }
        } else {
            for named in &mut named {
                named.score = named.logit;
                named.probability = probability(named.logit);
            }
        }
        // Stable: of equals the nearest, and of those the most usual, comes first.
        named.sort_by(|one, other| other.score.total_cmp(&one.score));
        named
    }

    /// The names that share grams with a text, in the order in which a search by grams would take them, with what a reranker
    /// is fitted to.
    pub fn compare(&self, text: &str, types: &[String]) -> Vec<Compared> {
        let compared = |Named { name, concept, logit, cosine, .. }: Named| Compared {
            concept,
            name: self.vocabulary.name(name).to_owned(),
            logit,
            cosine,
        };
        self.resembling(text, &key_of(text), types, self.options.k).into_iter().map(compared).collect()
    }

    /// The candidates of a search by grams: id, name and features. `scripts/link_ranker.py` fits the ranker to them.
    #[doc(hidden)]
    pub fn features(&self, text: &str) -> Vec<(String, String, Features)> {
        let named = self.resembling(text, &key_of(text), &[], self.options.k);
        let id = |concept| self.vocabulary.id(concept).unwrap_or_default();
        let row = |named: Named| (id(named.concept), self.vocabulary.name(named.name).to_owned(), named.features);
        named.into_iter().map(row).collect()
    }
}
