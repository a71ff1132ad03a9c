//! The kernel's data path against the real kernel. Everything here needs root and BPF, happens in
//! network namespaces of its own, and pins on a BPF file system of its own.

mod differential;
mod generate;
mod lifecycle;
mod ports;
mod stocks;
mod tables;
mod tenants;

use halfspace_testbed::{Namespace, Requirement, Testbed};
use nf_core::action::Action;
use nf_core::adjacency::Adjacency;
use nf_core::fast_path::{Direction, Entry, MeterId, Usage};
use nf_core::flow::Tracking;
use nf_core::id::{AdjacencyId, FlowId, Generation, PortId};
use nf_core::packet::MacAddr;
use nf_core::time::Tick;
use nf_core::tuple::{FlowKey, Protocol, Tuple};

use super::{Ebpf, Origin};
use crate::{Kind, Options};

/// A gateway's namespace with two ports, `p0` and `p1`, that nothing talks to.
struct Bench {
    // Dropped in this order: the namespaces before the testbed they belong to.
    gateway: Namespace,
    peer: Namespace,
    bed: Testbed,
    ports: [PortId; 2],
}

impl Bench {
    /// `None`, with the reason printed, where the machine does not have what it takes.
    fn new(label: &str) -> Option<Self> {
        let needed = [Requirement::Root, Requirement::Bpf, Requirement::Program("ip")];
        if !halfspace_testbed::ready(&needed) {
            return None;
        }
        let bed = Testbed::new(label).unwrap();
        let [gateway, peer] = ["gateway", "peer"].map(|name| bed.namespace(name).unwrap());
        for namespace in [&gateway, &peer] {
            // IPv6 would announce itself on the links, and the counters are to be exact.
            namespace.sysctl([("net.ipv6.conf.default.disable_ipv6", "1")]).unwrap();
        }
        bed.veths(&[((&gateway, "p0"), (&peer, "q0")), ((&gateway, "p1"), (&peer, "q1"))]).unwrap();
        let ports =
            ["p0", "p1"].map(|name| PortId::new(gateway.link_index(name).unwrap()).unwrap());
        Some(Self { gateway, peer, bed, ports })
    }

    fn options(&self) -> Options {
        Options {
            kind: Kind::Ebpf,
            flows: 4096,
            ipv6_flows: 4096,
            pin_dir: self.bed.bpffs().unwrap().join("halfspace"),
            ring_bytes: 1 << 20,
        }
    }

    fn open(&self) -> (Ebpf, Origin) {
        Ebpf::open(&self.options()).unwrap()
    }

    /// Runs `work` in the gateway's namespace.
    fn inside<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.gateway.enter(work).unwrap()
    }
}

/// Entry `id` of a port; every third is IPv6.
fn flow(port: PortId, id: u32) -> (FlowKey, Entry) {
    let (low, high) = (id as u16, (id >> 16) as u16);
    let (src, dst, new) = if id.is_multiple_of(3) {
        (format!("[2001:db8::{high:x}]:{low}"), "[2001:db8:1::1]:53", "[2001:db8:2::1]:4000")
    } else {
        (format!("10.0.{high}.1:{low}"), "198.51.100.7:53", "203.0.113.9:4000")
    };
    let tuple =
        Tuple { protocol: Protocol::Udp, src: src.parse().unwrap(), dst: dst.parse().unwrap() };
    let entry = Entry {
        action: Action {
            rewrite: Tuple { src: new.parse().unwrap(), ..tuple },
            adjacency: AdjacencyId(5),
        },
        generation: Generation(3),
        flow: FlowId(id),
        direction: Direction::Reverse,
        src_mac: id.is_multiple_of(2).then_some(MacAddr::new([2, 0, 0, 0, 0, 2])),
        tracking: Tracking::from_bits(id as u8),
        meter: MeterId(id % MeterId::COUNT as u32),
        usage: Usage {
            last_seen: Tick(9),
            packets: id.into(),
            bytes: u64::from(id) * 100,
            tcp_flags: 2,
        },
    };
    (FlowKey { port, tuple }, entry)
}

fn install(ebpf: &mut Ebpf, port: PortId, count: u32) {
    for id in 0..count {
        let (key, entry) = flow(port, id);
        ebpf.fast_path().install(&key, &entry);
    }
    ebpf.fast_path().flush();
}

fn adjacency(port: PortId) -> Adjacency {
    let (dst_mac, src_mac) = (MacAddr::new([2, 0, 0, 0, 0, 7]), MacAddr::new([2, 0, 0, 0, 0, 8]));
    Adjacency { port, dst_mac, src_mac, mtu: 1500 }
}

/// Every entry, by flow.
fn entries(ebpf: &mut Ebpf) -> Vec<(FlowKey, Entry)> {
    let mut found = Vec::new();
    ebpf.recover(&mut |key, entry| found.push((key, entry))).unwrap();
    found.sort_by_key(|(_, entry)| entry.flow);
    found
}

/// A UDP frame that has no entry.
fn first_packet(id: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00];
    frame.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend(id.to_be_bytes());
    frame.extend([0, 53, 0, 8, 0, 0]);
    frame
}
