//! Which flows are tracked, and which are not because everybody may pass both ways.

use super::*;
use Protocol::{Icmp, Icmpv6, Tcp, Udp};

const REMOTE: &str = "203.0.113.1";
const REMOTE_V6: &str = "2001:db8:1::7";

/// Everything to or from everybody.
const OPEN: &str = r#"
    { ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/0" }, { ip_protocol = "-1", cidr_ipv6 = "::/0" }
"#;

fn both_ways(ingress: &str, egress: &str) -> Snapshot {
    guarded(&format!("ingress = [{ingress}]\negress = [{egress}]"))
}

/// The example of "Amazon EC2 security group connection tracking": SSH from one address, HTTP from
/// everybody, ICMP from everybody.
const EXAMPLE: &str = r#"
    { ip_protocol = "tcp", from_port = 22, to_port = 22, cidr_ipv4 = "203.0.113.1/32" },
    { ip_protocol = "tcp", from_port = 80, to_port = 80, cidr_ipv4 = "0.0.0.0/0" },
    { ip_protocol = "tcp", from_port = 80, to_port = 80, cidr_ipv6 = "::/0" },
    { ip_protocol = "icmp", from_port = -1, to_port = -1, cidr_ipv4 = "0.0.0.0/0" },
"#;

#[test]
fn the_example_of_the_user_guide() {
    let snapshot = both_ways(EXAMPLE, OPEN);
    // "Inbound and outbound TCP traffic on port 22 (SSH) is tracked"
    assert_eq!(says_in(&snapshot, Tcp, REMOTE, 22), Tracked);
    // "Inbound and outbound TCP traffic on port 80 (HTTP) is not tracked"
    assert_eq!(says_in(&snapshot, Tcp, REMOTE, 80), Untracked);
    assert_eq!(says_in(&snapshot, Tcp, REMOTE_V6, 80), Untracked);
    // "ICMP traffic is always tracked"
    assert_eq!(says_in(&snapshot, Icmp, REMOTE, 0), Tracked);
    // "If you remove the outbound rule for IPv4 traffic, all inbound and outbound IPv4 traffic is
    // tracked, including traffic on port 80 (HTTP)"
    let v6_only = both_ways(EXAMPLE, r#"{ ip_protocol = "-1", cidr_ipv6 = "::/0" }"#);
    assert_eq!(says_in(&v6_only, Tcp, REMOTE, 80), Tracked);
    assert_eq!(says_in(&v6_only, Tcp, REMOTE_V6, 80), Untracked);
}

#[test]
fn what_goes_out_is_tracked_unless_everything_may_come_in() {
    let snapshot = both_ways(EXAMPLE, OPEN);
    assert_eq!(says_out(&snapshot, Tcp, REMOTE, 443), Tracked);
    let snapshot = both_ways(OPEN, OPEN);
    assert_eq!(says_out(&snapshot, Tcp, REMOTE, 443), Untracked);
    assert_eq!(says_out(&snapshot, Udp, REMOTE_V6, 443), Untracked);
}

#[test]
fn a_flow_is_untracked_only_if_one_rule_lets_everything_of_its_protocol_back() {
    for (back, tcp, udp) in [
        (r#"{ ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/0" }"#, Untracked, Untracked),
        (
            r#"{ ip_protocol = "tcp", from_port = 0, to_port = 65535, cidr_ipv4 = "0.0.0.0/0" }"#,
            Untracked,
            Tracked,
        ),
        (
            r#"{ ip_protocol = "udp", from_port = 0, to_port = 65535, cidr_ipv4 = "0.0.0.0/0" }"#,
            Tracked,
            Untracked,
        ),
        (
            r#"{ ip_protocol = "tcp", from_port = 1, to_port = 65535, cidr_ipv4 = "0.0.0.0/0" }"#,
            Tracked,
            Tracked,
        ),
        (
            r#"{ ip_protocol = "tcp", from_port = 0, to_port = 65534, cidr_ipv4 = "0.0.0.0/0" }"#,
            Tracked,
            Tracked,
        ),
        (
            r#"{ ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/1" },
            { ip_protocol = "-1", cidr_ipv4 = "128.0.0.0/1" }"#,
            Tracked,
            Tracked,
        ),
        (
            r#"{ ip_protocol = "tcp", from_port = 0, to_port = 40000, cidr_ipv4 = "0.0.0.0/0" },
            { ip_protocol = "tcp", from_port = 30000, to_port = 65535, cidr_ipv4 = "0.0.0.0/0" }"#,
            Tracked,
            Tracked,
        ),
        (r#"{ ip_protocol = "-1", cidr_ipv6 = "::/0" }"#, Tracked, Tracked),
        (r#"{ ip_protocol = "47", cidr_ipv4 = "0.0.0.0/0" }"#, Tracked, Tracked),
        (r#"{ ip_protocol = "-1", referenced_group_id = "sg-a" }"#, Tracked, Tracked),
        ("", Tracked, Tracked),
    ] {
        let snapshot = both_ways(OPEN, back);
        assert_eq!(says_in(&snapshot, Tcp, REMOTE, 80), tcp, "{back}");
        assert_eq!(says_in(&snapshot, Udp, REMOTE, 80), udp, "{back}");
        assert_eq!(says_in(&snapshot, Icmp, REMOTE, 0), Tracked, "{back}");
    }
    assert_eq!(says_in(&both_ways(OPEN, OPEN), Icmpv6, REMOTE_V6, 0), Tracked);
}

#[test]
fn a_narrower_rule_beside_one_for_everybody_does_not_make_a_flow_tracked() {
    let narrow = r#"{ ip_protocol = "-1", cidr_ipv4 = "203.0.113.1/32" },"#;
    let snapshot = both_ways(&format!("{narrow}{OPEN}"), &format!("{narrow}{OPEN}"));
    assert_eq!(says_in(&snapshot, Tcp, REMOTE, 80), Untracked);
    assert_eq!(says_out(&snapshot, Tcp, REMOTE, 80), Untracked);
}

#[test]
fn the_groups_of_an_interface_are_taken_together() {
    let web = r#"
        ingress = [{ ip_protocol = "tcp", from_port = 80, to_port = 80, cidr_ipv4 = "0.0.0.0/0" }]
        egress = []
    "#;
    let groups = group("a", web) + &group("b", "");
    let alone = built(&(groups.clone() + &asked(r#""sg-a""#)));
    assert_eq!(says_in(&alone, Tcp, REMOTE, 80), Tracked);
    let together = built(&(groups + &asked(r#""sg-a", "sg-b""#)));
    assert_eq!(says_in(&together, Tcp, REMOTE, 80), Untracked);
}

#[test]
fn everybody_in_a_prefix_list_is_everybody() {
    let text = [
        r#"
        [[prefix_list]]
        prefix_list_id = "pl-all"
        prefix_list_name = "everybody"
        max_entries = 1
        entry = [{ cidr = "0.0.0.0/0" }]
        "#,
        &group(
            "a",
            r#"
            ingress = [{ ip_protocol = "-1", prefix_list_id = "pl-all" }]
            egress = [{ ip_protocol = "-1", prefix_list_id = "pl-all" }]
            "#,
        ),
        &asked(r#""sg-a""#),
    ];
    let snapshot = built(&text.concat());
    assert_eq!(says_in(&snapshot, Tcp, REMOTE, 80), Untracked);
    assert_eq!(says_in(&snapshot, Tcp, REMOTE_V6, 80), Refused);
}
