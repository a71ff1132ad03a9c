//! New flows: every frame is the first of its flow, so nothing but the slow path counts.

use std::time::{Duration, Instant};

use halfspace_testbed::{Interrupt, Requirement};

use super::SETTLE;
use crate::bench::core::BusyTime;
use crate::bench::gateways::halfspace::{self, Hook};
use crate::bench::gateways::{Gateway, kernel};
use crate::bench::lane::Lane;
use crate::bench::report::{Plot, Point, Shape};
use crate::bench::scenario::{
    Better, Contender, Entry, Measure, Origin, Scenario, Site, Step, Turn, Yield,
};
use crate::bench::topology::{Direction, MOST_CLIENTS, Topology};
use crate::bench::unit::Unit;
use crate::error::Error;
use crate::frames::PORTS;

const STEPS: &[&str] = &["new_flows"];

/// Distinct tuples to send: as many as clients and their ports make. They last for some two seconds
/// at the generator's full speed.
const TUPLES: u32 = MOST_CLIENTS * PORTS;

/// Flows that come through before the clock starts: by then the generator is at full speed.
const RUN_UP: u64 = 40_000;

/// Flows that come through until it stops, run-up included: as many as nftables tracks before its
/// default table, 262,144, is full and it has to evict one for each new one.
const FULL: u64 = 240_000;

/// Room for flows in Halfspace's table: it is not to be full either.
const CAPACITY: u32 = 1 << 19;

/// The longest that a round may take. A contender that is slower is judged by what it did.
const LIMIT: Duration = Duration::from_millis(1800);

/// How often the far end is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// See [`Scenario::about`].
pub const SCENARIO: Scenario = Scenario {
    name: "new_flows",
    title: "New flows",
    about: "60-byte UDP frames, each of a flow of its own, at full speed into an empty table; what \
            counts is how many flows a second come out at the far end, from the 40,000th to the \
            240,000th. Ports are not exhausted, and nftables' table is not full by then. Busy CPU \
            time is that of the whole machine, generator and sink included.",
    steps: &[Step {
        name: "new_flows",
        quick: true,
        measures: &[
            Measure {
                name: "new_flows",
                title: "new flows",
                unit: Unit::FlowsPerSecond,
                better: Better::Higher,
            },
            Measure {
                name: "new_flows_per_cpu",
                title: "new flows per busy CPU-second",
                unit: Unit::FlowsPerCpuSecond,
                better: Better::Higher,
            },
        ],
    }],
    contenders: &[
        Entry {
            name: "nft",
            title: "nftables masquerade",
            origin: Origin::Peer,
            needs: &[Requirement::Program("nft")],
            steps: STEPS,
            set_up: |site| {
                let set_up: SetUpGateway = |site, topology| kernel::masquerade(site.bed, topology);
                Ok(Box::new(Fresh { site, name: "nft", set_up }))
            },
        },
        Entry {
            name: "halfspace_xdp",
            title: "Halfspace NAT, XDP",
            origin: Origin::Ours,
            needs: &[],
            steps: STEPS,
            set_up: |site| {
                let set_up: SetUpGateway =
                    |site, topology| halfspace::nat(site, topology, "xdp", Hook::Xdp, CAPACITY);
                Ok(Box::new(Fresh { site, name: "xdp", set_up }))
            },
        },
        Entry {
            name: "halfspace_tc",
            title: "Halfspace NAT, tc",
            origin: Origin::Ours,
            needs: &[],
            steps: STEPS,
            set_up: |site| {
                let set_up: SetUpGateway =
                    |site, topology| halfspace::nat(site, topology, "tc", Hook::Tc, CAPACITY);
                Ok(Box::new(Fresh { site, name: "tc", set_up }))
            },
        },
    ],
    plots: &[
        Plot {
            title: "New flows a second",
            shape: Shape::Bars,
            axis: "",
            points: &[Point { measure: "new_flows", label: "" }],
        },
        Plot {
            title: "New flows for each busy CPU-second",
            shape: Shape::Bars,
            axis: "",
            points: &[Point { measure: "new_flows_per_cpu", label: "" }],
        },
    ],
};

/// How a gateway is set up.
type SetUpGateway = for<'a> fn(Site<'a>, &Topology) -> Result<Gateway, Error>;

/// A contender that is set up anew in every round, because an empty table is the point.
struct Fresh<'a> {
    site: Site<'a>,
    name: &'static str,
    set_up: SetUpGateway,
}

impl Contender for Fresh<'_> {
    fn round(&mut self, step: &Step, turn: &Turn<'_>) -> Result<Yield, Error> {
        let [rate, per_cpu] = step.measures else {
            return Err(Error::Missing(format!("{} is no step of this scenario", step.name)));
        };
        let topology = Topology::lay(self.site.bed, self.name, 1)?;
        let gateway = (self.set_up)(self.site, &topology)?;
        let loads = [("neighbours", MOST_CLIENTS), ("tuples", TUPLES)];
        let lane = Lane::new(topology, gateway, Direction::Outward, &loads)?;
        // A few flows of the run-up come through beforehand, and with them all neighbours.
        lane.warm_up("neighbours", turn.interrupt)?;
        let outcome = lane.pass("tuples", turn.interrupt, || race(&lane, turn.interrupt))?;
        drop(lane);
        turn.interrupt.sleep(SETTLE);
        let Some(outcome) = outcome else { return Ok(Yield::default()) };
        Ok(Yield {
            samples: vec![
                (rate.name, outcome.flows / outcome.time.as_secs_f64()),
                (per_cpu.name, outcome.flows / outcome.busy.as_secs_f64()),
            ],
            // The slow path runs in user space, where it cannot be told from other programs.
            disturbed: None,
        })
    }
}

/// What came through, and what it took.
struct Race {
    flows: f64,
    time: Duration,
    busy: Duration,
}

/// Watches the far end until the run-up is over, and from there until enough flows came through.
/// Nothing if there was no time or nothing to measure.
fn race(lane: &Lane, interrupt: &Interrupt) -> Result<Option<Race>, Error> {
    let base = lane.read("tuples")?;
    let end = base.at + LIMIT;
    let until = |flows: u64, latest: Instant| loop {
        let now = lane.read("tuples")?;
        let over = now.at >= latest || now.sent >= u64::from(TUPLES) || interrupt.is_raised();
        if over || now.valid - base.valid >= flows {
            return Ok::<_, Error>((now, BusyTime::read()));
        }
        std::thread::sleep(LOOK);
    };
    let (first, busy_before) = until(RUN_UP, base.at + LIMIT / 3)?;
    let (last, busy_after) = until(FULL, end)?;
    let (flows, time) = (last.valid - first.valid, last.at - first.at);
    let busy = busy_after.since(busy_before);
    #[expect(clippy::cast_precision_loss, reason = "hundreds of thousands")]
    let race = (flows > 0 && !time.is_zero() && !busy.is_zero()).then_some(Race {
        flows: flows as f64,
        time,
        busy,
    });
    Ok(race)
}
