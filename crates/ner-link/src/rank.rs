//! Which of the names that resemble a mention it means.
//!
//! The cosine of 3-grams alone takes "hepatic impairment" for "renal impairment": long words count most. Here words count
//! by how rare they are in the vocabulary, words of one root count nearly as equals, and words that most names of problems
//! could have ("impairment", "disease") count little. A linear function of such features decides. Its weights were fitted
//! by `scripts/link_ranker.py`; they know nothing of particular words.

use crate::ngrams::NumberMap;
use crate::normalise::meanings_of;
use crate::vocabulary::Vocabulary;

/// Number of features.
pub const FEATURES: usize = 13;

/// The logarithm of how many names of the concept are candidates.
pub const SUPPORT: usize = 12;

/// What a candidate has in common with a mention.
pub type Features = [f32; FEATURES];

/// Words that say that something is wrong, but not what, in the singular and sorted.
const GENERIC: &[&str] = &[
    "abnormality",
    "alteration",
    "complication",
    "condition",
    "damage",
    "defect",
    "deficit",
    "disease",
    "disturbance",
    "dysfunction",
    "effect",
    "failure",
    "illness",
    "impairment",
    "injury",
    "lesion",
    "problem",
    "reaction",
    "symptom",
    "syndrome",
    "toxicity",
];

/// Words that exclude each other, as beginnings.
const OPPOSITES: &[(&str, &str)] = &[
    ("hyper", "hypo"),
    ("increas", "decreas"),
    ("elevat", "decreas"),
    ("elevat", "reduc"),
    ("high", "low"),
    ("acut", "chronic"),
    ("left", "right"),
    ("benign", "malignan"),
    ("upper", "lower"),
    ("tachy", "brady"),
    ("male", "female"),
    ("primar", "secondar"),
];

/// Fitted by `scripts/link_ranker.py` to mentions of BC5CDR's training split, diseases and chemicals, that are no name.
const WEIGHTS: Features = [8.29, -3.03, -3.89, 7.87, -0.97, -3.2, -0.7, -1.13, -2.04, 0.96, -0.11, 0.46, 0.16];

const CALIBRATION: [f64; 2] = [0.52, -3.08];

/// The logit of the probability that a candidate is right.
pub fn logit(features: &Features) -> f32 {
    features.iter().zip(WEIGHTS).map(|(feature, weight)| feature * weight).sum()
}

/// The probability that the best candidate is right, from its logit.
pub fn probability(logit: f32) -> f64 {
    let [slope, offset] = CALIBRATION;
    1.0 / (1.0 + (-(slope * f64::from(logit) + offset)).exp())
}

struct Word<'t> {
    text: &'t str,
    number: Option<u32>,
    weight: f32,
    is_generic: bool,
    is_label: bool,
}

impl<'t> Word<'t> {
    fn of(text: &'t str, number: Option<u32>, vocabulary: &Vocabulary) -> Self {
        let is_generic = GENERIC.binary_search(&text).is_ok();
        let weight = vocabulary.word_weight(number);
        Self {
            text,
            number,
            weight: if is_generic { weight.min(GENERIC_WEIGHT) } else { weight },
            is_generic,
            // Numbers and letters: "type 2", "vitamin c".
            is_label: text.len() < 3 || text.starts_with(|char: char| char.is_ascii_digit()),
        }
    }
}

/// A beginning of a word of the mention, what follows it, and a beginning that its opposite has.
struct Opposite<'t> {
    rest: &'t str,
    theirs: &'static str,
}

impl<'t> Opposite<'t> {
    fn all_of(word: &'t str) -> impl Iterator<Item = Self> {
        let turned = OPPOSITES.iter().map(|&(first, second)| (second, first));
        let pairs = OPPOSITES.iter().copied().chain(turned);
        pairs.filter_map(|(own, theirs)| Some(Self { rest: word.strip_prefix(own)?, theirs }))
    }

    /// "Hypertension", but not "hypertrophy", has the opposite "hypotension"; "increased" has "decrease".
    fn is(&self, word: &str) -> bool {
        let is_same = |rest: &str| rest == self.rest || rest.len() < 3 && self.rest.len() < 3;
        word.strip_prefix(self.theirs).is_some_and(is_same)
    }
}

/// A word of a candidate, compared with all words of the mention.
struct Compared {
    weight: f32,
    is_label: bool,
    is_opposite: bool,
    likeness: Vec<f32>,
}

/// A mention, taken apart.
pub struct Question<'v> {
    vocabulary: &'v Vocabulary,
    words: Vec<Word<'v>>,
    opposites: Vec<Opposite<'v>>,
    /// Candidates share their words.
    compared: NumberMap<Compared>,
}

