//! Rules for the interfaces that are in a group.

use super::*;
use crate::vpc::tests::{BASE, OTHER_TENANT, build};
use Protocol::{Icmp, Icmpv6, Tcp};

/// `eni-a` is in `sg-a`, which lets in what comes from members of `sg-b`, and out what goes there.
fn among(more: &str) -> Snapshot {
    let rules = r#"
        ingress = [
            { ip_protocol = "tcp", from_port = 5432, to_port = 5432, referenced_group_id = "sg-b" },
            { ip_protocol = "icmp", from_port = 8, to_port = -1, referenced_group_id = "sg-b" },
        ]
        egress = [{ ip_protocol = "icmpv6", referenced_group_id = "sg-b" }]
    "#;
    built(&[&group("a", rules), &group("b", ""), &asked(r#""sg-a""#), more].concat())
}

#[test]
fn a_member_is_known_by_every_private_address_of_its_own() {
    let snapshot = among(
        &(interface(
            "b",
            r#"private_ip_address = "10.0.1.20"
            secondary_private_ip_addresses = ["10.0.1.21"]
            ipv4_prefixes = ["10.0.1.64/28"]
            ipv6_addresses = ["fd00:a:0:1::20"]
            ipv6_prefixes = ["fd00:a:0:1:b::/80"]
            groups = ["sg-b"]"#,
        ) + &interface(
            "c",
            r#"private_ip_address = "10.0.1.30"
            ipv6_addresses = ["fd00:a:0:1::30"]
            groups = ["sg-a"]"#,
        )),
    );
    for (remote, said) in [
        ("10.0.1.20", Tracked),
        ("10.0.1.21", Tracked),
        ("10.0.1.64", Tracked),
        ("10.0.1.79", Tracked),
        ("fd00:a:0:1::20", Tracked),
        ("fd00:a:0:1:b::99", Tracked),
        // Another group's, nobody's, and its own.
        ("10.0.1.30", Refused),
        ("fd00:a:0:1::30", Refused),
        ("10.0.1.80", Refused),
        ("198.51.100.7", Refused),
        (OWN_V4, Refused),
    ] {
        assert_eq!(says_in(&snapshot, Tcp, remote, 5432), said, "{remote}");
    }
    assert_eq!(says_in(&snapshot, Tcp, "10.0.1.20", 5433), Refused);
    assert_eq!(says_in(&snapshot, Icmp, "10.0.1.20", 0), Tracked);
    assert_eq!(says_in(&snapshot, Icmpv6, "fd00:a:0:1::20", 0), Refused);
    assert_eq!(says_out(&snapshot, Icmpv6, "fd00:a:0:1::20", 0), Tracked);
    assert_eq!(says_out(&snapshot, Icmpv6, "fd00:a:0:1::30", 0), Refused);
}

#[test]
fn a_public_address_does_not_make_a_member() {
    let snapshot = among(
        &(interface(
            "b",
            r#"private_ip_address = "10.0.1.20"
            groups = ["sg-b"]"#,
        ) + r#"
        [[address]]
        allocation_id = "eipalloc-b"
        public_ip = "203.0.113.20"
        network_interface_id = "eni-b"
        "#),
    );
    assert_eq!(says_in(&snapshot, Tcp, "10.0.1.20", 5432), Tracked);
    assert_eq!(says_in(&snapshot, Tcp, "203.0.113.20", 5432), Refused);
}

#[test]
fn an_interface_may_be_a_member_of_several_groups_and_one_is_enough() {
    let snapshot = among(&interface(
        "b",
        r#"private_ip_address = "10.0.1.20"
        groups = ["sg-a", "sg-b"]"#,
    ));
    assert_eq!(says_in(&snapshot, Tcp, "10.0.1.20", 5432), Tracked);
}

#[test]
fn a_group_may_name_itself() {
    let rules = r#"
        ingress = [{ ip_protocol = "-1", referenced_group_id = "sg-a" }]
        egress = []
    "#;
    let other = interface(
        "b",
        r#"private_ip_address = "10.0.1.20"
        groups = ["sg-a"]"#,
    );
    let snapshot = built(&(group("a", rules) + &asked(r#""sg-a""#) + &other));
    assert_eq!(says_in(&snapshot, Tcp, "10.0.1.20", 22), Tracked);
    assert_eq!(says_in(&snapshot, Tcp, "10.0.1.21", 22), Refused);
}

#[test]
fn the_interface_of_a_bridge_is_a_member_of_its_groups() {
    let snapshot = among(
        r#"
        [[lambda_bridge]]
        lambda_bridge_id = "bridge-a"
        subnet_id = "subnet-private"
        private_ip_address = "10.0.1.40"
        security_group_ids = ["sg-b"]
        "#,
    );
    assert_eq!(says_in(&snapshot, Tcp, "10.0.1.40", 5432), Tracked);
    let bridge = snapshot.bridge(snapshot.bridge_by_id("bridge-a").expect("declared")).eni;
    let [src, dst] = ["10.0.1.10:40000", "10.0.1.40:22"].map(|it| it.parse().expect("address"));
    let tuple = Tuple { protocol: Tcp, src, dst };
    assert_eq!(snapshot.admits(bridge, Ingress, &tuple), Refused);
    assert_eq!(snapshot.admits(bridge, Egress, &tuple.reversed()), Tracked);
}

#[test]
fn the_same_address_in_another_vpc_is_no_member() {
    // The other tenant has both the address and a group of the same name.
    let rules = r#"
        ingress = [{ ip_protocol = "-1", referenced_group_id = "sg-b" }]
        egress = []
    "#;
    let text = [
        BASE,
        OTHER_TENANT,
        &group("a", rules),
        &group("b", ""),
        &asked(r#""sg-a""#),
        r#"
        [[security_group]]
        group_id = "sg-b-of-b"
        group_name = "b"
        vpc_id = "vpc-b"
        [[network_interface]]
        network_interface_id = "eni-b"
        subnet_id = "subnet-b"
        private_ip_address = "10.0.0.20"
        groups = ["sg-b-of-b"]
        "#,
    ];
    let snapshot = build(&text.concat()).expect("good");
    assert_eq!(says_in(&snapshot, Tcp, "10.0.0.20", 22), Refused);
}
