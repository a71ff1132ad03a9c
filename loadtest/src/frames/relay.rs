//! A gateway that is none: every frame of one link leaves by another, unseen.

use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use halfspace_testbed::Namespace;

use crate::error::Error;

/// The program, attached until this is dropped.
#[derive(Debug)]
pub struct Relay {
    /// Holds the program and its link.
    _bpf: Ebpf,
}

impl Relay {
    /// Redirects what comes in by `input` to `output`, both links of the namespace.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`], [`Error::Testbed`].
    pub fn attach(namespace: &Namespace, input: &str, output: &str) -> Result<Self, Error> {
        let index = namespace.link_index(output)?;
        let mut bpf = EbpfLoader::new()
            .override_global("output_index", &index, true)
            .load(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/relay.bpf.o")))
            .map_err(Error::bpf("load the relay's program"))?;
        let program = bpf.program_mut("relay").ok_or_else(|| Error::Bpf {
            action: "find a part of the relay's object",
            source: "relay".into(),
        })?;
        let program: &mut Xdp = program.try_into().map_err(Error::bpf("find the program"))?;
        program.load().map_err(Error::bpf("load the relay's program"))?;
        namespace
            .enter(|| program.attach(input, XdpMode::Driver))?
            .map_err(Error::bpf("attach the relay's program"))?;
        Ok(Self { _bpf: bpf })
    }
}
