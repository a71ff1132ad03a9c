//! The testbed's own promises: it connects, and it leaves nothing behind.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use halfspace_testbed::programs::{Echo, Iperf3, Nginx};
use halfspace_testbed::{
    Error, Namespace, Requirement, Testbed, http, ready, remove_leftovers, wait_until,
};

const BASICS: [Requirement; 3] =
    [Requirement::Root, Requirement::Program("ip"), Requirement::Program("ping")];

/// Two namespaces on one link, `192.0.2.1` and `.2`, `2001:db8::1` and `::2`.
fn pair(bed: &Testbed) -> Result<(Namespace, Namespace), Error> {
    let (left, right) = (bed.namespace("left")?, bed.namespace("right")?);
    bed.veth((&left, "eth0"), (&right, "eth0"))?;
    for (host, namespace) in [(1, &left), (2, &right)] {
        namespace.ip([
            format!("address add 192.0.2.{host}/24 dev eth0"),
            format!("address add 2001:db8::{host}/64 dev eth0 nodad"),
        ])?;
    }
    Ok((left, right))
}

#[test]
fn two_namespaces_ping_each_other_in_both_families() {
    if !ready(&BASICS) {
        return;
    }
    let bed = Testbed::new("ping").unwrap();
    let (left, _right) = pair(&bed).unwrap();
    let shown = left.run(["ping", "-c2", "-i0.1", "-W2", "192.0.2.2"]).unwrap().stdout;
    assert!(shown.contains("2 received, 0% packet loss"), "{shown}");
    let shown = left.run(["ping", "-c2", "-i0.1", "-W2", "2001:db8::2"]).unwrap().stdout;
    assert!(shown.contains("2 received, 0% packet loss"), "{shown}");
}

#[test]
fn a_panic_leaves_neither_namespace_nor_process_nor_directory() {
    if !ready(&BASICS) {
        return;
    }
    let mut left_behind: Vec<PathBuf> = Vec::new();
    let mut pid = None;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let bed = Testbed::new("panic").unwrap();
        let (left, right) = pair(&bed).unwrap();
        let sleeper = left.spawn(["sleep", "1000"]).unwrap();
        bed.bpffs().unwrap();
        left_behind.extend([left.path().to_owned(), right.path().to_owned(), bed.dir().to_owned()]);
        left_behind.push(Path::new("/proc").join(sleeper.pid().to_string()));
        pid = Some(sleeper.pid());
        for path in &left_behind {
            assert!(path.exists(), "{}", path.display());
        }
        panic!("on purpose");
    }));
    let panic = outcome.unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
    assert_eq!(left_behind.len(), 4);
    for path in left_behind {
        assert!(!path.exists(), "{}", path.display());
    }
}

#[test]
fn a_process_is_killed_with_its_children() {
    if !ready(&BASICS) {
        return;
    }
    let bed = Testbed::new("kill").unwrap();
    let namespace = bed.namespace("a").unwrap();
    let process = namespace.spawn(["sh", "-c", "sleep 1000 & echo $!; wait"]).unwrap();
    let limit = Duration::from_secs(10);
    wait_until(limit, "the child's pid", || process.stdout().ends_with('\n')).unwrap();
    let child = Path::new("/proc").join(process.stdout().trim());
    let leader = Path::new("/proc").join(process.pid().to_string());
    assert!(child.exists() && leader.exists());
    drop(process);
    assert!(!leader.exists());
    // The orphan is reaped by init, in its own time.
    wait_until(limit, "the child to be gone", || {
        std::fs::read_to_string(child.join("stat")).map_or(true, |stat| stat.contains(") Z "))
    })
    .unwrap();
}

#[test]
fn leftovers_of_a_dead_owner_are_removed_and_those_of_a_live_one_stay() {
    if !ready(&BASICS) {
        return;
    }
    let mut owner = Command::new("true").spawn().unwrap();
    owner.wait().unwrap();
    let dead = format!("halfspace-{}-0-dead-a", owner.id());
    assert!(Command::new("ip").args(["netns", "add", &dead]).status().unwrap().success());
    let dead = Path::new("/run/netns").join(dead);
    let bed = Testbed::new("alive").unwrap();
    let alive = bed.namespace("a").unwrap();

    remove_leftovers();

    assert!(!dead.exists());
    assert!(alive.path().exists());
    alive.run(["ip", "link", "show", "lo"]).unwrap();
}

