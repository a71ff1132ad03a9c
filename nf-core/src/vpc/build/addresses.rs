//! Who has which private address and which prefix of a VPC, and which address is free next.
//!
//! Prefixes of a family all have one length, so two of them overlap only if they are equal, and an
//! address can be in one alone: every question is a look-up, however many prefixes there are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hashbrown::hash_map::Entry;
use ipnet::IpNet;

use super::InvalidKind;
use crate::vpc::hash::Map;
use crate::vpc::id::EniId;
use crate::vpc::invalid::InvalidPrefix;
use crate::vpc::model::{EniIx, Subnet, SubnetIx, VpcIx};

/// "For an IPv4 prefix, the size is /28; for IPv6, it is /80" (EC2 user guide, prefix delegation).
const IPV4_PREFIX: u8 = 28;
const IPV6_PREFIX: u8 = 80;

/// An interface that has or wants addresses.
#[derive(Clone)]
pub(super) struct Holder {
    pub(super) ix: EniIx,
    /// For messages.
    pub(super) id: EniId,
}

/// The private addresses and prefixes of all VPCs.
#[derive(Default)]
pub(super) struct Addresses {
    by_address: Map<(VpcIx, IpAddr), Holder>,
    /// By network of a prefix's length, those that are not all free.
    blocks: Map<(VpcIx, IpNet), Block>,
    /// Where the search for a free address goes on, by subnet and whether it is for IPv4: what was
    /// passed once is taken.
    next: Map<(SubnetIx, bool), Option<IpAddr>>,
}

/// What a network of a prefix's length is to interfaces.
enum Block {
    /// The prefix of one.
    Prefix(Holder),
    /// None's prefix, because one has this address in it.
    Address(IpAddr, Holder),
}

impl Addresses {
    /// The interface that has an address, by itself or in one of its prefixes.
    pub(super) fn at(&self, vpc: VpcIx, address: IpAddr) -> Option<EniIx> {
        if let Some(holder) = self.by_address.get(&(vpc, address)) {
            return Some(holder.ix);
        }
        match self.blocks.get(&(vpc, block_around(address)))? {
            Block::Prefix(holder) => Some(holder.ix),
            Block::Address(..) => None,
        }
    }

    /// Gives an address to an interface.
    ///
    /// # Errors
    ///
    /// Why it cannot have it; it does not have it then.
    pub(super) fn take(
        &mut self,
        holder: &Holder,
        subnet: &Subnet,
        address: IpAddr,
    ) -> Result<(), InvalidKind> {
        let id = || subnet.id.clone();
        let Some(block) = subnet.block_of(address) else { return Err(no_ipv6_block(subnet)) };
        if !block.contains(&address) {
            return Err(InvalidKind::AddressOutsideSubnet { address, subnet: id(), block });
        }
        if subnet.is_reserved(address) {
            return Err(InvalidKind::AddressReserved { address, subnet: id() });
        }
        if let Some(other) = self.by_address.get(&(subnet.vpc, address)) {
            return Err(InvalidKind::AddressInUse { address, eni: other.id.clone() });
        }
        let around = block_around(address);
        let first = || Block::Address(address, holder.clone());
        if let Block::Prefix(other) = self.blocks.entry((subnet.vpc, around)).or_insert_with(first)
        {
            let (prefix, eni) = (around, other.id.clone());
            return Err(InvalidPrefix::AroundIt { address, prefix, eni }.into());
        }
        self.by_address.insert((subnet.vpc, address), holder.clone());
        Ok(())
    }

    /// Gives a prefix to an interface.
    ///
    /// # Errors
    ///
    /// Why it cannot have it; it does not have it then.
    pub(super) fn take_prefix(
        &mut self,
        holder: &Holder,
        subnet: &Subnet,
        prefix: IpNet,
    ) -> Result<(), InvalidKind> {
        let id = || subnet.id.clone();
        let length = if prefix.addr().is_ipv4() { IPV4_PREFIX } else { IPV6_PREFIX };
        if prefix.prefix_len() != length {
            return Err(InvalidPrefix::Length { found: prefix, length }.into());
        }
        if prefix.trunc() != prefix {
            return Err(InvalidKind::HostBits { found: prefix });
        }
        let Some(block) = subnet.block_of(prefix.addr()) else {
            return Err(no_ipv6_block(subnet));
        };
        if !block.contains(&prefix) {
            return Err(InvalidPrefix::OutsideSubnet { prefix, subnet: id(), block }.into());
        }
        // Of the reserved addresses the first four are in one network of this length.
        if prefix.contains(&block.network()) || prefix.contains(&block.broadcast()) {
            return Err(InvalidPrefix::Reserved { prefix, subnet: id() }.into());
        }
        match self.blocks.entry((subnet.vpc, prefix)) {
            Entry::Vacant(vacant) => {
                vacant.insert(Block::Prefix(holder.clone()));
                Ok(())
            }
            Entry::Occupied(occupied) => Err(match occupied.get() {
                Block::Prefix(other) => InvalidPrefix::InUse { prefix, eni: other.id.clone() },
                Block::Address(address, other) => {
                    let (address, eni) = (*address, other.id.clone());
                    InvalidPrefix::AroundAddress { prefix, address, eni }
                }
            }
            .into()),
        }
    }

    /// Gives an interface the first free address of the family that `family` is of.
    ///
    /// # Errors
    ///
    /// Why there is none to be had.
    pub(super) fn choose(
        &mut self,
        holder: &Holder,
        subnet_ix: SubnetIx,
        subnet: &Subnet,
        family: Family,
    ) -> Result<IpAddr, InvalidKind> {
        let block = match family {
            Family::V4 => IpNet::V4(subnet.cidr),
            Family::V6 => IpNet::V6(subnet.ipv6_cidr.ok_or_else(|| no_ipv6_block(subnet))?),
        };
        if let Some(port) = &subnet.port {
            let (subnet, port) = (subnet.id.clone(), port.clone());
            return Err(InvalidKind::AddressNeeded { subnet, port });
        }
        let place = (subnet_ix, family == Family::V4);
        let mut next = self.next.get(&place).copied().unwrap_or_else(|| Some(block.network()));
        while let Some(address) = next.filter(|address| block.contains(address)) {
            next = following(self.last_of_prefix(subnet.vpc, address).unwrap_or(address));
            if self.take(holder, subnet, address).is_ok() {
                self.next.insert(place, next);
                return Ok(address);
            }
        }
        self.next.insert(place, None);
        Err(InvalidKind::NoFreeAddress { subnet: subnet.id.clone(), block })
    }

    /// The last address of the prefix that an address is in.
    fn last_of_prefix(&self, vpc: VpcIx, address: IpAddr) -> Option<IpAddr> {
        let around = block_around(address);
        let prefix = matches!(self.blocks.get(&(vpc, around)), Some(Block::Prefix(_)));
        prefix.then(|| around.broadcast())
    }
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

fn no_ipv6_block(subnet: &Subnet) -> InvalidKind {
    InvalidKind::NoIpv6Block { noun: "subnet", id: subnet.id.to_string() }
}

/// The network of a prefix's length that an address is in.
fn block_around(address: IpAddr) -> IpNet {
    let length = if address.is_ipv4() { IPV4_PREFIX } else { IPV6_PREFIX };
    IpNet::new_assert(address, length).trunc()
}

fn following(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4.to_bits().checked_add(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(v6) => v6.to_bits().checked_add(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}
