//! The load balancer: clients' addresses are kept, flows are spread by weight over healthy targets,
//! and what is for no listener is refused.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use halfspace_testbed::programs::Echo;
use halfspace_testbed::{Testbed, http};
use nf_core::packet::{Frame, Headers, TcpFlags, Transport};

use crate::harness::shop::{Shop, TARGETS, balancer};
use crate::harness::{
    Datapath, Family, Gateway, Wire, any_port, converse, curl, datagram_socket, eventually,
    seen_by, url,
};

on_each_datapath!(
    targets_share_the_flows_and_see_the_clients,
    a_dead_target_is_routed_around_and_the_others_keep_their_connections,
    flows_are_spread_by_weight,
    what_is_for_no_listener_or_no_flow_is_refused,
    a_target_removed_from_the_document_loses_its_flows_and_no_other_does,
    a_public_ipv6_address_needs_no_other_in_front_of_it,
);

const EQUAL: [(usize, u32); TARGETS] = [(0, 1), (1, 1), (2, 1)];

/// Large enough for an even spread to show, see [`assert_even`].
const FLOWS: usize = 120;

fn targets_share_the_flows_and_see_the_clients(datapath: Datapath) {
    let shop = Shop::open("nlb-spread", datapath, &EQUAL);
    for family in Family::BOTH {
        let output = curl(&shop.internet, &[&url(balancer(&family, 80), "/")]);
        assert!(output.status.success(), "{output:?}");
        assert!(["0", "1", "2"].contains(&output.stdout.as_str()), "{output:?}");

        let before = shop.targets.each_ref().map(|target| target.peers().len());
        for _ in 0..FLOWS {
            let heard = converse(&shop.internet, balancer(&family, 7)).unwrap();
            assert_eq!(heard.seen_as, heard.local, "the target sees the client");
        }
        let after = shop.targets.each_ref().map(|target| target.peers().len());
        assert_even(before, after);

        for _ in 0..FLOWS {
            let local = any_port(family.router);
            let socket = datagram_socket(&shop.internet, local, balancer(&family, 7));
            let seen = seen_by(&socket, "once").unwrap();
            assert_eq!(seen, socket.local_addr().unwrap(), "the target sees the client");
            assert_eq!(seen_by(&socket, "twice").unwrap(), seen);
        }
        // Each flow counts for two datagrams.
        let last = shop.targets.each_ref().map(|target| target.peers().len());
        assert_eq!(last.iter().sum::<usize>() - after.iter().sum::<usize>(), 2 * FLOWS);
        assert_even(after, last);
    }
}

/// A third is 40 with a standard deviation of 5: 15 is five of them away. TCP's initial sequence
/// number is part of the choice, so the spread is another each time.
fn assert_even(before: [usize; TARGETS], after: [usize; TARGETS]) {
    let grown: Vec<_> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    assert!(grown.iter().all(|count| *count >= 15), "{grown:?}");
}

fn a_dead_target_is_routed_around_and_the_others_keep_their_connections(datapath: Datapath) {
    let mut shop = Shop::open("nlb-dead", datapath, &EQUAL);
    let mut downloads = Vec::new();
    for family in Family::BOTH {
        let server = balancer(&family, 80);
        // 4 MiB in seven seconds: the target dies meanwhile.
        let blob = url(server, "/blob?rate=600k");
        let process = shop.internet.spawn(["curl", "-sSg", "--max-time", "30", &blob]).unwrap();
        let mut chosen = None;
        eventually("the download to begin", || {
            let flows = shop.gateway.flows();
            let flow = flows.iter().find(|flow| flow.forward.received.destination == server);
            chosen = flow.map(|flow| flow.forward.sent.destination.ip());
            chosen.is_some()
        });
        let number = shop.targets.iter().position(|it| it.addresses().contains(&chosen.unwrap()));
        downloads.push((process, number.unwrap()));
    }
    let busy: Vec<_> = downloads.iter().map(|(_, number)| *number).collect();
    let dead = (0..TARGETS).find(|number| !busy.contains(number)).unwrap();
    let addresses = shop.targets[dead].addresses();
    shop.targets[dead].stop();
    eventually("its death to be noticed", || {
        shop.health()
            .iter()
            .all(|((_, target), state)| (state == "unhealthy") == addresses.contains(&target.ip()))
    });
    for family in Family::BOTH {
        for _ in 0..30 {
            let answer = http::get(&shop.internet, balancer(&family, 80), "/").unwrap();
            assert_ne!(answer.body, dead.to_string());
        }
    }
    assert!(downloads.iter().all(|(it, _)| it.is_running()), "they were to last until here");
    for (download, _) in &mut downloads {
        let output = download.success(Duration::from_secs(30)).unwrap();
        assert_eq!(output.stdout.len(), 4 << 20);
    }

    shop.targets[dead].start();
    shop.wait_for_health(|state| state == "healthy");
    for family in Family::BOTH {
        eventually("the target to serve again", || {
            let answer = http::get(&shop.internet, balancer(&family, 80), "/").unwrap();
            answer.body == dead.to_string()
        });
    }
}

