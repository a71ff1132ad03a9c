//! A client thread: its connections, what each is about, and what is due next.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use halfspace_testbed::Interrupt;
use mio::{Events, Interest, Poll, Token};

use super::plan::{Mode, Plan};
use super::slot::{Phase, Slot, Window};
use super::speech::{Complete, Speech};
use super::tally::Tally;
use crate::error::Error;
use crate::sockets::failures::Failure;
use crate::sockets::origin::Origin;
use crate::sockets::schedule::Schedule;
use crate::sockets::sources::Sources;
use crate::sockets::threads;
use crate::sockets::ticker::Ticker;
use crate::sockets::timing::{Clock, nanoseconds};

/// Bytes that one read may take.
const SCRATCH: usize = 64 * 1024;

/// How often time-outs and the interrupt are looked for, at least.
const BEAT: Duration = Duration::from_millis(20);

/// How long a connection rests after a failure, in nanoseconds: an absent server must not turn the
/// client into a busy loop.
const REST: u64 = 10_000_000;

/// Kept connections that are being opened at the same time: more would overflow the usual queue of
/// a listener, whose victims retry a second later (RFC 6298, section 2.1).
const OPENING: usize = 128;

/// The shortest time between two looks at the schedule, in nanoseconds. Looking costs a system
/// call; beyond this rate several operations start at once.
const FINEST: f64 = 50_000.0;

/// The token of the ticker; connections count from zero.
const TICKER: Token = Token(usize::MAX - 1);

/// The share of one thread.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Its number, from 0.
    pub thread: u32,
    /// How many there are.
    pub threads: u32,
    /// Connections of this one.
    pub connections: usize,
}

/// A client thread.
#[derive(Debug)]
pub struct Worker<'a, S: Speech> {
    plan: &'a Plan,
    speech: S,
    interrupt: &'a Interrupt,
    progress: &'a AtomicU64,
    poll: Poll,
    ticker: Ticker,
    clock: Clock,
    origin: Origin,
    scratch: Vec<u8>,
    slots: Vec<Slot<S::Exchange>>,
    /// Slots that wait for an operation that is due.
    free: VecDeque<usize>,
    /// Slots that go on at a set time, in order.
    resting: VecDeque<(u64, usize)>,
    /// Slots whose kept connection is to be opened.
    unopened: VecDeque<usize>,
    opening: usize,
    /// Whether operations are started.
    issuing: bool,
    schedule: Option<Schedule>,
    /// The time on the clock that the schedule counts from.
    epoch: u64,
    window: Window,
    tally: Tally,
    next_id: u64,
    next_sweep: u64,
}

