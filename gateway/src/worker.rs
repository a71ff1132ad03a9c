//! The worker: one thread that owns the engine and the data path, and does nothing else.
//!
//! The control side never touches either. It sends jobs, closures that run on the worker between
//! two batches of packets, through a [`Handle`]. So nothing is locked, and what a job sees is
//! consistent.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use datapath::{Datapath, Received};
use nf_core::engine::Engine;
use nf_core::time::Time;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use tokio::sync::oneshot;

use crate::flow_logs::Feed;

/// Frames and events taken from the data path before jobs and timers get their turn.
const BATCH: usize = 256;

/// The longest the worker sleeps when nothing is due.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// What the worker owns. Jobs work on it.
pub struct Worker {
    /// Decides.
    pub engine: Engine,
    /// Moves.
    pub datapath: Datapath,
}

type Job = Box<dyn FnOnce(&mut Worker, Time) + Send>;

/// The worker is gone: it was stopped, or it panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the packet worker has stopped")]
pub struct Stopped;

/// Sends jobs to the worker.
#[derive(Clone)]
pub struct Handle {
    jobs: mpsc::Sender<Job>,
    wake: Arc<EventFd>,
}

impl Handle {
    /// Runs `job` on the worker's thread and returns what it returned.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Worker, Time) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |worker, now| {
            // The caller may have stopped waiting; the job is done all the same.
            let _ = answer.send(job(worker, now));
        });
        self.jobs.send(job).map_err(|_| Stopped)?;
        // A full counter wakes as well as one more would.
        let _ = self.wake.write(1);
        answered.await.map_err(|_| Stopped)
    }
}

/// A running worker.
pub struct Running {
    /// To send it jobs.
    pub handle: Handle,
    thread: JoinHandle<Worker>,
}

impl Running {
    /// Starts the worker on a thread of its own, kept on one CPU if that is asked for.
    ///
    /// # Errors
    ///
    /// If the thread or its event descriptor cannot be made, or there is no such CPU for it.
    pub fn start(worker: Worker, flow_logs: Feed, cpu: Option<u32>) -> io::Result<Self> {
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
        let (jobs, queue) = mpsc::channel();
        let (pinned, outcome) = mpsc::sync_channel(1);
        let woken = wake.clone();
        let thread = std::thread::Builder::new().name("worker".to_owned()).spawn(move || {
            // Whoever waits for the outcome drops the worker's jobs if it is an error.
            let _ = pinned.send(cpu.map_or(Ok(()), pin));
            run(worker, flow_logs, &queue, &woken)
        })?;
        // A thread that ended without a word panicked; its end is told by `stop`.
        outcome.recv().unwrap_or(Ok(()))?;
        Ok(Self { handle: Handle { jobs, wake }, thread })
    }

    /// Ends the worker once every other [`Handle`] is gone, and gives back what it owned. What it
    /// installed in the kernel goes on. The last records of its flows are handed over before.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if it had panicked.
    pub fn stop(self) -> Result<Worker, Stopped> {
        let Handle { jobs, wake } = self.handle;
        drop(jobs);
        let _ = wake.write(1);
        self.thread.join().map_err(|_| Stopped)
    }
}

/// The moment, on the clock that the kernel program stamps entries with.
#[must_use]
pub fn now() -> Time {
    // CLOCK_MONOTONIC exists on every Linux: the call cannot fail.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap_or_else(|_| unreachable!());
    Time::from_nanos(now.tv_sec().cast_unsigned() * 1_000_000_000 + now.tv_nsec().cast_unsigned())
}

/// Keeps the calling thread on one CPU.
fn pin(cpu: u32) -> io::Result<()> {
    let mut cpus = CpuSet::new();
    let kept = cpus.set(cpu as usize).and_then(|()| sched_setaffinity(Pid::from_raw(0), &cpus));
    kept.map_err(|errno| {
        let advice = "set worker_cpu to a CPU that this process may use, or leave it out";
        io::Error::other(format!("it cannot be kept on CPU {cpu}: {errno}: {advice}"))
    })
}

fn run(
    mut worker: Worker,
    mut flow_logs: Feed,
    queue: &mpsc::Receiver<Job>,
    wake: &EventFd,
) -> Worker {
    loop {
        let handled = worker.receive();
        let mut jobs_done = 0;
        loop {
            match queue.try_recv() {
                Ok(job) => {
                    job(&mut worker, now());
                    jobs_done += 1;
                }
                Err(mpsc::TryRecvError::Empty) => break,
                Err(mpsc::TryRecvError::Disconnected) => {
                    let Worker { engine, datapath } = &mut worker;
                    flow_logs.finish(engine, datapath.fast_path(), now());
                    return worker;
                }
            }
        }
        let now = now();
        let deadline = worker.engine.advance(now, worker.datapath.fast_path());
        worker.datapath.fast_path().flush();
        flow_logs.turn(&mut worker.engine, now);
        worker.log_notices();
        if handled == BATCH || jobs_done > 0 {
            continue;
        }
        let sleep = deadline.map_or(LONGEST_SLEEP, |due| due.since(now).min(LONGEST_SLEEP));
        wait(worker.datapath.poll_fd(), wake, sleep);
    }
}

impl Worker {
    /// Takes one batch from the data path through the engine; how many frames and events it was.
    fn receive(&mut self) -> usize {
        let Self { engine, datapath } = self;
        let now = now();
        let handled = datapath.receive(BATCH, &mut |fast_path, received| match received {
            Received::Frame { port, reason, meta, frame } => {
                engine.packet(now, port, reason, meta, frame, fast_path);
            }
            Received::Event(event) => engine.event(now, &event, fast_path),
        });
        datapath.fast_path().flush();
        handled
    }

    fn log_notices(&mut self) {
        for notice in self.datapath.take_notices() {
            tracing::warn!("{notice}");
        }
    }
}

/// Sleeps until there is something to do.
fn wait(datapath: impl AsFd, wake: &EventFd, sleep: Duration) {
    let mut fds = [
        PollFd::new(datapath.as_fd(), PollFlags::POLLIN),
        PollFd::new(wake.as_fd(), PollFlags::POLLIN),
    ];
    // Rounded up: a timer that is due within the millisecond is not polled for in a circle.
    let millis = sleep.as_micros().div_ceil(1000).min(1000) as u16;
    match nix::poll::poll(&mut fds, PollTimeout::from(millis)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => tracing::error!(%error, "cannot wait for packets"),
    }
    let _ = wake.read();
}
