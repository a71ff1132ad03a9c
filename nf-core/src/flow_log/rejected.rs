//! Packets that security groups did not let through, added up in one window. No flow comes of them,
//! and whoever sends them chooses their addresses: so there is room for so many and no more.

use std::collections::HashMap;
use std::sync::Arc;

use super::interfaces::InterfaceNumber;
use super::record::told_flags;
use crate::time::Time;
use crate::tuple::Tuple;
use crate::vpc::TrafficDirection;

/// Rejected flows of one window at the most.
const CAPACITY: usize = 4096;

/// A packet that was rejected at an interface.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rejection<'a> {
    /// Which way it would have passed.
    pub direction: TrafficDirection,
    /// Its addresses there.
    pub tuple: Tuple,
    /// Its addresses as the gateway received it.
    pub received: Tuple,
    /// The execution environment that sent it.
    pub environment: Option<&'a Arc<str>>,
    /// Bytes of the IP packet.
    pub bytes: u64,
    /// Packets; more than one for a super-packet.
    pub packets: u64,
    /// The TCP header's flags byte.
    pub tcp_flags: u8,
}

/// What packets have in common that are told of together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Alike {
    pub interface: InterfaceNumber,
    pub direction: TrafficDirection,
    pub tuple: Tuple,
}

/// What there was of them.
#[derive(Clone, Debug)]
pub(super) struct Sum {
    pub received: Tuple,
    pub environment: Option<Arc<str>>,
    pub packets: u64,
    pub bytes: u64,
    /// As EC2 tells them.
    pub tcp_flags: u8,
    pub first: Time,
    pub last: Time,
}

/// What came of adding a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It is the first of its kind.
    First,
    /// It is one more.
    More,
    /// There was no room.
    NoRoom,
}

/// Rejected packets of one window.
#[derive(Debug)]
pub(super) struct Rejected(HashMap<Alike, Sum, ahash::RandomState>);

impl Rejected {
    /// None yet, and no memory.
    pub fn new(hasher: &ahash::RandomState) -> Self {
        Self(HashMap::with_hasher(hasher.clone()))
    }

    pub fn add(&mut self, now: Time, interface: InterfaceNumber, packet: &Rejection<'_>) -> Added {
        let Rejection { direction, tuple, .. } = *packet;
        let alike = Alike { interface, direction, tuple };
        if let Some(sum) = self.0.get_mut(&alike) {
            sum.packets += packet.packets;
            sum.bytes += packet.bytes;
            sum.tcp_flags |= told_flags(packet.tcp_flags);
            sum.last = now;
            return Added::More;
        }
        if self.0.len() == CAPACITY {
            return Added::NoRoom;
        }
        let sum = Sum {
            received: packet.received,
            environment: packet.environment.cloned(),
            packets: packet.packets,
            bytes: packet.bytes,
            tcp_flags: told_flags(packet.tcp_flags),
            first: now,
            last: now,
        };
        self.0.insert(alike, sum);
        Added::First
    }

    /// All of them, in no order.
    pub fn take(&mut self) -> impl Iterator<Item = (Alike, Sum)> + use<> {
        let hasher = self.0.hasher().clone();
        std::mem::replace(&mut self.0, HashMap::with_hasher(hasher)).into_iter()
    }
}
