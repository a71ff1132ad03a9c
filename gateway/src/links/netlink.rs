//! The part of rtnetlink(7) that tells of links: requests, answers, events.
//!
//! Numbers are in the host's byte order. Every message is a `nlmsghdr`; those about a link go on
//! with an `ifinfomsg` and attributes, each aligned to four bytes.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nf_core::id::PortId;
use nf_core::packet::MacAddr;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{RcvBuf, ReceiveTimeout};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::Link;

/// How long the kernel may take to answer: it waits for whoever changes links at the time.
const PATIENCE_SECONDS: i64 = 10;

/// A dump that other changes kept interrupting is begun again this often.
const ATTEMPTS: usize = 10;

/// Larger than any message the kernel makes of links.
const BUFFER: usize = 64 << 10;

/// Room for some ten thousand events that come while the control side is busy.
const EVENT_BUFFER: usize = 8 << 20;

const HEADER: usize = 16;
const LINK_HEADER: usize = 16;

/// `NLM_F_DUMP_INTR`: links changed during the dump, which may have missed some.
const DUMP_INTERRUPTED: u16 = 0x10;

/// `RTEXT_FILTER_SKIP_STATS`: the counters of each link are most of the kernel's work.
const SKIP_STATISTICS: u32 = 1 << 3;

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The link is new, or has changed.
    Present(Link),
    /// The link is gone.
    Gone(PortId),
}

/// A socket for questions.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

impl Socket {
    pub(super) fn open() -> io::Result<Self> {
        let fd = open(SockFlag::empty(), 0)?;
        setsockopt(&fd, ReceiveTimeout, &TimeVal::seconds(PATIENCE_SECONDS))?;
        Ok(Self(fd))
    }

    /// Every link.
    pub(super) fn dump(&self) -> io::Result<Vec<Link>> {
        for sequence in 0..ATTEMPTS {
            let mask = (libc::IFLA_EXT_MASK, &SKIP_STATISTICS.to_ne_bytes()[..]);
            self.ask(sequence as u32, libc::NLM_F_DUMP as u16, mask)?;
            if let Some(links) = self.read_dump(sequence as u32)? {
                return Ok(links);
            }
        }
        Err(io::Error::other("the interfaces changed during every attempt to list them"))
    }

    /// The answer to a dump, or `None` if it has to be repeated.
    fn read_dump(&self, sequence: u32) -> io::Result<Option<Vec<Link>>> {
        let mut links = Vec::new();
        let mut whole = true;
        let mut buffer = vec![0; BUFFER];
        loop {
            for message in messages(self.receive(&mut buffer)?) {
                if message.sequence != sequence {
                    continue;
                }
                whole &= message.flags & DUMP_INTERRUPTED == 0;
                match message.kind {
                    Kind::Done => return Ok(whole.then_some(links)),
                    Kind::Error(errno) => return Err(errno),
                    Kind::Link(Event::Present(link)) => links.push(link),
                    Kind::Link(Event::Gone(_)) | Kind::Other => {}
                }
            }
        }
    }

    /// The link of that name.
    pub(super) fn find(&self, name: &str) -> io::Result<Option<Link>> {
        // IFNAMSIZ with the final zero byte: the kernel answers ERANGE to longer names.
        if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains('\0') {
            return Ok(None);
        }
        let mut text = name.as_bytes().to_vec();
        text.push(0);
        self.ask(0, 0, (libc::IFLA_IFNAME, &text))?;
        let mut buffer = vec![0; BUFFER];
        loop {
            for message in messages(self.receive(&mut buffer)?) {
                match message.kind {
                    Kind::Link(Event::Present(link)) => return Ok(Some(link)),
                    Kind::Error(error) if error.raw_os_error() == Some(libc::ENODEV) => {
                        return Ok(None);
                    }
                    Kind::Error(error) => return Err(error),
                    Kind::Done | Kind::Other | Kind::Link(Event::Gone(_)) => {}
                }
            }
        }
    }

