//! The data path in the kernel.
//!
//! Everything that packets need is pinned on a BPF file system: maps and links stay when the
//! process ends, and established flows go on. The next process finds them, puts its own programs
//! on the links, and takes over.
//!
//! | file | idea |
//! | --- | --- |
//! | `object` | the compiled programs and how they get into the kernel |
//! | `pin_dir` | the directory of the pins, and the lock on it |
//! | `maps` | making the pinned maps, or taking them over |
//! | `links` | ports and the programs on them |
//! | `device` | what an interface is like |
//! | `stocks` | what the programs give to the flows that they make themselves |
//! | `tables` | the maps as the engine's fast path |
//! | `sys` | bpf(2) |

mod device;
mod links;
mod maps;
pub(crate) mod object;
mod pin_dir;
pub(crate) mod stocks;
mod sys;
mod tables;

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aya::maps::{MapData, RingBuf};
use aya::programs::ProgramError;
use nf_core::action::ChecksumField;
use nf_core::adjacency::Adjacency;
use nf_core::fast_path::soft::FrameMeta;
use nf_core::fast_path::{Entry, Event, FastPath, TcpEvent};
use nf_core::id::{AdjacencyId, PortId};
use nf_core::tuple::FlowKey;
use nf_core::verdict::{FastDrop, Punt};

pub use maps::Origin;

use crate::inject::Injector;
use crate::layout::template::{MadeRecord, RECORD_MADE, RECORD_UNUSED};
use crate::layout::{RECORD_FRAME, RECORD_TCP, RecordHead, slot, split_flow};
use crate::{AttachError, Attached, Failure, HookWish, Options, Received, Statistics};
use links::Links;
use object::Sizes;
use pin_dir::PinDir;
use tables::Tables;

/// Bounds of the punt ring, in bytes: it must hold some frames of the largest size, and may not be
/// larger than the kernel makes one.
const RING_MIN: u32 = 1 << 18;
const RING_MAX: u32 = 1 << 30;

/// Why the data path could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "{path} is in use by {holder}: stop that one first, or give this one a directory of its own"
    )]
    Busy {
        /// The directory.
        path: PathBuf,
        /// Who.
        holder: String,
    },
    /// Maps cannot be pinned there.
    #[error(
        "{path} is not on a BPF file system: {why}. Mount one (mount -t bpf bpf /sys/fs/bpf), or \
         choose a directory below one"
    )]
    NoBpffs {
        /// The directory.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The directory for the pins cannot be used.
    #[error("cannot {action} {path}: {error}")]
    PinDir {
        /// The directory.
        path: PathBuf,
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        error: io::Error,
    },
    /// The maps cannot be used.
    #[error("cannot {action} the pinned maps: {error}")]
    Maps {
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        error: io::Error,
    },
    /// The compiled programs are broken.
    #[error("the compiled BPF object is broken: {0}")]
    Object(Box<dyn std::error::Error + Send + Sync>),
    /// The kernel does not take maps or programs.
    #[error(
        "the kernel refuses the BPF programs (this needs Linux 6.6, CAP_BPF and CAP_NET_ADMIN): {0}"
    )]
    Refused(Box<dyn std::error::Error + Send + Sync>),
    /// Frames cannot be sent.
    #[error("cannot open the socket for sending (this needs CAP_NET_RAW): {0}")]
    Injector(io::Error),
}

impl OpenError {
    fn maps(action: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self::Maps { action, error }
    }

    fn from_loader(error: aya::EbpfError) -> Self {
        Self::Refused(error.into())
    }

    fn from_program(error: ProgramError) -> Self {
        // The verifier writes hundreds of kilobytes; why it refused stands at their end.
        const LAST_LINES: usize = 12;

        match error {
            ProgramError::LoadError { io_error, verifier_log } => {
                let log = verifier_log.to_string();
                let lines: Vec<_> = log.lines().collect();
                let tail = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
                Self::Refused(format!("{io_error}\n{tail}").into())
            }
            error => Self::Refused(error.into()),
        }
    }
}

/// The data path in the kernel. Dropping it leaves everything in place and forwarding;
/// [`Ebpf::uninstall`] removes it.
pub struct Ebpf {
    tables: Tables,
    ring: RingBuf<MapData>,
    links: Linker,
    /// Ports that this process has attached, against those an earlier one left.
    attached: Vec<PortId>,
    cpus: usize,
}

