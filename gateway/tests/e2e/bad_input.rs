//! Frames that no stack would send: each ends in one counted verdict with its reason, and a
//! download beside them never notices.

use std::net::SocketAddr;
use std::time::Duration;

use halfspace_testbed::programs::{Echo, Nginx};
use nf_core::packet::{Frame, Headers, TcpFlags, build};

use crate::harness::{Datapath, Family, LAN, Office, SOON, Wire, converse, curl, eventually, url};

on_each_datapath!(
    every_malformed_frame_has_its_counter_and_hurts_nobody,
    what_does_not_belong_on_a_port_is_refused_with_its_reason,
    options_and_padding_are_carried,
    a_packet_too_large_for_its_way_is_told_of,
);

/// Where the counter of a case is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// In the fast path.
    Fast(&'static str),
    /// In the engine.
    Engine(&'static str),
}

use Ends::{Engine, Fast};

impl Ends {
    fn count(self, office: &Office) -> u64 {
        match self {
            Fast(reason) => office.gateway.fast_drops(reason),
            Engine(reason) => office.gateway.engine_drops(reason),
        }
    }

    /// Whether hosts send such frames by themselves, so that only a lower bound can be told.
    fn has_noise(self) -> bool {
        matches!(self, Fast("multicast" | "protocol") | Engine("not_served"))
    }
}

/// Sends each frame twice and waits for the counter to have grown by two.
#[track_caller]
fn expect<const N: usize>(
    office: &Office,
    wire: &Wire,
    ends: Ends,
    cases: [(&str, Vec<u8>); N],
) {
    for (name, frame) in cases {
        let before = ends.count(office);
        wire.send(&frame);
        wire.send(&frame);
        let mut grown = 0;
        let counted = wait_until(SOON, name, || {
            grown = ends.count(office) - before;
            grown >= 2
        });
        assert!(counted.is_ok(), "{name}: {ends:?} grew by {grown}: {:?}", drops(office));
        assert!(grown == 2 || ends.has_noise(), "{name}: {ends:?} grew by {grown}");
    }
}

/// Everything that was dropped so far, for a failure's message.
fn drops(office: &Office) -> Vec<String> {
    let page = office.gateway.page("/metrics").body;
    let of_interest = |line: &&str| {
        line.starts_with("halfspace_") && line.contains("_packets_total{") && !line.ends_with(" 0")
    };
    page.lines().filter(of_interest).map(str::to_owned).collect()
}

/// An office with a slow download that is to outlast the body of a test.
fn with_a_download(name: &str, datapath: Datapath, document: &str, body: impl FnOnce(&Office)) {
    let mut office = Office::lay_out(name, datapath);
    let printer = office.bed.namespace("printer").unwrap();
    office.bed.veth((&office.gateway.namespace, "printer0"), (&printer, "eth0")).unwrap();
    office.gateway.start(document);
    let server = Family::V4.server_at(80);
    let _web = Nginx::start(&office.internet, &[server], "fine").unwrap();
    let echoes = Family::BOTH.map(|it| Echo::start(&office.internet, it.server_at(7)).unwrap());
    let mut streams = Family::BOTH.map(|it| converse(&office.client, it.server_at(7)).unwrap());
    let blob = url(server, "/blob?rate=700k");
    let mut download = office.client.spawn(["curl", "-sS", "--max-time", "60", &blob]).unwrap();
    eventually("the download to begin", || !download.stdout().is_empty());

    body(&office);

    for stream in &mut streams {
        stream.echo("undisturbed").unwrap();
    }
    assert_eq!(curl(&office.client, &[&url(server, "/")]).stdout, "fine");
    let output = download.success(Duration::from_mins(1)).unwrap();
    assert_eq!(output.stdout.len(), 4 << 20);
    assert!(office.gateway.is_running());
    office.gateway.assert_packets_add_up();
    drop(echoes);
}

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

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;

/// A frame with some bytes replaced, counted from the IP header's start.
fn with(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[ETHERNET + at..][..bytes.len()].copy_from_slice(bytes);
    frame
}

/// The same for an IPv4 frame, whose header's checksum is put right again.
fn with4(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = with(frame, at, bytes);
    set_header_checksum(&mut frame);
    frame
}

fn set_header_checksum(frame: &mut [u8]) {
    let header_len = usize::from(frame[ETHERNET] & 0x0f) * 4;
    let end = (ETHERNET + header_len).min(frame.len());
    frame[ETHERNET + 10..][..2].fill(0);
    let check = checksum(&frame[ETHERNET..end]);
    frame[ETHERNET + 10..][..2].copy_from_slice(&check.to_be_bytes());
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]))
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The frame's first bytes: of its IP packet, this many.
fn cut(frame: &[u8], length: usize) -> Vec<u8> {
    frame[..ETHERNET + length].to_vec()
}

/// A frame of another type.
fn of_type(frame: &[u8], number: u16) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[12..14].copy_from_slice(&number.to_be_bytes());
    frame
}

/// A frame with a VLAN tag of this type.
fn tagged(frame: &[u8], number: u16) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let [high, low] = number.to_be_bytes();
    frame.splice(12..12, [high, low, 0, 5]);
    frame
}

/// A frame to another MAC address.
fn to_mac(mut frame: Vec<u8>, mac: [u8; 6]) -> Vec<u8> {
    frame[..6].copy_from_slice(&mac);
    frame
}

