//! Weighted Maglev: the table that spreads flows over backends, evenly by weight, alike on every
//! node, and with few flows moved when the set of backends changes.
//!
//! The algorithm is that of Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load
//! Balancer" (NSDI '16), section 3.4: every backend walks the slots in an order of its own and
//! they take turns to claim the next free one. This is exactly what is computed, for another
//! implementation to agree with:
//!
//! - Backends stand in the order of their ids, compared as bytes.
//! - With `h` the SipHash-1-3 of the id under the seed and `m` the number of slots, a backend's
//!   order is `(h + i * skip) mod m` for `i` from 0, where `skip = (h / m) mod (m - 1) + 1` and the
//!   division is rounded down.
//! - Turns are taken by due time, ties by the order of the backends. A backend of weight `w` has
//!   turns due at `0`, `3/w`, `5/w`, `7/w` and so on: as often as its weight says, evenly spread.
//!
//! The paper leaves weights open. Turns in a row, `w` of a time, starve the last backends when a
//! round is longer than the table, and rounds scaled by the greatest weight reorder every turn
//! when that backend leaves. Due times compare two backends by nothing but their own weights, so
//! whoever comes or goes, the others' turns keep their order; that is what keeps their flows in
//! place. Their spacing is the divisor method of Webster, which rounds every share to nearest; the
//! first turn of each is moved up to zero so that the lightest backend still gets a slot.

mod hash;
#[cfg(test)]
mod tests;

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

pub use hash::{HashSeed, flow_hash};

/// What a slot holds: a backend's place in the caller's list. Sixteen bits halve a table of 65,537
/// slots and suffice for [`MaglevTable::MAX_BACKENDS`]; a larger set needs `u32` here and nothing
/// else.
pub type Slot = u16;

/// Marks a slot that is not claimed yet; no finished table has one.
const EMPTY: Slot = Slot::MAX;

/// Why a table could not be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaglevError {
    /// A backend's walk reaches every slot only if their number is prime.
    #[error(
        "a Maglev table cannot have {size} slots: take a prime up to {max}, such as 65537",
        max = TableSize::MAX
    )]
    BadSize {
        /// The number that was asked for.
        size: u32,
    },
    /// More backends than slots, or than a slot can number.
    #[error(
        "{given} backends do not fit a Maglev table that takes {max}: take a larger one or split \
         the set"
    )]
    TooManyBackends {
        /// How many were given.
        given: usize,
        /// How many this table takes.
        max: usize,
    },
    /// Two backends have one id.
    #[error(
        "backends number {first} and {second} of the list have the same id: name each one once"
    )]
    DuplicateId {
        /// The place of one in the caller's list.
        first: usize,
        /// The place of the other.
        second: usize,
    },
}

/// The number of slots of a table: a prime. Shares come within a percent of their weights when
/// there are a hundred times as many slots as backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableSize(u32);

impl TableSize {
    /// The largest number of slots, so that a mistyped one cannot ask for gigabytes.
    pub const MAX: u32 = 1 << 24;
    /// 251 slots.
    pub const S251: Self = Self(251);
    /// 1,021 slots.
    pub const S1021: Self = Self(1_021);
    /// 4,093 slots.
    pub const S4093: Self = Self(4_093);
    /// 16,381 slots.
    pub const S16381: Self = Self(16_381);
    /// 65,537 slots, the paper's choice and the default.
    pub const S65537: Self = Self(65_537);

    /// A table of `size` slots.
    ///
    /// # Errors
    ///
    /// [`MaglevError::BadSize`] if `size` is not a prime up to [`Self::MAX`].
    pub fn new(size: u32) -> Result<Self, MaglevError> {
        if size <= Self::MAX && is_prime(size) {
            Ok(Self(size))
        } else {
            Err(MaglevError::BadSize { size })
        }
    }

    /// The number of slots.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for TableSize {
    fn default() -> Self {
        Self::S65537
    }
}

fn is_prime(n: u32) -> bool {
    n >= 2 && (2..n).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

/// One candidate for the table's slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend<'a> {
    /// What names the backend on every node and for all its life, such as its address and port as
    /// bytes. Its place in the list means nothing.
    pub id: &'a [u8],
    /// Its share in proportion to the other weights. Zero keeps it out of the table.
    pub weight: u32,
}

/// A finished table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaglevTable {
    /// Empty if no backend has a weight.
    slots: Box<[Slot]>,
}

impl MaglevTable {
    /// How many backends a list may have, those of weight zero included.
    pub const MAX_BACKENDS: usize = EMPTY as usize;

