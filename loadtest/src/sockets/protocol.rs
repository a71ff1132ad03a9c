//! The protocol between the client side (`connections`, `streams`) and `serve`.
//!
//! TCP: the client sends a 40-byte head and its content; the server answers with a 48-byte head,
//! which says where it sees the client, and its content. One request at a time on a connection.
//!
//! | request | bytes | | answer | bytes |
//! | --- | --- | --- | --- | --- |
//! | magic `HSLq` | 4 | | magic `HSLa` | 4 |
//! | kind | 1 | | status | 1 |
//! | zero | 3 | | zero | 1 |
//! | connection id | 8 | | client's port | 2 |
//! | sequence | 8 | | client's address, as IPv6 | 16 |
//! | content that follows | 8 | | connection id | 8 |
//! | content asked for | 8 | | sequence | 8 |
//! | | | | content that follows | 8 |
//!
//! All numbers in network byte order. The content is [`Payload`](super::payload::Payload)'s, or,
//! for a stream, blocks. A datagram has a 24-byte head: magic `HSLd`, kind, three zero bytes,
//! flow id, sequence.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Bytes of a request's head.
pub const REQUEST_HEAD: usize = 40;
/// Bytes of an answer's head.
pub const ANSWER_HEAD: usize = 48;
/// Bytes of a datagram's head.
pub const DATAGRAM_HEAD: usize = 24;

const REQUEST_MAGIC: [u8; 4] = *b"HSLq";
const ANSWER_MAGIC: [u8; 4] = *b"HSLa";
const DATAGRAM_MAGIC: [u8; 4] = *b"HSLd";

/// What the client wants of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Content for content.
    Exchange,
    /// The client sends a stream until it closes its side, then the server says how much it got.
    Sink,
    /// The server answers, then sends a stream until the client closes.
    Source,
}

/// The head of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What for.
    pub kind: Kind,
    /// The connection, as the client numbers them.
    pub id: u64,
    /// The request on that connection, from 0.
    pub sequence: u64,
    /// Bytes of content that follow; 0 for streams, which end with the connection.
    pub length: u64,
    /// Bytes of content asked for; 0 for streams.
    pub wanted: u64,
}

/// Whether the server got what the client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It did.
    Fine,
    /// The content was not what the client must have sent.
    Corrupt,
}

/// The head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether the request arrived unharmed.
    pub status: Status,
    /// Where the server sees the client.
    pub client: SocketAddr,
    /// The request's.
    pub id: u64,
    /// The request's; of a stream, how many whole blocks arrived.
    pub sequence: u64,
    /// Bytes of content that follow; of a stream, bytes that arrived.
    pub length: u64,
}

/// What a datagram is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramKind {
    /// One of a flow, to be counted.
    Data,
    /// A question for the counts of the flow.
    Query,
    /// The answer: [`FlowCounts`] follow.
    Counts,
}

/// The head of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// What for.
    pub kind: DatagramKind,
    /// The flow, as the client numbers them.
    pub id: u64,
    /// From 0, without gaps.
    pub sequence: u64,
}

/// What the server counted of a flow of datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounts {
    /// Distinct datagrams.
    pub received: u64,
    /// Bytes of these, heads included.
    pub bytes: u64,
    /// Datagrams that came after one with a higher number (RFC 4737, section 3).
    pub reordered: u64,
    /// Datagrams that had come before.
    pub duplicated: u64,
    /// Datagrams with content that the client cannot have sent.
    pub corrupt: u64,
}

impl Request {
    /// The head as sent.
    pub fn encode(&self) -> [u8; REQUEST_HEAD] {
        let mut out = [0; REQUEST_HEAD];
        out[..4].copy_from_slice(&REQUEST_MAGIC);
        out[4] = match self.kind {
            Kind::Exchange => 0,
            Kind::Sink => 1,
            Kind::Source => 2,
        };
        put(&mut out[8..], [self.id, self.sequence, self.length, self.wanted]);
        out
    }

    /// The head as received; nothing if it is none.
    pub fn decode(bytes: &[u8; REQUEST_HEAD]) -> Option<Self> {
        let kind = match bytes[4] {
            0 => Kind::Exchange,
            1 => Kind::Sink,
            2 => Kind::Source,
            _ => return None,
        };
        let [id, sequence, length, wanted] = take(&bytes[8..])?;
        let known = bytes[..4] == REQUEST_MAGIC && bytes[5..8] == [0; 3];
        known.then_some(Self { kind, id, sequence, length, wanted })
    }
}

impl Answer {
    /// The head as sent.
    pub fn encode(&self) -> [u8; ANSWER_HEAD] {
        let mut out = [0; ANSWER_HEAD];
        out[..4].copy_from_slice(&ANSWER_MAGIC);
        out[4] = u8::from(self.status == Status::Corrupt);
        put_address(&mut out[6..24], self.client);
        put(&mut out[24..], [self.id, self.sequence, self.length]);
        out
    }

    /// The head as received; nothing if it is none.
    pub fn decode(bytes: &[u8; ANSWER_HEAD]) -> Option<Self> {
        let status = match bytes[4] {
            0 => Status::Fine,
            1 => Status::Corrupt,
            _ => return None,
        };
        let client = take_address(&bytes[6..24])?;
        let [id, sequence, length] = take(&bytes[24..])?;
        let known = bytes[..4] == ANSWER_MAGIC && bytes[5] == 0;
        known.then_some(Self { status, client, id, sequence, length })
    }
}

