//! The load balancer on datagrams: passing them through should cost what NAT does.

use super::{lost, rate};
use crate::bench::gateways::halfspace::{self, Halfspace, Hook, Instance, room_for};
use crate::bench::gateways::target::Healthy;
use crate::bench::gateways::{Gateway, documents, world};
use crate::bench::lane::Lane;
use crate::bench::report::{Plot, Point, Shape};
use crate::bench::scenario::{Contender, Entry, Origin, Scenario, Site, Step, Turn, Yield};
use crate::bench::topology::{Direction, GATEWAY_INSIDE, Topology};
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
                let gateway = halfspace::nat(site, &topology, "nat", Hook::Xdp, room_for(FLOWS))?;
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
    let target = Healthy::listen(&topology.hosts, GATEWAY_INSIDE, documents::TARGET)?;
    let document = &documents::balancer();
    let instance = Instance {
        name: "nlb",
        hook: Hook::Xdp,
        flows: room_for(FLOWS),
        ipv6_flows: halfspace::FEW_IPV6_FLOWS,
        document,
    };
    let process = Halfspace::start(site, &topology, instance)?;
    let gateway = Gateway::halfspace(world(), process);
    let direction = Direction::Inward(documents::BALANCER);
    let lane = Lane::new(topology, gateway, direction, &LOADS)?;
    Ok(Box::new(Balancer { lane, target }))
}

/// The lane, and the target behind it.
struct Balancer {
    lane: Lane,
    target: Healthy,
}

impl Contender for Balancer {
    fn round(&mut self, step: &Step, turn: &Turn<'_>) -> Result<Yield, Error> {
        self.target.hang_up()?;
        self.lane.round(step, turn)
    }
}
