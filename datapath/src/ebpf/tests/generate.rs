//! Worlds of flows, and packets that hit, miss or offend them in every way the fast path tells
//! apart.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nf_core::action::Action;
use nf_core::adjacency::Adjacency;
use nf_core::fast_path::soft::FrameMeta;
use nf_core::fast_path::{Class, Direction, Entry, Lot, MeterId, StockId, Template, Usage};
use nf_core::flow::Tracking;
use nf_core::id::{AdjacencyId, FlowId, Generation, PortId};
use nf_core::packet::MacAddr;
use nf_core::time::Tick;
use nf_core::tuple::{FlowKey, Protocol, Tuple};

use crate::layout::{self, Item};

/// `SplitMix64`: a seed replays everything.
#[derive(Clone, Debug)]
pub(super) struct Rng(pub u64);

impl Rng {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in `n` times.
    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.next() as u8;
        }
    }
}

/// What both fast paths are told before packets come.
#[derive(Debug)]
pub(super) struct World {
    pub ports: [PortId; 2],
    /// The second port is the host's as well.
    pub flows: Vec<(FlowKey, Entry)>,
    pub adjacencies: Vec<Option<Adjacency>>,
    pub fence: Generation,
    pub own: Vec<IpAddr>,
    pub templates: Vec<(Class, Template)>,
    pub stocks: Vec<(StockId, Vec<Lot>)>,
}

/// A frame and how it comes in.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub port: PortId,
    pub frame: Vec<u8>,
    pub meta: FrameMeta,
}

/// Where all frames come from.
const SOURCE: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 9]);
const PORTS: [u16; 8] = [0, 1, 53, 443, 1024, 40_000, 0x8000, 0xffff];
const UNSTOCKED_PORTS: [u16; 5] = [1, 53, 443, 1024, 0x8000];
const MTUS: [u16; 6] = [68, 100, 576, 1280, 1500, 9000];
const TTLS: [u8; 8] = [0, 1, 2, 3, 64, 64, 128, 255];

fn ipv4(index: usize) -> IpAddr {
    let odd = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, Ipv4Addr::new(255, 255, 0, 0)];
    odd.get(index).copied().unwrap_or(Ipv4Addr::new(10, index as u8, 0x80, 1)).into()
}

fn ipv6(index: usize) -> IpAddr {
    let odd = [Ipv6Addr::UNSPECIFIED, Ipv6Addr::from([0xff; 16])];
    let usual = Ipv6Addr::new(0x2001, 0xdb8, 0, 0x8000, index as u16, 0, 0xfffe, 1);
    odd.get(index).copied().unwrap_or(usual).into()
}

fn address(rng: &mut Rng, v4: bool) -> IpAddr {
    let index = rng.below(12);
    if v4 { ipv4(index) } else { ipv6(index) }
}

fn protocol(rng: &mut Rng, v4: bool) -> Protocol {
    match rng.below(10) {
        0..4 => Protocol::Tcp,
        4..7 => Protocol::Udp,
        _ if v4 => Protocol::Icmp,
        _ => Protocol::Icmpv6,
    }
}

fn of_other_family(protocol: Protocol) -> Protocol {
    match protocol {
        Protocol::Icmp => Protocol::Icmpv6,
        Protocol::Icmpv6 => Protocol::Icmp,
        other => other,
    }
}

/// An address that differs from [`SOURCE`] in one bit.
fn nearly_source(rng: &mut Rng) -> MacAddr {
    let mut bytes = *SOURCE.as_bytes();
    bytes[rng.below(bytes.len())] ^= 1 << rng.below(8);
    MacAddr::new(bytes)
}

/// Meters that entries have are numbered below.
pub(super) const METERS: u32 = 5;

/// What an entry is counted under: nothing, or one of few, which many share.
fn meter(rng: &mut Rng) -> MeterId {
    MeterId(rng.below(METERS as usize) as u32)
}

/// What an entry holds packets to: nothing, where they come from, or nearly.
fn held_mac(rng: &mut Rng) -> Option<MacAddr> {
    match rng.below(8) {
        0 => Some(nearly_source(rng)),
        1..5 => Some(SOURCE),
        _ => None,
    }
}

