use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::Duration;

use clap::Parser;
use halfspace_testbed::{Requirement, Testbed, ready};
use serde_json::Value;

use super::*;
use crate::output::Outcome;
use crate::serve::{Limits, Server};
use crate::sockets::payload::{Direction, Payload};
use crate::sockets::protocol::{Answer, REQUEST_HEAD, Request, Status};

#[derive(Parser)]
#[command(args_override_self = true)]
struct CommandLine {
    #[command(flatten)]
    arguments: Arguments,
}

fn run(target: SocketAddr, options: &str) -> (Value, Outcome) {
    let target = target.to_string();
    let short = ["--duration", "300ms", "--warm-up", "50ms", "--timeout", "500ms"];
    let words = ["x", "--target", &target].into_iter().chain(short);
    let words = words.chain(options.split_whitespace());
    let arguments = CommandLine::try_parse_from(words).unwrap().arguments;
    let report = measure(&arguments, &Interrupt::default()).unwrap();
    (serde_json::to_value(&report).unwrap(), Outcome::of(report.complaints(), false))
}

fn serve(threads: u32) -> (Server, SocketAddr) {
    serve_at("127.0.0.1:0", threads)
}

fn serve_at(address: &str, threads: u32) -> (Server, SocketAddr) {
    let limits = Limits { threads, ..Limits::default() };
    let server = Server::start(&[address.parse().unwrap()], limits).unwrap();
    let address = server.addresses()[0];
    (server, address)
}

fn count(report: &Value, key: &str) -> u64 {
    report[key].as_u64().unwrap()
}

/// Accepts connections one after another and answers what `answer` says to each read.
struct Impostor {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Impostor {
    fn start(answer: impl Fn(&[u8], SocketAddr) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while let Ok((mut stream, client)) = listener.accept() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    let answer = answer(&buffer[..read], client);
                    if answer.is_empty() || stream.write_all(&answer).is_err() {
                        break;
                    }
                }
            }
        });
        Self { address, stop, thread: Some(thread) }
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = std::net::TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

/// The right answer to a request, before `change`.
fn answer(bytes: &[u8], client: SocketAddr, change: impl Fn(&mut Answer, &mut [u8])) -> Vec<u8> {
    let request = Request::decode(bytes.first_chunk::<REQUEST_HEAD>().unwrap()).unwrap();
    let Request { id, sequence, wanted, .. } = request;
    let mut answer = Answer { status: Status::Fine, client, id, sequence, length: wanted };
    let mut content = vec![0; wanted as usize];
    Payload::new(id, sequence, Direction::Response).fill(0, &mut content);
    change(&mut answer, &mut content);
    [answer.encode().as_slice(), &content].concat()
}

#[test]
fn both_modes_complete_operations_and_the_server_agrees_on_their_number() {
    let (server, address) = serve(2);
    let (crr, outcome) = run(address, "--mode crr --connections 8 --threads 2 --warm-up 0s");
    assert_eq!(outcome, Outcome::Fine, "{crr}");
    let (rr, outcome) = run(
        address,
        "--mode rr --connections 8 --threads 2 --warm-up 0s --request-bytes 5000 \
         --response-bytes 100k --expect-source 127.0.0.0/8",
    );
    assert_eq!(outcome, Outcome::Fine, "{rr}");
    assert_eq!(rr["sources"], serde_json::json!(["127.0.0.1"]));
    assert_eq!(count(&rr["connect_latency_seconds"], "count"), 8);
    let operations = count(&crr, "operations") + count(&rr, "operations");
    assert!(count(&crr, "operations") > 0 && count(&rr, "operations") > 0);
    let counts = server.stop().unwrap();
    assert_eq!(counts.requests, operations);
    assert_eq!(counts.connections, count(&crr, "operations") + 8);
    assert_eq!((counts.corrupt, counts.protocol_errors), (0, 0));
}

#[test]
fn a_rate_is_kept_to_and_every_operation_that_was_due_is_accounted_for() {
    let (server, address) = serve(1);
    for mode in ["crr", "rr --threads 2"] {
        let options = format!("--mode {mode} --rate 2k --warm-up 0s --connections 16");
        let (report, outcome) = run(address, &options);
        assert_eq!(outcome, Outcome::Fine, "{report}");
        // 300 ms at 2,000 a second. What a loaded machine does not get to start is left over.
        let (done, left) = (count(&report, "operations"), count(&report["behind"], "operations"));
        assert_eq!(done + left, 600, "{report}");
        assert_eq!(count(&report["start_delay_seconds"], "count"), done);
    }
    drop(server);
}

