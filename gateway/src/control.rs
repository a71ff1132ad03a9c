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
use nf_core::vpc::document::UnixTime;
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::actions::{IdSource, Present, Refusal, Request, View};
use crate::config::NodeConfig;
use crate::environments::{self, Environments};
use crate::flow_logs::{FlowLogs, since_1970};
use crate::functions;
use crate::links::Watch;
use crate::ports::Ports;
use crate::resources::{Order, Resources, Task};
use crate::worker;

/// Interfaces come and go by the hundred. What happens within this time is dealt with at once.
const LINKS_PAUSE: Duration = Duration::from_millis(20);

/// From one attempt to end drains to the next, while the document cannot be written.
const DRAINS_PAUSE: Duration = Duration::from_mins(1);

/// Orders that wait for their turn. Who comes later waits to be let in.
const ORDERS: usize = 64;

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
    orders: mpsc::Sender<Waiting>,
    ready: AtomicBool,
}

/// Actions that are to change the document, and who waits for what they answer.
#[derive(Debug)]
struct Waiting {
    requests: Vec<Request>,
    dry_run: bool,
    answer: oneshot::Sender<Result<Vec<Value>, Refusal>>,
}

/// The end of the queue of orders that the follower takes them from.
#[derive(Debug)]
pub struct Orders(mpsc::Receiver<Waiting>);

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
    /// Everything, not yet ready, and what the follower takes orders from.
    #[must_use]
    pub fn new(
        worker: worker::Handle,
        environments: Environments,
        functions: functions::Names,
        facts: Facts,
        report: Report,
    ) -> (Self, Orders) {
        let report = ArcSwap::from_pointee(report);
        let ready = AtomicBool::new(false);
        let (orders, waiting) = mpsc::channel(ORDERS);
        let shared = Self { worker, environments, functions, facts, report, orders, ready };
        (shared, Orders(waiting))
    }

    /// Has actions carried out as one change of the document. It is in force when this returns.
    ///
    /// # Errors
    ///
    /// [`worker::Stopped`]. The inner one: the actions are refused, and nothing has changed.
    pub async fn change(
        &self,
        requests: Vec<Request>,
        dry_run: bool,
    ) -> Result<Result<Vec<Value>, Refusal>, worker::Stopped> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { requests, dry_run, answer };
        self.orders.send(waiting).await.map_err(|_| worker::Stopped)?;
        answered.await.map_err(|_| worker::Stopped)
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

impl Report {
    /// What there is to tell about the resources.
    pub fn tell<T>(&self, tell: impl FnOnce(&View<'_>) -> T) -> T {
        let present = self.ports.attached().map(|port| port.link.name.clone()).collect();
        tell(&View {
            document: self.resources.document(),
            snapshot: self.resources.in_force(),
            present: &present,
        })
    }
}

/// Makes the gateway follow its resource document and the interfaces.
pub struct Follower {
    shared: Arc<Shared>,
    config: Arc<NodeConfig>,
    watch: Watch,
    hang_up: Signal,
    orders: Orders,
    ids: IdSource,
    current: Report,
    ready: bool,
    /// Drains are not ended before.
    drains_pause: Option<Instant>,
}

/// What the follower was woken by.
enum Woken {
    Beat,
    HangUp,
    Links,
    Order(Waiting),
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
        orders: Orders,
        ids: IdSource,
    ) -> std::io::Result<Self> {
        let hang_up = signal(SignalKind::hangup())?;
        let current = Report::clone(&shared.report.load());
        let (ready, drains_pause) = (false, None);
        Ok(Self { shared, config, watch, hang_up, orders, ids, current, ready, drains_pause })
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
                Some(waiting) = self.orders.0.recv() => Woken::Order(waiting),
            };
            let followed = match woken {
                Woken::Order(waiting) => self.carry_out(waiting).await,
                woken => self.follow(&woken).await,
            };
            if let Err(stopped) = followed {
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
            self.end_drains().await?;
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

    /// Carries out an order. Nothing else happens meanwhile, and whoever ordered is told when
    /// packets go by it.
    async fn carry_out(&mut self, waiting: Waiting) -> Result<(), worker::Stopped> {
        let Waiting { requests, dry_run, answer } = waiting;
        // A port may have been made a moment ago, for the very instance that is made now.
        if let Err(error) = self.watch.catch_up().await {
            tracing::error!(%error, "cannot follow changes of interfaces");
        }
        let names: Vec<_> = requests.iter().map(|it| it.action.clone()).collect();
        let answers = self.change(Task::Actions { requests, dry_run }).await?;
        // Also for what the watch has caught up with.
        self.follow_ports().await?;
        self.publish();
        match &answers {
            Ok(_) => tracing::info!(actions = ?names, "carried out"),
            Err(refusal) => {
                tracing::info!(actions = ?names, code = refusal.code, %refusal, "refused");
            }
        }
        // They may have stopped waiting; it is done all the same.
        let _ = answer.send(answers);
        self.follow_environments().await
    }

    /// Has the document changed, and what it says put into force.
    async fn change(&mut self, task: Task) -> Result<Result<Vec<Value>, Refusal>, worker::Stopped> {
        let present: Present = self.watch.links().names().cloned().collect();
        // Each order has a part of the source to itself.
        let order = Order { task, now: now(), present, ids: self.ids.split() };
        let (answers, is_new) = self.current.resources.change(order).await;
        if is_new {
            self.apply_snapshot().await?;
        }
        Ok(answers)
    }

    /// Takes addresses away that have drained by now. A document that is wrong waits for whoever
    /// corrects it.
    async fn end_drains(&mut self) -> Result<(), worker::Stopped> {
        let resources = &self.current.resources;
        let is_due = resources.next_drain_end().is_some_and(|end| end <= now());
        let is_paused = self.drains_pause.is_some_and(|end| Instant::now() < end);
        if !is_due || is_paused || !resources.errors().is_empty() {
            return Ok(());
        }
        self.drains_pause = None;
        match self.change(Task::EndDrains).await? {
            Ok(gone) => {
                for address in gone.iter().filter_map(Value::as_str) {
                    tracing::info!(address, "it has drained, and is taken away");
                }
            }
            Err(refusal) => {
                self.drains_pause = Some(Instant::now() + DRAINS_PAUSE);
                tracing::error!(%refusal, "cannot take away addresses that have drained");
            }
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
        self.follow_ports().await?;
        self.follow_environments().await
    }

    async fn follow_ports(&mut self) -> Result<(), worker::Stopped> {
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
        Ok(())
    }

    async fn follow_environments(&self) -> Result<(), worker::Stopped> {
        let (links, snapshot) = (self.watch.links(), self.current.resources.in_force());
        match self.shared.environments.follow(&self.shared.worker, links, snapshot).await {
            Err(environments::Error::Stopped(stopped)) => Err(stopped),
            // Whatever is wrong with one of them has been logged.
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// The time of day.
fn now() -> UnixTime {
    UnixTime(since_1970().as_secs())
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
