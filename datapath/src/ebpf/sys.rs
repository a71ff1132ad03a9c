//! The bpf(2) calls that the loader library lacks: batches over maps, links that are always
//! links, runs of a program. Every function is safe to call with any arguments.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya::Pod;

/// Commands of bpf(2), `enum bpf_cmd` in `<linux/bpf.h>`.
#[derive(Clone, Copy)]
#[repr(i64)]
enum Command {
    MapLookup = 1,
    MapUpdate = 2,
    MapDelete = 3,
    ObjectPin = 6,
    ObjectGet = 7,
    ProgramRun = 10,
    ObjectInfo = 15,
    MapLookupBatch = 24,
    MapUpdateBatch = 26,
    MapDeleteBatch = 27,
    LinkCreate = 28,
    LinkUpdate = 29,
    LinkDetach = 34,
}

/// `BPF_XDP`, to attach to.
pub(super) const ATTACH_XDP: u32 = 37;
/// `BPF_TCX_INGRESS`, to attach to.
pub(super) const ATTACH_TCX_INGRESS: u32 = 46;
/// `XDP_FLAGS_SKB_MODE` of `<linux/if_link.h>`.
pub(super) const XDP_GENERIC: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE`.
pub(super) const XDP_NATIVE: u32 = 1 << 2;

#[repr(C)]
struct Element {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct Batch {
    start: u64,
    stop: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

#[repr(C)]
struct Object {
    path: u64,
    fd: u32,
    file_flags: u32,
}

#[repr(C)]
struct Info {
    fd: u32,
    length: u32,
    into: u64,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
}

#[repr(C)]
struct LinkUpdate {
    link: u32,
    new_program: u32,
    flags: u32,
    old_program: u32,
}

/// The head of `union bpf_attr` for `BPF_PROG_TEST_RUN`.
#[repr(C)]
#[derive(Default)]
struct Run {
    program: u32,
    result: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    pad: u32,
}

/// `struct bpf_map_info`, as far as it is read here.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MapShape {
    /// `BPF_MAP_TYPE_*`.
    pub kind: u32,
    /// The kernel's number for it.
    pub id: u32,
    /// Bytes.
    pub key_size: u32,
    /// Bytes.
    pub value_size: u32,
    /// Entries; bytes of a ring.
    pub max_entries: u32,
    /// `BPF_F_*` it was created with.
    pub flags: u32,
}

// SAFETY: `repr(C)` of six integers of one size: no padding, any bytes are a value.
unsafe impl Pod for MapShape {}

/// `struct bpf_link_info`, with the one field that tcx and XDP links have in the same place.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct LinkShape {
    kind: u32,
    id: u32,
    program: u32,
    pad: u32,
    ifindex: u32,
}

// SAFETY: as `MapShape`.
unsafe impl Pod for LinkShape {}

/// Makes the call. The caller vouches that the attributes are those of the command, and that what
/// they point to lives and is as large as they say.
unsafe fn bpf<T>(command: Command, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the attributes are a live value of the size given; the rest is the caller's word.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as i64, std::ptr::from_mut(attributes), size_of::<T>())
    };
    // The call returns an int.
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    // A valid descriptor is not negative.
    fd.as_raw_fd().unsigned_abs()
}

fn address<T: ?Sized>(value: &T) -> u64 {
    std::ptr::from_ref(value).cast::<u8>().addr() as u64
}

fn address_mut<T: ?Sized>(value: &mut T) -> u64 {
    std::ptr::from_mut(value).cast::<u8>().expose_provenance() as u64
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: only called with descriptors that a successful call has just created.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// A map and the types of what is in it, which are checked against the kernel's sizes once, when
/// the maps are opened.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    fd: OwnedFd,
    of: std::marker::PhantomData<fn() -> (K, V)>,
}

impl<K: Pod, V: Pod> Table<K, V> {
    /// Wraps a map.
    ///
    /// # Errors
    ///
    /// If the sizes of its keys or values are others than the types'.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let shape = map_shape(std::os::fd::AsFd::as_fd(&fd))?;
        if (shape.key_size as usize, shape.value_size as usize) != (size_of::<K>(), size_of::<V>())
        {
            return Err(io::Error::other(format!(
                "a map has keys of {} and values of {} bytes instead of {} and {}",
                shape.key_size,
                shape.value_size,
                size_of::<K>(),
                size_of::<V>()
            )));
        }
        Ok(Self { fd, of: std::marker::PhantomData })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.fd)
    }

    fn element(&self, key: &K) -> Element {
        Element { map: raw(self.fd()), pad: 0, key: address(key), value: 0, flags: 0 }
    }

    /// Reads one value.
    pub(super) fn get(&self, key: &K) -> io::Result<Option<V>> {
        let mut value = MaybeUninit::<V>::uninit();
        let mut attributes = Element { value: address_mut(&mut value), ..self.element(key) };
        // SAFETY: key and value have the map's sizes (`Table::new`) and outlive the call.
        match unsafe { bpf(Command::MapLookup, &mut attributes) } {
            // SAFETY: the kernel has filled all bytes, and any bytes are a `V`.
            Ok(_) => Ok(Some(unsafe { value.assume_init() })),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets one value.
    pub(super) fn set(&self, key: &K, value: &V) -> io::Result<()> {
        let mut attributes = Element { value: address(value), ..self.element(key) };
        // SAFETY: key and value have the map's sizes (`Table::new`) and outlive the call.
        unsafe { bpf(Command::MapUpdate, &mut attributes) }.map(drop)
    }

    /// Removes one entry; whether it was there.
    pub(super) fn remove(&self, key: &K) -> io::Result<bool> {
        let mut attributes = self.element(key);
        // SAFETY: the key has the map's size (`Table::new`) and outlives the call.
        match unsafe { bpf(Command::MapDelete, &mut attributes) } {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes many entries; `left` is told the index of each that was not, and why, if it was there.
    pub(super) fn remove_all(&self, keys: &[K], left: &mut dyn FnMut(usize, Option<io::Error>)) {
        let mut done = 0;
        while done < keys.len() {
            let keys = &keys[done..];
            let mut attributes = Batch {
                keys: address(keys),
                count: u32::try_from(keys.len()).unwrap_or(u32::MAX),
                map: raw(self.fd()),
                ..Batch::default()
            };
            // SAFETY: `count` keys of the map's size stand there (`Table::new`).
            match unsafe { bpf(Command::MapDeleteBatch, &mut attributes) } {
                Ok(_) => done += (attributes.count as usize).max(1),
                // The kernel stops at the first that fails and says how many went well.
                Err(error) => {
                    done += (attributes.count as usize).min(keys.len() - 1);
                    let was_there = error.raw_os_error() != Some(libc::ENOENT);
                    left(done, was_there.then_some(error));
                    done += 1;
                }
            }
        }
    }

    /// Sets many values; `failed` is told the index of each that could not be set.
    pub(super) fn set_all(
        &self,
        keys: &[K],
        values: &[V],
        failed: &mut dyn FnMut(usize, io::Error),
    ) {
        let total = keys.len().min(values.len());
        let mut done = 0;
        while done < total {
            let (keys, values) = (&keys[done..total], &values[done..total]);
            let mut attributes = Batch {
                keys: address(keys),
                values: address(values),
                count: u32::try_from(keys.len()).unwrap_or(u32::MAX),
                map: raw(self.fd()),
                ..Batch::default()
            };
            // SAFETY: `count` keys and values of the map's sizes stand there (`Table::new`).
            let result = unsafe { bpf(Command::MapUpdateBatch, &mut attributes) };
            match result {
                Ok(_) => done += (attributes.count as usize).max(1),
                // The kernel stops at the first that fails and says how many went well.
                Err(error) => {
                    done += (attributes.count as usize).min(keys.len() - 1);
                    failed(done, error);
                    done += 1;
                }
            }
        }
    }

    /// Visits every entry. One that is added or removed meanwhile may be missed.
    pub(super) fn for_each(&self, visit: &mut dyn FnMut(&K, &V)) -> io::Result<()> {
        const AT_ONCE: usize = 4096;

        // The position is a bucket number for hash maps, an index for arrays.
        let (mut position, mut next) = (0_u32, 0_u32);
        let mut room = AT_ONCE;
        let mut first = true;
        loop {
            let mut keys: Vec<K> = Vec::with_capacity(room);
            let mut values: Vec<V> = Vec::with_capacity(room);
            let mut attributes = Batch {
                start: if first { 0 } else { address(&position) },
                stop: address_mut(&mut next),
                keys: keys.as_mut_ptr().expose_provenance() as u64,
                values: values.as_mut_ptr().expose_provenance() as u64,
                // Constant, or doubled from it.
                count: room as u32,
                map: raw(self.fd()),
                ..Batch::default()
            };
            // SAFETY: both vectors have room for `count` of the map's sizes (`Table::new`), and
            // both positions outlive the call.
            let result = unsafe { bpf(Command::MapLookupBatch, &mut attributes) };
            let ended = match result {
                Ok(_) => false,
                Err(error) => match error.raw_os_error() {
                    Some(libc::ENOENT) => true,
                    // A single bucket has more entries than there is room for.
                    Some(libc::ENOSPC) if room < 1 << 24 => {
                        room *= 2;
                        continue;
                    }
                    _ => return Err(error),
                },
            };
            let filled = (attributes.count as usize).min(room);
            // SAFETY: the kernel has filled that many, and any bytes are a `K` or a `V`.
            unsafe {
                keys.set_len(filled);
                values.set_len(filled);
            }
            keys.iter().zip(&values).for_each(|(key, value)| visit(key, value));
            if ended {
                return Ok(());
            }
            position = next;
            first = false;
        }
    }
}

/// A map's values on every CPU, for a key that is an index. A value has a multiple of eight bytes.
pub(super) fn per_cpu<V: Pod + Default>(
    map: BorrowedFd<'_>,
    index: u32,
    cpus: usize,
) -> io::Result<Vec<V>> {
    const { assert!(size_of::<V>().is_multiple_of(8)) };
    let mut values = vec![V::default(); cpus];
    let mut attributes = Element {
        map: raw(map),
        pad: 0,
        key: address(&index),
        value: address_mut(values.as_mut_slice()),
        flags: 0,
    };
    // SAFETY: the kernel writes a value, rounded up to eight bytes, for each possible CPU, which the
    // caller has counted; the key is the index of an array.
    unsafe { bpf(Command::MapLookup, &mut attributes) }?;
    Ok(values)
}

/// Asks for a map's type and sizes.
pub(super) fn map_shape(map: BorrowedFd<'_>) -> io::Result<MapShape> {
    info(map)
}

/// The interface a tcx or XDP link is on; `None` if that is gone.
pub(super) fn link_interface(link: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    let shape: LinkShape = info(link)?;
    Ok(Some(shape.ifindex).filter(|&ifindex| ifindex != 0))
}

fn info<T: Pod + Default>(fd: BorrowedFd<'_>) -> io::Result<T> {
    let mut value = T::default();
    let mut attributes =
        Info { fd: raw(fd), length: size_of::<T>() as u32, into: address_mut(&mut value) };
    // SAFETY: the kernel writes at most `length` bytes, and any bytes are a `T`.
    unsafe { bpf(Command::ObjectInfo, &mut attributes) }?;
    Ok(value)
}

/// Opens a pinned object.
pub(super) fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let mut attributes = Object { path: address(path.as_bytes_with_nul()), fd: 0, file_flags: 0 };
    // SAFETY: the path ends in NUL and outlives the call.
    unsafe { bpf(Command::ObjectGet, &mut attributes) }.map(owned)
}

/// Pins an object.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut attributes =
        Object { path: address(path.as_bytes_with_nul()), fd: raw(object), file_flags: 0 };
    // SAFETY: the path ends in NUL and outlives the call.
    unsafe { bpf(Command::ObjectPin, &mut attributes) }.map(drop)
}

/// Attaches a program to an interface.
pub(super) fn create_link(
    program: BorrowedFd<'_>,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attributes = LinkCreate { program: raw(program), ifindex, attach_type, flags };
    // SAFETY: the attributes point to nothing.
    unsafe { bpf(Command::LinkCreate, &mut attributes) }.map(owned)
}

/// Replaces a link's program; no packet finds none.
pub(super) fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes =
        LinkUpdate { link: raw(link), new_program: raw(program), flags: 0, old_program: 0 };
    // SAFETY: the attributes point to nothing.
    unsafe { bpf(Command::LinkUpdate, &mut attributes) }.map(drop)
}

/// Takes a link's program off its interface at once, whoever else holds the link.
pub(super) fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut link = raw(link);
    // SAFETY: the attributes are one descriptor and point to nothing.
    unsafe { bpf(Command::LinkDetach, &mut link) }.map(drop)
}

/// What a program is run on, by `BPF_PROG_TEST_RUN`.
#[derive(Debug, Default)]
pub(super) struct RunInput<'a> {
    /// The packet.
    pub data: &'a [u8],
    /// The kernel's context structure, or nothing.
    pub context: &'a [u8],
    /// `BPF_F_TEST_*`.
    pub flags: u32,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunOutput {
    /// What the program returned.
    pub result: u32,
    /// Bytes of the packet afterwards.
    pub length: usize,
}

/// Runs a program. What it made of the packet is put into `output`, if that is not empty.
pub(super) fn run(
    program: BorrowedFd<'_>,
    input: &RunInput<'_>,
    output: &mut [u8],
) -> io::Result<RunOutput> {
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(io::Error::other);
    let pointer = |bytes: &[u8]| if bytes.is_empty() { 0 } else { address(bytes) };
    let mut attributes = Run {
        program: raw(program),
        data_size_in: size(input.data)?,
        data_size_out: size(output)?,
        data_in: pointer(input.data),
        data_out: if output.is_empty() { 0 } else { address_mut(output) },
        context_size_in: size(input.context)?,
        context_in: pointer(input.context),
        flags: input.flags,
        ..Run::default()
    };
    // SAFETY: every pointer is to a slice of the size beside it, or zero with a size of zero.
    unsafe { bpf(Command::ProgramRun, &mut attributes) }?;
    Ok(RunOutput { result: attributes.result, length: attributes.data_size_out as usize })
}
