//! Datagrams with numbers, ten thousand a second from one socket, to an echo that says who it is.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use halfspace_testbed::Namespace;

use super::load::Watch;
use super::plan::{self, Instance};
use super::track::{Answer, Track};
use crate::demo::error::Error;

/// From one datagram to the next.
const INTERVAL: Duration = Duration::from_micros(100);

/// Datagrams that are sent in one go if the sender was held up. What else it missed it does not make
/// up for: a long burst would overflow the echo's socket, and its loss be taken for a blackout.
const BURST: u32 = 32;

/// How long answers to the last datagrams may take.
const LINGER: Duration = Duration::from_millis(50);

/// What became of it.
#[derive(Debug)]
pub(super) struct Stream {
    /// Datagrams and answers.
    pub track: Track,
    /// The longest time from one datagram to the next, in which nothing could be answered either.
    pub longest_pause: Duration,
    /// The port they all came from.
    pub port: u16,
}

/// The client's socket: all datagrams come from one address and port.
pub(super) fn open(client: &Namespace) -> Result<UdpSocket, Error> {
    let opened = client.enter(|| -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(plan::at(plan::PUBLIC, plan::ECHO))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    })?;
    opened.map_err(|source| Error::System { action: "open a socket for the datagrams", source })
}

/// Sends until the watch ends.
pub(super) fn run(socket: &UdpSocket, watch: &Watch) -> io::Result<Stream> {
    let mut sender = Sender { socket, watch, answers: Vec::new(), sent: 0 };
    let mut longest_pause = Duration::ZERO;
    let mut due = Instant::now();
    let mut last = due;
    while !watch.is_over() {
        let now = Instant::now();
        longest_pause = longest_pause.max(now - last);
        last = now;
        due = due.max(now.checked_sub(INTERVAL * BURST).unwrap_or(now));
        while due <= now {
            sender.send();
            due += INTERVAL;
        }
        sender.receive();
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    let until = watch.elapsed();
    let end = Instant::now() + LINGER;
    while Instant::now() < end {
        sender.receive();
        std::thread::sleep(INTERVAL);
    }
    let Sender { answers, sent, .. } = sender;
    let track = Track::new(sent, answers, until);
    Ok(Stream { track, longest_pause, port: socket.local_addr()?.port() })
}

struct Sender<'a> {
    socket: &'a UdpSocket,
    watch: &'a Watch,
    answers: Vec<Answer>,
    sent: u32,
}

impl Sender<'_> {
    /// One that cannot be sent, because a router said so after an earlier one for instance, is one
    /// that is not answered.
    fn send(&mut self) {
        let _ = self.socket.send(&self.sent.to_be_bytes());
        self.sent += 1;
    }

    /// Takes what has come.
    fn receive(&mut self) {
        let mut buffer = [0; 64];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    let Some((number, from)) = parse(&buffer[..length]) else { continue };
                    self.answers.push(Answer { number, at: self.watch.elapsed(), from });
                    self.watch.stream.heard(from);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // What a router said; asking takes it off the socket.
                Err(_) => {}
            }
        }
    }
}

/// The echo's name, a line feed and what was sent.
fn parse(answer: &[u8]) -> Option<(u32, Instance)> {
    let end = answer.iter().position(|byte| *byte == b'\n')?;
    let (name, number) = (&answer[..end], &answer[end + 1..]);
    let from = Instance::named(std::str::from_utf8(name).ok()?)?;
    Some((u32::from_be_bytes(number.try_into().ok()?), from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::eni::plan::WEB2;

    #[test]
    fn an_answer_has_its_number_and_its_instance() {
        let number = 10 << 8;
        let answer = [b"web2\n".as_slice(), &u32::to_be_bytes(number)].concat();
        assert_eq!(parse(&answer), Some((number, WEB2)));
        assert_eq!(parse(b"web2\n123"), None);
        assert_eq!(parse(b"web3\n1234"), None);
        assert_eq!(parse(b"web2"), None);
    }
}
