//! The command line: exit statuses, and what is said to whom. Nothing here needs a gateway.

#![expect(clippy::unwrap_used, reason = "a test ends with the first thing that goes wrong")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const RESOURCES: &str = "[[vpc]]\nvpc_id = \"vpc-a\"\ncidr_block = \"10.0.0.0/16\"\n";

/// A directory with both configuration files.
fn configuration(gateway: &str, resources: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("gateway.toml"), gateway).unwrap();
    fs::write(directory.path().join("resources.toml"), resources).unwrap();
    directory
}

/// Runs the binary in a directory, with only these variables of ours.
fn halfspace(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_halfspace"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HALFSPACE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(variables.iter().copied()).current_dir(directory);
    command.output().unwrap()
}

#[track_caller]
fn expect(output: &Output, status: i32) -> (String, String) {
    let texts = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it).into_owned());
    let [stdout, stderr] = texts;
    assert_eq!(output.status.code(), Some(status), "{stdout}{stderr}");
    (stdout, stderr)
}

#[test]
fn help_goes_to_standard_output_and_wrong_usage_to_standard_error() {
    let here = Path::new(".");
    let (stdout, _) = expect(&halfspace(here, &["--help"], &[]), 0);
    for word in [
        "run",
        "check",
        "status",
        "flows",
        "targets",
        "env",
        "eni",
        "eip",
        "sg",
        "prefix-list",
        "route",
        "subnet",
        "instance",
        "action",
        "uninstall",
        "Exit status",
    ] {
        assert!(stdout.contains(word), "{word}: {stdout}");
    }
    for command in [
        &["run"][..],
        &["check"],
        &["status"],
        &["flows"],
        &["targets"],
        &["env", "attach"],
        &["env", "detach"],
        &["env", "list"],
        &["eni", "create"],
        &["eni", "delete"],
        &["eni", "attach"],
        &["eni", "detach"],
        &["eni", "move"],
        &["eni", "modify"],
        &["eni", "assign"],
        &["eni", "unassign"],
        &["eni", "list"],
        &["eni", "show"],
        &["eip", "allocate"],
        &["eip", "associate"],
        &["eip", "disassociate"],
        &["eip", "release"],
        &["eip", "list"],
        &["eip", "pools"],
        &["nat", "list"],
        &["nat", "create"],
        &["nat", "delete"],
        &["nat", "associate"],
        &["nat", "disassociate"],
        &["nat", "assign"],
        &["nat", "unassign"],
        &["nat", "top"],
        &["sg", "create"],
        &["sg", "delete"],
        &["sg", "authorize"],
        &["sg", "revoke"],
        &["sg", "list"],
        &["sg", "show"],
        &["prefix-list", "create"],
        &["prefix-list", "modify"],
        &["prefix-list", "delete"],
        &["prefix-list", "list"],
        &["prefix-list", "show"],
        &["route", "create"],
        &["route", "replace"],
        &["route", "delete"],
        &["route", "list"],
        &["route", "create-table"],
        &["route", "delete-table"],
        &["route", "associate"],
        &["route", "disassociate"],
        &["subnet", "create"],
        &["subnet", "delete"],
        &["subnet", "modify"],
        &["subnet", "list"],
        &["instance", "run"],
        &["instance", "terminate"],
        &["instance", "stop"],
        &["instance", "start"],
        &["instance", "list"],
        &["action"],
        &["uninstall"],
    ] {
        let (stdout, _) = expect(&halfspace(here, &[command, &["--help"]].concat(), &[]), 0);
        assert!(stdout.contains("Examples:\n  halfspace "), "{command:?}: {stdout}");
    }
    for wrong in [
        &[][..],
        &["no-such-command"],
        &["flows", "--protocol", "gre"],
        &["flows", "--address", "10.0.0.300"],
        &["env", "attach", "--port", "tap0"],
    ] {
        let (stdout, stderr) = expect(&halfspace(here, wrong, &[]), 2);
        assert_eq!(stdout, "", "{wrong:?}");
        assert!(stderr.contains("--help"), "{wrong:?}: {stderr}");
    }
}

#[test]
fn a_valid_configuration_is_summed_up() {
    let directory = configuration("", RESOURCES);
    let (stdout, stderr) =
        expect(&halfspace(directory.path(), &["check", "--config", "gateway.toml"], &[]), 0);
    assert_eq!((stdout.as_str(), stderr.as_str()), ("ok: 1 VPC\n", ""));
}

