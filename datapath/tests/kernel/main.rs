//! The kernel data path between real stacks: a client, a server and the gateway that translates
//! between them, each in its own network namespace. Entries are installed by hand.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod lab;
mod pages;
mod traffic;
