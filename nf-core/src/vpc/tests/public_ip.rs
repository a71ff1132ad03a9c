//! Elastic IP addresses on every kind of private address, the public addresses that subnets give,
//! and the pools of both.

use std::net::IpAddr;

use super::{OTHER_TENANT, built, message_with, problems_beside, problems_with};

const INTERFACE: &str = r#"
    [[network_interface]]
    network_interface_id = "eni-a"
    subnet_id = "subnet-public"
    private_ip_address = "10.0.0.10"
    secondary_private_ip_addresses = ["10.0.0.11"]
    ipv4_prefixes = ["10.0.0.16/28"]
    ipv6_prefixes = ["fd00:a:0:0:7::/80"]
"#;

const POOL: &str = r#"
    [[public_ipv4_pool]]
    public_ipv4_pool_id = "ipv4pool-ec2-a"
    pool_cidr_blocks = ["203.0.113.0/24"]
"#;

/// An Elastic IP address with the number as its last byte, and where it is.
fn elastic(last: u8, private: &str) -> String {
    format!(
        r#"
        [[address]]
        allocation_id = "eipalloc-{last}"
        public_ip = "203.0.113.{last}"
        network_interface_id = "eni-a"
        {private}
        "#
    )
}

/// [`INTERFACE`] with a public address of its subnet's.
fn given(public_ip: &str) -> String {
    format!("{INTERFACE}\npublic_ip = \"{public_ip}\"\n")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

#[test]
fn an_elastic_ip_address_stands_for_a_secondary_address_or_one_inside_a_prefix() {
    let more = INTERFACE.to_owned()
        + &elastic(10, "")
        + &elastic(11, "private_ip_address = \"10.0.0.11\"")
        + &elastic(12, "private_ip_address = \"10.0.0.20\"")
        + &elastic(13, "private_ip_address = \"10.0.0.21\"")
        + r#"
        [[address]]
        allocation_id = "eipalloc-v6"
        public_ip = "2001:db8::10"
        network_interface_id = "eni-a"
        private_ip_address = "fd00:a:0:0:7::5"
        "#;
    let snapshot = built(&more);
    let (ix, eni) = snapshot.enis().next().expect("one interface");
    for (public, private) in [
        ("203.0.113.10", "10.0.0.10"),
        ("203.0.113.11", "10.0.0.11"),
        ("203.0.113.12", "10.0.0.20"),
        ("203.0.113.13", "10.0.0.21"),
        ("2001:db8::10", "fd00:a:0:0:7::5"),
    ] {
        assert_eq!(snapshot.public_address(ip(public)), Some((ix, ip(private))), "{public}");
        assert_eq!(eni.public_ip_of(ip(private)), Some(ip(public)), "{private}");
    }
}

#[test]
fn an_address_inside_a_prefix_has_one_elastic_ip_address_and_must_be_named() {
    let inside = "private_ip_address = \"10.0.0.20\"";
    let twice = INTERFACE.to_owned() + &elastic(12, inside) + &elastic(13, inside);
    assert_eq!(
        problems_with(&twice),
        ["address[1].network_interface_id: Resource.AlreadyAssociated"]
    );
    // Without a name an IPv6 address has nothing to stand for: a prefix has no first address.
    let unnamed = elastic(12, "").replace("203.0.113.12", "2001:db8::12");
    assert_eq!(
        message_with(&(INTERFACE.to_owned() + &unnamed)),
        "address[0].network_interface_id: eni-a has no address of the same family for \
         2001:db8::12 to stand for (InvalidParameterValue)"
    );
}

#[test]
fn an_interface_without_ip_has_no_elastic_ip_address() {
    let more = r#"
        [[network_interface]]
        network_interface_id = "eni-a"
        subnet_id = "subnet-public"
        interface_type = "efa-only"
    "#
    .to_owned()
        + &elastic(12, "");
    assert_eq!(problems_with(&more), ["address[0].network_interface_id: InvalidParameterValue"]);
}

#[test]
fn the_public_address_of_a_subnet_stands_for_the_primary_address_until_an_elastic_one_does() {
    let alone = built(&(given("203.0.113.50") + POOL));
    let (ix, eni) = alone.enis().next().expect("one interface");
    assert_eq!(alone.public_address(ip("203.0.113.50")), Some((ix, ip("10.0.0.10"))));
    assert_eq!(eni.public_ips[0].allocation_id, None);
    assert_eq!(alone.own_addresses().count(), 1);

    let other = elastic(11, "private_ip_address = \"10.0.0.11\"");
    let beside = built(&(given("203.0.113.50") + POOL + &other));
    assert_eq!(beside.own_addresses().count(), 2, "they are for different private addresses");

    let replaced = built(&(given("203.0.113.50") + POOL + &elastic(10, "")));
    assert_eq!(replaced.public_address(ip("203.0.113.50")), None, "it rests");
    assert_eq!(replaced.public_address(ip("203.0.113.10")), Some((ix, ip("10.0.0.10"))));
}

#[test]
fn the_public_address_of_a_subnet_rests_without_an_internet_gateway() {
    let more = given("203.0.113.50").replace("subnet-public", "subnet-b");
    let snapshot = built(&format!("{OTHER_TENANT}{more}{POOL}"));
    assert_eq!(snapshot.public_address(ip("203.0.113.50")), None);
    assert_eq!(snapshot.own_addresses().count(), 0);
}

#[test]
fn the_public_address_of_a_subnet_is_from_a_pool() {
    let elsewhere = given("203.0.114.50");
    assert_eq!(
        problems_with(&(elsewhere + POOL)),
        ["network_interface[0].public_ip: InvalidParameterValue"]
    );
    assert_eq!(
        problems_with(&given("203.0.113.50")),
        ["network_interface[0].public_ip: InvalidParameterValue"]
    );
    // An Elastic IP address may be any.
    built(&(INTERFACE.to_owned() + POOL + &elastic(1, "").replace("113.1\"", "114.1\"")));
}

#[test]
fn a_public_address_has_one_holder() {
    let second = given("203.0.113.50")
        .replace("eni-a", "eni-b")
        .replace("10.0.0.10", "10.0.0.12")
        .replace("    secondary_private_ip_addresses = [\"10.0.0.11\"]\n", "")
        .replace("10.0.0.16/28", "10.0.0.32/28")
        .replace("0:7::/80", "0:8::/80");
    assert_eq!(
        problems_with(&(given("203.0.113.50") + &second + POOL)),
        ["network_interface[1].public_ip: InvalidIPAddress.InUse"]
    );
    let resting = elastic(50, "").replace("network_interface_id = \"eni-a\"", "");
    assert_eq!(
        message_with(&(given("203.0.113.50") + POOL + &resting)),
        "network_interface[0].public_ip: 203.0.113.50 is in use by address[0] already \
         (InvalidIPAddress.InUse)"
    );
    for own in ["203.0.113.1", "203.0.113.2"] {
        assert_eq!(
            problems_with(&(given(own) + POOL)),
            ["network_interface[0].public_ip: InvalidIPAddress.InUse"],
            "the uplink's or its next hop's: {own}"
        );
    }
}

fn pool(id: &str, blocks: &str) -> String {
    format!(
        r#"
        [[public_ipv4_pool]]
        public_ipv4_pool_id = "ipv4pool-ec2-{id}"
        pool_cidr_blocks = [{blocks}]
        "#
    )
}

#[test]
fn a_pool_is_of_networks_for_hosts() {
    for block in ["203.0.113.1/24", "127.0.0.0/8", "224.0.0.0/24", "0.0.0.0/0"] {
        assert_eq!(
            problems_with(&pool("a", &format!("\"{block}\""))),
            ["public_ipv4_pool[0].pool_cidr_blocks[0]: InvalidParameterValue"],
            "{block}"
        );
    }
}

#[test]
fn pools_do_not_overlap_one_another() {
    let more = pool("a", "\"203.0.113.0/24\", \"198.51.100.0/24\"")
        + &pool("b", "\"192.0.2.0/24\", \"203.0.113.64/26\"");
    assert_eq!(
        message_with(&more),
        "public_ipv4_pool[1].pool_cidr_blocks[1]: 203.0.113.64/26 overlaps 203.0.113.0/24 of \
         ipv4pool-ec2-a: an address is in one pool (InvalidParameterValue)"
    );
    assert_eq!(
        problems_with(&pool("a", "\"203.0.113.64/26\", \"203.0.113.0/24\"")),
        ["public_ipv4_pool[0].pool_cidr_blocks[1]: InvalidParameterValue"]
    );
    assert_eq!(
        problems_with(&(pool("a", "") + &pool("a", ""))),
        ["public_ipv4_pool[1].public_ipv4_pool_id: InvalidParameterValue"]
    );
}

#[test]
fn a_pool_is_outside_every_vpc_with_an_internet_gateway() {
    for block in ["10.0.7.0/24", "10.0.0.0/8"] {
        assert_eq!(
            problems_beside(&pool("a", &format!("\"{block}\""))),
            ["public_ipv4_pool[0].pool_cidr_blocks[0]: InvalidParameterValue"],
            "{block}"
        );
    }
    let closed = OTHER_TENANT.replace("10.0.0.0", "172.16.0.0");
    built(&(closed + &pool("a", "\"172.16.0.0/24\"")));
}
