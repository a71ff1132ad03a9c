//! The sink's programs, run on frames one by one.

use std::net::Ipv4Addr;
use std::time::Duration;

use aya::{TestRun as _, TestRunOptions};
use etherparse::PacketBuilder;
use halfspace_testbed::{Requirement, ready};

use super::super::build::tests::{expected, plans};
use super::super::build::{Frame, TcpFlags};
use super::super::{Protocol, Tuple};
use super::*;

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

fn frame(source: [u8; 4], port: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(source, [198, 51, 100, 1], 63)
        .udp(4000, port)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

/// Runs one of the sink's programs on a frame: its verdict and what it made of the frame.
fn run(sink: &Sink, name: &'static str, frame: &[u8]) -> (u32, Vec<u8>) {
    let mut output = vec![0; 2048];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut output),
        ..TestRunOptions::new()
    };
    let result = live::program(&sink.bpf, name).unwrap().test_run(options).unwrap();
    output.truncate(result.data_size_out as usize);
    (result.return_value, output)
}

/// The same of the program that checks frames.
fn count(sink: &Sink, frame: &[u8]) -> (u32, Vec<u8>) {
    run(sink, name_for(&sink.plan), frame)
}

/// Frame number `sequence` of flow `number`.
fn test_frame(plan: &Plan, number: u32, sequence: u64, flags: TcpFlags) -> Frame {
    Frame {
        tuple: plan.tuple(number),
        number,
        sequence,
        size: plan.sizes.largest(),
        flags,
        time: None,
    }
}

#[test]
fn each_frame_is_counted_as_what_it_is() {
    if !ready(&[Requirement::Bpf]) {
        return;
    }
    let sources = Sources { address: Ipv4Addr::new(10, 1, 0, 0).into(), length: 16 };
    let sink = Sink::load(&Expected { sources, ..Expected::of(&Plan::default()) }).unwrap();
    let run = |frame: &[u8]| count(&sink, frame).0;
    let payload = |length: usize| {
        let mut payload = b"HSLT".to_vec();
        payload.extend((4..length).map(|i| (i * 7) as u8));
        payload
    };
    let mut expected = Counters::default();

    // Odd and even lengths, and a frame that was padded to the least size.
    for length in [18, 19, 20, 21, 777, 1472] {
        let frame = frame([10, 1, 2, 3], 9, &payload(length));
        assert_eq!(run(&frame), XDP_DROP);
        expected.valid += 1;
        expected.bytes += frame.len() as u64;
        assert_eq!(sink.read().unwrap(), expected, "{length}");
    }
    let mut padded = frame([10, 1, 2, 3], 9, &payload(9));
    padded.resize(60, 0xaa);
    assert_eq!(run(&padded), XDP_DROP);
    expected.valid += 1;
    expected.bytes += 60;
    assert_eq!(sink.read().unwrap(), expected);

    // Any flipped bit behind the Ethernet header is found, but for the fields that decide
    // whether it is a test frame at all.
    let good = frame([10, 1, 2, 3], 9, &payload(18));
    for bit in 0..8 * 46 {
        let mut bad = good.clone();
        bad[14 + bit / 8] ^= 1 << (bit % 8);
        let decides = matches!(14 + bit / 8, 14 | 23 | 36 | 37);
        assert_eq!(run(&bad), if decides { XDP_PASS } else { XDP_DROP }, "bit {bit}");
        expected.bad_checksum += u64::from(!decides);
        assert_eq!(sink.read().unwrap(), expected, "bit {bit}");
    }
    let mut without = good.clone();
    without[40..42].fill(0);
    assert_eq!(run(&without), XDP_DROP);
    expected.bad_checksum += 1;
    assert_eq!(sink.read().unwrap(), expected);

    assert_eq!(run(&frame([10, 1, 2, 3], 9, b"something else 123")), XDP_DROP);
    expected.bad_marker += 1;
    assert_eq!(sink.read().unwrap(), expected);

    assert_eq!(run(&frame([10, 2, 2, 3], 9, &payload(18))), XDP_DROP);
    expected.bad_source += 1;
    assert_eq!(sink.read().unwrap(), expected);

    // Not ours: to the stack, uncounted.
    assert_eq!(run(&frame([10, 1, 2, 3], 10, &payload(18))), XDP_PASS);
    let mut arp = good;
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    assert_eq!(run(&arp), XDP_PASS);
    assert_eq!(sink.read().unwrap(), expected);
    assert_eq!(expected.broken(), expected.bad_checksum + 2);
}

