//! What is still free: addresses and prefixes of a subnet, addresses of public pools.
//!
//! EC2 does not say which free address it takes. Here it is the lowest one, so that a document
//! that is made by the same calls says the same.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4AddrRange, Ipv4Net, Ipv6AddrRange, Ipv6Net};
use nf_core::vpc::document::{self, Document};
use nf_core::vpc::{Eni, InvalidKind, Snapshot, Subnet, SubnetIx};

use super::Refusal;

/// Addresses of a subnet that never are an interface's (EC2: the first four and the last).
const RESERVED: u64 = 5;

/// A subnet and what of it is in use.
pub(super) struct Room<'a> {
    subnet: &'a Subnet,
    addresses: HashSet<IpAddr>,
    prefixes: HashSet<IpNet>,
    /// What would be prefixes, and has an address in it that is in use.
    broken: HashSet<IpNet>,
}

impl<'a> Room<'a> {
    /// A subnet of `before`, with the interfaces that `document` has by now.
    pub(super) fn of(before: &'a Snapshot, document: &Document, ix: SubnetIx) -> Self {
        let subnet = before.subnet(ix);
        let mut room = Self {
            subnet,
            addresses: HashSet::new(),
            prefixes: HashSet::new(),
            broken: HashSet::new(),
        };
        for eni in before.enis().map(|(_, eni)| eni) {
            if eni.subnet == ix && eni.is_requester_managed() {
                eni.addresses().for_each(|address| room.use_address(address));
                room.prefixes.extend(eni.prefixes());
            }
        }
        for interface in &document.network_interface {
            if interface.subnet_id == subnet.id {
                room.use_all(interface);
            }
        }
        room
    }

    /// The free IPv4 addresses, each counted that a prefix could be cut from as well.
    pub(super) fn available_ipv4(before: &Snapshot, ix: SubnetIx) -> u64 {
        let subnet = before.subnet(ix);
        let in_use = |eni: &Eni| {
            let prefixes = eni.ipv4_prefixes.iter().map(|prefix| size_v4(*prefix));
            eni.private_ips.len() as u64 + prefixes.sum::<u64>()
        };
        let enis = before.enis().map(|(_, eni)| eni).filter(|eni| eni.subnet == ix);
        size_v4(subnet.cidr).saturating_sub(RESERVED + enis.map(in_use).sum::<u64>())
    }

    fn use_all(&mut self, interface: &document::NetworkInterface) {
        let v4 =
            interface.private_ip_address.iter().chain(&interface.secondary_private_ip_addresses);
        v4.for_each(|address| self.use_address(IpAddr::V4(*address)));
        let v6 = interface.ipv6_addresses.iter();
        v6.for_each(|address| self.use_address(IpAddr::V6(*address)));
        self.prefixes.extend(interface.ipv4_prefixes.iter().copied().map(IpNet::V4));
        self.prefixes.extend(interface.ipv6_prefixes.iter().copied().map(IpNet::V6));
    }

    /// Notes that an address is in use.
    pub(super) fn use_address(&mut self, address: IpAddr) {
        self.broken.insert(prefix_around(address));
        self.addresses.insert(address);
    }

    /// Notes that a prefix is in use.
    pub(super) fn use_prefix(&mut self, prefix: IpNet) {
        self.prefixes.insert(prefix);
    }

    /// Takes the lowest free IPv4 address.
    pub(super) fn take_ipv4(&mut self) -> Result<Ipv4Addr, Refusal> {
        self.check_declared()?;
        let block = self.subnet.cidr;
        let free = Ipv4AddrRange::new(block.network(), block.broadcast())
            .find(|address| self.is_free((*address).into()))
            .ok_or_else(|| self.full(block.into()))?;
        self.use_address(free.into());
        Ok(free)
    }

    /// Takes the lowest free IPv6 address.
    pub(super) fn take_ipv6(&mut self) -> Result<Ipv6Addr, Refusal> {
        self.check_declared()?;
        let block = self.ipv6_block()?;
        let free = Ipv6AddrRange::new(block.network(), block.broadcast())
            .find(|address| self.is_free((*address).into()))
            .ok_or_else(|| self.full(block.into()))?;
        self.use_address(free.into());
        Ok(free)
    }

