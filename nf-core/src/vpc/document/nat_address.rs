//! The addresses that a NAT gateway has beside its primary one, and until when.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::text;
use crate::vpc::id::AllocationId;

/// A moment of the wall clock: whole seconds since 1970-01-01 00:00 UTC, leap seconds not counted.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

/// A secondary address of a NAT gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecondaryAddress {
    /// The Elastic IP address of a public gateway, which needs one. A private gateway has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation_id: Option<AllocationId>,
    /// The private address, of the same family. Left out: as
    /// [`NatGateway::private_ip_address`](super::NatGateway::private_ip_address).
    #[serde(default, deserialize_with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub private_ip_address: Option<IpAddr>,
    /// That it is draining, and until when: no new flow leaves from it, and those that there are
    /// go on. Once the moment is past, the gateway takes it out of the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_until: Option<UnixTime>,
}
