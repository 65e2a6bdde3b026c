//! Cuts a document into windows for the encoder.

use crate::Token;
use ner_document::Span;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Length of the encoder's windows, and where they may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowSize {
    /// Maximum tokens of a window, special tokens included.
    pub max_tokens: usize,
    /// Minimum tokens shared by adjacent windows, if a sentence or an uncut document is longer than one.
    pub overlap: usize,
    /// A window holds as many whole sentences as fit into this many tokens, and at least one. At `max_tokens` or above,
    /// documents are not cut at sentences.
    pub packed: usize,
}

impl Default for WindowSize {
    /// 512 tokens, the number of positions that BERT was trained with; a quarter of them shared.
    fn default() -> Self {
        Self { max_tokens: 512, overlap: 128, packed: 512 }
    }
}

/// The first tokens of sentences that also begin a word.
pub(crate) fn sentence_starts(tokens: &[Token], sentences: &[Span]) -> Vec<usize> {
    let first = |sentence: &Span| tokens.partition_point(|token| token.span.start < sentence.start);
    let mut starts: Vec<usize> = sentences.iter().map(first).filter(|&at| is_word_start(tokens, at)).collect();
    starts.insert(0, 0);
    starts.retain(|&at| at < tokens.len());
    starts.dedup();
    starts
}

/// Runs of whole sentences of at most `most` tokens, or of one longer sentence. Together they cover all `len` tokens.
pub(crate) fn packed(sentences: &[usize], len: usize, most: usize) -> Vec<Range<usize>> {
    let ends = sentences.iter().skip(1).copied().chain([len]);
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (&start, end) in sentences.iter().zip(ends) {
        match runs.last_mut() {
            Some(run) if end - run.start <= most => run.end = end,
            _ => runs.push(start..end),
        }
    }
    runs
}

/// Cuts `tokens` into evenly spread windows of at most `room` tokens that share at least `overlap` (less than `room`).
/// Cuts between words if a word boundary is near. Cores meet in the middle of the tokens that two windows share.
pub(crate) fn windows_of(tokens: &[Token], room: usize, overlap: usize) -> Vec<(Range<usize>, Range<usize>)> {
    let len = tokens.len();
    if len == 0 {
        return Vec::new();
    }
    let search = CUT_SEARCH.min(room - overlap - 1);
    // A start may move back to the first piece of a word. Planning with less room keeps the overlap, and the last
    // window still reaches the end.
    let planned = if len <= room { room } else { room - search };
    let count = if len <= room { 1 } else { (len - overlap).div_ceil(planned - overlap) };
    let mut starts: Vec<usize> = (0..count)
        .map(|at| if at == 0 { 0 } else { word_start_before(tokens, at * (len - planned) / (count - 1), search) })
        .collect();
    // Moving back may make a window redundant, or let two windows start at the same token.
    let mut at = 1;
    while at < starts.len() {
        let end_before = starts[at - 1] + room;
        let needless = starts.get(at + 1).map_or(end_before >= len, |next| end_before >= next + overlap);
        if needless {
            starts.remove(at);
        } else {
            at += 1;
        }
    }
    let mut core_start = 0;
    let mut windows = Vec::with_capacity(starts.len());
    for (at, &start) in starts.iter().enumerate() {
        let end = (start + room).min(len);
        let core_end = match starts.get(at + 1) {
            Some(&next) => {
                let middle = next.midpoint(end);
                let cut = word_start_before(tokens, middle, search).max(next);
                // In a word of very many pieces the nearest boundary may be the start of this core.
                if cut > core_start { cut } else { middle }
            }
            None => len,
        };
        windows.push((start..end, core_start..core_end));
        core_start = core_end;
    }
    windows
}

/// A cut moves back over at most this many tokens to a word boundary; words of more pieces are cut inside.
const CUT_SEARCH: usize = 32;

fn is_word_start(tokens: &[Token], at: usize) -> bool {
    at == 0 || at >= tokens.len() || tokens[at].word != tokens[at - 1].word
}

/// The last word start at or before `at`, at most `search` tokens back; otherwise `at`.
fn word_start_before(tokens: &[Token], at: usize, search: usize) -> usize {
    (at.saturating_sub(search)..=at).rev().find(|&cut| is_word_start(tokens, cut)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(at: usize, word: u32) -> Token {
        Token { id: 1, span: Span::new(at, at + 1), word, starts_line: false, starts_page: false }
    }

    fn tokens(words: &[usize]) -> Vec<Token> {
        let pieces = words.iter().enumerate().flat_map(|(word, &len)| std::iter::repeat_n(word, len));
        pieces.enumerate().map(|(at, word)| token(at, word as u32)).collect()
    }

    proptest! {
        #[test]
        fn every_token_is_predicted_once_and_no_window_is_too_long(
            words in prop::collection::vec(1usize..70, 0..80), overlap in 0usize..140, beyond in 1usize..400,
        ) {
            let tokens = tokens(&words);
            let room = overlap + beyond;
            let windows = windows_of(&tokens, room, overlap);
            let mut at = 0;
            for (shown, core) in &windows {
                prop_assert!(shown.len() <= room);
                prop_assert!(shown.start <= core.start && core.end <= shown.end);
                prop_assert!(!core.is_empty());
                prop_assert_eq!(core.start, at);
                at = core.end;
            }
            prop_assert_eq!(at, tokens.len());
            prop_assert!(tokens.len() > room || windows.len() <= 1);
            for pair in windows.windows(2) {
                prop_assert!(pair[0].0.end >= pair[1].0.start + overlap);
            }
        }

        #[test]
        fn runs_of_sentences_are_all_tokens_and_no_longer_than_they_must_be(
            lengths in prop::collection::vec(1usize..40, 0..30), most in 1usize..200,
        ) {
            let starts: Vec<usize> = lengths.iter().scan(0, |at, len| { *at += len; Some(*at - len) }).collect();
            let len = lengths.iter().sum();
            let runs = packed(&starts, len, most);
            let mut at = 0;
            for run in &runs {
                prop_assert_eq!(run.start, at);
                prop_assert!(starts.contains(&run.start) && !run.is_empty());
                prop_assert!(run.len() <= most || starts.iter().filter(|start| run.contains(start)).count() == 1);
                at = run.end;
            }
            prop_assert_eq!(at, len);
            // No sentence that follows would have fitted.
            for pair in runs.windows(2) {
                let next = starts.iter().copied().chain([len]).find(|&start| start > pair[1].start).unwrap_or(len);
                prop_assert!(next - pair[0].start > most);
            }
        }
    }
}
