//! Memory: what a tracked flow takes, in the kernel and in user space together.

use std::fs;
use std::path::PathBuf;

use crate::bench::gateways::halfspace::{Access, FEW_IPV6_FLOWS, Halfspace, Hook, Instance};
use crate::bench::gateways::{Gateway, documents, prefix};
use crate::bench::lane::Lane;
use crate::bench::report::{Plot, Point, Shape};
use crate::bench::scenario::{
    Better, Contender, Entry, Measure, Origin, Scenario, Site, Step, Turn, Yield,
};
use crate::bench::topology::{Direction, Topology};
use crate::bench::unit::Unit;
use crate::error::Error;
use crate::soak::kernel_maps;

/// Steps, and the flows that the gateway of each has room for and is then filled with.
const LOADS: [(&str, u32); 2] = [("memory_1m", 1_000_000), ("memory_4m", 4_000_000)];

/// Room for flows of the gateway that nothing is sent through.
const IDLE: u32 = 1024;

/// See [`Scenario::about`].
pub const SCENARIO: Scenario = Scenario {
    name: "memory",
    title: "Memory",
    about: "A gateway sized for so many flows and filled with UDP flows through its NAT until one \
            frame of each came through in a row: the resident memory of the process and that of \
            its maps in the kernel, less that of a gateway sized for 1,024 flows which has none, \
            for each flow that it says it tracks. Four million flows take half a minute to set \
            up, so a quick run leaves them out. About 290 bytes are the kernel's: for each \
            direction 48 of its own, key, value and padding to two cache lines, and a place in \
            the table. Of the worker's, 64 are the flow, 13 its places in the index, 12 its timer \
            and 8 its lease; bitmaps of ports make up the rest. 256 bytes would take a table of \
            our own in the kernel, with one entry for both directions.",
    steps: &[
        Step {
            name: "memory_1m",
            quick: true,
            measures: &[per_flow("bytes_per_flow_1m", "1,000,000 flows")],
        },
        Step {
            name: "memory_4m",
            quick: false,
            measures: &[per_flow("bytes_per_flow_4m", "4,000,000 flows")],
        },
    ],
    contenders: &[Entry {
        name: "halfspace",
        title: "Halfspace NAT",
        origin: Origin::Ours,
        needs: &[],
        steps: &["memory_1m", "memory_4m"],
        set_up: |site| Ok(Box::new(Full { site, idle: idle(site)?, filled: Vec::new() })),
    }],
    plots: &[Plot {
        title: "Memory for each tracked flow",
        shape: Shape::Bars,
        axis: "",
        points: &[
            Point { measure: "bytes_per_flow_1m", label: "1M" },
            Point { measure: "bytes_per_flow_4m", label: "4M" },
        ],
    }],
};

const fn per_flow(name: &'static str, title: &'static str) -> Measure {
    Measure { name, title, unit: Unit::Bytes, better: Better::Lower }
}

/// Gateways that stay full from round to round: nothing of them is to grow meanwhile.
struct Full<'a> {
    site: Site<'a>,
    /// Bytes that a gateway takes which has no flows.
    idle: u64,
    filled: Vec<Filled>,
}

/// One that is full.
struct Filled {
    step: &'static str,
    access: Access,
    /// Keeps it running.
    _lane: Lane,
}

impl Contender for Full<'_> {
    fn round(&mut self, step: &Step, turn: &Turn<'_>) -> Result<Yield, Error> {
        let [per_flow] = step.measures else {
            return Err(Error::Missing(format!("{} is no step of this scenario", step.name)));
        };
        if !self.filled.iter().any(|it| it.step == step.name) {
            let filled = fill(self.site, step, turn)?;
            if turn.interrupt.is_raised() {
                return Ok(Yield::default());
            }
            self.filled.push(filled);
        }
        let found = self.filled.iter().find(|it| it.step == step.name);
        let Some(Filled { access, .. }) = found else { return Ok(Yield::default()) };
        let (taken, flows) = (bytes(access)?, access.status()?.flows);
        if flows == 0 || taken < self.idle {
            return Err(Error::Missing(format!(
                "{flows} flows take {taken} bytes, and none {}",
                self.idle
            )));
        }
        #[expect(clippy::cast_precision_loss, reason = "gigabytes, millions of flows")]
        let figure = (taken - self.idle) as f64 / flows as f64;
        Ok(Yield { samples: vec![(per_flow.name, figure)], disturbed: None })
    }
}

/// What a gateway takes that has nothing to do.
fn idle(site: Site<'_>) -> Result<u64, Error> {
    let topology = Topology::lay(site.bed, "idle", 1)?;
    bytes(&start(site, &topology, "idle", IDLE)?.access())
}

/// Starts a gateway and sends a frame of each flow until all of them come through.
fn fill(site: Site<'_>, step: &Step, turn: &Turn<'_>) -> Result<Filled, Error> {
    let load = LOADS.into_iter().find(|(name, _)| *name == step.name);
    let (name, flows) =
        load.ok_or_else(|| Error::Missing(format!("{} has no number of flows", step.name)))?;
    let topology = Topology::lay(site.bed, name, 1)?;
    let process = start(site, &topology, name, flows)?;
    let access = process.access();
    let gateway = Gateway::halfspace(prefix(documents::MANY, documents::MANY_LENGTH), process);
    let lane = Lane::new(topology, gateway, Direction::Outward, &[(name, flows)])?;
    lane.warm_up(name, turn.interrupt)?;
    Ok(Filled { step: name, access, _lane: lane })
}

fn start(site: Site<'_>, topology: &Topology, name: &str, flows: u32) -> Result<Halfspace, Error> {
    let document = &documents::nat_of_many();
    Halfspace::start(
        site,
        topology,
        Instance { name, hook: Hook::Xdp, flows, ipv6_flows: FEW_IPV6_FLOWS, document },
    )
}

/// Memory of a process and of its maps.
///
/// # Errors
///
/// [`Error::File`], [`Error::Bpf`].
pub(super) fn bytes(access: &Access) -> Result<u64, Error> {
    Ok(resident(access)? + kernel_maps::bytes(access.pins())?)
}

/// The resident set of a process in bytes; `smaps_rollup` counts pages, where `status` estimates.
fn resident(access: &Access) -> Result<u64, Error> {
    let path = PathBuf::from(format!("/proc/{}/smaps_rollup", access.pid()));
    let failed = |source| Error::File { action: "read", path: path.clone(), source };
    let text = fs::read_to_string(&path).map_err(failed)?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| failed(std::io::Error::other("it does not have Rss")))
}
