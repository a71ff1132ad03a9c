//! The managed interfaces that a document asks for without saying so: one for every NAT gateway and
//! bridge, one for every subnet of a load balancer.

use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};

use super::derived::hash_of;
use super::ids::Ids;
use super::{Path, nat_gateway};
use crate::vpc::document::{self, Document};
use crate::vpc::id::{AllocationId, DealtId as _, EniId, ResourceId, SecurityGroupId, SubnetId};
use crate::vpc::model::{BridgeIx, LoadBalancerIx, NatGatewayIx, Owner};

/// A managed interface to be made.
pub(super) struct Managed<'d> {
    pub(super) owner: Owner,
    /// The owner's id or name.
    pub(super) owner_id: &'d str,
    /// The id the document gives the interface.
    pub(super) id: Option<&'d EniId>,
    /// Where in the document its subnet and prefixes stand.
    pub(super) path: Path,
    pub(super) subnet_id: &'d SubnetId,
    pub(super) v4: Vec<Wish>,
    pub(super) v4_prefixes: &'d [Ipv4Net],
    pub(super) v6: Vec<Wish>,
    pub(super) v6_prefixes: &'d [Ipv6Net],
    pub(super) source_dest_check: bool,
    /// What may pass it, of those that have groups: none named is the default group.
    pub(super) groups: Option<&'d [SecurityGroupId]>,
    pub(super) description: String,
}

/// An address that it wants.
pub(super) struct Wish {
    /// Where in the document it stands, or could.
    pub(super) path: Path,
    /// Left out: one that is free.
    pub(super) address: Option<IpAddr>,
}

impl Wish {
    fn of(path: &Path, key: &'static str, address: Option<impl Into<IpAddr>>) -> Self {
        Self { path: path.key(key), address: address.map(Into::into) }
    }
}

impl Managed<'_> {
    /// The id of the interface where the document gives none, in EC2's form.
    pub(super) fn derived_id(&self) -> EniId {
        let kind = self.owner.interface_type().as_str();
        EniId::dealt(hash_of(&[kind, self.owner_id, self.subnet_id.as_str()]).into())
    }
}

pub(super) fn nat_gateways<'d>(
    document: &'d Document,
    ids: &'d Ids<'_>,
) -> impl Iterator<Item = Managed<'d>> {
    document.nat_gateway.iter().enumerate().map(|(place, gateway)| {
        let path = Path::of("nat_gateway", place);
        // One private address for every Elastic IP address: the internet gateway translates one to
        // one.
        let (v4, v6) = nat_gateway::wishes(nat_gateway::places(gateway, &path, ids, document));
        Managed {
            owner: Owner::NatGateway(NatGatewayIx::at(place)),
            owner_id: gateway.nat_gateway_id.as_str(),
            id: None,
            path,
            subnet_id: &gateway.subnet_id,
            v4,
            v4_prefixes: &[],
            v6,
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
        let path = path.key("subnet_mapping").index(mapping_place);
        let mut allocation = mapping.allocation_id.iter();
        let has_v6 =
            mapping.ipv6_address.is_some() || allocation.any(|id| is_ipv6(id, ids, document));
        let v6 = has_v6.then(|| Wish::of(&path, "ipv6_address", mapping.ipv6_address));
        Managed {
            owner: Owner::LoadBalancer(LoadBalancerIx::at(place)),
            owner_id: name.as_str(),
            id: None,
            subnet_id: &mapping.subnet_id,
            v4: vec![Wish::of(&path, "private_ipv4_address", mapping.private_ipv4_address)],
            v4_prefixes: &[],
            v6: v6.into_iter().collect(),
            v6_prefixes: &[],
            source_dest_check: false,
            groups: None,
            description: format!("ELB net/{name}"),
            path,
        }
    })
}

pub(super) fn bridges(document: &Document) -> impl Iterator<Item = Managed<'_>> {
    document.lambda_bridge.iter().enumerate().map(|(place, bridge)| {
        let path = Path::of("lambda_bridge", place);
        let v6 = bridge.ipv6_address.iter();
        Managed {
            owner: Owner::Bridge(BridgeIx::at(place)),
            owner_id: bridge.lambda_bridge_id.as_str(),
            id: bridge.network_interface_id.as_ref(),
            subnet_id: &bridge.subnet_id,
            v4: vec![Wish::of(&path, "private_ip_address", bridge.private_ip_address)],
            v4_prefixes: &bridge.ipv4_prefixes,
            v6: v6.map(|it| Wish::of(&path, "ipv6_address", Some(*it))).collect(),
            v6_prefixes: &bridge.ipv6_prefixes,
            source_dest_check: true,
            groups: Some(&bridge.security_group_ids),
            description: format!("Lambda bridge {}", bridge.lambda_bridge_id),
            path,
        }
    })
}

/// Whether an allocation is of an IPv6 address.
fn is_ipv6(id: &AllocationId, ids: &Ids<'_>, document: &Document) -> bool {
    ids.allocations.get(id).is_some_and(|place| document.address[place].public_ip.is_ipv6())
}
