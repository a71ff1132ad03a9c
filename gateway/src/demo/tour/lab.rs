//! The tour's network: namespaces, links and servers, all made by the testbed.
//!
//! ```text
//!  blue-env0000 … ─┐                       ┌─ internet (router, website) ── visitor
//!  green-env0000 … ─┤                       │
//!  blue-service ────┼── gateway (halfspace) ┘
//!  green-service ───┤
//!  blue-web1 … 3 ───┘
//! ```

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use halfspace_testbed::programs::{Iperf3, Nginx};
use halfspace_testbed::{End, Namespace, Requirement, Testbed};

use super::plan::{self, BLUE, GREEN, Tenant};
use crate::config::node::DatapathChoice;
use crate::demo::curl::body;
use crate::demo::daemon::Daemon;
use crate::demo::error::Error;
use crate::demo::stage;

/// Where iperf3 listens.
pub(super) const IPERF3: SocketAddr = SocketAddr::V4(SocketAddrV4::new(plan::WEBSITE, 5201));

/// The visitor's ports from here on are used one after the other.
const FIRST_VISITOR_PORT: u16 = 10_000;

/// Everything there is. Servers go before the namespaces they run in, those before the testbed.
#[derive(Debug)]
pub(super) struct Lab {
    /// The gateway itself.
    pub daemon: Daemon,
    /// The customer with many environments.
    pub blue: Customer,
    /// The customer that could be taken for the other.
    pub green: Customer,
    /// Environments that blue is to have.
    pub environments: usize,
    /// The load balancer's targets.
    pub targets: Vec<Server>,
    /// A server on the internet.
    pub website: Nginx,
    /// Another one, for bulk transfers.
    _iperf3: Iperf3,
    /// A client on the internet.
    pub visitor: Namespace,
    /// The port that the visitor's next request comes from.
    pub visitor_port: u16,
    /// The internet's router, where its servers are too.
    _internet: Namespace,
    bed: Testbed,
}

/// A customer's side.
#[derive(Debug)]
pub(super) struct Customer {
    /// Who.
    pub tenant: Tenant,
    /// Its service.
    pub service: Server,
    /// Its environments, so far.
    pub environments: Vec<Namespace>,
    /// Connections that these have made.
    pub made: Connections,
}

/// Connections of environments, by what they must have passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Connections {
    /// All of them: the bridge.
    pub bridge: u64,
    /// Those to the internet: the NAT gateway as well.
    pub nat: u64,
}

/// An nginx and where it runs.
#[derive(Debug)]
pub(super) struct Server {
    /// nginx.
    pub nginx: Nginx,
    /// Its namespace.
    pub namespace: Namespace,
    /// Requests to the load balancer that it has answered.
    pub answered: u64,
    /// Connections that were refused because nobody listened any more.
    pub refused: u64,
}

impl Lab {
    /// Lays out everything but the environments, and starts servers and gateway.
    pub(super) fn lay_out(
        bed: Testbed,
        datapath: DatapathChoice,
        environments: usize,
    ) -> Result<Self, Error> {
        let gateway = bed.namespace("gateway")?;
        let (internet, website, iperf3) = internet(&bed, &gateway)?;
        let visitor = visitor(&bed, &internet)?;
        let customer = |tenant: Tenant| -> Result<Customer, Error> {
            let port = tenant.service_port();
            let service = server(&bed, &gateway, &port, plan::SERVICE, tenant.name)?;
            Ok(Customer { tenant, service, environments: Vec::new(), made: Connections::default() })
        };
        let (blue, green) = (customer(BLUE)?, customer(GREEN)?);
        let targets = plan::TARGETS.iter().enumerate().map(|(number, address)| {
            let (port, name) = (plan::target_port(number), plan::target_name(number));
            server(&bed, &gateway, &port, *address, &name)
        });
        let targets = targets.collect::<Result<_, _>>()?;
        let daemon = Daemon::start(&bed, gateway, datapath, &plan::resource_document())?;
        Ok(Self {
            daemon,
            blue,
            green,
            environments,
            targets,
            website,
            _iperf3: iperf3,
            visitor,
            visitor_port: FIRST_VISITOR_PORT,
            _internet: internet,
            bed,
        })
    }

