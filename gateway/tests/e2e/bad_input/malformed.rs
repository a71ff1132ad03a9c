//! Headers that are cut short, contradict themselves, or are of nothing that is known.

use nf_core::packet::{Frame, TcpFlags, build};

use super::Ends::{Engine, Fast};
use super::bytes::{IPV4, IPV6, cut, extended, of_type, tagged, to_mac, with, with4};
use super::{expect, with_a_download};
use crate::harness::{Datapath, Family, LAN, Office, Wire, eventually};

on_each_datapath!(every_malformed_frame_has_its_counter_and_hurts_nobody,);

/// What a host of the LAN sends, in good order.
struct Good {
    udp: Vec<u8>,
    udp6: Vec<u8>,
    syn: Vec<u8>,
    syn6: Vec<u8>,
    echo: Vec<u8>,
}

impl Good {
    fn on(wire: &Wire) -> Self {
        let udp = |family: Family| {
            let frame = Frame::udp(family.client_at(50_000), family.server_at(7));
            frame.macs(wire.mac, wire.peer).payload([0x55; 40]).build()
        };
        let (v4, v6) = (Family::V4, Family::V6);
        let echo = Frame::echo_request(v4.client, v4.server, 7, 1).macs(wire.mac, wire.peer);
        Self {
            udp: udp(v4),
            udp6: udp(v6),
            syn: segment(wire, v4, TcpFlags::SYN),
            syn6: segment(wire, v6, TcpFlags::SYN),
            echo: echo.build(),
        }
    }
}

fn segment(wire: &Wire, family: Family, flags: TcpFlags) -> Vec<u8> {
    let frame = Frame::tcp(family.client_at(50_000), family.server_at(7));
    frame.macs(wire.mac, wire.peer).flags(flags).build()
}

fn every_malformed_frame_has_its_counter_and_hurts_nobody(datapath: Datapath) {
    with_a_download("bad-frames", datapath, &Office::resources("", ""), |office| {
        let wire = Wire::open(&office.client, "eth0", &office.gateway.namespace, LAN);
        let good = Good::on(&wire);
        truncated_and_contradictory(office, &wire, &good);
        corrupted(office, &wire, &good);
        in_pieces_or_extended(office, &wire, &good);
        unknown(office, &wire, &good);
    });
}

fn truncated_and_contradictory(office: &Office, wire: &Wire, good: &Good) {
    let Good { udp, udp6, syn, syn6, .. } = good;
    let cases = [
        ("half an IPv4 header", cut(udp, 10)),
        ("half an IPv6 header", cut(udp6, 25)),
        ("no transport header", with4(&cut(udp, IPV4), 2, &[0, 20])),
        ("half a TCP header", with4(&cut(syn, IPV4 + 12), 2, &[0, 32])),
        ("more announced than is there", cut(udp, IPV4 + 20)),
        ("more announced than is there, IPv6", cut(udp6, IPV6 + 20)),
        ("a header of four words", with4(udp, 0, &[0x44])),
        ("a header longer than the packet", with4(udp, 2, &[0, 19])),
        ("version 5", with4(udp, 0, &[0x55])),
        ("version 4 under the type of IPv6", with(udp6, 0, &[0x45])),
    ];
    expect(office, wire, Fast("malformed"), cases);

    let arp = build::arp_request(wire.mac, [10, 0, 1, 10].into(), [10, 0, 1, 1].into());
    let flags = |family, flags| segment(wire, family, flags);
    let (v4, v6) = (Family::V4, Family::V6);
    let cases = [
        ("an ARP request cut short", cut(&arp, 16)),
        ("a UDP length past the packet", with(udp, IPV4 + 4, &[0, 200])),
        ("a UDP length below its header", with(udp, IPV4 + 4, &[0, 7])),
        ("a UDP length past the packet, IPv6", with(udp6, IPV6 + 4, &[0, 200])),
        ("a TCP header of two words", with(syn, IPV4 + 12, &[0x20])),
        ("a TCP header past the packet", with(syn6, IPV6 + 12, &[0xf0])),
        ("SYN with FIN", flags(v4, TcpFlags::SYN | TcpFlags::FIN)),
        ("SYN with RST", flags(v4, TcpFlags::SYN | TcpFlags::RST)),
        ("SYN with FIN, IPv6", flags(v6, TcpFlags::SYN | TcpFlags::FIN)),
        ("all flags", flags(v6, TcpFlags(0xff))),
    ];
    expect(office, wire, Engine("malformed"), cases);
}

