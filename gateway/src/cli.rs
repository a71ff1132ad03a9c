//! What is typed, and what comes back.
//!
//! | file | idea |
//! | --- | --- |
//! | `check` | both configuration files, without running anything |
//! | `status`, `flows`, `targets`, `nat`, `environment` | listings and orders, through the API |
//! | `network_interface`, `address`, `security_group`, `prefix_list`, `route`, `subnet`, `instance` | resources of the document, through the API's actions |
//! | `action` | any action, as JSON |
//! | `uninstall` | removing what a stopped gateway left |
//! | `output` | tables, JSON, and a reader that closes its end |

mod action;
mod address;
mod check;
mod environment;
mod flows;
mod instance;
mod nat;
mod network_interface;
mod output;
mod prefix_list;
mod route;
mod security_group;
mod status;
mod subnet;
mod targets;
mod uninstall;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::actions::tags::{Tag, TagSpecification};
use crate::actions::{Action, Request};
use crate::api::client::{self, Client};
use crate::api::types::Transaction;
use crate::config::node::Loaded;
use crate::config::{Diagnostic, Flags, NodeConfig};
use crate::{demo, run};

/// How a command failed, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
    Failure = 1,
    Usage = 2,
    Configuration = 3,
    Unreachable = 4,
    Refused = 5,
}

/// Names the socket of the running gateway.
const SOCKET_VARIABLE: &str = "HALFSPACE_SOCKET";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

const EXIT_STATUS: &str = "\
Exit status:
  0  done
  1  failed
  2  wrong usage
  3  a configuration file is invalid
  4  the gateway cannot be reached
  5  the gateway refused";

/// A network-function gateway: NAT gateways, load balancers and Lambda bridges with EC2's names and
/// rules, on one flow-tracking core.
#[derive(Debug, Parser)]
#[command(name = "halfspace", version, after_help = EXIT_STATUS, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a gateway in the foreground
    #[command(after_help = "\
The gateway needs root, or CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_PERFMON.

SIGTERM and SIGINT stop it; established flows go on in the kernel, and the next start takes them
over. The resource document is read again every second; SIGHUP reads it at once.

Settings: flags, then variables (HALFSPACE_LOG_LEVEL=debug), then the file, then defaults.

Examples:
  halfspace run --config /etc/halfspace/gateway.toml
  halfspace run --config gateway.toml --log-format json --metrics-listen 0.0.0.0:9464")]
    Run(Node),

    /// Check both configuration files and say everything that is wrong
    #[command(after_help = "\
Every line names a file, a line, a column and the value's path, as compilers do. Warnings do not
make a configuration invalid.

Examples:
  halfspace check --config gateway.toml
  halfspace check --config gateway.toml --resources new.toml && mv new.toml resources.toml
  halfspace check --config gateway.toml --json | jq '.errors[].message'")]
    Check(check::Check),

    /// Show how the running gateway is doing
    #[command(after_help = "\
Examples:
  halfspace status
  halfspace status --json | jq .flows.current")]
    Status(Ask),

    /// List the flows of the running gateway
    #[command(after_help = "\
The table is read page by page while it changes: a flow that begins or ends meanwhile may or may
not be listed.

Examples:
  halfspace flows --limit 20
  halfspace flows --protocol tcp --state established --address 10.0.1.5
  halfspace flows --port-name eth1 --json | jq -r '.flows[].forward.sent.source'")]
    Flows(flows::Flows),

    /// List the targets of the load balancers and their health
    #[command(after_help = "\
