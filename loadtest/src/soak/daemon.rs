//! The gateway under the soak: its files, its process, and what it says of itself.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use halfspace_testbed::{Namespace, Process, Scrape, Testbed, http, wait_until};
use nix::sys::signal::Signal;

use crate::environments::api::Client;
use crate::error::Error;

/// Where it serves metrics and health, in a namespace of its own.
const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// The name of the resource document.
const RESOURCES: &str = "resources.toml";

/// How long it may take to be ready, with flows to take over, on a machine that is busy.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How long a changed document may take to be in force for every flow.
const SETTLE_LIMIT: Duration = Duration::from_secs(20);

/// What moves the packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Datapath {
    /// The kernel program.
    #[default]
    Ebpf,
    /// User space.
    Userspace,
}

/// A gateway in its namespace.
#[derive(Debug)]
pub struct Daemon {
    binary: PathBuf,
    directory: PathBuf,
    /// Where its maps and links are pinned, if they are.
    pins: Option<PathBuf>,
    /// Where it runs.
    pub namespace: Namespace,
    process: Mutex<Option<Process>>,
}

impl Daemon {
    /// Starts it on a document and waits until it is ready.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if there is no such binary, [`Error::File`], [`Error::Testbed`] with its
    /// own words if it does not become ready.
    pub fn start(
        bed: &Testbed,
        namespace: Namespace,
        binary: PathBuf,
        datapath: Datapath,
        document: &str,
    ) -> Result<Self, Error> {
        if !binary.is_file() {
            return Err(Error::Missing(format!(
                "there is no {}: build it, or name another with --halfspace",
                binary.display()
            )));
        }
        let directory = bed.dir().join("gateway");
        fs::create_dir(&directory).map_err(|source| Error::File {
            action: "make the directory",
            path: directory.clone(),
            source,
        })?;
        let pins = match datapath {
            Datapath::Ebpf => Some(bed.bpffs()?.join("soak")),
            Datapath::Userspace => None,
        };
        let process = Mutex::new(None);
        let daemon = Self { binary, directory, pins, namespace, process };
        daemon.configure(datapath)?;
        daemon.write(RESOURCES, document)?;
        daemon.launch()?;
        Ok(daemon)
    }

    fn configure(&self, datapath: Datapath) -> Result<(), Error> {
        let name = match datapath {
            Datapath::Ebpf => "ebpf",
            Datapath::Userspace => "userspace",
        };
        let unused = self.directory.join("unused");
        let (state, pins) = (&self.directory, self.pins.as_ref().unwrap_or(&unused));
        let (state, pins) = (state.display(), pins.display());
        // Whoever attaches hundreds a minute does not want to read of each.
        let text = format!(
            r#"resources = "{RESOURCES}"
datapath = "{name}"
flows = 65536
state_dir = "{state}"
pin_dir = "{pins}"
metrics_listen = "{METRICS}"
log_level = "warn"
"#
        );
        self.write("gateway.toml", &text)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.directory.join(name);
        let failed = |source| Error::File { action: "write", path: path.clone(), source };
        // Beside it first: whoever reads it meanwhile sees the old one or the new one.
        let beside = path.with_extension("new");
        fs::write(&beside, text).and_then(|()| fs::rename(&beside, &path)).map_err(failed)
    }

    /// Puts a document in force and waits until every flow has been looked at under it. There is
    /// nothing to wait for if it is in force already.
    ///
    /// # Errors
    ///
    /// [`Error::Testbed`] if that does not happen in time.
    pub fn change_document(&self, document: &str) -> Result<(), Error> {
        let generation = |scrape: &Scrape| scrape.sum("halfspace_snapshot_generation", &[]);
        let before = generation(&self.metrics()?);
        let path = self.directory.join(RESOURCES);
        if fs::read_to_string(&path).is_ok_and(|written| written == document) {
            return Ok(());
        }
        self.write(RESOURCES, document)?;
        if let Some(process) = &*self.lock() {
            process.signal(Signal::SIGHUP);
        }
        let in_force = || {
            self.metrics().is_ok_and(|now| {
                generation(&now) != before && now.sum("halfspace_snapshot_settled", &[]) == Some(1)
            })
        };
        Ok(wait_until(SETTLE_LIMIT, "a changed resource document to be in force", in_force)?)
    }

    /// Kills it (SIGKILL) and starts it again; returns when it is ready.
    ///
    /// # Errors
    ///
    /// [`Error::Testbed`] if it does not become ready.
    pub fn kill_and_restart(&self) -> Result<(), Error> {
        if let Some(mut process) = self.lock().take() {
            process.kill();
        }
        self.launch()
    }

    /// Whether it runs. It is taken to run while it is being restarted.
    pub fn runs(&self) -> bool {
        self.lock().as_ref().is_none_or(Process::is_running)
    }

    /// The end of what it has logged since it was started last.
    pub fn log_tail(&self) -> String {
        const LINES: usize = 20;
        let log = self.lock().as_ref().map(Process::stderr).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    fn launch(&self) -> Result<(), Error> {
        let mut command = self.namespace.command(&self.binary);
        command.arg("run").arg("--config").arg(self.directory.join("gateway.toml"));
        // Whatever is set for another gateway on this machine is not meant for this one.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HALFSPACE_") {
                command.env_remove(name);
            }
        }
        let mut process = self.namespace.spawn_command(command)?;
        let ready =
            || http::get(&self.namespace, METRICS, "/readyz").is_ok_and(|it| it.status == 200);
        process.wait_ready(START_LIMIT, ready)?;
        *self.lock() = Some(process);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The metrics page.
    ///
    /// # Errors
    ///
    /// [`Error::Testbed`], [`Error::Missing`] if it does not serve one.
    pub fn metrics(&self) -> Result<Scrape, Error> {
        let page = http::get(&self.namespace, METRICS, "/metrics")?;
        if page.status != 200 {
            return Err(Error::Missing(format!("the metrics page answers {}", page.status)));
        }
        Ok(Scrape::parse(&page.body))
    }

    /// Its API's socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("api.sock")
    }

    /// A client of its API.
    pub fn client(&self) -> Client {
        Client::new(&self.socket())
    }

    /// Where its maps and links are pinned, if they are.
    pub fn pins(&self) -> Option<&Path> {
        self.pins.as_deref()
    }
}
