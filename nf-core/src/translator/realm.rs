//! One gateway: its addresses, the ports leased on them, and the rules by which a flow gets one.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use super::client::{ClientNumber, Clients, Crowds};
use super::holdings::{ClientHolding, DestinationHolding, Holdings, Refused, RefusedDestination};
use super::mapping::{Inside, MappingNumber, Mappings, lease_key};
use crate::fast_path::Metered;
use crate::flow::Timeouts;
use crate::lease::{AddressPool, LeaseKey, PoolId, Pooling, PortLease, PortLeases};
use crate::nat64::Nat64Prefix;
use crate::pipeline::{FlowEnd, MeterKey, Origin, Walk};
use crate::time::Time;
use crate::tuple::Protocol;
use crate::verdict::Drop;
use crate::vpc::{FilteringBehavior, Mapping, Translation};

/// An address to translate to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct External {
    /// What the packet carries after this function.
    pub ip: IpAddr,
    /// What an internet gateway makes of it further on, if one does: the flow may be found under
    /// this address when it is taken over, and the world knows it by that.
    pub public_ip: Option<IpAddr>,
    /// Whether it is on its way out: what leaves from it goes on, and nothing new does.
    pub is_draining: bool,
}

/// What the desired state says of one realm.
#[derive(Clone, Debug)]
pub struct RealmConfig<'a, K> {
    /// Which.
    pub key: K,
    /// Its addresses, of both families, the draining ones too.
    pub externals: Vec<External>,
    /// Which of them flows leave from.
    pub pooling: Pooling,
    /// What stands in front of an IPv4 sender's address where an IPv6 client is sent to.
    pub nat64_prefix: Option<Nat64Prefix>,
    /// What its traffic is counted as, if it is.
    pub meter: Option<MeterKey>,
    /// Its ports and idle times.
    pub translation: &'a Translation,
}

/// What a realm has done and holds, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RealmUsage {
    /// Flows translated so far, those taken over included.
    pub flows_total: u64,
    /// Flows refused because no port was free.
    pub port_allocation_errors_total: u64,
    /// Flows refused because their client had as many ports as it may have, or its share.
    pub client_limit_errors_total: u64,
    /// Flows that ended by being idle.
    pub idle_timeouts_total: u64,
    /// Ports leased now.
    pub leases: usize,
    /// Endpoint-independent mappings now.
    pub mappings: usize,
    /// Ports in quarantine now.
    pub quarantined: usize,
    /// Ports set aside now for flows that the fast path makes.
    pub set_aside: usize,
    /// Clients that hold a port now.
    pub clients: usize,
    /// TCP connections now, from the first SYN on.
    pub active_connections: u64,
    /// TCP connections that were attempted: first SYNs.
    pub connection_attempts_total: u64,
    /// SYNs that were answered by another.
    pub connections_established_total: u64,
    /// What was refused of what came from sources.
    pub dropped_from_source: Metered,
    /// What was refused of what came from destinations.
    pub dropped_from_destination: Metered,
}

/// A place among the realms, counted from one: zero is the niche that marks vacant slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RealmNumber(NonZeroU16);

impl RealmNumber {
    /// `None` past the 65,535th.
    pub(super) fn of_place(place: usize) -> Option<Self> {
        u16::try_from(place + 1).ok().and_then(NonZeroU16::new).map(Self)
    }

    pub(super) fn place(self) -> usize {
        usize::from(self.0.get() - 1)
    }
}

/// A mapping, and the other end of a flow of it.
pub(super) type Joined = (MappingNumber, IpAddr);

pub(super) struct Realm {
    externals: Vec<External>,
    /// Its addresses, by every address that a flow of it may be found under: themselves, and what
    /// an internet gateway makes of them.
    found_under: HashMap<IpAddr, IpAddr, ahash::RandomState>,
    v4: Option<AddressPool>,
    v6: Option<AddressPool>,
    leases: PortLeases,
    mappings: Mappings,
    clients: Clients,
    crowds: Crowds,
    refused: Refused,
    nat64_prefix: Option<Nat64Prefix>,
    meter: Option<MeterKey>,
    translation: Translation,
    /// The desired state no longer has it.
    retired: bool,
    pub(super) usage: RealmUsage,
}

