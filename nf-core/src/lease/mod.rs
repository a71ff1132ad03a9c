//! External ports for source NAT, leased per protocol, external address and destination.
//!
//! The mapping is address- and port-dependent, as an AWS NAT gateway's is: one external port may
//! serve any number of flows at once as long as their destinations differ, so each destination has
//! the whole range to itself. For an ICMP echo the identifier is the port that is leased, and the
//! destination has port zero.
//!
//! A port is chosen as RFC 6056 section 3.3.1 has it, a random start and the next free port from
//! there, but the next free one is found in a bitmap instead of by trying: at 99 % full it costs
//! what it costs at 1 %, and a range with one free port left still gives it. The random numbers
//! come from a stream cipher under the caller's seed, so they cannot be foretold from outside and
//! still replay.
//!
//! A lease is a value that is neither `Clone` nor `Copy`; to release it is to give it away, so it
//! cannot happen twice. Until the quarantine set at its release is over, nobody else gets the
//! port.

mod address_pool;
mod bitmap;
mod ports;
mod quarantine;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

pub use self::address_pool::{AddressPool, NoAddress, Pooling};
use self::ports::Ports;
use self::quarantine::{Quarantine, Resting};
use crate::time::Time;
use crate::tuple::Protocol;

/// What a port is unique under: no two live leases agree in this and the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseKey {
    /// Transport protocol of the flow as it leaves.
    pub protocol: Protocol,
    /// The gateway's address that the flow leaves from.
    pub external_ip: IpAddr,
    /// Where the flow goes, port zero for an ICMP echo.
    pub destination: SocketAddr,
}

impl fmt::Display for LeaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {} to {}", self.protocol, self.external_ip, self.destination)
    }
}

/// An inclusive range of ports or, for ICMP echo, of identifiers. A document writes it
/// `[first, last]`, and not below 1024: a peer may take a packet from a lower port for a service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "[u16; 2]", into = "[u16; 2]")]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The ports `first` to `last`. Port 0 is a legal echo identifier, but none that TCP or UDP may
    /// send from (RFC 6335 section 6).
    ///
    /// # Errors
    ///
    /// [`EmptyRange`] if `first` is past `last`.
    pub const fn new(first: u16, last: u16) -> Result<Self, EmptyRange> {
        if first > last { Err(EmptyRange { first, last }) } else { Ok(Self { first, last }) }
    }

    /// The lowest port.
    #[must_use]
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest port, itself in the range.
    #[must_use]
    pub const fn last(self) -> u16 {
        self.last
    }

    /// How many ports there are: 1 to 65,536.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.last as u32 - self.first as u32 + 1
    }

    /// The port that `random` stands for. Ports differ in likelihood by less than one part in
    /// 2^16.
    fn pick(self, random: u32) -> u16 {
        self.first + ((u64::from(random) * u64::from(self.count())) >> 32) as u16
    }
}

/// 1024 to 65535, the 64,512 ports of an AWS NAT gateway.
impl Default for PortRange {
    fn default() -> Self {
        Self { first: 1024, last: u16::MAX }
    }
}

impl TryFrom<[u16; 2]> for PortRange {
    type Error = String;

    fn try_from([first, last]: [u16; 2]) -> Result<Self, String> {
        let range = Self::new(first, last).ok().filter(|range| range.first >= 1024);
        range.ok_or_else(|| {
            format!("[{first}, {last}] is not a range of ports: write [first, last], from 1024")
        })
    }
}

impl From<PortRange> for [u16; 2] {
    fn from(range: PortRange) -> Self {
        [range.first, range.last]
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// A range of ports that ends before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the port range {first}-{last} is empty: its first port must not be past its last")]
pub struct EmptyRange {
    first: u16,
    last: u16,
}

/// No port is free for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no port is free for {key}: all of {range} are leased or in quarantine; add an external \
     address, or let idle flows to this destination end sooner"
)]
pub struct Exhausted {
    /// The culprit.
    pub key: LeaseKey,
    /// The range that is used up.
    pub range: PortRange,
}

/// A port that was asked for by number belongs to another flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("port {port} is already leased for {key}: two flows claim it, and one has to end")]
pub struct PortInUse {
    /// What the port was asked for.
    pub key: LeaseKey,
    /// The port.
    pub port: u16,
}

