//! Kernel fast path: BPF programs, loader, punt ring, injection, and the user-space fall-back.
//!
//! [`Datapath`] moves packets between ports. What its flow table knows, it forwards by itself; the
//! rest it hands to the engine as [`Received`], and the engine answers through
//! [`FastPath`]. There are two of them behind one face:
//!
//! - [`ebpf::Ebpf`]: programs in the kernel, on tcx or XDP. Established flows never come to user
//!   space, and go on while the process is stopped, replaced or dead.
//! - [`userspace::Userspace`]: packet sockets and the reference fast path in Rust, where BPF is not
//!   to be had. The same verdicts, slower, and only while the process runs.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use nf_core::adjacency::Adjacency;
use nf_core::fast_path::soft::FrameMeta;
use nf_core::fast_path::{Class, Entry, Event, FastPath};
use nf_core::id::{AdjacencyId, PortId};
use nf_core::tuple::FlowKey;
use nf_core::verdict::{FastDrop, Punt};

pub mod ebpf;
pub mod inject;
mod layout;
mod packet_socket;
pub mod userspace;

use ebpf::Ebpf;
use userspace::Userspace;

/// What the fast path hands to user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A frame that the fast path did not forward.
    Frame {
        /// The port it came in on.
        port: PortId,
        /// Why.
        reason: Punt,
        /// What is known of it beyond its bytes. The kernel program cannot see what the transport
        /// checksum field holds and says `Complete`; whoever sends the frame on has to check.
        meta: FrameMeta,
        /// Ethernet frame without the check sequence.
        frame: &'a [u8],
    },
    /// What the fast path tells of.
    Event(Event),
}

/// Which hook a port is asked to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HookWish {
    /// XDP in the driver where the port is a device whose driver has it, tcx on everything virtual:
    /// veth and tap carry super-packets and partial checksums, which only tcx keeps right.
    #[default]
    Auto,
    /// tcx ingress.
    Tc,
    /// XDP in the driver.
    Xdp,
    /// XDP behind the driver, on any interface. Slower than tcx; for trying things out.
    XdpGeneric,
}

/// Which hook a port uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// tcx ingress.
    Tc,
    /// XDP in the driver; what leaves by a port without XDP goes on to tcx.
    Xdp,
    /// XDP behind the driver; likewise.
    XdpGeneric,
    /// A packet socket, read by user space.
    PacketSocket,
}

impl Hook {
    /// The name metrics and logs use.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tc => "tc",
            Self::Xdp => "xdp",
            Self::XdpGeneric => "xdp_generic",
            Self::PacketSocket => "packet_socket",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// How a port was attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The hook it uses.
    pub hook: Hook,
    /// Why this one, for logs.
    pub why: String,
}

/// What became of the packets that came in. All counts only grow; those of the kernel go on over
/// a restart of the process.
///
/// `forwarded + passed + tapped`, the punts and the drops add up to the packets in; a super-packet
/// is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Rewritten and sent on.
    pub forwarded: u64,
    /// Left to the host's own stack.
    pub passed: u64,
    /// Left to the host's own stack, and a copy handed to user space.
    pub tapped: u64,
    /// Handed to user space, by the number of the [`Punt`].
    pub punted: [u64; Punt::ALL.len()],
    /// Ended, by the number of the [`FastDrop`].
    pub dropped: [u64; FastDrop::ALL.len()],
    /// TCP events that found the punt ring full. The flags still stand in the entry's usage.
    pub lost_events: u64,
    /// Frames of user space's own that could not be sent.
    pub failed_transmits: u64,
    /// Changes of the kernel's tables that failed; the newest are told by
    /// [`Datapath::take_notices`].
    pub failed_updates: u64,
    /// Frames that are counted as forwarded but that a packet socket could not send.
    pub failed_forwards: u64,
    /// Frames that found a packet socket's receive buffer full. They are part of no other count.
    pub overruns: u64,
}

impl Statistics {
    /// Packets in.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.forwarded
            + self.passed
            + self.tapped
            + self.punted.iter().sum::<u64>()
            + self.dropped.iter().sum::<u64>()
    }
}

/// A change of the kernel's tables that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {change}: {error}")]
pub struct Failure {
    /// What was to be changed.
    pub change: Change,
    /// Why it was not. `E2BIG` (argument list too long) is a full table.
    pub error: io::Error,
}

