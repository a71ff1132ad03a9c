//! Client threads that measure the same stretch of time, watched over from outside.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use halfspace_testbed::Interrupt;

use super::cpu::{CpuSeconds, Watch};
use super::timing::Timing;
use crate::error::Error;
use crate::output::Progress;

/// One thread's work.
pub trait Worker: Send {
    /// What it counts.
    type Tally: Send;

    /// Gets ready: opens what it needs before the time starts.
    ///
    /// # Errors
    ///
    /// What ends the run; a server that is not there does not.
    fn open(&mut self) -> Result<(), Error>;

    /// Warms up, measures, and finishes.
    ///
    /// # Errors
    ///
    /// What ends the run.
    fn measure(self) -> Result<Self::Tally, Error>;
}

/// What a run came to.
#[derive(Debug)]
pub struct Run<T> {
    /// Of each thread.
    pub tallies: Vec<T>,
    /// How long was measured.
    pub measured: Duration,
    /// Processor time in that.
    pub cpu_seconds: CpuSeconds,
}

/// Runs the workers, each on a thread of its own; `say` tells the progress.
///
/// # Errors
///
/// The first that a worker met.
pub fn run<W: Worker>(
    workers: Vec<W>,
    timing: &Timing,
    watch: &Watch,
    interrupt: &Interrupt,
    say: impl Fn() -> String,
) -> Result<Run<W::Tally>, Error> {
    let barrier = Barrier::new(workers.len() + 1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = workers
            .into_iter()
            .map(|mut worker| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let opened = worker.open();
                    // Reached by every thread, whatever happened: the others wait for it.
                    barrier.wait();
                    opened.and_then(|()| worker.measure())
                })
            })
            .collect();
        barrier.wait();
        let (measured, cpu_seconds) = observe(timing, watch, interrupt, say);
        // A panic of a thread goes on here.
        let tallies = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|p| std::panic::resume_unwind(p)));
        Ok(Run { tallies: tallies.collect::<Result<_, _>>()?, measured, cpu_seconds })
    })
}

/// Shows progress, and looks at the processors from the end of the warm-up to the end of the time
/// or the interrupt; how long that was.
fn observe(
    timing: &Timing,
    watch: &Watch,
    interrupt: &Interrupt,
    say: impl Fn() -> String,
) -> (Duration, CpuSeconds) {
    let started = Instant::now();
    let progress = Progress::of_time(timing.total());
    let until = |end: Duration| {
        while !interrupt.is_raised()
            && let Some(left) = end.checked_sub(started.elapsed()).filter(|left| !left.is_zero())
        {
            progress.elapsed(started.elapsed());
            progress.say(say());
            interrupt.sleep(left.min(Duration::from_millis(200)));
        }
    };
    until(timing.warm_up);
    let before = watch.look();
    until(timing.total());
    let cpu_seconds = before.until(&watch.look());
    // An interrupted warm-up has measured nothing.
    let measured = started.elapsed().saturating_sub(timing.warm_up).min(timing.duration);
    let measured = if interrupt.is_raised() { measured } else { timing.duration };
    (measured, cpu_seconds)
}

/// What thread `thread` of `threads` gets of `total`: the first ones take the remainder.
pub fn share(total: u64, thread: u32, threads: u32) -> u64 {
    let (thread, threads) = (u64::from(thread), u64::from(threads));
    total / threads + u64::from(thread < total % threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_shared_out_without_remainder() {
        let shares: Vec<_> = (0..3).map(|thread| share(32, thread, 3)).collect();
        assert_eq!(shares, [11, 11, 10]);
    }
}
