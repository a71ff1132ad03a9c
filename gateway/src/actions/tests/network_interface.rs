//! Network interfaces.

use serde_json::{Value, json};

use super::{Bench, DOCUMENT, on, texts};
use crate::actions::Request;

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

#[test]
fn only_an_interface_that_is_attached_to_nothing_can_be_deleted() {
    let mut bench = Bench::new();
    let web = json!({ "network_interface_id": "eni-web" });
    assert_eq!(
        bench.refused("DeleteNetworkInterface", web.clone()),
        "InvalidNetworkInterface.InUse"
    );
    bench.act("DetachNetworkInterface", json!({ "attachment_id": "eni-attach-web" }));
    bench.act("DeleteNetworkInterface", web.clone());
    assert_eq!(bench.association("eipalloc-web"), None, "it stays allocated");
    assert_eq!(bench.refused("DeleteNetworkInterface", web), "InvalidNetworkInterfaceID.NotFound");
    let tables = bench.act("DescribeRouteTables", json!({ "route_table_ids": ["rtb-main"] }));
    let routes = &tables["route_tables"][0]["routes"];
    assert_eq!(texts(routes, "state"), ["active", "active", "blackhole"]);
}

#[test]
fn an_interface_with_a_port_of_its_own_is_in_use() {
    let own = "[[network_interface]]\nnetwork_interface_id = \"eni-own\"\nsubnet_id = \"subnet-a\"\n\
               private_ip_address = \"10.0.1.77\"\nport = \"own0\"\n";
    let mut bench = Bench::of(&format!("{DOCUMENT}{own}"));
    assert_eq!(bench.interface("eni-own")["status"], "in-use");
    assert_eq!(
        bench.refused("DeleteNetworkInterface", json!({ "network_interface_id": "eni-own" })),
        "InvalidNetworkInterface.InUse"
    );
    let attach = json!({
        "network_interface_id": "eni-own", "instance_id": "i-two", "device_index": 1,
    });
    assert_eq!(bench.refused("AttachNetworkInterface", attach), "InvalidNetworkInterface.InUse");
    bench.present.clear();
    assert_eq!(bench.interface("eni-own")["status"], "available");
}

#[test]
fn attaching_and_detaching() {
    let mut bench = Bench::new();
    let attach = |eni: &str, instance: &str, index: u16| {
        json!({
            "network_interface_id": eni, "instance_id": instance, "device_index": index,
        })
    };
    let web = bench.interface("eni-web");
    assert_eq!(web["status"], "in-use");
    assert_eq!(web["attachment"]["attachment_id"], "eni-attach-web");
    assert_eq!(web["attachment"]["status"], "attached");
    assert_eq!(web["port"], "one1");
    assert_eq!(
        bench.refused("AttachNetworkInterface", attach("eni-web", "i-two", 1)),
        "InvalidNetworkInterface.InUse"
    );
    bench
        .act("DetachNetworkInterface", json!({ "attachment_id": "eni-attach-web", "force": true }));
    let free = bench.interface("eni-web");
    assert_eq!((&free["status"], &free["attachment"]), (&json!("available"), &Value::Null));
    assert_eq!(
        bench.refused("AttachNetworkInterface", attach("eni-web", "i-none", 1)),
        "InvalidInstanceID.NotFound"
    );
    let attached = bench.act("AttachNetworkInterface", attach("eni-web", "i-two", 1));
    assert_eq!(attached["network_card_index"], 0);
    let moved = bench.interface("eni-web");
    assert_eq!(moved["attachment"]["attachment_id"], attached["attachment_id"]);
    assert_ne!(attached["attachment_id"], "eni-attach-web");
    assert_eq!(moved["attachment"]["delete_on_termination"], false);
    assert_eq!(moved["port"], "two1");
    for field in ["private_ip_addresses", "groups", "association", "mac_address"] {
        if field == "mac_address" {
            assert!(moved[field].is_string());
        }
        assert_eq!(moved[field], web[field], "{field} follows the interface");
    }
    assert_eq!(
        bench.refused("DetachNetworkInterface", json!({ "attachment_id": "eni-attach-web" })),
        "InvalidAttachmentID.NotFound",
        "an attachment that was is not the one that is"
    );
    assert_eq!(
        bench.refused("DetachNetworkInterface", json!({ "attachment_id": "x" })),
        "InvalidNetworkInterfaceAttachmentId.Malformed"
    );
}

#[test]
fn a_primary_interface_is_neither_detached_nor_moved() {
    let mut bench = Bench::new();
    let attachment = bench.interface("eni-one")["attachment"]["attachment_id"].take();
    for force in [false, true] {
        let detach = json!({ "attachment_id": attachment, "force": force });
        assert_eq!(bench.refused("DetachNetworkInterface", detach), "OperationNotPermitted");
    }
    let to =
        json!({ "network_interface_id": "eni-one", "instance_id": "i-two", "device_index": 1 });
    assert_eq!(bench.refused("MoveNetworkInterface", to), "OperationNotPermitted");
}

