//! Loads tokenizers from the files of a model folder.

use crate::error::TokenizeError;
use ner_files::read_text;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use tokenizers::models::bpe::BPE;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, ModelWrapper, NormalizerWrapper, Tokenizer};
use tracing::warn;

/// Loads `tokenizer.json`, or else builds the BERT tokenizer from `vocab.txt`, or RoBERTa's from `vocab.json` and
/// `merges.txt`. `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` say the rest, as for
/// transformers' fast tokenizers.
pub(crate) fn read(folder: &Path) -> Result<Tokenizer, TokenizeError> {
    let config = TokenizerConfig::of(folder)?;
    let has = |name: &str| folder.join(name).exists();
    let mut tokenizer = if has("tokenizer.json") {
        tokenizer_json(folder, &config)?
    } else if has("vocab.txt") {
        bert_tokenizer(folder, &config)?
    } else if has("merges.txt") && has("vocab.json") {
        roberta_tokenizer(folder, &config)?
    } else {
        let hint =
            match ["sentencepiece.bpe.model", "spiece.model", "sentencepiece.model"].into_iter().find(|name| has(name))
            {
                Some(name) => format!("{name} is not read; save the fast tokenizer, which writes tokenizer.json"),
                None => "copy that of the encoder that the model was trained from".to_owned(),
            };
        let message = format!("no tokenizer: tokenizer.json, vocab.txt, or vocab.json with merges.txt; {hint}");
        return Err(TokenizeError::Files { path: folder.into(), message });
    };
    config.add_tokens(&mut tokenizer)?;
    Ok(tokenizer)
}

fn fault(path: &Path, message: impl ToString) -> TokenizeError {
    TokenizeError::Files { path: path.into(), message: message.to_string() }
}

fn text_of(path: &Path) -> Result<String, TokenizeError> {
    read_text(path).map_err(|error| fault(path, error))
}

/// What `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` say. A key that is null counts as
/// missing.
#[derive(Default)]
struct TokenizerConfig {
    do_lower_case: Option<bool>,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
    add_prefix_space: bool,
    /// `BertTokenizer`; empty if the folder does not say.
    class: String,
    /// The tokens of each role: `cls_token`.
    roles: BTreeMap<&'static str, String>,
    /// Tokens to match verbatim, by number if the file says it.
    added: Vec<(Option<u32>, AddedToken)>,
    /// The file that says so.
    added_by: std::path::PathBuf,
}

/// The roles of special tokens.
const ROLES: [&str; 5] = ["unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

impl TokenizerConfig {
    /// Reads the files of a folder; the defaults if it has none.
    fn of(folder: &Path) -> Result<Self, TokenizeError> {
        let path = folder.join("tokenizer_config.json");
        let keys = object(&path)?;
        let flag = |key: &str| match keys.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(fault(&path, format!("{key} is neither true, false nor null"))),
        };
        let mut config = Self {
            do_lower_case: flag("do_lower_case")?,
            strip_accents: flag("strip_accents")?,
            tokenize_chinese_chars: flag("tokenize_chinese_chars")?,
            add_prefix_space: flag("add_prefix_space")?.unwrap_or(false),
            class: keys.get("tokenizer_class").and_then(Value::as_str).unwrap_or_default().to_owned(),
            ..Self::default()
        };
        let never_split = keys.get("never_split").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
        if flag("do_basic_tokenize")? == Some(false) || never_split {
            let keys = "do_basic_tokenize and never_split change nothing, as in transformers' fast tokenizers";
            warn!("{}: {keys}", path.display());
        }
        let map_path = folder.join("special_tokens_map.json");
        let map = object(&map_path)?;
        for (path, keys) in [(&path, &keys), (&map_path, &map)] {
            for role in ROLES {
                if let Some(value) = keys.get(role).filter(|value| !value.is_null()) {
                    let content = content(value).ok_or_else(|| fault(path, format!("{role} is not a token")))?;
                    config.roles.entry(role).or_insert(content);
                }
            }
        }
        let list = [&keys, &map].into_iter().find_map(|keys| keys.get("additional_special_tokens")?.as_array());
        let additional: Vec<String> = list.into_iter().flatten().filter_map(content).collect();
        config.added_by = path.clone();
        if let Some(decoder) = keys.get("added_tokens_decoder").and_then(Value::as_object) {
            for (number, value) in decoder {
                let token = number.parse().ok().zip(added_token(value));
                let (number, token) =
                    token.ok_or_else(|| fault(&path, "added_tokens_decoder does not map numbers to tokens"))?;
                config.added.push((Some(number), token));
            }
        } else {
            config.added_by = folder.join("added_tokens.json");
            for (token, number) in object(&config.added_by)? {
                let number = number.as_u64().and_then(|number| u32::try_from(number).ok());
                let number = number.ok_or_else(|| fault(&config.added_by, "it does not map tokens to numbers"))?;
                let special = additional.contains(&token) || config.roles.values().any(|known| *known == token);
                config.added.push((Some(number), AddedToken::from(token, special)));
            }
        }
        config.added.sort_by_key(|(number, _)| *number);
        config.added.extend(additional.into_iter().map(|token| (None, AddedToken::from(token, true))));
        Ok(config)
    }

    /// The token of a role.
    fn role<'c>(&'c self, role: &str, otherwise: &'c str) -> &'c str {
        self.roles.get(role).map_or(otherwise, String::as_str)
    }

    /// Adds the tokens that the tokenizer does not match verbatim yet.
    fn add_tokens(&self, tokenizer: &mut Tokenizer) -> Result<(), TokenizeError> {
        for (number, token) in &self.added {
            if tokenizer.get_added_vocabulary().get_vocab().contains_key(&token.content) {
                continue;
            }
            match token.special {
                true => tokenizer.add_special_tokens(std::slice::from_ref(token)),
                false => tokenizer.add_tokens(std::slice::from_ref(token)),
            };
            let got = tokenizer.token_to_id(&token.content);
            if let Some(number) = number
                && got != Some(*number)
            {
                let got = got.map_or("none".to_owned(), |got| got.to_string());
                let message =
                    format!("the token {} has number {number}, but after the vocabulary it gets {got}", token.content);
                return Err(fault(&self.added_by, message));
            }
        }
        Ok(())
    }
}

