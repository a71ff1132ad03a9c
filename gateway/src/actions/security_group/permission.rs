//! Rules as EC2's actions write them, a protocol with many other ends, and as the document does, one
//! other end a rule.

use ipnet::{Ipv4Net, Ipv6Net};
use nf_core::vpc::document::{IpProtocol, SecurityGroupRule};
use serde::{Deserialize, Serialize};

use super::everything;
use crate::actions::resource::parse;
use crate::actions::{Edit, Refusal};

/// A protocol, its ports, and who is at the other ends: at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IpPermission {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, a number, or `-1` for all.
    pub ip_protocol: IpProtocol,
    /// The first destination port; for ICMP the type, -1 for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_port: Option<i32>,
    /// The last destination port; for ICMP the code, -1 for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_port: Option<i32>,
    /// IPv4 networks.
    #[serde(default)]
    pub ip_ranges: Vec<IpRange>,
    /// IPv6 networks.
    #[serde(default)]
    pub ipv6_ranges: Vec<Ipv6Range>,
    /// Prefix lists.
    #[serde(default)]
    pub prefix_list_ids: Vec<PrefixListRange>,
    /// Security groups.
    #[serde(default)]
    pub user_id_group_pairs: Vec<UserIdGroupPair>,
}

/// An IPv4 network at the other end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IpRange {
    /// The network.
    pub cidr_ip: Ipv4Net,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// An IPv6 network at the other end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ipv6Range {
    /// The network.
    pub cidr_ipv6: Ipv6Net,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The networks of a prefix list at the other end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixListRange {
    /// The list.
    pub prefix_list_id: String,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The members of a group at the other end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserIdGroupPair {
    /// The group.
    pub group_id: String,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl IpPermission {
    /// A permission without another end.
    const fn without_ends(
        ip_protocol: IpProtocol,
        from_port: Option<i32>,
        to_port: Option<i32>,
    ) -> Self {
        Self {
            ip_protocol,
            from_port,
            to_port,
            ip_ranges: Vec::new(),
            ipv6_ranges: Vec::new(),
            prefix_list_ids: Vec::new(),
            user_id_group_pairs: Vec::new(),
        }
    }

    /// The document's rules for it.
    pub(super) fn rules(&self, edit: &mut Edit<'_>) -> Result<Vec<SecurityGroupRule>, Refusal> {
        // EC2: "If you specify -1 or a protocol number other than tcp, udp, icmp, or icmpv6,
        // traffic on all ports is allowed, regardless of any ports you specify."
        let has_ports = matches!(
            self.ip_protocol,
            IpProtocol::Tcp | IpProtocol::Udp | IpProtocol::Icmp | IpProtocol::Icmpv6
        );
        let bare = SecurityGroupRule {
            from_port: self.from_port.filter(|_| has_ports),
            to_port: self.to_port.filter(|_| has_ports),
            ..everything(self.ip_protocol)
        };
        let text = |description: &Option<String>| description.clone().unwrap_or_default();
        let mut rules = Vec::new();
        rules.extend(self.ip_ranges.iter().map(|it| SecurityGroupRule {
            // EC2: "we modify the specified CIDR block to its canonical form".
            cidr_ipv4: Some(it.cidr_ip.trunc()),
            description: text(&it.description),
            ..bare.clone()
        }));
        rules.extend(self.ipv6_ranges.iter().map(|it| SecurityGroupRule {
            cidr_ipv6: Some(it.cidr_ipv6.trunc()),
            description: text(&it.description),
            ..bare.clone()
        }));
        for it in &self.prefix_list_ids {
            rules.push(SecurityGroupRule {
                prefix_list_id: Some(parse(&it.prefix_list_id)?),
                description: text(&it.description),
                ..bare.clone()
            });
        }
        for it in &self.user_id_group_pairs {
            let groups = super::named_groups(edit, std::slice::from_ref(&it.group_id))?;
            rules.push(SecurityGroupRule {
                referenced_group_id: groups.into_iter().next(),
                description: text(&it.description),
                ..bare.clone()
            });
        }
        if rules.is_empty() {
            let message = "a permission needs another end: ip_ranges, ipv6_ranges, \
                           prefix_list_ids or user_id_group_pairs";
            return Err(Refusal::missing(message));
        }
        Ok(rules)
    }

    /// Rules of the document, those of a protocol and its ports together.
    pub(super) fn of_rules(rules: &[SecurityGroupRule]) -> Vec<Self> {
        let mut permissions: Vec<Self> = Vec::new();
        for rule in rules {
            let key = (rule.ip_protocol, rule.from_port, rule.to_port);
            let same = |it: &Self| (it.ip_protocol, it.from_port, it.to_port) == key;
            let place = permissions.iter().position(same).unwrap_or_else(|| {
                permissions.push(Self::without_ends(key.0, key.1, key.2));
                permissions.len() - 1
            });
            permissions[place].add_end(rule);
        }
        permissions
    }

    fn add_end(&mut self, rule: &SecurityGroupRule) {
        let description = Some(rule.description.clone()).filter(|text| !text.is_empty());
        if let Some(cidr_ip) = rule.cidr_ipv4 {
            self.ip_ranges.push(IpRange { cidr_ip, description });
        } else if let Some(cidr_ipv6) = rule.cidr_ipv6 {
            self.ipv6_ranges.push(Ipv6Range { cidr_ipv6, description });
        } else if let Some(list) = &rule.prefix_list_id {
            let prefix_list_id = list.to_string();
            self.prefix_list_ids.push(PrefixListRange { prefix_list_id, description });
        } else if let Some(group) = &rule.referenced_group_id {
            let group_id = group.to_string();
            self.user_id_group_pairs.push(UserIdGroupPair { group_id, description });
        }
    }
}
