//! Delegated prefixes: a host hands out their addresses without asking anybody.

use std::net::{IpAddr, Ipv4Addr};

use halfspace_testbed::programs::Echo;

use crate::harness::region::{Region, at};
use crate::harness::{Datapath, converse, datagram_socket, seen_by};

on_each_datapath!(
    every_address_of_a_prefix_is_reached_without_another_call,
    an_elastic_ip_address_sits_on_an_address_of_a_prefix,
    a_prefix_takes_one_slot_and_overlaps_nothing,
);

/// Hands an address of a prefix to a container of web's, as a container host does: it is another
/// host behind web, which routes.
fn container(region: &Region, address: IpAddr) -> Echo {
    region.web.namespace.ip([format!("address add {address} dev lo")]).unwrap();
    Echo::start(&region.web.namespace, at(address, 7)).unwrap()
}

fn every_address_of_a_prefix_is_reached_without_another_call(datapath: Datapath) {
    let region = Region::open("eni-prefix", datapath);
    region.act(["eni", "assign", "eni-web", "--ipv4-prefix", "10.0.1.64/28"]);
    region.act(["eni", "assign", "eni-web", "--ipv6-prefix", "2001:db8:a:1:5::/80"]);
    let generation = region.gateway.generation();
    let addresses: [IpAddr; 4] = [
        Ipv4Addr::new(10, 0, 1, 64).into(),
        Ipv4Addr::new(10, 0, 1, 79).into(),
        "2001:db8:a:1:5::1".parse().unwrap(),
        "2001:db8:a:1:5:ffff:ffff:ffff".parse().unwrap(),
    ];
    for address in addresses {
        let _echo = container(&region, address);
        let mut heard = converse(&region.db.namespace, at(address, 7)).unwrap();
        heard.echo("a container").unwrap();
        // From there as well: the source check honours the prefix.
        let to = if address.is_ipv4() {
            IpAddr::V4(region.db.primary)
        } else {
            "2001:db8:a:2::30".parse().unwrap()
        };
        let _answers = Echo::start(&region.db.namespace, at(to, 7)).unwrap();
        let socket = datagram_socket(&region.web.namespace, at(address, 4000), at(to, 7));
        assert_eq!(seen_by(&socket, "?").unwrap(), at(address, 4000));
    }
    assert_eq!(region.gateway.generation(), generation, "nobody was asked");
    // The one behind the prefix is nobody's.
    let beyond = Ipv4Addr::new(10, 0, 1, 80);
    let _echo = container(&region, beyond.into());
    converse(&region.db.namespace, at(beyond, 7)).unwrap_err();
}

fn an_elastic_ip_address_sits_on_an_address_of_a_prefix(datapath: Datapath) {
    let region = Region::open("eni-prefix-eip", datapath);
    region.act(["eni", "assign", "eni-web", "--ipv4-prefix", "10.0.1.64/28"]);
    region.act(["eip", "allocate", "--address", "203.0.113.70"]);
    region.act([
        "eip",
        "associate",
        "203.0.113.70",
        "--eni",
        "eni-web",
        "--private-ip",
        "10.0.1.70",
    ]);
    let address = Ipv4Addr::new(10, 0, 1, 70);
    let _echo = container(&region, address.into());
    let public = at(Ipv4Addr::new(203, 0, 113, 70), 7);
    converse(&region.outside, public).unwrap().echo("from outside").unwrap();
    let outside = crate::harness::region::OUTSIDE[0];
    let _answers = Echo::start(&region.outside, at(outside, 7)).unwrap();
    let socket = datagram_socket(&region.web.namespace, at(address, 4000), at(outside, 7));
    assert_eq!(seen_by(&socket, "?").unwrap().ip(), public.ip());
}

fn a_prefix_takes_one_slot_and_overlaps_nothing(datapath: Datapath) {
    let region = Region::open("eni-prefix-slots", datapath);
    // Fifty slots, of which the primary address has one.
    region.act(["eni", "assign", "eni-web", "--ipv4-prefix", "10.0.1.64/28"]);
    region.act(["eni", "assign", "eni-web", "--private-ip-count", "48"]);
    let full = region.refused(["eni", "assign", "eni-web", "--private-ip-count", "1"]);
    assert_eq!(full, "PrivateIpAddressLimitExceeded");
    // What is chosen is never inside a prefix.
    let told = region.interface("eni-web");
    let chosen: Vec<Ipv4Addr> = told["private_ip_addresses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["private_ip_address"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(chosen.len(), 49);
    assert!(chosen.iter().all(|it| !(64..80).contains(&it.octets()[3])), "{chosen:?}");
    for (prefix, why) in [
        ("10.0.1.64/28", "InvalidIPAddress.InUse"),
        ("10.0.1.16/28", "InvalidIPAddress.InUse"),
        ("10.0.2.64/28", "InvalidParameterValue"),
        ("10.0.1.72/29", "InvalidParameterValue"),
    ] {
        let refused = region.refused(["eni", "assign", "eni-standby", "--ipv4-prefix", prefix]);
        assert_eq!(refused, why, "{prefix}");
    }
}
