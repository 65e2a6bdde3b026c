//! Splits text into windows of word pieces with exact offsets.

use crate::breaks::without_page_breaks;
use crate::caught::{caught, in_parallel};
use crate::encoded::{WordCuts, tokens_of};
use crate::error::TokenizeError;
use crate::piece_cache::WordPieces;
use crate::windows::{packed, sentence_starts, windows_of};
use crate::{EncodedDocument, Window, WindowSize, sentences, tokenizer_files};
use ner_document::Document;
use std::ops::Range;
use std::path::Path;
use tokenizers::Tokenizer;
use tracing::warn;

/// A tokenizer, with the special tokens that the encoder expects around a text.
#[derive(Clone, Debug)]
pub struct DocumentTokenizer {
    pieces: WordPieces,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    window: WindowSize,
    cuts: WordCuts,
    /// Number of pieces that the encoder has embeddings for, if known.
    embeddings: Option<u32>,
}

impl DocumentTokenizer {
    /// Wraps a tokenizer. Truncation and padding set by its file are switched off.
    ///
    /// # Errors
    /// If the tokenizer's post-processor does not put special tokens around a single text, or windows are too short.
    pub fn new(mut tokenizer: Tokenizer, window: WindowSize) -> Result<Self, TokenizeError> {
        let fault = |message: String| TokenizeError::Files { path: "tokenizer".into(), message };
        tokenizer.with_truncation(None).map_err(|error| fault(error.to_string()))?;
        tokenizer.with_padding(None);
        // A character that few vocabularies have: a tokenizer that cannot say "unknown" fails here, not on a document.
        tokenizer.encode_char_offsets("a \u{a66e}", false).map_err(|error| fault(error.to_string()))?;
        let with_specials = |specials| tokenizer.encode_char_offsets("a", specials).map_err(|e| fault(e.to_string()));
        let (bare, whole) = (with_specials(false)?, with_specials(true)?);
        let at = whole.get_special_tokens_mask().iter().position(|&special| special == 0).unwrap_or(0);
        let (prefix, rest) = whole.get_ids().split_at(at);
        let suffix = rest.strip_prefix(bare.get_ids());
        let suffix = suffix
            .ok_or_else(|| fault("its post-processor does not put special tokens around a single text".into()))?
            .to_vec();
        let specials = prefix.len() + suffix.len();
        if window.max_tokens <= specials + window.overlap {
            let message = format!(
                "windows of {} tokens are too short for {specials} special tokens and an overlap of {}",
                window.max_tokens, window.overlap
            );
            return Err(fault(message));
        }
        let pieces = WordPieces::new(tokenizer);
        Ok(Self {
            prefix: prefix.to_vec(),
            suffix,
            cuts: if pieces.has_metaspace() { WordCuts::Punctuation } else { WordCuts::Digits },
            pieces,
            window,
            embeddings: None,
        })
    }

    /// Uses the tokenizer's pre-tokens as words, without cutting them: for models trained elsewhere, where the first
    /// piece of a pre-token decides for all of it.
    pub fn with_whole_pre_tokens(self) -> Self {
        Self { cuts: WordCuts::None, ..self }
    }

    /// Loads `tokenizer.json` of a model folder, or else builds the BERT tokenizer from its `vocab.txt` and
    /// `tokenizer_config.json`, or RoBERTa's from `vocab.json` and `merges.txt`.
    ///
    /// # Errors
    /// If none of these can be read, or the tokenizer fails on a short text.
    pub fn from_folder(folder: &Path, window: WindowSize) -> Result<Self, TokenizeError> {
        caught(|| Self::new(tokenizer_files::read(folder)?, window))
            .unwrap_or_else(|message| Err(TokenizeError::Files { path: folder.join("tokenizer.json"), message }))
    }

    /// For an encoder with embeddings for the first `rows` pieces: a document that needs another piece is an error
    /// instead of an index out of range.
    ///
    /// # Errors
    /// If a special token has no embedding.
    pub fn with_embeddings(self, rows: usize) -> Result<Self, TokenizeError> {
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        let tokenizer = self.pieces.tokenizer();
        let fault = |message: String| TokenizeError::Files { path: "tokenizer".into(), message };
        if let Some(id) = self.prefix.iter().chain(&self.suffix).find(|&&id| id >= rows) {
            let piece = tokenizer.id_to_token(*id).unwrap_or_default();
            return Err(fault(format!(
                "its special token {piece} is number {id}, but the model's vocab_size is {rows}"
            )));
        }
        let beyond =
            tokenizer.get_vocab(true).into_iter().filter(|(piece, id)| *id >= rows && !piece.is_empty()).count();
        if beyond > 0 {
            warn!(
                "pieces of the tokenizer beyond the model's vocab_size {rows}: {beyond}; documents that need one will be \
                 errors"
            );
        }
        Ok(Self { embeddings: Some(rows), ..self })
    }

