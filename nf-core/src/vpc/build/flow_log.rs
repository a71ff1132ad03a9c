//! Flow logs: what each is for, and which of them every interface is in.

use super::ids::Ids;
use super::interface::Interfaces;
use super::network::Network;
use super::{Path, Problems};
use crate::flow_log::LogFormat;
use crate::vpc::document::{self, Document, FlowLogResource, TrafficType};
use crate::vpc::hash::Map;
use crate::vpc::id::EniId;
use crate::vpc::invalid::{InvalidFlowLog, InvalidKind};
use crate::vpc::model::{AggregationInterval, Eni, FlowLog, SubnetIx, VpcIx};

/// The longest name of a destination, in bytes.
const MAX_DESTINATION: usize = 64;

pub(super) fn resolve(
    document: &Document,
    ids: &Ids<'_>,
    network: &Network,
    interfaces: &Interfaces,
    problems: &mut Problems,
) -> Vec<Option<FlowLog>> {
    let around = Around { network, enis: Map::default() };
    let mut stage = Stage { around, same: Map::default(), of_resource: Map::default() };
    if !document.flow_log.is_empty() {
        stage.around.enis = interfaces.enis.iter().flatten().map(|it| (&it.id, it)).collect();
    }
    let logs = document.flow_log.iter().enumerate();
    logs.map(|(place, log)| stage.resolve(document, place, log, ids, problems)).collect()
}

/// What flow logs refer to.
struct Around<'d> {
    network: &'d Network,
    enis: Map<&'d EniId, &'d Eni>,
}

struct Stage<'d> {
    around: Around<'d>,
    /// What is recorded already, and by which log.
    same: Map<(&'d FlowLogResource, &'d str, TrafficType), usize>,
    /// How many logs a resource has.
    of_resource: Map<&'d FlowLogResource, u32>,
}

impl<'d> Stage<'d> {
    fn resolve(
        &mut self,
        document: &'d Document,
        place: usize,
        log: &'d document::FlowLog,
        ids: &Ids<'_>,
        problems: &mut Problems,
    ) -> Option<FlowLog> {
        let path = Path::of("flow_log", place);
        let mut wrong = |key, kind: InvalidFlowLog| problems.add(path.key(key), kind.into());
        let interval = AggregationInterval::from_seconds(log.max_aggregation_interval);
        if interval.is_none() {
            let found = log.max_aggregation_interval;
            wrong("max_aggregation_interval", InvalidFlowLog::Interval { found });
        }
        let format = log.log_format.as_deref().map_or(Ok(LogFormat::default()), str::parse);
        let format = format.map_err(|error| wrong("log_format", InvalidFlowLog::Format(error)));
        if !is_directory_name(&log.log_destination) {
            let found = log.log_destination.clone();
            wrong("log_destination", InvalidFlowLog::Destination { found });
        }
        let same = (&log.resource_id, log.log_destination.as_str(), log.traffic_type);
        let first = *self.same.entry(same).or_insert(place);
        if first != place {
            let other = Path::of("flow_log", first);
            wrong("log_destination", InvalidFlowLog::Exists { other });
        }
        let count = self.of_resource.entry(&log.resource_id).or_default();
        *count += 1;
        let limit = document.quotas.flow_logs_per_resource;
        if *count > limit {
            wrong("resource_id", InvalidFlowLog::TooMany { limit });
        }
        let (vpc, zone) =
            self.around.place_of(&log.resource_id, ids, || path.key("resource_id"), problems)?;
        Some(FlowLog {
            id: log.flow_log_id.clone(),
            resource: log.resource_id.clone(),
            account_id: self.around.network.vpc(vpc)?.owner_id.clone(),
            availability_zone: zone.into(),
            traffic_type: log.traffic_type,
            interval: interval?,
            format: format.ok()?,
            destination: log.log_destination.as_str().into(),
            compression: log.destination_options.compression,
        })
    }
}

impl<'d> Around<'d> {
    /// The VPC and the zone of what a log is for.
    fn place_of(
        &self,
        resource: &FlowLogResource,
        ids: &Ids<'_>,
        path: impl FnOnce() -> Path,
        problems: &mut Problems,
    ) -> Option<(VpcIx, &'d str)> {
        let subnets = || self.network.subnets.iter().flatten();
        let subnet = match resource {
            FlowLogResource::Vpc(id) => {
                let vpc = VpcIx::at(ids.vpcs.find(id, path, problems)?);
                let zone = subnets().find(|it| it.vpc == vpc);
                return Some((vpc, zone.map_or("", |it| &it.availability_zone)));
            }
            FlowLogResource::Subnet(id) => SubnetIx::at(ids.subnets.find(id, path, problems)?),
            FlowLogResource::NetworkInterface(id) => {
                let eni = self.enis.get(id);
                // One that the document declares is only missing because of its own errors.
                if eni.is_none() && ids.interfaces.get(id).is_none() {
                    problems.add(path(), InvalidKind::not_found(id));
                }
                eni?.subnet
            }
        };
        let subnet = self.network.subnet(subnet)?;
        Some((subnet.vpc, &subnet.availability_zone))
    }
}

/// Whether a text names a directory right below another, and nothing else. Whoever writes the
/// document must not choose where on the node files are written.
fn is_directory_name(text: &str) -> bool {
    (1..=MAX_DESTINATION).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
