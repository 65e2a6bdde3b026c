//! Gradients of an encoder that keeps only the inputs of its layers.
//!
//! A layer's own states, with a score for each pair of tokens, take many times the memory of its input. Here they are
//! computed without a graph first, and again when their gradients are needed, one layer at a time. Source: Chen et al.
//! (2016), "Training deep nets with sublinear memory cost", with each layer as a segment.

use super::batch::Layout;
use super::bert::Bert;
use super::tape::Tape;
use super::training_pass::TrainingPass;
use tch::{Kind, Tensor};

impl Bert {
    /// Runs all layers. The result is the start of a new graph; everything before it is on the tape.
    pub(crate) fn forward_keeping_inputs(
        &self,
        embeddings: Tensor,
        layout: Layout,
        dropout: &mut TrainingPass,
    ) -> Tensor {
        let mut layers = Vec::new();
        let mut states = embeddings.detach();
        for layer in self.layers() {
            let mark = dropout.mark(states.device());
            let next = tch::no_grad(|| layer.forward(&states, &layout, self.config(), Some(&mut *dropout)));
            layers.push((states.set_requires_grad(true), mark));
            states = next;
        }
        let top = states.set_requires_grad(true);
        let tokens = layout.tokens(&top);
        dropout.tape = Some(Tape { embeddings, layout, layers, top });
        tokens
    }

    /// Gradients of `loss` by each of `leaves`. `dropout` is the one that the loss was computed with.
    pub(crate) fn gradients(&self, loss: &Tensor, leaves: &[&Tensor], dropout: &mut TrainingPass) -> Vec<Tensor> {
        match dropout.tape.take() {
            Some(tape) => self.gradients_by_tape(loss, leaves, tape, dropout),
            None => Tensor::run_backward(&[loss], leaves, false, false),
        }
    }

    /// Gradients of `loss`, computed from the tape's result, by each of `leaves`.
    fn gradients_by_tape(
        &self,
        loss: &Tensor,
        leaves: &[&Tensor],
        tape: Tape,
        dropout: &mut TrainingPass,
    ) -> Vec<Tensor> {
        let Tape { embeddings, layout, layers, top } = tape;
        let mut sums = Sums(leaves.iter().map(|_| None).collect());
        let mut upstream = sums.add(loss, leaves, Some(&top));
        for (layer, (input, mark)) in self.layers().iter().zip(layers).rev() {
            let Some(gradient) = upstream else { break };
            dropout.replay(mark);
            let output = layer.forward(&input, &layout, self.config(), Some(&mut *dropout));
            upstream = sums.add(&along(&output, &gradient), leaves, Some(&input));
        }
        if let Some(gradient) = upstream.filter(|_| embeddings.requires_grad()) {
            sums.add(&along(&embeddings, &gradient), leaves, None);
        }
        let found = sums.0.into_iter().zip(leaves);
        found.map(|(sum, leaf)| sum.unwrap_or_else(|| leaf.zeros_like())).collect()
    }
}

/// A scalar whose gradient by `states` is `gradient`.
fn along(states: &Tensor, gradient: &Tensor) -> Tensor {
    (states * gradient).sum(Kind::Float)
}

/// Sum of the gradients so far, for each leaf.
struct Sums(Vec<Option<Tensor>>);

impl Sums {
    /// Adds the gradients of `value` by the leaves and returns its gradient by `input`.
    fn add(&mut self, value: &Tensor, leaves: &[&Tensor], input: Option<&Tensor>) -> Option<Tensor> {
        let by: Vec<&Tensor> = leaves.iter().copied().chain(input).collect();
        let mut found = Tensor::run_backward(&[value], &by, false, false);
        let of_input = if input.is_some() { found.pop().filter(Tensor::defined) } else { None };
        // There is no gradient by leaves that `value` does not depend on.
        for (sum, more) in self.0.iter_mut().zip(found).filter(|(_, more)| more.defined()) {
            *sum = Some(match sum.take() {
                Some(sum) => sum + more,
                None => more,
            });
        }
        of_input
    }
}