#[test]
fn moving_is_detaching_and_attaching_at_once() {
    let mut bench = Bench::new();
    let to =
        json!({ "network_interface_id": "eni-web", "instance_id": "i-two", "device_index": 1 });
    let moved = bench.act("MoveNetworkInterface", to.clone());
    let web = bench.interface("eni-web");
    assert_eq!(web["attachment"]["instance_id"], "i-two");
    assert_eq!(web["attachment"]["attachment_id"], moved["attachment_id"]);
    assert_eq!(web["association"]["public_ip"], "203.0.113.8");

    bench.act("DetachNetworkInterface", json!({ "attachment_id": moved["attachment_id"] }));
    bench.act("MoveNetworkInterface", to);
    assert_eq!(bench.interface("eni-web")["attachment"]["instance_id"], "i-two");
}

#[test]
fn an_interface_whose_port_is_gone_is_available_though_it_is_attached() {
    let mut bench = Bench::new();
    bench.present.remove("one1");
    let web = bench.interface("eni-web");
    assert_eq!(web["status"], "available");
    assert_eq!(web["attachment"]["status"], "detached");
    assert_eq!(web["attachment"]["instance_id"], "i-one");
    bench.act("StopInstances", json!({ "instance_ids": ["i-one"] }));
    let web = bench.interface("eni-web");
    assert_eq!(
        (&web["status"], &web["attachment"]["status"]),
        (&json!("in-use"), &json!("attached"))
    );
}

#[test]
fn attributes_are_changed_one_at_a_time() {
    let mut bench = Bench::new();
    let mut modify = |attribute: &str, value: Value| {
        bench.act(
            "ModifyNetworkInterfaceAttribute",
            json!({ "network_interface_id": "eni-web", attribute: value }),
        );
        bench.interface("eni-web")
    };
    assert_eq!(modify("description", json!({ "value": "new" }))["description"], "new");
    assert_eq!(modify("source_dest_check", json!({ "value": false }))["source_dest_check"], false);
    let tracking = json!({ "tcp_established_timeout": 60, "udp_timeout": 45 });
    assert_eq!(
        modify("connection_tracking_specification", tracking)["connection_tracking_configuration"],
        json!({ "tcp_established_timeout": 60, "udp_stream_timeout": 180, "udp_timeout": 45 })
    );
    let attachment = json!({ "attachment_id": "eni-attach-web", "delete_on_termination": true });
    assert_eq!(modify("attachment", attachment)["attachment"]["delete_on_termination"], true);

    let mut refused =
        |parameters: Value| bench.refused("ModifyNetworkInterfaceAttribute", parameters);
    assert_eq!(
        refused(json!({ "network_interface_id": "eni-web" })),
        "InvalidParameterCombination"
    );
    assert_eq!(
        refused(json!({
            "network_interface_id": "eni-web", "description": { "value": "a" }, "groups": ["sg-web"],
        })),
        "InvalidParameterCombination"
    );
    assert_eq!(
        refused(json!({ "network_interface_id": "eni-web", "groups": [] })),
        "InvalidParameterValue"
    );
    assert_eq!(
        refused(json!({
            "network_interface_id": "eni-web",
            "attachment": { "attachment_id": "eni-attach-x", "delete_on_termination": true },
        })),
        "InvalidAttachmentID.NotFound"
    );
}

#[test]
fn groups_are_replaced_as_a_set_and_the_default_one_can_be_named() {
    let mut bench = Bench::new();
    let groups = bench.act("DescribeSecurityGroups", json!({ "group_names": ["default"] }));
    let default = groups["security_groups"][0]["group_id"].clone();
    assert_eq!(groups["security_groups"][0]["vpc_id"], "vpc-a");
    bench.act(
        "ModifyNetworkInterfaceAttribute",
        json!({ "network_interface_id": "eni-web", "groups": [default, "sg-web"] }),
    );
    let told = bench.interface("eni-web")["groups"].take();
    assert_eq!(texts(&told, "group_name"), ["default", "web"]);
    assert_eq!(told[0]["group_id"], default, "it is the same group as before");
    let again = bench.act("DescribeSecurityGroups", json!({ "group_ids": [default] }));
    assert_eq!(again["security_groups"][0], groups["security_groups"][0], "and says the same");
}

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

