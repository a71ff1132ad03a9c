//! The program on one end of a veth, a plain host on the other: ping, UDP sockets, and the ways in
//! which a run ends. The gateway's own tests have one between the two.

#![expect(clippy::unwrap_used, reason = "a test ends with the first thing that goes wrong")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use halfspace_testbed::programs::Echo;
use halfspace_testbed::{Namespace, Output, Process, Requirement, Testbed, ready, wait_until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_af-xdp-echo");

/// For what happens within a moment, on a machine that is busy.
const SOON: Duration = Duration::from_secs(10);

/// The addresses of one family.
struct Family {
    /// The plain host's.
    host: IpAddr,
    /// The instance's kernel's.
    kernel: IpAddr,
    /// The application's.
    application: IpAddr,
    /// The longest payload of a datagram in an Ethernet frame.
    longest: usize,
}

const V4: Family = Family {
    host: IpAddr::V4(Ipv4Addr::new(10, 0, 1, 30)),
    kernel: IpAddr::V4(Ipv4Addr::new(10, 0, 1, 20)),
    application: IpAddr::V4(Ipv4Addr::new(10, 0, 1, 21)),
    longest: 1472,
};

const V6: Family = Family {
    host: IpAddr::V6(Ipv6Addr::new(0xfd00, 0x10, 0, 1, 0, 0, 0, 0x30)),
    kernel: IpAddr::V6(Ipv6Addr::new(0xfd00, 0x10, 0, 1, 0, 0, 0, 0x20)),
    application: IpAddr::V6(Ipv6Addr::new(0xfd00, 0x10, 0, 1, 0, 0, 0, 0x21)),
    longest: 1452,
};

/// An instance, and a host at the other end of its link.
struct Lab {
    host: Namespace,
    instance: Namespace,
    _bed: Testbed,
}

impl Lab {
    /// Lays it out, unless this machine cannot.
    fn open(name: &str) -> Option<Self> {
        let programs = ["ethtool", "ip", "ping"].map(Requirement::Program);
        if !ready(&[&[Requirement::Root, Requirement::Bpf], &programs[..]].concat()) {
            return None;
        }
        let bed = Testbed::new(name).unwrap();
        let [host, instance] = ["host", "instance"].map(|name| bed.namespace(name).unwrap());
        // Two queues at the instance's end, of which the kernel uses one until told otherwise.
        let peer = instance.name();
        host.ip([
            format!("link add eth0 type veth peer name eth0 numrxqueues 2 netns {peer}"),
            "link set eth0 up".to_owned(),
        ])
        .unwrap();
        instance.ip(["link set eth0 up"]).unwrap();
        for (namespace, addresses) in
            [(&host, [V4.host, V6.host]), (&instance, [V4.kernel, V6.kernel])]
        {
            let [ipv4, ipv6] = addresses;
            namespace
                .ip([
                    format!("address add {ipv4}/24 dev eth0"),
                    format!("address add {ipv6}/64 dev eth0 nodad"),
                ])
                .unwrap();
        }
        Some(Self { host, instance, _bed: bed })
    }

    /// Starts the program on both of the application's addresses and waits until it echoes.
    fn echo(&self, options: &[&str]) -> Process {
        let addresses = format!("{},{}", V4.application, V6.application);
        let basics = [PROGRAM, "--interface", "eth0", "--address", &addresses, "--json"];
        let mut echo = self.instance.spawn(basics.iter().chain(options)).unwrap();
        wait_until(SOON, "the program to echo", || {
            echo.stderr().contains("echoing for") || !echo.is_running()
        })
        .unwrap();
        assert!(echo.is_running(), "{:?}", echo.output(SOON));
        echo
    }

    /// Runs the program to its end.
    fn run(&self, options: &[&str]) -> Output {
        self.instance.output(SOON, [PROGRAM].iter().chain(options)).unwrap()
    }

    /// Whether an XDP program is on the instance's link.
    fn is_steered(&self) -> bool {
        let shown = self.instance.run(["ip", "link", "show", "dev", "eth0"]).unwrap().stdout;
        shown.contains("xdp")
    }

    /// How many of `count` pings to `address` are answered.
    fn pings(&self, address: IpAddr, count: u64) -> u64 {
        let (count, address) = (count.to_string(), address.to_string());
        let ping = ["ping", "-n", "-q", "-i0.01", "-W2", "-s1000", "-c", &count, &address];
        let said = self.host.output(SOON, ping).unwrap().stdout;
        let received = said.split_once(" received").unwrap().0.rsplit(' ').next().unwrap();
        received.parse().unwrap()
    }

    /// A UDP socket of the host, connected to a port of the application's.
    fn socket(&self, family: &Family) -> UdpSocket {
        let open = || {
            let socket = UdpSocket::bind(SocketAddr::new(family.host, 0)).unwrap();
            socket.connect(SocketAddr::new(family.application, 7)).unwrap();
            socket.set_read_timeout(Some(SOON)).unwrap();
            socket
        };
        self.host.enter(open).unwrap()
    }
}

/// Ends the program as an operator would; what it sums up.
fn end(echo: &mut Process) -> Value {
    let output = echo.stop(SOON).unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_str(&output.stdout).unwrap()
}

fn count(summary: &Value, what: &str, which: &str) -> u64 {
    summary[what][which].as_u64().unwrap()
}

fn total(summary: &Value, what: &str) -> u64 {
    summary[what].as_object().unwrap().values().map(|it| it.as_u64().unwrap()).sum()
}

/// Bytes that are others at each length and place.
fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + length * 7 + at / 256) as u8).collect()
}

