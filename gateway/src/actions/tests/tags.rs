//! Labels.

use serde_json::{Value, json};

use super::Bench;

#[test]
fn labels_are_put_on_and_taken_off_what_can_have_them() {
    let mut bench = Bench::new();
    let all = ["eni-web", "i-one", "eipalloc-web", "sg-web"];
    let put = json!([{ "key": "team", "value": "red" }, { "key": "note" }]);
    bench.act("CreateTags", json!({ "resources": all, "tags": put }));
    bench.act(
        "CreateTags",
        json!({ "resources": all, "tags": [{ "key": "team", "value": "blue" }] }),
    );
    let told = json!([{ "key": "note", "value": "" }, { "key": "team", "value": "blue" }]);
    assert_eq!(bench.interface("eni-web")["tag_set"], told);
    let mut tags = |action: &str, list: &str, ids: &str, id: &str| -> Value {
        bench.act(action, json!({ ids: [id] }))[list][0]["tags"].take()
    };
    assert_eq!(tags("DescribeInstances", "instances", "instance_ids", "i-one"), told);
    assert_eq!(tags("DescribeAddresses", "addresses", "allocation_ids", "eipalloc-web"), told);
    assert_eq!(tags("DescribeSecurityGroups", "security_groups", "group_ids", "sg-web"), told);

    let only_red = json!([{ "key": "team", "value": "red" }, { "key": "note" }]);
    bench.act("DeleteTags", json!({ "resources": ["eni-web"], "tags": only_red }));
    assert_eq!(bench.interface("eni-web")["tag_set"], json!([{ "key": "team", "value": "blue" }]));
    bench.act("DeleteTags", json!({ "resources": ["eni-web"] }));
    assert_eq!(bench.interface("eni-web")["tag_set"], json!([]));
}

#[test]
fn labels_that_cannot_be_are_refused() {
    let mut bench = Bench::new();
    let tag = |key: &str, value: &str| json!([{ "key": key, "value": value }]);
    let many: Vec<_> = (0..51).map(|number| json!({ "key": format!("k{number}") })).collect();
    for (resource, tags, code) in [
        ("eni-web", tag("", "x"), "InvalidTagKey.Malformed"),
        ("eni-web", tag("aws:x", "x"), "InvalidTagKey.Malformed"),
        ("eni-web", tag(&"k".repeat(129), "x"), "InvalidTagKey.Malformed"),
        ("eni-web", tag("k", &"v".repeat(257)), "InvalidParameterValue"),
        ("eni-web", json!(many), "TagLimitExceeded"),
        ("eni-none", tag("k", "v"), "InvalidNetworkInterfaceID.NotFound"),
        ("vpc-a", tag("k", "v"), "InvalidID"),
    ] {
        let parameters = json!({ "resources": [resource], "tags": tags });
        assert_eq!(bench.refused("CreateTags", parameters), code, "{resource}");
    }
}