impl Datagram {
    /// The head as sent.
    pub fn encode(&self) -> [u8; DATAGRAM_HEAD] {
        let mut out = [0; DATAGRAM_HEAD];
        out[..4].copy_from_slice(&DATAGRAM_MAGIC);
        out[4] = match self.kind {
            DatagramKind::Data => 0,
            DatagramKind::Query => 1,
            DatagramKind::Counts => 2,
        };
        put(&mut out[8..], [self.id, self.sequence]);
        out
    }

    /// The head of a datagram as received; nothing if it is none of ours.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let head = bytes.first_chunk::<DATAGRAM_HEAD>()?;
        let kind = match head[4] {
            0 => DatagramKind::Data,
            1 => DatagramKind::Query,
            2 => DatagramKind::Counts,
            _ => return None,
        };
        let [id, sequence] = take(&head[8..])?;
        (head[..4] == DATAGRAM_MAGIC).then_some(Self { kind, id, sequence })
    }
}

/// Bytes of [`FlowCounts`] and an address.
pub const COUNTS: usize = 18 + 40;

impl FlowCounts {
    /// What follows the head of a [`DatagramKind::Counts`]: the client as seen, and the counts.
    pub fn encode(&self, client: SocketAddr) -> [u8; COUNTS] {
        let mut out = [0; COUNTS];
        put_address(&mut out[..18], client);
        put(
            &mut out[18..],
            [self.received, self.bytes, self.reordered, self.duplicated, self.corrupt],
        );
        out
    }

    /// The client as the server saw it, and the counts; nothing if too short.
    pub fn decode(bytes: &[u8]) -> Option<(SocketAddr, Self)> {
        let bytes = bytes.first_chunk::<COUNTS>()?;
        let [received, length, reordered, duplicated, corrupt] = take(&bytes[18..])?;
        let counts = Self { received, bytes: length, reordered, duplicated, corrupt };
        Some((take_address(&bytes[..18])?, counts))
    }
}

fn put<const N: usize>(out: &mut [u8], numbers: [u64; N]) {
    for (place, number) in out.as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
        *place = number.to_be_bytes();
    }
}

fn take<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let places = bytes.as_chunks::<8>().0.first_chunk::<N>()?;
    Some(places.map(u64::from_be_bytes))
}

/// Port, then address, IPv4 mapped into IPv6 (RFC 4291, section 2.5.5.2).
fn put_address(out: &mut [u8], address: SocketAddr) {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    out[..2].copy_from_slice(&address.port().to_be_bytes());
    out[2..18].copy_from_slice(&ip.octets());
}

fn take_address(bytes: &[u8]) -> Option<SocketAddr> {
    let (port, ip) = bytes.split_first_chunk::<2>()?;
    let ip = Ipv6Addr::from(*ip.first_chunk::<16>()?);
    Some(SocketAddr::new(IpAddr::V6(ip).to_canonical(), u16::from_be_bytes(*port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_laid_out_as_documented() {
        let request =
            Request { kind: Kind::Sink, id: 0x0102, sequence: 3, length: 0x0405, wanted: 6 };
        let bytes = request.encode();
        let mut expected = [0; REQUEST_HEAD];
        expected[..5].copy_from_slice(b"HSLq\x01");
        (expected[14], expected[15]) = (1, 2);
        expected[23] = 3;
        (expected[30], expected[31]) = (4, 5);
        expected[39] = 6;
        assert_eq!(bytes, expected);
        assert_eq!(Request::decode(&bytes), Some(request));
    }

    #[test]
    fn an_answer_carries_the_clients_address_in_either_family() {
        for client in ["192.0.2.7:4660", "[2001:db8::7]:4660"] {
            let answer = Answer {
                status: Status::Corrupt,
                client: client.parse().unwrap(),
                id: u64::MAX,
                sequence: 1,
                length: 2,
            };
            let bytes = answer.encode();
            assert_eq!(bytes[6..8], [0x12, 0x34], "the port in network byte order");
            assert_eq!(Answer::decode(&bytes), Some(answer));
        }
    }

    #[test]
    fn heads_with_a_wrong_magic_kind_or_filler_are_refused() {
        let request = Request { kind: Kind::Exchange, id: 1, sequence: 0, length: 0, wanted: 0 };
        for (index, value) in [(0, b'X'), (4, 9), (6, 1)] {
            let mut bytes = request.encode();
            bytes[index] = value;
            assert_eq!(Request::decode(&bytes), None, "byte {index}");
        }
        let datagram = Datagram { kind: DatagramKind::Query, id: 5, sequence: 6 };
        let bytes = datagram.encode();
        assert_eq!(Datagram::decode(&bytes), Some(datagram));
        assert_eq!(Datagram::decode(&bytes[..DATAGRAM_HEAD - 1]), None);
        assert_eq!(Datagram::decode(b"not one of ours, but long enough"), None);
    }

    #[test]
    fn counts_come_back_as_sent() {
        let client = "198.51.100.1:9".parse().unwrap();
        let counts = FlowCounts { received: 1, bytes: 2, reordered: 3, duplicated: 4, corrupt: 5 };
        let bytes = counts.encode(client);
        assert_eq!(FlowCounts::decode(&bytes), Some((client, counts)));
        assert_eq!(FlowCounts::decode(&bytes[1..]), None);
    }
}
