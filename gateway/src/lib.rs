//! The halfspace binary: configuration, wiring, API, metrics, demo.
//!
//! It is a library with a thin `main`, so that tests reach every part.
//!
//! | module | idea |
//! | --- | --- |
//! | `cli` | what is typed, and what comes back |
//! | `run` | assembly of a gateway, in order, and its stop |
//! | `worker` | the thread that owns engine and data path |
//! | `control` | what follows the resource document and the interfaces |
//! | `resources` | the desired state, from the document to a snapshot |
//! | `links`, `ports` | interfaces there are, ports that are wanted |
//! | `environments` | attached and detached at run time |
//! | `flow_logs` | records of flows, from the worker to files |
//! | `functions` | NAT gateway, load balancer, bridge |
//! | `actions` | what can be asked of it: EC2's actions on the resource document |
//! | `api`, `metrics` | what the gateway tells of itself |
//! | `config` | both configuration files |
//! | `privileges`, `logging` | the process itself |
//! | `demo` | all of it at work, in network namespaces of its own |

pub mod actions;
pub mod api;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod environments;
pub mod flow_logs;
pub mod functions;
pub mod links;
pub mod logging;
pub mod metrics;
pub mod ports;
pub mod privileges;
pub mod resources;
pub mod run;
pub mod worker;
