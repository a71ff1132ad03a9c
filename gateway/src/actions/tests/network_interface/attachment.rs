//! Attaching, detaching and moving, and when an interface is free to be deleted.

use serde_json::{Value, json};

use crate::actions::Request;
use crate::actions::tests::{Bench, DOCUMENT, texts};

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