/// A tuple; `is_reply` matters to echo only.
fn tuple(rng: &mut Rng, protocol: Protocol, v4: bool, is_reply: bool) -> Tuple {
    let (src, dst) = (address(rng, v4), address(rng, v4));
    let (sport, dport) = (*rng.pick(&PORTS), *rng.pick(&PORTS));
    let (sport, dport) = match (protocol.is_echo(), is_reply) {
        (false, _) => (sport, dport),
        (true, false) => (sport, 0),
        (true, true) => (0, dport),
    };
    Tuple { protocol, src: SocketAddr::new(src, sport), dst: SocketAddr::new(dst, dport) }
}

impl World {
    pub(super) fn new(rng: &mut Rng, ports: [PortId; 2]) -> Self {
        let adjacency = |slot: u8, rng: &mut Rng| Adjacency {
            port: *rng.pick(&ports),
            dst_mac: MacAddr::new([2, 1, slot, rng.next() as u8, 0, 1]),
            src_mac: MacAddr::new([2, 2, slot, rng.next() as u8, 0, 1]),
            mtu: *rng.pick(&MTUS),
        };
        let adjacencies: Vec<_> =
            (0..24).map(|slot| (!rng.one_in(8)).then(|| adjacency(slot, rng))).collect();
        // Generations wrap; a fence near the wrap must not fail open or shut.
        let fence = Generation(*rng.pick(&[0, 1, 1000, u32::MAX, 1 << 31]));
        let mut world = Self {
            ports,
            flows: Vec::new(),
            adjacencies,
            fence,
            own: Vec::new(),
            templates: Vec::new(),
            stocks: Vec::new(),
        };
        for index in 0..12 {
            if rng.one_in(3) {
                world.own.push(ipv4(index));
            }
            if rng.one_in(3) {
                world.own.push(ipv6(index));
            }
        }
        for id in 0..48 {
            let (key, entry) = world.flow(rng, FlowId(id));
            if world.flows.iter().all(|(other, _)| *other != key) {
                world.flows.push((key, entry));
            }
        }
        world.add_templates(rng);
        world
    }

    /// Some classes, and too little in stock for all packets of theirs. Lots of one stock have
    /// ports that another's have too, so flows get into each other's way.
    fn add_templates(&mut self, rng: &mut Rng) {
        const STOCKS: usize = 6;
        const FIRST_FLOW: u32 = 1000;

        for place in 0..STOCKS {
            let lot = |n: usize, rng: &mut Rng| Lot {
                flow: FlowId(FIRST_FLOW + (place * 100 + n) as u32),
                port: *rng.pick(&[0, 0xffff, 40_000 + n as u16, 40_000 + (n / 2) as u16]),
            };
            let lots = (0..rng.below(100)).map(|n| lot(n, rng)).collect();
            let stock = StockId::new(place * 50, rng.next() as u32);
            self.stocks.push((stock, lots));
        }
        for _ in 0..40 {
            let key = loop {
                let protocol = if rng.one_in(2) { Protocol::Tcp } else { Protocol::Udp };
                let port = *rng.pick(&self.ports);
                let key = FlowKey { port, tuple: tuple(rng, protocol, true, false) };
                if Class::of(&key).is_some() {
                    break key;
                }
            };
            let class = Class::of(&key).unwrap();
            if self.templates.iter().any(|(other, _)| *other == class) {
                continue;
            }
            let IpAddr::V4(external_ip) = ipv4(rng.below(12)) else { unreachable!() };
            let slot = |rng: &mut Rng| AdjacencyId(rng.below(24) as u32);
            let age = *rng.pick(&[0, 0, 0, 1, -1]);
            let template = Template {
                src_mac: if rng.one_in(8) { nearly_source(rng) } else { SOURCE },
                holds_src_mac: rng.one_in(2),
                back_mac: held_mac(rng),
                tracking: Tracking::from_bits(rng.next() as u8),
                meters: [meter(rng), meter(rng)],
                external_ip,
                reverse_port: *rng.pick(&self.ports),
                forward_out: slot(rng),
                reverse_out: slot(rng),
                generation: Generation(self.fence.0.wrapping_add_signed(age)),
                stock: rng.pick(&self.stocks).0,
            };
            self.templates.push((class, template));
        }
    }

