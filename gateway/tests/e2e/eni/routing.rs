//! Subnets and route tables: the longest prefix, blackholes, what is reserved, what runs out.

use std::net::Ipv4Addr;

use halfspace_testbed::programs::Echo;
use serde_json::Value;

use crate::harness::region::{OUTSIDE, Region, at};
use crate::harness::{Datapath, converse};

on_each_datapath!(
    the_longest_prefix_decides_and_a_lost_target_is_a_blackhole,
    a_subnet_reserves_five_addresses_and_says_when_it_is_full,
    a_subnet_is_made_used_and_deleted,
);

fn the_longest_prefix_decides_and_a_lost_target_is_a_blackhole(datapath: Datapath) {
    let region = Region::open("vpc-routes", datapath);
    let _outside = Echo::start(&region.outside, at(OUTSIDE[0], 7)).unwrap();
    converse(&region.web.namespace, at(OUTSIDE[0], 7)).unwrap();
    region.make_interface("eni-appliance", Ipv4Addr::new(10, 0, 1, 90));
    region.act(["eni", "modify", "eni-appliance", "--source-dest-check", "false"]);
    // Longer than the default route: it leads to an interface that is attached to nothing.
    region.act(["route", "create", "rtb-a", "203.0.113.0/24", "--eni", "eni-appliance"]);
    let mut dropped = region.gateway.engine_drops("blackhole");
    converse(&region.web.namespace, at(OUTSIDE[0], 7)).unwrap_err();
    assert!(region.gateway.engine_drops("blackhole") > dropped);

    region.act(["eni", "delete", "eni-appliance"]);
    let tables: Value = region.act(["route", "list"]);
    let routes = tables["route_tables"][0]["routes"].as_array().unwrap();
    let state = |destination: &str| {
        let is_it = |route: &&Value| route["destination_cidr_block"] == destination;
        routes.iter().find(is_it).unwrap()["state"].clone()
    };
    assert_eq!(state("203.0.113.0/24"), "blackhole");
    assert_eq!(state("0.0.0.0/0"), "active");
    dropped = region.gateway.engine_drops("blackhole");
    converse(&region.web.namespace, at(OUTSIDE[0], 7)).unwrap_err();
    assert!(region.gateway.engine_drops("blackhole") > dropped);

    region.act(["route", "delete", "rtb-a", "203.0.113.0/24"]);
    converse(&region.web.namespace, at(OUTSIDE[0], 7)).unwrap();
}

fn a_subnet_reserves_five_addresses_and_says_when_it_is_full(datapath: Datapath) {
    let region = Region::open("vpc-full", datapath);
    region.act(["subnet", "create", "--vpc", "vpc-a", "--cidr", "10.0.9.0/28", "--id", "subnet-9"]);
    let free = || {
        let listed = region.act(["subnet", "list"]);
        let subnets = listed["subnets"].as_array().unwrap().clone();
        let subnet = subnets.into_iter().find(|it| it["subnet_id"] == "subnet-9").unwrap();
        subnet["available_ip_address_count"].as_u64().unwrap()
    };
    assert_eq!(free(), 11);
    for reserved in ["10.0.9.0", "10.0.9.1", "10.0.9.2", "10.0.9.3", "10.0.9.15"] {
        let refused =
            region.refused(["eni", "create", "--subnet", "subnet-9", "--private-ip", reserved]);
        assert_eq!(refused, "InvalidParameterValue", "{reserved}");
    }
    for left in (0..11).rev() {
        region.act(["eni", "create", "--subnet", "subnet-9"]);
        assert_eq!(free(), left);
    }
    let full = region.refused(["eni", "create", "--subnet", "subnet-9"]);
    assert_eq!(full, "InsufficientFreeAddressesInSubnet");
}

fn a_subnet_is_made_used_and_deleted(datapath: Datapath) {
    let region = Region::open("vpc-subnet", datapath);
    let address = Ipv4Addr::new(10, 0, 9, 10);
    region.act(["subnet", "create", "--vpc", "vpc-a", "--cidr", "10.0.9.0/24", "--id", "subnet-9"]);
    let mac = crate::harness::region::mac_of(address).to_string();
    region.act([
        "eni",
        "create",
        "--subnet",
        "subnet-9",
        "--id",
        "eni-nine",
        "--private-ip",
        "10.0.9.10",
        "--mac",
        &mac,
        "--group",
        "sg-inside",
    ]);
    region.attach_second("eni-nine", address, &region.web);
    let _echo = Echo::start(&region.web.namespace, at(address, 7)).unwrap();
    converse(&region.db.namespace, at(address, 7)).unwrap().echo("a new subnet").unwrap();
    assert_eq!(region.refused(["subnet", "delete", "subnet-9"]), "DependencyViolation");
    region.act(["eni", "detach", "eni-nine"]);
    region.act(["eni", "delete", "eni-nine"]);
    region.act(["subnet", "delete", "subnet-9"]);
    converse(&region.db.namespace, at(address, 7)).unwrap_err();
}
