//! The API's answers.

use halfspace::api::types::{ErrorBody, FlowQuery};
use nix::sys::signal::Signal;

use crate::daemon::{Daemon, RESOURCES};

#[test]
fn every_error_has_a_status_and_a_code_and_a_message() {
    let Some(daemon) = Daemon::start("api-errors", 0) else { return };
    let attach = "/v1/environments";
    for (method, path, body, status, code) in [
        ("GET", "/", "", 404, "InvalidAction"),
        ("GET", "/v2/status", "", 404, "InvalidAction"),
        ("PUT", "/v1/status", "", 405, "InvalidAction"),
        ("GET", "/v1/flows?limit=0", "", 400, "InvalidParameterValue"),
        ("GET", "/v1/flows?limit=1001", "", 400, "InvalidParameterValue"),
        ("GET", "/v1/flows?from=-1", "", 400, "InvalidParameterValue"),
        ("GET", "/v1/flows?protocol=gre", "", 400, "InvalidParameterValue"),
        ("GET", "/v1/flows?state=asleep", "", 400, "InvalidParameterValue"),
        ("GET", "/v1/flows?address=10.0.0.300", "", 400, "InvalidParameterValue"),
        ("GET", "/v1/flows?colour=red", "", 400, "InvalidParameterValue"),
        ("POST", attach, "{", 400, "InvalidParameterValue"),
        ("POST", attach, r#"{"port": "env0"}"#, 422, "InvalidParameterValue"),
        (
            "POST",
            attach,
            r#"{"lambda_bridge_id": "bridge-a", "port": "lan0", "colour": "red"}"#,
            422,
            "InvalidParameterValue",
        ),
        (
            "POST",
            attach,
            r#"{"lambda_bridge_id": "bridge-a", "port": "lan0", "environment_id": "a/b"}"#,
            400,
            "InvalidEnvironmentID.Malformed",
        ),
        (
            "POST",
            attach,
            r#"{"lambda_bridge_id": "a", "port": "lan0"}"#,
            400,
            "InvalidLambdaBridgeID.Malformed",
        ),
        ("DELETE", "/v1/environments/nobody", "", 404, "InvalidEnvironmentID.NotFound"),
        ("DELETE", "/v1/environments/a%20b", "", 400, "InvalidEnvironmentID.Malformed"),
    ] {
        let (found, answer) = daemon.raw(method, path, body);
        assert_eq!(found, status, "{method} {path} {body}: {answer}");
        let ErrorBody { error } = serde_json::from_str(&answer).expect(&answer);
        assert_eq!(error.code, code, "{method} {path} {body}: {answer}");
        assert!(!error.message.is_empty(), "{method} {path} {body}");
    }
}

#[test]
fn the_status_tells_of_ports_that_come_and_go_and_of_the_document() {
    let Some(mut daemon) = Daemon::start("api-status", 0) else { return };
    let status = || daemon.ask(async |mut client| client.status().await).unwrap();
    let now = status();
    assert_eq!(now.datapath.kind, "userspace");
    assert_eq!(now.flows.capacity, 1024);
    let ports: Vec<_> =
        now.ports.iter().map(|it| (it.name.as_str(), it.role.as_str(), it.up)).collect();
    assert_eq!(ports, [("lan0", "subnet-lan", true), ("wan0", "uplink-wan", true)]);
    assert_eq!(now.nat_gateways[0].id, "nat-a");
    assert_eq!(now.lambda_bridges[0].id, "bridge-a");
    assert_eq!((now.resources.generation, now.resources.errors.len()), (1, 0));

    daemon.namespace.ip(["link delete lan0"]).unwrap();
    daemon.eventually("lan0 to be missing", || status().missing_ports == ["lan0"]);
    assert_eq!(status().ports.len(), 1);
    daemon.namespace.ip(["link add lan0 type veth peer name lan0-far"]).unwrap();
    daemon.eventually("lan0 to be back", || status().ports.len() == 2);
    daemon.namespace.ip(["link set wan0 mtu 1400"]).unwrap();
    daemon.eventually("the new MTU", || status().ports.iter().any(|it| it.mtu == 1400));

    daemon.write_resources(&RESOURCES.replace("subnet_id = \"subnet-lan\"", "subnet_id = \"x\""));
    daemon.signal(Signal::SIGHUP);
    daemon.eventually("the errors", || !status().resources.errors.is_empty());
    assert_eq!(status().resources.generation, 1);
    assert_eq!(daemon.page("/readyz").status, 200, "an invalid document takes nothing away");

    daemon.write_resources(&RESOURCES.replace("nat-a", "nat-z"));
    daemon.signal(Signal::SIGHUP);
    daemon.eventually("the next generation", || status().resources.generation == 2);
    daemon.eventually("no more errors", || status().resources.errors.is_empty());
    assert_eq!(status().nat_gateways[0].id, "nat-z");

    let log = daemon.stop();
    for text in ["port attached", "gone: detached", "invalid", "is in force", "SIGTERM"] {
        assert!(log.contains(text), "{text} is not in {log}");
    }
    assert!(!daemon.socket().exists());
}

#[test]
fn an_empty_flow_table_is_one_empty_page_and_targets_are_listed() {
    let Some(daemon) = Daemon::start("api-lists", 0) else { return };
    let query = FlowQuery { protocol: Some("tcp".to_owned()), ..FlowQuery::default() };
    let page = daemon.ask(async |mut client| client.flows(&query).await).unwrap();
    assert_eq!((page.flows.len(), page.next), (0, None));
    let list = daemon.ask(async |mut client| client.targets().await).unwrap();
    let targets: Vec<_> =
        list.targets.iter().map(|it| (it.target_group.as_str(), it.target.to_string())).collect();
    assert_eq!(targets, [("web", "10.0.1.20:8080".to_owned())]);
}

#[test]
fn a_running_daemon_has_no_privileges_left_that_it_does_not_need() {
    let Some(daemon) = Daemon::start("privileges", 0) else { return };
    // CAP_NET_ADMIN 12, CAP_NET_RAW 13, CAP_PERFMON 38, CAP_BPF 39: capabilities(7).
    let most: u64 = 1 << 12 | 1 << 13 | 1 << 38 | 1 << 39;
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    let mut seen = 0;
    for task in tasks {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().to_owned()
        };
        for set in ["CapPrm:", "CapEff:", "CapBnd:", "CapInh:", "CapAmb:"] {
            let capabilities = u64::from_str_radix(&value(set), 16).unwrap();
            assert_eq!(capabilities & !most, 0, "{set} {capabilities:x}");
        }
        assert_eq!(value("NoNewPrivs:"), "1");
        seen += 1;
    }
    assert!(seen >= 2, "at least the control side and the worker");
}
