//! The flows that are logged, and what was told of each already.
//!
//! What the fast path has counted since is what the next record tells: so the records of a flow add
//! up to its counters, whatever ends when.

use std::sync::Arc;
use std::time::Duration;

use super::interfaces::{InterfaceNumber, Interfaces, Seen};
use super::queue::{Batch, Queue};
use super::record::{Action, Audience, LogStatus, Record, Traffic, told_flags};
use super::rejected::{Added, Rejected, Rejection};
use super::window::{Closing, Next, WallClock, Window};
use crate::engine::Passages;
use crate::fast_path::{Direction, FastPath, Usage};
use crate::flow::{Flow, FlowTable};
use crate::id::FlowId;
use crate::time::Time;
use crate::tuple::Tuple;
use crate::vpc::{AggregationInterval, EniIx, Snapshot, TrafficDirection};

/// Flows looked at in one call of [`Ledger::advance`], so that packets do not wait behind them.
const LOOKS: usize = 512;

/// Flow numbers gone through in one call, most of which may be of flows that are not logged.
const NUMBERS: u32 = 16_384;

/// Interfaces concluded in one call.
const INTERFACES: u32 = 2048;

/// How soon a look goes on that has to wait until records are taken.
const PAUSE: Duration = Duration::from_millis(10);

/// Why something is told of nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// Records that could not wait found no room among those on their way out.
    QueueFull,
    /// Rejected packets were of more flows than there is room for.
    RejectedFull,
}

impl Loss {
    /// Every reason, for listings.
    pub const ALL: [Self; 2] = [Self::QueueFull, Self::RejectedFull];

    /// The name metrics use.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::RejectedFull => "rejected_full",
        }
    }
}

/// What a ledger counts. All only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records made.
    pub records: u64,
    /// Records that were not, by reason; of rejected packets, packets.
    pub lost: [u64; Loss::ALL.len()],
}

/// See the module's own words.
#[derive(Debug)]
pub struct Ledger {
    clock: WallClock,
    interfaces: Interfaces,
    /// By flow number; empty if none is logged.
    flows: Vec<Option<LoggedFlow>>,
    logged: usize,
    /// Flow numbers stay below it.
    capacity: usize,
    /// By interval; `None` as long as nothing is logged.
    windows: Option<[Window; 2]>,
    /// By interval: of the window that is open, of the one that is being closed.
    rejected: [[Rejected; 2]; 2],
    queue: Queue,
    counters: Counters,
}

/// A flow that passes interfaces which are logged.
#[derive(Debug)]
struct LoggedFlow {
    since: Time,
    passages: Box<[LoggedPassage]>,
    environment: Option<Arc<str>>,
    /// By interval; `None` if no log of that interval wants the flow.
    told: [Option<Told>; 2],
}

/// A flow's first packet passes an interface that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LoggedPassage {
    interface: InterfaceNumber,
    direction: TrafficDirection,
    by_internet_gateway: bool,
    tuple: Tuple,
}

/// What records have told of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    /// By direction.
    packets: [u64; 2],
    /// By direction.
    bytes: [u64; 2],
    /// TCP flags that none has told of yet, by direction.
    flags: [u8; 2],
}

impl Told {
    fn of([there, back]: [Usage; 2]) -> Self {
        Self {
            packets: [there.packets, back.packets],
            bytes: [there.bytes, back.bytes],
            flags: [0; 2],
        }
    }
}

/// A flow that the ledger is told of.
pub(crate) struct Known<'a> {
    pub id: FlowId,
    pub passages: &'a Passages,
    /// The environment whose flow it is.
    pub environment: Option<&'a Arc<str>>,
}

impl Ledger {
    /// Without anything to log; for flows numbered below `capacity`.
    #[must_use]
    pub(crate) fn new(capacity: usize, seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, 19, 20, 21);
        let rejected = || [Rejected::new(&hasher), Rejected::new(&hasher)];
        Self {
            clock: WallClock::default(),
            interfaces: Interfaces::new(seed),
            flows: Vec::new(),
            logged: 0,
            capacity,
            windows: None,
            rejected: [rejected(), rejected()],
            queue: Queue::default(),
            counters: Counters::default(),
        }
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Flows that are logged.
    #[must_use]
    pub const fn flow_count(&self) -> usize {
        self.logged
    }

