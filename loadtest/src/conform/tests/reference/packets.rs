//! How frames are rewritten.

use std::net::{IpAddr, SocketAddr};

use nf_core::packet::{Ipv4, L4Checksum, Quoted, Tcp, Transport, checksum};

use crate::conform::end::Packet;
use crate::conform::messages::requote;

/// Where the IPv4 header and what it carries begin.
const IP: usize = 14;
const L4: usize = IP + 20;

fn set_address(header: &mut [u8], place: usize, address: IpAddr) {
    if let IpAddr::V4(address) = address {
        header[place..place + 4].copy_from_slice(&address.octets());
    }
}

/// Fills the checksums of a whole packet in; UDP's only if there is one.
fn seal(frame: &mut [u8]) {
    if let Ok(mut header) = Ipv4::new_checked(&mut frame[IP..]) {
        header.fill_checksum();
    }
    let Some(packet) = Packet::parse(frame) else { return };
    let (field, protocol) = match packet.ip.protocol {
        1 => (2, nf_core::tuple::Protocol::Icmp),
        6 => (16, nf_core::tuple::Protocol::Tcp),
        17 => (6, nf_core::tuple::Protocol::Udp),
        _ => return,
    };
    let end = packet.ip.end();
    let field = L4 + field..L4 + field + 2;
    if packet.ip.protocol == 17 && frame[field.clone()] == [0, 0] {
        return;
    }
    frame[field.clone()].fill(0);
    let check = checksum::transport(packet.ip.src, packet.ip.dst, protocol, &frame[L4..end]);
    frame[field].copy_from_slice(&check.to_be_bytes());
}

/// With another source or destination; ports are an echo's identifier.
pub fn readdress(
    packet: &Packet,
    source: Option<SocketAddr>,
    destination: Option<SocketAddr>,
) -> Vec<u8> {
    let mut frame = packet.frame.clone();
    rewrite(&mut frame[IP..], packet.ip.transport, source, destination);
    if checksum::verify(&packet.ip, &packet.frame) != L4Checksum::Wrong {
        seal(&mut frame);
    }
    frame
}

/// In an IP packet that has no options.
fn rewrite(
    bytes: &mut [u8],
    transport: Transport,
    source: Option<SocketAddr>,
    destination: Option<SocketAddr>,
) {
    for (place, port, end) in [(12, 0, source), (16, 2, destination)] {
        let Some(end) = end else { continue };
        set_address(bytes, place, end.ip());
        let port = match transport {
            Transport::Tcp { .. } | Transport::Udp { .. } => 20 + port,
            Transport::Echo { .. } => 20 + 4,
            _ => continue,
        };
        bytes[port..port + 2].copy_from_slice(&end.port().to_be_bytes());
    }
}

/// In the packet that an error quotes.
pub fn quoting(error: &mut Vec<u8>, source: Option<SocketAddr>, destination: Option<SocketAddr>) {
    requote(error, |quote| {
        let header = usize::from(quote[0] & 15) * 4;
        for (place, port, end) in [(12, 0, source), (16, 2, destination)] {
            let Some(end) = end else { continue };
            set_address(quote, place, end.ip());
            let port = if quote[9] == 1 { 4 } else { port } + header;
            quote[port..port + 2].copy_from_slice(&end.port().to_be_bytes());
        }
        if let Ok(mut quoted) = Ipv4::new_quoted(&mut quote[..]) {
            quoted.fill_checksum();
        }
    });
}

/// What a router does to the header of what it forwards, and some should not.
pub fn mark(frame: &mut [u8], (ttl_kept, class_cleared): (bool, bool), may: bool, id: Option<u16>) {
    if !ttl_kept {
        frame[IP + 8] -= 1;
    }
    if class_cleared {
        frame[IP + 1] = 0;
    }
    if may {
        frame[IP + 6] = 0;
    }
    if let Some(id) = id.filter(|_| frame[IP + 6] & 0x40 == 0) {
        frame[IP + 4..IP + 6].copy_from_slice(&id.to_be_bytes());
    }
    if let Ok(mut header) = Ipv4::new_checked(&mut frame[IP..]) {
        header.fill_checksum();
    }
}

/// What an application level gateway might do.
pub fn change_payload(frame: &mut [u8]) {
    let needle = b"10.0.4.10";
    let found = frame.windows(needle.len()).position(|it| it == needle);
    if let Some(place) = found {
        frame[place..place + needle.len()].copy_from_slice(b"192.0.2.1");
        seal(frame);
    }
}

/// Brings the maximum segment size down.
pub fn clamp(frame: &mut [u8], most: u16) {
    let Some(packet) = Packet::parse(frame) else { return };
    if !matches!(packet.ip.transport, Transport::Tcp { .. }) {
        return;
    }
    let end = packet.ip.end();
    if let Ok(mut tcp) = Tcp::new_checked(&mut frame[L4..end]) {
        tcp.clamp_mss(most);
    }
    seal(frame);
}

/// Whether a quoted datagram's checksum is right, where it is whole and alone.
pub fn quoted_datagram_is_right(packet: &Packet, quoted: &Quoted) -> bool {
    let bytes = &packet.frame[quoted.l4_offset..quoted.end];
    if quoted.protocol != 17 {
        return true;
    }
    let length = usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
    let Some(datagram) = bytes.get(..length) else { return true };
    let mut blank = datagram.to_vec();
    blank[6..8].fill(0);
    let check = checksum::transport(quoted.src, quoted.dst, nf_core::tuple::Protocol::Udp, &blank);
    datagram[6..8] == check.to_be_bytes()
}
