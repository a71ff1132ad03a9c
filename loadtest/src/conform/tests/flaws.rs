//! A NAT in memory that meets everything, and then has one flaw after the other: each has to be found,
//! by those checks that ask for what it spoils and by no others.

use std::collections::BTreeSet;

use super::reference::{CLIENTS, EXTERNAL, Flaw, MTU, Nature, SERVERS, sides};
use super::*;

/// These take all ports, or most.
const GREEDY: [&str; 3] = ["AWS-FLOWS", "RFC6888-REQ-11", "RFC5508-REQ-8"];

/// What comes of those checks of a NAT in memory.
fn checked(nature: Nature, wanted: impl Fn(&str) -> bool) -> Matrix {
    let ports_per_host = nature.ports_per_host;
    let [inside, outside] = sides(nature).map(End::new);
    let plan = Plan {
        clients: CLIENTS.map(IpAddr::V4).to_vec(),
        servers: SERVERS.to_vec(),
        external: EXTERNAL.to_vec(),
        outside_mtu: Some(MTU),
        prefix: None,
        ports_per_host,
        slow: true,
    };
    let mut probe = Probe::new(inside, outside, plan, 30_000, &Interrupt::default());
    let checks = checks::nat44().filter(|check| wanted(check.id));
    Matrix { requirements: checks.map(|check| Row::of(check, &mut probe).unwrap()).collect() }
}

fn is_of_rfc(id: &str) -> bool {
    id.starts_with("RFC") && !GREEDY.contains(&id)
}

fn is_of_aws(id: &str) -> bool {
    id.starts_with("AWS") && !GREEDY.contains(&id)
}

/// Ids of all that failed.
fn all_failed(matrix: &Matrix) -> BTreeSet<&'static str> {
    Level::ALL.into_iter().flat_map(|level| failed(matrix, level)).collect()
}

/// The verdict on one requirement, in a word.
fn word(matrix: &Matrix, id: &str) -> &'static str {
    let row = matrix.requirements.iter().find(|row| row.id == id).unwrap();
    row.verdict.word()
}