    /// A packet of a class that may be the first of its flow.
    fn opening(&self, rng: &mut Rng) -> (PortId, Packet) {
        let (class, _) = *rng.pick(&self.templates);
        let sport = rng.next() as u16;
        let src = SocketAddr::new(class.src.into(), sport);
        let tuple = Tuple { protocol: class.protocol, src, dst: class.dst.into() };
        let mut packet = Packet::of(rng, tuple);
        if !rng.one_in(8) {
            packet.tcp_flags = 0x02;
        }
        if !rng.one_in(8) {
            (packet.ttl, packet.options, packet.fragment) = (64, 0, 0);
        }
        (class.port, packet)
    }

    fn flow(&self, rng: &mut Rng, flow: FlowId) -> (FlowKey, Entry) {
        let (v4, is_reply) = (rng.one_in(2), rng.one_in(2));
        let protocol = protocol(rng, v4);
        let mut key =
            FlowKey { port: *rng.pick(&self.ports), tuple: tuple(rng, protocol, v4, is_reply) };
        let new = tuple(rng, protocol, v4, is_reply);
        let rewrite = match rng.below(12) {
            0 => key.tuple,
            1 => Tuple { src: new.src, ..key.tuple },
            2 => Tuple { dst: new.dst, ..key.tuple },
            3..7 => tuple(rng, of_other_family(protocol), !v4, is_reply),
            _ => new,
        };
        // No port in stock is leased to a translated flow: the two are in different tables, so the
        // kernel's program would not see that they have one key.
        if rewrite.is_ipv4() != v4 && !protocol.is_echo() {
            key.tuple.dst.set_port(*rng.pick(&UNSTOCKED_PORTS));
        }
        let slot = if rng.one_in(20) { 70_000 } else { rng.below(self.adjacencies.len() + 1) };
        let age = *rng.pick(&[0, 0, 0, 0, 0, 0, 1, 1000, -1, -1000]);
        let entry = Entry {
            action: Action { rewrite, adjacency: AdjacencyId(slot as u32) },
            generation: Generation(self.fence.0.wrapping_add_signed(age)),
            flow,
            direction: if is_reply { Direction::Reverse } else { Direction::Forward },
            src_mac: held_mac(rng),
            tracking: Tracking::from_bits(rng.next() as u8),
            meter: meter(rng),
            usage: Usage {
                last_seen: Tick(7),
                packets: rng.next() >> 20,
                bytes: rng.next() >> 20,
                tcp_flags: 0,
            },
        };
        (key, entry)
    }

    /// One frame. Only tc carries super-packets.
    pub(super) fn case(&self, rng: &mut Rng, tc: bool) -> Case {
        let (mut port, mut meta) = (*rng.pick(&self.ports), FrameMeta::default());
        let mut frame = match rng.below(20) {
            0..4 => {
                let (of, packet) = self.opening(rng);
                port = of;
                packet.build(rng)
            }
            4..15 => {
                let (key, entry) = rng.pick(&self.flows);
                port = key.port;
                let mtu = self
                    .adjacencies
                    .get(entry.action.adjacency.0 as usize)
                    .copied()
                    .flatten()
                    .map_or(1500, |adjacency| adjacency.mtu);
                let growth = match (entry.action.translates(&key.tuple), key.tuple.is_ipv4()) {
                    (false, _) => 0,
                    (true, true) => 20,
                    (true, false) => -20,
                };
                let mut packet = Packet::of(rng, key.tuple);
                packet.aim_checksum(rng, key, entry);
                if tc && rng.one_in(4) {
                    packet.payload = rng.below(2800);
                    let headers = packet.headers_len();
                    // Around the largest segment that fits.
                    let fits = usize::from(mtu).saturating_sub(headers).max(1);
                    let fits = fits.saturating_add_signed(-growth).max(1);
                    let edges = [fits, fits + 1, fits.saturating_sub(1).max(1), 100, 1];
                    meta.segment_size = (*rng.pick(&edges)).min(0xffff) as u16;
                } else if rng.one_in(6) {
                    let room = usize::from(mtu.min(3000)).saturating_add_signed(-growth);
                    let room = room.saturating_sub(packet.headers_len());
                    packet.payload = (room + rng.below(3)).saturating_sub(1);
                }
                packet.build(rng)
            }
            15 | 16 => {
                let (v4, is_reply) = (rng.one_in(2), rng.one_in(2));
                let protocol = protocol(rng, v4);
                let tuple = tuple(rng, protocol, v4, is_reply);
                Packet::of(rng, tuple).build(rng)
            }
            17 => neighbour(rng),
            _ => stranger(rng),
        };
        if rng.one_in(30) {
            port = *rng.pick(&self.ports);
        }
        mutilate(rng, &mut frame);
        frame.resize(frame.len().max(shortest(&frame, tc)), 0);
        Case { port, frame, meta }
    }
}

