//! RFC 5382, "NAT Behavioral Requirements for TCP".

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nf_core::packet::{Frame, IcmpErrorKind, TcpFlags};

use super::ports::overloading;
use super::rfc4787::{errors, sip_request};
use super::{Filtering, came, no_connection, nothing_outside, text};
use crate::conform::check::{Check, Verdict, Way};
use crate::conform::messages::Heard;
use crate::conform::probe::Probe;
use crate::conform::segments::{Connection, FIN_ACK, PUSH, SYN_ACK, Segment, tcp};
use crate::error::Error;

pub(super) const CHECKS: &[Check] = &[
    Check::must(
        "RFC5382-REQ-1",
        "endpoint-independent mapping",
        Way::Probe(|probe| super::mapping(probe, open)),
    ),
    Check::must("RFC5382-REQ-2", "connections by the three-way handshake", Way::Probe(handshake)),
    Check::must(
        "RFC5382-REQ-2-close",
        "one end closes, the other still sends, then it closes as well",
        Way::Probe(half_close),
    ),
    Check::must(
        "RFC5382-REQ-2-inbound",
        "connections from outside, where filtering lets them in",
        Way::Probe(inbound),
    ),
    Check::must(
        "RFC5382-REQ-2a",
        "connections that both ends open at once",
        Way::Probe(simultaneous),
    ),
    Check::should(
        "RFC5382-REQ-3",
        "endpoint-independent or address-dependent filtering",
        Way::Probe(filtering),
    ),
    Check::must(
        "RFC5382-REQ-4",
        "no answer to a SYN that nobody asked for, within six seconds",
        Way::Probe(unsolicited),
    ),
    Check::must(
        "RFC5382-REQ-4-crossing",
        "nor if the connection is opened from inside meanwhile, which goes well",
        Way::Probe(crossing),
    ),
    Check::must(
        "RFC5382-REQ-5",
        "an idle connection lives for two hours and four minutes at least",
        Way::Unseen("it takes two hours: compare the time-out that is configured"),
    ),
    Check::must(
        "RFC5382-REQ-5-transitory",
        "a connection half open lives for four minutes at least",
        Way::Slowly(half_open),
    ),
    Check::should(
        "RFC5382-REQ-6",
        "payloads are left alone (no application level gateways but for FTP)",
        Way::Probe(payloads),
    ),
    Check::must(
        "RFC5382-REQ-7",
        "no two hosts share a port outside (no port overloading)",
        Way::Probe(|probe| overloading(probe, syn)),
    ),
    Check::must("RFC5382-REQ-8", "hairpinning", Way::Probe(|probe| hairpinning(probe, false))),
    Check::must(
        "RFC5382-REQ-8a",
        "what is hairpinned comes from the caller's address and port outside",
        Way::Probe(|probe| hairpinning(probe, true)),
    ),
    Check::should(
        "RFC5382-REQ-9",
        "ICMP destination unreachable is translated",
        Way::Probe(unreachable),
    ),
    Check::must(
        "RFC5382-REQ-10",
        "no ICMP message ends a connection",
        Way::Probe(errors_end_nothing),
    ),
];

/// The first segments of a connection; how it is seen outside.
pub(super) fn open(
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
    probe.segment_out(client, server, &Segment::bare(TcpFlags::SYN, 1, 0))
}

pub(super) fn handshake(probe: &mut Probe) -> Result<Verdict, Error> {
    let Some(connection) = probe.connected()? else { return Ok(no_connection()) };
    let open = probe.is_open(connection)?;
    Ok(Verdict::of(open, format!("seen as {}; data went both ways: {open}", connection.external)))
}

fn half_close(probe: &mut Probe) -> Result<Verdict, Error> {
    let Some(connection) = probe.connected()? else { return Ok(no_connection()) };
    let [mine, theirs] = Connection::NEXT;
    // Sequence numbers: the client's FIN takes one, the server's data of four bytes, then its FIN.
    let data = Segment { payload: b"data".to_vec(), ..Segment::bare(PUSH, theirs, mine + 1) };
    let steps = [
        (
            "the client closes, the server says so",
            Segment::bare(FIN_ACK, mine, theirs),
            Segment::bare(TcpFlags::ACK, theirs, mine + 1),
        ),
        ("the server still sends data", Segment::bare(TcpFlags::ACK, mine + 1, theirs), data),
        (
            "the client has them, the server closes",
            Segment::bare(TcpFlags::ACK, mine + 1, theirs + 4),
            Segment::bare(FIN_ACK, theirs + 4, mine + 1),
        ),
        (
            "the client says so, the server did not hear it and closes once more",
            Segment::bare(TcpFlags::ACK, mine + 1, theirs + 5),
            Segment::bare(FIN_ACK, theirs + 4, mine + 1),
        ),
    ];
    for (step, out, back) in &steps {
        if !probe.carries(connection, out, back)? {
            return Ok(Verdict::Fail(format!("not both segments got through: {step}")));
        }
    }
    Ok(Verdict::Pass("two FINs, data between them, the last FIN twice".to_owned()))
}