Examples:
  halfspace targets
  halfspace targets --json | jq '.targets[] | select(.state == \"unhealthy\")'")]
    Targets(Ask),

    /// NAT gateways: make them, change their addresses, list them, see who holds their ports
    #[command(subcommand)]
    Nat(nat::Nat),

    /// Attach and detach execution environments
    #[command(subcommand, name = "env")]
    Environment(environment::Environment),

    /// Network interfaces: make, attach, move, change, list them
    #[command(subcommand, name = "eni")]
    Interface(network_interface::Interface),

    /// Elastic IP addresses: allocate, associate, release, list them
    #[command(subcommand, name = "eip")]
    Address(address::Address),

    /// Security groups: make them, change their rules, list them
    #[command(subcommand, name = "sg")]
    SecurityGroup(security_group::SecurityGroup),

    /// Prefix lists: make, change, list them
    #[command(subcommand)]
    PrefixList(prefix_list::PrefixList),

    /// Routes and route tables: make, change, list them
    #[command(subcommand)]
    Route(route::Route),

    /// Subnets: make, change, list them
    #[command(subcommand)]
    Subnet(subnet::Subnet),

    /// Instances: make known, stop, start, terminate, list them
    #[command(subcommand)]
    Instance(instance::Instance),

    /// Have any action of the API carried out
    #[command(after_help = "\
Actions, their parameters and answers are EC2's, in snake_case; docs/api.md lists them. Several
actions as one change are a list of {\"action\": NAME, \"parameters\": {...}} under `actions`,
without a name.

Examples:
  halfspace action DescribeVpcs
  halfspace action CreateVpc '{\"cidr_block\": \"10.1.0.0/16\"}'
  halfspace action DeleteSubnet '{\"subnet_id\": \"subnet-a\", \"dry_run\": true}'
  halfspace action --transaction < changes.json")]
    Action(action::Action),

    /// Remove from the kernel what a stopped gateway left there
    #[command(after_help = "\
A stopped gateway leaves its programs and flow table in the kernel so that established flows go on.
This removes them: links, maps, pins. Flows end. Records of environments stay, and are attached
again by the next start.

Examples:
  halfspace uninstall --config /etc/halfspace/gateway.toml")]
    Uninstall(Node),

    /// Show the gateway at work with real programs, in network namespaces of its own
    #[command(after_help = "\
Without a subject it is the tour: two customers, their environments, a load balancer, a restart.
Needs root, curl, nginx and iperf3; takes about half a minute, checks what it shows, and leaves
nothing behind.

Examples:
  halfspace demo
  halfspace demo --environments 1000 --keep
  halfspace demo eni")]
    Demo(demo::Arguments),
}

/// The node's own settings.
#[derive(Args, Debug)]
struct Node {
    /// The node's own settings
    #[arg(long, value_name = "FILE", default_value = "/etc/halfspace/gateway.toml")]
    config: PathBuf,

    #[command(flatten)]
    flags: Flags,
}

impl Node {
    fn load(&self) -> Result<Loaded, Error> {
        load(&self.config, &self.flags)
    }
}

/// The settings of file, environment and flags.
fn load(file: &Path, flags: &Flags) -> Result<Loaded, Error> {
    // The client's variable is not a setting of the node, nor a misspelt one.
    let environment = std::env::vars_os().filter(|(name, _)| name != SOCKET_VARIABLE);
    NodeConfig::load(file, environment, flags).map_err(Error::Configuration)
}

/// Where the running gateway is.
#[derive(Args, Debug)]
struct Gateway {
    /// Unix socket of the gateway's API [default: /run/halfspace/api.sock]
    #[arg(long, value_name = "FILE", env = SOCKET_VARIABLE)]
    socket: Option<PathBuf>,

