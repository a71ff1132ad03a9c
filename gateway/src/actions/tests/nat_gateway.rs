//! Actions on NAT gateways: `nat-a` of the bench is a public one with one address.

use super::*;
use crate::actions::nat_gateway::{end_drains, next_drain_end};

/// With three further Elastic IP addresses.
fn bench() -> Bench {
    let further = [1, 2, 3].map(|n| {
        let (id, ip) = (format!("eipalloc-{n}"), format!("203.0.113.3{n}"));
        format!("    {{ allocation_id = \"{id}\", public_ip = \"{ip}\" }},\n")
    });
    let further = further.concat();
    Bench::of(&DOCUMENT.replace("address = [\n", &format!("address = [\n{further}")))
}

fn gateway(bench: &mut Bench, id: &str) -> Value {
    let mut told = bench.act("DescribeNatGateways", json!({ "nat_gateway_ids": [id] }));
    told["nat_gateways"][0].take()
}

/// Private and public address of each of a gateway's, `*` if it is a primary one, and its status.
fn addresses(bench: &mut Bench, id: &str) -> Vec<String> {
    let told = gateway(bench, id);
    let of_one = |it: &Value| {
        let public = it["public_ip"].as_str().unwrap_or("-");
        let primary = if it["is_primary"] == true { " *" } else { "" };
        let (private, status) = (it["private_ip"].as_str(), it["status"].as_str());
        format!("{} {public}{primary} {}", private.unwrap_or("?"), status.unwrap_or("?"))
    };
    told["nat_gateway_addresses"].as_array().expect("a list").iter().map(of_one).collect()
}

/// The associations of a gateway, primary one first.
fn associations(bench: &mut Bench, id: &str) -> Vec<String> {
    texts(&gateway(bench, id)["nat_gateway_addresses"], "association_id")
}

fn associate(bench: &mut Bench, allocations: &[&str]) -> Value {
    let parameters = json!({ "nat_gateway_id": "nat-a", "allocation_ids": allocations });
    bench.act("AssociateNatGatewayAddress", parameters)
}

/// Makes the document what it is once the drains that are over by `now` have ended; what was said.
fn end_drains_at(bench: &mut Bench, now: u64) -> Vec<String> {
    bench.now = UnixTime(now);
    let mut draft = Draft::new(
        bench.document.clone(),
        bench.snapshot.clone(),
        Generation(2),
        bench.present.clone(),
        bench.ids.split(),
        bench.now,
    );
    let gone = end_drains(&mut draft).expect("valid without them");
    let changed = draft.finish().expect("looked at");
    bench.document = changed.document;
    bench.snapshot = changed.snapshot;
    gone
}

#[test]
fn a_public_gateway_is_made_with_addresses_that_are_written_down() {
    let mut bench = bench();
    let parameters = json!({
        "nat_gateway_id": "nat-new", "subnet_id": "subnet-public", "allocation_id": "eipalloc-1",
        "secondary_allocation_ids": ["eipalloc-2", "eipalloc-3"],
        "secondary_private_ip_addresses": ["10.0.4.9"],
        "mapping": "endpoint-independent",
        "tag_specifications": [{ "resource_type": "natgateway", "tags": [{ "key": "Name", "value": "x" }] }],
    });
    let made = bench.act("CreateNatGateway", parameters);
    let told = &made["nat_gateway"];
    assert_eq!(*told, gateway(&mut bench, "nat-new"));
    for (field, value) in [
        ("state", "available"),
        ("connectivity_type", "public"),
        ("subnet_id", "subnet-public"),
        ("vpc_id", "vpc-a"),
        ("mapping", "endpoint-independent"),
        ("filtering", "address-dependent"),
    ] {
        assert_eq!(told[field], value, "{field}");
    }
    assert_eq!(told["tags"], json!([{ "key": "Name", "value": "x" }]));
    let first = &told["nat_gateway_addresses"][0];
    assert_eq!(first["allocation_id"], "eipalloc-1");
    assert!(first["network_interface_id"].as_str().expect("an id").starts_with("eni-"));
    assert!(first["association_id"].as_str().expect("an id").starts_with("eipassoc-"));
    // 10.0.4.4 is nat-a's.
    assert_eq!(
        addresses(&mut bench, "nat-new"),
        [
            "10.0.4.5 203.0.113.31 * succeeded",
            "10.0.4.9 203.0.113.32 succeeded",
            "10.0.4.6 203.0.113.33 succeeded",
        ]
    );
    let declared = &bench.document.nat_gateway[1];
    assert_eq!(declared.private_ip_address, "10.0.4.5".parse().ok());
    let named: Vec<_> = declared.secondary_address.iter().map(|it| it.private_ip_address).collect();
    assert_eq!(named, ["10.0.4.9".parse().ok(), "10.0.4.6".parse().ok()]);
    let on = bench.association("eipalloc-2").expect("it is in use");
    assert_eq!((Some(&*on.0), &*on.1), (first["network_interface_id"].as_str(), "10.0.4.9"));
}

