//! Ports that are not there, go away and come back; and a flow table that is full.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use halfspace_testbed::Namespace;
use halfspace_testbed::programs::Echo;
use serde_json::json;

use crate::harness::{
    Datapath, Family, LAN, Office, SOON, any_port, converse, datagram_socket, eventually, seen_by,
};

on_each_datapath!(
    a_port_that_appears_late_is_attached_then,
    a_port_that_vanishes_takes_its_flows_along_and_may_come_back,
    a_port_that_goes_down_and_up_keeps_its_flows,
    a_port_whose_mtu_changes_is_attached_anew,
    a_full_flow_table_refuses_new_flows_and_keeps_the_old,
);

/// The office's second LAN.
const ANNEX: &str = "lan1";

/// The resource document of an office with an annex.
fn with_annex() -> String {
    Office::resources("", "")
        + r#"
[[subnet]]
subnet_id = "subnet-annex"
vpc_id = "vpc-office"
cidr_block = "10.0.2.0/24"
ipv6_cidr_block = "fd00:10:0:2::/64"
route_table_id = "rtb-lan"
port = "lan1"
"#
}

/// Lays the annex's link, new each time.
fn link_annex(office: &Office, annex: &Namespace) {
    office.bed.veth((&office.gateway.namespace, ANNEX), (annex, "eth0")).unwrap();
    annex
        .ip([
            "address add 10.0.2.10/24 dev eth0",
            "address add fd00:10:0:2::10/64 dev eth0 nodad",
            "route add default via 10.0.2.1",
            "route add default via fd00:10:0:2::1",
        ])
        .unwrap();
}

fn attached(office: &Office) -> Vec<String> {
    let status = office.gateway.status();
    let ports = status["ports"].as_array().unwrap();
    ports.iter().map(|port| port["name"].as_str().unwrap().to_owned()).collect()
}

fn a_port_that_appears_late_is_attached_then(datapath: Datapath) {
    let mut office = Office::lay_out("port-late", datapath);
    let annex = office.bed.namespace("annex").unwrap();
    office.gateway.start(&with_annex());
    office.gateway.wait_for_log("there is no such interface");
    assert_eq!(office.gateway.status()["missing_ports"], json!([ANNEX]));
    assert_eq!(office.gateway.count("halfspace_ports_missing", &[]), 1);
    let echoes = Family::BOTH.map(|it| Echo::start(&office.internet, it.server_at(7)).unwrap());
    for family in Family::BOTH {
        converse(&office.client, family.server_at(7)).unwrap();
    }

    link_annex(&office, &annex);
    eventually("the port to be attached", || attached(&office).iter().any(|it| it == ANNEX));
    assert_eq!(office.gateway.status()["missing_ports"], json!([]));
    for family in Family::BOTH {
        assert_eq!(converse(&annex, family.server_at(7)).unwrap().seen_as.ip(), family.public);
        // And within the VPC, from one LAN to the other.
        let echo = SocketAddr::new(family.client, 7);
        let _echo = Echo::start(&office.client, echo).unwrap();
        let heard = converse(&annex, echo).unwrap();
        assert_eq!(heard.seen_as, heard.local);
    }
    drop(echoes);
}

fn a_port_that_vanishes_takes_its_flows_along_and_may_come_back(datapath: Datapath) {
    let mut office = Office::lay_out("port-gone", datapath);
    let annex = office.bed.namespace("annex").unwrap();
    link_annex(&office, &annex);
    office.gateway.start(&with_annex());
    assert_eq!(attached(&office).len(), 3);
    let echoes = Family::BOTH.map(|it| Echo::start(&office.internet, it.server_at(7)).unwrap());
    let mut streams = Family::BOTH.map(|it| converse(&office.client, it.server_at(7)).unwrap());
    let lost = Family::BOTH.map(|it| converse(&annex, it.server_at(7)).unwrap());
    assert_eq!(office.gateway.flows().len(), 4);

    office.gateway.namespace.ip([format!("link delete {ANNEX}")]).unwrap();
    eventually("its flows to end", || office.gateway.flows().len() == 2);
    office.gateway.wait_for_log("the port's interface is gone");
    assert_eq!(office.gateway.status()["missing_ports"], json!([ANNEX]));
    assert_eq!(office.gateway.count("halfspace_flows_ended_total", &[("how", "port_gone")]), 2);
    for stream in &mut streams {
        stream.echo("still there").unwrap();
    }
    drop(lost);

    link_annex(&office, &annex);
    eventually("it to be attached again", || attached(&office).len() == 3);
    for (family, stream) in Family::BOTH.iter().zip(&mut streams) {
        assert_eq!(converse(&annex, family.server_at(7)).unwrap().seen_as.ip(), family.public);
        stream.echo("still there").unwrap();
    }
    assert_eq!(office.gateway.page("/readyz").status, 200);
    drop(echoes);
}

