//! One contender between a generator of raw frames and a sink: warming it up, and measuring what
//! arrives.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use halfspace_testbed::{Interrupt, wait_until};

use super::core::{CoreTime, keep_on};
use super::gateways::Gateway;
use super::scenario::{Contender, Step, Turn, Yield};
use super::topology::{Direction, PORT, SERVER_PORT, Topology};
use crate::error::Error;
use crate::frames::generator::Generator;
use crate::frames::sender::Order;
use crate::frames::sink::Sink;

/// Least and most frames a second while flows are being set up. A pass over many flows should not
/// take much longer than one over few; what a slow path cannot take is sent again.
const WARM_UP_RATE: (u32, u32) = (50_000, 500_000);

/// How long a pass over any number of flows should take.
const WARM_UP_PASS: Duration = Duration::from_millis(250);

/// Passes in a row that may bring no more flows through than those before, each slower than the
/// last, until the contender is given up.
const WARM_UP_STALLS: u32 = 5;

/// How long the last frames of a pass may take.
const WARM_UP_PATIENCE: Duration = Duration::from_millis(500);

/// How long all passes together may take; with millions of flows so long for each.
const WARM_UP_LIMIT: Duration = Duration::from_secs(30);
const WARM_UP_LIMIT_PER_FLOW: Duration = Duration::from_micros(20);

/// The core that the generator keeps, and with it, in veth's NAPI, gateway and sink.
const GENERATOR_CORE: usize = 0;

/// A contender that is set up. Fields are in the order in which they must go.
pub struct Lane {
    loads: Vec<Load>,
    sink: Sink,
    gateway: Gateway,
    topology: Topology,
    direction: Direction,
}

/// What is sent in a step.
struct Load {
    step: &'static str,
    flows: u32,
    generator: Generator,
    /// Whether all flows were seen to pass. They stay: gateways are told to keep them long enough.
    warm: bool,
}

