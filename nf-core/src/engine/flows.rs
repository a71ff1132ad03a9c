//! Flows as the engine handles them: set up, forwarded in user space, told of TCP flags, expired,
//! ended.

use std::time::Duration;

use super::Engine;
use super::carried::Carried;
use super::flow_log::Came;
use super::ports::Port;
use super::translation::AcrossFamilies;
use super::walk::{First, Outcome, Stopped};
use crate::action::{Action, ChecksumField, ETHERNET_LEN, Offsets, identification};
use crate::adjacency::Adjacency;
use crate::fast_path::soft::STATE_FLAGS;
use crate::fast_path::{Direction, Entry, Event, FastPath, MeterId, TcpEvent, Transmit, Usage};
use crate::flow::{Flow, InsertError, Phase};
use crate::id::{AdjacencyId, FlowId, PortId};
use crate::neighbour::{Change, NextHop, Waiting};
use crate::packet::headers::{Fragment, Headers};
use crate::packet::{MacAddr, TcpFlags, build, fragment};
use crate::pipeline::{FlowEnd, Refusal};
use crate::time::Time;
use crate::tuple::{FlowKey, Protocol};
use crate::verdict::{Drop, Verdict};

/// What every link takes (RFC 791, section 3.2), in bytes. Most first packets are no larger.
const LEAST_MTU: usize = 68;

/// Flow numbers that one listing goes through at the most.
const SLOTS_AT_ONCE: u32 = 1 << 16;

/// A flow, for listings.
#[derive(Clone, Copy, Debug)]
pub struct FlowView {
    /// Its number.
    pub id: FlowId,
    /// The flow itself.
    pub flow: Flow,
    /// Where it stands in its life.
    pub phase: Phase,
    /// What went the way of the first packet.
    pub forward: Usage,
    /// What went back.
    pub reverse: Usage,
}

impl Engine {
    /// Sets a flow up after its walk, and sends its first packet on.
    pub(super) fn establish(
        &mut self,
        now: Time,
        key: FlowKey,
        headers: &Headers,
        outcome: &Outcome,
        carried: Carried<'_>,
        fast_path: &mut dyn FastPath,
    ) -> Verdict {
        let refuse = |engine: &mut Self, reason| {
            engine.release(now, outcome.claims, FlowEnd::Refused);
            Verdict::Dropped(reason)
        };
        let Some(port) = self.ports.get(key.port) else {
            return refuse(self, Drop::UnknownPort);
        };
        let back = self.way_back(port, key.tuple.src.ip(), headers.src_mac);
        let forward_out = self.next_hop_slot(now, outcome.port, outcome.hop, fast_path);
        let reverse_out = self.next_hop_slot(now, key.port, back, fast_path);
        let (Some(forward_out), Some(reverse_out)) = (forward_out, reverse_out) else {
            return refuse(self, Drop::AdjacencyTableFull);
        };
        let flow = Flow {
            forward: key,
            reverse: FlowKey { port: outcome.port, tuple: outcome.tuple.reversed() },
            forward_out,
            reverse_out,
            claims: outcome.claims,
            timeouts: outcome.timeouts,
            tracking: outcome.tracking,
            generation: self.snapshot.generation(),
            since: now,
        };
        let mut inserted = self.flows.insert(&flow);
        if inserted == Err(InsertError::Full) && self.close_for_numbers(now, fast_path) {
            inserted = self.flows.insert(&flow);
        }
        let id = match inserted {
            Ok(id) => id,
            Err(InsertError::Full) => return refuse(self, Drop::FlowTableFull),
            Err(InsertError::InUse(_)) => return refuse(self, Drop::TupleInUse),
        };
        self.counters.flows_created += 1;
        self.neighbours.hold(forward_out);
        self.neighbours.hold(reverse_out);
        let first = carried.usage(now);
        self.flows.note_tcp_flags(id, Direction::Forward, first.tcp_flags);
        let unused = Usage { last_seen: now.tick(), ..Usage::default() };
        let [meter, _] = self.install(id, &flow, first, unused, fast_path);
        let phase = Phase::of(key.tuple.protocol, &first, &unused);
        self.wheel.arm(id.0, now + phase.look_after(key.tuple.protocol, &flow.timeouts));
        self.consider_class(now, &flow, headers.src_mac, fast_path);
        self.log_begun(now, id, &flow, &outcome.passages);
        self.log_tcp_flags(id, Direction::Forward, carried.tcp_flags());
        let verdict = self.carry(now, (id, 0), &flow, Direction::Forward, carried, fast_path);
        if !matches!(verdict, Verdict::Dropped(_)) {
            self.count_own(meter, first.metered());
        }
        verdict
    }

