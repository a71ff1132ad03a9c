//! What the kernel tells of the programs: how much the verifier had to look at, and how long a
//! packet of an established flow takes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aya::maps::MapInfo;
use aya::programs::{Program, ProgramError, ProgramInfo, SchedClassifier, Xdp, loaded_programs};
use aya::{Ebpf, TestRun, TestRunOptions, TestRunResult};
use aya_obj::programs::XdpAttachType;
use datapath::{HookWish, Kind, Options};
use halfspace_testbed::{Requirement, Testbed};
use nf_core::action::Action;
use nf_core::adjacency::Adjacency;
use nf_core::fast_path::{Direction, Entry, FastPath, MeterId, PortPolicy, Usage};
use nf_core::flow::Tracking;
use nf_core::id::{AdjacencyId, FlowId, Generation, PortId};
use nf_core::packet::MacAddr;
use nf_core::packet::build::Frame;
use nf_core::tuple::{FlowKey, Protocol, Tuple};

use crate::baseline::Figures;
use crate::callgrind::output;
use crate::error::Error;

/// Without these the kernel cannot be asked.
pub const NEEDS: [Requirement; 4] = [
    Requirement::Root,
    Requirement::Bpf,
    Requirement::Program("ip"),
    Requirement::Program("clang"),
];

/// Packets in one run. The packet that went in goes in again as it came out, so its TTL, 255, has
/// to last.
const REPEAT: u32 = 200;

/// Runs; the fastest counts. What disturbs a run only ever makes it slower. Each run of an XDP
/// program costs some 20 ms beside, in which the kernel patches its dispatcher.
const RUNS: usize = 100;

/// `TC_ACT_REDIRECT`: what the tc program returns for a packet that it sends on.
const TC_REDIRECT: u32 = 7;
/// `XDP_REDIRECT`: the same of the XDP program.
const XDP_REDIRECT: u32 = 4;

/// The source of the programs that do nothing.
const EMPTY: &str = include_str!("../bpf/empty.bpf.c");

/// Where the packets leave.
const SLOT: AdjacencyId = AdjacencyId(0);

/// The two ports of the gateway.
const PORTS: [&str; 2] = ["in0", "out0"];

