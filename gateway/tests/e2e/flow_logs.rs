//! Flow logs of known traffic, read by awk: what they say adds up to what `halfspace flows` and the
//! kernel of the host at the other end have counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use halfspace_testbed::programs::{Echo, Iperf3, Nginx};
use halfspace_testbed::{Requirement, ready, wait_until};

use crate::harness::tenants::{Inside, Tenants};
use crate::harness::{
    Datapath, Family, Flow, Office, converse, curl, datagram_socket, eventually, seen_by, url,
    wait_for_acknowledgements,
};

on_each_datapath!(
    records_of_a_known_run_add_up_to_all_counters,
    records_of_a_bridge_name_the_environment,
    a_new_log_tells_what_comes_and_a_deleted_one_what_came,
);

/// The office's client as an interface, and a log of everything: every field of version 2, and
/// those that tell flows apart.
const LOGS: &str = r#"
[[network_interface]]
network_interface_id = "eni-client"
subnet_id = "subnet-lan"
private_ip_address = "10.0.1.10"
ipv6_addresses = ["fd00:10:0:1::10"]

[[flow_log]]
flow_log_id = "fl-all"
resource_id = "vpc-office"
max_aggregation_interval = 60
log_destination = "all"
log_format = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status} ${flow-direction} ${type} ${hs-received-srcaddr} ${hs-received-srcport} ${hs-received-dstaddr} ${hs-received-dstport}"

[[flow_log]]
flow_log_id = "fl-client"
resource_id = "eni-client"
max_aggregation_interval = 60
log_destination = "client"
destination_options = { compression = "gzip" }
"#;

/// Packets and bytes.
type Sum = (u64, u64);

/// An office whose flow logs go to the testbed's directory.
fn open(name: &str, datapath: Datapath) -> Option<Office> {
    if !ready(&["awk", "gunzip"].map(Requirement::Program)) {
        return None;
    }
    let mut office = Office::lay_out(name, datapath);
    office.gateway.configure(&format!("flow_log_dir = \"{}\"", directory(&office).display()));
    office.gateway.start(&(Office::resources("", "") + LOGS));
    Some(office)
}

fn directory(office: &Office) -> PathBuf {
    office.bed.dir().join("flow-logs")
}

/// The files of one destination.
fn files(directory: &Path, destination: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory.join(destination)) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// What an awk program prints of files whose first lines name the fields. `$f("name")` in it is a
/// field of that name.
fn awk(program: &str, files: &[PathBuf]) -> Vec<Vec<String>> {
    let named = program.replace("$f(", "$(at[").replace("\")", "\"])");
    let program = format!("FNR == 1 {{ for (i = 1; i <= NF; i++) at[$i] = i; next }}\n{named}");
    let output = Command::new("awk").arg(&program).args(files).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

/// Packets and bytes of the records that a condition is true of, by a key.
fn sums(key: &str, condition: &str, files: &[PathBuf]) -> BTreeMap<String, Sum> {
    let program = format!(
        r#"{condition} {{ key = {key}; packets[key] += $f("packets"); bytes[key] += $f("bytes") }}
        END {{ for (key in packets) printf "%s %.0f %.0f\n", key, packets[key], bytes[key] }}"#
    );
    let lines = awk(&program, files);
    let sum = |line: &[String]| (line[1].parse().unwrap(), line[2].parse().unwrap());
    lines.iter().map(|line| (line[0].clone(), sum(line))).collect()
}

/// Adds up.
fn total(sums: impl IntoIterator<Item = Sum>) -> Sum {
    sums.into_iter().fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1))
}

