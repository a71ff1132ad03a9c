//! The managed interfaces that a document asks for without saying so: one for every NAT gateway and
//! bridge, one for every subnet of a load balancer.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::Path;
use super::derived::hash_of;
use super::ids::Ids;
use crate::vpc::document::{self, Document};
use crate::vpc::id::{AllocationId, EniId, ResourceId, SecurityGroupId, SubnetId};
use crate::vpc::model::{BridgeIx, LoadBalancerIx, NatGatewayIx, Owner};

/// A managed interface to be made.
pub(super) struct Managed<'d> {
    pub(super) owner: Owner,
    /// The owner's id or name.
    pub(super) owner_id: &'d str,
    /// The id the document gives the interface.
    pub(super) id: Option<&'d EniId>,
    /// Where in the document its subnet and addresses stand.
    pub(super) path: Path,
    pub(super) subnet_id: &'d SubnetId,
    /// Key and value of its IPv4 address.
    pub(super) v4: (&'static str, Option<Ipv4Addr>),
    /// How many IPv4 addresses it needs.
    pub(super) v4_count: usize,
    pub(super) v4_prefixes: &'d [Ipv4Net],
    pub(super) v6: Option<Ipv6Addr>,
    /// How many IPv6 addresses it needs.
    pub(super) v6_count: usize,
    pub(super) v6_prefixes: &'d [Ipv6Net],
    pub(super) source_dest_check: bool,
    /// What may pass it, of those that have groups: none named is the default group.
    pub(super) groups: Option<&'d [SecurityGroupId]>,
    pub(super) description: String,
}

impl Managed<'_> {
    /// The id of the interface where the document gives none, in EC2's form.
    pub(super) fn derived_id(&self) -> EniId {
        let kind = self.owner.interface_type().as_str();
        EniId::from_hash(hash_of(&[kind, self.owner_id, self.subnet_id.as_str()]))
    }
}

pub(super) fn nat_gateways<'d>(
    document: &'d Document,
    ids: &'d Ids<'_>,
) -> impl Iterator<Item = Managed<'d>> {
    document.nat_gateway.iter().enumerate().map(|(place, gateway)| {
        let allocations = gateway.allocation_ids.iter();
        let v6_count = allocations.filter(|id| is_ipv6(id, ids, document)).count();
        Managed {
            owner: Owner::NatGateway(NatGatewayIx::at(place)),
            owner_id: gateway.nat_gateway_id.as_str(),
            id: None,
            path: Path::of("nat_gateway", place),
            subnet_id: &gateway.subnet_id,
            v4: ("private_ip_address", gateway.private_ip_address),
            // One private address for every Elastic IP address: the internet gateway translates
            // one to one.
            v4_count: (gateway.allocation_ids.len() - v6_count).max(1),
            v4_prefixes: &[],
            v6: None,
            v6_count,
            v6_prefixes: &[],
            source_dest_check: false,
            groups: None,
            description: format!("Interface for NAT Gateway {}", gateway.nat_gateway_id),
        }
    })
}

pub(super) fn nodes<'d>(
    place: usize,
    load_balancer: &'d document::LoadBalancer,
    ids: &'d Ids<'_>,
    document: &'d Document,
) -> impl Iterator<Item = Managed<'d>> {
    let path = Path::of("load_balancer", place);
    let name = &load_balancer.load_balancer_name;
    load_balancer.subnet_mapping.iter().enumerate().map(move |(mapping_place, mapping)| {
        let allocation = mapping.allocation_id.iter();
        let v6_allocations = allocation.filter(|id| is_ipv6(id, ids, document)).count();
        Managed {
            owner: Owner::LoadBalancer(LoadBalancerIx::at(place)),
            owner_id: name.as_str(),
            id: None,
            path: path.key("subnet_mapping").index(mapping_place),
            subnet_id: &mapping.subnet_id,
            v4: ("private_ipv4_address", mapping.private_ipv4_address),
            v4_count: 1,
            v4_prefixes: &[],
            v6: mapping.ipv6_address,
            v6_count: v6_allocations,
            v6_prefixes: &[],
            source_dest_check: false,
            groups: None,
            description: format!("ELB net/{name}"),
        }
    })
}

pub(super) fn bridges(document: &Document) -> impl Iterator<Item = Managed<'_>> {
    document.lambda_bridge.iter().enumerate().map(|(place, bridge)| Managed {
        owner: Owner::Bridge(BridgeIx::at(place)),
        owner_id: bridge.lambda_bridge_id.as_str(),
        id: bridge.network_interface_id.as_ref(),
        path: Path::of("lambda_bridge", place),
        subnet_id: &bridge.subnet_id,
        v4: ("private_ip_address", bridge.private_ip_address),
        v4_count: 1,
        v4_prefixes: &bridge.ipv4_prefixes,
        v6: bridge.ipv6_address,
        v6_count: 0,
        v6_prefixes: &bridge.ipv6_prefixes,
        source_dest_check: true,
        groups: Some(&bridge.security_group_ids),
        description: format!("Lambda bridge {}", bridge.lambda_bridge_id),
    })
}

/// Whether an allocation is of an IPv6 address.
fn is_ipv6(id: &AllocationId, ids: &Ids<'_>, document: &Document) -> bool {
    ids.allocations.get(id).is_some_and(|place| document.address[place].public_ip.is_ipv6())
}