#[test]
fn managed_interfaces_are_told_about_and_nothing_else() {
    let mut bench = Bench::new();
    let all = bench.act("DescribeNetworkInterfaces", json!({}));
    let managed = all["network_interfaces"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(managed["requester_managed"], true);
    assert_eq!(
        (&managed["status"], &managed["source_dest_check"]),
        (&json!("in-use"), &json!(false))
    );
    assert_eq!(managed["association"]["allocation_id"], "eipalloc-nat");
    let id = &managed["network_interface_id"];
    for (action, parameters) in [
        ("DeleteNetworkInterface", json!({ "network_interface_id": id })),
        (
            "AttachNetworkInterface",
            json!({ "network_interface_id": id, "instance_id": "i-two", "device_index": 1 }),
        ),
        (
            "MoveNetworkInterface",
            json!({ "network_interface_id": id, "instance_id": "i-two", "device_index": 1 }),
        ),
        (
            "ModifyNetworkInterfaceAttribute",
            json!({ "network_interface_id": id, "description": { "value": "mine" } }),
        ),
        (
            "AssignPrivateIpAddresses",
            json!({ "network_interface_id": id, "secondary_private_ip_address_count": 1 }),
        ),
        ("AssignIpv6Addresses", json!({ "network_interface_id": id, "ipv6_address_count": 1 })),
        (
            "UnassignPrivateIpAddresses",
            json!({ "network_interface_id": id, "private_ip_addresses": ["10.0.4.4"] }),
        ),
        (
            "UnassignIpv6Addresses",
            json!({ "network_interface_id": id, "ipv6_addresses": ["fd00:a:0:1::4"] }),
        ),
        (
            "AssociateAddress",
            json!({ "allocation_id": "eipalloc-web", "network_interface_id": id }),
        ),
        ("CreateTags", json!({ "resources": [id], "tags": [{ "key": "a", "value": "b" }] })),
    ] {
        assert_eq!(bench.refused(action, parameters), "OperationNotPermitted", "{action}");
    }
}

#[test]
fn several_actions_are_one_change_or_none() {
    let mut bench = Bench::new();
    let request =
        |action: &str, parameters: Value| Request { action: action.to_owned(), parameters };
    let to_two = || {
        request(
            "AttachNetworkInterface",
            json!({ "network_interface_id": "eni-web", "instance_id": "i-two", "device_index": 1 }),
        )
    };
    let detach = || request("DetachNetworkInterface", json!({ "attachment_id": "eni-attach-web" }));
    let before = bench.document.clone();
    let refusal = bench.attempt(vec![detach(), to_two(), to_two()]).unwrap_err();
    assert_eq!(refusal.code, "InvalidNetworkInterface.InUse");
    assert!(refusal.message.starts_with("actions[2]: "), "{refusal}");
    assert_eq!(bench.document, before);

    let ask = request("DescribeNetworkInterfaces", json!({ "network_interface_ids": ["eni-web"] }));
    let answers = bench.attempt(vec![detach(), to_two(), ask]).unwrap();
    assert_eq!(answers.len(), 3);
    assert_eq!(
        answers[2]["network_interfaces"][0]["attachment"]["attachment_id"],
        answers[1]["attachment_id"],
        "each sees what those before it have made"
    );
}

#[test]
fn a_managed_interface_keeps_the_address_that_was_chosen_for_it() {
    let private = "nat_gateway = [{ nat_gateway_id = \"nat-b\", subnet_id = \"subnet-tiny\", \
                   connectivity_type = \"private\" }, {";
    let low = "[[network_interface]]\nnetwork_interface_id = \"eni-low\"\n\
               subnet_id = \"subnet-tiny\"\nprivate_ip_address = \"10.0.2.4\"\n";
    let mut bench = Bench::of(&format!("{}{low}", DOCUMENT.replace("nat_gateway = [{", private)));
    let managed = |bench: &mut Bench| {
        let all = bench.act("DescribeNetworkInterfaces", json!({}));
        let all = all["network_interfaces"].as_array().unwrap().clone();
        let of_b = |it: &Value| it["description"] == "Interface for NAT Gateway nat-b";
        all.into_iter().find(of_b).unwrap()["private_ip_address"].clone()
    };
    assert_eq!(managed(&mut bench), "10.0.2.5");
    let its_own = json!({ "subnet_id": "subnet-tiny", "private_ip_address": "10.0.2.5" });
    assert_eq!(bench.refused("CreateNetworkInterface", its_own), "InvalidIPAddress.InUse");
    bench.act("DeleteNetworkInterface", json!({ "network_interface_id": "eni-low" }));
    assert_eq!(managed(&mut bench), "10.0.2.5");
    assert_eq!(bench.document.nat_gateway[0].private_ip_address, "10.0.2.5".parse().ok());
    let next = bench.act("CreateNetworkInterface", json!({ "subnet_id": "subnet-tiny" }));
    assert_eq!(next["network_interface"]["private_ip_address"], "10.0.2.4");
}
