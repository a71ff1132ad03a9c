//! A flow key in 40 bytes, as the table stores it; the public form has 72.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::id::PortId;
use crate::tuple::{FlowKey, Protocol, Tuple};

/// Set in `scope` where the addresses are IPv4. A port number has 23 bits, so it is free.
const IPV4: u32 = 1 << 31;

/// A [`FlowKey`] with its addresses packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PackedKey {
    src: [u8; 16],
    dst: [u8; 16],
    src_port: u16,
    dst_port: u16,
    /// Family bit, port number, protocol number in the low byte.
    scope: u32,
}

impl From<&FlowKey> for PackedKey {
    fn from(key: &FlowKey) -> Self {
        let Tuple { protocol, src, dst } = key.tuple;
        let family = if src.is_ipv4() { IPV4 } else { 0 };
        Self {
            src: pack(src.ip()),
            dst: pack(dst.ip()),
            src_port: src.port(),
            dst_port: dst.port(),
            scope: family | key.port.get() << 8 | u32::from(protocol.number()),
        }
    }
}

impl PackedKey {
    /// The key as it was packed.
    pub(super) fn unpack(&self) -> FlowKey {
        let ipv4 = self.scope & IPV4 != 0;
        let address = |octets, port| SocketAddr::new(unpack(octets, ipv4), port);
        FlowKey {
            port: self.port(),
            tuple: Tuple {
                protocol: Protocol::from_number(self.scope as u8)
                    .unwrap_or_else(|| unreachable!("packed from a protocol")),
                src: address(self.src, self.src_port),
                dst: address(self.dst, self.dst_port),
            },
        }
    }

    /// The port alone.
    pub(super) fn port(&self) -> PortId {
        PortId::new((self.scope & !IPV4) >> 8).unwrap_or_else(|| unreachable!("packed from a port"))
    }
}

fn pack(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn unpack(octets: [u8; 16], ipv4: bool) -> IpAddr {
    if ipv4 {
        let [.., a, b, c, d] = octets;
        Ipv4Addr::new(a, b, c, d).into()
    } else {
        Ipv6Addr::from(octets).into()
    }
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
