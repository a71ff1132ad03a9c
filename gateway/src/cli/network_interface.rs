//! `halfspace eni`: network interfaces.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use clap::{Args, Subcommand};
use ipnet::{Ipv4Net, Ipv6Net};
use nf_core::packet::MacAddr;
use nf_core::vpc::document::{ConnectionTracking, NetworkInterfaceType};

use super::{Ask, Error, output, tag, tag_specifications};
use crate::actions::network_interface::{
    AssignIpv6Addresses, AssignPrivateIpAddresses, Association, AttachNetworkInterface,
    CreateNetworkInterface, DeleteNetworkInterface, DescribeNetworkInterfaces,
    DetachNetworkInterface, InstanceIpv6Address, Ipv4PrefixSpecification, Ipv6PrefixSpecification,
    ModifyAttachment, ModifyNetworkInterfaceAttribute, MoveNetworkInterface, NetworkInterface,
    PrivateIpAddressSpecification, UnassignIpv6Addresses, UnassignPrivateIpAddresses,
};
use crate::actions::tags::Tag;
use crate::actions::{Action, AttributeValue, Request};

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(super) enum Interface {
    /// Make a network interface
    #[command(after_help = "\
What is not said is chosen: the lowest free address of the subnet, the VPC's default security
group. Addresses or prefixes are given or counted, one way for each family.

Examples:
  halfspace eni create --subnet subnet-a
  halfspace eni create --subnet subnet-a --private-ip 10.0.1.10 --group sg-web --tag Name=web
  halfspace eni create --subnet subnet-a --ipv4-prefix-count 1 --ipv6-address-count 1")]
    Create(Box<Create>),

    /// Delete a network interface that is attached to nothing
    #[command(after_help = "\
Elastic IP addresses on it stay allocated; routes to it become blackholes.

Examples:
  halfspace eni delete eni-0a1b2c3d4e5f60718")]
    Delete(One),

    /// Attach a network interface to an instance, running or stopped
    #[command(after_help = "\
Examples:
  halfspace eni attach eni-web --instance i-two --device-index 1")]
    Attach(Place),

    /// Detach a network interface from its instance; primary ones stay
    #[command(after_help = "\
Examples:
  halfspace eni detach eni-web
  halfspace eni detach eni-attach-0a1b2c3d4e5f60718 --force")]
    Detach(Detach),

    /// Detach a network interface and attach it to another instance, in one change
    #[command(after_help = "\
Addresses, groups, MAC address and Elastic IP addresses go along; packets go to the new instance
from one moment to the next.

Examples:
  halfspace eni move eni-web --instance i-standby --device-index 1")]
    Move(Place),

    /// Change attributes of a network interface, all at once
    #[command(after_help = "\
Groups are replaced as a set.

Examples:
  halfspace eni modify eni-web --groups sg-web,sg-ssh
  halfspace eni modify eni-router --source-dest-check false --description 'routes for others'")]
    Modify(Modify),

    /// Give a network interface further addresses or prefixes
    #[command(after_help = "\
Examples:
  halfspace eni assign eni-web --private-ip-count 2 --ipv6-address-count 1
  halfspace eni assign eni-web --private-ip 10.0.1.20 --allow-reassignment
  halfspace eni assign eni-host --ipv4-prefix 10.0.1.64/28")]
    Assign(Assign),

    /// Take secondary addresses or prefixes from a network interface
    #[command(after_help = "\
Examples:
  halfspace eni unassign eni-web --private-ip 10.0.1.20
  halfspace eni unassign eni-host --ipv4-prefix 10.0.1.64/28")]
    Unassign(Unassign),

    /// List network interfaces
    #[command(after_help = "\
Examples:
  halfspace eni list
  halfspace eni list --json | jq '.network_interfaces[] | select(.status == \"available\")'")]
    List(Ask),

    /// Show all about a network interface
    #[command(after_help = "\
Examples:
  halfspace eni show eni-web")]
    Show(One),
}

