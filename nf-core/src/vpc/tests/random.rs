//! Documents drawn at random: no combination panics, and what is accepted keeps its promises.

use std::collections::HashSet;
use std::net::IpAddr;

use proptest::prelude::*;

use super::build;
use crate::vpc::{PortRole, VpcIx};

/// A number from a small range that is mostly the element's own place and now and then somebody
/// else's, so that a fair part of the documents is good and the others collide somewhere.
fn mostly(place: usize) -> impl Strategy<Value = usize> {
    prop_oneof![30 => Just(place), 1 => 0..4_usize]
}

/// Up to four elements of an array, each drawn for its place.
fn array<S: Strategy<Value = String>>(
    name: &'static str,
    element: fn(usize) -> S,
) -> impl Strategy<Value = String> {
    let elements =
        (0..5_usize).prop_flat_map(move |count| (0..count).map(element).collect::<Vec<_>>());
    elements.prop_map(move |elements| format!("{name} = [{}]\n", elements.concat()))
}

fn port() -> impl Strategy<Value = String> {
    let port = prop::option::weighted(0.1, 0..20_u8);
    port.prop_map(|port| port.map_or(String::new(), |port| format!(", port = \"p{port}\"")))
}

fn subnet(place: usize) -> impl Strategy<Value = String> {
    let length = prop_oneof![30 => 24..29_u8, 1 => 14..31_u8];
    (mostly(place), mostly(0), mostly(place), length, port()).prop_map(
        |(id, vpc, third, length, port)| {
            format!(
                "{{ subnet_id = \"subnet-{id}\", vpc_id = \"vpc-{vpc}\", \
                 cidr_block = \"10.0.{third}.0/{length}\"{port} }},"
            )
        },
    )
}

fn instance(place: usize) -> impl Strategy<Value = String> {
    mostly(place).prop_map(move |id| {
        format!(
            "{{ instance_id = \"i-{id}\", port = [\
             {{ name = \"i{place}a\" }}, {{ name = \"i{place}b\", device_index = 1 }}] }},"
        )
    })
}

/// Where an interface is: behind a port of its own, at an instance, or neither.
fn whereabouts(place: usize) -> impl Strategy<Value = String> {
    let attached = (mostly(place), mostly(0).prop_map(|index| index % 2));
    prop_oneof![
        1 => port(),
        1 => attached.prop_map(|(instance, index)| format!(
            ", attachment = {{ instance_id = \"i-{instance}\", device_index = {index} }}"
        )),
    ]
}

/// The prefixes of an interface, mostly some that nobody else has.
fn prefixes(place: usize) -> impl Strategy<Value = String> {
    let place = prop_oneof![30 => Just(place + 1), 1 => 0..16_usize];
    prop::option::weighted(0.3, place).prop_map(|place| {
        place.map_or(String::new(), |place| {
            format!(", ipv4_prefixes = [\"10.0.0.{}/28\"]", place * 16)
        })
    })
}

fn interface(place: usize) -> impl Strategy<Value = String> {
    let last = prop_oneof![20 => Just(place + 4), 1 => 0..80_usize];
    let public = prop::option::weighted(0.2, mostly(place + 20));
    let addresses = (mostly(0), last, prefixes(place), public);
    (mostly(place), mostly(0), addresses, whereabouts(place)).prop_map(
        |(id, subnet, (third, last, prefixes, public), whereabouts)| {
            let public =
                public.map_or(String::new(), |last| format!(", public_ip = \"203.0.113.{last}\""));
            format!(
                "{{ network_interface_id = \"eni-{id}\", subnet_id = \"subnet-{subnet}\", \
                 private_ip_address = \"10.0.{third}.{last}\"{prefixes}{public}{whereabouts} }},"
            )
        },
    )
}

fn nat_gateway(place: usize) -> impl Strategy<Value = String> {
    let secondary = prop::option::weighted(0.5, (mostly(place + 3), prop::option::of(0..80_usize)));
    (mostly(place), mostly(0), mostly(place), any::<bool>(), secondary).prop_map(
        |(id, subnet, allocation, public, secondary)| {
            let keys = if public {
                format!("allocation_ids = [\"eipalloc-{allocation}\"]")
            } else {
                "connectivity_type = \"private\"".to_owned()
            };
            let secondary = secondary.map(|(allocation, last)| {
                let allocation = if public {
                    format!("allocation_id = \"eipalloc-{allocation}\",")
                } else {
                    String::new()
                };
                let last = last.map(|last| format!(" private_ip_address = \"10.0.0.{last}\","));
                let last = last.unwrap_or_default();
                format!(", secondary_address = [{{ {allocation}{last} drain_until = 1 }}]")
            });
            let secondary = secondary.unwrap_or_default();
            format!(
                "{{ nat_gateway_id = \"nat-{id}\", subnet_id = \"subnet-{subnet}\", \
                 {keys}{secondary} }},"
            )
        },
    )
}

