//! Packets in fragments through the NAT gateway, as the kernel's own stack makes them and puts them
//! together.

use std::time::Duration;

use halfspace_testbed::programs::Echo;

use crate::harness::{Datapath, Family, LAN, Office, datagram_socket, eventually, seen_by};

on_each_datapath!(
    large_datagrams_and_pings_pass_both_ways,
    a_gateway_that_forwards_fragments_of_udp_alone_drops_those_of_pings,
    what_is_too_large_for_the_uplink_goes_on_in_fragments,
);

/// Bytes of a datagram that takes seven fragments.
const LARGE: usize = 9000;

/// Pings the server with so many bytes; whether both requests were answered.
fn is_answered(office: &Office, family: &Family, options: &[&str]) -> bool {
    let target = family.server.to_string();
    let ping = ["ping", "-c2", "-i0.2", "-W2"].iter().chain(options).copied();
    let output = office.client.output(Duration::from_secs(20), ping.chain([&*target])).unwrap();
    output.stdout.contains("2 received, 0% packet loss")
}

fn large_datagrams_and_pings_pass_both_ways(datapath: Datapath) {
    let office = Office::open("frag-both", datapath);
    for (round, family) in (1..).zip(Family::BOTH) {
        assert!(is_answered(&office, &family, &["-s5000"]), "{:?}", office.gateway.flows());
        let _echo = Echo::start(&office.internet, family.server_at(7)).unwrap();
        let socket = datagram_socket(&office.client, family.client_at(40_000), family.server_at(7));
        // The answer is as large and a little more.
        let seen = seen_by(&socket, &"large ".repeat(LARGE / 6)).unwrap();
        assert_eq!(seen.ip(), family.public);
        assert_eq!(seen_by(&socket, "small").unwrap(), seen, "the same flow");
        let flows = office.gateway.flows();
        let flow = flows.iter().find(|it| it.forward.sent.source == seen).unwrap();
        assert_eq!((flow.forward.packets, flow.reverse.packets), (8, 8));
        // Two pings of four fragments, a datagram of seven; the same back.
        let of_fragments = [("reason", "fragment")];
        let received =
            office.gateway.count("halfspace_engine_received_packets_total", &of_fragments);
        assert_eq!(received, round * 2 * (2 * 4 + 7));
    }
    assert_eq!(office.gateway.count("halfspace_fragment_datagrams", &[]), 0);
    assert_eq!(office.gateway.count("halfspace_fragment_waiting_bytes", &[]), 0);
    office.gateway.assert_packets_add_up();
}

fn a_gateway_that_forwards_fragments_of_udp_alone_drops_those_of_pings(datapath: Datapath) {
    let mut office = Office::lay_out("frag-udp", datapath);
    office.gateway.start(&Office::resources("fragments = \"udp\"", ""));
    for (round, family) in (1..).zip(Family::BOTH) {
        let _echo = Echo::start(&office.internet, family.server_at(7)).unwrap();
        let socket = datagram_socket(&office.client, family.client_at(40_000), family.server_at(7));
        let seen = seen_by(&socket, &"large ".repeat(LARGE / 6)).unwrap();
        assert_eq!(seen.ip(), family.public);
        assert!(is_answered(&office, &family, &[]));
        assert!(!is_answered(&office, &family, &["-s5000"]));
        eventually("both to be counted", || {
            office.gateway.engine_drops("fragment_policy") == 2 * round
                && office.gateway.engine_drops("fragment_refused") == 2 * 3 * round
        });
    }
    office.gateway.assert_packets_add_up();
}

/// A LAN of jumbo frames before an uplink that takes none.
fn what_is_too_large_for_the_uplink_goes_on_in_fragments(datapath: Datapath) {
    let mut office = Office::lay_out("frag-jumbo", datapath);
    office.gateway.namespace.ip([format!("link set {LAN} mtu 9000")]).unwrap();
    office.client.ip(["link set eth0 mtu 9000"]).unwrap();
    office.gateway.start(&Office::resources("", ""));
    assert!(is_answered(&office, &Family::V4, &["-s4000", "-Mdont"]));
    assert_eq!(office.gateway.count("halfspace_engine_fragmented_packets_total", &[]), 2);
    assert_eq!(office.gateway.engine_drops("too_big"), 0);
    // No router cuts what must not be cut, nor IPv6: its sender is told, and cuts it.
    assert!(!is_answered(&office, &Family::V4, &["-s4000", "-Mdo"]));
    assert!(office.gateway.engine_drops("too_big") > 0);
    is_answered(&office, &Family::V6, &["-s4000"]);
    assert!(is_answered(&office, &Family::V6, &["-s4000"]), "its sender knows by now");
    assert_eq!(office.gateway.count("halfspace_engine_fragmented_packets_total", &[]), 2);
    office.gateway.assert_packets_add_up();
}
