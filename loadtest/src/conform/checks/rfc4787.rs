//! RFC 4787, "Network Address Translation (NAT) Behavioral Requirements for Unicast UDP".

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nf_core::packet::{Fragment, Frame, IcmpErrorKind};

use super::ports::overloading;
use super::{Filtering, came, nothing_outside, text};
use crate::conform::check::{Check, Verdict, Way};
use crate::conform::fragments::{Gathered, fragments};
use crate::conform::messages::Heard;
use crate::conform::probe::{NEVER, Probe, SOON, udp};
use crate::error::Error;

pub(super) const CHECKS: &[Check] = &[
    Check::must(
        "RFC4787-REQ-1",
        "endpoint-independent mapping",
        Way::Probe(|probe| super::mapping(probe, Probe::out)),
    ),
    Check::should(
        "RFC4787-REQ-2",
        "one address outside for all ports of a host (paired pooling)",
        Way::Probe(pooling),
    ),
    Check::must(
        "RFC4787-REQ-3",
        "no two hosts share a port outside (no port overloading)",
        Way::Probe(|probe| overloading(probe, Probe::out)),
    ),
    Check::should(
        "RFC4787-REQ-3a",
        "ports of 0 to 1023 stay there, others stay above",
        Way::Probe(port_range),
    ),
    Check::should("RFC4787-REQ-4", "even ports stay even, odd ones odd", Way::Probe(parity)),
    Check::must(
        "RFC4787-REQ-5",
        "a mapping lives for two minutes at least",
        Way::Slowly(|probe| outlives(probe, &[119])),
    ),
    Check::should(
        "RFC4787-REQ-5c",
        "by default it lives for five minutes or more",
        Way::Slowly(|probe| outlives(probe, &[299])),
    ),
    Check::must(
        "RFC4787-REQ-6",
        "packets from inside refresh a mapping",
        Way::Slowly(|probe| outlives(probe, &[100; 4])),
    ),
    Check::must(
        "RFC4787-REQ-7",
        "an address outside that is assigned dynamically may be one used inside",
        Way::Unseen("it takes changing the addresses of the NAT"),
    ),
    Check::should(
        "RFC4787-REQ-8",
        "endpoint-independent or address-dependent filtering",
        Way::Probe(filtering),
    ),
    Check::must("RFC4787-REQ-9", "hairpinning", Way::Probe(|probe| hairpinning(probe, false))),
    Check::must(
        "RFC4787-REQ-9a",
        "what is hairpinned comes from the sender's address and port outside",
        Way::Probe(|probe| hairpinning(probe, true)),
    ),
    Check::should(
        "RFC4787-REQ-10",
        "payloads are left alone (no application level gateways)",
        Way::Probe(payloads),
    ),
    Check::should(
        "RFC4787-REQ-10a",
        "each application level gateway can be switched off",
        Way::Unseen("a matter of configuration"),
    ),
    Check::must(
        "RFC4787-REQ-11",
        "the same behaviour whether or not another host has the port (determinism)",
        Way::Probe(determinism),
    ),
    Check::must("RFC4787-REQ-12", "no ICMP message ends a mapping", Way::Probe(errors_end_nothing)),
    Check::should(
        "RFC4787-REQ-12a",
        "ICMP errors are let in from whoever sends them",
        Way::Probe(errors_of_routers),
    ),
    Check::should(
        "RFC4787-REQ-12b",
        "ICMP destination unreachable is let in, whatever its code",
        Way::Probe(unreachable),
    ),
    Check::must(
        "RFC4787-REQ-13",
        "a packet too big for the link outside, with DF, is answered with ICMP",
        Way::Probe(too_big),
    ),
    Check::must(
        "RFC4787-REQ-13a",
        "without DF it is fragmented",
        Way::Probe(|probe| fragmented_on_the_way(probe, false)),
    ),
    Check::should(
        "RFC4787-REQ-13a-order",
        "and the fragments are sent in order",
        Way::Probe(|probe| fragmented_on_the_way(probe, true)),
    ),
    Check::must(
        "RFC4787-REQ-14",
        "fragments from outside, in order",
        Way::Probe(|probe| fragmented(probe, Order::Given)),
    ),
    Check::must(
        "RFC4787-REQ-14-disorder",
        "fragments from outside, the last one first",
        Way::Probe(|probe| fragmented(probe, Order::Reversed)),
    ),
    Check::must(
        "RFC4787-REQ-14a",
        "a flood of fragments that lack the first keeps neither whole packets nor others' \
         fragments from coming",
        Way::Slowly(flooded),
    ),
];

