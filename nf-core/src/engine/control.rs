//! What the gateway says for itself: ARP and NDP answers and questions, echo replies, and what it
//! tells senders of packets that could not go on.
//!
//! An answer for an address is only given where the address is the gateway's to speak for, and
//! what a message claims is only believed where the sender may have that address.

use std::net::IpAddr;

use super::Engine;
use super::carried::Carried;
use super::flow_log::Came;
use super::ports::Role;
use super::public::{is_inside, is_reached};
use super::walk::Stopped;
use crate::action::ETHERNET_LEN;
use crate::fast_path::soft::STATE_FLAGS;
use crate::fast_path::{FastPath, Transmit, Usage};
use crate::id::PortId;
use crate::neighbour::{Solicitation, Waiting};
use crate::packet::arp::{Arp, Operation};
use crate::packet::build;
use crate::packet::headers::{Headers, IpHeaders, Transport};
use crate::packet::icmp::IcmpErrorKind;
use crate::packet::{MacAddr, NeighbourMessage, checksum};
use crate::pipeline::Originated;
use crate::time::Time;
use crate::tuple::FlowKey;
use crate::verdict::{Drop, Verdict};
use crate::vpc::PortRole;

impl Engine {
    pub(super) fn arp(
        &mut self,
        now: Time,
        port: PortId,
        headers: &Headers,
        frame: &[u8],
        fast_path: &mut dyn FastPath,
    ) -> Verdict {
        let payload = frame.get(ETHERNET_LEN..).unwrap_or_default();
        let Ok(arp) = Arp::new_checked(payload) else {
            return Verdict::Dropped(Drop::Malformed);
        };
        let (sender, target) = (arp.sender_ip(), arp.target_ip());
        // RFC 5227 1.1: a probe's sender address is all zeroes; it claims nothing yet.
        let probe = sender.is_unspecified();
        let is_own = probe || self.may_claim(port, sender.into(), arp.sender_mac());
        if !is_own || !self.may_have_mac(port, headers.src_mac) {
            return Verdict::Dropped(Drop::NeighbourSpoof);
        }
        if !probe {
            self.learn(now, port, sender.into(), arp.sender_mac(), fast_path);
        }
        if arp.operation() != Operation::Request || sender == target {
            return Verdict::Consumed;
        }
        let Some(mac) = self.answers_for(port, target.into(), probe) else {
            return Verdict::Dropped(Drop::NotServed);
        };
        let reply = build::arp_reply(mac, target, arp.sender_mac(), sender);
        self.answer(port, Some(reply), fast_path);
        Verdict::Consumed
    }

    pub(super) fn ndp(
        &mut self,
        now: Time,
        port: PortId,
        headers: &Headers,
        ip: &IpHeaders,
        frame: &[u8],
        fast_path: &mut dyn FastPath,
    ) -> Verdict {
        if checksum::verify(ip, frame) != checksum::L4Checksum::Correct {
            return Verdict::Dropped(Drop::BadChecksum);
        }
        if !self.may_have_mac(port, headers.src_mac) {
            return Verdict::Dropped(Drop::NeighbourSpoof);
        }
        let IpAddr::V6(sender) = ip.src else { return Verdict::Dropped(Drop::Malformed) };
        match NeighbourMessage::parse(ip, frame) {
            Err(_) => Verdict::Dropped(Drop::Malformed),
            Ok(None) => Verdict::Dropped(Drop::NotServed),
            Ok(Some(NeighbourMessage::Solicitation { target, source_mac })) => {
                let probe = sender.is_unspecified();
                if let Some(mac) = source_mac.filter(|_| !probe) {
                    if !self.may_claim(port, sender.into(), mac) {
                        return Verdict::Dropped(Drop::NeighbourSpoof);
                    }
                    self.learn(now, port, sender.into(), mac, fast_path);
                }
                let Some(mac) = self.answers_for(port, target.into(), probe) else {
                    return Verdict::Dropped(Drop::NotServed);
                };
                let asker = (source_mac.unwrap_or(headers.src_mac), sender);
                let answered = Some(asker).filter(|_| !probe);
                let reply = build::neighbour_advertisement(mac, target, true, answered);
                self.answer(port, Some(reply), fast_path);
                Verdict::Consumed
            }
            Ok(Some(NeighbourMessage::Advertisement { target, target_mac, .. })) => {
                let mac = target_mac.unwrap_or(headers.src_mac);
                if !self.may_claim(port, target.into(), mac) {
                    return Verdict::Dropped(Drop::NeighbourSpoof);
                }
                self.learn(now, port, target.into(), mac, fast_path);
                Verdict::Consumed
            }
        }
    }

