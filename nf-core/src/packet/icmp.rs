//! The ICMP header, which ICMPv6 shares, and the numbers of ICMP for IPv4 (RFC 792).

use super::field::{array, set_u16, u16_at, u32_at};
use super::headers::Transport;
use super::icmpv6;
use super::malformed::{Layer, Malformed, require};

pub(super) mod field {
    use super::super::field::Field;

    pub(in super::super) const TYPE: usize = 0;
    pub(in super::super) const CODE: usize = 1;
    pub(in super::super) const CHECKSUM: Field = 2..4;
    pub(in super::super) const ID: Field = 4..6;
    pub(in super::super) const SEQ: Field = 6..8;
    pub(in super::super) const REST: Field = 4..8;
}

/// Length of the header, in bytes.
pub const HEADER_LEN: usize = field::REST.end;

/// Type of an echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Type of an echo request.
pub const ECHO_REQUEST: u8 = 8;

const UNREACHABLE: u8 = 3;
const SOURCE_QUENCH: u8 = 4;
const REDIRECT: u8 = 5;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;

/// Code of [`UNREACHABLE`]: "fragmentation needed and DF set".
const FRAGMENTATION_NEEDED: u8 = 4;

/// What an ICMP or ICMPv6 error says. Codes are the wire's and differ between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IcmpErrorKind {
    /// Destination unreachable.
    Unreachable {
        /// Why.
        code: u8,
    },
    /// Larger than the next hop takes: ICMP's "fragmentation needed and DF set" (RFC 1191) and
    /// ICMPv6's own type.
    PacketTooBig {
        /// Largest packet the next hop takes, in bytes. ICMP has 16 bits for it, and zero when
        /// the router does not tell.
        mtu: u32,
    },
    /// Time to live, hop limit or reassembly time ran out.
    TimeExceeded {
        /// 0 in transit, 1 in reassembly.
        code: u8,
    },
    /// A header field that the receiver cannot make sense of.
    ParameterProblem {
        /// What about it.
        code: u8,
        /// Offset of the field in the quoted packet, in bytes. ICMP has 8 bits for it.
        pointer: u32,
    },
}

impl IcmpErrorKind {
    /// Whether RFC 4884, section 4, gives messages of this kind a length field, so that more than the
    /// quoted packet can follow.
    pub(crate) const fn may_have_extensions(self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimeExceeded { .. })
    }
}

/// The type that an echo of this one is called by in the other family: RFC 7915, sections 4.2 and
/// 5.2. Anything else is no echo, and stays.
pub(crate) const fn echo_type_of_other_family(icmp_type: u8) -> u8 {
    match icmp_type {
        ECHO_REQUEST => icmpv6::ECHO_REQUEST,
        ECHO_REPLY => icmpv6::ECHO_REPLY,
        icmpv6::ECHO_REQUEST => ECHO_REQUEST,
        icmpv6::ECHO_REPLY => ECHO_REPLY,
        other => other,
    }
}

/// A view of an ICMP or ICMPv6 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp<T>(T);

impl<T: AsRef<[u8]>> Icmp<T> {
    /// A view of an IP payload.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] below 8 bytes. RFC 4443 would allow four for types nobody has
    /// defined.
    pub fn new_checked(message: T) -> Result<Self, Malformed> {
        require(Layer::Icmp, HEADER_LEN, message.as_ref().len())?;
        Ok(Self(message))
    }

    /// Type of the message.
    #[must_use]
    pub fn icmp_type(&self) -> u8 {
        self.0.as_ref()[field::TYPE]
    }

