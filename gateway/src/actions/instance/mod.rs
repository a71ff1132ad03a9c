//! Actions on instances. The gateway neither starts nor stops what they stand for: it is told, and
//! carries packets accordingly.
//!
//! | file | idea |
//! | --- | --- |
//! | `run` | making one known, with its interfaces |
//! | `state` | stopping, starting and terminating |
//! | `describe` | telling about them |

mod describe;
mod run;
mod state;

use nf_core::vpc::InstanceState;
use serde::{Deserialize, Serialize};

pub use describe::{
    DescribeInstances, InstanceDescription, InstanceNetworkInterface, Instances, Placement, Port,
};
pub use run::{InstanceNetworkInterfaceSpecification, RunInstances};
pub use state::{
    StartInstances, Starting, StateChange, StopInstances, Stopping, TerminateInstances, Terminating,
};

/// An instance's state, with EC2's number for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// 16, 80 or 48.
    pub code: u8,
    /// `running`, `stopped` or `terminated`.
    pub name: String,
}

impl State {
    fn terminated() -> Self {
        Self { code: 48, name: "terminated".to_owned() }
    }
}

impl From<InstanceState> for State {
    fn from(state: InstanceState) -> Self {
        let code = match state {
            InstanceState::Running => 16,
            InstanceState::Stopped => 80,
        };
        Self { code, name: state.as_str().to_owned() }
    }
}
