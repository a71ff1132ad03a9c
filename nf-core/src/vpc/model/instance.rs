//! Instances: named owners of ports.

use crate::vpc::document::InstanceState;
use crate::vpc::id::InstanceId;

/// What network interfaces are attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// `i-…`
    pub id: InstanceId,
    /// Whether packets reach it.
    pub state: InstanceState,
    /// The zone it is in.
    pub availability_zone: Box<str>,
}
