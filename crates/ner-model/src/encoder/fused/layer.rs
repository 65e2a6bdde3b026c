//! A layer's forward pass.

use super::elementwise::{Function, Range, add_and_normalise, quantise, softmax};
use super::matrix::{Matrix, Rows, Tile, pack, width};
use super::simd::{Simd, Task};
use std::ops;

/// Whole rows of about this many places go through the attention part together, and this many places through the
/// feed-forward part: the states between the products then stay in the cache.
const GROUP: usize = 96;
pub(super) const BLOCK: usize = 48;

/// Most queries of a head that are computed together.
const QUERIES: usize = 12;

#[derive(Debug)]
pub(super) struct Norm {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub eps: f32,
}

/// One layer. Its parts have the names of `bert.rs`.
#[derive(Debug)]
pub(super) struct FusedLayer {
    /// Queries, keys and values.
    pub projections: Matrix,
    pub attention_output: Matrix,
    pub attention_norm: Norm,
    pub intermediate: Matrix,
    pub output: Matrix,
    pub output_norm: Norm,
    pub heads: usize,
    pub function: Function,
}

/// Terms of attention scores by the distance of key minus query, `[heads, 2 * longest + 1]`, divided by the factor of the
/// scores; the same in all layers.
#[derive(Debug)]
pub(super) struct Distances {
    pub terms: Vec<f32>,
    pub longest: usize,
}

impl Distances {
    /// The terms of a head for the first keys of a row and the query at a place.
    fn of(&self, head: usize, query: usize) -> &[f32] {
        let all = 2 * self.longest + 1;
        &self.terms[head * all..][..all][self.longest - query..]
    }
}

/// Maps `states` `[places, hidden]` through a layer, in place.
pub(super) struct Forward<'l> {
    pub layer: &'l FusedLayer,
    pub states: &'l mut [f32],
    /// See `FusedLayers::forward`.
    pub rows: &'l [ops::Range<usize>],
    pub distances: Option<&'l Distances>,
    pub scratch: &'l mut Scratch,
}

/// Buffers that the next layer reuses.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    quantised: Quantised,
    projections: Vec<f32>,
    context: Vec<f32>,
    wide: Vec<f32>,
    narrow: Vec<f32>,
    head: Head,
}

/// Rows of activations in the precision of a matrix, and room for them.
#[derive(Debug, Default)]
pub(super) struct Quantised {
    numbers: Vec<u8>,
    ranges: Vec<Range>,
}

/// One head: panels of keys and of values, and the scores of some queries.
#[derive(Debug, Default)]
struct Head {
    keys: Vec<f32>,
    values: Vec<f32>,
    scores: Vec<f32>,
}

impl Task for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { layer, states, mut rows, distances, scratch } = self;
        let hidden = layer.hidden();
        while let [first, ..] = rows {
            let fitting = rows.iter().take_while(|row| row.end - first.start <= GROUP).count();
            let (group, rest) = rows.split_at(fitting.max(1));
            let end = group.last().map_or(first.end, |last| last.end);
            layer.attend::<S>(&mut states[first.start * hidden..end * hidden], group, distances, scratch);
            rows = rest;
        }
        for states in states.chunks_mut(BLOCK * hidden) {
            layer.feed_forward::<S>(states, scratch);
        }
    }
}

impl FusedLayer {
    const fn hidden(&self) -> usize {
        self.attention_norm.weight.len()
    }

    /// Attention within each of `rows`, whose places are `states`.
    #[inline(always)]
    fn attend<S: Simd>(
        &self,
        states: &mut [f32],
        rows: &[ops::Range<usize>],
        distances: Option<&Distances>,
        scratch: &mut Scratch,
    ) {
        let Scratch { quantised, projections, context, narrow, head, .. } = scratch;
        let hidden = self.hidden();
        let count = states.len() / hidden;
        let stride = self.projections.stride();
        let projections = room(projections, count * stride);
        let input = quantised.rows_for::<S>(&self.projections, states, hidden, count);
        self.projections.product::<S>(&input, count, Function::None, projections);
        let context = room(context, count * hidden);
        for row in rows {
            let row = row.start - rows[0].start..row.end - rows[0].start;
            let projections = &projections[row.start * stride..row.end * stride];
            let context = &mut context[row.start * hidden..row.end * hidden];
            for (number, first) in (0..hidden).step_by(hidden / self.heads).enumerate() {
                let terms = |query| distances.map(|distances| distances.of(number, query));
                head.attend::<S>(projections, stride, first..first + hidden / self.heads, terms, context, hidden);
            }
        }
        let attended = room(narrow, count * self.attention_output.stride());
        let input = quantised.rows_for::<S>(&self.attention_output, context, hidden, count);
        self.attention_output.product::<S>(&input, count, Function::None, attended);
        self.attention_norm.add::<S>(states, attended, self.attention_output.stride());
    }