/// For [`pooling`] there must be a choice.
pub(super) fn one_address(probe: &Probe) -> Option<Verdict> {
    let why = "it has one address outside (--external)";
    (probe.plan.external.len() < 2).then(|| Verdict::NotApplicable(why.to_owned()))
}

/// Whether all ports of either of two hosts have one address outside.
pub(super) fn pooling(probe: &mut Probe) -> Result<Verdict, Error> {
    if let Some(verdict) = one_address(probe) {
        return Ok(verdict);
    }
    let mut most = 0;
    for host in [0, 1] {
        let mut addresses = HashSet::new();
        for server in [0, 1].repeat(10) {
            let port = probe.port();
            let Some(seen) = probe.out(probe.client(host, port), probe.server(server, 0))? else {
                return Ok(nothing_outside());
            };
            addresses.insert(seen.ip());
        }
        most = most.max(addresses.len());
    }
    Ok(Verdict::of(most == 1, format!("20 flows of a host came from {most} addresses")))
}

fn port_range(probe: &mut Probe) -> Result<Verdict, Error> {
    let low = probe.out(probe.client(0, 500), probe.server(0, 0))?;
    let (client, server) = probe.pair();
    let high = probe.out(client, server)?;
    let kept = low.is_some_and(|it| it.port() < 1024) && high.is_some_and(|it| it.port() >= 1024);
    let seen = format!("500 is {} outside, {} is {}", text(low), client.port(), text(high));
    Ok(Verdict::of(kept, seen))
}

fn parity(probe: &mut Probe) -> Result<Verdict, Error> {
    let mut kept = 0;
    for _ in 0..16 {
        let (client, server) = probe.pair();
        let seen = probe.out(client, server)?;
        kept += u32::from(seen.is_some_and(|it| it.port() % 2 == client.port() % 2));
    }
    Ok(Verdict::of(kept == 16, format!("{kept} of 16 ports were alike")))
}

/// Whether a datagram from outside still comes in after pauses, a datagram from inside after each
/// but the last.
pub(super) fn outlives(probe: &mut Probe, pauses: &[u64]) -> Result<Verdict, Error> {
    let (client, server) = probe.pair();
    let Some(external) = probe.out(client, server)? else { return Ok(nothing_outside()) };
    for (number, pause) in pauses.iter().enumerate() {
        if number > 0 && probe.out(client, server)? != Some(external) {
            return Ok(Verdict::Fail("it was another mapping after a pause".to_owned()));
        }
        probe.pause(Duration::from_secs(*pause))?;
    }
    let back = probe.gets_back(client, server, external)?;
    let all: u64 = pauses.iter().sum();
    Ok(Verdict::of(back, format!("after {all} s a datagram {}", came(back))))
}

/// Whom a mapping by UDP lets in; nothing if there is none.
pub(super) fn filter(probe: &mut Probe) -> Result<Option<Filtering>, Error> {
    let (client, server) = probe.pair();
    let Some(external) = probe.out(client, server)? else { return Ok(None) };
    let mut comes = |number, port| {
        let from = probe.server(number, port);
        probe.gets_back(client, from, external)
    };
    Ok(Some(Filtering::of(comes(0, 0)?, comes(0, 1)?, comes(1, 0)?)))
}

pub(super) fn filtering(probe: &mut Probe) -> Result<Verdict, Error> {
    let Some(kind) = filter(probe)? else { return Ok(nothing_outside()) };
    Ok(Verdict::of(kind.is_recommended(), kind.told()))
}

