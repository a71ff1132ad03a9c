//! Entries of packets that leave with the other address family. All of them are in `flows6`, where
//! there is room for the addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nf_core::fast_path::Entry;
use nf_core::tuple::{FlowKey, Protocol, Tuple};

use super::{
    FlowKey4, FlowKey6, FlowState, FlowValue6, Item, Key, Rewrite, delta, port_delta, tuple,
};

/// The bit of [`FlowKey6::scope_protocol`] that tells the key of IPv4 packets.
pub(super) const FLOW_KEY_IPV4: u32 = 1 << 7;

/// The flag of a [`FlowState`].
pub(super) const FLOW_TRANSLATED: u16 = 8;

/// The key by which `flows6` has the entry of IPv4 packets that leave as IPv6.
impl From<&FlowKey4> for FlowKey6 {
    fn from(key: &FlowKey4) -> Self {
        Self {
            saddr: in_first_word(key.saddr),
            daddr: in_first_word(key.daddr),
            sport: key.sport,
            dport: key.dport,
            scope_protocol: key.scope_protocol | FLOW_KEY_IPV4,
        }
    }
}

/// The key that such a one was made of; `None` of other keys.
pub(super) fn ipv4_key(key: &FlowKey6) -> Option<FlowKey4> {
    (key.scope_protocol & FLOW_KEY_IPV4 != 0).then(|| FlowKey4 {
        saddr: first_word(key.saddr),
        daddr: first_word(key.daddr),
        sport: key.sport,
        dport: key.dport,
        scope_protocol: key.scope_protocol & !FLOW_KEY_IPV4,
    })
}

/// Whether packets of this entry leave with the other address family.
pub(super) const fn is_translated(state: &FlowState) -> bool {
    state.flags & FLOW_TRANSLATED != 0
}

/// The kernel's form of an entry; `None` if what packets leave with mixes families.
pub(super) fn encode(key: &FlowKey, from: Key, to: &Tuple, state: FlowState) -> Option<Item> {
    let (from, saddr, daddr) = match (from, to.src.ip(), to.dst.ip()) {
        (Key::V4(key), IpAddr::V6(src), IpAddr::V6(dst)) => {
            (FlowKey6::from(&key), src.octets(), dst.octets())
        }
        (Key::V6(key), IpAddr::V4(src), IpAddr::V4(dst)) => {
            (key, in_first_word(src.octets()), in_first_word(dst.octets()))
        }
        _ => return None,
    };
    let rewrite = Rewrite {
        sport: to.src.port().to_be_bytes(),
        dport: to.dst.port().to_be_bytes(),
        address_delta: delta(&pseudo_header(&key.tuple), &pseudo_header(to)),
        port_delta: port_delta(&key.tuple, to),
    };
    let state = FlowState { flags: state.flags | FLOW_TRANSLATED, ..state };
    Some(Item::V6(from, FlowValue6 { saddr, daddr, rewrite, state }))
}

/// The core's form of a value that [`is_translated`].
pub(super) fn decode(value: &FlowValue6, key: &FlowKey) -> Entry {
    let FlowValue6 { saddr, daddr, rewrite: ports, state } = value;
    let protocol = match key.tuple.protocol {
        Protocol::Icmp => Protocol::Icmpv6,
        Protocol::Icmpv6 => Protocol::Icmp,
        other => other,
    };
    state.entry(if key.tuple.is_ipv4() {
        let (src, dst) = (Ipv6Addr::from(*saddr), Ipv6Addr::from(*daddr));
        tuple(protocol, (src, ports.sport), (dst, ports.dport))
    } else {
        let (src, dst) = (Ipv4Addr::from(first_word(*saddr)), Ipv4Addr::from(first_word(*daddr)));
        tuple(protocol, (src, ports.sport), (dst, ports.dport))
    })
}

/// What the transport checksum covers of a pseudo-header that changes, but for the length of ICMPv6
/// messages: ICMP's covers none of it.
fn pseudo_header(tuple: &Tuple) -> Vec<u8> {
    let address = |address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let addresses = [address(tuple.src.ip()), address(tuple.dst.ip())].concat();
    match tuple.protocol {
        Protocol::Icmp => Vec::new(),
        Protocol::Icmpv6 => [&addresses[..], &[0, Protocol::Icmpv6.number()]].concat(),
        Protocol::Tcp | Protocol::Udp => addresses,
    }
}

fn in_first_word(address: [u8; 4]) -> [u8; 16] {
    let mut words = [0; 16];
    words[..4].copy_from_slice(&address);
    words
}

fn first_word([a, b, c, d, ..]: [u8; 16]) -> [u8; 4] {
    [a, b, c, d]
}
