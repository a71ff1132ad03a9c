//! The IPv6 header and a bounded walk over extension headers (RFC 8200).

use std::net::Ipv6Addr;

use super::field::{array, set_u16, u16_at, u32_at};
use super::headers::Fragment;
use super::malformed::{Layer, Malformed, require};

pub(super) mod field {
    use super::super::field::Field;

    pub(in super::super) const VERSION_CLASS_LABEL: Field = 0..4;
    pub(in super::super) const PAYLOAD_LENGTH: Field = 4..6;
    pub(in super::super) const NEXT_HEADER: usize = 6;
    pub(in super::super) const HOP_LIMIT: usize = 7;
    pub(in super::super) const SRC: Field = 8..24;
    pub(in super::super) const DST: Field = 24..40;
}

/// Fields of the extension headers, from the start of each.
pub(super) mod extension {
    use super::super::field::Field;

    pub(in super::super) const NEXT_HEADER: usize = 0;
    /// In units of eight bytes, the first eight not counted.
    pub(in super::super) const LENGTH: usize = 1;
    pub(in super::super) const SEGMENTS_LEFT: usize = 3;
    pub(in super::super) const FRAGMENT_OFFSET: Field = 2..4;
    pub(in super::super) const FRAGMENT_ID: Field = 4..8;
    /// What every extension header has at least, and a fragment header exactly.
    pub(in super::super) const UNIT: usize = 8;
    /// The flag in [`FRAGMENT_OFFSET`] of all fragments but the last.
    pub(in super::super) const MORE_FRAGMENTS: u16 = 1;
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
pub(super) const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// Length of the fixed header, in bytes.
pub const HEADER_LEN: usize = field::DST.end;

/// How many extension headers are walked over at most. RFC 8200, section 4.1, knows of five in a
/// packet without encryption; more than that is an attempt to hide the transport header.
pub const MAX_EXTENSION_HEADERS: usize = 8;

/// Where the walk over the extension headers ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpperLayer {
    /// What stands there: a transport protocol, or an extension header that is not walked over.
    pub protocol: u8,
    /// Where it stands, from the start of the IPv6 header, in bytes.
    pub offset: usize,
    /// Which fragment this is, if it is one.
    pub fragment: Fragment,
    /// Whether there was any extension header, walked over or not.
    pub has_extensions: bool,
}

/// The fields of a header, for who makes one. The flow label is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// DSCP and ECN.
    pub(crate) traffic_class: u8,
    /// Of what follows the header, in bytes.
    pub(crate) payload_len: u16,
    pub(crate) protocol: u8,
    pub(crate) hop_limit: u8,
    pub(crate) src: Ipv6Addr,
    pub(crate) dst: Ipv6Addr,
}

impl Header {
    /// The header as it stands in a packet.
    pub(crate) fn bytes(&self) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        let version_and_class = 6 << 28 | u32::from(self.traffic_class) << 20;
        header[field::VERSION_CLASS_LABEL].copy_from_slice(&version_and_class.to_be_bytes());
        set_u16(&mut header, field::PAYLOAD_LENGTH, self.payload_len);
        header[field::NEXT_HEADER] = self.protocol;
        header[field::HOP_LIMIT] = self.hop_limit;
        header[field::SRC].copy_from_slice(&self.src.octets());
        header[field::DST].copy_from_slice(&self.dst.octets());
        header
    }
}

/// A view of an IPv6 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6<T>(T);

impl<T: AsRef<[u8]>> Ipv6<T> {
    /// A view of an Ethernet payload, which may be longer than the packet.
    ///
    /// # Errors
    /// [`Malformed`] when the fixed header is not whole, is not version 6, or announces more
    /// payload than there is.
    pub fn new_checked(packet: T) -> Result<Self, Malformed> {
        let packet = Self::new_quoted(packet)?;
        let (length, have) = (packet.total_len(), packet.0.as_ref().len());
        if length > have {
            return Err(Malformed::LengthBeyondData { layer: Layer::Ipv6, length, have });
        }
        Ok(packet)
    }

    /// A view of a packet that an ICMPv6 error quotes: cut short anywhere behind its fixed header.
    ///
    /// # Errors
    /// [`Malformed`] when the fixed header is not whole or is not version 6.
    pub fn new_quoted(packet: T) -> Result<Self, Malformed> {
        let bytes = packet.as_ref();
        require(Layer::Ipv6, HEADER_LEN, bytes.len())?;
        let version = bytes[0] >> 4;
        if version != 6 {
            return Err(Malformed::Version { layer: Layer::Ipv6, version });
        }
        Ok(Self(packet))
    }

