//! Batches of rows, and the layout of their tokens in the matrix of states.

use super::terms::{Positions, Terms};
use crate::device::cuda::upload;
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// A batch of rows of word pieces, including special tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The rows, each as long as its window. The encoder pads them if needed.
    pub rows: Vec<Vec<u32>>,
}

impl Batch {
    /// Length of the longest row: the width of the padded batch.
    pub fn width(&self) -> usize {
        self.rows.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Number of tokens without padding.
    pub fn tokens(&self) -> usize {
        self.rows.iter().map(Vec::len).sum()
    }
}

/// Layout of a batch's tokens in the matrix of its states, `[places, hidden]`.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Number of rows and width of the longest.
    pub(super) size: [i64; 2],
    pub(super) rows: Rows,
    /// Terms of attention scores that all layers share (MPNet).
    pub(super) terms: Option<Terms>,
    /// What ModernBERT's layers need.
    pub(super) positions: Option<Positions>,
}

#[derive(Debug)]
pub(super) enum Rows {
    /// All rows padded to the longest, which every tensor operation supports.
    Padded {
        /// See [`attention_mask`].
        mask: Option<Tensor>,
    },
    /// Concatenated rows, each as a range of places, for [`attention`](super::attention); unused places follow. oneDNN
    /// compiles and keeps a product of a quarter of a megabyte for each number of places, so only few numbers should
    /// occur.
    Packed { rows: Vec<Range<usize>>, places: usize },
    /// Concatenated rows on a card, in training, too.
    Concatenated {
        /// The place of the first token of each row, and the number of places: `[rows + 1] i32`.
        starts: Tensor,
        /// Where each place is in padded rows, `[places] i64`.
        slots: Tensor,
    },
}

/// The number of places of packed rows is a multiple of this.
const PLACES_STEP: usize = 16;

impl Layout {
    pub(super) fn padded(batch: &Batch, kind: Kind, device: Device) -> Self {
        let mask = attention_mask(batch, kind).map(|mask| upload(&mask, device));
        Self::new(batch, Rows::Padded { mask })
    }

    fn new(batch: &Batch, rows: Rows) -> Self {
        let size = [batch.rows.len() as i64, batch.width() as i64];
        Self { size, rows, terms: None, positions: None }
    }

    pub(super) fn packed(batch: &Batch) -> Self {
        let ends = batch.rows.iter().scan(0, |end, row| {
            *end += row.len();
            Some(*end)
        });
        let rows = ends.zip(&batch.rows).map(|(end, row)| end - row.len()..end).collect();
        let places = batch.tokens().next_multiple_of(PLACES_STEP);
        Self::new(batch, Rows::Packed { rows, places })
    }

    pub(super) fn concatenated(batch: &Batch, device: Device) -> Self {
        let (mut starts, mut slots) = (vec![0], Vec::with_capacity(batch.tokens()));
        for (at, row) in batch.rows.iter().enumerate() {
            let first = (at * batch.width()) as i64;
            slots.extend(first..first + row.len() as i64);
            starts.push(slots.len() as i32);
        }
        let [starts, slots] = [Tensor::from_slice(&starts), Tensor::from_slice(&slots)].map(|all| upload(&all, device));
        Self::new(batch, Rows::Concatenated { starts, slots })
    }

    /// Converts numbers of padded rows, `[batch, tokens, width]`, to `[places, width]`.
    pub(super) fn places(&self, padded: &Tensor) -> Tensor {
        let flat = padded.view([self.size[0] * self.size[1], -1]);
        match &self.rows {
            Rows::Padded { .. } => flat,
            Rows::Concatenated { slots, .. } => flat.index_select(0, slots),
            Rows::Packed { .. } => unreachable!("it is for prediction, which has no such numbers"),
        }
    }

    /// A number for each token, computed from its position in its row and its id; `fill` at places without a token:
    /// `[places] i64`.
    pub(super) fn numbers(&self, batch: &Batch, fill: i64, number: impl Fn(usize, u32) -> i64) -> Tensor {
        let mut all = Vec::new();
        for (at, row) in batch.rows.iter().enumerate() {
            all.extend(row.iter().enumerate().map(|(at, &id)| number(at, id)));
            if let Rows::Padded { .. } = self.rows {
                all.resize((at + 1) * batch.width(), fill);
            }
        }
        if let Rows::Packed { places, .. } = self.rows {
            all.resize(places, fill);
        }
        Tensor::from_slice(&all)
    }

    /// Splits `[places, hidden]` of padded rows into `[batch, heads, tokens, head]`.
    pub(super) fn by_head(&self, states: &Tensor, heads: i64) -> Tensor {
        let [rows, width] = self.size;
        states.view([rows, width, heads, -1]).transpose(1, 2)
    }

    /// Converts `[places, hidden]` to `[batch, tokens, hidden]`; values at padding are undefined.
    pub(crate) fn tokens(&self, states: &Tensor) -> Tensor {
        let [count, width] = self.size;
        match &self.rows {
            Rows::Padded { .. } => states.view([count, width, -1]),
            Rows::Packed { rows, places } => {
                let last = *places as i64 - 1;
                let starts = rows.iter().map(|row| row.start as i64);
                let places: Vec<i64> =
                    starts.flat_map(|start| (start..start + width).map(|place| place.min(last))).collect();
                states.index_select(0, &Tensor::from_slice(&places)).view([count, width, -1])
            }
            // A copy, whose gradient is a choice of rows; that of a choice of rows would be a sum.
            Rows::Concatenated { slots, .. } => {
                let padded = states.new_zeros([count * width, states.size()[1]], (states.kind(), states.device()));
                padded.index_copy(0, slots, states).view([count, width, -1])
            }
        }
    }
}

/// Term added to attention scores, `[batch, 1, 1, tokens]`: 0 on tokens, minus infinity on padding. `None` if no row is
/// padded, since attention then has a faster kernel.
fn attention_mask(batch: &Batch, kind: Kind) -> Option<Tensor> {
    let (rows, width) = (batch.rows.len(), batch.width());
    if batch.rows.iter().all(|row| row.len() == width) {
        return None;
    }
    let mut mask = vec![0f32; rows * width];
    for (row, slots) in batch.rows.iter().zip(mask.chunks_mut(width)) {
        slots[row.len()..].fill(f32::NEG_INFINITY);
    }
    let (rows, width) = (rows as i64, width as i64);
    Some(Tensor::from_slice(&mask).view([rows, 1, 1, width]).to_kind(kind))
}
