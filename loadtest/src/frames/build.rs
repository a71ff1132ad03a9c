//! Test frames in Rust, byte for byte what `bpf/write.h` writes: for senders without XDP.

use std::net::IpAddr;

use super::{MIN_FRAME, Plan, Protocol, Tuple};

/// First bytes of the payload.
const MAGIC: u32 = 0x4853_4c54;
/// The same where the time stands in place of the flow.
const TIMED: u32 = 0x4853_4c55;
/// The window of all TCP frames.
const WINDOW: u16 = 0x4853;

/// What a TCP frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// Asks for a connection.
    pub const SYN: Self = Self(0x02);
    /// Grants it.
    pub const SYN_ACK: Self = Self(0x12);
    /// Data.
    pub const PUSH: Self = Self(0x18);
    /// Ends it at once.
    pub const RST: Self = Self(0x04);

    /// Without ACK there is no payload, and the marker is in the header.
    fn is_bare(self) -> bool {
        self.0 & 0x10 == 0
    }
}

/// One frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Addresses and ports.
    pub tuple: Tuple,
    /// The flow's number.
    pub number: u32,
    /// Its place among all frames.
    pub sequence: u64,
    /// Size in bytes; of a TCP frame without payload the least there is.
    pub size: u32,
    /// Of TCP only.
    pub flags: TcpFlags,
    /// The time in place of the number, `CLOCK_MONOTONIC` in nanoseconds.
    pub time: Option<u32>,
}

impl Frame {
    /// Writes the frame over what is in `bytes`.
    pub fn write(&self, plan: &Plan, bytes: &mut Vec<u8>) {
        let tcp = plan.protocol == Protocol::Tcp;
        let bare = tcp && self.flags.is_bare();
        let at = plan.transport_offset() as usize;
        let length = if bare { 20 } else { self.size as usize - at };
        bytes.clear();
        bytes.resize((at + length).max(MIN_FRAME as usize), 0);

        bytes[0..6].copy_from_slice(&plan.destination_mac);
        bytes[6..12].copy_from_slice(&plan.source_mac);
        let mut sum = match (self.tuple.source.ip(), self.tuple.destination.ip()) {
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                put16(bytes, 12, 0x86dd);
                bytes[14] = 0x60;
                put16(bytes, 18, length as u16);
                bytes[20] = plan.protocol.number();
                bytes[21] = 64;
                bytes[22..38].copy_from_slice(&source.octets());
                bytes[38..54].copy_from_slice(&destination.octets());
                sum_of(&bytes[22..54])
            }
            (source, destination) => {
                put16(bytes, 12, 0x0800);
                bytes[14] = 0x45;
                put16(bytes, 16, (20 + length) as u16);
                put16(bytes, 20, 0x4000);
                bytes[22] = 64;
                bytes[23] = plan.protocol.number();
                bytes[26..30].copy_from_slice(&octets(source));
                bytes[30..34].copy_from_slice(&octets(destination));
                let check = checksum(sum_of(&bytes[14..34]));
                put16(bytes, 24, check);
                sum_of(&bytes[26..34])
            }
        };
        sum += u64::from(plan.protocol.number()) + length as u64;

        put16(bytes, at, self.tuple.source.port());
        put16(bytes, at + 2, self.tuple.destination.port());
        if tcp {
            let from =
                if self.flags.0 & 0x02 == 0 { self.number.wrapping_add(1) } else { self.number };
            let to = if bare { self.sequence as u32 } else { self.number.wrapping_add(1) };
            put32(bytes, at + 4, from);
            put32(bytes, at + 8, to);
            bytes[at + 12] = 0x50;
            bytes[at + 13] = self.flags.0;
            put16(bytes, at + 14, WINDOW);
        } else {
            put16(bytes, at + 4, length as u16);
        }
        if !bare {
            let marker = at + plan.protocol.header() as usize;
            put32(bytes, marker, if self.time.is_some() { TIMED } else { MAGIC });
            put32(bytes, marker + 4, self.time.unwrap_or(self.number));
            put32(bytes, marker + 8, (self.sequence >> 32) as u32);
            put32(bytes, marker + 12, self.sequence as u32);
        }
        let check = checksum(sum + sum_of(&bytes[at..at + length]));
        if tcp {
            put16(bytes, at + 16, check);
        } else {
            // RFC 768: zero would mean that there is no checksum.
            put16(bytes, at + 6, if check == 0 { 0xffff } else { check });
        }
    }
}

fn octets(address: IpAddr) -> [u8; 4] {
    match address {
        IpAddr::V4(address) => address.octets(),
        // Both ends are of one family: a plan is not made otherwise.
        IpAddr::V6(_) => [0; 4],
    }
}

fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

