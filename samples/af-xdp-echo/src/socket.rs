//! The AF_XDP socket: memory shared with the kernel (UMEM), and the four rings in which both sides
//! pass its frames to and fro.
//!
//! A frame goes round in a circle. It waits in the fill ring for the kernel to receive into, comes
//! up in the receive ring, becomes its own answer, goes down in the transmit ring, and comes back
//! in the completion ring when it is sent. Every ring has room for all frames, so none overflows.
//!
//! The unsafe calls are in this file alone. What they ask for is that no [`Packet`] outlives the
//! memory it points into, and that the memory outlives the socket's use of it: [`Socket`] owns all
//! of them, and lends bytes only.
//!
//! [`Packet`]: xdp::Packet

use std::io;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};
use serde::Serialize;
use xdp::nic::NicIndex;
use xdp::slab::{HeapSlab, Slab as _};
use xdp::socket::{PollTimeout, SocketError, XdpSocket, XdpSocketBuilder};
use xdp::umem::{FrameSize, UmemCfgBuilder};
use xdp::{
    CompletionRing, RingConfig, RingConfigBuilder, RxRing, Umem, WakableFillRing, WakableRings,
    WakableTxRing,
};

use crate::error::Error;
use crate::interface::Interface;

/// Frames that are looked at in one go.
const BATCH: usize = 64;

/// Frames that the kernel sends in one call in copy mode: `TX_BATCH_SIZE` of its net/xdp/xsk.c.
const KICK: usize = 32;

/// How long to wait for frames while none is on its way, and while the kernel still has some to
/// send: it does not always say when it could go on.
const WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(1));

/// How long a queue may be another socket's, and the time between two attempts. The kernel takes a
/// queue back a moment after its socket was closed, so a program that is started again would
/// otherwise meet its predecessor.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// How frames get into the shared memory and out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The kernel copies them: works with every driver.
    Copy,
    /// The card reads and writes them itself.
    ZeroCopy,
}

/// What becomes of a received frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is dropped.
    Drop,
    /// It is sent, as it is now.
    Send,
    /// This is sent in its place.
    Replace(Vec<u8>),
}

/// What one look at the rings came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// So many frames were received.
    Received(usize),
    /// The interface is no longer there.
    Gone,
}

/// An AF_XDP socket on one queue of an interface. Its fields are dropped in this order: the memory
/// after all that the kernel could write to it through.
pub struct Socket {
    xsk: XdpSocket,
    fill: WakableFillRing,
    receive: RxRing,
    transmit: WakableTxRing,
    completion: CompletionRing,
    umem: Umem,
    received: HeapSlab,
    /// Frames to send that are not in the transmit ring yet.
    answers: HeapSlab,
    /// Frames that went into the transmit ring and have not come back.
    in_flight: usize,
    sent: u64,
}

impl Socket {
    /// Opens one with memory for `frames` frames, a power of two. Without a `mode` it is zero-copy
    /// where the driver can do that, else copy.
    ///
    /// # Errors
    ///
    /// [`Error::System`], or [`Error::Usage`] if the number of frames will not do.
    pub fn open(
        interface: &Interface,
        queue: u32,
        frames: u32,
        mode: Option<Mode>,
    ) -> Result<Self, Error> {
        let wrong = |error: xdp::error::Error| Error::Usage(error.to_string());
        let umem = UmemCfgBuilder {
            frame_size: FrameSize::FourK,
            frame_count: frames,
            ..UmemCfgBuilder::default()
        };
        let umem = Umem::map(umem.build().map_err(wrong)?)
            .map_err(Error::system("map memory for frames"))?;
        let rings = RingConfigBuilder {
            rx_count: frames,
            tx_count: frames,
            fill_count: frames,
            completion_count: frames,
        };
        let rings = rings.build().map_err(wrong)?;
        let deadline = Instant::now() + PATIENCE;
        let (xsk, rings) = loop {
            match bind(interface, queue, &umem, rings, mode) {
                Err(SocketError::Bind(error))
                    if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline =>
                {
                    std::thread::sleep(PAUSE);
                }
                bound => break bound?,
            }
        };
        let (Some(receive), Some(transmit)) = (rings.rx_ring, rings.tx_ring) else {
            unreachable!("both have a size, so there are both")
        };
        let mut this = Self {
            xsk,
            fill: rings.fill_ring,
            receive,
            transmit,
            completion: rings.completion_ring,
            umem,
            received: HeapSlab::with_capacity(BATCH),
            answers: HeapSlab::with_capacity(BATCH),
            in_flight: 0,
            sent: 0,
        };
        this.fill()?;
        Ok(this)
    }

    /// The socket's descriptor, for the map of an XDP program.
    #[must_use]
    pub fn descriptor(&self) -> i32 {
        self.xsk.raw_fd()
    }

