//! A NAT of the tests' own, in memory and on virtual time. It meets everything that is asked, or does
//! all that AWS's does; and it can have a flaw, which the prober has to find.
//!
//! `mappings` has who is known by which port, `packets` how frames are rewritten.

mod mappings;
mod packets;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use nf_core::packet::{
    Fragment, Frame, IcmpErrorKind, Ipv4, L4Checksum, Quoted, TcpFlags, Transport, build, checksum,
};

use self::mappings::Mappings;
use self::packets::{clamp, mark, quoting, readdress};
use crate::conform::end::Packet;
use crate::conform::fragments::{Gathered, fragments};
use crate::conform::wire::Wire;
use crate::error::Error;

/// What it does wrong, or in another way than it would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    AnswersPings,
    AnswersSyns,
    BoundsFragments,
    ChangesPayloads,
    ChecksQuotedTransport,
    ClearsClass,
    ClearsDontFragment,
    CountsPorts,
    DropsCodes,
    DropsErrors,
    DropsErrorsOfRouters,
    DropsErrorsOfRoutersInside,
    DropsExtensions,
    DropsFragments,
    DropsFragmentsOutOfOrder,
    DropsHairpins,
    DropsHairpinnedErrors,
    DropsPings,
    DropsQuotesWithOptions,
    DropsResets,
    DropsSimultaneousSyns,
    EndsByError,
    EndsByFin,
    EndsByReset,
    FiltersByAddress,
    FiltersByPort,
    ForgetsAll,
    ForgetsClosed,
    ForgetsHalfOpen,
    ForgetsPings,
    ForgetsUdp,
    ForwardsOthers,
    HairpinsAsIs,
    KeepsIdentifications,
    KeepsMss,
    KeepsPorts,
    KeepsTimeToLive,
    KnowsNoLimit,
    LeaksErrorsInside,
    LeavesQuotes,
    LosesParity,
    MixesProtocols,
    NeverExpiresOnTheWay,
    NoFragmenting,
    NoTooBig,
    NoResetFromInside,
    Pools,
    RefusesInSilence,
    RefreshesNothing,
    SendsFragmentsBackwards,
    Symmetric,
    TakesDamaged,
    TakesDamagedQuotes,
    TakesErrorsAboutNothing,
    TellsServer,
}

/// Its addresses inside and outside, and hosts.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 4, 1);
pub const CLIENTS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(10, 0, 4, 10), Ipv4Addr::new(10, 0, 4, 11), Ipv4Addr::new(10, 0, 4, 12)];
pub const EXTERNAL: [Ipv4Addr; 2] =
    [Ipv4Addr::new(203, 0, 113, 10), Ipv4Addr::new(203, 0, 113, 11)];
pub const SERVERS: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 20), Ipv4Addr::new(203, 0, 113, 21)];

/// The MTU of its link outside; that inside takes 100 bytes more.
pub const MTU: u16 = 1400;

/// One side of it.
pub struct Side {
    nat: Rc<RefCell<Nat>>,
    is_inside: bool,
}

impl Wire for Side {
    fn send(&mut self, frame: &[u8]) -> Result<(), Error> {
        self.nat.borrow_mut().receive(self.is_inside, frame);
        Ok(())
    }

    fn take(&mut self, _: Duration) -> Result<Vec<Vec<u8>>, Error> {
        let mut nat = self.nat.borrow_mut();
        Ok(nat.sent[usize::from(self.is_inside)].drain(..).collect())
    }

    fn pass(&mut self, time: Duration) -> Result<Vec<Vec<u8>>, Error> {
        self.nat.borrow_mut().pass(time);
        self.take(time)
    }
}

/// What the NAT is.
#[derive(Clone, Debug, Default)]
pub struct Nature {
    /// As AWS's is; else as RFCs want it.
    pub is_aws: bool,
    pub flaw: Option<Flaw>,
    /// How many ports there are for each address, if not all.
    pub ports: Option<u16>,
    /// How many a host may have.
    pub ports_per_host: Option<u16>,
}

pub struct Nat {
    nature: Nature,
    mappings: Mappings,
    /// Outside and inside.
    sent: [VecDeque<Vec<u8>>; 2],
    next_id: u16,
    pieces: BTreeMap<(IpAddr, IpAddr, u8, u32), Pieces>,
}

#[derive(Default)]
struct Pieces {
    first: Option<Vec<u8>>,
    gathered: Gathered,
    /// Offsets so far.
    seen: BTreeSet<u16>,
}

