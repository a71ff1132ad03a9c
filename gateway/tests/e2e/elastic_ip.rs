//! Instances with Elastic IP addresses of their own: reached from outside, seen as them outside,
//! and reached by neighbours who only know the public address.

use std::net::{IpAddr, SocketAddr};

use halfspace_testbed::programs::{Echo, Nginx};
use halfspace_testbed::{Namespace, Testbed};

use crate::harness::{Datapath, Family, Office, converse, curl, datagram_socket, seen_by, url};

on_each_datapath!(
    an_instance_is_reached_and_seen_by_its_elastic_ip_address,
    neighbours_reach_an_instance_by_its_elastic_ip_address,
);

/// The office with a server in a subnet of its own, whose routes lead to the internet gateway.
fn with_server() -> String {
    Office::resources("", "")
        + r#"
[[subnet]]
subnet_id = "subnet-servers"
vpc_id = "vpc-office"
cidr_block = "10.0.3.0/24"
ipv6_cidr_block = "fd00:10:0:3::/64"
route_table_id = "rtb-public"

[[security_group]]
group_id = "sg-open"
group_name = "open"
vpc_id = "vpc-office"
ingress = [
    { ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/0" },
    { ip_protocol = "-1", cidr_ipv6 = "::/0" },
]

[[network_interface]]
network_interface_id = "eni-server"
subnet_id = "subnet-servers"
private_ip_address = "10.0.3.10"
ipv6_addresses = ["fd00:10:0:3::10"]
groups = ["sg-open"]
port = "server0"

[[address]]
allocation_id = "eipalloc-server"
public_ip = "203.0.113.30"
network_interface_id = "eni-server"

[[address]]
allocation_id = "eipalloc-server6"
public_ip = "2001:db8:1::30"
network_interface_id = "eni-server"
"#
}

/// The server's addresses: inside, outside.
fn addresses(family: &Family) -> (IpAddr, IpAddr) {
    let texts = match family.client {
        IpAddr::V4(_) => ("10.0.3.10", "203.0.113.30"),
        IpAddr::V6(_) => ("fd00:10:0:3::10", "2001:db8:1::30"),
    };
    (texts.0.parse().unwrap(), texts.1.parse().unwrap())
}

fn open(name: &str, datapath: Datapath) -> (Office, Namespace) {
    let mut office = Office::lay_out(name, datapath);
    let server = lay_server(&office.bed, &office.gateway.namespace);
    office.gateway.start(&with_server());
    (office, server)
}

fn lay_server(bed: &Testbed, gateway: &Namespace) -> Namespace {
    let server = bed.namespace("server").unwrap();
    bed.veth((gateway, "server0"), (&server, "eth0")).unwrap();
    server
        .ip([
            "address add 10.0.3.10/24 dev eth0",
            "address add fd00:10:0:3::10/64 dev eth0 nodad",
            "route add default via 10.0.3.1",
            "route add default via fd00:10:0:3::1",
        ])
        .unwrap();
    server
}

fn an_instance_is_reached_and_seen_by_its_elastic_ip_address(datapath: Datapath) {
    let (office, server) = open("eip", datapath);
    for family in Family::BOTH {
        let (inside, outside) = addresses(&family);
        let _web = Nginx::start(&server, &[SocketAddr::new(inside, 80)], "$remote_addr").unwrap();
        let output = curl(&office.internet, &[&url(SocketAddr::new(outside, 80), "/")]);
        assert_eq!(output.stdout, family.router.to_string(), "{output:?}");
        let ping = ["ping", "-c2", "-i0.1", "-W5", &outside.to_string()];
        office.internet.run(ping).unwrap();

        let _echo = Echo::start(&office.internet, family.server_at(7)).unwrap();
        let heard = converse(&server, family.server_at(7)).unwrap();
        assert_eq!(heard.seen_as, SocketAddr::new(outside, heard.local.port()), "the port is kept");
        let local = SocketAddr::new(inside, 40_000);
        let socket = datagram_socket(&server, local, family.server_at(7));
        assert_eq!(seen_by(&socket, "?").unwrap(), SocketAddr::new(outside, 40_000));
    }
}

fn neighbours_reach_an_instance_by_its_elastic_ip_address(datapath: Datapath) {
    let (office, server) = open("eip-hairpin", datapath);
    for family in Family::BOTH {
        let (inside, outside) = addresses(&family);
        let echo = SocketAddr::new(inside, 7);
        let _echo = Echo::start(&server, echo).unwrap();
        // By the private address it is the VPC's own affair.
        let mut heard = converse(&office.client, echo).unwrap();
        assert_eq!(heard.seen_as, heard.local);
        heard.echo("within the VPC").unwrap();
        // By the public one the way goes out of the NAT gateway and in again.
        let public = SocketAddr::new(outside, 7);
        let mut heard = converse(&office.client, public).unwrap();
        assert_eq!(heard.seen_as.ip(), family.public);
        heard.echo("out and in again").unwrap();
        let socket = datagram_socket(&office.client, family.client_at(40_000), public);
        assert_eq!(seen_by(&socket, "?").unwrap().ip(), family.public);
        let ping = ["ping", "-c2", "-i0.1", "-W5", &outside.to_string()];
        office.client.run(ping).unwrap();
    }
}
