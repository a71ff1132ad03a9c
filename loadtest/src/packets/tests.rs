//! `packets` through a kernel that forwards, with and without NAT.

use clap::Parser;
use halfspace_testbed::Interrupt;

use super::options::Arguments;
use super::report::{Report, Trial};
use super::{measure, run};
use crate::error::Error;
use crate::frames::lab::Lab;
use crate::output::Outcome;

const MASQUERADE: &str = "table ip nat {\n chain postrouting {\n  type nat hook postrouting priority \
                          srcnat; policy accept;\n  oifname \"outside\" masquerade\n }\n}\n";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    arguments: Arguments,
}

fn arguments(lab: &Lab, ipv6: bool, more: &str) -> Arguments {
    let words = lab.words("packets", ipv6, &format!("--duration 300ms {more}"));
    Cli::try_parse_from(words).unwrap().arguments
}

fn trials(lab: &Lab, ipv6: bool, more: &str) -> Vec<Trial> {
    let arguments = arguments(lab, ipv6, more);
    let trial = |size| measure::trial(&arguments, size, &Interrupt::default()).unwrap();
    arguments.size.0.iter().map(trial).collect()
}

/// All that was sent arrived, each once, unbroken and in order.
fn assert_complete(trial: &Trial, what: &str) {
    assert!(trial.sent > 0, "{what}: {trial:?}");
    assert_eq!(trial.received, trial.sent, "{what}: {trial:?}");
    let wrong = [
        trial.lost,
        trial.duplicated,
        trial.reordered,
        trial.bad_checksum,
        trial.bad_marker,
        trial.bad_source,
    ];
    assert_eq!(wrong, [0; 6], "{what}: {trial:?}");
}

#[test]
fn every_frame_arrives_in_both_families_protocols_and_ways_of_sending() {
    let Some(lab) = Lab::lay("packets") else { return };
    for ipv6 in [false, true] {
        for protocol in ["udp", "tcp"] {
            for engine in ["xdp", "packet-socket"] {
                let what = format!("--protocol {protocol} --engine {engine} --flows 50 --rate 5k");
                let trials = trials(&lab, ipv6, &format!("{what} --size 100,imix"));
                for trial in &trials {
                    assert_complete(trial, &what);
                    assert_eq!(trial.engine.name, engine);
                    assert_eq!(trial.flows_established, 50);
                    assert!(trial.latency_seconds.count > 0, "{what}: {trial:?}");
                }
                assert_eq!([&*trials[0].size, &trials[1].size], ["100", "imix"]);
            }
        }
    }
}

#[test]
fn behind_a_masquerade_frames_come_from_the_gateway_and_from_nowhere_else() {
    let Some(lab) = Lab::lay("masquerade") else { return };
    lab.rules(MASQUERADE);
    for protocol in ["udp", "tcp"] {
        for more in ["--flows 50", "--new-flows"] {
            let what = format!("--protocol {protocol} {more} --rate 2k");
            let trial = &trials(&lab, false, &format!("{what} --expect-source 203.0.113.1/32"))[0];
            assert_complete(trial, &what);
            let trial = &trials(&lab, false, &format!("{what} --expect-source 203.0.113.9/32"))[0];
            assert_eq!(trial.received, 0, "{what}: {trial:?}");
            assert_eq!(trial.bad_source, trial.sent, "{what}: {trial:?}");
        }
    }
}

#[test]
fn frames_that_a_gateway_drops_are_lost_and_twice_sent_ones_are_told() {
    let Some(lab) = Lab::lay("loss") else { return };
    // By the lowest two bits of the sequence number: one frame in four is dropped, and another
    // comes twice.
    lab.rules(
        "table netdev loss {\n chain ingress {\n  type filter hook ingress device \"inside\" \
         priority 0; policy accept;\n  udp dport 9 @ih,120,8 & 3 == 1 drop\n }\n chain egress \
         {\n  type filter hook egress device \"outside\" priority 0; policy accept;\n  meta \
         mark 0 udp dport 9 @ih,120,8 & 3 == 2 meta mark set 1 dup to \"outside\"\n }\n}\n",
    );
    let trial = &trials(&lab, false, "--flows 5 --rate 4k")[0];
    let quarter = trial.sent / 4;
    assert!(trial.lost.abs_diff(quarter) <= 1, "{trial:?}");
    assert_eq!(trial.received + trial.lost, trial.sent);
    assert!(trial.duplicated.abs_diff(quarter) <= 1, "{trial:?}");
    assert_eq!(trial.reordered, 0);
    assert_eq!([trial.bad_checksum, trial.bad_marker, trial.bad_source], [0; 3]);
    let mut report = Report::new(&arguments(&lab, false, ""));
    report.trials = trials(&lab, false, "--flows 5 --rate 4k");
    assert_eq!(report.complaints(Some(0.3)), [""; 0]);
    assert!(report.complaints(Some(0.2))[0].contains("were lost"), "{:?}", report.complaints(None));
}

#[test]
fn where_nothing_arrives_the_outcome_says_so() {
    let Some(lab) = Lab::lay("nothing") else { return };
    lab.rules("table ip f { chain f { type filter hook forward priority 0; policy drop; }; }\n");
    let outcome = run(&arguments(&lab, false, "--rate 1k --json")).unwrap();
    let Outcome::Unverified(complaints) = outcome else { panic!("{outcome:?}") };
    assert!(complaints[0].contains("no frame arrived"), "{complaints:?}");
}

#[test]
fn frames_do_not_leave_the_machines_own_network_without_leave() {
    let line = "packets --send eth0 --gateway-mac 02:00:00:00:00:01 --source 10.0.0.0/24 \
                --destination 10.1.0.0/24";
    let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
    let inside = std::fs::read_link("/proc/self/ns/net").ok();
    if inside != std::fs::read_link("/proc/1/ns/net").ok() {
        eprintln!("SKIPPED: the tests themselves run inside a namespace");
        return;
    }
    let error = run(&cli.arguments).unwrap_err();
    assert!(matches!(error, Error::Outside { .. }), "{error}");
}