    /// DSCP and ECN.
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        (u32_at(self.0.as_ref(), field::VERSION_CLASS_LABEL) >> 20) as u8
    }

    /// Flow label: 20 bits.
    #[must_use]
    pub fn flow_label(&self) -> u32 {
        u32_at(self.0.as_ref(), field::VERSION_CLASS_LABEL) & 0x000f_ffff
    }

    /// Length of the packet with its fixed header, in bytes.
    #[must_use]
    pub fn total_len(&self) -> usize {
        HEADER_LEN + usize::from(u16_at(self.0.as_ref(), field::PAYLOAD_LENGTH))
    }

    /// What follows the fixed header: a protocol or an extension header (IANA's number).
    #[must_use]
    pub fn next_header(&self) -> u8 {
        self.0.as_ref()[field::NEXT_HEADER]
    }

    /// Hop limit.
    #[must_use]
    pub fn hop_limit(&self) -> u8 {
        self.0.as_ref()[field::HOP_LIMIT]
    }

    /// Source address.
    #[must_use]
    pub fn src(&self) -> Ipv6Addr {
        array(self.0.as_ref(), field::SRC).into()
    }

    /// Destination address.
    #[must_use]
    pub fn dst(&self) -> Ipv6Addr {
        array(self.0.as_ref(), field::DST).into()
    }

    /// What follows the fixed header, without padding.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        let bytes = self.0.as_ref();
        &bytes[HEADER_LEN..self.total_len().min(bytes.len())]
    }

    /// Walks over hop-by-hop options, routing headers, destination options and one fragment
    /// header.
    ///
    /// The walk ends at anything else, at a fragment that is not the first one, and after
    /// [`MAX_EXTENSION_HEADERS`]. It does not go over what changes the packet's meaning: a routing
    /// header with segments left (the destination in the fixed header is not the conversation's)
    /// or hop-by-hop options that are not in first place.
    ///
    /// # Errors
    /// [`Malformed`] when an extension header reaches beyond the packet.
    pub fn upper_layer(&self) -> Result<UpperLayer, Malformed> {
        let payload = self.payload();
        let mut protocol = self.next_header();
        let mut at = 0;
        let mut fragment = None;
        for walked in 0..MAX_EXTENSION_HEADERS {
            let misplaced = protocol == HOP_BY_HOP && walked > 0;
            let repeated = protocol == FRAGMENT && fragment.is_some();
            if !is_extension(protocol) || misplaced || repeated {
                break;
            }
            let header = &payload[at..];
            require(Layer::Ipv6Extension, extension::UNIT, header.len())?;
            let mut length = extension::UNIT;
            if protocol == FRAGMENT {
                fragment = Some(fragment_of(header));
            } else {
                length += usize::from(header[extension::LENGTH]) * extension::UNIT;
            }
            if protocol == ROUTING && header[extension::SEGMENTS_LEFT] > 0 {
                break;
            }
            if length > header.len() {
                let have = header.len();
                return Err(Malformed::LengthBeyondData {
                    layer: Layer::Ipv6Extension,
                    length,
                    have,
                });
            }
            protocol = header[extension::NEXT_HEADER];
            at += length;
            if matches!(fragment, Some(Fragment::Later { .. })) {
                break;
            }
        }
        Ok(UpperLayer {
            protocol,
            offset: HEADER_LEN + at,
            fragment: fragment.unwrap_or(Fragment::None),
            has_extensions: at > 0 || is_extension(protocol),
        })
    }
}

/// Whether this is one of the extension headers that the walk knows of.
const fn is_extension(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS)
}

