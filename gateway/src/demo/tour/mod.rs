//! The tour: two customers with the same addresses, a hundred environments with one address, a load
//! balancer that loses a target, a gateway that is killed under load.
//!
//! | file | idea |
//! | --- | --- |
//! | `plan` | who is where: addresses, interfaces, the resource document |
//! | `lab` | the namespaces, links and servers |
//! | `iperf3`, `interfaces` | what a transfer and the kernel say |
//! | `scenes` | what is shown, one file a scene |
//! | `tables` | what is summed up at the end |

mod interfaces;
mod iperf3;
mod lab;
mod plan;
mod scenes;
mod tables;

use std::time::Duration;

use super::Options;
use super::error::Error;
use super::progress::Progress;
use super::report::Report;
use super::stage;
use lab::Lab;

/// What the scenes work with.
type Stage = stage::Stage<Lab>;

/// Shows everything, with as many environments as told behind one managed network interface.
pub(super) fn show(
    environments: u16,
    options: &Options,
    progress: &Progress,
) -> Result<(Report, Duration), Error> {
    let lay_out = |bed, datapath| Lab::lay_out(bed, datapath, environments.into());
    stage::perform(options, progress, lay_out, scenes::play)
}
