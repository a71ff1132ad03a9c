//! How flows live and end: by TCP's flags, by silence, with their ports, and in a full table.

use std::time::Duration;

use super::*;
use crate::engine::EngineConfig;
use crate::flow::wheel::Wheel;
use crate::flow::{Capacity, Phase};
use crate::packet::build;

const CLIENT: &str = "10.0.1.10:4000";
const SERVER: &str = "10.0.1.11:80";

/// The client sends.
fn c(w: &mut World, flags: TcpFlags) -> Phase {
    let frame = tcp(CLIENT, SERVER).flags(flags).macs(A, w.mac("a")).build();
    assert_eq!(w.send("a", frame).len(), 1);
    only_flow(w).phase
}

/// The server sends.
fn s(w: &mut World, flags: TcpFlags) -> Phase {
    let frame = tcp(SERVER, CLIENT).flags(flags).macs(B, w.mac("b")).build();
    assert_eq!(w.send("b", frame).len(), 1);
    only_flow(w).phase
}

fn shake_hands(w: &mut World) {
    assert_eq!(c(w, SYN), Phase::Opening);
    assert_eq!(s(w, SYN_ACK), Phase::Opening);
    assert_eq!(c(w, ACK), Phase::Established);
}

/// The only flow goes after this time of silence: not before, and not later than the wheel's unit.
fn ends_after(w: &mut World, seconds: u64, end: FlowEnd) {
    // The stamps are coarse: two ticks and the clock that the kernel reads them from.
    const SLACK: Duration = Duration::from_millis(10);
    let before = ended(w, end);
    w.pass(Duration::from_secs(seconds).checked_sub(SLACK).unwrap());
    assert_eq!(w.engine.flow_count(), 1, "ended before {seconds} s were over");
    w.pass(SLACK + Wheel::GRANULE);
    assert_eq!(w.engine.flow_count(), 0, "not ended after {seconds} s");
    assert_eq!(ended(w, end), before + 1);
    assert!(w.path.is_empty());
    w.pass(Duration::from_mins(1));
    assert!(is_empty(w));
}

#[test]
fn an_open_connection_ends_after_its_idle_time() {
    let mut w = world();
    shake_hands(&mut w);
    ends_after(&mut w, 350, FlowEnd::Idle);
}

#[test]
fn a_handshake_that_is_not_completed_ends_sooner() {
    let mut w = world();
    c(&mut w, SYN);
    ends_after(&mut w, 240, FlowEnd::Idle);
    c(&mut w, SYN);
    s(&mut w, SYN_ACK);
    ends_after(&mut w, 240, FlowEnd::Idle);
}

#[test]
fn a_packet_either_way_puts_the_end_off() {
    let mut w = world();
    shake_hands(&mut w);
    for _ in 0..5 {
        w.pass(Duration::from_secs(349));
        c(&mut w, ACK);
        w.pass(Duration::from_secs(349));
        s(&mut w, ACK);
    }
    ends_after(&mut w, 350, FlowEnd::Idle);
}

#[test]
fn a_fin_each_way_leads_to_time_wait_and_the_end() {
    let mut w = world();
    shake_hands(&mut w);
    assert_eq!(c(&mut w, FIN_ACK), Phase::Closing);
    assert_eq!(s(&mut w, ACK), Phase::Closing);
    assert_eq!(s(&mut w, FIN_ACK), Phase::TimeWait);
    assert_eq!(c(&mut w, ACK), Phase::TimeWait);
    ends_after(&mut w, 30, FlowEnd::Closed);
}

#[test]
fn half_closed_is_not_closed() {
    let mut w = world();
    shake_hands(&mut w);
    assert_eq!(s(&mut w, FIN_ACK), Phase::Closing);
    ends_after(&mut w, 240, FlowEnd::Idle);
}

#[test]
fn a_reset_ends_a_flow_soon_but_not_one_that_goes_on() {
    let mut w = world();
    shake_hands(&mut w);
    assert_eq!(s(&mut w, RST), Phase::Reset);
    // Out of window, it seems: the client has ignored it.
    for _ in 0..10 {
        w.pass(Duration::from_secs(9));
        assert_eq!(c(&mut w, ACK), Phase::Reset);
    }
    ends_after(&mut w, 10, FlowEnd::Closed);
}

#[test]
fn a_syn_in_time_wait_opens_the_connection_anew() {
    let mut w = world();
    shake_hands(&mut w);
    c(&mut w, FIN_ACK);
    s(&mut w, FIN_ACK);
    w.pass(Duration::from_secs(29));
    assert_eq!(c(&mut w, SYN), Phase::Opening);
    assert_eq!(s(&mut w, SYN_ACK), Phase::Opening);
    assert_eq!(c(&mut w, ACK), Phase::Established);
    ends_after(&mut w, 350, FlowEnd::Idle);

    shake_hands(&mut w);
    assert_eq!(s(&mut w, RST), Phase::Reset);
    assert_eq!(c(&mut w, SYN), Phase::Opening);
    ends_after(&mut w, 240, FlowEnd::Idle);
}

#[test]
fn a_repeated_syn_or_one_of_the_server_opens_nothing_anew() {
    let mut w = world();
    shake_hands(&mut w);
    assert_eq!(c(&mut w, SYN), Phase::Established, "a late copy");
    c(&mut w, FIN_ACK);
    s(&mut w, FIN_ACK);
    assert_eq!(s(&mut w, SYN), Phase::TimeWait);
    assert_eq!(s(&mut w, SYN_ACK), Phase::TimeWait);
    assert_eq!(c(&mut w, SYN_ACK), Phase::TimeWait);
}

