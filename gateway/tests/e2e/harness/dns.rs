//! A name server that knows one name, over UDP and TCP, so that dig has something to ask.
//!
//! Every A question is answered with 192.0.2.53, every AAAA question with `2001:db8::53`
//! (RFC 1035, section 4; RFC 3596). That is all it can.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use halfspace_testbed::Namespace;

/// How soon the threads notice that they are to stop.
const BEAT: Duration = Duration::from_millis(50);

/// A running name server; dropping it ends its threads.
pub struct NameServer {
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    stop: AtomicBool,
    askers: Mutex<Vec<SocketAddr>>,
}

impl NameServer {
    /// Serves on `address` inside the namespace.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Self {
        let (udp, tcp) = namespace
            .enter(|| (UdpSocket::bind(address).unwrap(), TcpListener::bind(address).unwrap()))
            .unwrap();
        udp.set_read_timeout(Some(BEAT)).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let state = Arc::new(State::default());
        let (for_udp, for_tcp) = (Arc::clone(&state), Arc::clone(&state));
        let threads = vec![
            thread::spawn(move || for_udp.serve_datagrams(&udp)),
            thread::spawn(move || for_tcp.serve_connections(&tcp)),
        ];
        Self { state, threads }
    }

    /// Who has asked so far.
    pub fn askers(&self) -> Vec<SocketAddr> {
        self.state.askers.lock().unwrap().clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has said so, and the question it was asked stays unanswered.
            let _ = thread.join();
        }
    }
}

impl State {
    fn serve_datagrams(&self, socket: &UdpSocket) {
        let mut buffer = [0; 512];
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((length, asker)) = socket.recv_from(&mut buffer) else { continue };
            self.askers.lock().unwrap().push(asker);
            if let Some(answer) = answer(&buffer[..length]) {
                // dig sees the loss if it cannot be sent.
                let _ = socket.send_to(&answer, asker);
            }
        }
    }

    fn serve_connections(&self, listener: &TcpListener) {
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((mut stream, asker)) = listener.accept() else {
                thread::sleep(Duration::from_millis(5));
                continue;
            };
            self.askers.lock().unwrap().push(asker);
            let mut serve = || -> std::io::Result<()> {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(Duration::from_secs(2)))?;
                // RFC 1035, section 4.2.2: over TCP each message has its length in front.
                let mut length = [0; 2];
                stream.read_exact(&mut length)?;
                let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut question)?;
                let Some(answer) = answer(&question) else { return Ok(()) };
                let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                stream.write_all(&[&length[..], &answer].concat())
            };
            // dig sees the loss.
            let _ = serve();
        }
    }
}

/// The answer to a message with one question.
fn answer(message: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let name_len = message.get(HEADER..)?.iter().position(|&byte| byte == 0)? + 1;
    let question = message.get(HEADER..HEADER + name_len + 4)?;
    let data: &[u8] = match question[name_len..name_len + 2] {
        [0, 1] => &[192, 0, 2, 53],
        [0, 28] => &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53],
        _ => return None,
    };
    let mut answer = message[..2].to_vec();
    // A response, authoritative; one question, one answer.
    answer.extend([0x84, 0x00, 0, 1, 0, 1, 0, 0, 0, 0]);
    answer.extend(question);
    // The name of the question, its type and class, a minute to live.
    answer.extend([0xc0, HEADER as u8]);
    answer.extend(&question[name_len..]);
    answer.extend([0, 0, 0, 60, 0, data.len() as u8]);
    answer.extend(data);
    Some(answer)
}
