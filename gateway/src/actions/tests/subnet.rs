//! Subnets.

use serde_json::json;

use super::Bench;

#[test]
fn a_subnet_tells_how_many_addresses_are_free() {
    let mut bench = Bench::new();
    let free = |bench: &mut Bench, id: &str| {
        let told = bench.act("DescribeSubnets", json!({ "subnet_ids": [id] }));
        told["subnets"][0]["available_ip_address_count"].as_u64().unwrap()
    };
    assert_eq!(free(&mut bench, "subnet-tiny"), 11, "16 less the reserved ones");
    assert_eq!(free(&mut bench, "subnet-a"), 256 - 5 - 5);
    assert_eq!(free(&mut bench, "subnet-public"), 256 - 5 - 1, "the NAT gateway has one");
    bench.act(
        "AssignPrivateIpAddresses",
        json!({ "network_interface_id": "eni-web", "ipv4_prefix_count": 2 }),
    );
    assert_eq!(free(&mut bench, "subnet-a"), 256 - 5 - 5 - 32);
}

#[test]
fn a_subnet_is_made_in_its_vpc_and_deleted_when_nothing_is_in_it() {
    let mut bench = Bench::new();
    let made = bench.act(
        "CreateSubnet",
        json!({ "vpc_id": "vpc-a", "cidr_block": "10.0.9.7/24", "subnet_id": "subnet-new" }),
    );
    assert_eq!(made["subnet"]["cidr_block"], "10.0.9.0/24");
    assert_eq!(made["subnet"]["availability_zone"], "local-1a");
    for (parameters, code) in [
        (json!({ "vpc_id": "vpc-a", "cidr_block": "10.0.9.128/25" }), "InvalidSubnet.Conflict"),
        (json!({ "vpc_id": "vpc-a", "cidr_block": "10.1.0.0/24" }), "InvalidSubnet.Range"),
        (json!({ "vpc_id": "vpc-a", "cidr_block": "10.0.10.0/29" }), "InvalidSubnet.Range"),
        (json!({ "vpc_id": "vpc-x", "cidr_block": "10.0.10.0/24" }), "InvalidVpcID.NotFound"),
    ] {
        assert_eq!(bench.refused("CreateSubnet", parameters.clone()), code, "{parameters}");
    }
    for used in ["subnet-a", "subnet-public"] {
        let code = bench.refused("DeleteSubnet", json!({ "subnet_id": used }));
        assert_eq!(code, "DependencyViolation", "{used}");
    }
    bench.act("DeleteSubnet", json!({ "subnet_id": "subnet-new" }));
    assert_eq!(
        bench.refused("DeleteSubnet", json!({ "subnet_id": "subnet-new" })),
        "InvalidSubnetID.NotFound"
    );
}

#[test]
fn attributes_are_for_interfaces_that_are_made_later() {
    let mut bench = Bench::new();
    bench.act(
        "ModifySubnetAttribute",
        json!({ "subnet_id": "subnet-a", "assign_ipv6_address_on_creation": { "value": true } }),
    );
    let made = bench.act("CreateNetworkInterface", json!({ "subnet_id": "subnet-a" }));
    assert_eq!(made["network_interface"]["ipv6_address"], "fd00:a:0:1::4");
    let without = bench
        .act("CreateNetworkInterface", json!({ "subnet_id": "subnet-a", "ipv6_address_count": 0 }));
    assert_eq!(without["network_interface"]["ipv6_addresses"], json!([]));
    assert_eq!(bench.interface("eni-one")["ipv6_addresses"], json!([]));

    for (parameters, code) in [
        (json!({ "subnet_id": "subnet-a" }), "InvalidParameterCombination"),
        (
            json!({
                "subnet_id": "subnet-a", "map_public_ip_on_launch": { "value": true },
                "assign_ipv6_address_on_creation": { "value": true },
            }),
            "InvalidParameterCombination",
        ),
        (
            json!({
                "subnet_id": "subnet-tiny", "assign_ipv6_address_on_creation": { "value": true },
            }),
            "InvalidParameterValue",
        ),
    ] {
        assert_eq!(bench.refused("ModifySubnetAttribute", parameters), code);
    }
}