    /// Whether whoever is on `port` may say that `ip` is at `mac`.
    fn may_claim(&self, port: PortId, ip: IpAddr, mac: MacAddr) -> bool {
        let Some(port) = self.ports.get(port) else { return false };
        if !mac.is_unicast() || self.is_gateway_address(port, ip) {
            return false;
        }
        let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        match port.role {
            Role::Resource(PortRole::Eni(eni)) => {
                let eni = self.snapshot.eni(eni);
                eni.mac.is_none_or(|own| own == mac) && (link_local || eni.has_address(ip))
            }
            Role::Resource(PortRole::Segment(subnet)) => {
                link_local || self.is_host_of_segment(subnet, ip)
            }
            Role::Resource(PortRole::Uplink(_)) => !is_inside(&self.snapshot, ip),
            // Its own address is its own affair: nothing is ever sent by it.
            Role::Environment(_) => true,
            Role::Unused | Role::Resource(PortRole::Vacant(_)) => false,
        }
    }

    /// The MAC address to answer with, if `target` is the gateway's to answer for on `port`.
    fn answers_for(&self, port: PortId, target: IpAddr, probe: bool) -> Option<MacAddr> {
        let port = self.ports.get(port)?;
        let answers = self.is_gateway_address(port, target)
            || match port.role {
                Role::Resource(PortRole::Uplink(_)) => is_reached(&self.snapshot, target),
                Role::Resource(PortRole::Segment(subnet)) => {
                    let view = self.snapshot.subnet(subnet);
                    view.contains(target)
                        && self.snapshot.eni_at(view.vpc, target).is_some()
                        && !self.is_host_of_segment(subnet, target)
                }
                // A link with one instance: the gateway stands for everybody else in the subnet.
                Role::Resource(PortRole::Eni(own)) => {
                    let eni = self.snapshot.eni(own);
                    let subnet = self.snapshot.subnet(eni.subnet);
                    !eni.has_address(target)
                        && subnet.contains(target)
                        && (self.snapshot.eni_at(eni.vpc, target).is_some()
                            || subnet.port.is_some())
                }
                // Environments are clones that may have been made anywhere: whatever they believe
                // to be on their link, the gateway is. A probe asks for the environment's own
                // address and must not be answered.
                Role::Environment(_) => !probe,
                Role::Unused | Role::Resource(PortRole::Vacant(_)) => false,
            };
        answers.then_some(port.info.mac)
    }

    fn learn(
        &mut self,
        now: Time,
        port: PortId,
        ip: IpAddr,
        mac: MacAddr,
        fast_path: &mut dyn FastPath,
    ) {
        let mut changes = std::mem::take(&mut self.scratch.changes);
        changes.extend(self.neighbours.learn(now, port, ip, mac));
        self.apply_changes(&mut changes, fast_path);
        self.scratch.changes = changes;
    }

    /// Asks and gives up, as is due.
    pub(super) fn drive_neighbours(&mut self, now: Time, fast_path: &mut dyn FastPath) {
        if self.neighbours.next_deadline().is_none_or(|due| due > now) {
            return;
        }
        let mut ask = std::mem::take(&mut self.scratch.ask);
        let mut changes = std::mem::take(&mut self.scratch.changes);
        self.neighbours.advance(now, &mut ask, &mut changes);
        self.apply_changes(&mut changes, fast_path);
        for question in ask.drain(..) {
            self.solicit(question, fast_path);
        }
        self.scratch.ask = ask;
        self.scratch.changes = changes;
    }

    fn solicit(&mut self, question: Solicitation, fast_path: &mut dyn FastPath) {
        let Some(port) = self.ports.get(question.port) else { return };
        let from = self.gateway_address(port.role, question.target);
        let mac = port.info.mac;
        let mut frame = match question.target {
            IpAddr::V4(target) => {
                let Some(IpAddr::V4(from)) = from else { return };
                build::arp_request(mac, from, target)
            }
            IpAddr::V6(target) => build::neighbour_solicitation(mac, port.link_local(), target),
        };
        // RFC 4861 7.3.3 and RFC 1122 2.3.2.1 (2): one that was known is asked by itself.
        if let Some(known) = question.known {
            frame[..6].copy_from_slice(known.as_bytes());
        }
        self.counters.solicitations += 1;
        fast_path.transmit(Transmit { port: question.port, frame });
    }

    /// A packet to an address of the gateway's own: only echo is served.
    pub(super) fn answer_echo(
        &mut self,
        key: &FlowKey,
        carried: &Carried<'_>,
        fast_path: &mut dyn FastPath,
    ) -> Verdict {
        // A request has its identifier as the source port; an answer to us has none there.
        let asked = key.tuple.protocol.is_echo() && key.tuple.dst.port() == 0;
        if !asked || carried.segment_size != 0 {
            return Verdict::Dropped(Drop::NotServed);
        }
        match build::echo_reply(&carried.frame) {
            Some(reply) => {
                self.answer(key.port, Some(reply), fast_path);
                Verdict::Consumed
            }
            None => Verdict::Dropped(Drop::NotServed),
        }
    }