#[test]
fn a_server_that_stalls_is_in_the_latencies_and_the_schedule_goes_on() {
    let served = std::sync::atomic::AtomicU32::new(0);
    let impostor = Impostor::start(move |bytes, client| {
        if served.fetch_add(1, Ordering::Relaxed) == 10 {
            std::thread::sleep(Duration::from_millis(150));
        }
        answer(bytes, client, |_, _| {})
    });
    let options = "--mode rr --rate 100 --connections 1 --warm-up 0s";
    let (report, _) = run(impostor.address, options);
    // At 10 ms each, some 14 operations fell due within the stall; a client that waits for each
    // answer would have noticed a single one. Half of these waited for half of it or longer.
    let p90 = report["latency_seconds"]["p90"].as_f64().unwrap();
    assert!(p90 > 0.05, "{report}");
}

#[test]
fn what_the_server_cannot_keep_up_with_is_told() {
    let impostor = Impostor::start(|bytes, client| {
        std::thread::sleep(Duration::from_millis(20));
        answer(bytes, client, |_, _| {})
    });
    let (report, _) = run(impostor.address, "--mode rr --rate 1k --connections 1 --warm-up 0s");
    let (done, left) = (count(&report, "operations"), count(&report["behind"], "operations"));
    assert_eq!(done + left, 300, "{report}");
    assert!(done <= 16, "one connection, 20 ms each, 300 ms: {report}");
    assert!(report["behind"]["seconds"].as_f64().unwrap() > 0.2, "{report}");
}

#[test]
fn wrong_content_is_found_and_makes_the_run_fail() {
    for mode in ["crr", "rr"] {
        let impostor =
            Impostor::start(|bytes, client| answer(bytes, client, |_, content| content[7] ^= 1));
        let (report, outcome) = run(impostor.address, &format!("--mode {mode} --connections 1"));
        assert!(count(&report["failures"], "wrong_content") > 0, "{report}");
        assert_eq!(count(&report, "operations"), 0);
        assert!(matches!(outcome, Outcome::Unverified(_)));
    }
}

#[test]
fn a_request_that_arrives_changed_is_wrong_content() {
    let impostor = Impostor::start(|bytes, client| {
        answer(bytes, client, |answer, _| answer.status = Status::Corrupt)
    });
    let (report, _) = run(impostor.address, "--connections 1");
    assert!(count(&report["failures"], "wrong_content") > 0, "{report}");
}

#[test]
fn a_client_seen_under_an_unexpected_address_makes_the_run_fail() {
    let (server, address) = serve(1);
    let options = "--connections 1 --source 127.0.0.9 --expect-source 127.0.0.0/29 --rate 100";
    let (report, outcome) = run(address, options);
    assert!(count(&report["failures"], "wrong_source") > 0, "{report}");
    assert_eq!(report["sources"], serde_json::json!(["127.0.0.9"]));
    assert!(matches!(outcome, Outcome::Unverified(_)));
    drop(server);
}

#[test]
fn a_server_that_is_not_there_is_refused_and_no_busy_loop() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    for mode in ["crr", "rr"] {
        let (report, outcome) = run(address, &format!("--mode {mode} --connections 2"));
        let refused = count(&report["failures"], "refused");
        // Two connections that rest for 10 ms after each failure, at most 900 ms.
        assert!((1..=180).contains(&refused), "{report}");
        assert_eq!(count(&report, "operations"), 0);
        assert!(matches!(outcome, Outcome::Unverified(_)));
    }
}

#[test]
fn a_server_that_never_answers_times_out() {
    // Its queue takes connections; nobody reads from them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (report, outcome) = run(address, "--mode rr --connections 3 --timeout 100ms");
    assert!(count(&report["failures"], "timed_out") >= 3, "{report}");
    assert!(matches!(outcome, Outcome::Unverified(_)));
}