/// One's complement sum of 16 bits (RFC 1071), carries not yet folded in.
fn sum_of(bytes: &[u8]) -> u64 {
    let pairs = bytes.chunks(2).map(|pair| match *pair {
        [high, low] => u64::from(u16::from_be_bytes([high, low])),
        [high] => u64::from(high) << 8,
        _ => 0,
    });
    pairs.sum()
}

fn checksum(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
pub mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    /// The frame by other people's code.
    pub fn expected(plan: &Plan, frame: &Frame) -> Vec<u8> {
        let (from, to) = (frame.tuple.source, frame.tuple.destination);
        let tcp = plan.protocol == Protocol::Tcp;
        let bare = tcp && frame.flags.is_bare();
        let mut payload = Vec::new();
        if !bare {
            let headers = plan.transport_offset() + plan.protocol.header();
            payload.resize((frame.size - headers) as usize, 0);
            payload[0..4].copy_from_slice(if frame.time.is_some() { b"HSLU" } else { b"HSLT" });
            payload[4..8].copy_from_slice(&frame.time.unwrap_or(frame.number).to_be_bytes());
            payload[8..16].copy_from_slice(&frame.sequence.to_be_bytes());
        }
        let ethernet = PacketBuilder::ethernet2(plan.source_mac, plan.destination_mac);
        let ip = match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ipv4(from.octets(), to.octets(), 64),
            (IpAddr::V6(from), IpAddr::V6(to)) => ethernet.ipv6(from.octets(), to.octets(), 64),
            _ => panic!("two families"),
        };
        let mut bytes = Vec::new();
        if tcp {
            let synchronizes = frame.flags.0 & 2 != 0;
            let mut step =
                ip.tcp(from.port(), to.port(), frame.number + u32::from(!synchronizes), 0x4853);
            if synchronizes {
                step = step.syn();
            }
            if frame.flags.0 & 4 != 0 {
                step = step.rst();
            }
            if frame.flags.0 & 8 != 0 {
                step = step.psh();
            }
            if frame.flags.0 & 16 != 0 {
                step = step.ack(frame.number + 1);
            }
            step.write(&mut bytes, &payload).unwrap();
            if bare {
                // etherparse leaves the field zero without ACK; the checksum is folded anew.
                let at = plan.transport_offset() as usize;
                bytes[at + 8..at + 12].copy_from_slice(&(frame.sequence as u32).to_be_bytes());
                let old = u64::from(!u16::from_be_bytes([bytes[at + 16], bytes[at + 17]]));
                let new = old + (frame.sequence >> 16 & 0xffff) + (frame.sequence & 0xffff);
                bytes[at + 16..at + 18].copy_from_slice(&checksum(new).to_be_bytes());
            }
        } else {
            ip.udp(from.port(), to.port()).write(&mut bytes, &payload).unwrap();
        }
        bytes.resize(bytes.len().max(60), 0);
        bytes
    }

    /// A plan of each family and protocol, several flows and sizes.
    pub fn plans() -> Vec<Plan> {
        let mut plans = Vec::new();
        for (first_client, first_server) in
            [("10.1.0.255", "198.51.100.1"), ("2001:db8::ffff:ffff", "2001:db8:1::1")]
        {
            for protocol in [Protocol::Udp, Protocol::Tcp] {
                let plan = Plan {
                    flows: 7,
                    clients: 3,
                    first_client: first_client.parse().unwrap(),
                    servers: 2,
                    first_server: first_server.parse().unwrap(),
                    protocol,
                    source_mac: [2, 0, 0, 0, 0, 1],
                    destination_mac: [2, 0, 0, 0, 0, 2],
                    seed: 0x5eed,
                    ..Plan::default()
                };
                let least = plan.least_size();
                for sizes in [
                    super::super::Sizes::one(least),
                    super::super::Sizes::one(least + 1),
                    super::super::Sizes::one(1514),
                    super::super::Sizes::IMIX.at_least(least),
                ] {
                    plans.push(Plan { sizes, ..plan });
                }
            }
        }
        plans
    }

    #[test]
    fn frames_are_byte_for_byte_what_another_implementation_builds() {
        let mut bytes = vec![0xff; 99];
        for plan in plans() {
            for flags in [TcpFlags::SYN, TcpFlags::SYN_ACK, TcpFlags::PUSH, TcpFlags::RST] {
                for sequence in [0, 1, 12, 0x1_2345_6789] {
                    for time in [None, Some(0x89ab_cdef)] {
                        let number = 3 + sequence as u32 % 7;
                        let frame = Frame {
                            tuple: plan.tuple(number),
                            number,
                            sequence,
                            size: plan.sizes.largest(),
                            flags,
                            time,
                        };
                        frame.write(&plan, &mut bytes);
                        assert_eq!(bytes, expected(&plan, &frame), "{frame:?}");
                    }
                }
            }
        }
    }
}
