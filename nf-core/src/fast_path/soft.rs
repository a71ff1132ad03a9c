//! The fast path in plain Rust: the same decisions in the same order as the kernel program.
//!
//! It forwards where BPF is not to be had, moves the packets of the simulation, and is the oracle
//! that the kernel program is tested against. When one changes, so does the other; the numbered
//! steps of [`SoftFastPath::process`] are those of `datapath/bpf/halfspace.bpf.c`.

mod make;
mod parse;
#[cfg(test)]
mod tests;
mod translate;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;

use super::{
    Class, Entry, Event, FastPath, Lot, MeterId, Metered, PortPolicy, StockId, TcpEvent, Template,
    Transmit, Usage,
};
use crate::action::{ChecksumField, Crossing, Offsets, ResizableFrame, identification};
use crate::adjacency::Adjacency;
use crate::id::{AdjacencyId, Generation, PortId};
use crate::packet::TcpFlags;
use crate::time::{Tick, Time};
use crate::tuple::{FlowKey, Protocol};
use crate::verdict::{FastDrop, Punt};

use parse::{Parsed, Step};

/// What the receiving interface says of a frame beyond its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameMeta {
    /// Payload bytes of each segment, if the frame is a super-packet (GSO), else 0.
    pub segment_size: u16,
    /// What its transport checksum field holds.
    pub checksum: ChecksumField,
}

/// What the fast path decided on a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The frame was rewritten: send it by this port.
    Forward(PortId),
    /// Hand it to user space.
    Punt(Punt),
    /// Hand a copy to user space and the frame to the host's stack.
    Tap(Punt),
    /// Hand it to the host's stack.
    Pass,
    /// End it.
    Drop(FastDrop),
}

/// The reference fast path. Its clock is what the last [`SoftFastPath::set_time`] said.
#[derive(Debug)]
pub struct SoftFastPath {
    entries: HashMap<FlowKey, Entry, ahash::RandomState>,
    adjacencies: Vec<Option<Adjacency>>,
    ports: HashMap<PortId, PortPolicy, ahash::RandomState>,
    own_addresses: HashSet<IpAddr, ahash::RandomState>,
    fence: Generation,
    now: Tick,
    templates: HashMap<Class, Template, ahash::RandomState>,
    stocks: HashMap<StockId, VecDeque<Lot>, ahash::RandomState>,
    meters: HashMap<MeterId, Metered, ahash::RandomState>,
    events: Vec<Event>,
    transmits: Vec<Transmit>,
}

