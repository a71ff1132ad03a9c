//! How a NAT deals out ports, judged by many flows: statistics with bounds that a NAT which draws
//! lots keeps, but for one run in a million.

use std::collections::HashSet;
use std::net::SocketAddr;

use super::Open;
use crate::conform::check::Verdict;
use crate::conform::probe::Probe;
use crate::error::Error;

/// Flows of each of two clients whose ports outside may not be the same ones: with ports dealt out
/// at random and without regard to each other, 15.5 are expected to be.
const MANY: u16 = 1000;

/// Flows whose ports are judged.
const SAMPLE: u16 = 256;

/// Ports of NATs: 1024 to 65535 (RFC 4787, REQ-3a; AWS's as well).
pub const FIRST: u16 = 1024;

/// The range is looked at in so many equal parts, of 4,032 ports each.
const PARTS: u16 = 16;

/// Chi-square of [`SAMPLE`] ports in [`PARTS`] parts that lots exceed in one run of five million.
const MOST_UNEVEN: f64 = 60.0;

/// Two ports, one dealt out after the other, are neighbours if no further apart.
const NEAR: u16 = 8;

/// Of [`SAMPLE`] lots 0.07 are neighbours of the one before; more than this, in one run of a
/// million.
const MOST_NEIGHBOURS: usize = 3;

/// What two clients, by the same ports towards different servers, have in common outside.
pub struct Shared {
    /// Ports that both had.
    pub ports: usize,
    /// Flows that did not come.
    pub lost: usize,
}

impl Shared {
    /// Opens flows of both.
    pub fn find(probe: &mut Probe, open: Open) -> Result<Self, Error> {
        let mut seen = [HashSet::new(), HashSet::new()];
        let mut lost = 0;
        for _ in 0..MANY {
            let port = probe.port();
            for (number, seen) in seen.iter_mut().enumerate() {
                match open(probe, probe.client(number, port), probe.server(number, 0))? {
                    None => lost += 1,
                    Some(external) => drop(seen.insert(external)),
                }
            }
        }
        let ports = seen[0].intersection(&seen[1]).count();
        Ok(Self { ports, lost })
    }

    pub fn told(&self) -> String {
        format!(
            "of {MANY} ports of one host and {MANY} of another, towards different servers, {} were \
             the same outside; {} flows did not come",
            self.ports, self.lost
        )
    }
}

/// Whether two clients are told apart by nothing but the server: then nobody could have one mapping
/// for all.
pub fn overloading(probe: &mut Probe, open: Open) -> Result<Verdict, Error> {
    let shared = Shared::find(probe, open)?;
    Ok(Verdict::of(shared.ports == 0 && shared.lost == 0, shared.told()))
}

/// The ports of many flows of one client to one server, and those that they have outside, in the
/// order in which they were opened.
pub struct Dealt(Vec<(u16, u16)>);

impl Dealt {
    /// Opens flows. Before each, another client opens the same port to the same server if it is to be
    /// `contested`: who would keep it cannot. Nothing if one does not come.
    pub fn out(probe: &mut Probe, contested: bool) -> Result<Option<Self>, Error> {
        let mut ports = Vec::new();
        for _ in 0..SAMPLE {
            let (client, server) = probe.pair();
            if contested {
                probe.out(probe.client(1, client.port()), server)?;
            }
            let Some(external) = probe.out(client, server)? else { return Ok(None) };
            ports.push((client.port(), external.port()));
        }
        Ok(Some(Self(ports)))
    }

    /// How many are the client's own.
    fn kept(&self) -> usize {
        self.0.iter().filter(|(own, outside)| own == outside).count()
    }

    /// Whether all are.
    pub fn are_kept(&self) -> bool {
        self.kept() == self.0.len()
    }

    /// How many are close to the one dealt out before.
    fn neighbours(&self) -> usize {
        let near = |pair: &&[(u16, u16)]| pair[0].1.abs_diff(pair[1].1) <= NEAR;
        self.0.windows(2).filter(near).count()
    }

