//! The table against a model, and what it keeps of a flow.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::tuple::{Protocol, Tuple};

/// Every third is IPv6.
fn key(port: u32, n: u16) -> FlowKey {
    let (src, dst) = if n.is_multiple_of(3) {
        (([0xfd00, 0, 0, 0, 0, 0, 0, 1], n).into(), ([0xfd00, 0, 0, 0, 0, 0, 0, 2], 80).into())
    } else {
        (([10, 0, 0, 1], n).into(), ([10, 0, 0, 2], 80).into())
    };
    let tuple = Tuple { protocol: Protocol::Tcp, src, dst };
    FlowKey { port: PortId::new(port).unwrap(), tuple }
}

fn flow(forward: FlowKey, reverse: FlowKey) -> Flow {
    Flow {
        forward,
        reverse,
        forward_out: AdjacencyId(1),
        reverse_out: AdjacencyId(2),
        claims: Claims::default(),
        timeouts: Timeouts::default(),
        tracking: Tracking::default(),
        generation: Generation(3),
        since: Time::from_nanos(60 << 26),
    }
}

/// The `n`th of flows that share no key.
fn nth(n: u16) -> Flow {
    flow(key(1, n), key(2, n))
}

#[test]
fn a_flow_comes_back_as_it_was_stored_and_is_found_by_either_key() {
    let mut table = FlowTable::new(Capacity::of_any(4), 1);
    let mut claims = Claims::default();
    assert!(claims.push(FunctionIx(2), Claim(77)) && claims.push(FunctionIx(0), Claim(5)));
    let udp = std::time::Duration::from_secs(7);
    let stored = Flow { claims, timeouts: Timeouts { udp, ..Timeouts::default() }, ..nth(9) };
    let id = table.insert(&stored).unwrap();
    table.insert(&nth(10)).unwrap();
    assert_eq!(table.get(id), Some(stored));
    assert_eq!(table.find(&stored.forward), Some((id, Direction::Forward)));
    assert_eq!(table.find(&stored.reverse), Some((id, Direction::Reverse)));
    assert_eq!(table.find(&key(3, 9)), None, "the same tuple on another port");
    assert_eq!(stored.claims.iter().map(|(_, claim)| claim.0).collect::<Vec<_>>(), [77, 5]);
}

#[test]
fn claims_hold_as_many_functions_as_a_flow_may_pass_and_no_more() {
    let mut claims = Claims::default();
    for n in 0..MAX_FUNCTIONS {
        assert!(claims.push(FunctionIx(n as u8), Claim(n as u32)));
    }
    assert!(!claims.push(FunctionIx(9), Claim(9)));
    assert_eq!(claims.iter().count(), MAX_FUNCTIONS);
    assert_eq!(claims.get(MAX_FUNCTIONS), None);
}

#[test]
fn a_refused_flow_leaves_the_table_as_it_was_and_the_next_one_fits() {
    let mut table = FlowTable::new(Capacity::of_any(3), 1);
    let first = table.insert(&nth(1)).unwrap();
    for refused in [flow(key(1, 1), key(2, 7)), flow(key(1, 7), key(2, 1))] {
        assert_eq!(table.insert(&refused), Err(InsertError::InUse(first)));
    }
    let itself = flow(key(1, 8), key(1, 8));
    assert_eq!(table.insert(&itself), Err(InsertError::InUse(FlowId(1))));
    assert_eq!(table.len(), 1);
    assert_eq!(table.find(&key(2, 7)), None);
    // The number that the refused ones would have had is still there to be given.
    assert_eq!(table.insert(&nth(2)), Ok(FlowId(1)));
    assert_eq!(table.insert(&nth(3)), Ok(FlowId(2)));
    assert_eq!(table.insert(&nth(4)), Err(InsertError::Full));
    table.remove(FlowId(0)).unwrap();
    assert_eq!(table.insert(&flow(key(1, 3), key(2, 9))), Err(InsertError::InUse(FlowId(2))));
    assert_eq!(table.insert(&nth(4)), Ok(FlowId(0)));
}

