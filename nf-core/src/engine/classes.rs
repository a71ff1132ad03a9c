//! Classes of flows that the fast path sets up itself, so that the second and every later flow
//! from one address to another costs the worker a note instead of a packet.
//!
//! A class gets a template when its second flow comes while the first is remembered. Its ports are
//! set aside by the last function on the way, flow numbers by the flow table; together they go into
//! a stock, as many as were used up lately. The fast path tells of each flow it has made, and the
//! engine takes it over as it does what an earlier process has left, with the outcome as the prior.
//!
//! A template holds for one snapshot: with the next, and when a port of it goes, it is taken back.
//! So is one that made no flow for a while.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use super::Engine;
use super::resume::Standing;
use crate::fast_path::{
    Class, Direction, Entry, FastPath, Lot, MOST_TEMPLATES, Made, StockId, Template, Usage,
};
use crate::flow::{Claims, Flow};
use crate::id::{FlowId, PortId};
use crate::packet::{MacAddr, TcpFlags};
use crate::pipeline::{FlowEnd, FunctionIx, PortPool};
use crate::time::Time;
use crate::tuple::{FlowKey, Protocol};

/// How often classes are looked at, to close those that made no flow in between.
const LOOK: Duration = Duration::from_secs(5);

/// How long the number of a closed stock is not given to another pool: a flow that was being made
/// when it was closed is told of under it.
const REST: Duration = Duration::from_secs(10);

/// Lots that a stock is filled up to at first; twice as many each time it runs low, up to
/// [`StockId::ROOM`].
const FIRST_LEVEL: usize = 32;

/// Places for classes of which one flow was seen.
const SEEN: usize = 1 << 13;

/// Every class with a template, and their stocks.
#[derive(Debug)]
pub(super) struct Classes {
    open: HashMap<Class, Open, ahash::RandomState>,
    stocks: Vec<Option<Stock>>,
    by_pool: HashMap<(FunctionIx, PortPool), StockId, ahash::RandomState>,
    /// Parts of the hashes of classes of which one flow was seen, each in the place that another
    /// part of it says. Two classes may take each other's places, or one stand for another: then a
    /// template comes later, or sooner.
    seen: Box<[u32]>,
    hasher: ahash::RandomState,
    /// Flows whose packet came up before they were told of.
    early: HashSet<FlowId, ahash::RandomState>,
    /// What the numbers of this process's stocks carry: an earlier one's flows may be told of.
    epoch: u32,
    next_look: Option<Time>,
}

/// A class with a template.
#[derive(Debug)]
struct Open {
    template: Template,
    /// Whether it has made a flow since it was last looked at.
    used: bool,
}

#[derive(Debug)]
struct Stock {
    function: FunctionIx,
    pool: PortPool,
    /// What the flows that it is for have in common.
    toward: (Protocol, SocketAddrV4),
    /// Templates that lead to it.
    classes: u32,
    /// Lots that were put in and neither told of nor taken back yet.
    out: usize,
    level: usize,
    /// Since when no template leads to it.
    closed: Option<Time>,
}

impl Classes {
    pub(super) fn new(seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, 13, 14, 15);
        Self {
            open: HashMap::with_hasher(hasher.clone()),
            stocks: Vec::new(),
            by_pool: HashMap::with_hasher(hasher.clone()),
            seen: vec![0; SEEN].into(),
            early: HashSet::with_hasher(hasher.clone()),
            epoch: hasher.hash_one(seed) as u32,
            hasher,
            next_look: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.next_look
    }

    /// Whether a flow of this class was seen lately; if not, it is now.
    fn was_seen(&mut self, class: &Class) -> bool {
        let hash = self.hasher.hash_one(class);
        // Not zero, which no class has left.
        let (place, mark) = (hash as usize % SEEN, (hash >> 32) as u32 | 1);
        std::mem::replace(&mut self.seen[place], mark) == mark
    }

    /// A stock by its number, unless that is an earlier process's.
    fn stock(&mut self, id: StockId) -> Option<&mut Stock> {
        let is_ours = id == StockId::new(id.place(), self.epoch);
        self.stocks.get_mut(id.place()).filter(|_| is_ours)?.as_mut()
    }

