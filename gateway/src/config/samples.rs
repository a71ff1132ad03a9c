//! The samples in `configs/`: each loads as a user would load it, and says what it says it does.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use nf_core::id::Generation;
use nf_core::vpc::document::Quotas;
use nf_core::vpc::{PortRole, RouteTarget, Snapshot, SubnetIx};

use super::node::{FlowCapacity, HookChoice};
use super::{Flags, NodeConfig, ResourceFile};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs")
}

/// The configuration and snapshot of a sample. Neither errors nor warnings are accepted.
fn sample(name: &str) -> (NodeConfig, Snapshot) {
    let file = directory().join(name).join("gateway.toml");
    let loaded = NodeConfig::load(&file, [], &Flags::default())
        .unwrap_or_else(|errors| panic!("{errors:#?}"));
    let resources =
        ResourceFile::read(&loaded.config.resources).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let snapshot = resources.snapshot(Generation(1)).unwrap_or_else(|errors| panic!("{errors:#?}"));
    assert_eq!(resources.warnings(&snapshot), []);
    (loaded.config, snapshot)
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn segment(snapshot: &Snapshot, port: &str) -> SubnetIx {
    match snapshot.port_role(port) {
        Some(PortRole::Segment(subnet)) => subnet,
        other => panic!("{port} is {other:?}"),
    }
}

/// The Elastic IP address that packets from a segment to `destination` leave with, through a NAT
/// gateway.
fn leaves_as(snapshot: &Snapshot, port: &str, destination: &str) -> Option<IpAddr> {
    let destination = ip(destination);
    let Some(RouteTarget::Eni(eni)) = snapshot.route(segment(snapshot, port), destination) else {
        return None;
    };
    let (_, gateway) = snapshot.nat_gateways().find(|(_, gateway)| gateway.eni == eni)?;
    let out = snapshot.route(gateway.subnet, destination);
    assert!(matches!(out, Some(RouteTarget::InternetGateway(_))), "{out:?}");
    let mut addresses = gateway.addresses.iter();
    addresses.find(|it| it.private_ip.is_ipv4() == destination.is_ipv4())?.public_ip
}

#[test]
fn every_sample_is_tested_here() {
    let mut names: Vec<_> = std::fs::read_dir(directory())
        .expect("the samples are in the repository")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "lambda-bridge",
            "load-balancer",
            "network-interfaces",
            "os-bypass",
            "two-interface",
            "two-tenants",
        ]
    );
}

#[test]
fn the_two_interface_sample_leads_the_lan_out_by_its_elastic_ip_addresses() {
    let (config, snapshot) = sample("two-interface");
    let mut defaults = NodeConfig::default();
    defaults.resources.clone_from(&config.resources);
    assert_eq!(config, defaults, "the sample shows the defaults");

    let lan = snapshot.subnet(segment(&snapshot, "lan0"));
    assert_eq!(lan.router_v4().to_string(), "10.0.1.1");
    assert_eq!(lan.router_v6().map(|it| it.to_string()).as_deref(), Some("fd00:10:0:1::1"));
    assert_eq!(leaves_as(&snapshot, "lan0", "8.8.8.8"), Some(ip("203.0.113.10")));
    assert_eq!(leaves_as(&snapshot, "lan0", "2001:4860::8888"), Some(ip("2001:db8:1::10")));
    assert_eq!(snapshot.own_addresses().count(), 2);
    let Some(PortRole::Uplink(uplink)) = snapshot.port_role("wan0") else { panic!("no uplink") };
    assert_eq!(snapshot.uplink(uplink).next_hop(ip("8.8.8.8")), Some(ip("203.0.113.1")));
}

#[test]
fn the_load_balancer_sample_leads_from_its_public_address_to_three_targets() {
    let (_, snapshot) = sample("load-balancer");
    let (_, balancer) = snapshot.load_balancers().next().expect("one load balancer");
    let (eni, private) = snapshot.public_address(ip("203.0.113.80")).expect("associated");
    assert_eq!(balancer.nodes[0].eni, eni);
    assert_eq!(private, ip("10.0.0.5"), "the first free address after the NAT gateway's");
    let listener = balancer.listener(nf_core::tuple::Protocol::Tcp, 80).expect("TCP port 80");
    let targets = &snapshot.target_group(listener.target_group).targets;
    let targets: Vec<_> = targets.iter().map(|it| (it.ip, it.port, it.weight)).collect();
    assert_eq!(
        targets,
        [(ip("10.0.1.10"), 8080, 1), (ip("10.0.1.11"), 8080, 2), (ip("10.0.1.12"), 8081, 1),]
    );
    assert_eq!(leaves_as(&snapshot, "web0", "8.8.8.8"), Some(ip("203.0.113.81")));
}

