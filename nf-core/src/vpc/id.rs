//! Resource ids and names: one newtype a kind, so that a subnet's id never stands where a VPC's
//! belongs.
//!
//! An id is the kind's prefix and a part of the owner's choice. EC2 deals out 8 or 17 hexadecimal
//! digits; people who write documents by hand want `vpc-blue`, so any letters, digits and hyphens
//! will do and EC2's own ids are a subset. Load balancers and target groups have names instead,
//! with the rules of `CreateLoadBalancer` and `CreateTargetGroup`.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest part after an id's prefix, in bytes.
const MAX_SUFFIX: usize = 64;

/// The longest name of a load balancer or target group, in bytes (`ELBv2`).
const MAX_NAME: usize = 32;

/// What all ids and names have in common.
pub trait ResourceId:
    fmt::Display + FromStr<Err = MalformedId> + Clone + Eq + std::hash::Hash
{
    /// What the thing is called in a message: "VPC", "route table".
    const NOUN: &'static str;
    /// The error code of EC2 or `ELBv2` for an id that names nothing.
    const NOT_FOUND: &'static str;
    /// The error code for a text that is no such id.
    const MALFORMED: &'static str;
    /// The error code for a second thing with the same id. EC2 deals out its ids itself and has
    /// no code of its own for it; `ELBv2` has one for names.
    const DUPLICATE: &'static str;

    /// The id as written.
    fn as_str(&self) -> &str;
}

/// An id that can be dealt out by number, as EC2 deals out its own.
pub trait DealtId: ResourceId {
    /// The prefix and 17 hexadecimal digits, which are the lowest 68 bits of `number`.
    fn dealt(number: u128) -> Self;
}

/// What 17 hexadecimal digits hold.
const DEALT_BITS: u128 = (1 << 68) - 1;

/// A text that is not an id or name of the kind it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedId {
    /// Not the prefix and its part.
    #[error(
        "`{found}` is not the id of a {noun}: write `{prefix}` and 1 to {MAX_SUFFIX} letters, \
         digits or hyphens"
    )]
    Id {
        /// What was found.
        found: String,
        /// What the id should be of.
        noun: &'static str,
        /// What it should start with.
        prefix: &'static str,
    },
    /// Not a name.
    #[error(
        "`{found}` is not the name of a {noun}: write 1 to {MAX_NAME} letters, digits or hyphens, \
         no hyphen first or last, and not `internal-` first"
    )]
    Name {
        /// What was found.
        found: String,
        /// What the name should be of.
        noun: &'static str,
    },
}

fn check_id(found: &str, noun: &'static str, prefix: &'static str) -> Result<(), MalformedId> {
    let well_formed = found.strip_prefix(prefix).is_some_and(|suffix| {
        (1..=MAX_SUFFIX).contains(&suffix.len()) && suffix.bytes().all(is_id_byte)
    });
    if well_formed {
        Ok(())
    } else {
        Err(MalformedId::Id { found: found.to_owned(), noun, prefix })
    }
}

fn check_name(found: &str, noun: &'static str) -> Result<(), MalformedId> {
    let well_formed = (1..=MAX_NAME).contains(&found.len())
        && found.bytes().all(is_id_byte)
        && !found.starts_with('-')
        && !found.ends_with('-')
        && !found.starts_with("internal-");
    if well_formed { Ok(()) } else { Err(MalformedId::Name { found: found.to_owned(), noun }) }
}

const fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $noun:literal, $check:expr, $codes:expr;)*) => {$(
        $(#[$doc])*
        ///
        /// Cheap to clone: the text is shared.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl ResourceId for $name {
            const NOUN: &'static str = $noun;
            const NOT_FOUND: &'static str = $codes.not_found;
            const MALFORMED: &'static str = $codes.malformed;
            const DUPLICATE: &'static str = $codes.duplicate;

            fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = MalformedId;

            fn from_str(text: &str) -> Result<Self, MalformedId> {
                let check: fn(&str, &'static str) -> Result<(), MalformedId> = $check;
                check(text, $noun)?;
                Ok(Self(Arc::from(text)))
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $noun:literal, $prefix:literal, $codes:expr;)*) => {
        names! {$(
            $(#[$doc])*
            $name, $noun, |text, noun| check_id(text, noun, $prefix), $codes;
        )*}
        $(
            impl DealtId for $name {
                fn dealt(number: u128) -> Self {
                    Self(Arc::from(format!(concat!($prefix, "{:017x}"), number & DEALT_BITS)))
                }
            }
        )*
    };
}

/// The error codes of a kind, see [`ResourceId`].
struct Codes {
    not_found: &'static str,
    malformed: &'static str,
    duplicate: &'static str,
}

impl Codes {
    const fn of(not_found: &'static str, malformed: &'static str) -> Self {
        Self { not_found, malformed, duplicate: "InvalidParameterValue" }
    }

    const fn with_duplicate(self, duplicate: &'static str) -> Self {
        Self { duplicate, ..self }
    }
}

// EC2 writes both `ID` and `Id`; this is how its list of error codes has each of them.
ids! {
    /// `vpc-…`
    VpcId, "VPC", "vpc-", Codes::of("InvalidVpcID.NotFound", "InvalidVpcID.Malformed");
    /// `subnet-…`
    SubnetId, "subnet", "subnet-",
        Codes::of("InvalidSubnetID.NotFound", "InvalidSubnetID.Malformed");
    /// `rtb-…`
    RouteTableId, "route table", "rtb-",
        Codes::of("InvalidRouteTableID.NotFound", "InvalidRouteTableId.Malformed");
    /// `igw-…`
    InternetGatewayId, "internet gateway", "igw-",
        Codes::of("InvalidInternetGatewayID.NotFound", "InvalidInternetGatewayId.Malformed");
    /// `uplink-…`, ours: EC2 does not show what is behind an internet gateway.
    UplinkId, "uplink", "uplink-",
        Codes::of("InvalidUplinkID.NotFound", "InvalidUplinkID.Malformed");
    /// `eipalloc-…`
    AllocationId, "Elastic IP address", "eipalloc-",
        Codes::of("InvalidAllocationID.NotFound", "InvalidAllocationID.Malformed");
    /// `eni-…`
    EniId, "network interface", "eni-",
        Codes::of("InvalidNetworkInterfaceID.NotFound", "InvalidNetworkInterfaceId.Malformed");
    /// `nat-…`
    NatGatewayId, "NAT gateway", "nat-",
        Codes::of("InvalidNatGatewayID.NotFound", "NatGatewayMalformed");
    /// `bridge-…`, ours: Lambda does not show its side of a managed interface.
    BridgeId, "Lambda bridge", "bridge-",
        Codes::of("InvalidLambdaBridgeID.NotFound", "InvalidLambdaBridgeID.Malformed");
    /// `i-…`
    InstanceId, "instance", "i-",
        Codes::of("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed");
    /// `eni-attach-…`
    AttachmentId, "attachment", "eni-attach-",
        Codes::of("InvalidAttachmentID.NotFound", "InvalidNetworkInterfaceAttachmentId.Malformed");
    /// `sg-…`
    SecurityGroupId, "security group", "sg-",
        Codes::of("InvalidGroup.NotFound", "InvalidGroupId.Malformed")
            .with_duplicate("InvalidGroup.Duplicate");
    /// `pl-…`
    PrefixListId, "prefix list", "pl-",
        Codes::of("InvalidPrefixListId.NotFound", "InvalidPrefixListId.Malformed");
    /// `fl-…`
    FlowLogId, "flow log", "fl-",
        Codes::of("InvalidFlowLogId.NotFound", "InvalidFlowLogId.Malformed");
    /// `ipv4pool-ec2-…`
    PublicIpv4PoolId, "public IPv4 pool", "ipv4pool-ec2-",
        Codes::of("InvalidPublicIpv4PoolID.NotFound", "InvalidPublicIpv4PoolID.Malformed");
}

names! {
    /// The name of a load balancer.
    LoadBalancerName, "load balancer", check_name,
        Codes::of("LoadBalancerNotFound", "ValidationError")
            .with_duplicate("DuplicateLoadBalancerName");
    /// The name of a target group.
    TargetGroupName, "target group", check_name,
        Codes::of("TargetGroupNotFound", "ValidationError")
            .with_duplicate("DuplicateTargetGroupName");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_ec2_and_of_people_are_taken() {
        for id in ["vpc-0a1b2c3d", "vpc-0123456789abcdef0", "vpc-blue", "vpc-Team-7"] {
            assert_eq!(id.parse::<VpcId>().map(|id| id.to_string()), Ok(id.to_owned()));
        }
    }

    #[test]
    fn an_id_without_its_prefix_is_refused_and_the_message_says_how_to_write_it() {
        let too_long = format!("vpc-{}", "a".repeat(MAX_SUFFIX + 1));
        for bad in ["", "vpc", "vpc-", "subnet-1", "VPC-1", "vpc-a b", "vpc-ü", &too_long] {
            let error = bad.parse::<VpcId>().expect_err(bad);
            assert_eq!(
                error.to_string(),
                format!(
                    "`{bad}` is not the id of a VPC: write `vpc-` and 1 to 64 letters, digits or \
                     hyphens"
                )
            );
        }
    }

    #[test]
    fn an_id_that_is_dealt_out_has_seventeen_digits() {
        assert_eq!(EniId::dealt(0xab).to_string(), "eni-000000000000000ab");
        assert_eq!(VpcId::dealt(u128::MAX).to_string(), format!("vpc-{}", "f".repeat(17)));
        assert!("eni-000000000000000ab".parse::<EniId>().is_ok());
    }

    #[test]
    fn a_name_follows_the_rules_of_elbv2() {
        assert!("web-2".parse::<LoadBalancerName>().is_ok());
        let too_long = "a".repeat(MAX_NAME + 1);
        for bad in ["", "-web", "web-", "we_b", "internal-web", &too_long] {
            assert!(bad.parse::<LoadBalancerName>().is_err(), "{bad}");
        }
    }
}
