//! The lines of one flow log: gathered, written to files that are neither too large nor too old,
//! tried again when that fails.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use flate2::write::GzEncoder;
use nf_core::flow_log::{LoggedInterface, Record};
use nf_core::vpc::id::{EniId, ResourceId as _};
use nf_core::vpc::{Compression, FlowLog};

use super::name::{file_name, span_of};
use super::sink::Sink;
use super::statistics::{Loss, Statistics};
use super::writer::Moment;

/// Bytes of lines that are written at once.
const CHUNK: usize = 256 * 1024;

/// Bytes of lines that wait for a disk at the most.
const MOST: usize = 4 * 1024 * 1024;

/// How long a line waits for others.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long to wait after a first failure; twice as long after each further one.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Names that are tried for a file.
const NAMES: u32 = 16;

/// When a file is ended and another begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rotation {
    /// After so long, at multiples of it.
    pub every: Duration,
    /// Before it has more bytes than this, unless one write alone has.
    pub bytes: u64,
}

/// What an output works with: the sink, the directory of all logs, when to rotate, what to count.
pub(super) type Around<'a, S> = (&'a S, &'a Path, &'a Rotation, &'a Statistics);

/// One flow log's.
pub(super) struct Output<F> {
    log: FlowLog,
    /// Whether there will be no more lines.
    is_ending: bool,
    lines: Lines,
    /// What could not be written: it is first.
    stuck: Option<Chunk>,
    retry: Option<Retry>,
    file: Option<Open<F>>,
    /// Interfaces of which lines were lost, and of what time.
    skipped: BTreeMap<EniId, (u64, u64)>,
}

/// Lines that are not written yet.
#[derive(Default)]
struct Lines {
    text: String,
    records: u64,
    /// Since when there are any.
    since: Option<Instant>,
}

/// Lines as they go to a file.
struct Chunk {
    bytes: Vec<u8>,
    records: u64,
}

/// A file that is written to.
struct Open<F> {
    file: F,
    path: PathBuf,
    span: SystemTime,
    bytes: u64,
}

#[derive(Clone, Copy)]
struct Retry {
    at: Instant,
    wait: Duration,
}

impl<F> Output<F> {
    pub fn new(log: FlowLog) -> Self {
        Self {
            log,
            is_ending: false,
            lines: Lines::default(),
            stuck: None,
            retry: None,
            file: None,
            skipped: BTreeMap::new(),
        }
    }

    /// The log as its lines are.
    pub const fn log(&self) -> &FlowLog {
        &self.log
    }

    /// Has it written to its end: there will be no more lines.
    pub const fn end(&mut self) {
        self.is_ending = true;
    }

    /// Whether nothing is left to do.
    pub fn is_idle(&self) -> bool {
        let is_written = self.lines.records == 0 && self.stuck.is_none() && self.file.is_none();
        is_written && (self.is_ending || self.skipped.is_empty())
    }

    /// Adds a record's line, if there is room.
    pub fn add(&mut self, record: &Record, interface: &LoggedInterface, statistics: &Statistics) {
        let eni = &interface.eni().id;
        if self.lines.text.len() >= MOST {
            statistics.lost(self.log.id.as_str(), Loss::WriteFailed, 1);
            let lost = self.skipped.entry(eni.clone()).or_insert((record.start, record.end));
            *lost = (lost.0.min(record.start), lost.1.max(record.end));
            return;
        }
        if let Some((start, end)) = self.skipped.remove(eni) {
            self.lines.add(&self.log, &record.skipped(start, end), interface);
        }
        self.lines.add(&self.log, record, interface);
    }

    /// Writes what has waited for long enough, and ends a file whose time is over.
    pub async fn work<S: Sink<File = F>>(&mut self, moment: Moment, around: Around<'_, S>) {
        let (sink, _, rotation, statistics) = around;
        if self.retry.is_some_and(|retry| moment.instant < retry.at) {
            return;
        }
        while let Some(chunk) = self.next_chunk(moment.instant) {
            let (records, bytes) = (chunk.records, chunk.bytes.len() as u64);
            if let Err((error, chunk)) = self.write(chunk, moment, around).await {
                self.stuck = Some(chunk);
                self.failed(&error, moment.instant, statistics);
                return;
            }
            if self.retry.take().is_some() {
                tracing::info!(flow_log = %self.log.id, "the flow log is written again");
            }
            statistics.wrote(self.log.id.as_str(), records, bytes);
        }
        let span = span_of(moment.time, rotation.every);
        if let Some(file) = self.file.take_if(|file| self.is_ending || file.span != span) {
            self.close(file, sink, statistics).await;
        }
    }

    /// Writes all there is. What cannot be written is lost.
    pub async fn finish<S: Sink<File = F>>(&mut self, moment: Moment, around: Around<'_, S>) {
        let (sink, _, _, statistics) = around;
        self.is_ending = true;
        self.retry = None;
        self.work(moment, around).await;
        self.give_up(Loss::Stopped, statistics);
        if let Some(file) = self.file.take() {
            cut(&file);
            self.close(file, sink, statistics).await;
        }
    }

    /// Counts what is not written yet as lost.
    pub fn give_up(&mut self, reason: Loss, statistics: &Statistics) {
        let stuck = self.stuck.take().map_or(0, |chunk| chunk.records);
        let lost = stuck + std::mem::take(&mut self.lines).records;
        if lost > 0 {
            statistics.lost(self.log.id.as_str(), reason, lost);
            tracing::warn!(flow_log = %self.log.id, records = lost, "records could not be written");
        }
    }

