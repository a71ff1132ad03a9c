//! What the scenarios have in common.
//!
//! | file | idea |
//! | --- | --- |
//! | `gateway` | the daemon in its namespace: configured, started, asked, killed |
//! | `listing` | what `halfspace flows --json` and its kin print |
//! | `office` | a host behind a NAT gateway, and an internet of one host |
//! | `region` | instances with network interfaces, worked on through the API |
//! | `shop` | load balancers and their targets |
//! | `tenants` | environments behind bridges, of tenants with the same addresses |
//! | `talk` | the least of clients: datagrams, connections, curl, iperf3 |
//! | `dns` | a name server for dig to ask |
//! | `raw` | frames as no stack would send them |

mod dns;
mod gateway;
mod listing;
mod office;
mod raw;
pub mod region;
pub mod shop;
mod talk;
pub mod tenants;

pub use dns::NameServer;
pub use gateway::Gateway;
pub use listing::Flow;
pub use office::{Family, LAN, Office};
pub use raw::Wire;
pub use talk::{
    Heard, any_port, converse, curl, datagram_socket, iperf3_moves, seen_by, url,
    wait_for_acknowledgements,
};

use std::time::Duration;

use halfspace_testbed::{Requirement, ready, wait_until};

/// For what happens within a moment but has to cross processes, on a machine that is busy.
pub const SOON: Duration = Duration::from_secs(10);

/// Programs that the scenarios run. One list for all: a machine has them or has not.
const PROGRAMS: [&str; 11] = [
    "curl",
    "dig",
    "ethtool",
    "ip",
    "iperf3",
    "nginx",
    "ping",
    "ss",
    "traceroute",
    "turnserver",
    "turnutils_natdiscovery",
];

/// What moves the packets in a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datapath {
    /// The kernel's.
    Ebpf,
    /// User space's.
    Userspace,
}

impl Datapath {
    /// As configuration and status write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ebpf => "ebpf",
            Self::Userspace => "userspace",
        }
    }

    /// Whether this machine can run scenarios on it; says why not.
    pub fn is_available(self) -> bool {
        let mut needed = vec![Requirement::Root];
        if self == Self::Ebpf {
            needed.push(Requirement::Bpf);
        }
        needed.extend(PROGRAMS.map(Requirement::Program));
        ready(&needed)
    }
}

/// Makes of each scenario, a function of the [`Datapath`], a module of its name with one test a
/// data path.
macro_rules! on_each_datapath {
    ($($scenario:ident,)*) => {$(
        mod $scenario {
            use crate::harness::Datapath;

            #[test]
            fn ebpf() {
                if Datapath::Ebpf.is_available() {
                    super::$scenario(Datapath::Ebpf);
                }
            }

            #[test]
            fn userspace() {
                if Datapath::Userspace.is_available() {
                    super::$scenario(Datapath::Userspace);
                }
            }
        }
    )*};
}

/// Waits for what has to happen soon.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    if let Err(error) = wait_until(SOON, what, condition) {
        panic!("{error}");
    }
}
