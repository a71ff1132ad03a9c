//! Running a program that writes frames on live frames (`BPF_F_TEST_XDP_LIVE_FRAMES`, Linux 5.18),
//! and the maps through which it is told what to do: the twin of `bpf/write.h`.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use aya::maps::{Array, MapData};
use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, Pod, TestRun as _, TestRunAttrs, TestRunOptions};

use super::Plan;
use super::runner::Runner;
use super::sender::Order;
use crate::error::Error;

/// Frames that the kernel hands on together, as a NIC's driver does (`NAPI_POLL_WEIGHT`).
const BATCH: u32 = 64;

/// How long one run of the program should take at full speed. Between two the kernel pauses for
/// some 25 ms to tear down and set up (page pools, grace periods), which should not count.
const LONG_RUN: Duration = Duration::from_secs(2);

/// The same where the end should be noticed soon.
const SHORT_RUN: Duration = Duration::from_millis(100);

/// Calls of the run that tells what a call costs that sends nothing.
const CALIBRATION: u32 = 1024 * BATCH;

/// The maps of one program.
pub struct Live {
    control: Mutex<Array<MapData, Control>>,
    progress: Array<MapData, Progress>,
    frame: Vec<u8>,
    flows: u32,
    idle_call: OnceLock<Duration>,
    runner: Runner,
}

/// `struct control` of the program.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Control {
    limit: u64,
    interval: u64,
    first: u32,
    flows: u32,
    tcp_flags: u32,
    pad: u32,
    from: u64,
}

// SAFETY: integers only, no padding, any bit pattern is valid.
unsafe impl Pod for Control {}

/// `struct progress` of the program.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Progress {
    turns: u64,
    skipped: u64,
    due: u64,
    soonest: u64,
    begun: u64,
    last: u64,
    flow: u32,
    size: u32,
    until_sample: u32,
    pad: u32,
}

// SAFETY: integers only, no padding, any bit pattern is valid.
unsafe impl Pod for Progress {}

impl Live {
    /// Takes the maps out of a loaded object.
    pub fn new(bpf: &mut Ebpf, plan: &Plan) -> Result<Self, Error> {
        Ok(Self {
            control: Mutex::new(array(bpf, "control")?),
            progress: array(bpf, "progress")?,
            frame: vec![0; plan.sizes.largest() as usize],
            flows: plan.flows,
            idle_call: OnceLock::new(),
            runner: Runner::default(),
        })
    }

    /// Frames sent so far.
    pub fn sent(&self) -> Result<u64, Error> {
        self.progress().map(|progress| progress.turns - progress.skipped)
    }

    /// Frames that had their turn so far, sent or not.
    pub fn turns(&self) -> Result<u64, Error> {
        self.progress().map(|progress| progress.turns)
    }

    /// Time from the first to the last frame of the last order that had a rate.
    pub fn took(&self) -> Result<Duration, Error> {
        let progress = self.progress()?;
        Ok(Duration::from_nanos(progress.last.saturating_sub(progress.begun)))
    }

    fn progress(&self) -> Result<Progress, Error> {
        self.progress.get(&0, 0).map_err(Error::bpf("read the generator's count"))
    }

    /// Sends as fast as it goes until [`Live::halt`].
    pub fn flood(&self, program: &Xdp, stop: impl Fn() -> bool) -> Result<(), Error> {
        self.control(Order::endless(self.flows), u64::MAX)?;
        self.run(program, 64 * BATCH, LONG_RUN, || Ok(stop()))
    }

    /// Nothing more is sent, and a run that goes on in another thread ends.
    pub fn halt(&self) -> Result<(), Error> {
        self.control(Order::endless(self.flows), 0)?;
        self.runner.nudge();
        Ok(())
    }

    /// Sends `count` frames, at most `rate` a second, unless `stop` ends it before.
    pub fn trickle(
        &self,
        program: &Xdp,
        count: u32,
        rate: u32,
        stop: impl Fn() -> bool,
    ) -> Result<(), Error> {
        let order = Order {
            count: count.into(),
            interval: Duration::from_secs(1) / rate,
            ..Order::endless(self.flows)
        };
        self.obey(program, &order, stop)
    }

    /// Carries an order out, unless `stop` ends it before.
    pub fn obey(&self, program: &Xdp, order: &Order, stop: impl Fn() -> bool) -> Result<(), Error> {
        let limit = self.turns()?.saturating_add(order.count);
        let frames = u32::try_from(order.count).unwrap_or(u32::MAX);
        let pace = order.interval.saturating_mul(frames).min(LONG_RUN);
        // One run should do if it can: a pause amid a pass would break its pace.
        let waiting = pace.as_nanos() / self.idle_call(program)?.as_nanos().max(1);
        let calls = (waiting as u32).saturating_add(frames.min(1 << 20));
        self.control(*order, limit)?;
        // What has no end in sight is ended by `halt`.
        let duration = if order.count > 1 << 20 { LONG_RUN } else { SHORT_RUN.max(pace) };
        self.run(program, calls.max(BATCH), duration, || Ok(stop() || self.turns()? >= limit))
    }

