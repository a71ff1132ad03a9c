//! Whole frames, against etherparse as the other implementation, and what no input may do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::{
    EtherType as OtherEtherType, Icmpv4Type, Icmpv6Type, IpNumber, Ipv4Header, Ipv6FlowLabel,
    Ipv6Header, NetSlice, PacketBuilder, SlicedPacket, TcpHeader, TransportSlice,
};
use proptest::prelude::*;

use super::build::{
    arp_reply, arp_request, echo_reply, fragment, icmp_error, neighbour_advertisement,
    neighbour_solicitation, segment, tcp_reset,
};
use super::*;
use crate::tuple::Protocol;

const SRC_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const DST_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 8, 7));
const GATEWAY6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 1));

/// The fields of a frame that both implementations can write.
#[derive(Clone, Debug)]
struct Spec {
    src: SocketAddr,
    dst: SocketAddr,
    protocol: Protocol,
    ttl: u8,
    traffic_class: u8,
    identification: u16,
    seq: u32,
    ack: u32,
    flags: u8,
    window: u16,
    mss: Option<u16>,
    request: bool,
    payload: Vec<u8>,
}

prop_compose! {
    fn spec()(
        v4 in any::<bool>(),
        addresses in any::<(Ipv4Addr, Ipv4Addr, Ipv6Addr, Ipv6Addr)>(),
        ports in any::<(u16, u16)>(),
        kind in 0..3,
        bytes in any::<(u8, u8, u8)>(),
        words in any::<(u16, u16)>(),
        numbers in any::<(u32, u32)>(),
        mss in any::<Option<u16>>(),
        request in any::<bool>(),
        payload in proptest::collection::vec(any::<u8>(), 0..200),
    ) -> Spec {
        let (src, dst, src6, dst6) = addresses;
        let (src, dst): (IpAddr, IpAddr) =
            if v4 { (src.into(), dst.into()) } else { (src6.into(), dst6.into()) };
        let protocol = match (kind, v4) {
            (0, _) => Protocol::Tcp,
            (1, _) => Protocol::Udp,
            (_, true) => Protocol::Icmp,
            (_, false) => Protocol::Icmpv6,
        };
        Spec {
            src: SocketAddr::new(src, ports.0),
            dst: SocketAddr::new(dst, ports.1),
            protocol,
            ttl: bytes.0,
            traffic_class: bytes.1,
            identification: words.0,
            seq: numbers.0,
            ack: numbers.1,
            flags: bytes.2,
            window: words.1,
            mss,
            request,
            payload,
        }
    }
}

impl Spec {
    fn ours(&self) -> Vec<u8> {
        match self.protocol {
            Protocol::Tcp => {
                let frame = Frame::tcp(self.src, self.dst)
                    .seq(self.seq)
                    .ack(self.ack)
                    .flags(TcpFlags(self.flags))
                    .window(self.window);
                self.finish(match self.mss {
                    Some(mss) => frame.mss(mss),
                    None => frame,
                })
                .build()
            }
            Protocol::Udp => self.finish(Frame::udp(self.src, self.dst)).build(),
            Protocol::Icmp | Protocol::Icmpv6 => {
                let echo = if self.request { Frame::echo_request } else { Frame::echo_reply };
                let (src, dst) = (self.src.ip(), self.dst.ip());
                self.finish(echo(src, dst, self.src.port(), self.dst.port())).build()
            }
        }
    }

    fn finish<L4>(&self, frame: Frame<L4>) -> Frame<L4> {
        frame
            .macs(SRC_MAC, DST_MAC)
            .ttl(self.ttl)
            .traffic_class(self.traffic_class)
            .identification(self.identification)
            .payload(&self.payload[..])
    }

