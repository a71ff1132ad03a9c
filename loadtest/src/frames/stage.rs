//! Both ends of a measurement with raw frames around a gateway: the clients' end sends, the
//! servers' end receives and may answer. `packets` and `capacity` share it.

use std::net::IpAddr;
use std::time::Duration;

use aya::programs::XdpMode;
use halfspace_testbed::wait_until;
use ipnet::IpNet;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::build::TcpFlags;
use super::neighbour::{GatewayMac, resolve};
use super::packet_socket::PacketSocket;
use super::place::{Link, Place};
use super::sender::{Choice, Engine, Order, Sender, choose};
use super::sink::{Counters, Expected, Sink, Sources, Tracking};
use super::{Plan, Protocol, Sizes, Tuple};
use crate::error::Error;
use crate::guard::Guard;

/// How long the last frames of a pass may take to arrive.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often every flow gets a slow frame until all arrive.
const PASSES: u32 = 5;

/// Where the ends are, and what flows there are between them.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Interface that sends, `eth0` or `eth0@namespace`
    #[arg(long, value_name = "IFACE[@NETNS]")]
    pub send: Place,
    /// Gateway's MAC address, or `auto` to resolve --gateway by ARP or NDP
    #[arg(long, value_name = "MAC|auto", default_value = "auto")]
    pub gateway_mac: GatewayMac,
    /// Gateway's address on the sending interface's network
    #[arg(long, value_name = "IP")]
    pub gateway: Option<IpAddr>,
    /// Clients' addresses; the gateway must be able to resolve them and must not be one of them
    #[arg(long, value_name = "CIDR")]
    pub source: IpNet,
    /// Servers' addresses, which the gateway must route to the receiving interface
    #[arg(long, value_name = "CIDR")]
    pub destination: IpNet,
    /// UDP or TCP port of the servers
    #[arg(long, default_value_t = 9)]
    pub port: u16,
    /// What the frames carry
    #[arg(long, value_enum, default_value_t)]
    pub protocol: Protocol,
    /// Where frames may come from when they arrive, behind a NAT its addresses; all else is broken
    #[arg(long, value_name = "CIDR")]
    pub expect_source: Option<IpNet>,
    /// How to send
    #[arg(long, value_enum, default_value_t)]
    pub engine: Engine,
    /// Seed of the clients' ports (RFC 4814), for a repetition; another every time by default
    #[arg(long)]
    pub seed: Option<u64>,
    /// CPU that sends
    #[arg(long, value_name = "N")]
    pub cpu: Option<usize>,
    #[command(flatten)]
    pub guard: Guard,
}

/// What a command needs of the stage.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// Flows at one time.
    pub flows: u32,
    /// All flows there may be, one after the other: their clients are used from the start.
    pub distinct: u32,
    /// Frame sizes, made larger where headers and marker need it.
    pub sizes: Sizes,
    /// Every how many-th frame carries the time; zero for none.
    pub sample_interval: u32,
    /// What the far end keeps.
    pub tracking: Tracking,
}

/// Both ends, set up.
pub struct Stage {
    /// Which flows there are.
    pub plan: Plan,
    /// How frames are sent.
    pub choice: Choice,
    sender: Sender,
    send: Place,
    cpu: Option<usize>,
    far: Option<Far>,
    /// Drops and checks answers, before the clients' stack would refuse them.
    near: Option<Sink>,
}

/// The servers' end.
struct Far {
    place: Place,
    sink: Sink,
    native: bool,
    /// Sends answers where live frames cannot.
    socket: Option<PacketSocket>,
}

impl Stage {
    /// Sets both ends up; without `receive` nobody looks what arrives.
    ///
    /// # Errors
    ///
    /// [`Error::Outside`], [`Error::Usage`], and whatever an interface refuses.
    pub fn open(options: &Options, receive: Option<&Place>, needs: &Needs) -> Result<Self, Error> {
        let plan = options.plan(needs)?;
        let answers = matches!(needs.tracking, Tracking::Answerable(_));
        let send = &options.send;
        if answers && receive == Some(send) {
            return Err(Error::Usage(
                "answers need two interfaces: --send and --receive must differ".to_owned(),
            ));
        }
        let far =
            receive.map(|place| Far::open(options, place, &plan, needs.tracking)).transpose()?;
        let name = &send.interface;
        let (sender, choice, near) = send.namespace.enter(|| {
            let link = Link::find(name)?;
            let near = answers.then(|| {
                let expected = Expected {
                    tracking: Tracking::Flows(needs.flows),
                    backwards: true,
                    ..Expected::of(&plan)
                };
                attach(&expected, name).map(|(sink, _)| sink)
            });
            let near = near.transpose()?;
            let (sender, choice) = Sender::open(options.engine, &plan, name, link)?;
            Ok::<_, Error>((sender, choice, near))
        })??;
        Ok(Self { plan, choice, sender, send: send.clone(), cpu: options.cpu, far, near })
    }