fn corrupted(office: &Office, wire: &Wire, good: &Good) {
    let Good { udp, udp6, syn, syn6, echo } = good;
    let cases = [
        ("a wrong header checksum", with(udp, 10, &[0x12, 0x34])),
        ("a changed byte of UDP", with(udp, IPV4 + 30, &[0])),
        ("a changed byte of UDP, IPv6", with(udp6, IPV6 + 30, &[0])),
        ("no UDP checksum in IPv6", with(udp6, IPV6 + 6, &[0, 0])),
        ("a wrong TCP checksum", with(syn, IPV4 + 16, &[0x77])),
        ("a wrong TCP checksum, IPv6", with(syn6, IPV6 + 16, &[0x77])),
        ("a wrong ICMP checksum", with(echo, IPV4 + 2, &[0x77])),
    ];
    expect(office, wire, Engine("bad_checksum"), cases);
}

fn in_pieces_or_extended(office: &Office, wire: &Wire, good: &Good) {
    let Good { udp, udp6, syn, echo, .. } = good;
    let odd6 = extended(udp6, 44, [0, 0, 1, 0, 0, 0, 1]);
    let cases = [
        ("a first fragment of an odd length", with4(&with(udp, 2, &[0, 67]), 6, &[0x20, 0])),
        ("a fragment amid a TCP header", with4(syn, 6, &[0, 1])),
        ("the last fragment of a ping of death", with4(echo, 6, &[0x1f, 0xff])),
        ("a first fragment of an odd length, IPv6", with(&odd6, 4, &[0, 55])),
    ];
    expect(office, wire, Engine("fragment_invalid"), cases);
    // One of each family, whose first fragment never comes.
    let before = Engine("fragment_timeout").count(office);
    wire.send(&with4(udp, 6, &[0, 8]));
    wire.send(&extended(udp6, 44, [0, 0, 8, 0, 0, 0, 1]));
    eventually("both to be given up", || Engine("fragment_timeout").count(office) == before + 2);
    let cases = [
        ("hop-by-hop options", extended(udp6, 0, [0, 1, 4, 0, 0, 0, 0])),
        ("destination options", extended(udp6, 60, [0, 1, 4, 0, 0, 0, 0])),
        ("a routing header of type 0", extended(udp6, 43, [0; 7])),
    ];
    expect(office, wire, Engine("extension_header"), cases);
}

fn unknown(office: &Office, wire: &Wire, good: &Good) {
    let Good { udp, udp6, .. } = good;
    let cases = [
        ("LLDP", of_type(udp, 0x88cc)),
        ("a length for a type", of_type(udp, 0x0040)),
        ("a VLAN tag", tagged(udp, 0x8100)),
        ("a service VLAN tag", tagged(udp, 0x88a8)),
    ];
    expect(office, wire, Fast("ether_type"), cases);
    let cases = [
        ("GRE", with4(udp, 9, &[47])),
        ("protocol 255", with4(udp, 9, &[255])),
        ("no next header", with(udp6, 6, &[59])),
    ];
    expect(office, wire, Fast("protocol"), cases);
    let group = with4(udp, 16, &[224, 0, 0, 251]);
    let cases = [
        ("multicast", to_mac(group, [1, 0, 0x5e, 0, 0, 0xfb])),
        ("broadcast", to_mac(udp.clone(), [0xff; 6])),
    ];
    expect(office, wire, Fast("multicast"), cases);
}
