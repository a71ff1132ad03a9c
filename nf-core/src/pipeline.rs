//! How network functions are composed: the trait they implement and the walk of a first packet.
//!
//! The engine carries a flow's first packet from place to place of the VPC model. Where it reaches
//! a managed ENI, the function that owns the ENI changes the tuple, claims what it needs for the
//! flow (a port lease, a target), and says in which subnet the packet stands now. Functions do not
//! know each other; the net effect of the walk becomes one action per direction.
//!
//! The same walk serves three more times in a flow's life: to see whether the flow is still right
//! under a new snapshot, to take over flows that an earlier process left in the kernel, and for
//! flows that the kernel has made itself. Then a [`Prior`] says what the outcome was, and a
//! function claims exactly that or refuses.

use std::any::Any;
use std::net::IpAddr;

use crate::fast_path::Metered;
use crate::flow::{Timeouts, Tracking};
use crate::id::PortId;
use crate::maglev::HashSeed;
use crate::packet::TcpFlags;
use crate::time::Time;
use crate::tuple::{Protocol, Tuple};
use crate::verdict::Drop;
use crate::vpc::{EniIx, InterfaceType, Snapshot, SubnetIx};

/// A function's place in the engine's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FunctionIx(pub u8);

/// What a function holds for one flow; the number means something only to that function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim(pub u32);

/// Ports that a function leases from for flows of one class, such as those of one external address
/// toward one destination; the number means something only to that function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortPool(pub u64);

/// A gateway whose traffic is counted, by its id wherever it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MeterKey(pub u64);

impl MeterKey {
    /// That of the resource with this id. It is the same in every process, so that entries which an
    /// earlier one has left are counted as before.
    #[must_use]
    pub fn of(id: &str) -> Self {
        Self(HashSeed { k0: 0x6d65_7465_7200, k1: 0x6b65_7900 }.hash(id.as_bytes()))
    }
}

/// What a flow's traffic is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MeteredAs {
    /// Whose it is.
    pub key: MeterKey,
    /// Whether the side that opened the flow is that of destinations, not of sources.
    pub from_destination: bool,
}

/// What is known of the outcome of a walk that is repeated.
#[derive(Clone, Copy, Debug)]
pub struct Prior {
    /// Whether the flow is new all the same: the fast path has made it.
    pub is_new: bool,
    /// The tuple the first packet left with.
    pub outcome: Tuple,
    /// The ends at which no rule need allow the flow any more.
    pub tracking: Tracking,
}

/// Who opens a flow: an instance, a host on a segment, an execution environment. Addresses alone do
/// not tell, because environments have the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// The port that its packets come in by.
    pub port: PortId,
    /// Their source address there.
    pub ip: IpAddr,
}

/// A first packet on its way.
#[derive(Debug)]
pub struct Walk<'a> {
    /// The moment.
    pub now: Time,
    /// Whom it comes from; `None` of what a function sends itself.
    pub origin: Option<Origin>,
    /// Whether it has come in by an internet gateway.
    pub from_internet: bool,
    /// The desired state it is judged by.
    pub snapshot: &'a Snapshot,
    /// The addresses as they stand now; functions change them.
    pub tuple: Tuple,
    /// The TCP flags byte of the packet, 0 for other protocols.
    pub tcp_flags: u8,
    /// The TCP sequence number of the packet, 0 for other protocols.
    pub tcp_sequence: u32,
    /// Set when the walk is repeated for a flow that exists.
    pub prior: Option<Prior>,
    /// The flow's idle times; a function that has its own sets them.
    pub timeouts: Timeouts,
}

impl Walk<'_> {
    /// Whether this is a TCP segment that cannot open a connection. A repeated walk is for a
    /// connection that is open already.
    #[must_use]
    pub fn is_late_tcp(&self) -> bool {
        self.prior.is_none()
            && self.tuple.protocol == Protocol::Tcp
            && !TcpFlags(self.tcp_flags).opens()
    }
}

/// Where the packet stands after a function, and what the function holds for the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// What the function is to be given back when the flow ends.
    pub claim: Claim,
    /// The subnet whose route table says what comes next.
    pub next: SubnetIx,
}

/// A function does not carry this packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// End it.
    Drop(Drop),
    /// End it and answer with a RST, as AWS does for TCP that belongs to no flow.
    Reset(Drop),
    /// End it and tell the sender by ICMP that it is administratively prohibited.
    Prohibit(Drop),
}

