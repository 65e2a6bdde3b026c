use super::batch::Layout;
use super::tape::{Mark, Tape};
use crate::device::tensor_slice::halves_mut;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use tch::{Device, Kind, Tensor};

/// The training state of one forward pass: dropout, an adversarial perturbation, and the tape of gradient
/// checkpointing.
///
/// Dropout masks on the CPU come from this crate's generator: libtorch draws them one by one from a Mersenne twister,
/// which took longer than the matrix products around it. The stream depends on its seed alone, so a resumed training
/// draws the same masks as the uninterrupted one, given as many workers. On CUDA libtorch's own dropout is used, with
/// the same kind of seed.
///
/// Source: Srivastava et al. (2014), in the inverted form: kept elements are divided by the share kept.
#[derive(Debug)]
pub struct TrainingPass {
    random: SmallRng,
    /// Probability of dropping a hidden state.
    pub hidden: f64,
    /// Probability of dropping an attention weight.
    pub attention: f64,
    /// Adversarial perturbation, added to the embeddings of the words, `[batch, tokens, hidden]` (Miyato et al. 2017,
    /// "Adversarial training methods for semi-supervised text classification").
    pub perturbation: Option<Tensor>,
    /// Whether the encoder keeps only each layer's input and recomputes the rest for the gradients
    /// ([`Classifier::gradients`](crate::Classifier::gradients)).
    pub gradient_checkpointing: bool,
    /// The states kept for the gradients.
    pub(crate) tape: Option<Tape>,
}

impl TrainingPass {
    /// A stream for one forward pass.
    pub fn new(seed: u64, device: Device, hidden: f64, attention: f64) -> Self {
        if device.is_cuda() {
            tch::manual_seed(seed as i64);
        }
        Self {
            random: SmallRng::seed_from_u64(seed),
            hidden,
            attention,
            perturbation: None,
            gradient_checkpointing: false,
            tape: None,
        }
    }

    /// The position in the stream from which [`replay`](Self::replay) repeats the draws. On CUDA, libtorch's generator
    /// is reseeded here, since its position cannot be saved.
    pub(crate) fn mark(&mut self, device: Device) -> Mark {
        let random = self.random.clone();
        let seed = device.is_cuda().then(|| self.random.next_u64() as i64);
        if let Some(seed) = seed {
            tch::manual_seed(seed);
        }
        Mark { random, seed }
    }

    /// Goes back to a position.
    pub(crate) fn replay(&mut self, mark: Mark) {
        self.random = mark.random;
        if let Some(seed) = mark.seed {
            tch::manual_seed(seed);
        }
    }

    /// Adds the [`perturbation`](Self::perturbation), if there is one, to the embeddings of words, `[places, hidden]`.
    pub(crate) fn embeddings(&self, words: Tensor, layout: &Layout) -> Tensor {
        match &self.perturbation {
            Some(perturbation) => layout.places(perturbation) + words,
            None => words,
        }
    }

    /// Drops elements of `states` with probability [`hidden`](Self::hidden).
    pub fn hidden_states(&mut self, states: &Tensor) -> Tensor {
        self.apply_dropout(states, self.hidden)
    }

    /// Drops elements of `weights` with probability [`attention`](Self::attention).
    pub fn attention_weights(&mut self, weights: &Tensor) -> Tensor {
        self.apply_dropout(weights, self.attention)
    }

    fn apply_dropout(&mut self, states: &Tensor, probability: f64) -> Tensor {
        if probability <= 0.0 {
            return states.shallow_clone();
        }
        if states.device().is_cuda() {
            return states.dropout(probability, true);
        }
        states * self.mask(&states.size(), states.kind(), probability)
    }

    /// A mask of zeros and the inverse of the share kept.
    fn mask(&mut self, size: &[i64], kind: Kind, probability: f64) -> Tensor {
        // 16 random bits an element: the probability is exact to 1 / 65536.
        let dropped = (probability * 65536.0).round().clamp(0.0, 65535.0) as u16;
        let scale = 65536.0 / (65536.0 - f32::from(dropped));
        let mut mask = Tensor::empty(size, (Kind::BFloat16, Device::Cpu));
        let mut draw = |kept: f32| {
            // SAFETY: `mask` was created here, and nothing shares its storage.
            let slots = unsafe { halves_mut(&mut mask) };
            self.draw(slots, dropped, half::bf16::from_f32(kept).to_bits());
        };
        if kind == Kind::BFloat16 {
            draw(scale);
            return mask;
        }
        draw(1.0);
        mask.to_kind(kind) * f64::from(scale)
    }

    /// Fills `slots` with `kept`, or with 0 if 16 random bits are below `dropped`.
    fn draw(&mut self, slots: &mut [u16], dropped: u16, kept: u16) {
        // First draw bits, in runs that fit the caches; then a vectorised loop converts them.
        for run in slots.chunks_mut(4096) {
            let mut fours = run.chunks_exact_mut(4);
            for four in &mut fours {
                let random = self.random.next_u64();
                four.copy_from_slice(&[0, 16, 32, 48].map(|shift| (random >> shift) as u16));
            }
            if let rest @ [_, ..] = fours.into_remainder() {
                let random = self.random.next_u64();
                rest.iter_mut().enumerate().for_each(|(at, slot)| *slot = (random >> (16 * at)) as u16);
            }
            run.iter_mut().for_each(|slot| *slot = if *slot < dropped { 0 } else { kept });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_the_asked_share_keeps_the_mean_and_repeats_itself() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let ones = Tensor::ones([64, 1000], (kind, Device::Cpu));
            let dropped = TrainingPass::new(7, Device::Cpu, 0.25, 0.0).hidden_states(&ones).to_kind(Kind::Float);
            let share = dropped.eq(0.0).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
            assert!((share - 0.25).abs() < 0.01, "{share}");
            assert!((dropped.mean(Kind::Float).double_value(&[]) - 1.0).abs() < 0.01);
            let again = TrainingPass::new(7, Device::Cpu, 0.25, 0.0).hidden_states(&ones).to_kind(Kind::Float);
            assert_eq!(dropped, again);
        }
        let ones = Tensor::ones([3], (Kind::Float, Device::Cpu));
        assert_eq!(TrainingPass::new(7, Device::Cpu, 0.0, 0.0).hidden_states(&ones), ones);
    }
}
