//! ModernBERT's layers: rotary positions instead of embeddings of them, attention to near tokens only in most layers,
//! gated feed-forward layers, and normalisation before each part instead of after it.
//!
//! Sources: Warner et al. (2024), "Smarter, better, faster, longer"; Su et al. (2021), "RoFormer", for the positions;
//! Shazeer (2020), "GLU variants improve transformer"; transformers' `ModernBertModel` for names and defaults.

use super::attend::attend;
use super::batch::{Batch, Layout};
use super::bert::{add_residual, apply_dropout};
use super::config::{BertConfig, Extras};
use super::distances::{Terms, nearby};
use super::linear::{LayerNorm, Linear};
use super::parameters::Parameters;
use super::training_pass::TrainingPass;
use crate::{Activation, ModelError};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

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
        let layers = config["num_hidden_layers"].as_i64().unwrap_or(0).clamp(0, super::config::MOST_LAYERS);
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

/// Rotations of queries and keys by their positions.
#[derive(Debug)]
struct Rotary {
    /// `[places, 1, head / 2]` fp32 each.
    cos: Tensor,
    sin: Tensor,
}

impl Rotary {
    /// For tokens at `positions`, `[places] f32`.
    fn new(positions: &Tensor, head: i64, theta: f64) -> Self {
        let evens = Tensor::arange_start_step(0, head, 2, (Kind::Float, positions.device()));
        let frequencies = Tensor::pow_scalar(theta, &(evens / head as f64)).reciprocal();
        let angles = (positions.unsqueeze(1) * frequencies.unsqueeze(0)).unsqueeze(1);
        Self { cos: angles.cos(), sin: angles.sin() }
    }

    /// Rotates each pair of a number of the first half of a head and the same one of the second half.
    fn rotate(&self, states: &Tensor, heads: i64) -> Tensor {
        let kind = states.kind();
        let halves = states.unflatten(1, [heads, -1]).to_kind(Kind::Float).chunk(2, 2);
        let (first, second) = (&halves[0], &halves[1]);
        let rotated = [first * &self.cos - second * &self.sin, second * &self.cos + first * &self.sin];
        Tensor::cat(&rotated, 2).flatten(1, 2).to_kind(kind)
    }
}

/// What the layers need to know of a batch's positions.
#[derive(Debug)]
pub(super) struct Positions {
    global: Rotary,
    local: Rotary,
    nearby: Terms,
}

impl Positions {
    pub fn new(batch: &Batch, layout: &Layout, config: &BertConfig, kind: Kind, device: Device) -> Option<Self> {
        let Extras::Modern(modern) = &config.extras else { return None };
        let places = layout.numbers(batch, 0, |at, _| at as i64).to_device(device).to_kind(Kind::Float);
        let rotary = |theta| Rotary::new(&places, config.hidden_size / config.num_attention_heads, theta);
        Some(Self {
            global: rotary(modern.global_rope_theta),
            local: rotary(modern.local_rope_theta),
            nearby: nearby(layout, modern.reach, kind, device),
        })
    }
}

/// A layer of ModernBERT.
#[derive(Debug)]
pub(crate) struct ModernLayer {
    /// The first layer has none: the embeddings are normalised.
    attention_norm: Option<LayerNorm>,
    query_key_value: Linear,
    attention_output: Linear,
    mlp_norm: LayerNorm,
    gated: Linear,
    output: Linear,
    is_global: bool,
}

fn name(at: i64, part: &str) -> String {
    format!("bert.encoder.layer.{at}.{part}")
}

impl ModernLayer {
    /// Names and shapes of a layer's parameters.
    pub fn shapes(config: &BertConfig, modern: &ModernConfig, at: i64) -> Vec<(String, Vec<i64>)> {
        let (hidden, wide) = (config.hidden_size, config.intermediate_size);
        let mut shapes = Vec::new();
        let mut part = |part: &str, weight: Vec<i64>, has_bias: bool| {
            let bias = vec![weight[0]];
            shapes.push((name(at, &format!("{part}.weight")), weight));
            if has_bias {
                shapes.push((name(at, &format!("{part}.bias")), bias));
            }
        };
        if at > 0 {
            part("attn_norm", vec![hidden], modern.norm_bias);
        }
        part("attn.Wqkv", vec![3 * hidden, hidden], modern.attention_bias);
        part("attn.Wo", vec![hidden, hidden], modern.attention_bias);
        part("mlp_norm", vec![hidden], modern.norm_bias);
        part("mlp.Wi", vec![2 * wide, hidden], modern.mlp_bias);
        part("mlp.Wo", vec![hidden, wide], modern.mlp_bias);
        shapes
    }

