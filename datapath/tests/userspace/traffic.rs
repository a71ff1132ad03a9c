//! Conversations through the gateway: addresses, content and counts come out right, with every
//! offload of the interfaces left on.

use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use datapath::Received;
use nf_core::action::{ChecksumField, ETHERNET_LEN};
use nf_core::fast_path::Direction;
use nf_core::fast_path::soft::FrameMeta;
use nf_core::tuple::Protocol;
use nf_core::verdict::Punt;
use socket2::{Domain, Socket, Type};

use crate::lab::{Conversation, Lab, wait};
use crate::netns::{can_run, uninterrupted};

/// What one side of a TCP connection sends: 50 MB.
const STREAM_LEN: usize = 50_000_000;
const PATIENCE: Duration = Duration::from_mins(1);

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const SYN_ACK: u8 = 0x12;

#[test]
fn udp_datagrams_are_translated_both_ways() {
    if !can_run() {
        return;
    }
    let lab = Lab::new();
    let conversations = Conversation::both_families(Protocol::Udp);
    let gateway = lab.start(&conversations);
    for conversation in conversations {
        let (client, server) = conversation.udp_sockets(&lab);
        let mut buffer = [0; 2000];
        for len in [0, 1, 999, 1400] {
            let payload = vec![0xa5; len];
            client.send(&payload).expect("sent");
            let (received, from) =
                uninterrupted(|| server.recv_from(&mut buffer)).expect("a datagram arrives");
            assert_eq!((&buffer[..received], from), (&*payload, conversation.external));
            server.send_to(&[&*payload, b"!"].concat(), from).expect("sent");
            // The client's socket is connected: it takes answers of the server's address only.
            let received = uninterrupted(|| client.recv(&mut buffer)).expect("the answer arrives");
            assert_eq!(buffer[..received], [&*payload, b"!"].concat());
        }
    }
    let outcome = gateway.stop();
    outcome.assert_adds_up();
    assert_eq!(outcome.statistics.forwarded, 2 * 2 * 4);
    assert_eq!(outcome.statistics.failed_forwards, 0);
    assert_eq!(outcome.usage.iter().map(|usage| usage.packets).collect::<Vec<_>>(), [4, 4]);
    let payloads = 1 + 999 + 1400;
    assert_eq!(outcome.usage[0].bytes, payloads + 4 * 28);
    assert_eq!(outcome.usage[1].bytes, payloads + 4 * 48);
}

#[test]
fn a_udp_super_packet_arrives_as_its_datagrams() {
    if !can_run() {
        return;
    }
    let lab = Lab::new();
    let conversations = Conversation::both_families(Protocol::Udp);
    let gateway = lab.start(&conversations);
    for conversation in conversations {
        let (client, server) = conversation.udp_sockets(&lab);
        leave_cutting_to_the_interface(&client, 1000);
        let payload: Vec<u8> = (0..10_500_u32).map(|n| (n / 7) as u8).collect();
        client.send(&payload).expect("sent");
        let mut buffer = [0; 2000];
        for expected in payload.chunks(1000) {
            let (received, from) =
                uninterrupted(|| server.recv_from(&mut buffer)).expect("a datagram arrives");
            assert_eq!((&buffer[..received], from), (expected, conversation.external));
        }
    }
    let outcome = gateway.stop();
    outcome.assert_adds_up();
    assert_eq!(outcome.statistics.forwarded, 2, "one super-packet each: {outcome:?}");
    assert_eq!(outcome.usage.iter().map(|usage| usage.packets).collect::<Vec<_>>(), [11, 11]);
}

#[test]
fn a_punted_super_packet_is_handed_over_whole() {
    if !can_run() {
        return;
    }
    let lab = Lab::new();
    let sides = lab.sides;
    let mut userspace = lab.gateway.run(move || sides.open());
    let (client, _server) = Conversation::ipv4(Protocol::Udp).udp_sockets(&lab);
    leave_cutting_to_the_interface(&client, 1000);
    client.send(&[7; 10_500]).expect("sent");
    let mut punted = Vec::new();
    while punted.is_empty() {
        wait(&userspace);
        userspace.receive(64, &mut |_, received| {
            let Received::Frame { port, reason, meta, frame } = received else { return };
            punted.push((port, reason, meta, frame.len()));
        });
    }
    let meta = FrameMeta { segment_size: 1000, checksum: ChecksumField::Partial };
    let len = ETHERNET_LEN + 20 + 8 + 10_500;
    assert_eq!(punted, [(sides.client_port, Punt::Miss, meta, len)]);
}

