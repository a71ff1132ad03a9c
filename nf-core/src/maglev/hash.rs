//! The keyed hash that every node computes alike: SipHash-1-3 over canonical bytes.
//!
//! In-process tables use `ahash`, whose output differs between CPUs and versions. Whatever two
//! nodes, or user space and the kernel program, must agree on goes through here instead: backend
//! ids, flows and clients. SipHash-1-3 rather than 2-4, because a BPF program has to be able to
//! afford it per first packet.

use std::hash::Hasher as _;
use std::net::{IpAddr, SocketAddr};

use siphasher::sip::SipHasher13;

use crate::tuple::Tuple;

/// The 128-bit key of the hash. Nodes that are to decide alike share it; clients must not know it,
/// or they could aim all their flows at one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashSeed {
    /// The first half of the key, bytes 0 to 7 in little-endian order.
    pub k0: u64,
    /// The second half, bytes 8 to 15.
    pub k1: u64,
}

impl HashSeed {
    /// SipHash-1-3 of `bytes` under this key.
    #[must_use]
    pub fn hash(self, bytes: &[u8]) -> u64 {
        SipHasher13::new_with_keys(self.k0, self.k1).hash(bytes)
    }
}

/// The hash of a flow's first packet, to look a target up with.
///
/// The bytes are source address, destination address, source port, destination port, `extra`,
/// protocol number, all in network order: 17 bytes for IPv4, 41 for IPv6. For TCP, `extra` is the
/// sequence number of the SYN, as an NLB has it: "the load balancer selects a target using a flow
/// hash algorithm, based on the protocol, source IP address, source port, destination IP address,
/// destination port, and TCP sequence number". For all else it is zero.
#[must_use]
pub fn flow_hash(seed: HashSeed, tuple: &Tuple, extra: u32) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(seed.k0, seed.k1);
    write_address(&mut hasher, tuple.src);
    write_address(&mut hasher, tuple.dst);
    // Only `write` hashes the same bytes on every machine: the integer methods use native order.
    hasher.write(&tuple.src.port().to_be_bytes());
    hasher.write(&tuple.dst.port().to_be_bytes());
    hasher.write(&extra.to_be_bytes());
    hasher.write(&[tuple.protocol.number()]);
    hasher.finish()
}

fn write_address(hasher: &mut SipHasher13, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => hasher.write(&ip.octets()),
        IpAddr::V6(ip) => hasher.write(&ip.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::Protocol;

    const SEED: HashSeed = HashSeed { k0: 0x0706_0504_0302_0100, k1: 0x0f0e_0d0c_0b0a_0908 };

    fn tuple(protocol: Protocol, src: &str, dst: &str) -> Tuple {
        Tuple { protocol, src: src.parse().unwrap(), dst: dst.parse().unwrap() }
    }

    #[test]
    fn the_hash_has_its_known_answers() {
        // Computed by another implementation, written from the SipHash paper and checked against
        // the paper's own vector for 2-4.
        assert_eq!(SEED.hash(b""), 0xabac_0158_050f_c4dc);
        assert_eq!(SEED.hash(b"i-0123456789abcdef0"), 0x315e_af21_fb8e_545a);
        let ipv4 = tuple(Protocol::Tcp, "192.0.2.10:40000", "203.0.113.5:443");
        assert_eq!(flow_hash(SEED, &ipv4, 0xdead_beef), 0xb2a9_8374_b9fb_e33e);
        let ipv6 = tuple(Protocol::Udp, "[2001:db8::10]:40000", "[2001:db8:1::5]:53");
        assert_eq!(flow_hash(SEED, &ipv6, 0), 0xd466_6a17_8bdd_570e);
    }

    #[test]
    fn every_field_of_a_flow_counts() {
        let base = tuple(Protocol::Tcp, "192.0.2.10:40000", "203.0.113.5:443");
        let variants = [
            (base, 0),
            (base, 1),
            (Tuple { protocol: Protocol::Udp, ..base }, 0),
            (tuple(Protocol::Tcp, "192.0.2.11:40000", "203.0.113.5:443"), 0),
            (tuple(Protocol::Tcp, "192.0.2.10:40001", "203.0.113.5:443"), 0),
            (tuple(Protocol::Tcp, "192.0.2.10:40000", "203.0.113.6:443"), 0),
            (tuple(Protocol::Tcp, "192.0.2.10:40000", "203.0.113.5:444"), 0),
            (base.reversed(), 0),
            (tuple(Protocol::Tcp, "[::ffff:192.0.2.10]:40000", "[::ffff:203.0.113.5]:443"), 0),
        ];
        let hashes: std::collections::BTreeSet<u64> =
            variants.iter().map(|(tuple, extra)| flow_hash(SEED, tuple, *extra)).collect();
        assert_eq!(hashes.len(), variants.len());
    }

    #[test]
    fn zone_and_flow_label_of_a_socket_address_do_not_count() {
        let plain = tuple(Protocol::Udp, "[fe80::1]:1", "[fe80::2]:2");
        let zoned = tuple(Protocol::Udp, "[fe80::1%7]:1", "[fe80::2%7]:2");
        assert_ne!(plain, zoned);
        assert_eq!(flow_hash(SEED, &plain, 0), flow_hash(SEED, &zoned, 0));
    }
}
