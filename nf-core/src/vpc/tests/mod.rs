//! Snapshots from documents as an operator writes them: what is refused, under which path and
//! code, and what the look-ups of a good one say.

mod attachment;
mod flow_log;
mod function;
mod interface;
mod lookup;
mod nat_address;
mod network;
mod outside;
mod prefix;
mod public_ip;
mod quota;
mod random;
mod routing;
mod scale;
mod security_group;

use super::{Document, Invalid, Snapshot};
use crate::id::Generation;

/// A VPC with a way out, a public subnet and a private one: what most tests add to.
const BASE: &str = r#"
    [[vpc]]
    vpc_id = "vpc-a"
    cidr_block = "10.0.0.0/16"
    ipv6_cidr_block = "fd00:a::/56"

    [[internet_gateway]]
    internet_gateway_id = "igw-a"
    vpc_id = "vpc-a"
    uplink_id = "uplink-wan"

    [[uplink]]
    uplink_id = "uplink-wan"
    port = "wan0"
    addresses = ["203.0.113.2/24", "2001:db8::2/64"]
    gateways = ["203.0.113.1", "fe80::1"]

    [[route_table]]
    route_table_id = "rtb-public"
    vpc_id = "vpc-a"
    route = [
        { destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-a" },
        { destination_ipv6_cidr_block = "::/0", gateway_id = "igw-a" },
    ]

    [[subnet]]
    subnet_id = "subnet-public"
    vpc_id = "vpc-a"
    cidr_block = "10.0.0.0/24"
    ipv6_cidr_block = "fd00:a:0:0::/64"
    route_table_id = "rtb-public"

    [[subnet]]
    subnet_id = "subnet-private"
    vpc_id = "vpc-a"
    cidr_block = "10.0.1.0/24"
    ipv6_cidr_block = "fd00:a:0:1::/64"
"#;

/// Another tenant with the same addresses and no way out.
const OTHER_TENANT: &str = r#"
    [[vpc]]
    vpc_id = "vpc-b"
    cidr_block = "10.0.0.0/16"
    ipv6_cidr_block = "fd00:a::/56"

    [[subnet]]
    subnet_id = "subnet-b"
    vpc_id = "vpc-b"
    cidr_block = "10.0.0.0/24"
    ipv6_cidr_block = "fd00:a:0:0::/64"
"#;

fn document(text: &str) -> Document {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn build(text: &str) -> Result<Snapshot, Vec<Invalid>> {
    Snapshot::build(Generation(1), &document(text))
}

/// The snapshot of [`BASE`] and more.
fn built(more: &str) -> Snapshot {
    build(&format!("{BASE}\n{more}")).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// What is wrong with a text, as `path: code`.
fn problems_of(text: &str) -> Vec<String> {
    let problems = build(text).expect_err("the document has an error");
    problems.iter().map(|it| format!("{}: {}", it.path, it.kind.code())).collect()
}

/// What is wrong with [`BASE`] and [`OTHER_TENANT`] and more.
fn problems_beside(more: &str) -> Vec<String> {
    problems_with(&format!("{OTHER_TENANT}\n{more}"))
}

/// What is wrong with [`BASE`] and more.
fn problems_with(more: &str) -> Vec<String> {
    problems_of(&format!("{BASE}\n{more}"))
}

/// The one message about [`BASE`] and more.
fn message_with(more: &str) -> String {
    let problems = build(&format!("{BASE}\n{more}")).expect_err("the document has an error");
    let [problem] = &problems[..] else { panic!("{problems:#?}") };
    problem.to_string()
}