/// Sends datagrams of many lengths one by one, the shortest and the longest among them, each of
/// which must come back as it was; how many there were.
fn converse(socket: &UdpSocket, family: &Family) -> u64 {
    let mut buffer = vec![0; 2048];
    let lengths = (0..family.longest).step_by(23).chain([1, family.longest]);
    let mut sent = 0;
    for length in lengths {
        let payload = payload(length);
        socket.send(&payload).unwrap();
        let received = socket.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..received], payload, "{length} bytes");
        sent += 1;
    }
    sent
}

#[test]
fn a_plain_host_gets_back_all_that_it_sends() {
    let Some(lab) = Lab::open("xsk-echo") else { return };
    // With the offload, the host's stack leaves the checksums of datagrams to the veth.
    for offload in [true, false] {
        lab.host.offload("eth0", [("tx", offload)]).unwrap();
        // Who has the addresses is asked anew.
        lab.host.ip(["neighbour flush dev eth0"]).unwrap();
        let mut echo = lab.echo(&[]);
        let mut datagrams = 0;
        for family in [&V4, &V6] {
            assert_eq!(lab.pings(family.application, 20), 20);
            datagrams += converse(&lab.socket(family), family);
        }
        let summary = end(&mut echo);
        assert_eq!(count(&summary, "answered", "icmp_echo"), 40, "{summary}");
        assert_eq!(count(&summary, "answered", "udp"), datagrams, "{summary}");
        assert!(count(&summary, "answered", "arp") > 0, "{summary}");
        assert!(count(&summary, "answered", "neighbour_solicitation") > 0, "{summary}");
        assert_eq!(total(&summary, "refused"), 0, "{summary}");
        let answers = total(&summary, "answered");
        for packets in ["steered_packets", "received_packets", "sent_packets"] {
            assert_eq!(summary[packets], answers, "{packets}: {summary}");
        }
        assert_eq!(summary["lost_packets"], 0, "{summary}");
        assert_eq!(summary["other_queue_packets"], 0, "{summary}");
        assert_eq!(summary["mode"], "copy", "a veth has no other");
    }
}

#[test]
fn the_kernel_keeps_its_own_addresses_unless_the_interface_is_the_applications_alone() {
    let Some(lab) = Lab::open("xsk-others") else { return };
    let services = [&V4, &V6].map(|it| SocketAddr::new(it.kernel, 7));
    let _kernel = services.map(|address| Echo::start(&lab.instance, address).unwrap());
    let connects = |address: SocketAddr| {
        let limit = Duration::from_secs(1);
        lab.host.enter(|| std::net::TcpStream::connect_timeout(&address, limit)).unwrap().is_ok()
    };

    let mut echo = lab.echo(&["--others", "pass"]);
    for family in [&V4, &V6] {
        assert_eq!(lab.pings(family.kernel, 5), 5);
        assert!(connects(SocketAddr::new(family.kernel, 7)));
        // Only the application has this one, and it does not speak TCP.
        assert!(!connects(SocketAddr::new(family.application, 7)));
        assert_eq!(lab.pings(family.application, 5), 5);
    }
    let summary = end(&mut echo);
    assert_eq!(summary["others"], "pass");
    assert!(summary["others_packets"].as_u64().unwrap() >= 10, "{summary}");
    let refused = count(&summary, "refused", "not_served");
    assert!(refused >= 2, "{summary}");
    assert_eq!(total(&summary, "refused"), refused, "{summary}");

    let mut echo = lab.echo(&["--others", "drop"]);
    for family in [&V4, &V6] {
        assert!(!connects(SocketAddr::new(family.kernel, 7)));
        assert_eq!(lab.pings(family.application, 5), 5);
    }
    let summary = end(&mut echo);
    assert_eq!(summary["others"], "drop");
    assert!(summary["others_packets"].as_u64().unwrap() >= 2, "{summary}");
    assert!(connects(services[0]), "the interface is the kernel's again");
}

