//! Records of known traffic, on an engine over the reference fast path, as lines.

mod changes;
mod format;
mod loss;
mod random;
mod traffic;
mod windows;

use std::net::SocketAddr;
use std::time::Duration;

use crate::packet::build::Frame;
use crate::packet::{MacAddr, TcpFlags};
use crate::pipeline::Function;
use crate::testing::{World, host_mac};
use crate::time::Time;

/// Two instances with public addresses, an appliance that forwards for others, a web server that
/// nothing else is let in to, and a way out.
const DOCUMENT: &str = r#"
    [[vpc]]
    vpc_id = "vpc-1"
    cidr_block = "10.0.0.0/16"
    ipv6_cidr_block = "fd00:a::/56"
    owner_id = "123456789010"

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
        { destination_cidr_block = "192.168.0.0/16", network_interface_id = "eni-c" },
    ]

    [[subnet]]
    subnet_id = "subnet-1"
    vpc_id = "vpc-1"
    cidr_block = "10.0.1.0/24"
    ipv6_cidr_block = "fd00:a:0:1::/64"
    availability_zone = "eu-test-1b"

    [[security_group]]
    group_id = "sg-open"
    group_name = "open"
    vpc_id = "vpc-1"
    ingress = [
        { ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/0" },
        { ip_protocol = "-1", cidr_ipv6 = "::/0" },
    ]

    [[security_group]]
    group_id = "sg-web"
    group_name = "web"
    vpc_id = "vpc-1"
    ingress = [{ ip_protocol = "tcp", from_port = 80, to_port = 80, cidr_ipv4 = "0.0.0.0/0" }]
    egress = []

    [[instance]]
    instance_id = "i-a"
    availability_zone = "eu-test-1b"
    port = [{ name = "a" }]

    [[network_interface]]
    network_interface_id = "eni-a"
    groups = ["sg-open"]
    subnet_id = "subnet-1"
    private_ip_address = "10.0.1.10"
    secondary_private_ip_addresses = ["10.0.1.20"]
    ipv6_addresses = ["fd00:a:0:1::10"]
    mac_address = "02:00:00:00:00:0a"
    attachment = { instance_id = "i-a", device_index = 0 }
    connection_tracking = { udp_timeout = 60 }

    [[network_interface]]
    network_interface_id = "eni-b"
    groups = ["sg-open"]
    subnet_id = "subnet-1"
    private_ip_address = "10.0.1.11"
    ipv6_addresses = ["fd00:a:0:1::11"]
    mac_address = "02:00:00:00:00:0b"
    port = "b"
    connection_tracking = { udp_timeout = 60 }

    [[network_interface]]
    network_interface_id = "eni-c"
    groups = ["sg-open"]
    subnet_id = "subnet-1"
    private_ip_address = "10.0.1.12"
    mac_address = "02:00:00:00:00:0c"
    port = "c"
    source_dest_check = false

    [[network_interface]]
    network_interface_id = "eni-web"
    groups = ["sg-web"]
    subnet_id = "subnet-1"
    private_ip_address = "10.0.1.80"
    mac_address = "02:00:00:00:00:0e"
    port = "web"

    [[address]]
    allocation_id = "eipalloc-a"
    public_ip = "198.51.100.10"
    network_interface_id = "eni-a"

    [[address]]
    allocation_id = "eipalloc-b"
    public_ip = "198.51.100.11"
    network_interface_id = "eni-b"
"#;

const A: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0x0a]);
const B: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0x0b]);
const C: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0x0c]);
const WEB: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0x0e]);

/// The second that every test begins in the middle of: 40 seconds into a minute, 400 into ten.
const BEGIN: u64 = 1_418_529_400;

/// The same as the wall clock shows it.
const SHOWN: Duration = Duration::from_millis(BEGIN * 1000 + 500);

/// A flow log of a resource, with further keys.
fn log(id: &str, resource: &str, keys: &str) -> String {
    format!(
        r#"
        [[flow_log]]
        flow_log_id = "fl-{id}"
        resource_id = "{resource}"
        log_destination = "{id}"
        {keys}
        "#
    )
}

/// A flow log of a resource with windows of a minute and these fields.
fn minutely(resource: &str, fields: &str) -> String {
    let format: Vec<_> = fields.split(' ').map(|field| format!("${{{field}}}")).collect();
    let keys = format!("max_aggregation_interval = 60\nlog_format = \"{}\"", format.join(" "));
    log("m", resource, &keys)
}

fn world(logs: &str) -> World {
    let mut w = World::among_hosts(DOCUMENT, no_functions);
    w.engine.flow_logs_mut().set_wall_clock(w.now, SHOWN);
    w.reload(&format!("{DOCUMENT}{logs}"));
    w
}

fn no_functions(_: u64) -> Vec<Box<dyn Function>> {
    Vec::new()
}

/// Lets time pass until so many seconds after the beginning.
fn until(w: &mut World, seconds: u64) {
    w.run_until(begin() + Duration::from_secs(seconds));
}

/// The moment that a world begins at.
fn begin() -> Time {
    Time::from_nanos(1_234_567_890_123)
}

/// The lines recorded since the last call, of whatever log.
fn lines(w: &mut World) -> Vec<String> {
    w.recorded().into_iter().map(|(_, line)| line).collect()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn tcp(src: &str, dst: &str, flags: u8) -> Vec<u8> {
    Frame::tcp(at(src), at(dst)).flags(TcpFlags(flags)).build()
}

/// 40 bytes with IPv4, 60 with IPv6.
fn udp(src: &str, dst: &str) -> Vec<u8> {
    Frame::udp(at(src), at(dst)).payload(*b"twelve bytes").build()
}

fn ping(src: &str, dst: &str, id: u16) -> Vec<u8> {
    let ip = |text: &str| text.parse::<std::net::IpAddr>().unwrap();
    Frame::echo_request(ip(src), ip(dst), id, 1).build()
}

/// Sends by a port, and expects that it comes out of another.
#[track_caller]
fn pass(w: &mut World, from: &str, frame: &[u8], to: &str) {
    let sent = w.send(from, addressed(w, from, frame));
    let ports: Vec<_> = sent.iter().map(|(port, _)| port.as_str()).collect();
    assert_eq!(ports, [to], "{:?}", w.fate());
}

/// A frame as the host behind a port sends it to the gateway.
fn addressed(w: &World, from: &str, frame: &[u8]) -> Vec<u8> {
    let host = match from {
        "a" => A,
        "b" => B,
        "c" => C,
        "web" => WEB,
        _ => host_mac([203, 0, 113, 1].into()),
    };
    [w.mac(from).as_bytes(), host.as_bytes(), &frame[12..]].concat()
}
