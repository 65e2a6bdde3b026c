use ner_model::Parameters;
use rayon::prelude::*;
use tch::{Kind, Tensor, no_grad};

/// AdamW: Adam with decoupled weight decay.
///
/// Source: Loshchilov and Hutter (2019), algorithm 2, in the form that PyTorch computes. Biases and LayerNorm are not
/// decayed.
#[derive(Debug)]
pub struct AdamW {
    slots: Vec<Slot>,
    /// Steps taken.
    steps: i32,
    weight_decay: f64,
}

#[derive(Debug)]
struct Slot {
    name: String,
    parameter: Tensor,
    /// Moving averages of the gradient and of its square, fp32 like the parameter.
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    decayed: bool,
}

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPS: f64 = 1e-8;

/// Elements that one core updates at a time: the four arrays of a piece fit its second-level cache.
const PIECE: usize = 32 * 1024;

/// The factors of one step, the same for each element of a tensor.
#[derive(Clone, Copy)]
struct Factors {
    gradient_scale: f32,
    decay: f32,
    step_size: f32,
    inverse_root_correction: f32,
}

impl AdamW {
    /// An optimiser of all `parameters`, which it shares.
    pub fn new(parameters: &Parameters, weight_decay: f64) -> Self {
        let slot = |(name, parameter): (&str, &Tensor)| Slot {
            name: name.to_owned(),
            parameter: parameter.shallow_clone(),
            exp_avg: parameter.detach().zeros_like(),
            exp_avg_sq: parameter.detach().zeros_like(),
            decayed: !name.ends_with(".bias") && !name.contains("LayerNorm"),
        };
        Self { slots: parameters.iter().map(slot).collect(), steps: 0, weight_decay }
    }

    /// Global norm of the gradients, over `loss_scale`.
    pub fn gradient_norm(&self, loss_scale: f64) -> f64 {
        let norms: Vec<Tensor> =
            self.slots.iter().map(|slot| slot.parameter.grad()).filter(Tensor::defined).map(|g| g.norm()).collect();
        if norms.is_empty() { 0.0 } else { Tensor::stack(&norms, 0).norm().double_value(&[]) / loss_scale }
    }

    /// Forgets the gradients.
    pub fn clear_gradients(&mut self) {
        for slot in &mut self.slots {
            slot.parameter.zero_grad();
        }
    }

    /// One update from the gradients, each multiplied by `gradient_scale` first; clears them.
    pub fn step(&mut self, learning_rate: f64, gradient_scale: f64) {
        self.steps += 1;
        let (correction_1, correction_2) = (1.0 - BETA_1.powi(self.steps), 1.0 - BETA_2.powi(self.steps));
        for slot in &mut self.slots {
            let gradient = slot.parameter.grad();
            if !gradient.defined() {
                continue;
            }
            let decay = if slot.decayed { 1.0 - learning_rate * self.weight_decay } else { 1.0 };
            let factors = Factors {
                gradient_scale: gradient_scale as f32,
                decay: decay as f32,
                step_size: (learning_rate / correction_1) as f32,
                inverse_root_correction: (1.0 / correction_2.sqrt()) as f32,
            };
            if slot.parameter.device() == tch::Device::Cpu {
                slot.update_in_one_pass(&gradient, factors);
            } else {
                slot.update_with_tensors(&gradient, factors);
            }
            slot.parameter.zero_grad();
        }
    }

    /// Updates made so far.
    pub const fn updates(&self) -> usize {
        self.steps as usize
    }

    /// The state as named tensors, for saving; the number of steps stands apart.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let pair = |slot: &Slot| {
            let of = |part: &str, tensor: &Tensor| (format!("{part}.{}", slot.name), tensor.shallow_clone());
            [of("exp_avg", &slot.exp_avg), of("exp_avg_sq", &slot.exp_avg_sq)]
        };
        self.slots.iter().flat_map(pair).collect()
    }

    /// Takes over a saved state.
    ///
    /// # Errors
    /// Where a tensor of it is missing.
    pub fn restore(&mut self, steps: usize, state: &Parameters) -> Result<(), ner_model::ModelError> {
        self.steps = steps as i32;
        for slot in &mut self.slots {
            slot.exp_avg.copy_(&state.get(&format!("exp_avg.{}", slot.name))?);
            slot.exp_avg_sq.copy_(&state.get(&format!("exp_avg_sq.{}", slot.name))?);
        }
        Ok(())
    }
}

impl Slot {
    /// The update on the CPU: all arrays are read and written once. Tensor operations take one pass over memory each,
    /// about ten, and this step is bound by memory.
    fn update_in_one_pass(&mut self, gradient: &Tensor, factors: Factors) {
        let gradient = gradient.contiguous();
        let (parameters, gradients) = (slice_mut(&mut self.parameter), slice(&gradient));
        let (firsts, seconds) = (slice_mut(&mut self.exp_avg), slice_mut(&mut self.exp_avg_sq));
        let pieces = parameters.par_chunks_mut(PIECE).zip(gradients.par_chunks(PIECE));
        let pieces = pieces.zip(firsts.par_chunks_mut(PIECE).zip(seconds.par_chunks_mut(PIECE)));
        pieces.for_each(|((parameters, gradients), (firsts, seconds))| {
            let rows = parameters.iter_mut().zip(gradients).zip(firsts.iter_mut().zip(seconds));
            for ((parameter, gradient), (first, second)) in rows {
                let gradient = gradient * factors.gradient_scale;
                *first += (1.0 - BETA_1) as f32 * (gradient - *first);
                *second += (1.0 - BETA_2) as f32 * (gradient * gradient - *second);
                let denominator = second.sqrt() * factors.inverse_root_correction + EPS as f32;
                *parameter = *parameter * factors.decay - factors.step_size * *first / denominator;
            }
        });
    }

    /// The same update in tensor operations, for any device.
    fn update_with_tensors(&mut self, gradient: &Tensor, factors: Factors) {
        no_grad(|| {
            let gradient = gradient * f64::from(factors.gradient_scale);
            let _ = self.exp_avg.lerp_(&gradient, 1.0 - BETA_1);
            let _ = self.exp_avg_sq.lerp_(&gradient.square(), 1.0 - BETA_2);
            let denominator = self.exp_avg_sq.sqrt() * f64::from(factors.inverse_root_correction) + EPS;
            let change = &self.exp_avg / denominator * f64::from(factors.step_size);
            let _ = self.parameter.g_mul_scalar_(f64::from(factors.decay));
            let _ = self.parameter.g_sub_(&change);
        });
    }
}

fn check_plain(tensor: &Tensor) -> usize {
    assert!(tensor.kind() == Kind::Float && tensor.is_contiguous() && tensor.device() == tch::Device::Cpu);
    tensor.numel()
}

fn slice(tensor: &Tensor) -> &[f32] {
    let len = check_plain(tensor);
    // SAFETY: contiguous fp32 on the CPU, as checked; the storage lives as long as the tensor that is borrowed.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), len) }
}

fn slice_mut(tensor: &mut Tensor) -> &mut [f32] {
    let len = check_plain(tensor);
    // SAFETY: as above. Parameters, averages and gradients are tensors of their own storage each, and no other thread
    // computes with them during a step.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), len) }
}
