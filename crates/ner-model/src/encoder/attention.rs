//! Attention for prediction in bf16 on the CPU, over concatenated rows without padding.
//!
//! libtorch's products need rows of equal width and a copy of queries, keys and values by head; on sentences that took
//! a sixth of the prediction time. Here the heads are read in place, and scores and weights stay in the caches. bf16
//! numbers are multiplied and summed in fp32 by an instruction that takes them in pairs (`vdpbf16ps`). The slow
//! equivalent is the plain attention of `attend.rs`.

use crate::device::tensor_slice::{floats, halves, halves_mut};
use std::ops::Range;
use tch::Tensor;

/// Terms added to the scores, one for each distance of key minus query.
#[derive(Debug)]
pub struct ByDistance {
    /// `[heads or 1, 2 * width - 1 + LANES] f32`: from distance `1 - width` on, with room for a vector behind the last.
    terms: Tensor,
    /// Length of the longest row.
    width: usize,
    /// Longest distance whose weight is not 0, if not all.
    reach: Option<usize>,
}

/// Number of fp32 numbers in a vector.
const LANES: usize = 16;

impl ByDistance {
    /// From `terms`, `[heads or 1, 2 * width - 1] f32`, for the distances from `1 - width` on. `reach` is the longest
    /// distance whose term is not so low that its weight is 0, if some are.
    pub fn new(terms: &Tensor, width: usize, reach: Option<usize>) -> Self {
        Self { terms: terms.constant_pad_nd([0, LANES as i64]).contiguous(), width, reach }
    }
}

/// Whether this CPU has the instructions and they support heads of this size.
#[cfg(target_arch = "x86_64")]
pub fn is_available(head: i64) -> bool {
    head % LANES as i64 == 0 && crate::cpu_has_bf16()
}

/// softmax(Q Kᵀ / √head + terms) V within each of `rows`, which are ranges of places. Query, key, value and result are
/// `[places, hidden]` bf16; the result is 0 outside the rows. Panics unless [`is_available`].
#[cfg(target_arch = "x86_64")]
pub fn attend(
    [query, key, value]: [&Tensor; 3],
    rows: &[Range<usize>],
    heads: i64,
    terms: Option<&ByDistance>,
) -> Tensor {
    let hidden = query.size()[1] as usize;
    let head = hidden / heads as usize;
    assert!(is_available(head as i64), "this CPU lacks the instructions for attention in bf16");
    let mut context = query.zeros_like();
    let (queries, keys, values) = (halves(query), halves(key), halves(value));
    // SAFETY: `context` was created here, and nothing shares its storage.
    let out = unsafe { halves_mut(&mut context) };
    let mut scratch = avx512::Scratch::default();
    let by_distance = terms.map(|terms| (terms, floats(&terms.terms)));
    for row in rows.iter().filter(|row| !row.is_empty()) {
        let states = row.start * hidden..row.end * hidden;
        let row = avx512::Row {
            queries: &queries[states.clone()],
            keys: &keys[states.clone()],
            values: &values[states.clone()],
            hidden,
        };
        for first in (0..hidden).step_by(head) {
            let terms = by_distance.map(|(ByDistance { terms, width, reach }, floats)| {
                let (lists, stride) = (terms.size()[0] as usize, 2 * width - 1 + LANES);
                avx512::Terms {
                    of_head: &floats[first / head % lists * stride..][..stride],
                    width: *width,
                    reach: *reach,
                }
            });
            // SAFETY: the CPU has the instructions, as checked.
            unsafe { avx512::attend(&row, first..first + head, terms, &mut out[states.clone()], &mut scratch) };
        }
    }
    context
}

/// Other CPUs never have the instructions.
#[cfg(not(target_arch = "x86_64"))]
pub fn is_available(_head: i64) -> bool {
    false
}