/// The keys of a JSON file; none if there is no file.
fn object(path: &Path) -> Result<Map<String, Value>, TokenizeError> {
    if !path.exists() {
        return Ok(Map::new());
    }
    match serde_json::from_str(&text_of(path)?) {
        Ok(Value::Object(keys)) => Ok(keys),
        Ok(_) => Err(fault(path, "not a JSON object")),
        Err(error) => Err(fault(path, error)),
    }
}

/// A token, which is a string or an object with its content.
fn content(value: &Value) -> Option<String> {
    value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned)
}

fn added_token(value: &Value) -> Option<AddedToken> {
    let flag = |key: &str| value.get(key).and_then(Value::as_bool);
    let special = flag("special").unwrap_or(false);
    let token = AddedToken::from(content(value)?, special)
        .single_word(flag("single_word").unwrap_or(false))
        .lstrip(flag("lstrip").unwrap_or(false))
        .rstrip(flag("rstrip").unwrap_or(false))
        .normalized(flag("normalized").unwrap_or(!special));
    Some(token)
}

/// Loads `tokenizer.json`. If `tokenizer_config.json` of a BERT tokenizer contradicts it, the latter decides, as in
/// transformers.
fn tokenizer_json(folder: &Path, config: &TokenizerConfig) -> Result<Tokenizer, TokenizeError> {
    let path = folder.join("tokenizer.json");
    let text = text_of(&path)?;
    check_growth(&path, &text)?;
    let mut tokenizer = Tokenizer::from_bytes(&text).map_err(|error| fault(&path, error))?;
    let is_bert =
        config.class.is_empty() || ["Bert", "DistilBert", "Electra"].iter().any(|kind| config.class.starts_with(kind));
    if let Some(NormalizerWrapper::BertNormalizer(normalizer)) = tokenizer.get_normalizer()
        && is_bert
    {
        let asked = BertNormalizer::new(
            normalizer.clean_text,
            config.tokenize_chinese_chars.unwrap_or(normalizer.handle_chinese_chars),
            config.strip_accents.or(normalizer.strip_accents),
            config.do_lower_case.unwrap_or(normalizer.lowercase),
        );
        let of = |normalizer: &BertNormalizer| {
            (normalizer.lowercase, normalizer.strip_accents, normalizer.handle_chinese_chars)
        };
        if of(&asked) != of(normalizer) {
            warn!("{}: tokenizer_config.json contradicts its normalizer and decides", path.display());
            tokenizer.with_normalizer(Some(asked));
        }
    }
    let vocab = folder.join("vocab.txt");
    if let ModelWrapper::WordPiece(_) = tokenizer.get_model()
        && vocab.is_file()
    {
        let differs = |(piece, number): (&String, &u32)| tokenizer.token_to_id(piece) != Some(*number);
        let differing = vocabulary(&text_of(&vocab)?).iter().filter(|&row| differs(row)).count();
        if differing > 0 {
            warn!("{}: {differing} pieces of vocab.txt differ; vocab.txt is not used", path.display());
        }
    }
    Ok(tokenizer)
}

/// How many times longer a normaliser may make a text.
const MOST_GROWTH: f64 = 1000.0;

/// Refuses a normaliser whose replacements could turn a short text into one that does not fit in memory.
fn check_growth(path: &Path, text: &str) -> Result<(), TokenizeError> {
    #[derive(Deserialize)]
    struct File {
        normalizer: Option<Value>,
    }
    fn growth(normalizer: &Value) -> f64 {
        let parts = normalizer["normalizers"].as_array();
        let own = match (&normalizer["pattern"]["String"], normalizer["content"].as_str()) {
            (Value::String(pattern), Some(content)) => content.len() as f64 / pattern.len().max(1) as f64,
            (_, Some(content)) => content.len() as f64,
            _ => 1.0,
        };
        own.max(1.0) * parts.into_iter().flatten().map(growth).product::<f64>()
    }
    let Ok(File { normalizer: Some(normalizer) }) = serde_json::from_str(text) else { return Ok(()) };
    if growth(&normalizer) > MOST_GROWTH {
        return Err(fault(path, format!("its normalizer could make a text more than {MOST_GROWTH} times longer")));
    }
    Ok(())
}

