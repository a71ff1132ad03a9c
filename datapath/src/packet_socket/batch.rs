//! The buffers that packet sockets are read into, many frames a system call.
//!
//! One batch serves every socket of a thread: each slot holds the longest frame there is, so the
//! slots of one batch are megabytes, of which only the pages that long frames touched are ever
//! backed by memory.

use std::io;
use std::mem::{self, offset_of};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

use nf_core::action::ResizableFrame;

use super::vnet::{VNET_HEADER_LEN, VnetHeader};

/// Frames per system call, either way.
pub const BATCH_LEN: usize = 64;

/// An Ethernet header, an IPv6 header and the most that its length field can tell, and four bytes
/// for an inner VLAN tag. Larger frames need jumbograms ("BIG TCP"), which are not served.
const LONGEST_FRAME: usize = 14 + 40 + 65_535 + 4;

/// Bytes in front of each frame, the last of them its offload header: a packet whose headers become
/// longer begins in them.
const HEADROOM: usize = 32;

/// Distance of two slots: headroom and frame, rounded up to a cache line.
const SLOT_LEN: usize = (HEADROOM + LONGEST_FRAME).next_multiple_of(64);

/// Where a slot is read into.
const HEADER_AT: usize = HEADROOM - VNET_HEADER_LEN;

/// One frame of a batch, bytes aside.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameInfo {
    /// What its sender left undone.
    pub header: VnetHeader,
    /// The kernel has taken a VLAN tag off: the bytes look like an untagged frame's but are not.
    pub tagged: bool,
    /// The frame is longer than a slot; its end is missing.
    pub truncated: bool,
    /// Where it begins in its slot.
    start: usize,
    len: usize,
}

/// A frame of a batch, to be rewritten in place.
#[derive(Debug)]
pub struct FrameMut<'a> {
    slot: &'a mut [u8],
    start: &'a mut usize,
    len: &'a mut usize,
}

impl AsRef<[u8]> for FrameMut<'_> {
    fn as_ref(&self) -> &[u8] {
        &self.slot[*self.start..*self.start + *self.len]
    }
}

impl AsMut<[u8]> for FrameMut<'_> {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.slot[*self.start..*self.start + *self.len]
    }
}

impl ResizableFrame for FrameMut<'_> {
    /// What stands in front is moved, not what stands behind.
    fn put(&mut self, old: Range<usize>, new: &[u8]) {
        let end = *self.start + *self.len;
        // A frame becomes longer once, by 20 bytes.
        let start = *self.start + old.len() - new.len();
        self.slot.copy_within(*self.start..*self.start + old.start, start);
        (*self.start, *self.len) = (start, end - start);
        self.as_mut()[old.start..old.start + new.len()].copy_from_slice(new);
    }
}

/// Frames as they were received, in order.
pub struct Batch {
    slab: Vec<u8>,
    infos: [FrameInfo; BATCH_LEN],
    filled: usize,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("filled", &self.filled).finish_non_exhaustive()
    }
}

impl Default for Batch {
    fn default() -> Self {
        // Zeroed on demand by the allocator: no page is touched before a frame is.
        let slab = vec![0; SLOT_LEN * BATCH_LEN];
        Self { slab, infos: [FrameInfo::default(); BATCH_LEN], filled: 0 }
    }
}

/// Room for the one control message asked for, aligned as `CMSG_FIRSTHDR` expects.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_LEN]);

// SAFETY: CMSG_SPACE only computes with its argument.
const CONTROL_LEN: usize =
    unsafe { libc::CMSG_SPACE(size_of::<libc::tpacket_auxdata>() as u32) } as usize;

const _: () = assert!(align_of::<Control>() >= align_of::<libc::cmsghdr>());

impl Batch {
    /// Frames received last.
    #[must_use]
    pub fn len(&self) -> usize {
        self.filled
    }

    /// The frame at `index` and what is known of it.
    ///
    /// # Panics
    /// If `index` is not below [`Self::len`].
    #[must_use]
    pub fn frame(&self, index: usize) -> (&FrameInfo, &[u8]) {
        let info = &self.infos[..self.filled][index];
        let start = index * SLOT_LEN + info.start;
        (info, &self.slab[start..start + info.len])
    }

