//! Whether a flow outlives the rules that let it in. EC2 ("Amazon EC2 security group connection
//! tracking"): "Untracked flows of traffic are immediately interrupted if the rule that enables the
//! flow is removed or modified", while existing connections that are tracked "persist until they
//! time out".

/// The ends of a flow that are tracked. Each end is its interface's own affair: the groups there
/// may track what those at the other end need not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tracking {
    /// At the interface that its first packet came from.
    pub source: bool,
    /// At the interface that its first packet went to.
    pub destination: bool,
}

impl Tracking {
    /// Both ends, as of every flow that passes a function. EC2: connections through NAT gateways,
    /// Network Load Balancers and Lambda's interfaces "are automatically tracked, even if the
    /// security group configuration does not otherwise require tracking".
    pub const BOTH: Self = Self { source: true, destination: true };

    const SOURCE: u8 = 1;
    const DESTINATION: u8 = 2;

    /// Two bits, as tables keep it.
    #[must_use]
    pub const fn bits(self) -> u8 {
        let source = if self.source { Self::SOURCE } else { 0 };
        source | if self.destination { Self::DESTINATION } else { 0 }
    }

    /// What [`Self::bits`] was given; other bits do not matter.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self { source: bits & Self::SOURCE != 0, destination: bits & Self::DESTINATION != 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_bits_say_it_all() {
        for bits in 0..4 {
            assert_eq!(Tracking::from_bits(bits).bits(), bits);
        }
        assert_eq!(Tracking::from_bits(0xff), Tracking::BOTH);
    }
}
