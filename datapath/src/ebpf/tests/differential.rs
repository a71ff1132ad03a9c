//! The kernel program against [`SoftFastPath`]: the same worlds, the same packets; decisions,
//! bytes, ring records, entries and counters must be equal.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::os::fd::AsFd;

use nf_core::fast_path::soft::{Decision, SoftFastPath};
use nf_core::fast_path::{Event, FastPath, MeterId, Metered, PortPolicy};
use nf_core::id::{AdjacencyId, PortId};
use nf_core::time::{Tick, Time};
use nf_core::verdict::{FastDrop, Punt};

use super::Bench;
use super::generate::{self, Case, Rng, World};
use crate::ebpf::Ebpf;
use crate::ebpf::sys::{self, RunInput, RunOutput};
use crate::{HookWish, Received, Statistics};

const ROUNDS: usize = 250;
const PACKETS: usize = 4000;

/// The moment the oracle stamps; the kernel has a clock of its own.
const STAMP: Tick = Tick(0xaaaa_aaaa);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    Tc,
    Xdp,
}

/// What a hook returns to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Redirected,
    Passed,
    Ended,
}

impl Hook {
    pub(super) fn fate(self, result: u32) -> Option<Fate> {
        match (self, result) {
            (Self::Tc, 7) | (Self::Xdp, 4) => Some(Fate::Redirected),
            (Self::Tc, 0xffff_ffff) | (Self::Xdp, 2) => Some(Fate::Passed),
            (Self::Tc, 2) | (Self::Xdp, 1) => Some(Fate::Ended),
            _ => None,
        }
    }
}

/// A way to make the expectation wrong, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bend {
    OutputByte,
    Decision,
    PuntReason,
    DropReason,
    Event,
    Packets,
    LastSeen,
}

/// How often each decision was seen, and each way that making a flow can end.
#[derive(Debug, Default)]
struct Coverage {
    decisions: Vec<(Decision, u64)>,
    made: u64,
    unused: u64,
    /// Packets that left as IPv4 and came as IPv6, and the other way round.
    translated: [u64; 2],
}

impl Coverage {
    fn add(&mut self, decision: Decision) {
        match self.decisions.iter_mut().find(|(other, _)| *other == decision) {
            Some((_, count)) => *count += 1,
            None => self.decisions.push((decision, 1)),
        }
    }

    fn add_event(&mut self, event: &Event) {
        if let Event::Made(made) = event {
            *if made.is_made { &mut self.made } else { &mut self.unused } += 1;
        }
    }

    fn of(&self, decision: Decision) -> u64 {
        self.decisions.iter().find(|(other, _)| *other == decision).map_or(0, |(_, count)| *count)
    }
}

pub(super) struct Comparison<'a> {
    hook: Hook,
    pub(super) ebpf: &'a mut Ebpf,
    pub(super) ports: [PortId; 2],
    /// Whether packets come with a sum over all of them, which the kernel then checks.
    sums: bool,
    bend: Option<Bend>,
    coverage: Coverage,
}

/// Where the stamps of right now may lie: around the last timer interrupt, a jiffy to either side.
fn stamps_now() -> std::ops::RangeInclusive<Tick> {
    let clock = nix::time::ClockId::CLOCK_MONOTONIC_COARSE;
    let now = Time::default() + nix::time::clock_gettime(clock).unwrap().into();
    let jiffy = nix::time::clock_getres(clock).unwrap().into();
    (now - jiffy).tick()..=(now + jiffy).tick()
}

