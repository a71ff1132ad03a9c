//! Whose realm a flow is of, which port it gets, and what is given back.

use super::*;
use crate::flow::{Timeouts, Tracking};
use std::net::SocketAddr;
use std::time::Duration;

use crate::id::{Generation, PortId};
use crate::pipeline::{Origin, Prior};
use crate::tuple::{Protocol, Tuple};
use crate::vpc::{Document, Snapshot, Translation};

const NOW: Time = Time::from_secs(1000);
const EXTERNAL: &str = "203.0.113.1";
const SERVER: &str = "192.0.2.1:443";

fn translation(first: u16, last: u16) -> Translation {
    let document = format!(
        r#"
        [[vpc]]
        vpc_id = "vpc-1"
        cidr_block = "10.0.0.0/16"
        [[subnet]]
        subnet_id = "subnet-1"
        vpc_id = "vpc-1"
        cidr_block = "10.0.0.0/24"
        [[nat_gateway]]
        nat_gateway_id = "nat-1"
        subnet_id = "subnet-1"
        connectivity_type = "private"
        port_range = [{first}, {last}]
        tcp_idle_timeout_seconds = 400
        "#
    );
    let snapshot = snapshot(&toml::from_str(&document).unwrap());
    snapshot.nat_gateways().next().unwrap().1.translation.clone()
}

fn snapshot(document: &Document) -> Snapshot {
    Snapshot::build(Generation(1), document).unwrap()
}

/// One translator whose realms are named by letters.
struct Fixture {
    translator: SourceTranslator<char>,
    snapshot: Snapshot,
}

impl Fixture {
    fn new(realms: &[(char, &[&str], Translation)]) -> Self {
        let snapshot = snapshot(&Document::default());
        let mut fixture = Self { translator: SourceTranslator::new(7), snapshot };
        fixture.configure(realms);
        fixture
    }

    fn configure(&mut self, realms: &[(char, &[&str], Translation)]) {
        self.translator.configure(realms.iter().map(|(key, ips, translation)| {
            RealmConfig {
                key: *key,
                externals: ips
                    .iter()
                    .map(|ip| External {
                        ip: ip.parse().unwrap(),
                        public_ip: None,
                        is_draining: false,
                    })
                    .collect(),
                pooling: PAIRED,
                nat64_prefix: None,
                meter: None,
                translation,
            }
        }));
    }

    fn translate(
        &mut self,
        realm: char,
        dst: &str,
        held: Option<Claim>,
        prior: Option<&str>,
    ) -> Result<(Claim, SocketAddr), Drop> {
        let dst: SocketAddr = dst.parse().unwrap();
        let src: SocketAddr =
            if dst.is_ipv4() { "10.0.0.5:1" } else { "[fd00::5]:1" }.parse().unwrap();
        let tuple = Tuple { protocol: Protocol::Tcp, src, dst };
        let outcome = |src: &str| Tuple { src: src.parse().unwrap(), ..tuple };
        let mut walk = Walk {
            now: NOW,
            origin: Some(Origin { port: PortId::new(1).unwrap(), ip: src.ip() }),
            from_internet: false,
            snapshot: &self.snapshot,
            tuple,
            tcp_flags: 2,
            tcp_sequence: 0,
            prior: prior.map(|src| Prior {
                is_new: false,
                outcome: outcome(src),
                tracking: Tracking::BOTH,
            }),
            timeouts: Timeouts::default(),
        };
        let claim = self.translator.translate(&mut walk, &realm, held)?;
        assert_eq!(walk.timeouts.tcp_established, Duration::from_secs(400));
        assert_eq!(walk.tuple.dst, dst, "only the source is translated");
        Ok((claim, walk.tuple.src))
    }

    fn usage(&self, realm: char) -> RealmUsage {
        self.translator.usage().find(|(key, _)| **key == realm).unwrap().1
    }
}

#[test]
fn a_flow_gets_an_address_and_a_port_of_its_realm() {
    let mut f = Fixture::new(&[('a', &[EXTERNAL], translation(5000, 5001))]);
    let (claim, src) = f.translate('a', SERVER, None, None).unwrap();
    assert_eq!(src.ip().to_string(), EXTERNAL);
    assert!((5000..=5001).contains(&src.port()));
    let usage = RealmUsage {
        flows_total: 1,
        leases: 1,
        clients: 1,
        active_connections: 1,
        connection_attempts_total: 1,
        ..RealmUsage::default()
    };
    assert_eq!((f.usage('a'), f.translator.held()), (usage, 1));
    f.translator.release(NOW, claim, FlowEnd::Closed);
    assert_eq!((f.usage('a').leases, f.usage('a').quarantined, f.translator.held()), (0, 0, 0));
}

