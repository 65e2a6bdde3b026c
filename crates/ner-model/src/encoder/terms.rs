//! What attention knows of the positions of a batch's tokens beyond their embeddings.

use super::attention::ByDistance;
use tch::Tensor;

/// Terms for the scores of a batch.
#[derive(Debug)]
pub(super) enum Terms {
    /// For padded rows: `[batch or 1, heads or 1, tokens, tokens]`, with minus infinity on padding.
    Matrix(Tensor),
    /// For packed rows.
    ByDistance(ByDistance),
    /// For concatenated rows: tokens see only those at most so far apart.
    Within(i64),
}

/// Rotations of queries and keys by their positions.
#[derive(Debug)]
pub(super) struct Rotary {
    /// `[places, 1, head / 2]` fp32 each.
    pub cos: Tensor,
    pub sin: Tensor,
}

/// What the layers need to know of a batch's positions.
#[derive(Debug)]
pub(super) struct Positions {
    pub global: Rotary,
    pub local: Rotary,
    pub nearby: Terms,
}