    /// How unevenly they are spread over the range: Pearson's chi-square.
    fn unevenness(&self) -> f64 {
        let expected = f64::from(SAMPLE) / f64::from(PARTS);
        let mut parts = [0_u32; PARTS as usize];
        for (_, port) in &self.0 {
            let size = (u16::MAX - FIRST) / PARTS + 1;
            parts[usize::from(port.saturating_sub(FIRST) / size)] += 1;
        }
        parts.iter().map(|it| (f64::from(*it) - expected).powi(2) / expected).sum()
    }

    /// Whether somebody who has seen some can guess the next.
    pub fn unpredictable(&self) -> Verdict {
        let (kept, neighbours, unevenness) = (self.kept(), self.neighbours(), self.unevenness());
        let hard =
            kept <= MOST_NEIGHBOURS && neighbours <= MOST_NEIGHBOURS && unevenness <= MOST_UNEVEN;
        let seen = format!(
            "of {SAMPLE} ports {kept} were the client's, {neighbours} within {NEAR} of the one \
             before, and over {PARTS} parts of the range chi-square is {unevenness:.0} (lots stay \
             below {MOST_UNEVEN})"
        );
        Verdict::of(hard, seen)
    }

    /// The lowest and the highest.
    pub fn range(&self) -> (u16, u16) {
        let of = self.0.iter().map(|(_, outside)| *outside);
        of.fold((u16::MAX, 0), |(low, high), it| (low.min(it), high.max(it)))
    }
}

/// What came of many flows of one client and then of others towards one service.
pub struct Filled {
    /// How they were seen, all different.
    pub seen: HashSet<SocketAddr>,
    /// How many had what another had.
    pub twice: usize,
    /// The first that did not come.
    pub refused: Option<SocketAddr>,
}

impl Filled {
    /// Opens `count` flows, from all ports that a client has, then all of the next.
    pub fn with(probe: &mut Probe, count: usize) -> Result<Self, Error> {
        let mut this = Self { seen: HashSet::new(), twice: 0, refused: None };
        let server = probe.server(1, 1);
        let ports = usize::from(u16::MAX - FIRST) + 1;
        for number in 0..count {
            let (client, port) = (number / ports, FIRST + (number % ports) as u16);
            let Some(client) = probe.plan.clients.get(client).map(|it| (*it, port).into()) else {
                break;
            };
            let Some(external) = probe.out(client, server)? else {
                this.refused = Some(client);
                break;
            };
            this.twice += usize::from(!this.seen.insert(external));
        }
        Ok(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dealt(port: impl Fn(u16) -> u16) -> Dealt {
        Dealt((0..SAMPLE).map(|number| (20_000 + number, port(number))).collect())
    }

    /// Lots of a generator with a known seed: `SplitMix64`.
    fn lot(seed: u64) -> u16 {
        let mut value = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        FIRST + ((value ^ (value >> 31)) % u64::from(u16::MAX - FIRST + 1)) as u16
    }

    #[test]
    fn lots_cannot_be_guessed() {
        for run in 1..200 {
            let dealt = dealt(|number| lot(run * 1000 + u64::from(number)));
            assert!(matches!(dealt.unpredictable(), Verdict::Pass(_)), "{:?}", dealt.0);
        }
    }

    #[test]
    fn what_follows_a_rule_can_be_guessed() {
        let rules: [fn(u16) -> u16; 5] = [
            |number| 20_000 + number,
            |number| 1024 + number,
            |number| 60_000 - 3 * number,
            // At random, but within a block.
            |number| 40_000 + lot(number.into()) % 4000,
            // The client's own, if it is not taken.
            |number| if number % 16 == 0 { 20_000 + number } else { lot(number.into()) },
        ];
        for rule in rules {
            let dealt = dealt(rule);
            assert!(matches!(dealt.unpredictable(), Verdict::Fail(_)), "{:?}", dealt.0);
        }
    }
}
