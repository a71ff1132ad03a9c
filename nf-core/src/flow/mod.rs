//! Flows: the table of tracked conversations, their life by protocol, and their timers.

pub mod key;
pub mod life;
pub mod table;
pub mod wheel;

pub use life::{Phase, Timeouts};
pub use table::{Claims, Flow, FlowTable, InsertError};
