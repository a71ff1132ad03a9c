//! RFC 7857, "Updates to Network Address Translation (NAT) Behavioral Requirements". Its updates have
//! no numbers but those of its sections.

use std::collections::HashSet;
use std::time::Duration;

use nf_core::packet::{Frame, Ipv4, TcpFlags};

use super::ports::Dealt;
use super::{came, no_connection, nothing_outside, rfc4787};
use crate::conform::check::{Check, Verdict, Way};
use crate::conform::probe::{Probe, SOON, udp};
use crate::conform::segments::{Connection, FIN_ACK, RST_ACK, Segment};
use crate::error::Error;

pub(super) const CHECKS: &[Check] = &[
    Check::should(
        "RFC7857-2.1",
        "a connection that both ends have closed lives on for four minutes",
        Way::Slowly(closed),
    ),
    Check::must(
        "RFC7857-2.2",
        "a RST is translated as any segment is, from either end",
        Way::Probe(resets),
    ),
    Check::should(
        "RFC7857-2.2-astray",
        "a RST with a sequence number far off ends no connection",
        Way::Probe(|probe| reset(probe, 1 << 30, None)),
    ),
    Check::should(
        "RFC7857-2.2-wait",
        "a connection lives on for four minutes after a RST",
        Way::Slowly(|probe| reset(probe, 0, Some(239))),
    ),
    Check::may("RFC7857-3", "flows to different destinations share a port (port overlapping)"),
    Check::should(
        "RFC7857-4",
        "UDP, TCP and ICMP of a host have one address outside",
        Way::Probe(pooling),
    ),
    Check::should(
        "RFC7857-5",
        "mappings are of one protocol",
        Way::Unseen("that a port is the same by two protocols may be chance, or that it was kept"),
    ),
    Check::should(
        "RFC7857-6",
        "what a mapping of one protocol lets in is of that protocol",
        Way::Probe(protocols),
    ),
    Check::should(
        "RFC7857-7",
        "whether packets from outside refresh a mapping can be configured",
        Way::Unseen("a matter of configuration"),
    ),
    Check::should(
        "RFC7857-7.1",
        "neither an ICMP error nor a RST from inside refreshes a mapping",
        Way::Unseen("how long a mapping lives without is not known"),
    ),
    Check::may("RFC7857-8", "ports are not kept even or odd"),
    Check::should(
        "RFC7857-9",
        "a port that cannot be the client's own is hard to guess",
        Way::Probe(unpredictable),
    ),
    Check::should(
        "RFC7857-10",
        "identifications of two hosts' packets differ where their addresses do not",
        Way::Probe(identification),
    ),
    Check::may("RFC7857-11", "a mapping of pings ends with its last session"),
    Check::must(
        "RFC7857-12",
        "pings are hairpinned",
        Way::Unseen("RFC5508-REQ-7-query asks for it"),
    ),
];

fn closed(probe: &mut Probe) -> Result<Verdict, Error> {
    const PAUSE: u64 = 239;
    let Some(connection) = probe.connected()? else { return Ok(no_connection()) };
    let [mine, theirs] = Connection::NEXT;
    let ours = Segment::bare(FIN_ACK, mine, theirs);
    let answer = Segment::bare(FIN_ACK, theirs, mine + 1);
    let last = Segment::bare(TcpFlags::ACK, mine + 1, theirs + 1);
    if !probe.carries(connection, &ours, &answer)?
        || probe.segment_out(connection.client, connection.server, &last)?.is_none()
    {
        return Ok(Verdict::Fail("it could not be closed".to_owned()));
    }
    probe.pause(Duration::from_secs(PAUSE))?;
    // The client's last word was lost, and the server says it once more.
    let lives = probe.carries(connection, &last, &answer)?;
    Ok(Verdict::of(lives, format!("after {PAUSE} s the last two segments got through: {lives}")))
}

fn resets(probe: &mut Probe) -> Result<Verdict, Error> {
    let [mine, theirs] = Connection::NEXT;
    let Some(connection) = probe.connected()? else { return Ok(no_connection()) };
    let Connection { client, server, external } = connection;
    let of_server = Segment::bare(RST_ACK, theirs, mine);
    let back = probe.segment_back(server, external, &of_server)? == Some((server, client));
    let Some(connection) = probe.connected()? else { return Ok(no_connection()) };
    let Connection { client, server, external } = connection;
    let of_client = Segment::bare(RST_ACK, mine, theirs);
    let out = probe.segment_out(client, server, &of_client)? == Some(external);
    let seen = format!("one of the server's {}, one of the client's came out: {out}", came(back));
    Ok(Verdict::of(back && out, seen))
}

