//! RFC 5382, "NAT Behavioral Requirements for TCP".

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nf_core::packet::{Frame, IcmpErrorKind, TcpFlags, Transport};

use super::{overloading, seen_by_three, text, texts};
use crate::conform::check::{Check, Level, Verdict};
use crate::conform::probe::{Connection, Probe};
use crate::error::Error;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "RFC5382-REQ-1",
        level: Level::Must,
        asks: "endpoint-independent mapping",
        run: mapping,
    },
    Check {
        id: "RFC5382-REQ-2",
        level: Level::Must,
        asks: "connections by the three-way handshake",
        run: handshake,
    },
    Check {
        id: "RFC5382-REQ-2a",
        level: Level::Must,
        asks: "connections that both ends open at once",
        run: simultaneous,
    },
    Check {
        id: "RFC5382-REQ-3",
        level: Level::Should,
        asks: "endpoint-independent or address-dependent filtering",
        run: filtering,
    },
    Check {
        id: "RFC5382-REQ-4",
        level: Level::Must,
        asks: "no answer to a SYN that nobody asked for, within six seconds",
        run: unsolicited,
    },
    Check {
        id: "RFC5382-REQ-5",
        level: Level::Must,
        asks: "an idle connection lives for two hours and four minutes at least",
        run: |_| {
            let why = "it takes two hours: compare the time-out that is configured";
            Ok(Verdict::NotApplicable(why.to_owned()))
        },
    },
    Check {
        id: "RFC5382-REQ-7",
        level: Level::Must,
        asks: "no two hosts share a port outside (no port overloading)",
        run: |probe| overloading(probe, syn),
    },
    Check { id: "RFC5382-REQ-8", level: Level::Must, asks: "hairpinning", run: hairpinning },
    Check {
        id: "RFC5382-REQ-9",
        level: Level::Should,
        asks: "ICMP destination unreachable is translated",
        run: unreachable,
    },
    Check {
        id: "RFC5382-REQ-10",
        level: Level::Must,
        asks: "no ICMP message ends a connection",
        run: errors_end_nothing,
    },
];

/// The first segments of a connection; how it is seen outside.
fn open(
    probe: &mut Probe,
    client: SocketAddr,
    server: SocketAddr,
) -> Result<Option<SocketAddr>, Error> {
    Ok(probe.connect(client, server)?.map(|it| it.external))
}

/// The first segment alone.
fn syn(
    probe: &mut Probe,
    client: SocketAddr,
    server: SocketAddr,
) -> Result<Option<SocketAddr>, Error> {
    probe.segment_out(client, server, TcpFlags::SYN, (1, 0))
}

fn connected(probe: &mut Probe) -> Result<Option<Connection>, Error> {
    let port = probe.port();
    probe.connect(probe.client(0, port), probe.server(0, 0))
}

fn no_connection() -> Verdict {
    Verdict::Fail("no connection came about".to_owned())
}

fn mapping(probe: &mut Probe) -> Result<Verdict, Error> {
    let seen = seen_by_three(probe, open)?;
    let same = seen[0].is_some() && seen.iter().all(|it| *it == seen[0]);
    Ok(Verdict::of(same, format!("seen as {}", texts(&seen))))
}

fn handshake(probe: &mut Probe) -> Result<Verdict, Error> {
    let Some(connection) = connected(probe)? else { return Ok(no_connection()) };
    let open = probe.is_open(connection)?;
    Ok(Verdict::of(open, format!("seen as {}; data went both ways: {open}", connection.external)))
}

fn simultaneous(probe: &mut Probe) -> Result<Verdict, Error> {
    let port = probe.port();
    let (client, server) = (probe.client(0, port), probe.server(0, 0));
    let Some(external) = probe.segment_out(client, server, TcpFlags::SYN, (100, 0))? else {
        return Ok(Verdict::Fail("no SYN came outside".to_owned()));
    };
    let syn = probe.segment_back(server, external, TcpFlags::SYN, (900, 0))?;
    let syn_ack = TcpFlags::SYN | TcpFlags::ACK;
    let out = probe.segment_out(client, server, syn_ack, (100, 901))?;
    let back = probe.segment_back(server, external, syn_ack, (900, 101))?;
    let inside = Some((server, client));
    let (met, done) = (syn == inside, out == Some(external) && back == inside);
    Ok(Verdict::of(met && done, format!("the SYN came in: {met}; SYN and ACK both ways: {done}")))
}

