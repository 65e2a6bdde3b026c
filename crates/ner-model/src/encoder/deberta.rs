//! What DeBERTa of version 2 and 3 has beyond BERT: attention scores between words and relative positions, and a
//! convolution beside the first layer.
//!
//! The scores differ for each query and key, so rows are padded also in prediction: the unpadded kernel of `attention.rs`
//! only adds terms by distance. In bf16 on the CPU it therefore predicts slower than the other kinds.
//!
//! Sources: He et al. (2021), "DeBERTa", section 3.1, and "DeBERTaV3"; transformers' `DebertaV2Model` for the buckets, names
//! and defaults.

use super::batch::{Layout, Rows};
use super::config::BertConfig;
use super::extras::{DebertaConfig, Extras, RelativeAttention};
use super::linear::{LayerNorm, Linear};
use super::parameters::Parameters;
use super::terms::Terms;
use super::training_pass::TrainingPass;
use crate::ModelError;
use crate::device::cuda::upload;
use tch::{Device, Kind, Tensor};

impl RelativeAttention {
    /// Number of embeddings for one direction.
    fn span(&self) -> i64 {
        if self.buckets > 0 { self.buckets } else { self.max_relative_positions }
    }

    /// The number of scores of which one is the sum.
    fn scores(&self) -> i64 {
        1 + i64::from(self.content_to_position) + i64::from(self.position_to_content)
    }

    /// The row of the embeddings for each distance of query minus key from `1 - width` to `width - 1`. With the
    /// operations of transformers, so that roundings agree.
    fn rows(&self, width: i64) -> Tensor {
        let distance = Tensor::arange_start(1 - width, width, (Kind::Int64, Device::Cpu));
        let bucket = if self.buckets > 0 {
            let middle = self.buckets / 2;
            let size = distance.abs().clamp_min(middle - 1).to_kind(Kind::Float);
            let longest =
                Tensor::from_slice(&[((self.max_relative_positions - 1) as f64 / middle as f64) as f32]).log();
            let logarithm = ((&size / middle as f64).log() / longest * (middle - 1) as f64).ceil() + middle as f64;
            let far = (logarithm * distance.sign().to_kind(Kind::Float)).to_kind(Kind::Int64);
            distance.where_self(&size.le(middle), &far)
        } else {
            distance
        };
        (bucket + self.span()).clamp(0, 2 * self.span() - 1)
    }
}

const RELATIVE: &str = "bert.encoder.rel_embeddings.weight";
const RELATIVE_NORM: &str = "bert.encoder.LayerNorm";
const CONVOLUTION: &str = "bert.encoder.conv";

fn relative_of(config: &BertConfig) -> Option<&RelativeAttention> {
    match &config.extras {
        Extras::Deberta(deberta) => deberta.relative.as_ref(),
        Extras::None | Extras::Modern(_) => None,
    }
}

/// The projections of positions in a layer that does not share those of words, in transformers' names.
fn projections(relative: &RelativeAttention) -> impl Iterator<Item = &'static str> {
    let own = !relative.share_att_key;
    let parts = [(relative.content_to_position, "pos_key_proj"), (relative.position_to_content, "pos_query_proj")];
    parts.into_iter().filter(move |(is_there, _)| *is_there && own).map(|(_, part)| part)
}

fn projection(at: i64, part: &str) -> String {
    format!("bert.encoder.layer.{at}.attention.self.{part}")
}

/// Names and shapes of the parameters that BERT lacks.
pub(super) fn shapes(config: &BertConfig) -> Vec<(String, Vec<i64>)> {
    let Extras::Deberta(deberta) = &config.extras else { return Vec::new() };
    let hidden = config.hidden_size;
    let mut shapes = Vec::new();
    if let Some(relative) = &deberta.relative {
        shapes.push((RELATIVE.to_owned(), vec![2 * relative.span(), hidden]));
        for at in 0..config.num_hidden_layers {
            for part in projections(relative) {
                shapes.push((format!("{}.weight", projection(at, part)), vec![hidden, hidden]));
                shapes.push((format!("{}.bias", projection(at, part)), vec![hidden]));
            }
        }
    }
    if deberta.relative.as_ref().is_some_and(|relative| relative.norm_rel_ebd) {
        shapes.push((format!("{RELATIVE_NORM}.weight"), vec![hidden]));
        shapes.push((format!("{RELATIVE_NORM}.bias"), vec![hidden]));
    }
    if deberta.conv_kernel_size > 0 {
        let weight = vec![hidden, hidden / deberta.conv_groups, deberta.conv_kernel_size];
        shapes.push((format!("{CONVOLUTION}.conv.weight"), weight));
        for part in ["conv.bias", "LayerNorm.weight", "LayerNorm.bias"] {
            shapes.push((format!("{CONVOLUTION}.{part}"), vec![hidden]));
        }
    }
    shapes
}

/// The attention of a layer to relative positions.
#[derive(Debug)]
pub(super) struct Disentangled {
    settings: RelativeAttention,
    /// `[2 * span, hidden]`; all layers share it.
    embeddings: Tensor,
    norm: Option<LayerNorm>,
    /// `None` if positions are projected like words, or not at all.
    key: Option<Linear>,
    query: Option<Linear>,
}

