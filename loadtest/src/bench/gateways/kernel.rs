//! The kernel as a gateway: routing, and nftables masquerade on top of it.

use std::fs;
use std::net::Ipv4Addr;

use halfspace_testbed::{Namespace, Testbed};

use super::documents::BALANCER;
use super::{Gateway, exactly, hosts, world};
use crate::bench::ends::TARGETS;
use crate::bench::topology::{
    GATEWAY_INSIDE, GATEWAY_OUTSIDE, INSIDE, NEXT_HOP, OUTSIDE, PORT, Topology, WORLD,
};
use crate::error::Error;

/// A router's place in the row.
struct Router<'a> {
    namespace: &'a Namespace,
    /// With their lengths.
    inside: (Ipv4Addr, u8),
    outside: (Ipv4Addr, u8),
    next_hop: Ipv4Addr,
    next_hop_mac: [u8; 6],
}

impl<'a> Router<'a> {
    /// The only one of its topology.
    fn only(topology: &'a Topology) -> Result<Self, Error> {
        Ok(Self {
            namespace: topology.gateway(),
            inside: (GATEWAY_INSIDE, 16),
            outside: (GATEWAY_OUTSIDE, 24),
            next_hop: NEXT_HOP,
            next_hop_mac: topology.world.link_mac(PORT)?,
        })
    }

    /// Its addresses, and what is next.
    fn address(&self) -> Result<(), Error> {
        let Self { namespace, inside, outside, next_hop, .. } = self;
        let mac = self.next_hop_mac.map(|byte| format!("{byte:02x}")).join(":");
        namespace.ip([
            format!("address add {}/{} dev {INSIDE}", inside.0, inside.1),
            format!("address add {}/{} dev {OUTSIDE}", outside.0, outside.1),
            format!("route add {WORLD} via {next_hop}"),
            format!("neighbour replace {next_hop} lladdr {mac} dev {OUTSIDE} nud permanent"),
        ])?;
        Ok(())
    }

    /// Tuned as routers are: no reverse path filter, no socket look-up before the routing
    /// decision, no redirects; neighbours known beforehand.
    fn forward(&self) -> Result<(), Error> {
        let Self { namespace, .. } = self;
        self.address()?;
        namespace.sysctl([
            ("net.ipv4.ip_forward", "1"),
            ("net.ipv4.ip_early_demux", "0"),
            ("net.ipv4.conf.all.rp_filter", "0"),
            ("net.ipv4.conf.inside.rp_filter", "0"),
            ("net.ipv4.conf.outside.rp_filter", "0"),
            ("net.ipv4.conf.all.send_redirects", "0"),
            ("net.ipv4.conf.inside.send_redirects", "0"),
        ])?;
        // A veth without an XDP program takes redirected frames only through its NAPI poll.
        namespace.offload(INSIDE, [("gro", true)])?;
        Ok(())
    }

    /// Masquerade on top of that, with room for all flows. Says what was tuned.
    fn masquerade(&self, bed: &Testbed) -> Result<Vec<String>, Error> {
        self.forward()?;
        let masquerade = format!(
            "table ip nat {{\n\
             \tchain postrouting {{\n\
             \t\ttype nat hook postrouting priority srcnat; policy accept;\n\
             \t\toifname \"{OUTSIDE}\" masquerade\n\
             \t}}\n\
             }}\n"
        );
        rules(bed, self.namespace, &masquerade)?;
        let mut notes = Vec::new();
        // Flows without an answer would be forgotten after 30 s, between two of their rounds.
        let timeout = ("net.netfilter.nf_conntrack_udp_timeout", "600");
        self.namespace.sysctl([timeout])?;
        notes.push(format!("{} = {}", timeout.0, timeout.1));
        notes.extend(table(self.namespace)?);
        Ok(notes)
    }
}

/// Loads nftables rules.
fn rules(bed: &Testbed, namespace: &Namespace, rules: &str) -> Result<(), Error> {
    let path = bed.dir().join("rules.nft");
    let failed = |source| Error::File { action: "write", path: path.clone(), source };
    fs::write(&path, rules).map_err(failed)?;
    namespace.run(["nft".as_ref(), "-f".as_ref(), path.as_os_str()])?;
    Ok(())
}

