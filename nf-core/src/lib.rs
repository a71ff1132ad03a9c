//! Sans-IO core of Halfspace: packets, flows, leases, Maglev, neighbours, the VPC model and the
//! pipeline that composes network functions.
//!
//! Nothing here reads a clock, opens a socket or draws randomness of its own: time and seeds come
//! in as arguments, packets come in as bytes, and what is to be done goes out through
//! [`fast_path::FastPath`]. A seed and a list of packets replay any run exactly.

#![forbid(unsafe_code)]

pub mod action;
pub mod adjacency;
pub mod engine;
pub mod fast_path;
pub mod flow;
pub mod flow_log;
pub mod fragment;
pub mod id;
pub mod lease;
pub mod maglev;
pub mod nat64;
pub mod neighbour;
pub mod packet;
pub mod pipeline;
pub mod slots;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod translator;
pub mod tuple;
pub mod verdict;
pub mod vpc;
