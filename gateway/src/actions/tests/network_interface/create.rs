//! What is made, with which addresses, and what cannot be.

use serde_json::json;

use crate::actions::tests::{Bench, texts};

#[test]
fn an_interface_gets_what_is_asked_for_and_the_lowest_free_addresses_for_the_rest() {
    let mut bench = Bench::new();
    let made = bench.act(
        "CreateNetworkInterface",
        json!({
            "subnet_id": "subnet-a",
            "secondary_private_ip_address_count": 3,
            "ipv6_address_count": 1,
            "description": "a test",
            "groups": ["sg-web"],
            "tag_specifications": [
                { "resource_type": "network-interface", "tags": [{ "key": "Name", "value": "x" }] },
            ],
        }),
    );
    let made = &made["network_interface"];
    let id = made["network_interface_id"].as_str().unwrap();
    assert_eq!(id.len(), "eni-".len() + 17, "{id}");
    assert_eq!(made["status"], "available");
    assert_eq!(made["private_ip_address"], "10.0.1.6");
    assert_eq!(
        texts(&made["private_ip_addresses"], "private_ip_address"),
        ["10.0.1.6", "10.0.1.7", "10.0.1.8", "10.0.1.9"]
    );
    assert_eq!(texts(&made["ipv6_addresses"], "ipv6_address"), ["fd00:a:0:1::4"]);
    assert_eq!(made["groups"], json!([{ "group_id": "sg-web", "group_name": "web" }]));
    assert_eq!(made["tag_set"], json!([{ "key": "Name", "value": "x" }]));
    assert_eq!(made["description"], "a test");
    assert_eq!(made["requester_managed"], false);
    assert_eq!(made["interface_type"], "interface");
    assert_eq!(made["source_dest_check"], true);
    assert_eq!((&made["vpc_id"], &made["owner_id"]), (&json!("vpc-a"), &json!("000000000000")));
    assert_eq!(bench.interface(id), *made);

    let next = bench.act(
        "CreateNetworkInterface",
        json!({ "subnet_id": "subnet-a", "network_interface_id": "eni-mine" }),
    );
    let next = &next["network_interface"];
    assert_eq!(next["network_interface_id"], "eni-mine");
    assert_eq!(next["private_ip_address"], "10.0.1.13");
    assert_eq!(next["groups"][0]["group_name"], "default");
}

#[test]
fn a_primary_address_among_the_private_ones_is_the_primary_one() {
    let mut bench = Bench::new();
    let made = bench.act(
        "CreateNetworkInterface",
        json!({
            "subnet_id": "subnet-a",
            "private_ip_addresses": [
                { "private_ip_address": "10.0.1.21" },
                { "private_ip_address": "10.0.1.20", "primary": true },
            ],
        }),
    );
    let addresses = &made["network_interface"]["private_ip_addresses"];
    assert_eq!(texts(addresses, "private_ip_address"), ["10.0.1.20", "10.0.1.21"]);
    assert_eq!(addresses[0]["primary"], true);
    assert_eq!(addresses[1]["primary"], false);
}

#[test]
fn prefixes_are_the_lowest_whole_ones_and_no_address_is_chosen_from_them() {
    let mut bench = Bench::new();
    let made = bench.act(
        "CreateNetworkInterface",
        json!({
            "subnet_id": "subnet-a", "network_interface_id": "eni-p",
            "ipv4_prefix_count": 2, "ipv6_prefix_count": 1,
        }),
    );
    let made = &made["network_interface"];
    // 10.0.1.0/28 has addresses in it that are in use.
    assert_eq!(
        made["ipv4_prefixes"],
        json!([{ "ipv4_prefix": "10.0.1.16/28" }, { "ipv4_prefix": "10.0.1.32/28" }])
    );
    assert_eq!(made["ipv6_prefixes"], json!([{ "ipv6_prefix": "fd00:a:0:1:1::/80" }]));
    let assigned = bench.act(
        "AssignPrivateIpAddresses",
        json!({ "network_interface_id": "eni-p", "secondary_private_ip_address_count": 9 }),
    );
    let addresses = texts(&assigned["assigned_private_ip_addresses"], "private_ip_address");
    assert_eq!(
        addresses,
        [
            "10.0.1.7",
            "10.0.1.8",
            "10.0.1.9",
            "10.0.1.13",
            "10.0.1.14",
            "10.0.1.15",
            "10.0.1.48",
            "10.0.1.49",
            "10.0.1.50"
        ]
    );
    let next = bench.act(
        "AssignPrivateIpAddresses",
        json!({ "network_interface_id": "eni-p", "ipv4_prefix_count": 1 }),
    );
    assert_eq!(next["assigned_ipv4_prefixes"], json!([{ "ipv4_prefix": "10.0.1.64/28" }]));
}

