//! Attaching and detaching: running, stopped, at launch; what EC2 refuses; ports that vanish.

use std::net::Ipv4Addr;
use std::time::Duration;

use halfspace_testbed::programs::Echo;

use crate::harness::region::{Region, at, mac_of};
use crate::harness::{Datapath, converse, eventually};

on_each_datapath!(
    a_hot_attached_interface_is_reached_and_a_detached_one_is_not,
    a_stopped_instance_takes_an_interface_and_is_reached_once_it_runs,
    an_instance_is_launched_with_its_primary_interface,
    a_terminated_instance_leaves_the_interfaces_that_are_to_stay,
    what_ec2_refuses_changes_nothing,
    a_port_that_vanishes_leaves_its_interface_available_until_it_is_back,
);

const FLOATING: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 100);

fn a_hot_attached_interface_is_reached_and_a_detached_one_is_not(datapath: Datapath) {
    let region = Region::open("eni-hot", datapath);
    region.make_interface("eni-float", FLOATING);
    assert_eq!(region.interface("eni-float")["status"], "available");
    converse(&region.db.namespace, at(FLOATING, 7)).unwrap_err();

    region.attach_second("eni-float", FLOATING, &region.web);
    assert_eq!(region.interface("eni-float")["status"], "in-use");
    let _echo = Echo::start(&region.web.namespace, at(FLOATING, 7)).unwrap();
    let mut heard = converse(&region.db.namespace, at(FLOATING, 7)).unwrap();
    heard.echo("attached").unwrap();

    region.act(["eni", "detach", "eni-float"]);
    assert_eq!(region.interface("eni-float")["status"], "available");
    heard.be_patient_for(Duration::from_millis(300));
    heard.echo("detached").unwrap_err();
    converse(&region.db.namespace, at(FLOATING, 7)).unwrap_err();
    // Its place sends nothing any more either.
    let from_there = converse(&region.web.namespace, at(region.db.primary, 7));
    assert!(from_there.is_err());

    // Forced, and by the attachment: nobody is asked either way.
    region.act(["eni", "attach", "eni-float", "--instance", "i-web", "--device-index", "1"]);
    let mut heard = converse(&region.db.namespace, at(FLOATING, 7)).unwrap();
    let told = region.interface("eni-float");
    let attachment = told["attachment"]["attachment_id"].as_str().unwrap();
    region.act(["eni", "detach", attachment, "--force"]);
    heard.be_patient_for(Duration::from_millis(300));
    heard.echo("detached").unwrap_err();
    region.act(["eni", "delete", "eni-float"]);
}

fn a_stopped_instance_takes_an_interface_and_is_reached_once_it_runs(datapath: Datapath) {
    let region = Region::open("eni-warm", datapath);
    let _primary = Echo::start(&region.web.namespace, at(region.web.primary, 7)).unwrap();
    region.make_interface("eni-float", FLOATING);
    region.act(["instance", "stop", "i-web"]);
    converse(&region.db.namespace, at(region.web.primary, 7)).unwrap_err();
    region.attach_second("eni-float", FLOATING, &region.web);
    let _echo = Echo::start(&region.web.namespace, at(FLOATING, 7)).unwrap();
    converse(&region.db.namespace, at(FLOATING, 7)).unwrap_err();

    region.act(["instance", "start", "i-web"]);
    converse(&region.db.namespace, at(FLOATING, 7)).unwrap().echo("it runs").unwrap();
    converse(&region.db.namespace, at(region.web.primary, 7)).unwrap();
}

fn an_instance_is_launched_with_its_primary_interface(datapath: Datapath) {
    let region = Region::open("eni-cold", datapath);
    let host = region.bed.namespace("launched").unwrap();
    region.bed.veth((&region.gateway.namespace, "new0"), (&host, "eth0")).unwrap();
    let address = Ipv4Addr::new(10, 0, 1, 60);
    let launched = region.act([
        "instance",
        "run",
        "--id",
        "i-new",
        "--port",
        "new0",
        "--subnet",
        "subnet-1",
        "--private-ip",
        "10.0.1.60",
        "--group",
        "sg-inside",
    ]);
    let interface = &launched["instances"][0]["network_interfaces"][0];
    assert_eq!(interface["attachment"]["device_index"], 0);
    assert_eq!(interface["attachment"]["delete_on_termination"], true);
    let mac = interface["mac_address"].as_str().unwrap();
    host.ip([
        format!("link set eth0 address {mac}"),
        format!("address add {address}/24 dev eth0"),
        "route add default via 10.0.1.1".to_owned(),
    ])
    .unwrap();
    let _echo = Echo::start(&host, at(address, 7)).unwrap();
    // The port is attached when the gateway has seen that it is wanted.
    eventually("the launched instance to be reached", || {
        converse(&region.db.namespace, at(address, 7)).is_ok()
    });
}