    /// How frames get into the shared memory and out of it.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn mode(&self) -> Result<Mode, Error> {
        let mut options = libc::xdp_options { flags: 0 };
        let mut length = size_of::<libc::xdp_options>() as libc::socklen_t;
        // SAFETY: the pointers are to a live value of the length given and to that length.
        let answer = unsafe {
            libc::getsockopt(
                self.descriptor(),
                libc::SOL_XDP,
                libc::XDP_OPTIONS,
                (&raw mut options).cast(),
                &raw mut length,
            )
        };
        if answer < 0 {
            return Err(Error::system("ask the socket for its mode")(io::Error::last_os_error()));
        }
        let zero_copy = options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0;
        Ok(if zero_copy { Mode::ZeroCopy } else { Mode::Copy })
    }

    /// Frames that the kernel has sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Frames that were for the socket and did not get into it: no free memory, no room in the
    /// ring, or longer than a frame may be.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn lost(&self) -> Result<u64, Error> {
        let statistics = self.xsk.statistics()?;
        Ok(statistics.rx_dropped + statistics.rx_ring_full)
    }

    /// Whether nothing waits to be sent.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.answers.is_empty() && self.in_flight == 0
    }

    /// Waits until frames have come in, but not for long.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn wait(&self) -> Result<(), Error> {
        let limit = if self.is_idle() { WAIT.0 } else { WAIT.1 };
        let waited = self.xsk.poll_read(PollTimeout::new(Some(limit)));
        waited.map(drop).map_err(Error::system("wait for frames"))
    }

    /// Takes in a batch of frames, has the fate of each decided, and sends what is to be sent.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn exchange(
        &mut self,
        mut decide: impl FnMut(&mut [u8]) -> Fate,
    ) -> Result<Exchange, Error> {
        let mut received = 0;
        // Else the last ones still have to be sent, and there may be no room for more.
        if self.answers.is_empty() {
            // SAFETY: the packets go into `answers` or back to the memory; neither leaves `self`.
            received = unsafe { self.receive.recv(&self.umem, &mut self.received) };
        }
        while let Some(mut packet) = self.received.pop_back() {
            let keep = match decide(&mut packet) {
                Fate::Drop => false,
                Fate::Send => true,
                Fate::Replace(bytes) => {
                    packet.clear();
                    packet.append(&bytes).is_ok()
                }
            };
            // There is room for as many answers as were received.
            let rejected = if keep { self.answers.push_front(packet) } else { Some(packet) };
            if let Some(packet) = rejected {
                self.umem.free_packet(packet);
            }
        }
        let there = self.send()?;
        let done = self.completion.dequeue(&mut self.umem, self.in_flight);
        self.in_flight -= done;
        self.sent += done as u64;
        self.fill()?;
        Ok(if there { Exchange::Received(received) } else { Exchange::Gone })
    }

    /// Gives the kernel all memory that is free to receive into.
    fn fill(&mut self) -> Result<(), Error> {
        let free = self.umem.allocatable();
        // SAFETY: the memory is dropped with the socket.
        let filled = unsafe { self.fill.enqueue(&mut self.umem, free, false) };
        filled.map(drop).map_err(Error::system("give the kernel memory to receive into"))
    }

    /// Puts the answers into the transmit ring, and has the kernel look there. Whether there is
    /// still an interface to send by.
    fn send(&mut self) -> Result<bool, Error> {
        // SAFETY: the packets point into the memory, which is dropped with the socket.
        let queued = unsafe { self.transmit.send(&mut self.answers, false) };
        self.in_flight += queued.map_err(Error::system("send"))?;
        for _ in 0..=self.in_flight / KICK {
            match send(self.descriptor(), &[], MsgFlags::MSG_DONTWAIT) {
                // It has sent as many as it does in one call.
                Err(Errno::EAGAIN) => {}
                // With an error, queues behind it are full or the link is down, and the rest stays
                // in the ring.
                Ok(_) | Err(Errno::EBUSY | Errno::ENOBUFS | Errno::ENETDOWN | Errno::EINTR) => {
                    break;
                }
                Err(Errno::ENXIO) => return Ok(false),
                Err(errno) => return Err(Error::system("send")(errno)),
            }
        }
        Ok(true)
    }
}

/// A socket with its rings, bound to the queue.
fn bind(
    interface: &Interface,
    queue: u32,
    umem: &Umem,
    rings: RingConfig,
    mode: Option<Mode>,
) -> Result<(XdpSocket, WakableRings), SocketError> {
    let mut builder = XdpSocketBuilder::new()?;
    let (rings, mut flags) = builder.build_wakable_rings(umem, rings)?;
    match mode {
        None => {}
        Some(Mode::Copy) => flags.force_copy(),
        Some(Mode::ZeroCopy) => flags.force_zerocopy(),
    }
    Ok((builder.bind(NicIndex::new(interface.index), queue, flags)?, rings))
}
