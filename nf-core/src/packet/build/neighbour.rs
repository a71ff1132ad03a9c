//! ARP and neighbour discovery.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Addresses, Envelope};
use crate::packet::arp::{self, Operation};
use crate::packet::ethernet::{self, EtherType};
use crate::packet::mac::MacAddr;
use crate::packet::ndp::{self, NdpType, solicited_node};
use crate::tuple::Protocol;

/// Asks everyone on the link for the Ethernet address of `target`. With `target` being `sender_ip`
/// itself it is a gratuitous announcement.
#[must_use]
pub fn arp_request(sender_mac: MacAddr, sender_ip: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let sender = (sender_mac, sender_ip);
    arp(Operation::Request, sender, (MacAddr::default(), target), MacAddr::BROADCAST)
}

/// Tells `target` that `sender_ip` is at `sender_mac`.
#[must_use]
pub fn arp_reply(
    sender_mac: MacAddr,
    sender_ip: Ipv4Addr,
    target_mac: MacAddr,
    target_ip: Ipv4Addr,
) -> Vec<u8> {
    let sender = (sender_mac, sender_ip);
    arp(Operation::Reply, sender, (target_mac, target_ip), target_mac)
}

fn arp(
    operation: Operation,
    sender: (MacAddr, Ipv4Addr),
    target: (MacAddr, Ipv4Addr),
    dst_mac: MacAddr,
) -> Vec<u8> {
    let mut frame = ethernet::header(dst_mac, sender.0, EtherType::ARP).to_vec();
    frame.extend(arp::packet(operation, sender, target));
    frame
}

/// Asks for the Ethernet address of `target`, to its solicited-node group.
///
/// With the unspecified address as `sender_ip` it is a probe for a duplicate address and tells no
/// Ethernet address. RFC 4861, section 4.3: the option "MUST NOT be included when the source IP
/// address is the unspecified address".
#[must_use]
pub fn neighbour_solicitation(
    sender_mac: MacAddr,
    sender_ip: Ipv6Addr,
    target: Ipv6Addr,
) -> Vec<u8> {
    let group = solicited_node(target);
    let option = (!sender_ip.is_unspecified()).then_some((ndp::OPTION_SOURCE, sender_mac));
    let message = ndp::message(NdpType::NeighbourSolicitation, 0, target, option);
    ndp(sender_mac, MacAddr::ipv6_multicast(group), Addresses::V6(sender_ip, group), message)
}

/// Tells that `target` is at `mac`: to the one at `answered` who asked, or, without one, to all
/// nodes. `router` says that the target forwards packets.
///
/// RFC 4861, section 7.2.4: "If the source of the solicitation is the unspecified address, the node
/// MUST set the Solicited flag to zero and multicast the advertisement to the all-nodes address."
#[must_use]
pub fn neighbour_advertisement(
    mac: MacAddr,
    target: Ipv6Addr,
    router: bool,
    answered: Option<(MacAddr, Ipv6Addr)>,
) -> Vec<u8> {
    const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let answered = answered.filter(|(_, ip)| !ip.is_unspecified());
    let (dst_mac, dst) = answered.unwrap_or((MacAddr::ipv6_multicast(ALL_NODES), ALL_NODES));
    let mut flags = ndp::FLAG_OVERRIDE;
    if router {
        flags |= ndp::FLAG_ROUTER;
    }
    if answered.is_some() {
        flags |= ndp::FLAG_SOLICITED;
    }
    let option = Some((ndp::OPTION_TARGET, mac));
    let message = ndp::message(NdpType::NeighbourAdvertisement, flags, target, option);
    ndp(mac, dst_mac, Addresses::V6(target, dst), message)
}

fn ndp(src_mac: MacAddr, dst_mac: MacAddr, addresses: Addresses, message: Vec<u8>) -> Vec<u8> {
    let envelope = Envelope { ttl: ndp::HOP_LIMIT, ..Envelope::new(src_mac, dst_mac, addresses) };
    envelope.seal(Protocol::Icmpv6, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const PEER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn address(last: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x12, last)
    }

    #[test]
    fn an_arp_request_goes_to_everyone() {
        let frame = arp_request(MAC, Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6, // Ethernet
            0, 1, 8, 0, 6, 4, 0, 1, // IPv4 on Ethernet, request
            2, 0, 0, 0, 0, 1, 10, 0, 0, 1, // sender
            0, 0, 0, 0, 0, 0, 10, 0, 0, 2, // target
        ];
        assert_eq!(frame, expected);
    }

    #[test]
    fn an_arp_reply_goes_to_the_one_who_asked() {
        let sender_ip = Ipv4Addr::new(10, 0, 0, 2);
        let frame = arp_reply(MAC, sender_ip, PEER, Ipv4Addr::new(10, 0, 0, 1));
        let expected = [
            2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 6, // Ethernet
            0, 1, 8, 0, 6, 4, 0, 2, // IPv4 on Ethernet, reply
            2, 0, 0, 0, 0, 1, 10, 0, 0, 2, // sender
            2, 0, 0, 0, 0, 2, 10, 0, 0, 1, // target
        ];
        assert_eq!(frame, expected);
    }

    #[test]
    fn a_solicitation_goes_to_the_targets_group_and_tells_who_asks() {
        let frame = neighbour_solicitation(MAC, address(1), address(0x3456));
        let expected = [
            0x33, 0x33, 0xff, 0x12, 0x34, 0x56, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, // Ethernet
            0x60, 0, 0, 0, 0, 32, 58, 255, // IPv6: 32 bytes of ICMPv6, hop limit 255
            0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0, 1, // source
            0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0x12, 0x34, 0x56, // group
            135, 0, 0x11, 0xb9, 0, 0, 0, 0, // neighbour solicitation
            0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0x56, // target
            1, 1, 2, 0, 0, 0, 0, 1, // source link-layer address
        ];
        assert_eq!(frame, expected);
    }

    #[test]
    fn a_probe_for_duplicates_tells_no_ethernet_address() {
        let frame = neighbour_solicitation(MAC, Ipv6Addr::UNSPECIFIED, address(0x3456));
        assert_eq!(frame.len(), 14 + 40 + 24);
        assert_eq!(frame[22..38], [0; 16]);
    }

    #[test]
    fn an_advertisement_answers_the_one_who_asked() {
        let frame = neighbour_advertisement(MAC, address(1), true, Some((PEER, address(2))));
        let expected = [
            2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, // Ethernet
            0x60, 0, 0, 0, 0, 32, 58, 255, // IPv6: 32 bytes of ICMPv6, hop limit 255
            0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0, 1, // source
            0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0, 2, // destination
            136, 0, 0x97, 0xe5, 0xe0, 0, 0, 0, // router, solicited, override
            0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0, 1, // target
            2, 1, 2, 0, 0, 0, 0, 1, // target link-layer address
        ];
        assert_eq!(frame, expected);
    }

    #[test]
    fn an_advertisement_that_answers_no_one_or_a_probe_goes_to_all_nodes() {
        let frame = neighbour_advertisement(MAC, address(1), false, None);
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(frame[38..54], Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets());
        assert_eq!(frame[58], 0x20, "override alone");
        let probe = Some((PEER, Ipv6Addr::UNSPECIFIED));
        assert_eq!(neighbour_advertisement(MAC, address(1), false, probe), frame);
    }
}