    /// What is to be written next, if it is time.
    fn next_chunk(&mut self, now: Instant) -> Option<Chunk> {
        if let Some(stuck) = self.stuck.take() {
            return Some(stuck);
        }
        let since = self.lines.since?;
        let is_due = self.is_ending
            || self.lines.text.len() >= CHUNK
            || now.saturating_duration_since(since) >= PATIENCE;
        is_due.then(|| {
            let Lines { text, records, .. } = std::mem::take(&mut self.lines);
            Chunk { bytes: encode(text, self.log.compression), records }
        })
    }

    /// Writes lines to the file that they belong to. If that fails they are given back.
    async fn write<S: Sink<File = F>>(
        &mut self,
        Chunk { bytes, records }: Chunk,
        moment: Moment,
        around: Around<'_, S>,
    ) -> Result<(), (io::Error, Chunk)> {
        let (sink, _, rotation, statistics) = around;
        let span = span_of(moment.time, rotation.every);
        let is_over = |file: &mut Open<F>| {
            file.span != span || file.bytes + bytes.len() as u64 > rotation.bytes
        };
        if let Some(file) = self.file.take_if(is_over) {
            self.close(file, sink, statistics).await;
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => match self.open(span, moment, around).await {
                Ok(file) => file,
                Err(error) => return Err((error, Chunk { bytes, records })),
            },
        };
        let (written, bytes) = sink.write(&file.file, bytes, file.bytes).await;
        match written {
            Ok(()) => {
                file.bytes += bytes.len() as u64;
                self.file = Some(file);
                Ok(())
            }
            Err(error) => {
                if is_for_want_of_room(&error) {
                    // The same again, at the same place, once there is room.
                    self.file = Some(file);
                } else {
                    cut(&file);
                    self.close(file, sink, statistics).await;
                }
                Err((error, Chunk { bytes, records }))
            }
        }
    }

    /// Begins a file.
    async fn open<S: Sink<File = F>>(
        &self,
        span: SystemTime,
        moment: Moment,
        (sink, directory, _, statistics): Around<'_, S>,
    ) -> io::Result<Open<F>> {
        let directory = directory.join(&*self.log.destination);
        fs::create_dir_all(&directory)?;
        let mut names = (0..NAMES).map(|n| file_name(&self.log, span, hash(moment.time, n)));
        let (path, file) = loop {
            let Some(name) = names.next() else { return Err(ErrorKind::AlreadyExists.into()) };
            let path = directory.join(name);
            match sink.create(&path).await {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        };
        let header = encode(self.log.format.header() + "\n", self.log.compression);
        let (written, header) = sink.write(&file, header, 0).await;
        if let Err(error) = written {
            // Whatever comes of these two, the first error is what matters.
            let _ = sink.close(file).await;
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        statistics.began_file(self.log.id.as_str(), header.len() as u64);
        Ok(Open { file, path, span, bytes: header.len() as u64 })
    }

    async fn close<S: Sink<File = F>>(&self, file: Open<F>, sink: &S, statistics: &Statistics) {
        if let Err(error) = sink.close(file.file).await {
            tracing::warn!(file = %file.path.display(), %error, "cannot close a flow log's file");
            statistics.failed(self.log.id.as_str(), error.to_string());
        }
    }

    fn failed(&mut self, error: &io::Error, now: Instant, statistics: &Statistics) {
        let wait = self.retry.map_or(FIRST_WAIT, |retry| (2 * retry.wait).min(LONGEST_WAIT));
        if self.retry.is_none() {
            tracing::warn!(flow_log = %self.log.id, %error, "cannot write a flow log: trying on");
        }
        self.retry = Some(Retry { at: now + wait, wait });
        statistics.failed(self.log.id.as_str(), error.to_string());
    }
}

impl Lines {
    fn add(&mut self, log: &FlowLog, record: &Record, interface: &LoggedInterface) {
        log.format.print(record, interface, &mut self.text);
        self.text.push('\n');
        self.records += 1;
        self.since.get_or_insert_with(Instant::now);
    }
}

/// Lines as a log's files have them. Each write is a whole gzip member, and RFC 1952 2.2 says: "A
/// gzip file consists of a series of "members" (compressed data sets)". So a file can be read at
/// any time, however it ends.
fn encode(text: String, compression: Compression) -> Vec<u8> {
    match compression {
        Compression::None => text.into_bytes(),
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder
                .write_all(text.as_bytes())
                .and_then(|()| encoder.finish())
                .unwrap_or_else(|_| unreachable!("a vector takes everything"))
        }
    }
}

/// Whether an attempt failed because a disk is full, or what its owner may have of it.
fn is_for_want_of_room(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Takes half a line away that a failed write has left at a file's end. It is tried, not relied
/// upon: the file may be what fails.
fn cut<F>(file: &Open<F>) {
    let cut = fs::OpenOptions::new().write(true).open(&file.path);
    let cut = cut.and_then(|it| it.set_len(file.bytes));
    if let Err(error) = cut {
        tracing::debug!(file = %file.path.display(), %error, "cannot cut a flow log's file");
    }
}

/// What tells the files apart that begin in one minute.
fn hash(time: SystemTime, n: u32) -> u32 {
    let mut hasher = DefaultHasher::new();
    (time, n, std::process::id()).hash(&mut hasher);
    hasher.finish() as u32
}