#[test]
fn a_private_gateway_is_made_with_as_many_addresses_as_are_asked_for() {
    let mut bench = bench();
    let parameters = |more: Value| {
        let mut all = json!({
            "nat_gateway_id": "nat-b", "subnet_id": "subnet-a", "connectivity_type": "private",
        });
        let more = more.as_object().expect("fields").clone();
        all.as_object_mut().expect("fields").extend(more);
        all
    };
    let count = parameters(json!({ "secondary_private_ip_address_count": 2 }));
    bench.act("CreateNatGateway", count);
    // Others have 10.0.1.4 and 10.0.1.5.
    let chosen = ["10.0.1.6 - * succeeded", "10.0.1.7 - succeeded", "10.0.1.8 - succeeded"];
    assert_eq!(addresses(&mut bench, "nat-b"), chosen);
    bench.act("DeleteNatGateway", json!({ "nat_gateway_id": "nat-b" }));
    let given = parameters(json!({
        "private_ip_address": "10.0.1.50", "secondary_private_ip_addresses": ["10.0.1.40"],
    }));
    bench.act("CreateNatGateway", given);
    let given = ["10.0.1.50 - * succeeded", "10.0.1.40 - succeeded"];
    assert_eq!(addresses(&mut bench, "nat-b"), given);
    for (wrong, code) in [
        (json!({ "allocation_id": "eipalloc-1" }), "InvalidParameterCombination"),
        (json!({ "secondary_allocation_ids": ["eipalloc-1"] }), "InvalidParameterCombination"),
        (json!({ "secondary_private_ip_address_count": 0 }), "InvalidParameterValue"),
        (json!({ "secondary_private_ip_address_count": 32 }), "InvalidParameterValue"),
        (
            json!({
                "secondary_private_ip_address_count": 1,
                "secondary_private_ip_addresses": ["10.0.1.60"],
            }),
            "InvalidParameterCombination",
        ),
        (json!({ "private_ip_address": "10.0.1.4" }), "InvalidIPAddress.InUse"),
        (json!({ "nat_gateway_id": "gateway" }), "NatGatewayMalformed"),
        (json!({ "nat_gateway_id": "nat-a" }), "InvalidParameterValue"),
    ] {
        let mut parameters = parameters(wrong.clone());
        if wrong.get("nat_gateway_id").is_none() {
            parameters["nat_gateway_id"] = json!("nat-c");
        }
        assert_eq!(bench.refused("CreateNatGateway", parameters), code, "{wrong}");
    }
}

