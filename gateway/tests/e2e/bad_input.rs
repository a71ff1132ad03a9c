//! Frames that no stack would send: each ends in one counted verdict with its reason, and a
//! download beside them never notices.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use halfspace_testbed::programs::{Echo, Nginx};
use nf_core::packet::{Frame, Headers, MacAddr, TcpFlags, build};

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

/// Sends each frame twice and waits for its counter to have grown by two.
fn expect(office: &Office, wire: &Wire, cases: &[(&str, Vec<u8>, Ends)]) {
    for (name, frame, ends) in cases {
        let before = ends.count(office);
        wire.send(frame);
        wire.send(frame);
        let mut grown = 0;
        let counted = halfspace_testbed::wait_until(SOON, name, || {
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

/// A frame with some bytes changed, and an IPv4 header's checksum put right again.
fn changed(frame: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = frame.to_vec();
    change(&mut frame);
    if frame.len() >= ETHERNET + IPV4 && frame[12..14] == [0x08, 0x00] {
        let header_len = usize::from(frame[ETHERNET] & 0x0f) * 4;
        let end = (ETHERNET + header_len).min(frame.len());
        frame[ETHERNET + 10..ETHERNET + 12].fill(0);
        let check = checksum(&frame[ETHERNET..end]);
        frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&check.to_be_bytes());
    }
    frame
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

/// An IPv6 frame with an extension header before its transport header.
fn extended(frame: &[u8], kind: u8, content: [u8; 7]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let next = std::mem::replace(&mut frame[ETHERNET + 6], kind);
    let payload_len = u16::from_be_bytes([frame[ETHERNET + 4], frame[ETHERNET + 5]]) + 8;
    frame[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&payload_len.to_be_bytes());
    let header = [&[next], &content[..]].concat();
    frame.splice(ETHERNET + IPV6..ETHERNET + IPV6, header);
    frame
}

fn every_malformed_frame_has_its_counter_and_hurts_nobody(datapath: Datapath) {
    with_a_download("bad-frames", datapath, &Office::resources("", ""), |office| {
        let wire = Wire::open(&office.client, "eth0", &office.gateway.namespace, LAN);
        let (src, dst) = (Family::V4.client_at(50_000), Family::V4.server_at(7));
        let udp = Frame::udp(src, dst).macs(wire.mac, wire.peer).payload([0x55; 40]).build();
        let tcp = Frame::tcp(src, dst).macs(wire.mac, wire.peer).flags(TcpFlags::SYN).build();
        let (src6, dst6) = (Family::V6.client_at(50_000), Family::V6.server_at(7));
        let udp6 = Frame::udp(src6, dst6).macs(wire.mac, wire.peer).payload([0x55; 40]).build();
        let tcp6 = Frame::tcp(src6, dst6).macs(wire.mac, wire.peer).flags(TcpFlags::SYN).build();
        let echo = Frame::echo_request(src.ip(), dst.ip(), 7, 1).macs(wire.mac, wire.peer).build();
        let flags = |frame: &[u8], l3: usize, flags: u8| {
            // Its checksum is wrong then, but flags that contradict themselves may be seen first.
            let mut frame = frame.to_vec();
            let at = ETHERNET + l3 + 13;
            let check = ETHERNET + l3 + 16;
            let old = u16::from_be_bytes([frame[check], frame[check + 1]]);
            let sum = u32::from(!old) + u32::from(!u16::from(frame[at])) + u32::from(flags);
            let sum = (sum & 0xffff) + (sum >> 16);
            let sum = (sum & 0xffff) + (sum >> 16);
            frame[at] = flags;
            frame[check..check + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
            frame
        };
        let ether_type = |number: u16| {
            let mut frame = udp.clone();
            frame[12..14].copy_from_slice(&number.to_be_bytes());
            frame
        };
        let (syn, fin, rst) = (TcpFlags::SYN.0, TcpFlags::FIN.0, TcpFlags::RST.0);
        let at = |frame: &[u8], place: usize, value: u8| {
            changed(frame, |it| it[ETHERNET + place] = value)
        };
        #[rustfmt::skip]
        expect(office, &wire, &[
            // Truncated.
            ("no IPv4 header", udp[..ETHERNET + 10].to_vec(), Fast("malformed")),
            ("half an IPv6 header", udp6[..ETHERNET + 25].to_vec(), Fast("malformed")),
            ("no transport header", changed(&udp[..ETHERNET + IPV4], |it| it[17] = 20), Fast("malformed")),
            ("half a TCP header", changed(&tcp[..ETHERNET + IPV4 + 12], |it| it[17] = 32), Fast("malformed")),
            ("more announced than is there", udp[..ETHERNET + IPV4 + 20].to_vec(), Fast("malformed")),
            ("more announced, IPv6", udp6[..ETHERNET + IPV6 + 20].to_vec(), Fast("malformed")),
            ("an ARP request cut short", build::arp_request(wire.mac, [10, 0, 1, 10].into(), [10, 0, 1, 1].into())[..30].to_vec(), Engine("malformed")),
            // Contradictory.
            ("a header of four words", at(&udp, 0, 0x44), Fast("malformed")),
            ("a header longer than the packet", at(&udp, 3, 19), Fast("malformed")),
            ("version 5", at(&udp, 0, 0x55), Fast("malformed")),
            ("version 4 under IPv6's type", { let mut it = udp6.clone(); it[ETHERNET] = 0x45; it }, Fast("malformed")),
            ("a UDP length past the packet", at(&udp, IPV4 + 5, 200), Engine("malformed")),
            ("a UDP length below its header", at(&udp, IPV4 + 5, 7), Engine("malformed")),
            ("a UDP length past the packet, IPv6", at(&udp6, IPV6 + 5, 200), Engine("malformed")),
            ("a TCP header of two words", at(&tcp, IPV4 + 12, 0x20), Engine("malformed")),
            ("a TCP header past the packet", at(&tcp6, IPV6 + 12, 0xf0), Engine("malformed")),
            ("SYN with FIN", flags(&tcp, IPV4, syn | fin), Engine("malformed")),
            ("SYN with RST", flags(&tcp, IPV4, syn | rst), Engine("malformed")),
            ("SYN with FIN, IPv6", flags(&tcp6, IPV6, syn | fin), Engine("malformed")),
            ("all flags", flags(&tcp, IPV4, 0xff), Engine("malformed")),
            // Corrupted.
            ("a wrong header checksum", { let mut it = udp.clone(); it[ETHERNET + 10] ^= 1; it }, Engine("bad_checksum")),
            ("a wrong UDP checksum", at(&udp, IPV4 + 30, 0), Engine("bad_checksum")),
            ("a wrong UDP checksum, IPv6", at(&udp6, IPV6 + 30, 0), Engine("bad_checksum")),
            ("no UDP checksum in IPv6", { let mut it = udp6.clone(); it[ETHERNET + IPV6 + 6..][..2].fill(0); it }, Engine("bad_checksum")),
            ("a wrong TCP checksum", at(&tcp, IPV4 + 16, 0x77), Engine("bad_checksum")),
            ("a wrong TCP checksum, IPv6", at(&tcp6, IPV6 + 16, 0x77), Engine("bad_checksum")),
            ("a wrong ICMP checksum", at(&echo, IPV4 + 2, 0x77), Engine("bad_checksum")),
            // Fragments.
            ("a first fragment", at(&udp, 6, 0x20), Engine("fragment")),
            ("a later fragment", changed(&udp, |it| it[ETHERNET + 6..][..2].copy_from_slice(&[0, 8])), Engine("fragment")),
            ("the last fragment of a ping of death", changed(&echo, |it| it[ETHERNET + 6..][..2].copy_from_slice(&[0x1f, 0xff])), Engine("fragment")),
            ("a first fragment, IPv6", extended(&udp6, 44, [0, 0, 1, 0, 0, 0, 1]), Engine("fragment")),
            ("a later fragment, IPv6", extended(&udp6, 44, [0, 0, 8, 0, 0, 0, 1]), Engine("fragment")),
            // Extension headers.
            ("hop-by-hop options", extended(&udp6, 0, [0, 1, 4, 0, 0, 0, 0]), Engine("extension_header")),
            ("destination options", extended(&udp6, 60, [0, 1, 4, 0, 0, 0, 0]), Engine("extension_header")),
            ("a routing header of type 0", extended(&udp6, 43, [0, 0, 0, 0, 0, 0, 0]), Engine("extension_header")),
            // Unknown.
            ("LLDP", ether_type(0x88cc), Fast("ether_type")),
            ("a length for a type", ether_type(0x0040), Fast("ether_type")),
            ("a VLAN tag", changed(&udp, |it| { it.splice(12..12, [0x81, 0, 0, 5]); }), Fast("ether_type")),
            ("a service VLAN tag", changed(&udp, |it| { it.splice(12..12, [0x88, 0xa8, 0, 5]); }), Fast("ether_type")),
            ("GRE", at(&udp, 9, 47), Fast("protocol")),
            ("protocol 255", at(&udp, 9, 255), Fast("protocol")),
            ("no next header", { let mut it = udp6.clone(); it[ETHERNET + 6] = 59; it }, Fast("protocol")),
            ("multicast", changed(&udp, |it| { it[..6].copy_from_slice(&[1, 0, 0x5e, 0, 0, 0xfb]); it[ETHERNET + 16..][..4].copy_from_slice(&[224, 0, 0, 251]); }), Fast("multicast")),
            ("broadcast", changed(&udp, |it| it[..6].fill(0xff)), Fast("multicast")),
        ]);
    });
}

fn what_does_not_belong_on_a_port_is_refused_with_its_reason(datapath: Datapath) {
    with_a_download("bad-sources", datapath, &with_printer(), |office| {
        let lan = Wire::open(&office.client, "eth0", &office.gateway.namespace, LAN);
        let wan = Wire::open(&office.internet, "eth0", &office.gateway.namespace, "wan0");
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let v4 = |text: &str| text.parse::<std::net::Ipv4Addr>().unwrap();
        let v6 = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap();
        let udp = |wire: &Wire, src: &str, dst: &str| {
            let at = |text: &str| SocketAddr::new(text.parse().unwrap(), 50_000);
            Frame::udp(at(src), at(dst)).macs(wire.mac, wire.peer).payload(*b"stray").build()
        };
        let tcp = |wire: &Wire, src: &str, dst: &str, flags: TcpFlags| {
            let at = |text: &str| SocketAddr::new(text.parse().unwrap(), 50_000);
            Frame::tcp(at(src), at(dst)).macs(wire.mac, wire.peer).flags(flags).build()
        };
        // "It is at my MAC address", as an answer that nobody asked for.
        let arp_claim = |wire: &Wire, address: &str| {
            let mut frame = build::arp_reply(wire.mac, v4(address), wire.peer, v4("10.0.1.1"));
            frame[6..12].copy_from_slice(wire.mac.as_bytes());
            frame
        };
        let ndp_claim = |wire: &Wire, address: &str| {
            let mut frame = build::neighbour_advertisement(wire.mac, v6(address), true, None);
            frame[6..12].copy_from_slice(wire.mac.as_bytes());
            frame
        };
        let ttl = |frame: Vec<u8>| changed(&frame, |it| it[ETHERNET + 8] = 1);
        let request_for = |target| build::arp_request(lan.mac, v4("10.0.1.10"), target);
        let server = "198.51.100.1";
        #[rustfmt::skip]
        expect(office, &lan, &[
            ("land", udp(&lan, "10.0.1.10", "10.0.1.10"), Engine("source_check")),
            ("land, IPv6", udp(&lan, "fd00:10:0:1::10", "fd00:10:0:1::10"), Engine("source_check")),
            ("land at the router", tcp(&lan, "10.0.1.1", "10.0.1.1", TcpFlags::SYN), Engine("source_check")),
            ("from another network", udp(&lan, "10.0.7.1", server), Engine("source_check")),
            ("from another network, IPv6", udp(&lan, "fd00:10:0:7::1", "2001:db8:2::1"), Engine("source_check")),
            ("from the router", udp(&lan, "10.0.1.1", server), Engine("source_check")),
            ("from an interface elsewhere", udp(&lan, "10.0.1.99", server), Engine("source_check")),
            ("from an interface elsewhere, IPv6", udp(&lan, "fd00:10:0:1::99", "2001:db8:2::1"), Engine("source_check")),
            ("from the Elastic IP address", udp(&lan, "203.0.113.10", server), Engine("source_check")),
            ("from loopback", udp(&lan, "127.0.0.1", server), Engine("source_check")),
            ("from a group", udp(&lan, "224.0.0.1", server), Engine("source_check")),
            ("from everybody", udp(&lan, "255.255.255.255", server), Engine("source_check")),
            ("from nobody", udp(&lan, "0.0.0.0", server), Engine("source_check")),
            ("from a mapped address", udp(&lan, "::ffff:10.0.1.10", "2001:db8:2::1"), Engine("source_check")),
            ("the router's address claimed", arp_claim(&lan, "10.0.1.1"), Engine("neighbour_spoof")),
            ("an interface's address claimed", arp_claim(&lan, "10.0.1.99"), Engine("neighbour_spoof")),
            ("an address of elsewhere claimed", arp_claim(&lan, "203.0.113.1"), Engine("neighbour_spoof")),
            ("the router's address claimed, IPv6", ndp_claim(&lan, "fd00:10:0:1::1"), Engine("neighbour_spoof")),
            ("an interface's address claimed, IPv6", ndp_claim(&lan, "fd00:10:0:1::99"), Engine("neighbour_spoof")),
            ("a question for nobody", request_for(v4("10.0.1.77")), Engine("not_served")),
            ("to the metadata of a cloud", udp(&lan, "10.0.1.10", "169.254.169.254"), Engine("no_route")),
            ("to loopback", udp(&lan, "10.0.1.10", "127.0.0.1"), Engine("no_route")),
            ("to nobody in the VPC", udp(&lan, "10.0.1.10", "10.0.9.9"), Engine("no_destination")),
            ("a datagram to the router", udp(&lan, "10.0.1.10", "10.0.1.1"), Engine("not_served")),
            ("a segment of no connection", tcp(&lan, "10.0.1.10", server, TcpFlags::ACK), Engine("no_flow")),
            ("a RST of no connection", tcp(&lan, "10.0.1.10", server, TcpFlags::RST), Engine("no_flow")),
            ("the end of its life", ttl(udp(&lan, "10.0.1.10", server)), Engine("time_to_live")),
        ]);
        #[rustfmt::skip]
        expect(office, &wan, &[
            ("to the Elastic IP address", udp(&wan, server, "203.0.113.10"), Engine("unsolicited")),
            ("to the Elastic IP address, IPv6", udp(&wan, "2001:db8:2::1", "2001:db8:1::10"), Engine("unsolicited")),
            ("a SYN to the Elastic IP address", tcp(&wan, server, "203.0.113.10", TcpFlags::SYN), Engine("unsolicited")),
            ("to a private address", udp(&wan, server, "10.0.1.10"), Engine("unsolicited")),
            ("to a private address, IPv6", udp(&wan, "2001:db8:2::1", "fd00:10:0:1::10"), Engine("unsolicited")),
            ("from one of ours", udp(&wan, "203.0.113.10", "203.0.113.10"), Engine("source_check")),
            ("from one of ours to another", udp(&wan, "2001:db8:1::10", "203.0.113.10"), Engine("source_check")),
            ("an Elastic IP address claimed", arp_claim(&wan, "203.0.113.10"), Engine("neighbour_spoof")),
            ("the uplink's address claimed", arp_claim(&wan, "203.0.113.2"), Engine("neighbour_spoof")),
            ("an Elastic IP address claimed, IPv6", ndp_claim(&wan, "2001:db8:1::10"), Engine("neighbour_spoof")),
            ("a datagram to the uplink", udp(&wan, server, "203.0.113.2"), Engine("not_served")),
        ]);
        // None of it was believed: who asks for the printer from the LAN is still sent to the
        // gateway, and who asks from outside for the Elastic IP address as well.
        for (wire, asker, target) in
            [(&lan, "10.0.1.10", "10.0.1.99"), (&wan, "203.0.113.1", "203.0.113.10")]
        {
            let question = build::arp_request(wire.mac, v4(asker), v4(target));
            let answered = wire.is_answered(&question, |frame| {
                frame.len() >= 42
                    && frame[12..14] == [0x08, 0x06]
                    && frame[20..22] == [0, 2]
                    && MacAddr(frame[22..28].try_into().unwrap()) == wire.peer
                    && IpAddr::from(<[u8; 4]>::try_from(&frame[28..32]).unwrap()) == ip(target)
            });
            assert!(answered, "{target} is answered for by the gateway");
        }
    });
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
    let with_options = changed(&datagram(&Family::V4, 50_001), |it| {
        it[ETHERNET] = 0x46;
        it[ETHERNET + 3] += 4;
        it.splice(ETHERNET + IPV4..ETHERNET + IPV4, [1, 1, 1, 0]);
    });
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
        assert!(echo.peers().iter().all(|peer| Family::BOTH.iter().any(|it| it.public == peer.ip())));
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
