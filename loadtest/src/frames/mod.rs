//! Raw test frames: which flows there are and what their frames look like, the twin of
//! `bpf/frame.h`; and, below, whoever writes, sends, receives or relays such frames.

pub mod build;
pub mod generator;
#[cfg(test)]
pub mod lab;
mod live;
pub mod neighbour;
pub mod packet_socket;
pub mod place;
pub mod relay;
mod runner;
pub mod sender;
pub mod sink;
pub mod stage;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use aya::Pod;

/// Smallest frame in bytes, Ethernet header included, check sequence not.
pub const MIN_FRAME: u32 = 60;

/// Largest frame: an MTU of 1500 bytes.
pub const MAX_FRAME: u32 = 1514;

/// Bytes of an Ethernet frame that neither this crate nor `tcpdump` counts: the check sequence.
pub const CHECK_SEQUENCE: u32 = 4;

/// Ports that a client has: 1024 to 65535, all but the system's (RFC 6335, RFC 4814).
pub const PORTS: u32 = 65536 - FIRST_PORT;

const FIRST_PORT: u32 = 1024;

/// Bytes of the marker at the start of every payload.
pub const MARKER: u32 = 18;

/// Most sizes that a mix repeats.
const MAX_SIZES: usize = 12;

/// What the frames carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// UDP.
    #[default]
    Udp,
    /// TCP, without a stack behind it: flags and numbers fit a connection that never gets on.
    Tcp,
}

impl Protocol {
    /// The number that IP headers have (IANA).
    pub fn number(self) -> u8 {
        match self {
            Self::Udp => 17,
            Self::Tcp => 6,
        }
    }

    /// Bytes of the header, without options.
    pub fn header(self) -> u32 {
        match self {
            Self::Udp => 8,
            Self::Tcp => 20,
        }
    }
}

/// Frame sizes that are sent in turn, in bytes without the check sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    sizes: [u32; MAX_SIZES],
    count: usize,
}

impl Sizes {
    /// Simple IMIX: of twelve frames seven are small, four of 570 and one of 1518 bytes, check
    /// sequence included. Spread, so that no burst is of one size.
    pub const IMIX: Self =
        Self { sizes: [60, 566, 60, 60, 566, 60, 1514, 60, 566, 60, 566, 60], count: 12 };

    /// All of one size.
    pub const fn one(size: u32) -> Self {
        let mut sizes = [0; MAX_SIZES];
        sizes[0] = size;
        Self { sizes, count: 1 }
    }

    /// Those sizes, one after the other.
    pub fn get(&self) -> &[u32] {
        &self.sizes[..self.count]
    }

    /// The largest.
    pub fn largest(&self) -> u32 {
        self.get().iter().copied().max().unwrap_or(MIN_FRAME)
    }

    /// The same with none smaller than `least`: headers and marker must fit.
    #[must_use]
    pub fn at_least(mut self, least: u32) -> Self {
        for size in &mut self.sizes[..self.count] {
            *size = (*size).max(least);
        }
        self
    }
}

/// Which flows there are: flow `i` goes from client `i % clients` to server `i % servers`, and the
/// client's ports come in an order that looks random. Each number is another source address and
/// port, up to 64,512 times `clients`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Flows that a generator sends in turn unless told otherwise.
    pub flows: u32,
    /// Number of client addresses, from `first_client` on.
    pub clients: u32,
    /// Address of the first client.
    pub first_client: IpAddr,
    /// Number of server addresses, from `first_server` on.
    pub servers: u32,
    /// Address of the first server, of the same family.
    pub first_server: IpAddr,
    /// UDP or TCP port of all servers.
    pub server_port: u16,
    /// What the frames carry.
    pub protocol: Protocol,
    /// Frame sizes, from [`Plan::least_size`] to [`MAX_FRAME`].
    pub sizes: Sizes,
    /// MAC address that the frames come from.
    pub source_mac: [u8; 6],
    /// MAC address of the gateway.
    pub destination_mac: [u8; 6],
    /// What the order of ports follows from.
    pub seed: u64,
    /// Every how many-th frame carries the time instead of its flow; zero for none.
    pub sample_interval: u32,
}

/// A flow's addresses and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Who sends.
    pub source: SocketAddr,
    /// Who receives.
    pub destination: SocketAddr,
}

