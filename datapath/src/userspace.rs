//! The fall-back without BPF: every frame comes up through a packet socket, the reference fast
//! path decides on it, and it leaves through another packet socket.
//!
//! The decisions, their order and their counts are those of the kernel program. What differs is
//! the price: two copies and two shares of a system call a frame. Super-packets soften it, for
//! they pass whole.

mod host_stack;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::mem;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use nf_core::adjacency::Adjacency;
use nf_core::fast_path::soft::{Decision, FrameMeta, SoftFastPath};
use nf_core::fast_path::{
    Class, Entry, FastPath, Lot, MeterId, Metered, PortPolicy, StockId, Template, Transmit, Usage,
};
use nf_core::id::{AdjacencyId, Generation, PortId};
use nf_core::time::Time;
use nf_core::tuple::FlowKey;
use nf_core::verdict::FastDrop;
use nix::net::if_::{if_indextoname, if_nametoindex};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::time::{ClockId, clock_gettime};

use crate::inject::{Injected, Injector};
use crate::packet_socket::{BATCH_LEN, Batch, FrameInfo, FrameMut, Outgoing, PacketSocket};
use crate::{AttachError, Attached, Hook, HookWish, Notice, Received, Statistics};
use host_stack::Quieted;

pub use crate::packet_socket::ReceiveError;
pub use host_stack::Warning;

/// Ports asked for at once when looking for those that have frames. The kernel hands them out in
/// turn, so none starves.
const READY_PORTS: usize = 64;

/// Ports looked at in one call when looking for those that are down and gone.
const DOWN_PORTS: usize = 64;

/// The user-space data path. It belongs to the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Userspace {
    soft: SoftFastPath,
    injector: Injector,
    ports: HashMap<PortId, Port>,
    /// As the engine wants the ports treated, attached or not.
    policies: HashMap<PortId, PortPolicy>,
    /// Ports whose interface went down, to be looked at in turn: the kernel does not tell when such
    /// a one goes away.
    down: VecDeque<PortId>,
    gone: Vec<PortGone>,
    warnings: Vec<Warning>,
    epoll: Epoll,
    /// Away while its frames are being handed out.
    batch: Option<Box<Batch>>,
    /// Frames of the batch that wait to be sent on: the port to send by, the place in the batch.
    forwards: Vec<(PortId, usize)>,
    verdicts: Statistics,
    forwarding: Injected,
    overruns: u64,
}

#[derive(Debug)]
struct Port {
    socket: PacketSocket,
    name: String,
    /// Whether it stands in the queue of those that are down.
    down: bool,
    /// What was set to keep the host's stack quiet, if it was to be.
    quieted: Option<Quieted>,
}

/// A port that is no more.
#[derive(Debug, thiserror::Error)]
#[error("port {name} is detached, for its packet socket failed: {error}")]
pub struct PortGone {
    /// The port.
    pub port: PortId,
    /// The interface's name when the port was attached.
    pub name: String,
    /// How it showed.
    pub error: ReceiveError,
}

impl Userspace {
    /// A data path without ports in the calling thread's network namespace.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_RAW`; otherwise the process is out of descriptors or memory.
    pub fn open() -> io::Result<Self> {
        // Keyed by the operating system: whoever sends packets must not know the hash.
        let seed = RandomState::new().build_hasher().finish();
        Ok(Self {
            soft: SoftFastPath::new(seed),
            injector: Injector::open()?,
            ports: HashMap::new(),
            policies: HashMap::new(),
            down: VecDeque::new(),
            gone: Vec::new(),
            warnings: Vec::new(),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            batch: None,
            forwards: Vec::with_capacity(BATCH_LEN),
            verdicts: Statistics::default(),
            forwarding: Injected::default(),
            overruns: 0,
        })
    }

    /// The table that moves packets.
    pub fn fast_path(&mut self) -> &mut dyn FastPath {
        self
    }

