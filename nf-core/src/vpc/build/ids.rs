//! Every id of a document, by kind: refuses the second use of one and finds what a reference
//! names.

use super::{InvalidKind, Path, Problems};
use crate::vpc::document::Document;
use crate::vpc::hash::Map;
use crate::vpc::id::{
    AllocationId, BridgeId, EniId, FlowLogId, InstanceId, InternetGatewayId, LoadBalancerName,
    NatGatewayId, PrefixListId, PublicIpv4PoolId, ResourceId, RouteTableId, SecurityGroupId,
    SubnetId, TargetGroupName, UplinkId, VpcId,
};

/// The ids of one kind, to their places in the document's array.
pub(super) struct Index<'d, I>(Map<&'d I, usize>);

impl<'d, I: ResourceId> Index<'d, I> {
    fn collect(
        kind: &'static str,
        key: &'static str,
        ids: impl Iterator<Item = &'d I>,
        problems: &mut Problems,
    ) -> Self {
        let mut places = Map::default();
        for (place, id) in ids.enumerate() {
            let first = *places.entry(id).or_insert(place);
            if first != place {
                problems.add(
                    Path::of(kind, place).key(key),
                    InvalidKind::duplicate(id, Path::of(kind, first)),
                );
            }
        }
        Self(places)
    }

    /// The place of `id`, if the document has it.
    pub(super) fn get(&self, id: &I) -> Option<usize> {
        self.0.get(id).copied()
    }

    /// The place of `id`; that there is none is a problem of the value at `path`.
    pub(super) fn find(
        &self,
        id: &I,
        path: impl FnOnce() -> Path,
        problems: &mut Problems,
    ) -> Option<usize> {
        let place = self.get(id);
        if place.is_none() {
            problems.add(path(), InvalidKind::not_found(id));
        }
        place
    }
}

/// The ids of every kind.
pub(super) struct Ids<'d> {
    pub(super) vpcs: Index<'d, VpcId>,
    pub(super) subnets: Index<'d, SubnetId>,
    pub(super) route_tables: Index<'d, RouteTableId>,
    pub(super) internet_gateways: Index<'d, InternetGatewayId>,
    pub(super) uplinks: Index<'d, UplinkId>,
    pub(super) allocations: Index<'d, AllocationId>,
    pub(super) instances: Index<'d, InstanceId>,
    pub(super) interfaces: Index<'d, EniId>,
    pub(super) security_groups: Index<'d, SecurityGroupId>,
    pub(super) prefix_lists: Index<'d, PrefixListId>,
    pub(super) nat_gateways: Index<'d, NatGatewayId>,
    pub(super) target_groups: Index<'d, TargetGroupName>,
}

impl<'d> Ids<'d> {
    pub(super) fn collect(document: &'d Document, problems: &mut Problems) -> Self {
        macro_rules! index {
            ($array:ident, $key:ident) => {
                Index::collect(
                    stringify!($array),
                    stringify!($key),
                    document.$array.iter().map(|it| &it.$key),
                    problems,
                )
            };
        }

        // Nothing refers to these; their ids must be unique all the same.
        let _: Index<LoadBalancerName> = index!(load_balancer, load_balancer_name);
        let _: Index<BridgeId> = index!(lambda_bridge, lambda_bridge_id);
        let _: Index<FlowLogId> = index!(flow_log, flow_log_id);
        let _: Index<PublicIpv4PoolId> = index!(public_ipv4_pool, public_ipv4_pool_id);
        Self {
            vpcs: index!(vpc, vpc_id),
            subnets: index!(subnet, subnet_id),
            route_tables: index!(route_table, route_table_id),
            internet_gateways: index!(internet_gateway, internet_gateway_id),
            uplinks: index!(uplink, uplink_id),
            allocations: index!(address, allocation_id),
            instances: index!(instance, instance_id),
            interfaces: index!(network_interface, network_interface_id),
            security_groups: index!(security_group, group_id),
            prefix_lists: index!(prefix_list, prefix_list_id),
            nat_gateways: index!(nat_gateway, nat_gateway_id),
            target_groups: index!(target_group, target_group_name),
        }
    }
}