fn a_terminated_instance_leaves_the_interfaces_that_are_to_stay(datapath: Datapath) {
    let region = Region::open("eni-terminated", datapath);
    region.make_interface("eni-float", FLOATING);
    region.attach_second("eni-float", FLOATING, &region.web);
    let _echo = Echo::start(&region.web.namespace, at(FLOATING, 7)).unwrap();
    converse(&region.db.namespace, at(FLOATING, 7)).unwrap();

    region.act(["instance", "terminate", "i-web"]);
    assert_eq!(region.interface("eni-float")["status"], "available");
    let primary = region.gateway.run(["eni", "show", "eni-web"]);
    assert!(primary.stderr.contains("InvalidNetworkInterfaceID.NotFound"), "{primary:?}");
    converse(&region.db.namespace, at(FLOATING, 7)).unwrap_err();

    // It lives on elsewhere.
    region.attach_second("eni-float", FLOATING, &region.standby);
    let _echo = Echo::start(&region.standby.namespace, at(FLOATING, 7)).unwrap();
    converse(&region.db.namespace, at(FLOATING, 7)).unwrap();
}

fn what_ec2_refuses_changes_nothing(datapath: Datapath) {
    let region = Region::open("eni-refused", datapath);
    let _echo = Echo::start(&region.web.namespace, at(region.web.primary, 7)).unwrap();
    let mut undisturbed = converse(&region.db.namespace, at(region.web.primary, 7)).unwrap();
    region.make_interface("eni-float", FLOATING);
    region.act(["eni", "assign", "eni-web", "--ipv4-prefix", "10.0.1.64/28"]);
    for group in ["a", "b", "c"] {
        region.act(["sg", "create", group, "--vpc", "vpc-a", "--id", &format!("sg-{group}")]);
    }

    let refusals: [(&[&str], &str); 14] = [
        (&["eni", "detach", "eni-web"], "OperationNotPermitted"),
        (&["eni", "detach", "eni-web", "--force"], "OperationNotPermitted"),
        (&["eni", "delete", "eni-web"], "InvalidNetworkInterface.InUse"),
        (
            &["eni", "attach", "eni-float", "--instance", "i-web", "--device-index", "0"],
            "InvalidParameterValue",
        ),
        (
            &["eni", "attach", "eni-float", "--instance", "i-gone", "--device-index", "1"],
            "InvalidInstanceID.NotFound",
        ),
        (
            &["eni", "attach", "eni-web", "--instance", "i-db", "--device-index", "1"],
            "InvalidNetworkInterface.InUse",
        ),
        (
            &["eip", "associate", "203.0.113.10", "--eni", "eni-db", "--no-reassociation"],
            "Resource.AlreadyAssociated",
        ),
        (&["eip", "release", "203.0.113.10"], "InvalidIPAddress.InUse"),
        (&["eni", "assign", "eni-web", "--private-ip", "10.0.2.77"], "InvalidParameterValue"),
        (&["eni", "assign", "eni-db", "--ipv4-prefix", "10.0.1.64/28"], "InvalidParameterValue"),
        (&["eni", "modify", "eni-web", "--groups", "sg-unknown"], "InvalidGroup.NotFound"),
        (
            &["eni", "modify", "eni-web", "--groups", "sg-inside,sg-web,sg-closed,sg-a,sg-b,sg-c"],
            "SecurityGroupsPerInterfaceLimitExceeded",
        ),
        (&["sg", "delete", "sg-web"], "DependencyViolation"),
        (&["subnet", "delete", "subnet-1"], "DependencyViolation"),
    ];
    for (command, code) in refusals {
        assert_eq!(region.refused(command.iter().copied()), code, "{command:?}");
        undisturbed.echo("undisturbed").unwrap();
    }
}

fn a_port_that_vanishes_leaves_its_interface_available_until_it_is_back(datapath: Datapath) {
    let region = Region::open("eni-vanished", datapath);
    region.make_interface("eni-float", FLOATING);
    region.attach_second("eni-float", FLOATING, &region.web);
    let echo = Echo::start(&region.web.namespace, at(FLOATING, 7)).unwrap();
    let _heard = converse(&region.db.namespace, at(FLOATING, 7)).unwrap();
    let ended = || region.gateway.count("halfspace_flows_ended_total", &[("how", "port_gone")]);
    assert_eq!(ended(), 0);

    region.gateway.namespace.ip(["link delete web1"]).unwrap();
    eventually("its flows to end", || ended() == 1);
    assert_eq!(region.interface("eni-float")["status"], "available");
    drop(echo);

    let link = ((&region.gateway.namespace, "web1"), (&region.web.namespace, "eth1"));
    region.bed.veths(&[link]).unwrap();
    let device = [
        format!("link set eth1 address {}", mac_of(FLOATING)),
        format!("address add {FLOATING}/32 dev eth1"),
        "route add 10.0.1.1 dev eth1 table 100".to_owned(),
        "route add default via 10.0.1.1 dev eth1 table 100".to_owned(),
    ];
    region.web.namespace.ip(device).unwrap();
    eventually("the interface to be in use again", || {
        region.interface("eni-float")["status"] == "in-use"
    });
    let _echo = Echo::start(&region.web.namespace, at(FLOATING, 7)).unwrap();
    converse(&region.db.namespace, at(FLOATING, 7)).unwrap().echo("back").unwrap();
}
