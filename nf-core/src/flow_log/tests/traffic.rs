//! What records say of packets: addresses, directions, paths, flags.

use super::*;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

#[test]
fn an_interface_shows_its_primary_address_and_the_packets_their_own() {
    let fields = "interface-id flow-direction srcaddr dstaddr pkt-srcaddr pkt-dstaddr";
    let mut w = world(&minutely("vpc-1", fields));
    // From a secondary address, through an appliance that has neither address.
    pass(&mut w, "a", &udp("10.0.1.20:1", "192.168.7.7:2"), "c");
    until(&mut w, 20);
    assert_eq!(
        lines(&mut w)[..2],
        [
            "eni-a egress 10.0.1.10 192.168.7.7 10.0.1.20 192.168.7.7",
            "eni-c ingress 10.0.1.20 10.0.1.12 10.0.1.20 192.168.7.7",
        ]
    );
    // The appliance forwards for somebody else.
    pass(&mut w, "c", &udp("192.168.9.9:1", "10.0.1.11:2"), "b");
    pass(&mut w, "b", &udp("10.0.1.11:2", "192.168.9.9:1"), "c");
    until(&mut w, 80);
    assert_eq!(
        lines(&mut w)[..4],
        [
            "eni-c egress 10.0.1.12 10.0.1.11 192.168.9.9 10.0.1.11",
            "eni-b ingress 192.168.9.9 10.0.1.11 192.168.9.9 10.0.1.11",
            "eni-c ingress 10.0.1.11 10.0.1.12 10.0.1.11 192.168.9.9",
            "eni-b egress 10.0.1.11 192.168.9.9 10.0.1.11 192.168.9.9",
        ]
    );
}

#[test]
fn ipv6_is_logged_as_ipv4_is() {
    let fields = "interface-id srcaddr dstaddr srcport dstport protocol bytes type";
    let mut w = world(&minutely("eni-b", fields));
    pass(&mut w, "a", &udp("[fd00:a:0:1::10]:1", "[fd00:a:0:1::11]:2"), "b");
    until(&mut w, 20);
    assert_eq!(lines(&mut w), ["eni-b fd00:a:0:1::10 fd00:a:0:1::11 1 2 17 60 IPv6"]);
}

#[test]
fn icmp_has_no_ports_but_ours_tell_the_identifier() {
    let fields = "srcport dstport protocol hs-received-srcport hs-received-dstport tcp-flags";
    let mut w = world(&minutely("eni-b", fields));
    pass(&mut w, "a", &ping("10.0.1.10", "10.0.1.11", 77), "b");
    until(&mut w, 20);
    assert_eq!(lines(&mut w), ["0 0 1 77 0 0"]);
}

#[test]
fn the_path_of_what_leaves_an_interface_is_told_both_ways() {
    let fields = "interface-id flow-direction traffic-path";
    let mut w = world(&minutely("vpc-1", fields));
    pass(&mut w, "a", &udp("10.0.1.10:1", "10.0.1.11:2"), "b");
    pass(&mut w, "b", &udp("10.0.1.11:2", "10.0.1.10:1"), "a");
    until(&mut w, 20);
    assert_eq!(
        lines(&mut w)[..4],
        ["eni-a egress 1", "eni-b ingress -", "eni-a ingress -", "eni-b egress 1"]
    );
    pass(&mut w, "a", &udp("10.0.1.10:1", "192.0.2.7:2"), "wan");
    pass(&mut w, "wan", &udp("192.0.2.7:2", "198.51.100.10:1"), "a");
    until(&mut w, 80);
    assert_eq!(lines(&mut w)[..2], ["eni-a egress 8", "eni-a ingress -"]);
    // Out by the internet gateway and in again.
    pass(&mut w, "a", &udp("10.0.1.10:1", "198.51.100.11:2"), "b");
    pass(&mut w, "b", &udp("10.0.1.11:2", "198.51.100.10:1"), "a");
    until(&mut w, 140);
    assert_eq!(
        lines(&mut w)[..4],
        ["eni-a egress 8", "eni-b ingress -", "eni-a ingress -", "eni-b egress 8"]
    );
}

#[test]
fn flags_are_told_in_the_window_they_were_seen_in() {
    // The three windows of "TCP flag sequence" in the user guide.
    let fields = "srcport packets tcp-flags";
    let mut w = world(&minutely("eni-b", fields));
    let there =
        |w: &mut World, flags| pass(w, "a", &tcp("10.0.1.10:43416", "10.0.1.11:5001", flags), "b");
    let back =
        |w: &mut World, flags| pass(w, "b", &tcp("10.0.1.11:5001", "10.0.1.10:43416", flags), "a");
    there(&mut w, SYN);
    back(&mut w, SYN | ACK);
    there(&mut w, ACK);
    until(&mut w, 20);
    assert_eq!(lines(&mut w), ["43416 2 2", "5001 1 18"]);
    there(&mut w, ACK | PSH);
    back(&mut w, ACK);
    until(&mut w, 80);
    assert_eq!(lines(&mut w), ["43416 1 0", "5001 1 0"]);
    there(&mut w, FIN | ACK);
    back(&mut w, FIN | ACK);
    until(&mut w, 140);
    assert_eq!(lines(&mut w), ["43416 1 1", "5001 1 1"]);
}

#[test]
fn flags_of_a_short_connection_are_or_ed() {
    let mut w = world(&minutely("eni-b", "srcport tcp-flags"));
    pass(&mut w, "a", &tcp("10.0.1.10:1", "10.0.1.11:2", SYN), "b");
    pass(&mut w, "b", &tcp("10.0.1.11:2", "10.0.1.10:1", SYN | ACK), "a");
    pass(&mut w, "a", &tcp("10.0.1.10:1", "10.0.1.11:2", FIN | ACK), "b");
    pass(&mut w, "b", &tcp("10.0.1.11:2", "10.0.1.10:1", FIN | ACK), "a");
    until(&mut w, 20);
    assert_eq!(lines(&mut w), ["1 3", "2 19"]);
    pass(&mut w, "a", &tcp("10.0.1.10:7", "10.0.1.11:8", SYN), "b");
    pass(&mut w, "b", &tcp("10.0.1.11:8", "10.0.1.10:7", RST | ACK), "a");
    until(&mut w, 80);
    // That the side which opened is closed as well is the fast path's own note, no packet's flag.
    assert_eq!(lines(&mut w), ["7 2", "8 4"]);
}