fn filtering(probe: &mut Probe) -> Result<Verdict, Error> {
    let Some(Connection { client, external, .. }) = connected(probe)? else {
        return Ok(no_connection());
    };
    let mut comes = |server, port| {
        let from = probe.server(server, port);
        let came = probe.segment_back(from, external, TcpFlags::SYN, (5, 0))?;
        Ok::<_, Error>(came == Some((from, client)))
    };
    let (other_port, other_host) = (comes(0, 1)?, comes(1, 0)?);
    let kind = match (other_port, other_host) {
        (true, true) => "endpoint-independent",
        (true, false) => "address-dependent",
        (false, _) => "address- and port-dependent",
    };
    Ok(Verdict::of(other_port, format!("filtering is {kind}")))
}

fn unsolicited(probe: &mut Probe) -> Result<Verdict, Error> {
    const SECONDS: u64 = 6;
    let external = SocketAddr::new(probe.plan.external[0].into(), probe.port());
    let server = probe.server(0, 0);
    let (mac, gateway) = probe.outside.macs();
    probe.outside.forget()?;
    let syn = Frame::tcp(server, external).flags(TcpFlags::SYN).macs(mac, gateway).build();
    probe.outside.send(&syn)?;
    let sent = Instant::now();
    let answer = probe.outside.expect(Duration::from_secs(SECONDS), |packet| {
        (packet.ip.src == external.ip()).then_some(packet.ip.transport)
    })?;
    let seen = answer.map_or_else(
        || format!("nothing came within {SECONDS} s"),
        |answer| format!("{answer:?} came after {:.1} s", sent.elapsed().as_secs_f64()),
    );
    Ok(Verdict::of(answer.is_none(), seen))
}

fn hairpinning(probe: &mut Probe) -> Result<Verdict, Error> {
    let Some(listener) = connected(probe)? else { return Ok(no_connection()) };
    let port = probe.port();
    let caller = probe.client(1, port);
    let (mac, gateway) = probe.inside.macs();
    let syn = Frame::tcp(caller, listener.external).flags(TcpFlags::SYN).seq(77);
    probe.inside.send(&syn.macs(mac, gateway).build())?;
    let came = probe.inside.expect(Probe::patience(), |packet| match packet.ip.transport {
        Transport::Tcp { flags: TcpFlags::SYN, seq: 77, src_port, .. } => {
            Some(SocketAddr::new(packet.ip.src, src_port))
        }
        _ => None,
    })?;
    let right = came.is_some_and(|from| probe.plan.external.iter().any(|it| from.ip() == *it));
    Ok(Verdict::of(
        right,
        format!("a SYN to {}, as seen inside: {}", listener.external, text(came)),
    ))
}

/// An ICMP error of the server about a segment of the client's; whether it came in.
fn error_about(probe: &mut Probe, connection: Connection) -> Result<bool, Error> {
    let Connection { client, server, external } = connection;
    let (mac, gateway) = probe.macs_outside();
    let about = Frame::tcp(external, server).flags(TcpFlags::ACK).macs(mac, gateway).build();
    let kind = IcmpErrorKind::Unreachable { code: 1 };
    let heard = probe.error_back(&about, kind, server.ip(), |_| ())?;
    Ok(heard.is_some_and(|it| it.kind == kind && it.about == Some((client, server))))
}

fn unreachable(probe: &mut Probe) -> Result<Verdict, Error> {
    let Some(connection) = connected(probe)? else { return Ok(no_connection()) };
    let came = error_about(probe, connection)?;
    Ok(Verdict::of(came, format!("a host unreachable came, about the client's segment: {came}")))
}

fn errors_end_nothing(probe: &mut Probe) -> Result<Verdict, Error> {
    let Some(connection) = connected(probe)? else { return Ok(no_connection()) };
    error_about(probe, connection)?;
    let open = probe.is_open(connection)?;
    Ok(Verdict::of(open, format!("after a host unreachable data went both ways: {open}")))
}
