//! NAT gateways and Lambda bridges, once their interfaces have their addresses: both lease ports
//! on their own addresses.

use std::time::Duration;

use super::ids::Ids;
use super::interface::Interfaces;
use super::{Path, Problems, nat_gateway};
use crate::flow::Timeouts;
use crate::vpc::document::{self, Document, ExhaustionReply, ForwardedFragments, MappingBehavior};
use crate::vpc::invalid::InvalidKind;
use crate::vpc::model::{Bridge, Mapping, NatGateway, Translation};

/// A week: longer than any keep-alive, short enough for the kernel's wrapping clock ticks.
const MAX_IDLE_SECONDS: u32 = 7 * 24 * 3600;

/// RFC 4787 REQ-5 (c): "A default value of five minutes or more for the NAT UDP mapping timer is
/// RECOMMENDED". Of these the one figure that AWS states.
const UDP_STREAM_SECONDS: u32 = 350;

/// An hour: with a longer rest a busy gateway has no ports left.
const MAX_QUARANTINE_SECONDS: u32 = 3600;

/// The NAT gateways of a document.
pub(super) fn nat_gateways(
    document: &Document,
    ids: &Ids<'_>,
    interfaces: &Interfaces,
    problems: &mut Problems,
) -> Vec<Option<NatGateway>> {
    let gateways = document.nat_gateway.iter().zip(&interfaces.of_nat_gateways).enumerate();
    gateways
        .map(|(place, (gateway, eni_ix))| {
            let path = Path::of("nat_gateway", place);
            let translation = of_nat_gateway(gateway, &path, problems);
            let eni_ix = (*eni_ix)?;
            let eni = interfaces.get(eni_ix)?;
            let places = nat_gateway::places(gateway, &path, ids, document);
            Some(NatGateway {
                id: gateway.nat_gateway_id.clone(),
                eni: eni_ix,
                subnet: eni.subnet,
                vpc: eni.vpc,
                connectivity_type: gateway.connectivity_type,
                addresses: nat_gateway::addresses(gateway.connectivity_type, &places, eni),
                nat64_prefixes: gateway.nat64_prefixes.clone(),
                translation,
            })
        })
        .collect()
}

/// The Lambda bridges of a document.
pub(super) fn bridges(
    document: &Document,
    interfaces: &Interfaces,
    problems: &mut Problems,
) -> Vec<Option<Bridge>> {
    let bridges = document.lambda_bridge.iter().zip(&interfaces.of_bridges).enumerate();
    bridges
        .map(|(place, (bridge, eni_ix))| {
            let translation = of_bridge(bridge, &Path::of("lambda_bridge", place), problems);
            let eni_ix = (*eni_ix)?;
            let eni = interfaces.get(eni_ix)?;
            Some(Bridge {
                id: bridge.lambda_bridge_id.clone(),
                eni: eni_ix,
                subnet: eni.subnet,
                vpc: eni.vpc,
                translation,
            })
        })
        .collect()
}

/// The numbers that NAT gateways and bridges are given, and how they are called.
struct Timers {
    tcp_idle: u32,
    tcp_transitory: u32,
    tcp_time_wait: u32,
    udp_idle: u32,
    udp_stream: u32,
    icmp_idle: u32,
    quarantine: u32,
}

impl From<&document::NatGateway> for Timers {
    fn from(gateway: &document::NatGateway) -> Self {
        Self {
            tcp_idle: gateway.tcp_idle_timeout_seconds,
            tcp_transitory: gateway.tcp_transitory_timeout_seconds,
            tcp_time_wait: gateway.tcp_time_wait_timeout_seconds,
            udp_idle: gateway.udp_idle_timeout_seconds,
            udp_stream: gateway
                .udp_stream_timeout_seconds
                .unwrap_or_else(|| UDP_STREAM_SECONDS.max(gateway.udp_idle_timeout_seconds)),
            icmp_idle: gateway.icmp_idle_timeout_seconds,
            quarantine: gateway.port_quarantine_seconds,
        }
    }
}

