//! Addresses and prefixes that come and go after an interface was made.

use serde_json::{Value, json};

use crate::actions::tests::{Bench, on, texts};

#[test]
fn a_secondary_address_moves_with_its_elastic_one_if_that_is_allowed() {
    let mut bench = Bench::new();
    bench.act(
        "AssociateAddress",
        json!({
            "allocation_id": "eipalloc-web", "network_interface_id": "eni-web",
            "private_ip_address": "10.0.1.11",
        }),
    );
    assert_eq!(bench.association("eipalloc-web"), on("eni-web", "10.0.1.11"));
    let take = |address: &str, allow: bool| {
        json!({
            "network_interface_id": "eni-two", "private_ip_addresses": [address],
            "allow_reassignment": allow,
        })
    };
    for (address, allow) in [("10.0.1.11", false), ("10.0.1.10", true), ("10.0.1.10", false)] {
        let code = bench.refused("AssignPrivateIpAddresses", take(address, allow));
        assert_eq!(code, "Resource.AlreadyAssigned", "{address} {allow}");
    }
    let assigned = bench.act("AssignPrivateIpAddresses", take("10.0.1.11", true));
    assert_eq!(
        assigned["assigned_private_ip_addresses"],
        json!([{ "private_ip_address": "10.0.1.11" }])
    );
    let web = bench.interface("eni-web");
    assert_eq!(
        texts(&web["private_ip_addresses"], "private_ip_address"),
        ["10.0.1.10", "10.0.1.12"]
    );
    assert_eq!(bench.association("eipalloc-web"), on("eni-two", "10.0.1.11"));

    bench.act("AssignPrivateIpAddresses", take("10.0.1.11", false));
    let two = bench.interface("eni-two");
    assert_eq!(
        texts(&two["private_ip_addresses"], "private_ip_address"),
        ["10.0.1.5", "10.0.1.11"],
        "what it has already it has once"
    );
}

#[test]
fn what_is_assigned_is_said_in_one_way() {
    let mut bench = Bench::new();
    let eni = json!({ "network_interface_id": "eni-web" });
    for (action, one, other) in [
        ("AssignPrivateIpAddresses", "secondary_private_ip_address_count", "ipv4_prefix_count"),
        ("AssignIpv6Addresses", "ipv6_address_count", "ipv6_prefix_count"),
    ] {
        assert_eq!(bench.refused(action, eni.clone()), "MissingParameter");
        let both = json!({ "network_interface_id": "eni-web", one: 1, other: 1 });
        assert_eq!(bench.refused(action, both), "InvalidParameterCombination");
    }
    for action in ["UnassignPrivateIpAddresses", "UnassignIpv6Addresses"] {
        assert_eq!(bench.refused(action, eni.clone()), "MissingParameter");
    }
}

#[test]
fn addresses_that_cannot_be_assigned_are_refused() {
    let mut bench = Bench::new();
    for (address, code) in [
        ("10.0.2.9", "InvalidParameterValue"),
        ("10.0.1.255", "InvalidParameterValue"),
        ("10.0.1.4", "Resource.AlreadyAssigned"),
    ] {
        let parameters =
            json!({ "network_interface_id": "eni-web", "private_ip_addresses": [address] });
        assert_eq!(bench.refused("AssignPrivateIpAddresses", parameters), code, "{address}");
    }
    let managed = bench.act("DescribeNetworkInterfaces", json!({}));
    let managed = managed["network_interfaces"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(managed["interface_type"], "natGateway");
    bench.act(
        "CreateNetworkInterface",
        json!({ "subnet_id": "subnet-public", "network_interface_id": "eni-pub" }),
    );
    let parameters = json!({
        "network_interface_id": "eni-pub", "allow_reassignment": true,
        "private_ip_addresses": [managed["private_ip_address"]],
    });
    assert_eq!(bench.refused("AssignPrivateIpAddresses", parameters), "Resource.AlreadyAssigned");
}

#[test]
fn what_is_unassigned_leaves_its_elastic_address_at_rest() {
    let mut bench = Bench::new();
    bench.act(
        "AssignPrivateIpAddresses",
        json!({ "network_interface_id": "eni-web", "ipv4_prefixes": ["10.0.1.32/28"] }),
    );
    bench.act(
        "AssociateAddress",
        json!({
            "allocation_id": "eipalloc-web", "network_interface_id": "eni-web",
            "private_ip_address": "10.0.1.40",
        }),
    );
    assert_eq!(bench.association("eipalloc-web"), on("eni-web", "10.0.1.40"));
    let mut unassign = |parameters: Value| bench.refused("UnassignPrivateIpAddresses", parameters);
    for parameters in [
        json!({ "network_interface_id": "eni-web", "private_ip_addresses": ["10.0.1.10"] }),
        json!({ "network_interface_id": "eni-web", "private_ip_addresses": ["10.0.1.13"] }),
        json!({ "network_interface_id": "eni-web", "ipv4_prefixes": ["10.0.1.48/28"] }),
    ] {
        assert_eq!(unassign(parameters), "InvalidParameterValue");
    }
    bench.act(
        "UnassignPrivateIpAddresses",
        json!({
            "network_interface_id": "eni-web", "private_ip_addresses": ["10.0.1.12"],
            "ipv4_prefixes": ["10.0.1.32/28"],
        }),
    );
    assert_eq!(bench.association("eipalloc-web"), None);
    let web = bench.interface("eni-web");
    assert_eq!(web["ipv4_prefixes"], json!([]));
    assert_eq!(
        texts(&web["private_ip_addresses"], "private_ip_address"),
        ["10.0.1.10", "10.0.1.11"]
    );
}

#[test]
fn ipv6_addresses_and_prefixes_come_and_go() {
    let mut bench = Bench::new();
    let eni = "eni-web";
    let assigned = bench.act(
        "AssignIpv6Addresses",
        json!({ "network_interface_id": eni, "ipv6_address_count": 2 }),
    );
    assert_eq!(assigned["assigned_ipv6_addresses"], json!(["fd00:a:0:1::4", "fd00:a:0:1::5"]));
    let assigned = bench.act(
        "AssignIpv6Addresses",
        json!({ "network_interface_id": eni, "ipv6_prefixes": ["fd00:a:0:1:9::/80"] }),
    );
    assert_eq!(assigned["assigned_ipv6_prefixes"], json!(["fd00:a:0:1:9::/80"]));
    bench.act(
        "UnassignIpv6Addresses",
        json!({
            "network_interface_id": eni, "ipv6_addresses": ["fd00:a:0:1::10", "fd00:a:0:1::4"],
            "ipv6_prefixes": ["fd00:a:0:1:9::/80"],
        }),
    );
    let web = bench.interface(eni);
    assert_eq!(texts(&web["ipv6_addresses"], "ipv6_address"), ["fd00:a:0:1::5"]);
    assert_eq!(web["ipv6_address"], "fd00:a:0:1::5", "the first one left is the primary one");
    assert_eq!(web["ipv6_prefixes"], json!([]));
    for parameters in [
        json!({ "network_interface_id": eni, "ipv6_addresses": ["fd00:a:0:1::4"] }),
        json!({ "network_interface_id": eni, "ipv6_prefixes": ["fd00:a:0:1:9::/80"] }),
    ] {
        assert_eq!(bench.refused("UnassignIpv6Addresses", parameters), "InvalidParameterValue");
    }
    let outside = json!({ "network_interface_id": eni, "ipv6_addresses": ["fd00:a:0:2::4"] });
    assert_eq!(bench.refused("AssignIpv6Addresses", outside), "InvalidParameterValue");
}
