//! ARP for IPv4 on Ethernet (RFC 826).

use std::net::Ipv4Addr;

use super::field::{array, set_u16, u16_at};
use super::mac::MacAddr;
use super::malformed::{Layer, Malformed, require};

mod field {
    use super::super::field::Field;

    pub(super) const HARDWARE: Field = 0..2;
    pub(super) const PROTOCOL: Field = 2..4;
    pub(super) const HARDWARE_LEN: usize = 4;
    pub(super) const PROTOCOL_LEN: usize = 5;
    pub(super) const OPERATION: Field = 6..8;
    pub(super) const SENDER_MAC: Field = 8..14;
    pub(super) const SENDER_IP: Field = 14..18;
    pub(super) const TARGET_MAC: Field = 18..24;
    pub(super) const TARGET_IP: Field = 24..28;
}

/// Length of an ARP packet for IPv4 on Ethernet, in bytes.
pub const PACKET_LEN: usize = field::TARGET_IP.end;

const HARDWARE_ETHERNET: u16 = 1;
const HARDWARE_ADDRESS_LEN: u8 = 6;
const PROTOCOL_IPV4: u16 = 0x0800;
const PROTOCOL_ADDRESS_LEN: u8 = 4;

/// What an ARP packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has the sender address.
    Reply,
    /// Anything else, by its number.
    Other(u16),
}

impl Operation {
    /// The number in the packet.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Request => 1,
            Self::Reply => 2,
            Self::Other(number) => number,
        }
    }

    /// The operation with this number.
    #[must_use]
    pub const fn from_number(number: u16) -> Self {
        match number {
            1 => Self::Request,
            2 => Self::Reply,
            other => Self::Other(other),
        }
    }
}

/// A view of an ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp<T>(T);

impl<T: AsRef<[u8]>> Arp<T> {
    /// A view of an Ethernet payload.
    ///
    /// # Errors
    /// [`Malformed`] when it is shorter than 28 bytes or not about IPv4 on Ethernet.
    pub fn new_checked(packet: T) -> Result<Self, Malformed> {
        let bytes = packet.as_ref();
        require(Layer::Arp, PACKET_LEN, bytes.len())?;
        let hardware = u16_at(bytes, field::HARDWARE);
        let protocol = u16_at(bytes, field::PROTOCOL);
        if (hardware, protocol) != (HARDWARE_ETHERNET, PROTOCOL_IPV4) {
            return Err(Malformed::ArpKind { hardware, protocol });
        }
        let (hardware, protocol) = (bytes[field::HARDWARE_LEN], bytes[field::PROTOCOL_LEN]);
        if (hardware, protocol) != (HARDWARE_ADDRESS_LEN, PROTOCOL_ADDRESS_LEN) {
            return Err(Malformed::ArpLengths { hardware, protocol });
        }
        Ok(Self(packet))
    }

    /// What the packet is for.
    #[must_use]
    pub fn operation(&self) -> Operation {
        Operation::from_number(u16_at(self.0.as_ref(), field::OPERATION))
    }

    /// Ethernet address of the sender.
    #[must_use]
    pub fn sender_mac(&self) -> MacAddr {
        MacAddr(array(self.0.as_ref(), field::SENDER_MAC))
    }

    /// IPv4 address of the sender; unspecified in a probe (RFC 5227).
    #[must_use]
    pub fn sender_ip(&self) -> Ipv4Addr {
        array(self.0.as_ref(), field::SENDER_IP).into()
    }

    /// Ethernet address of the target; without meaning in a request.
    #[must_use]
    pub fn target_mac(&self) -> MacAddr {
        MacAddr(array(self.0.as_ref(), field::TARGET_MAC))
    }

    /// IPv4 address of the target.
    #[must_use]
    pub fn target_ip(&self) -> Ipv4Addr {
        array(self.0.as_ref(), field::TARGET_IP).into()
    }
}

/// A packet as it is written.
pub(super) fn packet(
    operation: Operation,
    (sender_mac, sender_ip): (MacAddr, Ipv4Addr),
    (target_mac, target_ip): (MacAddr, Ipv4Addr),
) -> [u8; PACKET_LEN] {
    let mut bytes = [0; PACKET_LEN];
    set_u16(&mut bytes, field::HARDWARE, HARDWARE_ETHERNET);
    set_u16(&mut bytes, field::PROTOCOL, PROTOCOL_IPV4);
    bytes[field::HARDWARE_LEN] = HARDWARE_ADDRESS_LEN;
    bytes[field::PROTOCOL_LEN] = PROTOCOL_ADDRESS_LEN;
    set_u16(&mut bytes, field::OPERATION, operation.number());
    bytes[field::SENDER_MAC].copy_from_slice(sender_mac.as_bytes());
    bytes[field::SENDER_IP].copy_from_slice(&sender_ip.octets());
    bytes[field::TARGET_MAC].copy_from_slice(target_mac.as_bytes());
    bytes[field::TARGET_IP].copy_from_slice(&target_ip.octets());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: [u8; 28] = [
        0, 1, 8, 0, 6, 4, 0, 1, // IPv4 on Ethernet, request
        2, 0, 0, 0, 0, 1, 10, 0, 0, 1, // sender
        0, 0, 0, 0, 0, 0, 10, 0, 0, 2, // target
    ];

    #[test]
    fn a_request_reads_as_it_was_written() {
        let arp = Arp::new_checked(&REQUEST).unwrap();
        assert_eq!(arp.operation(), Operation::Request);
        assert_eq!(arp.sender_mac(), MacAddr([2, 0, 0, 0, 0, 1]));
        assert_eq!(arp.sender_ip(), Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(arp.target_mac(), MacAddr::default());
        assert_eq!(arp.target_ip(), Ipv4Addr::new(10, 0, 0, 2));
    }

    #[test]
    fn arp_for_other_links_and_protocols_is_refused() {
        let with = |at: usize, value: u8| {
            let mut bytes = REQUEST;
            bytes[at] = value;
            Arp::new_checked(bytes).map(drop)
        };
        assert_eq!(with(1, 6), Err(Malformed::ArpKind { hardware: 6, protocol: 0x0800 }));
        assert_eq!(with(2, 0x86), Err(Malformed::ArpKind { hardware: 1, protocol: 0x8600 }));
        assert_eq!(with(4, 8), Err(Malformed::ArpLengths { hardware: 8, protocol: 4 }));
        assert_eq!(with(5, 16), Err(Malformed::ArpLengths { hardware: 6, protocol: 16 }));
        assert_eq!(with(7, 9), Ok(()), "an unknown operation is no contradiction");
    }
}
