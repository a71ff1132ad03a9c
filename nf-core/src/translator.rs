//! Source translation with leased ports, for every function that hides many clients behind few
//! addresses: whose realm a flow belongs to, which address and port it leaves with, and what is
//! given back when it ends.
//!
//! Each gateway is a realm of its own, so tenants with the same addresses never take each other's
//! ports. A realm that the desired state no longer has keeps its leases until the last is back and
//! its quarantine over: if it is desired again sooner, it knows which ports still rest.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use slab::Slab;

use crate::flow::Timeouts;
use crate::lease::{AddressPool, LeaseKey, PoolId, Pooling, PortLease, PortLeases};
use crate::maglev::HashSeed;
use crate::pipeline::{Claim, FlowEnd, PortPool, Walk};
use crate::slots::Slots;
use crate::time::Time;
use crate::tuple::Tuple;
use crate::verdict::Drop;
use crate::vpc::Translation;

/// Pairs clients with addresses the same way on every node and in every run.
pub const PAIRED: Pooling =
    Pooling::Paired(HashSeed { k0: 0x6861_6c66_7370_6163, k1: 0x7061_6972_696e_6700 });

/// An address to translate to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct External {
    /// What the packet carries after this function.
    pub ip: IpAddr,
    /// What an internet gateway makes of it further on, if one does: the flow may be found under
    /// this address when it is taken over.
    pub public_ip: Option<IpAddr>,
}

/// What the desired state says of one realm.
#[derive(Clone, Debug)]
pub struct RealmConfig<'a, K> {
    /// Which.
    pub key: K,
    /// Its addresses, of both families.
    pub externals: Vec<External>,
    /// Which of them flows leave from.
    pub pooling: Pooling,
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
    /// Flows that ended by being idle.
    pub idle_timeouts_total: u64,
    /// Ports leased now.
    pub leases: usize,
    /// Ports in quarantine now.
    pub quarantined: usize,
    /// Ports set aside now for flows that the fast path makes.
    pub set_aside: usize,
}

/// Realms by key, and the claims of their flows.
pub struct SourceTranslator<K> {
    by_key: HashMap<K, usize, ahash::RandomState>,
    realms: Slab<Realm>,
    held: Slots<Held>,
    seed: u64,
}

struct Realm {
    /// Its addresses, by every address that a flow of it may be found under: themselves, and what
    /// an internet gateway makes of them.
    found_under: HashMap<IpAddr, IpAddr, ahash::RandomState>,
    v4: Option<AddressPool>,
    v6: Option<AddressPool>,
    leases: PortLeases,
    translation: Translation,
    /// The desired state no longer has it.
    retired: bool,
    usage: RealmUsage,
}

/// One for every flow: what the lease is for is the lease's own to know.
struct Held {
    lease: PortLease,
    realm: RealmNumber,
}

const _: () = assert!(Slots::<Held>::SIZE == 8, "a million flows feel every byte");

/// A place among the realms, counted from one: zero is the niche that marks vacant slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RealmNumber(NonZeroU16);

impl RealmNumber {
    /// `None` past the 65,535th.
    fn of_place(place: usize) -> Option<Self> {
        u16::try_from(place + 1).ok().and_then(NonZeroU16::new).map(Self)
    }

    fn place(self) -> usize {
        usize::from(self.0.get() - 1)
    }
}

