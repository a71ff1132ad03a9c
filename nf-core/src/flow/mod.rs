//! Flows: the table of tracked conversations, their life by protocol, and their timers.

mod index;
pub mod key;
pub mod life;
mod record;
pub mod table;
mod tracking;
pub mod wheel;

pub use life::{Phase, Timeouts};
pub use table::{Capacity, Claims, Flow, FlowTable, InsertError};
pub use tracking::Tracking;
