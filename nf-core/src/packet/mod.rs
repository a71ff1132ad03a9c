//! Packets as bytes: views that read and write header fields in place, the summary of a frame that
//! decisions are made on, and constructors of the frames the gateway sends of its own accord.
//!
//! # Views
//!
//! [`Ethernet`], [`Arp`], [`Ipv4`], [`Ipv6`], [`Tcp`], [`Udp`] and [`Icmp`] wrap anything that
//! derefs to bytes. `new_checked` looks at every length once: the fixed header is there, and what
//! the header says of its own length, and of the packet's, fits into the buffer. No setter touches
//! a length or version field, so what was checked stays true, and afterwards **no accessor and no
//! setter panics**, provided the wrapped type keeps giving out the same bytes (slices, arrays and
//! `Vec` do). Bytes behind the length that a header announces are padding and never part of a
//! payload: Ethernet pads frames to 60 bytes.
//!
//! # Summary
//!
//! [`Headers::parse`] goes once through all headers of a frame with those views. A frame it
//! accepts has no header that contradicts itself; a frame it refuses comes with the [`Malformed`]
//! that says which one does, and why. It allocates nothing.
//!
//! # Numbers
//!
//! All integers are in host byte order, all lengths and offsets in bytes; offsets in [`IpHeaders`]
//! count from the start of the frame.
//!
//! # Limitations
//!
//! Frames are plain Ethernet II: a VLAN tag is [`Content::Other`], and so is anything that is not
//! ARP, IPv4 or IPv6. IPv6 jumbograms (RFC 2675) and IPv4 packets whose total length of zero
//! stands for more than 64 KiB are malformed.

pub mod arp;
pub mod build;
pub mod checksum;
pub mod ethernet;
pub mod fragment;
pub mod headers;
pub mod icmp;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod mac;
pub mod malformed;
pub mod ndp;
pub mod quoted;
pub mod tcp;
pub mod udp;

mod field;
#[cfg(test)]
mod tests;

pub use arp::Arp;
pub use build::Frame;
pub use checksum::L4Checksum;
pub use ethernet::{EtherType, Ethernet};
pub use fragment::Part;
pub use headers::{Content, Fragment, Headers, IpHeaders, Transport};
pub use icmp::{Icmp, IcmpErrorKind};
pub use ipv4::Ipv4;
pub use ipv6::Ipv6;
pub use mac::MacAddr;
pub use malformed::{Layer, Malformed};
pub use ndp::{NdpType, NeighbourMessage};
pub use quoted::Quoted;
pub use tcp::{Tcp, TcpFlags};
pub use udp::Udp;