    /// The frame at `index` to be rewritten in place.
    ///
    /// # Panics
    /// If `index` is not below [`Self::len`].
    #[must_use]
    pub fn frame_mut(&mut self, index: usize) -> (FrameInfo, FrameMut<'_>) {
        let info = &mut self.infos[..self.filled][index];
        let known = *info;
        let slot = &mut self.slab[index * SLOT_LEN..][..SLOT_LEN];
        (known, FrameMut { slot, start: &mut info.start, len: &mut info.len })
    }

    /// Says what is left undone of the frame at `index` by now.
    ///
    /// # Panics
    /// If `index` is not below [`Self::len`].
    pub fn set_header(&mut self, index: usize, header: VnetHeader) {
        self.infos[..self.filled][index].header = header;
    }

    /// Replaces the content with up to `limit` waiting frames of a socket that has
    /// `PACKET_VNET_HDR` and `PACKET_AUXDATA` on.
    pub(super) fn fill(&mut self, socket: BorrowedFd<'_>, limit: usize) -> io::Result<()> {
        self.filled = 0;
        let limit = limit.min(BATCH_LEN);
        let mut controls = [Control([0; CONTROL_LEN]); BATCH_LEN];
        // SAFETY: both are plain C structs of integers and pointers, for which all zeros is valid.
        let (mut vectors, mut messages): ([libc::iovec; BATCH_LEN], [libc::mmsghdr; BATCH_LEN]) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        let slots = self.slab.chunks_exact_mut(SLOT_LEN).take(limit);
        for (((slot, control), vector), message) in
            slots.zip(&mut controls).zip(&mut vectors).zip(&mut messages)
        {
            let slot = &mut slot[HEADER_AT..];
            vector.iov_base = slot.as_mut_ptr().cast();
            vector.iov_len = slot.len();
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_control = (&raw mut control.0).cast();
            message.msg_hdr.msg_controllen = CONTROL_LEN as _;
        }
        // SAFETY: `limit` messages point at slots, vectors and controls that live until the end of
        // this function, are not otherwise touched during the call, and have the lengths given.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                limit as u32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for (index, message) in messages.iter().take(received).enumerate() {
            let slot = &self.slab[index * SLOT_LEN + HEADER_AT..];
            // The kernel refuses to hand out a frame without the whole header, which also is the
            // least that `msg_len` can be.
            let header =
                slot.first_chunk().map_or_else(VnetHeader::default, |h| VnetHeader::decode(*h));
            self.infos[index] = FrameInfo {
                header,
                tagged: is_tagged(&message.msg_hdr),
                truncated: message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
                start: HEADROOM,
                len: (message.msg_len as usize).saturating_sub(VNET_HEADER_LEN),
            };
        }
        self.filled = received;
        Ok(())
    }
}

/// Whether the kernel took a VLAN tag off the frame before handing it over.
fn is_tagged(message: &libc::msghdr) -> bool {
    // SAFETY: `message` was filled by recvmmsg; its control buffer is alive, aligned for a
    // `cmsghdr`, and `msg_controllen` says how much of it the kernel wrote.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !control.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return null or a header wholly inside the buffer.
        let header = unsafe { &*control };
        let whole = header.cmsg_len as usize
            >= offset_of!(libc::tpacket_auxdata, tp_vlan_tpid)
                + size_of::<u16>()
                + size_of::<libc::cmsghdr>();
        if (header.cmsg_level, header.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA)
            && whole
        {
            // SAFETY: the message is an auxdata of full length, checked just above; it is plain
            // old data and read without assuming alignment.
            let auxdata = unsafe {
                libc::CMSG_DATA(control).cast::<libc::tpacket_auxdata>().read_unaligned()
            };
            return auxdata.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
        }
        // SAFETY: as for CMSG_FIRSTHDR; `control` came from it or from here.
        control = unsafe { libc::CMSG_NXTHDR(message, control) };
    }
    false
}
