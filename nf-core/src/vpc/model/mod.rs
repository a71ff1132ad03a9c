//! The resources of a snapshot: what the document says, with references resolved to indices,
//! defaults filled in and texts parsed.
//!
//! An index is good for the snapshot that gave it out and no other; what lives longer than a
//! snapshot keeps the resource's id.

mod flow_log;
mod function;
mod instance;
mod interface;
mod security_group;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::id::{RouteTableId, SubnetId, UplinkId, VpcId};
use super::lpm::Lpm;

pub use flow_log::{AggregationInterval, FlowLog};
pub use function::{
    Bridge, HealthCheck, Listener, LoadBalancer, LoadBalancerNode, Mapping, NatAddress, NatGateway,
    Target, TargetGroup, Translation,
};
pub use instance::Instance;
pub use interface::{Attachment, Eni, InterfaceType, Owner, PublicAddress, TrafficDirection};
pub use security_group::{Admission, SecurityGroup};
pub(in crate::vpc) use security_group::{Peer, Request, Rules, Service};

macro_rules! indices {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);

        impl $name {
            /// The place of an element in its array.
            pub(in crate::vpc) const fn at(place: usize) -> Self {
                Self(place as u32)
            }

            pub(in crate::vpc) const fn place(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

indices! {
    /// A [`Vpc`] of a snapshot.
    VpcIx;
    /// A [`Subnet`] of a snapshot.
    SubnetIx;
    /// A [`RouteTable`] of a snapshot.
    RouteTableIx;
    /// An [`Uplink`] of a snapshot.
    UplinkIx;
    /// An [`Eni`] of a snapshot.
    EniIx;
    /// An [`Instance`] of a snapshot.
    InstanceIx;
    /// A [`SecurityGroup`] of a snapshot.
    SecurityGroupIx;
    /// A [`NatGateway`] of a snapshot.
    NatGatewayIx;
    /// A [`LoadBalancer`] of a snapshot.
    LoadBalancerIx;
    /// A [`TargetGroup`] of a snapshot.
    TargetGroupIx;
    /// A [`Bridge`] of a snapshot.
    BridgeIx;
    /// A [`FlowLog`] of a snapshot.
    FlowLogIx;
}

/// What a Linux interface is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PortRole {
    /// It leads to the instance of one network interface.
    Eni(EniIx),
    /// It is the segment of a subnet.
    Segment(SubnetIx),
    /// It leads to the outside world.
    Uplink(UplinkIx),
    /// It leads to an instance, and no network interface is attached where it does.
    Vacant(InstanceIx),
}

/// An isolated address space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vpc {
    /// `vpc-…`
    pub id: VpcId,
    /// IPv4 addresses.
    pub cidr: Ipv4Net,
    /// IPv6 addresses.
    pub ipv6_cidr: Option<Ipv6Net>,
    /// The account it belongs to.
    pub owner_id: Box<str>,
    /// What is behind its internet gateway, if it has one.
    pub uplink: Option<UplinkIx>,
}

impl Vpc {
    /// Whether `address` is one of the VPC's.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.cidr.contains(&address),
            IpAddr::V6(address) => self.ipv6_cidr.is_some_and(|cidr| cidr.contains(&address)),
        }
    }

    /// Its blocks, IPv4 first.
    pub(in crate::vpc) fn blocks(&self) -> impl Iterator<Item = IpNet> {
        [Some(IpNet::V4(self.cidr)), self.ipv6_cidr.map(IpNet::V6)].into_iter().flatten()
    }

    /// Its IPv6 block, if the internet routes it and the VPC has an internet gateway.
    pub(in crate::vpc) fn public_ipv6(&self) -> Option<Ipv6Net> {
        self.ipv6_cidr.filter(|block| self.uplink.is_some() && is_global_unicast(block.network()))
    }
}

/// Whether `address` is in `2000::/3`, the only part of the IPv6 space that the internet routes
/// (IANA's global unicast allocation).
pub(in crate::vpc) fn is_global_unicast(address: Ipv6Addr) -> bool {
    address.segments()[0] >> 13 == 0b001
}

/// A part of a VPC's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// `subnet-…`
    pub id: SubnetId,
    /// The VPC it is a part of.
    pub vpc: VpcIx,
    /// IPv4 addresses.
    pub cidr: Ipv4Net,
    /// IPv6 addresses.
    pub ipv6_cidr: Option<Ipv6Net>,
    /// Its route table.
    pub route_table: RouteTableIx,
    /// The Linux interface that is its segment.
    pub port: Option<Box<str>>,
    /// The zone it is in.
    pub availability_zone: Box<str>,
}

impl Subnet {
    /// How many addresses at the start of a block are reserved; the last one is as well.
    const RESERVED_FIRST: u8 = 4;

