//! From a document to a snapshot, in stages: each resolves one kind of resource against the ones
//! before it and reports everything that is wrong on the way.
//!
//! A resource with an error is left out (`None` in its stage's array) so that what refers to it is
//! not blamed as well; places in the arrays are those in the document all the same. Any error at
//! all means that there is no snapshot.

mod addresses;
mod association;
mod attachment;
mod balancing;
mod derived;
mod flow_log;
mod ids;
mod instance;
mod interface;
mod managed;
mod nat_gateway;
mod network;
mod pool;
mod port;
mod prefix_list;
mod quotas;
mod routing;
mod security_group;
mod translation;
mod uplink;

use super::document::Document;
use super::invalid::{Invalid, InvalidKind};
use super::path::Path;
use super::snapshot::{Resources, Snapshot};
use crate::id::Generation;

use association::Allocations;
use ids::Ids;
use instance::Instances;
use interface::{Around, Interfaces};
use network::Network;
use pool::Pools;
use security_group::SecurityGroups;
use uplink::Uplinks;

pub(super) fn build(generation: Generation, document: &Document) -> Result<Snapshot, Vec<Invalid>> {
    let mut problems = Problems::default();
    let mut warnings = Problems::default();

    let ids = Ids::collect(document, &mut problems);
    quotas::check(document, &ids, &mut problems);
    let mut network = Network::resolve(document, &ids, &mut problems);
    let uplinks = Uplinks::resolve(document, &ids, &mut network, &mut problems);
    let pools = Pools::resolve(document, &network, &mut problems);
    let instances = Instances::resolve(document, &mut problems);
    let security_groups = SecurityGroups::resolve(document, &ids, &network, &mut problems);
    let around = Around {
        ids: &ids,
        network: &network,
        instances: &instances,
        security_groups: &security_groups,
    };
    let mut interfaces = Interfaces::resolve(document, &around, &mut problems);
    interfaces.fill_in_addresses(&network, &mut problems);
    let mut allocations = Allocations::resolve(document, &network, &uplinks, &pools, &mut problems);
    allocations.associate(document, &ids, &network, &mut interfaces, &mut problems);
    let nat_gateways = translation::nat_gateways(document, &ids, &interfaces, &mut problems);
    let bridges = translation::bridges(document, &interfaces, &mut problems);
    let target_groups =
        balancing::target_groups(document, &ids, &network, &interfaces, &mut problems);
    let load_balancers =
        balancing::load_balancers(document, &ids, &network, &interfaces, &mut problems);
    let route_tables =
        routing::resolve(document, &ids, &network, &interfaces, &mut problems, &mut warnings);
    let flow_logs = flow_log::resolve(document, &ids, &network, &interfaces, &mut problems);
    let ports = port::resolve(document, &mut problems);

    if !problems.0.is_empty() {
        return Err(problems.0);
    }
    Ok(Snapshot::assemble(
        generation,
        Resources {
            vpcs: all(network.vpcs),
            subnets: all(network.subnets),
            uplinks: all(uplinks.uplinks),
            instances: all(instances.resolved),
            enis: all(interfaces.enis),
            security_groups: all(security_groups.groups),
            route_tables: all(route_tables),
            nat_gateways: all(nat_gateways),
            load_balancers: all(load_balancers),
            target_groups: all(target_groups),
            bridges: all(bridges),
            flow_logs: all(flow_logs),
            ports,
            warnings: warnings.0,
        },
    ))
}

/// The resources of a stage. Only called once nothing was wrong, and then none was left out.
fn all<T>(resources: Vec<Option<T>>) -> Vec<T> {
    resources.into_iter().flatten().collect()
}

/// What was found wrong so far.
#[derive(Default)]
struct Problems(Vec<Invalid>);

impl Problems {
    fn add(&mut self, path: Path, kind: InvalidKind) {
        self.0.push(Invalid { path, kind });
    }

    /// Reports a number outside `min..=max`.
    fn check_range(&mut self, path: impl FnOnce() -> Path, found: u32, min: u32, max: u32) {
        if !(min..=max).contains(&found) {
            let [found, min, max] = [found, min, max].map(u64::from);
            self.add(path(), InvalidKind::OutOfRange { found, min, max });
        }
    }
    /// Reports a text that is not one word, as lists and logs need it.
    fn check_word(&mut self, path: impl FnOnce() -> Path, noun: &'static str, found: &str) {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !(1..=64).contains(&found.len()) || !found.bytes().all(is_word) {
            self.add(path(), InvalidKind::NotAWord { noun, found: found.into() });
        }
    }
}
