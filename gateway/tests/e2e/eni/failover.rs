//! A network interface moves to a standby: traffic follows, and nothing else changes.

use std::net::{Ipv4Addr, SocketAddr};

use halfspace_testbed::programs::Echo;

use crate::harness::region::{OUTSIDE, Region, at};
use crate::harness::{Datapath, converse, datagram_socket, seen_by};

on_each_datapath!(
    a_moved_interface_is_served_by_the_standby_at_once,
    flows_of_other_interfaces_do_not_notice_a_move,
);

const FLOATING: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 100);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 70);

fn open(name: &str, datapath: Datapath) -> (Region, [Echo; 2]) {
    let region = Region::open(name, datapath);
    region.make_interface("eni-float", FLOATING);
    region.attach_second("eni-float", FLOATING, &region.web);
    region.standby.configure_second(FLOATING, crate::harness::region::mac_of(FLOATING));
    region.act(["eip", "allocate", "--address", "203.0.113.70"]);
    region.act(["eip", "associate", "203.0.113.70", "--eni", "eni-float"]);
    let echoes = [&region.web, &region.standby]
        .map(|it| Echo::start(&it.namespace, at(FLOATING, 7)).unwrap());
    (region, echoes)
}

fn a_moved_interface_is_served_by_the_standby_at_once(datapath: Datapath) {
    let (region, [web, standby]) = open("eni-failover", datapath);
    let local = SocketAddr::new(OUTSIDE[0], 4000);
    let established = datagram_socket(&region.outside, local, at(PUBLIC, 7));
    assert_eq!(seen_by(&established, "web").unwrap(), local);
    let before = region.interface("eni-float");

    region.act(["eni", "move", "eni-float", "--instance", "i-standby", "--device-index", "1"]);
    // What answers from here on is the standby: there is nobody else.
    drop(web);
    assert_eq!(seen_by(&established, "standby").unwrap(), local, "the same flow goes on");
    converse(&region.outside, at(PUBLIC, 7)).unwrap().echo("a new connection").unwrap();
    converse(&region.db.namespace, at(FLOATING, 7)).unwrap().echo("from inside").unwrap();
    region.outside.run(["ping", "-c2", "-i0.1", "-W5", "203.0.113.70"]).unwrap();
    let after = region.interface("eni-float");
    assert_eq!(after["attachment"]["instance_id"], "i-standby");
    for kept in ["private_ip_address", "mac_address", "association", "groups"] {
        assert_eq!(before[kept], after[kept], "{kept}");
    }
    drop(standby);
}

fn flows_of_other_interfaces_do_not_notice_a_move(datapath: Datapath) {
    let (region, _echoes) = open("eni-failover-others", datapath);
    let _primary = Echo::start(&region.web.namespace, at(region.web.primary, 7)).unwrap();
    let mut other = converse(&region.db.namespace, at(region.web.primary, 7)).unwrap();
    let local = at(region.db.primary, 4000);
    let datagrams = datagram_socket(&region.db.namespace, local, at(region.web.primary, 7));
    seen_by(&datagrams, "before").unwrap();
    let ended = || region.gateway.count("halfspace_flows_ended_total", &[]);
    let before = ended();
    for (round, instance) in ["i-standby", "i-web", "i-standby"].into_iter().enumerate() {
        region.act(["eni", "move", "eni-float", "--instance", instance, "--device-index", "1"]);
        other.echo(&format!("round {round}")).unwrap();
        assert_eq!(seen_by(&datagrams, "still there").unwrap(), local);
    }
    assert_eq!(ended(), before);
}
