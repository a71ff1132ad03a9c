//! Packets that come in fragments: the first of a datagram is a packet like any other, and leads
//! the others the way it goes ([`crate::fragment`]).
//!
//! A transport checksum covers the whole datagram, so nobody on the way can verify it; adjusted by
//! difference (RFC 1624) it stays as right as it was.

use super::Engine;
use super::carried::Carried;
use super::flows::action_of;
use super::ingress::Punted;
use crate::fast_path::FastPath;
use crate::flow::Claims;
use crate::fragment::{Arrival, DatagramKey, Way};
use crate::id::PortId;
use crate::packet::headers::{Fragment, Headers, IpHeaders};
use crate::packet::{Part, Udp};
use crate::time::Time;
use crate::tuple::{FlowKey, Protocol};
use crate::verdict::{Drop, Verdict};

impl Engine {
    /// Takes a fragment whose source may be what it says.
    pub(super) fn fragment(
        &mut self,
        now: Time,
        packet: &Punted<'_>,
        headers: &Headers,
        ip: &IpHeaders,
        fast_path: &mut dyn FastPath,
    ) -> Verdict {
        // In IPv6 only the first fragment says what the datagram is.
        if ip.is_ipv4() && Protocol::from_number(ip.protocol).is_none() {
            return Verdict::Dropped(Drop::Protocol);
        }
        let part = Part::parse(ip, packet.frame);
        let (Some(part), Fragment::First { id } | Fragment::Later { id, .. }) = (part, ip.fragment)
        else {
            return Verdict::Dropped(Drop::FragmentInvalid);
        };
        let datagram = DatagramKey {
            port: packet.port,
            src: ip.src,
            dst: ip.dst,
            protocol: ip.is_ipv4().then_some(ip.protocol),
            identification: id,
        };
        let verdict = match self.fragments.arrive(now, datagram, part, packet.frame) {
            Arrival::First { identification, before } => {
                let tuple = ip.tuple().map(|tuple| FlowKey { port: packet.port, tuple });
                if before.is_some_and(|way| Some(way.key) != tuple) {
                    self.fragments.refuse(&datagram, Drop::FragmentOverlap);
                    Verdict::Dropped(Drop::FragmentOverlap)
                } else {
                    let identification = Some(identification);
                    let frame = packet.frame.to_vec();
                    let carried = Carried { frame, ip, segment_size: 0, identification };
                    self.first_fragment(now, packet, &datagram, headers, carried, fast_path)
                }
            }
            Arrival::Follows { way, identification } => {
                let (frame, identification) = (packet.frame.to_vec(), Some(identification));
                let carried = Carried { frame, ip, segment_size: 0, identification };
                self.later_fragment(now, &way, carried, fast_path)
            }
            Arrival::Waits => Verdict::Queued,
            Arrival::Dropped(reason) => Verdict::Dropped(reason),
        };
        self.count_lost_fragments();
        verdict
    }

    /// Sends the first fragment of a datagram on, and behind it those that have waited for it.
    fn first_fragment(
        &mut self,
        now: Time,
        packet: &Punted<'_>,
        datagram: &DatagramKey,
        headers: &Headers,
        carried: Carried<'_>,
        fast_path: &mut dyn FastPath,
    ) -> Verdict {
        let identification = carried.identification;
        let tuple = carried.ip.tuple();
        let verdict = if is_udp6_without_checksum(&carried) {
            Verdict::Dropped(Drop::BadChecksum)
        } else {
            self.flow_packet(now, packet, headers, carried, fast_path)
        };
        let went = matches!(verdict, Verdict::Forwarded | Verdict::Queued);
        let way = tuple.filter(|_| went).and_then(|tuple| {
            let key = FlowKey { port: datagram.port, tuple };
            self.way_of(&key)
        });
        let Some(way) = way else {
            self.fragments.refuse(datagram, Drop::FragmentRefused);
            return verdict;
        };
        for frame in self.fragments.lead(datagram, way) {
            self.counters.dequeued += 1;
            let verdict = match Headers::parse(&frame).as_ref().map(Headers::ip) {
                Ok(Some(ip)) => {
                    let carried = Carried { frame, ip, segment_size: 0, identification };
                    self.later_fragment(now, &way, carried, fast_path)
                }
                _ => Verdict::Dropped(Drop::Malformed),
            };
            self.counters.verdict(verdict);
        }
        verdict
    }

    /// Sends a fragment that is not the first the way of the first.
    fn later_fragment(
        &mut self,
        now: Time,
        way: &Way,
        carried: Carried<'_>,
        fast_path: &mut dyn FastPath,
    ) -> Verdict {
        // RFC 1122 3.2.2 forbids errors about it, so the sender hears of the first one's end only.
        if carried.ip.ttl <= 1 {
            return Verdict::Dropped(Drop::TimeToLive);
        }
        if self.way_of(&way.key) != Some(*way) {
            return Verdict::Dropped(Drop::FragmentRefused);
        }
        self.carry_known(now, way.flow, way.direction, carried, fast_path)
    }

    /// The way of what is found by this key, as it is now.
    fn way_of(&self, key: &FlowKey) -> Option<Way> {
        let (flow, direction) = self.flows.find(key)?;
        let rewrite = action_of(&self.flows.get(flow)?, direction).rewrite;
        Some(Way { flow, direction, key: *key, rewrite })
    }

    /// Whether the functions on the way of a flow forward fragments of its packets.
    pub(super) fn forward_fragments(&self, claims: &Claims, protocol: Protocol) -> bool {
        claims.iter().all(|(function, claim)| {
            self.functions[usize::from(function.0)].forwards_fragments(claim, protocol)
        })
    }

    /// A port is gone, or somebody else's: nobody's fragments may follow those of another.
    pub(super) fn forget_fragments(&mut self, port: PortId) {
        self.fragments.forget_port(port);
        self.count_lost_fragments();
    }

    /// Counts the fragments that have waited in vain.
    pub(super) fn count_lost_fragments(&mut self) {
        for reason in self.fragments.take_lost() {
            self.counters.dequeued += 1;
            self.counters.verdict(Verdict::Dropped(reason));
        }
    }
}

/// RFC 8200 8.1: "IPv6 receivers must discard UDP packets containing a zero checksum".
fn is_udp6_without_checksum(carried: &Carried<'_>) -> bool {
    let udp = Udp::new_first_fragment(carried.ip.transport_bytes(&carried.frame));
    !carried.ip.is_ipv4()
        && carried.ip.protocol == Protocol::Udp.number()
        && udp.is_ok_and(|udp| udp.checksum() == 0)
}
