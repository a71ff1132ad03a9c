//! Neighbour discovery: solicitations and advertisements (RFC 4861).

use std::net::{IpAddr, Ipv6Addr};

use super::field::array;
use super::headers::{IpHeaders, Transport};
use super::icmp::{self, Icmp};
use super::mac::MacAddr;
use super::malformed::{Layer, Malformed, require};

pub(super) mod field {
    use super::super::field::Field;

    pub(in super::super) const FLAGS: usize = 4;
    pub(in super::super) const TARGET: Field = 8..24;
}

/// Fields of an option, from its start.
mod option {
    use super::super::field::Field;

    pub(super) const KIND: usize = 0;
    /// In units of eight bytes.
    pub(super) const LENGTH: usize = 1;
    pub(super) const LINK_LAYER_ADDRESS: Field = 2..8;
    /// Length of an option with an Ethernet address, and the unit of all lengths.
    pub(super) const UNIT: usize = 8;
}

/// Length of a solicitation or advertisement without options, ICMPv6 header included, in bytes.
pub const MESSAGE_LEN: usize = field::TARGET.end;

/// The hop limit of every neighbour discovery message: one that a router has lowered came from
/// another link.
pub const HOP_LIMIT: u8 = 255;

pub(super) const FLAG_ROUTER: u8 = 0x80;
pub(super) const FLAG_SOLICITED: u8 = 0x40;
pub(super) const FLAG_OVERRIDE: u8 = 0x20;

pub(super) const OPTION_SOURCE: u8 = 1;
pub(super) const OPTION_TARGET: u8 = 2;

/// The messages of neighbour discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NdpType {
    /// A host asks for routers.
    RouterSolicitation,
    /// A router tells of itself.
    RouterAdvertisement,
    /// Who has this address?
    NeighbourSolicitation,
    /// I have this address.
    NeighbourAdvertisement,
    /// There is a better way to this destination.
    Redirect,
}

impl NdpType {
    /// The ICMPv6 type.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::RouterSolicitation => 133,
            Self::RouterAdvertisement => 134,
            Self::NeighbourSolicitation => 135,
            Self::NeighbourAdvertisement => 136,
            Self::Redirect => 137,
        }
    }

    /// The message with this ICMPv6 type.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            133 => Some(Self::RouterSolicitation),
            134 => Some(Self::RouterAdvertisement),
            135 => Some(Self::NeighbourSolicitation),
            136 => Some(Self::NeighbourAdvertisement),
            137 => Some(Self::Redirect),
            _ => None,
        }
    }
}

/// A solicitation or advertisement that passed the checks of RFC 4861.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighbourMessage {
    /// Who has `target`?
    Solicitation {
        /// The address asked for.
        target: Ipv6Addr,
        /// Ethernet address of the one who asks.
        source_mac: Option<MacAddr>,
    },
    /// I have `target`.
    Advertisement {
        /// The address told of.
        target: Ipv6Addr,
        /// Its Ethernet address.
        target_mac: Option<MacAddr>,
        /// The sender forwards packets.
        router: bool,
        /// This answers a solicitation.
        solicited: bool,
        /// What is known of `target` may be overwritten.
        overrides: bool,
    },
}

impl NeighbourMessage {
    /// Reads the neighbour discovery message of `frame`, whose summary is `ip`; `None` if it is
    /// neither solicitation nor advertisement.
    ///
    /// All checks of RFC 4861, sections 7.1.1 and 7.1.2, are made except for the checksum: that is
    /// [`super::checksum::verify`]'s. Unknown options are passed over, as section 4.6 asks.
    ///
    /// # Errors
    /// [`Malformed`] with the check that failed. RFC 4861: such a message must be "silently
    /// discarded".
    pub fn parse(ip: &IpHeaders, frame: &[u8]) -> Result<Option<Self>, Malformed> {
        let solicitation = match ip.transport {
            Transport::Ndp { kind: NdpType::NeighbourSolicitation } => true,
            Transport::Ndp { kind: NdpType::NeighbourAdvertisement } => false,
            _ => return Ok(None),
        };
        if ip.ttl != HOP_LIMIT {
            return Err(Malformed::NdpHopLimit(ip.ttl));
        }
        let bytes = ip.transport_bytes(frame);
        let code = Icmp::new_checked(bytes)?.code();
        if code != 0 {
            return Err(Malformed::NdpCode(code));
        }
        require(Layer::Ndp, MESSAGE_LEN, bytes.len())?;
        let target = Ipv6Addr::from(array::<16>(bytes, field::TARGET));
        if target.is_multicast() {
            return Err(Malformed::NdpTarget(target));
        }
        let options = &bytes[MESSAGE_LEN..];
        if solicitation {
            let source_mac = link_layer_address(options, OPTION_SOURCE)?;
            let probe_is_wrong =
                source_mac.is_some() || ip.dst != IpAddr::V6(solicited_node(target));
            if ip.src.is_unspecified() && probe_is_wrong {
                return Err(Malformed::NdpProbe);
            }
            return Ok(Some(Self::Solicitation { target, source_mac }));
        }
        let target_mac = link_layer_address(options, OPTION_TARGET)?;
        let flags = bytes[field::FLAGS];
        let solicited = flags & FLAG_SOLICITED != 0;
        if solicited && ip.dst.is_multicast() {
            return Err(Malformed::NdpSolicited);
        }
        Ok(Some(Self::Advertisement {
            target,
            target_mac,
            router: flags & FLAG_ROUTER != 0,
            solicited,
            overrides: flags & FLAG_OVERRIDE != 0,
        }))
    }
}

