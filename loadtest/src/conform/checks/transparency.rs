//! What a router owes every packet (RFC 1812, RFC 2474, RFC 3168) and a NAT is no exception from.

use nf_core::packet::build::UdpDatagram;
use nf_core::packet::{Frame, Ipv4};

use super::nothing_outside;
use crate::conform::check::{Check, Verdict, Way};
use crate::conform::end::Packet;
use crate::conform::probe::{NEVER, Probe, SOON, udp};
use crate::error::Error;

pub(super) const CHECKS: &[Check] = &[
    Check::must(
        "RFC1812-5.3.1",
        "the time to live is one less behind the gateway, both ways",
        Way::Probe(|probe| both(probe, time_to_live_out, time_to_live_back)),
    ),
    Check::must(
        "RFC3168-ECN",
        "DSCP and ECN are left as they are, both ways",
        Way::Probe(|probe| both(probe, traffic_class_out, traffic_class_back)),
    ),
    Check::must("RFC1812-DF", "\"don't fragment\" is left as it is", Way::Probe(dont_fragment)),
];

type Shape = fn(Frame<UdpDatagram>) -> Frame<UdpDatagram>;

/// Sends a datagram out; what `look` finds in it there.
pub(super) fn out<T>(
    probe: &mut Probe,
    payload: &[u8],
    shape: Shape,
    look: impl Fn(&Packet) -> Option<T>,
) -> Result<Option<T>, Error> {
    let (client, server) = probe.pair();
    let frame = shape(Frame::udp(client, probe.plan.named(server)).payload(payload));
    probe.inside.send(&frame.build())?;
    probe.outside.expect(SOON, |packet| {
        udp(packet).filter(|it| it.payload == payload && it.to == server).and_then(|_| look(packet))
    })
}

/// Opens a mapping and sends a datagram to it from outside; what `look` finds in it inside.
pub(super) fn back<T>(
    probe: &mut Probe,
    shape: Shape,
    look: impl Fn(&Packet) -> Option<T>,
) -> Result<Option<T>, Error> {
    let (client, server) = probe.pair();
    let Some(external) = probe.out(client, server)? else { return Ok(None) };
    let tag = probe.tag();
    let frame = shape(Frame::udp(server, external).payload(tag.clone()));
    probe.outside.send(&frame.build())?;
    probe.inside.expect(NEVER, |packet| {
        udp(packet).filter(|it| it.payload == tag).and_then(|_| look(packet))
    })
}

fn both(
    probe: &mut Probe,
    out: fn(&mut Probe) -> Result<Verdict, Error>,
    back: fn(&mut Probe) -> Result<Verdict, Error>,
) -> Result<Verdict, Error> {
    let (out, back) = (out(probe)?, back(probe)?);
    let met = [&out, &back].into_iter().all(|it| matches!(it, Verdict::Pass(_)));
    Ok(Verdict::of(met, format!("out: {}; back: {}", out.why(), back.why())))
}

const TTL: u8 = 61;

fn one_less(seen: Option<u8>) -> Verdict {
    let told = seen.map_or_else(|| "nothing came".to_owned(), |it| format!("{TTL} was {it}"));
    Verdict::of(seen == Some(TTL - 1), told)
}

pub(super) fn time_to_live_out(probe: &mut Probe) -> Result<Verdict, Error> {
    let tag = probe.tag();
    Ok(one_less(out(probe, &tag, |frame| frame.ttl(TTL), |packet| Some(packet.ip.ttl))?))
}

pub(super) fn time_to_live_back(probe: &mut Probe) -> Result<Verdict, Error> {
    Ok(one_less(back(probe, |frame| frame.ttl(TTL), |packet| Some(packet.ip.ttl))?))
}

/// Expedited forwarding; ECT(0).
const CLASS: u8 = 46 << 2 | 2;

fn same_class(seen: Option<u8>) -> Verdict {
    let told = |it| format!("{CLASS:#04x} was {it:#04x}");
    Verdict::of(seen == Some(CLASS), seen.map_or_else(|| "nothing came".to_owned(), told))
}

pub(super) fn traffic_class_out(probe: &mut Probe) -> Result<Verdict, Error> {
    let tag = probe.tag();
    let shape: Shape = |frame| frame.traffic_class(CLASS);
    Ok(same_class(out(probe, &tag, shape, |packet| Some(packet.ip.traffic_class))?))
}

pub(super) fn traffic_class_back(probe: &mut Probe) -> Result<Verdict, Error> {
    let shape: Shape = |frame| frame.traffic_class(CLASS);
    Ok(same_class(back(probe, shape, |packet| Some(packet.ip.traffic_class))?))
}

/// Whether an IPv4 packet must not be fragmented.
pub(super) fn has_dont_fragment(packet: &Packet) -> Option<bool> {
    Some(Ipv4::new_checked(packet.bytes()).ok()?.dont_fragment())
}

fn dont_fragment(probe: &mut Probe) -> Result<Verdict, Error> {
    let tag = probe.tag();
    let set = out(probe, &tag, |frame| frame, has_dont_fragment)?;
    let clear = out(probe, &tag, Frame::may_fragment, has_dont_fragment)?;
    let (Some(set), Some(clear)) = (set, clear) else { return Ok(nothing_outside()) };
    Ok(Verdict::of(set && !clear, format!("set it was {set}, clear it was {clear}")))
}
