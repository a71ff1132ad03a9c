//! How many rules a group may have, and how many groups an interface.

use super::{asked, group};
use crate::vpc::tests::{built, message_with, problems_with};

fn rules(count: u16, other_end: impl Fn(u16) -> String) -> String {
    let rule = |place| {
        let other_end = other_end(place);
        format!(r#"{{ ip_protocol = "tcp", from_port = {place}, to_port = {place}, {other_end} }}"#)
    };
    (0..count).map(rule).collect::<Vec<_>>().join(",")
}

fn v4(_: u16) -> String {
    r#"cidr_ipv4 = "10.0.0.0/8""#.to_owned()
}

fn v6(_: u16) -> String {
    r#"cidr_ipv6 = "fd00::/8""#.to_owned()
}

fn member(_: u16) -> String {
    r#"referenced_group_id = "sg-a""#.to_owned()
}

/// Quotas come before everything that is a list.
fn with_quotas(quotas: &str, more: &str) -> String {
    format!("{more}\n[quotas]\n{quotas}\n")
}

#[test]
fn a_group_has_60_rules_of_each_family_in_each_direction() {
    let most = format!("{}, {}", rules(60, v4), rules(60, v6));
    built(&group("a", &format!("ingress = [{most}]\negress = [{most}]")));
    assert_eq!(
        message_with(&group("a", &format!("ingress = [{}]", rules(62, v4)))),
        "security_group[0].ingress[60]: a quota allows 60 rules of a family in one direction of a \
         security group: remove some, or raise quotas.rules_per_security_group \
         (RulesPerSecurityGroupLimitExceeded)"
    );
    assert_eq!(
        problems_with(&group("a", &format!("egress = [{}, {}]", rules(60, v4), rules(61, v6)))),
        ["security_group[0].egress[120]: RulesPerSecurityGroupLimitExceeded"]
    );
}

#[test]
fn a_rule_for_a_group_counts_for_both_families() {
    let full = format!("{}, {}", rules(59, v4), rules(59, v6));
    let one = r#"{ ip_protocol = "-1", referenced_group_id = "sg-a" }"#;
    built(&group("a", &format!("ingress = [{full}, {one}]")));
    for first in [rules(60, v4), rules(60, v6)] {
        assert_eq!(
            problems_with(&group("a", &format!("ingress = [{first}, {one}]"))),
            ["security_group[0].ingress[60]: RulesPerSecurityGroupLimitExceeded"]
        );
    }
    assert_eq!(
        problems_with(&group("a", &format!("ingress = [{}]", rules(61, member)))),
        ["security_group[0].ingress[60]: RulesPerSecurityGroupLimitExceeded"]
    );
}

#[test]
fn a_prefix_list_counts_as_many_rules_as_it_may_have_entries() {
    let with_list = |entry: &str, first: &str| {
        let list = format!(
            r#"
            [[prefix_list]]
            prefix_list_id = "pl-a"
            prefix_list_name = "offices"
            max_entries = 20
            entry = [{entry}]
            "#
        );
        let rule = r#"{ ip_protocol = "-1", prefix_list_id = "pl-a" }"#;
        list + &group("a", &format!("ingress = [{first}, {rule}]"))
    };
    let (of_v4, of_v6) = (r#"{ cidr = "10.0.0.0/8" }"#, r#"{ cidr = "fd00::/8" }"#);
    built(&with_list(of_v4, &rules(40, v4)));
    built(&with_list(of_v4, &rules(60, v6)));
    built(&with_list(of_v6, &rules(60, v4)));
    // An empty list may yet become one of either family.
    for (entry, first) in
        [(of_v4, rules(41, v4)), (of_v6, rules(41, v6)), ("", rules(41, v4)), ("", rules(41, v6))]
    {
        assert_eq!(
            problems_with(&with_list(entry, &first)),
            ["security_group[0].ingress[41]: RulesPerSecurityGroupLimitExceeded"]
        );
    }
}

fn groups(count: u16) -> String {
    (0..count).map(|place| group(&format!("g{place}"), "")).collect()
}

fn named(count: u16) -> String {
    (0..count).map(|place| format!("\"sg-g{place}\"")).collect::<Vec<_>>().join(",")
}

#[test]
fn an_interface_has_five_groups_or_as_many_as_the_quota_says() {
    built(&(groups(5) + &asked(&named(5))));
    assert_eq!(
        message_with(&(groups(6) + &asked(&named(6)))),
        "network_interface[0].groups[5]: a quota allows 5 security groups of a network interface: \
         remove some, or raise quotas.security_groups_per_network_interface \
         (SecurityGroupsPerInterfaceLimitExceeded)"
    );
    let bridge = format!(
        r#"
        [[lambda_bridge]]
        lambda_bridge_id = "bridge-a"
        subnet_id = "subnet-private"
        security_group_ids = [{}]
        "#,
        named(6)
    );
    assert_eq!(
        problems_with(&(groups(6) + &bridge)),
        ["lambda_bridge[0].security_group_ids[5]: SecurityGroupsPerInterfaceLimitExceeded"]
    );
    let sixteen = "security_groups_per_network_interface = 16";
    built(&with_quotas(sixteen, &(groups(16) + &asked(&named(16)))));
}
