//! Client, gateway and server, and the entries of a source NAT between them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use datapath::{Attached, Datapath, HookWish, Kind, Options};
use halfspace_testbed::{Namespace, Requirement, Testbed};
use nf_core::action::Action;
use nf_core::adjacency::Adjacency;
use nf_core::fast_path::{Direction, Entry, FastPath, MeterId, PortPolicy, Usage};
use nf_core::flow::Tracking;
use nf_core::id::{AdjacencyId, FlowId, Generation, PortId};
use nf_core::packet::MacAddr;
use nf_core::tuple::{FlowKey, Protocol, Tuple};

/// Where the server listens.
pub const SERVICE: u16 = 5201;
/// The ports a client's connections come from, and the first external port they get.
const CLIENT_PORTS: std::ops::Range<u16> = 40_000..40_032;
const EXTERNAL_PORT: u16 = 1024;
/// The same of [`mixed`], which has the external address of IPv4.
const MIXED_PORT: u16 = 2048;

/// Slots of the two next hops.
pub const TO_CLIENT: AdjacencyId = AdjacencyId(0);
pub const TO_SERVER: AdjacencyId = AdjacencyId(1);

/// The addresses of a family.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    pub client: IpAddr,
    pub external: IpAddr,
    /// What the client calls the server.
    pub server: IpAddr,
    /// What the server has.
    own: IpAddr,
    pub echo: Protocol,
}

/// Both families.
pub fn families() -> [Family; 2] {
    let v4 = ["10.0.0.2", "198.51.100.1", "198.51.100.2"].map(|it| it.parse().unwrap());
    let v6 = ["2001:db8:a::2", "2001:db8:b::1", "2001:db8:b::2"].map(|it| it.parse().unwrap());
    [(v4, Protocol::Icmp), (v6, Protocol::Icmpv6)].map(|([client, external, own], echo)| Family {
        client,
        external,
        server: own,
        own,
        echo,
    })
}

/// A client of one and a server of the other.
pub fn mixed() -> Family {
    let [v4, v6] = families();
    Family {
        server: "64:ff9b::198.51.100.2".parse().unwrap(),
        own: v4.own,
        external: v4.external,
        ..v6
    }
}

impl Family {
    /// Where the server listens.
    pub fn service(&self) -> SocketAddr {
        SocketAddr::new(self.own, SERVICE)
    }

    /// A flow's key as the client sends it, and what becomes of it.
    pub fn there(&self, port: PortId, protocol: Protocol, from: u16, to: u16) -> (FlowKey, Tuple) {
        let service = if protocol.is_echo() { 0 } else { SERVICE };
        let tuple = Tuple {
            protocol,
            src: SocketAddr::new(self.client, from),
            dst: SocketAddr::new(self.server, service),
        };
        let rewrite = Tuple {
            src: SocketAddr::new(self.external, to),
            dst: SocketAddr::new(self.own, service),
            ..tuple
        };
        (FlowKey { port, tuple }, rewrite)
    }
}

/// A laid-out lab.
pub struct Lab {
    pub client: Namespace,
    pub server: Namespace,
    pub gateway: Namespace,
    pub datapath: Datapath,
    pub attached: [Attached; 2],
    pub ports: [PortId; 2],
    // Last, so that the file system the pins are on is still there when they go.
    _bed: Testbed,
}

impl Lab {
    /// Lays out a lab; `None`, with the reason printed, where that cannot be.
    pub fn new(label: &str, wishes: [HookWish; 2]) -> Option<Self> {
        let programs = ["ip", "ping", "iperf3", "ethtool"].map(Requirement::Program);
        let needed = [&[Requirement::Root, Requirement::Bpf][..], &programs[..]].concat();
        if !halfspace_testbed::ready(&needed) {
            return None;
        }
        let bed = Testbed::new(label).unwrap();
        let [client, server, gateway] =
            ["client", "server", "gateway"].map(|name| bed.namespace(name).unwrap());
        gateway.sysctl([("net.ipv6.conf.default.disable_ipv6", "1")]).unwrap();
        bed.veths(&[((&gateway, "p0"), (&client, "c0")), ((&gateway, "p1"), (&server, "s0"))])
            .unwrap();
        let mac = |namespace: &Namespace, link| MacAddr::new(namespace.link_mac(link).unwrap());
        let [p0, p1] = ["p0", "p1"].map(|link| mac(&gateway, link));
        configure(&client, &server, [p0, p1]);
        let ports =
            ["p0", "p1"].map(|link| PortId::new(gateway.link_index(link).unwrap()).unwrap());
        let options = Options {
            kind: Kind::Ebpf,
            flows: 1024,
            pin_dir: bed.bpffs().unwrap().join("halfspace"),
            ..Options::default()
        };
        let (datapath, attached) = gateway
            .enter(|| {
                let (mut datapath, _) = Datapath::open(&options).unwrap();
                let attach = |(port, wish)| {
                    let name = if port == ports[0] { "p0" } else { "p1" };
                    let attached = datapath.attach(port, name, wish).unwrap();
                    datapath.fast_path().add_port(port, PortPolicy::default());
                    attached
                };
                let attached = [(ports[0], wishes[0]), (ports[1], wishes[1])].map(attach);
                let next_hop =
                    |port, dst_mac, src_mac| Some(Adjacency { port, dst_mac, src_mac, mtu: 1500 });
                let fast_path = datapath.fast_path();
                let to_client = next_hop(ports[0], mac(&client, "c0"), p0);
                let to_server = next_hop(ports[1], mac(&server, "s0"), p1);
                fast_path.set_adjacency(TO_CLIENT, to_client);
                fast_path.set_adjacency(TO_SERVER, to_server);
                (datapath, attached)
            })
            .unwrap();
        let mut lab = Self { client, server, gateway, datapath, attached, ports, _bed: bed };
        lab.install_services();
        Some(lab)
    }

