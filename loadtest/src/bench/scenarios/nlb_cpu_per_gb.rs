//! What bulk TCP through a load balancer costs in processor time.

use halfspace_testbed::Requirement;
use serde::Deserialize;

use crate::bench::ends::{CpuSeconds, Joined, Place};
use crate::bench::gateways::halfspace::{self, DEFAULT_FLOWS, Hook};
use crate::bench::gateways::{Gateway, documents, kernel, proxies};
use crate::bench::report::{Plot, Point, Shape};
use crate::bench::scenario::{
    Better, Contender, Entry, Measure, Origin, Scenario, Site, Step, Turn, Yield,
};
use crate::bench::topology::{Direction, Topology};
use crate::bench::unit::Unit;
use crate::error::Error;

const STEPS: &[&str] = &["nlb_cpu_per_gb"];

/// What clients do.
const CLIENT: [&str; 3] = ["streams", "--connections", "4"];

/// See [`Scenario::about`].
pub const SCENARIO: Scenario = Scenario {
    name: "nlb_cpu_per_gb",
    title: "Load balancer, processor time of bulk TCP",
    about: "Four TCP streams from the world to three targets, as fast as they go. A gateway in the \
            kernel has no process whose time could be read: it works in whatever happens to run, \
            the clients and targets above all. So its time is a difference: that of the whole \
            machine for each GB through the gateway, less that for each GB between the same \
            programs over a veth of their own that leaves the gateway out, measured one right \
            after the other in each round.",
    steps: &[Step {
        name: "nlb_cpu_per_gb",
        quick: true,
        measures: &[
            Measure {
                name: "nlb_cpu_per_gb",
                title: "the gateway",
                unit: Unit::CpuSecondsPerGigabyte,
                better: Better::Lower,
            },
            Measure {
                name: "nlb_cpu_per_gb_direct",
                title: "the rest, without gateway",
                unit: Unit::CpuSecondsPerGigabyte,
                better: Better::Lower,
            },
            Measure {
                name: "nlb_bulk",
                title: "throughput",
                unit: Unit::BitsPerSecond,
                better: Better::Higher,
            },
        ],
    }],
    contenders: &[
        Entry {
            name: "haproxy",
            title: "HAProxy, TCP mode",
            origin: Origin::Peer,
            needs: &[Requirement::Program("haproxy")],
            steps: STEPS,
            set_up: |site| set_up(site, "haproxy", |site, at| proxies::haproxy(site.bed, at)),
        },
        Entry {
            name: "nft_dnat",
            title: "nftables DNAT",
            origin: Origin::Peer,
            needs: &[Requirement::Program("nft")],
            steps: STEPS,
            set_up: |site| set_up(site, "nft", |site, at| kernel::dnat(site.bed, at)),
        },
        Entry {
            name: "halfspace",
            title: "Halfspace load balancer, tc",
            origin: Origin::Ours,
            needs: &[],
            steps: STEPS,
            set_up: |site| {
                set_up(site, "nlb", |site, at| {
                    halfspace::balancer(site, at, "nlb", Hook::Tc, DEFAULT_FLOWS)
                })
            },
        },
    ],
    plots: &[Plot {
        title: "Processor time of a load balancer for each GB",
        shape: Shape::Bars,
        axis: "",
        points: &[Point { measure: "nlb_cpu_per_gb", label: "" }],
    }],
};

fn set_up<'a>(
    site: Site<'a>,
    name: &str,
    gateway: impl FnOnce(Site<'a>, &Topology) -> Result<Gateway, Error>,
) -> Result<Box<dyn Contender + 'a>, Error> {
    let ends = (Direction::Inward(documents::BALANCER), Place::Apart);
    Ok(Box::new(Balanced(Joined::set_up(site, name, ends, gateway)?)))
}

struct Balanced(Joined);

/// What the client reports.
#[derive(Deserialize)]
struct Report {
    bytes_up: u64,
    bits_per_second_up: f64,
    cpu_seconds: CpuSeconds,
}

impl Report {
    /// Seconds that all processors were busy for each 10^9 bytes, in the measured time.
    #[expect(clippy::cast_precision_loss, reason = "petabytes fit")]
    fn cpu_per_gigabyte(&self) -> Result<f64, Error> {
        let busy = self.cpu_seconds.busy()?;
        Ok(busy / (self.bytes_up as f64 / 1e9))
    }
}

impl Contender for Balanced {
    fn notes(&self) -> &[String] {
        &self.0.gateway.notes
    }

    fn round(&mut self, step: &Step, turn: &Turn<'_>) -> Result<Yield, Error> {
        let [of_gateway, of_rest, rate] = step.measures else {
            return Err(Error::Missing(format!("{} is no step of this scenario", step.name)));
        };
        let reports = self.0.through_and_past::<Report>(&CLIENT, turn)?;
        let Some((through, direct)) = reports else { return Ok(Yield::default()) };
        let without = direct.cpu_per_gigabyte()?;
        // Where a gateway costs next to nothing, noise can make it less.
        let difference = (through.cpu_per_gigabyte()? - without).max(0.0);
        Ok(Yield {
            samples: vec![
                (of_gateway.name, difference),
                (of_rest.name, without),
                (rate.name, through.bits_per_second_up),
            ],
            disturbed: None,
        })
    }
}
