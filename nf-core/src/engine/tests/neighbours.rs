//! Next hops that have to be asked for.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::*;
use crate::neighbour::QUEUE_LEN;
use crate::packet::build;

const ROUTER_LAN: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 1);
const HOST_LAN: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 9);
const MOVED: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 2]);

fn to_host(w: &World, src_port: u16) -> Frame<UdpDatagram> {
    udp(&format!("10.0.1.10:{src_port}"), "10.0.2.9:53").macs(A, w.mac("a"))
}

fn at_host(w: &World, src_port: u16, mac: MacAddr) -> Vec<u8> {
    to_host(w, src_port).macs(w.mac("lan"), mac).ttl(63).build()
}

fn question(w: &World) -> Vec<u8> {
    build::arp_request(w.mac("lan"), ROUTER_LAN, HOST_LAN)
}

fn answer(w: &World, mac: MacAddr) -> Vec<u8> {
    build::arp_reply(mac, HOST_LAN, w.mac("lan"), ROUTER_LAN)
}

#[test]
fn a_host_is_asked_for_and_what_waited_for_it_goes_out_in_order() {
    let mut w = world();
    assert_eq!(w.send("a", to_host(&w, 1).build()), out("lan", question(&w)));
    assert_eq!(w.fate(), QUEUED);
    assert_eq!(w.send("a", to_host(&w, 2).build()), nothing(), "asked once");
    let both = [out("lan", at_host(&w, 1, HOST)), out("lan", at_host(&w, 2, HOST))].concat();
    assert_eq!(w.send("lan", answer(&w, HOST)), both);
    assert_eq!(w.fate(), CONSUMED);
    assert_eq!(w.send("a", to_host(&w, 3).build()), out("lan", at_host(&w, 3, HOST)));
    assert_eq!(w.send("a", to_host(&w, 1).build()), out("lan", at_host(&w, 1, HOST)));
    assert!(was_fast(&w, "lan"));
    assert!(is_accounted(&w));
}

#[test]
fn an_ipv6_host_is_asked_for_from_the_link_local_address() {
    let mut w = world();
    let (src, dst) = ("[fd00:a:0:1::10]:1", "[fd00:a:0:2::9]:53");
    let own: Ipv6Addr = "fe80::ff:ff:fe00:4".parse().unwrap();
    let host: Ipv6Addr = "fd00:a:0:2::9".parse().unwrap();
    let asks = build::neighbour_solicitation(w.mac("lan"), own, host);
    let frame = udp(src, dst).macs(A, w.mac("a")).build();
    assert_eq!(w.send("a", frame), out("lan", asks));
    let tells = build::neighbour_advertisement(HOST, host, false, Some((w.mac("lan"), own)));
    let there = udp(src, dst).macs(w.mac("lan"), HOST).ttl(63).build();
    assert_eq!(w.send("lan", tells), out("lan", there));
}

#[test]
fn a_host_that_asks_for_the_router_has_told_where_it_is() {
    let mut w = world();
    w.send("a", to_host(&w, 1).build());
    let asks = build::arp_request(HOST, HOST_LAN, ROUTER_LAN);
    let reply = build::arp_reply(w.mac("lan"), ROUTER_LAN, HOST, HOST_LAN);
    let released = out("lan", at_host(&w, 1, HOST));
    assert_eq!(w.send("lan", asks), [released, out("lan", reply)].concat());
}

#[test]
fn nobody_waits_for_ever_for_a_host_that_is_not_there() {
    let mut w = world();
    w.send("a", to_host(&w, 1).build());
    // Asked at once and after one and two seconds, given up after three.
    assert_eq!(
        w.pass(Duration::from_millis(2900)),
        [question(&w), question(&w)].map(|it| ("lan".to_owned(), it))
    );
    assert_eq!(w.engine.counters().packets_waiting(), 1);
    assert_eq!(w.pass(Duration::from_millis(200)), nothing());
    assert_eq!(w.engine.counters().packets_waiting(), 0);
    assert_eq!(w.dropped(Drop::NeighbourUnreachable), 1);

    // Within a second there is no use asking again; the packet is not kept either.
    assert_eq!(w.send("a", to_host(&w, 1).build()), nothing());
    assert_eq!(w.fate(), dropped(Drop::NeighbourUnreachable));
    assert_eq!(w.engine.counters().packets_waiting(), 0);
    // After it there is: the host may be back.
    w.pass(Duration::from_secs(1));
    assert_eq!(w.send("a", to_host(&w, 1).build()), out("lan", question(&w)));
    assert_eq!(w.send("lan", answer(&w, HOST)), out("lan", at_host(&w, 1, HOST)));
    assert_eq!(w.send("a", to_host(&w, 1).build()), out("lan", at_host(&w, 1, HOST)));
    assert!(is_accounted(&w));
}

