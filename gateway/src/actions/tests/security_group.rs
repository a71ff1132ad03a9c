//! Security groups.

use serde_json::{Value, json};

use super::{Bench, texts};

fn tcp(port: u16, cidr: &str) -> Value {
    json!([{
        "ip_protocol": "tcp", "from_port": port, "to_port": port, "ip_ranges": [{ "cidr_ip": cidr }],
    }])
}

#[test]
fn a_new_group_lets_nothing_in_and_everything_out() {
    let mut bench = Bench::new();
    let made = bench.act(
        "CreateSecurityGroup",
        json!({ "group_name": "db", "description": "databases", "vpc_id": "vpc-a" }),
    );
    let told = bench.act("DescribeSecurityGroups", json!({ "group_ids": [made["group_id"]] }));
    let group = &told["security_groups"][0];
    assert_eq!((&group["group_name"], &group["description"]), (&json!("db"), &json!("databases")));
    assert_eq!(group["ip_permissions"], json!([]));
    let egress = &group["ip_permissions_egress"];
    assert_eq!(egress.as_array().unwrap().len(), 1);
    assert_eq!(egress[0]["ip_protocol"], "-1");
    assert_eq!(egress[0]["ip_ranges"], json!([{ "cidr_ip": "0.0.0.0/0" }]));
    assert_eq!(egress[0]["ipv6_ranges"], json!([{ "cidr_ipv6": "::/0" }]));
}

#[test]
fn a_group_that_cannot_be_made_is_refused() {
    let mut bench = Bench::new();
    for (name, vpc, code) in [
        ("web", "vpc-a", "InvalidGroup.Duplicate"),
        ("default", "vpc-a", "InvalidGroup.Reserved"),
        ("sg-x", "vpc-a", "InvalidParameterValue"),
        ("", "vpc-a", "InvalidParameterValue"),
        ("db", "vpc-x", "InvalidVpcID.NotFound"),
    ] {
        let parameters = json!({ "group_name": name, "description": "d", "vpc_id": vpc });
        assert_eq!(bench.refused("CreateSecurityGroup", parameters), code, "{name} {vpc}");
    }
    let other = json!({ "group_name": "web", "description": "d", "vpc_id": "vpc-b" });
    bench.act("CreateSecurityGroup", other);
}

#[test]
fn a_group_that_is_in_use_is_not_deleted() {
    let mut bench = Bench::new();
    bench.act(
        "CreateSecurityGroup",
        json!({ "group_id": "sg-db", "group_name": "db", "description": "", "vpc_id": "vpc-a" }),
    );
    let members = |group: &str| json!([{ "ip_protocol": "-1", "user_id_group_pairs": [{ "group_id": group }] }]);
    let rule = json!({ "group_id": "sg-web", "ip_permissions": members("sg-db") });
    bench.act("AuthorizeSecurityGroupIngress", rule.clone());
    let own = json!({ "group_id": "sg-db", "ip_permissions": members("sg-db") });
    bench.act("AuthorizeSecurityGroupIngress", own);
    let delete = json!({ "group_id": "sg-db" });
    assert_eq!(
        bench.refused("DeleteSecurityGroup", delete.clone()),
        "DependencyViolation",
        "another group's rule names it"
    );
    bench.act("RevokeSecurityGroupIngress", rule);
    bench.act("DeleteSecurityGroup", delete.clone());
    assert_eq!(bench.refused("DeleteSecurityGroup", delete), "InvalidGroup.NotFound");
    assert_eq!(
        bench.refused("DeleteSecurityGroup", json!({ "group_id": "sg-web" })),
        "DependencyViolation",
        "an interface has it"
    );
    let defaults = bench.act("DescribeSecurityGroups", json!({ "group_names": ["default"] }));
    for group in defaults["security_groups"].as_array().unwrap() {
        let delete = json!({ "group_id": group["group_id"] });
        assert_eq!(bench.refused("DeleteSecurityGroup", delete), "CannotDelete");
    }
}

