//! A gateway's life: assembled in order, run until it is told to stop, left so that established
//! flows go on.
//!
//! What can fail for reasons of its own (files, addresses, a second instance) fails before the
//! kernel is touched. All that needs privileges beyond [`crate::privileges`] happens on the one
//! thread there is before the worker starts.

use std::fs::File;
use std::future::IntoFuture as _;
use std::io::{self, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ::datapath::{Datapath, Kind, OpenError, Options};
use nf_core::engine::{Engine, EngineConfig, Recovered};
use nf_core::id::Generation;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::actions::IdSource;
use crate::api::{self, socket};
use crate::config::node::{DatapathChoice, Loaded};
use crate::config::{Diagnostic, NodeConfig};
use crate::control::{Facts, Follower, Report, Shared};
use crate::environments::{self, Environments};
use crate::flow_logs::{self, Feed, FlowLogs, since_1970};
use crate::links::{self, Watch};
use crate::ports::Ports;
use crate::resources::{self, Resources};
use crate::worker::{self, Worker};
use crate::{functions, logging, metrics, privileges};

/// Next hops: what the kernel program's table has room for. Each environment takes one.
const ADJACENCIES: usize = 65_536;

/// How long requests that are under way may take once the gateway is told to stop.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

/// How long flow log records may take to be written once the worker has stopped.
const LAST_RECORDS: Duration = Duration::from_secs(5);

/// Why a gateway could not be run to its proper end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is wrong.
    #[error("the configuration is invalid")]
    Configuration(Vec<Diagnostic>),
    /// The API's socket cannot be had.
    #[error(transparent)]
    Socket(#[from] socket::Error),
    /// The address of the metrics cannot be had.
    #[error("cannot serve metrics on {address}: {error}")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// The data path cannot be had.
    #[error("cannot open the data path: {0}")]
    Datapath(#[from] OpenError),
    /// A system call failed.
    #[error("cannot {action}: {error}")]
    System {
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        error: io::Error,
    },
    /// Environments cannot be restored.
    #[error(transparent)]
    Environments(#[from] environments::Error),
    /// Flow logs cannot be written as configured.
    #[error(transparent)]
    FlowLogs(#[from] flow_logs::Error),
    /// Privileges cannot be given up.
    #[error(transparent)]
    Privileges(#[from] privileges::Error),
    /// The worker ended by itself.
    #[error(transparent)]
    Stopped(#[from] worker::Stopped),
}

impl Error {
    fn system(action: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self::System { action, error }
    }
}

/// Runs a gateway until SIGTERM or SIGINT.
///
/// # Errors
///
/// [`Error`]
pub fn run(Loaded { config, warnings }: Loaded) -> Result<(), Error> {
    let started = (Instant::now(), SystemTime::now());
    let config = Arc::new(config);
    logging::start(&config);
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    // Once for its errors, before anything is touched. The number it gets is not known yet.
    resources::read(&config.resources, Generation(1)).map_err(Error::Configuration)?;

    privileges::restrict_new_files();
    let socket = socket::Socket::bind(&config.api_socket())?;
    let metrics = bind_metrics(config.metrics_listen)?;
    let assembled = assemble(&config, started)?;
    let kept = privileges::give_up()?;
    tracing::debug!(?kept, "gave up all other privileges");

    let Assembled { worker, feed, environments, functions, facts, report } = assembled;
    let flow_logs = facts.flow_logs.clone();
    flow_logs.follow(report.resources.in_force());
    let running = worker::Running::start(worker, feed, config.worker_cpu)
        .map_err(Error::system("start the packet worker"))?;
    let datapath = facts.datapath;
    let (shared, orders) =
        Shared::new(running.handle.clone(), environments, functions, facts, report);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::system("start the control side"))?;
    // Never the configured seed: ids that were dealt out before a restart are still in use.
    let ids = IdSource::new(random_seed().map_err(Error::system("read /dev/urandom"))?);
    let served = runtime.block_on(async {
        let watch = Watch::open().map_err(Error::system("follow interfaces"))?;
        let shared = Arc::new(shared);
        let follower = Follower::new(shared.clone(), config.clone(), watch, orders, ids)
            .map_err(Error::system("catch SIGHUP"))?;
        serve(shared, &config, follower, &socket, metrics).await
    });
    // Ends every task, and with the last of them the last handle on the worker.
    drop(runtime);
    drop(socket);
    let worker = running.stop()?;
    flow_logs.finish(LAST_RECORDS);
    let flows = worker.engine.flow_count();
    if datapath == "ebpf" {
        tracing::info!(flows, "stopped; established flows go on in the kernel");
    } else {
        tracing::info!(flows, "stopped; flows end, for this data path moved their packets itself");
    }
    served
}

/// Everything that is there before the first thread.
struct Assembled {
    worker: Worker,
    feed: Feed,
    environments: Environments,
    functions: functions::Names,
    facts: Facts,
    report: Report,
}

fn assemble(config: &Arc<NodeConfig>, started: (Instant, SystemTime)) -> Result<Assembled, Error> {
    let (mut datapath, why) = Datapath::open(&datapath_options(config))?;
    tracing::info!(datapath = datapath.label(), %why, "data path opened");
    let (recovered, newest) = collect(&mut datapath)?;
    let generation = newest.next();
    let valid = resources::read(&config.resources, generation).map_err(Error::Configuration)?;
    let resources = Resources::new(config.resources.clone(), valid);

    let seed = match config.seed {
        Some(seed) => seed,
        None => random_seed().map_err(Error::system("read /dev/urandom"))?,
    };
    let functions = functions::all(seed);
    let names = functions::Names::of(&functions);
    let sizes = EngineConfig { flows: config.flow_capacity(), adjacencies: ADJACENCIES, seed };
    let engine = Engine::new(sizes, functions, worker::now());
    let (flow_logs, feed) = FlowLogs::new(config)?;
    flow_logs.prepare(resources.in_force());
    let facts = Facts { datapath: datapath.label(), datapath_why: why, started, flow_logs };
    let mut worker = Worker { engine, datapath };

    let Worker { engine, datapath } = &mut worker;
    engine.flow_logs_mut().set_wall_clock(worker::now(), since_1970());
    engine.apply_snapshot(worker::now(), resources.in_force(), datapath.fast_path());
    let links = links::dump().map_err(Error::system("list interfaces"))?;
    let mut ports = Ports::new(config.clone());
    let plan = ports.plan(resources.in_force(), &links);
    ports.take_over(plan.carry_out(&mut worker, worker::now()));
    let environments = Environments::new(config.clone(), worker.datapath.linker());
    let restored = environments.restore(&mut worker, &links)?;

    let Worker { engine, datapath } = &mut worker;
    let found = recovered.len();
    let flows = engine.recover(worker::now(), recovered, datapath.fast_path());
    datapath.fast_path().flush();
    datapath.finish_recovery();
    tracing::info!(
        generation = generation.0,
        ports = ports.attached().count(),
        environments = restored,
        flows,
        flows_refused = found - flows,
        "took over"
    );
    let report = Report { resources, ports };
    Ok(Assembled { worker, feed, environments, functions: names, facts, report })
}

/// How the data path is to be opened.
#[must_use]
pub fn datapath_options(config: &NodeConfig) -> Options {
    Options {
        kind: match config.datapath {
            DatapathChoice::Auto => Kind::Auto,
            DatapathChoice::Ebpf => Kind::Ebpf,
            DatapathChoice::Userspace => Kind::Userspace,
        },
        flows: config.flows.get(),
        ipv6_flows: config.ipv6_flows.unwrap_or(config.flows).get(),
        pin_dir: config.pin_dir.clone(),
        ..Options::default()
    }
}

/// What an earlier process left, and the newest generation among it.
fn collect(datapath: &mut Datapath) -> Result<(Recovered, Generation), Error> {
    let mut recovered = Recovered::default();
    let mut newest = Generation::default();
    let adjacencies = datapath.recover(&mut |key, entry| {
        newest = newest.max(entry.generation);
        recovered.add(key, entry);
    });
    let adjacencies = adjacencies.map_err(Error::system("read the kernel's flow table"))?;
    recovered.adjacencies = adjacencies.into_iter().collect();
    Ok((recovered, newest))
}

fn random_seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

fn bind_metrics(address: SocketAddr) -> Result<TcpListener, Error> {
    let bind = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|error| Error::Metrics { address, error })
}

/// Serves and follows until a signal, or until the worker stops.
async fn serve(
    shared: Arc<Shared>,
    config: &NodeConfig,
    follower: Follower,
    socket: &socket::Socket,
    metrics: TcpListener,
) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::system("catch SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::system("catch SIGINT"))?;

    let listener = socket.listener().map_err(Error::system("serve the API"))?;
    let (stop, mut stopping) = tokio::sync::watch::channel(());
    let api = axum::serve(listener, api::router(shared.clone()))
        // The other end is dropped: that is the sign.
        .with_graceful_shutdown(async move { drop(stopping.changed().await) });
    let api = tokio::spawn(api.into_future());
    let listener =
        tokio::net::TcpListener::from_std(metrics).map_err(Error::system("serve metrics"))?;
    tokio::spawn(axum::serve(listener, metrics::router(shared)).into_future());
    tracing::info!(
        api = %socket.path().display(), metrics = %config.metrics_listen, "serving"
    );

    let result = tokio::select! {
        _ = terminate.recv() => {
            tracing::info!("SIGTERM: stopping");
            Ok(())
        }
        _ = interrupt.recv() => {
            tracing::info!("SIGINT: stopping");
            Ok(())
        }
        stopped = follower.run() => Err(stopped.into()),
    };
    drop(stop);
    if timeout(LAST_REQUESTS, api).await.is_err() {
        tracing::warn!("gave up on requests that are still under way");
    }
    result
}
