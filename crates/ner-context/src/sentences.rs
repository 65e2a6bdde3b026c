//! Sentences of a clinical note.
//!
//! A note breaks its lines by hand: at the end of a line a sentence may end, or go on. It goes on where the next word
//! would not have fitted into the width of the text, or where the words on both sides say so.

use crate::sections::{Section, bullet};
use crate::words::Word;
use ner_document::{CharIndex, Document, Span};
use ner_text::sentences_of_text;
use std::ops::Range;

/// The lines of a text as ranges of its words; lines without words are empty ranges.
pub(crate) fn lines(text: &str, words: &[Word]) -> Vec<Range<usize>> {
    let (mut lines, mut first, mut position) = (Vec::new(), 0, 0);
    for line in text.split(is_line_end) {
        let end = position + line.chars().count();
        let last = first + words[first..].partition_point(|word| word.span.start < end);
        lines.push(first..last);
        (first, position) = (last, end + 1);
    }
    lines
}

fn is_line_end(char: char) -> bool {
    matches!(char, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Narrowest and widest text whose lines are broken by hand.
const WIDTHS: std::ops::RangeInclusive<usize> = 50..=132;
/// A line of fewer characters that ends without a comma is an item of a list, not the beginning of a sentence.
const SHORTEST: usize = 25;

/// Words at the end of a line that no sentence ends with.
const CONNECTING: [&str; 18] = [
    "and", "or", "of", "with", "the", "no", "to", "for", "in", "a", "an", "nor", "by", "any", "on", "from", "without",
    "denies",
];

/// Whether each line is continued by the next.
fn continues(lines: &[Range<usize>], words: &[Word], headings: &[Span]) -> Vec<bool> {
    let width = |line: &Range<usize>| match &words[line.clone()] {
        [] => 0,
        [first, .., last] => last.span.end - first.span.start,
        [word] => word.span.len(),
    };
    let widest = lines.iter().map(width).max().unwrap_or(0);
    let pair = |pair: &[Range<usize>]| {
        let (line, next) = (&pair[0], &pair[1]);
        let (Some(last), Some(first)) = (words[line.clone()].last(), words[next.clone()].first()) else { return false };
        // Headings are in order.
        let is_heading = |position| headings.binary_search_by_key(&position, |heading| heading.start).is_ok();
        if bullet(&words[next.clone()]) > 0 || is_heading(first.span.start) {
            return false;
        }
        if matches!(first.text, "," | ";" | ")" | "/") {
            return true;
        }
        match last.text {
            "," | "-" | "/" | "&" | "(" => true,
            "." | "?" | "!" | ";" | ":" => false,
            _ if headings.binary_search_by_key(&last.span.end, |heading| heading.end).is_ok() => false,
            text if CONNECTING.contains(&text) => true,
            _ if first.text.starts_with(char::is_lowercase) => width(line) >= SHORTEST,
            _ => WIDTHS.contains(&widest) && width(line) >= SHORTEST && width(line) + 1 + first.span.len() > widest,
        }
    };
    lines.windows(2).map(pair).collect()
}

/// The sentences of a document as ranges of its words, in order and without empty ones. Those that a corpus marks are not
/// used: the lines of i2b2 and of many CoNLL files end within sentences.
pub(crate) fn sentences(
    document: &Document,
    words: &[Word],
    lines: &[Range<usize>],
    sections: &[Section],
) -> Vec<Range<usize>> {
    let headings: Vec<Span> = sections.iter().map(|section| section.heading).collect();
    let mut bounds: Vec<usize> = headings.iter().map(|heading| heading.start).collect();
    bounds.extend(bounds_of_text(document, &document.char_index(), words, lines, &headings));
    bounds.sort_unstable();
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut first = 0;
    for bound in bounds.into_iter().chain([usize::MAX]) {
        let last = first + words[first..].partition_point(|word| word.span.start < bound);
        if first < last {
            // "Chest pain? No." is one statement.
            match found.last_mut() {
                Some(before) if words[before.end - 1].text == "?" && is_answer(&words[first..last]) => {
                    before.end = last;
                }
                // "?pneumonia", "? pneumonia"
                Some(before)
                    if words[before.end - 1].text == "?"
                        && (before.len() == 1 || words[first - 1].span.end == words[first].span.start) =>
                {
                    before.end = last;
                }
                // "1. No fever"
                Some(before) if bullet(&words[before.clone()]) == before.len() => before.end = last,
                _ => found.push(first..last),
            }
            first = last;
        }
    }
    found
}

/// Abbreviations of more than three letters. A full stop behind another such word ends its sentence.
const SHORT: [&str; 12] =
    ["prob", "poss", "susp", "resp", "temp", "hosp", "approx", "diff", "hist", "assoc", "dept", "incl"];

/// Whether a sentence is a short answer.
fn is_answer(sentence: &[Word]) -> bool {
    let is = |answers: &[&str]| answers.iter().any(|answer| sentence[0].text.eq_ignore_ascii_case(answer));
    sentence.len() <= 2 && is(&["no", "none", "never", "denies", "denied", "negative", "yes", "n", "y"])
}

/// Positions where a sentence begins or ends, unordered.
fn bounds_of_text(
    document: &Document,
    index: &CharIndex,
    words: &[Word],
    lines: &[Range<usize>],
    headings: &[Span],
) -> Vec<usize> {
    // Line breaks within a sentence become blanks, so that positions stay.
    let mut text: Option<Vec<char>> = None;
    for (at, _) in continues(lines, words, headings).iter().enumerate().filter(|(_, continues)| **continues) {
        let chars = text.get_or_insert_with(|| document.text.chars().collect());
        let (end, start) = (words[lines[at].end - 1].span.end, words[lines[at + 1].start].span.start);
        chars[end..start].fill(' ');
    }
    let joined: Option<String> = text.map(|chars| chars.into_iter().collect());
    let joined_index = joined.as_ref().map(|text| CharIndex::new(text));
    let (text, index) = match (&joined, &joined_index) {
        (Some(text), Some(index)) => (text.as_str(), index),
        _ => (document.text.as_str(), index),
    };
    let mut passages: Vec<Span> = document.passages.iter().map(|passage| passage.span).collect();
    if passages.is_empty() {
        passages.push(Span::new(0, index.len()));
    }
    let mut bounds = Vec::new();
    for passage in passages {
        let sentences = sentences_of_text(index.slice(text, passage).unwrap_or_default(), passage.start);
        bounds.extend(sentences.iter().map(|sentence| sentence.start));
        bounds.push(passage.end);
    }
    // "No fever.Has cough": a full stop without a blank.
    let glued = |three: &[Word]| {
        let [before, stop, after] = three else { return false };
        let is_lower = before.text.len() > 2 && before.text.chars().all(char::is_lowercase);
        let is_capital = after.text.len() > 1 && after.text.starts_with(char::is_uppercase);
        stop.text == "." && is_lower && is_capital && stop.span.end == after.span.start
    };
    bounds.extend(words.windows(3).filter(|three| glued(three)).map(|three| three[2].span.start));
    // "No." is an answer, and the abbreviation of "number" only before one. A small letter may begin a sentence, too.
    let is_number = |word: &Word| word.text.starts_with(|c: char| c.is_ascii_digit());
    let ends = |three: &[Word]| {
        let [before, stop, after] = three else { return false };
        let is_no = before.text.eq_ignore_ascii_case("no") && !is_number(after);
        let is_whole = before.text.len() > 3 && before.text.chars().all(char::is_lowercase);
        let is_whole = is_whole && !SHORT.contains(&before.text);
        stop.text == "."
            && stop.span.end < after.span.start
            && (is_no || is_whole && after.is_word() && !is_number(after))
    };
    bounds.extend(words.windows(3).filter(|three| ends(three)).map(|three| three[2].span.start));
    // "Chest pain: no  Dyspnea: yes": columns of a form.
    let parts = |two: &[Word]| is_answer(&two[..1]) && two[1].span.start > two[0].span.end + 1;
    bounds.extend(words.windows(2).filter(|two| parts(two)).map(|two| two[1].span.start));
    // "1) no pain 2) cough"
    let item = |three: &[Word]| {
        let [before, number, bracket] = three else { return false };
        let is_item = number.text.len() <= 2 && number.text.bytes().all(|b| b.is_ascii_digit()) && bracket.text == ")";
        is_item && before.is_word() && before.span.end < number.span.start
    };
    bounds.extend(words.windows(3).filter(|three| item(three)).map(|three| three[1].span.start));
    bounds
}