    /// The entries of every connection the client may open to the service.
    fn install_services(&mut self) {
        let mut id = 0;
        let [v4, v6] = families();
        for (family, first) in [(v4, EXTERNAL_PORT), (v6, EXTERNAL_PORT), (mixed(), MIXED_PORT)] {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                for port in CLIENT_PORTS {
                    let external = first + (port - CLIENT_PORTS.start);
                    let there = family.there(self.ports[0], protocol, port, external);
                    install(self.datapath.fast_path(), self.ports, FlowId(id), there);
                    id += 1;
                }
            }
        }
        self.datapath.fast_path().flush();
    }

    /// What went through the service's entries from the client, or to it.
    pub fn usage(&mut self, direction: Direction) -> Usage {
        let mut sum = Usage::default();
        let mut add = |_: FlowKey, entry: Entry| {
            if entry.direction == direction && !entry.action.rewrite.protocol.is_echo() {
                sum.packets += entry.usage.packets;
                sum.bytes += entry.usage.bytes;
                sum.tcp_flags |= entry.usage.tcp_flags;
            }
        };
        self.datapath.recover(&mut add).unwrap();
        sum
    }

    /// Lets client ports be used again. A SYN on an entry that has seen a FIN is for the engine to
    /// judge, which is not here: the entries forget the flags, as those of a new flow would.
    fn forget_closed(&mut self) {
        let mut closed = Vec::new();
        let mut add = |key: FlowKey, entry: Entry| {
            let usage = Usage { tcp_flags: 0, ..entry.usage };
            closed.extend((entry.usage.tcp_flags != 0).then_some((key, Entry { usage, ..entry })));
        };
        self.datapath.recover(&mut add).unwrap();
        let fast_path = self.datapath.fast_path();
        for (key, entry) in &closed {
            fast_path.install(key, entry);
        }
        fast_path.flush();
    }

    /// Runs iperf3 from the client to the server, with more arguments.
    pub fn iperf(&mut self, family: Family, arguments: &[&str]) {
        self.forget_closed();
        let server = family.server.to_string();
        let mut daemon = self.server.spawn(["iperf3", "--server", "--one-off"]).unwrap();
        // Not from the client: the daemon serves one connection only.
        let listening = || {
            let listed = self.server.run(["ss", "--listening", "--tcp", "--numeric"]).unwrap();
            listed.stdout.contains(&format!(":{SERVICE}"))
        };
        halfspace_testbed::wait_until(Duration::from_secs(10), "iperf3", listening).unwrap();
        let command = [&["iperf3", "--client", &server][..], arguments].concat();
        self.client.run(command).unwrap();
        daemon.success(Duration::from_secs(10)).unwrap();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A data path leaves its pins behind on purpose; here the file system goes with them.
        for port in self.ports {
            self.datapath.detach(port);
        }
    }
}

/// Installs both directions of a flow.
pub fn install(
    fast_path: &mut dyn FastPath,
    ports: [PortId; 2],
    flow: FlowId,
    (key, rewrite): (FlowKey, Tuple),
) {
    let entry = |rewrite, adjacency, direction| Entry {
        action: Action { rewrite, adjacency },
        generation: Generation(0),
        flow,
        direction,
        src_mac: None,
        tracking: Tracking::default(),
        meter: MeterId::NONE,
        usage: Usage::default(),
    };
    let back = FlowKey { port: ports[1], tuple: rewrite.reversed() };
    fast_path.install(&key, &entry(rewrite, TO_SERVER, Direction::Forward));
    fast_path.install(&back, &entry(key.tuple.reversed(), TO_CLIENT, Direction::Reverse));
}

/// Addresses and routes; the gateway answers no ARP here, so its MAC addresses are told.
fn configure(client: &Namespace, server: &Namespace, gateway: [MacAddr; 2]) {
    let [p0, p1] = gateway.map(|mac| {
        let bytes = mac.as_bytes().map(|byte| format!("{byte:02x}"));
        bytes.join(":")
    });
    let ports = format!("{} {}", CLIENT_PORTS.start, CLIENT_PORTS.end - 1);
    client.sysctl([("net.ipv4.ip_local_port_range", ports.as_str())]).unwrap();
    client
        .ip([
            "address add 10.0.0.2/24 dev c0".to_owned(),
            "address add 2001:db8:a::2/64 dev c0".to_owned(),
            "route add default via 10.0.0.1".to_owned(),
            "route add default via 2001:db8:a::1".to_owned(),
            format!("neighbour replace 10.0.0.1 lladdr {p0} dev c0"),
            format!("neighbour replace 2001:db8:a::1 lladdr {p0} dev c0"),
        ])
        .unwrap();
    server
        .ip([
            "address add 198.51.100.2/24 dev s0".to_owned(),
            "address add 2001:db8:b::2/64 dev s0".to_owned(),
            format!("neighbour replace 198.51.100.1 lladdr {p1} dev s0"),
            format!("neighbour replace 2001:db8:b::1 lladdr {p1} dev s0"),
        ])
        .unwrap();
}
