//! Environments come and go: attached, asked whether they are heard, kept for a while, detached,
//! asked whether they are silent, and again.
//!
//! A few threads take steps off one board. A step whose time has come goes before a new attachment,
//! so environments are kept for as long as was asked for and no longer, whatever else there is to
//! do. At a set rate, an attachment is measured from the moment it was due, not from when somebody
//! had time for it: a gateway that falls behind is not excused by being asked less (coordinated
//! omission).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use super::api::{ApiError, Client};
use super::pool::Pool;
use super::probe::{Probe, Question, Token};
use super::wire::{Heard, Wire};
use crate::error::Error;
use crate::histogram::Latencies;
use crate::output::Rate;

/// How long a detached environment is listened to.
const SILENCE: Duration = Duration::from_millis(50);

/// After what time a probe that is not answered is sent again.
const AGAIN: Duration = Duration::from_millis(100);

/// Before a request that found no gateway is repeated, and between looks at a listing.
const PAUSE: Duration = Duration::from_millis(100);

/// How soon the threads notice that the run is over.
const BEAT: Duration = Duration::from_millis(20);

/// How long detaching what is still attached may take when the run is over.
const CLOSING_LIMIT: Duration = Duration::from_mins(3);

/// The port that UDP probes come from; all environments are clones and use the same.
const FROM_PORT: u16 = 40_000;

/// What is to happen.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The bridge to attach to.
    pub bridge: String,
    /// Environments that are being attached, probed or detached at once, at the most.
    pub concurrency: usize,
    /// Attachments a second; without it, as fast as it goes.
    pub rate: Option<Rate>,
    /// How long an environment is kept.
    pub hold: Duration,
    /// How long attachments go on.
    pub duration: Duration,
    /// The share of environments that end by their link being deleted, from 0 to 1.
    pub vanish: f64,
    /// Whom an environment asks once it knows its gateway.
    pub ask: Option<Ask>,
    /// How long an answer may take.
    pub patience: Duration,
}

/// Whom an environment asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A UDP echo server.
    Udp(SocketAddrV4),
    /// A host, by ICMP.
    Host(Ipv4Addr),
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// From the request, or from when it was due, to the answer.
    pub attach: Latencies,
    /// From the attachment's answer to the gateway's ARP answer.
    pub first_packet: Latencies,
    /// From the attachment's answer to the answer to the probe.
    pub first_answer: Latencies,
    /// From the request to the answer.
    pub detach: Latencies,
    /// From when the link was gone until the gateway no longer lists the environment.
    pub vanish: Latencies,
    /// Detached environments that were found silent.
    pub silent: u64,
    /// Attachments that were due and not begun before the time was up.
    pub behind: u64,
    /// What failed, by reason.
    pub failures: BTreeMap<String, u64>,
    /// What failed while something was done to the gateway that may well fail it.
    pub excused: BTreeMap<String, u64>,
    /// How long environments were attached; detaching the last is not counted.
    pub elapsed: Duration,
}

/// The surroundings of a churn.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// The gateway's API socket.
    pub api: &'a Path,
    /// The links.
    pub pool: &'a Pool,
    /// What goes over them.
    pub wire: &'a Wire,
    /// Whether to end early.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Whether a failure of something that took from then to then is excused.
    pub excuse: &'a (dyn Fn(Instant, Instant) -> bool + Sync),
    /// Told now and then how long it has been going on and what has happened.
    pub watch: &'a (dyn Fn(Duration, &Tally) + Sync),
}

/// Runs it to its end. All environments are detached then, or it is told why not.
pub fn run(plan: &Plan, setting: Setting<'_>) -> Tally {
    let board = Board::new(plan, setting);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.concurrency).map(|_| scope.spawn(|| board.work())).collect();
        while !workers.iter().all(ScopedJoinHandle::is_finished) {
            (setting.watch)(board.started.elapsed(), &board.lock().tally);
            std::thread::sleep(BEAT);
        }
    });
    let mut state = board.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let stuck = setting.pool.count() - state.free.len();
    if stuck > 0 {
        state.tally.failures.insert("not detached in time".to_owned(), stuck as u64);
    }
    state.tally
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// Attach it; due at that moment, if there is a rate.
    Attach(usize, Option<Instant>),
    /// End it. If it is in doubt whether it is attached at all, it need not be.
    End { environment: usize, doubtful: bool },
    /// See whether it was silent.
    Silence(usize),
    /// It rested, and may be attached again.
    Free(usize),
}

struct Board<'a> {
    plan: &'a Plan,
    setting: Setting<'a>,
    run: u32,
    started: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    free: VecDeque<usize>,
    due: BinaryHeap<Reverse<(Instant, Step)>>,
    /// Lives of each environment so far.
    lives: Vec<u32>,
    /// Environments that ended, to tell which vanish.
    ended: u64,
    arrivals: u64,
    busy: usize,
    /// No more attachments since then.
    closed: Option<Instant>,
    tally: Tally,
}

