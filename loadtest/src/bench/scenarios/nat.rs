//! Plain NAT: how many frames a second get through, for one flow and for many.

use halfspace_testbed::Requirement;

use super::{lost, rate};
use crate::bench::gateways::halfspace::{self, DEFAULT_FLOWS, Hook};
use crate::bench::gateways::{Gateway, kernel};
use crate::bench::lane::Lane;
use crate::bench::report::{Plot, Point, Shape};
use crate::bench::scenario::{
    Contender, Entry, Measure, Origin, Scenario, Site, Step, Turn, Yield,
};
use crate::bench::topology::{Direction, Topology};
use crate::error::Error;

/// Every contender does these.
const LOADS: [(&str, u32); 4] =
    [("nat_1", 1), ("nat_1k", 1_000), ("nat_50k", 50_000), ("nat_200k", 200_000)];
const ALL_STEPS: &[&str] = &["nat_1", "nat_1k", "nat_50k", "nat_200k"];

/// More flows than nftables can track by default; see [`Mixed`].
const MILLION: (&str, u32) = ("nat_1m", 1_000_000);
const WITH_MILLION: &[&str] = &["nat_1", "nat_1k", "nat_50k", "nat_200k", "nat_1m"];

/// Room for the million flows.
const MILLION_CAPACITY: u32 = 1 << 20;

/// See [`Scenario::about`].
pub const SCENARIO: Scenario = Scenario {
    name: "nat",
    title: "NAT",
    about: "60-byte UDP frames from 120 hosts to 32 addresses behind a NAT, every flow in turn, as \
            fast as they get through. Generator, gateway and sink share one core, as they do where \
            packets are forwarded run to completion.",
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
                let topology = Topology::lay(site.bed, "raw", 1)?;
                let gateway = Gateway::relay(&topology)?;
                lane(topology, gateway, &LOADS)
            },
        },
        Entry {
            name: "kernel",
            title: "kernel forwarding, no NAT",
            origin: Origin::Limit,
            needs: &[],
            steps: ALL_STEPS,
            set_up: |site| {
                let topology = Topology::lay(site.bed, "kernel", 1)?;
                let gateway = kernel::forwarding(&topology)?;
                lane(topology, gateway, &LOADS)
            },
        },
        Entry {
            name: "nft",
            title: "nftables masquerade",
            origin: Origin::Peer,
            needs: &[Requirement::Program("nft")],
            steps: ALL_STEPS,
            set_up: |site| {
                let topology = Topology::lay(site.bed, "nft", 1)?;
                let gateway = kernel::masquerade(site.bed, &topology)?;
                lane(topology, gateway, &LOADS)
            },
        },
        Entry {
            name: "halfspace_xdp",
            title: "Halfspace NAT, XDP",
            origin: Origin::Ours,
            needs: &[],
            steps: WITH_MILLION,
            set_up: |site| {
                let few = ours(site, "xdp", Hook::Xdp, DEFAULT_FLOWS, &LOADS)?;
                let many = ours(site, "xdp-1m", Hook::Xdp, MILLION_CAPACITY, &[MILLION])?;
                Ok(Box::new(Mixed([few, many])))
            },
        },
        Entry {
            name: "halfspace_tc",
            title: "Halfspace NAT, tc",
            origin: Origin::Ours,
            needs: &[],
            steps: ALL_STEPS,
            set_up: |site| Ok(Box::new(ours(site, "tc", Hook::Tc, DEFAULT_FLOWS, &LOADS)?)),
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

fn lane(
    topology: Topology,
    gateway: Gateway,
    loads: &[(&'static str, u32)],
) -> Result<Box<dyn Contender>, Error> {
    Ok(Box::new(Lane::new(topology, gateway, Direction::Outward, loads)?))
}

fn ours(
    site: Site<'_>,
    name: &str,
    hook: Hook,
    flows: u32,
    loads: &[(&'static str, u32)],
) -> Result<Lane, Error> {
    let topology = Topology::lay(site.bed, name, 1)?;
    let gateway = halfspace::nat(site, &topology, name, hook, flows)?;
    Lane::new(topology, gateway, Direction::Outward, loads)
}

/// Two instances, one with the table that there is by default and one with room for a million
/// flows: what few flows cost is not to depend on how many there could be.
struct Mixed([Lane; 2]);

impl Contender for Mixed {
    fn round(&mut self, step: &Step, turn: &Turn<'_>) -> Result<Yield, Error> {
        let lane = self.0.iter_mut().find(|lane| lane.takes(step));
        let Some(lane) = lane else {
            return Err(Error::Missing(format!("there is no plan for {}", step.name)));
        };
        lane.round(step, turn)
    }
}