#[test]
fn every_error_is_printed_with_its_place_and_the_status_says_so() {
    let resources = format!("{RESOURCES}colour = 1\n\n[[subnet]]\nsubnet_id = \"subnet-a\"\n");
    let directory = configuration("", &resources);
    let check = ["check", "--config", "gateway.toml"];
    let (stdout, stderr) = expect(&halfspace(directory.path(), &check, &[]), 3);
    assert_eq!(stdout, "");
    assert!(stderr.contains("error: resources.toml:4:1: vpc[0].colour: unknown field"), "{stderr}");
    assert!(stderr.contains("error: resources.toml:6:"), "{stderr}");
    assert!(stderr.ends_with("halfspace: the configuration is invalid\n"), "{stderr}");

    // The daemon says the same, and ends before it touches anything.
    let run = ["run", "--config", "gateway.toml", "--state-dir", "state"];
    let (_, stderr) = expect(&halfspace(directory.path(), &run, &[]), 3);
    assert!(stderr.contains("error: resources.toml:4:1: vpc[0].colour"), "{stderr}");
    assert!(!directory.path().join("state").exists());
}

#[test]
fn errors_as_json_are_for_programs() {
    let directory = configuration("flows = 5\n", RESOURCES);
    let check = ["check", "--config", "gateway.toml", "--json"];
    let (stdout, _) = expect(&halfspace(directory.path(), &check, &[]), 3);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["valid"], false);
    assert_eq!(report["errors"][0]["file"], "gateway.toml");
    assert_eq!(report["errors"][0]["line"], 1);
    assert_eq!(report["errors"][0]["path"], "flows");
}

#[test]
fn warnings_are_printed_and_do_no_harm() {
    let blackhole = "
[[route_table]]
route_table_id = \"rtb-a\"
vpc_id = \"vpc-a\"
route = [{ destination_cidr_block = \"0.0.0.0/0\", nat_gateway_id = \"nat-gone\" }]
";
    let directory = configuration("", &format!("{RESOURCES}{blackhole}"));
    let check = ["check", "--config", "gateway.toml"];
    let (stdout, _) = expect(&halfspace(directory.path(), &check, &[]), 0);
    assert!(stdout.starts_with("warning: resources.toml:8:"), "{stdout}");
    let variables = [("HALFSPACE_FLOW", "1"), ("HALFSPACE_SOCKET", "/nowhere")];
    let (stdout, _) = expect(&halfspace(directory.path(), &check, &variables), 0);
    assert!(stdout.contains("warning: HALFSPACE_FLOW: sets nothing"), "{stdout}");
    assert!(!stdout.contains("HALFSPACE_SOCKET: "), "{stdout}");
}

#[test]
fn a_missing_file_is_a_matter_of_configuration() {
    let directory = tempfile::tempdir().unwrap();
    for command in ["check", "run", "uninstall"] {
        let arguments = [command, "--config", "nowhere.toml"];
        let (_, stderr) = expect(&halfspace(directory.path(), &arguments, &[]), 3);
        assert!(stderr.starts_with("error: nowhere.toml: "), "{command}: {stderr}");
    }
}

#[test]
fn without_a_gateway_every_order_says_which_socket_nobody_answers_on() {
    let directory = configuration("state_dir = \"/nowhere/configured\"\n", RESOURCES);
    for arguments in [
        &["status"][..],
        &["flows", "--json"],
        &["targets"],
        &["env", "list"],
        &["env", "detach", "vm-1"],
        &["env", "attach", "--bridge", "bridge-a", "--port", "tap0"],
        &["eni", "list"],
        &["eni", "detach", "eni-a"],
        &["action", "DescribeVpcs"],
    ] {
        let variable = [("HALFSPACE_SOCKET", "/nowhere/variable.sock")];
        let (stdout, stderr) = expect(&halfspace(directory.path(), arguments, &variable), 4);
        assert_eq!(stdout, "", "{arguments:?}");
        assert!(stderr.contains("cannot reach the gateway at /nowhere/variable.sock"), "{stderr}");
        assert!(stderr.contains("--socket"), "{stderr}");

        let flag = [arguments, &["--socket", "/nowhere/flag.sock"]].concat();
        let (_, stderr) = expect(&halfspace(directory.path(), &flag, &variable), 4);
        assert!(stderr.contains("/nowhere/flag.sock"), "{stderr}");

        let file = [arguments, &["--config", "gateway.toml"]].concat();
        let (_, stderr) = expect(&halfspace(directory.path(), &file, &[]), 4);
        assert!(stderr.contains("/nowhere/configured/api.sock"), "{stderr}");
    }
}

#[test]
fn uninstalling_where_nothing_is_installed_says_so() {
    let directory = configuration("pin_dir = \"/nowhere/pins\"\n", RESOURCES);
    let uninstall = ["uninstall", "--config", "gateway.toml"];
    let (stdout, _) = expect(&halfspace(directory.path(), &uninstall, &[]), 0);
    assert_eq!(stdout, "nothing to remove: there is no /nowhere/pins\n");
}
