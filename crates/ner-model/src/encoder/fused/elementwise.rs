//! Arithmetic number by number and row by row, in plain loops.
//!
//! Comparisons are written so that each is one instruction; `f32::max` is several.

use super::simd::Simd;

/// Activation of the feed-forward layer, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    None,
    Gelu,
    GeluNew,
    Relu,
}

/// Of a quantised row: the number q stands for `least + scale * q`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Range {
    pub least: f32,
    pub scale: f32,
}

/// Applies `function`. `roughly` allows an error of 4e-5 times |x|, or 4e-5 if that is more: far below a step of int8.
#[inline(always)]
pub(super) fn apply<S: Simd>(function: Function, numbers: &mut [f32], roughly: bool) {
    match function {
        Function::None => {}
        Function::Gelu if roughly => numbers.iter_mut().for_each(|x| *x = rough_gelu::<S>(*x)),
        Function::Gelu => numbers.iter_mut().for_each(|x| *x = gelu::<S>(*x)),
        Function::GeluNew => numbers.iter_mut().for_each(|x| *x = gelu_new::<S>(*x)),
        Function::Relu => numbers.iter_mut().for_each(|x| *x = greater(0.0, *x)),
    }
}

/// `left` × `right` + `sum`.
#[inline(always)]
pub(super) fn multiply_add<S: Simd>(left: f32, right: f32, sum: f32) -> f32 {
    if S::FUSED { left.mul_add(right, sum) } else { left * right + sum }
}

/// The greater of two numbers; NaN only if `right` is.
#[inline(always)]
fn greater(left: f32, right: f32) -> f32 {
    if left > right { left } else { right }
}

#[inline(always)]
fn less(left: f32, right: f32) -> f32 {
    if left < right { left } else { right }
}

/// x Φ(x), where Φ(x) − ½ is x times a polynomial of x² up to |x| = 4.5, fitted for the least error of the product.
#[inline(always)]
fn rough_gelu<S: Simd>(x: f32) -> f32 {
    const FACTORS: [f32; 9] = [
        1.697_323_4e-10,
        -9.193_807e-9,
        2.958_905e-7,
        -6.365_255_6e-6,
        9.787_126e-5,
        -1.122_677_3e-3,
        9.833_179e-3,
        -6.633_705e-2,
        0.398_883_8,
    ];
    let near = less(4.5, greater(-4.5, x));
    let square = near * near;
    let mut sum = -1.400_092_5e-12;
    for factor in FACTORS {
        sum = multiply_add::<S>(sum, square, factor);
    }
    x * multiply_add::<S>(near, sum, 0.5)
}

/// x Φ(x) with an error of 1.5e-7. Source: Abramowitz and Stegun (1964), "Handbook of mathematical functions", 7.1.26.
#[inline(always)]
fn gelu<S: Simd>(x: f32) -> f32 {
    let far = (x * std::f32::consts::FRAC_1_SQRT_2).abs();
    let inverse = 1.0 / multiply_add::<S>(far, 0.327_591_1, 1.0);
    let mut sum = 1.061_405_4;
    for factor in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        sum = multiply_add::<S>(sum, inverse, factor);
    }
    // The probability beyond |x|.
    let tail = 0.5 * inverse * sum * exp::<S>(-far * far);
    x * if x < 0.0 { tail } else { 1.0 - tail }
}

/// ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))), as x times the logistic function of twice the inner term.
#[inline(always)]
fn gelu_new<S: Simd>(x: f32) -> f32 {
    let inner = 1.595_769 * multiply_add::<S>(0.044_715 * x * x, x, x);
    x / (1.0 + exp::<S>(-inner))
}

