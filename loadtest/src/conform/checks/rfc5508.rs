//! RFC 5508, "NAT Behavioral Requirements for ICMP".

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nf_core::packet::{Frame, IcmpErrorKind};

use super::{came, nothing_outside};
use crate::conform::check::{Check, Verdict, Way};
use crate::conform::messages::{Heard, requote};
use crate::conform::probe::{NEVER, Probe};
use crate::error::Error;

pub(super) const CHECKS: &[Check] = &[
    Check::must(
        "RFC5508-REQ-1",
        "pings go out and their answers come in, from hosts with the same identifier",
        Way::Probe(pings),
    ),
    Check::should(
        "RFC5508-REQ-1a",
        "an identifier is mapped alike whichever host is pinged",
        Way::Probe(query_mapping),
    ),
    Check::must("RFC5508-REQ-2", "an answer may come a minute later", Way::Slowly(late_answer)),
    Check::should(
        "RFC5508-REQ-2a",
        "for how long can be configured",
        Way::Unseen("a matter of configuration"),
    ),
    Check::should(
        "RFC5508-REQ-3",
        "an error with a wrong checksum is dropped",
        Way::Probe(damaged),
    ),
    Check::should(
        "RFC5508-REQ-3a",
        "so is one that quotes an IP header with a wrong checksum",
        Way::Probe(damaged_quote),
    ),
    Check::must(
        "RFC5508-REQ-3b",
        "an error may quote an IP header with options",
        Way::Probe(|probe| odd_quote(probe, add_options, |_| true)),
    ),
    Check::should(
        "RFC5508-REQ-3c",
        "the checksum of the quoted transport header is not looked at",
        Way::Probe(|probe| odd_quote(probe, spoil_transport_checksum, |_| true)),
    ),
    Check::should(
        "RFC5508-REQ-3d",
        "an error may have extensions behind what it quotes (RFC 4884)",
        Way::Probe(|probe| odd_quote(probe, add_extension, |error| error.ends_with(&EXTENSION))),
    ),
    Check::must(
        "RFC5508-REQ-4",
        "an error from outside: the quoted packet as it was sent, type and code kept",
        Way::Probe(from_outside),
    ),
    Check::should(
        "RFC5508-REQ-4-unknown",
        "an error from outside about no mapping is dropped",
        Way::Probe(about_nothing_outside),
    ),
    Check::must(
        "RFC5508-REQ-5",
        "an error from inside: the quoted packet as it came, from an address of the NAT",
        Way::Probe(from_inside),
    ),
    Check::must(
        "RFC5508-REQ-5c",
        "so it is if another host inside sends it, as a router would",
        Way::Probe(from_router_inside),
    ),
    Check::should(
        "RFC5508-REQ-5-unknown",
        "an error from inside about no mapping is dropped",
        Way::Probe(about_nothing_inside),
    ),
    Check::must(
        "RFC5508-REQ-6",
        "an error about a ping does not end its session",
        Way::Probe(error_about_ping),
    ),
    Check::must(
        "RFC5508-REQ-7",
        "an error about a hairpinned packet gets back to its sender",
        Way::Probe(hairpinned_error),
    ),
    Check::must(
        "RFC5508-REQ-7-query",
        "with an address outside for each host, pings are hairpinned",
        Way::Probe(hairpinned_ping),
    ),
    Check::may("RFC5508-REQ-9", "a policy keeps ICMP messages from being sent"),
    Check::must(
        "RFC5508-REQ-10",
        "time exceeded is sent for a packet whose time to live ends here",
        Way::Probe(time_exceeded),
    ),
    Check::may("RFC5508-REQ-11", "ICMP messages that are neither query nor error are dropped"),
];

