//! RFC 4787, "Network Address Translation (NAT) Behavioral Requirements for Unicast UDP".

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::Duration;

use nf_core::packet::{Frame, IcmpErrorKind};

use super::{overloading, seen_by_three, text, texts};
use crate::conform::check::{Check, Level, Verdict};
use crate::conform::fragments::{Gathered, fragments};
use crate::conform::probe::{Probe, udp};
use crate::error::Error;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "RFC4787-REQ-1",
        level: Level::Must,
        asks: "endpoint-independent mapping",
        run: mapping,
    },
    Check {
        id: "RFC4787-REQ-2",
        level: Level::Should,
        asks: "one address outside for all ports of a host (paired pooling)",
        run: pooling,
    },
    Check {
        id: "RFC4787-REQ-3",
        level: Level::Must,
        asks: "no two hosts share a port outside (no port overloading)",
        run: |probe| overloading(probe, Probe::out),
    },
    Check {
        id: "RFC4787-REQ-3a",
        level: Level::Should,
        asks: "ports of 0 to 1023 stay there, others stay above",
        run: port_range,
    },
    Check {
        id: "RFC4787-REQ-4",
        level: Level::Should,
        asks: "even ports stay even, odd ones odd",
        run: parity,
    },
    Check {
        id: "RFC4787-REQ-5",
        level: Level::Must,
        asks: "a mapping lives for two minutes at least",
        run: lifetime,
    },
    Check {
        id: "RFC4787-REQ-6",
        level: Level::Must,
        asks: "packets from inside refresh a mapping",
        run: refresh,
    },
    Check {
        id: "RFC4787-REQ-8",
        level: Level::Should,
        asks: "endpoint-independent or address-dependent filtering",
        run: filtering,
    },
    Check {
        id: "RFC4787-REQ-9",
        level: Level::Must,
        asks: "hairpinning",
        run: |probe| hairpinning(probe, false),
    },
    Check {
        id: "RFC4787-REQ-9a",
        level: Level::Must,
        asks: "what is hairpinned comes from the sender's address and port outside",
        run: |probe| hairpinning(probe, true),
    },
    Check {
        id: "RFC4787-REQ-10",
        level: Level::Should,
        asks: "payloads are left alone (no application level gateways)",
        run: payloads,
    },
    Check {
        id: "RFC4787-REQ-11",
        level: Level::Must,
        asks: "the same behaviour whether or not another host has the port (determinism)",
        run: determinism,
    },
    Check {
        id: "RFC4787-REQ-12",
        level: Level::Must,
        asks: "an ICMP error ends no mapping",
        run: errors_end_nothing,
    },
    Check {
        id: "RFC4787-REQ-12a",
        level: Level::Should,
        asks: "ICMP errors are let in from whoever sends them",
        run: errors_of_routers,
    },
    Check {
        id: "RFC4787-REQ-13",
        level: Level::Must,
        asks: "a packet too big for the link outside, with DF, is answered with ICMP",
        run: too_big,
    },
    Check {
        id: "RFC4787-REQ-14",
        level: Level::Must,
        asks: "fragments from outside, in order",
        run: |probe| fragmented(probe, false),
    },
    Check {
        id: "RFC4787-REQ-14a",
        level: Level::Must,
        asks: "fragments from outside, the last one first",
        run: |probe| fragmented(probe, true),
    },
];

fn mapping(probe: &mut Probe) -> Result<Verdict, Error> {
    let seen = seen_by_three(probe, Probe::out)?;
    let same = seen[0].is_some() && seen.iter().all(|it| *it == seen[0]);
    Ok(Verdict::of(same, format!("seen as {}", texts(&seen))))
}

fn pooling(probe: &mut Probe) -> Result<Verdict, Error> {
    if probe.plan.external.len() < 2 {
        return Ok(Verdict::NotApplicable("it has one address outside (--external)".to_owned()));
    }
    let mut addresses = HashSet::new();
    for server in [0, 1].repeat(10) {
        let port = probe.port();
        let seen = probe.out(probe.client(0, port), probe.server(server, 0))?;
        addresses.insert(seen.map(|it| it.ip()));
    }
    let one = addresses.len() == 1 && !addresses.contains(&None);
    Ok(Verdict::of(one, format!("20 flows of a host came from {} addresses", addresses.len())))
}

fn port_range(probe: &mut Probe) -> Result<Verdict, Error> {
    let low = probe.out(probe.client(0, 500), probe.server(0, 0))?;
    let port = probe.port();
    let high = probe.out(probe.client(0, port), probe.server(0, 0))?;
    let kept = low.is_some_and(|it| it.port() < 1024) && high.is_some_and(|it| it.port() >= 1024);
    Ok(Verdict::of(kept, format!("500 is {} outside, {port} is {}", text(low), text(high))))
}

