//! Rules for NAT gateways, load balancers, target groups and bridges, and what the functions see.

use std::net::IpAddr;
use std::time::Duration;

use super::{BASE, build, built, problems_beside, problems_with};
use crate::flow::Timeouts;
use crate::tuple::Protocol;
use crate::vpc::{
    ConnectivityType, ExhaustionReply, FilteringBehavior, Mapping, NatAddress, Target,
};

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

const ADDRESSES: &str = r#"
    [[address]]
    allocation_id = "eipalloc-1"
    public_ip = "203.0.113.10"
    [[address]]
    allocation_id = "eipalloc-2"
    public_ip = "203.0.113.11"
    [[address]]
    allocation_id = "eipalloc-6"
    public_ip = "2001:db8::10"
"#;

fn nat_gateway(keys: &str) -> String {
    format!(
        r#"{ADDRESSES}
        [[nat_gateway]]
        nat_gateway_id = "nat-a"
        subnet_id = "subnet-public"
        {keys}
        "#
    )
}

#[test]
fn each_elastic_ip_address_of_a_nat_gateway_has_a_private_one_of_its_family() {
    let snapshot = built(&nat_gateway(
        r#"allocation_ids = ["eipalloc-6", "eipalloc-1", "eipalloc-2"]
        private_ip_address = "10.0.0.50""#,
    ));
    let (_, gateway) = snapshot.nat_gateways().next().expect("one NAT gateway");
    let address = |private, public| NatAddress {
        private_ip: ip(private),
        public_ip: Some(ip(public)),
        is_draining: false,
    };
    assert_eq!(
        gateway.addresses,
        [
            address("fd00:a::4", "2001:db8::10"),
            address("10.0.0.50", "203.0.113.10"),
            address("10.0.0.4", "203.0.113.11"),
        ]
    );
    assert_eq!(snapshot.public_address(ip("203.0.113.11")), Some((gateway.eni, ip("10.0.0.4"))));
}

#[test]
fn a_nat_gateway_forwards_all_fragments_or_those_of_udp_alone() {
    let forwarded = |keys: &str| {
        let keys = format!("allocation_ids = [\"eipalloc-1\"]\n{keys}");
        let snapshot = built(&nat_gateway(&keys));
        let translation = &snapshot.nat_gateways().next().expect("one NAT gateway").1.translation;
        [Protocol::Udp, Protocol::Tcp, Protocol::Icmp, Protocol::Icmpv6]
            .map(|protocol| translation.forwards_fragments(protocol))
    };
    assert_eq!(forwarded(""), [true; 4]);
    assert_eq!(forwarded("fragments = \"all\""), [true; 4]);
    assert_eq!(forwarded("fragments = \"udp\""), [true, false, false, false]);
    let wrong = nat_gateway("fragments = \"tcp\"");
    let refused = toml::from_str::<crate::vpc::Document>(&wrong).unwrap_err().to_string();
    assert!(refused.contains("expected `all` or `udp`"), "{refused}");
}

