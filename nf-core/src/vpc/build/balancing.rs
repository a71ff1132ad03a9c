//! Load balancers and their target groups, once the nodes' interfaces have their addresses.

use std::net::IpAddr;
use std::time::Duration;

use super::ids::Ids;
use super::interface::Interfaces;
use super::network::Network;
use super::{InvalidKind, Path, Problems};
use crate::vpc::document::{self, Document, HealthCheckPort, Transport};
use crate::vpc::hash::Map;
use crate::vpc::model::{
    HealthCheck, InterfaceType, Listener, LoadBalancer, LoadBalancerNode, SubnetIx, Target,
    TargetGroup, TargetGroupIx, Vpc, VpcIx,
};

/// `ELBv2`'s quota of listeners a load balancer, which cannot be raised.
const MAX_LISTENERS: usize = 50;

/// `ELBv2`: fixed.
const UDP_IDLE: Duration = Duration::from_mins(2);

/// `ELBv2`: the default and the range of `tcp.idle_timeout.seconds`.
const TCP_IDLE_SECONDS: u32 = 350;
const TCP_IDLE_RANGE: (u32, u32) = (60, 6000);

/// `ELBv2`: the default time-out of a TCP health check.
const PROBE_TIMEOUT_SECONDS: u32 = 10;

/// The largest weight of a target, the same as `ELBv2` has for target groups.
const MAX_WEIGHT: u32 = 999;

/// The target groups of a document.
pub(super) fn target_groups(
    document: &Document,
    ids: &Ids<'_>,
    network: &Network,
    interfaces: &Interfaces,
    problems: &mut Problems,
) -> Vec<Option<TargetGroup>> {
    document
        .target_group
        .iter()
        .enumerate()
        .map(|(place, group)| {
            let path = Path::of("target_group", place);
            let health_check =
                health_check(&path.key("health_check"), &group.health_check, problems);
            let vpc = ids.vpcs.find(&group.vpc_id, || path.key("vpc_id"), problems)?;
            let vpc = VpcIx::at(vpc);
            let owner = network.vpc(vpc)?;
            Some(TargetGroup {
                name: group.target_group_name.clone(),
                vpc,
                protocol: group.protocol.into(),
                health_check,
                targets: targets(&path, group, (vpc, owner), interfaces, problems),
            })
        })
        .collect()
}

fn health_check(
    path: &Path,
    check: &document::HealthCheck,
    problems: &mut Problems,
) -> HealthCheck {
    let interval = check.interval_seconds;
    let timeout = check.timeout_seconds.unwrap_or(PROBE_TIMEOUT_SECONDS.min(interval));
    problems.check_range(|| path.key("interval_seconds"), interval, 1, 300);
    if check.timeout_seconds.is_some() {
        let longest = interval.clamp(1, 120);
        problems.check_range(|| path.key("timeout_seconds"), timeout, 1, longest);
    }
    let (healthy, unhealthy) = (check.healthy_threshold_count, check.unhealthy_threshold_count);
    problems.check_range(|| path.key("healthy_threshold_count"), healthy, 2, 10);
    problems.check_range(|| path.key("unhealthy_threshold_count"), unhealthy, 2, 10);
    HealthCheck {
        port: match check.port {
            HealthCheckPort::Traffic => None,
            HealthCheckPort::Port(port) => Some(port),
        },
        interval: Duration::from_secs(interval.into()),
        timeout: Duration::from_secs(timeout.into()),
        healthy_threshold: healthy,
        unhealthy_threshold: unhealthy,
    }
}

fn targets(
    path: &Path,
    group: &document::TargetGroup,
    (vpc_ix, vpc): (VpcIx, &Vpc),
    interfaces: &Interfaces,
    problems: &mut Problems,
) -> Vec<Target> {
    let all = path.key("target");
    let mut seen: Map<(IpAddr, u16), usize> = Map::default();
    let mut targets = Vec::with_capacity(group.target.len());
    for (place, target) in group.target.iter().enumerate() {
        let path = all.index(place);
        let (address, port) = (target.id, target.port.unwrap_or(group.port).get());
        problems.check_range(|| path.key("weight"), target.weight, 0, MAX_WEIGHT);
        let first = *seen.entry((address, port)).or_insert(place);
        let node = interfaces
            .at(vpc_ix, address)
            .filter(|eni| eni.interface_type == InterfaceType::NetworkLoadBalancer);
        let kind = if first != place {
            InvalidKind::DuplicateTarget { address, port, other: all.index(first) }
        } else if let Some(node) = node {
            InvalidKind::LoadBalancerAsTarget { address, eni: node.id.clone() }
        } else if !vpc.contains(address) && !is_private(address) {
            InvalidKind::PublicTarget { address, vpc: vpc.id.clone() }
        } else {
            targets.push(Target { ip: address, port, weight: target.weight });
            continue;
        };
        problems.add(path.key("id"), kind);
    }
    targets
}

/// `ELBv2`'s list of what may be a target outside the VPC: 10/8, 100.64/10, 172.16/12, 192.168/16;
/// for IPv6 the unique local addresses are the same thing.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            address.is_private() || (first == 100 && second & 0xc0 == 64)
        }
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

