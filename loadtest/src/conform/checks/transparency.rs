//! What a router owes every packet (RFC 1812, RFC 2474, RFC 3168) and a NAT is no exception from.

use nf_core::packet::{Frame, Ipv4};

use crate::conform::check::{Check, Level, Verdict};
use crate::conform::probe::{Probe, udp};
use crate::error::Error;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "RFC1812-5.3.1",
        level: Level::Must,
        asks: "the time to live is one less behind the gateway",
        run: time_to_live,
    },
    Check {
        id: "RFC3168-ECN",
        level: Level::Must,
        asks: "DSCP and ECN are left as they are",
        run: traffic_class,
    },
    Check {
        id: "RFC1812-DF",
        level: Level::Must,
        asks: "\"don't fragment\" is left as it is",
        run: dont_fragment,
    },
];

/// Sends a datagram out; what `look` finds in it there.
fn sent<T>(
    probe: &mut Probe,
    shape: impl FnOnce(
        Frame<nf_core::packet::build::UdpDatagram>,
    ) -> Frame<nf_core::packet::build::UdpDatagram>,
    look: impl Fn(&crate::conform::end::Packet) -> Option<T>,
) -> Result<Option<T>, Error> {
    let (port, tag) = (probe.port(), probe.tag());
    let (mac, gateway) = probe.inside.macs();
    let frame = Frame::udp(probe.client(0, port), probe.server(0, 0)).payload(tag.clone());
    let frame = shape(frame).macs(mac, gateway).build();
    probe.inside.send(&frame)?;
    probe.outside.expect(Probe::patience(), |packet| {
        udp(packet).filter(|it| it.payload == tag).and_then(|_| look(packet))
    })
}

fn time_to_live(probe: &mut Probe) -> Result<Verdict, Error> {
    let seen = sent(probe, |frame| frame.ttl(61), |packet| Some(packet.ip.ttl))?;
    Ok(Verdict::of(seen == Some(60), format!("61 was {seen:?}")))
}

fn traffic_class(probe: &mut Probe) -> Result<Verdict, Error> {
    // Expedited forwarding; ECT(0).
    const CLASS: u8 = 46 << 2 | 2;
    let seen = sent(probe, |frame| frame.traffic_class(CLASS), |it| Some(it.ip.traffic_class))?;
    Ok(Verdict::of(seen == Some(CLASS), format!("{CLASS:#04x} was {seen:02x?}")))
}

fn dont_fragment(probe: &mut Probe) -> Result<Verdict, Error> {
    let look = |packet: &crate::conform::end::Packet| {
        let header = packet.frame.get(packet.ip.l3_offset..packet.ip.end())?;
        Some(Ipv4::new_checked(header).ok()?.dont_fragment())
    };
    let set = sent(probe, |frame| frame, look)?;
    let clear = sent(probe, Frame::may_fragment, look)?;
    let kept = (set, clear) == (Some(true), Some(false));
    Ok(Verdict::of(kept, format!("set it was {set:?}, clear {clear:?}")))
}
