//! Well-formed frames that should not be where they are: sources and claims that are not the
//! sender's, destinations that nobody serves.

use std::net::SocketAddr;

use nf_core::packet::{Frame, TcpFlags, build};

use super::Ends::Engine;
use super::bytes::with4;
use super::{expect, with_a_download};
use crate::harness::{Datapath, LAN, Office, Wire};

on_each_datapath!(what_does_not_belong_on_a_port_is_refused_with_its_reason,);

/// The office with an interface of an instance: a printer, on a link of its own.
fn with_printer() -> String {
    Office::resources("", "")
        + r#"
[[network_interface]]
network_interface_id = "eni-printer"
subnet_id = "subnet-lan"
private_ip_address = "10.0.1.99"
ipv6_addresses = ["fd00:10:0:1::99"]
mac_address = "02:00:00:00:00:99"
port = "printer0"
"#
}

/// Frames of one wire, told apart by who claims to send them.
struct Claims<'a>(&'a Wire);

impl Claims<'_> {
    fn udp(&self, src: &str, dst: &str) -> Vec<u8> {
        let frame = Frame::udp(at(src), at(dst)).macs(self.0.mac, self.0.peer);
        frame.payload(*b"stray").build()
    }

    fn tcp(&self, src: &str, dst: &str, flags: TcpFlags) -> Vec<u8> {
        Frame::tcp(at(src), at(dst)).macs(self.0.mac, self.0.peer).flags(flags).build()
    }

    /// "It is at my MAC address", as an answer that nobody asked for.
    fn arp(&self, address: [u8; 4]) -> Vec<u8> {
        let (mac, peer) = (self.0.mac, self.0.peer);
        let mut frame = build::arp_reply(mac, address.into(), peer, [10, 0, 1, 1].into());
        frame[6..12].copy_from_slice(mac.as_bytes());
        frame
    }

    fn ndp(&self, address: &str) -> Vec<u8> {
        let address = address.parse().unwrap();
        let mut frame = build::neighbour_advertisement(self.0.mac, address, true, None);
        frame[6..12].copy_from_slice(self.0.mac.as_bytes());
        frame
    }
}

/// Some port of an address.
fn at(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), 50_000)
}

const SERVER: &str = "198.51.100.1";
const SERVER6: &str = "2001:db8:2::1";
const CLIENT: &str = "10.0.1.10";

fn what_does_not_belong_on_a_port_is_refused_with_its_reason(datapath: Datapath) {
    with_a_download("bad-sources", datapath, &with_printer(), |office| {
        let lan = Wire::open(&office.client, "eth0", &office.gateway.namespace, LAN);
        let wan = Wire::open(&office.internet, "eth0", &office.gateway.namespace, "wan0");
        from_the_lan(office, &lan);
        to_where_nobody_is(office, &lan);
        from_outside(office, &wan);
        // None of it was believed: who asks for the printer from the LAN is still sent to the
        // gateway, and who asks from outside for the Elastic IP address as well.
        for (wire, asker, target) in
            [(&lan, [10, 0, 1, 10], [10, 0, 1, 99]), (&wan, [203, 0, 113, 1], [203, 0, 113, 10])]
        {
            let question = build::arp_request(wire.mac, asker.into(), target.into());
            let answer = [&[0, 2], &wire.peer.as_bytes()[..], &target].concat();
            let answered = wire.is_answered(&question, |frame| {
                frame[12..14] == [0x08, 0x06] && frame.get(20..32) == Some(&answer)
            });
            assert!(answered, "{target:?} is answered for by the gateway");
        }
    });
}