/// An IPv6 frame with an extension header before its transport header.
fn extended(frame: &[u8], kind: u8, content: [u8; 7]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let next = std::mem::replace(&mut frame[ETHERNET + 6], kind);
    let payload_len = u16::from_be_bytes([frame[ETHERNET + 4], frame[ETHERNET + 5]]) + 8;
    frame[ETHERNET + 4..][..2].copy_from_slice(&payload_len.to_be_bytes());
    let header = [&[next], &content[..]].concat();
    frame.splice(ETHERNET + IPV6..ETHERNET + IPV6, header);
    frame
}

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
    let Good { udp, udp6, echo, .. } = good;
    let cases = [
        ("a first fragment", with4(udp, 6, &[0x20, 0])),
        ("a later fragment", with4(udp, 6, &[0, 8])),
        ("the last fragment of a ping of death", with4(echo, 6, &[0x1f, 0xff])),
        ("a first fragment, IPv6", extended(udp6, 44, [0, 0, 1, 0, 0, 0, 1])),
        ("a later fragment, IPv6", extended(udp6, 44, [0, 0, 8, 0, 0, 0, 1])),
    ];
    expect(office, wire, Engine("fragment"), cases);
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
        for (wire, asker, target) in [
            (&lan, [10, 0, 1, 10], [10, 0, 1, 99]),
            (&wan, [203, 0, 113, 1], [203, 0, 113, 10]),
        ] {
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
    let (udp, tcp) = (|src, dst| Claims(lan).udp(src, dst), |src| {
        Claims(lan).tcp(src, src, TcpFlags::SYN)
    });
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
    let cases = [
        ("to the metadata of a cloud", udp("169.254.169.254")),
        ("to loopback", udp("127.0.0.1")),
    ];
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

/// Options are no reason to refuse a packet, and what stands behind its end is padding.
fn options_and_padding_are_carried(datapath: Datapath) {
    let office = Office::open("bad-options", datapath);
    let wire = Wire::open(&office.client, "eth0", &office.gateway.namespace, LAN);
    let echoes = Family::BOTH.map(|it| Echo::start(&office.internet, it.server_at(7)).unwrap());
    let datagram = |family: &Family, port| {
        Frame::udp(family.client_at(port), family.server_at(7))
            .macs(wire.mac, wire.peer)
            .payload(*b"carried")
            .build()
    };
    let is_carried = |frame: &[u8], port: u16| {
        wire.is_answered(frame, |frame| {
            let tuple = Headers::parse(frame).ok().and_then(|headers| headers.ip()?.tuple());
            tuple.is_some_and(|it| it.dst.port() == port && frame.ends_with(b"carried"))
        })
    };
    // Three times "no operation", then the end of the list (RFC 791, section 3.1).
    let mut with_options = datagram(&Family::V4, 50_001);
    with_options[ETHERNET] = 0x46;
    with_options[ETHERNET + 3] += 4;
    with_options.splice(ETHERNET + IPV4..ETHERNET + IPV4, [1, 1, 1, 0]);
    set_header_checksum(&mut with_options);
    // Twice: by the engine, then by the flow's entry.
    for _ in 0..2 {
        assert!(is_carried(&with_options, 50_001), "{:?}", drops(&office));
    }
    for (port, family) in (50_002..).zip(Family::BOTH) {
        let mut padded = datagram(&family, port);
        padded.extend([0xee; 60]);
        for _ in 0..2 {
            assert!(is_carried(&padded, port), "{:?}", drops(&office));
        }
    }
    for echo in &echoes {
        assert!(
            echo.peers().iter().all(|peer| Family::BOTH.iter().any(|it| it.public == peer.ip()))
        );
    }
    assert_eq!(echoes.iter().map(|echo| echo.peers().len()).sum::<usize>(), 6);
}

/// A LAN of jumbo frames before an uplink that takes none.
fn a_packet_too_large_for_its_way_is_told_of(datapath: Datapath) {
    let mut office = Office::lay_out("bad-large", datapath);
    office.gateway.namespace.ip([format!("link set {LAN} mtu 9000")]).unwrap();
    office.client.ip(["link set eth0 mtu 9000"]).unwrap();
    office.gateway.start(&Office::resources("", ""));
    let wire = Wire::open(&office.client, "eth0", &office.gateway.namespace, LAN);
    for (round, family) in (1..).zip(Family::BOTH) {
        let large = Frame::udp(family.client_at(50_000), family.server_at(7))
            .macs(wire.mac, wire.peer)
            .payload([0x55; 4000])
            .build();
        for packet in 1..=2 {
            let told = wire.is_answered(&large, |frame| {
                let Ok(headers) = Headers::parse(frame) else { return false };
                headers.ip().is_some_and(|ip| {
                    let mtu = frame.get(ip.l4_offset + 4..ip.l4_offset + 8);
                    // RFC 1191, section 4, and RFC 4443, section 3.2: where the next hop's MTU is.
                    let says = mtu == Some(&1500_u32.to_be_bytes());
                    let code = frame.get(ip.l4_offset..ip.l4_offset + 2);
                    let expected = if ip.is_ipv4() { [3, 4] } else { [2, 0] };
                    ip.dst == family.client && says && code == Some(&expected)
                })
            });
            assert!(told, "{:?}", drops(&office));
            let dropped = office.gateway.engine_drops("too_big");
            assert_eq!(dropped, (round - 1) * 2 + packet);
        }
    }
}