    /// Code within the type.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.0.as_ref()[field::CODE]
    }

    /// The checksum field.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        u16_at(self.0.as_ref(), field::CHECKSUM)
    }

    /// Identifier of an echo.
    #[must_use]
    pub fn id(&self) -> u16 {
        u16_at(self.0.as_ref(), field::ID)
    }

    /// Sequence number of an echo.
    #[must_use]
    pub fn seq(&self) -> u16 {
        u16_at(self.0.as_ref(), field::SEQ)
    }

    /// The four bytes whose meaning the type decides, as one number.
    #[must_use]
    pub fn rest(&self) -> u32 {
        u32_at(self.0.as_ref(), field::REST)
    }

    /// What follows the header: an echo's data, or the packet that an error quotes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.0.as_ref()[HEADER_LEN..]
    }

    /// The message as ICMP for IPv4.
    pub(super) fn transport_v4(&self) -> Transport {
        let (icmp_type, code) = (self.icmp_type(), self.code());
        let kind = match icmp_type {
            ECHO_REPLY | ECHO_REQUEST if code == 0 => {
                let request = icmp_type == ECHO_REQUEST;
                return Transport::Echo { request, id: self.id(), seq: self.seq() };
            }
            UNREACHABLE if code == FRAGMENTATION_NEEDED => {
                // RFC 1191, section 4: the next hop's MTU is in the low 16 bits.
                IcmpErrorKind::PacketTooBig { mtu: u32::from(self.seq()) }
            }
            UNREACHABLE => IcmpErrorKind::Unreachable { code },
            TIME_EXCEEDED => IcmpErrorKind::TimeExceeded { code },
            PARAMETER_PROBLEM => {
                let [pointer, ..] = array::<4>(self.0.as_ref(), field::REST);
                IcmpErrorKind::ParameterProblem { code, pointer: u32::from(pointer) }
            }
            _ => return Transport::OtherIcmp { icmp_type, code },
        };
        Transport::IcmpError { kind }
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Icmp<T> {
    /// Sets the identifier of an echo; the checksum is left to the caller.
    pub fn set_id(&mut self, id: u16) {
        set_u16(self.0.as_mut(), field::ID, id);
    }

    /// Sets the checksum field.
    pub fn set_checksum(&mut self, value: u16) {
        set_u16(self.0.as_mut(), field::CHECKSUM, value);
    }
}

/// Whether messages of this type are errors, which no error may answer. Redirects and the source
/// quench of old are such, too (RFC 1122, section 3.2.2).
pub(super) const fn is_error(icmp_type: u8) -> bool {
    matches!(icmp_type, UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM)
}

/// The header of an ICMP error, its checksum zero.
pub(super) fn error_header(kind: IcmpErrorKind) -> [u8; HEADER_LEN] {
    let (icmp_type, code, rest) = match kind {
        IcmpErrorKind::Unreachable { code } => (UNREACHABLE, code, 0),
        IcmpErrorKind::PacketTooBig { mtu } => {
            (UNREACHABLE, FRAGMENTATION_NEEDED, mtu.min(u32::from(u16::MAX)))
        }
        IcmpErrorKind::TimeExceeded { code } => (TIME_EXCEEDED, code, 0),
        IcmpErrorKind::ParameterProblem { code, pointer } => {
            (PARAMETER_PROBLEM, code, pointer.min(u32::from(u8::MAX)) << 24)
        }
    };
    header(icmp_type, code, rest)
}

/// A header with its checksum zero.
pub(super) fn header(icmp_type: u8, code: u8, rest: u32) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[field::TYPE] = icmp_type;
    bytes[field::CODE] = code;
    bytes[field::REST].copy_from_slice(&rest.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: [u8; 8]) -> Transport {
        Icmp::new_checked(bytes).unwrap().transport_v4()
    }

    #[test]
    fn echoes_carry_identifier_and_sequence_number() {
        let request = Transport::Echo { request: true, id: 0x1234, seq: 7 };
        assert_eq!(read([8, 0, 0, 0, 0x12, 0x34, 0, 7]), request);
        let reply = Transport::Echo { request: false, id: 0x1234, seq: 7 };
        assert_eq!(read([0, 0, 0, 0, 0x12, 0x34, 0, 7]), reply);
        let odd = Transport::OtherIcmp { icmp_type: 8, code: 1 };
        assert_eq!(read([8, 1, 0, 0, 0x12, 0x34, 0, 7]), odd, "no echo has a code");
    }

    #[test]
    fn an_error_reads_as_it_was_written() {
        for kind in [
            IcmpErrorKind::Unreachable { code: 3 },
            IcmpErrorKind::PacketTooBig { mtu: 1400 },
            IcmpErrorKind::TimeExceeded { code: 1 },
            IcmpErrorKind::ParameterProblem { code: 0, pointer: 20 },
        ] {
            let header = error_header(kind);
            assert_eq!(read(header), Transport::IcmpError { kind });
            assert!(is_error(header[0]));
        }
        assert_eq!(
            error_header(IcmpErrorKind::PacketTooBig { mtu: 1400 }),
            [3, 4, 0, 0, 0, 0, 0x05, 0x78]
        );
        let huge = error_header(IcmpErrorKind::PacketTooBig { mtu: 70_000 });
        assert_eq!(huge, [3, 4, 0, 0, 0, 0, 0xff, 0xff]);
    }

    #[test]
    fn redirects_and_source_quenches_are_errors_that_are_not_translated() {
        for icmp_type in [SOURCE_QUENCH, REDIRECT] {
            assert!(is_error(icmp_type));
            let other = Transport::OtherIcmp { icmp_type, code: 1 };
            assert_eq!(read([icmp_type, 1, 0, 0, 0, 0, 0, 0]), other);
        }
        assert!(!is_error(13), "a time stamp request is a query");
    }

    #[test]
    fn identifier_and_checksum_are_written_where_the_rfc_has_them() {
        let mut bytes = [8, 0, 0, 0, 0, 0, 0, 7, 9];
        let mut icmp = Icmp::new_checked(&mut bytes).unwrap();
        icmp.set_id(0x1234);
        icmp.set_checksum(0x5678);
        assert_eq!((icmp.id(), icmp.checksum(), icmp.seq()), (0x1234, 0x5678, 7));
        assert_eq!((icmp.rest(), icmp.payload()), (0x1234_0007, &[9][..]));
        assert_eq!(bytes, [8, 0, 0x56, 0x78, 0x12, 0x34, 0, 7, 9]);
    }

    #[test]
    fn seven_bytes_are_no_message() {
        let error = Malformed::Truncated { layer: Layer::Icmp, need: 8, have: 7 };
        assert_eq!(Icmp::new_checked([0; 7]), Err(error));
    }
}
