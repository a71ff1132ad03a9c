//! `halfspace sg`: security groups.

use std::fmt::Write as _;
use std::io;

use clap::{Args, Subcommand, ValueEnum};
use ipnet::IpNet;
use nf_core::vpc::document::IpProtocol;

use super::{Ask, Error, output, tag, tag_specifications};
use crate::actions::security_group::{
    AuthorizeSecurityGroupEgress, AuthorizeSecurityGroupIngress, CreateSecurityGroup,
    DeleteSecurityGroup, DescribeSecurityGroups, Group, IpPermission, IpRange, Ipv6Range,
    PrefixListRange, RevokeSecurityGroupEgress, RevokeSecurityGroupIngress, UserIdGroupPair,
};
use crate::actions::tags::Tag;

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(super) enum SecurityGroup {
    /// Make a security group; it lets nothing in and everything out
    #[command(after_help = "\
Examples:
  halfspace sg create web --vpc vpc-a --description 'web servers'")]
    Create(Create),

    /// Delete a security group that nothing uses
    #[command(after_help = "\
Examples:
  halfspace sg delete sg-web")]
    Delete(One),

    /// Let more in or out
    #[command(after_help = "\
Examples:
  halfspace sg authorize sg-web ingress --protocol tcp --port 80 --cidr 0.0.0.0/0 --cidr ::/0
  halfspace sg authorize sg-db ingress --protocol tcp --port 5432 --from-group sg-web
  halfspace sg authorize sg-web ingress --protocol icmp --icmp-type 8 --cidr 10.0.0.0/8")]
    Authorize(Rule),

    /// Let less in or out
    #[command(after_help = "\
Examples:
  halfspace sg revoke sg-web ingress --protocol tcp --port 80 --cidr 0.0.0.0/0
  halfspace sg revoke sg-web egress --protocol -1 --cidr 0.0.0.0/0")]
    Revoke(Rule),

    /// List security groups
    #[command(after_help = "\
Examples:
  halfspace sg list
  halfspace sg list --json | jq '.security_groups[].ip_permissions'")]
    List(Ask),

    /// Show the rules of a security group
    #[command(after_help = "\
Examples:
  halfspace sg show sg-web")]
    Show(One),
}

#[derive(Args, Debug)]
pub(super) struct Create {
    #[command(flatten)]
    ask: Ask,

    /// Its name
    name: String,

    /// Its VPC
    #[arg(long, value_name = "ID")]
    vpc: String,

    /// Its id [default: dealt out]
    #[arg(long)]
    id: Option<String>,

    /// Free text
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,

    /// A label; may be given several times
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    tags: Vec<Tag>,
}

#[derive(Args, Debug)]
pub(super) struct One {
    #[command(flatten)]
    ask: Ask,

    /// The group
    id: String,
}

/// Which way packets go, as seen from the interface.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Direction {
    Ingress,
    Egress,
}

#[derive(Args, Debug)]
pub(super) struct Rule {
    #[command(flatten)]
    ask: Ask,

    /// The group
    id: String,

    /// Which way
    direction: Direction,

    /// tcp, udp, icmp, icmpv6, a number, or -1 for all
    #[arg(long, allow_hyphen_values = true)]
    protocol: IpProtocol,

    /// The destination port, or the first and the last
    #[arg(long, value_name = "PORT[-PORT]", value_parser = ports, conflicts_with = "icmp_type")]
    port: Option<Ports>,

    /// The type of ICMP messages, -1 for all [default: -1]
    #[arg(long, value_name = "TYPE", allow_hyphen_values = true)]
    icmp_type: Option<i32>,

    /// The code of ICMP messages, -1 for all [default: -1]
    #[arg(long, value_name = "CODE", allow_hyphen_values = true, requires = "icmp_type")]
    icmp_code: Option<i32>,

    #[command(flatten)]
    ends: Ends,

    /// What the rule is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

/// Who is at the other end.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
struct Ends {
    /// A network at the other end; may be given several times
    #[arg(long, value_name = "NETWORK")]
    cidr: Vec<IpNet>,

    /// A security group at the other end; may be given several times
    #[arg(long, value_name = "ID")]
    from_group: Vec<String>,

    /// A prefix list at the other end; may be given several times
    #[arg(long, value_name = "ID")]
    prefix_list: Vec<String>,
}

/// The first and the last port.
type Ports = (u16, u16);

fn ports(text: &str) -> Result<Ports, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.parse().map_err(|_| format!("`{text}` is not a port"));
    Ok((port(first)?, port(last)?))
}

impl SecurityGroup {
    pub(super) async fn execute(&self) -> Result<(), Error> {
        match self {
            Self::Create(create) => create.execute().await,
            Self::Delete(One { ask, id }) => {
                let request = DeleteSecurityGroup { group_id: id.clone() };
                ask.act(&request, |_| output::line(format_args!("deleted {id}"))).await
            }
            Self::Authorize(rule) => rule.authorize().await,
            Self::Revoke(rule) => rule.revoke().await,
            Self::List(ask) => {
                let all = DescribeSecurityGroups::default();
                ask.act(&all, |told| list(&told.security_groups)).await
            }
            Self::Show(One { ask, id }) => {
                let one = DescribeSecurityGroups {
                    group_ids: vec![id.clone()],
                    ..DescribeSecurityGroups::default()
                };
                ask.act(&one, |told| told.security_groups.iter().try_for_each(show)).await
            }
        }
    }
}

