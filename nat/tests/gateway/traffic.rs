//! What a gateway has carried and refused, as CloudWatch counts it.

use std::time::Duration;

use nf_core::engine::{Carriage, Traffic};
use nf_core::fast_path::Metered;
use nf_core::packet::TcpFlags;
use nf_core::pipeline::MeterKey;

use super::*;

const DNS: &str = "192.0.2.1:53";

/// What went through `nat-1`, whoever has forwarded it.
fn traffic(w: &mut World) -> Traffic {
    let World { engine, path, .. } = w;
    let all = engine.traffic::<Nat>(path);
    all.get(&MeterKey::of("nat-1")).copied().unwrap_or_default()
}

fn carriage(packets: u64, bytes_in: u64, bytes_out: u64) -> Carriage {
    Carriage { packets, bytes_in, bytes_out }
}

#[test]
fn what_user_space_and_the_fast_path_forward_adds_up_each_way() {
    let mut w = world(5000, 5999);
    let (src, _) = send_out(&mut w, udp(4000, DNS).build()).unwrap();
    for _ in 0..4 {
        send_out(&mut w, udp(4000, DNS).build()).unwrap();
    }
    let answer = Frame::udp(at(DNS), src).payload(*b"answers").build();
    for _ in 0..3 {
        assert_eq!(w.send("wan", answer.clone()).len(), 1);
    }
    let expected = Traffic {
        from_source: carriage(5, 5 * 33, 5 * 33),
        from_destination: carriage(3, 3 * 35, 3 * 35),
    };
    assert_eq!(traffic(&mut w), expected);
    // What is over stays counted.
    w.pass(Duration::from_secs(400));
    assert_eq!((w.engine.flow_count(), traffic(&mut w)), (0, expected));
}

#[test]
fn flows_that_the_fast_path_makes_are_counted_as_well() {
    let mut w = world(5000, 5999);
    for n in 1..=10 {
        send_out(&mut w, udp(n, DNS).build()).unwrap();
    }
    assert_eq!(w.engine.counters().flows_made, 8);
    let expected = Traffic { from_source: carriage(10, 330, 330), ..Traffic::default() };
    assert_eq!(traffic(&mut w), expected);
}

#[test]
fn packets_of_nat64_leave_with_another_size() {
    let mut w = world(5000, 5999);
    let client = at("[fd00:a:0:1::10]:4000");
    let frame = Frame::udp(client, at("[64:ff9b::c000:201]:53")).payload([0; 100]).build();
    for _ in 0..2 {
        let (src, out) = send_out(&mut w, frame.clone()).unwrap();
        assert_eq!(out.len(), 14 + 20 + 8 + 100);
        let answer = Frame::udp(at(DNS), src).payload([0; 50]).build();
        assert_eq!(w.send("wan", answer).len(), 1);
    }
    let expected = Traffic {
        from_source: carriage(2, 2 * 148, 2 * 128),
        from_destination: carriage(2, 2 * 78, 2 * 98),
    };
    assert_eq!(traffic(&mut w), expected);
}

#[test]
fn a_new_process_goes_on_counting() {
    let mut w = world(5000, 5999);
    let (src, _) = send_out(&mut w, udp(4000, DNS).build()).unwrap();
    send_out(&mut w, udp(4000, DNS).build()).unwrap();
    assert_eq!(w.restart(), 1);
    // What the process itself had sent is gone with it: the first packet.
    let after = Traffic { from_source: carriage(1, 33, 33), ..Traffic::default() };
    assert_eq!(traffic(&mut w), after);
    send_out(&mut w, udp(4000, DNS).build()).unwrap();
    let answer = Frame::udp(at(DNS), src).payload(*b"answers").build();
    w.send("wan", answer);
    let expected =
        Traffic { from_source: carriage(2, 66, 66), from_destination: carriage(1, 35, 35) };
    assert_eq!(traffic(&mut w), expected);
}

#[test]
fn connections_are_counted_from_their_attempt_to_their_end() {
    let mut w = world(5000, 5999);
    let counts = |w: &World| {
        let it = usage(w);
        let totals = (it.connection_attempts_total, it.connections_established_total);
        (it.active_connections, totals)
    };
    let syn = |n| tcp(n, SERVER).flags(TcpFlags::SYN).build();
    let (src, _) = send_out(&mut w, syn(1)).unwrap();
    send_out(&mut w, syn(1)).unwrap();
    assert_eq!(counts(&w), (1, (1, 0)), "a repetition is no other attempt");
    let answer = Frame::tcp(at(SERVER), src).flags(TcpFlags::SYN | TcpFlags::ACK).build();
    w.send("wan", answer.clone());
    w.send("wan", answer);
    assert_eq!(counts(&w), (1, (1, 2)), "CloudWatch counts repetitions here");
    for n in 2..=5 {
        send_out(&mut w, syn(n)).unwrap();
    }
    assert_eq!(counts(&w), (5, (5, 2)));
    assert!(w.engine.counters().flows_made > 0, "some were made by the fast path");
    assert_eq!(w.restart(), 5);
    assert_eq!(counts(&w), (5, (0, 0)), "none of them is new");
    w.pass(Duration::from_secs(400));
    assert_eq!(counts(&w), (0, (0, 0)));
}

#[test]
fn what_is_refused_is_counted_by_the_side_it_came_from() {
    let mut w = world(5000, 5000);
    let (src, _) = send_out(&mut w, udp(1, DNS).build()).unwrap();
    let other = udp(2, DNS).build();
    is_refused(&mut w, &other, Drop::PortAllocation);
    let stranger = Frame::udp(at("192.0.2.9:9"), src).payload(*b"who are you").build();
    w.send("wan", stranger.clone());
    w.send("wan", stranger);
    let it = usage(&w);
    assert_eq!(it.dropped_from_source, Metered { packets: 1, bytes: 33 });
    assert_eq!(it.dropped_from_destination, Metered { packets: 2, bytes: 78 });
    assert_eq!(traffic(&mut w).from_source, carriage(1, 33, 33));
    assert_eq!(traffic(&mut w).from_destination, Carriage::default());
}
