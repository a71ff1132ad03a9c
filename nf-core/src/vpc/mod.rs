//! The VPC model: what the operator wants, and the immutable, validated form the engine works from.
//!
//! A [`document::Document`] is what stands in the resource document, with EC2's names. From it
//! [`Snapshot::build`] makes a [`Snapshot`] in which every reference is resolved to an index and
//! every look-up of the packet path is ready, or says everything that is wrong, each [`Invalid`]
//! with the [`Path`] of the value to change. Nothing is ever patched: a change is a new document,
//! a new snapshot and the next generation.
//!
//! # Limitations
//!
//! Endpoint services have no place in the document yet.

mod build;
pub mod document;
mod hash;
pub mod id;
mod invalid;
mod lpm;
mod model;
mod path;
mod snapshot;

pub use document::{
    Compression, ConnectivityType, Document, ExhaustionReply, FilteringBehavior, FlowLogResource,
    ForwardedFragments, InstanceState, MappingBehavior, Scheme, TrafficType,
};
pub use invalid::{
    Invalid, InvalidAttachment, InvalidFlowLog, InvalidKind, InvalidNatAddress, InvalidPrefix,
    InvalidPrefixList, InvalidSecurityGroup,
};
pub use lpm::Lpm;
pub use model::{
    Admission, AggregationInterval, Attachment, Bridge, BridgeIx, Eni, EniIx, FlowLog, FlowLogIx,
    HealthCheck, Instance, InstanceIx, InterfaceType, Listener, LoadBalancer, LoadBalancerIx,
    LoadBalancerNode, Mapping, NatAddress, NatGateway, NatGatewayIx, Owner, PortRole,
    PublicAddress, Route, RouteTable, RouteTableIx, RouteTarget, SecurityGroup, SecurityGroupIx,
    Subnet, SubnetIx, Target, TargetGroup, TargetGroupIx, TrafficDirection, Translation, Uplink,
    UplinkIx, Vpc, VpcIx,
};
pub use path::{Path, Segment};
pub use snapshot::Snapshot;

#[cfg(test)]
mod tests;
