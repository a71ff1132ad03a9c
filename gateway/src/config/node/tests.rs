//! Layers of a node's configuration, and errors in each.

use super::*;

/// Loads a file with these contents.
fn load(
    text: &str,
    environment: &[(&str, &str)],
    flags: &Flags,
) -> Result<(Loaded, PathBuf), Vec<String>> {
    let directory = tempfile::tempdir().expect("temporary directory");
    let file = directory.path().join("gateway.toml");
    std::fs::write(&file, text).expect("temporary file");
    let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
    NodeConfig::load(&file, environment, flags)
        .map(|loaded| (loaded, directory.path().to_owned()))
        .map_err(|errors| {
            let prefix = format!("{}/", directory.path().display());
            errors.iter().map(|it| it.to_string().replace(&prefix, "")).collect()
        })
}

fn good(text: &str, environment: &[(&str, &str)], flags: &Flags) -> NodeConfig {
    load(text, environment, flags).expect("good").0.config
}

fn errors(text: &str, environment: &[(&str, &str)], flags: &Flags) -> Vec<String> {
    load(text, environment, flags).expect_err("there is an error")
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let (loaded, directory) = load("", &[], &Flags::default()).expect("good");
    let config = loaded.config;
    assert_eq!(config.resources, directory.join("resources.toml"));
    assert_eq!(config.datapath, DatapathChoice::Auto);
    assert_eq!(config.hook_of("eth0"), HookChoice::Auto);
    assert_eq!(config.flows.get(), 262_144);
    assert_eq!(config.api_socket(), Path::new("/run/halfspace/api.sock"));
    assert_eq!(config.metrics_listen.to_string(), "127.0.0.1:9464");
    assert_eq!((config.log_format, config.log_level), (LogFormat::Human, LogLevel::Info));
    assert_eq!(config.refresh(), Duration::from_secs(1));
    assert_eq!((config.seed, config.worker_cpu), (None, None));
    assert_eq!(config.flow_log_dir, Path::new("/var/log/halfspace"));
    assert_eq!(config.flow_log_writer, WriterChoice::Auto);
    assert_eq!(config.flow_log_rotate(), Duration::from_mins(5));
    assert_eq!(config.flow_log_file_bytes.get(), 75_000_000);
}

const FILE: &str = r#"
resources = "vpc/production.toml"
datapath = "userspace"
hook = "tc"
flows = 5000
ipv6_flows = 2000
state_dir = "/run/hs"
pin_dir = "/sys/fs/bpf/hs"
worker_cpu = 3
metrics_listen = "[::1]:9000"
log_format = "json"
log_level = "debug"
refresh_seconds = 5
seed = 7

[[port]]
name = "Lan0"
hook = "xdp"
"#;

#[test]
fn the_file_is_over_the_defaults() {
    let (loaded, directory) = load(FILE, &[], &Flags::default()).expect("good");
    let config = loaded.config;
    assert_eq!(config.resources, directory.join("vpc/production.toml"));
    assert_eq!(config.datapath, DatapathChoice::Userspace);
    assert_eq!(config.hook_of("Lan0"), HookChoice::Xdp, "names keep their case");
    assert_eq!(config.hook_of("lan0"), HookChoice::Tc);
    assert_eq!(config.flows.get(), 5000);
    assert_eq!(config.api_socket(), Path::new("/run/hs/api.sock"));
    assert_eq!(config.pin_dir, Path::new("/sys/fs/bpf/hs"));
    assert_eq!(config.metrics_listen.to_string(), "[::1]:9000");
    assert_eq!((config.log_format, config.log_level), (LogFormat::Json, LogLevel::Debug));
    assert_eq!((config.refresh(), config.seed), (Duration::from_secs(5), Some(7)));
    assert_eq!(config.worker_cpu, Some(3));
}

#[test]
fn the_environment_is_over_the_file_and_flags_are_over_both() {
    let environment = [
        ("HALFSPACE_FLOWS", "6000"),
        ("HALFSPACE_HOOK", "xdp"),
        ("HALFSPACE_SEED", "18446744073709551615"),
        ("HALFSPACE_STATE_DIR", "/run/00123"),
        ("HALFSPACE_LOG_LEVEL", "warn"),
        ("FLOWS", "9"),
    ];
    let flags = Flags {
        flows: Some(7000),
        metrics_listen: Some(SocketAddr::from(([127, 0, 0, 1], 1))),
        log_format: Some(LogFormat::Human),
        ..Flags::default()
    };
    let config = good(FILE, &environment, &flags);
    assert_eq!(config.flows.get(), 7000);
    assert_eq!(config.hook, HookChoice::Xdp);
    assert_eq!(config.hook_of("Lan0"), HookChoice::Xdp);
    assert_eq!(config.seed, Some(u64::MAX));
    assert_eq!(config.api_socket(), Path::new("/run/00123/api.sock"));
    assert_eq!(config.log_level, LogLevel::Warn);
    assert_eq!(config.log_format, LogFormat::Human);
    assert_eq!(config.metrics_listen.port(), 1);
    assert_eq!(config.refresh(), Duration::from_secs(5), "untouched");
}