    #[inline(always)]
    fn feed_forward<S: Simd>(&self, states: &mut [f32], scratch: &mut Scratch) {
        let Scratch { quantised, wide, narrow, .. } = scratch;
        let hidden = self.hidden();
        let count = states.len() / hidden;
        let wide = room(wide, count * self.intermediate.stride());
        let input = quantised.rows_for::<S>(&self.intermediate, states, hidden, count);
        self.intermediate.product::<S>(&input, count, self.function, wide);
        let narrow = room(narrow, count * self.output.stride());
        let input = quantised.rows_for::<S>(&self.output, wide, self.intermediate.stride(), count);
        self.output.product::<S>(&input, count, Function::None, narrow);
        self.output_norm.add::<S>(states, narrow, self.output.stride());
    }
}

impl Norm {
    /// Normalises the sums of `states` and of `added`, whose rows are `stride` numbers apart.
    #[inline(always)]
    fn add<S: Simd>(&self, states: &mut [f32], added: &[f32], stride: usize) {
        let hidden = self.weight.len();
        for (states, added) in states.chunks_exact_mut(hidden).zip(added.chunks_exact(stride)) {
            add_and_normalise::<S>(states, &added[..hidden], &self.weight, &self.bias, self.eps);
        }
    }
}

impl Quantised {
    /// Rows of `numbers`, `stride` apart, in the precision of `matrix`.
    #[inline(always)]
    pub fn rows_for<'r, S: Simd>(
        &'r mut self,
        matrix: &Matrix,
        numbers: &'r [f32],
        stride: usize,
        count: usize,
    ) -> Rows<'r> {
        if !matrix.is_int8() {
            return Rows::Fp32 { numbers, stride };
        }
        let (inputs, padded) = (matrix.inputs(), matrix.inputs().next_multiple_of(4));
        self.numbers.resize(self.numbers.len().max(count * padded), 0);
        self.ranges.resize(self.ranges.len().max(count), Range::default());
        for (at, range) in self.ranges[..count].iter_mut().enumerate() {
            *range = quantise::<S>(&numbers[at * stride..][..inputs], &mut self.numbers[at * padded..][..inputs]);
        }
        Rows::Int8 { numbers: &self.numbers, stride: padded, ranges: &self.ranges }
    }
}

impl Head {
    /// softmax((Q Kᵀ + terms) / √head) V of the head with these `columns`. `projections` `[tokens, stride]` has `hidden`
    /// columns of queries, then of keys, then of values. `terms` are those of a query, for each key.
    #[inline(always)]
    fn attend<'t, S: Simd>(
        &mut self,
        projections: &[f32],
        stride: usize,
        columns: ops::Range<usize>,
        terms: impl Fn(usize) -> Option<&'t [f32]>,
        context: &mut [f32],
        hidden: usize,
    ) {
        let Self { keys, values, scores } = self;
        let (width, head, tokens) = (width::<S>(), columns.len(), context.len() / hidden);
        pack::<S>(keys, head, tokens, |at, token| projections[token * stride + hidden + columns.start + at]);
        pack::<S>(values, tokens, head, |token, at| projections[token * stride + 2 * hidden + columns.start + at]);
        let length = tokens.next_multiple_of(width);
        let scores = room(scores, QUERIES * length);
        let scale = 1.0 / (head as f32).sqrt();
        let mut tile = Tile::new();
        let mut first = 0;
        while first < tokens {
            let mut count = 0;
            for (at, keys) in keys.chunks_exact(head * width).enumerate() {
                count = tile.multiply::<S>(&projections[columns.start..], stride, first..tokens, keys);
                for (scores, sums) in scores.chunks_exact_mut(length).zip(tile.sums.chunks_exact(width)).take(count) {
                    scores[at * width..][..width].copy_from_slice(sums);
                }
            }
            let mut shares = [0.0; QUERIES];
            for (at, (share, scores)) in shares[..count].iter_mut().zip(scores.chunks_exact_mut(length)).enumerate() {
                let scores = &mut scores[..tokens];
                if let Some(terms) = terms(first + at) {
                    for (score, term) in scores.iter_mut().zip(terms) {
                        *score += term;
                    }
                }
                *share = 1.0 / softmax::<S>(scores, scale);
            }
            for (start, values) in columns.clone().step_by(width).zip(values.chunks_exact(tokens * width)) {
                tile.multiply::<S>(scores, length, 0..count, values);
                let filled = width.min(columns.end - start);
                for (at, sums) in tile.sums.chunks_exact(width).take(count).enumerate() {
                    let out = &mut context[(first + at) * hidden + start..][..filled];
                    for (out, sum) in out.iter_mut().zip(sums) {
                        *out = sum * shares[at];
                    }
                }
            }
            first += count;
        }
    }
}

/// A buffer with at least `len` numbers, with any values.
fn room(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    buffer.resize(buffer.len().max(len), 0.0);
    &mut buffer[..len]
}
