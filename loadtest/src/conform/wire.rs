//! What frames go out and come in by: an interface on which the prober is a few hosts at once. It
//! answers ARP and neighbour discovery for their addresses itself, which the kernel must not have: a
//! kernel's stack would answer segments and datagrams that it knows nothing of.

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nf_core::packet::arp::{Arp, Operation};
use nf_core::packet::{Content, Ethernet, Headers, MacAddr, NeighbourMessage, build};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};

use crate::error::Error;
use crate::frames::packet_socket::{hear_all_multicast, open_on};
use crate::frames::place::{Link, Place};
use crate::guard::Guard;

/// How long a neighbour may take to say its MAC address, asked every [`ASK_AGAIN`].
const PATIENCE: Duration = Duration::from_secs(4);
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// No frame is larger.
const LARGEST: usize = 1 << 16;

/// Carries frames between hosts and a NAT.
pub trait Wire {
    /// Sends a frame to the NAT. Its MAC addresses are filled in on the way.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    fn send(&mut self, frame: &[u8]) -> Result<(), Error>;

    /// Waits at most so long for frames with IP packets to the hosts, and takes them; more may be
    /// there. None if none came in that time.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    fn take(&mut self, limit: Duration) -> Result<Vec<Vec<u8>>, Error>;

    /// Lets time pass; the frames that came meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    fn pass(&mut self, time: Duration) -> Result<Vec<Vec<u8>>, Error> {
        let end = Instant::now() + time;
        let mut frames = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(frames);
            }
            frames.extend(self.take(left)?);
        }
    }
}

/// A few hosts on one interface.
#[derive(Debug)]
pub struct Interface {
    socket: OwnedFd,
    mac: MacAddr,
    addresses: Vec<IpAddr>,
    /// Where everything is sent to.
    next_hop: MacAddr,
}

impl Interface {
    /// Becomes hosts with `addresses`, all of one family, at a place; their packets go by `gateway`.
    ///
    /// # Errors
    ///
    /// [`Error::Outside`], [`Error::NoInterface`], [`Error::System`]; [`Error::Unresolved`] if
    /// nobody answers for the gateway's address.
    pub fn open(
        place: &Place,
        addresses: &[IpAddr],
        gateway: IpAddr,
        guard: Guard,
    ) -> Result<Self, Error> {
        let name = &place.interface;
        let (socket, link) = place.namespace.enter(|| {
            guard.check_interface(name)?;
            let link = Link::find(name)?;
            let socket = open_on(link.index, libc::ETH_P_ALL as u16)?;
            // Who looks for a host with IPv6 asks a multicast group (RFC 4861, section 7.2.2).
            hear_all_multicast(&socket, link.index)?;
            Ok::<_, Error>((socket, link))
        })??;
        let (mac, addresses) = (MacAddr(link.mac), addresses.to_vec());
        let mut this = Self { socket, mac, addresses, next_hop: MacAddr::BROADCAST };
        this.next_hop = this
            .resolve(gateway)?
            .ok_or_else(|| Error::Unresolved { gateway, link: place.to_string() })?;
        Ok(this)
    }

    fn transmit(&self, frame: &[u8]) -> Result<(), Error> {
        send(self.socket.as_raw_fd(), frame, MsgFlags::empty()).map(|_| ()).map_err(|errno| {
            Error::System { action: "send a frame (is the link up?)", source: errno.into() }
        })
    }