#[derive(Args, Debug)]
pub(super) struct One {
    #[command(flatten)]
    ask: Ask,

    /// The network interface
    id: String,
}

#[derive(Args, Debug)]
pub(super) struct Create {
    #[command(flatten)]
    ask: Ask,

    /// Its subnet
    #[arg(long, value_name = "ID")]
    subnet: String,

    /// Its id [default: dealt out]
    #[arg(long)]
    id: Option<String>,

    /// Its primary private address
    #[arg(long, value_name = "ADDRESS")]
    private_ip: Option<Ipv4Addr>,

    #[command(flatten)]
    addresses: Addresses,

    /// A security group; may be given several times
    #[arg(long = "group", value_name = "ID")]
    groups: Vec<String>,

    /// Free text
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    /// What kind it is
    #[arg(long, value_name = "TYPE", value_parser = interface_type)]
    interface_type: Option<NetworkInterfaceType>,

    /// Its MAC address [default: derived from its id]
    #[arg(long, value_name = "ADDRESS")]
    mac: Option<MacAddr>,

    /// A label; may be given several times
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    tags: Vec<Tag>,
}

/// Further addresses and prefixes, given or counted.
#[derive(Args, Debug)]
struct Addresses {
    /// A secondary private address; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    secondary_private_ip: Vec<Ipv4Addr>,

    /// How many secondary private addresses to choose
    #[arg(long, value_name = "COUNT")]
    secondary_private_ip_count: Option<u16>,

    #[command(flatten)]
    others: Others,
}

/// What there is beside private addresses.
#[derive(Args, Debug)]
struct Others {
    /// A prefix, a /28; may be given several times
    #[arg(long, value_name = "PREFIX")]
    ipv4_prefix: Vec<Ipv4Net>,

    /// How many prefixes to choose
    #[arg(long, value_name = "COUNT")]
    ipv4_prefix_count: Option<u16>,

    /// An IPv6 address; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    ipv6_address: Vec<Ipv6Addr>,

    /// How many IPv6 addresses to choose
    #[arg(long, value_name = "COUNT")]
    ipv6_address_count: Option<u16>,

    /// An IPv6 prefix, a /80; may be given several times
    #[arg(long, value_name = "PREFIX")]
    ipv6_prefix: Vec<Ipv6Net>,

    /// How many IPv6 prefixes to choose
    #[arg(long, value_name = "COUNT")]
    ipv6_prefix_count: Option<u16>,
}

#[derive(Args, Debug)]
pub(super) struct Place {
    #[command(flatten)]
    ask: Ask,

    /// The network interface
    id: String,

    /// The instance
    #[arg(long, value_name = "ID")]
    instance: String,

    /// Its place at the instance
    #[arg(long, value_name = "INDEX")]
    device_index: u16,

    /// The network card of the instance [default: 0]
    #[arg(long, value_name = "INDEX")]
    network_card_index: Option<u16>,
}

#[derive(Args, Debug)]
pub(super) struct Detach {
    #[command(flatten)]
    ask: Ask,

    /// The network interface, or its attachment
    id: String,

    /// Do not ask the instance; it never is
    #[arg(long)]
    force: bool,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
struct Attributes {
    /// Free text
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    /// All its security groups
    #[arg(long, value_name = "ID,...", value_delimiter = ',')]
    groups: Option<Vec<String>>,

    /// Whether packets neither from nor to its own addresses are dropped
    #[arg(long, value_name = "BOOL")]
    source_dest_check: Option<bool>,

    /// Whether it goes when its instance is terminated
    #[arg(long, value_name = "BOOL")]
    delete_on_termination: Option<bool>,

    /// Idle time of established TCP connections; the other idle times go back to their defaults if
    /// they are not given along
    #[arg(long, value_name = "SECONDS")]
    tcp_established_timeout: Option<u32>,