/// Reads a fragment header. One with offset zero and no more fragments to come is on a whole
/// packet; RFC 6946: "A host that receives an IPv6 packet that includes a Fragment Header with the
/// "Fragment Offset" equal to 0 and the "M" flag equal to 0 MUST process that packet in isolation
/// from any other packets/fragments".
fn fragment_of(header: &[u8]) -> Fragment {
    let word = u16_at(header, extension::FRAGMENT_OFFSET);
    let id = u32_at(header, extension::FRAGMENT_ID);
    match word & !0b111 {
        0 if word & extension::MORE_FRAGMENTS == 0 => Fragment::None,
        0 => Fragment::First { id },
        // The field counts units of eight from bit three up, so it is the offset in bytes.
        offset => Fragment::Later { id, offset },
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ipv6<T> {
    /// Sets DSCP and ECN.
    pub fn set_traffic_class(&mut self, value: u8) {
        let bytes = self.0.as_mut();
        bytes[0] = 0x60 | value >> 4;
        bytes[1] = value << 4 | bytes[1] & 0x0f;
    }

    /// Sets the hop limit.
    pub fn set_hop_limit(&mut self, value: u8) {
        self.0.as_mut()[field::HOP_LIMIT] = value;
    }

    /// Sets the source address; the transport checksum is left to the caller.
    pub fn set_src(&mut self, address: Ipv6Addr) {
        self.0.as_mut()[field::SRC].copy_from_slice(&address.octets());
    }

    /// Sets the destination address; the transport checksum is left to the caller.
    pub fn set_dst(&mut self, address: Ipv6Addr) {
        self.0.as_mut()[field::DST].copy_from_slice(&address.octets());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SRC: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    const DST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

    fn packet(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x6a, 0xb1, 0x23, 0x45, 0, payload.len() as u8, next_header, 64];
        bytes.extend(SRC.octets());
        bytes.extend(DST.octets());
        bytes.extend(payload);
        bytes
    }

    fn upper(next_header: u8, payload: &[u8]) -> Result<UpperLayer, Malformed> {
        Ipv6::new_checked(packet(next_header, payload)).unwrap().upper_layer()
    }

    fn at(protocol: u8, offset: usize) -> UpperLayer {
        let has_extensions = offset > 40 || protocol == ROUTING;
        UpperLayer { protocol, offset, fragment: Fragment::None, has_extensions }
    }

    #[test]
    fn fields_are_read_and_written_where_the_rfc_has_them() {
        let mut bytes = packet(17, &[1, 2, 3]);
        bytes.push(0);
        let mut ip = Ipv6::new_checked(&mut bytes[..]).unwrap();
        assert_eq!((ip.traffic_class(), ip.flow_label()), (0xab, 0x12345));
        assert_eq!((ip.total_len(), ip.next_header(), ip.hop_limit()), (43, 17, 64));
        assert_eq!((ip.src(), ip.dst()), (SRC, DST));
        assert_eq!(ip.payload(), [1, 2, 3], "padding is not payload");
        ip.set_traffic_class(0x5c);
        ip.set_hop_limit(63);
        ip.set_src(DST);
        ip.set_dst(SRC);
        assert_eq!(bytes[..8], [0x65, 0xc1, 0x23, 0x45, 0, 3, 17, 63]);
        assert_eq!((&bytes[8..24], &bytes[24..40]), (&DST.octets()[..], &SRC.octets()[..]));
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        let layer = Layer::Ipv6;
        let whole = packet(17, &[0; 8]);
        let error = Malformed::LengthBeyondData { layer, length: 48, have: 47 };
        assert_eq!(Ipv6::new_checked(&whole[..47]), Err(error));
        let error = Malformed::Truncated { layer, need: 40, have: 39 };
        assert_eq!(Ipv6::new_checked(&whole[..39]), Err(error));
        let mut four = whole.clone();
        four[0] = 0x45;
        assert_eq!(Ipv6::new_checked(&four), Err(Malformed::Version { layer, version: 4 }));
        assert_eq!(Ipv6::new_quoted(&whole[..44]).map(|ip| ip.payload().len()), Ok(4));
    }

    #[test]
    fn the_walk_goes_over_options_and_finished_routing() {
        assert_eq!(upper(6, &[0; 20]), Ok(at(6, 40)));
        let hop_by_hop = [60, 0, 0, 0, 0, 0, 0, 0];
        let destination = [43, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let routing = [17, 0, 4, 0, 0, 0, 0, 0];
        let chain = [&hop_by_hop[..], &destination, &routing, &[0; 8]].concat();
        assert_eq!(upper(0, &chain), Ok(at(17, 40 + 8 + 16 + 8)));
    }

    #[test]
    fn the_walk_stops_where_the_packet_would_mean_something_else() {
        let segments_left = [17, 0, 4, 1, 0, 0, 0, 0];
        assert_eq!(upper(43, &segments_left), Ok(at(43, 40)));
        let options = [0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(upper(60, &[options, options].concat()), Ok(at(0, 48)));
        assert_eq!(upper(50, &[0; 8]), Ok(at(50, 40)), "ESP is nothing to walk over");
    }

    #[test]
    fn the_walk_is_bounded() {
        let options = [60, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(upper(60, &options.repeat(20)), Ok(at(60, 40 + 8 * 8)));
    }

    #[test]
    fn an_extension_header_beyond_the_packet_is_refused() {
        let layer = Layer::Ipv6Extension;
        let error = Malformed::LengthBeyondData { layer, length: 16, have: 15 };
        assert_eq!(upper(60, &[17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Err(error));
        let error = Malformed::Truncated { layer, need: 8, have: 7 };
        assert_eq!(upper(44, &[0; 7]), Err(error));
    }

    #[test]
    fn fragments_are_told_by_their_header() {
        let fragment = |high: u8, low: u8| {
            let header = [60, 0, high, low, 0, 0, 0, 7];
            let options = [17, 0, 0, 0, 0, 0, 0, 0];
            upper(44, &[header, options, [0; 8]].concat()).unwrap()
        };
        let id = 7;
        let upper = |protocol, offset, fragment| UpperLayer {
            protocol,
            offset,
            fragment,
            has_extensions: true,
        };
        assert_eq!(fragment(0, 0), upper(17, 56, Fragment::None), "an atomic fragment");
        assert_eq!(fragment(0, 1), upper(17, 56, Fragment::First { id }));
        let later = Fragment::Later { id, offset: 1448 };
        assert_eq!(fragment(0x05, 0xa9), upper(60, 48, later), "options here are mere payload");
    }

    #[test]
    fn a_second_fragment_header_ends_the_walk() {
        let header = [44, 0, 0, 1, 0, 0, 0, 7];
        let found = upper(44, &[header, header].concat()).unwrap();
        assert_eq!((found.protocol, found.offset), (44, 48));
    }
}