    /// Whether the far end's program is run by the driver, or later by the stack; nothing
    /// without a far end.
    pub fn receives_natively(&self) -> Option<bool> {
        self.far.as_ref().map(|far| far.native)
    }

    /// Sends as ordered, unless `stop` ends it before.
    ///
    /// # Errors
    ///
    /// What the sender meets.
    pub fn send(&self, order: &Order, stop: impl Fn() -> bool + Send) -> Result<(), Error> {
        self.send.namespace.enter(|| {
            if let Some(cpu) = self.cpu {
                pin(cpu)?;
            }
            self.sender.obey(order, stop)
        })?
    }

    /// Ends an order from another thread, at once. Its `stop` must hold by then.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn halt(&self) -> Result<(), Error> {
        self.sender.halt()
    }

    /// How long the last order took that had a rate.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn took(&self) -> Result<Duration, Error> {
        self.sender.took()
    }

    /// Frames sent so far.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn sent(&self) -> Result<u64, Error> {
        self.sender.sent()
    }

    /// What arrived at the servers' end so far; nothing if nobody looks.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn arrived(&self) -> Result<Counters, Error> {
        self.far.as_ref().map_or_else(|| Ok(Counters::default()), |far| far.sink.read())
    }

    /// What came back to the clients' end so far.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn returned(&self) -> Result<Counters, Error> {
        self.near.as_ref().map_or_else(|| Ok(Counters::default()), Sink::read)
    }

    /// The far end, if there is one.
    pub fn sink(&self) -> Option<&Sink> {
        self.far.as_ref().map(|far| &far.sink)
    }

    /// Sends one frame each of the order's flows, and says how many arrived in good time.
    ///
    /// # Errors
    ///
    /// What the sender meets.
    pub fn pass(&self, order: &Order, stop: impl Fn() -> bool + Send) -> Result<u64, Error> {
        let before = self.arrived()?.valid;
        self.send(order, stop)?;
        await_count(order.count, || Ok(self.arrived()?.valid - before))
    }

    /// Answers the order's flows, as far as they are known, and says how many answers came back
    /// to their clients in good time.
    ///
    /// # Errors
    ///
    /// What the sender meets.
    pub fn answer(&self, order: &Order, stop: impl Fn() -> bool + Send) -> Result<u64, Error> {
        let Some(far) = &self.far else { return Ok(0) };
        let before = self.returned()?.valid;
        far.answer(order, stop)?;
        await_count(order.count, || Ok(self.returned()?.valid - before))
    }

    /// Has the gateway know all flows before they are measured: slow passes until all get
    /// through, TCP with a handshake. The number of flows that got through last.
    ///
    /// # Errors
    ///
    /// What the sender meets.
    pub fn establish(
        &self,
        flows: u32,
        rate: f64,
        stop: impl Fn() -> bool + Copy + Send,
    ) -> Result<u64, Error> {
        let mut through = 0;
        for _ in 0..PASSES {
            let pass = Order::pass(0, flows).at(rate);
            if self.plan.protocol == Protocol::Tcp {
                // A stateful gateway refuses data of a connection that nobody asked for, or that
                // nobody granted.
                self.pass(&pass.with(TcpFlags::SYN), stop)?;
                self.answer(&pass.with(TcpFlags::SYN_ACK), stop)?;
            }
            through = self.pass(&pass, stop)?;
            if through == u64::from(flows) || stop() {
                break;
            }
        }
        Ok(through)
    }
}

impl Far {
    fn open(
        options: &Options,
        place: &Place,
        plan: &Plan,
        tracking: Tracking,
    ) -> Result<Self, Error> {
        let sources = options.expect_source.map_or(Sources::ANY, |network| Sources {
            address: network.addr(),
            length: network.prefix_len(),
        });
        place.namespace.enter(|| {
            let name = &place.interface;
            let link = Link::find(name)?;
            let answers = matches!(tracking, Tracking::Answerable(_));
            if answers {
                options.guard.check_interface(name)?;
            }
            let expected = Expected { sources, tracking, link: link.index, ..Expected::of(plan) };
            let (sink, native) = attach(&expected, name)?;
            let socket = if answers && !choose(options.engine, plan, name, link)?.is_xdp() {
                Some(PacketSocket::open(plan, link.index)?)
            } else {
                None
            };
            Ok(Self { place: place.clone(), sink, native, socket })
        })?
    }

    fn answer(&self, order: &Order, stop: impl Fn() -> bool + Send) -> Result<(), Error> {
        let (own, next) = self.sink.macs()?;
        self.place.namespace.enter(|| match &self.socket {
            None => self.sink.answer(order, stop),
            Some(socket) => socket.obey_with(order, (own, next), stop, |number| {
                let known = self.sink.source_of(number)?;
                let server = |number| self.sink.plan().tuple(number).destination;
                Ok(known.map(|client| Tuple { source: server(number), destination: client }))
            }),
        })?
    }
}

