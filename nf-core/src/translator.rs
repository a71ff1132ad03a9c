//! Source translation with leased ports, for every function that hides many clients behind few
//! addresses: whose realm a flow belongs to, which address and port it leaves with, and what is
//! given back when it ends.
//!
//! Each gateway is a realm of its own, so tenants with the same addresses never take each other's
//! ports. A realm that the desired state no longer has keeps its leases until the last is back and
//! its quarantine over: if it is desired again sooner, it knows which ports still rest.
//!
//! | file | idea |
//! | --- | --- |
//! | `realm` | the addresses and ports of one gateway, and how it gives them |
//! | `mapping` | endpoint-independent mappings, which flows share |
//! | `client` | who holds how many ports, and may have more |
//! | `holdings` | what is told of that: the biggest holders, and where ports ran out |

mod client;
mod holdings;
mod mapping;
mod realm;

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use slab::Slab;

use crate::fast_path::Metered;
use crate::lease::{PoolId, Pooling, PortLease};
use crate::maglev::HashSeed;
use crate::pipeline::{Claim, FlowEnd, MeteredAs, PortPool, Walk};
use crate::slots::Slots;
use crate::time::Time;
use crate::verdict::Drop;
use crate::vpc::{Mapping, Translation};

pub use holdings::{ClientHolding, DestinationHolding, Holdings, RefusedDestination};
pub use realm::{External, RealmConfig, RealmUsage};

use client::ClientNumber;
use mapping::MappingNumber;
use realm::{Realm, RealmNumber};

/// Pairs clients with addresses the same way on every node and in every run.
pub const PAIRED: Pooling =
    Pooling::Paired(HashSeed { k0: 0x6861_6c66_7370_6163, k1: 0x7061_6972_696e_6700 });

/// Realms by key, and the claims of their flows.
pub struct SourceTranslator<K> {
    by_key: HashMap<K, usize, ahash::RandomState>,
    realms: Slab<Realm>,
    /// Flows with a lease of their own.
    alone: Slots<Alone>,
    /// Flows that share mappings.
    shared: Slots<Shared>,
    seed: u64,
}

/// What a flow with a lease of its own holds: what the lease is for is the lease's own to know.
// Without padding: a million flows feel every byte.
#[repr(Rust, packed(2))]
struct Alone {
    lease: PortLease,
    realm: RealmNumber,
    client: ClientNumber,
}

const _: () = assert!(Slots::<Alone>::SIZE == 12, "a million flows feel every byte");

/// What a flow of an endpoint-independent realm holds.
struct Shared {
    realm: RealmNumber,
    /// Its source's mapping, and whom it sends to.
    from: Option<(MappingNumber, IpAddr)>,
    /// Its destination's mapping, and who sends to it.
    to: Option<(MappingNumber, IpAddr)>,
}

/// In a claim's number: it is one of [`SourceTranslator::shared`]. There are fewer flows than that.
const SHARED: u32 = 1 << 31;

