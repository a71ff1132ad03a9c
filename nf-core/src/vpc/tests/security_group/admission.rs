//! Which first packets the rules let through: directions, protocols, ports, networks and lists.

use std::net::SocketAddr;

use super::*;
use Protocol::{Icmp, Icmpv6, Tcp, Udp};

const OUTSIDE: &str = "198.51.100.7";
const OUTSIDE_V6: &str = "2001:db8:1::7";

#[test]
fn an_interface_without_groups_lets_everything_pass_and_tracks_it() {
    let snapshot = built(
        r#"
        [[nat_gateway]]
        nat_gateway_id = "nat-a"
        subnet_id = "subnet-private"
        connectivity_type = "private"
        "#,
    );
    let (gateway, eni) = snapshot.enis().next().expect("the gateway's interface");
    assert!(eni.groups.is_empty());
    let remote: SocketAddr = "198.51.100.7:40000".parse().expect("address");
    let own = SocketAddr::new(eni.private_ips[0].into(), 22);
    for protocol in [Tcp, Udp, Icmp] {
        let tuple = Tuple { protocol, src: remote, dst: own };
        assert_eq!(snapshot.admits(gateway, Ingress, &tuple), Tracked);
        assert_eq!(snapshot.admits(gateway, Egress, &tuple.reversed()), Tracked);
    }
}

#[test]
fn what_no_rule_allows_is_refused() {
    let snapshot = guarded("egress = []");
    for (protocol, remote) in
        [(Tcp, OUTSIDE), (Udp, OUTSIDE_V6), (Icmp, OUTSIDE), (Icmpv6, OUTSIDE_V6)]
    {
        assert_eq!(says_in(&snapshot, protocol, remote, 22), Refused, "{protocol}");
        assert_eq!(says_out(&snapshot, protocol, remote, 22), Refused, "{protocol}");
    }
}

