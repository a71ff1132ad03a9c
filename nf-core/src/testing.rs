//! A gateway on a bench: engine, reference fast path, clock and named ports, for tests of the
//! engine and of the functions on it.
//!
//! A test says what a frame is and by which port it comes, and gets back every frame that leaves
//! and by which port. Every checksum of what leaves is computed anew, by code that has nothing to
//! do with the gateway's own, unless what came in was damaged already.

mod checksum;
mod fragments;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::action::ETHERNET_LEN;
use crate::engine::{Engine, EngineConfig, EnvironmentError, PortInfo, Recovered};
use crate::fast_path::Transmit;
use crate::fast_path::soft::{Decision, FrameMeta, SoftFastPath};
use crate::flow::Capacity;
use crate::id::{Generation, PortId};
use crate::packet::arp::Operation;
use crate::packet::{Arp, Headers, MacAddr, NeighbourMessage, build};
use crate::pipeline::Function;
use crate::time::Time;
use crate::verdict::{Drop, Punt, Verdict};
use crate::vpc::{Document, Snapshot};

pub use checksum::{checksums_are_right, reference_checksum};
pub use fragments::{identification_of, in_fragments};

/// Makes the functions of an engine; again when it is started again.
pub type Functions = fn(u64) -> Vec<Box<dyn Function>>;

/// What became of the last frame that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The fast path alone decided.
    Fast(Decision),
    /// User space did.
    Slow(Verdict),
}

/// One gateway with all that is around it.
pub struct World {
    /// The engine.
    pub engine: Engine,
    /// The fast path; it stays when the engine is started anew, as the kernel's tables do.
    pub path: SoftFastPath,
    /// The moment.
    pub now: Time,
    /// Frames handed to user space since the engine was started.
    pub handed_over: u64,
    fate: Option<Fate>,
    answering: bool,
    config: EngineConfig,
    functions: Functions,
    ports: BTreeMap<String, PortInfo>,
    /// Bridge and port by environment.
    environments: BTreeMap<String, (String, PortInfo)>,
    last_port: u32,
}

const CONFIG: EngineConfig =
    EngineConfig { flows: Capacity::of_any(4096), adjacencies: 4096, seed: 1 };

/// The largest IP packet that ports of a [`World`] take, in bytes.
pub const MTU: u16 = 1500;

/// Calls of [`Engine::advance`] in one [`World::pass`]; more means that time stands still.
const MOST_STEPS: usize = 1_000_000;

impl World {
    /// A gateway under this resource document, with every port it names, at a moment that is
    /// neither zero nor the beginning of anything.
    ///
    /// # Panics
    /// If the document is not valid.
    #[must_use]
    pub fn new(document: &str, functions: Functions) -> Self {
        Self::with(CONFIG, false, document, functions)
    }

    /// The same, where every next hop that is asked for answers at once, at its [`host_mac`]:
    /// neither question nor answer is told of.
    ///
    /// # Panics
    /// If the document is not valid.
    #[must_use]
    pub fn among_hosts(document: &str, functions: Functions) -> Self {
        Self::with(CONFIG, true, document, functions)
    }

    /// A gateway of this size, among hosts that answer or not.
    ///
    /// # Panics
    /// If the document is not valid.
    #[must_use]
    pub fn with(
        config: EngineConfig,
        answering: bool,
        document: &str,
        functions: Functions,
    ) -> Self {
        let now = Time::from_nanos(1_234_567_890_123);
        let mut path = SoftFastPath::new(config.seed);
        path.set_time(now);
        let mut world = Self {
            engine: Engine::new(config, functions(config.seed), now),
            path,
            now,
            fate: None,
            handed_over: 0,
            answering,
            config,
            functions,
            ports: BTreeMap::new(),
            environments: BTreeMap::new(),
            last_port: 0,
        };
        world.reload(document);
        world
    }

    /// Applies a new document: ports it names appear, those it no longer names go.
    ///
    /// # Panics
    /// If the document is not valid.
    pub fn reload(&mut self, document: &str) -> Vec<Transmit> {
        let document: Document =
            toml::from_str(document).unwrap_or_else(|error| panic!("{error}\n{document}"));
        self.apply(&document)
    }

