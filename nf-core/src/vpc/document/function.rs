//! The network functions of a document: NAT gateways, load balancers with their target groups,
//! and Lambda bridges.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::nat_address::SecondaryAddress;
use super::translation::{ExhaustionReply, FilteringBehavior, MappingBehavior};
use super::{Tags, text};
use crate::lease::PortRange;
use crate::nat64::Nat64Prefix;
use crate::tuple::Protocol;
use crate::vpc::id::{
    AllocationId, BridgeId, EniId, LoadBalancerName, NatGatewayId, SecurityGroupId, SubnetId,
    TargetGroupName, VpcId,
};

/// Idle times and ports as a NAT gateway has them when nothing is said.
mod default {
    use crate::lease::PortRange;
    use crate::nat64::Nat64Prefix;

    /// AWS: fixed at 350 s.
    pub(super) const fn tcp_idle() -> u32 {
        350
    }

    /// AWS does not say; RFC 4787 REQ-5: "A NAT UDP mapping timer MUST NOT expire in less than two
    /// minutes".
    pub(super) const fn udp_idle() -> u32 {
        120
    }

    /// RFC 5382 REQ-5: "The value of the 'transitory connection idle-timeout' MUST NOT be less than
    /// 4 minutes".
    pub(super) const fn tcp_transitory() -> u32 {
        240
    }

    /// Late segments of a closed connection are gone from the network by then.
    pub(super) const fn tcp_time_wait() -> u32 {
        30
    }

    /// AWS does not say; RFC 5508 REQ-2: "An ICMP Query session timer MUST NOT expire in less than
    /// 60 seconds".
    pub(super) const fn icmp_idle() -> u32 {
        60
    }

    /// AWS does not say. Late segments of a closed connection are gone from the network by then.
    pub(super) const fn quarantine() -> u32 {
        30
    }

    pub(super) fn ports() -> PortRange {
        PortRange::default()
    }

    /// AWS: fixed.
    pub(super) fn nat64_prefixes() -> Vec<Nat64Prefix> {
        vec![Nat64Prefix::WELL_KNOWN]
    }

    pub(super) const fn health_interval() -> u32 {
        30
    }

    pub(super) const fn healthy_threshold() -> u32 {
        5
    }

    pub(super) const fn unhealthy_threshold() -> u32 {
        2
    }

    pub(super) const fn weight() -> u32 {
        1
    }
}

/// Whether a NAT gateway leads to the internet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnectivityType {
    /// Through Elastic IP addresses.
    #[default]
    Public,
    /// To other private networks, by its private address.
    Private,
}

/// Which packets in fragments a NAT gateway forwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForwardedFragments {
    /// Those of every protocol. RFC 4787 REQ-14: "A NAT MUST support receiving in-order and
    /// out-of-order fragments".
    #[default]
    All,
    /// UDP's alone. AWS's NAT gateways drop fragments of TCP and ICMP (VPC user guide, "Compare
    /// NAT gateways and NAT instances").
    Udp,
}

