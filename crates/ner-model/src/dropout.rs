use crate::gradient_checkpointing::Tape;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use tch::{Device, Kind, Tensor};

/// Dropout with a random stream of its own.
///
/// On the CPU the masks come from this crate's generator: libtorch draws them one by one from a Mersenne twister,
/// which took longer than the matrix products around it. A stream is a function of its seed alone, so that a resumed
/// training draws the masks that the uninterrupted one would have drawn, given as many workers. On CUDA libtorch's own
/// dropout is used, seeded likewise.
///
/// Source: Srivastava et al. (2014), in the inverted form: what is kept is divided by the share kept.
#[derive(Debug)]
pub struct Dropout {
    random: SmallRng,
    /// Probability of dropping a hidden state.
    pub hidden: f64,
    /// Probability of dropping an attention weight.
    pub attention: f64,
    /// What is added to the embeddings of the words, `[batch, tokens, hidden]`: a perturbation against which a model is
    /// trained (Miyato et al. 2017, "Adversarial training methods for semi-supervised text classification").
    pub perturbation: Option<Tensor>,
    /// Whether the encoder keeps no more than what goes into each layer, and computes the rest again when gradients are
    /// asked for ([`Classifier::gradients`](crate::Classifier::gradients)).
    pub gradient_checkpointing: bool,
    /// What it kept.
    pub(crate) tape: Option<Tape>,
}

/// A place in a stream.
#[derive(Debug)]
pub(crate) struct Mark {
    random: SmallRng,
    /// Of libtorch's generator, on CUDA.
    seed: Option<i64>,
}

impl Dropout {
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

    /// A place in the stream, from which [`replay`](Self::replay) draws what is drawn next. On CUDA libtorch's generator
    /// begins anew here, of which no place can be kept.
    pub(crate) fn mark(&mut self, device: Device) -> Mark {
        let random = self.random.clone();
        let seed = device.is_cuda().then(|| self.random.next_u64() as i64);
        if let Some(seed) = seed {
            tch::manual_seed(seed);
        }
        Mark { random, seed }
    }

    /// Goes back to a place.
    pub(crate) fn replay(&mut self, mark: Mark) {
        self.random = mark.random;
        if let Some(seed) = mark.seed {
            tch::manual_seed(seed);
        }
    }

    /// Adds the [`perturbation`](Self::perturbation), where there is one, to the embeddings of words.
    pub fn embeddings(&self, words: Tensor) -> Tensor {
        match &self.perturbation {
            Some(perturbation) => words + perturbation,
            None => words,
        }
    }

    /// Drops elements of `states` with probability [`hidden`](Self::hidden).
    pub fn hidden_states(&mut self, states: &Tensor) -> Tensor {
        self.drop(states, self.hidden)
    }

    /// Drops elements of `weights` with probability [`attention`](Self::attention).
    pub fn attention_weights(&mut self, weights: &Tensor) -> Tensor {
        self.drop(weights, self.attention)
    }

    fn drop(&mut self, states: &Tensor, probability: f64) -> Tensor {
        if probability <= 0.0 {
            return states.shallow_clone();
        }
        if states.device().is_cuda() {
            return states.dropout(probability, true);
        }
        states * self.mask(&states.size(), states.kind(), probability)
    }

    /// A mask of zeros and of the inverse of the share kept.
    fn mask(&mut self, size: &[i64], kind: Kind, probability: f64) -> Tensor {
        let count = size.iter().product::<i64>() as usize;
        // 16 random bits an element: the probability is exact to 1 / 65536.
        let dropped = (probability * 65536.0).round().clamp(0.0, 65535.0) as u16;
        let scale = 65536.0 / (65536.0 - f32::from(dropped));
        match kind {
            Kind::BFloat16 => {
                let kept = half::bf16::from_f32(scale).to_bits();
                let bits = self.draw(count, |random| if random < dropped { 0u16 } else { kept });
                Tensor::from_data_size(bytes_of(&bits), size, Kind::BFloat16)
            }
            _ => {
                let values = self.draw(count, |random| if random < dropped { 0f32 } else { scale });
                Tensor::from_data_size(bytes_of(&values), size, Kind::Float).to_kind(kind)
            }
        }
    }

    fn draw<T: Copy + Default>(&mut self, count: usize, value: impl Fn(u16) -> T) -> Vec<T> {
        let mut values = vec![T::default(); count];
        for four in values.chunks_mut(4) {
            let random = self.random.next_u64();
            for (at, slot) in four.iter_mut().enumerate() {
                *slot = value((random >> (16 * at)) as u16);
            }
        }
        values
    }
}

/// The memory of plain numbers, for a copy into a tensor.
fn bytes_of<T: Copy>(values: &[T]) -> &[u8] {
    // SAFETY: `T` is u16 or f32 here (this function is private): no padding, every byte initialised; u8 needs no
    // alignment, and the length is that of the slice in bytes.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), std::mem::size_of_val(values)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_the_asked_share_keeps_the_mean_and_repeats_itself() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let ones = Tensor::ones([64, 1000], (kind, Device::Cpu));
            let dropped = Dropout::new(7, Device::Cpu, 0.25, 0.0).hidden_states(&ones).to_kind(Kind::Float);
            let share = dropped.eq(0.0).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
            assert!((share - 0.25).abs() < 0.01, "{share}");
            assert!((dropped.mean(Kind::Float).double_value(&[]) - 1.0).abs() < 0.01);
            let again = Dropout::new(7, Device::Cpu, 0.25, 0.0).hidden_states(&ones).to_kind(Kind::Float);
            assert_eq!(dropped, again);
        }
        let ones = Tensor::ones([3], (Kind::Float, Device::Cpu));
        assert_eq!(Dropout::new(7, Device::Cpu, 0.0, 0.0).hidden_states(&ones), ones);
    }
}
