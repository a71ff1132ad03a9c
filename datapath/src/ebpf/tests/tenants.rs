//! Two tenants whose flows are the same in everything but the port they come in by: what either sends
//! never leaves by the other's adjacencies.

use nf_core::adjacency::Adjacency;
use nf_core::id::AdjacencyId;
use nf_core::packet::MacAddr;

use super::differential::{Comparison, Fate, Hook, compare, seed, set_up};
use super::generate::{Rng, World};

const ROUNDS: usize = 100;
/// Of each tenant in a round: a million in all.
const PACKETS: usize = 10_000;

/// Adjacencies of each tenant.
const SLOTS: u32 = 8;

fn slot(rng: &mut Rng, tenant: u32) -> AdjacencyId {
    AdjacencyId(SLOTS * tenant + rng.below(SLOTS as usize) as u32)
}

/// A world in which each port has every flow and every class that either had.
fn alike(rng: &mut Rng, comparison: &Comparison<'_>) -> World {
    let ports = comparison.ports;
    let mut world = World::new(rng, ports);
    world.adjacencies = (0..2 * SLOTS)
        .map(|slot| {
            let tenant = slot / SLOTS;
            let mac = |number| MacAddr::new([2, number, tenant as u8, slot as u8, 0, 1]);
            let port = ports[tenant as usize];
            Some(Adjacency { port, dst_mac: mac(1), src_mac: mac(2), mtu: 1500 })
        })
        .collect();
    let (flows, templates) =
        (std::mem::take(&mut world.flows), std::mem::take(&mut world.templates));
    for (tenant, port) in (0..).zip(ports) {
        for (mut key, mut entry) in flows.clone() {
            key.port = port;
            entry.action.adjacency = slot(rng, tenant);
            if world.flows.iter().all(|(other, _)| *other != key) {
                world.flows.push((key, entry));
            }
        }
        for (mut class, mut template) in templates.clone() {
            class.port = port;
            template.reverse_port = port;
            (template.forward_out, template.reverse_out) = (slot(rng, tenant), slot(rng, tenant));
            if world.templates.iter().all(|(other, _)| *other != class) {
                world.templates.push((class, template));
            }
        }
    }
    world
}

#[test]
fn of_a_million_packets_from_each_of_two_tenants_that_are_alike_none_crosses() {
    compare("tenants", Hook::Tc, |comparison| {
        let seed = seed();
        let mut rng = Rng(seed);
        let mut forwarded = [0, 0];
        for round in 0..ROUNDS {
            let world = alike(&mut rng, comparison);
            set_up(&world, comparison.ebpf.fast_path());
            for number in 0..2 * PACKETS {
                let tenant = number % 2;
                let mut case = world.case(&mut rng, true);
                case.port = comparison.ports[tenant];
                let mut output = vec![0; case.frame.len() + 64];
                let ran = comparison.run(&case, &mut output).unwrap();
                if Hook::Tc.fate(ran.result) == Some(Fate::Redirected) {
                    let to = usize::from(output[2]);
                    assert_eq!(to, tenant, "seed {seed}, round {round}: {case:02x?}");
                    forwarded[tenant] += 1;
                }
                if number % 100 == 0 {
                    comparison.ebpf.receive(usize::MAX, &mut |_, _| {});
                }
            }
            comparison.empty();
        }
        println!("forwarded: {forwarded:?}");
        let least = ROUNDS * PACKETS / 20;
        assert!(forwarded.iter().all(|count| *count > least), "seed {seed}: {forwarded:?}");
    });
}
