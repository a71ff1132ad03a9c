//! Network interfaces and the VPC around them, changed through the run-time API while real programs
//! talk through them. `docs/eni.md` names for each attribute and rule the test that proves it.

mod addresses;
mod attachment;
mod cards;
mod checks;
mod elastic_ips;
mod failover;
mod prefixes;
mod quotas;
mod routing;
mod security_groups;
