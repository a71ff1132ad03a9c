//! Route tables: one destination and one target a route, no two routes for a destination, and the
//! rules for routes inside the VPC.

use ipnet::IpNet;

use super::ids::Ids;
use super::interface::Interfaces;
use super::network::Network;
use super::{InvalidKind, Path, Problems};
use crate::vpc::document::{self, Document};
use crate::vpc::hash::Map;
use crate::vpc::id::{EniId, InternetGatewayId, NatGatewayId, ResourceId, RouteTableId};
use crate::vpc::lpm::Lpm;
use crate::vpc::model::{EniIx, Route, RouteTable, RouteTarget, Vpc, VpcIx};

/// The tables of a document, then one of local routes for every VPC (see
/// [`Network::local_table`]).
pub(super) fn resolve(
    document: &Document,
    ids: &Ids<'_>,
    network: &Network,
    interfaces: &Interfaces,
    problems: &mut Problems,
    warnings: &mut Problems,
) -> Vec<Option<RouteTable>> {
    let mut stage = Stage { document, ids, network, interfaces, problems, warnings };
    let mut tables: Vec<_> = document
        .route_table
        .iter()
        .enumerate()
        .map(|(place, table)| stage.table(&Path::of("route_table", place), table))
        .collect();
    let vpcs = network.vpcs.iter().enumerate();
    tables.extend(vpcs.map(|(place, vpc)| {
        let routes = local_routes(vpc.as_ref()?);
        Some(finished(None, VpcIx::at(place), routes))
    }));
    tables
}

fn local_routes(vpc: &Vpc) -> Vec<Route> {
    vpc.blocks().map(|destination| Route { destination, target: RouteTarget::Local }).collect()
}

fn finished(id: Option<RouteTableId>, vpc: VpcIx, routes: Vec<Route>) -> RouteTable {
    let by_prefix: Lpm<_> = routes.iter().map(|it| (it.destination, it.target)).collect();
    RouteTable { id, vpc, routes, by_prefix }
}

struct Stage<'a, 'd> {
    document: &'d Document,
    ids: &'a Ids<'d>,
    network: &'a Network,
    interfaces: &'a Interfaces,
    problems: &'a mut Problems,
    warnings: &'a mut Problems,
}

impl Stage<'_, '_> {
    fn table(&mut self, path: &Path, table: &document::RouteTable) -> Option<RouteTable> {
        let place = self.ids.vpcs.find(&table.vpc_id, || path.key("vpc_id"), self.problems)?;
        let vpc = self.network.vpc(VpcIx::at(place))?;
        let mut routes = local_routes(vpc);
        let mut seen: Map<IpNet, usize> = Map::default();
        let all = path.key("route");
        for (position, route) in table.route.iter().enumerate() {
            let path = all.index(position);
            let target = self.one_target(&path, route);
            let Some((key, destination)) = self.destination(&path, route) else { continue };
            let first = *seen.entry(destination).or_insert(position);
            if first != position {
                let other = all.index(first);
                self.problems.add(path.key(key), InvalidKind::RouteExists { destination, other });
                continue;
            }
            let Some(target) = target else { continue };
            if let Some(block) = vpc.blocks().find(|block| block.contains(&destination))
                && !self.may_be_inside(VpcIx::at(place), destination, target)
            {
                let kind = InvalidKind::RouteInsideVpc { destination, block };
                self.problems.add(path.key(key), kind);
            }
            let target = self.target(&path, target, destination, vpc);
            routes.extend(target.map(|target| Route { destination, target }));
        }
        Some(finished(Some(table.route_table_id.clone()), VpcIx::at(place), routes))
    }

    /// The destination and its key.
    fn destination(
        &mut self,
        path: &Path,
        route: &document::Route,
    ) -> Option<(&'static str, IpNet)> {
        const KEYS: [&str; 2] = ["destination_cidr_block", "destination_ipv6_cidr_block"];
        let v4 = route.destination_cidr_block.map(IpNet::V4);
        let v6 = route.destination_ipv6_cidr_block.map(IpNet::V6);
        let (key, destination) = match (v4, v6) {
            (Some(v4), None) => (KEYS[0], v4),
            (None, Some(v6)) => (KEYS[1], v6),
            (v4, v6) => {
                let found = usize::from(v4.is_some()) + usize::from(v6.is_some());
                self.problems.add(path.clone(), InvalidKind::ExactlyOne { keys: &KEYS, found });
                return None;
            }
        };
        if destination.trunc() != destination {
            self.problems.add(path.key(key), InvalidKind::HostBits { found: destination });
            return None;
        }
        Some((key, destination))
    }

