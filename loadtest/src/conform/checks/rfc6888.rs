//! RFC 6888, "Common Requirements for Carrier-Grade NATs (CGNs)", as far as hosts can see them: a NAT
//! gateway is no carrier's, yet may be held to what both are for.

use std::net::SocketAddr;

use super::rfc4787;
use super::{Filtering, nothing_outside, rfc7857};
use crate::conform::check::{Check, Verdict, Way};
use crate::conform::probe::Probe;
use crate::error::Error;

const CONFIGURED: Way = Way::Unseen("a matter of configuration");
const LOGGED: Way = Way::Unseen("a matter of what is logged");

pub(super) const CHECKS: &[Check] = &[
    Check::must(
        "RFC6888-REQ-1",
        "each protocol's own requirements are met",
        Way::Unseen("they are above"),
    ),
    Check::must(
        "RFC6888-REQ-2",
        "one address outside for all ports of a host (paired pooling)",
        Way::Probe(rfc4787::pooling),
    ),
    Check::should("RFC6888-REQ-3", "any addresses may be those outside", CONFIGURED),
    Check::must(
        "RFC6888-REQ-4",
        "the ports that a host is given can be limited",
        Way::Probe(limited),
    ),
    Check::should("RFC6888-REQ-5", "the memory that a host takes can be limited", CONFIGURED),
    Check::must("RFC6888-REQ-6", "towards some destinations nothing is translated", CONFIGURED),
    Check::should("RFC6888-REQ-7", "endpoint-independent filtering", Way::Probe(filtering)),
    Check::should(
        "RFC6888-REQ-8",
        "a port is not given away again for 120 seconds",
        Way::Unseen(
            "when a port becomes free is not seen; with address-dependent filtering, and for TCP, \
             it need not wait",
        ),
    ),
    Check::must(
        "RFC6888-REQ-9",
        "hosts have a protocol to control their mappings with, such as PCP",
        Way::Unseen("whoever has a NAT gateway configures it"),
    ),
    Check::should("RFC6888-REQ-10", "it can be managed", CONFIGURED),
    Check::should("RFC6888-REQ-12", "destinations are not logged", LOGGED),
    Check::should(
        "RFC6888-REQ-13",
        "ports are used to the full",
        Way::Unseen("AWS-FLOWS counts how many a destination takes"),
    ),
    Check::should("RFC6888-REQ-14", "little is logged", LOGGED),
    Check::should("RFC6888-REQ-15", "ports are hard to guess", Way::Probe(rfc7857::unpredictable)),
];

fn filtering(probe: &mut Probe) -> Result<Verdict, Error> {
    let Some(kind) = rfc4787::filter(probe)? else { return Ok(nothing_outside()) };
    Ok(Verdict::of(kind == Filtering::EndpointIndependent, kind.told()))
}

/// As many ports of a host as it may have, which all get out, and then one more, which must not,
/// while another host's does.
fn limited(probe: &mut Probe) -> Result<Verdict, Error> {
    let Some(limit) = probe.plan.ports_per_host else {
        return Ok(Verdict::NotApplicable("no limit is known (--ports-per-host)".to_owned()));
    };
    // Other checks have opened ports of the first two, which must not count.
    let Some(number) = (2..probe.plan.clients.len()).next() else {
        let why = "it takes a third host that nothing else has used (--client)";
        return Ok(Verdict::NotApplicable(why.to_owned()));
    };
    let host = probe.plan.clients[number];
    let server = probe.server(0, 0);
    for count in 0..limit {
        let client = SocketAddr::new(host, probe.port());
        if probe.out(client, server)?.is_none() {
            return Ok(Verdict::Fail(format!("it was given {count} of {limit}")));
        }
    }
    let more = SocketAddr::new(host, probe.port());
    let refused = probe.out(more, server)?.is_none();
    let (other, _) = probe.pair();
    let others = probe.out(other, server)?.is_some();
    let seen = format!(
        "after {limit} ports one more was refused: {refused}; another host's came: {others}"
    );
    Ok(Verdict::of(refused && others, seen))
}
