//! The decisions of the fast path one by one, in the order it takes them.

use super::*;
use crate::action::Action;
use crate::fast_path::Direction;
use crate::flow::Tracking;
use crate::id::FlowId;
use crate::packet::build::{Frame, TcpSegment, UdpDatagram};
use crate::packet::{MacAddr, TcpFlags, build};
use crate::testing::checksums_are_right;
use crate::tuple::Tuple;

const SLOT: AdjacencyId = AdjacencyId(3);
const HOP: MacAddr = MacAddr::new([2, 0, 0, 0, 9, 1]);
const OWN: MacAddr = MacAddr::new([2, 0, 0, 0, 9, 2]);
const NOW: Time = Time::from_secs(77);

fn port(number: u32) -> PortId {
    PortId::new(number).unwrap()
}

fn datagram() -> Frame<UdpDatagram> {
    Frame::udp(([10, 0, 0, 1], 1000), ([10, 0, 0, 2], 53)).payload(*b"query")
}

fn segment() -> Frame<TcpSegment> {
    Frame::tcp(([10, 0, 0, 1], 1000), ([10, 0, 0, 2], 53))
}

/// The same frames after the rewrite of [`table`].
fn rewritten() -> Frame<UdpDatagram> {
    Frame::udp(([192, 0, 2, 7], 7000), ([192, 0, 2, 53], 5353))
        .payload(*b"query")
        .macs(OWN, HOP)
        .ttl(63)
}

fn key(protocol: Protocol) -> FlowKey {
    let tuple =
        Tuple { protocol, src: ([10, 0, 0, 1], 1000).into(), dst: ([10, 0, 0, 2], 53).into() };
    FlowKey { port: port(1), tuple }
}

/// A table with one UDP and one TCP entry, under generation 5 and a fence of the same.
fn table() -> SoftFastPath {
    let mut path = SoftFastPath::new(1);
    path.set_time(NOW);
    path.set_fence(Generation(5));
    path.set_adjacency(
        SLOT,
        Some(Adjacency { port: port(2), dst_mac: HOP, src_mac: OWN, mtu: 1500 }),
    );
    for (protocol, flow) in [(Protocol::Udp, 1), (Protocol::Tcp, 2)] {
        let rewrite = Tuple {
            protocol,
            src: ([192, 0, 2, 7], 7000).into(),
            dst: ([192, 0, 2, 53], 5353).into(),
        };
        let entry = Entry {
            action: Action { rewrite, adjacency: SLOT },
            generation: Generation(5),
            flow: FlowId(flow),
            direction: Direction::Forward,
            src_mac: None,
            tracking: Tracking::default(),
            meter: MeterId(flow),
            usage: Usage::default(),
        };
        path.install(&key(protocol), &entry);
    }
    path
}

/// What the table decides, and the frame after it.
fn decide(path: &mut SoftFastPath, frame: &[u8]) -> (Decision, Vec<u8>) {
    decide_super(path, frame, 0)
}

fn decide_super(path: &mut SoftFastPath, frame: &[u8], segment_size: u16) -> (Decision, Vec<u8>) {
    let mut frame = frame.to_vec();
    let meta = FrameMeta { segment_size, ..FrameMeta::default() };
    (path.process(port(1), &mut frame, meta), frame)
}

#[test]
fn a_hit_is_rewritten_counted_and_sent() {
    let mut path = table();
    let frame = datagram().build();
    assert_eq!(decide(&mut path, &frame), (Decision::Forward(port(2)), rewritten().build()));
    let usage = path.usage(&key(Protocol::Udp)).unwrap();
    let bytes = frame.len() as u64 - 14;
    assert_eq!(usage, Usage { last_seen: NOW.tick(), packets: 1, bytes, tcp_flags: 0 });
    assert_eq!(path.usage(&key(Protocol::Tcp)), Some(Usage::default()));
    assert_eq!(path.take_events(), []);
}

