//! Ports that come and go, what is set on their interfaces, and frames that are not forwarded.

use std::fs;
use std::io::{self, Read};
use std::net::UdpSocket;
use std::time::Duration;

use datapath::inject::{Injected, Injector};
use datapath::userspace::{PortGone, ReceiveError, Userspace};
use datapath::{AttachError, Hook, HookWish, Notice};
use nf_core::fast_path::{FastPath, PortPolicy, Transmit};
use nf_core::tuple::Protocol;
use nf_core::verdict::{FastDrop, Punt};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::lab::{Conversation, Lab};
use crate::netns::{Netns, can_run, uninterrupted};

/// Ether type for local experiments (IEEE 802): no stack answers it.
const EXPERIMENTAL: [u8; 2] = [0x88, 0xb5];

#[test]
fn a_vanished_port_is_reported_and_the_others_go_on() {
    if !can_run() {
        return;
    }
    let lab = Lab::new();
    let other = Netns::new("other");
    other.veth(("o0", "02:00:00:00:03:02"), &lab.gateway, ("g2", "02:00:00:00:03:01"));
    other.veth(("o1", "02:00:00:00:04:02"), &lab.gateway, ("g3", "02:00:00:00:04:01"));
    let (up, down) = (lab.gateway.port("g2"), lab.gateway.port("g3"));
    let conversation = Conversation::ipv4(Protocol::Udp);
    let gateway = lab.start_with(&[conversation], move |userspace| {
        userspace.attach(up, "g2", HookWish::Auto).expect("it is there");
        userspace.attach(down, "g3", HookWish::Auto).expect("it is there");
    });
    let (client, server) = conversation.udp_sockets(&lab);
    let mut buffer = [0; 100];
    let mut pass = |payload: &[u8]| {
        client.send(payload).expect("sent");
        let (received, _) =
            uninterrupted(|| server.recv_from(&mut buffer)).expect("a datagram arrives");
        assert_eq!(&buffer[..received], payload);
    };
    pass(b"before");
    lab.gateway.ip(&["link", "set", "g3", "down"]);
    pass(b"one is down");
    other.ip(&["link", "delete", "o0"]);
    lab.gateway.ip(&["link", "delete", "g3"]);
    pass(b"both are gone");
    let outcome = gateway.stop();
    outcome.assert_adds_up();
    let gone = |notice: &Notice| match notice {
        Notice::Gone(PortGone { port, name, error: ReceiveError::Gone }) => (*port, name.clone()),
        other => panic!("{other}"),
    };
    let mut gone: Vec<_> = outcome.notices.iter().map(gone).collect();
    gone.sort();
    assert_eq!(gone, [(up, "g2".to_owned()), (down, "g3".to_owned())]);
}

#[test]
fn a_port_that_was_down_for_a_while_goes_on() {
    if !can_run() {
        return;
    }
    let lab = Lab::new();
    let conversation = Conversation::ipv4(Protocol::Udp);
    let gateway = lab.start(&[conversation]);
    let (client, server) = conversation.udp_sockets(&lab);
    lab.gateway.ip(&["link", "set", "g1", "down"]);
    client.send(b"into the void").expect("sent");
    server.set_read_timeout(Some(Duration::from_millis(200))).expect("a time-out");
    let mut buffer = [0; 100];
    let nothing = uninterrupted(|| server.recv_from(&mut buffer)).expect_err("the link is down");
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    lab.gateway.ip(&["link", "set", "g1", "up"]);
    server.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
    client.send(b"again").expect("sent");
    let (received, from) =
        uninterrupted(|| server.recv_from(&mut buffer)).expect("a datagram arrives");
    assert_eq!((&buffer[..received], from), (&b"again"[..], conversation.external));
    server.send_to(b"back", from).expect("sent");
    assert_eq!(uninterrupted(|| client.recv(&mut buffer)).expect("the answer arrives"), 4);
    let outcome = gateway.stop();
    outcome.assert_adds_up();
    assert!(outcome.notices.is_empty(), "{outcome:?}");
    assert_eq!(outcome.forwarding, Injected { sent: 2, failed_gone: 1, ..Injected::default() });
}

#[test]
fn an_injected_frame_arrives_byte_identical() {
    if !can_run() {
        return;
    }
    let lab = Lab::new();
    let mut listener = lab.client.listen(u16::from_be_bytes(EXPERIMENTAL));
    let frames: Vec<_> = [14, 60, 1514].map(experimental_frame).into();
    let sent = frames.clone();
    let gateway_port = lab.sides.client_port;
    let (injected, totals) = lab.gateway.run(move || {
        let mut injector = Injector::open().expect("root may");
        for frame in sent {
            injector.queue(gateway_port, frame);
        }
        (injector.flush(), injector.totals())
    });
    assert_eq!(injected, Injected { sent: 3, ..Injected::default() });
    assert_eq!(totals, injected);
    for frame in frames {
        let mut buffer = [0; 2000];
        let len = uninterrupted(|| listener.read(&mut buffer)).expect("a frame arrives");
        assert_eq!(buffer[..len], frame);
    }
}

