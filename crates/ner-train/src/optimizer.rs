use crate::arithmetic::{self, Numbers, PIECE, RUN, narrowed};
use half::bf16;
use half::slice::HalfBitsSliceExt;
use ner_model::Parameters;
use ner_model::cuda::{self, AdamWSettings};
use ner_model::tensor_slice::{floats_mut, halves_mut};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// AdamW: Adam with decoupled weight decay.
///
/// Source: Loshchilov and Hutter (2019), algorithm 2, as implemented in PyTorch. Biases and LayerNorm have no decay.
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
    /// The copy that products are computed with, if it has another kind.
    computing: Option<Tensor>,
    /// Moving averages of the gradient and of its square, fp32 like the parameter.
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    decayed: bool,
    /// Its factor on the learning rate.
    rate: f64,
}

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPS: f64 = 1e-8;

/// The factors of one step, equal for all elements of a tensor.
#[derive(Clone, Copy)]
struct Factors {
    gradient_scale: f32,
    decay: f32,
    step_size: f32,
    inverse_root_correction: f32,
}

impl AdamW {
    /// An optimiser of the `parameters` that require gradients, which it shares. `computing` holds the same parameters
    /// in the kind that products are computed with ([`Parameters::for_computing`]); the optimiser keeps both equal.
    /// `rate` returns the factor on the learning rate by parameter name.
    pub fn new(parameters: &Parameters, computing: &Parameters, weight_decay: f64, rate: impl Fn(&str) -> f64) -> Self {
        let slot = |((name, parameter), (_, computing)): ((&str, &Tensor), (&str, &Tensor))| Slot {
            name: name.to_owned(),
            parameter: parameter.shallow_clone(),
            computing: (computing.kind() != parameter.kind()).then(|| computing.shallow_clone()),
            exp_avg: parameter.detach().zeros_like(),
            exp_avg_sq: parameter.detach().zeros_like(),
            decayed: !name.ends_with(".bias") && !name.contains("LayerNorm"),
            rate: rate(name),
        };
        let both = parameters.iter().zip(computing.iter());
        let trained = both.filter(|((_, parameter), _)| parameter.requires_grad());
        Self { slots: trained.map(slot).collect(), steps: 0, weight_decay }
    }

    /// Makes one update from the sum of a gradient's `parts`, multiplied by `gradient_scale`. Each part has one tensor
    /// of any kind for each parameter that requires gradients, in order; on a card the tensors are changed.
    pub fn step(&mut self, parts: &[Vec<Tensor>], learning_rate: f64, gradient_scale: f64) {
        self.steps += 1;
        let (correction_1, correction_2) = (1.0 - BETA_1.powi(self.steps), 1.0 - BETA_2.powi(self.steps));
        let factors = |slot: &Slot| {
            let learning_rate = learning_rate * slot.rate;
            let decay = if slot.decayed { 1.0 - learning_rate * self.weight_decay } else { 1.0 };
            Factors {
                gradient_scale: gradient_scale as f32,
                decay: decay as f32,
                step_size: (learning_rate / correction_1) as f32,
                inverse_root_correction: (1.0 / correction_2.sqrt()) as f32,
            }
        };
        let gradients = by_parameter(parts);
        if gradients.iter().flatten().all(|part| part.device() == Device::Cpu) {
            let slots = self.slots.iter_mut().zip(&gradients);
            let pieces: Vec<Piece<'_>> = slots
                .flat_map(|(slot, parts)| {
                    let factors = factors(slot);
                    slot.pieces(parts, factors)
                })
                .collect();
            pieces.into_par_iter().for_each(Piece::update);
        } else {
            self.update_together(&gradients, learning_rate, gradient_scale);
        }
    }