/// Goes through all options, as each must have a length, and finds the address in the first one of
/// `kind`.
fn link_layer_address(mut options: &[u8], kind: u8) -> Result<Option<MacAddr>, Malformed> {
    let mut found = None;
    while !options.is_empty() {
        require(Layer::Ndp, option::UNIT, options.len())?;
        let length = usize::from(options[option::LENGTH]) * option::UNIT;
        if length == 0 {
            return Err(Malformed::NdpOptionLength);
        }
        let Some((this, rest)) = options.split_at_checked(length) else {
            let have = options.len();
            return Err(Malformed::LengthBeyondData { layer: Layer::Ndp, length, have });
        };
        // A longer option of this kind holds an address of another sort of link.
        if this[option::KIND] == kind && length == option::UNIT && found.is_none() {
            found = Some(MacAddr(array(this, option::LINK_LAYER_ADDRESS)));
        }
        options = rest;
    }
    Ok(found)
}

/// The multicast address that a solicitation of `target` goes to.
///
/// RFC 4291, section 2.7.1: "taking the low-order 24 bits of an address (unicast or anycast) and
/// appending those bits to the prefix `FF02:0:0:0:0:1:FF00::/104`".
#[must_use]
pub const fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | a as u16, (b as u16) << 8 | c as u16)
}

