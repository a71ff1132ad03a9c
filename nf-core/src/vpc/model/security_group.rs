//! Security groups as the packet path asks them: whether any group of an interface lets a first
//! packet through, and whether its flow is tracked then.

mod rules;

use std::net::IpAddr;

use super::{TrafficDirection, VpcIx};
use crate::packet::{icmp, icmpv6};
use crate::tuple::{Protocol, Tuple};
use crate::vpc::id::SecurityGroupId;

pub(in crate::vpc) use rules::{Peer, Rules, Service};

/// A security group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityGroup {
    /// `sg-…`
    pub id: SecurityGroupId,
    /// Its name, unique in its VPC.
    pub name: Box<str>,
    /// Its VPC.
    pub vpc: VpcIx,
    /// What may come in.
    pub(in crate::vpc) ingress: Rules,
    /// What may go out.
    pub(in crate::vpc) egress: Rules,
}

impl SecurityGroup {
    pub(in crate::vpc) const fn rules(&self, direction: TrafficDirection) -> &Rules {
        match direction {
            TrafficDirection::Ingress => &self.ingress,
            TrafficDirection::Egress => &self.egress,
        }
    }
}

/// What the groups of an interface say to a first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Admission {
    /// It may pass. Its flow goes on whatever becomes of the rules.
    Tracked,
    /// It may pass, as anybody's would, both ways. Its flow ends when no rule allows it any more.
    Untracked,
    /// It may not.
    Refused,
}

/// What a first packet asks the groups of an interface for.
#[derive(Clone, Copy, Debug)]
pub(in crate::vpc) struct Request {
    pub protocol: Protocol,
    /// The destination port or, of an echo, the ICMP type. Its code is zero.
    pub number: u16,
    /// The other end: who sends what comes in, who is sent what goes out.
    pub remote: IpAddr,
}

impl Request {
    /// What the first packet of `tuple` asks for that passes an interface in `direction`.
    pub fn of(direction: TrafficDirection, tuple: &Tuple) -> Self {
        let remote = match direction {
            TrafficDirection::Ingress => tuple.src,
            TrafficDirection::Egress => tuple.dst,
        };
        // With the identifier zero a reply looks like a request. It is taken for one: that is what
        // first packets are.
        let unasked = tuple.src.port() == 0 && tuple.dst.port() != 0;
        let number = match (tuple.protocol, unasked) {
            (Protocol::Tcp | Protocol::Udp, _) => tuple.dst.port(),
            (Protocol::Icmp, false) => icmp::ECHO_REQUEST.into(),
            (Protocol::Icmp, true) => icmp::ECHO_REPLY.into(),
            (Protocol::Icmpv6, false) => icmpv6::ECHO_REQUEST.into(),
            (Protocol::Icmpv6, true) => icmpv6::ECHO_REPLY.into(),
        };
        Self { protocol: tuple.protocol, number, remote: remote.ip() }
    }
}