    /// The same update on any device, in one launch for all tensors of the same factors: a launch for each operation on
    /// each tensor took a card longer than the work.
    fn update_together(&self, gradients: &[Vec<Tensor>], learning_rate: f64, gradient_scale: f64) {
        const KNOWN: &str = "every device has these operations";
        let Some(device) = self.slots.first().map(|slot| slot.parameter.device()) else { return };
        let gradients = in_fp32(&sums(gradients));
        let scalar = |value: f64| Tensor::full([1], value, (Kind::Float, device));
        let (step, divisor) = (scalar(f64::from(self.steps)), scalar(1.0 / gradient_scale));
        let all = self.slots.iter().zip(&gradients);
        let factors = |slot: &Slot| (slot.rate.to_bits(), slot.decayed);
        for group in self.slots.iter().map(factors).collect::<BTreeSet<_>>() {
            let of_group = || all.clone().filter(|(slot, _)| factors(slot) == group);
            let pick =
                |tensor: fn(&Slot) -> &Tensor| of_group().map(|(slot, _)| tensor(slot).detach()).collect::<Vec<_>>();
            let tensors = [
                pick(|slot| &slot.parameter),
                of_group().map(|(_, gradient)| gradient.shallow_clone()).collect(),
                pick(|slot| &slot.exp_avg),
                pick(|slot| &slot.exp_avg_sq),
            ];
            let (rate, decayed) = (learning_rate * f64::from_bits(group.0), group.1);
            let decay = if decayed { self.weight_decay } else { 0.0 };
            let settings = AdamWSettings { rate, decay, beta_1: BETA_1, beta_2: BETA_2, eps: EPS };
            cuda::adamw(tensors.each_ref().map(Vec::as_slice), &step, &divisor, &settings).expect(KNOWN);
        }
        let copies =
            self.slots.iter().filter_map(|slot| Some((slot.computing.as_ref()?.detach(), slot.parameter.detach())));
        let (computing, parameters): (Vec<Tensor>, Vec<Tensor>) = copies.unzip();
        if !computing.is_empty() {
            cuda::copy_all(&computing, &parameters).expect(KNOWN);
        }
    }

    /// Number of updates so far.
    pub const fn updates(&self) -> usize {
        self.steps as usize
    }

    /// The state as named tensors, for saving; the number of steps is saved separately.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let pair = |slot: &Slot| {
            let of = |part: &str, tensor: &Tensor| (format!("{part}.{}", slot.name), tensor.shallow_clone());
            [of("exp_avg", &slot.exp_avg), of("exp_avg_sq", &slot.exp_avg_sq)]
        };
        self.slots.iter().flat_map(pair).collect()
    }

    /// Restores a saved state; restore the parameters first.
    ///
    /// # Errors
    /// If one of its tensors is missing.
    pub fn restore(&mut self, steps: usize, state: &Parameters) -> Result<(), ner_model::ModelError> {
        self.steps = steps as i32;
        for slot in &mut self.slots {
            slot.exp_avg.copy_(&state.get(&format!("exp_avg.{}", slot.name))?);
            slot.exp_avg_sq.copy_(&state.get(&format!("exp_avg_sq.{}", slot.name))?);
            if let Some(computing) = &mut slot.computing {
                computing.copy_(&slot.parameter);
            }
        }
        Ok(())
    }
}

/// The gradient's parts, grouped by parameter.
fn by_parameter(parts: &[Vec<Tensor>]) -> Vec<Vec<Tensor>> {
    let parameters = parts.first().map_or(0, Vec::len);
    (0..parameters).map(|at| parts.iter().map(|part| part[at].contiguous()).collect()).collect()
}

