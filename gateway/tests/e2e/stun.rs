//! What kind of NAT a STUN client takes the gateway for: coturn's own two programs, which find out
//! as RFC 5780 says.

use halfspace_testbed::Process;

use crate::harness::{Datapath, Family, Office, eventually};

on_each_datapath!(a_stun_client_tells_what_kind_of_nat_the_gateway_is,);

const SYMMETRIC: [&str; 2] = [
    "NAT with Address and Port Dependent Mapping!",
    "NAT with Address and Port Dependent Filtering!",
];
const RESTRICTED_CONE: [&str; 2] =
    ["NAT with Endpoint Independent Mapping!", "NAT with Address Dependent Filtering!"];
const FULL_CONE: [&str; 2] =
    ["NAT with Endpoint Independent Mapping!", "NAT with Endpoint Independent Filtering!"];

fn a_stun_client_tells_what_kind_of_nat_the_gateway_is(datapath: Datapath) {
    let mut office = Office::lay_out("stun", datapath);
    let server = stun_server(&office);
    let independent = "mapping = \"endpoint-independent\"";
    office.gateway.start(&Office::resources("", ""));
    assert_eq!(discovered(&office), SYMMETRIC);
    office.gateway.change_resources(&Office::resources(independent, ""));
    assert_eq!(discovered(&office), RESTRICTED_CONE);
    let open = format!("{independent}\nfiltering = \"endpoint-independent\"");
    office.gateway.change_resources(&Office::resources(&open, ""));
    assert_eq!(discovered(&office), FULL_CONE);
    office.gateway.assert_packets_add_up();
    drop(server);
}

/// A STUN server with two addresses and two ports, which RFC 5780 needs.
fn stun_server(office: &Office) -> Process {
    let (one, two) = (Family::V4.server.to_string(), Family::V4.other_server.to_string());
    let file = |name: &str| office.bed.dir().join(name).display().to_string();
    let (pid, database) = (file("turnserver.pid"), file("turnserver.db"));
    let switches =
        ["-n", "--stun-only", "--no-auth", "--no-tcp", "--no-tls", "--no-dtls", "--no-cli"];
    let server = ["turnserver", "-L", &one, "-L", &two, "--log-file", "stdout"];
    let files = ["--pidfile", &pid, "--userdb", &database];
    let process = office.internet.spawn(server.iter().chain(&switches).chain(&files)).unwrap();
    eventually("turnserver to listen", || {
        let sockets = office.internet.run(["ss", "-Hulpn", "sport", "=", "3479"]).unwrap();
        sockets.stdout.contains(&two)
    });
    process
}

/// What the client says of mapping and filtering.
fn discovered(office: &Office) -> Vec<String> {
    let server = Family::V4.server.to_string();
    let output = office.client.run(["turnutils_natdiscovery", "-m", "-f", &server]).unwrap();
    output.stdout.lines().filter(|line| line.starts_with("NAT with")).map(str::to_owned).collect()
}