/// A well-formed packet of a tuple, in numbers.
struct Packet {
    tuple: Tuple,
    ttl: u8,
    /// Bytes of IPv4 options.
    options: usize,
    /// Bytes of TCP options.
    tcp_options: usize,
    tcp_flags: u8,
    payload: usize,
    /// Bytes behind the IP packet, as short Ethernet frames have them.
    padding: usize,
    fragment: u16,
    /// A transport checksum to set instead of the right one.
    checksum: Option<u16>,
}

impl Packet {
    fn of(rng: &mut Rng, tuple: Tuple) -> Self {
        Self {
            tuple,
            ttl: *rng.pick(&TTLS),
            options: if rng.one_in(4) { 4 * rng.below(11) } else { 0 },
            tcp_options: if rng.one_in(3) { 4 * rng.below(11) } else { 0 },
            tcp_flags: if rng.one_in(3) { rng.next() as u8 } else { 0x10 },
            payload: rng.below(64),
            padding: if rng.one_in(4) { rng.below(20) } else { 0 },
            fragment: if rng.one_in(20) { *rng.pick(&[0x2000, 0x0001, 0x1fff, 0x8000]) } else { 0 },
            checksum: match rng.below(10) {
                0 => Some(*rng.pick(&[0, 1, 0xfffe, 0xffff])),
                1 => Some(rng.next() as u16),
                _ => None,
            },
        }
    }

    /// Now and then, chooses a checksum whose update comes out at one of the two zeros, or beside.
    fn aim_checksum(&mut self, rng: &mut Rng, key: &FlowKey, entry: &Entry) {
        if !rng.one_in(10) {
            return;
        }
        let rewrite = match layout::encode(key, entry) {
            Some(Item::V4(_, value)) => value.rewrite,
            Some(Item::V6(_, value)) => value.rewrite,
            None => return,
        };
        let address = u32::from(u16::from_be_bytes(rewrite.address_delta));
        let length = (self.transport_len() + self.payload) as u16;
        let pseudo = match (self.tuple.protocol, entry.action.translates(&key.tuple)) {
            // The length, and another type.
            (Protocol::Icmp, true) if key.tuple.src.port() != 0 => {
                address + u32::from(length) + 0x7800
            }
            (Protocol::Icmp, true) => address + u32::from(length) + 0x8100,
            (Protocol::Icmpv6, true) if key.tuple.src.port() != 0 => {
                address + u32::from(!length) + 0x87ff
            }
            (Protocol::Icmpv6, true) => address + u32::from(!length) + 0x7eff,
            (Protocol::Icmp, false) => 0,
            _ => address,
        };
        let delta = pseudo + u32::from(u16::from_be_bytes(rewrite.port_delta));
        let folded = (delta & 0xffff) + (delta >> 16);
        self.checksum = Some((folded as u16).wrapping_add(*rng.pick(&[0, 1, 0xffff])));
    }

    fn is_v4(&self) -> bool {
        self.tuple.is_ipv4()
    }

    fn transport_len(&self) -> usize {
        if self.tuple.protocol == Protocol::Tcp { 20 + self.tcp_options } else { 8 }
    }

    /// Bytes of the IP and transport headers.
    fn headers_len(&self) -> usize {
        self.transport_len() + if self.is_v4() { 20 + self.options } else { 40 }
    }

