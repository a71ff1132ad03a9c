//! The loop of a run: what happens next, and what follows from it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::time::Duration;

use lambda_bridge::LambdaBridge;
use nat::Nat;
use nf_core::engine::EngineConfig;
use nf_core::fast_path::soft::{Decision, FrameMeta};
use nf_core::fast_path::{FastPath as _, Transmit};
use nf_core::flow::Capacity;
use nf_core::packet::{Headers, TcpFlags, checksum};
use nf_core::pipeline::Function;
use nf_core::testing::{World, checksums_are_right};
use nf_core::time::Time;
use nf_core::tuple::Protocol;
use nlb::Nlb;

use crate::books::Books;
use crate::desired::{Desired, Rules};
use crate::hosts::{ENVIRONMENTS, HostId, Hosts, TENANTS, WAN};
use crate::judge::{self, Broken, must};
use crate::random::Random;
use crate::report::Report;
use crate::talk::Talk;
use crate::{Failure, Options, Sabotage};

/// How long a process is down before another starts.
const DOWN: Duration = Duration::from_secs(5);
/// Every idle time is over by then.
const REST: Duration = Duration::from_mins(20);
/// Steps of a run for each second of its busy time; one that takes more does not come to an end.
const MOST_STEPS: u64 = 7_000;

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Event {
    /// A frame reaches the gateway.
    In { port: String, frame: Vec<u8> },
    /// A frame reaches the hosts behind a port.
    Out { port: String, frame: Vec<u8> },
    /// A conversation's timer.
    Talk { talk: u32, version: u32 },
    /// A conversation begins.
    Begin,
    /// The desired state changes.
    Change,
    /// An environment comes or goes.
    Environment,
    /// A port goes.
    Unplug,
    /// A port is back.
    Plug { port: String },
    /// Rubbish reaches the gateway.
    Noise,
    /// Everybody opens conversations, and soon the process ends.
    Rush,
    /// The process ends.
    Crash,
    /// Another starts.
    Start,
}

pub(crate) struct Run {
    seed: u64,
    pub(crate) random: Random,
    pub(crate) world: World,
    pub(crate) hosts: Hosts,
    desired: Desired,
    /// Whom each tenant's second instance let in, from when on.
    pub(crate) rules: [Vec<(Time, Rules)>; TENANTS],
    /// Frames that had waited for their next hop before that last changed.
    pub(crate) dequeued_before: u64,
    pub(crate) talks: Vec<Talk>,
    /// What hosts have sent: protocol, source, destination. Only about these may they be told.
    pub(crate) said: BTreeSet<(HostId, Protocol, SocketAddr, SocketAddr)>,
    pub(crate) report: Report,
    books: Books,
    /// Whether a process runs.
    up: bool,
    end_of_busy: Time,
    most_steps: u64,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    order: u64,
    trace: DefaultHasher,
    /// Frames that came in lately, to be damaged.
    lately: Vec<Vec<u8>>,
    sabotage: Option<Sabotage>,
}

fn functions(seed: u64) -> Vec<Box<dyn Function>> {
    // In the order that the judge knows them in.
    vec![Box::new(Nat::new(seed)), Box::new(Nlb::new(seed)), Box::new(LambdaBridge::new(seed))]
}

impl Run {
    pub(crate) fn new(seed: u64, options: Options) -> Self {
        let mut random = Random::new(seed);
        let desired = Desired::new(*random.pick(&[1, 3, 8, 200]));
        let config = EngineConfig {
            flows: Capacity {
                flows: *random.pick(&[6, 60, 200]),
                ipv6_flows: *random.pick(&[4, 200, 200]),
            },
            adjacencies: *random.pick(&[8, 100, 100]),
            seed,
        };
        let world = World::with(config, false, &desired.document(), functions);
        let end_of_busy = world.now + options.busy;
        let rules = desired.rules().map(|rules| vec![(world.now, rules)]);
        let mut run = Self {
            seed,
            random,
            world,
            hosts: Hosts::new(),
            desired,
            rules,
            dequeued_before: 0,
            talks: Vec::new(),
            said: BTreeSet::new(),
            report: Report::default(),
            books: Books::default(),
            up: true,
            end_of_busy,
            most_steps: MOST_STEPS * options.busy.as_secs(),
            events: BinaryHeap::new(),
            order: 0,
            trace: DefaultHasher::new(),
            lately: Vec::new(),
            sabotage: options.sabotage,
        };
        for event in [Event::Begin, Event::Change, Event::Environment, Event::Unplug, Event::Noise]
        {
            run.soon(10, 3000, event);
        }
        for _ in 0..6 {
            run.soon(1, 5, Event::Environment);
        }
        run.soon(20_000, 200_000, Event::Rush);
        run
    }

