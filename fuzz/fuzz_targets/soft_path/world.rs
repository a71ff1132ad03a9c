//! The gateway under test: the reference fast path, the engine and all functions over one desired
//! state, with the checks that hold for every packet.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use lambda_bridge::LambdaBridge;
use nat::Nat;
use nf_core::action::ChecksumField;
use nf_core::engine::{Engine, EngineConfig, PortInfo};
use nf_core::fast_path::soft::{Decision, FrameMeta, SoftFastPath};
use nf_core::flow::Capacity;
use nf_core::id::{Generation, PortId};
use nf_core::packet::{
    Headers, IpHeaders, L4Checksum, MacAddr, TcpFlags, Transport, build, checksum,
};
use nf_core::time::Time;
use nf_core::tuple::{FlowKey, Tuple};
use nf_core::verdict::Punt;
use nf_core::vpc::{Document, Snapshot};
use nlb::Nlb;

const fn port(number: u32) -> PortId {
    PortId::new(number).expect("small and not zero")
}

const WAN: PortId = port(1);
const ENI: PortId = port(2);
const LAN: PortId = port(3);
const ENVIRONMENT: PortId = port(4);
const UNKNOWN: PortId = port(5);

/// Where frames come in. Nobody ever added the last.
pub const PORTS: [PortId; 5] = [WAN, ENI, LAN, ENVIRONMENT, UNKNOWN];

const MTU: u16 = 1500;

/// Calls of [`Engine::advance`] until it has nothing more to do at one moment.
const MOST_ADVANCES: usize = 64;

static DOCUMENT: LazyLock<Document> =
    LazyLock::new(|| toml::from_str(include_str!("resources.toml")).expect("well-formed"));

static SNAPSHOT: LazyLock<Arc<Snapshot>> = LazyLock::new(|| snapshot(Generation(1)));

fn snapshot(generation: Generation) -> Arc<Snapshot> {
    Arc::new(Snapshot::build(generation, &DOCUMENT).expect("a document without errors"))
}

pub struct World {
    engine: Engine,
    fast_path: SoftFastPath,
    now: Time,
    last_out: Option<(PortId, Tuple)>,
}

impl World {
    /// A gateway whose uplink knows its routers.
    pub fn new() -> Self {
        let now = Time::from_secs(1000);
        // Few of each, so that tables run full.
        let config = EngineConfig { flows: Capacity::of_any(16), adjacencies: 8, seed: 1 };
        let functions: Vec<Box<dyn nf_core::pipeline::Function>> =
            vec![Box::new(Nat::new(2)), Box::new(Nlb::new(3)), Box::new(LambdaBridge::new(4))];
        let engine = Engine::new(config, functions, now);
        let fast_path = SoftFastPath::new(5);
        let mut world = Self { engine, fast_path, now, last_out: None };
        world.engine.apply_snapshot(now, &SNAPSHOT, &mut world.fast_path);
        for (id, name) in [(WAN, "wan0"), (ENI, "eni0"), (LAN, "lan0")] {
            world.engine.add_port(info(id, name), &mut world.fast_path);
        }
        let environment = info(ENVIRONMENT, "env0");
        let attached =
            world.engine.attach_environment("env", "bridge-a", environment, &mut world.fast_path);
        attached.expect("a bridge and an interface of its own");
        world.pause(0);

        let (router, gateway) = (MacAddr([2, 0, 0, 0, 0, 1]), mac(WAN));
        let [v4, v6] = ["203.0.113.1", "2001:db8::1"];
        let arp = build::arp_reply(router, v4.parse().unwrap(), gateway, [203, 0, 113, 2].into());
        let own = (gateway, "2001:db8::2".parse().unwrap());
        let ndp = build::neighbour_advertisement(router, v6.parse().unwrap(), true, Some(own));
        for answer in [arp, ndp] {
            world.receive(WAN, &answer, FrameMeta::default());
        }
        world
    }

    /// One frame, as the data path takes it.
    pub fn receive(&mut self, port: PortId, frame: &[u8], meta: FrameMeta) {
        let meta = possible(meta, frame);
        self.fast_path.set_time(self.now);
        let mut after = frame.to_vec();
        let decision = self.fast_path.process(port, &mut after, meta);
        if let Decision::Forward(out) = decision {
            self.check_forwarded(port, frame, out, &after, meta);
        } else {
            assert_eq!(after, frame, "{decision:?} changed the frame");
        }
        for event in self.fast_path.take_events() {
            self.engine.event(self.now, &event, &mut self.fast_path);
        }
        match decision {
            Decision::Punt(reason) | Decision::Tap(reason) => self.punt(port, reason, meta, frame),
            Decision::Forward(_) | Decision::Pass | Decision::Drop(_) => {}
        }
    }

    /// One frame that the fast path did not forward, or so it says.
    pub fn punt(&mut self, port: PortId, reason: Punt, meta: FrameMeta, frame: &[u8]) {
        let meta = possible(meta, frame);
        self.engine.packet(self.now, port, reason, meta, frame, &mut self.fast_path);
        self.check_transmits();
    }

    /// The port and tuple of the packet that left last.
    pub fn last_out(&self) -> Option<(PortId, Tuple)> {
        self.last_out
    }

    pub fn pause(&mut self, milliseconds: u64) {
        self.now = self.now + Duration::from_millis(milliseconds);
        for _ in 0..MOST_ADVANCES {
            let next = self.engine.advance(self.now, &mut self.fast_path);
            self.check_transmits();
            if next.is_none_or(|next| next > self.now) {
                return;
            }
        }
        panic!("still something to do after {MOST_ADVANCES} rounds");
    }

    pub fn reload(&mut self) {
        let next = snapshot(self.engine.generation().next());
        self.engine.apply_snapshot(self.now, &next, &mut self.fast_path);
    }

