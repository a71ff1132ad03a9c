//! RFC 5508, "NAT Behavioral Requirements for ICMP".

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use nf_core::packet::{Frame, IcmpErrorKind, Quoted, Transport, build};

use crate::conform::check::{Check, Level, Verdict};
use crate::conform::probe::{Heard, Probe};
use crate::error::Error;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "RFC5508-REQ-1",
        level: Level::Must,
        asks: "pings go out and their answers come in, from hosts with the same identifier",
        run: pings,
    },
    Check {
        id: "RFC5508-REQ-2",
        level: Level::Must,
        asks: "an answer may come a minute later",
        run: late_answer,
    },
    Check {
        id: "RFC5508-REQ-3",
        level: Level::Should,
        asks: "an error with a wrong checksum is dropped",
        run: damaged,
    },
    Check {
        id: "RFC5508-REQ-4",
        level: Level::Must,
        asks: "an error from outside: the quoted packet as it was sent, type and code kept",
        run: from_outside,
    },
    Check {
        id: "RFC5508-REQ-4-unknown",
        level: Level::Should,
        asks: "an error from outside about no mapping is dropped",
        run: about_nothing,
    },
    Check {
        id: "RFC5508-REQ-5",
        level: Level::Must,
        asks: "an error from inside: the quoted packet as it came, from an address of the NAT",
        run: from_inside,
    },
    Check {
        id: "RFC5508-REQ-10",
        level: Level::Must,
        asks: "time exceeded is sent for a packet whose time to live ends here",
        run: time_exceeded,
    },
];

fn pings(probe: &mut Probe) -> Result<Verdict, Error> {
    let id = probe.port();
    let server = probe.server(0, 0).ip();
    let mut seen = Vec::new();
    for number in 0..2 {
        let client = probe.client(number, 0).ip();
        seen.push(probe.ping(client, server, id)?);
    }
    let answered = seen.iter().all(|it| it.is_some_and(|it| it.is_answered));
    let seen: Vec<_> =
        seen.iter().flatten().map(|it| format!("{} id {}", it.source, it.id)).collect();
    let apart = seen.first() != seen.last();
    Ok(Verdict::of(answered && apart, format!("seen as {}; answered: {answered}", seen.join(", "))))
}

fn late_answer(probe: &mut Probe) -> Result<Verdict, Error> {
    if !probe.plan.slow {
        return Ok(Verdict::NotApplicable("it takes a minute: --slow".to_owned()));
    }
    let id = probe.port();
    let (client, server) = (probe.client(0, 0).ip(), probe.server(0, 0).ip());
    let Some(ping) = probe.ping(client, server, id)? else {
        return Ok(Verdict::Fail("no ping came outside".to_owned()));
    };
    sleep(Duration::from_secs(59));
    let (mac, gateway) = probe.outside.macs();
    let answer = Frame::echo_reply(server, ping.source, ping.id, 2).macs(mac, gateway).build();
    probe.outside.send(&answer)?;
    let came = probe.inside.expect(Probe::patience(), |packet| {
        (packet.ip.transport == Transport::Echo { request: false, id, seq: 2 }).then_some(())
    })?;
    Ok(Verdict::of(came.is_some(), format!("an answer after 59 s came in: {}", came.is_some())))
}

/// Opens a mapping by UDP and sends an error about its datagram from outside, `spoilt` as the caller
/// likes; what the client hears of it.
fn error_from_outside(
    probe: &mut Probe,
    spoilt: impl FnOnce(&mut Vec<u8>),
) -> Result<Option<(SocketAddr, SocketAddr, Option<Heard>)>, Error> {
    let port = probe.port();
    let (client, server) = (probe.client(0, port), probe.server(0, 0));
    let Some(external) = probe.out(client, server)? else { return Ok(None) };
    let heard = error_about(probe, external, server, spoilt)?;
    Ok(Some((client, server, heard)))
}