impl std::fmt::Debug for Ebpf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ebpf").field("ports", &self.ports()).finish_non_exhaustive()
    }
}

/// Makes and removes the links of ports on any thread. The kernel takes many milliseconds for each:
/// it waits until no CPU uses what was there before.
#[derive(Clone, Debug)]
pub struct Linker(Arc<Mutex<Links>>);

impl Linker {
    /// Makes a port's links, as [`Ebpf::attach`] would; that finds them made then, and is quick.
    ///
    /// # Errors
    ///
    /// [`AttachError`].
    pub fn link(&self, port: PortId, name: &str, wish: HookWish) -> Result<Attached, AttachError> {
        self.links().attach(port, name, wish)
    }

    /// Removes the links of a port that [`Ebpf::let_go`] was called for, unless it was attached
    /// again since.
    pub fn unlink(&self, port: PortId) {
        if let Err(error) = self.links().remove_leaving(port) {
            tracing::warn!(%port, %error, "could not remove a port's links");
        }
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        // Whoever panicked with the lock held has noted no link that is not there.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ebpf {
    /// Takes over what an earlier process left in the kernel, or installs it anew.
    ///
    /// Ports that were attached stay so: from here on they run this process's programs.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(options: &Options) -> Result<(Self, Origin), OpenError> {
        let dir = PinDir::open(&options.pin_dir)?;
        let sizes = Sizes {
            entries4: options.flows.saturating_mul(2).max(2),
            entries6: options.ipv6_flows.saturating_mul(2).max(2),
            ring: options.ring_bytes.clamp(RING_MIN, RING_MAX).next_power_of_two(),
        };
        let maps::Opened { maps, ring, programs, origin } = maps::open(&dir, sizes)?;
        let injector = Injector::open().map_err(OpenError::Injector)?;
        let restamp = programs.restamp.try_clone().map_err(OpenError::maps("duplicate"))?;
        let links = Links::take_over(dir, programs).map_err(OpenError::maps("relink"))?;
        let cpus = aya::util::nr_cpus()
            .map_err(|(_, error)| OpenError::Maps { action: "count the CPUs of", error })?;
        let mut tables = Tables::new(maps, restamp, injector, cpus);
        tables.forget_templates().map_err(OpenError::maps("clear"))?;
        for port in links.ports().into_iter().filter(|&port| links.takes_xdp(port)) {
            tables.set_takes_xdp(port, true).map_err(OpenError::maps("update"))?;
        }
        let links = Linker(Arc::new(Mutex::new(links)));
        Ok((Self { tables, ring, links, attached: Vec::new(), cpus }, origin))
    }

    /// The table that moves packets.
    pub fn fast_path(&mut self) -> &mut dyn FastPath {
        &mut self.tables
    }

    /// See [`crate::Datapath::attach`].
    ///
    /// # Errors
    ///
    /// [`AttachError`].
    pub fn attach(
        &mut self,
        port: PortId,
        name: &str,
        wish: HookWish,
    ) -> Result<Attached, AttachError> {
        let attached = self.links.link(port, name, wish)?;
        self.follow_xdp(port).map_err(|error| AttachError::System {
            name: name.to_owned(),
            action: "update its adjacencies",
            error,
        })?;
        if !self.attached.contains(&port) {
            self.attached.push(port);
        }
        Ok(attached)
    }

    /// See [`crate::Datapath::detach`].
    pub fn detach(&mut self, port: PortId) {
        self.let_go(port);
        self.links.unlink(port);
    }

    /// See [`crate::Datapath::let_go`].
    pub fn let_go(&mut self, port: PortId) {
        self.attached.retain(|&other| other != port);
        self.links.links().let_go(port);
        if let Err(error) = self.tables.set_takes_xdp(port, false) {
            tracing::warn!(%port, %error, "could not update the adjacencies of a port that goes");
        }
    }

    /// See [`crate::Datapath::linker`].
    #[must_use]
    pub fn linker(&self) -> Linker {
        self.links.clone()
    }

    /// Ports with links, those that an earlier process left included.
    #[must_use]
    pub fn ports(&self) -> Vec<PortId> {
        self.links.links().ports()
    }

