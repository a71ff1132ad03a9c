//! Formats as EC2 writes them, and lines as its user guide shows them.

use super::*;
use crate::flow_log::{Field, FormatError, LogFormat};

#[test]
fn the_default_format_is_version_2_in_ec2s_order() {
    let format = LogFormat::default();
    assert_eq!(
        format.header(),
        "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes \
         start end action log-status"
    );
    assert_eq!(format.version(), 2);
}

#[test]
fn fields_stand_in_the_order_and_under_the_versions_of_ec2s_table() {
    let of = |version| {
        let fields = Field::ALL.iter().filter(|field| field.version() == version);
        fields.map(|field| field.as_str()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of(3), "vpc-id subnet-id instance-id tcp-flags type pkt-srcaddr pkt-dstaddr");
    assert_eq!(of(4), "region az-id sublocation-type sublocation-id");
    assert_eq!(of(5), "pkt-src-aws-service pkt-dst-aws-service flow-direction traffic-path");
    assert!(Field::ALL.iter().all(|it| it.as_str().starts_with("hs-") == (it.version() == 0)));
}

#[test]
fn a_format_is_read_and_written_alike() {
    let text = "${tcp-flags} ${version} ${hs-sent-srcaddr} ${log-status}";
    let format: LogFormat = text.parse().unwrap();
    assert_eq!(format.to_string(), text);
    assert_eq!(format.header(), "tcp-flags version hs-sent-srcaddr log-status");
    for field in Field::ALL {
        let format: LogFormat = format!("${{{field}}}").parse().unwrap();
        assert_eq!(format.fields(), [*field]);
    }
}

#[test]
fn the_version_is_the_highest_among_the_fields() {
    for (text, version) in [
        ("${srcaddr}", 2),
        ("${hs-environment-id}", 2),
        ("${srcaddr} ${pkt-srcaddr}", 3),
        ("${az-id} ${pkt-srcaddr}", 4),
        ("${traffic-path} ${az-id} ${version}", 5),
    ] {
        assert_eq!(text.parse::<LogFormat>().unwrap().version(), version, "{text}");
    }
}

#[test]
fn what_is_not_a_format_is_refused() {
    let error = |text: &str| text.parse::<LogFormat>().unwrap_err();
    let syntax = |part: &str| FormatError::Syntax(part.to_owned());
    assert_eq!(error(""), syntax(""));
    assert_eq!(error("srcaddr"), syntax("srcaddr"));
    assert_eq!(error("${srcaddr} "), syntax(""));
    assert_eq!(error("${srcaddr}  ${dstaddr}"), syntax(""));
    assert_eq!(error("${srcaddr}${dstaddr}"), FormatError::Unknown("srcaddr}${dstaddr".to_owned()));
    assert_eq!(
        error("${srcaddr},${dstaddr}"),
        FormatError::Unknown("srcaddr},${dstaddr".to_owned())
    );
    assert_eq!(error("${ecs-task-id}"), FormatError::Unknown("ecs-task-id".to_owned()));
    assert_eq!(error("${SRCADDR}"), FormatError::Unknown("SRCADDR".to_owned()));
    assert_eq!(error("${end} ${start} ${end}"), FormatError::Twice(Field::End));
}

#[test]
fn a_default_record_is_written_as_ec2_does() {
    let mut w = world(&log("d", "eni-b", "max_aggregation_interval = 60"));
    pass(&mut w, "a", &udp("10.0.1.10:20641", "10.0.1.11:22"), "b");
    until(&mut w, 20);
    assert_eq!(
        lines(&mut w),
        [
            "2 123456789010 eni-b 10.0.1.10 10.0.1.11 20641 22 17 1 40 1418529400 1418529400 ACCEPT OK"
        ]
    );
    until(&mut w, 80);
    assert_eq!(
        lines(&mut w),
        ["2 123456789010 eni-b - - - - - - - 1418529420 1418529480 - NODATA"]
    );
}

#[test]
fn every_field_of_a_record_is_told() {
    let all: Vec<_> = Field::ALL.iter().map(|field| field.as_str()).collect();
    let mut w = world(&minutely("eni-a", &all.join(" ")));
    pass(&mut w, "wan", &udp("192.0.2.7:4000", "198.51.100.10:53"), "a");
    pass(&mut w, "a", &udp("10.0.1.10:53", "192.0.2.7:4000"), "wan");
    until(&mut w, 81);
    let common = "vpc-1 subnet-1 i-a 0 IPv4";
    assert_eq!(
        lines(&mut w),
        [
            format!(
                "5 123456789010 eni-a 192.0.2.7 10.0.1.10 4000 53 17 1 40 1418529400 1418529400 \
                 ACCEPT OK {common} 192.0.2.7 10.0.1.10 eu-test-1 eu-test-1b - - - - ingress - \
                 192.0.2.7 198.51.100.10 4000 53 192.0.2.7 10.0.1.10 4000 53 -"
            ),
            format!(
                "5 123456789010 eni-a 10.0.1.10 192.0.2.7 53 4000 17 1 40 1418529400 1418529400 \
                 ACCEPT OK {common} 10.0.1.10 192.0.2.7 eu-test-1 eu-test-1b - - - - egress 8 \
                 10.0.1.10 192.0.2.7 53 4000 198.51.100.10 192.0.2.7 53 4000 -"
            ),
            "5 123456789010 eni-a - - - - - - - 1418529420 1418529480 - NODATA vpc-1 subnet-1 i-a \
             - - - - eu-test-1 eu-test-1b - - - - - - - - - - - - - - -"
                .to_owned(),
        ]
    );
}