/// Whether a connection is open after a RST of the server's, `astray` by so much.
fn reset(probe: &mut Probe, astray: u32, pause: Option<u64>) -> Result<Verdict, Error> {
    let Some(connection) = probe.connected()? else { return Ok(no_connection()) };
    let Connection { server, external, .. } = connection;
    let [mine, theirs] = Connection::NEXT;
    let rst = Segment::bare(RST_ACK, theirs.wrapping_add(astray), mine);
    let is_in = probe.segment_back(server, external, &rst)?.is_some();
    let pause = pause.unwrap_or(0);
    probe.pause(Duration::from_secs(pause))?;
    let open = probe.is_open(connection)?;
    let seen = format!("the RST {}; {pause} s later data went both ways: {open}", came(is_in));
    Ok(Verdict::of(open, seen))
}

fn pooling(probe: &mut Probe) -> Result<Verdict, Error> {
    if let Some(verdict) = rfc4787::one_address(probe) {
        return Ok(verdict);
    }
    let mut most = 0;
    for host in [0, 1] {
        let mut addresses = HashSet::new();
        for _ in 0..6 {
            let port = probe.port();
            let (client, server) = (probe.client(host, port), probe.server(0, 0));
            let by_udp = probe.out(client, server)?.map(|it| it.ip());
            let by_tcp = probe.connect(client, server)?.map(|it| it.external.ip());
            let by_ping = probe.ping(client.ip(), server.ip(), port)?.map(|it| it.source);
            let [Some(by_udp), Some(by_tcp), Some(by_ping)] = [by_udp, by_tcp, by_ping] else {
                return Ok(nothing_outside());
            };
            addresses.extend([by_udp, by_tcp, by_ping]);
        }
        most = most.max(addresses.len());
    }
    Ok(Verdict::of(most == 1, format!("6 flows of each came from {most} addresses")))
}

fn protocols(probe: &mut Probe) -> Result<Verdict, Error> {
    let Some(Connection { client, server, external }) = probe.connected()? else {
        return Ok(no_connection());
    };
    let is_in = probe.gets_back(client, server, external)?;
    Ok(Verdict::of(!is_in, format!("a datagram to the port of a connection {}", came(is_in))))
}

/// RFC 7857, section 9, refers to RFC 6056, section 4: a NAT that keeps ports obfuscates those that
/// it cannot keep.
pub(super) fn unpredictable(probe: &mut Probe) -> Result<Verdict, Error> {
    let Some(dealt) = Dealt::out(probe, true)? else { return Ok(nothing_outside()) };
    if dealt.are_kept() {
        let why = "all ports are the clients' own, even if another host has them";
        return Ok(Verdict::NotApplicable(why.to_owned()));
    }
    Ok(dealt.unpredictable())
}

/// RFC 6864, section 5.3.1: identifications of packets that may be fragmented are unique for their
/// addresses and protocol, which a NAT has to see to where it has hosts share an address.
fn identification(probe: &mut Probe) -> Result<Verdict, Error> {
    let mut seen = Vec::new();
    for host in [0, 1] {
        let (port, tag) = (probe.port(), probe.tag());
        let (client, server) = (probe.client(host, port), probe.server(0, 0));
        let frame = Frame::udp(client, server).payload(tag.clone()).identification(4242);
        probe.inside.send(&frame.may_fragment().build())?;
        seen.push(probe.outside.expect(SOON, |packet| {
            udp(packet).filter(|it| it.payload == tag)?;
            let header = Ipv4::new_checked(packet.bytes()).ok()?;
            Some((packet.ip.src, header.identification()))
        })?);
    }
    let [Some(first), Some(second)] = seen[..] else { return Ok(nothing_outside()) };
    if first.0 != second.0 {
        let why = "hosts do not share an address outside, or these two do not";
        return Ok(Verdict::NotApplicable(why.to_owned()));
    }
    let told = format!("4242 of two hosts was {} and {}", first.1, second.1);
    Ok(Verdict::of(first != second, told))
}