#[test]
fn a_gateway_that_ec2_would_let_fail_is_refused_with_its_failure_code() {
    let mut bench = bench();
    let public = |subnet: &str, allocation: &str| json!({ "subnet_id": subnet, "allocation_id": allocation });
    for (parameters, code) in [
        (public("subnet-x", "eipalloc-1"), "InvalidSubnetID.NotFound"),
        (public("subnet-public", "eipalloc-x"), "InvalidAllocationID.NotFound"),
        (public("subnet-public", "eipalloc-nat"), "Resource.AlreadyAssociated"),
        (public("subnet-public", "eipalloc-web"), "Resource.AlreadyAssociated"),
        (public("subnet-b", "eipalloc-1"), "Gateway.NotAttached"),
        (json!({ "subnet_id": "subnet-public" }), "MissingParameter"),
        (public("subnet-segment", "eipalloc-1"), "MissingParameter"),
    ] {
        assert_eq!(bench.refused("CreateNatGateway", parameters.clone()), code, "{parameters}");
    }
    let too_many = json!({
        "subnet_id": "subnet-tiny", "connectivity_type": "private",
        "secondary_private_ip_address_count": 11,
    });
    let code = bench.refused("CreateNatGateway", too_many);
    assert_eq!(code, "InsufficientFreeAddressesInSubnet", "a /28 has 11 addresses");
}

#[test]
fn a_deleted_gateway_leaves_its_elastic_ip_addresses_and_blackholes_behind() {
    let mut bench = bench();
    let route = json!({
        "route_table_id": "rtb-spare", "destination_cidr_block": "0.0.0.0/0",
        "nat_gateway_id": "nat-a",
    });
    bench.act("CreateRoute", route);
    associate(&mut bench, &["eipalloc-1"]);
    let drain = associations(&mut bench, "nat-a")[1].clone();
    let parameters = json!({ "nat_gateway_id": "nat-a", "association_ids": [drain] });
    bench.act("DisassociateNatGatewayAddress", parameters);
    let deleted = bench.act("DeleteNatGateway", json!({ "nat_gateway_id": "nat-a" }));
    assert_eq!(deleted, json!({ "nat_gateway_id": "nat-a" }));
    assert_eq!(bench.act("DescribeNatGateways", json!({})), json!({ "nat_gateways": [] }));
    for allocation in ["eipalloc-nat", "eipalloc-1"] {
        assert_eq!(bench.association(allocation), None);
        bench.act("ReleaseAddress", json!({ "allocation_id": allocation }));
    }
    let told = bench.act("DescribeRouteTables", json!({ "route_table_ids": ["rtb-spare"] }));
    let routes = told["route_tables"][0]["routes"].as_array().expect("a list").clone();
    let route = routes.iter().find(|it| it["nat_gateway_id"] == "nat-a").expect("it is there");
    assert_eq!(route["state"], "blackhole");
    let again = bench.refused("DeleteNatGateway", json!({ "nat_gateway_id": "nat-a" }));
    assert_eq!(again, "InvalidNatGatewayID.NotFound");
}

#[test]
fn addresses_are_associated_and_only_those_are_told() {
    let mut bench = bench();
    let done = associate(&mut bench, &["eipalloc-2", "eipalloc-1"]);
    assert_eq!(done["nat_gateway_id"], "nat-a");
    assert_eq!(
        texts(&done["nat_gateway_addresses"], "public_ip"),
        ["203.0.113.32", "203.0.113.31"]
    );
    assert_eq!(
        addresses(&mut bench, "nat-a"),
        [
            "10.0.4.4 203.0.113.20 * succeeded",
            "10.0.4.5 203.0.113.32 succeeded",
            "10.0.4.6 203.0.113.31 succeeded",
        ]
    );
    let parameters = |allocations: &[&str], private: &[&str]| {
        json!({
            "nat_gateway_id": "nat-a", "allocation_ids": allocations,
            "private_ip_addresses": private,
        })
    };
    for (wrong, code) in [
        (parameters(&[], &[]), "MissingParameter"),
        (parameters(&["eipalloc-1"], &[]), "Resource.AlreadyAssociated"),
        (parameters(&["eipalloc-web"], &[]), "Resource.AlreadyAssociated"),
        (parameters(&["eipalloc-3", "eipalloc-3"], &[]), "Resource.AlreadyAssociated"),
        (parameters(&["eipalloc-x"], &[]), "InvalidAllocationID.NotFound"),
        (parameters(&["eipalloc-3"], &["10.0.4.5"]), "InvalidIPAddress.InUse"),
        (parameters(&["eipalloc-3"], &["10.0.1.5"]), "InvalidParameterValue"),
        (parameters(&["eipalloc-3"], &["10.0.4.7", "10.0.4.8"]), "InvalidParameterCombination"),
    ] {
        assert_eq!(bench.refused("AssociateNatGatewayAddress", wrong.clone()), code, "{wrong}");
    }
    bench.act("AssociateNatGatewayAddress", parameters(&["eipalloc-3"], &["10.0.4.200"]));
    assert_eq!(addresses(&mut bench, "nat-a")[3], "10.0.4.200 203.0.113.33 succeeded");
}

