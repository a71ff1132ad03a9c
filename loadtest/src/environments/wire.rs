//! The environments' side of their links: one packet socket for all, and a thread that sees what
//! comes.
//!
//! A socket for each link would be the obvious way, but the kernel waits for a grace period each
//! time one is closed: ten thousand of them would take minutes to go.

use std::collections::HashMap;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::pool::Pool;
use super::probe::{Probe, Verdict};
use crate::error::Error;

/// How soon the thread notices that it is to stop.
const BEAT: Duration = Duration::from_millis(50);

/// Room for a burst of all environments' answers, in bytes.
const BUFFER: libc::c_int = 16 << 20;

/// `PACKET_IGNORE_OUTGOING` of `linux/if_packet.h`: what we send is not shown to us.
const IGNORE_OUTGOING: libc::c_int = 23;

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The right answer, and when.
    Answer(Instant),
    /// A wrong one; how.
    Wrong(&'static str),
}

/// All environments' ears and mouths.
#[derive(Debug)]
pub struct Wire {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    socket: Socket,
    stop: AtomicBool,
    /// Environments by interface index, and the other way.
    indices: RwLock<(HashMap<i32, usize>, HashMap<usize, i32>)>,
    boxes: Vec<Mailbox>,
}

#[derive(Debug, Default)]
struct Mailbox {
    state: Mutex<MailState>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct MailState {
    awaited: Option<Probe>,
    heard: Option<Heard>,
}

impl Wire {
    /// Opens the socket in the pool's namespace.
    ///
    /// # Errors
    ///
    /// [`Error::Testbed`], [`Error::System`].
    pub fn open(pool: &Pool) -> Result<Self, Error> {
        let socket = pool.namespace().enter(open_socket)?;
        let socket =
            socket.map_err(|source| Error::System { action: "open a packet socket", source })?;
        let shared = Arc::new(Shared {
            socket,
            stop: AtomicBool::new(false),
            indices: RwLock::default(),
            boxes: (0..pool.count()).map(|_| Mailbox::default()).collect(),
        });
        let wire = Self {
            thread: Some(std::thread::spawn({
                let shared = Arc::clone(&shared);
                move || shared.listen()
            })),
            shared,
        };
        wire.learn(pool)?;
        Ok(wire)
    }

    /// Looks up again which interface is whose: one that was made anew has another index.
    ///
    /// # Errors
    ///
    /// [`Error::Testbed`], [`Error::System`].
    pub fn learn(&self, pool: &Pool) -> Result<(), Error> {
        let by_index = pool.indices()?;
        let by_number = by_index.iter().map(|(index, environment)| (*environment, *index));
        let by_number = by_number.collect();
        *self.shared.indices.write().unwrap_or_else(PoisonError::into_inner) =
            (by_index, by_number);
        Ok(())
    }

    /// Sends a probe, a first time or again; what comes is judged by it from now on.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the interface does not take it.
    pub fn send(&self, environment: usize, probe: Probe) -> Result<(), Error> {
        {
            let mut state = self.shared.boxes[environment].lock();
            if state.awaited != Some(probe) {
                *state = MailState { awaited: Some(probe), heard: None };
            }
        }
        let index = {
            let indices = self.shared.indices.read().unwrap_or_else(PoisonError::into_inner);
            indices.1.get(&environment).copied()
        };
        let sent = match index {
            Some(index) => send_on(&self.shared.socket, index, &probe.frame()),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        sent.map_err(|source| Error::System { action: "send a probe", source })
    }

    /// What has come, waiting for it until `deadline`; `None` if nothing has.
    pub fn hear(&self, environment: usize, deadline: Instant) -> Option<Heard> {
        let mailbox = &self.shared.boxes[environment];
        let mut state = mailbox.lock();
        loop {
            if state.heard.is_some() {
                return state.heard;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = mailbox.arrived.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has already said so.
            let _ = thread.join();
        }
    }
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, MailState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn listen(&self) {
        let mut buffer = [MaybeUninit::uninit(); 2048];
        while !self.stop.load(Ordering::Relaxed) {
            // A time-out, or an interface that went down: neither is the end.
            let Ok((length, from)) = self.socket.recv_from(&mut buffer) else { continue };
            let now = Instant::now();
            let Some(index) = interface_of(&from) else { continue };
            let environment = {
                let indices = self.indices.read().unwrap_or_else(PoisonError::into_inner);
                indices.0.get(&index).copied()
            };
            let Some(environment) = environment else { continue };
            // SAFETY: the socket has written the first `length` bytes.
            let frame = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), length) };
            let mailbox = &self.boxes[environment];
            let mut state = mailbox.lock();
            let Some(probe) = state.awaited else { continue };
            let heard = match probe.judge(frame) {
                Verdict::Unrelated => continue,
                Verdict::Answer => Heard::Answer(now),
                Verdict::Wrong(how) => Heard::Wrong(how),
            };
            // The first answer counts, and none makes good a wrong one.
            state.heard = match (state.heard, heard) {
                (Some(wrong @ Heard::Wrong(_)), _) => Some(wrong),
                (Some(first), Heard::Answer(_)) => Some(first),
                (_, heard) => Some(heard),
            };
            mailbox.arrived.notify_all();
        }
    }
}

/// A socket that gets every frame that comes in by any interface.
fn open_socket() -> io::Result<Socket> {
    let everything = (libc::ETH_P_ALL as u16).to_be();
    let socket =
        Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(everything))))?;
    socket.set_read_timeout(Some(BEAT))?;
    // Beyond the system's limit, which root may. A smaller one would do as well.
    let _ = set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER);
    set_option(&socket, libc::SOL_PACKET, IGNORE_OUTGOING, 1)?;
    Ok(socket)
}

fn set_option(
    socket: &Socket,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes of `value` as it is told, which are all of it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The index of the interface that a frame came in by.
fn interface_of(from: &socket2::SockAddr) -> Option<i32> {
    if from.family() != libc::AF_PACKET as libc::sa_family_t
        || (from.len() as usize) < std::mem::offset_of!(libc::sockaddr_ll, sll_hatype)
    {
        return None;
    }
    // SAFETY: it is an address of this family, and the storage behind the pointer is larger than
    // any address and aligned for all.
    let address = unsafe { &*from.as_ptr().cast::<libc::sockaddr_ll>() };
    Some(address.sll_ifindex)
}

fn send_on(socket: &Socket, index: i32, frame: &[u8]) -> io::Result<()> {
    // SAFETY: all fields are numbers, for which zeros are fine.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_ifindex = index;
    // SAFETY: the kernel reads `frame` and `to`, each of the length that it is told.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const to).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if sent == frame.len().cast_signed() { Ok(()) } else { Err(io::Error::last_os_error()) }
}
