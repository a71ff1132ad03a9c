//! A UDP and TCP echo server of our own, which tells each client the address it sees, or who
//! answers.
//!
//! UDP: each datagram is answered with `address:port` or the server's name, a line feed and the
//! datagram. TCP: the first line is the same, then everything comes back as sent.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::error::Error;
use crate::namespace::Namespace;

/// How soon the threads notice that they are to stop.
const BEAT: Duration = Duration::from_millis(50);

/// Connections served at the same time; more are closed at once.
const MOST_CONNECTIONS: usize = 256;

/// A running echo server; dropping it ends its threads and connections.
#[derive(Debug)]
pub struct Echo {
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    stop: AtomicBool,
    /// What answers begin with, if that is not the client's address.
    name: Option<String>,
    peers: Mutex<Vec<SocketAddr>>,
}

impl Echo {
    /// Listens on `address` inside the namespace, for UDP and TCP, and tells clients the address it
    /// sees.
    ///
    /// # Errors
    ///
    /// [`Error::Namespace`] if the address cannot be bound.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<Self, Error> {
        Self::listen(namespace, address, None)
    }

    /// The same, but clients are told the server's name: for several with one address.
    ///
    /// # Errors
    ///
    /// As [`Echo::start`].
    pub fn named(namespace: &Namespace, address: SocketAddr, name: &str) -> Result<Self, Error> {
        Self::listen(namespace, address, Some(name.to_owned()))
    }

    fn listen(
        namespace: &Namespace,
        address: SocketAddr,
        name: Option<String>,
    ) -> Result<Self, Error> {
        let opened = namespace.enter(|| -> io::Result<_> {
            let udp = UdpSocket::bind(address)?;
            udp.set_read_timeout(Some(BEAT))?;
            let tcp = TcpListener::bind(address)?;
            tcp.set_nonblocking(true)?;
            Ok((udp, tcp))
        })?;
        let (udp, tcp) =
            opened.map_err(|source| namespace.failed(&format!("listen on {address}"), source))?;
        let state = Arc::new(State { stop: AtomicBool::default(), name, peers: Mutex::default() });
        let threads = vec![
            thread::spawn({
                let state = Arc::clone(&state);
                move || state.serve_datagrams(&udp)
            }),
            thread::spawn({
                let state = Arc::clone(&state);
                move || state.serve_connections(&tcp)
            }),
        ];
        Ok(Self { state, threads })
    }

    /// The source of each datagram and each connection so far, in order.
    #[must_use]
    pub fn peers(&self) -> Vec<SocketAddr> {
        self.state.peers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has already said so.
            let _ = thread.join();
        }
    }
}

impl State {
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn note(&self, peer: SocketAddr) {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).push(peer);
    }

    /// The first line of what a client is answered.
    fn greeting(&self, peer: SocketAddr) -> String {
        self.name.as_ref().map_or_else(|| format!("{peer}\n"), |name| format!("{name}\n"))
    }

    fn serve_datagrams(&self, socket: &UdpSocket) {
        let mut buffer = vec![0; 65536];
        while !self.stopping() {
            // A time-out, or the ICMP error that an earlier answer brought back.
            let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
            self.note(peer);
            let mut answer = self.greeting(peer).into_bytes();
            answer.extend_from_slice(&buffer[..length]);
            // The client may be gone, or the answer too long for a datagram: it sees the loss.
            let _ = socket.send_to(&answer, peer);
        }
    }

    fn serve_connections(&self, listener: &TcpListener) {
        thread::scope(|scope| {
            let mut running = Vec::new();
            while !self.stopping() {
                running.retain(|connection: &thread::ScopedJoinHandle<'_, ()>| {
                    !connection.is_finished()
                });
                match listener.accept() {
                    Ok((stream, peer)) if running.len() < MOST_CONNECTIONS => {
                        self.note(peer);
                        running.push(scope.spawn(move || {
                            // The client ended the connection or broke it: both are its right.
                            let _ = self.serve(stream, peer);
                        }));
                    }
                    // Too many: closing at once tells the client more than silence.
                    Ok(_) => {}
                    Err(_) => thread::sleep(Duration::from_millis(1)),
                }
            }
        });
    }

    fn serve(&self, mut stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(BEAT))?;
        stream.set_nodelay(true)?;
        stream.write_all(self.greeting(peer).as_bytes())?;
        let mut buffer = vec![0; 65536];
        while !self.stopping() {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => stream.write_all(&buffer[..length])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
