//! The error codes that clients of EC2 and `ELBv2` know.

use super::InvalidKind;

impl InvalidKind {
    /// The error code that EC2 or, for load balancers, `ELBv2` has for it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::FlowLog(flow_log) => flow_log.code(),
            Self::SecurityGroup(group) => group.code(),
            Self::PrefixList(list) => list.code(),
            Self::Attachment(attachment) => attachment.code(),
            Self::Prefix(prefix) => prefix.code(),
            Self::NatAddress(address) => address.code(),
            Self::Duplicate { code, .. }
            | Self::NotFound { code, .. }
            | Self::Quota { code, .. }
            | Self::PrefixLength { code, .. } => code,
            Self::SubnetOutsideVpc { .. } => "InvalidSubnet.Range",
            Self::SubnetConflict { .. } => "InvalidSubnet.Conflict",
            Self::AddressInUse { .. } | Self::PublicAddressInUse { .. } => "InvalidIPAddress.InUse",
            Self::NoFreeAddress { .. } => "InsufficientFreeAddressesInSubnet",
            Self::MacInUse { .. } | Self::PortInUse { .. } => "InvalidNetworkInterface.InUse",
            Self::RouteExists { .. } => "RouteAlreadyExists",
            Self::Blackhole { .. } | Self::DetachedTarget { .. } | Self::DetachedGateway { .. } => {
                "blackhole"
            }
            Self::NoInternetGateway { .. } => "Gateway.NotAttached",
            Self::AlreadyAssociated { .. } | Self::PrivateAddressTaken { .. } => {
                "Resource.AlreadyAssociated"
            }
            Self::ExactlyOne { found: 0, .. }
            | Self::AddressNeeded { .. }
            | Self::NoPrimaryAddress
            | Self::NatWithoutAddress
            | Self::NoUplinkAddress
            | Self::PrivateAddressAlone => "MissingParameter",
            Self::ExactlyOne { .. }
            | Self::PrivateNatWithAddress
            | Self::FilteringWithoutMapping
            | Self::AddressWithoutIp => "InvalidParameterCombination",
            Self::NoSubnetMapping => "ValidationError",
            Self::SecondNode { .. }
            | Self::NodeWithoutAddress
            | Self::InternalNodeWithAddress
            | Self::TcpOnly => "InvalidConfigurationRequest",
            Self::DuplicateListener { .. } => "DuplicateListener",
            Self::TooManyListeners { .. } => "TooManyListeners",
            Self::ProtocolMismatch { .. } => "IncompatibleProtocols",
            Self::PublicTarget { .. }
            | Self::LoadBalancerAsTarget { .. }
            | Self::DuplicateTarget { .. } => "InvalidTarget",
            Self::OtherVpc { .. }
            | Self::OutOfRange { .. }
            | Self::NotAWord { .. }
            | Self::HostBits { .. }
            | Self::NotForHosts { .. }
            | Self::PublicBlockConflict { .. }
            | Self::NoIpv6Block { .. }
            | Self::AddressOutsideSubnet { .. }
            | Self::AddressReserved { .. }
            | Self::MacNotUnicast { .. }
            | Self::PortName { .. }
            | Self::SecondMainTable { .. }
            | Self::RouteInsideVpc { .. }
            | Self::SecondInternetGateway { .. }
            | Self::NotAHost { .. }
            | Self::GatewayOffLink { .. }
            | Self::SecondGateway { .. }
            | Self::PublicAddressInVpc { .. }
            | Self::PoolInVpc { .. }
            | Self::PoolConflict { .. }
            | Self::NotFromPool { .. }
            | Self::NoSuchPrivateAddress { .. }
            | Self::NoPrivateAddress { .. } => "InvalidParameterValue",
        }
    }
}
