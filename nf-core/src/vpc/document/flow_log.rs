//! Flow logs: what is recorded about the traffic of network interfaces, and where it goes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Tags;
use crate::vpc::id::{EniId, FlowLogId, MalformedId, ResourceId as _, SubnetId, VpcId};

/// A flow log: records of the traffic of one network interface, or of every one in a subnet or VPC.
///
/// EC2 changes no flow log once it is made. A document may: what is recorded from then on follows
/// the new words, in a new file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowLog {
    /// `fl-…`
    pub flow_log_id: FlowLogId,
    /// What it is for: `vpc-…`, `subnet-…` or `eni-…`, a managed interface's as well.
    pub resource_id: FlowLogResource,
    /// `ACCEPT`, `REJECT` or `ALL` (when left out).
    #[serde(default, skip_serializing_if = "TrafficType::is_all")]
    pub traffic_type: TrafficType,
    /// The longest time that one record is about, in seconds: 60 or 600.
    #[serde(default = "ten_minutes", skip_serializing_if = "is_ten_minutes")]
    pub max_aggregation_interval: u32,
    /// The fields of a record, each as `${field}`, with a space between two. Left out: those of
    /// version 2, in EC2's order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_format: Option<String>,
    /// The directory that its files go to, below the node's `flow_log_dir`: one name, without a
    /// slash. Several flow logs may share it.
    pub log_destination: String,
    /// How files are written.
    #[serde(default, skip_serializing_if = "DestinationOptions::is_default")]
    pub destination_options: DestinationOptions,
    /// Labels.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
}

const fn ten_minutes() -> u32 {
    600
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_ten_minutes(value: &u32) -> bool {
    *value == ten_minutes()
}

/// What a flow log is for; the prefix of the id says which kind of thing that is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FlowLogResource {
    /// Every interface of a VPC.
    Vpc(VpcId),
    /// Every interface of a subnet.
    Subnet(SubnetId),
    /// One interface.
    NetworkInterface(EniId),
}

impl FlowLogResource {
    /// EC2's word for what it is, as in `ResourceType`.
    #[must_use]
    pub const fn resource_type(&self) -> &'static str {
        match self {
            Self::Vpc(_) => "VPC",
            Self::Subnet(_) => "Subnet",
            Self::NetworkInterface(_) => "NetworkInterface",
        }
    }
}

impl FromStr for FlowLogResource {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        if text.starts_with("subnet-") {
            text.parse().map(Self::Subnet)
        } else if text.starts_with("eni-") {
            text.parse().map(Self::NetworkInterface)
        } else {
            text.parse().map(Self::Vpc)
        }
    }
}

impl fmt::Display for FlowLogResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vpc(id) => id.as_str(),
            Self::Subnet(id) => id.as_str(),
            Self::NetworkInterface(id) => id.as_str(),
        })
    }
}

impl Serialize for FlowLogResource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FlowLogResource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Which traffic a flow log records. EC2's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TrafficType {
    /// What security groups let through.
    Accept,
    /// What they do not.
    Reject,
    /// Both.
    #[default]
    All,
}

impl TrafficType {
    /// EC2's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Reject => "REJECT",
            Self::All => "ALL",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_all(&self) -> bool {
        *self == Self::All
    }
}

/// How files of a flow log are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DestinationOptions {
    /// `plain-text`. EC2's other one, Parquet, is not written.
    pub file_format: FileFormat,
    /// `none` (when left out) or `gzip`. Ours: EC2 compresses always.
    pub compression: Compression,
}

impl DestinationOptions {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The form of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileFormat {
    /// A line of field names, then a line a record.
    #[default]
    PlainText,
}

/// Whether a file is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// It is not.
    #[default]
    None,
    /// As gzip does (RFC 1952).
    Gzip,
}
