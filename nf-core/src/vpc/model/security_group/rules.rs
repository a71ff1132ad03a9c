//! The rules of one direction of a security group, arranged for first packets.
//!
//! They are gathered by who is at the other end, so that a look-up reads only rules that could
//! matter: first those for everybody, which settle most packets, then those for the networks
//! around the other end's address, then those for the groups that the other end is in. All of them
//! together are a few arrays; interfaces share their groups' and have nothing of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use super::Request;
use crate::tuple::Protocol;
use crate::vpc::lpm::Lpm;
use crate::vpc::model::SecurityGroupIx;

/// Who is at the other end, as far as one rule is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::vpc) enum Peer {
    /// The addresses of a network.
    Network(IpNet),
    /// The interfaces in a group.
    Group(SecurityGroupIx),
}

/// What may be sent to a peer or come from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::vpc) struct Service {
    /// `None` is every protocol.
    protocol: Option<Protocol>,
    /// Destination ports or, of an echo, ICMP types.
    first: u16,
    last: u16,
}

impl Service {
    /// Everything.
    pub const ALL: Self = Self { protocol: None, first: 0, last: u16::MAX };

    /// A range of a protocol's destination ports or ICMP types, both ends included.
    pub const fn of(protocol: Protocol, first: u16, last: u16) -> Self {
        Self { protocol: Some(protocol), first, last }
    }

    fn has(self, protocol: Protocol) -> bool {
        self.protocol.is_none_or(|own| own == protocol)
    }

    fn contains(self, request: &Request) -> bool {
        self.first <= request.number && request.number <= self.last && self.has(request.protocol)
    }

    /// Whether it is all of a protocol.
    fn is_whole(self, protocol: Protocol) -> bool {
        self.first == 0 && self.last == u16::MAX && self.has(protocol)
    }
}

/// Where the services of one peer stand in [`Rules::services`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

/// The rules of one direction. Two that allow the same are equal, however they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::vpc) struct Rules {
    services: Box<[Service]>,
    /// Of `0.0.0.0/0`.
    anyone_v4: Span,
    /// Of `::/0`.
    anyone_v6: Span,
    /// Of all other networks.
    networks: Lpm<Span>,
    /// Of groups, by their index.
    groups: Box<[(SecurityGroupIx, Span)]>,
}

impl Rules {
    /// Whether a rule for everybody allows it.
    pub fn allow_anyone(&self, request: &Request) -> bool {
        self.for_anyone(request.remote).iter().any(|service| service.contains(request))
    }

    /// Whether a rule for a network allows it, everybody's aside.
    pub fn allow_network(&self, request: &Request) -> bool {
        self.networks.matching(request.remote).any(|&span| self.any(span, request))
    }

    /// Whether a rule for one of the groups that the other end is in allows it.
    pub fn allow_member(&self, request: &Request, groups: &[SecurityGroupIx]) -> bool {
        groups.iter().any(|group| {
            let place = self.groups.binary_search_by_key(group, |(ix, _)| *ix);
            place.is_ok_and(|place| self.any(self.groups[place].1, request))
        })
    }

    /// Whether any rule is for a group.
    pub const fn name_groups(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Whether one rule allows everybody of the family of `remote` all of a protocol.
    pub fn are_open(&self, protocol: Protocol, remote: IpAddr) -> bool {
        self.for_anyone(remote).iter().any(|service| service.is_whole(protocol))
    }

    fn for_anyone(&self, remote: IpAddr) -> &[Service] {
        self.at(if remote.is_ipv4() { self.anyone_v4 } else { self.anyone_v6 })
    }

    fn any(&self, span: Span, request: &Request) -> bool {
        self.at(span).iter().any(|service| service.contains(request))
    }

    fn at(&self, Span { start, end }: Span) -> &[Service] {
        &self.services[Range { start: start as usize, end: end as usize }]
    }
}

impl FromIterator<(Peer, Service)> for Rules {
    fn from_iter<I: IntoIterator<Item = (Peer, Service)>>(rules: I) -> Self {
        let mut by_peer: BTreeMap<Peer, BTreeSet<Service>> = BTreeMap::new();
        for (peer, service) in rules {
            by_peer.entry(peer).or_default().insert(service);
        }
        let mut services = Vec::new();
        let mut networks = Vec::new();
        let mut groups = Vec::new();
        let (mut anyone_v4, mut anyone_v6) = (Span::default(), Span::default());
        for (peer, of_peer) in by_peer {
            let start = services.len() as u32;
            services.extend(of_peer);
            let span = Span { start, end: services.len() as u32 };
            match peer {
                Peer::Network(IpNet::V4(all)) if all.prefix_len() == 0 => anyone_v4 = span,
                Peer::Network(IpNet::V6(all)) if all.prefix_len() == 0 => anyone_v6 = span,
                Peer::Network(network) => networks.push((network, span)),
                Peer::Group(group) => groups.push((group, span)),
            }
        }
        Self {
            services: services.into(),
            anyone_v4,
            anyone_v6,
            networks: networks.into_iter().collect(),
            groups: groups.into(),
        }
    }
}
