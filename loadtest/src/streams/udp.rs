//! A thread of datagram flows: as many as the kernel takes, or as are due, and in the end the
//! server's word on what became of them.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use halfspace_testbed::Interrupt;

use super::tally::Tally;
use crate::error::Error;
use crate::output::Rate;
use crate::sockets::batch::{BATCH, Outbox};
use crate::sockets::failures::{Failure, Failures};
use crate::sockets::origin::Origin;
use crate::sockets::payload::Payload;
use crate::sockets::protocol::{COUNTS, DATAGRAM_HEAD, Datagram, DatagramKind, FlowCounts};
use crate::sockets::schedule::Schedule;
use crate::sockets::sources::Sources;
use crate::sockets::threads;
use crate::sockets::timing::{Clock, Timing, nanoseconds};

/// How long to wait for an answer before asking again.
const PATIENCE: Duration = Duration::from_millis(100);

/// How often to ask at least.
const TRIES: u32 = 3;

/// How long the count of a flow must stay the same until no more is expected of it.
const SETTLED: Duration = Duration::from_millis(100);

/// The longest sleep, after which the interrupt is looked at.
const BEAT: Duration = Duration::from_millis(20);

/// How much one thread is to send.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Its number, from 0.
    pub thread: u32,
    /// How many there are.
    pub threads: u32,
    /// Flows of this one.
    pub flows: u64,
    /// Bytes of a datagram.
    pub bytes: usize,
    /// Datagrams a second, of all threads.
    pub rate: Option<Rate>,
}

/// A client thread.
#[derive(Debug)]
pub struct UdpWorker<'a> {
    timing: Timing,
    share: Share,
    interrupt: &'a Interrupt,
    progress: &'a AtomicU64,
    origin: Origin,
    flows: Vec<Flow>,
    outbox: Outbox,
    failures: Failures,
    sources: Sources,
}

#[derive(Debug)]
struct Flow {
    socket: UdpSocket,
    id: u64,
    /// The next sequence number, and how many were sent.
    sent: u64,
}

impl<'a> UdpWorker<'a> {
    /// A thread with its share of the flows.
    pub fn new(
        timing: Timing,
        share: Share,
        origin: Origin,
        sources: Sources,
        interrupt: &'a Interrupt,
        progress: &'a AtomicU64,
    ) -> Self {
        let mut outbox = Outbox::new(share.bytes);
        for buffer in outbox.buffers() {
            Payload::DATAGRAM.fill(0, &mut buffer[DATAGRAM_HEAD..]);
        }
        let (flows, failures) = (Vec::new(), Failures::default());
        Self { timing, share, interrupt, progress, origin, flows, outbox, failures, sources }
    }

    /// Sends for so long; how many datagrams were due and not sent.
    fn send(&mut self, length: Duration) -> u64 {
        let Share { thread, threads, .. } = self.share;
        let mut schedule = self.share.rate.map(|rate| Schedule::new(rate, thread, threads));
        let (clock, end) = (Clock::start(), nanoseconds(length));
        let (mut turn, mut total) = (0, 0);
        loop {
            let now = clock.now();
            if now >= end || self.flows.is_empty() || self.interrupt.is_raised() {
                break;
            }
            let due = match &mut schedule {
                None => BATCH,
                Some(schedule) => (0..BATCH).take_while(|_| schedule.take(now).is_some()).count(),
            };
            if due == 0 {
                let next = schedule.as_ref().map_or(0, Schedule::next).min(end);
                std::thread::sleep(BEAT.min(Duration::from_nanos(next.saturating_sub(now))));
                continue;
            }
            // Flows take turns, by the datagram when few are due and by the batch when many are.
            turn = (turn + 1) % self.flows.len();
            match self.flows[turn].send(&mut self.outbox, due) {
                Ok(sent) => total += sent as u64,
                // A full queue, or an ICMP error of an earlier one: those are lost, and counted.
                Err(error) => self.failures.add_error(&error),
            }
            self.progress.store(total * self.share.bytes as u64, Ordering::Relaxed);
        }
        // An interrupted run has ended before its time.
        schedule.map_or(0, |schedule| schedule.left_over(clock.now().min(end)))
    }

    /// Drops flows that the server does not answer to.
    fn greet(&mut self) {
        let mut flows = std::mem::take(&mut self.flows);
        flows.retain(|flow| {
            let answer = flow.ask(self.timing.timeout, self.interrupt);
            self.judge(answer).is_some()
        });
        self.flows = flows;
    }

