//! What an environment says first, and whether what comes back is the answer to it.
//!
//! Every probe carries a token: which environment, which of its lives, which try. An answer with
//! another environment's token has crossed from one environment to another, which must never be.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Length of the Ethernet header, in bytes.
const ETHERNET: usize = 14;
/// Length of the IPv4 header; neither we nor an echo server sends options.
const IPV4: usize = 20;
/// Length of the headers of UDP and of ICMP echo.
const TRANSPORT: usize = 8;

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];

/// What a token begins with.
const MAGIC: [u8; 8] = *b"hs-probe";
/// Bytes of a token.
const TOKEN: usize = 24;

/// RFC 826: what an ARP packet for IPv4 on Ethernet starts with.
const ARP_ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// The addresses of an environment's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The environment's MAC address; all environments may have the same.
    pub mac: [u8; 6],
    /// The environment's IP address; all environments may have the same.
    pub address: Ipv4Addr,
    /// The MAC address of the gateway's end, which no other environment's link has.
    pub gateway_mac: [u8; 6],
    /// What the environment takes for its default gateway.
    pub gateway: Ipv4Addr,
}

/// Whom a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The default gateway, for its MAC address.
    Arp,
    /// A server's echo port over UDP, from this port. The answer is the datagram, or ends with it
    /// after a line of the server's own.
    Udp {
        /// The server.
        server: SocketAddrV4,
        /// The environment's port.
        from: u16,
    },
    /// A host, by an ICMP echo request.
    Echo {
        /// The host.
        host: Ipv4Addr,
    },
}

/// Says which probe it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// The run: two at once do not take each other's answers for leaks.
    pub run: u32,
    /// The environment's number.
    pub environment: u32,
    /// How often it has been attached.
    pub life: u32,
    /// Counts the probes of a life.
    pub attempt: u32,
}

/// A probe that awaits its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Over which link.
    pub link: Link,
    /// What is asked.
    pub question: Question,
    /// Its token. ARP has no room for one.
    pub token: Token,
}

/// What a frame is to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: other traffic, or the late answer to an earlier probe.
    Unrelated,
    /// The answer, all of it as it should be.
    Answer,
    /// An answer that is wrong; how.
    Wrong(&'static str),
}

impl Token {
    fn bytes(self) -> [u8; TOKEN] {
        let mut bytes = [0; TOKEN];
        bytes[..8].copy_from_slice(&MAGIC);
        let numbers = [self.run, self.environment, self.life, self.attempt];
        for (place, number) in bytes[8..].chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    /// The token at the end of a payload.
    fn at_the_end_of(payload: &[u8]) -> Option<Self> {
        let token = payload.last_chunk::<TOKEN>()?.strip_prefix(&MAGIC)?;
        let mut numbers =
            token.chunks_exact(4).map(|it| u32::from_be_bytes([it[0], it[1], it[2], it[3]]));
        let mut next = || numbers.next();
        Some(Self { run: next()?, environment: next()?, life: next()?, attempt: next()? })
    }
}

impl Probe {
    /// The frame to send.
    pub fn frame(&self) -> Vec<u8> {
        let Link { mac, address, gateway_mac, gateway } = self.link;
        let mut frame = Vec::with_capacity(128);
        match self.question {
            Question::Arp => {
                frame.extend([0xff; 6]);
                frame.extend(mac);
                frame.extend(ETHERTYPE_ARP);
                frame.extend(ARP_ETHERNET_IPV4);
                frame.extend([0, 1]);
                frame.extend(mac);
                frame.extend(address.octets());
                frame.extend([0; 6]);
                frame.extend(gateway.octets());
                return frame;
            }
            Question::Udp { server, from } => {
                let payload = self.token.bytes();
                let mut datagram = Vec::with_capacity(TRANSPORT + TOKEN);
                datagram.extend(from.to_be_bytes());
                datagram.extend(server.port().to_be_bytes());
                datagram.extend(((TRANSPORT + TOKEN) as u16).to_be_bytes());
                datagram.extend([0; 2]);
                datagram.extend(payload);
                let pseudo = pseudo_header(address, *server.ip(), 17, datagram.len());
                // RFC 768: a computed zero is transmitted as all ones.
                let sum = match !checksum(pseudo, &datagram) {
                    0 => 0xffff,
                    sum => sum,
                };
                datagram[6..8].copy_from_slice(&sum.to_be_bytes());
                ipv4(&mut frame, address, *server.ip(), 17, &datagram);
            }
            Question::Echo { host } => {
                let mut message = vec![8, 0, 0, 0];
                message.extend(self.echo_id().to_be_bytes());
                message.extend((self.token.attempt as u16).to_be_bytes());
                message.extend(self.token.bytes());
                let sum = !checksum(0, &message);
                message[2..4].copy_from_slice(&sum.to_be_bytes());
                ipv4(&mut frame, address, host, 1, &message);
            }
        }
        let mut ethernet = [gateway_mac, mac].concat();
        ethernet.extend(ETHERTYPE_IPV4);
        frame.splice(0..0, ethernet);
        frame
    }

