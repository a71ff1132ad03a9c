//! What leaves, what comes back, and what a flow holds while it lives.

use std::net::IpAddr;
use std::time::Duration;

use nf_core::packet::{IcmpErrorKind, TcpFlags, build};

use super::*;

#[test]
fn an_instance_goes_out_as_the_elastic_address_and_gets_its_answer() {
    let mut w = world(5000, 5999);
    let syn = tcp(4000, SERVER).flags(TcpFlags::SYN).mss(1460);
    let (src, frame) = send_out(&mut w, syn.build()).unwrap();
    assert_eq!(src.ip().to_string(), PUBLIC);
    assert!((5000..=5999).contains(&src.port()));
    let router = host_mac([203, 0, 113, 1].into());
    let expected = Frame::tcp(src, at(SERVER))
        .flags(TcpFlags::SYN)
        .mss(1460)
        .ttl(63)
        .macs(w.mac("wan"), router);
    assert_eq!(frame, expected.build());

    let answer = Frame::tcp(at(SERVER), src).flags(TcpFlags::SYN | TcpFlags::ACK).build();
    let (host, gateway) = inside(&w);
    let back = Frame::tcp(at(SERVER), ([10, 0, 1, 10], 4000))
        .flags(TcpFlags::SYN | TcpFlags::ACK)
        .ttl(63)
        .macs(gateway, host);
    assert_eq!(w.send("wan", answer), [("i".to_owned(), back.build())]);
    assert_eq!(usage(&w), one_open_connection());
}

#[test]
fn nobody_gets_in() {
    let mut w = world(5000, 5000);
    let (src, _) = send_out(&mut w, udp(4000, "192.0.2.1:53").build()).unwrap();
    // Not another host by the same port, not another port of the same host, not the address itself.
    for stranger in ["192.0.2.2:53", "192.0.2.1:54"] {
        let frame = Frame::udp(at(stranger), src).build();
        assert_eq!(w.send("wan", frame), []);
        assert_eq!(w.fate(), dropped(Drop::Unsolicited), "{stranger}");
    }
    let ping = Frame::echo_request([192, 0, 2, 1], src.ip(), 1, 1).build();
    assert_eq!(w.send("wan", ping), []);
    assert_eq!(w.fate(), dropped(Drop::Unsolicited));
}

#[test]
fn a_port_serves_every_destination_once() {
    let mut w = world(5000, 5000);
    for host in 1..=200 {
        let (src, _) = send_out(&mut w, udp(4000, &format!("192.0.2.{host}:53")).build()).unwrap();
        assert_eq!(src.to_string(), "198.51.100.1:5000");
    }
    for host in 1..=200_u8 {
        let answer = Frame::udp(([192, 0, 2, host], 53), at("198.51.100.1:5000")).payload([host]);
        let sent = w.send("wan", answer.build());
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].1[26..30], [192, 0, 2, host]);
        assert_eq!(sent[0].1.last(), Some(&host));
    }
    assert_eq!(usage(&w).leases, 200);
}

#[test]
fn exhausted_ports_are_counted_and_come_back_after_their_quarantine() {
    let mut w = world(5000, 5002);
    let mut ports: Vec<_> = (1..=3)
        .map(|n| send_out(&mut w, udp(n, "192.0.2.1:53").build()).unwrap().0.port())
        .collect();
    ports.sort_unstable();
    assert_eq!(ports, [5000, 5001, 5002]);
    is_refused(&mut w, &udp(4, "192.0.2.1:53").build(), Drop::PortAllocation);
    assert_eq!(usage(&w).port_allocation_errors_total, 1);
    assert!(send_out(&mut w, udp(4, "192.0.2.2:53").build()).is_some(), "elsewhere there are");
    assert!(send_out(&mut w, udp(1, "192.0.2.1:53").build()).is_some(), "flows go on");

    // Idle after 120 s, at rest for 30 s.
    w.pass(Duration::from_secs(121));
    assert_eq!((usage(&w).leases, usage(&w).quarantined), (0, 4));
    assert_eq!(usage(&w).idle_timeouts_total, 4);
    is_refused(&mut w, &udp(4, "192.0.2.1:53").build(), Drop::PortAllocation);
    w.pass(Duration::from_secs(31));
    assert!(send_out(&mut w, udp(4, "192.0.2.1:53").build()).is_some());
}