#[test]
fn a_scan_of_addresses_nobody_has_leaves_nothing_behind() {
    let mut w = world();
    for host in 60..200 {
        w.send("a", udp("10.0.1.10:1", &format!("10.0.2.{host}:1")).macs(A, HOST).build());
    }
    assert_eq!(w.engine.neighbour_count(), 141, "with the sender's own");
    w.pass(Duration::from_secs(200));
    assert!(is_empty(&mut w));
    assert_eq!(w.dropped(Drop::NeighbourUnreachable), 140);
}

#[test]
fn the_queue_for_a_host_is_bounded() {
    let mut w = world();
    for n in 0..QUEUE_LEN as u16 + 3 {
        w.send("a", to_host(&w, n).build());
    }
    assert_eq!(w.dropped(Drop::NeighbourQueueFull), 3);
    assert!(is_accounted(&w));
    let released = w.send("lan", answer(&w, HOST));
    assert_eq!(released.len(), QUEUE_LEN);
    assert_eq!(released[0].1, at_host(&w, 3, HOST), "the oldest gave way");
    assert!(is_accounted(&w));
}

#[test]
fn flows_follow_a_host_that_moves_to_another_mac_address() {
    let mut w = world();
    w.send("a", to_host(&w, 1).build());
    w.send("lan", answer(&w, HOST));
    let announces = build::arp_request(MOVED, HOST_LAN, HOST_LAN);
    assert_eq!(w.send("lan", announces), nothing());
    assert_eq!(w.send("a", to_host(&w, 1).build()), out("lan", at_host(&w, 1, MOVED)));
    assert!(was_fast(&w, "lan"));
}

#[test]
fn a_host_in_use_is_asked_itself_every_half_minute_and_given_up_if_it_is_silent() {
    let mut w = world();
    w.send("a", to_host(&w, 1).build());
    w.send("lan", answer(&w, HOST));
    let mut asks = question(&w);
    asks[..6].copy_from_slice(HOST.as_bytes());
    // Without a packet now and then its flow would be over.
    let is_in_use = |w: &mut World| {
        w.send("a", to_host(w, 1).build());
        was_fast(w, "lan")
    };
    assert_eq!(w.pass(Duration::from_millis(29_900)), nothing());
    assert!(is_in_use(&mut w));
    assert_eq!(w.pass(Duration::from_millis(200)), out("lan", asks.clone()));
    assert_eq!(w.send("lan", answer(&w, HOST)), nothing());
    assert!(is_in_use(&mut w));
    assert_eq!(w.pass(Duration::from_millis(29_950)), nothing());
    assert!(is_in_use(&mut w));
    let three = vec![("lan".to_owned(), asks); 3];
    assert_eq!(w.pass(Duration::from_secs(3)), three);
    // Now the fast path hands the packets back, and a question for everybody goes out.
    w.pass(Duration::from_secs(2));
    assert_eq!(w.send("a", to_host(&w, 1).build()), out("lan", question(&w)));
    assert_eq!(w.fate(), QUEUED);
}

#[test]
fn what_waited_is_counted_when_its_port_goes() {
    let mut w = world();
    w.send("a", to_host(&w, 1).build());
    w.unplug("lan");
    assert_eq!(w.engine.counters().packets_waiting(), 0);
    assert_eq!(w.dropped(Drop::NeighbourUnreachable), 1);
    assert!(is_accounted(&w));
}
