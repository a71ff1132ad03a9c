//! The kernel's tables as the engine's [`FastPath`].
//!
//! Entries are installed and removed in batches: one system call for many is what lets user space
//! set up several hundred thousand flows a second. Removals that wait come before installations
//! that do. Everything else takes effect at once, behind what waits and matters to it.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use nf_core::adjacency::Adjacency;
use nf_core::fast_path::{
    Class, Entry, FastPath, Lot, MeterId, Metered, PortPolicy, StockId, Template, Transmit, Usage,
};
use nf_core::id::{AdjacencyId, Generation, PortId};
use nf_core::tuple::FlowKey;

use super::maps::Maps;
use super::sys::{self, RunInput};
use crate::inject::Injector;
use crate::layout::template::{TemplateKey, TemplateValue};
use crate::layout::{
    AdjacencySlot, Control, DecodeKey, DecodeValue, FlowKey4, FlowKey6, FlowValue4, FlowValue6,
    Item, Key, LAYOUT_VERSION, MeterValue, PORT_SHARED, PortSettings, RESTAMPS_AT_ONCE, RestampKey,
    RestampOrder, bytes_of, encode, encode_key,
};
use crate::{Change, Failure};

/// Entries that wait before they are installed without being asked to.
const INSTALLS_AT_ONCE: usize = 1024;
/// Entries that wait before they are removed without being asked to. Whoever reads one looks for it
/// among these first.
const REMOVALS_AT_ONCE: usize = 128;
/// Frames that wait before they are sent without being asked to.
const TRANSMITS_AT_ONCE: usize = 256;
/// Failures that are kept to be told.
const FAILURES_KEPT: usize = 256;

/// The kernel's maps, and the way out for frames of user space's own.
#[derive(Debug)]
pub(super) struct Tables {
    maps: Maps,
    restamp_program: OwnedFd,
    injector: Injector,
    waiting4: Waiting<FlowKey4, FlowValue4>,
    waiting6: Waiting<FlowKey6, FlowValue6>,
    leaving4: Vec<FlowKey4>,
    leaving6: Vec<FlowKey6>,
    waiting_transmits: usize,
    /// Ports that take frames that XDP redirects.
    xdp_ports: HashSet<PortId>,
    /// What this process has said is there, against what an earlier one left.
    claimed_ports: HashSet<PortId>,
    claimed_addresses: HashSet<IpAddr>,
    failures: VecDeque<Failure>,
    failure_count: u64,
    /// That per-CPU maps have values for.
    cpus: usize,
}

/// Entries of one family that wait to be installed.
#[derive(Debug)]
struct Waiting<K, V> {
    keys: Vec<K>,
    values: Vec<V>,
}

impl<K, V> Default for Waiting<K, V> {
    fn default() -> Self {
        Self { keys: Vec::new(), values: Vec::new() }
    }
}

impl<K, V> Waiting<K, V> {
    fn push(&mut self, key: K, value: V) {
        self.keys.push(key);
        self.values.push(value);
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
    }
}

impl Tables {
    pub(super) fn new(
        maps: Maps,
        restamp_program: OwnedFd,
        injector: Injector,
        cpus: usize,
    ) -> Self {
        Self {
            maps,
            restamp_program,
            injector,
            waiting4: Waiting::default(),
            waiting6: Waiting::default(),
            leaving4: Vec::new(),
            leaving6: Vec::new(),
            waiting_transmits: 0,
            xdp_ports: HashSet::new(),
            claimed_ports: HashSet::new(),
            claimed_addresses: HashSet::new(),
            failures: VecDeque::new(),
            failure_count: 0,
            cpus,
        }
    }

    pub(super) fn maps(&self) -> &Maps {
        &self.maps
    }

    pub(super) fn injector(&self) -> &Injector {
        &self.injector
    }

    pub(super) fn failure_count(&self) -> u64 {
        self.failure_count
    }

    pub(super) fn take_failures(&mut self) -> Vec<Failure> {
        self.failures.drain(..).collect()
    }

    fn fail(&mut self, change: Change, error: io::Error) {
        self.failure_count += 1;
        if self.failures.len() == FAILURES_KEPT {
            self.failures.pop_front();
        }
        self.failures.push_back(Failure { change, error });
    }

