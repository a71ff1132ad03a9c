//! Linux interfaces: each serves one interface, one subnet or one uplink.

use std::collections::BTreeMap;

use super::{InvalidKind, Path, Problems};
use crate::vpc::document::Document;
use crate::vpc::model::{EniIx, PortRole, SubnetIx, UplinkIx};

/// `IFNAMSIZ` of Linux, less the terminating zero.
const MAX_NAME: usize = 15;

/// What every port of a document is for.
pub(super) fn resolve(
    document: &Document,
    problems: &mut Problems,
) -> BTreeMap<Box<str>, PortRole> {
    let uplinks = document.uplink.iter().enumerate().map(|(place, uplink)| {
        (&uplink.port, PortRole::Uplink(UplinkIx::at(place)), Path::of("uplink", place))
    });
    let subnets = document.subnet.iter().enumerate().filter_map(|(place, subnet)| {
        let role = PortRole::Segment(SubnetIx::at(place));
        Some((subnet.port.as_ref()?, role, Path::of("subnet", place)))
    });
    let interfaces = document.network_interface.iter().enumerate().filter_map(|(place, it)| {
        let role = PortRole::Eni(EniIx::at(place));
        Some((it.port.as_ref()?, role, Path::of("network_interface", place)))
    });

    let mut ports: BTreeMap<Box<str>, (PortRole, Path)> = BTreeMap::new();
    for (name, role, path) in uplinks.chain(subnets).chain(interfaces) {
        let name = name.clone();
        if !is_interface_name(&name) {
            problems.add(path.key("port"), InvalidKind::PortName { name });
        } else if let Some((_, other)) = ports.get(&name) {
            let other = other.clone();
            problems.add(path.key("port"), InvalidKind::PortInUse { name, other });
        } else {
            ports.insert(name, (role, path));
        }
    }
    ports.into_iter().map(|(name, (role, _))| (name, role)).collect()
}

/// The kernel's `dev_valid_name`.
fn is_interface_name(name: &str) -> bool {
    let forbidden = |byte: u8| matches!(byte, b'/' | b':' | 0) || is_kernel_space(byte);
    (1..=MAX_NAME).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.bytes().any(forbidden)
}

/// The kernel's `isspace`, which unlike Rust's knows the vertical tab and the Latin-1 space.
const fn is_kernel_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, 0x0b | 0xa0)
}
