//! What can be wrong with a flow log.

use crate::flow_log::FormatError;
use crate::vpc::path::Path;

/// What is wrong with a flow log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFlowLog {
    /// A time that records are not made for.
    #[error("{found} is not a time that records are made for: choose 60 or 600 seconds")]
    Interval {
        /// The seconds.
        found: u32,
    },
    /// A format that no record can have.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A destination that is not one directory below the node's.
    #[error(
        "`{found}` is not the name of a directory: write 1 to 64 letters, digits, dots, \
         underscores or hyphens, no dot first"
    )]
    Destination {
        /// The text.
        found: String,
    },
    /// A second log that would record the same to the same place.
    #[error(
        "{other} records the same traffic of the same resource there already: choose another \
         log_destination or traffic_type"
    )]
    Exists {
        /// The first one.
        other: Path,
    },
    /// More logs of one resource than a quota allows.
    #[error(
        "a quota allows {limit} flow logs of one resource: remove some, or raise \
         quotas.flow_logs_per_resource"
    )]
    TooMany {
        /// How many there may be.
        limit: u32,
    },
}

impl InvalidFlowLog {
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Interval { .. } | Self::Format(_) | Self::Destination { .. } => {
                "InvalidParameter"
            }
            Self::Exists { .. } => "FlowLogAlreadyExists",
            Self::TooMany { .. } => "FlowLogsLimitExceeded",
        }
    }
}
