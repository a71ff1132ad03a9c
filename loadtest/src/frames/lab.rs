//! For tests: clients, a kernel that forwards between them and servers, and servers.
//!
//! ```text
//!   clients: port ──── inside :gateway: outside ──── port :servers
//!   10.1.0.0/16          10.1.0.1        203.0.113.1      203.0.113.2, before 198.51.100.0/24
//!   fd01::/64            fd01::1         fd02::1          fd02::2, before fd03::/64
//! ```

use halfspace_testbed::{Namespace, Requirement, Testbed, ready};

/// The three namespaces.
pub struct Lab {
    pub clients: Namespace,
    pub gateway: Namespace,
    pub servers: Namespace,
    bed: Testbed,
}

impl Lab {
    /// Lays it out; nothing if this machine cannot.
    pub fn lay(label: &str) -> Option<Self> {
        let programs = ["ip", "ethtool", "nft"].map(Requirement::Program);
        if !ready(&[&[Requirement::Root, Requirement::Bpf], &programs[..]].concat()) {
            return None;
        }
        let bed = Testbed::new(label).unwrap();
        let names = ["clients", "gateway", "servers"];
        let [clients, gateway, servers] = bed.namespaces(names).unwrap().try_into().unwrap();
        bed.veths(&[
            ((&gateway, "inside"), (&clients, "port")),
            ((&gateway, "outside"), (&servers, "port")),
        ])
        .unwrap();
        gateway
            .sysctl([("net.ipv4.ip_forward", "1"), ("net.ipv6.conf.all.forwarding", "1")])
            .unwrap();
        clients
            .ip([
                "address add 10.1.0.5/16 dev port",
                "route add local 10.1.0.128/25 dev lo",
                "address add fd01::5/64 dev port",
                "route add local fd01::1:0/112 dev lo",
            ])
            .unwrap();
        servers
            .ip(["address add 203.0.113.2/24 dev port", "address add fd02::2/64 dev port"])
            .unwrap();
        gateway
            .ip([
                "address add 10.1.0.1/16 dev inside",
                "address add fd01::1/64 dev inside",
                "address add 203.0.113.1/24 dev outside",
                "address add fd02::1/64 dev outside",
                "route add 198.51.100.0/24 via 203.0.113.2",
                "route add fd03::/64 via fd02::2",
            ])
            .unwrap();
        // A veth without an XDP program takes redirected frames only through its NAPI poll.
        for link in ["inside", "outside"] {
            gateway.offload(link, [("gro", true)]).unwrap();
        }
        Some(Self { clients, gateway, servers, bed })
    }

    /// Loads rules of `nft` into the gateway.
    pub fn rules(&self, rules: &str) {
        let path = self.bed.dir().join("rules.nft");
        std::fs::write(&path, rules).unwrap();
        self.gateway.run(["nft".as_ref(), "-f".as_ref(), path.as_os_str()]).unwrap();
    }

    /// Options of a command that sends from the clients to the servers, and `more`.
    pub fn words(&self, command: &str, ipv6: bool, more: &str) -> Vec<String> {
        let (gateway, source, destination) = if ipv6 {
            ("fd01::1", "fd01::1:0/112", "fd03::/64")
        } else {
            ("10.1.0.1", "10.1.0.128/25", "198.51.100.0/24")
        };
        let line = format!(
            "{command} --send port@{} --receive port@{} --gateway {gateway} --source {source} \
             --destination {destination} {more}",
            self.clients.name(),
            self.servers.name(),
        );
        line.split_whitespace().map(str::to_owned).collect()
    }
}
