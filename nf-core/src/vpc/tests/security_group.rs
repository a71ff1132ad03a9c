//! Security groups, from the document to what they say to a first packet.

mod admission;
mod default;
mod invalid;
mod members;
mod quotas;
mod reference;
mod tracking;

use std::net::{IpAddr, SocketAddr};

use super::built;
use crate::tuple::{Protocol, Tuple};
use crate::vpc::{Admission, EniIx, Snapshot, TrafficDirection};
use Admission::{Refused, Tracked, Untracked};
use TrafficDirection::{Egress, Ingress};

/// The port of the end that starts, or the identifier of an echo.
const EPHEMERAL: u16 = 40_000;

/// The addresses of `eni-a`, the interface that is asked.
const OWN_V4: &str = "10.0.1.10";
const OWN_V6: &str = "fd00:a:0:1::10";

/// A group `sg-{name}` with these rules.
fn group(name: &str, rules: &str) -> String {
    format!(
        r#"
        [[security_group]]
        group_id = "sg-{name}"
        group_name = "{name}"
        vpc_id = "vpc-a"
        {rules}
        "#
    )
}

/// An interface `eni-{name}` with these addresses, groups and so on.
fn interface(name: &str, keys: &str) -> String {
    format!(
        r#"
        [[network_interface]]
        network_interface_id = "eni-{name}"
        subnet_id = "subnet-private"
        {keys}
        "#
    )
}

/// `eni-a` in these groups.
fn asked(groups: &str) -> String {
    interface(
        "a",
        &format!(
            r#"private_ip_address = "{OWN_V4}"
            ipv6_addresses = ["{OWN_V6}"]
            groups = [{groups}]"#
        ),
    )
}

/// A snapshot in which `eni-a` is in one group, with these rules and nothing else.
fn guarded(rules: &str) -> Snapshot {
    built(&(group("a", rules) + &asked(r#""sg-a""#)))
}

/// A snapshot in which the group of `eni-a` has one ingress rule and lets nothing out.
fn with_rule(rule: &str) -> Snapshot {
    guarded(&format!("ingress = [{{ {rule} }}]\negress = []"))
}

fn find(snapshot: &Snapshot, eni: &str) -> EniIx {
    let mut enis = snapshot.enis();
    enis.find(|(_, it)| it.id.to_string() == eni).expect(eni).0
}

fn own(remote: IpAddr) -> IpAddr {
    let own = if remote.is_ipv4() { OWN_V4 } else { OWN_V6 };
    own.parse().expect(own)
}

/// What the groups of `eni-a` say to a packet from `remote`, to this port or with this echo
/// identifier from the other end.
fn says_in(snapshot: &Snapshot, protocol: Protocol, remote: &str, port: u16) -> Admission {
    let remote: IpAddr = remote.parse().expect(remote);
    let dst = if protocol.is_echo() { 0 } else { port };
    let tuple = Tuple {
        protocol,
        src: SocketAddr::new(remote, EPHEMERAL),
        dst: SocketAddr::new(own(remote), dst),
    };
    snapshot.admits(find(snapshot, "eni-a"), Ingress, &tuple)
}

/// The same for a packet to `remote`.
fn says_out(snapshot: &Snapshot, protocol: Protocol, remote: &str, port: u16) -> Admission {
    let remote: IpAddr = remote.parse().expect(remote);
    let dst = if protocol.is_echo() { 0 } else { port };
    let tuple = Tuple {
        protocol,
        src: SocketAddr::new(own(remote), EPHEMERAL),
        dst: SocketAddr::new(remote, dst),
    };
    snapshot.admits(find(snapshot, "eni-a"), Egress, &tuple)
}

/// The same for an echo reply from `remote` that nobody asked for.
fn says_to_reply(snapshot: &Snapshot, protocol: Protocol, remote: &str) -> Admission {
    let remote: IpAddr = remote.parse().expect(remote);
    let tuple = Tuple {
        protocol,
        src: SocketAddr::new(remote, 0),
        dst: SocketAddr::new(own(remote), EPHEMERAL),
    };
    snapshot.admits(find(snapshot, "eni-a"), Ingress, &tuple)
}