    pub fn check_counters(&self) {
        let counters = self.engine.counters();
        let ended = counters.packets_decided() + counters.packets_waiting();
        assert_eq!(counters.packets_in(), ended, "{counters:?}");
        assert!(self.engine.flow_count() <= self.engine.flow_capacity());
        assert!(self.fast_path.len() <= 2 * self.engine.flow_count());
    }

    /// Takes all ports away: then nothing may be left.
    pub fn end(mut self) {
        for port in PORTS {
            self.engine.remove_port(self.now, port, &mut self.fast_path);
        }
        self.pause(0);
        self.check_counters();
        assert_eq!(self.engine.counters().packets_waiting(), 0);
        assert_eq!((self.engine.flow_count(), self.fast_path.len()), (0, 0));
        assert_eq!(self.engine.neighbour_count(), 0);
        let nat = self.engine.function_as::<Nat>().expect("it was given one");
        let bridge = self.engine.function_as::<LambdaBridge>().expect("it was given one");
        let realms =
            nat.usage().map(|(_, usage)| usage).chain(bridge.usage().map(|(_, usage)| usage));
        assert_eq!(realms.map(|usage| usage.leases).sum::<usize>(), 0);
        let nlb = self.engine.function_as::<Nlb>().expect("it was given one");
        assert_eq!(nlb.targets().iter().map(|target| target.active_flows).sum::<u64>(), 0);
    }

    fn check_forwarded(
        &mut self,
        port: PortId,
        before: &[u8],
        out: PortId,
        after: &[u8],
        meta: FrameMeta,
    ) {
        assert_eq!(&after[6..12], mac(out).as_bytes());
        // The fast path reads less than the whole summary does; what that accepted it must accept
        // again.
        let Some((was, _)) = parse(before) else { return };
        let Some((is, tuple)) = parse(after) else { panic!("forwarded, and no longer sound") };
        let key = FlowKey { port, tuple: was.tuple().expect("forwarded by its tuple") };
        let entry = self.fast_path.entry(&key).expect("forwarded by an entry");
        assert_eq!(tuple, entry.action.rewrite);
        assert_eq!(is.ttl, was.ttl - 1);
        assert_eq!(is.traffic_class, was.traffic_class);
        // What the IPv6 header of a packet that is translated has more.
        let grown = if was.is_ipv4() { [0, 20] } else { [20, 0] };
        let [was_grown, is_grown] = if is.is_ipv4() == was.is_ipv4() { [0, 0] } else { grown };
        assert_eq!(after.len() - is_grown, before.len() - was_grown);
        assert_eq!(is.l4_offset - is_grown, was.l4_offset - was_grown);
        assert_eq!(is.end() - is_grown, was.end() - was_grown);
        assert!(
            checksum::ipv4_header_is_correct(&is, after)
                == checksum::ipv4_header_is_correct(&was, before)
        );
        let (found, left) = (checksum::verify(&was, before), checksum::verify(&is, after));
        match (found, meta.checksum) {
            (L4Checksum::Correct, ChecksumField::Complete) => assert_eq!(left, found),
            (L4Checksum::PseudoHeaderOnly, ChecksumField::Partial) => assert_eq!(left, found),
            (L4Checksum::Absent, _) => assert_eq!(left, found),
            // Never blessed by a fresh checksum.
            (L4Checksum::Wrong, ChecksumField::Complete) => {
                assert_ne!(left, L4Checksum::Correct);
            }
            _ => {}
        }
        self.last_out = Some((out, tuple));
    }

    /// What user space sends is sound to the last checksum.
    fn check_transmits(&mut self) {
        for sent in self.fast_path.take_transmits() {
            assert!(PORTS.contains(&sent.port) && sent.port != UNKNOWN);
            let headers = Headers::parse(&sent.frame)
                .unwrap_or_else(|error| panic!("{error}: {:02x?}", sent.frame));
            assert_eq!(headers.src_mac, mac(sent.port));
            let Some(ip) = headers.ip() else { continue };
            // An echo reply is as long as its request, and this one no interface would have taken.
            let answers_itself = matches!(ip.transport, Transport::Echo { request: false, .. });
            let fits = ip.total_len <= usize::from(MTU);
            // SYN and RST are never cut (see `build::segment`).
            let is_whole = matches!(ip.transport, Transport::Tcp { flags, .. }
                if flags.intersects(TcpFlags::SYN | TcpFlags::RST));
            assert!(fits || answers_itself || is_whole, "{} bytes: {ip:?}", ip.total_len);
            let found = checksum::verify(ip, &sent.frame);
            assert!(matches!(found, L4Checksum::Correct | L4Checksum::Absent), "{found:?}");
            assert!(checksum::ipv4_header_is_correct(ip, &sent.frame));
            if let Some(tuple) = ip.tuple() {
                self.last_out = Some((sent.port, tuple));
            }
        }
    }
}

fn parse(frame: &[u8]) -> Option<(IpHeaders, Tuple)> {
    let ip = *Headers::parse(frame).ok()?.ip()?;
    Some((ip, ip.tuple()?))
}

/// What a kernel may say of a frame: it makes super-packets of TCP and UDP only.
fn possible(meta: FrameMeta, frame: &[u8]) -> FrameMeta {
    let divisible = parse(frame).is_some_and(|(_, tuple)| !tuple.protocol.is_echo());
    FrameMeta { segment_size: if divisible { meta.segment_size } else { 0 }, ..meta }
}

fn info(id: PortId, name: &str) -> PortInfo {
    PortInfo { id, name: name.into(), mac: mac(id), mtu: MTU }
}

/// The MAC address of one of the gateway's own interfaces.
fn mac(port: PortId) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, port.get() as u8])
}
