//! Templates, lots and the records of flows that the program has made: the part of `bpf/layout.h`
//! under that name.

use std::net::{Ipv4Addr, SocketAddrV4};

use aya::Pod;
use nf_core::fast_path::{Class, Lot, Made, MeterId, StockId, Template};
use nf_core::flow::Tracking;
use nf_core::id::{AdjacencyId, FlowId, Generation};
use nf_core::packet::MacAddr;
use nf_core::tuple::FlowKey;

use super::{DecodeKey as _, FlowKey4, RecordHead, bytes_of, delta, mac_or_zero, mac_unless_zero};

/// [`RecordHead::kind`] of a flow that was made.
pub(crate) const RECORD_MADE: u8 = 3;

/// [`RecordHead::kind`] of a lot that was taken for a flow that could not be made.
pub(crate) const RECORD_UNUSED: u8 = 4;

/// The flag of [`TemplateValue`] for [`Template::holds_src_mac`], beside [`Tracking::bits`].
const HOLDS_SRC_MAC: u16 = 4;

/// Key of `templates`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct TemplateKey {
    pub saddr: [u8; 4],
    pub daddr: [u8; 4],
    pub scope_protocol: u32,
    pub dport: [u8; 2],
    pub reserved: u16,
}

/// Value of `templates`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct TemplateValue {
    pub saddr: [u8; 4],
    pub reverse_port: u32,
    pub forward_adjacency: u32,
    pub reverse_adjacency: u32,
    pub generation: u32,
    pub stock: u32,
    pub address_delta: [u8; 2],
    pub src_mac: [u8; 6],
    pub flags: u16,
    pub back_mac: [u8; 6],
    pub forward_meter: u32,
    pub reverse_meter: u32,
}

/// A place in a stock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct LotSlot {
    pub flow: u32,
    pub port: [u8; 2],
    pub reserved: u16,
}

/// A record of kind [`RECORD_MADE`] or [`RECORD_UNUSED`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct MadeRecord {
    pub head: RecordHead,
    pub key: FlowKey4,
    pub saddr: [u8; 4],
    pub sport: [u8; 2],
    pub src_mac: [u8; 6],
    pub reverse_port: u32,
    pub forward_adjacency: u32,
    pub reverse_adjacency: u32,
    pub generation: u32,
    pub stock: u32,
    pub flags: u16,
    pub back_mac: [u8; 6],
    pub forward_meter: u32,
    pub reverse_meter: u32,
}

// SAFETY: as the others of this layout: `repr(C)`, integers and arrays of them, no padding.
unsafe impl Pod for TemplateKey {}
// SAFETY: as above.
unsafe impl Pod for TemplateValue {}
// SAFETY: as above.
unsafe impl Pod for LotSlot {}
// SAFETY: as above.
unsafe impl Pod for MadeRecord {}

impl TemplateKey {
    /// The kernel's form of a class.
    pub(crate) fn of(class: &Class) -> Self {
        Self {
            saddr: class.src.octets(),
            daddr: class.dst.ip().octets(),
            scope_protocol: class.port.get() << 8 | u32::from(class.protocol.number()),
            dport: class.dst.port().to_be_bytes(),
            reserved: 0,
        }
    }
}

impl TemplateValue {
    /// The kernel's form of a class's template.
    pub(crate) fn of(class: &Class, template: &Template) -> Self {
        let saddr = template.external_ip.octets();
        Self {
            saddr,
            reverse_port: template.reverse_port.get(),
            forward_adjacency: template.forward_out.0,
            reverse_adjacency: template.reverse_out.0,
            generation: template.generation.0,
            stock: template.stock.0,
            address_delta: delta(&class.src.octets(), &saddr),
            src_mac: *template.src_mac.as_bytes(),
            flags: flags(template),
            back_mac: mac_or_zero(template.back_mac),
            forward_meter: template.meters[0].0,
            reverse_meter: template.meters[1].0,
        }
    }
}

/// [`TemplateValue::flags`] of a template.
fn flags(template: &Template) -> u16 {
    let holds_src_mac = if template.holds_src_mac { HOLDS_SRC_MAC } else { 0 };
    holds_src_mac | u16::from(template.tracking.bits())
}

impl LotSlot {
    /// The eight bytes of a lot, to be moved in one go.
    pub(crate) fn pack(lot: Lot) -> u64 {
        let slot = Self { flow: lot.flow.0, port: lot.port.to_be_bytes(), reserved: 0 };
        let mut bytes = [0; size_of::<u64>()];
        bytes.copy_from_slice(bytes_of(&slot));
        u64::from_ne_bytes(bytes)
    }

    /// The lot that [`Self::pack`] was given.
    pub(crate) fn unpack(packed: u64) -> Lot {
        let bytes = packed.to_ne_bytes();
        // SAFETY: there are as many bytes as `Self` has, and any bytes are one.
        let slot = unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() };
        Lot { flow: FlowId(slot.flow), port: u16::from_be_bytes(slot.port) }
    }
}

impl MadeRecord {
    /// What a record says; `None` if it is too short for one, or of a flow that no gateway makes.
    pub(crate) fn decode(record: &[u8]) -> Option<Made> {
        let record = record.get(..size_of::<Self>())?;
        // SAFETY: there are as many bytes as `Self` has, and any bytes are one.
        let record = unsafe { record.as_ptr().cast::<Self>().read_unaligned() };
        let forward: FlowKey = record.key.decode()?;
        let outside =
            SocketAddrV4::new(Ipv4Addr::from(record.saddr), u16::from_be_bytes(record.sport));
        Some(Made {
            lot: Lot { flow: FlowId(record.head.flow), port: outside.port() },
            forward,
            template: Template {
                src_mac: MacAddr::new(record.src_mac),
                holds_src_mac: record.flags & HOLDS_SRC_MAC != 0,
                back_mac: mac_unless_zero(record.back_mac),
                tracking: Tracking::from_bits(record.flags as u8),
                meters: [MeterId(record.forward_meter), MeterId(record.reverse_meter)],
                external_ip: *outside.ip(),
                reverse_port: nf_core::id::PortId::new(record.reverse_port)?,
                forward_out: AdjacencyId(record.forward_adjacency),
                reverse_out: AdjacencyId(record.reverse_adjacency),
                generation: Generation(record.generation),
                stock: StockId(record.stock),
            },
            is_made: record.head.kind == RECORD_MADE,
        })
    }
}