    /// Counts what was wrong with an answer.
    fn judge(
        &mut self,
        answer: io::Result<(std::net::SocketAddr, FlowCounts)>,
    ) -> Option<FlowCounts> {
        match answer {
            Ok((client, counts)) => {
                if self.sources.see(client.ip()) {
                    return Some(counts);
                }
                self.failures.add(Failure::WrongSource);
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                self.failures.add(Failure::TimedOut);
            }
            Err(error) => self.failures.add_error(&error),
        }
        None
    }
}

impl threads::Worker for UdpWorker<'_> {
    type Tally = Tally;

    fn open(&mut self) -> Result<(), Error> {
        for _ in 0..self.share.flows {
            let flow = self.origin.connect_udp().and_then(Flow::new);
            match flow {
                Ok(flow) => self.flows.push(flow),
                Err(error) => self.failures.add_error(&error),
            }
        }
        self.greet();
        Ok(())
    }

    fn measure(mut self) -> Result<Tally, Error> {
        self.send(self.timing.warm_up);
        for flow in &mut self.flows {
            flow.begin_anew();
        }
        let left_over = self.send(self.timing.duration);
        let mut tally = Tally { left_over, ..Tally::default() };
        for flow in std::mem::take(&mut self.flows) {
            tally.sent += flow.sent;
            let answer = flow.settle(self.timing.timeout, self.interrupt);
            let Some(counts) = self.judge(answer) else { continue };
            tally.bytes_up += counts.bytes;
            tally.flows.received += counts.received;
            tally.flows.reordered += counts.reordered;
            tally.flows.duplicated += counts.duplicated;
            tally.flows.corrupt += counts.corrupt;
        }
        (tally.failures, tally.sources) = (self.failures, self.sources);
        Ok(tally)
    }
}

impl Flow {
    fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_read_timeout(Some(PATIENCE))?;
        // Nothing here waits for ever.
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut flow = Self { socket, id: 0, sent: 0 };
        flow.begin_anew();
        Ok(flow)
    }

    /// From here on the server counts from zero.
    fn begin_anew(&mut self) {
        self.id = RandomState::new().hash_one(self.id);
        self.sent = 0;
    }

    fn send(&mut self, outbox: &mut Outbox, count: usize) -> io::Result<usize> {
        for (sequence, buffer) in (self.sent..).zip(outbox.buffers().take(count)) {
            let head = Datagram { kind: DatagramKind::Data, id: self.id, sequence };
            buffer[..DATAGRAM_HEAD].copy_from_slice(&head.encode());
        }
        let sent = outbox.send(&self.socket, count)?;
        self.sent += sent as u64;
        Ok(sent)
    }

    /// Asks the server what it counted, again and again if need be; a few times even after an
    /// interrupt, for there is something to report.
    fn ask(
        &self,
        limit: Duration,
        interrupt: &Interrupt,
    ) -> io::Result<(std::net::SocketAddr, FlowCounts)> {
        let head = Datagram { kind: DatagramKind::Query, id: self.id, sequence: 0 };
        let mut question = [0; DATAGRAM_HEAD + COUNTS];
        question[..DATAGRAM_HEAD].copy_from_slice(&head.encode());
        let started = Instant::now();
        let mut last = io::Error::from(ErrorKind::TimedOut);
        let mut tries = 0;
        while started.elapsed() < limit && (tries < TRIES || !interrupt.is_raised()) {
            tries += 1;
            if let Err(error) = self.socket.send(&question) {
                last = error;
                interrupt.sleep(PATIENCE);
                continue;
            }
            let mut answer = [0; DATAGRAM_HEAD + COUNTS];
            match self.socket.recv(&mut answer) {
                Ok(_) => {
                    let theirs = Datagram::decode(&answer)
                        .is_some_and(|d| d.id == self.id && d.kind == DatagramKind::Counts);
                    if let Some(counts) = FlowCounts::decode(&answer[DATAGRAM_HEAD..])
                        && theirs
                    {
                        return Ok(counts);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => {
                    last = error;
                    interrupt.sleep(PATIENCE);
                }
            }
        }
        Err(last)
    }

    /// Asks until all has arrived, or no more does.
    fn settle(
        &self,
        limit: Duration,
        interrupt: &Interrupt,
    ) -> io::Result<(std::net::SocketAddr, FlowCounts)> {
        let started = Instant::now();
        let mut answer = self.ask(limit, interrupt)?;
        while answer.1.received < self.sent && started.elapsed() < limit {
            interrupt.sleep(SETTLED);
            let later = self.ask(limit, interrupt)?;
            if later.1 == answer.1 {
                break;
            }
            answer = later;
        }
        Ok(answer)
    }
}