    /// The stock of a pool, or one that it can have from now on.
    fn stock_of(
        &mut self,
        now: Time,
        function: FunctionIx,
        pool: PortPool,
        toward: (Protocol, SocketAddrV4),
    ) -> Option<StockId> {
        if let Some(&id) = self.by_pool.get(&(function, pool)) {
            // A pool that was empty may be another destination's by now.
            if let Some(stock) = self.stock(id) {
                stock.toward = toward;
            }
            return Some(id);
        }
        let rested = |stock: &Option<Stock>| match stock {
            None => true,
            Some(stock) => stock.closed.is_some_and(|since| since + REST <= now),
        };
        let place = match self.stocks.iter().position(rested) {
            Some(place) => place,
            None if self.stocks.len() < StockId::COUNT => {
                self.stocks.push(None);
                self.stocks.len() - 1
            }
            None => return None,
        };
        if let Some(old) = &self.stocks[place] {
            self.by_pool.remove(&(old.function, old.pool));
        }
        let stock =
            Stock { function, pool, toward, classes: 0, out: 0, level: FIRST_LEVEL, closed: None };
        self.stocks[place] = Some(stock);
        let id = StockId::new(place, self.epoch);
        self.by_pool.insert((function, pool), id);
        Some(id)
    }
}

impl Engine {
    /// Templates in force.
    #[must_use]
    pub fn template_count(&self) -> usize {
        self.classes.len()
    }

    /// Flow numbers that are in stock, or given to flows that are not told of yet.
    #[must_use]
    pub fn reserved_count(&self) -> usize {
        self.flows.reserved()
    }

    /// A flow was set up by the engine: leaves a template for its class, if there will be more.
    pub(super) fn consider_class(
        &mut self,
        now: Time,
        flow: &Flow,
        src_mac: MacAddr,
        fast_path: &mut dyn FastPath,
    ) {
        let Some(class) = Class::of(&flow.forward) else { return };
        if let Some(open) = self.classes.open.get_mut(&class) {
            // Its stock was empty, or this packet came before there was one.
            open.used = true;
            let stock = open.template.stock;
            self.fill(now, stock, fast_path);
            return;
        }
        let outcome = flow.reverse.tuple.reversed();
        let IpAddr::V4(external_ip) = outcome.src.ip() else { return };
        let is_alike = outcome.dst == flow.forward.tuple.dst;
        if !is_alike || !self.classes.was_seen(&class) || self.classes.len() == MOST_TEMPLATES {
            return;
        }
        let Some((function, pool)) = self.pool_of(flow.claims) else { return };
        let toward = (class.protocol, class.dst);
        let Some(stock) = self.classes.stock_of(now, function, pool, toward) else { return };
        let template = Template {
            src_mac,
            holds_src_mac: self.held_mac(flow.forward.port).is_some(),
            back_mac: self.held_mac(flow.reverse.port),
            tracking: flow.tracking,
            meters: [Direction::Forward, Direction::Reverse].map(|way| self.meter_of(flow, way)),
            external_ip,
            reverse_port: flow.reverse.port,
            forward_out: flow.forward_out,
            reverse_out: flow.reverse_out,
            generation: flow.generation,
            stock,
        };
        self.neighbours.hold(template.forward_out);
        self.neighbours.hold(template.reverse_out);
        self.classes.open.insert(class, Open { template, used: true });
        if let Some(stock) = self.classes.stock(stock) {
            stock.classes += 1;
            stock.closed = None;
        }
        self.classes.next_look.get_or_insert(now + LOOK);
        self.fill(now, stock, fast_path);
        fast_path.set_template(&class, Some(&template));
    }

    /// The function that gave a flow the port it leaves with, and where that came from, if the
    /// flows of its class fare alike.
    fn pool_of(&self, claims: Claims) -> Option<(FunctionIx, PortPool)> {
        claims.iter().try_fold(None, |_, (function, claim)| {
            let pool = self.functions[usize::from(function.0)].port_pool(claim)?;
            Some(Some((function, pool)))
        })?
    }