    /// Sends a packet of a flow on, or lets it wait for its next hop. `nth` is the flow's number, and
    /// how many packets went that way before.
    fn carry(
        &mut self,
        now: Time,
        nth: (FlowId, u64),
        flow: &Flow,
        direction: Direction,
        mut carried: Carried<'_>,
        fast_path: &mut dyn FastPath,
    ) -> Verdict {
        let action = action_of(flow, direction);
        let Some((port, mtu)) = self.out_port(flow, direction) else {
            return Verdict::Dropped(Drop::PortGone);
        };
        if action.translates(&flow.key(direction).tuple) {
            // Its fragments would have to be those of a packet with another header.
            if carried.is_fragment() {
                return Verdict::Dropped(Drop::FragmentRefused);
            }
            let identification = identification(nth.0, nth.1);
            let across =
                AcrossFamilies { key: flow.key(direction), action, identification, port, mtu };
            return self.carry_across(now, &across, carried, fast_path);
        }
        let is_too_big = carried.on_the_wire() > usize::from(mtu);
        // RFC 1191 section 3: the message is for datagrams that cannot be fragmented.
        if is_too_big && !carried.may_be_fragmented() {
            self.report_too_big(now, flow.key(direction).port, &carried.frame, mtu, fast_path);
            return Verdict::Dropped(Drop::TooBig);
        }
        let Some(adjacency) = self.adjacency(port, MacAddr::default()) else {
            return Verdict::Dropped(Drop::PortGone);
        };
        if let Fragment::Later { .. } = carried.ip.fragment {
            action.apply_to_later_fragment(&adjacency, &mut carried.frame);
        } else {
            let offsets = Offsets { transport: carried.ip.l4_offset };
            action.apply(&adjacency, &mut carried.frame, offsets, ChecksumField::Complete);
        }
        let leaves_as = (action.rewrite.src.ip(), action.rewrite.dst.ip());
        if let Some(own) = self.own_identification(&carried, is_too_big)
            && leaves_as != (carried.ip.src, carried.ip.dst)
        {
            fragment::set_identification(&mut carried.frame, carried.ip, own);
        }
        let frame = Waiting { frame: carried.frame, segment_size: carried.segment_size };
        self.send_or_wait(now, port, action.adjacency, frame, fast_path)
    }

    /// Sends a frame that lacks nothing but its next hop's MAC address, or lets it wait for that.
    pub(super) fn send_or_wait(
        &mut self,
        now: Time,
        port: PortId,
        slot: AdjacencyId,
        mut frame: Waiting,
        fast_path: &mut dyn FastPath,
    ) -> Verdict {
        if let Some((_, mac)) = self.neighbours.resolved(slot) {
            frame.frame[..6].copy_from_slice(mac.as_bytes());
            self.send(port, frame, fast_path);
            return Verdict::Forwarded;
        }
        if !self.neighbours.revive(now, slot) {
            return Verdict::Dropped(Drop::NeighbourUnreachable);
        }
        if self.neighbours.enqueue(slot, frame).is_some() {
            self.counters.dequeued += 1;
            self.counters.verdict(Verdict::Dropped(Drop::NeighbourQueueFull));
        }
        Verdict::Queued
    }

    /// Carries a packet of a flow that exists, and counts it where the fast path would have: the
    /// flow's phase is read off its entries, so none of its flags may be missed.
    pub(super) fn carry_known(
        &mut self,
        now: Time,
        id: FlowId,
        direction: Direction,
        carried: Carried<'_>,
        fast_path: &mut dyn FastPath,
    ) -> Verdict {
        let Some(flow) = self.flows.get(id) else {
            return Verdict::Dropped(Drop::NoFlow);
        };
        if carried.is_fragment()
            && !self.forward_fragments(&flow.claims, flow.forward.tuple.protocol)
        {
            return Verdict::Dropped(Drop::FragmentPolicy);
        }
        let (seen, flags) = (carried.usage(now), carried.tcp_flags());
        let before = fast_path.usage(flow.key(direction)).unwrap_or_default();
        let nth = (id, before.packets);
        let verdict = self.carry(now, nth, &flow, direction, carried, fast_path);
        if let Verdict::Dropped(_) = verdict {
            return verdict;
        }
        let usage = Usage {
            last_seen: seen.last_seen,
            packets: before.packets + seen.packets,
            bytes: before.bytes + seen.bytes,
            tcp_flags: before.tcp_flags | seen.tcp_flags,
        };
        let meter = self.install_half(id, &flow, direction, usage, fast_path);
        self.count_own(meter, seen.metered());
        if seen.tcp_flags != 0 {
            self.tcp_event(now, TcpEvent { flow: id, direction, flags }, fast_path);
        }
        verdict
    }