    /// Spreads `size` slots over `backends`.
    ///
    /// Every backend with a weight gets a slot, and of all slots its share by weight to within
    /// `1 + n * weight / total` slots, `n` being the number of backends with a weight.
    ///
    /// # Errors
    ///
    /// [`MaglevError::TooManyBackends`] if the list is longer than [`Self::MAX_BACKENDS`] or more
    /// of them have a weight than there are slots; [`MaglevError::DuplicateId`].
    pub fn build(
        size: TableSize,
        seed: HashSeed,
        backends: &[Backend<'_>],
    ) -> Result<Self, MaglevError> {
        if backends.len() > Self::MAX_BACKENDS {
            let max = Self::MAX_BACKENDS;
            return Err(MaglevError::TooManyBackends { given: backends.len(), max });
        }
        let mut order: Vec<Slot> = (0..backends.len()).map(|index| index as Slot).collect();
        order.sort_unstable_by_key(|&index| backends[usize::from(index)].id);
        for pair in order.windows(2) {
            let (first, second) = (usize::from(pair[0]), usize::from(pair[1]));
            if backends[first].id == backends[second].id {
                let (first, second) = (first.min(second), first.max(second));
                return Err(MaglevError::DuplicateId { first, second });
            }
        }
        order.retain(|&index| backends[usize::from(index)].weight > 0);
        let max = size.get() as usize;
        if order.len() > max {
            return Err(MaglevError::TooManyBackends { given: order.len(), max });
        }
        let mut walks: Vec<Walk> = order
            .iter()
            .map(|&index| Walk::new(size, seed, backends[usize::from(index)].id, index))
            .collect();
        let turns = order.iter().zip(0..).map(|(&index, rank)| {
            let weight = u64::from(backends[usize::from(index)].weight);
            Reverse(Turn { halves: 0, weight, rank })
        });
        Ok(Self { slots: fill(size, &mut walks, turns.collect()) })
    }

    /// The backend that a flow with this hash goes to, as its place in the list the table was built
    /// from; none if no backend has a weight.
    #[must_use]
    pub fn lookup(&self, hash: u64) -> Option<usize> {
        let slot = hash.checked_rem(self.slots.len() as u64)?;
        self.slots.get(slot as usize).map(|&index| usize::from(index))
    }

    /// The slots in order, for a copy in the kernel's maps: a flow's is its hash modulo their
    /// number. Empty if no backend has a weight.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }
}

/// One backend's walk through the slots. Only where it stands is kept: the paper's permutation
/// table would take 256 MiB for 1,000 backends.
struct Walk {
    position: u32,
    skip: u32,
    backend: Slot,
}

impl Walk {
    fn new(size: TableSize, seed: HashSeed, id: &[u8], backend: Slot) -> Self {
        let hash = seed.hash(id);
        let slots = u64::from(size.get());
        Self {
            position: (hash % slots) as u32,
            skip: ((hash / slots) % (slots - 1) + 1) as u32,
            backend,
        }
    }

    /// Claims the next free slot of the walk, of which there must be one: the number of slots is
    /// prime, so the walk comes past each.
    fn claim(&mut self, slots: &mut [Slot]) {
        while slots[self.position as usize] != EMPTY {
            self.position += self.skip;
            if self.position as usize >= slots.len() {
                self.position -= slots.len() as u32;
            }
        }
        slots[self.position as usize] = self.backend;
    }
}

/// A backend's next turn, due at `halves / weight`.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Turn {
    halves: u64,
    weight: u64,
    rank: u16,
}

impl Turn {
    fn following(self) -> Self {
        Self { halves: if self.halves == 0 { 3 } else { self.halves + 2 }, ..self }
    }
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        // Crosswise, so that no rounding decides: at most 2^26 halves times a 32-bit weight.
        (self.halves * other.weight)
            .cmp(&(other.halves * self.weight))
            .then(self.rank.cmp(&other.rank))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn fill(size: TableSize, walks: &mut [Walk], mut turns: BinaryHeap<Reverse<Turn>>) -> Box<[Slot]> {
    if walks.is_empty() {
        return Box::default();
    }
    let mut slots = vec![EMPTY; size.get() as usize].into_boxed_slice();
    for _ in 0..slots.len() {
        let Some(mut turn) = turns.peek_mut() else { break };
        walks[usize::from(turn.0.rank)].claim(&mut slots);
        *turn = Reverse(turn.0.following());
    }
    slots
}
