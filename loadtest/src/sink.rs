//! The far end: an XDP program that checks, counts and drops test frames.

use std::net::Ipv4Addr;
use std::ops::Sub;

use aya::maps::{MapData, PerCpuArray};
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader, Pod};
use halfspace_testbed::Namespace;

use crate::error::Error;

/// What arrived, as the program's `struct counters`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    /// Frames exactly as they should be.
    pub valid: u64,
    /// Their bytes, Ethernet headers included.
    pub bytes: u64,
    /// Frames with a wrong IPv4 or UDP checksum, or none.
    pub bad_checksum: u64,
    /// Frames whose payload is not the generator's.
    pub bad_marker: u64,
    /// Frames from an address that should not be seen here.
    pub bad_source: u64,
}

// SAFETY: integers only, no padding, any bit pattern is valid.
unsafe impl Pod for Counters {}

impl Counters {
    /// Frames that are not what was sent.
    pub fn broken(&self) -> u64 {
        self.bad_checksum + self.bad_marker + self.bad_source
    }
}

impl Sub for Counters {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            valid: self.valid - earlier.valid,
            bytes: self.bytes - earlier.bytes,
            bad_checksum: self.bad_checksum - earlier.bad_checksum,
            bad_marker: self.bad_marker - earlier.bad_marker,
            bad_source: self.bad_source - earlier.bad_source,
        }
    }
}

/// Source addresses that may arrive: those of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    /// An address of the prefix.
    pub address: Ipv4Addr,
    /// Length of the prefix in bits.
    pub length: u8,
}

/// The program, attached until this is dropped.
pub struct Sink {
    counters: PerCpuArray<MapData, Counters>,
    /// Holds the program and its link.
    _bpf: Ebpf,
}

impl Sink {
    /// Loads the program and attaches it to a link. That also makes the kernel deliver redirected
    /// frames to a veth.
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
        let mut bpf = load(server_port, sources)?;
        let program: &mut Xdp = program(&mut bpf)?;
        namespace
            .enter(|| program.attach(link, XdpMode::Driver))?
            .map_err(Error::bpf("attach the sink's program"))?;
        let counters = counters(&mut bpf)?;
        Ok(Self { counters, _bpf: bpf })
    }

    /// What arrived so far.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn read(&self) -> Result<Counters, Error> {
        sum(&self.counters)
    }
}

fn sum(counters: &PerCpuArray<MapData, Counters>) -> Result<Counters, Error> {
    let per_cpu = counters.get(&0, 0).map_err(Error::bpf("read the sink's counters"))?;
    Ok(per_cpu.iter().fold(Counters::default(), |sum, cpu| Counters {
        valid: sum.valid + cpu.valid,
        bytes: sum.bytes + cpu.bytes,
        bad_checksum: sum.bad_checksum + cpu.bad_checksum,
        bad_marker: sum.bad_marker + cpu.bad_marker,
        bad_source: sum.bad_source + cpu.bad_source,
    }))
}

fn load(server_port: u16, sources: Sources) -> Result<Ebpf, Error> {
    let port = u32::from(server_port);
    let mask = u32::MAX.checked_shl(32 - u32::from(sources.length)).unwrap_or(0);
    let source = sources.address.to_bits() & mask;
    EbpfLoader::new()
        .override_global("server_port", &port, true)
        .override_global("source", &source, true)
        .override_global("source_mask", &mask, true)
        .load(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sink.bpf.o")))
        .map_err(Error::bpf("load the sink's program"))
}

fn program(bpf: &mut Ebpf) -> Result<&mut Xdp, Error> {
    let program = bpf.program_mut("count").ok_or_else(|| missing("count"))?;
    let program: &mut Xdp = program.try_into().map_err(Error::bpf("find the program"))?;
    program.load().map_err(Error::bpf("load the sink's program"))?;
    Ok(program)
}

fn counters(bpf: &mut Ebpf) -> Result<PerCpuArray<MapData, Counters>, Error> {
    let map = bpf.take_map("counters").ok_or_else(|| missing("counters"))?;
    map.try_into().map_err(Error::bpf("open the sink's map"))
}

fn missing(what: &'static str) -> Error {
    Error::Bpf { action: "find a part of the sink's object", source: what.into() }
}

#[cfg(test)]
mod tests {
    use aya::{TestRun as _, TestRunOptions};
    use etherparse::PacketBuilder;
    use halfspace_testbed::{Requirement, ready};

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

    #[test]
    fn each_frame_is_counted_as_what_it_is() {
        if !ready(&[Requirement::Bpf]) {
            return;
        }
        let sources = Sources { address: Ipv4Addr::new(10, 1, 0, 0), length: 16 };
        let mut bpf = load(9, sources).unwrap();
        program(&mut bpf).unwrap();
        let counters = counters(&mut bpf).unwrap();
        let run = |frame: &[u8]| {
            let program: &Xdp = bpf.program("count").unwrap().try_into().unwrap();
            let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::new() };
            program.test_run(options).unwrap().return_value
        };
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
            assert_eq!(sum(&counters).unwrap(), expected, "{length}");
        }
        let mut padded = frame([10, 1, 2, 3], 9, &payload(9));
        padded.resize(60, 0xaa);
        assert_eq!(run(&padded), XDP_DROP);
        expected.valid += 1;
        expected.bytes += 60;
        assert_eq!(sum(&counters).unwrap(), expected);

        // Any flipped bit behind the Ethernet header is found, but for the fields that decide
        // whether it is a test frame at all.
        let good = frame([10, 1, 2, 3], 9, &payload(18));
        for bit in 0..8 * 46 {
            let mut bad = good.clone();
            bad[14 + bit / 8] ^= 1 << (bit % 8);
            let decides = matches!(14 + bit / 8, 14 | 23 | 36 | 37);
            assert_eq!(run(&bad), if decides { XDP_PASS } else { XDP_DROP }, "bit {bit}");
            expected.bad_checksum += u64::from(!decides);
            assert_eq!(sum(&counters).unwrap(), expected, "bit {bit}");
        }
        let mut without = good.clone();
        without[40..42].fill(0);
        assert_eq!(run(&without), XDP_DROP);
        expected.bad_checksum += 1;
        assert_eq!(sum(&counters).unwrap(), expected);

        assert_eq!(run(&frame([10, 1, 2, 3], 9, b"something else 123")), XDP_DROP);
        expected.bad_marker += 1;
        assert_eq!(sum(&counters).unwrap(), expected);

        assert_eq!(run(&frame([10, 2, 2, 3], 9, &payload(18))), XDP_DROP);
        expected.bad_source += 1;
        assert_eq!(sum(&counters).unwrap(), expected);

        // Not ours: to the stack, uncounted.
        assert_eq!(run(&frame([10, 1, 2, 3], 10, &payload(18))), XDP_PASS);
        let mut arp = good;
        arp[12..14].copy_from_slice(&[0x08, 0x06]);
        assert_eq!(run(&arp), XDP_PASS);
        assert_eq!(sum(&counters).unwrap(), expected);
        assert_eq!(expected.broken(), expected.bad_checksum + 2);
    }
}