#[test]
fn what_finds_no_memory_is_counted() {
    const FRAMES: u64 = 64;
    const DATAGRAMS: u64 = 200;

    let Some(lab) = Lab::open("xsk-overrun") else { return };
    let mut echo = lab.echo(&["--frames", &FRAMES.to_string()]);
    assert_eq!(lab.pings(V4.application, 1), 1, "the host knows where to send");
    // While the program is stopped, nobody gives memory back.
    echo.signal(Signal::SIGSTOP);
    let stat = format!("/proc/{}/stat", echo.pid());
    let stopped = || std::fs::read_to_string(&stat).unwrap().contains(") T ");
    wait_until(SOON, "the program to be stopped", stopped).unwrap();
    let socket = lab.socket(&V4);
    for number in 0..DATAGRAMS {
        socket.send(&number.to_be_bytes()).unwrap();
    }
    echo.signal(Signal::SIGCONT);
    let mut buffer = [0; 8];
    for number in 0..FRAMES {
        assert_eq!(socket.recv(&mut buffer).unwrap(), 8);
        assert_eq!(u64::from_be_bytes(buffer), number, "in order, and the first ones");
    }
    assert_eq!(lab.pings(V4.application, 1), 1, "and it goes on");
    let summary = end(&mut echo);
    let number = |what: &str| summary[what].as_u64().unwrap();
    assert_eq!(number("lost_packets"), DATAGRAMS - FRAMES, "{summary}");
    assert_eq!(count(&summary, "answered", "udp"), FRAMES, "{summary}");
    let accounted = number("received_packets") + number("lost_packets");
    assert_eq!(number("steered_packets"), accounted, "{summary}");
    assert_eq!(number("sent_packets"), number("received_packets"), "{summary}");
}

#[test]
fn frames_of_another_queue_are_counted_and_not_left_to_the_kernel() {
    let Some(lab) = Lab::open("xsk-queue") else { return };
    lab.instance.run(["ethtool", "-L", "eth0", "rx", "2"]).unwrap();
    let mut echo = lab.echo(&["--queue", "1"]);
    // The host has one queue to send by, so its frames come by the first of the instance's.
    lab.host
        .ip([format!("neighbour replace {} lladdr 02:00:00:00:00:21 dev eth0", V4.application)])
        .unwrap();
    let socket = lab.socket(&V4);
    for _ in 0..3 {
        socket.send(b"?").unwrap();
    }
    assert_eq!(lab.pings(V4.kernel, 1), 1, "the kernel has the queue that it has none of");
    let summary = end(&mut echo);
    assert_eq!((&summary["queue"], &summary["other_queue_packets"]), (&json!(1), &json!(3)));
    assert_eq!(summary["received_packets"], 0, "{summary}");
}

#[test]
fn a_link_that_goes_down_and_up_is_echoed_on_again() {
    let Some(lab) = Lab::open("xsk-down") else { return };
    let mut echo = lab.echo(&[]);
    assert_eq!(lab.pings(V4.application, 1), 1);
    lab.instance.ip(["link set eth0 down", "link set eth0 up"]).unwrap();
    wait_until(SOON, "an echo", || lab.pings(V4.application, 1) == 1).unwrap();
    end(&mut echo);
}

