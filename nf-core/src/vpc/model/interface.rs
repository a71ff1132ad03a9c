//! Elastic network interfaces: those of instances and those that functions of the gateway own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4AddrRange, Ipv4Net, Ipv6Net};

use super::{BridgeIx, InstanceIx, LoadBalancerIx, NatGatewayIx, SecurityGroupIx, SubnetIx, VpcIx};
use crate::flow::Timeouts;
use crate::packet::MacAddr;
use crate::vpc::document::NetworkInterfaceType;
use crate::vpc::id::{AllocationId, AttachmentId, EniId};

/// What EC2 calls the kind of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InterfaceType {
    /// An instance's.
    Interface,
    /// An instance's whose frames an application takes.
    Efa,
    /// The same without IP.
    EfaOnly,
    /// A NAT gateway's.
    NatGateway,
    /// A network load balancer's.
    NetworkLoadBalancer,
    /// A Lambda bridge's.
    Lambda,
}

impl InterfaceType {
    /// EC2's word, as in `DescribeNetworkInterfaces`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Efa => "efa",
            Self::EfaOnly => "efa-only",
            Self::NatGateway => "natGateway",
            Self::NetworkLoadBalancer => "network_load_balancer",
            Self::Lambda => "lambda",
        }
    }
}

/// Whose packets an interface carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// An instance behind a port.
    Instance,
    /// A NAT gateway.
    NatGateway(NatGatewayIx),
    /// A load balancer.
    LoadBalancer(LoadBalancerIx),
    /// A Lambda bridge.
    Bridge(BridgeIx),
}

impl From<NetworkInterfaceType> for InterfaceType {
    fn from(declared: NetworkInterfaceType) -> Self {
        match declared {
            NetworkInterfaceType::Interface => Self::Interface,
            NetworkInterfaceType::Efa => Self::Efa,
            NetworkInterfaceType::EfaOnly => Self::EfaOnly,
        }
    }
}

/// Which way a packet passes an interface, as seen from the interface's owner. EC2's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrafficDirection {
    /// To the owner.
    Ingress,
    /// From the owner.
    Egress,
}

impl TrafficDirection {
    /// EC2's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    /// The way of the answers.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }
}

impl Owner {
    /// What EC2 calls a managed interface of this owner.
    #[must_use]
    pub const fn interface_type(self) -> InterfaceType {
        match self {
            Self::Instance => InterfaceType::Interface,
            Self::NatGateway(_) => InterfaceType::NatGateway,
            Self::LoadBalancer(_) => InterfaceType::NetworkLoadBalancer,
            Self::Bridge(_) => InterfaceType::Lambda,
        }
    }
}

/// A public address on one of an interface's private addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicAddress {
    /// `eipalloc-…`, or `None` if it is not an Elastic IP address but was given by the subnet.
    pub allocation_id: Option<AllocationId>,
    /// The address inside the VPC.
    pub private_ip: IpAddr,
    /// The address outside, of the same family.
    pub public_ip: IpAddr,
}

/// Where an interface is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// `eni-attach-…`
    pub id: AttachmentId,
    /// The instance.
    pub instance: InstanceIx,
    /// Its place there.
    pub device_index: u16,
    /// The network card.
    pub network_card_index: u16,
    /// Whether it goes when its instance does.
    pub delete_on_termination: bool,
}

impl Attachment {
    /// Whether the interface is its instance's primary one, which cannot be detached.
    #[must_use]
    pub const fn is_primary(&self) -> bool {
        self.device_index == 0 && self.network_card_index == 0
    }
}