#[test]
fn a_rule_of_any_group_is_enough() {
    let ssh = r#"ingress = [
            { ip_protocol = "tcp", from_port = 22, to_port = 22, cidr_ipv4 = "198.51.100.0/24" },
        ]
        egress = []"#;
    let web = r#"ingress = [
            { ip_protocol = "tcp", from_port = 80, to_port = 80, cidr_ipv4 = "198.51.100.0/24" },
        ]
        egress = []"#;
    let snapshot = built(&(group("a", ssh) + &group("b", web) + &asked(r#""sg-a", "sg-b""#)));
    assert_eq!(says_in(&snapshot, Tcp, OUTSIDE, 22), Tracked);
    assert_eq!(says_in(&snapshot, Tcp, OUTSIDE, 80), Tracked);
    assert_eq!(says_in(&snapshot, Tcp, OUTSIDE, 81), Refused);
}

#[test]
fn rules_of_one_direction_say_nothing_of_the_other() {
    let rule =
        r#"{ ip_protocol = "tcp", from_port = 443, to_port = 443, cidr_ipv4 = "198.51.100.7/32" }"#;
    let inward = guarded(&format!("ingress = [{rule}]\negress = []"));
    assert_eq!(says_in(&inward, Tcp, OUTSIDE, 443), Tracked);
    assert_eq!(says_out(&inward, Tcp, OUTSIDE, 443), Refused);
    let outward = guarded(&format!("egress = [{rule}]"));
    assert_eq!(says_in(&outward, Tcp, OUTSIDE, 443), Refused);
    assert_eq!(says_out(&outward, Tcp, OUTSIDE, 443), Tracked);
}

#[test]
fn ports_are_those_of_the_destination_both_ways() {
    let rule =
        r#"{ ip_protocol = "udp", from_port = 53, to_port = 53, cidr_ipv4 = "198.51.100.7/32" }"#;
    let snapshot = guarded(&format!("ingress = [{rule}]\negress = [{rule}]"));
    let eni = find(&snapshot, "eni-a");
    let [remote, own] =
        ["198.51.100.7:53", "10.0.1.10:40000"].map(|it| it.parse().expect("address"));
    let from_port = Tuple { protocol: Udp, src: remote, dst: own };
    assert_eq!(snapshot.admits(eni, Ingress, &from_port), Refused);
    assert_eq!(snapshot.admits(eni, Egress, &from_port.reversed()), Tracked);
}

#[test]
fn a_range_of_ports_has_both_its_ends() {
    let snapshot = with_rule(
        r#"ip_protocol = "tcp", from_port = 8000, to_port = 8010, cidr_ipv4 = "198.51.100.0/24""#,
    );
    for (port, said) in
        [(7999, Refused), (8000, Tracked), (8005, Tracked), (8010, Tracked), (8011, Refused)]
    {
        assert_eq!(says_in(&snapshot, Tcp, OUTSIDE, port), said, "{port}");
    }
    let whole = with_rule(
        r#"ip_protocol = "tcp", from_port = 0, to_port = 65535, cidr_ipv4 = "198.51.100.0/24""#,
    );
    for port in [0, 1, u16::MAX] {
        assert_eq!(says_in(&whole, Tcp, OUTSIDE, port), Tracked, "{port}");
    }
}

#[test]
fn rules_whose_ports_overlap_add_up() {
    let ranges = [(100, 900), (200, 300), (850, 1000), (1001, 1002), (5, 7)];
    let rule = |(from, to): (u16, u16)| {
        format!(
            r#"{{ ip_protocol = "tcp", from_port = {from}, to_port = {to}, cidr_ipv4 = "198.51.100.0/24" }}"#
        )
    };
    let snapshot = guarded(&format!("ingress = [{}]\negress = []", ranges.map(rule).join(",")));
    for port in 0..1100 {
        let allowed = ranges.iter().any(|(from, to)| (*from..=*to).contains(&port));
        let said = if allowed { Tracked } else { Refused };
        assert_eq!(says_in(&snapshot, Tcp, OUTSIDE, port), said, "{port}");
        assert_eq!(says_in(&snapshot, Udp, OUTSIDE, port), Refused, "{port}");
    }
}

#[test]
fn a_rule_is_for_its_protocol_by_name_or_number() {
    for (written, allowed) in [("tcp", Tcp), ("6", Tcp), ("udp", Udp), ("17", Udp)] {
        let snapshot = with_rule(&format!(
            r#"ip_protocol = "{written}", from_port = 0, to_port = 65535, cidr_ipv4 = "198.51.100.0/24""#
        ));
        for protocol in [Tcp, Udp, Icmp] {
            let said = if protocol == allowed { Tracked } else { Refused };
            assert_eq!(says_in(&snapshot, protocol, OUTSIDE, 22), said, "{written}: {protocol}");
        }
    }
}

#[test]
fn a_rule_for_all_protocols_has_all_ports_and_types() {
    let snapshot = with_rule(r#"ip_protocol = "-1", cidr_ipv4 = "198.51.100.0/24""#);
    for (protocol, port) in [(Tcp, 0), (Tcp, 65535), (Udp, 53), (Icmp, 0)] {
        assert_eq!(says_in(&snapshot, protocol, OUTSIDE, port), Tracked, "{protocol} {port}");
    }
    assert_eq!(says_to_reply(&snapshot, Icmp, OUTSIDE), Tracked);
}

#[test]
fn a_rule_for_a_protocol_that_is_not_carried_allows_none_that_is() {
    let snapshot = with_rule(r#"ip_protocol = "47", cidr_ipv4 = "198.51.100.0/24""#);
    for protocol in [Tcp, Udp, Icmp] {
        assert_eq!(says_in(&snapshot, protocol, OUTSIDE, 0), Refused, "{protocol}");
    }
}

#[test]
fn an_echo_is_what_its_type_says_with_the_code_zero() {
    // Type and code of the rule; then whether it allows a request, and a reply out of nowhere.
    for (icmp_type, code, request, reply) in [
        (-1, -1, Tracked, Tracked),
        (8, -1, Tracked, Refused),
        (8, 0, Tracked, Refused),
        (8, 3, Refused, Refused),
        (0, -1, Refused, Tracked),
        (0, 0, Refused, Tracked),
        (3, -1, Refused, Refused),
        (255, 255, Refused, Refused),
    ] {
        let snapshot = with_rule(&format!(
            r#"ip_protocol = "icmp", from_port = {icmp_type}, to_port = {code}, cidr_ipv4 = "198.51.100.0/24""#
        ));
        assert_eq!(says_in(&snapshot, Icmp, OUTSIDE, 0), request, "{icmp_type}/{code}");
        assert_eq!(says_to_reply(&snapshot, Icmp, OUTSIDE), reply, "{icmp_type}/{code}");
        assert_eq!(says_in(&snapshot, Tcp, OUTSIDE, 8), Refused, "{icmp_type}/{code}");
    }
}

#[test]
fn an_icmpv6_echo_has_types_of_its_own() {
    for (ports, request, reply) in [
        ("", Tracked, Tracked),
        (", from_port = -1, to_port = -1", Tracked, Tracked),
        (", from_port = 128, to_port = 0", Tracked, Refused),
        (", from_port = 129, to_port = -1", Refused, Tracked),
        (", from_port = 8, to_port = -1", Refused, Refused),
    ] {
        let snapshot =
            with_rule(&format!(r#"ip_protocol = "icmpv6"{ports}, cidr_ipv6 = "2001:db8:1::/64""#));
        assert_eq!(says_in(&snapshot, Icmpv6, OUTSIDE_V6, 0), request, "{ports}");
        assert_eq!(says_to_reply(&snapshot, Icmpv6, OUTSIDE_V6), reply, "{ports}");
    }
}

#[test]
fn icmp_over_ipv6_is_another_protocol_whatever_the_network() {
    let snapshot =
        with_rule(r#"ip_protocol = "icmp", from_port = -1, to_port = -1, cidr_ipv6 = "::/0""#);
    assert_eq!(says_in(&snapshot, Icmpv6, OUTSIDE_V6, 0), Refused);
}

#[test]
fn an_echo_with_the_identifier_zero_counts_as_a_request() {
    let snapshot = with_rule(
        r#"ip_protocol = "icmp", from_port = 8, to_port = 0, cidr_ipv4 = "198.51.100.0/24""#,
    );
    let [src, dst] = ["198.51.100.7:0", "10.0.1.10:0"].map(|it| it.parse().expect("address"));
    let tuple = Tuple { protocol: Icmp, src, dst };
    assert_eq!(snapshot.admits(find(&snapshot, "eni-a"), Ingress, &tuple), Tracked);
}

#[test]
fn a_network_is_for_its_own_addresses_and_family() {
    let v4 = with_rule(
        r#"ip_protocol = "tcp", from_port = 22, to_port = 22, cidr_ipv4 = "198.51.100.4/30""#,
    );
    for (remote, said) in [
        ("198.51.100.3", Refused),
        ("198.51.100.4", Tracked),
        ("198.51.100.7", Tracked),
        ("198.51.100.8", Refused),
        ("2001:db8:1::7", Refused),
    ] {
        assert_eq!(says_in(&v4, Tcp, remote, 22), said, "{remote}");
    }
    let v6 = with_rule(
        r#"ip_protocol = "tcp", from_port = 22, to_port = 22, cidr_ipv6 = "2001:db8:1::/127""#,
    );
    for (remote, said) in
        [("2001:db8:1::1", Tracked), ("2001:db8:1::2", Refused), ("198.51.100.7", Refused)]
    {
        assert_eq!(says_in(&v6, Tcp, remote, 22), said, "{remote}");
    }
    for (all, allowed, refused) in [
        (r#"cidr_ipv4 = "0.0.0.0/0""#, OUTSIDE, OUTSIDE_V6),
        (r#"cidr_ipv6 = "::/0""#, OUTSIDE_V6, OUTSIDE),
    ] {
        let snapshot = with_rule(&format!(r#"ip_protocol = "-1", {all}"#));
        assert_eq!(says_in(&snapshot, Tcp, allowed, 22), Tracked, "{all}");
        assert_eq!(says_in(&snapshot, Tcp, refused, 22), Refused, "{all}");
    }
}

#[test]
fn rules_for_networks_inside_one_another_add_up() {
    let snapshot = guarded(
        r#"
        ingress = [
            { ip_protocol = "tcp", from_port = 22, to_port = 22, cidr_ipv4 = "198.0.0.0/8" },
            { ip_protocol = "tcp", from_port = 80, to_port = 80, cidr_ipv4 = "198.51.100.0/24" },
            { ip_protocol = "tcp", from_port = 443, to_port = 443, cidr_ipv4 = "198.51.100.7/32" },
            { ip_protocol = "udp", from_port = 443, to_port = 443, cidr_ipv4 = "198.51.100.7/32" },
        ]
        egress = []
        "#,
    );
    for port in [22, 80, 443] {
        assert_eq!(says_in(&snapshot, Tcp, OUTSIDE, port), Tracked, "{port}");
    }
    assert_eq!(says_in(&snapshot, Udp, OUTSIDE, 443), Tracked);
    assert_eq!(says_in(&snapshot, Udp, OUTSIDE, 80), Refused);
    assert_eq!(says_in(&snapshot, Tcp, "198.51.100.8", 443), Refused);
    assert_eq!(says_in(&snapshot, Tcp, "198.51.101.8", 22), Tracked);
}

#[test]
fn a_prefix_list_stands_for_the_networks_that_it_has() {
    let with_entries = |entries: &str| {
        let rules = r#"
            ingress = [
                { ip_protocol = "tcp", from_port = 22, to_port = 22, prefix_list_id = "pl-a" },
            ]
            egress = []
        "#;
        built(&format!(
            r#"
            [[prefix_list]]
            prefix_list_id = "pl-a"
            prefix_list_name = "offices"
            max_entries = 2
            entry = [{entries}]
            {}{}
            "#,
            group("a", rules),
            asked(r#""sg-a""#)
        ))
    };
    let one = with_entries(r#"{ cidr = "198.51.100.0/24" }"#);
    assert_eq!(says_in(&one, Tcp, OUTSIDE, 22), Tracked);
    assert_eq!(says_in(&one, Tcp, OUTSIDE, 23), Refused);
    assert_eq!(says_in(&one, Tcp, "192.0.2.1", 22), Refused);
    let two = with_entries(r#"{ cidr = "198.51.0.0/16" }, { cidr = "192.0.2.0/24" }"#);
    assert_eq!(says_in(&two, Tcp, OUTSIDE, 22), Tracked);
    assert_eq!(says_in(&two, Tcp, "192.0.2.1", 22), Tracked);
    let v6 = with_entries(r#"{ cidr = "2001:db8:1::/48" }"#);
    assert_eq!(says_in(&v6, Tcp, OUTSIDE_V6, 22), Tracked);
    assert_eq!(says_in(&v6, Tcp, OUTSIDE, 22), Refused);
    assert_eq!(says_in(&with_entries(""), Tcp, OUTSIDE, 22), Refused);
    assert!(!one.same_resources(&two));
}

#[test]
fn snapshots_differ_when_rules_do_and_not_by_their_order() {
    let ssh =
        r#"{ ip_protocol = "tcp", from_port = 22, to_port = 22, cidr_ipv4 = "198.51.100.7/32" }"#;
    let web =
        r#"{ ip_protocol = "tcp", from_port = 80, to_port = 80, cidr_ipv4 = "198.51.100.7/32" }"#;
    let all = r#"{ ip_protocol = "-1", referenced_group_id = "sg-a" }"#;
    let with_rules = |rules: &[&str]| guarded(&format!("ingress = [{}]", rules.join(",")));
    let first = with_rules(&[ssh, web, all]);
    assert!(first.same_resources(&with_rules(&[all, web, ssh])));
    for rules in [&[ssh, web][..], &[ssh, all], &[ssh, ssh.replace("22", "23").as_str(), all]] {
        assert!(!first.same_resources(&with_rules(rules)), "{rules:?}");
    }
    let closed = guarded(&format!("ingress = [{ssh}, {web}, {all}]\negress = []"));
    assert!(!first.same_resources(&closed));
}
