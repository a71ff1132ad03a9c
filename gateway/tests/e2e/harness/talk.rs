//! The least of clients, and what the servers of [`halfspace_testbed::programs::Echo`] tell them:
//! the address that they see.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use halfspace_testbed::programs::Iperf3;
use halfspace_testbed::{Namespace, Output};

use super::SOON;

/// Long enough for an answer that comes, short enough to wait for one that does not.
const ANSWER: Duration = Duration::from_secs(2);

/// A UDP socket in a namespace, bound to `local` and connected to `server`.
pub fn datagram_socket(namespace: &Namespace, local: SocketAddr, server: SocketAddr) -> UdpSocket {
    let opened = namespace.enter(|| -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind(local)?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(ANSWER))?;
        Ok(socket)
    });
    opened.unwrap().unwrap()
}

/// Asks an echo server over UDP: the address it sees.
///
/// # Errors
///
/// Of the socket; `WouldBlock` if there is no answer. Asked once only.
pub fn seen_by(socket: &UdpSocket, question: &str) -> io::Result<SocketAddr> {
    socket.send(question.as_bytes())?;
    let mut buffer = vec![0; 65_536];
    loop {
        let length = socket.recv(&mut buffer)?;
        let answer = String::from_utf8_lossy(&buffer[..length]);
        let Some((peer, echoed)) = answer.split_once('\n') else {
            return Err(io::Error::other(format!("no echo: {answer}")));
        };
        // One to an earlier question may have been late.
        if echoed == question {
            return peer.parse().map_err(io::Error::other);
        }
    }
}

/// A TCP conversation with an echo server.
#[derive(Debug)]
pub struct Heard {
    stream: BufReader<TcpStream>,
    /// Whom the server sees.
    pub seen_as: SocketAddr,
    /// Whom we are.
    pub local: SocketAddr,
}

/// Connects to an echo server from inside a namespace.
///
/// # Errors
///
/// Of the socket.
pub fn converse(namespace: &Namespace, server: SocketAddr) -> io::Result<Heard> {
    let stream = namespace.enter(|| TcpStream::connect_timeout(&server, ANSWER)).unwrap()?;
    stream.set_read_timeout(Some(SOON))?;
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let seen_as = line.trim().parse().map_err(io::Error::other)?;
    Ok(Heard { stream, seen_as, local })
}

impl Heard {
    /// Sends a text and waits for it to come back.
    ///
    /// # Errors
    ///
    /// Of the socket.
    pub fn echo(&mut self, text: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(text.as_bytes())?;
        let mut back = vec![0; text.len()];
        self.stream.read_exact(&mut back)?;
        if back == text.as_bytes() { Ok(()) } else { Err(io::Error::other("another echo")) }
    }

    /// Waits at most this long for what comes back.
    pub fn be_patient_for(&self, limit: Duration) {
        self.stream.get_ref().set_read_timeout(Some(limit)).unwrap();
    }
}

/// Waits until everything that a namespace's TCP sockets have sent is acknowledged: then no segment
/// is on its way that nobody has asked for.
pub fn wait_for_acknowledgements(namespace: &Namespace) {
    super::eventually("everything to be acknowledged", || {
        let sockets = namespace.run(["ss", "--tcp", "--info", "--numeric"]).unwrap();
        !sockets.stdout.contains("unacked:")
    });
}

/// Runs curl with a bound on its time; whether it succeeds is for the caller to see.
pub fn curl(namespace: &Namespace, arguments: &[&str]) -> Output {
    let basics = ["curl", "--silent", "--show-error", "--max-time", "20", "--globoff"];
    namespace.output(Duration::from_secs(25), basics.iter().chain(arguments)).unwrap()
}

/// `http://…` of a server.
pub fn url(server: SocketAddr, path: &str) -> String {
    format!("http://{server}{path}")
}

/// The port that an address of any family is any of: for binding to.
pub fn any_port(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, 0)
}

/// Has iperf3 run for a second with these options: the sum of what was received. It is a second of
/// 20 Mbit/s, or of as much as there is.
pub fn iperf3_moves(
    client: &Namespace,
    server: &Iperf3,
    address: IpAddr,
    options: &[&str],
) -> serde_json::Value {
    server.wait_idle().unwrap();
    let address = address.to_string();
    let command = ["iperf3", "--json", "-t1", "-c", &address];
    let output = client.run(command.iter().chain(options)).unwrap();
    let report: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    let end = &report["end"];
    let received = &end["sum_received"];
    let sum = if received.is_null() { &end["sum"] } else { received };
    let bytes = sum["bytes"].as_u64();
    assert!(bytes.is_some_and(|it| it > 2_000_000), "{options:?}: {report}");
    sum.clone()
}
