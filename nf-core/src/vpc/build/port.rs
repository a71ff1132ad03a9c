//! Linux interfaces: each serves one network interface, one place at an instance, one subnet or one
//! uplink.

use std::collections::BTreeMap;

use super::{InvalidKind, Path, Problems};
use crate::vpc::document::{Document, InstanceState};
use crate::vpc::hash::Map;
use crate::vpc::id::InstanceId;
use crate::vpc::model::{EniIx, InstanceIx, PortRole, SubnetIx, UplinkIx};

/// `IFNAMSIZ` of Linux, less the terminating zero.
const MAX_NAME: usize = 15;

/// What says what an interface is for.
struct Use<'d> {
    name: &'d str,
    role: PortRole,
    path: Path,
    /// The key of the name.
    key: &'static str,
}

/// What every port of a document is for.
pub(super) fn resolve(
    document: &Document,
    problems: &mut Problems,
) -> BTreeMap<Box<str>, PortRole> {
    let mut ports: BTreeMap<&str, Use<'_>> = BTreeMap::new();
    for it in uses(document) {
        let name: Box<str> = it.name.into();
        if !is_interface_name(&name) {
            problems.add(it.path.key(it.key), InvalidKind::PortName { name });
        } else if let Some(first) = ports.get(it.name) {
            let other = first.path.clone();
            problems.add(it.path.key(it.key), InvalidKind::PortInUse { name, other });
        } else {
            ports.insert(it.name, it);
        }
    }
    ports.into_iter().map(|(name, it)| (name.into(), it.role)).collect()
}

fn uses(document: &Document) -> Vec<Use<'_>> {
    let mut uses = Vec::new();
    for (place, uplink) in document.uplink.iter().enumerate() {
        let (role, path) = (PortRole::Uplink(UplinkIx::at(place)), Path::of("uplink", place));
        uses.push(Use { name: &uplink.port, role, path, key: "port" });
    }
    for (place, subnet) in document.subnet.iter().enumerate() {
        let Some(name) = &subnet.port else { continue };
        let (role, path) = (PortRole::Segment(SubnetIx::at(place)), Path::of("subnet", place));
        uses.push(Use { name, role, path, key: "port" });
    }
    let attached = attached(document);
    for (place, instance) in document.instance.iter().enumerate() {
        for (port_place, port) in instance.port.iter().enumerate() {
            let at = (&instance.instance_id, port.network_card_index, port.device_index);
            let eni = attached.get(&at).filter(|_| instance.state == InstanceState::Running);
            let role = eni.map_or(PortRole::Vacant(InstanceIx::at(place)), |&ix| PortRole::Eni(ix));
            let path = Path::of("instance", place).key("port").index(port_place);
            uses.push(Use { name: &port.name, role, path, key: "name" });
        }
    }
    for (place, interface) in document.network_interface.iter().enumerate() {
        let Some(name) = &interface.port else { continue };
        let role = PortRole::Eni(EniIx::at(place));
        let path = Path::of("network_interface", place);
        uses.push(Use { name, role, path, key: "port" });
    }
    uses
}

/// The interfaces that are attached, by instance, network card and device index.
fn attached(document: &Document) -> Map<(&InstanceId, u16, u16), EniIx> {
    let interfaces = document.network_interface.iter().enumerate();
    let attached = interfaces.filter_map(|(place, it)| {
        let at = it.attachment.as_ref()?;
        Some(((&at.instance_id, at.network_card_index, at.device_index), EniIx::at(place)))
    });
    attached.collect()
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