/// What a flaw spoils of a NAT that is as RFCs want it.
const OF_RFCS: &[(Flaw, &[&str])] = &[
    (Flaw::AnswersSyns, &["RFC5382-REQ-4"]),
    (Flaw::BoundsFragments, &["RFC4787-REQ-14a"]),
    (Flaw::ChangesPayloads, &["RFC4787-REQ-10", "RFC5382-REQ-6"]),
    (Flaw::ChecksQuotedTransport, &["RFC5508-REQ-3c"]),
    (Flaw::ClearsClass, &["RFC3168-ECN"]),
    (Flaw::ClearsDontFragment, &["RFC1812-DF"]),
    (Flaw::CountsPorts, &["RFC4787-REQ-3a", "RFC6888-REQ-15", "RFC7857-9"]),
    (
        Flaw::DropsCodes,
        &[
            "RFC4787-REQ-12b",
            "RFC5508-REQ-3",
            "RFC5508-REQ-3a",
            "RFC5508-REQ-3b",
            "RFC5508-REQ-3c",
            "RFC5508-REQ-3d",
            "RFC5508-REQ-4",
            "RFC5508-REQ-4-unknown",
        ],
    ),
    (
        Flaw::DropsErrors,
        &[
            "RFC4787-REQ-12a",
            "RFC4787-REQ-12b",
            "RFC5382-REQ-9",
            "RFC5508-REQ-3",
            "RFC5508-REQ-3a",
            "RFC5508-REQ-3b",
            "RFC5508-REQ-3c",
            "RFC5508-REQ-3d",
            "RFC5508-REQ-4",
            "RFC5508-REQ-4-unknown",
            "RFC5508-REQ-5",
            "RFC5508-REQ-5-unknown",
            "RFC5508-REQ-5c",
            "RFC5508-REQ-7",
        ],
    ),
    (Flaw::DropsErrorsOfRouters, &["RFC4787-REQ-12a"]),
    (Flaw::DropsErrorsOfRoutersInside, &["RFC5508-REQ-5c"]),
    (Flaw::DropsExtensions, &["RFC5508-REQ-3d"]),
    (Flaw::DropsFragments, &["RFC4787-REQ-14", "RFC4787-REQ-14-disorder", "RFC4787-REQ-14a"]),
    (Flaw::DropsFragmentsOutOfOrder, &["RFC4787-REQ-14-disorder"]),
    (
        Flaw::DropsHairpins,
        &["RFC4787-REQ-9", "RFC4787-REQ-9a", "RFC5382-REQ-8", "RFC5382-REQ-8a", "RFC5508-REQ-7"],
    ),
    (Flaw::DropsHairpinnedErrors, &["RFC5508-REQ-7"]),
    (
        Flaw::DropsPings,
        &[
            "RFC5508-REQ-1",
            "RFC5508-REQ-1a",
            "RFC5508-REQ-2",
            "RFC5508-REQ-4",
            "RFC5508-REQ-6",
            "RFC7857-4",
        ],
    ),
    (Flaw::DropsQuotesWithOptions, &["RFC5508-REQ-3b"]),
    (Flaw::DropsResets, &["RFC7857-2.2"]),
    (Flaw::DropsSimultaneousSyns, &["RFC5382-REQ-2a", "RFC5382-REQ-3"]),
    (Flaw::EndsByError, &["RFC4787-REQ-12", "RFC4787-REQ-12b", "RFC5382-REQ-10", "RFC5508-REQ-6"]),
    (Flaw::EndsByFin, &["RFC5382-REQ-2-close", "RFC7857-2.1"]),
    (Flaw::EndsByReset, &["RFC7857-2.2-astray", "RFC7857-2.2-wait"]),
    (Flaw::FiltersByAddress, &["RFC6888-REQ-7"]),
    (Flaw::FiltersByPort, &["RFC4787-REQ-8", "RFC5382-REQ-3", "RFC6888-REQ-7"]),
    (
        Flaw::ForgetsAll,
        &[
            "RFC4787-REQ-5",
            "RFC4787-REQ-5c",
            "RFC4787-REQ-6",
            "RFC5382-REQ-5-transitory",
            "RFC5508-REQ-2",
            "RFC7857-2.1",
            "RFC7857-2.2-wait",
        ],
    ),
    (Flaw::ForgetsClosed, &["RFC7857-2.1"]),
    (Flaw::ForgetsHalfOpen, &["RFC5382-REQ-5-transitory"]),
    (Flaw::ForgetsPings, &["RFC5508-REQ-2"]),
    (Flaw::ForgetsUdp, &["RFC4787-REQ-5", "RFC4787-REQ-5c"]),
    (Flaw::HairpinsAsIs, &["RFC4787-REQ-9a", "RFC5382-REQ-8", "RFC5382-REQ-8a", "RFC5508-REQ-7"]),
    (Flaw::KeepsIdentifications, &["RFC7857-10"]),
    (Flaw::KeepsTimeToLive, &["RFC1812-5.3.1"]),
    (Flaw::LeaksErrorsInside, &["RFC5508-REQ-5", "RFC5508-REQ-5-unknown", "RFC5508-REQ-5c"]),
    (
        Flaw::LeavesQuotes,
        &[
            "RFC4787-REQ-12b",
            "RFC5382-REQ-9",
            "RFC5508-REQ-3b",
            "RFC5508-REQ-3c",
            "RFC5508-REQ-3d",
            "RFC5508-REQ-4",
            "RFC5508-REQ-5",
            "RFC5508-REQ-5c",
            "RFC5508-REQ-7",
        ],
    ),
    (Flaw::LosesParity, &["RFC4787-REQ-3a", "RFC4787-REQ-4"]),
    (Flaw::MixesProtocols, &["RFC7857-6"]),
    (Flaw::NeverExpiresOnTheWay, &["RFC5508-REQ-10"]),
    (
        Flaw::NoFragmenting,
        &[
            "RFC4787-REQ-13a",
            "RFC4787-REQ-13a-order",
            "RFC4787-REQ-14",
            "RFC4787-REQ-14-disorder",
            "RFC4787-REQ-14a",
        ],
    ),
    (Flaw::NoTooBig, &["RFC4787-REQ-13"]),
    (Flaw::Pools, &["RFC4787-REQ-2", "RFC6888-REQ-2", "RFC7857-4"]),
    (Flaw::RefreshesNothing, &["RFC4787-REQ-6"]),
    (Flaw::SendsFragmentsBackwards, &["RFC4787-REQ-13a-order"]),
    (
        Flaw::Symmetric,
        &[
            "RFC4787-REQ-1",
            "RFC4787-REQ-3",
            "RFC4787-REQ-8",
            "RFC4787-REQ-9",
            "RFC4787-REQ-9a",
            "RFC5382-REQ-1",
            "RFC5382-REQ-3",
            "RFC5382-REQ-7",
            "RFC5382-REQ-8",
            "RFC5382-REQ-8a",
            "RFC5508-REQ-1a",
            "RFC5508-REQ-7",
            "RFC6888-REQ-7",
        ],
    ),
    (Flaw::TakesDamaged, &["RFC5508-REQ-3"]),
    (Flaw::TakesDamagedQuotes, &["RFC5508-REQ-3a"]),
    (Flaw::TakesErrorsAboutNothing, &["RFC5508-REQ-4-unknown"]),
];

