//! BERT's encoder, with the checkpoint's names for its parts. The few differences of related models are in `family.rs`.
//!
//! Dimensions: `batch` rows of `tokens` word pieces; states of width `hidden`; `heads` of size `head` = hidden / heads.
//! Sources: Devlin et al. (2019), "BERT", section 3; Vaswani et al. (2017) for the layer.

use super::attend::attend;
use super::attention;
use super::batch::{Batch, Layout, Rows};
use super::config::BertConfig;
use super::fused::FusedLayers;
use super::parameters::Parameters;
use super::training_pass::TrainingPass;
use crate::{ModelError, onednn};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

#[derive(Debug)]
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn new(parameters: &Parameters, name: &str) -> Result<Self, ModelError> {
        Ok(Self { weight: parameters.get(&format!("{name}.weight"))?, bias: parameters.get(&format!("{name}.bias"))? })
    }

    /// Computes in the kind of `input`. The fp32 weights are cast to it, and their gradients come back in fp32.
    fn forward(&self, input: &Tensor) -> Tensor {
        let kind = input.kind();
        if onednn::is_packed(&self.weight) {
            return onednn::linear(input, &self.weight, &self.bias.to_kind(kind));
        }
        let (weight, bias) = (self.weight.to_kind(kind), self.bias.to_kind(kind));
        if weight.requires_grad()
            && kind == Kind::Float
            && input.device() == Device::Cpu
            && let Some(product) = onednn::linear_with_gradients(input, &weight, &bias)
        {
            return product;
        }
        input.linear(&weight, Some(&bias))
    }
}

#[derive(Debug)]
struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    fn new(parameters: &Parameters, name: &str, eps: f64) -> Result<Self, ModelError> {
        let Linear { weight, bias } = Linear::new(parameters, name)?;
        Ok(Self { weight, bias, eps })
    }

    fn forward(&self, input: &Tensor) -> Tensor {
        let norm =
            |input: &Tensor| input.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.eps, true);
        // The CPU's kernel takes half-precision states with fp32 weights; CUDA's needs one kind for all.
        if input.device().is_cuda() && input.kind() != Kind::Float {
            norm(&input.to_kind(Kind::Float)).to_kind(input.kind())
        } else {
            norm(input)
        }
    }
}

#[derive(Debug)]
pub(crate) struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
}

impl Layer {
    fn new(parameters: &Parameters, at: i64, eps: f64) -> Result<Self, ModelError> {
        let linear = |part: &str| Linear::new(parameters, &format!("bert.encoder.layer.{at}.{part}"));
        let norm = |part: &str| LayerNorm::new(parameters, &format!("bert.encoder.layer.{at}.{part}"), eps);
        Ok(Self {
            query: linear("attention.self.query")?,
            key: linear("attention.self.key")?,
            value: linear("attention.self.value")?,
            attention_output: linear("attention.output.dense")?,
            attention_norm: norm("attention.output.LayerNorm")?,
            intermediate: linear("intermediate.dense")?,
            output: linear("output.dense")?,
            output_norm: norm("output.LayerNorm")?,
        })
    }

    /// Maps `[places, hidden]` to `[places, hidden]`.
    pub(crate) fn forward(
        &self,
        states: &Tensor,
        layout: &Layout,
        config: &BertConfig,
        mut dropout: Option<&mut TrainingPass>,
    ) -> Tensor {
        let projected = [&self.query, &self.key, &self.value].map(|linear| linear.forward(states));
        let context = attend(layout, projected, config.num_attention_heads, dropout.as_deref_mut());
        let attended = apply_dropout(self.attention_output.forward(&context), &mut dropout);
        let states = self.attention_norm.forward(&add_residual(attended, states));
        let wide = config.hidden_act.apply(self.intermediate.forward(&states));
        let narrow = apply_dropout(self.output.forward(&wide), &mut dropout);
        self.output_norm.forward(&add_residual(narrow, &states))
    }
}

/// BERT without a pooler: embeddings and layers.
#[derive(Debug)]
pub struct Bert {
    config: BertConfig,
    word_embeddings: Tensor,
    position_embeddings: Tensor,
    /// `None` for an encoder without segments.
    token_type_embeddings: Option<Tensor>,
    embeddings_norm: LayerNorm,
    /// Maps embeddings to the width of the states, if the widths differ.
    embeddings_project: Option<Linear>,
    layers: Vec<Layer>,
    /// The same for prediction, if the device and the precision support it.
    fused: Option<Arc<FusedLayers>>,
}

