//! Rules for uplinks, internet gateways and Elastic IP addresses.

use std::net::IpAddr;

use super::{built, message_with, problems_beside, problems_of, problems_with};

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn uplink(keys: &str) -> Vec<String> {
    problems_of(&format!("[[uplink]]\nuplink_id = \"uplink-a\"\nport = \"wan0\"\n{keys}"))
}

#[test]
fn a_gateway_must_be_a_neighbour_or_link_local_and_one_a_family() {
    assert_eq!(
        uplink(
            r#"addresses = ["192.0.2.2/24"]
            gateways = ["198.51.100.1"]"#
        ),
        ["uplink[0].gateways[0]: InvalidParameterValue"]
    );
    assert_eq!(
        uplink(
            r#"addresses = ["192.0.2.2/24"]
            gateways = ["192.0.2.1", "fe80::1", "192.0.2.3"]"#
        ),
        ["uplink[0].gateways[2]: InvalidParameterValue"]
    );
    assert_eq!(
        uplink(
            r#"addresses = ["192.0.2.2/24"]
            gateways = ["192.0.2.2"]"#
        ),
        ["uplink[0].gateways[0]: InvalidIPAddress.InUse"]
    );
}

#[test]
fn an_uplink_needs_an_address_that_a_host_can_have() {
    assert_eq!(uplink("addresses = []"), ["uplink[0].addresses: MissingParameter"]);
    for bad in ["192.0.2.0/24", "192.0.2.255/24", "224.0.0.1/24", "127.0.0.1/8", "2001:db8::/64"] {
        assert_eq!(
            uplink(&format!("addresses = [\"{bad}\"]")),
            ["uplink[0].addresses[0]: InvalidParameterValue"],
            "{bad}"
        );
    }
    let pairs = r#"
        [[uplink]]
        uplink_id = "uplink-a"
        port = "wan0"
        addresses = ["192.0.2.0/31", "2001:db8::/127"]
        gateways = ["192.0.2.1", "2001:db8::1"]
    "#;
    assert!(super::build(pairs).is_ok());
}

#[test]
fn two_uplinks_never_have_one_address() {
    let more = r#"
        [[uplink]]
        uplink_id = "uplink-b"
        port = "wan1"
        addresses = ["203.0.113.2/25"]
    "#;
    assert_eq!(problems_with(more), ["uplink[1].addresses[0]: InvalidIPAddress.InUse"]);
}

#[test]
fn a_next_hop_is_the_destination_on_the_link_and_the_gateway_elsewhere() {
    let snapshot = built("");
    let (_, uplink) = snapshot.uplinks().next().expect("one uplink");
    for (destination, hop) in [
        ("203.0.113.77", "203.0.113.77"),
        ("198.51.100.1", "203.0.113.1"),
        ("2001:db8::77", "2001:db8::77"),
        ("2001:db8:1::1", "fe80::1"),
        ("fe80::77", "fe80::77"),
    ] {
        assert_eq!(uplink.next_hop(ip(destination)), Some(ip(hop)), "{destination}");
    }
    assert_eq!(uplink.source_for(ip("203.0.113.1")), Some(ip("203.0.113.2")));
    assert_eq!(uplink.source_for(ip("fe80::1")), Some(ip("2001:db8::2")));
    assert!(uplink.is_own(ip("2001:db8::2")) && !uplink.is_own(ip("2001:db8::1")));
}

#[test]
fn a_vpc_has_at_most_one_internet_gateway() {
    let more = r#"
        [[internet_gateway]]
        internet_gateway_id = "igw-b"
        vpc_id = "vpc-a"
        uplink_id = "uplink-wan"
    "#;
    assert_eq!(problems_with(more), ["internet_gateway[1].vpc_id: InvalidParameterValue"]);
}

