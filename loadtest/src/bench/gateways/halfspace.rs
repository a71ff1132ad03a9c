//! Halfspace as a contender: its configuration, its process, and waiting until it is ready.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use halfspace_testbed::{Interrupt, Namespace, Process, http, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::documents;
use super::{Gateway, exactly, world};
use crate::bench::ends::{SERVICE_PORT, TARGETS};
use crate::bench::scenario::Site;
use crate::bench::topology::{INSIDE, OUTSIDE, Topology};
use crate::environments::api::{ApiError, Client};
use crate::error::Error;

/// Where the process serves `/readyz`, in a namespace of its own.
const STATUS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// The name of the resource document.
const RESOURCES: &str = "resources.toml";

/// As many IPv6 flows as there is room for where a scenario has none.
pub const FEW_IPV6_FLOWS: u32 = 1024;

/// How long it may take to become ready.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The longest that a change of the resource document may take to be in force.
const APPLY_LIMIT: Duration = Duration::from_secs(30);

/// How long it may take to give back the memory of its tables.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// As many flows as a gateway has room for by default. Where there are few, it is left at that.
pub const DEFAULT_FLOWS: u32 = 262_144;

/// What a gateway that is to track so many flows is configured for: four times as many, as a power
/// of two, which is the default for 50,000. A hash table needs room to spare: with room for its
/// flows and no more, a million of them are a quarter slower.
pub const fn room_for(flows: u32) -> u32 {
    4 * flows.next_power_of_two()
}

/// Where the fast path is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// XDP, in the driver.
    Xdp,
    /// tc ingress.
    Tc,
}

/// A gateway to start.
#[derive(Clone, Copy, Debug)]
pub struct Instance<'a> {
    /// Its name among those of the scenario.
    pub name: &'a str,
    /// Where its programs are attached.
    pub hook: Hook,
    /// Most flows at a time.
    pub flows: u32,
    /// Most of them with an IPv6 address.
    pub ipv6_flows: u32,
    /// The resource document.
    pub document: &'a str,
}

/// A running `halfspace run`. Dropping it ends it and unpins its maps.
#[derive(Debug)]
pub struct Halfspace {
    process: Process,
    binary: PathBuf,
    configuration: PathBuf,
    access: Access,
}

/// How to look at a running process, and to change its resource document, while a lane keeps it.
/// It is of no use once that process is gone.
#[derive(Clone, Debug)]
pub struct Access {
    pid: Pid,
    directory: PathBuf,
    pins: PathBuf,
}

/// What a process says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Number of the desired state in force.
    pub generation: u64,
    /// Whether every flow has been looked at under it.
    pub settled: bool,
    /// Flows tracked.
    pub flows: u64,
}

impl Halfspace {
    /// Starts one in the topology's gateway and waits until it is ready.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if there is no such binary, [`Error::Testbed`] with the process's own
    /// words if it does not become ready.
    pub fn start(
        site: Site<'_>,
        topology: &Topology,
        instance: Instance<'_>,
    ) -> Result<Self, Error> {
        let binary = site.halfspace;
        if !binary.is_file() {
            return Err(Error::Missing(format!(
                "there is no {}: build it, or name another with --halfspace",
                binary.display()
            )));
        }
        let gateway = topology.gateway();
        if instance.hook == Hook::Tc {
            // A veth without an XDP program takes redirected frames only through its NAPI poll.
            gateway.offload(INSIDE, [("gro", true)])?;
            gateway.offload(OUTSIDE, [("gro", true)])?;
        }
        // Several instances run at the same time: each pins its maps in a directory of its own.
        let pins = site.bed.bpffs()?.join(instance.name);
        let directory = site.bed.dir().join(instance.name);
        let configuration = configure(&directory, &pins, instance)?;
        let mut command = gateway.command(binary);
        command.arg("run").arg("--config").arg(&configuration);
        // Whatever is set for another gateway on this machine is not meant for this one.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HALFSPACE_") {
                command.env_remove(name);
            }
        }
        let mut process = gateway.spawn_command(command)?;
        process.wait_ready(START_LIMIT, || {
            http::get(gateway, STATUS, "/readyz").is_ok_and(|response| response.status == 200)
        })?;
        let access = Access { pid: process.pid(), directory, pins };
        Ok(Self { process, binary: binary.to_owned(), configuration, access })
    }

    /// The process itself.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// How to look at it later on.
    pub fn access(&self) -> Access {
        self.access.clone()
    }

    /// Attaches the link towards the hosts as an execution environment.
    ///
    /// # Errors
    ///
    /// [`Error::Testbed`] with what the command said.
    pub fn attach_environment(&self, gateway: &Namespace, bridge: &str) -> Result<(), Error> {
        let mut command = gateway.command(&self.binary);
        command.args(["env", "attach", "--bridge", bridge, "--port", INSIDE, "--config"]);
        command.arg(&self.configuration);
        gateway.spawn_command(command)?.success(START_LIMIT)?;
        Ok(())
    }
}

impl Drop for Halfspace {
    fn drop(&mut self) {
        // It leaves its pins for a successor, and would leave hundreds of megabytes with them. If
        // they cannot be removed now, they go with the testbed.
        let _ = self.process.stop(STOP_LIMIT);
        let _ = fs::remove_dir_all(&self.access.pins);
    }
}

