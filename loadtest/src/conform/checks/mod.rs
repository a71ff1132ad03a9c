//! What is checked, one file for each document; `ports` has how ports are dealt out, which several
//! ask about.

mod aws;
mod exhaustion;
mod ports;
mod rfc4787;
mod rfc5382;
mod rfc5508;
mod rfc6146;
mod rfc6888;
mod rfc7857;
mod transparency;

use std::net::SocketAddr;

use super::check::{Check, Verdict};
use super::probe::Probe;
use crate::error::Error;

/// Those of a NAT between IPv4 and IPv4, in the order of their documents.
pub fn nat44() -> impl Iterator<Item = &'static Check> {
    let documents = [
        rfc4787::CHECKS,
        rfc5382::CHECKS,
        rfc5508::CHECKS,
        rfc7857::CHECKS,
        rfc6888::CHECKS,
        transparency::CHECKS,
        aws::CHECKS,
        exhaustion::CHECKS,
    ];
    documents.into_iter().flatten()
}

/// Those of a NAT64.
pub fn nat64() -> impl Iterator<Item = &'static Check> {
    rfc6146::CHECKS.iter()
}

/// Opens a mapping from one client to one server, and tells how that is seen outside.
type Open = fn(&mut Probe, SocketAddr, SocketAddr) -> Result<Option<SocketAddr>, Error>;

/// How one client, by one port, is seen by three services: of two hosts and of two ports of one of
/// them. Before it turns to the last, another client has opened the same port to that. A NAT that
/// keeps ports, and gives the same one to two hosts while their servers differ, looks
/// endpoint-independent until then.
fn seen_by_three(probe: &mut Probe, open: Open) -> Result<[Option<SocketAddr>; 3], Error> {
    let port = probe.port();
    let (client, other) = (probe.client(0, port), probe.client(1, port));
    let [first, second, third] = [(0, 0), (0, 1), (1, 0)].map(|(n, port)| probe.server(n, port));
    let seen = open(probe, client, first)?;
    open(probe, other, third)?;
    Ok([seen, open(probe, client, second)?, open(probe, client, third)?])
}

/// Whether mapping is endpoint-independent.
fn mapping(probe: &mut Probe, open: Open) -> Result<Verdict, Error> {
    let seen = seen_by_three(probe, open)?;
    let same = seen[0].is_some() && seen.iter().all(|it| *it == seen[0]);
    Ok(Verdict::of(same, format!("seen as {}", texts(&seen))))
}

/// Whom a mapping lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filtering {
    EndpointIndependent,
    AddressDependent,
    AddressAndPortDependent,
    /// Not even whom it was opened for, or a stranger and no friend.
    None,
}

impl Filtering {
    /// By who gets in: the server of the mapping, another port of its, another host.
    const fn of(server: bool, other_port: bool, other_host: bool) -> Self {
        match (server, other_port, other_host) {
            (true, true, true) => Self::EndpointIndependent,
            (true, true, false) => Self::AddressDependent,
            (true, false, false) => Self::AddressAndPortDependent,
            _ => Self::None,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address- and port-dependent",
            Self::None => {
                "of no kind: an answer does not come in, or a stranger's packet does and a friend's \
                 not"
            }
        }
    }

    /// RFC 4787, REQ-8, and RFC 5382, REQ-3, recommend either.
    fn is_recommended(self) -> bool {
        matches!(self, Self::EndpointIndependent | Self::AddressDependent)
    }

    fn told(self) -> String {
        format!("filtering is {}", self.words())
    }
}

/// Of a NAT that lets nothing through, nothing else can be said.
fn nothing_outside() -> Verdict {
    Verdict::Fail("nothing came outside".to_owned())
}

fn no_connection() -> Verdict {
    Verdict::Fail("no connection came about".to_owned())
}

/// For people.
fn text(seen: Option<SocketAddr>) -> String {
    seen.map_or_else(|| "nothing came".to_owned(), |it| it.to_string())
}

/// For people.
fn texts(seen: &[Option<SocketAddr>]) -> String {
    seen.iter().map(|it| text(*it)).collect::<Vec<_>>().join(", ")
}

/// For people.
const fn came(it: bool) -> &'static str {
    if it { "came in" } else { "did not come in" }
}