    /// Idle time of UDP that was answered more than once
    #[arg(long, value_name = "SECONDS")]
    udp_stream_timeout: Option<u32>,

    /// Idle time of other UDP
    #[arg(long, value_name = "SECONDS")]
    udp_timeout: Option<u32>,
}

#[derive(Args, Debug)]
pub(super) struct Modify {
    #[command(flatten)]
    ask: Ask,

    /// The network interface
    id: String,

    #[command(flatten)]
    attributes: Attributes,
}

#[derive(Args, Debug)]
pub(super) struct Assign {
    #[command(flatten)]
    ask: Ask,

    /// The network interface
    id: String,

    /// A private address; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    private_ip: Vec<Ipv4Addr>,

    /// How many private addresses to choose
    #[arg(long, value_name = "COUNT")]
    private_ip_count: Option<u16>,

    /// Take private addresses from other interfaces, where they are secondary ones
    #[arg(long)]
    allow_reassignment: bool,

    #[command(flatten)]
    others: Others,
}

#[derive(Args, Debug)]
pub(super) struct Unassign {
    #[command(flatten)]
    ask: Ask,

    /// The network interface
    id: String,

    /// A private address; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    private_ip: Vec<Ipv4Addr>,

    /// A prefix; may be given several times
    #[arg(long, value_name = "PREFIX")]
    ipv4_prefix: Vec<Ipv4Net>,

    /// An IPv6 address; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    ipv6_address: Vec<Ipv6Addr>,

    /// An IPv6 prefix; may be given several times
    #[arg(long, value_name = "PREFIX")]
    ipv6_prefix: Vec<Ipv6Net>,
}

impl Interface {
    pub(super) async fn execute(&self) -> Result<(), Error> {
        match self {
            Self::Create(create) => create.execute().await,
            Self::Delete(One { ask, id }) => {
                let request = DeleteNetworkInterface { network_interface_id: id.clone() };
                ask.act(&request, |_| output::line(format_args!("deleted {id}"))).await
            }
            Self::Attach(place) => place.attach().await,
            Self::Detach(detach) => detach.execute().await,
            Self::Move(place) => place.go().await,
            Self::Modify(modify) => modify.execute().await,
            Self::Assign(assign) => assign.execute().await,
            Self::Unassign(unassign) => unassign.execute().await,
            Self::List(ask) => {
                let all = DescribeNetworkInterfaces::default();
                ask.act(&all, |told| list(&told.network_interfaces)).await
            }
            Self::Show(One { ask, id }) => {
                let one = DescribeNetworkInterfaces { network_interface_ids: vec![id.clone()] };
                ask.act(&one, |told| told.network_interfaces.iter().try_for_each(show)).await
            }
        }
    }
}

impl Create {
    async fn execute(&self) -> Result<(), Error> {
        let Addresses { secondary_private_ip, secondary_private_ip_count, others } =
            &self.addresses;
        let secondary = |private_ip_address: &Ipv4Addr| PrivateIpAddressSpecification {
            private_ip_address: *private_ip_address,
            primary: false,
        };
        let prefix = |ipv4_prefix: &Ipv4Net| Ipv4PrefixSpecification { ipv4_prefix: *ipv4_prefix };
        let address = |ipv6_address: &Ipv6Addr| InstanceIpv6Address { ipv6_address: *ipv6_address };
        let prefix_v6 =
            |ipv6_prefix: &Ipv6Net| Ipv6PrefixSpecification { ipv6_prefix: *ipv6_prefix };
        let request = CreateNetworkInterface {
            network_interface_id: self.id.clone(),
            subnet_id: self.subnet.clone(),
            description: self.description.clone(),
            private_ip_address: self.private_ip,
            private_ip_addresses: secondary_private_ip.iter().map(secondary).collect(),
            secondary_private_ip_address_count: *secondary_private_ip_count,
            ipv4_prefixes: others.ipv4_prefix.iter().map(prefix).collect(),
            ipv4_prefix_count: others.ipv4_prefix_count,
            ipv6_addresses: others.ipv6_address.iter().map(address).collect(),
            ipv6_address_count: others.ipv6_address_count,
            ipv6_prefixes: others.ipv6_prefix.iter().map(prefix_v6).collect(),
            ipv6_prefix_count: others.ipv6_prefix_count,
            groups: self.groups.clone(),
            interface_type: self.interface_type,
            connection_tracking_specification: None,
            mac_address: self.mac,
            tag_specifications: tag_specifications("network-interface", &self.tags),
        };
        let print = |made: &NetworkInterface| {
            let address = output::optional(made.private_ip_address.map(|it| format!(" {it}")));
            let id = &made.network_interface_id;
            output::line(format_args!("created {id}{address} in {}", made.subnet_id))
        };
        self.ask.act(&request, |created| print(&created.network_interface)).await
    }
}

impl Place {
    async fn attach(&self) -> Result<(), Error> {
        let request = AttachNetworkInterface {
            network_interface_id: self.id.clone(),
            instance_id: self.instance.clone(),
            device_index: self.device_index,
            network_card_index: self.network_card_index,
        };
        self.ask.act(&request, |done| self.told("attached", &done.attachment_id)).await
    }

