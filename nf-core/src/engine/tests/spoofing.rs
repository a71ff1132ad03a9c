//! Who may say that they are who: frames, sources, destinations and claims are held to the
//! interface's own, prefixes included, and nobody outside is one of us.

use super::*;
use crate::fast_path::soft::{Decision, FrameMeta};
use crate::packet::build;
use crate::vpc::{Document, Snapshot};

/// Instances with prefixes, public IPv6 addresses, and a subnet that has no way out.
const NETWORK: &str = r#"
    [[vpc]]
    vpc_id = "vpc-1"
    cidr_block = "10.0.0.0/16"
    ipv6_cidr_block = "2001:db8:a::/56"

    [[uplink]]
    uplink_id = "uplink-wan"
    port = "wan"
    addresses = ["203.0.113.2/24", "2001:db8::2/64"]
    gateways = ["203.0.113.1", "2001:db8::1"]

    [[internet_gateway]]
    internet_gateway_id = "igw-1"
    vpc_id = "vpc-1"
    uplink_id = "uplink-wan"

    [[route_table]]
    route_table_id = "rtb-main"
    vpc_id = "vpc-1"
    main = true
    route = [
        { destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-1" },
        { destination_cidr_block = "192.168.0.0/16", network_interface_id = "eni-b" },
        { destination_cidr_block = "172.16.0.0/12", network_interface_id = "eni-c" },
        { destination_ipv6_cidr_block = "::/0", gateway_id = "igw-1" },
    ]

    [[route_table]]
    route_table_id = "rtb-private"
    vpc_id = "vpc-1"

    [[subnet]]
    subnet_id = "subnet-1"
    vpc_id = "vpc-1"
    cidr_block = "10.0.1.0/24"
    ipv6_cidr_block = "2001:db8:a:1::/64"

    [[subnet]]
    subnet_id = "subnet-private"
    vpc_id = "vpc-1"
    cidr_block = "10.0.2.0/24"
    ipv6_cidr_block = "2001:db8:a:2::/64"
    route_table_id = "rtb-private"

    [[security_group]]
    group_id = "sg-all"
    group_name = "all"
    vpc_id = "vpc-1"
    ingress = [
        { ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/0" },
        { ip_protocol = "-1", cidr_ipv6 = "::/0" },
    ]

    [[security_group]]
    group_id = "sg-web"
    group_name = "web"
    vpc_id = "vpc-1"
    ingress = [{ ip_protocol = "tcp", from_port = 443, to_port = 443, cidr_ipv6 = "::/0" }]

    [[network_interface]]
    network_interface_id = "eni-a"
    subnet_id = "subnet-1"
    private_ip_address = "10.0.1.10"
    ipv4_prefixes = ["10.0.1.32/28"]
    ipv6_addresses = ["2001:db8:a:1::10"]
    ipv6_prefixes = ["2001:db8:a:1:1::/80"]
    mac_address = "02:00:00:00:00:0a"
    groups = ["sg-all"]
    port = "a"

    [[network_interface]]
    network_interface_id = "eni-b"
    subnet_id = "subnet-1"
    private_ip_address = "10.0.1.11"
    ipv6_addresses = ["2001:db8:a:1::11"]
    mac_address = "02:00:00:00:00:0b"
    groups = ["sg-web", "sg-all"]
    port = "b"

    # An appliance that forwards for others, its MAC address unknown.
    [[network_interface]]
    network_interface_id = "eni-c"
    subnet_id = "subnet-1"
    private_ip_address = "10.0.1.12"
    groups = ["sg-all"]
    port = "c"
    source_dest_check = false

    [[network_interface]]
    network_interface_id = "eni-web"
    subnet_id = "subnet-1"
    private_ip_address = "10.0.1.13"
    ipv6_addresses = ["2001:db8:a:1::13"]
    mac_address = "02:00:00:00:00:0d"
    groups = ["sg-web"]
    port = "web"

    [[network_interface]]
    network_interface_id = "eni-private"
    subnet_id = "subnet-private"
    private_ip_address = "10.0.2.10"
    ipv6_addresses = ["2001:db8:a:2::10"]
    mac_address = "02:00:00:00:00:0e"
    groups = ["sg-all"]
    port = "private"

    [[address]]
    allocation_id = "eipalloc-private"
    public_ip = "198.51.100.20"
    network_interface_id = "eni-private"

    [[instance]]
    instance_id = "i-1"
    port = [{ name = "p0" }, { name = "p1", device_index = 1 }]

    [[network_interface]]
    network_interface_id = "eni-primary"
    subnet_id = "subnet-1"
    private_ip_address = "10.0.1.70"
    groups = ["sg-all"]
    attachment = { instance_id = "i-1", device_index = 0 }
"#;

/// The instances behind ports `web` and `private`.
const WEB: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0x0d]);
const PRIVATE: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0x0e]);
/// The router outside.
const ROUTER: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0xfe]);

