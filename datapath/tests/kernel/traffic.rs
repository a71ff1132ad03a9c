//! ping and iperf3 through the kernel's programs.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use datapath::{Hook, HookWish, Received};
use nf_core::action::Offsets;
use nf_core::adjacency::Adjacency;
use nf_core::fast_path::{Direction, Event, FastPath, Transmit};
use nf_core::id::{FlowId, PortId};
use nf_core::packet::MacAddr;
use nf_core::verdict::Punt;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::UdpGsoSegment;

use crate::lab::{Family, Lab, SERVICE, TO_SERVER, families, install, mixed};

/// FIN, SYN, RST and ACK in the TCP header.
const FIN: u8 = 1;
const SYN: u8 = 2;
const ACK: u8 = 16;

/// Bytes that iperf3 is told to move, and of which at least so many do: at the end of its test it
/// closes connections on what still waits in them.
const AMOUNT: &str = "100000000";
const AT_LEAST: u64 = 80_000_000;

/// Moves the [`AMOUNT`] both ways and a little UDP, in both families and from one to the other, and
/// checks what was counted.
fn move_data(lab: &mut Lab) {
    let [v4, v6] = families();
    for family in [v4, v6, mixed()] {
        for direction in [Direction::Forward, Direction::Reverse] {
            let reverse = (direction == Direction::Reverse).then_some("--reverse");
            let arguments: Vec<_> = ["--bytes", AMOUNT].into_iter().chain(reverse).collect();
            let before = lab.usage(direction);
            lab.iperf(family, &arguments);
            let after = lab.usage(direction);
            let bytes = after.bytes - before.bytes;
            let packets = after.packets - before.packets;
            assert!(bytes >= AT_LEAST, "{bytes} bytes were counted, {AMOUNT} moved");
            assert!(packets >= bytes / 1500, "{packets} packets for {bytes} bytes");
            assert_eq!(after.tcp_flags & (SYN | FIN), SYN | FIN);
        }
        let before = lab.usage(Direction::Forward).packets;
        lab.iperf(
            family,
            &["--udp", "--bitrate", "100M", "--bytes", "2000000", "--length", "1000"],
        );
        let sent = lab.usage(Direction::Forward).packets - before;
        assert!(sent >= 2000, "{sent} packets for 2000 datagrams");
    }
    let mut flags = 0;
    lab.datapath.receive(usize::MAX, &mut |_, received| match received {
        Received::Event(Event::Tcp(event)) => flags |= event.flags,
        Received::Event(event) => panic!("{event:?}"),
        // The server's stack looks for neighbours.
        Received::Frame { reason, .. } => assert_eq!(reason, Punt::Control),
    });
    assert_eq!(flags & (SYN | ACK | FIN), SYN | ACK | FIN, "the handshake was told");
}

#[test]
fn super_packets_pass_whole_under_tc() {
    let Some(mut lab) = Lab::new("tc-gso", [HookWish::Auto; 2]) else { return };
    assert_eq!(lab.attached.each_ref().map(|attached| attached.hook), [Hook::Tc; 2]);
    move_data(&mut lab);
    let packets = lab.usage(Direction::Forward).packets + lab.usage(Direction::Reverse).packets;
    let forwarded = lab.datapath.statistics().unwrap().forwarded;
    // A super-packet is one verdict, and stands for up to 44 packets.
    assert!(forwarded * 4 < packets, "{forwarded} frames carried {packets} packets");
}

#[test]
fn partial_checksums_are_right_when_completed_behind_tc() {
    let Some(mut lab) = Lab::new("tc-partial", [HookWish::Tc; 2]) else { return };
    // The outgoing ports complete what the senders left to them, and the receivers, for which
    // there is nothing to trust, verify it.
    for port in ["p0", "p1"] {
        lab.gateway.offload(port, [("tx", false)]).unwrap();
    }
    move_data(&mut lab);
    for (namespace, family) in [(&lab.server, "Tcp"), (&lab.client, "Tcp")] {
        let errors = checksum_errors(namespace, family);
        assert_eq!(errors, 0, "{} saw wrong checksums", namespace.name());
    }
}

/// Segments that a namespace's stack refused for their checksum.
fn checksum_errors(namespace: &halfspace_testbed::Namespace, protocol: &str) -> u64 {
    let snmp = namespace.enter(|| std::fs::read_to_string("/proc/thread-self/net/snmp")).unwrap();
    let snmp = snmp.unwrap();
    let mut lines = snmp.lines().filter(|line| line.starts_with(&format!("{protocol}: ")));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split_whitespace().position(|name| name == "InCsumErrors").unwrap();
    values.split_whitespace().nth(at).unwrap().parse().unwrap()
}