    fn note(&mut self, change: Change, result: io::Result<()>) {
        if let Err(error) = result {
            self.fail(change, error);
        }
    }

    /// Says whether a port takes frames that XDP redirects; its adjacencies follow.
    pub(super) fn set_takes_xdp(&mut self, port: PortId, takes: bool) -> io::Result<()> {
        let changed =
            if takes { self.xdp_ports.insert(port) } else { self.xdp_ports.remove(&port) };
        if !changed {
            return Ok(());
        }
        let mut of_port = Vec::new();
        self.maps.adjacencies.for_each(&mut |&slot, adjacency| {
            if adjacency.ifindex == port.get() {
                of_port.push((slot, AdjacencySlot { xdp: takes.into(), ..*adjacency }));
            }
        })?;
        of_port.iter().try_for_each(|(slot, value)| self.maps.adjacencies.set(slot, value))
    }

    /// Takes back every template and empties every stock: they were an earlier process's.
    pub(super) fn forget_templates(&mut self) -> io::Result<()> {
        let mut classes = Vec::new();
        self.maps.templates.for_each(&mut |class, _| classes.push(*class))?;
        let mut result = Ok(());
        self.maps.templates.remove_all(&classes, &mut |_, why| {
            if let Some(error) = why {
                result = Err(error);
            }
        });
        self.maps.stocks.clear();
        result
    }

    /// The filled adjacency slots.
    pub(super) fn adjacencies(&self) -> io::Result<Vec<(AdjacencyId, Adjacency)>> {
        let mut filled = Vec::new();
        self.maps.adjacencies.for_each(&mut |&slot, adjacency| {
            if let Some(adjacency) = adjacency.decode() {
                filled.push((AdjacencyId(slot), adjacency));
            }
        })?;
        Ok(filled)
    }

    /// Visits every entry. Those with keys that no gateway makes are left alone: no packet finds
    /// them.
    pub(super) fn entries(&mut self, visit: &mut dyn FnMut(FlowKey, Entry)) -> io::Result<()> {
        self.settle();
        self.maps.flows4.for_each(&mut |key, value| decode_entry(key, value, visit))?;
        self.maps.flows6.for_each(&mut |key, value| decode_entry(key, value, visit))
    }

    /// Removes ports and own addresses that an earlier process left and this one has not claimed.
    pub(super) fn remove_unclaimed(&mut self) -> io::Result<()> {
        let mut ports = Vec::new();
        self.maps.ports.for_each(&mut |&port, _| ports.push(port))?;
        ports.retain(|&port| PortId::new(port).is_none_or(|p| !self.claimed_ports.contains(&p)));
        for port in ports {
            self.maps.ports.remove(&port)?;
        }
        let (mut own4, mut own6) = (Vec::new(), Vec::new());
        self.maps.own4.for_each(&mut |&address, _| own4.push(address))?;
        self.maps.own6.for_each(&mut |&address, _| own6.push(address))?;
        own4.retain(|&address| !self.claimed_addresses.contains(&address.into()));
        own6.retain(|&address| !self.claimed_addresses.contains(&address.into()));
        for address in own4 {
            self.maps.own4.remove(&address)?;
        }
        for address in own6 {
            self.maps.own6.remove(&address)?;
        }
        Ok(())
    }

    fn remove_leaving(&mut self) {
        let mut failed = Vec::new();
        if !self.leaving4.is_empty() {
            let (keys, wide) = (&self.leaving4, &mut self.leaving6);
            self.maps.flows4.remove_all(keys, &mut |index, why| match why {
                Some(error) => failed.push((keys[index].decode(), error)),
                // Its packets leave as IPv6, or it never was in.
                None => wide.push(FlowKey6::from(&keys[index])),
            });
            self.leaving4.clear();
        }
        if !self.leaving6.is_empty() {
            let keys = &self.leaving6;
            self.maps.flows6.remove_all(keys, &mut |index, why| {
                failed.extend(why.map(|error| (keys[index].decode(), error)));
            });
            self.leaving6.clear();
        }
        for (key, error) in failed {
            // The key was encoded from one, so it decodes to one.
            if let Some(key) = key {
                self.fail(Change::Remove(key), error);
            }
        }
    }

