//! A NAT gateway's own interface in flow logs, as in EC2's worked example, and flows that the fast
//! path makes itself.

use std::time::Duration;

use super::*;

/// The example's addresses: an instance at 10.0.1.5, the NAT gateway's interface at 10.0.0.220.
fn example(resource: &str, format: &str) -> World {
    let text = DOCUMENT.replace("10.0.1.10", "10.0.1.5").replace(
        "    allocation_ids",
        "    private_ip_address = \"10.0.0.220\"\n    allocation_ids",
    );
    let instance = r#"
        [[instance]]
        instance_id = "i-01234567890123456"
        port = [{ name = "i" }]
    "#;
    let text = text.replace(
        "    port = \"i\"",
        "    attachment = { instance_id = \"i-01234567890123456\", device_index = 0 }",
    );
    let log = format!(
        r#"
        [[flow_log]]
        flow_log_id = "fl-1"
        resource_id = "{resource}"
        max_aggregation_interval = 60
        log_destination = "example"
        log_format = "{format}"
        "#
    );
    World::among_hosts(&format!("{text}{instance}{log}"), functions)
}

/// The lines of the first window, in order.
fn lines(w: &mut World) -> Vec<String> {
    w.pass(Duration::from_mins(1));
    let mut lines: Vec<_> = w.recorded().into_iter().map(|(_, line)| line).collect();
    lines.retain(|line| !line.contains("NODATA"));
    lines
}

/// A query of the instance's and its answer, through the gateway. Where the query seemed to come
/// from.
fn query_and_answer(w: &mut World, n: u16) -> SocketAddr {
    let host = w.engine.snapshot().enis().next().unwrap().1.mac.unwrap();
    let query = Frame::udp(([10, 0, 1, 5], n), at("203.0.113.5:53")).payload(*b"query");
    let frame = query.macs(host, w.mac("i")).build();
    let (src, _) = send_out(w, frame).unwrap();
    let answer = Frame::udp(at("203.0.113.5:53"), src).payload(*b"answer").build();
    assert_eq!(w.send("wan", answer).len(), 1);
    src
}

#[test]
fn a_nat_gateways_interface_has_the_four_records_of_ec2s_example() {
    // "Traffic through a NAT gateway" in the VPC user guide.
    const FORMAT: &str = "${instance-id} ${interface-id} ${srcaddr} ${dstaddr} ${pkt-srcaddr} \
                          ${pkt-dstaddr}";
    let eni = {
        let w = world(5000, 5999);
        let snapshot = w.engine.snapshot();
        snapshot.eni(snapshot.nat_gateways().next().unwrap().1.eni).id.to_string()
    };
    let mut w = example(&eni, FORMAT);
    query_and_answer(&mut w, 40_000);
    let mut expected = [
        format!("- {eni} 10.0.1.5 10.0.0.220 10.0.1.5 203.0.113.5"),
        format!("- {eni} 10.0.0.220 203.0.113.5 10.0.0.220 203.0.113.5"),
        format!("- {eni} 203.0.113.5 10.0.0.220 203.0.113.5 10.0.0.220"),
        format!("- {eni} 10.0.0.220 10.0.1.5 203.0.113.5 10.0.1.5"),
    ];
    let mut told = lines(&mut w);
    told.sort();
    expected.sort();
    assert_eq!(told, expected);

    let mut w = example("eni-i", FORMAT);
    query_and_answer(&mut w, 40_000);
    assert_eq!(
        lines(&mut w),
        [
            "i-01234567890123456 eni-i 10.0.1.5 203.0.113.5 10.0.1.5 203.0.113.5",
            "i-01234567890123456 eni-i 203.0.113.5 10.0.1.5 203.0.113.5 10.0.1.5",
        ]
    );
}

#[test]
fn our_fields_tell_both_tuples_of_a_translated_flow() {
    let mut w = example(
        "eni-i",
        "${hs-received-srcaddr} ${hs-received-srcport} ${hs-received-dstaddr} \
         ${hs-received-dstport} ${hs-sent-srcaddr} ${hs-sent-srcport} ${hs-sent-dstaddr} \
         ${hs-sent-dstport} ${flow-direction} ${traffic-path}",
    );
    let port = query_and_answer(&mut w, 40_000).port();
    assert_eq!(
        lines(&mut w),
        [
            format!("10.0.1.5 40000 203.0.113.5 53 {PUBLIC} {port} 203.0.113.5 53 egress 1"),
            format!("203.0.113.5 53 {PUBLIC} {port} 203.0.113.5 53 10.0.1.5 40000 ingress -"),
        ]
    );
}

#[test]
fn flows_that_the_fast_path_makes_are_told_of_from_their_first_packet() {
    let mut w = example("eni-i", "${pkt-srcaddr} ${srcport} ${packets} ${bytes}");
    for n in 1..=50 {
        query_and_answer(&mut w, n);
    }
    assert!(w.engine.counters().flows_made > 40, "{}", w.engine.counters().flows_made);
    let mut told = lines(&mut w);
    told.sort();
    let there = (1..=50).map(|n| format!("10.0.1.5 {n} 1 33"));
    let back = (1..=50).map(|_| "203.0.113.5 53 1 34".to_owned());
    let mut expected: Vec<_> = there.chain(back).collect();
    expected.sort();
    assert_eq!(told, expected);
}
