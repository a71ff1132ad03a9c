//! The node's own bootstrap: how this process runs. Defaults < `gateway.toml` < environment
//! (`HALFSPACE_…`) < flags.
//!
//! The layers are merged by the crate `config`, which forgets lines and lower-cases keys. So the
//! file is read by the strict reader first, which fills in the defaults and finds every error with
//! its line; and interface names, which have upper case, are values and never keys. Of the
//! environment every variable is tried alone, so that a wrong one is named.

use std::collections::HashMap;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::config::{Config, ConfigError, Environment};
use clap::ValueEnum;
use nf_core::flow::Capacity;
use nf_core::vpc;
use serde::{Deserialize, Serialize};
use toml::de::DeTable;

use super::locate::place_of;
use super::source::Source;
use super::{Diagnostic, Flags, shape};

/// What every variable of ours begins with.
const PREFIX: &str = "HALFSPACE_";

/// The keys that a variable can set: all that hold one value. A list, because other programs set
/// variables with our prefix: Kubernetes makes `HALFSPACE_PORT` for a service named `halfspace`.
const KEYS: [&str; 18] = [
    "resources",
    "datapath",
    "hook",
    "flows",
    "ipv6_flows",
    "state_dir",
    "pin_dir",
    "worker_cpu",
    "api_socket",
    "metrics_listen",
    "log_format",
    "log_level",
    "refresh_seconds",
    "flow_log_dir",
    "flow_log_writer",
    "flow_log_rotate_seconds",
    "flow_log_file_bytes",
    "seed",
];

/// How this node runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// The resource document. In the file a relative path starts at the file's own directory, in a
    /// variable or flag at the working directory.
    pub resources: PathBuf,
    /// What moves the packets.
    pub datapath: DatapathChoice,
    /// Where the kernel program is attached on ports without a setting of their own.
    pub hook: HookChoice,
    /// Settings of single ports.
    pub port: Vec<PortConfig>,
    /// How many flows there is room for. More are refused; nothing grows.
    pub flows: FlowCapacity,
    /// How many of them may be IPv6. Left out: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6_flows: Option<FlowCapacity>,
    /// Directory of the API socket and other run-time files.
    pub state_dir: PathBuf,
    /// Directory of the pinned maps and links, on a BPF file system. Two gateways on one host need
    /// different ones.
    pub pin_dir: PathBuf,
    /// The CPU that the packet worker is kept on. Left out: wherever the scheduler puts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_cpu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_socket: Option<PathBuf>,
    /// Where metrics and health are served.
    pub metrics_listen: SocketAddr,
    /// Form of the logs.
    pub log_format: LogFormat,
    /// Least severe level that is logged.
    pub log_level: LogLevel,
    #[serde(rename = "refresh_seconds")]
    refresh: RefreshBeat,
    /// Where flow logs go, each to the directory below it that the resource document names. Not in
    /// the state directory: that is memory on most hosts, and gone with the next start of the host.
    pub flow_log_dir: PathBuf,
    /// What files of flow logs are written by.
    pub flow_log_writer: WriterChoice,
    #[serde(rename = "flow_log_rotate_seconds")]
    flow_log_rotate: RotateBeat,
    /// How many bytes a file of a flow log has before another is begun.
    pub flow_log_file_bytes: FileBytes,
    /// Seed of every random choice, to replay a run. Left out: unpredictable, as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            resources: "resources.toml".into(),
            datapath: DatapathChoice::default(),
            hook: HookChoice::default(),
            port: Vec::new(),
            flows: FlowCapacity(262_144),
            ipv6_flows: None,
            state_dir: "/run/halfspace".into(),
            pin_dir: "/sys/fs/bpf/halfspace".into(),
            worker_cpu: None,
            api_socket: None,
            metrics_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)),
            log_format: LogFormat::default(),
            log_level: LogLevel::default(),
            refresh: RefreshBeat(1),
            flow_log_dir: "/var/log/halfspace".into(),
            flow_log_writer: WriterChoice::default(),
            // EC2 begins a file every five minutes, and when one has 75 MB.
            flow_log_rotate: RotateBeat(300),
            flow_log_file_bytes: FileBytes(75_000_000),
            seed: None,
        }
    }
}

/// What moves packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DatapathChoice {
    /// The kernel program where it can be loaded, else user space.
    #[default]
    Auto,
    /// The kernel program or nothing.
    Ebpf,
    /// `AF_PACKET` and the engine alone.
    Userspace,
}

