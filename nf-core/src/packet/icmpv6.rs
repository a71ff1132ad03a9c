//! The numbers of ICMPv6 (RFC 4443). The header is [`Icmp`], the checksum covers a pseudo-header.

use super::headers::Transport;
use super::icmp::{HEADER_LEN, Icmp, IcmpErrorKind, header};
use super::ndp::NdpType;

/// Type of an echo request.
pub const ECHO_REQUEST: u8 = 128;
/// Type of an echo reply.
pub const ECHO_REPLY: u8 = 129;

const UNREACHABLE: u8 = 1;
const PACKET_TOO_BIG: u8 = 2;
const TIME_EXCEEDED: u8 = 3;
const PARAMETER_PROBLEM: u8 = 4;

impl<T: AsRef<[u8]>> Icmp<T> {
    /// The message as ICMPv6.
    pub(super) fn transport_v6(&self) -> Transport {
        let (icmp_type, code) = (self.icmp_type(), self.code());
        let kind = match icmp_type {
            ECHO_REQUEST | ECHO_REPLY if code == 0 => {
                let request = icmp_type == ECHO_REQUEST;
                return Transport::Echo { request, id: self.id(), seq: self.seq() };
            }
            UNREACHABLE => IcmpErrorKind::Unreachable { code },
            // RFC 4443, section 3.2: the code is "ignored by the receiver".
            PACKET_TOO_BIG => IcmpErrorKind::PacketTooBig { mtu: self.rest() },
            TIME_EXCEEDED => IcmpErrorKind::TimeExceeded { code },
            PARAMETER_PROBLEM => IcmpErrorKind::ParameterProblem { code, pointer: self.rest() },
            _ => {
                return match NdpType::from_number(icmp_type) {
                    Some(kind) => Transport::Ndp { kind },
                    None => Transport::OtherIcmp { icmp_type, code },
                };
            }
        };
        Transport::IcmpError { kind }
    }
}

/// Whether messages of this type are errors, which no error may answer: "error messages are
/// identified as such by a zero in the high-order bit of their message Type field values" (RFC
/// 4443, section 2.1), and the redirect, which section 2.4 (e.2) adds.
pub(super) const fn is_error(icmp_type: u8) -> bool {
    icmp_type < 128 || icmp_type == NdpType::Redirect.number()
}

/// The header of an ICMPv6 error, its checksum zero.
pub(super) fn error_header(kind: IcmpErrorKind) -> [u8; HEADER_LEN] {
    match kind {
        IcmpErrorKind::Unreachable { code } => header(UNREACHABLE, code, 0),
        IcmpErrorKind::PacketTooBig { mtu } => header(PACKET_TOO_BIG, 0, mtu),
        IcmpErrorKind::TimeExceeded { code } => header(TIME_EXCEEDED, code, 0),
        IcmpErrorKind::ParameterProblem { code, pointer } => {
            header(PARAMETER_PROBLEM, code, pointer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: [u8; 8]) -> Transport {
        Icmp::new_checked(bytes).unwrap().transport_v6()
    }

    #[test]
    fn echoes_carry_identifier_and_sequence_number() {
        let request = Transport::Echo { request: true, id: 0x1234, seq: 7 };
        assert_eq!(read([128, 0, 0, 0, 0x12, 0x34, 0, 7]), request);
        let reply = Transport::Echo { request: false, id: 0x1234, seq: 7 };
        assert_eq!(read([129, 0, 0, 0, 0x12, 0x34, 0, 7]), reply);
    }

    #[test]
    fn an_error_reads_as_it_was_written() {
        for kind in [
            IcmpErrorKind::Unreachable { code: 1 },
            IcmpErrorKind::PacketTooBig { mtu: 70_000 },
            IcmpErrorKind::TimeExceeded { code: 0 },
            IcmpErrorKind::ParameterProblem { code: 2, pointer: 40 },
        ] {
            let header = error_header(kind);
            assert_eq!(read(header), Transport::IcmpError { kind });
            assert!(is_error(header[0]));
        }
        let too_big = error_header(IcmpErrorKind::PacketTooBig { mtu: 1280 });
        assert_eq!(too_big, [2, 0, 0, 0, 0, 0, 0x05, 0x00]);
    }

    #[test]
    fn neighbour_discovery_is_told_by_type() {
        let kind = NdpType::NeighbourSolicitation;
        assert_eq!(read([135, 0, 0, 0, 0, 0, 0, 0]), Transport::Ndp { kind });
        let multicast_listener = Transport::OtherIcmp { icmp_type: 143, code: 0 };
        assert_eq!(read([143, 0, 0, 0, 0, 0, 0, 0]), multicast_listener);
    }

    #[test]
    fn unknown_types_below_128_are_errors_and_so_is_a_redirect() {
        assert!(is_error(100) && is_error(137));
        assert!(!is_error(128) && !is_error(135));
    }
}