impl Realm {
    pub(super) fn new<K>(
        config: &RealmConfig<'_, K>,
        seed: [u8; 32],
        hasher: &ahash::RandomState,
    ) -> Self {
        let mut realm = Self {
            externals: Vec::new(),
            found_under: HashMap::with_hasher(hasher.clone()),
            v4: None,
            v6: None,
            leases: PortLeases::new(config.translation.port_range, seed, 0),
            mappings: Mappings::new(hasher),
            clients: Clients::new(hasher.clone()),
            crowds: Crowds::new(hasher.clone()),
            refused: Refused::new(hasher.clone()),
            nat64_prefix: config.nat64_prefix,
            meter: config.meter,
            translation: config.translation.clone(),
            retired: false,
            usage: RealmUsage::default(),
        };
        realm.update(config);
        realm
    }

    pub(super) fn update<K>(&mut self, config: &RealmConfig<'_, K>) {
        let pool = |v4: bool| {
            let lasting = config.externals.iter().filter(|external| !external.is_draining);
            let ips = lasting.map(|external| external.ip).filter(|ip| ip.is_ipv4() == v4);
            AddressPool::new(config.pooling, ips.collect()).ok()
        };
        self.v4 = pool(true);
        self.v6 = pool(false);
        self.found_under.clear();
        for external in &config.externals {
            self.found_under.insert(external.ip, external.ip);
            self.found_under.extend(external.public_ip.map(|public_ip| (public_ip, external.ip)));
        }
        self.externals.clone_from(&config.externals);
        self.nat64_prefix = config.nat64_prefix;
        self.meter = config.meter;
        self.translation = config.translation.clone();
        self.retired = false;
        self.leases.set_range(config.translation.port_range);
    }

    pub(super) const fn retire(&mut self) {
        self.retired = true;
    }

    pub(super) const fn is_retired(&self) -> bool {
        self.retired
    }

    /// Whether nobody needs it any more.
    pub(super) fn is_done(&self) -> bool {
        let leases = &self.leases;
        self.retired && (leases.live(), leases.quarantined(), leases.aside()) == (0, 0, 0)
    }

    pub(super) const fn mapping(&self) -> Mapping {
        self.translation.mapping
    }

    pub(super) const fn translation(&self) -> &Translation {
        &self.translation
    }

    pub(super) const fn timeouts(&self) -> Timeouts {
        self.translation.timeouts
    }

    /// A lease for a flow alone, with the address and port that the flow leaves with.
    pub(super) fn lease_for_flow(
        &mut self,
        walk: &Walk<'_>,
    ) -> Result<(SocketAddr, PortLease, ClientNumber), Drop> {
        let destination = walk.tuple.dst;
        let key = |protocol, external_ip| LeaseKey { protocol, external_ip, destination };
        self.lease(walk, key)
    }

    /// The mapping of a flow's source, made if there is none; the flow joins it, and its source is
    /// translated.
    pub(super) fn map_source(&mut self, walk: &mut Walk<'_>) -> Result<Joined, Drop> {
        let mapping = self.mapping_of_source(walk)?;
        let peer = walk.tuple.dst.ip();
        if self.remap(walk, Some(mapping), None).is_none() {
            self.discard_unused(walk.now, mapping);
            return Err(Drop::PortAllocation);
        }
        self.mappings.join(mapping, peer);
        Ok((mapping, peer))
    }

    fn mapping_of_source(&mut self, walk: &Walk<'_>) -> Result<MappingNumber, Drop> {
        let inside = Inside {
            protocol: walk.tuple.protocol,
            client: walk.tuple.src,
            to_ipv4: walk.tuple.dst.is_ipv4(),
        };
        let current = self.mappings.of_inside(&inside).filter(|it| self.is_current(*it));
        match (self.outcome_was(walk), current) {
            (None, Some(current)) => return Ok(current),
            // If there is one on an address on its way out, new flows have another.
            (None, None) => {}
            // A flow that is taken over goes on with what it had, or not at all.
            (Some(was), current) => {
                if let Some(had) = self.mappings.of_outside(inside.protocol, was) {
                    let is_same = self.mappings.get(had).is_some_and(|it| it.inside == inside);
                    return is_same.then_some(had).ok_or(Drop::PortAllocation);
                }
                if current.is_some() && self.gives(was.ip()) {
                    return Err(Drop::PortAllocation);
                }
            }
        }
        let (external, lease, owner) = self.lease(walk, lease_key)?;
        Ok(self.add_mapping(inside, external, lease, owner))
    }