#[test]
fn frames_of_every_kind_are_valid_and_no_flipped_bit_of_them_is() {
    if !ready(&[Requirement::Bpf]) {
        return;
    }
    for plan in plans().into_iter().filter(|plan| plan.sizes.largest() < 100) {
        let kinds: &[TcpFlags] = match plan.protocol {
            Protocol::Udp => &[TcpFlags::PUSH],
            Protocol::Tcp => &[TcpFlags::SYN, TcpFlags::SYN_ACK, TcpFlags::PUSH, TcpFlags::RST],
        };
        let sink = Sink::load(&Expected::of(&plan)).unwrap();
        let mut valid = 0;
        for &flags in kinds {
            let frame = test_frame(&plan, 3, 0x1_0000_0003, flags);
            let mut good = Vec::new();
            frame.write(&plan, &mut good);
            // A router may have taken the padding off.
            if flags == TcpFlags::SYN {
                good.truncate((plan.transport_offset() + 20) as usize);
            }
            assert_eq!(count(&sink, &good).0, XDP_DROP);
            valid += 1;
            assert_eq!(sink.read().unwrap().valid, valid, "{frame:?} of {plan:?}");
            // All that a transport checksum covers.
            let at = plan.transport_offset() as usize;
            let begin = if plan.first_client.is_ipv6() { at - 32 } else { at - 8 };
            let bare = flags == TcpFlags::SYN || flags == TcpFlags::RST;
            let end = if bare { at + 20 } else { good.len() };
            for bit in 8 * begin..8 * end {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                count(&sink, &bad);
            }
            let counters = sink.read().unwrap();
            assert_eq!(counters.valid, valid, "{frame:?} of {plan:?}");
        }
    }
}

/// What the sink makes of frames of three flows that arrive in the order of `sequences`.
fn arrived(sequences: &[u64]) -> [u64; 3] {
    let plan = Plan { flows: 3, ..plans()[0] };
    let tracking = Tracking::Flows(3);
    let sink = Sink::load(&Expected { tracking, ..Expected::of(&plan) }).unwrap();
    let mut bytes = Vec::new();
    for &sequence in sequences {
        let number = sequence as u32 % 3;
        test_frame(&plan, number, sequence, TcpFlags::PUSH).write(&plan, &mut bytes);
        assert_eq!(count(&sink, &bytes).0, XDP_DROP);
    }
    let counters = sink.read().unwrap();
    assert_eq!(counters.broken(), 0);
    [counters.valid, counters.duplicated, counters.reordered]
}

#[test]
fn duplicates_and_reordering_are_told_apart_and_judged_by_flow() {
    if !ready(&[Requirement::Bpf]) {
        return;
    }
    // In order; with gaps; flows overtaking each other, which is no reordering.
    assert_eq!(arrived(&[0, 1, 2, 3, 4, 5]), [6, 0, 0]);
    assert_eq!(arrived(&[0, 1, 2, 9, 13, 300]), [6, 0, 0]);
    assert_eq!(arrived(&[2, 1, 0, 5, 4, 3]), [6, 0, 0]);
    // The same frame at once, and later, and twice later.
    assert_eq!(arrived(&[0, 0]), [1, 1, 0]);
    assert_eq!(arrived(&[0, 3, 6, 0, 3, 3]), [3, 3, 0]);
    // Late, for the first time and the second.
    assert_eq!(arrived(&[0, 6, 3]), [3, 0, 1]);
    assert_eq!(arrived(&[0, 6, 3, 3]), [3, 1, 1]);
    assert_eq!(arrived(&[6, 3, 0]), [3, 0, 2]);
    // 63 back is still known, 64 back counts as late.
    assert_eq!(arrived(&[0, 63 * 3, 0]), [2, 1, 0]);
    assert_eq!(arrived(&[0, 64 * 3, 0]), [3, 0, 1]);
}

#[test]
fn a_single_stream_is_kept_over_all_flows() {
    if !ready(&[Requirement::Bpf]) {
        return;
    }
    let plan = Plan { flows: 1000, protocol: Protocol::Tcp, ..plans()[0] };
    let tracking = Tracking::Stream;
    let sink = Sink::load(&Expected { tracking, ..Expected::of(&plan) }).unwrap();
    let mut bytes = Vec::new();
    for sequence in [0, 1, 2, 4, 3, 3, 5] {
        let frame = test_frame(&plan, sequence as u32, sequence, TcpFlags::SYN);
        frame.write(&plan, &mut bytes);
        count(&sink, &bytes);
    }
    let counters = sink.read().unwrap();
    assert_eq!([counters.valid, counters.duplicated, counters.reordered], [6, 1, 1]);
}

