//! One punted packet, from its bytes to its verdict.

use std::net::IpAddr;

use super::Engine;
use super::carried::Carried;
use super::ports::Role;
use super::public::is_inside;
use crate::fast_path::soft::FrameMeta;
use crate::fast_path::{Direction, FastPath};
use crate::id::PortId;
use crate::packet::checksum::{self, L4Checksum};
use crate::packet::headers::{Content, Fragment, Headers, IpHeaders, Transport};
use crate::packet::{MacAddr, TcpFlags, fragment};
use crate::pipeline::FlowEnd;
use crate::time::Time;
use crate::tuple::FlowKey;
use crate::verdict::{Drop, Punt, Verdict};
use crate::vpc::{Owner, PortRole};

impl Engine {
    /// Takes one packet that the fast path handed over, and says what became of it.
    pub fn packet(
        &mut self,
        now: Time,
        port: PortId,
        reason: Punt,
        meta: FrameMeta,
        frame: &[u8],
        fast_path: &mut dyn FastPath,
    ) -> Verdict {
        self.counters.punts[reason as usize] += 1;
        let verdict = self.judge(now, port, reason, meta, frame, fast_path);
        self.counters.verdict(verdict);
        self.drive_neighbours(now, fast_path);
        verdict
    }

    fn judge(
        &mut self,
        now: Time,
        port: PortId,
        reason: Punt,
        meta: FrameMeta,
        frame: &[u8],
        fast_path: &mut dyn FastPath,
    ) -> Verdict {
        let Ok(headers) = Headers::parse(frame) else {
            return Verdict::Dropped(Drop::Malformed);
        };
        match self.ports.get(port).map(|port| port.role) {
            None | Some(Role::Unused | Role::Resource(PortRole::Vacant(_))) => {
                return Verdict::Dropped(Drop::UnknownPort);
            }
            Some(_) => {}
        }
        match headers.content {
            Content::Arp => self.arp(now, port, &headers, frame, fast_path),
            Content::Ip(ip) => {
                let packet = Punted { port, reason, meta, frame };
                self.ip(now, &packet, &headers, &ip, fast_path)
            }
            Content::Other(_) => Verdict::Dropped(Drop::NotServed),
        }
    }

    fn ip(
        &mut self,
        now: Time,
        packet: &Punted<'_>,
        headers: &Headers,
        ip: &IpHeaders,
        fast_path: &mut dyn FastPath,
    ) -> Verdict {
        if !checksum::ipv4_header_is_correct(ip, packet.frame) {
            return Verdict::Dropped(Drop::BadChecksum);
        }
        let ndp = matches!(ip.transport, Transport::Ndp { .. });
        // RFC 4862 5.4.2: a probe for a duplicate address comes from the unspecified one.
        let probe = ndp && ip.src.is_unspecified();
        if ip.source_is_impossible() && !probe {
            return Verdict::Dropped(Drop::SourceCheck);
        }
        if ndp {
            return self.ndp(now, packet.port, headers, ip, packet.frame, fast_path);
        }
        if ip.has_options && !ip.is_ipv4() && !fragment::is_alone(ip, packet.frame) {
            return Verdict::Dropped(Drop::ExtensionHeader);
        }
        if !self.may_have_source(packet.port, headers, ip.src) {
            return Verdict::Dropped(Drop::SourceCheck);
        }
        if ip.fragment != Fragment::None {
            return self.fragment(now, packet, headers, ip, fast_path);
        }
        let Some(frame) = with_whole_checksum(packet.frame, ip) else {
            return Verdict::Dropped(Drop::BadChecksum);
        };
        if let Transport::IcmpError { .. } = ip.transport {
            return self.icmp_error(now, packet.port, ip, frame, fast_path);
        }
        let segment_size = packet.meta.segment_size;
        let carried = Carried { frame, ip, segment_size, identification: None };
        self.flow_packet(now, packet, headers, carried, fast_path)
    }

    /// A packet with a transport header.
    pub(super) fn flow_packet(
        &mut self,
        now: Time,
        packet: &Punted<'_>,
        headers: &Headers,
        carried: Carried<'_>,
        fast_path: &mut dyn FastPath,
    ) -> Verdict {
        let Some(tuple) = carried.ip.tuple() else {
            return Verdict::Dropped(match carried.ip.transport {
                Transport::IcmpError { .. } | Transport::OtherIcmp { .. } => Drop::NotServed,
                _ => Drop::Protocol,
            });
        };
        if tcp_flags_contradict(carried.ip) {
            return Verdict::Dropped(Drop::Malformed);
        }
        let key = FlowKey { port: packet.port, tuple };
        let known = self.flows.find(&key).or_else(|| self.find_made(now, &key, fast_path));
        if known.is_none()
            && let Some(verdict) = self.for_the_gateway(now, &key, &carried, fast_path)
        {
            return verdict;
        }
        // RFC 1812 5.3.1: "If the TTL is reduced to zero (or less), the packet MUST be discarded,
        // and if the destination is not a multicast address the router MUST send an ICMP Time
        // Exceeded message".
        if carried.ip.ttl <= 1 {
            self.report_time_exceeded(now, key.port, &carried.frame, fast_path);
            return Verdict::Dropped(Drop::TimeToLive);
        }
        let Some((id, direction)) = known else {
            return self.open(now, key, headers, carried, fast_path);
        };
        // A new connection on the addresses of one that is over is a new flow: another port, perhaps
        // another target. One that is not over yet gets the packet and answers for itself. The far
        // side opens nothing, or it could end flows with a forged SYN.
        let may_reopen = match packet.reason {
            Punt::Reopen => true,
            // The fast path has not looked at its flags.
            Punt::Fragment => TcpFlags(carried.tcp_flags()).opens(),
            _ => false,
        };
        if may_reopen
            && direction == Direction::Forward
            && self.flow(id, fast_path).is_some_and(|view| view.phase.may_reopen())
        {
            self.end_flow(now, id, FlowEnd::Reopened, fast_path);
            return self.open(now, key, headers, carried, fast_path);
        }
        // The packet came before its flow's entry did, or its entry could not forward it.
        if packet.reason == Punt::Stale && !self.revalidate(now, id, fast_path) {
            return self.open(now, key, headers, carried, fast_path);
        }
        self.carry_known(now, id, direction, carried, fast_path)
    }

