//! Big-endian fields at named ranges of a header.
//!
//! Callers have checked that the range is inside the bytes; the views do it in `new_checked`.

use std::ops::Range;

/// Where a field stands, from the start of its header.
pub(super) type Field = Range<usize>;

/// The bytes of a field whose width is `N`.
pub(super) fn array<const N: usize>(bytes: &[u8], field: Field) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[field]);
    value
}

pub(super) fn u16_at(bytes: &[u8], field: Field) -> u16 {
    u16::from_be_bytes(array(bytes, field))
}

pub(super) fn u32_at(bytes: &[u8], field: Field) -> u32 {
    u32::from_be_bytes(array(bytes, field))
}

pub(super) fn set_u16(bytes: &mut [u8], field: Field, value: u16) {
    bytes[field].copy_from_slice(&value.to_be_bytes());
}

pub(super) fn set_u32(bytes: &mut [u8], field: Field, value: u32) {
    bytes[field].copy_from_slice(&value.to_be_bytes());
}