impl<'a> Board<'a> {
    fn new(plan: &'a Plan, setting: Setting<'a>) -> Self {
        let count = setting.pool.count();
        let state = State { free: (0..count).collect(), lives: vec![0; count], ..State::default() };
        Self {
            plan,
            setting,
            run: std::process::id(),
            started: Instant::now(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut client = Client::new(self.setting.api);
        while let Some(step) = self.next() {
            match step {
                Step::Attach(environment, due) => self.attach(&mut client, environment, due),
                Step::End { environment, doubtful } => {
                    if !doubtful && self.is_to_vanish() {
                        self.vanish(&mut client, environment);
                    } else {
                        self.detach(&mut client, environment, doubtful);
                    }
                }
                Step::Silence(environment) => self.silence(environment),
                Step::Free(environment) => self.lock().free.push_back(environment),
            }
            self.lock().busy -= 1;
            self.changed.notify_all();
        }
    }

    /// The next step, once it is time; `None` when the run is over.
    fn next(&self) -> Option<Step> {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let over = now >= self.started + self.plan.duration || (self.setting.stop)();
            if over && state.closed.is_none() {
                self.close(&mut state, now);
            }
            let step = state.take_due(now).or_else(|| {
                if state.closed.is_some() {
                    return None;
                }
                let due = self.plan.rate.map(|rate| self.arrival(rate, state.arrivals));
                if due.is_some_and(|due| due > now) {
                    return None;
                }
                let environment = state.free.pop_front()?;
                state.arrivals += 1;
                Some(Step::Attach(environment, due))
            });
            if let Some(step) = step {
                state.busy += 1;
                return Some(step);
            }
            if let Some(closed) = state.closed {
                let done = state.due.is_empty() && state.busy == 0;
                if done || now >= closed + CLOSING_LIMIT {
                    return None;
                }
            }
            let wake = state.due.peek().map_or(now + BEAT, |Reverse((due, _))| *due);
            let arrival = self.plan.rate.map_or(wake, |rate| self.arrival(rate, state.arrivals));
            // Not all that may happen is told: the end of the run is not.
            let mut wait = wake.saturating_duration_since(now).min(BEAT);
            if state.closed.is_none() && arrival > now {
                wait = wait.min(arrival - now);
            }
            let waited = self.changed.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// When the attachment of that number is due.
    fn arrival(&self, rate: Rate, number: u64) -> Instant {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53 in any run")]
        let after = number as f64 / rate.get();
        self.started + Duration::from_secs_f64(after)
    }

    /// No more attachments: whatever is attached is to end now.
    fn close(&self, state: &mut State, now: Instant) {
        state.closed = Some(now);
        state.tally.elapsed = now - self.started;
        if let Some(rate) = self.plan.rate {
            let end = now.min(self.started + self.plan.duration);
            while self.arrival(rate, state.arrivals + state.tally.behind) < end {
                state.tally.behind += 1;
            }
        }
        let due =
            std::mem::take(&mut state.due).into_iter().map(|Reverse((due, step))| match step {
                Step::End { .. } => Reverse((now, step)),
                _ => Reverse((due, step)),
            });
        state.due = due.collect();
    }

    /// Spreads those that vanish evenly among the others.
    fn is_to_vanish(&self) -> bool {
        let mut state = self.lock();
        let share = |ended: u64| {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53 in any run")]
            let all = ended as f64;
            (all * self.plan.vanish).floor()
        };
        let before = share(state.ended);
        state.ended += 1;
        share(state.ended) > before
    }

    fn attach(&self, client: &mut Client, environment: usize, due: Option<Instant>) {
        let begun = due.unwrap_or_else(Instant::now);
        let name = self.setting.pool.name(environment);
        if let Err(error) = client.attach(&self.plan.bridge, &name) {
            self.failed(begun, error.reason());
            let later = Instant::now() + PAUSE;
            // It may be attached all the same, now or since an earlier request.
            let doubtful = match &error {
                ApiError::Unreachable { .. } => false,
                ApiError::NoAnswer(_) => true,
                ApiError::Refused { code, .. } => {
                    code == "InvalidEnvironmentID.Duplicate" || code == "InvalidPort.InUse"
                }
            };
            let step = if doubtful {
                Step::End { environment, doubtful }
            } else {
                Step::Free(environment)
            };
            self.put(later, step);
            return;
        }
        let attached = Instant::now();
        let life = {
            let mut state = self.lock();
            state.tally.attach.record(attached - begun);
            state.lives[environment] += 1;
            state.lives[environment]
        };
        if let Some(at) = self.ask(environment, self.probe(environment, life, Question::Arp, 1)) {
            self.lock().tally.first_packet.record(at - attached);
            if let Some(question) = self.question()
                && let Some(at) = self.ask(environment, self.probe(environment, life, question, 2))
            {
                self.lock().tally.first_answer.record(at - attached);
            }
        }
        self.put(attached + self.plan.hold, Step::End { environment, doubtful: false });
    }

    fn question(&self) -> Option<Question> {
        self.plan.ask.map(|ask| match ask {
            Ask::Udp(server) => Question::Udp { server, from: FROM_PORT },
            Ask::Host(host) => Question::Echo { host },
        })
    }

    fn probe(&self, environment: usize, life: u32, question: Question, attempt: u32) -> Probe {
        let token = Token { run: self.run, environment: environment as u32, life, attempt };
        Probe { link: self.setting.pool.link(environment), question, token }
    }

    /// Sends a probe until it is answered, and tells when that was.
    fn ask(&self, environment: usize, probe: Probe) -> Option<Instant> {
        let begun = Instant::now();
        let deadline = begun + self.plan.patience;
        loop {
            if let Err(error) = self.setting.wire.send(environment, probe) {
                self.failed(begun, reason_of(&error));
                return None;
            }
            match self.setting.wire.hear(environment, (Instant::now() + AGAIN).min(deadline)) {
                Some(Heard::Answer(at)) => return Some(at),
                Some(Heard::Wrong(how)) => {
                    self.failed(begun, how.to_owned());
                    return None;
                }
                None if (self.setting.stop)() => return None,
                None if Instant::now() >= deadline => {
                    let what = match probe.question {
                        Question::Arp => "the gateway did not answer ARP",
                        Question::Udp { .. } | Question::Echo { .. } => "no answer to the probe",
                    };
                    self.failed(begun, what.to_owned());
                    return None;
                }
                None => {}
            }
        }
    }

    fn detach(&self, client: &mut Client, environment: usize, doubtful: bool) {
        let begun = Instant::now();
        match client.detach(&self.setting.pool.name(environment)) {
            Ok(()) => self.lock().tally.detach.record(begun.elapsed()),
            Err(ApiError::Refused { code, .. })
                if doubtful && code == "InvalidEnvironmentID.NotFound" => {}
            Err(error) => {
                self.failed(begun, error.reason());
                let again = match &error {
                    ApiError::Unreachable { .. } | ApiError::NoAnswer(_) => true,
                    ApiError::Refused { code, .. } => code == "IncorrectState",
                };
                let step = if again {
                    Step::End { environment, doubtful: true }
                } else {
                    Step::Free(environment)
                };
                self.put(Instant::now() + PAUSE, step);
                return;
            }
        }
        let life = self.lock().lives[environment];
        let question = self.question().unwrap_or(Question::Arp);
        let probe = self.probe(environment, life, question, 3);
        let detached = Instant::now();
        match self.setting.wire.send(environment, probe) {
            Ok(()) => self.put(detached + SILENCE, Step::Silence(environment)),
            Err(error) => {
                self.failed(begun, reason_of(&error));
                self.put(detached, Step::Free(environment));
            }
        }
    }

    fn silence(&self, environment: usize) {
        let now = Instant::now();
        match self.setting.wire.hear(environment, now) {
            None => self.lock().tally.silent += 1,
            Some(_) => self.failed(now, "answered after it was detached".to_owned()),
        }
        self.put(now, Step::Free(environment));
    }

    /// Deletes the link, waits until the gateway has noticed, and makes a new one.
    fn vanish(&self, client: &mut Client, environment: usize) {
        let begun = Instant::now();
        let Setting { pool, wire, .. } = self.setting;
        if let Err(error) = pool.delete(environment) {
            self.failed(begun, reason_of(&error));
            self.put(begun, Step::End { environment, doubtful: true });
            return;
        }
        let gone = Instant::now();
        let name = pool.name(environment);
        let mut noticed = false;
        while !noticed && gone.elapsed() < self.plan.patience {
            match client.environments() {
                Ok(listed) if !listed.contains_key(&name) => {
                    self.lock().tally.vanish.record(gone.elapsed());
                    noticed = true;
                }
                Ok(_) => std::thread::sleep(PAUSE / 20),
                Err(error) => {
                    self.failed(gone, error.reason());
                    std::thread::sleep(PAUSE);
                }
            }
        }
        if !noticed {
            self.failed(gone, "still listed after its interface vanished".to_owned());
        }
        let made = pool.make(&[environment]).and_then(|()| wire.learn(pool));
        if let Err(error) = made {
            // It is out of the pool, and counted among those that were not detached.
            self.failed(gone, reason_of(&error));
            return;
        }
        let step = if noticed {
            Step::Free(environment)
        } else {
            Step::End { environment, doubtful: true }
        };
        self.put(Instant::now(), step);
    }

    fn put(&self, due: Instant, step: Step) {
        let mut state = self.lock();
        let due = if state.closed.is_some() && matches!(step, Step::End { doubtful: false, .. }) {
            Instant::now()
        } else {
            due
        };
        state.due.push(Reverse((due, step)));
    }

    fn failed(&self, since: Instant, reason: String) {
        // Asked before the lock is taken: whoever answers may wait for something himself.
        let excused = (self.setting.excuse)(since, Instant::now());
        let mut state = self.lock();
        let tally = &mut state.tally;
        let failures = if excused { &mut tally.excused } else { &mut tally.failures };
        *failures.entry(reason).or_default() += 1;
    }
}

impl State {
    fn take_due(&mut self, now: Instant) -> Option<Step> {
        let Reverse((due, _)) = self.due.peek()?;
        if *due > now {
            return None;
        }
        self.due.pop().map(|Reverse((_, step))| step)
    }
}

fn reason_of(error: &Error) -> String {
    crate::explain(error)
}
