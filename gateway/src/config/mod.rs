//! Configuration: two files, read in two ways.
//!
//! The node's own bootstrap, `gateway.toml` ([`node`]), says how this process runs: sizes,
//! directories, logs. It is layered: defaults, the file, the environment, flags. The resource
//! document ([`document`]) says what the gateway is to do, in EC2's words. It is read whole, the
//! same on every node, and nothing overrides any of it. What a program changes of it is [written
//! back](edit) into the [same file](store).
//!
//! Neither takes a key it does not know, and whatever is wrong in either is a [`Diagnostic`] that
//! names the file, the line and the value.

mod diagnostic;
pub mod document;
pub mod edit;
mod flags;
mod locate;
pub mod node;
mod shape;
mod source;
pub mod store;

pub use diagnostic::Diagnostic;
pub use document::ResourceFile;
pub use flags::Flags;
pub use node::NodeConfig;
pub use store::Store;

#[cfg(test)]
mod samples;