#[test]
fn traffic_passes_from_xdp_to_xdp() {
    let Some(mut lab) = Lab::new("xdp", [HookWish::Xdp; 2]) else { return };
    assert_eq!(lab.attached.each_ref().map(|attached| attached.hook), [Hook::Xdp; 2]);
    for (namespace, link) in [(&lab.client, "c0"), (&lab.server, "s0")] {
        // XDP knows of no partial checksums, and a veth takes redirected frames only with GRO.
        namespace.offload(link, [("tx", false), ("gro", true)]).unwrap();
    }
    move_data(&mut lab);
}

#[test]
fn traffic_passes_between_a_port_with_xdp_and_one_without() {
    let Some(mut lab) = Lab::new("mixed", [HookWish::Xdp, HookWish::Tc]) else { return };
    assert_eq!(lab.attached.each_ref().map(|attached| attached.hook), [Hook::Xdp, Hook::Tc]);
    move_data(&mut lab);
}

#[test]
fn a_super_packet_of_datagrams_passes_whole_under_tc() {
    let Some(mut lab) = Lab::new("tc-udp-gso", [HookWish::Auto; 2]) else { return };
    let [v4, v6] = families();
    for family in [v4, v6, mixed()] {
        let bind = |namespace: &halfspace_testbed::Namespace, address: SocketAddr| {
            let socket = namespace.enter(|| UdpSocket::bind(address)).unwrap().unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            socket
        };
        let server = bind(&lab.server, family.service());
        let client = bind(&lab.client, SocketAddr::new(family.client, 40_000));
        client.connect(SocketAddr::new(family.server, SERVICE)).unwrap();
        let before = lab.datapath.statistics().unwrap().forwarded;
        let payload: Vec<u8> = (0..10_500_u32).map(|n| (n / 7) as u8).collect();
        nix::sys::socket::setsockopt(&client, UdpGsoSegment, &1000).unwrap();
        client.send(&payload).unwrap();
        let mut buffer = [0; 2000];
        let mut from = None;
        for expected in payload.chunks(1000) {
            let (received, peer) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[..received], *expected);
            from = Some(peer);
        }
        nix::sys::socket::setsockopt(&server, UdpGsoSegment, &1000).unwrap();
        server.send_to(&payload, from.unwrap()).unwrap();
        for expected in payload.chunks(1000) {
            let received = client.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..received], *expected);
        }
        let forwarded = lab.datapath.statistics().unwrap().forwarded - before;
        assert_eq!(forwarded, 2, "one super-packet each way");
    }
}

#[test]
fn an_answer_finds_its_way_when_the_first_packet_is_injected() {
    let Some(mut lab) = Lab::new("inject", [HookWish::Auto; 2]) else { return };
    for family in families() {
        let (client, server) = (&lab.client, family.server.to_string());
        let mut ping = client
            .spawn(["ping", "-c", "3", "-i", "0.2", "-W", "5", "-e", "77", server.as_str()])
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        let ports = lab.ports;
        let to_server = Adjacency {
            port: ports[1],
            dst_mac: MacAddr::new(lab.server.link_mac("s0").unwrap()),
            src_mac: MacAddr::new(lab.gateway.link_mac("p1").unwrap()),
            mtu: 1500,
        };
        let mut answered = 0;
        while ping.is_running() && Instant::now() < deadline {
            wait_readable(lab.datapath.poll_fd());
            lab.datapath.receive(64, &mut |fast_path, received| {
                answered += u32::from(answer_echo(fast_path, ports, family, &to_server, received));
            });
            lab.datapath.fast_path().flush();
        }
        let output = ping.success(Duration::from_secs(5)).unwrap();
        assert!(output.stdout.contains("3 received"), "{}", output.stdout);
        assert_eq!(answered, 1, "only the first packet came up");
        let (key, _) = family.there(ports[0], family.echo, 77, 500);
        assert_eq!(lab.datapath.fast_path().usage(&key).unwrap().packets, 2);
    }
}

/// What an engine does with a first packet; whether it was one.
fn answer_echo(
    fast_path: &mut dyn FastPath,
    ports: [PortId; 2],
    family: Family,
    to_server: &Adjacency,
    received: Received<'_>,
) -> bool {
    let Received::Frame { port, reason: Punt::Miss, meta, frame } = received else { return false };
    assert_eq!(port, ports[0]);
    let (key, rewrite) = family.there(port, family.echo, 77, 500);
    install(fast_path, ports, FlowId(7), (key, rewrite));
    let action = nf_core::action::Action { rewrite, adjacency: TO_SERVER };
    let mut frame = frame.to_vec();
    let transport = if family.client.is_ipv4() { 34 } else { 54 };
    action.apply(to_server, &mut frame, Offsets { transport }, meta.checksum);
    fast_path.transmit(Transmit { port: to_server.port, frame });
    true
}

fn wait_readable(fd: BorrowedFd<'_>) {
    assert!(fd.as_fd().as_raw_fd() >= 0);
    let mut wanted = [PollFd::new(fd, PollFlags::POLLIN)];
    poll(&mut wanted, PollTimeout::from(50_u8)).unwrap();
}
