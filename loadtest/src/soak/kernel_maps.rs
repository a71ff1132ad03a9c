//! How many entries the gateway's pinned kernel maps have, by asking the kernel for one key after
//! the other; and what memory they take.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use aya::maps::{MapData, MapInfo, MapType};

use crate::error::Error;

/// `BPF_MAP_GET_NEXT_KEY` of `linux/bpf.h`.
const GET_NEXT_KEY: libc::c_int = 4;

/// The attributes of that command; the kernel takes a prefix of `union bpf_attr`.
#[repr(C)]
struct NextKey {
    map: u32,
    /// Eight bytes are aligned to eight, whatever the machine.
    padding: u32,
    key: u64,
    next: u64,
}

/// Entries by the name of the pin, of every hash map in a directory.
///
/// # Errors
///
/// [`Error::File`] if the directory cannot be read, [`Error::Bpf`] for a map.
pub fn entries(directory: &Path) -> Result<BTreeMap<String, u64>, Error> {
    let mut counts = BTreeMap::new();
    for name in pins(directory)? {
        let path = directory.join(&name);
        // A pinned link is no map.
        let Ok(info) = MapInfo::from_pin(&path) else { continue };
        if !matches!(info.map_type(), Ok(MapType::Hash)) {
            continue;
        }
        let map = MapData::from_pin(&path).map_err(Error::bpf("open a pinned map"))?;
        // More than there is room for are not counted, should the map change under us.
        let count = count(map.fd().as_fd(), info.key_size() as usize, info.max_entries().into())
            .map_err(Error::bpf("read a pinned map"))?;
        counts.insert(name, count);
    }
    Ok(counts)
}

/// The memory that all maps in a directory take in the kernel, in bytes, as it tells itself.
///
/// # Errors
///
/// [`Error::File`] if the directory cannot be read or the kernel does not tell, [`Error::Bpf`] for
/// a map.
pub fn bytes(directory: &Path) -> Result<u64, Error> {
    let mut bytes = 0;
    for name in pins(directory)?.iter().filter(|name| !is_link(name)) {
        let map =
            MapData::from_pin(directory.join(name)).map_err(Error::bpf("open a pinned map"))?;
        let facts = PathBuf::from(format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd()));
        let failed = |source| Error::File { action: "read", path: facts.clone(), source };
        let text = fs::read_to_string(&facts).map_err(failed)?;
        let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
        let memory: Option<u64> = line.and_then(|number| number.trim().parse().ok());
        bytes += memory.ok_or_else(|| failed(io::Error::other("it does not have memlock")))?;
    }
    Ok(bytes)
}

/// How many links are pinned in a directory.
///
/// # Errors
///
/// [`Error::File`].
pub fn links(directory: &Path) -> Result<u64, Error> {
    let names = pins(directory)?;
    Ok(names.iter().filter(|name| is_link(name)).count() as u64)
}

fn is_link(pin: &str) -> bool {
    pin.starts_with("link-")
}

fn pins(directory: &Path) -> Result<Vec<String>, Error> {
    let failed =
        |source| Error::File { action: "list the pins in", path: directory.to_owned(), source };
    let listed = directory.read_dir().map_err(failed)?;
    let names = listed.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect::<io::Result<_>>().map_err(failed)
}

fn count(map: BorrowedFd<'_>, key_size: usize, limit: u64) -> io::Result<u64> {
    let (mut key, mut next) = (vec![0; key_size], vec![0; key_size]);
    for count in 0..limit {
        let attributes = NextKey {
            map: map.as_raw_fd().cast_unsigned(),
            padding: 0,
            // Without a key the first is meant.
            key: if count == 0 { 0 } else { key.as_ptr().addr() as u64 },
            next: next.as_mut_ptr().expose_provenance() as u64,
        };
        // SAFETY: the kernel reads and writes one key of the size that it told itself.
        let result = unsafe {
            libc::syscall(libc::SYS_bpf, GET_NEXT_KEY, &raw const attributes, size_of::<NextKey>())
        };
        if result != 0 {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(libc::ENOENT) { Ok(count) } else { Err(error) };
        }
        std::mem::swap(&mut key, &mut next);
    }
    Ok(limit)
}
