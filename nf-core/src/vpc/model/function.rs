//! What the network functions work from: NAT gateways, load balancers, target groups, bridges.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use super::{EniIx, SubnetIx, TargetGroupIx, VpcIx};
use crate::flow::Timeouts;
use crate::lease::PortRange;
use crate::nat64::Nat64Prefix;
use crate::tuple::Protocol;
use crate::vpc::document::{
    ConnectivityType, ExhaustionReply, FilteringBehavior, ForwardedFragments, Scheme,
};
use crate::vpc::id::{BridgeId, LoadBalancerName, NatGatewayId, TargetGroupName};

/// What decides the address and port that a function translates a flow's source to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// The flow: a port is unique for each destination.
    Symmetric,
    /// The source alone: a port is unique altogether, and others may send to it as far as this lets
    /// them.
    EndpointIndependent(FilteringBehavior),
}

/// How a function that leases ports does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// What decides the external address and port.
    pub mapping: Mapping,
    /// How long flows live.
    pub timeouts: Timeouts,
    /// External ports and echo identifiers.
    pub port_range: PortRange,
    /// How long a released port rests before it is used again toward the same destination.
    pub port_quarantine: Duration,
    /// The most ports that one client may hold.
    pub max_ports_per_client: Option<u32>,
    /// What the sender of a first packet gets when there is no port for its flow.
    pub exhaustion_reply: ExhaustionReply,
    /// Which packets in fragments go on.
    pub fragments: ForwardedFragments,
}

impl Translation {
    /// Whether fragments of a protocol's packets go on.
    #[must_use]
    pub const fn forwards_fragments(&self, protocol: Protocol) -> bool {
        match self.fragments {
            ForwardedFragments::All => true,
            ForwardedFragments::Udp => matches!(protocol, Protocol::Udp),
        }
    }
}

/// An address that a NAT gateway translates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NatAddress {
    /// Its address inside the VPC, which translated packets carry up to the internet gateway.
    pub private_ip: IpAddr,
    /// The Elastic IP address that the internet gateway puts in its place.
    pub public_ip: Option<IpAddr>,
    /// Whether it is on its way out: flows that there are go on, and no new ones leave from it.
    pub is_draining: bool,
}

/// A NAT gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatGateway {
    /// `nat-…`
    pub id: NatGatewayId,
    /// Its managed interface.
    pub eni: EniIx,
    /// The interface's subnet.
    pub subnet: SubnetIx,
    /// The subnet's VPC.
    pub vpc: VpcIx,
    /// Whether it leads to the internet.
    pub connectivity_type: ConnectivityType,
    /// What it translates to, in the order of the document: a public gateway to every address with
    /// an Elastic IP address, a private one to all of its private addresses.
    pub addresses: Vec<NatAddress>,
    /// What IPv6 addresses that stand for IPv4 ones begin with.
    pub nat64_prefixes: Vec<Nat64Prefix>,
    /// Idle times and ports.
    pub translation: Translation,
}

/// One node of a load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadBalancerNode {
    /// Its managed interface.
    pub eni: EniIx,
    /// The interface's subnet.
    pub subnet: SubnetIx,
}

/// One protocol and port that a load balancer takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port, host byte order.
    pub port: u16,
    /// Where it forwards to.
    pub target_group: TargetGroupIx,
    /// Time without a packet after which a flow is forgotten.
    pub idle_timeout: Duration,
}

/// A network load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancer {
    /// Its name.
    pub name: LoadBalancerName,
    /// Where its clients are.
    pub scheme: Scheme,
    /// The VPC of its nodes and targets.
    pub vpc: VpcIx,
    /// Its nodes, one a subnet.
    pub nodes: Vec<LoadBalancerNode>,
    /// What it listens on, in the document's order.
    pub listeners: Vec<Listener>,
}

impl LoadBalancer {
    /// The listener on a protocol and port. There are at most 50.
    #[must_use]
    pub fn listener(&self, protocol: Protocol, port: u16) -> Option<&Listener> {
        self.listeners.iter().find(|it| it.protocol == protocol && it.port == port)
    }
}

/// How targets are probed: a TCP connection that opens is a passed probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The port to probe, or `None` for each target's own.
    pub port: Option<NonZeroU16>,
    /// From probe to probe.
    pub interval: Duration,
    /// After which a probe has failed; at most the interval.
    pub timeout: Duration,
    /// Passed probes in a row after which an unhealthy target is healthy.
    pub healthy_threshold: u32,
    /// Failed probes in a row after which a target is unhealthy.
    pub unhealthy_threshold: u32,
}

/// One target of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its address, in the group's VPC or private.
    pub ip: IpAddr,
    /// Its port, host byte order.
    pub port: u16,
    /// Its share of new flows; 0 gets none.
    pub weight: u32,
}

/// What listeners forward to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroup {
    /// Its name.
    pub name: TargetGroupName,
    /// The VPC of its targets.
    pub vpc: VpcIx,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// How targets are probed.
    pub health_check: HealthCheck,
    /// Its targets, in the document's order; no two have the same address and port.
    pub targets: Vec<Target>,
}

/// A managed interface that execution environments share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// `bridge-…`
    pub id: BridgeId,
    /// Its managed interface.
    pub eni: EniIx,
    /// The interface's subnet.
    pub subnet: SubnetIx,
    /// The subnet's VPC.
    pub vpc: VpcIx,
    /// Idle times and ports.
    pub translation: Translation,
}