fn begin() -> World {
    World::new(NETWORK, no_functions)
}

fn v6(text: &str) -> std::net::Ipv6Addr {
    text.parse().unwrap()
}

#[test]
fn packets_of_a_flow_come_from_the_interfaces_own_mac_address_for_as_long_as_it_lasts() {
    for (client, server) in
        [("10.0.1.10:4000", "10.0.1.11:443"), ("[2001:db8:a:1::10]:4000", "[2001:db8:a:1::11]:443")]
    {
        let mut w = begin();
        let there = |mac| udp(client, server).macs(mac, HOST).build();
        let back = |mac| udp(server, client).macs(mac, HOST).build();
        w.send("a", there(A));
        for (port, out, frame, forged) in
            [("a", "b", there(A), there(HOST)), ("b", "a", back(B), back(A))]
        {
            w.send(port, frame);
            assert!(was_fast(&w, out));
            let before = only_flow(&mut w);
            assert_eq!(w.send(port, forged), nothing());
            assert_eq!(w.fate(), dropped(Drop::SourceCheck), "{client} by {port}");
            let after = only_flow(&mut w);
            assert_eq!((before.forward, before.reverse), (after.forward, after.reverse));
        }
        assert_eq!(w.engine.counters().punts[crate::verdict::Punt::SourceMac as usize], 2);
        assert_eq!(w.dropped(Drop::SourceCheck), 2);
        assert!(is_accounted(&w));
    }
}

#[test]
fn a_forged_reset_does_not_touch_a_connection() {
    let mut w = begin();
    let client = |mac, flags| tcp("10.0.1.10:4000", "10.0.1.11:443").flags(flags).macs(mac, HOST);
    w.send("a", client(A, SYN).build());
    w.send("b", tcp("10.0.1.11:443", "10.0.1.10:4000").flags(SYN_ACK).macs(B, HOST).build());
    w.send("a", client(A, ACK).build());
    w.send("a", client(HOST, RST).build());
    assert_eq!(only_flow(&mut w).phase, crate::flow::Phase::Established);
}

#[test]
fn an_interface_whose_mac_address_is_not_known_is_held_to_none() {
    let mut w = begin();
    for mac in [HOST, B, HOST] {
        w.send("c", udp("10.0.1.12:1", "10.0.1.10:2").macs(mac, HOST).build());
    }
    assert!(was_fast(&w, "a"));
    assert_eq!(w.dropped(Drop::SourceCheck), 0);
}

#[test]
fn a_new_mac_address_is_the_one_that_flows_are_held_to_from_then_on() {
    let mut w = begin();
    let frame = |mac| udp("10.0.1.10:1", "10.0.1.11:2").macs(mac, HOST).build();
    w.send("a", frame(A));
    w.reload(&NETWORK.replace("02:00:00:00:00:0a", "02:00:00:00:00:1a"));
    assert_eq!(w.send("a", frame(A)), nothing());
    assert_eq!(w.fate(), dropped(Drop::SourceCheck));
    w.send("a", frame(MacAddr::new([2, 0, 0, 0, 0, 0x1a])));
    assert!(was_fast(&w, "b"));
    assert_eq!(w.engine.flow_count(), 1);
}

#[test]
fn a_new_process_holds_flows_to_the_same_mac_addresses() {
    let mut w = begin();
    let frame = |mac| udp("10.0.1.10:1", "10.0.1.11:2").macs(mac, HOST).build();
    w.send("a", frame(A));
    assert_eq!(w.restart(), 1);
    w.send("a", frame(HOST));
    assert_eq!(w.fate(), dropped(Drop::SourceCheck));
    w.send("a", frame(A));
    assert!(was_fast(&w, "b"));
}

