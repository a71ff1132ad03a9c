//! The Lambda bridge: environments that are all alike share one interface, come and go while the
//! gateway runs, and never see another tenant, whatever addresses they share.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use halfspace_testbed::programs::{Echo, Nginx};
use nf_core::packet::Frame;

use crate::harness::tenants::{Inside, Tenants};
use crate::harness::{Datapath, Wire, converse, curl, datagram_socket, eventually, seen_by, url};

on_each_datapath!(
    environments_that_are_all_alike_share_one_interface,
    a_detached_environment_loses_its_flows_and_no_other_does,
    an_environment_is_gone_with_its_interface,
    an_environment_outlives_its_bridge,
    a_bridge_hands_out_the_addresses_of_its_prefix_by_itself,
    mistakes_in_attaching_are_told,
    tenants_with_the_same_addresses_never_meet,
);

const ENVIRONMENTS: usize = 20;

fn environments_that_are_all_alike_share_one_interface(datapath: Datapath) {
    let lab = Tenants::open("bridge-many", datapath, 1, ENVIRONMENTS);
    let [blue] = &lab.all[..] else { panic!("one was asked for") };
    assert_eq!(lab.attached().len(), ENVIRONMENTS);
    for inside in Inside::BOTH {
        let echo = Echo::start(&blue.service, inside.service_at(7)).unwrap();
        let web = Nginx::start(&blue.service, &[inside.service_at(80)], "$remote_addr").unwrap();
        // The same addresses and ports in every environment, all at the same time.
        let sockets: Vec<_> = blue
            .environments
            .iter()
            .map(|it| datagram_socket(it, inside.environment_at(40_000), inside.service_at(7)))
            .collect();
        let mut seen = BTreeSet::new();
        for round in 0..2 {
            for (number, socket) in sockets.iter().enumerate() {
                let question = format!("environment {number}, round {round}");
                seen.insert(seen_by(socket, &question).unwrap());
            }
        }
        assert_eq!(seen.len(), ENVIRONMENTS, "each has a port of its own: {seen:?}");
        assert!(seen.iter().all(|peer| peer.ip() == inside.bridge), "{seen:?}");
        assert_eq!(echo.peers().len(), 2 * ENVIRONMENTS);

        for environment in &blue.environments {
            let page = url(inside.service_at(80), "/");
            let output = curl(environment, &["--local-port", inside.local_port, &page]);
            assert!(output.status.success(), "{output:?}");
            assert_eq!(output.stdout, inside.bridge.to_string());
        }
        // Even the identifiers of their pings are the same.
        for environment in &blue.environments {
            let service = inside.service.to_string();
            environment.run(["ping", "-c1", "-W5", "-e77", &service]).unwrap();
        }
        assert_eq!(web.clients().into_iter().collect::<BTreeSet<_>>().len(), ENVIRONMENTS);
    }
    let labels = [("lambda_bridge_id", "bridge-blue")];
    let flows = lab.gateway.count("halfspace_lambda_bridge_flows_total", &labels);
    assert_eq!(flows, 6 * ENVIRONMENTS as u64, "TCP, UDP and echo in two families");
}

