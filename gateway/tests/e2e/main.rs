//! The `halfspace` binary between real programs: curl, nginx, dig, iperf3, ping and traceroute, in
//! network namespaces that each test makes for itself and takes away again.
//!
//! One file a subject. A scenario is a function of the data path; `on_each_datapath!` makes a test
//! of it for the kernel's and for user space's, and most scenarios go through both address
//! families. Tests that need root or BPF say so and are skipped without; see
//! [`halfspace_testbed::ready`].

#![expect(clippy::unwrap_used, reason = "a test ends with the first thing that goes wrong")]

#[macro_use]
mod harness;

mod bad_input;
mod bridge;
mod chain;
mod classes;
mod elastic_ip;
mod eni;
mod flow_logs;
mod fragments;
mod nat;
mod nat64;
mod nat_addresses;
mod nlb;
mod os_bypass;
mod ports;
mod restart;
mod shared_uplink;
mod snapshots;
mod stun;
mod xdp;
