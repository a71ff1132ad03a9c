//! The end of an idle TCP connection, told to both of its ends.
//!
//! A RST is believed only if its sequence number is exactly the one that the receiver expects next
//! (RFC 5961 section 3.2), and nobody here keeps that number: it would cost every packet. So each
//! end is asked. It gets a bare acknowledgement with a sequence number that it has no use for, and
//! says what it expects (RFC 9293 section 3.10.7.4: "If an incoming segment is not acceptable, an
//! acknowledgment should be sent in reply"). That answer belongs to no flow any more, and the RST
//! that answers it has the right number. An end that is gone says nothing, and need not be told.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::Engine;
use crate::fast_path::{Direction, FastPath};
use crate::flow::{Flow, Phase};
use crate::neighbour::Waiting;
use crate::packet::TcpFlags;
use crate::packet::build::Frame;
use crate::time::Time;
use crate::tuple::{FlowKey, Protocol};

/// Keys whose next segment is answered with a RST.
#[derive(Debug)]
pub(super) struct Farewells {
    keys: HashSet<FlowKey, ahash::RandomState>,
    /// With the moment when nobody waits for an answer any more, the soonest first.
    order: VecDeque<(Time, FlowKey)>,
}

impl Farewells {
    /// Longer than any round trip, shorter than the rest of a port.
    const WAIT: Duration = Duration::from_secs(10);

    /// With more than that the oldest are not waited for any longer.
    const MOST: usize = 1 << 14;

    pub(super) fn new(seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, 16, 17, 18);
        Self { keys: HashSet::with_hasher(hasher), order: VecDeque::new() }
    }

    fn expect(&mut self, now: Time, key: FlowKey) {
        if self.order.len() == Self::MOST
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
        self.keys.insert(key);
        self.order.push_back((now + Self::WAIT, key));
    }

    /// Whether an answer with this key is waited for.
    pub(super) fn awaits(&mut self, now: Time, key: &FlowKey) -> bool {
        if self.order.is_empty() {
            return false;
        }
        while let Some((_, over)) = self.order.pop_front_if(|(until, _)| *until <= now) {
            self.keys.remove(&over);
        }
        self.keys.contains(key)
    }
}

impl Engine {
    /// Asks both ends of a connection that is about to end by being idle, if that is wanted of it.
    pub(super) fn say_farewell(
        &mut self,
        now: Time,
        flow: &Flow,
        phase: Phase,
        fast_path: &mut dyn FastPath,
    ) {
        let is_tcp = flow.forward.tuple.protocol == Protocol::Tcp;
        if !is_tcp || !flow.timeouts.reset_both || phase != Phase::Established {
            return;
        }
        for direction in [Direction::Forward, Direction::Reverse] {
            self.ask(now, flow, direction, fast_path);
        }
    }

    /// Asks the end that sends in this direction.
    fn ask(&mut self, now: Time, flow: &Flow, direction: Direction, fast_path: &mut dyn FastPath) {
        let key = *flow.key(direction);
        let out = match direction {
            Direction::Forward => flow.reverse_out,
            Direction::Reverse => flow.forward_out,
        };
        let Some((mac, _)) = self.port_link(key.port) else { return };
        let to = key.tuple.reversed();
        let frame = Frame::tcp(to.src, to.dst).flags(TcpFlags::ACK).macs(mac, mac).build();
        self.farewells.expect(now, key);
        self.counters.originated += 1;
        let frame = Waiting { frame, segment_size: 0 };
        let verdict = self.send_or_wait(now, key.port, out, frame, fast_path);
        self.counters.verdict(verdict);
    }
}