#[test]
fn vpcs_with_ways_out_may_share_private_ipv6_addresses_but_not_public_ones() {
    let text = |block: &str| {
        format!(
            r#"
            vpc = [
                {{ vpc_id = "vpc-a", cidr_block = "10.0.0.0/16", ipv6_cidr_block = "{block}" }},
                {{ vpc_id = "vpc-b", cidr_block = "10.0.0.0/16", ipv6_cidr_block = "{block}" }},
            ]
            uplink = [{{ uplink_id = "uplink-a", port = "wan0", addresses = ["192.0.2.2/24"] }}]
            internet_gateway = [
                {{ internet_gateway_id = "igw-a", vpc_id = "vpc-a", uplink_id = "uplink-a" }},
                {{ internet_gateway_id = "igw-b", vpc_id = "vpc-b", uplink_id = "uplink-a" }},
            ]
            "#
        )
    };
    assert!(super::build(&text("fd00:a::/56")).is_ok());
    assert_eq!(
        problems_of(&text("2001:db8:a::/56")),
        ["vpc[1].ipv6_cidr_block: InvalidParameterValue"]
    );
}

const INSTANCE: &str = r#"
    [[network_interface]]
    network_interface_id = "eni-a"
    subnet_id = "subnet-public"
    private_ip_address = "10.0.0.10"
    ipv6_addresses = ["fd00:a::10", "fd00:a::11"]
"#;

fn address(id: u8, keys: &str) -> String {
    format!("[[address]]\nallocation_id = \"eipalloc-{id}\"\n{keys}\n")
}

#[test]
fn an_elastic_ip_address_stands_for_the_address_it_names_or_the_primary_one_of_its_family() {
    let more = INSTANCE.to_owned()
        + &address(1, "public_ip = \"203.0.113.10\"\nnetwork_interface_id = \"eni-a\"")
        + &address(
            2,
            "public_ip = \"2001:db8::10\"\nnetwork_interface_id = \"eni-a\"\n\
             private_ip_address = \"fd00:a::11\"",
        )
        + &address(3, "public_ip = \"203.0.113.12\"");
    let snapshot = built(&more);
    let (eni, private) = snapshot.public_address(ip("203.0.113.10")).expect("associated");
    assert_eq!((snapshot.eni(eni).id.to_string(), private), ("eni-a".into(), ip("10.0.0.10")));
    assert_eq!(snapshot.public_address(ip("2001:db8::10")), Some((eni, ip("fd00:a::11"))));
    assert_eq!(snapshot.public_address(ip("203.0.113.12")), None, "it rests");
    assert_eq!(snapshot.eni(eni).public_ip_of(ip("10.0.0.10")), Some(ip("203.0.113.10")));
    assert_eq!(snapshot.eni(eni).public_ip_of(ip("fd00:a::10")), None);

    let (uplink, _) = snapshot.uplinks().next().expect("one uplink");
    assert_eq!(
        snapshot.own_addresses().collect::<Vec<_>>(),
        [(ip("203.0.113.10"), uplink), (ip("2001:db8::10"), uplink)]
    );
}

#[test]
fn an_elastic_ip_address_must_be_free_outside_and_in_no_vpc() {
    for (public, code) in [
        ("203.0.113.2", "InvalidIPAddress.InUse"),
        ("203.0.113.1", "InvalidIPAddress.InUse"),
        ("10.0.200.1", "InvalidParameterValue"),
        ("fd00:a::99", "InvalidParameterValue"),
        ("127.0.0.1", "InvalidParameterValue"),
        ("255.255.255.255", "InvalidParameterValue"),
        ("fe80::5", "InvalidParameterValue"),
    ] {
        assert_eq!(
            problems_with(&address(1, &format!("public_ip = \"{public}\""))),
            [format!("address[0].public_ip: {code}")],
            "{public}"
        );
    }
    let twice =
        address(1, "public_ip = \"203.0.113.10\"") + &address(2, "public_ip = \"203.0.113.10\"");
    assert_eq!(problems_with(&twice), ["address[1].public_ip: InvalidIPAddress.InUse"]);
}

