//! Terms of attention scores that depend on the distance of two tokens alone: MPNet's learned bias, and the limit of
//! ModernBERT's local layers.
//!
//! Sources: Raffel et al. (2020), "Exploring the limits of transfer learning", section 2.1, for the buckets; transformers'
//! `MPNetEncoder`.

use super::attention::ByDistance;
use super::batch::{Layout, Rows};
use super::config::BertConfig;
use super::extras::BUCKETS;
use super::family::ModelType;
use super::parameters::Parameters;
use super::terms::Terms;
use crate::ModelError;
use crate::device::cuda::upload;
use tch::{Device, Kind, Tensor};

/// Distances from here on share the last bucket.
const MOST_DISTANCE: f64 = 128.0;

/// The terms in a layout from their values for each distance, `[heads or 1, distances]` fp32: of key minus query from
/// `1 - width` on, where `width` is the batch's. `reach` is the longest distance that is not [`FAR`].
fn terms(by_distance: &Tensor, layout: &Layout, kind: Kind, reach: Option<usize>) -> Terms {
    let [rows, width] = layout.size;
    let mask = match &layout.rows {
        Rows::Packed { .. } => return Terms::ByDistance(ByDistance::new(by_distance, width as usize, reach)),
        Rows::Padded { mask } => mask,
        // Only a limit of distances comes with these.
        Rows::Concatenated { .. } => return Terms::Within(reach.expect("learned terms need other rows") as i64),
    };
    // A row of the matrix is the row above, moved by one. Cut from copies of the whole row, this needs no index.
    let heads = by_distance.size()[0];
    let distances = 2 * width - 1;
    let copies = by_distance.unsqueeze(1).expand([heads, width, distances], false).reshape([heads, -1]);
    let matrix = copies.narrow(1, width - 1, width * (distances - 1)).view([1, heads, width, distances - 1]);
    let matrix = matrix.narrow(3, 0, width).to_kind(kind);
    Terms::Matrix(match mask {
        Some(mask) => (matrix + mask).expand([rows, heads, width, width], false),
        None => matrix,
    })
}

/// MPNet's learned term for each bucket of distances, shared by all layers.
#[derive(Debug)]
pub(super) struct RelativeBias {
    /// `[BUCKETS, heads]`.
    table: Tensor,
}

impl RelativeBias {
    const NAME: &str = "bert.encoder.relative_attention_bias.weight";

    /// Name and shape of its parameter, if this kind of encoder has it.
    pub fn shape(config: &BertConfig) -> Option<(String, Vec<i64>)> {
        let is_mpnet = config.model_type == ModelType::Mpnet;
        is_mpnet.then(|| (Self::NAME.to_owned(), vec![BUCKETS, config.num_attention_heads]))
    }

    /// `None` for other kinds of encoders.
    pub fn new(config: &BertConfig, parameters: &Parameters) -> Result<Option<Self>, ModelError> {
        let table = Self::shape(config).map(|(name, _)| parameters.get(&name)).transpose()?;
        Ok(table.map(|table| Self { table }))
    }

    /// The terms of a batch, with their graph.
    pub fn terms(&self, layout: &Layout, kind: Kind) -> Terms {
        terms(&self.by_distance(layout.size[1]), layout, kind, None)
    }

    /// `[heads, distances]`, of key minus query from `1 - width` to `width - 1`.
    pub fn by_distance(&self, width: i64) -> Tensor {
        let buckets = upload(&buckets(width), self.table.device());
        Tensor::embedding(&self.table, &buckets, -1, false, false).tr()
    }
}

/// The bucket of each distance of key minus query, from `1 - width` to `width - 1`. With the operations of transformers,
/// so that roundings agree.
fn buckets(width: i64) -> Tensor {
    let half = BUCKETS / 2;
    let exact = half / 2;
    let distance = Tensor::arange_start(1 - width, width, (Kind::Int64, Device::Cpu));
    let (is_after, size) = (distance.gt(0), distance.abs());
    let logarithm = (size.to_kind(Kind::Float) / exact as f64).log() / (MOST_DISTANCE / exact as f64).ln();
    let far = ((logarithm * (half - exact) as f64).to_kind(Kind::Int64) + exact).clamp_max(half - 1);
    size.where_self(&size.lt(exact), &far) + is_after.to_kind(Kind::Int64) * half
}

/// The term of distances beyond the reach: the weight is 0. Not minus infinity, since a query at padding may have no
/// token within reach, and would get the mean of nothing.
const FAR: f64 = -1e4;

/// Terms that limit attention to tokens at most `reach` apart.
pub(super) fn nearby(layout: &Layout, reach: i64, kind: Kind, device: Device) -> Terms {
    let width = layout.size[1];
    let distance = Tensor::arange_start(1 - width, width, (Kind::Int64, device)).abs();
    let by_distance = distance.zeros_like().to_kind(Kind::Float).masked_fill(&distance.gt(reach), FAR);
    terms(&by_distance.unsqueeze(0), layout, kind, Some(reach as usize))
}