pub(super) fn pings(probe: &mut Probe) -> Result<Verdict, Error> {
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

/// How one client, by one identifier, is seen by two hosts; before it turns to the second, another
/// client has pinged that with the same identifier.
pub(super) fn query_mapping(probe: &mut Probe) -> Result<Verdict, Error> {
    let id = probe.port();
    let [client, other] = [0, 1].map(|number| probe.client(number, 0).ip());
    let [first, second] = [0, 1].map(|number| probe.server(number, 0).ip());
    let seen = probe.ping(client, first, id)?;
    probe.ping(other, second, id)?;
    let again = probe.ping(client, second, id)?;
    let [Some(seen), Some(again)] = [seen, again] else { return Ok(nothing_outside()) };
    let words = format!("{} id {}, {} id {}", seen.source, seen.id, again.source, again.id);
    Ok(Verdict::of((seen.source, seen.id) == (again.source, again.id), format!("seen as {words}")))
}

fn late_answer(probe: &mut Probe) -> Result<Verdict, Error> {
    const PAUSE: u64 = 59;
    let id = probe.port();
    let (client, server) = (probe.client(0, 0).ip(), probe.server(0, 0).ip());
    let Some((source, outside_id, tag)) = probe.ping_out(client, server, id)? else {
        return Ok(nothing_outside());
    };
    probe.pause(Duration::from_secs(PAUSE))?;
    let back = probe.ping_back((client, id), (source, outside_id), server, &tag)?;
    Ok(Verdict::of(back, format!("an answer after {PAUSE} s {}", came(back))))
}

/// Host unreachable for this type of service: no stack sends it by itself.
const KIND: IcmpErrorKind = IcmpErrorKind::Unreachable { code: 12 };

/// Opens a mapping by UDP and sends an error about its datagram from outside, spoilt as the caller
/// likes; the mapping, and what the client hears.
fn error_from_outside(
    probe: &mut Probe,
    spoil: impl FnOnce(&mut Vec<u8>),
) -> Result<Option<(SocketAddr, SocketAddr, Option<Heard>)>, Error> {
    let (client, server) = probe.pair();
    let Some(external) = probe.out(client, server)? else { return Ok(None) };
    let heard = error_about(probe, external, server, spoil)?;
    Ok(Some((client, server, heard)))
}

fn error_about(
    probe: &mut Probe,
    external: SocketAddr,
    server: SocketAddr,
    spoil: impl FnOnce(&mut Vec<u8>),
) -> Result<Option<Heard>, Error> {
    let about = Frame::udp(external, server).payload(*b"conform").build();
    probe.error_back(&about, KIND, server.ip(), spoil)
}

/// Whether one that is not spoilt comes in: if not, it says nothing that a spoilt one does not.
fn errors_come_in(probe: &mut Probe) -> Result<bool, Error> {
    Ok(matches!(error_from_outside(probe, |_| ())?, Some((_, _, Some(_)))))
}

/// Fails unless errors come in at all, and this one does not.
fn is_dropped(probe: &mut Probe, spoil: impl FnOnce(&mut Vec<u8>)) -> Result<Verdict, Error> {
    if !errors_come_in(probe)? {
        return Ok(Verdict::Fail("not even an error that is right came in".to_owned()));
    }
    let Some((_, _, heard)) = error_from_outside(probe, spoil)? else {
        return Ok(nothing_outside());
    };
    Ok(Verdict::of(heard.is_none(), format!("it {}", came(heard.is_some()))))
}

fn damaged(probe: &mut Probe) -> Result<Verdict, Error> {
    // Ethernet, IPv4, type and code stand before the checksum.
    is_dropped(probe, |error| error[14 + 20 + 2] ^= 0xff)
}

fn damaged_quote(probe: &mut Probe) -> Result<Verdict, Error> {
    is_dropped(probe, |error| requote(error, |quote| quote[10] ^= 0xff))
}

/// Gives the quoted IP header four bytes of options: three that do nothing and the end (RFC 791).
fn add_options(error: &mut Vec<u8>) {
    requote(error, |quote| {
        quote.splice(20..20, [1, 1, 1, 0]);
        quote[0] += 1;
        quote[3] += 4;
        let check = nf_core::packet::checksum::update(
            u16::from_be_bytes([quote[10], quote[11]]),
            // What was added, words of the header: length of it and of all, and the options.
            nf_core::packet::checksum::sum(&[1, 0, 0, 4, 1, 1, 1, 0]),
        );
        quote[10..12].copy_from_slice(&check.to_be_bytes());
    });
}

fn spoil_transport_checksum(error: &mut Vec<u8>) {
    requote(error, |quote| quote[20 + 6] ^= 0xff);
}

/// Version 2 and its checksum, and one object of eight bytes of a class for private use (RFC 4884,
/// sections 7 and 8).
const EXTENSION: [u8; 12] = [0x20, 0, 0xe4, 0xf0, 0, 8, 247, 0, 1, 2, 3, 4];

fn add_extension(error: &mut Vec<u8>) {
    /// Extensions stand behind this much at least (section 5.1).
    const QUOTED: usize = 128;
    // The length of what is quoted, in words (section 4.1).
    error[14 + 20 + 5] = (QUOTED / 4) as u8;
    requote(error, |quote| {
        quote.resize(QUOTED, 0);
        quote.extend(EXTENSION);
    });
}

/// Whether an error comes in that is changed, but right all the same, and `kept` holds of it there.
fn odd_quote(
    probe: &mut Probe,
    change: fn(&mut Vec<u8>),
    kept: fn(&[u8]) -> bool,
) -> Result<Verdict, Error> {
    let (client, server) = probe.pair();
    let Some(external) = probe.out(client, server)? else { return Ok(nothing_outside()) };
    let about = Frame::udp(external, server).payload(*b"conform").build();
    let Some(mut error) = nf_core::packet::build::icmp_error(&about, KIND, server.ip()) else {
        return Ok(nothing_outside());
    };
    change(&mut error);
    probe.inside.forget()?;
    probe.outside.send(&error)?;
    let plan = &probe.plan;
    let heard = probe.inside.expect(NEVER, |packet| {
        let heard = Heard::parse(packet, plan)?;
        Some((heard.kind, heard.about, kept(packet.bytes())))
    })?;
    let right = heard == Some((KIND, Some((client, server)), true));
    let seen = match heard {
        None => "it did not come in".to_owned(),
        Some((kind, about, kept)) => {
            format!("it came in as {kind:?}, about {about:?}; its end kept: {kept}")
        }
    };
    Ok(Verdict::of(right, seen))
}

/// About a datagram, a segment and a ping.
fn from_outside(probe: &mut Probe) -> Result<Verdict, Error> {
    let (client, server) = probe.pair();
    let id = probe.port();
    let by_udp = probe.out(client, server)?;
    let by_tcp = probe.connect(client, server)?.map(|it| it.external);
    let by_ping = probe.ping(client.ip(), server.ip(), id)?.map(|it| (it.source, it.id));
    let (Some(by_udp), Some(by_tcp), Some((source, outside_id))) = (by_udp, by_tcp, by_ping) else {
        return Ok(nothing_outside());
    };
    let ping = Frame::echo_request(source, server.ip(), outside_id, 1).payload(*b"conform");
    let pinged = ((client.ip(), id).into(), (server.ip(), 0).into());
    let cases = [
        ("datagram", Frame::udp(by_udp, server).payload(*b"conform").build(), (client, server)),
        ("segment", Frame::tcp(by_tcp, server).build(), (client, server)),
        ("ping", ping.build(), pinged),
    ];
    for (what, packet, about) in &cases {
        let heard = probe.error_back(packet, KIND, server.ip(), |_| ())?;
        let expected =
            Heard { to: client.ip(), kind: KIND, about: Some(*about), from: server.ip() };
        if heard != Some(expected) {
            return Ok(Verdict::Fail(format!("about a {what}: {}", told(heard))));
        }
    }
    Ok(Verdict::Pass("about a datagram, a segment and a ping".to_owned()))
}

fn told(heard: Option<Heard>) -> String {
    let Some(Heard { to, kind, about, from }) = heard else { return "nothing came".to_owned() };
    let about = about.map_or_else(
        || "what is none of a flow".to_owned(),
        |(src, dst)| format!("{src} to {dst}"),
    );
    format!("{kind:?} from {from} to {to}, about {about}")
}

fn about_nothing_outside(probe: &mut Probe) -> Result<Verdict, Error> {
    if !errors_come_in(probe)? {
        return Ok(Verdict::Fail("not even an error about a mapping came in".to_owned()));
    }
    let (external, server) = (probe.unasked(), probe.server(0, 0));
    let heard = error_about(probe, external, server, |_| ())?;
    Ok(Verdict::of(heard.is_none(), format!("it {}", came(heard.is_some()))))
}

const PORT_UNREACHABLE: IcmpErrorKind = IcmpErrorKind::Unreachable { code: 3 };

/// An error of a host inside about a datagram that came to a client, who has a mapping or not; what
/// is heard of it outside.
fn error_from_inside(
    probe: &mut Probe,
    (client, server): (SocketAddr, SocketAddr),
    from: IpAddr,
) -> Result<Option<Heard>, Error> {
    let about = Frame::udp(server, client).payload(*b"conform").build();
    probe.error_out(&about, PORT_UNREACHABLE, from)
}

fn from_inside(probe: &mut Probe) -> Result<Verdict, Error> {
    let (client, server) = probe.pair();
    let Some(external) = probe.out(client, server)? else { return Ok(nothing_outside()) };
    let heard = error_from_inside(probe, (client, server), client.ip())?;
    let right = heard.is_some_and(|it| {
        (it.kind, it.about, it.from) == (PORT_UNREACHABLE, Some((server, external)), external.ip())
    });
    Ok(Verdict::of(right, told(heard)))
}

fn from_router_inside(probe: &mut Probe) -> Result<Verdict, Error> {
    let (client, server) = probe.pair();
    let Some(external) = probe.out(client, server)? else { return Ok(nothing_outside()) };
    let router = probe.client(1, 0).ip();
    let heard = error_from_inside(probe, (client, server), router)?;
    let right = heard.is_some_and(|it| {
        (it.kind, it.about) == (PORT_UNREACHABLE, Some((server, external)))
            && probe.plan.is_external(it.from)
    });
    Ok(Verdict::of(right, told(heard)))
}

fn about_nothing_inside(probe: &mut Probe) -> Result<Verdict, Error> {
    let known = probe.pair();
    if probe.out(known.0, known.1)?.is_none() {
        return Ok(nothing_outside());
    }
    if error_from_inside(probe, known, known.0.ip())?.is_none() {
        return Ok(Verdict::Fail("not even an error about a mapping came outside".to_owned()));
    }
    let unknown = probe.pair();
    let heard = error_from_inside(probe, unknown, unknown.0.ip())?;
    Ok(Verdict::of(heard.is_none(), told(heard)))
}

fn error_about_ping(probe: &mut Probe) -> Result<Verdict, Error> {
    let id = probe.port();
    let (client, server) = (probe.client(0, 0).ip(), probe.server(0, 0).ip());
    let Some((source, outside_id, tag)) = probe.ping_out(client, server, id)? else {
        return Ok(nothing_outside());
    };
    let about = Frame::echo_request(source, server, outside_id, 1).payload(tag.clone()).build();
    probe.error_back(&about, KIND, server, |_| ())?;
    let back = probe.ping_back((client, id), (source, outside_id), server, &tag)?;
    Ok(Verdict::of(back, format!("an answer after the error {}", came(back))))
}

/// One client opens a port, another sends to it by its address outside, and is told that nobody
/// listens.
fn hairpinned_error(probe: &mut Probe) -> Result<Verdict, Error> {
    let (listener, server) = probe.pair();
    let port = probe.port();
    let sender = probe.client(1, port);
    let [Some(external), Some(of_sender)] =
        [probe.out(listener, server)?, probe.out(sender, server)?]
    else {
        return Ok(nothing_outside());
    };
    // Where filtering is by address, the one has to know the other.
    probe.hairpin(listener, of_sender)?;
    let Some((from, to)) = probe.hairpin(sender, external)? else {
        return Ok(Verdict::Fail("no datagram was hairpinned".to_owned()));
    };
    let about = Frame::udp(from, to).payload(*b"conform").build();
    let Some(error) = nf_core::packet::build::icmp_error(&about, PORT_UNREACHABLE, listener.ip())
    else {
        return Ok(Verdict::Fail(format!("what came from {from} cannot be answered")));
    };
    probe.inside.forget()?;
    probe.inside.send(&error)?;
    let plan = &probe.plan;
    let heard = probe.inside.expect(NEVER, |packet| Heard::parse(packet, plan))?;
    let right = heard.is_some_and(|it| {
        (it.kind, it.about, it.to) == (PORT_UNREACHABLE, Some((sender, external)), sender.ip())
    });
    Ok(Verdict::of(right, told(heard)))
}

fn hairpinned_ping(probe: &mut Probe) -> Result<Verdict, Error> {
    let (target, server) = probe.pair();
    let pinger = probe.client(1, target.port());
    let [Some(target_outside), Some(pinger_outside)] =
        [probe.out(target, server)?, probe.out(pinger, server)?]
    else {
        return Ok(nothing_outside());
    };
    let kept = (target_outside.port(), pinger_outside.port()) == (target.port(), pinger.port());
    if target_outside.ip() == pinger_outside.ip() || !kept {
        return Ok(Verdict::NotApplicable("hosts share addresses outside".to_owned()));
    }
    let (id, tag) = (probe.port(), probe.tag());
    let request = Frame::echo_request(pinger.ip(), target_outside.ip(), id, 1).payload(tag.clone());
    probe.inside.send(&request.build())?;
    let seen = probe.inside.expect(NEVER, |packet| {
        let whole = packet.transport_bytes().get(8..) == Some(&tag[..]);
        whole.then_some((packet.ip.src, packet.ip.dst))
    })?;
    let right = seen == Some((pinger_outside.ip(), target.ip()));
    let seen = seen.map_or_else(
        || "nothing came".to_owned(),
        |(from, to)| format!("it came from {from} to {to}"),
    );
    Ok(Verdict::of(right, seen))
}

/// Who sends time exceeded for a datagram whose time to live ends at the NAT.
fn expired_at(probe: &mut Probe) -> Result<Option<IpAddr>, Error> {
    let (client, server) = probe.pair();
    let frame = Frame::udp(client, probe.plan.named(server)).payload(*b"conform").ttl(1).build();
    probe.told(&frame, |packet, heard| {
        let is_it = heard.kind == IcmpErrorKind::TimeExceeded { code: 0 };
        (is_it && heard.about == Some((client, server))).then_some(packet.ip.src)
    })
}

pub(super) fn time_exceeded(probe: &mut Probe) -> Result<Verdict, Error> {
    let heard = expired_at(probe)?;
    let seen = heard.map_or_else(|| "nothing came".to_owned(), |from| format!("from {from}"));
    Ok(Verdict::of(heard.is_some(), seen))
}
