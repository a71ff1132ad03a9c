//! Two tenants as alike as can be: the same networks, addresses and MAC addresses, interface ids
//! that differ in one digit. Whatever either sends, the other gets none of it.

use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::*;
use crate::fast_path::Transmit;
use crate::fast_path::soft::{Decision, FrameMeta};
use crate::id::PortId;
use crate::testing::{answer_question, host_mac};
use crate::verdict::Punt;

/// Of each tenant.
const PACKETS: u32 = 1_000_000;

/// What every packet of a tenant ends in.
const TAGS: [[u8; 8]; 2] = [*b"tenant-0", *b"tenant-1"];

/// `@` stands for the tenant's number.
const TENANT: &str = r#"
    [[vpc]]
    vpc_id = "vpc-000000000000000@"
    cidr_block = "10.0.0.0/16"
    ipv6_cidr_block = "fd00:a::/56"

    [[internet_gateway]]
    internet_gateway_id = "igw-000000000000000@"
    vpc_id = "vpc-000000000000000@"
    uplink_id = "uplink-wan"

    [[route_table]]
    route_table_id = "rtb-000000000000000@"
    vpc_id = "vpc-000000000000000@"
    main = true
    route = [
        { destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-000000000000000@" },
        { destination_cidr_block = "192.168.0.0/16", network_interface_id = "eni-000000000000001@" },
    ]

    [[subnet]]
    subnet_id = "subnet-000000000000001@"
    vpc_id = "vpc-000000000000000@"
    cidr_block = "10.0.1.0/24"
    ipv6_cidr_block = "fd00:a:0:1::/64"

    [[subnet]]
    subnet_id = "subnet-000000000000002@"
    vpc_id = "vpc-000000000000000@"
    cidr_block = "10.0.2.0/24"
    ipv6_cidr_block = "fd00:a:0:2::/64"
    port = "lan@"

    [[network_interface]]
    network_interface_id = "eni-000000000000000@"
    subnet_id = "subnet-000000000000001@"
    private_ip_address = "10.0.1.10"
    ipv6_addresses = ["fd00:a:0:1::10"]
    mac_address = "02:00:00:00:00:0a"
    port = "a@"

    # It forwards for others, and nobody knows its MAC address.
    [[network_interface]]
    network_interface_id = "eni-000000000000001@"
    subnet_id = "subnet-000000000000001@"
    private_ip_address = "10.0.1.11"
    ipv4_prefixes = ["10.0.1.32/28"]
    ipv6_addresses = ["fd00:a:0:1::11"]
    source_dest_check = false
    port = "b@"

    [[network_interface]]
    network_interface_id = "eni-000000000000002@"
    subnet_id = "subnet-000000000000002@"
    private_ip_address = "10.0.2.10"
    ipv6_addresses = ["fd00:a:0:2::10"]

    [[address]]
    allocation_id = "eipalloc-000000000000000@"
    public_ip = "198.51.100.1@"
    network_interface_id = "eni-000000000000000@"
"#;

const UPLINK: &str = r#"
    [[uplink]]
    uplink_id = "uplink-wan"
    port = "wan"
    addresses = ["203.0.113.2/24"]
    gateways = ["203.0.113.1"]
"#;

/// Every choice of a run.
struct Random(ChaCha12Rng);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        (self.0.next_u64() % end as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// Addresses that are there, that are not, and the public ones of both.
const V4: [&str; 14] = [
    "10.0.1.10",
    "10.0.1.10",
    "10.0.1.11",
    "10.0.1.11",
    "10.0.2.10",
    "10.0.2.10",
    "10.0.2.77",
    "10.0.1.33",
    "10.0.1.1",
    "192.168.7.7",
    "198.51.100.10",
    "198.51.100.11",
    "192.0.2.1",
    "10.0.1.99",
];
const V6: [&str; 6] = [
    "fd00:a:0:1::10",
    "fd00:a:0:1::11",
    "fd00:a:0:2::10",
    "fd00:a:0:2::77",
    "fd00:a:0:1::1",
    "fe80::1",
];

/// A packet that a tenant sends by one of its ports: mostly one that goes somewhere, and its tag at
/// the end.
fn packet(random: &mut Random, tag: [u8; 8]) -> Vec<u8> {
    let pool: &[&str] = if random.one_in(3) { &V6 } else { &V4 };
    let [src, dst]: [std::net::IpAddr; 2] =
        [random.pick(pool), random.pick(pool)].map(|it| it.parse().unwrap());
    let ports = [1, 53, 80, 4000];
    let [from, to] = [(src, random.pick(&ports)), (dst, random.pick(&ports))];
    let mac = random.pick(&[A, A, A, B, HOST]);
    let mut frame = match random.below(4) {
        0 => Frame::tcp(from, to)
            .flags(random.pick(&[SYN, SYN_ACK, ACK, FIN_ACK, RST]))
            .macs(mac, HOST)
            .payload(tag)
            .build(),
        1 => Frame::echo_request(src, dst, to.1, 1).macs(mac, HOST).payload(tag).build(),
        _ => Frame::udp(from, to).macs(mac, HOST).payload(tag).build(),
    };
    if random.one_in(20) {
        let at = random.below(frame.len() - tag.len());
        frame[at] ^= 1 << random.below(8);
    }
    frame
}

/// What whoever is asked for answers.
fn answer_of_neighbour(sent: &Transmit) -> Option<Transmit> {
    let frame = answer_question(&sent.frame, |ip| Some(host_mac(ip)))?;
    Some(Transmit { port: sent.port, frame })
}

/// What leaves because of a frame that comes in. [`World::deliver`] does all that is due as well,
/// which for every packet would take too long.
fn decide(w: &mut World, port: PortId, frame: &[u8]) -> Vec<Transmit> {
    let (meta, mut forwarded) = (FrameMeta::default(), frame.to_vec());
    let World { engine, path, now, .. } = w;
    match path.process(port, &mut forwarded, meta) {
        Decision::Forward(port) => vec![Transmit { port, frame: forwarded }],
        Decision::Punt(reason) => {
            for event in path.take_events() {
                engine.event(*now, &event, path);
            }
            engine.packet(*now, port, reason, meta, frame, path);
            let mut sent = path.take_transmits();
            let answers: Vec<_> = sent.iter().filter_map(answer_of_neighbour).collect();
            for Transmit { port, frame } in answers {
                engine.packet(*now, port, Punt::Control, meta, &frame, path);
            }
            sent.extend(path.take_transmits());
            sent
        }
        Decision::Tap(_) | Decision::Pass | Decision::Drop(_) => Vec::new(),
    }
}

#[test]
fn of_a_million_packets_from_each_of_two_tenants_that_are_alike_none_crosses() {
    let given = std::env::var("HALFSPACE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| std::hash::RandomState::new().build_hasher().finish());
    println!("HALFSPACE_SEED={seed}");
    let mut random = Random(ChaCha12Rng::seed_from_u64(seed));
    let tenants = [0, 1].map(|number: u8| TENANT.replace('@', &number.to_string()));
    let mut w = World::among_hosts(&format!("{UPLINK}{}", tenants.concat()), no_functions);
    let ports =
        [0, 1].map(|number| ["a", "b", "lan"].map(|name| w.port(&format!("{name}{number}"))));
    let mut delivered = [0_u32; 2];
    for number in 0..2 * PACKETS {
        let tenant = number as usize % 2;
        let port = random.pick(&ports[tenant]);
        let frame = packet(&mut random, TAGS[tenant]);
        for sent in decide(&mut w, port, &frame) {
            // What the gateway asks neighbours is nobody's.
            let is_tagged = TAGS.iter().any(|tag| sent.frame.ends_with(tag));
            let others = ports[1 - tenant].contains(&sent.port);
            assert!(
                !others || !is_tagged,
                "seed {seed}: {frame:02x?} by {port} became {sent:02x?}"
            );
            let is_delivered = is_tagged && !others && sent.port != port;
            delivered[tenant] += u32::from(is_delivered);
        }
        if number % 100 == 0 {
            w.pass(Duration::from_millis(1));
        }
        if random.one_in(1000) {
            w.pass(Duration::from_secs(40));
        }
    }
    println!("delivered: {delivered:?}, flows: {}", w.engine.counters().flows_created);
    for delivered in delivered {
        assert!(delivered > PACKETS / 100, "seed {seed}: only {delivered} went anywhere");
    }
    assert!(is_accounted(&w));
}