    /// Carries out the installations that wait, if there are any, and before them the removals.
    fn install_waiting(&mut self) {
        if !(self.waiting4.keys.is_empty() && self.waiting6.keys.is_empty()) {
            self.settle();
        }
    }

    /// Carries out the removals that wait, and then the installations.
    fn settle(&mut self) {
        self.remove_leaving();
        let mut failed = Vec::new();
        if !self.waiting4.keys.is_empty() {
            let Waiting { keys, values } = &self.waiting4;
            self.maps.flows4.set_all(keys, values, &mut |index, error| {
                failed.push((keys[index].decode(), error));
            });
            self.waiting4.clear();
        }
        if !self.waiting6.keys.is_empty() {
            let Waiting { keys, values } = &self.waiting6;
            self.maps.flows6.set_all(keys, values, &mut |index, error| {
                failed.push((keys[index].decode(), error));
            });
            self.waiting6.clear();
        }
        for (key, error) in failed {
            // The key was encoded from one, so it decodes to one.
            if let Some(key) = key {
                self.fail(Change::Install(key), error);
            }
        }
    }

    /// What `flows6` has by a key.
    fn wide(&self, key: &FlowKey6) -> Option<FlowValue6> {
        self.maps.flows6.get(key).ok()?
    }

    fn send_waiting(&mut self) {
        if self.waiting_transmits > 0 {
            self.injector.flush();
            self.waiting_transmits = 0;
        }
    }

    fn restamp_some(&self, keys: &[FlowKey], generation: Generation) -> io::Result<()> {
        let values: Vec<_> = keys.iter().filter_map(RestampKey::of).collect();
        let count = u32::try_from(values.len()).map_err(io::Error::other)?;
        let indices: Vec<u32> = (0..count).collect();
        let mut result = Ok(());
        self.maps.restamps.set_all(&indices, &values, &mut |_, error| result = Err(error));
        result?;
        let order = RestampOrder { ethernet: [0; 16], generation: generation.0, count };
        let input = RunInput { data: bytes_of(&order), ..RunInput::default() };
        sys::run(self.restamp_program.as_fd(), &input, &mut []).map(drop)
    }
}

fn decode_entry<K: DecodeKey>(key: &K, value: &K::Value, visit: &mut dyn FnMut(FlowKey, Entry)) {
    if let Some(key) = key.decode() {
        visit(key, value.decode(&key));
    }
}

fn mixed_families() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "its addresses are of both families")
}

impl FastPath for Tables {
    fn add_port(&mut self, port: PortId, policy: PortPolicy) {
        let settings = PortSettings { flags: if policy.share_with_host { PORT_SHARED } else { 0 } };
        self.claimed_ports.insert(port);
        let result = self.maps.ports.set(&port.get(), &settings);
        self.note(Change::Port(port), result);
    }

    fn remove_port(&mut self, port: PortId) {
        self.claimed_ports.remove(&port);
        let result = self.maps.ports.remove(&port.get()).map(drop);
        self.note(Change::Port(port), result);
    }

    fn set_own_address(&mut self, address: IpAddr, own: bool) {
        let result = match (address, own) {
            (IpAddr::V4(ip), true) => self.maps.own4.set(&ip.octets(), &1),
            (IpAddr::V6(ip), true) => self.maps.own6.set(&ip.octets(), &1),
            (IpAddr::V4(ip), false) => self.maps.own4.remove(&ip.octets()).map(drop),
            (IpAddr::V6(ip), false) => self.maps.own6.remove(&ip.octets()).map(drop),
        };
        if own {
            self.claimed_addresses.insert(address);
        } else {
            self.claimed_addresses.remove(&address);
        }
        self.note(Change::OwnAddress(address), result);
    }

    fn install(&mut self, key: &FlowKey, entry: &Entry) {
        match encode(key, entry) {
            Some(Item::V4(key, value)) => self.waiting4.push(key, value),
            Some(Item::V6(key, value)) => self.waiting6.push(key, value),
            None => self.fail(Change::Install(*key), mixed_families()),
        }
        if self.waiting4.keys.len() + self.waiting6.keys.len() >= INSTALLS_AT_ONCE {
            self.settle();
        }
    }