    fn build(&self, rng: &mut Rng) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1];
        frame.extend(SOURCE.as_bytes());
        frame.extend(if self.is_v4() { [0x08, 0x00] } else { [0x86, 0xdd] });
        let transport = self.transport(rng);
        match (self.tuple.src.ip(), self.tuple.dst.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.ipv4(rng, &mut frame, src, dst, &transport),
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                frame.extend([0x60, rng.next() as u8, 0, 0]);
                frame.extend((transport.len() as u16).to_be_bytes());
                frame.extend([self.tuple.protocol.number(), self.ttl]);
                frame.extend(src.octets());
                frame.extend(dst.octets());
            }
            _ => unreachable!("the generator does not mix families"),
        }
        frame.extend(transport);
        frame.extend(std::iter::repeat_n(0xee, self.padding));
        frame
    }

    fn ipv4(&self, rng: &mut Rng, frame: &mut Vec<u8>, src: Ipv4Addr, dst: Ipv4Addr, l4: &[u8]) {
        let mut header = vec![0x45 + (self.options / 4) as u8, rng.next() as u8];
        header.extend(((20 + self.options + l4.len()) as u16).to_be_bytes());
        header.extend((rng.next() as u16).to_be_bytes());
        header.extend(self.fragment.to_be_bytes());
        header.extend([self.ttl, self.tuple.protocol.number(), 0, 0]);
        header.extend(src.octets());
        header.extend(dst.octets());
        header.extend(std::iter::repeat_n(1, self.options));
        let sum = if rng.one_in(10) { rng.next() as u16 } else { checksum(&[&header]) };
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        frame.extend(header);
    }

    /// Header and payload.
    fn transport(&self, rng: &mut Rng) -> Vec<u8> {
        let (sport, dport) =
            (self.tuple.src.port().to_be_bytes(), self.tuple.dst.port().to_be_bytes());
        let length = self.transport_len() + self.payload;
        let mut bytes = vec![0; length];
        rng.fill(&mut bytes);
        let check_at = match self.tuple.protocol {
            Protocol::Tcp => {
                bytes[..4].copy_from_slice(&[sport, dport].concat());
                bytes[12] = ((20 + self.tcp_options) / 4) as u8 * 16;
                bytes[13] = self.tcp_flags;
                16
            }
            Protocol::Udp => {
                bytes[..4].copy_from_slice(&[sport, dport].concat());
                bytes[4..6].copy_from_slice(&(length as u16).to_be_bytes());
                6
            }
            Protocol::Icmp | Protocol::Icmpv6 => {
                // With both ports zero it can be either: a request then.
                let is_reply = self.tuple.src.port() == 0 && self.tuple.dst.port() != 0;
                let kinds = if self.tuple.protocol == Protocol::Icmp { [8, 0] } else { [128, 129] };
                bytes[0] = kinds[usize::from(is_reply)];
                bytes[1] = 0;
                let id = self.tuple.src.port() | self.tuple.dst.port();
                bytes[4..6].copy_from_slice(&id.to_be_bytes());
                2
            }
        };
        bytes[check_at..check_at + 2].fill(0);
        let sum = self.checksum.unwrap_or_else(|| self.transport_checksum(&bytes));
        bytes[check_at..check_at + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    fn transport_checksum(&self, bytes: &[u8]) -> u16 {
        let tail = [0, self.tuple.protocol.number()];
        let length = (bytes.len() as u16).to_be_bytes();
        match (self.tuple.src.ip(), self.tuple.dst.ip()) {
            _ if self.tuple.protocol == Protocol::Icmp => checksum(&[bytes]),
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                checksum(&[&src.octets(), &dst.octets(), &tail, &length, bytes])
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                checksum(&[&src.octets(), &dst.octets(), &tail, &length, bytes])
            }
            _ => unreachable!("the generator does not mix families"),
        }
    }
}

/// RFC 1071, of the concatenation; only the last part may be of odd length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let word = |chunk: &[u8]| u32::from(chunk[0]) << 8 | chunk.get(1).map_or(0, |&b| b.into());
    let mut sum: u32 = words.map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// ARP or NDP, or nearly.