/// The load balancers of a document.
pub(super) fn load_balancers(
    document: &Document,
    ids: &Ids<'_>,
    network: &Network,
    interfaces: &Interfaces,
    problems: &mut Problems,
) -> Vec<Option<LoadBalancer>> {
    document
        .load_balancer
        .iter()
        .enumerate()
        .map(|(place, load_balancer)| {
            let path = Path::of("load_balancer", place);
            let mappings = &load_balancer.subnet_mapping;
            let placed = check_mappings(&path, mappings, ids, network, problems);
            let wanted = placed.map(|vpc| &document.vpc[vpc.place()]);
            let listeners = listeners(&path, load_balancer, wanted, document, ids, problems);
            let nodes = interfaces.of_load_balancers[place].iter().flatten();
            Some(LoadBalancer {
                name: load_balancer.load_balancer_name.clone(),
                scheme: load_balancer.scheme,
                vpc: placed?,
                nodes: nodes
                    .filter_map(|&eni| {
                        Some(LoadBalancerNode { eni, subnet: interfaces.get(eni)?.subnet })
                    })
                    .collect(),
                listeners,
            })
        })
        .collect()
}

/// Checks that the nodes are in different subnets of one VPC, and says which.
fn check_mappings(
    path: &Path,
    mappings: &[document::SubnetMapping],
    ids: &Ids<'_>,
    network: &Network,
    problems: &mut Problems,
) -> Option<VpcIx> {
    let path = path.key("subnet_mapping");
    if mappings.is_empty() {
        problems.add(path.clone(), InvalidKind::NoSubnetMapping);
    }
    let mut seen: Map<SubnetIx, usize> = Map::default();
    let mut vpc: Option<VpcIx> = None;
    for (place, mapping) in mappings.iter().enumerate() {
        // A subnet that does not exist was reported with the node's interface.
        let Some(subnet_ix) = ids.subnets.get(&mapping.subnet_id).map(SubnetIx::at) else {
            continue;
        };
        let Some(subnet) = network.subnet(subnet_ix) else { continue };
        let at = || path.index(place).key("subnet_id");
        let first = *seen.entry(subnet_ix).or_insert(place);
        let wanted = *vpc.get_or_insert(subnet.vpc);
        if first != place {
            let (subnet, other) = (subnet.id.clone(), path.index(first));
            problems.add(at(), InvalidKind::SecondNode { subnet, other });
        } else if wanted != subnet.vpc
            && let Some((found, wanted)) = network.vpc(subnet.vpc).zip(network.vpc(wanted))
        {
            problems.add(at(), InvalidKind::other_vpc(&subnet.id, &found.id, &wanted.id));
        }
    }
    vpc
}

fn listeners(
    path: &Path,
    load_balancer: &document::LoadBalancer,
    vpc: Option<&document::Vpc>,
    document: &Document,
    ids: &Ids<'_>,
    problems: &mut Problems,
) -> Vec<Listener> {
    let path = path.key("listener");
    let found = load_balancer.listener.len();
    if found > MAX_LISTENERS {
        let max = MAX_LISTENERS;
        problems.add(path.clone(), InvalidKind::TooManyListeners { found, max });
    }
    let mut seen: Map<(Transport, u16), usize> = Map::default();
    let mut listeners = Vec::with_capacity(found);
    for (place, listener) in load_balancer.listener.iter().enumerate() {
        let path_here = path.index(place);
        let (protocol, port) = (listener.protocol, listener.port.get());
        let first = *seen.entry((protocol, port)).or_insert(place);
        if first != place {
            let other = path.index(first);
            let kind = InvalidKind::DuplicateListener { protocol, port, other };
            problems.add(path_here.key("port"), kind);
        }
        let idle_timeout = idle_timeout(&path_here, listener, problems);
        let name = &listener.target_group_name;
        let at = || path_here.key("target_group_name");
        let Some(group_place) = ids.target_groups.find(name, at, problems) else { continue };
        let group = &document.target_group[group_place];
        if group.protocol != protocol {
            let kind = InvalidKind::ProtocolMismatch {
                target_group: name.to_string(),
                found: group.protocol,
                wanted: protocol,
            };
            problems.add(at(), kind);
        }
        if let Some(wanted) = vpc.map(|vpc| &vpc.vpc_id)
            && *wanted != group.vpc_id
        {
            problems.add(at(), InvalidKind::other_vpc(name, &group.vpc_id, wanted));
        }
        listeners.push(Listener {
            protocol: protocol.into(),
            port,
            target_group: TargetGroupIx::at(group_place),
            idle_timeout,
        });
    }
    listeners
}

fn idle_timeout(path: &Path, listener: &document::Listener, problems: &mut Problems) -> Duration {
    let at = || path.key("tcp_idle_timeout_seconds");
    match (listener.protocol, listener.tcp_idle_timeout_seconds) {
        (Transport::Udp, None) => UDP_IDLE,
        (Transport::Udp, Some(_)) => {
            problems.add(at(), InvalidKind::TcpOnly);
            UDP_IDLE
        }
        (Transport::Tcp, written) => {
            let seconds = written.unwrap_or(TCP_IDLE_SECONDS);
            problems.check_range(at, seconds, TCP_IDLE_RANGE.0, TCP_IDLE_RANGE.1);
            Duration::from_secs(seconds.into())
        }
    }
}