fn error_about(
    probe: &mut Probe,
    external: SocketAddr,
    server: SocketAddr,
    spoilt: impl FnOnce(&mut Vec<u8>),
) -> Result<Option<Heard>, Error> {
    let (mac, gateway) = probe.macs_outside();
    let about = Frame::udp(external, server).payload(*b"conform").macs(mac, gateway).build();
    probe.error_back(&about, IcmpErrorKind::Unreachable { code: 10 }, server.ip(), spoilt)
}

fn damaged(probe: &mut Probe) -> Result<Verdict, Error> {
    // Ethernet, IPv4, type and code stand before the checksum.
    let spoil = |frame: &mut Vec<u8>| frame[14 + 20 + 2] ^= 0xff;
    let Some((_, _, heard)) = error_from_outside(probe, spoil)? else {
        return Ok(Verdict::Fail("nothing came outside".to_owned()));
    };
    Ok(Verdict::of(heard.is_none(), format!("it came in: {}", heard.is_some())))
}

fn from_outside(probe: &mut Probe) -> Result<Verdict, Error> {
    let Some((client, server, heard)) = error_from_outside(probe, |_| ())? else {
        return Ok(Verdict::Fail("nothing came outside".to_owned()));
    };
    let kind = IcmpErrorKind::Unreachable { code: 10 };
    let expected = Heard { to: client.ip(), kind, about: Some((client, server)) };
    let seen = heard.as_ref().map_or_else(|| "nothing came in".to_owned(), |it| format!("{it:?}"));
    Ok(Verdict::of(heard == Some(expected), seen))
}

fn about_nothing(probe: &mut Probe) -> Result<Verdict, Error> {
    let external = SocketAddr::new(probe.plan.external[0].into(), probe.port());
    let heard = error_about(probe, external, probe.server(0, 0), |_| ())?;
    Ok(Verdict::of(heard.is_none(), format!("it came in: {}", heard.is_some())))
}

fn from_inside(probe: &mut Probe) -> Result<Verdict, Error> {
    let port = probe.port();
    let (client, server) = (probe.client(0, port), probe.server(0, 0));
    let Some(external) = probe.out(client, server)? else {
        return Ok(Verdict::Fail("nothing came outside".to_owned()));
    };
    let (mac, gateway) = probe.inside.macs();
    // About an answer, as the client got it.
    let about = Frame::udp(server, client).payload(*b"conform").macs(gateway, mac).build();
    let kind = IcmpErrorKind::Unreachable { code: 3 };
    let Some(error) = build::icmp_error(&about, kind, client.ip()) else {
        return Ok(Verdict::Fail("no such error can be made".to_owned()));
    };
    probe.inside.send(&error)?;
    let heard = probe.outside.expect(Probe::patience(), |packet| {
        let Transport::IcmpError { kind: it } = packet.ip.transport else { return None };
        let quoted = Quoted::parse(&packet.ip, &packet.frame).ok()?.tuple?;
        Some((it, packet.ip.src, quoted.src, quoted.dst))
    })?;
    let right = heard == Some((kind, external.ip(), server, external));
    let seen = heard.map_or_else(
        || "nothing came outside".to_owned(),
        |(kind, from, src, dst)| format!("{kind:?} from {from}, about {src} to {dst}"),
    );
    Ok(Verdict::of(right, seen))
}

fn time_exceeded(probe: &mut Probe) -> Result<Verdict, Error> {
    let port = probe.port();
    let (client, server) = (probe.client(0, port), probe.server(0, 0));
    let (mac, gateway) = probe.inside.macs();
    let frame = Frame::udp(client, server).payload(*b"conform").ttl(1).macs(mac, gateway);
    probe.inside.send(&frame.build())?;
    let heard = probe.inside.expect(Probe::patience(), |packet| {
        let about = Quoted::parse(&packet.ip, &packet.frame).ok()?.tuple?;
        let expired = Transport::IcmpError { kind: IcmpErrorKind::TimeExceeded { code: 0 } };
        let is_it = packet.ip.transport == expired && (about.src, about.dst) == (client, server);
        is_it.then_some(packet.ip.src)
    })?;
    let seen = heard.map_or_else(|| "nothing came".to_owned(), |from| format!("from {from}"));
    Ok(Verdict::of(heard.is_some(), seen))
}
