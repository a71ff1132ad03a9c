//! The network interfaces that a first packet passes on its way: whose groups are asked, and in
//! whose flow logs its flow appears.

use crate::tuple::Tuple;
use crate::vpc::{EniIx, TrafficDirection};

/// Two for each function, and the interfaces at both ends.
const MOST: usize = 2 * crate::flow::table::MAX_FUNCTIONS + 2;

/// A packet passes an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passage {
    /// The interface.
    pub eni: EniIx,
    /// Which way.
    pub direction: TrafficDirection,
    /// The addresses that the packet has there.
    pub tuple: Tuple,
}

/// All of them, in their order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Passages {
    len: u8,
    all: [Option<Passage>; MOST],
}

impl Passages {
    /// Adds one. A walk comes by no more than there is room for: it ends at one function too many.
    pub fn push(&mut self, passage: Passage) {
        if let Some(place) = self.all.get_mut(usize::from(self.len)) {
            *place = Some(passage);
            self.len += 1;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Passage> {
        self.all.iter().flatten()
    }
}