    async fn go(&self) -> Result<(), Error> {
        let request = MoveNetworkInterface {
            network_interface_id: self.id.clone(),
            instance_id: self.instance.clone(),
            device_index: self.device_index,
            network_card_index: self.network_card_index,
        };
        self.ask.act(&request, |done| self.told("moved", &done.attachment_id)).await
    }

    fn told(&self, done: &str, attachment: &str) -> io::Result<()> {
        output::line(format_args!("{done} {} to {} ({attachment})", self.id, self.instance))
    }
}

impl Detach {
    async fn execute(&self) -> Result<(), Error> {
        let attachment_id = if self.id.starts_with("eni-attach-") {
            self.id.clone()
        } else {
            attachment_of(&self.ask, &self.id).await?
        };
        let request = DetachNetworkInterface { attachment_id, force: Some(self.force) };
        self.ask.act(&request, |_| output::line(format_args!("detached {}", self.id))).await
    }
}

/// The attachment of an interface. That it has none is told in the words of the gateway.
async fn attachment_of(ask: &Ask, id: &str) -> Result<String, Error> {
    let one = DescribeNetworkInterfaces { network_interface_ids: vec![id.to_owned()] };
    let told = ask.gateway.connect().await?.act(&one).await?;
    let attachment = told.network_interfaces.into_iter().find_map(|it| it.attachment);
    attachment.map(|it| it.attachment_id).ok_or_else(|| Error::NotAttached(id.to_owned()))
}

impl Modify {
    async fn execute(&self) -> Result<(), Error> {
        let Attributes { description, groups, source_dest_check, .. } = &self.attributes;
        let bare = || ModifyNetworkInterfaceAttribute {
            network_interface_id: self.id.clone(),
            ..ModifyNetworkInterfaceAttribute::default()
        };
        let mut changes = Vec::new();
        if let Some(text) = description {
            let description = Some(AttributeValue::from(text.clone()));
            changes.push(ModifyNetworkInterfaceAttribute { description, ..bare() });
        }
        if groups.is_some() {
            changes.push(ModifyNetworkInterfaceAttribute { groups: groups.clone(), ..bare() });
        }
        if let Some(check) = source_dest_check {
            let source_dest_check = Some(AttributeValue::from(*check));
            changes.push(ModifyNetworkInterfaceAttribute { source_dest_check, ..bare() });
        }
        if let Some(delete_on_termination) = self.attributes.delete_on_termination {
            let attachment_id = attachment_of(&self.ask, &self.id).await?;
            let attachment = Some(ModifyAttachment { attachment_id, delete_on_termination });
            changes.push(ModifyNetworkInterfaceAttribute { attachment, ..bare() });
        }
        if let Some(tracking) = self.attributes.connection_tracking() {
            let connection_tracking_specification = Some(tracking);
            changes.push(ModifyNetworkInterfaceAttribute {
                connection_tracking_specification,
                ..bare()
            });
        }
        let requests = changes.iter().map(Request::of).collect::<Result<_, _>>();
        let requests = requests.map_err(Error::Json)?;
        self.ask.transact(requests, || output::line(format_args!("changed {}", self.id))).await
    }
}

impl Attributes {
    fn connection_tracking(&self) -> Option<ConnectionTracking> {
        let Self { tcp_established_timeout, udp_stream_timeout, udp_timeout, .. } = self;
        tcp_established_timeout.or(*udp_stream_timeout).or(*udp_timeout)?;
        let default = ConnectionTracking::default();
        Some(ConnectionTracking {
            tcp_established_timeout: tcp_established_timeout
                .unwrap_or(default.tcp_established_timeout),
            udp_stream_timeout: udp_stream_timeout.unwrap_or(default.udp_stream_timeout),
            udp_timeout: udp_timeout.unwrap_or(default.udp_timeout),
        })
    }
}

impl Assign {
    async fn execute(&self) -> Result<(), Error> {
        let v4 = AssignPrivateIpAddresses {
            network_interface_id: self.id.clone(),
            private_ip_addresses: self.private_ip.clone(),
            secondary_private_ip_address_count: self.private_ip_count,
            ipv4_prefixes: self.others.ipv4_prefix.clone(),
            ipv4_prefix_count: self.others.ipv4_prefix_count,
            allow_reassignment: Some(self.allow_reassignment),
        };
        let v6 = AssignIpv6Addresses {
            network_interface_id: self.id.clone(),
            ipv6_addresses: self.others.ipv6_address.clone(),
            ipv6_address_count: self.others.ipv6_address_count,
            ipv6_prefixes: self.others.ipv6_prefix.clone(),
            ipv6_prefix_count: self.others.ipv6_prefix_count,
        };
        let has_v4 = !v4.private_ip_addresses.is_empty()
            || v4.secondary_private_ip_address_count.is_some()
            || !v4.ipv4_prefixes.is_empty()
            || v4.ipv4_prefix_count.is_some();
        let has_v6 = !v6.ipv6_addresses.is_empty()
            || v6.ipv6_address_count.is_some()
            || !v6.ipv6_prefixes.is_empty()
            || v6.ipv6_prefix_count.is_some();
        let requests = by_family((&v4, has_v4), (&v6, has_v6))?;
        let done = || output::line(format_args!("assigned to {}", self.id));
        self.ask.transact(requests, done).await
    }
}

impl Unassign {
    async fn execute(&self) -> Result<(), Error> {
        let v4 = UnassignPrivateIpAddresses {
            network_interface_id: self.id.clone(),
            private_ip_addresses: self.private_ip.clone(),
            ipv4_prefixes: self.ipv4_prefix.clone(),
        };
        let v6 = UnassignIpv6Addresses {
            network_interface_id: self.id.clone(),
            ipv6_addresses: self.ipv6_address.clone(),
            ipv6_prefixes: self.ipv6_prefix.clone(),
        };
        let has_v4 = !v4.private_ip_addresses.is_empty() || !v4.ipv4_prefixes.is_empty();
        let has_v6 = !v6.ipv6_addresses.is_empty() || !v6.ipv6_prefixes.is_empty();
        let requests = by_family((&v4, has_v4), (&v6, has_v6))?;
        let done = || output::line(format_args!("unassigned from {}", self.id));
        self.ask.transact(requests, done).await
    }
}

/// Requests for the families that something is said of; of none, the gateway says what is missing.
fn by_family<A: Action, B: Action>(v4: (&A, bool), v6: (&B, bool)) -> Result<Vec<Request>, Error> {
    let is_bare = !v4.1 && !v6.1;
    let v4 = (v4.1 || is_bare).then(|| Request::of(v4.0));
    let v6 = v6.1.then(|| Request::of(v6.0));
    v4.into_iter().chain(v6).collect::<Result<_, _>>().map_err(Error::Json)
}

fn interface_type(text: &str) -> Result<NetworkInterfaceType, String> {
    match text {
        "interface" => Ok(NetworkInterfaceType::Interface),
        "efa" => Ok(NetworkInterfaceType::Efa),
        "efa-only" => Ok(NetworkInterfaceType::EfaOnly),
        _ => Err("write interface, efa or efa-only".to_owned()),
    }
}

fn list(interfaces: &[NetworkInterface]) -> io::Result<()> {
    let mut table = output::table(&[
        "NETWORK INTERFACE",
        "STATUS",
        "TYPE",
        "SUBNET",
        "PRIVATE IP",
        "PUBLIC IP",
        "ATTACHED TO",
        "PORT",
        "GROUPS",
    ]);
    for it in interfaces {
        let at = it.attachment.as_ref().map(|at| format!("{} {}", at.instance_id, at.device_index));
        let groups: Vec<_> = it.groups.iter().map(|group| group.group_name.as_str()).collect();
        table.add_row([
            it.network_interface_id.clone(),
            it.status.clone(),
            it.interface_type.clone(),
            it.subnet_id.clone(),
            output::optional(it.private_ip_address),
            output::optional(it.association.as_ref().map(|it| it.public_ip)),
            output::optional(at),
            output::optional(it.port.as_ref()),
            groups.join(" "),
        ]);
    }
    output::print(&table)
}

fn show(it: &NetworkInterface) -> io::Result<()> {
    let status = it.attachment.as_ref().map_or_else(
        || it.status.clone(),
        |at| {
            let place = format!("device {} of card {}", at.device_index, at.network_card_index);
            format!("{}, {} to {} as {place}", it.status, at.status, at.instance_id)
        },
    );
    let managed = if it.requester_managed { ", requester-managed" } else { "" };
    let check = if it.source_dest_check { "on" } else { "off" };
    let groups: Vec<_> =
        it.groups.iter().map(|it| format!("{} ({})", it.group_id, it.group_name)).collect();
    let public = |association: &Option<Association>| {
        output::optional(association.as_ref().map(|it| format!(" ({})", it.public_ip)))
    };
    let v4 = it.private_ip_addresses.iter();
    let v4: Vec<_> =
        v4.map(|it| format!("{}{}", it.private_ip_address, public(&it.association))).collect();
    let v6 = it.ipv6_addresses.iter();
    let v6: Vec<_> =
        v6.map(|it| format!("{}{}", it.ipv6_address, public(&it.association))).collect();
    let prefixes = it.ipv4_prefixes.iter().map(|it| it.ipv4_prefix.to_string());
    let prefixes_v6 = it.ipv6_prefixes.iter().map(|it| it.ipv6_prefix.to_string());
    let tags: Vec<_> = it.tag_set.iter().map(|tag| format!("{}={}", tag.key, tag.value)).collect();
    for (name, value) in [
        ("interface", it.network_interface_id.clone()),
        ("description", it.description.clone()),
        ("status", status),
        ("type", format!("{}{managed}", it.interface_type)),
        ("subnet", format!("{} of {}, {}", it.subnet_id, it.vpc_id, it.availability_zone)),
        ("port", output::optional(it.port.as_ref())),
        ("MAC address", output::optional(it.mac_address.as_ref())),
        ("addresses", [v4, v6].concat().join(", ")),
        ("prefixes", prefixes.chain(prefixes_v6).collect::<Vec<_>>().join(", ")),
        ("groups", groups.join(", ")),
        ("check", format!("source and destination check {check}")),
        ("tags", tags.join(", ")),
    ] {
        if !value.is_empty() {
            output::line(format_args!("{name:<14}{value}"))?;
        }
    }
    Ok(())
}