    /// Fills a stock up, if it runs low.
    fn fill(&mut self, now: Time, id: StockId, fast_path: &mut dyn FastPath) {
        let Some(stock) = self.classes.stock(id).filter(|stock| stock.closed.is_none()) else {
            return;
        };
        // What the fast path has told of is long past when there is much to tell.
        let left = fast_path.in_stock(id);
        if left > stock.level / 2 {
            return;
        }
        if left < stock.level / 4 {
            stock.level = (2 * stock.level).min(StockId::ROOM);
        }
        let (function, pool, wanted) = (stock.function, stock.pool, stock.level - left);
        let flows = self.flows.reserve(wanted);
        let mut ports = Vec::with_capacity(flows.len());
        self.functions[usize::from(function.0)].set_aside(now, pool, flows.len(), &mut ports);
        for unpaired in &flows[ports.len()..] {
            self.flows.unreserve(*unpaired);
        }
        let lots: Vec<_> =
            flows.into_iter().zip(ports).map(|(flow, port)| Lot { flow, port }).collect();
        if let Some(stock) = self.classes.stock(id) {
            stock.out += lots.len();
        }
        let fit = fast_path.supply(id, &lots);
        for lot in &lots[fit..] {
            self.return_lot(now, id, *lot, FlowEnd::Refused);
        }
    }

    /// The fast path has made a flow, or could not after all.
    pub(super) fn flow_made(&mut self, now: Time, made: &Made, fast_path: &mut dyn FastPath) {
        let known = self.flows.find(&made.forward) == Some((made.lot.flow, Direction::Forward));
        if self.classes.early.remove(&made.lot.flow) {
            // All that follows was done then.
        } else if known || made.is_made && self.take_over_made(now, made, fast_path) {
            self.lot_is_used(made);
        } else {
            self.undo(now, made, fast_path);
        }
        self.fill(now, made.template.stock, fast_path);
    }

    fn lot_is_used(&mut self, made: &Made) {
        if let Some(stock) = self.classes.stock(made.template.stock) {
            stock.out = stock.out.saturating_sub(1);
            self.flows.unreserve(made.lot.flow);
        }
        if let Some(class) = Class::of(&made.forward)
            && let Some(open) = self.classes.open.get_mut(&class)
        {
            open.used = true;
        }
    }

    /// Takes over a flow whose packet came up before the fast path has told of it: it was on its
    /// way when the class got its template.
    pub(super) fn find_made(
        &mut self,
        now: Time,
        key: &FlowKey,
        fast_path: &mut dyn FastPath,
    ) -> Option<(FlowId, Direction)> {
        let template = self.classes.open.get(&Class::of(key)?)?.template;
        let Entry { action, flow, direction: Direction::Forward, .. } = fast_path.entry(key)?
        else {
            return None;
        };
        let lot = Lot { flow, port: action.rewrite.src.port() };
        let made = Made { lot, forward: *key, template, is_made: true };
        if !self.take_over_made(now, &made, fast_path) {
            return None;
        }
        self.lot_is_used(&made);
        self.classes.early.insert(flow);
        Some((flow, Direction::Forward))
    }

    fn take_over_made(&mut self, now: Time, made: &Made, fast_path: &mut dyn FastPath) -> bool {
        let Template { src_mac, tracking, generation, forward_out, reverse_out, .. } =
            made.template;
        let unused = Usage { last_seen: now.tick(), ..Usage::default() };
        let is_tcp = made.forward.tuple.protocol == Protocol::Tcp;
        let tcp_flags = if is_tcp { TcpFlags::SYN.0 } else { 0 };
        let standing = Standing {
            id: made.lot.flow,
            forward: made.forward,
            reverse: made.reverse(),
            there: Usage { tcp_flags, packets: 1, ..unused },
            back: unused,
            generation,
            forward_out,
            reverse_out,
            src_mac,
            is_ours: true,
            held_macs: [Direction::Forward, Direction::Reverse]
                .map(|it| made.template.held_mac(it)),
            tracking,
            meters: made.template.meters,
        };
        let mut find_slot = |engine: &mut Self, _, port, hop, fast_path: &mut dyn FastPath| {
            engine.next_hop_slot(now, port, hop, fast_path)
        };
        let taken = self.resume(now, &standing, &mut find_slot, fast_path);
        if taken {
            self.counters.flows_created += 1;
            self.counters.flows_made += 1;
        }
        taken
    }

    /// Takes out what the fast path has made and the engine has no room for, and what it was given
    /// back.
    fn undo(&mut self, now: Time, made: &Made, fast_path: &mut dyn FastPath) {
        if made.is_made {
            for key in [made.forward, made.reverse()] {
                if self.flows.find(&key).is_none() {
                    fast_path.remove(&key);
                }
            }
            self.counters.ended(FlowEnd::Policy);
        }
        let end = if made.is_made { FlowEnd::Policy } else { FlowEnd::Refused };
        self.return_lot(now, made.template.stock, made.lot, end);
    }