#[test]
fn a_port_is_used_again_toward_another_destination_only() {
    let mut f = Fixture::new(&[('a', &[EXTERNAL], translation(5000, 5000))]);
    let (_, first) = f.translate('a', SERVER, None, None).unwrap();
    let (_, second) = f.translate('a', "192.0.2.2:443", None, None).unwrap();
    let (_, third) = f.translate('a', "192.0.2.1:80", None, None).unwrap();
    assert_eq!((first, second), (third, third));
    assert_eq!(f.translate('a', SERVER, None, None), Err(Drop::PortAllocation));
    assert_eq!(f.usage('a').port_allocation_errors_total, 1);
    assert_eq!((f.usage('a').leases, f.translator.held()), (3, 3));
}

#[test]
fn realms_with_the_same_addresses_do_not_take_each_others_ports() {
    let both: [(char, &[&str], _); 2] =
        [('a', &[EXTERNAL], translation(5000, 5000)), ('b', &[EXTERNAL], translation(5000, 5000))];
    let mut f = Fixture::new(&both);
    f.translate('a', SERVER, None, None).unwrap();
    f.translate('b', SERVER, None, None).unwrap();
    assert_eq!((f.usage('a').leases, f.usage('b').leases), (1, 1));
    assert_eq!(f.translate('c', SERVER, None, None), Err(Drop::NoDestination));
}

#[test]
fn a_realm_translates_the_families_it_has_addresses_of() {
    let mut f = Fixture::new(&[('a', &[EXTERNAL], translation(5000, 5001))]);
    assert_eq!(f.translate('a', "[2001:db8::1]:443", None, None), Err(Drop::NoPublicAddress));
    f.configure(&[('a', &[EXTERNAL, "2001:db8:e::1"], translation(5000, 5001))]);
    let (_, src) = f.translate('a', "[2001:db8::1]:443", None, None).unwrap();
    assert_eq!(src.ip().to_string(), "2001:db8:e::1");
}

#[test]
fn how_a_flow_ends_decides_whether_its_port_rests() {
    for (end, rests) in [
        (FlowEnd::Idle, true),
        (FlowEnd::Reopened, true),
        (FlowEnd::Policy, true),
        (FlowEnd::PortGone, true),
        (FlowEnd::Closed, false),
        (FlowEnd::Refused, false),
    ] {
        let mut f = Fixture::new(&[('a', &[EXTERNAL], translation(5000, 5000))]);
        let (claim, _) = f.translate('a', SERVER, None, None).unwrap();
        f.translator.release(NOW, claim, end);
        assert_eq!(f.translate('a', SERVER, None, None).is_err(), rests, "{end:?}");
        assert_eq!(f.usage('a').idle_timeouts_total, u64::from(end == FlowEnd::Idle));
        f.translator.expire(NOW + Duration::from_secs(31));
        assert_eq!(f.usage('a').quarantined, 0, "{end:?}");
    }
}

#[test]
fn a_claim_is_given_back_once_however_often_it_is_tried() {
    let mut f = Fixture::new(&[('a', &[EXTERNAL], translation(5000, 5009))]);
    let (claim, _) = f.translate('a', SERVER, None, None).unwrap();
    f.translator.release(NOW, claim, FlowEnd::Closed);
    f.translator.release(NOW, claim, FlowEnd::Closed);
    f.translator.release(NOW, Claim(99), FlowEnd::Closed);
    assert_eq!((f.usage('a').leases, f.translator.held()), (0, 0));
}

#[test]
fn a_held_lease_is_kept_as_long_as_its_address_and_destination_are() {
    let mut f = Fixture::new(&[('a', &[EXTERNAL], translation(5000, 5009))]);
    let (claim, src) = f.translate('a', SERVER, None, None).unwrap();
    assert_eq!(f.translate('a', SERVER, Some(claim), None), Ok((claim, src)));
    let elsewhere = f.translate('a', "192.0.2.9:443", Some(claim), None);
    assert_eq!(elsewhere, Err(Drop::NoDestination));
    assert_eq!(f.translate('a', SERVER, Some(Claim(9)), None), Err(Drop::NoDestination));
    // A range that no longer has the port only binds new flows.
    f.configure(&[('a', &[EXTERNAL], translation(6000, 6009))]);
    assert_eq!(f.translate('a', SERVER, Some(claim), None), Ok((claim, src)));
    let (_, new) = f.translate('a', SERVER, None, None).unwrap();
    assert!((6000..=6009).contains(&new.port()));
    f.configure(&[('a', &["203.0.113.9"], translation(6000, 6009))]);
    assert_eq!(f.translate('a', SERVER, Some(claim), None), Err(Drop::NoDestination));
    assert_eq!(f.translator.held(), 2, "a refusal takes nothing back by itself");
}

#[test]
fn the_lease_of_another_realm_is_not_kept() {
    let both: [(char, &[&str], _); 2] =
        [('a', &[EXTERNAL], translation(5000, 5009)), ('b', &[EXTERNAL], translation(5000, 5009))];
    let mut f = Fixture::new(&both);
    let (claim, _) = f.translate('a', SERVER, None, None).unwrap();
    assert_eq!(f.translate('b', SERVER, Some(claim), None), Err(Drop::NoDestination));
}

