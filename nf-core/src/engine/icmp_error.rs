//! ICMP errors about translated flows: the packet an error quotes left the gateway rewritten, so
//! its quotation is turned back into what the sender knows before the sender is told. Where the
//! sender has the other address family, so do the error and what it quotes ([`translated`]).

mod kind;
mod translated;

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::Engine;
use super::flows::action_of;
use crate::fast_path::FastPath;
use crate::id::PortId;
use crate::neighbour::Waiting;
use crate::packet::headers::IpHeaders;
use crate::packet::{Quoted, checksum};
use crate::time::Time;
use crate::tuple::{FlowKey, Protocol, Tuple};
use crate::verdict::{Drop, Verdict};
use kind::Mtus;

impl Engine {
    /// An ICMP error came in by `port`. RFC 5508 REQ-4: "If a NAT device receives an ICMP Error
    /// packet from an external realm, and the NAT device does not have an active mapping for the
    /// embedded payload, the NAT SHOULD silently drop the ICMP Error packet."
    pub(super) fn icmp_error(
        &mut self,
        now: Time,
        port: PortId,
        ip: &IpHeaders,
        mut frame: Vec<u8>,
        fast_path: &mut dyn FastPath,
    ) -> Verdict {
        let Ok(quoted) = Quoted::parse(ip, &frame) else {
            return Verdict::Dropped(Drop::Malformed);
        };
        // Whoever is told is the one who sent it.
        if ip.dst != quoted.src {
            return Verdict::Dropped(Drop::Unsolicited);
        }
        let Some(tuple) = quoted.tuple else { return Verdict::Dropped(Drop::Unsolicited) };
        // The quoted packet left by this port, so its answers come in by it.
        let answers = FlowKey { port, tuple: tuple.reversed() };
        let known = self.flows.find(&answers);
        let Some((id, direction)) = known else { return Verdict::Dropped(Drop::Unsolicited) };
        let Some(flow) = self.flows.get(id) else { return Verdict::Dropped(Drop::Unsolicited) };
        if ip.ttl <= 1 {
            return Verdict::Dropped(Drop::TimeToLive);
        }
        let action = action_of(&flow, direction);
        let back = action.rewrite;
        let out = flow.key(direction.opposite()).port;
        let Some((mac, mtu)) = self.port_link(out) else {
            return Verdict::Dropped(Drop::PortGone);
        };
        if action.translates(&answers.tuple) {
            let mtus = Mtus { came: self.port_link(port).map_or(mtu, |(_, mtu)| mtu), leaves: mtu };
            let Some(mut frame) = translated::error(&frame, ip, &quoted, back, mtus) else {
                return Verdict::Dropped(Drop::NotServed);
            };
            frame[6..12].copy_from_slice(mac.as_bytes());
            let frame = Waiting { frame, segment_size: 0 };
            return self.send_or_wait(now, out, action.adjacency, frame, fast_path);
        }
        // RFC 5508 REQ-4 and REQ-5: whoever reports from an end that the flow hides comes from what
        // the sender knows that end by, routers there included; any other keeps its address.
        let is_hidden = back.src.ip() != tuple.dst.ip();
        let from = if is_hidden { back.src.ip() } else { ip.src };
        let told = Telling { from, to: back.dst.ip(), about: back.reversed() };
        if told.rewrite(&mut frame, ip, &quoted).is_none() {
            return Verdict::Dropped(Drop::Malformed);
        }
        frame[6..12].copy_from_slice(mac.as_bytes());
        let frame = Waiting { frame, segment_size: 0 };
        self.send_or_wait(now, out, action.adjacency, frame, fast_path)
    }
}

/// What an error is to say once it is translated.
struct Telling {
    from: IpAddr,
    to: IpAddr,
    /// The quoted packet's addresses as its sender wrote them.
    about: Tuple,
}