    pub(super) fn answer_reset(
        &mut self,
        now: Time,
        port: PortId,
        frame: &[u8],
        fast_path: &mut dyn FastPath,
    ) {
        if self.may_report(now, port) {
            self.answer(port, build::tcp_reset(frame), fast_path);
        }
    }

    pub(super) fn report_time_exceeded(
        &mut self,
        now: Time,
        port: PortId,
        frame: &[u8],
        fast_path: &mut dyn FastPath,
    ) {
        self.report(now, port, frame, IcmpErrorKind::TimeExceeded { code: 0 }, fast_path);
    }

    /// RFC 1191 and RFC 8201: the sender learns what the next hop takes.
    pub(super) fn report_too_big(
        &mut self,
        now: Time,
        port: PortId,
        frame: &[u8],
        mtu: u16,
        fast_path: &mut dyn FastPath,
    ) {
        let kind = IcmpErrorKind::PacketTooBig { mtu: u32::from(mtu) };
        self.report(now, port, frame, kind, fast_path);
    }

    /// RFC 1812 5.2.7.1: "13 = Communication Administratively Prohibited". Hosts end the attempt at
    /// once, where most other codes have them go on trying.
    pub(super) fn report_prohibited(
        &mut self,
        now: Time,
        key: &FlowKey,
        frame: &[u8],
        fast_path: &mut dyn FastPath,
    ) {
        let code = if key.tuple.is_ipv4() { 13 } else { 1 };
        self.report(now, key.port, frame, IcmpErrorKind::Unreachable { code }, fast_path);
    }

    /// Sends an ICMP error about `frame` to where it came from.
    pub(super) fn report(
        &mut self,
        now: Time,
        port: PortId,
        frame: &[u8],
        kind: IcmpErrorKind,
        fast_path: &mut dyn FastPath,
    ) {
        let Ok(headers) = Headers::parse(frame) else { return };
        let (Some(ip), Some(view)) = (headers.ip(), self.ports.get(port)) else { return };
        let Some(from) = self.gateway_address(view.role, ip.src) else { return };
        if self.may_report(now, port) {
            self.answer(port, build::icmp_error(frame, kind, from), fast_path);
        }
    }

    /// Sends an answer, if there may be one, from the port's own MAC address.
    pub(super) fn answer(
        &mut self,
        port: PortId,
        frame: Option<Vec<u8>>,
        fast_path: &mut dyn FastPath,
    ) {
        let (Some(mut frame), Some((mac, _))) = (frame, self.port_link(port)) else { return };
        frame[6..12].copy_from_slice(mac.as_bytes());
        self.counters.answers += 1;
        fast_path.transmit(Transmit { port, frame });
    }

    /// Sends a packet that a function made, as its ENI.
    pub(super) fn originate(
        &mut self,
        now: Time,
        packet: Originated,
        fast_path: &mut dyn FastPath,
    ) {
        self.counters.originated += 1;
        let verdict = self.send_originated(now, packet, fast_path);
        self.counters.verdict(verdict);
    }

    fn send_originated(
        &mut self,
        now: Time,
        Originated { eni, mut frame }: Originated,
        fast_path: &mut dyn FastPath,
    ) -> Verdict {
        let first = Headers::parse(&frame).ok().and_then(|headers| {
            let ip = headers.ip()?;
            let tcp_flags = match ip.transport {
                Transport::Tcp { flags, .. } => flags.0,
                _ => 0,
            };
            Some((ip.tuple()?, tcp_flags))
        });
        let Some((tuple, tcp_flags)) = first else { return Verdict::Dropped(Drop::NoRoute) };
        let (port, hop) = match self.way_from(now, eni, tuple) {
            Ok(way) => way,
            Err(Stopped { why, rejected, .. }) => {
                if let Some(passage) = rejected {
                    let bytes = frame.len().saturating_sub(ETHERNET_LEN) as u64;
                    let usage = Usage {
                        last_seen: now.tick(),
                        packets: 1,
                        bytes,
                        tcp_flags: tcp_flags & STATE_FLAGS,
                    };
                    self.rejected(&passage, usage);
                    let came = Came { port: None, tuple, usage, tcp_flags };
                    self.log_rejected(now, &passage, &came);
                }
                return Verdict::Dropped(why.reason());
            }
        };
        let Some((mac, _)) = self.port_link(port) else {
            return Verdict::Dropped(Drop::PortGone);
        };
        let Some(slot) = self.next_hop_slot(now, port, hop, fast_path) else {
            return Verdict::Dropped(Drop::AdjacencyTableFull);
        };
        frame[6..12].copy_from_slice(mac.as_bytes());
        self.send_or_wait(now, port, slot, Waiting { frame, segment_size: 0 }, fast_path)
    }
}
