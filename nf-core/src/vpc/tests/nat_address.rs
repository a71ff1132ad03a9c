//! The secondary addresses of NAT gateways: which private address stands for what, what drains, and
//! what is refused.

use std::fmt::Write as _;

use super::{BASE, built, message_with, problems_with};
use crate::vpc::Document;
use crate::vpc::document::{SecondaryAddress, UnixTime};

/// A gateway, and three Elastic IP addresses of IPv4 and two of IPv6.
fn gateway(keys: &str) -> String {
    let mut text = String::new();
    for (id, ip) in [
        ("1", "203.0.113.11"),
        ("2", "203.0.113.12"),
        ("3", "203.0.113.13"),
        ("6", "2001:db8::16"),
        ("7", "2001:db8::17"),
    ] {
        let (id, ip) = (format!("eipalloc-{id}"), ip);
        let _ = writeln!(text, "[[address]]\nallocation_id = \"{id}\"\npublic_ip = \"{ip}\"");
    }
    format!(
        "{text}\n[[nat_gateway]]\nnat_gateway_id = \"nat-a\"\nsubnet_id = \"subnet-public\"\n{keys}"
    )
}

/// What the gateway translates to: private and public address, and `!` where it is draining.
fn addresses(keys: &str) -> Vec<String> {
    let snapshot = built(&gateway(keys));
    let (_, gateway) = snapshot.nat_gateways().next().expect("one NAT gateway");
    let text = gateway.addresses.iter().map(|it| {
        let public = it.public_ip.map(|ip| format!(" {ip}")).unwrap_or_default();
        format!("{}{public}{}", it.private_ip, if it.is_draining { " !" } else { "" })
    });
    text.collect()
}

#[test]
fn a_secondary_address_has_the_private_address_it_names_or_a_free_one() {
    let keys = r#"
        allocation_ids = ["eipalloc-1"]
        secondary_address = [
            { allocation_id = "eipalloc-2", private_ip_address = "10.0.0.9" },
            { allocation_id = "eipalloc-3" },
        ]
    "#;
    // The primary one is the interface's first, although it is chosen later than one that is named.
    let expected = ["10.0.0.4 203.0.113.11", "10.0.0.9 203.0.113.12", "10.0.0.5 203.0.113.13"];
    assert_eq!(addresses(keys), expected);
    let snapshot = built(&gateway(keys));
    let eni = snapshot.eni(snapshot.nat_gateways().next().expect("one").1.eni);
    let own: Vec<_> = eni.private_ips.iter().map(ToString::to_string).collect();
    assert_eq!(own, ["10.0.0.4", "10.0.0.9", "10.0.0.5"]);
}

