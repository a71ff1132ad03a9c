//! Flows that the fast path makes itself: when it does, what it is given for them, and that nothing
//! of it is lost.

use std::time::Duration;

use nf_core::fast_path::FastPath as _;
use nf_core::fast_path::soft::{Decision, FrameMeta};
use nf_core::packet::TcpFlags;
use nf_core::verdict::Punt;

use super::*;

const DNS: &str = "192.0.2.1:53";

/// The instance's `n`th query, a flow of its own.
fn query(w: &World, n: u16) -> Vec<u8> {
    let (host, gateway) = inside(w);
    udp(n, DNS).macs(host, gateway).build()
}

/// A gateway that has seen two flows to the server.
fn familiar(first: u16, last: u16) -> World {
    let mut w = world(first, last);
    for n in 1..=2 {
        let frame = query(&w, n);
        assert!(send_out(&mut w, frame).is_some());
        assert!(matches!(w.fate(), Fate::Slow(_)), "{:?}", w.fate());
    }
    assert_eq!(w.engine.template_count(), 1);
    w
}

/// What is set aside, reserved, and in stock.
fn reserves(w: &World) -> [usize; 3] {
    [usage(w).set_aside, w.engine.reserved_count(), w.path.stocked()]
}

/// A first packet that the fast path forwards while the engine is not told.
fn make_untold(w: &mut World, n: u16) -> Vec<u8> {
    let (port, mut frame) = (w.port("i"), query(w, n));
    let decision = w.path.process(port, &mut frame, FrameMeta::default());
    assert_eq!(decision, Decision::Forward(w.port("wan")));
    frame
}

#[test]
fn the_third_flow_to_a_server_is_made_by_the_fast_path_and_gets_its_answer() {
    let mut w = familiar(5000, 5999);
    let frame = query(&w, 3);
    let (src, sent) = send_out(&mut w, frame).unwrap();
    assert_eq!(w.fate(), Fate::Fast(Decision::Forward(w.port("wan"))));
    assert_eq!(src.ip().to_string(), PUBLIC);
    let expected = Frame::udp(src, at(DNS)).payload(*b"query").ttl(63);
    let router = host_mac([203, 0, 113, 1].into());
    assert_eq!(sent, expected.macs(w.mac("wan"), router).build());

    let counters = w.engine.counters();
    assert_eq!((counters.flows_created, counters.flows_made), (3, 1));
    assert_eq!((usage(&w).flows_total, usage(&w).leases), (3, 3));
    let answer = Frame::udp(at(DNS), src).payload(*b"answer");
    let (host, gateway) = inside(&w);
    let expected = Frame::udp(at(DNS), ([10, 0, 1, 10], 3)).payload(*b"answer").ttl(63);
    let expected = expected.macs(gateway, host).build();
    assert_eq!(w.send("wan", answer.build()), [("i".to_owned(), expected)]);

    let view = flows(&mut w).into_iter().find(|view| view.flow.forward.tuple.src.port() == 3);
    let view = view.unwrap();
    assert_eq!((view.forward.packets, view.reverse.packets), (1, 1));
    assert_eq!(view.flow.reverse.tuple.dst, src);
}

#[test]
fn no_two_flows_get_the_same_port_however_they_are_made() {
    let mut w = familiar(5000, 5999);
    for n in 3..=600 {
        let frame = query(&w, n);
        assert!(send_out(&mut w, frame).is_some(), "flow {n}");
    }
    let mut ports: Vec<_> =
        flows(&mut w).iter().map(|view| view.flow.reverse.tuple.dst.port()).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 600);
    assert!(w.engine.counters().flows_made > 590, "{}", w.engine.counters().flows_made);
}

#[test]
fn tcp_is_opened_by_a_syn_alone() {
    let mut w = world(5000, 5999);
    let (host, gateway) = inside(&w);
    let open = |w: &mut World, n, flags| {
        w.send("i", tcp(n, SERVER).flags(flags).macs(host, gateway).build());
        w.fate()
    };
    for n in 1..=2 {
        assert!(matches!(open(&mut w, n, TcpFlags::SYN), Fate::Slow(_)));
    }
    let wan = w.port("wan");
    assert_eq!(open(&mut w, 3, TcpFlags::SYN), Fate::Fast(Decision::Forward(wan)));
    assert_eq!(open(&mut w, 4, TcpFlags::ACK), dropped(Drop::NoFlow));
    assert_eq!(open(&mut w, 5, TcpFlags::SYN | TcpFlags::ACK), dropped(Drop::NoFlow));
    // A flow that was made waits for its handshake no longer than others.
    assert_eq!(w.engine.flow_count(), 3);
    w.pass(Duration::from_secs(239));
    assert_eq!(w.engine.flow_count(), 3);
    w.pass(Duration::from_secs(2));
    assert_eq!(w.engine.flow_count(), 0);
}