impl<K: Eq + Hash + Clone> SourceTranslator<K> {
    /// No realms. `seed` decides every choice of a port.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            by_key: HashMap::with_hasher(ahash::RandomState::with_seeds(seed, 10, 11, 12)),
            realms: Slab::new(),
            alone: Slots::new(),
            shared: Slots::new(),
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
            realm.retire();
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
        let realm = Realm::new(&config, seed, self.by_key.hasher());
        self.by_key.insert(config.key, entry.key());
        entry.insert(realm);
    }

    fn drop_done(&mut self) {
        self.by_key.retain(|_, at| {
            let done = self.realms[*at].is_done();
            if done {
                self.realms.remove(*at);
            }
            !done
        });
    }

    /// The realm of this key and its number, if the desired state has it.
    fn realm(&mut self, key: &K) -> Result<(RealmNumber, &mut Realm), Drop> {
        let at = *self.by_key.get(key).ok_or(Drop::NoDestination)?;
        let number = RealmNumber::of_place(at).ok_or(Drop::NoDestination)?;
        let realm = &mut self.realms[at];
        if realm.is_retired() { Err(Drop::NoDestination) } else { Ok((number, realm)) }
    }

    /// Translates the source of `walk`, with a lease of its own or the one that is `held`.
    ///
    /// # Errors
    /// [`Drop::NoDestination`] without such a realm, [`Drop::NoPublicAddress`] if it has no
    /// address of the packet's family, [`Drop::PortAllocation`] if no port is free or the one
    /// that is asked for is another flow's, [`Drop::ClientQuota`] and [`Drop::FairShare`] if the
    /// client has as many as it may.
    pub fn translate(
        &mut self,
        walk: &mut Walk<'_>,
        key: &K,
        held: Option<Claim>,
    ) -> Result<Claim, Drop> {
        if let Some(claim) = held {
            return self.keep(walk, key, claim);
        }
        let (number, realm) = self.realm(key)?;
        let joined = match (realm.mapping(), walk.prior) {
            (Mapping::Symmetric, _) => None,
            (Mapping::EndpointIndependent(_), None) => Some(realm.map_source(walk)?),
            // A flow that is taken over may be from before the gateway was of this mode.
            (Mapping::EndpointIndependent(_), Some(_)) => realm.map_source(walk).ok(),
        };
        let claim = if let Some(from) = joined {
            let shared = Shared { realm: number, from: Some(from), to: None };
            self.shared.insert(shared).map(|place| place | SHARED)
        } else {
            let (external, lease, client) = realm.lease_for_flow(walk)?;
            walk.tuple.src = external;
            self.alone.insert(Alone { lease, realm: number, client })
        };
        self.set_up(walk, number, claim)
    }

    /// Translates the destination of `walk`, an external address of an endpoint-independent realm,
    /// to whom it stands for. If the packet comes from a client of the realm itself, its source is
    /// translated as well: RFC 4787 REQ-9, "A NAT MUST support 'Hairpinning'", with "an external
    /// source IP address and port".
    ///
    /// # Errors
    /// [`Drop::Unsolicited`] if the address stands for nobody, or nobody who wants to hear from
    /// this sender; those of [`Self::translate`].
    pub fn translate_back(
        &mut self,
        walk: &mut Walk<'_>,
        key: &K,
        is_client: bool,
        held: Option<Claim>,
    ) -> Result<Claim, Drop> {
        if let Some(claim) = held {
            return self.keep(walk, key, claim);
        }
        let (number, realm) = self.realm(key)?;
        let (to, from) = realm.map_destination(walk, is_client)?;
        let shared = Shared { realm: number, from, to: Some(to) };
        let claim = self.shared.insert(shared).map(|place| place | SHARED);
        self.set_up(walk, number, claim)
    }

    fn set_up(
        &mut self,
        walk: &mut Walk<'_>,
        number: RealmNumber,
        claim: Option<u32>,
    ) -> Result<Claim, Drop> {
        let realm = &mut self.realms[number.place()];
        realm.count_beginning(walk);
        walk.timeouts = realm.timeouts();
        // It is not refused: two billion flows do not fit into any memory.
        claim.map(Claim).ok_or(Drop::PortAllocation)
    }

    /// What a flow has, if it still is what this realm would give.
    fn keep(&mut self, walk: &mut Walk<'_>, key: &K, claim: Claim) -> Result<Claim, Drop> {
        let (number, _) = self.realm(key)?;
        let realm = &self.realms[number.place()];
        if claim.0 & SHARED == 0 {
            let held = self.alone.get(claim.0).ok_or(Drop::NoDestination)?;
            if held.realm != number {
                return Err(Drop::NoDestination);
            }
            let lease = &held.lease;
            walk.tuple.src = realm.external_of(lease, walk.tuple.dst).ok_or(Drop::NoDestination)?;
        } else {
            let held = self.shared.get(claim.0 & !SHARED).ok_or(Drop::NoDestination)?;
            if held.realm != number {
                return Err(Drop::NoDestination);
            }
            let (from, to) = (held.from.map(|(it, _)| it), held.to.map(|(it, _)| it));
            realm.remap(walk, from, to).ok_or(Drop::NoDestination)?;
        }
        walk.timeouts = realm.timeouts();
        Ok(claim)
    }

    /// Gives back what a flow held.
    pub fn release(&mut self, now: Time, claim: Claim, end: FlowEnd) {
        if claim.0 & SHARED == 0 {
            let Some(Alone { lease, realm, client }) = self.alone.remove(claim.0) else { return };
            let realm = &mut self.realms[realm.place()];
            realm.count_end(realm.protocol_of(&lease), end);
            realm.give_back(now, lease, client, end);
            return;
        }
        let Some(held) = self.shared.remove(claim.0 & !SHARED) else { return };
        let realm = &mut self.realms[held.realm.place()];
        let mappings = held.from.into_iter().chain(held.to);
        let protocol = mappings.clone().find_map(|(it, _)| realm.protocol_of_mapping(it));
        realm.count_end(protocol, end);
        for (mapping, peer) in mappings {
            realm.part(now, mapping, peer, end);
        }
    }

    /// How the realm of this claim translates.
    #[must_use]
    pub fn translation(&self, claim: Claim) -> Option<&Translation> {
        Some(self.realms[self.realm_of(claim)?.place()].translation())
    }

    fn realm_of(&self, claim: Claim) -> Option<RealmNumber> {
        if claim.0 & SHARED == 0 {
            self.alone.get(claim.0).map(|held| held.realm)
        } else {
            self.shared.get(claim.0 & !SHARED).map(|held| held.realm)
        }
    }

    /// What the traffic of a flow is counted as.
    #[must_use]
    pub fn metered_as(&self, claim: Claim) -> Option<MeteredAs> {
        let key = self.realms[self.realm_of(claim)?.place()].meter()?;
        let from_destination = claim.0 & SHARED != 0
            && self.shared.get(claim.0 & !SHARED).is_some_and(|held| held.from.is_none());
        Some(MeteredAs { key, from_destination })
    }

    /// Counts a TCP connection that was answered.
    pub fn answered(&mut self, claim: Claim) {
        if let Some(realm) = self.realm_of(claim) {
            self.realms[realm.place()].usage.connections_established_total += 1;
        }
    }

    /// Counts a packet that was refused, from the side of destinations or that of sources.
    pub fn refused_packet(&mut self, key: &K, from_destination: bool, seen: Metered) {
        let Ok((_, realm)) = self.realm(key) else { return };
        if from_destination {
            realm.usage.dropped_from_destination += seen;
        } else {
            realm.usage.dropped_from_source += seen;
        }
    }

    /// The pool that the port of this claim is from, if the fast path may make flows with others of
    /// it: not where it has to be asked who the client is.
    #[must_use]
    pub fn port_pool(&self, claim: Claim) -> Option<PortPool> {
        let held = self.alone.get(claim.0).filter(|_| claim.0 & SHARED == 0)?;
        let place = held.realm.place();
        let PoolId(pool) = self.realms[place].pool_for_templates(&held.lease)?;
        Some(PortPool((place as u64) << 32 | u64::from(pool)))
    }

    /// Sets up to `count` ports of a pool aside, to be claimed as what a prior asks for.
    pub fn set_aside(&mut self, now: Time, pool: PortPool, count: usize, ports: &mut Vec<u16>) {
        let (realm, pool) = split(pool);
        if let Some(realm) = self.realms.get_mut(realm).filter(|realm| !realm.is_retired()) {
            realm.set_aside(now, pool, count, ports);
        }
    }

    /// Takes back a port that was set aside and not claimed.
    pub fn take_back(&mut self, now: Time, pool: PortPool, port: u16, end: FlowEnd) {
        let (realm, pool) = split(pool);
        if let Some(realm) = self.realms.get_mut(realm) {
            realm.take_back(now, pool, port, end);
        }
    }

    /// Ends quarantines that are over, a bounded number of them.
    pub fn expire(&mut self, now: Time) {
        for (_, realm) in &mut self.realms {
            realm.expire(now);
        }
        self.drop_done();
    }

    /// What every realm of the desired state has done and holds.
    pub fn usage(&self) -> impl Iterator<Item = (&K, RealmUsage)> {
        self.desired().map(|(key, realm)| (key, realm.usage()))
    }

    /// Who holds the most ports in every realm of the desired state, at most `most` of each kind.
    pub fn holdings(&self, most: usize) -> impl Iterator<Item = (&K, Holdings)> {
        self.desired().map(move |(key, realm)| (key, realm.holdings(most)))
    }

    /// The destinations toward which ports ran out, in every realm of the desired state.
    pub fn refused(&self) -> impl Iterator<Item = (&K, Vec<RefusedDestination>)> {
        self.desired().map(|(key, realm)| (key, realm.refused()))
    }

    fn desired(&self) -> impl Iterator<Item = (&K, &Realm)> {
        let all = self.by_key.iter().map(|(key, at)| (key, &self.realms[*at]));
        all.filter(|(_, realm)| !realm.is_retired())
    }

    /// Flows that hold a lease, in every realm, the retired ones included.
    #[must_use]
    pub fn held(&self) -> usize {
        self.alone.len() + self.shared.len()
    }
}

/// Realm and pool, as [`SourceTranslator::port_pool`] has put them together.
const fn split(PortPool(pool): PortPool) -> (usize, PoolId) {
    ((pool >> 32) as usize, PoolId(pool as u32))
}

#[cfg(test)]
mod tests;
