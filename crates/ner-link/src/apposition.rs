//! Mentions that a document puts beside each other in brackets: "cisplatin (CDDP)", "Mellaril [thioridazine]".

use ner_document::{CharIndex, Span};

/// The pairs of spans where the second stands in brackets behind the first, as their places. `spans` are of one type and
/// sorted.
pub fn pairs(text: &str, index: &CharIndex, spans: &[Span]) -> Vec<(usize, usize)> {
    let slice = |start, end| index.slice(text, Span::new(start, end)).unwrap_or_default();
    let is_pair = |first: Span, second: Span| {
        first.end < second.start
            && second.start - first.end <= 3
            && matches!(slice(first.end, second.start).trim(), "(" | "[")
            && matches!(slice(second.end, second.end + 1), ")" | "]" | ";")
    };
    let neighbours = spans.windows(2).enumerate();
    neighbours.filter(|(_, pair)| is_pair(pair[0], pair[1])).map(|(at, _)| (at, at + 1)).collect()
}
