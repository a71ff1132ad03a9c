//! What health checks say on the wire, and what follows from the answers.

use super::*;

#[test]
fn a_probe_is_a_syn_from_the_node_and_a_passed_one_is_reset() {
    let mut b = Bench::new(r#"target = [{ id = "10.0.1.11" }]"#);
    b.world.reload(&document(r#"target = [{ id = "10.0.1.11" }, { id = "10.0.1.12" }]"#));
    b.world.pass(Duration::from_secs(5));
    let probes = b.world.pass(Duration::from_secs(7));
    let probe = &probes.iter().find(|(port, _)| port == "t2").unwrap().1;
    let Tuple { src, dst, .. } = tuple(probe);
    assert_eq!((src.ip(), dst), (at(PRIVATE).ip(), at("10.0.1.12:8080")));
    assert!(src.port() >= 49_152);
    let Transport::Tcp { seq, .. } = Headers::parse(probe).unwrap().ip().unwrap().transport else {
        panic!("{probe:?}")
    };
    let (gateway, host) = (b.world.mac("t2"), host_mac([10, 0, 1, 12].into()));
    let expected = Frame::tcp(src, dst).flags(TcpFlags::SYN).seq(seq).macs(gateway, host);
    assert_eq!(*probe, expected.build());

    // Only the answer to this very question counts.
    let answer = Frame::tcp(dst, src).flags(TcpFlags::SYN | TcpFlags::ACK).seq(99);
    for wrong in [
        answer.clone().ack(seq).build(),
        Frame::tcp(at("10.0.1.12:8081"), src)
            .flags(TcpFlags::SYN | TcpFlags::ACK)
            .ack(seq + 1)
            .build(),
        Frame::tcp(dst, src).flags(TcpFlags::SYN).ack(seq + 1).build(),
    ] {
        assert_eq!(b.world.send("t2", wrong), []);
        assert_eq!(b.state("10.0.1.12:8080"), TargetState::Initial);
    }
    let right = answer.ack(seq.wrapping_add(1)).build();
    let reset = build::tcp_reset(&right).unwrap();
    let reset = [host.as_bytes(), gateway.as_bytes(), &reset[12..]].concat();
    assert_eq!(b.world.send("t2", right.clone()), [("t2".to_owned(), reset)]);
    assert_eq!(b.world.fate(), Fate::Slow(Verdict::Consumed));
    assert_eq!(b.state("10.0.1.12:8080"), TargetState::Healthy, "one is enough for a new target");
    assert_eq!(b.world.send("t2", right), [], "a repeated answer is nobody's");
    assert_eq!(b.world.engine.flow_count(), 0);
}

#[test]
fn a_target_whose_security_group_refuses_probes_is_unhealthy() {
    let listens = document(THREE).replace(
        "ingress = [\n        { ip_protocol = \"-1\", cidr_ipv4 = \"0.0.0.0/0\" }",
        "ingress = [\n        { ip_protocol = \"-1\", cidr_ipv4 = \"203.0.113.0/24\" }",
    );
    assert_ne!(listens, document(THREE));
    let mut b = Bench::healthy();
    assert_eq!(b.world.reload(&listens), []);
    let before = b.probes;
    b.pass(30);
    assert_eq!(b.probes, before, "none gets to a target");
    assert_eq!(b.states("web"), ["unhealthy"; 3].map(str::to_owned));
    assert!(b.world.dropped(Drop::SecurityGroup) >= 6);
}

#[test]
fn probes_go_to_the_port_of_the_health_check() {
    let mut b = Bench::new(THREE);
    b.pass(1);
    let sent = b.world.pass(Duration::from_secs(10));
    let to: BTreeSet<_> = sent.iter().map(|(_, frame)| tuple(frame).dst).collect();
    let expected = ["10.0.1.11:8080", "10.0.1.12:8080", "10.0.1.13:8080", "10.0.1.13:9000"].map(at);
    assert_eq!(to, expected.into(), "and none to a group that no listener uses");
    assert_eq!(b.states("spare"), ["unused"]);
}

#[test]
fn a_target_is_unhealthy_after_two_failures_and_healthy_after_three_successes() {
    let mut b = Bench::healthy();
    b.set(&["t1"], Manner::Refuses);
    // The next probe of t1 is refused; the one after it comes a second later.
    b.pass(6);
    b.set(&["t1"], Manner::Accepts);
    b.pass(30);
    assert_eq!(b.states("web"), ["healthy"; 3], "one failure is none");
    b.set(&["t1"], Manner::Refuses);
    b.pass(12);
    assert_eq!(b.state("10.0.1.11:8080"), TargetState::Unhealthy);
    b.set(&["t1"], Manner::Accepts);
    b.pass(20);
    assert_eq!(b.state("10.0.1.11:8080"), TargetState::Unhealthy, "two successes are not three");
    b.pass(10);
    assert_eq!(b.state("10.0.1.11:8080"), TargetState::Healthy);
}

#[test]
fn silence_is_a_failure_after_the_time_out() {
    let mut b = Bench::new(r#"target = [{ id = "10.0.1.11" }]"#);
    assert_eq!(b.states("web"), ["initial"]);
    // Probes at 0 and 10 s, each lost after 4.
    b.pass(13);
    assert_eq!(b.states("web"), ["initial"]);
    b.pass(2);
    assert_eq!(b.states("web"), ["unhealthy"]);
}

#[test]
fn a_dead_target_is_routed_around_and_the_others_flows_stay_where_they_are() {
    let mut b = Bench::healthy();
    let mut before = BTreeMap::new();
    for n in 1..=90 {
        before.insert(n, b.open(n).unwrap());
    }
    b.set(&["t2"], Manner::Silent);
    b.pass(20);
    assert_eq!(b.state("10.0.1.12:8080"), TargetState::Unhealthy);
    for (n, target) in &before {
        if b.flows().iter().any(|it| it.flow.forward.tuple.src == client(*n)) {
            assert_eq!(b.open(*n).unwrap(), *target, "a flow never changes its target");
        }
    }
    let shares = b.shares(1000, 300);
    assert_eq!(shares.keys().collect::<Vec<_>>(), ["t1", "t3"]);
    b.set(&["t2"], Manner::Accepts);
    b.pass(31);
    assert_eq!(b.shares(2000, 300).len(), 3, "and it gets new flows when it is back");
}

#[test]
fn a_group_without_a_healthy_target_fails_open() {
    let mut b = Bench::healthy();
    b.set(&["t1", "t2", "t3"], Manner::Refuses);
    b.pass(20);
    assert_eq!(b.states("web"), ["unhealthy"; 3]);
    assert_eq!(b.shares(1, 300).len(), 3);
    b.set(&["t3"], Manner::Accepts);
    b.pass(40);
    assert_eq!(b.shares(1000, 100).keys().collect::<Vec<_>>(), ["t3"]);
}

#[test]
fn a_new_target_is_probed_at_once_and_the_others_keep_their_health() {
    let mut b = Bench::new(r#"target = [{ id = "10.0.1.11" }, { id = "10.0.1.12" }]"#);
    b.set(&["t1", "t2", "t3"], Manner::Accepts);
    b.pass(11);
    b.set(&["t1"], Manner::Refuses);
    let probes = b.probes;
    b.reload(THREE);
    assert_eq!(b.probes, probes + 1);
    assert_eq!(b.states("web"), ["healthy"; 3]);
}

#[test]
fn probes_end_with_the_load_balancer() {
    let mut b = Bench::healthy();
    b.world.reload(&DOCUMENT[..DOCUMENT.find("[[load_balancer]]").unwrap()]);
    assert_eq!(b.world.pass(Duration::from_mins(1)), []);
    let World { engine, path, now, .. } = &mut b.world;
    assert_eq!(engine.advance(*now, path), None);
    assert_eq!(engine.neighbour_count(), 0);
}
