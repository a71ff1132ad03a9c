//! How much of everything there may be, with EC2's defaults.

use serde::{Deserialize, Serialize};

/// Limits of a document. EC2 has them for a region and account; a document is both.
///
/// Source: "Amazon VPC quotas" of the VPC user guide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quotas {
    /// VPCs.
    pub vpcs: u32,
    /// Subnets of a VPC.
    pub subnets_per_vpc: u32,
    /// Elastic IP addresses. One that a subnet gave to an interface does not count.
    pub elastic_ips: u32,
    /// Internet gateways.
    pub internet_gateways: u32,
    /// NAT gateways of an availability zone.
    pub nat_gateways_per_availability_zone: u32,
    /// Addresses of a NAT gateway, of both families; at most 32.
    pub addresses_per_nat_gateway: u32,
    /// Network interfaces, managed ones included.
    pub network_interfaces: u32,
    /// Route tables of a VPC.
    pub route_tables_per_vpc: u32,
    /// Routes of a table, per family, local ones not counted.
    pub routes_per_route_table: u32,
    /// Security groups.
    pub security_groups: u32,
    /// Rules of a group, per direction and family.
    pub rules_per_security_group: u32,
    /// Groups of a network interface; at most 16, and groups times rules at most 1,000.
    pub security_groups_per_network_interface: u32,
    /// Prefix lists.
    pub prefix_lists: u32,
    /// Network interfaces of an instance's network card that says nothing else.
    pub network_interfaces_per_network_card: u32,
    /// IPv4 slots of a network interface: each of its addresses takes one, and each of its
    /// prefixes.
    pub ipv4_addresses_per_network_interface: u32,
    /// The same for IPv6.
    pub ipv6_addresses_per_network_interface: u32,
    /// Flow logs of one VPC, subnet or network interface.
    pub flow_logs_per_resource: u32,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            vpcs: 5,
            subnets_per_vpc: 200,
            elastic_ips: 5,
            internet_gateways: 5,
            nat_gateways_per_availability_zone: 5,
            // What a regional one has in each zone. Ours: a zonal one has 8.
            addresses_per_nat_gateway: 32,
            network_interfaces: 5_000,
            route_tables_per_vpc: 200,
            routes_per_route_table: 500,
            security_groups: 2_500,
            rules_per_security_group: 60,
            security_groups_per_network_interface: 5,
            prefix_lists: 100,
            // What the largest instance types have: 15 interfaces and 50 addresses on each.
            network_interfaces_per_network_card: 15,
            ipv4_addresses_per_network_interface: 50,
            ipv6_addresses_per_network_interface: 50,
            flow_logs_per_resource: 2,
        }
    }
}

impl Quotas {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
