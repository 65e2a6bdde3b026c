//! Abbreviations of a document: where a short form is defined, and where it is used.
//!
//! A definition pairs a short form with its long form, mostly `long form (SF)`. The pair of the bracket and the text
//! beside it is a candidate, as in Schwartz & Hearst 2003 ("A simple algorithm for identifying abbreviation definitions
//! in biomedical text"). An alignment of the short form's letters with the long form scores the candidate, and the
//! lowest score that is accepted depends on the kind of candidate, as in Ab3P (Sohn et al. 2008, "Abbreviation definition
//! identification based on automatic precision estimates"). Nothing is learnt and nothing is looked up.
//!
//! Every window has a largest size, so the time grows with the length of the text, however long its lines are.

mod alignment;
mod brackets;
mod occurrences;

use alignment::{Window, align, with_prefix};
use brackets::{Group, Surroundings};
use ner_document::{CharIndex, Span};
use occurrences::{counts, occurrences};
use std::collections::HashMap;

/// A short form and the long form that the text gives for it. Both are character offsets of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The short form, without its bracket: `TNF`.
    pub short: Span,
    /// The long form: `tumor necrosis factor`.
    pub long: Span,
}

/// A place outside its definition where a short form stands for its long form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The short form, with its plural `s`.
    pub span: Span,
    /// Index of the definition that the use belongs to.
    pub definition: usize,
}

/// Longest short form, in characters. Longer ones are so rare that they cost more precision than they bring.
const LONGEST_SHORT: usize = 14;
/// Most words of a short form: `Ang II`, `S. pyogenes`.
const MOST_SHORT_WORDS: usize = 2;
/// Longest content of a bracket that is examined, in characters.
const LONGEST_GROUP: usize = 200;
/// Most words of a long form that stands in a bracket after its short form.
const MOST_REVERSED_WORDS: usize = 10;
/// Shortest long form of a short form of one letter: `P` for `placebo`, but not `h` for `hour`.
const SHORTEST_OF_ONE_LETTER: usize = 5;

// Lowest scores that are accepted. A score is a mean over the letters of the short form: a letter at the beginning of a
// word brings `alignment::AT_START`, and each word without a letter costs about two thirds of that.

/// For one word (`LPS`, lipopolysaccharide). Low, because a single word leaves little to choose wrongly.
const LOWEST_OF_WORD: f64 = 1.0;
/// For several words.
const LOWEST_OF_PHRASE: f64 = 1.4;
/// For the orders with the long form inside the bracket, which brackets also use for explanations and lists.
const LOWEST_OF_REVERSED: f64 = 1.5;
/// What a short form with fewer than two capitals needs besides: it may be an ordinary word.
const FEW_CAPITALS: f64 = 0.3;
/// For one or two small letters (`aa`, amino acid): every letter begins a word.
const LOWEST_OF_SMALL_LETTERS: f64 = 2.9;
/// What a short form gains that the text uses again outside the bracket.
const USED_AGAIN: f64 = 0.25;

/// A pair that may be a definition.
struct Candidate {
    short: Span,
    long: Span,
    /// Mean of the alignment over the letters of the short form.
    score: f64,
    /// Number of words of the long form, where hyphens separate too.
    words: usize,
    is_reversed: bool,
}

/// The definitions of `text`, in order of their short forms.
///
/// A short form may be defined several times, by the same long form or by others.
pub fn definitions(text: &str) -> Vec<Definition> {
    let chars: Vec<char> = text.chars().collect();
    let surroundings = Surroundings::new(&chars);
    let groups: Vec<Vec<Candidate>> =
        surroundings.groups.iter().map(|group| candidates(&chars, group, &surroundings)).collect();
    let short_of = |candidate: &Candidate| chars[candidate.short.start..candidate.short.end].iter().collect::<String>();
    let counts = counts(text, groups.iter().flatten().map(short_of));
    let is_used_again = |candidate: &Candidate| counts.get(&short_of(candidate)).is_some_and(|&count| count > 1);
    let is_definition = |candidate: &&Candidate| is_definition(&chars, candidate, is_used_again(candidate));
    let mut found: Vec<Definition> = groups
        .iter()
        .filter_map(|candidates| candidates.iter().find(is_definition))
        .map(|candidate| Definition { short: candidate.short, long: candidate.long })
        .collect();
    found.sort_by_key(|definition| (definition.short.start, definition.long.start));
    found.dedup();
    found
}

