//! The network interfaces that a first packet passes on its way: whose groups are asked, and in
//! whose flow logs its flow appears.

use crate::tuple::Tuple;
use crate::vpc::{EniIx, TrafficDirection};

/// Two for each function, and the interfaces at both ends.
const MOST: usize = 2 * crate::flow::table::MAX_FUNCTIONS + 2;

/// A packet passes an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    /// The interface.
    pub eni: EniIx,
    /// Which way.
    pub direction: TrafficDirection,
    /// The addresses that the packet has there.
    pub tuple: Tuple,
}

/// All of them, in their order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passages {
    len: u8,
    all: [Option<Passage>; MOST],
    /// By place, a bit each: whether an internet gateway is next to the interface on the way.
    by_internet_gateway: u8,
    /// Whether the packet comes from an internet gateway to the next one.
    from_internet_gateway: bool,
}

impl Passages {
    /// Adds one. A walk comes by no more than there is room for: it ends at one function too many.
    pub fn push(&mut self, passage: Passage) {
        if let Some(place) = self.all.get_mut(usize::from(self.len)) {
            *place = Some(passage);
            if std::mem::take(&mut self.from_internet_gateway) {
                self.by_internet_gateway |= 1 << self.len;
            }
            self.len += 1;
        }
    }

    /// The packet goes through an internet gateway: the interface it has left is before it, the
    /// one it comes to behind.
    pub fn through_internet_gateway(&mut self) {
        if let Some(last) = self.len.checked_sub(1) {
            self.by_internet_gateway |= 1 << last;
        }
        self.from_internet_gateway = true;
    }

    pub fn iter(&self) -> impl Iterator<Item = &Passage> {
        self.all.iter().flatten()
    }

    /// Each with whether an internet gateway is next to the interface on the way.
    pub fn with_gateways(&self) -> impl Iterator<Item = (&Passage, bool)> {
        self.iter().zip(0..).map(|(it, place)| (it, self.by_internet_gateway & 1 << place != 0))
    }
}
