//! Packets in fragments, both ways, and what of them a gateway forwards.

use nf_core::packet::TcpFlags;
use nf_core::testing::{identification_of, in_fragments};

use super::*;

fn data(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 % 251) as u8).collect()
}

/// All that leaves, whose port is always this.
fn send_all(w: &mut World, from: &str, parts: Vec<Vec<u8>>, to: &str) -> Vec<Vec<u8>> {
    let sent = parts.into_iter().flat_map(|part| w.send(from, part));
    sent.map(|(port, frame)| {
        assert_eq!(port, to);
        frame
    })
    .collect()
}

/// RFC 4787 REQ-14.
#[test]
fn fragments_are_translated_both_ways_in_any_order() {
    let cases = [
        ("10.0.1.10:4000", "192.0.2.80:53", "203.0.113.1"),
        ("[fd00:a:0:1::10]:4000", "[2001:db8:f::80]:53", "2001:db8::1"),
    ];
    for (inside, server, router) in cases {
        for backwards in [false, true] {
            let mut w = world_of_two("");
            let router = host_mac(router.parse().unwrap());
            let host = host_mac(at(inside).ip());
            let datagram = |src, dst| Frame::udp(src, dst).payload(data(3000));
            let ordered = |mut parts: Vec<Vec<u8>>| {
                if backwards {
                    parts.reverse();
                }
                parts
            };
            let query = in_fragments(&datagram(at(inside), at(server)).build(), 1000, 7);
            let left = send_all(&mut w, "i", ordered(query), "wan");
            let first = left.first().unwrap();
            let src = Headers::parse(first).unwrap().ip().unwrap().tuple().unwrap().src;
            let expected = datagram(src, at(server)).ttl(63).macs(w.mac("wan"), router);
            let mut expected = in_fragments(&expected.build(), 1000, identification_of(first));
            if backwards {
                expected[1..].reverse();
            }
            assert_eq!(left, expected);

            let answer = in_fragments(&datagram(at(server), src).build(), 1000, 7);
            let came = send_all(&mut w, "wan", ordered(answer), "i");
            let own = identification_of(&came[0]);
            let expected = datagram(at(server), at(inside)).ttl(63).macs(w.mac("i"), host);
            let mut expected = in_fragments(&expected.build(), 1000, own);
            if backwards {
                expected[1..].reverse();
            }
            assert_eq!(came, expected);
            assert_eq!((w.engine.flow_count(), usage(&w).leases), (1, 1));
        }
    }
}

/// RFC 3022, section 6.3: the server could not tell their fragments apart.
#[test]
fn two_hosts_that_use_one_identification_are_told_apart_outside() {
    let mut w = world_of_two("");
    let server = at("192.0.2.80:53");
    let [i, j] = [([10, 0, 1, 10], b'i'), ([10, 0, 1, 11], b'j')].map(|(ip, mark)| {
        let whole = Frame::udp((ip, 4000), server).payload([mark; 2000]);
        in_fragments(&whole.build(), 800, 0x0102)
    });
    // Their fragments meet on the way.
    let order =
        [("i", &i[1]), ("j", &j[0]), ("i", &i[0]), ("j", &j[2]), ("i", &i[2]), ("j", &j[1])];
    let left: Vec<_> =
        order.into_iter().flat_map(|(port, part)| w.send(port, part.clone())).collect();
    assert_eq!(left.len(), 6);
    let of = |mark: u8| {
        let marked = left.iter().filter(|(_, frame)| frame.last() == Some(&mark));
        let mut ids: Vec<_> = marked.map(|(_, frame)| identification_of(frame)).collect();
        ids.dedup();
        ids
    };
    let (of_i, of_j) = (of(b'i'), of(b'j'));
    assert_eq!((of_i.len(), of_j.len()), (1, 1), "one for all fragments of a datagram");
    assert_ne!(of_i, of_j);
    assert!(left.iter().all(|(port, frame)| port == "wan" && frame[26..30] == [198, 51, 100, 1]));
}

#[test]
fn fragments_that_nobody_has_asked_for_stay_outside() {
    let mut w = world_of_two("");
    let answer = Frame::udp(at("192.0.2.80:53"), at("198.51.100.1:5000")).payload(data(2000));
    let parts = in_fragments(&answer.build(), 800, 7);
    assert_eq!(send_all(&mut w, "wan", parts, "nowhere"), Vec::<Vec<u8>>::new());
    let dropped = [Drop::Unsolicited, Drop::FragmentRefused].map(|reason| w.dropped(reason));
    assert_eq!(dropped, [1, 2]);
    assert_eq!((w.engine.flow_count(), usage(&w).flows_total), (0, 0));
}

/// AWS's NAT gateways do so.
#[test]
fn a_gateway_may_forward_fragments_of_udp_alone() {
    let mut w = world_of_two("fragments = \"udp\"");
    let query = udp(4000, "192.0.2.80:53").payload(data(2000)).build();
    assert_eq!(send_all(&mut w, "i", in_fragments(&query, 800, 1), "wan").len(), 3);

    let syn = tcp(4000, SERVER).flags(TcpFlags::SYN);
    let request = Frame::echo_request([10, 0, 1, 10], [192, 0, 2, 80], 7, 1);
    let whole = [syn.clone().payload(data(2000)).build(), request.payload(data(2000)).build()];
    for (n, whole) in (1..).zip(whole) {
        let mut parts = in_fragments(&whole, 800, 2);
        parts.swap(0, 1);
        assert_eq!(send_all(&mut w, "i", parts, "nowhere"), Vec::<Vec<u8>>::new());
        assert_eq!(w.fate(), dropped(Drop::FragmentRefused));
        assert_eq!(w.dropped(Drop::FragmentPolicy), n);
        assert_eq!(w.dropped(Drop::FragmentRefused), 2 * n);
    }
    assert_eq!((w.engine.flow_count(), usage(&w).leases), (1, 1), "they have opened nothing");

    // Whole packets pass, and fragments of the same flow do not, from either side.
    let (src, _) = send_out(&mut w, syn.build()).unwrap();
    let segment = tcp(4000, SERVER).payload(data(2000)).build();
    let answer = Frame::tcp(at(SERVER), src).payload(data(2000)).build();
    for (port, whole) in [("i", segment), ("wan", answer)] {
        let first = in_fragments(&whole, 800, 3).swap_remove(0);
        assert_eq!(w.send(port, first), []);
        assert_eq!(w.fate(), dropped(Drop::FragmentPolicy));
    }
    assert_eq!(w.engine.counters().packets_waiting(), 0);
}

#[test]
fn what_a_gateway_forwards_changes_with_its_document() {
    let mut w = world_of_two("");
    let segment = tcp(4000, SERVER).flags(TcpFlags::SYN).payload(data(2000)).build();
    let parts = in_fragments(&segment, 800, 3);
    assert_eq!(w.send("i", parts[0].clone()).len(), 1);
    w.reload(&format!("{DOCUMENT}\nfragments = \"udp\""));
    assert_eq!(w.engine.flow_count(), 1, "the flow goes on");
    for part in &parts[1..] {
        assert_eq!(w.send("i", part.clone()), []);
        assert_eq!(w.fate(), dropped(Drop::FragmentPolicy));
    }
}
