//! Instances.

use serde_json::{Value, json};

use super::{Bench, texts};

fn three() -> Value {
    json!({
        "instance_id": "i-three",
        "ports": [{ "name": "three0" }, { "name": "three1", "device_index": 1 }],
        "network_interfaces": [{ "device_index": 0, "subnet_id": "subnet-a" }],
    })
}

#[test]
fn an_instance_is_run_with_a_primary_interface_that_goes_with_it() {
    let mut bench = Bench::new();
    bench.present.insert("three0".into());
    let run = bench.act("RunInstances", three());
    let instance = &run["instances"][0];
    assert_eq!(instance["instance_id"], "i-three");
    assert_eq!(instance["state"], json!({ "code": 16, "name": "running" }));
    assert_eq!(instance["private_ip_address"], "10.0.1.6");
    assert_eq!(instance["placement"]["availability_zone"], "local-1a");
    assert_eq!(
        instance["ports"][0],
        json!({
            "name": "three0", "device_index": 0, "network_card_index": 0, "present": true,
        })
    );
    assert_eq!(instance["ports"][1]["present"], false);
    let interface = &instance["network_interfaces"][0];
    assert_eq!(interface["status"], "in-use");
    assert_eq!(interface["attachment"]["delete_on_termination"], true);
    let id = interface["network_interface_id"].clone();

    let terminated = bench.act("TerminateInstances", json!({ "instance_ids": ["i-three"] }));
    assert_eq!(
        terminated["terminating_instances"],
        json!([{
            "instance_id": "i-three",
            "current_state": { "code": 48, "name": "terminated" },
            "previous_state": { "code": 16, "name": "running" },
        }])
    );
    assert_eq!(
        bench.refused("DescribeInstances", json!({ "instance_ids": ["i-three"] })),
        "InvalidInstanceID.NotFound"
    );
    assert_eq!(
        bench.refused("DescribeNetworkInterfaces", json!({ "network_interface_ids": [id] })),
        "InvalidNetworkInterfaceID.NotFound"
    );
}

#[test]
fn an_interface_that_was_there_before_is_attached_cold_and_stays_when_the_instance_goes() {
    let mut bench = Bench::new();
    bench.act(
        "CreateNetworkInterface",
        json!({ "subnet_id": "subnet-a", "network_interface_id": "eni-kept" }),
    );
    let mut wanted = three();
    wanted["network_interfaces"] = json!([
        { "device_index": 0, "network_interface_id": "eni-kept" },
        { "device_index": 1, "subnet_id": "subnet-tiny", "delete_on_termination": false },
    ]);
    let run = bench.act("RunInstances", wanted);
    let interfaces = &run["instances"][0]["network_interfaces"];
    assert_eq!(interfaces[0]["network_interface_id"], "eni-kept");
    assert_eq!(interfaces[0]["attachment"]["delete_on_termination"], false);
    let second = interfaces[1]["network_interface_id"].as_str().unwrap().to_owned();
    bench.act("TerminateInstances", json!({ "instance_ids": ["i-three"] }));
    for id in ["eni-kept", &second] {
        let left = bench.interface(id);
        assert_eq!((&left["status"], &left["attachment"]), (&json!("available"), &Value::Null));
    }
}

#[test]
fn what_cannot_be_run_is_refused() {
    let mut bench = Bench::new();
    for (interfaces, code) in [
        (json!([]), "MissingParameter"),
        (json!([{ "device_index": 1, "subnet_id": "subnet-a" }]), "MissingParameter"),
        (json!([{ "device_index": 0 }]), "MissingParameter"),
        (
            json!([{ "device_index": 0, "subnet_id": "subnet-a", "network_interface_id": "eni-web" }]),
            "InvalidParameterCombination",
        ),
        (
            json!([{ "device_index": 0, "network_interface_id": "eni-web" }]),
            "InvalidNetworkInterface.InUse",
        ),
        (
            json!([
                {
                    "device_index": 0, "subnet_id": "subnet-public",
                    "associate_public_ip_address": true,
                },
                { "device_index": 1, "subnet_id": "subnet-a" },
            ]),
            "InvalidParameterCombination",
        ),
    ] {
        let mut wanted = three();
        wanted["network_interfaces"] = interfaces.clone();
        assert_eq!(bench.refused("RunInstances", wanted), code, "{interfaces}");
    }
    let mut twice = three();
    twice["instance_id"] = json!("i-one");
    assert_eq!(bench.refused("RunInstances", twice), "InvalidParameterValue");
    let mut port = three();
    port["ports"] = json!([{ "name": "one0" }]);
    assert_eq!(bench.refused("RunInstances", port), "InvalidNetworkInterface.InUse");
}

#[test]
fn a_public_address_is_for_a_lone_interface() {
    let mut bench = Bench::new();
    let mut run = |id: &str, port: &str, interfaces: Value| {
        let ports = json!([{ "name": port }, { "name": format!("{port}x"), "device_index": 1 }]);
        let run = bench.act(
            "RunInstances",
            json!({ "instance_id": id, "ports": ports, "network_interfaces": interfaces }),
        );
        let eni = &run["instances"][0]["network_interfaces"][0]["network_interface_id"];
        let interfaces = &bench.document.network_interface;
        let made = interfaces.iter().find(|it| it.network_interface_id.to_string() == *eni);
        made.unwrap().public_ip.is_some()
    };
    let primary = json!({ "device_index": 0, "subnet_id": "subnet-public" });
    assert!(run("i-a", "a", json!([primary])));
    let second = json!({ "device_index": 1, "subnet_id": "subnet-a" });
    assert!(!run("i-b", "b", json!([primary, second])));
    let without = json!({
        "device_index": 0, "subnet_id": "subnet-public", "associate_public_ip_address": false,
    });
    assert!(!run("i-c", "c", json!([without])));
    let with = json!({
        "device_index": 0, "subnet_id": "subnet-a", "associate_public_ip_address": true,
    });
    assert!(run("i-d", "d", json!([with])));
}

#[test]
fn a_stopped_instance_keeps_its_interfaces_and_takes_more() {
    let mut bench = Bench::new();
    let stopped = bench.act("StopInstances", json!({ "instance_ids": ["i-two", "i-one"] }));
    assert_eq!(texts(&stopped["stopping_instances"], "instance_id"), ["i-two", "i-one"]);
    assert_eq!(stopped["stopping_instances"][0]["current_state"]["code"], 80);
    let to =
        json!({ "network_interface_id": "eni-web", "instance_id": "i-two", "device_index": 1 });
    bench.act("MoveNetworkInterface", to);
    let told = bench.act("DescribeInstances", json!({ "instance_ids": ["i-two"] }));
    let instance = &told["instances"][0];
    assert_eq!(instance["state"]["name"], "stopped");
    assert_eq!(
        texts(&instance["network_interfaces"], "network_interface_id"),
        ["eni-two", "eni-web"]
    );
    assert_eq!(bench.interface("eni-web")["port"], Value::Null, "no packet reaches it");
    let started = bench.act("StartInstances", json!({ "instance_ids": ["i-two"] }));
    assert_eq!(started["starting_instances"][0]["previous_state"]["name"], "stopped");
    assert_eq!(bench.interface("eni-web")["port"], "two1");

    for action in ["StartInstances", "StopInstances", "TerminateInstances"] {
        let none = json!({ "instance_ids": ["i-one", "i-none"] });
        assert_eq!(bench.refused(action, none), "InvalidInstanceID.NotFound");
        assert_eq!(bench.refused(action, json!({ "instance_ids": [] })), "MissingParameter");
    }
}