#[test]
fn what_is_not_forwarded_is_neither_changed_nor_counted() {
    let far = |payload: usize| datagram().payload(vec![0; payload]).build();
    let mut emptied = table();
    emptied.set_adjacency(SLOT, None);
    let mut fenced = table();
    fenced.set_fence(Generation(6));
    let cases = [
        (table(), Frame::udp(([10, 0, 0, 1], 1), ([10, 0, 0, 2], 53)).build(), Punt::Miss),
        (fenced, datagram().build(), Punt::Stale),
        (emptied, datagram().build(), Punt::Unresolved),
        (table(), datagram().ttl(1).build(), Punt::TimeToLive),
        (table(), datagram().ttl(0).build(), Punt::TimeToLive),
        (table(), far(1473), Punt::TooBig),
    ];
    for (mut path, frame, reason) in cases {
        assert_eq!(decide(&mut path, &frame), (Decision::Punt(reason), frame));
        assert_eq!(path.usage(&key(Protocol::Udp)), Some(Usage::default()), "{reason}");
    }
    assert_eq!(decide(&mut table(), &far(1472)).0, Decision::Forward(port(2)), "just fits");
}

#[test]
fn a_packet_comes_from_the_mac_address_that_its_entry_wants() {
    let own = MacAddr::new([2, 0, 0, 0, 0, 0x0a]);
    let mut path = table();
    let mut entry = *path.entry(&key(Protocol::Udp)).unwrap();
    entry.src_mac = Some(own);
    path.install(&key(Protocol::Udp), &entry);
    for bit in 0..48 {
        let mut other = *own.as_bytes();
        other[bit / 8] ^= 1 << (bit % 8);
        let frame = datagram().macs(MacAddr::new(other), OWN).build();
        assert_eq!(decide(&mut path, &frame), (Decision::Punt(Punt::SourceMac), frame));
    }
    assert_eq!(path.usage(&key(Protocol::Udp)), Some(Usage::default()), "none was counted");
    let frame = datagram().macs(own, OWN).build();
    assert_eq!(decide(&mut path, &frame), (Decision::Forward(port(2)), rewritten().build()));
    path.set_fence(Generation(6));
    assert_eq!(decide(&mut path, &datagram().build()).0, Decision::Punt(Punt::Stale), "goes first");
}

#[test]
fn a_key_is_of_one_port() {
    let mut path = table();
    let mut frame = datagram().build();
    let decision = path.process(port(9), &mut frame, FrameMeta::default());
    assert_eq!(decision, Decision::Punt(Punt::Miss));
}

#[test]
fn the_fence_goes_by_age_and_generations_wrap() {
    let mut path = table();
    for (generation, fence, forwards) in [
        (5, 5, true),
        (6, 5, true),
        (4, 5, false),
        (u32::MAX, 0, false),
        (0, u32::MAX, true),
        (u32::MAX, u32::MAX, true),
    ] {
        path.restamp(&[key(Protocol::Udp)], Generation(generation));
        path.set_fence(Generation(fence));
        let decision = decide(&mut path, &datagram().build()).0;
        assert_eq!(decision == Decision::Forward(port(2)), forwards, "{generation} {fence}");
    }
}

#[test]
fn flags_that_change_a_state_are_kept_and_told_others_are_not() {
    let mut path = table();
    let mut send = |flags: TcpFlags| {
        assert_eq!(
            decide(&mut path, &segment().flags(flags).build()).0,
            Decision::Forward(port(2))
        );
        (path.take_events(), path.usage(&key(Protocol::Tcp)).unwrap().tcp_flags)
    };
    let event =
        |flags| Event::Tcp(TcpEvent { flow: FlowId(2), direction: Direction::Forward, flags });
    assert_eq!(send(TcpFlags::ACK), (vec![], 0));
    assert_eq!(send(TcpFlags::SYN), (vec![event(0x02)], 0x02));
    assert_eq!(send(TcpFlags::PSH | TcpFlags::ACK), (vec![], 0x02));
    assert_eq!(send(TcpFlags::FIN | TcpFlags::ACK), (vec![event(0x11)], 0x03));
    assert_eq!(send(TcpFlags::RST), (vec![event(0x04)], 0x07));
}

