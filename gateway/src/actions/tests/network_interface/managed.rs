//! Interfaces that belong to a NAT gateway.

use serde_json::{Value, json};

use crate::actions::tests::{Bench, DOCUMENT};

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
