//! What the program answers to a frame. Bytes in, bytes out: no socket, no clock.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nf_core::packet::arp::Operation;
use nf_core::packet::build::{self, DEFAULT_TTL};
use nf_core::packet::checksum::{self, L4Checksum};
use nf_core::packet::{
    Arp, Content, Ethernet, Fragment, Headers, IpHeaders, Ipv4, Ipv6, MacAddr, Malformed,
    NeighbourMessage, Transport, Udp,
};
use serde::Serialize;

/// Whom the program answers as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// The interface's MAC address.
    pub mac: MacAddr,
    /// The IPv4 address it answers for.
    pub ipv4: Option<Ipv4Addr>,
    /// The IPv6 address it answers for.
    pub ipv6: Option<Ipv6Addr>,
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Who has the IPv4 address?
    Arp,
    /// Who has the IPv6 address?
    NeighbourSolicitation,
    /// ICMP or ICMPv6 echo.
    IcmpEcho,
    /// A UDP datagram, to any port.
    Udp,
}

/// Why a frame gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// A header is not whole or contradicts itself.
    Malformed,
    /// A checksum is wrong: the packet was damaged on its way.
    BadChecksum,
    /// A part of a packet. Nothing here puts them together.
    Fragment,
    /// IPv4 options or IPv6 extension headers, which nobody needs in order to be echoed and which
    /// would have to be answered each in its own way.
    Options,
    /// The Ethernet or IP address is another host's.
    OtherHost,
    /// The source is no host that could be answered.
    Source,
    /// Nothing that is answered: another protocol, an answer, a message that needs none.
    NotServed,
}

impl Request {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Arp, Self::NeighbourSolicitation, Self::IcmpEcho, Self::Udp];
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Malformed,
        Self::BadChecksum,
        Self::Fragment,
        Self::Options,
        Self::OtherHost,
        Self::Source,
        Self::NotServed,
    ];

    /// In a few words, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::BadChecksum => "wrong checksum",
            Self::Fragment => "fragment",
            Self::Options => "IPv4 options or IPv6 extension headers",
            Self::OtherHost => "for another host",
            Self::Source => "from a source that cannot be answered",
            Self::NotServed => "nothing that is echoed",
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// An answer to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it answers.
    pub request: Request,
    /// A frame to send instead of the request; without one, the request itself was made the answer
    /// where it lies.
    pub frame: Option<Vec<u8>>,
}

impl Host {
    /// Answers a frame, which may be changed if there is an answer.
    ///
    /// # Errors
    ///
    /// Why it gets none.
    pub fn answer(&self, frame: &mut [u8]) -> Result<Answer, Refusal> {
        let headers = Headers::parse(frame)?;
        match headers.content {
            Content::Arp => self.answer_arp(frame),
            Content::Ip(ip) if matches!(ip.transport, Transport::Ndp { .. }) => {
                self.answer_solicitation(&headers, &ip, frame)
            }
            Content::Ip(ip) => self.answer_packet(&headers, &ip, frame),
            Content::Other(_) => Err(Refusal::NotServed),
        }
    }

    fn answer_arp(&self, frame: &[u8]) -> Result<Answer, Refusal> {
        let ethernet = Ethernet::new_checked(frame)?;
        let arp = Arp::new_checked(ethernet.payload())?;
        if arp.operation() != Operation::Request {
            return Err(Refusal::NotServed);
        }
        if !self.is_own(arp.target_ip().into()) {
            return Err(Refusal::OtherHost);
        }
        if !arp.sender_mac().is_unicast() {
            return Err(Refusal::Source);
        }
        let reply = build::arp_reply(self.mac, arp.target_ip(), arp.sender_mac(), arp.sender_ip());
        Ok(Answer { request: Request::Arp, frame: Some(reply) })
    }

