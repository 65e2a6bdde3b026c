//! Random choices from a ChaCha stream, with our own arithmetic.
//!
//! The distributions of `rand` may change between releases, and `usize` ranges between platforms. The sample is
//! committed and compared byte for byte, so only the cipher is used, whose output its specification fixes.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A stream of random choices.
pub(super) struct Random(ChaCha8Rng);

impl Random {
    /// Stream number `stream` of `seed`; streams are independent.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        // Not `seed_from_u64`: its key derivation belongs to rand, not to ChaCha.
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(stream);
        Self(rng)
    }

    /// A number below `bound`, which must not be 0. The bias is below `bound / 2^32`, which is negligible.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u64::from(self.0.next_u32()) * bound as u64) >> 32) as usize
    }

    /// A number in `low..high`.
    pub(super) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low)
    }

    /// True with a probability of `percent` %.
    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of `items`, which must not be empty.
    pub(super) fn choose<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        &items[self.below(items.len())]
    }

    /// `count` different ones of `items` (all, if there are fewer), in random order.
    pub(super) fn sample<T: Copy>(&mut self, items: &[T], count: usize) -> Vec<T> {
        let mut rest = items.to_vec();
        self.shuffle(&mut rest);
        rest.truncate(count);
        rest
    }

    /// Shuffles `items` (Fisher and Yates).
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
