//! Sending many frames a system call, each by the interface it names.

use std::io;
use std::mem;
use std::ops::AddAssign;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nf_core::action::ETHERNET_LEN;
use nf_core::id::PortId;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::batch::BATCH_LEN;
use super::vnet::{VNET_HEADER_LEN, VnetHeader};

/// A frame to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The port to send by.
    pub port: PortId,
    /// What is left to the interface. The default says that the frame is finished.
    pub header: VnetHeader,
    /// Ethernet frame without the check sequence.
    pub frame: &'a [u8],
}

/// What became of frames that were handed to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// Taken by the interface or its queue.
    pub sent: u64,
    /// The interface does not exist any more, or is down.
    pub failed_gone: u64,
    /// The interface's queue or the socket's buffer stayed full.
    pub failed_full: u64,
    /// The kernel would not have the frame: longer than the interface's MTU, or too short.
    pub failed_refused: u64,
}

impl Injected {
    /// Frames that were not sent.
    #[must_use]
    pub const fn failed(&self) -> u64 {
        self.failed_gone + self.failed_full + self.failed_refused
    }
}

impl AddAssign for Injected {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.failed_gone += other.failed_gone;
        self.failed_full += other.failed_full;
        self.failed_refused += other.failed_refused;
    }
}

/// How often one call tries again where there was no room, over all its frames: long enough for a
/// burst to drain, short enough that a stuck interface does not hold up the others.
const RETRIES: u32 = 3;

/// How long to wait for room in the socket's buffer before trying again, in milliseconds.
const ROOM_WAIT_MS: u8 = 1;

/// Sends frames in order by a socket that has `PACKET_VNET_HDR` on.
pub(crate) fn send_all<'a>(
    socket: BorrowedFd<'_>,
    mut frames: impl Iterator<Item = Outgoing<'a>>,
) -> Injected {
    let mut result = Injected::default();
    let mut retries = RETRIES;
    while send_batch(socket, &mut frames, &mut retries, &mut result) == BATCH_LEN {}
    result
}

/// Sends up to [`BATCH_LEN`] of the frames; how many that were.
fn send_batch<'a>(
    socket: BorrowedFd<'_>,
    frames: &mut impl Iterator<Item = Outgoing<'a>>,
    retries: &mut u32,
    result: &mut Injected,
) -> usize {
    let mut headers = [[0_u8; VNET_HEADER_LEN]; BATCH_LEN];
    // SAFETY: all three are plain C structs of integers and pointers, for which all zeros is valid.
    let (mut addresses, mut vectors, mut messages): (
        [libc::sockaddr_ll; BATCH_LEN],
        [[libc::iovec; 2]; BATCH_LEN],
        [libc::mmsghdr; BATCH_LEN],
    ) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
    let mut count = 0;
    // The frames come last: a zip that ends with another's end must not have taken one.
    for ((((header, address), vector), message), outgoing) in
        headers.iter_mut().zip(&mut addresses).zip(&mut vectors).zip(&mut messages).zip(frames)
    {
        *header = outgoing.header.encode();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = outgoing.port.get().cast_signed();
        // Without it the kernel would have to guess, and checks offloads against its guess.
        address.sll_protocol = ether_type(outgoing.frame);
        vector[0].iov_base = header.as_mut_ptr().cast();
        vector[0].iov_len = header.len();
        vector[1].iov_base = outgoing.frame.as_ptr().cast_mut().cast();
        vector[1].iov_len = outgoing.frame.len();
        message.msg_hdr.msg_name = (&raw mut *address).cast();
        message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_ll>() as u32;
        message.msg_hdr.msg_iov = vector.as_mut_ptr();
        message.msg_hdr.msg_iovlen = vector.len() as _;
        count += 1;
    }
    let mut next = 0;
    while next < count {
        let waiting = &mut messages[next..count];
        // SAFETY: the messages point at addresses, headers and vectors of this function and at
        // frames that outlive it, all with the lengths given; sendmmsg only reads them, but for
        // `msg_len` of the messages themselves.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                waiting.as_mut_ptr(),
                waiting.len() as u32,
                libc::MSG_DONTWAIT as _,
            )
        };
        // An error is that of the first message: those before it were reported as sent.
        if let Some(sent) = usize::try_from(sent).ok().filter(|sent| *sent > 0) {
            next += sent;
            result.sent += sent as u64;
            continue;
        }
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM | libc::EINTR) if *retries > 0 => {
                *retries -= 1;
                wait_for_room(socket);
                continue;
            }
            Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM | libc::EINTR) => {
                result.failed_full += 1;
            }
            Some(libc::ENXIO | libc::ENODEV | libc::ENETDOWN) => result.failed_gone += 1,
            _ => result.failed_refused += 1,
        }
        next += 1;
    }
    count
}

/// Waits until the socket's buffer has room. A full queue of the interface does not show there;
/// then this returns at once.
fn wait_for_room(socket: BorrowedFd<'_>) {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    // Whatever it says, the next attempt finds out.
    let _ = poll(&mut fds, PollTimeout::from(ROOM_WAIT_MS));
}

/// The frame's ether type, in network byte order as the socket address wants it.
fn ether_type(frame: &[u8]) -> u16 {
    frame
        .get(ETHERNET_LEN - 2..ETHERNET_LEN)
        .and_then(|field| field.first_chunk())
        .map_or(0, |field| u16::from_ne_bytes(*field))
}
