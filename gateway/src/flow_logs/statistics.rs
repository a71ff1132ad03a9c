//! What was written and lost, for metrics and listings.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use super::lock;

/// What files are written by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriterKind {
    /// `io_uring`.
    Uring,
    /// The usual system calls.
    Plain,
}

impl WriterKind {
    /// Both, for listings.
    pub const ALL: [Self; 2] = [Self::Uring, Self::Plain];

    /// The name that metrics and the configuration use.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Plain => "plain",
        }
    }
}

/// Why the writer has lost records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Files could not be written, and there was no room for more lines.
    WriteFailed,
    /// Files could not be written until the process ended.
    Stopped,
}

impl Loss {
    /// Every reason, for listings.
    pub const ALL: [Self; 2] = [Self::WriteFailed, Self::Stopped];

    /// The name metrics use.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::WriteFailed => "write_failed",
            Self::Stopped => "stopped",
        }
    }
}

/// What became of one flow log's records. All but the last only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogStatistics {
    /// Records written.
    pub records: u64,
    /// Bytes written, as they are in the files.
    pub bytes: u64,
    /// Files begun.
    pub files: u64,
    /// Records lost by the writer.
    pub lost: u64,
    /// Why the last attempt to write failed, if it did.
    pub error: Option<String>,
}

/// The writer's counts.
#[derive(Debug, Default)]
pub struct Statistics {
    writer: OnceLock<(WriterKind, String)>,
    lost: [AtomicU64; Loss::ALL.len()],
    failures: AtomicU64,
    /// By id; one that is gone from the document stays.
    logs: Mutex<BTreeMap<String, LogStatistics>>,
}

impl Statistics {
    /// What writes and why that, once there is something to write.
    pub fn writer(&self) -> Option<(WriterKind, &str)> {
        self.writer.get().map(|(kind, why)| (*kind, why.as_str()))
    }

    /// Records lost by the writer, by reason.
    #[must_use]
    pub fn losses(&self) -> [u64; Loss::ALL.len()] {
        self.lost.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Attempts to make or write a file that failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// One flow log's.
    #[must_use]
    pub fn of(&self, log: &str) -> LogStatistics {
        lock(&self.logs).get(log).cloned().unwrap_or_default()
    }

    pub(super) fn started(&self, kind: WriterKind, why: String) {
        // There is one writer.
        let _ = self.writer.set((kind, why));
    }

    pub(super) fn wrote(&self, log: &str, records: u64, bytes: u64) {
        self.change(log, |it| {
            it.records += records;
            it.bytes += bytes;
            it.error = None;
        });
    }

    pub(super) fn began_file(&self, log: &str, bytes: u64) {
        self.change(log, |it| {
            it.files += 1;
            it.bytes += bytes;
        });
    }

    pub(super) fn failed(&self, log: &str, error: String) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.change(log, |it| it.error = Some(error));
    }

    pub(super) fn lost(&self, log: &str, reason: Loss, records: u64) {
        self.lost[reason as usize].fetch_add(records, Ordering::Relaxed);
        self.change(log, |it| it.lost += records);
    }

    fn change(&self, log: &str, change: impl FnOnce(&mut LogStatistics)) {
        let mut logs = lock(&self.logs);
        match logs.get_mut(log) {
            Some(known) => change(known),
            None => change(logs.entry(log.to_owned()).or_default()),
        }
    }
}
