//! Documents as tokens and words.

use crate::breaks::{is_line_break, is_page_break, is_space};
use crate::piece_cache::Piece;
use ner_document::{LabelSet, Span, TaggedEntity};
use std::ops::Range;
use unicode_normalization::char::is_combining_mark;

/// One word piece of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Number in the vocabulary.
    pub id: u32,
    /// Its position in the document's text; empty for a token that is only white space.
    pub span: Span,
    /// Number of its [`Word`], ascending from 0.
    pub word: u32,
    /// Whether a line break separates it from the previous token.
    pub starts_line: bool,
    /// Whether a form feed, or another control character that stands for white space, separates it from the previous
    /// token.
    pub starts_page: bool,
}

/// The unit of tagging: a pre-token of the tokenizer, cut between pieces at a boundary of letter and digit. The pre-tokens
/// of SentencePiece hold punctuation; they are cut beside it as well, as those of the other tokenizers are.
///
/// The cut makes `[5-HT]6` and `[Ca]2+` taggable: on BC5CDR all but 1 of 28,785 mentions begin and end at a word
/// boundary, instead of all but 15. Tagging every piece could express all of them, but the pieces of a word then
/// disagree, which costs far more than it gains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Its position in the document's text.
    pub span: Span,
    /// Its pieces.
    pub tokens: Range<usize>,
    /// Whether a line break separates it from the previous word.
    pub starts_line: bool,
    /// Whether a page break separates it from the previous word ([`Token::starts_page`]). No mention continues into it.
    pub starts_page: bool,
}

/// A run of a document's tokens that the encoder processes together.
///
/// The windows of a document overlap. Their `core`s do not, and together they cover all its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Index of the document in the encoded list.
    pub document: usize,
    /// The document's tokens that the encoder receives.
    pub tokens: Range<usize>,
    /// The document's tokens that are predicted from this window.
    pub core: Range<usize>,
}

/// A document's tokens and words, and the windows over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedDocument {
    /// All tokens, without special tokens.
    pub tokens: Vec<Token>,
    /// The words that consist of the tokens.
    pub words: Vec<Word>,
    /// Indices of the tokens that begin both a sentence and a word, ascending; the first is 0 if there are tokens.
    pub sentences: Vec<usize>,
    /// The windows, in order; empty if there are no tokens.
    pub windows: Vec<Window>,
}

impl EncodedDocument {
    /// A document with these tokens; derives its words from them.
    pub fn new(tokens: Vec<Token>, sentences: Vec<usize>, windows: Vec<Window>) -> Self {
        let mut words: Vec<Word> = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            match words.last_mut() {
                Some(word) if tokens[at - 1].word == token.word => {
                    word.span.end = token.span.end;
                    word.tokens.end = at + 1;
                }
                _ => words.push(Word {
                    span: token.span,
                    tokens: at..at + 1,
                    starts_line: token.starts_line,
                    starts_page: token.starts_page,
                }),
            }
        }
        Self { tokens, words, sentences, windows }
    }

    /// Spans of the words.
    pub fn word_spans(&self) -> Vec<Span> {
        self.words.iter().map(|word| word.span).collect()
    }
}

/// Label number of each piece. The units of `entities` are `words`.
pub fn piece_labels(words: &[Word], entities: &[TaggedEntity], labels: &LabelSet) -> Vec<usize> {
    let pieces = words.last().map_or(0, |word| word.tokens.end);
    let on_pieces = |entity: &TaggedEntity| TaggedEntity {
        units: words[entity.units.start].tokens.start..words[entity.units.end - 1].tokens.end,
        entity_type: entity.entity_type,
    };
    let entities: Vec<TaggedEntity> = entities.iter().map(on_pieces).collect();
    labels.encode(pieces, &entities)
}

