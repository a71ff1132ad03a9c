//! VPCs and subnets: sizes, containment, overlaps, and which route table a subnet uses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

use super::ids::Ids;
use super::{InvalidKind, Path, Problems};
use crate::vpc::document::{self, Document};
use crate::vpc::hash::Map;
use crate::vpc::model::{RouteTableIx, Subnet, SubnetIx, Vpc, VpcIx, is_global_unicast};

/// EC2: "The allowed block size is between a /16 netmask and /28 netmask", for VPCs and subnets.
const IPV4_SIZES: (u8, u8) = (16, 28);

/// Wider than EC2, which has /44 to /60 for VPCs and /44 to /64 for subnets, in steps of four. The
/// last reserved address needs the low bits of a /64 at most; longer prefixes break SLAAC.
const IPV6_SIZES: (u8, u8) = (16, 64);

/// The VPCs and subnets of a document.
pub(super) struct Network {
    pub(super) vpcs: Vec<Option<Vpc>>,
    pub(super) subnets: Vec<Option<Subnet>>,
}

impl Network {
    pub(super) fn resolve(document: &Document, ids: &Ids<'_>, problems: &mut Problems) -> Self {
        let vpcs = document
            .vpc
            .iter()
            .enumerate()
            .map(|(place, vpc)| resolve_vpc(&Path::of("vpc", place), vpc, problems))
            .collect();
        let mut network = Self { vpcs, subnets: Vec::new() };
        let main_tables = main_tables(document, ids, problems);
        for (place, subnet) in document.subnet.iter().enumerate() {
            let path = Path::of("subnet", place);
            let resolved =
                network.resolve_subnet(&path, subnet, document, ids, &main_tables, problems);
            network.subnets.push(resolved);
        }
        network.check_overlaps(problems);
        network
    }

    pub(super) fn vpc(&self, ix: VpcIx) -> Option<&Vpc> {
        self.vpcs.get(ix.place())?.as_ref()
    }

    pub(super) fn subnet(&self, ix: SubnetIx) -> Option<&Subnet> {
        self.subnets.get(ix.place())?.as_ref()
    }

    /// The table of a VPC's subnets that have none comes behind the document's own, one a VPC.
    pub(super) fn local_table(document: &Document, vpc: VpcIx) -> RouteTableIx {
        RouteTableIx::at(document.route_table.len() + vpc.place())
    }

    fn resolve_subnet(
        &self,
        path: &Path,
        subnet: &document::Subnet,
        document: &Document,
        ids: &Ids<'_>,
        main_tables: &Map<VpcIx, RouteTableIx>,
        problems: &mut Problems,
    ) -> Option<Subnet> {
        let before = problems.0.len();
        let cidr = IpNet::V4(subnet.cidr_block);
        check_block(path.key("cidr_block"), SUBNET, cidr, problems);
        if let Some(cidr) = subnet.ipv6_cidr_block {
            check_block(path.key("ipv6_cidr_block"), SUBNET, IpNet::V6(cidr), problems);
        }
        let zone = &subnet.availability_zone;
        problems.check_word(|| path.key("availability_zone"), "zone", zone);
        let vpc_place = ids.vpcs.find(&subnet.vpc_id, || path.key("vpc_id"), problems)?;
        let vpc = VpcIx::at(vpc_place);
        let route_table = match &subnet.route_table_id {
            None => {
                main_tables.get(&vpc).copied().unwrap_or_else(|| Self::local_table(document, vpc))
            }
            Some(id) => {
                let at = || path.key("route_table_id");
                let place = ids.route_tables.find(id, at, problems)?;
                let found = &document.route_table[place].vpc_id;
                if *found != subnet.vpc_id {
                    problems.add(at(), InvalidKind::other_vpc(id, found, &subnet.vpc_id));
                }
                RouteTableIx::at(place)
            }
        };

        let owner = self.vpc(vpc)?;
        let outside = |subnet: IpNet, block: IpNet| InvalidKind::SubnetOutsideVpc {
            subnet,
            block,
            vpc: owner.id.clone(),
        };
        if !owner.cidr.contains(&subnet.cidr_block) {
            problems.add(path.key("cidr_block"), outside(cidr, IpNet::V4(owner.cidr)));
        }
        match (subnet.ipv6_cidr_block, owner.ipv6_cidr) {
            (Some(cidr), Some(block)) if !block.contains(&cidr) => {
                let kind = outside(IpNet::V6(cidr), IpNet::V6(block));
                problems.add(path.key("ipv6_cidr_block"), kind);
            }
            (Some(_), None) => problems.add(
                path.key("ipv6_cidr_block"),
                InvalidKind::NoIpv6Block { noun: "VPC", id: owner.id.to_string() },
            ),
            _ => {}
        }
        (problems.0.len() == before).then(|| Subnet {
            id: subnet.subnet_id.clone(),
            vpc,
            cidr: subnet.cidr_block,
            ipv6_cidr: subnet.ipv6_cidr_block,
            route_table,
            port: subnet.port.clone(),
            availability_zone: zone.as_str().into(),
        })
    }