    fn answer_solicitation(
        &self,
        headers: &Headers,
        ip: &IpHeaders,
        frame: &[u8],
    ) -> Result<Answer, Refusal> {
        if checksum::verify(ip, frame) != L4Checksum::Correct {
            return Err(Refusal::BadChecksum);
        }
        let message = NeighbourMessage::parse(ip, frame)?;
        let Some(NeighbourMessage::Solicitation { target, source_mac }) = message else {
            return Err(Refusal::NotServed);
        };
        if !self.is_own(target.into()) {
            return Err(Refusal::OtherHost);
        }
        let asking = source_mac.unwrap_or(headers.src_mac);
        // A probe for a duplicate address comes from the unspecified one; its answer goes to all.
        let IpAddr::V6(source) = ip.src else { return Err(Refusal::Malformed) };
        if !asking.is_unicast() || ip.source_is_impossible() && !source.is_unspecified() {
            return Err(Refusal::Source);
        }
        let advertisement =
            build::neighbour_advertisement(self.mac, target, false, Some((asking, source)));
        Ok(Answer { request: Request::NeighbourSolicitation, frame: Some(advertisement) })
    }

    fn answer_packet(
        &self,
        headers: &Headers,
        ip: &IpHeaders,
        frame: &mut [u8],
    ) -> Result<Answer, Refusal> {
        if headers.dst_mac != self.mac || !self.is_own(ip.dst) {
            return Err(Refusal::OtherHost);
        }
        if !headers.src_mac.is_unicast() || ip.source_is_impossible() {
            return Err(Refusal::Source);
        }
        if !checksum::ipv4_header_is_correct(ip, frame) {
            return Err(Refusal::BadChecksum);
        }
        if ip.fragment != Fragment::None {
            return Err(Refusal::Fragment);
        }
        if ip.has_options {
            return Err(Refusal::Options);
        }
        match checksum::verify(ip, frame) {
            L4Checksum::Correct | L4Checksum::Absent => {}
            // The sender is on this machine and left the sum to an interface that does not compute
            // any, as a veth. The socket sends what it is given, so it is done here.
            L4Checksum::PseudoHeaderOnly => {
                checksum::complete(ip, frame);
            }
            L4Checksum::Wrong => return Err(Refusal::BadChecksum),
            L4Checksum::Unchecked => return Err(Refusal::NotServed),
        }
        match ip.transport {
            // RFC 768: a source port "may be assumed to be the port to which a reply should be
            // addressed [...]. If not used, a value of zero is inserted."
            Transport::Udp { src_port: 0, .. } => Err(Refusal::Source),
            Transport::Udp { .. } => {
                turn(headers, ip, frame)?;
                Ok(Answer { request: Request::Udp, frame: None })
            }
            Transport::Echo { request: true, .. } => {
                let reply = build::echo_reply(frame).ok_or(Refusal::NotServed)?;
                Ok(Answer { request: Request::IcmpEcho, frame: Some(reply) })
            }
            _ => Err(Refusal::NotServed),
        }
    }

    fn is_own(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.ipv4 == Some(address),
            IpAddr::V6(address) => self.ipv6 == Some(address),
        }
    }
}

/// Sends a UDP datagram back to where it came from. Its checksum covers the sum of both addresses
/// and both ports, which stays the same when they change places.
fn turn(headers: &Headers, ip: &IpHeaders, frame: &mut [u8]) -> Result<(), Malformed> {
    let mut ethernet = Ethernet::new_checked(&mut *frame)?;
    ethernet.set_src(headers.dst_mac);
    ethernet.set_dst(headers.src_mac);
    let packet = &mut frame[ip.l3_offset..ip.end()];
    match (ip.src, ip.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut packet = Ipv4::new_checked(packet)?;
            packet.set_src(dst);
            packet.set_dst(src);
            packet.set_ttl(DEFAULT_TTL);
            packet.fill_checksum();
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut packet = Ipv6::new_checked(packet)?;
            packet.set_src(dst);
            packet.set_dst(src);
            packet.set_hop_limit(DEFAULT_TTL);
        }
        _ => unreachable!("a packet has addresses of one family"),
    }
    let mut datagram = Udp::new_checked(&mut frame[ip.l4_offset..ip.end()])?;
    let (src_port, dst_port) = (datagram.src_port(), datagram.dst_port());
    datagram.set_src_port(dst_port);
    datagram.set_dst_port(src_port);
    Ok(())
}

#[cfg(test)]
mod tests;
