use crate::arithmetic::PIECE;
use ner_model::tensor_slice::{floats, floats_mut};
use ner_model::{ModelError, Parameters, cuda};
use rayon::prelude::*;
use tch::{Device, Tensor};

/// Exponential moving average of the weights. It generalises better than the last weights of noisy training.
///
/// Source: Polyak and Juditsky (1992); the slow start `(1 + n) / (10 + n)` is that of TensorFlow's
/// `ExponentialMovingAverage`.
#[derive(Debug)]
pub struct Ema {
    parameters: Parameters,
    decay: f64,
    updates: usize,
}

impl Ema {
    /// Starts at the current weights.
    pub fn new(parameters: &Parameters, decay: f64) -> Self {
        Self { parameters: parameters.copy(), decay, updates: 0 }
    }

    /// The averaged weights.
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Moves the average towards `current`.
    pub fn update(&mut self, current: &Parameters) {
        self.updates += 1;
        let updates = self.updates as f64;
        let decay = self.decay.min((1.0 + updates) / (10.0 + updates));
        let share = 1.0 - decay;
        let pairs = self.parameters.iter().zip(current.iter());
        let mut pairs: Vec<(Tensor, &Tensor)> = pairs
            .filter(|(_, (_, current))| current.requires_grad())
            .map(|((_, average), (_, current))| (average.shallow_clone(), current))
            .collect();
        if pairs.iter().all(|(_, current)| current.device() == Device::Cpu) {
            let pairs = pairs.iter_mut().map(|(average, current)| {
                // SAFETY: each average has its own storage, and `self` is borrowed mutably until the end.
                (unsafe { floats_mut(average) }, floats(current))
            });
            let pieces: Vec<_> =
                pairs.flat_map(|(average, current)| average.chunks_mut(PIECE).zip(current.chunks(PIECE))).collect();
            pieces.into_par_iter().for_each(|(average, current)| move_towards(average, current, share as f32));
        } else {
            let current: Vec<Tensor> = pairs.iter().map(|(_, current)| current.detach()).collect();
            let averages: Vec<Tensor> = pairs.into_iter().map(|(average, _)| average).collect();
            cuda::lerp_all(&averages, &current, share).expect("every card has this operation");
        }
    }

    /// Restores a saved average.
    ///
    /// # Errors
    /// If one of its tensors is missing.
    pub fn restore(&mut self, updates: usize, state: &Parameters) -> Result<(), ModelError> {
        self.updates = updates;
        for (name, average) in self.parameters.iter() {
            average.shallow_clone().copy_(&state.get(&format!("average.{name}"))?);
        }
        Ok(())
    }
}

fn move_towards(average: &mut [f32], current: &[f32], share: f32) {
    for (average, current) in average.iter_mut().zip(current) {
        *average += share * (current - *average);
    }
}
