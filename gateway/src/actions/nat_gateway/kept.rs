//! At EC2 an address of a gateway stays what it is. The document may leave addresses to the gateway,
//! which then go by their order: before that changes, they are written down.

use std::net::IpAddr;

use nf_core::vpc::Snapshot;
use nf_core::vpc::document::{NatGateway as Declared, SecondaryAddress};
use nf_core::vpc::id::AllocationId;

use super::interface_of;

/// Writes down every private address that a gateway has had, where the document does not say it.
/// Elastic IP addresses that are named beside the primary one of their family become secondary
/// addresses: there is no place beside them for a private one.
pub(in crate::actions) fn write_down(gateway: &mut Declared, before: &Snapshot) {
    let Some(eni) = interface_of(before, gateway) else { return };
    let primary = eni.private_ips.first().copied();
    gateway.private_ip_address = gateway.private_ip_address.or(primary);
    let placed =
        |id: &AllocationId| eni.public_ips.iter().find(|it| it.allocation_id.as_ref() == Some(id));
    let mut families = Vec::new();
    let mut further = Vec::new();
    gateway.allocation_ids.retain(|id| {
        let Some(at) = placed(id) else { return true };
        let family = at.public_ip.is_ipv4();
        if !families.contains(&family) {
            families.push(family);
            return true;
        }
        further.push(SecondaryAddress {
            allocation_id: Some(id.clone()),
            private_ip_address: Some(at.private_ip),
            drain_until: None,
        });
        false
    });
    // A private gateway has its IPv4 addresses in the order of the document, after the primary one.
    let mut others = eni.private_ips.iter().skip(1).copied().map(IpAddr::V4);
    for secondary in &mut gateway.secondary_address {
        let has_had = match &secondary.allocation_id {
            Some(id) => placed(id).map(|at| at.private_ip),
            None if secondary.private_ip_address.is_some_and(|it| it.is_ipv6()) => None,
            None => others.next(),
        };
        secondary.private_ip_address = secondary.private_ip_address.or(has_had);
    }
    gateway.secondary_address.splice(0..0, further);
}