impl SoftFastPath {
    /// An empty table; `seed` keys its hashers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, 1, 2, 3);
        Self {
            entries: HashMap::with_hasher(hasher.clone()),
            adjacencies: Vec::new(),
            ports: HashMap::with_hasher(hasher.clone()),
            own_addresses: HashSet::with_hasher(hasher.clone()),
            fence: Generation::default(),
            now: Tick::default(),
            templates: HashMap::with_hasher(hasher.clone()),
            stocks: HashMap::with_hasher(hasher.clone()),
            meters: HashMap::with_hasher(hasher),
            events: Vec::new(),
            transmits: Vec::new(),
        }
    }

    /// Sets the moment that entries are stamped with.
    pub fn set_time(&mut self, now: Time) {
        self.now = now.tick();
    }

    /// Entries installed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no entry is installed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry of a key.
    #[must_use]
    pub fn entry(&self, key: &FlowKey) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Every entry, in no order.
    pub fn entries(&self) -> impl Iterator<Item = (&FlowKey, &Entry)> {
        self.entries.iter()
    }

    /// Every slot that is filled, in order.
    pub fn adjacencies(&self) -> impl Iterator<Item = (AdjacencyId, &Adjacency)> {
        let slots = self.adjacencies.iter().zip(0..);
        slots.filter_map(|(value, slot)| Some((AdjacencyId(slot), value.as_ref()?)))
    }

    /// Forgets every template and what is in stock, as happens when another process takes over.
    pub fn forget_templates(&mut self) {
        self.templates.clear();
        self.stocks.clear();
    }

    /// Lots in all stocks.
    #[must_use]
    pub fn stocked(&self) -> usize {
        self.stocks.values().map(VecDeque::len).sum()
    }

    /// The lot that is taken next, if there is one stock alone.
    #[must_use]
    pub fn next_lot(&self) -> Option<Lot> {
        self.stocks.values().next()?.front().copied()
    }

    /// Takes what is to be told since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Takes the frames that user space sent since the last call.
    pub fn take_transmits(&mut self) -> Vec<Transmit> {
        std::mem::take(&mut self.transmits)
    }

    /// Decides on one frame and, if it is to be forwarded, rewrites it.
    pub fn process(
        &mut self,
        port: PortId,
        frame: &mut impl ResizableFrame,
        meta: FrameMeta,
    ) -> Decision {
        let shared = self.ports.get(&port).is_some_and(|policy| policy.share_with_host);
        // 1. Parse.
        let parsed = match parse::parse(frame.as_ref()) {
            Step::Flow(parsed) => parsed,
            Step::Neighbour if shared => return Decision::Tap(Punt::Control),
            Step::Neighbour => return Decision::Punt(Punt::Control),
            Step::Drop(_) if shared => return Decision::Pass,
            Step::Drop(reason) => return Decision::Drop(reason),
            Step::Punt { dst, .. } if shared && !self.own_addresses.contains(&dst) => {
                return Decision::Pass;
            }
            Step::Punt { reason, .. } => return Decision::Punt(reason),
        };
        // 2. Look the flow up, or make it.
        let key = FlowKey { port, tuple: parsed.tuple };
        if !self.entries.contains_key(&key) {
            self.make_flow(&key, &parsed, frame.as_ref());
        }
        let Some(entry) = self.entries.get_mut(&key) else {
            if shared && !self.own_addresses.contains(&parsed.tuple.dst.ip()) {
                return Decision::Pass;
            }
            return Decision::Punt(Punt::Miss);
        };
        // 3. May the entry still forward, and does this packet fit through?
        if is_before(entry.generation, self.fence) {
            return Decision::Punt(Punt::Stale);
        }
        if entry.src_mac.is_some_and(|mac| frame.as_ref().get(6..12) != Some(mac.as_bytes())) {
            return Decision::Punt(Punt::SourceMac);
        }
        if reopens(parsed.tcp_flags, entry.usage.tcp_flags) {
            return Decision::Punt(Punt::Reopen);
        }
        let slot = entry.action.adjacency.0 as usize;
        let Some(adjacency) = self.adjacencies.get(slot).copied().flatten() else {
            return Decision::Punt(Punt::Unresolved);
        };
        if parsed.ttl <= 1 {
            return Decision::Punt(Punt::TimeToLive);
        }
        let action = entry.action;
        let on_the_wire = packet_on_the_wire(&parsed, meta);
        if action.length_after(&parsed.tuple, on_the_wire) > usize::from(adjacency.mtu) {
            return Decision::Punt(Punt::TooBig);
        }
        let translates = action.translates(&parsed.tuple);
        if translates && !translate::takes_but_a_header(&parsed, frame.as_ref()) {
            return Decision::Punt(Punt::Translation);
        }
        // 4. Tell user space what it must know of TCP.
        let flags = parsed.tcp_flags & STATE_FLAGS;
        if flags != 0 {
            entry.usage.tcp_flags |= flags;
            let (flow, direction) = (entry.flow, entry.direction);
            let event = TcpEvent { flow, direction, flags: parsed.tcp_flags };
            self.events.push(Event::Tcp(event));
        }
        // 5. Count, rewrite, send.
        let identification = identification(entry.flow, entry.usage.packets);
        entry.usage.last_seen = self.now;
        let seen = Metered { packets: segments(&parsed, meta), bytes: parsed.ip_len as u64 };
        entry.usage.packets += seen.packets;
        entry.usage.bytes += seen.bytes;
        if entry.meter != MeterId::NONE {
            *self.meters.entry(entry.meter).or_default() += seen;
        }
        let offsets = Offsets { transport: parsed.transport };
        if translates {
            let field = meta.checksum;
            let crossing = Crossing { offsets, field, on_the_wire, identification };
            action.translate(&adjacency, frame, &crossing);
        } else {
            action.apply(&adjacency, frame.as_mut(), offsets, meta.checksum);
        }
        Decision::Forward(adjacency.port)
    }
}