/// The numbers of the pieces of a `vocab.txt`: their lines. Of equal pieces, the last counts, as in transformers.
fn vocabulary(text: &str) -> HashMap<String, u32> {
    text.lines().zip(0..).map(|(line, number)| (line.trim_end().to_owned(), number)).collect()
}

/// Builds BERT's tokenizer from `vocab.txt`, the file of checkpoints from 2019 (BioBERT, ClinicalBERT).
fn bert_tokenizer(folder: &Path, config: &TokenizerConfig) -> Result<Tokenizer, TokenizeError> {
    let path = folder.join("vocab.txt");
    let text = text_of(&path)?;
    let unknown = config.role("unk_token", "[UNK]");
    let model = WordPiece::from_file(&path.to_string_lossy()).unk_token(unknown.to_owned());
    let mut tokenizer = Tokenizer::new(model.build().map_err(|error| fault(&path, error))?);
    let id_of = |tokenizer: &Tokenizer, piece: &str| {
        tokenizer.token_to_id(piece).ok_or_else(|| fault(&path, format!("missing token {piece}")))
    };
    let (cls, sep) = (config.role("cls_token", "[CLS]"), config.role("sep_token", "[SEP]"));
    id_of(&tokenizer, unknown)?;
    let (cls_id, sep_id) = (id_of(&tokenizer, cls)?, id_of(&tokenizer, sep)?);
    // A vocabulary with capital letters was made from cased text. Without this check, a cased model without
    // configuration or without this setting would get lower-cased text, transformers' default.
    let cased = text.lines().any(|piece| !piece.starts_with('[') && piece.chars().any(char::is_uppercase));
    let lowercase = config.do_lower_case.unwrap_or(!cased);
    let chinese = config.tokenize_chinese_chars.unwrap_or(true);
    tokenizer.with_normalizer(Some(BertNormalizer::new(true, chinese, config.strip_accents, lowercase)));
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    let (of_cls, of_sep) = (format!("{cls}:0"), format!("{sep}:0"));
    let template = TemplateProcessing::builder()
        .try_single(vec![&*of_cls, "$A:0", &*of_sep])
        .and_then(|builder| builder.try_pair(vec![&*of_cls, "$A:0", &*of_sep, "$B:1", &*format!("{sep}:1")]))
        .map_err(|error| fault(&path, error))?
        .special_tokens(vec![(cls, cls_id), (sep, sep_id)])
        .build()
        .map_err(|error| fault(&path, error))?;
    tokenizer.with_post_processor(Some(template));
    let specials = [config.role("pad_token", "[PAD]"), unknown, cls, sep, config.role("mask_token", "[MASK]")];
    tokenizer.add_special_tokens(&specials.map(|piece| AddedToken::from(piece, true)));
    Ok(tokenizer)
}

/// Builds RoBERTa's byte-level BPE from `vocab.json` and `merges.txt`, the files of checkpoints from 2019.
fn roberta_tokenizer(folder: &Path, config: &TokenizerConfig) -> Result<Tokenizer, TokenizeError> {
    let (vocab_path, merges_path) = (folder.join("vocab.json"), folder.join("merges.txt"));
    for path in [&vocab_path, &merges_path] {
        ner_files::open_regular(path).map_err(|error| fault(path, error))?;
    }
    let model = BPE::from_file(&vocab_path.to_string_lossy(), &merges_path.to_string_lossy())
        .build()
        .map_err(|error| fault(&vocab_path, format!("reading it with merges.txt: {error}")))?;
    let mut tokenizer = Tokenizer::new(model);
    let with_id = |piece: &str| {
        let id = tokenizer.token_to_id(piece).ok_or_else(|| fault(&vocab_path, format!("missing token {piece}")));
        id.map(|id| (piece.to_owned(), id))
    };
    let (cls, sep) = (with_id(config.role("cls_token", "<s>"))?, with_id(config.role("sep_token", "</s>"))?);
    let prefix = config.add_prefix_space;
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(prefix, true, true)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    tokenizer.with_post_processor(Some(RobertaProcessing::new(sep, cls).add_prefix_space(prefix)));
    let specials = ROLES.map(|role| {
        let otherwise = match role {
            "unk_token" => "<unk>",
            "sep_token" => "</s>",
            "pad_token" => "<pad>",
            "cls_token" => "<s>",
            _ => "<mask>",
        };
        AddedToken::from(config.role(role, otherwise), true)
    });
    tokenizer.add_special_tokens(&specials);
    Ok(tokenizer)
}
