//! Which of several external addresses a client's flows leave from.

use std::net::IpAddr;

use crate::maglev::HashSeed;

/// An external address pool needs an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pool of external addresses is empty: give it at least one address")]
pub struct NoAddress;

/// Which address of a pool is a client's own: its flows leave from there as long as there are
/// ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Each client has its own address. RFC 4787 REQ-2: "It is RECOMMENDED that a NAT have an 'IP
    /// address pooling' behavior of 'Paired'", for the sake of protocols that open several flows
    /// and expect them from one address.
    ///
    /// It is the one that hashes highest together with the client's, so nodes with the same seed
    /// agree, the order of the list does not matter, and a pool that grows from `n` addresses moves
    /// only one client in `n + 1`.
    Paired(HashSeed),
    /// All clients have the first address: where they are clones, hashing would not tell them
    /// apart.
    InOrder,
}

/// External addresses of one family.
#[derive(Clone, Debug)]
pub struct AddressPool {
    pooling: Pooling,
    addresses: Vec<IpAddr>,
}

impl AddressPool {
    /// A pool of these addresses.
    ///
    /// # Errors
    ///
    /// [`NoAddress`] if there are none.
    pub fn new(pooling: Pooling, addresses: Vec<IpAddr>) -> Result<Self, NoAddress> {
        if addresses.is_empty() { Err(NoAddress) } else { Ok(Self { pooling, addresses }) }
    }

    /// Its addresses, in the order of the list.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// What `lease` makes of the client's own address or, if that has nothing for it, of the first
    /// after it in the list that has.
    ///
    /// # Errors
    ///
    /// What it makes of the client's own address, if none has.
    pub fn lease_from<T, E>(
        &self,
        client: IpAddr,
        mut lease: impl FnMut(IpAddr) -> Result<T, E>,
    ) -> Result<T, E> {
        let own = self.own_place(client);
        lease(self.addresses[own]).or_else(|refused| {
            let mut others = self.addresses[own + 1..].iter().chain(&self.addresses[..own]);
            others.find_map(|&address| lease(address).ok()).ok_or(refused)
        })
    }

