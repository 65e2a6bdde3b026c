//! The settings of kinds of encoders that BERT lacks.

use super::activation::Activation;
use serde_json::Value;

/// Limits that no published encoder comes near; without them, a number in a file could ask for all of memory.
pub(super) const MOST_LAYERS: i64 = 1000;
pub(super) const MOST_SIZE: i64 = 1 << 24;

/// Number of buckets of distances, half of them for each direction. transformers always computes with this number.
pub(super) const BUCKETS: i64 = 32;

/// The settings of kinds of encoders that BERT lacks.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Extras {
    /// None.
    #[default]
    None,
    /// Of ModernBERT.
    Modern(ModernConfig),
    /// Of DeBERTa.
    Deberta(DebertaConfig),
}

/// ModernBERT's settings beyond BERT's, with transformers' names.
#[derive(Clone, Debug, PartialEq)]
pub struct ModernConfig {
    /// Whether each layer attends to all tokens, or only to near ones.
    pub is_global: Vec<bool>,
    /// Longest distance of two tokens in a local layer.
    pub reach: i64,
    /// Base of the rotary angles in global layers.
    pub global_rope_theta: f64,
    /// The same in local layers.
    pub local_rope_theta: f64,
    /// Whether normalisation has biases.
    pub norm_bias: bool,
    /// Whether attention has biases.
    pub attention_bias: bool,
    /// Whether the feed-forward layers have biases.
    pub mlp_bias: bool,
    /// Whether the layer between encoder and classifier of a model that labels tokens has a bias.
    pub classifier_bias: bool,
    /// The activation of that layer.
    pub classifier_activation: Activation,
}

impl ModernConfig {
    /// From a `config.json` with BERT's keys.
    pub(super) fn of(config: &Value) -> Result<Self, String> {
        let flag = |key: &str| match config.get(key) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| format!("{key} is neither true nor false")),
        };
        let number = |key: &str, otherwise: i64| match config.get(key) {
            None => Ok(otherwise),
            Some(value) => value.as_i64().filter(|&number| number > 0).ok_or_else(|| format!("{key} is not above 0")),
        };
        let layers = config["num_hidden_layers"].as_i64().unwrap_or(0).clamp(0, MOST_LAYERS);
        let is_global = match config.get("layer_types") {
            None => {
                let every = number("global_attn_every_n_layers", 3)?;
                (0..layers).map(|layer| layer % every == 0).collect()
            }
            Some(types) => {
                let types: Vec<&str> = types.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let known = ["full_attention", "sliding_attention"];
                if types.len() as i64 != layers || types.iter().any(|kind| !known.contains(kind)) {
                    return Err("layer_types does not say full_attention or sliding_attention for each layer".into());
                }
                types.into_iter().map(|kind| kind == known[0]).collect()
            }
        };
        let theta = |layers: &str, old_key: &str, otherwise: f64| {
            let rope = &config["rope_parameters"][layers];
            let kinds = [&rope["rope_type"], &config["rope_scaling"]["rope_type"], &config["rope_scaling"]["type"]];
            if let Some(kind) = kinds.into_iter().find(|kind| !kind.is_null() && *kind != "default") {
                return Err(format!("rope_type {kind} is not supported; supported: default"));
            }
            match [&rope["rope_theta"], &config[old_key]].into_iter().find(|value| !value.is_null()) {
                None => Ok(otherwise),
                Some(value) => {
                    value.as_f64().filter(|&theta| theta > 0.0).ok_or_else(|| format!("{old_key} is not above 0"))
                }
            }
        };
        let classifier_activation = match config.get("classifier_activation") {
            None => Activation::Gelu,
            Some(name) => serde_json::from_value(name.clone()).map_err(|e| format!("classifier_activation: {e}"))?,
        };
        Ok(Self {
            is_global,
            reach: number("local_attention", 128)? / 2,
            global_rope_theta: theta("full_attention", "global_rope_theta", 160_000.0)?,
            local_rope_theta: theta("sliding_attention", "local_rope_theta", 10_000.0)?,
            norm_bias: flag("norm_bias")?,
            attention_bias: flag("attention_bias")?,
            mlp_bias: flag("mlp_bias")?,
            classifier_bias: flag("classifier_bias")?,
            classifier_activation,
        })
    }
}

