//! How fast the gateway removes connections.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::command;
use super::trial::Bench;
use crate::error::Error;
use crate::frames::Protocol;

/// How fast the gateway removes connections.
#[derive(Clone, Debug, Serialize)]
pub struct TearDownRate {
    /// Removed a second; nothing if the table did not empty in time, or nobody could tell.
    pub connections_per_second: Option<f64>,
    /// Connections that were there before, by the gateway's own count.
    pub connections: u64,
    /// Of them left at the end.
    pub left: u64,
    /// What had them removed: `command`, `rst` or `idle`; `none` if it was not measured.
    pub trigger: &'static str,
    /// Time over which they were removed. After a command its whole time, less what it takes on
    /// an empty table; otherwise from when the count began to fall until it ended.
    pub seconds: f64,
    /// Time from the trigger until the first of them was gone.
    pub seconds_until_first: f64,
    /// Why nothing was measured, if so.
    pub note: Option<String>,
}

/// Fills a table, has it emptied, and takes the time.
///
/// # Errors
///
/// What the sender meets, or a command of the user's.
pub fn measure(bench: &mut Bench) -> Result<TearDownRate, Error> {
    let nothing = |note: &str| TearDownRate {
        connections_per_second: None,
        connections: 0,
        left: 0,
        trigger: "none",
        seconds: 0.0,
        seconds_until_first: 0.0,
        note: Some(note.to_owned()),
    };
    if bench.arguments.count_command.is_none() {
        return Ok(nothing("without --count-command nobody can tell when the table is empty"));
    }
    bench.clear()?;
    // What trials before left behind would count.
    bench.await_empty(bench.arguments.patience)?;
    if let Some(why) = bench.exhausted() {
        return Ok(nothing(why));
    }
    // RFC 9693: what the command costs by itself is no removal.
    let empty = match bench.arguments.tear_down_command.as_deref() {
        Some(line) => timed(|| command::run(&bench.namespace, line).map(drop))?,
        None => Duration::ZERO,
    };
    let rate = bench.arguments.fill_rate.unwrap_or(bench.arguments.validation_rate).get();
    // At most a u32: checked before.
    let trial = bench.trial(bench.arguments.flows as u32, rate)?;
    let full = bench.count()?.unwrap_or(0).saturating_sub(bench.base);
    if full == 0 {
        return Ok(nothing("the gateway counts no connection more than before: check the command"));
    }
    let (trigger, own) = match bench.arguments.tear_down_command.as_deref() {
        Some(line) => ("command", timed(|| command::run(&bench.namespace, line).map(drop))?),
        None if bench.stage.plan.protocol == Protocol::Tcp => {
            if let Some((first, connections)) = bench.last() {
                bench.reset(first, connections)?;
            }
            ("rst", Duration::ZERO)
        }
        None => ("idle", Duration::ZERO),
    };
    let seen = bench.await_empty(bench.arguments.patience)?;
    let span = fall(&seen, full + bench.base);
    let left = seen.last().map_or(full, |(_, count)| count.saturating_sub(bench.base));
    // A command may return when all is done, or have only started it.
    let time = own.saturating_sub(empty) + span.end.saturating_sub(span.begin);
    let seconds = time.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a table has far fewer than 2^52 entries")]
    let rate = (left == 0 && seconds > 0.0).then(|| full as f64 / seconds);
    let complete = trial.is_passed().then_some(());
    Ok(TearDownRate {
        connections_per_second: rate,
        connections: full,
        left,
        trigger,
        seconds,
        seconds_until_first: span.begin.as_secs_f64(),
        note: complete.is_none().then(|| {
            format!("of {} connections only {} were there", trial.connections, trial.validated)
        }),
    })
}

/// When the count was last seen full, and when first at its lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fall {
    begin: Duration,
    end: Duration,
}

fn fall(seen: &[(Duration, u64)], full: u64) -> Fall {
    let last = seen.last().map_or(full, |(_, count)| *count);
    let begin = seen.iter().take_while(|(_, count)| *count >= full).last();
    let end = seen.iter().find(|(_, count)| *count == last);
    Fall {
        begin: begin.map_or(Duration::ZERO, |(at, _)| *at),
        end: end.map_or(Duration::ZERO, |(at, _)| *at),
    }
}

fn timed(work: impl FnOnce() -> Result<(), Error>) -> Result<Duration, Error> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(moments: &[(u64, u64)]) -> Vec<(Duration, u64)> {
        moments.iter().map(|&(ms, count)| (Duration::from_millis(ms), count)).collect()
    }

    #[test]
    fn the_fall_is_from_the_last_full_table_to_the_first_empty_one() {
        let seen = at(&[(0, 100), (5, 100), (10, 60), (15, 20), (20, 0), (25, 0)]);
        let (begin, end) = (Duration::from_millis(5), Duration::from_millis(20));
        assert_eq!(fall(&seen, 100), Fall { begin, end });
        // Already empty when first asked.
        let nothing = Fall { begin: Duration::ZERO, end: Duration::ZERO };
        assert_eq!(fall(&at(&[(0, 0)]), 100), nothing);
        assert_eq!(fall(&[], 100), nothing);
    }
}
