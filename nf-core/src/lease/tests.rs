//! Leases against a naive model, over the whole range, and across a restart.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

fn leases(seed: u8) -> PortLeases {
    PortLeases::new(PortRange::default(), [seed; 32], 0)
}

/// One of many keys that differ in one field each.
fn key(number: u8) -> LeaseKey {
    let base = LeaseKey {
        protocol: Protocol::Tcp,
        external_ip: "203.0.113.1".parse().unwrap(),
        destination: "198.51.100.1:443".parse().unwrap(),
    };
    match number {
        0 => base,
        1 => LeaseKey { protocol: Protocol::Udp, ..base },
        2 => LeaseKey { external_ip: "203.0.113.2".parse().unwrap(), ..base },
        3 => LeaseKey { destination: "198.51.100.2:443".parse().unwrap(), ..base },
        4 => LeaseKey { destination: "198.51.100.1:80".parse().unwrap(), ..base },
        5 => LeaseKey { destination: "[::ffff:198.51.100.1]:443".parse().unwrap(), ..base },
        _ => LeaseKey { external_ip: "::ffff:203.0.113.1".parse().unwrap(), ..base },
    }
}

fn acquire_ports(leases: &mut PortLeases, key: LeaseKey, count: usize) -> Vec<u16> {
    (0..count).map(|_| leases.acquire(Time::default(), key).unwrap().port()).collect()
}

#[test]
fn the_whole_range_is_given_out_and_then_no_more() {
    let mut leases = leases(1);
    let mut ports = acquire_ports(&mut leases, key(0), 64_512);
    ports.sort_unstable();
    assert_eq!(ports, (1024..=u16::MAX).collect::<Vec<u16>>());
    let exhausted = leases.acquire(Time::default(), key(0)).unwrap_err();
    assert_eq!(exhausted, Exhausted { key: key(0), range: PortRange::default() });
    assert_eq!(
        exhausted.to_string(),
        "no port is free for tcp from 203.0.113.1 to 198.51.100.1:443: all of 1024-65535 are \
         leased or in quarantine; add an external address, or let idle flows to this destination \
         end sooner"
    );
    assert_eq!((leases.live(), leases.quarantined(), leases.destinations()), (64_512, 0, 1));
}

#[test]
fn every_part_of_the_key_has_the_range_to_itself() {
    let range = PortRange::new(5000, 5001).unwrap();
    let mut leases = PortLeases::new(range, [1; 32], 16);
    for number in 0..7 {
        let ports: BTreeSet<u16> = acquire_ports(&mut leases, key(number), 2).into_iter().collect();
        assert_eq!(ports, BTreeSet::from([5000, 5001]));
        assert!(leases.acquire(Time::default(), key(number)).is_err());
    }
    assert_eq!((leases.live(), leases.destinations()), (14, 7));
}

#[test]
fn zone_and_flow_label_make_no_other_destination() {
    let mut leases = leases(1);
    let plain = LeaseKey { destination: "[fe80::1]:53".parse().unwrap(), ..key(0) };
    let zoned = LeaseKey { destination: "[fe80::1%4]:53".parse().unwrap(), ..key(0) };
    let lease = leases.acquire(Time::default(), plain).unwrap();
    assert!(leases.acquire_exact(Time::default(), zoned, lease.port()).is_err());
}

#[test]
fn ports_follow_the_seed_and_nothing_else() {
    let sequence = |seed| acquire_ports(&mut leases(seed), key(0), 1000);
    assert_eq!(sequence(1), sequence(1));
    assert_ne!(sequence(1), sequence(2));
    let steps: BTreeMap<u16, u32> =
        sequence(1).windows(2).fold(BTreeMap::new(), |mut steps, pair| {
            *steps.entry(pair[1].wrapping_sub(pair[0])).or_default() += 1;
            steps
        });
    // By chance some eight pairs of the 999 steps are alike. A counter takes the same step always.
    assert!(steps.values().all(|&times| times <= 4), "{steps:?}");
}

#[test]
fn starts_are_even_over_the_range() {
    let mut leases = leases(3);
    let mut per_quarter = [0_u32; 4];
    for _ in 0..4000 {
        let lease = leases.acquire(Time::default(), key(0)).unwrap();
        per_quarter[usize::from(lease.port() - 1024) * 4 / 64_512] += 1;
        leases.release(Time::default(), lease, Duration::ZERO);
    }
    // 1,000 each, deviation 27: five of them either way.
    assert!(per_quarter.iter().all(|count| count.abs_diff(1000) < 137), "{per_quarter:?}");
}

