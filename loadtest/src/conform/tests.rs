//! NATs that are known: the prober has to find out what they are. One that met everything, or
//! nothing, whatever it is held to, would prove nothing.

use halfspace_testbed::{Requirement, ready};

use super::check::{Level, Verdict};
use super::report::Matrix;
use super::stage::{Known, Stage};
use super::*;
use crate::soak::tests::{NEEDED, halfspace};

/// What the prober says of a NAT; nothing if this machine cannot set it up.
fn matrix(nat: Known) -> Option<Matrix> {
    let nft = [Requirement::Root, Requirement::Program("ip"), Requirement::Program("nft")];
    let (needed, binary) = match nat {
        Known::Halfspace if ready(&NEEDED) => (&NEEDED[..], halfspace()),
        Known::Halfspace => return None,
        Known::Masquerade | Known::OneToOne => (&nft[..], PathBuf::new()),
    };
    ready(needed).then(|| {
        let stage = Stage::set_up(nat, &binary).unwrap();
        check(&stage.ends, &How::default(), Guard::default(), &Interrupt::default()).unwrap()
    })
}

/// Ids of what failed, of a level.
fn failed(matrix: &Matrix, level: Level) -> Vec<&'static str> {
    let failed = |row: &&Row| row.level == level && matches!(row.verdict, Verdict::Fail(_));
    matrix.requirements.iter().filter(failed).map(|row| row.id).collect()
}

#[test]
fn masquerade_of_nftables_is_not_endpoint_independent() {
    let Some(matrix) = matrix(Known::Masquerade) else { return };
    let failed = failed(&matrix, Level::Must);
    let told = matrix.markdown();
    for id in ["RFC4787-REQ-1", "RFC4787-REQ-3", "RFC4787-REQ-11", "RFC5382-REQ-1"] {
        assert!(failed.contains(&id), "{id}: {told}");
    }
    for id in ["RFC4787-REQ-12", "RFC4787-REQ-14", "RFC5382-REQ-2", "RFC5508-REQ-4"] {
        assert!(!failed.contains(&id), "{id}: {told}");
    }
}

#[test]
fn an_address_for_each_host_meets_everything() {
    let Some(matrix) = matrix(Known::OneToOne) else { return };
    for level in [Level::Must, Level::Should] {
        assert_eq!(failed(&matrix, level), Vec::<&str>::new(), "{}", matrix.markdown());
    }
}

/// In AWS's mode: what its definition excludes fails, and nothing else.
#[test]
fn our_gateway_is_symmetric_and_meets_what_a_symmetric_nat_can() {
    let Some(matrix) = matrix(Known::Halfspace) else { return };
    assert_eq!(
        failed(&matrix, Level::Must),
        [
            "RFC4787-REQ-1",
            "RFC4787-REQ-3",
            "RFC4787-REQ-9",
            "RFC4787-REQ-9a",
            "RFC5382-REQ-1",
            "RFC5382-REQ-7",
            "RFC5382-REQ-8",
        ],
        "{}",
        matrix.markdown()
    );
}

#[test]
fn two_hosts_are_needed_at_either_end_and_a_requirement_that_is_known() {
    let place: Place = "lo".parse().unwrap();
    let ends = Ends {
        inside: place.clone(),
        gateway: Ipv4Addr::LOCALHOST,
        client: vec![Ipv4Addr::LOCALHOST],
        outside: place,
        server: vec![Ipv4Addr::LOCALHOST; 2],
        external: vec![Ipv4Addr::LOCALHOST],
        outside_mtu: None,
    };
    let run = |ends: &Ends, only: &str| {
        let how = How { only: only.to_owned(), slow: false };
        check(ends, &how, Guard::default(), &Interrupt::default()).unwrap_err().to_string()
    };
    assert!(run(&ends, "").contains("--client IP,IP"));
    let both = Ends { client: vec![Ipv4Addr::LOCALHOST; 2], ..ends };
    assert!(run(&both, "RFC0").contains("begins with RFC0"));
}
