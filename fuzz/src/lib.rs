//! What the fuzz targets share: frames that get past what a fuzzer takes long to guess, such as
//! types, lengths that agree and checksums.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::arbitrary::{Arbitrary, Result, Unstructured};
use nf_core::packet::build::{
    arp_reply, icmp_error, neighbour_advertisement, neighbour_solicitation,
};
use nf_core::packet::{
    EtherType, Frame, Headers, Icmp, IcmpErrorKind, Ipv4, MacAddr, Tcp, TcpFlags, Transport, Udp,
    checksum,
};
use nf_core::tuple::Protocol;

/// An Ethernet frame: arbitrary bytes behind a likely type, or a good frame with arbitrary changes.
/// Its checksums may have been made right afterwards.
#[derive(Debug)]
pub struct AnyFrame(pub Vec<u8>);

impl<'a> Arbitrary<'a> for AnyFrame {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        let sound = input.arbitrary()?;
        let mut frame = if input.arbitrary()? { bytes(input)? } else { changed(input)? };
        if sound {
            make_sound(&mut frame);
        }
        Ok(Self(frame))
    }
}

/// Arbitrary bytes whose type and IP version are usually ones that are looked into.
fn bytes(input: &mut Unstructured) -> Result<Vec<u8>> {
    let kind = *input.choose(&[
        None,
        Some((EtherType::ARP, 0)),
        Some((EtherType::IPV4, 4)),
        Some((EtherType::IPV6, 6)),
    ])?;
    let mut frame = input.bytes(input.len())?.to_vec();
    if let (Some((ether_type, version)), Some(start)) = (kind, frame.get_mut(12..15)) {
        start[..2].copy_from_slice(&ether_type.0.to_be_bytes());
        start[2] = version << 4 | start[2] & 0x0f;
    }
    Ok(frame)
}

/// A good frame with a few bytes changed.
fn changed(input: &mut Unstructured) -> Result<Vec<u8>> {
    let mut frame = good(input)?;
    for _ in 0..input.int_in_range(0..=6)? {
        let at = input.choose_index(frame.len())?;
        frame[at] = input.arbitrary()?;
    }
    if input.ratio(1, 8)? {
        frame.truncate(input.int_in_range(0..=frame.len())?);
    }
    Ok(frame)
}

fn good(input: &mut Unstructured) -> Result<Vec<u8>> {
    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    let address6 = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
    let address = |last: u8| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
    let (src, dst, gateway) = if input.arbitrary()? {
        (address(1), address(2), address(3))
    } else {
        (address6(1).into(), address6(2).into(), address6(3).into())
    };
    let payload = vec![0x5a; input.int_in_range(0..=1500)?];
    let tcp = Frame::tcp((src, 1), (dst, 2))
        .flags(TcpFlags(input.arbitrary()?))
        .options(input.arbitrary::<[u8; 12]>()?.split_at(input.int_in_range(0..=12)?).0);
    let udp = Frame::udp((src, 1), (dst, 2)).payload(&payload[..]);
    Ok(match input.int_in_range(0..=6)? {
        0 => tcp.payload(payload).build(),
        1 => udp.build(),
        2 => Frame::echo_request(src, dst, 1, 2).payload(payload).build(),
        3 => icmp_error(&udp.build(), IcmpErrorKind::TimeExceeded { code: 0 }, gateway)
            .expect("a datagram between two hosts may be told of"),
        4 => neighbour_solicitation(MAC, address6(1), address6(2)),
        5 => neighbour_advertisement(MAC, address6(1), true, Some((MAC, address6(2)))),
        _ => arp_reply(MAC, [10, 0, 0, 1].into(), MAC, [10, 0, 0, 2].into()),
    })
}

/// Gives a well-formed frame a correct IPv4 header checksum and the transport checksum of an
/// offloading sender, or, for ICMP, the complete one.
fn make_sound(frame: &mut [u8]) {
    let Ok(headers) = Headers::parse(frame) else { return };
    let Some(ip) = headers.ip() else { return };
    if ip.is_ipv4() {
        Ipv4::new_checked(&mut frame[ip.l3_offset..]).expect("IPv4").fill_checksum();
    }
    let transport = &mut frame[ip.l4_offset..ip.end()];
    let pseudo = |length: usize| {
        checksum::fold(checksum::pseudo_header(ip.src, ip.dst, ip.protocol, length as u32))
    };
    match ip.transport {
        Transport::Tcp { .. } => {
            let length = transport.len();
            Tcp::new_checked(transport).expect("TCP").set_checksum(pseudo(length));
        }
        Transport::Udp { length, .. } => {
            Udp::new_first_fragment(transport).expect("UDP").set_checksum(pseudo(length));
        }
        Transport::Echo { .. }
        | Transport::IcmpError { .. }
        | Transport::Ndp { .. }
        | Transport::OtherIcmp { .. } => {
            let protocol = if ip.is_ipv4() { Protocol::Icmp } else { Protocol::Icmpv6 };
            Icmp::new_checked(&mut *transport).expect("ICMP").set_checksum(0);
            let check = checksum::transport(ip.src, ip.dst, protocol, transport);
            Icmp::new_checked(transport).expect("ICMP").set_checksum(check);
        }
        Transport::Other(_) | Transport::NotPresent => {}
    }
}
