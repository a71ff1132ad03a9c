//! Logs, to standard error: for people, or one JSON object a line.

use std::io::{self, IsTerminal as _};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt;

use crate::config::NodeConfig;
use crate::config::node::{LogFormat, LogLevel};

/// Logs from now on, as configured. A second call changes nothing.
pub fn start(config: &NodeConfig) {
    let level = match config.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let logs = fmt().with_max_level(level).with_writer(io::stderr);
    let started = match config.log_format {
        LogFormat::Human => {
            logs.with_target(false).with_ansi(io::stderr().is_terminal()).try_init()
        }
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    // The only error is that somebody has set logs up before.
    drop(started);
}