#[test]
fn the_lambda_bridge_sample_has_one_managed_interface_and_a_way_out() {
    let (config, snapshot) = sample("lambda-bridge");
    assert_eq!(FlowCapacity::try_from(2_000_000), Ok(config.flows));
    let bridge = snapshot.bridge(snapshot.bridge_by_id("bridge-orders").expect("declared"));
    let eni = snapshot.eni(bridge.eni);
    assert_eq!(eni.addresses().collect::<Vec<_>>(), [ip("10.0.1.100"), ip("fd00:c:0:1::100")]);
    assert_eq!(eni.source_addresses().filter(IpAddr::is_ipv4).count(), 17);
    let nat = snapshot.nat_gateways().next().expect("one NAT gateway").1.eni;
    assert_eq!(snapshot.route(bridge.subnet, ip("8.8.8.8")), Some(RouteTarget::Eni(nat)));
    assert_eq!(snapshot.route(bridge.subnet, ip("10.0.1.50")), Some(RouteTarget::Local));
    let database = snapshot.eni_at(bridge.vpc, ip("10.0.1.50")).expect("declared");
    assert_eq!(snapshot.port_role("db0"), Some(PortRole::Eni(database)));
    for eni in [bridge.eni, database] {
        assert_eq!(snapshot.flow_logs_of(eni).len(), 1);
    }
    assert!(snapshot.flow_logs_of(nat).is_empty());
}

#[test]
fn the_os_bypass_sample_gives_the_kernel_and_the_application_an_interface_each() {
    let (_, snapshot) = sample("os-bypass");
    let interface = |port: &str| match snapshot.port_role(port) {
        Some(PortRole::Eni(eni)) => snapshot.eni(eni),
        other => panic!("{port} is {other:?}"),
    };
    let (kernel, application) = (interface("app0"), interface("app1"));
    assert_eq!(kernel.addresses().collect::<Vec<_>>(), [ip("10.0.1.20"), ip("fd00:10:0:1::20")]);
    assert_eq!(
        application.addresses().collect::<Vec<_>>(),
        [ip("10.0.1.21"), ip("fd00:10:0:1::21")]
    );
    assert!(application.source_dest_check, "as any other");
    let client = interface("client0").subnet;
    assert_eq!(snapshot.route(client, ip("10.0.1.21")), Some(RouteTarget::Local));
}

#[test]
fn the_two_tenants_sample_tells_equal_addresses_apart() {
    let (config, snapshot) = sample("two-tenants");
    assert_eq!(config.hook_of("wan0"), HookChoice::Xdp);
    assert_eq!(config.hook_of("red0"), HookChoice::Tc);
    let (red, blue) = (segment(&snapshot, "red0"), segment(&snapshot, "blue0"));
    let (red, blue) = (snapshot.subnet(red), snapshot.subnet(blue));
    assert_eq!((red.cidr, red.ipv6_cidr), (blue.cidr, blue.ipv6_cidr));
    assert_ne!(red.vpc, blue.vpc);
    assert_eq!(leaves_as(&snapshot, "red0", "8.8.8.8"), Some(ip("203.0.113.11")));
    assert_eq!(leaves_as(&snapshot, "blue0", "8.8.8.8"), Some(ip("203.0.113.12")));
    assert_eq!(leaves_as(&snapshot, "blue0", "2001:4860::8888"), Some(ip("2001:db8:1::12")));
    let (server, _) = snapshot.public_address(ip("203.0.113.13")).expect("associated");
    assert_eq!(snapshot.port_role("blue1"), Some(PortRole::Eni(server)));
}

#[test]
fn the_network_interfaces_sample_has_an_interface_that_moves_between_two_instances() {
    let (_, snapshot) = sample("network-interfaces");
    let ports = ["web0", "web1", "standby0"].map(|port| match snapshot.port_role(port) {
        Some(PortRole::Eni(eni)) => snapshot.eni(eni).id.to_string(),
        other => panic!("{port} is {other:?}"),
    });
    assert_eq!(ports, ["eni-web", "eni-service", "eni-standby"]);
    assert!(matches!(snapshot.port_role("standby1"), Some(PortRole::Vacant(_))));
    let (service, private) = snapshot.public_address(ip("203.0.113.100")).expect("associated");
    assert_eq!(snapshot.eni(service).id.to_string(), "eni-service");
    assert_eq!(private, ip("10.0.1.100"));
    let (standby, private) = snapshot.public_address(ip("203.0.113.101")).expect("the subnet's");
    assert_eq!(snapshot.eni(standby).id.to_string(), "eni-standby");
    assert_eq!(private, ip("10.0.1.11"));
    let (vpc, _) = snapshot.vpcs().next().expect("one VPC");
    let web = snapshot.eni_at(vpc, ip("10.0.1.10"));
    assert_eq!(snapshot.eni_at(vpc, ip("10.0.1.47")), web, "the last address of its prefix");
    assert_eq!(snapshot.eni_at(vpc, ip("fd00:d:0:1:7::1")), web);
}

#[test]
fn the_network_interfaces_sample_shows_ec2s_quotas() {
    let file = ResourceFile::read(&directory().join("network-interfaces/resources.toml"))
        .unwrap_or_else(|errors| panic!("{errors:#?}"));
    assert_eq!(file.document().quotas, Quotas::default());
}
