//! Ending a long system call of another thread: the kernel stops a test run when a signal comes.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::gettid;

use crate::error::Error;

/// The signal; nobody else here uses it.
const SIGNAL: Signal = Signal::SIGUSR2;

/// The thread that is in the call, if one is.
#[derive(Debug, Default)]
pub struct Runner(AtomicI32);

/// While this lives, the thread may be nudged.
#[derive(Debug)]
pub struct Running<'a>(&'a Runner);

impl Runner {
    /// The calling thread will make the call.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the signal cannot be handled.
    pub fn enter(&self) -> Result<Running<'_>, Error> {
        // Without SA_RESTART, and handled by nothing: it only interrupts.
        let action =
            SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does nothing, so it is safe at any time; nobody else here handles
        // this signal.
        unsafe { sigaction(SIGNAL, &action) }.map_err(|errno| Error::System {
            action: "handle a signal",
            source: io::Error::from(errno),
        })?;
        self.0.store(gettid().as_raw(), Ordering::SeqCst);
        Ok(Running(self))
    }

    /// Interrupts the call. One that begins just now may be missed: then it takes its time.
    pub fn nudge(&self) {
        let thread = self.0.load(Ordering::SeqCst);
        if thread != 0 {
            // SAFETY: three integers. A thread that has ended since is no error, and its number
            // is not given out again that soon.
            unsafe {
                libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, SIGNAL as libc::c_int);
            }
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.0.store(0, Ordering::SeqCst);
    }
}

extern "C" fn nothing(_: libc::c_int) {}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_nudge_ends_a_long_call() {
        let runner = Runner::default();
        // Nobody is in one.
        runner.nudge();
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                let _running = runner.enter().unwrap();
                let hour = libc::timespec { tv_sec: 3600, tv_nsec: 0 };
                // SAFETY: the pointer is to a value that outlives the call; the other may be null.
                unsafe { libc::nanosleep(&raw const hour, std::ptr::null_mut()) }
            });
            // Until it is in there.
            let begun = Instant::now();
            while !sleeper.is_finished() && begun.elapsed() < Duration::from_mins(1) {
                runner.nudge();
                std::thread::sleep(Duration::from_millis(10));
            }
            assert_eq!(sleeper.join().unwrap(), -1);
        });
    }
}