#[test]
fn frames_that_cannot_be_injected_are_counted_by_reason() {
    if !can_run() {
        return;
    }
    let lab = Lab::new();
    lab.server.ip(&["link", "delete", "s0"]);
    let (port, gone) = (lab.sides.client_port, lab.sides.server_port);
    let injected = lab.gateway.run(move || {
        let mut injector = Injector::open().expect("root may");
        for (port, len) in [(gone, 60), (port, 60), (port, 1600), (gone, 60), (port, 60)] {
            injector.queue(port, experimental_frame(len));
        }
        injector.flush()
    });
    let expected = Injected { sent: 2, failed_gone: 2, failed_full: 0, failed_refused: 1 };
    assert_eq!(injected, expected);
}

#[test]
fn more_frames_than_one_system_call_takes_are_all_sent() {
    if !can_run() {
        return;
    }
    let lab = Lab::new();
    let port = lab.sides.client_port;
    let gateway = lab.gateway.run(move || {
        let mut injector = Injector::open().expect("root may");
        for _ in 0..150 {
            injector.queue(port, experimental_frame(60));
        }
        injector.flush()
    });
    assert_eq!(gateway, Injected { sent: 150, ..Injected::default() });
}

#[test]
fn what_leaves_by_a_port_does_not_come_in_by_it() {
    if !can_run() {
        return;
    }
    let (peer, gateway) = (Netns::new("peer"), Netns::new("gateway"));
    peer.veth(("c0", "02:00:00:00:01:02"), &gateway, ("g0", "02:00:00:00:01:01"));
    let port = gateway.port("g0");
    let mut listener = peer.listen(u16::from_be_bytes(EXPERIMENTAL));
    let mut userspace = gateway.run(move || {
        let mut userspace = Userspace::open().expect("root may");
        userspace.attach(port, "g0", HookWish::Auto).expect("it is there");
        userspace
    });
    userspace.transmit(Transmit { port, frame: experimental_frame(60) });
    userspace.flush();
    let len = uninterrupted(|| listener.read(&mut [0; 100])).expect("it has left");
    assert_eq!(len, 60);
    assert_eq!(userspace.receive(64, &mut |_, _| ()), 0);
}

#[test]
fn settings_of_the_interface_are_restored_when_it_is_detached() {
    if !can_run() {
        return;
    }
    let lab = Lab::new();
    let port = lab.sides.client_port;
    lab.gateway.run(move || {
        fs::write(setting("ipv4", "forwarding"), "1").expect("root may");
        fs::write(setting("ipv4", "arp_ignore"), "2").expect("root may");
        let settings = || {
            [("ipv4", "forwarding"), ("ipv4", "arp_ignore"), ("ipv6", "disable_ipv6")]
                .map(|(family, name)| fs::read_to_string(setting(family, name)).expect("readable"))
        };
        let before = settings();
        assert_eq!(before, ["1\n", "2\n", "0\n"]);
        let quiet = ["0\n", "8\n", "1\n"];
        let shared = PortPolicy { share_with_host: true };
        let own = PortPolicy { share_with_host: false };
        let mut userspace = Userspace::open().expect("root may");

        userspace.attach(port, "g0", HookWish::Auto).expect("it is there");
        assert_eq!(settings(), before, "until it is known to be the gateway's alone");
        userspace.add_port(port, shared);
        assert_eq!(settings(), before);
        userspace.add_port(port, own);
        assert_eq!(settings(), quiet);
        userspace.add_port(port, own);
        userspace.detach(port);
        assert_eq!(settings(), before);

        userspace.attach(port, "g0", HookWish::Auto).expect("it is there");
        assert_eq!(settings(), quiet, "the policy is known already");
        userspace.add_port(port, shared);
        assert_eq!(settings(), before);

        userspace.add_port(port, own);
        assert_eq!(settings(), quiet);
        assert!(userspace.take_notices().is_empty());
        drop(userspace);
        assert_eq!(settings(), before);
    });
}

#[test]
fn settings_that_cannot_be_made_are_reported_and_the_port_works() {
    if !can_run() {
        return;
    }
    let lab = Lab::new();
    let port = lab.sides.client_port;
    lab.gateway.run(move || {
        // As in a container: /proc/sys is read-only, for this thread alone.
        unshare(CloneFlags::CLONE_NEWNS).expect("root may");
        let (none, sys) = (None::<&str>, "/proc/sys");
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("root may");
        mount(Some(sys), sys, none, MsFlags::MS_BIND, none).expect("root may");
        let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        mount(none, sys, none, read_only, none).expect("root may");

        let mut userspace = Userspace::open().expect("root may");
        let attached = userspace.attach(port, "g0", HookWish::Auto).expect("it is there");
        assert_eq!(attached.hook, Hook::PacketSocket);
        userspace.add_port(port, PortPolicy::default());
        let warnings: Vec<_> = userspace.take_notices().iter().map(ToString::to_string).collect();
        // Forwarding is off in a new namespace; that needs no writing.
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].starts_with("cannot set /proc/sys/net/ipv4/conf/g0/arp_ignore to 8"));
        assert!(warnings[1].starts_with("cannot set /proc/sys/net/ipv6/conf/g0/disable_ipv6 to 1"));
        userspace.detach(port);
        assert!(userspace.take_notices().is_empty());
    });
}

