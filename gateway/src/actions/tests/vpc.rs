//! VPCs.

use serde_json::json;

use super::{Bench, texts};

#[test]
fn a_vpc_is_made_with_what_every_vpc_has_and_deleted_with_it() {
    let mut bench = Bench::new();
    let made = bench.act(
        "CreateVpc",
        json!({ "vpc_id": "vpc-new", "cidr_block": "10.9.0.1/16", "ipv6_cidr_block": "fd00:9::/56" }),
    );
    assert_eq!(made["vpc"]["cidr_block"], "10.9.0.0/16");
    assert_eq!(
        made["vpc"]["ipv6_cidr_block_association_set"],
        json!([{ "ipv6_cidr_block": "fd00:9::/56" }])
    );
    let tables = bench.act("DescribeRouteTables", json!({}));
    let main = tables["route_tables"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&main["vpc_id"], &main["associations"][0]["main"]),
        (&json!("vpc-new"), &json!(true))
    );
    let groups = bench.act("DescribeSecurityGroups", json!({ "group_names": ["default"] }));
    assert_eq!(texts(&groups["security_groups"], "vpc_id"), ["vpc-a", "vpc-b", "vpc-new"]);

    bench.act("DeleteVpc", json!({ "vpc_id": "vpc-new" }));
    let left = bench.act("DescribeVpcs", json!({}));
    assert_eq!(texts(&left["vpcs"], "vpc_id"), ["vpc-a", "vpc-b"]);
    let tables = bench.act("DescribeRouteTables", json!({}));
    assert_eq!(
        texts(&tables["route_tables"], "route_table_id"),
        ["rtb-main", "rtb-public", "rtb-spare"]
    );
}

#[test]
fn a_vpc_with_something_in_it_is_not_deleted() {
    let mut bench = Bench::new();
    for vpc in ["vpc-a", "vpc-b"] {
        let code = bench.refused("DeleteVpc", json!({ "vpc_id": vpc }));
        assert_eq!(code, "DependencyViolation");
    }
    bench.act("DeleteSubnet", json!({ "subnet_id": "subnet-b" }));
    bench.act(
        "CreateSecurityGroup",
        json!({ "group_id": "sg-b", "group_name": "b", "description": "", "vpc_id": "vpc-b" }),
    );
    assert_eq!(bench.refused("DeleteVpc", json!({ "vpc_id": "vpc-b" })), "DependencyViolation");
    bench.act("DeleteSecurityGroup", json!({ "group_id": "sg-b" }));
    bench.act("DeleteVpc", json!({ "vpc_id": "vpc-b" }));
    let too_large = json!({ "cidr_block": "10.0.0.0/8" });
    assert_eq!(bench.refused("CreateVpc", too_large), "InvalidVpc.Range");
}
