//! NATs that are known: the prober has to find out what they are. One that meets everything or
//! nothing would prove nothing.

use clap::Parser;
use halfspace_testbed::Testbed;

use super::check::{Level, Verdict};
use super::report::Matrix;
use super::*;
use crate::frames::lab::Lab;
use crate::soak::daemon::{Daemon, Datapath};
use crate::soak::tests::{NEEDED, halfspace};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn matrix(words: &str) -> Matrix {
    let line = ["conform"].into_iter().chain(words.split_whitespace());
    let arguments = Line::try_parse_from(line).unwrap().arguments;
    check(&arguments, &Interrupt::default()).unwrap()
}

/// Ids of what failed, of a level.
fn failed(matrix: &Matrix, level: Level) -> Vec<&'static str> {
    let failed = |row: &&Row| row.level == level && matches!(row.verdict, Verdict::Fail(_));
    matrix.requirements.iter().filter(failed).map(|row| row.id).collect()
}

/// What was seen, if an assertion is wrong.
fn told(matrix: &Matrix) -> String {
    matrix.markdown()
}

/// Two hosts at either end of a kernel that translates.
fn behind_a_kernel(lab: &Lab, external: &str) -> Matrix {
    matrix(&format!(
        "--inside port@{} --gateway 10.1.0.1 --client 10.1.0.20,10.1.0.21 \
         --outside port@{} --server 203.0.113.20,203.0.113.21 --external {external}",
        lab.clients.name(),
        lab.servers.name(),
    ))
}

#[test]
fn masquerade_of_nftables_is_not_endpoint_independent() {
    let Some(lab) = Lab::lay("masquerade") else { return };
    lab.rules(
        "table ip nat {
            chain post {
                type nat hook postrouting priority 100
                oifname outside masquerade
            }
        }
        ",
    );
    let matrix = behind_a_kernel(&lab, "203.0.113.1");
    let failed = failed(&matrix, Level::Must);
    for id in ["RFC4787-REQ-1", "RFC4787-REQ-3", "RFC4787-REQ-11", "RFC5382-REQ-1"] {
        assert!(failed.contains(&id), "{id}: {}", told(&matrix));
    }
    for id in ["RFC4787-REQ-12", "RFC5382-REQ-2", "RFC5508-REQ-1", "RFC5508-REQ-4"] {
        assert!(!failed.contains(&id), "{id}: {}", told(&matrix));
    }
}

/// An address outside for each host, whoever asks: no mapping depends on anything.
#[test]
fn an_address_for_each_host_is_endpoint_independent() {
    let Some(lab) = Lab::lay("one-to-one") else { return };
    lab.gateway
        .ip(["address add 203.0.113.10/24 dev outside", "address add 203.0.113.11/24 dev outside"])
        .unwrap();
    lab.rules(
        "table ip nat {
            chain pre {
                type nat hook prerouting priority -100
                ip daddr 203.0.113.10 dnat to 10.1.0.20
                ip daddr 203.0.113.11 dnat to 10.1.0.21
            }
            chain post {
                type nat hook postrouting priority 100
                ip saddr 10.1.0.20 snat to 203.0.113.10
                ip saddr 10.1.0.21 snat to 203.0.113.11
            }
        }
        ",
    );
    let matrix = behind_a_kernel(&lab, "203.0.113.10,203.0.113.11");
    assert_eq!(failed(&matrix, Level::Must), Vec::<&str>::new(), "{}", told(&matrix));
    assert_eq!(failed(&matrix, Level::Should), Vec::<&str>::new(), "{}", told(&matrix));
}

/// The gateway in AWS's mode: what its definition excludes fails, and that it does not translate
/// fragments yet.
#[test]
fn our_gateway_is_symmetric_and_meets_what_a_symmetric_nat_can() {
    if !halfspace_testbed::ready(&NEEDED) {
        return;
    }
    let bed = Testbed::new("conform").unwrap();
    let [gateway, inside, outside] =
        bed.namespaces(["gateway", "inside", "outside"]).unwrap().try_into().unwrap();
    bed.veths(&[((&gateway, "lan0"), (&inside, "port")), ((&gateway, "wan0"), (&outside, "port"))])
        .unwrap();
    let (inside, outside) = (inside.name().to_owned(), outside.name().to_owned());
    let _daemon = Daemon::start(&bed, gateway, halfspace(), Datapath::Ebpf, DOCUMENT).unwrap();
    let matrix = matrix(&format!(
        "--inside port@{inside} --gateway 10.0.4.1 --client 10.0.4.10,10.0.4.11 \
         --outside port@{outside} --server 203.0.113.20,203.0.113.21 --external 203.0.113.10"
    ));
    assert_eq!(
        failed(&matrix, Level::Must),
        [
            "RFC4787-REQ-1",
            "RFC4787-REQ-3",
            "RFC4787-REQ-9",
            "RFC4787-REQ-9a",
            "RFC4787-REQ-14",
            "RFC4787-REQ-14a",
            "RFC5382-REQ-1",
            "RFC5382-REQ-7",
            "RFC5382-REQ-8",
        ],
        "{}",
        told(&matrix)
    );
}

const DOCUMENT: &str = r#"
[[vpc]]
vpc_id = "vpc-a"
cidr_block = "10.0.0.0/16"

[[uplink]]
uplink_id = "uplink-a"
port = "wan0"
addresses = ["203.0.113.2/24"]
gateways = ["203.0.113.1"]

[[internet_gateway]]
internet_gateway_id = "igw-a"
vpc_id = "vpc-a"
uplink_id = "uplink-a"

[[route_table]]
route_table_id = "rtb-public"
vpc_id = "vpc-a"
route = [{ destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-a" }]

[[route_table]]
route_table_id = "rtb-private"
vpc_id = "vpc-a"
route = [{ destination_cidr_block = "0.0.0.0/0", nat_gateway_id = "nat-a" }]

[[subnet]]
subnet_id = "subnet-public"
vpc_id = "vpc-a"
cidr_block = "10.0.1.0/24"
route_table_id = "rtb-public"

[[subnet]]
subnet_id = "subnet-private"
vpc_id = "vpc-a"
cidr_block = "10.0.4.0/24"
route_table_id = "rtb-private"
port = "lan0"

[[address]]
allocation_id = "eipalloc-a"
public_ip = "203.0.113.10"

[[nat_gateway]]
nat_gateway_id = "nat-a"
subnet_id = "subnet-public"
allocation_ids = ["eipalloc-a"]
"#;
