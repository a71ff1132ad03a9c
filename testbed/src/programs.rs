//! Programs that are ready to be started in a namespace, each waiting until it can be used.

mod echo;
mod iperf3;
mod nginx;

pub use echo::Echo;
pub use iperf3::Iperf3;
pub use nginx::Nginx;

use std::time::Duration;

/// How long a server may take until it accepts connections.
const START_LIMIT: Duration = Duration::from_secs(10);
