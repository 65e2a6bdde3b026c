use crate::{Document, Span};
use std::collections::HashSet;

/// The sentences of a document: those that the corpus marks, or else what lies between line breaks, beginnings of
/// passages, and `.`, `!` or `?` (with quotes and brackets that close) before whitespace and what is no small letter.
///
/// An abbreviation may cut a sentence in two. It does so in every copy of the sentence alike, so that copies are still
/// found; a splitter that knows better would be needed for nothing else here.
pub(super) fn sentences(document: &Document) -> Vec<(Span, &str)> {
    if !document.sentences.is_empty() {
        let index = document.char_index();
        let slice = |&span: &Span| Some((span, index.slice(&document.text, span)?));
        return document.sentences.iter().filter_map(slice).collect();
    }
    let passages: HashSet<usize> = document.passages.iter().map(|passage| passage.span.start).collect();
    let mut found: Vec<(Span, &str)> = Vec::new();
    // Character and byte of the beginning, and of the end so far.
    let mut open: Option<[(usize, usize); 2]> = None;
    let mut close = |open: &mut Option<[(usize, usize); 2]>| {
        if let Some([start, end]) = open.take() {
            found.push((Span::new(start.0, end.0), &document.text[start.1..end.1]));
        }
    };
    let (mut ended, mut spaced) = (false, false);
    for (at, (byte, char)) in document.text.char_indices().enumerate() {
        if char.is_whitespace() {
            if char == '\n' {
                close(&mut open);
            }
            spaced = true;
            continue;
        }
        if passages.contains(&at) || (ended && spaced && !char.is_lowercase()) {
            close(&mut open);
        }
        let end = (at + 1, byte + char.len_utf8());
        open.get_or_insert([(at, byte), end])[1] = end;
        ended =
            matches!(char, '.' | '!' | '?') || (ended && !spaced && matches!(char, ')' | ']' | '"' | '\'' | '”' | '’'));
        spaced = false;
    }
    close(&mut open);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Passage;
    use proptest::prelude::*;

    #[test]
    fn texts_are_cut_after_sentences_lines_and_passages() {
        let check = |text: &str, expected: &[&str]| {
            let document = Document::new("1", text);
            let found: Vec<&str> = sentences(&document).into_iter().map(|(_, text)| text).collect();
            assert_eq!(found, expected, "{text:?}");
        };
        check("", &[]);
        check(" \n ", &[]);
        check("One. Two! (Three?) \"4\" five", &["One.", "Two!", "(Three?)", "\"4\" five"]);
        check("approx. two mg, 0.5 ml. Next", &["approx. two mg, 0.5 ml.", "Next"]);
        check("HISTORY :\r\n none .\n\n", &["HISTORY :", "none ."]);

        let passage = |start, end| Passage { kind: String::new(), span: Span::new(start, end) };
        let titled = Document { passages: vec![passage(0, 5), passage(6, 11)], ..Document::new("1", "title other") };
        assert_eq!(sentences(&titled), [(Span::new(0, 5), "title"), (Span::new(6, 11), "other")]);
        let marked = Document { sentences: vec![Span::new(0, 7)], ..Document::new("1", "A. B. C") };
        assert_eq!(sentences(&marked), [(Span::new(0, 7), "A. B. C")]);
    }

    proptest! {
        #[test]
        fn what_is_left_out_is_whitespace(text in "[aB.?) \nä]{0,30}|\\PC{0,30}") {
            let document = Document::new("1", text);
            let index = document.char_index();
            let found = sentences(&document);
            prop_assert!(found.windows(2).all(|pair| pair[0].0.end <= pair[1].0.start));
            for &(span, text) in &found {
                prop_assert_eq!(index.slice(&document.text, span), Some(text));
                prop_assert_eq!(text.trim(), text);
            }
            let visible = |text: &str| text.chars().filter(|char| !char.is_whitespace()).count();
            prop_assert_eq!(found.iter().map(|(_, text)| visible(text)).sum::<usize>(), visible(&document.text));
        }
    }
}
