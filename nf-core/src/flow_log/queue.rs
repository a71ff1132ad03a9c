//! Records on their way out, at most so many.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::interfaces::LoggedInterfaces;
use super::record::Record;
use crate::time::Time;

/// Records of a batch at the most.
const BATCH: usize = 1024;

/// Records in all batches at the most: about 10 MB.
const CAPACITY: usize = 32_768;

/// How long a batch waits for more records.
const PATIENCE: Duration = Duration::from_secs(1);

/// Records, and what they name their interfaces by.
#[derive(Debug)]
pub struct Batch {
    /// Where the interfaces of its records are found.
    pub interfaces: Arc<LoggedInterfaces>,
    /// In the order in which they were made.
    pub records: Vec<Record>,
}

/// Batches that were not taken yet.
#[derive(Debug, Default)]
pub(super) struct Queue {
    batches: VecDeque<Batch>,
    records: usize,
    /// When the first record of the last batch came.
    since: Time,
}

impl Queue {
    pub const fn len(&self) -> usize {
        self.records
    }

    pub const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Whether there is so little room that what can wait should: half of it is kept for records
    /// that cannot be made later.
    pub const fn is_half_full(&self) -> bool {
        self.records >= CAPACITY / 2
    }

    /// Adds a record; `false` if there is no room.
    #[must_use]
    pub fn push(&mut self, now: Time, interfaces: &Arc<LoggedInterfaces>, record: Record) -> bool {
        if self.records == CAPACITY {
            return false;
        }
        let fits = |batch: &&mut Batch| {
            batch.records.len() < BATCH && Arc::ptr_eq(&batch.interfaces, interfaces)
        };
        self.records += 1;
        if let Some(batch) = self.batches.back_mut().filter(fits) {
            batch.records.push(record);
        } else {
            let interfaces = interfaces.clone();
            self.batches.push_back(Batch { interfaces, records: vec![record] });
            self.since = now;
        }
        true
    }

    /// When the first batch is ready to be taken, if there is one.
    pub fn ready_at(&self) -> Option<Time> {
        let first = self.batches.front()?;
        let waits = self.batches.len() == 1 && first.records.len() < BATCH;
        Some(if waits { self.since + PATIENCE } else { self.since })
    }

    /// Takes the first batch, ready or not.
    pub fn take(&mut self) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        self.records -= batch.records.len();
        Some(batch)
    }
}