#[test]
fn times_fall_into_the_bucket_that_holds_them() {
    if !ready(&[Requirement::Bpf]) {
        return;
    }
    let plan = Plan { sample_interval: 1, ..plans()[0] };
    let sink = Sink::load(&Expected::of(&plan)).unwrap();
    let now = || {
        let clock = nix::time::ClockId::CLOCK_MONOTONIC;
        Duration::from(nix::time::clock_gettime(clock).unwrap()).as_nanos() as u32
    };
    let mut bytes = Vec::new();
    let mut before = Latencies::new();
    for (sequence, ago) in [0, 3_000_000, 1_000_000_000].into_iter().enumerate() {
        let frame = test_frame(&plan, 0, sequence as u64, TcpFlags::PUSH);
        let sent = now().wrapping_sub(ago);
        Frame { time: Some(sent), ..frame }.write(&plan, &mut bytes);
        count(&sink, &bytes);
        // At least as long ago as it says, at most as long as it is now.
        let after = now().wrapping_sub(sent);
        let summary = sink.latencies().unwrap().summary();
        assert_eq!(summary.count, before.count() + 1);
        let (least, most) = (f64::from(ago) / 1e9, f64::from(after) / 1e9);
        assert!(summary.max >= least * 0.96 && summary.max <= most * 1.04 + 1e-9, "{summary:?}");
        before = sink.latencies().unwrap();
    }
    assert_eq!(sink.read().unwrap().valid, 3);
}

#[test]
fn buckets_are_a_thirty_second_wide_and_leave_no_gap() {
    assert_eq!(middle_of(31), 31);
    assert_eq!(middle_of(32), 32);
    assert_eq!(middle_of(64), 65);
    let last = ((32 - SUB_BITS + 1) << SUB_BITS) - 1;
    for bucket in 1..=last {
        let (here, before) = (middle_of(bucket), middle_of(bucket - 1));
        assert!(here > before && here - before <= here / 32 + 1, "{bucket}");
    }
    assert!(middle_of(last) < 1 << 32 && middle_of(last) > (1 << 32) / 64 * 63);
}

#[test]
fn answers_go_where_the_flows_came_from_and_only_for_their_clients() {
    if !ready(&[Requirement::Bpf]) {
        return;
    }
    for plan in plans() {
        let far = Expected { tracking: Tracking::Answerable(7), ..Expected::of(&plan) };
        let far = Sink::load(&far).unwrap();
        let tracking = Tracking::Flows(7);
        let near = Expected { tracking, backwards: true, ..Expected::of(&plan) };
        let near = Sink::load(&near).unwrap();
        // Flow 5 never arrives; behind the gateway the others have one address.
        let flags = TcpFlags::SYN_ACK;
        let translated = |number: u32| {
            let mut tuple = plan.tuple(number);
            let gateway = if tuple.source.is_ipv4() { "203.0.113.1" } else { "2001:db8::7:7" };
            tuple.source = SocketAddr::new(gateway.parse().unwrap(), 2000 + number as u16);
            tuple
        };
        let mut bytes = Vec::new();
        for number in [0, 1, 2, 3, 4, 6] {
            let frame = test_frame(&plan, number, number.into(), flags);
            Frame { tuple: translated(number), ..frame }.write(&plan, &mut bytes);
            count(&far, &bytes);
            assert_eq!(far.source_of(number).unwrap(), Some(translated(number).source));
        }
        assert_eq!(far.read().unwrap().valid, 6);
        assert_eq!(far.source_of(5).unwrap(), None);
        assert_eq!(far.macs().unwrap(), (plan.destination_mac, plan.source_mac));

        let order = Order::pass(0, 7).with(flags);
        far.live.control(order, 7).unwrap();
        let back =
            Plan { source_mac: plan.destination_mac, destination_mac: plan.source_mac, ..plan };
        let sizes = plan.sizes.get();
        let page = vec![0; plan.sizes.largest() as usize];
        let mut sent = 0;
        for number in 0..7 {
            let (verdict, answer) = run(&far, "reply", &page);
            assert_eq!(verdict == XDP_DROP, number == 5);
            if number == 5 {
                continue;
            }
            let forth = translated(number);
            let frame = Frame {
                tuple: Tuple { source: forth.destination, destination: forth.source },
                size: sizes[sent % sizes.len()],
                ..test_frame(&plan, number, number.into(), flags)
            };
            assert_eq!(answer, expected(&back, &frame), "{frame:?} of {plan:?}");
            sent += 1;

            // As the gateway translates it back, and as it must not.
            let original = plan.tuple(number);
            let right = Tuple { source: original.destination, destination: original.source };
            let mut other = right;
            other.destination.set_port(right.destination.port() ^ 1);
            Frame { tuple: right, ..frame }.write(&plan, &mut bytes);
            count(&near, &bytes);
            Frame { tuple: other, ..frame }.write(&plan, &mut bytes);
            count(&near, &bytes);
        }
        assert_eq!(far.live.sent().unwrap(), 6);
        assert_eq!(run(&far, "reply", &page).0, XDP_DROP);
        let counters = near.read().unwrap();
        assert_eq!([counters.valid, counters.bad_source, counters.broken()], [6, 6, 6]);
    }
}
