//! What AWS's NAT gateway does, by its documentation and by what its users have found out, where no
//! RFC asks for it or asks for something else. For those who mean to replace one: that a row is not
//! met is no fault.

use std::net::SocketAddr;
use std::time::Duration;

use nf_core::packet::{Frame, Ipv4, Tcp, TcpFlags, Transport};

use super::ports::{Dealt, FIRST, Filled, Shared};
use super::rfc4787::{gathered_inside, long_payload, outside_mtu};
use super::{came, no_connection, nothing_outside, rfc5508};
use crate::conform::check::{Check, Verdict, Way};
use crate::conform::fragments::{Gathered, fragments};
use crate::conform::probe::{NEVER, Probe, SOON};
use crate::conform::segments::{Connection, PUSH, SYN_ACK};
use crate::error::Error;

/// Flows that are opened towards one destination where there is little time.
const FLOWS: usize = 2000;

/// Flows towards one destination that AWS promises for each address outside.
const PROMISED: usize = 55_000;

pub(super) const CHECKS: &[Check] = &[
    Check::aws(
        "AWS-MAPPING",
        "a port of its own for each destination (symmetric)",
        Way::Probe(symmetric),
    ),
    Check::aws("AWS-PORTS-RANDOM", "ports are drawn by lot", Way::Probe(random)),
    Check::aws("AWS-PORTS-RANGE", "ports are 1024 to 65535, all of them", Way::Probe(range)),
    Check::aws(
        "AWS-PORTS-REUSED",
        "a port serves two hosts whose destinations differ",
        Way::Probe(reused),
    ),
    Check::aws(
        "AWS-FLOWS",
        "2,000 flows of a host towards one destination, 55,000 with --slow",
        Way::Probe(flows),
    ),
    Check::aws(
        "AWS-IDLE",
        "after 350 idle seconds a connection is gone: nobody is told, and who sends from inside \
         gets a RST",
        Way::Slowly(idle),
    ),
    Check::aws("AWS-PING", "its addresses answer no ping", Way::Probe(ping)),
    Check::aws(
        "AWS-UNSOLICITED",
        "what nobody asked for is dropped without a word",
        Way::Probe(unsolicited),
    ),
    Check::aws("AWS-TRACEROUTE", "traceroute shows it", Way::Probe(rfc5508::time_exceeded)),
    Check::aws("AWS-FRAGMENTS-UDP", "fragments of UDP are forwarded", Way::Probe(udp_fragments)),
    Check::aws("AWS-FRAGMENTS-TCP", "fragments of TCP are dropped", Way::Probe(tcp_fragments)),
    Check::aws("AWS-FRAGMENTS-ICMP", "fragments of ICMP are dropped", Way::Probe(icmp_fragments)),
    Check::aws(
        "AWS-MSS",
        "the maximum segment size of a SYN is brought down to what the path takes",
        Way::Probe(segment_size),
    ),
    Check::aws(
        "AWS-PROTOCOLS",
        "other protocols than TCP, UDP and ICMP are dropped",
        Way::Probe(protocols),
    ),
];

/// Of four ports at most one is the same towards two servers, by chance.
fn symmetric(probe: &mut Probe) -> Result<Verdict, Error> {
    let mut same = 0;
    for _ in 0..4 {
        let (client, server) = probe.pair();
        let seen = [probe.out(client, server)?, probe.out(client, probe.server(1, 0))?];
        let [Some(first), Some(second)] = seen else { return Ok(nothing_outside()) };
        same += u32::from(first == second);
    }
    Ok(Verdict::of(same <= 1, format!("of 4 ports {same} were the same towards two servers")))
}

fn random(probe: &mut Probe) -> Result<Verdict, Error> {
    let dealt = Dealt::out(probe, false)?;
    Ok(dealt.map_or_else(nothing_outside, |dealt| dealt.unpredictable()))
}

fn range(probe: &mut Probe) -> Result<Verdict, Error> {
    let Some(low) = probe.out(probe.client(0, 500), probe.server(1, 0))? else {
        return Ok(nothing_outside());
    };
    let Some(dealt) = Dealt::out(probe, false)? else { return Ok(nothing_outside()) };
    let (lowest, highest) = dealt.range();
    // Of 256 lots one is in either 1/16 of the range, but for one run in ten million.
    let part = (u16::MAX - FIRST) / 16;
    let all = lowest < FIRST + part && highest > u16::MAX - part;
    let above = low.port() >= FIRST && lowest >= FIRST;
    let seen = format!("500 is {} outside; others were from {lowest} to {highest}", low.port());
    Ok(Verdict::of(all && above, seen))
}

fn reused(probe: &mut Probe) -> Result<Verdict, Error> {
    let shared = Shared::find(probe, Probe::out)?;
    Ok(Verdict::of(shared.ports > 0 && shared.lost == 0, shared.told()))
}

