//! The NAT gateway: what programs behind it can do, what the internet sees of them, and what
//! happens when ports run out, flows fall silent or packets are too large.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use halfspace_testbed::Namespace;
use halfspace_testbed::programs::{Echo, Iperf3, Nginx};
use serde_json::{Value, json};

use crate::harness::{
    Datapath, Family, Flow, Gateway, LAN, NameServer, Office, SOON, converse, curl,
    datagram_socket, eventually, iperf3_moves, seen_by, url,
};

on_each_datapath!(
    curl_reaches_the_internet_as_the_elastic_ip_address,
    dig_and_datagrams_reach_the_internet_as_the_elastic_ip_address,
    ping_is_translated_and_answered_by_the_gateway_too,
    traceroute_shows_the_gateway_and_the_routers_behind_it,
    one_port_serves_every_destination_at_the_same_time,
    ports_that_run_out_toward_one_destination_are_counted_and_others_go_on,
    the_holders_of_ports_are_told,
    idle_flows_expire_and_late_tcp_draws_a_reset,
    both_ends_of_an_idle_connection_are_reset,
    a_large_download_arrives_whole_and_never_comes_to_user_space,
    iperf3_runs_both_ways_over_tcp_and_udp,
    a_datagram_to_a_closed_port_is_refused,
    senders_learn_the_mtu_of_the_path,
    a_router_that_changes_its_mac_address_is_followed,
    a_host_that_is_not_there_is_counted_and_found_when_it_comes,
);

fn curl_reaches_the_internet_as_the_elastic_ip_address(datapath: Datapath) {
    let office = Office::open("nat-curl", datapath);
    for family in Family::BOTH {
        let server = family.server_at(80);
        let nginx = Nginx::start(&office.internet, &[server], "$remote_addr").unwrap();
        let output = curl(&office.client, &[&url(server, "/")]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stdout, family.public.to_string());

        let flows = office.gateway.flows();
        let flow = flows.iter().find(|flow| flow.forward.received.destination == server).unwrap();
        assert_eq!((flow.protocol.as_str(), &flow.functions[..]), ("tcp", &["nat".to_owned()][..]));
        assert_eq!((flow.forward.port.as_str(), flow.reverse.port.as_str()), (LAN, "wan0"));
        assert_eq!(flow.forward.received.source.ip(), family.client);
        assert_eq!(flow.forward.sent.destination, server);
        assert_eq!(flow.reverse.sent.destination, flow.forward.received.source);
        assert_eq!(nginx.clients(), [flow.forward.sent.source], "as nginx logged it");
    }
}

fn dig_and_datagrams_reach_the_internet_as_the_elastic_ip_address(datapath: Datapath) {
    let office = Office::open("nat-dig", datapath);
    for family in Family::BOTH {
        let names = NameServer::start(&office.internet, family.server_at(53));
        let server = format!("@{}", family.server);
        for transport in ["+notcp", "+tcp"] {
            let ask = ["dig", "+short", "+tries=1", "+time=5", transport, &server];
            let output = office.client.run(ask.iter().chain(&["host.example", "A"])).unwrap();
            assert_eq!(output.stdout, "192.0.2.53\n", "{transport}");
        }
        let askers: Vec<_> = names.askers().iter().map(SocketAddr::ip).collect();
        assert_eq!(askers, [family.public; 2]);

        let echo = Echo::start(&office.internet, family.server_at(7)).unwrap();
        let socket = datagram_socket(&office.client, family.client_at(40_000), family.server_at(7));
        let seen = seen_by(&socket, "first").unwrap();
        assert_eq!(seen.ip(), family.public);
        assert_eq!(seen_by(&socket, &"long ".repeat(200)).unwrap(), seen, "the same flow");
        assert_eq!(echo.peers(), [seen; 2]);
    }
}

fn ping_is_translated_and_answered_by_the_gateway_too(datapath: Datapath) {
    let office = Office::open("nat-ping", datapath);
    for family in Family::BOTH {
        for target in [family.server, family.lan_router] {
            let ping = ["ping", "-c3", "-i0.1", "-W5", &target.to_string()];
            let output = office.client.run(ping).unwrap();
            assert!(output.stdout.contains("3 received, 0% packet loss"), "{output:?}");
        }
        let flows = office.gateway.flows();
        let flow =
            flows.iter().find(|it| it.forward.received.destination.ip() == family.server).unwrap();
        assert_eq!(flow.protocol, if family.client.is_ipv4() { "icmp" } else { "icmpv6" });
        assert_eq!(flow.forward.sent.source.ip(), family.public);
        assert_eq!((flow.forward.packets, flow.reverse.packets), (3, 3));
        // From outside the gateway's own address answers; the Elastic IP address is nobody's to
        // ping, for only flows from inside use it.
        let ping = ["ping", "-c1", "-W5", &family.uplink.to_string()];
        office.internet.run(ping).unwrap();
        let ping = ["ping", "-c1", "-W1", &family.public.to_string()];
        assert!(office.internet.run(ping).is_err());
    }
}

