//! A first packet's way: from the port it came in by, through route tables and functions, to the
//! port it leaves by.

use std::net::{IpAddr, SocketAddr};

use super::Engine;
use super::passage::{Passage, Passages};
use super::ports::Role;
use super::public::{is_inside, public_interface};
use crate::flow::{Claims, Timeouts, Tracking};
use crate::id::PortId;
use crate::neighbour::NextHop;
use crate::packet::headers::{IpHeaders, Transport};
use crate::pipeline::{Claim, FlowEnd, FunctionIx, Origin, Passed, Prior, Refusal, Walk};
use crate::time::Time;
use crate::tuple::{FlowKey, Tuple};
use crate::verdict::Drop;
use crate::vpc::{
    Admission, EniIx, InterfaceType, Owner, PortRole, RouteTarget, SubnetIx, TrafficDirection,
    UplinkIx, VpcIx,
};

/// Places a packet may come by: functions, and the routing between them. A loop of routes ends
/// here.
const MAX_PLACES: usize = 16;

/// What the walk needs to know of a first packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct First {
    pub key: FlowKey,
    pub tcp_flags: u8,
    pub tcp_sequence: u32,
}

impl First {
    pub fn of(ip: &IpHeaders, key: FlowKey) -> Self {
        match ip.transport {
            Transport::Tcp { flags, seq, .. } => {
                Self { key, tcp_flags: flags.0, tcp_sequence: seq }
            }
            _ => Self { key, tcp_flags: 0, tcp_sequence: 0 },
        }
    }

    /// What is known of the first packet of a flow that exists.
    pub fn long_ago(key: FlowKey) -> Self {
        Self { key, tcp_flags: 0, tcp_sequence: 0 }
    }
}

/// Where the walk ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// The tuple the packet leaves with.
    pub tuple: Tuple,
    /// The port it leaves by.
    pub port: PortId,
    /// The next hop there.
    pub hop: NextHop,
    /// What functions hold.
    pub claims: Claims,
    /// The interfaces it came by.
    pub passages: Passages,
    /// The flow's idle times.
    pub timeouts: Timeouts,
    /// Which of the flow's ends outlive the rules that let it in.
    pub tracking: Tracking,
}

/// Why a walk did not come to an end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopped {
    pub why: Refusal,
    /// Where it was on its way to, there.
    pub dst: SocketAddr,
    /// Where, if it was at an interface whose groups do not allow the packet.
    pub rejected: Option<Passage>,
    /// Which function it was, at which of its interfaces, and whether the packet had come in by an
    /// internet gateway; if it was one.
    pub refused: Option<(FunctionIx, EniIx, bool)>,
}

/// What a walk gathers on its way.
#[derive(Default)]
struct Course {
    claims: Claims,
    /// Set when the flow exists: its claims, and no other is made.
    held: Option<Claims>,
    passages: Passages,
    tracking: Tracking,
    rejected: Option<Passage>,
    refused: Option<(FunctionIx, EniIx, bool)>,
}

/// Where a packet stands.
enum Place {
    /// In a subnet, to be routed by its table.
    Subnet(SubnetIx),
    /// At an ENI: a function's, or an instance's.
    Eni(EniIx),
    /// At the internet gateway of this VPC, on its way out.
    Leaving(UplinkIx, VpcIx),
    /// At an internet gateway, on its way in.
    Arriving,
    /// Done.
    Out(PortId, NextHop),
}

impl Engine {
    /// Walks a first packet that came in by a port of this `role`. With `prior`, the flow exists;
    /// with `held`, so do its claims, and no other is made.
    pub(super) fn walk(
        &mut self,
        now: Time,
        role: Role,
        first: First,
        prior: Option<Prior>,
        held: Option<Claims>,
    ) -> Result<Outcome, Stopped> {
        let snapshot = self.snapshot.clone();
        let mut walk = Walk {
            now,
            origin: Some(Origin { port: first.key.port, ip: first.key.tuple.src.ip() }),
            from_internet: false,
            snapshot: &snapshot,
            tuple: first.key.tuple,
            tcp_flags: first.tcp_flags,
            tcp_sequence: first.tcp_sequence,
            prior,
            timeouts: Timeouts::default(),
        };
        let mut course = Course { held, ..Course::default() };
        let result = self.walk_places(role, &mut walk, &mut course);
        let Course { claims, passages, rejected, refused, mut tracking, .. } = course;
        let (tuple, mut timeouts) = (walk.tuple, walk.timeouts);
        match result {
            Ok((port, hop)) => {
                if claims != Claims::NONE {
                    tracking = Tracking::BOTH;
                } else if let Some(first) = passages.iter().next() {
                    timeouts = snapshot.eni(first.eni).timeouts;
                }
                Ok(Outcome { tuple, port, hop, claims, passages, timeouts, tracking })
            }
            Err(why) => {
                if held.is_none() {
                    self.release(now, claims, FlowEnd::Refused);
                }
                Err(Stopped { why, dst: tuple.dst, rejected, refused })
            }
        }
    }

