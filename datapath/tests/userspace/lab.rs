//! A client, a gateway and a server, each in its own namespace, and a thread that runs the
//! gateway's data path with entries installed by hand.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use datapath::inject::Injected;
use datapath::userspace::Userspace;
use datapath::{HookWish, Notice, Received, Statistics};
use nf_core::action::Action;
use nf_core::adjacency::Adjacency;
use nf_core::fast_path::{Direction, Entry, Event, FastPath, MeterId, PortPolicy, TcpEvent, Usage};
use nf_core::flow::Tracking;
use nf_core::id::{AdjacencyId, FlowId, Generation, PortId};
use nf_core::packet::MacAddr;
use nf_core::tuple::{FlowKey, Protocol, Tuple};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::netns::{Netns, uninterrupted};

const CLIENT_MAC: &str = "02:00:00:00:01:02";
const CLIENT_SIDE_MAC: &str = "02:00:00:00:01:01";
const SERVER_MAC: &str = "02:00:00:00:02:02";
const SERVER_SIDE_MAC: &str = "02:00:00:00:02:01";

/// Longest that a gateway runs, so that a test that hangs ends.
const LONGEST_RUN: Duration = Duration::from_mins(2);

/// One conversation: as the client sees it, and the address the server sees instead.
#[derive(Clone, Copy)]
pub struct Conversation {
    pub protocol: Protocol,
    pub client: SocketAddr,
    pub external: SocketAddr,
    pub server: SocketAddr,
}

impl Conversation {
    pub fn ipv4(protocol: Protocol) -> Self {
        let at = |text: &str| text.parse().expect("an address");
        let (client, external) = (at("10.1.0.2:40000"), at("10.2.0.1:50000"));
        Self { protocol, client, external, server: at("10.2.0.2:9000") }
    }

    pub fn ipv6(protocol: Protocol) -> Self {
        let at = |text: &str| text.parse().expect("an address");
        let (client, external) = (at("[fd01::2]:40000"), at("[fd02::1]:50000"));
        Self { protocol, client, external, server: at("[fd02::2]:9000") }
    }

    pub fn both_families(protocol: Protocol) -> [Self; 2] {
        [Self::ipv4(protocol), Self::ipv6(protocol)]
    }

    /// The addresses of what the client sends.
    pub fn asked(&self) -> Tuple {
        Tuple { protocol: self.protocol, src: self.client, dst: self.server }
    }

    /// The same as the server sees it.
    pub fn translated(&self) -> Tuple {
        Tuple { src: self.external, ..self.asked() }
    }

    /// A client's socket, connected, and the server's, bound.
    pub fn udp_sockets(&self, lab: &Lab) -> (UdpSocket, UdpSocket) {
        let (client, server) = (self.client, self.server);
        let bound = move |address| {
            let socket = UdpSocket::bind(address).expect("the address is there");
            socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
            socket
        };
        let server_socket = lab.server.run(move || bound(server));
        let client_socket = lab.client.run(move || bound(client));
        client_socket.connect(server).expect("a route to the server");
        (client_socket, server_socket)
    }
}

/// The three namespaces. The client's neighbours are fixed: no one answers ARP here.
pub struct Lab {
    pub client: Netns,
    pub gateway: Netns,
    pub server: Netns,
    pub sides: Sides,
}

impl Lab {
    pub fn new() -> Self {
        let (client, gateway, server) =
            (Netns::new("client"), Netns::new("gateway"), Netns::new("server"));
        client.veth(("c0", CLIENT_MAC), &gateway, ("g0", CLIENT_SIDE_MAC));
        server.veth(("s0", SERVER_MAC), &gateway, ("g1", SERVER_SIDE_MAC));
        client.ip(&["address", "add", "10.1.0.2/24", "dev", "c0"]);
        client.ip(&["address", "add", "fd01::2/64", "dev", "c0", "nodad"]);
        server.ip(&["address", "add", "10.2.0.2/24", "dev", "s0"]);
        server.ip(&["address", "add", "fd02::2/64", "dev", "s0", "nodad"]);
        for (address, link) in [("10.1.0.1", CLIENT_SIDE_MAC), ("fd01::1", CLIENT_SIDE_MAC)] {
            client.ip(&["neighbour", "add", address, "lladdr", link, "dev", "c0"]);
            client.ip(&["route", "add", "default", "via", address, "dev", "c0"]);
        }
        for address in ["10.2.0.1", "fd02::1"] {
            server.ip(&["neighbour", "add", address, "lladdr", SERVER_SIDE_MAC, "dev", "s0"]);
        }
        let sides = Sides { client_port: gateway.port("g0"), server_port: gateway.port("g1") };
        Self { client, gateway, server, sides }
    }

    /// Starts a gateway on both ports that translates these conversations.
    pub fn start(&self, conversations: &[Conversation]) -> Gateway {
        self.start_with(conversations, |_| ())
    }

    /// As [`Self::start`], with something done to the data path first.
    pub fn start_with(
        &self,
        conversations: &[Conversation],
        prepare: impl FnOnce(&mut Userspace) + Send + 'static,
    ) -> Gateway {
        let sides = self.sides;
        let conversations = conversations.to_vec();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (started, wait) = mpsc::channel();
        let thread = self.gateway.spawn(move || {
            let mut userspace = sides.open();
            sides.install(&mut userspace, &conversations);
            prepare(&mut userspace);
            started.send(()).expect("the test waits");
            serve(userspace, &conversations, sides.client_port, &stopped)
        });
        wait.recv().expect("the gateway starts");
        Gateway { stop, thread: Some(thread) }
    }
}

/// A running gateway.
pub struct Gateway {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Outcome>>,
}