impl Create {
    async fn execute(&self) -> Result<(), Error> {
        let request = CreateSecurityGroup {
            group_id: self.id.clone(),
            group_name: self.name.clone(),
            description: self.description.clone(),
            vpc_id: self.vpc.clone(),
            tag_specifications: tag_specifications("security-group", &self.tags),
        };
        self.ask
            .act(&request, |it| {
                output::line(format_args!("created {} ({})", it.group_id, self.name))
            })
            .await
    }
}

impl Rule {
    async fn authorize(&self) -> Result<(), Error> {
        let (group_id, ip_permissions) = (self.id.clone(), vec![self.permission()]);
        let done = || output::line(format_args!("authorized {}", self.id));
        match self.direction {
            Direction::Ingress => {
                let request = AuthorizeSecurityGroupIngress { group_id, ip_permissions };
                self.ask.act(&request, |_| done()).await
            }
            Direction::Egress => {
                let request = AuthorizeSecurityGroupEgress { group_id, ip_permissions };
                self.ask.act(&request, |_| done()).await
            }
        }
    }

    async fn revoke(&self) -> Result<(), Error> {
        let (group_id, ip_permissions) = (self.id.clone(), vec![self.permission()]);
        let done = || output::line(format_args!("revoked from {}", self.id));
        match self.direction {
            Direction::Ingress => {
                let request = RevokeSecurityGroupIngress { group_id, ip_permissions };
                self.ask.act(&request, |_| done()).await
            }
            Direction::Egress => {
                let request = RevokeSecurityGroupEgress { group_id, ip_permissions };
                self.ask.act(&request, |_| done()).await
            }
        }
    }

    fn permission(&self) -> IpPermission {
        let is_icmp = matches!(self.protocol, IpProtocol::Icmp | IpProtocol::Icmpv6);
        let (from_port, to_port) = if is_icmp {
            (Some(self.icmp_type.unwrap_or(-1)), Some(self.icmp_code.unwrap_or(-1)))
        } else {
            self.port.map(|(first, last)| (i32::from(first), i32::from(last))).unzip()
        };
        let description = &self.description;
        let v4 = self.ends.cidr.iter().filter_map(|cidr| match cidr {
            IpNet::V4(cidr_ip) => {
                Some(IpRange { cidr_ip: *cidr_ip, description: description.clone() })
            }
            IpNet::V6(_) => None,
        });
        let v6 = self.ends.cidr.iter().filter_map(|cidr| match cidr {
            IpNet::V4(_) => None,
            IpNet::V6(cidr_ipv6) => {
                Some(Ipv6Range { cidr_ipv6: *cidr_ipv6, description: description.clone() })
            }
        });
        let lists = self.ends.prefix_list.iter().map(|id| PrefixListRange {
            prefix_list_id: id.clone(),
            description: description.clone(),
        });
        let groups = self
            .ends
            .from_group
            .iter()
            .map(|id| UserIdGroupPair { group_id: id.clone(), description: description.clone() });
        IpPermission {
            ip_protocol: self.protocol,
            from_port,
            to_port,
            ip_ranges: v4.collect(),
            ipv6_ranges: v6.collect(),
            prefix_list_ids: lists.collect(),
            user_id_group_pairs: groups.collect(),
        }
    }
}

fn list(groups: &[Group]) -> io::Result<()> {
    let mut table =
        output::table(&["GROUP", "NAME", "VPC", "INGRESS RULES", "EGRESS RULES", "DESCRIPTION"]);
    output::align_right(&mut table, &[3, 4]);
    for it in groups {
        let count = |permissions: &[IpPermission]| {
            permissions.iter().map(|it| ends(it).len()).sum::<usize>().to_string()
        };
        table.add_row([
            it.group_id.clone(),
            it.group_name.clone(),
            it.vpc_id.clone(),
            count(&it.ip_permissions),
            count(&it.ip_permissions_egress),
            it.description.clone(),
        ]);
    }
    output::print(&table)
}

fn show(group: &Group) -> io::Result<()> {
    let mut table = output::table(&["DIRECTION", "PROTOCOL", "PORTS", "OTHER END", "DESCRIPTION"]);
    let ingress = group.ip_permissions.iter().map(|it| ("ingress", it));
    let egress = group.ip_permissions_egress.iter().map(|it| ("egress", it));
    for (direction, permission) in ingress.chain(egress) {
        let protocol = match permission.ip_protocol {
            IpProtocol::All => "all".to_owned(),
            other => other.to_string(),
        };
        let mut ports = String::new();
        if let Some((from, to)) = permission.from_port.zip(permission.to_port) {
            // Writing to a string cannot fail.
            let _ = if from == to { write!(ports, "{from}") } else { write!(ports, "{from}-{to}") };
        }
        for (end, description) in ends(permission) {
            table.add_row([direction, &protocol, &ports, &end, description.unwrap_or_default()]);
        }
    }
    output::print(&table)
}

/// Every other end of a permission, and what is said of it.
fn ends(permission: &IpPermission) -> Vec<(String, Option<&str>)> {
    let v4 = permission.ip_ranges.iter();
    let v4 = v4.map(|it| (it.cidr_ip.to_string(), it.description.as_deref()));
    let v6 = permission.ipv6_ranges.iter();
    let v6 = v6.map(|it| (it.cidr_ipv6.to_string(), it.description.as_deref()));
    let lists = permission.prefix_list_ids.iter();
    let lists = lists.map(|it| (it.prefix_list_id.clone(), it.description.as_deref()));
    let groups = permission.user_id_group_pairs.iter();
    let groups = groups.map(|it| (it.group_id.clone(), it.description.as_deref()));
    v4.chain(v6).chain(lists).chain(groups).collect()
}