    /// Gives claims back, the last first.
    pub(super) fn release(&mut self, now: Time, claims: Claims, end: FlowEnd) {
        for (function, claim) in claims.iter().rev() {
            self.functions[usize::from(function.0)].release(now, claim, end);
        }
    }

    /// The function that owns managed ENIs of this type.
    pub(super) fn function(&self, interface_type: InterfaceType) -> Option<FunctionIx> {
        let at = self.functions.iter().position(|f| f.interface_type() == interface_type)?;
        Some(FunctionIx(at as u8))
    }

    fn walk_places(
        &mut self,
        role: Role,
        walk: &mut Walk<'_>,
        course: &mut Course,
    ) -> Result<(PortId, NextHop), Refusal> {
        if let Some(sender) = sender(role, walk) {
            pass(walk, sender, TrafficDirection::Egress, course)?;
        }
        let mut place = match role {
            Role::Resource(PortRole::Eni(eni)) => Place::Subnet(walk.snapshot.eni(eni).subnet),
            Role::Resource(PortRole::Segment(subnet)) => Place::Subnet(subnet),
            Role::Resource(PortRole::Uplink(_)) => Place::Arriving,
            Role::Environment(bridge) => Place::Eni(walk.snapshot.bridge(bridge).eni),
            Role::Unused | Role::Resource(PortRole::Vacant(_)) => {
                return Err(Refusal::Drop(Drop::UnknownPort));
            }
        };
        for _ in 0..MAX_PLACES {
            place = match place {
                Place::Subnet(subnet) => self.route(walk, subnet)?,
                Place::Eni(eni) if walk.snapshot.eni(eni).owner == Owner::Instance => {
                    pass(walk, eni, TrafficDirection::Ingress, course)?;
                    self.deliver(walk, eni)?
                }
                Place::Eni(eni) => {
                    let passed = self.enter(walk, eni, course)?;
                    Place::Subnet(passed.next)
                }
                Place::Leaving(uplink, vpc) => {
                    course.passages.through_internet_gateway();
                    self.leave(walk, uplink, vpc)?
                }
                Place::Arriving => {
                    course.passages.through_internet_gateway();
                    walk.from_internet = true;
                    arrive(walk)?
                }
                Place::Out(port, hop) => return Ok((port, hop)),
            };
        }
        Err(Refusal::Drop(Drop::TooManyFunctions))
    }

    fn enter(
        &mut self,
        walk: &mut Walk<'_>,
        eni: EniIx,
        course: &mut Course,
    ) -> Result<Passed, Refusal> {
        let owned = walk.snapshot.eni(eni);
        let function =
            self.function(owned.interface_type).ok_or(Refusal::Drop(Drop::NoDestination))?;
        let passed_before = course.claims.iter().count();
        let claim: Option<Claim> = match course.held {
            None => None,
            // The flow went through another function here, or ended sooner: its way has changed.
            Some(held) => match held.get(passed_before) {
                Some((known, claim)) if known == function => Some(claim),
                _ => return Err(Refusal::Drop(Drop::NoRoute)),
            },
        };
        if passed_before == crate::flow::table::MAX_FUNCTIONS {
            return Err(Refusal::Drop(Drop::TooManyFunctions));
        }
        // Environments are behind a bridge, not in front of its interface.
        if !matches!(owned.owner, Owner::Bridge(_)) {
            pass(walk, eni, TrafficDirection::Ingress, course)?;
        }
        let passed = self.functions[usize::from(function.0)].enter(walk, eni, claim);
        let passed =
            passed.inspect_err(|_| course.refused = Some((function, eni, walk.from_internet)))?;
        // Checked above: there is room.
        let _ = course.claims.push(function, passed.claim);
        pass(walk, eni, TrafficDirection::Egress, course)?;
        Ok(passed)
    }