    /// What a frame that came over the probe's link is to it.
    pub fn judge(&self, frame: &[u8]) -> Verdict {
        let Some((ethernet, packet)) = frame.split_at_checked(ETHERNET) else {
            return Verdict::Unrelated;
        };
        let verdict = match self.question {
            Question::Arp if ethernet[12..] == ETHERTYPE_ARP => self.judge_arp(packet),
            Question::Udp { server, from } if ethernet[12..] == ETHERTYPE_IPV4 => {
                self.judge_udp(packet, server, from)
            }
            Question::Echo { host } if ethernet[12..] == ETHERTYPE_IPV4 => {
                self.judge_echo(packet, host)
            }
            _ => Verdict::Unrelated,
        };
        let macs = [self.link.mac, self.link.gateway_mac].concat();
        match verdict {
            Verdict::Answer if ethernet[..12] != macs => Verdict::Wrong("wrong MAC address"),
            verdict => verdict,
        }
    }

    fn judge_arp(&self, packet: &[u8]) -> Verdict {
        // 6 to 7: the operation; 2 is a reply. The gateway's own questions are none of ours.
        if packet.len() < 28 || packet[..6] != ARP_ETHERNET_IPV4 || packet[6..8] != [0, 2] {
            return Verdict::Unrelated;
        }
        let Link { mac, address, gateway_mac, gateway } = self.link;
        let mut expected = gateway_mac.to_vec();
        expected.extend(gateway.octets());
        expected.extend(mac);
        expected.extend(address.octets());
        if packet[8..28] == expected { Verdict::Answer } else { Verdict::Wrong("wrong ARP answer") }
    }

    fn judge_udp(&self, packet: &[u8], server: SocketAddrV4, from: u16) -> Verdict {
        let Some((head, datagram)) = split(packet, 17) else { return Verdict::Unrelated };
        let Some((ports, payload)) = datagram.split_at_checked(TRANSPORT) else {
            return Verdict::Unrelated;
        };
        let verdict = self.judge_token(Token::at_the_end_of(payload));
        if verdict != Verdict::Answer {
            return verdict;
        }
        let expected = [server.port().to_be_bytes(), from.to_be_bytes()].concat();
        if !self.is_from(head, *server.ip()) || ports[..4] != expected {
            return Verdict::Wrong("wrong address");
        }
        // What a server adds of its own is a line.
        let added = &payload[..payload.len() - TOKEN];
        if !added.is_empty() && added.iter().position(|it| *it == b'\n') != Some(added.len() - 1) {
            return Verdict::Wrong("wrong content");
        }
        let pseudo = pseudo_header(*server.ip(), self.link.address, 17, datagram.len());
        // A stack that leaves the checksum to the hardware writes the pseudo header's sum, and on
        // a veth there is no hardware: nobody has changed the bytes since.
        let field = u16::from_be_bytes([ports[6], ports[7]]);
        let right = checksum(pseudo, datagram) == 0xffff || field == fold(pseudo);
        if checksum(0, head) != 0xffff || !right {
            return Verdict::Wrong("wrong checksum");
        }
        Verdict::Answer
    }

    fn judge_echo(&self, packet: &[u8], host: Ipv4Addr) -> Verdict {
        let Some((head, message)) = split(packet, 1) else { return Verdict::Unrelated };
        let Some((fields, payload)) = message.split_at_checked(TRANSPORT) else {
            return Verdict::Unrelated;
        };
        if fields[..2] != [0, 0] {
            return Verdict::Unrelated;
        }
        let verdict = self.judge_token(Token::at_the_end_of(payload));
        if verdict != Verdict::Answer {
            return verdict;
        }
        if !self.is_from(head, host) || fields[4..6] != self.echo_id().to_be_bytes() {
            return Verdict::Wrong("wrong address");
        }
        if payload.len() != TOKEN || fields[6..] != (self.token.attempt as u16).to_be_bytes() {
            return Verdict::Wrong("wrong content");
        }
        if checksum(0, head) != 0xffff || checksum(0, message) != 0xffff {
            return Verdict::Wrong("wrong checksum");
        }
        Verdict::Answer
    }

