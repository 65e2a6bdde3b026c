//! Short forms as whole words of a text.

use aho_corasick::AhoCorasick;
use ner_document::{CharIndex, Span};
use std::collections::{BTreeSet, HashMap};

/// How often each of `shorts` occurs in `text`.
pub(super) fn counts(text: &str, shorts: impl Iterator<Item = String>) -> HashMap<String, usize> {
    let shorts: Vec<String> = shorts.collect::<BTreeSet<_>>().into_iter().collect();
    let mut counts = vec![0; shorts.len()];
    for (_, short) in occurrences(text, shorts.iter().map(String::as_str)) {
        counts[short] += 1;
    }
    shorts.into_iter().zip(counts).collect()
}

/// Every whole word of `text` that is one of `shorts`, which are not empty, or its plural: span and index of the short
/// form, in order of their ends. They may overlap: `MS II` and `MS`.
pub(super) fn occurrences<'t>(text: &str, shorts: impl Iterator<Item = &'t str>) -> Vec<(Span, usize)> {
    let shorts: Vec<&str> = shorts.collect();
    if shorts.is_empty() {
        return Vec::new();
    }
    let automaton = AhoCorasick::new(&shorts).expect("the short forms of one text fit into an automaton");
    let index = CharIndex::new(text);
    let mut found = Vec::new();
    for hit in automaton.find_overlapping_iter(text) {
        let short = hit.pattern().as_usize();
        let after = &text[hit.end()..];
        let plural = usize::from(after.starts_with('s') && !begins_with_word(&after[1..]));
        let after = &after[plural..];
        let is_whole = !text[..hit.start()].chars().next_back().is_some_and(char::is_alphanumeric)
            && !begins_with_word(after)
            && !(shorts[short].chars().count() == 1 && is_statistic(after));
        if is_whole && let Some(span) = index.span(hit.start()..hit.end() + plural) {
            found.push((span, short));
        }
    }
    found
}

fn begins_with_word(text: &str) -> bool {
    text.chars().next().is_some_and(char::is_alphanumeric)
}

/// Whether a letter before `after` is the name of a statistic, as in `P < 0.05` and `P value`, and not a short form.
fn is_statistic(after: &str) -> bool {
    let after = after.strip_prefix([' ', '-']).unwrap_or(after);
    after.starts_with(['<', '>', '=', '≤', '≥']) || after.starts_with("value")
}