fn flows_are_spread_by_weight(datapath: Datapath) {
    let shop = Shop::open("nlb-weight", datapath, &[(0, 1), (1, 3), (2, 0)]);
    for family in Family::BOTH {
        let mut count = BTreeMap::new();
        for _ in 0..200 {
            let answer = http::get(&shop.internet, balancer(&family, 80), "/").unwrap();
            *count.entry(answer.body).or_insert(0) += 1;
        }
        // A quarter is 50 with a standard deviation of 6.
        assert!((20..=80).contains(&count["0"]), "{count:?}");
        assert_eq!(count["0"] + count["1"], 200, "{count:?}");
    }
}

fn what_is_for_no_listener_or_no_flow_is_refused(datapath: Datapath) {
    let shop = Shop::open("nlb-refuse", datapath, &EQUAL);
    let wire = Wire::open(&shop.internet, "eth0", &shop.gateway.namespace, "wan0");
    for (round, family) in (1..).zip(Family::BOTH) {
        // No listener: silence.
        let connect = ["--connect-timeout", "0.7", &url(balancer(&family, 81), "/")];
        assert_eq!(curl(&shop.internet, &connect).status.code(), Some(28), "curl's time-out");
        assert!(shop.gateway.engine_drops("no_listener") >= round);

        // A listener, and a segment of no connection that it knows.
        let client = SocketAddr::new(family.router, 55_555);
        let segment = Frame::tcp(client, balancer(&family, 7))
            .macs(wire.mac, wire.peer)
            .flags(TcpFlags::ACK)
            .seq(1000)
            .ack(7777)
            .build();
        let reset = wire.is_answered(&segment, |frame| {
            let Ok(headers) = Headers::parse(frame) else { return false };
            let Some(ip) = headers.ip() else { return false };
            let Transport::Tcp { flags, seq, .. } = ip.transport else { return false };
            let to_client = ip.tuple().is_some_and(|tuple| tuple.dst == client);
            // RFC 9293, section 3.10.7.1: the sequence number of a RST that answers an ACK is
            // that ACK's.
            to_client && flags.contains(TcpFlags::RST) && seq == 7777
        });
        assert!(reset, "no RST came");
        assert_eq!(shop.gateway.engine_drops("no_flow"), round);
    }
    assert_eq!(shop.targets.iter().map(|target| target.peers().len()).sum::<usize>(), 0);
}

