//! Rules for route tables, and where packets go.

use std::net::IpAddr;

use super::{BASE, build, built, message_with, problems_beside, problems_with};
use crate::vpc::{RouteTarget, Snapshot, SubnetIx};

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn subnet(snapshot: &Snapshot, id: &str) -> SubnetIx {
    let found = snapshot.subnets().find(|(_, subnet)| subnet.id.to_string() == id);
    found.expect(id).0
}

fn table(routes: &str) -> String {
    format!(
        r#"
        [[route_table]]
        route_table_id = "rtb-x"
        vpc_id = "vpc-a"
        route = [{routes}]
        "#
    )
}

#[test]
fn a_subnet_without_a_table_has_local_routes_only() {
    let snapshot = built("");
    let private = subnet(&snapshot, "subnet-private");
    assert_eq!(snapshot.route(private, ip("10.0.0.9")), Some(RouteTarget::Local));
    assert_eq!(snapshot.route(private, ip("fd00:a:0:7::9")), Some(RouteTarget::Local));
    assert_eq!(snapshot.route(private, ip("8.8.8.8")), None);
    assert_eq!(snapshot.route(private, ip("2001:db8::9")), None);
}

#[test]
fn a_subnet_that_names_no_table_uses_the_main_one_of_its_vpc() {
    let main = r#"
        [[route_table]]
        route_table_id = "rtb-main"
        vpc_id = "vpc-a"
        main = true
        route = [{ destination_cidr_block = "192.0.2.0/24", gateway_id = "igw-a" }]
    "#;
    let snapshot = built(main);
    let (uplink, _) = snapshot.uplinks().next().expect("one uplink");
    let out = Some(RouteTarget::InternetGateway(uplink));
    let (private, public) =
        (subnet(&snapshot, "subnet-private"), subnet(&snapshot, "subnet-public"));
    assert_eq!(snapshot.route(private, ip("192.0.2.9")), out);
    assert_eq!(snapshot.route(private, ip("8.8.8.8")), None);
    assert_eq!(snapshot.route(public, ip("8.8.8.8")), out);
    assert_eq!(snapshot.route(public, ip("2001:db8:9::9")), out);

    let second = format!("{main}{}", main.replace("rtb-main", "rtb-second"));
    assert_eq!(problems_with(&second), ["route_table[2].main: InvalidParameterValue"]);
}

