//! Flow logs on their way from the worker to files.
//!
//! The worker hands batches of records over and never waits: a [`Feed`] sends what fits, the rest
//! stays in the engine, which has room for so many. A thread of its own makes lines of them and
//! writes them, through `io_uring` where the kernel allows it. What a slow or full disk costs is
//! records, which are counted, and said of their interfaces as `SKIPDATA`.
//!
//! | file | idea |
//! | --- | --- |
//! | `feed` | the worker's end |
//! | `writer` | from batches to lines, for every log |
//! | `output` | the lines of one log: files, rotation, another try |
//! | `name` | how a file is called |
//! | `sink` | what a file is written by |
//! | `plain`, `uring` | the two ways |
//! | `statistics` | what was written and lost |

mod feed;
mod name;
mod output;
mod plain;
mod sink;
mod statistics;
mod uring;
mod writer;

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc as blocking};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nf_core::flow_log::Batch;
use nf_core::vpc::Snapshot;
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use crate::config::NodeConfig;
use crate::config::node::WriterChoice;
use output::Rotation;
use sink::Sink;
use writer::{Moment, Writer};

pub use feed::{Feed, since_1970};
pub use statistics::{LogStatistics, Loss, Statistics, WriterKind};

/// Batches under way between the worker and the writer; more stay in the engine.
const BATCHES: usize = 32;

/// The writer cannot be had as it is wanted.
#[derive(Debug, thiserror::Error)]
#[error("cannot write flow logs through io_uring: {0}: set flow_log_writer to auto or plain")]
pub struct Error(#[from] io::Error);

/// The control side's end: starts the writer when there is a flow log, and ends it.
#[derive(Debug)]
pub struct FlowLogs {
    directory: PathBuf,
    choice: WriterChoice,
    rotation: Rotation,
    statistics: Arc<Statistics>,
    waiting: Mutex<Option<mpsc::Receiver<Batch>>>,
    /// Has its other end dropped when the writer is through.
    writing: Mutex<Option<blocking::Receiver<()>>>,
}

impl FlowLogs {
    /// Ready to start, and the worker's end.
    ///
    /// # Errors
    ///
    /// [`Error`] if `io_uring` is asked for and not to be had.
    pub fn new(config: &NodeConfig) -> Result<(Arc<Self>, Feed), Error> {
        if config.flow_log_writer == WriterChoice::Uring {
            uring::runtime()?;
        }
        let (sender, receiver) = mpsc::channel(BATCHES);
        let this = Self {
            directory: config.flow_log_dir.clone(),
            choice: config.flow_log_writer,
            rotation: Rotation {
                every: config.flow_log_rotate(),
                bytes: config.flow_log_file_bytes.get(),
            },
            statistics: Arc::default(),
            waiting: Mutex::new(Some(receiver)),
            writing: Mutex::new(None),
        };
        Ok((Arc::new(this), Feed::new(sender)))
    }

    /// Makes the directory if there is a flow log, while the process may do so anywhere. That it
    /// cannot be made is no reason not to serve: the writer tries again.
    pub fn prepare(&self, snapshot: &Snapshot) {
        if snapshot.flow_logs().next().is_some()
            && let Err(error) = fs::create_dir_all(&self.directory)
        {
            let directory = self.directory.display();
            tracing::warn!(%directory, %error, "cannot make the directory of the flow logs");
        }
    }

    /// Starts the writer if there is a flow log, and none runs yet.
    pub fn follow(&self, snapshot: &Snapshot) {
        if snapshot.flow_logs().next().is_none() {
            return;
        }
        let Some(batches) = lock(&self.waiting).take() else { return };
        let (alive, writing) = blocking::channel::<()>();
        let (choice, statistics) = (self.choice, self.statistics.clone());
        let (directory, rotation) = (self.directory.clone(), self.rotation);
        let write = move || {
            let _alive = alive;
            write(batches, choice, directory, rotation, &statistics);
        };
        match thread::Builder::new().name("flow-logs".to_owned()).spawn(write) {
            Ok(_) => *lock(&self.writing) = Some(writing),
            Err(error) => tracing::error!(%error, "cannot start the writer of the flow logs"),
        }
    }

    /// Waits until the writer has written what there was, which it does once the worker has
    /// stopped. After `patience` it is left alone.
    pub fn finish(&self, patience: Duration) {
        let Some(writing) = lock(&self.writing).take() else { return };
        // Nothing is ever sent: its end is the news.
        if writing.recv_timeout(patience) == Err(blocking::RecvTimeoutError::Timeout) {
            tracing::warn!("gave up on flow log records that are still to be written");
        }
    }

    /// Where files go.
    #[must_use]
    pub const fn directory(&self) -> &PathBuf {
        &self.directory
    }

    /// What was written and lost.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }
}

/// A lock that a panic elsewhere does not take away.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writer's thread.
fn write(
    batches: mpsc::Receiver<Batch>,
    choice: WriterChoice,
    directory: PathBuf,
    rotation: Rotation,
    statistics: &Arc<Statistics>,
) {
    let (kind, why, ring) = match choice {
        WriterChoice::Plain => (WriterKind::Plain, "as configured".to_owned(), None),
        WriterChoice::Auto | WriterChoice::Uring => match uring::runtime() {
            Ok(ring) => (WriterKind::Uring, "the kernel allows it".to_owned(), Some(ring)),
            Err(error) => (WriterKind::Plain, format!("io_uring is not to be had: {error}"), None),
        },
    };
    let label = kind.label();
    tracing::info!(writer = label, %why, directory = %directory.display(), "writing flow logs");
    statistics.started(kind, why);
    let settings = (directory, rotation, statistics.clone());
    if let Some(ring) = ring {
        return ring.block_on(serve(batches, Writer::new(uring::Uring, settings)));
    }
    match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime.block_on(serve(batches, Writer::new(plain::Plain, settings))),
        Err(error) => tracing::error!(%error, "cannot run the writer of the flow logs"),
    }
}

/// Writes until the worker's end is gone.
async fn serve<S: Sink>(mut batches: mpsc::Receiver<Batch>, mut writer: Writer<S>) {
    loop {
        let batch = tokio::select! {
            batch = batches.recv() => match batch {
                Some(batch) => Some(batch),
                None => break,
            },
            () = sleep_until(writer.due().into()) => None,
        };
        if let Some(batch) = batch {
            writer.take(&batch);
        }
        writer.work(moment()).await;
    }
    writer.finish(moment()).await;
}

fn moment() -> Moment {
    Moment { instant: Instant::now(), time: SystemTime::now() }
}