/// A change of the kernel's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Installing an entry.
    Install(FlowKey),
    /// Removing an entry.
    Remove(FlowKey),
    /// Restamping entries, this one first.
    Restamp(FlowKey),
    /// Setting or taking back the template of a class.
    Template(Class),
    /// Filling or emptying an adjacency slot.
    Adjacency(AdjacencyId),
    /// Adding or removing a port.
    Port(PortId),
    /// Adding or removing an address of the gateway's own.
    OwnAddress(std::net::IpAddr),
    /// Moving the fence.
    Fence,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Install(key) => write!(f, "install the entry of {key}"),
            Self::Remove(key) => write!(f, "remove the entry of {key}"),
            Self::Restamp(key) => write!(f, "restamp entries from {key} on"),
            Self::Template(class) => write!(f, "set the template of {class}"),
            Self::Adjacency(slot) => write!(f, "set adjacency {}", slot.0),
            Self::Port(port) => write!(f, "set port {port}"),
            Self::OwnAddress(address) => write!(f, "set the own address {address}"),
            Self::Fence => f.write_str("move the fence"),
        }
    }
}

/// Something that went wrong beside the packets and that its operator should know.
#[derive(Debug, thiserror::Error)]
pub enum Notice {
    /// The kernel's tables refused a change.
    #[error("the kernel's tables refused a change: {0}")]
    Refused(#[from] Failure),
    /// The host's own stack could not be kept quiet, or not be given back its voice.
    #[error(transparent)]
    Setting(#[from] userspace::Warning),
    /// A packet socket has failed.
    #[error(transparent)]
    Gone(#[from] userspace::PortGone),
}

/// Which data path is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// eBPF, or user space where that cannot be had.
    #[default]
    Auto,
    /// eBPF or nothing.
    Ebpf,
    /// User space.
    Userspace,
}

/// How a data path is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which one.
    pub kind: Kind,
    /// Flows that the kernel's table for IPv4 holds. A flow takes two entries, about 290 bytes,
    /// allocated at the start.
    pub flows: u32,
    /// The same for IPv6, about 390 bytes.
    pub ipv6_flows: u32,
    /// Where maps and links are pinned: a directory on a BPF file system, for this gateway alone.
    pub pin_dir: PathBuf,
    /// Size of the ring for punted packets, in bytes; rounded up to a power of two.
    pub ring_bytes: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kind: Kind::Auto,
            flows: 1 << 20,
            ipv6_flows: 1 << 20,
            pin_dir: PathBuf::from("/sys/fs/bpf/halfspace"),
            ring_bytes: 16 << 20,
        }
    }
}

/// Why a data path could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The kernel's could not.
    #[error(transparent)]
    Ebpf(#[from] ebpf::OpenError),
    /// Neither could that of user space.
    #[error("cannot open packet sockets (this needs CAP_NET_RAW): {0}")]
    Userspace(#[source] io::Error),
}

/// Why a port could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// There is no such interface in this network namespace.
    #[error("there is no interface {name} with index {port} in this network namespace")]
    NoInterface {
        /// Its name.
        name: String,
        /// Its index.
        port: PortId,
    },
    /// Its frames have no Ethernet header.
    #[error("interface {name} is not an Ethernet one (hardware type {hardware_type})")]
    NotEthernet {
        /// Its name.
        name: String,
        /// The type, as `ARPHRD_*` numbers it.
        hardware_type: u16,
    },
    /// Another gateway's program is on it.
    #[error(
        "another gateway already serves interface {name} (BPF program {program}): stop that one \
         first; if it runs no more, remove what it has left pinned"
    )]
    Served {
        /// Its name.
        name: String,
        /// The kernel's number for the other's program.
        program: u32,
    },
    /// A system call failed.
    #[error("cannot attach to {name}: {action}: {error}")]
    System {
        /// The interface.
        name: String,
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        error: io::Error,
    },
}

/// Makes and removes what ports need in the kernel, on any thread: there it takes longer than
/// packets should wait. A packet socket is made at once, by [`Datapath::attach`].
#[derive(Clone, Debug)]
pub struct Linker(Option<ebpf::Linker>);

impl Linker {
    /// Does beforehand what [`Datapath::attach`] would take long for.
    ///
    /// # Errors
    ///
    /// [`AttachError`].
    pub fn link(&self, port: PortId, name: &str, wish: HookWish) -> Result<(), AttachError> {
        self.0.as_ref().map_or(Ok(()), |linker| linker.link(port, name, wish).map(drop))
    }

    /// Does what is left to do after [`Datapath::let_go`]; nothing if the port was attached since.
    pub fn unlink(&self, port: PortId) {
        if let Some(linker) = &self.0 {
            linker.unlink(port);
        }
    }
}

/// A data path of either kind.
#[derive(Debug)]
pub enum Datapath {
    /// In the kernel.
    Ebpf(Box<Ebpf>),
    /// In user space.
    Userspace(Box<Userspace>),
}