/// Never called.
#[cfg(not(target_arch = "x86_64"))]
pub fn attend(_: [&Tensor; 3], _: &[Range<usize>], _: i64, _: Option<&ByDistance>) -> Tensor {
    unreachable!("it is not available")
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::LANES;
    use std::arch::x86_64::*;
    use std::ops::Range;

    /// Queries that share one read of keys and values: enough sums to hide the latency of the instruction.
    const QUERIES: usize = 8;

    /// The states of one row, `[tokens, hidden]` bf16 each.
    pub struct Row<'s> {
        pub queries: &'s [u16],
        pub keys: &'s [u16],
        pub values: &'s [u16],
        pub hidden: usize,
    }

    /// The terms of one head, as in [`ByDistance`](super::ByDistance).
    #[derive(Clone, Copy)]
    pub struct Terms<'t> {
        pub of_head: &'t [f32],
        pub width: usize,
        pub reach: Option<usize>,
    }

    /// Buffers of one head, reused for the next. `width` is the number of tokens, rounded up to full vectors.
    #[derive(Default)]
    pub struct Scratch {
        /// Pairs of numbers of each key, by vectors of keys: `[width / LANES, head / 2, LANES]`; undefined beyond the
        /// last token.
        keys: Vec<[u32; LANES]>,
        /// Numbers of each pair of values, by vectors of numbers: `[head / LANES, width / 2, LANES]`; 0 beyond the last
        /// token.
        values: Vec<[u32; LANES]>,
        /// `[QUERIES, width]`.
        scores: Vec<f32>,
        /// Weights in bf16: exp(score − maximum); 0 beyond the last token.
        weights: Vec<u16>,
    }

    const fn pair(low: u16, high: u16) -> u32 {
        low as u32 | (high as u32) << 16
    }

    /// Attention of the head with these columns.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub fn attend(
        row: &Row<'_>,
        columns: Range<usize>,
        terms: Option<Terms<'_>>,
        out: &mut [u16],
        scratch: &mut Scratch,
    ) {
        let (hidden, head) = (row.hidden, columns.len());
        let tokens = row.queries.len() / hidden;
        let width = tokens.next_multiple_of(LANES);
        scratch.fill(row, &columns, tokens, width);
        let Scratch { keys, values, scores, weights } = scratch;
        let scale = _mm512_set1_ps(1.0 / (head as f32).sqrt());
        let nothing = _mm512_set1_ps(f32::NEG_INFINITY);
        for first in (0..tokens).step_by(QUERIES) {
            // Beyond the last token, repeat the last one; the result is not kept.
            let count = QUERIES.min(tokens - first);
            let query = |at: usize| pairs_of(&row.queries[(first + at.min(count - 1)) * hidden..][columns.clone()]);
            let queries: [&[[u16; 2]]; QUERIES] = std::array::from_fn(query);
            // The keys that one of the queries reaches, in full vectors.
            let seen = match terms.and_then(|terms| terms.reach) {
                Some(reach) => {
                    let end = (first + count + reach).min(tokens).next_multiple_of(LANES);
                    first.saturating_sub(reach) / LANES * LANES..end
                }
                None => 0..width,
            };
            for block in seen.clone().step_by(LANES) {
                let sums = products(queries, &keys[block / LANES * (head / 2)..][..head / 2]);
                for (at, (sum, scores)) in sums.into_iter().zip(scores.chunks_exact_mut(width)).enumerate() {
                    let mut scaled = _mm512_mask_mul_ps(nothing, lanes(tokens - block), sum, scale);
                    if let Some(Terms { of_head, width, .. }) = terms {
                        let zero = width - 1 - (first + at.min(count - 1));
                        scaled = _mm512_add_ps(scaled, load_at(&of_head[zero + block..]));
                    }
                    store(&mut scores[block..block + LANES], scaled);
                }
            }
            let mut shares = [_mm512_setzero_ps(); QUERIES];
            let rows = scores.chunks_exact(width).zip(weights.chunks_exact_mut(width));
            for (share, (scores, weights)) in shares.iter_mut().zip(rows) {
                let (scores, weights) = (&scores[seen.clone()], &mut weights[seen.clone()]);
                let (scores, _) = scores.as_chunks::<LANES>();
                let greatest = scores.iter().fold(nothing, |greatest, scores| _mm512_max_ps(greatest, load(scores)));
                let greatest = _mm512_set1_ps(_mm512_reduce_max_ps(greatest));
                let mut sum = _mm512_setzero_ps();
                for (scores, weights) in scores.iter().zip(weights.chunks_exact_mut(LANES)) {
                    // Beyond the last token: exp(−∞) = 0.
                    let weight = exp(_mm512_sub_ps(load(scores), greatest));
                    sum = _mm512_add_ps(sum, weight);
                    store_halves(weights, weight);
                }
                *share = _mm512_set1_ps(1.0 / _mm512_reduce_add_ps(sum));
            }
            let weights: [&[[u16; 2]]; QUERIES] =
                std::array::from_fn(|at| pairs_of(&weights[at * width..(at + 1) * width][seen.clone()]));
            for (block, values) in (0..head).step_by(LANES).zip(values.chunks_exact(width / 2)) {
                let sums = products(weights, &values[seen.start / 2..seen.end / 2]);
                for (at, (sum, share)) in sums.into_iter().zip(shares).enumerate().take(count) {
                    let start = (first + at) * hidden + columns.start + block;
                    store_halves(&mut out[start..start + LANES], _mm512_mul_ps(sum, share));
                }
            }
        }
    }

    /// The products of each left side with the sixteen columns of the right side.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn products(left: [&[[u16; 2]]; QUERIES], right: &[[u32; LANES]]) -> [__m512; QUERIES] {
        assert!(left.iter().all(|pairs| pairs.len() == right.len()));
        let mut sums = [_mm512_setzero_ps(); QUERIES];
        for (at, right) in right.iter().enumerate() {
            let right = load_pairs(right);
            for (sum, left) in sums.iter_mut().zip(left) {
                // SAFETY: it is as long as the right side. A bounds check would take a third of the total time.
                let pair = unsafe { *left.get_unchecked(at) };
                *sum = _mm512_dpbf16_ps(*sum, broadcast_pair(pair), right);
            }
        }
        sums
    }

    fn pairs_of(numbers: &[u16]) -> &[[u16; 2]] {
        numbers.as_chunks().0
    }

    impl Scratch {
        fn fill(&mut self, row: &Row<'_>, columns: &Range<usize>, tokens: usize, width: usize) {
            let head = columns.len();
            let nothing = vec![0; head];
            let of = |token: usize| token * row.hidden + columns.start..token * row.hidden + columns.end;
            self.keys.resize(head / 2 * width / LANES, [0; LANES]);
            for token in 0..tokens {
                let keys = &mut self.keys[token / LANES * (head / 2)..][..head / 2];
                for (keys, &[low, high]) in keys.iter_mut().zip(pairs_of(&row.keys[of(token)])) {
                    keys[token % LANES] = pair(low, high);
                }
            }
            self.values.resize(width / 2 * head / LANES, [0; LANES]);
            for at in 0..width / 2 {
                let value = |token: usize| if token < tokens { &row.values[of(token)] } else { &nothing[..] };
                let (low, high) = (value(2 * at).chunks_exact(LANES), value(2 * at + 1).chunks_exact(LANES));
                for (values, (low, high)) in self.values.chunks_exact_mut(width / 2).zip(low.zip(high)) {
                    values[at] = std::array::from_fn(|lane| pair(low[lane], high[lane]));
                }
            }
            self.scores.resize(QUERIES * width, 0.0);
            self.weights.resize(QUERIES * width, 0);
        }
    }

    /// Mask of the lanes in use if `left` numbers remain.
    const fn lanes(left: usize) -> u16 {
        if left >= LANES { u16::MAX } else { (1 << left) - 1 }
    }

    /// exp of each number, all of them at most 0, with a relative error of 1e-6; 0 below -87. Source: Cody and Waite
    /// (1980), "Software manual for the elementary functions", chapter 6, with Taylor's polynomial.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn exp(numbers: __m512) -> __m512 {
        let is_there = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(numbers, _mm512_set1_ps(-87.0));
        let twos = _mm512_roundscale_ps::<0>(_mm512_mul_ps(numbers, _mm512_set1_ps(std::f32::consts::LOG2_E)));
        // ln 2 in two parts whose products with whole numbers are exact.
        let rest = _mm512_fnmadd_ps(twos, _mm512_set1_ps(0.693_359_4), numbers);
        let rest = _mm512_fnmadd_ps(twos, _mm512_set1_ps(-2.121_944_4e-4), rest);
        let mut power = _mm512_set1_ps(1.0 / 720.0);
        for factor in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            power = _mm512_fmadd_ps(power, rest, _mm512_set1_ps(factor));
        }
        _mm512_maskz_scalef_ps(is_there, power, twos)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(numbers: &[f32; LANES]) -> __m512 {
        // SAFETY: the slice is as long as the vector.
        unsafe { _mm512_loadu_ps(numbers.as_ptr()) }
    }

    /// The first numbers of a slice that is at least as long as the vector.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load_at(numbers: &[f32]) -> __m512 {
        load(numbers.first_chunk().expect("room for a vector"))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn store(numbers: &mut [f32], vector: __m512) {
        assert_eq!(numbers.len(), LANES);
        // SAFETY: the slice is as long as the vector.
        unsafe { _mm512_storeu_ps(numbers.as_mut_ptr(), vector) };
    }

    /// Rounds to bf16 and stores.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn store_halves(halves: &mut [u16], vector: __m512) {
        assert_eq!(halves.len(), LANES);
        // SAFETY: both are 16 numbers of 16 bits.
        let rounded: __m256i = unsafe { std::mem::transmute(_mm512_cvtneps_pbh(vector)) };
        // SAFETY: the slice is as long as the vector.
        unsafe { _mm256_storeu_si256(halves.as_mut_ptr().cast(), rounded) };
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn load_pairs(pairs: &[u32; LANES]) -> __m512bh {
        // SAFETY: the slice is as long as the vector, which is 32 numbers of 16 bits.
        unsafe { std::mem::transmute(_mm512_loadu_si512(pairs.as_ptr().cast())) }
    }

    /// A vector of copies of one pair.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn broadcast_pair(pair: [u16; 2]) -> __m512bh {
        // SAFETY: two numbers of 16 bits have the size of one of 32 bits.
        let bits = _mm512_set1_epi32(unsafe { std::mem::transmute::<[u16; 2], i32>(pair) });
        // SAFETY: both are 32 numbers of 16 bits.
        unsafe { std::mem::transmute(bits) }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::seeded;
    use tch::{Device, Kind};

    /// Compares with the formula in fp32: weights and results are rounded to bf16, 8 bits.
    #[test]
    #[expect(clippy::print_stderr, reason = "skipped tests are reported")]
    fn it_is_the_formula() {
        let _turn = seeded(1);
        for (lengths, heads, head) in [(vec![1, 2, 5, 16, 17, 33], 3, 32), (vec![300, 1], 2, 64), (vec![40], 1, 16)] {
            if !is_available(head) {
                eprintln!("SKIPPED: this CPU has no instructions for attention in bf16");
                return;
            }
            let mut rows: Vec<Range<usize>> = Vec::new();
            for length in lengths {
                let start = rows.last().map_or(0, |row| row.end);
                rows.push(start..start + length);
            }
            let tokens = rows.last().map_or(0, |row| row.end) as i64;
            let states = || Tensor::randn([tokens + 3, heads * head], (Kind::Float, Device::Cpu)) * 2.0;
            let [query, key, value] = std::array::from_fn(|_| states().to_kind(Kind::BFloat16));
            let width = rows.iter().map(Range::len).max().unwrap_or(0);
            let distances = Tensor::arange_start(1 - width as i64, width as i64, (Kind::Int64, Device::Cpu));
            let learned = Tensor::randn([heads, 2 * width as i64 - 1], (Kind::Float, Device::Cpu));
            let near = |reach| {
                let far = distances.abs().gt(reach as i64).unsqueeze(0);
                far.zeros_like().to_kind(Kind::Float).masked_fill(&far, f64::NEG_INFINITY)
            };
            let cases = [(None, None), (Some(learned), None), (Some(near(3)), Some(3)), (Some(near(40)), Some(40))];
            for (terms, reach) in cases {
                let by_distance = terms.as_ref().map(|terms| ByDistance::new(terms, width, reach));
                let found = attend([&query, &key, &value], &rows, heads, by_distance.as_ref());
                assert_eq!(found.narrow(0, tokens, 3).abs().max().double_value(&[]), 0.0);
                for row in &rows {
                    let of_row = |states: &Tensor| {
                        let states = states.narrow(0, row.start as i64, row.len() as i64).to_kind(Kind::Float);
                        states.view([-1, heads, head]).transpose(0, 1)
                    };
                    let mut scores = of_row(&query).matmul(&of_row(&key).transpose(1, 2)) / (head as f64).sqrt();
                    if let Some(terms) = &terms {
                        let places = Tensor::arange(row.len() as i64, (Kind::Int64, Device::Cpu));
                        let apart = places.unsqueeze(0) - places.unsqueeze(1) + (width as i64 - 1);
                        let length = row.len() as i64;
                        scores += terms.index_select(1, &apart.view(-1)).view([-1, length, length]);
                    }
                    let gap = scores.softmax(-1, None).matmul(&of_row(&value)) - of_row(&found);
                    let what = format!("{row:?}, {heads} heads of {head}, reach {reach:?}");
                    // The fewer the keys, the larger the means, and what their rounding loses.
                    let bound = if reach.is_some() { 0.06 } else { 0.02 };
                    assert!(gap.abs().max().double_value(&[]) < bound, "{what}");
                }
            }
        }
    }
}
