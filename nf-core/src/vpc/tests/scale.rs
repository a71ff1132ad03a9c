//! A document with everything by the thousand.

use std::fmt::Write as _;

use super::build;

const INTERFACES: usize = 5000;
const GROUPS: usize = 1000;

/// 20 subnets of 250 interfaces, each interface with its own instance, a secondary address, a
/// prefix and two groups; the first hundred of them have Elastic IP addresses. 50 bridges want the
/// first free addresses.
fn text() -> String {
    let mut text = String::from(
        r#"
        [quotas]
        elastic_ips = 100
        [[vpc]]
        vpc_id = "vpc-a"
        cidr_block = "10.0.0.0/16"
        [[internet_gateway]]
        internet_gateway_id = "igw-a"
        vpc_id = "vpc-a"
        uplink_id = "uplink-a"
        [[uplink]]
        uplink_id = "uplink-a"
        port = "wan0"
        addresses = ["198.51.100.2/24"]
        "#,
    );
    for n in 0..20 {
        let _ = write!(
            text,
            "[[subnet]]\nsubnet_id = \"subnet-{n}\"\nvpc_id = \"vpc-a\"\n\
             cidr_block = \"10.0.{}.0/21\"\n",
            n * 8
        );
    }
    for n in 0..GROUPS {
        let _ = write!(
            text,
            "[[security_group]]\ngroup_id = \"sg-{n}\"\ngroup_name = \"g{n}\"\n\
             vpc_id = \"vpc-a\"\n\
             ingress = [{{ ip_protocol = \"tcp\", from_port = 80, to_port = 80, \
             referenced_group_id = \"sg-{}\" }}]\n",
            (n + 1) % GROUPS
        );
    }
    for n in 0..INTERFACES {
        let (subnet, place) = (n / 250, n % 250);
        let third = subnet * 8;
        let _ = write!(
            text,
            "[[instance]]\ninstance_id = \"i-{n}\"\nport = [{{ name = \"p{n}\" }}]\n\
             [[network_interface]]\nnetwork_interface_id = \"eni-{n}\"\n\
             subnet_id = \"subnet-{subnet}\"\nprivate_ip_address = \"10.0.{third}.{}\"\n\
             secondary_private_ip_addresses = [\"10.0.{}.{place}\"]\n\
             groups = [\"sg-{}\", \"sg-{}\"]\n\
             attachment = {{ instance_id = \"i-{n}\", device_index = 0 }}\n",
            place + 4,
            third + 1,
            n % GROUPS,
            (n + 7) % GROUPS
        );
        // The 96 networks of a prefix's size behind both rows of addresses, less the last.
        if place < 95 {
            let _ = writeln!(
                text,
                "ipv4_prefixes = [\"10.0.{}.{}/28\"]",
                third + 2 + place / 16,
                place % 16 * 16
            );
        }
        if n < 100 {
            let _ = write!(
                text,
                "[[address]]\nallocation_id = \"eipalloc-{n}\"\npublic_ip = \"203.0.113.{n}\"\n\
                 network_interface_id = \"eni-{n}\"\n"
            );
        }
    }
    for n in 0..50 {
        let _ = write!(
            text,
            "[[lambda_bridge]]\nlambda_bridge_id = \"bridge-{n}\"\nsubnet_id = \"subnet-{}\"\n",
            n % 20
        );
    }
    text
}

#[test]
fn thousands_of_interfaces_and_groups_resolve() {
    let quota = "network_interfaces = 5050\n";
    let snapshot = build(&text().replace("[quotas]\n", &format!("[quotas]\n{quota}")))
        .unwrap_or_else(|problems| panic!("{}: {}", problems.len(), problems[0]));
    assert_eq!(snapshot.enis().count(), INTERFACES + 50);
    assert_eq!(snapshot.instances().count(), INTERFACES);
    // And the default group of the VPC.
    assert_eq!(snapshot.security_groups().count(), GROUPS + 1);
    assert_eq!(snapshot.ports().count(), INTERFACES + 1);
    assert_eq!(snapshot.own_addresses().count(), 100);
    let (vpc, _) = snapshot.vpcs().next().expect("one VPC");
    let mut found = 0;
    for (ix, eni) in snapshot.enis() {
        for address in eni.addresses() {
            assert_eq!(snapshot.eni_at(vpc, address), Some(ix));
            found += 1;
        }
        for prefix in eni.prefixes() {
            assert_eq!(snapshot.eni_at(vpc, prefix.addr()), Some(ix));
            assert_eq!(snapshot.eni_at(vpc, prefix.broadcast()), Some(ix));
            found += 1;
        }
    }
    assert_eq!(found, 2 * INTERFACES + 20 * 95 + 50);
}

#[test]
fn the_quota_of_interfaces_is_ec2s_without_another() {
    let problems = build(&text()).expect_err("50 managed interfaces too many");
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        ["lambda_bridge[0]: a quota allows 5000 network interfaces, managed ones included: \
             remove some, or raise quotas.network_interfaces (NetworkInterfaceLimitExceeded)"]
    );
}
