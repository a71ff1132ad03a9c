//! The soak's network: namespaces, links, servers and the gateway, all made here and removed with
//! it.

use std::path::PathBuf;
use std::time::Duration;

use halfspace_testbed::programs::Echo;
use halfspace_testbed::{End, Namespace, Testbed, wait_until};

use super::daemon::{Daemon, Datapath};
use super::plan;
use crate::error::Error;

/// How long the targets may take to be found healthy: two probes a second apart, and some.
const HEALTH_LIMIT: Duration = Duration::from_secs(20);

/// Everything there is. Servers go before the namespaces they run in, those before the testbed.
#[derive(Debug)]
pub struct Lab {
    /// The gateway.
    pub daemon: Daemon,
    /// Whoever answers on the internet and behind the load balancer.
    _servers: Vec<Echo>,
    /// A host behind the NAT gateway.
    pub client: Namespace,
    /// The internet.
    pub internet: Namespace,
    _targets: Vec<Namespace>,
    /// Where all this is.
    pub bed: Testbed,
}

impl Lab {
    /// Lays it out, starts the gateway and waits until every target is healthy.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn lay(name: &str, binary: PathBuf, datapath: Datapath) -> Result<Self, Error> {
        let bed = Testbed::new(name)?;
        let gateway = bed.namespace("gateway")?;
        let (client, internet) = (bed.namespace("client")?, bed.namespace("internet")?);
        let ports: Vec<_> = (0..plan::TARGETS).map(plan::target_port).collect();
        let targets = bed.namespaces(&ports)?;
        let mut links: Vec<(End<'_>, End<'_>)> = vec![
            ((&gateway, plan::CLIENT_PORT), (&client, "eth0")),
            ((&gateway, plan::UPLINK_PORT), (&internet, "eth0")),
        ];
        for (port, target) in ports.iter().zip(&targets) {
            links.push(((&gateway, port.as_str()), (target, "eth0")));
        }
        bed.veths(&links)?;
        client.ip([
            format!("address add {}/24 dev eth0", plan::CLIENT),
            format!("route add default via {}", plan::CLIENT_ROUTER),
        ])?;
        // Sockets that send echo requests need no privilege then, and are given their answers only.
        client.sysctl([("net.ipv4.ping_group_range", "0 0")])?;
        internet.ip([
            format!("address add {}/24 dev eth0", plan::ROUTER),
            format!("address add {}/32 dev lo", plan::SERVER),
        ])?;
        let mut servers = vec![Echo::start(&internet, plan::echo(plan::SERVER))?];
        for (number, target) in targets.iter().enumerate() {
            target.ip([
                format!("address add {}/24 dev eth0", plan::target(number)),
                "route add default via 10.0.2.1".to_owned(),
            ])?;
            servers.push(Echo::start(target, plan::echo(plan::target(number)))?);
        }
        let all: Vec<_> = (0..plan::TARGETS).collect();
        let daemon = Daemon::start(&bed, gateway, binary, datapath, &plan::document(&all))?;
        let lab = Self { daemon, _servers: servers, client, internet, _targets: targets, bed };
        lab.wait_for_health(plan::TARGETS)?;
        Ok(lab)
    }

    /// Waits until this many targets are healthy, in both groups.
    ///
    /// # Errors
    ///
    /// [`Error::Testbed`] if they are not in time.
    pub fn wait_for_health(&self, targets: usize) -> Result<(), Error> {
        let healthy = || {
            let count = self
                .daemon
                .metrics()
                .ok()
                .and_then(|page| page.sum("halfspace_target_state", &[("state", "healthy")]));
            count == Some(2 * targets as u64)
        };
        Ok(wait_until(HEALTH_LIMIT, "the targets to be healthy", healthy)?)
    }
}
