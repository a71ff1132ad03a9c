//! Halfspace as a contender: its configuration, its process, and waiting until it is ready.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use halfspace_testbed::{Process, Testbed, http};

use super::topology::{CLIENTS, GATEWAY_OUTSIDE, INSIDE, NEXT_HOP, OUTSIDE, Topology};
use crate::error::Error;

/// The address that the NAT gateway translates to.
pub const ELASTIC_IP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);

/// Where the process serves `/readyz`, in a namespace of its own.
const STATUS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// How long it may take to become ready.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Where the fast path is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// XDP, in the driver.
    Xdp,
    /// tc ingress.
    Tc,
}

/// What the command line says about Halfspace.
#[derive(Clone, Debug)]
pub struct Options {
    /// The binary.
    pub binary: PathBuf,
    /// Most flows that will be sent.
    pub flows: u32,
}

/// Starts `halfspace run` in the gateway's namespace and waits until it is ready.
///
/// # Errors
///
/// [`Error::Missing`] if there is no such binary, [`Error::Testbed`] with the process's own words
/// if it does not become ready.
pub fn start(
    bed: &Testbed,
    topology: &Topology,
    hook: Hook,
    options: &Options,
) -> Result<Process, Error> {
    let binary = &options.binary;
    if !binary.is_file() {
        return Err(Error::Missing(format!(
            "there is no {}: build it, or name another with --halfspace",
            binary.display()
        )));
    }
    let gateway = &topology.gateway;
    if hook == Hook::Tc {
        // A veth without an XDP program takes redirected frames only through its NAPI poll.
        gateway.offload(INSIDE, [("gro", true)])?;
    }
    let configuration = configure(bed, hook, options.flows)?;
    let mut command = gateway.command(binary);
    command.arg("run").arg("--config").arg(configuration);
    let mut process = gateway.spawn_command(command)?;
    process.wait_ready(START_LIMIT, || {
        http::get(gateway, STATUS, "/readyz").is_ok_and(|response| response.status == 200)
    })?;
    Ok(process)
}

/// Writes both configuration files into a directory of their own; the path of the first.
fn configure(bed: &Testbed, hook: Hook, flows: u32) -> Result<PathBuf, Error> {
    let name = match hook {
        Hook::Xdp => "xdp",
        Hook::Tc => "tc",
    };
    let dir = bed.dir().join(format!("halfspace-{name}"));
    fs::create_dir(&dir).map_err(|source| Error::File {
        action: "make the directory",
        path: dir.clone(),
        source,
    })?;
    // Two instances run at the same time: each pins its maps in a directory of its own.
    let pins = bed.bpffs()?.join(name);
    write(&dir.join("resources.toml"), &resources())?;
    let gateway = dir.join("gateway.toml");
    write(&gateway, &bootstrap(&dir, &pins, name, flows))?;
    Ok(gateway)
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| Error::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

/// The node's own settings, `gateway.toml`.
fn bootstrap(dir: &Path, pins: &Path, hook: &str, flows: u32) -> String {
    let (resources, state) = (dir.join("resources.toml"), dir.join("run"));
    let (resources, state, pins) = (resources.display(), state.display(), pins.display());
    // Room for the flows of the round before as well.
    let flows = (2 * flows).max(65536);
    format!(
        r#"resources = "{resources}"
datapath = "ebpf"
hook = "{hook}"
flows = {flows}
state_dir = "{state}"
pin_dir = "{pins}"
metrics_listen = "{STATUS}"
"#
    )
}

/// The desired state, `resources.toml`: one VPC with the clients, one NAT gateway with one EIP.
fn resources() -> String {
    format!(
        r#"[[vpc]]
vpc_id = "vpc-bench"
cidr_block = "{CLIENTS}"

[[subnet]]
subnet_id = "subnet-clients"
vpc_id = "vpc-bench"
cidr_block = "10.1.0.0/17"
route_table_id = "rtb-clients"
port = "{INSIDE}"

[[route_table]]
route_table_id = "rtb-clients"
vpc_id = "vpc-bench"
route = [{{ destination_cidr_block = "0.0.0.0/0", nat_gateway_id = "nat-bench" }}]

[[subnet]]
subnet_id = "subnet-public"
vpc_id = "vpc-bench"
cidr_block = "10.1.128.0/24"
route_table_id = "rtb-public"

[[route_table]]
route_table_id = "rtb-public"
vpc_id = "vpc-bench"
route = [{{ destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-bench" }}]

[[nat_gateway]]
nat_gateway_id = "nat-bench"
subnet_id = "subnet-public"
allocation_ids = ["eipalloc-bench"]

[[address]]
allocation_id = "eipalloc-bench"
public_ip = "{ELASTIC_IP}"

[[internet_gateway]]
internet_gateway_id = "igw-bench"
vpc_id = "vpc-bench"
uplink_id = "uplink-bench"

[[uplink]]
uplink_id = "uplink-bench"
port = "{OUTSIDE}"
addresses = ["{GATEWAY_OUTSIDE}/24"]
gateways = ["{NEXT_HOP}"]
"#
    )
}
