//! Networks around an address, over both address families, for tables of a few to a few thousand:
//! route tables, the subnets of a VPC, the rules of a security group.
//!
//! Two networks are one inside the other or have no address in common. Sorted by their first
//! addresses, the last one that begins before an address is therefore inside every network around
//! that address, unless it is one of them itself. A look-up is one binary search and then the way
//! outwards, which is short because hardly anybody nests networks deeply. It allocates nothing.

use std::net::IpAddr;

use ipnet::IpNet;

/// A table from networks to values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lpm<T> {
    v4: Box<[Node<T>]>,
    v6: Box<[Node<T>]>,
}

/// A network. Nodes are sorted by address, the shorter prefix first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Node<T> {
    network: u128,
    length: u8,
    /// The place of the smallest network around it, or [`NOWHERE`].
    outer: u32,
    value: T,
}

/// The place of no node.
const NOWHERE: u32 = u32::MAX;

impl<T> Node<T> {
    const fn contains(&self, bits: u128) -> bool {
        bits & mask(self.length) == self.network
    }
}

impl<T> Default for Lpm<T> {
    fn default() -> Self {
        Self { v4: Box::default(), v6: Box::default() }
    }
}

impl<T> Lpm<T> {
    /// The value of the longest network that contains `address`.
    #[must_use]
    pub fn get(&self, address: IpAddr) -> Option<&T> {
        self.matching(address).next()
    }

    /// The values of all networks that contain `address`, the longest first.
    pub fn matching(&self, address: IpAddr) -> impl Iterator<Item = &T> {
        let nodes = if address.is_ipv4() { &*self.v4 } else { &*self.v6 };
        let bits = left_aligned(address);
        let begun = nodes.partition_point(|node| node.network <= bits);
        let outwards =
            std::iter::successors(nodes[..begun].last(), |node| nodes.get(node.outer as usize));
        outwards.skip_while(move |node| !node.contains(bits)).map(|node| &node.value)
    }
}

impl<T> FromIterator<(IpNet, T)> for Lpm<T> {
    /// Of two values for one network the first stays. Host bits are ignored.
    fn from_iter<I: IntoIterator<Item = (IpNet, T)>>(networks: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (network, value) in networks {
            let length = network.prefix_len();
            let bits = left_aligned(network.addr()) & mask(length);
            let nodes = if network.addr().is_ipv4() { &mut v4 } else { &mut v6 };
            nodes.push(Node { network: bits, length, outer: NOWHERE, value });
        }
        Self { v4: nested(v4), v6: nested(v6) }
    }
}

/// Sorts nodes and tells each what is around it.
fn nested<T>(mut nodes: Vec<Node<T>>) -> Box<[Node<T>]> {
    nodes.sort_by_key(|node| (node.network, node.length));
    nodes.dedup_by_key(|node| (node.network, node.length));
    // The networks around the current one, the smallest last.
    let mut open: Vec<usize> = Vec::new();
    for place in 0..nodes.len() {
        let network = nodes[place].network;
        while open.pop_if(|outer| !nodes[*outer].contains(network)).is_some() {}
        nodes[place].outer = open.last().map_or(NOWHERE, |&outer| outer as u32);
        open.push(place);
    }
    nodes.into()
}

/// The address with its first bit in the most significant place, so that one mask fits both
/// families.
fn left_aligned(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The first `length` bits set.
const fn mask(length: u8) -> u128 {
    if length == 0 { 0 } else { u128::MAX << (128 - length as u32) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn table(networks: &[&str]) -> Lpm<usize> {
        networks.iter().enumerate().map(|(i, text)| (text.parse().expect(text), i)).collect()
    }

    fn get(table: &Lpm<usize>, address: &str) -> Option<usize> {
        table.get(address.parse().expect(address)).copied()
    }

    #[test]
    fn the_longest_prefix_wins_whatever_the_order() {
        let table = table(&["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "::/0"]);
        assert_eq!(get(&table, "8.8.8.8"), Some(0));
        assert_eq!(get(&table, "10.9.9.9"), Some(1));
        assert_eq!(get(&table, "10.1.9.9"), Some(2));
        assert_eq!(get(&table, "10.1.2.3"), Some(3));
        assert_eq!(get(&table, "2001:db8::1"), Some(4));
    }

    #[test]
    fn a_network_of_one_family_never_answers_for_the_other() {
        assert_eq!(get(&table(&["0.0.0.0/0"]), "::1"), None);
        assert_eq!(get(&table(&["::/0"]), "0.0.0.1"), None);
    }

    #[test]
    fn of_two_values_for_one_network_the_first_stays() {
        assert_eq!(get(&table(&["10.0.0.0/8", "10.0.0.0/8"]), "10.0.0.1"), Some(0));
    }

    #[test]
    fn every_network_around_an_address_is_found_the_longest_first() {
        let table =
            table(&["10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0", "10.1.2.0/24", "10.1.3.0/24"]);
        let around = |address: &str| -> Vec<usize> {
            table.matching(address.parse().expect(address)).copied().collect()
        };
        assert_eq!(around("10.1.2.9"), [3, 0, 1, 2]);
        assert_eq!(around("10.1.9.9"), [0, 1, 2]);
        assert_eq!(around("10.9.9.9"), [1, 2]);
        assert_eq!(around("9.9.9.9"), [2]);
        assert_eq!(around("::1"), [0_usize; 0]);
    }

    /// Addresses from a small part of each family, so that networks overlap often.
    fn crowded_address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u16>().prop_map(|low| IpAddr::V4((0x0a00_0000 | u32::from(low)).into())),
            any::<u16>().prop_map(|low| IpAddr::V6(
                ((0xfd00_u128 << 112) | (u128::from(low) << 60)).into()
            )),
        ]
    }

    fn network() -> impl Strategy<Value = IpNet> {
        (crowded_address(), any::<u8>()).prop_map(|(address, length)| {
            let longest = if address.is_ipv4() { 32 } else { 128 };
            IpNet::new(address, length % (longest + 1)).expect("length is in range").trunc()
        })
    }

    proptest! {
        #[test]
        fn a_lookup_finds_what_a_scan_over_all_networks_finds(
            networks in prop::collection::vec(network(), 0..60),
            addresses in prop::collection::vec(crowded_address(), 1..60),
        ) {
            let table: Lpm<usize> =
                networks.iter().enumerate().map(|(i, network)| (*network, i)).collect();
            for address in addresses {
                let scanned = networks
                    .iter()
                    .enumerate()
                    .filter(|(_, network)| network.contains(&address))
                    .max_by_key(|(i, network)| (network.prefix_len(), std::cmp::Reverse(*i)))
                    .map(|(i, _)| i);
                prop_assert_eq!(table.get(address).copied(), scanned);
                let around = networks.iter().filter(|network| network.contains(&address));
                let lengths: BTreeSet<u8> = around.map(IpNet::prefix_len).collect();
                let found = table.matching(address).map(|&i| networks[i].prefix_len());
                prop_assert_eq!(found.collect::<Vec<_>>(), lengths.into_iter().rev().collect::<Vec<_>>());
            }
        }
    }
}