impl Disentangled {
    /// `None` for encoders without it.
    pub fn new(config: &BertConfig, parameters: &Parameters, at: i64) -> Result<Option<Self>, ModelError> {
        let Some(settings) = relative_of(config) else { return Ok(None) };
        let own = |part: &str| {
            let is_there = projections(settings).any(|known| known == part);
            is_there.then(|| Linear::new(parameters, &projection(at, part))).transpose()
        };
        Ok(Some(Self {
            settings: settings.clone(),
            embeddings: parameters.get(RELATIVE)?,
            norm: settings
                .norm_rel_ebd
                .then(|| LayerNorm::new(parameters, RELATIVE_NORM, config.layer_norm_eps))
                .transpose()?,
            key: own("pos_key_proj")?,
            query: own("pos_query_proj")?,
        }))
    }

    /// Terms for the scores, with those of words and positions, and the factor of the words' own scores. `query` and `key`
    /// are `[places, hidden]`; `of_query` and `of_key` are their projections.
    pub fn terms(
        &self,
        layout: &Layout,
        [query, key]: [&Tensor; 2],
        [of_query, of_key]: [&Linear; 2],
        heads: i64,
        dropout: Option<&mut TrainingPass>,
    ) -> (Option<Terms>, f64) {
        let [rows, width] = layout.size;
        let head = query.size()[1] / heads;
        let factor = 1.0 / (self.settings.scores() as f64).sqrt();
        let scale = factor / (head as f64).sqrt();
        // Only the positions that this width needs.
        let of_distance = self.settings.rows(width);
        let first = of_distance.int64_value(&[0]);
        let count = of_distance.int64_value(&[2 * width - 2]) - first + 1;
        let mut positions = self.embeddings.narrow(0, first, count);
        if let Some(norm) = &self.norm {
            positions = norm.forward(&positions);
        }
        positions = positions.to_kind(query.kind());
        if let Some(dropout) = dropout {
            positions = dropout.hidden_states(&positions);
        }
        // [tokens, tokens]: the position for each query and key.
        let places = Tensor::arange(width, (Kind::Int64, Device::Cpu));
        let distance = places.unsqueeze(1) - places.unsqueeze(0) + (width - 1);
        let at = upload(&(of_distance - first).take(&distance), query.device());
        let at = at.expand([rows, heads, width, width], false);
        // Scores of [batch, heads, tokens, head] with the positions, [batch, heads, tokens, tokens].
        let scores = |states: &Tensor, linear: &Linear, at: &Tensor| {
            let positions = linear.forward(&positions).view([count, heads, head]).permute([1, 2, 0]);
            (layout.by_head(states, heads) * scale).matmul(&positions).gather(3, at, false)
        };
        let RelativeAttention { content_to_position, position_to_content, .. } = self.settings;
        let content = content_to_position.then(|| scores(query, self.key.as_ref().unwrap_or(of_key), &at));
        // Here rows are keys, and columns are queries.
        let position = position_to_content.then(|| {
            let linear = self.query.as_ref().unwrap_or(of_query);
            scores(key, linear, &at.transpose(2, 3)).transpose(2, 3)
        });
        let sum = match (content, position) {
            (Some(content), Some(position)) => Some(content + position),
            (content, position) => content.or(position),
        };
        let Rows::Padded { mask } = &layout.rows else { unreachable!("rows are padded for this kind of encoder") };
        let masked = sum.map(|sum| match mask {
            Some(mask) => sum + mask,
            None => sum,
        });
        (masked.map(Terms::Matrix), factor)
    }
}

/// The convolution over the embeddings that is added to the output of the first layer.
#[derive(Debug)]
pub(super) struct Convolution {
    weight: Tensor,
    bias: Tensor,
    norm: LayerNorm,
    groups: i64,
}

impl Convolution {
    /// `None` for encoders without it.
    pub fn new(config: &BertConfig, parameters: &Parameters) -> Result<Option<Self>, ModelError> {
        let Extras::Deberta(DebertaConfig { conv_kernel_size: 1.., conv_groups, .. }) = config.extras else {
            return Ok(None);
        };
        Ok(Some(Self {
            weight: parameters.get(&format!("{CONVOLUTION}.conv.weight"))?,
            bias: parameters.get(&format!("{CONVOLUTION}.conv.bias"))?,
            norm: LayerNorm::new(parameters, &format!("{CONVOLUTION}.LayerNorm"), config.layer_norm_eps)?,
            groups: conv_groups,
        }))
    }

    /// The new states, from the layer's `input` and `output`, `[places, hidden]` each.
    pub fn forward(
        &self,
        input: &Tensor,
        output: &Tensor,
        layout: &Layout,
        dropout: Option<&mut TrainingPass>,
    ) -> Tensor {
        let [rows, width] = layout.size;
        let kind = input.kind();
        let mut rows_of = input.view([rows, width, -1]);
        if let Rows::Padded { mask: Some(mask) } = &layout.rows {
            // 1 on tokens, 0 on padding.
            rows_of = rows_of.g_mul(&mask.exp().view([rows, width, 1]));
        }
        let padding = self.weight.size()[2] / 2;
        let (weight, bias) = (self.weight.to_kind(kind), self.bias.to_kind(kind));
        let found = rows_of.transpose(1, 2).conv1d(&weight, Some(&bias), 1, padding, 1, self.groups);
        let mut found = found.transpose(1, 2).reshape([rows * width, -1]);
        if let Some(dropout) = dropout {
            found = dropout.hidden_states(&found);
        }
        self.norm.forward(&(found.tanh() + output))
    }
}
