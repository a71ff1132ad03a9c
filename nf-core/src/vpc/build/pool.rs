//! Pools of public IPv4 addresses.

use std::net::Ipv4Addr;

use ipnet::IpNet;

use super::network::{Network, Overlap, is_host, overlaps};
use super::{InvalidKind, Path, Problems};
use crate::vpc::document::Document;
use crate::vpc::lpm::Lpm;

/// The blocks of all pools.
///
/// A pool may have the addresses of an uplink and of its next hops: it is often the network of
/// their link. Whoever takes an address out of a pool takes one that nobody has.
pub(super) struct Pools(Lpm<()>);

/// A block of a pool.
struct Block {
    network: IpNet,
    /// The pool's place in the document.
    pool: usize,
    path: Path,
}

impl Pools {
    pub(super) fn resolve(document: &Document, network: &Network, problems: &mut Problems) -> Self {
        let mut blocks = Vec::new();
        for (pool, declared) in document.public_ipv4_pool.iter().enumerate() {
            let all = Path::of("public_ipv4_pool", pool).key("pool_cidr_blocks");
            for (position, block) in declared.pool_cidr_blocks.iter().enumerate() {
                let (network, path) = (IpNet::V4(*block), all.index(position));
                if network.trunc() != network {
                    problems.add(path, InvalidKind::HostBits { found: network });
                } else if !is_host(network.network()) || !is_host(network.broadcast()) {
                    problems.add(path, InvalidKind::NotForHosts { found: network });
                } else {
                    blocks.push(Block { network, pool, path });
                }
            }
        }
        check_overlaps(&blocks, document, network, problems);
        Self(blocks.iter().map(|block| (block.network, ())).collect())
    }

    /// Whether an address is from a pool.
    pub(super) fn contains(&self, address: Ipv4Addr) -> bool {
        self.0.get(address.into()).is_some()
    }
}

/// Reports blocks that overlap one another, or one of a VPC with an internet gateway.
fn check_overlaps(
    blocks: &[Block],
    document: &Document,
    network: &Network,
    problems: &mut Problems,
) {
    // The VPCs are the first of one list, so that of a VPC and a pool the pool is the later one.
    let vpcs = network.vpcs.iter().enumerate().filter_map(|(place, vpc)| {
        let vpc = vpc.as_ref().filter(|vpc| vpc.uplink.is_some())?;
        Some(((), IpNet::V4(vpc.cidr), place))
    });
    let behind = network.vpcs.len();
    let pools = blocks.iter().enumerate().map(|(place, it)| ((), it.network, behind + place));
    for Overlap { block, place, other_block, other_place } in overlaps(vpcs.chain(pools).collect())
    {
        // Two VPCs may well have the same addresses.
        let Some(own) = place.checked_sub(behind).map(|place| &blocks[place]) else { continue };
        let kind = match other_place.checked_sub(behind) {
            Some(other) => InvalidKind::PoolConflict {
                block,
                other: document.public_ipv4_pool[blocks[other].pool].public_ipv4_pool_id.clone(),
                other_block,
            },
            None => InvalidKind::PoolInVpc {
                block,
                vpc_block: other_block,
                vpc: document.vpc[other_place].vpc_id.clone(),
            },
        };
        problems.add(own.path.clone(), kind);
    }
}