impl<K: Eq + Hash + Clone> SourceTranslator<K> {
    /// No realms. `seed` decides every choice of a port.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            by_key: HashMap::with_hasher(ahash::RandomState::with_seeds(seed, 10, 11, 12)),
            realms: Slab::new(),
            held: Slots::new(),
            seed,
        }
    }

    /// Takes over what the desired state says. Leases that exist stay. There is room for 65,535
    /// realms, those counted that are gone but for their leases; further ones are as if the desired
    /// state did not have them until there is.
    pub fn configure<'a>(&mut self, configs: impl Iterator<Item = RealmConfig<'a, K>>)
    where
        K: 'a,
    {
        for (_, realm) in &mut self.realms {
            realm.retired = true;
        }
        for config in configs {
            match self.by_key.get(&config.key) {
                Some(at) => self.realms[*at].update(&config),
                None => self.add(config),
            }
        }
        self.drop_done();
    }

    fn add(&mut self, config: RealmConfig<'_, K>) {
        let entry = self.realms.vacant_entry();
        if RealmNumber::of_place(entry.key()).is_none() {
            return;
        }
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&(entry.key() as u64).to_le_bytes());
        let mut realm = Realm {
            found_under: HashMap::with_hasher(self.by_key.hasher().clone()),
            v4: None,
            v6: None,
            leases: PortLeases::new(config.translation.port_range, seed, 0),
            translation: config.translation.clone(),
            retired: false,
            usage: RealmUsage::default(),
        };
        realm.update(&config);
        self.by_key.insert(config.key, entry.key());
        entry.insert(realm);
    }

    fn drop_done(&mut self) {
        self.by_key.retain(|_, at| {
            let realm = &self.realms[*at];
            let leases = &realm.leases;
            let done =
                realm.retired && (leases.live(), leases.quarantined(), leases.aside()) == (0, 0, 0);
            if done {
                self.realms.remove(*at);
            }
            !done
        });
    }

    /// Translates the source of `walk`, with a lease of its own or the one that is `held`.
    ///
    /// # Errors
    /// [`Drop::NoDestination`] without such a realm, [`Drop::NoPublicAddress`] if it has no
    /// address of the packet's family, [`Drop::PortAllocation`] if no port is free or the one
    /// that is asked for is another flow's.
    pub fn translate(
        &mut self,
        walk: &mut Walk<'_>,
        key: &K,
        held: Option<Claim>,
    ) -> Result<Claim, Drop> {
        let at = *self.by_key.get(key).ok_or(Drop::NoDestination)?;
        if self.realms[at].retired {
            return Err(Drop::NoDestination);
        }
        if let Some(claim) = held {
            return self.keep(walk, at, claim);
        }
        let number = RealmNumber::of_place(at).ok_or(Drop::NoDestination)?;
        let realm = &mut self.realms[at];
        let (ip, lease) = match realm.lease(walk) {
            Ok(leased) => leased,
            Err(reason) => {
                // What is set aside is taken back then, and this is tried once more.
                if reason == Drop::PortAllocation && !realm.has_aside(walk) {
                    realm.usage.port_allocation_errors_total += 1;
                }
                return Err(reason);
            }
        };
        realm.usage.flows_total += 1;
        walk.tuple.src = SocketAddr::new(ip, lease.port());
        walk.timeouts = timeouts(&realm.translation);
        // It is not refused: four billion flows do not fit into any memory.
        self.held.insert(Held { lease, realm: number }).map(Claim).ok_or(Drop::PortAllocation)
    }

    /// The lease a flow has, if it still is what this realm would give.
    fn keep(&self, walk: &mut Walk<'_>, at: usize, claim: Claim) -> Result<Claim, Drop> {
        let held = self.held.get(claim.0).ok_or(Drop::NoDestination)?;
        let realm = &self.realms[at];
        if held.realm.place() != at {
            return Err(Drop::NoDestination);
        }
        let key = realm.leases.key(&held.lease).ok_or(Drop::NoDestination)?;
        let still_there = realm.found_under.get(&key.external_ip) == Some(&key.external_ip);
        if !still_there || key.destination != walk.tuple.dst {
            return Err(Drop::NoDestination);
        }
        walk.tuple.src = SocketAddr::new(key.external_ip, held.lease.port());
        walk.timeouts = timeouts(&realm.translation);
        Ok(claim)
    }

    /// Gives a flow's lease back.
    pub fn release(&mut self, now: Time, claim: Claim, end: FlowEnd) {
        let Some(held) = self.held.remove(claim.0) else { return };
        let realm = &mut self.realms[held.realm.place()];
        let quarantine = realm.quarantine(end);
        if end == FlowEnd::Idle {
            realm.usage.idle_timeouts_total += 1;
        }
        realm.leases.release(now, held.lease, quarantine);
    }

    /// How the realm of this claim translates.
    #[must_use]
    pub fn translation(&self, claim: Claim) -> Option<&Translation> {
        let held = self.held.get(claim.0)?;
        Some(&self.realms[held.realm.place()].translation)
    }

    /// The pool that the port of this claim is from.
    #[must_use]
    pub fn port_pool(&self, claim: Claim) -> Option<PortPool> {
        let held = self.held.get(claim.0)?;
        let realm = held.realm.place();
        let PoolId(pool) = self.realms[realm].leases.pool(&held.lease);
        Some(PortPool((realm as u64) << 32 | u64::from(pool)))
    }

    /// Sets up to `count` ports of a pool aside, to be claimed as what a prior asks for.
    pub fn set_aside(&mut self, now: Time, pool: PortPool, count: usize, ports: &mut Vec<u16>) {
        let (realm, pool) = split(pool);
        if let Some(realm) = self.realms.get_mut(realm).filter(|realm| !realm.retired) {
            realm.leases.set_aside(now, pool, count, ports);
        }
    }

    /// Takes back a port that was set aside and not claimed.
    pub fn take_back(&mut self, now: Time, pool: PortPool, port: u16, end: FlowEnd) {
        let (realm, pool) = split(pool);
        if let Some(realm) = self.realms.get_mut(realm) {
            let quarantine = realm.quarantine(end);
            realm.leases.take_back(now, pool, port, quarantine);
        }
    }

    /// Ends quarantines that are over, a bounded number of them.
    pub fn expire(&mut self, now: Time) {
        const AT_ONCE: usize = 256;
        for (_, realm) in &mut self.realms {
            realm.leases.expire(now, AT_ONCE);
        }
        self.drop_done();
    }

    /// What every realm of the desired state has done and holds.
    pub fn usage(&self) -> impl Iterator<Item = (&K, RealmUsage)> {
        self.by_key.iter().filter_map(|(key, at)| {
            let realm = &self.realms[*at];
            let leases = realm.leases.live();
            let quarantined = realm.leases.quarantined();
            let set_aside = realm.leases.aside();
            let usage = RealmUsage { leases, quarantined, set_aside, ..realm.usage };
            (!realm.retired).then_some((key, usage))
        })
    }

    /// Flows that hold a lease, in every realm, the retired ones included.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }
}

