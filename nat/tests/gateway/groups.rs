//! Security groups of an instance behind a gateway, and what its flows are held to: those that the
//! fast path makes itself as well.

use nf_core::fast_path::soft::Decision;
use nf_core::flow::Tracking;
use nf_core::verdict::Punt;

use super::*;

const DNS: &str = "192.0.2.1:53";
const MAC: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0x10]);

/// The instance's MAC address is known, and its group, which lets in everything, lets this out.
fn document(egress: &str) -> String {
    let known = "ipv6_addresses = [\"fd00:a:0:1::10\"]\n    mac_address = \"02:00:00:00:00:10\"\n    \
                 groups = [\"sg-i\"]";
    let document = DOCUMENT.replace("ipv6_addresses = [\"fd00:a:0:1::10\"]", known);
    assert_ne!(document, DOCUMENT);
    format!(
        "{document}\n[[security_group]]\ngroup_id = \"sg-i\"\ngroup_name = \"i\"\n\
         vpc_id = \"vpc-1\"\negress = [{egress}]\n\
         ingress = [{{ ip_protocol = \"-1\", cidr_ipv4 = \"0.0.0.0/0\" }}]\n"
    )
}

const EVERYTHING: &str = r#"{ ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/0" }"#;

fn query(w: &World, n: u16, mac: MacAddr) -> Vec<u8> {
    udp(n, DNS).macs(mac, w.mac("i")).build()
}

#[test]
fn flows_through_a_gateway_are_tracked_however_open_the_rules_and_whoever_made_them() {
    let mut w = World::among_hosts(&document(EVERYTHING), functions);
    for n in 1..=3 {
        let frame = query(&w, n, MAC);
        assert!(send_out(&mut w, frame).is_some());
    }
    assert_eq!(w.engine.counters().flows_made, 1, "the third");
    for view in flows(&mut w) {
        assert_eq!(view.flow.tracking, Tracking::BOTH);
        for key in [view.flow.forward, view.flow.reverse] {
            assert_eq!(w.path.entry(&key).unwrap().tracking, Tracking::BOTH, "{key}");
        }
    }
    w.reload(&document(""));
    for n in 1..=3 {
        let frame = query(&w, n, MAC);
        assert!(send_out(&mut w, frame).is_some(), "flow {n} outlives the rule");
        assert_eq!(w.fate(), Fate::Fast(Decision::Forward(w.port("wan"))));
    }
    let frame = query(&w, 4, MAC);
    assert_eq!(send_out(&mut w, frame), None);
    assert_eq!(w.fate(), dropped(Drop::SecurityGroup));
    // Nor does the next process ask again.
    assert_eq!(w.restart(), 3);
    let frame = query(&w, 3, MAC);
    assert!(send_out(&mut w, frame).is_some());
}

#[test]
fn a_flow_that_the_fast_path_has_made_is_held_to_the_instances_mac_address() {
    let mut w = World::among_hosts(&document(EVERYTHING), functions);
    let other = MacAddr::new([2, 0, 0, 0, 0, 0x11]);
    for n in 1..=3 {
        let frame = query(&w, n, MAC);
        send_out(&mut w, frame);
    }
    for (n, port) in [(1, "i"), (3, "i")] {
        let frame = query(&w, n, other);
        assert_eq!(w.send(port, frame), [], "flow {n}");
        assert_eq!(w.fate(), dropped(Drop::SourceCheck));
    }
    assert_eq!(w.engine.counters().punts[Punt::SourceMac as usize], 2);
    // Nobody knows the MAC addresses of what comes by the uplink.
    let answers = flows(&mut w).into_iter().map(|view| view.flow.reverse.tuple);
    for answer in answers.collect::<Vec<_>>() {
        let frame = Frame::udp(answer.src, answer.dst).payload(*b"answer").macs(other, other);
        assert_eq!(w.send("wan", frame.build()).len(), 1);
    }
}
