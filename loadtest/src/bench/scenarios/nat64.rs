//! From IPv6 to IPv4: what another header costs beyond another address.

use super::{lost, rate};
use crate::bench::gateways::halfspace::{self, Hook, room_for};
use crate::bench::lane::Lane;
use crate::bench::report::{Plot, Point, Shape};
use crate::bench::scenario::{Contender, Entry, Origin, Scenario, Site, Step};
use crate::bench::topology::{Direction, Topology};
use crate::error::Error;

const FLOWS: u32 = 50_000;
const STEPS: &[&str] = &["nat64"];

/// See [`Scenario::about`].
pub const SCENARIO: Scenario = Scenario {
    name: "nat64",
    title: "NAT64",
    about: "UDP frames, 50,000 flows, from IPv6 hosts to addresses in 64:ff9b::/96, which arrive as \
            IPv4. They are of 78 bytes, the least that has room for the generator's marker. Against \
            Halfspace's own plain NAT with 60-byte frames of IPv4.",
    steps: &[Step {
        name: "nat64",
        quick: true,
        measures: &[rate("nat64", "50,000 flows"), lost("nat64_lost")],
    }],
    contenders: &[
        Entry {
            name: "nat44_xdp",
            title: "Halfspace NAT, XDP",
            origin: Origin::Ours,
            needs: &[],
            steps: STEPS,
            set_up: |site| lane(site, "nat44-xdp", Hook::Xdp, false),
        },
        Entry {
            name: "nat64_xdp",
            title: "Halfspace NAT64, XDP",
            origin: Origin::Ours,
            needs: &[],
            steps: STEPS,
            set_up: |site| lane(site, "nat64-xdp", Hook::Xdp, true),
        },
        Entry {
            name: "nat44_tc",
            title: "Halfspace NAT, tc",
            origin: Origin::Ours,
            needs: &[],
            steps: STEPS,
            set_up: |site| lane(site, "nat44-tc", Hook::Tc, false),
        },
        Entry {
            name: "nat64_tc",
            title: "Halfspace NAT64, tc",
            origin: Origin::Ours,
            needs: &[],
            steps: STEPS,
            set_up: |site| lane(site, "nat64-tc", Hook::Tc, true),
        },
    ],
    plots: &[Plot {
        title: "NAT64 against NAT",
        shape: Shape::Bars,
        axis: "",
        points: &[Point { measure: "nat64", label: "50,000 flows" }],
    }],
};

fn lane(
    site: Site<'_>,
    name: &str,
    hook: Hook,
    has_ipv6_hosts: bool,
) -> Result<Box<dyn Contender>, Error> {
    let topology = Topology { has_ipv6_hosts, ..Topology::lay(site.bed, name, 1)? };
    let start = if has_ipv6_hosts { halfspace::nat64 } else { halfspace::nat };
    let gateway = start(site, &topology, name, hook, room_for(FLOWS))?;
    Ok(Box::new(Lane::new(topology, gateway, Direction::Outward, &[("nat64", FLOWS)])?))
}
