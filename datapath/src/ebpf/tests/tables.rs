//! Entries going in and out of the kernel's tables, and records out of the ring.

use nf_core::fast_path::{Entry, Usage};
use nf_core::id::{FlowId, Generation};
use nf_core::verdict::{FastDrop, Punt};
use std::os::fd::AsFd;

use super::{Bench, entries, first_packet, flow, install};
use crate::ebpf::Ebpf;
use crate::ebpf::sys::{self, RunInput};
use crate::{Change, Options, Received};

#[test]
fn restamping_changes_the_generation_and_nothing_else() {
    let Some(bench) = Bench::new("restamp") else { return };
    bench.inside(|| {
        let (mut ebpf, _) = bench.open();
        let port = bench.ports[0];
        // More than one run of the program takes.
        install(&mut ebpf, port, 2500);
        let mut keys: Vec<_> = (0..2400).map(|id| flow(port, id).0).collect();
        // One that is not there is no reason to stop.
        keys.insert(100, flow(port, 9999).0);
        ebpf.fast_path().restamp(&keys, Generation(8));
        for (id, (key, found)) in (0..2500).zip(entries(&mut ebpf)) {
            let (expected_key, mut expected) = flow(port, id);
            expected.generation = Generation(if id < 2400 { 8 } else { 3 });
            assert_eq!((key, found), (expected_key, expected));
        }
        assert!(ebpf.take_failures().is_empty());
        ebpf.uninstall().unwrap();
    });
}

#[test]
fn an_entry_that_still_waits_can_be_removed_and_read() {
    let Some(bench) = Bench::new("waiting") else { return };
    bench.inside(|| {
        let (mut ebpf, _) = bench.open();
        let (key, entry) = flow(bench.ports[0], 1);
        let (other, other_entry) = flow(bench.ports[0], 3);
        let fast_path = ebpf.fast_path();
        fast_path.install(&key, &entry);
        assert_eq!(fast_path.usage(&key), Some(entry.usage));
        fast_path.install(&other, &other_entry);
        fast_path.remove(&other);
        assert_eq!(fast_path.usage(&other), None);
        fast_path.flush();
        assert_eq!(fast_path.usage(&other), None, "flushing does not bring it back");
        fast_path.remove(&key);
        fast_path.install(&key, &entry);
        fast_path.remove(&other);
        fast_path.flush();
        assert_eq!(fast_path.usage(&key), Some(entry.usage), "removed first, installed then");
        // The same key twice in one batch: the later one counts.
        let later = Usage { packets: 77, ..entry.usage };
        fast_path.install(&key, &entry);
        fast_path.install(&key, &Entry { usage: later, ..entry });
        assert_eq!(fast_path.usage(&key), Some(later));
        ebpf.uninstall().unwrap();
    });
}

#[test]
fn entries_that_do_not_fit_are_told_and_the_others_installed() {
    let Some(bench) = Bench::new("full") else { return };
    bench.inside(|| {
        let (mut ebpf, _) =
            Ebpf::open(&Options { flows: 2, ipv6_flows: 2, ..bench.options() }).unwrap();
        let port = bench.ports[0];
        // Four IPv4 entries fit; of these, ids 1 2 4 5 7 8 10 are IPv4.
        for id in [1, 2, 4, 5, 7, 8] {
            let (key, entry) = flow(port, id);
            ebpf.fast_path().install(&key, &entry);
        }
        // One that is there already is replaced although the table is full.
        let (again, entry) = flow(port, 2);
        ebpf.fast_path().install(&again, &Entry { flow: FlowId(1000), ..entry });
        ebpf.fast_path().flush();
        let failures = ebpf.take_failures();
        let changes: Vec<_> = failures.iter().map(|failure| failure.change).collect();
        assert_eq!(changes, [7, 8].map(|id| Change::Install(flow(port, id).0)));
        assert_eq!(failures[0].error.raw_os_error(), Some(nix::libc::E2BIG));
        assert_eq!(ebpf.statistics().unwrap().failed_updates, 2);
        let flows: Vec<_> = entries(&mut ebpf).iter().map(|(_, entry)| entry.flow.0).collect();
        assert_eq!(flows, [1, 4, 5, 1000]);
        ebpf.uninstall().unwrap();
    });
}

#[test]
fn a_full_ring_drops_and_counts_and_never_mixes_up_records() {
    let Some(bench) = Bench::new("ring") else { return };
    bench.inside(|| {
        let (mut ebpf, _) = bench.open();
        let frame = first_packet(1);
        let mut context = [0; 192];
        context[40..44].copy_from_slice(&bench.ports[0].get().to_ne_bytes());
        let input = RunInput { data: &frame, context: &context, ..RunInput::default() };
        // Records of this size take 256 bytes of the ring's mebibyte.
        for _ in 0..5000 {
            sys::run(ebpf.links.links().programs().tc.as_fd(), &input, &mut []).unwrap();
        }
        let statistics = ebpf.statistics().unwrap();
        let punted = statistics.punted[Punt::Miss as usize];
        let dropped = statistics.dropped[FastDrop::PuntRingFull as usize];
        assert_eq!(punted + dropped, 5000);
        assert!((4000..=4096).contains(&punted), "{punted}");
        let mut seen = 0;
        let received = ebpf.receive(10_000, &mut |_, received| {
            let Received::Frame { port, frame: got, .. } = received else { panic!("an event") };
            assert_eq!((port, got), (bench.ports[0], frame.as_slice()));
            seen += 1;
        });
        assert_eq!((received as u64, seen), (punted, punted));
        ebpf.uninstall().unwrap();
    });
}
