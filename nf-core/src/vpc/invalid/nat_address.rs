//! What can be wrong with the secondary addresses of a NAT gateway.

use std::net::IpAddr;

/// What is wrong with a secondary address of a NAT gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNatAddress {
    /// One of a public gateway without an Elastic IP address.
    #[error(
        "an address of a public NAT gateway needs an Elastic IP address to stand for it: name an \
         allocation_id"
    )]
    WithoutAllocation,
    /// One of a private gateway with an Elastic IP address.
    #[error("an address of a private NAT gateway has no Elastic IP address: leave it out")]
    WithAllocation,
    /// A private address of one family for a public one of the other.
    #[error("{private_ip} cannot stand for {public_ip}: write an address of the same family")]
    OtherFamily {
        /// The private address.
        private_ip: IpAddr,
        /// The Elastic IP address.
        public_ip: IpAddr,
    },
}

impl InvalidNatAddress {
    /// The error code that EC2 has for it.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::WithoutAllocation => "MissingParameter",
            Self::WithAllocation => "InvalidParameterCombination",
            Self::OtherFamily { .. } => "InvalidParameterValue",
        }
    }
}
