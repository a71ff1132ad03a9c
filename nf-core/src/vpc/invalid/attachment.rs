//! What can be wrong with the ports of an instance and with what is attached to it.

use crate::vpc::id::{EniId, InstanceId};
use crate::vpc::path::Path;

/// What is wrong with an instance's port, network card or attachment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAttachment {
    /// Two ports of an instance serve one place.
    #[error(
        "device index {device_index} of network card {network_card_index} has a port already, \
         {other}: choose another"
    )]
    PortPlaceTaken {
        /// The device index.
        device_index: u16,
        /// The network card.
        network_card_index: u16,
        /// The first port.
        other: Path,
    },
    /// A network card is described twice.
    #[error("network card {network_card_index} is described already, {other}")]
    SecondCard {
        /// The network card.
        network_card_index: u16,
        /// The first description.
        other: Path,
    },
    /// An interface has both a port of its own and an instance.
    #[error(
        "an attached interface is reached by the port of its instance: leave `port` out, or \
         `attachment`"
    )]
    PortAndAttachment,
    /// An interface and its instance are in different zones.
    #[error("the interface is in {found}, {instance} in {wanted}: both must be in one zone")]
    OtherZone {
        /// The instance.
        instance: InstanceId,
        /// The zone of the interface's subnet.
        found: Box<str>,
        /// The zone of the instance.
        wanted: Box<str>,
    },
    /// An instance with interfaces of two owners.
    #[error(
        "the interface's VPC belongs to {found}, {instance} to {wanted}: an instance may have \
         interfaces in several VPCs of one owner only"
    )]
    OtherOwner {
        /// The instance.
        instance: InstanceId,
        /// The owner of the interface's VPC.
        found: Box<str>,
        /// The owner of the VPC that the instance's primary interface is in.
        wanted: Box<str>,
    },
    /// A network card that the instance does not have.
    #[error(
        "{instance} has no network card {network_card_index}: its cards are 0 and those that a \
         `port` or `network_card` of it names"
    )]
    NoCard {
        /// The instance.
        instance: InstanceId,
        /// The network card.
        network_card_index: u16,
    },
    /// More interfaces than a network card takes.
    #[error(
        "network card {network_card_index} of {instance} takes {max} interfaces: attach fewer, or \
         raise {raise}"
    )]
    CardFull {
        /// The instance.
        instance: InstanceId,
        /// The network card.
        network_card_index: u16,
        /// How many it takes.
        max: u32,
        /// The key that says so.
        raise: &'static str,
    },
    /// Two interfaces in one place.
    #[error(
        "{instance} has {other} at device index {device_index} of network card \
         {network_card_index} already: choose another index"
    )]
    DeviceIndexTaken {
        /// The instance.
        instance: InstanceId,
        /// The device index.
        device_index: u16,
        /// The network card.
        network_card_index: u16,
        /// The interface that is there.
        other: EniId,
    },
    /// A place that no port leads to.
    #[error(
        "{instance} has no port for device index {device_index} of network card \
         {network_card_index}: add one to its `port`, with that device_index and \
         network_card_index"
    )]
    NoPort {
        /// The instance.
        instance: InstanceId,
        /// The device index.
        device_index: u16,
        /// The network card.
        network_card_index: u16,
    },
    /// Two interfaces with OS-bypass on one network card.
    #[error(
        "network card {network_card_index} of {instance} has {other} with OS-bypass already: a \
         card takes one"
    )]
    SecondBypass {
        /// The instance.
        instance: InstanceId,
        /// The network card.
        network_card_index: u16,
        /// The first one.
        other: EniId,
    },
    /// A primary interface without IP.
    #[error(
        "an efa-only interface cannot be the primary one, which is at device index 0 of network \
         card 0: it has no IP address"
    )]
    PrimaryWithoutIp,
    /// An instance with interfaces, none of which is its primary one.
    #[error(
        "{instance} has no primary interface: the one at device index 0 of network card 0 cannot \
         be detached while the instance exists"
    )]
    NoPrimary {
        /// The instance.
        instance: InstanceId,
    },
}

impl InvalidAttachment {
    pub(super) const fn code(&self) -> &'static str {
        match self {
            // EC2's words: "Instance '…' already has an interface attached at device index '1'".
            Self::DeviceIndexTaken { .. }
            | Self::PortPlaceTaken { .. }
            | Self::SecondCard { .. }
            | Self::NoPort { .. } => "InvalidParameterValue",
            Self::PortAndAttachment | Self::OtherZone { .. } | Self::PrimaryWithoutIp => {
                "InvalidParameterCombination"
            }
            Self::OtherOwner { .. } => "AuthFailure",
            Self::NoCard { .. } | Self::CardFull { .. } | Self::SecondBypass { .. } => {
                "AttachmentLimitExceeded"
            }
            Self::NoPrimary { .. } => "OperationNotPermitted",
        }
    }
}