fn a_target_removed_from_the_document_loses_its_flows_and_no_other_does(datapath: Datapath) {
    let shop = Shop::open("nlb-remove", datapath, &EQUAL);
    let removed = shop.targets[0].addresses();
    let mut conversations = Vec::new();
    for family in Family::BOTH {
        let mut to_removed = 0;
        // Until the target has some, and the others too, which 60 random choices do not miss.
        for _ in 0..20 {
            let mut heard = converse(&shop.internet, balancer(&family, 7)).unwrap();
            heard.echo("before").unwrap();
            let flows = shop.gateway.flows();
            let flow = flows.iter().find(|flow| flow.is_from(heard.local)).unwrap();
            let target = flow.forward.sent.destination.ip();
            to_removed += usize::from(removed.contains(&target));
            conversations.push((heard, target));
        }
        assert!((1..20).contains(&to_removed), "{to_removed}");
    }
    shop.gateway.change_resources(&Shop::resources(&EQUAL[1..]));

    for (heard, target) in &mut conversations {
        let outcome = heard.echo("after");
        if removed.contains(target) {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::ConnectionReset);
        } else {
            outcome.unwrap();
        }
    }
    let ended = shop.gateway.count("halfspace_flows_ended_total", &[("how", "policy")]);
    let lost = conversations.iter().filter(|(_, target)| removed.contains(target)).count();
    assert_eq!(ended, lost as u64);
    for family in Family::BOTH {
        for _ in 0..30 {
            let answer = http::get(&shop.internet, balancer(&family, 80), "/").unwrap();
            assert_ne!(answer.body, "0");
        }
    }
}

/// A VPC whose IPv6 block the internet routes to the gateway.
const PUBLIC_VPC: &str = r#"
[[vpc]]
vpc_id = "vpc-global"
cidr_block = "10.0.0.0/16"
ipv6_cidr_block = "2001:db8:40::/56"

[[subnet]]
subnet_id = "subnet-global"
vpc_id = "vpc-global"
cidr_block = "10.0.0.0/24"
ipv6_cidr_block = "2001:db8:40::/64"

[[security_group]]
group_id = "sg-open"
group_name = "open"
vpc_id = "vpc-global"
ingress = [
    { ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/0" },
    { ip_protocol = "-1", cidr_ipv6 = "::/0" },
]

[[network_interface]]
network_interface_id = "eni-global"
subnet_id = "subnet-global"
private_ip_address = "10.0.0.11"
ipv6_addresses = ["2001:db8:40::11"]
groups = ["sg-open"]
port = "web1"

[[load_balancer]]
load_balancer_name = "global"
scheme = "internet-facing"
subnet_mapping = [{ subnet_id = "subnet-global", ipv6_address = "2001:db8:40::80" }]
listener = [{ protocol = "TCP", port = 7, target_group_name = "echo" }]

[[target_group]]
target_group_name = "echo"
protocol = "TCP"
port = 7
vpc_id = "vpc-global"
target = [{ id = "2001:db8:40::11" }]

[[internet_gateway]]
internet_gateway_id = "igw-global"
vpc_id = "vpc-global"
uplink_id = "uplink-wan"

[[uplink]]
uplink_id = "uplink-wan"
port = "wan0"
addresses = ["2001:db8:1::2/64"]
gateways = ["2001:db8:1::1"]
"#;

fn a_public_ipv6_address_needs_no_other_in_front_of_it(datapath: Datapath) {
    let bed = Testbed::new("nlb-global").unwrap();
    let mut gateway = Gateway::prepare(&bed, datapath);
    let (internet, web) = (bed.namespace("internet").unwrap(), bed.namespace("web1").unwrap());
    let gw = &gateway.namespace;
    bed.veths(&[((gw, "wan0"), (&internet, "eth0")), ((gw, "web1"), (&web, "eth0"))]).unwrap();
    internet
        .ip([
            "address add 2001:db8:1::1/64 dev eth0",
            "route add 2001:db8:40::/56 via 2001:db8:1::2",
        ])
        .unwrap();
    web.ip(["address add 2001:db8:40::11/64 dev eth0", "route add default via 2001:db8:40::1"])
        .unwrap();
    gateway.start(PUBLIC_VPC);
    let at = |text: &str| text.parse::<SocketAddr>().unwrap();
    let _echo = Echo::start(&web, at("[2001:db8:40::11]:7")).unwrap();
    let mut heard = converse(&internet, at("[2001:db8:40::80]:7")).unwrap();
    assert_eq!(heard.seen_as, heard.local, "the target sees the client");
    heard.echo("through").unwrap();
    // The target itself is not: its subnet has no route to the internet gateway.
    let error = converse(&internet, at("[2001:db8:40::11]:7")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(gateway.engine_drops("no_route") > 0);
}