/// The right to use one external port for one [`LeaseKey`], until it is given back to
/// [`PortLeases::release`]. That cannot happen twice:
///
/// ```compile_fail,E0382
/// # use std::time::Duration;
/// # use nf_core::{lease::{PortLease, PortLeases}, time::Time};
/// fn end(leases: &mut PortLeases, now: Time, lease: PortLease) {
///     leases.release(now, lease, Duration::ZERO);
///     leases.release(now, lease, Duration::ZERO);
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a lease that is dropped keeps its port taken for ever: give it to `release`"]
// Without padding, so that whoever holds a million of them has room for what they belong to.
#[repr(Rust, packed(2))]
pub struct PortLease {
    pool: u32,
    port: u16,
}

const _: () = assert!(size_of::<PortLease>() == 6, "a million flows feel every byte");

impl PortLease {
    /// The external port, or echo identifier.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// The ports of one [`LeaseKey`], while one of them is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolId(pub u32);

/// All external ports: which are leased, which are in quarantine.
///
/// A destination is remembered only while a port is taken for it. With one port, that costs 56
/// bytes and its share of a hash table of 5 bytes a slot.
pub struct PortLeases {
    range: PortRange,
    hasher: RandomState,
    /// Places in `pools`, by key.
    index: HashTable<u32>,
    pools: Vec<Pool>,
    /// Places in `pools` that no key has.
    vacant: Vec<u32>,
    quarantine: Quarantine,
    /// Taken, but for nobody yet.
    aside: HashSet<Resting, RandomState>,
    live: usize,
    rng: ChaCha12Rng,
}

/// The ports taken for one key, be they live or in quarantine.
struct Pool {
    key: PackedKey,
    ports: Ports,
}

impl PortLeases {
    /// How many ports whose quarantine is over each acquisition sets free on its way: more than the
    /// one it takes, so that a backlog shrinks; few, so that no packet pays for all.
    const FREED_PER_ACQUIRE: usize = 4;

    /// Nothing leased. Ports come from `range`; the choice follows `seed`, which must be
    /// unpredictable and may be logged to replay a run. Room is made for `destinations` at once;
    /// with more than that, the table doubles in one go when it is full.
    #[must_use]
    pub fn new(range: PortRange, seed: [u8; 32], destinations: usize) -> Self {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let hasher =
            RandomState::with_seeds(rng.next_u64(), rng.next_u64(), rng.next_u64(), rng.next_u64());
        Self {
            range,
            aside: HashSet::with_hasher(hasher.clone()),
            hasher,
            index: HashTable::with_capacity(destinations),
            pools: Vec::with_capacity(destinations),
            vacant: Vec::new(),
            quarantine: Quarantine::default(),
            live: 0,
            rng,
        }
    }

    /// Leases a free port for `key`.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] if every port of the range is leased for `key` or in quarantine.
    pub fn acquire(&mut self, now: Time, key: LeaseKey) -> Result<PortLease, Exhausted> {
        self.expire(now, Self::FREED_PER_ACQUIRE);
        let start = self.range.pick(self.rng.next_u32());
        if let Some(lease) = self.take_from(start, &key) {
            return Ok(lease);
        }
        // Some may be free but for the sweep. It is paid for once, however often this fails.
        if self.quarantine.is_due(now) {
            self.expire(now, usize::MAX);
            if let Some(lease) = self.take_from(start, &key) {
                return Ok(lease);
            }
        }
        Err(Exhausted { key, range: self.range })
    }

    /// Sets up to `count` free ports aside that the pool of a lease has, chosen as those of leases
    /// are: [`Self::acquire_exact`] leases them, or [`Self::take_back`] ends it.
    pub fn set_aside(&mut self, now: Time, pool: PoolId, count: usize, ports: &mut Vec<u16>) {
        self.expire(now, count);
        let Some(taken) = self.pools.get_mut(pool.0 as usize).map(|pool| &mut pool.ports) else {
            return;
        };
        for _ in 0..count {
            let start = self.range.pick(self.rng.next_u32());
            let Some(port) = take_from(start, self.range, taken) else { return };
            self.aside.insert(Resting { pool: pool.0, port });
            ports.push(port);
        }
    }

    /// Takes back a port that was set aside and has not been leased since; quarantine as for
    /// [`Self::release`]. Whether it was one.
    pub fn take_back(
        &mut self,
        now: Time,
        PoolId(pool): PoolId,
        port: u16,
        quarantine: Duration,
    ) -> bool {
        let was_aside = self.aside.remove(&Resting { pool, port });
        if was_aside {
            self.retire(now, Resting { pool, port }, quarantine);
        }
        was_aside
    }