    fn remove(&mut self, key: &FlowKey) {
        // It may be among those that wait.
        self.install_waiting();
        match encode_key(key) {
            Some(Key::V4(key)) => self.leaving4.push(key),
            Some(Key::V6(key)) => self.leaving6.push(key),
            // Nor was it ever installed.
            None => {}
        }
        if self.leaving4.len() + self.leaving6.len() >= REMOVALS_AT_ONCE {
            self.remove_leaving();
        }
    }

    fn usage(&mut self, key: &FlowKey) -> Option<Usage> {
        self.install_waiting();
        match encode_key(key)? {
            Key::V4(key) if self.leaving4.contains(&key) => None,
            Key::V6(key) if self.leaving6.contains(&key) => None,
            Key::V4(key) => match self.maps.flows4.get(&key).ok()? {
                Some(value) => Some(value.state().usage()),
                None => self.wide(&FlowKey6::from(&key)).map(|value| value.state().usage()),
            },
            Key::V6(key) => self.wide(&key).map(|value| value.state().usage()),
        }
    }

    fn entry(&mut self, key: &FlowKey) -> Option<Entry> {
        self.install_waiting();
        match encode_key(key)? {
            Key::V4(key) if self.leaving4.contains(&key) => None,
            Key::V6(key) if self.leaving6.contains(&key) => None,
            Key::V4(narrow) => match self.maps.flows4.get(&narrow).ok()? {
                Some(value) => Some(value.decode(key)),
                None => self.wide(&FlowKey6::from(&narrow)).map(|value| value.decode(key)),
            },
            Key::V6(wide) => self.wide(&wide).map(|value| value.decode(key)),
        }
    }

    fn set_template(&mut self, class: &Class, template: Option<&Template>) {
        let key = TemplateKey::of(class);
        let result = match template {
            Some(template) => {
                self.install_waiting();
                self.maps.templates.set(&key, &TemplateValue::of(class, template))
            }
            None => self.maps.templates.remove(&key).map(drop),
        };
        self.note(Change::Template(*class), result);
    }

    fn supply(&mut self, stock: StockId, lots: &[Lot]) -> usize {
        self.maps.stocks.supply(stock, lots)
    }

    fn in_stock(&mut self, stock: StockId) -> usize {
        self.maps.stocks.len(stock)
    }

    fn take_back(&mut self, stock: StockId) -> Vec<Lot> {
        self.maps.stocks.take_back(stock)
    }

    fn set_adjacency(&mut self, slot: AdjacencyId, adjacency: Option<Adjacency>) {
        self.remove_leaving();
        let value = adjacency.map_or_else(AdjacencySlot::default, |adjacency| {
            AdjacencySlot::of(&adjacency, self.xdp_ports.contains(&adjacency.port))
        });
        let result = self.maps.adjacencies.set(&slot.0, &value);
        self.note(Change::Adjacency(slot), result);
    }

    fn restamp(&mut self, keys: &[FlowKey], generation: Generation) {
        self.settle();
        for some in keys.chunks(RESTAMPS_AT_ONCE) {
            if let Err(error) = self.restamp_some(some, generation) {
                self.fail(Change::Restamp(some[0]), error);
            }
        }
    }

    fn set_fence(&mut self, generation: Generation) {
        // Entries of the new generation must be there before those of the old stop.
        self.settle();
        let control = Control { layout_version: LAYOUT_VERSION, fence: generation.0 };
        let result = self.maps.control.set(&0, &control);
        self.note(Change::Fence, result);
    }

    fn metered(&mut self, meter: MeterId) -> Metered {
        let by_cpu = sys::per_cpu::<MeterValue>(self.maps.meters.as_fd(), meter.0, self.cpus);
        let mut metered = Metered::default();
        // There is a value for every number that there is.
        for value in by_cpu.unwrap_or_default() {
            metered += value.into();
        }
        metered
    }

    fn transmit(&mut self, frame: Transmit) {
        self.injector.queue(frame.port, frame.frame);
        self.waiting_transmits += 1;
        if self.waiting_transmits >= TRANSMITS_AT_ONCE {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.settle();
        self.send_waiting();
    }
}