impl Lane {
    /// Puts a gateway between generators and a sink. `loads` names the steps that it takes part
    /// in and their numbers of flows; in each, the first measure is the rate in Mpps and the second
    /// the share of lost frames.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`], [`Error::Testbed`].
    pub fn new(
        topology: Topology,
        gateway: Gateway,
        direction: Direction,
        loads: &[(&'static str, u32)],
    ) -> Result<Self, Error> {
        let end = topology.destination(direction);
        let sink = Sink::attach(end, PORT, SERVER_PORT, gateway.sources)?;
        let output = topology.source(direction).link_index(PORT)?;
        let loads = loads
            .iter()
            .map(|(step, flows)| {
                let plan = topology.plan(direction, *flows)?;
                let generator = Generator::load(&plan, output)?;
                Ok(Load { step, flows: *flows, generator, warm: false })
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self { loads, sink, gateway, topology, direction })
    }

    /// Whether it takes part in a step.
    pub fn takes(&self, step: &Step) -> bool {
        self.loads.iter().any(|load| load.step == step.name)
    }

    /// Slow passes over all flows of a step until all of them get through.
    ///
    /// # Errors
    ///
    /// [`Error::WarmUp`] if they do not, or what failed.
    pub fn warm_up(&self, step: &str, interrupt: &Interrupt) -> Result<(), Error> {
        let Load { flows, generator, .. } = self.load(step)?;
        let (least, most) = WARM_UP_RATE;
        let begun = Instant::now();
        let limit = WARM_UP_LIMIT.max(WARM_UP_LIMIT_PER_FLOW * *flows);
        let mut rate = (flows / WARM_UP_PASS.as_millis() as u32 * 1000).clamp(least, most);
        let (mut arrived, mut stalls, mut passes) = (0, 0, 0);
        while stalls < WARM_UP_STALLS && begun.elapsed() < limit {
            let before = self.sink.read()?.valid;
            self.topology.source(self.direction).enter(|| {
                keep_on(&[GENERATOR_CORE])?;
                generator.trickle(*flows, rate, || interrupt.is_raised())
            })??;
            // Not all in time is no error yet: the gateway may still be resolving neighbours, or
            // setting up flows.
            let all = || {
                let now = self.sink.read();
                now.is_ok_and(|now| now.valid - before == u64::from(*flows))
            };
            let complete = wait_until(WARM_UP_PATIENCE, "all frames", all).is_ok();
            if complete || interrupt.is_raised() {
                return Ok(());
            }
            let now = self.sink.read()?.valid - before;
            if now <= arrived {
                stalls += 1;
                rate = (rate / 2).max(least);
            }
            arrived = now;
            passes += 1;
        }
        Err(Error::WarmUp { flows: *flows, arrived, passes })
    }

    /// Lets a step's generator send as fast as it goes, flows in turn without end, while `watch`
    /// looks on, and halts it then.
    ///
    /// # Errors
    ///
    /// Whatever failed on either side.
    pub fn flood<R>(
        &self,
        step: &str,
        interrupt: &Interrupt,
        watch: impl FnOnce() -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.send(step, interrupt, |generator, stop| generator.flood(stop), watch)
    }

    /// The same with one frame of each flow, from the first on.
    ///
    /// # Errors
    ///
    /// Whatever failed on either side.
    pub fn pass<R>(
        &self,
        step: &str,
        interrupt: &Interrupt,
        watch: impl FnOnce() -> Result<R, Error>,
    ) -> Result<R, Error> {
        let order = Order::pass(0, self.load(step)?.flows);
        self.send(step, interrupt, |generator, stop| generator.obey(&order, stop), watch)
    }

    /// The same with all flows in turn, without end, so many frames a second.
    ///
    /// # Errors
    ///
    /// Whatever failed on either side.
    pub fn pace<R>(
        &self,
        step: &str,
        rate: f64,
        interrupt: &Interrupt,
        watch: impl FnOnce() -> Result<R, Error>,
    ) -> Result<R, Error> {
        let order = Order::endless(self.load(step)?.flows).at(rate);
        self.send(step, interrupt, |generator, stop| generator.obey(&order, stop), watch)
    }

    /// The same with flows in turn without end, at most `rate` frames a second.
    ///
    /// # Errors
    ///
    /// Whatever failed on either side.
    pub fn trickle<R>(
        &self,
        step: &str,
        rate: f64,
        interrupt: &Interrupt,
        watch: impl FnOnce() -> Result<R, Error>,
    ) -> Result<R, Error> {
        let order = Order::endless(self.load(step)?.flows).at(rate);
        self.send(step, interrupt, |generator, stop| generator.obey(&order, stop), watch)
    }

    fn send<R>(
        &self,
        step: &str,
        interrupt: &Interrupt,
        work: impl FnOnce(&Generator, &dyn Fn() -> bool) -> Result<(), Error> + Send,
        watch: impl FnOnce() -> Result<R, Error>,
    ) -> Result<R, Error> {
        let generator = &self.load(step)?.generator;
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sending = || -> Result<(), Error> {
                self.topology.source(self.direction).enter(|| {
                    keep_on(&[GENERATOR_CORE])?;
                    work(generator, &|| done.load(Ordering::Relaxed) || interrupt.is_raised())
                })?
            };
            let sending = scope.spawn(sending);
            let watched = watch();
            done.store(true, Ordering::Relaxed);
            let halted = generator.halt();
            match sending.join() {
                Ok(sent) => sent?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
            halted?;
            watched
        })
    }

    /// Looks at both ends.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`], [`Error::Broken`] if frames arrived that were never sent, and
    /// [`Error::Ended`] if the gateway's process is gone.
    pub fn read(&self, step: &str) -> Result<Reading, Error> {
        self.gateway.check()?;
        let core = CoreTime::read(GENERATOR_CORE);
        let (sent, counted) = (self.load(step)?.generator.sent()?, self.sink.read()?);
        if counted.broken() > 0 {
            return Err(Error::Broken(counted));
        }
        Ok(Reading { sent, valid: counted.valid, at: Instant::now(), core })
    }

    /// Where it is set up.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    fn load(&self, step: &str) -> Result<&Load, Error> {
        let load = self.loads.iter().find(|load| load.step == step);
        load.ok_or_else(|| Error::Missing(format!("there is no plan for {step}")))
    }
}

impl Contender for Lane {
    fn notes(&self) -> &[String] {
        &self.gateway.notes
    }

    fn round(&mut self, step: &Step, turn: &Turn<'_>) -> Result<Yield, Error> {
        let [rate, loss] = step.measures else {
            return Err(Error::Missing(format!("{} is no step of a lane", step.name)));
        };
        if !self.load(step.name)?.warm {
            self.warm_up(step.name, turn.interrupt)?;
            for load in self.loads.iter_mut().filter(|load| load.step == step.name) {
                load.warm = true;
            }
        }
        let (before, after) = self.flood(step.name, turn.interrupt, || {
            turn.interrupt.sleep(turn.ramp);
            let first = self.read(step.name)?;
            turn.interrupt.sleep(turn.duration);
            Ok((first, self.read(step.name)?))
        })?;
        let Some(sample) = sample(&before, &after) else { return Ok(Yield::default()) };
        Ok(Yield {
            samples: vec![(rate.name, sample.mpps), (loss.name, sample.lost)],
            disturbed: Some(after.core.disturbed_since(before.core)),
        })
    }
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    /// Frames that arrived as they should, a second, in millions.
    mpps: f64,
    /// Share of the frames sent that did not arrive.
    lost: f64,
}

/// Both ends at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Frames sent.
    pub sent: u64,
    /// Frames that arrived as they should.
    pub valid: u64,
    /// When.
    pub at: Instant,
    /// What the generator's core has been doing.
    pub core: CoreTime,
}

