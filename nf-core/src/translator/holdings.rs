//! What a realm tells of its ports: who holds the most, and toward whom there were none left. So
//! whoever is refused a port can be told who has them.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::pipeline::Origin;
use crate::tuple::Protocol;

/// A client and the ports that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHolding {
    /// Who.
    pub client: Origin,
    /// How many ports.
    pub ports: u32,
}

/// A destination and the ports that are taken toward it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationHolding {
    /// The protocol outside.
    pub protocol: Protocol,
    /// The address outside that the ports are of.
    pub external_ip: IpAddr,
    /// Where to; the unspecified address and port zero where a port is taken for all destinations.
    pub destination: SocketAddr,
    /// How many ports, those in quarantine and those set aside for the fast path included.
    pub ports: u32,
    /// Who has the most of them, where there are many. The first 512 are not counted.
    pub biggest: Option<ClientHolding>,
}

/// The biggest holders of a realm, each list with the biggest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Clients.
    pub clients: Vec<ClientHolding>,
    /// Destinations.
    pub destinations: Vec<DestinationHolding>,
}

/// A destination, and the flows to it that got no port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedDestination {
    /// Protocol and destination; `None` of all those that there is no place for.
    pub destination: Option<(Protocol, SocketAddr)>,
    /// How many flows.
    pub flows_total: u64,
}

/// Flows that got no port, by destination. Clients choose destinations, so only so many have a count
/// of their own.
pub(super) struct Refused {
    by_destination: HashMap<(Protocol, SocketAddr), u64, ahash::RandomState>,
    others: u64,
}

impl Refused {
    const MOST: usize = 64;

    pub(super) fn new(hasher: ahash::RandomState) -> Self {
        Self { by_destination: HashMap::with_hasher(hasher), others: 0 }
    }

    pub(super) fn count(&mut self, protocol: Protocol, destination: SocketAddr) {
        let key = (protocol, destination);
        if let Some(count) = self.by_destination.get_mut(&key) {
            *count += 1;
        } else if self.by_destination.len() < Self::MOST {
            self.by_destination.insert(key, 1);
        } else {
            self.others += 1;
        }
    }

    /// All counts, in the order of their destinations, what has none of its own at the end.
    pub(super) fn all(&self) -> Vec<RefusedDestination> {
        let mut all: Vec<_> = self
            .by_destination
            .iter()
            .map(|(key, count)| RefusedDestination { destination: Some(*key), flows_total: *count })
            .collect();
        all.sort_unstable_by_key(|refused| {
            refused.destination.map(|(protocol, address)| (protocol.number(), address))
        });
        if self.others > 0 {
            all.push(RefusedDestination { destination: None, flows_total: self.others });
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_past_the_last_place_are_counted_together() {
        let mut refused = Refused::new(ahash::RandomState::with_seeds(1, 2, 3, 4));
        let destination = |n: usize| SocketAddr::new([192, 0, 2, 1].into(), n as u16);
        for n in 0..Refused::MOST + 3 {
            refused.count(Protocol::Udp, destination(n));
        }
        refused.count(Protocol::Udp, destination(0));
        let all = refused.all();
        assert_eq!(all.len(), Refused::MOST + 1);
        let first = Some((Protocol::Udp, destination(0)));
        assert_eq!(all[0], RefusedDestination { destination: first, flows_total: 2 });
        assert_eq!(all[Refused::MOST], RefusedDestination { destination: None, flows_total: 3 });
    }
}