#[test]
fn rules_come_and_go_all_of_a_call_or_none() {
    let mut bench = Bench::new();
    let call = |permissions: Value| json!({ "group_id": "sg-web", "ip_permissions": permissions });
    let mixed = json!([
        {
            "ip_protocol": "tcp", "from_port": 443, "to_port": 443,
            "ip_ranges": [
                { "cidr_ip": "10.0.0.7/8", "description": "inside" }, { "cidr_ip": "192.0.2.0/24" },
            ],
            "ipv6_ranges": [{ "cidr_ipv6": "2001:db8::/32" }],
            "prefix_list_ids": [{ "prefix_list_id": "pl-offices" }],
            "user_id_group_pairs": [{ "group_id": "sg-web" }],
        },
        { "ip_protocol": "1", "from_port": 8, "to_port": -1, "ip_ranges": [{ "cidr_ip": "0.0.0.0/0" }] },
    ]);
    bench.act("AuthorizeSecurityGroupIngress", call(mixed));
    let told = bench.act("DescribeSecurityGroups", json!({ "group_ids": ["sg-web"] }));
    let permissions = &told["security_groups"][0]["ip_permissions"];
    assert_eq!(texts(permissions, "ip_protocol"), ["tcp", "tcp", "icmp"]);
    assert_eq!(
        permissions[1]["ip_ranges"],
        json!([
            { "cidr_ip": "10.0.0.0/8", "description": "inside" }, { "cidr_ip": "192.0.2.0/24" },
        ]),
        "a network is what its prefix length leaves of it"
    );
    assert_eq!(permissions[1]["prefix_list_ids"], json!([{ "prefix_list_id": "pl-offices" }]));
    assert_eq!(permissions[1]["user_id_group_pairs"], json!([{ "group_id": "sg-web" }]));

    let one_new = json!([
        { "ip_protocol": "tcp", "from_port": 8080, "to_port": 8080, "ip_ranges": [{ "cidr_ip": "10.0.0.0/8" }] },
        { "ip_protocol": "tcp", "from_port": 443, "to_port": 443, "ip_ranges": [{ "cidr_ip": "10.0.0.0/8" }] },
    ]);
    assert_eq!(
        bench.refused("AuthorizeSecurityGroupIngress", call(one_new.clone())),
        "InvalidPermission.Duplicate",
        "what is said of a rule makes it no other"
    );
    assert_eq!(
        bench.refused("RevokeSecurityGroupIngress", call(one_new)),
        "InvalidPermission.NotFound"
    );
    let twice = json!([tcp(22, "10.0.0.0/8")[0], tcp(22, "10.0.0.0/8")[0]]);
    assert_eq!(
        bench.refused("AuthorizeSecurityGroupIngress", call(twice)),
        "InvalidParameterValue"
    );
    bench.act("RevokeSecurityGroupIngress", call(tcp(80, "0.0.0.0/0")));
    let told = bench.act("DescribeSecurityGroups", json!({ "group_ids": ["sg-web"] }));
    assert_eq!(
        texts(&told["security_groups"][0]["ip_permissions"], "ip_protocol"),
        ["tcp", "icmp"]
    );
}

#[test]
fn rules_that_make_no_sense_are_refused() {
    let mut bench = Bench::new();
    for (permissions, code) in [
        (json!([]), "MissingParameter"),
        (json!([{ "ip_protocol": "tcp", "from_port": 1, "to_port": 2 }]), "MissingParameter"),
        (json!([{ "ip_protocol": "gre", "ip_ranges": [] }]), "InvalidParameterValue"),
        (
            json!([{
                "ip_protocol": "-1", "user_id_group_pairs": [{ "group_id": "sg-none" }],
            }]),
            "InvalidGroup.NotFound",
        ),
        (
            json!([{ "ip_protocol": "-1", "prefix_list_ids": [{ "prefix_list_id": "x" }] }]),
            "InvalidPrefixListId.Malformed",
        ),
    ] {
        let call = json!({ "group_id": "sg-web", "ip_permissions": permissions });
        assert_eq!(bench.refused("AuthorizeSecurityGroupIngress", call), code, "{permissions}");
    }
    let nobody = json!({ "group_id": "sg-none", "ip_permissions": tcp(1, "10.0.0.0/8") });
    assert_eq!(bench.refused("RevokeSecurityGroupEgress", nobody), "InvalidGroup.NotFound");
}

#[test]
fn what_may_go_out_without_being_said_can_be_taken_back() {
    let mut bench = Bench::new();
    let everything = json!([{ "ip_protocol": "-1", "ip_ranges": [{ "cidr_ip": "0.0.0.0/0" }] }]);
    let call = json!({ "group_id": "sg-web", "ip_permissions": everything });
    assert_eq!(
        bench.refused("AuthorizeSecurityGroupEgress", call.clone()),
        "InvalidPermission.Duplicate"
    );
    bench.act("RevokeSecurityGroupEgress", call);
    let told = bench.act("DescribeSecurityGroups", json!({ "group_ids": ["sg-web"] }));
    let egress = &told["security_groups"][0]["ip_permissions_egress"];
    assert_eq!(egress[0]["ip_ranges"], json!([]));
    assert_eq!(egress[0]["ipv6_ranges"], json!([{ "cidr_ipv6": "::/0" }]), "IPv6 still may");
    bench.act(
        "AuthorizeSecurityGroupEgress",
        json!({ "group_id": "sg-web", "ip_permissions": tcp(443, "0.0.0.0/0") }),
    );
    let egress = bench.document.security_group[0].egress.as_ref().unwrap();
    assert_eq!(egress.len(), 2);
}

#[test]
fn rules_of_a_default_group_that_the_document_does_not_have_can_be_changed() {
    let mut bench = Bench::new();
    let told = bench.act("DescribeSecurityGroups", json!({ "group_names": ["default"] }));
    let group = told["security_groups"][0].clone();
    let id = &group["group_id"];
    assert_eq!(
        group["ip_permissions"][0]["user_id_group_pairs"],
        json!([{ "group_id": id }]),
        "its members reach each other"
    );
    bench.act(
        "AuthorizeSecurityGroupIngress",
        json!({ "group_id": id, "ip_permissions": tcp(22, "192.0.2.0/24") }),
    );
    let told = bench.act("DescribeSecurityGroups", json!({ "group_ids": [id] }));
    let changed = &told["security_groups"][0];
    assert_eq!(changed["group_name"], "default");
    assert_eq!(changed["ip_permissions"][0], group["ip_permissions"][0]);
    assert_eq!(changed["ip_permissions"][1]["from_port"], 22);
    assert_eq!(bench.interface("eni-one")["groups"][0]["group_id"], *id);
}
