//! `halfspace-loadtest maglev`: what a table of the load balancer costs to build, in time and in
//! memory, and how much it moves when a target leaves.
//!
//! It is a program of its own, so that the memory is that of one build in a process that has done
//! nothing else: the benchmark runs it as a child.

use std::fs;
use std::time::{Duration, Instant};

use comfy_table::Table;
use nf_core::maglev::{Backend, HashSeed, MaglevError, MaglevTable, TableSize};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::output::{Outcome, Output, Report, table};

/// Builds that are timed; the median counts.
const BUILDS: usize = 25;

/// Targets that are removed in turn, spread over the list; the worst counts.
const REMOVED: usize = 25;

/// The greatest weight that a target may have.
const MOST_WEIGHT: u64 = 999;

/// Any key does.
const SEED: HashSeed = HashSeed { k0: 0x243f_6a88_85a3_08d3, k1: 0x1319_8a2e_0370_7344 };

/// Writing this resets the peak that the kernel knows of a process: proc(5), `clear_refs`.
const RESET_PEAK: &str = "5";

/// What table to build.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Targets, with weights from 1 to 999
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(2..))]
    targets: u16,
    /// Slots, a prime
    #[arg(long, default_value_t = 65_537)]
    slots: u32,
    #[command(flatten)]
    output: Output,
}

/// What it costs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Costs {
    /// Targets in the table.
    pub targets: u16,
    /// Slots of the table.
    pub slots: u32,
    /// One build, median.
    pub build_seconds: f64,
    /// Resident memory at the peak of the first build, above what there was before it: the table
    /// and all that is needed to build it, the list of targets not included.
    pub peak_bytes: u64,
    /// Slots of the targets that stay which change hands when one leaves, a share of all their
    /// slots; of several that leave in turn, the one that moves most.
    pub disruption: f64,
}

/// Measures and prints.
///
/// # Errors
///
/// [`Error::Usage`] if there is no such table, [`Error::File`].
pub fn run(arguments: &Arguments) -> Result<Outcome, Error> {
    let costs = measure(arguments)?;
    arguments.output.print(&costs)?;
    Ok(Outcome::Fine)
}

fn measure(arguments: &Arguments) -> Result<Costs, Error> {
    let unusable = |error: MaglevError| Error::Usage(error.to_string());
    let size = TableSize::new(arguments.slots).map_err(unusable)?;
    let targets = targets(arguments.targets);
    let build = |targets: &[Target]| {
        let backends: Vec<_> = targets.iter().map(Target::backend).collect();
        MaglevTable::build(size, SEED, &backends)
    };
    // First of all, while no memory has been used and freed that the build could take again.
    let before = reset_peak()?;
    let whole = build(&targets).map_err(unusable)?;
    let peak_bytes = memory("VmHWM:")?.saturating_sub(before);
    let mut times = Vec::with_capacity(BUILDS);
    for _ in 0..BUILDS {
        let begun = Instant::now();
        build(&targets).map_err(unusable)?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let mut disruption: f64 = 0.0;
    for nth in 0..REMOVED.min(targets.len()) {
        let gone = nth * targets.len() / REMOVED.min(targets.len());
        let mut left = targets.clone();
        left.remove(gone);
        let after = build(&left).map_err(unusable)?;
        disruption = disruption.max(moved(whole.slots(), after.slots(), gone));
    }
    let build_seconds = times.get(BUILDS / 2).map_or(0.0, Duration::as_secs_f64);
    let Arguments { targets, slots, .. } = *arguments;
    Ok(Costs { targets, slots, build_seconds, peak_bytes, disruption })
}

/// A target, as the load balancer names it to the table: address and port.
#[derive(Clone, Copy, Debug)]
struct Target {
    id: [u8; 18],
    weight: u32,
}

impl Target {
    fn backend(&self) -> Backend<'_> {
        Backend { id: &self.id, weight: self.weight }
    }
}

/// So many targets of a network, with weights that have no order.
fn targets(count: u16) -> Vec<Target> {
    let target = |number: u16| {
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 | u32::from(number));
        let mut id = [0; 18];
        id[..16].copy_from_slice(&address.to_ipv6_mapped().octets());
        id[16..].copy_from_slice(&443_u16.to_be_bytes());
        let weight = SEED.hash(&number.to_be_bytes()) % MOST_WEIGHT + 1;
        Target { id, weight: weight as u32 }
    };
    (0..count).map(target).collect()
}

/// The share of slots that were not `gone`'s and are now another's.
fn moved(before: &[u16], after: &[u16], gone: usize) -> f64 {
    let stays = before.iter().zip(after).filter(|(old, _)| usize::from(**old) != gone);
    let (mut all, mut moved) = (0_u32, 0_u32);
    for (&old, &new) in stays {
        // Whoever stood behind the one that left has moved up in the list.
        let renamed = if usize::from(old) > gone { old - 1 } else { old };
        all += 1;
        moved += u32::from(renamed != new);
    }
    if all == 0 { 0.0 } else { f64::from(moved) / f64::from(all) }
}

/// Forgets the peak of this process' resident memory; what is resident now, in bytes.
fn reset_peak() -> Result<u64, Error> {
    const PATH: &str = "/proc/self/clear_refs";
    fs::write(PATH, RESET_PEAK).map_err(|source| Error::File {
        action: "write",
        path: PATH.into(),
        source,
    })?;
    memory("VmRSS:")
}

/// A line of `/proc/self/status`, in bytes.
fn memory(name: &str) -> Result<u64, Error> {
    const PATH: &str = "/proc/self/status";
    let failed = |source| Error::File { action: "read", path: PATH.into(), source };
    let status = fs::read_to_string(PATH).map_err(failed)?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| Error::Missing(format!("{PATH} does not have {name}")))
}

impl Report for Costs {
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    fn tables(&self) -> Vec<Table> {
        let mut shown = table(["Maglev table", ""]);
        shown.add_row(["targets".to_owned(), self.targets.to_string()]);
        shown.add_row(["slots".to_owned(), self.slots.to_string()]);
        shown.add_row(["build".to_owned(), format!("{:.2} ms", self.build_seconds * 1e3)]);
        let mib = self.peak_bytes as f64 / f64::from(1 << 20);
        shown.add_row(["memory at the peak".to_owned(), format!("{mib:.2} MiB")]);
        let moved = format!("{:.2} %", self.disruption * 100.0);
        shown.add_row(["others' flows that move when one leaves".to_owned(), moved]);
        vec![shown]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_of_the_one_that_leaves_do_not_count_and_names_behind_it_move_up() {
        // Target 1 leaves; 2 is called 1 now. Slot 3 changes hands, from 2 to 0.
        let share = moved(&[0, 1, 2, 2, 1], &[0, 0, 1, 0, 1], 1);
        assert!((share - 1.0 / 3.0).abs() < 1e-9, "{share}");
        assert!(moved(&[1, 1], &[0, 0], 1).abs() < 1e-9);
    }

    #[test]
    fn a_table_costs_something_and_moves_little() {
        let output = Output::default();
        let costs = measure(&Arguments { targets: 50, slots: 4093, output }).unwrap();
        assert!(costs.build_seconds > 0.0, "{costs:?}");
        assert!((0.0..0.2).contains(&costs.disruption), "{costs:?}");
        let wrong = measure(&Arguments { targets: 50, slots: 4096, output }).unwrap_err();
        assert!(wrong.to_string().contains("prime"), "{wrong}");
    }
}
