//! A flow as the table stores it: one cache line.
//!
//! Most flows are IPv4, and both their keys fit into the record. The keys of others stand in a slab
//! beside the records, which they name the place in.

use slab::Slab;

use super::key::{Key4, PackedKey};
use super::table::{Claims, Flow};
use super::tracking::Tracking;
use crate::fast_path::Direction;
use crate::id::{AdjacencyId, Generation};
use crate::time::Time;

/// Both keys of a flow that is not IPv4: the forward one, the reverse one.
pub(super) type WideKeys = Slab<[PackedKey; 2]>;

/// A place in the table, vacant or with a flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// By direction. Of a wide flow the first one is [`Key4::of_place`] of the keys in the slab.
    keys: [Key4; 2],
    kind: Kind,
    /// By direction.
    out: [u16; 2],
    pub(super) generation: Generation,
    pub(super) claims: Claims,
    /// In units of 2^26 ns, 67 ms: 32 bits of them last for nine years.
    since: u32,
    /// The place of its idle times among those that are known.
    pub(super) timeouts: u16,
    /// SYN, FIN and RST that user space has been told of, or-ed: the forward direction's in the low
    /// half, the reverse one's in the high half. The highest bit of each half, which none of these
    /// three has, says whether the source's end and the destination's are tracked.
    flags: u8,
}

/// Beside the keys, not around them: an enum's tag would cost four bytes, and the cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Vacant,
    Narrow,
    Wide,
}

const _: () = assert!(size_of::<Record>() == 64, "a million flows feel every byte");

const SINCE_SHIFT: u32 = 26;

/// FIN, SYN and RST of one direction in [`Record::flags`].
const TCP_FLAGS: u8 = 0x07;
/// The source's end is tracked.
const SOURCE_TRACKED: u8 = 0x08;
/// The destination's is.
const DESTINATION_TRACKED: u8 = 0x80;

impl Record {
    pub(super) const VACANT: Self = Self {
        keys: [Key4::of_place(0); 2],
        kind: Kind::Vacant,
        out: [0; 2],
        generation: Generation(0),
        claims: Claims::NONE,
        since: 0,
        timeouts: 0,
        flags: 0,
    };

    /// Of a flow whose keys are these, by direction.
    pub(super) fn new(
        flow: &Flow,
        keys: &[PackedKey; 2],
        timeouts: u16,
        wide: &mut WideKeys,
    ) -> Self {
        let (kind, keys) = match *keys {
            [PackedKey::V4(forward), PackedKey::V4(reverse)] => (Kind::Narrow, [forward, reverse]),
            keys => {
                let place = wide.insert(keys) as u32;
                (Kind::Wide, [Key4::of_place(place); 2])
            }
        };
        let mut record = Self {
            keys,
            kind,
            generation: flow.generation,
            claims: flow.claims,
            since: (flow.since.as_nanos() >> SINCE_SHIFT) as u32,
            timeouts,
            ..Self::VACANT
        };
        record.set_out(flow.forward_out, flow.reverse_out);
        record.set_tracking(flow.tracking);
        record
    }

    pub(super) fn is_vacant(&self) -> bool {
        self.kind == Kind::Vacant
    }

    /// Whether its keys are in the slab.
    pub(super) fn is_wide(&self) -> bool {
        self.kind == Kind::Wide
    }

    /// Makes the place vacant; its keys leave the slab.
    pub(super) fn clear(&mut self, wide: &mut WideKeys) {
        if self.is_wide() {
            wide.try_remove(self.keys[0].place());
        }
        *self = Self::VACANT;
    }

    /// Whether this is the key of that direction.
    pub(super) fn has_key(&self, direction: Direction, key: &PackedKey, wide: &WideKeys) -> bool {
        match (self.kind, key) {
            (Kind::Narrow, PackedKey::V4(key)) => self.keys[direction as usize] == *key,
            (Kind::Wide, key) => self.key(direction, wide) == Some(*key),
            (Kind::Vacant | Kind::Narrow, _) => false,
        }
    }

    /// The key of one direction; `None` of a vacant place.
    pub(super) fn key(&self, direction: Direction, wide: &WideKeys) -> Option<PackedKey> {
        match self.kind {
            Kind::Vacant => None,
            Kind::Narrow => Some(PackedKey::V4(self.keys[direction as usize])),
            Kind::Wide => wide.get(self.keys[0].place()).map(|keys| keys[direction as usize]),
        }
    }

    /// Where its packets leave.
    pub(super) const fn out(&self, direction: Direction) -> AdjacencyId {
        AdjacencyId(self.out[direction as usize] as u32)
    }

    /// Slots are numbered below [`crate::neighbour::Neighbours::MOST`], which fits.
    pub(super) const fn set_out(&mut self, forward: AdjacencyId, reverse: AdjacencyId) {
        self.out = [forward.0 as u16, reverse.0 as u16];
    }

    pub(super) const fn since(&self) -> Time {
        Time::from_nanos((self.since as u64) << SINCE_SHIFT)
    }

    /// Which of its ends are tracked.
    pub(super) const fn tracking(&self) -> Tracking {
        Tracking {
            source: self.flags & SOURCE_TRACKED != 0,
            destination: self.flags & DESTINATION_TRACKED != 0,
        }
    }

    pub(super) const fn set_tracking(&mut self, tracking: Tracking) {
        self.flags &= !(SOURCE_TRACKED | DESTINATION_TRACKED);
        if tracking.source {
            self.flags |= SOURCE_TRACKED;
        }
        if tracking.destination {
            self.flags |= DESTINATION_TRACKED;
        }
    }

    /// Adds TCP flags that went one way, and returns all of them, by direction.
    pub(super) const fn note_tcp_flags(&mut self, direction: Direction, flags: u8) -> [u8; 2] {
        self.flags |= (flags & TCP_FLAGS) << (4 * direction as u8);
        [self.flags & TCP_FLAGS, self.flags >> 4 & TCP_FLAGS]
    }
}
