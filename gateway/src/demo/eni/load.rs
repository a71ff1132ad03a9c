//! The load under which the interface moves: datagrams, ping and HTTP requests from one client, all
//! at once, all measured.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use halfspace_testbed::Namespace;

use super::pings::Pings;
use super::plan::{INSTANCES, Instance};
use super::stream::Stream;
use super::track::Track;
use super::{requests, stream};
use crate::demo::error::Error;

/// What became of it.
#[derive(Debug)]
pub(super) struct Measured {
    /// Datagrams.
    pub stream: Stream,
    /// Echo requests.
    pub pings: Track,
    /// HTTP requests.
    pub requests: Track,
}

/// The load while it runs.
#[derive(Debug)]
pub(super) struct Watch {
    began: Instant,
    over: AtomicBool,
    /// Who answers the datagrams.
    pub stream: Latest,
    /// Who answers the requests.
    pub requests: Latest,
}

impl Watch {
    /// How long it has been running.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whether it is to end.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Who answered last.
#[derive(Debug)]
pub(super) struct Latest(AtomicUsize);

impl Latest {
    /// Nobody yet.
    const fn new() -> Self {
        Self(AtomicUsize::new(INSTANCES.len()))
    }

    /// Takes note of an answer.
    pub(super) fn heard(&self, from: Instance) {
        let place = INSTANCES.iter().position(|it| *it == from).unwrap_or(INSTANCES.len());
        self.0.store(place, Ordering::Relaxed);
    }

    /// Whether it was this one.
    pub(super) fn is(&self, instance: Instance) -> bool {
        INSTANCES.get(self.0.load(Ordering::Relaxed)) == Some(&instance)
    }
}

/// Ends the load, also if what happens meanwhile panics: its threads are waited for.
struct End<'a>(&'a Watch);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// Runs the load as long as `meanwhile` does, and tells what became of both.
pub(super) fn during<R>(
    client: &Namespace,
    meanwhile: impl FnOnce(&Watch) -> Result<R, Error>,
) -> Result<(Measured, R), Error> {
    let socket = stream::open(client)?;
    let watch = Watch {
        began: Instant::now(),
        over: AtomicBool::new(false),
        stream: Latest::new(),
        requests: Latest::new(),
    };
    let pings = Pings::start(client, SystemTime::now())?;
    thread::scope(|scope| {
        let end = End(&watch);
        let stream = scope.spawn(|| stream::run(&socket, &watch));
        let requests = scope.spawn(|| requests::run(client, &watch));
        let result = meanwhile(&watch);
        let pings = pings.finish();
        drop(end);
        let stream = stream.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let requests = requests.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let stream = stream
            .map_err(|source| Error::System { action: "send datagrams to the echo", source })?;
        Ok((Measured { stream, pings: pings?, requests }, result?))
    })
}