#[test]
fn ways_of_choosing_addresses_exclude_each_other() {
    let mut bench = Bench::new();
    let ways = [
        ("private_ip_addresses", json!([{ "private_ip_address": "10.0.1.30" }])),
        ("secondary_private_ip_address_count", json!(1)),
        ("ipv4_prefixes", json!([{ "ipv4_prefix": "10.0.1.64/28" }])),
        ("ipv4_prefix_count", json!(1)),
    ];
    let ways_v6 = [
        ("ipv6_addresses", json!([{ "ipv6_address": "fd00:a:0:1::99" }])),
        ("ipv6_address_count", json!(1)),
        ("ipv6_prefixes", json!([{ "ipv6_prefix": "fd00:a:0:1:7::/80" }])),
        ("ipv6_prefix_count", json!(1)),
    ];
    for ways in [ways, ways_v6] {
        for (one, (first, value)) in ways.iter().enumerate() {
            for (second, other) in &ways[one + 1..] {
                let parameters = json!({ "subnet_id": "subnet-a", *first: value, *second: other });
                let code = bench.refused("CreateNetworkInterface", parameters);
                assert_eq!(code, "InvalidParameterCombination", "{first} {second}");
            }
        }
    }
    for parameters in [
        json!({
            "subnet_id": "subnet-a", "private_ip_address": "10.0.1.30",
            "private_ip_addresses": [{ "private_ip_address": "10.0.1.31", "primary": true }],
        }),
        json!({
            "subnet_id": "subnet-a", "interface_type": "efa-only",
            "private_ip_address": "10.0.1.30",
        }),
    ] {
        let code = bench.refused("CreateNetworkInterface", parameters);
        assert_eq!(code, "InvalidParameterCombination");
    }
}

#[test]
fn what_cannot_be_made_is_refused_with_ec2s_code() {
    let mut bench = Bench::new();
    for (parameters, code) in [
        (json!({ "subnet_id": "subnet-x" }), "InvalidSubnetID.NotFound"),
        (json!({ "subnet_id": "x" }), "InvalidSubnetID.Malformed"),
        (
            json!({ "subnet_id": "subnet-a", "network_interface_id": "x" }),
            "InvalidNetworkInterfaceId.Malformed",
        ),
        (
            json!({ "subnet_id": "subnet-a", "network_interface_id": "eni-web" }),
            "InvalidParameterValue",
        ),
        (
            json!({ "subnet_id": "subnet-a", "private_ip_address": "10.0.2.9" }),
            "InvalidParameterValue",
        ),
        (
            json!({ "subnet_id": "subnet-a", "private_ip_address": "10.0.1.3" }),
            "InvalidParameterValue",
        ),
        (
            json!({ "subnet_id": "subnet-a", "private_ip_address": "10.0.1.10" }),
            "InvalidIPAddress.InUse",
        ),
        (json!({ "subnet_id": "subnet-tiny", "ipv6_address_count": 1 }), "InvalidParameterValue"),
        (
            json!({ "subnet_id": "subnet-tiny", "secondary_private_ip_address_count": 11 }),
            "InsufficientFreeAddressesInSubnet",
        ),
        (
            json!({ "subnet_id": "subnet-tiny", "ipv4_prefix_count": 1 }),
            "InsufficientFreeAddressesInSubnet",
        ),
        (json!({ "subnet_id": "subnet-segment" }), "MissingParameter"),
        (json!({ "subnet_id": "subnet-a", "groups": ["sg-x"] }), "InvalidGroup.NotFound"),
        (json!({ "subnet_id": "subnet-a", "groups": ["x"] }), "InvalidGroupId.Malformed"),
        (
            json!({
                "subnet_id": "subnet-a",
                "tag_specifications": [{ "resource_type": "instance", "tags": [] }],
            }),
            "InvalidParameterValue",
        ),
        (json!({ "subnet_id": "subnet-a", "interface_type": "trunk" }), "InvalidParameterValue"),
    ] {
        assert_eq!(
            bench.refused("CreateNetworkInterface", parameters.clone()),
            code,
            "{parameters}"
        );
    }
}

#[test]
fn a_subnet_runs_out_of_addresses() {
    let mut bench = Bench::new();
    let one = json!({ "subnet_id": "subnet-tiny" });
    for last in 4..=14 {
        let made = bench.act("CreateNetworkInterface", one.clone());
        assert_eq!(
            made["network_interface"]["private_ip_address"],
            format!("10.0.2.{last}").as_str()
        );
    }
    let code = bench.refused("CreateNetworkInterface", one);
    assert_eq!(code, "InsufficientFreeAddressesInSubnet");
}

#[test]
fn an_interface_in_a_public_subnet_gets_a_public_address_and_keeps_it() {
    let mut bench = Bench::new();
    let made = bench.act(
        "CreateNetworkInterface",
        json!({ "subnet_id": "subnet-public", "network_interface_id": "eni-pub" }),
    );
    // 10.0.4.4 is the NAT gateway's, 203.0.113.8 is allocated.
    assert_eq!(made["network_interface"]["private_ip_address"], "10.0.4.5");
    bench.act(
        "ModifySubnetAttribute",
        json!({ "subnet_id": "subnet-public", "map_public_ip_on_launch": { "value": false } }),
    );
    let eni = bench
        .document
        .network_interface
        .iter()
        .find(|it| it.network_interface_id.to_string() == "eni-pub");
    assert_eq!(eni.unwrap().public_ip, "203.0.113.9".parse().ok());
    bench.act(
        "CreateNetworkInterface",
        json!({ "subnet_id": "subnet-public", "network_interface_id": "eni-later" }),
    );
    assert_eq!(bench.document.network_interface.last().unwrap().public_ip, None);
}

#[test]
fn public_addresses_run_out() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.act("CreateNetworkInterface", json!({ "subnet_id": "subnet-public" }));
    }
    let code = bench.refused("CreateNetworkInterface", json!({ "subnet_id": "subnet-public" }));
    assert_eq!(code, "InsufficientAddressCapacity");
}