#[test]
fn a_tcp_connection_moves_fifty_megabytes_each_way_with_offloads_on() {
    if !can_run() {
        return;
    }
    for conversation in Conversation::both_families(Protocol::Tcp) {
        let lab = Lab::new();
        let gateway = lab.start(&[conversation]);
        let (ready, listening) = std::sync::mpsc::channel();
        let server = lab.server.spawn(move || {
            let listener = TcpListener::bind(conversation.server).expect("the address is there");
            ready.send(()).expect("the test waits");
            let (stream, from) = listener.accept().expect("the connection arrives");
            assert_eq!(from, conversation.external);
            exchange(&stream, 2)
        });
        listening.recv().expect("the server listens");
        let client = lab.client.spawn(move || exchange(&connect(&conversation), 1));
        let (client_sent, client_received) = client.join().expect("the client ends well");
        let (server_sent, server_received) = server.join().expect("the server ends well");
        assert_eq!(server_received, client_sent);
        assert_eq!(client_received, server_sent);
        assert_ne!(client_sent, server_sent);

        let outcome = gateway.stop();
        outcome.assert_adds_up();
        // Had the stacks cut their segments themselves, this would be more than 70,000 frames.
        let segments = outcome.usage[0].packets;
        assert!(segments as usize > STREAM_LEN / 1460, "{segments} segments");
        assert!(outcome.statistics.forwarded < segments / 2, "{outcome:?}");
        assert_eq!(outcome.usage[0].tcp_flags & (FIN | SYN), FIN | SYN);
        let events: Vec<_> = outcome.events.iter().map(|e| (e.direction, e.flags)).collect();
        assert_eq!(events[..2], [(Direction::Forward, SYN), (Direction::Reverse, SYN_ACK)]);
        // A segment that was sent twice may find its receiver's connection forgotten and be answered
        // with a reset, but only after both sides have ended it.
        let ending = events.iter().take_while(|(_, flags)| flags & RST == 0);
        for direction in [Direction::Forward, Direction::Reverse] {
            let is_fin = |event: &(Direction, u8)| event.0 == direction && event.1 & FIN != 0;
            assert!(ending.clone().any(is_fin), "{events:?}");
        }
    }
}

/// Has a socket hand its interface payloads of many datagrams, to be cut into ones of this size.
fn leave_cutting_to_the_interface(socket: &UdpSocket, segment_size: i32) {
    // SAFETY: UDP_SEGMENT takes a C integer, and that is what the pointer and length say.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw const segment_size).cast(),
            size_of::<i32>() as u32,
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

fn connect(conversation: &Conversation) -> TcpStream {
    let socket = Socket::new(Domain::for_address(conversation.client), Type::STREAM, None)
        .expect("a socket");
    socket.bind(&conversation.client.into()).expect("the address is there");
    socket.connect_timeout(&conversation.server.into(), PATIENCE).expect("connected");
    socket.into()
}

/// Sends and receives at once; the hashes of what was sent and of what was received.
fn exchange(stream: &TcpStream, seed: u64) -> (u64, u64) {
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.set_write_timeout(Some(PATIENCE)).expect("a time-out");
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| send(stream, seed));
        let received = receive(stream);
        (sent.join().expect("everything is sent"), received)
    })
}

fn send(mut stream: &TcpStream, seed: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut state = seed;
    let mut left = STREAM_LEN;
    let mut chunk = vec![0; 64 << 10];
    while left > 0 {
        for word in chunk.chunks_exact_mut(8) {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_ne_bytes());
        }
        let part = &chunk[..left.min(chunk.len())];
        stream.write_all(part).expect("the peer reads");
        hasher.write(part);
        left -= part.len();
    }
    stream.shutdown(Shutdown::Write).expect("still connected");
    hasher.finish()
}

fn receive(mut stream: &TcpStream) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut total = 0;
    let mut chunk = vec![0; 64 << 10];
    loop {
        let len = uninterrupted(|| stream.read(&mut chunk)).expect("the peer sends");
        if len == 0 {
            break;
        }
        hasher.write(&chunk[..len]);
        total += len;
    }
    assert_eq!(total, STREAM_LEN);
    hasher.finish()
}
