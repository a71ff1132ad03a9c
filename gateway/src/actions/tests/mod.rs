//! The actions against a document with one of most things. What the document itself does not allow
//! is tested where documents are; here is what an action has to do, and the codes.

mod address;
mod instance;
mod internet_gateway;
mod nat_gateway;
mod network_interface;
mod prefix_list;
mod reading;
mod route_table;
mod security_group;
mod subnet;
mod tags;
mod vpc;

use std::sync::Arc;

use nf_core::id::Generation;
use nf_core::vpc::document::UnixTime;
use nf_core::vpc::{Document, Snapshot};
use serde_json::{Value, json};

use super::{Draft, IdSource, Known, Present, Refusal, Request, find, perform};

/// Two instances with a free place each, `eni-web` on one of them; a NAT gateway, a route to
/// `eni-web`, a pool of four addresses.
const DOCUMENT: &str = r#"
vpc = [
    { vpc_id = "vpc-a", cidr_block = "10.0.0.0/16", ipv6_cidr_block = "fd00:a::/56" },
    { vpc_id = "vpc-b", cidr_block = "10.0.0.0/16" },
]
subnet = [
    { subnet_id = "subnet-a", vpc_id = "vpc-a", cidr_block = "10.0.1.0/24", ipv6_cidr_block = "fd00:a:0:1::/64" },
    { subnet_id = "subnet-tiny", vpc_id = "vpc-a", cidr_block = "10.0.2.0/28" },
    { subnet_id = "subnet-segment", vpc_id = "vpc-a", cidr_block = "10.0.3.0/24", port = "lan0" },
    { subnet_id = "subnet-public", vpc_id = "vpc-a", cidr_block = "10.0.4.0/24", map_public_ip_on_launch = true, route_table_id = "rtb-public" },
    { subnet_id = "subnet-b", vpc_id = "vpc-b", cidr_block = "10.0.1.0/24" },
]
route_table = [
    { route_table_id = "rtb-main", vpc_id = "vpc-a", main = true, route = [{ destination_cidr_block = "198.51.100.0/24", network_interface_id = "eni-web" }] },
    { route_table_id = "rtb-public", vpc_id = "vpc-a", route = [{ destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-a" }] },
    { route_table_id = "rtb-spare", vpc_id = "vpc-a" },
]
internet_gateway = [{ internet_gateway_id = "igw-a", vpc_id = "vpc-a", uplink_id = "uplink-a" }]
uplink = [{ uplink_id = "uplink-a", port = "wan0", addresses = ["203.0.113.2/24"], gateways = ["203.0.113.1"] }]
public_ipv4_pool = [{ public_ipv4_pool_id = "ipv4pool-ec2-a", pool_cidr_blocks = ["203.0.113.8/30"] }]
address = [
    { allocation_id = "eipalloc-web", public_ip = "203.0.113.8", network_interface_id = "eni-web" },
    { allocation_id = "eipalloc-nat", public_ip = "203.0.113.20" },
]
nat_gateway = [{ nat_gateway_id = "nat-a", subnet_id = "subnet-public", allocation_ids = ["eipalloc-nat"] }]

[[instance]]
instance_id = "i-one"
port = [{ name = "one0" }, { name = "one1", device_index = 1 }]

[[instance]]
instance_id = "i-two"
port = [{ name = "two0" }, { name = "two1", device_index = 1 }]

[[security_group]]
group_id = "sg-web"
group_name = "web"
vpc_id = "vpc-a"
ingress = [{ ip_protocol = "tcp", from_port = 80, to_port = 80, cidr_ipv4 = "0.0.0.0/0" }]

[[prefix_list]]
prefix_list_id = "pl-offices"
prefix_list_name = "offices"
max_entries = 5
entry = [{ cidr = "192.0.2.0/24" }]

[[network_interface]]
network_interface_id = "eni-one"
subnet_id = "subnet-a"
private_ip_address = "10.0.1.4"
attachment = { instance_id = "i-one", device_index = 0, delete_on_termination = true }

[[network_interface]]
network_interface_id = "eni-two"
subnet_id = "subnet-a"
private_ip_address = "10.0.1.5"
attachment = { instance_id = "i-two", device_index = 0, delete_on_termination = true }

[[network_interface]]
network_interface_id = "eni-web"
subnet_id = "subnet-a"
private_ip_address = "10.0.1.10"
secondary_private_ip_addresses = ["10.0.1.11", "10.0.1.12"]
ipv6_addresses = ["fd00:a:0:1::10"]
groups = ["sg-web"]
attachment = { attachment_id = "eni-attach-web", instance_id = "i-one", device_index = 1 }
"#;

/// A document and what is done to it.
struct Bench {
    document: Document,
    snapshot: Arc<Snapshot>,
    present: Present,
    ids: IdSource,
    now: UnixTime,
}

impl Bench {
    /// On [`DOCUMENT`], all ports of which are there.
    #[track_caller]
    fn new() -> Self {
        Self::of(DOCUMENT)
    }

    #[track_caller]
    fn of(document: &str) -> Self {
        let document: Document = toml::from_str(document).expect("a document");
        let snapshot = Snapshot::build(Generation(1), &document).expect("a valid document");
        let present = snapshot.ports().map(|(name, _)| name.into()).collect();
        Self {
            document,
            snapshot: snapshot.into(),
            present,
            ids: IdSource::new(7),
            now: UnixTime(1_000),
        }
    }

    /// Several actions as one change.
    fn attempt(&mut self, requests: Vec<Request>) -> Result<Vec<Value>, Refusal> {
        let mut draft = Draft::new(
            self.document.clone(),
            self.snapshot.clone(),
            Generation(2),
            self.present.clone(),
            self.ids.split(),
            self.now,
        );
        let answers = perform(&mut draft, requests)?;
        if let Some(changed) = draft.finish() {
            self.document = changed.document;
            self.snapshot = changed.snapshot;
        }
        Ok(answers)
    }

    /// One action that is to succeed; its answer.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "parameters are made for the call")]
    fn act(&mut self, action: &str, parameters: Value) -> Value {
        let before = self.document.clone();
        let request = Request { action: action.to_owned(), parameters: parameters.clone() };
        let answers = self.attempt(vec![request]);
        let only_asks = matches!(find(action), Ok(Known::Query(_)));
        assert!(!only_asks || self.document == before, "{action} only asks");
        match answers {
            Ok(mut answers) => answers.pop().expect("one answer"),
            Err(refusal) => panic!("{action} {parameters}: {refusal}"),
        }
    }

    /// The code of an action that is refused, and changes nothing.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "parameters are made for the call")]
    fn refused(&mut self, action: &str, parameters: Value) -> &'static str {
        let before = self.document.clone();
        let request = Request { action: action.to_owned(), parameters: parameters.clone() };
        let refusal = self.attempt(vec![request]).expect_err(&format!("{action} {parameters}"));
        assert!(!refusal.message.is_empty());
        assert_eq!(self.document, before, "{action} {parameters} was refused: {refusal}");
        refusal.code
    }

    /// A network interface as it is told about.
    #[track_caller]
    fn interface(&mut self, id: &str) -> Value {
        let mut told =
            self.act("DescribeNetworkInterfaces", json!({ "network_interface_ids": [id] }));
        told["network_interfaces"][0].take()
    }

    /// Which interface and private address each Elastic IP address is on.
    fn associations(&mut self) -> Vec<(String, Option<(String, String)>)> {
        let told = self.act("DescribeAddresses", json!({}));
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let of_one = |it: &Value| {
            let on = text(&it["network_interface_id"]).zip(text(&it["private_ip_address"]));
            (text(&it["allocation_id"]).expect("an id"), on)
        };
        told["addresses"].as_array().expect("a list").iter().map(of_one).collect()
    }

    /// The interface and private address that an Elastic IP address is on.
    fn association(&mut self, allocation: &str) -> Option<(String, String)> {
        self.associations().into_iter().find(|it| it.0 == allocation).and_then(|it| it.1)
    }
}

/// An interface and one of its addresses.
#[expect(clippy::unnecessary_wraps, reason = "what it is compared with may be nothing")]
fn on(interface: &str, private: &str) -> Option<(String, String)> {
    Some((interface.to_owned(), private.to_owned()))
}

/// The fields of a list, as texts.
#[track_caller]
fn texts(list: &Value, field: &str) -> Vec<String> {
    let text = |it: &Value| it[field].as_str().unwrap_or_default().to_owned();
    list.as_array().expect("a list").iter().map(text).collect()
}
