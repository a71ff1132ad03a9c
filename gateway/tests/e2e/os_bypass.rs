//! OS-bypass: an application that takes the frames of its ENI from an AF_XDP socket, past the
//! kernel of its instance. What is laid out and run here is the worked example of
//! docs/os-bypass.md, on the resources of configs/os-bypass; [`assert_documented`] sees to it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use af_xdp_echo::answer::{Host, Refusal, Request};
use af_xdp_echo::interface::Interface;
use af_xdp_echo::socket::{Fate, Socket};
use af_xdp_echo::steering::{Others, Steering};
use af_xdp_echo::summary::Summary;
use af_xdp_echo::{Arguments, Error};
use clap::Parser as _;
use halfspace_testbed::{Namespace, Requirement, Testbed, ready};
use nf_core::packet::{Frame, Headers};

use crate::harness::{Datapath, Gateway, SOON, any_port, datagram_socket};

on_each_datapath!(
    an_application_past_the_kernel_echoes,
    what_an_application_sends_as_somebody_else_is_dropped,
);

const PAGE: &str = include_str!("../../../docs/os-bypass.md");
const RESOURCES: &str = include_str!("../../../configs/os-bypass/resources.toml");

/// How the sample is started.
const ECHO: &str =
    "target/release/af-xdp-echo --interface eth1 --address 10.0.1.21,fd00:10:0:1::21";

/// The application's port for datagrams: any would do.
const PORT: u16 = 7;

/// The client's address, the application's, the longest payload of a datagram that fits a frame.
fn families() -> [(IpAddr, IpAddr, usize); 2] {
    let ip = |text: &str| text.parse().unwrap();
    [(ip("10.0.1.30"), ip("10.0.1.21"), 1472), (ip("fd00:10:0:1::30"), ip("fd00:10:0:1::21"), 1452)]
}

/// Checks that the page's example has a line that is run here.
#[track_caller]
fn assert_documented(line: &str) {
    assert!(PAGE.lines().any(|it| it.trim() == line), "docs/os-bypass.md has no line `{line}`");
}

/// A client, and an instance with two interfaces.
struct Cluster {
    // Dropped first: what it logged is in the testbed's directory.
    gateway: Gateway,
    client: Namespace,
    app: Namespace,
    _bed: Testbed,
}

impl Cluster {
    /// Lays it out as the page does; the gateway does not run yet.
    fn lay_out(name: &str, datapath: Datapath) -> Self {
        let bed = Testbed::new(name).unwrap();
        let gateway = Gateway::prepare(&bed, datapath);
        let [client, app] = ["client", "app"].map(|name| {
            assert_documented(&format!("ip netns add {name}"));
            bed.namespace(name).unwrap()
        });
        let links = [
            ("client0", "eth0", "client", &client),
            ("app0", "eth0", "app", &app),
            ("app1", "eth1", "app", &app),
        ];
        for (port, link, name, namespace) in links {
            assert_documented(&format!(
                "ip link add {port} type veth peer name {link} netns {name}"
            ));
            bed.veth((&gateway.namespace, port), (namespace, link)).unwrap();
        }
        let configured = [
            ("client", &client, "address add 10.0.1.30/24 dev eth0"),
            ("client", &client, "address add fd00:10:0:1::30/64 dev eth0 nodad"),
            ("app", &app, "address add 10.0.1.20/24 dev eth0"),
            ("app", &app, "address add fd00:10:0:1::20/64 dev eth0 nodad"),
        ];
        for (name, namespace, line) in configured {
            assert_documented(&format!("ip -n {name} {line}"));
            namespace.ip([line]).unwrap();
        }
        Self { gateway, client, app, _bed: bed }
    }

    /// Runs a command of the page's at the client, which must succeed; what it prints.
    #[track_caller]
    fn at_client(&self, command: &str) -> String {
        assert_documented(&format!("ip netns exec client {command}"));
        self.client.run(["sh", "-c", command]).unwrap().stdout
    }