impl Telling {
    /// Rewrites the error in place. Its own checksum was verified on the way in, so it is computed
    /// anew; those of the quoted packet are only adjusted.
    fn rewrite(&self, frame: &mut [u8], ip: &IpHeaders, quoted: &Quoted) -> Option<()> {
        let delta = rewrite_ip(frame, quoted.l3_offset, self.about.src.ip(), self.about.dst.ip())?;
        // ICMP's checksum, unlike ICMPv6's, covers no pseudo-header.
        let delta = if self.about.protocol == Protocol::Icmp { 0 } else { delta };
        rewrite_quoted_transport(frame, quoted.l4_offset..quoted.end, self.about, delta)?;
        rewrite_ip(frame, ip.l3_offset, self.from, self.to)?;
        lower_ttl(frame, ip.l3_offset, ip.is_ipv4())?;
        let protocol = if ip.is_ipv4() { Protocol::Icmp } else { Protocol::Icmpv6 };
        let at = ip.l4_offset + 2;
        frame.get_mut(at..at + 2)?.fill(0);
        let message = frame.get(ip.l4_offset..ip.end())?;
        let check = checksum::transport(self.from, self.to, protocol, message);
        frame[at..at + 2].copy_from_slice(&check.to_be_bytes());
        Some(())
    }
}

/// RFC 5508 REQ-4 (a): "Revert the IP and transport headers of the embedded IP packet to their
/// original form". The transport header and what is quoted of its payload stand at `range`; `delta`
/// is what the checksum changes by besides ports. Where the quotation is cut before the checksum,
/// there is none to adjust.
fn rewrite_quoted_transport(
    frame: &mut [u8],
    range: Range<usize>,
    about: Tuple,
    delta: u32,
) -> Option<()> {
    let at = range.start;
    let protocol = about.protocol;
    let port = |address: SocketAddr| address.port().to_be_bytes();
    let (field, new, check_at) = match protocol {
        Protocol::Tcp | Protocol::Udp => {
            let ports = [port(about.src), port(about.dst)].concat();
            (at..at + 4, ports, at + if protocol == Protocol::Tcp { 16 } else { 6 })
        }
        Protocol::Icmp | Protocol::Icmpv6 => {
            let id = about.src.port() | about.dst.port();
            (at + 4..at + 6, id.to_be_bytes().to_vec(), at + 2)
        }
    };
    let field = frame.get_mut(field)?;
    let ports = checksum::diff(field, &new);
    field.copy_from_slice(&new);
    if check_at + 2 > range.end {
        return Some(());
    }
    let check = frame.get_mut(check_at..check_at + 2)?;
    let old = u16::from_be_bytes([check[0], check[1]]);
    if protocol == Protocol::Udp && old == 0 {
        return Some(());
    }
    let new = checksum::update(old, checksum::add(delta, ports));
    let new = if protocol == Protocol::Udp { checksum::for_udp(new) } else { new };
    check.copy_from_slice(&new.to_be_bytes());
    Some(())
}

/// Sets the addresses of the IP header at `at`; their one's complement difference.
fn rewrite_ip(frame: &mut [u8], at: usize, src: IpAddr, dst: IpAddr) -> Option<u32> {
    let (range, new) = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            (at + 12..at + 20, [src.octets(), dst.octets()].concat())
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            (at + 8..at + 40, [src.octets(), dst.octets()].concat())
        }
        _ => return None,
    };
    let field = frame.get_mut(range)?;
    let delta = checksum::diff(field, &new);
    field.copy_from_slice(&new);
    if src.is_ipv4() {
        adjust_ipv4_checksum(frame, at, delta)?;
    }
    Some(delta)
}

fn lower_ttl(frame: &mut [u8], at: usize, ipv4: bool) -> Option<()> {
    if !ipv4 {
        *frame.get_mut(at + 7)? -= 1;
        return Some(());
    }
    let word = frame.get_mut(at + 8..at + 10)?;
    let lower = [word[0] - 1, word[1]];
    let delta = checksum::diff(word, &lower);
    word.copy_from_slice(&lower);
    adjust_ipv4_checksum(frame, at, delta)
}

fn adjust_ipv4_checksum(frame: &mut [u8], at: usize, delta: u32) -> Option<()> {
    let check = frame.get_mut(at + 10..at + 12)?;
    let new = checksum::update(u16::from_be_bytes([check[0], check[1]]), delta);
    check.copy_from_slice(&new.to_be_bytes());
    Some(())
}
