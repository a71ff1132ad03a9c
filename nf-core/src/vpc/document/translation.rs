//! How a NAT gateway translates, as a document says it.

use serde::{Deserialize, Serialize};

/// What decides the external address and port of a flow (RFC 4787 section 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MappingBehavior {
    /// "Address and port-dependent mapping", as AWS's: every flow has a port of its own, and flows
    /// to different destinations may have the same. So each destination has the whole range.
    #[default]
    Symmetric,
    /// "Endpoint-independent mapping": all flows of one address and port inside leave from one
    /// address and port outside, which nobody else has. Peers can be told of it, as STUN does.
    EndpointIndependent,
}

/// Who may send to a mapping that is endpoint-independent (RFC 4787 section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilteringBehavior {
    /// Whoever has an address that the mapping has sent to: RFC 4787 REQ-8 recommends it "if a
    /// more stringent filtering behavior is most important".
    #[default]
    AddressDependent,
    /// Anyone: REQ-8 recommends it "if application transparency is most important".
    EndpointIndependent,
}

/// What the sender of a first packet gets when there is no port for its flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExhaustionReply {
    /// ICMP "communication administratively prohibited".
    #[default]
    Icmp,
    /// A RST if it is TCP, else the same.
    Reset,
}
