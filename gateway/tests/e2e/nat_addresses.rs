//! NAT gateways as resources: made and deleted by the command line, and addresses that come and go
//! under load.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{SystemTime, UNIX_EPOCH};

use halfspace_testbed::programs::Echo;
use halfspace_testbed::wait_until;
use serde_json::Value;

use crate::harness::{
    Datapath, Family, Heard, Office, SOON, converse, datagram_socket, eventually, seen_by,
};

on_each_datapath!(
    a_drained_address_loses_no_flow_before_its_time_and_is_gone_then,
    a_gateway_is_made_and_deleted_while_everything_runs,
);

/// Further Elastic IP addresses of the office.
const FURTHER: &str = r#"
[[address]]
allocation_id = "eipalloc-second"
public_ip = "203.0.113.11"

[[address]]
allocation_id = "eipalloc-third"
public_ip = "203.0.113.12"
"#;

const DRAINED: &str = "203.0.113.12";

/// Seconds: enough to look at it, not too long to wait for.
const DRAIN: &str = "8";

/// The hosts of the LAN. A host is paired with one address of the gateway.
const HOSTS: std::ops::Range<u8> = 20..36;

/// A connection and a socket for datagrams of one host.
struct Talk {
    connection: Heard,
    socket: UdpSocket,
    /// Whom the server sees of the socket.
    seen_as: SocketAddr,
}

impl Talk {
    fn begin(office: &Office, host: u8) -> Self {
        let server = Family::V4.server_at(7);
        let source = format!("route replace default via 10.0.1.1 src 10.0.1.{host}");
        office.client.ip([source]).unwrap();
        let connection = converse(&office.client, server).unwrap();
        let local = SocketAddr::from(([10, 0, 1, host], 40_000));
        let socket = datagram_socket(&office.client, local, server);
        let seen_as = seen_by(&socket, "first").unwrap();
        assert_eq!(seen_as.ip(), connection.seen_as.ip(), "a host is paired with one address");
        Self { connection, socket, seen_as }
    }

    fn address(&self) -> IpAddr {
        self.seen_as.ip()
    }

    /// Whether both go on as they were.
    fn goes_on(&mut self) -> bool {
        let connection = self.connection.echo("still there?");
        let seen_as = seen_by(&self.socket, "still there?");
        connection.is_ok() && seen_as.is_ok_and(|it| it == self.seen_as)
    }
}

/// Makes the hosts, and starts the gateway with one IPv4 address.
fn open(name: &str, datapath: Datapath) -> (Office, Echo) {
    let mut office = Office::lay_out(name, datapath);
    let own = HOSTS.map(|host| format!("address add 10.0.1.{host}/24 dev eth0"));
    office.client.ip(own.collect::<Vec<_>>()).unwrap();
    office.gateway.start(&Office::resources("", FURTHER));
    let echo = Echo::start(&office.internet, Family::V4.server_at(7)).unwrap();
    (office, echo)
}

fn run(office: &Office, arguments: &[&str]) -> String {
    let output = office.gateway.run(arguments.iter().copied());
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    output.stdout
}

/// The addresses of a gateway, as `halfspace nat list` tells.
fn addresses(office: &Office, gateway: &str) -> Vec<Value> {
    let mut told: Value = office.gateway.json(&["nat", "list"]);
    let all = told["nat_gateways"].as_array_mut().unwrap();
    let found = all.iter_mut().find(|it| it["nat_gateway_id"] == gateway).unwrap();
    found["nat_gateway_addresses"].as_array().unwrap().clone()
}

fn has_passed(end: u64) -> bool {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() >= end
}