impl Default for Plan {
    /// One flow of the smallest UDP frames, from nowhere to nowhere.
    fn default() -> Self {
        Self {
            flows: 1,
            clients: 1,
            first_client: Ipv4Addr::UNSPECIFIED.into(),
            servers: 1,
            first_server: Ipv4Addr::UNSPECIFIED.into(),
            // RFC 863: whoever should get such a frame by mistake discards it too.
            server_port: 9,
            protocol: Protocol::Udp,
            sizes: Sizes::one(MIN_FRAME),
            source_mac: [0; 6],
            destination_mac: [0; 6],
            seed: 0,
            sample_interval: 0,
        }
    }
}

impl Plan {
    /// How many flows differ from each other.
    pub fn distinct(&self) -> u64 {
        u64::from(self.clients) * u64::from(PORTS)
    }

    /// The smallest frame that has room for the headers and the marker.
    pub fn least_size(&self) -> u32 {
        (self.transport_offset() + self.protocol.header() + MARKER).max(MIN_FRAME)
    }

    /// The size of a TCP frame without payload.
    pub fn bare_size(&self) -> u32 {
        (self.transport_offset() + Protocol::Tcp.header()).max(MIN_FRAME)
    }

    /// Where the UDP or TCP header begins.
    pub fn transport_offset(&self) -> u32 {
        if self.first_client.is_ipv6() { 14 + 40 } else { 14 + 20 }
    }

    /// Addresses and ports of flow `number`.
    pub fn tuple(&self, number: u32) -> Tuple {
        let client = number % self.clients;
        let port = self.client_port(client, number / self.clients);
        let source = nth_address(self.first_client, client);
        let destination = nth_address(self.first_server, number % self.servers);
        Tuple {
            source: SocketAddr::new(source, port),
            destination: SocketAddr::new(destination, self.server_port),
        }
    }

    /// The twin of the program's: three rounds of a Feistel network over 252 times 256.
    fn client_port(&self, client: u32, n: u32) -> u16 {
        let keys = self.port_keys();
        let scramble = |value: u32, key: u32| ((value ^ key).wrapping_mul(0x9e37_79b1)) >> 16;
        let (mut left, mut right) = (n >> 8, n & 255);
        right = right.wrapping_add(scramble(left.wrapping_add(client), keys[0])) & 255;
        left = (left + ((scramble(right, keys[1]) * 252) >> 16)) % 252;
        right = right.wrapping_add(scramble(left, keys[2])) & 255;
        (FIRST_PORT + (left << 8 | right)) as u16
    }

    /// Three keys from the seed, by `SplitMix64`.
    fn port_keys(&self) -> [u32; 3] {
        let mut state = self.seed;
        [(); 3].map(|()| -> u32 {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut value = state;
            value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (value ^ (value >> 31)) as u32
        })
    }

    /// The one that is for this plan's frames: UDP over IPv4, over IPv6, TCP over either.
    fn pick<T>(&self, [udp4, udp6, tcp4, tcp6]: [T; 4]) -> T {
        match (self.protocol, self.first_client.is_ipv6()) {
            (Protocol::Udp, false) => udp4,
            (Protocol::Udp, true) => udp6,
            (Protocol::Tcp, false) => tcp4,
            (Protocol::Tcp, true) => tcp6,
        }
    }

    fn constants(&self) -> Constants {
        let (client_prefix, first_client) = halves(self.first_client);
        let (server_prefix, first_server) = halves(self.first_server);
        let mut sizes = [0; MAX_SIZES];
        sizes[..self.sizes.count].copy_from_slice(self.sizes.get());
        Constants {
            ipv6: self.first_client.is_ipv6().into(),
            protocol: self.protocol.number().into(),
            clients: self.clients,
            client_prefix,
            first_client,
            servers: self.servers,
            server_prefix,
            first_server,
            server_port: self.server_port.into(),
            port_keys: self.port_keys(),
            size_count: self.sizes.count as u32,
            sizes,
            sample_interval: self.sample_interval,
            source_mac: self.source_mac,
            destination_mac: self.destination_mac,
        }
    }
}

/// `struct plan` of the programs.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Constants {
    ipv6: u32,
    protocol: u32,
    clients: u32,
    client_prefix: [u32; 3],
    first_client: u32,
    servers: u32,
    server_prefix: [u32; 3],
    first_server: u32,
    server_port: u32,
    port_keys: [u32; 3],
    size_count: u32,
    sizes: [u32; MAX_SIZES],
    sample_interval: u32,
    destination_mac: [u8; 6],
    source_mac: [u8; 6],
}

// SAFETY: integers only, no padding (the two MAC addresses are 12 bytes), any bit pattern is valid.
unsafe impl Pod for Constants {}

