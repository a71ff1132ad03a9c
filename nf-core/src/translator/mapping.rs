//! Endpoint-independent mappings: one address and port inside, one outside, whoever the peer is
//! (RFC 4787 section 4.1, RFC 5382 section 4.1, RFC 6146 section 3.1 calls the table of them a BIB).
//!
//! A mapping is made by the first flow out of it and lives as long as any flow of it does. It holds
//! one lease, under a destination that stands for all, so no two mappings share a port.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use slab::Slab;

use super::client::ClientNumber;
use crate::lease::{LeaseKey, PortLease};
use crate::tuple::Protocol;

/// A place among the mappings of a realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct MappingNumber(u32);

impl MappingNumber {
    const fn place(self) -> usize {
        self.0 as usize
    }
}

/// What a mapping is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Inside {
    /// The protocol outside.
    pub(super) protocol: Protocol,
    /// The address and port, or echo identifier, that flows of it come from.
    pub(super) client: SocketAddr,
    /// Whether it is seen outside with an IPv4 address: a client with an IPv6 address may have a
    /// mapping of each family.
    pub(super) to_ipv4: bool,
}

/// What it is seen as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Outside {
    protocol: Protocol,
    /// The realm's own address, and the port.
    address: SocketAddr,
}

/// One mapping.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) inside: Inside,
    pub(super) external: SocketAddr,
    pub(super) lease: PortLease,
    pub(super) owner: ClientNumber,
    flows: u32,
}

/// All mappings of a realm.
pub(super) struct Mappings {
    all: Slab<Mapping>,
    by_inside: HashMap<Inside, MappingNumber, ahash::RandomState>,
    by_outside: HashMap<Outside, MappingNumber, ahash::RandomState>,
    /// Flows by mapping and the peer's address: who may send to it.
    peers: HashMap<(MappingNumber, IpAddr), u32, ahash::RandomState>,
}

impl Mappings {
    pub(super) fn new(hasher: &ahash::RandomState) -> Self {
        Self {
            all: Slab::new(),
            by_inside: HashMap::with_hasher(hasher.clone()),
            by_outside: HashMap::with_hasher(hasher.clone()),
            peers: HashMap::with_hasher(hasher.clone()),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn of_inside(&self, inside: &Inside) -> Option<MappingNumber> {
        self.by_inside.get(inside).copied()
    }

    pub(super) fn of_outside(
        &self,
        protocol: Protocol,
        address: SocketAddr,
    ) -> Option<MappingNumber> {
        self.by_outside.get(&Outside { protocol, address }).copied()
    }

    pub(super) fn get(&self, number: MappingNumber) -> Option<&Mapping> {
        self.all.get(number.place())
    }

    /// Adds a mapping without a flow: [`Self::join`] follows. If it is current, it is the one that
    /// new flows of its client have; else only if there is no other.
    pub(super) fn add(
        &mut self,
        inside: Inside,
        external: SocketAddr,
        lease: PortLease,
        owner: ClientNumber,
        is_current: bool,
    ) -> MappingNumber {
        let place = self.all.insert(Mapping { inside, external, lease, owner, flows: 0 });
        let number = MappingNumber(place as u32);
        let for_inside = self.by_inside.entry(inside).or_insert(number);
        if is_current {
            *for_inside = number;
        }
        let outside = Outside { protocol: inside.protocol, address: external };
        self.by_outside.insert(outside, number);
        number
    }

    /// One more flow of a mapping, with this peer.
    pub(super) fn join(&mut self, number: MappingNumber, peer: IpAddr) {
        if let Some(mapping) = self.all.get_mut(number.place()) {
            mapping.flows += 1;
            *self.peers.entry((number, peer)).or_default() += 1;
        }
    }

    /// A flow of it has ended. Its last one takes the mapping along, whose lease is the caller's to
    /// give back.
    pub(super) fn part(&mut self, number: MappingNumber, peer: IpAddr) -> Option<Mapping> {
        let mapping = self.all.get_mut(number.place())?;
        mapping.flows -= 1;
        let is_last = mapping.flows == 0;
        if let Some(flows) = self.peers.get_mut(&(number, peer)) {
            *flows -= 1;
            if *flows == 0 {
                self.peers.remove(&(number, peer));
            }
        }
        if is_last { self.remove_unused(number) } else { None }
    }

    /// Takes out a mapping that no flow has joined, or none is left of.
    pub(super) fn remove_unused(&mut self, number: MappingNumber) -> Option<Mapping> {
        self.get(number).filter(|mapping| mapping.flows == 0)?;
        let mapping = self.all.remove(number.place());
        // It may have a successor, on another address.
        if self.by_inside.get(&mapping.inside) == Some(&number) {
            self.by_inside.remove(&mapping.inside);
        }
        let outside = Outside { protocol: mapping.inside.protocol, address: mapping.external };
        self.by_outside.remove(&outside);
        Some(mapping)
    }

    /// Whether a mapping has a flow with a peer.
    pub(super) fn knows(&self, number: MappingNumber, peer: IpAddr) -> bool {
        self.peers.contains_key(&(number, peer))
    }
}

/// What a mapping's port is unique under: no destination, which stands for all.
pub(super) const fn lease_key(protocol: Protocol, external_ip: IpAddr) -> LeaseKey {
    let anywhere = match external_ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    LeaseKey { protocol, external_ip, destination: SocketAddr::new(anywhere, 0) }
}