#[test]
fn an_acquisition_costs_the_same_at_any_fill() {
    let mut leases = leases(4);
    let taken = acquire_ports(&mut leases, key(0), 600).len();
    let visits_since = |leases: &PortLeases| match &leases.pools[0].ports {
        Ports::Map(map) => map.visits.take(),
        _ => panic!("600 ports are no bitmap"),
    };
    visits_since(&leases);
    let mut visits = Vec::new();
    for _ in taken..64_512 {
        drop(leases.acquire(Time::default(), key(0)).unwrap());
        visits.push(visits_since(&leases));
    }
    // One search from the start and one round the end, of five words each.
    assert!(visits.iter().all(|count| (1..=10).contains(count)));
    let mean = |part: &[u32]| part.iter().sum::<u32>() / part.len() as u32;
    assert_eq!(mean(&visits[..1000]), 1);
    // From 95 % on.
    assert!(mean(&visits[60_686..]) <= 5);
}

#[test]
fn a_released_port_is_not_reused_before_its_quarantine_ends() {
    let range = PortRange::new(7000, 7000).unwrap();
    let mut leases = PortLeases::new(range, [1; 32], 0);
    let released = Time::from_secs(100);
    let lease = leases.acquire(released, key(0)).unwrap();
    leases.release(released, lease, MINUTE);
    assert_eq!((leases.live(), leases.quarantined(), leases.destinations()), (0, 1, 1));
    let end = released + MINUTE;
    for early in [released, released + MINUTE / 2, end - Duration::from_nanos(1)] {
        assert!(leases.acquire(early, key(0)).is_err(), "{early:?}");
    }
    let late = end + PortLeases::GRANULE;
    assert_eq!(leases.acquire(late, key(0)).unwrap().port(), 7000);
    assert_eq!((leases.live(), leases.quarantined(), leases.destinations()), (1, 0, 1));
}

#[test]
fn without_quarantine_a_port_is_free_at_once() {
    let range = PortRange::new(7000, 7000).unwrap();
    let mut leases = PortLeases::new(range, [1; 32], 0);
    for _ in 0..3 {
        let lease = leases.acquire(Time::default(), key(0)).unwrap();
        leases.release(Time::default(), lease, Duration::ZERO);
        assert_eq!((leases.live(), leases.quarantined(), leases.destinations()), (0, 0, 0));
    }
}

#[test]
fn a_quarantine_without_end_is_one() {
    let range = PortRange::new(7000, 7000).unwrap();
    let mut leases = PortLeases::new(range, [1; 32], 0);
    let lease = leases.acquire(Time::default(), key(0)).unwrap();
    leases.release(Time::default(), lease, Duration::MAX);
    assert!(leases.acquire(Time::from_nanos(u64::MAX), key(0)).is_err());
}

#[test]
fn acquiring_works_off_quarantines_that_are_over() {
    let mut leases = leases(1);
    let held: Vec<PortLease> =
        (0..100).map(|_| leases.acquire(Time::default(), key(0)).unwrap()).collect();
    for lease in held {
        leases.release(Time::default(), lease, MINUTE);
    }
    let later = Time::default() + MINUTE * 2;
    let mut left = 100;
    while left > 0 {
        drop(leases.acquire(later, key(1)).unwrap());
        assert_eq!(leases.quarantined(), left - 4);
        left -= 4;
    }
    assert_eq!(leases.destinations(), 1);
}

#[test]
fn a_backlog_of_quarantines_does_not_exhaust_the_range() {
    let range = PortRange::new(1, 100).unwrap();
    let mut leases = PortLeases::new(range, [1; 32], 0);
    for (number, quarantine) in [(0, MINUTE * 2), (1, MINUTE)] {
        for _ in 0..100 {
            let lease = leases.acquire(Time::default(), key(number)).unwrap();
            leases.release(Time::default(), lease, quarantine);
        }
    }
    // What an acquisition sweeps on its way is the other key's, whose quarantine ended first.
    let later = Time::default() + MINUTE * 3;
    let ports: BTreeSet<u16> =
        (0..100).map(|_| leases.acquire(later, key(0)).unwrap().port()).collect();
    assert_eq!(ports.len(), 100);
}

#[test]
fn expiry_honours_its_limit_and_tells_of_the_rest() {
    let mut leases = leases(1);
    for _ in 0..10 {
        let lease = leases.acquire(Time::default(), key(0)).unwrap();
        leases.release(Time::default(), lease, MINUTE);
    }
    assert!(!leases.expire(Time::from_secs(59), 100));
    assert_eq!(leases.quarantined(), 10);
    let later = Time::from_secs(61);
    assert!(leases.expire(later, 4));
    assert_eq!(leases.quarantined(), 6);
    assert!(!leases.expire(later, 6));
    assert_eq!((leases.quarantined(), leases.destinations()), (0, 0));
}