#[test]
fn a_number_from_before_is_kept_and_those_below_it_are_given_to_new_flows() {
    let mut table = FlowTable::new(Capacity::of_any(6), 1);
    assert_eq!(table.insert_at(FlowId(4), &nth(4)), Ok(()));
    assert_eq!(table.insert_at(FlowId(2), &nth(2)), Ok(()));
    assert_eq!(table.insert_at(FlowId(4), &nth(9)), Err(InsertError::InUse(FlowId(4))));
    assert_eq!(table.insert_at(FlowId(6), &nth(9)), Err(InsertError::Full));
    let mut given: Vec<_> = (10..14).map(|n| table.insert(&nth(n)).unwrap().0).collect();
    given.sort_unstable();
    assert_eq!(given, [0, 1, 3, 5]);
    assert_eq!(table.insert(&nth(20)), Err(InsertError::Full));
}

#[test]
fn ipv6_flows_have_a_limit_of_their_own() {
    let mut table = FlowTable::new(Capacity { flows: 4, ipv6_flows: 1 }, 1);
    let id = table.insert(&nth(3)).unwrap();
    assert_eq!(table.insert(&nth(6)), Err(InsertError::Full));
    table.insert(&nth(4)).unwrap();
    assert_eq!(table.remove(id), Some(nth(3)));
    let id = table.insert(&nth(6)).unwrap();
    assert_eq!(table.get(id), Some(nth(6)));
}

#[test]
fn tcp_flags_of_the_two_directions_are_kept_apart() {
    let mut table = FlowTable::new(Capacity::of_any(1), 1);
    let id = table.insert(&nth(1)).unwrap();
    assert_eq!(table.note_tcp_flags(id, Direction::Forward, 2), Some([2, 0]));
    assert_eq!(table.note_tcp_flags(id, Direction::Reverse, 7), Some([2, 7]));
    assert_eq!(table.note_tcp_flags(id, Direction::Forward, 1), Some([3, 7]));
    table.remove(id);
    assert_eq!(table.note_tcp_flags(id, Direction::Forward, 1), None);
}

#[test]
fn what_is_tracked_and_the_tcp_flags_do_not_touch_each_other() {
    let tracking = |source, destination| Tracking { source, destination };
    for before in [tracking(true, false), tracking(false, true), Tracking::BOTH] {
        let mut table = FlowTable::new(Capacity::of_any(1), 1);
        let id = table.insert(&Flow { tracking: before, ..nth(1) }).unwrap();
        assert_eq!(table.note_tcp_flags(id, Direction::Forward, 0xff), Some([7, 0]));
        assert_eq!(table.note_tcp_flags(id, Direction::Reverse, 0xff), Some([7, 7]));
        assert_eq!(table.get(id).unwrap().tracking, before);
        for after in [tracking(false, true), tracking(true, false), tracking(false, false)] {
            table.revalidated(id, &Flow { tracking: after, ..nth(1) });
            assert_eq!(table.get(id).unwrap().tracking, after);
            assert_eq!(table.note_tcp_flags(id, Direction::Forward, 0), Some([7, 7]));
        }
    }
}

#[test]
fn flows_are_found_by_their_port() {
    let mut table = FlowTable::new(Capacity::of_any(4), 1);
    let there = table.insert(&flow(key(1, 1), key(2, 1))).unwrap();
    let back = table.insert(&flow(key(2, 2), key(3, 2))).unwrap();
    let both = table.insert(&flow(key(2, 3), key(2, 4))).unwrap();
    let on =
        |ports: &[u32]| -> Vec<_> { table.on_ports(|port| ports.contains(&port.get())).collect() };
    assert_eq!(on(&[1]), [there]);
    assert_eq!(on(&[2]), [there, back, both]);
    assert_eq!(on(&[3]), [back]);
    assert_eq!(on(&[1, 3]), [there, back]);
    assert_eq!(on(&[4]), []);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert { forward: u16, reverse: u16 },
    InsertAt { id: u32, forward: u16, reverse: u16 },
    Remove { id: u32 },
}

