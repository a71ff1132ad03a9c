//! The pinned maps: taking over those of an earlier process, or making new ones.
//!
//! | what is found | what happens |
//! | --- | --- |
//! | nothing | new maps |
//! | maps of this layout and these sizes | they are used, counts and all |
//! | maps of this layout, other sizes | new ones take their place, entries copied over |
//! | maps of another layout | new ones; the old are not read |

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use aya::Pod;
use aya::maps::{Map, MapData, RingBuf};
use nix::time::{ClockId, clock_getres};

use super::OpenError;
use super::object::{self, Programs, Sizes};
use super::pin_dir::PinDir;
use super::stocks::Stocks;
use super::sys::{self, MapShape, RunInput, Table};
use crate::layout::template::{TemplateKey, TemplateValue};
use crate::layout::{
    AdjacencySlot, ClockOrder, Control, FlowKey4, FlowKey6, FlowValue4, FlowValue6, LAYOUT_VERSION,
    PortSettings, RestampKey, bytes_of,
};

/// What the name of a map carries until it takes the place of the one it was copied from.
const NEW: &str = "-new";

/// Every map that user space reads or writes, apart from the ring.
#[derive(Debug)]
pub(super) struct Maps {
    pub flows4: Table<FlowKey4, FlowValue4>,
    pub flows6: Table<FlowKey6, FlowValue6>,
    pub adjacencies: Table<u32, AdjacencySlot>,
    pub ports: Table<u32, PortSettings>,
    pub own4: Table<[u8; 4], u32>,
    pub own6: Table<[u8; 16], u32>,
    pub control: Table<u32, Control>,
    pub restamps: Table<u32, RestampKey>,
    pub templates: Table<TemplateKey, TemplateValue>,
    pub stocks: Stocks,
    pub verdicts: std::os::fd::OwnedFd,
    pub meters: std::os::fd::OwnedFd,
}

/// Where the maps come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// There were none.
    Fresh,
    /// An earlier process left them.
    Kept,
    /// An earlier process left them in other sizes.
    Resized {
        /// Entries that did not fit into the smaller tables.
        lost: u64,
    },
    /// What was pinned is not of this layout and was replaced.
    Foreign {
        /// How that was seen.
        why: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fresh => f.write_str("new maps"),
            Self::Kept => f.write_str("maps of an earlier process, taken over"),
            Self::Resized { lost: 0 } => {
                f.write_str("maps of an earlier process, copied into new sizes")
            }
            Self::Resized { lost } => write!(
                f,
                "maps of an earlier process, copied into new sizes; {lost} entries did not fit"
            ),
            Self::Foreign { why } => {
                write!(f, "new maps; those of an earlier process cannot be read: {why}")
            }
        }
    }
}

/// Maps, ring and programs, ready.
pub(super) struct Opened {
    pub maps: Maps,
    pub ring: RingBuf<MapData>,
    pub programs: Programs,
    pub origin: Origin,
}

/// Opens or makes the maps, and loads the programs on them.
pub(super) fn open(dir: &PinDir, sizes: Sizes) -> Result<Opened, OpenError> {
    let failed = OpenError::maps;
    let shapes = object::map_shapes(sizes)?;
    let found = survey(dir, &shapes).map_err(failed("look at"))?;
    let mut pins: BTreeMap<_, _> =
        shapes.keys().map(|name| (name.clone(), dir.join(name))).collect();
    match &found {
        Found::Nothing | Found::Same => {}
        Found::OtherSizes(names) => {
            for name in names {
                dir.remove(&new_name(name)).map_err(failed("remove the left-over copies of"))?;
                pins.insert(name.clone(), dir.join(&new_name(name)));
            }
        }
        Found::Foreign(_) => {
            for name in shapes.keys() {
                dir.remove(name).map_err(failed("remove the unreadable"))?;
            }
        }
    }
    let programs = object::load(sizes, &pins)?;
    let origin = match found {
        Found::Nothing => Origin::Fresh,
        Found::Same => Origin::Kept,
        Found::Foreign(why) => Origin::Foreign { why },
        Found::OtherSizes(names) => {
            let lost = replace(dir, &names, &pins).map_err(failed("copy"))?;
            Origin::Resized { lost }
        }
    };
    let maps = Maps::open(dir).map_err(failed("open"))?;
    if matches!(origin, Origin::Fresh | Origin::Foreign { .. }) {
        let control = Control { layout_version: LAYOUT_VERSION, fence: 0 };
        maps.control.set(&0, &control).map_err(failed("initialise"))?;
    }
    set_clock(programs.clock.as_fd()).map_err(failed("set the clock of"))?;
    let ring = open_ring(dir)?;
    Ok(Opened { maps, ring, programs, origin })
}

/// Tells the programs how jiffies become moments of the monotonic clock.
fn set_clock(program: BorrowedFd<'_>) -> io::Result<()> {
    // Coarse clocks move with the timer interrupt: their resolution is a jiffy.
    let jiffy = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)?.tv_nsec();
    let jiffy = u32::try_from(jiffy).map_err(io::Error::other)?;
    let order = ClockOrder { jiffy, ..ClockOrder::default() };
    let input = RunInput { data: bytes_of(&order), ..RunInput::default() };
    match sys::run(program, &input, &mut [])?.result {
        0 => Ok(()),
        _ => Err(io::Error::other("the clock program has refused its order")),
    }
}