fn flows(probe: &mut Probe) -> Result<Verdict, Error> {
    let count = if probe.plan.slow { PROMISED } else { FLOWS };
    let Filled { seen, twice, refused } = Filled::with(probe, count)?;
    let told = match refused {
        None => format!("{} flows were told apart, {twice} were not", seen.len()),
        Some(client) => format!("after {} flows that of {client} did not come", seen.len()),
    };
    Ok(Verdict::of(seen.len() == count && twice == 0, told))
}

fn idle(probe: &mut Probe) -> Result<Verdict, Error> {
    /// Shorter and longer than AWS's 350 s.
    const PAUSES: [u64; 2] = [340, 20];
    let (Some(shorter), Some(longer)) = (probe.connected()?, probe.connected()?) else {
        return Ok(no_connection());
    };
    probe.forget()?;
    probe.pause(Duration::from_secs(PAUSES[0]))?;
    let lives = probe.is_open(shorter)?;
    probe.pause(Duration::from_secs(PAUSES[1]))?;
    let told = probe.outside.expect(Duration::ZERO, |packet| {
        (packet.ip.src == longer.external.ip()).then_some(packet.ip.transport)
    })?;
    let [seq, ack] = Connection::NEXT;
    let late = Frame::tcp(longer.client, longer.server).flags(PUSH).seq(seq).ack(ack).build();
    probe.inside.send(&late)?;
    let reset = probe.inside.expect(NEVER, |packet| match packet.ip.transport {
        Transport::Tcp { src_port, dst_port, flags, .. }
            if flags.contains(TcpFlags::RST)
                && SocketAddr::new(packet.ip.src, src_port) == longer.server
                && SocketAddr::new(packet.ip.dst, dst_port) == longer.client =>
        {
            Some(())
        }
        _ => None,
    })?;
    let passed = probe.outside.expect(NEVER, |packet| {
        (packet.ip.src == longer.external.ip()).then_some(packet.ip.transport)
    })?;
    let seen = format!(
        "after 340 s data went both ways: {lives}; after 360 s the server had {told:?}, the client \
         got a RST: {}, and what it sent went on as {passed:?}",
        reset.is_some()
    );
    Ok(Verdict::of(lives && told.is_none() && reset.is_some() && passed.is_none(), seen))
}

/// What the NAT says by itself to a packet from outside.
fn answer(probe: &mut Probe, frame: &[u8]) -> Result<Option<Transport>, Error> {
    probe.outside.forget()?;
    probe.outside.send(frame)?;
    let plan = &probe.plan;
    probe
        .outside
        .expect(NEVER, |packet| plan.is_external(packet.ip.src).then_some(packet.ip.transport))
}

fn ping(probe: &mut Probe) -> Result<Verdict, Error> {
    let (id, server) = (probe.port(), probe.server(0, 0).ip());
    // That pings come through at all, and that what the NAT sends is seen.
    if probe.ping(probe.client(0, 0).ip(), server, id)?.is_none() {
        return Ok(nothing_outside());
    }
    for external in probe.plan.external.clone() {
        let request = Frame::echo_request(server, external, probe.port(), 1).build();
        if let Some(answer) = answer(probe, &request)? {
            return Ok(Verdict::Fail(format!("{external} says {answer:?}")));
        }
    }
    Ok(Verdict::Pass("nothing came back".to_owned()))
}

fn unsolicited(probe: &mut Probe) -> Result<Verdict, Error> {
    let (client, server) = probe.pair();
    if probe.out(client, server)?.is_none() {
        return Ok(nothing_outside());
    }
    for flags in [TcpFlags::SYN, SYN_ACK, TcpFlags::ACK] {
        let segment = Frame::tcp(server, probe.unasked()).flags(flags).build();
        if let Some(answer) = answer(probe, &segment)? {
            return Ok(Verdict::Fail(format!("to a segment with {flags:?} it says {answer:?}")));
        }
    }
    let datagram = Frame::udp(server, probe.unasked()).payload(*b"conform").build();
    Ok(match answer(probe, &datagram)? {
        Some(answer) => Verdict::Fail(format!("to a datagram it says {answer:?}")),
        None => Verdict::Pass("three segments and a datagram were not answered".to_owned()),
    })
}

/// Sends a packet from inside in fragments; what comes of it outside, transport header and payload,
/// if all does.
fn out_in_fragments(
    probe: &mut Probe,
    whole: &[u8],
    server: SocketAddr,
) -> Result<Option<Vec<u8>>, Error> {
    for part in fragments(whole, 1000) {
        probe.inside.send(&part)?;
    }
    let mut gathered = Gathered::default();
    probe.outside.expect(NEVER, |packet| {
        if packet.ip.dst == server.ip() { gathered.take(packet) } else { None }
    })
}

