//! The worker's end: hands over what is ready, and never waits.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nf_core::engine::Engine;
use nf_core::fast_path::FastPath;
use nf_core::flow_log::Batch;
use nf_core::time::Time;
use tokio::sync::mpsc;

/// How often the engine is told the time of day, while there is something to log.
const BEAT: Duration = Duration::from_secs(1);

/// How long the last records of a worker that stops may take to be handed over.
const LAST_RECORDS: Duration = Duration::from_secs(5);

/// Where the worker leaves records.
#[derive(Debug)]
pub struct Feed {
    batches: mpsc::Sender<Batch>,
    next_beat: Time,
}

impl Feed {
    pub(super) fn new(batches: mpsc::Sender<Batch>) -> Self {
        Self { batches, next_beat: Time::default() }
    }

    /// Hands over the batches that are ready, as many as there is room for.
    pub fn turn(&mut self, engine: &mut Engine, now: Time) {
        let ledger = engine.flow_logs_mut();
        if !ledger.is_active() {
            return;
        }
        if now >= self.next_beat {
            ledger.set_wall_clock(now, since_1970());
            self.next_beat = now + BEAT;
        }
        while let Ok(room) = self.batches.try_reserve() {
            let Some(batch) = ledger.take(now) else { return };
            room.send(batch);
        }
    }

    /// Tells all that there is to tell, because the worker stops; for at most `LAST_RECORDS`.
    pub fn finish(&mut self, engine: &mut Engine, fast_path: &mut dyn FastPath, now: Time) {
        if !engine.flow_logs().is_active() {
            return;
        }
        engine.flow_logs_mut().close_early(now);
        let pause = Duration::from_millis(1);
        let mut patience = LAST_RECORDS;
        loop {
            let more = engine.continue_flow_logs(now, fast_path);
            let mut room = self.batches.try_reserve();
            while let Ok(place) = room {
                let Some(batch) = engine.flow_logs_mut().take_any() else {
                    if more {
                        break;
                    }
                    return;
                };
                place.send(batch);
                room = self.batches.try_reserve();
            }
            let is_gone = self.batches.is_closed();
            if is_gone || patience.is_zero() {
                let records = engine.flow_logs().queued();
                tracing::warn!(records, "flow log records could not be handed over in time");
                return;
            }
            if self.batches.capacity() == 0 {
                patience = patience.saturating_sub(pause);
                thread::sleep(pause);
            }
        }
    }
}

/// The time of day.
#[must_use]
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
