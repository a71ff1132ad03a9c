//! Route tables.

use serde_json::{Value, json};

use super::{Bench, texts};

fn routes(bench: &mut Bench, table: &str) -> Value {
    let mut told = bench.act("DescribeRouteTables", json!({ "route_table_ids": [table] }));
    told["route_tables"][0]["routes"].take()
}

#[test]
fn routes_are_made_replaced_and_deleted() {
    let mut bench = Bench::new();
    let default = |target: &str, id: &str| {
        json!({
            "route_table_id": "rtb-spare", "destination_cidr_block": "0.0.0.0/0", target: id,
        })
    };
    bench.act("CreateRoute", default("gateway_id", "igw-a"));
    assert_eq!(
        bench.refused("CreateRoute", default("nat_gateway_id", "nat-a")),
        "RouteAlreadyExists"
    );
    bench.act("ReplaceRoute", default("nat_gateway_id", "nat-a"));
    let told = routes(&mut bench, "rtb-spare");
    assert_eq!(texts(&told, "gateway_id"), ["local", "local", ""]);
    assert_eq!(texts(&told, "origin"), ["CreateRouteTable", "CreateRouteTable", "CreateRoute"]);
    assert_eq!(told[2]["nat_gateway_id"], "nat-a");
    assert_eq!(told[1]["destination_ipv6_cidr_block"], "fd00:a::/56");

    bench.act("ReplaceRoute", default("instance_id", "i-two"));
    let told = routes(&mut bench, "rtb-spare");
    assert_eq!(told[2]["network_interface_id"], "eni-two");
    assert_eq!(told[2]["instance_id"], "i-two");
    assert_eq!(
        bench.refused("ReplaceRoute", default("instance_id", "i-one")),
        "InvalidInstanceID",
        "it has two interfaces"
    );

    let delete = json!({ "route_table_id": "rtb-spare", "destination_cidr_block": "0.0.0.0/0" });
    bench.act("DeleteRoute", delete.clone());
    assert_eq!(bench.refused("DeleteRoute", delete), "InvalidRoute.NotFound");
    assert_eq!(
        bench.refused("ReplaceRoute", default("gateway_id", "igw-a")),
        "InvalidParameterValue"
    );
}

#[test]
fn routes_that_make_no_sense_are_refused() {
    let mut bench = Bench::new();
    let route = |destination: &str, target: &str, id: &str| {
        json!({
            "route_table_id": "rtb-spare", "destination_cidr_block": destination, target: id,
        })
    };
    for (parameters, code) in [
        (route("0.0.0.0/0", "gateway_id", "igw-x"), "InvalidInternetGatewayID.NotFound"),
        (route("0.0.0.0/0", "nat_gateway_id", "nat-x"), "InvalidNatGatewayID.NotFound"),
        (route("0.0.0.0/0", "network_interface_id", "eni-x"), "InvalidNetworkInterfaceID.NotFound"),
        (route("10.0.0.0/16", "gateway_id", "igw-a"), "RouteAlreadyExists"),
        (route("10.0.1.64/26", "network_interface_id", "eni-web"), "InvalidParameterValue"),
        (
            json!({ "route_table_id": "rtb-spare", "destination_cidr_block": "0.0.0.0/0" }),
            "MissingParameter",
        ),
        (json!({ "route_table_id": "rtb-spare", "gateway_id": "igw-a" }), "MissingParameter"),
        (
            json!({
                "route_table_id": "rtb-spare", "destination_cidr_block": "0.0.0.0/0",
                "gateway_id": "igw-a", "nat_gateway_id": "nat-a",
            }),
            "InvalidParameterCombination",
        ),
        (
            json!({
                "route_table_id": "rtb-spare", "destination_cidr_block": "0.0.0.0/0",
                "destination_ipv6_cidr_block": "::/0", "gateway_id": "igw-a",
            }),
            "InvalidParameterCombination",
        ),
        (
            json!({
                "route_table_id": "rtb-x", "destination_cidr_block": "0.0.0.0/0",
                "gateway_id": "igw-a",
            }),
            "InvalidRouteTableID.NotFound",
        ),
    ] {
        assert_eq!(bench.refused("CreateRoute", parameters.clone()), code, "{parameters}");
    }
    let local = json!({ "route_table_id": "rtb-main", "destination_cidr_block": "10.0.0.0/16" });
    assert_eq!(bench.refused("DeleteRoute", local), "InvalidParameterValue");
}

