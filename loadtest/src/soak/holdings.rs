//! What the gateway holds on behalf of flows and environments, before the load and after it.

use std::collections::BTreeMap;

use halfspace_testbed::Scrape;
use serde::Serialize;

use super::daemon::Daemon;
use super::{kernel_maps, plan};
use crate::error::Error;

/// File descriptors that may be more than before: connections of the metrics page and the API that
/// are just being closed, and what the runtime opened at its first use. Each environment that
/// leaked would be one more.
const SPARE_FDS: u64 = 4;

/// Everything that can be counted from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Holdings {
    /// Flows that `GET /v1/flows` lists.
    pub listed_flows: u64,
    /// Flows by the metrics page.
    pub flows: u64,
    /// Timers of flows that are armed.
    pub flow_timers: u64,
    /// Ports leased, by NAT gateways and bridges.
    pub leased_ports: u64,
    /// Ports that rest.
    pub quarantined_ports: u64,
    /// Ports in stock for flows that the fast path makes itself.
    pub set_aside_ports: u64,
    /// Packets that wait for their next hop.
    pub waiting_packets: u64,
    /// Next hops known or asked for.
    pub neighbours: u64,
    /// Environments listed, by state.
    pub environments: BTreeMap<String, u64>,
    /// Flows that targets have, by the load balancer's own count.
    pub target_flows: u64,
    /// Entries of the kernel's maps, by map; empty in user space.
    pub map_entries: BTreeMap<String, u64>,
    /// Pinned links.
    pub links: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Changes of the kernel's tables that failed.
    pub failed_updates: u64,
}

impl Holdings {
    /// What the gateway holds now.
    ///
    /// # Errors
    ///
    /// [`Error`] if it does not tell.
    pub fn of(daemon: &Daemon) -> Result<Self, Error> {
        let page = daemon.metrics()?;
        let sum = |name: &str| page.sum(name, &[]).unwrap_or(0);
        let both = |what: &str| {
            sum(&format!("halfspace_nat_gateway_{what}"))
                + sum(&format!("halfspace_lambda_bridge_{what}"))
        };
        let mut client = daemon.client();
        let api = |error| Error::Api(Box::new(error));
        let mut environments = BTreeMap::new();
        for state in client.environments().map_err(api)?.into_values() {
            *environments.entry(state).or_default() += 1;
        }
        let mut listed_flows = 0;
        let mut from = Some(0);
        while let Some(first) = from {
            let flows = client.get(&format!("/v1/flows?from={first}&limit=1000")).map_err(api)?;
            listed_flows += flows["flows"].as_array().map_or(0, Vec::len) as u64;
            from = flows["next"].as_u64();
        }
        let (map_entries, links) = match daemon.pins() {
            Some(pins) => (kernel_maps::entries(pins)?, kernel_maps::links(pins)?),
            None => (BTreeMap::new(), 0),
        };
        Ok(Self {
            listed_flows,
            flows: gauge(&page, "halfspace_flows")?,
            flow_timers: gauge(&page, "halfspace_flow_timers")?,
            leased_ports: both("leased_ports"),
            quarantined_ports: both("quarantined_ports"),
            set_aside_ports: both("set_aside_ports"),
            waiting_packets: gauge(&page, "halfspace_engine_waiting_packets")?,
            neighbours: gauge(&page, "halfspace_neighbours")?,
            environments,
            target_flows: sum("halfspace_target_active_flows"),
            map_entries,
            links,
            open_fds: gauge(&page, "process_open_fds")?,
            failed_updates: sum("halfspace_fastpath_failed_updates_total"),
        })
    }

    /// What is not back, a sentence each.
    pub fn leaks(&self, before: &Self) -> Vec<String> {
        let mut leaks = Vec::new();
        let mut at_most = |what: &str, there: u64, allowed: u64| {
            if there > allowed {
                leaks.push(format!("leaked: {what}: {there}, at most {allowed} expected"));
            }
        };
        at_most("flows listed", self.listed_flows, 0);
        at_most("flows", self.flows, 0);
        at_most("timers", self.flow_timers, 0);
        at_most("leased ports", self.leased_ports, 0);
        at_most("quarantined ports", self.quarantined_ports, 0);
        at_most("ports set aside", self.set_aside_ports, 0);
        at_most("waiting packets", self.waiting_packets, 0);
        at_most("flows of targets", self.target_flows, 0);
        at_most("next hops", self.neighbours, plan::HOSTS.max(before.neighbours));
        at_most("links", self.links, before.links);
        at_most("file descriptors", self.open_fds, before.open_fds + SPARE_FDS);
        at_most("failed table updates", self.failed_updates, 0);
        for (map, there) in &self.map_entries {
            let allowed = before.map_entries.get(map).copied().unwrap_or(0);
            at_most(&format!("entries of the kernel map {map}"), *there, allowed);
        }
        if self.environments != before.environments {
            leaks.push(format!(
                "leaked: environments: {:?}, {:?} expected",
                self.environments, before.environments
            ));
        }
        leaks
    }
}

/// A metric that has to be there: one that is missing must not pass for zero.
fn gauge(page: &Scrape, name: &str) -> Result<u64, Error> {
    page.sum(name, &[])
        .ok_or_else(|| Error::Missing(format!("the metrics page does not have {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attached(count: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([("attached".to_owned(), count)])
    }

    #[test]
    fn each_thing_that_is_not_back_is_named_with_its_count() {
        let before = Holdings { links: 6, open_fds: 30, ..Holdings::default() };
        assert_eq!(before.leaks(&before), Vec::<String>::new());
        let after = Holdings {
            flows: 1,
            flow_timers: 2,
            leased_ports: 3,
            map_entries: BTreeMap::from([("flows4".to_owned(), 4)]),
            links: 7,
            environments: attached(1),
            ..before.clone()
        };
        let leaks = after.leaks(&before).join("\n");
        for expected in [
            "flows: 1,",
            "timers: 2,",
            "leased ports: 3,",
            "kernel map flows4: 4,",
            "links: 7, at most 6",
            "environments: {\"attached\": 1}, {} expected",
        ] {
            assert!(leaks.contains(expected), "{expected} in {leaks}");
        }
        assert_eq!(after.leaks(&before).len(), 6);
    }
}