    /// A lot is no flow's after all: its port and its number are free again. Those that an earlier
    /// process took from were its own.
    fn return_lot(&mut self, now: Time, stock: StockId, lot: Lot, end: FlowEnd) {
        let Some(stock) = self.classes.stock(stock) else { return };
        stock.out = stock.out.saturating_sub(1);
        let (function, pool) = (stock.function, stock.pool);
        self.flows.unreserve(lot.flow);
        self.functions[usize::from(function.0)].take_back(now, pool, lot.port, end);
    }

    /// Takes a class's template back, and what is in its stock if no other needs it.
    /// How much came back.
    fn close_class(&mut self, now: Time, class: &Class, fast_path: &mut dyn FastPath) -> usize {
        let Some(Open { template, .. }) = self.classes.open.remove(class) else { return 0 };
        fast_path.set_template(class, None);
        self.neighbours.let_go(template.forward_out);
        self.neighbours.let_go(template.reverse_out);
        let Some(stock) = self.classes.stock(template.stock) else { return 0 };
        stock.classes -= 1;
        if stock.classes > 0 {
            return 0;
        }
        stock.closed = Some(now);
        stock.level = FIRST_LEVEL;
        let lots = fast_path.take_back(template.stock);
        for lot in &lots {
            self.return_lot(now, template.stock, *lot, FlowEnd::Refused);
        }
        lots.len()
    }

    /// Takes back the templates of these classes; whether anything that was in stock came back.
    fn close_classes(
        &mut self,
        now: Time,
        fast_path: &mut dyn FastPath,
        is_meant: impl Fn(&Class, &Template) -> bool,
    ) -> bool {
        let open = self.classes.open.iter();
        let mut meant: Vec<_> = open
            .filter(|(class, open)| is_meant(class, &open.template))
            .map(|(class, _)| *class)
            .collect();
        // The order decides which numbers are given out next.
        meant.sort_unstable();
        let mut back = 0;
        for class in &meant {
            back += self.close_class(now, class, fast_path);
        }
        back > 0
    }

    /// Takes every template back: there is a new snapshot.
    pub(super) fn close_all_classes(&mut self, now: Time, fast_path: &mut dyn FastPath) {
        self.close_classes(now, fast_path, |_, _| true);
    }

    /// Takes back what flow numbers there are in stock, for there are no others left; whether that
    /// gained any.
    pub(super) fn close_for_numbers(&mut self, now: Time, fast_path: &mut dyn FastPath) -> bool {
        self.classes.stocks.iter().flatten().any(|stock| stock.out > 0)
            && self.close_classes(now, fast_path, |_, _| true)
    }

    pub(super) fn close_classes_on(
        &mut self,
        now: Time,
        port: PortId,
        fast_path: &mut dyn FastPath,
    ) {
        self.close_classes(now, fast_path, |class, template| {
            class.port == port || template.reverse_port == port
        });
    }

    /// Takes back what ports there are in stock toward the destination of a packet that got none.
    pub(super) fn close_classes_toward(
        &mut self,
        now: Time,
        protocol: Protocol,
        dst: SocketAddr,
        fast_path: &mut dyn FastPath,
    ) -> bool {
        let SocketAddr::V4(dst) = dst else { return false };
        // Whoever sends on when there is nothing left shall not have all classes gone through.
        let mut stocks = self.classes.stocks.iter().flatten();
        stocks.any(|stock| stock.out > 0 && stock.toward == (protocol, dst))
            && self.close_classes(now, fast_path, |class, _| {
                (class.protocol, class.dst) == (protocol, dst)
            })
    }

    /// Closes the classes that have made no flow since the last look.
    pub(super) fn look_at_classes(&mut self, now: Time, fast_path: &mut dyn FastPath) {
        if self.classes.next_look.is_none_or(|look| look > now) {
            return;
        }
        let mut idle = Vec::new();
        for (class, open) in &mut self.classes.open {
            if !std::mem::replace(&mut open.used, false) {
                idle.push(*class);
            }
        }
        idle.sort_unstable();
        for class in &idle {
            self.close_class(now, class, fast_path);
        }
        self.classes.next_look = (self.classes.len() > 0).then_some(now + LOOK);
    }
}
