//! Rules for instances and attachments.

use super::{BASE, build, built, message_with, problems_of, problems_with};
use crate::vpc::{PortRole, Snapshot};

/// Two instances with two ports each.
const INSTANCES: &str = r#"
    [[instance]]
    instance_id = "i-web"
    port = [{ name = "web0" }, { name = "web1", device_index = 1 }]

    [[instance]]
    instance_id = "i-standby"
    port = [{ name = "standby0" }, { name = "standby1", device_index = 1 }]
"#;

/// An interface with the last byte of its address and the keys of its attachment.
fn attached(last: u8, attachment: &str) -> String {
    format!(
        r#"
        [[network_interface]]
        network_interface_id = "eni-{last}"
        subnet_id = "subnet-private"
        private_ip_address = "10.0.1.{last}"
        attachment = {{ {attachment} }}
        "#
    )
}

fn primary(last: u8, instance: &str) -> String {
    attached(last, &format!("instance_id = \"{instance}\", device_index = 0"))
}

fn secondary(last: u8, instance: &str) -> String {
    attached(last, &format!("instance_id = \"{instance}\", device_index = 1"))
}

/// One instance with these keys and its primary interface.
fn instance(keys: &str) -> String {
    format!("[[instance]]\ninstance_id = \"i-x\"\n{keys}\n{}", primary(10, "i-x"))
}

fn port_of(snapshot: &Snapshot, id: &str) -> Option<String> {
    let (_, eni) = snapshot.enis().find(|(_, eni)| eni.id.to_string() == id).expect(id);
    eni.port.as_ref().map(ToString::to_string)
}

#[test]
fn an_attached_interface_is_reached_by_the_port_of_its_place() {
    let interfaces = primary(10, "i-web") + &secondary(20, "i-web") + &primary(30, "i-standby");
    let snapshot = built(&format!("{INSTANCES}{interfaces}"));
    assert_eq!(port_of(&snapshot, "eni-10").as_deref(), Some("web0"));
    assert_eq!(port_of(&snapshot, "eni-20").as_deref(), Some("web1"));
    let (ix, eni) = snapshot.enis().nth(1).expect("three interfaces");
    assert_eq!(snapshot.port_role("web1"), Some(PortRole::Eni(ix)));
    let attachment = eni.attachment.as_ref().expect("attached");
    assert_eq!(snapshot.instance(attachment.instance).id.to_string(), "i-web");
    assert!(!attachment.is_primary() && !attachment.delete_on_termination);
    let (standby, _) = snapshot.instances().nth(1).expect("two instances");
    assert_eq!(snapshot.port_role("standby1"), Some(PortRole::Vacant(standby)));
}

#[test]
fn an_interface_that_moves_keeps_its_mac_address_and_gets_another_attachment() {
    let primaries = primary(10, "i-web") + &primary(11, "i-standby");
    let on = |instance: &str| {
        let snapshot = built(&format!("{INSTANCES}{primaries}{}", secondary(20, instance)));
        let (_, eni) = snapshot.enis().nth(2).expect("three interfaces");
        (eni.mac.expect("derived"), eni.attachment.as_ref().expect("attached").id.to_string())
    };
    let ((web_mac, web), (standby_mac, standby)) = (on("i-web"), on("i-standby"));
    assert_eq!(web_mac, standby_mac);
    assert_ne!(web, standby);
    assert_eq!(on("i-web").1, web, "the same place, the same id");
}

#[test]
fn no_packet_reaches_a_stopped_instance_by_any_of_its_ports() {
    let stopped = instance("state = \"stopped\"\nport = [{ name = \"x0\" }]");
    let snapshot = built(&stopped);
    assert_eq!(port_of(&snapshot, "eni-10"), None);
    let (ix, _) = snapshot.instances().next().expect("one instance");
    assert_eq!(snapshot.port_role("x0"), Some(PortRole::Vacant(ix)));
    let (_, eni) = snapshot.enis().next().expect("one interface");
    assert!(eni.attachment.as_ref().is_some_and(|it| it.is_primary() && it.instance == ix));
}

#[test]
fn two_ports_of_an_instance_serve_two_places() {
    let twice = instance(
        r#"port = [
            { name = "x0" },
            { name = "x1", device_index = 1 },
            { name = "x2", device_index = 1, network_card_index = 1 },
            { name = "x3", device_index = 1 },
        ]"#,
    );
    assert_eq!(
        message_with(&twice),
        "instance[0].port[3].device_index: device index 1 of network card 0 has a port already, \
         instance[0].port[1]: choose another (InvalidParameterValue)"
    );
}

