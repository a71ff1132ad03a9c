//! Frames as no stack would send them: a packet socket on one link.

use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Instant;

use halfspace_testbed::Namespace;
use nf_core::packet::MacAddr;
use nix::errno::Errno;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike as _, bind,
    recv, send, setsockopt, socket,
};
use nix::sys::time::TimeVal;

use super::SOON;

/// A packet socket on a link of a namespace, which sends and hears whole Ethernet frames.
pub struct Wire {
    socket: OwnedFd,
    /// The link's MAC address.
    pub mac: MacAddr,
    /// The MAC address at the link's other end, where frames go.
    pub peer: MacAddr,
}

impl Wire {
    /// Opens one on `link` of `namespace`, whose other end is `peer_link` of `peer`.
    pub fn open(namespace: &Namespace, link: &str, peer: &Namespace, peer_link: &str) -> Self {
        let address = address(namespace.link_index(link).unwrap());
        let socket = namespace
            .enter(|| -> nix::Result<OwnedFd> {
                let (family, close) = (AddressFamily::Packet, SockFlag::SOCK_CLOEXEC);
                let socket = socket(family, SockType::Raw, close, SockProtocol::EthAll)?;
                bind(socket.as_raw_fd(), &address)?;
                setsockopt(&socket, ReceiveTimeout, &TimeVal::new(0, 100_000))?;
                Ok(socket)
            })
            .unwrap()
            .unwrap();
        let mac = MacAddr(namespace.link_mac(link).unwrap());
        let peer = MacAddr(peer.link_mac(peer_link).unwrap());
        Self { socket, mac, peer }
    }

    /// Sends a frame as it is.
    pub fn send(&self, frame: &[u8]) {
        let sent = send(self.socket.as_raw_fd(), frame, MsgFlags::empty()).unwrap();
        assert_eq!(sent, frame.len());
    }

    /// Sends a frame, and says whether one that `wanted` knows comes by soon, in or out.
    pub fn is_answered(&self, frame: &[u8], mut wanted: impl FnMut(&[u8]) -> bool) -> bool {
        let mut buffer = vec![0; 65536];
        // What came by before is no answer, and may have filled the socket's buffer.
        while recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT).is_ok() {}
        self.send(frame);
        let deadline = Instant::now() + SOON;
        while Instant::now() < deadline {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) if wanted(&buffer[..length]) => return true,
                Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => panic!("cannot hear frames: {error}"),
            }
        }
        false
    }
}

/// The address of a link for all protocols, packet(7).
fn address(index: u32) -> LinkAddr {
    // SAFETY: `sockaddr_ll` is made of integers, for which zero is a value.
    let mut link: libc::sockaddr_ll = unsafe { zeroed() };
    link.sll_family = libc::AF_PACKET as u16;
    link.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    link.sll_ifindex = index.cast_signed();
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the pointer and the length are those of a whole `sockaddr_ll` of its own family.
    unsafe { LinkAddr::from_raw((&raw const link).cast(), Some(length)) }.expect("it is one")
}
