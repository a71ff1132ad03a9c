//! The commands for resources, typed as people type them.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::actions::start;
use crate::daemon::Daemon;

/// Runs the binary against a daemon.
fn run(daemon: &Daemon, line: &str, input: &str) -> Output {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_halfspace"))
        .args(words)
        .env("HALFSPACE_SOCKET", daemon.socket())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// What a command prints that succeeds.
#[track_caller]
fn typed(daemon: &Daemon, line: &str) -> String {
    let output = run(daemon, line, "");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    assert!(output.status.success() && stderr.is_empty(), "{line}: {stdout}{stderr}");
    stdout
}

/// The rows of a table, without what stands behind the first columns.
#[track_caller]
fn rows(daemon: &Daemon, line: &str, columns: usize) -> Vec<String> {
    let table = typed(daemon, line);
    let row = |line: &str| line.split_whitespace().take(columns).collect::<Vec<_>>().join(" ");
    table.lines().skip(1).map(row).collect()
}

#[test]
fn network_interfaces_by_command() {
    let Some(daemon) = start("commands-eni") else { return };
    for (line, printed) in [
        (
            "eni create --subnet subnet-eni --id eni-new --private-ip 10.0.2.20 --group sg-web \
             --tag Name=new",
            "created eni-new 10.0.2.20 in subnet-eni\n",
        ),
        ("eni assign eni-new --private-ip-count 1", "assigned to eni-new\n"),
        ("eni unassign eni-new --private-ip 10.0.2.4", "unassigned from eni-new\n"),
        (
            "eni modify eni-new --description 'new one' --source-dest-check false",
            "changed eni-new\n",
        ),
        ("eip allocate --id eipalloc-x", "allocated 203.0.113.32 (eipalloc-x)\n"),
    ] {
        assert_eq!(typed(&daemon, line), printed, "{line}");
    }
    assert_eq!(run(&daemon, "eni detach eni-new", "").status.code(), Some(5));
    let attached = typed(&daemon, "eni attach eni-new --instance i-one --device-index 1");
    assert!(attached.starts_with("attached eni-new to i-one (eni-attach-"), "{attached}");
    let moved = typed(&daemon, "eni move eni-new --instance i-two --device-index 1");
    assert!(moved.starts_with("moved eni-new to i-two (eni-attach-"), "{moved}");
    let associated = typed(&daemon, "eip associate 203.0.113.32 --eni eni-new");
    assert!(associated.starts_with("associated 203.0.113.32 with eni-new (eipassoc-"));
    assert_eq!(
        rows(&daemon, "eni list", 9)[..3],
        [
            "eni-one in-use interface subnet-eni 10.0.2.10 i-one 0 env0 default",
            "eni-two in-use interface subnet-eni 10.0.2.11 i-two 0 env2 default",
            "eni-new in-use interface subnet-eni 10.0.2.20 203.0.113.32 i-two 1 env3",
        ]
    );
    let shown = typed(&daemon, "eni show eni-new");
    for line in [
        "description   new one\n",
        "status        in-use, attached to i-two as device 1 of card 0\n",
        "addresses     10.0.2.20 (203.0.113.32)\n",
        "groups        sg-web (web)\n",
        "check         source and destination check off\n",
        "tags          Name=new\n",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let json: Value = serde_json::from_str(&typed(&daemon, "eni show eni-new --json")).unwrap();
    assert_eq!(json["network_interfaces"][0]["attachment"]["instance_id"], "i-two");
    assert_eq!(rows(&daemon, "eip list", 5)[1], "203.0.113.32 eipalloc-x eni-new 10.0.2.20 i-two");
    assert_eq!(rows(&daemon, "eip pools", 3), ["ipv4pool-ec2-a 4 3"]);
    assert_eq!(typed(&daemon, "eip disassociate eipalloc-x"), "disassociated eipalloc-x\n");
    assert_eq!(typed(&daemon, "eip release eipalloc-x"), "released eipalloc-x\n");
    assert_eq!(typed(&daemon, "eni detach eni-new"), "detached eni-new\n");
    assert_eq!(typed(&daemon, "eni delete eni-new"), "deleted eni-new\n");
}

#[test]
fn groups_and_prefix_lists_by_command() {
    let Some(daemon) = start("commands-sg") else { return };
    for (line, printed) in [
        ("sg create db --vpc vpc-a --id sg-db --description 'data bases'", "created sg-db (db)\n"),
        (
            "prefix-list create offices --id pl-a --max-entries 4 --entry 192.0.2.0/24",
            "created pl-a (offices)\n",
        ),
        (
            "prefix-list modify pl-a --add 198.51.100.0/24 --remove 192.0.2.0/24",
            "changed pl-a (offices)\n",
        ),
        (
            "sg authorize sg-db ingress --protocol tcp --port 5432 --from-group sg-web \
             --prefix-list pl-a --description postgres",
            "authorized sg-db\n",
        ),
        (
            "sg authorize sg-db ingress --protocol icmp --icmp-type 8 --cidr 10.0.0.0/8",
            "authorized sg-db\n",
        ),
        ("sg revoke sg-db egress --protocol -1 --cidr 0.0.0.0/0", "revoked from sg-db\n"),
        ("sg authorize sg-db egress --protocol udp --port 53-54 --cidr ::/0", "authorized sg-db\n"),
    ] {
        assert_eq!(typed(&daemon, line), printed, "{line}");
    }
    assert_eq!(
        rows(&daemon, "sg show sg-db", 5),
        [
            "ingress tcp 5432 pl-a postgres",
            "ingress tcp 5432 sg-web postgres",
            "ingress icmp 8--1 10.0.0.0/8",
            "egress udp 53-54 ::/0",
        ]
    );
    assert_eq!(rows(&daemon, "sg list", 5)[..2], ["sg-web web vpc-a 0 1", "sg-db db vpc-a 3 1"]);
    assert_eq!(rows(&daemon, "prefix-list list", 4), ["pl-a offices IPv4 4"]);
    assert_eq!(rows(&daemon, "prefix-list show pl-a", 1), ["198.51.100.0/24"]);
    assert_eq!(typed(&daemon, "sg delete sg-db"), "deleted sg-db\n");
    assert_eq!(typed(&daemon, "prefix-list delete pl-a"), "deleted pl-a\n");
}

#[test]
fn networks_and_instances_by_command() {
    let Some(daemon) = start("commands-net") else { return };
    daemon.namespace.ip(["link add new0 type veth peer name new0-far"]).unwrap();
    for (line, printed) in [
        (
            "subnet create --vpc vpc-a --cidr 10.0.9.0/24 --id subnet-n",
            "created subnet-n 10.0.9.0/24 in vpc-a\n",
        ),
        ("subnet modify subnet-n --map-public-ip-on-launch true", "changed subnet-n\n"),
        ("route create-table --vpc vpc-a --id rtb-n", "created rtb-n\n"),
        (
            "route create rtb-n 0.0.0.0/0 --nat-gateway nat-a",
            "created the route to 0.0.0.0/0 in rtb-n\n",
        ),
        (
            "route replace rtb-n 0.0.0.0/0 --gateway igw-a",
            "replaced the route to 0.0.0.0/0 in rtb-n\n",
        ),
    ] {
        assert_eq!(typed(&daemon, line), printed, "{line}");
    }
    let json: Value = serde_json::from_str(&typed(&daemon, "action DescribeVpcs")).unwrap();
    assert_eq!(json["vpcs"][0]["vpc_id"], "vpc-a");
    assert!(
        typed(&daemon, "route associate rtb-n subnet-n")
            .starts_with("associated rtb-n with subnet-n")
    );
    let run = typed(&daemon, "instance run --id i-new --port new0 --port new1:1 --subnet subnet-n");
    assert!(run.starts_with("running i-new 10.0.9.4 with eni-"), "{run}");
    assert_eq!(rows(&daemon, "instance list", 4)[2], "i-new running local-1a 10.0.9.4");
    assert!(typed(&daemon, "instance list").contains("new0 new1 (missing)"));
    assert_eq!(typed(&daemon, "instance stop i-new"), "i-new: running -> stopped\n");
    assert_eq!(typed(&daemon, "instance start i-new"), "i-new: stopped -> running\n");
    assert_eq!(typed(&daemon, "instance terminate i-new"), "i-new: running -> terminated\n");
    let subnets = rows(&daemon, "subnet list", 4);
    assert!(subnets.contains(&"subnet-n vpc-a 10.0.9.0/24 251".to_owned()), "{subnets:?}");
    let routes = rows(&daemon, "route list", 6);
    assert!(routes.contains(&"rtb-n vpc-a subnet-n 10.0.0.0/16 local active".to_owned()));
    assert!(routes.contains(&"0.0.0.0/0 igw-a active".to_owned()), "{routes:?}");
    for (line, printed) in [
        ("route disassociate subnet-n", "disassociated subnet-n\n"),
        ("route delete rtb-n 0.0.0.0/0", "deleted the route to 0.0.0.0/0 from rtb-n\n"),
        ("route delete-table rtb-n", "deleted rtb-n\n"),
        ("subnet delete subnet-n", "deleted subnet-n\n"),
    ] {
        assert_eq!(typed(&daemon, line), printed, "{line}");
    }
}

#[test]
fn what_is_refused_ends_with_the_gateways_words_and_a_status_of_its_own() {
    let Some(daemon) = start("commands-refused") else { return };
    for (line, status, told) in [
        (
            "eni delete eni-one",
            5,
            "is currently in use by i-one: detach it (InvalidNetworkInterface.InUse)",
        ),
        ("eni detach eni-none", 5, "(InvalidNetworkInterfaceID.NotFound)"),
        ("route disassociate subnet-lan", 5, "subnet-lan is associated with nothing"),
        ("action NoSuchAction", 5, "(InvalidAction)"),
        ("action DescribeVpcs {", 2, "JSON"),
        ("eip associate 203.0.113.32", 2, "--eni"),
        ("sg authorize sg-web ingress --protocol tcp --port 80", 2, "--cidr"),
        ("eni modify eni-one", 2, "--description"),
    ] {
        let output = run(&daemon, line, "");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{line}: {stderr}");
        assert!(stderr.contains(told), "{line}: {stderr}");
        assert!(output.stdout.is_empty(), "{line}");
    }
    let transaction = r#"{ "actions": [
        { "action": "CreateNetworkInterface",
          "parameters": { "subnet_id": "subnet-eni", "network_interface_id": "eni-t" } },
        { "action": "AttachNetworkInterface",
          "parameters": { "network_interface_id": "eni-t", "instance_id": "i-two", "device_index": 1 } }
    ] }"#;
    let output = run(&daemon, "action --transaction", transaction);
    assert!(output.status.success(), "{output:?}");
    let answers: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answers["answers"][1]["network_card_index"], 0);
}
