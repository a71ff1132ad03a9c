//! Internet gateways.

use serde_json::json;

use super::{Bench, texts};

#[test]
fn a_gateway_is_made_attached_detached_and_deleted() {
    let mut bench = Bench::new();
    let made = bench.act("CreateInternetGateway", json!({ "internet_gateway_id": "igw-b" }));
    assert_eq!(
        made["internet_gateway"],
        json!({ "internet_gateway_id": "igw-b", "attachments": [], "uplink_id": "uplink-a" })
    );
    let both = |vpc: &str| json!({ "internet_gateway_id": "igw-b", "vpc_id": vpc });
    assert_eq!(
        bench.refused("AttachInternetGateway", both("vpc-a")),
        "InvalidParameterValue",
        "it has one"
    );
    bench.act("AttachInternetGateway", both("vpc-b"));
    assert_eq!(bench.refused("AttachInternetGateway", both("vpc-b")), "Resource.AlreadyAssociated");
    let told = bench.act("DescribeInternetGateways", json!({}));
    assert_eq!(texts(&told["internet_gateways"], "internet_gateway_id"), ["igw-a", "igw-b"]);
    assert_eq!(
        told["internet_gateways"][1]["attachments"],
        json!([{ "vpc_id": "vpc-b", "state": "available" }])
    );
    let delete = json!({ "internet_gateway_id": "igw-b" });
    assert_eq!(bench.refused("DeleteInternetGateway", delete.clone()), "DependencyViolation");
    assert_eq!(bench.refused("DetachInternetGateway", both("vpc-a")), "Gateway.NotAttached");
    bench.act("DetachInternetGateway", both("vpc-b"));
    bench.act("DeleteInternetGateway", delete);
}

#[test]
fn a_vpc_with_public_addresses_keeps_its_gateway() {
    let mut bench = Bench::new();
    let detach = json!({ "internet_gateway_id": "igw-a", "vpc_id": "vpc-a" });
    assert_eq!(bench.refused("DetachInternetGateway", detach.clone()), "DependencyViolation");
    bench.document.nat_gateway.clear();
    bench.act("DisassociateAddress", json!({ "public_ip": "203.0.113.8" }));
    bench.act("DetachInternetGateway", detach);
    let told = bench.act("DescribeRouteTables", json!({ "route_table_ids": ["rtb-public"] }));
    let routes = &told["route_tables"][0]["routes"];
    assert_eq!(texts(routes, "state"), ["active", "active", "blackhole"]);
}

#[test]
fn the_uplink_is_named_where_there_are_several() {
    let mut bench = Bench::new();
    let mut second = bench.document.uplink[0].clone();
    second.uplink_id = "uplink-b".parse().unwrap();
    second.port = "wan1".into();
    second.addresses = vec!["198.51.100.2/24".parse().unwrap()];
    second.gateways = Vec::new();
    bench.document.uplink.push(second);
    assert_eq!(bench.refused("CreateInternetGateway", json!({})), "MissingParameter");
    let made = bench.act("CreateInternetGateway", json!({ "uplink_id": "uplink-b" }));
    assert_eq!(made["internet_gateway"]["uplink_id"], "uplink-b");
    let none = json!({ "uplink_id": "uplink-none" });
    assert_eq!(bench.refused("CreateInternetGateway", none), "InvalidUplinkID.NotFound");
}