#[test]
fn a_late_packet_gets_a_reset_byte_by_byte() {
    let mut w = world(5000, 5999);
    let (host, gateway) = inside(&w);
    let late = tcp(4000, SERVER).seq(1000).ack(2000).payload(*b"late").macs(host, gateway).build();
    let reset = Frame::tcp(at(SERVER), ([10, 0, 1, 10], 4000))
        .flags(TcpFlags::RST)
        .seq(2000)
        .window(0)
        .macs(gateway, host);
    assert_eq!(w.send("i", late), [("i".to_owned(), reset.build())]);
    assert_eq!(w.fate(), dropped(Drop::NoFlow));
    assert_eq!(w.send("i", tcp(4000, SERVER).flags(TcpFlags::RST).build()), []);
    assert_eq!((w.engine.flow_count(), usage(&w).leases), (0, 0));
}

/// A world of this idle time, and a connection that is open there.
fn open_with_idle_time(seconds: u32) -> (World, SocketAddr) {
    let document = format!("{DOCUMENT}\ntcp_idle_timeout_seconds = {seconds}");
    let mut w = World::among_hosts(&document, functions);
    let (src, _) = send_out(&mut w, tcp(4000, SERVER).flags(TcpFlags::SYN).build()).unwrap();
    let answer = Frame::tcp(at(SERVER), src).flags(TcpFlags::SYN | TcpFlags::ACK).build();
    assert_eq!(w.send("wan", answer).len(), 1);
    send_out(&mut w, tcp(4000, SERVER).build()).unwrap();
    (w, src)
}

#[test]
fn an_idle_time_shorter_than_a_handshakes_is_kept() {
    let (mut w, _) = open_with_idle_time(5);
    for _ in 0..3 {
        w.pass(Duration::from_secs(4));
        send_out(&mut w, tcp(4000, SERVER).build()).unwrap();
    }
    w.pass(Duration::from_secs(6));
    assert_eq!((w.engine.flow_count(), usage(&w).idle_timeouts_total), (0, 1));
}

#[test]
fn a_handshake_that_takes_longer_than_the_idle_time_is_waited_for() {
    let document = format!("{DOCUMENT}\ntcp_idle_timeout_seconds = 5");
    let mut w = World::among_hosts(&document, functions);
    send_out(&mut w, tcp(4000, SERVER).flags(TcpFlags::SYN).build()).unwrap();
    w.pass(Duration::from_secs(230));
    assert_eq!(w.engine.flow_count(), 1);
    w.pass(Duration::from_secs(11));
    assert_eq!(w.engine.flow_count(), 0);
}

#[test]
fn a_connection_that_is_half_closed_does_not_wait_for_a_longer_idle_time() {
    let (mut w, src) = open_with_idle_time(3600);
    w.pass(Duration::from_secs(1000));
    let fin = Frame::tcp(at(SERVER), src).flags(TcpFlags::FIN | TcpFlags::ACK).build();
    assert_eq!(w.send("wan", fin).len(), 1);
    w.pass(Duration::from_secs(239));
    assert_eq!(w.engine.flow_count(), 1);
    w.pass(Duration::from_secs(2));
    assert_eq!(w.engine.flow_count(), 0);
}

#[test]
fn a_connection_that_is_forgotten_is_reset_for_the_instance() {
    let mut w = world(5000, 5999);
    let (src, _) = send_out(&mut w, tcp(1, SERVER).flags(TcpFlags::SYN).build()).unwrap();
    w.send("wan", Frame::tcp(at(SERVER), src).flags(TcpFlags::SYN | TcpFlags::ACK).build());
    send_out(&mut w, tcp(1, SERVER).build()).unwrap();
    w.pass(Duration::from_secs(349));
    send_out(&mut w, tcp(1, SERVER).build()).unwrap();
    w.pass(Duration::from_secs(351));
    let sent = w.send("i", tcp(1, SERVER).build());
    assert_eq!((sent.len(), sent[0].0.as_str(), sent[0].1[47]), (1, "i", 0x04));
    // The other side is not told, as at AWS.
    assert_eq!(w.send("wan", Frame::tcp(at(SERVER), src).build()), []);
    assert_eq!(w.fate(), dropped(Drop::Unsolicited));
}