#[test]
fn the_longest_prefix_decides_between_gateway_interface_and_nat_gateway() {
    let text = BASE.replace(
        r#"{ destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-a" },"#,
        r#"
        { destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-a" },
        { destination_cidr_block = "192.168.0.0/16", nat_gateway_id = "nat-a" },
        { destination_cidr_block = "192.168.7.0/24", network_interface_id = "eni-vpn" },
        { destination_cidr_block = "192.168.7.7/32", nat_gateway_id = "nat-gone" },
        "#,
    ) + r#"
        [[nat_gateway]]
        nat_gateway_id = "nat-a"
        subnet_id = "subnet-private"
        connectivity_type = "private"
        [[network_interface]]
        network_interface_id = "eni-vpn"
        subnet_id = "subnet-private"
        private_ip_address = "10.0.1.10"
        port = "vpn0"
        source_dest_check = false
    "#;
    let snapshot = build(&text).expect("good");
    let public = subnet(&snapshot, "subnet-public");
    let (uplink, _) = snapshot.uplinks().next().expect("one uplink");
    let nat = snapshot.nat_gateways().next().expect("one NAT gateway").1.eni;
    let vpn = snapshot.enis().next().expect("one interface").0;
    for (destination, target) in [
        ("8.8.8.8", RouteTarget::InternetGateway(uplink)),
        ("192.168.1.1", RouteTarget::Eni(nat)),
        ("192.168.7.1", RouteTarget::Eni(vpn)),
        ("192.168.7.7", RouteTarget::Blackhole),
        ("10.0.1.1", RouteTarget::Local),
    ] {
        assert_eq!(snapshot.route(public, ip(destination)), Some(target), "{destination}");
    }
    let [warning] = snapshot.warnings() else { panic!("{:?}", snapshot.warnings()) };
    assert_eq!(
        warning.to_string(),
        "route_table[0].route[3].nat_gateway_id: NAT gateway `nat-gone` does not exist: packets \
         to 192.168.7.7/32 are dropped (blackhole)"
    );
}

#[test]
fn a_target_that_does_not_exist_makes_a_blackhole_of_every_kind_of_route() {
    let snapshot = built(
        &table(
            r#"
        { destination_cidr_block = "1.0.0.0/8", gateway_id = "igw-gone" },
        { destination_cidr_block = "2.0.0.0/8", nat_gateway_id = "nat-gone" },
        { destination_cidr_block = "3.0.0.0/8", network_interface_id = "eni-gone" },
        "#,
        )
        .replace("vpc_id", "main = true\nvpc_id"),
    );
    let private = subnet(&snapshot, "subnet-private");
    for destination in ["1.1.1.1", "2.2.2.2", "3.3.3.3"] {
        assert_eq!(snapshot.route(private, ip(destination)), Some(RouteTarget::Blackhole));
    }
    assert_eq!(snapshot.warnings().len(), 3);
}

#[test]
fn a_route_to_an_interface_that_is_not_attached_is_a_blackhole() {
    let lan = r#"
        [[subnet]]
        subnet_id = "subnet-lan"
        vpc_id = "vpc-a"
        cidr_block = "10.0.2.0/24"
        port = "lan0"
    "#;
    let route =
        table(r#"{ destination_cidr_block = "0.0.0.0/0", network_interface_id = "eni-a" }"#)
            .replace("vpc_id", "main = true\nvpc_id");
    let instance = |state: &str| {
        format!(
            "attachment = {{ instance_id = \"i-a\", device_index = 0 }}\n\
             [[instance]]\ninstance_id = \"i-a\"\nstate = \"{state}\"\nport = [{{ name = \"a0\" }}]\n"
        )
    };
    for (subnet_id, address, keys, reached) in [
        ("subnet-private", "10.0.1.10", String::new(), false),
        ("subnet-private", "10.0.1.10", "port = \"a0\"".into(), true),
        ("subnet-private", "10.0.1.10", instance("running"), true),
        ("subnet-private", "10.0.1.10", instance("stopped"), false),
        // A host that is on the segment itself, and one that would be if it ran.
        ("subnet-lan", "10.0.2.10", String::new(), true),
        ("subnet-lan", "10.0.2.10", instance("stopped"), false),
    ] {
        let snapshot = built(&format!(
            "{lan}{route}\n[[network_interface]]\nnetwork_interface_id = \"eni-a\"\n\
             subnet_id = \"{subnet_id}\"\nprivate_ip_address = \"{address}\"\n{keys}\n"
        ));
        let (eni, _) = snapshot.enis().next().expect("one interface");
        let target = if reached { RouteTarget::Eni(eni) } else { RouteTarget::Blackhole };
        let found = snapshot.route(subnet(&snapshot, "subnet-private"), ip("8.8.8.8"));
        assert_eq!(found, Some(target), "{subnet_id} {keys}");
        let warnings: Vec<_> = snapshot.warnings().iter().map(ToString::to_string).collect();
        let expected = "route_table[1].route[0].network_interface_id: eni-a is not attached to a \
                        running instance: packets to 0.0.0.0/0 are dropped (blackhole)";
        assert_eq!(warnings, if reached { vec![] } else { vec![expected] }, "{subnet_id} {keys}");
    }
}

#[test]
fn a_route_has_one_destination_and_one_target() {
    let more = table(
        r#"
        { destination_cidr_block = "1.0.0.0/8" },
        { gateway_id = "igw-a" },
        { destination_cidr_block = "2.0.0.0/8", gateway_id = "igw-a", nat_gateway_id = "nat-a" },
        { destination_cidr_block = "3.0.0.0/8", destination_ipv6_cidr_block = "::/0", gateway_id = "igw-a" },
        "#,
    );
    assert_eq!(
        problems_with(&more),
        [
            "route_table[1].route[0]: MissingParameter",
            "route_table[1].route[1]: MissingParameter",
            "route_table[1].route[2]: InvalidParameterCombination",
            "route_table[1].route[3]: InvalidParameterCombination",
        ]
    );
}

#[test]
fn a_destination_has_one_route() {
    let more = table(
        r#"
        { destination_cidr_block = "1.0.0.0/8", gateway_id = "igw-a" },
        { destination_cidr_block = "1.0.0.0/8", gateway_id = "igw-a" },
        { destination_cidr_block = "1.0.0.0/9", gateway_id = "igw-a" },
        { destination_cidr_block = "1.0.0.1/8", gateway_id = "igw-a" },
        "#,
    );
    assert_eq!(
        problems_with(&more),
        [
            "route_table[1].route[1].destination_cidr_block: RouteAlreadyExists",
            "route_table[1].route[3].destination_cidr_block: InvalidParameterValue",
        ]
    );
}

#[test]
fn a_route_inside_the_vpc_is_for_a_whole_subnet_and_leads_to_an_interface() {
    let appliance = r#"
        [[network_interface]]
        network_interface_id = "eni-fw"
        subnet_id = "subnet-public"
        private_ip_address = "10.0.0.10"
    "#;
    let more = appliance.to_owned()
        + &table(
            r#"
            { destination_cidr_block = "10.0.1.0/24", network_interface_id = "eni-fw" },
            { destination_ipv6_cidr_block = "fd00:a:0:1::/64", network_interface_id = "eni-fw" },
            { destination_cidr_block = "10.0.0.0/8", network_interface_id = "eni-fw" },
            "#,
        );
    built(&more);
    let more = appliance.to_owned()
        + &table(
            r#"
            { destination_cidr_block = "10.0.0.0/16", network_interface_id = "eni-fw" },
            { destination_cidr_block = "10.0.1.0/25", network_interface_id = "eni-fw" },
            { destination_cidr_block = "10.0.1.0/24", gateway_id = "igw-a" },
            "#,
        );
    assert_eq!(
        problems_with(&more),
        [
            "route_table[1].route[0].destination_cidr_block: InvalidParameterValue",
            "route_table[1].route[1].destination_cidr_block: InvalidParameterValue",
            "route_table[1].route[2].destination_cidr_block: InvalidParameterValue",
        ]
    );
}

#[test]
fn a_route_leads_to_targets_of_its_own_vpc() {
    let more = r#"
        [[nat_gateway]]
        nat_gateway_id = "nat-a"
        subnet_id = "subnet-private"
        connectivity_type = "private"
        [[network_interface]]
        network_interface_id = "eni-a"
        subnet_id = "subnet-private"
        private_ip_address = "10.0.1.10"
        [[route_table]]
        route_table_id = "rtb-b"
        vpc_id = "vpc-b"
        route = [
            { destination_cidr_block = "1.0.0.0/8", gateway_id = "igw-a" },
            { destination_cidr_block = "2.0.0.0/8", nat_gateway_id = "nat-a" },
            { destination_cidr_block = "3.0.0.0/8", network_interface_id = "eni-a" },
        ]
    "#;
    assert_eq!(
        problems_beside(more),
        [
            "route_table[1].route[0].gateway_id: InvalidParameterValue",
            "route_table[1].route[1].nat_gateway_id: InvalidParameterValue",
            "route_table[1].route[2].network_interface_id: InvalidParameterValue",
        ]
    );
    let message = message_with(&format!(
        "{}{}",
        super::OTHER_TENANT,
        r#"
        [[route_table]]
        route_table_id = "rtb-b"
        vpc_id = "vpc-b"
        route = [{ destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-a" }]
        "#
    ));
    assert_eq!(
        message,
        "route_table[1].route[0].gateway_id: internet gateway `igw-a` is in vpc-a, this needs one \
         in vpc-b (InvalidParameterValue)"
    );
}
