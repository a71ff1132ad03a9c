//! Quotas: how much of everything a document has, against how much it may have. Each is reported
//! once, at the first element past it.

use std::hash::Hash;

use super::ids::Ids;
use super::{InvalidKind, Path, Problems};
use crate::vpc::document::{
    Document, LambdaBridge, NatGateway, NetworkInterface, Quotas, SecurityGroupRule,
};
use crate::vpc::hash::Map;

/// "A quota for security groups per network interface … can be increased up to 16" (Amazon VPC
/// quotas).
const MAX_SECURITY_GROUPS: u32 = 16;

/// "The quota for rules per security group multiplied by the quota for security groups per network
/// interface can't exceed 1,000" (the same).
const MAX_RULES: u32 = 1000;

/// As many as a regional NAT gateway of AWS has in one zone ("Regional NAT gateways" of the VPC user
/// guide).
const MAX_NAT_ADDRESSES: u32 = 32;

/// What the document says of one quota.
struct Quota {
    limit: u32,
    /// What it counts, in the plural.
    what: &'static str,
    key: &'static str,
    code: &'static str,
}

impl Quota {
    fn exceeded(&self) -> InvalidKind {
        let &Self { limit, what, key, code } = self;
        InvalidKind::Quota { limit, what, key, code }
    }
}

/// Counts what belongs to each of many owners.
struct Count<K> {
    quota: Quota,
    counted: Map<K, u32>,
}

impl<K: Eq + Hash> Count<K> {
    fn new(quota: Quota) -> Self {
        Self { quota, counted: Map::default() }
    }

    /// Counts `weight` more of `owner`'s; reports what is at `path` if it is the first past the
    /// quota.
    fn add(&mut self, owner: K, weight: u32, path: impl FnOnce() -> Path, problems: &mut Problems) {
        if self.passes(owner, weight) {
            problems.add(path(), self.quota.exceeded());
        }
    }

    /// Counts `weight` more of `owner`'s. Whether this is the first past the quota.
    fn passes(&mut self, owner: K, weight: u32) -> bool {
        let counted = self.counted.entry(owner).or_default();
        let before = *counted;
        *counted = before.saturating_add(weight);
        before <= self.quota.limit && *counted > self.quota.limit
    }
}

/// Reports everything of which there is too much, but for attachments: those go by what their
/// instance says, too.
pub(super) fn check(document: &Document, ids: &Ids<'_>, problems: &mut Problems) {
    check_quotas(&document.quotas, problems);
    check_totals(document, problems);
    check_vpcs(document, problems);
    check_zones(document, ids, problems);
    check_routes(document, problems);
    check_rules(document, ids, problems);
    for (place, interface) in document.network_interface.iter().enumerate() {
        let path = Path::of("network_interface", place);
        check_interface(&document.quotas, &path, &Slots::of_interface(interface), problems);
    }
    for (place, gateway) in document.nat_gateway.iter().enumerate() {
        check_nat_gateway(&document.quotas, &Path::of("nat_gateway", place), gateway, problems);
    }
    for (place, bridge) in document.lambda_bridge.iter().enumerate() {
        let path = Path::of("lambda_bridge", place);
        check_interface(&document.quotas, &path, &Slots::of_bridge(bridge), problems);
    }
}

/// Reports quotas that EC2 would not raise so far, or lower.
fn check_quotas(quotas: &Quotas, problems: &mut Problems) {
    let path = Path::default().key("quotas");
    let groups = quotas.security_groups_per_network_interface;
    let at = || path.key("security_groups_per_network_interface");
    problems.check_range(at, groups, 1, MAX_SECURITY_GROUPS);
    let max = MAX_RULES / groups.clamp(1, MAX_SECURITY_GROUPS);
    let at = || path.key("rules_per_security_group");
    problems.check_range(at, quotas.rules_per_security_group, 1, max);
    let addresses = quotas.addresses_per_nat_gateway;
    let at = || path.key("addresses_per_nat_gateway");
    problems.check_range(at, addresses, 1, MAX_NAT_ADDRESSES);
    let slots = quotas.ipv4_addresses_per_network_interface;
    let at = || path.key("ipv4_addresses_per_network_interface");
    problems.check_range(at, slots, 1, u32::MAX);
}

/// What one NAT gateway has. The primary address is there, named or not.
fn check_nat_gateway(quotas: &Quotas, path: &Path, gateway: &NatGateway, problems: &mut Problems) {
    let quota = Quota {
        limit: quotas.addresses_per_nat_gateway,
        what: "addresses of a NAT gateway",
        key: "addresses_per_nat_gateway",
        code: "PrivateIpAddressLimitExceeded",
    };
    let (limit, named) = (quota.limit as usize, gateway.allocation_ids.len());
    if named > limit {
        problems.add(path.key("allocation_ids").index(limit), quota.exceeded());
    } else if named.max(1) + gateway.secondary_address.len() > limit {
        let first = limit.saturating_sub(named.max(1));
        problems.add(path.key("secondary_address").index(first), quota.exceeded());
    }
}

