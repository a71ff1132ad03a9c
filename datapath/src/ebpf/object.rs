//! The compiled object: which maps it has, and getting its programs into the kernel.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use aya::EbpfLoader;
use aya::programs::{ProgramError, SchedClassifier, Xdp};
use aya_obj::Object;

use super::OpenError;
use super::sys::MapShape;

/// What `build.rs` has compiled.
pub(crate) const OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/halfspace.bpf.o"));

/// The name of the program on every port.
pub(super) const TC_PROGRAM: &str = "halfspace_tc";

/// The loaded programs.
#[derive(Debug)]
pub(super) struct Programs {
    pub tc: OwnedFd,
    pub xdp: OwnedFd,
    pub restamp: OwnedFd,
    pub clock: OwnedFd,
}

/// The maps of the object, by name: their types and the sizes they are created with.
///
/// # Errors
///
/// Never with an object that this build has compiled.
pub(crate) fn map_shapes(sizes: Sizes) -> Result<BTreeMap<String, MapShape>, OpenError> {
    let object = Object::parse(OBJECT).map_err(|error| OpenError::Object(error.into()))?;
    let shape = |(name, map): (&String, &aya_obj::Map)| {
        let shape = MapShape {
            kind: map.map_type(),
            key_size: map.key_size(),
            value_size: map.value_size(),
            max_entries: sizes.of(name).unwrap_or(map.max_entries()),
            flags: map.map_flags(),
            ..MapShape::default()
        };
        (name.clone(), shape)
    };
    Ok(object.maps.iter().map(shape).collect())
}

/// The sizes that configuration decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Entries of the flow table for IPv4.
    pub entries4: u32,
    /// Entries of that for IPv6.
    pub entries6: u32,
    /// Bytes of the punt ring.
    pub ring: u32,
}

impl Sizes {
    fn of(self, map: &str) -> Option<u32> {
        match map {
            "flows4" => Some(self.entries4),
            "flows6" => Some(self.entries6),
            "punts" => Some(self.ring),
            _ => None,
        }
    }
}

/// Loads the programs, with maps pinned at the paths given: those that are there are used as they
/// are, the others are created.
pub(super) fn load(sizes: Sizes, pins: &BTreeMap<String, PathBuf>) -> Result<Programs, OpenError> {
    let mut loader = EbpfLoader::new();
    // The programs read no kernel structures, so they need not know the kernel's own types.
    loader.btf(None);
    for (name, path) in pins {
        loader.map_pin_path(name, path.as_path());
        if let Some(size) = sizes.of(name) {
            loader.map_max_entries(name, size);
        }
    }
    let mut ebpf = loader.load(OBJECT).map_err(OpenError::from_loader)?;
    Ok(Programs {
        tc: load_program::<SchedClassifier>(&mut ebpf, TC_PROGRAM)?,
        xdp: load_program::<Xdp>(&mut ebpf, "halfspace_xdp")?,
        restamp: load_program::<SchedClassifier>(&mut ebpf, "halfspace_restamp")?,
        clock: load_program::<SchedClassifier>(&mut ebpf, "halfspace_clock")?,
    })
}

/// The two program types that the object has.
trait Load: Sized {
    fn load_into_kernel(&mut self) -> Result<OwnedFd, ProgramError>;
}

impl Load for SchedClassifier {
    fn load_into_kernel(&mut self) -> Result<OwnedFd, ProgramError> {
        self.load()?;
        Ok(self.fd()?.as_fd().try_clone_to_owned()?)
    }
}

impl Load for Xdp {
    fn load_into_kernel(&mut self) -> Result<OwnedFd, ProgramError> {
        self.load()?;
        Ok(self.fd()?.as_fd().try_clone_to_owned()?)
    }
}

fn load_program<P>(ebpf: &mut aya::Ebpf, name: &str) -> Result<OwnedFd, OpenError>
where
    P: Load,
    for<'a> &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let missing = || OpenError::Object(format!("it has no program {name}").into());
    let program = ebpf.program_mut(name).ok_or_else(missing)?;
    let program: &mut P = program.try_into().map_err(OpenError::from_program)?;
    program.load_into_kernel().map_err(OpenError::from_program)
}
