//! Flow logs: records of what went through network interfaces, window by window, in EC2's words.
//!
//! The engine tells the [`Ledger`] which interfaces a flow passes, and when it ends. Once a window
//! the ledger looks at what the fast path has counted of each flow and makes records of what is
//! new. Nothing is done per packet, and nothing at all where no interface is logged. Records leave
//! as values, in a [`Batch`]; texts are made of them elsewhere, with [`LogFormat`].
//!
//! | file | idea |
//! | --- | --- |
//! | `field` | what a record can tell |
//! | `format` | which of it a flow log wants, and the line that comes of it |
//! | `record` | a record as a value, and what its interface adds |
//! | `interfaces` | the interfaces that are logged, under one number from snapshot to snapshot |
//! | `window` | when windows open and close |
//! | `rejected` | packets that no flow came of |
//! | `queue` | records on their way out |
//! | `ledger` | flows, and what was told of them already |

mod field;
mod format;
mod interfaces;
mod ledger;
mod queue;
mod record;
mod rejected;
mod window;

#[cfg(test)]
mod tests;

pub use field::Field;
pub use format::{FormatError, LogFormat};
pub(crate) use interfaces::region_of;
pub use interfaces::{LoggedInterface, LoggedInterfaces};
pub(crate) use ledger::Known;
pub use ledger::{Counters, Ledger, Loss};
pub use queue::Batch;
pub use record::{Action, LogStatus, Record, Traffic};
pub(crate) use rejected::Rejection;