    /// Whether a packet is for the gateway itself, and what becomes of it then.
    fn for_the_gateway(
        &mut self,
        now: Time,
        key: &FlowKey,
        carried: &Carried<'_>,
        fast_path: &mut dyn FastPath,
    ) -> Option<Verdict> {
        let dst = key.tuple.dst.ip();
        let port = self.ports.get(key.port)?;
        let role = port.role;
        if self.is_gateway_address(port, dst) {
            return Some(self.answer_echo(key, carried, fast_path));
        }
        let (vpc, _) = self.subnet_of(role)?;
        let ix = self.snapshot.eni_at(vpc, dst)?;
        let eni = self.snapshot.eni(ix);
        if eni.owner == Owner::Instance {
            return None;
        }
        // Functions take whole packets only.
        if carried.ip.fragment != Fragment::None {
            return None;
        }
        let function = self.function(eni.interface_type)?;
        let taken = self.functions[usize::from(function.0)].receive(now, ix, &carried.frame);
        taken.then_some(Verdict::Consumed)
    }

    /// EC2's source check, and what else a port may not send as.
    fn may_have_source(&self, port: PortId, headers: &Headers, src: IpAddr) -> bool {
        let Some(role) = self.ports.get(port).map(|port| port.role) else { return false };
        self.may_have_mac(port, headers.src_mac) && self.may_be_from(role, src)
    }

    /// Whether frames with this source MAC address may come in by a port.
    pub(super) fn may_have_mac(&self, port: PortId, mac: MacAddr) -> bool {
        self.held_mac(port).is_none_or(|own| own == mac)
    }

    /// Whether a packet from `src` may come in by a port of this role.
    pub(super) fn may_be_from(&self, role: Role, src: IpAddr) -> bool {
        let link_local = matches!(src, IpAddr::V6(src) if src.is_unicast_link_local());
        match role {
            Role::Resource(PortRole::Eni(eni)) => {
                let eni = self.snapshot.eni(eni);
                !eni.source_dest_check || eni.has_address(src) || link_local
            }
            Role::Resource(PortRole::Segment(subnet)) => {
                self.is_host_of_segment(subnet, src) || link_local
            }
            // From outside anyone may come, but not as one of us.
            Role::Resource(PortRole::Uplink(_)) => !is_inside(&self.snapshot, src),
            Role::Environment(_) => true,
            Role::Unused | Role::Resource(PortRole::Vacant(_)) => false,
        }
    }

    /// Whether `ip` may be a host on the segment of `subnet`: in the subnet, and not an address
    /// that is the router's, a function's, or behind a port of its own.
    pub(super) fn is_host_of_segment(&self, subnet: crate::vpc::SubnetIx, ip: IpAddr) -> bool {
        let view = self.snapshot.subnet(subnet);
        if !view.contains(ip) || view.is_reserved(ip) {
            return false;
        }
        match self.snapshot.eni_at(view.vpc, ip) {
            None => true,
            Some(eni) => self.snapshot.eni(eni).is_on_segment(),
        }
    }
}

/// What the fast path handed over.
pub(super) struct Punted<'a> {
    pub port: PortId,
    reason: Punt,
    meta: FrameMeta,
    pub frame: &'a [u8],
}

/// A copy of the frame with a whole transport checksum, or `None` if the packet is corrupt.
///
/// A sender that left the checksum to its interface leaves the pseudo-header's sum in the field,
/// which is completed here. Anything else that is wrong was damaged on its way, and a fresh
/// checksum would hide that.
fn with_whole_checksum(frame: &[u8], ip: &IpHeaders) -> Option<Vec<u8>> {
    let mut frame = frame.to_vec();
    let whole = match checksum::verify(ip, &frame) {
        L4Checksum::Correct | L4Checksum::Absent | L4Checksum::Unchecked => true,
        L4Checksum::PseudoHeaderOnly => checksum::complete(ip, &mut frame),
        L4Checksum::Wrong => false,
    };
    whole.then_some(frame)
}

/// SYN with FIN or RST: no state of RFC 9293 sends it.
fn tcp_flags_contradict(ip: &IpHeaders) -> bool {
    let Transport::Tcp { flags, .. } = ip.transport else { return false };
    flags.contains(TcpFlags::SYN)
        && (flags.contains(TcpFlags::FIN) || flags.contains(TcpFlags::RST))
}