impl<'a, S: Speech> Worker<'a, S> {
    /// A thread's share of a plan. `progress` is told how many operations are done.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn new(
        plan: &'a Plan,
        speech: S,
        share: Share,
        interrupt: &'a Interrupt,
        progress: &'a AtomicU64,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let ticker = Ticker::new(poll.registry(), TICKER)?;
        Ok(Self {
            plan,
            speech,
            interrupt,
            progress,
            poll,
            ticker,
            clock: Clock::start(),
            origin: plan.origin.clone().starting_at(share.thread as usize),
            scratch: vec![0; SCRATCH],
            slots: (0..share.connections).map(|_| Slot::default()).collect(),
            free: VecDeque::with_capacity(share.connections),
            resting: VecDeque::with_capacity(share.connections),
            unopened: VecDeque::with_capacity(share.connections),
            opening: 0,
            issuing: false,
            schedule: plan.rate.map(|rate| Schedule::new(rate, share.thread, share.threads)),
            epoch: 0,
            window: Window { from: u64::MAX, to: u64::MAX },
            tally: Tally { sources: Sources::expecting(&plan.expect_source), ..Tally::default() },
            // A server that counts by id must not take two runs for one.
            next_id: RandomState::new().hash_one(share.thread),
            next_sweep: 0,
        })
    }

    /// Goes on until a time, a condition, or the interrupt.
    fn run(&mut self, until: u64, done: impl Fn(&Self) -> bool) -> Result<(), Error> {
        let mut events = Events::with_capacity(1024);
        loop {
            let now = self.clock.now();
            if now >= until || self.interrupt.is_raised() || done(self) {
                return Ok(());
            }
            self.start_due(now);
            let wait = self.wait(now, until);
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    return Err(system("wait for events", error));
                }
                _ => {}
            }
            for event in &events {
                if event.token() == TICKER {
                    self.ticker.wind_up();
                } else {
                    self.turn(event.token().0, event.is_read_closed());
                }
            }
            self.sweep();
            self.progress.store(self.tally.operations.count(), Ordering::Relaxed);
        }
    }

    /// How long nothing is to be done but wait for events. The ticker tells what is due by the
    /// schedule.
    fn wait(&self, now: u64, until: u64) -> Duration {
        let rest = self.resting.front().map_or(u64::MAX, |(when, _)| *when);
        BEAT.min(Duration::from_nanos(rest.min(until).saturating_sub(now)))
    }

    /// Starts all that is due.
    fn start_due(&mut self, now: u64) {
        while let Some((_, slot)) = self.resting.pop_front_if(|(when, _)| *when <= now) {
            if self.plan.mode == Mode::Rr {
                self.unopened.push_back(slot);
            } else if self.issuing {
                self.start(slot, now, now);
            }
        }
        while self.opening < OPENING
            && now < self.window.to
            && let Some(slot) = self.unopened.pop_front()
        {
            (self.slots[slot].due, self.slots[slot].started) = (now, now);
            self.connect(slot, Phase::Opening);
        }
        while self.issuing
            && let Some(&slot) = self.free.front()
            && let Some(schedule) = &mut self.schedule
            && let Some(due) = schedule.take(now.saturating_sub(self.epoch))
        {
            self.free.pop_front();
            self.start(slot, self.epoch + due, now);
        }
    }

    /// Starts an operation.
    fn start(&mut self, slot: usize, due: u64, now: u64) {
        if self.schedule.is_some() && self.window.holds(due) {
            self.tally.start_delays.record_nanoseconds(now.saturating_sub(due));
        }
        (self.slots[slot].due, self.slots[slot].started) = (due, now);
        match self.plan.mode {
            Mode::Crr => self.connect(slot, Phase::Connecting),
            Mode::Rr => {
                self.begin(slot);
                self.send(slot);
            }
        }
    }

    fn connect(&mut self, index: usize, phase: Phase) {
        let slot = &mut self.slots[index];
        (slot.id, slot.sequence) = (self.next_id, 0);
        self.next_id = self.next_id.wrapping_add(1);
        if phase == Phase::Connecting {
            self.begin(index);
        }
        let slot = &mut self.slots[index];
        slot.phase = phase;
        self.opening += usize::from(phase == Phase::Opening);
        let opened = self.origin.connect_tcp().and_then(|mut stream| {
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(index), both)?;
            Ok(stream)
        });
        match opened {
            Ok(stream) => slot.stream = Some(stream),
            Err(error) => self.fail_with(index, &error),
        }
    }

    /// Begins the next exchange on an established connection.
    fn begin(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        self.speech.begin(&mut slot.exchange, slot.id, slot.sequence);
        slot.sequence += 1;
        slot.phase = Phase::Sending;
    }

    /// Something happened on a connection.
    fn turn(&mut self, index: usize, closed: bool) {
        match self.slots[index].phase {
            Phase::Down => {}
            Phase::Connecting => {
                // Whether it is established shows in the first write: an error of the connection
                // comes out there, and before it is settled the write would block.
                self.begin(index);
                self.slots[index].phase = Phase::Connecting;
                self.send(index);
            }
            Phase::Opening => self.opened(index),
            Phase::Ready => {
                if closed {
                    self.tally.reconnects += 1;
                    self.free.retain(|free| *free != index);
                    self.reopen(index);
                }
            }
            Phase::Sending => {
                self.send(index);
                // A response may come, or an error, before all of a long request is out.
                if closed && self.slots[index].phase == Phase::Sending {
                    self.receive(index, closed);
                }
            }
            Phase::Receiving => self.receive(index, closed),
        }
    }

    fn opened(&mut self, index: usize) {
        let Some(stream) = &self.slots[index].stream else { return };
        match stream.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return self.fail_with(index, &error),
        }
        if stream.peer_addr().is_err() {
            // Not established yet: there will be another event.
            return;
        }
        let now = self.clock.now();
        self.established(index, now);
        self.opening -= 1;
        self.slots[index].phase = Phase::Ready;
        self.next(index, now);
    }

    fn established(&mut self, index: usize, now: u64) {
        let slot = &mut self.slots[index];
        slot.connected = now;
        // Openings of kept connections are not operations: each counts, whenever it is.
        if slot.phase == Phase::Opening || self.window.holds(slot.due) {
            self.tally.connects.record_nanoseconds(now.saturating_sub(slot.due));
        }
        self.tally.connected_in_time += u64::from(self.window.holds(now));
    }

    fn send(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        let Some(stream) = &slot.stream else { return };
        match self.speech.send(&mut slot.exchange, stream, &mut self.scratch) {
            Ok(whole) => {
                if slot.phase == Phase::Connecting {
                    // A long request went out in part, or the connection is not there yet.
                    if !whole && stream.peer_addr().is_err() {
                        return;
                    }
                    let now = self.clock.now();
                    self.established(index, now);
                }
                self.slots[index].phase = if whole { Phase::Receiving } else { Phase::Sending };
            }
            Err(error) => self.fail_with(index, &error),
        }
    }

    fn receive(&mut self, index: usize, closed: bool) {
        loop {
            let slot = &mut self.slots[index];
            let Some(stream) = &mut slot.stream else { return };
            match stream.read(&mut self.scratch) {
                Ok(0) => {
                    let result = self.speech.close(&mut slot.exchange);
                    return match result {
                        Ok(complete) => self.complete(index, complete),
                        Err(failure) => self.fail(index, failure),
                    };
                }
                Ok(read) => {
                    let bytes = &self.scratch[..read];
                    match self.speech.take(&mut slot.exchange, bytes, &mut self.tally.sources) {
                        Ok(Some(complete)) => return self.complete(index, complete),
                        Err(failure) => return self.fail(index, failure),
                        // A read that leaves room has emptied the socket: epoll(7), question 9.
                        Ok(None) if read < self.scratch.len() && !closed => return,
                        Ok(None) => {}
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.fail_with(index, &error),
            }
        }
    }

    fn complete(&mut self, index: usize, complete: Complete) {
        let now = self.clock.now();
        let slot = &mut self.slots[index];
        if self.window.holds(slot.due) {
            self.tally.operations.record_nanoseconds(now.saturating_sub(slot.due));
            if self.plan.mode == Mode::Crr {
                self.tally.requests.record_nanoseconds(now.saturating_sub(slot.connected));
            }
        }
        self.tally.in_time += u64::from(self.window.holds(now));
        match self.plan.mode {
            Mode::Crr => {
                slot.stream = None;
                slot.phase = Phase::Down;
                self.next(index, now);
            }
            Mode::Rr if complete.keeps => {
                slot.phase = Phase::Ready;
                self.next(index, now);
            }
            Mode::Rr => {
                self.tally.reconnects += 1;
                self.reopen(index);
            }
        }
    }

    /// What a slot does that is done with its last operation.
    fn next(&mut self, index: usize, now: u64) {
        if self.schedule.is_none() && self.issuing && now < self.window.to {
            self.start(index, now, now);
        } else {
            self.free.push_back(index);
        }
    }

    /// Closes a kept connection and opens another in its place.
    fn reopen(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        slot.stream = None;
        slot.phase = Phase::Down;
        self.unopened.push_back(index);
    }

    fn fail_with(&mut self, index: usize, error: &io::Error) {
        if self.counts_failure(index) {
            self.tally.failures.add_error(error);
        }
        self.give_up(index);
    }

    fn fail(&mut self, index: usize, failure: Failure) {
        if self.counts_failure(index) {
            self.tally.failures.add(failure);
        }
        self.give_up(index);
    }

    fn counts_failure(&self, index: usize) -> bool {
        let slot = &self.slots[index];
        slot.phase == Phase::Opening || self.window.holds(slot.due)
    }

    fn give_up(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        self.opening -= usize::from(slot.phase == Phase::Opening);
        slot.stream = None;
        slot.phase = Phase::Down;
        if self.schedule.is_some() && self.plan.mode == Mode::Crr {
            // The schedule sees to it that this is no busy loop.
            self.free.push_back(index);
        } else {
            self.resting.push_back((self.clock.now() + REST, index));
        }
    }

    /// Gives up what has taken too long.
    fn sweep(&mut self) {
        let now = self.clock.now();
        if now < self.next_sweep {
            return;
        }
        let timeout = nanoseconds(self.plan.timing.timeout);
        self.next_sweep = now + (timeout / 16).clamp(1_000_000, 100_000_000);
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if slot.phase.is_busy() && now.saturating_sub(slot.started) >= timeout {
                self.fail(index, Failure::TimedOut);
            }
        }
    }
}