#[test]
fn nothing_stays_behind_whatever_it_ends_by() {
    let Some(lab) = Lab::open("xsk-end") else { return };
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut echo = lab.echo(&[]);
        assert!(lab.is_steered());
        echo.signal(signal);
        let output = echo.output(SOON).unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let summary: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(summary["ended_by"], "signal");
        assert!(!lab.is_steered());
    }

    let mut echo = lab.echo(&[]);
    echo.kill();
    // The kernel takes the program off once it has closed the process's descriptors.
    wait_until(SOON, "the program to be gone", || !lab.is_steered()).unwrap();

    let mut echo = lab.echo(&["--duration", "50ms"]);
    let output = echo.output(SOON).unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let summary: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(summary["ended_by"], "duration");
    assert!(!lab.is_steered());
}

#[test]
fn an_interface_that_vanishes_ends_it_with_a_code_of_its_own() {
    let Some(lab) = Lab::open("xsk-gone") else { return };
    let mut echo = lab.echo(&[]);
    assert_eq!(lab.pings(V4.application, 3), 3);
    lab.host.ip(["link delete eth0"]).unwrap();
    let output = echo.output(SOON).unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let summary: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(summary["ended_by"], "interface_gone");
    assert_eq!(count(&summary, "answered", "icmp_echo"), 3, "{summary}");
    assert!(output.stderr.ends_with("the interface eth0 is gone\n"), "{}", output.stderr);
}

#[test]
fn what_cannot_be_done_is_said_with_what_to_do() {
    let Some(lab) = Lab::open("xsk-refused") else { return };
    let on = |interface, more: &[&'static str]| {
        let basics = ["--interface", interface, "--address", "10.0.1.21"];
        lab.run(&[&basics, more].concat())
    };
    let expect = |output: Output, code: i32, text: &str| {
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert_eq!(output.stdout, "");
        assert!(output.stderr.contains(text), "{}", output.stderr);
    };
    expect(on("eth9", &[]), 1, "there is no interface eth9 here");
    expect(on("lo", &[]), 1, "lo has no MAC address");
    expect(on("eth0", &["--queue", "9"]), 1, "`ethtool -l` tells which queues");
    expect(on("eth0", &["--mode", "zero-copy"]), 1, "its driver has no zero-copy mode");
    expect(on("eth0", &["--frames", "100"]), 2, "a power of two");
    expect(on("eth0", &["--address", "10.0.1.22"]), 2, "at most one IPv4 and one IPv6");
    for namespace in [&lab.host, &lab.instance] {
        namespace.ip(["link set eth0 mtu 9000"]).unwrap();
    }
    expect(on("eth0", &[]), 1, "must fit a page");
    for namespace in [&lab.host, &lab.instance] {
        namespace.ip(["link set eth0 mtu 1500"]).unwrap();
    }
    assert!(!lab.is_steered());

    let mut first = lab.echo(&[]);
    expect(on("eth0", &[]), 1, "another AF_XDP socket has it");
    lab.instance.run(["ethtool", "-L", "eth0", "rx", "2"]).unwrap();
    expect(on("eth0", &["--queue", "1"]), 1, "eth0 has an XDP program already");
    assert_eq!(lab.pings(V4.application, 1), 1, "the first one has noticed nothing");
    end(&mut first);
}

#[test]
fn three_capabilities_are_enough_and_none_can_be_spared() {
    if !ready(&[Requirement::Program("setpriv")]) {
        return;
    }
    let Some(lab) = Lab::open("xsk-rights") else { return };
    let with = |capabilities: &str| {
        let bounding = format!("--bounding-set=-all{capabilities}");
        let basics = ["--interface", "eth0", "--address", "10.0.1.21"];
        // Memory that may be locked without a capability for it.
        let bounds = ["--frames", "64", "--duration", "10ms"];
        let command = ["setpriv", &bounding, PROGRAM].into_iter().chain(basics).chain(bounds);
        lab.instance.output(SOON, command).unwrap()
    };
    let output = with(",+net_raw,+net_admin,+bpf");
    assert!(output.status.success(), "{output:?}");
    for (capabilities, advice) in [
        (",+net_admin,+bpf", "; it takes CAP_NET_RAW"),
        (",+net_raw,+bpf", "; it takes CAP_BPF and CAP_NET_ADMIN"),
        (",+net_raw,+net_admin", "; it takes CAP_BPF and CAP_NET_ADMIN"),
    ] {
        let output = with(capabilities);
        assert_eq!(output.status.code(), Some(1), "{capabilities}: {output:?}");
        assert!(output.stderr.trim_end().ends_with(advice), "{}", output.stderr);
    }
}
