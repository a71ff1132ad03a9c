//! Rules of security groups: from what stands in the document to what is looked up.

use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::roster::Roster;
use crate::tuple::Protocol;
use crate::vpc::build::ids::Ids;
use crate::vpc::build::prefix_list::PrefixLists;
use crate::vpc::build::{InvalidKind, Path, Problems};
use crate::vpc::document::{IpProtocol, SecurityGroupRule};
use crate::vpc::hash::Map;
use crate::vpc::invalid::InvalidSecurityGroup;
use crate::vpc::model::{Peer, Rules, SecurityGroupIx, Service, VpcIx};

/// What rules refer to.
pub(super) struct Named<'a> {
    pub(super) ids: &'a Ids<'a>,
    pub(super) roster: &'a Roster<'a>,
    pub(super) prefix_lists: &'a PrefixLists,
}

/// A rule of the document whose parts are right. Two that are equal are one rule to EC2.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Rule {
    protocol: IpProtocol,
    ports: Ports,
    other_end: OtherEnd,
}

/// `from_port` and `to_port`; where a protocol has none, -1 and -1.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Ports {
    from: i32,
    to: i32,
}

/// Who is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum OtherEnd {
    Network(IpNet),
    /// By the place of the list in the document.
    PrefixList(usize),
    Group(SecurityGroupIx),
}

/// The rules at `path`, which are one direction of a group in `vpc`.
pub(super) fn compile(
    path: &Path,
    rules: &[SecurityGroupRule],
    vpc: VpcIx,
    named: &Named<'_>,
    problems: &mut Problems,
) -> Rules {
    let mut places: Map<Rule, usize> = Map::default();
    let mut compiled = Vec::with_capacity(rules.len());
    for (place, rule) in rules.iter().enumerate() {
        let at = path.index(place);
        let ports = Ports::of(rule, &at, problems);
        let other_end = named.other_end(rule, vpc, &at, problems);
        let (Some(ports), Some(other_end)) = (ports, other_end) else { continue };
        let rule = Rule { protocol: rule.ip_protocol, ports, other_end };
        if let Some(first) = places.insert(rule, place) {
            let other = path.index(first);
            problems.add(at, InvalidSecurityGroup::DuplicateRule { other }.into());
        }
        let Some(service) = rule.service() else { continue };
        match rule.other_end {
            OtherEnd::Network(network) => compiled.push((Peer::Network(network), service)),
            OtherEnd::Group(group) => compiled.push((Peer::Group(group), service)),
            OtherEnd::PrefixList(list) => {
                let networks = named.prefix_lists.networks(list).iter().copied();
                compiled.extend(networks.map(|network| (Peer::Network(network), service)));
            }
        }
    }
    compiled.into_iter().collect()
}

impl Rule {
    /// What of it flows can be tracked of: nothing of other protocols, and of ICMP only echo, which
    /// has no codes but zero.
    fn service(self) -> Option<Service> {
        let Ports { from, to } = self.ports;
        let protocol = match self.protocol {
            IpProtocol::All => return Some(Service::ALL),
            other => Protocol::from_number(other.number()?)?,
        };
        // Checked: both are ports, or a type and a code.
        let number = |port: i32| u16::try_from(port).ok();
        match (protocol.is_echo(), from, to) {
            (false, ..) => Some(Service::of(protocol, number(from)?..=number(to)?)),
            (true, -1, _) => Some(Service::of(protocol, 0..=u16::MAX)),
            (true, icmp_type, -1 | 0) => {
                let icmp_type = number(icmp_type)?;
                Some(Service::of(protocol, icmp_type..=icmp_type))
            }
            (true, ..) => None,
        }
    }
}

impl Ports {
    const NONE: Self = Self { from: -1, to: -1 };