/// Size and limit of the connection table, which belong to the host, not to the namespace: told,
/// not changed.
fn table(namespace: &Namespace) -> Result<Vec<String>, Error> {
    let names = ["net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_buckets"];
    let told =
        names.map(|name| Ok(format!("{name} = {} (the host's)", namespace.read_sysctl(name)?)));
    told.into_iter().collect()
}

/// Addresses alone, the load balancer's among them: a host for whatever runs on it.
///
/// # Errors
///
/// [`Error::Testbed`].
pub fn host(topology: &Topology) -> Result<(), Error> {
    let router = Router::only(topology)?;
    router.address()?;
    router.namespace.ip([format!("address add {BALANCER}/24 dev {OUTSIDE}")])?;
    Ok(())
}

/// nftables destination NAT of the load balancer's address, to its targets in turn.
///
/// # Errors
///
/// [`Error::Testbed`], [`Error::File`].
pub fn dnat(bed: &Testbed, topology: &Topology) -> Result<Gateway, Error> {
    let router = Router::only(topology)?;
    router.forward()?;
    let namespace = router.namespace;
    namespace.ip([format!("address add {BALANCER}/24 dev {OUTSIDE}")])?;
    let map: Vec<_> = TARGETS.iter().enumerate().map(|(n, it)| format!("{n} : {it}")).collect();
    let (count, map) = (TARGETS.len(), map.join(", "));
    let dnat = format!(
        "table ip nat {{\n\
         \tchain prerouting {{\n\
         \t\ttype nat hook prerouting priority dstnat; policy accept;\n\
         \t\tip daddr {BALANCER} dnat to numgen inc mod {count} map {{ {map} }}\n\
         \t}}\n\
         }}\n"
    );
    rules(bed, namespace, &dnat)?;
    // As long as Halfspace keeps a connection that has been closed. With the default of 120 s the
    // table would fill up from round to round, until connections are refused.
    let timeout = ("net.netfilter.nf_conntrack_tcp_timeout_time_wait", "30");
    namespace.sysctl([timeout])?;
    let mut notes = vec![format!("{} = {}", timeout.0, timeout.1)];
    notes.extend(table(namespace)?);
    Ok(Gateway::kernel(world(), notes))
}

/// IPv4 forwarding, no NAT.
///
/// # Errors
///
/// [`Error::Testbed`].
pub fn forwarding(topology: &Topology) -> Result<Gateway, Error> {
    Router::only(topology)?.forward()?;
    Ok(Gateway::kernel(hosts(), Vec::new()))
}

/// nftables masquerade.
///
/// # Errors
///
/// [`Error::Testbed`], [`Error::File`].
pub fn masquerade(bed: &Testbed, topology: &Topology) -> Result<Gateway, Error> {
    let notes = Router::only(topology)?.masquerade(bed)?;
    Ok(Gateway::kernel(exactly(GATEWAY_OUTSIDE), notes))
}

/// nftables masquerade twice in a row, in the two gateways of the topology: first to an address of
/// a private network, as a bridge does, and from there to the public one.
///
/// # Errors
///
/// [`Error::Testbed`], [`Error::File`].
pub fn masquerade_twice(bed: &Testbed, topology: &Topology) -> Result<Gateway, Error> {
    const BETWEEN: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 2, 0, 1), Ipv4Addr::new(10, 2, 0, 2)];

    let [_, second] = &topology.gateways[..] else {
        return Err(Error::Missing("a second gateway".to_owned()));
    };
    let near = Router {
        outside: (BETWEEN[0], 30),
        next_hop: BETWEEN[1],
        next_hop_mac: second.link_mac(INSIDE)?,
        ..Router::only(topology)?
    };
    let far = Router { namespace: second, inside: (BETWEEN[1], 30), ..Router::only(topology)? };
    let notes = near.masquerade(bed)?;
    far.masquerade(bed)?;
    Ok(Gateway::kernel(exactly(GATEWAY_OUTSIDE), notes))
}