    fn theirs(&self) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2(SRC_MAC.0, DST_MAC.0);
        let builder = match (self.src.ip(), self.dst.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let number = IpNumber(self.protocol.number());
                let mut header =
                    Ipv4Header::new(0, self.ttl, number, src.octets(), dst.octets()).unwrap();
                header.identification = self.identification;
                header.dscp = (self.traffic_class >> 2).try_into().unwrap();
                header.ecn = (self.traffic_class & 3).try_into().unwrap();
                ethernet
                    .ip(etherparse::IpHeaders::Ipv4(header, etherparse::Ipv4Extensions::default()))
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let header = Ipv6Header {
                    traffic_class: self.traffic_class,
                    flow_label: Ipv6FlowLabel::ZERO,
                    payload_length: 0,
                    next_header: IpNumber(self.protocol.number()),
                    hop_limit: self.ttl,
                    source: src.octets(),
                    destination: dst.octets(),
                };
                ethernet
                    .ip(etherparse::IpHeaders::Ipv6(header, etherparse::Ipv6Extensions::default()))
            }
            mixed => panic!("families differ: {mixed:?}"),
        };
        let mut bytes = Vec::new();
        let (src_port, dst_port) = (self.src.port(), self.dst.port());
        let echo = etherparse::IcmpEchoHeader { id: src_port, seq: dst_port };
        match self.protocol {
            Protocol::Tcp => {
                let mut header = TcpHeader::new(src_port, dst_port, self.seq, self.window);
                header.acknowledgment_number = self.ack;
                let flags = TcpFlags(self.flags);
                header.fin = flags.contains(TcpFlags::FIN);
                header.syn = flags.contains(TcpFlags::SYN);
                header.rst = flags.contains(TcpFlags::RST);
                header.psh = flags.contains(TcpFlags::PSH);
                header.ack = flags.contains(TcpFlags::ACK);
                header.urg = flags.contains(TcpFlags::URG);
                header.ece = flags.contains(TcpFlags::ECE);
                header.cwr = flags.contains(TcpFlags::CWR);
                if let Some(mss) = self.mss {
                    let option = etherparse::TcpOptionElement::MaximumSegmentSize(mss);
                    header.set_options(&[option]).unwrap();
                }
                builder.tcp_header(header).write(&mut bytes, &self.payload).unwrap();
            }
            Protocol::Udp => {
                builder.udp(src_port, dst_port).write(&mut bytes, &self.payload).unwrap();
            }
            Protocol::Icmp => {
                let kind = if self.request {
                    Icmpv4Type::EchoRequest(echo)
                } else {
                    Icmpv4Type::EchoReply(echo)
                };
                builder.icmpv4(kind).write(&mut bytes, &self.payload).unwrap();
            }
            Protocol::Icmpv6 => {
                let kind = if self.request {
                    Icmpv6Type::EchoRequest(echo)
                } else {
                    Icmpv6Type::EchoReply(echo)
                };
                builder.icmpv6(kind).write(&mut bytes, &self.payload).unwrap();
            }
        }
        bytes
    }
}