/// Global norm of a gradient, given as `parts` to sum.
pub fn global_norm(parts: &[Vec<Tensor>]) -> f64 {
    let gradients = by_parameter(parts);
    if !gradients.iter().flatten().all(|part| part.device() == Device::Cpu) {
        let norms = cuda::norms(&sums(&gradients)).expect("every device has this operation");
        return norms.norm().double_value(&[]);
    }
    let numbers: Vec<(usize, Vec<Numbers<'_>>)> =
        gradients.iter().map(|parts| (parts[0].numel(), parts.iter().map(Numbers::of).collect())).collect();
    let pieces: Vec<_> = numbers
        .iter()
        .flat_map(|(len, parts)| (0..*len).step_by(PIECE).map(move |start| (start..(start + PIECE).min(*len), parts)))
        .collect();
    let of_piece = |(range, parts): (Range<usize>, &Vec<Numbers<'_>>)| {
        let mut run = [0.0; RUN];
        let of_run = |start: usize| {
            let run = &mut run[..RUN.min(range.end - start)];
            arithmetic::sum_into(run, parts, start);
            arithmetic::sum_of_squares(run)
        };
        range.clone().step_by(RUN).map(of_run).sum::<f32>()
    };
    // Collected first, so that the order of summation does not depend on the number of threads.
    let squares: Vec<f32> = pieces.into_par_iter().map(of_piece).collect();
    squares.into_iter().map(f64::from).sum::<f64>().sqrt()
}

/// The sum of the parts of each parameter's gradient; fp32, unless there is one part only.
fn sums(gradients: &[Vec<Tensor>]) -> Vec<Tensor> {
    let sum = |parts: &Vec<Tensor>| match parts.as_slice() {
        [one] => one.shallow_clone(),
        parts => parts[1..].iter().fold(parts[0].to_kind(Kind::Float), |sum, part| sum + part),
    };
    gradients.iter().map(sum).collect()
}

/// The same tensors in fp32, those of other kinds as copies.
fn in_fp32(tensors: &[Tensor]) -> Vec<Tensor> {
    let wide = |tensor: &Tensor| match tensor.kind() {
        Kind::Float => tensor.shallow_clone(),
        _ => tensor.empty_like().to_kind(Kind::Float),
    };
    let wide: Vec<Tensor> = tensors.iter().map(wide).collect();
    let narrow = wide.iter().zip(tensors).filter(|(_, tensor)| tensor.kind() != Kind::Float);
    let (into, of): (Vec<Tensor>, Vec<Tensor>) =
        narrow.map(|(wide, tensor)| (wide.shallow_clone(), tensor.shallow_clone())).unzip();
    if !into.is_empty() {
        cuda::copy_all(&into, &of).expect("every device has this operation");
    }
    wide
}

/// A slice of one parameter and its moments, from `start` on.
struct Piece<'t> {
    parameters: &'t mut [f32],
    firsts: &'t mut [f32],
    seconds: &'t mut [f32],
    computing: Option<&'t mut [bf16]>,
    /// Gradients of the whole parameter.
    gradients: Arc<[Numbers<'t>]>,
    start: usize,
    factors: Factors,
}

impl Piece<'_> {
    /// The update on the CPU, with one read and write of each array. The step is bound by memory, and tensor operations
    /// would need about ten passes.
    fn update(self) {
        let Self { parameters, firsts, seconds, computing, gradients, start, factors } = self;
        let mut sums = [0.0; RUN];
        let runs = parameters.chunks_mut(RUN).zip(firsts.chunks_mut(RUN).zip(seconds.chunks_mut(RUN)));
        for (at, (parameters, (firsts, seconds))) in runs.enumerate() {
            let sums = &mut sums[..parameters.len()];
            arithmetic::sum_into(sums, &gradients, start + at * RUN);
            for ((parameter, gradient), (first, second)) in
                parameters.iter_mut().zip(sums).zip(firsts.iter_mut().zip(seconds))
            {
                let gradient = *gradient * factors.gradient_scale;
                *first += (1.0 - BETA_1) as f32 * (gradient - *first);
                *second += (1.0 - BETA_2) as f32 * (gradient * gradient - *second);
                let denominator = second.sqrt() * factors.inverse_root_correction + EPS as f32;
                *parameter = *parameter * factors.decay - factors.step_size * *first / denominator;
            }
        }
        if let Some(computing) = computing {
            computing.iter_mut().zip(parameters).for_each(|(copy, parameter)| *copy = narrowed(*parameter));
        }
    }
}

