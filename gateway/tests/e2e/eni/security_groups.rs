//! Security groups: what passes, what does not and is counted, and what a change means for flows
//! that exist.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::Duration;

use halfspace_testbed::programs::Echo;

use crate::harness::region::{Region, WEB_PUBLIC, at};
use crate::harness::{
    Datapath, converse, datagram_socket, eventually, seen_by, wait_for_acknowledgements,
};

on_each_datapath!(
    what_no_group_allows_is_dropped_and_counted_by_group,
    a_rule_is_in_force_when_the_call_returns,
    a_tracked_flow_outlives_its_rule_and_an_untracked_one_does_not,
    a_rule_may_name_a_group_or_a_prefix_list,
    icmp_is_told_apart_by_its_type,
    groups_are_replaced_as_a_set,
    an_interface_that_names_no_group_has_the_default_one,
);

fn rejected(region: &Region, group: &str, direction: &str) -> u64 {
    let labels = [("group_id", group), ("direction", direction)];
    region.gateway.count("halfspace_security_group_rejected_packets_total", &labels)
}

fn what_no_group_allows_is_dropped_and_counted_by_group(datapath: Datapath) {
    let region = Region::open("sg-rejected", datapath);
    let _echo = Echo::start(&region.web.namespace, at(region.web.primary, 8)).unwrap();
    let refused = converse(&region.outside, at(WEB_PUBLIC, 8)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TimedOut);
    let counted = region.gateway.engine_drops("security_group");
    assert!(counted >= 1);
    for group in ["sg-inside", "sg-web"] {
        assert_eq!(rejected(&region, group, "ingress"), counted, "{group}");
    }
    assert_eq!(rejected(&region, "sg-closed", "ingress"), 0);

    // Nothing goes out of a group without egress rules.
    region.act(["eni", "modify", "eni-db", "--groups", "sg-closed"]);
    converse(&region.db.namespace, at(region.web.primary, 8)).unwrap_err();
    assert!(rejected(&region, "sg-closed", "egress") >= 1);
    region.gateway.assert_packets_add_up();
}

fn a_rule_is_in_force_when_the_call_returns(datapath: Datapath) {
    let region = Region::open("sg-at-once", datapath);
    let _echo = Echo::start(&region.web.namespace, at(region.web.primary, 8)).unwrap();
    let rule =
        ["sg-web", "ingress", "--protocol", "tcp", "--port", "8", "--cidr", "203.0.113.0/24"];
    for _ in 0..3 {
        region.act(["sg", "authorize"].into_iter().chain(rule));
        converse(&region.outside, at(WEB_PUBLIC, 8)).unwrap().echo("allowed").unwrap();
        region.act(["sg", "revoke"].into_iter().chain(rule));
        converse(&region.outside, at(WEB_PUBLIC, 8)).unwrap_err();
    }
    let missing = region.refused(["sg", "revoke"].into_iter().chain(rule));
    assert_eq!(missing, "InvalidPermission.NotFound");
    region.act(["sg", "authorize"].into_iter().chain(rule));
    let double = region.refused(["sg", "authorize"].into_iter().chain(rule));
    assert_eq!(double, "InvalidPermission.Duplicate");
}

fn a_tracked_flow_outlives_its_rule_and_an_untracked_one_does_not(datapath: Datapath) {
    let region = Region::open("sg-tracked", datapath);
    let echoes = [8, 9]
        .map(|port| Echo::start(&region.web.namespace, at(region.web.primary, port)).unwrap());
    // For one network it is tracked; for everybody, with everything allowed out, it is not.
    let narrow = ["--protocol", "tcp", "--port", "8", "--cidr", "203.0.113.0/24"];
    let open = ["--protocol", "tcp", "--port", "9", "--cidr", "0.0.0.0/0"];
    for rule in [&narrow, &open] {
        region.act(["sg", "authorize", "sg-web", "ingress"].iter().chain(rule).copied());
    }
    let mut tracked = converse(&region.outside, at(WEB_PUBLIC, 8)).unwrap();
    let mut untracked = converse(&region.outside, at(WEB_PUBLIC, 9)).unwrap();
    tracked.echo("before").unwrap();
    untracked.echo("before").unwrap();
    // What is sent again because it was not acknowledged would be a new flow, let out by egress.
    wait_for_acknowledgements(&region.web.namespace);

    for rule in [&narrow, &open] {
        region.act(["sg", "revoke", "sg-web", "ingress"].iter().chain(rule).copied());
    }
    tracked.echo("it lives on").unwrap();
    untracked.be_patient_for(Duration::from_millis(300));
    assert_eq!(untracked.echo("over").unwrap_err().kind(), ErrorKind::WouldBlock);
    for port in [8, 9] {
        converse(&region.outside, at(WEB_PUBLIC, port)).unwrap_err();
    }
    // A change of something else does not end it either.
    region.act(["eni", "modify", "eni-web", "--description", "changed"]);
    tracked.echo("still there").unwrap();
    drop(echoes);
}

