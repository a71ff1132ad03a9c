//! The resource document: everything an operator may write, one structure a kind of resource.
//!
//! Names are those of the EC2 and `ELBv2` APIs in `snake_case`, unknown keys are refused, and a key
//! that may be left out says what it then means. A value of these types is well formed but not yet
//! right: references, ranges and overlaps are checked by [`crate::vpc::Snapshot::build`].

mod flow_log;
mod function;
mod instance;
mod interface;
mod nat_address;
mod quotas;
mod security_group;
mod text;
mod translation;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::vpc::id::{
    AllocationId, EniId, InternetGatewayId, NatGatewayId, PublicIpv4PoolId, RouteTableId, SubnetId,
    UplinkId, VpcId,
};

pub use flow_log::{
    Compression, DestinationOptions, FileFormat, FlowLog, FlowLogResource, TrafficType,
};
pub use function::{
    ConnectivityType, ForwardedFragments, HealthCheck, HealthCheckPort, HealthCheckProtocol,
    LambdaBridge, Listener, LoadBalancer, NatGateway, Scheme, SubnetMapping, Target, TargetGroup,
    Transport,
};
pub use instance::{Instance, InstancePort, InstanceState, NetworkCard};
pub use interface::{Attachment, ConnectionTracking, NetworkInterface, NetworkInterfaceType};
pub use nat_address::{SecondaryAddress, UnixTime};
pub use quotas::Quotas;
pub use security_group::{
    IpProtocol, PrefixList, PrefixListEntry, SecurityGroup, SecurityGroupRule,
};
pub use translation::{ExhaustionReply, FilteringBehavior, MappingBehavior};

/// Labels of a resource, which mean something only to whoever put them there.
pub type Tags = BTreeMap<String, String>;

/// The whole desired state of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Document {
    /// Isolated address spaces, one a tenant or more. Any two may use the same addresses.
    pub vpc: Vec<Vpc>,
    /// Parts of a VPC's addresses.
    pub subnet: Vec<Subnet>,
    /// Where packets of a subnet go.
    pub route_table: Vec<RouteTable>,
    /// The way from a VPC to an uplink.
    pub internet_gateway: Vec<InternetGateway>,
    /// Interfaces toward the outside world. Ours: EC2 does not show them.
    pub uplink: Vec<Uplink>,
    /// Public addresses that Elastic IP addresses are allocated from.
    pub public_ipv4_pool: Vec<PublicIpv4Pool>,
    /// Elastic IP addresses.
    pub address: Vec<Address>,
    /// What network interfaces are attached to.
    pub instance: Vec<Instance>,
    /// Elastic network interfaces of instances.
    pub network_interface: Vec<NetworkInterface>,
    /// What may pass network interfaces.
    pub security_group: Vec<SecurityGroup>,
    /// Networks under a name, for rules of security groups.
    pub prefix_list: Vec<PrefixList>,
    /// NAT gateways.
    pub nat_gateway: Vec<NatGateway>,
    /// Network load balancers.
    pub load_balancer: Vec<LoadBalancer>,
    /// What load balancers forward to.
    pub target_group: Vec<TargetGroup>,
    /// Managed interfaces that many execution environments share. Ours: what Lambda keeps on its
    /// own side.
    pub lambda_bridge: Vec<LambdaBridge>,
    /// What is recorded about the traffic of network interfaces.
    pub flow_log: Vec<FlowLog>,
    /// How much of everything there may be.
    #[serde(skip_serializing_if = "Quotas::is_default")]
    pub quotas: Quotas,
}

/// A virtual private cloud: an address space of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vpc {
    /// `vpc-…`
    pub vpc_id: VpcId,
    /// IPv4 addresses, /16 to /28 as in EC2.
    #[serde(deserialize_with = "text::required")]
    pub cidr_block: Ipv4Net,
    /// IPv6 addresses, /16 to /64: EC2 deals out a /56, a laboratory may have more or less.
    #[serde(default, deserialize_with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub ipv6_cidr_block: Option<Ipv6Net>,
    /// The account it belongs to, as flow logs name it: twelve digits at AWS.
    #[serde(default = "default_owner", skip_serializing_if = "is_default_owner")]
    pub owner_id: String,
}

/// Whose everything is where nothing is said.
#[must_use]
pub fn default_owner() -> String {
    "000000000000".to_owned()
}

fn is_default_owner(owner: &str) -> bool {
    owner == default_owner()
}

