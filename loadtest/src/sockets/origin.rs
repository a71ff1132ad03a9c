//! Where client sockets come from: their target, their source addresses, and how they close.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::error::Error;

/// Opens the client's sockets.
#[derive(Clone, Debug)]
pub struct Origin {
    target: SockAddr,
    domain: Domain,
    sources: Vec<SocketAddr>,
    next: usize,
    /// Close with a reset rather than in order.
    reset: bool,
    /// Send each piece at once: messages that do not fit one segment would otherwise wait for the
    /// acknowledgement of their first (RFC 896, section "The solution to the small-packet
    /// problem").
    no_delay: bool,
}

impl Origin {
    /// Sockets to `target`, from each of `sources` in turn, or from where the routing says.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if a source is of another family than the target.
    pub fn new(target: SocketAddr, sources: &[IpAddr]) -> Result<Self, Error> {
        if let Some(other) = sources.iter().find(|source| source.is_ipv4() != target.is_ipv4()) {
            let what = format!("--source {other} cannot reach {target}: they differ in family");
            return Err(Error::Usage(what));
        }
        Ok(Self {
            target: target.into(),
            domain: Domain::for_address(target),
            sources: sources.iter().map(|source| SocketAddr::new(*source, 0)).collect(),
            next: 0,
            reset: false,
            no_delay: false,
        })
    }

    /// Whether TCP connections end with a reset.
    pub fn closing_with_reset(mut self, reset: bool) -> Self {
        self.reset = reset;
        self
    }

    /// Whether TCP connections send at once what they have.
    pub fn without_delay(mut self, no_delay: bool) -> Self {
        self.no_delay = no_delay;
        self
    }

    /// Starts with a later source, so that threads do not all start with the first.
    pub fn starting_at(mut self, number: usize) -> Self {
        self.next = number;
        self
    }

    /// Starts a TCP connection; it is established, or has failed, once the socket is writable.
    ///
    /// # Errors
    ///
    /// What the kernel says at once.
    pub fn connect_tcp(&mut self) -> io::Result<mio::net::TcpStream> {
        let socket = Socket::new(self.domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        if self.reset {
            socket.set_linger(Some(Duration::ZERO))?;
        }
        if self.no_delay {
            socket.set_tcp_nodelay(true)?;
        }
        self.bind(&socket)?;
        match socket.connect(&self.target) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        Ok(mio::net::TcpStream::from_std(socket.into()))
    }

    /// A blocking UDP socket whose peer is the target.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn connect_udp(&mut self) -> io::Result<std::net::UdpSocket> {
        let socket = Socket::new(self.domain, Type::DGRAM, Some(Protocol::UDP))?;
        self.bind(&socket)?;
        socket.connect(&self.target)?;
        Ok(socket.into())
    }

    fn bind(&mut self, socket: &Socket) -> io::Result<()> {
        if self.sources.is_empty() {
            return Ok(());
        }
        let source = self.sources[self.next % self.sources.len()];
        self.next = self.next.wrapping_add(1);
        // ip(7): the port is chosen at connect(2), where only the whole 4-tuple must be free. A
        // plain bind(2) would want the port for itself and run out after 28,000.
        setsockopt(socket, IpBindAddressNoPort, &true)?;
        socket.bind(&source.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_take_turns() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let sources = ["127.0.0.2", "127.0.0.3"].map(|s| s.parse().unwrap());
        let mut origin = Origin::new(listener.local_addr().unwrap(), &sources).unwrap();
        let seen: Vec<_> = (0..4)
            .map(|_| {
                let _stream = origin.connect_tcp().unwrap();
                listener.accept().unwrap().1.ip().to_string()
            })
            .collect();
        assert_eq!(seen, ["127.0.0.2", "127.0.0.3", "127.0.0.2", "127.0.0.3"]);
    }

    #[test]
    fn a_source_of_the_other_family_is_refused_before_anything_is_sent() {
        let target = "[::1]:80".parse().unwrap();
        let error = Origin::new(target, &["127.0.0.1".parse().unwrap()]).unwrap_err();
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
    }
}