#[test]
fn a_live_flow_takes_its_port_over_a_restart() {
    let now = Time::from_secs(1);
    let mut leases = leases(1);
    // Outside the range, after it was made smaller: the flow does not mind.
    assert_eq!(leases.acquire_exact(now, key(0), 80).unwrap().port(), 80);
    let adopted = leases.acquire_exact(now, key(0), 40_000).unwrap();
    assert_eq!(
        leases.acquire_exact(now, key(0), 40_000),
        Err(PortInUse { key: key(0), port: 40_000 })
    );
    assert_eq!(leases.acquire_exact(now, key(1), 40_000).unwrap().port(), 40_000);
    assert_eq!(leases.live(), 3);
    leases.release(now, adopted, MINUTE);
    let adopted = leases.acquire_exact(now, key(0), 40_000).unwrap();
    assert_eq!((leases.live(), leases.quarantined()), (3, 0));
    // The quarantine that was cut short does not free the port later.
    leases.expire(now + MINUTE * 2, 100);
    assert!(leases.acquire_exact(now + MINUTE * 2, key(0), 40_000).is_err());
    leases.release(now, adopted, Duration::ZERO);
    assert_eq!(leases.live(), 2);
}

#[test]
fn a_range_has_its_bounds_and_is_not_empty() {
    let default = PortRange::default();
    assert_eq!((default.first(), default.last(), default.count()), (1024, 65_535, 64_512));
    assert_eq!(PortRange::new(0, u16::MAX).unwrap().count(), 65_536);
    assert_eq!(
        PortRange::new(9, 8).unwrap_err().to_string(),
        "the port range 9-8 is empty: its first port must not be past its last"
    );
    for range in [default, PortRange::new(0, u16::MAX).unwrap(), PortRange::new(9, 9).unwrap()] {
        assert_eq!((range.pick(0), range.pick(u32::MAX)), (range.first(), range.last()));
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Acquire { key: u8 },
    AcquireExact { key: u8, port: u16 },
    Release { which: prop::sample::Index, quarantine: Duration },
    Wait { time: Duration },
    Expire { limit: usize },
}

fn any_step() -> impl Strategy<Value = Step> {
    let millis = |limit| (0..limit).prop_map(Duration::from_millis);
    prop_oneof![
        6 => (0..4_u8).prop_map(|key| Step::Acquire { key }),
        1 => (0..4_u8, 95..125_u16).prop_map(|(key, port)| Step::AcquireExact { key, port }),
        4 => (any::<prop::sample::Index>(), prop_oneof![Just(Duration::ZERO), millis(5000_u64)])
            .prop_map(|(which, quarantine)| Step::Release { which, quarantine }),
        2 => millis(2000).prop_map(|time| Step::Wait { time }),
        1 => (0..20_usize).prop_map(|limit| Step::Expire { limit }),
    ]
}

/// Leases beside the plainest model of them: sets of live and resting ports.
struct Model {
    leases: PortLeases,
    held: Vec<(u8, PortLease)>,
    live: BTreeSet<(u8, u16)>,
    resting: BTreeMap<(u8, u16), Time>,
    now: Time,
}

impl Model {
    const RANGE: PortRange = PortRange { first: 100, last: 119 };

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Acquire { key: number } => match self.leases.acquire(self.now, key(number)) {
                Ok(lease) => {
                    let port = lease.port();
                    prop_assert!((100..=119).contains(&port));
                    if let Some(end) = self.resting.remove(&(number, port)) {
                        prop_assert!(end <= self.now, "{port} rests until {end:?}");
                    }
                    self.hold(number, lease)?;
                }
                Err(_) => {
                    for port in 100..=119 {
                        // The end is rounded up to a granule, so it may be that much late.
                        let rests = (self.resting.get(&(number, port)))
                            .is_some_and(|&end| end + PortLeases::GRANULE > self.now);
                        prop_assert!(rests || self.live.contains(&(number, port)), "{port} free");
                    }
                }
            },
            Step::AcquireExact { key: number, port } => {
                match self.leases.acquire_exact(self.now, key(number), port) {
                    Ok(lease) => {
                        prop_assert_eq!(lease.port(), port);
                        self.resting.remove(&(number, port));
                        self.hold(number, lease)?;
                    }
                    Err(_) => prop_assert!(self.live.contains(&(number, port))),
                }
            }
            Step::Release { which, quarantine } if !self.held.is_empty() => {
                let (number, lease) = self.held.swap_remove(which.index(self.held.len()));
                self.live.remove(&(number, lease.port()));
                if !quarantine.is_zero() {
                    self.resting.insert((number, lease.port()), self.now + quarantine);
                }
                self.leases.release(self.now, lease, quarantine);
            }
            Step::Release { .. } => {}
            Step::Wait { time } => self.now = self.now + time,
            Step::Expire { limit } => {
                let before = self.leases.quarantined();
                let more = self.leases.expire(self.now, limit);
                let freed = before - self.leases.quarantined();
                prop_assert!(freed <= limit && (!more || freed == limit));
            }
        }
        prop_assert_eq!(self.leases.live(), self.live.len());
        Ok(())
    }

    fn hold(&mut self, number: u8, lease: PortLease) -> Result<(), TestCaseError> {
        prop_assert!(self.live.insert((number, lease.port())), "{} leased twice", lease.port());
        self.held.push((number, lease));
        Ok(())
    }
}