#[test]
fn a_gateway_has_32_addresses_at_most() {
    let mut bench = bench();
    let private = json!({
        "nat_gateway_id": "nat-b", "subnet_id": "subnet-a", "connectivity_type": "private",
        "secondary_private_ip_address_count": 31,
    });
    bench.act("CreateNatGateway", private);
    let one_more = json!({ "nat_gateway_id": "nat-b" });
    let code = bench.refused("AssignPrivateNatGatewayAddress", one_more);
    assert_eq!(code, "PrivateIpAddressLimitExceeded");
}

#[test]
fn what_an_address_stands_for_stays_whatever_comes_and_goes() {
    let mut bench = bench();
    // As somebody writes it by hand: the private addresses are the gateway's choice.
    let gateway = &mut bench.document.nat_gateway[0];
    gateway.allocation_ids.push("eipalloc-1".parse().expect("an id"));
    gateway.secondary_address = toml::from_str::<Document>(
        "nat_gateway = [{ nat_gateway_id = \"nat-a\", subnet_id = \"subnet-a\", \
         secondary_address = [{ allocation_id = \"eipalloc-2\" }] }]",
    )
    .expect("a document")
    .nat_gateway
    .remove(0)
    .secondary_address;
    bench.snapshot = Snapshot::build(Generation(1), &bench.document).expect("valid").into();
    let before = [
        "10.0.4.4 203.0.113.20 * succeeded",
        "10.0.4.5 203.0.113.31 succeeded",
        "10.0.4.6 203.0.113.32 succeeded",
    ];
    assert_eq!(addresses(&mut bench, "nat-a"), before);
    // One that is its choice is not taken from it.
    let taken = json!({ "subnet_id": "subnet-public", "private_ip_address": "10.0.4.6" });
    assert_eq!(bench.refused("CreateNetworkInterface", taken), "InvalidIPAddress.InUse");
    // And the one behind does not move up when one before it goes.
    let first = associations(&mut bench, "nat-a")[1].clone();
    let parameters = json!({ "nat_gateway_id": "nat-a", "association_ids": [first] });
    bench.act("DisassociateNatGatewayAddress", parameters);
    assert_eq!(bench.document.nat_gateway[0].allocation_ids.len(), 1);
    end_drains_at(&mut bench, 5_000);
    assert_eq!(addresses(&mut bench, "nat-a"), [before[0], before[2]]);
}