    /// An identification for a packet that is a fragment, or is about to become several; the
    /// segments of a super-packet count up from it.
    fn own_identification(&mut self, carried: &Carried<'_>, is_too_big: bool) -> Option<u32> {
        if carried.identification.is_none() && is_too_big {
            return Some(self.fragments.take_identification());
        }
        carried.identification
    }

    /// Sends a rewritten frame: a super-packet as the segments it stands for, and in fragments what
    /// is larger than the port takes.
    fn send(
        &mut self,
        port: PortId,
        Waiting { frame, segment_size }: Waiting,
        fast_path: &mut dyn FastPath,
    ) {
        if segment_size == 0 {
            self.send_packet(port, frame, fast_path);
            return;
        }
        for frame in build::segment(&frame, usize::from(segment_size)) {
            self.send_packet(port, frame, fast_path);
        }
    }

    fn send_packet(&mut self, port: PortId, frame: Vec<u8>, fast_path: &mut dyn FastPath) {
        let length = frame.len().saturating_sub(ETHERNET_LEN);
        if length > LEAST_MTU
            && let Some((_, mtu)) = self.port_link(port)
            && length > usize::from(mtu)
            && let Some(parts) = build::fragment(&frame, usize::from(mtu))
        {
            self.counters.fragmented += 1;
            for frame in parts {
                fast_path.transmit(Transmit { port, frame });
            }
            return;
        }
        fast_path.transmit(Transmit { port, frame });
    }

    fn out_port(&self, flow: &Flow, direction: Direction) -> Option<(PortId, u16)> {
        let id = match direction {
            Direction::Forward => flow.reverse.port,
            Direction::Reverse => flow.forward.port,
        };
        self.ports.get(id).map(|port: &Port| (id, port.info.mtu))
    }

    pub(super) fn adjacency(&self, port: PortId, dst_mac: MacAddr) -> Option<Adjacency> {
        let (src_mac, mtu) = self.port_link(port)?;
        Some(Adjacency { port, dst_mac, src_mac, mtu })
    }

    /// The slot of a next hop; a known one is in the fast path at once.
    pub(super) fn next_hop_slot(
        &mut self,
        now: Time,
        port: PortId,
        hop: NextHop,
        fast_path: &mut dyn FastPath,
    ) -> Option<AdjacencyId> {
        let before = self.neighbours.len();
        let slot = self.neighbours.slot(now, port, hop).ok()?;
        if self.neighbours.len() > before
            && let NextHop::Mac(mac) = hop
        {
            fast_path.set_adjacency(slot, self.adjacency(port, mac));
        }
        Some(slot)
    }

    /// Carries out what became of next hops.
    pub(super) fn apply_changes(&mut self, changes: &mut Vec<Change>, path: &mut dyn FastPath) {
        for change in changes.drain(..) {
            match change {
                Change::Resolved { slot, port, mac, waiting } => {
                    let adjacency = self.adjacency(port, mac);
                    path.set_adjacency(slot, adjacency);
                    for mut waiting in waiting {
                        self.counters.dequeued += 1;
                        if adjacency.is_none() {
                            self.counters.verdict(Verdict::Dropped(Drop::PortGone));
                            continue;
                        }
                        waiting.frame[..6].copy_from_slice(mac.as_bytes());
                        self.counters.verdict(Verdict::Forwarded);
                        self.send(port, waiting, path);
                    }
                }
                Change::Failed { slot, waiting } => {
                    path.set_adjacency(slot, None);
                    for _ in 0..waiting {
                        self.counters.dequeued += 1;
                        self.counters.verdict(Verdict::Dropped(Drop::NeighbourUnreachable));
                    }
                }
            }
        }
    }

    /// Takes what the fast path tells of.
    pub fn event(&mut self, now: Time, event: &Event, fast_path: &mut dyn FastPath) {
        match event {
            Event::Tcp(event) => self.tcp_event(now, *event, fast_path),
            Event::Made(made) => self.flow_made(now, made, fast_path),
        }
    }