/// exp(x) with a relative error of 1e-6, for x from -87 to 88; the nearer of their values beyond. Source: as in
/// `attention.rs`.
#[inline(always)]
fn exp<S: Simd>(x: f32) -> f32 {
    // A sum with this number has whole numbers in its lowest bits.
    const WHOLE: f32 = 12_582_912.0;
    let x = less(88.0, greater(-87.0, x));
    let shifted = multiply_add::<S>(x, std::f32::consts::LOG2_E, WHOLE);
    let twos = shifted - WHOLE;
    // ln 2 in two parts.
    let rest = multiply_add::<S>(twos, -0.693_359_4, x);
    let rest = multiply_add::<S>(twos, 2.121_944_4e-4, rest);
    let mut power = 1.0 / 720.0;
    for factor in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        power = multiply_add::<S>(power, rest, factor);
    }
    // Adds to the exponent.
    f32::from_bits(power.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// Folds are in this many parts, so that they fit vectors.
const PARTS: usize = 16;

#[inline(always)]
fn fold(numbers: &[f32], start: f32, step: impl Fn(f32, f32) -> f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut parts = [start; PARTS];
    let (chunks, rest) = numbers.as_chunks::<PARTS>();
    for chunk in chunks {
        for (part, number) in parts.iter_mut().zip(chunk) {
            *part = step(*part, *number);
        }
    }
    for (part, number) in parts.iter_mut().zip(rest) {
        *part = step(*part, *number);
    }
    parts.into_iter().reduce(join).unwrap_or(start)
}

/// Replaces scores by exp((score − maximum) × scale), and returns the sum of these.
#[inline(always)]
pub(super) fn softmax<S: Simd>(scores: &mut [f32], scale: f32) -> f32 {
    let greatest = fold(scores, f32::NEG_INFINITY, greater, greater);
    let shift = -greatest * scale;
    for score in &mut *scores {
        *score = exp::<S>(multiply_add::<S>(*score, scale, shift));
    }
    fold(scores, 0.0, |sum, weight| sum + weight, |left, right| left + right)
}

/// Layer normalisation of `states + added`, into `states`.
#[inline(always)]
pub(super) fn add_and_normalise<S: Simd>(states: &mut [f32], added: &[f32], weight: &[f32], bias: &[f32], eps: f32) {
    let add = |left: f32, right: f32| left + right;
    for (state, added) in states.iter_mut().zip(added) {
        *state += added;
    }
    let count = states.len() as f32;
    let mean = fold(states, 0.0, add, add) / count;
    let variance = fold(states, 0.0, |sum, state| multiply_add::<S>(state - mean, state - mean, sum), add) / count;
    let scale = 1.0 / (variance + eps).sqrt();
    for ((state, weight), bias) in states.iter_mut().zip(weight).zip(bias) {
        *state = multiply_add::<S>((*state - mean) * scale, *weight, *bias);
    }
}

/// Quantises a row between its least and its greatest number.
#[inline(always)]
pub(super) fn quantise<S: Simd>(numbers: &[f32], out: &mut [u8]) -> Range {
    let least = fold(numbers, f32::INFINITY, less, less);
    let greatest = fold(numbers, f32::NEG_INFINITY, greater, greater);
    let scale = (greatest - least) / S::LEVELS;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    let shift = -least * inverse;
    for (out, number) in out.iter_mut().zip(numbers) {
        // Rounds, as in `exp`.
        *out = (multiply_add::<S>(*number, inverse, shift) + 8_388_608.0).to_bits() as u8;
    }
    Range { least, scale }
}

#[cfg(test)]
mod tests {
    use super::super::simd::Portable;
    use super::*;
    use tch::{Kind, Tensor};

    #[test]
    fn functions_are_libtorchs() {
        let numbers: Vec<f32> = (-1400..=1400).map(|at| at as f32 / 100.0).collect();
        let tensor = Tensor::from_slice(&numbers).to_kind(Kind::Double);
        let check = |function: Function, roughly: bool, expected: Tensor, bound: f64| {
            let mut found = numbers.clone();
            apply::<Portable<true>>(function, &mut found, roughly);
            let gap = (Tensor::from_slice(&found).to_kind(Kind::Double) - expected).abs() / tensor.abs().clamp_min(1.0);
            let gap = gap.max().double_value(&[]);
            assert!(gap < bound, "{function:?}, roughly: {roughly}: {gap}");
        };
        check(Function::Gelu, false, tensor.gelu("none"), 2e-6);
        check(Function::Gelu, true, tensor.gelu("none"), 5e-5);
        check(Function::GeluNew, false, tensor.gelu("tanh"), 2e-6);
        check(Function::Relu, true, tensor.relu(), 1e-9);
        let mut scores = numbers.clone();
        let sum = softmax::<Portable<true>>(&mut scores, 0.5);
        let expected = (&tensor * 0.5).softmax(-1, Kind::Double);
        let gap = (Tensor::from_slice(&scores).to_kind(Kind::Double) / f64::from(sum) - expected).abs().max();
        assert!(gap.double_value(&[]) < 1e-7);
    }

    #[test]
    fn a_quantised_row_is_off_by_half_a_step() {
        let numbers: Vec<f32> = (0..100).map(|at| (at as f32 * 0.7).sin() * 3.0 + 1.0).collect();
        let mut found = vec![0; 100];
        let range = quantise::<Portable<true>>(&numbers, &mut found);
        for (number, &found) in numbers.iter().zip(&found) {
            assert!((range.least + range.scale * f32::from(found) - number).abs() < 0.501 * range.scale);
        }
        assert_eq!((found.iter().min(), found.iter().max()), (Some(&0), Some(&255)));
        // No division by zero.
        let range = quantise::<Portable<true>>(&[2.5; 3], &mut found);
        assert_eq!((range.least, range.scale, found[0]), (2.5, 0.0, 0));
    }
}
