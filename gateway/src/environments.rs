//! Execution environments: attached to a bridge and detached from it while the gateway runs.
//!
//! What is attached is known in three places. The worker's engine has the port, the data path its
//! links, and a small [`record`] in the state directory lets the next process attach the
//! environment again. This file keeps the three together, and is the one that answers who is
//! there.
//!
//! Every id has one slot. An operation takes the slot for itself first, so two requests about
//! one environment never interleave, while those about others run side by side.

mod id;
pub mod record;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::datapath::{AttachError, Attached, HookWish, Linker};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use nf_core::engine::EnvironmentError;
use nf_core::id::PortId;
use nf_core::vpc::Snapshot;

pub use id::{EnvironmentId, MalformedId};
pub use record::Record;

use crate::config::NodeConfig;
use crate::links::{self, Link, Links};
use crate::ports::hook_wish;
use crate::worker::{self, Worker};

/// Why an environment was not attached or detached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such interface.
    #[error(
        "there is no interface '{0}' in the gateway's network namespace: create it, or move it there"
    )]
    NoInterface(Box<str>),
    /// The engine refused it.
    #[error(transparent)]
    Refused(#[from] EnvironmentError),
    /// The data path refused the interface.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// Nothing of that id is attached.
    #[error("environment '{0}' is not attached")]
    NotFound(EnvironmentId),
    /// Another request about it is under way.
    #[error("another request about environment '{0}' is under way: try again")]
    Busy(EnvironmentId),
    /// Its record could not be written or removed.
    #[error("cannot {action} {path}: {error}")]
    Record {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
    /// The kernel does not tell of its interfaces.
    #[error("cannot look interfaces up: {0}")]
    Links(#[source] io::Error),
    /// The worker is gone.
    #[error(transparent)]
    Stopped(#[from] worker::Stopped),
}

/// An environment, for listings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Its id.
    pub id: EnvironmentId,
    /// The bridge it is behind.
    pub bridge: Box<str>,
    /// Its interface.
    pub port: Box<str>,
    /// The interface as it was last seen, if it is attached. An environment waits if the resource
    /// document has lost its bridge while the gateway was not running.
    pub link: Option<Link>,
}

/// What is known of an id.
#[derive(Clone, Debug)]
struct Slot {
    /// Some operation works on it.
    busy: bool,
    /// As of the last operation that was done; `None` before the first is.
    state: Option<State>,
}

/// Where an environment stands.
#[derive(Clone, Debug)]
enum State {
    /// It is in the engine and the data path.
    Attached { bridge: Box<str>, link: Link },
    /// It has a record and an interface, but could not be attached.
    Waiting(Record),
}

/// All environments.
#[derive(Debug)]
pub struct Environments {
    directory: PathBuf,
    config: Arc<NodeConfig>,
    linker: Linker,
    /// Held while one is being attached or detached: the kernel changes links one by one anyway,
    /// and nobody removes those of an interface that another has just come to.
    linking: tokio::sync::Mutex<()>,
    slots: DashMap<EnvironmentId, Slot>,
    lost: AtomicU64,
}

impl Environments {
    /// None yet; records go to `environments` in the state directory.
    #[must_use]
    pub fn new(config: Arc<NodeConfig>, linker: Linker) -> Self {
        Self {
            directory: config.state_dir.join("environments"),
            config,
            linker,
            linking: tokio::sync::Mutex::default(),
            slots: DashMap::new(),
            lost: AtomicU64::new(0),
        }
    }

    /// Attaches what the records say, before the worker runs. Returns how many are attached.
    ///
    /// A record whose interface is gone is removed: the environment ended while nobody looked. One
    /// that cannot be attached for another reason waits until that has changed.
    ///
    /// # Errors
    ///
    /// [`Error::Record`] if the directory cannot be made or read.
    pub fn restore(&self, worker: &mut Worker, links: &Links) -> Result<usize, Error> {
        let records = record::read_all(&self.directory).map_err(|error| Error::Record {
            action: "read",
            path: self.directory.clone(),
            error,
        })?;
        let mut restored = 0;
        for record in records {
            let id = record.environment_id.clone();
            let Some(link) = links.named(&record.port).filter(|link| record.is_of(link)) else {
                self.forget(&id, &record.port);
                continue;
            };
            let hook = hook_wish(&self.config, &record.port);
            match attach(worker, &id, &record.lambda_bridge_id, link, hook) {
                Ok(_) => {
                    restored += 1;
                    let bridge = record.lambda_bridge_id.into();
                    self.slots.insert(id, State::Attached { bridge, link: link.clone() }.into());
                }
                Err(error) => {
                    tracing::warn!(environment = %id, %error, "environment waits");
                    self.slots.insert(id, State::Waiting(record).into());
                }
            }
        }
        Ok(restored)
    }

    /// Attaches an environment.
    ///
    /// Once begun this has to be driven to its end: a caller that may give up waiting runs it as
    /// a task of its own.
    ///
    /// # Errors
    ///
    /// [`Error`]; nothing has changed.
    pub async fn attach(
        &self,
        worker: &worker::Handle,
        id: EnvironmentId,
        bridge: Box<str>,
        port: Box<str>,
    ) -> Result<Environment, Error> {
        let taken = match self.slots.entry(id.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Slot { busy: true, state: None });
                Taken { slots: &self.slots, id: &id, state: None }
            }
            Entry::Occupied(occupied) if occupied.get().busy => return Err(Error::Busy(id)),
            Entry::Occupied(_) => return Err(EnvironmentError::Exists(id.as_str().into()).into()),
        };
        let name = port.clone();
        let link = blocking(move || links::find(&name)).await.map_err(Error::Links)?;
        let link = link.ok_or_else(|| Error::NoInterface(port.clone()))?;

        let attached = self.attach_on(worker, &id, &bridge, &link).await?;

        let record = Record::new(id.clone(), &bridge, &link);
        let directory = self.directory.clone();
        if let Err(error) = blocking(move || record.write(&directory)).await {
            self.detach_on(worker, link.id).await?;
            return Err(self.record_error("write", &id, error));
        }
        tracing::info!(
            environment = %id, %bridge, %port, hook = %attached.hook, why = %attached.why,
            "environment attached"
        );
        taken.leave(State::Attached { bridge: bridge.clone(), link: link.clone() });
        Ok(Environment { id, bridge, port, link: Some(link) })
    }

    /// Detaches an environment; its flows end. Has to be driven to its end, as [`Self::attach`].
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Busy`], or [`Error::Record`] if its record is still there: the
    /// environment is no longer attached then, but a restarted gateway would attach it.
    pub async fn detach(&self, worker: &worker::Handle, id: &EnvironmentId) -> Result<(), Error> {
        let taken = self.take(id)?;
        if let Some(State::Attached { link, .. }) = &taken.state {
            self.detach_on(worker, link.id).await?;
        }
        let (directory, of) = (self.directory.clone(), id.clone());
        let removed = blocking(move || record::remove(&directory, &of)).await;
        // Only now may the id be attached again, with a record of its own.
        taken.remove();
        removed.map_err(|error| self.record_error("remove", id, error))?;
        tracing::info!(environment = %id, "environment detached");
        Ok(())
    }

    /// Brings environments in line with the interfaces there are: one whose interface has vanished
    /// is detached and its record removed; one whose MAC address or MTU has changed is attached
    /// anew, which ends its flows; one that waits is tried again if `snapshot` has its bridge.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub async fn follow(
        &self,
        worker: &worker::Handle,
        links: &Links,
        snapshot: &Snapshot,
    ) -> Result<(), Error> {
        for id in self.out_of_line(links, snapshot) {
            // One that is busy now is looked at again with the next beat.
            let Ok(taken) = self.take(&id) else { continue };
            let (bridge, port): (Box<str>, Box<str>) = match &taken.state {
                Some(State::Attached { bridge, link }) => (bridge.clone(), link.name.clone()),
                Some(State::Waiting(record)) => {
                    (record.lambda_bridge_id.as_str().into(), record.port.as_str().into())
                }
                None => continue,
            };
            // Environments are attached while the table is read: one whose interface is not in it
            // may be younger than the table. What counts is the interface as it is now.
            let name = port.clone();
            let found = match blocking(move || links::find(&name)).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::error!(environment = %id, %error, "cannot look its interface up");
                    continue;
                }
            };
            if let Some(State::Attached { link, .. }) = &taken.state {
                if found.as_ref().is_some_and(|now| now.same_port(link)) {
                    continue;
                }
                self.detach_on(worker, link.id).await?;
            }
            let same = |link: &Link| taken.state.as_ref().is_some_and(|was| was.is_of(link));
            let Some(link) = found.filter(same) else {
                self.forget(&id, &port);
                taken.remove();
                continue;
            };
            match self.attach_on(worker, &id, &bridge, &link).await {
                Ok(_) => {
                    tracing::info!(environment = %id, %port, "environment attached again");
                    taken.leave(State::Attached { bridge, link });
                }
                Err(error @ Error::Stopped(_)) => return Err(error),
                Err(error) => {
                    if matches!(taken.state, Some(State::Attached { .. })) {
                        tracing::warn!(environment = %id, %error, "environment waits");
                    }
                    taken.leave(State::Waiting(Record::new(id.clone(), &bridge, &link)));
                }
            }
        }
        Ok(())
    }

    /// All environments, by id. One that is being attached is not there yet, one that is being
    /// detached still is.
    #[must_use]
    pub fn list(&self) -> Vec<Environment> {
        let mut all: Vec<_> = self
            .slots
            .iter()
            .filter_map(|slot| {
                let id = slot.key().clone();
                Some(match slot.state.as_ref()? {
                    State::Attached { bridge, link } => Environment {
                        id,
                        bridge: bridge.clone(),
                        port: link.name.clone(),
                        link: Some(link.clone()),
                    },
                    State::Waiting(record) => Environment {
                        id,
                        bridge: record.lambda_bridge_id.as_str().into(),
                        port: record.port.as_str().into(),
                        link: None,
                    },
                })
            })
            .collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// Environments whose interface vanished under them, so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Those that something has to be done about.
    fn out_of_line(&self, links: &Links, snapshot: &Snapshot) -> Vec<EnvironmentId> {
        self.slots
            .iter()
            .filter(|slot| !slot.busy)
            .filter(|slot| match &slot.state {
                None => false,
                Some(State::Attached { link, .. }) => {
                    links.get(link.id).is_none_or(|now| !now.same_port(link))
                }
                Some(State::Waiting(record)) => {
                    snapshot.bridge_by_id(&record.lambda_bridge_id).is_some()
                        || links.named(&record.port).is_none_or(|link| !record.is_of(link))
                }
            })
            .map(|slot| slot.key().clone())
            .collect()
    }

    /// Attaches in three steps, of which the second, which takes longest, keeps no packet waiting.
    async fn attach_on(
        &self,
        worker: &worker::Handle,
        id: &EnvironmentId,
        bridge: &str,
        link: &Link,
    ) -> Result<Attached, Error> {
        let _alone = self.linking.lock().await;
        let (id, bridge, info) = (id.clone(), Box::<str>::from(bridge), link.port_info());
        let known = move |Worker { engine, datapath }: &mut Worker, _| {
            engine.attach_environment(id.as_str(), &bridge, info, datapath.fast_path())
        };
        worker.call(known).await??;
        let (linker, hook) = (self.linker.clone(), hook_wish(&self.config, &link.name));
        let (port, name) = (link.id, link.name.clone());
        let made = blocking(move || Ok(linker.link(port, &name, hook))).await;
        let name = link.name.clone();
        let attach = move |worker: &mut Worker, now| {
            let attached = made
                .map_err(Error::Links)
                .and_then(|made| Ok(made?))
                .and_then(|()| Ok(worker.datapath.attach(port, &name, hook)?));
            if attached.is_err() {
                worker.engine.remove_port(now, port, worker.datapath.fast_path());
                worker.datapath.let_go(port);
            }
            attached
        };
        let attached = worker.call(attach).await?;
        if attached.is_err() {
            self.unlink(link.id).await?;
        }
        attached
    }

    /// Detaches; the links go where no packet waits for it.
    async fn detach_on(&self, worker: &worker::Handle, port: PortId) -> Result<(), Error> {
        let _alone = self.linking.lock().await;
        let let_go = move |Worker { engine, datapath }: &mut Worker, now| {
            engine.remove_port(now, port, datapath.fast_path());
            datapath.let_go(port);
        };
        worker.call(let_go).await?;
        self.unlink(port).await
    }

    async fn unlink(&self, port: PortId) -> Result<(), Error> {
        let linker = self.linker.clone();
        let unlinked = blocking(move || {
            linker.unlink(port);
            Ok(())
        });
        unlinked.await.map_err(Error::Links)
    }

    /// Takes an environment for one operation.
    fn take<'a>(&'a self, id: &'a EnvironmentId) -> Result<Taken<'a>, Error> {
        let mut slot = self.slots.get_mut(id).ok_or_else(|| Error::NotFound(id.clone()))?;
        if std::mem::replace(&mut slot.busy, true) {
            return Err(Error::Busy(id.clone()));
        }
        Ok(Taken { slots: &self.slots, id, state: slot.state.clone() })
    }

    /// An environment's interface has vanished: so has the environment.
    fn forget(&self, id: &EnvironmentId, port: &str) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(environment = %id, port, "the environment's interface is gone: detached");
        if let Err(error) = record::remove(&self.directory, id) {
            tracing::error!(environment = %id, %error, "cannot remove the environment's record");
        }
    }

    fn record_error(&self, action: &'static str, id: &EnvironmentId, error: io::Error) -> Error {
        Error::Record { action, path: record::path(&self.directory, id), error }
    }
}

impl From<State> for Slot {
    fn from(state: State) -> Self {
        Self { busy: false, state: Some(state) }
    }
}

impl State {
    /// Whether the environment, as it was, had this interface.
    fn is_of(&self, link: &Link) -> bool {
        match self {
            Self::Attached { link: was, .. } => was.is(link),
            Self::Waiting(record) => record.is_of(link),
        }
    }
}

/// A slot that one operation has for itself. Dropped without another word, everything is as
/// before.
struct Taken<'a> {
    slots: &'a DashMap<EnvironmentId, Slot>,
    id: &'a EnvironmentId,
    /// What it will be; `None` if it will not be there.
    state: Option<State>,
}

impl Taken<'_> {
    fn leave(mut self, state: State) {
        self.state = Some(state);
    }

    fn remove(mut self) {
        self.state = None;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        match self.state.take() {
            Some(state) => drop(self.slots.insert(self.id.clone(), state.into())),
            None => drop(self.slots.remove(self.id)),
        }
    }
}

/// Attaches before the worker runs: the engine first, because it knows whether the port is free.
fn attach(
    worker: &mut Worker,
    id: &EnvironmentId,
    bridge: &str,
    link: &Link,
    hook: HookWish,
) -> Result<Attached, Error> {
    let Worker { engine, datapath } = worker;
    engine.attach_environment(id.as_str(), bridge, link.port_info(), datapath.fast_path())?;
    datapath.attach(link.id, &link.name, hook).map_err(|error| {
        engine.remove_port(worker::now(), link.id, datapath.fast_path());
        error.into()
    })
}

/// Runs what waits for the kernel or a disk where it holds nobody up.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