/// Frames of every kind that the gateway meets or makes.
fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let (a, b) = (([10, 0, 0, 1], 40_000), ([192, 0, 2, 1], 443));
    let address = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
    let (a6, b6) = ((address(1), 40_000), (address(2), 443));
    let udp = Frame::udp(a, b).payload(*b"datagram").build();
    let udp6 = Frame::udp(a6, b6).payload(*b"datagram").build();
    let syn = Frame::tcp(a, b).flags(TcpFlags::SYN).mss(1460).build();
    let syn6 = Frame::tcp(a6, b6).flags(TcpFlags::SYN).mss(1440).build();
    let ping = Frame::echo_request(a.0, b.0, 1, 1).payload(*b"abcdefgh").build();
    let ping6 = Frame::echo_request(a6.0, b6.0, 1, 1).payload(*b"abcdefgh").build();
    let mut options = udp.clone();
    options.splice(34..34, [1, 1, 1, 0]);
    options[14] = 0x46;
    options[17] += 4;
    let mut extensions = udp6.clone();
    extensions.splice(54..54, [60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0]);
    extensions[20] = 0;
    extensions[19] += 16;
    let mut fragment6 = udp6.clone();
    fragment6.splice(54..54, [17, 0, 0, 1, 0, 0, 0, 7]);
    fragment6[20] = 44;
    fragment6[19] += 8;
    let mut later = udp.clone();
    later[21] = 1;
    let expired = IcmpErrorKind::TimeExceeded { code: 0 };
    vec![
        ("ARP request", arp_request(SRC_MAC, a.0.into(), b.0.into())),
        ("ARP reply", arp_reply(SRC_MAC, a.0.into(), DST_MAC, b.0.into())),
        ("solicitation", neighbour_solicitation(SRC_MAC, a6.0, b6.0)),
        ("advertisement", neighbour_advertisement(SRC_MAC, a6.0, true, Some((DST_MAC, b6.0)))),
        ("time exceeded", icmp_error(&udp, expired, GATEWAY).unwrap()),
        ("time exceeded, IPv6", icmp_error(&syn6, expired, GATEWAY6).unwrap()),
        ("reset", tcp_reset(&syn).unwrap()),
        ("echo reply", echo_reply(&ping).unwrap()),
        ("echo reply, IPv6", echo_reply(&ping6).unwrap()),
        ("options", options),
        ("extension headers", extensions),
        ("first fragment, IPv6", fragment6),
        ("later fragment", later),
        ("UDP", udp),
        ("UDP, IPv6", udp6),
        ("SYN", syn),
        ("SYN, IPv6", syn6),
        ("echo", ping),
        ("echo, IPv6", ping6),
    ]
}

/// Runs everything that reads a frame and checks what must hold of any that parses.
fn exercise(frame: &[u8]) {
    let Ok(headers) = Headers::parse(frame) else { return };
    let _ = (echo_reply(frame), tcp_reset(frame));
    for gateway in [GATEWAY, GATEWAY6] {
        if let Some(error) = icmp_error(frame, IcmpErrorKind::PacketTooBig { mtu: 1400 }, gateway) {
            let headers = Headers::parse(&error).unwrap();
            assert_eq!(checksum::verify(headers.ip().unwrap(), &error), L4Checksum::Correct);
        }
    }
    for size in [0, 1, 7, 1000] {
        assert!(!segment(frame, size).is_empty());
    }
    let Some(ip) = headers.ip() else { return };
    assert!(ip.l3_offset < ip.l4_offset && ip.l4_offset <= ip.end() && ip.end() <= frame.len());
    assert_eq!(ip.src.is_ipv4(), ip.dst.is_ipv4());
    let _ = (ip.tuple(), ip.source_is_impossible(), NeighbourMessage::parse(ip, frame));
    if let Ok(quoted) = Quoted::parse(ip, frame) {
        assert!(quoted.l3_offset < quoted.l4_offset && quoted.l4_offset + 8 <= quoted.end);
        assert!(quoted.end <= ip.end());
    }
    if let Some(part) = Part::parse(ip, frame) {
        assert!(part.start < part.end && ip.fragment != Fragment::None);
        assert_eq!(usize::from(part.end - part.start), ip.end() - ip.l4_offset);
    }
    for mtu in [0, 40, 68, 100] {
        for part in fragment(frame, mtu).unwrap_or_default() {
            assert!(part.len() <= 14 + mtu);
            let headers = Headers::parse(&part);
            let cut = headers.is_ok_and(|it| it.ip().unwrap().fragment != Fragment::None);
            // The transport header of what is cut within it is not whole.
            assert!(cut || mtu < 100);
        }
    }
    let found = checksum::verify(ip, frame);
    let mut completed = frame.to_vec();
    let did = checksum::complete(ip, &mut completed);
    match found {
        L4Checksum::PseudoHeaderOnly => {
            assert!(did);
            assert_eq!(checksum::verify(ip, &completed), L4Checksum::Correct);
        }
        // Its checksum can be both, by chance.
        L4Checksum::Correct => {}
        _ => assert_eq!(completed, frame),
    }
    if let Transport::Tcp { .. } = ip.transport {
        let mut tcp = Tcp::new_checked(&mut completed[ip.l4_offset..ip.end()]).unwrap();
        let mss = tcp.mss();
        assert_eq!(tcp.clamp_mss(536).is_some(), mss.is_some_and(|mss| mss > 536));
        assert_eq!(tcp.mss(), mss.map(|mss| mss.min(536)));
    }
}

