//! From text to windows of word pieces with exact offsets.

use crate::pieces::{Piece, WordPieces};
use crate::{Document, Span, sentences};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::{Path, PathBuf};
use tokenizers::models::bpe::BPE;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};
use unicode_normalization::char::is_combining_mark;

/// Why a text cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum TokenizeError {
    /// The tokenizer's files do not say what is needed.
    #[error("{}: {message}", path.display())]
    Files {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The tokenizers library failed on a document.
    #[error("document {document}: the tokenizer failed: {message}")]
    Document {
        /// The document's id.
        document: String,
        /// The library's words.
        message: String,
    },
}

/// Where the encoder's windows may be cut, and how long they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowSize {
    /// Most tokens of a window, special tokens included.
    pub max_tokens: usize,
    /// Tokens that two windows share, at least, where a text without a place to cut is longer than one.
    pub overlap: usize,
    /// A window holds as many whole sentences as fit into this many tokens, and at least one. From `max_tokens` on,
    /// documents are not cut at sentences at all.
    pub packed: usize,
}

impl Default for WindowSize {
    /// 512 tokens, the positions that BERT was trained with; a quarter of them shared.
    fn default() -> Self {
        Self { max_tokens: 512, overlap: 128, packed: 512 }
    }
}

/// One word piece of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Number in the vocabulary.
    pub id: u32,
    /// Where it stands in the document's text; empty for one that is white space alone.
    pub span: Span,
    /// Number of the [`Word`] that it is a piece of, ascending from 0.
    pub word: u32,
    /// Whether a line break stands between it and the token before.
    pub starts_line: bool,
}

/// The unit that is tagged: a pre-token of the tokenizer, cut where a letter meets a digit and two pieces meet.
///
/// The cut lets `[5-HT]6` and `[Ca]2+` be tagged: on BC5CDR all but 1 of 28,785 mentions begin and end with a word,
/// instead of all but 15. Tagging every piece for itself would express all of them, but pieces of one word then
/// disagree, which costs far more than it gains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Where it stands in the document's text.
    pub span: Span,
    /// Its pieces.
    pub tokens: Range<usize>,
    /// Whether a line break stands between it and the word before.
    pub starts_line: bool,
}

/// A run of a document's tokens that the encoder sees at once.
///
/// The windows of a document overlap; their `core`s do not, and together are all its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Place of the document in the list that was encoded.
    pub document: usize,
    /// The document's tokens that it shows to the encoder.
    pub tokens: Range<usize>,
    /// The document's tokens that are predicted from it.
    pub core: Range<usize>,
}

/// A document's tokens and the windows over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedDocument {
    /// All tokens, without special ones.
    pub tokens: Vec<Token>,
    /// The tokens that begin a sentence and a word, ascending; the first is 0 where there is one.
    pub sentences: Vec<usize>,
    /// The windows in order; none where there is no token.
    pub windows: Vec<Window>,
}

impl EncodedDocument {
    /// Spans of the words.
    pub fn word_spans(&self) -> Vec<Span> {
        self.words().iter().map(|word| word.span).collect()
    }

    /// The words that the tokens are pieces of.
    pub fn words(&self) -> Vec<Word> {
        let mut words: Vec<Word> = Vec::new();
        for (at, token) in self.tokens.iter().enumerate() {
            match words.last_mut() {
                Some(word) if self.tokens[at - 1].word == token.word => {
                    word.span.end = token.span.end;
                    word.tokens.end = at + 1;
                }
                _ => words.push(Word { span: token.span, tokens: at..at + 1, starts_line: token.starts_line }),
            }
        }
        words
    }
}

/// A tokenizer with the special tokens that the encoder expects around a text.
#[derive(Clone, Debug)]
pub struct TextEncoder {
    pieces: WordPieces,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    window: WindowSize,
    /// Whether words are cut where a letter meets a digit.
    cuts_words: bool,
}

impl TextEncoder {
    /// Wraps a tokenizer; truncation and padding that its file asks for are switched off.
    ///
    /// # Errors
    /// Where the tokenizer's post-processor does not put its special tokens around one text.
    pub fn new(mut tokenizer: Tokenizer, window: WindowSize) -> Result<Self, TokenizeError> {
        let fault = |message: String| TokenizeError::Files { path: "tokenizer".into(), message };
        tokenizer.with_truncation(None).map_err(|error| fault(error.to_string()))?;
        tokenizer.with_padding(None);
        let with_specials = |specials| tokenizer.encode_char_offsets("a", specials).map_err(|e| fault(e.to_string()));
        let (bare, whole) = (with_specials(false)?, with_specials(true)?);
        let at = whole.get_special_tokens_mask().iter().position(|&special| special == 0).unwrap_or(0);
        let (prefix, rest) = whole.get_ids().split_at(at);
        let suffix = rest.strip_prefix(bare.get_ids());
        let suffix = suffix.ok_or_else(|| fault("its special tokens do not stand around the text".into()))?.to_vec();
        let specials = prefix.len() + suffix.len();
        if window.max_tokens <= specials + window.overlap {
            let message = format!(
                "windows of {} tokens are too short for {specials} special tokens and an overlap of {}",
                window.max_tokens, window.overlap
            );
            return Err(fault(message));
        }
        Ok(Self { prefix: prefix.to_vec(), suffix, pieces: WordPieces::new(tokenizer), window, cuts_words: true })
    }

