//! The generator itself, against one that nobody here wrote, on a server that has nothing to do
//! with Halfspace: what it says of others is only worth as much as it is right.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use halfspace_testbed::{Interrupt, Namespace, Process, Requirement};
use serde::Deserialize;

use crate::bench::core::cores;
use crate::bench::ends::{SERVICE_PORT, ourselves, report_of, start_on};
use crate::bench::report::{Plot, Point, Shape, write};
use crate::bench::scenario::{
    Better, Contender, Entry, Measure, Origin, Scenario, Site, Step, Turn, Yield,
};
use crate::bench::unit::Unit;
use crate::error::Error;

const STEPS: &[&str] = &["generator"];

/// Where the server listens, in a namespace of its own.
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), SERVICE_PORT);

/// What it answers.
const BODY: &str = "hello from haproxy";

/// Connections that are kept, each with one request under way.
const CONNECTIONS: &str = "32";

/// How long the server may take to listen.
const START_LIMIT: Duration = Duration::from_secs(10);

/// What wrk is to say at its end, as JSON on a line of its own. A script that has no more than this
/// is not asked for anything while wrk measures. Times are microseconds, `status` counts answers
/// from 400 on.
const WRK_SCRIPT: &str = r#"
function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    '{"requests":%d,"microseconds":%d,"failed":%d,"p50":%d,"p99":%d}\n',
    summary.requests, summary.duration, failed,
    latency:percentile(50), latency:percentile(99)))
end
"#;

/// See [`Scenario::about`].
pub const SCENARIO: Scenario = Scenario {
    name: "generator_vs_wrk",
    title: "The generator itself",
    about: "GET over HTTP/1.1 on 32 kept connections, one request at a time on each, from one \
            thread to HAProxy, which answers 18 bytes itself from one thread; over loopback in a \
            namespace, with the server on one core and the client on the other. No Halfspace is \
            involved: the same server should look the same to `halfspace-loadtest connections` and \
            to wrk. wrk counts seconds only, so both measure for at least one, and without \
            warm-up, as wrk has none.",
    steps: &[Step {
        name: "generator",
        quick: true,
        measures: &[
            Measure {
                name: "generator_rate",
                title: "requests",
                unit: Unit::RequestsPerSecond,
                better: Better::Higher,
            },
            Measure {
                name: "generator_p50",
                title: "median time of one",
                unit: Unit::Microseconds,
                better: Better::Lower,
            },
            Measure {
                name: "generator_p99",
                title: "99th percentile",
                unit: Unit::Microseconds,
                better: Better::Lower,
            },
        ],
    }],
    contenders: &[
        Entry {
            name: "wrk",
            title: "wrk",
            origin: Origin::Peer,
            needs: &[Requirement::Program("wrk"), Requirement::Program("haproxy")],
            steps: STEPS,
            set_up: |site| set_up(site, "wrk", wrk),
        },
        Entry {
            name: "halfspace",
            title: "halfspace-loadtest connections",
            origin: Origin::Ours,
            needs: &[Requirement::Program("haproxy")],
            steps: STEPS,
            set_up: |site| set_up(site, "halfspace", connections),
        },
    ],
    plots: &[Plot {
        title: "Requests a second that two generators find the same server to answer",
        shape: Shape::Bars,
        axis: "",
        points: &[Point { measure: "generator_rate", label: "" }],
    }],
};

fn set_up<'a>(site: Site<'a>, name: &str, ask: Ask) -> Result<Box<dyn Contender + 'a>, Error> {
    let namespace = site.bed.namespace(name)?;
    let server = serve(site.bed.dir(), name, &namespace)?;
    Ok(Box::new(Asking { ask, site, namespace, _server: server }))
}

/// `HAProxy`, answering by itself.
fn serve(directory: &Path, name: &str, namespace: &Namespace) -> Result<Process, Error> {
    let configuration = format!(
        "global\n\
         \tnbthread 1\n\
         defaults\n\
         \tmode http\n\
         \ttimeout client 60s\n\
         \ttimeout connect 5s\n\
         \ttimeout server 60s\n\
         frontend hello\n\
         \tbind {SERVER}\n\
         \thttp-request return status 200 content-type text/plain string \"{BODY}\"\n"
    );
    let path = directory.join(name).with_extension("cfg");
    write(&path, &configuration)?;
    let mut command = namespace.command("haproxy");
    // In the foreground.
    command.arg("-db").arg("-f").arg(path);
    let mut server = start_on(&[0], namespace, command)?;
    let listens = || TcpStream::connect(SERVER).is_ok();
    namespace.enter(|| server.wait_ready(START_LIMIT, listens))??;
    Ok(server)
}

/// A client and the server that it asks. Fields are in the order in which they must go.
struct Asking<'a> {
    ask: Ask,
    site: Site<'a>,
    _server: Process,
    namespace: Namespace,
}

/// Runs a client for so many seconds; nothing if it was interrupted.
type Ask = fn(&Asking<'_>, u64, &Interrupt) -> Result<Option<Figures>, Error>;

/// What a client found out.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Figures {
    /// Requests answered as they should be, a second.
    rate: f64,
    /// Microseconds.
    p50: f64,
    p99: f64,
}