#[test]
fn a_server_that_closes_without_an_answer_is_told_from_one_that_resets() {
    let impostor = Impostor::start(|_, _| Vec::new());
    let (report, _) = run(impostor.address, "--connections 1");
    assert!(count(&report["failures"], "closed") > 0, "{report}");
    assert_eq!(count(&report["failures"], "reset"), 0, "{report}");
}

#[test]
fn some_failures_may_be_allowed() {
    let served = std::sync::atomic::AtomicU32::new(0);
    let impostor = Impostor::start(move |bytes, client| {
        if served.fetch_add(1, Ordering::Relaxed) % 4 == 3 {
            return Vec::new();
        }
        answer(bytes, client, |_, _| {})
    });
    let address = impostor.address;
    let (report, outcome) = run(address, "--connections 1 --rate 100 --max-loss 0.5");
    assert!(count(&report, "failed") > 0 && count(&report, "operations") > 0, "{report}");
    assert_eq!(outcome, Outcome::Fine);
}

#[test]
fn http_is_verified_by_status_and_length_and_closed_connections_are_reopened() {
    let reply = |head: &'static str| move |_: &[u8], _| head.as_bytes().to_vec();
    let good = Impostor::start(reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    for mode in ["crr", "rr"] {
        let options = format!("--mode {mode} --protocol http --connections 1 --expect-bytes 2");
        let (report, outcome) = run(good.address, &options);
        assert_eq!(outcome, Outcome::Fine, "{report}");
        assert!(count(&report, "operations") > 1, "{report}");
    }
    let options = "--protocol http --connections 1 --expect-bytes 3";
    assert!(count(&run(good.address, options).0["failures"], "wrong_content") > 0);

    let bad = Impostor::start(reply("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"));
    let (report, _) = run(bad.address, "--protocol http --connections 1");
    assert!(count(&report["failures"], "wrong_status") > 0, "{report}");

    let text = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let closing = Impostor::start(reply(text));
    let (report, outcome) = run(closing.address, "--mode rr --protocol http --connections 1");
    assert_eq!(outcome, Outcome::Fine, "{report}");
    assert!(count(&report, "reconnects") > 1, "{report}");
}

#[test]
fn no_ports_left_is_a_failure_of_its_own_with_advice() {
    if !ready(&[Requirement::Root, Requirement::Program("ip")]) {
        return;
    }
    let bed = Testbed::new("ports").unwrap();
    let namespace = bed.namespace("few").unwrap();
    // TIME_WAIT is not to be shortened, as it may be on loopback.
    let sysctls = [("net.ipv4.ip_local_port_range", "40000 40015"), ("net.ipv4.tcp_tw_reuse", "0")];
    namespace.sysctl(sysctls).unwrap();
    let (few, outcome, many, resetting) = namespace
        .enter(|| {
            // Outside that range: a listener would take one of the ports from all addresses.
            let (server, address) = serve_at("127.0.0.1:80", 1);
            let (few, outcome) = run(address, "--connections 2");
            // Two more addresses, of which each has 16 ports of its own.
            let (many, _) =
                run(address, "--connections 2 --source 127.0.0.2,127.0.0.3 --warm-up 0s");
            let source = "--source 127.0.0.4 --reset --rate 500 --warm-up 0s";
            let (resetting, _) = run(address, &format!("--connections 2 {source}"));
            drop(server);
            (few, outcome, many, resetting)
        })
        .unwrap();
    assert!(count(&few["failures"], "no_port") > 0, "{few}");
    let Outcome::Unverified(complaints) = outcome else { panic!("{few}") };
    assert!(complaints.iter().any(|text| text.contains("TIME_WAIT")), "{complaints:?}");
    assert_eq!(count(&many, "operations"), 32, "{many}");
    assert_eq!(count(&resetting["failures"], "no_port"), 0, "{resetting}");
    assert!(count(&resetting, "operations") > 16, "{resetting}");
}

#[test]
fn a_target_outside_is_refused_before_anything_is_sent() {
    let words = ["x", "--target", "192.0.2.1:80"];
    let arguments = CommandLine::try_parse_from(words).unwrap().arguments;
    match measure(&arguments, &Interrupt::default()) {
        Err(Error::Outside { what }) => assert_eq!(what, "192.0.2.1"),
        other => panic!("{other:?}"),
    }
}
