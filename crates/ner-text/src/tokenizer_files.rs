//! Loads tokenizers from the files of a model folder.

use crate::error::TokenizeError;
use serde::Deserialize;
use std::path::Path;
use tokenizers::models::bpe::BPE;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

/// Loads `tokenizer.json`, or else builds the BERT tokenizer from `vocab.txt` and `tokenizer_config.json`, or RoBERTa's
/// from `vocab.json` and `merges.txt`.
pub(crate) fn read(folder: &Path) -> Result<Tokenizer, TokenizeError> {
    let json = folder.join("tokenizer.json");
    if json.exists() {
        Tokenizer::from_file(&json).map_err(|error| TokenizeError::Files { path: json, message: error.to_string() })
    } else if folder.join("merges.txt").exists() && !folder.join("vocab.txt").exists() {
        roberta_tokenizer(folder)
    } else {
        bert_tokenizer(folder)
    }
}

/// The part of `tokenizer_config.json` that is read.
#[derive(Default, Deserialize)]
struct TokenizerConfig {
    do_lower_case: Option<bool>,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
    #[serde(default)]
    add_prefix_space: bool,
}

impl TokenizerConfig {
    /// Reads the configuration of a folder; the defaults if it has none.
    fn of(folder: &Path) -> Result<Self, TokenizeError> {
        let path = folder.join("tokenizer_config.json");
        if !path.exists() {
            return Ok(Self::default());
        }
        serde_json::from_str(&fs_err::read_to_string(&path)?)
            .map_err(|error| TokenizeError::Files { path, message: error.to_string() })
    }
}

/// Builds BERT's tokenizer from `vocab.txt`, the file of checkpoints from 2019 (BioBERT, ClinicalBERT).
fn bert_tokenizer(folder: &Path) -> Result<Tokenizer, TokenizeError> {
    let vocab_path = folder.join("vocab.txt");
    let fault = |message: String| TokenizeError::Files { path: vocab_path.clone(), message };
    let vocab_text = fs_err::read_to_string(&vocab_path)?;
    let model =
        WordPiece::from_file(&vocab_path.to_string_lossy()).build().map_err(|error| fault(error.to_string()))?;
    let mut tokenizer = Tokenizer::new(model);
    let id_of = |tokenizer: &Tokenizer, piece: &str| {
        tokenizer.token_to_id(piece).ok_or_else(|| fault(format!("missing token {piece}")))
    };
    let (cls, sep) = (id_of(&tokenizer, "[CLS]")?, id_of(&tokenizer, "[SEP]")?);
    let config = TokenizerConfig::of(folder)?;
    // A vocabulary with capital letters was made from cased text. Without this check, a cased model without
    // configuration or without this setting would get lower-cased text, transformers' default.
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

/// Builds RoBERTa's byte-level BPE from `vocab.json` and `merges.txt`, the files of checkpoints from 2019.
fn roberta_tokenizer(folder: &Path) -> Result<Tokenizer, TokenizeError> {
    let (vocab_path, merges_path) = (folder.join("vocab.json"), folder.join("merges.txt"));
    let fault = |message: String| TokenizeError::Files { path: vocab_path.clone(), message };
    let model = BPE::from_file(&vocab_path.to_string_lossy(), &merges_path.to_string_lossy())
        .build()
        .map_err(|error| fault(format!("reading it with merges.txt: {error}")))?;
    let mut tokenizer = Tokenizer::new(model);
    let with_id = |piece: &str| {
        let id = tokenizer.token_to_id(piece).ok_or_else(|| fault(format!("missing token {piece}")));
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