    fn route(&self, walk: &Walk<'_>, subnet: SubnetIx) -> Result<Place, Refusal> {
        let snapshot = walk.snapshot;
        let vpc = snapshot.subnet(subnet).vpc;
        if [walk.tuple.src.ip(), walk.tuple.dst.ip()].into_iter().any(stays_on_its_link) {
            return Err(Refusal::Drop(Drop::NoRoute));
        }
        match snapshot.route(subnet, walk.tuple.dst.ip()) {
            Some(RouteTarget::Local) => self.local(walk, vpc),
            Some(RouteTarget::InternetGateway(uplink)) => Ok(Place::Leaving(uplink, vpc)),
            // Only environments enter a bridge; a route that leads there leads nowhere.
            Some(RouteTarget::Eni(eni)) if matches!(snapshot.eni(eni).owner, Owner::Bridge(_)) => {
                Err(Refusal::Drop(Drop::Blackhole))
            }
            Some(RouteTarget::Eni(eni)) => Ok(Place::Eni(eni)),
            Some(RouteTarget::Blackhole) => Err(Refusal::Drop(Drop::Blackhole)),
            None => Err(Refusal::Drop(Drop::NoRoute)),
        }
    }

    /// To an address of the VPC itself: an ENI, or a host on a subnet's segment.
    fn local(&self, walk: &Walk<'_>, vpc: VpcIx) -> Result<Place, Refusal> {
        let dst = walk.tuple.dst.ip();
        if let Some(eni) = walk.snapshot.eni_at(vpc, dst) {
            return Ok(Place::Eni(eni));
        }
        let subnet = walk.snapshot.subnet_at(vpc, dst);
        let subnet = subnet.map(|subnet| walk.snapshot.subnet(subnet));
        let segment = subnet.filter(|subnet| !subnet.is_reserved(dst));
        self.out_by(segment.and_then(|subnet| subnet.port.as_deref()), NextHop::Ip(dst))
    }

    /// To the instance of an ENI: by the ENI's own port, else over its subnet's segment.
    fn deliver(&self, walk: &Walk<'_>, eni: EniIx) -> Result<Place, Refusal> {
        let eni = walk.snapshot.eni(eni);
        let dst = walk.tuple.dst.ip();
        // A route may lead to an ENI that is not the destination, an appliance's: then its own
        // address is the next hop.
        if eni.source_dest_check && !eni.has_address(dst) {
            return Err(Refusal::Drop(Drop::DestinationCheck));
        }
        let ip = eni.address_towards(dst).ok_or(Refusal::Drop(Drop::NoDestination))?;
        let hop = eni.mac.map_or(NextHop::Ip(ip), NextHop::Mac);
        let segment = walk.snapshot.subnet(eni.subnet).port.as_deref();
        let segment = segment.filter(|_| eni.is_on_segment());
        self.out_by(eni.port.as_deref().or(segment), hop)
    }

    /// Out of the internet gateway of a VPC, as a public address.
    fn leave(&self, walk: &mut Walk<'_>, uplink: UplinkIx, vpc: VpcIx) -> Result<Place, Refusal> {
        let snapshot = walk.snapshot;
        let src = walk.tuple.src.ip();
        if snapshot.public_address(src).is_none() {
            let eni = snapshot.eni_at(vpc, src).map(|eni| snapshot.eni(eni));
            match (eni.and_then(|eni| eni.public_ip_of(src)), src) {
                (Some(public), _) => walk.tuple = walk.tuple.with_src_ip(public),
                // IPv6 addresses of a VPC are public themselves, but for unique local ones.
                (None, IpAddr::V6(v6)) if !v6.is_unique_local() => {}
                _ => return Err(Refusal::Drop(Drop::NoPublicAddress)),
            }
        }
        let dst = walk.tuple.dst.ip();
        if is_inside(snapshot, dst) {
            return Ok(Place::Arriving);
        }
        let uplink = snapshot.uplink(uplink);
        let hop = uplink.next_hop(dst).ok_or(Refusal::Drop(Drop::NoRoute))?;
        self.out_by(Some(&uplink.port), NextHop::Ip(hop))
    }

    /// Where a packet leaves that a function itself sends from one of its ENIs.
    pub(super) fn way_from(
        &self,
        now: Time,
        eni: EniIx,
        tuple: Tuple,
    ) -> Result<(PortId, NextHop), Stopped> {
        let snapshot = self.snapshot.clone();
        let mut walk = Walk {
            now,
            origin: None,
            from_internet: false,
            snapshot: &snapshot,
            tuple,
            tcp_flags: 0,
            tcp_sequence: 0,
            prior: None,
            timeouts: Timeouts::default(),
        };
        let mut course = Course::default();
        let way = self.walk_alone(&mut walk, eni, &mut course);
        let Course { rejected, refused, .. } = course;
        way.map_err(|why| Stopped { why, dst: walk.tuple.dst, rejected, refused })
    }

