use crate::breaks::without_page_breaks;
use ner_document::{Document, Span};
use unicode_segmentation::UnicodeSegmentation;

/// Medical abbreviations, in lower case and without their full stop, which does not end a sentence.
const ABBREVIATIONS: &[&str] = &[
    "approx", "ca", "cf", "dr", "e.g", "eg", "et al", "fig", "figs", "i.e", "ie", "i.m", "i.p", "i.v", "mr", "mrs",
    "ms", "no", "p.o", "prof", "s.c", "sp", "spp", "st", "subsp", "var", "vs",
];

/// The sentences of a document: those that the corpus marks, or else those found in the text.
///
/// They only decide where a text may be cut. Rules: Unicode Standard Annex 29, section 5 (which also breaks at line
/// breaks), within each passage, and at page breaks; no break after a medical abbreviation or a single letter.
pub fn sentences(document: &Document) -> Vec<Span> {
    if !document.sentences.is_empty() {
        return document.sentences.clone();
    }
    let index = document.char_index();
    let whole = Span::new(0, index.len());
    let passages: Vec<Span> = match document.passages.as_slice() {
        [] => vec![whole],
        passages => passages.iter().map(|passage| passage.span).collect(),
    };
    passages
        .into_iter()
        .flat_map(|passage| sentences_of_text(index.slice(&document.text, passage).unwrap_or_default(), passage.start))
        .collect()
}

/// The sentences of a text that begins at position `first` of its document, by the rules of [`sentences`].
pub fn sentences_of_text(text: &str, first: usize) -> Vec<Span> {
    let text = without_page_breaks(text, "\n");
    let (mut sentences, mut start, mut end) = (Vec::new(), first, first);
    for part in text.split_sentence_bounds() {
        end += part.chars().count();
        if !ends_with_abbreviation(part) {
            sentences.push(Span::new(start, end));
            start = end;
        }
    }
    if start < end {
        sentences.push(Span::new(start, end));
    }
    sentences
}

fn ends_with_abbreviation(part: &str) -> bool {
    // A line break always ends a sentence.
    let Some(before) = part.trim_end_matches(' ').strip_suffix('.') else { return false };
    let lower = before.to_lowercase();
    let preceded = |abbreviation: &str| {
        let rest = lower.strip_suffix(abbreviation);
        rest.is_some_and(|rest| !rest.ends_with(|char: char| char.is_alphanumeric() || char == '.'))
    };
    let mut backwards = before.chars().rev();
    let initial = backwards.next().is_some_and(char::is_uppercase)
        && backwards.next().is_none_or(|char| char.is_whitespace() || char == '.');
    initial || ABBREVIATIONS.iter().any(|abbreviation| preceded(abbreviation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ner_document::Passage;

    fn check(text: &str, expected: &[&str]) {
        let document = Document::new("1", text);
        let index = document.char_index();
        let found: Vec<&str> =
            sentences(&document).iter().filter_map(|&sentence| index.slice(text, sentence)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn sentences_are_all_of_the_text() {
        check("", &[]);
        check("One. Two? Three", &["One. ", "Two? ", "Three"]);
        check(
            "Given 5.5 mg i.v. Fever (e.g. 39 °C) vs. Placebo.",
            &["Given 5.5 mg i.v. Fever (e.g. 39 °C) vs. Placebo."],
        );
        check("S. aureus by J. Smith et al. 1999.", &["S. aureus by J. Smith et al. 1999."]);
        check("Vitamin E.\nNext line", &["Vitamin E.\n", "Next line"]);
        check("Dr.\u{c}One\u{1d}Two", &["Dr.\u{c}", "One\u{1d}", "Two"]);
        check("Änderung. Über 😀. Ende", &["Änderung. ", "Über 😀. ", "Ende"]);
    }

    #[test]
    fn those_of_the_corpus_win_and_passages_are_cut() {
        let passages = [(0, 5), (6, 11)].map(|(start, end)| Passage { kind: "p".into(), span: Span::new(start, end) });
        let mut document = Document { passages: passages.into(), ..Document::new("1", "title a. B c") };
        assert_eq!(sentences(&document), [Span::new(0, 5), Span::new(6, 9), Span::new(9, 11)]);
        document.sentences = vec![Span::new(0, 12)];
        assert_eq!(sentences(&document), [Span::new(0, 12)]);
    }
}