/// What a whole document has.
fn check_totals(document: &Document, problems: &mut Problems) {
    let quotas = &document.quotas;
    for (kind, count, limit, what, key, code) in [
        ("vpc", document.vpc.len(), quotas.vpcs, "VPCs", "vpcs", "VpcLimitExceeded"),
        (
            "address",
            document.address.len(),
            quotas.elastic_ips,
            "Elastic IP addresses",
            "elastic_ips",
            "AddressLimitExceeded",
        ),
        (
            "internet_gateway",
            document.internet_gateway.len(),
            quotas.internet_gateways,
            "internet gateways",
            "internet_gateways",
            "InternetGatewayLimitExceeded",
        ),
        (
            "security_group",
            document.security_group.len(),
            quotas.security_groups,
            "security groups",
            "security_groups",
            "SecurityGroupLimitExceeded",
        ),
        // EC2's list of error codes has none for prefix lists alone.
        (
            "prefix_list",
            document.prefix_list.len(),
            quotas.prefix_lists,
            "prefix lists",
            "prefix_lists",
            "ResourceLimitExceeded",
        ),
    ] {
        if count > limit as usize {
            let quota = Quota { limit, what, key, code };
            problems.add(Path::of(kind, limit as usize), quota.exceeded());
        }
    }
    let quota = Quota {
        limit: quotas.network_interfaces,
        what: "network interfaces, managed ones included",
        key: "network_interfaces",
        code: "NetworkInterfaceLimitExceeded",
    };
    if let Some(path) = interfaces(document).nth(quota.limit as usize) {
        problems.add(path, quota.exceeded());
    }
}

/// Every network interface of a document, declared ones first, managed ones as who owns them.
fn interfaces(document: &Document) -> impl Iterator<Item = Path> {
    let all = |kind: &'static str, count: usize| (0..count).map(move |place| Path::of(kind, place));
    let nodes = document.load_balancer.iter().enumerate().flat_map(|(place, load_balancer)| {
        let mappings = Path::of("load_balancer", place).key("subnet_mapping");
        (0..load_balancer.subnet_mapping.len()).map(move |node| mappings.index(node))
    });
    all("network_interface", document.network_interface.len())
        .chain(all("nat_gateway", document.nat_gateway.len()))
        .chain(nodes)
        .chain(all("lambda_bridge", document.lambda_bridge.len()))
}

/// What each VPC has.
fn check_vpcs(document: &Document, problems: &mut Problems) {
    let mut subnets = Count::new(Quota {
        limit: document.quotas.subnets_per_vpc,
        what: "subnets of a VPC",
        key: "subnets_per_vpc",
        code: "SubnetLimitExceeded",
    });
    for (place, subnet) in document.subnet.iter().enumerate() {
        subnets.add(&subnet.vpc_id, 1, || Path::of("subnet", place), problems);
    }
    let mut tables = Count::new(Quota {
        limit: document.quotas.route_tables_per_vpc,
        what: "route tables of a VPC",
        key: "route_tables_per_vpc",
        code: "RouteTableLimitExceeded",
    });
    for (place, table) in document.route_table.iter().enumerate() {
        tables.add(&table.vpc_id, 1, || Path::of("route_table", place), problems);
    }
}

/// What each zone has.
fn check_zones(document: &Document, ids: &Ids<'_>, problems: &mut Problems) {
    let mut gateways = Count::new(Quota {
        limit: document.quotas.nat_gateways_per_availability_zone,
        what: "NAT gateways of an availability zone",
        key: "nat_gateways_per_availability_zone",
        code: "NatGatewayLimitExceeded",
    });
    for (place, gateway) in document.nat_gateway.iter().enumerate() {
        let Some(subnet) = ids.subnets.get(&gateway.subnet_id) else { continue };
        let zone = document.subnet[subnet].availability_zone.as_str();
        gateways.add(zone, 1, || Path::of("nat_gateway", place), problems);
    }
}

/// What each route table has, by family.
fn check_routes(document: &Document, problems: &mut Problems) {
    let mut routes = Count::new(Quota {
        limit: document.quotas.routes_per_route_table,
        what: "routes of a family in a route table",
        key: "routes_per_route_table",
        code: "RouteLimitExceeded",
    });
    for (place, table) in document.route_table.iter().enumerate() {
        let path = Path::of("route_table", place).key("route");
        for (position, route) in table.route.iter().enumerate() {
            let family = (place, route.destination_cidr_block.is_some());
            routes.add(family, 1, || path.index(position), problems);
        }
    }
}

