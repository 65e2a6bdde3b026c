//! The best way to find the letters of a short form, in order, in the words before its bracket.
//!
//! Dynamic programming over letters × positions. Each letter gains by where it stands in its word, and each word between
//! two letters costs. The weights were set by hand relative to `AT_START`. A change of any other one by a quarter moves
//! precision and recall on Ab3P's corpus by less than a percentage point.

use std::ops::Range;

/// Gain of a letter that begins a word, or a part of it after a change of case or between letters and digits.
pub(super) const AT_START: f64 = 3.0;
/// Gain of a letter that begins a function word.
const AT_FUNCTION_WORD: f64 = 1.0;
/// Gain of any other letter.
const INSIDE: f64 = 0.5;
/// Further gain of a letter that stands directly before the next one.
const ADJACENT: f64 = 0.9;
/// Gain of a digit that is a word in the long form: `3D`, three-dimensional.
const AS_NUMBER_WORD: f64 = 2.5;
/// Gain of a digit that the long form lacks: `IL2`, interleukin.
const DIGIT_WITHOUT_PLACE: f64 = 0.6;
/// Cost of a word between two letters.
const WORD_LEFT_OUT: f64 = 2.2;
/// Cost of a light word or a number between two letters.
const LIGHT_WORD_LEFT_OUT: f64 = 0.2;
/// Cost of a comma between two letters.
const COMMA: f64 = 2.2;
/// Share of these costs for words after the last letter: `SF` for `short form text`.
const AFTER_LAST: f64 = 0.9;
/// Cost of each word of the long form, so that the shorter of two equal ones wins.
const LENGTH: f64 = 0.05;

/// Function words that long forms have between the words that count.
const LIGHT: [&str; 11] = ["a", "an", "and", "de", "for", "in", "la", "of", "or", "the", "type"];
/// Other function words, which no long form begins with.
const FUNCTION: [&str; 30] = [
    "as", "at", "between", "both", "by", "each", "every", "from", "her", "his", "is", "its", "on", "our", "per", "que",
    "that", "their", "these", "this", "those", "to", "via", "was", "we", "were", "which", "who", "whose", "with",
];
/// How the words for a digit begin.
const NUMBER_WORDS: [(char, &[&str]); 10] = [
    ('0', &["zero"]),
    ('1', &["one", "uni", "mono", "first", "single"]),
    ('2', &["two", "bi", "di", "second", "double", "dual", "twice"]),
    ('3', &["three", "tri", "third", "triple"]),
    ('4', &["four", "tetra", "quad"]),
    ('5', &["five", "penta", "fifth"]),
    ('6', &["six", "hexa"]),
    ('7', &["seven", "hepta"]),
    ('8', &["eight", "octa"]),
    ('9', &["nine", "ninth"]),
];

/// How the words of names of chemicals begin that a hyphen separates: `alpha-1-antitrypsin`.
const CHEMICAL_PREFIXES: [&str; 18] = [
    "alpha", "beta", "bis", "cis", "delta", "di", "epsilon", "gamma", "iso", "kappa", "lambda", "omega", "sec",
    "sigma", "tert", "tetra", "trans", "tri",
];

/// The text that a long form may be taken from, cut into runs of letters and digits.
pub(super) struct Window {
    lower: Vec<char>,
    words: Vec<Range<usize>>,
    /// For each word, what it costs to leave out all words before it.
    before: Vec<f64>,
    /// For each word, what the commas before it cost.
    commas: Vec<f64>,
    /// For each position, the gain of a letter there.
    gains: Vec<f64>,
}

/// An alignment of all letters of a short form.
pub(super) struct Aligned {
    /// Position of the first letter in the window.
    pub start: usize,
    /// Number of words from there to the end of the window.
    pub words: usize,
    /// Mean over the letters.
    pub score: f64,
}

impl Window {
    pub fn new(text: &[char]) -> Self {
        let lower: Vec<char> = text.iter().map(|&c| lower(c)).collect();
        let mut window =
            Self { words: words(text), before: vec![0.0], commas: vec![0.0], gains: vec![INSIDE; text.len()], lower };
        for (at, word) in window.words.iter().enumerate() {
            let folded: String = window.lower[word.clone()].iter().collect();
            let is_light = LIGHT.contains(&folded.as_str());
            let is_genitive = folded == "s" && word.start > 0 && matches!(text[word.start - 1], '\'' | '’');
            let is_number = folded.chars().all(|c| c.is_ascii_digit());
            let left_out = match () {
                () if is_genitive => 0.0,
                () if is_light || is_number => LIGHT_WORD_LEFT_OUT,
                () => WORD_LEFT_OUT,
            };
            window.before.push(window.before[at] + left_out);
            let next = window.words.get(at + 1).map_or(text.len(), |next| next.start);
            let has_comma = text[word.end..next]
                .windows(2)
                .any(|pair| matches!(pair[0], ',' | ':' | ';') && pair[1].is_whitespace());
            window.commas.push(window.commas[at] + if has_comma { COMMA } else { 0.0 });

            let is_function_word = is_light && folded != "type" || FUNCTION.contains(&folded.as_str());
            window.gains[word.start] = if is_function_word { AT_FUNCTION_WORD } else { AT_START };
            for at in word.start + 1..word.end {
                if begins_part(text, word.start, at) {
                    window.gains[at] = AT_START;
                }
            }
        }
        window
    }