#[test]
fn echo_identifiers_are_leased_like_ports() {
    let mut w = world(5000, 5001);
    let (host, gateway) = inside(&w);
    let server: IpAddr = [192, 0, 2, 1].into();
    let ping = |id| {
        Frame::echo_request([10, 0, 1, 10], server, id, 9)
            .macs(host, gateway)
            .payload(*b"x")
            .build()
    };
    let mut ids = Vec::new();
    for id in [1, 2] {
        let (src, _) = send_out(&mut w, ping(id)).unwrap();
        let reply = Frame::echo_reply(server, src.ip(), src.port(), 9).payload(*b"x").build();
        let back = Frame::echo_reply(server, [10, 0, 1, 10], id, 9).payload(*b"x").ttl(63);
        assert_eq!(w.send("wan", reply), [("i".to_owned(), back.macs(gateway, host).build())]);
        ids.push(src.port());
    }
    ids.sort_unstable();
    assert_eq!(ids, [5000, 5001]);
    is_refused(&mut w, &ping(3), Drop::PortAllocation);
}

#[test]
fn ipv6_goes_out_by_an_elastic_address_of_its_own() {
    let mut w = world(5000, 5000);
    let (host, gateway) = inside(&w);
    let (client, server) = (at("[fd00:a:0:1::10]:7"), at("[2001:db8:f::1]:53"));
    let query = Frame::udp(client, server).macs(host, gateway).payload(*b"six").build();
    let (src, _) = send_out(&mut w, query).unwrap();
    assert_eq!(src, at("[2001:db8:e::1]:5000"));
    let answer = Frame::udp(server, src).payload(*b"SIX").build();
    let six = host_mac(client.ip());
    let back = Frame::udp(server, client).payload(*b"SIX").ttl(63).macs(gateway, six).build();
    assert_eq!(w.send("wan", answer), [("i".to_owned(), back)]);
}

#[test]
fn an_error_about_a_translated_packet_is_about_the_instances_own() {
    let mut w = world(5000, 5000);
    let (host, gateway) = inside(&w);
    let (six, server6) = (at("[fd00:a:0:1::10]:7"), at("[2001:db8:f::1]:53"));
    let cases = [
        (udp(4000, "192.0.2.1:53").build(), "203.0.113.99", host),
        (tcp(4000, SERVER).flags(TcpFlags::SYN).build(), "203.0.113.99", host),
        (
            Frame::echo_request([10, 0, 1, 10], [192, 0, 2, 1], 99, 1).macs(host, gateway).build(),
            "192.0.2.1",
            host,
        ),
        (
            Frame::udp(six, server6).macs(host, gateway).payload(*b"six").build(),
            "2001:db8:99::1",
            host_mac(six.ip()),
        ),
    ];
    for (sent, router, told_mac) in cases {
        let (_, outside) = send_out(&mut w, sent.clone()).unwrap();
        let kind = IcmpErrorKind::TimeExceeded { code: 0 };
        let error = build::icmp_error(&outside, kind, router.parse().unwrap()).unwrap();
        let told = w.send("wan", error);
        let [(port, told)] = &told[..] else { panic!("{told:?}") };
        assert_eq!(port, "i");
        assert_eq!((&told[..6], &told[6..12]), (&told_mac.as_bytes()[..], &gateway.as_bytes()[..]));
        // What is quoted is what the instance sent, one hop further; every checksum was verified.
        let (mut known, quoted) = match sent[12] {
            8 => (sent[14..].to_vec(), &told[42..]),
            _ => (sent[14..].to_vec(), &told[62..]),
        };
        let mut quoted = quoted.to_vec();
        if sent[12] == 8 {
            assert_eq!(quoted[8], known[8] - 1);
            for packet in [&mut known, &mut quoted] {
                packet[8] = 0;
                packet[10..12].fill(0);
            }
        } else {
            assert_eq!(quoted[7], known[7] - 1);
            known[7] -= 1;
        }
        assert_eq!(quoted, known);
    }
}