fn a_port_that_goes_down_and_up_keeps_its_flows(datapath: Datapath) {
    let office = Office::open("port-down", datapath);
    let echoes = Family::BOTH.map(|it| Echo::start(&office.internet, it.server_at(7)).unwrap());
    let mut streams = Family::BOTH.map(|it| converse(&office.client, it.server_at(7)).unwrap());
    for port in [LAN, "wan0"] {
        office.gateway.namespace.ip([format!("link set {port} down")]).unwrap();
        let is_up = |up: bool| {
            let status = office.gateway.status();
            let ports = status["ports"].as_array().unwrap();
            ports.iter().any(|it| it["name"] == port && it["up"] == up)
        };
        eventually("the port to be seen down", || is_up(false));
        office.gateway.namespace.ip([format!("link set {port} up")]).unwrap();
        eventually("the port to be seen up", || is_up(true));
        for stream in &mut streams {
            stream.echo("as before").unwrap();
        }
    }
    assert_eq!(office.gateway.flows().len(), 2);
    drop(echoes);
}

fn a_port_whose_mtu_changes_is_attached_anew(datapath: Datapath) {
    let office = Office::open("port-mtu", datapath);
    let echoes = Family::BOTH.map(|it| Echo::start(&office.internet, it.server_at(7)).unwrap());
    office.gateway.namespace.ip(["link set wan0 mtu 1400"]).unwrap();
    office.gateway.wait_for_log("attached anew");
    for family in Family::BOTH {
        converse(&office.client, family.server_at(7)).unwrap().echo("again").unwrap();
        let target = family.server.to_string();
        let ping = ["ping", "-c1", "-W5", "-Mdo", "-s1440", &target];
        office.client.output(SOON, ping).unwrap();
        let route = office.client.run(["ip", "route", "get", &target]).unwrap().stdout;
        assert!(route.contains("mtu 1400 "), "{route}");
    }
    drop(echoes);
}

fn a_full_flow_table_refuses_new_flows_and_keeps_the_old(datapath: Datapath) {
    const CAPACITY: u64 = 1024;

    let mut office = Office::lay_out("table-full", datapath);
    office.gateway.configure(&format!("flows = {CAPACITY}"));
    office.gateway.start(&Office::resources("udp_idle_timeout_seconds = 4", ""));
    let echoes = Family::BOTH.map(|it| Echo::start(&office.internet, it.server_at(7)).unwrap());
    let mut streams = Family::BOTH.map(|it| converse(&office.client, it.server_at(7)).unwrap());
    let sockets = Family::BOTH.map(|family| {
        datagram_socket(&office.client, family.client_at(40_000), family.server_at(7))
    });
    for socket in &sockets {
        seen_by(socket, "early").unwrap();
    }

    // A flow for each port of a server that has none of them open.
    let fillers = Family::BOTH.map(|family| {
        let local = any_port(family.client);
        (family, office.client.enter(|| UdpSocket::bind(local).unwrap()).unwrap())
    });
    let fill = || {
        for (family, filler) in &fillers {
            for port in 10_000..10_600 {
                // An answer that says "port unreachable" may be reported here.
                let _ = filler.send_to(b"fill", family.other_server_at(port));
            }
        }
    };
    eventually("the table to be full", || {
        fill();
        office.gateway.count("halfspace_flows", &[]) == CAPACITY
    });
    assert_eq!(office.gateway.count("halfspace_flows_capacity", &[]), CAPACITY);
    assert!(office.gateway.engine_drops("flow_table_full") > 0);
    let refused = office.gateway.engine_drops("flow_table_full");
    for (family, socket) in Family::BOTH.iter().zip(&sockets) {
        let late = datagram_socket(&office.client, family.client_at(40_001), family.server_at(7));
        late.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        fill();
        assert_eq!(seen_by(&late, "late").unwrap_err().kind(), ErrorKind::WouldBlock);
        seen_by(socket, "the old ones go on").unwrap();
    }
    assert!(office.gateway.engine_drops("flow_table_full") >= refused + 2);
    for stream in &mut streams {
        stream.echo("the old ones go on").unwrap();
    }

    // Idle flows make room again.
    eventually("room for new flows", || {
        Family::BOTH.iter().zip(&sockets).all(|(family, socket)| {
            seen_by(socket, "busy").unwrap();
            converse(&office.client, family.server_at(7)).is_ok()
        })
    });
    drop(echoes);
}
