//! Packets that user space itself sends on, and what the fast path would have counted of them.

use crate::fast_path::Usage;
use crate::fast_path::soft::STATE_FLAGS;
use crate::packet::Ipv4;
use crate::packet::headers::{Fragment, IpHeaders, Transport};
use crate::time::Time;

/// A packet that user space itself sends on.
pub(super) struct Carried<'a> {
    pub frame: Vec<u8>,
    pub ip: &'a IpHeaders,
    /// Payload bytes a segment, if the frame is a super-packet, else 0.
    pub segment_size: u16,
    /// Of a fragment: what it leaves with, as all others of its datagram, if that has other
    /// addresses then.
    pub identification: Option<u32>,
}

impl Carried<'_> {
    /// Length of the largest IP packet that the frame becomes on the wire, in bytes.
    pub fn on_the_wire(&self) -> usize {
        if self.segment_size == 0 {
            return self.ip.total_len;
        }
        self.headers_len() + usize::from(self.segment_size)
    }

    fn headers_len(&self) -> usize {
        let transport = match self.ip.transport {
            Transport::Tcp { header_len, .. } => header_len,
            _ => 8,
        };
        self.ip.l4_offset - self.ip.l3_offset + transport
    }

    /// Whether a router may send it on in fragments. RFC 8200 section 4.5: "unlike IPv4,
    /// fragmentation in IPv6 is performed only by source nodes".
    pub fn may_be_fragmented(&self) -> bool {
        let packet = self.frame.get(self.ip.l3_offset..).unwrap_or_default();
        self.ip.is_ipv4() && Ipv4::new_checked(packet).is_ok_and(|packet| !packet.dont_fragment())
    }

    pub fn is_fragment(&self) -> bool {
        self.ip.fragment != Fragment::None
    }

    pub fn tcp_flags(&self) -> u8 {
        match self.ip.transport {
            Transport::Tcp { flags, .. } => flags.0,
            _ => 0,
        }
    }

    /// What the fast path would count of it.
    pub fn usage(&self, now: Time) -> Usage {
        let packets = match self.segment_size {
            0 => 1,
            size => {
                let payload = self.ip.total_len.saturating_sub(self.headers_len());
                payload.div_ceil(usize::from(size)).max(1) as u64
            }
        };
        let bytes = self.ip.total_len as u64;
        let tcp_flags = self.tcp_flags() & STATE_FLAGS;
        Usage { last_seen: now.tick(), packets, bytes, tcp_flags }
    }
}
