//! Sending through an `AF_PACKET` socket, batches of frames a call, for links that take no live
//! frames.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::build::Frame;
use super::sender::Order;
use super::{Plan, Tuple};
use crate::error::Error;

/// Frames handed to the kernel in one call.
const BATCH: usize = 64;

/// Lag behind the rate that is made up for, by sending at twice the rate: no receiver would expect
/// a burst.
const CATCH_UP: Duration = Duration::from_millis(100);

/// A socket bound to one link.
#[derive(Debug)]
pub struct PacketSocket {
    socket: OwnedFd,
    plan: Plan,
    turns: AtomicU64,
    skipped: AtomicU64,
    flow: AtomicU32,
    /// What the last order took, in nanoseconds.
    took: AtomicU64,
}

impl PacketSocket {
    /// Opens a socket in the calling thread's namespace, for the link with index `output`.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn open(plan: &Plan, output: u32) -> Result<Self, Error> {
        // Protocol zero: nothing is ever received.
        let socket = open_on(output, 0)?;
        Ok(Self {
            socket,
            plan: *plan,
            turns: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            flow: AtomicU32::new(0),
            took: AtomicU64::new(0),
        })
    }

    /// Frames sent so far.
    pub fn sent(&self) -> u64 {
        self.turns.load(Ordering::Relaxed) - self.skipped.load(Ordering::Relaxed)
    }

    /// How long the last order took that was carried out to its end.
    pub fn took(&self) -> Duration {
        Duration::from_nanos(self.took.load(Ordering::Relaxed))
    }

    /// Carries an order out, unless `stop` ends it before.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn obey(&self, order: &Order, stop: impl Fn() -> bool) -> Result<(), Error> {
        let macs = (self.plan.source_mac, self.plan.destination_mac);
        self.obey_with(order, macs, stop, |number| Ok(Some(self.plan.tuple(number))))
    }

    /// The same with other MAC addresses (source, destination) and tuples; a flow without a tuple
    /// is left out.
    ///
    /// # Errors
    ///
    /// [`Error::System`], or what `tuple` returns.
    pub fn obey_with(
        &self,
        order: &Order,
        (source_mac, destination_mac): ([u8; 6], [u8; 6]),
        stop: impl Fn() -> bool,
        tuple: impl Fn(u32) -> Result<Option<Tuple>, Error>,
    ) -> Result<(), Error> {
        let plan = Plan { source_mac, destination_mac, ..self.plan };
        let mut frames = vec![Vec::new(); BATCH];
        let mut left = order.count;
        let mut due = Instant::now();
        let mut soonest = due;
        let begun = Instant::now();
        while left > 0 && !stop() {
            let mut filled = 0;
            while filled < BATCH && left > 0 {
                if !order.interval.is_zero() {
                    let now = Instant::now();
                    let next = due.max(soonest);
                    if now < next {
                        if filled > 0 {
                            break;
                        }
                        wait(next - now);
                        if stop() {
                            return Ok(());
                        }
                        continue;
                    }
                    due = if due + CATCH_UP < now { now } else { due };
                    due += order.interval;
                    soonest = now + order.interval / 2;
                }
                left -= 1;
                let sequence = self.turns.fetch_add(1, Ordering::Relaxed);
                let flow = self.flow.load(Ordering::Relaxed);
                let next = if flow + 1 == order.flows { 0 } else { flow + 1 };
                self.flow.store(next, Ordering::Relaxed);
                let number = order.first + flow;
                match tuple(number)? {
                    Some(tuple) => {
                        let time = is_timed(&plan, sequence).then(monotonic);
                        let size = size_of_frame(&plan, sequence);
                        let flags = order.flags;
                        Frame { tuple, number, sequence, size, flags, time }
                            .write(&plan, &mut frames[filled]);
                        filled += 1;
                    }
                    None => {
                        self.skipped.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            self.send(&frames[..filled], &stop)?;
        }
        self.took.store(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Hands all frames over, however many calls that takes.
    fn send(&self, mut frames: &[Vec<u8>], stop: impl Fn() -> bool) -> Result<(), Error> {
        while !frames.is_empty() {
            let mut parts: Vec<libc::iovec> = frames
                .iter()
                .map(|frame| libc::iovec {
                    iov_base: frame.as_ptr().cast_mut().cast(),
                    iov_len: frame.len(),
                })
                .collect();
            let mut messages: Vec<libc::mmsghdr> = parts
                .iter_mut()
                .map(|part| {
                    // SAFETY: all zero bytes are a valid `mmsghdr`: null pointers and integers.
                    let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
                    message.msg_hdr.msg_iov = part;
                    message.msg_hdr.msg_iovlen = 1;
                    message
                })
                .collect();
            // SAFETY: `messages` has that many entries, each with one part; the parts and the
            // frames that they point to live until after the call, which only reads the frames.
            let sent = unsafe {
                libc::sendmmsg(
                    self.socket.as_raw_fd(),
                    messages.as_mut_ptr(),
                    messages.len() as libc::c_uint,
                    0,
                )
            };
            if let Ok(sent) = usize::try_from(sent) {
                frames = &frames[sent..];
                continue;
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                // The link's queue is full: it will drain.
                Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR) if !stop() => {
                    std::thread::sleep(Duration::from_micros(50));
                }
                Some(libc::EINTR | libc::ENOBUFS | libc::EAGAIN) => {
                    // What is left was counted already, but never sent.
                    self.skipped.fetch_add(frames.len() as u64, Ordering::Relaxed);
                    return Ok(());
                }
                _ => {
                    return Err(Error::System {
                        action: "send through a packet socket (is the link up?)",
                        source: error,
                    });
                }
            }
        }
        Ok(())
    }
}

/// A packet socket in the calling thread's namespace, bound to the link with index `link`, that
/// receives frames of an Ethernet `protocol`: none with zero.
///
/// # Errors
///
/// [`Error::System`].
pub fn open_on(link: u32, protocol: u16) -> Result<OwnedFd, Error> {
    let failed = |action| Error::System { action, source: io::Error::last_os_error() };
    // Nothing is received before the socket is bound to the link.
    // SAFETY: socket(2) takes three integers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(failed("open a packet socket"));
    }
    // SAFETY: a fresh descriptor that nobody else knows of.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // The queueing discipline would only add its own drops; and what this host sends by the link is
    // not received by it. Refused by old kernels, harmless.
    for option in [libc::PACKET_QDISC_BYPASS, libc::PACKET_IGNORE_OUTGOING] {
        let yes: libc::c_int = 1;
        // SAFETY: pointer and length describe `yes`, which outlives the call.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                option,
                (&raw const yes).cast(),
                size_of_val(&yes) as libc::socklen_t,
            );
        }
    }
    // SAFETY: all zero bytes are a valid `sockaddr_ll`: it has integers and an array only.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = link.cast_signed();
    // SAFETY: pointer and length describe `address`, which outlives the call.
    let bound = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as libc::socklen_t,
        )
    };
    if bound < 0 {
        return Err(failed("bind a packet socket to the link"));
    }
    Ok(socket)
}

