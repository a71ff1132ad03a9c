//! Datagrams in fragments, without an engine: who waits, who follows, who gives way.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::tuple::Protocol;

const LIMITS: Limits =
    Limits { datagrams: 8, datagrams_of_port: 4, bytes: 800, bytes_of_port: 400 };

const NOW: Time = Time::from_secs(1000);

fn fragments() -> Fragments {
    Fragments::new(LIMITS, 1)
}

/// A datagram by port `port`, with this identification.
fn key(port: u32, identification: u32) -> DatagramKey {
    DatagramKey {
        port: PortId::new(port).unwrap(),
        src: Ipv4Addr::new(10, 0, 0, 1).into(),
        dst: Ipv4Addr::new(192, 0, 2, 1).into(),
        protocol: Some(17),
        identification,
    }
}

fn way(flow: u32) -> Way {
    let [src, dst] = [([10, 0, 0, 1], 1), ([192, 0, 2, 1], 2)].map(SocketAddr::from);
    let tuple = Tuple { protocol: Protocol::Udp, src, dst };
    let key = FlowKey { port: PortId::new(1).unwrap(), tuple };
    Way { flow: FlowId(flow), direction: Direction::Forward, key, rewrite: tuple }
}

const FIRST: Part = Part { start: 0, end: 80, is_last: false };
const MIDDLE: Part = Part { start: 80, end: 160, is_last: false };
const LAST: Part = Part { start: 160, end: 200, is_last: true };

/// Frames of 100 bytes.
fn frame(mark: u8) -> Vec<u8> {
    vec![mark; 100]
}

/// The first fragment comes and goes this way; what has waited for it.
fn lead(all: &mut Fragments, key: DatagramKey, way: Way) -> Vec<Vec<u8>> {
    let arrival = all.arrive(NOW, key, FIRST, &frame(0));
    assert!(matches!(arrival, Arrival::First { before: None, .. }), "{arrival:?}");
    all.lead(&key, way)
}

fn waits(all: &mut Fragments, key: DatagramKey, part: Part, mark: u8) {
    assert_eq!(all.arrive(NOW, key, part, &frame(mark)), Arrival::Waits);
}

fn followed(arrival: Arrival) -> Way {
    let Arrival::Follows { way, .. } = arrival else { panic!("{arrival:?}") };
    way
}

/// Nothing is left of anything.
fn assert_empty(all: &mut Fragments) {
    assert_eq!((all.len(), all.waiting_bytes(), all.take_lost()), (0, 0, vec![]));
    assert!(all.by_age.is_empty() && all.by_port.is_empty() && all.shares.is_empty());
    assert_eq!(all.next_deadline(), None);
}

#[test]
fn later_fragments_go_the_way_of_the_first_and_the_last_ends_it() {
    let mut all = fragments();
    assert_eq!(lead(&mut all, key(1, 7), way(3)), Vec::<Vec<u8>>::new());
    assert_eq!(followed(all.arrive(NOW, key(1, 7), MIDDLE, &frame(1))), way(3));
    assert_eq!(all.len(), 1);
    assert_eq!(followed(all.arrive(NOW, key(1, 7), LAST, &frame(2))), way(3));
    assert_empty(&mut all);
}

#[test]
fn what_comes_before_the_first_waits_in_its_order() {
    let mut all = fragments();
    waits(&mut all, key(1, 7), LAST, 2);
    waits(&mut all, key(1, 7), MIDDLE, 1);
    assert_eq!(all.waiting_bytes(), 200);
    assert_eq!(lead(&mut all, key(1, 7), way(3)), [frame(2), frame(1)]);
    assert_empty(&mut all);
}

#[test]
fn nobody_follows_the_first_fragment_of_another_datagram() {
    let mut all = fragments();
    lead(&mut all, key(1, 7), way(3));
    let mut others = [key(2, 7), key(1, 8), key(1, 7), key(1, 7), key(1, 7)];
    others[2].src = Ipv4Addr::new(10, 0, 0, 2).into();
    others[3].dst = Ipv4Addr::new(192, 0, 2, 2).into();
    others[4].protocol = Some(6);
    for other in others {
        waits(&mut all, other, MIDDLE, 1);
        all.refuse(&other, Drop::FragmentRefused);
    }
}

