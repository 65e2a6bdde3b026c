//! Weight matrices in panels, and products with them.

use super::elementwise::{Function, Range, apply, multiply_add};
use super::simd::{Simd, Task};

/// Vectors in a row of a panel.
const VECTORS: usize = 2;
/// Most rows of a tile, and most numbers in its rows.
const MOST_ROWS: usize = 12;
const MOST_WIDTH: usize = 2 * 16;

/// Outputs of a panel.
pub(super) const fn width<S: Simd>() -> usize {
    VECTORS * S::LANES
}

/// A linear layer.
///
/// Panels hold [`width`] outputs each and are filled up with zeros: `[inputs, width]` fp32, or `[inputs / 4, width, 4]`
/// int8. The outputs of a product are as long as all panels ([`stride`](Self::stride)).
#[derive(Debug)]
pub(super) struct Matrix {
    inputs: usize,
    numbers: Numbers,
    /// `[stride]`.
    bias: Vec<f32>,
}

#[derive(Debug)]
enum Numbers {
    Fp32 {
        panels: Vec<f32>,
    },
    /// The scale of each output's weights, and their sum times the scale.
    Int8 {
        panels: Vec<i8>,
        scales: Vec<f32>,
        sums: Vec<f32>,
    },
}

/// Rows of activations, `stride` numbers apart.
pub(super) enum Rows<'r> {
    Fp32 { numbers: &'r [f32], stride: usize },
    Int8 { numbers: &'r [u8], stride: usize, ranges: &'r [Range] },
}

/// Makes a [`Matrix`].
pub(super) struct Packing<'w> {
    /// `[outputs, inputs]`.
    pub weight: &'w [f32],
    /// `[outputs]`.
    pub bias: &'w [f32],
    pub int8: bool,
}

impl Task for Packing<'_> {
    type Output = Matrix;

    #[inline(always)]
    fn run<S: Simd>(self) -> Matrix {
        let Self { weight, bias, int8 } = self;
        let (outputs, inputs) = (bias.len(), weight.len() / bias.len());
        let stride = outputs.next_multiple_of(width::<S>());
        let padded = |mut numbers: Vec<f32>| {
            numbers.resize(stride, 0.0);
            numbers
        };
        let numbers = if int8 {
            let (panels, scales, sums) = quantise::<S>(weight, inputs, stride);
            Numbers::Int8 { panels, scales: padded(scales), sums: padded(sums) }
        } else {
            let mut panels = Vec::new();
            pack::<S>(&mut panels, inputs, outputs, |input, output| weight[output * inputs + input]);
            Numbers::Fp32 { panels }
        };
        Matrix { inputs, numbers, bias: padded(bias.to_vec()) }
    }
}

/// Panels of fp32 numbers, `[panels, inputs, width]`.
#[inline(always)]
pub(super) fn pack<S: Simd>(
    panels: &mut Vec<f32>,
    inputs: usize,
    outputs: usize,
    number: impl Fn(usize, usize) -> f32,
) {
    let width = width::<S>();
    panels.clear();
    panels.resize(outputs.next_multiple_of(width) * inputs, 0.0);
    for (first, panel) in (0..outputs).step_by(width).zip(panels.chunks_exact_mut(inputs * width)) {
        let filled = width.min(outputs - first);
        for (input, slots) in panel.chunks_exact_mut(width).enumerate() {
            for (slot, output) in slots[..filled].iter_mut().zip(first..) {
                *slot = number(input, output);
            }
        }
    }
}

/// The greatest weight of an output becomes 127.
#[inline(always)]
fn quantise<S: Simd>(weight: &[f32], inputs: usize, stride: usize) -> (Vec<i8>, Vec<f32>, Vec<f32>) {
    let (width, fours) = (width::<S>(), inputs.div_ceil(4));
    let mut panels = vec![0; stride * fours * 4];
    let (mut scales, mut sums) = (Vec::new(), Vec::new());
    for (output, weight) in weight.chunks_exact(inputs).enumerate() {
        let greatest = weight.iter().fold(0f32, |greatest, weight| greatest.max(weight.abs()));
        let inverse = if greatest > 0.0 { 127.0 / greatest } else { 0.0 };
        let panel = &mut panels[output / width * fours * width * 4..][..fours * width * 4];
        let mut sum = 0;
        for (slots, weights) in panel.chunks_exact_mut(width * 4).zip(weight.chunks(4)) {
            for (slot, weight) in slots[output % width * 4..].iter_mut().zip(weights) {
                *slot = (weight * inverse).round_ties_even() as i8;
                sum += i32::from(*slot);
            }
        }
        scales.push(greatest / 127.0);
        sums.push(greatest / 127.0 * sum as f32);
    }
    (panels, scales, sums)
}

