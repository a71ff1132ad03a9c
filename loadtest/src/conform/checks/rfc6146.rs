//! RFC 6146, "Stateful NAT64", with RFC 7915, "IP/ICMP Translation Algorithm", and RFC 6052, "IPv6
//! Addressing of IPv4/IPv6 Translators", which it is made of. Ids have the sections' numbers.

use std::net::SocketAddr;

use nf_core::packet::{Frame, IcmpErrorKind, Ipv4, L4Checksum, TcpFlags, Transport, checksum};

use super::ports::overloading;
use super::rfc4787::{self, Order, long_payload, outside_mtu, told_mtu};
use super::{nothing_outside, rfc5382, rfc5508, transparency};
use crate::conform::check::{Check, Verdict, Way};
use crate::conform::end::Packet;
use crate::conform::fragments::{Gathered, fragments};
use crate::conform::messages::Heard;
use crate::conform::probe::{NEVER, Probe, SOON};
use crate::conform::segments::SYN_ACK;
use crate::error::Error;

pub(super) const CHECKS: &[Check] = &[
    Check::must("RFC6052-2.2", "hosts outside are named by the prefix", Way::Probe(names)),
    Check::must(
        "RFC6052-3.1",
        "by the well-known prefix, no private address is reached",
        Way::Unseen("it takes a host outside with a private address"),
    ),
    Check::must(
        "RFC6146-3.4",
        "fragments from outside, in order",
        Way::Probe(|probe| rfc4787::fragmented(probe, Order::Given)),
    ),
    Check::must(
        "RFC6146-3.4-disorder",
        "fragments from outside, the last one first",
        Way::Probe(|probe| rfc4787::fragmented(probe, Order::Reversed)),
    ),
    Check::must("RFC6146-3.4-out", "fragments from inside", Way::Probe(fragments_out)),
    Check::must(
        "RFC6146-3.5.1",
        "UDP: endpoint-independent mapping",
        Way::Probe(|probe| super::mapping(probe, Probe::out)),
    ),
    Check::must(
        "RFC6146-3.5.1-ports",
        "UDP: no two hosts share a port outside",
        Way::Probe(|probe| overloading(probe, Probe::out)),
    ),
    Check::should(
        "RFC6146-3.5.1-filter",
        "UDP: endpoint-independent or address-dependent filtering",
        Way::Probe(rfc4787::filtering),
    ),
    Check::must(
        "RFC6146-3.5.1-time",
        "UDP: a mapping lives for two minutes at least",
        Way::Slowly(|probe| rfc4787::outlives(probe, &[119])),
    ),
    Check::must(
        "RFC6146-3.5.2",
        "TCP: connections by the three-way handshake",
        Way::Probe(rfc5382::handshake),
    ),
    Check::must(
        "RFC6146-3.5.2-mapping",
        "TCP: endpoint-independent mapping",
        Way::Probe(|probe| super::mapping(probe, rfc5382::open)),
    ),
    Check::must(
        "RFC6146-3.5.2-simultaneous",
        "TCP: connections that both ends open at once",
        Way::Probe(rfc5382::simultaneous),
    ),
    Check::must(
        "RFC6146-3.5.3",
        "ICMP: pings go out and their answers come in",
        Way::Probe(rfc5508::pings),
    ),
    Check::must(
        "RFC6146-3.5.3-mapping",
        "ICMP: an identifier is mapped alike whichever host is pinged",
        Way::Probe(rfc5508::query_mapping),
    ),
    Check::must(
        "RFC6146-3.8",
        "hairpinning, by the prefix and from the sender's address and port outside",
        Way::Probe(|probe| rfc4787::hairpinning(probe, true)),
    ),
    Check::must(
        "RFC7915-4.1",
        "from outside: the hop limit is one less than the time to live",
        Way::Probe(transparency::time_to_live_back),
    ),
    Check::must(
        "RFC7915-4.1-class",
        "from outside: DSCP and ECN are left as they are",
        Way::Probe(transparency::traffic_class_back),
    ),
    Check::must(
        "RFC7915-4.2",
        "ICMP errors from outside are translated, with the packet that they quote",
        Way::Probe(errors_in),
    ),
    Check::should(
        "RFC7915-4.5",
        "a datagram from outside without a checksum gets one",
        Way::Probe(no_checksum),
    ),
    Check::must(
        "RFC7915-5.1",
        "from inside: the time to live is one less than the hop limit",
        Way::Probe(transparency::time_to_live_out),
    ),
    Check::must(
        "RFC7915-5.1-class",
        "from inside: DSCP and ECN are left as they are",
        Way::Probe(transparency::traffic_class_out),
    ),
    Check::must(
        "RFC7915-5.1-df",
        "from inside: packets of up to 1,260 bytes may be fragmented, larger ones not",
        Way::Probe(dont_fragment),
    ),
    Check::must(
        "RFC7915-5.1-expired",
        "time exceeded is sent for a packet whose hop limit ends here",
        Way::Probe(rfc5508::time_exceeded),
    ),
    Check::must(
        "RFC7915-5.1-mtu",
        "packet too big is sent, with 20 bytes more than the link outside takes",
        Way::Probe(too_big),
    ),
    Check::must(
        "RFC7915-5.2",
        "ICMPv6 errors from inside are translated, with the packet that they quote",
        Way::Probe(errors_out),
    ),
    Check::must("RFC7915-5.5", "checksums are right at both ends", Way::Probe(checksums)),
];

