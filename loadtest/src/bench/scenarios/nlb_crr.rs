//! The load balancer on connections: connect, request, response, close.

use halfspace_testbed::Requirement;
use serde::Deserialize;

use crate::bench::ends::{CpuSeconds, Joined, Place};
use crate::bench::gateways::halfspace::{self, Hook};
use crate::bench::gateways::{Gateway, documents, kernel, proxies};
use crate::bench::report::{Plot, Point, Shape};
use crate::bench::scenario::{
    Better, Contender, Entry, Measure, Origin, Scenario, Site, Step, Turn, Yield,
};
use crate::bench::topology::{Direction, Topology};
use crate::bench::unit::Unit;
use crate::error::Error;

const STEPS: &[&str] = &["nlb_crr"];

/// What clients do: so many connections at a time keep both ends and the gateway busy.
const CLIENT: [&str; 5] = ["connections", "--mode", "crr", "--connections", "64"];

/// Room for flows in Halfspace's table: each is kept for half a minute after its end, in case the
/// last acknowledgement gets lost, and rounds follow each other faster than that.
const CAPACITY: u32 = 1 << 19;

/// See [`Scenario::about`].
pub const SCENARIO: Scenario = Scenario {
    name: "nlb_crr",
    title: "Load balancer, TCP connections",
    about: "64 clients at a time, of 16 addresses in the world, each connect to the load balancer's \
            address, send 64 bytes, get as many back from one of three targets, and close, over and \
            over, through veth and Halfspace's tc hook. Clients, targets and gateway share all cores, \
            which are busy then, so the rate tells what all of them together cost. The gateway's \
            part is what a connection costs less what it costs without a gateway, over a veth of \
            its own, measured right before. Behind Halfspace and nftables targets see their \
            clients' addresses; behind the proxies they see the proxy's.",
    steps: &[Step {
        name: "nlb_crr",
        quick: true,
        measures: &[
            Measure {
                name: "nlb_crr",
                title: "connections",
                unit: Unit::ConnectionsPerSecond,
                better: Better::Higher,
            },
            Measure {
                name: "nlb_crr_p50",
                title: "median time of one",
                unit: Unit::Microseconds,
                better: Better::Lower,
            },
            Measure {
                name: "nlb_crr_p99",
                title: "99th percentile",
                unit: Unit::Microseconds,
                better: Better::Lower,
            },
            Measure {
                name: "nlb_crr_cpu",
                title: "processor time of the gateway for one",
                unit: Unit::Microseconds,
                better: Better::Lower,
            },
            Measure {
                name: "nlb_crr_cpu_direct",
                title: "of the rest, without gateway",
                unit: Unit::Microseconds,
                better: Better::Lower,
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
            name: "nginx",
            title: "nginx, stream module",
            origin: Origin::Peer,
            needs: &[Requirement::Program("nginx")],
            steps: STEPS,
            set_up: |site| set_up(site, "nginx", |site, at| proxies::nginx(site.bed, at)),
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
                    halfspace::balancer(site, at, "nlb", Hook::Tc, CAPACITY)
                })
            },
        },
    ],
    plots: &[
        Plot {
            title: "Connections a second through a load balancer",
            shape: Shape::Bars,
            axis: "",
            points: &[Point { measure: "nlb_crr", label: "" }],
        },
        Plot {
            title: "Time of a connection, from its start to its response",
            shape: Shape::Bars,
            axis: "",
            points: &[
                Point { measure: "nlb_crr_p50", label: "median" },
                Point { measure: "nlb_crr_p99", label: "99th percentile" },
            ],
        },
        Plot {
            title: "Processor time of the gateway for a connection",
            shape: Shape::Bars,
            axis: "",
            points: &[Point { measure: "nlb_crr_cpu", label: "" }],
        },
    ],
};

fn set_up<'a>(
    site: Site<'a>,
    name: &str,
    gateway: impl FnOnce(Site<'a>, &Topology) -> Result<Gateway, Error>,
) -> Result<Box<dyn Contender + 'a>, Error> {
    let ends = (Direction::Inward(documents::BALANCER), Place::Anywhere);
    Ok(Box::new(Balanced(Joined::set_up(site, name, ends, gateway)?)))
}

struct Balanced(Joined);

/// What the client reports.
#[derive(Deserialize)]
struct Report {
    seconds: f64,
    operations_per_second: f64,
    latency_seconds: Latency,
    cpu_seconds: CpuSeconds,
}

impl Report {
    /// Microseconds that all processors were busy for each connection, in the measured time.
    fn cpu_per_connection(&self) -> Result<f64, Error> {
        let busy = self.cpu_seconds.busy()?;
        Ok(1e6 * busy / (self.operations_per_second * self.seconds))
    }
}

#[derive(Deserialize)]
struct Latency {
    p50: f64,
    p99: f64,
}

impl Contender for Balanced {
    fn notes(&self) -> &[String] {
        &self.0.gateway.notes
    }

    fn round(&mut self, step: &Step, turn: &Turn<'_>) -> Result<Yield, Error> {
        let [rate, median, slow, of_gateway, of_rest] = step.measures else {
            return Err(Error::Missing(format!("{} is no step of this scenario", step.name)));
        };
        let reports = self.0.through_and_past::<Report>(&CLIENT, turn)?;
        let Some((through, direct)) = reports else { return Ok(Yield::default()) };
        let without = direct.cpu_per_connection()?;
        // Where a gateway costs next to nothing, noise can make it less.
        let difference = (through.cpu_per_connection()? - without).max(0.0);
        Ok(Yield {
            samples: vec![
                (rate.name, through.operations_per_second),
                (median.name, 1e6 * through.latency_seconds.p50),
                (slow.name, 1e6 * through.latency_seconds.p99),
                (of_gateway.name, difference),
                (of_rest.name, without),
            ],
            // Clients, targets and proxies run in user space, where they cannot be told from others.
            disturbed: None,
        })
    }
}
