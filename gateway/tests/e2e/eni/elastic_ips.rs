//! Elastic IP addresses: the pool, association and its rules, both ways.

use std::net::Ipv4Addr;

use halfspace_testbed::programs::Echo;
use serde_json::json;

use crate::harness::region::{OUTSIDE, Region, WEB_PUBLIC, at};
use crate::harness::{Datapath, converse, datagram_socket, eventually, seen_by};

on_each_datapath!(
    an_address_is_allocated_from_the_pool_and_answers_once_it_is_associated,
    an_address_moves_to_another_interface_and_back,
    a_pool_without_a_free_address_says_so,
);

fn an_address_is_allocated_from_the_pool_and_answers_once_it_is_associated(datapath: Datapath) {
    let region = Region::open("eip-pool", datapath);
    let _echo = Echo::start(&region.db.namespace, at(region.db.primary, 7)).unwrap();
    let allocated = region.act(["eip", "allocate", "--id", "eipalloc-db"]);
    let public: Ipv4Addr = allocated["public_ip"].as_str().unwrap().parse().unwrap();
    assert_eq!(allocated["allocation_id"], "eipalloc-db");
    assert_eq!(public.octets()[3] & 0xf0, 64, "{public} is in 203.0.113.64/28");
    converse(&region.outside, at(public, 7)).unwrap_err();

    region.act(["eip", "associate", "eipalloc-db", "--instance", "i-db"]);
    // The host outside asks for it by ARP: the link is flat. It asked in vain before, and may take a
    // moment until it asks again.
    eventually("the address to answer", || {
        converse(&region.outside, at(public, 7)).is_ok_and(|mut heard| heard.echo("in").is_ok())
    });
    let _outside = Echo::start(&region.outside, at(OUTSIDE[0], 7)).unwrap();
    let from = at(region.db.primary, 4000);
    let socket = datagram_socket(&region.db.namespace, from, at(OUTSIDE[0], 7));
    assert_eq!(seen_by(&socket, "out").unwrap(), at(public, 4000), "one to one, the port is kept");

    let mut heard = converse(&region.outside, at(public, 7)).unwrap();
    region.act(["eip", "disassociate", "eipalloc-db"]);
    heard.be_patient_for(std::time::Duration::from_millis(300));
    heard.echo("over").unwrap_err();
    converse(&region.outside, at(public, 7)).unwrap_err();
    region.act(["eip", "release", "eipalloc-db"]);
    let listed = region.act(["eip", "list"]);
    assert_eq!(listed["addresses"].as_array().unwrap().len(), 1);
}

fn an_address_moves_to_another_interface_and_back(datapath: Datapath) {
    let region = Region::open("eip-moves", datapath);
    let instances = [&region.web, &region.db];
    let _echoes = instances.map(|it| Echo::start(&it.namespace, at(it.primary, 7)).unwrap());
    let _outside = Echo::start(&region.outside, at(OUTSIDE[0], 7)).unwrap();
    for (eni, instance) in [("eni-db", &region.db), ("eni-web", &region.web)] {
        region.act(["eip", "associate", "203.0.113.10", "--eni", eni]);
        let listed = region.act(["eip", "list"]);
        assert_eq!(listed["addresses"][0]["network_interface_id"], eni);
        converse(&region.outside, at(WEB_PUBLIC, 7)).unwrap().echo("in").unwrap();
        let from = at(instance.primary, 4001);
        let socket = datagram_socket(&instance.namespace, from, at(OUTSIDE[0], 7));
        assert_eq!(seen_by(&socket, "out").unwrap(), at(WEB_PUBLIC, 4001));
    }
    assert_eq!(region.interface("eni-db")["association"], json!(null));
}

fn a_pool_without_a_free_address_says_so(datapath: Datapath) {
    let region = Region::open("eip-exhausted", datapath);
    for _ in 0..16 {
        region.act(["eip", "allocate"]);
    }
    assert_eq!(region.refused(["eip", "allocate"]), "InsufficientAddressCapacity");
    let listed = region.act(["eip", "list"]);
    let addresses = listed["addresses"].as_array().unwrap();
    let mut dealt: Vec<_> = addresses.iter().map(|it| it["public_ip"].to_string()).collect();
    dealt.sort();
    dealt.dedup();
    assert_eq!(dealt.len(), 17, "no two are the same");
}
