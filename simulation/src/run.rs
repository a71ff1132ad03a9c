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
use nf_core::packet::{Headers, MacAddr, TcpFlags, build};
use nf_core::pipeline::Function;
use nf_core::testing::{World, checksums_are_right};
use nf_core::time::Time;
use nf_core::tuple::Protocol;
use nlb::Nlb;

use crate::desired::Desired;
use crate::hosts::{ENVIRONMENTS, Host, HostId, Hosts, Place, TENANTS, WAN};
use crate::judge::{self, Broken, must};
use crate::random::Random;
use crate::report::Report;
use crate::talk::{Talk, Wanted, Way};
use crate::{Failure, Options, Sabotage};

/// How long hosts start conversations.
const BUSY: Duration = Duration::from_mins(5);
/// How long a process is down before another starts.
const DOWN: Duration = Duration::from_secs(5);
/// Every idle time is over by then.
const REST: Duration = Duration::from_mins(20);
/// Steps of a run; one that takes more does not come to an end.
const MOST_STEPS: u64 = 2_000_000;

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
    pub(crate) talks: Vec<Talk>,
    /// What hosts have sent: protocol, source, destination. Only about these may they be told.
    pub(crate) said: BTreeSet<(HostId, Protocol, SocketAddr, SocketAddr)>,
    pub(crate) report: Report,
    /// Whether a process runs.
    up: bool,
    end_of_busy: Time,
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
            flows: *random.pick(&[6, 60, 200]),
            adjacencies: *random.pick(&[8, 100, 100]),
            seed,
        };
        let world = World::with(config, false, &desired.document(), functions);
        let end_of_busy = world.now + BUSY;
        let mut run = Self {
            seed,
            random,
            world,
            hosts: Hosts::new(),
            desired,
            talks: Vec::new(),
            said: BTreeSet::new(),
            report: Report::default(),
            up: true,
            end_of_busy,
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
        run.soon(20_000, 200_000, Event::Crash);
        run
    }

    /// Runs to the end.
    pub(crate) fn finish(mut self) -> Result<Report, Failure> {
        self.play().map_err(|what| Failure { seed: self.seed, step: self.report.steps, what })?;
        self.report.add_engine(&self.world.engine);
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
            must!(self.report.steps < MOST_STEPS, "there is no end to it");
            (at, &event).hash(&mut self.trace);
            self.pass_until(at);
            self.happen(event)?;
            if self.up {
                judge::check(&mut self.world)?;
            }
        }
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
            Event::Crash if busy && self.up => {
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
        // or an IPv6 flow label.
        if Headers::parse(&frame).is_err() || !checksums_are_right(&frame) {
            self.come_in(&port, frame);
        }
    }

    // === What changes ===

    fn reload(&mut self) {
        let sent = self.world.reload(&self.desired.document());
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
        self.up = true;
        let after = keys(&mut self.world);
        must!(before == after, "{} flows before the crash, {} after", before.len(), after.len());
        judge::check(&mut self.world)
    }

    // === Conversations ===

    fn begin(&mut self) {
        let from = {
            let all: Vec<_> = self.hosts.present().map(|host| host.id).collect();
            self.hosts.get(*self.random.pick(&all)).clone()
        };
        if let Some(wanted) = self.wish(&from) {
            self.start_talk(wanted);
        }
    }

    fn start_talk(&mut self, wanted: Wanted) {
        let id = self.talks.len() as u32;
        let rounds = 1 + self.random.below(6) as u16;
        self.talks.push(Talk::new(id, wanted, self.random.number(), rounds));
        self.soon(1, 5, Event::Talk { talk: id, version: 0 });
    }

    /// Somebody for `from` to talk to, and how.
    fn wish(&mut self, from: &Host) -> Option<Wanted> {
        let ipv4 = self.random.chance(700);
        let balanced = ipv4 && self.random.chance(300);
        let echo = !balanced && self.random.chance(200);
        let protocol = match (echo, ipv4, self.random.chance(600)) {
            (true, true, _) => Protocol::Icmp,
            (true, false, _) => Protocol::Icmpv6,
            (false, _, true) => Protocol::Tcp,
            (false, _, false) => Protocol::Udp,
        };
        let (way, remote, allowed) = if balanced {
            self.balancer(from, protocol)?
        } else {
            let (way, host, ip) = self.partner(from, ipv4)?;
            let port = if echo { 0 } else { *self.random.pick(&[443, 5353, 8080]) };
            (way, SocketAddr::new(ip, port), vec![host])
        };
        // Few ports, so that tuples come again.
        let port = 20_000 + self.random.below(6) as u16;
        let local = SocketAddr::new(from.address(ipv4)?, port);
        let in_use = self.talks.iter().any(|talk| {
            talk.end.is_none()
                && (talk.from, talk.protocol, talk.local) == (from.id, protocol, local)
                && (echo || talk.remote == remote)
        });
        (!in_use).then_some(Wanted { way, from: from.id, protocol, local, remote, allowed })
    }

    fn balancer(
        &mut self,
        from: &Host,
        protocol: Protocol,
    ) -> Option<(Way, SocketAddr, Vec<HostId>)> {
        let tenant = match from.tenant {
            Some(own) if self.random.chance(800) => own,
            _ => self.random.below(TENANTS),
        };
        let inside = from.tenant == Some(tenant) && self.random.chance(700);
        let ip = if inside { "10.0.0.50".to_owned() } else { format!("198.51.10{tenant}.9") };
        let port = if protocol == Protocol::Tcp { 80 } else { 53 };
        let targets = self.hosts.present().filter(|host| {
            let v4 = host.address(true).map(|ip| ip.to_string());
            let target = matches!(v4.as_deref(), Some("10.0.1.10" | "10.0.1.11" | "10.0.2.10"));
            host.tenant == Some(tenant) && target
        });
        let allowed = targets.map(|host| host.id).collect();
        Some((Way::Balanced, SocketAddr::new(ip.parse().ok()?, port), allowed))
    }

    fn partner(&mut self, from: &Host, ipv4: bool) -> Option<(Way, HostId, std::net::IpAddr)> {
        let outside = from.tenant.is_none();
        if outside || (ipv4 && self.random.chance(100)) {
            // By an Elastic IP address, of the own tenant's or the other's.
            let tenant = self.random.below(TENANTS);
            let instance = self.hosts.at(&format!("t{tenant}i1"), "10.0.1.10".parse().ok()?)?;
            let ip = format!("198.51.10{tenant}.20").parse().ok()?;
            let way = if outside { Way::In } else { Way::Out };
            return (ipv4 && instance.id != from.id).then_some((way, instance.id, ip));
        }
        let inside = self.random.chance(500);
        let candidates: Vec<_> = self
            .hosts
            .present()
            .filter(|host| match (inside, host.place) {
                (true, Place::Instance | Place::Segment) => {
                    let neighbours = host.place == Place::Segment && from.port == host.port;
                    host.tenant == from.tenant && host.id != from.id && !neighbours
                }
                (false, Place::Internet | Place::Link) => true,
                _ => false,
            })
            .filter_map(|host| Some((host.id, host.address(ipv4)?)))
            .collect();
        if candidates.is_empty() {
            return None;
        }
        let (host, ip) = *self.random.pick(&candidates);
        let way = match (from.place == Place::Environment, inside) {
            (true, true) => Way::Bridge,
            (true, false) => Way::Chain,
            (false, true) => Way::Inside,
            (false, false) => Way::Out,
        };
        Some((way, host, ip))
    }

    /// The packet of the moment goes out, and the next timer is set.
    fn talk_timer(&mut self, id: u32, version: u32) {
        let talk = &mut self.talks[id as usize];
        if talk.end.is_some() || talk.version != version {
            return;
        }
        let host = self.hosts.get(talk.from).clone();
        let gateway = self.gateway_mac(&host.port);
        // Some packets are not to come far, but are to be told of.
        let ttl = if self.random.chance(15) { 1 } else { 64 };
        let talk = &mut self.talks[id as usize];
        let Some(frame) = talk.say(host.mac, gateway, ttl) else { return };
        talk.version += 1;
        let version = talk.version;
        self.said.insert((host.id, talk.protocol, talk.local, talk.remote));
        self.send(&host.port, frame);
        if host.place == Place::Segment && self.random.chance(100) {
            self.ask_for_router(&host);
        }
        self.soon(900, 1100, Event::Talk { talk: id, version });
    }

    /// The next packet of a conversation comes soon, or after a pause that some idle times do not
    /// outlast.
    pub(crate) fn go_on(&mut self, id: u32) {
        self.talks[id as usize].version += 1;
        let version = self.talks[id as usize].version;
        let (from, to) = if self.random.chance(40) { (10_000, 90_000) } else { (5, 500) };
        self.soon(from, to, Event::Talk { talk: id, version });
    }

    /// A host on a segment asks for its router, and so tells where it is.
    fn ask_for_router(&mut self, host: &Host) {
        if let Some(std::net::IpAddr::V4(own)) = host.address(true) {
            let asks = build::arp_request(host.mac, own, [10, 0, 2, 1].into());
            self.send(&host.port, asks);
        }
    }

    /// Where frames of hosts behind a port are sent to.
    pub(crate) fn gateway_mac(&self, port: &str) -> MacAddr {
        self.world.find_port(port).map_or(MacAddr::default(), |_| self.world.mac(port))
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
            Sabotage::WrongTenant | Sabotage::WrongClone => return,
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
