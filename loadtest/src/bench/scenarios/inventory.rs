//! A large inventory: how soon 5,000 network interfaces with 1,000 security groups are in force, and
//! what memory they take.

use super::memory::bytes;
use crate::bench::gateways::documents;
use crate::bench::gateways::halfspace::{FEW_IPV6_FLOWS, Halfspace, Hook, Instance};
use crate::bench::scenario::{
    Better, Contender, Entry, Measure, Origin, Scenario, Site, Step, Turn, Yield,
};
use crate::bench::topology::Topology;
use crate::bench::unit::Unit;
use crate::error::Error;

const STEP: &str = "inventory";

/// See [`Scenario::about`].
pub const SCENARIO: Scenario = Scenario {
    name: "inventory",
    title: "A large inventory",
    about: "A resource document with 5,000 network interfaces and 1,000 security groups of 60 rules, \
            five of them on each interface, in place of one without: the time from writing the file, \
            followed by SIGHUP, until the gateway says that it is in force; and the memory that the \
            gateway has taken more by then, its maps in the kernel included.",
    steps: &[Step {
        name: STEP,
        quick: true,
        measures: &[
            Measure {
                name: "inventory_apply_s",
                title: "in force after",
                unit: Unit::Seconds,
                better: Better::Lower,
            },
            Measure {
                name: "inventory_mib",
                title: "memory",
                unit: Unit::Mebibytes,
                better: Better::Lower,
            },
        ],
    }],
    contenders: &[Entry {
        name: "halfspace",
        title: "Halfspace",
        origin: Origin::Ours,
        needs: &[],
        steps: &[STEP],
        set_up: |site| Ok(Box::new(Inventory { site, rounds: 0 })),
    }],
    plots: &[],
};

/// A new gateway for each round: one that has read the document keeps some of the memory that it
/// took to read it.
struct Inventory<'a> {
    site: Site<'a>,
    rounds: u32,
}

impl Contender for Inventory<'_> {
    fn round(&mut self, step: &Step, turn: &Turn<'_>) -> Result<Yield, Error> {
        let [apply, memory] = step.measures else {
            return Err(Error::Missing(format!("{} is no step of this scenario", step.name)));
        };
        self.rounds += 1;
        let name = format!("inventory-{}", self.rounds);
        let topology = Topology::lay(self.site.bed, &name, 1)?;
        let document = &documents::inventory(false);
        let instance = Instance {
            name: &name,
            hook: Hook::Xdp,
            flows: 1024,
            ipv6_flows: FEW_IPV6_FLOWS,
            document,
        };
        let process = Halfspace::start(self.site, &topology, instance)?;
        let access = process.access();
        let before = bytes(&access)?;
        let took = access.put_in_force(&documents::inventory(true), turn.interrupt)?;
        let more = bytes(&access)?.saturating_sub(before);
        #[expect(clippy::cast_precision_loss, reason = "some megabytes")]
        let more = more as f64 / f64::from(1 << 20);
        let samples = vec![(apply.name, took.as_secs_f64()), (memory.name, more)];
        Ok(Yield { samples, disturbed: None })
    }
}
