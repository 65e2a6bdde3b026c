//! From text to windows of word pieces with exact offsets.

use crate::encoded::tokens_of;
use crate::piece_cache::WordPieces;
use crate::windows::{packed, sentence_starts, windows_of};
use crate::{EncodedDocument, Window, WindowSize, sentences, tokenizer_files};
use ner_document::Document;
use rayon::prelude::*;
use std::ops::Range;
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;

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

/// A tokenizer with the special tokens that the encoder expects around a text.
#[derive(Clone, Debug)]
pub struct DocumentTokenizer {
    pieces: WordPieces,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    window: WindowSize,
    /// Whether words are cut where a letter meets a digit.
    cuts_words: bool,
}

impl DocumentTokenizer {
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
        Self::new(tokenizer_files::read(folder)?, window)
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
        Ok(ner_files::write_bytes(path, json.as_bytes())?)
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
        Ok(EncodedDocument::new(tokens, sentences, windows))
    }
}