#[test]
fn an_error_from_the_instance_comes_from_the_elastic_address() {
    let mut w = world(5000, 5000);
    let (host, gateway) = inside(&w);
    let (src, _) = send_out(&mut w, udp(4000, "192.0.2.1:53").build()).unwrap();
    let answer = Frame::udp(at("192.0.2.1:53"), src).payload(*b"late answer");
    let came = w.send("wan", answer.build()).remove(0).1;
    let kind = IcmpErrorKind::Unreachable { code: 3 };
    let mut error = build::icmp_error(&came, kind, [10, 0, 1, 10].into()).unwrap();
    error[..6].copy_from_slice(gateway.as_bytes());
    error[6..12].copy_from_slice(host.as_bytes());
    let told = w.send("i", error);
    let [(port, told)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(port, "wan");
    assert_eq!(told[26..34], [198, 51, 100, 1, 192, 0, 2, 1]);
    assert_eq!(told[42..], answer.ttl(63).build()[14..]);
}

#[test]
fn a_gateway_with_several_addresses_keeps_a_client_on_one_until_it_is_full() {
    let two = DOCUMENT.replace("\"eipalloc-1\", ", "\"eipalloc-1\", \"eipalloc-2\", ");
    let mut w = World::among_hosts(&format!("{two}\nport_range = [5000, 5004]"), functions);
    let sources: Vec<_> = (1..=10)
        .map(|n| send_out(&mut w, udp(n, "192.0.2.1:53").build()).unwrap().0.ip())
        .collect();
    assert!(sources[..5].iter().all(|ip| *ip == sources[0]));
    assert!(sources[5..].iter().all(|ip| *ip == sources[5]));
    assert_ne!(sources[0], sources[5]);
    is_refused(&mut w, &udp(11, "192.0.2.1:53").build(), Drop::PortAllocation);

    // One address goes, and the flows on it; those on the other lose nothing.
    let gone =
        if sources[0].to_string() == PUBLIC { "\"eipalloc-1\", " } else { "\"eipalloc-2\", " };
    let before = flows(&mut w);
    w.reload(&format!("{}\nport_range = [5000, 5004]", two.replace(gone, "")));
    let after = flows(&mut w);
    // Private addresses are given in order, so the one that stays may now stand for the other.
    assert!(after.iter().all(|flow| {
        let kept = before.iter().find(|it| it.id == flow.id).unwrap();
        kept.flow.forward == flow.flow.forward && kept.flow.reverse == flow.flow.reverse
    }));
    let held = w.engine.function_as::<Nat>().unwrap().held();
    assert_eq!((held, usage(&w).leases), (after.len(), after.len()));
}

#[test]
fn tenants_with_the_same_addresses_share_an_uplink_and_never_a_packet() {
    let other = DOCUMENT
        .replace("vpc-1", "vpc-2")
        .replace("igw-1", "igw-2")
        .replace("rtb-", "rtb-2")
        .replace("subnet-", "subnet-2")
        .replace("eni-i", "eni-j")
        .replace("port = \"i\"", "port = \"j\"")
        .replace("eipalloc-", "eipalloc-2")
        .replace("198.51.100.", "198.51.101.")
        .replace("2001:db8:e::", "2001:db8:e2::")
        .replace("nat-1", "nat-2");
    let uplink = other.find("[[uplink]]").unwrap();
    let after = other.find("[[internet_gateway]]").unwrap();
    let other = format!("{}{}", &other[..uplink], &other[after..]);
    let quotas = "[quotas]\nelastic_ips = 10";
    let mut w = World::among_hosts(&format!("{DOCUMENT}\n{other}\n{quotas}"), functions);
    let mut public = Vec::new();
    for (port, secret) in [("i", *b"first!"), ("j", *b"second")] {
        let (host, gateway) = (host_mac([10, 0, 1, 10].into()), w.mac(port));
        let query = Frame::udp(([10, 0, 1, 10], 4000), at("192.0.2.1:53")).macs(host, gateway);
        let sent = w.send(port, query.payload(secret).build());
        let tuple = Headers::parse(&sent[0].1).unwrap().ip().unwrap().tuple().unwrap();
        public.push((port, tuple.src, secret));
    }
    for (port, src, secret) in public {
        let sent = w.send("wan", Frame::udp(at("192.0.2.1:53"), src).payload(secret).build());
        assert_eq!((sent.len(), sent[0].0.as_str()), (1, port));
        assert!(sent[0].1.ends_with(&secret));
    }
}

#[test]
fn a_new_process_gives_every_flow_the_port_it_had_and_nobody_else() {
    let mut w = world(5000, 5004);
    for n in 1..=4 {
        send_out(&mut w, udp(n, "192.0.2.1:53").build()).unwrap();
    }
    let before: Vec<_> = flows(&mut w).iter().map(|it| (it.id, it.flow.reverse)).collect();
    assert_eq!(w.restart(), 4);
    let after: Vec<_> = flows(&mut w).iter().map(|it| (it.id, it.flow.reverse)).collect();
    assert_eq!(after, before);
    assert_eq!((usage(&w).leases, w.engine.function_as::<Nat>().unwrap().held()), (4, 4));

    let used: Vec<_> = before.iter().map(|(_, key)| key.tuple.dst.port()).collect();
    let (src, _) = send_out(&mut w, udp(5, "192.0.2.1:53").build()).unwrap();
    assert!(!used.contains(&src.port()));
    is_refused(&mut w, &udp(6, "192.0.2.1:53").build(), Drop::PortAllocation);
    for n in 1..=5 {
        assert!(send_out(&mut w, udp(n, "192.0.2.1:53").build()).is_some());
    }
    w.pass(Duration::from_mins(5));
    assert_eq!((w.engine.flow_count(), usage(&w).leases, w.path.len()), (0, 0, 0));
}

#[test]
fn a_flow_whose_address_is_taken_away_while_no_process_looks_is_taken_out() {
    let mut w = world(5000, 5004);
    send_out(&mut w, udp(1, "192.0.2.1:53").build()).unwrap();
    let entries: Vec<_> = w.path.entries().map(|(key, entry)| (*key, *entry)).collect();
    w.reload(&DOCUMENT.replace("[\"eipalloc-1\", ", "[\"eipalloc-2\", "));
    for (key, entry) in entries {
        nf_core::fast_path::FastPath::install(&mut w.path, &key, &entry);
    }
    assert_eq!(w.restart(), 0);
    assert_eq!((w.path.len(), w.engine.function_as::<Nat>().unwrap().held()), (0, 0));
}

#[test]
fn a_gateway_that_goes_takes_its_flows_and_gets_its_ports_back() {
    let mut w = world(5000, 5004);
    send_out(&mut w, udp(1, "192.0.2.1:53").build()).unwrap();
    let without = &DOCUMENT[..DOCUMENT.find("[[nat_gateway]]").unwrap()];
    w.reload(without);
    assert_eq!((w.engine.flow_count(), w.path.len()), (0, 0));
    assert_eq!(w.engine.function_as::<Nat>().unwrap().held(), 0);
    assert_eq!(send_out(&mut w, udp(1, "192.0.2.1:53").build()), None);
    assert_eq!(w.fate(), dropped(Drop::Blackhole));
}

#[test]
fn a_private_gateway_translates_to_its_own_address() {
    let private = DOCUMENT
        .replace(
            "allocation_ids = [\"eipalloc-1\", \"eipalloc-6\"]",
            "connectivity_type = \"private\"",
        )
        .replace(
            "destination_cidr_block = \"0.0.0.0/0\", gateway_id = \"igw-1\"",
            "destination_cidr_block = \"192.168.0.0/16\", network_interface_id = \"eni-router\"",
        );
    let router = r#"
        [[network_interface]]
        network_interface_id = "eni-router"
        subnet_id = "subnet-public"
        private_ip_address = "10.0.0.9"
        groups = ["sg-router"]
        port = "router"
        source_dest_check = false

        [[security_group]]
        group_id = "sg-router"
        group_name = "router"
        vpc_id = "vpc-1"
        ingress = [{ ip_protocol = "-1", cidr_ipv4 = "10.0.0.0/16" }]
    "#;
    let mut w = World::among_hosts(&format!("{private}\n{router}"), functions);
    let sent = w.send("i", udp(1, "192.168.7.7:53").build());
    let [(port, frame)] = &sent[..] else { panic!("{sent:?} {:?}", w.fate()) };
    assert_eq!(port, "router");
    let tuple = Headers::parse(frame).unwrap().ip().unwrap().tuple().unwrap();
    let nat = w.engine.snapshot().nat_gateways().next().unwrap().1.addresses[0].private_ip;
    assert_eq!((tuple.src.ip(), tuple.dst), (nat, at("192.168.7.7:53")));
    let answer = Frame::udp(tuple.dst, tuple.src).payload(*b"answer").build();
    let sent = w.send("router", answer);
    assert_eq!((sent.len(), sent[0].0.as_str()), (1, "i"));
}

#[test]
fn a_connection_that_is_opened_anew_leaves_its_old_port_to_rest() {
    let mut w = world(5000, 5001);
    let syn = |n| tcp(n, SERVER).flags(TcpFlags::SYN).build();
    let (old, _) = send_out(&mut w, syn(1)).unwrap();
    w.send("wan", Frame::tcp(at(SERVER), old).flags(TcpFlags::RST | TcpFlags::ACK).build());
    let (new, _) = send_out(&mut w, syn(1)).unwrap();
    assert_ne!(new, old, "a new flow");
    assert_eq!((usage(&w).leases, usage(&w).quarantined), (1, 1));
    // What the server still sends to the old one is for nobody, and nobody else gets its port.
    assert_eq!(w.send("wan", Frame::tcp(at(SERVER), old).build()), []);
    is_refused(&mut w, &syn(2), Drop::PortAllocation);
    w.pass(Duration::from_secs(31));
    assert_eq!(send_out(&mut w, syn(2)).unwrap().0, old);
}

#[test]
fn both_ends_of_an_idle_connection_are_asked_and_their_answers_are_reset() {
    let document = format!("{DOCUMENT}\ntcp_idle_timeout_seconds = 5\nreset_both = true");
    let mut w = World::among_hosts(&document, functions);
    let (src, _) = send_out(&mut w, tcp(4000, SERVER).flags(TcpFlags::SYN).build()).unwrap();
    let answer = Frame::tcp(at(SERVER), src).flags(TcpFlags::SYN | TcpFlags::ACK).build();
    assert_eq!(w.send("wan", answer).len(), 1);
    send_out(&mut w, tcp(4000, SERVER).build()).unwrap();
    let (host, gateway) = inside(&w);
    let (router, wan) = (host_mac([203, 0, 113, 1].into()), w.mac("wan"));

    let asked_inside = Frame::tcp(at(SERVER), ([10, 0, 1, 10], 4000)).macs(gateway, host).build();
    let asked_outside = Frame::tcp(src, at(SERVER)).macs(wan, router).build();
    let asked = w.pass(Duration::from_secs(6));
    assert_eq!(asked, [("i".to_owned(), asked_inside), ("wan".to_owned(), asked_outside)]);
    assert_eq!((w.engine.flow_count(), usage(&w).idle_timeouts_total), (0, 1));
    assert_eq!(w.engine.counters().originated, 2);

    // Each end says what it expects next, and that is the number of its RST.
    let (mine, theirs) = (111_111, 222_222);
    let said = tcp(4000, SERVER).seq(mine).ack(theirs).macs(host, gateway).build();
    let reset = Frame::tcp(at(SERVER), ([10, 0, 1, 10], 4000))
        .flags(TcpFlags::RST)
        .seq(theirs)
        .window(0)
        .macs(gateway, host);
    assert_eq!(w.send("i", said), [("i".to_owned(), reset.build())]);
    let said = Frame::tcp(at(SERVER), src).seq(theirs).ack(mine).macs(router, wan).build();
    let reset =
        Frame::tcp(src, at(SERVER)).flags(TcpFlags::RST).seq(mine).window(0).macs(wan, router);
    assert_eq!(w.send("wan", said.clone()), [("wan".to_owned(), reset.build())]);
    assert_eq!(w.fate(), dropped(Drop::NoFlow));
    assert_eq!(w.engine.counters().packets_in(), w.engine.counters().packets_decided());

    // Later the outside gets nothing, as at any time from a gateway without the option.
    w.pass(Duration::from_secs(11));
    assert_eq!(w.send("wan", said), []);
    assert_eq!(w.fate(), dropped(Drop::Unsolicited));
}

#[test]
fn nobody_is_asked_about_a_connection_that_was_never_open_or_is_closed() {
    let document = format!(
        "{DOCUMENT}\ntcp_idle_timeout_seconds = 5\ntcp_transitory_timeout_seconds = 5\n\
         reset_both = true"
    );
    let mut w = World::among_hosts(&document, functions);
    send_out(&mut w, tcp(4000, SERVER).flags(TcpFlags::SYN).build()).unwrap();
    let (src, _) = send_out(&mut w, tcp(4001, SERVER).flags(TcpFlags::SYN).build()).unwrap();
    let answer = Frame::tcp(at(SERVER), src).flags(TcpFlags::SYN | TcpFlags::ACK).build();
    w.send("wan", answer);
    send_out(&mut w, tcp(4001, SERVER).flags(TcpFlags::FIN | TcpFlags::ACK).build()).unwrap();
    assert_eq!(w.pass(Duration::from_secs(6)), []);
    assert_eq!(w.engine.flow_count(), 0);
}