pub(super) fn hairpinning(probe: &mut Probe, by_external: bool) -> Result<Verdict, Error> {
    let ports = [probe.port(), probe.port()];
    let clients = [probe.client(0, ports[0]), probe.client(1, ports[1])];
    let server = probe.server(0, 0);
    let [Some(first), Some(second)] =
        [probe.out(clients[0], server)?, probe.out(clients[1], server)?]
    else {
        return Ok(nothing_outside());
    };
    // Where filtering is by address, the one has to know the other.
    probe.hairpin(clients[0], second)?;
    let Some((from, to)) = probe.hairpin(clients[1], first)? else {
        return Ok(Verdict::Fail(format!("nothing came from inside by {first}")));
    };
    let right = to == clients[0] && (!by_external || from == second);
    Ok(Verdict::of(
        right,
        format!("{} came to {to} from {from}, outside it is {second}", clients[1]),
    ))
}

/// A request with addresses in it, such as an application level gateway would change.
pub(super) fn sip_request(client: SocketAddr) -> String {
    format!(
        "INVITE sip:someone@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {client};branch=z9hG4bK1\r\n\
         From: <sip:one@{client}>;tag=1\r\nTo: <sip:someone@192.0.2.1>\r\nCall-ID: 1@{client}\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:one@{client}>\r\nContent-Length: 0\r\n\r\n"
    )
}

fn payloads(probe: &mut Probe) -> Result<Verdict, Error> {
    let client = probe.client(0, 5060);
    let server = SocketAddr::new(probe.server(0, 0).ip(), 5060);
    let came = probe.out_with(client, server, sip_request(client).as_bytes())?;
    Ok(Verdict::of(came.is_some(), "a SIP request with addresses in it".to_owned()))
}

/// Mapping towards two services, without another host that has the same port open to the second of
/// them and with one.
fn determinism(probe: &mut Probe) -> Result<Verdict, Error> {
    let mut kinds = Vec::new();
    for contested in [false, true] {
        let (client, server) = probe.pair();
        let first = probe.out(client, server)?;
        if contested {
            probe.out(probe.client(1, client.port()), probe.server(1, 0))?;
        }
        let second = probe.out(client, probe.server(1, 0))?;
        if first.is_none() || second.is_none() {
            return Ok(nothing_outside());
        }
        kinds.push(first == second);
    }
    let words = |same| if same { "one mapping for all" } else { "one for each destination" };
    let seen = format!("alone: {}; contested: {}", words(kinds[0]), words(kinds[1]));
    Ok(Verdict::of(kinds[0] == kinds[1], seen))
}

/// The errors that a host or router sends about a packet (RFC 792, RFC 1812).
pub(super) fn errors() -> impl Iterator<Item = IcmpErrorKind> {
    // Code 4 is a kind of its own.
    let codes = (0..=15).filter(|code| *code != 4);
    let unreachable = codes.map(|code| IcmpErrorKind::Unreachable { code });
    unreachable.chain([
        IcmpErrorKind::PacketTooBig { mtu: 1400 },
        IcmpErrorKind::TimeExceeded { code: 0 },
        IcmpErrorKind::TimeExceeded { code: 1 },
        IcmpErrorKind::ParameterProblem { code: 0, pointer: 1 },
    ])
}

/// An ICMP error, of a router or the server, about a datagram as it came to the server; what is heard
/// of it inside.
fn error_about(
    probe: &mut Probe,
    external: SocketAddr,
    kind: IcmpErrorKind,
    from: IpAddr,
) -> Result<Option<Heard>, Error> {
    let about = Frame::udp(external, probe.server(0, 0)).payload(*b"conform").build();
    probe.error_back(&about, kind, from, |_| ())
}

fn errors_end_nothing(probe: &mut Probe) -> Result<Verdict, Error> {
    let (client, server) = probe.pair();
    let Some(external) = probe.out(client, server)? else { return Ok(nothing_outside()) };
    for kind in errors() {
        error_about(probe, external, kind, server.ip())?;
        let back = probe.gets_back(client, server, external)?;
        let out = probe.out(client, server)?;
        if !back || out != Some(external) {
            let seen = format!("after {kind:?} an answer {}; outside it is", came(back));
            return Ok(Verdict::Fail(format!("{seen} {}", text(out))));
        }
    }
    Ok(Verdict::Pass(format!("after {} kinds of errors it is the same", errors().count())))
}