/// A connection that is open, and another service from which it is not.
fn inbound(probe: &mut Probe) -> Result<Verdict, Error> {
    let Some(Connection { client, external, .. }) = probe.connected()? else {
        return Ok(no_connection());
    };
    let caller = probe.server(1, 0);
    let syn = Segment::bare(TcpFlags::SYN, 500, 0);
    let Some(seen) = probe.segment_back(caller, external, &syn)? else {
        return Ok(Verdict::NotApplicable("filtering lets none in".to_owned()));
    };
    let connection = Connection { client, server: caller, external };
    let open = probe.carries(
        connection,
        &Segment::bare(SYN_ACK, 700, 501),
        &Segment::bare(TcpFlags::ACK, 501, 701),
    )?;
    let right = seen == (caller, client) && open;
    Ok(Verdict::of(right, format!("a connection of {caller} came about: {right}")))
}

pub(super) fn simultaneous(probe: &mut Probe) -> Result<Verdict, Error> {
    let (client, server) = probe.pair();
    let syn = Segment::bare(TcpFlags::SYN, 100, 0);
    let Some(external) = probe.segment_out(client, server, &syn)? else {
        return Ok(nothing_outside());
    };
    let met = probe.segment_back(server, external, &Segment::bare(TcpFlags::SYN, 900, 0))?;
    let met = met == Some((server, client));
    let connection = Connection { client, server, external };
    let done = probe.carries(
        connection,
        &Segment::bare(SYN_ACK, 100, 901),
        &Segment::bare(SYN_ACK, 900, 101),
    )?;
    Ok(Verdict::of(met && done, format!("the SYN came in: {met}; SYN and ACK both ways: {done}")))
}

/// Whom a connection lets in; nothing if there is none.
pub(super) fn filter(probe: &mut Probe) -> Result<Option<Filtering>, Error> {
    let Some(connection) = probe.connected()? else { return Ok(None) };
    let mut comes = |number, port| {
        let from = probe.server(number, port);
        let syn = Segment::bare(TcpFlags::SYN, 5, 0);
        let seen = probe.segment_back(from, connection.external, &syn)?;
        Ok::<_, Error>(seen == Some((from, connection.client)))
    };
    // That the server itself gets in, the connection has shown.
    Ok(Some(Filtering::of(true, comes(0, 1)?, comes(1, 0)?)))
}

fn filtering(probe: &mut Probe) -> Result<Verdict, Error> {
    let Some(kind) = filter(probe)? else { return Ok(no_connection()) };
    Ok(Verdict::of(kind.is_recommended(), kind.told()))
}

/// How long a SYN that nobody asked for may not be answered.
const SILENCE: Duration = Duration::from_secs(6);

/// What the NAT says to a SYN of a server's to it, for so long as it may not.
fn answer_to_syn(
    probe: &mut Probe,
    server: SocketAddr,
    external: SocketAddr,
) -> Result<Option<String>, Error> {
    probe.outside.forget()?;
    probe.outside.send(&Frame::tcp(server, external).flags(TcpFlags::SYN).build())?;
    let sent = Instant::now();
    let answer = probe.outside.expect(SILENCE, |packet| {
        (packet.ip.src == external.ip()).then_some(packet.ip.transport)
    })?;
    let after = sent.elapsed().as_secs_f64();
    Ok(answer.map(|answer| format!("{answer:?} came after {after:.1} s")))
}

fn unsolicited(probe: &mut Probe) -> Result<Verdict, Error> {
    // That the server is heard at all, a connection shows.
    if probe.connected()?.is_none() {
        return Ok(no_connection());
    }
    let (server, external) = (probe.server(0, 0), probe.unasked());
    let answer = answer_to_syn(probe, server, external)?;
    let seen = answer.clone().unwrap_or_else(|| format!("nothing came within {SILENCE:?}"));
    Ok(Verdict::of(answer.is_none(), seen))
}