/// The two sides of a NAT: inside, outside.
pub fn sides(nature: Nature) -> [Side; 2] {
    let nat = Nat {
        mappings: Mappings::new(nature.clone()),
        nature,
        sent: Default::default(),
        next_id: 0,
        pieces: BTreeMap::new(),
    };
    let nat = Rc::new(RefCell::new(nat));
    [true, false].map(|is_inside| Side { nat: Rc::clone(&nat), is_inside })
}

fn external(address: IpAddr) -> bool {
    EXTERNAL.iter().any(|it| address == *it)
}

impl Nat {
    fn is(&self, flaw: Flaw) -> bool {
        self.nature.flaw == Some(flaw)
    }

    fn pass(&mut self, time: Duration) {
        for mapping in self.mappings.pass(time) {
            if self.is(Flaw::TellsServer)
                && let Some(server) = mapping.server
            {
                let reset = Frame::tcp(mapping.external, server).flags(TcpFlags::RST).build();
                self.sent[0].push_back(reset);
            }
        }
    }

    fn receive(&mut self, is_inside: bool, frame: &[u8]) {
        let Some(packet) = Packet::parse(frame) else { return };
        let Some(packet) = self.whole(packet) else { return };
        if packet.ip.ttl <= 1 && !self.is(Flaw::NeverExpiresOnTheWay) {
            let own = if is_inside { GATEWAY } else { EXTERNAL[0] };
            let kind = IcmpErrorKind::TimeExceeded { code: 0 };
            self.sent[usize::from(is_inside)].extend(build::icmp_error(
                &packet.frame,
                kind,
                own.into(),
            ));
            return;
        }
        if is_inside {
            self.outward(&packet);
        } else {
            self.inward(&packet);
        }
    }

    /// A packet put together of its fragments, once all are there.
    fn whole(&mut self, packet: Packet) -> Option<Packet> {
        let (id, offset) = match packet.ip.fragment {
            Fragment::None => return Some(packet),
            Fragment::First { id } => (id, 0),
            Fragment::Later { id, offset } => (id, offset),
        };
        let dropped = self.is(Flaw::DropsFragments)
            || self.nature.is_aws && packet.ip.protocol != 17
            || self.is(Flaw::BoundsFragments) && self.pieces.len() > 1000;
        if dropped {
            return None;
        }
        let key = (packet.ip.src, packet.ip.dst, packet.ip.protocol, id);
        let in_order = !self.is(Flaw::DropsFragmentsOutOfOrder);
        let pieces = self.pieces.entry(key).or_default();
        if !in_order && pieces.seen.iter().next_back().map_or(offset > 0, |last| *last > offset) {
            return None;
        }
        pieces.seen.insert(offset);
        if offset == 0 {
            pieces.first = Some(packet.frame.clone());
        }
        let payload = pieces.gathered.take(&packet)?;
        let first = pieces.first.clone()?;
        self.pieces.remove(&key);
        let mut frame = [&first[..34], &payload].concat();
        let length = (frame.len() - 14) as u16;
        frame[16..18].copy_from_slice(&length.to_be_bytes());
        frame[20..22].copy_from_slice(&[0, 0]);
        Ipv4::new_checked(&mut frame[14..]).ok()?.fill_checksum();
        Packet::parse(&frame)
    }

    fn outward(&mut self, packet: &Packet) {
        if let Transport::IcmpError { .. } = packet.ip.transport {
            return self.error_outward(packet);
        }
        let Some(tuple) = packet.ip.tuple() else {
            if self.is(Flaw::ForwardsOthers) {
                let source = (EXTERNAL[0], 0).into();
                self.forward(false, packet, Some(source), None);
            }
            return;
        };
        let protocol = packet.ip.protocol;
        let (client, server) = (tuple.src, tuple.dst);
        if protocol == 1 && self.is(Flaw::DropsPings) {
            return;
        }
        let flags = flags(packet);
        let known = self.mappings.out(protocol, client, server);
        if known.is_none() && flags.is_some_and(|flags| !flags.contains(TcpFlags::SYN)) {
            if self.nature.is_aws && !self.is(Flaw::NoResetFromInside) {
                let reset = Frame::tcp(server, client).flags(TcpFlags::RST).build();
                self.sent[1].push_back(reset);
            }
            return;
        }
        let Some(number) = known.or_else(|| self.mappings.open(protocol, client, server)) else {
            if !self.is(Flaw::RefusesInSilence) && !self.nature.is_aws {
                let kind = IcmpErrorKind::Unreachable { code: 13 };
                self.sent[1].extend(build::icmp_error(&packet.frame, kind, GATEWAY.into()));
            }
            return;
        };
        self.mappings.used(number, server, flags, true);
        let source = self.mappings.get(number).external;
        if external(server.ip()) {
            self.hairpin(packet, source, server);
        } else {
            self.forward(false, packet, Some(source), None);
        }
        self.mappings.ended(number, flags);
    }

