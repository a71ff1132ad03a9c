//! A client that has IPv6 alone, and servers that have IPv4 alone: what its programs can do through
//! the NAT gateway, and what both ends are told.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use halfspace_testbed::programs::{Echo, Iperf3, Nginx};
use nf_core::nat64::Nat64Prefix;

use crate::harness::{
    Datapath, Family, Gateway, NameServer, Office, converse, curl, datagram_socket, eventually,
    iperf3_moves, seen_by, url,
};

on_each_datapath!(
    curl_dig_and_ping_reach_servers_that_have_ipv4_alone,
    traceroute_shows_the_routers_by_the_gateways_prefix,
    a_large_download_crosses_over_in_the_kernel_or_its_stand_in,
    iperf3_crosses_over_both_ways_over_tcp_and_udp,
    both_ends_learn_the_mtu_of_the_path,
    errors_cross_over,
);

const V4: Family = Family::V4;
const CLIENT: IpAddr = Family::V6.client;

/// How the client names a host that has IPv4 alone.
fn named(address: IpAddr) -> IpAddr {
    let IpAddr::V4(address) = address else { panic!("{address} is not IPv4") };
    Nat64Prefix::WELL_KNOWN.embed(address).into()
}

fn named_at(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(named(address), port)
}

/// The office, whose client has no IPv4 address.
fn open(name: &str, datapath: Datapath) -> Office {
    let office = Office::open(name, datapath);
    office.client.ip(["address delete 10.0.1.10/24 dev eth0"]).unwrap();
    office
}

fn curl_dig_and_ping_reach_servers_that_have_ipv4_alone(datapath: Datapath) {
    let office = open("nat64-curl", datapath);
    let _nginx = Nginx::start(&office.internet, &[V4.server_at(80)], "$remote_addr").unwrap();
    let output = curl(&office.client, &[&url(named_at(V4.server, 80), "/")]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, V4.public.to_string());

    let names = NameServer::start(&office.internet, V4.server_at(53));
    let server = format!("@{}", named(V4.server));
    for transport in ["+notcp", "+tcp"] {
        let ask = ["dig", "+short", "+tries=1", "+time=5", transport, &server];
        let output = office.client.run(ask.iter().chain(&["host.example", "A"])).unwrap();
        assert_eq!(output.stdout, "192.0.2.53\n", "{transport}");
    }
    assert!(names.askers().iter().all(|asker| asker.ip() == V4.public));

    let target = named(V4.server).to_string();
    let ping = ["ping", "-c3", "-i0.1", "-W5", &target];
    let output = office.client.run(ping).unwrap();
    assert!(output.stdout.contains("3 received, 0% packet loss"), "{output:?}");
    let flows = office.gateway.flows();
    let flow = flows.iter().find(|flow| flow.protocol == "icmpv6").unwrap();
    assert_eq!(flow.forward.received.source.ip(), CLIENT);
    assert_eq!(flow.forward.received.destination.ip(), named(V4.server));
    assert_eq!(flow.forward.sent.source.ip(), V4.public);
    assert_eq!(flow.forward.sent.destination.ip(), V4.server);
    assert_eq!((flow.forward.packets, flow.reverse.packets), (3, 3));
    office.gateway.assert_packets_add_up();
}

fn traceroute_shows_the_routers_by_the_gateways_prefix(datapath: Datapath) {
    let office = open("nat64-trace", datapath);
    let _far = office.far_side(1500);
    for probes in ["--udp", "--icmp"] {
        let target = named(V4.far_server).to_string();
        let trace = ["traceroute", "-n", "-q1", "-N1", "-w5", "-m5", probes, &target];
        let output = office.client.run(trace).unwrap();
        let hops = output.stdout.lines().skip(1);
        let hops: Vec<IpAddr> =
            hops.filter_map(|line| line.split_whitespace().nth(1)?.parse().ok()).collect();
        let expected = [Family::V6.lan_router, named(V4.router), named(V4.far_server)];
        assert_eq!(hops, expected, "{probes}: {}", output.stdout);
    }
}

/// Punted packets so far.
fn punted(gateway: &Gateway) -> u64 {
    gateway.count("halfspace_fastpath_packets_total", &[("verdict", "punted")])
}

