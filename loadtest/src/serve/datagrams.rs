//! The datagram side of a server: counts each flow, and tells the counts when asked.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::SocketAddr;

use mio::net::UdpSocket;

use super::Counts;
use super::connection::Turn;
use crate::sockets::batch::{BATCH, Inbox};
use crate::sockets::payload::Payload;
use crate::sockets::protocol::{COUNTS, DATAGRAM_HEAD, Datagram, DatagramKind, FlowCounts};
use crate::sockets::window::{Arrival, Window};

/// Room for a datagram: the largest payload over IPv4 fits.
const ROOM: usize = 65_536;

/// Batches of one turn.
const BATCHES: usize = 16;

/// The flows of a thread's datagram sockets.
#[derive(Debug)]
pub struct Flows {
    counted: HashMap<u64, Flow>,
    most: usize,
    inbox: Inbox,
}

#[derive(Debug, Default)]
struct Flow {
    window: Window,
    counts: FlowCounts,
}

impl Flows {
    /// At most so many flows are told apart.
    pub fn new(most: usize) -> Self {
        Self { counted: HashMap::new(), most, inbox: Inbox::new(ROOM) }
    }

    /// Receives and answers what is there.
    pub fn turn(&mut self, socket: &UdpSocket, counts: &mut Counts) -> Turn {
        for _ in 0..BATCHES {
            match self.inbox.receive(socket) {
                Ok(received) => {
                    for (bytes, from) in self.inbox.received() {
                        take(&mut self.counted, self.most, bytes, from, socket, counts);
                    }
                    if received < BATCH {
                        return Turn::Waiting;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nothing there; or an error that an answer of ours met, which ends no socket.
                Err(_) => return Turn::Waiting,
            }
        }
        Turn::More
    }
}

fn take(
    flows: &mut HashMap<u64, Flow>,
    most: usize,
    bytes: &[u8],
    from: SocketAddr,
    socket: &UdpSocket,
    counts: &mut Counts,
) {
    let Some(datagram) = Datagram::decode(bytes) else {
        counts.datagrams_foreign += 1;
        return;
    };
    let full = flows.len() >= most;
    let flow = match flows.entry(datagram.id) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(new) if !full => new.insert(Flow::default()),
        Entry::Vacant(_) => {
            counts.datagrams_foreign += 1;
            return;
        }
    };
    match datagram.kind {
        DatagramKind::Data => {
            counts.datagrams += 1;
            if !Payload::DATAGRAM.matches(0, &bytes[DATAGRAM_HEAD..]) {
                counts.datagrams_corrupt += 1;
                flow.counts.corrupt += 1;
                return;
            }
            let arrival = flow.window.see(datagram.sequence);
            if arrival == Arrival::Repeated {
                flow.counts.duplicated += 1;
                return;
            }
            flow.counts.reordered += u64::from(arrival == Arrival::Late);
            flow.counts.received += 1;
            flow.counts.bytes += bytes.len() as u64;
        }
        // An answer no longer than the question: of no use to whoever forges addresses.
        DatagramKind::Query if bytes.len() >= DATAGRAM_HEAD + COUNTS => {
            let head = Datagram { kind: DatagramKind::Counts, ..datagram }.encode();
            let mut answer = [0; DATAGRAM_HEAD + COUNTS];
            answer[..DATAGRAM_HEAD].copy_from_slice(&head);
            answer[DATAGRAM_HEAD..].copy_from_slice(&flow.counts.encode(from));
            // An answer that is lost is asked for again.
            let _ = socket.send_to(&answer, from);
        }
        DatagramKind::Query | DatagramKind::Counts => counts.datagrams_foreign += 1,
    }
}