    pub fn new(
        parameters: &Parameters,
        config: &BertConfig,
        modern: &ModernConfig,
        at: i64,
    ) -> Result<Self, ModelError> {
        let linear = |part: &str, has_bias| Linear::with(parameters, &name(at, part), has_bias);
        let norm = |part: &str| LayerNorm::with(parameters, &name(at, part), config.layer_norm_eps, modern.norm_bias);
        Ok(Self {
            attention_norm: (at > 0).then(|| norm("attn_norm")).transpose()?,
            query_key_value: linear("attn.Wqkv", modern.attention_bias)?,
            attention_output: linear("attn.Wo", modern.attention_bias)?,
            mlp_norm: norm("mlp_norm")?,
            gated: linear("mlp.Wi", modern.mlp_bias)?,
            output: linear("mlp.Wo", modern.mlp_bias)?,
            is_global: modern.is_global[at as usize],
        })
    }

    pub fn is_packed(&self) -> bool {
        self.query_key_value.is_packed()
    }

    /// Maps `[places, hidden]` to `[places, hidden]`.
    pub fn forward(
        &self,
        states: &Tensor,
        layout: &Layout,
        config: &BertConfig,
        mut dropout: Option<&mut TrainingPass>,
    ) -> Tensor {
        let positions = layout.positions.as_ref().expect("the encoder sets them for these layers");
        let rotary = if self.is_global { &positions.global } else { &positions.local };
        let terms = (!self.is_global).then_some(&positions.nearby);
        let heads = config.num_attention_heads;
        let normed = self.attention_norm.as_ref().map(|norm| norm.forward(states));
        let projected = self.query_key_value.forward(normed.as_ref().unwrap_or(states)).chunk(3, 1);
        let projected =
            [rotary.rotate(&projected[0], heads), rotary.rotate(&projected[1], heads), projected[2].contiguous()];
        let context = attend(layout, projected, heads, terms, dropout.as_deref_mut());
        let attended = apply_dropout(self.attention_output.forward(&context), &mut dropout);
        let states = add_residual(attended, states);
        let wide = self.gated.forward(&self.mlp_norm.forward(&states)).chunk(2, 1);
        let gated = config.hidden_act.apply(wide[0].contiguous()) * &wide[1];
        add_residual(self.output.forward(&apply_dropout(gated, &mut dropout)), &states)
    }
}

/// The layer between ModernBERT and the classifier of a model that labels tokens: transformers' `ModernBertPredictionHead`.
/// Its names are those of the file, which pretraining left there.
#[derive(Debug)]
pub(crate) struct PredictionHead {
    dense: Linear,
    activation: Activation,
    norm: LayerNorm,
}

impl PredictionHead {
    /// Start of its parameters' names.
    pub const PREFIX: &str = "head.";

    /// Names and shapes of its parameters; none for other kinds of encoders.
    pub fn shapes(config: &BertConfig) -> Vec<(String, Vec<i64>)> {
        let Extras::Modern(modern) = &config.extras else { return Vec::new() };
        let hidden = config.hidden_size;
        let shapes = [
            ("head.dense.weight", vec![hidden, hidden], true),
            ("head.dense.bias", vec![hidden], modern.classifier_bias),
            ("head.norm.weight", vec![hidden], true),
            ("head.norm.bias", vec![hidden], modern.norm_bias),
        ];
        let there = shapes.into_iter().filter(|(_, _, is_there)| *is_there);
        there.map(|(name, shape, _)| (name.to_owned(), shape)).collect()
    }

    /// `None` for other kinds of encoders.
    pub fn new(config: &BertConfig, parameters: &Parameters) -> Result<Option<Self>, ModelError> {
        let Extras::Modern(modern) = &config.extras else { return Ok(None) };
        Ok(Some(Self {
            dense: Linear::with(parameters, "head.dense", modern.classifier_bias)?,
            activation: modern.classifier_activation,
            norm: LayerNorm::with(parameters, "head.norm", config.layer_norm_eps, modern.norm_bias)?,
        }))
    }

    /// Maps `[batch, tokens, hidden]` fp32 to the same.
    pub fn forward(&self, states: &Tensor) -> Tensor {
        self.norm.forward(&self.activation.apply(self.dense.forward(states)))
    }
}