#[test]
fn datagrams_and_echoes_end_after_their_own_times() {
    let mut w = world();
    w.send("a", udp(CLIENT, SERVER).macs(A, w.mac("a")).build());
    assert_eq!(only_flow(&mut w).phase, Phase::Datagrams);
    ends_after(&mut w, 30, FlowEnd::Idle);
    w.send("a", ping("10.0.1.10", "10.0.1.11", 7).macs(A, w.mac("a")).build());
    ends_after(&mut w, 60, FlowEnd::Idle);
}

#[test]
fn a_stream_of_datagrams_lives_longer_than_one_that_was_answered_once() {
    let mut w = world();
    let exchange = |w: &mut World| {
        w.send("a", udp(CLIENT, SERVER).macs(A, w.mac("a")).build());
        w.send("b", udp(SERVER, CLIENT).macs(B, w.mac("b")).build());
        only_flow(w).phase
    };
    assert_eq!(exchange(&mut w), Phase::Datagrams);
    ends_after(&mut w, 30, FlowEnd::Idle);
    assert_eq!(exchange(&mut w), Phase::Datagrams);
    w.pass(std::time::Duration::from_secs(20));
    assert_eq!(exchange(&mut w), Phase::Stream);
    ends_after(&mut w, 180, FlowEnd::Idle);
}

#[test]
fn flags_that_only_user_space_saw_count_like_any_other() {
    // A host on the segment opens; the gateway has yet to ask for it when the answer comes.
    let mut w = world();
    let (client, server) = ("10.0.2.9:4000", "10.0.1.11:80");
    let send = |w: &mut World, port: &str, frame: Frame<TcpSegment>| w.send(port, frame.build());
    let syn = tcp(client, server).flags(SYN).macs(HOST, w.mac("lan"));
    send(&mut w, "lan", syn);
    let syn_ack = tcp(server, client).flags(SYN_ACK).macs(B, w.mac("b"));
    assert_eq!(send(&mut w, "b", syn_ack), nothing());
    assert_eq!(w.fate(), QUEUED);
    let known = build::arp_reply(HOST, [10, 0, 2, 9].into(), w.mac("lan"), [10, 0, 2, 1].into());
    assert_eq!(w.send("lan", known).len(), 1);
    let ack = tcp(client, server).flags(ACK).macs(HOST, w.mac("lan"));
    send(&mut w, "lan", ack);
    let flow = only_flow(&mut w);
    assert_eq!(flow.phase, Phase::Established);
    assert_eq!((flow.forward.packets, flow.reverse.packets), (2, 1));
    assert_eq!(flow.reverse.bytes, 40);
}

#[test]
fn traffic_that_only_user_space_carries_keeps_its_flow() {
    let mut w = world();
    // Nobody has this address on the segment.
    for _ in 0..100 {
        w.send("a", udp("10.0.1.10:1", "10.0.2.77:1").macs(A, w.mac("a")).build());
        w.pass(Duration::from_secs(7));
    }
    assert_eq!(w.engine.counters().flows_created, 1);
    w.pass(Duration::from_secs(200));
    assert!(is_empty(&mut w), "a host that was never there leaves nothing behind");
}

#[test]
fn a_full_table_refuses_new_flows_and_keeps_the_old() {
    let config = EngineConfig { flows: Capacity::of_any(3), adjacencies: 64, seed: 1 };
    let mut w = World::with(config, false, DOCUMENT, no_functions);
    let frame = |n: u16| udp(&format!("10.0.1.10:{n}"), SERVER).macs(A, HOST).build();
    for n in 1..=3 {
        assert_eq!(w.send("a", frame(n)).len(), 1);
    }
    assert_eq!(w.send("a", frame(4)), nothing());
    assert_eq!(w.fate(), dropped(Drop::FlowTableFull));
    for n in 1..=3 {
        assert_eq!(w.send("a", frame(n)).len(), 1, "flow {n} goes on");
        assert!(was_fast(&w, "b"));
    }
    w.pass(Duration::from_secs(121));
    assert_eq!(w.send("a", frame(4)).len(), 1, "there is room again");
    assert!(is_accounted(&w));
}

#[test]
fn a_full_adjacency_table_refuses_new_next_hops_and_keeps_the_old() {
    let config = EngineConfig { flows: Capacity::of_any(64), adjacencies: 2, seed: 1 };
    let mut w = World::with(config, false, DOCUMENT, no_functions);
    assert_eq!(w.send("a", udp(CLIENT, SERVER).macs(A, HOST).build()).len(), 1);
    w.send("a", udp(CLIENT, "10.0.2.9:1").macs(A, HOST).build());
    assert_eq!(w.fate(), dropped(Drop::AdjacencyTableFull));
    assert_eq!(w.send("a", udp(CLIENT, SERVER).macs(A, HOST).build()).len(), 1);
    w.pass(Duration::from_secs(200));
    assert!(is_empty(&mut w));
}

#[test]
fn flows_end_with_either_of_their_ports() {
    for gone in ["a", "b"] {
        let mut w = world();
        shake_hands(&mut w);
        w.send("c", udp("10.0.1.12:1", "192.168.0.1:1").build());
        w.unplug(gone);
        assert_eq!(w.engine.flow_count(), 1, "flows of other ports go on");
        assert_eq!(ended(&w, FlowEnd::PortGone), 1);
        assert!(is_accounted(&w));
        w.plug(gone);
        let syn = tcp(CLIENT, SERVER).flags(SYN).macs(A, w.mac("a")).build();
        assert_eq!(w.send("a", syn).len(), 1, "the port that came back serves again");
    }
}

#[test]
fn a_connection_that_was_there_first_is_taken_up_midway() {
    let mut w = world();
    assert_eq!(c(&mut w, ACK), Phase::Established);
    ends_after(&mut w, 350, FlowEnd::Idle);
}
