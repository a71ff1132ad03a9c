//! Quotas: how much of everything there may be, until the document says more.

use std::fs;

use halfspace_testbed::programs::Echo;

use crate::harness::region::{Region, at};
use crate::harness::{Datapath, converse};

on_each_datapath!(a_quota_holds_until_the_document_raises_it,);

fn a_quota_holds_until_the_document_raises_it(datapath: Datapath) {
    let region = Region::open("eni-quotas", datapath);
    let _echo = Echo::start(&region.web.namespace, at(region.web.primary, 7)).unwrap();
    let mut undisturbed = converse(&region.db.namespace, at(region.web.primary, 7)).unwrap();
    let limits = |interfaces: u32, groups: u32, rules: u32| {
        format!(
            "[quotas]\nelastic_ips = 1\nnetwork_interfaces = {interfaces}\n\
             security_groups = {groups}\nrules_per_security_group = {rules}\n\
             ipv4_addresses_per_network_interface = 2\n"
        )
    };
    let text = fs::read_to_string(region.gateway.resources()).unwrap();
    let with = |quotas: &str| text.replacen("[quotas]\nelastic_ips = 20\n", quotas, 1);
    assert_ne!(with(""), text);
    // A quota is no packet's affair: nothing new comes into force, and the next action goes by it.
    region.gateway.write_resources(&with(&limits(3, 3, 3)));

    let make = ["eni", "create", "--subnet", "subnet-1", "--id", "eni-more"];
    assert_eq!(region.refused(make), "NetworkInterfaceLimitExceeded");
    assert_eq!(region.refused(["eip", "allocate"]), "AddressLimitExceeded");
    let assign = ["eni", "assign", "eni-web", "--private-ip-count", "2"];
    assert_eq!(region.refused(assign), "PrivateIpAddressLimitExceeded");
    let group = ["sg", "create", "more", "--vpc", "vpc-a", "--id", "sg-more"];
    assert_eq!(region.refused(group), "SecurityGroupLimitExceeded");
    let rule = ["sg", "authorize", "sg-web", "ingress", "--protocol", "udp", "--port", "9"];
    let rule = || rule.into_iter().chain(["--cidr", "10.0.0.0/8"]);
    assert_eq!(region.refused(rule()), "RulesPerSecurityGroupLimitExceeded");
    undisturbed.echo("undisturbed").unwrap();

    let raised = limits(4, 4, 4).replace("elastic_ips = 1", "elastic_ips = 2").replace(
        "ipv4_addresses_per_network_interface = 2",
        "ipv4_addresses_per_network_interface = 3",
    );
    region.gateway.write_resources(&with(&raised));
    for order in [&make[..], &["eip", "allocate"], &assign, &group] {
        region.act(order.iter().copied());
    }
    region.act(rule());
    undisturbed.echo("undisturbed").unwrap();
}
