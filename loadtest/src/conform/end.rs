//! One end of the prober on the wire: an interface on which it is a few hosts at once. It answers
//! ARP for their addresses itself, which the kernel must not have: a kernel's stack would answer
//! segments and datagrams that it knows nothing of.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use nf_core::packet::arp::{Arp, Operation};
use nf_core::packet::{Content, Ethernet, Headers, IpHeaders, MacAddr, build};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};

use crate::error::Error;
use crate::frames::packet_socket::open_on;
use crate::frames::place::{Link, Place};
use crate::guard::Guard;

/// How long a neighbour may take to say its MAC address, asked every [`ASK_AGAIN`].
const PATIENCE: Duration = Duration::from_secs(4);
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// No frame is larger.
const LARGEST: usize = 1 << 16;

/// Frames that are kept for somebody to look at; the oldest go.
const ROOM: usize = 4096;

/// An IP packet that came in.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Its frame.
    pub frame: Vec<u8>,
    /// Its headers.
    pub ip: IpHeaders,
}

impl Packet {
    /// The packet in a frame, if there is one.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let ip = *Headers::parse(frame).ok()?.ip()?;
        Some(Self { frame: frame.to_owned(), ip })
    }

    /// The transport header and what follows.
    pub fn transport_bytes(&self) -> &[u8] {
        self.ip.transport_bytes(&self.frame)
    }
}

/// A few hosts on one interface.
#[derive(Debug)]
pub struct End {
    socket: OwnedFd,
    mac: MacAddr,
    addresses: Vec<IpAddr>,
    /// Where everything is sent to.
    next_hop: MacAddr,
    seen: VecDeque<Packet>,
}

impl End {
    /// Becomes hosts with `addresses` at a place, whose packets go by `gateway`.
    ///
    /// # Errors
    ///
    /// [`Error::Outside`], [`Error::NoInterface`], [`Error::System`]; [`Error::Unresolved`] if
    /// nobody answers for the gateway's address.
    pub fn open(
        place: &Place,
        addresses: &[Ipv4Addr],
        gateway: Ipv4Addr,
        guard: Guard,
    ) -> Result<Self, Error> {
        let name = &place.interface;
        let (socket, link) = place.namespace.enter(|| {
            guard.check_interface(name)?;
            let link = Link::find(name)?;
            Ok::<_, Error>((open_on(link.index, libc::ETH_P_ALL as u16)?, link))
        })??;
        let addresses = addresses.iter().copied().map(IpAddr::V4).collect();
        let mac = MacAddr(link.mac);
        let mut this =
            Self { socket, mac, addresses, next_hop: MacAddr::BROADCAST, seen: VecDeque::new() };
        this.next_hop = this.resolve(gateway)?.ok_or_else(|| Error::Unresolved {
            gateway: gateway.into(),
            link: place.to_string(),
        })?;
        Ok(this)
    }

    /// The MAC addresses of a frame that goes out: its source and destination.
    pub fn macs(&self) -> (MacAddr, MacAddr) {
        (self.mac, self.next_hop)
    }

    /// Sends a frame.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn send(&self, frame: &[u8]) -> Result<(), Error> {
        send(self.socket.as_raw_fd(), frame, MsgFlags::empty()).map(|_| ()).map_err(|errno| {
            Error::System { action: "send a frame (is the link up?)", source: errno.into() }
        })
    }

    /// Forgets what has come in so far.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn forget(&mut self) -> Result<(), Error> {
        self.take_in(Duration::ZERO)?;
        self.seen.clear();
        Ok(())
    }

    /// Waits until a packet comes in, or has, for which `wanted` has an answer. What came before it
    /// is forgotten.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn expect<T>(
        &mut self,
        limit: Duration,
        mut wanted: impl FnMut(&Packet) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let end = Instant::now() + limit;
        loop {
            while let Some(packet) = self.seen.pop_front() {
                if let Some(found) = wanted(&packet) {
                    return Ok(Some(found));
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.take_in(left)?;
        }
    }

    /// Waits at most so long for a frame, and takes in all there are.
    fn take_in(&mut self, limit: Duration) -> Result<(), Error> {
        self.wait(limit)?;
        let mut frame = vec![0; LARGEST];
        while let Some(length) = self.receive(&mut frame)? {
            self.look_at(&frame[..length])?;
        }
        Ok(())
    }

    /// Waits at most so long, and a second, for a frame.
    fn wait(&self, limit: Duration) -> Result<(), Error> {
        let milliseconds = limit.as_millis().min(1000) as u16 + u16::from(!limit.is_zero());
        let mut ready = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::from(milliseconds)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(Error::System { action: "wait for frames", source: errno.into() }),
        }
    }

    /// The length of the next frame, if there is one.
    fn receive(&self, frame: &mut [u8]) -> Result<Option<usize>, Error> {
        match recv(self.socket.as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => Ok(Some(length)),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(errno) => Err(Error::System {
                action: "receive frames (is the link up?)",
                source: errno.into(),
            }),
        }
    }

    fn look_at(&mut self, frame: &[u8]) -> Result<(), Error> {
        if let Some(answer) = self.answer(frame) {
            return self.send(&answer);
        }
        let Some(packet) = Packet::parse(frame) else { return Ok(()) };
        if self.addresses.contains(&packet.ip.dst) {
            if self.seen.len() == ROOM {
                self.seen.pop_front();
            }
            self.seen.push_back(packet);
        }
        Ok(())
    }

    /// Who has one of the addresses is told so.
    fn answer(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let arp = arp_in(frame)?;
        let wanted = arp.target_ip();
        let asks_us =
            arp.operation() == Operation::Request && self.addresses.contains(&IpAddr::V4(wanted));
        asks_us.then(|| build::arp_reply(self.mac, wanted, arp.sender_mac(), arp.sender_ip()))
    }

    /// The MAC address of a neighbour, if it answers.
    fn resolve(&self, neighbour: Ipv4Addr) -> Result<Option<MacAddr>, Error> {
        let Some(IpAddr::V4(own)) = self.addresses.first().copied() else { return Ok(None) };
        let end = Instant::now() + PATIENCE;
        let mut frame = vec![0; LARGEST];
        while Instant::now() < end {
            self.send(&build::arp_request(self.mac, own, neighbour))?;
            let again = Instant::now() + ASK_AGAIN;
            while Instant::now() < again {
                self.wait(again.saturating_duration_since(Instant::now()))?;
                let Some(length) = self.receive(&mut frame)? else { continue };
                let told = arp_in(&frame[..length])
                    .filter(|arp| arp.operation() == Operation::Reply)
                    .filter(|arp| arp.sender_ip() == neighbour);
                if let Some(arp) = told {
                    return Ok(Some(arp.sender_mac()));
                }
                // It may ask for us before it answers.
                if let Some(answer) = self.answer(&frame[..length]) {
                    self.send(&answer)?;
                }
            }
        }
        Ok(None)
    }
}

fn arp_in(frame: &[u8]) -> Option<Arp<Vec<u8>>> {
    let headers = Headers::parse(frame).ok()?;
    if headers.content != Content::Arp {
        return None;
    }
    let ethernet = Ethernet::new_checked(frame).ok()?;
    Arp::new_checked(ethernet.payload().to_owned()).ok()
}