/// Tokens of one text. A token's span excludes white space at its ends (byte-level BPE's prefix, whatever its file says
/// about trimming). A token of white space alone has an empty span and belongs to the word of its pre-token, or else to
/// the previous word, so that no word is empty; a text with only such tokens has no tokens. A combining mark that the
/// normaliser removed belongs to the token before it, so that a token never ends inside a character as a reader sees
/// it.
pub(crate) fn tokens_of(text: &str, pieces: &[Piece], cuts: WordCuts) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let visible = |piece: &Piece| {
        let (start, end) = trimmed(&chars, piece.start, piece.end);
        Piece { start, end, ..*piece }
    };
    let pieces: Vec<Piece> = pieces.iter().map(visible).collect();
    let is_visible = |piece: &&Piece| piece.start < piece.end;
    let Some(first) = pieces.iter().find(is_visible).map(|piece| piece.start) else { return Vec::new() };
    let mut tokens: Vec<Token> = Vec::with_capacity(pieces.len());
    let (mut word, mut last) = (0, None);
    for parts in pieces.chunk_by(|left, right| left.pre_token == right.pre_token && left.pre_token.is_some()) {
        let begin = parts.iter().find(is_visible).map(|piece| piece.start);
        for &Piece { id, start, end, pre_token } in parts {
            let before = tokens.last().map_or(first, |before| before.span.end);
            let Some(begin) = begin else {
                tokens.push(Token {
                    id,
                    span: Span::new(before, before),
                    word,
                    starts_line: false,
                    starts_page: false,
                });
                continue;
            };
            let (start, end) = if start < end { (start, end) } else { (begin.max(before), begin.max(before)) };
            let cut = last.is_some_and(|last| last != pre_token || pre_token.is_none());
            // Two pieces may share one character that the normaliser decomposed (Hangul).
            let apart = tokens.last().is_some_and(|before| before.span.end <= start);
            // A token of white space alone is no word.
            let of_word = tokens.iter().rev().take_while(|token| token.word == word);
            let apart = apart && start < end && of_word.map(|token| token.span).any(|span| !span.is_empty());
            if cut || (apart && cuts.cut(&chars, start)) {
                word += 1;
            }
            last = Some(pre_token);
            let between = chars.get(tokens.last().map_or(0, |before| before.span.end)..start);
            let has = |is_break: fn(char) -> bool| between.is_some_and(|between| between.iter().any(|&c| is_break(c)));
            let (starts_line, starts_page) = (has(is_line_break), has(is_page_break));
            tokens.push(Token { id, span: Span::new(start, end), word, starts_line, starts_page });
        }
    }
    for at in 0..tokens.len() {
        let limit = tokens.get(at + 1).map_or(chars.len(), |next| next.span.start);
        let end = &mut tokens[at].span.end;
        while *end < limit && is_combining_mark(chars[*end]) {
            *end += 1;
        }
    }
    tokens
}

/// The range without white space at its ends; an empty range at its end if it is all white space.
fn trimmed(chars: &[char], start: usize, end: usize) -> (usize, usize) {
    let is_space = |at: &usize| is_space(chars[*at]);
    let start = start + (start..end).take_while(is_space).count();
    (start, end - (start..end).rev().take_while(is_space).count())
}

/// Where pre-tokens are cut into words, between pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WordCuts {
    /// Nowhere.
    None,
    /// Between a letter and a digit.
    Digits,
    /// There, and beside everything that is neither.
    Punctuation,
}

impl WordCuts {
    /// Whether there is a cut at the boundary `at`.
    fn cut(self, chars: &[char], at: usize) -> bool {
        let (Some(before), Some(after)) = (at.checked_sub(1).and_then(|at| chars.get(at)), chars.get(at)) else {
            return false;
        };
        let is_letter = |char: &char| char.is_alphabetic() || is_combining_mark(*char);
        let (letters, digits) = ([is_letter(before), is_letter(after)], [before.is_numeric(), after.is_numeric()]);
        match self {
            Self::None => false,
            Self::Digits => {
                (before.is_alphabetic() && after.is_numeric()) || (before.is_numeric() && after.is_alphabetic())
            }
            Self::Punctuation => {
                let is_punctuation = before.is_ascii_punctuation() || after.is_ascii_punctuation();
                letters[0] != letters[1] || digits[0] != digits[1] || is_punctuation
            }
        }
    }
}
