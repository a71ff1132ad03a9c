//! Who holds the ports of a realm, so that one client neither takes more than it may nor starves the
//! rest.
//!
//! A client is an [`Origin`]: an instance, a host on a segment, an execution environment. What it
//! holds altogether is counted always; what it holds toward one destination only where many ports
//! are taken, in a *crowd*. So a million flows to as many destinations cost nothing more.

use std::collections::HashMap;

use slab::Slab;

use crate::lease::PoolId;
use crate::pipeline::Origin;

/// A client's place among those of its realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ClientNumber(pub(super) u32);

/// All clients of a realm that hold a port.
pub(super) struct Clients {
    all: Slab<Client>,
    by_origin: HashMap<Origin, ClientNumber, ahash::RandomState>,
}

#[derive(Clone, Copy, Debug)]
struct Client {
    origin: Origin,
    ports: u32,
}

impl Clients {
    pub(super) fn new(hasher: ahash::RandomState) -> Self {
        Self { all: Slab::new(), by_origin: HashMap::with_hasher(hasher) }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Ports that an origin holds.
    pub(super) fn ports(&self, origin: &Origin) -> u32 {
        let client = self.by_origin.get(origin).and_then(|number| self.get(*number));
        client.map_or(0, |client| client.ports)
    }

    /// An origin's number, if it holds a port.
    pub(super) fn number(&self, origin: &Origin) -> Option<ClientNumber> {
        self.by_origin.get(origin).copied()
    }

    /// An origin got a port.
    pub(super) fn take(&mut self, origin: Origin) -> ClientNumber {
        let all = &mut self.all;
        let number = *self
            .by_origin
            .entry(origin)
            .or_insert_with(|| ClientNumber(all.insert(Client { origin, ports: 0 }) as u32));
        if let Some(client) = self.all.get_mut(number.0 as usize) {
            client.ports += 1;
        }
        number
    }

    /// A client gave a port back. It is forgotten with its last one.
    pub(super) fn give_back(&mut self, number: ClientNumber) {
        let Some(client) = self.all.get_mut(number.0 as usize) else { return };
        client.ports -= 1;
        if client.ports == 0 {
            let origin = client.origin;
            self.all.remove(number.0 as usize);
            self.by_origin.remove(&origin);
        }
    }

    /// Who it is.
    pub(super) fn origin(&self, number: ClientNumber) -> Option<Origin> {
        self.get(number).map(|client| client.origin)
    }

    /// Each with the ports it holds, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Origin, u32)> {
        self.all.iter().map(|(_, client)| (client.origin, client.ports))
    }

    fn get(&self, number: ClientNumber) -> Option<&Client> {
        self.all.get(number.0 as usize)
    }
}

/// Who holds how many of the ports of pools of which many are taken.
pub(super) struct Crowds {
    by_pool: HashMap<PoolId, Crowd, ahash::RandomState>,
}

struct Crowd {
    held: HashMap<ClientNumber, u32, ahash::RandomState>,
    sum: u64,
}

impl Crowds {
    /// Ports of a pool that are taken when its clients begin to be counted. What they took before is
    /// not, so a client may hold so many more than it seems.
    pub(super) const FROM: u32 = 512;

    pub(super) fn new(hasher: ahash::RandomState) -> Self {
        Self { by_pool: HashMap::with_hasher(hasher) }
    }

    /// A client got one of the `taken` ports of a pool.
    pub(super) fn take(&mut self, pool: PoolId, client: ClientNumber, taken: u32) {
        if taken > Self::FROM {
            let hasher = self.by_pool.hasher().clone();
            let crowd = self
                .by_pool
                .entry(pool)
                .or_insert_with(|| Crowd { held: HashMap::with_hasher(hasher), sum: 0 });
            *crowd.held.entry(client).or_default() += 1;
            crowd.sum += 1;
        }
    }

    /// A client gave one back.
    pub(super) fn give_back(&mut self, pool: PoolId, client: ClientNumber) {
        if self.by_pool.is_empty() {
            return;
        }
        let Some(crowd) = self.by_pool.get_mut(&pool) else { return };
        let Some(held) = crowd.held.get_mut(&client) else { return };
        *held -= 1;
        crowd.sum -= 1;
        if *held == 0 {
            crowd.held.remove(&client);
        }
        if crowd.held.is_empty() {
            self.by_pool.remove(&pool);
        }
    }