#[test]
fn an_address_that_is_disassociated_drains_until_its_time_is_up() {
    let mut bench = bench();
    associate(&mut bench, &["eipalloc-1", "eipalloc-2", "eipalloc-3"]);
    let all = associations(&mut bench, "nat-a");
    let parameters = |associations: &[&str], seconds: Value| {
        json!({
            "nat_gateway_id": "nat-a", "association_ids": associations,
            "max_drain_duration_seconds": seconds,
        })
    };
    for (wrong, code) in [
        (parameters(&[], json!(1)), "MissingParameter"),
        (parameters(&[&all[1]], json!(0)), "InvalidParameterValue"),
        (parameters(&[&all[1]], json!(4001)), "InvalidParameterValue"),
        (parameters(&[&all[0]], json!(1)), "OperationNotPermitted"),
        (parameters(&["eipassoc-x"], json!(1)), "InvalidAssociationID.NotFound"),
    ] {
        assert_eq!(bench.refused("DisassociateNatGatewayAddress", wrong.clone()), code, "{wrong}");
    }
    assert_eq!(next_drain_end(&bench.document), None);
    // Left out, it is 350 seconds: it is 1000 now.
    let done =
        bench.act("DisassociateNatGatewayAddress", parameters(&[&all[1], &all[3]], Value::Null));
    assert_eq!(texts(&done["nat_gateway_addresses"], "association_id"), [&*all[1], &*all[3]]);
    assert_eq!(texts(&done["nat_gateway_addresses"], "status"), ["disassociating"; 2]);
    assert_eq!(done["nat_gateway_addresses"][0]["drain_until"], 1_350);
    assert_eq!(next_drain_end(&bench.document), Some(UnixTime(1_350)));
    let drains = [
        "10.0.4.4 203.0.113.20 * succeeded",
        "10.0.4.5 203.0.113.31 disassociating",
        "10.0.4.6 203.0.113.32 succeeded",
        "10.0.4.7 203.0.113.33 disassociating",
    ];
    assert_eq!(addresses(&mut bench, "nat-a"), drains);

    // Until then nothing can be done to it, nor is an address free for somebody else.
    let code = bench.refused("DisassociateNatGatewayAddress", parameters(&[&all[2]], json!(1)));
    assert_eq!(code, "IncorrectState");
    let again = json!({ "nat_gateway_id": "nat-a", "allocation_ids": ["eipalloc-1"] });
    assert_eq!(bench.refused("AssociateNatGatewayAddress", again), "IncorrectState");
    let release = json!({ "allocation_id": "eipalloc-1" });
    assert_eq!(bench.refused("ReleaseAddress", release.clone()), "InvalidIPAddress.InUse");
    let off = json!({ "public_ip": "203.0.113.31" });
    assert_eq!(bench.refused("DisassociateAddress", off), "OperationNotPermitted");

    assert_eq!(end_drains_at(&mut bench, 1_349), [] as [&str; 0]);
    assert_eq!(addresses(&mut bench, "nat-a"), drains);
    let gone = end_drains_at(&mut bench, 1_350);
    assert_eq!(gone, ["eipalloc-1 on 10.0.4.5 of nat-a", "eipalloc-3 on 10.0.4.7 of nat-a"]);
    assert_eq!(addresses(&mut bench, "nat-a"), [drains[0], drains[2]]);
    assert_eq!(next_drain_end(&bench.document), None);
    bench.act("ReleaseAddress", release);
    let next = json!({ "nat_gateway_id": "nat-a", "allocation_ids": ["eipalloc-3"] });
    bench.act("AssociateNatGatewayAddress", next);
    assert_eq!(addresses(&mut bench, "nat-a")[2], "10.0.4.5 203.0.113.33 succeeded");
}

