//! Who takes part in the benchmark, and how each one's gateway is set up.

use std::fs;
use std::net::Ipv4Addr;

use clap::ValueEnum;
use halfspace_testbed::{Process, Requirement, Testbed, missing};

use super::halfspace::{self, Hook};
use super::topology::{
    CLIENTS, GATEWAY_INSIDE, GATEWAY_OUTSIDE, INSIDE, NEXT_HOP, OUTSIDE, PORT, SERVERS, Topology,
};
use crate::error::Error;
use crate::relay::Relay;
use crate::sink::Sources;

/// A gateway that frames are sent through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Contender {
    /// Bare XDP redirect without any look-up: the limit of the machine.
    Raw,
    /// The kernel's IPv4 forwarding, no NAT.
    Kernel,
    /// nftables masquerade.
    Nft,
    /// Halfspace's NAT gateway on the XDP hook.
    HalfspaceXdp,
    /// Halfspace's NAT gateway on the tc hook.
    HalfspaceTc,
}

/// What keeps a contender's gateway going; dropping it stops the gateway.
#[derive(Debug)]
pub struct Gateway {
    /// From which addresses its frames must come.
    pub sources: Sources,
    /// What was tuned, and what could not be.
    pub notes: Vec<String>,
    _relay: Option<Relay>,
    _process: Option<Process>,
}

impl Contender {
    /// All, in the order in which they take turns.
    pub const ALL: [Self; 5] =
        [Self::Raw, Self::Kernel, Self::Nft, Self::HalfspaceXdp, Self::HalfspaceTc];

    /// The name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Kernel => "kernel",
            Self::Nft => "nft",
            Self::HalfspaceXdp => "halfspace_xdp",
            Self::HalfspaceTc => "halfspace_tc",
        }
    }

    /// What it is, for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Raw => "bare XDP redirect",
            Self::Kernel => "kernel forwarding, no NAT",
            Self::Nft => "nftables masquerade",
            Self::HalfspaceXdp => "Halfspace NAT, XDP",
            Self::HalfspaceTc => "Halfspace NAT, tc",
        }
    }

    /// Sets the gateway up in its namespace, until it is ready for traffic.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the contender is not installed, or whatever failed.
    pub fn set_up(
        self,
        bed: &Testbed,
        topology: &Topology,
        options: &halfspace::Options,
    ) -> Result<Gateway, Error> {
        match self {
            Self::Raw => {
                let relay = Relay::attach(&topology.gateway, INSIDE, OUTSIDE)?;
                Ok(Gateway { _relay: Some(relay), ..Gateway::forwarding(clients()) })
            }
            Self::Kernel => {
                forward(topology)?;
                Ok(Gateway::forwarding(clients()))
            }
            Self::Nft => {
                let notes = masquerade(bed, topology)?;
                Ok(Gateway { notes, ..Gateway::forwarding(exactly(GATEWAY_OUTSIDE)) })
            }
            Self::HalfspaceXdp => Self::set_up_halfspace(Hook::Xdp, bed, topology, options),
            Self::HalfspaceTc => Self::set_up_halfspace(Hook::Tc, bed, topology, options),
        }
    }

    fn set_up_halfspace(
        hook: Hook,
        bed: &Testbed,
        topology: &Topology,
        options: &halfspace::Options,
    ) -> Result<Gateway, Error> {
        let process = halfspace::start(bed, topology, hook, options)?;
        let sources = exactly(halfspace::ELASTIC_IP);
        Ok(Gateway { _process: Some(process), ..Gateway::forwarding(sources) })
    }
}

impl Gateway {
    /// One that needs nothing of ours to go on.
    fn forwarding(sources: Sources) -> Self {
        Self { sources, notes: Vec::new(), _relay: None, _process: None }
    }
}

/// A gateway without NAT leaves the clients' addresses as they are.
fn clients() -> Sources {
    Sources { address: GATEWAY_INSIDE, length: 16 }
}

fn exactly(address: Ipv4Addr) -> Sources {
    Sources { address, length: 32 }
}

/// The kernel as a router, tuned as routers are: no reverse path filter, no socket look-up before
/// the routing decision, no redirects; neighbours known beforehand.
fn forward(topology: &Topology) -> Result<(), Error> {
    let gateway = &topology.gateway;
    let next_hop_mac = mac_text(topology.sink.link_mac(PORT)?);
    gateway.ip([
        format!("address add {GATEWAY_INSIDE}/16 dev {INSIDE}"),
        format!("address add {GATEWAY_OUTSIDE}/24 dev {OUTSIDE}"),
        format!("route add {SERVERS} via {NEXT_HOP}"),
        format!("neighbour replace {NEXT_HOP} lladdr {next_hop_mac} dev {OUTSIDE} nud permanent"),
    ])?;
    gateway.sysctl([
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv4.ip_early_demux", "0"),
        ("net.ipv4.conf.all.rp_filter", "0"),
        ("net.ipv4.conf.inside.rp_filter", "0"),
        ("net.ipv4.conf.outside.rp_filter", "0"),
        ("net.ipv4.conf.all.send_redirects", "0"),
        ("net.ipv4.conf.inside.send_redirects", "0"),
    ])?;
    // A veth without an XDP program takes redirected frames only through its NAPI poll.
    gateway.offload(INSIDE, [("gro", true)])?;
    Ok(())
}

/// Masquerade on top of [`forward`], with room for all flows.
fn masquerade(bed: &Testbed, topology: &Topology) -> Result<Vec<String>, Error> {
    let lacking = missing(&[Requirement::Program("nft")]);
    if let Some(lack) = lacking.first() {
        return Err(Error::Missing(lack.to_string()));
    }
    forward(topology)?;
    let gateway = &topology.gateway;
    let path = bed.dir().join("masquerade.nft");
    let rules = format!(
        "table ip nat {{\n\
         \tchain postrouting {{\n\
         \t\ttype nat hook postrouting priority srcnat; policy accept;\n\
         \t\tip saddr {CLIENTS} oifname \"{OUTSIDE}\" masquerade\n\
         \t}}\n\
         }}\n"
    );
    fs::write(&path, rules).map_err(|source| Error::File {
        action: "write",
        path: path.clone(),
        source,
    })?;
    gateway.run(["nft".as_ref(), "-f".as_ref(), path.as_os_str()])?;
    let mut notes = Vec::new();
    // Flows without an answer would be forgotten after 30 s, between two of their rounds.
    for (name, value) in [
        ("net.netfilter.nf_conntrack_max", "1048576"),
        ("net.netfilter.nf_conntrack_udp_timeout", "600"),
    ] {
        if let Err(error) = gateway.sysctl([(name, value)]) {
            notes.push(format!("nft: {error}"));
        }
        notes.push(format!("nft: {name} = {}", gateway.read_sysctl(name)?));
    }
    // The table's size belongs to the host, not to the namespace: it is told, not changed.
    let buckets = "net.netfilter.nf_conntrack_buckets";
    notes.push(format!("nft: {buckets} = {} (the host's)", gateway.read_sysctl(buckets)?));
    Ok(notes)
}

/// As `ip` reads it.
fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
