//! Packets of IPv6 to IPv4 (RFC 6146): a destination that stands for an IPv4 address becomes that
//! address, and from there on the flow is translated as one of IPv4.
//!
//! As at AWS there is nothing to switch on: whatever a route table sends here is translated. Any IPv4
//! address that a route leads to is reached, private ones too, though RFC 6052, section 3.1, would
//! not have the well-known prefix stand for those: networks on premises are a documented use of
//! AWS's. Loopback, link-local and multicast addresses are nobody's to reach through a router, which
//! is the engine's to see (`no_route`).

use nf_core::nat64::Nat64Prefix;
use nf_core::pipeline::Walk;
use nf_core::tuple::{Protocol, Tuple};
use std::net::{IpAddr, SocketAddr};

/// Makes an IPv4 destination of one that stands for it; others stay as they are.
pub(crate) fn enter(walk: &mut Walk<'_>, prefixes: &[Nat64Prefix]) {
    if let Some(translated) = translated(&walk.tuple, prefixes) {
        walk.tuple = translated;
    }
}

/// The tuple with an IPv4 destination; its source is still the client's IPv6 address. RFC 7915,
/// section 5.1: ICMPv6 becomes ICMP.
fn translated(tuple: &Tuple, prefixes: &[Nat64Prefix]) -> Option<Tuple> {
    let IpAddr::V6(dst) = tuple.dst.ip() else { return None };
    let dst = prefixes.iter().find_map(|prefix| prefix.extract(dst))?;
    let protocol = match tuple.protocol {
        Protocol::Icmpv6 => Protocol::Icmp,
        other => other,
    };
    Some(Tuple { protocol, dst: SocketAddr::new(dst.into(), tuple.dst.port()), ..*tuple })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(protocol: Protocol, dst: &str) -> Tuple {
        Tuple { protocol, src: "[fd00::1]:4000".parse().unwrap(), dst: dst.parse().unwrap() }
    }

    #[test]
    fn a_destination_in_any_of_the_prefixes_becomes_the_address_it_stands_for() {
        let own = "2001:db8:64::/48".parse().unwrap();
        let prefixes = [Nat64Prefix::WELL_KNOWN, own];
        for (dst, expected) in [
            ("[64:ff9b::c633:6401]:80", "198.51.100.1:80"),
            ("[2001:db8:64:c633:64:100::]:80", "198.51.100.1:80"),
        ] {
            let expected = Tuple { dst: expected.parse().unwrap(), ..tuple(Protocol::Tcp, dst) };
            assert_eq!(translated(&tuple(Protocol::Tcp, dst), &prefixes), Some(expected));
        }
        assert_eq!(translated(&tuple(Protocol::Tcp, "[2001:db8::1]:80"), &prefixes), None);
        assert_eq!(translated(&tuple(Protocol::Tcp, "198.51.100.1:80"), &prefixes), None);
        assert_eq!(translated(&tuple(Protocol::Tcp, "[64:ff9b::c633:6401]:80"), &[]), None);
    }

    #[test]
    fn an_icmpv6_echo_becomes_an_icmp_echo() {
        let ping = tuple(Protocol::Icmpv6, "[64:ff9b::c633:6401]:0");
        let translated = translated(&ping, &[Nat64Prefix::WELL_KNOWN]).unwrap();
        assert_eq!(translated.protocol, Protocol::Icmp);
        assert_eq!(translated.dst, "198.51.100.1:0".parse().unwrap());
    }
}
