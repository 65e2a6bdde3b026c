use super::activation::Activation;
use super::extras::{DebertaConfig, Extras, MOST_LAYERS, MOST_SIZE, ModernConfig, check_buckets};
use super::family::ModelType;
use crate::ModelError;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// The sizes of an encoder from its `config.json`, with Hugging Face's names.
///
/// Sources: Devlin et al. (2019), BERT; transformers' `BertConfig` for names and defaults. `family.rs` holds the names
/// in other kinds of encoders.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct BertConfig {
    /// The kind of encoder.
    #[serde(default)]
    pub model_type: ModelType,
    /// Number of word pieces.
    pub vocab_size: i64,
    /// Width of the hidden states.
    pub hidden_size: i64,
    /// Width of the embeddings.
    pub embedding_size: i64,
    /// Number of layers.
    pub num_hidden_layers: i64,
    /// Number of attention heads in a layer; divides `hidden_size`.
    pub num_attention_heads: i64,
    /// Width of the feed-forward layer.
    pub intermediate_size: i64,
    /// Activation of the feed-forward layer.
    #[serde(default)]
    pub hidden_act: Activation,
    /// Number of positions.
    #[serde(default = "default_positions")]
    pub max_position_embeddings: i64,
    /// Number of segments; 0 if there are none.
    #[serde(default = "default_segments")]
    pub type_vocab_size: i64,
    /// Term added to the variance in layer normalisation.
    #[serde(default = "default_eps")]
    pub layer_norm_eps: f64,
    /// Id of the padding piece.
    #[serde(default)]
    pub pad_token_id: i64,
    /// Dropout on hidden states while training.
    #[serde(default = "default_dropout")]
    pub hidden_dropout_prob: f64,
    /// Dropout on attention weights while training.
    #[serde(default = "default_dropout")]
    pub attention_probs_dropout_prob: f64,
    /// What its kind has beyond BERT.
    #[serde(skip)]
    pub extras: Extras,
}

const fn default_positions() -> i64 {
    512
}

const fn default_segments() -> i64 {
    2
}

const fn default_eps() -> f64 {
    1e-12
}

const fn default_dropout() -> f64 {
    0.1
}

/// Keys of whole numbers, and whether they are required.
const INTEGERS: [(&str, bool); 9] = [
    ("vocab_size", true),
    ("hidden_size", true),
    ("num_hidden_layers", true),
    ("num_attention_heads", true),
    ("intermediate_size", true),
    ("embedding_size", true),
    ("max_position_embeddings", false),
    ("type_vocab_size", false),
    ("pad_token_id", false),
];

/// Keys of other numbers.
const NUMBERS: [&str; 3] = ["layer_norm_eps", "hidden_dropout_prob", "attention_probs_dropout_prob"];

impl BertConfig {
    /// The sizes of a model folder.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json), and if the file cannot be read.
    pub fn of_folder(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join("config.json");
        let text = ner_files::read_text(&path)
            .map_err(|error| ModelError::Config { path: path.clone(), message: error.to_string() })?;
        Self::from_json(&text, &path)
    }

