//! Longest-prefix match over both address families, for tables of a few to a few thousand
//! networks: route tables, the subnets of a VPC.
//!
//! Networks are grouped by prefix length, longest first; each group is a sorted array. A look-up
//! is one binary search a length that is in use, which for a real route table is three or four,
//! and it allocates nothing.

use std::net::IpAddr;

use ipnet::IpNet;

/// A table from networks to values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lpm<T> {
    v4: Vec<Group<T>>,
    v6: Vec<Group<T>>,
}

/// The networks of one prefix length, sorted by address.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group<T> {
    length: u8,
    networks: Vec<(u128, T)>,
}

impl<T> Default for Lpm<T> {
    fn default() -> Self {
        Self { v4: Vec::new(), v6: Vec::new() }
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
        let bits = left_aligned(address);
        self.family(address).iter().filter_map(move |group| {
            let network = bits & mask(group.length);
            let found = group.networks.binary_search_by_key(&network, |(network, _)| *network);
            found.ok().map(|at| &group.networks[at].1)
        })
    }

    fn family(&self, address: IpAddr) -> &[Group<T>] {
        if address.is_ipv4() { &self.v4 } else { &self.v6 }
    }
}

impl<T> FromIterator<(IpNet, T)> for Lpm<T> {
    /// Of two values for one network the first stays. Host bits are ignored.
    fn from_iter<I: IntoIterator<Item = (IpNet, T)>>(networks: I) -> Self {
        let mut table = Self::default();
        for (network, value) in networks {
            let groups = if network.addr().is_ipv4() { &mut table.v4 } else { &mut table.v6 };
            let length = network.prefix_len();
            let at = match groups.binary_search_by(|group| length.cmp(&group.length)) {
                Ok(at) => at,
                Err(at) => {
                    groups.insert(at, Group { length, networks: Vec::new() });
                    at
                }
            };
            let bits = left_aligned(network.addr()) & mask(length);
            groups[at].networks.push((bits, value));
        }
        for group in table.v4.iter_mut().chain(&mut table.v6) {
            group.networks.sort_by_key(|(network, _)| *network);
            group.networks.dedup_by_key(|(network, _)| *network);
        }
        table
    }
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
            }
        }
    }
}
