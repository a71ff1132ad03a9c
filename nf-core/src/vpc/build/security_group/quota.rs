//! Quotas of security groups: how many there are, how many rules each has, how many groups an
//! interface has, and how many prefix lists there are for rules to name. The limits and the words
//! in quotation marks are those of "Amazon VPC quotas" in the VPC user guide.

use crate::vpc::build::ids::Ids;
use crate::vpc::build::{InvalidKind, Path, Problems};
use crate::vpc::document::{Document, Quotas, SecurityGroupRule};
use crate::vpc::id::SecurityGroupId;

/// "The maximum is 16".
const MAX_GROUPS: u32 = 16;

/// "This quota multiplied by the quota for security groups per network interface cannot
/// exceed 1,000".
const MAX_RULES: u32 = 1_000;

/// Reports each quota that is passed at the first element too many.
pub(super) fn check(document: &Document, ids: &Ids<'_>, problems: &mut Problems) {
    let quotas = &document.quotas;
    check_quotas(quotas, problems);
    if document.security_group.len() > quotas.security_groups as usize {
        let kind = InvalidKind::Quota {
            what: "security groups",
            limit: quotas.security_groups,
            key: "security_groups",
            code: "SecurityGroupLimitExceeded",
        };
        problems.add(Path::of("security_group", quotas.security_groups as usize), kind);
    }
    if document.prefix_list.len() > quotas.prefix_lists as usize {
        let kind = InvalidKind::Quota {
            what: "prefix lists",
            limit: quotas.prefix_lists,
            key: "prefix_lists",
            // EC2's list of codes has none for this quota alone.
            code: "ResourceLimitExceeded",
        };
        problems.add(Path::of("prefix_list", quotas.prefix_lists as usize), kind);
    }
    for (place, group) in document.security_group.iter().enumerate() {
        let path = Path::of("security_group", place);
        check_rules(&path.key("ingress"), &group.ingress, document, ids, problems);
        if let Some(egress) = &group.egress {
            check_rules(&path.key("egress"), egress, document, ids, problems);
        }
    }
    for (place, interface) in document.network_interface.iter().enumerate() {
        let path = Path::of("network_interface", place).key("groups");
        check_interface(&path, &interface.groups, quotas, problems);
    }
    for (place, bridge) in document.lambda_bridge.iter().enumerate() {
        let path = Path::of("lambda_bridge", place).key("security_group_ids");
        check_interface(&path, &bridge.security_group_ids, quotas, problems);
    }
}

/// The quotas themselves: EC2 raises them so far and no further.
fn check_quotas(quotas: &Quotas, problems: &mut Problems) {
    let path = Path::default().key("quotas");
    let groups = quotas.security_groups_per_network_interface;
    let at = || path.key("security_groups_per_network_interface");
    problems.check_range(at, groups, 1, MAX_GROUPS);
    let max = MAX_RULES / groups.clamp(1, MAX_GROUPS);
    let at = || path.key("rules_per_security_group");
    problems.check_range(at, quotas.rules_per_security_group, 1, max);
}

/// The rules of one direction. The quota is "enforced separately for IPv4 rules and IPv6 rules".
fn check_rules(
    path: &Path,
    rules: &[SecurityGroupRule],
    document: &Document,
    ids: &Ids<'_>,
    problems: &mut Problems,
) {
    let limit = document.quotas.rules_per_security_group;
    let (mut v4, mut v6) = (0_u32, 0_u32);
    for (place, rule) in rules.iter().enumerate() {
        let weight = Weight::of(rule, document, ids);
        v4 = v4.saturating_add(weight.v4);
        v6 = v6.saturating_add(weight.v6);
        if v4.max(v6) > limit {
            let kind = InvalidKind::Quota {
                what: "rules of a family in one direction of a security group",
                limit,
                key: "rules_per_security_group",
                code: "RulesPerSecurityGroupLimitExceeded",
            };
            problems.add(path.index(place), kind);
            return;
        }
    }
}

/// As how many rules one counts.
#[derive(Clone, Copy)]
struct Weight {
    v4: u32,
    v6: u32,
}

impl Weight {
    fn of(rule: &SecurityGroupRule, document: &Document, ids: &Ids<'_>) -> Self {
        if rule.cidr_ipv4.is_some() {
            return Self { v4: 1, v6: 0 };
        }
        if rule.cidr_ipv6.is_some() {
            return Self { v4: 0, v6: 1 };
        }
        let list = rule.prefix_list_id.as_ref().and_then(|id| ids.prefix_lists.get(id));
        // "A rule that references a security group … counts as one rule for IPv4 and one rule for
        // IPv6".
        let Some(list) = list.map(|place| &document.prefix_list[place]) else {
            return Self { v4: 1, v6: 1 };
        };
        // "The maximum number of entries for the prefix lists equals the same number of security
        // group rules." An empty list may yet become one of either family.
        let count = list.max_entries;
        match list.entry.first().map(|entry| entry.cidr.addr().is_ipv4()) {
            Some(true) => Self { v4: count, v6: 0 },
            Some(false) => Self { v4: 0, v6: count },
            None => Self { v4: count, v6: count },
        }
    }
}

fn check_interface(
    path: &Path,
    groups: &[SecurityGroupId],
    quotas: &Quotas,
    problems: &mut Problems,
) {
    let limit = quotas.security_groups_per_network_interface;
    if groups.len() > limit as usize {
        let kind = InvalidKind::Quota {
            what: "security groups of a network interface",
            limit,
            key: "security_groups_per_network_interface",
            code: "SecurityGroupsPerInterfaceLimitExceeded",
        };
        problems.add(path.index(limit as usize), kind);
    }
}
