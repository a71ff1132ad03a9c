//! The gateway under a show: our own executable as `halfspace run`, and those commands of it that
//! a person would use to look at it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use halfspace_testbed::{Namespace, Process, Scrape, Testbed, http};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::Error;
use crate::api::types::{Environment, EnvironmentList, Flow, FlowPage, Status};
use crate::config::node::DatapathChoice;

/// Where the daemon serves metrics and health, in its own namespace.
const HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// The name of the node's configuration.
const NODE: &str = "gateway.toml";

/// The name of the resource document.
const RESOURCES: &str = "resources.toml";

/// How long the daemon may take until it is ready.
const START_LIMIT: Duration = Duration::from_secs(15);

/// Lines of the log that are shown when something failed.
const TAIL: usize = 30;

/// A running `halfspace run`.
#[derive(Debug)]
pub(super) struct Daemon {
    process: Process,
    executable: PathBuf,
    /// `gateway.toml` and what it names.
    directory: PathBuf,
    /// Logs of processes that were killed.
    earlier_logs: String,
    /// Where it runs.
    pub namespace: Namespace,
}

impl Daemon {
    /// Writes the node's configuration and the resource document, and starts the daemon; returns
    /// when it is ready.
    pub(super) fn start(
        bed: &Testbed,
        namespace: Namespace,
        datapath: DatapathChoice,
        resources: &str,
    ) -> Result<Self, Error> {
        let executable = std::env::current_exe()
            .map_err(|source| Error::System { action: "find our own executable", source })?;
        let directory = bed.dir().join("halfspace");
        let pins = match datapath {
            DatapathChoice::Userspace => directory.join("pins"),
            // Where there is no BPF file system, the daemon says what follows from it.
            DatapathChoice::Auto => bed.bpffs().unwrap_or_else(|_| directory.join("pins")),
            DatapathChoice::Ebpf => bed.bpffs()?,
        };
        write_configuration(&directory, &pins, datapath, resources)?;
        let process = launch(&executable, &directory, &namespace)?;
        Ok(Self { process, executable, directory, earlier_logs: String::new(), namespace })
    }

    /// Kills the daemon with SIGKILL, so that it can put nothing in order.
    pub(super) fn kill(&mut self) {
        self.process.kill();
        self.earlier_logs += &self.process.stderr();
    }

    /// Starts it again after [`Daemon::kill`]; returns when it is ready.
    pub(super) fn restart(&mut self) -> Result<(), Error> {
        self.process = launch(&self.executable, &self.directory, &self.namespace)?;
        Ok(())
    }

    /// `halfspace status`.
    pub(super) fn status(&self) -> Result<Status, Error> {
        self.ask(&["status"])
    }

    /// `halfspace flows`.
    pub(super) fn flows(&self) -> Result<Vec<Flow>, Error> {
        let page: FlowPage = self.ask(&["flows"])?;
        Ok(page.flows)
    }

    /// `halfspace env list`.
    pub(super) fn environments(&self) -> Result<Vec<Environment>, Error> {
        let list: EnvironmentList = self.ask(&["env", "list"])?;
        Ok(list.environments)
    }

    /// `halfspace env attach`.
    pub(super) fn attach(&self, bridge: &str, port: &str) -> Result<Environment, Error> {
        self.ask(&["env", "attach", "--bridge", bridge, "--port", port])
    }

    /// `halfspace eni`: something is done with a network interface, and in force afterwards.
    pub(super) fn interface(&self, command: &[&str]) -> Result<(), Error> {
        self.ask::<serde::de::IgnoredAny>(&[&["eni"], command].concat()).map(|_| ())
    }

    /// Replaces the resource document, as an editor does that never leaves half of one: the daemon
    /// notices within a second.
    pub(super) fn rewrite_resources(&self, resources: &str) -> Result<(), Error> {
        let (new, file) = (self.directory.join("resources.new"), self.directory.join(RESOURCES));
        fs::write(&new, resources)
            .and_then(|()| fs::rename(new, file))
            .map_err(|source| Error::System { action: "write the resource document", source })
    }

    /// The metrics page.
    pub(super) fn metrics(&self) -> Result<Scrape, Error> {
        let page = http::get(&self.namespace, HTTP, "/metrics")?;
        if page.status != 200 {
            return Err(Error::Metrics(page.status));
        }
        Ok(Scrape::parse(&page.body))
    }

    /// The end of what it logged, processes that were killed included. That environments were
    /// attached is left out: nothing else would be left to see.
    pub(super) fn log_tail(&self) -> String {
        let log = format!("{}{}", self.earlier_logs, self.process.stderr());
        let lines: Vec<_> =
            log.lines().filter(|line| !line.contains(" INFO environment attached ")).collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    /// The command line that asks this daemon something, for people.
    pub(super) fn command_line(&self, command: &str) -> String {
        let (executable, socket) = (self.executable.display(), self.socket());
        format!("{executable} {command} --socket {}", socket.display())
    }

    /// The address of the metrics page, in the daemon's namespace.
    pub(super) fn metrics_url() -> String {
        format!("http://{HTTP}/metrics")
    }

    /// Its configuration and the resource document.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("api.sock")
    }

    fn ask<T: DeserializeOwned>(&self, command: &[&str]) -> Result<T, Error> {
        let mut arguments = vec![self.executable.clone().into_os_string()];
        arguments.extend(command.iter().map(OsString::from));
        arguments.extend(["--json".into(), "--socket".into(), self.socket().into_os_string()]);
        let answer = self.namespace.run(arguments)?.stdout;
        serde_json::from_str(&answer).map_err(|source| Error::Answer {
            command: format!("halfspace {}", command.join(" ")),
            source,
        })
    }
}

/// Those settings of a node that are not left at their defaults.
#[derive(Serialize)]
struct Node<'a> {
    resources: &'a str,
    datapath: DatapathChoice,
    flows: u32,
    state_dir: &'a Path,
    pin_dir: &'a Path,
    metrics_listen: SocketAddr,
}

fn write_configuration(
    directory: &Path,
    pins: &Path,
    datapath: DatapathChoice,
    resources: &str,
) -> Result<(), Error> {
    let node = Node {
        resources: RESOURCES,
        datapath,
        flows: 1 << 16,
        state_dir: directory,
        pin_dir: pins,
        metrics_listen: HTTP,
    };
    let written = || {
        fs::create_dir(directory)?;
        fs::write(directory.join(NODE), toml::to_string(&node).map_err(io::Error::other)?)?;
        fs::write(directory.join(RESOURCES), resources)
    };
    written()
        .map_err(|source| Error::System { action: "write the gateway's configuration", source })
}

/// Starts the daemon and waits until it is ready.
fn launch(executable: &Path, directory: &Path, namespace: &Namespace) -> Result<Process, Error> {
    let mut command = namespace.command(executable);
    command.arg("run").arg("--config").arg(directory.join(NODE));
    // Whatever is set for another gateway on this machine is not meant for this one.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HALFSPACE_") {
            command.env_remove(name);
        }
    }
    let mut process = namespace.spawn_command(command)?;
    let is_ready = || http::get(namespace, HTTP, "/readyz").is_ok_and(|it| it.status == 200);
    process.wait_ready(START_LIMIT, is_ready)?;
    Ok(process)
}