    /// Whether a mapping is what new flows of its client leave by.
    fn is_current(&self, mapping: MappingNumber) -> bool {
        self.mappings.get(mapping).is_some_and(|mapping| self.gives(mapping.external.ip()))
    }

    /// Adds a mapping. On an address on its way out, it is one that is taken over, and does not take
    /// the place of its successor.
    fn add_mapping(
        &mut self,
        inside: Inside,
        external: SocketAddr,
        lease: PortLease,
        owner: ClientNumber,
    ) -> MappingNumber {
        let is_current = self.gives(external.ip());
        self.mappings.add(inside, external, lease, owner, is_current)
    }

    /// The mapping that a flow's destination stands for, if it wants to hear from its source; with
    /// the source's own, if that is a client of this realm as well. The flow joins both, and is
    /// translated.
    pub(super) fn map_destination(
        &mut self,
        walk: &mut Walk<'_>,
        is_client: bool,
    ) -> Result<(Joined, Option<Joined>), Drop> {
        let filtering = match (self.translation.mapping, walk.prior) {
            (Mapping::EndpointIndependent(filtering), None) => Some(filtering),
            (Mapping::Symmetric, None) => return Err(Drop::Unsolicited),
            // It was let in once, under whatever mode.
            (_, Some(_)) => None,
        };
        let to = self.mapping_of_destination(walk)?;
        let from = if is_client {
            let from = self.mapping_of_source(walk);
            Some(from.inspect_err(|_| self.discard_unused(walk.now, to))?)
        } else {
            None
        };
        let from_ip = from.and_then(|it| self.mappings.get(it)).map(|it| it.external.ip());
        let sender = from_ip.map_or(walk.tuple.src.ip(), |ip| self.seen_as(ip));
        let receiver = walk.tuple.dst.ip();
        let may_send = filtering != Some(FilteringBehavior::AddressDependent)
            || self.mappings.knows(to, sender);
        if !may_send || self.remap(walk, from, Some(to)).is_none() {
            for mapping in from.into_iter().chain([to]) {
                self.discard_unused(walk.now, mapping);
            }
            return Err(Drop::Unsolicited);
        }
        self.mappings.join(to, sender);
        if let Some(from) = from {
            self.mappings.join(from, receiver);
        }
        Ok(((to, sender), from.map(|from| (from, receiver))))
    }

    fn mapping_of_destination(&mut self, walk: &Walk<'_>) -> Result<MappingNumber, Drop> {
        let protocol = walk.tuple.protocol;
        if !matches!(protocol, Protocol::Tcp | Protocol::Udp) {
            return Err(Drop::Unsolicited);
        }
        let dst = walk.tuple.dst;
        let external_ip = *self.found_under.get(&dst.ip()).ok_or(Drop::Unsolicited)?;
        let external = SocketAddr::new(external_ip, dst.port());
        let known = self.mappings.of_outside(protocol, external);
        let Some(prior) = walk.prior else {
            return known.ok_or(Drop::Unsolicited);
        };
        // A flow that is taken over may be the only one that is left of its mapping.
        let client = prior.outcome.dst;
        if let Some(mapping) = known {
            let is_same =
                self.mappings.get(mapping).is_some_and(|mapping| mapping.inside.client == client);
            return is_same.then_some(mapping).ok_or(Drop::Unsolicited);
        }
        let inside = Inside { protocol, client, to_ipv4: dst.is_ipv4() };
        // The port that the client is behind is not known: it counts as one of its own.
        let origin = walk.origin.map(|origin| Origin { ip: client.ip(), ..origin });
        let origin = origin.ok_or(Drop::Unsolicited)?;
        let key = lease_key(protocol, external_ip);
        let lease = self.leases.acquire_exact(walk.now, key, external.port());
        let lease = lease.map_err(|_| Drop::PortAllocation)?;
        let owner = self.count_in(origin, &lease);
        Ok(self.add_mapping(inside, external, lease, owner))
    }

    /// Takes back a mapping that was made for a flow which then could not be.
    fn discard_unused(&mut self, now: Time, mapping: MappingNumber) {
        if let Some(unused) = self.mappings.remove_unused(mapping) {
            self.give_back(now, unused.lease, unused.owner, FlowEnd::Refused);
        }
    }

