//! From batches to lines, for every log that wants them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use nf_core::flow_log::Batch;
use nf_core::vpc::FlowLog;
use nf_core::vpc::id::FlowLogId;

use super::output::{Output, Rotation};
use super::sink::Sink;
use super::statistics::{Loss, Statistics};

/// How often something is looked at that nobody tells of: files whose span is over, lines that
/// have waited for long enough.
const BEAT: Duration = Duration::from_secs(1);

/// Outputs that wait for their end at the most: a log may change faster than a disk takes its lines.
const MOST_ENDING: usize = 8;

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// For how long something takes.
    pub instant: Instant,
    /// For what is written.
    pub time: SystemTime,
}

/// Every log's output.
pub(super) struct Writer<S: Sink> {
    sink: S,
    directory: PathBuf,
    rotation: Rotation,
    statistics: Arc<Statistics>,
    outputs: BTreeMap<FlowLogId, Output<S::File>>,
    /// Those of logs that are others now.
    ending: Vec<Output<S::File>>,
    due: Instant,
}

impl<S: Sink> Writer<S> {
    pub fn new(
        sink: S,
        (directory, rotation, statistics): (PathBuf, Rotation, Arc<Statistics>),
    ) -> Self {
        let due = Instant::now() + BEAT;
        let (outputs, ending) = (BTreeMap::new(), Vec::new());
        Self { sink, directory, rotation, statistics, outputs, ending, due }
    }

    /// When [`Self::work`] wants to be called at the latest.
    pub const fn due(&self) -> Instant {
        self.due
    }

    /// Makes lines of records. They are written by the next calls of [`Self::work`].
    pub fn take(&mut self, batch: &Batch) {
        for record in &batch.records {
            // A number that its batch does not know is nobody's.
            let Some(interface) = batch.interfaces.get(record.interface) else { continue };
            for log in interface.flow_logs().filter(|log| record.is_for(log)) {
                let statistics = self.statistics.clone();
                self.output(log).add(record, interface, &statistics);
            }
        }
    }

    /// Writes what is to be written by now.
    pub async fn work(&mut self, moment: Moment) {
        let around = (&self.sink, &*self.directory, &self.rotation, &*self.statistics);
        for output in self.outputs.values_mut().chain(&mut self.ending) {
            output.work(moment, around).await;
        }
        self.outputs.retain(|_, output| !output.is_idle());
        self.ending.retain(|output| !output.is_idle());
        self.due = moment.instant + BEAT;
    }

    /// Writes what there is, because there will be no more. What cannot be written is lost.
    pub async fn finish(&mut self, moment: Moment) {
        let around = (&self.sink, &*self.directory, &self.rotation, &*self.statistics);
        for output in self.outputs.values_mut().chain(&mut self.ending) {
            output.finish(moment, around).await;
        }
        self.outputs.clear();
        self.ending.clear();
    }

    /// The output of a log as it is now. One that the log had as it was goes on to its end.
    fn output(&mut self, log: &FlowLog) -> &mut Output<S::File> {
        let before = self.outputs.get(&log.id).is_some_and(|output| output.log() != log);
        if before && let Some(mut output) = self.outputs.remove(&log.id) {
            output.end();
            self.ending.push(output);
            if self.ending.len() > MOST_ENDING {
                self.ending.remove(0).give_up(Loss::WriteFailed, &self.statistics);
            }
        }
        self.outputs.entry(log.id.clone()).or_insert_with(|| Output::new(log.clone()))
    }
}