#[test]
fn a_network_card_is_described_once_and_takes_an_interface_at_least() {
    let cards = instance(
        r#"port = [{ name = "x0" }]
        network_card = [
            { network_card_index = 0, maximum_network_interfaces = 2 },
            { network_card_index = 1, maximum_network_interfaces = 0 },
            { network_card_index = 0, maximum_network_interfaces = 3 },
        ]"#,
    );
    assert_eq!(
        problems_with(&cards),
        [
            "instance[0].network_card[1].maximum_network_interfaces: InvalidParameterValue",
            "instance[0].network_card[2].network_card_index: InvalidParameterValue",
        ]
    );
}

#[test]
fn an_interface_with_a_port_of_its_own_is_not_attached() {
    let both = primary(10, "i-web").replace("attachment", "port = \"tap0\"\nattachment");
    assert_eq!(
        problems_with(&(INSTANCES.to_owned() + &both)),
        ["network_interface[0].port: InvalidParameterCombination"]
    );
}

#[test]
fn an_attachment_names_an_instance_that_exists() {
    assert_eq!(
        problems_with(&(INSTANCES.to_owned() + &primary(10, "i-wep"))),
        ["network_interface[0].attachment.instance_id: InvalidInstanceID.NotFound"]
    );
}

#[test]
fn an_interface_and_its_instance_are_in_one_zone() {
    let more = instance("availability_zone = \"local-1b\"\nport = [{ name = \"x0\" }]");
    assert_eq!(
        message_with(&more),
        "network_interface[0].attachment.instance_id: the interface is in local-1a, i-x in \
         local-1b: both must be in one zone (InvalidParameterCombination)"
    );
    let text = format!("{BASE}{more}").replace(
        "subnet_id = \"subnet-private\"\n    vpc_id",
        "availability_zone = \"local-1b\"\nsubnet_id = \"subnet-private\"\n    vpc_id",
    );
    assert!(build(&text).is_ok());
}

#[test]
fn a_device_index_takes_one_interface() {
    let more = primary(10, "i-web") + &secondary(20, "i-web") + &secondary(21, "i-web");
    assert_eq!(
        message_with(&(INSTANCES.to_owned() + &more)),
        "network_interface[2].attachment.device_index: i-web has eni-20 at device index 1 of \
         network card 0 already: choose another index (InvalidParameterValue)"
    );
}

#[test]
fn a_place_without_a_port_is_reported_with_the_port_that_is_missing() {
    let more = primary(10, "i-web") + &attached(20, "instance_id = \"i-web\", device_index = 2");
    assert_eq!(
        message_with(&(INSTANCES.to_owned() + &more)),
        "network_interface[1].attachment.device_index: i-web has no port for device index 2 of \
         network card 0: add one to its `port`, with that device_index and network_card_index \
         (InvalidParameterValue)"
    );
}

#[test]
fn a_network_card_that_the_instance_does_not_have_takes_nothing() {
    let more = primary(10, "i-web")
        + &attached(20, "instance_id = \"i-web\", device_index = 1, network_card_index = 1");
    assert_eq!(
        problems_with(&(INSTANCES.to_owned() + &more)),
        ["network_interface[1].attachment.network_card_index: AttachmentLimitExceeded"]
    );
}

#[test]
fn a_network_card_takes_as_many_interfaces_as_it_or_the_quota_says() {
    let interfaces = secondary(20, "i-x")
        + &attached(21, "instance_id = \"i-x\", device_index = 2")
        + &attached(22, "instance_id = \"i-x\", device_index = 0, network_card_index = 1");
    let ports = r#"port = [
        { name = "x0" },
        { name = "x1", device_index = 1 },
        { name = "x2", device_index = 2 },
        { name = "x3", network_card_index = 1 },
    ]"#;
    let card = "network_card = [{ network_card_index = 0, maximum_network_interfaces = 2 }]";
    assert_eq!(
        message_with(&(instance(&format!("{ports}\n{card}")) + &interfaces)),
        "network_interface[2].attachment.network_card_index: network card 0 of i-x takes 2 \
         interfaces: attach fewer, or raise its maximum_network_interfaces \
         (AttachmentLimitExceeded)"
    );
    let quota = "[quotas]\nnetwork_interfaces_per_network_card = 2";
    assert_eq!(
        message_with(&(instance(ports) + &interfaces + quota)),
        "network_interface[2].attachment.network_card_index: network card 0 of i-x takes 2 \
         interfaces: attach fewer, or raise quotas.network_interfaces_per_network_card \
         (AttachmentLimitExceeded)"
    );
    built(&(instance(&format!("{ports}\n{}", card.replace('2', "3"))) + &interfaces + quota));
}

