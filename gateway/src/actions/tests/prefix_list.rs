//! Prefix lists.

use serde_json::json;

use super::{Bench, texts};

#[test]
fn a_list_is_made_changed_and_deleted() {
    let mut bench = Bench::new();
    let made = bench.act(
        "CreateManagedPrefixList",
        json!({
            "prefix_list_name": "partners", "max_entries": 3, "address_family": "IPv4",
            "entries": [{ "cidr": "198.51.100.0/24", "description": "one" }],
        }),
    );
    let id = &made["prefix_list"]["prefix_list_id"];
    assert_eq!(made["prefix_list"]["max_entries"], 3);
    let changed = bench.act(
        "ModifyManagedPrefixList",
        json!({
            "prefix_list_id": id, "prefix_list_name": "friends", "max_entries": 9,
            "remove_entries": [{ "cidr": "198.51.100.0/24" }],
            "add_entries": [{ "cidr": "192.0.2.0/25" }, { "cidr": "192.0.2.128/25" }],
        }),
    );
    assert_eq!(changed["prefix_list"]["prefix_list_name"], "friends");
    let entries = bench.act("GetManagedPrefixListEntries", json!({ "prefix_list_id": id }));
    assert_eq!(texts(&entries["entries"], "cidr"), ["192.0.2.0/25", "192.0.2.128/25"]);
    bench.act("DeleteManagedPrefixList", json!({ "prefix_list_id": id }));
    let left = bench.act("DescribeManagedPrefixLists", json!({}));
    assert_eq!(texts(&left["prefix_lists"], "prefix_list_id"), ["pl-offices"]);
    assert_eq!(left["prefix_lists"][0]["address_family"], "IPv4");
}

#[test]
fn what_is_wrong_with_a_list_is_refused() {
    let mut bench = Bench::new();
    for (parameters, code) in [
        (
            json!({ "prefix_list_name": "com.amazonaws.x", "max_entries": 1 }),
            "InvalidParameterValue",
        ),
        (
            json!({
                "prefix_list_name": "x", "max_entries": 1, "address_family": "IPv6",
                "entries": [{ "cidr": "192.0.2.0/24" }],
            }),
            "InvalidParameterValue",
        ),
    ] {
        assert_eq!(bench.refused("CreateManagedPrefixList", parameters), code);
    }
    let modify = json!({
        "prefix_list_id": "pl-offices", "remove_entries": [{ "cidr": "10.0.0.0/8" }],
    });
    assert_eq!(bench.refused("ModifyManagedPrefixList", modify), "InvalidPrefixListModification");
    let none = json!({ "prefix_list_id": "pl-none" });
    assert_eq!(bench.refused("DeleteManagedPrefixList", none), "InvalidPrefixListId.NotFound");
}

#[test]
fn a_list_that_a_rule_names_is_not_deleted() {
    let mut bench = Bench::new();
    let rule = json!({
        "group_id": "sg-web",
        "ip_permissions": [{
            "ip_protocol": "-1", "prefix_list_ids": [{ "prefix_list_id": "pl-offices" }],
        }],
    });
    bench.act("AuthorizeSecurityGroupEgress", rule.clone());
    let delete = json!({ "prefix_list_id": "pl-offices" });
    assert_eq!(bench.refused("DeleteManagedPrefixList", delete.clone()), "DependencyViolation");
    bench.act("RevokeSecurityGroupEgress", rule);
    bench.act("DeleteManagedPrefixList", delete);
}