impl Realm {
    fn update<K>(&mut self, config: &RealmConfig<'_, K>) {
        let pool = |v4: bool| {
            let ips = config.externals.iter().map(|e| e.ip).filter(|ip| ip.is_ipv4() == v4);
            AddressPool::new(config.pooling, ips.collect()).ok()
        };
        self.v4 = pool(true);
        self.v6 = pool(false);
        self.found_under.clear();
        for external in &config.externals {
            self.found_under.insert(external.ip, external.ip);
            self.found_under.extend(external.public_ip.map(|public_ip| (public_ip, external.ip)));
        }
        self.translation = config.translation.clone();
        self.retired = false;
        self.leases.set_range(config.translation.port_range);
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

    /// Whether ports are set aside that this packet's flow could have.
    fn has_aside(&self, walk: &Walk<'_>) -> bool {
        let Tuple { protocol, dst: destination, .. } = walk.tuple;
        let mut ips = self.v4.iter().chain(&self.v6).flat_map(AddressPool::addresses);
        ips.any(|&external_ip| {
            self.leases.has_aside(&LeaseKey { protocol, external_ip, destination })
        })
    }

    /// A lease for a new flow, or exactly the one that a flow which is taken over had.
    fn lease(&mut self, walk: &Walk<'_>) -> Result<(IpAddr, PortLease), Drop> {
        let tuple = walk.tuple;
        if let Some(prior) = walk.prior {
            let was = prior.outcome.src;
            // Where the outcome has another function's address, that function came later, and what
            // this one chose was never seen on a wire: any port will do.
            if let Some(&external_ip) = self.found_under.get(&was.ip()) {
                let Tuple { protocol, dst: destination, .. } = tuple;
                let key = LeaseKey { protocol, external_ip, destination };
                let port = was.port();
                let lease = self.leases.acquire_exact(walk.now, key, port);
                return lease.map(|lease| (external_ip, lease)).map_err(|_| Drop::PortAllocation);
            }
        }
        let pool = if tuple.is_ipv4() { &self.v4 } else { &self.v6 };
        let pool = pool.as_ref().ok_or(Drop::NoPublicAddress)?;
        pool.acquire(&mut self.leases, walk.now, tuple.src.ip(), tuple.protocol, tuple.dst)
            .map_err(|_| Drop::PortAllocation)
    }
}

/// Realm and pool, as [`SourceTranslator::port_pool`] has put them together.
const fn split(PortPool(pool): PortPool) -> (usize, PoolId) {
    ((pool >> 32) as usize, PoolId(pool as u32))
}

fn timeouts(translation: &Translation) -> Timeouts {
    Timeouts {
        tcp_established: translation.tcp_idle_timeout,
        udp: translation.udp_idle_timeout,
        udp_stream: translation.udp_idle_timeout,
        icmp: translation.icmp_idle_timeout,
        ..Timeouts::default()
    }
}

#[cfg(test)]
mod tests;