/// Most of what a generic word weighs.
const GENERIC_WEIGHT: f32 = 2.0;

impl<'v> Question<'v> {
    /// `stem` as of [`stem_of`](crate::normalise::stem_of).
    pub fn of(stem: &'v str, vocabulary: &'v Vocabulary) -> Self {
        let words = meanings_of(stem).map(|text| Word::of(text, vocabulary.word(text), vocabulary)).collect();
        let opposites = meanings_of(stem).flat_map(Opposite::all_of).collect();
        Self { vocabulary, words, opposites, compared: NumberMap::default() }
    }

    /// The features of a stem that resembles the mention with this cosine, without those of its names.
    pub fn features(&mut self, stem: u32, cosine: f64) -> Features {
        let Self { vocabulary, words, opposites, compared } = self;
        let numbers: Vec<u32> = vocabulary.words_of_stem(stem).collect();
        for number in &numbers {
            compared.entry(*number).or_insert_with(|| {
                let other = Word::of(vocabulary.word_text(*number), Some(*number), vocabulary);
                Compared {
                    weight: other.weight,
                    is_label: other.is_label,
                    is_opposite: opposites.iter().any(|opposite| opposite.is(other.text)),
                    likeness: words.iter().map(|word| likeness(word, &other)).collect(),
                }
            });
        }
        let theirs: Vec<&Compared> = numbers.iter().map(|number| &compared[number]).collect();
        // How much there is, how much of it the other has, the weightiest word that it lacks, and missing labels.
        let (mut asked, mut met, mut missed, mut missed_labels) = (0.0, 0.0, 0.0f32, 0u8);
        for (at, word) in words.iter().enumerate() {
            let best = theirs.iter().map(|other| other.likeness[at]).fold(0.0, f32::max);
            asked += word.weight;
            met += word.weight * best;
            missed = missed.max(word.weight * (1.0 - best));
            missed_labels += u8::from(word.is_label && best < 1.0 && missed_labels < 2);
        }
        let (mut given, mut used, mut extra, mut extra_labels) = (0.0, 0.0, 0.0f32, 0u8);
        for other in &theirs {
            let best = other.likeness.iter().copied().fold(0.0, f32::max);
            given += other.weight;
            used += other.weight * best;
            extra = extra.max(other.weight * (1.0 - best));
            extra_labels += u8::from(other.is_label && best < 1.0 && extra_labels < 2);
        }
        let (recall, precision) = (met / f32::max(asked, 1e-6), used / f32::max(given, 1e-6));
        let mut features = [0.0; FEATURES];
        features[0] = cosine as f32;
        features[1] = recall;
        features[2] = precision;
        features[3] = 2.0 * recall * precision / f32::max(recall + precision, 1e-6);
        features[4] = missed / 10.0;
        features[5] = extra / 10.0;
        features[6] = f32::from(missed_labels);
        features[7] = f32::from(extra_labels);
        features[8] = f32::from(u8::from(theirs.iter().any(|other| other.is_opposite)));
        features
    }

    /// Adds what is known of the name and its concept.
    pub fn add_name(&self, features: &mut Features, name: u32, concept: u32) {
        let names = self.vocabulary.names_of(concept);
        features[9] = f32::from(u8::from(names.start == name));
        features[10] = (names.len() as f32).ln_1p();
        features[11] = (self.vocabulary.repeats(concept) as f32).ln_1p();
    }
}

/// From 0 to 1: the same word, words of one root, or words that both say little.
fn likeness(one: &Word, other: &Word) -> f32 {
    if one.number.is_some() && one.number == other.number {
        return 1.0;
    }
    if one.is_generic && other.is_generic {
        return 0.5;
    }
    let (first, second) = (one.text.as_bytes(), other.text.as_bytes());
    let (shortest, longest) = (first.len().min(second.len()), first.len().max(second.len()));
    let front = first.iter().zip(second).take_while(|(one, other)| one == other).count();
    let root = if front >= 4 && 10 * front >= 6 * longest { front as f32 / longest as f32 } else { 0.0 };
    // Most pairs of words have nothing in common, and the distance takes long.
    let back = first.iter().rev().zip(second.iter().rev()).take_while(|(one, other)| one == other).count();
    if shortest < 5 || 4 * shortest < 3 * longest || 2 * (front + back) < shortest {
        return root;
    }
    let spelling = 1.0 - strsim::levenshtein(one.text, other.text) as f32 / longest as f32;
    if spelling >= 0.75 { root.max(spelling) } else { root }
}