    /// Parses the text of the `config.json` at `path`.
    /// A key that is null counts as missing.
    ///
    /// # Errors
    /// If it is not JSON, lacks a size, has impossible sizes, or describes an unsupported kind of encoder.
    pub fn from_json(text: &str, path: &Path) -> Result<Self, ModelError> {
        let fault = |message: String| ModelError::Config { path: path.into(), message };
        let mut value: Value = serde_json::from_str(text).map_err(|error| fault(error.to_string()))?;
        let model_type = match value.get("model_type") {
            // Checkpoints of 2019 name no type, but some name a class; their other values are checked below.
            None | Some(Value::Null) => ModelType::of_class(value["architectures"][0].as_str().unwrap_or_default()),
            Some(kind) => kind.as_str().ok_or_else(|| fault("model_type is not text".into()))?,
        };
        let Some(kind) = ModelType::named(model_type) else {
            let supported = ModelType::names().join(", ");
            return Err(fault(format!("model_type {model_type} is not supported; supported: {supported}")));
        };
        if let Some(kind) = value.get("position_embedding_type").and_then(|kind| kind.as_str())
            && kind != "absolute"
        {
            return Err(fault(format!("position_embedding_type {kind} is not supported; supported: absolute")));
        }
        if value["is_decoder"] == true {
            return Err(fault("is_decoder is true; medner computes encoders, whose tokens see both sides".into()));
        }
        // transformers writes null for what is not set.
        if let Some(keys) = value.as_object_mut() {
            keys.retain(|_, value| !value.is_null());
        }
        let value = kind.family().config(value);
        let stored = |key: &'static str| kind.family().stored_key(key);
        for (key, is_required) in INTEGERS {
            match value.get(key) {
                None if is_required => return Err(fault(format!("{} is missing or null", stored(key)))),
                Some(value) if value.as_i64().is_none() => {
                    return Err(fault(format!("{} is not a whole number of 64 bits", stored(key))));
                }
                _ => {}
            }
        }
        if let Some(key) = NUMBERS.into_iter().find(|key| value.get(key).is_some_and(|value| !value.is_number())) {
            return Err(fault(format!("{} is not a number", stored(key))));
        }
        let extras = match kind {
            ModelType::ModernBert => Extras::Modern(ModernConfig::of(&value).map_err(fault)?),
            ModelType::DebertaV2 => Extras::Deberta(DebertaConfig::of(&value).map_err(fault)?),
            ModelType::Mpnet => {
                check_buckets(&value).map_err(fault)?;
                Extras::None
            }
            ModelType::Bert
            | ModelType::Roberta
            | ModelType::Electra
            | ModelType::Distilbert
            | ModelType::XlmRoberta => Extras::None,
        };
        // What remains to fail is the name of the activation.
        let config: Self =
            serde_json::from_value(value).map_err(|error| fault(format!("{}: {error}", stored("hidden_act"))))?;
        let config = Self { extras, ..config };
        // DeBERTa can have none.
        let has_segments = kind.family().has_segments && (kind != ModelType::DebertaV2 || config.type_vocab_size != 0);
        let sizes = [
            ("vocab_size", config.vocab_size),
            ("hidden_size", config.hidden_size),
            ("num_hidden_layers", config.num_hidden_layers),
            ("num_attention_heads", config.num_attention_heads),
            ("intermediate_size", config.intermediate_size),
            ("max_position_embeddings", config.max_position_embeddings),
            ("type_vocab_size", if has_segments { config.type_vocab_size } else { 1 }),
            ("embedding_size", config.embedding_size),
        ];
        if let Some((name, size)) = sizes.iter().find(|(_, size)| *size < 1) {
            return Err(fault(format!("{} is {size}; it must be at least 1", stored(name))));
        }
        if let Some((name, size)) = sizes.iter().find(|(_, size)| *size > MOST_SIZE) {
            return Err(fault(format!("{} is {size}; it must be at most {MOST_SIZE}", stored(name))));
        }
        if config.num_hidden_layers > MOST_LAYERS {
            let layers = config.num_hidden_layers;
            return Err(fault(format!(
                "{} is {layers}; it must be at most {MOST_LAYERS}",
                stored("num_hidden_layers")
            )));
        }
        if !(0..config.vocab_size).contains(&config.pad_token_id) {
            let (pad, pieces) = (config.pad_token_id, config.vocab_size);
            return Err(fault(format!("pad_token_id is {pad}, but vocab_size is {pieces}")));
        }
        if !(config.layer_norm_eps > 0.0 && config.layer_norm_eps <= 1.0) {
            return Err(fault(format!(
                "layer_norm_eps is {}; it must be above 0 and at most 1",
                config.layer_norm_eps
            )));
        }
        for (key, share) in [
            ("hidden_dropout_prob", config.hidden_dropout_prob),
            ("attention_probs_dropout_prob", config.attention_probs_dropout_prob),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return Err(fault(format!("{} is {share}; it must be from 0 to 1", stored(key))));
            }
        }
        if config.hidden_size % config.num_attention_heads != 0 {
            let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
            return Err(fault(format!("hidden_size {hidden} is not a multiple of num_attention_heads {heads}")));
        }
        if config.max_tokens() < 1 {
            let (positions, first) = (config.max_position_embeddings, config.first_position());
            return Err(fault(format!(
                "max_position_embeddings is {positions}, but the first {first} positions are not used for tokens"
            )));
        }
        Ok(config)
    }

    /// Position of a row's first token. Encoders from fairseq start after the padding position; MPNet's is always 1.
    pub const fn first_position(&self) -> i64 {
        match self.model_type {
            ModelType::Roberta | ModelType::XlmRoberta => self.pad_token_id + 1,
            ModelType::Mpnet => 2,
            ModelType::Bert
            | ModelType::Electra
            | ModelType::Distilbert
            | ModelType::ModernBert
            | ModelType::DebertaV2 => 0,
        }
    }

    /// Whether it has embeddings of positions.
    pub(crate) const fn has_position_embeddings(&self) -> bool {
        match &self.extras {
            Extras::None => true,
            Extras::Modern(_) => false,
            Extras::Deberta(deberta) => deberta.position_biased_input,
        }
    }

    /// Longest row in tokens, special tokens included.
    pub const fn max_tokens(&self) -> i64 {
        self.max_position_embeddings - self.first_position()
    }
}
