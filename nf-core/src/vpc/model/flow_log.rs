//! Flow logs as the recording of traffic works from them.

use std::time::Duration;

use crate::flow_log::{LogFormat, region_of};
use crate::vpc::document::{Compression, FlowLogResource, TrafficType};
use crate::vpc::id::FlowLogId;

/// A flow log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowLog {
    /// `fl-…`
    pub id: FlowLogId,
    /// What it is for.
    pub resource: FlowLogResource,
    /// The account that its files are named after: the owner of the resource's VPC.
    pub account_id: Box<str>,
    /// The zone that its files are named after: the resource's, a VPC's first subnet's.
    pub availability_zone: Box<str>,
    /// Which traffic it records.
    pub traffic_type: TrafficType,
    /// The longest time that one record is about.
    pub interval: AggregationInterval,
    /// The fields of a record.
    pub format: LogFormat,
    /// The directory of its files: one name.
    pub destination: Box<str>,
    /// Whether its files are compressed.
    pub compression: Compression,
}

impl FlowLog {
    /// The region that its files are named after.
    #[must_use]
    pub fn region(&self) -> &str {
        region_of(&self.availability_zone)
    }
}

/// The longest time that one record is about. EC2 has these two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregationInterval {
    /// 60 seconds.
    OneMinute,
    /// 600 seconds.
    TenMinutes,
}

impl AggregationInterval {
    /// Both, in the order of their places in tables.
    pub const ALL: [Self; 2] = [Self::OneMinute, Self::TenMinutes];

    /// The interval of so many seconds, if EC2 has it.
    #[must_use]
    pub const fn from_seconds(seconds: u32) -> Option<Self> {
        match seconds {
            60 => Some(Self::OneMinute),
            600 => Some(Self::TenMinutes),
            _ => None,
        }
    }

    /// Its length.
    #[must_use]
    pub const fn duration(self) -> Duration {
        match self {
            Self::OneMinute => Duration::from_mins(1),
            Self::TenMinutes => Duration::from_mins(10),
        }
    }
}
