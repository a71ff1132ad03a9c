//! The process ends, by its own will or not, and comes back: on the kernel's data path nobody
//! notices who has a connection.

use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

use halfspace_testbed::programs::{Echo, Iperf3, Nginx};
use serde_json::Value;

use crate::harness::tenants::{Inside, Tenants};
use crate::harness::{Datapath, Family, Gateway, Office, converse, datagram_socket, seen_by, url};

/// How long iperf3 sends, in seconds.
const RUN: u64 = 6;

#[test]
fn established_flows_survive_a_kill() {
    if Datapath::Ebpf.is_available() {
        survive("restart-kill", Gateway::kill);
    }
}

#[test]
fn established_flows_survive_a_clean_stop() {
    if Datapath::Ebpf.is_available() {
        survive("restart-stop", Gateway::stop);
    }
}

/// An iperf3 run over IPv4 and a slow download over IPv6, with the process gone for a second in the
/// middle of both.
fn survive(name: &str, end: fn(&mut Gateway)) {
    let mut office = Office::open(name, Datapath::Ebpf);
    let (v4, v6) = (Family::V4, Family::V6);
    let _iperf3 = Iperf3::start(&office.internet, v4.server_at(5201)).unwrap();
    let _web = Nginx::start(&office.internet, &[v6.server_at(80)], "").unwrap();
    let _echo = Echo::start(&office.internet, v4.server_at(7)).unwrap();
    let socket = datagram_socket(&office.client, v4.client_at(40_000), v4.server_at(7));
    let seen = seen_by(&socket, "before").unwrap();

    let (server, seconds) = (v4.server.to_string(), RUN.to_string());
    let sending = ["iperf3", "--json", "-i1", "-t", &seconds, "-c", &server];
    let mut sending = office.client.spawn(sending).unwrap();
    // 4 MiB in five seconds.
    let blob = url(v6.server_at(80), "/blob?rate=800k");
    let mut slow = office.client.spawn(["curl", "-sSg", "--max-time", "30", &blob]).unwrap();
    thread::sleep(Duration::from_millis(1500));
    let before = office.gateway.flows();

    end(&mut office.gateway);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(seen_by(&socket, "while it is gone").unwrap(), seen);
    office.gateway.start_again();

    let after = office.gateway.flows();
    let tuples = |flows: &[crate::harness::Flow]| {
        let mut tuples: Vec<_> =
            flows.iter().map(|it| (it.forward.received, it.forward.sent)).collect();
        tuples.sort();
        tuples
    };
    // iperf3 has one connection for control and one for data.
    assert!(before.len() >= 4, "{before:?}");
    assert_eq!(tuples(&after), tuples(&before), "listed as before");
    let recovered = office.gateway.count("halfspace_flows_recovered_total", &[]);
    assert_eq!(recovered, before.len() as u64);
    assert_eq!(seen_by(&socket, "after").unwrap(), seen);

    let output = sending.success(Duration::from_secs(RUN + 15)).unwrap();
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    let intervals = report["intervals"].as_array().unwrap();
    assert_eq!(intervals.len() as u64, RUN, "{report}");
    for interval in intervals {
        assert!(interval["sum"]["bytes"].as_u64().unwrap() > 0, "stalled: {interval}");
    }
    let output = slow.success(Duration::from_secs(30)).unwrap();
    assert_eq!(output.stdout.len(), 4 << 20);
    // And what is new is taken as ever.
    assert_eq!(converse(&office.client, v4.server_at(7)).unwrap().seen_as.ip(), v4.public);
}

#[test]
fn environments_are_attached_again_with_their_flows() {
    if !Datapath::Ebpf.is_available() {
        return;
    }
    let mut lab = Tenants::open("restart-env", Datapath::Ebpf, 2, 2);
    let mut streams = Vec::new();
    let mut servers = Vec::new();
    for inside in Inside::BOTH {
        servers.push(Echo::start(&lab.internet, inside.server_at(7)).unwrap());
        for tenant in &lab.all {
            servers.push(Echo::start(&tenant.service, inside.service_at(7)).unwrap());
            for environment in &tenant.environments {
                for server in [inside.service_at(7), inside.server_at(7)] {
                    streams.push(converse(environment, server).unwrap());
                }
            }
        }
    }
    let attached = lab.attached();
    lab.gateway.kill();
    for stream in &mut streams {
        stream.echo("while it is gone").unwrap();
    }
    lab.gateway.start_again();
    assert_eq!(lab.attached(), attached);
    assert_eq!(lab.gateway.flows().len(), streams.len());
    for stream in &mut streams {
        stream.echo("after").unwrap();
    }
    // One that goes while the gateway is away is not attached again, nor are its flows.
    lab.gateway.kill();
    lab.gateway.namespace.ip(["link delete blue1"]).unwrap();
    lab.gateway.start_again();
    assert_eq!(lab.attached(), ["blue2", "green1", "green2"]);
    assert_eq!(lab.gateway.flows().len(), streams.len() * 3 / 4);
}

