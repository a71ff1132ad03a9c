//! Addresses that come and go while a gateway works: no new flow leaves from a draining one, and
//! what there is on it goes on until it is taken away.

use std::collections::{BTreeMap, BTreeSet};

use nf_core::packet::TcpFlags;

use super::*;

/// The gateway with this said of its secondary address and of the rest.
fn document(secondary: &str, keys: &str) -> String {
    format!(
        r"{DOCUMENT}
    port_range = [5000, 5999]
    secondary_address = [{secondary}]
    {keys}
    "
    )
}

const BOTH: &str = r#"{ allocation_id = "eipalloc-2", private_ip_address = "10.0.0.9" }"#;
const DRAINING: &str =
    r#"{ allocation_id = "eipalloc-2", private_ip_address = "10.0.0.9", drain_until = 0 }"#;
const INDEPENDENT: &str =
    "mapping = \"endpoint-independent\"\nfiltering = \"endpoint-independent\"";

/// Groups that let everything in.
const OPEN: &str = r#"
    [[security_group]]
    group_id = "sg-open"
    group_name = "open"
    vpc_id = "vpc-1"
    egress = [{ ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/0" }]
    ingress = [{ ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/0" }]
"#;

/// With a second address of the instance's for every host, since a host is paired with one address
/// of the gateway.
fn hosts(document: &str) -> String {
    let own = "private_ip_address = \"10.0.1.10\"";
    let more: Vec<_> = (11..=30).map(|host| format!("\"10.0.1.{host}\"")).collect();
    let more = format!("{own}\n    secondary_private_ip_addresses = [{}]", more.join(", "));
    let with = document.replace(own, &more);
    assert_ne!(with, document);
    with
}

fn host(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, host], port))
}

/// What a host is seen as when it sends a datagram to `dst`.
fn seen_as(w: &mut World, src: SocketAddr, dst: &str) -> SocketAddr {
    let frame = Frame::udp(src, at(dst)).payload(*b"query").build();
    let (seen, _) = send_out(w, frame).unwrap_or_else(|| panic!("{src} to {dst}: {:?}", w.fate()));
    seen
}

/// Where a datagram from `src` to what a host is seen as ends up.
fn comes_in(w: &mut World, src: &str, seen: SocketAddr) -> Option<SocketAddr> {
    let sent = w.send("wan", Frame::udp(at(src), seen).payload(*b"answer").build());
    let [(port, frame)] = &sent[..] else {
        assert!(sent.is_empty(), "{sent:?}");
        return None;
    };
    assert_eq!(port, "i");
    Some(Headers::parse(frame).unwrap().ip().unwrap().tuple().unwrap().dst)
}

/// One flow of every host's, by host.
fn one_each(w: &mut World) -> BTreeMap<u8, SocketAddr> {
    (10..=30).map(|n| (n, seen_as(w, host(n, 4000), "192.0.2.1:53"))).collect()
}

fn addresses(flows: &BTreeMap<u8, SocketAddr>) -> BTreeSet<String> {
    flows.values().map(|seen| seen.ip().to_string()).collect()
}

/// Every flow of [`one_each`] is what it was, both ways.
fn go_on(w: &mut World, flows: &BTreeMap<u8, SocketAddr>) {
    for (&n, &seen) in flows {
        assert_eq!(seen_as(w, host(n, 4000), "192.0.2.1:53"), seen);
        assert_eq!(comes_in(w, "192.0.2.1:53", seen), Some(host(n, 4000)));
    }
}

const FIRST: &str = "198.51.100.1";
const SECOND: &str = "198.51.100.2";

#[test]
fn no_new_flow_leaves_from_a_draining_address_and_old_ones_go_on_in_both_modes() {
    for mode in ["", INDEPENDENT] {
        let mut w = World::among_hosts(&hosts(&document(BOTH, mode)), functions);
        let old = one_each(&mut w);
        assert_eq!(addresses(&old), [FIRST, SECOND].map(str::to_owned).into());
        w.reload(&hosts(&document(DRAINING, mode)));
        assert_eq!(w.engine.flow_count(), old.len());
        go_on(&mut w, &old);
        for n in 10..=30 {
            let seen = seen_as(&mut w, host(n, 4001), "192.0.2.1:53");
            assert_eq!(seen.ip().to_string(), FIRST, "host {n}");
        }
        go_on(&mut w, &old);
    }
}

#[test]
fn a_drain_is_known_to_the_next_process_in_both_modes() {
    for mode in ["", INDEPENDENT] {
        let mut w = World::among_hosts(&hosts(&document(BOTH, mode)), functions);
        let old = one_each(&mut w);
        w.reload(&hosts(&document(DRAINING, mode)));
        let new = seen_as(&mut w, host(30, 4001), "192.0.2.1:53");
        assert_eq!(w.restart(), old.len() + 1);
        go_on(&mut w, &old);
        assert_eq!(seen_as(&mut w, host(30, 4001), "192.0.2.1:53"), new);
        for n in 10..=30 {
            let seen = seen_as(&mut w, host(n, 4002), "192.0.2.1:53");
            assert_eq!(seen.ip().to_string(), FIRST, "host {n}");
        }
    }
}

#[test]
fn flows_of_a_drained_address_end_when_it_is_taken_away_and_no_others() {
    for mode in ["", INDEPENDENT] {
        let mut w = World::among_hosts(&hosts(&document(BOTH, mode)), functions);
        let old = one_each(&mut w);
        w.reload(&hosts(&document(DRAINING, mode)));
        w.reload(&hosts(&document("", mode)));
        let (left, ended): (BTreeMap<_, _>, BTreeMap<_, _>) =
            old.into_iter().partition(|(_, seen)| seen.ip().to_string() == FIRST);
        assert!(!left.is_empty() && !ended.is_empty());
        assert_eq!(w.engine.flow_count(), left.len());
        assert_eq!((usage(&w).leases, usage(&w).quarantined), (left.len(), ended.len()));
        go_on(&mut w, &left);
        for (n, seen) in ended {
            assert_eq!(comes_in(&mut w, "192.0.2.1:53", seen), None);
            let again = seen_as(&mut w, host(n, 4000), "192.0.2.1:53");
            assert_eq!(again.ip().to_string(), FIRST);
        }
    }
}

#[test]
fn an_address_that_comes_at_run_time_keeps_every_flow_and_takes_new_ones() {
    for mode in ["", INDEPENDENT] {
        let mut w = World::among_hosts(&hosts(&document("", mode)), functions);
        let old = one_each(&mut w);
        assert_eq!(addresses(&old), [FIRST.to_owned()].into());
        w.reload(&hosts(&document(BOTH, mode)));
        assert_eq!(w.engine.flow_count(), old.len());
        go_on(&mut w, &old);
        let new: BTreeSet<_> = (10..=30)
            .map(|n| seen_as(&mut w, host(n, 4001), "192.0.2.1:53").ip().to_string())
            .collect();
        assert_eq!(new, [FIRST, SECOND].map(str::to_owned).into());
        go_on(&mut w, &old);
    }
}

#[test]
fn a_connection_on_a_draining_address_is_closed_by_its_ends_and_opened_again_elsewhere() {
    let mut w = World::among_hosts(&hosts(&document(BOTH, "")), functions);
    let old = one_each(&mut w);
    let (&n, _) = old.iter().find(|(_, seen)| seen.ip().to_string() == SECOND).unwrap();
    let segment = |flags| Frame::tcp(host(n, 4000), at(SERVER)).flags(flags).build();
    let (seen, _) = send_out(&mut w, segment(TcpFlags::SYN)).unwrap();
    assert_eq!(seen.ip().to_string(), SECOND);
    let back = |flags| Frame::tcp(at(SERVER), seen).flags(flags).build();
    assert_eq!(w.send("wan", back(TcpFlags::SYN | TcpFlags::ACK)).len(), 1);
    w.reload(&hosts(&document(DRAINING, "")));
    for flags in [TcpFlags::ACK, TcpFlags::ACK, TcpFlags::FIN | TcpFlags::ACK] {
        assert_eq!(send_out(&mut w, segment(flags)).unwrap().0, seen);
        assert_eq!(w.send("wan", back(flags)).len(), 1);
    }
    w.pass(std::time::Duration::from_secs(31));
    let (again, _) = send_out(&mut w, segment(TcpFlags::SYN)).unwrap();
    assert_eq!(again.ip().to_string(), FIRST);
}

/// A host of an endpoint-independent gateway that is seen as the second address.
fn mapped() -> (World, u8, SocketAddr) {
    let mut w = World::among_hosts(&mapped_document(BOTH), functions);
    let old = one_each(&mut w);
    let (&n, &seen) = old.iter().find(|(_, seen)| seen.ip().to_string() == SECOND).unwrap();
    w.reload(&mapped_document(DRAINING));
    (w, n, seen)
}

fn mapped_document(secondary: &str) -> String {
    let own = "ipv6_addresses = [\"fd00:a:0:1::10\"]";
    let open = format!("{own}\n    groups = [\"sg-open\"]");
    hosts(&(document(secondary, INDEPENDENT) + OPEN)).replace(own, &open)
}

#[test]
fn a_mapping_on_a_draining_address_has_one_successor_and_is_reached_until_it_is_over() {
    let (mut w, n, old) = mapped();
    let mappings = usage(&w).mappings;
    let new = seen_as(&mut w, host(n, 4000), "192.0.2.2:53");
    assert_eq!(new.ip().to_string(), FIRST);
    for dst in ["192.0.2.3:53", "192.0.2.4:9"] {
        assert_eq!(seen_as(&mut w, host(n, 4000), dst), new, "one successor, whoever the peer is");
    }
    assert_eq!(usage(&w).mappings, mappings + 1);
    // Whoever was told of the old one still reaches the host by it, as by the new one.
    assert_eq!(comes_in(&mut w, "198.18.0.9:1", old), Some(host(n, 4000)));
    assert_eq!(comes_in(&mut w, "198.18.0.9:2", new), Some(host(n, 4000)));
    // And the old flow is what it was.
    assert_eq!(seen_as(&mut w, host(n, 4000), "192.0.2.1:53"), old);
    w.reload(&mapped_document(""));
    assert_eq!(comes_in(&mut w, "198.18.0.9:1", old), None);
    assert_eq!(comes_in(&mut w, "198.18.0.9:2", new), Some(host(n, 4000)));
    assert_eq!(seen_as(&mut w, host(n, 4000), "192.0.2.1:53"), new);
}

#[test]
fn a_new_process_knows_a_mapping_and_its_successor_apart() {
    let (mut w, n, old) = mapped();
    let new = seen_as(&mut w, host(n, 4000), "192.0.2.2:53");
    assert_eq!(comes_in(&mut w, "198.18.0.9:1", old), Some(host(n, 4000)));
    let (count, mappings) = (w.engine.flow_count(), usage(&w).mappings);
    assert_eq!(w.restart(), count);
    assert_eq!((usage(&w).mappings, usage(&w).leases), (mappings, mappings));
    assert_eq!(seen_as(&mut w, host(n, 4000), "192.0.2.1:53"), old);
    assert_eq!(seen_as(&mut w, host(n, 4000), "192.0.2.2:53"), new);
    assert_eq!(seen_as(&mut w, host(n, 4000), "192.0.2.5:53"), new, "new flows have the successor");
    assert_eq!(comes_in(&mut w, "198.18.0.9:5", old), Some(host(n, 4000)));
}

#[test]
fn a_drain_that_is_taken_back_gives_the_address_to_new_flows_again() {
    let (mut w, n, old) = mapped();
    let new = seen_as(&mut w, host(n, 4000), "192.0.2.2:53");
    w.reload(&mapped_document(BOTH));
    assert_eq!(seen_as(&mut w, host(n, 4000), "192.0.2.1:53"), old);
    // The host is seen as one address and port by all whom it sends to from now on.
    assert_eq!(seen_as(&mut w, host(n, 4000), "192.0.2.6:53"), new);
    assert_eq!(seen_as(&mut w, host(n, 4007), "192.0.2.6:53").ip(), old.ip());
}

#[test]
fn the_fast_path_makes_no_flows_from_a_draining_address() {
    let mut w = World::among_hosts(&hosts(&document(BOTH, "")), functions);
    let old = one_each(&mut w);
    let (&n, _) = old.iter().find(|(_, seen)| seen.ip().to_string() == SECOND).unwrap();
    assert_eq!(seen_as(&mut w, host(n, 4001), "192.0.2.1:53").ip().to_string(), SECOND);
    assert_eq!(w.engine.template_count(), 1);
    let set_aside = usage(&w).set_aside;
    assert_ne!(set_aside, 0);
    w.reload(&hosts(&document(DRAINING, "")));
    assert_eq!((w.engine.template_count(), usage(&w).set_aside), (0, 0));
    for port in 4002..4010 {
        let seen = seen_as(&mut w, host(n, port), "192.0.2.1:53");
        assert_eq!(seen.ip().to_string(), FIRST, "port {port}");
    }
    assert_eq!(w.engine.template_count(), 1, "of the class as it is now");
}
