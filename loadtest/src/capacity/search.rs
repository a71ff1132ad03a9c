//! The searches for the highest establishment rate and for the capacity.

use serde::Serialize;

use super::trial::{Bench, Trial};
use crate::error::Error;

/// A search ends when the least that fails is no more than this factor above the most that passes.
const PRECISION: f64 = 1.05;
/// The same for the capacity, which is a hard limit and sharper.
const CAPACITY_PRECISION: f64 = 1.01;

/// The lowest rate that is tried is this part of the highest.
const LOWEST: f64 = 1024.0;

/// A trial whose sender reached less than this part of its rate did not test that rate.
const REACHED: f64 = 0.9;

/// RFC 9693: the part of the establishment rate at which tables are filled.
const SAFE: f64 = 0.8;

/// How tables are filled if the establishment rate is not known.
const DEFAULT_FILL_RATE: f64 = 50_000.0;

/// The first table that is tried.
const FIRST_TABLE: u32 = 1000;

/// How much slower a table is filled again that failed: a gateway with room has time for it then.
const SLOWER: f64 = 0.25;

/// The highest rate at which every connection is established.
#[derive(Clone, Debug, Serialize)]
pub struct EstablishmentRate {
    /// That rate; zero if no trial passed.
    pub connections_per_second: f64,
    /// Connections of each trial.
    pub connections: u32,
    /// What ended the search: `gateway`, `max-rate`, `sender` (it went no faster), `max-trials`,
    /// `max-time`, `interrupt`.
    pub limited_by: &'static str,
    /// All trials, in order.
    pub trials: Vec<Trial>,
}

/// The most connections that the gateway tracks at a time.
#[derive(Clone, Debug, Serialize)]
pub struct Capacity {
    /// Connections; zero if no trial passed.
    pub connections: u32,
    /// The fewest that did not all pass, if any.
    pub fails_at: Option<u32>,
    /// Rate at which the table was filled, a second.
    pub fill_per_second: f64,
    /// What ended the search: `gateway`, `max-flows`, `max-trials`, `max-time`, `interrupt`.
    pub limited_by: &'static str,
    /// All trials, in order.
    pub trials: Vec<Trial>,
}

/// Searches the rate between the highest allowed and a thousandth of it.
///
/// # Errors
///
/// As [`Bench::trial`].
pub fn establishment_rate(bench: &mut Bench) -> Result<EstablishmentRate, Error> {
    // At most a u32: checked before.
    let connections = bench.arguments.flows as u32;
    let most = bench.arguments.max_rate.get();
    let mut trials = Vec::new();
    let (best, limited_by) = search_rate(most, |rate| {
        if let Some(why) = bench.exhausted() {
            return Ok(Err(why));
        }
        let trial = bench.trial(connections, rate)?;
        trials.push(trial);
        Ok(Ok((trial.is_passed(), trial.reached_per_second)))
    })?;
    Ok(EstablishmentRate { connections_per_second: best, connections, limited_by, trials })
}

/// What a trial at a rate gives: whether it passed and the rate reached, or why there is none.
type Attempt = Result<Result<(bool, f64), &'static str>, Error>;

/// Halves the (logarithmic) distance between what passes and what fails.
fn search_rate(
    most: f64,
    mut attempt: impl FnMut(f64) -> Attempt,
) -> Result<(f64, &'static str), Error> {
    let (mut low, mut high, mut best) = (most / LOWEST, most, 0.0_f64);
    let mut limit = "max-rate";
    let mut rate = most;
    loop {
        let (passed, reached) = match attempt(rate)? {
            Ok(result) => result,
            Err(why) => return Ok((best, why)),
        };
        // A sender that lags a little is no reason to claim more than it sent.
        let sent = reached.min(rate);
        if passed {
            best = best.max(sent);
            low = low.max(rate);
            if reached < rate * REACHED {
                return Ok((best, "sender"));
            }
        } else {
            limit = "gateway";
            high = rate;
        }
        if high / low <= PRECISION {
            return Ok((best, limit));
        }
        rate = (low * high).sqrt();
    }
}

