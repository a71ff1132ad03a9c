//! Rules for prefixes of interfaces, and addresses that are chosen around them.

use std::net::IpAddr;

use super::{built, message_with, problems_with};
use crate::vpc::InterfaceType;

/// An interface with the last byte of its address and more keys.
fn interface(last: u8, keys: &str) -> String {
    format!(
        r#"
        [[network_interface]]
        network_interface_id = "eni-{last}"
        subnet_id = "subnet-private"
        private_ip_address = "10.0.1.{last}"
        {keys}
        "#
    )
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

#[test]
fn every_address_of_a_prefix_is_its_interfaces() {
    let snapshot = built(&interface(
        10,
        r#"ipv4_prefixes = ["10.0.1.16/28", "10.0.1.64/28"]
        ipv6_prefixes = ["fd00:a:0:1:7::/80"]"#,
    ));
    let (ix, eni) = snapshot.enis().next().expect("one interface");
    let at = |address: &str| snapshot.eni_at(eni.vpc, ip(address));
    for address in ["10.0.1.16", "10.0.1.31", "10.0.1.64", "fd00:a:0:1:7::", "fd00:a:0:1:7::99"] {
        assert_eq!(at(address), Some(ix), "{address}");
        assert!(eni.has_address(ip(address)), "{address}");
    }
    for address in ["10.0.1.15", "10.0.1.32", "fd00:a:0:1:8::"] {
        assert_eq!(at(address), None, "{address}");
    }
}

#[test]
fn a_prefix_has_ec2s_length_and_is_inside_its_subnet() {
    for (prefix, code) in [
        ("10.0.1.16/29", "InvalidParameterValue"),
        ("10.0.1.0/27", "InvalidParameterValue"),
        ("10.0.1.17/28", "InvalidParameterValue"),
        ("10.0.0.16/28", "InvalidParameterValue"),
        // The first four addresses and the last are reserved.
        ("10.0.1.0/28", "InvalidParameterValue"),
        ("10.0.1.240/28", "InvalidParameterValue"),
    ] {
        assert_eq!(
            problems_with(&interface(40, &format!("ipv4_prefixes = [\"{prefix}\"]"))),
            [format!("network_interface[0].ipv4_prefixes[0]: {code}")],
            "{prefix}"
        );
    }
    for prefix in [
        "fd00:a:0:1:7::/81",
        "fd00:a:0:1:7::1/80",
        "fd00:a:0:0:7::/80",
        "fd00:a:0:1::/80",
        "fd00:a:0:1:ffff::/80",
    ] {
        assert_eq!(
            problems_with(&interface(40, &format!("ipv6_prefixes = [\"{prefix}\"]"))),
            ["network_interface[0].ipv6_prefixes[0]: InvalidParameterValue"],
            "{prefix}"
        );
    }
    assert_eq!(
        message_with(&interface(40, "ipv4_prefixes = [\"10.0.1.16/29\"]")),
        "network_interface[0].ipv4_prefixes[0]: 10.0.1.16/29 is not a /28: prefixes of interfaces \
         are (InvalidParameterValue)"
    );
}

#[test]
fn an_ipv6_prefix_needs_an_ipv6_subnet() {
    let more = r#"
        [[subnet]]
        subnet_id = "subnet-v4"
        vpc_id = "vpc-a"
        cidr_block = "10.0.2.0/24"
        [[network_interface]]
        network_interface_id = "eni-a"
        subnet_id = "subnet-v4"
        private_ip_address = "10.0.2.10"
        ipv6_prefixes = ["fd00:a:0:2:7::/80"]
    "#;
    assert_eq!(
        problems_with(more),
        ["network_interface[0].ipv6_prefixes[0]: InvalidParameterValue"]
    );
}

#[test]
fn a_prefix_belongs_to_one_interface_of_a_vpc() {
    let more = interface(10, "ipv4_prefixes = [\"10.0.1.16/28\"]")
        + &interface(11, "ipv4_prefixes = [\"10.0.1.32/28\", \"10.0.1.16/28\", \"10.0.1.32/28\"]");
    assert_eq!(
        problems_with(&more),
        [
            "network_interface[1].ipv4_prefixes[1]: InvalidIPAddress.InUse",
            "network_interface[1].ipv4_prefixes[2]: InvalidIPAddress.InUse",
        ]
    );
}

#[test]
fn a_prefix_is_not_around_an_address_of_another_or_its_own_interface() {
    let more =
        interface(20, "") + &interface(40, "ipv4_prefixes = [\"10.0.1.16/28\", \"10.0.1.32/28\"]");
    assert_eq!(
        problems_with(&more),
        [
            "network_interface[1].ipv4_prefixes[0]: InvalidIPAddress.InUse",
            "network_interface[1].ipv4_prefixes[1]: InvalidIPAddress.InUse",
        ]
    );
    let before = interface(10, "ipv4_prefixes = [\"10.0.1.16/28\"]") + &interface(20, "");
    assert_eq!(
        message_with(&before),
        "network_interface[1].private_ip_address: 10.0.1.20 is in 10.0.1.16/28, a prefix of eni-10 \
         (InvalidIPAddress.InUse)"
    );
    let ipv6 = interface(10, "ipv6_prefixes = [\"fd00:a:0:1:7::/80\"]")
        + &interface(11, "ipv6_addresses = [\"fd00:a:0:1:7::5\"]");
    assert_eq!(
        problems_with(&ipv6),
        ["network_interface[1].ipv6_addresses[0]: InvalidIPAddress.InUse"]
    );
}

#[test]
fn two_vpcs_may_have_the_same_prefixes() {
    let own = interface(10, "ipv4_prefixes = [\"10.0.0.16/28\"]").replace("10.0.1.10", "10.0.0.10");
    let a = own.replace("subnet-private", "subnet-public");
    let b = own.replace("subnet-private", "subnet-b").replace("eni-10", "eni-b");
    let snapshot = built(&format!("{}{a}{b}", super::OTHER_TENANT));
    let found: Vec<_> = snapshot
        .vpcs()
        .map(|(vpc, _)| snapshot.eni_at(vpc, ip("10.0.0.20")).expect("somebody's"))
        .map(|ix| snapshot.eni(ix).id.to_string())
        .collect();
    assert_eq!(found, ["eni-10", "eni-b"]);
}

/// A subnet of its own with an interface that has `prefixes`, and a bridge without an address.
fn with_bridge(block: &str, primary: &str, prefixes: &[String]) -> String {
    format!(
        r#"
        [[vpc]]
        vpc_id = "vpc-wide"
        cidr_block = "10.9.0.0/16"
        [[subnet]]
        subnet_id = "subnet-wide"
        vpc_id = "vpc-wide"
        cidr_block = "{block}"
        [[network_interface]]
        network_interface_id = "eni-pods"
        subnet_id = "subnet-wide"
        private_ip_address = "{primary}"
        ipv4_prefixes = {prefixes:?}
        [[lambda_bridge]]
        lambda_bridge_id = "bridge-a"
        subnet_id = "subnet-wide"
        [quotas]
        ipv4_addresses_per_network_interface = 5000
        "#
    )
}

#[test]
fn the_first_free_address_is_beside_all_prefixes() {
    // The 4,094 prefixes between the first and the last /28 of a /16, and the twelve addresses of
    // the first that are not reserved but for one.
    let prefixes: Vec<String> =
        (1..4095_u32).map(|n| format!("10.9.{}.{}/28", n / 16, n % 16 * 16)).collect();
    let bridge = |text: &str| {
        let snapshot = built(text);
        let mut enis = snapshot.enis().map(|(_, eni)| eni);
        let eni = enis.find(|eni| eni.interface_type == InterfaceType::Lambda).expect("declared");
        eni.private_ips[0].to_string()
    };
    let text = with_bridge("10.9.0.0/16", "10.9.0.4", &prefixes);
    assert_eq!(bridge(&text), "10.9.0.5");

    let taken: Vec<_> = (5..16).map(|n| format!("10.9.0.{n}")).collect();
    let keys = format!("secondary_private_ip_addresses = {taken:?}\nipv4_prefixes");
    assert_eq!(bridge(&text.replace("ipv4_prefixes", &keys)), "10.9.255.240");
}

#[test]
fn a_subnet_full_of_prefixes_and_addresses_has_no_free_one() {
    let prefixes = [16, 32].map(|last| format!("10.9.0.{last}/28"));
    let text = |last: u8| {
        let taken: Vec<_> = (5..16).chain(48..=last).map(|n| format!("10.9.0.{n}")).collect();
        let keys = format!("secondary_private_ip_addresses = {taken:?}\nipv4_prefixes");
        with_bridge("10.9.0.0/26", "10.9.0.4", &prefixes).replace("ipv4_prefixes", &keys)
    };
    assert_eq!(
        problems_with(&text(62)),
        ["lambda_bridge[0].private_ip_address: InsufficientFreeAddressesInSubnet"]
    );
    assert_eq!(built(&text(61)).enis().count(), 2, "63 is the broadcast address, 62 was left");
}

#[test]
fn a_bridge_may_have_prefixes_too() {
    let bridge = |keys: &str| {
        format!(
            r#"
            [[lambda_bridge]]
            lambda_bridge_id = "bridge-a"
            subnet_id = "subnet-private"
            private_ip_address = "10.0.1.10"
            {keys}
            "#
        )
    };
    let good = bridge(
        r#"ipv4_prefixes = ["10.0.1.16/28"]
        ipv6_prefixes = ["fd00:a:0:1:7::/80"]"#,
    );
    let snapshot = built(&good);
    let (ix, eni) = snapshot.enis().next().expect("one interface");
    assert_eq!(snapshot.eni_at(eni.vpc, ip("10.0.1.20")), Some(ix));
    assert_eq!(snapshot.eni_at(eni.vpc, ip("fd00:a:0:1:7::20")), Some(ix));

    let bad = interface(20, "") + &bridge("ipv4_prefixes = [\"10.0.1.16/28\", \"10.0.0.16/28\"]");
    assert_eq!(
        problems_with(&bad),
        [
            "lambda_bridge[0].ipv4_prefixes[0]: InvalidIPAddress.InUse",
            "lambda_bridge[0].ipv4_prefixes[1]: InvalidParameterValue",
        ]
    );
}