    /// Translates by mappings that a flow has joined. `None` if they are no longer right for it.
    pub(super) fn remap(
        &self,
        walk: &mut Walk<'_>,
        from: Option<MappingNumber>,
        to: Option<MappingNumber>,
    ) -> Option<()> {
        let mut tuple = walk.tuple;
        if let Some(from) = from {
            let mapping = self.mappings.get(from)?;
            let external = mapping.external;
            if mapping.inside.client != tuple.src || !self.has_address(external.ip()) {
                return None;
            }
            // Whoever is inside as well knows the sender by what the world knows it by.
            let ip = if to.is_some() { self.seen_as(external.ip()) } else { external.ip() };
            tuple.src = SocketAddr::new(ip, external.port());
        }
        if let Some(to) = to {
            let mapping = self.mappings.get(to)?;
            let ip = *self.found_under.get(&tuple.dst.ip())?;
            if mapping.external != SocketAddr::new(ip, tuple.dst.port()) {
                return None;
            }
            tuple.dst = mapping.inside.client;
            tuple.src = self.as_its_family(tuple.src, tuple.dst)?;
        }
        walk.tuple = tuple;
        Some(())
    }

    /// A sender as whoever it sends to knows it: RFC 6146 section 3.5.1.1 has an IPv4 address stand in
    /// an IPv6 one for a client that has no other. `None` if they have no family in common.
    fn as_its_family(&self, sender: SocketAddr, receiver: SocketAddr) -> Option<SocketAddr> {
        match (sender.ip(), receiver.ip()) {
            (IpAddr::V4(ip), IpAddr::V6(_)) => {
                Some(SocketAddr::new(self.nat64_prefix?.embed(ip).into(), sender.port()))
            }
            (IpAddr::V6(_), IpAddr::V4(_)) => None,
            _ => Some(sender),
        }
    }

    /// What a lease's flow leaves with, if that still is an address of this realm and the lease is
    /// for this destination.
    pub(super) fn external_of(
        &self,
        lease: &PortLease,
        destination: SocketAddr,
    ) -> Option<SocketAddr> {
        let key = self.leases.key(lease)?;
        let is_right = self.has_address(key.external_ip) && key.destination == destination;
        is_right.then(|| SocketAddr::new(key.external_ip, lease.port()))
    }

    /// Whether new flows may leave from one of its addresses.
    fn gives(&self, ip: IpAddr) -> bool {
        self.v4.iter().chain(&self.v6).any(|pool| pool.addresses().contains(&ip))
    }

    fn has_address(&self, ip: IpAddr) -> bool {
        self.found_under.get(&ip) == Some(&ip)
    }

    /// What the world knows one of its addresses by.
    fn seen_as(&self, ip: IpAddr) -> IpAddr {
        let external = self.externals.iter().find(|external| external.ip == ip);
        external.and_then(|external| external.public_ip).unwrap_or(ip)
    }

    /// What a flow that is taken over left with, if that was this realm's doing. Where the outcome
    /// has another function's address, that function came later, and what this one chose was never
    /// seen on a wire: any port will do.
    fn outcome_was(&self, walk: &Walk<'_>) -> Option<SocketAddr> {
        let was = walk.prior?.outcome.src;
        let embedded = match (was.ip(), self.nat64_prefix) {
            (IpAddr::V6(ip), Some(prefix)) => prefix.extract(ip).map(IpAddr::V4),
            _ => None,
        };
        let external_ip = self.found_under.get(&embedded.unwrap_or(was.ip()))?;
        Some(SocketAddr::new(*external_ip, was.port()))
    }

