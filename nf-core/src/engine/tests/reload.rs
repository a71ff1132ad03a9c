//! A new desired state under flows that exist.

use std::time::Duration;

use super::*;
use crate::packet::build;
use crate::verdict::Punt;

/// One flow between the instances, one from outside to `a`, one to a host of the segment.
fn busy() -> World {
    let mut w = world();
    w.send("a", udp("10.0.1.10:1", "10.0.1.11:2").macs(A, w.mac("a")).build());
    w.send("wan", udp("203.0.113.9:9", "198.51.100.10:53").build());
    w.send("a", udp("10.0.1.10:1", "10.0.2.9:2").macs(A, w.mac("a")).build());
    assert_eq!(w.engine.flow_count(), 3);
    w
}

fn punts(w: &World, reason: Punt) -> u64 {
    w.engine.counters().punts[reason as usize]
}

#[test]
fn flows_that_are_still_permitted_lose_neither_packet_nor_count() {
    let mut w = busy();
    let frame = udp("10.0.1.10:1", "10.0.1.11:2").macs(A, w.mac("a")).build();
    w.send("a", frame.clone());
    let World { engine, path, .. } = &mut w;
    let before = engine.list_flows(FlowId(0), 9, path).0;
    w.reload(DOCUMENT);
    assert!(w.engine.is_settled());
    let World { engine, path, .. } = &mut w;
    let after = engine.list_flows(FlowId(0), 9, path).0;
    assert_eq!(after.len(), 3);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((before.forward, before.reverse), (after.forward, after.reverse));
        assert_eq!(after.flow.generation, before.flow.generation.next());
    }
    assert_eq!(w.engine.counters().flows_revalidated, 3);
    w.send("a", frame);
    assert!(was_fast(&w, "b"), "the fence has not cut the flow off");
    assert_eq!(punts(&w, Punt::Stale), 0);
}

#[test]
fn flows_that_are_no_longer_permitted_end_at_once_and_alone() {
    let mut w = busy();
    let without_address = DOCUMENT.replace(
        "public_ip = \"198.51.100.10\"\n    network_interface_id = \"eni-a\"",
        "public_ip = \"198.51.100.10\"",
    );
    assert_ne!(without_address, DOCUMENT);
    w.reload(&without_address);
    assert_eq!(ended(&w, FlowEnd::Policy), 1);
    assert_eq!(w.engine.flow_count(), 2);
    w.send("wan", udp("203.0.113.9:9", "198.51.100.10:53").build());
    assert_eq!(w.fate(), dropped(Drop::Unsolicited));
    w.send("a", udp("10.0.1.10:1", "10.0.1.11:2").macs(A, w.mac("a")).build());
    assert!(was_fast(&w, "b"));
    assert!(is_accounted(&w));
}

#[test]
fn an_instance_that_gets_another_address_or_port_loses_its_flows() {
    for change in [("10.0.1.11", "10.0.1.21"), ("port = \"b\"", "port = \"b2\"")] {
        let mut w = busy();
        w.reload(&DOCUMENT.replace(change.0, change.1));
        assert_eq!(w.engine.flow_count(), 2, "{change:?}");
        assert!(is_accounted(&w));
    }
}

#[test]
fn a_flow_goes_on_to_an_instance_whose_mac_address_changes() {
    let mut w = busy();
    let frame = udp("10.0.1.10:1", "10.0.1.11:2").macs(A, w.mac("a")).build();
    w.reload(&DOCUMENT.replace("02:00:00:00:00:0b", "02:00:00:00:00:1b"));
    assert_eq!(w.engine.flow_count(), 3);
    let new = MacAddr::new([2, 0, 0, 0, 0, 0x1b]);
    let there = udp("10.0.1.10:1", "10.0.1.11:2").macs(w.mac("b"), new).ttl(63).build();
    assert_eq!(w.send("a", frame), out("b", there));
    assert!(was_fast(&w, "b"));
    w.pass(Duration::from_mins(5));
    assert!(is_empty(&mut w), "nor does the old next hop stay");
}

#[test]
fn an_entry_older_than_the_fence_is_looked_at_again_and_then_forwards() {
    let mut w = busy();
    let old = w.engine.generation();
    w.reload(DOCUMENT);
    let frame = udp("10.0.1.10:1", "10.0.1.11:2").macs(A, w.mac("a")).build();
    let there = udp("10.0.1.10:1", "10.0.1.11:2").macs(w.mac("b"), B).ttl(63).build();
    // As if this one had been made behind the sweep's back.
    let flow = w.engine.flows.get(FlowId(0)).unwrap();
    crate::fast_path::FastPath::restamp(&mut w.path, &[flow.forward, flow.reverse], old);
    assert_eq!(w.send("a", frame.clone()), out("b", there.clone()));
    assert_eq!((punts(&w, Punt::Stale), w.fate()), (1, FORWARDED));
    assert_eq!(w.send("a", frame), out("b", there));
    assert!(was_fast(&w, "b"));
    assert_eq!(w.path.entry(&flow.forward).unwrap().usage.packets, 3);
}

#[test]
fn a_stale_entry_that_is_no_longer_permitted_forwards_nothing() {
    let mut w = busy();
    let flow = w.engine.flows.get(FlowId(0)).unwrap();
    let old = w.engine.generation();
    w.reload(DOCUMENT);
    crate::fast_path::FastPath::restamp(&mut w.path, &[flow.forward, flow.reverse], old);
    // The sweep has not come by yet.
    let document = toml::from_str(&DOCUMENT.replace("10.0.1.11", "10.0.1.21")).unwrap();
    let next = w.engine.generation().next();
    let snapshot = std::sync::Arc::new(crate::vpc::Snapshot::build(next, &document).unwrap());
    w.engine.apply_snapshot(w.now, &snapshot, &mut w.path);
    let frame = udp("10.0.1.10:1", "10.0.1.11:2").macs(A, w.mac("a")).build();
    assert_eq!(w.send("a", frame), nothing());
    assert_eq!(w.fate(), dropped(Drop::NoDestination));
    assert_eq!(ended(&w, FlowEnd::Policy), 1);
}

#[test]
fn a_way_back_that_was_learnt_from_a_packet_survives_a_reload() {
    // No router outside: whoever is off the link can only be answered by way of who sent it.
    let document =
        DOCUMENT.replace("gateways = [\"203.0.113.1\", \"2001:db8::1\"]", "gateways = []");
    assert_ne!(document, DOCUMENT);
    let mut w = World::new(&document, no_functions);
    let query = udp("192.0.2.9:9", "198.51.100.10:53").macs(HOST, w.mac("wan")).build();
    w.send("wan", query);
    let answer = udp("10.0.1.10:53", "192.0.2.9:9").macs(A, w.mac("a")).build();
    let back = udp("198.51.100.10:53", "192.0.2.9:9").macs(w.mac("wan"), HOST).ttl(63).build();
    assert_eq!(w.send("a", answer.clone()), out("wan", back.clone()));
    w.reload(&document);
    assert_eq!(w.send("a", answer), out("wan", back));
    assert!(was_fast(&w, "wan"));
}

#[test]
fn a_port_that_the_document_drops_takes_its_flows_with_it() {
    let mut w = busy();
    let known = build::arp_reply(HOST, [10, 0, 2, 9].into(), w.mac("lan"), [10, 0, 2, 1].into());
    w.send("lan", known);
    w.reload(&DOCUMENT.replace("port = \"lan\"", ""));
    assert_eq!(w.engine.flow_count(), 2);
    assert!(is_accounted(&w));
    w.pass(Duration::from_mins(5));
    assert!(is_empty(&mut w));
}