/// A message with one option that tells `mac`, its checksum zero.
pub(super) fn message(
    kind: NdpType,
    flags: u8,
    target: Ipv6Addr,
    link_layer_address: Option<(u8, MacAddr)>,
) -> Vec<u8> {
    let mut bytes = icmp::header(kind.number(), 0, u32::from(flags) << 24).to_vec();
    bytes.extend(target.octets());
    if let Some((kind, mac)) = link_layer_address {
        bytes.extend([kind, 1]);
        bytes.extend(mac.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Headers;
    use crate::packet::build::{neighbour_advertisement, neighbour_solicitation};

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const HOST: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    const TARGET: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

    /// Where things stand in a frame.
    const HOP_LIMIT_AT: usize = 14 + 7;
    const MESSAGE_AT: usize = 14 + 40;
    const OPTION_AT: usize = MESSAGE_AT + MESSAGE_LEN;

    fn parse(frame: &[u8]) -> Result<Option<NeighbourMessage>, Malformed> {
        NeighbourMessage::parse(Headers::parse(frame).unwrap().ip().unwrap(), frame)
    }

    fn changed(
        mut frame: Vec<u8>,
        at: usize,
        value: u8,
    ) -> Result<Option<NeighbourMessage>, Malformed> {
        frame[at] = value;
        parse(&frame)
    }

    /// A solicitation with other options.
    fn with_options(options: &[u8]) -> Result<Option<NeighbourMessage>, Malformed> {
        let mut frame = neighbour_solicitation(MAC, HOST, TARGET);
        frame.truncate(OPTION_AT);
        frame.extend(options);
        frame[19] = (MESSAGE_LEN + options.len()) as u8;
        parse(&frame)
    }

    #[test]
    fn a_solicitation_reads_as_it_was_written() {
        let expected = NeighbourMessage::Solicitation { target: TARGET, source_mac: Some(MAC) };
        assert_eq!(parse(&neighbour_solicitation(MAC, HOST, TARGET)), Ok(Some(expected)));
        let expected = NeighbourMessage::Solicitation { target: TARGET, source_mac: None };
        let probe = neighbour_solicitation(MAC, Ipv6Addr::UNSPECIFIED, TARGET);
        assert_eq!(parse(&probe), Ok(Some(expected)));
    }

    #[test]
    fn an_advertisement_reads_as_it_was_written() {
        let expected = |router, solicited| NeighbourMessage::Advertisement {
            target: TARGET,
            target_mac: Some(MAC),
            router,
            solicited,
            overrides: true,
        };
        let answer = neighbour_advertisement(MAC, TARGET, true, Some((MAC, HOST)));
        assert_eq!(parse(&answer), Ok(Some(expected(true, true))));
        let announcement = neighbour_advertisement(MAC, TARGET, false, None);
        assert_eq!(parse(&announcement), Ok(Some(expected(false, false))));
    }

    #[test]
    fn router_messages_are_neither() {
        assert_eq!(changed(neighbour_solicitation(MAC, HOST, TARGET), MESSAGE_AT, 134), Ok(None));
        assert_eq!(changed(neighbour_solicitation(MAC, HOST, TARGET), MESSAGE_AT, 128), Ok(None));
    }

    #[test]
    fn every_check_of_rfc_4861_is_made() {
        let solicitation = || neighbour_solicitation(MAC, HOST, TARGET);
        let advertisement = || neighbour_advertisement(MAC, TARGET, false, None);
        for message in [solicitation, advertisement] {
            let error = Malformed::NdpHopLimit(254);
            assert_eq!(changed(message(), HOP_LIMIT_AT, 254), Err(error));
            assert_eq!(changed(message(), MESSAGE_AT + 1, 1), Err(Malformed::NdpCode(1)));
            let mut group = TARGET.octets();
            group[0] = 0xff;
            let error = Malformed::NdpTarget(group.into());
            assert_eq!(changed(message(), MESSAGE_AT + 8, 0xff), Err(error));
            assert_eq!(changed(message(), OPTION_AT + 1, 0), Err(Malformed::NdpOptionLength));
            let error = Malformed::LengthBeyondData { layer: Layer::Ndp, length: 16, have: 8 };
            assert_eq!(changed(message(), OPTION_AT + 1, 2), Err(error));
        }
        assert_eq!(changed(advertisement(), MESSAGE_AT + 4, 0x40), Err(Malformed::NdpSolicited));
        let mut short = solicitation();
        short[19] = 23;
        let error = Malformed::Truncated { layer: Layer::Ndp, need: 24, have: 23 };
        assert_eq!(parse(&short), Err(error));
    }

    #[test]
    fn a_probe_for_duplicates_goes_to_the_group_and_tells_nothing() {
        let mut with_option = neighbour_solicitation(MAC, HOST, TARGET);
        with_option[22..38].fill(0);
        assert_eq!(parse(&with_option), Err(Malformed::NdpProbe));
        let mut to_target = neighbour_solicitation(MAC, Ipv6Addr::UNSPECIFIED, TARGET);
        to_target[38..54].copy_from_slice(&TARGET.octets());
        assert_eq!(parse(&to_target), Err(Malformed::NdpProbe));
    }

    #[test]
    fn other_options_are_passed_over() {
        let found =
            |mac| Ok(Some(NeighbourMessage::Solicitation { target: TARGET, source_mac: mac }));
        let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
        let other_link = [1, 2, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9];
        let address = [1, 1, 2, 0, 0, 0, 0, 7];
        let another = [1, 1, 2, 0, 0, 0, 0, 8];
        let options = [&nonce[..], &other_link, &address, &another].concat();
        assert_eq!(with_options(&options), found(Some(MacAddr([2, 0, 0, 0, 0, 7]))));
        assert_eq!(with_options(&nonce), found(None));
        assert_eq!(with_options(&[]), found(None));
        let error = Malformed::Truncated { layer: Layer::Ndp, need: 8, have: 4 };
        assert_eq!(with_options(&[&nonce[..], &[1, 1, 2, 0]].concat()), Err(error));
    }

    #[test]
    fn the_solicited_node_group_is_the_example_of_rfc_4291() {
        let target: Ipv6Addr = "4037::1:800:200e:8c6c".parse().unwrap();
        assert_eq!(solicited_node(target).to_string(), "ff02::1:ff0e:8c6c");
    }
}