/// DeBERTa's settings beyond BERT's, with transformers' names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebertaConfig {
    /// Whether embeddings of absolute positions are added to those of the words.
    pub position_biased_input: bool,
    /// The attention to relative positions, if there is any.
    pub relative: Option<RelativeAttention>,
    /// Width of the convolution beside the first layer; 0 for none.
    pub conv_kernel_size: i64,
    /// Groups of that convolution.
    pub conv_groups: i64,
}

/// Attention to relative positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelativeAttention {
    /// Number of buckets of distances in one direction; 0 if each distance is one.
    pub buckets: i64,
    /// The longest distance that counts.
    pub max_relative_positions: i64,
    /// Whether words attend to positions.
    pub content_to_position: bool,
    /// Whether positions attend to words.
    pub position_to_content: bool,
    /// Whether positions are projected like words.
    pub share_att_key: bool,
    /// Whether the embeddings of positions are normalised.
    pub norm_rel_ebd: bool,
}

impl DebertaConfig {
    /// From a `config.json` with BERT's keys.
    pub(super) fn of(config: &Value) -> Result<Self, String> {
        let flag = |key: &str, otherwise: bool| match config.get(key) {
            None => Ok(otherwise),
            Some(value) => value.as_bool().ok_or_else(|| format!("{key} is neither true nor false")),
        };
        let number = |key: &str, otherwise: i64| match config.get(key) {
            None => Ok(otherwise),
            Some(value) => {
                let number = value.as_i64().filter(|number| (-1..=MOST_SIZE).contains(number));
                number.ok_or_else(|| format!("{key} is not a whole number from -1 to {MOST_SIZE}"))
            }
        };
        // One text, separated by bars, or a list.
        let words = |key: &str| -> Vec<String> {
            match config.get(key) {
                Some(Value::String(text)) => {
                    text.to_lowercase().split('|').map(|word| word.trim().to_owned()).collect()
                }
                Some(Value::Array(list)) => list.iter().filter_map(|word| Some(word.as_str()?.to_owned())).collect(),
                _ => Vec::new(),
            }
        };
        let kinds = words("pos_att_type");
        if let Some(kind) = kinds.iter().find(|kind| !["c2p", "p2c"].contains(&kind.as_str())) {
            return Err(format!("pos_att_type {kind} is not supported; supported: c2p, p2c"));
        }
        if !kinds.is_empty() && !flag("relative_attention", false)? {
            return Err("pos_att_type is set, but relative_attention is not; medner does not compute that".into());
        }
        let conv_kernel_size = number("conv_kernel_size", 0)?.max(0);
        match config.get("conv_act").and_then(Value::as_str) {
            Some(act) if act != "tanh" && conv_kernel_size > 0 => {
                return Err(format!("conv_act {act} is not supported; supported: tanh"));
            }
            _ => {}
        }
        if conv_kernel_size % 2 == 0 && conv_kernel_size > 0 {
            return Err(format!("conv_kernel_size is {conv_kernel_size}; it must be odd"));
        }
        let positions = number("max_position_embeddings", 512)?;
        let relative = RelativeAttention {
            buckets: number("position_buckets", -1)?.max(0),
            max_relative_positions: match number("max_relative_positions", -1)? {
                most if most < 1 => positions,
                most => most,
            },
            content_to_position: kinds.iter().any(|kind| kind == "c2p"),
            position_to_content: kinds.iter().any(|kind| kind == "p2c"),
            share_att_key: flag("share_att_key", false)?,
            norm_rel_ebd: words("norm_rel_ebd").iter().any(|word| word == "layer_norm"),
        };
        if !(relative.buckets == 0
            || relative.buckets >= 4 && relative.buckets / 2 < relative.max_relative_positions - 1)
        {
            let (buckets, most) = (relative.buckets, relative.max_relative_positions);
            return Err(format!("position_buckets is {buckets}, which does not fit max_relative_positions {most}"));
        }
        Ok(Self {
            position_biased_input: flag("position_biased_input", true)?,
            relative: flag("relative_attention", false)?.then_some(relative),
            conv_kernel_size,
            conv_groups: number("conv_groups", 1)?.max(1),
        })
    }
}

/// Checks MPNet's number of buckets.
pub(super) fn check_buckets(config: &Value) -> Result<(), String> {
    match config.get("relative_attention_num_buckets").map(Value::as_i64) {
        None | Some(Some(BUCKETS)) => Ok(()),
        Some(_) => {
            Err(format!("relative_attention_num_buckets is not {BUCKETS}, the number that medner computes with"))
        }
    }
}
