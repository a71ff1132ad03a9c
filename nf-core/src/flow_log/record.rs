//! A record as a value.

use std::sync::Arc;

use super::interfaces::InterfaceNumber;
use crate::tuple::Tuple;
use crate::vpc::{AggregationInterval, FlowLog, TrafficDirection, TrafficType};

/// What became of packets. EC2's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// They were let through.
    Accept,
    /// Security groups did not let them.
    Reject,
}

impl Action {
    /// EC2's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Reject => "REJECT",
        }
    }
}

/// What a record is worth. EC2's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogStatus {
    /// It tells of traffic.
    Ok,
    /// There was none.
    NoData,
    /// There was some that is told of nowhere.
    SkipData,
}

impl LogStatus {
    /// EC2's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::NoData => "NODATA",
            Self::SkipData => "SKIPDATA",
        }
    }
}

/// What one interface saw of one flow, one way, in one window; or that it saw nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The interface, by its number in the batch's [`super::LoggedInterfaces`].
    pub interface: InterfaceNumber,
    /// Logs of which interval it is for.
    pub interval: AggregationInterval,
    /// Logs of which traffic it is for.
    pub(super) audience: Audience,
    /// What it is worth.
    pub status: LogStatus,
    /// Seconds since 1970: no packet of the record came before.
    pub start: u64,
    /// Seconds since 1970: when the last packet of the record came, or the window closed.
    pub end: u64,
    /// What there was; only [`LogStatus::Ok`] has it.
    pub traffic: Option<Traffic>,
}

/// Packets of one flow, one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// What became of them.
    pub action: Action,
    /// Which way they passed the interface.
    pub direction: TrafficDirection,
    /// Their addresses at the interface.
    pub tuple: Tuple,
    /// Their addresses as the gateway received them.
    pub received: Tuple,
    /// Their addresses as the gateway sent them on, if it did.
    pub sent: Option<Tuple>,
    /// How many.
    pub packets: u64,
    /// Bytes of IP packets, headers included.
    pub bytes: u64,
    /// TCP flags as EC2 tells them: FIN 1, SYN 2, RST 4, and 16 for the acknowledgement in a
    /// SYN-ACK; or-ed.
    pub tcp_flags: u8,
    /// Whether the VPC's internet gateway is what comes next on the interface's side of the VPC.
    pub by_internet_gateway: bool,
    /// The execution environment whose flow it is.
    pub environment: Option<Arc<str>>,
}

impl Traffic {
    /// Whether the packets went on from the interface into the VPC.
    pub(super) fn took_a_path(&self) -> bool {
        self.action == Action::Accept && self.direction == TrafficDirection::Egress
    }
}

/// For which logs a record is, by their traffic types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Audience(u8);

impl Audience {
    pub const EVERYONE: Self = Self(0b111);

    /// Those of one type.
    pub const fn of(traffic_type: TrafficType) -> Self {
        match traffic_type {
            TrafficType::Accept => Self(0b001),
            TrafficType::Reject => Self(0b010),
            TrafficType::All => Self(0b100),
        }
    }

    /// Those that record packets of this fate.
    pub const fn about(action: Action) -> Self {
        match action {
            Action::Accept => Self(0b101),
            Action::Reject => Self(0b110),
        }
    }

    /// Those that would have recorded nothing but packets of fates that there were none of.
    pub const fn without(accepted: bool, rejected: bool) -> Self {
        match (accepted, rejected) {
            (false, false) => Self::EVERYONE,
            (false, true) => Self(0b001),
            (true, false) => Self(0b010),
            (true, true) => Self(0),
        }
    }

    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl Record {
    /// Whether a flow log of the record's interface takes it.
    #[must_use]
    pub fn is_for(&self, log: &FlowLog) -> bool {
        log.interval == self.interval && self.audience.meets(Audience::of(log.traffic_type))
    }

    /// A record of the same interface which says that some were lost, of windows from `start` to
    /// `end`, both seconds since 1970.
    #[must_use]
    pub const fn skipped(&self, start: u64, end: u64) -> Self {
        let Self { interface, interval, .. } = *self;
        let (audience, status) = (Audience::EVERYONE, LogStatus::SkipData);
        Self { interface, interval, audience, status, start, end, traffic: None }
    }
}

/// What EC2 tells of a TCP header's flags: FIN, SYN and RST, and of an acknowledgement only that it
/// came with a SYN. Others alone count as none.
#[must_use]
pub(super) const fn told_flags(flags: u8) -> u8 {
    const FIN_SYN_RST: u8 = 0x07;
    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;
    let alone = flags & FIN_SYN_RST;
    if flags & SYN != 0 { alone | flags & ACK } else { alone }
}
