//! Private addresses: secondary ones, moved ones, IPv6, and the public one that a subnet gives.

use std::net::Ipv4Addr;

use halfspace_testbed::programs::Echo;
use serde_json::json;

use crate::harness::region::{OUTSIDE, Region, at};
use crate::harness::{Datapath, converse, datagram_socket, seen_by};

on_each_datapath!(
    a_secondary_address_is_reached_from_the_moment_it_is_assigned,
    a_reassigned_address_takes_its_elastic_ip_address_along,
    ipv6_addresses_of_an_instance_are_reached_from_outside_and_seen_there,
    a_public_address_is_inherited_from_the_subnet_and_frozen,
    attributes_are_told_as_ec2_has_them,
);

const SECOND: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 11);

fn a_secondary_address_is_reached_from_the_moment_it_is_assigned(datapath: Datapath) {
    let region = Region::open("eni-secondary", datapath);
    region.web.add_address("10.0.1.11/32");
    let _echo = Echo::start(&region.web.namespace, at(SECOND, 7)).unwrap();
    converse(&region.db.namespace, at(SECOND, 7)).unwrap_err();

    region.act(["eni", "assign", "eni-web", "--private-ip", "10.0.1.11"]);
    let mut heard = converse(&region.db.namespace, at(SECOND, 7)).unwrap();
    assert_eq!(heard.seen_as, heard.local);
    // And it may send as that address: the source check knows it.
    let _answers = Echo::start(&region.db.namespace, at(region.db.primary, 7)).unwrap();
    let socket = datagram_socket(&region.web.namespace, at(SECOND, 4000), at(region.db.primary, 7));
    assert_eq!(seen_by(&socket, "?").unwrap(), at(SECOND, 4000));

    region.act(["eni", "unassign", "eni-web", "--private-ip", "10.0.1.11"]);
    heard.be_patient_for(std::time::Duration::from_millis(300));
    heard.echo("gone").unwrap_err();
    converse(&region.db.namespace, at(SECOND, 7)).unwrap_err();
}

fn a_reassigned_address_takes_its_elastic_ip_address_along(datapath: Datapath) {
    let region = Region::open("eni-reassigned", datapath);
    let both = [&region.web, &region.standby];
    let echoes = both.map(|it| {
        it.add_address("10.0.1.11/32");
        Echo::start(&it.namespace, at(SECOND, 7)).unwrap()
    });
    region.act(["eni", "assign", "eni-web", "--private-ip", "10.0.1.11"]);
    let allocated = region.act(["eip", "allocate", "--address", "203.0.113.70"]);
    assert_eq!(allocated["public_ip"], "203.0.113.70");
    region.act([
        "eip",
        "associate",
        "203.0.113.70",
        "--eni",
        "eni-web",
        "--private-ip",
        "10.0.1.11",
    ]);
    let public = at(Ipv4Addr::new(203, 0, 113, 70), 7);
    converse(&region.outside, public).unwrap().echo("web").unwrap();
    let taken = region.refused(["eni", "assign", "eni-standby", "--private-ip", "10.0.1.11"]);
    assert_eq!(taken, "Resource.AlreadyAssigned");

    region.act([
        "eni",
        "assign",
        "eni-standby",
        "--private-ip",
        "10.0.1.11",
        "--allow-reassignment",
    ]);
    // Whoever answers now is the standby: the other one's echo is gone.
    let [web, standby] = echoes;
    drop(web);
    converse(&region.outside, public).unwrap().echo("standby").unwrap();
    let addresses = &region.interface("eni-standby")["private_ip_addresses"];
    assert_eq!(addresses[1]["private_ip_address"], "10.0.1.11");
    assert_eq!(addresses[1]["association"]["public_ip"], "203.0.113.70");
    drop(standby);
}

