//! NATs that are known: the prober has to find out what they are. One that met everything, or
//! nothing, whatever it is held to, would prove nothing.

mod flaws;
mod reference;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser as _;
use halfspace_testbed::{Requirement, ready};

use super::check::{Level, Verdict};
use super::report::Matrix;
use super::stage::{Known, Stage};
use super::*;
use crate::soak::tests::{NEEDED, halfspace};

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    ends: Ends,
}

/// What the prober says of a NAT; nothing if this machine cannot set it up.
fn matrix(nat: Known) -> Option<Matrix> {
    let nft = [Requirement::Root, Requirement::Program("ip"), Requirement::Program("nft")];
    let tayga = [Requirement::Root, Requirement::Program("ip"), Requirement::Program("tayga")];
    let (needed, binary) = match nat {
        Known::Halfspace | Known::HalfspaceEndpointIndependent if ready(&NEEDED) => {
            (&NEEDED[..], halfspace())
        }
        Known::Halfspace | Known::HalfspaceEndpointIndependent => return None,
        Known::Masquerade | Known::OneToOne => (&nft[..], PathBuf::new()),
        Known::Tayga => (&tayga[..], PathBuf::new()),
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
    let must = failed(&matrix, Level::Must);
    let told = matrix.markdown();
    for id in ["RFC4787-REQ-1", "RFC4787-REQ-3", "RFC4787-REQ-11", "RFC5382-REQ-1"] {
        assert!(must.contains(&id), "{id}: {told}");
    }
    for id in [
        "RFC4787-REQ-12",
        "RFC4787-REQ-13",
        "RFC4787-REQ-13a",
        "RFC4787-REQ-14",
        "RFC4787-REQ-14-disorder",
        "RFC5382-REQ-2",
        "RFC5382-REQ-2-close",
        "RFC5508-REQ-3b",
        "RFC5508-REQ-4",
        "RFC5508-REQ-5c",
        "RFC5508-REQ-6",
    ] {
        assert!(!must.contains(&id), "{id}: {told}");
    }
    // It keeps ports, says so to strangers, and is a host and a router as well.
    assert_eq!(
        failed(&matrix, Level::Aws),
        [
            "AWS-MAPPING",
            "AWS-PORTS-RANDOM",
            "AWS-PORTS-RANGE",
            "AWS-PING",
            "AWS-UNSOLICITED",
            "AWS-FRAGMENTS-TCP",
            "AWS-FRAGMENTS-ICMP",
            "AWS-MSS",
            "AWS-PROTOCOLS",
        ],
        "{told}"
    );
}

/// But for what comes of there being no mappings, only addresses, and of the kernel not looking at
/// the checksum of a header that is quoted.
#[test]
fn an_address_for_each_host_meets_everything() {
    let Some(matrix) = matrix(Known::OneToOne) else { return };
    assert_eq!(failed(&matrix, Level::Must), Vec::<&str>::new(), "{}", matrix.markdown());
    assert_eq!(
        failed(&matrix, Level::Should),
        ["RFC5508-REQ-3a", "RFC5508-REQ-5-unknown", "RFC7857-6"],
        "{}",
        matrix.markdown()
    );
}

/// The kernel routes to it and from it, which takes two from the hop limit, and it neither sends back
/// what is for its own addresses nor lets small packets be fragmented. Of ICMPv6's errors it knows
/// all but one.
#[test]
fn tayga_is_a_nat64_without_state() {
    let Some(matrix) = matrix(Known::Tayga) else { return };
    assert_eq!(
        failed(&matrix, Level::Must),
        ["RFC6146-3.8", "RFC7915-4.1", "RFC7915-5.1", "RFC7915-5.1-df", "RFC7915-5.2"],
        "{}",
        matrix.markdown()
    );
    assert_eq!(failed(&matrix, Level::Should), ["RFC7915-4.5"], "{}", matrix.markdown());
}

/// In AWS's mode: what its definition excludes fails, and fragments of NAT64.
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
            "RFC5382-REQ-8a",
            "RFC5508-REQ-7",
            "RFC6146-3.4",
            "RFC6146-3.4-disorder",
            "RFC6146-3.4-out",
            "RFC6146-3.5.1",
            "RFC6146-3.5.1-ports",
            "RFC6146-3.5.2-mapping",
            "RFC6146-3.5.3-mapping",
            "RFC6146-3.8",
        ],
        "{}",
        matrix.markdown()
    );
    // It forwards fragments of all protocols unless told otherwise.
    let aws = ["AWS-FRAGMENTS-TCP", "AWS-FRAGMENTS-ICMP", "AWS-MSS"];
    assert_eq!(failed(&matrix, Level::Aws), aws, "{}", matrix.markdown());
}

