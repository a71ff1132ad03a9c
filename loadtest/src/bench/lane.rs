//! One contender on its stage: warming it up, and measuring what arrives.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use halfspace_testbed::{Interrupt, Testbed, wait_until};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::contender::{Contender, Gateway};
use super::core::CoreTime;
use super::halfspace;
use super::topology::{PORT, SERVER_PORT, Topology};
use crate::error::Error;
use crate::generator::Generator;
use crate::sink::Sink;

/// Frames a second while flows are being set up: every gateway can do that.
const WARM_UP_RATE: u32 = 50_000;

/// How often every flow gets a slow frame until all arrive.
const WARM_UP_PASSES: u32 = 5;

/// How long the last frames of a pass may take.
const WARM_UP_PATIENCE: Duration = Duration::from_millis(500);

/// The generator runs that long before the first counter is read.
const RAMP: Duration = Duration::from_millis(500);

/// The core that the generator keeps, and with it, in veth's NAPI, gateway and sink.
const GENERATOR_CORE: usize = 0;

/// A contender that is set up. Fields are in the order in which they must go.
pub struct Lane {
    generators: Vec<(u32, Generator)>,
    sink: Sink,
    gateway: Gateway,
    topology: Topology,
}

/// What one round of one contender gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Frames that arrived as they should, a second, in millions.
    pub mpps: f64,
    /// Share of the frames sent that did not arrive.
    pub lost: f64,
    /// Share of the generator's core that something else took.
    pub disturbed: f64,
}

impl Lane {
    /// Sets a contender up for each number of flows.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from taking part.
    pub fn set_up(
        contender: Contender,
        bed: &Testbed,
        flow_counts: &[u32],
        options: &halfspace::Options,
    ) -> Result<Self, Error> {
        let topology = Topology::lay(bed, &contender.name().replace('_', "-"))?;
        let gateway = contender.set_up(bed, &topology, options)?;
        let sink = Sink::attach(&topology.sink, PORT, SERVER_PORT, gateway.sources)?;
        let output = topology.generator.link_index(PORT)?;
        let generators = flow_counts
            .iter()
            .map(|flows| Ok((*flows, Generator::load(&topology.plan(*flows)?, output)?)))
            .collect::<Result<_, Error>>()?;
        Ok(Self { generators, sink, gateway, topology })
    }

    /// What was tuned, and what could not be.
    pub fn notes(&self) -> &[String] {
        &self.gateway.notes
    }

    /// One round: slow passes over all flows until all of them get through, then as fast as it
    /// goes for `duration`. Nothing if interrupted.
    ///
    /// # Errors
    ///
    /// [`Error::WarmUp`], [`Error::Broken`], or what failed.
    pub fn round(
        &self,
        flows: u32,
        duration: Duration,
        interrupt: &Interrupt,
    ) -> Result<Option<Sample>, Error> {
        let generator = self
            .generators
            .iter()
            .find_map(|(planned, generator)| (*planned == flows).then_some(generator))
            .ok_or_else(|| Error::Missing(format!("no plan for {flows} flows")))?;
        let before = self.sink.read()?;
        self.warm_up(generator, flows, interrupt)?;
        let sample = self.measure(generator, duration, interrupt)?;
        let counted = self.sink.read()? - before;
        if counted.broken() > 0 {
            return Err(Error::Broken(counted));
        }
        Ok(sample.filter(|_| !interrupt.is_raised()))
    }

    fn warm_up(
        &self,
        generator: &Generator,
        flows: u32,
        interrupt: &Interrupt,
    ) -> Result<(), Error> {
        let mut arrived = 0;
        for _ in 0..WARM_UP_PASSES {
            let before = self.sink.read()?.valid;
            self.topology.generator.enter(|| {
                pin()?;
                generator.trickle(flows, WARM_UP_RATE, || interrupt.is_raised())
            })??;
            // Not all in time is no error yet: the gateway may still be resolving neighbours.
            let all = || self.sink.read().is_ok_and(|now| now.valid - before == u64::from(flows));
            let complete = wait_until(WARM_UP_PATIENCE, "all frames", all).is_ok();
            if complete || interrupt.is_raised() {
                return Ok(());
            }
            arrived = self.sink.read()?.valid - before;
        }
        Err(Error::WarmUp { flows, arrived, passes: WARM_UP_PASSES })
    }

    fn measure(
        &self,
        generator: &Generator,
        duration: Duration,
        interrupt: &Interrupt,
    ) -> Result<Option<Sample>, Error> {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let flood = || -> Result<(), Error> {
                self.topology.generator.enter(|| {
                    pin()?;
                    generator.flood(|| done.load(Ordering::Relaxed) || interrupt.is_raised())
                })?
            };
            let flood = scope.spawn(flood);
            interrupt.sleep(RAMP);
            let readings = self.read(generator).and_then(|first| {
                interrupt.sleep(duration);
                Ok((first, self.read(generator)?))
            });
            done.store(true, Ordering::Relaxed);
            let halted = generator.halt();
            match flood.join() {
                Ok(flooded) => flooded?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
            halted?;
            let (first, last) = readings?;
            Ok(sample(&first, &last))
        })
    }

    fn read(&self, generator: &Generator) -> Result<Reading, Error> {
        let core = CoreTime::read(GENERATOR_CORE);
        let (sent, valid) = (generator.sent()?, self.sink.read()?.valid);
        Ok(Reading { sent, valid, at: Instant::now(), core })
    }
}

