//! One trial, and what all trials share.

use std::time::{Duration, Instant};

use halfspace_testbed::Interrupt;
use serde::Serialize;

use super::command;
use super::options::Arguments;
use crate::error::Error;
use crate::frames::build::TcpFlags;
use crate::frames::place::Namespace;
use crate::frames::sender::Order;
use crate::frames::sink::Tracking;
use crate::frames::stage::{Needs, Stage};
use crate::frames::{MIN_FRAME, Protocol, Sizes};
use crate::output::{Progress, human};

/// How often the gateway is asked how many connections it has left.
const BEAT: Duration = Duration::from_millis(10);

/// A trial's result.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// Connections.
    pub connections: u32,
    /// Rate that was asked for, a second.
    pub asked_per_second: f64,
    /// Rate that was reached.
    pub reached_per_second: f64,
    /// First frames that arrived.
    pub arrived: u64,
    /// Connections whose answer reached its client.
    pub validated: u64,
}

impl Trial {
    /// Whether every connection was there.
    pub fn is_passed(&self) -> bool {
        self.validated == u64::from(self.connections)
    }
}

/// The stage and what is left of trials and time.
pub struct Bench<'a> {
    pub arguments: &'a Arguments,
    pub stage: Stage,
    pub namespace: Namespace,
    /// Flows that the gateway tracks without ours.
    pub base: u64,
    /// Trials made.
    pub trials: u32,
    interrupt: &'a Interrupt,
    begun: Instant,
    next: u32,
    /// Flows of the last trial, from which number on.
    last: Option<(u32, u32)>,
    progress: Progress,
}

impl<'a> Bench<'a> {
    /// Sets both ends up.
    ///
    /// # Errors
    ///
    /// As [`Stage::open`].
    pub fn open(arguments: &'a Arguments, interrupt: &'a Interrupt) -> Result<Self, Error> {
        let flows = arguments.most_flows();
        let needs = Needs {
            flows,
            // Flows of later trials have later numbers.
            distinct: arguments.stage.distinct(),
            sizes: Sizes::one(MIN_FRAME),
            sample_interval: 0,
            tracking: Tracking::Answerable(flows),
        };
        let stage = Stage::open(&arguments.stage, Some(&arguments.receive), &needs)?;
        let namespace = arguments
            .gateway_namespace
            .as_deref()
            .map_or_else(Namespace::default, Namespace::named);
        let mut bench = Self {
            arguments,
            stage,
            namespace,
            base: 0,
            trials: 0,
            interrupt,
            begun: Instant::now(),
            next: 0,
            last: None,
            progress: Progress::of_time(arguments.max_time),
        };
        bench.base = bench.count()?.unwrap_or(0);
        Ok(bench)
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Why there can be no more trials, if so.
    pub fn exhausted(&self) -> Option<&'static str> {
        if self.interrupt.is_raised() {
            Some("interrupt")
        } else if self.trials >= self.arguments.max_trials {
            Some("max-trials")
        } else if self.begun.elapsed() >= self.arguments.max_time {
            Some("max-time")
        } else {
            None
        }
    }

    /// Whether to stop in the middle of something.
    pub fn stop(&self) -> bool {
        self.interrupt.is_raised() || self.begun.elapsed() >= self.arguments.max_time
    }

    /// Connections that the gateway tracks, if there is a command that tells.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    pub fn count(&self) -> Result<Option<u64>, Error> {
        let line = self.arguments.count_command.as_deref();
        line.map(|line| command::count(&self.namespace, line)).transpose()
    }

    /// Establishes that many connections at a rate, and sees which of them are there.
    ///
    /// # Errors
    ///
    /// What the sender meets, or a command of the user's.
    pub fn trial(&mut self, connections: u32, rate: f64) -> Result<Trial, Error> {
        self.clear()?;
        self.trials += 1;
        let room = self.arguments.stage.distinct();
        if room - self.next < connections {
            self.next = 0;
        }
        let first = self.next;
        self.next += connections;
        self.last = Some((first, connections));
        self.progress.elapsed(self.begun.elapsed());
        self.progress.say(format!(
            "trial {}: {} connections at {}/s",
            self.trials,
            human(connections.into()),
            human(rate)
        ));

        let pass = Order::pass(first, connections);
        // UDP has no flags; SYN asks for a connection in TCP.
        let arrived = self.stage.pass(&pass.at(rate).with(TcpFlags::SYN), || self.stop())?;
        let took = self.stage.took()?.as_secs_f64();
        let answers = pass.at(self.arguments.validation_rate.get()).with(TcpFlags::SYN_ACK);
        let validated = self.stage.answer(&answers, || self.stop())?;
        Ok(Trial {
            connections,
            asked_per_second: rate,
            // Between that many frames there is one interval less.
            reached_per_second: f64::from(connections.max(2) - 1) / took.max(1e-9),
            arrived,
            validated,
        })
    }

    /// Has the gateway forget the last trial's connections, as far as there is a way.
    ///
    /// # Errors
    ///
    /// What the sender meets, or a command of the user's.
    pub fn clear(&mut self) -> Result<(), Error> {
        let Some((first, connections)) = self.last.take() else { return Ok(()) };
        if let Some(line) = &self.arguments.reset_command {
            command::run(&self.namespace, line)?;
        } else if self.stage.plan.protocol == Protocol::Tcp {
            self.reset(first, connections)?;
        }
        self.await_empty(self.arguments.settle)?;
        Ok(())
    }

    /// Resets TCP connections.
    ///
    /// # Errors
    ///
    /// What the sender meets.
    pub fn reset(&self, first: u32, connections: u32) -> Result<(), Error> {
        let rate = self.arguments.validation_rate.get();
        let order = Order::pass(first, connections).at(rate).with(TcpFlags::RST);
        self.stage.send(&order, || self.stop())
    }

    /// The last trial's connections: the first one's number and how many.
    pub fn last(&self) -> Option<(u32, u32)> {
        self.last
    }

    /// Waits until only those connections are left that were there before. How many are left at
    /// each moment, as far as the gateway can be asked.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    pub fn await_empty(&self, patience: Duration) -> Result<Vec<(Duration, u64)>, Error> {
        let begun = Instant::now();
        let mut seen = Vec::new();
        while let Some(count) = self.count()? {
            seen.push((begun.elapsed(), count));
            if count <= self.base || begun.elapsed() >= patience || self.stop() {
                break;
            }
            std::thread::sleep(BEAT);
        }
        Ok(seen)
    }
}
