//! The control side's heart: what it shares, and the one loop that makes the gateway follow the
//! resource document and the interfaces.
//!
//! Everything that changes the desired state or the ports happens in [`Follower::run`], one thing
//! after the other. API and metrics read what it last published in [`Shared`]; only environments
//! are attached and detached beside it, and they keep out of each other's way by themselves.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::config::NodeConfig;
use crate::environments::{self, Environments};
use crate::flow_logs::{FlowLogs, since_1970};
use crate::functions;
use crate::links::Watch;
use crate::ports::Ports;
use crate::resources::Resources;
use crate::worker;

/// Interfaces come and go by the hundred. What happens within this time is dealt with at once.
const LINKS_PAUSE: Duration = Duration::from_millis(20);

/// What API, metrics and the follower share.
pub struct Shared {
    /// Takes jobs.
    pub worker: worker::Handle,
    /// Attached and detached at run time.
    pub environments: Environments,
    /// Names of the functions that flows pass.
    pub functions: functions::Names,
    /// What stays the same.
    pub facts: Facts,
    /// What the follower last saw.
    pub report: ArcSwap<Report>,
    ready: AtomicBool,
}

/// What stays the same as long as the process runs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// `ebpf` or `userspace`.
    pub datapath: &'static str,
    /// Why this one.
    pub datapath_why: String,
    /// When the process started.
    pub started: (Instant, SystemTime),
    /// Where records of flows go.
    pub flow_logs: Arc<FlowLogs>,
}

/// What the follower last saw.
#[derive(Clone, Debug)]
pub struct Report {
    /// The resource document.
    pub resources: Resources,
    /// The ports it wants.
    pub ports: Ports,
}

impl Shared {
    /// Everything, not yet ready.
    #[must_use]
    pub fn new(
        worker: worker::Handle,
        environments: Environments,
        functions: functions::Names,
        facts: Facts,
        report: Report,
    ) -> Self {
        let report = ArcSwap::from_pointee(report);
        let ready = AtomicBool::new(false);
        Self { worker, environments, functions, facts, report, ready }
    }

    /// Why the gateway is not ready for traffic, if it is not: a wanted port that exists cannot be
    /// attached, or flows of an earlier process have not all been looked at. Once ready it stays
    /// so: a later change of the desired state is no reason to take a working gateway out of
    /// service.
    ///
    /// # Errors
    ///
    /// [`worker::Stopped`]
    pub async fn unready(&self) -> Result<Option<String>, worker::Stopped> {
        let settled = self.worker.call(|worker, _| worker.engine.is_settled()).await?;
        if self.ready.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let report = self.report.load();
        if let Some((name, why)) = report.ports.failed().next() {
            return Ok(Some(format!("port {name} is not attached: {why}")));
        }
        if !settled {
            return Ok(Some("flows are still being looked at".to_owned()));
        }
        self.ready.store(true, Ordering::Relaxed);
        Ok(None)
    }
}

/// Makes the gateway follow its resource document and the interfaces.
pub struct Follower {
    shared: Arc<Shared>,
    config: Arc<NodeConfig>,
    watch: Watch,
    hang_up: Signal,
    current: Report,
    ready: bool,
}

/// What the follower was woken by.
enum Woken {
    Beat,
    HangUp,
    Links,
}

impl Follower {
    /// Goes on from the report that `shared` begins with.
    ///
    /// # Errors
    ///
    /// If SIGHUP cannot be caught, or outside a tokio runtime.
    pub fn new(
        shared: Arc<Shared>,
        config: Arc<NodeConfig>,
        watch: Watch,
    ) -> std::io::Result<Self> {
        let hang_up = signal(SignalKind::hangup())?;
        let current = Report::clone(&shared.report.load());
        Ok(Self { shared, config, watch, hang_up, current, ready: false })
    }

    /// Follows until the worker stops.
    pub async fn run(mut self) -> worker::Stopped {
        let mut beat = interval(self.config.refresh());
        // After a pause, such as a suspended machine, one beat is as good as many.
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let woken = tokio::select! {
                _ = beat.tick() => Woken::Beat,
                // Without a signal stream any more, the beat alone has to do.
                Some(()) = self.hang_up.recv() => Woken::HangUp,
                woken = links_changed(&mut self.watch) => woken,
            };
            if let Err(stopped) = self.follow(&woken).await {
                return stopped;
            }
        }
    }

    async fn follow(&mut self, woken: &Woken) -> Result<(), worker::Stopped> {
        if !matches!(woken, Woken::Links) {
            if matches!(woken, Woken::HangUp) {
                tracing::info!("SIGHUP: reading the resource document");
            }
            if self.current.resources.reload().await {
                self.apply_snapshot().await?;
            }
            self.publish();
            if let Err(error) = self.watch.refresh().await {
                tracing::error!(%error, "cannot list interfaces");
            }
        }
        self.follow_links().await?;
        self.publish();
        if !self.ready && self.shared.unready().await?.is_none() {
            self.ready = true;
            tracing::info!("ready");
        }
        Ok(())
    }

    fn publish(&self) {
        self.shared.report.store(Arc::new(self.current.clone()));
    }

    async fn apply_snapshot(&self) -> Result<(), worker::Stopped> {
        let snapshot = self.current.resources.in_force().clone();
        let generation = snapshot.generation().0;
        self.shared.facts.flow_logs.follow(&snapshot);
        self.shared
            .worker
            .call(move |worker, now| {
                let worker::Worker { engine, datapath } = worker;
                engine.flow_logs_mut().set_wall_clock(now, since_1970());
                engine.apply_snapshot(now, &snapshot, datapath.fast_path());
            })
            .await?;
        tracing::info!(generation, "a new desired state is in force");
        Ok(())
    }

    async fn follow_links(&mut self) -> Result<(), worker::Stopped> {
        let links = self.watch.links();
        let snapshot = self.current.resources.in_force();
        let plan = self.current.ports.plan(snapshot, links);
        let outcome = if plan.is_empty() {
            plan.outcome_of_nothing()
        } else {
            self.shared.worker.call(move |worker, now| plan.carry_out(worker, now)).await?
        };
        self.current.ports.take_over(outcome);
        self.current.ports.observe(links);
        match self.shared.environments.follow(&self.shared.worker, links, snapshot).await {
            Err(environments::Error::Stopped(stopped)) => Err(stopped),
            // Whatever is wrong with one of them has been logged.
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

async fn links_changed(watch: &mut Watch) -> Woken {
    match watch.changed().await {
        Ok(()) => {
            sleep(LINKS_PAUSE).await;
            Woken::Links
        }
        Err(error) => {
            // The beat lists all interfaces anyway.
            tracing::error!(%error, "cannot follow changes of interfaces");
            pending().await
        }
    }
}
