//! Churns of seconds, against the gateway of this build in the soak's lab.

use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use halfspace_testbed::{Namespace, wait_until};

use super::*;
use crate::soak::lab::Lab;
use crate::soak::tests::lab;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

/// A churn of that lab's bridge.
fn arguments(lab: &Lab, words: &[&str]) -> Arguments {
    let socket = lab.daemon.socket();
    let socket = socket.to_str().unwrap();
    let mut line = vec!["environments", "--bridge=bridge-soak", "--count=20"];
    line.extend(["--gateway-netns", lab.daemon.namespace.name(), "--api", socket]);
    line.extend(words);
    Line::try_parse_from(line).unwrap().arguments
}

fn interfaces(namespace: &Namespace) -> String {
    namespace.run(["ip", "-brief", "link"]).unwrap().stdout
}

#[test]
fn twenty_environments_come_and_go_for_three_seconds_and_none_is_left() {
    let Some(lab) = lab("churn") else { return };
    let before = interfaces(&lab.daemon.namespace);
    let arguments =
        arguments(&lab, &["--duration=3s", "--probe=198.51.100.10:7", "--detach-vanish=0.1"]);
    let results = measure(&arguments, &Interrupt::default()).unwrap();
    assert_eq!(results.complaints(), Vec::<String>::new());
    assert!(results.attaches >= 20, "{results:?}");
    assert_eq!(results.detaches + results.vanishes, results.attaches);
    assert!(results.vanishes > 0, "{results:?}");
    assert_eq!(results.silent_after_detach, results.detaches);
    assert_eq!(results.first_packet_latency_seconds.count, results.attaches);
    assert_eq!(results.first_answer_latency_seconds.count, results.attaches);
    assert_eq!(interfaces(&lab.daemon.namespace), before);
}

#[test]
fn at_a_set_rate_environments_are_kept_for_as_long_as_asked() {
    let Some(lab) = lab("rate") else { return };
    // Pings this time.
    let words = ["--probe=198.51.100.10", "--rate=5", "--hold=1s", "--duration=2s"];
    let arguments = arguments(&lab, &words);
    let over = AtomicBool::new(false);
    let (results, most) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let (mut client, mut most) = (lab.daemon.client(), 0);
            while !over.load(Ordering::Relaxed) {
                most = client.environments().unwrap().len().max(most);
                std::thread::sleep(Duration::from_millis(20));
            }
            most
        });
        let results = measure(&arguments, &Interrupt::default());
        over.store(true, Ordering::Relaxed);
        (results.unwrap(), watcher.join().unwrap())
    });
    assert_eq!(results.complaints(), Vec::<String>::new());
    // Two seconds of five a second; the machine may be too busy for the last.
    assert!((1..=10).contains(&results.attaches), "{results:?}");
    assert_eq!(results.attaches + results.attaches_behind, 10, "{results:?}");
    assert!(most > 1, "{most}");
}

#[test]
fn an_environment_that_somebody_leaves_behind_is_reported() {
    let Some(lab) = lab("left") else { return };
    lab.daemon.namespace.ip(["link add left0 type veth peer name left1"]).unwrap();
    let arguments = arguments(&lab, &["--duration=1s"]);
    let socket = lab.daemon.socket();
    let results = std::thread::scope(|scope| {
        let somebody = scope.spawn(|| {
            let mut client = Client::new(&socket);
            let busy = || !client.environments().unwrap().is_empty();
            wait_until(Duration::from_secs(20), "the churn to begin", busy).unwrap();
            Client::new(&socket).attach("bridge-soak", "left0").unwrap();
        });
        let results = measure(&arguments, &Interrupt::default()).unwrap();
        somebody.join().unwrap();
        results
    });
    assert_eq!(results.leftovers, BTreeSet::from(["left0".to_owned()]));
    assert_eq!(results.complaints(), ["1 environments are left over: left0"]);
}

#[test]
fn what_goes_wrong_is_counted_by_its_reason_and_nothing_is_left() {
    let Some(lab) = lab("wrong") else { return };
    let nobody = ["--probe=198.51.100.99:7", "--patience=300ms", "--duration=1s"];
    let results = measure(&arguments(&lab, &nobody), &Interrupt::default()).unwrap();
    let reasons: Vec<_> = results.failures.keys().map(String::as_str).collect();
    assert_eq!(reasons, ["no answer to the probe"]);
    assert!(results.attaches > 0 && results.leftovers.is_empty(), "{results:?}");

    let nowhere = Arguments { bridge: "bridge-none".to_owned(), ..arguments(&lab, &nobody) };
    let results = measure(&nowhere, &Interrupt::default()).unwrap();
    let reasons: Vec<_> = results.failures.keys().map(String::as_str).collect();
    assert_eq!(reasons, ["refused: InvalidLambdaBridgeID.NotFound"]);
    assert_eq!((results.attaches, results.detaches), (0, 0));
}

#[test]
fn a_wrong_socket_is_told_before_anything_is_made() {
    let Some(lab) = lab("socket") else { return };
    let mut arguments = arguments(&lab, &[]);
    arguments.api = "/nowhere/api.sock".into();
    let error = measure(&arguments, &Interrupt::default()).unwrap_err();
    assert!(matches!(error, Error::Api(_)), "{error}");
    assert!(!interfaces(&lab.daemon.namespace).contains("lt"));
}
