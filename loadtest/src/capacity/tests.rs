//! `capacity` against a kernel whose table is as large as the test says.

use clap::Parser;
use halfspace_testbed::Interrupt;

use super::options::Arguments;
use super::trial::Bench;
use super::{search, tear_down};
use crate::frames::lab::Lab;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    arguments: Arguments,
}

fn arguments(lab: &Lab, more: &str) -> Arguments {
    let words = lab.words("capacity", false, "");
    let gateway = ["--gateway-namespace".to_owned(), lab.gateway.name().to_owned()];
    let commands = [
        "--reset-command",
        "nft flush set ip gw flows",
        "--tear-down-command",
        "nft flush set ip gw flows",
        "--count-command",
        "nft list set ip gw flows | grep -o '10[.]1[.]' | wc -l",
    ];
    let commands = commands.map(str::to_owned);
    let more = more.split_whitespace().map(str::to_owned);
    let words = words.into_iter().chain(gateway).chain(commands).chain(more);
    Cli::try_parse_from(words).unwrap().arguments
}

/// A stateful gateway of `size` flows: more are dropped, and so is what comes back for them.
fn track(lab: &Lab, protocol: &str, size: u32) {
    lab.rules(&format!(
        "table ip gw {{\n set flows {{\n  type ipv4_addr . inet_service; flags dynamic; size \
         {size};\n }}\n chain forward {{\n  type filter hook forward priority 0; policy drop;\n  \
         iifname \"inside\" add @flows {{ ip saddr . {protocol} sport }} accept\n  iifname \
         \"outside\" ip daddr . {protocol} dport @flows accept\n }}\n}}\n"
    ));
}

#[test]
fn the_capacity_found_is_that_of_the_table() {
    let Some(lab) = Lab::lay("capacity") else { return };
    for (protocol, size) in [("udp", 700), ("tcp", 1500)] {
        lab.rules("flush ruleset\n");
        track(&lab, protocol, size);
        let more = format!("--protocol {protocol} --max-flows 8k --flows 100 --fill-rate 20k");
        let arguments = arguments(&lab, &more);
        let interrupt = Interrupt::default();
        let mut bench = Bench::open(&arguments, &interrupt).unwrap();
        let found = search::capacity(&mut bench, None).unwrap();
        assert_eq!(found.limited_by, "gateway", "{found:?}");
        let range = size - size / 100..=size;
        assert!(range.contains(&found.connections), "{protocol}, {size}: {found:?}");
        // What fails by little holds exactly as many as there is room for.
        for trial in found.trials.iter().filter(|trial| !trial.is_passed()) {
            assert_eq!(trial.validated, u64::from(size), "{trial:?}");
        }
        assert_eq!(bench.stage.returned().unwrap().broken(), 0);
    }
}

#[test]
fn a_table_that_is_never_full_is_at_least_as_large_as_was_tried() {
    let Some(lab) = Lab::lay("large") else { return };
    track(&lab, "udp", 60_000);
    let arguments = arguments(&lab, "--max-flows 3k --flows 100 --fill-rate 20k");
    let interrupt = Interrupt::default();
    let mut bench = Bench::open(&arguments, &interrupt).unwrap();
    let found = search::capacity(&mut bench, None).unwrap();
    assert_eq!((found.connections, found.limited_by), (3000, "max-flows"), "{found:?}");
}

#[test]
fn connections_are_established_at_a_rate_and_torn_down() {
    let Some(lab) = Lab::lay("rate") else { return };
    track(&lab, "tcp", 60_000);
    let more = "--protocol tcp --flows 300 --max-rate 5k --max-flows 300 --patience 5s";
    let arguments = arguments(&lab, more);
    let interrupt = Interrupt::default();
    let mut bench = Bench::open(&arguments, &interrupt).unwrap();
    let rate = search::establishment_rate(&mut bench).unwrap();
    let passed = rate.trials.iter().find(|trial| trial.is_passed()).unwrap();
    assert_eq!((passed.arrived, passed.validated), (300, 300), "{rate:?}");
    assert!(rate.connections_per_second > 0.0, "{rate:?}");
    assert!(rate.connections_per_second <= 5_000.0, "{rate:?}");
    let torn = tear_down::measure(&mut bench).unwrap();
    assert_eq!((torn.connections, torn.left, torn.trigger), (300, 0, "command"), "{torn:?}");
}

#[test]
fn a_gateway_that_lets_nothing_through_has_no_capacity() {
    let Some(lab) = Lab::lay("closed") else { return };
    track(&lab, "tcp", 100);
    // UDP is none of its business, and dropped.
    let arguments = arguments(&lab, "--max-flows 1k --flows 100 --max-trials 4");
    let interrupt = Interrupt::default();
    let mut bench = Bench::open(&arguments, &interrupt).unwrap();
    let found = search::capacity(&mut bench, None).unwrap();
    assert_eq!((found.connections, found.limited_by), (0, "max-trials"), "{found:?}");
    assert!(found.trials.iter().all(|trial| trial.arrived == 0), "{found:?}");
}

#[test]
fn answers_that_miss_their_client_do_not_validate() {
    let Some(lab) = Lab::lay("astray") else { return };
    track(&lab, "udp", 1000);
    // On the way back every port is another.
    lab.rules(
        "table netdev astray {\n chain egress {\n  type filter hook egress device \"inside\" \
         priority 0; policy accept;\n  udp sport 9 udp dport set 7\n }\n}\n",
    );
    let arguments = arguments(&lab, "--max-flows 1k --flows 100");
    let interrupt = Interrupt::default();
    let mut bench = Bench::open(&arguments, &interrupt).unwrap();
    let trial = bench.trial(100, 5_000.0).unwrap();
    assert_eq!((trial.arrived, trial.validated), (100, 0), "{trial:?}");
    assert_eq!(bench.stage.returned().unwrap().bad_source, 100);
}