/// A NAT gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatGateway {
    /// `nat-…`
    pub nat_gateway_id: NatGatewayId,
    /// The subnet of its own interface, whose routes its translated packets take. A public one
    /// belongs in a subnet with a route to an internet gateway.
    pub subnet_id: SubnetId,
    /// `public` (when left out) or `private`.
    #[serde(default)]
    pub connectivity_type: ConnectivityType,
    /// The Elastic IP addresses of a public gateway, the primary one first. Further ones are
    /// secondary addresses of which there is nothing else to say. An IPv6 one lets IPv6 flows out
    /// as well and is our extension; the first of a family is the primary one of that family.
    #[serde(default)]
    pub allocation_ids: Vec<AllocationId>,
    /// Its primary private address. Left out: the first free one of the subnet; in a subnet that
    /// is a segment of undeclared hosts it must be given.
    #[serde(default, deserialize_with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub private_ip_address: Option<Ipv4Addr>,
    /// Prefixes of IPv6 addresses that stand for IPv4 ones (RFC 6052): IPv6 packets to them leave as
    /// IPv4. Left out: `64:ff9b::/96`, as at AWS. Others are our extension. Routes decide whether
    /// anything comes here.
    #[serde(default = "default::nat64_prefixes", deserialize_with = "text::list")]
    pub nat64_prefixes: Vec<Nat64Prefix>,
    /// Its further addresses, 32 with the others at most, which come and go while it works.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secondary_address: Vec<SecondaryAddress>,
    /// What decides the address and port outside: `symmetric` (when left out), as at AWS, or
    /// `endpoint-independent`.
    #[serde(default)]
    pub mapping: MappingBehavior,
    /// Who may send to a mapping of an endpoint-independent gateway: `address-dependent` (when left
    /// out) or `endpoint-independent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filtering: Option<FilteringBehavior>,
    /// Seconds without a packet after which an established TCP connection is forgotten.
    #[serde(default = "default::tcp_idle")]
    pub tcp_idle_timeout_seconds: u32,
    /// The same of a TCP connection that is being opened, or that one side has closed.
    #[serde(default = "default::tcp_transitory")]
    pub tcp_transitory_timeout_seconds: u32,
    /// The same of one that both sides have closed.
    #[serde(default = "default::tcp_time_wait")]
    pub tcp_time_wait_timeout_seconds: u32,
    /// The same for UDP that was not answered, or once.
    #[serde(default = "default::udp_idle")]
    pub udp_idle_timeout_seconds: u32,
    /// The same for UDP that goes to and fro. Left out: 350, or `udp_idle_timeout_seconds` if that
    /// is longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp_stream_timeout_seconds: Option<u32>,
    /// The same for ICMP and ICMPv6 echo.
    #[serde(default = "default::icmp_idle")]
    pub icmp_idle_timeout_seconds: u32,
    /// Whether both ends of an established TCP connection that has been idle for too long are sent a
    /// RST. Left out: no, as at AWS, where the end inside is sent one when it sends again.
    #[serde(default)]
    pub reset_both: bool,
    /// External ports, `[first, last]`.
    #[serde(default = "default::ports")]
    pub port_range: PortRange,
    /// Seconds for which a released external port is not used again toward the same destination.
    #[serde(default = "default::quarantine")]
    pub port_quarantine_seconds: u32,
    /// The most ports that one client may hold. Left out: as many as there are, but for the share
    /// of others: see `docs/nat.md`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ports_per_client: Option<u32>,
    /// What the sender of a first packet gets when there is no port for its flow: `icmp` (when left
    /// out) or `reset`.
    #[serde(default)]
    pub exhaustion_reply: ExhaustionReply,
    /// Which packets in fragments it forwards: `all` (when left out) or, as AWS's, `udp` alone.
    #[serde(default)]
    pub fragments: ForwardedFragments,
    /// Labels.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
}

impl NatGateway {
    /// One of which nothing is said but where it is.
    #[must_use]
    pub fn new(nat_gateway_id: NatGatewayId, subnet_id: SubnetId) -> Self {
        Self {
            nat_gateway_id,
            subnet_id,
            connectivity_type: ConnectivityType::default(),
            allocation_ids: Vec::new(),
            private_ip_address: None,
            nat64_prefixes: default::nat64_prefixes(),
            secondary_address: Vec::new(),
            mapping: MappingBehavior::default(),
            filtering: None,
            tcp_idle_timeout_seconds: default::tcp_idle(),
            tcp_transitory_timeout_seconds: default::tcp_transitory(),
            tcp_time_wait_timeout_seconds: default::tcp_time_wait(),
            udp_idle_timeout_seconds: default::udp_idle(),
            udp_stream_timeout_seconds: None,
            icmp_idle_timeout_seconds: default::icmp_idle(),
            reset_both: false,
            port_range: default::ports(),
            port_quarantine_seconds: default::quarantine(),
            max_ports_per_client: None,
            exhaustion_reply: ExhaustionReply::default(),
            fragments: ForwardedFragments::default(),
            tags: Tags::new(),
        }
    }
}