impl Bert {
    /// Names and shapes of all parameters for this configuration, in the order of a checkpoint.
    pub fn shapes(config: &BertConfig) -> Vec<(String, Vec<i64>)> {
        let (hidden, wide, narrow) = (config.hidden_size, config.intermediate_size, config.embedding_size);
        let mut shapes = vec![
            ("bert.embeddings.word_embeddings.weight".to_owned(), vec![config.vocab_size, narrow]),
            ("bert.embeddings.position_embeddings.weight".to_owned(), vec![config.max_position_embeddings, narrow]),
        ];
        if config.type_vocab_size > 0 {
            let name = "bert.embeddings.token_type_embeddings.weight".to_owned();
            shapes.push((name, vec![config.type_vocab_size, narrow]));
        }
        let mut pair = |name: String, weight: Vec<i64>| {
            let bias = vec![weight[0]];
            shapes.push((format!("{name}.weight"), weight));
            shapes.push((format!("{name}.bias"), bias));
        };
        pair("bert.embeddings.LayerNorm".to_owned(), vec![narrow]);
        if narrow != hidden {
            pair("bert.embeddings_project".to_owned(), vec![hidden, narrow]);
        }
        for at in 0..config.num_hidden_layers {
            let layer = format!("bert.encoder.layer.{at}");
            pair(format!("{layer}.attention.self.query"), vec![hidden, hidden]);
            pair(format!("{layer}.attention.self.key"), vec![hidden, hidden]);
            pair(format!("{layer}.attention.self.value"), vec![hidden, hidden]);
            pair(format!("{layer}.attention.output.dense"), vec![hidden, hidden]);
            pair(format!("{layer}.attention.output.LayerNorm"), vec![hidden]);
            pair(format!("{layer}.intermediate.dense"), vec![wide, hidden]);
            pair(format!("{layer}.output.dense"), vec![hidden, wide]);
            pair(format!("{layer}.output.LayerNorm"), vec![hidden]);
        }
        shapes
    }

    /// An encoder that shares `parameters`.
    ///
    /// # Errors
    /// If a parameter is missing.
    pub fn new(config: &BertConfig, parameters: &Parameters) -> Result<Self, ModelError> {
        let eps = config.layer_norm_eps;
        Ok(Self {
            word_embeddings: parameters.get("bert.embeddings.word_embeddings.weight")?,
            position_embeddings: parameters.get("bert.embeddings.position_embeddings.weight")?,
            token_type_embeddings: (config.type_vocab_size > 0)
                .then(|| parameters.get("bert.embeddings.token_type_embeddings.weight"))
                .transpose()?,
            embeddings_norm: LayerNorm::new(parameters, "bert.embeddings.LayerNorm", eps)?,
            embeddings_project: (config.embedding_size != config.hidden_size)
                .then(|| Linear::new(parameters, "bert.embeddings_project"))
                .transpose()?,
            layers: (0..config.num_hidden_layers)
                .map(|at| Layer::new(parameters, at, eps))
                .collect::<Result<_, _>>()?,
            fused: None,
            config: config.clone(),
        })
    }

    /// Computes the hidden states of the last layer, `[batch, tokens, hidden]` in `kind` (fp32 with fused layers); values at
    /// padding are undefined.
    ///
    /// `dropout` is for training only. Panics if a row is longer than the encoder's positions: callers cut text into
    /// windows.
    pub fn forward(&self, batch: &Batch, kind: Kind, mut dropout: Option<&mut TrainingPass>) -> Tensor {
        let device = self.word_embeddings.device();
        let width = batch.width() as i64;
        assert!(width <= self.config.max_tokens(), "a row of {width} tokens is too long for this encoder");
        let fused = self.fused.as_ref().filter(|_| dropout.is_none());
        let kind = if fused.is_some() { Kind::Float } else { kind };
        let layout = match dropout {
            None if fused.is_some() || self.packs_rows() => Layout::packed(batch),
            _ => Layout::padded(batch, kind, device),
        };

        let ids = layout.numbers(batch, self.config.pad_token_id, |_, id| i64::from(id)).to_device(device);
        let first = self.config.first_position();
        let positions = layout.numbers(batch, first, |at, _| first + at as i64).to_device(device);
        // [places, embedding]
        let mut words = Tensor::embedding(&self.word_embeddings, &ids, -1, false, false);
        if let Some(dropout) = dropout.as_deref() {
            words = dropout.embeddings(words);
        }
        let mut embeddings = words + Tensor::embedding(&self.position_embeddings, &positions, -1, false, false);
        if let Some(segments) = &self.token_type_embeddings {
            embeddings += segments.select(0, 0);
        }
        // [places, hidden]
        let mut states = self.embeddings_norm.forward(&embeddings).to_kind(kind);
        states = apply_dropout(states, &mut dropout);
        if let Some(project) = &self.embeddings_project {
            states = project.forward(&states);
        }
        if let (Some(fused), Rows::Packed { rows, .. }) = (fused, &layout.rows) {
            return layout.tokens(&fused.forward(&states, rows));
        }
        match dropout {
            Some(dropout) if dropout.gradient_checkpointing => self.forward_keeping_inputs(states, layout, dropout),
            mut dropout => {
                for layer in &self.layers {
                    states = layer.forward(&states, &layout, &self.config, dropout.as_deref_mut());
                }
                layout.tokens(&states)
            }
        }
    }

    /// Whether rows can be packed without padding: in prediction with packed weights.
    fn packs_rows(&self) -> bool {
        let head = self.config.hidden_size / self.config.num_attention_heads;
        self.layers.first().is_some_and(|layer| onednn::is_packed(&layer.query.weight)) && attention::is_available(head)
    }

    /// Predicts with `layers`, which were made of the same parameters; all else is then fp32.
    pub(crate) fn predict_with(&mut self, layers: Arc<FusedLayers>) {
        self.fused = Some(layers);
    }

    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    pub(crate) const fn config(&self) -> &BertConfig {
        &self.config
    }
}

fn apply_dropout(states: Tensor, dropout: &mut Option<&mut TrainingPass>) -> Tensor {
    match dropout {
        Some(dropout) => dropout.hidden_states(&states),
        None => states,
    }
}

fn add_residual(mut states: Tensor, residual: &Tensor) -> Tensor {
    states += residual;
    states
}