#[test]
fn the_addresses_of_a_prefix_are_the_interfaces_own() {
    let mut w = begin();
    for (src, dst) in [
        ("10.0.1.32:1", "10.0.1.11:2"),
        ("10.0.1.47:1", "10.0.1.11:2"),
        ("[2001:db8:a:1:1::77]:1", "[2001:db8:a:1::11]:2"),
    ] {
        w.send("a", udp(src, dst).macs(A, HOST).build());
        assert_eq!(w.fate(), FORWARDED, "from {src}");
        w.send("b", udp(dst, src).macs(B, HOST).build());
        assert!(was_fast(&w, "a"), "to {src}");
    }
    for src in ["10.0.1.31:1", "10.0.1.48:1"] {
        w.send("a", udp(src, "10.0.1.11:2").macs(A, HOST).build());
        assert_eq!(w.fate(), dropped(Drop::SourceCheck), "from {src}");
    }
    // Others find them as the next hop they are.
    let frame = udp("10.0.1.11:1", "10.0.1.40:2").macs(B, HOST).build();
    let there = udp("10.0.1.11:1", "10.0.1.40:2").macs(w.mac("a"), A).ttl(63).build();
    assert_eq!(w.send("b", frame), out("a", there));
}

#[test]
fn an_instance_claims_the_addresses_of_its_prefixes_and_the_gateway_stands_for_those_of_others() {
    let mut w = begin();
    let gw = w.mac("a");
    let claims = |ip: [u8; 4]| build::arp_reply(A, ip.into(), gw, [10, 0, 1, 1].into());
    w.send("a", claims([10, 0, 1, 40]));
    assert_eq!(w.fate(), CONSUMED);
    for ip in [[10, 0, 1, 48], [10, 0, 1, 11]] {
        w.send("a", claims(ip));
        assert_eq!(w.fate(), dropped(Drop::NeighbourSpoof), "{ip:?}");
    }
    let claims = |ip| build::neighbour_advertisement(A, v6(ip), false, Some((gw, v6("fe80::1"))));
    w.send("a", claims("2001:db8:a:1:1::77"));
    assert_eq!(w.fate(), CONSUMED);
    w.send("a", claims("2001:db8:a:1:2::77"));
    assert_eq!(w.fate(), dropped(Drop::NeighbourSpoof));

    let asks = |ip: [u8; 4]| build::arp_request(B, [10, 0, 1, 11].into(), ip.into());
    let (b, asked) = (w.mac("b"), [10, 0, 1, 40].into());
    let answer = build::arp_reply(b, asked, B, [10, 0, 1, 11].into());
    assert_eq!(w.send("b", asks([10, 0, 1, 40])), out("b", answer));
    // Of its own it is not told that somebody has them.
    let own = build::arp_request(A, [10, 0, 1, 10].into(), [10, 0, 1, 40].into());
    assert_eq!(w.send("a", own), nothing());
}

#[test]
fn questions_come_from_the_interfaces_own_mac_address_as_well() {
    let mut w = begin();
    let probe = build::arp_request(A, [0, 0, 0, 0].into(), [10, 0, 1, 10].into());
    let asks = build::arp_request(A, [10, 0, 1, 10].into(), [10, 0, 1, 1].into());
    let solicits = build::neighbour_solicitation(A, v6("fe80::a"), v6("2001:db8:a:1::1"));
    let duplicate = build::neighbour_solicitation(A, v6("::"), v6("2001:db8:a:1::10"));
    for (n, frame) in [probe, asks, solicits, duplicate].into_iter().enumerate() {
        w.send("a", frame.clone());
        assert_ne!(w.fate(), dropped(Drop::NeighbourSpoof), "case {n}");
        let mut forged = frame;
        forged[6..12].copy_from_slice(B.as_bytes());
        assert_eq!(w.send("a", forged), nothing(), "case {n}");
        assert_eq!(w.fate(), dropped(Drop::NeighbourSpoof), "case {n}");
    }
}

#[test]
fn an_interface_gets_nothing_that_is_not_for_it_unless_it_forwards_for_others() {
    let mut w = begin();
    let to = |dst| udp("10.0.1.10:1", dst).macs(A, HOST).build();
    assert_eq!(w.send("a", to("192.168.7.7:1")), nothing());
    assert_eq!(w.fate(), dropped(Drop::DestinationCheck));
    w.send("a", to("172.16.7.7:1"));
    assert_eq!(w.fate(), QUEUED, "for the appliance");
    let unchecked = NETWORK.replace(
        "groups = [\"sg-web\", \"sg-all\"]",
        "groups = [\"sg-web\", \"sg-all\"]\n    source_dest_check = false",
    );
    w.reload(&unchecked);
    let there = udp("10.0.1.10:1", "192.168.7.7:1").macs(w.mac("b"), B).ttl(63).build();
    assert_eq!(w.send("a", to("192.168.7.7:1")), out("b", there));
    // Switching the check on ends what it would not have let in.
    w.reload(NETWORK);
    assert_eq!(w.send("a", to("192.168.7.7:1")), nothing());
    assert_eq!(w.fate(), dropped(Drop::DestinationCheck));
}