    /// Starts receiving from an interface. One that is attached already stays so without a gap.
    ///
    /// Once [`FastPath::add_port`] has said that the port is not shared with the host, the host's
    /// own stack is kept from answering and forwarding there; see [`Self::take_notices`].
    ///
    /// # Errors
    /// [`AttachError`]
    pub fn attach(
        &mut self,
        port: PortId,
        name: &str,
        _wish: HookWish,
    ) -> Result<Attached, AttachError> {
        if !self.ports.contains_key(&port) {
            let socket = self.open_socket(port, name)?;
            let attached = Port { socket, name: name.to_owned(), down: false, quieted: None };
            self.ports.insert(port, attached);
            self.quieten(port);
        }
        let why = "the data path is that of user space".to_owned();
        Ok(Attached { hook: Hook::PacketSocket, why })
    }

    /// Stops receiving from a port and takes back what was set on its interface. One that is not
    /// attached is left alone.
    pub fn detach(&mut self, port: PortId) {
        let Some(removed) = self.ports.remove(&port) else { return };
        if removed.down {
            self.down.retain(|down| *down != port);
        }
        self.overruns += removed.socket.take_overruns().unwrap_or(0);
        self.restore(port, removed.quieted);
    }

    /// Readable when any port has frames or changed its state.
    #[must_use]
    pub fn poll_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    /// Handles frames that wait, at most `budget`, and returns how many that were.
    ///
    /// `handle` is given what user space must see, with the fast path to act upon. The order is
    /// that of the frames: what was decided before has been sent already, a TCP event comes after
    /// its frame and before the next one, and what `handle` transmits leaves before later frames.
    pub fn receive(
        &mut self,
        budget: usize,
        handle: &mut dyn FnMut(&mut dyn FastPath, Received<'_>),
    ) -> usize {
        // The clock that the kernel program reads too.
        if let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) {
            self.soft.set_time(Time::default() + now.into());
        }
        self.find_vanished();
        let mut batch = self.batch.take().unwrap_or_default();
        let mut ready = [EpollEvent::empty(); READY_PORTS];
        let mut frames = 0;
        while frames < budget {
            // An interrupted wait is as good as an empty one: the caller comes back.
            let count = self.epoll.wait(&mut ready, EpollTimeout::ZERO).unwrap_or(0);
            let before = frames;
            for port in ready[..count].iter().filter_map(|event| PortId::new(event.data() as u32)) {
                if frames < budget {
                    frames += self.receive_from(port, budget - frames, &mut batch, handle);
                }
            }
            if frames == before {
                break;
            }
        }
        self.batch = Some(batch);
        self.injector.flush();
        frames
    }

    /// What became of the frames so far. Each that came in counts once, a super-packet too.
    pub fn statistics(&mut self) -> Statistics {
        let taken = |port: &Port| port.socket.take_overruns().unwrap_or(0);
        self.overruns += self.ports.values().map(taken).sum::<u64>();
        Statistics {
            failed_transmits: self.injector.failures(),
            failed_forwards: self.forwarding.failed(),
            overruns: self.overruns,
            ..self.verdicts.clone()
        }
    }

    /// How many of the frames that [`Self::statistics`] counts as forwarded did leave, and why
    /// the others did not.
    #[must_use]
    pub fn forwarding(&self) -> Injected {
        self.forwarding
    }