#[test]
fn addresses_of_a_private_gateway_are_assigned_and_drain_when_they_are_unassigned() {
    let mut bench = bench();
    let private = json!({ "nat_gateway_id": "nat-b", "subnet_id": "subnet-a", "connectivity_type": "private" });
    bench.act("CreateNatGateway", private);
    let assign = |more: Value| {
        let mut all = json!({ "nat_gateway_id": "nat-b" });
        all.as_object_mut().expect("fields").extend(more.as_object().expect("fields").clone());
        all
    };
    let done = bench.act("AssignPrivateNatGatewayAddress", assign(json!({})));
    assert_eq!(texts(&done["nat_gateway_addresses"], "private_ip"), ["10.0.1.7"]);
    let two = assign(json!({ "private_ip_addresses": ["10.0.1.30", "10.0.1.20"] }));
    bench.act("AssignPrivateNatGatewayAddress", two);
    let count = assign(json!({ "private_ip_address_count": 1 }));
    bench.act("AssignPrivateNatGatewayAddress", count);
    for (wrong, code) in [
        (json!({ "private_ip_addresses": ["10.0.1.20"] }), "InvalidIPAddress.InUse"),
        (
            json!({ "private_ip_addresses": ["10.0.1.60"], "private_ip_address_count": 1 }),
            "InvalidParameterCombination",
        ),
        (json!({ "private_ip_address_count": 32 }), "InvalidParameterValue"),
    ] {
        let code_of = bench.refused("AssignPrivateNatGatewayAddress", assign(wrong.clone()));
        assert_eq!(code_of, code, "{wrong}");
    }
    let unassign = |addresses: &[&str], seconds: u32| {
        json!({
            "nat_gateway_id": "nat-b", "private_ip_addresses": addresses,
            "max_drain_duration_seconds": seconds,
        })
    };
    for (wrong, code) in [
        (unassign(&[], 9), "MissingParameter"),
        (unassign(&["10.0.1.6"], 9), "OperationNotPermitted"),
        (unassign(&["10.0.1.31"], 9), "InvalidParameterValue"),
        (unassign(&["10.0.1.30"], 4_001), "InvalidParameterValue"),
    ] {
        let code_of = bench.refused("UnassignPrivateNatGatewayAddress", wrong.clone());
        assert_eq!(code_of, code, "{wrong}");
    }
    let done = bench.act("UnassignPrivateNatGatewayAddress", unassign(&["10.0.1.30"], 9));
    assert_eq!(texts(&done["nat_gateway_addresses"], "status"), ["unassigning"]);
    let code = bench.refused("AssignPrivateNatGatewayAddress", assign(json!({})));
    assert_eq!(code, "IncorrectState");
    assert_eq!(end_drains_at(&mut bench, 1_009), ["10.0.1.30 of nat-b"]);
    assert_eq!(
        addresses(&mut bench, "nat-b"),
        [
            "10.0.1.6 - * succeeded",
            "10.0.1.7 - succeeded",
            "10.0.1.20 - succeeded",
            "10.0.1.8 - succeeded",
        ]
    );
}

#[test]
fn an_action_for_one_kind_is_not_for_the_other() {
    let mut bench = bench();
    let private = json!({ "nat_gateway_id": "nat-b", "subnet_id": "subnet-a", "connectivity_type": "private" });
    bench.act("CreateNatGateway", private);
    let all = [
        (
            "AssociateNatGatewayAddress",
            json!({ "nat_gateway_id": "nat-b", "allocation_ids": ["eipalloc-1"] }),
        ),
        (
            "DisassociateNatGatewayAddress",
            json!({ "nat_gateway_id": "nat-b", "association_ids": ["eipassoc-1"] }),
        ),
        ("AssignPrivateNatGatewayAddress", json!({ "nat_gateway_id": "nat-a" })),
        (
            "UnassignPrivateNatGatewayAddress",
            json!({ "nat_gateway_id": "nat-a", "private_ip_addresses": ["10.0.4.4"] }),
        ),
    ];
    for (action, parameters) in all {
        assert_eq!(bench.refused(action, parameters), "OperationNotPermitted", "{action}");
    }
}

#[test]
fn a_gateway_has_tags() {
    let mut bench = bench();
    let tag = json!({ "resources": ["nat-a"], "tags": [{ "key": "Name", "value": "way out" }] });
    bench.act("CreateTags", tag);
    assert_eq!(
        gateway(&mut bench, "nat-a")["tags"],
        json!([{ "key": "Name", "value": "way out" }])
    );
    bench.act("DeleteTags", json!({ "resources": ["nat-a"] }));
    assert_eq!(gateway(&mut bench, "nat-a")["tags"], json!([]));
}