#[test]
fn errors_name_the_command_and_what_it_said() {
    if !ready(&BASICS) {
        return;
    }
    let bed = Testbed::new("errors").unwrap();
    let namespace = bed.namespace("a").unwrap();

    let error = namespace.run(["sh", "-c", "echo broken >&2; exit 3"]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("exit 3` failed (exit status: 3): broken"), "{text}");

    let error = namespace.ip(["link set lo up", "link set eth7 up"]).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("`ip link set eth7 up` failed (exit status: 1)"), "{text}");

    let error = namespace.output(Duration::from_millis(50), ["sleep", "1000"]).unwrap_err();
    assert!(matches!(error, Error::TooSlow { .. }), "{error}");

    let error = namespace.run(["no-such-program"]).unwrap_err();
    assert!(matches!(error, Error::Start { .. }), "{error}");

    assert!(matches!(bed.namespace("no/slash").unwrap_err(), Error::Name(_)));
    let error = namespace.sysctl([("net.ipv4.no_such", "1")]).unwrap_err();
    assert!(error.to_string().contains("set net.ipv4.no_such to 1"), "{error}");
}

#[test]
fn a_hundred_environments_with_one_address_hang_on_one_gateway() {
    if !ready(&BASICS) {
        return;
    }
    let bed = Testbed::new("many").unwrap();
    let gateway = bed.namespace("gw").unwrap();
    let environments = bed.namespaces((0..100).map(|i| format!("env{i}"))).unwrap();
    let ports: Vec<_> = (0..100).map(|i| format!("env{i}")).collect();
    let pairs: Vec<_> = environments
        .iter()
        .zip(&ports)
        .map(|(environment, port)| ((&gateway, port.as_str()), (environment, "eth0")))
        .collect();
    bed.veths(&pairs).unwrap();
    for environment in &environments {
        environment
            .ip(["link set eth0 address 02:00:00:00:00:01", "address add 169.254.0.2/30 dev eth0"])
            .unwrap();
    }
    let shown = gateway.run(["ip", "-oneline", "link", "show", "up", "type", "veth"]).unwrap();
    assert_eq!(shown.stdout.lines().count(), 100);
    for environment in &environments {
        assert_eq!(environment.link_mac("eth0").unwrap(), [2, 0, 0, 0, 0, 1]);
    }
    assert!(gateway.link_index("env99").unwrap() > 1);
}

#[test]
fn settings_are_the_namespaces_own() {
    if !ready(&[&BASICS[..], &[Requirement::Program("ethtool")]].concat()) {
        return;
    }
    let bed = Testbed::new("settings").unwrap();
    let (left, right) = pair(&bed).unwrap();
    left.sysctl([("net.ipv4.ip_forward", "1")]).unwrap();
    assert_eq!(left.read_sysctl("net.ipv4.ip_forward").unwrap(), "1");
    assert_eq!(right.read_sysctl("net.ipv4.ip_forward").unwrap(), "0");

    left.offload("eth0", [("gro", true), ("tx", false)]).unwrap();
    let shown = left.run(["ethtool", "-k", "eth0"]).unwrap().stdout;
    assert!(shown.contains("generic-receive-offload: on"), "{shown}");
    assert!(shown.contains("tx-checksumming: off"), "{shown}");
}

