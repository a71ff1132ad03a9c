//! Rules for ids, VPCs, subnets and ports.

use super::{OTHER_TENANT, built, message_with, problems_beside, problems_of, problems_with};

#[test]
fn an_empty_document_is_a_good_one() {
    assert!(super::build("").is_ok());
}

#[test]
fn the_second_use_of_an_id_is_refused_for_every_kind() {
    let twice = r#"
        vpc = [
            { vpc_id = "vpc-a", cidr_block = "10.0.0.0/16" },
            { vpc_id = "vpc-a", cidr_block = "10.1.0.0/16" },
        ]
        subnet = [
            { subnet_id = "subnet-a", vpc_id = "vpc-a", cidr_block = "10.0.0.0/24" },
            { subnet_id = "subnet-a", vpc_id = "vpc-a", cidr_block = "10.0.1.0/24" },
        ]
        route_table = [
            { route_table_id = "rtb-a", vpc_id = "vpc-a" },
            { route_table_id = "rtb-a", vpc_id = "vpc-a" },
        ]
        uplink = [
            { uplink_id = "uplink-a", port = "a", addresses = ["192.0.2.1/24"] },
            { uplink_id = "uplink-a", port = "b", addresses = ["192.0.2.2/24"] },
        ]
        address = [
            { allocation_id = "eipalloc-a", public_ip = "192.0.2.3" },
            { allocation_id = "eipalloc-a", public_ip = "192.0.2.4" },
        ]
        network_interface = [
            { network_interface_id = "eni-a", subnet_id = "subnet-a", private_ip_address = "10.0.0.10" },
            { network_interface_id = "eni-a", subnet_id = "subnet-a", private_ip_address = "10.0.0.11" },
        ]
        nat_gateway = [
            { nat_gateway_id = "nat-a", subnet_id = "subnet-a", connectivity_type = "private" },
            { nat_gateway_id = "nat-a", subnet_id = "subnet-a", connectivity_type = "private" },
        ]
        load_balancer = [
            { load_balancer_name = "a", scheme = "internal", subnet_mapping = [{ subnet_id = "subnet-a" }] },
            { load_balancer_name = "a", scheme = "internal", subnet_mapping = [{ subnet_id = "subnet-a" }] },
        ]
        target_group = [
            { target_group_name = "a", protocol = "TCP", port = 80, vpc_id = "vpc-a" },
            { target_group_name = "a", protocol = "TCP", port = 80, vpc_id = "vpc-a" },
        ]
        lambda_bridge = [
            { lambda_bridge_id = "bridge-a", subnet_id = "subnet-a" },
            { lambda_bridge_id = "bridge-a", subnet_id = "subnet-a" },
        ]
    "#;
    let mut problems = problems_of(twice);
    problems.sort_unstable();
    assert_eq!(
        problems,
        [
            "address[1].allocation_id: InvalidParameterValue",
            "lambda_bridge[1].lambda_bridge_id: InvalidParameterValue",
            "load_balancer[1].load_balancer_name: DuplicateLoadBalancerName",
            "nat_gateway[1].nat_gateway_id: InvalidParameterValue",
            "network_interface[1].network_interface_id: InvalidParameterValue",
            "route_table[1].route_table_id: InvalidParameterValue",
            "subnet[1].subnet_id: InvalidParameterValue",
            "target_group[1].target_group_name: DuplicateTargetGroupName",
            "uplink[1].uplink_id: InvalidParameterValue",
            "vpc[1].vpc_id: InvalidParameterValue",
        ]
    );
}

#[test]
fn every_reference_to_something_that_does_not_exist_is_reported_at_once() {
    let dangling = r#"
        subnet = [
            { subnet_id = "subnet-a", vpc_id = "vpc-a", cidr_block = "10.0.0.0/24" },
        ]
        route_table = [{ route_table_id = "rtb-a", vpc_id = "vpc-a" }]
        internet_gateway = [
            { internet_gateway_id = "igw-a", vpc_id = "vpc-a", uplink_id = "uplink-a" },
        ]
        network_interface = [
            { network_interface_id = "eni-a", subnet_id = "subnet-b", private_ip_address = "10.0.0.9" },
        ]
        nat_gateway = [
            { nat_gateway_id = "nat-a", subnet_id = "subnet-b", allocation_ids = ["eipalloc-a"] },
        ]
        load_balancer = [
            { load_balancer_name = "a", scheme = "internal", subnet_mapping = [{ subnet_id = "subnet-b" }], listener = [{ protocol = "TCP", port = 80, target_group_name = "a" }] },
        ]
        target_group = [{ target_group_name = "b", protocol = "TCP", port = 80, vpc_id = "vpc-a" }]
        lambda_bridge = [{ lambda_bridge_id = "bridge-a", subnet_id = "subnet-b" }]
    "#;
    let mut problems = problems_of(dangling);
    problems.sort_unstable();
    assert_eq!(
        problems,
        [
            "internet_gateway[0].uplink_id: InvalidUplinkID.NotFound",
            "internet_gateway[0].vpc_id: InvalidVpcID.NotFound",
            "lambda_bridge[0].subnet_id: InvalidSubnetID.NotFound",
            "load_balancer[0].listener[0].target_group_name: TargetGroupNotFound",
            "load_balancer[0].subnet_mapping[0].subnet_id: InvalidSubnetID.NotFound",
            "nat_gateway[0].allocation_ids[0]: InvalidAllocationID.NotFound",
            "nat_gateway[0].subnet_id: InvalidSubnetID.NotFound",
            "network_interface[0].subnet_id: InvalidSubnetID.NotFound",
            "route_table[0].vpc_id: InvalidVpcID.NotFound",
            "subnet[0].vpc_id: InvalidVpcID.NotFound",
            "target_group[0].vpc_id: InvalidVpcID.NotFound",
        ]
    );
}

