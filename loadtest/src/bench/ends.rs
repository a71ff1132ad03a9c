//! Both ends of a gateway as programs with real sockets: this program's own `serve` at one end and
//! its own clients at the other.
//!
//! A gateway may use all cores. One in the kernel works wherever its packets come from, so its time
//! is taken from the clients and servers, as a proxy's is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use halfspace_testbed::{Interrupt, Namespace, Process, Testbed, wait_for_port, wait_until};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::core::{cores, keep_on};
use super::gateways::Gateway;
use super::scenario::{Site, Turn};
use super::topology::{
    Direction, FIRST_HOST, FIRST_IN_WORLD, GATEWAY_INSIDE, GATEWAY_OUTSIDE, HOSTS, PORT, Topology,
    WORLD,
};
use crate::error::Error;
use crate::frames::sink::Sources;

/// Where servers listen, whichever end they are at.
pub const SERVICE_PORT: u16 = 8000;
/// The servers behind a load balancer.
pub const TARGETS: [Ipv4Addr; 3] =
    [FIRST_HOST, Ipv4Addr::new(10, 1, 0, 129), Ipv4Addr::new(10, 1, 0, 130)];

/// The two ends' addresses on a link that leaves the gateway out (TEST-NET-1, RFC 5737).
const DIRECT_CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const DIRECT_SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
const DIRECT: &str = "direct";

/// Addresses that clients come from. A closed connection keeps its port for a minute, and an
/// address has 64,512 of them.
const CLIENTS: u32 = 16;

/// Which cores the ends are kept on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Clients on the first, servers on the second.
    Apart,
    /// Both on the second: the first is a generator's.
    Beside,
    /// Both on all, with a thread for each: whoever has work finds a core for it.
    Anywhere,
}

impl Place {
    /// The cores of clients and of servers.
    fn cores(self) -> [Vec<usize>; 2] {
        let second = 1.min(cores() - 1);
        match self {
            Self::Apart => [vec![0], vec![second]],
            Self::Beside => [vec![second], vec![second]],
            Self::Anywhere => [(0..cores()).collect(), (0..cores()).collect()],
        }
    }
}

/// How long a server may take to start, and a connection to get through the gateway.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long a client may take beyond the time that it measures.
const CLIENT_LIMIT: Duration = Duration::from_secs(15);

/// A server, and what clients need to know to reach it. Dropping it ends the server.
#[derive(Debug)]
pub struct Ends {
    direction: Direction,
    target: SocketAddr,
    /// Options of all clients that say where they come from, through the gateway and past it.
    sources: [String; 2],
    /// Where those through the gateway must be seen.
    expected: Option<String>,
    client_cores: Vec<usize>,
    _server: Process,
}

/// Which way a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Through the gateway.
    Through,
    /// Past it, over a link of its own.
    Past,
}

impl Ends {
    /// Makes hosts of both ends, which reach each other through the gateway and past it, and
    /// starts the servers at the destination.
    ///
    /// # Errors
    ///
    /// [`Error::Testbed`], with the server's own words if it does not start.
    fn start(
        bed: &Testbed,
        topology: &Topology,
        direction: Direction,
        place: Place,
    ) -> Result<Self, Error> {
        route(topology)?;
        let (clients, servers) = (topology.source(direction), topology.destination(direction));
        bed.veth((clients, DIRECT), (servers, DIRECT))?;
        clients
            .ip(addresses(DIRECT_CLIENT).map(|it| format!("address add {it}/24 dev {DIRECT}")))?;
        servers.ip([format!("address add {DIRECT_SERVER}/24 dev {DIRECT}")])?;
        let (target, first_client, listening) = match direction {
            Direction::Outward => (FIRST_IN_WORLD, FIRST_HOST, &[FIRST_IN_WORLD][..]),
            Direction::Inward(address) => (address, FIRST_IN_WORLD, &TARGETS[..]),
        };
        let listening = listening.iter().chain([&DIRECT_SERVER]);
        let listening: Vec<_> = listening.map(|address| service(*address)).collect();
        let listed: Vec<_> = listening.iter().map(ToString::to_string).collect();
        let [client_cores, server_cores] = place.cores();
        let words = ["serve", "--listen", &listed.join(","), "--threads"];
        let threads = server_cores.len().to_string();
        let words: Vec<_> = words.into_iter().chain([threads.as_str()]).collect();
        let mut process = start_on(&server_cores, servers, ourselves(servers, &words)?)?;
        servers.enter(|| {
            process.wait_ready(START_LIMIT, || {
                listening.iter().all(|address| TcpStream::connect(address).is_ok())
            })
        })??;
        let sources = [first_client, DIRECT_CLIENT]
            .map(|first| addresses(first).map(|it| it.to_string()).collect::<Vec<_>>().join(","));
        Ok(Self {
            direction,
            target: service(target),
            sources,
            expected: None,
            client_cores,
            _server: process,
        })
    }

