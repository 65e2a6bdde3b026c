//! Which of the names that resemble a mention it means.
//!
//! The cosine of 3-grams alone takes "hepatic impairment" for "renal impairment": long words count most. Here words count
//! by how rare they are in the vocabulary, words of one root count nearly as equals, and words that most names of problems
//! could have ("impairment", "disease") count little. A linear function of such features decides. Its weights were fitted
//! by `scripts/link_ranker.py`; they know nothing of particular words.

use crate::normalise::meanings_of;
use crate::vocabulary::Vocabulary;

/// Number of features.
pub const FEATURES: usize = 16;

/// The logarithm of how often names of the concept were given again.
const REPEATS: usize = 14;
/// The logarithm of how many names of the concept are candidates.
pub const SUPPORT: usize = 15;

/// What a candidate has in common with a mention.
pub type Features = [f32; FEATURES];

/// Words that say that something is wrong, but not what, in the singular.
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

/// Fitted to mentions of BC5CDR's training split, diseases and chemicals, that are no name.
const WEIGHTS: Features =
    [0.0, 8.93, -2.44, -2.57, 6.01, -1.3, -2.97, -0.7, -1.11, -0.26, -0.88, -0.0, 0.96, -0.06, 0.51, 0.0];

/// The logit of the probability that a candidate is right.
pub fn logit(features: &Features) -> f32 {
    features.iter().zip(WEIGHTS).map(|(feature, weight)| feature * weight).sum()
}

pub fn probability(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

struct Word {
    text: String,
    number: Option<u32>,
    weight: f32,
    is_generic: bool,
    is_label: bool,
}

fn is_label(word: &str) -> bool {
    word.len() < 3 || word.starts_with(|char: char| char.is_ascii_digit())
}

/// A mention, taken apart.
pub struct Asked<'v> {
    vocabulary: &'v Vocabulary,
    words: Vec<Word>,
    length: usize,
}

const GENERIC_WEIGHT: f32 = 2.0;

impl<'v> Asked<'v> {
    pub fn of(stem: &str, vocabulary: &'v Vocabulary) -> Self {
        let words = meanings_of(stem).map(|text| Self::word(vocabulary, text, vocabulary.word(text))).collect();
        Self { vocabulary, words, length: stem.len() }
    }

    fn word(vocabulary: &Vocabulary, text: &str, number: Option<u32>) -> Word {
        let is_generic = GENERIC.contains(&text);
        let weight = vocabulary.word_weight(number);
        let weight = if is_generic { weight.min(GENERIC_WEIGHT) } else { weight };
        Word { text: text.to_owned(), number, weight, is_generic, is_label: is_label(text) }
    }

    /// The features of a stem that resembles the mention with this cosine.
    pub fn features(&self, stem: u32, cosine: f64) -> Features {
        let vocabulary = self.vocabulary;
        let theirs: Vec<Word> = vocabulary
            .words_of_stem(stem)
            .map(|word| Self::word(vocabulary, vocabulary.word_text(word), Some(word)))
            .collect();
        let mut credits = vec![0.0f32; theirs.len()];
        let (mut asked, mut met, mut missed_labels, mut opposites, mut missed_most) = (0.0, 0.0, 0.0, 0.0f32, 0.0f32);
        for word in &self.words {
            let mut best = 0.0f32;
            for (other, credit) in theirs.iter().zip(&mut credits) {
                let alike = likeness(word, other);
                best = best.max(alike);
                *credit = credit.max(alike);
                opposites = opposites.max(opposite(&word.text, &other.text));
            }
            asked += word.weight;
            met += word.weight * best;
            missed_most = missed_most.max(word.weight * (1.0 - best));
            if word.is_label && best < 1.0 {
                missed_labels += 1.0;
            }
        }
        let (mut given, mut used, mut extra_labels, mut extra_most) = (0.0, 0.0, 0.0, 0.0f32);
        let mut length = 0;
        for (other, credit) in theirs.iter().zip(&credits) {
            given += other.weight;
            used += other.weight * credit;
            extra_most = extra_most.max(other.weight * (1.0 - credit));
            length += other.text.len() + 1;
            if other.is_label && *credit < 1.0 {
                extra_labels += 1.0;
            }
        }
        let (recall, precision) = (met / asked.max(1e-6), used / given.max(1e-6));
        let length = length.saturating_sub(1).max(1) as f32;
        let own = self.length.max(1) as f32;
        let mut features = [0.0; FEATURES];
        features[0] = 1.0;
        features[1] = cosine as f32;
        features[2] = recall;
        features[3] = precision;
        features[4] = 2.0 * recall * precision / (recall + precision).max(1e-6);
        features[5] = missed_most / 10.0;
        features[6] = extra_most / 10.0;
        features[7] = f32::min(missed_labels, 2.0);
        features[8] = f32::min(extra_labels, 2.0);
        features[9] = opposites;
        features[10] = (length / own).ln().abs();
        features[11] = f32::from(self.words.len() == 1 && own < 6.0);
        features
    }

    /// Adds what is known of the name and its concept.
    pub fn with_name(&self, features: &mut Features, name: u32, concept: u32) {
        let names = self.vocabulary.names_of(concept);
        features[12] = f32::from(names.start == name);
        features[13] = (names.len() as f32).ln_1p();
        features[REPEATS] = (self.vocabulary.repeats(concept) as f32).ln_1p();
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
    let spelling = 1.0 - strsim::levenshtein(&one.text, &other.text) as f32 / longest as f32;
    if spelling >= 0.75 { root.max(spelling) } else { root }
}

fn opposite(one: &str, other: &str) -> f32 {
    let is_pair = |first: &str, second: &str| {
        one.strip_prefix(first).zip(other.strip_prefix(second)).is_some_and(|(one, other)| {
            // "hypertension", but not "hypertrophy", against "hypotension"; "increased" against "decrease".
            one == other || first.len() > 5 || one.is_empty() || other.is_empty()
        })
    };
    f32::from(OPPOSITES.iter().any(|(first, second)| is_pair(first, second) || is_pair(second, first)))
}
