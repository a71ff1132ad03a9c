//! The daemon under test: its namespace, its files, its process.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use halfspace_testbed::{Namespace, Output, Process, Scrape, Testbed, http, wait_until};
use nix::sys::signal::Signal;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Datapath, Flow, SOON};

/// Where the daemon serves metrics and health when nothing else is said, in its own namespace.
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// How long the daemon may take until it is ready, on a machine that is busy.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A gateway in a namespace of its own. What it wrote is shown if the test fails.
pub struct Gateway {
    process: Option<Process>,
    /// Where its ports are.
    pub namespace: Namespace,
    datapath: Datapath,
    directory: PathBuf,
    /// Where its maps and links are pinned.
    pub pin_dir: PathBuf,
    /// What processes wrote that were ended.
    earlier: String,
}

impl Gateway {
    /// Makes the namespace and the directories; nothing runs yet.
    pub fn prepare(bed: &Testbed, datapath: Datapath) -> Self {
        let namespace = bed.namespace("gateway").unwrap();
        let directory = bed.dir().join("gateway");
        fs::create_dir(&directory).unwrap();
        let pin_dir = match datapath {
            Datapath::Ebpf => bed.bpffs().unwrap().join("halfspace"),
            Datapath::Userspace => directory.join("not-used"),
        };
        let earlier = String::new();
        let this = Self { process: None, namespace, datapath, directory, pin_dir, earlier };
        this.configure("");
        this
    }

    /// Writes `gateway.toml`, with further keys.
    pub fn configure(&self, keys: &str) {
        let (datapath, state) = (self.datapath.name(), self.directory.join("state"));
        let flows = if keys.contains("flows =") { "" } else { "flows = 4096" };
        let text = format!(
            r#"
resources = "resources.toml"
datapath = "{datapath}"
{flows}
state_dir = "{}"
pin_dir = "{}"
{keys}
"#,
            state.display(),
            self.pin_dir.display(),
        );
        fs::write(self.configuration(), text).unwrap();
    }

    /// Where `gateway.toml` is.
    pub fn configuration(&self) -> PathBuf {
        self.directory.join("gateway.toml")
    }

    /// Where the resource document is.
    pub fn resources(&self) -> PathBuf {
        self.directory.join("resources.toml")
    }

    /// Writes the resource document, whole at once as an operator's tool would.
    pub fn write_resources(&self, document: &str) {
        let beside = self.directory.join("resources.new");
        fs::write(&beside, document).unwrap();
        fs::rename(beside, self.resources()).unwrap();
    }

    /// Starts the daemon on a resource document and waits until it is ready.
    pub fn start(&mut self, document: &str) {
        self.write_resources(document);
        self.start_again();
    }

    /// Starts the daemon on the files there are and waits until it is ready.
    pub fn start_again(&mut self) {
        let mut process = self.spawn();
        let namespace = &self.namespace;
        let ready = || http::get(namespace, METRICS, "/readyz").is_ok_and(|it| it.status == 200);
        let started = process.wait_ready(START_LIMIT, ready);
        if let Err(error) = started {
            panic!("the gateway does not start: {error}\n{}", process.stderr());
        }
        self.process = Some(process);
    }

    /// Runs another daemon on the same files, which is not waited for.
    pub fn spawn(&self) -> Process {
        let mut command = self.program();
        command.arg("run").arg("--config").arg(self.configuration());
        self.namespace.spawn_command(command).unwrap()
    }

    /// Kills the daemon (SIGKILL).
    pub fn kill(&mut self) {
        self.ended(Process::kill);
    }

    /// Asks the daemon to stop (SIGTERM) and waits until it has, with success.
    pub fn stop(&mut self) {
        self.ended(|process| {
            let output = process.stop(SOON).unwrap();
            assert!(output.status.success(), "{output:?}");
        });
    }

    fn ended(&mut self, end: impl FnOnce(&mut Process)) {
        let mut process = self.process.take().expect("the gateway runs");
        end(&mut process);
        self.earlier.push_str(&said(&process));
    }

    /// Tells the daemon to read its document now (SIGHUP).
    pub fn hang_up(&self) {
        self.running().signal(Signal::SIGHUP);
    }

