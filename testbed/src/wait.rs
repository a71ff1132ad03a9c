//! Waiting for something to become true, never for ever.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::namespace::Namespace;

/// Shortest and longest time between two looks.
const PAUSE: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(20));

/// Polls `condition` until it holds: often at first, every 20 ms later. It is noticed within an
/// eighth of the time it took.
///
/// # Errors
///
/// [`Error::NotReady`], naming `what`, after `limit`.
pub fn wait_until(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> bool,
) -> Result<(), Error> {
    let started = Instant::now();
    loop {
        if condition() {
            return Ok(());
        }
        let waited = started.elapsed();
        if waited >= limit {
            return Err(Error::NotReady { what: what.to_owned(), limit });
        }
        std::thread::sleep((waited / 8).clamp(PAUSE.0, PAUSE.1));
    }
}

/// Waits until something inside the namespace accepts TCP connections on `address`.
///
/// # Errors
///
/// [`Error::NotReady`], or [`Error::Namespace`] if the namespace cannot be entered.
pub fn wait_for_port(
    namespace: &Namespace,
    address: SocketAddr,
    limit: Duration,
) -> Result<(), Error> {
    let what = format!("{address} in {} to accept connections", namespace.name());
    namespace.enter(|| wait_until(limit, &what, || accepts(address)))?
}

/// Whether something accepts TCP connections on `address` in the current namespace.
pub(crate) fn accepts(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_the_condition_or_names_what_was_awaited() {
        let mut calls = 0;
        wait_until(Duration::from_secs(5), "three calls", || {
            calls += 1;
            calls == 3
        })
        .unwrap();
        assert_eq!(calls, 3);

        let error = wait_until(Duration::from_millis(5), "doomsday", || false).unwrap_err();
        assert_eq!(error.to_string(), "waited 5ms for doomsday");
    }
}
