//! Sums over plain slices, in one pass over memory where tensor operations would need several.

use half::bf16;
use half::slice::HalfBitsSliceExt;
use ner_model::tensor_slice::{floats, halves};
use tch::{Kind, Tensor};

/// Elements per task of one core: a few arrays of this size fit its second-level cache.
pub const PIECE: usize = 16 * 1024;

/// Elements summed at a time: they stay in the first-level cache.
pub const RUN: usize = 1024;

/// The numbers of a gradient: bf16 for weight matrices that are kept in bf16, else fp32.
#[derive(Clone, Copy)]
pub enum Numbers<'t> {
    Single(&'t [f32]),
    Half(&'t [bf16]),
}

impl<'t> Numbers<'t> {
    /// The numbers of a contiguous tensor on the CPU.
    pub fn of(tensor: &'t Tensor) -> Self {
        match tensor.kind() {
            Kind::Float => Self::Single(floats(tensor)),
            _ => Self::Half(halves(tensor).reinterpret_cast()),
        }
    }

    /// Copies the numbers from `start` on to `into`, or adds them to it.
    fn gather(self, into: &mut [f32], start: usize, add: bool) {
        let end = start + into.len();
        match (self, add) {
            (Self::Single(numbers), false) => into.copy_from_slice(&numbers[start..end]),
            (Self::Single(numbers), true) => {
                into.iter_mut().zip(&numbers[start..end]).for_each(|(sum, number)| *sum += number);
            }
            (Self::Half(numbers), false) => {
                into.iter_mut().zip(&numbers[start..end]).for_each(|(sum, number)| *sum = widened(*number));
            }
            (Self::Half(numbers), true) => {
                into.iter_mut().zip(&numbers[start..end]).for_each(|(sum, number)| *sum += widened(*number));
            }
        }
    }
}

/// Sums all `parts`, from `start` on, into `into`.
pub fn sum_into(into: &mut [f32], parts: &[Numbers<'_>], start: usize) {
    parts.iter().enumerate().for_each(|(at, part)| part.gather(into, start, at > 0));
}

/// Sum of squares, in several partial sums: a single sum would wait for each addition.
pub fn sum_of_squares(numbers: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    let mut runs = numbers.chunks_exact(sums.len());
    for run in &mut runs {
        sums.iter_mut().zip(run).for_each(|(sum, number)| *sum += number * number);
    }
    sums.iter().sum::<f32>() + runs.remainder().iter().map(|number| number * number).sum::<f32>()
}

/// Same as `bf16::to_f32`, which checks for NaN first and is not vectorised.
fn widened(number: bf16) -> f32 {
    f32::from_bits(u32::from(number.to_bits()) << 16)
}

/// Rounds a finite number to the nearest bf16, ties to even.
pub fn narrowed(number: f32) -> bf16 {
    let bits = number.to_bits();
    bf16::from_bits(((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn squares_are_summed_as_one_by_one(numbers in proptest::collection::vec(-3f32..3.0, 0..100)) {
            let plain = numbers.iter().map(|&number| f64::from(number).powi(2)).sum::<f64>();
            prop_assert!((f64::from(sum_of_squares(&numbers)) - plain).abs() < 1e-5 * (1.0 + plain));
        }

        #[test]
        fn conversions_are_those_of_the_library(number in proptest::num::f32::NORMAL | proptest::num::f32::ZERO | proptest::num::f32::SUBNORMAL) {
            prop_assert_eq!(narrowed(number), bf16::from_f32(number));
            prop_assert_eq!(widened(bf16::from_f32(number)), bf16::from_f32(number).to_f32());
        }
    }
}