    /// Leases this very port, which may be set aside, in quarantine or outside the range: a flow that outlived
    /// the process that leased its port goes on as it was.
    ///
    /// A port that is taken is looked for among all in quarantine, which costs time in proportion
    /// to those. After a start there are none.
    ///
    /// # Errors
    ///
    /// [`PortInUse`] if the port is leased for `key`.
    pub fn acquire_exact(
        &mut self,
        now: Time,
        key: LeaseKey,
        port: u16,
    ) -> Result<PortLease, PortInUse> {
        self.expire(now, Self::FREED_PER_ACQUIRE);
        let pool = self.pool_of(&key);
        let place = Resting { pool, port };
        let free = self.pools[pool as usize].ports.insert(port);
        if free || self.aside.remove(&place) || self.quarantine.remove(place) {
            self.live += 1;
            Ok(PortLease { pool, port })
        } else {
            Err(PortInUse { key, port })
        }
    }

    /// Ends a lease. Its port can be leased again from `now + quarantine` on, or up to
    /// [`Self::GRANULE`] later; with a quarantine of zero, at once.
    ///
    /// The lease must be one of this `PortLeases`; another's is taken for the port it would be
    /// here.
    #[expect(clippy::needless_pass_by_value, reason = "giving the lease away is what ends it")]
    pub fn release(&mut self, now: Time, lease: PortLease, quarantine: Duration) {
        let PortLease { pool, port } = lease;
        self.live = self.live.saturating_sub(1);
        self.retire(now, Resting { pool, port }, quarantine);
    }

    fn retire(&mut self, now: Time, resting: Resting, quarantine: Duration) {
        if quarantine.is_zero() {
            self.free(resting);
        } else {
            self.quarantine.push(now + quarantine, resting);
        }
    }

    /// How much longer than asked for a port can stay in quarantine: 268 ms.
    pub const GRANULE: Duration = Quarantine::GRANULE;

    /// Frees up to `limit` ports whose quarantine is over at `now`; whether there are more.
    ///
    /// Every acquisition does a little of this, so it is needed only to get memory back while there
    /// are none.
    pub fn expire(&mut self, now: Time, limit: usize) -> bool {
        for _ in 0..limit {
            let Some(resting) = self.quarantine.pop_due(now) else { return false };
            self.free(resting);
        }
        self.quarantine.is_due(now)
    }

    /// Leases are made from `range` from now on; those that exist stay, wherever they are.
    pub const fn set_range(&mut self, range: PortRange) {
        self.range = range;
    }

    /// What a lease is for; `None` of one that is not of this `PortLeases`.
    #[must_use]
    pub fn key(&self, lease: &PortLease) -> Option<LeaseKey> {
        self.key_of(self.pool(lease))
    }

    /// The protocol that a lease is for.
    #[must_use]
    pub fn protocol(&self, lease: &PortLease) -> Option<Protocol> {
        let pool = self.pools.get(lease.pool as usize)?;
        Protocol::from_number(pool.key.0[0])
    }

    /// The pool that a lease is from.
    #[must_use]
    pub const fn pool(&self, lease: &PortLease) -> PoolId {
        PoolId(lease.pool)
    }

    /// How many ports of a pool are taken: leased, set aside or in quarantine.
    #[must_use]
    pub fn taken(&self, PoolId(pool): PoolId) -> u32 {
        self.pools.get(pool as usize).map_or(0, |pool| pool.ports.len())
    }

    /// The ports that there are for each key.
    #[must_use]
    pub const fn range(&self) -> PortRange {
        self.range
    }

    /// Every pool that ports are taken of, and how many, in no order.
    pub fn pools(&self) -> impl Iterator<Item = (PoolId, u32)> {
        let taken = self.pools.iter().map(|pool| pool.ports.len());
        (0..).map(PoolId).zip(taken).filter(|(_, taken)| *taken > 0)
    }

    /// What the ports of a pool are for.
    #[must_use]
    pub fn key_of(&self, PoolId(pool): PoolId) -> Option<LeaseKey> {
        self.pools.get(pool as usize).map(|pool| pool.key.unpack())
    }

    /// Whether ports are set aside for this key.
    #[must_use]
    pub fn has_aside(&self, key: &LeaseKey) -> bool {
        let key = PackedKey::from(key);
        let hash = self.hasher.hash_one(key);
        let pool = self.index.find(hash, |&place| self.pools[place as usize].key == key);
        pool.is_some_and(|&pool| self.aside.iter().any(|aside| aside.pool == pool))
    }

