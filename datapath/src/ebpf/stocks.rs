//! The stocks that the kernel program takes ports and flow numbers from, through a mapping of their
//! map: a packet that takes the last lot, and user space that puts more in, need no system call to
//! meet.
//!
//! Each is a ring with one who fills it, this process, and any number who take: whoever moves the
//! head on has the lot. Head and tail count without end.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nf_core::fast_path::{Lot, StockId};

use super::sys;
use crate::layout::template::LotSlot;

/// `struct stock`.
#[repr(C)]
pub(crate) struct Ring {
    pub head: AtomicU32,
    pub tail: AtomicU32,
    pub lots: [AtomicU64; StockId::ROOM],
}

/// All stocks.
#[derive(Debug)]
pub(super) struct Stocks {
    rings: NonNull<Ring>,
    _map: OwnedFd,
}

// SAFETY: the mapping belongs to the process, not to a thread, and is only reached by atomics.
unsafe impl Send for Stocks {}
// SAFETY: likewise.
unsafe impl Sync for Stocks {}

/// Bytes that are mapped.
const LENGTH: usize = size_of::<Ring>() * StockId::COUNT;

impl Stocks {
    /// Maps the stocks.
    ///
    /// # Errors
    ///
    /// If the map is of another shape, or cannot be mapped.
    pub(super) fn map(map: OwnedFd) -> io::Result<Self> {
        let shape = sys::map_shape(map.as_fd())?;
        if (shape.value_size as usize, shape.max_entries as usize)
            != (size_of::<Ring>(), StockId::COUNT)
        {
            return Err(io::Error::other("the map of stocks has another shape"));
        }
        // SAFETY: a new mapping, wherever the kernel puts it; it checks length and rights.
        let mapped = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                LENGTH,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let rings =
            NonNull::new(mapped.cast()).ok_or_else(|| io::Error::other("mapped at zero"))?;
        Ok(Self { rings, _map: map })
    }

    fn ring(&self, stock: StockId) -> &Ring {
        // SAFETY: the place is below `COUNT`, which is what is mapped, for as long as `self` lives;
        // any bytes are a `Ring`.
        unsafe { self.rings.add(stock.place()).as_ref() }
    }

    /// Lots that are in.
    pub(super) fn len(&self, stock: StockId) -> usize {
        let ring = self.ring(stock);
        let tail = ring.tail.load(Ordering::Relaxed);
        tail.wrapping_sub(ring.head.load(Ordering::Acquire)) as usize
    }

    /// Puts lots in; how many there was room for.
    pub(super) fn supply(&self, stock: StockId, lots: &[Lot]) -> usize {
        let ring = self.ring(stock);
        let tail = ring.tail.load(Ordering::Relaxed);
        let fit = lots.len().min(StockId::ROOM.saturating_sub(self.len(stock)));
        for (lot, at) in lots[..fit].iter().zip(tail as usize..) {
            ring.lots[at % StockId::ROOM].store(LotSlot::pack(*lot), Ordering::Relaxed);
        }
        ring.tail.store(tail.wrapping_add(fit as u32), Ordering::Release);
        fit
    }

    /// Takes one lot out, as the kernel program does.
    fn take(&self, stock: StockId) -> Option<Lot> {
        let ring = self.ring(stock);
        let mut head = ring.head.load(Ordering::Acquire);
        loop {
            if head == ring.tail.load(Ordering::Acquire) {
                return None;
            }
            let lot = ring.lots[head as usize % StockId::ROOM].load(Ordering::Relaxed);
            let next = head.wrapping_add(1);
            match ring.head.compare_exchange(head, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(LotSlot::unpack(lot)),
                Err(moved) => head = moved,
            }
        }
    }

    /// Takes everything out.
    pub(super) fn take_back(&self, stock: StockId) -> Vec<Lot> {
        // Nobody fills it meanwhile, so there is an end to it.
        std::iter::from_fn(|| self.take(stock)).collect()
    }

    /// Empties all of them.
    pub(super) fn clear(&self) {
        for place in 0..StockId::COUNT {
            while self.take(StockId::new(place, 0)).is_some() {}
        }
    }
}

impl Drop for Stocks {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length, and nothing borrowed from it is left.
        unsafe { libc::munmap(self.rings.as_ptr().cast(), LENGTH) };
    }
}
