//! What becomes of flows when there are no ports left, as two RFCs ask. It is checked last: a NAT
//! whose ports are taken has none for other checks.

use nf_core::packet::{Frame, IcmpErrorKind};

use super::nothing_outside;
use super::ports::Filled;
use crate::conform::check::{Check, Verdict, Way};
use crate::conform::messages::Heard;
use crate::conform::probe::{NEVER, Probe};
use crate::error::Error;

pub(super) const CHECKS: &[Check] = &[
    Check::must(
        "RFC6888-REQ-11",
        "when there are no ports left, mappings stay that there are",
        Way::Slowly(mappings_stay),
    ),
    Check::should(
        "RFC5508-REQ-8",
        "a host is told by ICMP, administratively prohibited, when there are no ports left",
        Way::Slowly(refusal),
    ),
];

/// Opens as many flows towards one destination as the hosts inside have ports.
fn fill(probe: &mut Probe) -> Result<Filled, Error> {
    let all = probe.plan.clients.len() * usize::from(u16::MAX);
    Filled::with(probe, all)
}

fn enough() -> Verdict {
    let why = "the hosts inside (--client) do not have as many ports as it has";
    Verdict::NotApplicable(why.to_owned())
}

fn mappings_stay(probe: &mut Probe) -> Result<Verdict, Error> {
    let server = probe.server(1, 1);
    // Not one of those that fill it.
    let client = probe.client(0, 1000);
    let Some(external) = probe.out(client, server)? else { return Ok(nothing_outside()) };
    let Filled { seen, refused, .. } = fill(probe)?;
    if refused.is_none() {
        return Ok(enough());
    }
    let lives = probe.gets_back(client, server, external)?;
    Ok(Verdict::of(lives, format!("after {} more flows it lives: {lives}", seen.len())))
}

fn refusal(probe: &mut Probe) -> Result<Verdict, Error> {
    let Filled { seen, refused, .. } = fill(probe)?;
    let Some(client) = refused else { return Ok(enough()) };
    let server = probe.server(1, 1);
    probe.inside.forget()?;
    probe.inside.send(&Frame::udp(client, server).payload(*b"conform").build())?;
    let plan = &probe.plan;
    let told = probe.inside.expect(NEVER, |packet| {
        let heard = Heard::parse(packet, plan)?;
        (heard.about == Some((client, server))).then_some(heard.kind)
    })?;
    let right = told == Some(IcmpErrorKind::Unreachable { code: 13 });
    let told = told.map_or_else(|| "nothing".to_owned(), |kind| format!("{kind:?}"));
    Ok(Verdict::of(right, format!("after {} flows {client} was told {told}", seen.len())))
}
