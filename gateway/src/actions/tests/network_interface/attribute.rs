//! What can be changed about an interface that is there.

use serde_json::{Value, json};

use crate::actions::tests::{Bench, texts};

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