/// Has a link give a packet socket every multicast frame, not only those of groups that the kernel
/// itself is in.
///
/// # Errors
///
/// [`Error::System`].
pub fn hear_all_multicast(socket: &OwnedFd, link: u32) -> Result<(), Error> {
    let membership = libc::packet_mreq {
        mr_ifindex: link.cast_signed(),
        mr_type: libc::PACKET_MR_ALLMULTI as libc::c_ushort,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    // SAFETY: pointer and length describe `membership`, which outlives the call.
    let joined = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const membership).cast(),
            size_of_val(&membership) as libc::socklen_t,
        )
    };
    if joined < 0 {
        let source = io::Error::last_os_error();
        return Err(Error::System { action: "hear multicast on the link", source });
    }
    Ok(())
}

/// Whether a frame carries the time: the first does, as the program's.
fn is_timed(plan: &Plan, sequence: u64) -> bool {
    plan.sample_interval > 0 && sequence.is_multiple_of(plan.sample_interval.into())
}

fn size_of_frame(plan: &Plan, sequence: u64) -> u32 {
    let sizes = plan.sizes.get();
    sizes[(sequence % sizes.len() as u64) as usize]
}

/// Sleeps while that is exact enough, else waits for the last bit. Never longer than a while, so
/// that the end of a slow order is noticed.
fn wait(time: Duration) {
    const COARSE: Duration = Duration::from_micros(100);
    const LONGEST: Duration = Duration::from_millis(20);
    match time.checked_sub(COARSE) {
        Some(time) => std::thread::sleep(time.min(LONGEST)),
        None => std::hint::spin_loop(),
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds, the low 32 bits: what `bpf_ktime_get_ns` gives.
fn monotonic() -> u32 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    now.map_or(0, |now| Duration::from(now).as_nanos() as u32)
}