impl Access {
    /// The process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Where its maps and links are pinned.
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    /// Asks it how it is doing.
    ///
    /// # Errors
    ///
    /// [`Error::Api`].
    pub fn status(&self) -> Result<Status, Error> {
        let failed = |error| Error::Api(Box::new(error));
        let answer =
            Client::new(&self.directory.join("api.sock")).get("/v1/status").map_err(failed)?;
        let status = || {
            let resources = &answer["resources"];
            Some(Status {
                generation: resources["generation"].as_u64()?,
                settled: resources["settled"].as_bool()?,
                flows: answer["flows"]["current"].as_u64()?,
            })
        };
        status().ok_or_else(|| {
            failed(ApiError::NoAnswer(format!("no generation, no flows in its status: {answer}")))
        })
    }

    /// Puts another resource document in force, and waits until every flow has been looked at under
    /// it; how long that took. An interrupt ends the waiting.
    ///
    /// # Errors
    ///
    /// As [`Self::status`]; [`Error::File`], [`Error::System`]; [`Error::Testbed`] if it takes too
    /// long.
    pub fn put_in_force(&self, document: &str, interrupt: &Interrupt) -> Result<Duration, Error> {
        let before = self.status()?.generation;
        let begun = Instant::now();
        self.change_document(document)?;
        let in_force = || {
            let status = self.status();
            let settled = status.is_ok_and(|now| now.generation != before && now.settled);
            settled || interrupt.is_raised()
        };
        wait_until(APPLY_LIMIT, "a changed resource document to be in force", in_force)?;
        Ok(begun.elapsed())
    }

    /// Writes another resource document, and tells the process to read it now.
    fn change_document(&self, document: &str) -> Result<(), Error> {
        let path = self.directory.join(RESOURCES);
        // Beside it first: whoever reads it meanwhile sees the old one or the new one.
        let beside = path.with_extension("new");
        write(&beside, document)?;
        fs::rename(&beside, &path).map_err(|source| Error::File {
            action: "replace",
            path,
            source,
        })?;
        kill(self.pid, Signal::SIGHUP).map_err(|errno| Error::System {
            action: "tell the gateway to read its document",
            source: errno.into(),
        })
    }
}

/// A NAT gateway with one Elastic IP address.
///
/// # Errors
///
/// As [`Halfspace::start`].
pub fn nat(
    site: Site<'_>,
    topology: &Topology,
    name: &str,
    hook: Hook,
    flows: u32,
) -> Result<Gateway, Error> {
    nat_with_room_for(site, topology, name, hook, [flows, FEW_IPV6_FLOWS])
}

/// The same, for flows from IPv6 to IPv4.
///
/// # Errors
///
/// As [`Halfspace::start`].
pub fn nat64(
    site: Site<'_>,
    topology: &Topology,
    name: &str,
    hook: Hook,
    flows: u32,
) -> Result<Gateway, Error> {
    nat_with_room_for(site, topology, name, hook, [flows; 2])
}

fn nat_with_room_for(
    site: Site<'_>,
    topology: &Topology,
    name: &str,
    hook: Hook,
    [flows, ipv6_flows]: [u32; 2],
) -> Result<Gateway, Error> {
    let document = &documents::nat();
    let instance = Instance { name, hook, flows, ipv6_flows, document };
    let process = Halfspace::start(site, topology, instance)?;
    Ok(Gateway::halfspace(exactly(documents::NAT), process))
}

/// A load balancer in front of several targets, for connections.
///
/// # Errors
///
/// As [`Halfspace::start`].
pub fn balancer(
    site: Site<'_>,
    topology: &Topology,
    name: &str,
    hook: Hook,
    flows: u32,
) -> Result<Gateway, Error> {
    let document = &documents::balancer_of_connections(&TARGETS, SERVICE_PORT);
    let ipv6_flows = FEW_IPV6_FLOWS;
    let instance = Instance { name, hook, flows, ipv6_flows, document };
    let process = Halfspace::start(site, topology, instance)?;
    Ok(Gateway::halfspace(world(), process))
}

/// Writes both configuration files into a directory of their own; the path of the first.
fn configure(dir: &Path, pins: &Path, instance: Instance<'_>) -> Result<PathBuf, Error> {
    fs::create_dir_all(dir).map_err(|source| Error::File {
        action: "make the directory",
        path: dir.to_owned(),
        source,
    })?;
    write(&dir.join(RESOURCES), instance.document)?;
    let gateway = dir.join("gateway.toml");
    let hook = match instance.hook {
        Hook::Xdp => "xdp",
        Hook::Tc => "tc",
    };
    let Instance { flows, ipv6_flows, .. } = instance;
    let (dir, pins) = (dir.display(), pins.display());
    write(
        &gateway,
        &format!(
            r#"resources = "{RESOURCES}"
datapath = "ebpf"
hook = "{hook}"
flows = {flows}
ipv6_flows = {ipv6_flows}
state_dir = "{dir}"
flow_log_dir = "{dir}"
pin_dir = "{pins}"
metrics_listen = "{STATUS}"
"#
        ),
    )?;
    Ok(gateway)
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| Error::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_have_room_for_at_least_four_times_the_flows_that_they_are_to_track() {
        for (flows, room) in [(50_000, DEFAULT_FLOWS), (200_000, 1 << 20), (1_000_000, 1 << 22)] {
            assert_eq!(room_for(flows), room, "{flows}");
        }
    }
}