/// Both ends at one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    sent: u64,
    valid: u64,
    at: Instant,
    core: CoreTime,
}

/// Nothing if nothing was sent between the two.
#[expect(clippy::cast_precision_loss, reason = "a run sends far less than 2^52 frames")]
fn sample(first: &Reading, last: &Reading) -> Option<Sample> {
    let seconds = last.at.duration_since(first.at).as_secs_f64();
    let (sent, valid) = ((last.sent - first.sent) as f64, (last.valid - first.valid) as f64);
    (sent > 0.0 && seconds > 0.0).then(|| Sample {
        mpps: valid / seconds / 1e6,
        // Frames under way at the readings can make it come out a hair below zero.
        lost: (1.0 - valid / sent).max(0.0),
        disturbed: last.core.disturbed_since(first.core),
    })
}

/// Keeps the calling thread on the generator's core.
fn pin() -> Result<(), Error> {
    let mut cores = CpuSet::new();
    cores.set(GENERATOR_CORE).and_then(|()| sched_setaffinity(Pid::from_raw(0), &cores)).map_err(
        |errno| Error::System { action: "keep the generator on one core", source: errno.into() },
    )
}

#[cfg(test)]
mod tests {
    use halfspace_testbed::{Requirement, ready};

    use super::*;

    const NEEDS: [Requirement; 5] = [
        Requirement::Root,
        Requirement::Bpf,
        Requirement::Program("ip"),
        Requirement::Program("ethtool"),
        Requirement::Program("nft"),
    ];

    /// Every frame of every flow arrives valid: with its payload and checksums, and from the
    /// clients' addresses or, behind a NAT, from the gateway's.
    #[test]
    fn peers_let_every_flow_through_unbroken() {
        if !ready(&NEEDS) {
            return;
        }
        let options = halfspace::Options { binary: "none".into(), flows: 0 };
        for contender in [Contender::Raw, Contender::Kernel, Contender::Nft] {
            let bed = Testbed::new("lane").unwrap();
            let lane = Lane::set_up(contender, &bed, &[1, 1000], &options).unwrap();
            for flows in [1, 1000] {
                let (_, generator) = lane.generators.iter().find(|(n, _)| *n == flows).unwrap();
                lane.warm_up(generator, flows, &Interrupt::default()).unwrap();
            }
            let counters = lane.sink.read().unwrap();
            assert_eq!(counters.broken(), 0, "{}: {counters:?}", contender.name());
            assert!(counters.valid >= 1001 && counters.bytes == 60 * counters.valid);
        }
    }

    #[test]
    fn both_ends_answer_a_gateway_that_resolves_its_neighbours() {
        if !ready(&[&NEEDS[..], &[Requirement::Program("ping")]].concat()) {
            return;
        }
        let bed = Testbed::new("ends").unwrap();
        let options = halfspace::Options { binary: "none".into(), flows: 0 };
        let lane = Lane::set_up(Contender::Kernel, &bed, &[1], &options).unwrap();
        lane.topology.gateway.ip(["neighbour flush dev outside"]).unwrap();
        for address in ["10.1.0.128", "10.1.0.200", "203.0.113.2"] {
            lane.topology.gateway.run(["ping", "-c1", "-W2", address]).unwrap();
        }
    }

    #[test]
    fn frames_from_a_wrong_address_do_not_count_as_arrived() {
        if !ready(&NEEDS) {
            return;
        }
        let bed = Testbed::new("source").unwrap();
        let options = halfspace::Options { binary: "none".into(), flows: 0 };
        let lane = Lane::set_up(Contender::Nft, &bed, &[10], &options).unwrap();
        lane.topology.gateway.run(["nft", "flush", "ruleset"]).unwrap();
        let error = lane.round(10, Duration::from_millis(10), &Interrupt::default()).unwrap_err();
        assert!(matches!(error, Error::WarmUp { arrived: 0, .. }), "{error}");
        assert_eq!(lane.sink.read().unwrap().bad_source, 10 * u64::from(WARM_UP_PASSES));
    }

    #[test]
    fn a_contender_that_is_not_there_is_missing() {
        if !ready(&NEEDS) {
            return;
        }
        let bed = Testbed::new("missing").unwrap();
        let options = halfspace::Options { binary: "/nonexistent/halfspace".into(), flows: 0 };
        let error = Lane::set_up(Contender::HalfspaceXdp, &bed, &[1], &options).err().unwrap();
        assert!(matches!(error, Error::Missing(_)), "{error}");
        assert!(error.to_string().contains("/nonexistent/halfspace"), "{error}");
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
    }
}