#[test]
fn what_never_gets_a_first_fragment_is_lost_after_its_time() {
    let mut all = fragments();
    waits(&mut all, key(1, 7), LAST, 2);
    waits(&mut all, key(1, 7), MIDDLE, 1);
    lead(&mut all, key(1, 8), way(3));
    assert_eq!(all.next_deadline(), Some(NOW + LIFETIME));
    all.advance(NOW + LIFETIME - Duration::from_millis(1));
    assert_eq!((all.len(), all.take_lost()), (2, vec![]));
    all.advance(NOW + LIFETIME);
    assert_eq!(all.take_lost(), [Drop::FragmentTimeout; 2]);
    assert_empty(&mut all);
    // Not by its old first fragment.
    let later = NOW + LIFETIME;
    assert_eq!(all.arrive(later, key(1, 8), MIDDLE, &frame(1)), Arrival::Waits);
}

#[test]
fn a_fragment_that_waits_does_not_prolong_its_time() {
    let mut all = fragments();
    waits(&mut all, key(1, 7), LAST, 2);
    let late = NOW + LIFETIME - Duration::from_millis(1);
    assert_eq!(all.arrive(late, key(1, 7), MIDDLE, &frame(1)), Arrival::Waits);
    all.advance(NOW + LIFETIME);
    assert_eq!(all.take_lost(), [Drop::FragmentTimeout; 2]);
}

#[test]
fn an_overlap_ends_the_whole_datagram() {
    let over = Part { start: 72, end: 160, is_last: false };
    let mut all = fragments();
    lead(&mut all, key(1, 7), way(3));
    let overlaps = Arrival::Dropped(Drop::FragmentOverlap);
    assert_eq!(all.arrive(NOW, key(1, 7), over, &frame(1)), overlaps);
    for part in [LAST, FIRST, MIDDLE] {
        assert_eq!(all.arrive(NOW, key(1, 7), part, &frame(1)), overlaps, "not yet received");
    }
    // Before the first has come as well.
    waits(&mut all, key(1, 8), MIDDLE, 1);
    assert_eq!(all.arrive(NOW, key(1, 8), over, &frame(1)), overlaps);
    assert_eq!(all.take_lost(), [Drop::FragmentOverlap]);
    assert_eq!(all.waiting_bytes(), 0);
    all.advance(NOW + LIFETIME);
    assert_empty(&mut all);
}

#[test]
fn a_duplicate_follows_or_waits_once() {
    let mut all = fragments();
    waits(&mut all, key(1, 7), MIDDLE, 1);
    let again = all.arrive(NOW, key(1, 7), MIDDLE, &frame(1));
    assert_eq!(again, Arrival::Dropped(Drop::FragmentDuplicate));
    assert_eq!(lead(&mut all, key(1, 7), way(3)), [frame(1)]);
    assert_eq!(followed(all.arrive(NOW, key(1, 7), MIDDLE, &frame(1))), way(3));
    assert_eq!(followed(all.arrive(NOW, key(1, 7), LAST, &frame(1))), way(3));
    assert_empty(&mut all);
}

#[test]
fn a_first_fragment_that_comes_again_begins_the_datagram_anew() {
    let mut all = fragments();
    lead(&mut all, key(1, 7), way(3));
    let Arrival::Follows { identification, .. } = all.arrive(NOW, key(1, 7), LAST, &frame(2))
    else {
        panic!("it does not follow");
    };
    // The middle was lost. The next datagram of that identification is shorter.
    let again = all.arrive(NOW, key(1, 7), FIRST, &frame(0));
    assert_eq!(again, Arrival::First { identification, before: Some(way(3)) });
    assert_eq!(all.lead(&key(1, 7), way(3)), Vec::<Vec<u8>>::new());
    let end = Part { start: 80, end: 90, is_last: true };
    assert_eq!(followed(all.arrive(NOW, key(1, 7), end, &frame(1))), way(3));
    assert_empty(&mut all);
}

#[test]
fn what_is_refused_is_lost_and_so_is_what_comes_behind() {
    let mut all = fragments();
    waits(&mut all, key(1, 7), LAST, 2);
    all.refuse(&key(1, 7), Drop::FragmentRefused);
    assert_eq!((all.take_lost(), all.waiting_bytes()), (vec![Drop::FragmentRefused], 0));
    let behind = all.arrive(NOW, key(1, 7), MIDDLE, &frame(1));
    assert_eq!(behind, Arrival::Dropped(Drop::FragmentRefused));
    all.advance(NOW + LIFETIME);
    assert_empty(&mut all);
}

