//! Network interfaces.

mod addresses;
mod attachment;
mod attribute;
mod create;
mod managed;
