//! The XDP program on the interface, which sends the application's frames to its socket.

use std::net::{Ipv4Addr, Ipv6Addr};

use aya::maps::{MapData, PerCpuArray, XskMap};
use aya::programs::links::FdLink;
use aya::programs::{ProgramError, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader, Pod};
use clap::ValueEnum;
use nix::errno::Errno;
use serde::Serialize;

use crate::answer::Host;
use crate::error::Error;
use crate::interface::Interface;
use crate::socket::Socket;

/// What becomes of frames that are not for the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Others {
    /// They go up the kernel's stack, as they would without the program.
    #[default]
    Pass,
    /// They are dropped, and counted: the kernel gets nothing from the interface.
    Drop,
}

impl Others {
    /// What the program returns for them, `enum xdp_action` of `<linux/bpf.h>`.
    const fn action(self) -> u32 {
        match self {
            Self::Pass => 2,
            Self::Drop => 1,
        }
    }
}

/// What the program counted, frames each: `struct counters` of bpf/steer.bpf.c.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    /// For the application, sent to the socket.
    pub steered: u64,
    /// For the application, but received by another queue than the socket's: dropped.
    pub other_queue: u64,
    /// Not for the application, left to the kernel's stack.
    pub passed: u64,
    /// Not for the application, dropped.
    pub dropped: u64,
}

// SAFETY: integers of one size only: no padding, any bit pattern is valid.
unsafe impl Pod for Counters {}

/// The program, attached until this is dropped, whatever the process ends by: its link is a
/// descriptor, and the kernel detaches the program with the last one of it.
pub struct Steering {
    counters: PerCpuArray<MapData, Counters>,
    link: Option<FdLink>,
    /// Holds the program and its map of sockets.
    _bpf: Ebpf,
}

impl Steering {
    /// Loads the program for `host`'s addresses and attaches it.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`], or [`Error::Taken`] if the interface runs another one.
    pub fn attach(
        interface: &Interface,
        host: &Host,
        queue: u32,
        socket: &Socket,
        others: Others,
    ) -> Result<Self, Error> {
        // In the order of a packet; no address is all zero.
        let ipv4 = host.ipv4.unwrap_or(Ipv4Addr::UNSPECIFIED).octets();
        let ipv6 = host.ipv6.unwrap_or(Ipv6Addr::UNSPECIFIED).octets();
        let mut bpf = EbpfLoader::new()
            .override_global("address4", &ipv4, true)
            .override_global("address6", &ipv6, true)
            .override_global("queue", &queue, true)
            .override_global("others", &others.action(), true)
            .load(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/steer.bpf.o")))
            .map_err(Error::bpf("load the XDP program"))?;

        let mut take = |name: &'static str| {
            let missing = || format!("its object has no map {name}");
            bpf.take_map(name).ok_or_else(missing).map_err(Error::bpf("load the XDP program"))
        };
        let counters = take("counters")?;
        let mut sockets: XskMap<MapData> =
            take("sockets")?.try_into().map_err(Error::bpf("open the map of sockets"))?;
        sockets
            .set(0, socket.descriptor(), 0)
            .map_err(Error::bpf("tell the XDP program of the socket"))?;

        let program: &mut Xdp = bpf
            .program_mut("steer")
            .ok_or("its object has no program")
            .map_err(Error::bpf("load the XDP program"))?
            .try_into()
            .map_err(Error::bpf("load the XDP program"))?;
        program.load().map_err(Error::bpf("load the XDP program"))?;
        // The driver's hook where it has one, else the kernel's own.
        let link = program
            .attach_to_if_index(interface.index, XdpMode::Default)
            .map_err(|error| failed_to_attach(interface, error))?;
        let link = program.take_link(link).map_err(Error::bpf("attach the XDP program"))?;
        // An attachment without a link would outlive a killed process. Only kernels older than
        // Linux 5.9 have no other.
        let link =
            FdLink::try_from(link).map_err(Error::bpf("attach the XDP program by a link"))?;
        Ok(Self {
            counters: counters.try_into().map_err(Error::bpf("open the map of counters"))?,
            link: Some(link),
            _bpf: bpf,
        })
    }

    /// Detaches the program; its counters can still be read.
    pub fn detach(&mut self) {
        self.link = None;
    }

    /// What the program counted so far.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn counters(&self) -> Result<Counters, Error> {
        let per_cpu =
            self.counters.get(&0, 0).map_err(Error::bpf("read the XDP program's counters"))?;
        Ok(per_cpu.iter().fold(Counters::default(), |sum, cpu| Counters {
            steered: sum.steered + cpu.steered,
            other_queue: sum.other_queue + cpu.other_queue,
            passed: sum.passed + cpu.passed,
            dropped: sum.dropped + cpu.dropped,
        }))
    }
}

fn failed_to_attach(interface: &Interface, error: ProgramError) -> Error {
    let errno = match &error {
        ProgramError::SyscallError(call) => call.io_error.raw_os_error().map(Errno::from_raw),
        _ => None,
    };
    let (action, source) = ("attach the XDP program", error.into());
    match errno {
        Some(Errno::EBUSY) => Error::Taken { interface: interface.name.clone() },
        Some(Errno::ERANGE) => {
            let advice = "; a frame of the interface's MTU must fit a page: make it 3400 or less";
            Error::Bpf { action, source, advice }
        }
        _ => Error::bpf(action)(source),
    }
}