#[test]
fn a_network_card_takes_one_interface_with_os_bypass() {
    let ports = r#"port = [
        { name = "x0" },
        { name = "x1", device_index = 1 },
        { name = "x2", device_index = 2 },
        { name = "x3", device_index = 1, network_card_index = 1 },
    ]"#;
    let efa = |last, place| attached(last, place) + "interface_type = \"efa\"\n";
    let more = instance(ports)
        + &efa(20, "instance_id = \"i-x\", device_index = 1")
        + &efa(21, "instance_id = \"i-x\", device_index = 2")
        + &efa(22, "instance_id = \"i-x\", device_index = 1, network_card_index = 1");
    assert_eq!(
        message_with(&more),
        "network_interface[2].attachment.network_card_index: network card 0 of i-x has eni-20 \
         with OS-bypass already: a card takes one (AttachmentLimitExceeded)"
    );
}

#[test]
fn an_interface_without_ip_is_not_the_primary_one() {
    let efa_only = primary(10, "i-web")
        .replace("private_ip_address = \"10.0.1.10\"", "interface_type = \"efa-only\"");
    assert_eq!(
        problems_with(&(INSTANCES.to_owned() + &efa_only)),
        ["network_interface[0].attachment.device_index: InvalidParameterCombination"]
    );
    let secondary = secondary(20, "i-web")
        .replace("private_ip_address = \"10.0.1.20\"", "interface_type = \"efa-only\"");
    let snapshot = built(&format!("{INSTANCES}{}{secondary}", primary(10, "i-web")));
    let (_, eni) = snapshot.enis().nth(1).expect("two interfaces");
    assert_eq!((eni.interface_type.as_str(), eni.addresses().count()), ("efa-only", 0));
}

#[test]
fn an_instance_with_interfaces_has_a_primary_one() {
    assert_eq!(
        message_with(&(INSTANCES.to_owned() + &secondary(20, "i-web"))),
        "network_interface[0].attachment.device_index: i-web has no primary interface: the one at \
         device index 0 of network card 0 cannot be detached while the instance exists \
         (OperationNotPermitted)"
    );
    // Device index 0 of another card is not it.
    let elsewhere = r#"
        [[instance]]
        instance_id = "i-x"
        port = [{ name = "x0", network_card_index = 1 }]
    "#
    .to_owned()
        + &attached(20, "instance_id = \"i-x\", device_index = 0, network_card_index = 1");
    assert_eq!(
        problems_with(&elsewhere),
        ["network_interface[0].attachment.device_index: OperationNotPermitted"]
    );
}

#[test]
fn an_instance_may_have_interfaces_in_several_vpcs_of_one_owner() {
    let text = |owner: &str| {
        format!(
            r#"
            vpc = [
                {{ vpc_id = "vpc-a", cidr_block = "10.0.0.0/16", owner_id = "111122223333" }},
                {{ vpc_id = "vpc-b", cidr_block = "10.0.0.0/16", owner_id = "{owner}" }},
            ]
            subnet = [
                {{ subnet_id = "subnet-a", vpc_id = "vpc-a", cidr_block = "10.0.1.0/24" }},
                {{ subnet_id = "subnet-b", vpc_id = "vpc-b", cidr_block = "10.0.1.0/24" }},
            ]
            {INSTANCES}
            {}
            {}
            "#,
            primary(10, "i-web").replace("subnet-private", "subnet-a"),
            secondary(10, "i-web").replace("subnet-private", "subnet-b").replace("eni-10", "eni-b"),
        )
    };
    let snapshot = build(&text("111122223333")).expect("one owner");
    assert_eq!(port_of(&snapshot, "eni-b").as_deref(), Some("web1"));
    assert_eq!(
        problems_of(&text("444455556666")),
        ["network_interface[1].attachment.instance_id: AuthFailure"]
    );
}

#[test]
fn the_id_of_an_attachment_is_its_own() {
    let named = "instance_id = \"i-web\", attachment_id = \"eni-attach-1\", device_index";
    let more = attached(10, &format!("{named} = 0")) + &attached(20, &format!("{named} = 1"));
    assert_eq!(
        problems_with(&(INSTANCES.to_owned() + &more)),
        ["network_interface[1].attachment.attachment_id: InvalidParameterValue"]
    );
}

#[test]
fn zones_and_accounts_are_words() {
    let more = r#"
        [[vpc]]
        vpc_id = "vpc-c"
        cidr_block = "10.0.0.0/16"
        owner_id = "the customer"
        [[subnet]]
        subnet_id = "subnet-c"
        vpc_id = "vpc-a"
        cidr_block = "10.0.2.0/24"
        availability_zone = ""
        [[instance]]
        instance_id = "i-c"
        availability_zone = "rack 7"
    "#;
    assert_eq!(
        problems_with(more),
        [
            "vpc[1].owner_id: InvalidParameterValue",
            "subnet[2].availability_zone: InvalidParameterValue",
            "instance[0].availability_zone: InvalidParameterValue",
        ]
    );
}
