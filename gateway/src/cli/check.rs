//! `halfspace check`: both configuration files, without running anything.

use clap::Args;
use nf_core::id::Generation;
use nf_core::vpc::Snapshot;
use serde::Serialize;

use super::{Error, Node, output};
use crate::config::Diagnostic;
use crate::resources::{self, Valid};

/// What is to be checked.
#[derive(Args, Debug)]
pub(super) struct Check {
    #[command(flatten)]
    node: Node,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The result, as JSON.
#[derive(Debug, Serialize)]
struct Report {
    valid: bool,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Summary>,
}

/// How many resources of each kind there are.
#[derive(Debug, Serialize)]
struct Summary {
    vpcs: usize,
    subnets: usize,
    network_interfaces: usize,
    uplinks: usize,
    nat_gateways: usize,
    load_balancers: usize,
    target_groups: usize,
    lambda_bridges: usize,
    /// Linux interfaces, by name.
    ports: Vec<String>,
}

impl Check {
    pub(super) fn execute(&self) -> Result<(), Error> {
        let report = self.check();
        if self.json {
            output::json(&report)?;
        } else {
            for warning in &report.warnings {
                output::line(format_args!("warning: {warning}"))?;
            }
            if let Some(resources) = &report.resources {
                output::line(format_args!("ok: {}", resources.text()))?;
            }
        }
        // As JSON the errors have been printed already.
        let shown = if self.json { Vec::new() } else { report.errors };
        if report.valid { Ok(()) } else { Err(Error::Configuration(shown)) }
    }

    fn check(&self) -> Report {
        let (node, mut warnings) = match self.node.load() {
            Ok(loaded) => (loaded.config, loaded.warnings),
            Err(error) => return Report::invalid(error.diagnostics().to_vec(), Vec::new()),
        };
        match resources::read(&node.resources, Generation(1)) {
            Ok(Valid { snapshot, warnings: more, .. }) => {
                warnings.extend(more);
                let resources = Some(Summary::of(&snapshot));
                Report { valid: true, errors: Vec::new(), warnings, resources }
            }
            Err(errors) => Report::invalid(errors, warnings),
        }
    }
}

impl Report {
    fn invalid(errors: Vec<Diagnostic>, warnings: Vec<Diagnostic>) -> Self {
        Self { valid: false, errors, warnings, resources: None }
    }
}

impl Summary {
    fn of(snapshot: &Snapshot) -> Self {
        let declared = |(_, eni): &(_, &nf_core::vpc::Eni)| !eni.is_requester_managed();
        Self {
            vpcs: snapshot.vpcs().count(),
            subnets: snapshot.subnets().count(),
            network_interfaces: snapshot.enis().filter(declared).count(),
            uplinks: snapshot.uplinks().count(),
            nat_gateways: snapshot.nat_gateways().count(),
            load_balancers: snapshot.load_balancers().count(),
            target_groups: snapshot.target_groups().count(),
            lambda_bridges: snapshot.bridges().count(),
            ports: snapshot.ports().map(|(name, _)| name.to_owned()).collect(),
        }
    }

    fn text(&self) -> String {
        let counts = [
            (self.vpcs, "VPC"),
            (self.subnets, "subnet"),
            (self.network_interfaces, "network interface"),
            (self.uplinks, "uplink"),
            (self.nat_gateways, "NAT gateway"),
            (self.load_balancers, "load balancer"),
            (self.target_groups, "target group"),
            (self.lambda_bridges, "Lambda bridge"),
        ];
        let mut parts: Vec<_> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, noun)| format!("{count} {noun}{}", if *count == 1 { "" } else { "s" }))
            .collect();
        if parts.is_empty() {
            parts.push("no resources".to_owned());
        }
        if !self.ports.is_empty() {
            parts.push(format!("on {}", self.ports.join(", ")));
        }
        parts.join(", ")
    }
}
