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
        live::load(&mut bpf, "count")?;
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
        let program = self.bpf.program_mut("count").ok_or_else(|| missing("count"))?;
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

    /// Answers sent so far.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn answered(&self) -> Result<u64, Error> {
        self.live.sent()
    }
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
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use aya::{TestRun as _, TestRunOptions};
    use etherparse::PacketBuilder;
    use halfspace_testbed::{Requirement, ready};

    use super::super::build::tests::{expected, plans};
    use super::super::build::{Frame, TcpFlags};
    use super::super::{Protocol, Tuple};
    use super::*;

    const XDP_DROP: u32 = 1;
    const XDP_PASS: u32 = 2;

    fn frame(source: [u8; 4], port: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4(source, [198, 51, 100, 1], 63)
            .udp(4000, port)
            .write(&mut frame, payload)
            .unwrap();
        frame
    }

    /// Runs one of the sink's programs on a frame: its verdict and what it made of the frame.
    fn run(sink: &Sink, name: &'static str, frame: &[u8]) -> (u32, Vec<u8>) {
        let mut output = vec![0; 2048];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut output),
            ..TestRunOptions::new()
        };
        let result = live::program(&sink.bpf, name).unwrap().test_run(options).unwrap();
        output.truncate(result.data_size_out as usize);
        (result.return_value, output)
    }

    /// Frame number `sequence` of flow `number`.
    fn test_frame(plan: &Plan, number: u32, sequence: u64, flags: TcpFlags) -> Frame {
        Frame {
            tuple: plan.tuple(number),
            number,
            sequence,
            size: plan.sizes.largest(),
            flags,
            time: None,
        }
    }

    #[test]
    fn each_frame_is_counted_as_what_it_is() {
        if !ready(&[Requirement::Bpf]) {
            return;
        }
        let sources = Sources { address: Ipv4Addr::new(10, 1, 0, 0).into(), length: 16 };
        let sink = Sink::load(&Expected { sources, ..Expected::of(&Plan::default()) }).unwrap();
        let run = |frame: &[u8]| run(&sink, "count", frame).0;
        let payload = |length: usize| {
            let mut payload = b"HSLT".to_vec();
            payload.extend((4..length).map(|i| (i * 7) as u8));
            payload
        };
        let mut expected = Counters::default();

        // Odd and even lengths, and a frame that was padded to the least size.
        for length in [18, 19, 20, 21, 777, 1472] {
            let frame = frame([10, 1, 2, 3], 9, &payload(length));
            assert_eq!(run(&frame), XDP_DROP);
            expected.valid += 1;
            expected.bytes += frame.len() as u64;
            assert_eq!(sink.read().unwrap(), expected, "{length}");
        }
        let mut padded = frame([10, 1, 2, 3], 9, &payload(9));
        padded.resize(60, 0xaa);
        assert_eq!(run(&padded), XDP_DROP);
        expected.valid += 1;
        expected.bytes += 60;
        assert_eq!(sink.read().unwrap(), expected);

        // Any flipped bit behind the Ethernet header is found, but for the fields that decide
        // whether it is a test frame at all.
        let good = frame([10, 1, 2, 3], 9, &payload(18));
        for bit in 0..8 * 46 {
            let mut bad = good.clone();
            bad[14 + bit / 8] ^= 1 << (bit % 8);
            let decides = matches!(14 + bit / 8, 14 | 23 | 36 | 37);
            assert_eq!(run(&bad), if decides { XDP_PASS } else { XDP_DROP }, "bit {bit}");
            expected.bad_checksum += u64::from(!decides);
            assert_eq!(sink.read().unwrap(), expected, "bit {bit}");
        }
        let mut without = good.clone();
        without[40..42].fill(0);
        assert_eq!(run(&without), XDP_DROP);
        expected.bad_checksum += 1;
        assert_eq!(sink.read().unwrap(), expected);

        assert_eq!(run(&frame([10, 1, 2, 3], 9, b"something else 123")), XDP_DROP);
        expected.bad_marker += 1;
        assert_eq!(sink.read().unwrap(), expected);

        assert_eq!(run(&frame([10, 2, 2, 3], 9, &payload(18))), XDP_DROP);
        expected.bad_source += 1;
        assert_eq!(sink.read().unwrap(), expected);

        // Not ours: to the stack, uncounted.
        assert_eq!(run(&frame([10, 1, 2, 3], 10, &payload(18))), XDP_PASS);
        let mut arp = good;
        arp[12..14].copy_from_slice(&[0x08, 0x06]);
        assert_eq!(run(&arp), XDP_PASS);
        assert_eq!(sink.read().unwrap(), expected);
        assert_eq!(expected.broken(), expected.bad_checksum + 2);
    }

    #[test]
    fn frames_of_every_kind_are_valid_and_no_flipped_bit_of_them_is() {
        if !ready(&[Requirement::Bpf]) {
            return;
        }
        for plan in plans().into_iter().filter(|plan| plan.sizes.largest() < 100) {
            let kinds: &[TcpFlags] = match plan.protocol {
                Protocol::Udp => &[TcpFlags::PUSH],
                Protocol::Tcp => &[TcpFlags::SYN, TcpFlags::SYN_ACK, TcpFlags::PUSH, TcpFlags::RST],
            };
            let sink = Sink::load(&Expected::of(&plan)).unwrap();
            let mut valid = 0;
            for &flags in kinds {
                let frame = test_frame(&plan, 3, 0x1_0000_0003, flags);
                let mut good = Vec::new();
                frame.write(&plan, &mut good);
                // A router may have taken the padding off.
                if flags == TcpFlags::SYN {
                    good.truncate((plan.transport_offset() + 20) as usize);
                }
                assert_eq!(run(&sink, "count", &good).0, XDP_DROP);
                valid += 1;
                assert_eq!(sink.read().unwrap().valid, valid, "{frame:?} of {plan:?}");
                // All that a transport checksum covers.
                let at = plan.transport_offset() as usize;
                let begin = if plan.first_client.is_ipv6() { at - 32 } else { at - 8 };
                let bare = flags == TcpFlags::SYN || flags == TcpFlags::RST;
                let end = if bare { at + 20 } else { good.len() };
                for bit in 8 * begin..8 * end {
                    let mut bad = good.clone();
                    bad[bit / 8] ^= 1 << (bit % 8);
                    run(&sink, "count", &bad);
                }
                let counters = sink.read().unwrap();
                assert_eq!(counters.valid, valid, "{frame:?} of {plan:?}");
            }
        }
    }

    /// What the sink makes of frames of three flows that arrive in the order of `sequences`.
    fn arrived(sequences: &[u64]) -> [u64; 3] {
        let plan = Plan { flows: 3, ..plans()[0] };
        let tracking = Tracking::Flows(3);
        let sink = Sink::load(&Expected { tracking, ..Expected::of(&plan) }).unwrap();
        let mut bytes = Vec::new();
        for &sequence in sequences {
            let number = sequence as u32 % 3;
            test_frame(&plan, number, sequence, TcpFlags::PUSH).write(&plan, &mut bytes);
            assert_eq!(run(&sink, "count", &bytes).0, XDP_DROP);
        }
        let counters = sink.read().unwrap();
        assert_eq!(counters.broken(), 0);
        [counters.valid, counters.duplicated, counters.reordered]
    }

    #[test]
    fn duplicates_and_reordering_are_told_apart_and_judged_by_flow() {
        if !ready(&[Requirement::Bpf]) {
            return;
        }
        // In order; with gaps; flows overtaking each other, which is no reordering.
        assert_eq!(arrived(&[0, 1, 2, 3, 4, 5]), [6, 0, 0]);
        assert_eq!(arrived(&[0, 1, 2, 9, 13, 300]), [6, 0, 0]);
        assert_eq!(arrived(&[2, 1, 0, 5, 4, 3]), [6, 0, 0]);
        // The same frame at once, and later, and twice later.
        assert_eq!(arrived(&[0, 0]), [1, 1, 0]);
        assert_eq!(arrived(&[0, 3, 6, 0, 3, 3]), [3, 3, 0]);
        // Late, for the first time and the second.
        assert_eq!(arrived(&[0, 6, 3]), [3, 0, 1]);
        assert_eq!(arrived(&[0, 6, 3, 3]), [3, 1, 1]);
        assert_eq!(arrived(&[6, 3, 0]), [3, 0, 2]);
        // 63 back is still known, 64 back counts as late.
        assert_eq!(arrived(&[0, 63 * 3, 0]), [2, 1, 0]);
        assert_eq!(arrived(&[0, 64 * 3, 0]), [3, 0, 1]);
    }

    #[test]
    fn a_single_stream_is_kept_over_all_flows() {
        if !ready(&[Requirement::Bpf]) {
            return;
        }
        let plan = Plan { flows: 1000, protocol: Protocol::Tcp, ..plans()[0] };
        let tracking = Tracking::Stream;
        let sink = Sink::load(&Expected { tracking, ..Expected::of(&plan) }).unwrap();
        let mut bytes = Vec::new();
        for sequence in [0, 1, 2, 4, 3, 3, 5] {
            let frame = test_frame(&plan, sequence as u32, sequence, TcpFlags::SYN);
            frame.write(&plan, &mut bytes);
            run(&sink, "count", &bytes);
        }
        let counters = sink.read().unwrap();
        assert_eq!([counters.valid, counters.duplicated, counters.reordered], [6, 1, 1]);
    }

    #[test]
    fn times_fall_into_the_bucket_that_holds_them() {
        if !ready(&[Requirement::Bpf]) {
            return;
        }
        let plan = Plan { sample_interval: 1, ..plans()[0] };
        let sink = Sink::load(&Expected::of(&plan)).unwrap();
        let now = || {
            let clock = nix::time::ClockId::CLOCK_MONOTONIC;
            Duration::from(nix::time::clock_gettime(clock).unwrap()).as_nanos() as u32
        };
        let mut bytes = Vec::new();
        let mut before = Latencies::new();
        for (sequence, ago) in [0, 3_000_000, 1_000_000_000].into_iter().enumerate() {
            let frame = test_frame(&plan, 0, sequence as u64, TcpFlags::PUSH);
            let sent = now().wrapping_sub(ago);
            Frame { time: Some(sent), ..frame }.write(&plan, &mut bytes);
            run(&sink, "count", &bytes);
            // At least as long ago as it says, at most as long as it is now.
            let after = now().wrapping_sub(sent);
            let summary = sink.latencies().unwrap().summary();
            assert_eq!(summary.count, before.count() + 1);
            let (least, most) = (f64::from(ago) / 1e9, f64::from(after) / 1e9);
            assert!(
                summary.max >= least * 0.96 && summary.max <= most * 1.04 + 1e-9,
                "{summary:?}"
            );
            before = sink.latencies().unwrap();
        }
        assert_eq!(sink.read().unwrap().valid, 3);
    }

    #[test]
    fn buckets_are_a_thirty_second_wide_and_leave_no_gap() {
        assert_eq!(middle_of(31), 31);
        assert_eq!(middle_of(32), 32);
        assert_eq!(middle_of(64), 65);
        let last = ((32 - SUB_BITS + 1) << SUB_BITS) - 1;
        for bucket in 1..=last {
            let (here, before) = (middle_of(bucket), middle_of(bucket - 1));
            assert!(here > before && here - before <= here / 32 + 1, "{bucket}");
        }
        assert!(middle_of(last) < 1 << 32 && middle_of(last) > (1 << 32) / 64 * 63);
    }

    #[test]
    fn answers_go_where_the_flows_came_from_and_only_for_their_clients() {
        if !ready(&[Requirement::Bpf]) {
            return;
        }
        for plan in plans() {
            let far = Expected { tracking: Tracking::Answerable(7), ..Expected::of(&plan) };
            let far = Sink::load(&far).unwrap();
            let tracking = Tracking::Flows(7);
            let near = Expected { tracking, backwards: true, ..Expected::of(&plan) };
            let near = Sink::load(&near).unwrap();
            // Flow 5 never arrives; behind the gateway the others have one address.
            let flags = TcpFlags::SYN_ACK;
            let translated = |number: u32| {
                let mut tuple = plan.tuple(number);
                let gateway = if tuple.source.is_ipv4() { "203.0.113.1" } else { "2001:db8::7:7" };
                tuple.source = SocketAddr::new(gateway.parse().unwrap(), 2000 + number as u16);
                tuple
            };
            let mut bytes = Vec::new();
            for number in [0, 1, 2, 3, 4, 6] {
                let frame = test_frame(&plan, number, number.into(), flags);
                Frame { tuple: translated(number), ..frame }.write(&plan, &mut bytes);
                run(&far, "count", &bytes);
                assert_eq!(far.source_of(number).unwrap(), Some(translated(number).source));
            }
            assert_eq!(far.read().unwrap().valid, 6);
            assert_eq!(far.source_of(5).unwrap(), None);
            assert_eq!(far.macs().unwrap(), (plan.destination_mac, plan.source_mac));

            let order = Order::pass(0, 7).with(flags);
            far.live.control(order, 7).unwrap();
            let back =
                Plan { source_mac: plan.destination_mac, destination_mac: plan.source_mac, ..plan };
            let sizes = plan.sizes.get();
            let page = vec![0; plan.sizes.largest() as usize];
            let mut sent = 0;
            for number in 0..7 {
                let (verdict, answer) = run(&far, "reply", &page);
                assert_eq!(verdict == XDP_DROP, number == 5);
                if number == 5 {
                    continue;
                }
                let forth = translated(number);
                let frame = Frame {
                    tuple: Tuple { source: forth.destination, destination: forth.source },
                    size: sizes[sent % sizes.len()],
                    ..test_frame(&plan, number, number.into(), flags)
                };
                assert_eq!(answer, expected(&back, &frame), "{frame:?} of {plan:?}");
                sent += 1;

                // As the gateway translates it back, and as it must not.
                let original = plan.tuple(number);
                let right = Tuple { source: original.destination, destination: original.source };
                let mut other = right;
                other.destination.set_port(right.destination.port() ^ 1);
                Frame { tuple: right, ..frame }.write(&plan, &mut bytes);
                run(&near, "count", &bytes);
                Frame { tuple: other, ..frame }.write(&plan, &mut bytes);
                run(&near, "count", &bytes);
            }
            assert_eq!(far.answered().unwrap(), 6);
            assert_eq!(run(&far, "reply", &page).0, XDP_DROP);
            let counters = near.read().unwrap();
            assert_eq!([counters.valid, counters.bad_source, counters.broken()], [6, 6, 6]);
        }
    }
}