/// The uses of the short forms of `definitions` in `text`, in order, without overlaps.
///
/// A use is a whole word in the case of its definition, with or without a plural `s`. If two short forms begin at the
/// same place, the longer one wins. A use belongs to the nearest definition before it, otherwise to the first one.
pub fn uses(text: &str, definitions: &[Definition]) -> Vec<Use> {
    let index = CharIndex::new(text);
    let mut by_short: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, definition) in definitions.iter().enumerate() {
        let Some(short) = index.slice(text, definition.short).filter(|short| !short.is_empty()) else { continue };
        by_short.entry(singular(short)).or_default().push(at);
    }
    let mut shorts: Vec<(&str, Vec<usize>)> = by_short.into_iter().collect();
    shorts.sort_unstable();
    for (_, of_short) in &mut shorts {
        of_short.sort_by_key(|&at| definitions[at].short.start);
    }
    let mut defined: Vec<Span> = definitions.iter().map(|definition| definition.short).collect();
    defined.sort_by_key(|span| (span.start, span.end));

    let mut found = occurrences(text, shorts.iter().map(|(short, _)| *short));
    found.sort_by_key(|&(span, _)| (span.start, std::cmp::Reverse(span.end)));
    let (mut uses, mut end) = (Vec::new(), 0);
    for (span, short) in found {
        if span.start < end {
            continue;
        }
        end = span.end;
        if begins_with_one(span, &defined) {
            continue;
        }
        let of_short = &shorts[short].1;
        let before = of_short.partition_point(|&at| definitions[at].short.start < span.start);
        uses.push(Use { span, definition: of_short[before.saturating_sub(1)] });
    }
    uses
}

/// The long form of each place in `text` where a short form stands, its definition included.
pub fn long_forms(text: &str) -> HashMap<Span, Span> {
    let definitions = definitions(text);
    let used = uses(text, &definitions).into_iter().map(|found| (found.span, definitions[found.definition].long));
    used.chain(definitions.iter().map(|definition| (definition.short, definition.long))).collect()
}

/// Whether `span` begins at one of the `sorted` spans: the definition itself is no use.
fn begins_with_one(span: Span, sorted: &[Span]) -> bool {
    let at = sorted.partition_point(|other| other.start < span.start);
    sorted.get(at).is_some_and(|other| other.start == span.start)
}

/// A short form without its plural `s`, which follows a capital or a digit: `AEDs`, but not `Cys`.
fn singular(short: &str) -> &str {
    match short.strip_suffix('s') {
        Some(rest) if rest.chars().next_back().is_some_and(|c| c.is_uppercase() || c.is_ascii_digit()) => rest,
        _ => short,
    }
}

/// The readings of a bracket, in the order in which they are tried.
fn candidates(text: &[char], group: &Group, surroundings: &Surroundings) -> Vec<Candidate> {
    let inner = Span::new(group.open + 1, group.close - 1);
    if inner.is_empty() || inner.len() > LONGEST_GROUP || !stands_alone(text, group) {
        return Vec::new();
    }
    let before = Span::new(surroundings.left_edge(text, group), group.open);
    let mut found = Vec::new();
    found.extend(parts(text, inner).into_iter().filter_map(|short| long_before(text, before, short)));
    found.extend(both_inside(text, inner));
    found.extend(long_inside(text, before, inner));
    found
}

/// Whether a bracket is a remark of its own and not a piece of a name, such as those of `V(T)` and `2(R)-octanol`.
///
/// A bracket glued to a long word is a definition without its space: `ubiquitin(Ub)`.
fn stands_alone(text: &[char], group: &Group) -> bool {
    /// Shortest word that is no piece of a formula.
    const WORD: usize = 4;
    let is_glued = |c: Option<&char>| c.is_some_and(|c| c.is_alphanumeric());
    if is_glued(text.get(group.close)) {
        return false;
    }
    if !is_glued(text[..group.open].last()) {
        return true;
    }
    let small = text[..group.open].iter().rev().take(WORD).filter(|c| c.is_lowercase()).count();
    let inner = &text[group.open + 1..group.close - 1];
    small == WORD && inner.len() > 1 && inner.iter().any(|c| c.is_uppercase())
}