fn names(probe: &mut Probe) -> Result<Verdict, Error> {
    let seen = transparency::back(probe, |frame| frame, |packet| Some(packet.ip.src))?;
    let server = probe.server(0, 0);
    let right = seen == Some(probe.plan.named(server).ip());
    let told = seen.map_or_else(|| "not seen".to_owned(), |it| it.to_string());
    Ok(Verdict::of(right, format!("{} is {told} inside", server.ip())))
}

fn fragments_out(probe: &mut Probe) -> Result<Verdict, Error> {
    let (client, server) = probe.pair();
    let payload = long_payload();
    let whole = Frame::udp(client, probe.plan.named(server)).payload(payload.clone()).build();
    for part in fragments(&whole, 1000) {
        probe.inside.send(&part)?;
    }
    let mut gathered = Gathered::default();
    let came = probe.outside.expect(SOON, |packet| {
        if packet.ip.dst != server.ip() || packet.ip.protocol != 17 {
            return None;
        }
        let whole = gathered.take(packet)?;
        let to = server.port().to_be_bytes();
        Some(whole.get(2..4) == Some(&to[..]) && whole.get(8..) == Some(&payload[..]))
    })?;
    Ok(Verdict::of(came == Some(true), format!("three fragments: {came:?}")))
}

/// ICMP errors, and what they are in ICMPv6 (RFC 7915, section 4.2).
fn from_icmp() -> Vec<(IcmpErrorKind, IcmpErrorKind)> {
    let unreachable = |code| IcmpErrorKind::Unreachable { code };
    let mut pairs: Vec<_> = [(0, 0), (1, 0), (3, 4), (5, 0), (9, 1), (10, 1), (13, 1)]
        .map(|(from, to)| (unreachable(from), unreachable(to)))
        .to_vec();
    pairs.extend([
        // Protocol unreachable: a next header that is not known, and where that stands.
        (unreachable(2), IcmpErrorKind::ParameterProblem { code: 1, pointer: 6 }),
        // IPv6's header is 20 bytes larger.
        (IcmpErrorKind::PacketTooBig { mtu: 1400 }, IcmpErrorKind::PacketTooBig { mtu: 1420 }),
        (IcmpErrorKind::TimeExceeded { code: 0 }, IcmpErrorKind::TimeExceeded { code: 0 }),
    ]);
    pairs
}

/// ICMPv6 errors, and what they are in ICMP (section 5.2).
fn from_icmpv6() -> Vec<(IcmpErrorKind, IcmpErrorKind)> {
    let unreachable = |code| IcmpErrorKind::Unreachable { code };
    let mut pairs: Vec<_> = [(0, 1), (1, 10), (2, 1), (3, 1), (4, 3)]
        .map(|(from, to)| (unreachable(from), unreachable(to)))
        .to_vec();
    pairs.extend([
        (IcmpErrorKind::PacketTooBig { mtu: 1400 }, IcmpErrorKind::PacketTooBig { mtu: 1380 }),
        (IcmpErrorKind::TimeExceeded { code: 0 }, IcmpErrorKind::TimeExceeded { code: 0 }),
    ]);
    pairs
}

/// What of errors is not heard as it should be: pairs of what was sent and should come, and what came.
fn wrong(
    pairs: Vec<(IcmpErrorKind, IcmpErrorKind)>,
    about: (SocketAddr, SocketAddr),
    mut heard: impl FnMut(IcmpErrorKind) -> Result<Option<Heard>, Error>,
) -> Result<Verdict, Error> {
    let mut wrong = Vec::new();
    let all = pairs.len();
    for (sent, expected) in pairs {
        let heard = heard(sent)?.map(|it| (it.kind, it.about));
        if heard != Some((expected, Some(about))) {
            let told = heard.map_or_else(
                || "nothing".to_owned(),
                |(kind, about)| format!("{kind:?} about {about:?}"),
            );
            wrong.push(format!("{sent:?} was {told}"));
        }
    }
    let seen = match wrong.as_slice() {
        [] => format!("{all} kinds came as they should"),
        _ => wrong.join("; "),
    };
    Ok(Verdict::of(wrong.is_empty(), seen))
}