    /// Since the last call: ports that were detached because their interface is gone or their
    /// socket failed, and settings that could not be made, or taken back, to keep the host's stack
    /// quiet. The ports work without those.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        let gone = self.gone.drain(..).map(Notice::from);
        gone.chain(self.warnings.drain(..).map(Notice::from)).collect()
    }

    fn open_socket(&self, port: PortId, name: &str) -> Result<PacketSocket, AttachError> {
        let name = || name.to_owned();
        let failed = |action| move |error| AttachError::System { name: name(), action, error };
        if if_nametoindex(name().as_str()) != Ok(port.get()) {
            return Err(AttachError::NoInterface { name: name(), port });
        }
        let socket = PacketSocket::open(port).map_err(failed("open a packet socket"))?;
        let hardware_type = socket.hardware_type().map_err(failed("ask for its type"))?;
        if hardware_type != libc::ARPHRD_ETHER {
            return Err(AttachError::NotEthernet { name: name(), hardware_type });
        }
        let event = EpollEvent::new(EpollFlags::EPOLLIN, u64::from(port.get()));
        self.epoll.add(&socket, event).map_err(|e| failed("watch its socket")(e.into()))?;
        Ok(socket)
    }

    /// Keeps the host's stack quiet on a port, or no longer, as its policy says. Without a policy
    /// nothing is touched: switching IPv6 off for a moment would cost the host its addresses.
    fn quieten(&mut self, port: PortId) {
        let (Some(policy), Some(attached)) = (self.policies.get(&port), self.ports.get_mut(&port))
        else {
            return;
        };
        if policy.share_with_host {
            let quieted = attached.quieted.take();
            self.restore(port, quieted);
        } else if attached.quieted.is_none() {
            let Some(name) = interface_name(port) else { return };
            let (quieted, warnings) = Quieted::impose(&name);
            attached.quieted = Some(quieted);
            self.warnings.extend(warnings);
        }
    }

    fn restore(&mut self, port: PortId, quieted: Option<Quieted>) {
        if let (Some(quieted), Some(name)) = (quieted, interface_name(port)) {
            self.warnings.extend(quieted.restore(&name));
        }
    }

    /// Handles one system call's worth of frames; how many that were.
    fn receive_from(
        &mut self,
        port: PortId,
        limit: usize,
        batch: &mut Batch,
        handle: &mut dyn FnMut(&mut dyn FastPath, Received<'_>),
    ) -> usize {
        let Some(attached) = self.ports.get_mut(&port) else { return 0 };
        match attached.socket.receive(batch, limit) {
            Ok(()) => {
                if batch.len() > 0 && mem::take(&mut attached.down) {
                    self.down.retain(|down| *down != port);
                }
                self.handle_batch(port, batch, handle);
                batch.len()
            }
            Err(ReceiveError::Unreadable) => {
                // Only protocols that flows are not tracked of have such offloads.
                let decision = self.refuse(port, FastDrop::Protocol);
                count(&mut self.verdicts, decision);
                1
            }
            Err(ReceiveError::Down) => {
                if !mem::replace(&mut attached.down, true) {
                    self.down.push_back(port);
                }
                0
            }
            Err(error) => {
                self.lose(port, error);
                0
            }
        }
    }

    /// Detaches a port that is of no more use.
    fn lose(&mut self, port: PortId, error: ReceiveError) {
        let name = self.ports.get(&port).map_or_else(String::new, |port| port.name.clone());
        self.detach(port);
        self.gone.push(PortGone { port, name, error });
    }

    /// Loses the ports whose interface first went down and then away.
    fn find_vanished(&mut self) {
        for _ in 0..self.down.len().min(DOWN_PORTS) {
            let Some(port) = self.down.pop_front() else { return };
            match self.ports.get(&port) {
                Some(attached) if attached.socket.is_gone() => {
                    self.lose(port, ReceiveError::Gone);
                }
                Some(_) => self.down.push_back(port),
                None => {}
            }
        }
    }

    /// Decides on every frame of a batch, in order.
    fn handle_batch(
        &mut self,
        port: PortId,
        batch: &mut Batch,
        handle: &mut dyn FnMut(&mut dyn FastPath, Received<'_>),
    ) {
        for index in 0..batch.len() {
            let (mut info, mut frame) = batch.frame_mut(index);
            let (decision, meta) = self.decide(port, &mut info, &mut frame);
            batch.set_header(index, info.header);
            count(&mut self.verdicts, decision);
            if let Decision::Forward(to) = decision {
                self.forwards.push((to, index));
            }
            for event in self.soft.take_events() {
                self.send_forwards(batch);
                handle(self, Received::Event(event));
            }
            match decision {
                Decision::Punt(reason) | Decision::Tap(reason) => {
                    self.send_forwards(batch);
                    let (_, frame) = batch.frame(index);
                    handle(self, Received::Frame { port, reason, meta, frame });
                }
                // What passes, the host's stack has had already.
                Decision::Forward(_) | Decision::Pass | Decision::Drop(_) => {}
            }
        }
        self.send_forwards(batch);
    }

    fn decide(
        &mut self,
        port: PortId,
        info: &mut FrameInfo,
        frame: &mut FrameMut<'_>,
    ) -> (Decision, FrameMeta) {
        let refused = if info.tagged {
            FastDrop::EtherType
        } else if info.truncated {
            FastDrop::PuntTooLarge
        } else if let Ok(meta) = info.header.settle(frame.as_mut()) {
            let came = frame.as_ref().len();
            let decision = self.soft.process(port, frame, meta);
            info.header.follow(came, frame.as_ref().len());
            return (decision, meta);
        } else {
            FastDrop::Malformed
        };
        (self.refuse(port, refused), FrameMeta::default())
    }

    /// The end of a frame that the fast path does not get to see.
    fn refuse(&self, port: PortId, reason: FastDrop) -> Decision {
        let shared = self.policies.get(&port).is_some_and(|policy| policy.share_with_host);
        if shared { Decision::Pass } else { Decision::Drop(reason) }
    }

    /// Sends what was decided to be forwarded, after what user space sent before.
    fn send_forwards(&mut self, batch: &Batch) {
        if self.forwards.is_empty() {
            return;
        }
        self.injector.flush();
        // Stable: frames to one port stay in order.
        self.forwards.sort_by_key(|(to, _)| *to);
        for group in self.forwards.chunk_by(|(a, _), (b, _)| a == b) {
            self.forwarding += match self.ports.get(&group[0].0) {
                Some(port) => port.socket.send(group.iter().map(|(to, index)| {
                    let (info, frame) = batch.frame(*index);
                    Outgoing { port: *to, header: info.header, frame }
                })),
                None => Injected { failed_gone: group.len() as u64, ..Injected::default() },
            };
        }
        self.forwards.clear();
    }
}

impl Drop for Userspace {
    fn drop(&mut self) {
        let ports: Vec<PortId> = self.ports.keys().copied().collect();
        for port in ports {
            // No one is left to read the warnings.
            self.detach(port);
        }
    }
}

/// What the interface is called now, which may not be what it was attached as. None if it is gone,
/// and its settings with it.
fn interface_name(port: PortId) -> Option<String> {
    if_indextoname(port.get()).ok()?.into_string().ok()
}

/// Adds one frame to the counter of its verdict.
fn count(verdicts: &mut Statistics, decision: Decision) {
    *match decision {
        Decision::Forward(_) => &mut verdicts.forwarded,
        Decision::Punt(reason) => &mut verdicts.punted[reason as usize],
        Decision::Tap(_) => &mut verdicts.tapped,
        Decision::Pass => &mut verdicts.passed,
        Decision::Drop(reason) => &mut verdicts.dropped[reason as usize],
    } += 1;
}

impl FastPath for Userspace {
    fn add_port(&mut self, port: PortId, policy: PortPolicy) {
        self.soft.add_port(port, policy);
        self.policies.insert(port, policy);
        self.quieten(port);
    }

    fn remove_port(&mut self, port: PortId) {
        self.soft.remove_port(port);
        self.policies.remove(&port);
    }

    fn set_own_address(&mut self, address: IpAddr, own: bool) {
        self.soft.set_own_address(address, own);
    }

    fn install(&mut self, key: &FlowKey, entry: &Entry) {
        self.soft.install(key, entry);
    }

    fn remove(&mut self, key: &FlowKey) {
        self.soft.remove(key);
    }

    fn usage(&mut self, key: &FlowKey) -> Option<Usage> {
        self.soft.usage(key)
    }

    fn entry(&mut self, key: &FlowKey) -> Option<Entry> {
        self.soft.entry(key).copied()
    }

    fn set_template(&mut self, class: &Class, template: Option<&Template>) {
        self.soft.set_template(class, template);
    }

    fn supply(&mut self, stock: StockId, lots: &[Lot]) -> usize {
        self.soft.supply(stock, lots)
    }

    fn in_stock(&mut self, stock: StockId) -> usize {
        self.soft.in_stock(stock)
    }

    fn take_back(&mut self, stock: StockId) -> Vec<Lot> {
        self.soft.take_back(stock)
    }

    fn set_adjacency(&mut self, slot: AdjacencyId, adjacency: Option<Adjacency>) {
        self.soft.set_adjacency(slot, adjacency);
    }

    fn restamp(&mut self, keys: &[FlowKey], generation: Generation) {
        self.soft.restamp(keys, generation);
    }

    fn set_fence(&mut self, generation: Generation) {
        self.soft.set_fence(generation);
    }

    fn metered(&mut self, meter: MeterId) -> Metered {
        self.soft.metered(meter)
    }

    fn transmit(&mut self, frame: Transmit) {
        self.injector.queue(frame.port, frame.frame);
    }

    fn flush(&mut self) {
        self.injector.flush();
    }
}