#[test]
fn nobody_outside_is_one_of_our_public_ipv6_addresses() {
    let mut w = begin();
    for ours in ["2001:db8:a:1::10", "2001:db8:a:1:1::1", "2001:db8:a:ff::1"] {
        let frame = udp(&format!("[{ours}]:1"), "[2001:db8:a:1::11]:443").macs(ROUTER, HOST);
        assert_eq!(w.send("wan", frame.build()), nothing());
        assert_eq!(w.fate(), dropped(Drop::SourceCheck), "{ours}");
        let answer = Some((w.mac("wan"), v6("2001:db8::2")));
        let claim = build::neighbour_advertisement(ROUTER, v6(ours), false, answer);
        w.send("wan", claim);
        assert_eq!(w.fate(), dropped(Drop::NeighbourSpoof), "{ours}");
    }
}

/// The router outside is known.
fn with_router() -> World {
    let mut w = begin();
    w.send("a", udp("[2001:db8:a:1::10]:1", "[2001:db8:f::1]:1").macs(A, HOST).build());
    let own = Some((w.mac("wan"), v6("2001:db8::2")));
    w.send("wan", build::neighbour_advertisement(ROUTER, v6("2001:db8::1"), false, own));
    w
}

#[test]
fn a_public_ipv6_address_is_reached_from_outside_as_far_as_its_groups_let() {
    let mut w = with_router();
    let (client, server) = ("[2001:db8:f::9]:4000", "[2001:db8:a:1::13]:443");
    let frame = tcp(client, server).flags(SYN).macs(ROUTER, w.mac("wan")).build();
    let there = tcp(client, server).flags(SYN).macs(w.mac("web"), WEB).ttl(63).build();
    assert_eq!(w.send("wan", frame), out("web", there));
    let answer = tcp(server, client).flags(SYN_ACK).macs(WEB, w.mac("web")).build();
    let back = tcp(server, client).flags(SYN_ACK).macs(w.mac("wan"), ROUTER).ttl(63).build();
    assert_eq!(w.send("web", answer), out("wan", back));

    let knock = tcp(client, "[2001:db8:a:1::13]:22").flags(SYN).macs(ROUTER, HOST).build();
    assert_eq!(w.send("wan", knock), nothing());
    assert_eq!(w.fate(), dropped(Drop::SecurityGroup));
    // Addresses of a prefix are public as well; those that nobody has lead nowhere.
    w.send("wan", udp(client, "[2001:db8:a:1:1::77]:1").macs(ROUTER, HOST).build());
    assert_eq!(w.fate(), FORWARDED);
    w.send("wan", udp(client, "[2001:db8:a:1::99]:1").macs(ROUTER, HOST).build());
    assert_eq!(w.fate(), dropped(Drop::Unsolicited));
}

#[test]
fn an_ipv6_address_that_has_no_way_out_by_the_internet_gateway_is_not_reached_through_it() {
    let mut w = with_router();
    let there = udp("[2001:db8:f::9]:1", "[2001:db8:a:2::10]:1").macs(ROUTER, HOST).build();
    assert_eq!(w.send("wan", there), nothing());
    assert_eq!(w.fate(), dropped(Drop::NoRoute));
    // An Elastic IP address is there to be reached.
    w.send("wan", udp("203.0.113.9:1", "198.51.100.20:1").macs(ROUTER, HOST).build());
    assert_eq!(w.fate(), FORWARDED);
    w.reload(&NETWORK.replace("    route_table_id = \"rtb-private\"\n\n    [[sec", "\n    [[sec"));
    let there = udp("[2001:db8:f::9]:1", "[2001:db8:a:2::10]:1");
    let arrived = there.clone().macs(w.mac("private"), PRIVATE).ttl(63).build();
    assert_eq!(w.send("wan", there.macs(ROUTER, HOST).build()), out("private", arrived));
}

#[test]
fn the_gateway_answers_on_the_uplink_for_the_public_ipv6_addresses_that_are_there() {
    let mut w = begin();
    let wan = w.mac("wan");
    let asks = |target| build::neighbour_solicitation(ROUTER, v6("2001:db8::1"), v6(target));
    for there in ["2001:db8:a:1::10", "2001:db8:a:1:1::77", "2001:db8:a:2::10"] {
        let asker = Some((ROUTER, v6("2001:db8::1")));
        let answer = build::neighbour_advertisement(wan, v6(there), true, asker);
        assert_eq!(w.send("wan", asks(there)), out("wan", answer), "{there}");
    }
    for nobody in ["2001:db8:a:1::99", "2001:db8:a:1::1", "2001:db8:b::1"] {
        assert_eq!(w.send("wan", asks(nobody)), nothing());
        assert_eq!(w.fate(), dropped(Drop::NotServed), "{nobody}");
    }
}