    /// The gateway's own settings, to take the socket from if it is not given
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Gateway {
    async fn connect(&self) -> Result<Client, Error> {
        let socket = match (&self.socket, &self.config) {
            (Some(socket), _) => socket.clone(),
            (None, Some(file)) => load(file, &Flags::default())?.config.api_socket(),
            (None, None) => NodeConfig::default().api_socket(),
        };
        Ok(Client::connect(&socket).await?)
    }
}

/// Whom to ask, and how to print the answer.
#[derive(Args, Debug)]
struct Ask {
    #[command(flatten)]
    gateway: Gateway,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Ask {
    /// Has an action carried out, and prints what it answers.
    async fn act<A: Action>(
        &self,
        action: &A,
        print: impl FnOnce(&A::Answer) -> io::Result<()>,
    ) -> Result<(), Error> {
        let answer = self.gateway.connect().await?.act(action).await?;
        self.print(&answer, print)
    }

    /// Has several actions carried out as one change, and prints what they answer.
    async fn transact(
        &self,
        actions: Vec<Request>,
        print: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), Error> {
        let transaction = Transaction { actions, dry_run: false };
        let answers = self.gateway.connect().await?.transact(&transaction).await?;
        self.print(&answers, |_| print())
    }

    fn print<T: Serialize>(
        &self,
        answer: &T,
        print: impl FnOnce(&T) -> io::Result<()>,
    ) -> Result<(), Error> {
        if self.json {
            output::json(answer)?;
        } else {
            print(answer)?;
        }
        Ok(())
    }
}

/// A label on the command line, `key=value`.
fn tag(text: &str) -> Result<Tag, String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok(Tag { key: key.to_owned(), value: value.to_owned() })
}

/// Labels for what is made.
fn tag_specifications(resource_type: &str, tags: &[Tag]) -> Vec<TagSpecification> {
    if tags.is_empty() {
        return Vec::new();
    }
    vec![TagSpecification { resource_type: resource_type.to_owned(), tags: tags.to_vec() }]
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Run(#[from] run::Error),
    #[error("the configuration is invalid")]
    Configuration(Vec<Diagnostic>),
    #[error(transparent)]
    Client(#[from] client::Error),
    #[error(transparent)]
    Uninstall(#[from] uninstall::Error),
    #[error(transparent)]
    Demo(#[from] demo::Failed),
    #[error("{0} is not an address: write one such as 10.0.1.10")]
    NotAnAddress(String),
    #[error("{0} is attached to nothing")]
    NotAttached(String),
    #[error("{0} is associated with nothing")]
    NotAssociated(String),
    #[error("this is not the JSON it should be: {0}")]
    Json(serde_json::Error),
    #[error("cannot print: {0}")]
    Output(#[from] io::Error),
}

impl Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Configuration(_) | Self::Run(run::Error::Configuration(_)) => Exit::Configuration,
            Self::Client(client::Error::Unreachable { .. } | client::Error::NoAnswer { .. }) => {
                Exit::Unreachable
            }
            Self::Client(client::Error::Refused { .. })
            | Self::NotAttached(_)
            | Self::NotAssociated(_) => Exit::Refused,
            Self::Json(_) | Self::NotAnAddress(_) => Exit::Usage,
            Self::Run(_)
            | Self::Client(_)
            | Self::Uninstall(_)
            | Self::Demo(_)
            | Self::Output(_) => Exit::Failure,
        }
    }

    fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Self::Configuration(diagnostics)
            | Self::Run(run::Error::Configuration(diagnostics)) => diagnostics,
            _ => &[],
        }
    }
}

/// Does what the command line says.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(usage) => {
            // Also `--help`, which ends with 0. A closed standard output is nobody to tell.
            let _ = usage.print();
            return if usage.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    match execute(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough: `halfspace flows | head`.
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            for diagnostic in error.diagnostics() {
                eprintln!("error: {diagnostic}");
            }
            eprintln!("halfspace: {error}");
            error.exit().into()
        }
    }
}

fn execute(command: Command) -> Result<(), Error> {
    match command {
        Command::Run(node) => Ok(run::run(node.load()?)?),
        Command::Check(check) => check.execute(),
        Command::Uninstall(node) => uninstall::execute(&node.load()?.config),
        Command::Status(how) => ask(status::execute(&how)),
        Command::Flows(flows) => ask(flows.execute()),
        Command::Targets(how) => ask(targets::execute(&how)),
        Command::Nat(nat) => ask(nat.execute()),
        Command::Environment(environment) => ask(environment.execute()),
        Command::Interface(interface) => ask(interface.execute()),
        Command::Address(address) => ask(address.execute()),
        Command::SecurityGroup(group) => ask(group.execute()),
        Command::PrefixList(list) => ask(list.execute()),
        Command::Route(route) => ask(route.execute()),
        Command::Subnet(subnet) => ask(subnet.execute()),
        Command::Instance(instance) => ask(instance.execute()),
        Command::Action(action) => ask(action.execute()),
        Command::Demo(arguments) => Ok(demo::run(&arguments)?),
    }
}

/// Runs what talks to the gateway.
fn ask(work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
