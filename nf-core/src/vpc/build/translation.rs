//! NAT gateways and Lambda bridges, once their interfaces have their addresses: both lease ports
//! on their own addresses.

use std::time::Duration;

use super::interface::Interfaces;
use super::{Path, Problems};
use crate::lease::PortRange;
use crate::vpc::document::{self, ConnectivityType, Document, ForwardedFragments};
use crate::vpc::model::{Bridge, NatAddress, NatGateway, Translation};

/// A week: longer than any keep-alive, short enough for the kernel's wrapping clock ticks.
const MAX_IDLE_SECONDS: u32 = 7 * 24 * 3600;

/// An hour: with a longer rest a busy gateway has no ports left.
const MAX_QUARANTINE_SECONDS: u32 = 3600;

/// The NAT gateways of a document.
pub(super) fn nat_gateways(
    document: &Document,
    interfaces: &Interfaces,
    problems: &mut Problems,
) -> Vec<Option<NatGateway>> {
    let gateways = document.nat_gateway.iter().zip(&interfaces.of_nat_gateways).enumerate();
    gateways
        .map(|(place, (gateway, eni_ix))| {
            let timers = Timers::from(gateway);
            let translation = timers.resolve(&Path::of("nat_gateway", place), problems);
            let eni_ix = (*eni_ix)?;
            let eni = interfaces.get(eni_ix)?;
            let addresses = match gateway.connectivity_type {
                ConnectivityType::Public => {
                    let public = eni.public_ips.iter();
                    public
                        .map(|ip| NatAddress {
                            private_ip: ip.private_ip,
                            public_ip: Some(ip.public_ip),
                        })
                        .collect()
                }
                ConnectivityType::Private => eni
                    .addresses()
                    .map(|private_ip| NatAddress { private_ip, public_ip: None })
                    .collect(),
            };
            Some(NatGateway {
                id: gateway.nat_gateway_id.clone(),
                eni: eni_ix,
                subnet: eni.subnet,
                vpc: eni.vpc,
                connectivity_type: gateway.connectivity_type,
                addresses,
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
            let timers = Timers::from(bridge);
            let translation = timers.resolve(&Path::of("lambda_bridge", place), problems);
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

/// The keys that NAT gateways and bridges have in common, and which fragments they forward.
struct Timers {
    tcp_idle: u32,
    udp_idle: u32,
    icmp_idle: u32,
    quarantine: u32,
    port_range: PortRange,
    fragments: ForwardedFragments,
}

impl From<&document::NatGateway> for Timers {
    fn from(gateway: &document::NatGateway) -> Self {
        Self {
            tcp_idle: gateway.tcp_idle_timeout_seconds,
            udp_idle: gateway.udp_idle_timeout_seconds,
            icmp_idle: gateway.icmp_idle_timeout_seconds,
            quarantine: gateway.port_quarantine_seconds,
            port_range: gateway.port_range,
            fragments: gateway.fragments,
        }
    }
}

impl From<&document::LambdaBridge> for Timers {
    fn from(bridge: &document::LambdaBridge) -> Self {
        Self {
            tcp_idle: bridge.tcp_idle_timeout_seconds,
            udp_idle: bridge.udp_idle_timeout_seconds,
            icmp_idle: bridge.icmp_idle_timeout_seconds,
            quarantine: bridge.port_quarantine_seconds,
            port_range: bridge.port_range,
            fragments: ForwardedFragments::All,
        }
    }
}

impl Timers {
    fn resolve(&self, path: &Path, problems: &mut Problems) -> Translation {
        for (key, seconds, min, max) in [
            ("tcp_idle_timeout_seconds", self.tcp_idle, 1, MAX_IDLE_SECONDS),
            ("udp_idle_timeout_seconds", self.udp_idle, 1, MAX_IDLE_SECONDS),
            ("icmp_idle_timeout_seconds", self.icmp_idle, 1, MAX_IDLE_SECONDS),
            ("port_quarantine_seconds", self.quarantine, 0, MAX_QUARANTINE_SECONDS),
        ] {
            problems.check_range(|| path.key(key), seconds, min, max);
        }
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Translation {
            tcp_idle_timeout: seconds(self.tcp_idle),
            udp_idle_timeout: seconds(self.udp_idle),
            icmp_idle_timeout: seconds(self.icmp_idle),
            port_range: self.port_range,
            port_quarantine: seconds(self.quarantine),
            fragments: self.fragments,
        }
    }
}
