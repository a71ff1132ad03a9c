//! The XDP hook on veths. Their far ends must leave checksums complete, since XDP cannot tell a
//! partial one, and must have GRO on, since a veth without takes no redirected frames.

use halfspace_testbed::programs::{Echo, Nginx};

use crate::harness::{
    Datapath, Family, LAN, NameServer, Office, curl, datagram_socket, seen_by, url,
};

#[test]
fn flows_pass_on_the_xdp_hook() {
    if !Datapath::Ebpf.is_available() {
        return;
    }
    let mut office = Office::lay_out("xdp", Datapath::Ebpf);
    for namespace in [&office.client, &office.internet] {
        namespace.offload("eth0", [("tx", false), ("gro", true)]).unwrap();
    }
    office.gateway.configure("hook = \"xdp\"");
    office.gateway.start(&Office::resources("", ""));
    let hooks = office.gateway.status()["ports"].clone();
    for port in hooks.as_array().unwrap() {
        assert_eq!(port["hook"], "xdp", "{port}");
    }
    for family in Family::BOTH {
        let _names = NameServer::start(&office.internet, family.server_at(53));
        let _echo = Echo::start(&office.internet, family.server_at(7)).unwrap();
        let _web = Nginx::start(&office.internet, &[family.server_at(80)], "$remote_addr").unwrap();
        let socket = datagram_socket(&office.client, family.client_at(40_000), family.server_at(7));
        let forwarded = || {
            let labels = [("verdict", "forwarded")];
            office.gateway.count("halfspace_fastpath_packets_total", &labels)
        };
        assert_eq!(seen_by(&socket, "first").unwrap().ip(), family.public);
        let before = forwarded();
        for round in 0..50 {
            seen_by(&socket, &format!("round {round} {}", "long ".repeat(100))).unwrap();
        }
        assert!(forwarded() >= before + 100, "both ways in the kernel");

        let server = format!("@{}", family.server);
        let dig = ["dig", "+short", "+tries=1", "+time=5", &server, "host.example", "AAAA"];
        assert_eq!(office.client.run(dig).unwrap().stdout, "2001:db8::53\n");
        let ping = ["ping", "-c3", "-i0.1", "-W5", &family.server.to_string()];
        office.client.run(ping).unwrap();
        let output = curl(&office.client, &[&url(family.server_at(80), "/")]);
        assert_eq!(output.stdout, family.public.to_string(), "{output:?}");
        let output = curl(&office.client, &[&url(family.server_at(80), "/blob")]);
        assert_eq!(output.stdout.len(), 4 << 20);
    }
}

#[test]
fn an_uplink_with_xdp_and_a_lan_without_work_together() {
    if !Datapath::Ebpf.is_available() {
        return;
    }
    let mut office = Office::lay_out("xdp-mixed", Datapath::Ebpf);
    office.gateway.configure("hook = \"tc\"\n[[port]]\nname = \"wan0\"\nhook = \"xdp\"");
    office.gateway.start(&Office::resources("", ""));
    let status = office.gateway.status();
    let hook = |name: &str| {
        let mut ports = status["ports"].as_array().unwrap().iter();
        ports.find(|port| port["name"] == name).unwrap()["hook"].clone()
    };
    assert_eq!((hook(LAN), hook("wan0")), ("tc".into(), "xdp".into()));
    for family in Family::BOTH {
        let _echo = Echo::start(&office.internet, family.server_at(7)).unwrap();
        let _web = Nginx::start(&office.internet, &[family.server_at(80)], "").unwrap();
        let socket = datagram_socket(&office.client, family.client_at(40_000), family.server_at(7));
        for round in 0..3 {
            seen_by(&socket, &format!("round {round}")).unwrap();
        }
        // What XDP leaves to tc keeps its partial checksums.
        let output = curl(&office.client, &[&url(family.server_at(80), "/blob")]);
        assert_eq!(output.stdout.len(), 4 << 20, "{}", output.stderr);
    }
}