    /// The same with the pre-tokens of the tokenizer as words, uncut: for models that were trained elsewhere, where the
    /// first piece of a pre-token decides for all of it.
    pub fn with_whole_pre_tokens(self) -> Self {
        Self { cuts_words: false, ..self }
    }

    /// Loads `tokenizer.json` of an encoder's folder, or else builds the BERT tokenizer that its `vocab.txt` and
    /// `tokenizer_config.json` describe, or RoBERTa's where there are `vocab.json` and `merges.txt` instead.
    ///
    /// # Errors
    /// Where neither can be read.
    pub fn from_folder(folder: &Path, window: WindowSize) -> Result<Self, TokenizeError> {
        let json = folder.join("tokenizer.json");
        let tokenizer = if json.exists() {
            Tokenizer::from_file(&json)
                .map_err(|error| TokenizeError::Files { path: json, message: error.to_string() })?
        } else if folder.join("merges.txt").exists() && !folder.join("vocab.txt").exists() {
            roberta_tokenizer(folder)?
        } else {
            bert_tokenizer(folder)?
        };
        Self::new(tokenizer, window)
    }

    /// Its windows.
    pub const fn window(&self) -> WindowSize {
        self.window
    }

    /// Whether it makes the same tokens and words of every text as another, whatever their windows.
    pub fn makes_the_tokens_of(&self, other: &Self) -> bool {
        let text = |encoder: &Self| encoder.pieces.tokenizer().to_string(false).ok();
        self.cuts_words == other.cuts_words && text(self).is_some() && text(self) == text(other)
    }

    /// Number of the mask token, where the vocabulary has one.
    pub fn mask_id(&self) -> Option<u32> {
        ["[MASK]", "<mask>"].iter().find_map(|piece| self.pieces.tokenizer().token_to_id(piece))
    }

    /// Number of the token that stands for what the vocabulary cannot spell, where it has one.
    pub fn unknown_id(&self) -> Option<u32> {
        ["[UNK]", "<unk>"].iter().find_map(|piece| self.pieces.tokenizer().token_to_id(piece))
    }

    /// Special tokens before and after a row.
    pub fn special_ids(&self) -> (&[u32], &[u32]) {
        (&self.prefix, &self.suffix)
    }

    /// Number of special tokens around each window.
    pub fn specials(&self) -> usize {
        self.prefix.len() + self.suffix.len()
    }

    /// Saves `tokenizer.json`.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), TokenizeError> {
        let fault = |error: tokenizers::Error| TokenizeError::Files { path: path.into(), message: error.to_string() };
        let json = self.pieces.tokenizer().to_string(true).map_err(fault)?;
        Ok(fs_err::write(path, json)?)
    }

    /// `input_ids` of a window: the special tokens around its document's tokens.
    pub fn input_ids(&self, document: &EncodedDocument, window: &Window) -> Vec<u32> {
        let mut ids = Vec::with_capacity(window.tokens.len() + self.specials());
        ids.extend(&self.prefix);
        ids.extend(document.tokens[window.tokens.clone()].iter().map(|token| token.id));
        ids.extend(&self.suffix);
        ids
    }

    /// Place of the first of the window's own tokens in its `input_ids`.
    pub fn offset(&self) -> usize {
        self.prefix.len()
    }

    /// Tokens into which sentences are packed; as many as there are in a document where it is not cut at sentences.
    const fn packed(&self, room: usize) -> usize {
        if self.window.packed < room { self.window.packed } else { usize::MAX }
    }

    /// Encodes documents on all cores.
    ///
    /// # Errors
    /// Where the tokenizers library fails on one.
    pub fn encode(&self, documents: &[Document]) -> Result<Vec<EncodedDocument>, TokenizeError> {
        documents.par_iter().enumerate().map(|(at, document)| self.encode_one(at, document)).collect()
    }

    /// The document at this place of the list.
    fn encode_one(&self, at: usize, document: &Document) -> Result<EncodedDocument, TokenizeError> {
        let pieces = self
            .pieces
            .of(&document.text)
            .map_err(|error| TokenizeError::Document { document: document.id.clone(), message: error.to_string() })?;
        let tokens = tokens_of(&document.text, &pieces, self.cuts_words);
        let sentences = sentence_starts(&tokens, &sentences(document));
        let room = self.window.max_tokens - self.specials();
        let mut windows = Vec::new();
        for part in packed(&sentences, tokens.len(), self.packed(room)) {
            let shift = |range: Range<usize>| range.start + part.start..range.end + part.start;
            for (shown, core) in windows_of(&tokens[part.clone()], room, self.window.overlap) {
                windows.push(Window { document: at, tokens: shift(shown), core: shift(core) });
            }
        }
        Ok(EncodedDocument { tokens, sentences, windows })
    }
}