impl From<&document::LambdaBridge> for Timers {
    /// What a bridge has no key for is as everywhere else.
    fn from(bridge: &document::LambdaBridge) -> Self {
        let seconds = |it: Duration| it.as_secs() as u32;
        let usual = Timeouts::default();
        Self {
            tcp_idle: bridge.tcp_idle_timeout_seconds,
            tcp_transitory: seconds(usual.tcp_opening),
            tcp_time_wait: seconds(usual.tcp_time_wait),
            udp_idle: bridge.udp_idle_timeout_seconds,
            udp_stream: bridge.udp_idle_timeout_seconds,
            icmp_idle: bridge.icmp_idle_timeout_seconds,
            quarantine: bridge.port_quarantine_seconds,
        }
    }
}

impl Timers {
    fn check(&self, path: &Path, problems: &mut Problems) {
        for (key, seconds, min, max) in [
            ("tcp_idle_timeout_seconds", self.tcp_idle, 1, MAX_IDLE_SECONDS),
            ("tcp_transitory_timeout_seconds", self.tcp_transitory, 1, MAX_IDLE_SECONDS),
            ("tcp_time_wait_timeout_seconds", self.tcp_time_wait, 1, MAX_IDLE_SECONDS),
            ("udp_idle_timeout_seconds", self.udp_idle, 1, MAX_IDLE_SECONDS),
            ("udp_stream_timeout_seconds", self.udp_stream, 1, MAX_IDLE_SECONDS),
            ("icmp_idle_timeout_seconds", self.icmp_idle, 1, MAX_IDLE_SECONDS),
            ("port_quarantine_seconds", self.quarantine, 0, MAX_QUARANTINE_SECONDS),
        ] {
            problems.check_range(|| path.key(key), seconds, min, max);
        }
    }

    fn timeouts(&self) -> Timeouts {
        Timeouts {
            tcp_opening: seconds(self.tcp_transitory),
            tcp_established: seconds(self.tcp_idle),
            tcp_closing: seconds(self.tcp_transitory),
            tcp_time_wait: seconds(self.tcp_time_wait),
            udp: seconds(self.udp_idle),
            udp_stream: seconds(self.udp_stream),
            icmp: seconds(self.icmp_idle),
            ..Timeouts::default()
        }
    }
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

/// How a NAT gateway translates.
fn of_nat_gateway(
    gateway: &document::NatGateway,
    path: &Path,
    problems: &mut Problems,
) -> Translation {
    let timers = Timers::from(gateway);
    timers.check(path, problems);
    let mapping = match (gateway.mapping, gateway.filtering) {
        (MappingBehavior::EndpointIndependent, filtering) => {
            Mapping::EndpointIndependent(filtering.unwrap_or_default())
        }
        (MappingBehavior::Symmetric, filtering) => {
            if filtering.is_some() {
                problems.add(path.key("filtering"), InvalidKind::FilteringWithoutMapping);
            }
            Mapping::Symmetric
        }
    };
    if let Some(most) = gateway.max_ports_per_client {
        problems.check_range(|| path.key("max_ports_per_client"), most, 1, u32::MAX);
    }
    Translation {
        mapping,
        timeouts: Timeouts { reset_both: gateway.reset_both, ..timers.timeouts() },
        port_range: gateway.port_range,
        port_quarantine: seconds(timers.quarantine),
        max_ports_per_client: gateway.max_ports_per_client,
        exhaustion_reply: gateway.exhaustion_reply,
        fragments: gateway.fragments,
    }
}

/// How a bridge does.
fn of_bridge(bridge: &document::LambdaBridge, path: &Path, problems: &mut Problems) -> Translation {
    let timers = Timers::from(bridge);
    timers.check(path, problems);
    Translation {
        mapping: Mapping::Symmetric,
        timeouts: timers.timeouts(),
        port_range: bridge.port_range,
        port_quarantine: seconds(timers.quarantine),
        max_ports_per_client: None,
        exhaustion_reply: ExhaustionReply::default(),
        fragments: ForwardedFragments::All,
    }
}
