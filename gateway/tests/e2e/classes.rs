//! Flows that the fast path makes itself: real sockets by the dozen to the same few servers.

use std::collections::BTreeSet;

use halfspace_testbed::programs::Echo;

use crate::harness::{
    Datapath, Family, Gateway, Office, converse, datagram_socket, eventually, seen_by,
};

on_each_datapath!(further_flows_to_a_server_are_made_by_the_fast_path_and_all_given_back,);

/// Sockets of each protocol.
const SOCKETS: u16 = 40;

/// Flows that the fast path has made, those told of.
fn made(gateway: &Gateway) -> u64 {
    gateway.count("halfspace_flows_made_total", &[])
}

fn further_flows_to_a_server_are_made_by_the_fast_path_and_all_given_back(datapath: Datapath) {
    let office = Office::open("classes", datapath);
    let v4 = Family::V4;
    let _echo = Echo::start(&office.internet, v4.server_at(7)).unwrap();
    let sockets: Vec<_> = (0..SOCKETS)
        .map(|n| datagram_socket(&office.client, v4.client_at(40_000 + n), v4.server_at(7)))
        .collect();
    let mut seen = BTreeSet::new();
    for socket in &sockets {
        let first = seen_by(socket, "first").unwrap();
        assert_eq!(first.ip(), v4.public);
        assert!(seen.insert(first), "{first} is two flows' address");
        assert_eq!(seen_by(socket, "second").unwrap(), first, "the same flow");
    }
    // The first two make the class known; what comes while the engine learns of it goes up as well.
    eventually("most datagram flows to be made", || made(&office.gateway) >= 30);

    let mut streams: Vec<_> = (0..SOCKETS)
        .map(|_| converse(&office.client, v4.server_at(7)).unwrap())
        .inspect(|stream| assert_eq!(stream.seen_as.ip(), v4.public))
        .collect();
    for stream in &mut streams {
        stream.echo("over a flow that was made").unwrap();
    }
    let ports: BTreeSet<_> = streams.iter().map(|stream| stream.seen_as).collect();
    assert_eq!(ports.len(), usize::from(SOCKETS));
    eventually("most TCP flows to be made", || made(&office.gateway) >= 60);

    // Listed like any other, under the port that the server sees.
    let flows = office.gateway.flows();
    assert_eq!(flows.len(), 2 * usize::from(SOCKETS));
    for stream in &streams {
        let flow = flows.iter().find(|flow| flow.forward.received.source == stream.local);
        assert_eq!(flow.unwrap().forward.sent.source, stream.seen_as);
    }
    let leased = office.gateway.count("halfspace_nat_gateway_leased_ports", &[]);
    assert_eq!(leased, 2 * u64::from(SOCKETS));

    drop(streams);
    eventually("the templates to be taken back", || {
        office.gateway.count("halfspace_flow_templates", &[]) == 0
    });
    assert_eq!(office.gateway.count("halfspace_nat_gateway_set_aside_ports", &[]), 0);
    office.gateway.assert_packets_add_up();
}

#[test]
fn new_flows_to_a_known_server_go_on_while_there_is_no_process() {
    if !Datapath::Ebpf.is_available() {
        return;
    }
    let mut office = Office::open("classes-gone", Datapath::Ebpf);
    let v4 = Family::V4;
    let _echo = Echo::start(&office.internet, v4.server_at(7)).unwrap();
    let socket =
        |n: u16| datagram_socket(&office.client, v4.client_at(40_000 + n), v4.server_at(7));
    let before: Vec<_> = (0..5).map(socket).collect();
    for socket in &before {
        seen_by(socket, "before").unwrap();
    }
    office.gateway.kill();
    let opened: Vec<_> = (5..10).map(socket).collect();
    let seen: Vec<_> =
        opened.iter().map(|socket| seen_by(socket, "nobody is there").unwrap()).collect();
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 5);

    office.gateway.start_again();
    assert_eq!(office.gateway.count("halfspace_flows_recovered_total", &[]), 10);
    for (socket, seen) in opened.iter().zip(&seen) {
        assert_eq!(seen_by(socket, "somebody is").unwrap(), *seen);
    }
    // What the one that was killed had in stock is nobody's, so to say: it was never leased.
    assert_eq!(office.gateway.count("halfspace_nat_gateway_leased_ports", &[]), 10);
    for n in 10..20 {
        let socket = socket(n);
        let anew = seen_by(&socket, "anew").unwrap();
        assert!(!seen.contains(&anew), "{anew} is another's");
    }
    assert_eq!(office.gateway.flows().len(), 20);
}