    /// Waits until a connection gets through the gateway. Behind it, clients must be seen at
    /// `sources` from now on.
    ///
    /// # Errors
    ///
    /// [`Error::Testbed`] if none gets through.
    fn meet(&mut self, topology: &Topology, sources: Sources) -> Result<(), Error> {
        let Sources { address, length } = sources;
        self.expected = Some(format!("{address}/{length}"));
        let clients = topology.source(self.direction);
        // A load balancer may send each to another target: so often that all have had theirs, and
        // that all neighbours are known.
        for _ in 0..4 * TARGETS.len() {
            wait_for_port(clients, self.target, START_LIMIT)?;
        }
        Ok(())
    }

    /// Runs one of our own clients for a round, and reads its report. Nothing if it was
    /// interrupted.
    ///
    /// # Errors
    ///
    /// [`Error::Testbed`] with the client's own words if it fails, or if anything did not arrive
    /// as it should.
    pub fn client<R: DeserializeOwned>(
        &self,
        topology: &Topology,
        way: Way,
        words: &[&str],
        turn: &Turn<'_>,
    ) -> Result<Option<R>, Error> {
        let [through, past] = &self.sources;
        let (target, sources, expected) = match way {
            Way::Through => (self.target, through, self.expected.as_deref()),
            Way::Past => (service(DIRECT_SERVER), past, None),
        };
        let (target, threads) = (target.to_string(), self.client_cores.len().to_string());
        let (warm_up, duration) = (milliseconds(turn.ramp), milliseconds(turn.duration));
        let mut words = words.to_vec();
        words.extend(["--target", &target, "--source", sources, "--threads", &threads]);
        words.extend(["--warm-up", &warm_up, "--duration", &duration, "--json"]);
        words.extend(expected.into_iter().flat_map(|expected| ["--expect-source", expected]));
        let clients = topology.source(self.direction);
        let client = start_on(&self.client_cores, clients, ourselves(clients, &words)?)?;
        let said = report_of(client, turn.ramp + turn.duration, turn.interrupt)?;
        let Some(said) = said else { return Ok(None) };
        serde_json::from_str(&said).map(Some).map_err(|error| Error::System {
            action: "read the client's report",
            source: error.into(),
        })
    }
}

/// Both ends and a gateway between them. Fields are in the order in which they must go.
#[derive(Debug)]
pub struct Joined {
    /// The ends.
    pub ends: Ends,
    /// The gateway.
    pub gateway: Gateway,
    /// Where they all are.
    pub topology: Topology,
}

impl Joined {
    /// Sets all of it up: servers first, because a proxy may look for its targets, then what
    /// `gateway` says, until connections get through.
    ///
    /// # Errors
    ///
    /// Whatever could not be set up.
    pub fn set_up<'a>(
        site: Site<'a>,
        name: &str,
        (direction, place): (Direction, Place),
        gateway: impl FnOnce(Site<'a>, &Topology) -> Result<Gateway, Error>,
    ) -> Result<Self, Error> {
        let topology = Topology::lay(site.bed, name, 1)?;
        let mut ends = Ends::start(site.bed, &topology, direction, place)?;
        let gateway = gateway(site, &topology)?;
        ends.meet(&topology, gateway.sources)?;
        Ok(Self { ends, gateway, topology })
    }

    /// Runs a client through the gateway, as [`Ends::client`] does.
    ///
    /// # Errors
    ///
    /// As there, and [`Error::Ended`] if the gateway's process is gone.
    pub fn through<R: DeserializeOwned>(
        &self,
        words: &[&str],
        turn: &Turn<'_>,
    ) -> Result<Option<R>, Error> {
        let report = self.ends.client(&self.topology, Way::Through, words, turn)?;
        self.gateway.check()?;
        Ok(report)
    }