fn any_step() -> impl Strategy<Value = Step> {
    // Few keys, so that many collide.
    let keys = || (0..24_u16, 0..24_u16);
    prop_oneof![
        4 => keys().prop_map(|(forward, reverse)| Step::Insert { forward, reverse }),
        1 => (0..14_u32, keys())
            .prop_map(|(id, (forward, reverse))| Step::InsertAt { id, forward, reverse }),
        3 => (0..14_u32).prop_map(|id| Step::Remove { id }),
    ]
}

proptest! {
    #[test]
    fn the_table_agrees_with_two_sorted_maps(steps in prop::collection::vec(any_step(), 0..300)) {
        const CAPACITY: usize = 12;
        let mut table = FlowTable::new(Capacity::of_any(CAPACITY), 1);
        let mut flows = BTreeMap::<u32, Flow>::new();
        let taken = |flows: &BTreeMap<u32, Flow>, flow: &Flow| {
            let keys = [flow.forward, flow.reverse];
            let of = |other: &Flow| keys.contains(&other.forward) || keys.contains(&other.reverse);
            flow.forward == flow.reverse || flows.values().any(of)
        };
        for step in steps {
            match step {
                Step::Insert { forward, reverse } => {
                    let flow = flow(key(1, forward), key(1, reverse));
                    match table.insert(&flow) {
                        Ok(id) => {
                            prop_assert!(!taken(&flows, &flow) && flows.len() < CAPACITY);
                            prop_assert!((id.0 as usize) < CAPACITY);
                            prop_assert!(flows.insert(id.0, flow).is_none());
                        }
                        Err(InsertError::Full) => prop_assert_eq!(flows.len(), CAPACITY),
                        Err(InsertError::InUse(_)) => prop_assert!(taken(&flows, &flow)),
                    }
                }
                Step::InsertAt { id, forward, reverse } => {
                    let flow = flow(key(1, forward), key(1, reverse));
                    let fits = (id as usize) < CAPACITY
                        && !flows.contains_key(&id)
                        && !taken(&flows, &flow);
                    prop_assert_eq!(table.insert_at(FlowId(id), &flow).is_ok(), fits);
                    if fits {
                        flows.insert(id, flow);
                    }
                }
                Step::Remove { id } => prop_assert_eq!(table.remove(FlowId(id)), flows.remove(&id)),
            }
            prop_assert_eq!(table.len(), flows.len());
            let listed: Vec<_> = table.iter().map(|(id, flow)| (id.0, flow)).collect();
            prop_assert_eq!(listed, flows.clone().into_iter().collect::<Vec<_>>());
            for n in 0..24 {
                let found = table.find(&key(1, n)).map(|(id, direction)| {
                    (id.0, *flows[&id.0].key(direction))
                });
                let holder = flows.iter().find(|(_, flow)| {
                    flow.forward == key(1, n) || flow.reverse == key(1, n)
                });
                prop_assert_eq!(found, holder.map(|(id, _)| (*id, key(1, n))));
            }
        }
    }
}

#[test]
fn reserved_numbers_are_for_those_who_name_them_and_leave_an_eighth_free() {
    let mut table = FlowTable::new(Capacity::of_any(16), 1);
    let gone = table.insert(&nth(1)).unwrap();
    let kept = table.insert(&nth(2)).unwrap();
    table.remove(gone);
    let reserved = table.reserve(100);
    assert_eq!(reserved.len(), 13, "14 of 16 may be taken, and one is");
    assert_eq!(table.reserved(), 13);
    assert!(reserved.contains(&gone) && !reserved.contains(&kept));
    for n in 3..=4 {
        let id = table.insert(&nth(n)).unwrap();
        assert!(!reserved.contains(&id), "{id} is reserved");
    }
    assert_eq!(table.insert(&nth(5)), Err(InsertError::Full));
    table.insert_at(reserved[0], &nth(5)).unwrap();
    table.unreserve(reserved[0]);
    table.unreserve(reserved[1]);
    assert_eq!((table.reserved(), table.len()), (11, 4));
    assert_eq!(table.insert(&nth(6)), Ok(reserved[1]), "the only one that is free");
    assert_eq!(table.reserve(1), []);
}