/// Tokens of one text. White space at the ends of a token (byte-level BPE's prefix, whatever its file says of trimming)
/// is none of its span. A token of nothing else has an empty span and belongs to the word that its pre-token is a part
/// of, else to the word before, so that no word is empty; a text without any other token has none. A combining mark that
/// the normaliser took off belongs to the token before it, so that a token never ends inside a character as a reader
/// sees it.
fn tokens_of(text: &str, pieces: &[Piece], cuts_words: bool) -> Vec<Token> {
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
                tokens.push(Token { id, span: Span::new(before, before), word, starts_line: false });
                continue;
            };
            let (start, end) = if start < end { (start, end) } else { (begin.max(before), begin.max(before)) };
            let cut = last.is_some_and(|last| last != pre_token || pre_token.is_none());
            // Two pieces may be parts of one character that the normaliser took apart (Hangul).
            let apart = tokens.last().is_some_and(|before| before.span.end <= start);
            if cut || (cuts_words && apart && letter_meets_digit(&chars, start)) {
                word += 1;
            }
            last = Some(pre_token);
            let between = chars.get(tokens.last().map_or(0, |before| before.span.end)..start);
            let starts_line = between.is_some_and(|between| between.iter().any(|char| "\n\r".contains(*char)));
            tokens.push(Token { id, span: Span::new(start, end), word, starts_line });
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

/// The range without the white space at its ends; an empty one behind it where there is nothing else.
fn trimmed(chars: &[char], start: usize, end: usize) -> (usize, usize) {
    let is_space = |at: &usize| chars[*at].is_whitespace();
    let start = start + (start..end).take_while(is_space).count();
    (start, end - (start..end).rev().take_while(is_space).count())
}

/// Whether one of the characters on both sides of `at` is a letter and the other a digit.
fn letter_meets_digit(chars: &[char], at: usize) -> bool {
    let (Some(before), Some(after)) = (at.checked_sub(1).and_then(|at| chars.get(at)), chars.get(at)) else {
        return false;
    };
    (before.is_alphabetic() && after.is_numeric()) || (before.is_numeric() && after.is_alphabetic())
}

/// The first tokens of sentences, as far as they begin a word, too.
fn sentence_starts(tokens: &[Token], sentences: &[Span]) -> Vec<usize> {
    let first = |sentence: &Span| tokens.partition_point(|token| token.span.start < sentence.start);
    let mut starts: Vec<usize> = sentences.iter().map(first).filter(|&at| is_word_start(tokens, at)).collect();
    starts.insert(0, 0);
    starts.retain(|&at| at < tokens.len());
    starts.dedup();
    starts
}

/// Runs of whole sentences of at most `most` tokens, or of one longer sentence, that together are all `len` tokens.
fn packed(sentences: &[usize], len: usize, most: usize) -> Vec<Range<usize>> {
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

/// Cuts `tokens` into windows of at most `room` tokens that share at least `overlap`, which is less than `room`; evenly
/// spread, cut between words where there is a word boundary near; cores meet in the middle of what two windows share.
fn windows_of(tokens: &[Token], room: usize, overlap: usize) -> Vec<(Range<usize>, Range<usize>)> {
    let len = tokens.len();
    if len == 0 {
        return Vec::new();
    }
    let search = CUT_SEARCH.min(room - overlap - 1);
    // A start may move back to a word's first piece; planning with less room keeps the overlap, and the last window
    // reaching the end.
    let planned = if len <= room { room } else { room - search };
    let count = if len <= room { 1 } else { (len - overlap).div_ceil(planned - overlap) };
    let mut starts: Vec<usize> = (0..count)
        .map(|at| if at == 0 { 0 } else { word_start_before(tokens, at * (len - planned) / (count - 1), search) })
        .collect();
    // Moving back may leave a window that its neighbours make needless, even one that starts where another does.
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
                // In a word of very many pieces the nearest boundary may be the one where this core begins.
                if cut > core_start { cut } else { middle }
            }
            None => len,
        };
        windows.push((start..end, core_start..core_end));
        core_start = core_end;
    }
    windows
}

/// A cut moves to a word boundary over at most this many tokens; words of more pieces are cut.
const CUT_SEARCH: usize = 32;

