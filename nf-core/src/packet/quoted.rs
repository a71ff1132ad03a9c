//! The packet that an ICMP error quotes: cut short, its addresses those of the sender's side.

use std::net::IpAddr;

use super::field::{Field, u16_at};
use super::headers::{Fragment, IpHeaders, Network, Transport, echo_ports};
use super::icmp::{self, Icmp};
use super::ipv4::Ipv4;
use super::ipv6::Ipv6;
use super::malformed::{Layer, Malformed, require};
use crate::tuple::{Protocol, Tuple};

/// What an error quotes of a transport header at least: RFC 792 asks for "64 bits".
const TRANSPORT_LEN: usize = 8;

/// TCP and UDP have their ports at the same place.
const SRC_PORT: Field = 0..2;
const DST_PORT: Field = 2..4;

/// The summary of a quoted packet. Offsets are from the start of the frame that quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Where the quoted IP header stands.
    pub l3_offset: usize,
    /// Where the quoted transport header stands; at least eight bytes of it are there.
    pub l4_offset: usize,
    /// Where the quotation ends.
    pub end: usize,
    /// Transport protocol (IANA's number).
    pub protocol: u8,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Which fragment was quoted, if it is one.
    pub fragment: Fragment,
    /// The flow it belongs to, if it is of a kind that flows are tracked of.
    pub tuple: Option<Tuple>,
}

impl Quoted {
    /// Reads the packet quoted by the ICMP error in `frame`, whose summary is `ip`.
    ///
    /// # Errors
    /// [`Malformed`] when the message is no error, or quotes less than an IP header of the
    /// error's own family and eight bytes behind it.
    pub fn parse(ip: &IpHeaders, frame: &[u8]) -> Result<Self, Malformed> {
        if !matches!(ip.transport, Transport::IcmpError { .. }) {
            return Err(Malformed::NothingQuoted);
        }
        let message = Icmp::new_checked(ip.transport_bytes(frame))?;
        let quotation = message.payload();
        let l3_offset = ip.l4_offset + icmp::HEADER_LEN;
        let network = if ip.is_ipv4() {
            Network::of_ipv4(&Ipv4::new_quoted(quotation)?)
        } else {
            Network::of_ipv6(&Ipv6::new_quoted(quotation)?)?
        };
        let end = quotation.len().min(network.total_len.max(network.header_len));
        let transport = &quotation[network.header_len..end];
        require(Layer::QuotedTransport, TRANSPORT_LEN, transport.len())?;
        Ok(Self {
            l3_offset,
            l4_offset: l3_offset + network.header_len,
            end: l3_offset + end,
            protocol: network.protocol,
            src: network.src,
            dst: network.dst,
            fragment: network.fragment,
            tuple: tuple(&network, transport),
        })
    }
}