    /// The same for a document that is built already.
    ///
    /// # Panics
    /// If the document is not valid.
    pub fn apply(&mut self, document: &Document) -> Vec<Transmit> {
        let generation = self.engine.generation().next();
        let snapshot = build(generation, document);
        let gone: Vec<String> =
            self.ports.keys().filter(|name| snapshot.port_role(name).is_none()).cloned().collect();
        self.engine.apply_snapshot(self.now, &snapshot, &mut self.path);
        for name in gone {
            self.unplug(&name);
        }
        for (name, _) in snapshot.ports() {
            if !self.ports.contains_key(name) {
                self.plug(name);
            }
        }
        self.settle()
    }

    /// Adds the port of that name, with an index that no port had before.
    pub fn plug(&mut self, name: &str) {
        let info = self.new_port(name);
        self.engine.add_port(info.clone(), &mut self.path);
        self.ports.insert(name.to_owned(), info);
    }

    /// Takes a port away, be it an environment's or one that the document names.
    pub fn unplug(&mut self, name: &str) {
        let environment = self.environments.remove(name).map(|(_, port)| port);
        if let Some(port) = environment.or_else(|| self.ports.remove(name)) {
            self.engine.remove_port(self.now, port.id, &mut self.path);
        }
    }

    /// Attaches an environment behind a bridge; its port has its name.
    ///
    /// # Errors
    /// [`EnvironmentError`].
    pub fn attach(&mut self, name: &str, bridge: &str) -> Result<(), EnvironmentError> {
        let info = self.new_port(name);
        self.engine.attach_environment(name, bridge, info.clone(), &mut self.path)?;
        self.environments.insert(name.to_owned(), (bridge.to_owned(), info));
        Ok(())
    }

    /// The process ends and another takes over what the fast path holds. How many flows go on.
    pub fn restart(&mut self) -> usize {
        let mut recovered = Recovered::default();
        for (key, entry) in self.path.entries() {
            recovered.add(*key, *entry);
        }
        let adjacencies = self.path.adjacencies();
        recovered.adjacencies = adjacencies.map(|(slot, value)| (slot, *value)).collect();
        let snapshot = self.engine.snapshot().clone();
        self.engine = Engine::new(self.config, (self.functions)(self.config.seed), self.now);
        self.handed_over = 0;
        self.path.take_events();
        self.path.forget_templates();
        self.engine.apply_snapshot(self.now, &snapshot, &mut self.path);
        for info in self.ports.values() {
            self.engine.add_port(info.clone(), &mut self.path);
        }
        // An environment whose bridge is gone is not known any more.
        self.environments.retain(|name, (bridge, info)| {
            let port = info.clone();
            self.engine.attach_environment(name, bridge, port, &mut self.path).is_ok()
        });
        self.engine.recover(self.now, recovered, &mut self.path)
    }

    /// The number of a port.
    ///
    /// # Panics
    /// If there is no such port.
    #[must_use]
    pub fn port(&self, name: &str) -> PortId {
        self.find_port(name).unwrap_or_else(|| panic!("no port {name}"))
    }

    /// The number of a port, if it is there.
    #[must_use]
    pub fn find_port(&self, name: &str) -> Option<PortId> {
        let environment = self.environments.get(name).map(|(_, port)| port);
        environment.or_else(|| self.ports.get(name)).map(|port| port.id)
    }

    /// The name of a port, if it is there.
    #[must_use]
    pub fn name_of(&self, id: PortId) -> Option<&str> {
        let environments = self.environments.iter().map(|(name, (_, port))| (name, port));
        let found = self.ports.iter().chain(environments).find(|(_, port)| port.id == id);
        found.map(|(name, _)| name.as_str())
    }

    /// The MAC address that frames leave a port with.
    ///
    /// # Panics
    /// If there is no such port.
    #[must_use]
    pub fn mac(&self, name: &str) -> MacAddr {
        port_mac(self.port(name))
    }