#[test]
fn a_super_packet_counts_as_its_segments_and_only_those_must_fit() {
    let mut path = table();
    let whole = segment().payload(vec![7; 5000]).build();
    assert_eq!(decide_super(&mut path, &whole, 0).0, Decision::Punt(Punt::TooBig));
    assert_eq!(decide_super(&mut path, &whole, 1461).0, Decision::Punt(Punt::TooBig));
    let (decision, sent) = decide_super(&mut path, &whole, 1460);
    assert_eq!(decision, Decision::Forward(port(2)));
    assert!(checksums_are_right(&sent));
    let usage = path.usage(&key(Protocol::Tcp)).unwrap();
    assert_eq!((usage.packets, usage.bytes), (4, 5040));
}

#[test]
fn a_partial_checksum_stays_one_of_the_new_addresses() {
    let mut path = table();
    let mut frame = datagram().partial_checksum().build();
    let meta = FrameMeta { checksum: ChecksumField::Partial, ..FrameMeta::default() };
    assert_eq!(path.process(port(1), &mut frame, meta), Decision::Forward(port(2)));
    assert_eq!(frame, rewritten().partial_checksum().build());
}

#[test]
fn a_wrong_checksum_stays_wrong() {
    let mut path = table();
    let mut frame = datagram().build();
    *frame.last_mut().unwrap() ^= 1;
    let (decision, sent) = decide(&mut path, &frame);
    assert_eq!(decision, Decision::Forward(port(2)));
    assert!(!checksums_are_right(&sent));
}