fn neighbour(rng: &mut Rng) -> Vec<u8> {
    if rng.one_in(2) {
        let mut frame = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 0x08, 0x06];
        frame.resize(42 + rng.below(19), 0);
        rng.fill(&mut frame[14..]);
        return frame;
    }
    let tuple = tuple(rng, Protocol::Icmpv6, false, false);
    let mut frame = Packet { payload: 24, ..Packet::of(rng, tuple) }.build(rng);
    if rng.one_in(2) {
        frame[..6].copy_from_slice(&[0x33, 0x33, 0xff, 0, 0, 1]);
    }
    frame[54] = (132 + rng.below(7)) as u8;
    frame
}

/// What no flow is made of.
fn stranger(rng: &mut Rng) -> Vec<u8> {
    let v4 = rng.one_in(2);
    let protocol = protocol(rng, v4);
    let tuple = tuple(rng, protocol, v4, false);
    let mut frame = Packet::of(rng, tuple).build(rng);
    match rng.below(6) {
        // Other ethertypes: a VLAN tag, LLDP, anything.
        0 => {
            let types = [0x8100, 0x88cc, rng.next() as u16];
            frame[12..14].copy_from_slice(&rng.pick(&types).to_be_bytes());
        }
        1 => frame[0] |= 1,
        2 => {
            let at = if v4 { 23 } else { 20 };
            frame[at] = *rng.pick(&[0, 43, 44, 60, 0, 43, 44, 60, 47, 50, 51, 132, 1, 58, 255]);
            if rng.one_in(3) {
                frame[0] |= 1;
            }
        }
        // ICMP other than echo.
        3 => {
            let transport = if v4 { 34 } else { 54 };
            if let Some(byte) = frame.get_mut(transport + rng.below(2)) {
                *byte = rng.next() as u8;
            }
        }
        4 => frame[14] = rng.next() as u8,
        _ => {
            let length = 14 + rng.below(80);
            frame.resize(length, 0);
            rng.fill(&mut frame[12..]);
            if rng.one_in(2) {
                frame[12..14].copy_from_slice(&[0x08, 0x00]);
            }
        }
    }
    frame
}

/// Damage on the way: cut off, or with bits flipped.
fn mutilate(rng: &mut Rng, frame: &mut Vec<u8>) {
    if rng.one_in(20) {
        frame.truncate(14 + rng.below(frame.len() - 13));
    }
    if rng.one_in(20) {
        for _ in 0..=rng.below(3) {
            let at = rng.below(frame.len().min(80));
            frame[at] ^= 1 << rng.below(8);
        }
    }
}

/// The shortest frame with this Ethernet header that the kernel takes for a test run: under tc, IP
/// headers must be whole.
fn shortest(frame: &[u8], tc: bool) -> usize {
    match frame[12..14] {
        [0x08, 0x00] if tc => 34,
        [0x86, 0xdd] if tc => 54,
        _ => 15,
    }
}

/// One flow of IPv4, and a packet of it.
pub(super) fn hit(rng: &mut Rng, ports: [PortId; 2]) -> (World, Case) {
    let mut world = World::new(rng, ports);
    let tuple = tuple(rng, Protocol::Udp, true, false);
    let key = FlowKey { port: ports[0], tuple };
    world.adjacencies[0] = Some(Adjacency {
        port: ports[1],
        dst_mac: MacAddr::new([2, 0, 0, 0, 0, 1]),
        src_mac: MacAddr::new([2, 0, 0, 0, 0, 9]),
        mtu: 1500,
    });
    let entry = Entry {
        action: Action { rewrite: tuple, adjacency: AdjacencyId(0) },
        generation: world.fence,
        flow: FlowId(1),
        direction: Direction::Forward,
        src_mac: Some(SOURCE),
        tracking: Tracking::default(),
        meter: MeterId::NONE,
        usage: Usage::default(),
    };
    world.flows = vec![(key, entry)];
    let packet = Packet { ttl: 64, options: 0, fragment: 0, payload: 18, ..Packet::of(rng, tuple) };
    let frame = packet.build(rng);
    (world, Case { port: ports[0], frame, meta: FrameMeta::default() })
}