impl Reading {
    /// The share of the frames sent since `earlier` that did not arrive.
    #[expect(clippy::cast_precision_loss, reason = "a run sends far less than 2^52 frames")]
    pub fn lost_since(&self, earlier: &Self) -> f64 {
        let (sent, valid) = (self.sent - earlier.sent, self.valid - earlier.valid);
        // Frames under way at the readings can make it come out a hair below zero.
        if sent == 0 { 0.0 } else { (1.0 - valid as f64 / sent as f64).max(0.0) }
    }
}

/// Nothing if nothing arrived between the two.
#[expect(clippy::cast_precision_loss, reason = "a run sends far less than 2^52 frames")]
fn sample(first: &Reading, last: &Reading) -> Option<Sample> {
    let seconds = last.at.duration_since(first.at).as_secs_f64();
    let (sent, valid) = ((last.sent - first.sent) as f64, (last.valid - first.valid) as f64);
    (sent > 0.0 && valid > 0.0 && seconds > 0.0)
        .then(|| Sample { mpps: valid / seconds / 1e6, lost: last.lost_since(first) })
}

#[cfg(test)]
mod tests {
    use halfspace_testbed::{Requirement, Testbed, ready};

    use super::*;
    use crate::bench::gateways::kernel;

    const NEEDS: [Requirement; 5] = [
        Requirement::Root,
        Requirement::Bpf,
        Requirement::Program("ip"),
        Requirement::Program("ethtool"),
        Requirement::Program("nft"),
    ];

    fn lane(
        bed: &Testbed,
        gateways: usize,
        gateway: impl FnOnce(&Testbed, &Topology) -> Result<Gateway, Error>,
    ) -> Lane {
        let topology = Topology::lay(bed, "test", gateways).unwrap();
        let gateway = gateway(bed, &topology).unwrap();
        let loads = [("one", 1), ("many", 1000)];
        Lane::new(topology, gateway, Direction::Outward, &loads).unwrap()
    }

    type SetUp = fn(&Testbed, &Topology) -> Result<Gateway, Error>;

    /// Every frame of every flow arrives valid: with its payload and checksums, and from the
    /// hosts' addresses or, behind a NAT, from the gateway's.
    #[test]
    fn peers_let_every_flow_through_unbroken() {
        if !ready(&NEEDS) {
            return;
        }
        let peers: [(usize, SetUp); 4] = [
            (1, |_, topology| Gateway::relay(topology)),
            (1, |_, topology| kernel::forwarding(topology)),
            (1, kernel::masquerade),
            (2, kernel::masquerade_twice),
        ];
        for (number, (gateways, set_up)) in peers.into_iter().enumerate() {
            let bed = Testbed::new("lane").unwrap();
            let lane = lane(&bed, gateways, set_up);
            for step in ["one", "many"] {
                lane.warm_up(step, &Interrupt::default()).unwrap();
            }
            let counters = lane.sink.read().unwrap();
            assert_eq!(counters.broken(), 0, "{number}: {counters:?}");
            assert!(counters.valid >= 1001 && counters.bytes == 60 * counters.valid);
        }
    }

    #[test]
    fn both_ends_answer_a_gateway_that_resolves_its_neighbours() {
        if !ready(&[&NEEDS[..], &[Requirement::Program("ping")]].concat()) {
            return;
        }
        let bed = Testbed::new("ends").unwrap();
        let lane = lane(&bed, 1, |_, topology| kernel::forwarding(topology));
        lane.topology.gateway().ip(["neighbour flush dev outside"]).unwrap();
        for address in ["10.1.0.128", "10.1.0.200", "203.0.113.2"] {
            lane.topology.gateway().run(["ping", "-c1", "-W2", address]).unwrap();
        }
    }

    #[test]
    fn frames_from_a_wrong_address_do_not_count_as_arrived() {
        if !ready(&NEEDS) {
            return;
        }
        let bed = Testbed::new("source").unwrap();
        let lane = lane(&bed, 1, kernel::masquerade);
        lane.topology.gateway().run(["nft", "flush", "ruleset"]).unwrap();
        let error = lane.warm_up("many", &Interrupt::default()).unwrap_err();
        assert!(matches!(error, Error::WarmUp { arrived: 0, .. }), "{error}");
        let bad_source = lane.sink.read().unwrap().bad_source;
        assert_eq!(bad_source, 1000 * u64::from(WARM_UP_STALLS));
    }

    #[test]
    fn a_sample_is_what_arrived_over_the_time_between_the_readings() {
        let at = Instant::now();
        let core = CoreTime::default();
        let first = Reading { sent: 1_000, valid: 900, at, core };
        let at = at + Duration::from_secs(2);
        let last = Reading { sent: 5_001_000, valid: 4_000_900, at, core };
        let sample = sample(&first, &last).unwrap();
        assert!((sample.mpps - 2.0).abs() < 1e-9 && (sample.lost - 0.2).abs() < 1e-9, "{sample:?}");
        assert_eq!(super::sample(&first, &first), None);
        // All lost is no rate of zero: the gateway is not there.
        assert_eq!(super::sample(&first, &Reading { valid: first.valid, ..last }), None);
    }
}