    /// The size of its windows.
    pub const fn window(&self) -> WindowSize {
        self.window
    }

    /// Whether both tokenizers make the same tokens and words of every text; windows may differ.
    pub fn makes_the_tokens_of(&self, other: &Self) -> bool {
        let text = |tokenizer: &Self| tokenizer.pieces.tokenizer().to_string(false).ok();
        self.cuts == other.cuts && text(self).is_some() && text(self) == text(other)
    }

    /// Number of the mask token, if the vocabulary has one.
    pub fn mask_id(&self) -> Option<u32> {
        ["[MASK]", "<mask>"].iter().find_map(|piece| self.pieces.tokenizer().token_to_id(piece))
    }

    /// Number of the token for text that the vocabulary cannot spell, if it has one.
    pub fn unknown_id(&self) -> Option<u32> {
        ["[UNK]", "<unk>"].iter().find_map(|piece| self.pieces.tokenizer().token_to_id(piece))
    }

    /// Special tokens before and after each window.
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
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), TokenizeError> {
        let fault = |error: tokenizers::Error| TokenizeError::Files { path: path.into(), message: error.to_string() };
        let json = self.pieces.tokenizer().to_string(true).map_err(fault)?;
        Ok(ner_files::write_bytes(path, json.as_bytes())?)
    }

    /// `input_ids` of a window: its document tokens between the special tokens.
    pub fn input_ids(&self, document: &EncodedDocument, window: &Window) -> Vec<u32> {
        let mut ids = Vec::with_capacity(window.tokens.len() + self.specials());
        ids.extend(&self.prefix);
        ids.extend(document.tokens[window.tokens.clone()].iter().map(|token| token.id));
        ids.extend(&self.suffix);
        ids
    }

    /// Index of the window's first document token in its `input_ids`.
    pub fn offset(&self) -> usize {
        self.prefix.len()
    }

    /// Maximum tokens of packed sentences; unlimited if documents are not cut at sentences.
    const fn packed(&self, room: usize) -> usize {
        if self.window.packed < room { self.window.packed } else { usize::MAX }
    }

    /// Encodes documents on all cores.
    ///
    /// Page breaks (form feed and other control characters that stand for white space) separate words.
    ///
    /// # Errors
    /// If the tokenizers library fails on a document, or the encoder has no embedding for one of its pieces.
    pub fn encode(&self, documents: &[Document]) -> Result<Vec<EncodedDocument>, TokenizeError> {
        let encode = |(at, document): (usize, &Document)| {
            let fault = |message| TokenizeError::Document { document: document.id.clone(), message };
            caught(|| self.encode_one(at, document)).unwrap_or_else(|message| Err(fault(message)))
        };
        in_parallel(documents.iter().enumerate(), encode).into_iter().collect()
    }

    /// Encodes the document with index `at`.
    fn encode_one(&self, at: usize, document: &Document) -> Result<EncodedDocument, TokenizeError> {
        let fault = |message: String| TokenizeError::Document { document: document.id.clone(), message };
        let pieces = self
            .pieces
            .of(&without_page_breaks(&document.text, " "))
            .map_err(|error| fault(format!("the tokenizer failed: {error}")))?;
        if let Some(rows) = self.embeddings
            && let Some(piece) = pieces.iter().find(|piece| piece.id >= rows)
        {
            let message = format!(
                "characters {} to {} need piece {}, but the model has embeddings for {rows} pieces; use the tokenizer \
                 that it was trained with",
                piece.start, piece.end, piece.id
            );
            return Err(fault(message));
        }
        let tokens = tokens_of(&document.text, &pieces, self.cuts);
        let sentences = sentence_starts(&tokens, &sentences(document));
        let room = self.window.max_tokens - self.specials();
        let mut windows = Vec::new();
        for part in packed(&sentences, tokens.len(), self.packed(room)) {
            let shift = |range: Range<usize>| range.start + part.start..range.end + part.start;
            for (shown, core) in windows_of(&tokens[part.clone()], room, self.window.overlap) {
                windows.push(Window { document: at, tokens: shift(shown), core: shift(core) });
            }
        }
        Ok(EncodedDocument::new(tokens, sentences, windows))
    }
}