    /// Runs to the end.
    pub(crate) fn finish(mut self) -> Result<Report, Failure> {
        self.play().map_err(|what| Failure { seed: self.seed, step: self.report.steps, what })?;
        self.report.add_engine(&self.world.engine);
        self.report.records = self.books.records;
        self.report.trace = self.trace.finish();
        for talk in &self.talks {
            if let Some(end) = talk.end {
                *self.report.talks.entry((talk.way, talk.protocol, end)).or_default() += 1;
            }
        }
        Ok(self.report)
    }

    fn play(&mut self) -> Result<(), Broken> {
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            self.report.steps += 1;
            must!(self.report.steps < self.most_steps, "there is no end to it");
            (at, &event).hash(&mut self.trace);
            self.pass_until(at);
            self.happen(event)?;
            if self.up {
                judge::check(&mut self.world)?;
                self.books.observe(&mut self.world);
            }
        }
        self.books.balance(&mut self.world)?;
        self.desired.come_to_rest();
        self.reload();
        let end = self.world.now + REST;
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            self.pass_until(at);
            self.happen(event)?;
        }
        self.pass_until(end);
        judge::check_rest(&mut self.world)
    }

    /// Time goes by; what the gateway sends of its own accord goes its way.
    fn pass_until(&mut self, at: Time) {
        if self.up {
            let sent = self.world.run_until(at);
            self.leave(sent);
        } else {
            self.world.set_time(at);
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), Broken> {
        let busy = self.world.now < self.end_of_busy;
        match event {
            Event::In { port, frame } => self.come_in(&port, frame),
            Event::Out { port, frame } => return self.arrive(&port, &frame),
            Event::Talk { talk, version } => self.talk_timer(talk, version),
            Event::Begin if busy => {
                self.begin();
                self.soon(20, 900, Event::Begin);
            }
            Event::Change if busy => {
                if self.up {
                    self.desired.change(&mut self.random);
                    self.report.changes += 1;
                    self.reload();
                }
                // Some changes are taken back before what was on its way has come.
                let (from, to) = if self.random.chance(300) { (5, 100) } else { (1000, 20_000) };
                self.soon(from, to, Event::Change);
            }
            Event::Environment if busy => {
                self.environment();
                self.soon(500, 15_000, Event::Environment);
            }
            Event::Unplug if busy => {
                self.unplug();
                self.soon(5000, 60_000, Event::Unplug);
            }
            Event::Plug { port } => self.plug(&port),
            Event::Noise if busy => {
                self.noise();
                self.soon(10, 2000, Event::Noise);
            }
            // What the fast path made flows for before the crash, it does after it.
            Event::Rush if busy => {
                self.begin_more_of_all();
                self.soon(200, 600, Event::Crash);
            }
            Event::Crash if busy && self.up => {
                self.books.balance(&mut self.world)?;
                self.begin_more_of_all();
                self.up = false;
                self.report.crashes += 1;
                self.report.add_engine(&self.world.engine);
                let start = self.world.now + DOWN;
                self.schedule(start, Event::Start);
            }
            Event::Start => return self.start(),
            Event::Begin
            | Event::Change
            | Event::Environment
            | Event::Unplug
            | Event::Noise
            | Event::Rush
            | Event::Crash => {}
        }
        Ok(())
    }

    // === The network ===

    fn schedule(&mut self, at: Time, event: Event) {
        self.order += 1;
        self.events.push(Reverse((at, self.order, event)));
    }

    pub(crate) fn soon(&mut self, from: u64, to: u64, event: Event) {
        let at = self.world.now + self.random.millis(from, to);
        self.schedule(at, event);
    }

    /// Over a link: lost, once, or twice; soon or, overtaken by others, later. Nothing stays for
    /// longer than a third of a second, which every quarantine outlasts.
    fn carry(&mut self, event: &Event) {
        let times = match self.random.below(100) {
            0..=2 => 0,
            3..=4 => 2,
            _ => 1,
        };
        for _ in 0..times {
            let (from, to) = if self.random.chance(50) { (20, 300) } else { (1, 10) };
            self.soon(from, to, event.clone());
        }
    }

    /// A host sends.
    pub(crate) fn send(&mut self, port: &str, frame: Vec<u8>) {
        if self.lately.len() == 16 {
            let at = self.random.below(16);
            self.lately.swap_remove(at);
        }
        self.lately.push(frame.clone());
        self.carry(&Event::In { port: port.to_owned(), frame });
    }

    /// The gateway has sent.
    fn leave(&mut self, sent: Vec<Transmit>) {
        for Transmit { port, frame } in sent {
            let Some(port) = self.world.name_of(port).map(str::to_owned) else { continue };
            let port = self.misdirect(port);
            self.carry(&Event::Out { port, frame });
        }
    }

    fn come_in(&mut self, port: &str, mut frame: Vec<u8>) {
        let Some(id) = self.world.find_port(port) else { return };
        self.undermine();
        if self.up {
            let sent = self.world.deliver(id, frame, FrameMeta::default());
            self.leave(sent);
            return;
        }
        // What the fast path would hand over has nobody to take it.
        let decision = self.world.path.process(id, &mut frame, FrameMeta::default());
        if let Decision::Forward(port) = decision {
            self.leave(vec![Transmit { port, frame }]);
        }
    }

    /// A damaged frame, a cut one, or pure chance.
    fn noise(&mut self) {
        let ports: Vec<_> = self.hosts.present().map(|host| host.port.clone()).collect();
        let port = self.random.pick(&ports).clone();
        let mut frame = if self.lately.is_empty() || self.random.chance(200) {
            let len = self.random.below(120);
            (0..len).map(|_| self.random.number() as u8).collect()
        } else {
            self.random.pick(&self.lately).clone()
        };
        if frame.len() > 14 && self.random.chance(700) {
            let at = 14 + self.random.below(frame.len() - 14);
            frame[at] ^= 1 << self.random.below(8);
        } else if !frame.is_empty() {
            let len = self.random.below(frame.len());
            frame.truncate(len);
        }
        // What no checksum covers would be a good packet, and of somebody else: ARP, for instance,
        // or an IPv6 flow label. So would one whose checksum happens to be what senders leave for
        // their interface to complete.
        let is_damaged = match Headers::parse(&frame) {
            Err(_) => true,
            Ok(headers) => {
                let partial =
                    |ip| checksum::verify(ip, &frame) == checksum::L4Checksum::PseudoHeaderOnly;
                !checksums_are_right(&frame) && !headers.ip().is_some_and(partial)
            }
        };
        if is_damaged {
            self.come_in(&port, frame);
        }
    }

    // === What changes ===

    fn reload(&mut self) {
        let now = self.world.now;
        for (known, rules) in self.rules.iter_mut().zip(self.desired.rules()) {
            if known.last().is_none_or(|(_, before)| *before != rules) {
                known.push((now, rules));
                self.dequeued_before = self.world.engine.counters().dequeued;
            }
        }
        let opened = self.fault() == Some(Sabotage::OpenGroups);
        let told = if opened { self.desired.clone().opened() } else { self.desired.clone() };
        let sent = self.world.reload(&told.document());
        self.leave(sent);
    }

    /// One environment comes, or one goes.
    fn environment(&mut self) {
        if !self.up {
            return;
        }
        let tenant = self.random.below(TENANTS);
        let place = format!("t{tenant}e{}", self.random.below(ENVIRONMENTS));
        let Some((gone, port)) = self.hosts.remove_environment(&place) else {
            self.attach(tenant, &place);
            return;
        };
        self.world.unplug(&port);
        let mut unfinished = None;
        for talk in self.talks.iter_mut().filter(|talk| talk.from == gone && talk.end.is_none()) {
            talk.end = Some(crate::End::Gone);
            unfinished = Some(talk.id);
        }
        // Often another clone takes its place at once and starts where it had, while the answers to
        // the old one are still on their way.
        if let Some(talk) = unfinished.filter(|_| self.random.chance(700))
            && let Some(new) = self.attach(tenant, &place)
        {
            let wanted = self.talks[talk as usize].wanted_by(new);
            self.start_talk(wanted);
        }
    }

    /// A new clone, and a port of its own: frames on their way to an old one are not for it.
    fn attach(&mut self, tenant: usize, place: &str) -> Option<HostId> {
        let port = format!("{place}-{}", self.order);
        self.world.attach(&port, &format!("bridge-{tenant}")).ok()?;
        Some(self.hosts.add_environment(tenant, &port))
    }

    fn unplug(&mut self) {
        if !self.up {
            return;
        }
        let ports = ["t0i1", "t0i2", "t0lan", "t1i1", "t1lan", WAN];
        let port = (*self.random.pick(&ports)).to_owned();
        if self.world.find_port(&port).is_some() {
            self.world.unplug(&port);
            self.soon(100, 4000, Event::Plug { port });
        }
    }

    fn plug(&mut self, port: &str) {
        if !self.up {
            self.soon(1000, 6000, Event::Plug { port: port.to_owned() });
        } else if self.world.find_port(port).is_none() {
            self.world.plug(port);
        }
    }

    /// A new process takes over; no flow may be missing.
    fn start(&mut self) -> Result<(), Broken> {
        let keys = |world: &mut World| -> BTreeMap<_, _> {
            let flows = judge::flows(world).into_iter();
            flows.map(|it| (it.id, (it.flow.forward, it.flow.reverse))).collect()
        };
        let before = keys(&mut self.world);
        self.world.restart();
        self.books.take_over(&mut self.world);
        self.up = true;
        let after = keys(&mut self.world);
        // The fast path may have made some while there was nobody to tell.
        let kept = before.iter().all(|(id, flow)| after.get(id) == Some(flow));
        must!(kept, "of {} flows before the crash some are missing after it", before.len());
        self.report.made_alone += (after.len() - before.len()) as u64;
        judge::check(&mut self.world)
    }

    // === Faults to be found out ===

    /// What is to be done wrong, once the run is under way.
    fn fault(&self) -> Option<Sabotage> {
        const AFTER: u64 = 3000;
        self.sabotage.filter(|_| self.report.steps >= AFTER)
    }

    /// Does it, once.
    fn undermine(&mut self) {
        let Some(fault) = self.fault() else { return };
        let Some(flow) = judge::flows(&mut self.world).into_iter().next() else { return };
        match fault {
            Sabotage::LostEntry => {
                self.world.path.remove(&flow.flow.reverse);
            }
            Sabotage::WrongRewrite => {
                let Some(mut entry) = self.world.path.entry(&flow.flow.forward).copied() else {
                    return;
                };
                entry.action.rewrite = entry.action.rewrite.reversed();
                self.world.path.install(&flow.flow.forward, &entry);
            }
            Sabotage::LostPacket => self.world.handed_over += 1,
            Sabotage::LostRecords if self.books.lose_records(&mut self.world) => {}
            Sabotage::WrongTenant
            | Sabotage::WrongClone
            | Sabotage::LostRecords
            | Sabotage::OpenGroups => return,
        }
        self.sabotage = None;
    }

    /// The port that a frame really leaves by.
    fn misdirect(&mut self, port: String) -> String {
        let clones =
            || self.hosts.present().map(|host| &host.port).filter(|it| it.starts_with("t0e"));
        match self.fault() {
            Some(Sabotage::WrongTenant) if port == "t0i1" => "t1i1".to_owned(),
            Some(Sabotage::WrongClone) if port.starts_with("t0e") => {
                clones().find(|it| **it != port).cloned().unwrap_or(port)
            }
            _ => port,
        }
    }
}

/// A SYN-ACK for a SYN, and so on; `None` for what TCP does not answer.
pub(crate) fn answer_to(flags: TcpFlags) -> Option<TcpFlags> {
    if flags.contains(TcpFlags::RST) {
        None
    } else if flags.contains(TcpFlags::SYN) {
        Some(TcpFlags::SYN | TcpFlags::ACK)
    } else if flags.contains(TcpFlags::FIN) {
        Some(TcpFlags::FIN | TcpFlags::ACK)
    } else if flags.contains(TcpFlags::PSH) {
        Some(TcpFlags::PSH | TcpFlags::ACK)
    } else {
        None
    }
}