fn tuple(network: &Network, transport: &[u8]) -> Option<Tuple> {
    if matches!(network.fragment, Fragment::Later { .. }) {
        return None;
    }
    let protocol = Protocol::from_number(network.protocol)?;
    let message = match (protocol, network.src.is_ipv4()) {
        (Protocol::Tcp | Protocol::Udp, _) => {
            let ports = (u16_at(transport, SRC_PORT), u16_at(transport, DST_PORT));
            return Some(network.tuple(protocol, ports));
        }
        (Protocol::Icmp, true) => Icmp::new_checked(transport).ok()?.transport_v4(),
        (Protocol::Icmpv6, false) => Icmp::new_checked(transport).ok()?.transport_v6(),
        (Protocol::Icmp, false) | (Protocol::Icmpv6, true) => return None,
    };
    let Transport::Echo { request, id, .. } = message else { return None };
    Some(network.tuple(protocol, echo_ports(request, id)))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use crate::packet::build::icmp_error;
    use crate::packet::{Frame, Headers, IcmpErrorKind};

    const EXPIRED: IcmpErrorKind = IcmpErrorKind::TimeExceeded { code: 0 };
    const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    const SERVER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

    fn parse(frame: &[u8]) -> Result<Quoted, Malformed> {
        Quoted::parse(Headers::parse(frame).unwrap().ip().unwrap(), frame)
    }

    fn about(original: &[u8]) -> Vec<u8> {
        let gateway: IpAddr = if original[12..14] == [8, 0] {
            [10, 0, 0, 254].into()
        } else {
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe).into()
        };
        icmp_error(original, EXPIRED, gateway).unwrap()
    }

    /// Cuts the end off an ICMP error over IPv4.
    fn shorten(mut error: Vec<u8>, quoted: usize) -> Vec<u8> {
        error.truncate(42 + quoted);
        error[17] = (28 + quoted) as u8;
        error
    }

    #[test]
    fn eight_bytes_of_transport_are_enough_to_find_the_flow() {
        let original = Frame::tcp(([10, 0, 0, 1], 40_000), ([192, 0, 2, 1], 443)).build();
        let error = about(&original);
        let quoted = parse(&shorten(error.clone(), 28)).unwrap();
        assert_eq!(quoted.tuple, Headers::parse(&original).unwrap().ip().unwrap().tuple());
        assert_eq!((quoted.l3_offset, quoted.l4_offset, quoted.end), (42, 62, 70));
        assert_eq!(quoted.protocol, 6);
        let layer = Layer::QuotedTransport;
        let too_short = Malformed::Truncated { layer, need: 8, have: 7 };
        assert_eq!(parse(&shorten(error.clone(), 27)), Err(too_short));
        let too_short = Malformed::Truncated { layer: Layer::Ipv4, need: 20, have: 19 };
        assert_eq!(parse(&shorten(error, 19)), Err(too_short));
    }

    #[test]
    fn echoes_are_found_by_their_identifier() {
        let v4 = Frame::echo_request([10, 0, 0, 1], [192, 0, 2, 1], 0x1234, 1).build();
        let v6 = Frame::echo_reply(CLIENT6, SERVER6, 0x1234, 1).build();
        for original in [v4, v6] {
            let expected = Headers::parse(&original).unwrap().ip().unwrap().tuple();
            assert!(expected.is_some());
            assert_eq!(parse(&about(&original)).unwrap().tuple, expected);
        }
    }

    #[test]
    fn padding_inside_an_error_is_not_quoted() {
        let original = Frame::udp(([10, 0, 0, 1], 1), ([192, 0, 2, 1], 2)).payload([1; 4]).build();
        let mut error = about(&original);
        let end = error.len();
        error.extend([0; 6]);
        error[17] += 6;
        assert_eq!(parse(&error).unwrap().end, end);
    }

    #[test]
    fn a_quoted_length_that_makes_no_sense_quotes_nothing_behind_the_header() {
        let mut error = about(&Frame::udp(([10, 0, 0, 1], 1), ([192, 0, 2, 1], 2)).build());
        error[44..46].fill(0);
        let layer = Layer::QuotedTransport;
        assert_eq!(parse(&error), Err(Malformed::Truncated { layer, need: 8, have: 0 }));
    }

    #[test]
    fn what_belongs_to_no_flow_has_no_tuple() {
        let mut sctp = Frame::udp(([10, 0, 0, 1], 1), ([192, 0, 2, 1], 2)).build();
        sctp[23] = 132;
        let quoted = parse(&about(&sctp)).unwrap();
        assert_eq!((quoted.protocol, quoted.tuple), (132, None));
        let mut error = about(&Frame::udp(([10, 0, 0, 1], 1), ([192, 0, 2, 1], 2)).build());
        error[42 + 7] = 1;
        assert_eq!(parse(&error).unwrap().fragment, Fragment::Later { id: 0, offset: 8 });
        assert_eq!(parse(&error).unwrap().tuple, None);
    }

    #[test]
    fn the_quoted_packet_is_of_the_errors_family() {
        let mut error = about(&Frame::udp(([10, 0, 0, 1], 1), ([192, 0, 2, 1], 2)).build());
        error[42] = 0x65;
        assert_eq!(parse(&error), Err(Malformed::Version { layer: Layer::Ipv4, version: 6 }));
    }

    #[test]
    fn only_errors_quote() {
        let ping = Frame::echo_request([10, 0, 0, 1], [192, 0, 2, 1], 1, 1).payload([0x45; 60]);
        assert_eq!(parse(&ping.build()), Err(Malformed::NothingQuoted));
    }
}