/// A part of a VPC's addresses with one route table.
///
/// Four addresses at the start and one at the end of either block are reserved, as in EC2: the
/// network's own, the router, the resolver, one for later, and the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subnet {
    /// `subnet-…`
    pub subnet_id: SubnetId,
    /// The VPC it is a part of.
    pub vpc_id: VpcId,
    /// IPv4 addresses, /16 to /28, inside the VPC's.
    #[serde(deserialize_with = "text::required")]
    pub cidr_block: Ipv4Net,
    /// IPv6 addresses, up to /64, inside the VPC's. A /64 is what SLAAC asks for and EC2 gives.
    #[serde(default, deserialize_with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub ipv6_cidr_block: Option<Ipv6Net>,
    /// Its route table. Left out: the VPC's main table or, without one, local routes only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_table_id: Option<RouteTableId>,
    /// The Linux interface that *is* this subnet's Ethernet segment. Hosts behind it need not be
    /// declared. Left out: the subnet exists only through the network interfaces declared in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Box<str>>,
    /// The zone it is in. Interfaces are attached to instances of their own zone only.
    #[serde(default = "default_zone", skip_serializing_if = "is_default_zone")]
    pub availability_zone: String,
    /// Whether interfaces that are made in it through the API get a public IPv4 address. It stays
    /// what it was when the interface was made: a later change is for later ones.
    #[serde(default, skip_serializing_if = "is_false")]
    pub map_public_ip_on_launch: bool,
    /// Whether interfaces that are made in it through the API get an IPv6 address.
    #[serde(default, skip_serializing_if = "is_false")]
    pub assign_ipv6_address_on_creation: bool,
}

/// The zone of everything where nothing is said.
#[must_use]
pub fn default_zone() -> String {
    "local-1a".to_owned()
}

fn is_default_zone(zone: &str) -> bool {
    zone == default_zone()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Where packets go that leave the interfaces of a subnet. Every table also has the local routes
/// of its VPC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteTable {
    /// `rtb-…`
    pub route_table_id: RouteTableId,
    /// The VPC whose subnets may use it.
    pub vpc_id: VpcId,
    /// Whether it serves the subnets that name no table. At most one a VPC.
    #[serde(default)]
    pub main: bool,
    /// Its routes; the longest matching prefix decides, whatever the order.
    #[serde(default)]
    pub route: Vec<Route>,
}

/// One route: one destination, one target.
///
/// A target that the document does not have makes the route a blackhole, as deleting it does in
/// EC2: packets toward the destination are dropped rather than sent by a shorter prefix. It is not
/// an error, because whoever deletes a gateway need not edit every table at once, but
/// [`crate::vpc::Snapshot::warnings`] tells of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The destination, IPv4. Exactly one of the two destinations is to be given.
    #[serde(default, deserialize_with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub destination_cidr_block: Option<Ipv4Net>,
    /// The destination, IPv6.
    #[serde(default, deserialize_with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub destination_ipv6_cidr_block: Option<Ipv6Net>,
    /// An internet gateway. Exactly one of the three targets is to be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_id: Option<InternetGatewayId>,
    /// A NAT gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nat_gateway_id: Option<NatGatewayId>,
    /// A network interface: an appliance of the tenant's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_interface_id: Option<EniId>,
}

/// A VPC's way to an uplink. At most one a VPC; many VPCs may share an uplink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InternetGateway {
    /// `igw-…`
    pub internet_gateway_id: InternetGatewayId,
    /// The VPC it is attached to. Left out: none, and routes to it are blackholes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc_id: Option<VpcId>,
    /// The uplink behind it.
    pub uplink_id: UplinkId,
}

/// A Linux interface toward the outside world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uplink {
    /// `uplink-…`
    pub uplink_id: UplinkId,
    /// The interface.
    pub port: Box<str>,
    /// The gateway's own addresses on that link with the link's prefix lengths. They speak ARP and
    /// NDP and send ICMP errors; flows of tenants use Elastic IP addresses instead.
    #[serde(deserialize_with = "text::list")]
    pub addresses: Vec<IpNet>,
    /// The next hops, at most one a family, on the link (or link-local). Without one of a family,
    /// only hosts on the link itself are reached.
    #[serde(default, deserialize_with = "text::list")]
    pub gateways: Vec<IpAddr>,
    /// Whether the host's own stack uses the interface too: packets that are for none of the
    /// gateway's addresses are then left to it.
    #[serde(default)]
    pub share_with_host: bool,
}

/// Public IPv4 addresses to allocate Elastic IP addresses from, and the public addresses that
/// subnets give to new interfaces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicIpv4Pool {
    /// `ipv4pool-ec2-…`
    pub public_ipv4_pool_id: PublicIpv4PoolId,
    /// Its networks. Every address of them is dealt out, the first and the last as well: they need
    /// not be a link's.
    #[serde(deserialize_with = "text::list")]
    pub pool_cidr_blocks: Vec<Ipv4Net>,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// An Elastic IP address: a public address that stands for one private address, both ways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// `eipalloc-…`
    pub allocation_id: AllocationId,
    /// The public address. It must be routed to the uplink or be on its link. IPv6 is our
    /// extension: it lets hosts with private IPv6 addresses out through a NAT gateway.
    #[serde(deserialize_with = "text::required")]
    pub public_ip: IpAddr,
    /// The interface it is associated with. Left out: a NAT gateway or load balancer may name it,
    /// or it rests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_interface_id: Option<EniId>,
    /// The private address of that interface that it stands for. Left out: the primary one of the
    /// same family.
    #[serde(default, deserialize_with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub private_ip_address: Option<IpAddr>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_true(value: &bool) -> bool {
    *value
}