    /// Reports subnets that overlap another of the same VPC.
    fn check_overlaps(&self, problems: &mut Problems) {
        let subnets = self.subnets.iter().enumerate();
        let blocks = subnets.filter_map(|(place, subnet)| Some((place, subnet.as_ref()?)));
        let blocks = blocks.flat_map(|(place, subnet)| {
            subnet.blocks().map(move |block| (subnet.vpc, block, place))
        });
        for Overlap { block, place, other_block, other_place } in overlaps(blocks.collect()) {
            let Some(other) = &self.subnets[other_place] else { continue };
            let other = other.id.clone();
            let key = if block.addr().is_ipv4() { "cidr_block" } else { "ipv6_cidr_block" };
            problems.add(
                Path::of("subnet", place).key(key),
                InvalidKind::SubnetConflict { block, other, other_block },
            );
        }
    }
}

/// Two networks that share addresses. The first pair of fields is the one later in the document.
pub(super) struct Overlap {
    pub(super) block: IpNet,
    pub(super) place: usize,
    pub(super) other_block: IpNet,
    pub(super) other_place: usize,
}

/// Every network that is inside another of the same space, with the smallest such one. They come
/// as space, network, place in the document.
pub(super) fn overlaps<S: Ord + Copy>(mut networks: Vec<(S, IpNet, usize)>) -> Vec<Overlap> {
    // Two networks overlap only if one contains the other, and in this order whatever a network
    // contains comes right behind it: the ones that are still open form a stack.
    networks.sort_unstable();
    let mut open: Vec<(S, IpNet, usize)> = Vec::new();
    let mut found = Vec::new();
    for inner in networks {
        while open.pop_if(|outer| outer.0 != inner.0 || !outer.1.contains(&inner.1)).is_some() {}
        if let Some(&outer) = open.last() {
            let (later, earlier) = if inner.2 > outer.2 { (inner, outer) } else { (outer, inner) };
            found.push(Overlap {
                block: later.1,
                place: later.2,
                other_block: earlier.1,
                other_place: earlier.2,
            });
        }
        open.push(inner);
    }
    found
}

/// The main table of every VPC that has one; a second one is a problem.
fn main_tables(
    document: &Document,
    ids: &Ids<'_>,
    problems: &mut Problems,
) -> Map<VpcIx, RouteTableIx> {
    let mut tables: Map<VpcIx, RouteTableIx> = Map::default();
    for (place, table) in document.route_table.iter().enumerate().filter(|(_, it)| it.main) {
        // That the VPC of a table exists is checked with its routes.
        let Some(vpc) = ids.vpcs.get(&table.vpc_id) else { continue };
        let first = *tables.entry(VpcIx::at(vpc)).or_insert(RouteTableIx::at(place));
        if first.place() != place {
            problems.add(
                Path::of("route_table", place).key("main"),
                InvalidKind::SecondMainTable {
                    vpc: table.vpc_id.clone(),
                    other: Path::of("route_table", first.place()),
                },
            );
        }
    }
    tables
}

fn resolve_vpc(path: &Path, vpc: &document::Vpc, problems: &mut Problems) -> Option<Vpc> {
    let before = problems.0.len();
    check_block(path.key("cidr_block"), VPC, IpNet::V4(vpc.cidr_block), problems);
    if let Some(cidr) = vpc.ipv6_cidr_block {
        check_block(path.key("ipv6_cidr_block"), VPC, IpNet::V6(cidr), problems);
    }
    problems.check_word(|| path.key("owner_id"), "account", &vpc.owner_id);
    (problems.0.len() == before).then(|| Vpc {
        id: vpc.vpc_id.clone(),
        cidr: vpc.cidr_block,
        ipv6_cidr: vpc.ipv6_cidr_block,
        owner_id: vpc.owner_id.as_str().into(),
        uplink: None,
    })
}

/// What a block is of, and the code EC2 has for one of a wrong size.
type BlockOf = (&'static str, &'static str);
const VPC: BlockOf = ("VPC", "InvalidVpc.Range");
const SUBNET: BlockOf = ("subnet", "InvalidSubnet.Range");

fn check_block(path: Path, (noun, code): BlockOf, found: IpNet, problems: &mut Problems) {
    let (min, max) = if found.addr().is_ipv4() { IPV4_SIZES } else { IPV6_SIZES };
    let usable = match found {
        IpNet::V4(block) => is_host_v4(block.network()) && is_host_v4(block.broadcast()),
        IpNet::V6(block) => is_unicast_block_v6(&block),
    };
    if !(min..=max).contains(&found.prefix_len()) {
        problems.add(path, InvalidKind::PrefixLength { noun, found, min, max, code });
    } else if found.trunc() != found {
        problems.add(path, InvalidKind::HostBits { found });
    } else if !usable {
        problems.add(path, InvalidKind::NotForHosts { found });
    }
}

/// Whether a host may have `address`, as far as the address itself tells.
pub(super) fn is_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_host_v4(address),
        IpAddr::V6(address) => is_host_v6(address),
    }
}

fn is_host_v4(address: Ipv4Addr) -> bool {
    // 0/8 is "this network" and 240/4 reserved (RFC 6890).
    let first = address.octets()[0];
    first != 0 && first < 224 && !address.is_loopback() && !address.is_link_local()
}

fn is_host_v6(address: Ipv6Addr) -> bool {
    is_global_unicast(address) || address.is_unique_local()
}

fn is_unicast_block_v6(block: &Ipv6Net) -> bool {
    is_host_v6(block.network()) && is_host_v6(block.broadcast())
}
