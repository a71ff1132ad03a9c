//! Plain NAT: how many frames a second get through, for one flow and for many.

use halfspace_testbed::Requirement;

use super::{SETTLE, lost, rate};
use crate::bench::gateways::halfspace::{self, Hook, room_for};
use crate::bench::gateways::{Gateway, kernel};
use crate::bench::lane::Lane;
use crate::bench::report::{Plot, Point, Shape};
use crate::bench::scenario::{
    Contender, Entry, Measure, Origin, Scenario, Site, Step, Turn, Yield,
};
use crate::bench::topology::{Direction, Topology};
use crate::error::Error;

/// Steps and their flows. Those of a group share a gateway, which is sized for the most of them:
/// what few flows cost is not to depend on how many there were in other steps.
const GROUPS: [&[(&str, u32)]; 3] = [
    &[("nat_1", 1), ("nat_1k", 1_000), ("nat_50k", 50_000)],
    &[("nat_200k", 200_000)],
    &[("nat_1m", 1_000_000)],
];

const ALL_STEPS: &[&str] = &["nat_1", "nat_1k", "nat_50k", "nat_200k"];
/// More flows than nftables tracks by default.
const WITH_MILLION: &[&str] = &["nat_1", "nat_1k", "nat_50k", "nat_200k", "nat_1m"];

/// See [`Scenario::about`].
pub const SCENARIO: Scenario = Scenario {
    name: "nat",
    title: "NAT",
    about: "60-byte UDP frames from 120 hosts to 32 addresses behind a NAT, every flow in turn, as \
            fast as they get through. Generator, gateway and sink share one core, as they do where \
            packets are forwarded run to completion. Up to 50,000 flows go through one gateway of \
            each contender, 200,000 through another and 1,000,000 through a third; Halfspace's \
            have room for 262,144, 1,048,576 and 4,194,304.",
    steps: &[
        step("nat_1", true, &[rate("nat_1", "1 flow"), lost("nat_1_lost")]),
        step("nat_1k", false, &[rate("nat_1k", "1,000 flows"), lost("nat_1k_lost")]),
        step("nat_50k", true, &[rate("nat_50k", "50,000 flows"), lost("nat_50k_lost")]),
        step("nat_200k", false, &[rate("nat_200k", "200,000 flows"), lost("nat_200k_lost")]),
        step("nat_1m", true, &[rate("nat_1m", "1,000,000 flows"), lost("nat_1m_lost")]),
    ],
    contenders: &[
        Entry {
            name: "raw",
            title: "bare XDP redirect",
            origin: Origin::Limit,
            needs: &[],
            steps: ALL_STEPS,
            set_up: |site| {
                BySize::set_up(site, "raw", Table::OfItsOwn, |_, at, _| Gateway::relay(at))
            },
        },
        Entry {
            name: "kernel",
            title: "kernel forwarding, no NAT",
            origin: Origin::Limit,
            needs: &[],
            steps: ALL_STEPS,
            set_up: |site| {
                BySize::set_up(site, "kernel", Table::OfItsOwn, |_, at, _| kernel::forwarding(at))
            },
        },
        Entry {
            name: "nft",
            title: "nftables masquerade",
            origin: Origin::Peer,
            needs: &[Requirement::Program("nft")],
            steps: ALL_STEPS,
            set_up: |site| {
                BySize::set_up(site, "nft", Table::OfTheHost, |site, at, _| {
                    kernel::masquerade(site.bed, at)
                })
            },
        },
        Entry {
            name: "halfspace_xdp",
            title: "Halfspace NAT, XDP",
            origin: Origin::Ours,
            needs: &[],
            steps: WITH_MILLION,
            set_up: |site| {
                BySize::set_up(site, "xdp", Table::OfItsOwn, |site, at, group| {
                    ours(site, at, group, Hook::Xdp)
                })
            },
        },
        Entry {
            name: "halfspace_tc",
            title: "Halfspace NAT, tc",
            origin: Origin::Ours,
            needs: &[],
            steps: ALL_STEPS,
            set_up: |site| {
                BySize::set_up(site, "tc", Table::OfItsOwn, |site, at, group| {
                    ours(site, at, group, Hook::Tc)
                })
            },
        },
    ],
    plots: &[Plot {
        title: "Throughput against the number of flows",
        shape: Shape::Lines,
        axis: "flows",
        points: &[
            Point { measure: "nat_1", label: "1" },
            Point { measure: "nat_1k", label: "1k" },
            Point { measure: "nat_50k", label: "50k" },
            Point { measure: "nat_200k", label: "200k" },
            Point { measure: "nat_1m", label: "1M" },
        ],
    }],
};

const fn step(name: &'static str, quick: bool, measures: &'static [Measure]) -> Step {
    Step { name, quick, measures }
}

/// A gateway of Halfspace's for a group of steps.
fn ours(site: Site<'_>, topology: &Topology, group: &Group, hook: Hook) -> Result<Gateway, Error> {
    halfspace::nat(site, topology, &group.name, hook, room_for(group.flows))
}

/// Steps that share a gateway.
struct Group {
    /// The gateway's name.
    name: String,
    /// Most flows of a step.
    flows: u32,
}

/// Starts a gateway for a group of steps.
type Open = for<'a> fn(Site<'a>, &Topology, &Group) -> Result<Gateway, Error>;

/// Where the flows of a contender are tracked, if they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    /// In a table that each gateway has for itself.
    OfItsOwn,
    /// In the host's, whose size the namespaces share: those of one gateway slow down another.
    OfTheHost,
}

/// A gateway for each group of steps. That of the first stays; others are set up when their first
/// step comes, as not every run does all of them, and go after it where they would be in its way.
struct BySize<'a> {
    site: Site<'a>,
    name: &'static str,
    table: Table,
    open: Open,
    lanes: Vec<Lane>,
}

impl<'a> BySize<'a> {
    /// Sets up the gateway of the first group.
    fn set_up(
        site: Site<'a>,
        name: &'static str,
        table: Table,
        open: Open,
    ) -> Result<Box<dyn Contender + 'a>, Error> {
        let mut this = Self { site, name, table, open, lanes: Vec::new() };
        this.lanes.push(this.lane(GROUPS[0])?);
        Ok(Box::new(this))
    }

    fn lane(&self, steps: &[(&'static str, u32)]) -> Result<Lane, Error> {
        let flows = steps.iter().map(|(_, flows)| *flows).max().unwrap_or_default();
        let group = Group { name: format!("{}-{flows}", self.name), flows };
        let topology = Topology::lay(self.site.bed, &group.name, 1)?;
        let gateway = (self.open)(self.site, &topology, &group)?;
        Lane::new(topology, gateway, Direction::Outward, steps)
    }
}

impl Contender for BySize<'_> {
    fn notes(&self) -> &[String] {
        self.lanes.first().map_or(&[], Lane::notes)
    }

    fn round(&mut self, step: &Step, turn: &Turn<'_>) -> Result<Yield, Error> {
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.takes(step)) {
            return lane.round(step, turn);
        }
        let group = GROUPS.into_iter().find(|steps| steps.iter().any(|(it, _)| *it == step.name));
        let Some(steps) = group else {
            return Err(Error::Missing(format!("there is no plan for {}", step.name)));
        };
        let mut lane = self.lane(steps)?;
        let given = lane.round(step, turn);
        match self.table {
            Table::OfItsOwn => self.lanes.push(lane),
            Table::OfTheHost => {
                drop(lane);
                turn.interrupt.sleep(SETTLE);
            }
        }
        given
    }
}
