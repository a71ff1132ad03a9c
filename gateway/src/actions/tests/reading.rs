//! Parameters that are not as they should be.

use serde_json::{Value, json};

use super::Bench;
use crate::actions::{Request, find};

#[test]
fn an_action_that_there_is_not_is_invalid() {
    assert_eq!(find("TerminateInstances").map(drop), Ok(()));
    assert_eq!(find("terminateinstances").unwrap_err().code, "InvalidAction");
}

#[test]
fn parameters_that_are_unknown_missing_or_wrong_are_told_by_their_names() {
    let mut bench = Bench::new();
    for (parameters, code, told) in [
        (json!({ "subnet_id": "subnet-a", "colour": 1 }), "UnknownParameter", "colour"),
        (json!({}), "MissingParameter", "subnet_id"),
        (Value::Null, "MissingParameter", "subnet_id"),
        (json!({ "subnet_id": 5 }), "InvalidParameterValue", "subnet_id: "),
        (
            json!({ "subnet_id": "subnet-a", "private_ip_address": "10.0.1.300" }),
            "InvalidParameterValue",
            "private_ip_address: ",
        ),
        (
            json!({ "subnet_id": "subnet-a", "private_ip_addresses": [{ "primary": true }] }),
            "MissingParameter",
            "private_ip_addresses[0]: ",
        ),
        (json!([1]), "InvalidParameterValue", ""),
    ] {
        let request =
            Request { action: "CreateNetworkInterface".to_owned(), parameters: parameters.clone() };
        let refusal = bench.attempt(vec![request]).unwrap_err();
        assert_eq!(refusal.code, code, "{parameters}: {refusal}");
        assert!(refusal.message.contains(told), "{parameters}: {refusal}");
    }
}

#[test]
fn ids_that_are_dealt_out_replay_from_a_seed_and_never_repeat() {
    let ids = |seed| -> Vec<String> {
        let mut bench = Bench::new();
        bench.ids = crate::actions::IdSource::new(seed);
        let mut next = || {
            let made = bench.act("CreateNetworkInterface", json!({ "subnet_id": "subnet-a" }));
            made["network_interface"]["network_interface_id"].as_str().unwrap().to_owned()
        };
        vec![next(), next(), next()]
    };
    let (first, again, other) = (ids(1), ids(1), ids(2));
    assert_eq!(first, again);
    let mut all = [first, other].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 6);
}
