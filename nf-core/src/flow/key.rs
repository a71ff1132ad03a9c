//! A flow key as the table stores it: 16 bytes for IPv4, 40 for IPv6; the public form has 72.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::id::PortId;
use crate::tuple::{FlowKey, Protocol, Tuple};

/// A [`FlowKey`] with its addresses packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum PackedKey {
    V4(Key4),
    V6(Key6),
}

/// The same of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key4 {
    src: u32,
    dst: u32,
    rest: Rest,
}

/// The same of IPv6, and of whatever mixes the families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key6 {
    /// In two halves, which need no wider alignment than the rest.
    src: [u64; 2],
    dst: [u64; 2],
    rest: Rest,
}

/// What is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Rest {
    /// Source port and, in the lower half, destination port.
    ports: u32,
    /// The interface's number, and in the low byte the protocol's.
    scope: u32,
}

impl From<&FlowKey> for PackedKey {
    fn from(key: &FlowKey) -> Self {
        let Tuple { protocol, src, dst } = key.tuple;
        let rest = Rest {
            ports: u32::from(src.port()) << 16 | u32::from(dst.port()),
            scope: key.port.get() << 8 | u32::from(protocol.number()),
        };
        match (src.ip(), dst.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                Self::V4(Key4 { src: src.to_bits(), dst: dst.to_bits(), rest })
            }
            (src, dst) => Self::V6(Key6 { src: halves(src), dst: halves(dst), rest }),
        }
    }
}

impl PackedKey {
    /// The key as it was packed.
    pub(super) fn unpack(&self) -> FlowKey {
        let (src, dst, rest): (IpAddr, IpAddr, _) = match self {
            Self::V4(key) => {
                (Ipv4Addr::from(key.src).into(), Ipv4Addr::from(key.dst).into(), key.rest)
            }
            Self::V6(key) => (address(key.src), address(key.dst), key.rest),
        };
        FlowKey {
            port: rest.port(),
            tuple: Tuple {
                protocol: Protocol::from_number(rest.scope as u8)
                    .unwrap_or_else(|| unreachable!("packed from a protocol")),
                src: SocketAddr::new(src, (rest.ports >> 16) as u16),
                dst: SocketAddr::new(dst, rest.ports as u16),
            },
        }
    }

    /// The port alone.
    pub(super) fn port(&self) -> PortId {
        match self {
            Self::V4(key) => key.rest.port(),
            Self::V6(key) => key.rest.port(),
        }
    }
}

impl Key4 {
    /// No key, but the place of one in a slab.
    pub(super) const fn of_place(place: u32) -> Self {
        Self { src: place, dst: 0, rest: Rest { ports: 0, scope: 0 } }
    }

    /// The place that [`Self::of_place`] was given.
    pub(super) const fn place(&self) -> usize {
        self.src as usize
    }
}

impl Rest {
    fn port(self) -> PortId {
        PortId::new(self.scope >> 8).unwrap_or_else(|| unreachable!("packed from a port"))
    }
}

fn halves(ip: IpAddr) -> [u64; 2] {
    let bits = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    [(bits >> 64) as u64, bits as u64]
}

fn address([high, low]: [u64; 2]) -> IpAddr {
    Ipv6Addr::from(u128::from(high) << 64 | u128::from(low)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(port: u32, src: &str, dst: &str, protocol: Protocol) -> FlowKey {
        let tuple = Tuple { protocol, src: src.parse().unwrap(), dst: dst.parse().unwrap() };
        FlowKey { port: PortId::new(port).unwrap(), tuple }
    }

    #[test]
    fn a_packed_key_unpacks_to_itself() {
        for key in [
            key(1, "10.0.0.1:80", "192.0.2.1:65535", Protocol::Tcp),
            key(PortId::MAX, "[2001:db8::1]:1", "[fd00::2]:0", Protocol::Icmpv6),
            key(77, "0.0.0.0:0", "255.255.255.255:9", Protocol::Udp),
        ] {
            assert_eq!(PackedKey::from(&key).unpack(), key);
        }
    }

    #[test]
    fn an_ipv4_key_differs_from_its_mapped_ipv6_twin() {
        let v4 = key(1, "10.0.0.1:80", "10.0.0.2:80", Protocol::Tcp);
        let v6 = key(1, "[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.2]:80", Protocol::Tcp);
        assert_ne!(PackedKey::from(&v4), PackedKey::from(&v6));
        assert_eq!(PackedKey::from(&v6).unpack(), v6);
    }
}