    /// Whether a client has more ports of a pool than its share, of `clients` in all: more than those
    /// who have some have on average. Whoever has none yet counts as one more.
    pub(super) fn is_over_its_share(
        &self,
        pool: PoolId,
        client: Option<ClientNumber>,
        clients: usize,
    ) -> bool {
        let Some(crowd) = self.by_pool.get(&pool) else { return false };
        let held = client.and_then(|client| crowd.held.get(&client)).copied().unwrap_or_default();
        let others_to_come = clients > crowd.held.len();
        let sharers = crowd.held.len() + usize::from(others_to_come);
        u64::from(held) * sharers as u64 > crowd.sum
    }

    /// The crowd of a pool, in no order.
    pub(super) fn of(&self, pool: PoolId) -> impl Iterator<Item = (ClientNumber, u32)> {
        let held = self.by_pool.get(&pool).map(|crowd| &crowd.held);
        held.into_iter().flatten().map(|(client, held)| (*client, *held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PortId;

    fn hasher() -> ahash::RandomState {
        ahash::RandomState::with_seeds(1, 2, 3, 4)
    }

    fn origin(port: u32, last: u8) -> Origin {
        Origin { port: PortId::new(port).unwrap(), ip: [10, 0, 0, last].into() }
    }

    #[test]
    fn clients_with_one_address_are_told_apart_by_their_ports() {
        let mut clients = Clients::new(hasher());
        let (a, b) = (clients.take(origin(1, 1)), clients.take(origin(2, 1)));
        assert_ne!(a, b);
        assert_eq!(clients.take(origin(1, 1)), a);
        assert_eq!((clients.ports(&origin(1, 1)), clients.ports(&origin(2, 1))), (2, 1));
        assert_eq!(clients.origin(b), Some(origin(2, 1)));
    }

    #[test]
    fn a_client_is_forgotten_with_its_last_port() {
        let mut clients = Clients::new(hasher());
        let a = clients.take(origin(1, 1));
        clients.take(origin(1, 1));
        clients.give_back(a);
        assert_eq!((clients.len(), clients.ports(&origin(1, 1))), (1, 1));
        clients.give_back(a);
        assert_eq!((clients.len(), clients.ports(&origin(1, 1))), (0, 0));
        assert_eq!(clients.iter().count(), 0);
    }

    #[test]
    fn a_client_is_over_its_share_when_it_has_more_than_the_average() {
        let pool = PoolId(3);
        let [a, b, c] = [0, 1, 2].map(ClientNumber);
        let mut crowds = Crowds::new(hasher());
        for _ in 0..10 {
            crowds.take(pool, a, Crowds::FROM + 1);
        }
        assert!(!crowds.is_over_its_share(pool, Some(a), 1), "alone");
        assert!(
            crowds.is_over_its_share(pool, Some(a), 2),
            "somebody else is there, without a port yet"
        );
        assert!(!crowds.is_over_its_share(pool, Some(b), 2));
        for _ in 0..10 {
            crowds.take(pool, b, Crowds::FROM + 1);
        }
        assert!(!crowds.is_over_its_share(pool, Some(a), 2), "both have the same");
        assert!(crowds.is_over_its_share(pool, Some(a), 3), "and now there is a third");
        assert!(!crowds.is_over_its_share(pool, Some(c), 3));
        crowds.give_back(pool, b);
        assert!(crowds.is_over_its_share(pool, Some(a), 2));
        assert!(!crowds.is_over_its_share(pool, Some(b), 2));
    }

    #[test]
    fn what_was_taken_before_a_pool_was_crowded_is_not_counted_and_giving_it_back_does_no_harm() {
        let pool = PoolId(0);
        let [a, b] = [0, 1].map(ClientNumber);
        let mut crowds = Crowds::new(hasher());
        crowds.take(pool, a, Crowds::FROM);
        assert_eq!(crowds.of(pool).count(), 0);
        crowds.take(pool, b, Crowds::FROM + 1);
        crowds.give_back(pool, a);
        assert_eq!(crowds.of(pool).collect::<Vec<_>>(), [(b, 1)]);
        crowds.give_back(pool, b);
        crowds.give_back(pool, b);
        assert!(crowds.by_pool.is_empty());
    }
}