    /// Waits at most so long for a frame.
    fn wait(&self, limit: Duration) -> Result<(), Error> {
        // Rounded up: a wait of less than a millisecond is none.
        let milliseconds = limit.as_micros().div_ceil(1000).min(1000) as u16;
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

    /// Who looks for one of the hosts is told where it is.
    fn answer(&self, told: Neighbour) -> Option<Vec<u8>> {
        match told {
            Neighbour::Asked { target: IpAddr::V4(target), mac, by: IpAddr::V4(by) } => {
                let ours = self.addresses.contains(&target.into());
                ours.then(|| build::arp_reply(self.mac, target, mac, by))
            }
            Neighbour::Asked { target: IpAddr::V6(target), mac, by: IpAddr::V6(by) } => {
                let ours = self.addresses.contains(&target.into());
                let to = Some((mac, by));
                ours.then(|| build::neighbour_advertisement(self.mac, target, false, to))
            }
            Neighbour::Asked { .. } | Neighbour::Told { .. } => None,
        }
    }

    /// The MAC address of a neighbour, if it answers.
    fn resolve(&self, neighbour: IpAddr) -> Result<Option<MacAddr>, Error> {
        let question = match (self.addresses.first(), neighbour) {
            (Some(IpAddr::V4(own)), IpAddr::V4(neighbour)) => {
                build::arp_request(self.mac, *own, neighbour)
            }
            (Some(IpAddr::V6(own)), IpAddr::V6(neighbour)) => {
                build::neighbour_solicitation(self.mac, *own, neighbour)
            }
            _ => return Ok(None),
        };
        let end = Instant::now() + PATIENCE;
        let mut frame = vec![0; LARGEST];
        while Instant::now() < end {
            self.transmit(&question)?;
            let again = Instant::now() + ASK_AGAIN;
            while Instant::now() < again {
                self.wait(again.saturating_duration_since(Instant::now()))?;
                let Some(length) = self.receive(&mut frame)? else { continue };
                match Neighbour::parse(&frame[..length]) {
                    Some(Neighbour::Told { of, mac }) if of == neighbour => return Ok(Some(mac)),
                    // It may look for us before it answers.
                    Some(told) => {
                        if let Some(answer) = self.answer(told) {
                            self.transmit(&answer)?;
                        }
                    }
                    None => {}
                }
            }
        }
        Ok(None)
    }
}

impl AsFd for Interface {
    /// Readable when a frame has come.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Wire for Interface {
    fn send(&mut self, frame: &[u8]) -> Result<(), Error> {
        let mut frame = frame.to_owned();
        if let Ok(mut ethernet) = Ethernet::new_checked(&mut frame[..]) {
            ethernet.set_src(self.mac);
            ethernet.set_dst(self.next_hop);
        }
        self.transmit(&frame)
    }

    fn take(&mut self, limit: Duration) -> Result<Vec<Vec<u8>>, Error> {
        let end = Instant::now() + limit;
        let mut frame = vec![0; LARGEST];
        let mut taken = Vec::new();
        loop {
            self.wait(end.saturating_duration_since(Instant::now()))?;
            while let Some(length) = self.receive(&mut frame)? {
                let frame = &frame[..length];
                if let Some(told) = Neighbour::parse(frame) {
                    if let Some(answer) = self.answer(told) {
                        self.transmit(&answer)?;
                    }
                } else if destination(frame).is_some_and(|it| self.addresses.contains(&it)) {
                    taken.push(frame.to_owned());
                }
            }
            if !taken.is_empty() || Instant::now() >= end {
                return Ok(taken);
            }
        }
    }
}

/// Where an IP packet goes; nothing if a frame has none.
fn destination(frame: &[u8]) -> Option<IpAddr> {
    Some(Headers::parse(frame).ok()?.ip()?.dst)
}

/// What neighbours say to each other, of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Neighbour {
    Asked { target: IpAddr, mac: MacAddr, by: IpAddr },
    Told { of: IpAddr, mac: MacAddr },
}

impl Neighbour {
    fn parse(frame: &[u8]) -> Option<Self> {
        let headers = Headers::parse(frame).ok()?;
        let ip = match headers.content {
            Content::Arp => {
                let arp = Arp::new_checked(Ethernet::new_checked(frame).ok()?.payload().to_owned());
                let arp = arp.ok()?;
                let (by, mac) = (arp.sender_ip().into(), arp.sender_mac());
                return match arp.operation() {
                    Operation::Request => {
                        Some(Self::Asked { target: arp.target_ip().into(), mac, by })
                    }
                    Operation::Reply => Some(Self::Told { of: by, mac }),
                    Operation::Other(_) => None,
                };
            }
            Content::Ip(ip) => ip,
            Content::Other(_) => return None,
        };
        match NeighbourMessage::parse(&ip, frame).ok()?? {
            NeighbourMessage::Solicitation { target, source_mac } => Some(Self::Asked {
                target: target.into(),
                mac: source_mac.unwrap_or(headers.src_mac),
                by: ip.src,
            }),
            NeighbourMessage::Advertisement { target, target_mac, .. } => {
                let mac = target_mac.unwrap_or(headers.src_mac);
                Some(Self::Told { of: target.into(), mac })
            }
        }
    }
}
