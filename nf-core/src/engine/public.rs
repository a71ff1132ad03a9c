//! Public addresses: which of them lead to something inside, and which cannot be the outside
//! world's.
//!
//! An Elastic IP address stands for an interface's private one. An IPv6 address of a VPC's public
//! block is itself inside and outside: it leads to the instance's interface that has it, whose
//! security groups decide on what comes.

use std::net::IpAddr;

use crate::vpc::{EniIx, Owner, Snapshot};

/// The instance's interface that has this public IPv6 address, by itself or in a prefix. Functions
/// are reached by the addresses that [`Snapshot::public_address`] knows alone, and a host that no
/// interface is declared for has no groups that would guard it.
pub(super) fn public_interface(snapshot: &Snapshot, address: IpAddr) -> Option<EniIx> {
    let IpAddr::V6(v6) = address else { return None };
    let eni = snapshot.eni_at(snapshot.vpc_of_public_ipv6(v6)?, address)?;
    (snapshot.eni(eni).owner == Owner::Instance).then_some(eni)
}

/// Whether something inside is reached by this address from an uplink.
pub(super) fn is_reached(snapshot: &Snapshot, address: IpAddr) -> bool {
    snapshot.public_address(address).is_some() || public_interface(snapshot, address).is_some()
}

/// Whether an address is a public one of ours, in use or not: nobody outside can have it.
pub(super) fn is_inside(snapshot: &Snapshot, address: IpAddr) -> bool {
    let in_a_block = matches!(address, IpAddr::V6(v6) if snapshot.vpc_of_public_ipv6(v6).is_some());
    in_a_block || snapshot.public_address(address).is_some()
}