/// The address `n` behind `first`. Only the last 32 bits count up.
fn nth_address(first: IpAddr, n: u32) -> IpAddr {
    match first {
        IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits().wrapping_add(n)).into(),
        IpAddr::V6(first) => {
            let low = (first.to_bits() as u32).wrapping_add(n);
            let high = first.to_bits() & !u128::from(u32::MAX);
            Ipv6Addr::from_bits(high | u128::from(low)).into()
        }
    }
}

/// An address as four words in network byte order, IPv4 in the last.
fn words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(address) => [0, 0, 0, address.to_bits().to_be()],
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            [96, 64, 32, 0].map(|shift| ((bits >> shift) as u32).to_be())
        }
    }
}

/// The first three words in network byte order, and the last as a number.
fn halves(address: IpAddr) -> ([u32; 3], u32) {
    let [a, b, c, low] = words(address);
    ([a, b, c], u32::from_be(low))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_client_uses_every_port_once_before_it_uses_one_twice() {
        for (seed, client) in [(0, 0), (1, 0), (0xdead_beef, 41), (u64::MAX, u32::MAX)] {
            let plan = Plan { seed, ..Plan::default() };
            let mut seen = vec![false; PORTS as usize];
            for n in 0..PORTS {
                let port = u32::from(plan.client_port(client, n));
                let first = !std::mem::replace(&mut seen[(port - FIRST_PORT) as usize], true);
                assert!(first, "seed {seed}, client {client}: port {port} again at {n}");
            }
        }
    }

    #[test]
    fn flows_differ_in_source_and_use_all_servers_alike() {
        let plan = Plan {
            clients: 5,
            first_client: "10.0.0.254".parse().unwrap(),
            servers: 3,
            first_server: "198.51.100.1".parse().unwrap(),
            seed: 7,
            ..Plan::default()
        };
        assert_eq!(plan.distinct(), 322_560);
        let mut sources = HashSet::new();
        let mut servers = [0; 3];
        for number in 0..322_560 {
            let tuple = plan.tuple(number);
            assert!(sources.insert(tuple.source), "flow {number}: {tuple:?}");
            let IpAddr::V4(server) = tuple.destination.ip() else { panic!("{tuple:?}") };
            servers[usize::from(server.octets()[3]) - 1] += 1;
        }
        assert_eq!(servers, [107_520; 3]);
    }

    /// RFC 4814: uniformly distributed. Of 16 equal parts of the range each gets its share of the
    /// first thousand ports, within what chance allows (five standard deviations).
    #[test]
    fn ports_are_spread_over_the_range_from_the_start() {
        for seed in 0..20 {
            let plan = Plan { seed, ..Plan::default() };
            let mut parts = [0_i32; 16];
            for n in 0..1000 {
                let port = u32::from(plan.client_port(0, n)) - FIRST_PORT;
                parts[(port / (PORTS / 16)) as usize] += 1;
            }
            for part in parts {
                assert!((part - 62).abs() < 40, "seed {seed}: {parts:?}");
            }
        }
    }

    #[test]
    fn another_seed_is_another_order() {
        let order = |seed| {
            let plan = Plan { seed, ..Plan::default() };
            (0..64).map(|n| plan.client_port(0, n)).collect::<Vec<_>>()
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }

    #[test]
    fn addresses_count_up_in_their_last_32_bits() {
        let v4: IpAddr = "10.0.0.255".parse().unwrap();
        assert_eq!(nth_address(v4, 2), "10.0.1.1".parse::<IpAddr>().unwrap());
        let v6: IpAddr = "2001:db8:1::ffff".parse().unwrap();
        assert_eq!(nth_address(v6, 1), "2001:db8:1::1:0".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn the_simple_mix_is_seven_four_and_one() {
        let sizes = Sizes::IMIX.get();
        let count = |size| sizes.iter().filter(|&&s| s + CHECK_SEQUENCE == size).count();
        assert_eq!([count(64), count(570), count(1518)], [7, 4, 1]);
        assert_eq!(sizes.len(), 12);
    }

    #[test]
    fn the_least_size_has_room_for_headers_and_marker() {
        let v6 = "2001:db8::1".parse().unwrap();
        let (udp, tcp) = (Protocol::Udp, Protocol::Tcp);
        let least = |protocol, first_client| {
            Plan { first_client, protocol, ..Plan::default() }.least_size()
        };
        let v4 = Ipv4Addr::UNSPECIFIED.into();
        assert_eq!(
            [least(udp, v4), least(udp, v6), least(tcp, v4), least(tcp, v6)],
            [60, 80, 72, 92]
        );
    }
}
