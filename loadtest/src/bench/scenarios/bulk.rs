//! Bulk TCP: what a local stack sends in segments of 64 KiB goes through in one piece.

use serde::Deserialize;

use crate::bench::ends::{Joined, Place};
use crate::bench::gateways::halfspace::{self, DEFAULT_FLOWS, Hook};
use crate::bench::gateways::{Gateway, kernel};
use crate::bench::report::{Plot, Point, Shape};
use crate::bench::scenario::{
    Better, Contender, Entry, Measure, Origin, Scenario, Site, Step, Turn, Yield,
};
use crate::bench::topology::{Direction, Topology};
use crate::bench::unit::Unit;
use crate::error::Error;

const STEPS: &[&str] = &["bulk_tcp"];

/// What clients do.
const CLIENT: [&str; 3] = ["streams", "--connections", "4"];

/// See [`Scenario::about`].
pub const SCENARIO: Scenario = Scenario {
    name: "bulk",
    title: "Bulk TCP",
    about: "Four TCP streams from hosts to a server behind a NAT, as fast as they go, with the \
            offloads that a veth has (TSO, checksums) and GRO; against the kernel's forwarding \
            without NAT. What counts is what the server acknowledges; it verifies the content. \
            Client, server and gateway share all cores, so the gateway's cost shows.",
    steps: &[Step {
        name: "bulk_tcp",
        quick: true,
        measures: &[Measure {
            name: "bulk_tcp",
            title: "4 streams",
            unit: Unit::BitsPerSecond,
            better: Better::Higher,
        }],
    }],
    contenders: &[
        Entry {
            name: "kernel",
            title: "kernel forwarding, no NAT",
            origin: Origin::Limit,
            needs: &[],
            steps: STEPS,
            set_up: |site| set_up(site, "kernel", |_, at| kernel::forwarding(at)),
        },
        Entry {
            name: "halfspace_tc",
            title: "Halfspace NAT, tc",
            origin: Origin::Ours,
            needs: &[],
            steps: STEPS,
            set_up: |site| {
                set_up(site, "tc", |site, at| {
                    halfspace::nat(site, at, "tc", Hook::Tc, DEFAULT_FLOWS)
                })
            },
        },
    ],
    plots: &[Plot {
        title: "Bulk TCP through NAT",
        shape: Shape::Bars,
        axis: "",
        points: &[Point { measure: "bulk_tcp", label: "4 streams" }],
    }],
};

fn set_up<'a>(
    site: Site<'a>,
    name: &str,
    gateway: impl FnOnce(Site<'a>, &Topology) -> Result<Gateway, Error>,
) -> Result<Box<dyn Contender + 'a>, Error> {
    let ends = (Direction::Outward, Place::Anywhere);
    Ok(Box::new(Bulk(Joined::set_up(site, name, ends, gateway)?)))
}

struct Bulk(Joined);

/// What the client reports.
#[derive(Deserialize)]
struct Report {
    bits_per_second_up: f64,
}

impl Contender for Bulk {
    fn notes(&self) -> &[String] {
        &self.0.gateway.notes
    }

    fn round(&mut self, step: &Step, turn: &Turn<'_>) -> Result<Yield, Error> {
        let report: Option<Report> = self.0.through(&CLIENT, turn)?;
        let samples = step.measures.iter().map(|measure| measure.name);
        let samples = samples.zip(report.map(|report| report.bits_per_second_up)).collect();
        Ok(Yield { samples, disturbed: None })
    }
}