impl Matrix {
    pub const fn inputs(&self) -> usize {
        self.inputs
    }

    pub const fn stride(&self) -> usize {
        self.bias.len()
    }

    pub const fn is_int8(&self) -> bool {
        matches!(self.numbers, Numbers::Int8 { .. })
    }

    /// `function` of the products of the first `count` rows plus the bias, `[count, stride]`. Rows have the weights'
    /// precision.
    #[inline(always)]
    pub fn product<S: Simd>(&self, rows: &Rows<'_>, count: usize, function: Function, out: &mut [f32]) {
        let (width, stride) = (width::<S>(), self.stride());
        let mut tile = Tile::new();
        for (panel, start) in (0..stride).step_by(width).enumerate() {
            let columns = start..start + width;
            let bias = &self.bias[columns.clone()];
            let mut first = 0;
            match (&self.numbers, rows) {
                (Numbers::Fp32 { panels }, &Rows::Fp32 { numbers, stride: length }) => {
                    let panel = &panels[panel * self.inputs * width..][..self.inputs * width];
                    while first < count {
                        let done = tile.multiply::<S>(numbers, length, first..count, panel);
                        for (at, sums) in tile.sums.chunks_exact(width).take(done).enumerate() {
                            let out = &mut out[(first + at) * stride..][columns.clone()];
                            for ((out, sum), bias) in out.iter_mut().zip(sums).zip(bias) {
                                *out = sum + bias;
                            }
                            apply::<S>(function, out, false);
                        }
                        first += done;
                    }
                }
                (Numbers::Int8 { panels, scales, sums }, &Rows::Int8 { numbers, stride: length, ranges }) => {
                    let inputs = self.inputs.next_multiple_of(4);
                    let panel = &panels[panel * inputs * width..][..inputs * width];
                    let (scales, offsets) = (&scales[columns.clone()], &sums[columns.clone()]);
                    while first < count {
                        let done = tile.multiply_bytes::<S>(numbers, length, first..count, panel);
                        for (at, sums) in tile.byte_sums.chunks_exact(width).take(done).enumerate() {
                            let range = ranges[first + at];
                            let out = &mut out[(first + at) * stride..][columns.clone()];
                            for at in 0..width {
                                let offset = multiply_add::<S>(range.least, offsets[at], bias[at]);
                                out[at] = multiply_add::<S>(sums[at] as f32 * range.scale, scales[at], offset);
                            }
                            apply::<S>(function, out, true);
                        }
                        first += done;
                    }
                }
                _ => unreachable!("rows have the weights' precision"),
            }
        }
    }
}

/// A part of a product that is summed in registers.
#[repr(align(64))]
pub(super) struct Tile {
    /// `[rows, width]`, of [`multiply`](Self::multiply).
    pub sums: [f32; MOST_ROWS * MOST_WIDTH],
    byte_sums: [i32; MOST_ROWS * MOST_WIDTH],
}

impl Tile {
    pub const fn new() -> Self {
        Self { sums: [0.0; MOST_ROWS * MOST_WIDTH], byte_sums: [0; MOST_ROWS * MOST_WIDTH] }
    }

    /// The sums of the first of `range`'s rows, times a panel; how many rows these are.
    #[inline(always)]
    pub fn multiply<S: Simd>(
        &mut self,
        rows: &[f32],
        stride: usize,
        range: std::ops::Range<usize>,
        panel: &[f32],
    ) -> usize {
        let count = range.len();
        match rows_of(S::ROWS, count) {
            12 => self.multiply_of::<S, 12>(rows, stride, range, panel),
            6 => self.multiply_of::<S, 6>(rows, stride, range, panel),
            _ => self.multiply_of::<S, 4>(rows, stride, range, panel),
        }
        count.min(rows_of(S::ROWS, count))
    }