#[test]
fn a_realm_that_is_gone_keeps_its_leases_until_the_last_has_come_to_rest() {
    let mut f = Fixture::new(&[('a', &[EXTERNAL], translation(5000, 5009))]);
    let claims: Vec<_> = (0..3).map(|_| f.translate('a', SERVER, None, None).unwrap().0).collect();
    f.configure(&[]);
    assert_eq!((f.translator.usage().count(), f.translator.held()), (0, 3));
    assert_eq!(f.translate('a', SERVER, Some(claims[0]), None), Err(Drop::NoDestination));
    for claim in claims {
        f.translator.release(NOW, claim, FlowEnd::Policy);
    }
    f.translator.expire(NOW + Duration::from_secs(29));
    assert_eq!((f.translator.held(), f.translator.realms.len()), (0, 1));
    f.translator.expire(NOW + Duration::from_secs(31));
    assert_eq!(f.translator.realms.len(), 0);
    assert!(f.translator.by_key.is_empty());
}

#[test]
fn there_is_room_for_65_535_realms_and_for_others_once_these_are_gone() {
    let translation = translation(5000, 5009);
    let realms: Vec<(char, &[&str], _)> = ('\u{1_0000}'..='\u{1_ffff}')
        .map(|key| (key, [EXTERNAL].as_slice(), translation.clone()))
        .collect();
    let mut f = Fixture::new(&realms);
    let claims = [0, 65_534].map(|n| f.translate(realms[n].0, SERVER, None, None).unwrap().0);
    let too_many = realms[65_535].0;
    assert_eq!(f.translate(too_many, SERVER, None, None), Err(Drop::NoDestination));
    for claim in claims {
        f.translator.release(NOW, claim, FlowEnd::Closed);
    }
    assert_eq!((f.usage(realms[0].0).leases, f.usage(realms[65_534].0).leases), (0, 0));
    f.configure(&realms[65_534..]);
    f.configure(&realms[65_534..]);
    assert!(f.translate(too_many, SERVER, None, None).is_ok());
}

#[test]
fn a_realm_that_comes_back_knows_which_ports_still_rest() {
    let mut f = Fixture::new(&[('a', &[EXTERNAL], translation(5000, 5001))]);
    let (first, was) = f.translate('a', SERVER, None, None).unwrap();
    let (second, _) = f.translate('a', SERVER, None, None).unwrap();
    f.configure(&[]);
    f.translator.release(NOW, first, FlowEnd::Policy);
    f.configure(&[('a', &[EXTERNAL], translation(5000, 5001))]);
    assert_eq!(f.translate('a', SERVER, None, None), Err(Drop::PortAllocation));
    assert!(f.translate('a', SERVER, Some(second), None).is_ok(), "nobody has ended it");
    f.translator.expire(NOW + Duration::from_secs(31));
    assert_eq!(f.translate('a', SERVER, None, None).unwrap().1, was);
}

#[test]
fn a_flow_that_is_taken_over_gets_the_very_port_it_had() {
    let mut f = Fixture::new(&[('a', &[EXTERNAL], translation(5000, 5009))]);
    let was = "203.0.113.1:5004";
    let (_, src) = f.translate('a', SERVER, None, Some(was)).unwrap();
    assert_eq!(src.to_string(), was);
    let twice = f.translate('a', SERVER, None, Some(was));
    assert_eq!(twice, Err(Drop::PortAllocation), "two flows claim it, and one has to end");
    assert_eq!(f.translator.held(), 1);
    // One from a time when the range was another.
    let (_, src) = f.translate('a', SERVER, None, Some("203.0.113.1:999")).unwrap();
    assert_eq!(src.port(), 999);
    for _ in 0..9 {
        let (_, src) = f.translate('a', SERVER, None, None).unwrap();
        assert_ne!(src.port(), 5004);
    }
}

#[test]
fn the_port_of_a_flow_is_found_under_the_public_address_too() {
    let mut f = Fixture::new(&[]);
    let (private, public) = ("10.0.0.7", "198.51.100.7");
    let translation = translation(5000, 5009);
    let external = External {
        ip: private.parse().unwrap(),
        public_ip: Some(public.parse().unwrap()),
        is_draining: false,
    };
    let externals = vec![external];
    let config = RealmConfig {
        key: 'a',
        externals,
        pooling: PAIRED,
        nat64_prefix: None,
        meter: None,
        translation: &translation,
    };
    f.translator.configure([config].into_iter());
    let (_, src) = f.translate('a', SERVER, None, Some("198.51.100.7:5003")).unwrap();
    assert_eq!(src.to_string(), "10.0.0.7:5003");
    // Another function's address: what this one chose was never seen outside.
    let (_, src) = f.translate('a', SERVER, None, Some("198.51.100.99:5003")).unwrap();
    assert_ne!(src.port(), 5003);
}
