//! A network interface with an Elastic IP address moves from one instance to another under load:
//! what is established goes on there, and it is measured how long nobody answers.
//!
//! | file | idea |
//! | --- | --- |
//! | `plan` | who is where: addresses, interfaces, the resource document |
//! | `lab` | the namespaces, links and servers |
//! | `load` | all that is asked while the interface moves, at once |
//! | `stream`, `pings`, `requests` | datagrams, ping, HTTP |
//! | `track` | questions and answers, and the longest time without one |
//! | `scenes` | what is shown, one file a scene |

mod handover;
mod lab;
mod load;
mod pings;
mod plan;
mod requests;
mod scenes;
mod stream;
mod track;

use std::time::Duration;

use super::Options;
use super::error::Error;
use super::progress::Progress;
use super::report::Report;
use super::stage;
use lab::Lab;

/// What the scenes work with.
type Stage = stage::Stage<Lab>;

/// Shows everything.
pub(super) fn show(options: &Options, progress: &Progress) -> Result<(Report, Duration), Error> {
    stage::perform(options, progress, Lab::lay_out, scenes::play)
}
