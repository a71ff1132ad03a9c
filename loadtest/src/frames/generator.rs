//! The generator: an XDP program that writes test frames, run by the kernel on live frames, which
//! reaches millions a second from one core.

use std::time::Duration;

use aya::{Ebpf, EbpfLoader};

use super::Plan;
use super::live::{self, Live};
use super::sender::Order;
use crate::error::Error;

/// The program, loaded for one plan and one link.
pub struct Generator {
    bpf: Ebpf,
    /// Of the program in it.
    name: &'static str,
    live: Live,
}

impl Generator {
    /// Loads the program; frames will leave by the link with index `output`.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn load(plan: &Plan, output: u32) -> Result<Self, Error> {
        let mut bpf = EbpfLoader::new()
            .override_global("output_index", &output, true)
            .override_global("plan", &plan.constants(), true)
            .load(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/generator.bpf.o")))
            .map_err(Error::bpf("load the generator's program"))?;
        let name = plan.pick(["generate_udp4", "generate_udp6", "generate_tcp4", "generate_tcp6"]);
        live::load(&mut bpf, name)?;
        let live = Live::new(&mut bpf, plan)?;
        Ok(Self { bpf, name, live })
    }

    /// Frames sent so far.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn sent(&self) -> Result<u64, Error> {
        self.live.sent()
    }

    /// Time from the first to the last frame of the last order that had a rate.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn took(&self) -> Result<Duration, Error> {
        self.live.took()
    }

    /// Sends as fast as it goes until [`Generator::halt`]. The calling thread must be in the
    /// namespace of the output link.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn flood(&self, stop: impl Fn() -> bool) -> Result<(), Error> {
        self.live.flood(live::program(&self.bpf, self.name)?, stop)
    }

    /// Ends a flood from another thread, at once: what is left of its run sends nothing. The
    /// flood's `stop` must hold by then.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn halt(&self) -> Result<(), Error> {
        self.live.halt()
    }

    /// Sends `count` frames, at most `rate` a second, unless `stop` ends it before. The calling
    /// thread must be in the namespace of the output link.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn trickle(&self, count: u32, rate: u32, stop: impl Fn() -> bool) -> Result<(), Error> {
        self.live.trickle(live::program(&self.bpf, self.name)?, count, rate, stop)
    }

    /// Carries an order out, unless `stop` ends it before. The calling thread must be in the
    /// namespace of the output link.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn obey(&self, order: &Order, stop: impl Fn() -> bool) -> Result<(), Error> {
        self.live.obey(live::program(&self.bpf, self.name)?, order, stop)
    }
}

#[cfg(test)]
mod tests {
    use aya::{TestRun as _, TestRunOptions};
    use halfspace_testbed::{Requirement, ready};

    use super::super::Protocol;
    use super::super::build::tests::{expected, plans};
    use super::super::build::{Frame, TcpFlags};
    use super::*;

    const XDP_DROP: u32 = 1;
    const XDP_REDIRECT: u32 = 4;

    fn call(generator: &Generator, input: &[u8]) -> (u32, Vec<u8>) {
        let mut output = vec![0; 2048];
        let options = TestRunOptions {
            data_in: Some(input),
            data_out: Some(&mut output),
            ..TestRunOptions::new()
        };
        let result =
            live::program(&generator.bpf, generator.name).unwrap().test_run(options).unwrap();
        output.truncate(result.data_size_out as usize);
        (result.return_value, output)
    }

    #[test]
    fn frames_are_byte_for_byte_what_another_implementation_builds() {
        if !ready(&[Requirement::Bpf]) {
            return;
        }
        for plan in plans() {
            let kinds: &[TcpFlags] = match plan.protocol {
                Protocol::Udp => &[TcpFlags::PUSH],
                Protocol::Tcp => &[TcpFlags::SYN, TcpFlags::PUSH, TcpFlags::RST],
            };
            let generator = Generator::load(&plan, 1).unwrap();
            let headers = plan.transport_offset() + plan.protocol.header() + super::super::MARKER;
            let sizes = plan.sizes.get();
            let mut sequence = 0;
            for &flags in kinds {
                let order = Order { flags, first: 5, flows: 7, ..Order::endless(7) };
                generator.live.control(order, u64::MAX).unwrap();
                for _ in 0..21 {
                    // As a page looks that comes back from a gateway: headers overwritten.
                    let mut input = vec![0; plan.sizes.largest() as usize];
                    input[..headers as usize].fill(0xff);
                    let number = 5 + sequence as u32 % 7;
                    let frame = Frame {
                        tuple: plan.tuple(number),
                        number,
                        sequence,
                        size: sizes[sequence as usize % sizes.len()],
                        flags,
                        time: None,
                    };
                    let (verdict, output) = call(&generator, &input);
                    assert_eq!(verdict, XDP_REDIRECT);
                    assert_eq!(output, expected(&plan, &frame), "{frame:?} of {plan:?}");
                    sequence += 1;
                }
            }
            assert_eq!(generator.sent().unwrap(), sequence);
        }
    }

    #[test]
    fn every_nth_frame_carries_the_time() {
        if !ready(&[Requirement::Bpf]) {
            return;
        }
        let plan = Plan { sample_interval: 3, ..plans()[0] };
        let generator = Generator::load(&plan, 1).unwrap();
        generator.live.control(Order::endless(7), u64::MAX).unwrap();
        let magics: Vec<_> =
            (0..7).map(|_| call(&generator, &[0; 60]).1[42..46].to_vec()).collect();
        let timed: Vec<_> = magics.iter().map(|magic| magic == b"HSLU").collect();
        assert_eq!(timed, [true, false, false, true, false, false, true]);
    }

    #[test]
    fn nothing_is_sent_beyond_the_limit_or_ahead_of_time() {
        if !ready(&[Requirement::Bpf]) {
            return;
        }
        let generator = Generator::load(&plans()[0], 1).unwrap();
        let call = || call(&generator, &[0; 60]).0;
        let order = Order::endless(7);
        generator.live.control(order, 2).unwrap();
        assert_eq!([call(), call(), call()], [XDP_REDIRECT, XDP_REDIRECT, XDP_DROP]);
        // An hour: no machine is that slow.
        let order = Order { interval: Duration::from_hours(1), ..order };
        generator.live.control(order, 9).unwrap();
        assert_eq!([call(), call()], [XDP_REDIRECT, XDP_DROP]);
        assert_eq!(generator.sent().unwrap(), 3);
    }
}
