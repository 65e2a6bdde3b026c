use serde::{Deserialize, Serialize};

/// A half-open range of positions in a text, counted in Unicode scalar values (`char`s), not bytes.
///
/// `Span { start: 2, end: 5 }` covers the positions 2, 3 and 4. A span with `start == end` is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    /// First position.
    pub start: usize,
    /// Position after the last.
    pub end: usize,
}

impl Span {
    /// A span over the positions `start..end`.
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// Number of positions covered.
    pub const fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether the span covers no position.
    pub const fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// Whether the two spans share at least one position.
    pub const fn overlaps(self, other: Self) -> bool {
        let start = if self.start > other.start { self.start } else { other.start };
        let end = if self.end < other.end { self.end } else { other.end };
        start < end
    }

    /// Whether every position of `other` is covered by `self`.
    pub const fn covers(self, other: Self) -> bool {
        other.is_empty() || (self.start <= other.start && other.end <= self.end)
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// Converts between character positions and byte positions of one text.
///
/// Takes 4 bytes per character for text that is not ASCII, and none for ASCII.
#[derive(Clone, Debug)]
pub struct CharIndex {
    /// Byte position of each character, and of the end; `None` for ASCII, whose positions are the same in both units.
    byte_of_char: Option<Vec<u32>>,
    len: usize,
}

impl CharIndex {
    /// Indexes `text`.
    pub fn new(text: &str) -> Self {
        if text.is_ascii() {
            return Self { byte_of_char: None, len: text.len() };
        }
        let ends = std::iter::once(text.len());
        let byte_of_char: Vec<u32> = text.char_indices().map(|(at, _)| at).chain(ends).map(|at| at as u32).collect();
        Self { len: byte_of_char.len() - 1, byte_of_char: Some(byte_of_char) }
    }

    /// Number of characters of the text.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the text is empty.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Byte range of `span`, or `None` if it reaches past the text or is inverted.
    pub fn bytes(&self, span: Span) -> Option<std::ops::Range<usize>> {
        if span.start > span.end || span.end > self.len {
            return None;
        }
        Some(match &self.byte_of_char {
            None => span.start..span.end,
            Some(at) => at[span.start] as usize..at[span.end] as usize,
        })
    }

    /// Character span of a byte range, or `None` if an end lies inside a character or past the text.
    pub fn span(&self, bytes: std::ops::Range<usize>) -> Option<Span> {
        let position = |byte: usize| match &self.byte_of_char {
            None => (byte <= self.len).then_some(byte),
            Some(at) => at.binary_search(&u32::try_from(byte).ok()?).ok(),
        };
        Some(Span::new(position(bytes.start)?, position(bytes.end)?))
    }

    /// The part of `text` (which must be the indexed text) that `span` covers.
    pub fn slice<'t>(&self, text: &'t str, span: Span) -> Option<&'t str> {
        text.get(self.bytes(span)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn positions(span: Span) -> BTreeSet<usize> {
        (span.start..span.end).collect()
    }

    proptest! {
        #[test]
        fn a_span_is_the_set_of_its_positions(a in 0usize..12, b in 0usize..12, c in 0usize..12, d in 0usize..12) {
            let (left, right) = (Span::new(a, b), Span::new(c, d));
            prop_assert_eq!(left.len(), positions(left).len());
            prop_assert_eq!(left.is_empty(), positions(left).is_empty());
            prop_assert_eq!(left.overlaps(right), !positions(left).is_disjoint(&positions(right)));
            prop_assert_eq!(left.overlaps(right), right.overlaps(left));
            if !left.is_empty() {
                prop_assert_eq!(left.covers(right), positions(right).is_subset(&positions(left)));
            }
        }

        #[test]
        fn characters_and_bytes_agree(text in "\\PC{0,20}", start in 0usize..24, len in 0usize..24) {
            let index = CharIndex::new(&text);
            let chars: Vec<char> = text.chars().collect();
            prop_assert_eq!(index.len(), chars.len());
            let span = Span::new(start, start + len);
            let expected: Option<String> = chars.get(start..start + len).map(|part| part.iter().collect());
            prop_assert_eq!(index.slice(&text, span).map(str::to_owned), expected);
            if let Some(bytes) = index.bytes(span) {
                prop_assert_eq!(index.span(bytes), Some(span));
            }
        }
    }
}