impl Refusal {
    /// Why.
    #[must_use]
    pub const fn reason(self) -> Drop {
        match self {
            Self::Drop(reason) | Self::Reset(reason) | Self::Prohibit(reason) => reason,
        }
    }
}

/// How a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FlowEnd {
    /// Silent for longer than its idle time.
    Idle,
    /// TCP closed by both sides, or reset.
    Closed,
    /// TCP closed or reset, and opened anew before what was late could have come.
    Reopened,
    /// The desired state no longer has room for it.
    Policy,
    /// One of its ports went away.
    PortGone,
    /// It could not be set up after all.
    Refused,
}

impl FlowEnd {
    /// Every way, for listings.
    pub const ALL: [Self; 6] =
        [Self::Idle, Self::Closed, Self::Reopened, Self::Policy, Self::PortGone, Self::Refused];

    /// The name metrics use.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Closed => "closed",
            Self::Reopened => "reopened",
            Self::Policy => "policy",
            Self::PortGone => "port_gone",
            Self::Refused => "refused",
        }
    }
}

/// A network function.
pub trait Function: Any + Send {
    /// The type of the managed ENIs it owns.
    fn interface_type(&self) -> InterfaceType;

    /// Takes over a new desired state. Claims that exist stay until they are released.
    fn apply_snapshot(&mut self, now: Time, snapshot: &Snapshot);

    /// A packet has reached a managed ENI of this function: change `walk.tuple`, claim, and say
    /// where it goes on. With `held`, the flow exists and this is its claim: keep it, or refuse
    /// and leave it to [`Self::release`]. With a prior but nothing held, claim what leads to
    /// [`Prior::outcome`].
    ///
    /// # Errors
    /// [`Refusal`]; nothing is claimed then.
    fn enter(
        &mut self,
        walk: &mut Walk<'_>,
        eni: EniIx,
        held: Option<Claim>,
    ) -> Result<Passed, Refusal>;

    /// Takes a claim back: once for each that [`Self::enter`] gave.
    fn release(&mut self, now: Time, claim: Claim, end: FlowEnd);

    /// Where the port of this claim came from, if flows that differ from the one it is for in
    /// nothing but their source port would fare alike but for the port. Only flows of which every
    /// function says so are made by the fast path itself.
    fn port_pool(&self, _claim: Claim) -> Option<PortPool> {
        None
    }

    /// Whether fragments of the packets of this claim's flow go on, of which `protocol` is the
    /// transport's.
    fn forwards_fragments(&self, _claim: Claim, _protocol: Protocol) -> bool {
        true
    }

    /// Sets up to `count` ports of a pool aside for flows that the fast path makes. One of them
    /// is free to [`Self::enter`] that has it for a prior, and to nobody else.
    fn set_aside(&mut self, _now: Time, _pool: PortPool, _count: usize, _ports: &mut Vec<u16>) {}

    /// Takes a port back that was set aside and that no claim has been made for.
    fn take_back(&mut self, _now: Time, _pool: PortPool, _port: u16, _end: FlowEnd) {}

    /// What the traffic of a flow that it has this claim for is counted as, if it is.
    fn metered_as(&self, _claim: Claim) -> Option<MeteredAs> {
        None
    }

    /// The handshake of a TCP connection was answered.
    fn answered(&mut self, _claim: Claim) {}

    /// A first packet was refused at an ENI of this function's, and that is the end of it.
    fn refused(&mut self, _snapshot: &Snapshot, _eni: EniIx, _from_internet: bool, _seen: Metered) {
    }

    /// A packet addressed to one of this function's ENIs that is no first packet of a flow but
    /// for the function itself, such as the answer to a health check. `true` if it was taken.
    fn receive(&mut self, _now: Time, _eni: EniIx, _frame: &[u8]) -> bool {
        false
    }

    /// Does what is due. `send` takes Ethernet-less work: packets the function itself originates,
    /// with the ENI they come from.
    fn advance(&mut self, now: Time, send: &mut Vec<Originated>);

    /// When [`Self::advance`] wants to be called at the latest.
    fn next_deadline(&self) -> Option<Time>;
}

/// A packet that a function sends of its own accord, from one of its ENIs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Originated {
    /// The ENI it comes from; its subnet's route table says where it goes.
    pub eni: EniIx,
    /// An Ethernet frame whose MAC addresses the engine fills in.
    pub frame: Vec<u8>,
}