fn a_rule_may_name_a_group_or_a_prefix_list(datapath: Datapath) {
    let region = Region::open("sg-references", datapath);
    let web = region.web.primary;
    let _echo = Echo::start(&region.web.namespace, at(web, 8)).unwrap();
    region.act(["sg", "create", "clients", "--vpc", "vpc-a", "--id", "sg-clients"]);
    region.act(["sg", "create", "servers", "--vpc", "vpc-a", "--id", "sg-servers"]);
    region.act([
        "sg",
        "authorize",
        "sg-servers",
        "ingress",
        "--protocol",
        "tcp",
        "--port",
        "8",
        "--from-group",
        "sg-clients",
    ]);
    region.act(["eni", "modify", "eni-web", "--groups", "sg-servers"]);
    converse(&region.db.namespace, at(web, 8)).unwrap_err();
    region.act(["eni", "modify", "eni-db", "--groups", "sg-clients"]);
    converse(&region.db.namespace, at(web, 8)).unwrap().echo("a member").unwrap();
    converse(&region.standby.namespace, at(web, 8)).unwrap_err();
    assert_eq!(region.refused(["sg", "delete", "sg-clients"]), "DependencyViolation");

    let made = region.act([
        "prefix-list",
        "create",
        "offices",
        "--max-entries",
        "3",
        "--entry",
        "203.0.113.0/30",
    ]);
    let list = made["prefix_list"]["prefix_list_id"].as_str().unwrap().to_owned();
    region.act([
        "sg",
        "authorize",
        "sg-servers",
        "ingress",
        "--protocol",
        "tcp",
        "--port",
        "8",
        "--prefix-list",
        &list,
    ]);
    converse(&region.outside, at(WEB_PUBLIC, 8)).unwrap().echo("on the list").unwrap();
    region.act(["prefix-list", "modify", &list, "--remove", "203.0.113.0/30"]);
    converse(&region.outside, at(WEB_PUBLIC, 8)).unwrap_err();
}

fn icmp_is_told_apart_by_its_type(datapath: Datapath) {
    let region = Region::open("sg-icmp", datapath);
    let ping = |address: &str| {
        let ping = ["ping", "-c1", "-W1", address];
        region.outside.output(Duration::from_secs(10), ping).unwrap().status.success()
    };
    assert!(ping("203.0.113.10") && ping("2001:db8:a:1::10"));
    region.act([
        "sg",
        "revoke",
        "sg-web",
        "ingress",
        "--protocol",
        "icmp",
        "--icmp-type",
        "8",
        "--icmp-code",
        "0",
        "--cidr",
        "203.0.113.0/24",
    ]);
    assert!(!ping("203.0.113.10"));
    assert!(ping("2001:db8:a:1::10"), "the other family has a rule of its own");
    // Timestamp requests are not echo requests.
    let other = ["sg-web", "ingress", "--protocol", "icmp", "--cidr", "203.0.113.0/24"];
    let timestamps = other.into_iter().chain(["--icmp-type", "13"]);
    region.act(["sg", "authorize"].into_iter().chain(timestamps));
    assert!(!ping("203.0.113.10"));
    let all = other.into_iter().chain(["--icmp-type", "-1"]);
    region.act(["sg", "authorize"].into_iter().chain(all));
    assert!(ping("203.0.113.10"));
}

fn groups_are_replaced_as_a_set(datapath: Datapath) {
    let region = Region::open("sg-set", datapath);
    let _echo = Echo::start(&region.web.namespace, at(region.web.primary, 7)).unwrap();
    converse(&region.outside, at(WEB_PUBLIC, 7)).unwrap();
    converse(&region.db.namespace, at(region.web.primary, 7)).unwrap();
    region.act(["eni", "modify", "eni-web", "--groups", "sg-web"]);
    converse(&region.outside, at(WEB_PUBLIC, 7)).unwrap();
    converse(&region.db.namespace, at(region.web.primary, 7)).unwrap_err();
    region.act(["eni", "modify", "eni-web", "--groups", "sg-closed"]);
    converse(&region.outside, at(WEB_PUBLIC, 7)).unwrap_err();
}

fn an_interface_that_names_no_group_has_the_default_one(datapath: Datapath) {
    let region = Region::open("sg-default", datapath);
    let addresses = [Ipv4Addr::new(10, 0, 1, 40), Ipv4Addr::new(10, 0, 1, 41)];
    for (address, instance) in addresses.iter().zip([&region.web, &region.db]) {
        let (id, ip) = (format!("eni-{}", address.octets()[3]), address.to_string());
        let mac = crate::harness::region::mac_of(*address).to_string();
        region.act([
            "eni",
            "create",
            "--subnet",
            "subnet-1",
            "--id",
            &id,
            "--private-ip",
            &ip,
            "--mac",
            &mac,
        ]);
        region.attach_second(&id, *address, instance);
        let told = region.interface(&id);
        assert_eq!(told["groups"][0]["group_name"], "default");
    }
    let _echo = Echo::start(&region.db.namespace, at(addresses[1], 7)).unwrap();
    // Members reach each other, and nobody else reaches them.
    let (from, to) = (at(addresses[0], 4000), at(addresses[1], 7));
    let socket = datagram_socket(&region.web.namespace, from, to);
    assert_eq!(seen_by(&socket, "?").unwrap(), from);
    converse(&region.standby.namespace, to).unwrap_err();
    eventually("the refusal to be counted", || region.gateway.engine_drops("security_group") >= 1);
}
