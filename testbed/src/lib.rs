//! Network namespaces, links and programs in them, for the demo, the tests and the benchmark.
//!
//! A [`Testbed`] hands out [`Namespace`]s; links, addresses and routes are laid between them with
//! the words of `ip`; programs run in them as [`Process`]es. Everything is removed when its owner
//! is dropped, after a panic too, and what a killed owner left behind is removed by the next
//! [`Testbed::new`].
//!
//! ```no_run
//! use halfspace_testbed::Testbed;
//!
//! # fn main() -> Result<(), halfspace_testbed::Error> {
//! let bed = Testbed::new("doc")?;
//! let (client, server) = (bed.namespace("client")?, bed.namespace("server")?);
//! bed.veth((&client, "eth0"), (&server, "eth0"))?;
//! client.ip(["address add 192.0.2.1/24 dev eth0"])?;
//! server.ip(["address add 192.0.2.2/24 dev eth0"])?;
//! client.run(["ping", "-c1", "-W2", "192.0.2.2"])?;
//! # Ok(())
//! # }
//! ```

mod bed;
mod error;
pub mod http;
mod interrupt;
mod leftovers;
mod links;
mod namespace;
mod process;
pub mod programs;
mod requirements;
mod scrape;
mod wait;

pub use bed::Testbed;
pub use error::Error;
pub use interrupt::Interrupt;
pub use leftovers::remove_leftovers;
pub use links::End;
pub use namespace::Namespace;
pub use process::{Output, Process};
pub use requirements::{Missing, Requirement, missing, ready};
pub use scrape::Scrape;
pub use wait::{wait_for_port, wait_until};