    /// Runs the sample while `work` goes on; what it sums up.
    #[track_caller]
    fn while_echoing(&self, work: impl FnOnce()) -> Summary {
        assert_documented(&format!("ip netns exec app {ECHO}"));
        let arguments = Arguments::try_parse_from(ECHO.split(' ')).unwrap();
        let echo = |ready: mpsc::Sender<()>, stop: &AtomicBool| {
            let announce = move |_: &str| ready.send(()).unwrap();
            af_xdp_echo::run(&arguments, announce, || stop.load(Ordering::Relaxed))
        };
        beside(&self.app, echo, work)
    }
}

/// Runs an application in a namespace while `work` goes on: from when it says that it is ready until
/// it is told to stop.
#[track_caller]
fn beside<T: Send>(
    namespace: &Namespace,
    application: impl FnOnce(mpsc::Sender<()>, &AtomicBool) -> Result<T, Error> + Send,
    work: impl FnOnce(),
) -> T {
    /// Also when `work` panics: the scope waits for the application's thread.
    struct Stop<'a>(&'a AtomicBool);

    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (ready, is_ready) = mpsc::channel();
        let running = &stop;
        let thread = scope.spawn(move || namespace.enter(move || application(ready, running)));
        let end = Stop(&stop);
        if is_ready.recv_timeout(SOON).is_ok() {
            work();
        }
        drop(end);
        thread.join().unwrap().unwrap().unwrap()
    })
}

/// Sends datagrams of many lengths one by one, the shortest and the longest among them, each of
/// which must come back as it was; how many there were.
fn converse(client: &Namespace, local: SocketAddr, server: SocketAddr, longest: usize) -> u64 {
    let socket = datagram_socket(client, local, server);
    let mut buffer = vec![0; 2048];
    let mut sent = 0;
    for length in (0..longest).step_by(29).chain([longest]) {
        let payload: Vec<_> = (0..length).map(|at| (at * 31 + length) as u8).collect();
        socket.send(&payload).unwrap();
        let received = socket.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..received], payload, "{length} bytes from {server}");
        sent += 1;
    }
    sent
}

/// Checks that the sample answered these, and nothing got lost.
#[track_caller]
fn assert_all_was_answered(summary: &Summary, echoes: u64, datagrams: u64) {
    assert_eq!(summary.answered[&Request::IcmpEcho], echoes, "{summary:?}");
    assert_eq!(summary.answered[&Request::Udp], datagrams, "{summary:?}");
    assert!(summary.answered[&Request::Arp] > 0, "{summary:?}");
    assert!(summary.answered[&Request::NeighbourSolicitation] > 0, "{summary:?}");
    assert!(Refusal::ALL.iter().all(|it| summary.refused[it] == 0), "{summary:?}");
    let answers = summary.answered.values().sum::<u64>();
    let counts = [summary.steered_packets, summary.received_packets, summary.sent_packets];
    assert_eq!(counts, [answers; 3], "{summary:?}");
    assert_eq!((summary.lost_packets, summary.other_queue_packets), (0, 0), "{summary:?}");
}

fn an_application_past_the_kernel_echoes(datapath: Datapath) {
    if !ready(&[Requirement::Program("python3")]) {
        return;
    }
    let mut cluster = Cluster::lay_out("bypass", datapath);
    cluster.gateway.start(RESOURCES);
    let mut datagrams = 0;
    let summary = cluster.while_echoing(|| {
        for target in ["10.0.1.21", "fd00:10:0:1::21"] {
            let said = cluster.at_client(&format!("ping -c 5 -i 0.2 {target}"));
            assert!(said.contains(" 5 received"), "{said}");
        }
        let said = cluster.at_client(
            r#"python3 -c 'from socket import *; s = socket(AF_INET, SOCK_DGRAM); s.settimeout(2); s.sendto(b"hello", ("10.0.1.21", 7)); print(s.recv(100))'"#,
        );
        assert_eq!(said, "b'hello'\n");
        datagrams += 1;
        for (client, application, longest) in families() {
            let (local, server) =
                (SocketAddr::new(client, 40_000), SocketAddr::new(application, PORT));
            let count = converse(&cluster.client, local, server, longest);
            let flows = cluster.gateway.flows();
            let flow = flows.iter().find(|flow| flow.is_from(local)).unwrap();
            assert_eq!((flow.forward.packets, flow.reverse.packets), (count, count), "{flow:?}");
            assert_eq!(flow.forward.bytes, flow.reverse.bytes, "{flow:?}");
            datagrams += count;
        }
        // The instance's first interface is its kernel's, as ever.
        let said = cluster.at_client("ping -c 5 -i 0.2 10.0.1.20");
        assert!(said.contains(" 5 received"), "{said}");
    });
    assert_all_was_answered(&summary, 10, datagrams);
    cluster.gateway.assert_packets_add_up();
}