impl Contender for Asking<'_> {
    fn round(&mut self, step: &Step, turn: &Turn<'_>) -> Result<Yield, Error> {
        let [rate, median, slow] = step.measures else {
            return Err(Error::Missing(format!("{} is no step of this scenario", step.name)));
        };
        let figures = (self.ask)(self, whole_seconds(turn.duration), turn.interrupt)?;
        let Some(figures) = figures else { return Ok(Yield::default()) };
        Ok(Yield {
            samples: vec![
                (rate.name, figures.rate),
                (median.name, figures.p50),
                (slow.name, figures.p99),
            ],
            disturbed: None,
        })
    }
}

/// The shortest time that wrk can measure which is no shorter than `duration`.
fn whole_seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

/// Where clients are kept: away from the server, if that can be.
fn client_core() -> [usize; 1] {
    [1.min(cores() - 1)]
}

/// What the last line of wrk's output holds.
#[derive(Deserialize)]
struct Done {
    requests: u64,
    microseconds: u64,
    failed: u64,
    p50: f64,
    p99: f64,
}

fn wrk(this: &Asking<'_>, seconds: u64, interrupt: &Interrupt) -> Result<Option<Figures>, Error> {
    let script = this.site.bed.dir().join("done.lua");
    write(&script, WRK_SCRIPT)?;
    let mut command = this.namespace.command("wrk");
    command.args(["--threads", "1", "--connections", CONNECTIONS, "--script"]).arg(script);
    command.args(["--duration", &format!("{seconds}s"), &format!("http://{SERVER}/")]);
    let client = start_on(&client_core(), &this.namespace, command)?;
    let said = report_of(client, Duration::from_secs(seconds), interrupt)?;
    said.map(|said| wrk_figures(&said)).transpose()
}

/// What wrk said at its end.
fn wrk_figures(said: &str) -> Result<Figures, Error> {
    let failed = |why: String| Error::Command { command: "wrk".to_owned(), why };
    let line = said.lines().next_back().unwrap_or_default();
    let done: Done = serde_json::from_str(line)
        .map_err(|error| failed(format!("its last line should be JSON ({error}): {line}")))?;
    if done.failed > 0 || done.requests == 0 || done.microseconds == 0 {
        let Done { requests, failed: bad, .. } = done;
        return Err(failed(format!("{bad} requests failed, {requests} were answered")));
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests, microseconds")]
    let rate = done.requests as f64 / (done.microseconds as f64 / 1e6);
    Ok(Figures { rate, p50: done.p50, p99: done.p99 })
}

/// What our own client reports.
#[derive(Deserialize)]
struct Report {
    operations_per_second: f64,
    latency_seconds: Latency,
}

#[derive(Deserialize)]
struct Latency {
    p50: f64,
    p99: f64,
}

fn connections(
    this: &Asking<'_>,
    seconds: u64,
    interrupt: &Interrupt,
) -> Result<Option<Figures>, Error> {
    let (target, bytes) = (SERVER.to_string(), BODY.len().to_string());
    let duration = format!("{seconds}s");
    let words = ["connections", "--mode", "rr", "--protocol", "http", "--threads", "1"];
    let mut command = ourselves(&this.namespace, &words)?;
    command.args(["--connections", CONNECTIONS, "--target", &target, "--expect-bytes", &bytes]);
    command.args(["--warm-up", "0s", "--duration", &duration, "--json"]);
    let client = start_on(&client_core(), &this.namespace, command)?;
    let said = report_of(client, Duration::from_secs(seconds), interrupt)?;
    let Some(said) = said else { return Ok(None) };
    let Report { operations_per_second: rate, latency_seconds: Latency { p50, p99 } } =
        serde_json::from_str(&said).map_err(|error| Error::System {
            action: "read the client's report",
            source: error.into(),
        })?;
    Ok(Some(Figures { rate, p50: 1e6 * p50, p99: 1e6 * p99 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_measures_whole_seconds_and_one_at_least() {
        let whole = |milliseconds| whole_seconds(Duration::from_millis(milliseconds));
        assert_eq!([0, 400, 1000, 1001, 3000].map(whole), [1, 1, 1, 2, 3]);
    }

    #[test]
    fn wrk_is_read_from_its_last_line() {
        let said = "Running 2s test\n  1 threads\n\
                    {\"requests\":50000,\"microseconds\":2000000,\"failed\":0,\"p50\":900,\"p99\":1500}\n";
        let figures = wrk_figures(said).unwrap();
        assert_eq!(figures, Figures { rate: 25_000.0, p50: 900.0, p99: 1500.0 });
    }

    #[test]
    fn a_wrk_that_failed_or_said_something_else_has_no_figures() {
        let failed = "{\"requests\":9,\"microseconds\":1,\"failed\":3,\"p50\":0,\"p99\":0}";
        let error = wrk_figures(failed).unwrap_err().to_string();
        assert!(error.contains("3 requests failed"), "{error}");
        let none = "{\"requests\":0,\"microseconds\":1,\"failed\":0,\"p50\":0,\"p99\":0}";
        assert!(wrk_figures(none).is_err());
        let error = wrk_figures("unable to connect\n").unwrap_err().to_string();
        assert!(error.contains("unable to connect"), "{error}");
        assert!(wrk_figures("").is_err());
    }
}
