//! What is refused of groups, their rules, prefix lists and the groups of interfaces.

use super::{asked, group, interface};
use crate::vpc::tests::{built, message_with, problems_beside, problems_with};

/// What is wrong with one ingress rule of an otherwise good document.
fn problems_of_rule(rule: &str) -> Vec<String> {
    problems_with(&group("a", &format!("ingress = [{{ {rule} }}]")))
}

fn message_of_rule(rule: &str) -> String {
    message_with(&group("a", &format!("ingress = [{{ {rule} }}]")))
}

#[test]
fn a_group_that_does_not_exist_cannot_be_named() {
    let rules = r#"egress = [{ ip_protocol = "-1", referenced_group_id = "sg-gone" }]"#;
    let bridge = r#"
        [[lambda_bridge]]
        lambda_bridge_id = "bridge-a"
        subnet_id = "subnet-private"
        security_group_ids = ["sg-gone"]
    "#;
    assert_eq!(
        problems_with(&(group("a", rules) + &asked(r#""sg-a", "sg-gone""#) + bridge)),
        [
            "security_group[0].egress[0].referenced_group_id: InvalidGroup.NotFound",
            "network_interface[0].groups[1]: InvalidGroup.NotFound",
            "lambda_bridge[0].security_group_ids[0]: InvalidGroup.NotFound",
        ]
    );
}

#[test]
fn a_group_of_another_vpc_cannot_be_named() {
    let rules = r#"ingress = [{ ip_protocol = "-1", referenced_group_id = "sg-b" }]"#;
    let foreign = group("b", "").replace("vpc-a", "vpc-b");
    let more = group("a", rules) + &foreign + &asked(r#""sg-b", "sg-a""#);
    assert_eq!(
        problems_beside(&more),
        [
            "security_group[0].ingress[0].referenced_group_id: InvalidGroup.NotFound",
            "network_interface[0].groups[0]: InvalidGroup.NotFound",
        ]
    );
    // Nor can the one that a VPC has without saying so.
    let default = r#"
        [[network_interface]]
        network_interface_id = "eni-default"
        subnet_id = "subnet-private"
        private_ip_address = "10.0.1.10"
    "#;
    let snapshot = built(default);
    let (_, group) = snapshot.security_groups().next().expect("the default group");
    let stranger = format!(
        r#"
        [[network_interface]]
        network_interface_id = "eni-b"
        subnet_id = "subnet-b"
        private_ip_address = "10.0.0.10"
        groups = ["{}"]
        "#,
        group.id
    );
    assert_eq!(
        problems_beside(&stranger),
        ["network_interface[0].groups[0]: InvalidGroup.NotFound"]
    );
}

#[test]
fn the_message_about_another_vpcs_group_names_both_vpcs() {
    let text = r#"
        [[vpc]]
        vpc_id = "vpc-b"
        cidr_block = "10.9.0.0/16"
    "#;
    let more = text.to_owned() + &group("a", "").replace("vpc-a", "vpc-b") + &asked(r#""sg-a""#);
    assert_eq!(
        message_with(&more),
        "network_interface[0].groups[0]: `sg-a` is a group of vpc-b: name one of vpc-a \
         (InvalidGroup.NotFound)"
    );
}

#[test]
fn an_interface_has_each_group_once() {
    let groups = group("a", "") + &group("b", "");
    assert_eq!(
        message_with(&(groups + &asked(r#""sg-a", "sg-b", "sg-a""#))),
        "network_interface[0].groups[2]: the interface has `sg-a` already: name each group once \
         (InvalidParameterValue)"
    );
}

#[test]
fn an_id_is_for_one_group_and_a_name_for_one_of_a_vpc() {
    let twice = group("a", "") + &group("a", "").replace("\"a\"", "\"b\"");
    assert_eq!(problems_with(&twice), ["security_group[1].group_id: InvalidGroup.Duplicate"]);
    // "Names are case-insensitive"
    let renamed = group("a", "") + &group("b", "").replace("\"b\"", "\"A\"");
    assert_eq!(
        message_with(&renamed),
        "security_group[1].group_name: vpc-a has a group of the name `A` already, \
         security_group[0]: choose another (InvalidGroup.Duplicate)"
    );
    let elsewhere = group("b", "").replace("\"b\"", "\"a\"").replace("vpc-a", "vpc-b");
    let other = "\n[[vpc]]\nvpc_id = \"vpc-b\"\ncidr_block = \"10.9.0.0/16\"\n";
    built(&[other, &group("a", ""), &elsewhere].concat());
}

#[test]
fn an_id_that_a_default_group_has_cannot_be_another_groups() {
    let (id, name) = {
        let snapshot = built("");
        let (_, group) = snapshot.security_groups().next().expect("the default group");
        (group.id.to_string(), group.name.to_string())
    };
    let taken = group("a", "").replace("sg-a", &id);
    assert_eq!(problems_with(&taken), ["security_group[0].group_id: InvalidGroup.Duplicate"]);
    // Whoever declares the default group itself may keep its id.
    built(&taken.replace("\"a\"", &format!("\"{name}\"")));
}

#[test]
fn a_group_has_a_name_as_ec2_would_take_it() {
    for good in ["a", "Web servers (blue) #1", "._-:/()#,@[]+=&;{}!$*", &"n".repeat(255)] {
        built(&group("a", "").replace("\"a\"", &format!("\"{good}\"")));
    }
    for bad in ["", "sg-web", "größe", "a\\tb", "a%b", &"n".repeat(256)] {
        let more = group("a", "").replace("\"a\"", &format!("\"{bad}\""));
        assert_eq!(
            problems_with(&more),
            ["security_group[0].group_name: InvalidParameterValue"],
            "{bad}"
        );
    }
    assert_eq!(
        message_with(&group("a", "").replace("\"a\"", "\"sg-web\"")),
        "security_group[0].group_name: `sg-web` cannot be the name of a group: write 1 to 255 \
         letters, digits, spaces or ._-:/()#,@[]+=&;{}!$*, and not `sg-` first \
         (InvalidParameterValue)"
    );
}

#[test]
fn a_group_needs_its_vpc() {
    assert_eq!(
        problems_with(&group("a", "").replace("vpc-a", "vpc-gone")),
        ["security_group[0].vpc_id: InvalidVpcID.NotFound"]
    );
}

#[test]
fn tcp_and_udp_need_a_range_of_ports() {
    for protocol in ["tcp", "udp"] {
        for (ports, key, code) in [
            ("", "from_port", "InvalidPermission.Malformed"),
            (", from_port = 22", "to_port", "InvalidPermission.Malformed"),
            (", to_port = 22", "from_port", "InvalidPermission.Malformed"),
            (", from_port = -1, to_port = -1", "from_port", "InvalidPermission.Malformed"),
            (", from_port = 0, to_port = 65536", "to_port", "InvalidPermission.Malformed"),
            (", from_port = 65536, to_port = 65536", "from_port", "InvalidPermission.Malformed"),
            (", from_port = 23, to_port = 22", "from_port", "InvalidPermission.Malformed"),
        ] {
            assert_eq!(
                problems_of_rule(&format!(
                    r#"ip_protocol = "{protocol}"{ports}, cidr_ipv4 = "0.0.0.0/0""#
                )),
                [format!("security_group[0].ingress[0].{key}: {code}")],
                "{protocol}{ports}"
            );
        }
    }
}

#[test]
fn icmp_needs_a_type_and_a_code() {
    for (protocol, ports, key) in [
        ("icmp", "", "from_port"),
        ("icmp", ", from_port = 8", "to_port"),
        ("icmpv6", ", from_port = 128", "to_port"),
        ("icmpv6", ", to_port = 0", "from_port"),
        ("icmp", ", from_port = 256, to_port = -1", "from_port"),
        ("icmp", ", from_port = -2, to_port = -1", "from_port"),
        ("icmp", ", from_port = 8, to_port = 256", "to_port"),
        ("icmpv6", ", from_port = 128, to_port = -2", "to_port"),
        ("icmp", ", from_port = -1, to_port = 0", "to_port"),
    ] {
        assert_eq!(
            problems_of_rule(&format!(
                r#"ip_protocol = "{protocol}"{ports}, cidr_ipv4 = "0.0.0.0/0""#
            )),
            [format!("security_group[0].ingress[0].{key}: InvalidPermission.Malformed")],
            "{protocol}{ports}"
        );
    }
}

#[test]
fn other_protocols_have_no_ports() {
    for protocol in ["-1", "47"] {
        for (ports, key) in [
            (", from_port = 22, to_port = 22", "from_port"),
            (", from_port = 0", "from_port"),
            (", to_port = 65535", "to_port"),
        ] {
            assert_eq!(
                problems_of_rule(&format!(
                    r#"ip_protocol = "{protocol}"{ports}, cidr_ipv4 = "0.0.0.0/0""#
                )),
                [format!("security_group[0].ingress[0].{key}: InvalidPermission.Malformed")],
                "{protocol}{ports}"
            );
        }
        // EC2's own listings have -1 there.
        let rule = format!(
            r#"{{ ip_protocol = "{protocol}", from_port = -1, to_port = -1, cidr_ipv4 = "0.0.0.0/0" }}"#
        );
        built(&group("a", &format!("ingress = [{rule}]")));
    }
}

#[test]
fn messages_say_how_to_write_a_rule() {
    for (rule, message) in [
        (
            r#"ip_protocol = "tcp""#,
            "from_port: tcp needs both from_port and to_port: 0 and 65535 are all ports",
        ),
        (
            r#"ip_protocol = "icmp""#,
            "from_port: icmp needs both from_port and to_port, the type and the code: -1 is every \
             one",
        ),
        (
            r#"ip_protocol = "-1", from_port = 0, to_port = 65535"#,
            "from_port: -1 is every protocol and has no ports: leave from_port and to_port out",
        ),
        (
            r#"ip_protocol = "50", from_port = 0, to_port = 0"#,
            "from_port: protocol 50 has no ports: leave from_port and to_port out",
        ),
        (
            r#"ip_protocol = "tcp", from_port = 22, to_port = 70000"#,
            "to_port: 70000 is not a port: choose one from 0 to 65535",
        ),
        (
            r#"ip_protocol = "icmp", from_port = 8, to_port = 300"#,
            "to_port: 300 is not an ICMP code: choose one from -1 to 255",
        ),
        (
            r#"ip_protocol = "udp", from_port = 53, to_port = 22"#,
            "from_port: from_port 53 comes after to_port 22: swap them",
        ),
        (
            r#"ip_protocol = "icmp", from_port = -1, to_port = 4"#,
            "to_port: code 4 of every ICMP type cannot be named: write -1 here, or a type as \
             from_port",
        ),
    ] {
        assert_eq!(
            message_of_rule(&format!(r#"{rule}, cidr_ipv4 = "0.0.0.0/0""#)),
            format!("security_group[0].ingress[0].{message} (InvalidPermission.Malformed)")
        );
    }
}

#[test]
fn a_rule_has_exactly_one_other_end() {
    assert_eq!(
        message_of_rule(r#"ip_protocol = "-1""#),
        "security_group[0].ingress[0]: one of cidr_ipv4, cidr_ipv6, prefix_list_id, \
         referenced_group_id is missing (MissingParameter)"
    );
    assert_eq!(
        problems_of_rule(
            r#"ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/0", referenced_group_id = "sg-a""#
        ),
        ["security_group[0].ingress[0]: InvalidParameterCombination"]
    );
}

#[test]
fn a_network_has_no_bits_beyond_its_prefix() {
    for (key, network, right) in [
        ("cidr_ipv4", "198.51.100.7/24", "198.51.100.0/24"),
        ("cidr_ipv6", "2001:db8::1/64", "2001:db8::/64"),
    ] {
        assert_eq!(
            message_of_rule(&format!(r#"ip_protocol = "-1", {key} = "{network}""#)),
            format!(
                "security_group[0].ingress[0].{key}: {network} has bits beyond its prefix length: \
                 write {right} (InvalidParameterValue)"
            )
        );
    }
}

#[test]
fn a_group_has_each_rule_once_in_a_direction() {
    let ssh =
        r#"{ ip_protocol = "tcp", from_port = 22, to_port = 22, cidr_ipv4 = "192.0.2.0/24" }"#;
    let described = ssh.replace(" }", r#", description = "again" }"#).replace("\"tcp\"", "\"6\"");
    let web = ssh.replace("22", "80");
    assert_eq!(
        message_with(&group("a", &format!("ingress = [{ssh}, {web}, {described}]"))),
        "security_group[0].ingress[2]: the group has this rule already, \
         security_group[0].ingress[0]: remove one (InvalidPermission.Duplicate)"
    );
    built(&group("a", &format!("ingress = [{ssh}, {web}]\negress = [{ssh}]")));
    let all = r#"{ ip_protocol = "-1", referenced_group_id = "sg-a" }"#;
    let again = all.replace("-1\"", "-1\", from_port = -1, to_port = -1");
    assert_eq!(
        problems_with(&group("a", &format!("egress = [{all}, {again}]"))),
        ["security_group[0].egress[1]: InvalidPermission.Duplicate"]
    );
}

fn list(max_entries: u32, networks: &[&str]) -> String {
    let entries: Vec<_> = networks.iter().map(|it| format!("{{ cidr = \"{it}\" }}")).collect();
    format!(
        r#"
        [[prefix_list]]
        prefix_list_id = "pl-a"
        prefix_list_name = "offices"
        max_entries = {max_entries}
        entry = [{}]
        "#,
        entries.join(",")
    )
}

#[test]
fn a_prefix_list_that_does_not_exist_cannot_be_named() {
    assert_eq!(
        problems_of_rule(r#"ip_protocol = "-1", prefix_list_id = "pl-gone""#),
        ["security_group[0].ingress[0].prefix_list_id: InvalidPrefixListId.NotFound"]
    );
}

#[test]
fn a_prefix_list_is_of_one_family_without_doubles() {
    built(&list(3, &["10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24"]));
    assert_eq!(
        message_with(&list(3, &["10.0.0.0/8", "2001:db8::/32"])),
        "prefix_list[0].entry[1].cidr: 2001:db8::/32 is not of the family of 10.0.0.0/8, the \
         first entry: make a list for each (InvalidParameterValue)"
    );
    assert_eq!(
        message_with(&list(3, &["2001:db8::/32", "fd00::/8", "2001:db8::/32"])),
        "prefix_list[0].entry[2].cidr: the list has 2001:db8::/32 already, prefix_list[0].entry[0]: \
         remove one (InvalidParameterValue)"
    );
    assert_eq!(
        problems_with(&list(3, &["10.0.0.1/8"])),
        ["prefix_list[0].entry[0].cidr: InvalidParameterValue"]
    );
}

#[test]
fn a_prefix_list_has_no_more_entries_than_it_says() {
    assert_eq!(
        message_with(&list(1, &["10.0.0.0/8", "192.0.2.0/24"])),
        "prefix_list[0].entry[1]: the list has at most 1 entries: remove some, or raise \
         max_entries (PrefixListMaxEntriesExceeded)"
    );
    for max_entries in [0, 1001] {
        assert_eq!(
            problems_with(&list(max_entries, &[])),
            ["prefix_list[0].max_entries: InvalidParameterValue"]
        );
    }
}

#[test]
fn a_prefix_list_has_an_id_and_a_name_of_its_own() {
    for bad in ["", "com.amazonaws.global", &"n".repeat(256)] {
        assert_eq!(
            problems_with(&list(1, &[]).replace("offices", bad)),
            ["prefix_list[0].prefix_list_name: InvalidParameterValue"],
            "{bad}"
        );
    }
    assert_eq!(
        problems_with(&(list(1, &[]) + &list(1, &[]))),
        ["prefix_list[1].prefix_list_id: InvalidParameterValue"]
    );
}

#[test]
fn everything_wrong_with_a_group_is_reported_at_once() {
    let rules = r#"
        ingress = [
            { ip_protocol = "tcp", cidr_ipv4 = "10.0.0.1/8" },
            { ip_protocol = "udp", from_port = 1, to_port = 0 },
        ]
    "#;
    let more = group("a", rules).replace("\"a\"", "\"sg-\"")
        + &interface("a", "private_ip_address = \"10.0.1.10\"\ngroups = [\"sg-gone\"]");
    assert_eq!(
        problems_with(&more),
        [
            "security_group[0].group_name: InvalidParameterValue",
            "security_group[0].ingress[0].from_port: InvalidPermission.Malformed",
            "security_group[0].ingress[0].cidr_ipv4: InvalidParameterValue",
            "security_group[0].ingress[1].from_port: InvalidPermission.Malformed",
            "security_group[0].ingress[1]: MissingParameter",
            "network_interface[0].groups[0]: InvalidGroup.NotFound",
        ]
    );
}
