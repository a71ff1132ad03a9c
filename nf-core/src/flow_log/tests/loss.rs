//! What is not told, and that this is told.

use std::sync::Arc;

use super::*;
use crate::flow_log::{Loss, Rejection};
use crate::tuple::{Protocol, Tuple};
use crate::vpc::TrafficDirection;

fn lost(w: &World, loss: Loss) -> u64 {
    w.engine.flow_logs().counters().lost[loss as usize]
}

fn reject(w: &mut World, n: u16, flags: u8) {
    reject_of(w, n, flags, None);
}

fn reject_of(w: &mut World, n: u16, flags: u8, environment: Option<&Arc<str>>) {
    let snapshot = w.engine.snapshot().clone();
    let (eni, _) = snapshot.enis().find(|(_, eni)| eni.id.to_string() == "eni-b").unwrap();
    let tuple = Tuple { protocol: Protocol::Tcp, src: at("192.0.2.7:1"), dst: at("10.0.1.11:2") };
    let tuple = Tuple { src: SocketAddr::new(tuple.src.ip(), n), ..tuple };
    let rejection = Rejection {
        direction: TrafficDirection::Ingress,
        tuple,
        received: tuple.with_dst_ip([198, 51, 100, 11].into()),
        environment,
        bytes: 60,
        packets: 1,
        tcp_flags: flags,
    };
    let now = w.now;
    w.engine.flow_logs_mut().reject(now, eni, &rejection);
}

#[test]
fn what_security_groups_refuse_is_told_at_the_interface_that_refuses_it() {
    let fields = "interface-id flow-direction srcaddr dstaddr dstport packets bytes tcp-flags \
                  action traffic-path hs-received-srcaddr hs-sent-srcaddr";
    let mut w = world(&minutely("vpc-1", fields));
    pass(&mut w, "a", &tcp("10.0.1.20:1", "10.0.1.80:80", 2), "web");
    for _ in 0..2 {
        let frame = addressed(&w, "a", &tcp("10.0.1.20:1", "10.0.1.80:22", 2));
        assert_eq!(w.send("a", frame), []);
    }
    // It may answer, and nothing else.
    pass(&mut w, "web", &tcp("10.0.1.80:80", "10.0.1.20:1", 0x12), "a");
    let frame = addressed(&w, "web", &udp("10.0.1.80:9", "192.0.2.7:53"));
    assert_eq!(w.send("web", frame), []);
    until(&mut w, 20);
    let mut told = lines(&mut w);
    told.retain(|line| line.contains("REJECT"));
    told.sort();
    assert_eq!(
        told,
        [
            "eni-web egress 10.0.1.80 192.0.2.7 53 1 40 0 REJECT - 10.0.1.80 -",
            "eni-web ingress 10.0.1.20 10.0.1.80 22 2 80 2 REJECT - 10.0.1.20 -",
        ]
    );
}

#[test]
fn rejected_packets_are_added_up() {
    let fields = "srcaddr dstaddr srcport packets bytes start end action tcp-flags \
                  hs-received-dstaddr hs-sent-dstaddr log-status";
    let mut w = world(&minutely("eni-b", fields));
    reject(&mut w, 1, 2);
    until(&mut w, 9);
    reject(&mut w, 1, 2);
    until(&mut w, 20);
    assert_eq!(
        lines(&mut w),
        [format!("192.0.2.7 10.0.1.11 1 2 120 {BEGIN} {} REJECT 2 198.51.100.11 - OK", BEGIN + 9)]
    );
    until(&mut w, 80);
    assert_eq!(lines(&mut w).len(), 1, "NODATA again");
}