fn ipv6_addresses_of_an_instance_are_reached_from_outside_and_seen_there(datapath: Datapath) {
    let region = Region::open("eni-ipv6", datapath);
    let inside = "2001:db8:a:1::10".parse::<std::net::IpAddr>().unwrap();
    let _echo = Echo::start(&region.web.namespace, at(inside, 7)).unwrap();
    let mut heard = converse(&region.outside, at(inside, 7)).unwrap();
    heard.echo("in").unwrap();
    region.outside.run(["ping", "-c2", "-i0.1", "-W5", "2001:db8:a:1::10"]).unwrap();
    let _outside = Echo::start(&region.outside, at(OUTSIDE[1], 7)).unwrap();
    let heard = converse(&region.web.namespace, at(OUTSIDE[1], 7)).unwrap();
    assert_eq!(heard.seen_as, heard.local);
    // What the groups do not let in stays outside.
    let _closed = Echo::start(&region.web.namespace, at(inside, 8)).unwrap();
    converse(&region.outside, at(inside, 8)).unwrap_err();

    let second = "2001:db8:a:1::11".parse::<std::net::IpAddr>().unwrap();
    region.web.add_address("2001:db8:a:1::11/128 nodad");
    region.act(["eni", "assign", "eni-web", "--ipv6-address", "2001:db8:a:1::11"]);
    let _echo = Echo::start(&region.web.namespace, at(second, 7)).unwrap();
    converse(&region.outside, at(second, 7)).unwrap().echo("in").unwrap();
}

fn a_public_address_is_inherited_from_the_subnet_and_frozen(datapath: Datapath) {
    let region = Region::open("eni-auto-public", datapath);
    region.act(["subnet", "modify", "subnet-1", "--map-public-ip-on-launch", "true"]);
    let address = Ipv4Addr::new(10, 0, 1, 50);
    region.make_interface("eni-new", address);
    region.attach_second("eni-new", address, &region.web);
    let public: Ipv4Addr =
        region.interface("eni-new")["association"]["public_ip"].as_str().unwrap().parse().unwrap();
    assert_eq!(public.octets()[..3], [203, 0, 113]);
    assert!((64..80).contains(&public.octets()[3]), "{public}");
    let _echo = Echo::start(&region.web.namespace, at(address, 7)).unwrap();
    converse(&region.outside, at(public, 7)).unwrap().echo("by the public address").unwrap();
    let _outside = Echo::start(&region.outside, at(OUTSIDE[0], 7)).unwrap();
    let socket = datagram_socket(&region.web.namespace, at(address, 4000), at(OUTSIDE[0], 7));
    assert_eq!(seen_by(&socket, "?").unwrap(), at(public, 4000));

    // The subnet's attribute is for later interfaces.
    region.act(["subnet", "modify", "subnet-1", "--map-public-ip-on-launch", "false"]);
    converse(&region.outside, at(public, 7)).unwrap().echo("as before").unwrap();
    region.make_interface("eni-later", Ipv4Addr::new(10, 0, 1, 51));
    assert_eq!(region.interface("eni-later")["association"], json!(null));
}

fn attributes_are_told_as_ec2_has_them(datapath: Datapath) {
    let region = Region::open("eni-attributes", datapath);
    region.act([
        "eni",
        "modify",
        "eni-web",
        "--description",
        "the web server",
        "--delete-on-termination",
        "false",
    ]);
    let told = region.interface("eni-web");
    let attachment = &told["attachment"];
    assert_eq!(told["status"], "in-use");
    assert_eq!(told["interface_type"], "interface");
    assert_eq!(told["description"], "the web server");
    assert_eq!(told["mac_address"], "02:00:00:00:01:0a");
    assert_eq!(told["private_ip_address"], "10.0.1.10");
    assert_eq!(told["subnet_id"], "subnet-1");
    assert_eq!(told["vpc_id"], "vpc-a");
    assert_eq!(told["source_dest_check"], true);
    assert_eq!(told["requester_managed"], false);
    assert_eq!(told["association"]["allocation_id"], "eipalloc-web");
    let groups: Vec<_> =
        told["groups"].as_array().unwrap().iter().map(|it| it["group_id"].clone()).collect();
    assert_eq!(groups, ["sg-inside", "sg-web"]);
    assert_eq!(attachment["status"], "attached");
    assert_eq!(attachment["instance_id"], "i-web");
    assert_eq!(attachment["device_index"], 0);
    assert_eq!(attachment["network_card_index"], 0);
    assert_eq!(attachment["delete_on_termination"], false);
    // None of it has touched the traffic.
    let _echo = Echo::start(&region.web.namespace, at(region.web.primary, 7)).unwrap();
    converse(&region.db.namespace, at(region.web.primary, 7)).unwrap();
}