    /// The router's IPv4 address, which the gateway answers for: the network's plus one.
    #[must_use]
    pub fn router_v4(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.cidr.network().to_bits() | 1)
    }

    /// The router's IPv6 address beside the port's link-local one: the network's plus one.
    #[must_use]
    pub fn router_v6(&self) -> Option<Ipv6Addr> {
        self.ipv6_cidr.map(|cidr| Ipv6Addr::from_bits(cidr.network().to_bits() | 1))
    }

    /// Whether `address` is the router's.
    #[must_use]
    pub fn is_router(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => address == self.router_v4(),
            IpAddr::V6(address) => Some(address) == self.router_v6(),
        }
    }

    /// Whether `address` is one of the subnet's.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.block_of(address).is_some_and(|block| block.contains(&address))
    }

    /// Whether `address` is one of the five that no interface can have in either block (EC2: the
    /// first four and the last).
    #[must_use]
    pub fn is_reserved(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => {
                let network = self.cidr.network().to_bits();
                let first_free = network + u32::from(Self::RESERVED_FIRST);
                (network..first_free).contains(&address.to_bits())
                    || address == self.cidr.broadcast()
            }
            IpAddr::V6(address) => self.ipv6_cidr.is_some_and(|cidr| {
                let network = cidr.network().to_bits();
                let first_free = network + u128::from(Self::RESERVED_FIRST);
                (network..first_free).contains(&address.to_bits()) || address == cidr.broadcast()
            }),
        }
    }

    /// Its blocks, IPv4 first.
    pub(in crate::vpc) fn blocks(&self) -> impl Iterator<Item = IpNet> {
        [Some(IpNet::V4(self.cidr)), self.ipv6_cidr.map(IpNet::V6)].into_iter().flatten()
    }

    /// The block of the family of `address`.
    pub(in crate::vpc) fn block_of(&self, address: IpAddr) -> Option<IpNet> {
        match address {
            IpAddr::V4(_) => Some(IpNet::V4(self.cidr)),
            IpAddr::V6(_) => self.ipv6_cidr.map(IpNet::V6),
        }
    }
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteTarget {
    /// Straight to the destination, inside the VPC.
    Local,
    /// Out of the VPC's internet gateway by this uplink.
    InternetGateway(UplinkIx),
    /// To this interface; a NAT gateway stands as its managed one.
    Eni(EniIx),
    /// Nowhere: the target is gone.
    Blackhole,
}

/// One route of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destinations it is for.
    pub destination: IpNet,
    /// Where it leads.
    pub target: RouteTarget,
}

/// A route table, ready for look-ups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTable {
    /// `rtb-…`, or `None` for the table of subnets that have none: local routes only.
    pub id: Option<RouteTableId>,
    /// The VPC whose subnets use it.
    pub vpc: VpcIx,
    /// Its routes: the local ones, then the document's in their order.
    pub routes: Vec<Route>,
    pub(in crate::vpc) by_prefix: Lpm<RouteTarget>,
}

/// A Linux interface toward the outside world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// `uplink-…`
    pub id: UplinkId,
    /// The interface.
    pub port: Box<str>,
    /// The gateway's own addresses on the link, with the link's prefix lengths.
    pub addresses: Vec<IpNet>,
    /// The IPv4 next hop of destinations off the link.
    pub gateway_v4: Option<Ipv4Addr>,
    /// The IPv6 next hop of destinations off the link; may be link-local.
    pub gateway_v6: Option<Ipv6Addr>,
    /// Whether packets for none of the gateway's addresses are left to the host's stack.
    pub share_with_host: bool,
}

impl Uplink {
    /// Whether `address` is on the link itself.
    #[must_use]
    pub fn is_on_link(&self, address: IpAddr) -> bool {
        let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        link_local || self.addresses.iter().any(|own| own.contains(&address))
    }

    /// The address to ask for when sending to `destination`: itself on the link, else the gateway
    /// of its family.
    #[must_use]
    pub fn next_hop(&self, destination: IpAddr) -> Option<IpAddr> {
        if self.is_on_link(destination) {
            return Some(destination);
        }
        match destination {
            IpAddr::V4(_) => self.gateway_v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.gateway_v6.map(IpAddr::V6),
        }
    }

    /// The gateway's own address to speak to `peer` from: the one on the peer's network, else the
    /// first of its family.
    #[must_use]
    pub fn source_for(&self, peer: IpAddr) -> Option<IpAddr> {
        let same_family =
            || self.addresses.iter().filter(|own| own.addr().is_ipv4() == peer.is_ipv4());
        same_family()
            .find(|own| own.contains(&peer))
            .or_else(|| same_family().next())
            .map(IpNet::addr)
    }

    /// Whether `address` is the gateway's own on this link.
    #[must_use]
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.addr() == address)
    }
}