#[test]
fn a_named_private_address_stays_when_another_secondary_address_goes() {
    let with = |first: &str| {
        addresses(&format!(
            r#"allocation_ids = ["eipalloc-1"]
            secondary_address = [
                {first}
                {{ allocation_id = "eipalloc-3", private_ip_address = "10.0.0.6" }},
            ]"#
        ))
    };
    let third = "10.0.0.6 203.0.113.13";
    assert_eq!(
        with(r#"{ allocation_id = "eipalloc-2", private_ip_address = "10.0.0.5" },"#),
        ["10.0.0.4 203.0.113.11", "10.0.0.5 203.0.113.12", third]
    );
    assert_eq!(with(""), ["10.0.0.4 203.0.113.11", third]);
}

#[test]
fn families_are_apart_and_an_interface_has_an_ipv4_address_even_if_nothing_stands_for_it() {
    let keys = r#"
        allocation_ids = ["eipalloc-6"]
        private_ip_address = "10.0.0.50"
        secondary_address = [
            { allocation_id = "eipalloc-2" },
            { allocation_id = "eipalloc-7", private_ip_address = "fd00:a::77" },
        ]
    "#;
    let expected = ["fd00:a::4 2001:db8::16", "10.0.0.4 203.0.113.12", "fd00:a::77 2001:db8::17"];
    assert_eq!(addresses(keys), expected);
    let further = r#"
        allocation_ids = ["eipalloc-1", "eipalloc-6", "eipalloc-2"]
        private_ip_address = "10.0.0.50"
        secondary_address = [{ allocation_id = "eipalloc-3" }, { allocation_id = "eipalloc-7" }]
    "#;
    let expected = [
        "10.0.0.50 203.0.113.11",
        "fd00:a::4 2001:db8::16",
        "10.0.0.4 203.0.113.12",
        "10.0.0.5 203.0.113.13",
        "fd00:a::5 2001:db8::17",
    ];
    assert_eq!(addresses(further), expected);
}

#[test]
fn a_private_gateway_translates_to_all_of_its_addresses() {
    let keys = r#"
        connectivity_type = "private"
        secondary_address = [
            { private_ip_address = "fd00:a::9" },
            { private_ip_address = "10.0.0.7", drain_until = 1 },
            {},
        ]
    "#;
    assert_eq!(addresses(keys), ["10.0.0.4", "fd00:a::9", "10.0.0.7 !", "10.0.0.5"]);
}

#[test]
fn an_address_with_an_end_is_draining_whenever_that_is_and_keeps_its_place() {
    let keys = r#"
        allocation_ids = ["eipalloc-1"]
        secondary_address = [
            { allocation_id = "eipalloc-2", private_ip_address = "10.0.0.9", drain_until = 0 },
            { allocation_id = "eipalloc-3", drain_until = 4102444800 },
        ]
    "#;
    let expected = ["10.0.0.4 203.0.113.11", "10.0.0.9 203.0.113.12 !", "10.0.0.5 203.0.113.13 !"];
    assert_eq!(addresses(keys), expected);
    let document: Document = toml::from_str(&format!("{BASE}\n{}", gateway(keys))).expect("valid");
    let last = SecondaryAddress {
        allocation_id: "eipalloc-3".parse().ok(),
        private_ip_address: None,
        drain_until: Some(UnixTime(4_102_444_800)),
    };
    assert_eq!(document.nat_gateway[0].secondary_address[1], last);
    let negative = gateway("secondary_address = [{ drain_until = -1 }]");
    assert!(toml::from_str::<Document>(&negative).is_err());
}

#[test]
fn a_secondary_address_of_a_public_gateway_needs_an_elastic_ip_address_of_its_family() {
    let public = |secondary: &str| {
        let keys =
            format!("allocation_ids = [\"eipalloc-1\"]\nsecondary_address = [{{ {secondary} }}]\n");
        problems_with(&gateway(&keys))
    };
    assert_eq!(
        public(r#"private_ip_address = "10.0.0.9""#),
        ["nat_gateway[0].secondary_address[0].allocation_id: MissingParameter"]
    );
    for (allocation, private) in [("2", "fd00:a::9"), ("6", "10.0.0.9")] {
        assert_eq!(
            public(&format!(
                "allocation_id = \"eipalloc-{allocation}\", private_ip_address = \"{private}\""
            )),
            ["nat_gateway[0].secondary_address[0].private_ip_address: InvalidParameterValue"]
        );
    }
    assert_eq!(
        public(r#"allocation_id = "eipalloc-9""#),
        ["nat_gateway[0].secondary_address[0].allocation_id: InvalidAllocationID.NotFound"]
    );
    assert_eq!(
        public(r#"allocation_id = "eipalloc-1""#),
        ["nat_gateway[0].secondary_address[0].allocation_id: Resource.AlreadyAssociated"]
    );
    let alone = r#"secondary_address = [{ allocation_id = "eipalloc-2" }]"#;
    assert_eq!(
        problems_with(&gateway(alone)),
        ["nat_gateway[0].allocation_ids: MissingParameter"],
        "the primary one is not among the secondary ones"
    );
}

#[test]
fn a_secondary_address_of_a_private_gateway_has_no_elastic_ip_address() {
    let keys = r#"
        connectivity_type = "private"
        secondary_address = [{ allocation_id = "eipalloc-1" }]
    "#;
    assert_eq!(
        problems_with(&gateway(keys)),
        ["nat_gateway[0].secondary_address[0].allocation_id: InvalidParameterCombination"]
    );
}

#[test]
fn a_private_address_is_one_of_the_subnet_that_nobody_has() {
    for (address, code) in [
        ("10.0.1.9", "InvalidParameterValue"),
        ("10.0.0.1", "InvalidParameterValue"),
        ("10.0.0.4", "InvalidIPAddress.InUse"),
    ] {
        let keys = format!(
            r#"
            allocation_ids = ["eipalloc-1"]
            private_ip_address = "10.0.0.4"
            secondary_address = [
                {{ allocation_id = "eipalloc-2", private_ip_address = "{address}" }},
            ]
            "#
        );
        let path = "nat_gateway[0].secondary_address[0].private_ip_address";
        assert_eq!(problems_with(&gateway(&keys)), [format!("{path}: {code}")]);
    }
}

#[test]
fn a_gateway_has_32_addresses_at_most_or_as_many_as_the_quota_says() {
    let private = |count: usize| {
        let secondary = "{}, ".repeat(count - 1);
        gateway(&format!("connectivity_type = \"private\"\nsecondary_address = [{secondary}]\n"))
    };
    let snapshot = built(&private(32));
    assert_eq!(snapshot.nat_gateways().next().expect("one").1.addresses.len(), 32);
    assert_eq!(
        problems_with(&private(33)),
        ["nat_gateway[0].secondary_address[31]: PrivateIpAddressLimitExceeded"]
    );
    let quota = |count| format!("{}\n[quotas]\naddresses_per_nat_gateway = {count}", private(3));
    built(&quota(3));
    assert_eq!(
        message_with(&quota(2)),
        "nat_gateway[0].secondary_address[1]: a quota allows 2 addresses of a NAT gateway: remove \
         some, or raise quotas.addresses_per_nat_gateway (PrivateIpAddressLimitExceeded)"
    );
    assert_eq!(
        problems_with(&quota(33)),
        ["quotas.addresses_per_nat_gateway: InvalidParameterValue"]
    );
    let named = gateway(r#"allocation_ids = ["eipalloc-1", "eipalloc-2", "eipalloc-3"]"#)
        + "\n[quotas]\naddresses_per_nat_gateway = 2";
    assert_eq!(
        problems_with(&named),
        ["nat_gateway[0].allocation_ids[2]: PrivateIpAddressLimitExceeded"]
    );
}
