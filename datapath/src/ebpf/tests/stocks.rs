//! Flows that the kernel program makes: what the comparison with the reference does not reach.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use nf_core::fast_path::{Class, Event, Lot, Made, MeterId, StockId, Template};
use nf_core::flow::Tracking;
use nf_core::id::{AdjacencyId, FlowId, Generation, PortId};
use nf_core::packet::MacAddr;
use nf_core::tuple::{FlowKey, Protocol, Tuple};
use nf_core::verdict::Punt;

use super::{Bench, adjacency, first_packet, flow};
use crate::ebpf::Ebpf;
use crate::ebpf::sys::{self, RunInput};
use crate::{Options, Received};

const STOCK: StockId = StockId::new(7, 0x00ab_cdef);

/// The class of [`first_packet`].
fn class(port: PortId) -> Class {
    let dst = "10.0.0.2:53".parse().unwrap();
    Class { port, protocol: Protocol::Udp, src: [10, 0, 0, 1].into(), dst }
}

fn template(reverse_port: PortId) -> Template {
    Template {
        src_mac: MacAddr::new([2, 0, 0, 0, 0, 2]),
        holds_src_mac: true,
        back_mac: None,
        tracking: Tracking::BOTH,
        meters: [MeterId(1), MeterId(2)],
        external_ip: [203, 0, 113, 9].into(),
        reverse_port,
        forward_out: AdjacencyId(0),
        reverse_out: AdjacencyId(1),
        generation: Generation(0),
        stock: STOCK,
    }
}

fn lot(n: u16) -> Lot {
    Lot { flow: FlowId(u32::from(n) << 8), port: 40_000 + n }
}

/// [`first_packet`] with its header checksum right, through the tc program.
fn send(ebpf: &Ebpf, port: PortId, id: u16) {
    let mut frame = first_packet(id);
    let words = frame[14..34].chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1]));
    let sum: u32 = words.sum();
    let sum = !(((sum & 0xffff) + (sum >> 16)) as u16);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    let mut context = [0; 192];
    context[40..44].copy_from_slice(&port.get().to_ne_bytes());
    let input = RunInput { data: &frame, context: &context, ..RunInput::default() };
    sys::run(ebpf.links.links().programs().tc.as_fd(), &input, &mut []).unwrap();
}

fn received(ebpf: &mut Ebpf) -> Vec<Result<Made, Punt>> {
    let mut all = Vec::new();
    ebpf.receive(100, &mut |_, received| match received {
        Received::Event(Event::Made(made)) => all.push(Ok(made)),
        Received::Event(event) => panic!("{event:?}"),
        Received::Frame { reason, .. } => all.push(Err(reason)),
    });
    all
}

#[test]
fn a_full_table_makes_no_flow_and_gives_the_lot_back() {
    let Some(bench) = Bench::new("made-full") else { return };
    bench.inside(|| {
        let [p0, p1] = bench.ports;
        let (mut ebpf, _) =
            Ebpf::open(&Options { flows: 2, ipv6_flows: 2, ..bench.options() }).unwrap();
        let fast_path = ebpf.fast_path();
        fast_path.set_adjacency(AdjacencyId(0), Some(adjacency(p1)));
        assert_eq!(fast_path.supply(STOCK, &[lot(1), lot(2), lot(3)]), 3);
        fast_path.set_template(&class(p0), Some(&template(p1)));
        let forward = |id| FlowKey {
            port: p0,
            tuple: Tuple {
                protocol: Protocol::Udp,
                src: ([10, 0, 0, 1], id).into(),
                dst: ([10, 0, 0, 2], 53).into(),
            },
        };
        let made =
            |n, is_made| Made { lot: lot(n), forward: forward(n), template: template(p1), is_made };
        // Four entries fit: one flow, one entry of another, and half a flow.
        send(&ebpf, p0, 1);
        assert_eq!(received(&mut ebpf), [Ok(made(1, true))]);
        let (key, entry) = flow(p0, 1);
        ebpf.fast_path().install(&key, &entry);
        ebpf.fast_path().flush();
        send(&ebpf, p0, 2);
        assert_eq!(received(&mut ebpf), [Ok(made(2, false)), Err(Punt::Miss)]);
        let half = made(2, true).reverse();
        assert_eq!(ebpf.fast_path().entry(&half), None, "half a flow does not stay");
        let (key, entry) = flow(p0, 2);
        ebpf.fast_path().install(&key, &entry);
        ebpf.fast_path().flush();
        send(&ebpf, p0, 3);
        assert_eq!(received(&mut ebpf), [Ok(made(3, false)), Err(Punt::Miss)]);
        send(&ebpf, p0, 4);
        assert_eq!(received(&mut ebpf), [Err(Punt::Miss)], "there is nothing in stock");
        ebpf.uninstall().unwrap();
    });
}

#[test]
fn a_new_process_finds_no_template_and_nothing_in_stock() {
    let Some(bench) = Bench::new("made-anew") else { return };
    bench.inside(|| {
        let [p0, p1] = bench.ports;
        let (mut ebpf, _) = bench.open();
        ebpf.fast_path().supply(STOCK, &[lot(1), lot(2)]);
        ebpf.fast_path().set_template(&class(p0), Some(&template(p1)));
        drop(ebpf);
        let (mut ebpf, _) = bench.open();
        assert_eq!(ebpf.fast_path().in_stock(STOCK), 0);
        send(&ebpf, p0, 1);
        assert_eq!(received(&mut ebpf), [Err(Punt::Miss)]);
        // And can fill it up to the brim, wherever the old one had got to.
        let lots: Vec<_> = (0..600).map(lot).collect();
        assert_eq!(ebpf.fast_path().supply(STOCK, &lots), StockId::ROOM);
        assert_eq!(ebpf.fast_path().take_back(STOCK), lots[..StockId::ROOM]);
        ebpf.uninstall().unwrap();
    });
}

#[test]
fn whoever_takes_from_a_stock_has_a_lot_alone() {
    const LOTS: u32 = 200_000;

    let Some(bench) = Bench::new("made-race") else { return };
    bench.inside(|| {
        let (ebpf, _) = bench.open();
        let stocks = &ebpf.tables.maps().stocks;
        let filled = AtomicBool::new(false);
        let taker = || {
            let mut mine = Vec::new();
            loop {
                // Asked first: what was put in before is found after.
                let last = filled.load(Ordering::Acquire);
                let taken = stocks.take_back(STOCK);
                if last && taken.is_empty() {
                    return mine;
                }
                mine.extend(taken.iter().map(|lot| lot.flow.0));
                std::thread::yield_now();
            }
        };
        let all = std::thread::scope(|scope| {
            let takers = [scope.spawn(taker), scope.spawn(taker)];
            let mut next = 0;
            while next < LOTS {
                let lots: Vec<_> = (next..LOTS.min(next + 64))
                    .map(|flow| Lot { flow: FlowId(flow), port: flow as u16 })
                    .collect();
                next += stocks.supply(STOCK, &lots) as u32;
                std::thread::yield_now();
            }
            filled.store(true, Ordering::Release);
            takers.map(|taker| taker.join().unwrap())
        });
        let mut all = all.concat();
        all.sort_unstable();
        assert_eq!(all, (0..LOTS).collect::<Vec<_>>());
        ebpf.uninstall().unwrap();
    });
}