#[test]
fn a_block_of_a_wrong_size_form_or_place_is_refused() {
    for (block, code) in [
        ("10.0.0.0/15", "InvalidVpc.Range"),
        ("10.0.0.0/29", "InvalidVpc.Range"),
        ("10.0.1.0/16", "InvalidParameterValue"),
        ("127.0.0.0/16", "InvalidParameterValue"),
        ("0.0.0.0/16", "InvalidParameterValue"),
        ("169.254.0.0/16", "InvalidParameterValue"),
        ("224.0.0.0/16", "InvalidParameterValue"),
    ] {
        let problems =
            problems_of(&format!(r#"vpc = [{{ vpc_id = "vpc-a", cidr_block = "{block}" }}]"#));
        assert_eq!(problems, [format!("vpc[0].cidr_block: {code}")], "{block}");
    }
    for (block, code) in [
        ("fd00::/15", "InvalidVpc.Range"),
        ("fd00::/65", "InvalidVpc.Range"),
        ("fd00::1/64", "InvalidParameterValue"),
        ("fe80::/64", "InvalidParameterValue"),
        ("ff00::/64", "InvalidParameterValue"),
        ("64:ff9b::/64", "InvalidParameterValue"),
    ] {
        let problems = problems_of(&format!(
            r#"vpc = [{{ vpc_id = "vpc-a", cidr_block = "10.0.0.0/16", ipv6_cidr_block = "{block}" }}]"#
        ));
        assert_eq!(problems, [format!("vpc[0].ipv6_cidr_block: {code}")], "{block}");
    }
}

#[test]
fn the_largest_and_smallest_blocks_of_ec2_are_taken() {
    for block in ["10.0.0.0/16", "10.0.0.0/28"] {
        let text = format!(
            r#"
            vpc = [{{ vpc_id = "vpc-a", cidr_block = "{block}" }}]
            subnet = [{{ subnet_id = "subnet-a", vpc_id = "vpc-a", cidr_block = "{block}" }}]
            "#
        );
        assert!(super::build(&text).is_ok(), "{block}");
    }
}

#[test]
fn a_subnet_outside_its_vpc_is_refused_in_either_family() {
    let outside = r#"
        [[subnet]]
        subnet_id = "subnet-c"
        vpc_id = "vpc-a"
        cidr_block = "10.1.0.0/24"
        ipv6_cidr_block = "fd00:b::/64"
    "#;
    assert_eq!(
        problems_with(outside),
        [
            "subnet[2].cidr_block: InvalidSubnet.Range",
            "subnet[2].ipv6_cidr_block: InvalidSubnet.Range"
        ]
    );
}

#[test]
fn an_ipv6_subnet_needs_an_ipv6_vpc() {
    let text = r#"
        vpc = [{ vpc_id = "vpc-a", cidr_block = "10.0.0.0/16" }]
        subnet = [{ subnet_id = "subnet-a", vpc_id = "vpc-a", cidr_block = "10.0.0.0/24", ipv6_cidr_block = "fd00::/64" }]
    "#;
    assert_eq!(problems_of(text), ["subnet[0].ipv6_cidr_block: InvalidParameterValue"]);
}

#[test]
fn overlapping_subnets_of_one_vpc_are_refused_and_the_later_one_is_named() {
    let overlapping = r#"
        [[subnet]]
        subnet_id = "subnet-c"
        vpc_id = "vpc-a"
        cidr_block = "10.0.0.128/25"
        [[subnet]]
        subnet_id = "subnet-d"
        vpc_id = "vpc-a"
        cidr_block = "10.0.0.0/23"
        ipv6_cidr_block = "fd00:a:0:1::/64"
    "#;
    let mut problems = problems_with(overlapping);
    problems.sort_unstable();
    assert_eq!(
        problems,
        [
            // The /25 is inside the first /24, the /23 around both.
            "subnet[2].cidr_block: InvalidSubnet.Conflict",
            "subnet[3].cidr_block: InvalidSubnet.Conflict",
            "subnet[3].cidr_block: InvalidSubnet.Conflict",
            "subnet[3].ipv6_cidr_block: InvalidSubnet.Conflict",
        ]
    );
    assert_eq!(
        message_with(
            r#"
            [[subnet]]
            subnet_id = "subnet-c"
            vpc_id = "vpc-a"
            cidr_block = "10.0.1.16/28"
            "#
        ),
        "subnet[2].cidr_block: 10.0.1.16/28 overlaps 10.0.1.0/24 of subnet-private in the same \
         VPC (InvalidSubnet.Conflict)"
    );
}

#[test]
fn two_vpcs_may_have_the_same_addresses() {
    let snapshot = built(&format!(
        r#"
        {OTHER_TENANT}
        [[network_interface]]
        network_interface_id = "eni-a"
        subnet_id = "subnet-public"
        private_ip_address = "10.0.0.10"
        mac_address = "02:00:00:00:00:01"
        port = "a0"
        [[network_interface]]
        network_interface_id = "eni-b"
        subnet_id = "subnet-b"
        private_ip_address = "10.0.0.10"
        mac_address = "02:00:00:00:00:01"
        port = "b0"
        "#
    ));
    let [(a, _), (b, _)] = snapshot.vpcs().collect::<Vec<_>>()[..] else { panic!("two VPCs") };
    let address = "10.0.0.10".parse().expect("address");
    let id_at = |vpc| snapshot.eni(snapshot.eni_at(vpc, address).expect("there")).id.to_string();
    assert_eq!((id_at(a), id_at(b)), ("eni-a".to_owned(), "eni-b".to_owned()));
}

#[test]
fn a_subnet_may_only_use_a_table_of_its_own_vpc() {
    let other = r#"
        [[subnet]]
        subnet_id = "subnet-c"
        vpc_id = "vpc-b"
        cidr_block = "10.0.1.0/24"
        route_table_id = "rtb-public"
    "#;
    assert_eq!(problems_beside(other), ["subnet[3].route_table_id: InvalidParameterValue"]);
}

#[test]
fn a_subnet_may_not_use_a_table_that_does_not_exist() {
    let other = r#"
        [[subnet]]
        subnet_id = "subnet-c"
        vpc_id = "vpc-a"
        cidr_block = "10.0.2.0/24"
        route_table_id = "rtb-publik"
    "#;
    assert_eq!(problems_with(other), ["subnet[2].route_table_id: InvalidRouteTableID.NotFound"]);
}

#[test]
fn a_port_serves_one_thing() {
    let more = r#"
        [[network_interface]]
        network_interface_id = "eni-a"
        subnet_id = "subnet-private"
        private_ip_address = "10.0.1.10"
        port = "wan0"
        [[network_interface]]
        network_interface_id = "eni-b"
        subnet_id = "subnet-private"
        private_ip_address = "10.0.1.11"
        port = "tap0"
        [[network_interface]]
        network_interface_id = "eni-c"
        subnet_id = "subnet-private"
        private_ip_address = "10.0.1.12"
        port = "tap0"
        [[subnet]]
        subnet_id = "subnet-c"
        vpc_id = "vpc-a"
        cidr_block = "10.0.2.0/24"
        port = "tap0"
    "#;
    assert_eq!(
        problems_with(more),
        [
            "network_interface[0].port: InvalidNetworkInterface.InUse",
            "network_interface[1].port: InvalidNetworkInterface.InUse",
            "network_interface[2].port: InvalidNetworkInterface.InUse",
        ]
    );
}

#[test]
fn a_text_that_linux_refuses_as_a_name_is_refused_here() {
    for name in ["", "a/b", "a b", "a:1", ".", "..", "sixteen-bytes-xx"] {
        let more = format!(
            r#"
            [[subnet]]
            subnet_id = "subnet-c"
            vpc_id = "vpc-a"
            cidr_block = "10.0.2.0/24"
            port = "{name}"
            "#
        );
        assert_eq!(problems_with(&more), ["subnet[2].port: InvalidParameterValue"], "{name:?}");
    }
    let longest = r#"
        [[subnet]]
        subnet_id = "subnet-c"
        vpc_id = "vpc-a"
        cidr_block = "10.0.2.0/24"
        port = "Fifteen-bytes.x"
    "#;
    assert!(built(longest).port_role("Fifteen-bytes.x").is_some());
}