    #[inline(always)]
    fn multiply_of<S: Simd, const ROWS: usize>(
        &mut self,
        rows: &[f32],
        stride: usize,
        range: std::ops::Range<usize>,
        panel: &[f32],
    ) {
        let inputs = panel.len() / width::<S>();
        let starts = starts_of::<ROWS>(stride, range);
        assert!(starts.iter().all(|start| start + inputs <= rows.len()) && ROWS <= MOST_ROWS && S::LANES <= 16);
        // SAFETY: the rows are there, as asserted, a panel has `inputs` rows of two vectors, and the tile has room for
        // `ROWS` of them.
        unsafe {
            let rows = starts.map(|start| rows.as_ptr().add(start));
            let mut sums = [[S::floats(0.0); VECTORS]; ROWS];
            for input in 0..inputs {
                let panel = panel.as_ptr().add(input * width::<S>());
                let right: [S::Floats; VECTORS] = [S::load(panel), S::load(panel.add(S::LANES))];
                for (sums, row) in sums.iter_mut().zip(rows) {
                    let left = S::floats(*row.add(input));
                    for (sum, right) in sums.iter_mut().zip(right) {
                        *sum = S::multiply_add(left, right, *sum);
                    }
                }
            }
            for (at, sum) in sums.as_flattened().iter().enumerate() {
                S::store(self.sums.as_mut_ptr().add(at * S::LANES), *sum);
            }
        }
    }

    /// The same for int8, with four inputs in each row of a panel.
    #[inline(always)]
    fn multiply_bytes<S: Simd>(
        &mut self,
        rows: &[u8],
        stride: usize,
        range: std::ops::Range<usize>,
        panel: &[i8],
    ) -> usize {
        let count = range.len();
        match rows_of(S::BYTE_ROWS, count) {
            12 => self.multiply_bytes_of::<S, 12>(rows, stride, range, panel),
            6 => self.multiply_bytes_of::<S, 6>(rows, stride, range, panel),
            _ => self.multiply_bytes_of::<S, 4>(rows, stride, range, panel),
        }
        count.min(rows_of(S::BYTE_ROWS, count))
    }

    #[inline(always)]
    fn multiply_bytes_of<S: Simd, const ROWS: usize>(
        &mut self,
        rows: &[u8],
        stride: usize,
        range: std::ops::Range<usize>,
        panel: &[i8],
    ) {
        let inputs = panel.len() / width::<S>();
        let starts = starts_of::<ROWS>(stride, range);
        assert!(starts.iter().all(|start| start + inputs <= rows.len()) && ROWS <= MOST_ROWS && S::LANES <= 16);
        assert!(inputs.is_multiple_of(4));
        // SAFETY: as in `multiply_of`, with four bytes in the place of each number.
        unsafe {
            let rows = starts.map(|start| rows.as_ptr().add(start));
            let mut sums = [[S::zeros(); VECTORS]; ROWS];
            for four in 0..inputs / 4 {
                let panel = panel.as_ptr().add(four * 4 * width::<S>());
                for (sums, row) in sums.iter_mut().zip(rows) {
                    for (vector, sum) in sums.iter_mut().enumerate() {
                        *sum = S::dot(*sum, row.add(four * 4), panel.add(vector * 4 * S::LANES));
                    }
                }
            }
            for (at, sum) in sums.as_flattened().iter().enumerate() {
                S::store_sums(self.byte_sums.as_mut_ptr().add(at * S::LANES), *sum);
            }
        }
    }
}

/// Rows of the next tile if `left` remain: half of the most if those are enough.
#[inline(always)]
const fn rows_of(most: usize, left: usize) -> usize {
    if most == 12 && left <= 6 { 6 } else { most }
}

/// Where each row of a tile starts. Beyond the last row, the last one is repeated.
#[inline(always)]
fn starts_of<const ROWS: usize>(stride: usize, range: std::ops::Range<usize>) -> [usize; ROWS] {
    std::array::from_fn(|at| (range.start + at).min(range.end - 1) * stride)
}