    fn follow_xdp(&mut self, port: PortId) -> io::Result<()> {
        let takes_xdp = self.links.links().takes_xdp(port);
        self.tables.set_takes_xdp(port, takes_xdp)
    }

    /// See [`crate::Datapath::recover`].
    ///
    /// # Errors
    ///
    /// If the kernel's tables cannot be read.
    pub fn recover(
        &mut self,
        visit: &mut dyn FnMut(FlowKey, Entry),
    ) -> io::Result<Vec<(AdjacencyId, Adjacency)>> {
        self.tables.entries(visit)?;
        self.tables.adjacencies()
    }

    /// See [`crate::Datapath::finish_recovery`].
    pub fn finish_recovery(&mut self) {
        for port in self.ports() {
            if !self.attached.contains(&port) {
                self.detach(port);
            }
        }
        if let Err(error) = self.tables.remove_unclaimed() {
            tracing::warn!(%error, "could not remove what an earlier process left");
        }
    }

    /// See [`crate::Datapath::receive`].
    pub fn receive(
        &mut self,
        budget: usize,
        handle: &mut dyn FnMut(&mut dyn FastPath, Received<'_>),
    ) -> usize {
        for received in 0..budget {
            let Some(record) = self.ring.next() else { return received };
            // The kernel program writes no other records; a process of another layout was refused
            // the map.
            if let Some(received) = read_record(&record) {
                handle(&mut self.tables, received);
            }
        }
        budget
    }

    /// Readable when there is something to receive.
    #[must_use]
    pub fn poll_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    /// See [`crate::Datapath::statistics`].
    ///
    /// # Errors
    ///
    /// If the kernel's counters cannot be read.
    pub fn statistics(&self) -> io::Result<Statistics> {
        let verdicts = self.tables.maps().verdicts.as_fd();
        let read = |slot| {
            let by_cpu = sys::per_cpu::<u64>(verdicts, slot, self.cpus)?;
            io::Result::Ok(by_cpu.iter().sum())
        };
        let mut statistics = Statistics {
            forwarded: read(slot::FORWARD)?,
            passed: read(slot::PASS)?,
            tapped: read(slot::TAP)?,
            lost_events: read(slot::LOST_EVENT)?,
            failed_transmits: self.tables.injector().totals().failed(),
            failed_updates: self.tables.failure_count(),
            ..Statistics::default()
        };
        for (reason, count) in Punt::ALL.iter().zip(&mut statistics.punted) {
            *count = read(slot::PUNT + u32::from(*reason as u8))?;
        }
        for (reason, count) in FastDrop::ALL.iter().zip(&mut statistics.dropped) {
            *count = read(slot::DROP + u32::from(*reason as u8))?;
        }
        Ok(statistics)
    }

    /// The newest changes of the kernel's tables that failed since the last call.
    pub fn take_failures(&mut self) -> Vec<Failure> {
        self.tables.take_failures()
    }

    /// See [`crate::Datapath::uninstall`].
    ///
    /// # Errors
    ///
    /// The first of what could not be removed; the rest is.
    pub fn uninstall(self) -> io::Result<()> {
        let mut links = self.links.links();
        let detached = links.detach_all();
        let maps = maps::unpin(links.dir());
        detached.and(maps).and(links.dir().remove_itself())
    }
}

/// What a record of the ring says; `None` if it is not one of ours.
fn read_record(record: &[u8]) -> Option<Received<'_>> {
    let (head, rest) = RecordHead::split(record)?;
    match head.kind {
        RECORD_FRAME => Some(Received::Frame {
            port: PortId::new(head.ifindex)?,
            reason: Punt::from_number(head.reason)?,
            meta: FrameMeta {
                segment_size: u16::try_from(head.segment_size).ok()?,
                checksum: ChecksumField::Complete,
            },
            frame: rest.get(..head.length as usize)?,
        }),
        RECORD_TCP => {
            let (flow, direction) = split_flow(head.flow);
            let event = TcpEvent { flow, direction, flags: head.tcp_flags };
            Some(Received::Event(Event::Tcp(event)))
        }
        RECORD_MADE | RECORD_UNUSED => {
            Some(Received::Event(Event::Made(MadeRecord::decode(record)?)))
        }
        _ => None,
    }
}