    /// A packet with SYN, FIN or RST went through the fast path.
    fn tcp_event(&mut self, now: Time, event: TcpEvent, fast_path: &mut dyn FastPath) {
        let TcpEvent { flow: id, direction, flags } = event;
        let Some(seen) = self.flows.note_tcp_flags(id, direction, flags & STATE_FLAGS) else {
            return;
        };
        self.log_tcp_flags(id, direction, flags);
        if direction == Direction::Reverse && TcpFlags(flags).contains(TcpFlags::SYN) {
            self.tell_answered(id);
        }
        // The timer looks at a flow that opens by itself.
        if flags & (TcpFlags::FIN.0 | TcpFlags::RST.0) == 0 {
            return;
        }
        let Some(flow) = self.flows.get(id) else { return };
        let [there, back] = seen.map(|tcp_flags| Usage { tcp_flags, ..Usage::default() });
        let phase = Phase::of(Protocol::Tcp, &there, &back);
        if phase == Phase::Reset && there.tcp_flags & TcpFlags::RST.0 == 0 {
            self.close_entry(id, &flow, fast_path);
        }
        // The end has come nearer than the timer knows.
        self.wheel.arm(id.0, now + phase.timeout(Protocol::Tcp, &flow.timeouts));
    }

    /// Functions hear that a connection of theirs was answered.
    fn tell_answered(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get(id) else { return };
        for (function, claim) in flow.claims.iter() {
            self.functions[usize::from(function.0)].answered(claim);
        }
    }

    /// Lets the entry of the side that opened know that its connection was reset. It may open it
    /// anew at once, and that SYN is to come here instead of going the old way.
    fn close_entry(&mut self, id: FlowId, flow: &Flow, fast_path: &mut dyn FastPath) {
        let Some(usage) = fast_path.usage(&flow.forward) else { return };
        let reset = Usage { tcp_flags: usage.tcp_flags | TcpFlags::RST.0, ..usage };
        self.install_half(id, flow, Direction::Forward, reset, fast_path);
        self.flows.note_tcp_flags(id, Direction::Forward, TcpFlags::RST.0);
    }

    /// A flow's timer fired: it has been idle for long enough, or it is asked again later.
    pub(super) fn flow_timer(&mut self, now: Time, id: FlowId, fast_path: &mut dyn FastPath) {
        let Some(view) = self.flow(id, fast_path) else { return };
        let protocol = view.flow.forward.tuple.protocol;
        let last_seen =
            view.forward.last_seen.resolve(now).max(view.reverse.last_seen.resolve(now));
        let deadline = last_seen + view.phase.timeout(protocol, &view.flow.timeouts);
        // The stamp is up to two ticks old: the clock behind it is coarse.
        if deadline > now + Duration::from_millis(8) {
            let look = now + view.phase.look_after(protocol, &view.flow.timeouts);
            self.wheel.arm(id.0, deadline.min(look));
            return;
        }
        let end = match view.phase {
            Phase::TimeWait | Phase::Reset => FlowEnd::Closed,
            _ => FlowEnd::Idle,
        };
        self.say_farewell(now, &view.flow, view.phase, fast_path);
        self.end_flow(now, id, end, fast_path);
    }

    /// Ends a flow: its entries leave the fast path before anything it held is given back.
    pub(super) fn end_flow(
        &mut self,
        now: Time,
        id: FlowId,
        end: FlowEnd,
        fast_path: &mut dyn FastPath,
    ) {
        let Some(flow) = self.flows.remove(id) else { return };
        self.wheel.cancel(id.0);
        self.ledger.end(now, id, &flow, fast_path);
        fast_path.remove(&flow.forward);
        fast_path.remove(&flow.reverse);
        self.neighbours.let_go(flow.forward_out);
        self.neighbours.let_go(flow.reverse_out);
        self.release(now, flow.claims, end);
        self.counters.ended(end);
    }

    /// One flow, with what went through it.
    pub fn flow(&self, id: FlowId, fast_path: &mut dyn FastPath) -> Option<FlowView> {
        let flow = self.flows.get(id)?;
        let forward = fast_path.usage(&flow.forward).unwrap_or_default();
        let reverse = fast_path.usage(&flow.reverse).unwrap_or_default();
        let phase = Phase::of(flow.forward.tuple.protocol, &forward, &reverse);
        Some(FlowView { id, flow, phase, forward, reverse })
    }

    /// Up to `limit` flows numbered from `from` on, and where to go on. Where numbers are sparse
    /// there may be fewer, or none, with more to come: packets wait meanwhile.
    pub fn list_flows(
        &self,
        from: FlowId,
        limit: usize,
        fast_path: &mut dyn FastPath,
    ) -> (Vec<FlowView>, Option<FlowId>) {
        let mut views = Vec::new();
        let end = self.flows.slots().min(from.0.saturating_add(SLOTS_AT_ONCE));
        for id in from.0..end {
            if views.len() == limit {
                return (views, Some(FlowId(id)));
            }
            views.extend(self.flow(FlowId(id), fast_path));
        }
        (views, (end < self.flows.slots()).then_some(FlowId(end)))
    }