#[test]
fn what_the_document_has_come_to_forbid_is_not_taken_over() {
    if !Datapath::Ebpf.is_available() {
        return;
    }
    let mut office = Office::open("restart-policy", Datapath::Ebpf);
    let mut servers = Vec::new();
    let mut streams = Vec::new();
    for family in Family::BOTH {
        for (server, goes_on) in [(family.server_at(7), true), (family.other_server_at(7), false)] {
            servers.push(Echo::start(&office.internet, server).unwrap());
            streams.push((converse(&office.client, server).unwrap(), goes_on));
        }
    }
    office.gateway.kill();
    office.gateway.write_resources(&Office::without_the_other_server());
    office.gateway.start_again();
    assert_eq!(office.gateway.flows().len(), 2);
    for (stream, goes_on) in &mut streams {
        if *goes_on {
            stream.echo("after").unwrap();
        } else {
            stream.be_patient_for(Duration::from_millis(300));
            assert_eq!(stream.echo("?").unwrap_err().kind(), ErrorKind::WouldBlock);
        }
    }
}

#[test]
fn uninstalling_ends_what_a_stopped_gateway_left() {
    if !Datapath::Ebpf.is_available() {
        return;
    }
    let mut office = Office::open("restart-uninstall", Datapath::Ebpf);
    let echoes = Family::BOTH.map(|it| Echo::start(&office.internet, it.server_at(7)).unwrap());
    let mut streams = Family::BOTH.map(|it| converse(&office.client, it.server_at(7)).unwrap());
    let output = office.gateway.run(["uninstall"]);
    assert!(!output.status.success(), "it runs: {output:?}");
    office.gateway.stop();
    for stream in &mut streams {
        stream.echo("stopped").unwrap();
    }
    let output = office.gateway.run(["uninstall"]);
    assert!(output.status.success(), "{output:?}");
    for stream in &mut streams {
        stream.be_patient_for(Duration::from_millis(300));
        assert_eq!(stream.echo("uninstalled").unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    assert!(!office.gateway.pin_dir.exists());
    drop(echoes);
}

#[test]
fn a_table_full_of_flows_is_taken_over_even_into_one_of_another_size() {
    if !Datapath::Ebpf.is_available() {
        return;
    }
    let mut office = Office::open("restart-many", Datapath::Ebpf);
    let echoes = Family::BOTH.map(|it| Echo::start(&office.internet, it.server_at(7)).unwrap());
    let sockets: Vec<_> = Family::BOTH
        .iter()
        .flat_map(|family| (0..300).map(|n| (family.client_at(20_000 + n), family.server_at(7))))
        .map(|(local, server)| {
            let socket = datagram_socket(&office.client, local, server);
            let seen = seen_by(&socket, "first").unwrap();
            (socket, seen)
        })
        .collect();
    for (round, flows) in ["flows = 4096", "flows = 16384", "flows = 1024"].iter().enumerate() {
        office.gateway.kill();
        office.gateway.configure(flows);
        office.gateway.start_again();
        assert_eq!(office.gateway.flows().len(), sockets.len(), "{flows}");
        for (socket, seen) in &sockets {
            assert_eq!(seen_by(socket, &format!("round {round}")).unwrap(), *seen);
        }
        let punted = [("verdict", "punted"), ("reason", "miss")];
        let misses = office.gateway.count("halfspace_fastpath_packets_total", &punted);
        assert!(misses <= sockets.len() as u64, "none of them was set up anew: {misses}");
    }
    drop(echoes);
}

on_each_datapath!(a_second_instance_is_refused_and_the_first_goes_on,);

fn a_second_instance_is_refused_and_the_first_goes_on(datapath: Datapath) {
    let office = Office::open("restart-second", datapath);
    let _echo = Echo::start(&office.internet, Family::V4.server_at(7)).unwrap();
    let mut heard = converse(&office.client, Family::V4.server_at(7)).unwrap();
    let refused = |expected: &str| {
        let output = office.gateway.spawn().output(Duration::from_secs(15)).unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stderr.contains(expected), "{output:?}");
    };
    // The same files altogether: the socket of the API is the first thing they would share.
    refused("api.sock");
    if datapath == Datapath::Ebpf {
        // Another configuration, but the same maps.
        let apart = office.bed.dir().join("apart");
        let state = format!("--state-dir={}", apart.display());
        let output = office.gateway.run(["run", &state, "--metrics-listen=127.0.0.1:9465"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stderr.contains("is in use by process"), "{output:?}");
        assert!(output.stderr.contains("stop that one first"), "{output:?}");
    }
    heard.echo("undisturbed").unwrap();
    assert!(office.gateway.is_running());
    assert_eq!(office.gateway.page("/readyz").status, 200);
    converse(&office.client, Family::V4.server_at(7)).unwrap();
}