fn from_the_lan(office: &Office, lan: &Wire) {
    let (udp, tcp) =
        (|src, dst| Claims(lan).udp(src, dst), |src| Claims(lan).tcp(src, src, TcpFlags::SYN));
    let cases = [
        ("land", udp(CLIENT, CLIENT)),
        ("land, IPv6", udp("fd00:10:0:1::10", "fd00:10:0:1::10")),
        ("land at the router", tcp("10.0.1.1")),
        ("from another network", udp("10.0.7.1", SERVER)),
        ("from another network, IPv6", udp("fd00:10:0:7::1", SERVER6)),
        ("from the router", udp("10.0.1.1", SERVER)),
        ("from an interface elsewhere", udp("10.0.1.99", SERVER)),
        ("from an interface elsewhere, IPv6", udp("fd00:10:0:1::99", SERVER6)),
        ("from the Elastic IP address", udp("203.0.113.10", SERVER)),
        ("from loopback", udp("127.0.0.1", SERVER)),
        ("from a group", udp("224.0.0.1", SERVER)),
        ("from everybody", udp("255.255.255.255", SERVER)),
        ("from nobody", udp("0.0.0.0", SERVER)),
        ("from a mapped address", udp("::ffff:10.0.1.10", SERVER6)),
    ];
    expect(office, lan, Engine("source_check"), cases);
    let cases = [
        ("the router's address", Claims(lan).arp([10, 0, 1, 1])),
        ("an interface's address", Claims(lan).arp([10, 0, 1, 99])),
        ("an address of elsewhere", Claims(lan).arp([203, 0, 113, 1])),
        ("the router's address, IPv6", Claims(lan).ndp("fd00:10:0:1::1")),
        ("an interface's address, IPv6", Claims(lan).ndp("fd00:10:0:1::99")),
    ];
    expect(office, lan, Engine("neighbour_spoof"), cases);
}

fn to_where_nobody_is(office: &Office, lan: &Wire) {
    let udp = |dst| Claims(lan).udp(CLIENT, dst);
    let tcp = |flags| Claims(lan).tcp(CLIENT, SERVER, flags);
    let question = build::arp_request(lan.mac, [10, 0, 1, 10].into(), [10, 0, 1, 77].into());
    let cases = [("a question for nobody", question), ("to the router", udp("10.0.1.1"))];
    expect(office, lan, Engine("not_served"), cases);
    let cases =
        [("to the metadata of a cloud", udp("169.254.169.254")), ("to loopback", udp("127.0.0.1"))];
    expect(office, lan, Engine("no_route"), cases);
    expect(office, lan, Engine("no_destination"), [("within the VPC", udp("10.0.9.9"))]);
    let cases = [
        ("a segment of no connection", tcp(TcpFlags::ACK)),
        ("a RST of no connection", tcp(TcpFlags::RST)),
    ];
    expect(office, lan, Engine("no_flow"), cases);
    let last_hop = with4(&udp(SERVER), 8, &[1]);
    expect(office, lan, Engine("time_to_live"), [("at the end of its life", last_hop)]);
}

fn from_outside(office: &Office, wan: &Wire) {
    let udp = |src, dst| Claims(wan).udp(src, dst);
    let syn = Claims(wan).tcp(SERVER, "203.0.113.10", TcpFlags::SYN);
    let cases = [
        ("to the Elastic IP address", udp(SERVER, "203.0.113.10")),
        ("to the Elastic IP address, IPv6", udp(SERVER6, "2001:db8:1::10")),
        ("a SYN to the Elastic IP address", syn),
        ("to a private address", udp(SERVER, CLIENT)),
        ("to a private address, IPv6", udp(SERVER6, "fd00:10:0:1::10")),
    ];
    expect(office, wan, Engine("unsolicited"), cases);
    let cases = [
        ("land", udp("203.0.113.10", "203.0.113.10")),
        ("from one of ours", udp("203.0.113.10", "203.0.113.2")),
        ("from one of ours, IPv6", udp("2001:db8:1::10", "2001:db8:1::2")),
    ];
    expect(office, wan, Engine("source_check"), cases);
    let cases = [
        ("an Elastic IP address", Claims(wan).arp([203, 0, 113, 10])),
        ("the uplink's address", Claims(wan).arp([203, 0, 113, 2])),
        ("an Elastic IP address, IPv6", Claims(wan).ndp("2001:db8:1::10")),
        ("the uplink's address, IPv6", Claims(wan).ndp("2001:db8:1::2")),
    ];
    expect(office, wan, Engine("neighbour_spoof"), cases);
    expect(office, wan, Engine("not_served"), [("to the uplink", udp(SERVER, "203.0.113.2"))]);
}