/// What a flaw spoils of a NAT that is as AWS's.
const OF_AWS: &[(Flaw, &[&str])] = &[
    (Flaw::AnswersPings, &["AWS-PING"]),
    (Flaw::AnswersSyns, &["AWS-UNSOLICITED"]),
    (Flaw::CountsPorts, &["AWS-PORTS-RANDOM", "AWS-PORTS-RANGE", "AWS-PORTS-REUSED"]),
    (Flaw::DropsFragments, &["AWS-FRAGMENTS-UDP"]),
    (Flaw::ForgetsAll, &["AWS-IDLE"]),
    (Flaw::ForwardsOthers, &["AWS-PROTOCOLS"]),
    (Flaw::KeepsMss, &["AWS-MSS"]),
    (Flaw::KeepsPorts, &["AWS-MAPPING", "AWS-PORTS-RANDOM", "AWS-PORTS-RANGE"]),
    (Flaw::NeverExpiresOnTheWay, &["AWS-TRACEROUTE"]),
    (Flaw::NoResetFromInside, &["AWS-IDLE"]),
    (Flaw::TellsServer, &["AWS-IDLE"]),
];

fn assert_found(is_aws: bool, flaws: &[(Flaw, &[&str])], wanted: fn(&str) -> bool) {
    let flawless = checked(Nature { is_aws, ..Nature::default() }, wanted);
    assert_eq!(all_failed(&flawless), BTreeSet::new(), "{}", flawless.markdown());
    for (flaw, ids) in flaws {
        let matrix = checked(Nature { is_aws, flaw: Some(*flaw), ..Nature::default() }, wanted);
        let expected: BTreeSet<_> = ids.iter().copied().collect();
        assert_eq!(all_failed(&matrix), expected, "{flaw:?}: {}", matrix.markdown());
    }
}

#[test]
fn whatever_a_nat_does_that_an_rfc_forbids_is_found() {
    assert_found(false, OF_RFCS, is_of_rfc);
}

#[test]
fn whatever_a_nat_does_that_aws_s_does_not_is_found() {
    assert_found(true, OF_AWS, is_of_aws);
    // One that is as RFCs want it is not as AWS's.
    let matrix = checked(Nature::default(), is_of_aws);
    for id in ["AWS-MAPPING", "AWS-IDLE", "AWS-FRAGMENTS-TCP", "AWS-FRAGMENTS-ICMP"] {
        assert_eq!(word(&matrix, id), "fail", "{id}: {}", matrix.markdown());
    }
}

/// With few ports for each address.
#[test]
fn what_becomes_of_flows_without_a_port_is_found() {
    let greedy = |id: &str| GREEDY.contains(&id);
    let words = |flaw| {
        let matrix = checked(Nature { ports: Some(2000), flaw, ..Nature::default() }, greedy);
        GREEDY.map(|id| word(&matrix, id))
    };
    assert_eq!(words(None), ["fail", "pass", "pass"]);
    assert_eq!(words(Some(Flaw::RefusesInSilence)), ["fail", "pass", "fail"]);
}

#[test]
fn a_limit_for_each_host_is_found_and_that_there_is_none() {
    let limited = |id: &str| id == "RFC6888-REQ-4";
    let verdict = |nature| word(&checked(nature, limited), "RFC6888-REQ-4");
    let few = Nature { ports_per_host: Some(50), ..Nature::default() };
    assert_eq!(verdict(few.clone()), "pass");
    assert_eq!(verdict(Nature { flaw: Some(Flaw::KnowsNoLimit), ..few }), "fail");
    assert_eq!(verdict(Nature::default()), "not applicable");
}