    /// Takes the lowest free IPv4 prefix.
    pub(super) fn take_ipv4_prefix(&mut self) -> Result<Ipv4Net, Refusal> {
        self.check_declared()?;
        let block = self.subnet.cidr;
        let mut candidates = block.subnets(IPV4_PREFIX).into_iter().flatten();
        let free = candidates
            .find(|prefix| self.is_whole(IpNet::V4(*prefix)))
            .ok_or_else(|| self.full(block.into()))?;
        self.use_prefix(free.into());
        Ok(free)
    }

    /// Takes the lowest free IPv6 prefix.
    pub(super) fn take_ipv6_prefix(&mut self) -> Result<Ipv6Net, Refusal> {
        self.check_declared()?;
        let block = self.ipv6_block()?;
        let mut candidates = block.subnets(IPV6_PREFIX).into_iter().flatten();
        let free = candidates
            .find(|prefix| self.is_whole(IpNet::V6(*prefix)))
            .ok_or_else(|| self.full(block.into()))?;
        self.use_prefix(free.into());
        Ok(free)
    }

    /// Nothing can be chosen where hosts live that nobody has declared.
    fn check_declared(&self) -> Result<(), Refusal> {
        let Some(port) = &self.subnet.port else { return Ok(()) };
        let (subnet, port) = (self.subnet.id.clone(), port.clone());
        Err(Refusal::from(&InvalidKind::AddressNeeded { subnet, port }))
    }

    fn ipv6_block(&self) -> Result<Ipv6Net, Refusal> {
        let id = || self.subnet.id.to_string();
        self.subnet
            .ipv6_cidr
            .ok_or_else(|| Refusal::from(&InvalidKind::NoIpv6Block { noun: "subnet", id: id() }))
    }

    fn is_free(&self, address: IpAddr) -> bool {
        !self.subnet.is_reserved(address)
            && !self.addresses.contains(&address)
            && !self.prefixes.contains(&prefix_around(address))
    }

    fn is_whole(&self, prefix: IpNet) -> bool {
        !self.subnet.is_reserved(prefix.network())
            && !self.subnet.is_reserved(prefix.broadcast())
            && !self.broken.contains(&prefix)
            && !self.prefixes.contains(&prefix)
    }

    fn full(&self, block: IpNet) -> Refusal {
        let subnet = self.subnet.id.clone();
        Refusal::from(&InvalidKind::NoFreeAddress { subnet, block })
    }
}

/// The sizes that EC2 delegates.
const IPV4_PREFIX: u8 = 28;
const IPV6_PREFIX: u8 = 80;

/// What would be the prefix of an address.
fn prefix_around(address: IpAddr) -> IpNet {
    match address {
        IpAddr::V4(address) => IpNet::V4(Ipv4Net::new_assert(address, IPV4_PREFIX).trunc()),
        IpAddr::V6(address) => IpNet::V6(Ipv6Net::new_assert(address, IPV6_PREFIX).trunc()),
    }
}

fn size_v4(block: Ipv4Net) -> u64 {
    1 << (32 - block.prefix_len())
}

/// The lowest free address of one pool or, if none is named, of the first that has one.
pub(super) fn take_public_ipv4(
    document: &Document,
    pools: &[&document::PublicIpv4Pool],
) -> Result<Ipv4Addr, Refusal> {
    let used = public_in_use(document);
    let blocks = pools.iter().flat_map(|pool| &pool.pool_cidr_blocks);
    let mut addresses =
        blocks.flat_map(|block| Ipv4AddrRange::new(block.network(), block.broadcast()));
    addresses.find(|address| !used.contains(&IpAddr::V4(*address))).ok_or_else(|| {
        let message = match pools {
            [] => "there is no public_ipv4_pool to take a public address from: declare one".into(),
            [pool] => format!("{} has no free address left", pool.public_ipv4_pool_id),
            _ => "no public_ipv4_pool has a free address left".to_owned(),
        };
        Refusal::new("InsufficientAddressCapacity", message)
    })
}

/// Public addresses that something has: an allocation, an interface, an uplink or its next hop.
pub(super) fn public_in_use(document: &Document) -> HashSet<IpAddr> {
    let allocated = document.address.iter().map(|it| it.public_ip);
    let given = document.network_interface.iter().filter_map(|it| it.public_ip).map(IpAddr::V4);
    let own = document.uplink.iter().flat_map(|it| it.addresses.iter().map(IpNet::addr));
    let next_hops = document.uplink.iter().flat_map(|it| it.gateways.iter().copied());
    allocated.chain(given).chain(own).chain(next_hops).collect()
}
