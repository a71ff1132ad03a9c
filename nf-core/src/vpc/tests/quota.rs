//! Quotas: each is reported once, at the first element past it, and names the key to raise.

use std::fmt::Write as _;

use super::{build, built, message_with, problems_with};

/// One element after another, made from its number.
fn elements(count: usize, element: impl Fn(usize) -> String) -> String {
    (0..count).map(element).collect()
}

fn vpcs(count: usize) -> String {
    // BASE has one.
    elements(count - 1, |n| {
        format!("[[vpc]]\nvpc_id = \"vpc-q{n}\"\ncidr_block = \"10.0.0.0/16\"\n")
    })
}

fn addresses(count: usize) -> String {
    elements(count, |n| {
        format!(
            "[[address]]\nallocation_id = \"eipalloc-q{n}\"\npublic_ip = \"198.51.100.{}\"\n",
            n + 1
        )
    })
}

fn interfaces(count: usize) -> String {
    elements(count, |n| {
        format!(
            "[[network_interface]]\nnetwork_interface_id = \"eni-q{n}\"\n\
             subnet_id = \"subnet-private\"\nprivate_ip_address = \"10.0.1.{}\"\n",
            n + 10
        )
    })
}

fn subnets(vpc: &str, count: usize) -> String {
    elements(count, |n| {
        format!(
            "[[subnet]]\nsubnet_id = \"subnet-{vpc}{n}\"\nvpc_id = \"{vpc}\"\n\
             cidr_block = \"10.0.{}.0/24\"\n",
            n + 10
        )
    })
}

fn tables(count: usize) -> String {
    elements(count, |n| {
        format!("[[route_table]]\nroute_table_id = \"rtb-q{n}\"\nvpc_id = \"vpc-a\"\n")
    })
}

fn nat_gateways(subnet: &str, count: usize) -> String {
    elements(count, |n| {
        format!(
            "[[nat_gateway]]\nnat_gateway_id = \"nat-{subnet}{n}\"\nsubnet_id = \"{subnet}\"\n\
             connectivity_type = \"private\"\n"
        )
    })
}

fn security_groups(count: usize) -> String {
    elements(count, |n| {
        format!(
            "[[security_group]]\ngroup_id = \"sg-q{n}\"\ngroup_name = \"q{n}\"\n\
             vpc_id = \"vpc-a\"\n"
        )
    })
}

fn prefix_lists(count: usize) -> String {
    elements(count, |n| {
        format!(
            "[[prefix_list]]\nprefix_list_id = \"pl-q{n}\"\nprefix_list_name = \"q{n}\"\n\
             max_entries = 4\n"
        )
    })
}

#[test]
fn the_defaults_are_ec2s() {
    for (good, bad, message) in [
        (
            vpcs(5),
            vpcs(6),
            "vpc[5]: a quota allows 5 VPCs: remove some, or raise quotas.vpcs (VpcLimitExceeded)",
        ),
        (
            addresses(5),
            addresses(6),
            "address[5]: a quota allows 5 Elastic IP addresses: remove some, or raise \
             quotas.elastic_ips (AddressLimitExceeded)",
        ),
        (
            nat_gateways("subnet-private", 5),
            nat_gateways("subnet-private", 6),
            "nat_gateway[5]: a quota allows 5 NAT gateways of an availability zone: remove some, \
             or raise quotas.nat_gateways_per_availability_zone (NatGatewayLimitExceeded)",
        ),
        (
            prefix_lists(100),
            prefix_lists(101),
            "prefix_list[100]: a quota allows 100 prefix lists: remove some, or raise \
             quotas.prefix_lists (ResourceLimitExceeded)",
        ),
    ] {
        built(&good);
        assert_eq!(message_with(&bad), message);
    }
}

#[test]
fn a_quota_that_is_exceeded_is_reported_at_the_first_element_past_it() {
    for (more, quota, problem) in [
        (vpcs(3), "vpcs = 2", "vpc[2]: VpcLimitExceeded"),
        (
            "[[internet_gateway]]\ninternet_gateway_id = \"igw-b\"\nvpc_id = \"vpc-q0\"\n\
             uplink_id = \"uplink-wan\"\n"
                .to_owned()
                + &vpcs(2),
            "internet_gateways = 1",
            "internet_gateway[1]: InternetGatewayLimitExceeded",
        ),
        (subnets("vpc-a", 3), "subnets_per_vpc = 3", "subnet[3]: SubnetLimitExceeded"),
        (tables(4), "route_tables_per_vpc = 3", "route_table[3]: RouteTableLimitExceeded"),
        (addresses(4), "elastic_ips = 2", "address[2]: AddressLimitExceeded"),
        (
            security_groups(4),
            "security_groups = 2",
            "security_group[2]: SecurityGroupLimitExceeded",
        ),
        (prefix_lists(4), "prefix_lists = 2", "prefix_list[2]: ResourceLimitExceeded"),
        (
            interfaces(4),
            "network_interfaces = 2",
            "network_interface[2]: NetworkInterfaceLimitExceeded",
        ),
    ] {
        assert_eq!(problems_with(&format!("{more}\n[quotas]\n{quota}")), [problem], "{quota}");
    }
}