/// A SYN of another port of the server's comes to a connection, and then the client turns to that
/// port. The server must hear of neither RST nor ICMP.
fn crossing(probe: &mut Probe) -> Result<Verdict, Error> {
    let Some(Connection { client, external, .. }) = probe.connected()? else {
        return Ok(no_connection());
    };
    let caller = probe.server(0, 1);
    let theirs = Segment::bare(TcpFlags::SYN, 900, 0);
    if probe.segment_back(caller, external, &theirs)?.is_some() {
        return Ok(Verdict::NotApplicable("filtering lets it in".to_owned()));
    }
    let mine = Segment::bare(TcpFlags::SYN, 100, 0);
    probe.inside.send(&Frame::tcp(client, caller).flags(TcpFlags::SYN).seq(100).build())?;
    let plan = &probe.plan;
    let mut answers = Vec::new();
    let seen = probe.outside.expect(SILENCE, |packet| {
        match tcp(packet) {
            Some(((from, to), segment)) if to == caller && segment == mine => return Some(from),
            _ if plan.is_external(packet.ip.src) => answers.push(packet.ip.transport),
            _ => {}
        }
        None
    })?;
    if seen != Some(external) {
        let seen = format!("the client is {} to that port, not {external}", text(seen));
        return Ok(Verdict::NotApplicable(seen));
    }
    let connection = Connection { client, server: caller, external };
    let synced = probe.segment_back(caller, external, &Segment::bare(SYN_ACK, 900, 101))?;
    let open = synced == Some((caller, client))
        && probe.carries(
            connection,
            &Segment::bare(TcpFlags::ACK, 101, 901),
            &Segment::bare(PUSH, 901, 101),
        )?;
    let seen = format!("answers to the first SYN: {answers:?}; a connection came about: {open}");
    Ok(Verdict::of(answers.is_empty() && open, seen))
}

fn half_open(probe: &mut Probe) -> Result<Verdict, Error> {
    const PAUSE: u64 = 239;
    let (client, server) = probe.pair();
    let syn = Segment::bare(TcpFlags::SYN, 100, 0);
    let Some(external) = probe.segment_out(client, server, &syn)? else {
        return Ok(nothing_outside());
    };
    probe.pause(Duration::from_secs(PAUSE))?;
    let back = probe.segment_back(server, external, &Segment::bare(SYN_ACK, 900, 101))?;
    let back = back == Some((server, client));
    Ok(Verdict::of(back, format!("SYN and ACK, {PAUSE} s after the SYN, {}", came(back))))
}

fn payloads(probe: &mut Probe) -> Result<Verdict, Error> {
    let client = probe.client(0, 5060);
    let server = SocketAddr::new(probe.server(0, 0).ip(), 5060);
    let Some(connection) = probe.connect(client, server)? else { return Ok(no_connection()) };
    let [mine, theirs] = Connection::NEXT;
    let payload = sip_request(client).into_bytes();
    let request = Segment { payload, ..Segment::bare(PUSH, mine, theirs) };
    let seen = probe.segment_out(client, server, &request)?;
    let whole = seen == Some(connection.external);
    Ok(Verdict::of(whole, "a SIP request with addresses in it".to_owned()))
}

fn hairpinning(probe: &mut Probe, by_external: bool) -> Result<Verdict, Error> {
    let Some(listener) = probe.connected()? else { return Ok(no_connection()) };
    let port = probe.port();
    let caller = probe.client(1, port);
    let Some(own) = probe.connect(caller, listener.server)? else { return Ok(no_connection()) };
    // Where filtering is by address, the one has to know the other.
    probe.segment_hairpin(listener.client, own.external, &Segment::bare(TcpFlags::SYN, 66, 0))?;
    let seen =
        probe.segment_hairpin(caller, listener.external, &Segment::bare(TcpFlags::SYN, 77, 0))?;
    let right = seen.is_some_and(|(from, to)| {
        let by = if by_external { from == own.external } else { probe.plan.is_external(from.ip()) };
        by && to == listener.client
    });
    let from = text(seen.map(|(from, _)| from));
    let seen = format!(
        "a SYN of {caller}, {} outside, to {}, as seen inside: {from}",
        own.external, listener.external
    );
    Ok(Verdict::of(right, seen))
}

/// An ICMP error of the server about a segment of the client's; what is heard of it inside.
fn error_about(
    probe: &mut Probe,
    connection: Connection,
    kind: IcmpErrorKind,
) -> Result<Option<Heard>, Error> {
    let Connection { server, external, .. } = connection;
    let [mine, theirs] = Connection::NEXT;
    let about = Frame::tcp(external, server).flags(TcpFlags::ACK).seq(mine).ack(theirs).build();
    probe.error_back(&about, kind, server.ip(), |_| ())
}

fn unreachable(probe: &mut Probe) -> Result<Verdict, Error> {
    let Some(connection) = probe.connected()? else { return Ok(no_connection()) };
    let kind = IcmpErrorKind::Unreachable { code: 1 };
    let heard = error_about(probe, connection, kind)?;
    let about = Some((connection.client, connection.server));
    let right = heard.is_some_and(|it| it.kind == kind && it.about == about);
    Ok(Verdict::of(right, format!("a host unreachable came, about the client's segment: {right}")))
}

fn errors_end_nothing(probe: &mut Probe) -> Result<Verdict, Error> {
    let Some(connection) = probe.connected()? else { return Ok(no_connection()) };
    for kind in errors() {
        error_about(probe, connection, kind)?;
        if !probe.is_open(connection)? {
            return Ok(Verdict::Fail(format!("after {kind:?} data do not go both ways")));
        }
    }
    let kinds = errors().count();
    Ok(Verdict::Pass(format!("after {kinds} kinds of errors data still go both ways")))
}
