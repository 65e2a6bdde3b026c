//! Short forms as whole words of a text.

use ner_document::{CharIndex, Span};
use std::collections::{BTreeSet, HashMap, HashSet};

/// How often each of `shorts` occurs in `text`.
pub(super) fn counts(text: &str, shorts: impl Iterator<Item = String>) -> HashMap<String, usize> {
    let shorts: Vec<String> = shorts.collect::<BTreeSet<_>>().into_iter().collect();
    let mut counts = vec![0; shorts.len()];
    for (_, short) in occurrences(text, shorts.iter().map(String::as_str)) {
        counts[short] += 1;
    }
    shorts.into_iter().zip(counts).collect()
}

/// Every whole word of `text` that is one of the distinct `shorts`, or its plural: span and index of the short form, in
/// order of their beginnings and then of their lengths. They may overlap: `MS` and `MS II`.
///
/// A look-up for each beginning and each length of a short form. An automaton over all short forms (aho-corasick) takes
/// quadratic time to build when a text defines a hundred thousand of them.
pub(super) fn occurrences<'t>(text: &str, shorts: impl Iterator<Item = &'t str>) -> Vec<(Span, usize)> {
    let numbers: HashMap<&str, usize> = shorts.enumerate().map(|(number, short)| (short, number)).collect();
    let lengths: BTreeSet<usize> = numbers.keys().map(|short| short.chars().count()).collect();
    let firsts: HashSet<char> = numbers.keys().filter_map(|short| short.chars().next()).collect();
    let (index, chars): (CharIndex, Vec<char>) = (CharIndex::new(text), text.chars().collect());
    let is_in_word = |at: usize| chars.get(at).is_some_and(|c| c.is_alphanumeric());
    let mut found = Vec::new();
    for start in 0..chars.len() {
        if start > 0 && is_in_word(start - 1) || !firsts.contains(&chars[start]) {
            continue;
        }
        for end in lengths.iter().map(|length| start + length).take_while(|&end| end <= chars.len()) {
            let is_plural = chars.get(end) == Some(&'s') && !is_in_word(end + 1);
            let whole_end = end + usize::from(is_plural);
            if is_in_word(whole_end) || end == start + 1 && is_statistic(&chars[whole_end..]) {
                continue;
            }
            let short = index.slice(text, Span::new(start, end)).and_then(|word| numbers.get(word));
            found.extend(short.map(|&short| (Span::new(start, whole_end), short)));
        }
    }
    found
}

/// Whether a letter before `after` is the name of a statistic, as in `P < 0.05` and `P value`, and not a short form.
fn is_statistic(after: &[char]) -> bool {
    let after = after.strip_prefix(&[' ']).or_else(|| after.strip_prefix(&['-'])).unwrap_or(after);
    after.first().is_some_and(|c| matches!(c, '<' | '>' | '=' | '≤' | '≥'))
        || after.starts_with(&['v', 'a', 'l', 'u', 'e'])
}