/// FIN, SYN and RST: the flags that change a flow's state.
pub const STATE_FLAGS: u8 = 0x07;

/// Whether a packet with these flags opens a new connection on the addresses of one that has ended
/// or is about to, by the flags that its entry has seen.
fn reopens(packet: u8, seen: u8) -> bool {
    TcpFlags(packet).opens() && seen & (TcpFlags::FIN.0 | TcpFlags::RST.0) != 0
}

/// Whether `a` is older than `b`; generations may wrap.
fn is_before(a: Generation, b: Generation) -> bool {
    a.0.wrapping_sub(b.0) > u32::MAX / 2
}

/// Length of the largest IP packet that the frame becomes on the wire.
fn packet_on_the_wire(parsed: &Parsed, meta: FrameMeta) -> usize {
    if meta.segment_size == 0 {
        parsed.ip_len
    } else {
        parsed.headers_len() + usize::from(meta.segment_size)
    }
}

/// How many packets the frame becomes on the wire.
fn segments(parsed: &Parsed, meta: FrameMeta) -> u64 {
    if meta.segment_size == 0 {
        1
    } else {
        let payload = parsed.ip_len.saturating_sub(parsed.headers_len());
        payload.div_ceil(usize::from(meta.segment_size)).max(1) as u64
    }
}

impl FastPath for SoftFastPath {
    fn add_port(&mut self, port: PortId, policy: PortPolicy) {
        self.ports.insert(port, policy);
    }

    fn remove_port(&mut self, port: PortId) {
        self.ports.remove(&port);
    }

    fn set_own_address(&mut self, address: IpAddr, own: bool) {
        if own {
            self.own_addresses.insert(address);
        } else {
            self.own_addresses.remove(&address);
        }
    }

    fn install(&mut self, key: &FlowKey, entry: &Entry) {
        self.entries.insert(*key, *entry);
    }

    fn remove(&mut self, key: &FlowKey) {
        self.entries.remove(key);
    }

    fn usage(&mut self, key: &FlowKey) -> Option<Usage> {
        self.entries.get(key).map(|entry| entry.usage)
    }

    fn entry(&mut self, key: &FlowKey) -> Option<Entry> {
        self.entries.get(key).copied()
    }

    fn set_template(&mut self, class: &Class, template: Option<&Template>) {
        match template {
            Some(template) => self.templates.insert(*class, *template),
            None => self.templates.remove(class),
        };
    }

    fn supply(&mut self, stock: StockId, lots: &[Lot]) -> usize {
        let stock = self.stocks.entry(stock).or_default();
        let fit = lots.len().min(StockId::ROOM.saturating_sub(stock.len()));
        stock.extend(&lots[..fit]);
        fit
    }

    fn in_stock(&mut self, stock: StockId) -> usize {
        self.stocks.get(&stock).map_or(0, VecDeque::len)
    }

    fn take_back(&mut self, stock: StockId) -> Vec<Lot> {
        self.stocks.remove(&stock).unwrap_or_default().into()
    }

    fn set_adjacency(&mut self, slot: AdjacencyId, adjacency: Option<Adjacency>) {
        let slot = slot.0 as usize;
        if slot >= self.adjacencies.len() {
            self.adjacencies.resize(slot + 1, None);
        }
        self.adjacencies[slot] = adjacency;
    }

    fn restamp(&mut self, keys: &[FlowKey], generation: Generation) {
        for key in keys {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.generation = generation;
            }
        }
    }

    fn set_fence(&mut self, generation: Generation) {
        self.fence = generation;
    }

    fn metered(&mut self, meter: MeterId) -> Metered {
        self.meters.get(&meter).copied().unwrap_or_default()
    }

    fn transmit(&mut self, frame: Transmit) {
        self.transmits.push(frame);
    }

    fn flush(&mut self) {}
}

impl Parsed {
    /// Bytes of the network and transport headers.
    fn headers_len(&self) -> usize {
        let transport = match self.tuple.protocol {
            Protocol::Tcp => self.tcp_header_len,
            Protocol::Udp | Protocol::Icmp | Protocol::Icmpv6 => 8,
        };
        self.transport - crate::action::ETHERNET_LEN + transport
    }
}