fn traceroute_shows_the_gateway_and_the_routers_behind_it(datapath: Datapath) {
    let office = Office::open("nat-trace", datapath);
    let _far = office.far_side(1500);
    for family in Family::BOTH {
        for probes in ["--udp", "--icmp"] {
            let target = family.far_server.to_string();
            let trace = ["traceroute", "-n", "-q1", "-N1", "-w5", "-m5", probes, &target];
            let output = office.client.run(trace).unwrap();
            let hops: Vec<_> = output
                .stdout
                .lines()
                .skip(1)
                .filter_map(|line| line.split_whitespace().nth(1))
                .collect();
            let expected = [family.lan_router, family.router, family.far_server];
            assert_eq!(hops, expected.map(|hop| hop.to_string()), "{probes}: {}", output.stdout);
        }
    }
}

fn one_port_serves_every_destination_at_the_same_time(datapath: Datapath) {
    let mut office = Office::lay_out("nat-reuse", datapath);
    office.gateway.start(&Office::resources("port_range = [20000, 20000]", ""));
    for family in Family::BOTH {
        let servers = [family.server_at(7), family.other_server_at(7), family.server_at(8)];
        let echoes = servers.map(|server| Echo::start(&office.internet, server).unwrap());
        let sockets = servers.map(|server| {
            let local = family.client_at(30_000 + server.port());
            let local = if server.ip() == family.server { local } else { family.client_at(31_000) };
            datagram_socket(&office.client, local, server)
        });
        let mut streams = servers.map(|server| converse(&office.client, server).unwrap());
        for (socket, stream) in sockets.iter().zip(&mut streams) {
            assert_eq!(seen_by(socket, "udp").unwrap().to_string(), at_20000(&family));
            assert_eq!(stream.seen_as.to_string(), at_20000(&family));
        }
        // All of them at the same time, and each hears its own.
        for (number, (socket, stream)) in sockets.iter().zip(&mut streams).enumerate() {
            seen_by(socket, &format!("datagram {number}")).unwrap();
            stream.echo(&format!("stream {number}")).unwrap();
        }
        drop(echoes);
    }
}

fn at_20000(family: &Family) -> String {
    SocketAddr::new(family.public, 20_000).to_string()
}

fn ports_that_run_out_toward_one_destination_are_counted_and_others_go_on(datapath: Datapath) {
    let mut office = Office::lay_out("nat-ports", datapath);
    office.gateway.start(&Office::resources("port_range = [20000, 20003]", ""));
    for (round, family) in Family::BOTH.iter().enumerate() {
        let (full, other) = (family.server_at(7), family.other_server_at(7));
        let _echoes = [full, other].map(|server| Echo::start(&office.internet, server).unwrap());
        let sockets: Vec<_> = (0..5)
            .map(|n| datagram_socket(&office.client, family.client_at(40_000 + n), full))
            .collect();
        let ports: BTreeSet<_> =
            sockets[..4].iter().map(|socket| seen_by(socket, "?").unwrap().port()).collect();
        assert_eq!(ports, (20_000..=20_003).collect());

        // ICMP tells: "communication administratively prohibited", and what Linux makes of it.
        let refused = if full.is_ipv4() { libc::EHOSTUNREACH } else { libc::EACCES };
        assert_eq!(seen_by(&sockets[4], "?").unwrap_err().raw_os_error(), Some(refused));
        let refused = 1 + round as u64;
        let of_gateway = [("nat_gateway_id", "nat-office")];
        let errors = "halfspace_nat_gateway_port_allocation_errors_total";
        assert_eq!(office.gateway.count(errors, &of_gateway), refused);
        assert_eq!(office.gateway.engine_drops("port_allocation"), refused);

        // The four go on, and so does the same client toward another destination.
        for socket in &sockets[..4] {
            seen_by(socket, "again").unwrap();
        }
        let socket = datagram_socket(&office.client, family.client_at(40_005), other);
        assert_eq!(seen_by(&socket, "?").unwrap().ip(), family.public);
    }
}

