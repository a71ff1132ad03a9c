//! The network: two instances with two devices each, and a client outside.
//!
//! ```text
//!  web1 ─ eth0 ─┐
//!        ─ eth1 ─┤
//!                ├── gateway (halfspace) ── client
//!  web2 ─ eth0 ─┤
//!        ─ eth1 ─┘
//! ```
//!
//! Both instances have the floating address on `eth1` from the start, as the two halves of a highly
//! available pair do: which of them is reached is the gateway's to decide.

use halfspace_testbed::programs::{Echo, Nginx};
use halfspace_testbed::{Namespace, Requirement, Testbed};

use super::plan::{self, Instance, WEB1, WEB2};
use crate::config::node::DatapathChoice;
use crate::demo::curl::body;
use crate::demo::daemon::Daemon;
use crate::demo::error::Error;
use crate::demo::stage;

/// The table of routes of what has the floating address.
const TABLE: u16 = 100;

/// Everything there is. Servers go before the namespaces they run in, those before the testbed.
#[derive(Debug)]
pub(super) struct Lab {
    /// The gateway itself.
    pub daemon: Daemon,
    /// The instance that has the interface at first.
    pub web1: Host,
    /// Its standby.
    pub web2: Host,
    /// The client outside.
    pub client: Namespace,
    bed: Testbed,
}

/// An instance, with its servers at the floating address.
#[derive(Debug)]
pub(super) struct Host {
    _nginx: Nginx,
    _echo: Echo,
    /// Where they run.
    pub namespace: Namespace,
}

impl Lab {
    /// Lays out everything, and starts servers and gateway.
    pub(super) fn lay_out(bed: Testbed, datapath: DatapathChoice) -> Result<Self, Error> {
        let gateway = bed.namespace("gateway")?;
        let client = bed.namespace("client")?;
        bed.veth((&gateway, plan::UPLINK_PORT), (&client, "eth0"))?;
        client.ip([format!("address add {}/24 dev eth0", plan::CLIENT)])?;
        let [web1, web2] = [WEB1, WEB2].map(|instance| host(&bed, &gateway, instance));
        let (web1, web2) = (web1?, web2?);
        let resources = plan::resource_document(Some(WEB1));
        let daemon = Daemon::start(&bed, gateway, datapath, &resources)?;
        Ok(Self { daemon, web1, web2, client, bed })
    }
}

impl stage::Lab for Lab {
    const NEEDS: &'static [Requirement] = &[
        Requirement::Root,
        Requirement::Program("ip"),
        Requirement::Program("curl"),
        Requirement::Program("nginx"),
        Requirement::Program("ping"),
    ];

    const OPENING: &'static str = "A network interface, two instances, a client outside";

    fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    fn prefix(&self) -> &str {
        self.bed.prefix()
    }

    fn commands(&self) -> Vec<String> {
        let client = self.client.name();
        vec![format!("ip netns exec {client} curl http://{}/", plan::PUBLIC)]
    }
}

/// An instance with both devices and its servers.
fn host(bed: &Testbed, gateway: &Namespace, instance: Instance) -> Result<Host, Error> {
    let namespace = bed.namespace(instance.name)?;
    let first = instance.port(0);
    bed.veth((gateway, &first), (&namespace, "eth0"))?;
    namespace.ip([format!("address add {}/24 dev eth0", instance.primary)])?;
    namespace.sysctl([("net.ipv4.ip_default_ttl", instance.ttl.to_string().as_str())])?;
    namespace.ip([format!("rule add from {} table {TABLE}", plan::PRIVATE)])?;
    second_device(bed, gateway, &namespace, instance)?;
    let listen = [plan::HTTP, plan::CLOSED].map(|port| plan::at(plan::PRIVATE, port));
    let nginx = Nginx::start(&namespace, &listen, &body(instance.name))?;
    let echo = plan::at(plan::PRIVATE, plan::ECHO);
    let echo = Echo::named(&namespace, echo, instance.name)?;
    Ok(Host { _nginx: nginx, _echo: echo, namespace })
}

/// The device of the floating interface. What comes from its address leaves by it: it has a table of
/// routes of its own.
fn second_device(
    bed: &Testbed,
    gateway: &Namespace,
    namespace: &Namespace,
    instance: Instance,
) -> Result<(), Error> {
    let port = instance.port(plan::DEVICE_INDEX);
    bed.veth((gateway, &port), (namespace, "eth1"))?;
    Ok(namespace.ip([
        format!("link set eth1 address {}", plan::MAC),
        format!("address add {}/24 dev eth1", plan::PRIVATE),
        format!("route add default via {} dev eth1 table {TABLE}", plan::SUBNET_ROUTER),
    ])?)
}
