//! Elastic network interfaces of instances, and where each is attached.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::{Tags, is_false, is_true, text, yes};
use crate::packet::MacAddr;
use crate::vpc::id::{AttachmentId, EniId, InstanceId, SecurityGroupId, SubnetId};

/// An elastic network interface of an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkInterface {
    /// `eni-…`
    pub network_interface_id: EniId,
    /// The subnet it is in. It stays there for its life.
    pub subnet_id: SubnetId,
    /// `interface` (when left out), `efa` or `efa-only`.
    #[serde(default, skip_serializing_if = "NetworkInterfaceType::is_interface")]
    pub interface_type: NetworkInterfaceType,
    /// Its primary private IPv4 address. Only an `efa-only` interface has none.
    #[serde(default, deserialize_with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub private_ip_address: Option<Ipv4Addr>,
    /// Its other private IPv4 addresses.
    #[serde(default, deserialize_with = "text::list", skip_serializing_if = "Vec::is_empty")]
    pub secondary_private_ip_addresses: Vec<Ipv4Addr>,
    /// Networks of 16 addresses (/28) of its subnet that are its own, one slot each.
    #[serde(default, deserialize_with = "text::list", skip_serializing_if = "Vec::is_empty")]
    pub ipv4_prefixes: Vec<Ipv4Net>,
    /// Its IPv6 addresses, the primary one first.
    #[serde(default, deserialize_with = "text::list", skip_serializing_if = "Vec::is_empty")]
    pub ipv6_addresses: Vec<Ipv6Addr>,
    /// The same as `ipv4_prefixes` for IPv6, each a /80.
    #[serde(default, deserialize_with = "text::list", skip_serializing_if = "Vec::is_empty")]
    pub ipv6_prefixes: Vec<Ipv6Net>,
    /// A public IPv4 address that stands for the primary private one, given when the interface was
    /// made in a subnet with `map_public_ip_on_launch`. It cannot be moved, unlike an Elastic IP
    /// address, which takes its place while there is one.
    #[serde(default, deserialize_with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub public_ip: Option<Ipv4Addr>,
    /// The MAC address that packets from it must have. Left out: of an attached interface it is
    /// derived from the id, else it is learnt from the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<MacAddr>,
    /// What may pass it. Left out: the default group of its VPC.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<SecurityGroupId>,
    /// Whether packets that are neither from nor to its own addresses are dropped. Instances that
    /// route or translate for others need `false`.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub source_dest_check: bool,
    /// How long flows of it live that pass no function of the gateway.
    #[serde(default, skip_serializing_if = "ConnectionTracking::is_default")]
    pub connection_tracking: ConnectionTracking,
    /// The Linux interface that leads to its instance, for instances that are not declared. Left
    /// out: it is attached as `attachment` says, or its host is on the subnet's own segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Box<str>>,
    /// The instance it is attached to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<Attachment>,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
}

/// Whether an interface is an ordinary one, or one whose frames an application takes past its
/// kernel's stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkInterfaceType {
    /// An ordinary one.
    #[default]
    Interface,
    /// With OS-bypass, beside IP.
    Efa,
    /// With OS-bypass and without IP.
    EfaOnly,
}

impl NetworkInterfaceType {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_interface(&self) -> bool {
        *self == Self::Interface
    }

    /// Whether an application takes its frames: at most one a network card.
    #[must_use]
    pub const fn has_os_bypass(self) -> bool {
        matches!(self, Self::Efa | Self::EfaOnly)
    }
}

/// Where an interface is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// `eni-attach-…`. Left out: derived from the interface and the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment_id: Option<AttachmentId>,
    /// The instance.
    pub instance_id: InstanceId,
    /// Its place at the instance; 0 on network card 0 is the primary interface.
    pub device_index: u16,
    /// The network card.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub network_card_index: u16,
    /// Whether it goes when its instance does.
    #[serde(default, skip_serializing_if = "is_false")]
    pub delete_on_termination: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(value: &u16) -> bool {
    *value == 0
}

/// Idle times of flows that pass an interface and no function. EC2's names, ranges and defaults
/// (`ConnectionTrackingConfiguration`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionTracking {
    /// Seconds for TCP, 60 to 432,000.
    pub tcp_established_timeout: u32,
    /// Seconds for UDP that has been answered more than once, 60 to 180.
    pub udp_stream_timeout: u32,
    /// Seconds for UDP otherwise, 30 to 60.
    pub udp_timeout: u32,
}

impl Default for ConnectionTracking {
    fn default() -> Self {
        // EC2's instances have 432,000 s or, since Nitro v6, 350 s.
        Self { tcp_established_timeout: 350, udp_stream_timeout: 180, udp_timeout: 30 }
    }
}

impl ConnectionTracking {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