/// A managed interface that many execution environments share, one way: they reach into the VPC,
/// nothing reaches them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LambdaBridge {
    /// `bridge-…`
    pub lambda_bridge_id: BridgeId,
    /// The id of its interface. Left out: one derived from the bridge's and the subnet's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_interface_id: Option<EniId>,
    /// The customer's subnet that its interface is in.
    pub subnet_id: SubnetId,
    /// Its private address, as for [`NatGateway::private_ip_address`].
    #[serde(default, deserialize_with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub private_ip_address: Option<Ipv4Addr>,
    /// Networks of 16 addresses (/28) of its subnet that are its own as well. Environments' flows
    /// leave from the private address as long as it has ports toward their destination, then from
    /// these, the first before the next.
    #[serde(default, deserialize_with = "text::list", skip_serializing_if = "Vec::is_empty")]
    pub ipv4_prefixes: Vec<Ipv4Net>,
    /// Its IPv6 address. Left out: environments have no IPv6 (Lambda's
    /// `Ipv6AllowedForDualStack`, false unless asked for).
    #[serde(default, deserialize_with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub ipv6_address: Option<Ipv6Addr>,
    /// The same as `ipv4_prefixes` for IPv6, each a /80. They are the interface's own, but no flow
    /// leaves from them: `ipv6_address` alone has ports for every environment.
    #[serde(default, deserialize_with = "text::list", skip_serializing_if = "Vec::is_empty")]
    pub ipv6_prefixes: Vec<Ipv6Net>,
    /// What may pass its interface (`VpcConfig.SecurityGroupIds`). Left out: the default group of
    /// the VPC.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_group_ids: Vec<SecurityGroupId>,
    /// As for [`NatGateway::tcp_idle_timeout_seconds`].
    #[serde(default = "default::tcp_idle")]
    pub tcp_idle_timeout_seconds: u32,
    /// As for [`NatGateway::udp_idle_timeout_seconds`].
    #[serde(default = "default::udp_idle")]
    pub udp_idle_timeout_seconds: u32,
    /// As for [`NatGateway::icmp_idle_timeout_seconds`].
    #[serde(default = "default::icmp_idle")]
    pub icmp_idle_timeout_seconds: u32,
    /// Ports of the managed interface, `[first, last]`.
    #[serde(default = "default::ports")]
    pub port_range: PortRange,
    /// As for [`NatGateway::port_quarantine_seconds`].
    #[serde(default = "default::quarantine")]
    pub port_quarantine_seconds: u32,
}

/// Where a load balancer's clients are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Anywhere: every node has a public address.
    InternetFacing,
    /// In the VPC: no node has one.
    Internal,
}

/// A transport protocol of listeners and target groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Transport {
    /// TCP, passed through without being terminated.
    Tcp,
    /// UDP.
    Udp,
}

impl From<Transport> for Protocol {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Tcp => Self::Tcp,
            Transport::Udp => Self::Udp,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// A network load balancer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadBalancer {
    /// Its name, 1 to 32 letters, digits and hyphens.
    pub load_balancer_name: LoadBalancerName,
    /// `internet-facing` or `internal`.
    pub scheme: Scheme,
    /// Its nodes, one a subnet, all in one VPC.
    pub subnet_mapping: Vec<SubnetMapping>,
    /// What it listens on.
    #[serde(default)]
    pub listener: Vec<Listener>,
}

/// One node of a load balancer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubnetMapping {
    /// The subnet of its interface.
    pub subnet_id: SubnetId,
    /// The Elastic IP address of an internet-facing one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation_id: Option<AllocationId>,
    /// Its private address, as for [`NatGateway::private_ip_address`].
    #[serde(default, deserialize_with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub private_ipv4_address: Option<Ipv4Addr>,
    /// Its IPv6 address. Left out: the node has none.
    #[serde(default, deserialize_with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub ipv6_address: Option<Ipv6Addr>,
}

