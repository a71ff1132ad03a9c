//! From one network interface to another through security groups: it should cost what a NAT does,
//! with and without a flow log.

use super::{lost, rate};
use crate::bench::gateways::halfspace::{self, Halfspace, Hook, Instance, room_for};
use crate::bench::gateways::{Gateway, documents, hosts};
use crate::bench::lane::Lane;
use crate::bench::report::{Plot, Point, Shape};
use crate::bench::scenario::{Contender, Entry, Origin, Scenario, Site, Step};
use crate::bench::topology::{Direction, PORT, Topology};
use crate::error::Error;

const FLOWS: u32 = 50_000;
const STEPS: &[&str] = &["eni"];

/// See [`Scenario::about`].
pub const SCENARIO: Scenario = Scenario {
    name: "eni",
    title: "Network interfaces",
    about: "60-byte UDP frames, 50,000 flows, from the addresses of one network interface's prefixes \
            by a route to another interface. Each has five security groups of 60 rules, of which the \
            last one allows the frames. Against Halfspace's own plain NAT; and the same with a flow \
            log of the VPC in windows of 60 seconds, of which a run has several.",
    steps: &[Step {
        name: "eni",
        quick: true,
        measures: &[rate("eni", "50,000 flows"), lost("eni_lost")],
    }],
    contenders: &[
        Entry {
            name: "nat_xdp",
            title: "Halfspace NAT, XDP",
            origin: Origin::Ours,
            needs: &[],
            steps: STEPS,
            set_up: |site| plain(site, "nat-xdp", Hook::Xdp),
        },
        Entry {
            name: "eni_xdp",
            title: "Halfspace interfaces, XDP",
            origin: Origin::Ours,
            needs: &[],
            steps: STEPS,
            set_up: |site| interfaces(site, "eni-xdp", Hook::Xdp, false),
        },
        Entry {
            name: "logged_xdp",
            title: "The same with a flow log, XDP",
            origin: Origin::Ours,
            needs: &[],
            steps: STEPS,
            set_up: |site| interfaces(site, "logged-xdp", Hook::Xdp, true),
        },
        Entry {
            name: "nat_tc",
            title: "Halfspace NAT, tc",
            origin: Origin::Ours,
            needs: &[],
            steps: STEPS,
            set_up: |site| plain(site, "nat-tc", Hook::Tc),
        },
        Entry {
            name: "eni_tc",
            title: "Halfspace interfaces, tc",
            origin: Origin::Ours,
            needs: &[],
            steps: STEPS,
            set_up: |site| interfaces(site, "eni-tc", Hook::Tc, false),
        },
    ],
    plots: &[Plot {
        title: "Between interfaces against a NAT",
        shape: Shape::Bars,
        axis: "",
        points: &[Point { measure: "eni", label: "50,000 flows" }],
    }],
};

fn lane(topology: Topology, gateway: Gateway) -> Result<Box<dyn Contender>, Error> {
    Ok(Box::new(Lane::new(topology, gateway, Direction::Outward, &[("eni", FLOWS)])?))
}

fn plain(site: Site<'_>, name: &str, hook: Hook) -> Result<Box<dyn Contender>, Error> {
    let topology = Topology::lay(site.bed, name, 1)?;
    let gateway = halfspace::nat(site, &topology, name, hook, room_for(FLOWS))?;
    lane(topology, gateway)
}

fn interfaces(
    site: Site<'_>,
    name: &str,
    hook: Hook,
    logged: bool,
) -> Result<Box<dyn Contender>, Error> {
    let topology = Topology::lay(site.bed, name, 1)?;
    topology.world.ip([format!("address add {}/24 dev {PORT}", documents::APPLIANCE)])?;
    let document = &documents::interfaces(logged);
    let instance = Instance {
        name,
        hook,
        flows: room_for(FLOWS),
        ipv6_flows: halfspace::FEW_IPV6_FLOWS,
        document,
    };
    let process = Halfspace::start(site, &topology, instance)?;
    lane(topology, Gateway::halfspace(hosts(), process))
}
