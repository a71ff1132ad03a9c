//! What can be wrong with a document, in words that say what to change and under the error code
//! that EC2 or `ELBv2` has for it.

mod attachment;
mod code;
mod flow_log;
mod nat_address;
mod prefix;
mod prefix_list;
mod security_group;

use std::net::IpAddr;

use ipnet::IpNet;

use crate::packet::MacAddr;
use crate::vpc::document::Transport;
use crate::vpc::id::{EniId, InternetGatewayId, PublicIpv4PoolId, ResourceId, SubnetId, VpcId};
use crate::vpc::path::Path;

pub use attachment::InvalidAttachment;
pub use flow_log::InvalidFlowLog;
pub use nat_address::InvalidNatAddress;
pub use prefix::InvalidPrefix;
pub use prefix_list::InvalidPrefixList;
pub use security_group::InvalidSecurityGroup;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {kind} ({})", .kind.code())]
pub struct Invalid {
    /// The value to change. It may be a key that is missing.
    pub path: Path,
    /// What is wrong with it.
    pub kind: InvalidKind,
}

/// What is wrong with a value.
///
/// An `other` is the path of the value that it collides with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKind {
    /// Two of a kind have one id or name.
    #[error("{noun} `{id}` is declared a second time: {other} has the id already; choose another")]
    Duplicate {
        /// What the id is of.
        noun: &'static str,
        /// The id.
        id: String,
        /// Error code of the kind.
        code: &'static str,
        /// The first one.
        other: Path,
    },
    /// An id or name that names nothing.
    #[error("{noun} `{id}` does not exist: declare it or correct the id")]
    NotFound {
        /// What the id should be of.
        noun: &'static str,
        /// The id.
        id: String,
        /// Error code of the kind.
        code: &'static str,
    },
    /// Two resources that must be in one VPC are not.
    #[error("{noun} `{id}` is in {found}, this needs one in {wanted}")]
    OtherVpc {
        /// What the id is of.
        noun: &'static str,
        /// The id.
        id: String,
        /// Its VPC.
        found: VpcId,
        /// The VPC it should be in.
        wanted: VpcId,
    },
    /// A number outside its range.
    #[error("{found} is outside {min} to {max}")]
    OutOfRange {
        /// The number.
        found: u64,
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// Several things of which one is allowed.
    #[error("{}", exactly_one(.keys, *.found))]
    ExactlyOne {
        /// The keys to choose from.
        keys: &'static [&'static str],
        /// How many are there.
        found: usize,
    },

    /// More of something than a quota allows.
    #[error("a quota allows {limit} {what}: remove some, or raise quotas.{key}")]
    Quota {
        /// What is counted, in the plural.
        what: &'static str,
        /// How many there may be.
        limit: u32,
        /// The key of the quota.
        key: &'static str,
        /// Error code of the quota.
        code: &'static str,
    },
    /// A text that has to be one word.
    #[error("`{found}` is not a {noun}: write 1 to 64 letters, digits or hyphens")]
    NotAWord {
        /// What it should be.
        noun: &'static str,
        /// The text.
        found: Box<str>,
    },

    /// A network whose address has bits beyond its prefix.
    #[error("{found} has bits beyond its prefix length: write {}", .found.trunc())]
    HostBits {
        /// The network as written.
        found: IpNet,
    },
    /// A network too large or too small.
    #[error("/{} is not a size {noun}s have: choose /{min} to /{max}", .found.prefix_len())]
    PrefixLength {
        /// "VPC" or "subnet".
        noun: &'static str,
        /// The network.
        found: IpNet,
        /// The shortest prefix.
        min: u8,
        /// The longest prefix.
        max: u8,
        /// Error code of the kind.
        code: &'static str,
    },
    /// A network that hosts cannot have addresses of.
    #[error("{found} is not for hosts: it is loopback, link-local, multicast or reserved space")]
    NotForHosts {
        /// The network.
        found: IpNet,
    },
    /// A subnet outside its VPC's block.
    #[error("{subnet} is not inside {block}, the block of {vpc}")]
    SubnetOutsideVpc {
        /// The subnet's block.
        subnet: IpNet,
        /// The VPC's block of that family.
        block: IpNet,
        /// The VPC.
        vpc: VpcId,
    },
    /// Two subnets of a VPC overlap.
    #[error("{block} overlaps {other_block} of {other} in the same VPC")]
    SubnetConflict {
        /// The subnet's block.
        block: IpNet,
        /// The other one.
        other: SubnetId,
        /// Its block.
        other_block: IpNet,
    },
    /// Two VPCs with internet gateways have the same public IPv6 addresses.
    #[error(
        "{block} overlaps {other_block} of {other}, and both VPCs have internet gateways: packets \
         from outside could belong to either; use private addresses (fd00::/8) or other ones"
    )]
    PublicBlockConflict {
        /// The VPC's block.
        block: IpNet,
        /// The other VPC.
        other: VpcId,
        /// Its block.
        other_block: IpNet,
    },
    /// An IPv6 address or block where there is no block to take it from.
    #[error("{noun} `{id}` has no ipv6_cidr_block: give it one")]
    NoIpv6Block {
        /// "VPC" or "subnet".
        noun: &'static str,
        /// The id.
        id: String,
    },

    /// An address outside its subnet.
    #[error("{address} is not inside {block}, the block of {subnet}")]
    AddressOutsideSubnet {
        /// The address.
        address: IpAddr,
        /// The subnet.
        subnet: SubnetId,
        /// The subnet's block of that family.
        block: IpNet,
    },
    /// One of the five reserved addresses.
    #[error(
        "{address} is reserved: the first four addresses of {subnet} and the last are not for \
         interfaces"
    )]
    AddressReserved {
        /// The address.
        address: IpAddr,
        /// The subnet.
        subnet: SubnetId,
    },
    /// An interface without an address.
    #[error("an interface has a private IPv4 address, unless it is an efa-only one: write one")]
    NoPrimaryAddress,
    /// An address of an interface without IP.
    #[error("an efa-only interface has no IP: leave its addresses and prefixes out")]
    AddressWithoutIp,
    /// A prefix of an interface.
    #[error(transparent)]
    Prefix(#[from] InvalidPrefix),
    /// An address that another interface of the VPC has.
    #[error("{address} is the address of {eni} already")]
    AddressInUse {
        /// The address.
        address: IpAddr,
        /// Who has it.
        eni: EniId,
    },
    /// No address is left to give an interface.
    #[error("{subnet} has no free address left in {block}")]
    NoFreeAddress {
        /// The subnet.
        subnet: SubnetId,
        /// Its full block.
        block: IpNet,
    },
    /// An address that cannot be chosen for the operator.
    #[error(
        "{subnet} is the segment behind `{port}`, whose hosts are not all declared: write an \
         address that none of them has"
    )]
    AddressNeeded {
        /// The subnet.
        subnet: SubnetId,
        /// Its interface.
        port: Box<str>,
    },
    /// A MAC address that is not one host's.
    #[error("{mac} is not the address of one host: choose one like 02:00:00:00:00:01")]
    MacNotUnicast {
        /// The MAC address.
        mac: MacAddr,
    },
    /// Two interfaces behind one port have the same MAC address.
    #[error("{mac} is the address of {eni} on the same segment already")]
    MacInUse {
        /// The MAC address.
        mac: MacAddr,
        /// Who has it.
        eni: EniId,
    },
    /// A text that no Linux interface can have as its name.
    #[error("`{name}` cannot be a Linux interface: 1 to 15 bytes without spaces, `/` or `:`")]
    PortName {
        /// The text.
        name: Box<str>,
    },
    /// An instance, or what is attached to it.
    #[error(transparent)]
    Attachment(#[from] InvalidAttachment),
    /// Two things claim one interface.
    #[error("`{name}` is in use as {other} already: a port serves one thing")]
    PortInUse {
        /// The interface.
        name: Box<str>,
        /// The first claim.
        other: Path,
    },

    /// A security group, a rule, or the groups of an interface.
    #[error(transparent)]
    SecurityGroup(#[from] InvalidSecurityGroup),
    /// A prefix list.
    #[error(transparent)]
    PrefixList(#[from] InvalidPrefixList),

    /// A second main route table.
    #[error("{vpc} has a main route table already, {other}")]
    SecondMainTable {
        /// The VPC.
        vpc: VpcId,
        /// The first.
        other: Path,
    },
    /// A second route for one destination.
    #[error("the table has a route to {destination} already, {other}")]
    RouteExists {
        /// The destination.
        destination: IpNet,
        /// The first.
        other: Path,
    },
    /// A route that takes local traffic away where that cannot be.
    #[error(
        "{destination} is inside {block} of the VPC: such a route is for the whole block of one \
         subnet and leads to a network interface or NAT gateway"
    )]
    RouteInsideVpc {
        /// The destination.
        destination: IpNet,
        /// The VPC's block.
        block: IpNet,
    },
    /// A warning: the target of a route is an interface that packets cannot be delivered to.
    #[error("{eni} is not attached to a running instance: packets to {destination} are dropped")]
    DetachedTarget {
        /// The interface.
        eni: EniId,
        /// The destination.
        destination: IpNet,
    },
    /// A warning: the target of a route is an internet gateway without a VPC.
    #[error("{gateway} is attached to no VPC: packets to {destination} are dropped")]
    DetachedGateway {
        /// The internet gateway.
        gateway: InternetGatewayId,
        /// The destination.
        destination: IpNet,
    },
    /// A warning: the target of a route is not in the document.
    #[error("{noun} `{id}` does not exist: packets to {destination} are dropped")]
    Blackhole {
        /// What the id should be of.
        noun: &'static str,
        /// The id.
        id: String,
        /// The destination.
        destination: IpNet,
    },

    /// A second internet gateway.
    #[error("{vpc} has an internet gateway already, {other}")]
    SecondInternetGateway {
        /// The VPC.
        vpc: VpcId,
        /// The first.
        other: Path,
    },
    /// Something public in a VPC that has no way out.
    #[error(
        "{vpc} has no internet gateway: declare one, or nothing in it can have a public address"
    )]
    NoInternetGateway {
        /// The VPC.
        vpc: VpcId,
    },
    /// An uplink without an address of its own.
    #[error("an uplink needs at least one address of its own, such as 203.0.113.2/24")]
    NoUplinkAddress,
    /// An address that no host can have.
    #[error("{address} is not the address of a host")]
    NotAHost {
        /// The address.
        address: IpAddr,
    },
    /// A next hop that is not a neighbour.
    #[error("{gateway} is on none of the uplink's networks: a gateway must be a neighbour")]
    GatewayOffLink {
        /// The next hop.
        gateway: IpAddr,
    },
    /// Two next hops of one family.
    #[error("{gateway} is a second gateway of its family, after {other}")]
    SecondGateway {
        /// The next hop.
        gateway: IpAddr,
        /// The first.
        other: IpAddr,
    },
    /// An outside address that something else has.
    #[error("{address} is in use by {other} already")]
    PublicAddressInUse {
        /// The address.
        address: IpAddr,
        /// Who has it.
        other: Path,
    },
    /// A public address that is an inside one as well.
    #[error(
        "{address} is inside {block} of {vpc}, which would keep packets to it for itself: choose \
         an address outside"
    )]
    PublicAddressInVpc {
        /// The address.
        address: IpAddr,
        /// The VPC's block.
        block: IpNet,
        /// The VPC.
        vpc: VpcId,
    },
    /// A pool that a VPC with an internet gateway has addresses of.
    #[error(
        "{block} overlaps {vpc_block} of {vpc}, which would keep packets to it for itself: choose \
         a block outside"
    )]
    PoolInVpc {
        /// The pool's block.
        block: IpNet,
        /// The VPC's block.
        vpc_block: IpNet,
        /// The VPC.
        vpc: VpcId,
    },
    /// Two blocks of pools overlap.
    #[error("{block} overlaps {other_block} of {other}: an address is in one pool")]
    PoolConflict {
        /// The block.
        block: IpNet,
        /// The pool of the other one, perhaps the same.
        other: PublicIpv4PoolId,
        /// The other block.
        other_block: IpNet,
    },
    /// A public address of a subnet that is not from a pool.
    #[error(
        "{address} is in no public_ipv4_pool: the subnet gave it from one; choose one of those"
    )]
    NotFromPool {
        /// The address.
        address: IpAddr,
    },
    /// An Elastic IP address in two places.
    #[error("`{id}` is associated already, by {other}")]
    AlreadyAssociated {
        /// The allocation.
        id: String,
        /// Who has it.
        other: Path,
    },
    /// A second Elastic IP address on one private address.
    #[error("{address} of {eni} has an Elastic IP address already")]
    PrivateAddressTaken {
        /// The private address.
        address: IpAddr,
        /// Its interface.
        eni: EniId,
    },
    /// An Elastic IP address for a private one that the interface does not have.
    #[error("{eni} has no address {address}: choose one of its own, of the public one's family")]
    NoSuchPrivateAddress {
        /// What was asked for.
        address: IpAddr,
        /// The interface.
        eni: EniId,
    },
    /// An Elastic IP address for an interface without an address of its family.
    #[error("{eni} has no address of the same family for {address} to stand for")]
    NoPrivateAddress {
        /// The public address.
        address: IpAddr,
        /// The interface.
        eni: EniId,
    },
    /// A private address that no interface is named for.
    #[error("private_ip_address says which address of an interface: name network_interface_id too")]
    PrivateAddressAlone,

    /// A public NAT gateway without a public address.
    #[error("a public NAT gateway needs at least one Elastic IP address in allocation_ids")]
    NatWithoutAddress,
    /// A private NAT gateway with one.
    #[error("a private NAT gateway has no Elastic IP address: leave allocation_ids out")]
    PrivateNatWithAddress,
    /// A secondary address of a NAT gateway.
    #[error(transparent)]
    NatAddress(#[from] InvalidNatAddress),
    /// A symmetric NAT gateway with a filtering behaviour.
    #[error(
        "a symmetric NAT gateway lets in the answers of each flow and nothing else: leave filtering \
         out, or set mapping = \"endpoint-independent\""
    )]
    FilteringWithoutMapping,

    /// A load balancer without a node.
    #[error("a load balancer needs at least one subnet")]
    NoSubnetMapping,
    /// Two nodes in one subnet.
    #[error("{subnet} has a node already, {other}")]
    SecondNode {
        /// The subnet.
        subnet: SubnetId,
        /// The first.
        other: Path,
    },
    /// An internet-facing node that is reached from nowhere.
    #[error(
        "a node of an internet-facing load balancer needs a public address: name an allocation_id"
    )]
    NodeWithoutAddress,
    /// An internal node with a public address.
    #[error("a node of an internal load balancer has no public address: leave allocation_id out")]
    InternalNodeWithAddress,
    /// Two listeners on one port.
    #[error("the load balancer listens on {protocol} port {port} already, {other}")]
    DuplicateListener {
        /// The protocol.
        protocol: Transport,
        /// The port.
        port: u16,
        /// The first.
        other: Path,
    },
    /// More listeners than a load balancer has.
    #[error("a load balancer has at most {max} listeners, this one has {found}")]
    TooManyListeners {
        /// How many are there.
        found: usize,
        /// How many may be.
        max: usize,
    },
    /// A listener and a target group that do not fit.
    #[error("`{target_group}` is for {found}, the listener for {wanted}")]
    ProtocolMismatch {
        /// The target group.
        target_group: String,
        /// Its protocol.
        found: Transport,
        /// The listener's.
        wanted: Transport,
    },
    /// A TCP setting of a UDP listener.
    #[error("this is for TCP listeners; UDP flows are forgotten after 120 s, always")]
    TcpOnly,
    /// A target out in the internet.
    #[error("{address} is neither in {vpc} nor private: targets may not be public")]
    PublicTarget {
        /// The target.
        address: IpAddr,
        /// The group's VPC.
        vpc: VpcId,
    },
    /// A target that is a load balancer.
    #[error("{address} is a node of a load balancer ({eni}): targets may not be")]
    LoadBalancerAsTarget {
        /// The target.
        address: IpAddr,
        /// The node's interface.
        eni: EniId,
    },
    /// Two targets with one address and port.
    #[error("{address} port {port} is a target already, {other}")]
    DuplicateTarget {
        /// The target.
        address: IpAddr,
        /// Its port.
        port: u16,
        /// The first.
        other: Path,
    },

    /// A flow log.
    #[error(transparent)]
    FlowLog(#[from] InvalidFlowLog),
}

impl InvalidKind {
    pub(in crate::vpc) fn duplicate<I: ResourceId>(id: &I, other: Path) -> Self {
        Self::Duplicate { noun: I::NOUN, id: id.to_string(), code: I::DUPLICATE, other }
    }

    pub(in crate::vpc) fn not_found<I: ResourceId>(id: &I) -> Self {
        Self::NotFound { noun: I::NOUN, id: id.to_string(), code: I::NOT_FOUND }
    }

    pub(in crate::vpc) fn blackhole<I: ResourceId>(id: &I, destination: IpNet) -> Self {
        Self::Blackhole { noun: I::NOUN, id: id.to_string(), destination }
    }

    pub(in crate::vpc) fn other_vpc<I: ResourceId>(id: &I, found: &VpcId, wanted: &VpcId) -> Self {
        Self::OtherVpc {
            noun: I::NOUN,
            id: id.to_string(),
            found: found.clone(),
            wanted: wanted.clone(),
        }
    }
}

fn exactly_one(keys: &[&str], found: usize) -> String {
    let keys = keys.join(", ");
    if found == 0 {
        format!("one of {keys} is missing")
    } else {
        format!("{found} of {keys} are given: keep one")
    }
}