fn errors_in(probe: &mut Probe) -> Result<Verdict, Error> {
    let (client, server) = probe.pair();
    let Some(external) = probe.out(client, server)? else { return Ok(nothing_outside()) };
    let about = Frame::udp(external, server).payload(*b"conform").build();
    wrong(from_icmp(), (client, server), |kind| probe.error_back(&about, kind, server.ip(), |_| ()))
}

fn errors_out(probe: &mut Probe) -> Result<Verdict, Error> {
    let (client, server) = probe.pair();
    let Some(external) = probe.out(client, server)? else { return Ok(nothing_outside()) };
    let about = Frame::udp(probe.plan.named(server), client).payload(*b"conform").build();
    wrong(from_icmpv6(), (server, external), |kind| probe.error_out(&about, kind, client.ip()))
}

fn no_checksum(probe: &mut Probe) -> Result<Verdict, Error> {
    let look = |packet: &Packet| Some(checksum::verify(&packet.ip, &packet.frame));
    let seen = transparency::back(probe, Frame::no_checksum, look)?;
    let told = seen.map_or_else(|| "nothing came in".to_owned(), |it| format!("it is {it:?}"));
    Ok(Verdict::of(seen == Some(L4Checksum::Correct), told))
}

/// Packets of 1,260 and 1,261 bytes, as they are outside.
fn dont_fragment(probe: &mut Probe) -> Result<Verdict, Error> {
    const HEADERS: usize = 20 + 8;
    let mut seen = Vec::new();
    for size in [1260, 1261] {
        let mut payload = probe.tag();
        payload.resize(size - HEADERS, 0);
        let look = transparency::has_dont_fragment;
        seen.push(transparency::out(probe, &payload, |frame| frame, look)?);
    }
    let told = format!("of 1,260 bytes it is set: {:?}, of 1,261: {:?}", seen[0], seen[1]);
    Ok(Verdict::of(seen == [Some(false), Some(true)], told))
}

fn too_big(probe: &mut Probe) -> Result<Verdict, Error> {
    let mtu = match outside_mtu(probe) {
        Ok(mtu) => mtu,
        Err(verdict) => return Ok(verdict),
    };
    let told = told_mtu(probe, mtu)?;
    let seen = told.map_or_else(|| "nothing came back".to_owned(), |mtu| format!("told {mtu}"));
    Ok(Verdict::of(told == Some(u32::from(mtu) + 20), seen))
}

/// Of a datagram, a segment and a ping, and of their answers.
fn checksums(probe: &mut Probe) -> Result<Verdict, Error> {
    let (client, server) = probe.pair();
    let far = probe.plan.named(server);
    let packets = [
        Frame::udp(client, far).payload(*b"datagram").build(),
        Frame::tcp(client, far).flags(TcpFlags::SYN).build(),
        Frame::echo_request(client.ip(), far.ip(), client.port(), 1).payload(*b"ping").build(),
    ];
    let mut found = Vec::new();
    for packet in packets {
        probe.inside.send(&packet)?;
        let came = probe
            .outside
            .expect(SOON, |packet| (packet.ip.dst == server.ip()).then(|| packet.clone()))?;
        let Some(came) = came else { return Ok(nothing_outside()) };
        found.push(checksum::verify(&came.ip, &came.frame));
        let is_right = |header: Ipv4<&[u8]>| header.checksum_is_correct();
        if !Ipv4::new_checked(came.bytes()).is_ok_and(is_right) {
            return Ok(Verdict::Fail("an IPv4 header has a wrong checksum".to_owned()));
        }
        let external = came.ip.src;
        let answer = match came.ip.transport {
            Transport::Udp { src_port, .. } => {
                Frame::udp(server, (external, src_port)).payload(*b"answer").build()
            }
            Transport::Tcp { src_port, .. } => {
                Frame::tcp(server, (external, src_port)).flags(SYN_ACK).ack(1).build()
            }
            Transport::Echo { id, .. } => {
                Frame::echo_reply(server.ip(), external, id, 1).payload(*b"ping").build()
            }
            _ => return Ok(nothing_outside()),
        };
        probe.outside.send(&answer)?;
        let back = probe
            .inside
            .expect(NEVER, |packet| Some(checksum::verify(&packet.ip, &packet.frame)))?;
        found.extend(back);
    }
    let right = found.len() == 6 && found.iter().all(|it| *it == L4Checksum::Correct);
    Ok(Verdict::of(right, format!("of packets that came, {found:?}")))
}
