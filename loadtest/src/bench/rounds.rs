//! Running scenarios: contenders are set up side by side and take turns.

use std::time::Duration;

use halfspace_testbed::{Interrupt, Testbed, missing};

use super::samples::{Absence, Samples};
use super::scenario::{Contender, Entry, Scenario, Site, Step, Turn};
use crate::error::Error;
use crate::explain;
use crate::output::Progress;

/// How to measure, and whom.
pub struct Plan<'a> {
    /// Rounds.
    pub rounds: u32,
    /// How each round is done.
    pub turn: Turn<'a>,
    /// Whether it is to be over soon.
    pub quick: bool,
    /// Names of the only contenders to measure; empty means all.
    pub contenders: &'a [String],
    /// The `halfspace` binary.
    pub halfspace: &'a std::path::Path,
}

/// A contender that made it to the start.
struct Runner<'a> {
    entry: &'static Entry,
    contender: Box<dyn Contender + 'a>,
}

impl Plan<'_> {
    /// Runs one scenario to its end, or to an interrupt. What was tuned goes to `tunings`.
    ///
    /// # Errors
    ///
    /// [`Error::Testbed`] if there is no place for it. A contender that fails is noted as missing
    /// and the others go on.
    pub fn run(
        &self,
        scenario: &'static Scenario,
        samples: &mut Samples,
        tunings: &mut Vec<String>,
    ) -> Result<(), Error> {
        let steps: Vec<_> =
            scenario.steps.iter().filter(|step| step.quick || !self.quick).collect();
        let bed = Testbed::new(&scenario.name.replace('_', "-"))?;
        let site = Site { bed: &bed, halfspace: self.halfspace };
        let mut runners = self.set_up(scenario, &steps, site, samples);
        for runner in &runners {
            for note in runner.contender.notes() {
                let note = format!("{}: {note}", runner.entry.title);
                if !tunings.contains(&note) {
                    tunings.push(note);
                }
            }
        }
        self.take_turns(scenario, &steps, &mut runners, samples);
        Ok(())
    }

    fn set_up<'a>(
        &self,
        scenario: &'static Scenario,
        steps: &[&'static Step],
        site: Site<'a>,
        samples: &mut Samples,
    ) -> Vec<Runner<'a>> {
        let asked_for = |entry: &&Entry| {
            self.contenders.is_empty() || self.contenders.iter().any(|it| it == entry.name)
        };
        let mut runners = Vec::new();
        for entry in scenario.contenders.iter().filter(asked_for) {
            if self.turn.interrupt.is_raised() {
                break;
            }
            let ready = match missing(entry.needs).first() {
                Some(lack) => Err(Absence::Lacking(lack.to_string())),
                None => (entry.set_up)(site).map_err(|error| Absence::Failed(explain(&error))),
            };
            match ready {
                Ok(contender) => runners.push(Runner { entry, contender }),
                // Of one that was interrupted nobody knows whether it would have made it.
                Err(_) if self.turn.interrupt.is_raised() => break,
                Err(why) => {
                    for step in steps.iter().filter(|step| entry.steps.contains(&step.name)) {
                        samples.drop_out(step, entry, why.clone());
                    }
                }
            }
        }
        runners
    }

    fn take_turns(
        &self,
        scenario: &'static Scenario,
        steps: &[&'static Step],
        runners: &mut [Runner<'_>],
        samples: &mut Samples,
    ) {
        let turns: usize = runners
            .iter()
            .map(|runner| steps.iter().filter(|it| runner.entry.steps.contains(&it.name)).count())
            .sum();
        let bar = Progress::of_steps(u64::from(self.rounds) * turns as u64);
        let mut out = Vec::new();
        for round in 1..=self.rounds {
            for step in steps {
                for Runner { entry, contender } in &mut *runners {
                    if !entry.steps.contains(&step.name) {
                        continue;
                    }
                    if self.turn.interrupt.is_raised() {
                        return;
                    }
                    bar.step();
                    if out.contains(&(step.name, entry.name)) {
                        continue;
                    }
                    bar.say(format!("round {round}: {}: {}", scenario.title, entry.title));
                    let given = contender.round(step, &self.turn);
                    // Whatever was interrupted counts neither as done nor as failed.
                    if self.turn.interrupt.is_raised() {
                        return;
                    }
                    let reason = match given {
                        Ok(given) if given.samples.is_empty() => "nothing arrived".to_owned(),
                        Ok(given) if !given.samples.iter().all(|(_, it)| it.is_finite()) => {
                            "there was nothing to divide by".to_owned()
                        }
                        Ok(given) => {
                            samples.add(step, entry, given);
                            continue;
                        }
                        Err(error) => explain(&error),
                    };
                    samples.drop_out(step, entry, Absence::Failed(reason));
                    out.push((step.name, entry.name));
                }
            }
        }
    }
}

impl<'a> Turn<'a> {
    /// How the rounds of a run are done.
    pub fn new(duration: Duration, interrupt: &'a Interrupt) -> Self {
        // A generator needs some time to get to its full speed.
        let ramp = (duration / 2).clamp(Duration::from_millis(200), Duration::from_millis(500));
        Self { duration, ramp, interrupt }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use halfspace_testbed::{Requirement, ready};

    use super::*;
    use crate::bench::machine::Machine;
    use crate::bench::results::Settings;
    use crate::bench::scenarios;

    const NEEDS: [Requirement; 4] = [
        Requirement::Root,
        Requirement::Bpf,
        Requirement::Program("ip"),
        Requirement::Program("ethtool"),
    ];

    /// Runs one contender of the scenario `nat` once, briefly.
    fn run(contender: &str, interrupt: &Interrupt) -> Samples {
        let scenario = scenarios::ALL.iter().find(|it| it.name == "nat").unwrap();
        let plan = Plan {
            rounds: 2,
            turn: Turn::new(Duration::from_millis(50), interrupt),
            quick: true,
            contenders: &[contender.to_owned()],
            halfspace: Path::new("/nonexistent/halfspace"),
        };
        let mut samples = Samples::default();
        plan.run(scenario, &mut samples, &mut Vec::new()).unwrap();
        samples
    }

    #[test]
    fn a_contender_that_is_not_there_is_missing_from_all_its_steps() {
        if !ready(&NEEDS) {
            return;
        }
        let samples = run("halfspace_tc", &Interrupt::default());
        assert!(samples.is_empty());
        let reasons = samples.reasons();
        // A quick run leaves the other steps out.
        assert_eq!(reasons.len(), 2, "{reasons:?}");
        assert!(reasons[0].starts_with("nat_1, halfspace_tc: there is no /nonexistent/halfspace"));
        assert!(reasons[1].starts_with("nat_50k, halfspace_tc: "), "{reasons:?}");
    }

    #[test]
    fn every_round_of_every_step_yields_its_figures() {
        if !ready(&NEEDS) {
            return;
        }
        let samples = run("kernel", &Interrupt::default());
        let results = samples.results(Machine::default(), Settings::default());
        for step in ["nat_1", "nat_50k"] {
            let figures = &results.rounds[&format!("{step}_kernel")];
            assert_eq!(figures.len(), 2);
            assert!(figures.iter().all(|mpps| *mpps > 0.0), "{figures:?}");
        }
        assert_eq!(results.missing.len(), 0);
    }
}