    fn hairpin(&mut self, packet: &Packet, source: SocketAddr, to: SocketAddr) {
        if self.is(Flaw::DropsHairpins) || self.nature.is_aws {
            return;
        }
        let Some(number) = self.mappings.back(packet.ip.protocol, to, source) else { return };
        let target = self.mappings.get(number).client;
        let source = (!self.is(Flaw::HairpinsAsIs)).then_some(source);
        self.forward(true, packet, source, Some(target));
    }

    fn inward(&mut self, packet: &Packet) {
        if let Transport::IcmpError { kind } = packet.ip.transport {
            return self.error_inward(packet, kind);
        }
        let Some(tuple) = packet.ip.tuple() else { return };
        let (protocol, server) = (packet.ip.protocol, tuple.src);
        if let Transport::Echo { request: true, .. } = packet.ip.transport {
            if self.is(Flaw::AnswersPings) {
                self.sent[0].extend(build::echo_reply(&packet.frame));
            }
            return;
        }
        let flags = flags(packet);
        let Some(number) = self.mappings.back(protocol, tuple.dst, server) else {
            if self.is(Flaw::AnswersSyns) && flags.is_some_and(TcpFlags::opens) {
                let reset = Frame::tcp(tuple.dst, server).flags(TcpFlags::RST).build();
                self.sent[0].push_back(reset);
            }
            return;
        };
        let dropped = flags.is_some_and(|flags| {
            flags.contains(TcpFlags::RST) && self.is(Flaw::DropsResets)
                || flags.opens() && self.is(Flaw::DropsSimultaneousSyns)
        });
        if dropped {
            return;
        }
        self.mappings.used(number, server, flags, false);
        let client = self.mappings.get(number).client;
        self.forward(true, packet, None, Some(client));
        self.mappings.ended(number, flags);
    }

    /// Sends a packet on, rewritten, if it is not too big.
    fn forward(
        &mut self,
        to_inside: bool,
        packet: &Packet,
        source: Option<SocketAddr>,
        destination: Option<SocketAddr>,
    ) {
        let mut frame = readdress(packet, source, destination);
        let kept = (self.is(Flaw::KeepsTimeToLive), self.is(Flaw::ClearsClass));
        self.next_id = self.next_id.wrapping_add(1);
        let id = (!self.is(Flaw::KeepsIdentifications)).then_some(self.next_id);
        mark(&mut frame, kept, self.is(Flaw::ClearsDontFragment), id);
        if self.is(Flaw::ChangesPayloads) {
            packets::change_payload(&mut frame);
        }
        if self.nature.is_aws && !self.is(Flaw::KeepsMss) {
            clamp(&mut frame, MTU - 40);
        }
        self.emit(to_inside, packet, frame);
    }

    fn emit(&mut self, to_inside: bool, original: &Packet, frame: Vec<u8>) {
        let mtu = if to_inside { MTU + 100 } else { MTU };
        let out = &mut self.sent[usize::from(to_inside)];
        if frame.len() - 14 <= usize::from(mtu) {
            out.push_back(frame);
            return;
        }
        let keep = Ipv4::new_checked(&original.frame[14..]).is_ok_and(|it| it.dont_fragment());
        if keep {
            if !self.is(Flaw::NoTooBig) {
                let kind = IcmpErrorKind::PacketTooBig { mtu: mtu.into() };
                let own = if to_inside { EXTERNAL[0] } else { GATEWAY };
                let error = build::icmp_error(&original.frame, kind, own.into());
                self.sent[usize::from(!to_inside)].extend(error);
            }
        } else if !self.is(Flaw::NoFragmenting) {
            let mut parts = fragments(&frame, usize::from(mtu) - 20);
            if self.is(Flaw::SendsFragmentsBackwards) {
                parts.reverse();
            }
            self.sent[usize::from(to_inside)].extend(parts);
        }
    }

