//! What user space does for flows, thousands of times over, for Callgrind to count.
//!
//! Without an argument it names the kinds of work; with one of these names it does that work and
//! prints how often. All that is to be counted happens below [`counted`], the rest is preparation.
//! The engine stands on a fast path that does nothing: the kernel's tables are not user space's
//! instructions, and the reference one is not what runs.

mod network;
mod nowhere;

use std::process::ExitCode;
use std::time::Duration;

use nf_core::fast_path::Event;
use nf_core::fast_path::soft::FrameMeta;
use nf_core::id::PortId;
use nf_core::testing::World;
use nf_core::time::Time;
use nf_core::verdict::{Punt, Verdict};

use network::Way;
use nowhere::Nowhere;

/// Flows that are set up before the counting starts: neighbours are known by then, and tables have
/// grown.
const BEFORE: u16 = 1024;

/// Flows that count.
const FLOWS: u16 = 8192;

/// Longer than any flow of the network may be idle.
const IDLE: Duration = Duration::from_secs(200);

/// Calls of the engine in which all that is due must be done.
const MOST_CALLS: usize = 1000;

/// A kind of work.
struct Work {
    name: &'static str,
    run: fn(),
}

const ALL: &[Work] = &[
    Work { name: "first_packet_nat", run: || first_packets(Way::Nat) },
    Work { name: "first_packet_nlb", run: || first_packets(Way::Nlb) },
    Work { name: "first_packet_bridge_nat", run: || first_packets(Way::BridgeNat) },
    Work { name: "made_flow_nat", run: || made_flows(Way::Nat) },
    Work { name: "made_flow_bridge_nat", run: || made_flows(Way::BridgeNat) },
    Work { name: "timer_ends_idle_flow", run: || timers(false) },
    Work { name: "timer_of_busy_flow", run: || timers(true) },
];

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        for work in ALL {
            println!("{}", work.name);
        }
        return ExitCode::SUCCESS;
    };
    let Some(work) = ALL.iter().find(|work| work.name == name) else {
        eprintln!("there is no work named {name}");
        return ExitCode::FAILURE;
    };
    (work.run)();
    println!("{FLOWS}");
    ExitCode::SUCCESS
}

/// Only what happens in here counts: perf-guard names this function to Callgrind.
#[inline(never)]
fn counted(work: impl FnOnce()) {
    work();
}

/// First packets of flows, from the frame as the fast path hands it over to the entries installed
/// and the frame sent on.
fn first_packets(way: Way) {
    let mut world = way.world();
    let port = begin(&mut world, way);
    let frames: Vec<_> = (BEFORE..BEFORE + FLOWS).map(|n| way.frame(&world, n)).collect();
    let mut path = Nowhere::new(world.now);
    let mut forwarded = 0;
    counted(|| {
        for frame in &frames {
            forwarded += u16::from(arrives(&mut world, port, frame, &mut path));
        }
    });
    assert_eq!(forwarded, FLOWS, "first packets that went on");
    assert_eq!(world.engine.flow_count(), usize::from(BEFORE + FLOWS));
}

/// Flows that the fast path has made, from when it tells of one to the stock filled up again. This
/// touches nothing of the fast path but the stock, so the reference one may do for it.
fn made_flows(way: Way) {
    let mut world = way.world();
    let port = begin(&mut world, way);
    let mut made = 0;
    for n in BEFORE..BEFORE + FLOWS {
        let mut frame = way.frame(&world, n);
        world.path.process(port, &mut frame, FrameMeta::default());
        for event in world.path.take_events() {
            made += u16::from(matches!(event, Event::Made(_)));
            counted(|| world.engine.event(world.now, &event, &mut world.path));
        }
    }
    assert_eq!(made, FLOWS, "flows that were made");
    assert_eq!(world.engine.flow_count(), usize::from(BEFORE + FLOWS));
}

/// Timers of flows that fire: of flows that saw packets since, or not.
fn timers(busy: bool) {
    let way = Way::Nat;
    let mut world = way.world();
    let port = begin(&mut world, way);
    let mut path = Nowhere::new(world.now);
    for n in BEFORE..FLOWS {
        let frame = way.frame(&world, n);
        assert!(arrives(&mut world, port, &frame, &mut path), "flow {n} is set up");
    }
    let now = world.now + IDLE;
    if busy {
        path = Nowhere::new(now);
    }
    counted(|| {
        let mut calls = 0;
        while is_due(world.engine.advance(now, &mut path), now) {
            calls += 1;
            assert!(calls < MOST_CALLS, "the engine does not come to an end");
        }
    });
    assert_eq!(world.engine.flow_count(), if busy { FLOWS.into() } else { 0 });
}

fn is_due(deadline: Option<Time>, now: Time) -> bool {
    deadline.is_some_and(|deadline| deadline <= now)
}

/// Sets some flows up among hosts that answer; the port that packets come by.
fn begin(world: &mut World, way: Way) -> PortId {
    let port = world.port(way.port());
    for n in 0..BEFORE {
        let frame = way.frame(world, n);
        let sent = world.deliver(port, frame, FrameMeta::default());
        assert_eq!(sent.len(), 1, "flow {n} goes on");
    }
    port
}

/// A frame without an entry arrives; whether it went on.
fn arrives(world: &mut World, port: PortId, frame: &[u8], path: &mut Nowhere) -> bool {
    let meta = FrameMeta::default();
    let verdict = world.engine.packet(world.now, port, Punt::Miss, meta, frame, path);
    matches!(verdict, Verdict::Forwarded)
}