    /// Records that were not taken yet.
    #[must_use]
    pub const fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether anything is logged, or was and is not all told yet.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.windows.is_some() || !self.queue.is_empty()
    }

    /// Sets the time of day. Windows that are open keep their time to close.
    pub const fn set_wall_clock(&mut self, now: Time, since_1970: Duration) {
        self.clock = WallClock::showing(now, since_1970);
    }

    /// Takes a batch of records that is full, or has waited for more long enough.
    pub fn take(&mut self, now: Time) -> Option<Batch> {
        self.queue.ready_at().filter(|at| *at <= now)?;
        self.queue.take()
    }

    /// Takes a batch of records, whether it is full or not.
    pub fn take_any(&mut self) -> Option<Batch> {
        self.queue.take()
    }

    /// A new desired state is in force. Flows go by it once [`Self::follow`] has told of each.
    pub(crate) fn apply_snapshot(&mut self, now: Time, snapshot: &Arc<Snapshot>) {
        self.interfaces.apply(snapshot);
        if self.windows.is_none() && self.interfaces.are_logged() {
            let open = |interval| Window::open(interval, now, &self.clock);
            self.windows = Some(AggregationInterval::ALL.map(open));
        }
    }

    /// Forgets what is no longer logged, and nothing is left to tell of.
    pub(crate) fn tidy_up(&mut self) {
        if self.windows.is_none() {
            return;
        }
        self.interfaces.forget_gone();
        if self.interfaces.are_none() {
            self.flows = Vec::new();
            self.windows = None;
        }
    }

    /// A flow begins, or is taken over: then `counted` is what went through it before, by
    /// direction, which is not told of.
    pub(crate) fn begin(&mut self, now: Time, known: &Known<'_>, counted: [Usage; 2]) {
        if !self.interfaces.are_logged() {
            return;
        }
        let passages = self.logged_passages(known.passages);
        self.insert(now, known, passages, counted);
    }

    /// What went through the interfaces of a flow before this process is told of nowhere.
    pub(crate) fn skip(&mut self, passages: &Passages) {
        for passage in passages.iter() {
            if let Some(number) = self.interfaces.number(passage.eni) {
                self.interfaces.state(number).skipped = [true; 2];
            }
        }
    }

    /// A flow was looked at under a new snapshot and goes on, perhaps by other interfaces, or by
    /// some that are logged now.
    pub(crate) fn follow(
        &mut self,
        now: Time,
        known: &Known<'_>,
        flow: &Flow,
        fast_path: &mut dyn FastPath,
    ) {
        if self.windows.is_none() {
            return;
        }
        let passages = self.logged_passages(known.passages);
        let logged = self.flows.get(known.id.0 as usize).and_then(Option::as_ref);
        let (before, intervals): (&[_], _) = match logged {
            Some(logged) => (&logged.passages, logged.told.map(|told| told.is_some())),
            None => (&[], [false; 2]),
        };
        if before == passages.as_slice() && intervals == self.intervals(&passages) {
            return;
        }
        self.end(now, known.id, flow, fast_path);
        let counted = usage_of(flow, fast_path);
        self.insert(now, known, passages, counted);
    }

    /// TCP flags went through a flow.
    pub(crate) fn tcp_flags(&mut self, id: FlowId, direction: Direction, flags: u8) {
        let Some(Some(logged)) = self.flows.get_mut(id.0 as usize) else { return };
        for told in logged.told.iter_mut().flatten() {
            told.flags[direction as usize] |= told_flags(flags);
        }
    }

    /// A flow ends, and its entries are still there: tells what is left.
    pub(crate) fn end(&mut self, now: Time, id: FlowId, flow: &Flow, fast_path: &mut dyn FastPath) {
        let Some(logged) = self.flows.get_mut(id.0 as usize).and_then(Option::take) else {
            return;
        };
        self.logged -= 1;
        let counted = usage_of(flow, fast_path);
        for interval in AggregationInterval::ALL {
            if let Some(told) = &logged.told[interval as usize] {
                self.tell(now, (id, interval), flow, &logged, told, counted);
            }
        }
        for passage in &logged.passages {
            self.interfaces.let_go(passage.interface);
        }
    }

    /// A packet was rejected at an interface of the snapshot in force.
    pub(crate) fn reject(&mut self, now: Time, eni: EniIx, packet: &Rejection<'_>) {
        let Some(number) = self.interfaces.number(eni) else { return };
        for interval in AggregationInterval::ALL {
            if !self.interfaces.wants(number, interval, Action::Reject) {
                continue;
            }
            let at = interval as usize;
            match self.rejected[at][0].add(now, number, packet) {
                Added::First => self.interfaces.hold(number),
                Added::More => {}
                Added::NoRoom => {
                    self.counters.lost[Loss::RejectedFull as usize] += packet.packets;
                    self.interfaces.state(number).skipped[at] = true;
                }
            }
        }
    }

    /// Closes windows, a slice at a time. Returns when it wants to be called again at the latest;
    /// records are for others to take in time.
    pub(crate) fn advance(
        &mut self,
        now: Time,
        flows: &FlowTable,
        fast_path: &mut dyn FastPath,
    ) -> Option<Time> {
        let windows = self.windows.as_mut()?;
        for (window, rejected) in windows.iter_mut().zip(&mut self.rejected) {
            if window.begin_to_close(now, &self.clock) {
                rejected.swap(0, 1);
                self.interfaces.turn(window.interval);
            }
        }
        let closing = windows.iter().find_map(|it| Some((it.interval, it.closing?)));
        if let Some((interval, closing)) = closing {
            if self.queue.is_half_full() {
                return Some(now + PAUSE);
            }
            let next = self.close_slice(now, interval, &closing, flows, fast_path);
            if let Some(windows) = &mut self.windows {
                let closing = next.map(|next| Closing { next, ..closing });
                windows[interval as usize].closing = closing;
            }
            if next.is_none() {
                self.tidy_up();
            }
            return Some(now);
        }
        windows.iter().map(Window::closes).min()
    }

    /// Has both windows closed by the next calls of [`crate::engine::Engine::advance`], because the
    /// process is about to end.
    pub fn close_early(&mut self, now: Time) {
        for window in self.windows.iter_mut().flatten() {
            window.close_early(now);
        }
    }

    /// Whether a window is being closed, or has to be.
    pub(crate) fn is_closing(&self, now: Time) -> bool {
        self.windows.iter().flatten().any(|it| it.closing.is_some() || it.closes() <= now)
    }

    /// Whether the desired state in force logs anything.
    pub(crate) const fn logs_any(&self) -> bool {
        self.interfaces.are_logged()
    }

    /// Does some of what closing a window takes; what comes next, if that was not all.
    fn close_slice(
        &mut self,
        now: Time,
        interval: AggregationInterval,
        closing: &Closing,
        flows: &FlowTable,
        fast_path: &mut dyn FastPath,
    ) -> Option<Next> {
        match closing.next {
            Next::Flow(first) => {
                let end = first.saturating_add(NUMBERS).min(self.flows.len() as u32);
                let mut looks = 0;
                for id in first..end {
                    looks += usize::from(self.look_at(now, FlowId(id), interval, flows, fast_path));
                    if looks == LOOKS {
                        return Some(Next::Flow(id + 1));
                    }
                }
                let more = (end as usize) < self.flows.len();
                Some(if more { Next::Flow(end) } else { Next::Rejected })
            }
            Next::Rejected => {
                self.tell_rejected(now, interval);
                Some(Next::Interface(0))
            }
            Next::Interface(first) => {
                let end = first.saturating_add(INTERFACES).min(self.interfaces.end());
                for number in first..end {
                    self.conclude(now, InterfaceNumber(number), interval, closing);
                }
                (end < self.interfaces.end()).then_some(Next::Interface(end))
            }
        }
    }

    /// Tells what went through a flow since the last look; whether it had to be looked at.
    fn look_at(
        &mut self,
        now: Time,
        id: FlowId,
        interval: AggregationInterval,
        flows: &FlowTable,
        fast_path: &mut dyn FastPath,
    ) -> bool {
        let Some(logged) = self.flows[id.0 as usize].as_mut() else { return false };
        let Some(told) = logged.told[interval as usize] else { return false };
        let Some(flow) = flows.get(id) else { return false };
        let counted = usage_of(&flow, fast_path);
        let mut next = Told::of(counted);
        for (at, flags) in next.flags.iter_mut().enumerate() {
            // An event may come before its packet is counted.
            let is_told = next.packets[at] > told.packets[at];
            *flags = if is_told { 0 } else { told.flags[at] };
        }
        logged.told[interval as usize] = Some(next);
        let logged = self.flows[id.0 as usize].take();
        if let Some(logged) = &logged {
            self.tell(now, (id, interval), &flow, logged, &told, counted);
        }
        self.flows[id.0 as usize] = logged;
        true
    }

    /// Makes records of what a flow's counters say beyond what was told.
    fn tell(
        &mut self,
        now: Time,
        (id, interval): (FlowId, AggregationInterval),
        flow: &Flow,
        logged: &LoggedFlow,
        told: &Told,
        counted: [Usage; 2],
    ) {
        let at = interval as usize;
        let Some(windows) = &self.windows else { return };
        let (opened, is_closing) = windows[at].of_flow(id.0);
        let start = logged.since.max(opened);
        for direction in [Direction::Forward, Direction::Reverse] {
            let usage = counted[direction as usize];
            let packets = usage.packets.saturating_sub(told.packets[direction as usize]);
            if packets == 0 {
                continue;
            }
            let end = usage.last_seen.resolve(now).max(start);
            let received = flow.key(direction).tuple;
            let traffic = Traffic {
                action: Action::Accept,
                direction: TrafficDirection::Ingress,
                tuple: received,
                received,
                sent: Some(flow.key(direction.opposite()).tuple.reversed()),
                packets,
                bytes: usage.bytes.saturating_sub(told.bytes[direction as usize]),
                tcp_flags: told.flags[direction as usize],
                by_internet_gateway: false,
                environment: logged.environment.clone(),
            };
            for passage in &logged.passages {
                if !self.interfaces.wants(passage.interface, interval, Action::Accept) {
                    continue;
                }
                let state = self.interfaces.state(passage.interface);
                seen(state, at, is_closing).accepted = true;
                let (way, tuple) = passage.seen_by(direction);
                let by_internet_gateway = passage.by_internet_gateway;
                let traffic =
                    Traffic { direction: way, tuple, by_internet_gateway, ..traffic.clone() };
                self.push(now, passage.interface, interval, (start, end), traffic);
            }
        }
    }

    fn tell_rejected(&mut self, now: Time, interval: AggregationInterval) {
        let at = interval as usize;
        for (alike, sum) in self.rejected[at][1].take() {
            self.interfaces.state(alike.interface).seen_before[at].rejected = true;
            let traffic = Traffic {
                action: Action::Reject,
                direction: alike.direction,
                tuple: alike.tuple,
                received: sum.received,
                sent: None,
                packets: sum.packets,
                bytes: sum.bytes,
                tcp_flags: sum.tcp_flags,
                by_internet_gateway: false,
                environment: sum.environment,
            };
            self.push(now, alike.interface, interval, (sum.first, sum.last), traffic);
            self.interfaces.let_go(alike.interface);
        }
    }

    /// Tells of an interface without traffic, and of what was left out.
    fn conclude(
        &mut self,
        now: Time,
        interface: InterfaceNumber,
        interval: AggregationInterval,
        closing: &Closing,
    ) {
        let (without, skipped) = self.interfaces.conclude(interface, interval);
        for (status, audience) in [
            (LogStatus::NoData, without),
            (LogStatus::SkipData, if skipped { Audience::EVERYONE } else { Audience::default() }),
        ] {
            if audience == Audience::default() {
                continue;
            }
            let record = Record {
                interface,
                interval,
                audience,
                status,
                start: self.clock.seconds(closing.opened),
                end: self.clock.seconds(closing.closed),
                traffic: None,
            };
            self.enqueue(now, record);
        }
    }

    fn push(
        &mut self,
        now: Time,
        interface: InterfaceNumber,
        interval: AggregationInterval,
        (start, end): (Time, Time),
        traffic: Traffic,
    ) {
        let record = Record {
            interface,
            interval,
            audience: Audience::about(traffic.action),
            status: LogStatus::Ok,
            start: self.clock.seconds(start),
            end: self.clock.seconds(end),
            traffic: Some(traffic),
        };
        self.enqueue(now, record);
    }

    fn enqueue(&mut self, now: Time, record: Record) {
        let (interface, at) = (record.interface, record.interval as usize);
        if self.queue.push(now, self.interfaces.table(), record) {
            self.counters.records += 1;
        } else {
            self.counters.lost[Loss::QueueFull as usize] += 1;
            self.interfaces.state(interface).skipped[at] = true;
        }
    }

    /// Those passages whose interface is logged.
    fn logged_passages(&self, passages: &Passages) -> Vec<LoggedPassage> {
        let logged = passages.with_gateways().filter_map(|(passage, by_internet_gateway)| {
            let interface = self.interfaces.number(passage.eni)?;
            let wanted = AggregationInterval::ALL
                .iter()
                .any(|interval| self.interfaces.wants(interface, *interval, Action::Accept));
            wanted.then_some(LoggedPassage {
                interface,
                direction: passage.direction,
                by_internet_gateway,
                tuple: passage.tuple,
            })
        });
        logged.collect()
    }

    /// The intervals that some interface among these is logged with.
    fn intervals(&self, passages: &[LoggedPassage]) -> [bool; 2] {
        AggregationInterval::ALL.map(|interval| {
            passages.iter().any(|it| self.interfaces.wants(it.interface, interval, Action::Accept))
        })
    }

    fn insert(
        &mut self,
        now: Time,
        known: &Known<'_>,
        passages: Vec<LoggedPassage>,
        counted: [Usage; 2],
    ) {
        if passages.is_empty() {
            return;
        }
        for passage in &passages {
            self.interfaces.hold(passage.interface);
        }
        let told = self.intervals(&passages).map(|wanted| wanted.then(|| Told::of(counted)));
        let place = known.id.0 as usize;
        if place >= self.flows.len() {
            // At once, so that it never has to move: the memory is only taken as it is used.
            self.flows.reserve_exact(self.capacity.saturating_sub(self.flows.len()));
            self.flows.resize_with(place + 1, || None);
        }
        let environment = known.environment.cloned();
        let logged = LoggedFlow { since: now, passages: passages.into(), environment, told };
        self.flows[place] = Some(logged);
        self.logged += 1;
    }
}

/// What an interface has seen in the window that something belongs to.
fn seen(state: &mut super::interfaces::State, interval: usize, is_closing: bool) -> &mut Seen {
    if is_closing { &mut state.seen_before[interval] } else { &mut state.seen[interval] }
}

fn usage_of(flow: &Flow, fast_path: &mut dyn FastPath) -> [Usage; 2] {
    [&flow.forward, &flow.reverse].map(|key| fast_path.usage(key).unwrap_or_default())
}

impl LoggedPassage {
    /// Which way packets of a flow's direction pass the interface, and with which addresses.
    fn seen_by(&self, direction: Direction) -> (TrafficDirection, Tuple) {
        let tuple = self.tuple;
        match (direction, self.direction) {
            (Direction::Forward, way) => (way, tuple),
            (Direction::Reverse, TrafficDirection::Ingress) => {
                (TrafficDirection::Egress, tuple.reversed())
            }
            (Direction::Reverse, TrafficDirection::Egress) => {
                (TrafficDirection::Ingress, tuple.reversed())
            }
        }
    }
}
