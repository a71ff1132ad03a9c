//! The interfaces that are logged. Each has a number that stays the same from snapshot to snapshot,
//! as long as anything refers to it: flows outlive the snapshot that they began under.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::record::{Action, Audience};
use crate::vpc::id::EniId;
use crate::vpc::{AggregationInterval, Eni, EniIx, FlowLog, Instance, Snapshot, Subnet, Vpc};

/// An interface that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceNumber(pub(super) u32);

impl InterfaceNumber {
    const fn place(self) -> usize {
        self.0 as usize
    }
}

/// What a snapshot says of an interface that is, or was, logged.
#[derive(Clone, Debug)]
pub struct LoggedInterface {
    snapshot: Arc<Snapshot>,
    eni: EniIx,
}

impl LoggedInterface {
    /// The interface.
    #[must_use]
    pub fn eni(&self) -> &Eni {
        self.snapshot.eni(self.eni)
    }

    /// Its subnet.
    #[must_use]
    pub fn subnet(&self) -> &Subnet {
        self.snapshot.subnet(self.eni().subnet)
    }

    /// Its VPC.
    #[must_use]
    pub fn vpc(&self) -> &Vpc {
        self.snapshot.vpc(self.eni().vpc)
    }

    /// The instance that it is attached to.
    #[must_use]
    pub fn instance(&self) -> Option<&Instance> {
        self.eni().attachment.as_ref().map(|it| self.snapshot.instance(it.instance))
    }

    /// The region of its zone.
    #[must_use]
    pub fn region(&self) -> &str {
        region_of(&self.subnet().availability_zone)
    }

    /// The flow logs that record its traffic.
    pub fn flow_logs(&self) -> impl Iterator<Item = &FlowLog> {
        let logs = self.snapshot.flow_logs_of(self.eni).iter();
        logs.map(|ix| self.snapshot.flow_log(*ix))
    }

    /// The address that the interface is told to have in packets with `packet` on its side. Of IPv4
    /// it is the primary one. Of IPv6 it is the packet's, if that is its own, else the first; EC2
    /// only says what it does with IPv4.
    #[must_use]
    pub(super) fn address_for(&self, packet: IpAddr) -> IpAddr {
        let eni = self.eni();
        match packet {
            IpAddr::V4(_) => eni.private_ips.first().map_or(packet, |ip| (*ip).into()),
            IpAddr::V6(_) => eni.address_towards(packet).unwrap_or(packet),
        }
    }
}

/// The region of a zone, by the way EC2 names zones: `eu-west-1a` is in `eu-west-1`.
pub(crate) fn region_of(zone: &str) -> &str {
    match zone.as_bytes() {
        [.., digit, letter] if digit.is_ascii_digit() && letter.is_ascii_alphabetic() => {
            &zone[..zone.len() - 1]
        }
        _ => zone,
    }
}

/// The interfaces that records of a batch name by their numbers.
#[derive(Debug, Default)]
pub struct LoggedInterfaces(Vec<Option<LoggedInterface>>);

impl LoggedInterfaces {
    /// The interface of a number.
    #[must_use]
    pub fn get(&self, number: InterfaceNumber) -> Option<&LoggedInterface> {
        self.0.get(number.place())?.as_ref()
    }
}

/// What an interface has seen in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub accepted: bool,
    pub rejected: bool,
}

/// What the ledger keeps of an interface.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// Whether the snapshot in force logs it.
    in_force: bool,
    /// Passages of flows and rejected packets that refer to it.
    held: u32,
    /// Its logs, by interval.
    audiences: [Audience; 2],
    /// What it has seen in the window that is open, by interval.
    pub seen: [Seen; 2],
    /// The same of the window that is being closed.
    pub seen_before: [Seen; 2],
    /// Whether records of it were lost since the last that says so, by interval.
    pub skipped: [bool; 2],
}

/// All of them.
#[derive(Debug)]
pub(super) struct Interfaces {
    table: Arc<LoggedInterfaces>,
    states: Vec<State>,
    by_id: HashMap<EniId, InterfaceNumber, ahash::RandomState>,
    /// By the snapshot's index; empty if it logs none.
    by_eni: Vec<Option<InterfaceNumber>>,
    free: Vec<InterfaceNumber>,
}