/// Where on a port the kernel program is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum HookChoice {
    /// XDP where the driver has it natively and nothing is lost by it, else tc.
    #[default]
    Auto,
    /// tcx ingress: keeps super-packets and unfinished checksums.
    Tc,
    /// XDP: before the kernel makes a packet buffer.
    Xdp,
}

/// What files of flow logs are written by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum WriterChoice {
    /// `io_uring` where the kernel allows it, else the usual system calls.
    #[default]
    Auto,
    /// `io_uring` or nothing.
    Uring,
    /// The usual system calls.
    Plain,
}

/// Form of the logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One object a line.
    Json,
}

/// How severe an event has to be to be logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What needs somebody.
    Error,
    /// What may soon.
    Warn,
    /// What changed.
    #[default]
    Info,
    /// Why it changed.
    Debug,
    /// Everything.
    Trace,
}

/// Settings of one port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortConfig {
    /// The Linux interface.
    pub name: String,
    /// Where the kernel program is attached on it.
    pub hook: HookChoice,
}

/// A number of flows, 1,024 to 16,777,216. The kernel sets memory aside for them at the start: about
/// 290 bytes for each of `flows` and 390 for each of `ipv6_flows`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct FlowCapacity(u32);

impl FlowCapacity {
    const RANGE: std::ops::RangeInclusive<u32> = 1024..=1 << 24;

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Seconds between two readings of the resource document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
struct RefreshBeat(u32);

impl RefreshBeat {
    const RANGE: std::ops::RangeInclusive<u32> = 1..=3600;
}

/// Seconds after which another file of a flow log is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
struct RotateBeat(u32);

impl RotateBeat {
    const RANGE: std::ops::RangeInclusive<u32> = 60..=86_400;
}

/// A size of a file, 64 KiB to 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct FileBytes(u32);

impl FileBytes {
    const RANGE: std::ops::RangeInclusive<u32> = 65_536..=u32::MAX;

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0 as u64
    }
}

macro_rules! bounded {
    ($name:ident) => {
        impl TryFrom<u32> for $name {
            type Error = String;

            fn try_from(number: u32) -> Result<Self, String> {
                if Self::RANGE.contains(&number) {
                    Ok(Self(number))
                } else {
                    let (min, max) = (Self::RANGE.start(), Self::RANGE.end());
                    Err(format!("{number} is outside {min} to {max}"))
                }
            }
        }

        impl From<$name> for u32 {
            fn from(number: $name) -> Self {
                number.0
            }
        }
    };
}

bounded!(FlowCapacity);
bounded!(RefreshBeat);
bounded!(RotateBeat);
bounded!(FileBytes);

/// A node's configuration and what should be said about it.
#[derive(Debug)]
pub struct Loaded {
    /// The merged settings.
    pub config: NodeConfig,
    /// Variables that look like ours and set nothing.
    pub warnings: Vec<Diagnostic>,
}

impl NodeConfig {
    /// Reads a file and lays `environment` (as of [`std::env::vars_os`]) and `flags` over it.
    ///
    /// # Errors
    ///
    /// Everything wrong with the file or, if that is good, with variables and flags; never an
    /// empty list.
    pub fn load(
        file: &Path,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &Flags,
    ) -> Result<Loaded, Vec<Diagnostic>> {
        let source = Source::read(file).map_err(|error| vec![error])?;
        let base = Self::from_source(&source)?;
        let (variables, warnings) = Variables::of(environment)?;

        let wrong: Vec<Diagnostic> = variables
            .each()
            .filter_map(|(name, key, alone)| {
                let error = merged(&base, alone.clone(), &Flags::default()).err()?;
                let message = unknown_variant(alone).unwrap_or_else(|| cause(&error));
                Some(Diagnostic::of(name, key, message))
            })
            .collect();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let layered = merged(&base, variables.0.clone(), flags);
        let mut config = layered
            .map_err(|error| vec![Diagnostic::of("command line", &key(&error), cause(&error))])?;
        if flags.resources.is_none() && !variables.has("resources") {
            let directory = file.parent().unwrap_or(Path::new(""));
            config.resources = directory.join(&config.resources);
        }
        Ok(Loaded { config, warnings })
    }

    /// The Unix socket of the API: in the state directory unless it is given.
    #[must_use]
    pub fn api_socket(&self) -> PathBuf {
        self.api_socket.clone().unwrap_or_else(|| self.state_dir.join("api.sock"))
    }

    /// Time between two readings of the resource document.
    #[must_use]
    pub const fn refresh(&self) -> Duration {
        Duration::from_secs(self.refresh.0 as u64)
    }