/// What each security group has, by direction and family.
fn check_rules(document: &Document, ids: &Ids<'_>, problems: &mut Problems) {
    let mut rules = Count::new(Quota {
        limit: document.quotas.rules_per_security_group,
        what: "rules of a family in one direction of a security group",
        key: "rules_per_security_group",
        code: "RulesPerSecurityGroupLimitExceeded",
    });
    for (place, group) in document.security_group.iter().enumerate() {
        let path = Path::of("security_group", place);
        let egress = group.egress.as_deref().unwrap_or_default();
        for (direction, all) in [("ingress", &group.ingress[..]), ("egress", egress)] {
            let path = path.key(direction);
            for (position, rule) in all.iter().enumerate() {
                let weights = Weights::of(rule, document, ids);
                let v4 = rules.passes((place, direction, "IPv4"), weights.v4);
                let v6 = rules.passes((place, direction, "IPv6"), weights.v6);
                // Once, even if it is too much for both.
                if v4 || v6 {
                    problems.add(path.index(position), rules.quota.exceeded());
                }
            }
        }
    }
}

/// As how many rules one counts.
struct Weights {
    v4: u32,
    v6: u32,
}

impl Weights {
    /// A rule with a group is for both families. One with a prefix list counts as many as the list
    /// may have entries, and for both families while it has none.
    fn of(rule: &SecurityGroupRule, document: &Document, ids: &Ids<'_>) -> Self {
        let group = u32::from(rule.referenced_group_id.is_some());
        let mut weights = Self {
            v4: group + u32::from(rule.cidr_ipv4.is_some()),
            v6: group + u32::from(rule.cidr_ipv6.is_some()),
        };
        let list = rule.prefix_list_id.as_ref().and_then(|id| ids.prefix_lists.get(id));
        if let Some(list) = list.map(|place| &document.prefix_list[place]) {
            let family = list.entry.first().map(|entry| entry.cidr.addr().is_ipv4());
            if family != Some(false) {
                weights.v4 = weights.v4.saturating_add(list.max_entries);
            }
            if family != Some(true) {
                weights.v6 = weights.v6.saturating_add(list.max_entries);
            }
        }
        weights
    }
}

/// What an interface has that takes slots: how many addresses that stand alone, then arrays by key
/// and length.
struct Slots {
    v4: (usize, Vec<(&'static str, usize)>),
    v6: (usize, Vec<(&'static str, usize)>),
    groups: (&'static str, usize),
}

impl Slots {
    fn of_interface(interface: &NetworkInterface) -> Self {
        let secondary = interface.secondary_private_ip_addresses.len();
        Self {
            v4: (
                usize::from(interface.private_ip_address.is_some()),
                vec![
                    ("secondary_private_ip_addresses", secondary),
                    ("ipv4_prefixes", interface.ipv4_prefixes.len()),
                ],
            ),
            v6: (
                0,
                vec![
                    ("ipv6_addresses", interface.ipv6_addresses.len()),
                    ("ipv6_prefixes", interface.ipv6_prefixes.len()),
                ],
            ),
            groups: ("groups", interface.groups.len()),
        }
    }

    fn of_bridge(bridge: &LambdaBridge) -> Self {
        Self {
            v4: (1, vec![("ipv4_prefixes", bridge.ipv4_prefixes.len())]),
            v6: (
                usize::from(bridge.ipv6_address.is_some()),
                vec![("ipv6_prefixes", bridge.ipv6_prefixes.len())],
            ),
            groups: ("security_group_ids", bridge.security_group_ids.len()),
        }
    }
}

/// What one interface has.
fn check_interface(quotas: &Quotas, path: &Path, slots: &Slots, problems: &mut Problems) {
    let v4 = Quota {
        limit: quotas.ipv4_addresses_per_network_interface,
        what: "IPv4 addresses and prefixes of a network interface",
        key: "ipv4_addresses_per_network_interface",
        code: "PrivateIpAddressLimitExceeded",
    };
    let v6 = Quota {
        limit: quotas.ipv6_addresses_per_network_interface,
        what: "IPv6 addresses and prefixes of a network interface",
        key: "ipv6_addresses_per_network_interface",
        code: "PrivateIpAddressLimitExceeded",
    };
    for (quota, (alone, arrays)) in [(v4, &slots.v4), (v6, &slots.v6)] {
        let mut left = (quota.limit as usize).saturating_sub(*alone);
        for &(key, count) in arrays {
            if count > left {
                problems.add(path.key(key).index(left), quota.exceeded());
                break;
            }
            left -= count;
        }
    }
    let quota = Quota {
        limit: quotas.security_groups_per_network_interface,
        what: "security groups of a network interface",
        key: "security_groups_per_network_interface",
        code: "SecurityGroupsPerInterfaceLimitExceeded",
    };
    let (key, count) = slots.groups;
    if count > quota.limit as usize {
        problems.add(path.key(key).index(quota.limit as usize), quota.exceeded());
    }
}