    /// A frame comes in by a port; what leaves, and by which ports.
    ///
    /// # Panics
    /// If there is no such port, or a frame leaves with a wrong checksum.
    pub fn send(&mut self, port: &str, frame: impl Into<Vec<u8>>) -> Vec<(String, Vec<u8>)> {
        let id = self.port(port);
        let sent = self.deliver(id, frame.into(), FrameMeta::default());
        self.name_all(sent)
    }

    /// A frame comes in, with what its interface says of it; what leaves.
    ///
    /// # Panics
    /// If a frame leaves with a wrong checksum though this one had none.
    pub fn deliver(&mut self, port: PortId, mut frame: Vec<u8>, meta: FrameMeta) -> Vec<Transmit> {
        let undamaged = checksums_are_right(&frame);
        let mut sent = Vec::new();
        match self.path.process(port, &mut frame, meta) {
            Decision::Forward(out) => {
                self.fate = Some(Fate::Fast(Decision::Forward(out)));
                sent.push(Transmit { port: out, frame });
            }
            Decision::Punt(reason) | Decision::Tap(reason) => {
                self.handed_over += 1;
                self.tell();
                let verdict =
                    self.engine.packet(self.now, port, reason, meta, &frame, &mut self.path);
                self.fate = Some(Fate::Slow(verdict));
            }
            decided @ (Decision::Pass | Decision::Drop(_)) => {
                self.fate = Some(Fate::Fast(decided));
            }
        }
        sent.extend(self.settle());
        for Transmit { port, frame } in sent.iter().filter(|_| undamaged) {
            assert!(checksums_are_right(frame), "wrong checksum by port {port}: {frame:02x?}");
        }
        sent
    }

    /// Time goes by; what leaves meanwhile.
    ///
    /// # Panics
    /// If the engine asks to be called again and again without an end.
    pub fn pass(&mut self, duration: Duration) -> Vec<(String, Vec<u8>)> {
        let sent = self.run_until(self.now + duration);
        self.name_all(sent)
    }

    /// Time goes by up to a moment; what leaves meanwhile.
    ///
    /// # Panics
    /// If the engine asks to be called again and again without an end.
    pub fn run_until(&mut self, end: Time) -> Vec<Transmit> {
        let mut sent = Vec::new();
        for _ in 0..MOST_STEPS {
            match self.engine.advance(self.now, &mut self.path) {
                Some(due) if due <= end => self.set_time(due.max(self.now)),
                _ if self.now < end => self.set_time(end),
                _ => {
                    sent.extend(self.settle());
                    return sent;
                }
            }
            sent.extend(self.take_sent());
        }
        panic!("the engine's deadline stands still at {:?}", self.now);
    }

