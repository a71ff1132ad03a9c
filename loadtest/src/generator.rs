//! The generator: an XDP program that writes test frames, run by the kernel on live frames
//! (`BPF_F_TEST_XDP_LIVE_FRAMES`, Linux 5.18), which reaches millions a second from one core.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aya::maps::{Array, MapData};
use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfLoader, Pod, TestRun as _, TestRunAttrs, TestRunOptions};

use crate::error::Error;
use crate::frame::Plan;

/// Frames that the kernel hands on together, as a NIC's driver does (`NAPI_POLL_WEIGHT`).
const BATCH: u32 = 64;

/// How long one run of the program should take at full speed. Between two the kernel pauses for
/// some 25 ms to tear down and set up (page pools, grace periods), which should not count.
const LONG_RUN: Duration = Duration::from_secs(2);

/// The same where the end should be noticed soon.
const SHORT_RUN: Duration = Duration::from_millis(100);

/// The program, loaded for one plan and one link.
pub struct Generator {
    bpf: Ebpf,
    control: Mutex<Array<MapData, Control>>,
    progress: Array<MapData, Progress>,
    frame: Vec<u8>,
}

/// `struct control` of the program.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Control {
    limit: u64,
    interval: u64,
}

// SAFETY: integers only, no padding, any bit pattern is valid.
unsafe impl Pod for Control {}

/// `struct progress` of the program.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Progress {
    sent: u64,
    due: u64,
    flow: u32,
    pad: u32,
}

// SAFETY: integers only, no padding, any bit pattern is valid.
unsafe impl Pod for Progress {}

impl Generator {
    /// Loads the program; frames will leave by the link with index `output`.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn load(plan: &Plan, output: u32) -> Result<Self, Error> {
        let first_client = plan.first_client.to_bits();
        let first_server = plan.first_server.to_bits();
        let server_port = u32::from(plan.server_port);
        let mut bpf = EbpfLoader::new()
            .override_global("output_index", &output, true)
            .override_global("flows", &plan.flows, true)
            .override_global("clients", &plan.clients, true)
            .override_global("first_client", &first_client, true)
            .override_global("servers", &plan.servers, true)
            .override_global("first_server", &first_server, true)
            .override_global("server_port", &server_port, true)
            .override_global("frame_size", &plan.frame_size, true)
            .override_global("source_mac", &plan.source_mac, true)
            .override_global("destination_mac", &plan.destination_mac, true)
            .load(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/generator.bpf.o")))
            .map_err(Error::bpf("load the generator's program"))?;
        let program = bpf.program_mut("generate").ok_or_else(|| missing("generate"))?;
        let program: &mut Xdp = program.try_into().map_err(Error::bpf("find the program"))?;
        program.load().map_err(Error::bpf("load the generator's program"))?;
        let control = array(&mut bpf, "control")?;
        let progress = array(&mut bpf, "progress")?;
        Ok(Self {
            bpf,
            control: Mutex::new(control),
            progress,
            frame: vec![0; plan.frame_size as usize],
        })
    }

    /// Frames sent so far.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn sent(&self) -> Result<u64, Error> {
        self.progress
            .get(&0, 0)
            .map(|progress| progress.sent)
            .map_err(Error::bpf("read the generator's count"))
    }

    /// Sends as fast as it goes until [`Generator::halt`]. The calling thread must be in the
    /// namespace of the output link.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn flood(&self, stop: impl Fn() -> bool) -> Result<(), Error> {
        self.order(u64::MAX, Duration::ZERO)?;
        self.run(LONG_RUN, || Ok(stop()))
    }

    /// Ends a flood from another thread, at once: what is left of its run sends nothing. The
    /// flood's `stop` must hold by then.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn halt(&self) -> Result<(), Error> {
        self.order(0, Duration::ZERO)
    }

    /// Sends `count` frames, at most `rate` a second, unless `stop` ends it before. The calling
    /// thread must be in the namespace of the output link.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn trickle(&self, count: u32, rate: u32, stop: impl Fn() -> bool) -> Result<(), Error> {
        let limit = self.sent()? + u64::from(count);
        self.order(limit, Duration::from_secs(1) / rate)?;
        self.run(SHORT_RUN, || Ok(stop() || self.sent()? >= limit))
    }

    /// Runs the program, for about `duration` at a time, until `stop`.
    fn run(
        &self,
        duration: Duration,
        mut stop: impl FnMut() -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let mut repeat = 64 * BATCH;
        while !stop()? {
            let begun = Instant::now();
            let options = TestRunOptions {
                data_in: Some(&self.frame),
                repeat,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::new()
            };
            match self.program()?.test_run(options) {
                // A signal cut it short: `stop` tells whether that was meant.
                Err(ProgramError::SyscallError(error))
                    if error.io_error.raw_os_error() == Some(nix::libc::EINTR) => {}
                result => {
                    result.map_err(Error::bpf("run the generator's program"))?;
                }
            }
            repeat = next_repeat(repeat, begun.elapsed(), duration);
        }
        Ok(())
    }

    fn order(&self, limit: u64, interval: Duration) -> Result<(), Error> {
        let control = Control { limit, interval: interval.as_nanos() as u64 };
        let mut map = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        map.set(0, control, 0).map_err(Error::bpf("control the generator"))
    }

    fn program(&self) -> Result<&Xdp, Error> {
        let program = self.bpf.program("generate").ok_or_else(|| missing("generate"))?;
        program.try_into().map_err(Error::bpf("find the program"))
    }
}

