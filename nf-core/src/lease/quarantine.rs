//! Ports that were released and must not be leased again yet.
//!
//! They wait in buckets by the end of their quarantine, rounded up to a granule. There are as many
//! buckets as granules in the longest quarantine at most, a few hundred, so adding a port costs the
//! same for a thousand in quarantine and for ten million, whatever mixture of durations they have;
//! a heap of ports would cost a cache miss per level.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::time::Time;

/// A port of a pool, by the pool's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resting {
    pub pool: u32,
    pub port: u16,
}

/// All ports in quarantine.
#[derive(Default)]
pub struct Quarantine {
    /// By the granule at whose beginning the quarantine is over. No bucket is empty.
    buckets: BTreeMap<u64, Vec<Resting>>,
    len: usize,
}

impl Quarantine {
    const SHIFT: u32 = 28;
    pub const GRANULE: Duration = Duration::from_nanos(1 << Self::SHIFT);

    pub fn push(&mut self, until: Time, resting: Resting) {
        let granule = until.as_nanos().div_ceil(1 << Self::SHIFT);
        self.buckets.entry(granule).or_default().push(resting);
        self.len += 1;
    }

    /// Whether [`Self::pop_due`] has any.
    pub fn is_due(&self, now: Time) -> bool {
        self.buckets.first_key_value().is_some_and(|(&granule, _)| granule <= granule_of(now))
    }

    /// Takes one port whose quarantine is over.
    pub fn pop_due(&mut self, now: Time) -> Option<Resting> {
        let mut bucket = self.buckets.first_entry()?;
        if *bucket.key() > granule_of(now) {
            return None;
        }
        let resting = bucket.get_mut().pop();
        if bucket.get().is_empty() {
            bucket.remove();
        }
        self.len -= usize::from(resting.is_some());
        resting
    }

    /// Takes this port out before its time; whether it was there. Looks at every port there is.
    pub fn remove(&mut self, resting: Resting) -> bool {
        let found = self.buckets.iter().find_map(|(&granule, bucket)| {
            bucket.iter().position(|other| *other == resting).map(|place| (granule, place))
        });
        let Some((granule, place)) = found else { return false };
        if let Some(bucket) = self.buckets.get_mut(&granule) {
            bucket.swap_remove(place);
            if bucket.is_empty() {
                self.buckets.remove(&granule);
            }
        }
        self.len -= 1;
        true
    }

    pub const fn len(&self) -> usize {
        self.len
    }
}

/// The last granule that has begun.
const fn granule_of(now: Time) -> u64 {
    now.as_nanos() >> Quarantine::SHIFT
}
