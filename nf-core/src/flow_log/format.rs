//! Which fields a flow log wants, and the line that comes of a record.

use std::fmt::{self, Display, Write as _};
use std::net::SocketAddr;
use std::str::FromStr;

use super::field::Field;
use super::interfaces::LoggedInterface;
use super::record::{Record, Traffic};
use crate::tuple::Tuple;
use crate::vpc::TrafficDirection;
use crate::vpc::id::ResourceId as _;

/// The fields of a flow log's records, in their order. EC2 writes it `${srcaddr} ${dstaddr}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFormat(Box<[Field]>);

/// A text that is not a format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Something that is not `${…}`, or not one space between two.
    #[error(
        "`{0}` is not a field: write each as ${{name}}, with one space between two, such as \
         ${{srcaddr}} ${{dstaddr}}"
    )]
    Syntax(String),
    /// A field that there is not.
    #[error("there is no field `{0}`; there are those of EC2's versions 2 to 5 and hs- ones")]
    Unknown(String),
    /// A field twice.
    #[error("the field `{0}` is there twice")]
    Twice(Field),
}

impl Default for LogFormat {
    /// EC2's: the fields of version 2 in the order of its table.
    fn default() -> Self {
        Self(Field::ALL.iter().copied().filter(|field| field.version() == 2).collect())
    }
}

impl FromStr for LogFormat {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let mut fields = Vec::new();
        for part in text.split(' ') {
            let name = part.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
            let name = name.ok_or_else(|| FormatError::Syntax(part.to_owned()))?;
            let field = name.parse().map_err(|()| FormatError::Unknown(name.to_owned()))?;
            if fields.contains(&field) {
                return Err(FormatError::Twice(field));
            }
            fields.push(field);
        }
        Ok(Self(fields.into()))
    }
}

impl Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, field) in self.0.iter().enumerate() {
            let space = if place == 0 { "" } else { " " };
            write!(f, "{space}${{{field}}}")?;
        }
        Ok(())
    }
}

impl LogFormat {
    /// The fields, in their order.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.0
    }

    /// What `${version}` is. EC2: "the version is the highest version among the specified fields".
    #[must_use]
    pub fn version(&self) -> u8 {
        self.0.iter().map(|field| field.version()).fold(2, u8::max)
    }

    /// The first line of a file: the names of the fields.
    #[must_use]
    pub fn header(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|field| field.as_str()).collect();
        names.join(" ")
    }

    /// Appends a record's line, without its end. What a record does not tell is `-`.
    pub fn print(&self, record: &Record, interface: &LoggedInterface, out: &mut String) {
        for (place, field) in self.0.iter().enumerate() {
            if place > 0 {
                out.push(' ');
            }
            let before = out.len();
            match &record.traffic {
                _ if *field == Field::Version => put(out, self.version()),
                Some(traffic) => print_traffic(*field, traffic, interface, out),
                None => {}
            }
            print_always(*field, record, interface, out);
            if out.len() == before {
                out.push('-');
            }
        }
    }
}

/// What records of all statuses tell.
fn print_always(field: Field, record: &Record, interface: &LoggedInterface, out: &mut String) {
    let eni = interface.eni();
    match field {
        Field::AccountId => word(out, &interface.vpc().owner_id),
        Field::InterfaceId => word(out, eni.id.as_str()),
        Field::VpcId => word(out, interface.vpc().id.as_str()),
        Field::SubnetId => word(out, interface.subnet().id.as_str()),
        Field::InstanceId => {
            if let Some(instance) = interface.instance() {
                word(out, instance.id.as_str());
            }
        }
        Field::Region => word(out, interface.region()),
        Field::AzId => word(out, &interface.subnet().availability_zone),
        Field::Start => put(out, record.start),
        Field::End => put(out, record.end),
        Field::LogStatus => word(out, record.status.as_str()),
        _ => {}
    }
}

/// What only records with traffic tell.
fn print_traffic(field: Field, traffic: &Traffic, interface: &LoggedInterface, out: &mut String) {
    let Traffic { tuple, received, sent, .. } = traffic;
    match field {
        // "The IPv4 address of the network interface is always its private IPv4 address": the
        // primary one, whatever address of it, or behind it, the packets are from or for.
        Field::SrcAddr if traffic.direction == TrafficDirection::Egress => {
            put(out, interface.address_for(tuple.src.ip()));
        }
        Field::DstAddr if traffic.direction == TrafficDirection::Ingress => {
            put(out, interface.address_for(tuple.dst.ip()));
        }
        Field::SrcAddr | Field::PktSrcAddr => put(out, tuple.src.ip()),
        Field::DstAddr | Field::PktDstAddr => put(out, tuple.dst.ip()),
        Field::SrcPort => put(out, port(tuple, tuple.src)),
        Field::DstPort => put(out, port(tuple, tuple.dst)),
        Field::Protocol => put(out, tuple.protocol.number()),
        Field::Packets => put(out, traffic.packets),
        Field::Bytes => put(out, traffic.bytes),
        Field::Action => out.push_str(traffic.action.as_str()),
        Field::TcpFlags => put(out, traffic.tcp_flags),
        Field::Type => out.push_str(if tuple.is_ipv4() { "IPv4" } else { "IPv6" }),
        Field::FlowDirection => out.push_str(traffic.direction.as_str()),
        // Of what an interface receives EC2 tells no path, and what was rejected took none.
        Field::TrafficPath if traffic.took_a_path() => {
            put(out, if traffic.by_internet_gateway { 8 } else { 1 });
        }
        Field::ReceivedSrcAddr => put(out, received.src.ip()),
        Field::ReceivedDstAddr => put(out, received.dst.ip()),
        Field::ReceivedSrcPort => put(out, received.src.port()),
        Field::ReceivedDstPort => put(out, received.dst.port()),
        Field::EnvironmentId => {
            if let Some(environment) = &traffic.environment {
                word(out, environment);
            }
        }
        _ => {
            if let Some(sent) = sent {
                print_sent(field, sent, out);
            }
        }
    }
}

fn print_sent(field: Field, sent: &Tuple, out: &mut String) {
    match field {
        Field::SentSrcAddr => put(out, sent.src.ip()),
        Field::SentDstAddr => put(out, sent.dst.ip()),
        Field::SentSrcPort => put(out, sent.src.port()),
        Field::SentDstPort => put(out, sent.dst.port()),
        _ => {}
    }
}

/// EC2 writes 0 for both ports of ICMP.
fn port(tuple: &Tuple, end: SocketAddr) -> u16 {
    if tuple.protocol.is_echo() { 0 } else { end.port() }
}

fn put(out: &mut String, value: impl Display) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{value}");
}

/// A text of the document's or an operator's: one word, whatever they wrote.
fn word(out: &mut String, text: &str) {
    let apart = |c: char| c.is_whitespace() || c.is_control();
    out.extend(text.chars().map(|c| if apart(c) { '_' } else { c }));
}