    /// How many ports are set aside.
    #[must_use]
    pub fn aside(&self) -> usize {
        self.aside.len()
    }

    /// How many leases there are.
    #[must_use]
    pub const fn live(&self) -> usize {
        self.live
    }

    /// How many ports are in quarantine, those that are over but not yet swept included.
    #[must_use]
    pub const fn quarantined(&self) -> usize {
        self.quarantine.len()
    }

    /// For how many keys a port is leased or in quarantine.
    #[must_use]
    pub fn destinations(&self) -> usize {
        self.index.len()
    }

    /// Leases the next free port of a key from `start` on.
    fn take_from(&mut self, start: u16, key: &LeaseKey) -> Option<PortLease> {
        let pool = self.pool_of(key);
        let ports = &mut self.pools[pool as usize].ports;
        let port = take_from(start, self.range, ports)?;
        self.live += 1;
        Some(PortLease { pool, port })
    }

    /// The place of the key's pool, made if there is none. Whoever calls puts a port into it: a
    /// pool without any is never found again.
    fn pool_of(&mut self, key: &LeaseKey) -> u32 {
        let Self { index, pools, vacant, hasher, .. } = self;
        let key = PackedKey::from(key);
        let entry = index.entry(
            hasher.hash_one(key),
            |&place| pools[place as usize].key == key,
            |&place| hasher.hash_one(pools[place as usize].key),
        );
        match entry {
            Entry::Occupied(occupied) => *occupied.get(),
            Entry::Vacant(empty) => {
                let pool = Pool { key, ports: Ports::default() };
                let place = if let Some(place) = vacant.pop() {
                    pools[place as usize] = pool;
                    place
                } else {
                    pools.push(pool);
                    (pools.len() - 1) as u32
                };
                empty.insert(place);
                place
            }
        }
    }

    fn free(&mut self, Resting { pool: place, port }: Resting) {
        let Some(pool) = self.pools.get_mut(place as usize) else { return };
        if pool.ports.remove(port) && pool.ports.is_empty() {
            let hash = self.hasher.hash_one(pool.key);
            if let Ok(entry) = self.index.find_entry(hash, |&other| other == place) {
                entry.remove();
                self.vacant.push(place);
            }
        }
    }
}

/// Takes the next port of the range that is free from `start` on, going round once.
fn take_from(start: u16, range: PortRange, taken: &mut Ports) -> Option<u16> {
    let free = taken.next_free(start, range.last);
    let port = free.or_else(|| taken.next_free(range.first, range.last))?;
    taken.insert(port);
    Some(port)
}

/// A [`LeaseKey`] in two thirds of its size, hashed in one go. It also leaves out the zone and flow
/// label that a [`SocketAddr`] compares by, which make no other destination.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct PackedKey([u8; 36]);

impl From<&LeaseKey> for PackedKey {
    fn from(key: &LeaseKey) -> Self {
        let (external, destination) = (key.external_ip, key.destination.ip());
        let mut bytes = [0; 36];
        bytes[0] = key.protocol.number();
        // An IPv4 address and the IPv6 address it maps to are two.
        bytes[1] = u8::from(external.is_ipv4()) | u8::from(destination.is_ipv4()) << 1;
        bytes[2..4].copy_from_slice(&key.destination.port().to_be_bytes());
        bytes[4..20].copy_from_slice(&mapped(external));
        bytes[20..].copy_from_slice(&mapped(destination));
        Self(bytes)
    }
}

impl PackedKey {
    /// The key that was packed.
    fn unpack(&self) -> LeaseKey {
        let Self([protocol, families, port_high, port_low, addresses @ ..]) = self;
        let address = |half: &[u8], is_ipv4: bool| {
            let mut octets = [0; 16];
            octets.copy_from_slice(half);
            let ip = Ipv6Addr::from(octets);
            let ipv4 = ip.to_ipv4_mapped().filter(|_| is_ipv4);
            ipv4.map_or(IpAddr::V6(ip), IpAddr::V4)
        };
        let (external, destination) = addresses.split_at(16);
        let port = u16::from_be_bytes([*port_high, *port_low]);
        LeaseKey {
            protocol: Protocol::from_number(*protocol)
                .unwrap_or_else(|| unreachable!("packed from a protocol")),
            external_ip: address(external, families & 1 != 0),
            destination: SocketAddr::new(address(destination, families & 2 != 0), port),
        }
    }
}

fn mapped(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}