#[test]
fn what_is_in_doubt_goes_up() {
    let mut w = familiar(5000, 5999);
    let (host, gateway) = inside(&w);
    let other = MacAddr::new([2, 0, 0, 0, 0, 0x77]);
    let mut wrong_sum = query(&w, 5);
    wrong_sum[24] ^= 1;
    let cases = [
        (udp(3, DNS).macs(other, gateway).build(), Fate::Slow(Verdict::Forwarded)),
        (udp(4, DNS).ttl(1).macs(host, gateway).build(), dropped(Drop::TimeToLive)),
        (wrong_sum, dropped(Drop::BadChecksum)),
    ];
    for (frame, fate) in cases {
        w.send("i", frame);
        assert_eq!(w.fate(), fate);
    }
    assert_eq!(w.engine.counters().flows_made, 0);
}

#[test]
fn a_class_that_makes_no_flow_gives_everything_back() {
    let mut w = familiar(5000, 5999);
    let [aside, reserved, stocked] = reserves(&w);
    assert!(aside > 0 && [reserved, stocked] == [aside; 2], "{:?}", reserves(&w));
    assert_eq!(usage(&w).leases, 2, "what is set aside is not leased");
    w.pass(Duration::from_secs(4));
    let frame = query(&w, 3);
    assert!(send_out(&mut w, frame).is_some());
    w.pass(Duration::from_secs(5));
    assert_eq!(w.engine.template_count(), 1, "it has made one since");
    w.pass(Duration::from_secs(5));
    assert_eq!((w.engine.template_count(), reserves(&w)), (0, [0; 3]));
    assert_eq!((usage(&w).leases, usage(&w).quarantined), (3, 0));
    let frame = query(&w, 4);
    send_out(&mut w, frame);
    assert_eq!(w.fate(), Fate::Slow(Verdict::Forwarded));
}

#[test]
fn a_new_snapshot_takes_templates_back_and_leaves_flows() {
    let mut w = familiar(5000, 5999);
    let frame = query(&w, 3);
    let before = send_out(&mut w, frame).unwrap();
    w.reload(&format!("{DOCUMENT}\nport_range = [5000, 5998]"));
    assert_eq!((w.engine.template_count(), reserves(&w)), (0, [0; 3]));
    let frame = query(&w, 3);
    assert_eq!(send_out(&mut w, frame), Some(before));
    assert_eq!(w.engine.flow_count(), 3);
}

#[test]
fn a_port_that_goes_takes_the_templates_of_its_classes_with_it() {
    for port in ["i", "wan"] {
        let mut w = familiar(5000, 5999);
        w.unplug(port);
        assert_eq!((w.engine.template_count(), reserves(&w)), (0, [0; 3]), "{port}");
    }
}

#[test]
fn the_last_ports_are_found_though_they_are_in_stock() {
    let mut w = familiar(5000, 5009);
    let (_, gateway) = inside(&w);
    // A MAC address that no template has: what is in stock is for others.
    let open = |w: &mut World, n: u8| {
        let mac = MacAddr::new([2, 0, 0, 0, 0x77, n]);
        w.send("i", udp(n.into(), DNS).macs(mac, gateway).build());
        w.fate()
    };
    for n in 3..=10 {
        assert_eq!(reserves(&w), [11 - usize::from(n); 3]);
        assert_eq!(open(&mut w, n), Fate::Slow(Verdict::Forwarded), "flow {n}");
    }
    assert_eq!(usage(&w).port_allocation_errors_total, 0);
    assert_eq!(open(&mut w, 11), dropped(Drop::PortAllocation));
    assert_eq!(usage(&w).port_allocation_errors_total, 1);
    assert_eq!((usage(&w).leases, reserves(&w)), (10, [0; 3]));
}