/// An elastic network interface: an instance's, or one that a function of the gateway owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eni {
    /// `eni-…`. Derived from the owner's and the subnet's id where the document has none, so it
    /// stays the same while those do.
    pub id: EniId,
    /// Its subnet.
    pub subnet: SubnetIx,
    /// The subnet's VPC.
    pub vpc: VpcIx,
    /// Whose packets it carries.
    pub owner: Owner,
    /// What kind it is.
    pub interface_type: InterfaceType,
    /// IPv4 addresses, the primary one first. Empty only for [`InterfaceType::EfaOnly`].
    pub private_ips: Vec<Ipv4Addr>,
    /// Networks whose addresses are all its own.
    pub ipv4_prefixes: Vec<Ipv4Net>,
    /// IPv6 addresses, the primary one first.
    pub ipv6_addresses: Vec<Ipv6Addr>,
    /// Networks whose addresses are all its own.
    pub ipv6_prefixes: Vec<Ipv6Net>,
    /// Elastic IP addresses, and the one that its subnet gave it unless that rests.
    pub public_ips: Vec<PublicAddress>,
    /// What may pass it. Empty for interfaces that functions own and that have no groups.
    pub groups: Vec<SecurityGroupIx>,
    /// Where it is attached, if that is declared.
    pub attachment: Option<Attachment>,
    /// Idle times of flows that pass no function.
    pub timeouts: Timeouts,
    /// The MAC address its packets must have, if the document says so.
    pub mac: Option<MacAddr>,
    /// Its own Linux interface. Without one it is on its subnet's segment, owned by a function,
    /// detached, or its instance is stopped.
    pub port: Option<Box<str>>,
    /// Whether packets neither from nor to its addresses are dropped.
    pub source_dest_check: bool,
    /// Free text.
    pub description: String,
}

impl Eni {
    /// Whether a function of the gateway owns it, so that its tenant cannot change it.
    #[must_use]
    pub const fn is_requester_managed(&self) -> bool {
        !matches!(self.owner, Owner::Instance)
    }

    /// Whether its host is on its subnet's own segment, if the subnet has one: it has no port, and
    /// is not attached to an instance that has stopped.
    #[must_use]
    pub const fn is_on_segment(&self) -> bool {
        matches!(self.owner, Owner::Instance) && self.port.is_none() && self.attachment.is_none()
    }

    /// Whether `address` is one of its private addresses.
    #[must_use]
    pub fn has_address(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => {
                self.private_ips.contains(&address)
                    || self.ipv4_prefixes.iter().any(|prefix| prefix.contains(&address))
            }
            IpAddr::V6(address) => {
                self.ipv6_addresses.contains(&address)
                    || self.ipv6_prefixes.iter().any(|prefix| prefix.contains(&address))
            }
        }
    }

    /// Its prefixes, IPv4 first.
    pub fn prefixes(&self) -> impl Iterator<Item = IpNet> {
        let v4 = self.ipv4_prefixes.iter().copied().map(IpNet::V4);
        v4.chain(self.ipv6_prefixes.iter().copied().map(IpNet::V6))
    }

    /// Its private addresses without those of its prefixes, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.private_ips.iter().copied().map(IpAddr::V4);
        v4.chain(self.ipv6_addresses.iter().copied().map(IpAddr::V6))
    }

    /// Its private addresses and those of its IPv4 prefixes, the primary one first. Those of IPv6
    /// prefixes are too many to list.
    pub fn source_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let prefixes = self.ipv4_prefixes.iter();
        let inside = prefixes.flat_map(|it| Ipv4AddrRange::new(it.network(), it.broadcast()));
        self.addresses().chain(inside.map(IpAddr::V4))
    }

    /// The address that packets between its instance and `address` have on the link: `address` if
    /// it is one of the interface's own, else, because the instance forwards for others, the
    /// primary one of the same family.
    #[must_use]
    pub fn address_towards(&self, address: IpAddr) -> Option<IpAddr> {
        if self.has_address(address) {
            return Some(address);
        }
        self.addresses().find(|own| own.is_ipv4() == address.is_ipv4())
    }

    /// The Elastic IP address that stands for `private`.
    #[must_use]
    pub fn public_ip_of(&self, private: IpAddr) -> Option<IpAddr> {
        self.public_ips.iter().find(|ip| ip.private_ip == private).map(|ip| ip.public_ip)
    }
}
