//! The container image, as docs/container.md says to run it: podman without a daemon, four
//! capabilities, nothing writable but two mounts, a network namespace of its own.
//!
//! `make image` builds what is tested here. podman runs in mount and PID namespaces of the test's
//! own, over a storage in the test's own directory: however the test ends, container, mounts and
//! image end with it, and the machine's own images and containers are never seen.

#![expect(clippy::unwrap_used, reason = "a test ends with the first thing that goes wrong")]

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use halfspace_testbed::programs::Nginx;
use halfspace_testbed::{Error, Namespace, Output, Process, Requirement, Testbed, http, ready};
use nix::sys::signal::{Signal, killpg};

const NEEDED: [Requirement; 8] = [
    Requirement::Root,
    Requirement::Bpf,
    Requirement::Program("ip"),
    Requirement::Program("curl"),
    Requirement::Program("nginx"),
    Requirement::Program("podman"),
    Requirement::Program("runc"),
    Requirement::Program("unshare"),
];

const IMAGE: &str = concat!("localhost/halfspace:", env!("CARGO_PKG_VERSION"));

/// Loading and starting an image on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where the sample configuration serves health and metrics.
const HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9464);

#[test]
fn the_image_translates_answers_for_its_health_and_stops_when_told() {
    let Some(archive) = archive() else { return };
    let bed = Testbed::new("image").unwrap();
    let [host, gateway, world] = lay_out(&bed).unwrap();
    let listen = ["203.0.113.1:80", "[2001:db8:1::1]:80"].map(|it| it.parse().unwrap());
    let nginx = Nginx::start(&world, &listen, "$remote_addr\n").unwrap();
    let podman = Podman::new(&bed, &gateway).unwrap();
    podman.run_to_end(["load".as_ref(), "--input".as_ref(), archive.as_os_str()]).unwrap();

    let mut running = podman.spawn_container(&["--env", "HALFSPACE_DATAPATH=ebpf"], &[]).unwrap();
    let is_ready = || http::get(&gateway, HTTP, "/readyz").is_ok_and(|it| it.status == 200);
    running.wait_ready(PATIENCE, is_ready).unwrap();

    for (url, public) in
        [("http://203.0.113.1/", "203.0.113.10"), ("http://[2001:db8:1::1]/", "2001:db8:1::10")]
    {
        let seen = host.run(["curl", "--silent", "--show-error", "--max-time", "10", url]).unwrap();
        assert_eq!(seen.stdout, format!("{public}\n"));
    }
    let clients: Vec<_> = nginx.clients().iter().map(|it| it.ip().to_string()).collect();
    assert_eq!(clients, ["203.0.113.10", "2001:db8:1::10"]);

    // To the whole group: `unshare` waits for podman, and podman hands it on to the gateway.
    killpg(running.pid(), Signal::SIGTERM).unwrap();
    let said = running.output(PATIENCE).unwrap();
    assert!(said.status.success(), "{said:?}");

    // Its tables stay for the next one, until they are taken out.
    let pins = bed.bpffs().unwrap().join("halfspace");
    assert!(pins.join("flows4").exists());
    let arguments = ["uninstall", "--config", "/etc/halfspace/gateway.toml"];
    podman.spawn_container(&[], &arguments).unwrap().success(PATIENCE).unwrap();
    assert!(!pins.exists());
}

/// The image, unless it or something to run it with is missing.
fn archive() -> Option<PathBuf> {
    // `target/tmp` is cargo's name for it, wherever `target` is.
    let archive = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("image/halfspace.oci.tar");
    if !ready(&NEEDED) {
        return None;
    }
    if archive.exists() {
        return Some(archive);
    }
    let reason = format!("{} is missing: make image", archive.display());
    assert!(std::env::var_os("HALFSPACE_REQUIRE_ALL").is_none(), "may not be skipped: {reason}");
    eprintln!("SKIPPED: {reason}");
    None
}

/// The topology of `configs/two-interface`.
fn lay_out(bed: &Testbed) -> Result<[Namespace; 3], Error> {
    let [host, gateway, world] =
        [bed.namespace("host")?, bed.namespace("gateway")?, bed.namespace("world")?];
    bed.veths(&[((&gateway, "lan0"), (&host, "eth0")), ((&gateway, "wan0"), (&world, "eth0"))])?;
    host.ip([
        "address add 10.0.1.10/24 dev eth0",
        "address add fd00:10:0:1::10/64 dev eth0 nodad",
        "route add default via 10.0.1.1",
        "route add default via fd00:10:0:1::1",
    ])?;
    world.ip([
        "address add 203.0.113.1/24 dev eth0",
        "address add 2001:db8:1::1/64 dev eth0 nodad",
    ])?;
    Ok([host, gateway, world])
}

/// podman with a storage of its own.
struct Podman<'a> {
    gateway: &'a Namespace,
    /// Where podman itself runs. In the gateway's it would take the container for one that shares
    /// the machine's own network.
    outside: Namespace,
    storage: PathBuf,
    state: PathBuf,
    bpffs: PathBuf,
}

impl<'a> Podman<'a> {
    fn new(bed: &Testbed, gateway: &'a Namespace) -> Result<Self, Error> {
        let state = bed.dir().join("state");
        fs::create_dir(&state).unwrap();
        Ok(Self {
            gateway,
            outside: bed.namespace("podman")?,
            storage: bed.dir().join("podman"),
            state,
            bpffs: bed.bpffs()?,
        })
    }

    fn run_to_end<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Output, Error> {
        let mut command = self.command();
        command.args(arguments);
        self.outside.spawn_command(command)?.success(PATIENCE)
    }

    /// A container in the gateway's namespace, as docs/container.md has it but for the places of
    /// the mounts. It is in the foreground: its logs are podman's output, and its end podman's.
    fn spawn_container(&self, options: &[&str], arguments: &[&str]) -> Result<Process, Error> {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("");
        let sample = repository.join("configs/two-interface");
        let seccomp = repository.join("images/seccomp.json");
        let mount = |from: &Path, to: &str| format!("--volume={}:{to}", from.display());
        let mut command = self.command();
        command
            .args(["run", "--rm", "--read-only", "--security-opt=no-new-privileges"])
            .arg(format!("--security-opt=seccomp={}", seccomp.display()))
            .args(["--cap-drop=ALL", "--cap-add=NET_ADMIN,NET_RAW,BPF,PERFMON"])
            // podman asks for more than a machine without CAP_SYS_RESOURCE may give.
            .args(["--ulimit=nofile=1024:4096", "--ulimit=nproc=1024:4096"])
            .arg(format!("--network=ns:{}", self.gateway.path().display()))
            .arg(mount(&sample, "/etc/halfspace:ro"))
            .arg(mount(&self.state, "/run/halfspace"))
            .arg(mount(&self.bpffs, "/sys/fs/bpf"))
            // Room for a million flows takes longer to make than the test does.
            .arg("--env=HALFSPACE_FLOWS=4096")
            .args(options)
            .arg(IMAGE)
            .args(arguments);
        self.outside.spawn_command(command)
    }

    fn command(&self) -> Command {
        let mut command = self.outside.command("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "podman"])
            // crun, the default, wants cgroups of one version only; and there is no systemd to
            // make them.
            .args(["--runtime=runc", "--cgroup-manager=cgroupfs", "--events-backend=file"])
            // Copies instead of mounts: the image is one file.
            .arg("--storage-driver=vfs");
        for (option, directory) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(self.storage.join(directory));
        }
        command
    }
}
