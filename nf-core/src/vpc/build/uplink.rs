//! Uplinks and the internet gateways that lead VPCs to them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::ids::Ids;
use super::network::{Network, Overlap, is_host, overlaps};
use super::{InvalidKind, Path, Problems};
use crate::vpc::document::{self, Document};
use crate::vpc::hash::Map;
use crate::vpc::model::{Uplink, UplinkIx, VpcIx};

/// The uplinks of a document, and who has which address on the outside.
pub(super) struct Uplinks {
    pub(super) uplinks: Vec<Option<Uplink>>,
    outside: Outside,
}

/// Addresses outside every VPC that are not to be had.
#[derive(Default)]
struct Outside {
    /// The gateway's own, each on one link.
    own: Map<IpAddr, Path>,
    /// Its next hops. Two uplinks may well lead to one neighbour.
    next_hops: Map<IpAddr, Path>,
}

impl Uplinks {
    /// Resolves the uplinks and tells `network` which VPC has which.
    pub(super) fn resolve(
        document: &Document,
        ids: &Ids<'_>,
        network: &mut Network,
        problems: &mut Problems,
    ) -> Self {
        let mut outside = Outside::default();
        let uplinks = document
            .uplink
            .iter()
            .enumerate()
            .map(|(place, uplink)| {
                resolve_uplink(&Path::of("uplink", place), uplink, &mut outside, problems)
            })
            .collect();
        attach_internet_gateways(document, ids, network, problems);
        check_public_blocks(network, problems);
        Self { uplinks, outside }
    }

    /// Who has an outside address: an uplink itself, or a neighbour that it sends to.
    pub(super) fn holder(&self, address: IpAddr) -> Option<&Path> {
        self.outside.own.get(&address).or_else(|| self.outside.next_hops.get(&address))
    }
}

fn resolve_uplink(
    path: &Path,
    uplink: &document::Uplink,
    outside: &mut Outside,
    problems: &mut Problems,
) -> Option<Uplink> {
    let before = problems.0.len();
    if uplink.addresses.is_empty() {
        problems.add(path.key("addresses"), InvalidKind::NoUplinkAddress);
    }
    for (place, own) in uplink.addresses.iter().enumerate() {
        let at = path.key("addresses").index(place);
        if !is_host_on(own) {
            problems.add(at, InvalidKind::NotAHost { address: own.addr() });
        } else if let Some(other) = outside.own.get(&own.addr()) {
            let other = other.clone();
            problems.add(at, InvalidKind::PublicAddressInUse { address: own.addr(), other });
        } else {
            outside.own.insert(own.addr(), at);
        }
    }

    let (mut gateway_v4, mut gateway_v6) = (None, None);
    for (place, &gateway) in uplink.gateways.iter().enumerate() {
        let at = || path.key("gateways").index(place);
        let first = match gateway {
            IpAddr::V4(address) => gateway_v4.replace(address).map(IpAddr::V4),
            IpAddr::V6(address) => gateway_v6.replace(address).map(IpAddr::V6),
        };
        let link_local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let on_link = || uplink.addresses.iter().any(|own| own.contains(&gateway));
        if let Some(other) = first {
            problems.add(at(), InvalidKind::SecondGateway { gateway, other });
        } else if let Some(other) = outside.own.get(&gateway) {
            let other = other.clone();
            problems.add(at(), InvalidKind::PublicAddressInUse { address: gateway, other });
        } else if !link_local && !is_host(gateway) {
            problems.add(at(), InvalidKind::NotAHost { address: gateway });
        } else if !link_local && !on_link() {
            problems.add(at(), InvalidKind::GatewayOffLink { gateway });
        } else {
            outside.next_hops.insert(gateway, at());
        }
    }
    (problems.0.len() == before).then(|| Uplink {
        id: uplink.uplink_id.clone(),
        port: uplink.port.clone(),
        addresses: uplink.addresses.clone(),
        gateway_v4,
        gateway_v6,
        share_with_host: uplink.share_with_host,
    })
}

/// Whether `own` can be a host's address on its network: not the network's own, which IPv6 has as
/// the routers' anycast address (RFC 4291, 2.6.1), nor the broadcast address. Both exist only
/// where more than two addresses are (RFC 3021, RFC 6164).
fn is_host_on(own: &IpNet) -> bool {
    let more_than_a_pair = own.max_prefix_len() - own.prefix_len() > 1;
    let first = own.addr() == own.network();
    let last = own.addr().is_ipv4() && own.addr() == own.broadcast();
    is_host(own.addr()) && !(more_than_a_pair && (first || last))
}

fn attach_internet_gateways(
    document: &Document,
    ids: &Ids<'_>,
    network: &mut Network,
    problems: &mut Problems,
) {
    let mut attached: Map<VpcIx, usize> = Map::default();
    for (place, gateway) in document.internet_gateway.iter().enumerate() {
        let path = Path::of("internet_gateway", place);
        let vpc_id = gateway.vpc_id.as_ref();
        let vpc = vpc_id.and_then(|id| ids.vpcs.find(id, || path.key("vpc_id"), problems));
        let uplink = ids.uplinks.find(&gateway.uplink_id, || path.key("uplink_id"), problems);
        let Some((vpc_id, vpc)) = vpc_id.zip(vpc.map(VpcIx::at)) else { continue };
        let first = *attached.entry(vpc).or_insert(place);
        if first != place {
            problems.add(
                path.key("vpc_id"),
                InvalidKind::SecondInternetGateway {
                    vpc: vpc_id.clone(),
                    other: Path::of("internet_gateway", first),
                },
            );
        } else if let Some(vpc) = &mut network.vpcs[vpc.place()] {
            // With an uplink that does not exist the VPC is attached all the same: its public
            // addresses are not to blame.
            vpc.uplink = Some(UplinkIx::at(uplink.unwrap_or_default()));
        }
    }
}

/// Reports VPCs whose public IPv6 addresses are another's as well: there is no Elastic IP address
/// in front of them, so the address alone must tell the tenant.
fn check_public_blocks(network: &Network, problems: &mut Problems) {
    let vpcs = network.vpcs.iter().enumerate();
    let public =
        vpcs.filter_map(|(place, vpc)| Some(((), IpNet::V6(vpc.as_ref()?.public_ipv6()?), place)));
    for Overlap { block, place, other_block, other_place } in overlaps(public.collect()) {
        let Some(other) = &network.vpcs[other_place] else { continue };
        let other = other.id.clone();
        problems.add(
            Path::of("vpc", place).key("ipv6_cidr_block"),
            InvalidKind::PublicBlockConflict { block, other, other_block },
        );
    }
}