/// Bytes of IPv4 packets that a namespace has received and sent, as its kernel tells.
fn ipv4_octets(namespace: &halfspace_testbed::Namespace) -> (u64, u64) {
    let text = namespace.run(["cat", "/proc/net/netstat"]).unwrap().stdout;
    let mut lines = text.lines().filter(|line| line.starts_with("IpExt:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let value = |name: &str| {
        let mut pairs = names.split(' ').zip(values.split(' '));
        pairs.find(|(it, _)| *it == name).unwrap().1.parse().unwrap()
    };
    (value("InOctets"), value("OutOctets"))
}

/// The flows, once no packet goes through them any more.
fn quiet_flows(office: &Office) -> Vec<Flow> {
    let mut before = office.gateway.flows();
    eventually("silence", || {
        let now = office.gateway.flows();
        let is_quiet = now == before;
        before = now;
        is_quiet
    });
    before
}

fn records_of_a_known_run_add_up_to_all_counters(datapath: Datapath) {
    let Some(mut office) = open("flow-log-sums", datapath) else { return };
    let began = now();
    let octets_before = ipv4_octets(&office.client);
    let mut servers = Vec::new();
    for family in Family::BOTH {
        let _web = Nginx::start(&office.internet, &[family.server_at(80)], "").unwrap();
        let output = curl(&office.client, &[&url(family.server_at(80), "/blob")]);
        assert_eq!(output.stdout.len(), 4 << 20, "{output:?}");
        servers.push(Iperf3::start(&office.internet, family.server_at(5201)).unwrap());
        let server = family.server.to_string();
        office.client.run(["iperf3", "-n", "8M", "-c", &server]).unwrap();
        office.client.run(["ping", "-c5", "-i0.1", "-s", "1000", &server]).unwrap();
    }
    let flows = quiet_flows(&office);
    let octets = ipv4_octets(&office.client);
    assert!(flows.iter().any(|flow| flow.reverse.bytes > 4 << 20), "{flows:?}");
    let status = office.gateway.status();
    office.gateway.stop();

    let directory = directory(&office);
    let all = files(&directory, "all");
    assert!(!all.is_empty());
    for file in &all {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("000000000000_vpcflowlogs_local-1_fl-all_20"), "{name}");
    }
    let writer = status["flow_logs"]["writer"].as_str().unwrap().to_owned();
    assert!(["uring", "plain"].contains(&writer.as_str()), "{status}");
    assert_eq!(status["flow_logs"]["logs"][1]["deliver_logs_status"], "SUCCESS");

    // Every flow that is listed, each way, at the interface of the client.
    let key = r#"$f("protocol") "|" $f("hs-received-srcaddr") "|" $f("hs-received-srcport") "|" $f("hs-received-dstaddr") "|" $f("hs-received-dstport")"#;
    let told = sums(key, r#"$f("interface-id") == "eni-client" && $f("log-status") == "OK""#, &all);
    for flow in &flows {
        for leg in [&flow.forward, &flow.reverse] {
            let (src, dst) = (leg.received.source, leg.received.destination);
            let number = match flow.protocol.as_str() {
                "tcp" => 6,
                "icmp" => 1,
                "icmpv6" => 58,
                other => panic!("{other}"),
            };
            let key = format!("{number}|{}|{}|{}|{}", src.ip(), src.port(), dst.ip(), dst.port());
            assert_eq!(told.get(&key), Some(&(leg.packets, leg.bytes)), "{key} in {told:?}");
        }
    }

    // The client's kernel counts every IPv4 packet as well, ended flows' included.
    let of = |way: &str| {
        let condition = format!(
            r#"$f("interface-id") == "eni-client" && $f("type") == "IPv4" && $f("flow-direction") == "{way}""#
        );
        total(sums(r#""all""#, &condition, &all).into_values())
    };
    let (received, sent) = (octets.0 - octets_before.0, octets.1 - octets_before.1);
    assert_eq!((of("ingress").1, of("egress").1), (received, sent));

    // What comes to the NAT gateway's interface leaves it again, and is what the client sees.
    let by_way =
        sums(r#"$f("interface-id") "|" $f("flow-direction")"#, r#"$f("log-status") == "OK""#, &all);
    let nat: Vec<_> = by_way.iter().filter(|(key, _)| !key.starts_with("eni-client")).collect();
    let [(_, out), (_, into)] = nat[..] else { panic!("{by_way:?}") };
    assert_eq!(out, into, "{by_way:?}");
    let client = by_way.iter().filter(|(key, _)| key.starts_with("eni-client"));
    assert_eq!(total(client.map(|(_, sum)| *sum)), *out);

    // Every record is within the run, and says what all say.
    let wrong = format!(
        r#"$f("version") != 5 || $f("account-id") != "000000000000" || $f("start") < {began} ||
        $f("end") > {} || $f("start") > $f("end") || $f("end") - $f("start") > 60 || NF != 20"#,
        now()
    );
    assert_eq!(awk(&format!("{wrong} {{ print }}"), &all), Vec::<Vec<String>>::new());

    // The log of the client alone, in EC2's default format and compressed, says the same.
    let compressed = files(&directory, "client");
    let mut text = Vec::new();
    for file in &compressed {
        let output = Command::new("gunzip").arg("-c").arg(file).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        text.extend(output.stdout);
    }
    let plain = directory.join("client.txt");
    fs::write(&plain, text).unwrap();
    let default = "version account-id interface-id srcaddr dstaddr srcport dstport protocol \
                   packets bytes start end action log-status";
    assert!(fs::read_to_string(&plain).unwrap().starts_with(&format!("{default}\n")));
    let of_client = sums(r#""all""#, r#"$f("log-status") == "OK""#, &[plain]);
    assert_eq!(total(of_client.into_values()), *out);
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn records_of_a_bridge_name_the_environment(datapath: Datapath) {
    if !ready(&[Requirement::Program("awk")]) {
        return;
    }
    let mut lab = Tenants::open("flow-log-bridge", datapath, 1, 3);
    let directory = lab.gateway.configuration().with_file_name("flow-logs");
    lab.gateway.configure(&format!("flow_log_dir = \"{}\"", directory.display()));
    lab.gateway.stop();
    let log = r#"
[[flow_log]]
flow_log_id = "fl-bridge"
resource_id = "vpc-blue"
log_destination = "blue"
log_format = "${interface-id} ${flow-direction} ${srcaddr} ${packets} ${bytes} ${log-status} ${hs-environment-id} ${hs-received-srcaddr}"
"#;
    lab.gateway.start(&format!("{}{log}", lab.document));
    let blue = &lab.all[0];
    let inside = Inside::BOTH[0];
    let _echo = Echo::start(&blue.service, inside.service_at(7)).unwrap();
    for (number, environment) in blue.environments.iter().enumerate() {
        // The same address and port in every environment, but not as much to say.
        let socket =
            datagram_socket(environment, inside.environment_at(40_000), inside.service_at(7));
        for round in 0..=number {
            seen_by(&socket, &format!("round {round}")).unwrap();
        }
    }
    lab.gateway.stop();
    let key = r#"$f("hs-environment-id") "|" $f("srcaddr") "|" $f("hs-received-srcaddr")"#;
    let condition = r#"$f("flow-direction") == "ingress" && $f("interface-id") == "eni-blue-db" && $f("log-status") == "OK""#;
    let told = sums(key, condition, &files(&directory, "blue"));
    let told: Vec<_> = told.iter().map(|(key, sum)| (key.as_str(), sum.0)).collect();
    assert_eq!(
        told,
        [
            ("blue1|10.0.1.100|169.254.100.2", 1),
            ("blue2|10.0.1.100|169.254.100.2", 2),
            ("blue3|10.0.1.100|169.254.100.2", 3),
        ]
    );
}

fn a_new_log_tells_what_comes_and_a_deleted_one_what_came(datapath: Datapath) {
    let Some(mut office) = open("flow-log-changes", datapath) else { return };
    let v4 = Family::V4;
    let _echo = Echo::start(&office.internet, v4.server_at(7)).unwrap();
    let socket = datagram_socket(&office.client, v4.client_at(40_000), v4.server_at(7));
    let say = |times: usize, text: &str| {
        for _ in 0..times {
            seen_by(&socket, text).unwrap();
        }
    };
    say(3, "logged");
    let without = Office::resources("", "") + LOGS.split_once("[[flow_log]]").unwrap().0;
    office.gateway.change_resources(&without);
    say(5, "not logged");
    let again = LOGS.replace("\"all\"", "\"again\"");
    office.gateway.change_resources(&(Office::resources("", "") + &again));
    say(7, "logged again");
    office.gateway.stop();
    let directory = directory(&office);
    let condition = r#"$f("interface-id") == "eni-client" && $f("flow-direction") == "egress""#;
    for (destination, packets) in [("all", 3), ("again", 7)] {
        let told = sums(r#"$f("dstport")"#, condition, &files(&directory, destination));
        let told: Vec<_> = told.iter().map(|(port, sum)| (port.as_str(), sum.0)).collect();
        assert_eq!(told, [("7", packets)], "{destination}");
    }
}

#[test]
fn a_window_closes_while_flows_go_on() {
    if !Datapath::Ebpf.is_available() {
        return;
    }
    let Some(mut office) = open("flow-log-window", Datapath::Ebpf) else { return };
    let v4 = Family::V4;
    let _echo = Echo::start(&office.internet, v4.server_at(7)).unwrap();
    let socket = datagram_socket(&office.client, v4.client_at(40_000), v4.server_at(7));
    let directory = directory(&office);
    let mut asked = 0;
    let condition = r#"$f("interface-id") == "eni-client" && $f("log-status") == "OK""#;
    let records = || awk(&format!("{condition} {{ print $0 }}"), &files(&directory, "all"));
    let waited = wait_until(Duration::from_secs(90), "the minute to be over", || {
        seen_by(&socket, "?").unwrap();
        asked += 1;
        records().len() >= 2
    });
    assert!(waited.is_ok(), "{:?}", records());
    let before = records();
    seen_by(&socket, "?").unwrap();
    asked += 1;
    office.gateway.stop();
    assert!(records().len() > before.len(), "what came after the window");
    let boundary =
        format!(r#"{condition} && $f("flow-direction") == "egress" {{ print $f("start") % 60 }}"#);
    let starts = awk(&boundary, &files(&directory, "all"));
    assert_eq!(starts.last().map(Vec::as_slice), Some(&["0".to_owned()][..]), "{starts:?}");
    let told = sums(r#"$f("flow-direction")"#, condition, &files(&directory, "all"));
    assert_eq!(told["egress"].0, asked, "{told:?}");
    assert_eq!(told["ingress"].0, asked, "{told:?}");
}

#[test]
fn a_process_that_takes_over_says_that_something_is_left_out() {
    if !Datapath::Ebpf.is_available() {
        return;
    }
    let Some(mut office) = open("flow-log-restart", Datapath::Ebpf) else { return };
    let v4 = Family::V4;
    let _echo = Echo::start(&office.internet, v4.server_at(7)).unwrap();
    let mut heard = converse(&office.client, v4.server_at(7)).unwrap();
    heard.echo("before").unwrap();
    office.gateway.kill();
    heard.echo("while it is gone").unwrap();
    wait_for_acknowledgements(&office.internet);
    let directory = directory(&office);
    let earlier = files(&directory, "all");
    office.gateway.start_again();
    let flows = office.gateway.flows();
    let [before] = &flows[..] else { panic!("{flows:?}") };
    heard.echo("after").unwrap();
    let flows = quiet_flows(&office);
    let [after] = &flows[..] else { panic!("{flows:?}") };
    office.gateway.stop();
    let mut later = files(&directory, "all");
    later.retain(|file| !earlier.contains(file));
    let condition = r#"$f("interface-id") == "eni-client" && $f("log-status") == "OK""#;
    let told = sums(r#"$f("flow-direction")"#, condition, &later);
    let since = |after: u64, before: u64| after - before;
    assert_eq!(
        told["egress"],
        (
            since(after.forward.packets, before.forward.packets),
            since(after.forward.bytes, before.forward.bytes)
        )
    );
    let skipped = r#"$f("log-status") == "SKIPDATA" { print $f("interface-id") }"#;
    let skipped = awk(skipped, &later);
    assert_eq!(skipped.len(), 2, "of the client and of the NAT gateway: {skipped:?}");
}
