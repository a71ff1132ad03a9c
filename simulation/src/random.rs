//! Every choice of a run, from one seed.

use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// A stream of choices.
pub(crate) struct Random(ChaCha12Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha12Rng::seed_from_u64(seed))
    }

    /// A number below `end`, which is not zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        // The bias is far below what any choice here could show.
        (self.0.next_u64() % end as u64) as usize
    }

    /// True so many times in a thousand.
    pub(crate) fn chance(&mut self, per_mille: usize) -> bool {
        self.below(1000) < per_mille
    }

    /// One of these, of which there is at least one.
    pub(crate) fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A time between two numbers of milliseconds.
    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        let nanos = (to - from) * 1_000_000;
        Duration::from_millis(from) + Duration::from_nanos(self.0.next_u64() % nanos)
    }

    pub(crate) fn number(&mut self) -> u32 {
        self.0.next_u32()
    }
}