/// One protocol and port that a load balancer takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// `TCP` or `UDP`.
    pub protocol: Transport,
    /// The port, 1 to 65535.
    pub port: NonZeroU16,
    /// Where it forwards to.
    pub target_group_name: TargetGroupName,
    /// Seconds without a packet after which a TCP connection is forgotten, 60 to 6000 (AWS). Left
    /// out: 350. For UDP it is fixed at 120, as in AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_idle_timeout_seconds: Option<u32>,
}

/// What listeners forward to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetGroup {
    /// Its name, 1 to 32 letters, digits and hyphens.
    pub target_group_name: TargetGroupName,
    /// `TCP` or `UDP`, the same as its listeners'.
    pub protocol: Transport,
    /// The port of targets that name none.
    pub port: NonZeroU16,
    /// The VPC of its targets.
    pub vpc_id: VpcId,
    /// How targets are probed.
    #[serde(default)]
    pub health_check: HealthCheck,
    /// Where flows go. With none, listeners refuse new flows.
    #[serde(default)]
    pub target: Vec<Target>,
}

/// How a target group's targets are probed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthCheck {
    /// `TCP`: a connection that opens is a passed probe.
    pub protocol: HealthCheckProtocol,
    /// `"traffic-port"` or a port.
    pub port: HealthCheckPort,
    /// Seconds from probe to probe: 1 to 300. AWS allows 5 to 300; a gateway close to its targets
    /// may well be quicker.
    pub interval_seconds: u32,
    /// Seconds after which a probe has failed: 1 to 120, not more than the interval. AWS allows 2
    /// to 120. Left out: 10 or, if that is shorter, the interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// Passed probes in a row, 2 to 10, after which an unhealthy target is healthy.
    pub healthy_threshold_count: u32,
    /// Failed probes in a row, 2 to 10, after which a target is unhealthy.
    pub unhealthy_threshold_count: u32,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            protocol: HealthCheckProtocol::default(),
            port: HealthCheckPort::default(),
            interval_seconds: default::health_interval(),
            timeout_seconds: None,
            healthy_threshold_count: default::healthy_threshold(),
            unhealthy_threshold_count: default::unhealthy_threshold(),
        }
    }
}

/// What a probe speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HealthCheckProtocol {
    /// Only the handshake.
    #[default]
    Tcp,
}

/// The port that a probe goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HealthCheckPort {
    /// The target's own.
    #[default]
    Traffic,
    /// This one.
    Port(NonZeroU16),
}

impl HealthCheckPort {
    const TRAFFIC: &str = "traffic-port";
}

impl Serialize for HealthCheckPort {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Traffic => serializer.serialize_str(Self::TRAFFIC),
            Self::Port(port) => port.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for HealthCheckPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = HealthCheckPort;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a port from 1 to 65535 or \"{}\"", HealthCheckPort::TRAFFIC)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<HealthCheckPort, E> {
                u16::try_from(number)
                    .ok()
                    .and_then(NonZeroU16::new)
                    .map(HealthCheckPort::Port)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Signed(number), &self))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<HealthCheckPort, E> {
                i64::try_from(number)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
                    .and_then(|number| self.visit_i64(number))
            }

            // ELBv2 has ports of health checks as text.
            fn visit_str<E: de::Error>(self, text: &str) -> Result<HealthCheckPort, E> {
                match text.parse() {
                    Ok(port) => Ok(HealthCheckPort::Port(port)),
                    Err(_) if text == HealthCheckPort::TRAFFIC => Ok(HealthCheckPort::Traffic),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// One target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its address: in the VPC or private, never public.
    #[serde(deserialize_with = "text::required")]
    pub id: IpAddr,
    /// Its port. Left out: the group's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<NonZeroU16>,
    /// Its share of new flows against the other targets', 0 to 999. Ours: in AWS only whole
    /// groups have weights. 0 gets no new flows and keeps the ones it has.
    #[serde(default = "default::weight")]
    pub weight: u32,
}