fn errors_of_routers(probe: &mut Probe) -> Result<Verdict, Error> {
    let (client, server) = probe.pair();
    let Some(external) = probe.out(client, server)? else { return Ok(nothing_outside()) };
    let router = probe.server(1, 0).ip();
    let kind = IcmpErrorKind::Unreachable { code: 3 };
    let heard = error_about(probe, external, kind, router)?;
    let is_in = heard.is_some_and(|it| it.kind == kind && it.to == client.ip());
    Ok(Verdict::of(is_in, format!("one of {router}, about a packet to another, {}", came(is_in))))
}

fn unreachable(probe: &mut Probe) -> Result<Verdict, Error> {
    let (client, server) = probe.pair();
    let Some(external) = probe.out(client, server)? else { return Ok(nothing_outside()) };
    let mut lost = Vec::new();
    for kind in errors() {
        let IcmpErrorKind::Unreachable { code } = kind else { continue };
        let heard = error_about(probe, external, kind, server.ip())?;
        if heard.map(|it| (it.kind, it.about)) != Some((kind, Some((client, server)))) {
            lost.push(code.to_string());
        }
    }
    let all = errors().filter(|it| matches!(it, IcmpErrorKind::Unreachable { .. })).count();
    let seen = match lost.as_slice() {
        [] => format!("{all} codes came in"),
        _ => format!("of {all} codes these did not come in as they are: {}", lost.join(", ")),
    };
    Ok(Verdict::of(lost.is_empty(), seen))
}

/// The MTU of the link outside, or why there is nothing to see.
pub(super) fn outside_mtu(probe: &Probe) -> Result<u16, Verdict> {
    let why = "both links take packets of the same size (--outside-mtu)";
    probe.plan.outside_mtu.ok_or_else(|| Verdict::NotApplicable(why.to_owned()))
}

/// The MTU that a client is told of who sends so many bytes with DF.
pub(super) fn told_mtu(probe: &mut Probe, size: u16) -> Result<Option<u32>, Error> {
    let (client, server) = probe.pair();
    let payload = vec![0; usize::from(size)];
    let frame = Frame::udp(client, probe.plan.named(server)).payload(payload).build();
    probe.told(&frame, |_, heard| {
        let IcmpErrorKind::PacketTooBig { mtu } = heard.kind else { return None };
        (heard.about == Some((client, server))).then_some(mtu)
    })
}

fn too_big(probe: &mut Probe) -> Result<Verdict, Error> {
    let mtu = match outside_mtu(probe) {
        Ok(mtu) => mtu,
        Err(verdict) => return Ok(verdict),
    };
    let told = told_mtu(probe, mtu)?;
    let seen = told.map_or_else(|| "nothing came back".to_owned(), |mtu| format!("told {mtu}"));
    Ok(Verdict::of(told == Some(u32::from(mtu)), seen))
}

/// What 2,400 bytes look like that are easily told from others.
pub(super) fn long_payload() -> Vec<u8> {
    (0..2400_u16).map(|n| (n % 251) as u8).collect()
}

fn fragmented_on_the_way(probe: &mut Probe, in_order: bool) -> Result<Verdict, Error> {
    let mtu = match outside_mtu(probe) {
        Ok(mtu) => mtu,
        Err(verdict) => return Ok(verdict),
    };
    let (client, server) = probe.pair();
    let payload = long_payload()[..usize::from(mtu)].to_owned();
    let frame = Frame::udp(client, server).payload(payload.clone()).identification(client.port());
    probe.inside.send(&frame.may_fragment().build())?;
    let mut gathered = Gathered::default();
    let mut places = Vec::new();
    let whole = probe.outside.expect(SOON, |packet| {
        if packet.ip.dst != server.ip() || packet.ip.protocol != 17 {
            return None;
        }
        places.push(match packet.ip.fragment {
            Fragment::Later { offset, .. } => offset,
            Fragment::None | Fragment::First { .. } => 0,
        });
        let fits = packet.ip.total_len <= usize::from(mtu);
        gathered.take(packet).map(|it| fits && it.get(8..) == Some(&payload[..]))
    })?;
    let seen = format!("pieces from {places:?}, all of it: {}", whole == Some(true));
    Ok(Verdict::of(whole == Some(true) && (!in_order || places.is_sorted()), seen))
}

