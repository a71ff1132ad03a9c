//! An end that receives: an XDP program that checks, counts and drops test frames, keeps their
//! sequence if asked to, and can answer the flows that it has learnt.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::{Add, Sub};

use aya::maps::{Array, MapData, PerCpuArray};
use aya::programs::XdpMode;
use aya::{Ebpf, EbpfLoader, Pod};
use halfspace_testbed::Namespace;

use super::live::{self, Live, missing};
use super::sender::Order;
use super::{Plan, words};
use crate::error::Error;
use crate::histogram::Latencies;

/// What arrived, as the program's `struct counters`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[repr(C)]
pub struct Counters {
    /// Frames exactly as they should be, each counted once.
    pub valid: u64,
    /// Their bytes, Ethernet headers included.
    pub bytes: u64,
    /// Frames with a wrong IPv4, UDP or TCP checksum, or none.
    pub bad_checksum: u64,
    /// Frames whose payload is not the generator's.
    pub bad_marker: u64,
    /// Frames with addresses that should not be seen here.
    pub bad_source: u64,
    /// Frames that had arrived before.
    pub duplicated: u64,
    /// Valid frames that came after a later one of their flow (RFC 4737).
    pub reordered: u64,
}

// SAFETY: integers only, no padding, any bit pattern is valid.
unsafe impl Pod for Counters {}

impl Counters {
    /// Frames that are not what was sent.
    pub fn broken(&self) -> u64 {
        self.bad_checksum + self.bad_marker + self.bad_source
    }

    fn zip(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            valid: with(self.valid, other.valid),
            bytes: with(self.bytes, other.bytes),
            bad_checksum: with(self.bad_checksum, other.bad_checksum),
            bad_marker: with(self.bad_marker, other.bad_marker),
            bad_source: with(self.bad_source, other.bad_source),
            duplicated: with(self.duplicated, other.duplicated),
            reordered: with(self.reordered, other.reordered),
        }
    }
}

impl Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
}

impl Sub for Counters {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        self.zip(earlier, |a, b| a - b)
    }
}

/// Source addresses that may arrive: those of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    /// An address of the prefix.
    pub address: IpAddr,
    /// Length of the prefix in bits.
    pub length: u8,
}

impl Sources {
    /// Any address of either family.
    pub const ANY: Self = Self { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), length: 0 };

    /// Prefix and mask as four words in network byte order, of IPv4 only the last.
    fn words(self) -> ([u32; 4], [u32; 4]) {
        let bits = match self.address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        let ones = u128::MAX.checked_shl(bits - u32::from(self.length)).unwrap_or(0);
        let mask = [96, 64, 32, 0].map(|shift| ((ones >> shift) as u32).to_be());
        let address = words(self.address);
        (std::array::from_fn(|i| address[i] & mask[i]), mask)
    }
}

/// What is kept of each flow's frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tracking {
    /// Nothing: frames are checked and counted.
    #[default]
    None,
    /// One sequence over all frames: for flows of one frame each.
    Stream,
    /// A sequence of each of so many flows, which take turns.
    Flows(u32),
    /// The same, and where each of them comes from: they can be answered. At one time they are
    /// flows of successive numbers.
    Answerable(u32),
}

/// What an end is to receive.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// What frames are sent.
    pub plan: Plan,
    /// From where they may come.
    pub sources: Sources,
    /// What is kept of them.
    pub tracking: Tracking,
    /// This is the clients' end, and frames are the servers' answers.
    pub backwards: bool,
    /// Index of the link that answers leave by.
    pub link: u32,
}

impl Expected {
    /// Frames of `plan` towards the servers, unless set otherwise.
    pub fn of(plan: &Plan) -> Self {
        Self {
            plan: *plan,
            sources: Sources::ANY,
            tracking: Tracking::None,
            backwards: false,
            link: 0,
        }
    }
}

/// `struct flow` of the program.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Flow {
    next: u64,
    seen: u64,
    owner: u64,
    address: [u32; 4],
    port: u16,
    pad: [u16; 3],
}

// SAFETY: integers only, padding spelt out, any bit pattern is valid.
unsafe impl Pod for Flow {}

/// `struct neighbour` of the program.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Neighbour {
    gateway: [u8; 6],
    own: [u8; 6],
}

// SAFETY: bytes only, any bit pattern is valid.
unsafe impl Pod for Neighbour {}

/// Buckets of one-way times: `1 << SUB_BITS` to each power of two.
const SUB_BITS: u32 = 5;

/// The program, attached until this is dropped.
pub struct Sink {
    counters: PerCpuArray<MapData, Counters>,
    latencies: PerCpuArray<MapData, u64>,
    flows: Array<MapData, Flow>,
    neighbour: Array<MapData, Neighbour>,
    live: Live,
    plan: Plan,
    /// Holds the program and its link.
    bpf: Ebpf,
}

impl Sink {
    /// Loads the program and attaches it to a link, for UDP over IPv4 and nothing kept. That also
    /// makes the kernel deliver redirected frames to a veth.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`], [`Error::Testbed`].
    pub fn attach(
        namespace: &Namespace,
        link: &str,
        server_port: u16,
        sources: Sources,
    ) -> Result<Self, Error> {
        let plan = Plan { server_port, ..Plan::default() };
        let mut sink = Self::load(&Expected { sources, ..Expected::of(&plan) })?;
        namespace.enter(|| sink.attach_to(link, XdpMode::Driver))??;
        Ok(sink)
    }