#[test]
fn an_interface_that_is_not_there_or_not_ethernet_is_refused() {
    if !can_run() {
        return;
    }
    let lab = Lab::new();
    let (port, other, loopback) =
        (lab.sides.client_port, lab.sides.server_port, lab.gateway.port("lo"));
    lab.gateway.run(move || {
        let mut userspace = Userspace::open().expect("root may");
        let mut attach = |port, name: &str| userspace.attach(port, name, HookWish::Auto);
        for (port, name) in [(port, "nothing"), (other, "g0")] {
            let error = attach(port, name).expect_err("not that one");
            assert!(matches!(error, AttachError::NoInterface { .. }), "{error:?}");
        }
        let error = attach(loopback, "lo").expect_err("it has no MAC addresses");
        assert!(
            matches!(error, AttachError::NotEthernet { hardware_type: libc::ARPHRD_LOOPBACK, .. }),
            "{error:?}"
        );
    });
}

#[test]
fn the_hosts_stack_forwards_nothing_of_an_attached_port() {
    if !can_run() {
        return;
    }
    let lab = Lab::new();
    // The gateway's host could route: an address on either side, forwarding on.
    lab.gateway.ip(&["address", "add", "10.1.0.1/24", "dev", "g0"]);
    lab.gateway.ip(&["address", "add", "10.2.0.1/24", "dev", "g1"]);
    lab.gateway.run(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("root may"));
    let conversation = Conversation::ipv4(Protocol::Udp);
    let (client, server) = conversation.udp_sockets(&lab);
    server.set_read_timeout(Some(Duration::from_millis(200))).expect("a time-out");
    let arrives = |client: &UdpSocket| {
        client.send(b"?").expect("sent");
        uninterrupted(|| server.recv_from(&mut [0; 10])).is_ok()
    };
    assert!(arrives(&client), "without a gateway the host forwards");
    let gateway = lab.start(&[]);
    assert!(!arrives(&client), "with it, it does not");
    let outcome = gateway.stop();
    outcome.assert_adds_up();
    assert_eq!(outcome.statistics.punted[Punt::Miss as usize], 1);
    assert!(arrives(&client), "and does again once it is gone");
}

#[test]
fn a_tagged_frame_is_dropped_though_its_tag_was_taken_off() {
    if !can_run() {
        return;
    }
    let lab = Lab::new();
    let gateway = lab.start(&[]);
    let port = lab.client.port("c0");
    // Without the tag this would be ARP, and punted.
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(&[0x02, 0, 0, 0, 1, 1]);
    frame[12..18].copy_from_slice(&[0x81, 0x00, 0x00, 0x05, 0x08, 0x06]);
    let injected = lab.client.run(move || {
        let mut injector = Injector::open().expect("root may");
        injector.queue(port, frame);
        injector.flush()
    });
    assert_eq!(injected.sent, 1);
    let outcome = gateway.stop();
    outcome.assert_adds_up();
    assert_eq!(outcome.statistics.dropped[FastDrop::EtherType as usize], 1);
}

#[test]
fn frames_that_find_the_buffer_full_are_counted() {
    if !can_run() {
        return;
    }
    let (sender, gateway) = (Netns::new("sender"), Netns::new("gateway"));
    sender.veth(("c0", "02:00:00:00:01:02"), &gateway, ("g0", "02:00:00:00:01:01"));
    let (client_port, port) = (sender.port("c0"), gateway.port("g0"));
    let mut userspace = gateway.run(move || {
        let mut userspace = Userspace::open().expect("root may");
        userspace.attach(port, "g0", HookWish::Auto).expect("it is there");
        userspace
    });
    // Few at a time: the kernel itself keeps at most 1000 between the ends of a veth.
    let mut sent = 0;
    while userspace.statistics().overruns == 0 {
        sent += sender.run(move || {
            let mut injector = Injector::open().expect("root may");
            for _ in 0..500 {
                injector.queue(client_port, experimental_frame(1500));
            }
            injector.flush().sent
        });
        assert!(sent < 1_000_000, "the buffer has no end");
    }
    let received = userspace.receive(usize::MAX, &mut |_, _| ()) as u64;
    assert_eq!(received + userspace.statistics().overruns, sent);
}

fn setting(family: &str, name: &str) -> String {
    format!("/proc/sys/net/{family}/conf/g0/{name}")
}

fn experimental_frame(len: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..len).map(|n| n as u8).collect();
    frame[..6].fill(0xff);
    frame[12..14].copy_from_slice(&EXPERIMENTAL);
    frame
}
