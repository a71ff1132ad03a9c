//! Look-ups that no rule is about: ports, subnets, equality of snapshots.

use std::net::IpAddr;

use super::{BASE, build, built, document};
use crate::id::Generation;
use crate::vpc::{PortRole, Snapshot};

const fn assert_shareable<T: Send + Sync>() {}
const _: () = assert_shareable::<Snapshot>();

#[test]
fn every_port_has_its_role() {
    let snapshot = built(
        r#"
        [[subnet]]
        subnet_id = "subnet-lan"
        vpc_id = "vpc-a"
        cidr_block = "10.0.2.0/24"
        port = "lan0"
        [[network_interface]]
        network_interface_id = "eni-a"
        subnet_id = "subnet-lan"
        private_ip_address = "10.0.2.10"
        [[network_interface]]
        network_interface_id = "eni-b"
        subnet_id = "subnet-lan"
        private_ip_address = "10.0.2.11"
        port = "Tap0"
        "#,
    );
    let (lan, _) = snapshot.subnets().last().expect("three subnets");
    let (eni, _) = snapshot.enis().nth(1).expect("two interfaces");
    let (wan, _) = snapshot.uplinks().next().expect("one uplink");
    assert_eq!(
        snapshot.ports().collect::<Vec<_>>(),
        [
            ("Tap0", PortRole::Eni(eni)),
            ("lan0", PortRole::Segment(lan)),
            ("wan0", PortRole::Uplink(wan)),
        ]
    );
    assert_eq!(snapshot.port_role("Tap0"), Some(PortRole::Eni(eni)));
    assert_eq!(snapshot.port_role("tap0"), None, "names keep their case");
}

#[test]
fn an_address_is_found_in_its_subnet_whether_or_not_it_is_declared() {
    let snapshot = built("");
    let (vpc, _) = snapshot.vpcs().next().expect("one VPC");
    let at = |text: &str| {
        let address: IpAddr = text.parse().expect(text);
        snapshot.subnet_at(vpc, address).map(|ix| snapshot.subnet(ix).id.to_string())
    };
    assert_eq!(at("10.0.0.77").as_deref(), Some("subnet-public"));
    assert_eq!(at("10.0.1.77").as_deref(), Some("subnet-private"));
    assert_eq!(at("fd00:a:0:1::77").as_deref(), Some("subnet-private"));
    assert_eq!(at("10.0.2.77"), None);
    assert_eq!(at("192.0.2.77"), None);
}

#[test]
fn the_router_is_the_second_address_of_either_block() {
    let snapshot = built("");
    let (_, subnet) = snapshot.subnets().nth(1).expect("two subnets");
    assert_eq!(subnet.router_v4().to_string(), "10.0.1.1");
    assert_eq!(subnet.router_v6().map(|ip| ip.to_string()).as_deref(), Some("fd00:a:0:1::1"));
    assert!(subnet.is_router("fd00:a:0:1::1".parse().expect("address")));
    assert!(!subnet.is_router("10.0.0.1".parse().expect("address")));
}

#[test]
fn an_unchanged_document_gives_the_same_resources_under_any_generation() {
    let again = Snapshot::build(Generation(2), &document(BASE)).expect("good");
    let first = built("");
    assert!(first.same_resources(&again));
    assert_eq!((first.generation(), again.generation()), (Generation(1), Generation(2)));

    let changed = build(&BASE.replace("10.0.1.0/24", "10.0.9.0/24")).expect("good");
    assert!(!first.same_resources(&changed));
}

#[test]
fn a_document_survives_being_written_and_read_again() {
    let written = toml::to_string(&document(BASE)).expect("a document can be written");
    assert_eq!(document(&written), document(BASE));
}