/// Fills ever larger tables, twice as large each time, until one fails, and searches between that
/// and the last.
///
/// # Errors
///
/// As [`Bench::trial`].
pub fn capacity(bench: &mut Bench, establishment_rate: Option<f64>) -> Result<Capacity, Error> {
    let known = establishment_rate.filter(|rate| *rate > 0.0).map(|rate| rate * SAFE);
    let given = bench.arguments.fill_rate.map(crate::output::Rate::get);
    let rate = given.or(known).unwrap_or(DEFAULT_FILL_RATE);
    let most = bench.arguments.max_flows as u32;
    let mut trials = Vec::new();
    let (connections, fails_at, limited_by) = search_capacity(most, |connections| {
        // A second chance, slower: what was lost to haste is no limit of the table.
        for rate in [rate, rate * SLOWER] {
            if let Some(why) = bench.exhausted() {
                return Ok(Err(why));
            }
            let trial = bench.trial(connections, rate)?;
            trials.push(trial);
            if trial.is_passed() {
                return Ok(Ok(true));
            }
        }
        Ok(Ok(false))
    })?;
    Ok(Capacity { connections, fails_at, fill_per_second: rate, limited_by, trials })
}

/// Doubles until a table fails, then halves the distance.
fn search_capacity(
    most: u32,
    mut attempt: impl FnMut(u32) -> Result<Result<bool, &'static str>, Error>,
) -> Result<(u32, Option<u32>, &'static str), Error> {
    let (mut good, mut bad) = (0, None);
    let mut size = FIRST_TABLE.min(most);
    loop {
        match attempt(size)? {
            Err(why) => return Ok((good, bad, why)),
            Ok(true) => good = size,
            Ok(false) => bad = Some(size),
        }
        match bad {
            None if good >= most => return Ok((good, None, "max-flows")),
            None => size = good.saturating_mul(2).min(most),
            Some(bad) => {
                let close = f64::from(bad) <= f64::from(good) * CAPACITY_PRECISION;
                if close || bad - good <= 1 {
                    return Ok((good, Some(bad), "gateway"));
                }
                size = good + (bad - good) / 2;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gateway that takes up to `limit` a second, and a sender that goes up to `fastest`.
    fn rate_of(limit: f64, fastest: f64, most: f64) -> (f64, &'static str, u32) {
        let mut trials = 0;
        let found = search_rate(most, |rate| {
            trials += 1;
            let reached = rate.min(fastest);
            Ok(Ok((reached <= limit, reached)))
        });
        let (rate, why) = found.unwrap();
        (rate, why, trials)
    }

    #[test]
    fn the_rate_found_is_within_five_percent_below_the_gateway_s() {
        for limit in [1_500.0, 20_000.0, 333_333.0, 999_000.0] {
            let (rate, why, trials) = rate_of(limit, f64::MAX, 1e6);
            assert!(rate <= limit && rate * PRECISION >= limit, "{limit}: {rate}");
            assert_eq!(why, "gateway");
            assert!(trials <= 10, "{limit}: {trials}");
        }
    }

    #[test]
    fn a_rate_says_what_limited_it() {
        assert_eq!(rate_of(f64::MAX, f64::MAX, 1e6), (1e6, "max-rate", 1));
        assert_eq!(rate_of(f64::MAX, 4e5, 1e6), (4e5, "sender", 1));
        assert!(rate_of(0.0, f64::MAX, 1e6).0 <= 0.0);
        let nothing = search_rate(1e6, |_| Ok(Err("max-time"))).unwrap();
        assert_eq!(nothing, (0.0, "max-time"));
    }

    fn capacity_of(limit: u32, most: u32) -> (u32, Option<u32>, &'static str) {
        search_capacity(most, |size| Ok(Ok(size <= limit))).unwrap()
    }

    #[test]
    fn the_capacity_found_is_within_one_percent_and_what_fails_is_above_it() {
        for limit in [1, 137, 999, 1000, 65_536, 262_144, 999_999] {
            let (found, fails, why) = capacity_of(limit, 1_000_000);
            assert!(
                found <= limit && f64::from(limit) <= f64::from(found) * 1.01,
                "{limit}: {found}"
            );
            assert!(fails.unwrap() > limit && why == "gateway", "{limit}: {fails:?}, {why}");
        }
        assert_eq!(capacity_of(5_000_000, 1_000_000), (1_000_000, None, "max-flows"));
        assert_eq!(capacity_of(0, 1_000_000), (0, Some(1), "gateway"));
        assert_eq!(capacity_of(10, 7), (7, None, "max-flows"));
    }

    #[test]
    fn a_search_that_runs_out_of_trials_keeps_what_it_has() {
        let mut left = 3;
        let found = search_capacity(1_000_000, |_| {
            left -= 1;
            Ok(if left < 0 { Err("max-trials") } else { Ok(true) })
        });
        assert_eq!(found.unwrap(), (4000, None, "max-trials"));
    }
}
