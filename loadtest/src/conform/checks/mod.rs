//! What is checked, one file for each document.

mod rfc4787;
mod rfc5382;
mod rfc5508;
mod transparency;

use std::collections::HashSet;
use std::net::SocketAddr;

use super::check::{Check, Verdict};
use super::probe::Probe;
use crate::error::Error;

/// All checks, in the order of their documents.
pub fn all() -> impl Iterator<Item = &'static Check> {
    [rfc4787::CHECKS, rfc5382::CHECKS, rfc5508::CHECKS, transparency::CHECKS].into_iter().flatten()
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

/// For people.
fn text(seen: Option<SocketAddr>) -> String {
    seen.map_or_else(|| "nothing came".to_owned(), |it| it.to_string())
}

/// For people.
fn texts(seen: &[Option<SocketAddr>]) -> String {
    seen.iter().map(|it| text(*it)).collect::<Vec<_>>().join(", ")
}

/// Flows of each of two clients whose ports outside may not be the same ones: with ports dealt out
/// at random and without regard to each other, some would be in all but one of ten thousand runs.
const MANY: u16 = 800;

/// Whether two clients, by the same ports towards different servers, are told apart by nothing but
/// the server: then nobody could have one mapping for all.
fn overloading(probe: &mut Probe, open: Open) -> Result<Verdict, Error> {
    let mut of_first = HashSet::new();
    let (mut shared, mut lost) = (0, 0);
    for _ in 0..MANY {
        let port = probe.port();
        for number in [0, 1] {
            match open(probe, probe.client(number, port), probe.server(number, 0))? {
                None => lost += 1,
                Some(seen) if number == 0 => drop(of_first.insert(seen)),
                Some(seen) => shared += u32::from(of_first.contains(&seen)),
            }
        }
    }
    let seen = format!(
        "of {MANY} ports of one host and {MANY} of another, towards different servers, {shared} \
         were the same outside; {lost} flows did not come"
    );
    Ok(Verdict::of(shared == 0 && lost == 0, seen))
}