    /// A lease, for whoever opens the flow: a new one, or exactly the one that a flow which is taken
    /// over had.
    fn lease(
        &mut self,
        walk: &Walk<'_>,
        key: impl Fn(Protocol, IpAddr) -> LeaseKey,
    ) -> Result<(SocketAddr, PortLease, ClientNumber), Drop> {
        let origin = walk.origin.ok_or(Drop::NoDestination)?;
        let protocol = walk.tuple.protocol;
        if let Some(was) = self.outcome_was(walk) {
            let key = key(protocol, was.ip());
            let lease = self.leases.acquire_exact(walk.now, key, was.port());
            let lease = lease.map_err(|_| Drop::PortAllocation)?;
            let client = self.count_in(origin, &lease);
            return Ok((was, lease, client));
        }
        let result = self.new_lease(walk, origin, |ip| key(protocol, ip));
        let (external_ip, lease) = result.inspect_err(|reason| match reason {
            // What is set aside is taken back then, and this is tried once more.
            Drop::PortAllocation if !self.has_aside(|ip| key(protocol, ip)) => {
                self.usage.port_allocation_errors_total += 1;
                self.refused.count(protocol, walk.tuple.dst);
            }
            Drop::ClientQuota | Drop::FairShare => {
                self.usage.client_limit_errors_total += 1;
                self.refused.count(protocol, walk.tuple.dst);
            }
            _ => {}
        })?;
        let client = self.count_in(origin, &lease);
        Ok((SocketAddr::new(external_ip, lease.port()), lease, client))
    }

    fn new_lease(
        &mut self,
        walk: &Walk<'_>,
        origin: Origin,
        key: impl Fn(IpAddr) -> LeaseKey,
    ) -> Result<(IpAddr, PortLease), Drop> {
        if let Some(most) = self.translation.max_ports_per_client
            && self.clients.ports(&origin) >= most
        {
            return Err(Drop::ClientQuota);
        }
        let Self { v4, v6, leases, clients, crowds, .. } = self;
        let pool = if walk.tuple.dst.is_ipv4() { v4 } else { v6 };
        let pool = pool.as_ref().ok_or(Drop::NoPublicAddress)?;
        pool.lease_from(walk.tuple.src.ip(), |external_ip| {
            let lease = leases.acquire(walk.now, key(external_ip));
            let lease = lease.map_err(|_| Drop::PortAllocation)?;
            let pool = leases.pool(&lease);
            if leases.taken(pool) > for_everybody(leases)
                && crowds.is_over_its_share(pool, clients.number(&origin), clients.len())
            {
                leases.release(walk.now, lease, Duration::ZERO);
                return Err(Drop::FairShare);
            }
            Ok((external_ip, lease))
        })
    }

    /// Counts a lease as a client's.
    fn count_in(&mut self, origin: Origin, lease: &PortLease) -> ClientNumber {
        let client = self.clients.take(origin);
        let pool = self.leases.pool(lease);
        self.crowds.take(pool, client, self.leases.taken(pool));
        client
    }

    /// Takes a lease back from a client.
    pub(super) fn give_back(
        &mut self,
        now: Time,
        lease: PortLease,
        client: ClientNumber,
        end: FlowEnd,
    ) {
        self.crowds.give_back(self.leases.pool(&lease), client);
        self.clients.give_back(client);
        self.leases.release(now, lease, self.quarantine(end));
    }

    /// A flow leaves a mapping.
    pub(super) fn part(&mut self, now: Time, mapping: MappingNumber, peer: IpAddr, end: FlowEnd) {
        let Some(over) = self.mappings.part(mapping, peer) else { return };
        // Peers were told of the port, and may go on sending to it whatever the last flow's end was.
        let end = if end == FlowEnd::Closed { FlowEnd::Idle } else { end };
        self.give_back(now, over.lease, over.owner, end);
    }

    /// What its traffic is counted as.
    pub(super) const fn meter(&self) -> Option<MeterKey> {
        self.meter
    }

    /// The protocol of a flow with this lease.
    pub(super) fn protocol_of(&self, lease: &PortLease) -> Option<Protocol> {
        self.leases.protocol(lease)
    }

    /// The protocol of the flows of a mapping.
    pub(super) fn protocol_of_mapping(&self, mapping: MappingNumber) -> Option<Protocol> {
        self.mappings.get(mapping).map(|mapping| mapping.inside.protocol)
    }

    /// Counts a flow that begins, or is taken over.
    pub(super) fn count_beginning(&mut self, walk: &Walk<'_>) {
        self.usage.flows_total += 1;
        if walk.tuple.protocol == Protocol::Tcp {
            self.usage.active_connections += 1;
            if walk.prior.is_none_or(|prior| prior.is_new) {
                self.usage.connection_attempts_total += 1;
            }
        }
    }

    /// Counts a flow that ends.
    pub(super) fn count_end(&mut self, protocol: Option<Protocol>, end: FlowEnd) {
        if end == FlowEnd::Idle {
            self.usage.idle_timeouts_total += 1;
        }
        if protocol == Some(Protocol::Tcp) {
            self.usage.active_connections -= 1;
        }
    }