    /// The same walk for a packet that no flow translates: another function, or another address, is
    /// no way for it.
    fn walk_alone(
        &self,
        walk: &mut Walk<'_>,
        eni: EniIx,
        course: &mut Course,
    ) -> Result<(PortId, NextHop), Refusal> {
        let tuple = walk.tuple;
        pass(walk, eni, TrafficDirection::Egress, course)?;
        let mut place = Place::Subnet(walk.snapshot.eni(eni).subnet);
        for _ in 0..MAX_PLACES {
            place = match place {
                Place::Subnet(subnet) => self.route(walk, subnet)?,
                Place::Eni(eni) if walk.snapshot.eni(eni).owner == Owner::Instance => {
                    pass(walk, eni, TrafficDirection::Ingress, course)?;
                    self.deliver(walk, eni)?
                }
                Place::Leaving(uplink, vpc) => self.leave(walk, uplink, vpc)?,
                Place::Out(port, hop) if walk.tuple == tuple => return Ok((port, hop)),
                Place::Eni(_) | Place::Arriving | Place::Out(..) => break,
            };
        }
        Err(Refusal::Drop(Drop::NoRoute))
    }

    fn out_by(&self, port: Option<&str>, hop: NextHop) -> Result<Place, Refusal> {
        let port = port.and_then(|name| self.ports.named(name));
        port.map(|port| Place::Out(port, hop)).ok_or(Refusal::Drop(Drop::NoDestination))
    }
}

/// Whether no packet from or to `ip` may be routed. RFC 4291 2.5.6: "Routers must not forward any
/// packets with Link-Local source or destination addresses to other links." RFC 3927 2.7 says the
/// same of 169.254/16, where clouds keep the credentials of their machines. Groups and loopback
/// are nobody's to reach through a router either.
fn stays_on_its_link(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            ip.is_link_local() || ip.is_multicast() || ip.is_broadcast() || ip.is_loopback()
        }
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_multicast() || ip.is_loopback(),
    }
}

/// The instance's interface that a packet comes from, if it is declared.
fn sender(role: Role, walk: &Walk<'_>) -> Option<EniIx> {
    match role {
        Role::Resource(PortRole::Eni(eni)) => Some(eni),
        Role::Resource(PortRole::Segment(subnet)) => {
            let vpc = walk.snapshot.subnet(subnet).vpc;
            walk.snapshot.eni_at(vpc, walk.tuple.src.ip())
        }
        _ => None,
    }
}

/// A packet passes an interface, if the groups there let it. They are not asked again about a flow
/// that is tracked there.
fn pass(
    walk: &Walk<'_>,
    eni: EniIx,
    direction: TrafficDirection,
    course: &mut Course,
) -> Result<(), Refusal> {
    let passage = Passage { eni, direction, tuple: walk.tuple };
    course.passages.push(passage);
    let before = walk.prior.map(|prior| prior.tracking).unwrap_or_default();
    let (tracked, was_tracked) = match direction {
        TrafficDirection::Egress => (&mut course.tracking.source, before.source),
        TrafficDirection::Ingress => (&mut course.tracking.destination, before.destination),
    };
    *tracked = was_tracked
        || match walk.snapshot.admits(eni, direction, &walk.tuple) {
            Admission::Tracked => true,
            Admission::Untracked => false,
            Admission::Refused => {
                course.rejected = Some(passage);
                return Err(Refusal::Drop(Drop::SecurityGroup));
            }
        };
    Ok(())
}

/// In by an internet gateway: only public addresses are reached from outside.
fn arrive(walk: &mut Walk<'_>) -> Result<Place, Refusal> {
    let snapshot = walk.snapshot;
    let dst = walk.tuple.dst.ip();
    if let Some((eni, private)) = snapshot.public_address(dst) {
        // A function's addresses are public ones to it; an instance only knows its private one.
        if snapshot.eni(eni).owner == Owner::Instance {
            walk.tuple = walk.tuple.with_dst_ip(private);
        }
        return Ok(Place::Eni(eni));
    }
    let Some(eni) = public_interface(snapshot, dst) else {
        return Err(Refusal::Drop(Drop::Unsolicited));
    };
    // Nobody has asked for it to be reached, as for an Elastic IP address. So its answers must have
    // a way out by the internet gateway as well: a private subnet stays private.
    match snapshot.route(snapshot.eni(eni).subnet, walk.tuple.src.ip()) {
        Some(RouteTarget::InternetGateway(_)) => Ok(Place::Eni(eni)),
        _ => Err(Refusal::Drop(Drop::NoRoute)),
    }
}