impl Comparison<'_> {
    /// A round with a new world; what differed, if anything.
    fn round(&mut self, rng: &mut Rng, packets: usize) -> Result<(), String> {
        let world = World::new(rng, self.ports);
        let mut soft = SoftFastPath::new(1);
        soft.set_time(Time::from_nanos(u64::from(STAMP.0) << Tick::SHIFT));
        set_up(&world, &mut soft);
        set_up(&world, self.ebpf.fast_path());
        let before = self.ebpf.statistics().unwrap();
        let metered_before = metered(self.ebpf.fast_path());
        let began = *stamps_now().start();
        let mut decisions = Statistics::default();
        for _ in 0..packets {
            let case = world.case(rng, self.hook == Hook::Tc);
            let decision = self.packet(&case, &mut soft)?;
            if !self.left_to_tc(decision) {
                count(&mut decisions, decision, self.bend);
            }
            self.coverage.add(decision);
        }
        let ended = *stamps_now().end();
        let counted = self.ebpf.statistics().unwrap();
        counters(&before, &decisions, &counted)?;
        meters(&metered_before, &metered(&mut soft), &metered(self.ebpf.fast_path()))?;
        self.entries(&world, &soft, began..=ended)?;
        self.stocks(&world, &mut soft)?;
        clear(&world, &soft, self.ebpf.fast_path());
        Ok(())
    }

    fn packet(&mut self, case: &Case, soft: &mut SoftFastPath) -> Result<Decision, String> {
        let mut expected = case.frame.clone();
        let mut decision = soft.process(case.port, &mut expected, case.meta);
        let mut events = soft.take_events();
        for event in &events {
            self.coverage.add_event(event);
        }
        self.coverage.translated[0] += u64::from(expected.len() < case.frame.len());
        self.coverage.translated[1] += u64::from(expected.len() > case.frame.len());
        if self.bend == Some(Bend::OutputByte) && matches!(decision, Decision::Forward(_)) {
            expected[40] ^= 1;
        }
        let truth = decision;
        match self.bend {
            Some(Bend::Decision) if decision == Decision::Pass => {
                decision = Decision::Drop(FastDrop::Malformed);
            }
            Some(Bend::PuntReason) if decision == Decision::Punt(Punt::Stale) => {
                decision = Decision::Punt(Punt::Miss);
            }
            Some(Bend::Event) => events.iter_mut().for_each(bend_event),
            _ => {}
        }

        let mut output = vec![0; case.frame.len() + 64];
        let ran = self.run(case, &mut output);
        let ran = ran.map_err(|error| format!("{case:?}: test run: {error}"))?;
        output.truncate(ran.length);
        let fate = match decision {
            Decision::Forward(_) => Fate::Redirected,
            Decision::Pass | Decision::Tap(_) => Fate::Passed,
            Decision::Punt(_) | Decision::Drop(_) => Fate::Ended,
        };
        if self.hook.fate(ran.result) != Some(fate) {
            return Err(format!("{case:02x?}\nexpected {decision:?}, got {}", ran.result));
        }
        if output != expected {
            return Err(difference(case, decision, &expected, &output));
        }
        let mut due: Vec<_> = events.into_iter().map(Received::Event).collect();
        if let Some(reason) = self.handed_up(decision) {
            let Case { port, frame, meta } = case;
            due.push(Received::Frame { port: *port, reason, meta: *meta, frame });
        }
        let mut due = due.into_iter();
        let mut wrong = None;
        self.ebpf.receive(usize::MAX, &mut |_, received| {
            let expected = due.next();
            if expected != Some(received) {
                wrong = Some(format!("expected {expected:02x?}, got {received:02x?}"));
            }
        });
        let missing = due.next().map(|expected| format!("{expected:02x?} did not come"));
        if let Some(difference) = wrong.or(missing) {
            return Err(format!("{case:02x?}\n{decision:?}: {difference}"));
        }
        Ok(truth)
    }

    /// Whether XDP leaves what was decided to the tc program behind it.
    fn left_to_tc(&self, decision: Decision) -> bool {
        self.hook == Hook::Xdp && matches!(decision, Decision::Pass | Decision::Tap(_))
    }

    /// Why user space is handed the frame, if it is.
    fn handed_up(&self, decision: Decision) -> Option<Punt> {
        match decision {
            Decision::Punt(reason) | Decision::Tap(reason) if !self.left_to_tc(decision) => {
                Some(reason)
            }
            _ => None,
        }
    }

    pub(super) fn run(&self, case: &Case, output: &mut [u8]) -> io::Result<RunOutput> {
        let links = self.ebpf.links.links();
        let programs = links.programs();
        let (program, context) = match self.hook {
            Hook::Tc => (&programs.tc, skb_context(case.port, case.meta.segment_size).to_vec()),
            Hook::Xdp => (&programs.xdp, xdp_context(case.port, case.frame.len()).to_vec()),
        };
        let flags = if self.sums { CHECKSUM_COMPLETE } else { 0 };
        let input = RunInput { data: &case.frame, context: &context, flags };
        sys::run(program.as_fd(), &input, output)
    }

    /// What is left in stock; everything is taken back.
    fn stocks(&mut self, world: &World, soft: &mut SoftFastPath) -> Result<(), String> {
        let kernel = self.ebpf.fast_path();
        for (class, _) in &world.templates {
            kernel.set_template(class, None);
        }
        for (stock, _) in &world.stocks {
            let left = (soft.in_stock(*stock), kernel.in_stock(*stock));
            let (expected, got) = (soft.take_back(*stock), kernel.take_back(*stock));
            if expected != got || left != (expected.len(), expected.len()) {
                return Err(format!(
                    "{stock:?}: expected {expected:?}, got {got:?}, {left:?} left"
                ));
            }
        }
        Ok(())
    }

    /// Takes out every entry, template, lot and record.
    pub(super) fn empty(&mut self) {
        self.ebpf.tables.forget_templates().unwrap();
        let mut keys = Vec::new();
        self.ebpf.recover(&mut |key, _| keys.push(key)).unwrap();
        for key in keys {
            self.ebpf.fast_path().remove(&key);
        }
        self.ebpf.receive(usize::MAX, &mut |_, _| {});
    }

    fn entries(
        &mut self,
        world: &World,
        soft: &SoftFastPath,
        during: std::ops::RangeInclusive<Tick>,
    ) -> Result<(), String> {
        let mut found = BTreeMap::new();
        let adjacencies = self
            .ebpf
            .recover(&mut |key, entry| {
                found.insert(key.to_string(), entry);
            })
            .unwrap();
        let filled = world.adjacencies.iter().flatten().count();
        if adjacencies.len() != filled || found.len() != soft.len() {
            return Err(format!(
                "{filled} adjacencies and {} entries went in, {} and {} came back",
                soft.len(),
                adjacencies.len(),
                found.len()
            ));
        }
        for (key, expected) in soft.entries() {
            let (mut expected, mut got) = (*expected, found[&key.to_string()]);
            if self.ebpf.fast_path().usage(key) != Some(got.usage) {
                return Err(format!("{key}: read alone, it is not {:?}", got.usage));
            }
            if self.bend == Some(Bend::Packets) {
                expected.usage.packets += 1;
            }
            let hit = expected.usage.last_seen == STAMP;
            let seen = got.usage.last_seen;
            let in_time = (during.start().0..=during.end().0).contains(&seen.0);
            if hit && self.bend != Some(Bend::LastSeen) {
                if !in_time {
                    return Err(format!("{key}: seen at {seen:?}, not in {during:?}"));
                }
                (expected.usage.last_seen, got.usage.last_seen) = (STAMP, STAMP);
            }
            if expected != got {
                return Err(format!("{key}: expected {expected:?}, got {got:?}"));
            }
        }
        Ok(())
    }
}