    /// Walks a flow's first packet and sets the flow up, or answers as the refusal says.
    pub(super) fn open(
        &mut self,
        now: Time,
        key: FlowKey,
        headers: &Headers,
        carried: Carried<'_>,
        fast_path: &mut dyn FastPath,
    ) -> Verdict {
        let Some(role) = self.ports.get(key.port).map(|port| port.role) else {
            return Verdict::Dropped(Drop::UnknownPort);
        };
        let first = First::of(carried.ip, key);
        let mut walked = self.walk(now, role, first, None, None);
        if let Err(stopped) = walked
            && stopped.why.reason() == Drop::PortAllocation
            && self.close_classes_toward(now, key.tuple.protocol, stopped.dst, fast_path)
        {
            walked = self.walk(now, role, first, None, None);
        }
        let Stopped { why, rejected, refused, .. } = match walked {
            Ok(outcome)
                if carried.is_fragment()
                    && !self.forward_fragments(&outcome.claims, key.tuple.protocol) =>
            {
                self.release(now, outcome.claims, FlowEnd::Refused);
                return Verdict::Dropped(Drop::FragmentPolicy);
            }
            Ok(outcome) => {
                return self.establish(now, key, headers, &outcome, carried, fast_path);
            }
            Err(stopped) => stopped,
        };
        if let Some(passage) = rejected {
            let (usage, tcp_flags) = (carried.usage(now), carried.tcp_flags());
            self.rejected(&passage, usage);
            let came = Came { port: Some(key.port), tuple: key.tuple, usage, tcp_flags };
            self.log_rejected(now, &passage, &came);
        }
        if let Some((function, eni, from_internet)) = refused {
            let (snapshot, seen) = (self.snapshot.clone(), carried.usage(now).metered());
            let function = &mut self.functions[usize::from(function.0)];
            function.refused(&snapshot, eni, from_internet, seen);
        }
        if self.farewells.awaits(now, &key) {
            self.answer(key.port, build::tcp_reset(&carried.frame), fast_path);
            return Verdict::Dropped(Drop::NoFlow);
        }
        match why {
            Refusal::Drop(reason) => Verdict::Dropped(reason),
            Refusal::Reset(reason) => {
                self.answer_reset(now, key.port, &carried.frame, fast_path);
                Verdict::Dropped(reason)
            }
            Refusal::Prohibit(reason) => {
                self.report_prohibited(now, &key, &carried.frame, fast_path);
                Verdict::Dropped(reason)
            }
        }
    }

    /// Puts both entries of a flow into the fast path, and says what they are counted under, that of
    /// the way of the first packet first.
    pub(super) fn install(
        &mut self,
        id: FlowId,
        flow: &Flow,
        forward: Usage,
        reverse: Usage,
        fast_path: &mut dyn FastPath,
    ) -> [MeterId; 2] {
        let back = self.install_half(id, flow, Direction::Reverse, reverse, fast_path);
        let there = self.install_half(id, flow, Direction::Forward, forward, fast_path);
        [there, back]
    }

    fn install_half(
        &mut self,
        id: FlowId,
        flow: &Flow,
        direction: Direction,
        usage: Usage,
        fast_path: &mut dyn FastPath,
    ) -> MeterId {
        let key = flow.key(direction);
        let meter = self.meter_of(flow, direction);
        let entry = Entry {
            action: action_of(flow, direction),
            generation: flow.generation,
            flow: id,
            direction,
            src_mac: self.held_mac(key.port),
            tracking: flow.tracking,
            meter,
            usage,
        };
        fast_path.install(key, &entry);
        meter
    }

    /// The MAC address that frames from `port` must have.
    pub(super) fn held_mac(&self, port: PortId) -> Option<MacAddr> {
        self.ports.get(port)?.src_mac
    }
}

/// What the fast path does to the packets of one direction.
pub(super) fn action_of(flow: &Flow, direction: Direction) -> Action {
    match direction {
        Direction::Forward => {
            Action { rewrite: flow.reverse.tuple.reversed(), adjacency: flow.forward_out }
        }
        Direction::Reverse => {
            Action { rewrite: flow.forward.tuple.reversed(), adjacency: flow.reverse_out }
        }
    }
}