/// How many calls will take about `duration`, if `repeat` calls took `took`; at most eight times
/// as many or an eighth.
fn next_repeat(repeat: u32, took: Duration, duration: Duration) -> u32 {
    let per_call = (took.as_nanos() / u128::from(repeat)).max(1);
    let (least, most) = (repeat / 8, repeat.saturating_mul(8));
    let ideal = (duration.as_nanos() / per_call).clamp(least.into(), most.into());
    // Bounded by a u32 just before.
    (ideal as u32).max(BATCH)
}

fn array<V: Pod>(bpf: &mut Ebpf, name: &'static str) -> Result<Array<MapData, V>, Error> {
    let map = bpf.take_map(name).ok_or_else(|| missing(name))?;
    map.try_into().map_err(Error::bpf("open the generator's map"))
}

fn missing(what: &'static str) -> Error {
    Error::Bpf { action: "find a part of the generator's object", source: what.into() }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use etherparse::PacketBuilder;
    use halfspace_testbed::{Requirement, ready};

    use super::*;

    const XDP_DROP: u32 = 1;
    const XDP_REDIRECT: u32 = 4;

    fn plan(flows: u32, frame_size: u32) -> Plan {
        Plan {
            flows,
            clients: 3,
            first_client: Ipv4Addr::new(10, 1, 0, 255),
            servers: 2,
            first_server: Ipv4Addr::new(198, 51, 100, 1),
            server_port: 9,
            frame_size,
            source_mac: [2, 0, 0, 0, 0, 1],
            destination_mac: [2, 0, 0, 0, 0, 2],
        }
    }

    /// The frame number `sequence`, by other people's code.
    fn expected(plan: &Plan, sequence: u64) -> Vec<u8> {
        let flow = u32::try_from(sequence % u64::from(plan.flows)).unwrap();
        let source = Ipv4Addr::from_bits(plan.first_client.to_bits() + flow % plan.clients);
        let target = Ipv4Addr::from_bits(plan.first_server.to_bits() + flow % plan.servers);
        let port = 1024 + flow / plan.clients * 39989 % 64512;
        let mut payload = vec![0; plan.frame_size as usize - 42];
        payload[0..4].copy_from_slice(b"HSLT");
        payload[4..8].copy_from_slice(&flow.to_be_bytes());
        payload[8..16].copy_from_slice(&sequence.to_be_bytes());
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(plan.source_mac, plan.destination_mac)
            .ipv4(source.octets(), target.octets(), 64)
            .udp(u16::try_from(port).unwrap(), plan.server_port)
            .write(&mut frame, &payload)
            .unwrap();
        frame
    }

    #[test]
    fn frames_are_byte_for_byte_what_another_implementation_builds() {
        if !ready(&[Requirement::Bpf]) {
            return;
        }
        for frame_size in [60, 61, 1514] {
            let plan = plan(7, frame_size);
            let generator = Generator::load(&plan, 1).unwrap();
            generator.order(u64::MAX, Duration::ZERO).unwrap();
            for sequence in 0..20 {
                // As a page looks that comes back from a gateway.
                let (input, mut output) = (vec![0xff; frame_size as usize], vec![0; 2048]);
                let input = [&input[..60], &vec![0; frame_size as usize - 60][..]].concat();
                let options = TestRunOptions {
                    data_in: Some(&input),
                    data_out: Some(&mut output),
                    ..TestRunOptions::new()
                };
                let result = generator.program().unwrap().test_run(options).unwrap();
                assert_eq!(result.return_value, XDP_REDIRECT);
                output.truncate(result.data_size_out as usize);
                assert_eq!(output, expected(&plan, sequence), "frame {sequence} of {frame_size}");
            }
            assert_eq!(generator.sent().unwrap(), 20);
        }
    }

    #[test]
    fn nothing_is_sent_beyond_the_limit_or_ahead_of_time() {
        if !ready(&[Requirement::Bpf]) {
            return;
        }
        let plan = plan(7, 60);
        let generator = Generator::load(&plan, 1).unwrap();
        let call = || {
            let options = TestRunOptions { data_in: Some(&[0; 60]), ..TestRunOptions::new() };
            generator.program().unwrap().test_run(options).unwrap().return_value
        };
        generator.order(2, Duration::ZERO).unwrap();
        assert_eq!([call(), call(), call()], [XDP_REDIRECT, XDP_REDIRECT, XDP_DROP]);
        // An hour: no machine is that slow.
        generator.order(9, Duration::from_hours(1)).unwrap();
        assert_eq!([call(), call()], [XDP_REDIRECT, XDP_DROP]);
        assert_eq!(generator.sent().unwrap(), 3);
    }

    #[test]
    fn runs_approach_their_time_and_never_vanish() {
        let second = Duration::from_secs(1);
        let mut repeat = 64;
        for _ in 0..10 {
            repeat = next_repeat(repeat, Duration::from_nanos(500) * repeat, second);
        }
        assert_eq!(repeat, 2_000_000);
        assert_eq!(next_repeat(64, Duration::from_secs(10), second), 64);
        assert_eq!(next_repeat(1000, Duration::ZERO, second), 8000);
    }
}