fn a_large_download_crosses_over_in_the_kernel_or_its_stand_in(datapath: Datapath) {
    let office = open("nat64-bulk", datapath);
    let content: Vec<u8> = (0..20_000_000_u32).map(|n| (n ^ n >> 8 ^ n >> 16) as u8).collect();
    let file = office.bed.dir().join("download");
    let nginx = Nginx::start(&office.internet, &[V4.server_at(80)], "").unwrap();
    nginx.publish("pattern", &content).unwrap();
    let before = punted(&office.gateway);
    let from = url(named_at(V4.server, 80), "/files/pattern");
    let output = curl(&office.client, &["--fail", "--output", file.to_str().unwrap(), &from]);
    assert!(output.status.success(), "{output:?}");
    assert!(std::fs::read(&file).unwrap() == content, "the content differs");
    let punted = punted(&office.gateway) - before;
    assert!(punted <= 16, "{punted} packets came to user space");
}

fn iperf3_crosses_over_both_ways_over_tcp_and_udp(datapath: Datapath) {
    let office = open("nat64-iperf3", datapath);
    let iperf3 = Iperf3::start(&office.internet, V4.server_at(5201)).unwrap();
    for options in [&[][..], &["-R"], &["-u", "-b20M"], &["-u", "-b20M", "-R"]] {
        iperf3_moves(&office.client, &iperf3, named(V4.server), options);
    }
    office.gateway.assert_packets_add_up();
}

fn both_ends_learn_the_mtu_of_the_path(datapath: Datapath) {
    let office = open("nat64-mtu", datapath);
    let far = office.far_side(1400);
    let far_server = SocketAddr::new(V4.far_server, 7);
    let _echo = Echo::start(&far, far_server).unwrap();
    // Super-packets that must become segments which fit a router's link that only knows IPv4.
    let named_server = named_at(V4.far_server, 7);
    converse(&office.client, named_server).unwrap().echo(&"much ".repeat(20_000)).unwrap();
    let target = named(V4.far_server).to_string();
    let ping = ["ping", "-c2", "-i0.2", "-W5", "-Mdo", "-s1440", &target];
    let output = office.client.output(Duration::from_secs(20), ping).unwrap();
    assert!(!output.status.success(), "{output:?}");
    let route = office.client.run(["ip", "route", "get", &target]).unwrap().stdout;
    assert!(route.contains("mtu 1420 "), "{target}: {route}\n{output:?}");

    // And what is too long once it has IPv6's header: the server is told by the gateway.
    let echo = Echo::start(&office.internet, V4.server_at(7)).unwrap();
    let socket =
        datagram_socket(&office.client, SocketAddr::new(CLIENT, 40_000), named_at(V4.server, 7));
    let seen = seen_by(&socket, "first").unwrap();
    assert_eq!(seen.ip(), V4.public);
    drop(echo);
    let server = datagram_socket(&office.internet, V4.server_at(7), seen);
    // Linux sets DF as long as it does not know better.
    server.send(&[7; 1472]).unwrap();
    let client_route = ["ip", "route", "get", &V4.public.to_string()];
    let told = || office.internet.run(client_route).unwrap().stdout.contains("mtu 1480");
    eventually("the server to learn it", told);
}

fn errors_cross_over(datapath: Datapath) {
    let office = open("nat64-refused", datapath);
    let local = SocketAddr::new(CLIENT, 40_000);
    let socket = datagram_socket(&office.client, local, named_at(V4.server, 9));
    let error = seen_by(&socket, "anybody?").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{error}");
}

#[test]
fn a_flow_of_two_families_survives_a_kill() {
    if !Datapath::Ebpf.is_available() {
        return;
    }
    let mut office = open("nat64-kill", Datapath::Ebpf);
    let _echo = Echo::start(&office.internet, V4.server_at(7)).unwrap();
    let mut stream = converse(&office.client, named_at(V4.server, 7)).unwrap();
    let local = SocketAddr::new(CLIENT, 40_000);
    let socket = datagram_socket(&office.client, local, named_at(V4.server, 7));
    let seen = seen_by(&socket, "before").unwrap();
    office.gateway.kill();
    assert_eq!(seen_by(&socket, "while it is gone").unwrap(), seen);
    stream.echo("while it is gone").unwrap();
    office.gateway.start_again();
    assert_eq!(office.gateway.count("halfspace_flows_recovered_total", &[]), 2);
    assert_eq!(seen_by(&socket, "after").unwrap(), seen);
    stream.echo("after").unwrap();
    assert_eq!(office.gateway.flows().len(), 2);
}
