//! ModernBERT's layers: rotary positions instead of embeddings of them, attention to near tokens only in most layers,
//! gated feed-forward layers, and normalisation before each part instead of after it.
//!
//! Sources: Warner et al. (2024), "Smarter, better, faster, longer"; Su et al. (2021), "RoFormer", for the positions;
//! Shazeer (2020), "GLU variants improve transformer"; transformers' `ModernBertModel` for names and defaults.

use super::attend::attend;
use super::batch::{Batch, Layout};
use super::config::BertConfig;
use super::distances::nearby;
use super::extras::{Extras, ModernConfig};
use super::linear::{LayerNorm, Linear, add_residual, apply_dropout};
use super::parameters::Parameters;
use super::terms::{Positions, Rotary};
use super::training_pass::TrainingPass;
use crate::device::cuda::upload;
use crate::{Activation, ModelError};
use tch::{Device, Kind, Tensor};

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

impl Positions {
    pub fn new(batch: &Batch, layout: &Layout, config: &BertConfig, kind: Kind, device: Device) -> Option<Self> {
        let Extras::Modern(modern) = &config.extras else { return None };
        let places = upload(&layout.numbers(batch, 0, |at, _| at as i64), device).to_kind(Kind::Float);
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

    /// One of the linear layers, which are all of a kind.
    pub const fn any_linear(&self) -> &Linear {
        &self.query_key_value
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
