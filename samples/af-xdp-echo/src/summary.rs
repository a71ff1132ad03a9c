//! What a run came to, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::answer::{Refusal, Request};
use crate::socket::Mode;
use crate::steering::Others;

/// What a run came to. Nothing is lost in silence: `steered_packets` is what was received and what
/// was lost, `received_packets` what was answered and what was refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The interface.
    pub interface: String,
    /// Its receive queue.
    pub queue: u32,
    /// How frames got into the shared memory and out of it.
    pub mode: Mode,
    /// How long it ran.
    pub seconds: f64,
    /// Why it ended.
    pub ended_by: EndedBy,
    /// Frames for the program's addresses that came by its queue.
    pub steered_packets: u64,
    /// Those that did not get into the socket: no free memory, or longer than a frame may be.
    pub lost_packets: u64,
    /// Those that did.
    pub received_packets: u64,
    /// Their bytes, with Ethernet headers.
    pub received_bytes: u64,
    /// Those that were answered, by what they asked.
    pub answered: BTreeMap<Request, u64>,
    /// Those that were not, by why.
    pub refused: BTreeMap<Refusal, u64>,
    /// Answers that the kernel has sent.
    pub sent_packets: u64,
    /// Frames for the program's addresses that came by another queue: dropped.
    pub other_queue_packets: u64,
    /// What became of frames for others.
    pub others: Others,
    /// How many there were.
    pub others_packets: u64,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// Its time was over.
    Duration,
    /// It was told to.
    Signal,
    /// The interface went away.
    InterfaceGone,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (packets, bytes) = (self.received_packets, self.received_bytes);
        writeln!(f, "received  {packets} packets, {bytes} bytes in {:.1} s", self.seconds)?;
        let [arp, solicitation, echo, udp] =
            Request::ALL.map(|it| self.answered.get(&it).copied().unwrap_or(0));
        writeln!(
            f,
            "answered  {arp} ARP, {solicitation} neighbour solicitation, {echo} ICMP echo, {udp} UDP"
        )?;
        writeln!(f, "sent      {} packets", self.sent_packets)?;
        for (refusal, count) in self.refused.iter().filter(|(_, count)| **count > 0) {
            writeln!(f, "refused   {count} packets: {}", refusal.as_str())?;
        }
        if self.lost_packets > 0 {
            writeln!(f, "lost      {} packets before the socket", self.lost_packets)?;
        }
        if self.other_queue_packets > 0 {
            let count = self.other_queue_packets;
            writeln!(f, "dropped   {count} packets that came by another queue")?;
        }
        let others = match self.others {
            Others::Pass => "passed   ",
            Others::Drop => "dropped  ",
        };
        write!(f, "{others} {} packets for others", self.others_packets)
    }
}