    fn judge_token(&self, token: Option<Token>) -> Verdict {
        let Token { run, environment, life, attempt } = self.token;
        match token {
            Some(token) if token == self.token => Verdict::Answer,
            Some(token) if token.run == run && token.environment != environment => {
                Verdict::Wrong("another environment's answer")
            }
            // An earlier try's, late.
            Some(token) if token.run == run && (token.life, token.attempt) < (life, attempt) => {
                Verdict::Unrelated
            }
            Some(_) => Verdict::Wrong("wrong content"),
            None => Verdict::Unrelated,
        }
    }

    /// The same for all environments, as of clones that all count from the same number.
    fn echo_id(&self) -> u16 {
        self.token.life as u16
    }

    fn is_from(&self, head: &[u8], source: Ipv4Addr) -> bool {
        head[12..16] == source.octets() && head[16..20] == self.link.address.octets()
    }
}

/// Adds an IPv4 header and what it carries.
fn ipv4(frame: &mut Vec<u8>, from: Ipv4Addr, to: Ipv4Addr, protocol: u8, content: &[u8]) {
    let start = frame.len();
    frame.extend([0x45, 0]);
    frame.extend(((IPV4 + content.len()) as u16).to_be_bytes());
    // No fragment, and not to be made one (RFC 6864: the identification is of no use then).
    frame.extend([0, 0, 0x40, 0]);
    frame.extend([64, protocol, 0, 0]);
    frame.extend(from.octets());
    frame.extend(to.octets());
    let sum = !checksum(0, &frame[start..]);
    frame[start + 10..start + 12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(content);
}

/// The header and the content of an IPv4 packet without options that carries `protocol`.
fn split(packet: &[u8], protocol: u8) -> Option<(&[u8], &[u8])> {
    let (head, _) = packet.split_at_checked(IPV4)?;
    let total = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if head[0] != 0x45 || head[9] != protocol || total < IPV4 {
        return None;
    }
    // Short frames are padded.
    Some((head, packet.get(IPV4..total)?))
}

fn pseudo_header(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, length: usize) -> u32 {
    let addresses = [from.octets(), to.octets()].concat();
    addresses.chunks_exact(2).map(word).sum::<u32>() + u32::from(protocol) + length as u32
}

/// The ones' complement sum of RFC 1071, not inverted: 0xffff over what has a right checksum.
fn checksum(start: u32, bytes: &[u8]) -> u16 {
    fold(start + bytes.chunks(2).map(word).sum::<u32>())
}

fn word(pair: &[u8]) -> u32 {
    u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low))
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use etherparse::{ArpOperation, NetSlice, PacketBuilder, SlicedPacket};

    use super::*;