proptest! {
    #[test]
    fn leases_agree_with_the_model_and_end_in_nothing(
        seed in any::<[u8; 32]>(),
        steps in prop::collection::vec(any_step(), 0..400),
    ) {
        let mut model = Model {
            leases: PortLeases::new(Model::RANGE, seed, 0),
            held: Vec::new(),
            live: BTreeSet::new(),
            resting: BTreeMap::new(),
            now: Time::from_nanos(123_456_789),
        };
        for step in steps {
            model.step(step)?;
        }
        let Model { mut leases, held, now, .. } = model;
        for (_, lease) in held {
            leases.release(now, lease, MINUTE);
        }
        prop_assert!(!leases.expire(now + MINUTE * 2, usize::MAX));
        prop_assert_eq!((leases.live(), leases.quarantined(), leases.destinations()), (0, 0, 0));
        prop_assert_eq!(leases.vacant.len(), leases.pools.len());
    }
}

#[test]
fn a_million_destinations_stay_small() {
    assert_eq!(size_of::<Pool>(), 56);
}

/// The pool of a key, of which one port is leased.
fn pool_of(leases: &mut PortLeases, key: LeaseKey) -> PoolId {
    let lease = leases.acquire(Time::default(), key).unwrap();
    leases.pool(&lease)
}

#[test]
fn what_is_set_aside_is_nobodys_until_it_is_asked_for_by_number() {
    let range = PortRange::new(5000, 5003).unwrap();
    let mut leases = PortLeases::new(range, [1; 32], 16);
    let now = Time::default();
    let pool = pool_of(&mut leases, key(0));
    let mut aside = Vec::new();
    leases.set_aside(now, pool, 9, &mut aside);
    assert_eq!(aside.len(), 3, "as many as there are");
    assert_eq!((leases.live(), leases.aside(), leases.quarantined()), (1, 3, 0));
    assert!(leases.has_aside(&key(0)) && !leases.has_aside(&key(1)));
    assert!(leases.acquire(now, key(0)).is_err());

    let lease = leases.acquire_exact(now, key(0), aside[0]).unwrap();
    assert_eq!((leases.live(), leases.aside()), (2, 2));
    let refused = leases.acquire_exact(now, key(0), aside[0]);
    assert_eq!(refused, Err(PortInUse { key: key(0), port: aside[0] }), "it is leased by now");
    assert!(!leases.take_back(now, pool, aside[0], Duration::ZERO), "and not aside any more");

    assert!(leases.take_back(now, pool, aside[1], Duration::ZERO));
    assert_eq!(leases.acquire(now, key(0)).unwrap().port(), aside[1], "free at once");
    assert!(leases.take_back(now, pool, aside[2], MINUTE));
    assert_eq!((leases.aside(), leases.quarantined()), (0, 1));
    leases.release(now, lease, Duration::ZERO);
    assert_eq!(leases.acquire(now, key(0)).unwrap().port(), aside[0]);
    assert!(leases.acquire(now, key(0)).is_err(), "the last one rests");
}

#[test]
fn ports_are_set_aside_as_unforeseeably_as_they_are_leased() {
    let mut leases = leases(1);
    let pool = pool_of(&mut leases, key(0));
    let mut aside = Vec::new();
    leases.set_aside(Time::default(), pool, 1000, &mut aside);
    let steps: BTreeSet<_> = aside.windows(2).map(|two| two[1].wrapping_sub(two[0])).collect();
    assert!(steps.len() > 950, "{} different steps", steps.len());
    aside.sort_unstable();
    aside.dedup();
    assert_eq!(aside.len(), 1000);
}
