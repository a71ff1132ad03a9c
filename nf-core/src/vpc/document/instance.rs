//! Instances: named owners of ports. A virtual machine, a container, a network card's queue set;
//! the gateway neither starts nor stops them, it knows which ports lead to which.

use serde::{Deserialize, Serialize};

use super::{Tags, default_zone, is_default_zone};
use crate::vpc::id::InstanceId;

/// What network interfaces are attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// `i-…`
    pub instance_id: InstanceId,
    /// `running` (when left out) or `stopped`. A stopped instance keeps its interfaces, and no
    /// packet reaches it.
    #[serde(default, skip_serializing_if = "InstanceState::is_running")]
    pub state: InstanceState,
    /// The zone it is in, whose interfaces can be attached to it.
    #[serde(default = "default_zone", skip_serializing_if = "is_default_zone")]
    pub availability_zone: String,
    /// The Linux interfaces that lead to it, one for each network interface it may have.
    #[serde(default)]
    pub port: Vec<InstancePort>,
    /// Network cards with limits of their own. One that is not listed has the quotas' limit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network_card: Vec<NetworkCard>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
}

/// Whether an instance is running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// It is.
    #[default]
    Running,
    /// It is not.
    Stopped,
}

impl InstanceState {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_running(&self) -> bool {
        *self == Self::Running
    }

    /// EC2's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
        }
    }
}

/// A Linux interface that leads to an instance: the gateway's end of a veth, a tap device, a
/// network card's queue set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstancePort {
    /// The interface.
    pub name: Box<str>,
    /// The device index whose network interface it serves.
    #[serde(default)]
    pub device_index: u16,
    /// The network card it is on.
    #[serde(default)]
    pub network_card_index: u16,
}

/// A network card of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkCard {
    /// Its number; 0 has the primary interface.
    pub network_card_index: u16,
    /// How many network interfaces it takes.
    pub maximum_network_interfaces: u32,
}
