//! Frames of any content, field by field.

use std::net::{IpAddr, SocketAddr};

use super::{Addresses, Envelope};
use crate::packet::checksum;
use crate::packet::field::set_u16;
use crate::packet::mac::MacAddr;
use crate::packet::tcp::{self, TcpFlags};
use crate::packet::{icmp, icmpv6, udp};
use crate::tuple::Protocol;

/// An Ethernet frame in the making: [`Frame::tcp`], [`Frame::udp`] or [`Frame::echo_request`]
/// starts it with sensible defaults, methods change them, [`Self::build`] writes the bytes.
///
/// The defaults: Ethernet addresses 02:00:00:00:00:01 to 02:00:00:00:00:02, TTL 64, "don't
/// fragment", no payload, checksums complete. Addresses of different families are both written as
/// IPv6, the IPv4 one mapped.
///
/// ```
/// use nf_core::packet::{Frame, Headers, TcpFlags};
///
/// let frame = Frame::tcp(([10, 0, 0, 1], 40_000), ([192, 0, 2, 1], 443))
///     .flags(TcpFlags::SYN)
///     .mss(1460)
///     .build();
/// let tuple = Headers::parse(&frame)?.ip().and_then(|ip| ip.tuple());
/// assert_eq!(tuple.map(|tuple| tuple.to_string()).as_deref(), Some("tcp 10.0.0.1:40000 > 192.0.2.1:443"));
/// # Ok::<(), nf_core::packet::Malformed>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<L4> {
    envelope: Envelope,
    transport: L4,
    payload: Vec<u8>,
    checksum: Fill,
}

/// What to put into the transport checksum field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fill {
    Complete,
    PseudoHeaderOnly,
    Zero,
}

/// The TCP header of a [`Frame`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpSegment {
    src_port: u16,
    dst_port: u16,
    seq: u32,
    ack: u32,
    flags: TcpFlags,
    window: u16,
    options: Vec<u8>,
}

/// The UDP header of a [`Frame`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpDatagram {
    src_port: u16,
    dst_port: u16,
}

/// The ICMP or ICMPv6 echo of a [`Frame`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    request: bool,
    id: u16,
    seq: u16,
}

mod sealed {
    use crate::tuple::Protocol;

    /// A transport header that [`super::Frame`] can write.
    pub trait Layer4 {
        fn protocol(&self, is_ipv4: bool) -> Protocol;

        /// The header, its checksum zero, in front of `payload_len` bytes.
        fn header(&self, is_ipv4: bool, payload_len: usize) -> Vec<u8>;
    }
}

use sealed::Layer4;

impl Layer4 for TcpSegment {
    fn protocol(&self, _: bool) -> Protocol {
        Protocol::Tcp
    }

    fn header(&self, _: bool, _: usize) -> Vec<u8> {
        let Self { src_port, dst_port, seq, ack, flags, .. } = *self;
        let mut header = tcp::header(src_port, dst_port, seq, ack, flags).to_vec();
        header.extend(&self.options);
        header[tcp::field::DATA_OFFSET] = tcp::data_offset(header.len());
        set_u16(&mut header, tcp::field::WINDOW, self.window);
        header
    }
}

impl Layer4 for UdpDatagram {
    fn protocol(&self, _: bool) -> Protocol {
        Protocol::Udp
    }

    fn header(&self, _: bool, payload_len: usize) -> Vec<u8> {
        let length = udp::HEADER_LEN + payload_len;
        udp::header(self.src_port, self.dst_port, length as u16).to_vec()
    }
}

impl Layer4 for Echo {
    fn protocol(&self, is_ipv4: bool) -> Protocol {
        if is_ipv4 { Protocol::Icmp } else { Protocol::Icmpv6 }
    }

    fn header(&self, is_ipv4: bool, _: usize) -> Vec<u8> {
        let icmp_type = match (is_ipv4, self.request) {
            (true, true) => icmp::ECHO_REQUEST,
            (true, false) => icmp::ECHO_REPLY,
            (false, true) => icmpv6::ECHO_REQUEST,
            (false, false) => icmpv6::ECHO_REPLY,
        };
        icmp::header(icmp_type, 0, u32::from(self.id) << 16 | u32::from(self.seq)).to_vec()
    }
}

impl<L4> Frame<L4> {
    fn new(src: IpAddr, dst: IpAddr, transport: L4) -> Self {
        let src_mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let dst_mac = MacAddr([2, 0, 0, 0, 0, 2]);
        let envelope = Envelope::new(src_mac, dst_mac, Addresses::new(src, dst));
        Self { envelope, transport, payload: Vec::new(), checksum: Fill::Complete }
    }

    /// Sets the Ethernet addresses.
    #[must_use]
    pub fn macs(mut self, src: MacAddr, dst: MacAddr) -> Self {
        self.envelope.src_mac = src;
        self.envelope.dst_mac = dst;
        self
    }