    /// What a call costs that sends nothing.
    fn idle_call(&self, program: &Xdp) -> Result<Duration, Error> {
        if let Some(known) = self.idle_call.get() {
            return Ok(*known);
        }
        self.halt()?;
        let (mut runs, mut begun) = (0, Instant::now());
        // Two, the second of eight times the calls: setting up comes out as the difference.
        let mut spans = [Duration::ZERO; 3];
        self.run(program, CALIBRATION, Duration::from_hours(1), || {
            spans[runs] = begun.elapsed();
            (runs, begun) = (runs + 1, Instant::now());
            Ok(runs == spans.len())
        })?;
        let difference = spans[2].saturating_sub(spans[1]);
        Ok(*self.idle_call.get_or_init(|| difference / (7 * CALIBRATION)))
    }

    /// Runs the program, for about `duration` at a time, until `stop`.
    fn run(
        &self,
        program: &Xdp,
        mut repeat: u32,
        duration: Duration,
        mut stop: impl FnMut() -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let _running = self.runner.enter()?;
        while !stop()? {
            let begun = Instant::now();
            let options = TestRunOptions {
                data_in: Some(&self.frame),
                repeat,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::new()
            };
            match program.test_run(options) {
                // A signal cut it short: `stop` tells whether that was meant.
                Err(ProgramError::SyscallError(error))
                    if error.io_error.raw_os_error() == Some(nix::libc::EINTR) => {}
                result => {
                    result.map_err(Error::bpf("run the generator's program"))?;
                }
            }
            repeat = next_repeat(repeat, begun.elapsed(), duration);
        }
        Ok(())
    }

    /// Gives an order, for as long as fewer than `limit` frames had their turn.
    pub fn control(&self, order: Order, limit: u64) -> Result<(), Error> {
        let control = Control {
            limit,
            interval: order.interval.as_nanos() as u64,
            first: order.first,
            flows: order.flows,
            tcp_flags: order.flags.0.into(),
            pad: 0,
            from: limit.saturating_sub(order.count),
        };
        let mut map = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        map.set(0, control, 0).map_err(Error::bpf("control the generator"))
    }
}

/// How many calls will take about `duration`, if `repeat` calls took `took`; at most eight times
/// as many or an eighth.
fn next_repeat(repeat: u32, took: Duration, duration: Duration) -> u32 {
    let per_call = (took.as_nanos() / u128::from(repeat)).max(1);
    let (least, most) = (repeat / 8, repeat.saturating_mul(8));
    let ideal = (duration.as_nanos() / per_call).clamp(least.into(), most.into());
    // Bounded by a u32 just before.
    (ideal as u32).max(BATCH)
}

fn array<V: Pod>(bpf: &mut Ebpf, name: &'static str) -> Result<Array<MapData, V>, Error> {
    let map = bpf.take_map(name).ok_or_else(|| missing(name))?;
    map.try_into().map_err(Error::bpf("open the generator's map"))
}

/// What an object lacks that it was compiled with.
pub fn missing(what: &'static str) -> Error {
    Error::Bpf { action: "find a part of a program's object", source: what.into() }
}

/// An XDP program of a loaded object.
pub fn program<'a>(bpf: &'a Ebpf, name: &'static str) -> Result<&'a Xdp, Error> {
    let program = bpf.program(name).ok_or_else(|| missing(name))?;
    program.try_into().map_err(Error::bpf("find the program"))
}

/// Hands an XDP program of an object to the kernel.
pub fn load<'a>(bpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Xdp, Error> {
    let program = bpf.program_mut(name).ok_or_else(|| missing(name))?;
    let program: &mut Xdp = program.try_into().map_err(Error::bpf("find the program"))?;
    program.load().map_err(Error::bpf("load the program"))?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_approach_their_time_and_never_vanish() {
        let second = Duration::from_secs(1);
        let mut repeat = 64;
        for _ in 0..10 {
            repeat = next_repeat(repeat, Duration::from_nanos(500) * repeat, second);
        }
        assert_eq!(repeat, 2_000_000);
        assert_eq!(next_repeat(64, Duration::from_secs(10), second), 64);
        assert_eq!(next_repeat(1000, Duration::ZERO, second), 8000);
    }
}
