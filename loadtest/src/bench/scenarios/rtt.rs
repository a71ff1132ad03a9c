//! Round-trip times through a NAT that is busy with other flows. Over veth, TCP of a local stack
//! carries checksums that an offload would complete, which XDP cannot: it is tc's work.

use halfspace_testbed::Requirement;
use serde::Deserialize;

use crate::bench::ends::{Ends, Joined, Place, Way};
use crate::bench::gateways::halfspace::{self, DEFAULT_FLOWS, Hook};
use crate::bench::gateways::{Gateway, kernel};
use crate::bench::lane::Lane;
use crate::bench::report::{Plot, Point, Shape};
use crate::bench::scenario::{
    Better, Contender, Entry, Measure, Origin, Scenario, Site, Step, Turn, Yield,
};
use crate::bench::topology::{Direction, Topology};
use crate::bench::unit::Unit;
use crate::error::Error;

const STEPS: &[&str] = &["rtt"];

/// What else goes through the gateway: flows, and their frames a second. That is a third of what
/// nftables forwards at most.
const LOAD: (&str, u32) = ("rtt", 1_000);
const LOAD_RATE: f64 = 150_000.0;

/// The share of those frames that may get lost: more, and the gateway is beyond its limits.
const MOST_LOST: f64 = 0.01;

/// What clients do: far fewer requests than there is time for, at their times whether or not
/// earlier ones have been answered, on connections that are kept.
const CLIENT: [&str; 7] = ["connections", "--mode", "rr", "--connections", "16", "--rate", "4k"];

/// See [`Scenario::about`].
pub const SCENARIO: Scenario = Scenario {
    name: "rtt",
    title: "Round-trip time under load",
    about: "4,000 requests a second of 64 bytes from hosts to a server behind a NAT, and responses \
            of as many, over 16 TCP connections, while 150,000 frames a second of 1,000 UDP flows \
            go through the same NAT. Time counts from when a request was due, so that what a stall \
            holds up is in the figures. Frames have one core, requests the other. The programs at both ends take most of it: they are the \
            same for all.",
    steps: &[Step {
        name: "rtt",
        quick: true,
        measures: &[
            percentile("rtt_p50", "median"),
            percentile("rtt_p90", "90th percentile"),
            percentile("rtt_p99", "99th percentile"),
            percentile("rtt_p99_9", "99.9th percentile"),
        ],
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
            name: "nft",
            title: "nftables masquerade",
            origin: Origin::Peer,
            needs: &[Requirement::Program("nft")],
            steps: STEPS,
            set_up: |site| set_up(site, "nft", |site, at| kernel::masquerade(site.bed, at)),
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
        title: "Round-trip time under load",
        shape: Shape::Lines,
        axis: "percentile",
        points: &[
            Point { measure: "rtt_p50", label: "50" },
            Point { measure: "rtt_p90", label: "90" },
            Point { measure: "rtt_p99", label: "99" },
            Point { measure: "rtt_p99_9", label: "99.9" },
        ],
    }],
};

const fn percentile(name: &'static str, title: &'static str) -> Measure {
    Measure { name, title, unit: Unit::Microseconds, better: Better::Lower }
}

fn set_up<'a>(
    site: Site<'a>,
    name: &str,
    gateway: impl FnOnce(Site<'a>, &Topology) -> Result<Gateway, Error>,
) -> Result<Box<dyn Contender + 'a>, Error> {
    let ends = (Direction::Outward, Place::Beside);
    let Joined { ends, gateway, topology } = Joined::set_up(site, name, ends, gateway)?;
    let lane = Lane::new(topology, gateway, Direction::Outward, &[LOAD])?;
    Ok(Box::new(Busy { ends, lane, warm: false }))
}

/// Fields are in the order in which they must go.
struct Busy {
    ends: Ends,
    lane: Lane,
    /// Whether all flows of the load were seen to pass.
    warm: bool,
}

/// What the client reports.
#[derive(Deserialize)]
struct Report {
    latency_seconds: Latency,
}

#[derive(Deserialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p99_9: f64,
}

impl Contender for Busy {
    fn notes(&self) -> &[String] {
        self.lane.notes()
    }

    fn round(&mut self, step: &Step, turn: &Turn<'_>) -> Result<Yield, Error> {
        let (load, _) = LOAD;
        if !self.warm {
            self.lane.warm_up(load, turn.interrupt)?;
            self.warm = true;
        }
        let (report, before, after) = self.lane.trickle(load, LOAD_RATE, turn.interrupt, || {
            let before = self.lane.read(load)?;
            let topology = self.lane.topology();
            let report: Option<Report> = self.ends.client(topology, Way::Through, &CLIENT, turn)?;
            Ok((report, before, self.lane.read(load)?))
        })?;
        let Some(Report { latency_seconds: Latency { p50, p90, p99, p99_9 } }) = report else {
            return Ok(Yield::default());
        };
        let lost = after.lost_since(&before);
        if lost > MOST_LOST {
            let lost = Unit::Share.show(lost);
            return Err(Error::Missing(format!("{lost} of the load got lost on the way")));
        }
        let figures = step.measures.iter().map(|measure| measure.name);
        Ok(Yield {
            samples: figures.zip([p50, p90, p99, p99_9].map(|seconds| 1e6 * seconds)).collect(),
            disturbed: None,
        })
    }
}
