//! What can be wrong with a security group, its rules, and the groups of an interface.

use crate::vpc::document::IpProtocol;
use crate::vpc::id::{SecurityGroupId, VpcId};
use crate::vpc::path::Path;

/// What is wrong with a security group or a rule of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecurityGroup {
    /// A text that cannot be the name of a group.
    #[error(
        "`{name}` cannot be the name of a group: write 1 to 255 letters, digits, spaces or \
         ._-:/()#,@[]+=&;{{}}!$*, and not `sg-` first"
    )]
    Name {
        /// The text.
        name: Box<str>,
    },
    /// Two groups of a VPC have the same name. Capital letters make no difference.
    #[error("{vpc} has a group of the name `{name}` already, {other}: choose another")]
    NameInUse {
        /// The name.
        name: Box<str>,
        /// The VPC.
        vpc: VpcId,
        /// The first.
        other: Path,
    },
    /// A group where only those of another VPC can be.
    #[error("`{id}` is a group of {found}: name one of {wanted}")]
    OtherVpc {
        /// The group.
        id: SecurityGroupId,
        /// Its VPC.
        found: VpcId,
        /// The VPC it should be in.
        wanted: VpcId,
    },
    /// A group that an interface has already.
    #[error("the interface has `{id}` already: name each group once")]
    Twice {
        /// The group.
        id: SecurityGroupId,
    },

    /// A rule that the group has already.
    #[error("the group has this rule already, {other}: remove one")]
    DuplicateRule {
        /// The first.
        other: Path,
    },
    /// A protocol without its ports or types.
    #[error("{protocol} needs both from_port and to_port{}", hint(*.protocol))]
    PortsMissing {
        /// The protocol.
        protocol: IpProtocol,
    },
    /// Ports of a protocol that has none.
    #[error("{} no ports: leave from_port and to_port out", portless(*.protocol))]
    PortsGiven {
        /// The protocol.
        protocol: IpProtocol,
    },
    /// A port, ICMP type or code that is none.
    #[error("{found} is not {what}: choose one from {min} to {max}")]
    Range {
        /// "a port", "an ICMP type" or "an ICMP code".
        what: &'static str,
        /// The number.
        found: i32,
        /// The smallest.
        min: i32,
        /// The largest.
        max: i32,
    },
    /// Ports the wrong way round.
    #[error("from_port {from} comes after to_port {to}: swap them")]
    PortsReversed {
        /// The first port.
        from: i32,
        /// The last port.
        to: i32,
    },
    /// One code of every ICMP type.
    #[error(
        "code {code} of every ICMP type cannot be named: write -1 here, or a type as from_port"
    )]
    CodeWithoutType {
        /// The code.
        code: i32,
    },
}

impl InvalidSecurityGroup {
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::NameInUse { .. } => "InvalidGroup.Duplicate",
            // "You can't specify a security group that is in a different AWS Region or VPC than
            // the request" ("Error codes for the Amazon EC2 API").
            Self::OtherVpc { .. } => "InvalidGroup.NotFound",
            Self::DuplicateRule { .. } => "InvalidPermission.Duplicate",
            Self::PortsMissing { .. }
            | Self::PortsGiven { .. }
            | Self::Range { .. }
            | Self::PortsReversed { .. }
            | Self::CodeWithoutType { .. } => "InvalidPermission.Malformed",
            Self::Name { .. } | Self::Twice { .. } => "InvalidParameterValue",
        }
    }
}

/// How to write everything of a protocol.
const fn hint(protocol: IpProtocol) -> &'static str {
    match protocol {
        IpProtocol::Icmp | IpProtocol::Icmpv6 => ", the type and the code: -1 is every one",
        _ => ": 0 and 65535 are all ports",
    }
}

fn portless(protocol: IpProtocol) -> String {
    match protocol {
        IpProtocol::All => "-1 is every protocol and has".to_owned(),
        other => format!("protocol {other} has"),
    }
}