impl Datapath {
    /// Opens a data path, and says why this one.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the one asked for cannot be had; with [`Kind::Auto`], if neither can, or if
    /// another process holds the maps: then a second gateway would be the wrong answer.
    pub fn open(options: &Options) -> Result<(Self, String), OpenError> {
        let why = match options.kind {
            Kind::Userspace => "as configured".to_owned(),
            Kind::Auto | Kind::Ebpf => match Ebpf::open(options) {
                Ok((ebpf, origin)) => {
                    return Ok((Self::Ebpf(Box::new(ebpf)), origin.to_string()));
                }
                Err(error @ ebpf::OpenError::Busy { .. }) => return Err(error.into()),
                Err(error) if options.kind == Kind::Ebpf => return Err(error.into()),
                Err(error) => format!("BPF cannot be used: {error}"),
            },
        };
        let userspace = Userspace::open().map_err(OpenError::Userspace)?;
        Ok((Self::Userspace(Box::new(userspace)), why))
    }

    /// The name of its kind.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Ebpf(_) => "ebpf",
            Self::Userspace(_) => "userspace",
        }
    }

    /// The table that moves packets.
    pub fn fast_path(&mut self) -> &mut dyn FastPath {
        match self {
            Self::Ebpf(ebpf) => ebpf.fast_path(),
            Self::Userspace(userspace) => userspace.fast_path(),
        }
    }

    /// Starts receiving from an interface. A port that is attached already stays so without a gap;
    /// if `wish` has changed, its hook changes.
    ///
    /// # Errors
    ///
    /// [`AttachError`]; a hook that the interface does not have is none, see [`Attached::why`].
    pub fn attach(
        &mut self,
        port: PortId,
        name: &str,
        wish: HookWish,
    ) -> Result<Attached, AttachError> {
        match self {
            Self::Ebpf(ebpf) => ebpf.attach(port, name, wish),
            Self::Userspace(userspace) => userspace.attach(port, name, wish),
        }
    }

    /// Stops receiving from a port. One that is not attached is left alone.
    pub fn detach(&mut self, port: PortId) {
        match self {
            Self::Ebpf(ebpf) => ebpf.detach(port),
            Self::Userspace(userspace) => userspace.detach(port),
        }
    }

    /// Stops serving a port, but leaves its links for [`Linker::unlink`] to remove.
    pub fn let_go(&mut self, port: PortId) {
        match self {
            Self::Ebpf(ebpf) => ebpf.let_go(port),
            Self::Userspace(userspace) => userspace.detach(port),
        }
    }

    /// Makes and removes links where no packet waits for it.
    #[must_use]
    pub fn linker(&self) -> Linker {
        match self {
            Self::Ebpf(ebpf) => Linker(Some(ebpf.linker())),
            Self::Userspace(_) => Linker(None),
        }
    }

    /// Visits the entries that an earlier process left, and returns its adjacencies.
    ///
    /// # Errors
    ///
    /// If the kernel's tables cannot be read.
    pub fn recover(
        &mut self,
        visit: &mut dyn FnMut(FlowKey, Entry),
    ) -> io::Result<Vec<(AdjacencyId, Adjacency)>> {
        match self {
            Self::Ebpf(ebpf) => ebpf.recover(visit),
            Self::Userspace(_) => Ok(Vec::new()),
        }
    }

    /// Ends taking over from an earlier process: ports and own addresses that it left and that
    /// this one has not claimed since are removed.
    pub fn finish_recovery(&mut self) {
        match self {
            Self::Ebpf(ebpf) => ebpf.finish_recovery(),
            Self::Userspace(_) => {}
        }
    }

    /// Hands over what was received, at most `budget` frames and events, and returns how many.
    pub fn receive(
        &mut self,
        budget: usize,
        handle: &mut dyn FnMut(&mut dyn FastPath, Received<'_>),
    ) -> usize {
        match self {
            Self::Ebpf(ebpf) => ebpf.receive(budget, handle),
            Self::Userspace(userspace) => userspace.receive(budget, handle),
        }
    }

    /// Readable when there is something to receive.
    #[must_use]
    pub fn poll_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Ebpf(ebpf) => ebpf.poll_fd(),
            Self::Userspace(userspace) => userspace.poll_fd(),
        }
    }

    /// What became of the packets so far.
    ///
    /// # Errors
    ///
    /// If the kernel's counters cannot be read.
    pub fn statistics(&mut self) -> io::Result<Statistics> {
        match self {
            Self::Ebpf(ebpf) => ebpf.statistics(),
            Self::Userspace(userspace) => Ok(userspace.statistics()),
        }
    }

    /// What went wrong since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        match self {
            Self::Ebpf(ebpf) => ebpf.take_failures().into_iter().map(Notice::from).collect(),
            Self::Userspace(userspace) => userspace.take_notices(),
        }
    }

    /// Removes everything from the kernel: links, maps, pins. Merely dropping an eBPF data path
    /// leaves it all, and established flows go on.
    ///
    /// # Errors
    ///
    /// The first of what could not be removed; the rest is.
    pub fn uninstall(self) -> io::Result<()> {
        match self {
            Self::Ebpf(ebpf) => ebpf.uninstall(),
            Self::Userspace(_) => Ok(()),
        }
    }
}