#[test]
fn a_route_to_an_interface_that_nobody_is_behind_is_a_blackhole() {
    let mut bench = Bench::new();
    let state = |bench: &mut Bench| texts(&routes(bench, "rtb-main"), "state").pop().unwrap();
    assert_eq!(state(&mut bench), "active");
    bench.present.remove("one1");
    assert_eq!(state(&mut bench), "blackhole");
    bench.present.insert("one1".into());
    bench.act("DetachNetworkInterface", json!({ "attachment_id": "eni-attach-web" }));
    assert_eq!(state(&mut bench), "blackhole");
}

#[test]
fn a_table_serves_subnets_and_one_is_the_main_one() {
    let mut bench = Bench::new();
    let associations = |bench: &mut Bench, table: &str| {
        let told = bench.act("DescribeRouteTables", json!({ "route_table_ids": [table] }));
        told["route_tables"][0]["associations"].clone()
    };
    let spare = json!({ "route_table_id": "rtb-spare", "subnet_id": "subnet-a" });
    let made = bench.act("AssociateRouteTable", spare.clone());
    assert_eq!(made["association_state"]["state"], "associated");
    assert_eq!(
        bench.act("AssociateRouteTable", spare)["association_id"],
        made["association_id"],
        "it is so already"
    );
    let other = json!({ "route_table_id": "rtb-public", "subnet_id": "subnet-a" });
    assert_eq!(bench.refused("AssociateRouteTable", other), "Resource.AlreadyAssociated");
    let foreign = json!({ "route_table_id": "rtb-spare", "subnet_id": "subnet-b" });
    assert_eq!(bench.refused("AssociateRouteTable", foreign), "InvalidParameterValue");
    let told = associations(&mut bench, "rtb-spare");
    assert_eq!((&told[0]["subnet_id"], &told[0]["main"]), (&json!("subnet-a"), &json!(false)));

    let delete = json!({ "route_table_id": "rtb-spare" });
    assert_eq!(bench.refused("DeleteRouteTable", delete.clone()), "DependencyViolation");
    let replaced = bench.act(
        "ReplaceRouteTableAssociation",
        json!({ "association_id": made["association_id"], "route_table_id": "rtb-public" }),
    );
    let gone = json!({ "association_id": made["association_id"] });
    assert_eq!(bench.refused("DisassociateRouteTable", gone), "InvalidAssociationID.NotFound");
    bench
        .act("DisassociateRouteTable", json!({ "association_id": replaced["new_association_id"] }));
    assert_eq!(bench.document.subnet[0].route_table_id, None);

    let main = associations(&mut bench, "rtb-main");
    let id = &main[0]["route_table_association_id"];
    assert_eq!(main[0]["main"], true);
    assert_eq!(
        bench.refused("DisassociateRouteTable", json!({ "association_id": id })),
        "InvalidParameterValue"
    );
    let main_table = json!({ "route_table_id": "rtb-main" });
    assert_eq!(bench.refused("DeleteRouteTable", main_table.clone()), "DependencyViolation");
    bench.act(
        "ReplaceRouteTableAssociation",
        json!({ "association_id": id, "route_table_id": "rtb-spare" }),
    );
    assert_eq!(bench.refused("DeleteRouteTable", delete), "DependencyViolation");
    bench.act("DeleteRouteTable", main_table);
    let made = bench.act("CreateRouteTable", json!({ "vpc_id": "vpc-b" }));
    assert_eq!(made["route_table"]["associations"], json!([]));
    assert_eq!(texts(&made["route_table"]["routes"], "gateway_id"), ["local"]);
}