    fn one_target<'r>(&mut self, path: &Path, route: &'r document::Route) -> Option<Written<'r>> {
        const KEYS: [&str; 3] = ["gateway_id", "nat_gateway_id", "network_interface_id"];
        let written = [
            route.gateway_id.as_ref().map(Written::InternetGateway),
            route.nat_gateway_id.as_ref().map(Written::NatGateway),
            route.network_interface_id.as_ref().map(Written::Interface),
        ];
        let mut given = written.into_iter().flatten();
        match (given.next(), given.count()) {
            (Some(target), 0) => Some(target),
            (first, others) => {
                let found = usize::from(first.is_some()) + others;
                self.problems.add(path.clone(), InvalidKind::ExactlyOne { keys: &KEYS, found });
                None
            }
        }
    }

    /// EC2: a route more specific than the local one must be for the entire block of a subnet,
    /// and lead to an interface or NAT gateway.
    fn may_be_inside(&self, vpc: VpcIx, destination: IpNet, target: Written<'_>) -> bool {
        let is_block_of_subnet = || {
            self.network.subnets.iter().flatten().any(|subnet| {
                subnet.vpc == vpc && subnet.block_of(destination.addr()) == Some(destination)
            })
        };
        !matches!(target, Written::InternetGateway(_)) && is_block_of_subnet()
    }

    /// Where a route leads. `None`: the target is there but has an error of its own.
    fn target(
        &mut self,
        path: &Path,
        target: Written<'_>,
        destination: IpNet,
        vpc: &Vpc,
    ) -> Option<RouteTarget> {
        match target {
            Written::InternetGateway(id) => {
                let at = path.key("gateway_id");
                let Some(place) = self.ids.internet_gateways.get(id) else {
                    return Some(self.blackhole(at, id, destination));
                };
                let found = &self.document.internet_gateway[place].vpc_id;
                if *found != vpc.id {
                    self.problems.add(at, InvalidKind::other_vpc(id, found, &vpc.id));
                }
                vpc.uplink.map(RouteTarget::InternetGateway)
            }
            Written::NatGateway(id) => {
                let at = path.key("nat_gateway_id");
                let Some(place) = self.ids.nat_gateways.get(id) else {
                    return Some(self.blackhole(at, id, destination));
                };
                self.interface(at, id, self.interfaces.of_nat_gateways[place]?, vpc)
            }
            Written::Interface(id) => {
                let at = path.key("network_interface_id");
                let Some(place) = self.ids.interfaces.get(id) else {
                    return Some(self.blackhole(at, id, destination));
                };
                let eni = EniIx::at(place);
                let target = self.interface(at.clone(), id, eni, vpc)?;
                if !self.is_unreachable(eni) {
                    return Some(target);
                }
                self.warnings.add(at, InvalidKind::DetachedTarget { eni: id.clone(), destination });
                Some(RouteTarget::Blackhole)
            }
        }
    }

    /// Whether packets cannot be delivered to an instance's interface: it is not attached, or its
    /// instance is stopped. EC2 calls a route to it a blackhole too.
    fn is_unreachable(&self, eni: EniIx) -> bool {
        let Some(eni) = self.interfaces.get(eni) else { return false };
        let subnet = self.network.subnet(eni.subnet);
        let on_segment = eni.attachment.is_none() && subnet.is_some_and(|it| it.port.is_some());
        eni.port.is_none() && !on_segment
    }

    fn blackhole<I: ResourceId>(&mut self, path: Path, id: &I, destination: IpNet) -> RouteTarget {
        self.warnings.add(path, InvalidKind::blackhole(id, destination));
        RouteTarget::Blackhole
    }

    fn interface<I: ResourceId>(
        &mut self,
        path: Path,
        id: &I,
        eni: EniIx,
        wanted: &Vpc,
    ) -> Option<RouteTarget> {
        let found = self.network.vpc(self.interfaces.get(eni)?.vpc)?;
        if found.id != wanted.id {
            self.problems.add(path, InvalidKind::other_vpc(id, &found.id, &wanted.id));
        }
        Some(RouteTarget::Eni(eni))
    }
}

/// The target of a route as the document has it.
#[derive(Clone, Copy)]
enum Written<'r> {
    InternetGateway(&'r InternetGatewayId),
    NatGateway(&'r NatGatewayId),
    Interface(&'r EniId),
}