/// Removes every map's pin.
pub(super) fn unpin(dir: &PinDir) -> io::Result<()> {
    for name in dir.names()?.iter().filter(|name| !name.starts_with(super::links::PREFIX)) {
        dir.remove(name)?;
    }
    Ok(())
}

/// What is pinned.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Same,
    /// The names of the maps whose size differs.
    OtherSizes(Vec<String>),
    /// Why it is not ours.
    Foreign(String),
}

fn survey(dir: &PinDir, shapes: &BTreeMap<String, MapShape>) -> io::Result<Found> {
    let pinned = dir.names()?;
    if !shapes.keys().any(|name| pinned.contains(name)) {
        return Ok(Found::Nothing);
    }
    // The version first: it explains best what else may differ.
    if pinned.iter().any(|name| name == "control") {
        let control = Table::<u32, Control>::new(sys::open_pinned(&dir.join("control"))?);
        let version = control.and_then(|control| control.get(&0)).ok().flatten();
        let version = version.map_or(0, |control| control.layout_version);
        if version != LAYOUT_VERSION {
            let why = format!("they have layout version {version}, this is {LAYOUT_VERSION}");
            return Ok(Found::Foreign(why));
        }
    }
    let mut other_sizes = Vec::new();
    for (name, wanted) in shapes {
        if !pinned.contains(name) {
            return Ok(Found::Foreign(format!("the map {name} is missing")));
        }
        let shape = sys::map_shape(sys::open_pinned(&dir.join(name))?.as_fd())?;
        match shape.compare(wanted) {
            Comparison::Same => {}
            Comparison::OtherSize => other_sizes.push(name.clone()),
            Comparison::OtherType => {
                return Ok(Found::Foreign(format!("the map {name} is of another type")));
            }
        }
    }
    Ok(if other_sizes.is_empty() { Found::Same } else { Found::OtherSizes(other_sizes) })
}

enum Comparison {
    Same,
    OtherSize,
    OtherType,
}

impl MapShape {
    fn compare(&self, other: &Self) -> Comparison {
        let type_of = |shape: &Self| (shape.kind, shape.key_size, shape.value_size, shape.flags);
        if type_of(self) != type_of(other) {
            Comparison::OtherType
        } else if self.max_entries != other.max_entries {
            Comparison::OtherSize
        } else {
            Comparison::Same
        }
    }
}

fn new_name(name: &str) -> String {
    format!("{name}{NEW}")
}

/// Copies the maps that have got a new size and puts the copies in their place; how many entries
/// did not fit.
///
/// The old programs go on counting in the old maps until their links are swapped, right after
/// this: what they count in between is lost. In the other order, a crash would lose the entries.
fn replace(dir: &PinDir, names: &[String], pins: &BTreeMap<String, PathBuf>) -> io::Result<u64> {
    let mut lost = 0;
    for name in names {
        lost += match name.as_str() {
            "flows4" => copy::<FlowKey4, FlowValue4>(dir, name)?,
            "flows6" => copy::<FlowKey6, FlowValue6>(dir, name)?,
            "adjacencies" => copy::<u32, AdjacencySlot>(dir, name)?,
            "ports" => copy::<u32, PortSettings>(dir, name)?,
            "own4" => copy::<[u8; 4], u32>(dir, name)?,
            "own6" => copy::<[u8; 16], u32>(dir, name)?,
            "control" => copy::<u32, Control>(dir, name)?,
            // What stands in the old ring are first packets, which come again, and events, whose
            // flags stand in the entries as well. The other two hold nothing that lasts.
            _ => 0,
        };
    }
    for name in names {
        if let Some(pin) = pins.get(name) {
            fs::rename(pin, dir.join(name))?;
        }
    }
    Ok(lost)
}

fn copy<K: Pod, V: Pod>(dir: &PinDir, name: &str) -> io::Result<u64> {
    let from = Table::<K, V>::new(sys::open_pinned(&dir.join(name))?)?;
    let to = Table::<K, V>::new(sys::open_pinned(&dir.join(&new_name(name)))?)?;
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    from.for_each(&mut |key, value| {
        keys.push(*key);
        values.push(*value);
    })?;
    let mut lost = 0;
    to.set_all(&keys, &values, &mut |_, _| lost += 1);
    Ok(lost)
}

impl Maps {
    fn open(dir: &PinDir) -> io::Result<Self> {
        fn table<K: Pod, V: Pod>(dir: &PinDir, name: &str) -> io::Result<Table<K, V>> {
            Table::new(sys::open_pinned(&dir.join(name))?)
        }
        Ok(Self {
            flows4: table(dir, "flows4")?,
            flows6: table(dir, "flows6")?,
            adjacencies: table(dir, "adjacencies")?,
            ports: table(dir, "ports")?,
            own4: table(dir, "own4")?,
            own6: table(dir, "own6")?,
            control: table(dir, "control")?,
            restamps: table(dir, "restamps")?,
            templates: table(dir, "templates")?,
            stocks: Stocks::map(sys::open_pinned(&dir.join("stocks"))?)?,
            verdicts: sys::open_pinned(&dir.join("verdicts"))?,
            meters: sys::open_pinned(&dir.join("meters"))?,
        })
    }
}

fn open_ring(dir: &PinDir) -> Result<RingBuf<MapData>, OpenError> {
    let data = MapData::from_pin(dir.join("punts"))
        .map_err(|error| OpenError::from_loader(aya::EbpfError::MapError(error)))?;
    RingBuf::try_from(Map::RingBuf(data))
        .map_err(|error| OpenError::from_loader(aya::EbpfError::MapError(error)))
}