    /// Loads the program.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn load(expected: &Expected) -> Result<Self, Error> {
        let (source, source_mask) = expected.sources.words();
        let (tracked, stride, learn) = match expected.tracking {
            Tracking::None => (0, 1, 0),
            Tracking::Stream => (1, 1, 0),
            Tracking::Flows(flows) => (flows.max(1).next_power_of_two(), flows.max(1), 0),
            Tracking::Answerable(flows) => (flows.max(1).next_power_of_two(), flows.max(1), 1_u32),
        };
        let mut bpf = EbpfLoader::new()
            .override_global("plan", &expected.plan.constants(), true)
            .override_global("output_index", &expected.link, true)
            .override_global("source", &source, true)
            .override_global("source_mask", &source_mask, true)
            .override_global("backwards", &u32::from(expected.backwards), true)
            .override_global("tracked", &tracked, true)
            .override_global("stride", &stride, true)
            .override_global("learn", &learn, true)
            .map_max_entries("flows", tracked.max(1))
            .load(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sink.bpf.o")))
            .map_err(Error::bpf("load the sink's program"))?;
        live::load(&mut bpf, name_for(&expected.plan))?;
        if learn != 0 {
            live::load(&mut bpf, "reply")?;
        }
        let live = Live::new(&mut bpf, &expected.plan)?;
        let mut take = |name| bpf.take_map(name).ok_or_else(|| missing(name));
        let (counters, latencies) = (take("counters")?, take("latencies")?);
        let (flows, neighbour) = (take("flows")?, take("neighbour")?);
        Ok(Self {
            counters: counters.try_into().map_err(Error::bpf("open the sink's map"))?,
            latencies: latencies.try_into().map_err(Error::bpf("open the sink's map"))?,
            flows: flows.try_into().map_err(Error::bpf("open the sink's map"))?,
            neighbour: neighbour.try_into().map_err(Error::bpf("open the sink's map"))?,
            live,
            plan: expected.plan,
            bpf,
        })
    }

    /// Attaches it to a link of the namespace that the calling thread is in.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn attach_to(&mut self, link: &str, mode: XdpMode) -> Result<(), Error> {
        let name = name_for(&self.plan);
        let program = self.bpf.program_mut(name).ok_or_else(|| missing(name))?;
        let program: &mut aya::programs::Xdp =
            program.try_into().map_err(Error::bpf("find the program"))?;
        program.attach(link, mode).map_err(Error::bpf("attach the sink's program"))?;
        Ok(())
    }

    /// What frames it is for.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What arrived so far.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn read(&self) -> Result<Counters, Error> {
        let per_cpu = self.counters.get(&0, 0).map_err(Error::bpf("read the sink's counters"))?;
        Ok(per_cpu.iter().fold(Counters::default(), |sum, cpu| sum + *cpu))
    }

    /// One-way times of the frames that carried the time, to within a thirty-second.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn latencies(&self) -> Result<Latencies, Error> {
        let mut latencies = Latencies::new();
        for bucket in 0..self.latencies.len() {
            let counts =
                self.latencies.get(&bucket, 0).map_err(Error::bpf("read the sink's times"))?;
            for _ in 0..counts.iter().sum::<u64>() {
                latencies.record_nanoseconds(middle_of(bucket));
            }
        }
        Ok(latencies)
    }

    /// Where a flow comes from, if any of its frames has arrived.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn source_of(&self, number: u32) -> Result<Option<SocketAddr>, Error> {
        let index = number & (self.flows.len() - 1);
        let flow = self.flows.get(&index, 0).map_err(Error::bpf("read the sink's flows"))?;
        Ok((flow.owner == u64::from(number) + 1).then(|| {
            let [a, b, c, d] = flow.address.map(u32::from_be);
            let address = if self.plan.first_client.is_ipv6() {
                let high = u128::from(a) << 96 | u128::from(b) << 64;
                IpAddr::V6((high | u128::from(c) << 32 | u128::from(d)).into())
            } else {
                IpAddr::V4(d.into())
            };
            SocketAddr::new(address, u16::from_be(flow.port))
        }))
    }

    /// The MAC addresses of this end and of who is next on the way back: all zero before the first
    /// frame has arrived.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn macs(&self) -> Result<([u8; 6], [u8; 6]), Error> {
        let neighbour =
            self.neighbour.get(&0, 0).map_err(Error::bpf("read the sink's neighbour"))?;
        Ok((neighbour.own, neighbour.gateway))
    }

    /// Answers the flows that have been learnt, as ordered, unless `stop` ends it before. The
    /// calling thread must be in the namespace of the link.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn answer(&self, order: &Order, stop: impl Fn() -> bool) -> Result<(), Error> {
        self.live.obey(live::program(&self.bpf, "reply")?, order, stop)
    }
}

/// Which of the programs checks a plan's frames.
fn name_for(plan: &Plan) -> &'static str {
    plan.pick(["count_udp4", "count_udp6", "count_tcp4", "count_tcp6"])
}

/// The middle of a bucket of one-way times, in nanoseconds.
fn middle_of(bucket: u32) -> u64 {
    let power = bucket >> SUB_BITS;
    if power == 0 {
        return bucket.into();
    }
    let least = u64::from((1 << SUB_BITS) + (bucket & ((1 << SUB_BITS) - 1))) << (power - 1);
    least + (1 << (power - 1)) / 2
}

#[cfg(test)]
mod tests;