/// The source check is on the gateway's side of the port, where no application gets past it.
fn what_an_application_sends_as_somebody_else_is_dropped(datapath: Datapath) {
    const FORGED: u64 = 5;

    let mut cluster = Cluster::lay_out("bypass-forged", datapath);
    cluster.gateway.start(RESOURCES);
    let (own, neighbour) = (Ipv4Addr::new(10, 0, 1, 21), Ipv4Addr::new(10, 0, 1, 20));
    // Answers datagrams that ask for it from an address of another interface.
    let forger = |ready: mpsc::Sender<()>, stop: &AtomicBool| -> Result<(), Error> {
        let interface = Interface::find("eth1")?;
        let host = Host { mac: interface.mac, ipv4: Some(own), ipv6: None };
        let mut socket = Socket::open(&interface, 0, 64, None)?;
        let _steering = Steering::attach(&interface, &host, 0, &socket, Others::Drop)?;
        ready.send(()).unwrap();
        let answer = |frame: &mut [u8]| {
            let Ok(answer) = host.answer(frame) else { return Fate::Drop };
            if !frame.ends_with(b"forge") {
                return answer.frame.map_or(Fate::Send, Fate::Replace);
            }
            let headers = Headers::parse(frame).unwrap();
            let to = headers.ip().unwrap().tuple().unwrap().dst;
            let forged = Frame::udp((neighbour, PORT), to).macs(host.mac, headers.dst_mac);
            Fate::Replace(forged.payload(*b"forged").build())
        };
        while !stop.load(Ordering::Relaxed) {
            socket.wait()?;
            socket.exchange(answer)?;
        }
        Ok(())
    };
    beside(&cluster.app, forger, || {
        // Not connected: it would take an answer from anybody.
        let local = any_port(families()[0].0);
        let open = || std::net::UdpSocket::bind(local).unwrap();
        let socket = cluster.client.enter(open).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        for _ in 0..FORGED {
            socket.send_to(b"forge", (own, PORT)).unwrap();
        }
        socket.send_to(b"honest", (own, PORT)).unwrap();
        let mut buffer = [0; 16];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from), (&b"honest"[..], SocketAddr::from((own, PORT))));
    });
    assert_eq!(cluster.gateway.engine_drops("source_check"), FORGED);
    cluster.gateway.assert_packets_add_up();
}

/// A veth takes frames that XDP redirects if its other end has GRO on or runs XDP itself: that the
/// sample does.
#[test]
fn an_application_echoes_where_the_gateway_runs_xdp() {
    if !Datapath::Ebpf.is_available() {
        return;
    }
    let mut cluster = Cluster::lay_out("bypass-xdp", Datapath::Ebpf);
    cluster.client.offload("eth0", [("tx", false), ("gro", true)]).unwrap();
    cluster.gateway.configure("hook = \"xdp\"");
    cluster.gateway.start(RESOURCES);
    for port in cluster.gateway.status()["ports"].as_array().unwrap() {
        assert_eq!(port["hook"], "xdp", "{port}");
    }
    let mut datagrams = 0;
    let summary = cluster.while_echoing(|| {
        for (client, application, longest) in families() {
            let said = cluster.at_client(&format!("ping -c 5 -i 0.2 {application}"));
            assert!(said.contains(" 5 received"), "{said}");
            let server = SocketAddr::new(application, PORT);
            datagrams += converse(&cluster.client, any_port(client), server, longest);
        }
    });
    assert_all_was_answered(&summary, 10, datagrams);
    let labels = [("verdict", "forwarded")];
    let forwarded = cluster.gateway.count("halfspace_fastpath_packets_total", &labels);
    assert!(forwarded >= 2 * datagrams - 4, "both ways in the kernel: {forwarded}");
}