fn a_drained_address_loses_no_flow_before_its_time_and_is_gone_then(datapath: Datapath) {
    let (mut office, _echo) = open("nat-drain", datapath);
    let mut first = Talk::begin(&office, HOSTS.start);
    let associate = ["nat", "associate", "nat-office", "eipalloc-second", "eipalloc-third"];
    let done = run(&office, &associate);
    let line = |address: &str| format!("associated {address} with nat-office\n");
    assert_eq!(done, line("203.0.113.11") + &line(DRAINED));
    assert!(first.goes_on(), "an address that comes changes no flow");

    let mut talks: Vec<_> = HOSTS.skip(1).map(|host| (host, Talk::begin(&office, host))).collect();
    let drained: IpAddr = DRAINED.parse().unwrap();
    for address in [Family::V4.public, "203.0.113.11".parse().unwrap(), drained] {
        assert!(talks.iter().any(|(_, it)| it.address() == address), "nobody has {address}");
    }

    let done = run(&office, &["nat", "disassociate", "nat-office", DRAINED, "--drain", DRAIN]);
    assert_eq!(done, format!("disassociating {DRAINED} from nat-office\n"));
    let told = addresses(&office, "nat-office");
    let draining = told.iter().find(|it| it["public_ip"] == DRAINED).unwrap();
    assert_eq!(draining["status"], "disassociating");
    let end = draining["drain_until"].as_u64().unwrap();

    // Those who were paired with it leave from the others now.
    for (host, talk) in &talks {
        let local = SocketAddr::from(([10, 0, 1, *host], 40_001));
        let socket = datagram_socket(&office.client, local, Family::V4.server_at(7));
        let now = seen_by(&socket, "new").unwrap().ip();
        assert_ne!(now, drained, "host {host}");
        assert!(talk.address() == drained || now == talk.address(), "{host} has moved");
    }

    // A process that is killed amid a drain leaves it to the next one, where flows outlive it.
    if datapath == Datapath::Ebpf {
        office.gateway.kill();
        office.gateway.start_again();
    }
    let ended = wait_until(3 * SOON, "the flows of the drained address to end", || {
        assert!(first.goes_on());
        talks.iter_mut().fold(false, |ended, (host, talk)| {
            let goes_on = talk.goes_on();
            let may_end = talk.address() == drained && has_passed(end);
            assert!(goes_on || may_end, "host {host}, {}", talk.address());
            ended || !goes_on
        })
    });
    ended.unwrap();
    let gone = |office: &Office| {
        addresses(office, "nat-office").iter().all(|it| it["public_ip"] != DRAINED)
    };
    eventually("the address to be gone", || gone(&office));
    let document = fs::read_to_string(office.gateway.resources()).unwrap();
    assert!(document.contains("eipalloc-second\", private_ip_address = "), "{document}");
    assert!(!document.contains("drain_until"), "{document}");
    eventually("no flow to be on it", || {
        let flows = office.gateway.flows();
        flows.iter().all(|flow| flow.forward.sent.source.ip() != drained)
    });
    for (host, talk) in &mut talks {
        assert_eq!(talk.goes_on(), talk.address() != drained, "host {host}");
    }
    assert!(first.goes_on());
    run(&office, &["eip", "release", "eipalloc-third"]);
    office.gateway.assert_packets_add_up();
}

fn a_gateway_is_made_and_deleted_while_everything_runs(datapath: Datapath) {
    let (office, _echo) = open("nat-make", datapath);
    let server = Family::V4.server_at(7);
    let mut before = converse(&office.client, server).unwrap();
    assert_eq!(run(&office, &["nat", "delete", "nat-office"]), "deleted nat-office\n");
    assert!(before.echo("over").is_err());
    assert!(converse(&office.client, server).is_err(), "the route to it is a blackhole");

    let create = ["nat", "create", "--id", "nat-office", "--subnet", "subnet-public"];
    let addresses_of = ["--allocation", "eipalloc-second", "--secondary", "eipalloc-third"];
    let independent = ["--mapping", "endpoint-independent", "--tag", "Name=office"];
    let done = run(&office, &[&create[..], &addresses_of, &independent].concat());
    assert_eq!(done, "created nat-office\n");
    let mut after = converse(&office.client, server).unwrap();
    assert!(["203.0.113.11", DRAINED].contains(&&*after.seen_as.ip().to_string()));
    after.echo("there again").unwrap();
    let refused = office.gateway.run(["nat", "create", "--subnet", "subnet-public"]);
    assert!(refused.stderr.contains("--allocation"), "{refused:?}");

    let private = ["nat", "create", "--id", "nat-p", "--subnet", "subnet-public", "--private"];
    run(&office, &[&private[..], &["--secondary-count", "1"]].concat());
    run(&office, &["nat", "assign", "nat-p", "--private-ip", "10.0.0.99"]);
    run(&office, &["nat", "unassign", "nat-p", "10.0.0.99", "--drain", "1"]);
    eventually("the assigned address to be gone", || addresses(&office, "nat-p").len() == 2);
    let wrong = office.gateway.run(["nat", "unassign", "nat-p", "eipalloc-x"]);
    assert!(wrong.stderr.contains("eipalloc-x is not an address"), "{wrong:?}");
    after.echo("and still").unwrap();
}
