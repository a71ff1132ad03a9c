//! The default group of a VPC, and what a group lets out that says nothing of it.

use super::*;
use crate::vpc::SecurityGroup;
use Protocol::{Icmp, Icmpv6, Tcp, Udp};

fn group_of<'s>(snapshot: &'s Snapshot, eni: &str) -> &'s SecurityGroup {
    let [group] = snapshot.eni(find(snapshot, eni)).groups[..] else { panic!("not one group") };
    snapshot.security_group(group)
}

/// `eni-a` and a neighbour, neither of which names a group.
fn without_groups() -> String {
    asked("") + &interface("b", r#"private_ip_address = "10.0.1.20""#)
}

#[test]
fn an_interface_that_names_no_group_is_in_its_vpcs_default_one() {
    let snapshot = built(&without_groups());
    let group = group_of(&snapshot, "eni-a");
    assert_eq!(&*group.name, "default");
    // Another release or host must come to the same id: SipHash-2-4 with a zero key over
    // `default|vpc-a|`.
    assert_eq!(group.id.to_string(), "sg-07906b4df3c4d8e0e");
    assert_eq!(group, group_of(&snapshot, "eni-b"));
}

#[test]
fn a_default_group_that_is_not_declared_lets_in_its_members_and_lets_everything_out() {
    let snapshot = built(&without_groups());
    for (protocol, port) in [(Tcp, 22), (Udp, 53), (Icmp, 0)] {
        assert_eq!(says_in(&snapshot, protocol, "10.0.1.20", port), Tracked, "{protocol}");
        assert_eq!(says_in(&snapshot, protocol, "10.0.1.21", port), Refused, "{protocol}");
        assert_eq!(says_in(&snapshot, protocol, "198.51.100.7", port), Refused, "{protocol}");
        assert_eq!(says_out(&snapshot, protocol, "198.51.100.7", port), Tracked, "{protocol}");
    }
    assert_eq!(says_out(&snapshot, Icmpv6, "2001:db8:1::7", 0), Tracked);
    assert_eq!(says_out(&snapshot, Tcp, "2001:db8:1::7", 443), Tracked);
}

#[test]
fn a_declared_default_group_takes_its_place() {
    for name in ["default", "Default"] {
        let declared = group("a", "egress = []").replace("\"a\"", &format!("\"{name}\""));
        let snapshot = built(&(declared + &without_groups()));
        assert_eq!(snapshot.security_groups().count(), 1);
        assert_eq!(group_of(&snapshot, "eni-a").id.to_string(), "sg-a");
        assert_eq!(says_in(&snapshot, Tcp, "10.0.1.20", 22), Refused);
        assert_eq!(says_out(&snapshot, Tcp, "10.0.1.20", 22), Refused);
    }
}

#[test]
fn a_default_group_that_is_not_declared_can_be_named_by_its_id() {
    let id = group_of(&built(&without_groups()), "eni-a").id.to_string();
    let rules = format!(
        r#"
        ingress = [{{ ip_protocol = "-1", referenced_group_id = "{id}" }}]
        egress = []
        "#
    );
    let neighbours = interface(
        "b",
        &format!(
            r#"private_ip_address = "10.0.1.20"
            groups = ["{id}"]"#
        ),
    );
    let snapshot = built(&(group("a", &rules) + &asked(r#""sg-a""#) + &neighbours));
    assert_eq!(&*group_of(&snapshot, "eni-b").name, "default");
    assert_eq!(says_in(&snapshot, Tcp, "10.0.1.20", 22), Tracked);
}

#[test]
fn a_group_that_leaves_egress_out_lets_everything_out() {
    let open = guarded("");
    for (protocol, remote) in [
        (Tcp, "198.51.100.7"),
        (Tcp, "2001:db8:1::7"),
        (Icmp, "198.51.100.7"),
        (Icmpv6, "2001:db8:1::7"),
    ] {
        assert_eq!(says_out(&open, protocol, remote, 443), Tracked, "{protocol}");
        assert_eq!(says_in(&open, protocol, remote, 443), Refused, "{protocol}");
    }
    let written = guarded(
        r#"egress = [
            { ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/0" },
            { ip_protocol = "-1", cidr_ipv6 = "::/0" },
        ]"#,
    );
    assert!(open.same_resources(&written));
}
