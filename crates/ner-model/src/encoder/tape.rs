//! The states that a pass with gradient checkpointing keeps.

use super::batch::Layout;
use rand::rngs::SmallRng;
use tch::Tensor;

/// The states kept by a forward pass.
#[derive(Debug)]
pub(crate) struct Tape {
    /// Input of the first layer, with its graph.
    pub(super) embeddings: Tensor,
    pub(super) layout: Layout,
    /// For each layer, its input and the position of its dropout in the stream.
    pub(super) layers: Vec<(Tensor, Mark)>,
    /// Output of the last layer.
    pub(super) top: Tensor,
}

/// A position in a random stream.
#[derive(Debug)]
pub(crate) struct Mark {
    pub(super) random: SmallRng,
    /// Seed of libtorch's generator, on CUDA.
    pub(super) seed: Option<i64>,
}
