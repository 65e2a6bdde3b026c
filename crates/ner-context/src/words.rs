//! The words of a text, as the rules see them.

use ner_document::Span;

/// A run of letters, digits and apostrophes, or one other character that is not white space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word<'t> {
    pub span: Span,
    pub text: &'t str,
}

impl Word<'_> {
    /// Whether this is a run of letters or digits.
    pub fn is_word(self) -> bool {
        self.text.chars().next().is_some_and(char::is_alphanumeric)
    }

    /// Lower case, with a plain apostrophe: the form in which words are compared.
    pub fn folded(self) -> String {
        fold(self.text)
    }
}

/// Lower case, with a plain apostrophe.
pub(crate) fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).map(|c| if is_apostrophe(c) { '\'' } else { c }).collect()
}

const fn is_apostrophe(char: char) -> bool {
    matches!(char, '\'' | '’' | '´' | '`')
}

/// The words of a text in order.
pub(crate) fn words(text: &str) -> Vec<Word<'_>> {
    let mut words: Vec<Word> = Vec::with_capacity(text.len() / 5);
    // Byte and character position at which the current run began.
    let mut run: Option<(usize, usize)> = None;
    let mut chars = text.char_indices().enumerate().peekable();
    while let Some((at, (byte, char))) = chars.next() {
        let next = chars.peek().map(|&(_, (_, next))| next);
        let is_inner = is_apostrophe(char) && run.is_some() && next.is_some_and(char::is_alphabetic);
        if char.is_alphanumeric() || is_inner {
            let (first_byte, first) = *run.get_or_insert((byte, at));
            if !next.is_some_and(|next| next.is_alphanumeric() || is_apostrophe(next)) {
                words.push(Word { span: Span::new(first, at + 1), text: &text[first_byte..byte + char.len_utf8()] });
                run = None;
            }
            continue;
        }
        if let Some((first_byte, first)) = run.take() {
            words.push(Word { span: Span::new(first, at), text: &text[first_byte..byte] });
        }
        if !char.is_whitespace() {
            words.push(Word { span: Span::new(at, at + 1), text: &text[byte..byte + char.len_utf8()] });
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use ner_document::CharIndex;
    use proptest::prelude::*;

    #[test]
    fn runs_and_single_characters() {
        let texts = |text| words(text).into_iter().map(|word| word.text).collect::<Vec<_>>();
        assert_eq!(
            texts("He doesn’t c/o (pain), 5.5mg."),
            ["He", "doesn’t", "c", "/", "o", "(", "pain", ")", ",", "5", ".", "5mg", "."]
        );
        assert_eq!(texts("'a' b's' x'"), ["'", "a", "'", "b's", "'", "x", "'"]);
    }

    proptest! {
        #[test]
        fn words_cover_all_but_white_space(text in "[a-z’' é.\n]{0,30}|\\PC{0,30}") {
            let index = CharIndex::new(&text);
            let found = words(&text);
            for word in &found {
                prop_assert_eq!(index.slice(&text, word.span), Some(word.text));
            }
            prop_assert!(found.windows(2).all(|pair| pair[0].span.end <= pair[1].span.start));
            let covered: usize = found.iter().map(|word| word.span.len()).sum();
            prop_assert_eq!(covered, text.chars().filter(|c| !c.is_whitespace()).count());
        }
    }
}
