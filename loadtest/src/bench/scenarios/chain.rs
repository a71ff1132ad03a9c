//! A chain of functions: it should cost what a single one does.

use halfspace_testbed::Requirement;

use super::{lost, rate};
use crate::bench::gateways::halfspace::{self, Halfspace, Hook, Instance, room_for};
use crate::bench::gateways::{Gateway, documents, exactly, kernel};
use crate::bench::lane::Lane;
use crate::bench::report::{Plot, Point, Shape};
use crate::bench::scenario::{Contender, Entry, Origin, Scenario, Site, Step};
use crate::bench::topology::{Direction, Topology};
use crate::error::Error;

const FLOWS: u32 = 50_000;
const STEPS: &[&str] = &["chain"];

/// See [`Scenario::about`].
pub const SCENARIO: Scenario = Scenario {
    name: "chain",
    title: "Chain of functions",
    about: "60-byte UDP frames, 50,000 flows, from an execution environment through a bridge's \
            network interface, the NAT gateway and its Elastic IP address, in one Halfspace; against \
            its own plain NAT, and against two nftables masquerades in two namespaces, one behind \
            the other.",
    steps: &[Step {
        name: "chain",
        quick: true,
        measures: &[rate("chain", "50,000 flows"), lost("chain_lost")],
    }],
    contenders: &[
        Entry {
            name: "nft_two_hops",
            title: "nftables masquerade, two hops",
            origin: Origin::Peer,
            needs: &[Requirement::Program("nft")],
            steps: STEPS,
            set_up: |site| {
                let topology = Topology::lay(site.bed, "nft", 2)?;
                let gateway = kernel::masquerade_twice(site.bed, &topology)?;
                lane(topology, gateway)
            },
        },
        Entry {
            name: "nat_xdp",
            title: "Halfspace NAT alone, XDP",
            origin: Origin::Ours,
            needs: &[],
            steps: STEPS,
            set_up: |site| plain(site, "nat-xdp", Hook::Xdp),
        },
        Entry {
            name: "chain_xdp",
            title: "Halfspace bridge and NAT, XDP",
            origin: Origin::Ours,
            needs: &[],
            steps: STEPS,
            set_up: |site| chain(site, "chain-xdp", Hook::Xdp),
        },
        Entry {
            name: "nat_tc",
            title: "Halfspace NAT alone, tc",
            origin: Origin::Ours,
            needs: &[],
            steps: STEPS,
            set_up: |site| plain(site, "nat-tc", Hook::Tc),
        },
        Entry {
            name: "chain_tc",
            title: "Halfspace bridge and NAT, tc",
            origin: Origin::Ours,
            needs: &[],
            steps: STEPS,
            set_up: |site| chain(site, "chain-tc", Hook::Tc),
        },
    ],
    plots: &[Plot {
        title: "A chain against a single NAT",
        shape: Shape::Bars,
        axis: "",
        points: &[Point { measure: "chain", label: "50,000 flows" }],
    }],
};

fn lane(topology: Topology, gateway: Gateway) -> Result<Box<dyn Contender>, Error> {
    Ok(Box::new(Lane::new(topology, gateway, Direction::Outward, &[("chain", FLOWS)])?))
}

fn plain(site: Site<'_>, name: &str, hook: Hook) -> Result<Box<dyn Contender>, Error> {
    let topology = Topology::lay(site.bed, name, 1)?;
    let gateway = halfspace::nat(site, &topology, name, hook, room_for(FLOWS))?;
    lane(topology, gateway)
}

fn chain(site: Site<'_>, name: &str, hook: Hook) -> Result<Box<dyn Contender>, Error> {
    let topology = Topology::lay(site.bed, name, 1)?;
    let document = &documents::chain();
    let instance = Instance {
        name,
        hook,
        flows: room_for(FLOWS),
        ipv6_flows: halfspace::FEW_IPV6_FLOWS,
        document,
    };
    let process = Halfspace::start(site, &topology, instance)?;
    process.attach_environment(topology.gateway(), documents::BRIDGE)?;
    lane(topology, Gateway::halfspace(exactly(documents::NAT), process))
}