#[test]
fn datagrams_of_a_port_give_way_to_newer_ones_those_that_wait_first() {
    let mut all = fragments();
    lead(&mut all, key(1, 0), way(0));
    for n in 1..4 {
        waits(&mut all, key(1, n), MIDDLE, n as u8);
    }
    waits(&mut all, key(2, 1), MIDDLE, 1);
    for n in 4..100 {
        waits(&mut all, key(1, n), MIDDLE, 1);
        assert_eq!(all.take_lost(), [Drop::FragmentTableFull], "{n}");
        assert_eq!(all.len(), 5);
    }
    // A flood by a port takes nothing from what is known, nor from another port.
    assert_eq!(followed(all.arrive(NOW, key(1, 0), MIDDLE, &frame(1))), way(0));
    assert_eq!(lead(&mut all, key(2, 1), way(9)), [frame(1)]);
    // One of first fragments has the oldest of them give way at last.
    for n in 100..104 {
        lead(&mut all, key(1, n), way(n));
    }
    all.take_lost();
    assert_eq!(all.arrive(NOW, key(1, 0), LAST, &frame(1)), Arrival::Waits);
}

#[test]
fn datagrams_of_all_ports_together_are_bounded() {
    let mut all = fragments();
    for n in 0..4 {
        waits(&mut all, key(1, n), MIDDLE, 1);
        waits(&mut all, key(2, n), MIDDLE, 1);
    }
    waits(&mut all, key(3, 0), MIDDLE, 1);
    assert_eq!((all.len(), all.take_lost()), (8, vec![Drop::FragmentTableFull]));
    assert_eq!(lead(&mut all, key(2, 0), way(1)), [frame(1)], "the oldest was another");
    assert_eq!(lead(&mut all, key(1, 0), way(1)), Vec::<Vec<u8>>::new());
}

#[test]
fn bytes_that_wait_are_bounded_and_the_oldest_give_way() {
    let mut all = fragments();
    lead(&mut all, key(1, 0), way(0));
    waits(&mut all, key(1, 1), MIDDLE, 1);
    waits(&mut all, key(1, 1), LAST, 2);
    waits(&mut all, key(1, 2), MIDDLE, 3);
    waits(&mut all, key(1, 2), LAST, 4);
    assert_eq!(all.waiting_bytes(), 400);
    waits(&mut all, key(1, 3), MIDDLE, 5);
    assert_eq!(all.take_lost(), [Drop::FragmentQueueFull; 2]);
    assert_eq!(all.waiting_bytes(), 300);
    assert_eq!(lead(&mut all, key(1, 2), way(2)), [frame(3), frame(4)]);
    assert_eq!(followed(all.arrive(NOW, key(1, 0), MIDDLE, &frame(1))), way(0), "it holds none");
}

#[test]
fn a_datagram_that_alone_is_too_much_is_given_up() {
    let mut all = fragments();
    let part = |n: u16| Part { start: n * 8, end: n * 8 + 8, is_last: false };
    for n in 1..5 {
        waits(&mut all, key(1, 1), part(n), 1);
    }
    let full = Arrival::Dropped(Drop::FragmentQueueFull);
    assert_eq!(all.arrive(NOW, key(1, 1), part(5), &frame(1)), full);
    assert_eq!(all.take_lost(), [Drop::FragmentQueueFull; 4]);
    assert_eq!(all.arrive(NOW, key(1, 1), FIRST, &frame(1)), full);
    assert_eq!(all.waiting_bytes(), 0);
}

#[test]
fn bytes_of_all_ports_together_are_bounded() {
    let mut all = fragments();
    for port in 1..=2 {
        for n in 0..4 {
            waits(&mut all, key(port, n), MIDDLE, port as u8);
        }
    }
    assert_eq!(all.waiting_bytes(), 800);
    all.limits.datagrams = 100;
    waits(&mut all, key(3, 0), MIDDLE, 3);
    assert_eq!((all.waiting_bytes(), all.take_lost()), (800, vec![Drop::FragmentQueueFull]));
    assert_eq!(lead(&mut all, key(1, 0), way(1)), Vec::<Vec<u8>>::new(), "the oldest gave way");
}

