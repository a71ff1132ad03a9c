//! The control side of a running daemon: its API and the actions there, its environments, its
//! metrics. The daemon runs in a network namespace of each test's own, on the user-space data path.
//!
//! Needs root. Without, every test says so and is skipped, unless that is forbidden; see
//! [`halfspace_testbed::ready`].

#![expect(clippy::unwrap_used, reason = "a test ends with the first thing that goes wrong")]

mod actions;
mod api;
mod commands;
mod daemon;
mod environments;
mod metrics;