/// `long form (SF)`: also `(SF; a remark)` and `(a remark; SF)`.
fn long_before(text: &[char], before: Span, short: Span) -> Option<Candidate> {
    let short = trimmed(text, short, is_quote_or_space);
    let form = &text[short.start..short.end];
    if !is_short_form(form) {
        return None;
    }
    // Schwartz & Hearst's bound on the number of words, with two more for function words.
    let letters = form.iter().filter(|c| c.is_alphanumeric()).count();
    let before = last_words(text, before, (letters + 5).min(letters * 2 + 2));
    let window = Window::new(&text[before.start..before.end]);
    let best = align(form, &window)?;
    let start = before.start + with_prefix(&text[before.start..before.end], best.start);
    let long = trimmed(text, Span::new(start, before.end), |c| is_quote_or_space(c) || c == '-');
    Some(Candidate { short, long, score: best.score, words: best.words, is_reversed: false })
}

/// `(long form, SF)`.
fn both_inside(text: &[char], inner: Span) -> Option<Candidate> {
    let separator = (inner.start..inner.end.saturating_sub(1))
        .rev()
        .find(|&at| matches!(text[at], ',' | ';') && text[at + 1].is_whitespace())?;
    let short = trimmed(text, Span::new(separator + 1, inner.end), is_quote_or_space);
    reversed(text, short, trimmed(text, Span::new(inner.start, separator), is_quote_or_space))
}

/// `SF (long form)`.
fn long_inside(text: &[char], before: Span, inner: Span) -> Option<Candidate> {
    let short = trimmed(text, last_words(text, before, 1), |c| is_quote_or_space(c) || c == ',');
    let end = (inner.start..inner.end)
        .find(|&at| {
            text[at] == '=' || matches!(text[at], ';' | ':') && text.get(at + 1).is_some_and(|c| c.is_whitespace())
        })
        .unwrap_or(inner.end);
    reversed(text, short, trimmed(text, Span::new(inner.start, end), is_quote_or_space))
}

/// A candidate whose long form is known: all of it must be needed.
fn reversed(text: &[char], short: Span, long: Span) -> Option<Candidate> {
    let (form, words) = (&text[short.start..short.end], &text[long.start..long.end]);
    let capitals = form.iter().filter(|c| c.is_uppercase()).count();
    if !is_short_form(form) || capitals < 2 || words.contains(&'%') {
        return None;
    }
    if words.split(|c| c.is_whitespace()).count() > MOST_REVERSED_WORDS {
        return None;
    }
    let best = align(form, &Window::new(words))?;
    (with_prefix(words, best.start) == 0).then_some(Candidate {
        short,
        long,
        score: best.score,
        words: best.words,
        is_reversed: true,
    })
}

/// Whether a candidate is accepted. `is_used_again`: the text has the short form at another place, too.
fn is_definition(text: &[char], candidate: &Candidate, is_used_again: bool) -> bool {
    let short = &text[candidate.short.start..candidate.short.end];
    let long = &text[candidate.long.start..candidate.long.end];
    if long.len() <= short.len() + 1 || !is_balanced(long) || has_word(long, short) {
        return false;
    }
    let letters = short.iter().filter(|c| c.is_alphanumeric()).count();
    let capitals = short.iter().filter(|c| c.is_uppercase()).count();
    let score = candidate.score + if is_used_again { USED_AGAIN } else { 0.0 };
    if letters == 1 {
        return capitals == 1
            && is_used_again
            && candidate.words == 1
            && long.len() >= SHORTEST_OF_ONE_LETTER
            && !long.contains(&' ');
    }
    if capitals == 0 && letters <= 2 {
        return score >= LOWEST_OF_SMALL_LETTERS && candidate.words == letters;
    }
    if capitals == 0 && short.len() > 4 && short.iter().all(|c| !c.is_alphanumeric() || c.is_lowercase()) {
        return false;
    }
    let lowest = match (candidate.is_reversed, candidate.words) {
        (true, _) => LOWEST_OF_REVERSED,
        (false, 1) => LOWEST_OF_WORD,
        (false, _) => LOWEST_OF_PHRASE,
    };
    score >= lowest + if capitals < 2 { FEW_CAPITALS } else { 0.0 }
}