fn parity(probe: &mut Probe) -> Result<Verdict, Error> {
    let mut kept = 0;
    for _ in 0..16 {
        let port = probe.port();
        let seen = probe.out(probe.client(0, port), probe.server(0, 0))?;
        kept += u32::from(seen.is_some_and(|it| it.port() % 2 == port % 2));
    }
    Ok(Verdict::of(kept == 16, format!("{kept} of 16 ports were alike")))
}

/// Whether a datagram from outside still comes in after pauses, a datagram from inside after each
/// but the last.
fn outlives(probe: &mut Probe, pauses: &[u64]) -> Result<Verdict, Error> {
    if !probe.plan.slow {
        return Ok(Verdict::NotApplicable("it takes minutes: --slow".to_owned()));
    }
    let port = probe.port();
    let (client, server) = (probe.client(0, port), probe.server(0, 0));
    let Some(external) = probe.out(client, server)? else {
        return Ok(Verdict::Fail("nothing came outside".to_owned()));
    };
    for (number, pause) in pauses.iter().enumerate() {
        if number > 0 && probe.out(client, server)? != Some(external) {
            return Ok(Verdict::Fail("it was another mapping after a pause".to_owned()));
        }
        sleep(Duration::from_secs(*pause));
    }
    let came = probe.back(server, external)?;
    let all: u64 = pauses.iter().sum();
    let words = if came.is_some() { "came in" } else { "did not come in" };
    Ok(Verdict::of(came == Some((server, client)), format!("after {all} s a datagram {words}")))
}

fn lifetime(probe: &mut Probe) -> Result<Verdict, Error> {
    outlives(probe, &[119])
}

fn refresh(probe: &mut Probe) -> Result<Verdict, Error> {
    outlives(probe, &[80, 80])
}

fn filtering(probe: &mut Probe) -> Result<Verdict, Error> {
    let port = probe.port();
    let client = probe.client(0, port);
    let Some(external) = probe.out(client, probe.server(0, 0))? else {
        return Ok(Verdict::Fail("nothing came outside".to_owned()));
    };
    let mut come = |server, port| {
        let from = probe.server(server, port);
        Ok::<_, Error>(probe.back(from, external)? == Some((from, client)))
    };
    let (same, other_port, other_host) = (come(0, 0)?, come(0, 1)?, come(1, 0)?);
    let kind = match (same, other_port, other_host) {
        (true, true, true) => "endpoint-independent",
        (true, true, false) => "address-dependent",
        (true, false, false) => "address- and port-dependent",
        _ => {
            "of no kind: an answer does not come in, or a stranger's packet does and a friend's not"
        }
    };
    Ok(Verdict::of(same && other_port, format!("filtering is {kind}")))
}

fn hairpinning(probe: &mut Probe, by_external: bool) -> Result<Verdict, Error> {
    let ports = [probe.port(), probe.port()];
    let clients = [probe.client(0, ports[0]), probe.client(1, ports[1])];
    let server = probe.server(0, 0);
    let [Some(first), Some(second)] =
        [probe.out(clients[0], server)?, probe.out(clients[1], server)?]
    else {
        return Ok(Verdict::Fail("nothing came outside".to_owned()));
    };
    let came = probe.hairpin(clients[1], first)?;
    let Some((from, to)) = came else {
        return Ok(Verdict::Fail(format!("nothing came from inside by {first}")));
    };
    let right = to == clients[0] && (!by_external || from == second);
    Ok(Verdict::of(
        right,
        format!("{} came to {to} from {from}, outside it is {second}", clients[1]),
    ))
}

fn payloads(probe: &mut Probe) -> Result<Verdict, Error> {
    let client = probe.client(0, 5060);
    let invite = format!(
        "INVITE sip:someone@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {client};branch=z9hG4bK1\r\n\
         From: <sip:one@{client}>;tag=1\r\nTo: <sip:someone@192.0.2.1>\r\nCall-ID: 1@{client}\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:one@{client}>\r\nContent-Length: 0\r\n\r\n"
    );
    let server = SocketAddr::new(probe.server(0, 0).ip(), 5060);
    let came = probe.out_with(client, server, invite.as_bytes())?;
    Ok(Verdict::of(came.is_some(), "a SIP request with addresses in it".to_owned()))
}

/// Mapping towards two services, without another host that has the same port open to the second of
/// them and with one.
fn determinism(probe: &mut Probe) -> Result<Verdict, Error> {
    let mut kinds = Vec::new();
    for contested in [false, true] {
        let port = probe.port();
        let client = probe.client(0, port);
        let first = probe.out(client, probe.server(0, 0))?;
        if contested {
            probe.out(probe.client(1, port), probe.server(1, 0))?;
        }
        let second = probe.out(client, probe.server(1, 0))?;
        // Of a NAT that lets nothing through, nothing can be said.
        if first.is_none() || second.is_none() {
            return Ok(Verdict::Fail("nothing came outside".to_owned()));
        }
        kinds.push(first == second);
    }
    let words = |same| if same { "one mapping for all" } else { "one for each destination" };
    let seen = format!("alone: {}; contested: {}", words(kinds[0]), words(kinds[1]));
    Ok(Verdict::of(kinds[0] == kinds[1], seen))
}