#[test]
fn every_sample_parses_and_is_sound() {
    for (name, frame) in samples() {
        let headers = Headers::parse(&frame).unwrap_or_else(|e| panic!("{name}: {e}"));
        exercise(&frame);
        if let Some(ip) = headers.ip() {
            let expected = match ip.fragment {
                Fragment::None => L4Checksum::Correct,
                _ => L4Checksum::Unchecked,
            };
            assert_eq!(checksum::verify(ip, &frame), expected, "{name}");
        }
    }
}

#[test]
fn a_frame_cut_short_anywhere_is_malformed() {
    for (name, frame) in samples() {
        for length in 0..frame.len() {
            exercise(&frame[..length]);
            assert!(Headers::parse(&frame[..length]).is_err(), "{name} of {length} bytes");
        }
    }
}

#[test]
fn neighbour_discovery_reads_the_same_elsewhere() {
    let frame = arp_request(SRC_MAC, [10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
    let Some(NetSlice::Arp(arp)) = &sliced.net else { panic!("no ARP: {sliced:?}") };
    assert_eq!(arp.sender_hw_addr(), SRC_MAC.as_bytes());
    assert_eq!(arp.sender_protocol_addr(), [10, 0, 0, 1]);
    assert_eq!(arp.target_protocol_addr(), [10, 0, 0, 2]);
    assert_eq!(arp.operation(), etherparse::ArpOperation::REQUEST);
    assert_eq!(arp.proto_addr_type(), OtherEtherType::IPV4);
}

proptest! {
    #[test]
    fn both_implementations_write_the_same_bytes(spec in spec()) {
        prop_assert_eq!(spec.ours(), spec.theirs());
    }

    #[test]
    fn what_they_write_we_read(spec in spec(), padding in 0..40_usize) {
        let mut frame = spec.theirs();
        let end = frame.len();
        frame.resize(end + padding, 0xee);
        let headers = Headers::parse(&frame).unwrap();
        prop_assert_eq!((headers.src_mac, headers.dst_mac), (SRC_MAC, DST_MAC));
        let ip = headers.ip().unwrap();
        prop_assert_eq!((ip.src, ip.dst), (spec.src.ip(), spec.dst.ip()));
        prop_assert_eq!((ip.ttl, ip.traffic_class), (spec.ttl, spec.traffic_class));
        prop_assert_eq!((ip.protocol, ip.end()), (spec.protocol.number(), end));
        prop_assert_eq!((ip.fragment, ip.has_options), (Fragment::None, false));
        let (src_port, dst_port) = (spec.src.port(), spec.dst.port());
        let expected = match spec.protocol {
            Protocol::Tcp => Transport::Tcp {
                src_port,
                dst_port,
                flags: TcpFlags(spec.flags),
                seq: spec.seq,
                ack: spec.ack,
                header_len: if spec.mss.is_some() { 24 } else { 20 },
            },
            Protocol::Udp => {
                Transport::Udp { src_port, dst_port, length: 8 + spec.payload.len() }
            }
            _ => Transport::Echo { request: spec.request, id: src_port, seq: dst_port },
        };
        prop_assert_eq!(ip.transport, expected);
        prop_assert_eq!(checksum::verify(ip, &frame), L4Checksum::Correct);
        prop_assert!(checksum::ipv4_header_is_correct(ip, &frame));
        if spec.protocol == Protocol::Tcp {
            let tcp = Tcp::new_checked(ip.transport_bytes(&frame)).unwrap();
            prop_assert_eq!((tcp.mss(), tcp.window()), (spec.mss, spec.window));
            prop_assert_eq!(tcp.payload(), &spec.payload[..]);
        }
    }

    #[test]
    fn what_we_write_they_read(spec in spec(), gso_size in 1..300_usize) {
        let whole = spec.ours();
        let mut payload: Vec<u8> = Vec::new();
        for frame in segment(&whole, gso_size) {
            let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
            let (src, dst) = (spec.src.port(), spec.dst.port());
            match &sliced.transport {
                Some(TransportSlice::Tcp(tcp)) => {
                    prop_assert_eq!((tcp.source_port(), tcp.destination_port()), (src, dst));
                    let at = spec.seq.wrapping_add(payload.len() as u32);
                    prop_assert_eq!(tcp.sequence_number(), at);
                    payload.extend(tcp.payload());
                }
                Some(TransportSlice::Udp(udp)) => {
                    prop_assert_eq!((udp.source_port(), udp.destination_port()), (src, dst));
                    payload.extend(udp.payload());
                }
                Some(TransportSlice::Icmpv4(icmp)) => payload.extend(icmp.payload()),
                Some(TransportSlice::Icmpv6(icmp)) => payload.extend(icmp.payload()),
                other => prop_assert!(false, "transport {:?}", other),
            }
            let ours = Headers::parse(&frame).unwrap();
            prop_assert_eq!(checksum::verify(ours.ip().unwrap(), &frame), L4Checksum::Correct);
            prop_assert!(checksum::ipv4_header_is_correct(ours.ip().unwrap(), &frame));
        }
        prop_assert_eq!(payload, spec.payload);
    }

    #[test]
    fn rewritten_headers_keep_their_checksum_by_difference(spec in spec(), new in spec()) {
        // The incremental update against a frame that was made with the new addresses.
        let new = Spec {
            src: SocketAddr::new(new.src.ip(), new.src.port()),
            dst: SocketAddr::new(new.dst.ip(), new.dst.port()),
            protocol: spec.protocol,
            ..spec.clone()
        };
        prop_assume!(new.src.is_ipv4() == spec.src.is_ipv4());
        prop_assume!(matches!(spec.protocol, Protocol::Tcp | Protocol::Udp));
        let (before, after) = (spec.ours(), new.ours());
        let ip = *Headers::parse(&before).unwrap().ip().unwrap();
        let addresses = if ip.is_ipv4() { 26..34 } else { 22..54 };
        let ports = ip.l4_offset..ip.l4_offset + 4;
        let delta = checksum::add(
            checksum::diff(&before[addresses.clone()], &after[addresses]),
            checksum::diff(&before[ports.clone()], &after[ports]),
        );
        let read = |frame: &[u8]| {
            let bytes = &frame[ip.l4_offset..];
            match spec.protocol {
                Protocol::Tcp => Tcp::new_checked(bytes).unwrap().checksum(),
                _ => Udp::new_checked(bytes).unwrap().checksum(),
            }
        };
        let updated = checksum::update(read(&before), delta);
        let updated =
            if spec.protocol == Protocol::Udp { checksum::for_udp(updated) } else { updated };
        prop_assert_eq!(updated, read(&after));
    }

    #[test]
    fn no_mutation_makes_anything_panic(
        sample in any::<prop::sample::Index>(),
        changes in proptest::collection::vec(any::<(prop::sample::Index, u8)>(), 1..6),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let samples = samples();
        let mut frame = samples[sample.index(samples.len())].1.clone();
        for (at, value) in changes {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        if cut {
            frame.truncate(length.index(frame.len() + 1));
        }
        exercise(&frame);
    }

    #[test]
    fn no_bytes_make_anything_panic(
        mut frame in proptest::collection::vec(any::<u8>(), 0..200),
        ether_type in prop::sample::select(vec![[8, 0], [8, 6], [0x86, 0xdd]]),
        version in prop::sample::select(vec![0x45, 0x46, 0x60]),
    ) {
        // Without a likely type and version hardly any would get past the first look.
        if frame.len() > 14 {
            frame[12..14].copy_from_slice(&ether_type);
            frame[14] = version;
        }
        exercise(&frame);
    }
}
