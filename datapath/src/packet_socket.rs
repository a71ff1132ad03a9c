//! `AF_PACKET` sockets: complete Ethernet frames from and to one interface, super-packets and
//! unfinished checksums included.
//!
//! Every frame travels with a [`VnetHeader`], so what a local stack left to its interface stays
//! undone on the way through. A frame is seen by the host's own stack as well; keeping that quiet
//! is the business of whoever opens the socket.

mod batch;
mod transmit;
mod vnet;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nf_core::id::PortId;
use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};

pub use batch::{BATCH_LEN, Batch, FrameInfo, FrameMut};
pub(crate) use transmit::send_all;
pub use transmit::{Injected, Outgoing};
pub use vnet::VnetHeader;

/// Bytes of frames that may wait to be read, as the kernel accounts them: a super-packet costs its
/// 64 KiB and more. Nothing is allocated for it.
const RECEIVE_BUFFER: u32 = 8 << 20;

/// Bytes of frames that may be on their way out of a socket.
const SEND_BUFFER: u32 = 4 << 20;

/// Why a socket could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The interface is down; the socket goes on when it is up again.
    #[error("the interface is down")]
    Down,
    /// The interface does not exist any more in this network namespace.
    #[error("the interface is gone")]
    Gone,
    /// One frame is lost whose offload the header cannot express, as of SCTP.
    #[error("a frame with an offload that packet sockets cannot describe")]
    Unreadable,
    /// Something else; the socket is of no more use.
    #[error("the packet socket failed; attach the port again")]
    Failed(#[source] io::Error),
}

/// A packet socket on one interface.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
    port: PortId,
}

impl PacketSocket {
    /// Opens a socket on the interface with the index `port`, in the calling thread's network
    /// namespace. It receives everything that comes in by the interface, not what goes out.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_RAW`, `ENODEV` if there is no such interface.
    pub fn open(port: PortId) -> io::Result<Self> {
        let socket = open_sending()?;
        set(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, &1_i32)?;
        set(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1_i32)?;
        set_buffer(&socket, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_BUFFER)?;
        // Only now with a protocol: nothing of another interface has slipped in before.
        socket.bind(&link_address(port, libc::ETH_P_ALL as u16))?;
        // Neighbour solicitations go to multicast addresses that the host has not joined.
        accept_all_multicast(&socket, port)?;
        Ok(Self { socket, port })
    }

    /// What kind of interface it is, as `ARPHRD_*` numbers it.
    ///
    /// # Errors
    /// Whatever `getsockname` says; it has no reason to fail.
    pub fn hardware_type(&self) -> io::Result<u16> {
        Ok(link(self.socket.local_addr()?).sll_hatype)
    }

    /// Replaces the content of `batch` with up to `limit` frames that wait, none if none does.
    ///
    /// # Errors
    /// See [`ReceiveError`]; the batch is empty then.
    pub fn receive(&self, batch: &mut Batch, limit: usize) -> Result<(), ReceiveError> {
        batch.fill(self.as_fd(), limit).or_else(|error| match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => Ok(()),
            Some(libc::ENETDOWN) if self.is_gone() => Err(ReceiveError::Gone),
            Some(libc::ENETDOWN) => Err(ReceiveError::Down),
            Some(libc::ENXIO | libc::ENODEV) => Err(ReceiveError::Gone),
            // What `virtio_net_hdr_from_skb` answers to a kind of segments it has no number for.
            Some(libc::EINVAL) => Err(ReceiveError::Unreadable),
            _ => Err(ReceiveError::Failed(error)),
        })
    }

    /// Whether the interface has left this network namespace. A socket is told when its interface
    /// goes down, but not when one that is down already goes away.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        // The kernel then turns the bound address's index into -1.
        let index = self.port.get().cast_signed();
        self.socket.local_addr().is_ok_and(|address| link(address).sll_ifindex != index)
    }

    /// Sends frames in order, each by the port it names: usually this one's, whose buffer then
    /// fills up instead of another's when the interface is stuck.
    pub fn send<'a>(&self, frames: impl Iterator<Item = Outgoing<'a>>) -> Injected {
        send_all(self.as_fd(), frames)
    }

    /// Frames that came in but found the receive buffer full, since this was last asked.
    ///
    /// # Errors
    /// Whatever `getsockopt` says; it has no reason to fail.
    pub fn take_overruns(&self) -> io::Result<u64> {
        let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut len = size_of_val(&statistics) as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` bytes, the size of the plain C struct behind
        // the pointer.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut len,
            )
        };
        if result == 0 {
            Ok(u64::from(statistics.tp_drops))
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A packet socket that takes frames for any interface and, having no protocol, receives nothing.
pub(crate) fn open_sending() -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None)?;
    set(&socket, libc::SOL_PACKET, libc::PACKET_VNET_HDR, &1_i32)?;
    set_buffer(&socket, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_BUFFER)?;
    Ok(socket)
}

/// Sets a buffer's size, beyond the system's limit where that is allowed.
fn set_buffer(socket: &Socket, force: i32, ordinary: i32, bytes: u32) -> io::Result<()> {
    let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
    set(socket, libc::SOL_SOCKET, force, &bytes)
        .or_else(|_| set(socket, libc::SOL_SOCKET, ordinary, &bytes))
}

/// Has the interface accept every multicast while the socket is open. Other frames only come if
/// they are addressed to it: the gateway uses no MAC address but the port's own.
fn accept_all_multicast(socket: &Socket, port: PortId) -> io::Result<()> {
    let request = libc::packet_mreq {
        mr_ifindex: port.get().cast_signed(),
        mr_type: libc::PACKET_MR_ALLMULTI.cast_unsigned() as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set(socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
}

/// `setsockopt` with a plain C value.
fn set<T: Copy>(socket: &Socket, level: i32, option: i32, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes from a reference to a `T`, which the callers
    // here make an integer or a C struct without padding.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The address of an interface, for one ether type (host byte order).
fn link_address(port: PortId, ether_type: u16) -> SockAddr {
    let link = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: ether_type.to_be(),
        sll_ifindex: port.get().cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: a `sockaddr_ll` is one of the addresses that the storage is large and aligned enough
    // for, and all zeros is a valid one.
    *unsafe { storage.view_as::<libc::sockaddr_ll>() } = link;
    // SAFETY: the storage holds a `sockaddr_ll` with its family set, of this length.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) }
}

/// The address of a packet socket.
fn link(address: SockAddr) -> libc::sockaddr_ll {
    let mut storage = address.as_storage();
    // SAFETY: the storage is large and aligned enough for a `sockaddr_ll`; what the kernel did not
    // write of it, such as the unused end of the MAC address, is zero.
    *unsafe { storage.view_as::<libc::sockaddr_ll>() }
}