/// Whether the opening and closing brackets of a long form are equally many.
fn is_balanced(long: &[char]) -> bool {
    let count = |bracket| long.iter().filter(|&&c| c == bracket).count();
    count('(') == count(')') && count('[') == count(']')
}

/// Whether the short form is a word of the long form, in any case.
fn has_word(long: &[char], short: &[char]) -> bool {
    let folded = |chars: &[char]| chars.iter().flat_map(|c| c.to_lowercase()).collect::<String>();
    let short = folded(short);
    long.split(|c| c.is_whitespace()).any(|word| folded(word).trim_matches(['(', ')', ',']) == short)
}

/// Units of a measurement, which a bracket has more often than a short form that begins with a digit.
const UNITS: [&str; 30] = [
    "%", "Hz", "bp", "cm", "d", "day", "days", "degrees", "g", "h", "kDa", "kHz", "kb", "kg", "m", "mM", "mg",
    "microM", "min", "ml", "mm", "months", "nM", "nm", "patients", "s", "weeks", "wk", "years", "yr",
];

/// Whether `form` looks like a short form at all.
fn is_short_form(form: &[char]) -> bool {
    let Some(first) = form.first() else { return false };
    let words = form.split(|c| c.is_whitespace()).filter(|word| !word.is_empty()).count();
    let is_small = !form.iter().any(|c| c.is_uppercase());
    form.len() <= LONGEST_SHORT
        && (first.is_alphanumeric() || matches!(first, '.' | '[' | '-' | '+'))
        && words <= MOST_SHORT_WORDS
        && !(words == 2 && is_small)
        && form.iter().any(|c| c.is_alphabetic())
        && !form.iter().any(|c| matches!(c, '%' | '<' | '>' | '≤' | '≥'))
        && !is_measurement(form)
}

/// Whether `form` is a number with a unit.
fn is_measurement(form: &[char]) -> bool {
    let number = form.iter().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ',')).count();
    let unit: String = form[number..].iter().skip_while(|c| c.is_whitespace()).collect();
    let unit = unit.split(|c: char| !c.is_alphabetic() && c != '%').next().unwrap_or_default();
    number > 0 && UNITS.binary_search(&unit).is_ok()
}

/// The first two parts of the content of a bracket: `TNF` and `10 mM` of `TNF; 10 mM`.
fn parts(text: &[char], inner: Span) -> Vec<Span> {
    const PARTS: usize = 2;
    const CONJUNCTIONS: [&[char]; 2] = [&[' ', 'o', 'r', ' '], &[' ', 'a', 'n', 'd', ' ']];
    let (mut parts, mut start, mut at) = (Vec::new(), inner.start, inner.start);
    while at < inner.end && parts.len() < PARTS {
        let rest = &text[at..inner.end];
        let conjunction = CONJUNCTIONS.iter().find(|conjunction| rest.starts_with(conjunction));
        let is_mark = matches!(rest[0], ',' | ';' | ':') && rest.get(1).is_some_and(|c| c.is_whitespace());
        let length = conjunction.map_or(usize::from(is_mark || rest[0] == '='), |conjunction| conjunction.len());
        if length > 0 {
            parts.push(Span::new(start, at));
            start = at + length;
        }
        at += length.max(1);
    }
    if parts.len() < PARTS {
        parts.push(Span::new(start, inner.end));
    }
    parts
}

/// The last `count` words of `span`, as far as it reaches.
fn last_words(text: &[char], span: Span, count: usize) -> Span {
    let span = trimmed(text, span, char::is_whitespace);
    let starts = (span.start..span.end)
        .rev()
        .filter(|&at| !text[at].is_whitespace() && (at == span.start || text[at - 1].is_whitespace()));
    Span::new(starts.take(count).last().unwrap_or(span.end), span.end)
}

/// `span` without the characters at its ends that `is_outer` names.
fn trimmed(text: &[char], span: Span, is_outer: impl Fn(char) -> bool) -> Span {
    let (mut start, mut end) = (span.start, span.end);
    while end > start && is_outer(text[end - 1]) {
        end -= 1;
    }
    while start < end && is_outer(text[start]) {
        start += 1;
    }
    Span::new(start, end)
}

fn is_quote_or_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '“' | '”' | '‘' | '’')
}
