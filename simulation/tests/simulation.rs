//! Many runs, the same run twice, and runs in which something is wrong on purpose.

use std::env;
use std::time::Duration;

use halfspace_simulation::{Options, Report, Sabotage, Way, run};
use nf_core::verdict::Drop;

/// Seeds that every test run plays.
const SEEDS: u64 = 16;

/// A number from the environment.
fn from_env(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn play(seed: u64) -> Report {
    let mut options = Options::default();
    if let Some(minutes) = from_env("HALFSPACE_SIM_MINUTES") {
        options.busy = Duration::from_mins(minutes);
    }
    run(seed, options).unwrap_or_else(|failure| panic!("{failure}"))
}

/// `HALFSPACE_SIM_SEED` plays one seed, `HALFSPACE_SIM_SEEDS` so many, `HALFSPACE_SIM_MINUTES` each
/// for so long.
#[test]
fn every_promise_holds_whatever_the_network_and_the_operator_do() {
    if let Some(seed) = from_env("HALFSPACE_SIM_SEED") {
        println!("{}", play(seed));
        return;
    }
    let seeds = from_env("HALFSPACE_SIM_SEEDS").unwrap_or(SEEDS);
    let mut all = Report::default();
    for seed in 0..seeds {
        all.add(&play(seed));
    }
    println!("{seeds} seeds: {all}");
    // A simulation in which nothing happens would keep every promise.
    for way in [Way::Inside, Way::Out, Way::Bridge, Way::Chain, Way::Balanced, Way::In] {
        assert!(all.completed(way) > 10, "{way:?}: {}", all.completed(way));
    }
    for reason in [
        Drop::PortAllocation,
        Drop::FlowTableFull,
        Drop::AdjacencyTableFull,
        Drop::NeighbourUnreachable,
        Drop::NoFlow,
        Drop::Unsolicited,
        Drop::TimeToLive,
        Drop::BadChecksum,
        Drop::TupleInUse,
        Drop::NoTarget,
        Drop::Blackhole,
        Drop::SecurityGroup,
    ] {
        assert!(all.dropped.contains_key(&reason), "nothing was ever dropped as {reason}");
    }
    assert!(all.made > 100 && all.made_alone > 0, "{all}");
    assert!(all.records > 1000, "{all}");
    assert!(all.recovered > 10 && all.crashes > 5, "{all}");
}

#[test]
fn a_run_is_decided_by_its_seed_alone() {
    let once = play(1);
    assert_eq!(play(1), once);
    assert_ne!(play(2).trace, once.trace);
}

#[test]
fn a_fault_is_found_out() {
    let cases = [
        (Sabotage::WrongTenant, "gets Tag"),
        (Sabotage::WrongClone, "gets Tag"),
        (Sabotage::LostEntry, "entries for"),
        (Sabotage::WrongRewrite, "its entry differ"),
        (Sabotage::LostPacket, "handed over"),
        (Sabotage::LostRecords, "flow logs tell of"),
        (Sabotage::OpenGroups, "rule"),
    ];
    for (sabotage, what) in cases {
        let options = Options { sabotage: Some(sabotage), ..Options::default() };
        // Not in every run is there somebody to be wronged, or wronged in this way first.
        let found = (0..8).filter_map(|seed| run(seed, options).err());
        let mut found = found.map(|failure| failure.to_string());
        assert!(found.any(|it| it.contains(what)), "{sabotage:?} is not found out");
    }
}
