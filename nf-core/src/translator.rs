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
use crate::lease::{AddressPool, LeaseKey, PoolId, PortLease, PortLeases};
use crate::maglev::HashSeed;
use crate::pipeline::{Claim, FlowEnd, PortPool, Walk};
use crate::slots::Slots;
use crate::time::Time;
use crate::tuple::Tuple;
use crate::verdict::Drop;
use crate::vpc::Translation;

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
    externals: Vec<External>,
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
            externals: Vec::new(),
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
        let still_there = realm.externals.iter().any(|e| e.ip == key.external_ip);
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
        // Every node and every run pairs a client with the same address.
        const PAIRING: HashSeed = HashSeed { k0: 0x6861_6c66_7370_6163, k1: 0x7061_6972_696e_6700 };
        let pool = |v4: bool| {
            let ips = config.externals.iter().map(|e| e.ip).filter(|ip| ip.is_ipv4() == v4);
            AddressPool::new(PAIRING, ips.collect()).ok()
        };
        self.v4 = pool(true);
        self.v6 = pool(false);
        self.externals.clone_from(&config.externals);
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
        let mut ips = self.externals.iter().map(|external| external.ip);
        ips.any(|external_ip| {
            self.leases.has_aside(&LeaseKey { protocol, external_ip, destination })
        })
    }

    /// A lease for a new flow, or exactly the one that a flow which is taken over had.
    fn lease(&mut self, walk: &Walk<'_>) -> Result<(IpAddr, PortLease), Drop> {
        let tuple = walk.tuple;
        if let Some(prior) = walk.prior {
            let was = prior.outcome.src;
            let external =
                self.externals.iter().find(|e| e.ip == was.ip() || e.public_ip == Some(was.ip()));
            // Where the outcome has another function's address, that function came later, and what
            // this one chose was never seen on a wire: any port will do.
            if let Some(external) = external {
                let key = LeaseKey {
                    protocol: tuple.protocol,
                    external_ip: external.ip,
                    destination: tuple.dst,
                };
                let port = was.port();
                let lease = self.leases.acquire_exact(walk.now, key, port);
                return lease.map(|lease| (external.ip, lease)).map_err(|_| Drop::PortAllocation);
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
        icmp: translation.icmp_idle_timeout,
        ..Timeouts::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Generation;
    use crate::pipeline::Prior;
    use crate::tuple::Protocol;
    use crate::vpc::{Document, Snapshot};

    const NOW: Time = Time::from_secs(1000);
    const EXTERNAL: &str = "203.0.113.1";
    const SERVER: &str = "192.0.2.1:443";

    fn translation(first: u16, last: u16) -> Translation {
        let document = format!(
            r#"
            [[vpc]]
            vpc_id = "vpc-1"
            cidr_block = "10.0.0.0/16"
            [[subnet]]
            subnet_id = "subnet-1"
            vpc_id = "vpc-1"
            cidr_block = "10.0.0.0/24"
            [[nat_gateway]]
            nat_gateway_id = "nat-1"
            subnet_id = "subnet-1"
            connectivity_type = "private"
            port_range = [{first}, {last}]
            tcp_idle_timeout_seconds = 400
            "#
        );
        let snapshot = snapshot(&toml::from_str(&document).unwrap());
        snapshot.nat_gateways().next().unwrap().1.translation.clone()
    }

    fn snapshot(document: &Document) -> Snapshot {
        Snapshot::build(Generation(1), document).unwrap()
    }

    /// One translator whose realms are named by letters.
    struct Fixture {
        translator: SourceTranslator<char>,
        snapshot: Snapshot,
    }

    impl Fixture {
        fn new(realms: &[(char, &[&str], Translation)]) -> Self {
            let snapshot = snapshot(&Document::default());
            let mut fixture = Self { translator: SourceTranslator::new(7), snapshot };
            fixture.configure(realms);
            fixture
        }

        fn configure(&mut self, realms: &[(char, &[&str], Translation)]) {
            self.translator.configure(realms.iter().map(|(key, ips, translation)| {
                RealmConfig {
                    key: *key,
                    externals: ips
                        .iter()
                        .map(|ip| External { ip: ip.parse().unwrap(), public_ip: None })
                        .collect(),
                    translation,
                }
            }));
        }

        fn translate(
            &mut self,
            realm: char,
            dst: &str,
            held: Option<Claim>,
            prior: Option<&str>,
        ) -> Result<(Claim, SocketAddr), Drop> {
            let dst: SocketAddr = dst.parse().unwrap();
            let src: SocketAddr =
                if dst.is_ipv4() { "10.0.0.5:1" } else { "[fd00::5]:1" }.parse().unwrap();
            let tuple = Tuple { protocol: Protocol::Tcp, src, dst };
            let outcome = |src: &str| Tuple { src: src.parse().unwrap(), ..tuple };
            let mut walk = Walk {
                now: NOW,
                snapshot: &self.snapshot,
                tuple,
                tcp_flags: 2,
                tcp_sequence: 0,
                prior: prior.map(|src| Prior { outcome: outcome(src) }),
                timeouts: Timeouts::default(),
            };
            let claim = self.translator.translate(&mut walk, &realm, held)?;
            assert_eq!(walk.timeouts.tcp_established, Duration::from_secs(400));
            assert_eq!(walk.tuple.dst, dst, "only the source is translated");
            Ok((claim, walk.tuple.src))
        }

        fn usage(&self, realm: char) -> RealmUsage {
            self.translator.usage().find(|(key, _)| **key == realm).unwrap().1
        }
    }

    #[test]
    fn a_flow_gets_an_address_and_a_port_of_its_realm() {
        let mut f = Fixture::new(&[('a', &[EXTERNAL], translation(5000, 5001))]);
        let (claim, src) = f.translate('a', SERVER, None, None).unwrap();
        assert_eq!(src.ip().to_string(), EXTERNAL);
        assert!((5000..=5001).contains(&src.port()));
        let usage = RealmUsage { flows_total: 1, leases: 1, ..RealmUsage::default() };
        assert_eq!((f.usage('a'), f.translator.held()), (usage, 1));
        f.translator.release(NOW, claim, FlowEnd::Closed);
        assert_eq!((f.usage('a').leases, f.usage('a').quarantined, f.translator.held()), (0, 0, 0));
    }

    #[test]
    fn a_port_is_used_again_toward_another_destination_only() {
        let mut f = Fixture::new(&[('a', &[EXTERNAL], translation(5000, 5000))]);
        let (_, first) = f.translate('a', SERVER, None, None).unwrap();
        let (_, second) = f.translate('a', "192.0.2.2:443", None, None).unwrap();
        let (_, third) = f.translate('a', "192.0.2.1:80", None, None).unwrap();
        assert_eq!((first, second), (third, third));
        assert_eq!(f.translate('a', SERVER, None, None), Err(Drop::PortAllocation));
        assert_eq!(f.usage('a').port_allocation_errors_total, 1);
        assert_eq!((f.usage('a').leases, f.translator.held()), (3, 3));
    }

    #[test]
    fn realms_with_the_same_addresses_do_not_take_each_others_ports() {
        let both: [(char, &[&str], _); 2] = [
            ('a', &[EXTERNAL], translation(5000, 5000)),
            ('b', &[EXTERNAL], translation(5000, 5000)),
        ];
        let mut f = Fixture::new(&both);
        f.translate('a', SERVER, None, None).unwrap();
        f.translate('b', SERVER, None, None).unwrap();
        assert_eq!((f.usage('a').leases, f.usage('b').leases), (1, 1));
        assert_eq!(f.translate('c', SERVER, None, None), Err(Drop::NoDestination));
    }

    #[test]
    fn a_realm_translates_the_families_it_has_addresses_of() {
        let mut f = Fixture::new(&[('a', &[EXTERNAL], translation(5000, 5001))]);
        assert_eq!(f.translate('a', "[2001:db8::1]:443", None, None), Err(Drop::NoPublicAddress));
        f.configure(&[('a', &[EXTERNAL, "2001:db8:e::1"], translation(5000, 5001))]);
        let (_, src) = f.translate('a', "[2001:db8::1]:443", None, None).unwrap();
        assert_eq!(src.ip().to_string(), "2001:db8:e::1");
    }

    #[test]
    fn how_a_flow_ends_decides_whether_its_port_rests() {
        for (end, rests) in [
            (FlowEnd::Idle, true),
            (FlowEnd::Reopened, true),
            (FlowEnd::Policy, true),
            (FlowEnd::PortGone, true),
            (FlowEnd::Closed, false),
            (FlowEnd::Refused, false),
        ] {
            let mut f = Fixture::new(&[('a', &[EXTERNAL], translation(5000, 5000))]);
            let (claim, _) = f.translate('a', SERVER, None, None).unwrap();
            f.translator.release(NOW, claim, end);
            assert_eq!(f.translate('a', SERVER, None, None).is_err(), rests, "{end:?}");
            assert_eq!(f.usage('a').idle_timeouts_total, u64::from(end == FlowEnd::Idle));
            f.translator.expire(NOW + Duration::from_secs(31));
            assert_eq!(f.usage('a').quarantined, 0, "{end:?}");
        }
    }

    #[test]
    fn a_claim_is_given_back_once_however_often_it_is_tried() {
        let mut f = Fixture::new(&[('a', &[EXTERNAL], translation(5000, 5009))]);
        let (claim, _) = f.translate('a', SERVER, None, None).unwrap();
        f.translator.release(NOW, claim, FlowEnd::Closed);
        f.translator.release(NOW, claim, FlowEnd::Closed);
        f.translator.release(NOW, Claim(99), FlowEnd::Closed);
        assert_eq!((f.usage('a').leases, f.translator.held()), (0, 0));
    }

    #[test]
    fn a_held_lease_is_kept_as_long_as_its_address_and_destination_are() {
        let mut f = Fixture::new(&[('a', &[EXTERNAL], translation(5000, 5009))]);
        let (claim, src) = f.translate('a', SERVER, None, None).unwrap();
        assert_eq!(f.translate('a', SERVER, Some(claim), None), Ok((claim, src)));
        let elsewhere = f.translate('a', "192.0.2.9:443", Some(claim), None);
        assert_eq!(elsewhere, Err(Drop::NoDestination));
        assert_eq!(f.translate('a', SERVER, Some(Claim(9)), None), Err(Drop::NoDestination));
        // A range that no longer has the port only binds new flows.
        f.configure(&[('a', &[EXTERNAL], translation(6000, 6009))]);
        assert_eq!(f.translate('a', SERVER, Some(claim), None), Ok((claim, src)));
        let (_, new) = f.translate('a', SERVER, None, None).unwrap();
        assert!((6000..=6009).contains(&new.port()));
        f.configure(&[('a', &["203.0.113.9"], translation(6000, 6009))]);
        assert_eq!(f.translate('a', SERVER, Some(claim), None), Err(Drop::NoDestination));
        assert_eq!(f.translator.held(), 2, "a refusal takes nothing back by itself");
    }

    #[test]
    fn the_lease_of_another_realm_is_not_kept() {
        let both: [(char, &[&str], _); 2] = [
            ('a', &[EXTERNAL], translation(5000, 5009)),
            ('b', &[EXTERNAL], translation(5000, 5009)),
        ];
        let mut f = Fixture::new(&both);
        let (claim, _) = f.translate('a', SERVER, None, None).unwrap();
        assert_eq!(f.translate('b', SERVER, Some(claim), None), Err(Drop::NoDestination));
    }

    #[test]
    fn a_realm_that_is_gone_keeps_its_leases_until_the_last_has_come_to_rest() {
        let mut f = Fixture::new(&[('a', &[EXTERNAL], translation(5000, 5009))]);
        let claims: Vec<_> =
            (0..3).map(|_| f.translate('a', SERVER, None, None).unwrap().0).collect();
        f.configure(&[]);
        assert_eq!((f.translator.usage().count(), f.translator.held()), (0, 3));
        assert_eq!(f.translate('a', SERVER, Some(claims[0]), None), Err(Drop::NoDestination));
        for claim in claims {
            f.translator.release(NOW, claim, FlowEnd::Policy);
        }
        f.translator.expire(NOW + Duration::from_secs(29));
        assert_eq!((f.translator.held(), f.translator.realms.len()), (0, 1));
        f.translator.expire(NOW + Duration::from_secs(31));
        assert_eq!(f.translator.realms.len(), 0);
        assert!(f.translator.by_key.is_empty());
    }

    #[test]
    fn there_is_room_for_65_535_realms_and_for_others_once_these_are_gone() {
        let translation = translation(5000, 5009);
        let realms: Vec<(char, &[&str], _)> = ('\u{1_0000}'..='\u{1_ffff}')
            .map(|key| (key, [EXTERNAL].as_slice(), translation.clone()))
            .collect();
        let mut f = Fixture::new(&realms);
        let claims = [0, 65_534].map(|n| f.translate(realms[n].0, SERVER, None, None).unwrap().0);
        let too_many = realms[65_535].0;
        assert_eq!(f.translate(too_many, SERVER, None, None), Err(Drop::NoDestination));
        for claim in claims {
            f.translator.release(NOW, claim, FlowEnd::Closed);
        }
        assert_eq!((f.usage(realms[0].0).leases, f.usage(realms[65_534].0).leases), (0, 0));
        f.configure(&realms[65_534..]);
        f.configure(&realms[65_534..]);
        assert!(f.translate(too_many, SERVER, None, None).is_ok());
    }

    #[test]
    fn a_realm_that_comes_back_knows_which_ports_still_rest() {
        let mut f = Fixture::new(&[('a', &[EXTERNAL], translation(5000, 5001))]);
        let (first, was) = f.translate('a', SERVER, None, None).unwrap();
        let (second, _) = f.translate('a', SERVER, None, None).unwrap();
        f.configure(&[]);
        f.translator.release(NOW, first, FlowEnd::Policy);
        f.configure(&[('a', &[EXTERNAL], translation(5000, 5001))]);
        assert_eq!(f.translate('a', SERVER, None, None), Err(Drop::PortAllocation));
        assert!(f.translate('a', SERVER, Some(second), None).is_ok(), "nobody has ended it");
        f.translator.expire(NOW + Duration::from_secs(31));
        assert_eq!(f.translate('a', SERVER, None, None).unwrap().1, was);
    }

    #[test]
    fn a_flow_that_is_taken_over_gets_the_very_port_it_had() {
        let mut f = Fixture::new(&[('a', &[EXTERNAL], translation(5000, 5009))]);
        let was = "203.0.113.1:5004";
        let (_, src) = f.translate('a', SERVER, None, Some(was)).unwrap();
        assert_eq!(src.to_string(), was);
        let twice = f.translate('a', SERVER, None, Some(was));
        assert_eq!(twice, Err(Drop::PortAllocation), "two flows claim it, and one has to end");
        assert_eq!(f.translator.held(), 1);
        // One from a time when the range was another.
        let (_, src) = f.translate('a', SERVER, None, Some("203.0.113.1:999")).unwrap();
        assert_eq!(src.port(), 999);
        for _ in 0..9 {
            let (_, src) = f.translate('a', SERVER, None, None).unwrap();
            assert_ne!(src.port(), 5004);
        }
    }

    #[test]
    fn the_port_of_a_flow_is_found_under_the_public_address_too() {
        let mut f = Fixture::new(&[]);
        let (private, public) = ("10.0.0.7", "198.51.100.7");
        let translation = translation(5000, 5009);
        let external =
            External { ip: private.parse().unwrap(), public_ip: Some(public.parse().unwrap()) };
        let config = RealmConfig { key: 'a', externals: vec![external], translation: &translation };
        f.translator.configure([config].into_iter());
        let (_, src) = f.translate('a', SERVER, None, Some("198.51.100.7:5003")).unwrap();
        assert_eq!(src.to_string(), "10.0.0.7:5003");
        // Another function's address: what this one chose was never seen outside.
        let (_, src) = f.translate('a', SERVER, None, Some("198.51.100.99:5003")).unwrap();
        assert_ne!(src.port(), 5003);
    }
}