impl Slot {
    /// Splits an update by the sum of `parts` into tasks for single cores, on the CPU.
    fn pieces<'t>(&'t mut self, parts: &'t [Tensor], factors: Factors) -> Vec<Piece<'t>> {
        let gradients: Arc<[Numbers<'t>]> = parts.iter().map(Numbers::of).collect();
        // SAFETY: parameters, moments and copies each have their own storage, and no other thread computes with them
        // during the update.
        let (computing, parameter, exp_avg, exp_avg_sq) = unsafe {
            (
                self.computing.as_mut().map(|copy| halves_mut(copy)),
                floats_mut(&mut self.parameter),
                floats_mut(&mut self.exp_avg),
                floats_mut(&mut self.exp_avg_sq),
            )
        };
        let mut computing = computing.map(|bits| bits.reinterpret_cast_mut().chunks_mut(PIECE));
        let arrays = parameter.chunks_mut(PIECE).zip(exp_avg.chunks_mut(PIECE)).zip(exp_avg_sq.chunks_mut(PIECE));
        let piece = |(at, ((parameters, firsts), seconds))| Piece {
            parameters,
            firsts,
            seconds,
            computing: computing.as_mut().and_then(Iterator::next),
            gradients: Arc::clone(&gradients),
            start: at * PIECE,
            factors,
        };
        arrays.enumerate().map(piece).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Named tensors from JSON.
    fn tensors(sizes: &Value, numbers: &Value) -> Parameters {
        let tensor = |(name, size): (&String, &Value)| {
            let size: Vec<i64> = serde_json::from_value(size.clone()).unwrap();
            let numbers: Vec<f32> = serde_json::from_value(numbers[name].clone()).unwrap();
            (name.clone(), Tensor::from_slice(&numbers).view(size.as_slice()))
        };
        Parameters::new(sizes.as_object().unwrap().iter().map(tensor).collect())
    }

    fn largest_gap(left: &Tensor, right: &Tensor) -> f64 {
        (left - right).abs().max().double_value(&[])
    }

    /// Compares with PyTorch's numbers from `tests/golden/make_golden.py`.
    #[test]
    fn weights_go_where_pytorchs_go() {
        let golden: Value = serde_json::from_str(include_str!("../tests/golden/adamw.json")).unwrap();
        let current = tensors(&golden["sizes"], &golden["start"]).requiring_gradients(|_| true);
        let mut optimizer = AdamW::new(&current, &current, golden["weight_decay"].as_f64().unwrap(), |_| 1.0);
        let rates = golden["rates"].as_array().unwrap().iter();
        let steps = golden["gradients"].as_array().unwrap().iter().zip(golden["after"].as_array().unwrap());
        for (at, (rate, (gradients, after))) in rates.zip(steps).enumerate() {
            let (gradients, after) = (tensors(&golden["sizes"], gradients), tensors(&golden["sizes"], after));
            // Same as clipping to half the norm.
            let doubled: Vec<Tensor> = gradients.iter().map(|(_, gradient)| gradient * 2.0).collect();
            optimizer.step(&[doubled], rate.as_f64().unwrap(), 0.5);
            for ((name, parameter), (_, expected)) in current.iter().zip(after.iter()) {
                let gap = largest_gap(parameter, expected);
                assert!(gap < 1e-6, "step {}, {name}: {gap}", at + 1);
            }
        }
        assert_eq!(optimizer.updates(), 5);
    }

    #[test]
    fn the_norm_of_gradients_is_that_of_all_their_numbers() {
        let gradient =
            |half: f32| vec![Tensor::from_slice(&[half, 2.0, 2.0]).view([3, 1]), Tensor::from_slice(&[4f32])];
        assert!((global_norm(&[gradient(1.0)]) - 5.0).abs() < 1e-6);
        // In parts, one of them in bf16, which represents these numbers exactly.
        let halves: Vec<Tensor> = gradient(1.0).iter().map(|tensor| (tensor / 2.0).to_kind(Kind::BFloat16)).collect();
        let others = gradient(1.0).iter().map(|tensor| tensor / 2.0).collect();
        assert!((global_norm(&[halves, others]) - 5.0).abs() < 1e-6);
    }

    #[test]
    fn both_ways_of_updating_agree() {
        // More than one piece, the last one incomplete; other factors; no copy.
        let sizes = [2 * PIECE as i64 + 77, 50, 60];
        let random = |size: i64, scale: f64| Tensor::randn([size], (Kind::Float, Device::Cpu)) * scale;
        let starts = sizes.map(|size| random(size, 0.2));
        let optimizer = || {
            let slot = |(at, start): (usize, &Tensor)| Slot {
                name: at.to_string(),
                parameter: start.copy(),
                computing: (at < 2).then(|| start.to_kind(Kind::BFloat16)),
                exp_avg: start.zeros_like(),
                exp_avg_sq: start.zeros_like(),
                decayed: at != 1,
                rate: if at == 2 { 0.5 } else { 1.0 },
            };
            AdamW { slots: starts.iter().enumerate().map(slot).collect(), steps: 0, weight_decay: 0.1 }
        };
        let (mut by_pieces, mut together) = (optimizer(), optimizer());
        for scale in [1.0, 1e-3, 0.0] {
            let part = || -> Vec<Tensor> { sizes.iter().map(|&size| random(size, scale)).collect() };
            let halves: Vec<Tensor> = part().iter().map(|tensor| tensor.to_kind(Kind::BFloat16)).collect();
            for parts in [vec![part(), halves.iter().map(Tensor::copy).collect()], vec![halves]] {
                by_pieces.step(&parts, 2e-2, 0.7);
                together.steps += 1;
                together.update_together(&by_parameter(&parts), 2e-2, 0.7);
            }
        }
        for ((left, right), start) in by_pieces.slots.iter().zip(&together.slots).zip(&starts) {
            let arrays = |slot: &Slot| [&slot.parameter, &slot.exp_avg, &slot.exp_avg_sq].map(Tensor::shallow_clone);
            for (left, right) in arrays(left).iter().zip(&arrays(right)) {
                let gap = largest_gap(left, right);
                assert!(gap < 1e-6, "{gap}");
            }
            assert!(largest_gap(&left.parameter, start) > 1e-2);
            for slot in [left, right] {
                let is_copy =
                    slot.computing.as_ref().is_none_or(|copy| *copy == slot.parameter.to_kind(Kind::BFloat16));
                assert!(is_copy, "{}", slot.name);
            }
        }
        let parts = [starts.iter().map(|start| start.to_kind(Kind::BFloat16)).collect::<Vec<_>>()];
        let norm = cuda::norms(&sums(&by_parameter(&parts))).unwrap().norm().double_value(&[]);
        assert!((global_norm(&parts) - norm).abs() < 1e-4 * norm);
    }
}
