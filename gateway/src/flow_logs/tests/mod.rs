//! Records of an engine as the writer leaves them in files, on disks that are good and bad.

mod feed;
mod files;
mod trouble;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, UNIX_EPOCH};

use nf_core::flow_log::Batch;
use nf_core::packet::MacAddr;
use nf_core::packet::build::Frame;
use nf_core::testing::World;
use tempfile::TempDir;

use super::output::Rotation;
use super::plain::Plain;
use super::sink::Sink;
use super::statistics::Statistics;
use super::writer::{Moment, Writer};
use super::*;

const DOCUMENT: &str = r#"
    [[vpc]]
    vpc_id = "vpc-1"
    cidr_block = "10.0.0.0/16"
    owner_id = "123456789012"

    [[subnet]]
    subnet_id = "subnet-1"
    vpc_id = "vpc-1"
    cidr_block = "10.0.1.0/24"
    availability_zone = "us-east-1b"

    [[network_interface]]
    network_interface_id = "eni-a"
    subnet_id = "subnet-1"
    private_ip_address = "10.0.1.10"
    port = "a"

    [[network_interface]]
    network_interface_id = "eni-b"
    subnet_id = "subnet-1"
    private_ip_address = "10.0.1.11"
    port = "b"
"#;

/// The first line of every file, and the fields of the others.
const HEADER: &str = "interface-id srcport packets log-status";

/// June 20, 2018, 16:20 UTC and some seconds: the moment of the user guide's example.
const MOMENT: Duration = Duration::from_secs(1_529_511_607);

/// An engine whose flows are logged, and the writer's surroundings.
struct Bench {
    world: World,
    root: TempDir,
    rotation: Rotation,
    statistics: Arc<Statistics>,
    moment: Moment,
    next_port: u16,
}

impl Bench {
    /// With a log of `eni-b`, and further keys of it.
    fn new(keys: &str) -> Self {
        let moment = Moment { instant: Instant::now(), time: UNIX_EPOCH + MOMENT };
        let mut bench = Self {
            world: World::among_hosts(DOCUMENT, |_| Vec::new()),
            root: tempfile::tempdir().unwrap(),
            rotation: Rotation { every: Duration::from_mins(5), bytes: 75_000_000 },
            statistics: Arc::default(),
            moment,
            next_port: 1,
        };
        bench.reload(HEADER, keys);
        bench
    }

    /// Changes the log: its fields, and its further keys.
    fn reload(&mut self, fields: &str, keys: &str) {
        let format: Vec<_> = fields.split(' ').map(|field| format!("${{{field}}}")).collect();
        let log = format!(
            "[[flow_log]]\nflow_log_id = \"fl-1234abcd\"\nresource_id = \"eni-b\"\n\
             log_destination = \"out\"\nlog_format = \"{}\"\n{keys}\n",
            format.join(" ")
        );
        self.world.reload(&format!("{DOCUMENT}{log}"));
    }

    fn writer<S: Sink>(&self, sink: S) -> Writer<S> {
        let directory = self.root.path().to_owned();
        Writer::new(sink, (directory, self.rotation, self.statistics.clone()))
    }

    /// Records of so many flows that have come and gone.
    fn batches(&mut self, flows: u16) -> Vec<Batch> {
        let mac = MacAddr::new([2, 0, 0, 0, 0, 0x0a]);
        for _ in 0..flows {
            let frame = Frame::udp(([10, 0, 1, 10], self.next_port), ([10, 0, 1, 11], 53));
            let frame = frame.macs(mac, self.world.mac("a")).build();
            assert_eq!(self.world.send("a", frame).len(), 1);
            self.next_port += 1;
        }
        self.world.unplug("b");
        self.world.plug("b");
        let ledger = self.world.engine.flow_logs_mut();
        std::iter::from_fn(|| ledger.take_any()).collect()
    }

    /// Lets time pass, for the writer.
    fn pass(&mut self, duration: Duration) {
        self.moment.instant += duration;
        self.moment.time += duration;
    }

    /// So many flows' records are taken and, because they have waited long enough, written.
    async fn write<S: Sink>(&mut self, writer: &mut Writer<S>, flows: u16) {
        for batch in self.batches(flows) {
            writer.take(&batch);
        }
        self.pass(Duration::from_secs(3));
        writer.work(self.moment).await;
    }

    /// The files, by name.
    fn files(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.root.path().join("out")) else { return Vec::new() };
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// What this log's counts are.
    fn counts(&self) -> LogStatistics {
        self.statistics.of("fl-1234abcd")
    }
}

/// The lines of flows' records, from one source port to another.
fn lines(ports: std::ops::RangeInclusive<u16>) -> String {
    ports.map(|port| format!("eni-b {port} 1 OK\n")).collect::<Vec<_>>().concat()
}

/// Whether a file's text is its header and these lines, whichever flow ended first.
fn has_lines(text: &str, lines: &str) -> bool {
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let body = text.strip_prefix(HEADER).and_then(|rest| rest.strip_prefix('\n'));
    body.is_some_and(|body| sorted(body) == sorted(lines))
}

fn with_header(lines: &str) -> String {
    format!("{HEADER}\n{lines}")
}

/// Runs a test of the writer on what it runs on by itself without a ring.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(test)
}

/// Whether this machine has `io_uring`. Where every requirement has to be met, it has to.
fn has_uring() -> bool {
    match uring::runtime() {
        Ok(_) => true,
        Err(error) => {
            let required = std::env::var_os("HALFSPACE_REQUIRE_ALL").is_some_and(|it| it == "1");
            assert!(!required, "no io_uring here: {error}");
            println!("skipped: no io_uring here: {error}");
            false
        }
    }
}