#[test]
fn our_gateway_meets_all_but_fragments_of_nat64_if_its_mapping_is_endpoint_independent() {
    let Some(matrix) = matrix(Known::HalfspaceEndpointIndependent) else { return };
    let fragments = ["RFC6146-3.4", "RFC6146-3.4-disorder", "RFC6146-3.4-out"];
    assert_eq!(failed(&matrix, Level::Must), fragments, "{}", matrix.markdown());
}

#[test]
fn two_hosts_are_needed_at_either_end_and_a_requirement_that_is_known() {
    let line = |words: &[&str]| {
        let inside = ["conform", "--inside", "lo", "--gateway", "127.0.0.1"];
        let outside = ["--outside", "lo", "--external", "127.0.0.1"];
        Line::try_parse_from([&inside, words, &outside].concat()).unwrap().ends
    };
    let run = |ends: &Ends, only: &str| {
        let how = How { only: only.to_owned(), slow: false };
        check(ends, &how, Guard::default(), &Interrupt::default()).unwrap_err().to_string()
    };
    let both = ["--client", "127.0.0.1,127.0.0.2", "--server", "127.0.0.3,127.0.0.4"];
    assert!(run(&line(&both), "RFC0").contains("begins with RFC0"));
}

/// The far side driven over a connection: each verdict is the one that a side of the prober's own
/// comes to.
#[test]
fn ends_on_two_machines_see_what_ends_on_one_see() {
    if !ready(&[Requirement::Root, Requirement::Program("ip"), Requirement::Program("nft")]) {
        return;
    }
    let stage = Stage::set_up(Known::OneToOne, &PathBuf::new()).unwrap();
    let listen = (Ipv4Addr::LOCALHOST, 0).into();
    let peer = peer::Peer::listen(listen, &stage.ends.outside, Guard::default()).unwrap();
    let address = peer.address().unwrap();
    let stop = AtomicBool::new(false);
    // It ends by itself as well, lest a failure here leave it waiting.
    let end = Instant::now() + Duration::from_mins(2);
    let stops = || stop.load(Ordering::Relaxed) || Instant::now() > end;
    std::thread::scope(|scope| {
        let served = scope.spawn(|| peer.serve(stops));
        let nobody =
            InFront { outside: None, server: Vec::new(), external: Vec::new(), outside_mtu: None };
        let apart = Ends { outside: nobody, peer: Some(address), ..stage.ends.clone() };
        let words = |ends: &Ends| {
            let how = How { only: "RFC5508".to_owned(), slow: false };
            let matrix = check(ends, &how, Guard::default(), &Interrupt::default()).unwrap();
            let words = matrix.requirements.iter().map(|row| (row.id, row.verdict.word()));
            words.collect::<Vec<_>>()
        };
        let (apart, together) = (words(&apart), words(&stage.ends));
        assert_eq!(apart, together);
        for word in ["pass", "fail"] {
            assert!(apart.iter().any(|(_, it)| *it == word), "{apart:?}");
        }
        // What is no order is answered with an error.
        let mut stranger = TcpStream::connect(address).unwrap();
        stranger.write_all(b"{\"send\": \"no digits\"}\n").unwrap();
        let lines: Vec<_> = BufReader::new(stranger).lines().map(Result::unwrap).collect();
        assert!(lines[0].starts_with(r#"{"version":1,"server":["203.0.113.20""#), "{lines:?}");
        assert_eq!(lines[1..], [r#"{"error":"the peer: `no digits` is no frame"}"#]);
        stop.store(true, Ordering::Relaxed);
        served.join().unwrap().unwrap();
    });
}

#[test]
fn a_peer_that_is_none_is_told_from_one() {
    let said = |line: &str| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| listener.accept().unwrap().0.write_all(line.as_bytes()).unwrap());
            Remote::connect(address).map(|_| ()).unwrap_err().to_string()
        })
    };
    assert!(said("").contains("hung up before it said who it is"));
    assert!(said("SSH-2.0\n").contains("not understood"));
    let other = r#"{"version":2,"server":[],"external":[],"outside_mtu":null}"#;
    assert!(said(&format!("{other}\n")).contains("version 2"));
    assert!(said(&format!("{}\n", other.replace('2', "1"))).contains("--external"));
}
