//! Network cards: how many interfaces one takes, and how many with OS-bypass.

use std::net::Ipv4Addr;

use halfspace_testbed::programs::Echo;

use crate::harness::region::{Instance, Region, at, mac_of};
use crate::harness::{Datapath, converse, eventually};

on_each_datapath!(a_network_card_takes_so_many_interfaces_and_one_with_os_bypass,);

/// An instance with a second network card, which takes two interfaces and has places for four.
const CARDS: &str = r#"
[[instance]]
instance_id = "i-cards"
port = [
    { name = "cards0" },
    { name = "cards1", device_index = 1, network_card_index = 1 },
    { name = "cards2", device_index = 2, network_card_index = 1 },
    { name = "cards3", device_index = 3, network_card_index = 1 },
]
network_card = [{ network_card_index = 1, maximum_network_interfaces = 2 }]

[[network_interface]]
network_interface_id = "eni-cards"
subnet_id = "subnet-1"
private_ip_address = "10.0.1.120"
attachment = { instance_id = "i-cards", device_index = 0 }
"#;

const BYPASS: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 121);

fn a_network_card_takes_so_many_interfaces_and_one_with_os_bypass(datapath: Datapath) {
    let region = Region::open_with("eni-cards", datapath, CARDS);
    let host = region.bed.namespace("cards").unwrap();
    region.bed.veth((&region.gateway.namespace, "cards1"), (&host, "eth1")).unwrap();
    let instance =
        Instance { name: "cards", primary: Ipv4Addr::new(10, 0, 1, 120), namespace: host };
    for (id, last, kind) in
        [("eni-bypass", 121, "efa"), ("eni-second", 122, "efa"), ("eni-plain", 123, "interface")]
    {
        let (address, mac) = (format!("10.0.1.{last}"), mac_of([10, 0, 1, last].into()));
        let mac = mac.to_string();
        let subnet = ["eni", "create", "--subnet", "subnet-1", "--id", id, "--group", "sg-inside"];
        let more = ["--private-ip", &address, "--mac", &mac, "--interface-type", kind];
        region.act(subnet.into_iter().chain(more));
    }
    let attach = |id, card, index| {
        ["eni", "attach", id, "--instance", "i-cards", "--network-card-index", card]
            .into_iter()
            .chain(["--device-index", index])
    };
    assert_eq!(region.refused(attach("eni-bypass", "2", "1")), "AttachmentLimitExceeded");
    assert_eq!(region.refused(attach("eni-bypass", "1", "4")), "InvalidParameterValue");
    region.act(attach("eni-bypass", "1", "1"));
    assert_eq!(region.refused(attach("eni-second", "1", "2")), "AttachmentLimitExceeded");
    assert_eq!(region.refused(attach("eni-plain", "1", "1")), "InvalidParameterValue");
    region.act(attach("eni-plain", "1", "2"));
    region.act(["eni", "create", "--subnet", "subnet-1", "--id", "eni-third"]);
    assert_eq!(region.refused(attach("eni-third", "1", "3")), "AttachmentLimitExceeded");

    let told = region.interface("eni-bypass");
    assert_eq!(told["interface_type"], "efa");
    assert_eq!(told["attachment"]["network_card_index"], 1);
    instance.configure_second(BYPASS, mac_of(BYPASS));
    let _echo = Echo::start(&instance.namespace, at(BYPASS, 7)).unwrap();
    eventually("the interface at the second card to be reached", || {
        converse(&region.db.namespace, at(BYPASS, 7)).is_ok_and(|mut it| it.echo("there").is_ok())
    });
    region.gateway.assert_packets_add_up();
}
