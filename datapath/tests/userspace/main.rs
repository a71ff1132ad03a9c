//! The user-space data path between real stacks, each in its own network namespace.

mod lab;
mod netns;
mod order;
mod ports;
mod traffic;
