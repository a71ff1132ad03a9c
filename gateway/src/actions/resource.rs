//! Finding what an action names in the document.

use nf_core::vpc::document::{
    Address, Document, Instance, InternetGateway, NatGateway, NetworkInterface, PrefixList,
    PublicIpv4Pool, RouteTable, SecurityGroup, Subnet, Uplink, Vpc,
};
use nf_core::vpc::id::{
    AllocationId, EniId, InstanceId, InternetGatewayId, NatGatewayId, PrefixListId,
    PublicIpv4PoolId, ResourceId, RouteTableId, SecurityGroupId, SubnetId, UplinkId, VpcId,
};

use super::Refusal;

/// A kind of resource that has an array of its own in the document.
pub(super) trait Resource: Sized + 'static {
    /// What it is named by.
    type Id: ResourceId;

    /// All of the kind.
    fn all(document: &Document) -> &[Self];

    /// Its id.
    fn id(&self) -> &Self::Id;
}

macro_rules! resources {
    ($($kind:ident, $array:ident, $key:ident, $id:ident;)*) => {$(
        impl Resource for $kind {
            type Id = $id;

            fn all(document: &Document) -> &[Self] {
                &document.$array
            }

            fn id(&self) -> &$id {
                &self.$key
            }
        }
    )*};
}

resources! {
    Vpc, vpc, vpc_id, VpcId;
    Subnet, subnet, subnet_id, SubnetId;
    RouteTable, route_table, route_table_id, RouteTableId;
    InternetGateway, internet_gateway, internet_gateway_id, InternetGatewayId;
    Uplink, uplink, uplink_id, UplinkId;
    PublicIpv4Pool, public_ipv4_pool, public_ipv4_pool_id, PublicIpv4PoolId;
    Address, address, allocation_id, AllocationId;
    Instance, instance, instance_id, InstanceId;
    NetworkInterface, network_interface, network_interface_id, EniId;
    SecurityGroup, security_group, group_id, SecurityGroupId;
    PrefixList, prefix_list, prefix_list_id, PrefixListId;
    NatGateway, nat_gateway, nat_gateway_id, NatGatewayId;
}

/// An id as the caller has written it.
pub(super) fn parse<I: ResourceId>(text: &str) -> Result<I, Refusal> {
    text.parse().map_err(|error| Refusal::new(I::MALFORMED, format!("{error}")))
}

/// Where in its array the resource of that id stands.
pub(super) fn place<R: Resource>(document: &Document, text: &str) -> Result<usize, Refusal> {
    let id: R::Id = parse(text)?;
    R::all(document).iter().position(|it| *it.id() == id).ok_or_else(|| Refusal::not_found(&id))
}

/// The resource of that id.
pub(super) fn find<'d, R: Resource>(document: &'d Document, text: &str) -> Result<&'d R, Refusal> {
    place::<R>(document, text).map(|place| &R::all(document)[place])
}

/// The resources of these ids in the order of the document, or all if none are named.
pub(super) fn chosen<'d, R: Resource>(
    document: &'d Document,
    ids: &[String],
) -> Result<Vec<(usize, &'d R)>, Refusal> {
    let mut places = Vec::with_capacity(ids.len());
    for id in ids {
        places.push(place::<R>(document, id)?);
    }
    let all = R::all(document).iter().enumerate();
    Ok(all.filter(|(place, _)| ids.is_empty() || places.contains(place)).collect())
}
