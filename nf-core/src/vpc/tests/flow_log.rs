//! Rules for flow logs, and which interfaces each is for.

use super::{built, document, message_with, problems_with};
use crate::vpc::{AggregationInterval, Compression, Document, Snapshot, TrafficType};

fn log(id: &str, resource: &str, keys: &str) -> String {
    format!(
        r#"
        [[flow_log]]
        flow_log_id = "fl-{id}"
        resource_id = "{resource}"
        {keys}
        "#
    )
}

/// An interface in either subnet, a NAT gateway and a bridge.
const INTERFACES: &str = r#"
    [[network_interface]]
    network_interface_id = "eni-a"
    subnet_id = "subnet-public"
    private_ip_address = "10.0.0.10"

    [[network_interface]]
    network_interface_id = "eni-b"
    subnet_id = "subnet-private"
    private_ip_address = "10.0.1.10"

    [[address]]
    allocation_id = "eipalloc-nat"
    public_ip = "203.0.113.10"

    [[nat_gateway]]
    nat_gateway_id = "nat-a"
    subnet_id = "subnet-public"
    allocation_ids = ["eipalloc-nat"]

    [[lambda_bridge]]
    lambda_bridge_id = "bridge-a"
    subnet_id = "subnet-private"
    network_interface_id = "eni-lambda"
"#;

/// The interfaces that each log is for, in the order of the snapshot.
fn logged(snapshot: &Snapshot) -> Vec<(String, Vec<String>)> {
    let interfaces_of = |log| {
        let enis = snapshot.enis().filter(move |(ix, _)| snapshot.flow_logs_of(*ix).contains(&log));
        enis.map(|(_, eni)| eni.id.to_string()).collect()
    };
    snapshot.flow_logs().map(|(ix, log)| (log.id.to_string(), interfaces_of(ix))).collect()
}

