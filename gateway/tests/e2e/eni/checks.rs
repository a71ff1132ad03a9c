//! Source and destination check, and what else an attached port may not pretend.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use halfspace_testbed::programs::Echo;
use nf_core::packet::{Frame, MacAddr, build};

use crate::harness::region::{Region, at};
use crate::harness::{Datapath, Wire, datagram_socket, eventually, seen_by};

on_each_datapath!(
    a_forged_source_address_is_dropped_and_counted,
    a_forged_mac_address_is_dropped_even_in_an_established_flow,
    a_forged_arp_or_ndp_claim_is_not_believed,
    without_the_check_an_instance_forwards_for_others,
);

const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 20);

fn wire(region: &Region) -> Wire {
    Wire::open(&region.web.namespace, "eth0", &region.gateway.namespace, "web0")
}

fn a_forged_source_address_is_dropped_and_counted(datapath: Datapath) {
    let region = Region::open("eni-forged-ip", datapath);
    let wire = wire(&region);
    let to = at(region.db.primary, 7);
    let from: [IpAddr; 3] =
        [NEIGHBOUR.into(), Ipv4Addr::new(10, 0, 2, 30).into(), Ipv4Addr::new(8, 8, 8, 8).into()];
    for source in from {
        let before = region.gateway.engine_drops("source_check");
        wire.send(&Frame::udp(at(source, 4000), to).macs(wire.mac, wire.peer).build());
        eventually("it to be dropped", || {
            region.gateway.engine_drops("source_check") == before + 1
        });
    }
    assert!(region.gateway.flows().is_empty());
}

fn a_forged_mac_address_is_dropped_even_in_an_established_flow(datapath: Datapath) {
    let region = Region::open("eni-forged-mac", datapath);
    let _echo = Echo::start(&region.db.namespace, at(region.db.primary, 7)).unwrap();
    let (local, to) = (at(region.web.primary, 4000), at(region.db.primary, 7));
    let socket = datagram_socket(&region.web.namespace, local, to);
    seen_by(&socket, "established").unwrap();
    let sent = || region.gateway.flows()[0].forward.packets;
    let (wire, before) = (wire(&region), sent());
    let forged = MacAddr([2, 0, 0, 0, 0xee, 0xee]);
    for _ in 0..3 {
        let dropped = region.gateway.engine_drops("source_check");
        wire.send(&Frame::udp(local, to).macs(forged, wire.peer).build());
        eventually("it to be dropped", || {
            region.gateway.engine_drops("source_check") == dropped + 1
        });
    }
    assert_eq!(sent(), before, "none of them went on");
    seen_by(&socket, "the flow does").unwrap();
}

fn a_forged_arp_or_ndp_claim_is_not_believed(datapath: Datapath) {
    let region = Region::open("eni-forged-arp", datapath);
    let _echo = Echo::start(&region.standby.namespace, at(NEIGHBOUR, 7)).unwrap();
    let local = at(region.db.primary, 4000);
    let socket = datagram_socket(&region.db.namespace, local, at(NEIGHBOUR, 7));
    seen_by(&socket, "before").unwrap();
    let wire = wire(&region);
    let router = Ipv4Addr::new(10, 0, 1, 1);
    let claims = [
        build::arp_request(wire.mac, NEIGHBOUR, router),
        // Its own address at another's MAC address.
        build::arp_request(MacAddr([2, 0, 0, 0, 0xee, 0xee]), region.web.primary, router),
        build::neighbour_advertisement(
            wire.mac,
            "2001:db8:a:1::20".parse().unwrap(),
            true,
            Some((wire.peer, "2001:db8:a:1::1".parse().unwrap())),
        ),
    ];
    for claim in claims {
        let before = region.gateway.engine_drops("neighbour_spoof");
        wire.send(&claim);
        eventually("it to be dropped", || {
            region.gateway.engine_drops("neighbour_spoof") == before + 1
        });
    }
    assert_eq!(seen_by(&socket, "after").unwrap(), local);
}

fn without_the_check_an_instance_forwards_for_others(datapath: Datapath) {
    let region = Region::open("eni-appliance", datapath);
    let wire = wire(&region);
    let _echo = Echo::start(&region.db.namespace, at(region.db.primary, 7)).unwrap();
    let behind: SocketAddr = "192.168.7.7:4000".parse().unwrap();
    let frame =
        Frame::udp(behind, at(region.db.primary, 7)).macs(wire.mac, wire.peer).payload(*b"?");
    let frame = frame.build();
    wire.send(&frame);
    eventually("it to be dropped", || region.gateway.engine_drops("source_check") == 1);

    region.act(["eni", "modify", "eni-web", "--source-dest-check", "false"]);
    region.act([
        "sg",
        "authorize",
        "sg-inside",
        "ingress",
        "--protocol",
        "udp",
        "--port",
        "7",
        "--cidr",
        "192.168.7.0/24",
    ]);
    region.act(["route", "create", "rtb-a", "192.168.7.0/24", "--eni", "eni-web"]);
    assert!(wire.is_answered(&frame, |answer| {
        // From the echo to the host behind the appliance: IPv4 destination at 30.
        answer.len() > 34 && answer[30..34] == [192, 168, 7, 7]
    }));
    // With the check on again it is over, flows included.
    region.act(["eni", "modify", "eni-web", "--source-dest-check", "true"]);
    let before = region.gateway.engine_drops("source_check");
    wire.send(&frame);
    eventually("it to be dropped", || region.gateway.engine_drops("source_check") > before);
}