fn a_detached_environment_loses_its_flows_and_no_other_does(datapath: Datapath) {
    let lab = Tenants::open("bridge-detach", datapath, 1, 3);
    let blue = &lab.all[0];
    let echoes = Inside::BOTH.map(|it| Echo::start(&blue.service, it.service_at(7)).unwrap());
    let mut streams = Vec::new();
    for (number, environment) in blue.environments.iter().enumerate() {
        for inside in Inside::BOTH {
            let mut heard = converse(environment, inside.service_at(7)).unwrap();
            heard.echo("attached").unwrap();
            streams.push((number, heard));
        }
    }
    let port = blue.port(1);
    let flows_of_it =
        || lab.gateway.flows().iter().filter(|flow| flow.forward.port == port).count();
    assert_eq!(flows_of_it(), 2);

    lab.detach(blue, 1);

    assert_eq!(flows_of_it(), 0);
    assert_eq!(lab.attached(), ["blue1", "blue3"]);
    assert_eq!(lab.gateway.count("halfspace_flows_ended_total", &[("how", "port_gone")]), 2);
    for (number, heard) in &mut streams {
        if *number == 1 {
            heard.be_patient_for(Duration::from_millis(300));
            assert_eq!(heard.echo("anybody?").unwrap_err().kind(), ErrorKind::WouldBlock);
        } else {
            heard.echo("still attached").unwrap();
        }
    }

    // Attached again it starts anew: what it had open is over.
    lab.attach(blue, 1);
    for inside in Inside::BOTH {
        converse(&blue.environments[1], inside.service_at(7)).unwrap().echo("again").unwrap();
    }
    for (number, heard) in &mut streams {
        if *number == 1 {
            heard.be_patient_for(Duration::from_secs(10));
            assert_eq!(heard.echo("?").unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
    }
    drop(echoes);
}

fn an_environment_is_gone_with_its_interface(datapath: Datapath) {
    let lab = Tenants::open("bridge-gone", datapath, 1, 2);
    let blue = &lab.all[0];
    let echoes = Inside::BOTH.map(|it| Echo::start(&blue.service, it.service_at(7)).unwrap());
    let mut stream = converse(&blue.environments[0], Inside::BOTH[0].service_at(7)).unwrap();
    converse(&blue.environments[1], Inside::BOTH[0].service_at(7)).unwrap();

    lab.gateway.namespace.ip(["link delete blue2"]).unwrap();

    eventually("it to be detached", || lab.attached() == ["blue1"]);
    lab.gateway.wait_for_log("the environment's interface is gone");
    assert_eq!(lab.gateway.count("halfspace_environments_lost_total", &[]), 1);
    assert!(lab.gateway.flows().iter().all(|flow| flow.forward.port == "blue1"));
    stream.echo("here").unwrap();
    drop(echoes);
}

fn a_bridge_hands_out_the_addresses_of_its_prefix_by_itself(datapath: Datapath) {
    let lab = Tenants::open("bridge-prefix", datapath, 1, 6);
    let blue = &lab.all[0];
    let bridge = "lambda_bridge_id = \"bridge-blue\"\n";
    let more = format!("{bridge}ipv4_prefixes = [\"10.0.1.128/28\"]\nport_range = [5000, 5001]\n");
    lab.gateway.change_resources(&lab.document.replace(bridge, &more));
    let generation = lab.gateway.generation();
    let inside = &Inside::BOTH[0];
    let _echo = Echo::start(&blue.service, inside.service_at(7)).unwrap();
    let sockets = blue
        .environments
        .iter()
        .map(|it| datagram_socket(it, inside.environment_at(40_000), inside.service_at(7)))
        .collect::<Vec<_>>();
    let seen: BTreeSet<_> = sockets.iter().map(|it| seen_by(it, "?").unwrap()).collect();
    assert_eq!(seen.len(), 6, "each has a port of its own: {seen:?}");
    let own = seen.iter().filter(|it| it.ip() == inside.bridge).count();
    assert_eq!(own, 2, "the primary address comes first: {seen:?}");
    let prefix = |ip: IpAddr| matches!(ip, IpAddr::V4(ip) if (128..144).contains(&ip.octets()[3]));
    assert!(seen.iter().all(|it| it.ip() == inside.bridge || prefix(it.ip())), "{seen:?}");
    assert_eq!(lab.gateway.generation(), generation, "nobody was asked");
}

fn an_environment_outlives_its_bridge(datapath: Datapath) {
    let lab = Tenants::open("bridge-later", datapath, 1, 1);
    let environment = &lab.all[0].environments[0];
    let servers = Inside::BOTH.map(|it| it.service_at(7));
    let echoes = servers.map(|server| Echo::start(&lab.all[0].service, server).unwrap());
    for server in servers {
        converse(environment, server).unwrap();
    }
    let (before, _) = lab.document.split_once("[[lambda_bridge]]").unwrap();
    let (_, after) = lab.document.split_once("[[route_table]]").unwrap();
    lab.gateway.change_resources(&format!("{before}\n[[route_table]]{after}"));
    assert_eq!(lab.gateway.flows(), []);
    for server in servers {
        assert_eq!(converse(environment, server).unwrap_err().kind(), ErrorKind::TimedOut);
    }
    lab.gateway.change_resources(&lab.document);
    assert_eq!(lab.attached(), ["blue1"]);
    for server in servers {
        converse(environment, server).unwrap().echo("again").unwrap();
    }
    drop(echoes);
}

fn mistakes_in_attaching_are_told(datapath: Datapath) {
    let lab = Tenants::open("bridge-wrong", datapath, 1, 1);
    for (arguments, expected) in [
        (["attach", "--bridge", "bridge-blue", "--port", "blue1"], "attached already"),
        (["attach", "--bridge", "bridge-red", "--port", "wan0"], "no bridge 'bridge-red'"),
        (["attach", "--bridge", "bridge-blue", "--port", "wan0"], "already in use"),
        (["attach", "--bridge", "bridge-blue", "--port", "nope"], "no interface 'nope'"),
    ] {
        let output = lab.gateway.run(["env"].into_iter().chain(arguments));
        assert!(!output.status.success(), "{output:?}");
        assert!(output.stderr.contains(expected), "{output:?}");
    }
    let output = lab.gateway.run(["env", "detach", "blue2"]);
    assert!(output.stderr.contains("environment 'blue2' is not attached"), "{output:?}");
    assert_eq!(lab.attached(), ["blue1"]);
}

fn tenants_with_the_same_addresses_never_meet(datapath: Datapath) {
    let lab = Tenants::open("bridge-two", datapath, 2, 2);
    for inside in Inside::BOTH {
        let servers: Vec<_> = lab
            .all
            .iter()
            .map(|tenant| {
                let web = [inside.service_at(80)];
                let web = Nginx::start(&tenant.service, &web, tenant.name).unwrap();
                (web, Echo::start(&tenant.service, inside.service_at(7)).unwrap())
            })
            .collect();
        let mut sockets = Vec::new();
        for tenant in &lab.all {
            for environment in &tenant.environments {
                let page = url(inside.service_at(80), "/");
                let output = curl(environment, &["--local-port", inside.local_port, &page]);
                assert_eq!(output.stdout, tenant.name, "{output:?}");
                let (local, server) = (inside.environment_at(40_000), inside.service_at(7));
                sockets.push((tenant.name, datagram_socket(environment, local, server)));
            }
        }
        for round in 0..3 {
            for (name, socket) in &sockets {
                let seen = seen_by(socket, &format!("{name} {round}")).unwrap();
                assert_eq!(seen.ip(), inside.bridge);
            }
        }
        for (_, echo) in &servers {
            assert_eq!(echo.peers().len(), 6, "two environments, three rounds");
        }

        // What green's service sends to the address and port that blue's flow has is not blue's.
        let [blue, green] = &lab.all[..] else { panic!("two were asked for") };
        let port = |number| {
            let flows = lab.gateway.flows();
            let name = blue.port(number);
            let udp = |flow: &&crate::harness::Flow| {
                flow.forward.port == name
                    && flow.protocol == "udp"
                    && flow.forward.received.source.ip() == inside.environment
            };
            flows.iter().find(udp).unwrap().forward.sent.source.port()
        };
        let taken: Vec<_> = sockets[2..]
            .iter()
            .map(|(_, socket)| seen_by(socket, "which?").unwrap().port())
            .collect();
        let only_blues = [port(0), port(1)].into_iter().find(|port| !taken.contains(port));
        let Some(only_blues) = only_blues else { continue };
        let before = lab.gateway.engine_drops("unsolicited");
        let wire = Wire::open(&green.service, "eth0", &lab.gateway.namespace, "green-db");
        let to = std::net::SocketAddr::new(inside.bridge, only_blues);
        let stray = Frame::udp(inside.service_at(7), to).macs(wire.mac, wire.peer).payload(*b"x");
        wire.send(&stray.build());
        eventually("it to be dropped", || lab.gateway.engine_drops("unsolicited") == before + 1);
        for (_, socket) in &sockets {
            socket.set_nonblocking(true).unwrap();
            let error = socket.recv(&mut [0; 9]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
    }
}
