//! An uplink that the host uses too: what is for none of the gateway's addresses is the host's.

use std::net::SocketAddr;

use halfspace_testbed::programs::{Echo, Nginx};

use crate::harness::{Datapath, Family, Office, curl, datagram_socket, seen_by, url};

on_each_datapath!(the_host_keeps_its_addresses_on_a_shared_uplink,);

fn the_host_keeps_its_addresses_on_a_shared_uplink(datapath: Datapath) {
    let mut office = Office::lay_out("shared", datapath);
    office
        .gateway
        .namespace
        .ip([
            "address add 203.0.113.2/24 dev wan0",
            "address add 2001:db8:1::2/64 dev wan0 nodad",
            "route add default via 203.0.113.1",
            "route add default via 2001:db8:1::1",
        ])
        .unwrap();
    office.gateway.start(&Office::resources("", "share_with_host = true"));
    for family in Family::BOTH {
        // The gateway has no address of its own there: it asks and complains as the host.
        let host = family.uplink;
        let host_web = SocketAddr::new(host, 80);
        let _host_web = Nginx::start(&office.gateway.namespace, &[host_web], "the host").unwrap();
        let server = family.server_at(80);
        let _server_web = Nginx::start(&office.internet, &[server], "$remote_addr").unwrap();
        let _echo = Echo::start(&office.internet, family.server_at(7)).unwrap();
        let socket = datagram_socket(&office.client, family.client_at(40_000), family.server_at(7));

        for _ in 0..2 {
            // In to the host, and out of it.
            office.internet.run(["ping", "-c2", "-i0.1", "-W5", &host.to_string()]).unwrap();
            assert_eq!(curl(&office.internet, &[&url(host_web, "/")]).stdout, "the host");
            let out = curl(&office.gateway.namespace, &[&url(server, "/")]);
            assert_eq!(out.stdout, host.to_string(), "{out:?}");
            // Through the gateway, over the same interface.
            let through = curl(&office.client, &[&url(server, "/")]);
            assert_eq!(through.stdout, family.public.to_string(), "{through:?}");
            assert_eq!(seen_by(&socket, "through").unwrap().ip(), family.public);
        }
        let large = curl(&office.internet, &[&url(host_web, "/blob")]);
        assert_eq!(large.stdout.len(), 4 << 20);
    }
    let passed = [("verdict", "passed")];
    assert!(office.gateway.count("halfspace_fastpath_packets_total", &passed) > 20);
}