/// In which order fragments are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Given,
    Reversed,
}

/// Whether a datagram in three fragments, of a server to a mapping, gets to the client.
fn comes_in_fragments(
    probe: &mut Probe,
    (client, server, external): (SocketAddr, SocketAddr, SocketAddr),
    order: Order,
) -> Result<Option<bool>, Error> {
    let payload = long_payload();
    let whole = Frame::udp(server, external)
        .payload(payload.clone())
        .identification(client.port())
        .may_fragment()
        .build();
    let mut parts = fragments(&whole, 1000);
    if order == Order::Reversed {
        parts.reverse();
    }
    for part in &parts {
        probe.outside.send(part)?;
    }
    gathered_inside(probe, client, server, &payload)
}

/// Whether a datagram comes to a client, as one or in fragments: nothing if not all of it does, and
/// no if it is not what was sent.
pub(super) fn gathered_inside(
    probe: &mut Probe,
    client: SocketAddr,
    server: SocketAddr,
    payload: &[u8],
) -> Result<Option<bool>, Error> {
    let plan = &probe.plan;
    let mut gathered = Gathered::default();
    probe.inside.expect(NEVER, |packet| {
        let ends = (plan.meant((packet.ip.src, 0).into()).ip(), packet.ip.dst);
        if ends != (server.ip(), client.ip()) || packet.ip.protocol != 17 {
            return None;
        }
        // A NAT may put them together itself.
        if let Some(it) = udp(packet) {
            let right = (plan.meant(it.from), it.to) == (server, client);
            return Some(it.payload == payload && right);
        }
        let datagram = gathered.take(packet)?;
        let header = [server.port(), client.port()].map(u16::to_be_bytes).concat();
        Some(datagram.get(..4) == Some(&header[..]) && datagram.get(8..) == Some(payload))
    })
}

pub(super) fn fragmented(probe: &mut Probe, order: Order) -> Result<Verdict, Error> {
    let (client, server) = probe.pair();
    let Some(external) = probe.out(client, server)? else { return Ok(nothing_outside()) };
    let all = comes_in_fragments(probe, (client, server, external), order)?;
    let seen = match all {
        Some(true) => "all of it came",
        Some(false) => "what came is not what was sent",
        None => "not all of it came",
    };
    Ok(Verdict::of(all == Some(true), format!("three fragments: {seen}")))
}

fn flooded(probe: &mut Probe) -> Result<Verdict, Error> {
    /// More than any table of fragments that is meant for a few.
    const FLOOD: u16 = 20_000;
    /// What is left of them is gone by then (RFC 1122, section 3.3.2: 60 to 120 s).
    const GONE: Duration = Duration::from_mins(2);
    let (client, server) = probe.pair();
    let Some(external) = probe.out(client, server)? else { return Ok(nothing_outside()) };
    // From another host, so that they are not of the same packet.
    let other = probe.server(1, 0);
    for id in 0..FLOOD {
        let whole = Frame::udp(other, external).payload([0; 64]).identification(id);
        if let Some(last) = fragments(&whole.may_fragment().build(), 32).last() {
            probe.outside.send(last)?;
        }
    }
    let whole = probe.gets_back(client, server, external)?;
    let parts = comes_in_fragments(probe, (client, server, external), Order::Given)?;
    probe.pause(GONE)?;
    let seen = format!(
        "after {FLOOD} fragments a datagram {}, one in fragments {}",
        came(whole),
        came(parts == Some(true))
    );
    Ok(Verdict::of(whole && parts == Some(true), seen))
}