/// Source and destination of a flow before its translation, and after.
type Flow = [[&'static str; 2]; 2];

const UDP4: Flow = [["10.0.1.10:40000", "192.0.2.1:53"], ["203.0.113.10:5000", "192.0.2.1:53"]];
const UDP6: Flow =
    [["[fd00:a::10]:40000", "[2001:db8:2::1]:53"], ["[2001:db8:1::10]:5000", "[2001:db8:2::1]:53"]];
const UDP64: Flow =
    [["[fd00:a::11]:40000", "[64:ff9b::192.0.2.1]:53"], ["203.0.113.10:5001", "192.0.2.1:53"]];

/// The kernel's figures.
pub struct Costs {
    /// Instructions that the verifier walked through, by program.
    pub verified: Figures,
    /// Times of a packet of an established flow, as multiples of an empty program's.
    pub times: Figures,
}

/// Loads the programs in a network namespace of their own, and asks.
///
/// # Errors
///
/// [`Error::Testbed`], [`Error::Kernel`], [`Error::Program`].
pub fn measure() -> Result<Costs, Error> {
    let bed = Testbed::new("perf-guard")?;
    let (gateway, peer) = (bed.namespace("gateway")?, bed.namespace("peer")?);
    bed.veths(&[((&gateway, PORTS[0]), (&peer, "q0")), ((&gateway, PORTS[1]), (&peer, "q1"))])?;
    let pins = bed.bpffs()?.join("programs");
    let port = |name| {
        let index = gateway.link_index(name)?;
        PortId::new(index).ok_or_else(|| Error::Kernel {
            action: "number a port",
            why: format!("{name} has index {index}"),
        })
    };
    let ports = [port(PORTS[0])?, port(PORTS[1])?];
    let empty = Empty::load(bed.dir())?;
    gateway.enter(|| ask(&pins, ports, &empty))?
}

fn ask(pins: &Path, ports: [PortId; 2], empty: &Empty) -> Result<Costs, Error> {
    let options = Options {
        kind: Kind::Ebpf,
        flows: 1024,
        ipv6_flows: 1024,
        pin_dir: pins.to_owned(),
        ring_bytes: 1 << 20,
    };
    let (mut datapath, _) =
        datapath::ebpf::Ebpf::open(&options).map_err(Error::kernel("load the programs"))?;
    for (port, name) in ports.into_iter().zip(PORTS) {
        // Test runs of XDP programs want an interface that has XDP switched on.
        let attached = datapath.attach(port, name, HookWish::Xdp);
        attached.map_err(Error::kernel("attach the programs"))?;
    }
    let mut programs = programs_of(pins)?;
    let mut verified = Figures::new();
    for (name, program) in &programs {
        let count = program.verified_instruction_count().ok_or_else(|| Error::Kernel {
            action: "count verified instructions",
            why: "the kernel does not tell (Linux 5.16)".to_owned(),
        })?;
        verified.insert(name.clone(), count.into());
    }
    let mut take = |name: &str| {
        let found = programs.remove(name);
        found.ok_or_else(|| Error::Kernel { action: "find a program", why: name.to_owned() })
    };
    let tc = SchedClassifier::from_program_info(take("halfspace_tc")?, "halfspace_tc".into())
        .map_err(Error::kernel("open the tc program"))?;
    let attach = XdpAttachType::Interface;
    let xdp = Xdp::from_program_info(take("halfspace_xdp")?, "halfspace_xdp".into(), attach)
        .map_err(Error::kernel("open the XDP program"))?;
    let mut races = Vec::new();
    for (family, flow) in [("udp4", UDP4), ("udp6", UDP6), ("udp64", UDP64)] {
        let frame = install(datapath.fast_path(), ports, flow)?;
        let (skb, md) = (skb_context(ports[0]).to_vec(), xdp_context(ports[0], &frame).to_vec());
        let (name, of) = (format!("tc_{family}"), empty.get("empty_tc")?);
        races.push((name, Race::new(&tc, of, TC_REDIRECT, frame.clone(), skb)));
        let (name, of) = (format!("xdp_{family}"), empty.get("empty_xdp")?);
        races.push((name, Race::new(&xdp, of, XDP_REDIRECT, frame, md)));
    }
    // In turns, so that what disturbs the machine for a while does not decide on one of them.
    for _ in 0..RUNS {
        for (_, race) in &mut races {
            race.run()?;
        }
    }
    let times = races.into_iter().map(|(name, race)| (name, race.multiple())).collect();
    datapath.uninstall().map_err(Error::kernel("remove the programs"))?;
    Ok(Costs { verified, times })
}

/// All loaded programs that use any of the maps that are pinned there, by name.
fn programs_of(pins: &Path) -> Result<BTreeMap<String, ProgramInfo>, Error> {
    let listed = pins.read_dir().and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let listed = listed.map_err(|source| Error::File {
        action: "list the pins in",
        path: pins.to_owned(),
        source,
    })?;
    let mut maps = BTreeSet::new();
    for pin in listed.iter().filter(|pin| !pin.file_name().as_encoded_bytes().starts_with(b"link-"))
    {
        maps.insert(MapInfo::from_pin(pin.path()).map_err(Error::kernel("open a map"))?.id());
    }
    let mut found = BTreeMap::new();
    // A program of somebody else's may go while it is looked at.
    for program in loaded_programs().flatten() {
        let used = program.map_ids().ok().flatten().unwrap_or_default();
        if used.iter().any(|map| maps.contains(map)) {
            let name = program.name_as_str().unwrap_or("?").to_owned();
            found.insert(name, program);
        }
    }
    Ok(found)
}

/// Programs that do nothing, compiled on the spot: clang is there, or ours would not be.
struct Empty(Ebpf);

impl Empty {
    fn load(dir: &Path) -> Result<Self, Error> {
        const WHAT: &str = "load a program that does nothing";

        let (source, object) = (dir.join("empty.bpf.c"), dir.join("empty.bpf.o"));
        std::fs::write(&source, EMPTY).map_err(|error| Error::File {
            action: "write",
            path: source.clone(),
            source: error,
        })?;
        // Debian keeps <asm/types.h> below the architecture's name.
        let headers = format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH);
        let mut clang = Command::new("clang");
        clang.args(["-target", "bpf", "-O2", "-g", "-mcpu=v3", "-Wall", "-Werror", "-I", &headers]);
        output(clang.arg("-c").arg(source).arg("-o").arg(&object))?;
        let mut programs = Ebpf::load_file(&object).map_err(Error::kernel(WHAT))?;
        for (_, program) in programs.programs_mut() {
            match program {
                Program::SchedClassifier(tc) => tc.load(),
                Program::Xdp(xdp) => xdp.load(),
                _ => Ok(()),
            }
            .map_err(Error::kernel(WHAT))?;
        }
        Ok(Self(programs))
    }

    /// One of its programs.
    fn get<'a, P>(&'a self, name: &'static str) -> Result<&'a P, Error>
    where
        &'a P: TryFrom<&'a Program, Error = ProgramError>,
    {
        let missing = || Error::Kernel { action: "find a program", why: name.to_owned() };
        let program = self.0.program(name).ok_or_else(missing)?;
        program.try_into().map_err(Error::kernel("find a program"))
    }
}

/// Installs both entries of a flow on one port, each of which makes the other's packets of its own:
/// a packet that is put in again and again is translated to and fro. The first packet.
fn install(
    path: &mut dyn FastPath,
    [port, out]: [PortId; 2],
    flow: Flow,
) -> Result<Vec<u8>, Error> {
    let address = |text: &str| -> Result<SocketAddr, Error> {
        text.parse().map_err(Error::kernel("read the address of a flow"))
    };
    let tuple = |[src, dst]: [&str; 2]| -> Result<Tuple, Error> {
        Ok(Tuple { protocol: Protocol::Udp, src: address(src)?, dst: address(dst)? })
    };
    let (came, leaves) = (tuple(flow[0])?, tuple(flow[1])?);
    let (dst_mac, src_mac) = (MacAddr::new([2, 0, 0, 0, 0, 7]), MacAddr::new([2, 0, 0, 0, 0, 8]));
    path.add_port(port, PortPolicy::default());
    path.add_port(out, PortPolicy::default());
    path.set_adjacency(SLOT, Some(Adjacency { port: out, dst_mac, src_mac, mtu: 1500 }));
    for (before, after) in [(came, leaves), (leaves, came)] {
        let entry = Entry {
            action: Action { rewrite: after, adjacency: SLOT },
            generation: Generation::default(),
            flow: FlowId(1),
            direction: Direction::Forward,
            src_mac: Some(src_mac),
            tracking: Tracking::BOTH,
            // As those of every NAT gateway are.
            meter: MeterId(1),
            usage: Usage::default(),
        };
        path.install(&FlowKey { port, tuple: before }, &entry);
    }
    path.flush();
    let frame = Frame::udp(came.src, came.dst);
    Ok(frame.macs(src_mac, dst_mac).ttl(u8::MAX).payload([0x5a; 18]).build())
}

/// A program against one that does nothing, on the same packet.
struct Race<'a> {
    program: &'a dyn Timed,
    empty: &'a dyn Timed,
    /// What the program returns if it knows the packet's flow.
    expected: u32,
    frame: Vec<u8>,
    context: Vec<u8>,
    /// The shortest time that a packet took in any run, of each of the two.
    best: [Duration; 2],
}