impl<S: Speech> threads::Worker for Worker<'_, S> {
    type Tally = Tally;

    /// Opens the connections that are to be kept, for as long as an operation may take.
    fn open(&mut self) -> Result<(), Error> {
        if self.plan.mode == Mode::Crr {
            self.free.extend(0..self.slots.len());
            return Ok(());
        }
        self.unopened.extend(0..self.slots.len());
        let limit = nanoseconds(self.plan.timing.timeout);
        self.run(limit, |this| this.free.len() == this.slots.len())
    }

    fn measure(mut self) -> Result<Tally, Error> {
        let now = self.clock.now();
        let from = now + nanoseconds(self.plan.timing.warm_up);
        let to = from + nanoseconds(self.plan.timing.duration);
        (self.epoch, self.window, self.issuing) = (now, Window { from, to }, true);
        if let Some(schedule) = &self.schedule {
            let period = duration(schedule.period().max(FINEST));
            let first = Duration::from_nanos(schedule.next().max(1));
            self.ticker.start(first, period).map_err(|error| system("set a timer", error))?;
        } else {
            for slot in std::mem::take(&mut self.free) {
                let now = self.clock.now();
                self.start(slot, now, now);
            }
        }
        self.run(to, |_| false)?;
        self.issuing = false;
        if let Some(schedule) = &self.schedule {
            // An interrupted run has ended before its time.
            let end = self.clock.now().min(to) - self.epoch;
            let start = self.window.from - self.epoch;
            // What was due in the warm-up is not measured, late or not.
            self.tally.left_over =
                schedule.left_over(end).saturating_sub(schedule.left_over(start));
            if self.tally.left_over > 0 {
                self.tally.behind = end - schedule.next().max(start);
            }
        }
        let limit = to + nanoseconds(self.plan.timing.timeout);
        self.run(limit, |this| this.slots.iter().all(|slot| !slot.phase.is_busy()))?;
        Ok(self.tally)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive, and the cast saturates"
)]
fn duration(nanoseconds: f64) -> Duration {
    Duration::from_nanos(nanoseconds as u64)
}

fn system(action: &'static str, source: io::Error) -> Error {
    Error::System { action, source }
}
