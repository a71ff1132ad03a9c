//! What the fast path counts packets under beside their own flow, so that what a gateway has carried
//! is known without looking at all of its flows.

/// A pair of counters that the packets of many entries add to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MeterId(pub u32);

impl MeterId {
    /// That of entries which are counted nowhere else.
    pub const NONE: Self = Self(0);

    /// How many there are, that one included.
    pub const COUNT: usize = 4096;
}

/// What was counted under a meter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metered {
    /// Packets; a super-packet counts as the segments it stands for.
    pub packets: u64,
    /// Bytes of IP packets as they came in, headers included.
    pub bytes: u64,
}

impl std::ops::AddAssign for Metered {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}
