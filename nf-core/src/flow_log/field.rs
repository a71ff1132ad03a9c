//! What a record can tell: EC2's fields of versions 2 to 5, and ours.
//!
//! Source: "Available fields" of "Flow log records" in the VPC user guide.

use std::fmt;
use std::str::FromStr;

/// The version of our own fields: they are in none of EC2's, so they do not raise a record's.
const OURS: u8 = 0;

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident, $text:literal, $version:expr;)*) => {
        /// One field of a record.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Field {
            $($(#[$doc])* $name,)*
        }

        impl Field {
            /// Every field: EC2's by version, in the order of its table, then ours.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name, as a format and the first line of a file write it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// EC2's version that it came with; 0 for ours.
            #[must_use]
            pub const fn version(self) -> u8 {
                match self {
                    $(Self::$name => $version,)*
                }
            }
        }
    };
}

fields! {
    /// The highest version among the fields of the format, 2 at least.
    Version, "version", 2;
    /// The owner of the interface's VPC.
    AccountId, "account-id", 2;
    /// The interface.
    InterfaceId, "interface-id", 2;
    /// Where packets come from; of what the interface sends, its own primary address.
    SrcAddr, "srcaddr", 2;
    /// Where packets go; of what the interface receives, its own primary address.
    DstAddr, "dstaddr", 2;
    /// Source port; 0 for ICMP.
    SrcPort, "srcport", 2;
    /// Destination port; 0 for ICMP.
    DstPort, "dstport", 2;
    /// IANA's number of the protocol.
    Protocol, "protocol", 2;
    /// Packets in the window.
    Packets, "packets", 2;
    /// Bytes of IP packets in the window.
    Bytes, "bytes", 2;
    /// Seconds since 1970: no packet of the record came before.
    Start, "start", 2;
    /// Seconds since 1970: when the last packet of the record came.
    End, "end", 2;
    /// `ACCEPT` or `REJECT`.
    Action, "action", 2;
    /// `OK`, `NODATA` or `SKIPDATA`.
    LogStatus, "log-status", 2;

    /// The interface's VPC.
    VpcId, "vpc-id", 3;
    /// The interface's subnet.
    SubnetId, "subnet-id", 3;
    /// The instance that the interface is attached to.
    InstanceId, "instance-id", 3;
    /// TCP flags seen in the window, or-ed: FIN 1, SYN 2, RST 4, and 16 for the acknowledgement in
    /// a SYN-ACK.
    TcpFlags, "tcp-flags", 3;
    /// `IPv4` or `IPv6`.
    Type, "type", 3;
    /// The source address in the packets.
    PktSrcAddr, "pkt-srcaddr", 3;
    /// The destination address in the packets.
    PktDstAddr, "pkt-dstaddr", 3;

    /// The interface's zone without its last letter, as EC2 names zones.
    Region, "region", 4;
    /// The zone of the interface's subnet.
    AzId, "az-id", 4;
    /// Always `-`: there are none.
    SublocationType, "sublocation-type", 4;
    /// Always `-`.
    SublocationId, "sublocation-id", 4;

    /// Always `-`: there are no address ranges of services.
    PktSrcAwsService, "pkt-src-aws-service", 5;
    /// Always `-`.
    PktDstAwsService, "pkt-dst-aws-service", 5;
    /// `ingress` or `egress`, as seen from the interface.
    FlowDirection, "flow-direction", 5;
    /// How what the interface sends leaves it: 1 within the VPC, 8 by its internet gateway.
    TrafficPath, "traffic-path", 5;

    /// Ours: the source address that the gateway received the packets with.
    ReceivedSrcAddr, "hs-received-srcaddr", OURS;
    /// Ours: the destination address that the gateway received the packets with.
    ReceivedDstAddr, "hs-received-dstaddr", OURS;
    /// Ours: the source port that the gateway received the packets with; of ICMP echo the
    /// identifier stands at the side that asks.
    ReceivedSrcPort, "hs-received-srcport", OURS;
    /// Ours: the destination port that the gateway received the packets with.
    ReceivedDstPort, "hs-received-dstport", OURS;
    /// Ours: the source address that the gateway sent the packets on with.
    SentSrcAddr, "hs-sent-srcaddr", OURS;
    /// Ours: the destination address that the gateway sent the packets on with.
    SentDstAddr, "hs-sent-dstaddr", OURS;
    /// Ours: the source port that the gateway sent the packets on with.
    SentSrcPort, "hs-sent-srcport", OURS;
    /// Ours: the destination port that the gateway sent the packets on with.
    SentDstPort, "hs-sent-dstport", OURS;
    /// Ours: the execution environment whose flow it is, if one's behind a Lambda bridge.
    EnvironmentId, "hs-environment-id", OURS;
}

impl FromStr for Field {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|field| field.as_str() == text).ok_or(())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