    /// How long the port of a flow that ends this way rests. Nothing was ever sent from a refused
    /// flow's port, and TIME-WAIT has already kept that of a closed one from late packets.
    const fn quarantine(&self, end: FlowEnd) -> Duration {
        match end {
            FlowEnd::Refused | FlowEnd::Closed => Duration::ZERO,
            FlowEnd::Idle | FlowEnd::Reopened | FlowEnd::Policy | FlowEnd::PortGone => {
                self.translation.port_quarantine
            }
        }
    }

    /// Whether ports are set aside that a flow with such a key could have.
    fn has_aside(&self, key: impl Fn(IpAddr) -> LeaseKey) -> bool {
        let mut ips = self.v4.iter().chain(&self.v6).flat_map(AddressPool::addresses);
        ips.any(|&external_ip| self.leases.has_aside(&key(external_ip)))
    }

    /// The pool of a lease, if the fast path may take from it by itself.
    pub(super) fn pool_for_templates(&self, lease: &PortLease) -> Option<PoolId> {
        let pool = self.leases.pool(lease);
        let is_free_to_all = self.translation.max_ports_per_client.is_none();
        let key = self.leases.key_of(pool)?;
        (is_free_to_all && self.gives(key.external_ip)).then_some(pool)
    }

    /// Sets ports aside, as long as nobody has to be asked whether it may have one.
    pub(super) fn set_aside(
        &mut self,
        now: Time,
        pool: PoolId,
        count: usize,
        ports: &mut Vec<u16>,
    ) {
        let left = for_everybody(&self.leases).saturating_sub(self.leases.taken(pool));
        self.leases.set_aside(now, pool, count.min(left as usize), ports);
    }

    pub(super) fn take_back(&mut self, now: Time, pool: PoolId, port: u16, end: FlowEnd) {
        let quarantine = self.quarantine(end);
        self.leases.take_back(now, pool, port, quarantine);
    }

    pub(super) fn expire(&mut self, now: Time) {
        const AT_ONCE: usize = 256;
        self.leases.expire(now, AT_ONCE);
    }

    pub(super) fn usage(&self) -> RealmUsage {
        RealmUsage {
            leases: self.leases.live(),
            mappings: self.mappings.len(),
            quarantined: self.leases.quarantined(),
            set_aside: self.leases.aside(),
            clients: self.clients.len(),
            ..self.usage
        }
    }

    pub(super) fn refused(&self) -> Vec<RefusedDestination> {
        self.refused.all()
    }

    /// The biggest holders.
    pub(super) fn holdings(&self, most: usize) -> Holdings {
        let clients = self.clients.iter().map(|(client, ports)| ClientHolding { client, ports });
        let clients = biggest(clients, most, |it| (it.ports, it.client));
        let destinations = biggest(self.leases.pools(), most, |(pool, ports)| (*ports, pool.0));
        let destinations = destinations.into_iter().filter_map(|(pool, ports)| {
            let LeaseKey { protocol, external_ip, destination } = self.leases.key_of(pool)?;
            let biggest = self.crowds.of(pool).max_by_key(|&(client, held)| (held, client));
            let biggest = biggest.and_then(|(client, ports)| {
                Some(ClientHolding { client: self.clients.origin(client)?, ports })
            });
            Some(DestinationHolding { protocol, external_ip, destination, ports, biggest })
        });
        let destinations = destinations.collect();
        Holdings { clients, destinations }
    }
}

/// How many ports of a pool anyone may have: seven of eight. The last ones are for those who hold
/// less than their share. AWS promises 55,000 of 64,512, which is less. Where there are so few ports
/// that nobody counts who has them, it is all.
fn for_everybody(leases: &PortLeases) -> u32 {
    let all = leases.range().count();
    if all > Crowds::FROM { all - all / 8 } else { all }
}

/// Those with the biggest keys, the biggest first. No two have the same key.
fn biggest<T, K: Ord>(all: impl Iterator<Item = T>, most: usize, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut kept = BTreeMap::new();
    for it in all {
        let key = key(&it);
        if kept.len() < most {
            kept.insert(key, it);
        } else if kept.first_key_value().is_some_and(|(least, _)| *least < key) {
            kept.pop_first();
            kept.insert(key, it);
        }
    }
    kept.into_values().rev().collect()
}