fn idle_flows_expire_and_late_tcp_draws_a_reset(datapath: Datapath) {
    let mut office = Office::lay_out("nat-idle", datapath);
    let idle = "tcp_idle_timeout_seconds = 2\nudp_idle_timeout_seconds = 2\n\
                udp_stream_timeout_seconds = 2";
    office.gateway.start(&Office::resources(idle, ""));
    let echoes = Family::BOTH.map(|it| Echo::start(&office.internet, it.server_at(7)).unwrap());
    let mut streams =
        Family::BOTH.map(|family| converse(&office.client, family.server_at(7)).unwrap());
    let datagrams = |port| {
        Family::BOTH.map(|family| {
            datagram_socket(&office.client, family.client_at(port), family.server_at(7))
        })
    };
    let (silent, busy) = (datagrams(40_000), datagrams(40_001));
    let first_seen = [&silent, &busy]
        .map(|sockets| sockets.each_ref().map(|socket| seen_by(socket, "first").unwrap()));
    for stream in &mut streams {
        stream.echo("first").unwrap();
    }
    let is_busy = |flow: &Flow| flow.forward.received.source.port() == 40_001;
    eventually("all but the busy flows to expire", || {
        for (socket, seen) in busy.iter().zip(first_seen[1]) {
            assert_eq!(seen_by(socket, "still here").unwrap(), seen, "the flow goes on");
        }
        office.gateway.flows().iter().all(is_busy)
    });
    let idle_ended = [("how", "idle")];
    assert_eq!(office.gateway.count("halfspace_flows_ended_total", &idle_ended), 4);
    assert_eq!(office.gateway.count("halfspace_nat_gateway_idle_timeouts_total", &[]), 4);

    for stream in &mut streams {
        let error = stream.echo("too late").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    assert_eq!(office.gateway.engine_drops("no_flow"), 2);
    for (socket, before) in silent.iter().zip(first_seen[0]) {
        let seen = seen_by(socket, "anew").unwrap();
        assert_ne!(seen, before, "the released port rests");
    }
    // Left alone, everything ends and everything is given back.
    eventually("all flows to expire", || office.gateway.flows().is_empty());
    assert_eq!(office.gateway.count("halfspace_nat_gateway_leased_ports", &[]), 0);
    assert_eq!(office.gateway.count("halfspace_nat_gateway_quarantined_ports", &[]), 8);
    office.gateway.assert_packets_add_up();
    drop(echoes);
}

fn both_ends_of_an_idle_connection_are_reset(datapath: Datapath) {
    let mut office = Office::lay_out("nat-both", datapath);
    let keys = "tcp_idle_timeout_seconds = 2\nreset_both = true";
    office.gateway.start(&Office::resources(keys, ""));
    for family in Family::BOTH {
        let server = family.server_at(7);
        let listener = office.internet.enter(|| TcpListener::bind(server).unwrap()).unwrap();
        let mut inside = office.client.enter(|| TcpStream::connect(server).unwrap()).unwrap();
        let (mut outside, _) = listener.accept().unwrap();
        inside.write_all(b"hello").unwrap();
        let mut heard = [0; 5];
        outside.read_exact(&mut heard).unwrap();
        // Nobody sends any more, and both hear of the end.
        for end in [&mut inside, &mut outside] {
            end.set_read_timeout(Some(SOON)).unwrap();
            let error = end.read(&mut heard).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
    }
    office.gateway.assert_packets_add_up();
}

fn the_holders_of_ports_are_told(datapath: Datapath) {
    let mut office = Office::lay_out("nat-top", datapath);
    office.gateway.start(&Office::resources("port_range = [20000, 20003]", ""));
    let family = Family::V4;
    let full = family.server_at(7);
    let _echo = Echo::start(&office.internet, full).unwrap();
    let sockets: Vec<_> = (0..5)
        .map(|n| datagram_socket(&office.client, family.client_at(40_000 + n), full))
        .collect();
    for socket in &sockets[..4] {
        seen_by(socket, "?").unwrap();
    }
    seen_by(&sockets[4], "?").unwrap_err();
    let top: Value = office.gateway.json(&["nat", "top"]);
    let gateway = &top["nat_gateways"][0];
    let client = json!({ "port": LAN, "address": family.client, "ports": 4 });
    assert_eq!(gateway["clients"], json!([client]));
    let destination = &gateway["destinations"][0];
    assert_eq!((&destination["destination"], &destination["ports"]), (&json!(full), &json!(4)));
    let refused = json!([{ "protocol": "udp", "destination": full, "flows_total": 1 }]);
    assert_eq!(gateway["refused"], refused);
    let table = office.gateway.run(["nat", "top"]);
    assert!(table.status.success() && table.stdout.contains("REFUSED FLOWS"), "{table:?}");
    let full = full.to_string();
    let labels = [("nat_gateway_id", "nat-office"), ("destination", &*full)];
    assert_eq!(office.gateway.count("halfspace_nat_gateway_destination_ports", &labels), 4);
    assert_eq!(office.gateway.count("halfspace_nat_gateway_refused_flows_total", &labels), 1);
    let client = family.client.to_string();
    let labels = [("client", &*client), ("port", LAN)];
    assert_eq!(office.gateway.count("halfspace_nat_gateway_client_ports", &labels), 4);
}

/// What looks like noise: a multiplicative generator's bytes, so that a segment out of its place
/// would show.
fn noise(length: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn a_large_download_arrives_whole_and_never_comes_to_user_space(datapath: Datapath) {
    let office = Office::open("nat-bulk", datapath);
    let content = noise(50_000_000);
    let file = office.bed.dir().join("download");
    for family in Family::BOTH {
        let server = family.server_at(80);
        let nginx = Nginx::start(&office.internet, &[server], "").unwrap();
        nginx.publish("noise", &content).unwrap();
        let before = Handled::by(&office.gateway);
        let output = curl(
            &office.client,
            &["--fail", "--output", file.to_str().unwrap(), &url(server, "/files/noise")],
        );
        let after = Handled::by(&office.gateway);
        assert!(output.status.success(), "{output:?}");
        let arrived = fs::read(&file).unwrap();
        assert_eq!(arrived.len(), content.len());
        assert!(arrived == content, "the content differs");

        // A super-packet has 64 KiB at most, and is counted as one by the data path.
        let forwarded = after.forwarded - before.forwarded;
        assert!(forwarded >= content.len() as u64 / 65_536, "{forwarded} packets");
        // The SYN, and ARP or NDP on both links; TCP's flags come as events, not as packets.
        let punted = after.punted - before.punted;
        assert!(punted <= 16, "{punted} packets came to user space, {forwarded} did not");
        let flow = office.gateway.flows();
        let flow = flow.iter().find(|it| it.forward.received.destination == server).unwrap();
        assert!(flow.reverse.bytes > content.len() as u64, "{flow:?}");
    }
}

fn iperf3_runs_both_ways_over_tcp_and_udp(datapath: Datapath) {
    let office = Office::open("nat-iperf3", datapath);
    for family in Family::BOTH {
        let iperf3 = Iperf3::start(&office.internet, family.server_at(5201)).unwrap();
        for options in [&[][..], &["-R"], &["-u", "-b20M"], &["-u", "-b20M", "-R"]] {
            let overflown =
                || overflown_datagrams(&office.client) + overflown_datagrams(&office.internet);
            let before = overflown();
            let sum = iperf3_moves(&office.client, &iperf3, family.server, options);
            // What the kernel forwards is lost nowhere but in a receiver that is not scheduled.
            if let (Datapath::Ebpf, Some(lost)) = (datapath, sum["lost_packets"].as_u64()) {
                let late = overflown() - before;
                assert!(lost <= late, "{options:?}: {late} overflows: {sum}");
            }
        }
    }
}

/// Datagrams that found their socket's buffer full, in a namespace.
fn overflown_datagrams(namespace: &Namespace) -> u64 {
    let read = |file| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
    let (v4, v6) = namespace.enter(|| (read("snmp"), read("snmp6"))).unwrap();
    // Two lines of UDP: names, then numbers.
    let mut lines = v4.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let names = lines.next().unwrap().split(' ');
    let mut columns = names.zip(lines.next().unwrap().split(' '));
    let v4 = columns.find(|(name, _)| *name == "RcvbufErrors").unwrap().1;
    let v6 = v6.lines().find_map(|line| line.strip_prefix("Udp6RcvbufErrors")).unwrap();
    v4.parse::<u64>().unwrap() + v6.trim().parse::<u64>().unwrap()
}

/// Counters of the fast path.
struct Handled {
    forwarded: u64,
    punted: u64,
}

impl Handled {
    fn by(gateway: &Gateway) -> Self {
        let count =
            |verdict| gateway.count("halfspace_fastpath_packets_total", &[("verdict", verdict)]);
        Self { forwarded: count("forwarded"), punted: count("punted") }
    }
}

fn a_datagram_to_a_closed_port_is_refused(datapath: Datapath) {
    let office = Office::open("nat-refused", datapath);
    for family in Family::BOTH {
        let socket = datagram_socket(&office.client, family.client_at(40_000), family.server_at(9));
        let error = seen_by(&socket, "anybody?").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
    }
    assert_eq!(office.gateway.flows().len(), 2);
}

fn senders_learn_the_mtu_of_the_path(datapath: Datapath) {
    let mut office = Office::lay_out("nat-mtu", datapath);
    let far = office.far_side(1300);
    office.gateway.namespace.ip(["link set wan0 mtu 1400"]).unwrap();
    office.internet.ip(["link set eth0 mtu 1400"]).unwrap();
    office.gateway.start(&Office::resources("", ""));
    for family in Family::BOTH {
        // TCP first, which has to find out by itself: its super-packets must become segments that
        // fit the gateway's own link, then a router's that knows only the gateway.
        let far_server = SocketAddr::new(family.far_server, 7);
        let _echo = Echo::start(&far, far_server).unwrap();
        converse(&office.client, far_server).unwrap().echo(&"much ".repeat(20_000)).unwrap();
        for (target, mtu) in [(family.server, 1400), (family.far_server, 1300)] {
            let target = target.to_string();
            let ping = ["ping", "-c2", "-i0.2", "-W5", "-Mdo", "-s1440", &target];
            let output = office.client.output(Duration::from_secs(20), ping).unwrap();
            assert!(!output.status.success(), "{output:?}");
            let route = office.client.run(["ip", "route", "get", &target]).unwrap().stdout;
            assert!(route.contains(&format!("mtu {mtu} ")), "{target}: {route}\n{output:?}");
        }
    }
    assert!(office.gateway.engine_drops("too_big") >= 2);
}

fn a_router_that_changes_its_mac_address_is_followed(datapath: Datapath) {
    let office = Office::open("nat-mac", datapath);
    let echoes = Family::BOTH.map(|it| Echo::start(&office.internet, it.server_at(7)).unwrap());
    let mut streams = Family::BOTH.map(|it| converse(&office.client, it.server_at(7)).unwrap());
    // It tells of the change by itself, as the other router of a pair does that takes over.
    office
        .internet
        .sysctl([("net.ipv4.conf.eth0.arp_notify", "1"), ("net.ipv6.conf.eth0.ndisc_notify", "1")])
        .unwrap();
    office.internet.ip(["link set eth0 address 02:00:00:00:77:77"]).unwrap();
    for (family, stream) in Family::BOTH.iter().zip(&mut streams) {
        stream.echo("to the new address").unwrap();
        assert_eq!(
            converse(&office.client, family.server_at(7)).unwrap().seen_as.ip(),
            family.public
        );
    }
    drop(echoes);
}

fn a_host_that_is_not_there_is_counted_and_found_when_it_comes(datapath: Datapath) {
    let office = Office::open("nat-absent", datapath);
    let absent: [IpAddr; 2] = ["203.0.113.77", "2001:db8:1::77"].map(|it| it.parse().unwrap());
    let sockets: Vec<_> = Family::BOTH
        .iter()
        .zip(absent)
        .map(|(family, host)| {
            let server = SocketAddr::new(host, 7);
            datagram_socket(&office.client, family.client_at(40_000), server)
        })
        .collect();
    for socket in &sockets {
        socket.send(b"anybody?").unwrap();
    }
    eventually("both to wait", || {
        office.gateway.count("halfspace_engine_waiting_packets", &[]) == 2
    });
    eventually("the gateway to give up", || {
        office.gateway.engine_drops("neighbour_unreachable") == 2
    });
    office.gateway.assert_packets_add_up();

    office
        .internet
        .ip([
            "address add 203.0.113.77/24 dev eth0",
            "address add 2001:db8:1::77/64 dev eth0 nodad",
        ])
        .unwrap();
    for (socket, host) in sockets.iter().zip(absent) {
        let _echo = Echo::start(&office.internet, SocketAddr::new(host, 7)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        eventually("the host to be found", || seen_by(socket, "now?").is_ok());
    }
}