#[test]
fn a_datagram_has_a_bounded_number_of_parts() {
    let mut all = fragments();
    lead(&mut all, key(1, 7), way(3));
    let part = |n: u16| Part { start: 80 + n * 16, end: 88 + n * 16, is_last: false };
    for n in 1..parts::MOST as u16 {
        assert_eq!(followed(all.arrive(NOW, key(1, 7), part(n), &frame(1))), way(3));
    }
    let full = Arrival::Dropped(Drop::FragmentQueueFull);
    assert_eq!(all.arrive(NOW, key(1, 7), part(500), &frame(1)), full);
}

#[test]
fn a_port_that_goes_takes_its_datagrams_along_and_no_others() {
    let mut all = fragments();
    lead(&mut all, key(1, 1), way(1));
    waits(&mut all, key(1, 2), MIDDLE, 1);
    waits(&mut all, key(2, 2), MIDDLE, 2);
    all.forget_port(PortId::new(1).unwrap());
    assert_eq!((all.len(), all.take_lost()), (1, vec![Drop::PortGone]));
    assert_eq!(lead(&mut all, key(2, 2), way(2)), [frame(2)]);
}

#[test]
fn datagrams_under_way_have_identifications_of_their_own() {
    let mut all = Fragments::new(Limits::DEFAULT, 5);
    let mut own = HashSet::new();
    for port in 1..=4 {
        for n in 0..1024 {
            let arrival = all.arrive(NOW, key(port, n), FIRST, &[]);
            let Arrival::First { identification, .. } = arrival else { panic!("{arrival:?}") };
            assert!(own.insert(identification), "{identification}");
            all.lead(&key(port, n), way(n));
        }
    }
    assert!((0..1 << 16).all(|_| !own.contains(&all.take_identification())));
    // The same for all fragments of one.
    let arrival = all.arrive(NOW, key(1, 0), MIDDLE, &[]);
    let Arrival::Follows { identification, .. } = arrival else { panic!("{arrival:?}") };
    assert!(own.contains(&identification));
    all.advance(NOW + LIFETIME);
    assert_empty(&mut all);
    assert!((0..1 << 16).any(|_| own.contains(&all.take_identification())));
}

/// Whatever comes: nothing grows past its bounds, every frame that waits is given out or lost once,
/// and nothing is left when time has passed.
#[test]
fn no_order_of_events_breaks_a_bound() {
    const SEED: u64 = 0x5eed_f4a9;
    println!("seed {SEED:#x}");
    let mut state = SEED;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) % below
    };
    let mut all = fragments();
    let mut now = NOW;
    let (mut kept, mut given, mut lost) = (0, 0, 0);
    for _ in 0..200_000 {
        let it = key(1 + draw(4) as u32, draw(6) as u32);
        let start = draw(5) as u16 * 8;
        let part = Part { start, end: start + 8 * (1 + draw(2) as u16), is_last: draw(4) == 0 };
        match draw(100) {
            0 => all.forget_port(it.port),
            1 => all.refuse(&it, Drop::FragmentRefused),
            2 => now = now + Duration::from_millis(draw(3000)),
            _ => match all.arrive(now, it, part, &frame(1)) {
                Arrival::First { .. } if draw(4) == 0 => {
                    all.refuse(&it, Drop::FragmentRefused);
                }
                Arrival::First { .. } => given += all.lead(&it, way(1)).len(),
                Arrival::Waits => kept += 1,
                Arrival::Follows { .. } | Arrival::Dropped(_) => {}
            },
        }
        lost += all.take_lost().len();
        assert_eq!(all.waiting_bytes(), (kept - given - lost) * 100);
        assert!(all.len() <= LIMITS.datagrams && all.waiting_bytes() <= LIMITS.bytes);
        assert_eq!((all.by_age.len(), all.by_port.len()), (all.len(), all.len()));
        let shares = all.shares.values();
        assert_eq!(shares.clone().map(|it| it.datagrams).sum::<usize>(), all.len());
        assert_eq!(shares.map(|it| it.bytes).sum::<usize>(), all.waiting_bytes());
        assert!(all.shares.values().all(|it| {
            it.datagrams <= LIMITS.datagrams_of_port && it.bytes <= LIMITS.bytes_of_port
        }));
    }
    assert!(kept > 1000 && given > 1000 && lost > 1000, "{kept} {given} {lost}");
    all.advance(now + LIFETIME);
    all.take_lost();
    assert_empty(&mut all);
}