    /// Whether the daemon runs.
    pub fn is_running(&self) -> bool {
        self.running().is_running()
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the gateway runs")
    }

    /// What the daemon has logged since it was started last.
    pub fn log(&self) -> String {
        said(self.running())
    }

    /// Waits until the daemon has logged `text`.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        let waited = wait_until(SOON, text, || self.log().contains(text));
        assert!(waited.is_ok(), "not logged: {text}");
    }

    /// Puts a new resource document in force.
    #[track_caller]
    pub fn change_resources(&self, document: &str) {
        let before = self.generation();
        self.write_resources(document);
        self.hang_up();
        let mut settled = false;
        let waited = wait_until(SOON, "the new document to be in force", || {
            let resources = &self.status()["resources"];
            settled = resources["settled"] == true && resources["generation"] != before;
            settled
        });
        assert!(waited.is_ok(), "{}", self.status()["resources"]);
    }

    /// The generation in force.
    pub fn generation(&self) -> Value {
        self.status()["resources"]["generation"].clone()
    }

    /// One of `/metrics`, `/healthz` and `/readyz`.
    pub fn page(&self, path: &str) -> http::Response {
        http::get(&self.namespace, METRICS, path).unwrap()
    }

    /// The sum of the samples of a metric that have these labels; 0 if there is none.
    pub fn count(&self, metric: &str, labels: &[(&str, &str)]) -> u64 {
        let page = self.page("/metrics");
        assert_eq!(page.status, 200, "{}", page.body);
        Scrape::parse(&page.body).sum(metric, labels).unwrap_or(0)
    }

    /// Packets that the engine dropped for a reason.
    pub fn engine_drops(&self, reason: &str) -> u64 {
        let labels = [("verdict", "dropped"), ("reason", reason)];
        self.count("halfspace_engine_packets_total", &labels)
    }

    /// Packets that the fast path dropped for a reason.
    pub fn fast_drops(&self, reason: &str) -> u64 {
        let labels = [("verdict", "dropped"), ("reason", reason)];
        self.count("halfspace_fastpath_packets_total", &labels)
    }

    /// What went into the engine has come out of it, or waits.
    #[track_caller]
    pub fn assert_packets_add_up(&self) {
        let page = self.page("/metrics").body;
        let scrape = Scrape::parse(&page);
        let count = |metric| scrape.sum(metric, &[]).unwrap_or(0);
        let came_in = count("halfspace_engine_received_packets_total")
            + count("halfspace_engine_originated_packets_total");
        let decided = count("halfspace_engine_packets_total");
        let waiting = count("halfspace_engine_waiting_packets");
        assert_eq!(came_in, decided + waiting, "{page}");
    }

    /// `halfspace status`.
    pub fn status(&self) -> Value {
        self.json(&["status"])
    }

    /// `halfspace flows`.
    pub fn flows(&self) -> Vec<Flow> {
        #[derive(serde::Deserialize)]
        struct Listing {
            flows: Vec<Flow>,
        }
        self.json::<Listing>(&["flows"]).flows
    }

    /// Runs a command that lists something, and reads what it prints.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> T {
        let output = self.run([arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        match serde_json::from_str(&output.stdout) {
            Ok(listing) => listing,
            Err(error) => panic!("{arguments:?}: {error} in {}", output.stdout),
        }
    }

    /// Runs a command of the binary to its end, with or without success.
    pub fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Output {
        let mut command = self.program();
        command.args(arguments).arg("--config").arg(self.configuration());
        self.namespace.spawn_command(command).unwrap().output(SOON).unwrap()
    }

    /// The binary, with nothing of the caller's environment to configure it.
    fn program(&self) -> Command {
        let mut command = self.namespace.command(env!("CARGO_BIN_EXE_halfspace"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HALFSPACE_") {
                command.env_remove(name);
            }
        }
        command
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let now = self.process.as_ref().map(said).unwrap_or_default();
            eprintln!("--- the gateway wrote ---\n{}{now}--- end ---", self.earlier);
        }
    }
}

fn said(process: &Process) -> String {
    format!("{}{}", process.stdout(), process.stderr())
}
