//! Rules for network interfaces, and the managed ones that nobody declared.

use std::net::IpAddr;
use std::time::Duration;

use super::{built, message_with, problems_with};
use crate::vpc::{InterfaceType, Owner, Snapshot};

fn interface(id: &str, keys: &str) -> String {
    format!(
        r#"
        [[network_interface]]
        network_interface_id = "eni-{id}"
        subnet_id = "subnet-private"
        {keys}
        "#
    )
}

fn addresses(snapshot: &Snapshot, of: InterfaceType) -> Vec<String> {
    let enis = snapshot.enis().filter(|(_, eni)| eni.interface_type == of);
    enis.flat_map(|(_, eni)| eni.addresses().map(|ip| ip.to_string()).collect::<Vec<_>>()).collect()
}

#[test]
fn an_address_outside_the_subnet_is_refused() {
    let more = interface(
        "a",
        r#"private_ip_address = "10.0.0.10"
        ipv6_addresses = ["fd00:a:0:1::10", "fd00:a::10"]"#,
    );
    assert_eq!(
        problems_with(&more),
        [
            "network_interface[0].private_ip_address: InvalidParameterValue",
            "network_interface[0].ipv6_addresses[1]: InvalidParameterValue",
        ]
    );
}

#[test]
fn the_five_reserved_addresses_of_either_family_are_refused() {
    for last in [0, 1, 2, 3, 255] {
        let more = interface("a", &format!(r#"private_ip_address = "10.0.1.{last}""#));
        assert_eq!(
            problems_with(&more),
            ["network_interface[0].private_ip_address: InvalidParameterValue"],
            "{last}"
        );
    }
    for reserved in ["::", "::1", "::2", "::3", ":ffff:ffff:ffff:ffff"] {
        let more = interface(
            "a",
            &format!(
                r#"private_ip_address = "10.0.1.4"
                ipv6_addresses = ["fd00:a:0:1{reserved}"]"#
            ),
        );
        assert_eq!(
            problems_with(&more),
            ["network_interface[0].ipv6_addresses[0]: InvalidParameterValue"],
            "{reserved}"
        );
    }
    built(&interface(
        "a",
        r#"private_ip_address = "10.0.1.254"
        ipv6_addresses = ["fd00:a:0:1::4", "fd00:a:0:1:ffff:ffff:ffff:fffe"]"#,
    ));
}

#[test]
fn an_address_belongs_to_one_interface_of_a_vpc() {
    let more = interface("a", r#"private_ip_address = "10.0.1.10""#)
        + &interface("b", r#"private_ip_address = "10.0.1.10""#);
    assert_eq!(
        message_with(&more),
        "network_interface[1].private_ip_address: 10.0.1.10 is the address of eni-a already \
         (InvalidIPAddress.InUse)"
    );
}

#[test]
fn an_interface_has_an_address_unless_it_is_without_ip() {
    for kind in ["interface", "efa"] {
        assert_eq!(
            problems_with(&interface("a", &format!("interface_type = \"{kind}\""))),
            ["network_interface[0].private_ip_address: MissingParameter"],
            "{kind}"
        );
    }
    built(&interface("a", "interface_type = \"efa-only\""));
    let all = r#"
        interface_type = "efa-only"
        private_ip_address = "10.0.1.10"
        secondary_private_ip_addresses = ["10.0.1.11"]
        ipv4_prefixes = ["10.0.1.16/28"]
        ipv6_addresses = ["fd00:a:0:1::10"]
        ipv6_prefixes = ["fd00:a:0:1:7::/80"]
        public_ip = "203.0.113.50"
        [[public_ipv4_pool]]
        public_ipv4_pool_id = "ipv4pool-ec2-a"
        pool_cidr_blocks = ["203.0.113.0/24"]
    "#;
    assert_eq!(
        problems_with(&interface("a", all)),
        [
            "network_interface[0].private_ip_address: InvalidParameterCombination",
            "network_interface[0].secondary_private_ip_addresses: InvalidParameterCombination",
            "network_interface[0].ipv4_prefixes: InvalidParameterCombination",
            "network_interface[0].ipv6_addresses: InvalidParameterCombination",
            "network_interface[0].ipv6_prefixes: InvalidParameterCombination",
            "network_interface[0].public_ip: InvalidParameterCombination",
        ]
    );
}

#[test]
fn idle_times_of_an_interface_are_in_ec2s_ranges() {
    let tracking = |tcp: u32, stream: u32, udp: u32| {
        interface(
            "a",
            &format!(
                "private_ip_address = \"10.0.1.10\"\n\
                 connection_tracking = {{ tcp_established_timeout = {tcp}, \
                 udp_stream_timeout = {stream}, udp_timeout = {udp} }}"
            ),
        )
    };
    for (tcp, stream, udp) in [(60, 60, 30), (432_000, 180, 60)] {
        let snapshot = built(&tracking(tcp, stream, udp));
        let (_, eni) = snapshot.enis().next().expect("one interface");
        assert_eq!(eni.timeouts.tcp_established, Duration::from_secs(tcp.into()));
        assert_eq!(eni.timeouts.udp, Duration::from_secs(udp.into()));
    }
    for (tcp, stream, udp) in [(59, 59, 29), (432_001, 181, 61)] {
        assert_eq!(
            problems_with(&tracking(tcp, stream, udp)),
            ["tcp_established_timeout", "udp_stream_timeout", "udp_timeout"].map(|key| format!(
                "network_interface[0].connection_tracking.{key}: InvalidParameterValue"
            ))
        );
    }
}

#[test]
fn an_ipv6_address_needs_an_ipv6_subnet() {
    let more = r#"
        [[subnet]]
        subnet_id = "subnet-v4"
        vpc_id = "vpc-a"
        cidr_block = "10.0.2.0/24"
        [[network_interface]]
        network_interface_id = "eni-a"
        subnet_id = "subnet-v4"
        private_ip_address = "10.0.2.10"
        ipv6_addresses = ["fd00:a:0:2::10"]
    "#;
    assert_eq!(
        problems_with(more),
        ["network_interface[0].ipv6_addresses[0]: InvalidParameterValue"]
    );
}

#[test]
fn a_mac_address_must_be_one_hosts() {
    for mac in ["01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"] {
        let keys = format!("private_ip_address = \"10.0.1.10\"\nmac_address = \"{mac}\"");
        assert_eq!(
            problems_with(&interface("a", &keys)),
            ["network_interface[0].mac_address: InvalidParameterValue"],
            "{mac}"
        );
    }
}

#[test]
fn a_mac_address_is_unique_on_a_segment_and_only_there() {
    let mac = "mac_address = \"02:00:00:00:00:01\"";
    let apart =
        interface("a", &format!("private_ip_address = \"10.0.1.10\"\nport = \"a0\"\n{mac}"))
            + &interface("b", &format!("private_ip_address = \"10.0.1.11\"\nport = \"b0\"\n{mac}"));
    built(&apart);

    let segment = r#"
        [[subnet]]
        subnet_id = "subnet-lan"
        vpc_id = "vpc-a"
        cidr_block = "10.0.2.0/24"
        port = "lan0"
    "#;
    let together = interface("a", &format!("private_ip_address = \"10.0.2.10\"\n{mac}"))
        + &interface("b", &format!("private_ip_address = \"10.0.2.11\"\n{mac}"));
    let together = segment.to_owned() + &together.replace("subnet-private", "subnet-lan");
    assert_eq!(
        problems_with(&together),
        ["network_interface[1].mac_address: InvalidNetworkInterface.InUse"]
    );
}

const MANAGED: &str = r#"
    [[address]]
    allocation_id = "eipalloc-1"
    public_ip = "203.0.113.10"

    [[nat_gateway]]
    nat_gateway_id = "nat-b"
    subnet_id = "subnet-public"
    allocation_ids = ["eipalloc-1"]

    [[nat_gateway]]
    nat_gateway_id = "nat-a"
    subnet_id = "subnet-public"
    connectivity_type = "private"

    [[load_balancer]]
    load_balancer_name = "web"
    scheme = "internal"
    subnet_mapping = [
        { subnet_id = "subnet-public", private_ipv4_address = "10.0.0.5" },
        { subnet_id = "subnet-private", ipv6_address = "fd00:a:0:1::80" },
    ]

    [[lambda_bridge]]
    lambda_bridge_id = "bridge-1"
    network_interface_id = "eni-lambda"
    subnet_id = "subnet-private"
"#;

#[test]
fn every_function_gets_a_managed_interface_in_each_of_its_subnets() {
    let snapshot = built(MANAGED);
    let seen: Vec<_> = snapshot
        .enis()
        .map(|(_, eni)| (eni.interface_type.as_str(), eni.description.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            ("natGateway", "Interface for NAT Gateway nat-b"),
            ("natGateway", "Interface for NAT Gateway nat-a"),
            ("network_load_balancer", "ELB net/web"),
            ("network_load_balancer", "ELB net/web"),
            ("lambda", "Lambda bridge bridge-1"),
        ]
    );
    assert!(snapshot.enis().all(|(_, eni)| eni.is_requester_managed()));
    for (ix, gateway) in snapshot.nat_gateways() {
        assert_eq!(snapshot.eni(gateway.eni).owner, Owner::NatGateway(ix));
    }
    let bridge = snapshot.bridge(snapshot.bridge_by_id("bridge-1").expect("declared"));
    assert_eq!(snapshot.eni(bridge.eni).id.to_string(), "eni-lambda");
    assert_eq!(snapshot.bridge_by_id("bridge-2"), None);
}

#[test]
fn a_managed_interface_without_an_address_gets_the_first_free_one_by_the_order_of_ids() {
    let snapshot = built(MANAGED);
    // nat-a comes before nat-b whatever the document's order, and 10.0.0.5 was asked for.
    assert_eq!(addresses(&snapshot, InterfaceType::NatGateway), ["10.0.0.6", "10.0.0.4"]);
    assert_eq!(
        addresses(&snapshot, InterfaceType::NetworkLoadBalancer),
        ["10.0.0.5", "10.0.1.4", "fd00:a:0:1::80"]
    );
    assert_eq!(addresses(&snapshot, InterfaceType::Lambda), ["10.0.1.5"]);
}

#[test]
fn derived_ids_of_managed_interfaces_have_ec2s_form_and_never_change() {
    let snapshot = built(MANAGED);
    let ids: Vec<_> = snapshot.enis().map(|(_, eni)| eni.id.to_string()).collect();
    for id in &ids[..4] {
        let digits = id.strip_prefix("eni-").expect(id);
        assert!(digits.len() == 17 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    }
    // Another release or host must come to the same id: SipHash-2-4 with a zero key over
    // `natGateway|nat-b|subnet-public|`.
    assert_eq!(ids[0], "eni-02a7ecc4b08c76acc");
}

#[test]
fn a_subnet_without_a_free_address_is_reported() {
    // Of the sixteen addresses of a /28 five are reserved: eleven gateways fit.
    let gateways: Vec<String> = (0..12)
        .map(|place| {
            format!(
                r#"
                [[nat_gateway]]
                nat_gateway_id = "nat-{place:02}"
                subnet_id = "subnet-tiny"
                connectivity_type = "private"
                "#
            )
        })
        .collect();
    let more = r#"
        [[subnet]]
        subnet_id = "subnet-tiny"
        vpc_id = "vpc-a"
        cidr_block = "10.0.2.0/28"
        [quotas]
        nat_gateways_per_availability_zone = 12
    "#
    .to_owned()
        + &gateways.concat();
    assert_eq!(
        message_with(&more),
        "nat_gateway[11].private_ip_address: subnet-tiny has no free address left in 10.0.2.0/28 \
         (InsufficientFreeAddressesInSubnet)"
    );
}

#[test]
fn no_address_is_chosen_among_hosts_that_nobody_declared() {
    let more = r#"
        [[subnet]]
        subnet_id = "subnet-lan"
        vpc_id = "vpc-a"
        cidr_block = "10.0.2.0/24"
        port = "lan0"
        [[nat_gateway]]
        nat_gateway_id = "nat-a"
        subnet_id = "subnet-lan"
        connectivity_type = "private"
    "#;
    assert_eq!(problems_with(more), ["nat_gateway[0].private_ip_address: MissingParameter"]);
    built(&format!("{more}\nprivate_ip_address = \"10.0.2.4\""));
}

#[test]
fn a_managed_interface_is_held_to_the_same_rules_about_addresses() {
    let more = r#"
        [[nat_gateway]]
        nat_gateway_id = "nat-a"
        subnet_id = "subnet-private"
        connectivity_type = "private"
        private_ip_address = "10.0.1.1"
        [[lambda_bridge]]
        lambda_bridge_id = "bridge-a"
        subnet_id = "subnet-private"
        private_ip_address = "10.0.1.10"
        ipv6_address = "fd00:a::10"
        [[load_balancer]]
        load_balancer_name = "web"
        scheme = "internal"
        subnet_mapping = [
            { subnet_id = "subnet-private", private_ipv4_address = "10.0.1.10" },
        ]
    "#;
    assert_eq!(
        problems_with(more),
        [
            "nat_gateway[0].private_ip_address: InvalidParameterValue",
            "lambda_bridge[0].private_ip_address: InvalidIPAddress.InUse",
            "lambda_bridge[0].ipv6_address: InvalidParameterValue",
        ]
    );
}

#[test]
fn a_managed_interface_may_not_have_the_id_of_another() {
    let more = interface("a", r#"private_ip_address = "10.0.1.10""#)
        + r#"
        [[lambda_bridge]]
        lambda_bridge_id = "bridge-a"
        network_interface_id = "eni-a"
        subnet_id = "subnet-private"
        "#;
    assert_eq!(
        problems_with(&more),
        ["lambda_bridge[0].network_interface_id: InvalidParameterValue"]
    );
}

#[test]
fn a_snapshot_finds_an_interface_by_each_of_its_addresses() {
    let snapshot = built(&interface(
        "a",
        r#"private_ip_address = "10.0.1.10"
        ipv6_addresses = ["fd00:a:0:1::10", "fd00:a:0:1::11"]"#,
    ));
    let (vpc, _) = snapshot.vpcs().next().expect("one VPC");
    for address in ["10.0.1.10", "fd00:a:0:1::10", "fd00:a:0:1::11"] {
        let address: IpAddr = address.parse().expect("address");
        let ix = snapshot.eni_at(vpc, address).expect("taken");
        assert!(snapshot.eni(ix).has_address(address));
    }
    assert_eq!(snapshot.eni_at(vpc, "10.0.1.11".parse().expect("address")), None);
}
