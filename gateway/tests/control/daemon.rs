//! A daemon under test, with interfaces of its own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use halfspace::api::client::{Client, Error};
use halfspace::api::types::{AttachRequest, Environment};
use halfspace_testbed::{Namespace, Process, Requirement, Testbed, http, ready, wait_until};
use nix::sys::signal::Signal;

/// Longer than anything takes on a machine that is busy.
pub const SOON: Duration = Duration::from_secs(20);

const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// A customer's subnet on `lan0`, a NAT gateway and a load balancer's node behind `wan0`, two
/// bridges, and a flow log.
pub const RESOURCES: &str = r#"
[[vpc]]
vpc_id = "vpc-a"
cidr_block = "10.0.0.0/16"

[[subnet]]
subnet_id = "subnet-lan"
vpc_id = "vpc-a"
cidr_block = "10.0.1.0/24"
port = "lan0"

[[subnet]]
subnet_id = "subnet-public"
vpc_id = "vpc-a"
cidr_block = "10.0.0.0/24"
route_table_id = "rtb-public"

[[route_table]]
route_table_id = "rtb-public"
vpc_id = "vpc-a"
route = [{ destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-a" }]

[[internet_gateway]]
internet_gateway_id = "igw-a"
vpc_id = "vpc-a"
uplink_id = "uplink-wan"

[[uplink]]
uplink_id = "uplink-wan"
port = "wan0"
addresses = ["203.0.113.2/24"]
gateways = ["203.0.113.1"]

[[address]]
allocation_id = "eipalloc-nat"
public_ip = "203.0.113.10"

[[nat_gateway]]
nat_gateway_id = "nat-a"
subnet_id = "subnet-public"
allocation_ids = ["eipalloc-nat"]

[[load_balancer]]
load_balancer_name = "web"
scheme = "internal"
subnet_mapping = [{ subnet_id = "subnet-public" }]
listener = [{ protocol = "TCP", port = 80, target_group_name = "web" }]

[[target_group]]
target_group_name = "web"
protocol = "TCP"
port = 8080
vpc_id = "vpc-a"
target = [{ id = "10.0.1.20" }]

[[lambda_bridge]]
lambda_bridge_id = "bridge-a"
subnet_id = "subnet-public"

[[flow_log]]
flow_log_id = "fl-a"
resource_id = "vpc-a"
log_destination = "all"
"#;

/// Another bridge, for documents that have it and documents that do not.
pub const SECOND_BRIDGE: &str = r#"
[[lambda_bridge]]
lambda_bridge_id = "bridge-b"
subnet_id = "subnet-public"
"#;

/// A daemon and all that is its own.
pub struct Daemon {
    process: Option<Process>,
    pub namespace: Namespace,
    /// Where the other ends of its interfaces are.
    _others: Namespace,
    // Dropped last: namespaces and processes are laid out in it.
    bed: Testbed,
}

impl Daemon {
    /// Starts a daemon on [`RESOURCES`], with interfaces `lan0`, `wan0` and `env0` and so on;
    /// `None` if this machine cannot.
    pub fn start(label: &str, environments: usize) -> Option<Self> {
        Self::start_on(label, environments, RESOURCES)
    }

    /// The same on another document.
    pub fn start_on(label: &str, environments: usize, document: &str) -> Option<Self> {
        if !ready(&[Requirement::Root]) {
            return None;
        }
        let bed = Testbed::new(label).unwrap();
        let [namespace, others] = ["gateway", "others"].map(|name| bed.namespace(name).unwrap());
        let names = ["lan0", "wan0"].map(str::to_owned).into_iter();
        let names: Vec<_> = names.chain((0..environments).map(|n| format!("env{n}"))).collect();
        let pairs: Vec<_> = names
            .iter()
            .map(|name| ((&namespace, name.as_str()), (&others, name.as_str())))
            .collect();
        bed.veths(&pairs).unwrap();
        let mut daemon = Self { process: None, namespace, _others: others, bed };
        daemon.write_resources(document);
        daemon.start_again();
        Some(daemon)
    }

    fn directory(&self) -> PathBuf {
        self.bed.dir().join("state")
    }

    pub fn socket(&self) -> PathBuf {
        self.directory().join("api.sock")
    }

    /// The record of an environment.
    pub fn record(&self, id: &str) -> PathBuf {
        self.directory().join("environments").join(format!("{id}.json"))
    }

    /// The resource document's file.
    pub fn resources_file(&self) -> PathBuf {
        self.bed.dir().join("resources.toml")
    }

    /// What is in it.
    pub fn resources(&self) -> String {
        fs::read_to_string(self.resources_file()).unwrap()
    }

    pub fn write_resources(&self, document: &str) {
        let beside = self.bed.dir().join("resources.new");
        fs::write(&beside, document).unwrap();
        fs::rename(beside, self.resources_file()).unwrap();
    }

    /// Starts the daemon and waits until it is ready.
    pub fn start_again(&mut self) {
        self.start_until_readiness_is(200);
    }

    /// Starts the daemon and waits until it tells of its readiness with this status.
    pub fn start_until_readiness_is(&mut self, status: u16) {
        let file = self.bed.dir().join("gateway.toml");
        let state = self.directory();
        let text = format!(
            "datapath = \"userspace\"\nflows = 1024\nstate_dir = \"{0}\"\n\
             flow_log_dir = \"{0}/flow-logs\"\n",
            state.display()
        );
        fs::write(&file, text).unwrap();
        let mut command = self.namespace.command(env!("CARGO_BIN_EXE_halfspace"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HALFSPACE_") {
                command.env_remove(name);
            }
        }
        command.arg("run").arg("--config").arg(file);
        let mut process = self.namespace.spawn_command(command).unwrap();
        let namespace = &self.namespace;
        let answers =
            || http::get(namespace, METRICS, "/readyz").is_ok_and(|it| it.status == status);
        if let Err(error) = process.wait_ready(SOON, answers) {
            panic!("the daemon does not start: {error}\n{}", process.stderr());
        }
        self.process = Some(process);
    }

    /// Kills the daemon as a crash would.
    pub fn kill(&mut self) {
        self.process.as_mut().unwrap().kill();
    }

    /// Stops the daemon as its supervisor would; what it had logged.
    pub fn stop(&mut self) -> String {
        let output = self.process.as_mut().unwrap().stop(SOON).unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stderr
    }

    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().unwrap().signal(signal);
    }

    pub fn pid(&self) -> i32 {
        self.process.as_ref().unwrap().pid().as_raw()
    }

    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// One of the pages for monitoring.
    pub fn page(&self, path: &str) -> http::Response {
        http::get(&self.namespace, METRICS, path).unwrap()
    }

    /// Talks to the daemon's API.
    pub fn ask<T>(&self, ask: impl AsyncFnOnce(Client) -> Result<T, Error>) -> Result<T, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { ask(Client::connect(&self.socket()).await?).await })
    }

    pub fn attach(&self, id: &str, bridge: &str, port: &str) -> Result<Environment, Error> {
        let request = request(id, bridge, port);
        self.ask(async move |mut client| client.attach(&request).await)
    }

    pub fn detach(&self, id: &str) -> Result<(), Error> {
        self.ask(async |mut client| client.detach(id).await)
    }

    /// Ids and states.
    pub fn environments(&self) -> Vec<(String, String)> {
        let list = self.ask(async |mut client| client.environments().await).unwrap();
        list.environments.into_iter().map(|it| (it.environment_id, it.state)).collect()
    }

    /// Waits until something holds that follows from an event.
    #[track_caller]
    pub fn eventually(&self, what: &str, condition: impl FnMut() -> bool) {
        let waited = wait_until(SOON, what, condition);
        assert!(waited.is_ok(), "{waited:?}\n{}", self.log());
    }

    /// Sends a request as it stands; status and body.
    pub fn raw(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
        (status, body.to_owned())
    }
}

pub fn request(id: &str, bridge: &str, port: &str) -> AttachRequest {
    AttachRequest {
        environment_id: Some(id.to_owned()),
        lambda_bridge_id: bridge.to_owned(),
        port: port.to_owned(),
    }
}

/// The code of a refusal.
#[track_caller]
pub fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Refused { code, .. }) => code,
        other => panic!("not refused: {other:?}"),
    }
}
