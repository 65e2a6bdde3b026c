use super::{merge, share};
use crate::{Document, EncodedDocument, Span};
use serde::Serialize;
use std::collections::BTreeMap;

/// Number of pieces into which an encoder's vocabulary splits the words of a split.
///
/// Words are those of the tokenizer, the unit of tagging ([`Word`](crate::Word)). A word is inside a mention if the two
/// share a character.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PieceStatistics {
    /// All words.
    pub all: PieceCounts,
    /// Words inside a mention of any type.
    pub inside: PieceCounts,
    /// The other words.
    pub outside: PieceCounts,
    /// Words inside a mention of the type; a word inside mentions of two types counts for both.
    pub by_type: BTreeMap<String, PieceCounts>,
}

/// Counts of [`PieceStatistics`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PieceCounts {
    /// Words.
    pub words: usize,
    /// Their pieces.
    pub pieces: usize,
    /// `pieces / words`; `None` if there are no words.
    pub pieces_per_word: Option<f64>,
    /// Words of one piece.
    pub in_one_piece: usize,
    /// `in_one_piece / words`; `None` if there are no words.
    pub one_piece_share: Option<f64>,
    /// Pieces for text that the vocabulary cannot spell.
    pub unknown: usize,
    /// Words of one piece, of two, and so on; the last entry counts words of that many pieces or more.
    pub histogram: [usize; 8],
}

/// Number of pieces, and of unknown ones.
#[derive(Clone, Copy)]
struct WordPieces {
    span: Span,
    pieces: usize,
    unknown: usize,
}

impl PieceStatistics {
    /// Counts the words of `documents`, whose encoded forms are `encoded`. `unknown` is the number of the token for
    /// text that cannot be spelled.
    pub fn of(documents: &[Document], encoded: &[EncodedDocument], unknown: Option<u32>) -> Self {
        let mut counted = Self::default();
        for (document, encoded) in documents.iter().zip(encoded) {
            counted.add(document, encoded, unknown);
        }
        for counts in counted.by_type.values_mut().chain([&mut counted.all, &mut counted.inside, &mut counted.outside])
        {
            counts.pieces_per_word = share(counts.pieces, counts.words);
            counts.one_piece_share = share(counts.in_one_piece, counts.words);
        }
        counted
    }

    fn add(&mut self, document: &Document, encoded: &EncodedDocument, unknown: Option<u32>) {
        let words: Vec<WordPieces> = encoded
            .words
            .iter()
            .map(|word| {
                let tokens = &encoded.tokens[word.tokens.clone()];
                let is_unknown = |token: &&crate::Token| Some(token.id) == unknown;
                let unknown = tokens.iter().filter(is_unknown).count();
                WordPieces { span: word.span, pieces: tokens.len(), unknown }
            })
            .collect();
        let mut by_type: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
        for mention in &document.mentions {
            by_type.entry(&mention.entity_type).or_default().extend(&mention.fragments);
        }
        let mut all: Vec<Span> = by_type.values().flatten().copied().collect();
        for (entity_type, mut fragments) in by_type {
            let counts = self.by_type.entry(entity_type.to_owned()).or_default();
            touched(&words, &mut fragments).into_iter().for_each(|at| counts.add(words[at]));
        }
        let mut inside = vec![false; words.len()];
        touched(&words, &mut all).into_iter().for_each(|at| inside[at] = true);
        for (&word, is_inside) in words.iter().zip(inside) {
            self.all.add(word);
            if is_inside { &mut self.inside } else { &mut self.outside }.add(word);
        }
    }
}

/// Indices of the (ascending) words that share a character with a fragment, each once.
fn touched(words: &[WordPieces], fragments: &mut Vec<Span>) -> Vec<usize> {
    merge(fragments);
    let mut touched: Vec<usize> = Vec::new();
    for fragment in fragments {
        let after = touched.last().map_or(0, |last| last + 1);
        let first = words.partition_point(|word| word.span.end <= fragment.start).max(after);
        let last = words.partition_point(|word| word.span.start < fragment.end);
        touched.extend(first..last);
    }
    touched
}

impl PieceCounts {
    fn add(&mut self, word: WordPieces) {
        self.words += 1;
        self.pieces += word.pieces;
        self.in_one_piece += usize::from(word.pieces == 1);
        self.unknown += word.unknown;
        self.histogram[word.pieces.clamp(1, self.histogram.len()) - 1] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mention, Token};

    const UNKNOWN: u32 = 0;

    /// One word for each `(start, pieces)`, with pieces of one character each; the pieces of word number `unknown` are
    /// unknown.
    fn encoded(words: &[(usize, usize)], unknown: usize) -> EncodedDocument {
        let pieces = words.iter().zip(0..).flat_map(|(&(start, pieces), word)| {
            (start..start + pieces).map(move |at| Token {
                id: if word as usize == unknown { UNKNOWN } else { 7 },
                span: Span::new(at, at + 1),
                word,
                starts_line: false,
                starts_page: false,
            })
        });
        EncodedDocument::new(pieces.collect(), Vec::new(), Vec::new())
    }

    #[test]
    fn words_are_counted_once_inside_or_outside_and_for_each_type() {
        let mention = |start, end, kind: &str| Mention::new(Span::new(start, end), kind);
        // Words at 0..2, 3..4, 4..7 and 8..17; the first two are touched by A, the third by A and B.
        let document = Document {
            mentions: vec![mention(1, 4, "A"), mention(5, 6, "A"), mention(4, 7, "B")],
            ..Document::new("1", "ab cdef ghijklmno")
        };
        let found = PieceStatistics::of(&[document], &[encoded(&[(0, 2), (3, 1), (4, 3), (8, 9)], 1)], Some(UNKNOWN));
        let check = |counts: &PieceCounts, words: usize, pieces: usize, one: usize, unknown: usize| {
            assert_eq!(
                (counts.words, counts.pieces, counts.in_one_piece, counts.unknown),
                (words, pieces, one, unknown)
            );
            assert_eq!(counts.pieces_per_word, share(pieces, words));
            assert_eq!(counts.one_piece_share, share(one, words));
            assert_eq!(counts.histogram.iter().sum::<usize>(), words);
        };
        check(&found.all, 4, 15, 1, 1);
        check(&found.inside, 3, 6, 1, 1);
        check(&found.outside, 1, 9, 0, 0);
        check(&found.by_type["A"], 3, 6, 1, 1);
        check(&found.by_type["B"], 1, 3, 0, 0);
        assert_eq!(found.all.histogram, [1, 1, 1, 0, 0, 0, 0, 1]);
        assert_eq!(PieceStatistics::of(&[], &[], None).all.pieces_per_word, None);
    }
}
