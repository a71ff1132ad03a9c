//! An ICMP error that is told to a sender of the other address family: a new header, its kind as that
//! family calls it, and the packet that it quotes as its sender wrote it.

use std::net::{IpAddr, SocketAddr};

use super::kind::{Mtus, to_icmp, to_icmpv6};
use super::rewrite_quoted_transport;
use crate::nat64::Nat64Prefix;
use crate::packet::headers::{IpHeaders, Transport};
use crate::packet::{Ipv4, Ipv6, Quoted, build, checksum, icmp, ipv4, ipv6};
use crate::tuple::{Protocol, Tuple};

/// The error in `frame`, whose summaries are `ip` and `quoted`, to whoever sent what it is about. As
/// its sender sees it, the answers to that go by `back`. `None` if that family has no such error.
pub(super) fn error(
    frame: &[u8],
    ip: &IpHeaders,
    quoted: &Quoted,
    back: Tuple,
    mtus: Mtus,
) -> Option<Vec<u8>> {
    let Transport::IcmpError { kind } = ip.transport else { return None };
    let about = quoted.tuple?;
    let packet = Original::of(frame, ip, quoted)?;
    let kind = if ip.is_ipv4() {
        to_icmpv6(kind, packet.header_len + packet.payload_len, mtus)
    } else {
        to_icmp(kind, mtus)
    }?;
    let from = seen_from(ip.src, about, back.src);
    let quotation = packet.as_sent(about, back.reversed())?;
    Some(build::translated_icmp_error(ip, kind, (from, back.dst.ip()), &quotation))
}

/// How the sender's family names whoever reports. One with an IPv4 address has it in the prefix by
/// which the sender names the far end. An IPv6 address of a router has no like in IPv4: it is as if
/// the far end itself had reported.
fn seen_from(reporter: IpAddr, about: Tuple, far_end: SocketAddr) -> IpAddr {
    let prefix = match (far_end.ip(), about.dst.ip()) {
        (IpAddr::V6(named), IpAddr::V4(far_end)) => Nat64Prefix::between(named, far_end),
        _ => None,
    };
    match (reporter, prefix) {
        (IpAddr::V4(reporter), Some(prefix)) => prefix.embed(reporter).into(),
        _ => far_end.ip(),
    }
}

/// A quoted packet, as it left us.
struct Original<'a> {
    header_len: usize,
    /// Of the whole packet, of which the quotation may be a part.
    payload_len: usize,
    traffic_class: u8,
    ttl: u8,
    /// As much as is quoted.
    transport: &'a [u8],
}

impl<'a> Original<'a> {
    fn of(frame: &'a [u8], ip: &IpHeaders, quoted: &Quoted) -> Option<Self> {
        let end = quoted.end.min(before_extensions(frame, ip, quoted)?);
        let transport = frame.get(quoted.l4_offset..end)?;
        let header_len = quoted.l4_offset - quoted.l3_offset;
        let header = frame.get(quoted.l3_offset..)?;
        let (total_len, traffic_class, ttl) = if ip.is_ipv4() {
            let packet = Ipv4::new_quoted(header).ok()?;
            (packet.total_len(), packet.traffic_class(), packet.ttl())
        } else {
            let packet = Ipv6::new_quoted(header).ok()?;
            (packet.total_len(), packet.traffic_class(), packet.hop_limit())
        };
        let payload_len = total_len.saturating_sub(header_len);
        Some(Self { header_len, payload_len, traffic_class, ttl, transport })
    }

    /// The packet with the addresses `as_sent`, of the other family than those it has, `about`.
    fn as_sent(&self, about: Tuple, as_sent: Tuple) -> Option<Vec<u8>> {
        let mut packet = match (as_sent.src.ip(), as_sent.dst.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => ipv4::Header {
                traffic_class: self.traffic_class,
                total_len: u16::try_from(ipv4::MIN_HEADER_LEN + self.payload_len).ok()?,
                identification: 0,
                dont_fragment: true,
                ttl: self.ttl,
                protocol: as_sent.protocol.number(),
                src,
                dst,
            }
            .bytes()
            .to_vec(),
            (IpAddr::V6(src), IpAddr::V6(dst)) => ipv6::Header {
                traffic_class: self.traffic_class,
                payload_len: u16::try_from(self.payload_len).ok()?,
                protocol: as_sent.protocol.number(),
                hop_limit: self.ttl,
                src,
                dst,
            }
            .bytes()
            .to_vec(),
            _ => return None,
        };
        let at = packet.len();
        packet.extend(self.transport);
        let length = self.payload_len as u32;
        let mut delta = checksum::add(pseudo(as_sent, length), !pseudo(about, length));
        if as_sent.protocol.is_echo() {
            let message = packet.get_mut(at..at + 1)?;
            let other = icmp::echo_type_of_other_family(message[0]);
            delta = checksum::add(delta, checksum::diff(message, &[other]));
            message[0] = other;
        }
        let range = at..packet.len();
        rewrite_quoted_transport(&mut packet, range, as_sent, delta)?;
        Some(packet)
    }
}

/// The sum of what a checksum covers besides its message.
fn pseudo(tuple: Tuple, length: u32) -> u32 {
    match tuple.protocol {
        Protocol::Icmp => 0,
        protocol => {
            checksum::pseudo_header(tuple.src.ip(), tuple.dst.ip(), protocol.number(), length)
        }
    }
}

/// Where the quotation ends by the length that RFC 4884 has put into the error's header, in units of
/// 32 bits in ICMP and of 64 in ICMPv6; what stands behind says something else than the packet. Zero:
/// nothing stands there.
fn before_extensions(frame: &[u8], ip: &IpHeaders, quoted: &Quoted) -> Option<usize> {
    let has_length = matches!(
        ip.transport,
        Transport::IcmpError { kind } if kind.may_have_extensions()
    );
    let rest = frame.get(ip.l4_offset + 4..ip.l4_offset + icmp::HEADER_LEN)?;
    let length = match ip.is_ipv4() {
        _ if !has_length => 0,
        true => usize::from(rest[1]) * 4,
        false => usize::from(rest[0]) * 8,
    };
    Some(if length == 0 { quoted.end } else { quoted.l3_offset + length })
}