#[test]
fn managed_interfaces_count_as_well() {
    let more = interfaces(2)
        + &nat_gateways("subnet-private", 1)
        + r#"
        [[load_balancer]]
        load_balancer_name = "web"
        scheme = "internal"
        subnet_mapping = [{ subnet_id = "subnet-public" }, { subnet_id = "subnet-private" }]
        [[lambda_bridge]]
        lambda_bridge_id = "bridge-a"
        subnet_id = "subnet-private"
        "#;
    for (limit, path) in [
        (1, Some("network_interface[1]")),
        (2, Some("nat_gateway[0]")),
        (3, Some("load_balancer[0].subnet_mapping[0]")),
        (4, Some("load_balancer[0].subnet_mapping[1]")),
        (5, Some("lambda_bridge[0]")),
        (6, None),
    ] {
        let more = format!("{more}\n[quotas]\nnetwork_interfaces = {limit}");
        match path {
            None => drop(built(&more)),
            Some(path) => assert_eq!(
                problems_with(&more),
                [format!("{path}: NetworkInterfaceLimitExceeded")],
                "{limit}"
            ),
        }
    }
}

#[test]
fn what_counts_for_a_vpc_or_a_zone_counts_for_each_alone() {
    let other = "[[vpc]]\nvpc_id = \"vpc-b\"\ncidr_block = \"10.0.0.0/16\"\n".to_owned();
    built(&(other + &subnets("vpc-a", 1) + &subnets("vpc-b", 3) + "[quotas]\nsubnets_per_vpc = 3"));

    let other_zone = "[[subnet]]\nsubnet_id = \"subnet-z\"\nvpc_id = \"vpc-a\"\n\
                      cidr_block = \"10.0.2.0/24\"\navailability_zone = \"local-1b\"\n"
        .to_owned()
        + &nat_gateways("subnet-private", 2)
        + &nat_gateways("subnet-z", 2);
    built(&format!("{other_zone}\n[quotas]\nnat_gateways_per_availability_zone = 2"));
}

#[test]
fn a_route_table_has_routes_of_either_family_apart() {
    let mut routes = String::new();
    for n in 0..3 {
        let _ = write!(
            routes,
            "{{ destination_cidr_block = \"192.0.{n}.0/24\", gateway_id = \"igw-a\" }},
            {{ destination_ipv6_cidr_block = \"2001:db8:{n}::/48\", gateway_id = \"igw-a\" }},"
        );
    }
    let more = format!(
        "[[route_table]]\nroute_table_id = \"rtb-q\"\nvpc_id = \"vpc-a\"\nroute = [{routes}]\n"
    );
    built(&format!("{more}[quotas]\nroutes_per_route_table = 3"));
    assert_eq!(
        problems_with(&format!("{more}[quotas]\nroutes_per_route_table = 2")),
        [
            "route_table[1].route[4]: RouteLimitExceeded",
            "route_table[1].route[5]: RouteLimitExceeded"
        ]
    );
}

#[test]
fn a_prefix_takes_one_slot() {
    let more = interfaces(1)
        + r#"
        secondary_private_ip_addresses = ["10.0.1.11"]
        ipv4_prefixes = ["10.0.1.16/28", "10.0.1.32/28"]
        ipv6_addresses = ["fd00:a:0:1::10"]
        ipv6_prefixes = ["fd00:a:0:1:7::/80", "fd00:a:0:1:8::/80"]
        [[lambda_bridge]]
        lambda_bridge_id = "bridge-a"
        subnet_id = "subnet-private"
        ipv4_prefixes = ["10.0.1.64/28", "10.0.1.80/28", "10.0.1.96/28"]
        ipv6_address = "fd00:a:0:1::20"
        ipv6_prefixes = ["fd00:a:0:1:9::/80", "fd00:a:0:1:a::/80"]
        "#;
    let quotas = |v4: u32, v6: u32| {
        format!(
            "{more}[quotas]\nipv4_addresses_per_network_interface = {v4}\n\
             ipv6_addresses_per_network_interface = {v6}"
        )
    };
    built(&quotas(4, 3));
    assert_eq!(
        problems_with(&quotas(3, 2)),
        [
            "network_interface[0].ipv4_prefixes[1]: PrivateIpAddressLimitExceeded",
            "network_interface[0].ipv6_prefixes[1]: PrivateIpAddressLimitExceeded",
            "lambda_bridge[0].ipv4_prefixes[2]: PrivateIpAddressLimitExceeded",
            "lambda_bridge[0].ipv6_prefixes[1]: PrivateIpAddressLimitExceeded",
        ]
    );
    assert_eq!(
        problems_with(&quotas(1, 0))[..2],
        [
            "network_interface[0].secondary_private_ip_addresses[0]: PrivateIpAddressLimitExceeded",
            "network_interface[0].ipv6_addresses[0]: PrivateIpAddressLimitExceeded",
        ]
    );
}

#[test]
fn quotas_go_no_further_than_ec2_raises_them() {
    let quotas = |groups: u32, rules: u32| {
        format!(
            "[quotas]\nsecurity_groups_per_network_interface = {groups}\n\
             rules_per_security_group = {rules}"
        )
    };
    for (groups, rules) in [(5, 200), (16, 62), (1, 1000)] {
        assert!(build(&quotas(groups, rules)).is_ok(), "{groups} {rules}");
    }
    for (groups, rules, key) in [
        (17, 60, "security_groups_per_network_interface"),
        (0, 60, "security_groups_per_network_interface"),
        (5, 201, "rules_per_security_group"),
        (16, 63, "rules_per_security_group"),
    ] {
        assert_eq!(
            super::problems_of(&quotas(groups, rules)),
            [format!("quotas.{key}: InvalidParameterValue")],
            "{groups} {rules}"
        );
    }
    assert_eq!(
        super::problems_of("[quotas]\nipv4_addresses_per_network_interface = 0"),
        ["quotas.ipv4_addresses_per_network_interface: InvalidParameterValue"]
    );
}
