//! The settings of a node that its command line may give: the last word over file and environment.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::node::{DatapathChoice, HookChoice, LogFormat, LogLevel, WriterChoice};

/// Flags that stand for keys of `gateway.toml`, each with the key's name.
#[derive(Args, Clone, Debug, Default, Serialize)]
pub struct Flags {
    /// Resource document
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<PathBuf>,

    /// What moves the packets
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datapath: Option<DatapathChoice>,

    /// Where the kernel program is attached on ports without a setting of their own
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<HookChoice>,

    /// Flows to have room for
    #[arg(long, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flows: Option<u32>,

    /// How many of them may be IPv6
    #[arg(long, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6_flows: Option<u32>,

    /// Directory of the API socket and other run-time files
    #[arg(long, value_name = "DIRECTORY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<PathBuf>,

    /// Directory of pinned BPF maps and links
    #[arg(long, value_name = "DIRECTORY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin_dir: Option<PathBuf>,

    /// CPU to keep the packet worker on
    #[arg(long, value_name = "NUMBER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_cpu: Option<u32>,

    /// Unix socket of the API
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_socket: Option<PathBuf>,

    /// Address and port of the metrics and health pages
    #[arg(long, value_name = "ADDRESS:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_listen: Option<SocketAddr>,

    /// Form of the logs
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,

    /// Least severe level that is logged
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<LogLevel>,

    /// Seconds between two readings of the resource document
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_seconds: Option<u32>,

    /// Directory of flow logs
    #[arg(long, value_name = "DIRECTORY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_log_dir: Option<PathBuf>,

    /// What files of flow logs are written by
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_log_writer: Option<WriterChoice>,

    /// Seconds after which another file of a flow log is begun
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_log_rotate_seconds: Option<u32>,

    /// Bytes that a file of a flow log has before another is begun
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_log_file_bytes: Option<u32>,

    /// Seed of every random choice, to replay a run
    #[arg(long, value_name = "NUMBER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}