    /// Sends an `RTM_GETLINK` with one attribute.
    fn ask(&self, sequence: u32, flags: u16, attribute: (u16, &[u8])) -> io::Result<()> {
        let message = request(sequence, flags, attribute);
        send(self.0.as_raw_fd(), &message, MsgFlags::empty())?;
        Ok(())
    }

    fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        loop {
            match recv(self.0.as_raw_fd(), buffer, MsgFlags::empty()) {
                Ok(length) => return Ok(&buffer[..length]),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "the kernel did not tell of its interfaces in time",
                    ));
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// A non-blocking socket that the kernel sends link events to.
pub(super) fn subscribe() -> io::Result<OwnedFd> {
    let fd = open(SockFlag::SOCK_NONBLOCK, libc::RTMGRP_LINK as u32)?;
    // The kernel gives what it allows; less only means that the table is read anew more often.
    let _ = setsockopt(&fd, RcvBuf, &EVENT_BUFFER);
    Ok(fd)
}

/// Hands over every event that is there.
pub(super) fn receive(fd: &impl AsFd, mut handle: impl FnMut(Event)) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut received = false;
    loop {
        match recv(fd.as_fd().as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => {
                received = true;
                for message in messages(&buffer[..length]) {
                    if let Kind::Link(event) = message.kind {
                        handle(event);
                    }
                }
            }
            Err(Errno::EINTR) => {}
            // Nothing left; without anything before, the caller has to wait again.
            Err(Errno::EAGAIN) if received => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn open(flags: SockFlag, groups: u32) -> io::Result<OwnedFd> {
    let fd = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        flags | SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(fd)
}

/// `RTM_GETLINK` with one attribute.
fn request(sequence: u32, flags: u16, (kind, value): (u16, &[u8])) -> Vec<u8> {
    let attribute_len = 4 + value.len();
    let length = HEADER + LINK_HEADER + aligned(attribute_len);
    let mut message = Vec::with_capacity(length);
    message.extend((length as u32).to_ne_bytes());
    message.extend(libc::RTM_GETLINK.to_ne_bytes());
    message.extend((libc::NLM_F_REQUEST as u16 | flags).to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    // To the kernel, any family, any type, any index.
    message.resize(HEADER + LINK_HEADER, 0);
    message.extend((attribute_len as u16).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(length, 0);
    message
}

/// A message, as far as it concerns links.
#[derive(Debug)]
struct Message {
    sequence: u32,
    flags: u16,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Link(Event),
    Done,
    Error(io::Error),
    Other,
}

/// The messages in what was received at once. One that contradicts itself ends the sequence.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let message = bytes.get(..length).filter(|message| message.len() >= HEADER)?;
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        let body = &message[HEADER..];
        let kind = match u16_at(message, 4)? {
            libc::RTM_NEWLINK => present(body).map_or(Kind::Other, Kind::Link),
            libc::RTM_DELLINK => gone(body).map_or(Kind::Other, Kind::Link),
            done if i32::from(done) == libc::NLMSG_DONE => Kind::Done,
            error if i32::from(error) == libc::NLMSG_ERROR => {
                // A negative errno.
                let errno = u32_at(body, 0)?.cast_signed();
                Kind::Error(io::Error::from_raw_os_error(errno.saturating_neg()))
            }
            _ => Kind::Other,
        };
        Some(Message { sequence: u32_at(message, 8)?, flags: u16_at(message, 6)?, kind })
    })
}

/// The index in an `ifinfomsg`, unless the message is about something else.
fn index(body: &[u8]) -> Option<PortId> {
    // A bridge tells of its ports with messages of its own family: one that leaves the bridge is
    // "deleted" there and still a link.
    if i32::from(*body.first()?) == libc::AF_BRIDGE {
        return None;
    }
    PortId::new(u32_at(body, 4)?)
}

fn gone(body: &[u8]) -> Option<Event> {
    index(body).map(Event::Gone)
}

fn present(body: &[u8]) -> Option<Event> {
    const RUNNING: u32 = (libc::IFF_UP | libc::IFF_LOWER_UP) as u32;

    let id = index(body)?;
    let flags = u32_at(body, 8)?;
    let (mut name, mut mac, mut mtu) = (None, MacAddr::default(), None);
    for (kind, value) in attributes(body.get(LINK_HEADER..)?) {
        match kind {
            libc::IFLA_IFNAME => {
                let text = value.split(|&byte| byte == 0).next().unwrap_or_default();
                name = std::str::from_utf8(text).ok();
            }
            libc::IFLA_ADDRESS => {
                mac = <[u8; 6]>::try_from(value).map_or(mac, MacAddr::new);
            }
            libc::IFLA_MTU => mtu = u32_at(value, 0),
            _ => {}
        }
    }
    let up = flags & RUNNING == RUNNING;
    Some(Event::Present(Link { id, name: name?.into(), mac, mtu: mtu?, up }))
}

fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)?;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message about link 5, `RTM_NEWLINK` or `RTM_DELLINK`.
    fn message(kind: u16, family: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![family, 0, 1, 0];
        body.extend(5i32.to_ne_bytes());
        body.extend(0x1_0043_u32.to_ne_bytes());
        body.extend([0; 4]);
        for (kind, value) in attributes {
            body.extend((4 + value.len() as u16).to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(*value);
            body.resize(aligned(body.len()), 0);
        }
        let mut message = Vec::new();
        message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend([0; 10]);
        message.extend(body);
        message
    }

    fn links(bytes: &[u8]) -> Vec<Event> {
        messages(bytes)
            .filter_map(|message| match message.kind {
                Kind::Link(event) => Some(event),
                _ => None,
            })
            .collect()
    }

    fn eth0() -> Vec<u8> {
        message(
            libc::RTM_NEWLINK,
            0,
            &[
                (libc::IFLA_IFNAME, b"eth0\0"),
                (99, &[1, 2, 3]),
                (libc::IFLA_MTU, &1400u32.to_ne_bytes()),
                (libc::IFLA_ADDRESS, &[2, 0, 0, 0, 0, 9]),
            ],
        )
    }

    #[test]
    fn a_link_is_read_with_its_name_address_mtu_and_state() {
        let expected = Link {
            id: PortId::new(5).unwrap(),
            name: "eth0".into(),
            mac: MacAddr([2, 0, 0, 0, 0, 9]),
            mtu: 1400,
            up: true,
        };
        assert_eq!(links(&eth0()), [Event::Present(expected)]);
    }

    #[test]
    fn a_port_that_leaves_a_bridge_is_not_taken_for_a_link_that_is_gone() {
        let gone = message(libc::RTM_DELLINK, 0, &[]);
        let left_bridge = message(libc::RTM_DELLINK, libc::AF_BRIDGE as u8, &[]);
        assert_eq!(links(&gone), [Event::Gone(PortId::new(5).unwrap())]);
        assert_eq!(links(&left_bridge), []);
    }

    #[test]
    fn messages_that_end_early_or_contradict_themselves_are_no_links() {
        let whole = eth0();
        for length in 0..whole.len() {
            assert_eq!(links(&whole[..length]), [], "{length} bytes");
        }
        let mut twice = [eth0(), eth0()].concat();
        twice[0] = 0;
        assert_eq!(links(&twice), [], "a length of less than the header");
    }

    #[test]
    fn a_request_by_name_has_the_lengths_the_kernel_checks() {
        let request = request(7, 0, (libc::IFLA_IFNAME, b"eth0\0"));
        assert_eq!(request.len(), 44);
        assert_eq!(u32_at(&request, 0), Some(44));
        assert_eq!(u16_at(&request, 32), Some(9));
        assert_eq!(&request[36..], b"eth0\0\0\0\0");
    }
}