fn udp_fragments(probe: &mut Probe) -> Result<Verdict, Error> {
    let (client, server) = probe.pair();
    let Some(external) = probe.out(client, server)? else { return Ok(nothing_outside()) };
    let payload = long_payload();
    let shape = |from, to| {
        let frame = Frame::udp(from, to).payload(payload.clone()).identification(client.port());
        frame.may_fragment().build()
    };
    let went = out_in_fragments(probe, &shape(client, server), server)?;
    let went = went.is_some_and(|it| it.get(8..) == Some(&payload[..]));
    for part in fragments(&shape(server, external), 1000) {
        probe.outside.send(&part)?;
    }
    let back = gathered_inside(probe, client, server, &payload)? == Some(true);
    let seen = format!("a datagram in three came out: {went}; one from outside {}", came(back));
    Ok(Verdict::of(went && back, seen))
}

fn tcp_fragments(probe: &mut Probe) -> Result<Verdict, Error> {
    // A connection: whole segments do come.
    let Some(Connection { client, server, .. }) = probe.connected()? else {
        return Ok(no_connection());
    };
    let [seq, ack] = Connection::NEXT;
    let segment = Frame::tcp(client, server).flags(PUSH).seq(seq).ack(ack).payload(long_payload());
    let segment = segment.identification(client.port()).may_fragment().build();
    let went = out_in_fragments(probe, &segment, server)?.is_some();
    Ok(Verdict::of(!went, format!("a segment in three came out: {went}")))
}

fn icmp_fragments(probe: &mut Probe) -> Result<Verdict, Error> {
    let (client, server) = probe.pair();
    if probe.ping(client.ip(), server.ip(), client.port())?.is_none() {
        return Ok(nothing_outside());
    }
    let request = Frame::echo_request(client.ip(), server.ip(), client.port(), 2);
    let request = request.payload(long_payload()).identification(client.port()).may_fragment();
    let went = out_in_fragments(probe, &request.build(), server)?.is_some();
    Ok(Verdict::of(!went, format!("a ping in three came out: {went}")))
}

/// The maximum segment size that a SYN has behind the NAT, of one with the largest there is, from
/// inside and (with ACK) from outside.
fn segment_size(probe: &mut Probe) -> Result<Verdict, Error> {
    /// That of Ethernet's jumbo frames.
    const LARGE: u16 = 8960;
    const HEADERS: u16 = 20 + 20;
    // Links take 1,500 bytes at least, and this one says if it takes less.
    let most = outside_mtu(probe).unwrap_or(1500) - HEADERS;
    let (client, server) = probe.pair();
    let syn = Frame::tcp(client, server).flags(TcpFlags::SYN).seq(100).mss(LARGE).build();
    probe.inside.send(&syn)?;
    let size = |packet: &crate::conform::end::Packet| {
        Tcp::new_checked(packet.transport_bytes()).ok()?.mss()
    };
    let seen = probe.outside.expect(SOON, |packet| match packet.ip.transport {
        Transport::Tcp { src_port, flags: TcpFlags::SYN, seq: 100, .. } => {
            Some((SocketAddr::new(packet.ip.src, src_port), size(packet)))
        }
        _ => None,
    })?;
    let Some((external, out)) = seen else { return Ok(nothing_outside()) };
    let syn_ack = Frame::tcp(server, external).flags(SYN_ACK).seq(900).ack(101).mss(LARGE).build();
    probe.outside.send(&syn_ack)?;
    let back = probe.inside.expect(NEVER, |packet| match packet.ip.transport {
        Transport::Tcp { flags: SYN_ACK, seq: 900, .. } => Some(size(packet)),
        _ => None,
    })?;
    let fits = |size: Option<u16>| size.is_some_and(|size| size <= most);
    let seen =
        format!("{LARGE} was {out:?} outside, {:?} inside; it should be {most}", back.flatten());
    Ok(Verdict::of(fits(out) && fits(back.flatten()), seen))
}

/// ESP, GRE and SCTP (IANA's numbers).
const OTHERS: [(u8, &str); 3] = [(50, "ESP"), (47, "GRE"), (132, "SCTP")];

fn protocols(probe: &mut Probe) -> Result<Verdict, Error> {
    let (client, server) = probe.pair();
    if probe.out(client, server)?.is_none() {
        return Ok(nothing_outside());
    }
    let mut through = Vec::new();
    for (number, name) in OTHERS {
        let mut frame = Frame::udp(client, server).payload([0; 32]).build();
        frame[14 + 9] = number;
        if let Ok(mut header) = Ipv4::new_checked(&mut frame[14..]) {
            header.fill_checksum();
        }
        probe.inside.send(&frame)?;
        let seen = probe.outside.expect(NEVER, |packet| {
            (packet.ip.dst == server.ip() && packet.ip.protocol == number).then_some(())
        })?;
        if seen.is_some() {
            through.push(name);
        }
    }
    let seen = if through.is_empty() {
        "neither ESP nor GRE nor SCTP came outside".to_owned()
    } else {
        format!("outside came {}", through.join(", "))
    };
    Ok(Verdict::of(through.is_empty(), seen))
}