    /// Sets the time to live or hop limit.
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.envelope.ttl = ttl;
        self
    }

    /// Sets DSCP and ECN.
    #[must_use]
    pub fn traffic_class(mut self, traffic_class: u8) -> Self {
        self.envelope.traffic_class = traffic_class;
        self
    }

    /// Sets the identification of an IPv4 packet.
    #[must_use]
    pub fn identification(mut self, identification: u16) -> Self {
        self.envelope.identification = identification;
        self
    }

    /// Lets routers fragment an IPv4 packet.
    #[must_use]
    pub fn may_fragment(mut self) -> Self {
        self.envelope.dont_fragment = false;
        self
    }

    /// Sets what follows the transport header. What the length fields cannot tell is cut off.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = payload.into();
        self
    }
}

impl<L4: Layer4> Frame<L4> {
    /// The bytes, without padding and check sequence.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let is_ipv4 = self.envelope.is_ipv4();
        let protocol = self.transport.protocol(is_ipv4);
        let header_len = self.transport.header(is_ipv4, 0).len();
        let payload = &self.payload[..self.payload.len().min(self.envelope.room() - header_len)];
        let mut segment = self.transport.header(is_ipv4, payload.len());
        segment.extend(payload);
        let field = checksum::field_of(protocol);
        let (src, dst) = (self.envelope.addresses.src(), self.envelope.addresses.dst());
        let check = match self.checksum {
            Fill::Complete => checksum::transport(src, dst, protocol, &segment),
            Fill::PseudoHeaderOnly => {
                let length = segment.len() as u32;
                checksum::fold(checksum::pseudo_header(src, dst, protocol.number(), length))
            }
            Fill::Zero => 0,
        };
        set_u16(&mut segment, field, check);
        self.envelope.wrap(protocol, &segment)
    }
}

impl Frame<TcpSegment> {
    /// A TCP segment: ACK, sequence and acknowledgement number 0, window 64,240, no options.
    #[must_use]
    pub fn tcp(src: impl Into<SocketAddr>, dst: impl Into<SocketAddr>) -> Self {
        let (src, dst) = (src.into(), dst.into());
        let transport = TcpSegment {
            src_port: src.port(),
            dst_port: dst.port(),
            seq: 0,
            ack: 0,
            flags: TcpFlags::ACK,
            window: 64_240,
            options: Vec::new(),
        };
        Self::new(src.ip(), dst.ip(), transport)
    }

    /// Sets the flags.
    #[must_use]
    pub fn flags(mut self, flags: TcpFlags) -> Self {
        self.transport.flags = flags;
        self
    }

    /// Sets the sequence number.
    #[must_use]
    pub fn seq(mut self, seq: u32) -> Self {
        self.transport.seq = seq;
        self
    }

    /// Sets the acknowledgement number.
    #[must_use]
    pub fn ack(mut self, ack: u32) -> Self {
        self.transport.ack = ack;
        self
    }

    /// Sets the receive window.
    #[must_use]
    pub fn window(mut self, window: u16) -> Self {
        self.transport.window = window;
        self
    }

    /// Sets the options, filled up with zeros to a multiple of four bytes and cut off at 40.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        let length = options.len().next_multiple_of(4).min(tcp::MAX_OPTIONS_LEN);
        self.transport.options = options.to_vec();
        self.transport.options.resize(length, 0);
        self
    }

    /// Sets the options to the maximum segment size.
    #[must_use]
    pub fn mss(self, mss: u16) -> Self {
        let [high, low] = mss.to_be_bytes();
        self.options(&[tcp::OPTION_MSS, tcp::OPTION_MSS_LEN, high, low])
    }

    /// Leaves only the sum of the pseudo-header in the checksum field, as a sender does that relies
    /// on checksum offload.
    #[must_use]
    pub fn partial_checksum(mut self) -> Self {
        self.checksum = Fill::PseudoHeaderOnly;
        self
    }
}

impl Frame<UdpDatagram> {
    /// A UDP datagram.
    #[must_use]
    pub fn udp(src: impl Into<SocketAddr>, dst: impl Into<SocketAddr>) -> Self {
        let (src, dst) = (src.into(), dst.into());
        let transport = UdpDatagram { src_port: src.port(), dst_port: dst.port() };
        Self::new(src.ip(), dst.ip(), transport)
    }

    /// Leaves only the sum of the pseudo-header in the checksum field, as a sender does that relies
    /// on checksum offload.
    #[must_use]
    pub fn partial_checksum(mut self) -> Self {
        self.checksum = Fill::PseudoHeaderOnly;
        self
    }

    /// Sends no checksum: zero, which IPv4 allows and IPv6 does not.
    #[must_use]
    pub fn no_checksum(mut self) -> Self {
        self.checksum = Fill::Zero;
        self
    }
}

impl Frame<Echo> {
    /// An ICMP or ICMPv6 echo request.
    #[must_use]
    pub fn echo_request(src: impl Into<IpAddr>, dst: impl Into<IpAddr>, id: u16, seq: u16) -> Self {
        Self::new(src.into(), dst.into(), Echo { request: true, id, seq })
    }

    /// An ICMP or ICMPv6 echo reply.
    #[must_use]
    pub fn echo_reply(src: impl Into<IpAddr>, dst: impl Into<IpAddr>, id: u16, seq: u16) -> Self {
        Self::new(src.into(), dst.into(), Echo { request: false, id, seq })
    }
}