#[test]
fn what_is_left_out_is_as_in_ec2() {
    let snapshot = built(&log("a", "vpc-a", r#"log_destination = "here""#));
    let (_, log) = snapshot.flow_logs().next().unwrap();
    assert_eq!(log.traffic_type, TrafficType::All);
    assert_eq!(log.interval, AggregationInterval::TenMinutes);
    assert_eq!(log.format.fields().len(), 14);
    assert_eq!((&*log.destination, log.compression), ("here", Compression::None));
    assert_eq!((&*log.account_id, &*log.availability_zone), ("000000000000", "local-1a"));
}

#[test]
fn a_log_is_for_one_interface_or_all_of_a_subnet_or_vpc() {
    let more = [
        INTERFACES,
        &log("vpc", "vpc-a", r#"log_destination = "x""#),
        &log("subnet", "subnet-public", r#"log_destination = "x""#),
        &log("eni", "eni-b", r#"log_destination = "x""#),
        &log("lambda", "eni-lambda", r#"log_destination = "x""#),
    ];
    let snapshot = built(&more.concat());
    let nat = snapshot.nat_gateways().next().unwrap().1.eni;
    let nat = snapshot.eni(nat).id.to_string();
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        logged(&snapshot),
        [
            ("fl-vpc".to_owned(), names(&["eni-a", "eni-b", &nat, "eni-lambda"])),
            ("fl-subnet".to_owned(), names(&["eni-a", &nat])),
            ("fl-eni".to_owned(), names(&["eni-b"])),
            ("fl-lambda".to_owned(), names(&["eni-lambda"])),
        ]
    );
    // A derived id names a managed interface as well.
    let of_nat = log("nat", &nat, r#"log_destination = "x""#);
    let snapshot = built(&format!("{INTERFACES}{of_nat}"));
    assert_eq!(logged(&snapshot), [("fl-nat".to_owned(), vec![nat])]);
}

#[test]
fn without_flow_logs_no_interface_is_in_one() {
    let snapshot = built(INTERFACES);
    assert!(snapshot.enis().all(|(ix, _)| snapshot.flow_logs_of(ix).is_empty()));
}

#[test]
fn a_destination_cannot_lead_out_of_the_nodes_directory() {
    let long = "x".repeat(65);
    for bad in ["", ".", "..", "a/b", "/etc", "../up", ".hidden", "a b", "a\\n", "ü", &long] {
        let problems = problems_with(&log("a", "vpc-a", &format!("log_destination = \"{bad}\"")));
        assert_eq!(problems, ["flow_log[0].log_destination: InvalidParameter"], "{bad}");
    }
    built(&log("a", "vpc-a", r#"log_destination = "Team-7_vpc.a""#));
}

#[test]
fn intervals_and_formats_are_ec2s() {
    let more = log(
        "a",
        "vpc-a",
        r#"log_destination = "x"
        max_aggregation_interval = 300
        log_format = "${srcaddr} ${nonsense}""#,
    );
    assert_eq!(
        problems_with(&more),
        [
            "flow_log[0].max_aggregation_interval: InvalidParameter",
            "flow_log[0].log_format: InvalidParameter",
        ]
    );
}

#[test]
fn a_resource_that_is_not_there_is_refused_under_its_own_code() {
    for (resource, code) in [
        ("vpc-x", "InvalidVpcID.NotFound"),
        ("subnet-x", "InvalidSubnetID.NotFound"),
        ("eni-x", "InvalidNetworkInterfaceID.NotFound"),
    ] {
        let problems = problems_with(&log("a", resource, r#"log_destination = "x""#));
        assert_eq!(problems, [format!("flow_log[0].resource_id: {code}")]);
    }
    let malformed = log("a", "igw-a", r#"log_destination = "x""#);
    let error = toml::from_str::<Document>(&malformed).unwrap_err();
    assert!(error.message().contains("`igw-a` is not the id of a VPC"), "{error}");
}

#[test]
fn one_log_records_the_same_to_the_same_place() {
    let one = log("a", "vpc-a", r#"log_destination = "x""#);
    let same = log("b", "vpc-a", "log_destination = \"x\"\nmax_aggregation_interval = 60");
    assert_eq!(
        message_with(&format!("{one}{same}")),
        "flow_log[1].log_destination: flow_log[0] records the same traffic of the same resource \
         there already: choose another log_destination or traffic_type (FlowLogAlreadyExists)"
    );
    for other in [
        log("b", "vpc-a", r#"log_destination = "y""#),
        log("b", "vpc-a", "log_destination = \"x\"\ntraffic_type = \"REJECT\""),
        log("b", "subnet-public", r#"log_destination = "x""#),
    ] {
        built(&format!("{one}{other}"));
    }
}

#[test]
fn a_resource_has_two_logs_unless_a_quota_says_otherwise() {
    let logs: String =
        ["a", "b", "c"].map(|it| log(it, "vpc-a", &format!("log_destination = \"{it}\""))).concat();
    assert_eq!(problems_with(&logs), ["flow_log[2].resource_id: FlowLogsLimitExceeded"]);
    built(&format!("{logs}\n[quotas]\nflow_logs_per_resource = 3"));
}

#[test]
fn an_id_is_one_logs() {
    let [one, two] = ["x", "y"].map(|it| log("a", "vpc-a", &format!("log_destination = \"{it}\"")));
    assert_eq!(
        problems_with(&format!("{one}{two}")),
        ["flow_log[1].flow_log_id: InvalidParameterValue"]
    );
}

#[test]
fn a_log_is_written_as_it_was_read() {
    let text = log(
        "a",
        "eni-b",
        r#"log_destination = "x"
        traffic_type = "REJECT"
        max_aggregation_interval = 60
        log_format = "${srcaddr}"
        destination_options = { file_format = "plain-text", compression = "gzip" }
        tags = { team = "7" }"#,
    );
    let read = document(&text);
    let written = toml::to_string(&read).unwrap();
    assert_eq!(document(&written), read, "{written}");
    let short = document(&log("a", "eni-b", r#"log_destination = "x""#));
    let written = toml::to_string(&short.flow_log[0]).unwrap();
    assert_eq!(
        written,
        "flow_log_id = \"fl-a\"\nresource_id = \"eni-b\"\nlog_destination = \"x\"\n"
    );
}
