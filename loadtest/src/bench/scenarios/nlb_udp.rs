//! The load balancer on datagrams: passing them through should cost what NAT does.

use std::net::TcpListener;

use super::{lost, rate};
use crate::bench::gateways::halfspace::{self, DEFAULT_FLOWS, Halfspace, Hook, Instance};
use crate::bench::gateways::{Gateway, documents, world};
use crate::bench::lane::Lane;
use crate::bench::report::{Plot, Point, Shape};
use crate::bench::scenario::{Contender, Entry, Origin, Scenario, Site, Step, Turn, Yield};
use crate::bench::topology::{Direction, Topology};
use crate::error::Error;

const FLOWS: u32 = 50_000;
const LOADS: [(&str, u32); 1] = [("nlb_udp", FLOWS)];
const STEPS: &[&str] = &["nlb_udp"];

/// See [`Scenario::about`].
pub const SCENARIO: Scenario = Scenario {
    name: "nlb_udp",
    title: "Load balancer, UDP",
    about: "60-byte UDP frames, 50,000 flows, from the world through a pass-through listener to a \
            target that sees its clients' addresses; against Halfspace's own plain NAT with as many \
            flows.",
    steps: &[Step {
        name: "nlb_udp",
        quick: true,
        measures: &[rate("nlb_udp", "50,000 flows"), lost("nlb_udp_lost")],
    }],
    contenders: &[
        Entry {
            name: "nat_xdp",
            title: "Halfspace NAT, XDP",
            origin: Origin::Ours,
            needs: &[],
            steps: STEPS,
            set_up: |site| {
                let topology = Topology::lay(site.bed, "nat", 1)?;
                let gateway = halfspace::nat(site, &topology, "nat", Hook::Xdp, DEFAULT_FLOWS)?;
                Ok(Box::new(Lane::new(topology, gateway, Direction::Outward, &LOADS)?))
            },
        },
        Entry {
            name: "nlb_xdp",
            title: "Halfspace load balancer, XDP",
            origin: Origin::Ours,
            needs: &[],
            steps: STEPS,
            set_up: |site| balancer(site),
        },
    ],
    plots: &[Plot {
        title: "Load balancer against NAT",
        shape: Shape::Bars,
        axis: "",
        points: &[Point { measure: "nlb_udp", label: "50,000 flows" }],
    }],
};

fn balancer(site: Site<'_>) -> Result<Box<dyn Contender>, Error> {
    let topology = Topology::lay(site.bed, "nlb", 1)?;
    let address = (documents::TARGET, documents::HEALTH_PORT);
    // Health checks connect and hang up: the kernel alone answers them.
    let health = topology
        .hosts
        .enter(|| TcpListener::bind(address))?
        .map_err(|source| Error::System { action: "listen as the target", source })?;
    let document = &documents::balancer();
    let instance = Instance { name: "nlb", hook: Hook::Xdp, flows: DEFAULT_FLOWS, document };
    let process = Halfspace::start(site, &topology, instance)?;
    let gateway = Gateway::halfspace(world(), process);
    let direction = Direction::Inward(documents::BALANCER);
    let lane = Lane::new(topology, gateway, direction, &LOADS)?;
    Ok(Box::new(Balancer { lane, health }))
}

/// The lane, and the target behind it.
struct Balancer {
    lane: Lane,
    health: TcpListener,
}

impl Contender for Balancer {
    fn round(&mut self, step: &Step, turn: &Turn<'_>) -> Result<Yield, Error> {
        self.hang_up()?;
        self.lane.round(step, turn)
    }
}

impl Balancer {
    /// Takes the connections of health checks out of the backlog, which would fill up.
    fn hang_up(&self) -> Result<(), Error> {
        let failed = |source| Error::System { action: "answer health checks", source };
        self.health.set_nonblocking(true).map_err(failed)?;
        loop {
            match self.health.accept() {
                Ok(connection) => drop(connection),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(failed(error)),
            }
        }
    }
}