#[test]
fn a_packet_that_comes_up_before_its_flow_is_told_of_finds_it() {
    let mut w = familiar(5000, 5999);
    let made = make_untold(&mut w, 3);
    let port = w.port("i");
    let frame = query(&w, 3);
    let World { engine, path, now, .. } = &mut w;
    let verdict = engine.packet(*now, port, Punt::Miss, FrameMeta::default(), &frame, path);
    assert_eq!(verdict, Verdict::Forwarded);
    let sent = path.take_transmits();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].frame, made, "it leaves as the first one did");
    assert_eq!(engine.flow_count(), 3);
    w.handed_over += 1;
    w.pass(Duration::from_millis(1));
    assert_eq!((w.engine.flow_count(), w.path.len()), (3, 6), "being told then is nothing new");
    assert_eq!(usage(&w).leases, 3);
    let [aside, reserved, stocked] = reserves(&w);
    assert_eq!([reserved, stocked], [aside; 2]);
}

#[test]
fn a_flow_that_a_newer_snapshot_has_no_room_for_is_undone_when_it_is_told_of() {
    let mut w = familiar(5000, 5999);
    make_untold(&mut w, 3);
    let without = DOCUMENT[..DOCUMENT.find("[[nat_gateway]]").unwrap()]
        .replace("nat_gateway_id = \"nat-1\"", "network_interface_id = \"eni-gone\"");
    w.reload(&without);
    w.pass(Duration::from_secs(1));
    assert_eq!((w.engine.flow_count(), w.path.len(), w.engine.reserved_count()), (0, 0, 0));
    assert_eq!(w.engine.function_as::<Nat>().unwrap().held(), 0);
}

#[test]
fn a_flow_made_under_an_older_snapshot_that_is_right_goes_on_under_the_new_one() {
    let mut w = familiar(5000, 5999);
    let made = make_untold(&mut w, 3);
    w.reload(&format!("{DOCUMENT}\nport_range = [5000, 5998]"));
    w.pass(Duration::from_secs(1));
    let frame = query(&w, 3);
    assert_eq!(send_out(&mut w, frame).unwrap().1, made);
    assert_eq!(w.fate(), Fate::Fast(Decision::Forward(w.port("wan"))), "it is not stale");
    assert_eq!((w.engine.flow_count(), reserves(&w)), (3, [0; 3]));
}

#[test]
fn a_new_process_keeps_what_was_made_and_not_told_of() {
    let mut w = familiar(5000, 5999);
    let made = make_untold(&mut w, 3);
    assert_eq!(w.restart(), 3);
    assert_eq!(reserves(&w), [0; 3]);
    let frame = query(&w, 3);
    assert_eq!(send_out(&mut w, frame).unwrap().1, made);
}

#[test]
fn a_lot_that_made_no_flow_is_given_back() {
    let mut w = familiar(5000, 5999);
    // Somebody else's entry stands where the answers would come in.
    let lot = w.path.next_lot().unwrap();
    let view = flows(&mut w)[0];
    let entry = *w.path.entry(&view.flow.reverse).unwrap();
    let mut key = view.flow.reverse;
    key.tuple.dst.set_port(lot.port);
    w.path.install(&key, &entry);
    let frame = query(&w, 3);
    send_out(&mut w, frame);
    assert_eq!(w.fate(), Fate::Slow(Verdict::Forwarded));
    assert_eq!(w.engine.counters().flows_made, 0);
    let [aside, reserved, stocked] = reserves(&w);
    assert_eq!([reserved, stocked], [aside; 2]);
    assert_eq!(usage(&w).leases, 3);
}

#[test]
fn a_full_table_takes_back_the_numbers_that_are_in_stock() {
    use nf_core::engine::EngineConfig;
    use nf_core::flow::Capacity;

    let config = EngineConfig { flows: Capacity::of_any(40), adjacencies: 100, seed: 1 };
    let document = format!("{DOCUMENT}\nport_range = [5000, 5999]");
    let mut w = World::with(config, true, &document, functions);
    let (_, gateway) = inside(&w);
    for n in 1..=2 {
        let frame = query(&w, n);
        send_out(&mut w, frame);
    }
    assert!(reserves(&w)[1] > 20, "{:?}", reserves(&w));
    // Each of a class of its own.
    let open = |w: &mut World, n: u8| {
        let frame = Frame::udp(([10, 0, 1, 10], 9), SocketAddr::from(([192, 0, 2, n], 53)));
        w.send("i", frame.macs(host_mac([10, 0, 1, 10].into()), gateway).build());
        w.fate()
    };
    for n in 3..=40 {
        assert_eq!(open(&mut w, n), Fate::Slow(Verdict::Forwarded), "flow {n}");
    }
    assert_eq!(open(&mut w, 41), dropped(Drop::FlowTableFull));
    assert_eq!((w.engine.flow_count(), reserves(&w)), (40, [0; 3]));
}