    const LINK: Link = Link {
        mac: [2, 0, 0, 0x64, 0, 2],
        address: Ipv4Addr::new(169, 254, 100, 2),
        gateway_mac: [2, 0x48, 0, 0, 0, 7],
        gateway: Ipv4Addr::new(169, 254, 100, 1),
    };
    const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 50);
    const UDP: Question = Question::Udp { server: SocketAddrV4::new(SERVER, 7), from: 40_000 };
    const ECHO: Question = Question::Echo { host: SERVER };

    fn probe(question: Question) -> Probe {
        Probe { link: LINK, question, token: Token { run: 1, environment: 7, life: 3, attempt: 2 } }
    }

    /// What a server answers, made by another library.
    fn udp_answer(content: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(LINK.gateway_mac, LINK.mac)
            .ipv4(SERVER.octets(), LINK.address.octets(), 63)
            .udp(7, 40_000)
            .write(&mut frame, content)
            .unwrap();
        frame
    }

    fn echo_answer(probe: &Probe) -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(LINK.gateway_mac, LINK.mac)
            .ipv4(SERVER.octets(), LINK.address.octets(), 63)
            .icmpv4_echo_reply(probe.echo_id(), 2)
            .write(&mut frame, &probe.token.bytes())
            .unwrap();
        frame
    }

    #[test]
    fn the_datagram_is_what_another_library_makes_of_the_same_words() {
        let probe = probe(UDP);
        let mut expected = Vec::new();
        PacketBuilder::ethernet2(LINK.mac, LINK.gateway_mac)
            .ipv4(LINK.address.octets(), SERVER.octets(), 64)
            .udp(40_000, 7)
            .write(&mut expected, &probe.token.bytes())
            .unwrap();
        assert_eq!(probe.frame(), expected);
    }

    #[test]
    fn the_echo_request_is_what_another_library_makes_of_the_same_words() {
        let probe = probe(ECHO);
        let mut expected = Vec::new();
        PacketBuilder::ethernet2(LINK.mac, LINK.gateway_mac)
            .ipv4(LINK.address.octets(), SERVER.octets(), 64)
            .icmpv4_echo_request(3, 2)
            .write(&mut expected, &probe.token.bytes())
            .unwrap();
        assert_eq!(probe.frame(), expected);
    }

    #[test]
    fn the_arp_request_asks_everybody_for_the_gateway() {
        let frame = probe(Question::Arp).frame();
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(NetSlice::Arp(arp)) = packet.net else { panic!("{packet:?}") };
        assert_eq!(arp.operation(), ArpOperation::REQUEST);
        assert_eq!(arp.sender_hw_addr(), LINK.mac);
        assert_eq!(arp.sender_protocol_addr(), LINK.address.octets());
        assert_eq!(arp.target_protocol_addr(), LINK.gateway.octets());
        assert_eq!(frame[..6], [0xff; 6]);
    }

    #[test]
    fn an_arp_answer_has_to_be_the_gateways_own_on_this_link() {
        let probe = probe(Question::Arp);
        let mut answer = probe.frame();
        assert_eq!(probe.judge(&answer), Verdict::Unrelated);
        answer[..6].copy_from_slice(&LINK.mac);
        answer[6..12].copy_from_slice(&LINK.gateway_mac);
        answer[21] = 2;
        answer[22..28].copy_from_slice(&LINK.gateway_mac);
        answer[28..32].copy_from_slice(&LINK.gateway.octets());
        answer[32..38].copy_from_slice(&LINK.mac);
        answer[38..42].copy_from_slice(&LINK.address.octets());
        assert_eq!(probe.judge(&answer), Verdict::Answer);
        // Some other environment's link.
        answer[27] ^= 1;
        assert_eq!(probe.judge(&answer), Verdict::Wrong("wrong ARP answer"));
    }

    #[test]
    fn an_answer_is_the_datagram_or_a_line_and_the_datagram() {
        let probe = probe(UDP);
        let token = probe.token.bytes();
        let line = b"10.0.1.100:1024\n".as_slice();
        assert_eq!(probe.judge(&udp_answer(&token)), Verdict::Answer);
        assert_eq!(probe.judge(&udp_answer(&[line, &token].concat())), Verdict::Answer);
        let more = [line, line, &token].concat();
        assert_eq!(probe.judge(&udp_answer(&more)), Verdict::Wrong("wrong content"));
        assert_eq!(probe.judge(&udp_answer(b"something else entirely here")), Verdict::Unrelated);
    }

    #[test]
    fn another_environments_token_is_a_leak_and_an_older_one_is_only_late() {
        let probe = probe(UDP);
        let with = |change: fn(&mut Token)| {
            let mut token = probe.token;
            change(&mut token);
            probe.judge(&udp_answer(&token.bytes()))
        };
        assert_eq!(with(|it| it.environment = 8), Verdict::Wrong("another environment's answer"));
        assert_eq!(with(|it| it.attempt = 1), Verdict::Unrelated);
        assert_eq!(with(|it| it.life = 2), Verdict::Unrelated);
        assert_eq!(with(|it| it.attempt = 3), Verdict::Wrong("wrong content"));
        assert_eq!(with(|it| it.run = 2), Verdict::Wrong("wrong content"));
    }

    #[test]
    fn every_byte_of_an_answer_counts() {
        for (question, answer) in
            [(UDP, udp_answer(&probe(UDP).token.bytes())), (ECHO, echo_answer(&probe(ECHO)))]
        {
            let probe = probe(question);
            assert_eq!(probe.judge(&answer), Verdict::Answer);
            for at in 0..answer.len() {
                let mut broken = answer.clone();
                broken[at] ^= 0x40;
                assert_ne!(probe.judge(&broken), Verdict::Answer, "byte {at} of {question:?}");
                assert_ne!(probe.judge(&answer[..at]), Verdict::Answer, "{at} bytes");
            }
        }
    }

    #[test]
    fn a_checksum_left_to_the_hardware_is_right_as_well() {
        let probe = probe(UDP);
        let mut answer = udp_answer(&probe.token.bytes());
        let datagram = answer.len() - ETHERNET - IPV4;
        let sum = fold(pseudo_header(SERVER, LINK.address, 17, datagram));
        answer[40..42].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(probe.judge(&answer), Verdict::Answer);
    }
}