#[test]
fn a_nat_gateway_has_the_timers_and_ports_of_aws_unless_told_otherwise() {
    let snapshot = built(&nat_gateway(r#"allocation_ids = ["eipalloc-1"]"#));
    let translation = &snapshot.nat_gateways().next().expect("one NAT gateway").1.translation;
    let expected = Timeouts {
        tcp_opening: Duration::from_mins(4),
        tcp_established: Duration::from_secs(350),
        tcp_closing: Duration::from_mins(4),
        tcp_time_wait: Duration::from_secs(30),
        tcp_reset: Duration::from_secs(10),
        udp: Duration::from_mins(2),
        udp_stream: Duration::from_secs(350),
        icmp: Duration::from_mins(1),
        reset_both: false,
    };
    assert_eq!(translation.timeouts, expected);
    assert_eq!(translation.mapping, Mapping::Symmetric);
    assert_eq!(translation.exhaustion_reply, ExhaustionReply::Icmp);
    assert_eq!(translation.max_ports_per_client, None);
    assert_eq!(translation.port_quarantine, Duration::from_secs(30));
    assert_eq!((translation.port_range.first(), translation.port_range.last()), (1024, 65535));

    let snapshot = built(&nat_gateway(
        r#"allocation_ids = ["eipalloc-1"]
        tcp_idle_timeout_seconds = 7200
        tcp_transitory_timeout_seconds = 300
        tcp_time_wait_timeout_seconds = 31
        udp_stream_timeout_seconds = 600
        reset_both = true
        port_range = [40000, 40009]
        port_quarantine_seconds = 0
        max_ports_per_client = 4
        exhaustion_reply = "reset""#,
    ));
    let translation = &snapshot.nat_gateways().next().expect("one NAT gateway").1.translation;
    let expected = Timeouts {
        tcp_opening: Duration::from_mins(5),
        tcp_established: Duration::from_hours(2),
        tcp_closing: Duration::from_mins(5),
        tcp_time_wait: Duration::from_secs(31),
        udp_stream: Duration::from_mins(10),
        reset_both: true,
        ..expected
    };
    assert_eq!(translation.timeouts, expected);
    assert_eq!(translation.max_ports_per_client, Some(4));
    assert_eq!(translation.exhaustion_reply, ExhaustionReply::Reset);
    assert_eq!(translation.port_quarantine, Duration::ZERO);
    assert_eq!((translation.port_range.first(), translation.port_range.last()), (40000, 40009));
}

#[test]
fn filtering_is_for_endpoint_independent_mapping_and_address_dependent_unless_told_otherwise() {
    let mapping = |keys: &str| {
        let snapshot = built(&nat_gateway(&format!("allocation_ids = [\"eipalloc-1\"]\n{keys}")));
        snapshot.nat_gateways().next().expect("one NAT gateway").1.translation.mapping
    };
    let independent = r#"mapping = "endpoint-independent""#;
    assert_eq!(mapping(r#"mapping = "symmetric""#), Mapping::Symmetric);
    assert_eq!(
        mapping(independent),
        Mapping::EndpointIndependent(FilteringBehavior::AddressDependent)
    );
    assert_eq!(
        mapping(&format!("{independent}\nfiltering = \"endpoint-independent\"")),
        Mapping::EndpointIndependent(FilteringBehavior::EndpointIndependent)
    );
    let alone = nat_gateway("allocation_ids = [\"eipalloc-1\"]\nfiltering = \"address-dependent\"");
    assert_eq!(problems_with(&alone), ["nat_gateway[0].filtering: InvalidParameterCombination"]);
}

#[test]
fn a_nat_gateway_has_the_well_known_nat64_prefix_unless_told_otherwise() {
    let prefixes = |keys: &str| {
        let snapshot = built(&nat_gateway(&format!("allocation_ids = [\"eipalloc-1\"]\n{keys}")));
        let (_, gateway) = snapshot.nat_gateways().next().expect("one NAT gateway");
        gateway.nat64_prefixes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(prefixes(""), ["64:ff9b::/96"]);
    assert_eq!(prefixes("nat64_prefixes = []"), [""; 0]);
    assert_eq!(prefixes("nat64_prefixes = [\"2001:db8:64::/48\"]"), ["2001:db8:64::/48"]);
}

#[test]
fn a_nat64_prefix_that_rfc_6052_does_not_know_is_refused_by_the_parser() {
    for wrong in ["2001:db8::/95", "64:ff9b::1/96", "2001:db8:0:0:100::/96", "10.0.0.0/8"] {
        let document = nat_gateway(&format!("nat64_prefixes = [\"{wrong}\"]"));
        let error = toml::from_str::<crate::vpc::Document>(&document).unwrap_err().to_string();
        let expected = format!("`{wrong}` is not a NAT64 prefix such as 64:ff9b::/96");
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn a_range_of_ports_starts_at_1024_and_is_not_empty() {
    for bad in ["[1023, 2000]", "[2000, 1999]", "[0, 0]", "[1024]", "[1024, 65536]"] {
        let text = format!("{BASE}{}", nat_gateway(&format!("port_range = {bad}")));
        assert!(toml::from_str::<crate::vpc::Document>(&text).is_err(), "{bad}");
    }
}

#[test]
fn a_public_nat_gateway_needs_an_elastic_ip_address_and_a_private_one_has_none() {
    assert_eq!(
        problems_with(&nat_gateway("")),
        ["nat_gateway[0].allocation_ids: MissingParameter"]
    );
    let private = r#"connectivity_type = "private""#;
    assert_eq!(
        problems_with(&nat_gateway(&format!("{private}\nallocation_ids = [\"eipalloc-1\"]"))),
        ["nat_gateway[0].allocation_ids: InvalidParameterCombination"]
    );
    let snapshot = built(&nat_gateway(private));
    let (_, gateway) = snapshot.nat_gateways().next().expect("one NAT gateway");
    assert_eq!(gateway.connectivity_type, ConnectivityType::Private);
    let address = NatAddress { private_ip: ip("10.0.0.4"), public_ip: None, is_draining: false };
    assert_eq!(gateway.addresses, [address]);
}

#[test]
fn timers_outside_their_ranges_are_refused() {
    let more = nat_gateway(
        r#"allocation_ids = ["eipalloc-1"]
        tcp_idle_timeout_seconds = 0
        tcp_transitory_timeout_seconds = 0
        tcp_time_wait_timeout_seconds = 604801
        udp_idle_timeout_seconds = 604801
        udp_stream_timeout_seconds = 0
        icmp_idle_timeout_seconds = 0
        port_quarantine_seconds = 3601
        max_ports_per_client = 0"#,
    );
    assert_eq!(
        problems_with(&more),
        [
            "nat_gateway[0].tcp_idle_timeout_seconds: InvalidParameterValue",
            "nat_gateway[0].tcp_transitory_timeout_seconds: InvalidParameterValue",
            "nat_gateway[0].tcp_time_wait_timeout_seconds: InvalidParameterValue",
            "nat_gateway[0].udp_idle_timeout_seconds: InvalidParameterValue",
            "nat_gateway[0].udp_stream_timeout_seconds: InvalidParameterValue",
            "nat_gateway[0].icmp_idle_timeout_seconds: InvalidParameterValue",
            "nat_gateway[0].port_quarantine_seconds: InvalidParameterValue",
            "nat_gateway[0].max_ports_per_client: InvalidParameterValue",
        ]
    );
}

fn target_group(keys: &str) -> String {
    format!(
        r#"
        [[target_group]]
        target_group_name = "web"
        protocol = "TCP"
        port = 8080
        vpc_id = "vpc-a"
        {keys}
        "#
    )
}

fn load_balancer(listeners: &str) -> String {
    format!(
        r#"
        [[load_balancer]]
        load_balancer_name = "web"
        scheme = "internal"
        subnet_mapping = [{{ subnet_id = "subnet-private" }}]
        listener = [{listeners}]
        "#
    )
}

#[test]
fn a_listener_has_the_idle_times_of_elbv2() {
    let snapshot = built(
        &(load_balancer(
            r#"
            { protocol = "TCP", port = 80, target_group_name = "web" },
            { protocol = "TCP", port = 81, target_group_name = "web", tcp_idle_timeout_seconds = 6000 },
            { protocol = "UDP", port = 80, target_group_name = "dns" },
            "#,
        ) + &target_group("")
            + &target_group("").replace("TCP", "UDP").replace("\"web\"", "\"dns\"")),
    );
    let (_, balancer) = snapshot.load_balancers().next().expect("one load balancer");
    let idle = |protocol, port| balancer.listener(protocol, port).map(|it| it.idle_timeout);
    assert_eq!(idle(Protocol::Tcp, 80), Some(Duration::from_secs(350)));
    assert_eq!(idle(Protocol::Tcp, 81), Some(Duration::from_mins(100)));
    assert_eq!(idle(Protocol::Udp, 80), Some(Duration::from_mins(2)));
    assert_eq!(idle(Protocol::Udp, 81), None);
    let dns = balancer.listener(Protocol::Udp, 80).expect("there").target_group;
    assert_eq!(snapshot.target_group(dns).name.to_string(), "dns");
}

#[test]
fn listeners_are_unique_and_fit_their_target_group() {
    let more = load_balancer(
        r#"
        { protocol = "TCP", port = 80, target_group_name = "web" },
        { protocol = "TCP", port = 80, target_group_name = "web" },
        { protocol = "UDP", port = 80, target_group_name = "web" },
        { protocol = "TCP", port = 81, target_group_name = "web", tcp_idle_timeout_seconds = 59 },
        { protocol = "UDP", port = 81, target_group_name = "web", tcp_idle_timeout_seconds = 60 },
        "#,
    ) + &target_group("");
    assert_eq!(
        problems_with(&more),
        [
            "load_balancer[0].listener[1].port: DuplicateListener",
            "load_balancer[0].listener[2].target_group_name: IncompatibleProtocols",
            "load_balancer[0].listener[3].tcp_idle_timeout_seconds: InvalidParameterValue",
            "load_balancer[0].listener[4].tcp_idle_timeout_seconds: InvalidConfigurationRequest",
            "load_balancer[0].listener[4].target_group_name: IncompatibleProtocols",
        ]
    );
}

#[test]
fn a_load_balancer_has_at_most_fifty_listeners() {
    let listeners = |count: u16| -> String {
        let one =
            |port| format!("{{ protocol = \"TCP\", port = {port}, target_group_name = \"web\" }},");
        (1..=count).map(one).collect()
    };
    built(&(load_balancer(&listeners(50)) + &target_group("")));
    assert_eq!(
        problems_with(&(load_balancer(&listeners(51)) + &target_group(""))),
        ["load_balancer[0].listener: TooManyListeners"]
    );
}

#[test]
fn nodes_are_in_different_subnets_of_one_vpc() {
    let more = r#"
        [[load_balancer]]
        load_balancer_name = "web"
        scheme = "internal"
        subnet_mapping = [
            { subnet_id = "subnet-private" },
            { subnet_id = "subnet-b" },
            { subnet_id = "subnet-private" },
        ]
        [[load_balancer]]
        load_balancer_name = "none"
        scheme = "internal"
        subnet_mapping = []
    "#;
    assert_eq!(
        problems_beside(more),
        [
            "load_balancer[0].subnet_mapping[1].subnet_id: InvalidParameterValue",
            "load_balancer[0].subnet_mapping[2].subnet_id: InvalidConfigurationRequest",
            "load_balancer[1].subnet_mapping: ValidationError",
        ]
    );
}

#[test]
fn the_scheme_decides_whether_nodes_have_public_addresses() {
    let balancer = |scheme: &str, mapping: &str| {
        format!(
            r#"{ADDRESSES}
            [[load_balancer]]
            load_balancer_name = "web"
            scheme = "{scheme}"
            subnet_mapping = [{{ subnet_id = "subnet-public"{mapping} }}]
            "#
        )
    };
    let snapshot = built(&balancer("internet-facing", r#", allocation_id = "eipalloc-6""#));
    let node = snapshot.load_balancers().next().expect("one").1.nodes[0];
    assert_eq!(snapshot.public_address(ip("2001:db8::10")), Some((node.eni, ip("fd00:a::4"))));

    let at = "load_balancer[0].subnet_mapping[0].allocation_id: InvalidConfigurationRequest";
    assert_eq!(problems_with(&balancer("internet-facing", "")), [at]);
    assert_eq!(problems_with(&balancer("internal", r#", allocation_id = "eipalloc-1""#)), [at]);

    let public_ipv6 = BASE.replace("fd00:a:", "3fff:a:")
        + &balancer("internet-facing", r#", ipv6_address = "3fff:a::80""#);
    let snapshot = build(&public_ipv6).expect("a public IPv6 address is enough");
    let node = snapshot.load_balancers().next().expect("one").1.nodes[0];
    let own = ip("3fff:a::80");
    assert_eq!(snapshot.public_address(own), Some((node.eni, own)), "it stands for itself");
    let uplink =
        snapshot.uplink_of(snapshot.eni(node.eni).vpc).expect("it has an internet gateway");
    assert!(snapshot.own_addresses().any(|it| it == (own, uplink)));

    let internal = public_ipv6.replace("internet-facing", "internal");
    let snapshot = build(&internal).expect("an internal one may have it, too");
    assert_eq!(snapshot.public_address(own), None);
}

#[test]
fn a_target_group_is_of_the_vpc_of_its_load_balancer() {
    let more = load_balancer(r#"{ protocol = "TCP", port = 80, target_group_name = "web" }"#)
        + &target_group("").replace("vpc-a", "vpc-b");
    assert_eq!(
        problems_beside(&more),
        ["load_balancer[0].listener[0].target_group_name: InvalidParameterValue"]
    );
}

#[test]
fn targets_are_in_the_vpc_or_private_and_never_twice_or_a_load_balancer() {
    let more = load_balancer("")
        .replace("subnet-private\"", "subnet-private\", private_ipv4_address = \"10.0.1.80\"")
        + &target_group(
            r#"target = [
                { id = "10.0.1.10" },
                { id = "10.0.1.10", port = 8080 },
                { id = "10.0.1.10", port = 8081 },
                { id = "192.168.7.7" },
                { id = "100.64.0.1" },
                { id = "fd00:ffff::1" },
                { id = "8.8.8.8" },
                { id = "100.128.0.1" },
                { id = "2001:db8::1" },
                { id = "10.0.1.80" },
                { id = "10.0.1.11", weight = 1000 },
            ]"#,
        );
    assert_eq!(
        problems_with(&more),
        [
            "target_group[0].target[1].id: InvalidTarget",
            "target_group[0].target[6].id: InvalidTarget",
            "target_group[0].target[7].id: InvalidTarget",
            "target_group[0].target[8].id: InvalidTarget",
            "target_group[0].target[9].id: InvalidTarget",
            "target_group[0].target[10].weight: InvalidParameterValue",
        ]
    );
}

#[test]
fn a_target_takes_the_port_of_its_group_and_weight_one() {
    let snapshot = built(&target_group(
        r#"target = [{ id = "10.0.1.10" }, { id = "10.0.1.11", port = 9090, weight = 0 }]"#,
    ));
    let (_, group) = snapshot.target_groups().next().expect("one target group");
    assert_eq!(
        group.targets,
        [
            Target { ip: ip("10.0.1.10"), port: 8080, weight: 1 },
            Target { ip: ip("10.0.1.11"), port: 9090, weight: 0 },
        ]
    );
}

#[test]
fn a_health_check_has_the_defaults_of_elbv2_and_a_timeout_within_its_interval() {
    let check = |keys: &str| target_group(&format!("health_check = {{ {keys} }}"));
    let checked = |keys: &str| {
        let snapshot = built(&check(keys));
        let (_, group) = snapshot.target_groups().next().expect("one target group");
        group.health_check.clone()
    };
    let default = checked("");
    assert_eq!(default.port, None);
    assert_eq!(
        (default.interval, default.timeout),
        (Duration::from_secs(30), Duration::from_secs(10))
    );
    assert_eq!((default.healthy_threshold, default.unhealthy_threshold), (5, 2));

    let quick = checked("interval_seconds = 1, port = 9000");
    assert_eq!((quick.interval, quick.timeout), (Duration::from_secs(1), Duration::from_secs(1)));
    assert_eq!(quick.port.map(u16::from), Some(9000));
    assert_eq!(checked(r#"port = "9000""#).port.map(u16::from), Some(9000));
    assert_eq!(checked(r#"port = "traffic-port""#).port, None);

    for (keys, bad) in [
        ("interval_seconds = 0", "interval_seconds"),
        ("interval_seconds = 301", "interval_seconds"),
        ("timeout_seconds = 0", "timeout_seconds"),
        ("timeout_seconds = 31", "timeout_seconds"),
        ("interval_seconds = 300, timeout_seconds = 121", "timeout_seconds"),
        ("healthy_threshold_count = 1", "healthy_threshold_count"),
        ("unhealthy_threshold_count = 11", "unhealthy_threshold_count"),
    ] {
        assert_eq!(
            problems_with(&check(keys)),
            [format!("target_group[0].health_check.{bad}: InvalidParameterValue")],
            "{keys}"
        );
    }
}