impl<'a> Race<'a> {
    fn new<P: Timed>(
        program: &'a P,
        empty: &'a P,
        expected: u32,
        frame: Vec<u8>,
        context: Vec<u8>,
    ) -> Self {
        Self { program, empty, expected, frame, context, best: [Duration::MAX; 2] }
    }

    fn run(&mut self) -> Result<(), Error> {
        let [hit, nothing] = [self.program, self.empty].map(|program| {
            let options = TestRunOptions {
                data_in: Some(&self.frame),
                ctx_in: Some(&self.context),
                repeat: REPEAT,
                ..TestRunOptions::new()
            };
            program.time(options).map_err(Error::kernel("run a program"))
        });
        let (hit, nothing) = (hit?, nothing?);
        if hit.return_value != self.expected {
            let why = format!("it returned {}, so it does not know the flow", hit.return_value);
            return Err(Error::Kernel { action: "time a packet of an established flow", why });
        }
        let [best, least] = self.best;
        self.best = [best.min(hit.duration), least.min(nothing.duration)];
        Ok(())
    }

    /// How many times as long as the empty one it takes, to two decimals.
    fn multiple(&self) -> f64 {
        let [hit, nothing] = self.best.map(|time| time.as_secs_f64());
        (hit / nothing.max(1e-9) * 100.0).round() / 100.0
    }
}

/// A program of either type.
trait Timed {
    fn time(&self, options: TestRunOptions<'_>) -> Result<TestRunResult, ProgramError>;
}

impl Timed for SchedClassifier {
    fn time(&self, options: TestRunOptions<'_>) -> Result<TestRunResult, ProgramError> {
        self.test_run(options)
    }
}

impl Timed for Xdp {
    fn time(&self, options: TestRunOptions<'_>) -> Result<TestRunResult, ProgramError> {
        self.test_run(options)
    }
}

/// `struct __sk_buff` with the one field that a test run may set and we need.
fn skb_context(port: PortId) -> [u8; 192] {
    let mut context = [0; 192];
    context[40..44].copy_from_slice(&port.get().to_ne_bytes()); // ifindex
    context
}

/// `struct xdp_md` likewise.
fn xdp_context(port: PortId, frame: &[u8]) -> [u8; 24] {
    let mut context = [0; 24];
    context[4..8].copy_from_slice(&(frame.len() as u32).to_ne_bytes()); // data_end
    context[12..16].copy_from_slice(&port.get().to_ne_bytes()); // ingress_ifindex
    context
}