#[test]
fn only_the_files_own_path_starts_at_the_file() {
    let variable = [("HALFSPACE_RESOURCES", "here.toml")];
    assert_eq!(good(FILE, &variable, &Flags::default()).resources, Path::new("here.toml"));
    let flags = Flags { resources: Some("there.toml".into()), ..Flags::default() };
    assert_eq!(good(FILE, &variable, &flags).resources, Path::new("there.toml"));
    let absolute = good("resources = \"/etc/r.toml\"", &[], &Flags::default());
    assert_eq!(absolute.resources, Path::new("/etc/r.toml"));
}

#[test]
fn every_key_with_one_value_can_be_a_variable() {
    let full = NodeConfig {
        api_socket: Some("/a".into()),
        ipv6_flows: Some(NodeConfig::default().flows),
        worker_cpu: Some(1),
        seed: Some(1),
        ..NodeConfig::default()
    };
    let written = toml::Table::try_from(&full).expect("a configuration can be written");
    let mut keys: Vec<_> = written.keys().filter(|key| *key != "port").collect();
    keys.sort_unstable();
    let mut known = KEYS;
    known.sort_unstable();
    assert_eq!(keys, known);
}

#[test]
fn errors_of_the_file_have_their_lines() {
    assert_eq!(
        errors(
            "flows = 10\nhok = \"tc\"\nlog_level = \"loud\"\n[[port]]\nname = \"a\"\nhook = 3\n",
            &[],
            &Flags::default()
        )
        .iter()
        .map(|it| it.split(", expected").next().unwrap_or_default())
        .collect::<Vec<_>>(),
        [
            "gateway.toml:1:9: flows: 10 is outside 1024 to 16777216",
            "gateway.toml:2:1: hok: unknown field `hok`",
            "gateway.toml:3:13: log_level: unknown variant `loud`",
            "gateway.toml:6:8: port[0].hook: wanted string or table",
        ]
    );
    assert_eq!(
        errors(
            "[[port]]\nname = \"a\"\nhook = \"tc\"\n[[port]]\nname = \"a\"\nhook = \"xdp\"\n",
            &[],
            &Flags::default()
        ),
        ["gateway.toml:5:1: port[1].name: `a` has settings already: merge the two"]
    );
}

#[test]
fn a_wrong_variable_is_named_and_so_is_every_other() {
    let environment = [
        ("HALFSPACE_FLOWS", "many"),
        ("HALFSPACE_REFRESH_SECONDS", "0"),
        ("HALFSPACE_LOG_FORMAT", "xml"),
        ("HALFSPACE_METRICS_LISTEN", "localhost"),
    ];
    assert_eq!(
        errors("", &environment, &Flags::default()),
        [
            "HALFSPACE_FLOWS: flows: invalid type: string \"many\", expected an integer",
            "HALFSPACE_METRICS_LISTEN: metrics_listen: invalid socket address syntax",
            "HALFSPACE_LOG_FORMAT: log_format: unknown variant `xml`, expected `human` or `json`",
            "HALFSPACE_REFRESH_SECONDS: refresh_seconds: 0 is outside 1 to 3600",
        ]
    );
}

#[test]
fn a_flag_outside_its_range_is_named() {
    let flags = Flags { flows: Some(1), ..Flags::default() };
    assert_eq!(errors("", &[], &flags), ["command line: flows: 1 is outside 1024 to 16777216"]);
}

#[test]
fn a_variable_that_only_looks_like_ours_is_told_of_and_changes_nothing() {
    let environment = [("HALFSPACE_PORT", "tcp://10.0.0.1:80"), ("HALFSPACE_FLOWZ", "1")];
    let (loaded, _) = load("", &environment, &Flags::default()).expect("good");
    let names: Vec<_> = loaded.warnings.iter().map(|it| it.file.as_str()).collect();
    assert_eq!(names, ["HALFSPACE_FLOWZ", "HALFSPACE_PORT"]);
    assert!(loaded.warnings[0].message.contains("HALFSPACE_FLOWS"));
    assert_eq!(loaded.config.port, []);
}

#[test]
fn flags_have_the_names_of_their_keys() {
    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        flags: Flags,
    }
    let all = [
        ("resources", "/r.toml"),
        ("datapath", "ebpf"),
        ("hook", "xdp"),
        ("flows", "2048"),
        ("ipv6_flows", "1024"),
        ("state_dir", "/s"),
        ("pin_dir", "/p"),
        ("worker_cpu", "1"),
        ("api_socket", "/a"),
        ("metrics_listen", "127.0.0.1:1"),
        ("log_format", "json"),
        ("log_level", "trace"),
        ("refresh_seconds", "9"),
        ("flow_log_dir", "/l"),
        ("flow_log_writer", "plain"),
        ("flow_log_rotate_seconds", "60"),
        ("flow_log_file_bytes", "65536"),
        ("seed", "3"),
    ];
    assert_eq!(all.map(|(key, _)| key), KEYS);
    let arguments = all.map(|(key, value)| format!("--{}={value}", key.replace('_', "-")));
    let arguments = std::iter::once("halfspace".to_owned()).chain(arguments);
    let flags = <Command as clap::Parser>::try_parse_from(arguments).expect("good").flags;
    let by_flags = good("", &[], &flags);
    let variables = all.map(|(key, value)| (variable(key), value));
    let variables = variables.iter().map(|(name, value)| (name.as_str(), *value));
    let by_variables = good("", &variables.collect::<Vec<_>>(), &Flags::default());
    assert_eq!(by_flags, by_variables);
    assert_ne!(by_flags, NodeConfig::default());
}
