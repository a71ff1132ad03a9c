//! Who gets the last ports, who gets none, and who is told to have them.

use nf_core::packet::TcpFlags;
use nf_core::pipeline::Origin;
use nf_core::translator::{ClientHolding, DestinationHolding, Holdings, RefusedDestination};
use nf_core::tuple::Protocol;

use super::*;

const DNS: &str = "192.0.2.1:53";

fn from_j(n: u16) -> Vec<u8> {
    Frame::udp(([10, 0, 1, 11], n), at(DNS)).build()
}

fn is_let_out(w: &mut World, port: &str, frame: Vec<u8>) -> bool {
    let sent = w.send(port, frame);
    sent.iter().any(|(out, _)| out == "wan")
}

#[test]
fn a_client_has_no_more_ports_than_its_quota_and_others_have_theirs() {
    let mut w = world_of_two("max_ports_per_client = 3");
    for n in 1..=3 {
        assert!(is_let_out(&mut w, "i", udp(n, &format!("192.0.2.{n}:53")).build()));
    }
    is_refused(&mut w, &udp(4, DNS).build(), Drop::ClientQuota);
    assert!(is_let_out(&mut w, "i", udp(1, "192.0.2.1:53").build()), "flows go on");
    for n in 1..=3 {
        assert!(is_let_out(&mut w, "j", from_j(n)));
    }
    assert!(!is_let_out(&mut w, "j", from_j(4)));
    let it = usage(&w);
    assert_eq!((it.leases, it.clients), (6, 2));
    assert_eq!((it.client_limit_errors_total, it.port_allocation_errors_total), (2, 0));
    assert_eq!(w.engine.counters().flows_made, 0, "who comes is always asked");
}

#[test]
fn a_reset_answers_tcp_where_that_is_wanted_and_icmp_the_rest() {
    let mut w = world_of_two("port_range = [5000, 5000]\nexhaustion_reply = \"reset\"");
    let (host, gateway) = inside(&w);
    let syn = |n: u16| tcp(n, SERVER).flags(TcpFlags::SYN).seq(999).macs(host, gateway);
    assert!(is_let_out(&mut w, "i", syn(1).build()));
    let reset = Frame::tcp(at(SERVER), ([10, 0, 1, 10], 2))
        .flags(TcpFlags::RST | TcpFlags::ACK)
        .ack(1000)
        .window(0)
        .macs(gateway, host);
    assert_eq!(w.send("i", syn(2).build()), [("i".to_owned(), reset.build())]);
    assert_eq!(w.fate(), dropped(Drop::PortAllocation));
    assert!(is_let_out(&mut w, "i", udp(1, DNS).build()));
    is_refused(&mut w, &udp(2, DNS).build(), Drop::PortAllocation);
}

#[test]
fn one_client_alone_has_every_port() {
    let mut w = world_of_two("port_range = [5000, 6599]");
    for n in 1..=1600 {
        assert!(is_let_out(&mut w, "i", udp(n, DNS).build()), "{n}");
    }
    is_refused(&mut w, &udp(1601, DNS).build(), Drop::PortAllocation);
    assert!(!is_let_out(&mut w, "j", from_j(1)));
}

#[test]
fn the_last_eighth_of_the_ports_is_for_those_who_have_less_than_their_share() {
    let mut w = world_of_two("port_range = [5000, 6599]");
    assert!(is_let_out(&mut w, "j", Frame::udp(([10, 0, 1, 11], 9), at("192.0.2.9:9")).build()));
    for n in 1..=1400 {
        assert!(is_let_out(&mut w, "i", udp(n, DNS).build()), "{n}");
    }
    is_refused(&mut w, &udp(1401, DNS).build(), Drop::FairShare);
    assert!(is_let_out(&mut w, "i", udp(1, "192.0.2.2:53").build()), "elsewhere there are more");
    for n in 1..=200 {
        assert!(is_let_out(&mut w, "j", from_j(n)), "{n}");
    }
    assert!(!is_let_out(&mut w, "j", from_j(201)));
    assert_eq!(w.fate(), dropped(Drop::PortAllocation), "now there are none");
    let it = usage(&w);
    assert_eq!((it.client_limit_errors_total, it.port_allocation_errors_total), (1, 1));
}

#[test]
fn the_biggest_holders_and_the_destinations_without_ports_are_told() {
    let mut w = world_of_two("port_range = [5000, 5599]");
    for n in 1..=600 {
        assert!(is_let_out(&mut w, "i", udp(n, DNS).build()), "{n}");
    }
    assert!(!is_let_out(&mut w, "j", from_j(1)));
    assert!(!is_let_out(&mut w, "j", from_j(2)));
    let frame = Frame::udp(([10, 0, 1, 11], 3), at("192.0.2.2:53")).build();
    assert!(is_let_out(&mut w, "j", frame));
    let client = |port: &str, ip: [u8; 4], ports| ClientHolding {
        client: Origin { port: w.port(port), ip: ip.into() },
        ports,
    };
    let (i, j) = (client("i", [10, 0, 1, 10], 600), client("j", [10, 0, 1, 11], 1));
    let nat = w.engine.function_as::<Nat>().unwrap();
    let all = nat.holdings(9).next().unwrap().1;
    assert_eq!(all.clients, [i, j]);
    let [dns, other] = all.destinations[..] else { panic!("{all:?}") };
    assert_eq!(
        other,
        DestinationHolding {
            protocol: Protocol::Udp,
            external_ip: [10, 0, 0, 4].into(),
            destination: at("192.0.2.2:53"),
            ports: 1,
            biggest: None,
        }
    );
    assert_eq!((dns.destination, dns.ports), (at(DNS), 600));
    let biggest = dns.biggest.unwrap();
    assert_eq!(biggest.client, i.client);
    assert!((88..=600).contains(&biggest.ports), "{biggest:?}");
    let one = Holdings { clients: vec![i], destinations: vec![dns] };
    assert_eq!(nat.holdings(1).next().unwrap().1, one);
    let refused =
        RefusedDestination { destination: Some((Protocol::Udp, at(DNS))), flows_total: 2 };
    assert_eq!(nat.refused().next().unwrap().1, [refused]);
}