/// A mapping, and an ICMP error about the datagram that opened it, as a router or the server sends.
fn error_about(
    probe: &mut Probe,
    from: IpAddr,
) -> Result<Option<(SocketAddr, SocketAddr, bool)>, Error> {
    let port = probe.port();
    let (client, server) = (probe.client(0, port), probe.server(0, 0));
    let Some(external) = probe.out(client, server)? else { return Ok(None) };
    let (mac, gateway) = probe.macs_outside();
    let about = Frame::udp(external, server).payload(*b"conform").macs(mac, gateway).build();
    let kind = IcmpErrorKind::Unreachable { code: 3 };
    let heard = probe.error_back(&about, kind, from, |_| ())?;
    let came = heard.is_some_and(|it| it.kind == kind && it.to == client.ip());
    Ok(Some((client, external, came)))
}

fn errors_end_nothing(probe: &mut Probe) -> Result<Verdict, Error> {
    let server = probe.server(0, 0);
    let Some((client, external, _)) = error_about(probe, server.ip())? else {
        return Ok(Verdict::Fail("nothing came outside".to_owned()));
    };
    let back = probe.back(server, external)?;
    let out = probe.out(client, server)?;
    let lives = back == Some((server, client)) && out == Some(external);
    Ok(Verdict::of(lives, format!("after a port unreachable it is {} outside", text(out))))
}

fn errors_of_routers(probe: &mut Probe) -> Result<Verdict, Error> {
    let router = probe.server(1, 0).ip();
    let Some((_, _, came)) = error_about(probe, router)? else {
        return Ok(Verdict::Fail("nothing came outside".to_owned()));
    };
    let words = if came { "came in" } else { "did not come in" };
    Ok(Verdict::of(came, format!("one of {router}, about a packet to another, {words}")))
}

fn too_big(probe: &mut Probe) -> Result<Verdict, Error> {
    let Some(mtu) = probe.plan.outside_mtu else {
        let why = "both links take packets of the same size (--outside-mtu)";
        return Ok(Verdict::NotApplicable(why.to_owned()));
    };
    let port = probe.port();
    let (client, server) = (probe.client(0, port), probe.server(0, 0));
    let (mac, gateway) = probe.inside.macs();
    let payload = vec![0; usize::from(mtu)];
    let frame = Frame::udp(client, server).payload(payload).macs(mac, gateway).build();
    probe.inside.send(&frame)?;
    let told = probe.inside.expect(Probe::patience(), |packet| match packet.ip.transport {
        nf_core::packet::Transport::IcmpError { kind: IcmpErrorKind::PacketTooBig { mtu } } => {
            Some(mtu)
        }
        _ => None,
    })?;
    let seen = told.map_or_else(|| "nothing came back".to_owned(), |mtu| format!("told {mtu}"));
    Ok(Verdict::of(told == Some(u32::from(mtu)), seen))
}

/// A datagram in three fragments, to a mapping.
fn fragmented(probe: &mut Probe, backwards: bool) -> Result<Verdict, Error> {
    let port = probe.port();
    let (client, server) = (probe.client(0, port), probe.server(0, 0));
    let Some(external) = probe.out(client, server)? else {
        return Ok(Verdict::Fail("nothing came outside".to_owned()));
    };
    let payload: Vec<u8> = (0..2400_u16).map(|n| (n % 251) as u8).collect();
    let (mac, gateway) = probe.outside.macs();
    let whole = Frame::udp(server, external)
        .payload(payload.clone())
        .identification(port)
        .may_fragment()
        .macs(mac, gateway)
        .build();
    let mut parts = fragments(&whole, 1000);
    if backwards {
        parts.reverse();
    }
    for part in &parts {
        probe.outside.send(part)?;
    }
    let mut gathered = Gathered::default();
    let came = probe.inside.expect(Probe::patience(), |packet| {
        if packet.ip.dst != client.ip() {
            return None;
        }
        // A NAT may put them together itself.
        if let Some(it) = udp(packet) {
            return Some(it.payload == payload && (it.from, it.to) == (server, client));
        }
        let datagram = gathered.take(packet)?;
        let header = [server.port(), client.port()].map(u16::to_be_bytes).concat();
        Some(datagram.get(..4) == Some(&header[..]) && datagram.get(8..) == Some(&payload[..]))
    })?;
    let seen = match came {
        Some(true) => "all of it came",
        Some(false) => "what came is not what was sent",
        None => "not all of it came",
    };
    Ok(Verdict::of(came == Some(true), format!("three fragments: {seen}")))
}