/// Whether the kernel's counters have grown by what was decided.
fn counters(before: &Statistics, decisions: &Statistics, after: &Statistics) -> Result<(), String> {
    let mut grown = after.clone();
    grown.forwarded -= before.forwarded;
    grown.passed -= before.passed;
    grown.tapped -= before.tapped;
    grown.lost_events -= before.lost_events;
    grown.punted.iter_mut().zip(before.punted).for_each(|(n, b)| *n -= b);
    grown.dropped.iter_mut().zip(before.dropped).for_each(|(n, b)| *n -= b);
    if grown == *decisions {
        Ok(())
    } else {
        Err(format!("expected counts {decisions:?}, got {grown:?}"))
    }
}

/// What stands under each meter that entries have, and under one that none has.
fn metered(fast_path: &mut dyn FastPath) -> Vec<Metered> {
    (0..=generate::METERS).map(|number| fast_path.metered(MeterId(number))).collect()
}

/// Whether the kernel's meters have grown by what the oracle's have counted since they were empty.
fn meters(before: &[Metered], counted: &[Metered], after: &[Metered]) -> Result<(), String> {
    for (number, ((before, counted), after)) in before.iter().zip(counted).zip(after).enumerate() {
        let mut expected = *before;
        expected += *counted;
        if expected != *after {
            return Err(format!("meter {number}: expected {expected:?}, got {after:?}"));
        }
    }
    Ok(())
}