    /// Whether an error may go on: from whom, what it says, how it is made.
    fn accepts(&self, packet: &Packet, kind: IcmpErrorKind, quoted: &Quoted) -> bool {
        let bytes = &packet.frame[quoted.l3_offset..];
        let quote = Ipv4::new_quoted(bytes);
        let has_options = quote.as_ref().is_ok_and(|it| it.header_len() > 20);
        let extended =
            packet.frame[34 + 5] != 0 && matches!(kind, IcmpErrorKind::Unreachable { .. });
        let is_common = matches!(kind, IcmpErrorKind::Unreachable { code: 0..=3 });
        let odd = [
            (Flaw::DropsErrors, true),
            (Flaw::DropsCodes, !is_common),
            (Flaw::DropsExtensions, extended),
            (Flaw::DropsQuotesWithOptions, has_options),
            (Flaw::ChecksQuotedTransport, !packets::quoted_datagram_is_right(packet, quoted)),
            (Flaw::DropsErrorsOfRouters, packet.ip.src != quoted.dst),
        ];
        let right = checksum::verify(&packet.ip, &packet.frame) == L4Checksum::Correct
            || self.is(Flaw::TakesDamaged);
        let quoted_right =
            quote.is_ok_and(|it| it.checksum_is_correct()) || self.is(Flaw::TakesDamagedQuotes);
        right && quoted_right && !odd.iter().any(|(flaw, it)| *it && self.is(*flaw))
    }

    fn error_inward(&mut self, packet: &Packet, kind: IcmpErrorKind) {
        let Ok(quoted) = Quoted::parse(&packet.ip, &packet.frame) else { return };
        let Some(about) = quoted.tuple else { return };
        if !self.accepts(packet, kind, &quoted) {
            return;
        }
        let Some(number) = self.mappings.back(quoted.protocol, about.src, about.dst) else {
            if self.is(Flaw::TakesErrorsAboutNothing) {
                let frame = readdress(packet, None, Some((CLIENTS[0], 0).into()));
                self.sent[1].push_back(frame);
            }
            return;
        };
        let client = self.mappings.get(number).client;
        let mut frame = readdress(packet, None, Some(client));
        if !self.is(Flaw::LeavesQuotes) {
            quoting(&mut frame, Some(client), None);
        }
        mark(&mut frame, (false, false), false, None);
        self.sent[1].push_back(frame);
        if self.is(Flaw::EndsByError) {
            self.mappings.end(number);
        }
    }

    fn error_outward(&mut self, packet: &Packet) {
        let Ok(quoted) = Quoted::parse(&packet.ip, &packet.frame) else { return };
        let Some(about) = quoted.tuple else { return };
        if external(about.src.ip()) {
            return self.error_hairpinned(packet, &quoted, (about.src, about.dst));
        }
        let known = self.mappings.out(quoted.protocol, about.dst, about.src);
        let source = known.map(|number| self.mappings.get(number).external);
        if self.is(Flaw::DropsErrors)
            || self.is(Flaw::DropsErrorsOfRoutersInside) && packet.ip.src != about.dst.ip()
        {
            return;
        }
        if self.is(Flaw::LeaksErrorsInside) {
            self.sent[0].push_back(packet.frame.clone());
            return;
        }
        let Some(external) = source else { return };
        let mut frame = readdress(packet, Some(external), None);
        if !self.is(Flaw::LeavesQuotes) {
            quoting(&mut frame, None, Some(external));
        }
        self.sent[0].push_back(frame);
    }

    fn error_hairpinned(
        &mut self,
        packet: &Packet,
        quoted: &Quoted,
        (sender, listener): (SocketAddr, SocketAddr),
    ) {
        if self.is(Flaw::DropsHairpinnedErrors) || self.is(Flaw::DropsErrors) {
            return;
        }
        let of_listener = self.mappings.out(quoted.protocol, listener, sender);
        let Some(external) = of_listener.map(|it| self.mappings.get(it).external) else { return };
        let Some(number) = self.mappings.back(quoted.protocol, sender, external) else { return };
        let client = self.mappings.get(number).client;
        let mut frame = readdress(packet, Some(external), Some(client));
        if !self.is(Flaw::LeavesQuotes) {
            quoting(&mut frame, Some(client), Some(external));
        }
        self.sent[1].push_back(frame);
    }
}

/// A segment's flags.
fn flags(packet: &Packet) -> Option<TcpFlags> {
    match packet.ip.transport {
        Transport::Tcp { flags, .. } => Some(flags),
        _ => None,
    }
}
