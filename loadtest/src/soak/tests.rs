//! Soaks of seconds, against the gateway of this build.

use std::process::Command;
use std::sync::OnceLock;

use clap::Parser;
use halfspace_testbed::{Requirement, ready, wait_until};

use super::*;

/// What the soak needs of a machine.
pub const NEEDED: [Requirement; 3] =
    [Requirement::Root, Requirement::Bpf, Requirement::Program("ip")];

/// For what happens within a moment, on a machine that is busy.
const SOON: Duration = Duration::from_secs(20);

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn arguments(words: &[&str]) -> Arguments {
    Line::try_parse_from([&["soak"], words].concat()).unwrap().arguments
}

/// A lab with the gateway of this build, or nothing where it cannot run; it is said why then.
pub fn lab(name: &str) -> Option<Lab> {
    ready(&NEEDED).then(|| Lab::lay(name, halfspace(), Datapath::Ebpf).unwrap())
}

/// The gateway: `$HALFSPACE`, or built here. No dependency of this crate makes cargo build it, and
/// one that happens to lie around may be older than the sources.
pub fn halfspace() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            if let Some(named) = std::env::var_os("HALFSPACE") {
                return named.into();
            }
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "--quiet", "--package", "halfspace", "--bin", "halfspace"]);
            cargo.args(["--message-format", "json-render-diagnostics"]);
            if !cfg!(debug_assertions) {
                cargo.arg("--release");
            }
            let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
            assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
            let messages = String::from_utf8(built.stdout).unwrap();
            let executable = messages.lines().find_map(|line| {
                let message: serde_json::Value = serde_json::from_str(line).unwrap();
                message["executable"].as_str().map(PathBuf::from)
            });
            executable.expect("cargo names what it has built")
        })
        .clone()
}

#[test]
fn everything_is_back_after_ten_seconds_of_everything_with_a_kill() {
    let Some(lab) = lab("soak") else { return };
    let arguments = arguments(&[
        "--duration=10s",
        "--speakers=1",
        "--environments=10",
        "--environment-rate=5",
        "--environment-hold=500ms",
        "--detach-vanish=0.2",
        "--change-every=2s",
        "--kill-every=6s",
        "--finish=remove",
        "--drain=30s",
    ]);
    let results = soak(&lab, &arguments, &Interrupt::default()).unwrap();
    let log = lab.daemon.log_tail();
    assert_eq!(results.complaints, Vec::<String>::new(), "{log}");
    assert_eq!(results.kills, 1);
    assert!(results.document_changes > 0, "{results:?}");
    assert!(results.peak_flows > 0, "{results:?}");
    assert!(results.environments.attaches > 0 && results.environments.vanishes > 0, "{results:?}");
    for (kind, talk) in &results.conversations {
        assert!(talk.done > 0, "{kind}: {talk:?}");
    }
}

#[test]
fn an_environment_and_a_flow_that_are_left_are_named_as_leaks() {
    let Some(lab) = lab("leaks") else { return };
    let before = Holdings::of(&lab.daemon).unwrap();
    assert_eq!(before.leaks(&before), Vec::<String>::new());
    assert_eq!(before.map_entries.get("flows4"), Some(&0), "{before:?}");

    lab.daemon.namespace.ip(["link add left0 type veth peer name left1"]).unwrap();
    lab.daemon.client().attach(plan::BRIDGE, "left0").unwrap();
    let talk = || {
        let (tally, looks) = (Mutex::<Tally>::default(), AtomicU64::new(0));
        // One conversation: the speaker looks whether to stop before each.
        let stop = || looks.fetch_add(1, Ordering::Relaxed) > 0;
        talk::speak(Kind::BalancerUdp, &tally, &Troubles::default(), &stop);
        tally.into_inner().unwrap().done
    };
    assert_eq!(lab.internet.enter(talk).unwrap(), 1);

    let after = Holdings::of(&lab.daemon).unwrap();
    let leaks = after.leaks(&before).join("\n");
    for expected in [
        "leaked: flows listed: 1,",
        "leaked: flows: 1,",
        "leaked: timers: 1,",
        "leaked: flows of targets: 1,",
        "leaked: entries of the kernel map flows4: 2, at most 0",
        "leaked: entries of the kernel map ports: 7, at most 6",
        "leaked: links: 7, at most 6",
        "leaked: environments: {\"attached\": 1}, {} expected",
    ] {
        assert!(leaks.contains(expected), "{expected} in:\n{leaks}");
    }

    lab.daemon.client().detach("left0").unwrap();
    let cleared = |daemon: &daemon::Daemon| Holdings::of(daemon).unwrap().leaks(&before).is_empty();
    lab.daemon.change_document(&plan::bare_document()).unwrap();
    wait_until(SOON, "the flow to go", || cleared(&lab.daemon)).unwrap();
}