    /// Time after which another file of a flow log is begun.
    #[must_use]
    pub const fn flow_log_rotate(&self) -> Duration {
        Duration::from_secs(self.flow_log_rotate.0 as u64)
    }

    /// How many flows of which family there is room for.
    #[must_use]
    pub fn flow_capacity(&self) -> Capacity {
        let ipv6_flows = self.ipv6_flows.unwrap_or(self.flows).get() as usize;
        Capacity { flows: self.flows.get() as usize, ipv6_flows }
    }

    /// Where the kernel program is to be attached on a port.
    #[must_use]
    pub fn hook_of(&self, port: &str) -> HookChoice {
        self.port.iter().find(|it| it.name == port).map_or(self.hook, |it| it.hook)
    }

    /// Defaults and the file.
    fn from_source(source: &Source) -> Result<Self, Vec<Diagnostic>> {
        let strip = |it: Diagnostic| Diagnostic { code: None, ..it };
        let config: Self = shape::read(source)
            .map_err(|errors: Vec<_>| errors.into_iter().map(strip).collect::<Vec<_>>())?;
        let (tree, _) = DeTable::parse_recoverable(source.text());
        let mut wrong = Vec::new();
        for (place, port) in config.port.iter().enumerate() {
            if config.port[..place].iter().any(|it| it.name == port.name) {
                let path = vpc::Path::of("port", place).key("name");
                let message = format!("`{}` has settings already: merge the two", port.name);
                let at = place_of(tree.get_ref(), &path);
                wrong.push(source.diagnostic(at, path.to_string(), message));
            }
        }
        if wrong.is_empty() { Ok(config) } else { Err(wrong) }
    }
}

fn merged(
    base: &NodeConfig,
    variables: HashMap<String, String>,
    flags: &Flags,
) -> Result<NodeConfig, ConfigError> {
    let environment = Environment::default().source(Some(variables.into_iter().collect()));
    Config::builder()
        .add_source(Config::try_from(base)?)
        .add_source(environment)
        .add_source(Config::try_from(flags)?)
        .build()?
        .try_deserialize()
}

/// What is wrong, without the key and origin that the diagnostic names itself.
fn cause(error: &ConfigError) -> String {
    match error {
        ConfigError::At { error, .. } => cause(error),
        ConfigError::Type { unexpected, expected, .. } => {
            format!("invalid type: {unexpected}, expected {expected}")
        }
        other => other.to_string(),
    }
}

/// What the strict reader says about a word that is none of a setting's: it lists the right ones.
fn unknown_variant(setting: HashMap<String, String>) -> Option<String> {
    let table: toml::Table = setting.into_iter().map(|(key, word)| (key, word.into())).collect();
    let error = table.try_into::<NodeConfig>().err()?;
    error.message().starts_with("unknown variant").then(|| error.message().to_owned())
}

fn key(error: &ConfigError) -> String {
    match error {
        ConfigError::At { key: Some(key), .. } | ConfigError::Type { key: Some(key), .. } => {
            key.clone()
        }
        _ => String::new(),
    }
}

/// The settings of the environment, by key.
struct Variables(HashMap<String, String>);

impl Variables {
    /// Picks ours out; what only looks like ours comes back as warnings.
    fn of(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let (mut settings, mut warnings, mut wrong) = (HashMap::new(), Vec::new(), Vec::new());
        for (name, value) in environment {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
                continue;
            };
            let Some(key) = KEYS.into_iter().find(|key| variable(key) == name) else {
                let known = KEYS.map(variable).join(", ");
                let message = format!("sets nothing; the variables are {known}");
                warnings.push(Diagnostic::of(name, "", message));
                continue;
            };
            match value.into_string() {
                Ok(value) => _ = settings.insert(key.to_owned(), value),
                Err(_) => wrong.push(Diagnostic::of(name, key, "not UTF-8")),
            }
        }
        warnings.sort_by(|a, b| a.file.cmp(&b.file));
        if wrong.is_empty() { Ok((Self(settings), warnings)) } else { Err(wrong) }
    }

    fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Every variable alone: its name, its key, and the layer it makes. In a fixed order.
    fn each(&self) -> impl Iterator<Item = (String, &'static str, HashMap<String, String>)> {
        KEYS.into_iter().filter_map(|key| {
            let value = self.0.get(key)?.clone();
            Some((variable(key), key, HashMap::from([(key.to_owned(), value)])))
        })
    }
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase())
}

#[cfg(test)]
mod tests;