impl Options {
    /// The seed that was given, or another each time.
    pub fn seed(&self) -> u64 {
        use std::hash::{BuildHasher, Hasher, RandomState};

        // Short enough to be typed.
        self.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish() & 0xffff_ffff)
    }

    fn plan(&self, needs: &Needs) -> Result<Plan, Error> {
        let (first_client, clients) = hosts(self.source);
        let (first_server, servers) = hosts(self.destination);
        if first_client.is_ipv4() != first_server.is_ipv4() {
            return Err(Error::Usage(
                "--source and --destination must be of one family, IPv4 or IPv6".to_owned(),
            ));
        }
        if self.port == 0 || needs.flows == 0 {
            return Err(Error::Usage("port and number of flows must be above zero".to_owned()));
        }
        let (source_mac, destination_mac) = self.send.namespace.enter(|| {
            self.guard.check_interface(&self.send.interface)?;
            let link = Link::find(&self.send.interface)?;
            let gateway = match (self.gateway_mac, self.gateway) {
                (GatewayMac::Given(mac), _) => mac,
                (GatewayMac::Auto, Some(gateway)) => resolve(&self.send.interface, gateway)?,
                (GatewayMac::Auto, None) => {
                    return Err(Error::Usage(
                        "who is the gateway? Give --gateway IP, or --gateway-mac MAC".to_owned(),
                    ));
                }
            };
            Ok((link.mac, gateway))
        })??;
        let mut plan = Plan {
            flows: needs.flows,
            clients: clients.min(needs.distinct),
            first_client,
            servers: servers.min(needs.distinct),
            first_server,
            server_port: self.port,
            protocol: self.protocol,
            sizes: needs.sizes,
            source_mac,
            destination_mac,
            seed: self.seed(),
            sample_interval: needs.sample_interval,
        };
        plan.sizes = plan.sizes.at_least(plan.least_size());
        if u64::from(plan.flows) > plan.distinct() {
            return Err(Error::Usage(format!(
                "{} addresses have room for {} flows, not for {}: give a larger --source",
                plan.clients,
                plan.distinct(),
                plan.flows
            )));
        }
        Ok(plan)
    }

    /// How many flows the clients' addresses have room for.
    pub fn distinct(&self) -> u32 {
        let plan = Plan { clients: hosts(self.source).1, ..Plan::default() };
        u32::try_from(plan.distinct()).unwrap_or(u32::MAX)
    }
}

/// The first host of a network and how many there are, at most 2^32 - 2.
fn hosts(network: IpNet) -> (IpAddr, u32) {
    let bits = u32::from(network.max_prefix_len() - network.prefix_len());
    let all = 1_u64 << bits.min(32);
    match network.network() {
        // Network and broadcast address are nobody's; in IPv6 the first is any router's.
        first if bits > 1 => (super::nth_address(first, 1), (all - 2) as u32),
        first => (first, all as u32),
    }
}

/// Attaches a sink to a link of the calling thread's namespace: in its driver, or else later in
/// the stack. Whether in the driver.
fn attach(expected: &Expected, name: &str) -> Result<(Sink, bool), Error> {
    let mut sink = Sink::load(expected)?;
    if sink.attach_to(name, XdpMode::Driver).is_ok() {
        return Ok((sink, true));
    }
    sink.attach_to(name, XdpMode::Skb)?;
    Ok((sink, false))
}

/// Waits until `count` is reached, but not long. What was reached.
fn await_count(count: u64, reached: impl Fn() -> Result<u64, Error>) -> Result<u64, Error> {
    // Not all in time is no error: how many it were says enough.
    let _ = wait_until(PATIENCE, "all frames", || reached().is_ok_and(|n| n >= count));
    reached()
}

/// Keeps the calling thread on a CPU.
fn pin(cpu: usize) -> Result<(), Error> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &cpus)).map_err(|errno| {
        Error::System { action: "send from that CPU (--cpu)", source: errno.into() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_hosts_and_single_addresses_are_one() {
        let hosts = |network: &str| {
            let (first, count) = hosts(network.parse().unwrap());
            (first.to_string(), count)
        };
        assert_eq!(hosts("10.1.0.128/25"), ("10.1.0.129".to_owned(), 126));
        assert_eq!(hosts("10.1.0.7/32"), ("10.1.0.7".to_owned(), 1));
        assert_eq!(hosts("10.1.0.6/31"), ("10.1.0.6".to_owned(), 2));
        assert_eq!(hosts("2001:db8::/64"), ("2001:db8::1".to_owned(), u32::MAX - 1));
        assert_eq!(hosts("2001:db8::7/128"), ("2001:db8::7".to_owned(), 1));
    }
}
