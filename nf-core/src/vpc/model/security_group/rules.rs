//! The rules of one direction of a security group, arranged for first packets.
//!
//! They are gathered by who is at the other end, so that a look-up reads only rules that could
//! matter: first those for everybody, which settle most packets, then those for the networks
//! around the other end's address, then those for the groups that the other end is in. All of them
//! together are a few arrays; interfaces share their groups' and have nothing of their own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::{Range, RangeInclusive};

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

/// A protocol and a destination port or, of an echo, ICMP type, as one number: the services of all
/// protocols stand in one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point(u32);

impl Point {
    const fn of(protocol: Protocol, number: u16) -> Self {
        Self((protocol as u32) << 16 | number as u32)
    }
}

/// What may be sent to a peer or come from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::vpc) struct Service {
    first: Point,
    last: Point,
}

impl Service {
    /// Everything.
    pub const ALL: Self = Self { first: Point(0), last: Point(u32::MAX) };

    /// A range of a protocol's destination ports or ICMP types.
    pub const fn of(protocol: Protocol, numbers: RangeInclusive<u16>) -> Self {
        let (first, last) = (*numbers.start(), *numbers.end());
        Self { first: Point::of(protocol, first), last: Point::of(protocol, last) }
    }

    /// Whether it is all of a protocol.
    fn is_whole(self, protocol: Protocol) -> bool {
        self.first <= Point::of(protocol, 0) && self.last >= Point::of(protocol, u16::MAX)
    }
}

/// Where the services of one peer stand in [`Rules::services`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

/// What every address of a family may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Anyone {
    services: Span,
    /// Of which protocols one rule allows everything.
    whole: Protocols,
}

/// A set of protocols, a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Protocols(u8);

impl Protocols {
    const ALL: [Protocol; 4] = [Protocol::Icmp, Protocol::Tcp, Protocol::Udp, Protocol::Icmpv6];

    const fn has(self, protocol: Protocol) -> bool {
        self.0 >> protocol as u8 & 1 == 1
    }
}

impl FromIterator<Protocol> for Protocols {
    fn from_iter<I: IntoIterator<Item = Protocol>>(protocols: I) -> Self {
        Self(protocols.into_iter().fold(0, |bits, protocol| bits | 1 << protocol as u8))
    }
}

/// The rules of one direction. The same ones in another order come out equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::vpc) struct Rules {
    /// Those of each peer together, in their order and without overlaps.
    services: Box<[Service]>,
    /// `0.0.0.0/0`.
    anyone_v4: Anyone,
    /// `::/0`.
    anyone_v6: Anyone,
    /// All other networks.
    networks: Lpm<Span>,
    /// Groups, by their index.
    groups: Box<[(SecurityGroupIx, Span)]>,
}

impl Rules {
    /// Whether a rule for everybody allows it.
    pub fn allow_anyone(&self, request: &Request) -> bool {
        self.any(self.anyone(request.remote).services, request)
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
    pub const fn are_open(&self, protocol: Protocol, remote: IpAddr) -> bool {
        self.anyone(remote).whole.has(protocol)
    }

    const fn anyone(&self, remote: IpAddr) -> Anyone {
        match remote {
            IpAddr::V4(_) => self.anyone_v4,
            IpAddr::V6(_) => self.anyone_v6,
        }
    }

    fn any(&self, Span { start, end }: Span, request: &Request) -> bool {
        let services = &self.services[Range { start: start as usize, end: end as usize }];
        let point = Point::of(request.protocol, request.number);
        let begun = services.partition_point(|service| service.first <= point);
        services[..begun].last().is_some_and(|service| service.last >= point)
    }
}

impl FromIterator<(Peer, Service)> for Rules {
    fn from_iter<I: IntoIterator<Item = (Peer, Service)>>(rules: I) -> Self {
        let mut by_peer: BTreeMap<Peer, Vec<Service>> = BTreeMap::new();
        for (peer, service) in rules {
            by_peer.entry(peer).or_default().push(service);
        }
        let mut services = Vec::new();
        let mut networks = Vec::new();
        let mut groups = Vec::new();
        let (mut anyone_v4, mut anyone_v6) = (Anyone::default(), Anyone::default());
        for (peer, of_peer) in by_peer {
            let is_whole = |protocol: &Protocol| of_peer.iter().any(|it| it.is_whole(*protocol));
            let whole = Protocols::ALL.into_iter().filter(is_whole).collect();
            let start = services.len() as u32;
            services.extend(merged(of_peer));
            let span = Span { start, end: services.len() as u32 };
            match peer {
                Peer::Network(IpNet::V4(all)) if all.prefix_len() == 0 => {
                    anyone_v4 = Anyone { services: span, whole };
                }
                Peer::Network(IpNet::V6(all)) if all.prefix_len() == 0 => {
                    anyone_v6 = Anyone { services: span, whole };
                }
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

/// The same services in their order, those that overlap as one.
fn merged(mut services: Vec<Service>) -> Vec<Service> {
    services.sort_unstable();
    services.dedup_by(|later, earlier| {
        let overlap = later.first <= earlier.last;
        if overlap {
            earlier.last = earlier.last.max(later.last);
        }
        overlap
    });
    services
}
