//! A large change of the desired state: no packet of the flows that go on is to be lost, and it is
//! to be in force soon.

use std::net::Ipv4Addr;
use std::time::Duration;

use halfspace_testbed::Namespace;

use crate::bench::gateways::halfspace::{
    Access, FEW_IPV6_FLOWS, Halfspace, Hook, Instance, room_for,
};
use crate::bench::gateways::target::Healthy;
use crate::bench::gateways::{Gateway, documents, exactly};
use crate::bench::lane::Lane;
use crate::bench::scenario::{
    Better, Contender, Entry, Measure, Origin, Scenario, Site, Step, Turn, Yield,
};
use crate::bench::topology::{Direction, PORT, Topology};
use crate::bench::unit::Unit;
use crate::error::Error;

const STEP: &str = "snapshot";

/// Flows that go on.
const FLOWS: u32 = 100_000;

/// Frames of these a second: far less than any of the contenders' limits, so that what is lost is
/// lost because of the change.
const RATE: f64 = 200_000.0;

/// How long the last frames may take to arrive.
const DRAIN: Duration = Duration::from_millis(100);

/// See [`Scenario::about`].
pub const SCENARIO: Scenario = Scenario {
    name: "snapshot",
    title: "Changing the desired state",
    about: "100,000 UDP flows through a NAT at 200,000 frames a second, while a resource document \
            with 1,000 network interfaces and 1,000 healthy targets of a load balancer is put in \
            force, none of which were in the one before. It is the time from writing the file, \
            followed by SIGHUP, until the gateway says that the new state is in force and every \
            flow has been looked at under it; and the frames that did not arrive, from before the \
            change until well after it.",
    steps: &[Step {
        name: STEP,
        quick: true,
        measures: &[
            Measure {
                name: "snapshot_lost_packets",
                title: "frames lost",
                unit: Unit::Frames,
                better: Better::Lower,
            },
            Measure {
                name: "snapshot_apply_s",
                title: "in force after",
                unit: Unit::Seconds,
                better: Better::Lower,
            },
        ],
    }],
    contenders: &[Entry {
        name: "halfspace",
        title: "Halfspace NAT, XDP",
        origin: Origin::Ours,
        needs: &[],
        steps: &[STEP],
        set_up: |site| set_up(site),
    }],
    plots: &[],
};

fn set_up(site: Site<'_>) -> Result<Box<dyn Contender>, Error> {
    let topology = Topology::lay(site.bed, STEP, 1)?;
    // Instances have a link of their own: what they say all at once, a thousand answers to ARP and
    // to probes, would else find the generator's frames in the queue of the hosts' link, and push
    // some of them out before the gateway ever saw them.
    let instances = site.bed.namespace("snapshot-instances")?;
    let link = ((topology.gateway(), documents::INSTANCES_PORT), (&instances, PORT));
    site.bed.veths(&[link])?;
    instances.ip([format!("address add 10.1.144.5/20 dev {PORT}")])?;
    // All that there will be answer.
    instances.ip(documents::FIRST_INSTANCES.map(|it| format!("route add local {it}/22 dev lo")))?;
    let router = documents::GATEWAY_INSTANCES;
    let targets = Healthy::listen(&instances, router, Ipv4Addr::UNSPECIFIED)?;
    let document = &documents::instances(0);
    let (hook, flows) = (Hook::Xdp, room_for(FLOWS));
    let process = Halfspace::start(
        site,
        &topology,
        Instance { name: STEP, hook, flows, ipv6_flows: FEW_IPV6_FLOWS, document },
    )?;
    let access = process.access();
    let gateway = Gateway::halfspace(exactly(documents::NAT), process);
    let lane = Lane::new(topology, gateway, Direction::Outward, &[(STEP, FLOWS)])?;
    Ok(Box::new(Changing { lane, access, targets, changes: 0, warm: false, _instances: instances }))
}

struct Changing {
    lane: Lane,
    access: Access,
    targets: Healthy,
    /// Changes so far.
    changes: usize,
    /// Whether all flows were seen to pass.
    warm: bool,
    _instances: Namespace,
}

impl Contender for Changing {
    fn round(&mut self, step: &Step, turn: &Turn<'_>) -> Result<Yield, Error> {
        let [lost, apply] = step.measures else {
            return Err(Error::Missing(format!("{} is no step of this scenario", step.name)));
        };
        self.targets.hang_up()?;
        if !self.warm {
            self.lane.warm_up(STEP, turn.interrupt)?;
            self.warm = true;
        }
        self.changes += 1;
        let document = documents::instances(self.changes);
        let before = self.lane.read(STEP)?;
        let took = self.lane.pace(STEP, RATE, turn.interrupt, || {
            turn.interrupt.sleep(turn.ramp);
            let took = self.access.put_in_force(&document, turn.interrupt)?;
            // What the change set off goes on: new targets are looked for and probed.
            turn.interrupt.sleep(turn.duration);
            Ok(took)
        })?;
        turn.interrupt.sleep(DRAIN);
        let after = self.lane.read(STEP)?;
        let (sent, arrived) = (after.sent - before.sent, after.valid - before.valid);
        if sent == 0 {
            return Ok(Yield::default());
        }
        #[expect(clippy::cast_precision_loss, reason = "a round sends far less than 2^52 frames")]
        let missing = sent.saturating_sub(arrived) as f64;
        let samples = vec![(lost.name, missing), (apply.name, took.as_secs_f64())];
        Ok(Yield { samples, disturbed: None })
    }
}
