//! Security groups as the packet path asks them: whether any group of an interface lets a first
//! packet through, and whether its flow is tracked then.

use super::VpcIx;
use crate::vpc::id::SecurityGroupId;

/// A security group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityGroup {
    /// `sg-…`
    pub id: SecurityGroupId,
    /// Its name, unique in its VPC.
    pub name: Box<str>,
    /// Its VPC.
    pub vpc: VpcIx,
}

/// What the groups of an interface say to a first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Admission {
    /// It may pass. Its flow goes on whatever becomes of the rules.
    Tracked,
    /// It may pass, as anybody's would, both ways. Its flow ends when no rule allows it any more.
    Untracked,
    /// It may not.
    Refused,
}
