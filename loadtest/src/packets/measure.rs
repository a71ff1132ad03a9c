//! One trial of `packets`: set both ends up, have the gateway learn the flows, send, and count.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use halfspace_testbed::Interrupt;

use super::options::{Arguments, Pace, TrialSize};
use super::report::Trial;
use crate::error::Error;
use crate::frames::Protocol;
use crate::frames::build::TcpFlags;
use crate::frames::sender::Order;
use crate::frames::sink::{Counters, Sink, Tracking};
use crate::frames::stage::{Needs, Stage};
use crate::output::{Progress, human};

/// Rates are taken from that long after the start on: the sender finds its stride first.
const RAMP: Duration = Duration::from_millis(500);

/// How long frames may be under way after the last was sent.
const DRAIN: Duration = Duration::from_millis(300);

/// How often progress is shown.
const BEAT: Duration = Duration::from_millis(200);

/// Frames that should carry the time, of all that are sent. A prime below, so that they are not
/// always of the same flows.
const SAMPLES: f64 = 20_000.0;
const LONGEST_SAMPLE_INTERVAL: u32 = 1009;

/// Runs a trial.
///
/// # Errors
///
/// What keeps the frames from being sent or counted.
pub fn trial(
    arguments: &Arguments,
    size: &TrialSize,
    interrupt: &Interrupt,
) -> Result<Trial, Error> {
    let stage =
        Stage::open(&arguments.stage, arguments.receive.as_ref(), &needs(arguments, size)?)?;
    let flows = stage.plan.flows;
    let stopped = || interrupt.is_raised();
    let established = if arguments.new_flows || arguments.receive.is_none() {
        0
    } else {
        stage.establish(flows, arguments.warm_up_rate.get(), stopped)?
    };
    let before = (stage.sent()?, stage.arrived()?);
    let window = measure(&stage, arguments, interrupt)?;
    let sent = stage.sent()? - before.0;
    // The last frames are given time to arrive.
    let begun = Instant::now();
    while begun.elapsed() < DRAIN && (stage.arrived()? - before.1).valid < sent {
        std::thread::sleep(Duration::from_millis(5));
    }
    let arrived = stage.arrived()? - before.1;
    let latency = stage.sink().map(Sink::latencies).transpose()?.unwrap_or_default();
    Ok(Trial::new(arguments, size, &stage, established, window, sent, arrived, &latency))
}

/// What a trial needs of the stage.
fn needs(arguments: &Arguments, size: &TrialSize) -> Result<Needs, Error> {
    let too_many = || Error::Usage(format!("--flows {}: at most {}", arguments.flows, u32::MAX));
    let flows = if arguments.new_flows {
        arguments.stage.distinct()
    } else {
        u32::try_from(arguments.flows).map_err(|_| too_many())?
    };
    let tcp = arguments.stage.protocol == Protocol::Tcp;
    if tcp && !arguments.new_flows && arguments.receive.is_none() {
        return Err(Error::Usage(
            "TCP data needs a handshake, and that the far end: give --receive, or --new-flows to \
             send SYNs only"
                .to_owned(),
        ));
    }
    Ok(Needs {
        flows,
        distinct: flows,
        sizes: size.sizes,
        sample_interval: sample_interval(arguments),
        tracking: match (arguments.new_flows, tcp) {
            (true, _) => Tracking::Stream,
            (false, false) => Tracking::Flows(flows),
            (false, true) => Tracking::Answerable(flows),
        },
    })
}

fn sample_interval(arguments: &Arguments) -> u32 {
    let Pace::Rate(rate) = arguments.rate else { return LONGEST_SAMPLE_INTERVAL };
    let frames = rate.get() * arguments.duration.as_secs_f64();
    #[expect(clippy::cast_sign_loss, reason = "a positive number; casts saturate")]
    let interval = (frames / SAMPLES) as u32;
    // Odd: numbers of flows mostly are even, and each should be sampled.
    interval.clamp(1, LONGEST_SAMPLE_INTERVAL) | 1
}

/// Both ends' counts between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// Time between the two.
    pub time: Duration,
    /// Frames sent.
    pub sent: u64,
    /// Frames that arrived.
    pub arrived: Counters,
}

#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    sent: u64,
    arrived: Counters,
}

impl Reading {
    fn take(stage: &Stage) -> Result<Self, Error> {
        let (sent, arrived) = (stage.sent()?, stage.arrived()?);
        Ok(Self { at: Instant::now(), sent, arrived })
    }

    fn until(&self, end: &Self) -> Window {
        Window {
            time: end.at - self.at,
            sent: end.sent - self.sent,
            arrived: end.arrived - self.arrived,
        }
    }
}

/// Sends for the time asked for. What was counted without the ramp at the start.
fn measure(stage: &Stage, arguments: &Arguments, interrupt: &Interrupt) -> Result<Window, Error> {
    let mut order = Order::endless(stage.plan.flows);
    if arguments.new_flows {
        // Each flow once, and no more.
        order.count = stage.plan.flows.into();
        order.flags = TcpFlags::SYN;
    }
    let order = arguments.rate.set(order);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sending = scope
            .spawn(|| stage.send(&order, || done.load(Ordering::Relaxed) || interrupt.is_raised()));
        let finished = || sending.is_finished() || interrupt.is_raised();
        let window = watch(stage, arguments.duration, finished);
        done.store(true, Ordering::Relaxed);
        let halted = stage.halt();
        match sending.join() {
            Ok(sent) => sent?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        halted?;
        window
    })
}

/// Reads both ends until time is over or the sender has finished before.
fn watch(stage: &Stage, duration: Duration, finished: impl Fn() -> bool) -> Result<Window, Error> {
    let progress = Progress::of_time(duration);
    let begun = Instant::now();
    let ramp = RAMP.min(duration / 4);
    let mut first = Reading::take(stage)?;
    let mut last = first;
    let mut ramping = true;
    while begun.elapsed() < duration && !finished() {
        let end = if ramping { ramp } else { duration };
        let left = end.saturating_sub(begun.elapsed());
        std::thread::sleep(left.min(BEAT));
        let now = Reading::take(stage)?;
        if ramping && begun.elapsed() >= ramp {
            (first, ramping) = (now, false);
        } else {
            let beat = last.until(&now);
            #[expect(clippy::cast_precision_loss, reason = "for people")]
            let rate = |frames: u64| human(frames as f64 / beat.time.as_secs_f64().max(1e-9));
            progress.elapsed(begun.elapsed());
            progress.say(format!(
                "{} sent/s, {} received/s",
                rate(beat.sent),
                rate(beat.arrived.valid)
            ));
        }
        last = now;
    }
    Ok(first.until(&last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_frames_carry_the_time_at_any_rate() {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            arguments: Arguments,
        }
        let interval = |rate: &str, duration: &str| {
            let words = ["packets", "--send", "a", "--source", "10.0.0.0/24", "--destination"];
            let more = ["10.1.0.0/24", "--rate", rate, "--duration", duration];
            let cli = <Cli as clap::Parser>::parse_from(words.into_iter().chain(more));
            sample_interval(&cli.arguments)
        };
        assert_eq!(interval("line", "10s"), 1009);
        assert_eq!(interval("1000", "10s"), 1);
        assert_eq!(interval("100k", "10s"), 51);
        assert_eq!(interval("10M", "10s"), 1009);
    }
}