    /// Whether a word for `digit` begins at the beginning of `word`.
    fn is_number_word(&self, word: &Range<usize>, digit: char) -> bool {
        let is_here = |name: &&str| self.lower[word.clone()].iter().copied().take(name.len()).eq(name.chars());
        NUMBER_WORDS.iter().any(|(of, names)| *of == digit && names.iter().any(is_here))
    }
}

/// Whether a part of a word begins at `at`: `C57BL`, `mRNA`; also the second letter of `oestrogen`, as in `E2`.
fn begins_part(text: &[char], start: usize, at: usize) -> bool {
    let (before, here) = (text[at - 1], text[at]);
    here.is_uppercase() && before.is_lowercase()
        || here.is_ascii_digit() != before.is_ascii_digit()
        || at == start + 1 && matches!(lower(before), 'o' | 'a') && here == 'e'
}

/// The best alignment of the letters and digits of `short`; of equals, the one that begins last.
pub(super) fn align(short: &[char], window: &Window) -> Option<Aligned> {
    const NONE: f64 = f64::NEG_INFINITY;
    let letters: Vec<char> = short.iter().copied().filter(|c| c.is_alphanumeric()).map(lower).collect();
    let (length, words) = (window.lower.len(), window.words.len());
    // For the letter at hand: score of it at a position and all letters after it behind.
    let mut here = vec![NONE; length];
    // Score of the letters after it behind a position.
    let mut behind = vec![NONE; length];
    for (at, word) in window.words.iter().enumerate() {
        let left_out = window.before[words] - window.before[at + 1];
        behind[word.clone()].fill(-AFTER_LAST * left_out - (window.commas[words] - window.commas[at]));
    }
    for (at, &letter) in letters.iter().enumerate().rev() {
        for word in &window.words {
            for position in word.clone() {
                here[position] = if window.lower[position] == letter {
                    window.gains[position] + behind[position]
                } else if position == word.start && window.is_number_word(word, letter) {
                    AS_NUMBER_WORD + behind[position]
                } else {
                    NONE
                };
            }
        }
        if at == 0 {
            break;
        }
        // The best score in later words, without what it costs to leave out the words before them.
        let mut later = NONE;
        for (of, word) in window.words.iter().enumerate().rev() {
            let mut in_word = NONE;
            for position in word.clone().rev() {
                let mut best = in_word.max(later + window.before[of + 1] + window.commas[of]);
                if position + 1 < word.end {
                    best = best.max(here[position + 1] + ADJACENT);
                }
                if letter.is_ascii_digit() {
                    best = best.max(behind[position] + DIGIT_WITHOUT_PLACE);
                }
                behind[position] = best;
                in_word = in_word.max(here[position]);
            }
            later = later.max(in_word - window.before[of] - window.commas[of]);
        }
    }
    let mut best: Option<Aligned> = None;
    for (at, word) in window.words.iter().enumerate() {
        for position in word.clone().filter(|&position| window.gains[position] == AT_START) {
            let words = words - at;
            let score = (here[position] - LENGTH * words as f64) / letters.len() as f64;
            if score > NONE && best.as_ref().is_none_or(|best| score >= best.score) {
                best = Some(Aligned { start: position, words, score });
            }
        }
    }
    best
}

/// The beginning of the long form whose first letter was found at `start`: of its word, with locants, stereo descriptors
/// and Greek letters before it, as in `2,6-`, `N-(1-`, `alpha-1-` and `17 beta-`.
pub(super) fn with_prefix(text: &[char], start: usize) -> usize {
    let back = |from: usize, is_inner: &dyn Fn(char) -> bool| {
        (0..from).rev().find(|&at| !is_inner(text[at])).map_or(0, |at| at + 1)
    };
    let start = back(start, &char::is_alphanumeric);
    let first = back(start, &|c| !c.is_whitespace());
    let prefix = &text[first..start];
    if !prefix.last().is_some_and(|c| matches!(c, '-' | ')' | ']' | '\'')) {
        return start;
    }
    let names: Vec<String> = prefix
        .split(|c| !c.is_ascii_alphabetic())
        .filter(|name| !name.is_empty())
        .map(|name| name.iter().map(|c| c.to_ascii_lowercase()).collect())
        .collect();
    let is_chemical = |name: &String| name.len() == 1 || CHEMICAL_PREFIXES.contains(&name.as_str());
    let has_digit = prefix.iter().any(|c| c.is_ascii_digit());
    if !names.iter().all(is_chemical) || names.is_empty() && !has_digit || prefix.len() == 1 {
        return start;
    }
    // A number and a space before a Greek letter.
    let space = back(first, &char::is_whitespace);
    let number = back(space, &|c| c.is_ascii_digit());
    let is_locant = space < first && (1..=2).contains(&(space - number)) && names.iter().any(|name| name.len() > 1);
    let is_whole = number == 0 || text[number - 1].is_whitespace();
    if is_locant && is_whole { number } else { first }
}

/// Runs of letters and digits.
fn words(text: &[char]) -> Vec<Range<usize>> {
    let mut words: Vec<Range<usize>> = Vec::new();
    for (at, _) in text.iter().enumerate().filter(|(_, c)| c.is_alphanumeric()) {
        match words.last_mut() {
            Some(word) if word.end == at => word.end += 1,
            _ => words.push(at..at + 1),
        }
    }
    words
}

/// Lower case, one character for one.
fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}