fn address(place: usize) -> impl Strategy<Value = String> {
    let eni = prop::option::weighted(0.2, mostly(place));
    (mostly(place), mostly(place + 10), eni).prop_map(|(id, last, eni)| {
        let eni =
            eni.map_or(String::new(), |eni| format!(", network_interface_id = \"eni-{eni}\""));
        format!("{{ allocation_id = \"eipalloc-{id}\", public_ip = \"203.0.113.{last}\"{eni} }},")
    })
}

const AROUND: &str = r#"
    vpc = [
        { vpc_id = "vpc-0", cidr_block = "10.0.0.0/16" },
        { vpc_id = "vpc-1", cidr_block = "10.0.0.0/16" },
    ]
    public_ipv4_pool = [
        { public_ipv4_pool_id = "ipv4pool-ec2-0", pool_cidr_blocks = ["203.0.113.0/24"] },
    ]
    uplink = [{ uplink_id = "uplink-0", port = "p0", addresses = ["203.0.113.200/24"] }]
    internet_gateway = [
        { internet_gateway_id = "igw-0", vpc_id = "vpc-0", uplink_id = "uplink-0" },
    ]
"#;

fn text() -> impl Strategy<Value = String> {
    (
        array("subnet", subnet),
        array("instance", instance),
        array("network_interface", interface),
        array("nat_gateway", nat_gateway),
        array("address", address),
    )
        .prop_map(|(a, b, c, d, e)| [AROUND, &a, &b, &c, &d, &e].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_accepted_has_no_address_twice_and_finds_everything_again(text in text()) {
        let snapshot = match build(&text) {
            Ok(snapshot) => snapshot,
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                return Ok(());
            }
        };
        let mut taken = HashSet::new();
        let mut public = HashSet::new();
        let mut sites = HashSet::new();
        for (ix, eni) in snapshot.enis() {
            let subnet = snapshot.subnet(eni.subnet);
            prop_assert!(!eni.private_ips.is_empty());
            for address in eni.addresses() {
                prop_assert!(taken.insert((eni.vpc, address)), "{address} twice");
                prop_assert!(subnet.contains(address) && !subnet.is_reserved(address));
                prop_assert_eq!(snapshot.eni_at(eni.vpc, address), Some(ix));
                prop_assert_eq!(snapshot.subnet_at(eni.vpc, address), Some(eni.subnet));
            }
            for prefix in eni.prefixes() {
                prop_assert!(!subnet.is_reserved(prefix.addr()));
                for ip in [prefix.addr(), prefix.broadcast()] {
                    prop_assert!(subnet.contains(ip));
                    prop_assert_eq!(snapshot.eni_at(eni.vpc, ip), Some(ix));
                }
            }
            if let Some(at) = &eni.attachment {
                let site = (at.instance, at.network_card_index, at.device_index);
                prop_assert!(sites.insert(site), "{site:?} twice");
                let port = eni.port.as_deref().map(|port| snapshot.port_role(port));
                prop_assert_eq!(port, Some(Some(PortRole::Eni(ix))));
            }
            for ip in &eni.public_ips {
                prop_assert!(public.insert(ip.public_ip), "{} twice", ip.public_ip);
                prop_assert!(eni.has_address(ip.private_ip));
                prop_assert_eq!(snapshot.public_address(ip.public_ip), Some((ix, ip.private_ip)));
            }
        }
        prop_assert_eq!(snapshot.own_addresses().count(), public.len());
        for (_, gateway) in snapshot.nat_gateways() {
            let eni = snapshot.eni(gateway.eni);
            prop_assert!(!gateway.addresses[0].is_draining, "the primary one never is");
            prop_assert_eq!(gateway.addresses.len(), eni.addresses().count());
            for (address, private) in gateway.addresses.iter().zip(eni.addresses()) {
                prop_assert_eq!(address.private_ip, private);
                prop_assert_eq!(address.public_ip, eni.public_ip_of(private));
            }
        }
        for (_, eni) in snapshot.enis() {
            let inside = |(vpc, ip): &(VpcIx, IpAddr)| {
                *vpc == eni.vpc && eni.prefixes().any(|prefix| prefix.contains(ip))
            };
            prop_assert!(!taken.iter().any(inside), "an address in a prefix of {}", eni.id);
            if let Some(at) = &eni.attachment {
                prop_assert!(sites.contains(&(at.instance, 0, 0)), "no primary beside {}", eni.id);
            }
        }
    }
}