#[test]
fn on_an_uplink_shared_with_the_host_public_ipv6_addresses_are_the_gateways() {
    let shared = NETWORK.replace("port = \"wan\"", "port = \"wan\"\n    share_with_host = true");
    let document: Document = toml::from_str(&shared).unwrap();
    let snapshot = Snapshot::build(crate::id::Generation(1), &document).unwrap();
    let own: Vec<_> = snapshot.own_addresses().map(|(ip, _)| ip.to_string()).collect();
    assert!(own.contains(&"2001:db8:a:1::13".to_owned()), "{own:?}");
    let mut w = World::new(&shared, no_functions);
    let to = |dst| udp("[2001:db8:f::9]:1", dst).macs(ROUTER, HOST).build();
    w.send("wan", to("[2001:db8:a:1::11]:1"));
    assert_eq!(w.fate(), FORWARDED);
    w.send("wan", to("[2001:db8::2]:1"));
    assert_eq!(w.fate(), Fate::Fast(Decision::Pass), "the host's own");
    w.reload(&shared.replace("ipv6_addresses = [\"2001:db8:a:1::11\"]", ""));
    w.send("wan", to("[2001:db8:a:1::11]:2"));
    assert_eq!(w.fate(), Fate::Fast(Decision::Pass), "nobody's any more");
}

#[test]
fn a_link_local_source_gets_no_further_than_its_link() {
    let mut w = begin();
    let gw = w.mac("a");
    let sent = udp("[fe80::a]:1", "[2001:db8:a:1::11]:443").macs(A, gw).build();
    assert_eq!(w.send("a", sent), nothing());
    assert_eq!(w.fate(), dropped(Drop::NoRoute));
    let sent = udp("[fe80::a]:1", "[2001:db8:a:1::11]:443").macs(HOST, gw).build();
    assert_eq!(w.send("a", sent), nothing());
    assert_eq!(w.fate(), dropped(Drop::SourceCheck), "its MAC address is held to as well");
    for port in ["a", "c"] {
        let sent = udp("169.254.1.1:1", "10.0.1.11:443").macs(A, gw).build();
        assert_eq!(w.send(port, sent), nothing());
        let reason = if port == "a" { Drop::SourceCheck } else { Drop::NoRoute };
        assert_eq!(w.fate(), dropped(reason), "{port}");
    }
}

#[test]
fn a_place_without_an_interface_is_silent_until_one_is_attached() {
    let mut w = begin();
    let own = MacAddr::new([2, 0, 0, 0, 0, 0x77]);
    let frame = udp("10.0.1.77:1", "10.0.1.11:2").macs(own, w.mac("p1")).build();
    let asks = build::arp_request(own, [10, 0, 1, 77].into(), [10, 0, 1, 1].into());
    for frame in [frame.clone(), asks.clone()] {
        assert_eq!(w.send("p1", frame), nothing());
        assert_eq!(w.fate(), dropped(Drop::UnknownPort));
    }
    let port = w.port("p1");
    w.reload(&format!(
        "{NETWORK}\n[[network_interface]]\nnetwork_interface_id = \"eni-hot\"\n\
         subnet_id = \"subnet-1\"\nprivate_ip_address = \"10.0.1.77\"\n\
         mac_address = \"02:00:00:00:00:77\"\ngroups = [\"sg-all\"]\n\
         attachment = {{ instance_id = \"i-1\", device_index = 1 }}\n"
    ));
    assert_eq!(w.port("p1"), port, "the port was there all along");
    let there = udp("10.0.1.77:1", "10.0.1.11:2").macs(w.mac("b"), B).ttl(63).build();
    assert_eq!(w.send("p1", frame), out("b", there));
    let answer = build::arp_reply(w.mac("p1"), [10, 0, 1, 1].into(), own, [10, 0, 1, 77].into());
    assert_eq!(w.send("p1", asks), out("p1", answer));
    assert_eq!(w.path.process(port, &mut vec![0; 60], FrameMeta::default()), {
        Decision::Drop(crate::verdict::FastDrop::EtherType)
    });
}
