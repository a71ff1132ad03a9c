//! Functions in a row: environment, bridge, NAT gateway, internet. Each packet after the first is
//! still one rewrite.

use halfspace_testbed::programs::{Echo, Nginx};

use crate::harness::tenants::{Inside, Tenants};
use crate::harness::{Datapath, curl, datagram_socket, seen_by, url};

on_each_datapath!(environments_reach_the_internet_through_bridge_and_nat_gateway,);

fn environments_reach_the_internet_through_bridge_and_nat_gateway(datapath: Datapath) {
    let lab = Tenants::open("chain", datapath, 2, 2);
    for inside in Inside::BOTH {
        let server = inside.server_at(80);
        let _web = Nginx::start(&lab.internet, &[server], "$remote_addr").unwrap();
        let _echo = Echo::start(&lab.internet, inside.server_at(7)).unwrap();
        for tenant in &lab.all {
            let public = tenant.public(&inside);
            for (number, environment) in tenant.environments.iter().enumerate() {
                let port = tenant.port(number);
                let output =
                    curl(environment, &["--local-port", inside.local_port, &url(server, "/")]);
                assert_eq!(output.stdout, public.to_string(), "{output:?}");

                let (local, to) = (inside.environment_at(40_000), inside.server_at(7));
                let socket = datagram_socket(environment, local, to);
                let seen = seen_by(&socket, &port).unwrap();
                assert_eq!(seen.ip(), public);
                assert_eq!(seen_by(&socket, "again").unwrap(), seen);

                let ping = ["ping", "-c2", "-i0.1", "-W5", &inside.server.to_string()];
                environment.run(ping).unwrap();

                let flows = lab.gateway.flows();
                let flow = flows.iter().find(|flow| flow.forward.sent.source == seen).unwrap();
                assert_eq!(flow.functions, ["lambda_bridge", "nat"]);
                assert_eq!(
                    (flow.forward.port.as_str(), flow.reverse.port.as_str()),
                    (port.as_str(), "wan0")
                );
                assert_eq!(flow.forward.received.source, local);
                assert_eq!((flow.forward.packets, flow.reverse.packets), (2, 2));
            }
        }
    }
}