    /// Runs a client past the gateway, for the second result, and then one through it.
    ///
    /// # Errors
    ///
    /// As [`Joined::through`].
    pub fn through_and_past<R: DeserializeOwned>(
        &self,
        words: &[&str],
        turn: &Turn<'_>,
    ) -> Result<Option<(R, R)>, Error> {
        let past = self.ends.client(&self.topology, Way::Past, words, turn)?;
        let through = self.through(words, turn)?;
        Ok(through.zip(past))
    }
}

/// What a client's report says of processor time.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct CpuSeconds {
    machine_busy: Option<f64>,
}

impl CpuSeconds {
    /// Seconds that all processors together were busy while it measured.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the kernel does not tell.
    pub fn busy(self) -> Result<f64, Error> {
        self.machine_busy.ok_or_else(|| Error::Missing("/proc/stat cannot be read".to_owned()))
    }
}

/// Makes hosts of both ends: programs there can use all their addresses, and reach those at the
/// other end through the gateway.
///
/// # Errors
///
/// [`Error::Testbed`].
pub fn route(topology: &Topology) -> Result<(), Error> {
    let Topology { hosts, world, .. } = topology;
    hosts.ip([format!("route add default via {GATEWAY_INSIDE} dev {PORT}")])?;
    world.ip([
        format!("route add local {WORLD} dev lo"),
        format!("route add {HOSTS} via {GATEWAY_OUTSIDE} dev {PORT}"),
    ])?;
    for end in [hosts, world] {
        end.sysctl([("net.ipv4.ip_local_port_range", "1024 65535")])?;
    }
    Ok(())
}

/// Where clients are, from the first on.
fn addresses(first: Ipv4Addr) -> impl Iterator<Item = Ipv4Addr> {
    (0..CLIENTS).map(move |n| Ipv4Addr::from_bits(first.to_bits() + n))
}

fn service(address: Ipv4Addr) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(address), SERVICE_PORT)
}

fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// This program with other arguments.
///
/// # Errors
///
/// [`Error::System`] if it cannot be found any more.
pub fn ourselves(namespace: &Namespace, arguments: &[&str]) -> Result<Command, Error> {
    let own = std::env::current_exe()
        .map_err(|source| Error::System { action: "find our own executable", source })?;
    let mut command = namespace.command(own);
    command.args(arguments);
    Ok(command)
}

/// Starts a program on some of the cores.
///
/// # Errors
///
/// [`Error::System`] if it may not run there, [`Error::Testbed`].
pub fn start_on(
    cores: &[usize],
    namespace: &Namespace,
    command: Command,
) -> Result<Process, Error> {
    // A child starts where the thread is that makes it.
    let started = std::thread::scope(|scope| {
        let starting = || {
            keep_on(cores)?;
            Ok(namespace.spawn_command(command)?)
        };
        scope.spawn(starting).join()
    });
    started.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What a client that measures for `duration` has said when it ends. Nothing if it was interrupted.
///
/// # Errors
///
/// [`Error::Testbed`] with the client's own words if it fails, or does not end.
pub fn report_of(
    mut client: Process,
    duration: Duration,
    interrupt: &Interrupt,
) -> Result<Option<String>, Error> {
    let over = || interrupt.is_raised() || !client.is_running();
    // Whether it ran into the limit shows below.
    let _ = wait_until(duration + CLIENT_LIMIT, "the client to end", over);
    if interrupt.is_raised() {
        return Ok(None);
    }
    Ok(Some(client.success(Duration::ZERO)?.stdout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_that_are_apart_share_no_core_unless_there_is_only_one() {
        let [clients, servers] = Place::Apart.cores();
        assert_eq!((clients.len(), servers.len()), (1, 1));
        assert_eq!(clients != servers, cores() > 1);
        // Lane's generator keeps the first.
        assert_eq!(Place::Beside.cores(), [servers.clone(), servers]);
        assert!(Place::Anywhere.cores().iter().all(|it| it.len() == cores()));
    }

    #[test]
    fn clients_of_either_end_are_distinct_and_within_its_network() {
        let hosts: Vec<_> = addresses(FIRST_HOST).collect();
        assert_eq!(hosts.len(), 16);
        assert_eq!(hosts[15], Ipv4Addr::new(10, 1, 0, 143));
        assert!(!addresses(DIRECT_CLIENT).any(|client| client == DIRECT_SERVER));
    }
}