fn bend_event(event: &mut Event) {
    match event {
        Event::Tcp(event) => event.flags ^= 1,
        Event::Made(made) => made.lot.port ^= 1,
    }
}

pub(super) fn set_up(world: &World, fast_path: &mut dyn FastPath) {
    fast_path.add_port(world.ports[0], PortPolicy::default());
    fast_path.add_port(world.ports[1], PortPolicy { share_with_host: true });
    fast_path.set_fence(world.fence);
    for (slot, adjacency) in world.adjacencies.iter().enumerate() {
        fast_path.set_adjacency(AdjacencyId(slot as u32), *adjacency);
    }
    for &address in &world.own {
        fast_path.set_own_address(address, true);
    }
    for (key, entry) in &world.flows {
        fast_path.install(key, entry);
    }
    for (stock, lots) in &world.stocks {
        assert_eq!(fast_path.supply(*stock, lots), lots.len());
    }
    for (class, template) in &world.templates {
        fast_path.set_template(class, Some(template));
    }
    fast_path.flush();
}

fn clear(world: &World, soft: &SoftFastPath, fast_path: &mut dyn FastPath) {
    for &address in &world.own {
        fast_path.set_own_address(address, false);
    }
    for (key, _) in soft.entries() {
        assert!(fast_path.usage(key).is_some(), "{key} was there");
        fast_path.remove(key);
        assert_eq!(fast_path.usage(key), None, "{key} is gone");
    }
}

fn count(statistics: &mut Statistics, decision: Decision, bend: Option<Bend>) {
    match decision {
        Decision::Forward(_) => statistics.forwarded += 1,
        Decision::Pass => statistics.passed += 1,
        Decision::Tap(_) => statistics.tapped += 1,
        Decision::Punt(reason) => statistics.punted[reason as usize] += 1,
        Decision::Drop(FastDrop::Protocol) if bend == Some(Bend::DropReason) => {
            statistics.dropped[FastDrop::Multicast as usize] += 1;
        }
        Decision::Drop(reason) => statistics.dropped[reason as usize] += 1,
    }
}

fn difference(case: &Case, decision: Decision, expected: &[u8], got: &[u8]) -> String {
    let mut text = format!("{decision:?} of {case:02x?}\n");
    for (at, (expected, got)) in expected.iter().zip(got).enumerate() {
        if expected != got {
            let _ = writeln!(text, "byte {at}: expected {expected:02x}, got {got:02x}");
        }
    }
    let _ = write!(text, "lengths {} and {}", expected.len(), got.len());
    text
}

/// `BPF_F_TEST_SKB_CHECKSUM_COMPLETE`: the packet comes with a sum over all of it, and the run
/// fails with `EBADMSG` if that is not right afterwards. Since Linux 6.15.
const CHECKSUM_COMPLETE: u32 = 1 << 2;

/// `struct __sk_buff` with the fields a test run may set.
fn skb_context(port: PortId, segment_size: u16) -> [u8; 192] {
    let mut context = [0; 192];
    context[40..44].copy_from_slice(&port.get().to_ne_bytes()); // ifindex
    context[176..180].copy_from_slice(&u32::from(segment_size).to_ne_bytes()); // gso_size
    context
}

/// `struct xdp_md` likewise.
fn xdp_context(port: PortId, length: usize) -> [u8; 24] {
    let mut context = [0; 24];
    context[4..8].copy_from_slice(&(length as u32).to_ne_bytes()); // data_end
    context[12..16].copy_from_slice(&port.get().to_ne_bytes()); // ingress_ifindex
    context
}