impl Interfaces {
    pub fn new(seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, 16, 17, 18);
        Self {
            table: Arc::default(),
            states: Vec::new(),
            by_id: HashMap::with_hasher(hasher),
            by_eni: Vec::new(),
            free: Vec::new(),
        }
    }

    /// What records are to name their interfaces by.
    pub const fn table(&self) -> &Arc<LoggedInterfaces> {
        &self.table
    }

    /// Whether none is logged, nor was any that something still refers to.
    pub fn are_none(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Whether the snapshot in force logs any.
    pub const fn are_logged(&self) -> bool {
        !self.by_eni.is_empty()
    }

    /// The number of an interface of the snapshot in force, if it is logged.
    pub fn number(&self, eni: EniIx) -> Option<InterfaceNumber> {
        self.by_eni.get(eni.0 as usize).copied().flatten()
    }

    pub fn state(&mut self, number: InterfaceNumber) -> &mut State {
        &mut self.states[number.place()]
    }

    /// Numbers are below it.
    pub fn end(&self) -> u32 {
        self.states.len() as u32
    }

    /// Whether a log of this interval wants packets of this fate.
    pub fn wants(
        &self,
        number: InterfaceNumber,
        interval: AggregationInterval,
        action: Action,
    ) -> bool {
        let state = &self.states[number.place()];
        // Of one that the snapshot no longer logs, what is left over is told of.
        state.audiences[interval as usize].meets(Audience::about(action))
    }

    pub fn hold(&mut self, number: InterfaceNumber) {
        self.states[number.place()].held += 1;
    }

    pub fn let_go(&mut self, number: InterfaceNumber) {
        self.states[number.place()].held -= 1;
    }

    /// Takes over a new snapshot.
    pub fn apply(&mut self, snapshot: &Arc<Snapshot>) {
        if snapshot.flow_logs().next().is_none() && self.by_id.is_empty() {
            return;
        }
        let mut table = self.table.0.clone();
        for state in &mut self.states {
            state.in_force = false;
        }
        self.by_eni.clear();
        for (ix, eni) in snapshot.enis() {
            let logs = snapshot.flow_logs_of(ix);
            if logs.is_empty() {
                continue;
            }
            let number = self.number_for(&eni.id);
            let interface = LoggedInterface { snapshot: snapshot.clone(), eni: ix };
            let state = &mut self.states[number.place()];
            state.in_force = true;
            state.audiences = audiences(&interface);
            table.resize(self.states.len(), None);
            table[number.place()] = Some(interface);
            self.by_eni.resize(ix.0 as usize, None);
            self.by_eni.push(Some(number));
        }
        self.table = Arc::new(LoggedInterfaces(table));
    }

    /// Forgets those that are no longer logged and that nothing refers to.
    pub fn forget_gone(&mut self) {
        let is_gone = |state: &State| !state.in_force && state.held == 0;
        let gone = self.by_id.iter().filter(|(_, n)| is_gone(&self.states[n.place()]));
        let gone: Vec<_> = gone.map(|(id, number)| (id.clone(), *number)).collect();
        if gone.is_empty() {
            return;
        }
        let mut table = self.table.0.clone();
        for (id, number) in gone {
            self.by_id.remove(&id);
            self.states[number.place()] = State::default();
            table[number.place()] = None;
            self.free.push(number);
        }
        if self.by_id.is_empty() {
            (self.states, self.free, table) = Default::default();
        }
        self.table = Arc::new(LoggedInterfaces(table));
    }

    /// Moves on to the next window of an interval.
    pub fn turn(&mut self, interval: AggregationInterval) {
        let at = interval as usize;
        for state in &mut self.states {
            state.seen_before[at] = std::mem::take(&mut state.seen[at]);
        }
    }

    /// What is to be told at a window's end about one interface beside its traffic: for whom there
    /// was none, and whether something was left out.
    pub fn conclude(
        &mut self,
        number: InterfaceNumber,
        interval: AggregationInterval,
    ) -> (Audience, bool) {
        let at = interval as usize;
        let state = &mut self.states[number.place()];
        let logs = state.audiences[at];
        if !state.in_force || logs == Audience::default() {
            return (Audience::default(), false);
        }
        let Seen { accepted, rejected } = state.seen_before[at];
        let skipped = std::mem::take(&mut state.skipped[at]);
        let without =
            if skipped { Audience::default() } else { Audience::without(accepted, rejected) };
        (without.only(logs), skipped)
    }

    fn number_for(&mut self, id: &EniId) -> InterfaceNumber {
        if let Some(known) = self.by_id.get(id) {
            return *known;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.states.push(State::default());
            InterfaceNumber(self.states.len() as u32 - 1)
        });
        self.by_id.insert(id.clone(), number);
        number
    }
}

/// The traffic types of an interface's logs, by interval.
fn audiences(interface: &LoggedInterface) -> [Audience; 2] {
    let mut audiences = [Audience::default(); 2];
    for log in interface.flow_logs() {
        let audience = &mut audiences[log.interval as usize];
        *audience = audience.and(Audience::of(log.traffic_type));
    }
    audiences
}
