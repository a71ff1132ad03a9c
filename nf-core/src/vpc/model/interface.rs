//! Elastic network interfaces: those of instances and those that functions of the gateway own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{BridgeIx, LoadBalancerIx, NatGatewayIx, SubnetIx, VpcIx};
use crate::packet::MacAddr;
use crate::vpc::id::{AllocationId, EniId};

/// What EC2 calls the kind of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InterfaceType {
    /// An instance's.
    Interface,
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

impl Owner {
    /// What EC2 calls an interface of this owner.
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

/// An Elastic IP address on one of an interface's private addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicAddress {
    /// `eipalloc-…`
    pub allocation_id: AllocationId,
    /// The address inside the VPC.
    pub private_ip: IpAddr,
    /// The address outside, of the same family.
    pub public_ip: IpAddr,
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
    /// IPv4 addresses, the primary one first. Never empty.
    pub private_ips: Vec<Ipv4Addr>,
    /// IPv6 addresses, the primary one first.
    pub ipv6_addresses: Vec<Ipv6Addr>,
    /// Elastic IP addresses.
    pub public_ips: Vec<PublicAddress>,
    /// The MAC address its packets must have, if the document says so.
    pub mac: Option<MacAddr>,
    /// Its own Linux interface. Without one it is on its subnet's segment, owned by a function, or
    /// detached.
    pub port: Option<Box<str>>,
    /// Whether packets neither from nor to its addresses are dropped.
    pub source_dest_check: bool,
    /// Free text.
    pub description: String,
}

impl Eni {
    /// What EC2 calls an interface like this.
    #[must_use]
    pub const fn interface_type(&self) -> InterfaceType {
        self.owner.interface_type()
    }

    /// Whether a function of the gateway owns it, so that its tenant cannot change it.
    #[must_use]
    pub const fn is_requester_managed(&self) -> bool {
        !matches!(self.owner, Owner::Instance)
    }

    /// Whether `address` is one of its private addresses.
    #[must_use]
    pub fn has_address(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.private_ips.contains(&address),
            IpAddr::V6(address) => self.ipv6_addresses.contains(&address),
        }
    }

    /// Its private addresses, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.private_ips.iter().copied().map(IpAddr::V4);
        v4.chain(self.ipv6_addresses.iter().copied().map(IpAddr::V6))
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