fn is_word_start(tokens: &[Token], at: usize) -> bool {
    at == 0 || at >= tokens.len() || tokens[at].word != tokens[at - 1].word
}

/// The last word start at or before `at`, looking back over at most `search` tokens; else `at`.
fn word_start_before(tokens: &[Token], at: usize, search: usize) -> usize {
    (at.saturating_sub(search)..=at).rev().find(|&cut| is_word_start(tokens, cut)).unwrap_or(at)
}

/// What is read of a `tokenizer_config.json`.
#[derive(Default, Deserialize)]
struct TokenizerConfig {
    do_lower_case: Option<bool>,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
    #[serde(default)]
    add_prefix_space: bool,
}

impl TokenizerConfig {
    /// That of a folder; one that says nothing where there is none.
    fn of(folder: &Path) -> Result<Self, TokenizeError> {
        let path = folder.join("tokenizer_config.json");
        if !path.exists() {
            return Ok(Self::default());
        }
        serde_json::from_str(&fs_err::read_to_string(&path)?)
            .map_err(|error| TokenizeError::Files { path, message: error.to_string() })
    }
}

/// BERT's tokenizer from `vocab.txt`, as checkpoints of 2019 ship it (BioBERT, ClinicalBERT).
fn bert_tokenizer(folder: &Path) -> Result<Tokenizer, TokenizeError> {
    let vocab_path = folder.join("vocab.txt");
    let fault = |message: String| TokenizeError::Files { path: vocab_path.clone(), message };
    let vocab_text = fs_err::read_to_string(&vocab_path)?;
    let model =
        WordPiece::from_file(&vocab_path.to_string_lossy()).build().map_err(|error| fault(error.to_string()))?;
    let mut tokenizer = Tokenizer::new(model);
    let id_of = |tokenizer: &Tokenizer, piece: &str| {
        tokenizer.token_to_id(piece).ok_or_else(|| fault(format!("it has no {piece}")))
    };
    let (cls, sep) = (id_of(&tokenizer, "[CLS]")?, id_of(&tokenizer, "[SEP]")?);
    let config = TokenizerConfig::of(folder)?;
    // A vocabulary with capital letters was made from cased text. Without this look a cased model whose configuration
    // is missing or silent would be fed lower-cased text, transformers' default.
    let cased = vocab_text.lines().any(|piece| !piece.starts_with('[') && piece.chars().any(char::is_uppercase));
    let lowercase = config.do_lower_case.unwrap_or(!cased);
    let chinese = config.tokenize_chinese_chars.unwrap_or(true);
    tokenizer.with_normalizer(Some(BertNormalizer::new(true, chinese, config.strip_accents, lowercase)));
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    let template = TemplateProcessing::builder()
        .try_single("[CLS]:0 $A:0 [SEP]:0")
        .and_then(|builder| builder.try_pair("[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"))
        .map_err(|error| fault(error.to_string()))?
        .special_tokens(vec![("[CLS]", cls), ("[SEP]", sep)])
        .build()
        .map_err(|error| fault(error.to_string()))?;
    tokenizer.with_post_processor(Some(template));
    let specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(|piece| AddedToken::from(piece, true));
    tokenizer.add_special_tokens(&specials);
    Ok(tokenizer)
}

/// RoBERTa's byte-level BPE from `vocab.json` and `merges.txt`, as checkpoints of 2019 ship it.
fn roberta_tokenizer(folder: &Path) -> Result<Tokenizer, TokenizeError> {
    let (vocab_path, merges_path) = (folder.join("vocab.json"), folder.join("merges.txt"));
    let fault = |message: String| TokenizeError::Files { path: vocab_path.clone(), message };
    let model = BPE::from_file(&vocab_path.to_string_lossy(), &merges_path.to_string_lossy())
        .build()
        .map_err(|error| fault(format!("with merges.txt beside it: {error}")))?;
    let mut tokenizer = Tokenizer::new(model);
    let with_id = |piece: &str| {
        let id = tokenizer.token_to_id(piece).ok_or_else(|| fault(format!("it has no {piece}")));
        id.map(|id| (piece.to_owned(), id))
    };
    let (cls, sep) = (with_id("<s>")?, with_id("</s>")?);
    let prefix = TokenizerConfig::of(folder)?.add_prefix_space;
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(prefix, true, true)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    tokenizer.with_post_processor(Some(RobertaProcessing::new(sep, cls).add_prefix_space(prefix)));
    let specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"].map(|piece| AddedToken::from(piece, true));
    tokenizer.add_special_tokens(&specials);
    Ok(tokenizer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(at: usize, word: u32) -> Token {
        Token { id: 1, span: Span::new(at, at + 1), word, starts_line: false }
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