#[test]
fn neighbours_and_control_messages_are_handed_over_and_noise_is_not() {
    let mut path = table();
    let asks = build::arp_request(HOP, [10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let six = ["fe80::1", "fe80::2"].map(|it| it.parse().unwrap());
    let solicits = build::neighbour_solicitation(HOP, six[0], six[1]);
    for frame in [asks, solicits] {
        assert_eq!(decide(&mut path, &frame), (Decision::Punt(Punt::Control), frame));
    }
    let mut unreachable = Frame::echo_request([10, 0, 0, 1], [10, 0, 0, 2], 1, 1).build();
    unreachable[34] = 3;
    assert_eq!(decide(&mut path, &unreachable).0, Decision::Punt(Punt::Control));

    let mut other = datagram().build();
    other[12..14].copy_from_slice(&[0x88, 0xcc]);
    assert_eq!(decide(&mut path, &other).0, Decision::Drop(FastDrop::EtherType));
    let mut gre = datagram().build();
    gre[23] = 47;
    assert_eq!(decide(&mut path, &gre).0, Decision::Drop(FastDrop::Protocol));
    let group = datagram().macs(HOP, MacAddr::new([1, 0, 0x5e, 0, 0, 1])).build();
    assert_eq!(decide(&mut path, &group).0, Decision::Drop(FastDrop::Multicast));
    let cut = &datagram().build()[..40];
    assert_eq!(decide(&mut path, cut).0, Decision::Drop(FastDrop::Malformed));
}

#[test]
fn on_a_port_shared_with_the_host_only_what_is_the_gateways_is_taken() {
    let mut path = table();
    path.add_port(port(1), PortPolicy { share_with_host: true });
    let stranger = Frame::udp(([10, 0, 0, 1], 1), ([10, 0, 0, 9], 53)).build();
    assert_eq!(decide(&mut path, &stranger).0, Decision::Pass);
    path.set_own_address([10, 0, 0, 9].into(), true);
    assert_eq!(decide(&mut path, &stranger).0, Decision::Punt(Punt::Miss));
    path.set_own_address([10, 0, 0, 9].into(), false);
    assert_eq!(decide(&mut path, &stranger).0, Decision::Pass);

    assert_eq!(decide(&mut path, &datagram().build()).0, Decision::Forward(port(2)), "a flow's");
    let asks = build::arp_request(HOP, [10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    assert_eq!(decide(&mut path, &asks).0, Decision::Tap(Punt::Control), "both need it");
    let group = datagram().macs(HOP, MacAddr::new([1, 0, 0x5e, 0, 0, 1])).build();
    assert_eq!(decide(&mut path, &group).0, Decision::Pass);
    let mut fragment = stranger;
    fragment[20] = 0x20;
    assert_eq!(decide(&mut path, &fragment).0, Decision::Pass);
    path.set_own_address([10, 0, 0, 9].into(), true);
    assert_eq!(decide(&mut path, &fragment).0, Decision::Punt(Punt::Fragment));

    path.remove_port(port(1));
    let stranger = Frame::udp(([10, 0, 0, 1], 1), ([10, 0, 0, 8], 53)).build();
    assert_eq!(decide(&mut path, &stranger).0, Decision::Punt(Punt::Miss));
}

#[test]
fn an_entry_that_is_removed_forwards_no_more() {
    let mut path = table();
    decide(&mut path, &datagram().build());
    let usage = FastPath::usage(&mut path, &key(Protocol::Udp)).unwrap();
    assert_eq!(usage.packets, 1);
    FastPath::remove(&mut path, &key(Protocol::Udp));
    assert_eq!(FastPath::usage(&mut path, &key(Protocol::Udp)), None);
    assert_eq!((path.len(), path.entry(&key(Protocol::Udp))), (1, None));
    assert_eq!(decide(&mut path, &datagram().build()).0, Decision::Punt(Punt::Miss));
}

/// The UDP entry of the table, with packets that leave as IPv6.
fn translating() -> SoftFastPath {
    let mut path = table();
    let mut entry = *path.entry(&key(Protocol::Udp)).unwrap();
    entry.action.rewrite = Tuple {
        protocol: Protocol::Udp,
        src: "[64:ff9b::a00:1]:7000".parse().unwrap(),
        dst: "[2001:db8::53]:5353".parse().unwrap(),
    };
    path.install(&key(Protocol::Udp), &entry);
    path
}

#[test]
fn a_packet_of_two_families_gets_another_header_and_grows() {
    let mut path = translating();
    let at = |text: &str| text.parse::<std::net::SocketAddr>().unwrap();
    let expected = Frame::udp(at("[64:ff9b::a00:1]:7000"), at("[2001:db8::53]:5353"))
        .payload(*b"query")
        .macs(OWN, HOP)
        .ttl(63);
    let frame = datagram().build();
    assert_eq!(decide(&mut path, &frame), (Decision::Forward(port(2)), expected.build()));
    let fits = datagram().payload(vec![0; 1452]).build();
    assert_eq!(decide(&mut path, &fits).0, Decision::Forward(port(2)));
    let too_big = datagram().payload(vec![0; 1453]).build();
    assert_eq!(decide(&mut path, &too_big).0, Decision::Punt(Punt::TooBig));
    assert_eq!(path.usage(&key(Protocol::Udp)).unwrap().packets, 2);
}

#[test]
fn what_takes_more_than_another_header_is_left_to_user_space() {
    let with = |change: fn(&mut Vec<u8>)| {
        let mut frame = datagram().build();
        change(&mut frame);
        frame
    };
    for frame in [
        datagram().no_checksum().build(),
        with(|frame| frame[24] ^= 1),
        with(|frame| {
            frame.splice(34..34, [1; 4]);
            frame[14] = 0x46;
            frame[17] += 4;
            frame[24..26].fill(0);
            let check = crate::testing::reference_checksum(&frame[14..38]);
            frame[24..26].copy_from_slice(&check.to_be_bytes());
        }),
    ] {
        let mut path = translating();
        assert_eq!(decide(&mut path, &frame), (Decision::Punt(Punt::Translation), frame));
        assert_eq!(path.usage(&key(Protocol::Udp)), Some(Usage::default()));
    }
}
