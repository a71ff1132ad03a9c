//! `halfspace-loadtest serve`: the far end of `connections` and `streams`. It answers TCP and UDP
//! on the same ports, tells each client where it sees it, and verifies what it is sent.

mod connection;
mod counts;
mod datagrams;
mod event_loop;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use halfspace_testbed::Interrupt;

use crate::error::Error;
use crate::output::{Outcome, Output, parse_duration};
use crate::sockets::raise_descriptor_limit;
pub use counts::Counts;
use event_loop::EventLoop;

/// How often a server looks whether it is to end.
const BEAT: Duration = Duration::from_millis(50);

/// Where to listen, and how much to bear.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Addresses and ports to listen on, for TCP and UDP
    #[arg(long, required = true, value_delimiter = ',', value_name = "ADDR:PORT")]
    listen: Vec<SocketAddr>,
    #[command(flatten)]
    limits: Limits,
    /// End after this long, so that no server is forgotten
    #[arg(long, default_value = "1h", value_parser = parse_duration)]
    duration: Duration,
    #[command(flatten)]
    output: Output,
}

/// What one server bears.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Limits {
    /// Threads that serve, each with sockets of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: u32,
    /// TCP connections, and flows of datagrams, of one thread at the same time
    #[arg(long, default_value_t = 65_536)]
    pub most: usize,
    /// Close connections on which nothing happened for so long
    #[arg(long, default_value = "10m", value_parser = parse_duration)]
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { threads: 1, most: 65_536, idle: Duration::from_mins(10) }
    }
}

/// Serves until a signal or the end of its time, then prints what it counted.
///
/// # Errors
///
/// [`Error::System`] if an address cannot be listened on.
pub fn run(arguments: &Arguments) -> Result<Outcome, Error> {
    let interrupt = Interrupt::listen()
        .map_err(|source| Error::System { action: "listen for signals", source })?;
    let server = Server::start(&arguments.listen, arguments.limits)?;
    let listed: Vec<_> = server.addresses().iter().map(ToString::to_string).collect();
    eprintln!("Listening on {}", listed.join(", "));
    interrupt.sleep(arguments.duration);
    let counts = server.stop()?;
    arguments.output.print(&counts)?;
    // A signal is how a server is meant to end.
    Ok(Outcome::of(counts.complaints(), false))
}

/// A running server. Dropping it ends its threads and connections.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Counts, Error>>>,
    started: Instant,
}

impl Server {
    /// Listens in the calling thread's network namespace, on each address for TCP and UDP.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if an address cannot be listened on.
    pub fn start(listen: &[SocketAddr], limits: Limits) -> Result<Self, Error> {
        raise_descriptor_limit();
        let mut addresses = listen.to_vec();
        let mut loops = Vec::new();
        for _ in 0..limits.threads {
            // The first thread settles what port 0 stands for.
            let (this, bound) = EventLoop::open(&addresses, limits)
                .map_err(|source| Error::System { action: "listen", source })?;
            addresses = bound;
            loops.push(this);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut server = Self {
            addresses,
            stop: Arc::clone(&stop),
            threads: Vec::new(),
            started: Instant::now(),
        };
        for (number, event_loop) in loops.into_iter().enumerate() {
            let stop = Arc::clone(&stop);
            let thread = std::thread::Builder::new().name(format!("serve-{number}"));
            let thread = thread
                .spawn(move || event_loop.run(&stop, BEAT))
                .map_err(|source| Error::System { action: "start a thread", source })?;
            server.threads.push(thread);
        }
        Ok(server)
    }

    /// The addresses it listens on, with their ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Ends it; what it counted.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if a thread could not wait for events.
    pub fn stop(mut self) -> Result<Counts, Error> {
        let mut counts = Counts::default();
        for ended in self.join() {
            counts.merge(&ended?);
        }
        counts.seconds = self.started.elapsed().as_secs_f64();
        Ok(counts)
    }

    fn join(&mut self) -> Vec<Result<Counts, Error>> {
        self.stop.store(true, Ordering::Relaxed);
        let threads = self.threads.drain(..);
        // A panic of a server thread goes on here.
        threads
            .map(|thread| thread.join().unwrap_or_else(|p| std::panic::resume_unwind(p)))
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // Whoever drops it unasked does not want to know.
            let _ = thread.join();
        }
    }
}
