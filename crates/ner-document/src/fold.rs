//! Folded texts for comparison: lower case, each run of white space as one space, trimmed.

use crate::Span;
use unicode_normalization::char::is_combining_mark;

/// A folded text (lower case, each run of white space as one space, trimmed) with a map back to the original.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// The folded text.
    pub text: String,
    /// For each byte of `text`, the character of the original that it comes from.
    origin: Vec<u32>,
}

impl Folded {
    /// Folds `text`.
    pub fn new(text: &str) -> Self {
        let mut folded = Self { text: String::with_capacity(text.len()), origin: Vec::with_capacity(text.len()) };
        let mut space = None;
        for (at, char) in text.chars().enumerate() {
            if char.is_whitespace() {
                space = space.or(Some(at));
                continue;
            }
            if let Some(space) = space.take().filter(|_| !folded.text.is_empty()) {
                folded.push(' ', space);
            }
            char.to_lowercase().for_each(|lower| folded.push(lower, at));
        }
        folded
    }

    fn push(&mut self, char: char, at: usize) {
        self.text.push(char);
        self.origin.resize(self.text.len(), at as u32);
    }

    /// The characters of the original that a non-empty range of bytes comes from.
    pub fn span(&self, bytes: std::ops::Range<usize>) -> Span {
        Span::new(self.origin[bytes.start] as usize, self.origin[bytes.end - 1] as usize + 1)
    }

    /// Whether both ends of the byte range are word boundaries, that is, not between two letters or digits.
    pub fn is_word_bounded(&self, bytes: &std::ops::Range<usize>) -> bool {
        let inside = |at: usize| {
            let before = self.text[..at].chars().next_back().is_some_and(is_word_char);
            before && self.text[at..].chars().next().is_some_and(is_word_char)
        };
        !inside(bytes.start) && !inside(bytes.end)
    }
}

/// Folds `text`, without the map back.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.extend(word.chars().flat_map(char::to_lowercase));
    }
    folded
}

fn is_word_char(char: char) -> bool {
    char.is_alphanumeric() || is_combining_mark(char)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CharIndex;
    use proptest::prelude::*;

    #[test]
    fn folding() {
        let check = |text: &str, expected: &str| assert_eq!(fold(text), expected, "{text:?}");
        check("", "");
        check(" \n", "");
        check(" Fever\n and\u{a0}\tRIGORS ", "fever and rigors");
        check("ΣΊΣΥΦΟΣ İ", "σίσυφοσ i\u{307}");
    }

    proptest! {
        #[test]
        fn both_ways_of_folding_agree_and_lead_back(text in "[a-cİß \n\u{301}]{0,12}|\\PC{0,20}") {
            let folded = Folded::new(&text);
            prop_assert_eq!(&folded.text, &fold(&text));
            prop_assert_eq!(folded.origin.len(), folded.text.len());
            for (at, char) in folded.text.char_indices() {
                let span = folded.span(at..at + char.len_utf8());
                let original = CharIndex::new(&text).slice(&text, span).expect("inside").to_owned();
                prop_assert!(fold(&original).contains(char) || (char == ' ' && fold(&original).is_empty()));
            }
        }
    }
}