    /// Where in the list the client's own address is.
    fn own_place(&self, client: IpAddr) -> usize {
        let Pooling::Paired(seed) = self.pooling else { return 0 };
        let score = |ip: IpAddr| {
            let mut bytes = [0; 32];
            bytes[..16].copy_from_slice(&super::mapped(ip));
            bytes[16..].copy_from_slice(&super::mapped(client));
            seed.hash(&bytes)
        };
        (0..self.addresses.len()).max_by_key(|&place| score(self.addresses[place])).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;
    use crate::lease::{Exhausted, LeaseKey, PortLease, PortLeases, PortRange};
    use crate::time::Time;
    use crate::tuple::Protocol;

    const SEED: HashSeed = HashSeed { k0: 1, k1: 2 };

    fn pool(addresses: &[&str]) -> AddressPool {
        let pooling = Pooling::Paired(SEED);
        AddressPool::new(pooling, addresses.iter().map(|ip| ip.parse().unwrap()).collect()).unwrap()
    }

    fn leases(ports: u16) -> PortLeases {
        PortLeases::new(PortRange::new(1, ports).unwrap(), [7; 32], 0)
    }

    fn client(number: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + number).into())
    }

    fn destination(port: u16) -> SocketAddr {
        SocketAddr::new("198.51.100.1".parse().unwrap(), port)
    }

    fn acquire(
        pool: &AddressPool,
        leases: &mut PortLeases,
        client: IpAddr,
        protocol: Protocol,
        destination: SocketAddr,
    ) -> Result<(IpAddr, PortLease), Exhausted> {
        pool.lease_from(client, |external_ip| {
            let key = LeaseKey { protocol, external_ip, destination };
            leases.acquire(Time::default(), key).map(|lease| (external_ip, lease))
        })
    }

    /// The address that each of 1,000 clients gets for its first flow.
    fn own_addresses(pool: &AddressPool) -> Vec<IpAddr> {
        let mut leases = leases(u16::MAX);
        let mut first = |client| acquire(pool, &mut leases, client, Protocol::Udp, destination(53));
        (0..1000).map(|number| first(client(number)).unwrap().0).collect()
    }

    #[test]
    fn a_client_keeps_its_address_for_all_destinations() {
        let pool = pool(&["203.0.113.1", "203.0.113.2", "203.0.113.3"]);
        let mut leases = leases(100);
        let mut address = |client, port| {
            acquire(&pool, &mut leases, client, Protocol::Tcp, destination(port)).unwrap().0
        };
        for number in 0..50 {
            let own = address(client(number), 1);
            assert!((2..40).all(|port| address(client(number), port) == own));
        }
    }

    #[test]
    fn clients_spread_evenly_and_few_move_when_an_address_is_added() {
        let three = own_addresses(&pool(&["203.0.113.1", "203.0.113.2", "203.0.113.3"]));
        let reordered = own_addresses(&pool(&["203.0.113.3", "203.0.113.1", "203.0.113.2"]));
        assert_eq!(three, reordered);
        let mut shares = HashMap::<IpAddr, u32>::new();
        for &address in &three {
            *shares.entry(address).or_default() += 1;
        }
        // A third of 1,000 clients has a deviation of 15: four of them either way.
        assert!(shares.len() == 3 && shares.values().all(|share| share.abs_diff(333) < 60));
        let added = "203.0.113.4".parse::<IpAddr>().unwrap();
        let four = pool(&["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"]);
        let mut moved = 0_u32;
        for (old, new) in three.iter().zip(own_addresses(&four)) {
            assert!(*old == new || new == added, "moved between old addresses");
            moved += u32::from(*old != new);
        }
        assert!(moved.abs_diff(250) < 56, "{moved} clients moved");
    }

    #[test]
    fn a_client_falls_over_to_the_other_addresses_and_back() {
        let pool = pool(&["203.0.113.1", "203.0.113.2", "203.0.113.3"]);
        let mut leases = leases(10);
        let now = Time::default();
        let mut held = Vec::new();
        for _ in 0..30 {
            held.push(
                acquire(&pool, &mut leases, client(1), Protocol::Tcp, destination(1)).unwrap(),
            );
        }
        let own = held[0].0;
        assert!(held[..10].iter().all(|(address, _)| *address == own));
        for chunk in held.chunks(10) {
            let mut ports: Vec<u16> = chunk.iter().map(|(_, lease)| lease.port()).collect();
            ports.sort_unstable();
            assert_eq!(ports, (1..=10).collect::<Vec<u16>>());
            assert!(chunk.iter().all(|(address, _)| *address == chunk[0].0));
        }
        let failure =
            acquire(&pool, &mut leases, client(1), Protocol::Tcp, destination(1)).unwrap_err();
        assert_eq!(failure.key.external_ip, own);
        leases.release(now, held.swap_remove(3).1, Duration::ZERO);
        let (address, lease) =
            acquire(&pool, &mut leases, client(1), Protocol::Tcp, destination(1)).unwrap();
        assert_eq!(address, own);
        held.push((address, lease));
        assert_eq!(leases.live(), 30);
    }

    #[test]
    fn a_pool_in_order_gives_an_address_once_those_before_it_are_used_up() {
        let addresses = ["203.0.113.3", "203.0.113.1", "203.0.113.2"];
        let pool = AddressPool { pooling: Pooling::InOrder, ..pool(&addresses) };
        let mut leases = leases(4);
        let now = Time::default();
        let acquire = |leases: &mut _, number| {
            acquire(&pool, leases, client(number), Protocol::Tcp, destination(1))
        };
        let mut held: Vec<_> = (0..12).map(|n| acquire(&mut leases, n).unwrap()).collect();
        let seen: Vec<_> = held.iter().map(|(address, _)| address.to_string()).collect();
        assert_eq!(seen, addresses.map(|address| [address; 4]).concat());
        assert!(acquire(&mut leases, 12).is_err());
        leases.release(now, held.swap_remove(5).1, Duration::ZERO);
        assert_eq!(acquire(&mut leases, 12).unwrap().0.to_string(), addresses[1]);
    }

    #[test]
    fn a_pool_without_addresses_is_refused() {
        assert_eq!(AddressPool::new(Pooling::InOrder, Vec::new()).unwrap_err(), NoAddress);
    }
}
