//! What can be wrong with the prefixes of an interface.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::vpc::id::{EniId, SubnetId};

/// What is wrong with a prefix, or with an address because of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPrefix {
    /// A prefix of another length than EC2's.
    #[error("{found} is not a /{length}: prefixes of interfaces are")]
    Length {
        /// The prefix.
        found: IpNet,
        /// The length of its family.
        length: u8,
    },
    /// A prefix outside its subnet.
    #[error("{prefix} is not inside {block}, the block of {subnet}")]
    OutsideSubnet {
        /// The prefix.
        prefix: IpNet,
        /// The subnet.
        subnet: SubnetId,
        /// The subnet's block of that family.
        block: IpNet,
    },
    /// A prefix with reserved addresses.
    #[error(
        "{prefix} has reserved addresses: the first four addresses of {subnet} and the last are \
         not for interfaces"
    )]
    Reserved {
        /// The prefix.
        prefix: IpNet,
        /// The subnet.
        subnet: SubnetId,
    },
    /// A prefix that an interface of the VPC has.
    #[error("{prefix} is a prefix of {eni} already")]
    InUse {
        /// The prefix.
        prefix: IpNet,
        /// Who has it.
        eni: EniId,
    },
    /// A prefix around the address of an interface, perhaps the same one.
    #[error("{prefix} is not free: {address} in it is the address of {eni}")]
    AroundAddress {
        /// The prefix.
        prefix: IpNet,
        /// An address in it.
        address: IpAddr,
        /// Who has the address.
        eni: EniId,
    },
    /// An address inside the prefix of an interface, perhaps the same one.
    #[error("{address} is in {prefix}, a prefix of {eni}")]
    AroundIt {
        /// The address.
        address: IpAddr,
        /// The prefix.
        prefix: IpNet,
        /// Who has the prefix.
        eni: EniId,
    },
}

impl InvalidPrefix {
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } | Self::OutsideSubnet { .. } | Self::Reserved { .. } => {
                "InvalidParameterValue"
            }
            Self::InUse { .. } | Self::AroundAddress { .. } | Self::AroundIt { .. } => {
                "InvalidIPAddress.InUse"
            }
        }
    }
}