impl Gateway {
    /// Stops it once nothing has come in for a moment.
    pub fn stop(mut self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("stopped once");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // A test that failed must not leave the thread behind.
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What a gateway did.
#[derive(Debug)]
pub struct Outcome {
    pub frames: u64,
    pub punts: u64,
    pub events: Vec<TcpEvent>,
    pub notices: Vec<Notice>,
    pub statistics: Statistics,
    pub forwarding: Injected,
    /// Of each conversation, from the client.
    pub usage: Vec<Usage>,
}

impl Outcome {
    /// Every frame ended in one verdict, and every punt was handed over.
    pub fn assert_adds_up(&self) {
        let Statistics { forwarded, passed, tapped, ref punted, ref dropped, .. } = self.statistics;
        let (punted, dropped) = (punted.iter().sum::<u64>(), dropped.iter().sum::<u64>());
        assert_eq!(forwarded + passed + tapped + punted + dropped, self.frames, "{self:?}");
        assert_eq!(punted + tapped, self.punts, "{self:?}");
        let failed = self.statistics.failed_forwards;
        assert_eq!(self.forwarding.sent + failed, forwarded, "{self:?}");
    }
}

/// How the gateway reaches the two others: slots 0 and 1.
#[derive(Clone, Copy)]
pub struct Sides {
    pub client_port: PortId,
    pub server_port: PortId,
}

impl Sides {
    /// Attaches both ports.
    pub fn open(self) -> Userspace {
        let mut userspace = Userspace::open().expect("root may");
        for (port, name) in [(self.client_port, "g0"), (self.server_port, "g1")] {
            userspace.attach(port, name, HookWish::Auto).expect("it is there");
            userspace.add_port(port, PortPolicy::default());
        }
        assert!(userspace.take_notices().is_empty());
        userspace
    }

    pub fn to_server(self) -> Adjacency {
        let (dst_mac, src_mac) = (mac(SERVER_MAC), mac(SERVER_SIDE_MAC));
        Adjacency { port: self.server_port, dst_mac, src_mac, mtu: 1500 }
    }

    fn to_client(self) -> Adjacency {
        let (dst_mac, src_mac) = (mac(CLIENT_MAC), mac(CLIENT_SIDE_MAC));
        Adjacency { port: self.client_port, dst_mac, src_mac, mtu: 1500 }
    }

    /// Installs both directions of each conversation. The n-th one's flow is n.
    pub fn install(self, fast_path: &mut dyn FastPath, conversations: &[Conversation]) {
        let (to_server, to_client) = (AdjacencyId(0), AdjacencyId(1));
        fast_path.set_adjacency(to_server, Some(self.to_server()));
        fast_path.set_adjacency(to_client, Some(self.to_client()));
        for (number, conversation) in (0..).zip(conversations) {
            let mut half = |port, tuple, rewrite, adjacency, direction| {
                let entry = Entry {
                    action: Action { rewrite, adjacency },
                    generation: Generation::default(),
                    flow: FlowId(number),
                    direction,
                    src_mac: None,
                    tracking: Tracking::default(),
                    meter: MeterId::NONE,
                    usage: Usage::default(),
                };
                fast_path.install(&FlowKey { port, tuple }, &entry);
            };
            let (asked, translated) = (conversation.asked(), conversation.translated());
            half(self.client_port, asked, translated, to_server, Direction::Forward);
            let (answer, delivered) = (translated.reversed(), asked.reversed());
            half(self.server_port, answer, delivered, to_client, Direction::Reverse);
        }
    }
}

fn serve(
    mut userspace: Userspace,
    conversations: &[Conversation],
    client_port: PortId,
    stop: &AtomicBool,
) -> Outcome {
    let started = Instant::now();
    let (mut frames, mut punts) = (0, 0);
    let (mut events, mut notices) = (Vec::new(), Vec::new());
    loop {
        let mut deliver = |_: &mut dyn FastPath, received: Received<'_>| match received {
            Received::Frame { .. } => punts += 1,
            Received::Event(Event::Tcp(event)) => events.push(event),
            Received::Event(event) => panic!("{event:?}"),
        };
        frames += userspace.receive(256, &mut deliver) as u64;
        notices.extend(userspace.take_notices());
        assert!(started.elapsed() < LONGEST_RUN, "the test takes too long");
        let mut fds = [PollFd::new(userspace.poll_fd(), PollFlags::POLLIN)];
        let quiet = poll(&mut fds, PollTimeout::from(20_u8)) == Ok(0);
        if quiet && stop.load(Ordering::Relaxed) {
            break;
        }
    }
    let usage = conversations
        .iter()
        .map(|conversation| {
            let key = FlowKey { port: client_port, tuple: conversation.asked() };
            userspace.usage(&key).expect("it was installed")
        })
        .collect();
    let (statistics, forwarding) = (userspace.statistics(), userspace.forwarding());
    Outcome { frames, punts, events, notices, statistics, forwarding, usage }
}

/// Waits until frames have come in.
pub fn wait(userspace: &Userspace) {
    let mut fds = [PollFd::new(userspace.poll_fd(), PollFlags::POLLIN)];
    let woken = uninterrupted(|| Ok(poll(&mut fds, PollTimeout::from(5000_u16))?));
    assert_eq!(woken.expect("a descriptor that is open"), 1, "{userspace:?}");
}

fn mac(text: &str) -> MacAddr {
    let mut bytes = [0; 6];
    for (byte, digits) in bytes.iter_mut().zip(text.split(':')) {
        *byte = u8::from_str_radix(digits, 16).expect("two hexadecimal digits");
    }
    MacAddr::new(bytes)
}
