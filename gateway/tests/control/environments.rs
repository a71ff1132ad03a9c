//! Environments: attached, listed, detached, restored, lost.

use std::fs;
use std::path::PathBuf;

use halfspace::api::client::{Client, Error};
use tokio::task::JoinSet;

use crate::daemon::{Daemon, RESOURCES, SECOND_BRIDGE, code, request};

fn attached(ids: &[&str]) -> Vec<(String, String)> {
    ids.iter().map(|id| ((*id).to_owned(), "attached".to_owned())).collect()
}

#[test]
fn an_environment_is_attached_once_listed_and_detached_with_its_record() {
    let Some(daemon) = Daemon::start("env-life", 2) else { return };
    let environment = daemon.attach("vm-1", "bridge-a", "env0").unwrap();
    assert_eq!((environment.environment_id.as_str(), environment.port.as_str()), ("vm-1", "env0"));
    assert_eq!(daemon.environments(), attached(&["vm-1"]));
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(daemon.record("vm-1")).unwrap()).unwrap();
    assert_eq!(record["lambda_bridge_id"], "bridge-a");

    for (id, bridge, port, expected) in [
        ("vm-1", "bridge-a", "env1", "InvalidEnvironmentID.Duplicate"),
        ("vm-2", "bridge-a", "env0", "InvalidPort.InUse"),
        ("vm-2", "bridge-a", "lan0", "InvalidPort.InUse"),
        ("vm-2", "bridge-a", "env7", "InvalidPort.NotFound"),
        ("vm-2", "bridge-a", "lo", "InvalidPort.Type"),
        ("vm-2", "bridge-z", "env1", "InvalidLambdaBridgeID.NotFound"),
    ] {
        assert_eq!(code(daemon.attach(id, bridge, port)), expected, "{id} {bridge} {port}");
    }
    assert_eq!(daemon.environments(), attached(&["vm-1"]));
    assert!(!daemon.record("vm-2").exists());

    daemon.detach("vm-1").unwrap();
    assert_eq!(daemon.environments(), []);
    assert!(!daemon.record("vm-1").exists());
    assert_eq!(code(daemon.detach("vm-1")), "InvalidEnvironmentID.NotFound");
    daemon.attach("vm-2", "bridge-a", "env0").unwrap();
}

/// A client of its own.
async fn attach(socket: PathBuf, id: String, port: String) -> Result<String, Error> {
    let mut client = Client::connect(&socket).await?;
    client.attach(&request(&id, "bridge-a", &port)).await.map(|it| it.environment_id)
}

#[test]
fn of_requests_at_once_one_for_each_environment_and_interface_succeeds() {
    const COUNT: usize = 60;
    let Some(daemon) = Daemon::start("env-race", COUNT) else { return };
    let socket = daemon.socket();
    let results = daemon
        .ask(async move |_| {
            let mut requests = JoinSet::new();
            for n in 0..COUNT {
                // Two for one id, and two ids for one interface.
                let port = format!("env{n}");
                requests.spawn(attach(socket.clone(), format!("vm-{n}"), port.clone()));
                requests.spawn(attach(socket.clone(), format!("vm-{n}"), port.clone()));
                requests.spawn(attach(socket.clone(), format!("other-{n}"), port));
            }
            Ok(requests.join_all().await)
        })
        .unwrap();

    let succeeded = results.iter().filter(|it| it.is_ok()).count();
    assert_eq!(succeeded, COUNT);
    let allowed = ["InvalidEnvironmentID.Duplicate", "InvalidPort.InUse", "IncorrectState"]
        .map(str::to_owned);
    for refused in results.into_iter().filter(Result::is_err) {
        let code = code(refused);
        assert!(allowed.contains(&code), "{code}");
    }
    let environments = daemon.environments();
    assert_eq!(environments.len(), COUNT);
    let records = environments.iter().filter(|(id, _)| daemon.record(id).exists()).count();
    assert_eq!(records, COUNT);

    for (id, _) in environments {
        daemon.detach(&id).unwrap();
    }
    assert_eq!(daemon.environments(), []);
}

#[test]
fn environments_are_restored_after_a_crash_unless_their_interface_is_gone() {
    let Some(mut daemon) = Daemon::start("env-crash", 3) else { return };
    for n in 0..3 {
        daemon.attach(&format!("vm-{n}"), "bridge-a", &format!("env{n}")).unwrap();
    }
    daemon.kill();
    // One is gone, another is a new one under the old name.
    daemon
        .namespace
        .ip(["link delete env1", "link delete env2", "link add env2 type veth peer name env2-far"])
        .unwrap();
    fs::write(daemon.record("torn"), b"{").unwrap();
    daemon.start_again();
    assert_eq!(daemon.environments(), attached(&["vm-0"]));
    for id in ["vm-1", "vm-2", "torn"] {
        assert!(!daemon.record(id).exists(), "{id}");
    }
    let page = daemon.page("/metrics").body;
    assert!(page.contains("halfspace_environments_lost_total 2\n"), "{page}");
}

#[test]
fn an_environment_whose_interface_vanishes_is_detached() {
    let Some(daemon) = Daemon::start("env-vanish", 2) else { return };
    daemon.attach("vm-0", "bridge-a", "env0").unwrap();
    daemon.attach("vm-1", "bridge-a", "env1").unwrap();
    daemon.namespace.ip(["link delete env0"]).unwrap();
    daemon.eventually("vm-0 to go", || daemon.environments() == attached(&["vm-1"]));
    assert!(!daemon.record("vm-0").exists());
    assert!(daemon.log().contains("the environment's interface is gone"), "{}", daemon.log());

    // Another MTU, another MAC address: it stays, attached anew.
    daemon.namespace.ip(["link set env1 mtu 1400"]).unwrap();
    daemon.eventually("vm-1 to be attached again", || daemon.log().contains("attached again"));
    assert_eq!(daemon.environments(), attached(&["vm-1"]));
}

#[test]
fn an_environment_whose_bridge_is_gone_at_a_restart_waits_for_it() {
    let Some(mut daemon) = Daemon::start("env-wait", 1) else { return };
    let both = format!("{RESOURCES}{SECOND_BRIDGE}");
    daemon.write_resources(&both);
    daemon.eventually("the second bridge", || daemon.attach("vm-0", "bridge-b", "env0").is_ok());
    daemon.stop();
    daemon.write_resources(RESOURCES);
    daemon.start_again();
    assert_eq!(daemon.environments(), [("vm-0".to_owned(), "waiting".to_owned())]);
    assert!(daemon.record("vm-0").exists());

    daemon.write_resources(&both);
    daemon.eventually("the bridge to be back", || daemon.environments() == attached(&["vm-0"]));
}
