//! What a pass with gradient checkpointing keeps.

use super::batch::Layout;
use rand::rngs::SmallRng;
use tch::Tensor;

/// What a forward pass kept.
#[derive(Debug)]
pub(crate) struct Tape {
    /// What goes into the first layer, with its graph.
    pub(super) embeddings: Tensor,
    pub(super) layout: Layout,
    /// Of each layer: what goes into it, and where its dropout begins.
    pub(super) layers: Vec<(Tensor, Mark)>,
    /// What came out of the last.
    pub(super) top: Tensor,
}

/// A place in a stream.
#[derive(Debug)]
pub(crate) struct Mark {
    pub(super) random: SmallRng,
    /// Of libtorch's generator, on CUDA.
    pub(super) seed: Option<i64>,
}