    fn of(rule: &SecurityGroupRule, path: &Path, problems: &mut Problems) -> Option<Self> {
        let protocol = rule.ip_protocol;
        let found = match (protocol, rule.from_port, rule.to_port) {
            // "If you omit the port range, traffic for all types and codes is allowed"
            // (`IpPermission`).
            (IpProtocol::Icmpv6, None, None) => Ok(Self::NONE),
            (IpProtocol::Icmp | IpProtocol::Icmpv6, Some(from), Some(to)) => Self::icmp(from, to),
            (IpProtocol::Tcp | IpProtocol::Udp, Some(from), Some(to)) => Self::range(from, to),
            (
                IpProtocol::Tcp | IpProtocol::Udp | IpProtocol::Icmp | IpProtocol::Icmpv6,
                from,
                _,
            ) => {
                let key = if from.is_none() { "from_port" } else { "to_port" };
                Err((key, InvalidSecurityGroup::PortsMissing { protocol }))
            }
            // EC2 itself writes -1 for ports that there are not.
            (IpProtocol::All | IpProtocol::Other(_), None | Some(-1), None | Some(-1)) => {
                Ok(Self::NONE)
            }
            (IpProtocol::All | IpProtocol::Other(_), from, _) => {
                let key = if matches!(from, None | Some(-1)) { "to_port" } else { "from_port" };
                Err((key, InvalidSecurityGroup::PortsGiven { protocol }))
            }
        };
        found.map_err(|(key, kind)| problems.add(path.key(key), kind.into())).ok()
    }

    fn range(from: i32, to: i32) -> Result<Self, (&'static str, InvalidSecurityGroup)> {
        let all = 0..=u16::MAX.into();
        check("from_port", "a port", from, &all)?;
        check("to_port", "a port", to, &all)?;
        if from > to {
            return Err(("from_port", InvalidSecurityGroup::PortsReversed { from, to }));
        }
        Ok(Self { from, to })
    }

    fn icmp(icmp_type: i32, code: i32) -> Result<Self, (&'static str, InvalidSecurityGroup)> {
        let all = -1..=u8::MAX.into();
        check("from_port", "an ICMP type", icmp_type, &all)?;
        check("to_port", "an ICMP code", code, &all)?;
        // "If you specify all ICMP types, you must specify all ICMP codes"
        // (`AuthorizeSecurityGroupIngress`).
        if icmp_type == -1 && code != -1 {
            return Err(("to_port", InvalidSecurityGroup::CodeWithoutType { code }));
        }
        Ok(Self { from: icmp_type, to: code })
    }
}

fn check(
    key: &'static str,
    what: &'static str,
    found: i32,
    all: &RangeInclusive<i32>,
) -> Result<(), (&'static str, InvalidSecurityGroup)> {
    if all.contains(&found) {
        return Ok(());
    }
    let (min, max) = (*all.start(), *all.end());
    Err((key, InvalidSecurityGroup::Range { what, found, min, max }))
}

impl Named<'_> {
    /// Resolves the one other end that a rule has to name.
    fn other_end(
        &self,
        rule: &SecurityGroupRule,
        vpc: VpcIx,
        path: &Path,
        problems: &mut Problems,
    ) -> Option<OtherEnd> {
        const KEYS: &[&str] = &["cidr_ipv4", "cidr_ipv6", "prefix_list_id", "referenced_group_id"];

        let found = [
            rule.cidr_ipv4.is_some(),
            rule.cidr_ipv6.is_some(),
            rule.prefix_list_id.is_some(),
            rule.referenced_group_id.is_some(),
        ];
        let found = found.into_iter().filter(|there| *there).count();
        if found != 1 {
            problems.add(path.clone(), InvalidKind::ExactlyOne { keys: KEYS, found });
            return None;
        }
        if let Some(id) = &rule.referenced_group_id {
            let at = || path.key("referenced_group_id");
            return self.roster.find(id, vpc, self.ids, at, problems).map(OtherEnd::Group);
        }
        if let Some(id) = &rule.prefix_list_id {
            let at = || path.key("prefix_list_id");
            return self.ids.prefix_lists.find(id, at, problems).map(OtherEnd::PrefixList);
        }
        let v4 = rule.cidr_ipv4.map(|network| ("cidr_ipv4", IpNet::V4(network)));
        let v6 = || rule.cidr_ipv6.map(|network| ("cidr_ipv6", IpNet::V6(network)));
        let (key, network) = v4.or_else(v6)?;
        if network.trunc() != network {
            problems.add(path.key(key), InvalidKind::HostBits { found: network });
            return None;
        }
        Some(OtherEnd::Network(network))
    }
}
