//! What every packet of a simulated host carries: who sent it, in which conversation. Whoever gets
//! a packet can tell by it whether it was meant for them, whatever became of its addresses.

use crate::hosts::HostId;

const MAGIC: [u8; 4] = *b"HSIM";

/// Length of a tag in bytes.
pub(crate) const LEN: usize = 16;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// From the host that opened the conversation.
    Request,
    /// To it.
    Response,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) talk: u32,
    pub(crate) kind: Kind,
    pub(crate) round: u16,
    pub(crate) sender: HostId,
}

impl Tag {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.talk.to_be_bytes());
        bytes.push(u8::from(self.kind == Kind::Response));
        bytes.push(0);
        bytes.extend(self.round.to_be_bytes());
        bytes.extend(self.sender.0.to_be_bytes());
        debug_assert_eq!(bytes.len(), LEN);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<LEN>()?;
        let [m0, m1, m2, m3, t0, t1, t2, t3, kind, _, r0, r1, s0, s1, s2, s3] = *bytes;
        ([m0, m1, m2, m3] == MAGIC).then(|| Self {
            talk: u32::from_be_bytes([t0, t1, t2, t3]),
            kind: if kind == 0 { Kind::Request } else { Kind::Response },
            round: u16::from_be_bytes([r0, r1]),
            sender: HostId(u32::from_be_bytes([s0, s1, s2, s3])),
        })
    }
}