/// A comparison in a namespace of its own.
pub(super) fn compare(label: &str, hook: Hook, work: impl FnOnce(&mut Comparison<'_>) + Send) {
    let Some(bench) = Bench::new(label) else { return };
    bench.inside(|| {
        let (mut ebpf, _) = bench.open();
        if hook == Hook::Xdp {
            // Test runs under XDP want an interface that has XDP switched on.
            for (port, name) in bench.ports.into_iter().zip(["p0", "p1"]) {
                let attached = ebpf.attach(port, name, HookWish::Xdp).unwrap();
                assert_eq!(attached.hook, crate::Hook::Xdp, "{}", attached.why);
            }
        }
        let ports = bench.ports;
        let coverage = Coverage::default();
        work(&mut Comparison { hook, ebpf: &mut ebpf, ports, sums: false, bend: None, coverage });
        ebpf.uninstall().unwrap();
    });
}

pub(super) fn seed() -> u64 {
    let given = std::env::var("HALFSPACE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| {
        use std::hash::{BuildHasher as _, Hasher as _};
        std::hash::RandomState::new().build_hasher().finish()
    });
    println!("HALFSPACE_SEED={seed}");
    seed
}

fn rounds(comparison: &mut Comparison<'_>, count: usize) {
    let seed = seed();
    let mut rng = Rng(seed);
    for round in 0..count {
        if let Err(difference) = comparison.round(&mut rng, PACKETS) {
            panic!("seed {seed}, round {round}: {difference}");
        }
    }
}

fn million(label: &str, hook: Hook) {
    compare(label, hook, |comparison| {
        rounds(comparison, ROUNDS);
        println!("{:#?}", comparison.coverage);
        let dropped =
            [FastDrop::Malformed, FastDrop::EtherType, FastDrop::Multicast, FastDrop::Protocol];
        let mut decisions = vec![Decision::Pass, Decision::Tap(Punt::Control)];
        decisions.extend(Punt::ALL.iter().map(|&reason| Decision::Punt(reason)));
        decisions.extend(dropped.map(Decision::Drop));
        decisions.extend(comparison.ports.map(Decision::Forward));
        let Coverage { made, unused, translated, .. } = comparison.coverage;
        assert!(translated.iter().all(|seen| *seen > 10_000), "{translated:?} translated");
        assert!(made > 1000 && unused > 1000, "{made} flows made, {unused} not");
        for decision in decisions {
            let seen = comparison.coverage.of(decision);
            assert!(seen > 1000, "{decision:?} was only seen {seen} times");
        }
    });
}

#[test]
fn a_million_packets_through_tc_do_what_the_reference_says() {
    million("diff-tc", Hook::Tc);
}

#[test]
fn a_million_packets_through_xdp_do_what_the_reference_says() {
    million("diff-xdp", Hook::Xdp);
}

#[test]
fn the_sum_over_a_whole_packet_is_kept_right_under_tc() {
    compare("diff-sum", Hook::Tc, |comparison| {
        comparison.sums = true;
        let (_, case) = generate::hit(&mut Rng(1), comparison.ports);
        if comparison.run(&case, &mut []).is_err() {
            let why = "before Linux 6.15 test runs do not check the sum over a whole packet";
            assert!(std::env::var_os("HALFSPACE_REQUIRE_ALL").is_none(), "{why}");
            eprintln!("SKIPPED: {why}");
            return;
        }
        comparison.ebpf.receive(usize::MAX, &mut |_, _| {});
        rounds(comparison, ROUNDS / 5);
    });
}

#[test]
fn a_wrong_expectation_is_noticed() {
    compare("diff-control", Hook::Tc, |comparison| {
        let bends = [
            Bend::OutputByte,
            Bend::Decision,
            Bend::PuntReason,
            Bend::DropReason,
            Bend::Event,
            Bend::Packets,
            Bend::LastSeen,
        ];
        for bend in bends {
            let mut rng = Rng(1);
            comparison.bend = Some(bend);
            let noticed = (0..4).any(|_| comparison.round(&mut rng, PACKETS).is_err());
            assert!(noticed, "{bend:?} went unnoticed");
            // What the failed round left.
            comparison.empty();
        }
        comparison.bend = None;
        comparison.round(&mut Rng(1), PACKETS).unwrap();
    });
}
