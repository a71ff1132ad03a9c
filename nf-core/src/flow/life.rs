//! How long a flow lives: its phase, read off what went through it, and the idle time each phase
//! is given.
//!
//! A TCP flow's state is nothing but the SYN, FIN and RST bits seen in each direction, or-ed. The
//! fast path keeps the same bits in its entries, so a process that starts anew on old entries
//! knows every flow's phase at once.

use std::time::Duration;

use crate::fast_path::Usage;
use crate::tuple::Protocol;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;

/// Idle times by phase. A flow that was silent for this long is ended, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// TCP whose handshake was not completed. RFC 5382 REQ-5: "The value of the 'transitory
    /// connection idle-timeout' MUST NOT be less than 4 minutes".
    pub tcp_opening: Duration,
    /// TCP that may carry data: 350 s at AWS.
    pub tcp_established: Duration,
    /// TCP of which one side has sent its FIN.
    pub tcp_closing: Duration,
    /// TCP of which both sides have.
    pub tcp_time_wait: Duration,
    /// TCP after a RST. Not zero, since the RST may have been out of window and ignored: a flow
    /// that goes on is kept as long as it does.
    pub tcp_reset: Duration,
    /// UDP that has not been answered more than once.
    pub udp: Duration,
    /// UDP that has: see [`Phase::Stream`].
    pub udp_stream: Duration,
    /// ICMP and ICMPv6 echo. RFC 5508 REQ-1: "MUST NOT expire in less than 60 seconds".
    pub icmp: Duration,
    /// Whether both ends of TCP that was [`Phase::Established`] are told when its time is over.
    pub reset_both: bool,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tcp_opening: Duration::from_mins(4),
            tcp_established: Duration::from_secs(350),
            tcp_closing: Duration::from_mins(4),
            tcp_time_wait: Duration::from_secs(30),
            tcp_reset: Duration::from_secs(10),
            udp: Duration::from_mins(2),
            udp_stream: Duration::from_mins(2),
            icmp: Duration::from_mins(1),
            reset_both: false,
        }
    }
}

/// Where a flow stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// TCP: a SYN, not yet an acknowledged answer to it.
    Opening,
    /// TCP: both ways are open.
    Established,
    /// TCP: one FIN.
    Closing,
    /// TCP: a FIN each way.
    TimeWait,
    /// TCP: a RST.
    Reset,
    /// UDP or echo, which have no state of their own.
    Datagrams,
    /// UDP that goes on. EC2's `UdpStreamTimeout` is for "UDP flows classified as streams which have
    /// seen more than one request-response transaction".
    Stream,
}

impl Phase {
    /// The phase that these counts mean.
    #[must_use]
    pub fn of(protocol: Protocol, forward: &Usage, reverse: &Usage) -> Self {
        if protocol != Protocol::Tcp {
            let is_answered_again = forward.packets > 1 && reverse.packets > 1;
            let goes_on = protocol == Protocol::Udp && is_answered_again;
            return if goes_on { Self::Stream } else { Self::Datagrams };
        }
        let (there, back) = (forward.tcp_flags, reverse.tcp_flags);
        if (there | back) & RST != 0 {
            Self::Reset
        } else if there & back & FIN != 0 {
            Self::TimeWait
        } else if (there | back) & FIN != 0 {
            Self::Closing
        } else if there & SYN != 0 && (back & SYN == 0 || forward.packets < 2) {
            // The handshake's last acknowledgement carries no flag of its own: it is the second
            // packet of the side that opened.
            Self::Opening
        } else {
            // A flow whose SYN was never seen was taken up midway.
            Self::Established
        }
    }

    /// The idle time of this phase.
    #[must_use]
    pub fn timeout(self, protocol: Protocol, timeouts: &Timeouts) -> Duration {
        match self {
            Self::Opening => timeouts.tcp_opening,
            Self::Established => timeouts.tcp_established,
            Self::Closing => timeouts.tcp_closing,
            Self::TimeWait => timeouts.tcp_time_wait,
            Self::Reset => timeouts.tcp_reset,
            Self::Datagrams if protocol == Protocol::Udp => timeouts.udp,
            Self::Datagrams => timeouts.icmp,
            Self::Stream => timeouts.udp_stream,
        }
    }

    /// How soon after a packet a flow of this phase is to be looked at. Some go on to a phase with
    /// an idle time of its own, and nobody tells: the acknowledgement that completes TCP's handshake
    /// carries no flag, and UDP has none.
    #[must_use]
    pub fn look_after(self, protocol: Protocol, timeouts: &Timeouts) -> Duration {
        let timeout = self.timeout(protocol, timeouts);
        match self {
            Self::Opening => timeout.min(timeouts.tcp_established),
            Self::Datagrams if protocol == Protocol::Udp => timeout.min(timeouts.udp_stream),
            _ => timeout,
        }
    }

    /// The lower-case name, as listings and metrics write it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Established => "established",
            Self::Closing => "closing",
            Self::TimeWait => "time_wait",
            Self::Reset => "reset",
            Self::Datagrams => "datagrams",
            Self::Stream => "stream",
        }
    }

    /// Whether a SYN in this phase opens a new connection on the old tuple (RFC 9293 3.6.1 lets
    /// a TIME-WAIT side accept one) instead of repeating the old one.
    #[must_use]
    pub const fn may_reopen(self) -> bool {
        matches!(self, Self::TimeWait | Self::Reset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(packets: u64, tcp_flags: u8) -> Usage {
        Usage { packets, tcp_flags, ..Usage::default() }
    }

    #[test]
    fn a_tcp_flow_goes_through_its_phases_by_the_flags_seen() {
        let phase = |f, r| Phase::of(Protocol::Tcp, &f, &r);
        assert_eq!(phase(usage(1, SYN), usage(0, 0)), Phase::Opening);
        assert_eq!(phase(usage(1, SYN), usage(1, SYN)), Phase::Opening);
        assert_eq!(phase(usage(2, SYN), usage(1, SYN)), Phase::Established);
        assert_eq!(phase(usage(3, SYN | FIN), usage(2, SYN)), Phase::Closing);
        assert_eq!(phase(usage(3, SYN), usage(2, SYN | FIN)), Phase::Closing);
        assert_eq!(phase(usage(3, SYN | FIN), usage(2, SYN | FIN)), Phase::TimeWait);
        assert_eq!(phase(usage(3, SYN | FIN), usage(2, SYN | RST)), Phase::Reset);
        assert_eq!(phase(usage(9, 0), usage(9, 0)), Phase::Established, "taken up midway");
    }

    #[test]
    fn udp_is_a_stream_once_it_is_answered_again() {
        let phase = |protocol, there, back| Phase::of(protocol, &usage(there, 0), &usage(back, 0));
        for (there, back) in [(1, 0), (9, 0), (1, 1), (2, 1), (9, 1), (1, 9)] {
            let what = phase(Protocol::Udp, there, back);
            assert_eq!(what, Phase::Datagrams, "{there} there, {back} back");
        }
        assert_eq!(phase(Protocol::Udp, 2, 2), Phase::Stream);
        assert_eq!(phase(Protocol::Icmp, 9, 9), Phase::Datagrams);
    }

    #[test]
    fn a_syn_that_is_only_repeated_does_not_establish_a_flow() {
        assert_eq!(Phase::of(Protocol::Tcp, &usage(5, SYN), &usage(0, 0)), Phase::Opening);
    }
}