#[test]
fn only_logs_of_rejected_traffic_have_it() {
    let logs = ["ACCEPT", "REJECT", "ALL"].map(|it| {
        let keys = format!("traffic_type = \"{it}\"\nlog_format = \"${{action}} ${{log-status}}\"");
        log(&it.to_lowercase(), "eni-b", &keys).replace(
            "fl-all\"\n        resource_id = \"eni-b",
            "fl-all\"\n        resource_id = \"vpc-1",
        )
    });
    let mut w = world(&logs.concat());
    reject(&mut w, 1, 0);
    until(&mut w, 200);
    let told: Vec<_> = w.recorded();
    let told: Vec<_> = told.iter().map(|(id, line)| (id.as_str(), line.as_str())).collect();
    let expected = [("fl-reject", "REJECT OK"), ("fl-all", "REJECT OK"), ("fl-accept", "- NODATA")];
    for line in expected {
        assert!(told.contains(&line), "{line:?} in {told:?}");
    }
    assert!(!told.contains(&("fl-accept", "REJECT OK")), "{told:?}");
    assert!(!told.contains(&("fl-reject", "- NODATA")), "{told:?}");
}

#[test]
fn rejected_packets_of_too_many_flows_are_counted_and_skipped() {
    let mut w = world(&minutely("eni-b", "srcport packets log-status"));
    for n in 0..5000 {
        reject(&mut w, n, 0);
    }
    assert_eq!(lost(&w, Loss::RejectedFull), 5000 - 4096);
    until(&mut w, 20);
    let told = lines(&mut w);
    assert_eq!(told.len(), 4096 + 1);
    assert_eq!(told.iter().filter(|line| line.ends_with(" 1 OK")).count(), 4096);
    assert_eq!(told.last().unwrap(), "- - SKIPDATA");
    reject(&mut w, 7, 0);
    until(&mut w, 80);
    assert_eq!(lines(&mut w), ["7 1 OK"], "there is room again");
}

#[test]
fn windows_wait_while_nobody_takes_records_and_nothing_is_lost() {
    let mut w = world(&minutely("eni-b", "packets log-status"));
    // Two windows' rejected packets and more: half of what there is room for.
    for round in 0..5 {
        for n in 0..4000 {
            reject(&mut w, n, 0);
        }
        until(&mut w, 20 + 60 * round);
    }
    assert_eq!(w.engine.flow_logs().queued(), 20_000);
    until(&mut w, 300);
    pass(&mut w, "a", &udp("10.0.1.10:7", "10.0.1.11:2"), "b");
    until(&mut w, 321);
    assert_eq!(w.engine.flow_logs().queued(), 20_000, "the window stays open");
    pass(&mut w, "a", &udp("10.0.1.10:7", "10.0.1.11:2"), "b");
    assert_eq!(w.recorded().len(), 20_000);
    w.pass(Duration::from_secs(1));
    assert_eq!(lines(&mut w), ["2 OK"], "longer than it should be, and whole");
    assert_eq!(lost(&w, Loss::QueueFull), 0);
}

#[test]
fn records_that_cannot_wait_are_counted_and_skipped() {
    let mut w = world(&minutely("vpc-1", "interface-id packets log-status"));
    // Flows that end by the thousand, two records each, and nobody takes one.
    let mut ended = 0;
    for round in 0..9_u16 {
        for n in 0..2000 {
            let src = format!("10.0.1.10:{}", 1 + round * 2000 + n);
            pass(&mut w, "a", &udp(&src, "10.0.1.11:2"), "b");
            ended += 1;
        }
        w.unplug("b");
        w.plug("b");
        assert_eq!(w.engine.flow_count(), 0);
    }
    assert_eq!(ended, 18_000);
    assert_eq!(w.engine.flow_logs().queued(), 32_768);
    assert_eq!(lost(&w, Loss::QueueFull), 36_000 - 32_768);
    assert_eq!(w.recorded().len(), 32_768);
    until(&mut w, 20);
    assert_eq!(
        lines(&mut w),
        ["eni-a - SKIPDATA", "eni-b - SKIPDATA", "eni-c - NODATA", "eni-web - NODATA"],
        "what was lost is said of those who lost it"
    );
    assert_eq!(w.engine.flow_logs().counters().records, 32_768 + 4);
}

#[test]
fn an_environment_is_one_word_whatever_it_is_called() {
    let mut w = world(&minutely("eni-b", "srcport hs-environment-id log-status"));
    reject_of(&mut w, 7, 0, Some(&"one two\nthree\u{a0}".into()));
    until(&mut w, 20);
    assert_eq!(lines(&mut w), ["7 one_two_three_ OK"]);
}