    /// What the flow logs have recorded since the last call: each line with the log it is for.
    ///
    /// # Panics
    /// If a record names an interface that its batch does not have.
    pub fn recorded(&mut self) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        while let Some(batch) = self.engine.flow_logs_mut().take_any() {
            for record in &batch.records {
                let interface = batch.interfaces.get(record.interface);
                let interface = interface.unwrap_or_else(|| panic!("no interface: {record:?}"));
                for log in interface.flow_logs().filter(|log| record.is_for(log)) {
                    let mut line = String::new();
                    log.format.print(record, interface, &mut line);
                    lines.push((log.id.to_string(), line));
                }
            }
        }
        lines
    }

    /// What became of the last frame that came in.
    ///
    /// # Panics
    /// If none did yet.
    #[must_use]
    pub fn fate(&self) -> Fate {
        self.fate.unwrap_or_else(|| panic!("no frame came in yet"))
    }

    /// How often user space dropped for this reason.
    #[must_use]
    pub fn dropped(&self, reason: Drop) -> u64 {
        self.engine.counters().dropped[reason as usize]
    }

    /// Tells the engine what the fast path tells of.
    fn tell(&mut self) {
        for event in self.path.take_events() {
            self.engine.event(self.now, &event, &mut self.path);
        }
    }

    /// Does all that is due now.
    fn settle(&mut self) -> Vec<Transmit> {
        for _ in 0..MOST_STEPS {
            self.tell();
            let due = self.engine.advance(self.now, &mut self.path);
            if due.is_none_or(|due| due > self.now) {
                return self.take_sent();
            }
        }
        panic!("there is no end to what is due at {:?}", self.now);
    }

    /// What was sent; questions for next hops are answered on the way, if they are to be.
    fn take_sent(&mut self) -> Vec<Transmit> {
        let mut sent = self.path.take_transmits();
        if !self.answering {
            return sent;
        }
        let mut told = Vec::new();
        while !sent.is_empty() {
            for Transmit { port, frame } in sent.drain(..) {
                let Some(answer) = answer_question(&frame, |ip| Some(host_mac(ip))) else {
                    told.push(Transmit { port, frame });
                    continue;
                };
                let meta = FrameMeta::default();
                self.handed_over += 1;
                self.tell();
                self.engine.packet(self.now, port, Punt::Control, meta, &answer, &mut self.path);
            }
            sent = self.path.take_transmits();
        }
        told
    }

    /// Sets the clock. The engine does not notice, as while no process runs.
    pub fn set_time(&mut self, now: Time) {
        self.now = now;
        self.path.set_time(now);
    }

    fn new_port(&mut self, name: &str) -> PortInfo {
        self.last_port += 1;
        let id = PortId::new(self.last_port).unwrap_or_else(|| panic!("too many ports"));
        PortInfo { id, name: name.into(), mac: port_mac(id), mtu: MTU }
    }

    fn name_all(&self, sent: Vec<Transmit>) -> Vec<(String, Vec<u8>)> {
        let name = |id| self.name_of(id).map_or_else(|| format!("gone: {id}"), str::to_owned);
        sent.into_iter().map(|it| (name(it.port), it.frame)).collect()
    }
}

/// The MAC address that the host with this address has, where nothing says otherwise.
#[must_use]
pub fn host_mac(ip: IpAddr) -> MacAddr {
    match ip {
        IpAddr::V4(ip) => {
            let [_, b, c, d] = ip.octets();
            MacAddr::new([2, 4, 0, b, c, d])
        }
        IpAddr::V6(ip) => {
            let [.., b, c, d] = ip.octets();
            MacAddr::new([2, 6, 0, b, c, d])
        }
    }
}

/// The answer to an ARP request or neighbour solicitation, by whoever has the address that is asked
/// for and so the MAC address that `mac_of` tells; `None` if nobody has, or the frame is neither.
#[must_use]
pub fn answer_question(
    frame: &[u8],
    mac_of: impl Fn(IpAddr) -> Option<MacAddr>,
) -> Option<Vec<u8>> {
    let headers = Headers::parse(frame).ok()?;
    let Some(ip) = headers.ip() else {
        let arp = Arp::new_checked(frame.get(ETHERNET_LEN..)?).ok()?;
        let target = arp.target_ip();
        if arp.operation() != Operation::Request || arp.sender_ip() == target {
            return None;
        }
        let mac = mac_of(target.into())?;
        return Some(build::arp_reply(mac, target, arp.sender_mac(), arp.sender_ip()));
    };
    match (NeighbourMessage::parse(ip, frame), ip.src) {
        (Ok(Some(NeighbourMessage::Solicitation { target, .. })), IpAddr::V6(asker)) => {
            let asker = Some((headers.src_mac, asker));
            let mac = mac_of(target.into())?;
            Some(build::neighbour_advertisement(mac, target, false, asker))
        }
        _ => None,
    }
}

/// The gateway's own MAC address on a port.
fn port_mac(id: PortId) -> MacAddr {
    let [_, b, c, d] = id.get().to_be_bytes();
    MacAddr::new([2, 0xff, 0, b, c, d])
}

fn build(generation: Generation, document: &Document) -> Arc<Snapshot> {
    let snapshot = Snapshot::build(generation, document).unwrap_or_else(|problems| {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        panic!("{}", problems.join("\n"))
    });
    Arc::new(snapshot)
}