#[test]
fn the_echo_server_tells_the_client_its_address() {
    if !ready(&BASICS) {
        return;
    }
    let bed = Testbed::new("echo").unwrap();
    let (left, right) = pair(&bed).unwrap();
    let server: SocketAddr = "192.0.2.2:7".parse().unwrap();
    let echo = Echo::start(&right, server).unwrap();

    let (own, answer) = left
        .enter(|| {
            let socket = UdpSocket::bind("192.0.2.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            socket.send_to(b"ping", server).unwrap();
            let mut buffer = [0; 100];
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            assert_eq!(from, server);
            (socket.local_addr().unwrap(), buffer[..length].to_vec())
        })
        .unwrap();
    assert_eq!(answer, format!("{own}\nping").into_bytes());

    let (own_tcp, answer) = left
        .enter(|| {
            let mut stream = TcpStream::connect(server).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            stream.write_all(b"hello").unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            (stream.local_addr().unwrap(), answer)
        })
        .unwrap();
    assert_eq!(answer, format!("{own_tcp}\nhello"));
    assert_eq!(echo.peers(), [own, own_tcp]);
}

#[test]
fn nginx_answers_and_logs_who_asked() {
    if !ready(&[&BASICS[..], &[Requirement::Program("nginx")]].concat()) {
        return;
    }
    let bed = Testbed::new("nginx").unwrap();
    let (left, right) = pair(&bed).unwrap();
    let v4: SocketAddr = "192.0.2.2:80".parse().unwrap();
    let v6: SocketAddr = "[2001:db8::2]:80".parse().unwrap();
    let mut nginx = Nginx::start(&right, &[v4, v6], "you are $remote_addr\n").unwrap();

    let response = http::get(&left, v4, "/").unwrap();
    assert_eq!((response.status, response.body.as_str()), (200, "you are 192.0.2.1\n"));
    let response = http::get(&left, v6, "/any/path").unwrap();
    assert_eq!((response.status, response.body.as_str()), (200, "you are 2001:db8::1\n"));
    assert_eq!(http::get(&left, v4, "/blob").unwrap().body.len(), 4 << 20);

    // Lines are written after the answer is sent.
    let limit = Duration::from_secs(5);
    wait_until(limit, "three lines in the log", || nginx.clients().len() == 3).unwrap();
    let clients: Vec<_> = nginx.clients().iter().map(|client| client.ip().to_string()).collect();
    assert_eq!(clients, ["192.0.2.1", "2001:db8::1", "192.0.2.1"]);

    assert!(nginx.process.is_running());
    nginx.process.kill();
    assert!(http::get(&left, v4, "/").is_err());
}

#[test]
fn a_refused_configuration_is_reported_in_nginxs_own_words() {
    if !ready(&[&BASICS[..], &[Requirement::Program("nginx")]].concat()) {
        return;
    }
    let bed = Testbed::new("refused").unwrap();
    let namespace = bed.namespace("a").unwrap();
    let elsewhere: SocketAddr = "203.0.113.7:80".parse().unwrap();
    let error = Nginx::start(&namespace, &[elsewhere], "x").unwrap_err();
    assert!(error.to_string().contains("bind() to 203.0.113.7:80 failed"), "{error}");
}

#[test]
fn iperf3_moves_bytes() {
    if !ready(&[&BASICS[..], &[Requirement::Program("iperf3")]].concat()) {
        return;
    }
    let bed = Testbed::new("iperf3").unwrap();
    let (left, right) = pair(&bed).unwrap();
    let _server = Iperf3::start(&right, "192.0.2.2:5201".parse().unwrap()).unwrap();
    let shown = left.run(["iperf3", "-c", "192.0.2.2", "-n", "1M", "-J"]).unwrap().stdout;
    assert!(shown.contains("\"sum_received\""), "{shown}");
}

#[test]
fn a_namespace_of_somebody_else_is_used_and_left_alone() {
    if !ready(&BASICS) {
        return;
    }
    let bed = Testbed::new("guest").unwrap();
    let theirs = bed.namespace("theirs").unwrap();
    let guest = Testbed::new("visit").unwrap();
    let borrowed = guest.existing_namespace(theirs.path()).unwrap();
    borrowed.ip(["link add name eth0 type veth peer name eth1"]).unwrap();
    assert_eq!(borrowed.link_mac("eth0").unwrap(), theirs.link_mac("eth0").unwrap());
    drop(borrowed);
    assert!(theirs.path().exists());
    assert!(theirs.link_index("eth0").is_ok());

    let missing = guest.existing_namespace("/run/netns/halfspace-none").unwrap_err().to_string();
    assert!(missing.contains("/run/netns/halfspace-none"), "{missing}");
}
