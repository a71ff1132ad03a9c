use std::io::Write;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use clap::Parser;
use serde_json::Value;

use super::*;
use crate::serve::{Limits, Server};

#[derive(Parser)]
#[command(args_override_self = true)]
struct CommandLine {
    #[command(flatten)]
    arguments: Arguments,
}

fn arguments(target: SocketAddr, options: &str) -> Arguments {
    let target = target.to_string();
    let short = ["--duration", "300ms", "--warm-up", "50ms", "--timeout", "1s"];
    let words = ["x", "--target", &target].into_iter().chain(short);
    let words = words.chain(options.split_whitespace());
    CommandLine::try_parse_from(words).unwrap().arguments
}

fn run(target: SocketAddr, options: &str) -> (Value, Outcome) {
    let report = measure(&arguments(target, options), &Interrupt::default()).unwrap();
    (serde_json::to_value(&report).unwrap(), Outcome::of(report.complaints(), false))
}

fn serve() -> (Server, SocketAddr) {
    let limits = Limits { threads: 2, ..Limits::default() };
    let server = Server::start(&["127.0.0.1:0".parse().unwrap()], limits).unwrap();
    let address = server.addresses()[0];
    (server, address)
}

fn count(report: &Value, key: &str) -> u64 {
    report[key].as_u64().unwrap()
}

#[test]
fn tcp_streams_carry_verified_blocks_in_either_direction() {
    let (server, address) = serve();
    for (direction, up, down) in [("up", true, false), ("down", false, true), ("both", true, true)]
    {
        let options = format!("--direction {direction} --connections 3 --threads 2");
        let (report, outcome) = run(address, &options);
        assert_eq!(outcome, Outcome::Fine, "{report}");
        assert_eq!(count(&report, "bytes_up") > 0, up, "{report}");
        assert_eq!(count(&report, "bytes_down") > 0, down, "{report}");
        assert!(count(&report, "blocks_verified") > 0, "{report}");
        assert_eq!(report["sources"], serde_json::json!(["127.0.0.1"]));
        assert!(report["bytes_per_cpu_second"]["own"].as_f64().unwrap() > 0.0, "{report}");
    }
    let counts = server.stop().unwrap();
    assert_eq!((counts.connections, counts.corrupt, counts.protocol_errors), (12, 0, 0));
}

#[test]
fn an_unexpected_source_fails_a_stream() {
    let (server, address) = serve();
    for options in ["--direction up", "--direction down", "--udp --max-loss 1"] {
        let options = format!("{options} --expect-source 192.0.2.0/24");
        let (report, outcome) = run(address, &options);
        assert!(count(&report["failures"], "wrong_source") > 0, "{report}");
        assert!(matches!(outcome, Outcome::Unverified(_)));
    }
    drop(server);
}

#[test]
fn a_server_that_is_not_there_fails_the_run() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    for options in ["--connections 2", "--udp --timeout 200ms --connections 2"] {
        let (report, outcome) = run(address, options);
        assert_eq!(count(&report["failures"], "refused"), 2, "{report}");
        assert!(matches!(outcome, Outcome::Unverified(_)));
    }
}

#[test]
fn a_stream_of_something_else_is_wrong_content() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let impostor = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(&[b'x'; 4096]);
    });
    let (report, outcome) = run(address, "--direction down");
    assert_eq!(count(&report["failures"], "wrong_content"), 1, "{report}");
    assert!(matches!(outcome, Outcome::Unverified(_)));
    impostor.join().unwrap();
}

#[test]
fn datagrams_at_a_rate_are_all_accounted_for() {
    let (server, address) = serve();
    let options = "--udp --rate 2k --connections 5 --threads 2 --datagram-bytes 200";
    let (report, outcome) = run(address, options);
    let datagrams = &report["datagrams"];
    assert_eq!(outcome, Outcome::Fine, "{report}");
    assert_eq!(count(datagrams, "sent") + count(datagrams, "left_over"), 600, "{report}");
    assert_eq!(count(datagrams, "received"), count(datagrams, "sent"), "{report}");
    assert_eq!(count(datagrams, "reordered") + count(datagrams, "duplicated"), 0, "{report}");
    assert_eq!(count(&report, "bytes_up"), 200 * count(datagrams, "sent"));
    drop(server);
}

#[test]
fn lost_reordered_and_repeated_datagrams_are_told() {
    use crate::sockets::protocol::{Datagram, DatagramKind};

    // A relay that loses every tenth, repeats every thirteenth, and holds every seventh back until
    // the next has passed.
    let (server, address) = serve();
    let front = UdpSocket::bind("127.0.0.1:0").unwrap();
    let back = UdpSocket::bind("127.0.0.1:0").unwrap();
    back.connect(address).unwrap();
    let relay_address = front.local_addr().unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = std::sync::Arc::clone(&stop);
    let pause = std::time::Duration::from_millis(20);
    front.set_read_timeout(Some(pause)).unwrap();
    back.set_read_timeout(Some(pause)).unwrap();
    let relay = std::thread::spawn(move || {
        let (mut bytes, mut held) = ([0; 2048], None::<Vec<u8>>);
        while !stopped.load(Ordering::Relaxed) {
            let Ok((length, client)) = front.recv_from(&mut bytes) else { continue };
            let datagram = &bytes[..length];
            let Some(Datagram { kind, sequence, .. }) = Datagram::decode(datagram) else {
                continue;
            };
            if kind == DatagramKind::Query {
                back.send(datagram).unwrap();
                let mut answer = [0; 200];
                if let Ok(length) = back.recv(&mut answer) {
                    front.send_to(&answer[..length], client).unwrap();
                }
                continue;
            }
            match sequence {
                s if s % 10 == 3 => {}
                s if s % 70 == 7 => held = Some(datagram.to_vec()),
                s => {
                    back.send(datagram).unwrap();
                    if s % 130 == 13 + 1 {
                        back.send(datagram).unwrap();
                    }
                    if let Some(held) = held.take() {
                        back.send(&held).unwrap();
                    }
                }
            }
        }
    });
    let (report, outcome) = run(relay_address, "--udp --rate 1k --warm-up 0s");
    stop.store(true, Ordering::Relaxed);
    relay.join().unwrap();
    drop(server);
    let datagrams = &report["datagrams"];
    let sent = count(datagrams, "sent");
    assert!(sent > 100, "{report}");
    let with = |of: u64, at: u64| (0..sent).filter(|number| number % of == at).count() as u64;
    assert_eq!(count(datagrams, "lost"), with(10, 3), "{report}");
    assert_eq!(count(datagrams, "reordered"), with(70, 7), "{report}");
    assert_eq!(count(datagrams, "duplicated"), with(130, 14), "{report}");
    assert!(matches!(outcome, Outcome::Unverified(_)), "{report}");
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let address = "127.0.0.1:9".parse().unwrap();
    for options in ["--threads 2", "--udp --datagram-bytes 23", "--udp --direction down"] {
        let error = arguments(address, options).check().unwrap_err();
        assert!(matches!(error, Error::Usage(_)), "{options}");
    }
}