    /// Makes environments up to `count` of a customer's, all alike; none is attached yet. Returns
    /// the numbers of the new ones.
    pub(super) fn make_environments(
        &mut self,
        tenant: Tenant,
        count: usize,
        mut done: impl FnMut(),
    ) -> Result<std::ops::Range<usize>, Error> {
        let there = self.customer(tenant).environments.len();
        let names = (there..count).map(|number| tenant.environment(number));
        let made = self.bed.namespaces(names)?;
        let ports: Vec<_> = (there..count).map(|number| tenant.environment(number)).collect();
        let ends = ports.iter().zip(&made);
        let veths: Vec<(End<'_>, End<'_>)> = ends
            .map(|(port, environment)| {
                ((&self.daemon.namespace, port.as_str()), (environment, "eth0"))
            })
            .collect();
        self.bed.veths(&veths)?;
        for environment in &made {
            environment.ip([
                format!("link set eth0 address {}", plan::ENVIRONMENT_MAC),
                format!("address add {}/30 dev eth0", plan::ENVIRONMENT),
                format!("route add default via {}", plan::ENVIRONMENT_GATEWAY),
            ])?;
            done();
        }
        self.customer_mut(tenant).environments.extend(made);
        Ok(there..count)
    }

    /// A customer's side.
    pub(super) fn customer(&self, tenant: Tenant) -> &Customer {
        if tenant == BLUE { &self.blue } else { &self.green }
    }

    /// The same, to change it.
    pub(super) fn customer_mut(&mut self, tenant: Tenant) -> &mut Customer {
        if tenant == BLUE { &mut self.blue } else { &mut self.green }
    }
}

impl stage::Lab for Lab {
    const NEEDS: &'static [Requirement] = &[
        Requirement::Root,
        Requirement::Program("ip"),
        Requirement::Program("ss"),
        Requirement::Program("curl"),
        Requirement::Program("nginx"),
        Requirement::Program("iperf3"),
    ];

    const OPENING: &'static str = "A gateway between two customers and the internet";

    fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    fn prefix(&self) -> &str {
        self.bed.prefix()
    }

    fn commands(&self) -> Vec<String> {
        let environment = self.blue.environments.first().map_or("", |it| it.name());
        vec![
            self.daemon.command_line("env list"),
            format!("ip netns exec {environment} curl http://{}/", plan::SERVICE),
        ]
    }
}

/// The internet's router with its servers.
fn internet(bed: &Testbed, gateway: &Namespace) -> Result<(Namespace, Nginx, Iperf3), Error> {
    let internet = bed.namespace("internet")?;
    bed.veth((gateway, plan::UPLINK_PORT), (&internet, "eth0"))?;
    internet.ip([
        format!("address add {}/24 dev eth0", plan::ROUTER),
        format!("address add {}/32 dev lo", plan::WEBSITE),
    ])?;
    internet.sysctl([("net.ipv4.ip_forward", "1")])?;
    let website = Nginx::start(&internet, &[plan::http(plan::WEBSITE)], &body("website"))?;
    let iperf3 = Iperf3::start(&internet, IPERF3)?;
    Ok((internet, website, iperf3))
}

fn visitor(bed: &Testbed, internet: &Namespace) -> Result<Namespace, Error> {
    let visitor = bed.namespace("visitor")?;
    bed.veth((internet, "visitor"), (&visitor, "eth0"))?;
    internet.ip([format!("address add {}/24 dev visitor", plan::VISITOR_ROUTER)])?;
    visitor.ip([
        format!("address add {}/24 dev eth0", plan::VISITOR),
        format!("route add default via {}", plan::VISITOR_ROUTER),
    ])?;
    Ok(visitor)
}

/// An instance in a VPC with nginx on it. Its default gateway is the subnet's router.
fn server(
    bed: &Testbed,
    gateway: &Namespace,
    port: &str,
    address: Ipv4Addr,
    name: &str,
) -> Result<Server, Error> {
    let namespace = bed.namespace(port)?;
    bed.veth((gateway, port), (&namespace, "eth0"))?;
    let [a, b, c, _] = address.octets();
    namespace.ip([
        format!("address add {address}/24 dev eth0"),
        format!("route add default via {a}.{b}.{c}.1"),
    ])?;
    let nginx = Nginx::start(&namespace, &[plan::http(address)], &body(name))?;
    Ok(Server { nginx, namespace, answered: 0, refused: 0 })
}
