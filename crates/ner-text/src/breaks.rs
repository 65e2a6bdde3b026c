//! Characters that separate words, lines and pages.

use std::borrow::Cow;

/// Whether this is a control character that stands for white space, other than tab and line breaks: vertical tab, form
/// feed, the four separators U+001C to U+001F, and U+0085 (next line). Notes have them between pages, records and
/// fields.
pub(crate) const fn is_page_break(char: char) -> bool {
    matches!(char, '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1f}' | '\u{85}')
}

/// Whether a line ends here. Page breaks end lines, too.
pub(crate) const fn is_line_break(char: char) -> bool {
    matches!(char, '\n' | '\r' | '\u{2028}' | '\u{2029}') || is_page_break(char)
}

/// Whether this is white space for a reader: Unicode's, and the page breaks that Unicode does not count.
pub(crate) fn is_space(char: char) -> bool {
    char.is_whitespace() || is_page_break(char)
}

/// The text with `to` instead of each page break; positions stay the same.
///
/// BERT's normaliser drops control characters, so that the last word of a page and the first of the next would become
/// one. transformers has this fault. Every other control or format character stays as it is, and each tokenizer does
/// what it does: BERT's drops it, so that NUL, U+00AD (soft hyphen) or U+200B (zero width space) between two letters
/// leaves one word; byte-level BPE makes it a word of its own.
pub(crate) fn without_page_breaks<'t>(text: &'t str, to: &str) -> Cow<'t, str> {
    match text.contains(is_page_break) {
        true => Cow::Owned(text.replace(is_page_break, to)),
        false => Cow::Borrowed(text),
    }
}