#[test]
fn an_elastic_ip_address_is_used_once() {
    let more = INSTANCE.to_owned()
        + &address(1, "public_ip = \"203.0.113.10\"\nnetwork_interface_id = \"eni-a\"")
        + r#"
        [[nat_gateway]]
        nat_gateway_id = "nat-a"
        subnet_id = "subnet-public"
        allocation_ids = ["eipalloc-1"]
        [[load_balancer]]
        load_balancer_name = "web"
        scheme = "internet-facing"
        subnet_mapping = [{ subnet_id = "subnet-public", allocation_id = "eipalloc-1" }]
        "#;
    assert_eq!(
        problems_with(&more),
        [
            "nat_gateway[0].allocation_ids[0]: Resource.AlreadyAssociated",
            "load_balancer[0].subnet_mapping[0].allocation_id: Resource.AlreadyAssociated",
        ]
    );
}

#[test]
fn a_private_address_has_one_elastic_ip_address() {
    let more = INSTANCE.to_owned()
        + &address(1, "public_ip = \"203.0.113.10\"\nnetwork_interface_id = \"eni-a\"")
        + &address(2, "public_ip = \"203.0.113.11\"\nnetwork_interface_id = \"eni-a\"");
    assert_eq!(
        message_with(&more),
        "address[1].network_interface_id: 10.0.0.10 of eni-a has an Elastic IP address already \
         (Resource.AlreadyAssociated)"
    );
}

#[test]
fn an_association_names_an_address_of_its_interface() {
    for keys in [
        "public_ip = \"203.0.113.10\"\nprivate_ip_address = \"10.0.0.11\"",
        "public_ip = \"203.0.113.10\"\nprivate_ip_address = \"fd00:a::10\"",
    ] {
        let keys = format!("{keys}\nnetwork_interface_id = \"eni-a\"");
        assert_eq!(
            problems_with(&(INSTANCE.to_owned() + &address(1, &keys))),
            ["address[0].private_ip_address: InvalidParameterValue"],
            "{keys}"
        );
    }
    let alone = "public_ip = \"203.0.113.10\"\nprivate_ip_address = \"10.0.0.10\"";
    assert_eq!(
        problems_with(&address(1, alone)),
        ["address[0].private_ip_address: MissingParameter"]
    );
    let v4_only = INSTANCE.replace("ipv6_addresses", "# ipv6_addresses");
    let keys = "public_ip = \"2001:db8::10\"\nnetwork_interface_id = \"eni-a\"";
    assert_eq!(
        problems_with(&(v4_only + &address(1, keys))),
        ["address[0].network_interface_id: InvalidParameterValue"]
    );
}

#[test]
fn a_public_address_needs_an_internet_gateway() {
    let more = r#"
        [[address]]
        allocation_id = "eipalloc-1"
        public_ip = "203.0.113.10"
        [[nat_gateway]]
        nat_gateway_id = "nat-b"
        subnet_id = "subnet-b"
        allocation_ids = ["eipalloc-1"]
    "#;
    assert_eq!(problems_beside(more), ["nat_gateway[0].allocation_ids[0]: Gateway.NotAttached"]);
}

#[test]
fn public_ipv6_addresses_lead_to_their_vpc() {
    let text = super::BASE.replace("fd00:a:", "3fff:a:");
    let snapshot = super::build(&text).expect("good");
    let (vpc, _) = snapshot.vpcs().next().expect("one VPC");
    let of = |text: &str| snapshot.vpc_of_public_ipv6(text.parse().expect(text));
    assert_eq!(of("3fff:a:0:1::77"), Some(vpc));
    assert_eq!(of("3fff:b::1"), None);
    let private = built("");
    assert_eq!(private.vpc_of_public_ipv6("fd00:a::77".parse().expect("address")), None);
}
